// Driver of segmentio's kafka-go: its Writer, Reader and Client.
package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"moldau.test/matrix/rule"
)

var (
	ctx    = context.Background()
	codecs = map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
)

type firstPartition struct{}

func (firstPartition) Balance(kafka.Message, ...int) int { return 0 }

func write(c rule.Call, codec kafka.Compression, messages ...kafka.Message) {
	writer := &kafka.Writer{Addr: kafka.TCP(c.Bootstrap), Topic: c.Topic, Balancer: firstPartition{}, Compression: codec, BatchTimeout: 20 * time.Millisecond,
		RequiredAcks: kafka.RequireAll}
	rule.Check(writer.WriteMessages(ctx, messages...))
	rule.Check(writer.Close())
}

func fetch(c rule.Call, topic string, count int64, place func(*kafka.Reader) error) (out []kafka.Message) {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.Bootstrap}, Topic: topic, MaxWait: 100 * time.Millisecond})
	defer reader.Close()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	rule.Check(place(reader))
	for int64(len(out)) < count {
		out = append(out, rule.Must(reader.ReadMessage(soon)))
	}
	return out
}

func start(reader *kafka.Reader) error { return reader.SetOffset(0) }

func read(c rule.Call, topic string, count int64) (right int) {
	for o, m := range fetch(c, topic, count, start) {
		if rule.IsRight(m.Offset, int64(o), m.Key, m.Value) {
			right++
		}
	}
	return right
}

func codec(c rule.Call) rule.Answer {
	var messages []kafka.Message
	for i := 0; i < 500; i++ {
		messages = append(messages, kafka.Message{Key: rule.Key(i), Value: rule.Value(i)})
	}
	write(c, codecs[c.Capability], messages...)
	foreign, count := c.Foreign()
	return rule.Answer{"own": read(c, c.Topic, 500), "foreign": read(c, foreign, count)}
}

func records(c rule.Call) rule.Answer {
	odd := rule.OddOnes(c.Capability)
	for _, r := range odd {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Ms)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		write(c, 0, m)
	}
	found := []any{}
	for _, m := range fetch(c, c.Topic, int64(len(odd)), start) {
		record := rule.Record{Key: m.Key, Value: m.Value, Ms: m.Time.UnixMilli()}
		for _, h := range m.Headers {
			record.Headers = append(record.Headers, rule.Header{Name: h.Key, Value: h.Value})
		}
		found = append(found, record.AsJSON())
	}
	return rule.Answer{"records": found}
}

// A Reader does not tell its partitions; the ConsumerGroup below it does, and reading and committing are done by hand.
type member struct {
	group      *kafka.ConsumerGroup
	mutex      sync.Mutex
	partitions []int
	read       int
	cancel     context.CancelFunc
	done       chan bool
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

func (m *member) follow(c rule.Call, seen *rule.Seen, generation *kafka.Generation, assignment kafka.PartitionAssignment) {
	generation.Start(func(running context.Context) {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.Bootstrap}, Topic: c.Topic, Partition: assignment.ID, MaxWait: 100 * time.Millisecond})
		defer reader.Close()
		rule.Check(reader.SetOffset(assignment.Offset))
		for {
			message, err := reader.ReadMessage(running)
			if err != nil {
				return // the generation has ended
			}
			seen.Add(message.Value)
			m.mutex.Lock()
			m.read++
			m.mutex.Unlock()
			if err := generation.CommitOffsets(map[string]map[int]int64{c.Topic: {assignment.ID: message.Offset + 1}}); err != nil && running.Err() == nil && !errors.Is(err, kafka.RebalanceInProgress) {
				rule.Fail(err)
			}
		}
	})
}

func alone(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	m := join(c, seen)
	rule.Alone(seen, m.Count)
	m.Leave()
	return nil
}

func large(c rule.Call) rule.Answer {
	writer := &kafka.Writer{Addr: kafka.TCP(c.Bootstrap), Topic: c.Topic, Balancer: firstPartition{}, BatchBytes: 2000000, BatchTimeout: 20 * time.Millisecond,
		RequiredAcks: kafka.RequireAll, MaxAttempts: 1}
	defer writer.Close()
	return rule.Large(func(value []byte) error { return writer.WriteMessages(ctx, kafka.Message{Value: value}) },
		func() []byte { return fetch(c, c.Topic, 1, start)[0].Value })
}

