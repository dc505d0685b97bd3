"""confluent-kafka: librdkafka from Python."""
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType

import rule


def write(bootstrap, topic, **settings):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, **settings})
    for i in range(500):
        producer.produce(topic, partition=0, key=rule.key(i), value=rule.value(i), on_delivery=lambda error, _: error and failures.append(error))
    left = producer.flush(30)
    if left or failures:
        raise RuntimeError(f"{left} not delivered, {failures[:1]}")


def consumer(bootstrap, group, **settings):
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 10000,
                     "heartbeat.interval.ms": 1000, **settings})


def messages(member, count, seconds=30):
    """The next so many messages."""
    deadline = time.monotonic() + seconds
    while count > 0:
        message = member.poll(0.5)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} messages did not come")
        if message is None:
            continue
        if message.error():
            raise confluent_kafka.KafkaException(message.error())
        count -= 1
        yield message


def read(bootstrap, topic, count):
    member = consumer(bootstrap, "nobody", **{"enable.auto.commit": False})
    member.assign([TopicPartition(topic, 0, 0)])
    right = sum(m.offset() == o and m.key() == rule.key(o % 500) and m.value() == rule.value(o % 500) for o, m in enumerate(messages(member, count)))
    member.close()
    return right


def codec(name):
    def run(bootstrap, topic, group, argument):
        write(bootstrap, topic, **{"compression.type": name})
        foreign, count = argument.rsplit(":", 1)
        return {"own": read(bootstrap, topic, 500), "foreign": read(bootstrap, foreign, int(count))}
    return run


def records(odd):
    def run(bootstrap, topic, group, argument):
        producer = Producer({"bootstrap.servers": bootstrap})
        for key, value, timestamp, headers in odd:
            producer.produce(topic, partition=0, key=key, value=value, timestamp=timestamp, headers=headers)
        if producer.flush(30):
            raise RuntimeError("not delivered")
        member = consumer(bootstrap, "nobody")
        member.assign([TopicPartition(topic, 0, 0)])
        found = [rule.as_json(m.key(), m.value(), m.timestamp()[1], m.headers()) for m in messages(member, len(odd))]
        member.close()
        return {"records": found}
    return run


class Member(threading.Thread):
    def __init__(self, bootstrap, group, topic, seen=None, **settings):
        super().__init__(daemon=True)
        self.partitions, self.assignments, self.read, self.leave, self.seen = set(), 0, 0, False, seen
        self.consumer = consumer(bootstrap, group, **settings)
        self.consumer.subscribe([topic], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.revoked)
        self.start()

    # a cooperative strategy tells what came and what went, the others tell all
    def assigned(self, consumer, partitions):
        self.assignments += 1
        self.partitions = self.partitions | {p.partition for p in partitions}

    def revoked(self, consumer, partitions):
        self.partitions = self.partitions - {p.partition for p in partitions}

    def run(self):
        while not self.leave:
            message = self.consumer.poll(0.1)
            if message is not None and not message.error() and self.seen:
                self.seen.add(message.value())
                self.read += 1
        self.consumer.close()

    def close(self):
        self.leave = True
        self.join(30)


def group_of_two(bootstrap, topic, group, argument):
    names = {"roundrobin": "roundrobin", "range": "range", "cooperative": "cooperative-sticky"}
    if argument and argument not in names:
        return {"lacks": f"librdkafka has no assignor {argument}"}
    strategy = {"partition.assignment.strategy": names[argument]} if argument else {}
    return rule.two_members(lambda seen: Member(bootstrap, group, topic, seen, **strategy))


def member(bootstrap, topic, group, argument):
    rule.one_member(lambda seen: Member(bootstrap, group, topic, seen))


def pause(bootstrap, topic, group, argument):
    there = TopicPartition(topic, 0)
    one = consumer(bootstrap, "nobody")
    one.assign([TopicPartition(topic, 0, 0)])
    list(messages(one, 10))
    one.pause([there])
    quiet = sum(one.poll(0.1) is not None for _ in range(10))
    one.seek(TopicPartition(topic, 0, 20))
    one.resume([there])
    offset = next(messages(one, 1)).offset()
    one.close()
    return {"quiet": quiet, "next": offset}


def transaction(bootstrap, topic, group, argument):
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": group})
    producer.init_transactions(30)
    for end in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for i in range(10):
            producer.produce(topic, partition=0, key=rule.key(i), value=rule.value(i))
        producer.flush(30)
        end(30)
    one = consumer(bootstrap, "nobody", **{"isolation.level": "read_committed"})
    one.assign([TopicPartition(topic, 0, 0)])
    found = list(messages(one, 10))
    one.close()
    return {"read": len(found), "first": found[0].offset()}


