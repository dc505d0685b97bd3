// Driver of sarama.
package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"moldau.test/matrix/rule"
)

var codecs = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = time.Second
	return config
}

func send(c rule.Call, config *sarama.Config, messages []*sarama.ProducerMessage) {
	producer := rule.Must(sarama.NewSyncProducer([]string{c.Bootstrap}, config))
	rule.Check(producer.SendMessages(messages))
	rule.Check(producer.Close())
}

func write(c rule.Call, change func(*sarama.Config)) {
	config := config()
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	change(config)
	var messages []*sarama.ProducerMessage
	for i := 0; i < 500; i++ {
		messages = append(messages, &sarama.ProducerMessage{Topic: c.Topic, Key: sarama.ByteEncoder(rule.Key(i)), Value: sarama.ByteEncoder(rule.Value(i))})
	}
	send(c, config, messages)
}

func fetch(c rule.Call, topic string, from, count int64) (out []*sarama.ConsumerMessage) {
	consumer := rule.Must(sarama.NewConsumer([]string{c.Bootstrap}, config()))
	defer consumer.Close()
	partition := rule.Must(consumer.ConsumePartition(topic, 0, from))
	defer partition.Close()
	late := time.After(30 * time.Second)
	for int64(len(out)) < count {
		select {
		case m := <-partition.Messages():
			out = append(out, m)
		case <-late:
			rule.Fail(fmt.Errorf("only %d of %d messages came", len(out), count))
		}
	}
	return out
}

func read(c rule.Call, topic string, count int64) (right int) {
	for o, m := range fetch(c, topic, 0, count) {
		if rule.IsRight(m.Offset, int64(o), m.Key, m.Value) {
			right++
		}
	}
	return right
}

func codec(c rule.Call) rule.Answer {
	write(c, func(config *sarama.Config) { config.Producer.Compression = codecs[c.Capability] })
	foreign, count := c.Foreign()
	return rule.Answer{"own": read(c, c.Topic, 500), "foreign": read(c, foreign, count)}
}

func encoder(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func records(c rule.Call) rule.Answer {
	odd := rule.OddOnes(c.Capability)
	for _, r := range odd {
		m := &sarama.ProducerMessage{Topic: c.Topic, Key: encoder(r.Key), Value: encoder(r.Value), Timestamp: time.UnixMilli(r.Ms)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
		}
		send(c, config(), []*sarama.ProducerMessage{m})
	}
	found := []any{}
	for _, m := range fetch(c, c.Topic, 0, int64(len(odd))) {
		record := rule.Record{Key: m.Key, Value: m.Value, Ms: m.Timestamp.UnixMilli()}
		for _, h := range m.Headers {
			record.Headers = append(record.Headers, rule.Header{Name: string(h.Key), Value: h.Value})
		}
		found = append(found, record.AsJSON())
	}
	return rule.Answer{"records": found}
}

func idempotent(c rule.Call) rule.Answer {
	write(c, func(config *sarama.Config) {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	})
	return nil
}

type member struct {
	group       sarama.ConsumerGroup
	each        func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)
	mutex       sync.Mutex
	partitions  []int32
	assignments int
	read        int
	cancel      context.CancelFunc
	done        chan bool
}

func (m *member) Setup(sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.assignments++
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// Has notes that a partition came or went. With a cooperative strategy a session goes on over rebalances: its claims tell.
func (m *member) has(partition int32, now bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.partitions = slices.DeleteFunc(slices.Clone(m.partitions), func(p int32) bool { return p == partition })
	if now {
		m.partitions = append(m.partitions, partition)
		slices.Sort(m.partitions)
	}
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.has(claim.Partition(), true)
	defer m.has(claim.Partition(), false)
	for message := range claim.Messages() {
		if session.Context().Err() != nil {
			break // not marked: whoever has the partition next reads it
		}
		m.mutex.Lock()
		m.each(session, message)
		m.read++
		m.mutex.Unlock()
	}
	return nil
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

func join(c rule.Call, instance string, each func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)) *member {
	config := config()
	config.Consumer.Group.InstanceId = instance
	if c.Argument != "" {
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategies[c.Argument]()}
	}
	m := &member{group: rule.Must(sarama.NewConsumerGroup([]string{c.Bootstrap}, c.Group, config)), each: each, done: make(chan bool)}
	var running context.Context
	running, m.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(m.done)
		for running.Err() == nil {
			if err := m.group.Consume(running, []string{c.Topic}, m); err != nil && running.Err() == nil {
				rule.Fail(err)
			}
		}
	}()
	return m
}

