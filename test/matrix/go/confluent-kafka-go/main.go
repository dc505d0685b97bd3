// Driver of confluent-kafka-go: librdkafka from Go.
package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"moldau.test/matrix/rule"
)

var ctx = context.Background()

func partition(topic string, offset kafka.Offset) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: &topic, Partition: 0, Offset: offset}
}

func config(c rule.Call, more kafka.ConfigMap) *kafka.ConfigMap {
	all := kafka.ConfigMap{"bootstrap.servers": c.Bootstrap, "log_level": 2}
	for name, value := range more {
		all[name] = value
	}
	return &all
}

func send(c rule.Call, more kafka.ConfigMap, messages []*kafka.Message) {
	producer := rule.Must(kafka.NewProducer(config(c, more)))
	delivered := make(chan kafka.Event, len(messages))
	for _, m := range messages {
		m.TopicPartition = partition(c.Topic, 0)
		rule.Check(producer.Produce(m, delivered))
	}
	for range messages {
		rule.Check((<-delivered).(*kafka.Message).TopicPartition.Error)
	}
	producer.Close()
}

func write(c rule.Call, more kafka.ConfigMap) {
	var messages []*kafka.Message
	for i := 0; i < 500; i++ {
		messages = append(messages, &kafka.Message{Key: rule.Key(i), Value: rule.Value(i)})
	}
	more["linger.ms"] = 20
	send(c, more, messages)
}

func consumer(c rule.Call, group string, more kafka.ConfigMap) *kafka.Consumer {
	all := kafka.ConfigMap{"group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 10000, "heartbeat.interval.ms": 1000}
	for name, value := range more {
		all[name] = value
	}
	return rule.Must(kafka.NewConsumer(config(c, all)))
}

func next(consumer *kafka.Consumer) *kafka.Message {
	return rule.Must(consumer.ReadMessage(30 * time.Second))
}

func fetch(c rule.Call, topic string, from kafka.Offset, count int64) (out []*kafka.Message) {
	consumer := consumer(c, "nobody", kafka.ConfigMap{"enable.auto.commit": false})
	rule.Check(consumer.Assign([]kafka.TopicPartition{partition(topic, from)}))
	for int64(len(out)) < count {
		out = append(out, next(consumer))
	}
	rule.Check(consumer.Close())
	return out
}

func read(c rule.Call, topic string, count int64) (right int) {
	for o, m := range fetch(c, topic, 0, count) {
		if rule.IsRight(int64(m.TopicPartition.Offset), int64(o), m.Key, m.Value) {
			right++
		}
	}
	return right
}

func codec(c rule.Call) rule.Answer {
	write(c, kafka.ConfigMap{"compression.type": c.Capability})
	foreign, count := c.Foreign()
	return rule.Answer{"own": read(c, c.Topic, 500), "foreign": read(c, foreign, count)}
}

func records(c rule.Call) rule.Answer {
	odd := rule.OddOnes(c.Capability)
	var messages []*kafka.Message
	for _, r := range odd {
		m := &kafka.Message{Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Ms)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		messages = append(messages, m)
	}
	send(c, nil, messages)
	found := []any{}
	for _, m := range fetch(c, c.Topic, 0, int64(len(odd))) {
		record := rule.Record{Key: m.Key, Value: m.Value, Ms: m.Timestamp.UnixMilli()}
		for _, h := range m.Headers {
			record.Headers = append(record.Headers, rule.Header{Name: h.Key, Value: h.Value})
		}
		found = append(found, record.AsJSON())
	}
	return rule.Answer{"records": found}
}

type member struct {
	consumer    *kafka.Consumer
	mutex       sync.Mutex
	partitions  []int32
	assignments int
	read        int
	stop        bool
	done        chan bool
}

func (m *member) look(at func()) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	at()
}

func (m *member) Count() (count int) {
	m.look(func() { count = len(m.partitions) })
	return count
}

func (m *member) Read() (read int) {
	m.look(func() { read = m.read })
	return read
}