var balancers = map[string]kafka.GroupBalancer{"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{}}

func join(c rule.Call, seen *rule.Seen) *member {
	m := &member{done: make(chan bool)}
	var strategy []kafka.GroupBalancer
	if c.Argument != "" {
		strategy = append(strategy, balancers[c.Argument])
	}
	m.group = rule.Must(kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{GroupBalancers: strategy, ID: c.Group, Brokers: []string{c.Bootstrap}, Topics: []string{c.Topic},
		StartOffset: kafka.FirstOffset, SessionTimeout: 10 * time.Second, HeartbeatInterval: time.Second}))
	var running context.Context
	running, m.cancel = context.WithCancel(ctx)
	go func() {
		defer close(m.done)
		for {
			generation, err := m.group.Next(running)
			if err != nil {
				return
			}
			var partitions []int
			for _, assignment := range generation.Assignments[c.Topic] {
				partitions = append(partitions, assignment.ID)
				m.follow(c, seen, generation, assignment)
			}
			m.mutex.Lock()
			m.partitions = partitions
			m.mutex.Unlock()
			generation.Start(func(generation context.Context) {
				<-generation.Done()
				m.mutex.Lock()
				m.partitions = nil
				m.mutex.Unlock()
			})
		}
	}()
	return m
}

func (m *member) Leave() {
	rule.Check(m.group.Close())
	m.cancel()
	<-m.done
}

func group(c rule.Call) rule.Answer {
	if c.Argument != "" && balancers[c.Argument] == nil {
		return rule.Answer{"lacks": "it has no assignor " + c.Argument}
	}
	seen := &rule.Seen{}
	return rule.Two(seen, func() rule.Member { return join(c, seen) })
}

func resume(c rule.Call) rule.Answer {
	one := func() *kafka.Reader {
		return kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.Bootstrap}, GroupID: c.Group, Topic: c.Topic, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond})
	}
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	first := one()
	var last kafka.Message
	for i := 0; i < 40; i++ {
		last = rule.Must(first.FetchMessage(soon))
	}
	rule.Check(first.CommitMessages(soon, last))
	rule.Check(first.Close())
	second := one()
	var offsets []int64
	for len(offsets) == 0 || offsets[len(offsets)-1] < 99 {
		offsets = append(offsets, rule.Must(second.ReadMessage(soon)).Offset)
	}
	rule.Check(second.Close())
	return rule.Answer{"first": offsets[0], "last": offsets[len(offsets)-1]}
}

func offsets(c rule.Call) rule.Answer {
	client := client(c)
	ask := func(request kafka.OffsetRequest) kafka.PartitionOffsets {
		found := rule.Must(client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{c.Topic: {request}}})).Topics[c.Topic][0]
		rule.Check(found.Error)
		return found
	}
	answer := rule.Answer{"earliest": ask(kafka.FirstOffsetOf(0)).FirstOffset, "latest": ask(kafka.LastOffsetOf(0)).LastOffset}
	for name, ms := range map[string]int64{"at": 1700000050000, "between": 1700000050500, "after": 1800000000000} {
		answer[name] = nil
		for offset := range ask(kafka.TimeOffsetOf(0, time.UnixMilli(ms))).Offsets {
			if offset >= 0 {
				answer[name] = offset
			}
		}
	}
	at := func(reader *kafka.Reader) error { return reader.SetOffsetAt(ctx, time.UnixMilli(1700000050000)) }
	answer["read"] = string(fetch(c, c.Topic, 1, at)[0].Key)
	return answer
}

func client(c rule.Call) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(c.Bootstrap), Timeout: 20 * time.Second}
}

func admin(call func(a *kafka.Client, topic, group string) rule.Answer) func(rule.Call) rule.Answer {
	return func(c rule.Call) rule.Answer { return call(client(c), c.Topic, c.Group) }
}