func (m *member) Leave() {
	m.cancel()
	<-m.done
	rule.Check(m.group.Close())
}

func counted(seen *rule.Seen) func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage) {
	return func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
		seen.Add(message.Value)
		session.MarkMessage(message, "")
	}
}

func alone(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	m := join(c, "", counted(seen))
	rule.Alone(seen, m.Count)
	m.Leave()
	return nil
}

func transaction(c rule.Call) rule.Answer {
	config := config()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Transaction.ID = c.Group
	producer := rule.Must(sarama.NewSyncProducer([]string{c.Bootstrap}, config))
	for _, end := range []func() error{producer.AbortTxn, producer.CommitTxn} {
		rule.Check(producer.BeginTxn())
		for i := 0; i < 10; i++ {
			_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: c.Topic, Key: sarama.ByteEncoder(rule.Key(i)), Value: sarama.ByteEncoder(rule.Value(i))})
			rule.Check(err)
		}
		rule.Check(end())
	}
	rule.Check(producer.Close())
	found := fetch(c, c.Topic, 0, 10)
	return rule.Answer{"read": len(found), "first": found[0].Offset}
}

func large(c rule.Call) rule.Answer {
	config := config()
	config.Producer.MaxMessageBytes = 2000000
	producer := rule.Must(sarama.NewSyncProducer([]string{c.Bootstrap}, config))
	defer producer.Close()
	return rule.Large(func(value []byte) error {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: c.Topic, Value: sarama.ByteEncoder(value)})
		return err
	}, func() []byte { return fetch(c, c.Topic, 0, 1)[0].Value })
}

var strategies = map[string]func() sarama.BalanceStrategy{"range": sarama.NewBalanceStrategyRange, "roundrobin": sarama.NewBalanceStrategyRoundRobin,
	"sticky": sarama.NewBalanceStrategySticky, "cooperative": sarama.NewBalanceStrategyCooperativeSticky}

func group(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	each := counted(seen)
	return rule.Two(seen, func() rule.Member { return join(c, "", each) })
}

func resume(c rule.Call) rule.Answer {
	count := 0
	first := join(c, "", func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
		if count < 40 {
			count++
			session.MarkMessage(message, "")
		}
	})
	rule.Until("the first member has read 40", func() bool { first.mutex.Lock(); defer first.mutex.Unlock(); return count == 40 })
	first.Leave()
	var offsets []int64
	second := join(c, "", func(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
		offsets = append(offsets, message.Offset)
		session.MarkMessage(message, "")
	})
	rule.Until("the second member has read the last", func() bool {
		second.mutex.Lock()
		defer second.mutex.Unlock()
		return len(offsets) > 0 && offsets[len(offsets)-1] >= 99
	})
	second.Leave()
	return rule.Answer{"first": offsets[0], "last": offsets[len(offsets)-1]}
}

func static(c rule.Call) rule.Answer {
	each := func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage) {}
	one, two := join(c, "one", each), join(c, "two", each)
	rule.Until("both have two partitions", func() bool { return one.Count() == 2 && two.Count() == 2 })
	before, assignments := two.partitions, one.assignments
	two.Leave() // with an instance id it does not leave the group
	two = join(c, "two", each)
	rule.Until("the second member has partitions again", func() bool { return two.Count() == 2 })
	time.Sleep(1500 * time.Millisecond) // a heartbeat of the first would tell it of a rebalance
	after, disturbed := two.partitions, one.assignments-assignments
	two.Leave()
	one.Leave()
	return rule.Answer{"before": before, "after": after, "disturbed": disturbed}
}

func offsets(c rule.Call) rule.Answer {
	client := rule.Must(sarama.NewClient([]string{c.Bootstrap}, config()))
	defer client.Close()
	answer := rule.Answer{}
	for name, time := range map[string]int64{"earliest": sarama.OffsetOldest, "latest": sarama.OffsetNewest, "at": 1700000050000, "between": 1700000050500, "after": 1800000000000} {
		if offset := rule.Must(client.GetOffset(c.Topic, 0, time)); offset < 0 {
			answer[name] = nil
		} else {
			answer[name] = offset
		}
	}
	answer["read"] = string(fetch(c, c.Topic, answer["at"].(int64), 1)[0].Key)
	return answer
}

