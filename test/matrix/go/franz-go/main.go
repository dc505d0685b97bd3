// Driver of franz-go (kgo and kadm).
package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"moldau.test/matrix/rule"
)

var (
	ctx    = context.Background()
	codecs = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
)

func client(c rule.Call, options ...kgo.Opt) *kgo.Client {
	return rule.Must(kgo.NewClient(append(options, kgo.SeedBrokers(c.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))...))
}

func write(c rule.Call, codec kgo.CompressionCodec) {
	cl := client(c, kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20*time.Millisecond))
	defer cl.Close()
	var records []*kgo.Record
	for i := 0; i < 500; i++ {
		records = append(records, &kgo.Record{Topic: c.Topic, Key: rule.Key(i), Value: rule.Value(i)})
	}
	rule.Check(cl.ProduceSync(ctx, records...).FirstErr())
}

func fetch(c rule.Call, topic string, from, count int64) (out []*kgo.Record) {
	cl := client(c, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}))
	defer cl.Close()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for int64(len(out)) < count {
		fetches := cl.PollFetches(soon)
		rule.Check(fetches.Err())
		out = append(out, fetches.Records()...)
	}
	return out[:count]
}

func read(c rule.Call, topic string, count int64) (right int) {
	for o, r := range fetch(c, topic, 0, count) {
		if rule.IsRight(r.Offset, int64(o), r.Key, r.Value) {
			right++
		}
	}
	return right
}

func codec(c rule.Call) rule.Answer {
	write(c, codecs[c.Capability])
	foreign, count := c.Foreign()
	return rule.Answer{"own": read(c, c.Topic, 500), "foreign": read(c, foreign, count)}
}

func records(c rule.Call) rule.Answer {
	odd := rule.OddOnes(c.Capability)
	cl := client(c)
	defer cl.Close()
	for _, r := range odd {
		record := &kgo.Record{Topic: c.Topic, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Ms)}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		rule.Check(cl.ProduceSync(ctx, record).FirstErr())
	}
	found := []any{}
	for _, r := range fetch(c, c.Topic, 0, int64(len(odd))) {
		record := rule.Record{Key: r.Key, Value: r.Value, Ms: r.Timestamp.UnixMilli()}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, rule.Header{Name: h.Key, Value: h.Value})
		}
		found = append(found, record.AsJSON())
	}
	return rule.Answer{"records": found}
}

type member struct {
	client      *kgo.Client
	mutex       sync.Mutex
	partitions  map[int32]bool
	assignments int
	read        int
	cancel      context.CancelFunc
	done        chan bool
}

func (m *member) Count() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return len(m.partitions)
}

func (m *member) Read() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.read
}

func (m *member) sorted() (out []int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for p := range m.partitions {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func join(c rule.Call, seen *rule.Seen, options ...kgo.Opt) *member {
	m := &member{partitions: map[int32]bool{}, done: make(chan bool)}
	revoked := func(_ context.Context, cl *kgo.Client, lost map[string][]int32) {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		for _, p := range lost[c.Topic] {
			delete(m.partitions, p)
		}
	}
	m.client = client(c, append(options, kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second), kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			m.mutex.Lock()
			defer m.mutex.Unlock()
			m.assignments++
			for _, p := range got[c.Topic] {
				m.partitions[p] = true
			}
		}), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked))...)
	var running context.Context
	running, m.cancel = context.WithCancel(ctx)
	go func() {
		defer close(m.done)
		for running.Err() == nil {
			fetches := m.client.PollFetches(running)
			fetches.EachRecord(func(r *kgo.Record) {
				seen.Add(r.Value)
				m.mutex.Lock()
				m.read++
				m.mutex.Unlock()
			})
			if fetches.NumRecords() > 0 {
				rule.Check(m.client.CommitUncommittedOffsets(ctx))
			}
			m.client.AllowRebalance()
		}
	}()
	return m
}

func (m *member) Leave() {
	m.cancel()
	<-m.done
	m.client.Close()
}

func alone(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	m := join(c, seen)
	rule.Alone(seen, m.Count)
	m.Leave()
	return nil
}

func pause(c rule.Call) rule.Answer {
	cl := client(c, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: {0: kgo.NewOffset().At(0)}}))
	defer cl.Close()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for count := 0; count < 10; {
		fetches := cl.PollRecords(soon, 10-count)
		rule.Check(fetches.Err())
		count += fetches.NumRecords()
	}
	there := map[string][]int32{c.Topic: {0}}
	cl.PauseFetchPartitions(there)
	second, over := context.WithTimeout(ctx, time.Second)
	defer over()
	quiet := 0
	for second.Err() == nil {
		quiet += cl.PollFetches(second).NumRecords()
	}
	cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{c.Topic: {0: {Epoch: -1, Offset: 20}}})
	cl.ResumeFetchPartitions(there)
	fetches := cl.PollRecords(soon, 1)
	rule.Check(fetches.Err())
	return rule.Answer{"quiet": quiet, "next": fetches.Records()[0].Offset}
}