// What has been read is marked so by the member itself: Close polls on and drops what comes, and what was polled would count as
// read otherwise, so that the other member would never see it.
func join(c rule.Call, seen *rule.Seen, more kafka.ConfigMap) *member {
	all := kafka.ConfigMap{"enable.auto.offset.store": false}
	for name, value := range more {
		all[name] = value
	}
	m := &member{consumer: consumer(c, c.Group, all), done: make(chan bool)}
	rule.Check(m.consumer.SubscribeTopics([]string{c.Topic}, func(_ *kafka.Consumer, event kafka.Event) error {
		m.look(func() {
			switch told := event.(type) { // all of them, or with a cooperative strategy what came and what went
			case kafka.AssignedPartitions:
				m.assignments++
				for _, p := range told.Partitions {
					m.partitions = append(m.partitions, p.Partition)
				}
				slices.Sort(m.partitions)
			case kafka.RevokedPartitions:
				m.partitions = slices.DeleteFunc(slices.Clone(m.partitions), func(partition int32) bool {
					return slices.ContainsFunc(told.Partitions, func(p kafka.TopicPartition) bool { return p.Partition == partition })
				})
			}
		})
		return nil
	}))
	go func() {
		defer close(m.done)
		for stop := false; !stop; m.look(func() { stop = m.stop }) {
			if message, ok := m.consumer.Poll(100).(*kafka.Message); ok {
				seen.Add(message.Value)
				_, _ = m.consumer.StoreMessage(message) // refused if the partition is another's by now
				m.look(func() { m.read++ })
			}
		}
		rule.Check(m.consumer.Close())
	}()
	return m
}

func (m *member) Leave() {
	m.look(func() { m.stop = true })
	<-m.done
}

func alone(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	m := join(c, seen, nil)
	rule.Alone(seen, m.Count)
	m.Leave()
	return nil
}

func pause(c rule.Call) rule.Answer {
	consumer := consumer(c, "nobody", kafka.ConfigMap{"enable.auto.commit": false})
	there := []kafka.TopicPartition{partition(c.Topic, 0)}
	rule.Check(consumer.Assign(there))
	for i := 0; i < 10; i++ {
		next(consumer)
	}
	rule.Check(consumer.Pause(there))
	quiet := 0
	for i := 0; i < 10; i++ {
		if _, ok := consumer.Poll(100).(*kafka.Message); ok {
			quiet++
		}
	}
	rule.Must(consumer.SeekPartitions([]kafka.TopicPartition{partition(c.Topic, 20)}))
	rule.Check(consumer.Resume(there))
	offset := int64(next(consumer).TopicPartition.Offset)
	rule.Check(consumer.Close())
	return rule.Answer{"quiet": quiet, "next": offset}
}

func transaction(c rule.Call) rule.Answer {
	producer := rule.Must(kafka.NewProducer(config(c, kafka.ConfigMap{"transactional.id": c.Group})))
	defer producer.Close()
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	rule.Check(producer.InitTransactions(soon))
	for _, end := range []func(context.Context) error{producer.AbortTransaction, producer.CommitTransaction} {
		rule.Check(producer.BeginTransaction())
		for i := 0; i < 10; i++ {
			delivered := make(chan kafka.Event, 1)
			rule.Check(producer.Produce(&kafka.Message{TopicPartition: partition(c.Topic, 0), Key: rule.Key(i), Value: rule.Value(i)}, delivered))
			rule.Check((<-delivered).(*kafka.Message).TopicPartition.Error)
		}
		rule.Check(end(soon))
	}
	found := fetch(c, c.Topic, 0, 10) // it reads what is committed by default
	return rule.Answer{"read": len(found), "first": int64(found[0].TopicPartition.Offset)}
}

func large(c rule.Call) rule.Answer {
	producer := rule.Must(kafka.NewProducer(config(c, kafka.ConfigMap{"message.max.bytes": 2000000})))
	defer producer.Close()
	return rule.Large(func(value []byte) error {
		delivered := make(chan kafka.Event, 1)
		rule.Check(producer.Produce(&kafka.Message{TopicPartition: partition(c.Topic, 0), Value: value}, delivered))
		return (<-delivered).(*kafka.Message).TopicPartition.Error
	}, func() []byte { return fetch(c, c.Topic, 0, 1)[0].Value })
}

func group(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	var strategy kafka.ConfigMap
	switch c.Argument {
	case "":
	case "sticky":
		return rule.Answer{"lacks": "librdkafka has no assignor sticky"}
	case "cooperative":
		strategy = kafka.ConfigMap{"partition.assignment.strategy": "cooperative-sticky"}
	default:
		strategy = kafka.ConfigMap{"partition.assignment.strategy": c.Argument}
	}
	return rule.Two(seen, func() rule.Member { return join(c, seen, strategy) })
}