func admin(call func(a sarama.ClusterAdmin, topic, group string) rule.Answer) func(rule.Call) rule.Answer {
	return func(c rule.Call) rule.Answer {
		a := rule.Must(sarama.NewClusterAdmin([]string{c.Bootstrap}, config()))
		defer a.Close()
		return call(a, c.Topic, c.Group)
	}
}

func main() {
	hour, two := "3600000", "7200000"
	capabilities := map[string]func(rule.Call) rule.Answer{
		"version": func(rule.Call) rule.Answer { return rule.Answer{"version": rule.Version("github.com/IBM/sarama")} },
		"records": records, "null-header": records, "idempotent": idempotent, "group": group, "member": alone, "large": large, "transaction": transaction,
		"pause": rule.Lacks("it pauses what it fetches, not what it has fetched, and has no seek"), "resume": resume, "static": static, "offsets": offsets,
		"create-topic": admin(func(a sarama.ClusterAdmin, topic, _ string) rule.Answer {
			rule.Check(a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &hour}}, false))
			return nil
		}),
		"describe-topic": admin(func(a sarama.ClusterAdmin, topic, _ string) rule.Answer {
			found := rule.Must(a.DescribeTopics([]string{topic}))[0]
			leaders := []int32{}
			for _, p := range found.Partitions {
				if !slices.Contains(leaders, p.Leader) {
					leaders = append(leaders, p.Leader)
				}
			}
			slices.Sort(leaders)
			return rule.Answer{"partitions": len(found.Partitions), "leaders": leaders}
		}),
		"create-partitions": admin(func(a sarama.ClusterAdmin, topic, _ string) rule.Answer {
			rule.Check(a.CreatePartitions(topic, 5, nil, false))
			return nil
		}),
		"describe-config": admin(func(a sarama.ClusterAdmin, topic, _ string) rule.Answer {
			found := rule.Must(a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}))
			return rule.Answer{"retention": found[0].Value}
		}),
		"alter-config": admin(func(a sarama.ClusterAdmin, topic, _ string) rule.Answer {
			change := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &two}}
			rule.Check(a.IncrementalAlterConfig(sarama.TopicResource, topic, change, false))
			return nil
		}),
		"delete-records": admin(func(a sarama.ClusterAdmin, topic, _ string) rule.Answer {
			rule.Check(a.DeleteRecords(topic, map[int32]int64{0: 40}))
			return nil
		}),
		"list-groups": admin(func(a sarama.ClusterAdmin, _, _ string) rule.Answer {
			names := []string{}
			for name := range rule.Must(a.ListConsumerGroups()) {
				names = append(names, name)
			}
			return rule.Answer{"groups": names}
		}),
		"describe-group": admin(func(a sarama.ClusterAdmin, _, group string) rule.Answer {
			found := rule.Must(a.DescribeConsumerGroups([]string{group}))[0]
			return rule.Answer{"state": found.State, "members": len(found.Members)}
		}),
		"describe-cluster": admin(func(a sarama.ClusterAdmin, _, _ string) rule.Answer {
			brokers, controller, err := a.DescribeCluster()
			rule.Check(err)
			return rule.Answer{"nodes": len(brokers), "controller": controller}
		}),
		"group-offsets": admin(func(a sarama.ClusterAdmin, topic, group string) rule.Answer {
			return rule.Answer{"offset": rule.Must(a.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})).GetBlock(topic, 0).Offset}
		}),
		"alter-offsets": admin(func(a sarama.ClusterAdmin, topic, group string) rule.Answer {
			rule.Must(a.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{topic: {0: {Offset: 3, LeaderEpoch: -1}}}, nil))
			return nil
		}),
		"delete-group": admin(func(a sarama.ClusterAdmin, _, group string) rule.Answer {
			rule.Check(a.DeleteConsumerGroup(group))
			return nil
		}),
		"delete-topic": admin(func(a sarama.ClusterAdmin, topic, _ string) rule.Answer { rule.Check(a.DeleteTopic(topic)); return nil }),
	}
	for _, name := range rule.Codecs {
		capabilities[name] = codec
	}
	rule.Main(capabilities)
}