func transaction(c rule.Call) rule.Answer {
	cl := client(c, kgo.TransactionalID(c.Group))
	defer cl.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		rule.Check(cl.BeginTransaction())
		for i := 0; i < 10; i++ {
			rule.Check(cl.ProduceSync(ctx, &kgo.Record{Topic: c.Topic, Key: rule.Key(i), Value: rule.Value(i)}).FirstErr())
		}
		rule.Check(cl.EndTransaction(ctx, end))
	}
	found := fetch(c, c.Topic, 0, 10)
	return rule.Answer{"read": len(found), "first": found[0].Offset}
}

func large(c rule.Call) rule.Answer {
	cl := client(c, kgo.ProducerBatchMaxBytes(2000000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	return rule.Large(func(value []byte) error { return cl.ProduceSync(ctx, &kgo.Record{Topic: c.Topic, Value: value}).FirstErr() },
		func() []byte { return fetch(c, c.Topic, 0, 1)[0].Value })
}

var balancers = map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
	"cooperative": kgo.CooperativeStickyBalancer()}

func group(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	var strategy []kgo.Opt
	if c.Argument != "" {
		strategy = append(strategy, kgo.Balancers(balancers[c.Argument]))
	}
	return rule.Two(seen, func() rule.Member { return join(c, seen, strategy...) })
}

func resume(c rule.Call) rule.Answer {
	one := func() *kgo.Client {
		return client(c, kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	}
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	first, count := one(), 0
	var last *kgo.Record
	for count < 40 {
		fetches := first.PollRecords(soon, 40-count)
		rule.Check(fetches.Err())
		for _, r := range fetches.Records() {
			count, last = count+1, r
		}
	}
	rule.Check(first.CommitRecords(soon, last))
	first.Close()
	second := one()
	defer second.Close()
	var offsets []int64
	for len(offsets) == 0 || offsets[len(offsets)-1] < 99 {
		fetches := second.PollFetches(soon)
		rule.Check(fetches.Err())
		for _, r := range fetches.Records() {
			offsets = append(offsets, r.Offset)
		}
	}
	rule.Check(second.CommitUncommittedOffsets(soon))
	return rule.Answer{"first": offsets[0], "last": offsets[len(offsets)-1]}
}

func static(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	one := join(c, seen, kgo.InstanceID("one"))
	// The first is the group's leader: a leader that comes back has this library join once more, which all hear of.
	rule.Until("the first has all partitions", func() bool { return one.Count() == 4 })
	two := join(c, seen, kgo.InstanceID("two"))
	rule.Until("both have two partitions", func() bool { return one.Count() == 2 && two.Count() == 2 })
	before := two.sorted()
	one.mutex.Lock()
	assignments := one.assignments
	one.mutex.Unlock()
	two.Leave() // Close does not leave the group for a member with an instance id
	two = join(c, seen, kgo.InstanceID("two"))
	rule.Until("the second member has partitions again", func() bool { return two.Count() > 0 })
	time.Sleep(1500 * time.Millisecond) // a heartbeat of the first would tell it of a rebalance
	after := two.sorted()
	one.mutex.Lock()
	disturbed := one.assignments - assignments
	one.mutex.Unlock()
	two.Leave()
	one.Leave()
	return rule.Answer{"before": before, "after": after, "disturbed": disturbed}
}

func offsets(c rule.Call) rule.Answer {
	admin := kadm.NewClient(client(c))
	defer admin.Close()
	of := func(listed kadm.ListedOffsets, err error) kadm.ListedOffset {
		rule.Check(err)
		found, _ := listed.Lookup(c.Topic, 0)
		rule.Check(found.Err)
		return found
	}
	earliest, latest := of(admin.ListStartOffsets(ctx, c.Topic)), of(admin.ListEndOffsets(ctx, c.Topic))
	at, between := of(admin.ListOffsetsAfterMilli(ctx, 1700000050000, c.Topic)), of(admin.ListOffsetsAfterMilli(ctx, 1700000050500, c.Topic))
	after := of(admin.ListOffsetsAfterMilli(ctx, 1800000000000, c.Topic))
	answer := rule.Answer{"earliest": earliest.Offset, "latest": latest.Offset, "at": at.Offset, "between": between.Offset, "after": after.Offset}
	if after.Timestamp < 0 { // what is after all records is told as the end, without a time
		answer["after"] = nil
	}
	answer["read"] = string(fetch(c, c.Topic, at.Offset, 1)[0].Key)
	return answer
}

func admin(call func(a *kadm.Client, topic, group string) rule.Answer) func(rule.Call) rule.Answer {
	return func(c rule.Call) rule.Answer {
		a := kadm.NewClient(client(c))
		defer a.Close()
		return call(a, c.Topic, c.Group)
	}
}

func main() {
	capabilities := map[string]func(rule.Call) rule.Answer{
		"version": func(rule.Call) rule.Answer { return rule.Answer{"version": rule.Version("github.com/twmb/franz-go")} },
		"records": records, "null-header": records,
		"idempotent": func(c rule.Call) rule.Answer { write(c, kgo.NoCompression()); return nil }, // the default
		"group":      group, "member": alone, "pause": pause, "large": large, "transaction": transaction, "resume": resume, "static": static, "offsets": offsets,
		"create-topic": admin(func(a *kadm.Client, topic, _ string) rule.Answer {
			rule.Must(a.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("3600000")}, topic))
			return nil
		}),
		"describe-topic": admin(func(a *kadm.Client, topic, _ string) rule.Answer {
			found := rule.Must(a.ListTopics(ctx, topic))[topic]
			rule.Check(found.Err)
			leaders := []int32{}
			for _, p := range found.Partitions.Sorted() {
				if !slices.Contains(leaders, p.Leader) {
					leaders = append(leaders, p.Leader)
				}
			}
			slices.Sort(leaders)
			return rule.Answer{"partitions": len(found.Partitions), "leaders": leaders}
		}),
		"create-partitions": admin(func(a *kadm.Client, topic, _ string) rule.Answer {
			rule.Check(rule.Must(a.UpdatePartitions(ctx, 5, topic))[topic].Err)
			return nil
		}),
		"describe-config": admin(func(a *kadm.Client, topic, _ string) rule.Answer {
			found := rule.Must(rule.Must(a.DescribeTopicConfigs(ctx, topic)).On(topic, nil))
			rule.Check(found.Err)
			at := slices.IndexFunc(found.Configs, func(config kadm.Config) bool { return config.Key == "retention.ms" })
			return rule.Answer{"retention": found.Configs[at].MaybeValue()}
		}),
		"alter-config": admin(func(a *kadm.Client, topic, _ string) rule.Answer {
			changes := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("7200000")}}
			rule.Check(rule.Must(rule.Must(a.AlterTopicConfigs(ctx, changes, topic)).On(topic, nil)).Err)
			return nil
		}),
		"delete-records": admin(func(a *kadm.Client, topic, _ string) rule.Answer {
			var before kadm.Offsets
			before.AddOffset(topic, 0, 40, -1)
			rule.Check(rule.Must(a.DeleteRecords(ctx, before)).Error())
			return nil
		}),
		"list-groups": admin(func(a *kadm.Client, _, _ string) rule.Answer {
			return rule.Answer{"groups": rule.Must(a.ListGroups(ctx)).Groups()}
		}),
		"describe-group": admin(func(a *kadm.Client, _, group string) rule.Answer {
			found := rule.Must(a.DescribeGroups(ctx, group))[group]
			rule.Check(found.Err)
			return rule.Answer{"state": found.State, "members": len(found.Members)}
		}),
		"describe-cluster": admin(func(a *kadm.Client, _, _ string) rule.Answer {
			found := rule.Must(a.BrokerMetadata(ctx))
			return rule.Answer{"nodes": len(found.Brokers), "controller": found.Controller}
		}),
		"group-offsets": admin(func(a *kadm.Client, topic, group string) rule.Answer {
			found, _ := rule.Must(a.FetchOffsets(ctx, group)).Lookup(topic, 0)
			rule.Check(found.Err)
			return rule.Answer{"offset": found.At}
		}),
		"alter-offsets": admin(func(a *kadm.Client, topic, group string) rule.Answer {
			var to kadm.Offsets
			to.AddOffset(topic, 0, 3, -1)
			rule.Check(a.CommitAllOffsets(ctx, group, to))
			return nil
		}),
		"delete-group": admin(func(a *kadm.Client, _, group string) rule.Answer { rule.Must(a.DeleteGroup(ctx, group)); return nil }),
		"delete-topic": admin(func(a *kadm.Client, topic, _ string) rule.Answer { rule.Must(a.DeleteTopic(ctx, topic)); return nil }),
	}
	for _, name := range rule.Codecs {
		capabilities[name] = codec
	}
	rule.Main(capabilities)
}