func resume(c rule.Call) rule.Answer {
	one := func() *kafka.Consumer {
		consumer := consumer(c, c.Group, kafka.ConfigMap{"enable.auto.commit": false})
		rule.Check(consumer.SubscribeTopics([]string{c.Topic}, nil))
		return consumer
	}
	consumer := one()
	for i := 0; i < 40; i++ {
		next(consumer)
	}
	rule.Must(consumer.CommitOffsets([]kafka.TopicPartition{partition(c.Topic, 40)}))
	rule.Check(consumer.Close())
	consumer = one()
	var offsets []int64
	for len(offsets) == 0 || offsets[len(offsets)-1] < 99 {
		offsets = append(offsets, int64(next(consumer).TopicPartition.Offset))
	}
	rule.Must(consumer.Commit())
	rule.Check(consumer.Close())
	return rule.Answer{"first": offsets[0], "last": offsets[len(offsets)-1]}
}

func static(c rule.Call) rule.Answer {
	seen := &rule.Seen{}
	one, two := join(c, seen, kafka.ConfigMap{"group.instance.id": "one"}), join(c, seen, kafka.ConfigMap{"group.instance.id": "two"})
	rule.Until("both have two partitions", func() bool { return one.Count() == 2 && two.Count() == 2 })
	before, after, assignments, disturbed := two.partitions, []int32{}, 0, 0
	one.look(func() { assignments = one.assignments })
	two.Leave() // with an instance id it does not leave the group
	two = join(c, seen, kafka.ConfigMap{"group.instance.id": "two"})
	rule.Until("the second member has partitions again", func() bool { return two.Count() > 0 })
	time.Sleep(1500 * time.Millisecond) // a heartbeat of the first would tell it of a rebalance
	two.look(func() { after = two.partitions })
	one.look(func() { disturbed = one.assignments - assignments })
	two.Leave()
	one.Leave()
	return rule.Answer{"before": before, "after": after, "disturbed": disturbed}
}

func offsets(c rule.Call) rule.Answer {
	consumer := consumer(c, "nobody", nil)
	defer consumer.Close()
	low, high, err := consumer.QueryWatermarkOffsets(c.Topic, 0, 10000)
	rule.Check(err)
	answer := rule.Answer{"earliest": low, "latest": high}
	for name, ms := range map[string]kafka.Offset{"at": 1700000050000, "between": 1700000050500, "after": 1800000000000} {
		found := rule.Must(consumer.OffsetsForTimes([]kafka.TopicPartition{partition(c.Topic, ms)}, 10000))[0]
		rule.Check(found.Error)
		answer[name] = nil
		if found.Offset >= 0 {
			answer[name] = int64(found.Offset)
		}
	}
	answer["read"] = string(fetch(c, c.Topic, kafka.Offset(answer["at"].(int64)), 1)[0].Key)
	return answer
}

func well(err kafka.Error) {
	if err.Code() != kafka.ErrNoError {
		rule.Fail(err)
	}
}

func topicsAreWell(results []kafka.TopicResult, err error) rule.Answer {
	rule.Check(err)
	for _, result := range results {
		well(result.Error)
	}
	return nil
}

func admin(call func(a *kafka.AdminClient, topic, group string) rule.Answer) func(rule.Call) rule.Answer {
	return func(c rule.Call) rule.Answer {
		a := rule.Must(kafka.NewAdminClient(config(c, nil)))
		defer a.Close()
		return call(a, c.Topic, c.Group)
	}
}