def large(bootstrap, topic, group, argument):
    told = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 2000000})
    for size in (1000000, 1100000):
        producer.produce(topic, partition=0, value=bytes(size), on_delivery=lambda error, _: told.append(error))
        producer.flush(30)
    one = consumer(bootstrap, "nobody")
    one.assign([TopicPartition(topic, 0, 0)])
    size = len(next(messages(one, 1)).value())
    one.close()
    return {"read": size, "refused": str(told[1])}


def resume(bootstrap, topic, group, argument):
    first = consumer(bootstrap, group, **{"enable.auto.commit": False})
    first.subscribe([topic])
    for _ in messages(first, 40):
        pass
    first.commit(offsets=[TopicPartition(topic, 0, 40)], asynchronous=False)
    first.close()
    second = consumer(bootstrap, group, **{"enable.auto.commit": False})
    second.subscribe([topic])
    offsets = [next(messages(second, 1)).offset()]
    offsets += [m.offset() for m in messages(second, 99 - offsets[0])]
    second.commit(asynchronous=False)
    second.close()
    return {"first": offsets[0], "last": offsets[-1]}


def static(bootstrap, topic, group, argument):
    return rule.static_members(lambda name: Member(bootstrap, group, topic, **{"group.instance.id": name}))


def offsets(bootstrap, topic, group, argument):
    admin, there = AdminClient({"bootstrap.servers": bootstrap}), TopicPartition(topic, 0)
    earliest, latest = (admin.list_offsets({there: spec})[there].result().offset for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
    member = consumer(bootstrap, "nobody")
    at, between, after = (member.offsets_for_times([TopicPartition(topic, 0, time)], 10)[0].offset for time in (1700000050000, 1700000050500, 1800000000000))
    member.assign([TopicPartition(topic, 0, at)])
    key = next(messages(member, 1)).key().decode()
    member.close()
    return {"earliest": earliest, "latest": latest, "at": at, "between": between, "after": None if after < 0 else after, "read": key}


def admin(call):
    def run(bootstrap, topic, group, argument):
        return call(AdminClient({"bootstrap.servers": bootstrap}), topic, group)
    return run


def done(futures):
    for future in futures.values():
        future.result(30)


def describe_topic(admin, topic, group):
    partitions = admin.list_topics(topic, 10).topics[topic].partitions
    return {"partitions": len(partitions), "leaders": sorted({p.leader for p in partitions.values()})}


def describe_config(admin, topic, group):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {"retention": admin.describe_configs([resource])[resource].result()["retention.ms"].value}


def alter_config(admin, topic, group):
    entry = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))


def describe_cluster(admin, topic, group):
    found = admin.describe_cluster().result(30)
    return {"nodes": len(found.nodes), "controller": found.controller.id}


def group_offsets(admin, topic, group):
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    return {"offset": found.topic_partitions[0].offset}


def describe_group(admin, topic, group):
    found = admin.describe_consumer_groups([group])[group].result()
    return {"state": found.state.name.title(), "members": len(found.members)}


rule.main({
    "version": lambda *_: {"version": f"{confluent_kafka.version()} (librdkafka {confluent_kafka.libversion()[0]})"},
    **{name: codec(name) for name in ("none", "gzip", "snappy", "lz4", "zstd")},
    "records": records(rule.ODD),
    "null-header": records(rule.NULL_HEADER),
    "idempotent": lambda bootstrap, topic, group, argument: write(bootstrap, topic, **{"enable.idempotence": True}),
    "group": group_of_two,
    "member": member,
    "resume": resume,
    "pause": pause,
    "large": large,
    "transaction": transaction,
    "static": static,
    "offsets": offsets,
    "create-topic": admin(lambda a, topic, group: done(a.create_topics([NewTopic(topic, 3, 1, config={"retention.ms": "3600000"})]))),
    "describe-topic": admin(describe_topic),
    "create-partitions": admin(lambda a, topic, group: done(a.create_partitions([NewPartitions(topic, 5)]))),
    "describe-config": admin(describe_config),
    "alter-config": admin(alter_config),
    "delete-records": admin(lambda a, topic, group: done(a.delete_records([TopicPartition(topic, 0, 40)]))),
    "list-groups": admin(lambda a, topic, group: {"groups": [g.group_id for g in a.list_consumer_groups().result(30).valid]}),
    "describe-group": admin(describe_group),
    "describe-cluster": admin(describe_cluster),
    "group-offsets": admin(group_offsets),
    "alter-offsets": admin(lambda a, topic, group: done(a.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3)])]))),
    "delete-group": admin(lambda a, topic, group: done(a.delete_consumer_groups([group]))),
    "delete-topic": admin(lambda a, topic, group: done(a.delete_topics([topic]))),
})