func main() {
	capabilities := map[string]func(rule.Call) rule.Answer{
		"version": func(rule.Call) rule.Answer {
			return rule.Answer{"version": rule.Version("github.com/segmentio/kafka-go")}
		},
		"records": records, "null-header": records, "group": group, "member": alone, "large": large, "transaction": rule.Lacks("its writers have no transactions"), "pause": rule.Lacks("its readers have no pause"), "resume": resume, "offsets": offsets,
		"idempotent": rule.Lacks("its writers have no idempotent mode"),
		"static":     rule.Lacks("its consumer groups have no instance ids"),
		"create-topic": admin(func(a *kafka.Client, topic, _ string) rule.Answer {
			config := kafka.TopicConfig{Topic: topic, NumPartitions: 3, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "3600000"}}}
			rule.Check(rule.Must(a.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})).Errors[topic])
			return nil
		}),
		"describe-topic": admin(func(a *kafka.Client, topic, _ string) rule.Answer {
			found := rule.Must(a.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})).Topics[0]
			rule.Check(found.Error)
			leaders := []int{}
			for _, p := range found.Partitions {
				if !slices.Contains(leaders, p.Leader.ID) {
					leaders = append(leaders, p.Leader.ID)
				}
			}
			slices.Sort(leaders)
			return rule.Answer{"partitions": len(found.Partitions), "leaders": leaders}
		}),
		"create-partitions": admin(func(a *kafka.Client, topic, _ string) rule.Answer {
			request := &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 5}}}
			rule.Check(rule.Must(a.CreatePartitions(ctx, request)).Errors[topic])
			return nil
		}),
		"describe-config": admin(func(a *kafka.Client, topic, _ string) rule.Answer {
			resource := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"}}
			found := rule.Must(a.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{resource}})).Resources[0]
			rule.Check(found.Error)
			return rule.Answer{"retention": found.ConfigEntries[0].ConfigValue}
		}),
		"alter-config": admin(func(a *kafka.Client, topic, _ string) rule.Answer {
			change := kafka.IncrementalAlterConfigsRequestConfig{Name: "retention.ms", Value: "7200000", ConfigOperation: kafka.ConfigOperationSet}
			resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{change}}
			answer := rule.Must(a.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}}))
			rule.Check(answer.Resources[0].Error)
			return nil
		}),
		"delete-records": rule.Lacks("its client has no call for DeleteRecords"),
		"list-groups": admin(func(a *kafka.Client, _, _ string) rule.Answer {
			answer, names := rule.Must(a.ListGroups(ctx, &kafka.ListGroupsRequest{})), []string{}
			rule.Check(answer.Error)
			for _, group := range answer.Groups {
				names = append(names, group.GroupID)
			}
			return rule.Answer{"groups": names}
		}),
		"describe-group": admin(func(a *kafka.Client, _, group string) rule.Answer {
			found := rule.Must(a.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})).Groups[0]
			rule.Check(found.Error)
			return rule.Answer{"state": found.GroupState, "members": len(found.Members)}
		}),
		"describe-cluster": admin(func(a *kafka.Client, _, _ string) rule.Answer {
			found := rule.Must(a.Metadata(ctx, &kafka.MetadataRequest{}))
			return rule.Answer{"nodes": len(found.Brokers), "controller": found.Controller.ID}
		}),
		"group-offsets": admin(func(a *kafka.Client, topic, group string) rule.Answer {
			found := rule.Must(a.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}}))
			rule.Check(found.Error)
			return rule.Answer{"offset": found.Topics[topic][0].CommittedOffset}
		}),
		"alter-offsets": admin(func(a *kafka.Client, topic, group string) rule.Answer {
			request := &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 3}}}}
			rule.Check(rule.Must(a.OffsetCommit(ctx, request)).Topics[topic][0].Error)
			return nil
		}),
		"delete-group": admin(func(a *kafka.Client, _, group string) rule.Answer {
			rule.Check(rule.Must(a.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})).Errors[group])
			return nil
		}),
		"delete-topic": admin(func(a *kafka.Client, topic, _ string) rule.Answer {
			rule.Check(rule.Must(a.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})).Errors[topic])
			return nil
		}),
	}
	for _, name := range rule.Codecs {
		capabilities[name] = codec
	}
	rule.Main(capabilities)
}
