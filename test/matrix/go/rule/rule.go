// Package rule has what the Go drivers share: the rule of a record, the odd records, the last line.
package rule

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

const StartMs = 1700000000000

type Header struct {
	Name  string
	Value []byte
}

// Record is one of the odd records; nil is null.
type Record struct {
	Key, Value []byte
	Ms         int64
	Headers    []Header
}

var Odd = []Record{
	{[]byte{0, 255}, []byte("v0"), StartMs, []Header{{"a", []byte("a")}, {"b", []byte{}}, {"a", []byte("b")}}},
	{nil, []byte("v1"), StartMs + 1, nil},
	{[]byte("k2"), nil, StartMs + 2, nil},
	{[]byte{}, []byte{}, StartMs + 3, nil},
}

var NullHeader = []Record{{[]byte("k"), []byte("v"), StartMs, []Header{{"n", nil}}}}

// OddOnes are the records of the capability.
func OddOnes(capability string) []Record {
	if capability == "null-header" {
		return NullHeader
	}
	return Odd
}

var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func Key(i int) []byte   { return []byte(fmt.Sprintf("key-%d", i)) }
func Value(i int) []byte { return []byte(fmt.Sprintf("value-%d-%s", i, strings.Repeat("abc", i%100))) }

// IsRight says whether the record at this offset is the one that the rule wants there.
func IsRight(offset, expected int64, key, value []byte) bool {
	i := int(expected % 500)
	return offset == expected && string(key) == string(Key(i)) && string(value) == string(Value(i))
}

type Answer map[string]any

func hexadecimal(data []byte) any {
	if data == nil {
		return nil
	}
	return hex.EncodeToString(data)
}

func (r Record) AsJSON() Answer {
	headers := []any{}
	for _, h := range r.Headers {
		headers = append(headers, []any{h.Name, hexadecimal(h.Value)})
	}
	return Answer{"k": hexadecimal(r.Key), "v": hexadecimal(r.Value), "t": r.Ms, "h": headers}
}

// Seen has the numbers that the members of a group have read, and the ends.
type Seen struct {
	mutex  sync.Mutex
	counts map[string]int
	ends   int
}

func (s *Seen) Add(value []byte) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	if string(value) == "end" {
		s.ends++
	} else {
		s.counts[string(value)]++
	}
}

func (s *Seen) Ends() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.ends
}

func (s *Seen) Answer(shared []int) Answer {
	most := 0
	for _, count := range s.counts {
		most = max(most, count)
	}
	return Answer{"alone": 6, "shared": shared, "again": 6, "seen": len(s.counts), "most": most}
}

// Until waits for a fact; a group that does not get there is a failure.
func Until(what string, fact func() bool) {
	for deadline := time.Now().Add(40 * time.Second); !fact(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			Fail(fmt.Errorf("not within 40 s: %s", what))
		}
	}
}

// Member of a group: how many partitions it has, how many records it has read.
type Member interface {
	Count() int
	Read() int
	Leave()
}

// Two members, one after the other; each reads into seen.
func Two(seen *Seen, join func() Member) Answer {
	a := join()
	Until("the first member has 6 partitions", func() bool { return a.Count() == 6 })
	b := join()
	Until("the two have 6 partitions together, and the second has read", func() bool {
		return a.Count() > 0 && b.Count() > 0 && a.Count()+b.Count() == 6 && b.Read() > 0
	})
	shared := []int{a.Count(), b.Count()}
	b.Leave()
	Until("the first member has 6 partitions again", func() bool { return a.Count() == 6 })
	fmt.Println("covered")
	Until("six ends", func() bool { return seen.Ends() >= 6 })
	a.Leave()
	return seen.Answer(shared)
}

// Alone tells how many partitions a member has, until the ends have come.
func Alone(seen *Seen, count func() int) {
	for had := 0; seen.Ends() < 6; time.Sleep(20 * time.Millisecond) {
		if has := count(); has != had {
			fmt.Println("has", has)
			had = has
		}
	}
}

// Large writes two values, of which the broker has to refuse the second, and answers what the first is as it is read.
func Large(write func(value []byte) error, read func() []byte) Answer {
	Check(write(make([]byte, 1000000)))
	refused := ""
	if err := write(make([]byte, 1100000)); err != nil {
		refused = err.Error()
	}
	return Answer{"read": len(read()), "refused": refused}
}

// Fail ends the driver with a reason.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, strings.ReplaceAll(err.Error(), "\n", " "))
	os.Exit(1)
}

// Check ends the driver if there is an error.
func Check(err error) {
	if err != nil {
		Fail(err)
	}
}

// Must is a value, or the end of the driver.
func Must[T any](value T, err error) T {
	Check(err)
	return value
}

// Version of a module that this program was built with.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return strings.TrimPrefix(dependency.Version, "v")
		}
	}
	return "?"
}

type Call struct {
	Bootstrap, Capability, Topic, Group, Argument string
}

// Foreign is the topic that others wrote, and how many records it has.
func (c Call) Foreign() (topic string, count int64) {
	at := strings.LastIndexByte(c.Argument, ':')
	topic = c.Argument[:at]
	_, err := fmt.Sscan(c.Argument[at+1:], &count)
	Check(err)
	return topic, count
}

func Lacks(why string) func(Call) Answer { return func(Call) Answer { return Answer{"lacks": why} } }

// Main calls what the capability names and prints its answer.
func Main(capabilities map[string]func(Call) Answer) {
	call := Call{Bootstrap: os.Args[1], Capability: os.Args[2], Topic: os.Args[3], Group: os.Args[4]}
	if len(os.Args) > 5 {
		call.Argument = os.Args[5]
	}
	do, ok := capabilities[call.Capability]
	if !ok {
		Fail(fmt.Errorf("no such capability: %s", call.Capability))
	}
	answer := do(call)
	if answer == nil {
		answer = Answer{}
	}
	fmt.Println(string(Must(json.Marshal(answer))))
}