func main() {
	capabilities := map[string]func(rule.Call) rule.Answer{
		"version": func(rule.Call) rule.Answer {
			_, library := kafka.LibraryVersion()
			return rule.Answer{"version": rule.Version("github.com/confluentinc/confluent-kafka-go/v2") + " (librdkafka " + library + ")"}
		},
		"records": records, "null-header": records, "group": group, "member": alone, "pause": pause, "large": large, "transaction": transaction, "resume": resume, "static": static, "offsets": offsets,
		"idempotent": func(c rule.Call) rule.Answer { write(c, kafka.ConfigMap{"enable.idempotence": true}); return nil },
		"create-topic": admin(func(a *kafka.AdminClient, topic, _ string) rule.Answer {
			return topicsAreWell(a.CreateTopics(ctx, []kafka.TopicSpecification{{Topic: topic, NumPartitions: 3, ReplicationFactor: 1, Config: map[string]string{"retention.ms": "3600000"}}}))
		}),
		"describe-topic": admin(func(a *kafka.AdminClient, topic, _ string) rule.Answer {
			found := rule.Must(a.GetMetadata(&topic, false, 10000)).Topics[topic]
			well(found.Error)
			leaders := []int32{}
			for _, p := range found.Partitions {
				if !slices.Contains(leaders, p.Leader) {
					leaders = append(leaders, p.Leader)
				}
			}
			slices.Sort(leaders)
			return rule.Answer{"partitions": len(found.Partitions), "leaders": leaders}
		}),
		"create-partitions": admin(func(a *kafka.AdminClient, topic, _ string) rule.Answer {
			return topicsAreWell(a.CreatePartitions(ctx, []kafka.PartitionsSpecification{{Topic: topic, IncreaseTo: 5}}))
		}),
		"describe-config": admin(func(a *kafka.AdminClient, topic, _ string) rule.Answer {
			found := rule.Must(a.DescribeConfigs(ctx, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}}))[0]
			well(found.Error)
			return rule.Answer{"retention": found.Config["retention.ms"].Value}
		}),
		"alter-config": admin(func(a *kafka.AdminClient, topic, _ string) rule.Answer {
			change := []kafka.ConfigEntry{{Name: "retention.ms", Value: "7200000", IncrementalOperation: kafka.AlterConfigOpTypeSet}}
			well(rule.Must(a.IncrementalAlterConfigs(ctx, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic, Config: change}}))[0].Error)
			return nil
		}),
		"delete-records": admin(func(a *kafka.AdminClient, topic, _ string) rule.Answer {
			rule.Check(rule.Must(a.DeleteRecords(ctx, []kafka.TopicPartition{partition(topic, 40)})).DeleteRecordsResults[0].TopicPartition.Error)
			return nil
		}),
		"list-groups": admin(func(a *kafka.AdminClient, _, _ string) rule.Answer {
			names := []string{}
			for _, found := range rule.Must(a.ListConsumerGroups(ctx)).Valid {
				names = append(names, found.GroupID)
			}
			return rule.Answer{"groups": names}
		}),
		"describe-group": admin(func(a *kafka.AdminClient, _, group string) rule.Answer {
			found := rule.Must(a.DescribeConsumerGroups(ctx, []string{group})).ConsumerGroupDescriptions[0]
			well(found.Error)
			state := strings.ToLower(found.State.String())
			return rule.Answer{"state": strings.ToUpper(state[:1]) + state[1:], "members": len(found.Members)}
		}),
		"describe-cluster": admin(func(a *kafka.AdminClient, _, _ string) rule.Answer {
			found := rule.Must(a.DescribeCluster(ctx))
			return rule.Answer{"nodes": len(found.Nodes), "controller": found.Controller.ID}
		}),
		"group-offsets": admin(func(a *kafka.AdminClient, topic, group string) rule.Answer {
			found := rule.Must(a.ListConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: group}}))
			return rule.Answer{"offset": int64(found.ConsumerGroupsTopicPartitions[0].Partitions[0].Offset)}
		}),
		"alter-offsets": admin(func(a *kafka.AdminClient, topic, group string) rule.Answer {
			to := []kafka.ConsumerGroupTopicPartitions{{Group: group, Partitions: []kafka.TopicPartition{partition(topic, 3)}}}
			rule.Check(rule.Must(a.AlterConsumerGroupOffsets(ctx, to)).ConsumerGroupsTopicPartitions[0].Partitions[0].Error)
			return nil
		}),
		"delete-group": admin(func(a *kafka.AdminClient, _, group string) rule.Answer {
			well(rule.Must(a.DeleteConsumerGroups(ctx, []string{group})).ConsumerGroupResults[0].Error)
			return nil
		}),
		"delete-topic": admin(func(a *kafka.AdminClient, topic, _ string) rule.Answer {
			return topicsAreWell(a.DeleteTopics(ctx, []string{topic}))
		}),
	}
	for _, name := range rule.Codecs {
		capabilities[name] = codec
	}
	rule.Main(capabilities)
}
