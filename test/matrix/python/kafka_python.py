"""kafka-python."""
import threading
import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.structs import OffsetAndMetadata

import rule

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor, "cooperative": CooperativeStickyAssignor}


def write(bootstrap, topic, **settings):
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, **settings)
    sent = [producer.send(topic, partition=0, key=rule.key(i), value=rule.value(i)) for i in range(500)]
    for future in sent:
        future.get(30)
    producer.close()


def consumer(bootstrap, group=None, **settings):
    if group:
        settings = dict(session_timeout_ms=10000, heartbeat_interval_ms=1000, **settings)
    return KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", **settings)


def messages(member, count, seconds=30):
    deadline = time.monotonic() + seconds
    while count > 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} messages did not come")
        for batch in member.poll(500, max_records=count).values():
            for message in batch:
                count -= 1
                yield message


def read(bootstrap, topic, count):
    member = consumer(bootstrap)
    member.assign([TopicPartition(topic, 0)])
    right = sum(m.offset == o and m.key == rule.key(o % 500) and m.value == rule.value(o % 500) for o, m in enumerate(messages(member, count)))
    member.close()
    return right


def codec(name):
    def run(bootstrap, topic, group, argument):
        write(bootstrap, topic, compression_type=None if name == "none" else name)
        foreign, count = argument.rsplit(":", 1)
        return {"own": read(bootstrap, topic, 500), "foreign": read(bootstrap, foreign, int(count))}
    return run


def records(odd):
    def run(bootstrap, topic, group, argument):
        producer = KafkaProducer(bootstrap_servers=bootstrap)
        for key, value, timestamp, headers in odd:
            producer.send(topic, partition=0, key=key, value=value, timestamp_ms=timestamp, headers=headers).get(30)
        producer.close()
        member = consumer(bootstrap)
        member.assign([TopicPartition(topic, 0)])
        found = [rule.as_json(m.key, m.value, m.timestamp, m.headers) for m in messages(member, len(odd))]
        member.close()
        return {"records": found}
    return run


class Member(threading.Thread, ConsumerRebalanceListener):
    def __init__(self, bootstrap, group, topic, seen=None, **settings):
        super().__init__(daemon=True)
        self.partitions, self.assignments, self.read, self.leave, self.seen = set(), 0, 0, False, seen
        self.consumer = consumer(bootstrap, group, **settings)
        self.consumer.subscribe([topic], listener=self)
        self.start()

    def on_partitions_assigned(self, assigned):
        self.assignments += 1
        self.partitions = self.partitions | {p.partition for p in assigned}

    def on_partitions_revoked(self, revoked):
        self.partitions = self.partitions - {p.partition for p in revoked}

    def run(self):
        while not self.leave:
            for batch in self.consumer.poll(100).values():
                for message in batch:
                    if self.seen:
                        self.seen.add(message.value)
                        self.read += 1
        self.consumer.close()

    def close(self):
        self.leave = True
        self.join(30)


def group_of_two(bootstrap, topic, group, argument):
    strategy = {"partition_assignment_strategy": [ASSIGNORS[argument]]} if argument else {}
    return rule.two_members(lambda seen: Member(bootstrap, group, topic, seen, **strategy))


def member(bootstrap, topic, group, argument):
    rule.one_member(lambda seen: Member(bootstrap, group, topic, seen))


def pause(bootstrap, topic, group, argument):
    there = TopicPartition(topic, 0)
    one = consumer(bootstrap, max_poll_records=10)
    one.assign([there])
    list(messages(one, 10))
    one.pause(there)
    quiet = sum(len(one.poll(100)) for _ in range(10))
    one.seek(there, 20)
    one.resume(there)
    offset = next(messages(one, 1)).offset
    one.close()
    return {"quiet": quiet, "next": offset}


def transaction(bootstrap, topic, group, argument):
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=group)
    producer.init_transactions()
    for end in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for future in [producer.send(topic, partition=0, key=rule.key(i), value=rule.value(i)) for i in range(10)]:
            future.get(30)
        end()
    producer.close()
    one = consumer(bootstrap, isolation_level="read_committed")
    one.assign([TopicPartition(topic, 0)])
    found = list(messages(one, 10))
    one.close()
    return {"read": len(found), "first": found[0].offset}


def large(bootstrap, topic, group, argument):
    producer = KafkaProducer(bootstrap_servers=bootstrap, max_request_size=2000000)
    producer.send(topic, partition=0, value=bytes(1000000)).get(30)
    refused = ""
    try:
        producer.send(topic, partition=0, value=bytes(1100000)).get(30)
    except Exception as error:
        refused = f"{type(error).__name__}: {error}"
    one = consumer(bootstrap)
    one.assign([TopicPartition(topic, 0)])
    size = len(next(messages(one, 1)).value)
    one.close()
    return {"read": size, "refused": refused}


def resume(bootstrap, topic, group, argument):
    first = consumer(bootstrap, group, enable_auto_commit=False)
    first.subscribe([topic])
    for _ in messages(first, 40):
        pass
    first.commit({TopicPartition(topic, 0): OffsetAndMetadata(40, "", -1)})
    first.close()
    second = consumer(bootstrap, group, enable_auto_commit=False)
    second.subscribe([topic])
    offsets = [next(messages(second, 1)).offset]
    offsets += [m.offset for m in messages(second, 99 - offsets[0])]
    second.commit()
    second.close()
    return {"first": offsets[0], "last": offsets[-1]}


def static(bootstrap, topic, group, argument):
    return rule.static_members(lambda name: Member(bootstrap, group, topic, group_instance_id=name))


def offsets(bootstrap, topic, group, argument):
    member, there = consumer(bootstrap), TopicPartition(topic, 0)
    member.assign([there])
    at, between, after = (member.offsets_for_times({there: time})[there] for time in (1700000050000, 1700000050500, 1800000000000))
    earliest, latest = member.beginning_offsets([there])[there], member.end_offsets([there])[there]
    member.seek(there, at.offset)
    key = next(messages(member, 1)).key.decode()
    member.close()
    return {"earliest": earliest, "latest": latest, "at": at.offset, "between": between.offset, "after": None if after is None or after.offset < 0 else after.offset, "read": key}


def admin(call):
    def run(bootstrap, topic, group, argument):
        return call(KafkaAdminClient(bootstrap_servers=bootstrap), topic, group)
    return run


def create_topic(admin, topic, group):
    admin.create_topics([NewTopic(topic, 3, 1, topic_configs={"retention.ms": "3600000"})])


def describe_topic(admin, topic, group):
    partitions = admin.describe_topics([topic])[0]["partitions"]
    return {"partitions": len(partitions), "leaders": sorted({p["leader_id"] for p in partitions})}


def create_partitions(admin, topic, group):
    admin.create_partitions({topic: 5})


def describe_config(admin, topic, group):
    found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    return {"retention": find(found, topic)}


def find(found, topic):
    entry = found[ConfigResourceType.TOPIC][topic]["retention.ms"] if isinstance(found, dict) and ConfigResourceType.TOPIC in found else next(iter(found.values()))[topic]["retention.ms"]
    return entry["value"] if isinstance(entry, dict) else getattr(entry, "value", entry)


def alter_config(admin, topic, group):
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "7200000"})])


def describe_cluster(admin, topic, group):
    found = admin.describe_cluster()
    return {"nodes": len(found["brokers"]), "controller": found["controller_id"]}


def alter_offsets(admin, topic, group):
    for error in admin.alter_group_offsets(group, {TopicPartition(topic, 0): OffsetAndMetadata(3, "", -1)}).values():
        if getattr(error, "errno", 0):
            raise error


def describe_group(admin, topic, group):
    found = admin.describe_groups([group])
    found = found[group] if isinstance(found, dict) else found[0]
    return {"state": found["group_state"], "members": len(found["members"])}


rule.main({
    "version": lambda *_: {"version": kafka.__version__},
    **{name: codec(name) for name in ("none", "gzip", "snappy", "lz4", "zstd")},
    "records": records(rule.ODD),
    "null-header": lambda *_: {"lacks": "a header is a str and bytes, never null"},
    "idempotent": lambda bootstrap, topic, group, argument: write(bootstrap, topic, enable_idempotence=True),
    "group": group_of_two,
    "member": member,
    "resume": resume,
    "pause": pause,
    "large": large,
    "transaction": transaction,
    "static": static,
    "offsets": offsets,
    "create-topic": admin(create_topic),
    "describe-topic": admin(describe_topic),
    "create-partitions": admin(create_partitions),
    "describe-config": admin(describe_config),
    "alter-config": admin(alter_config),
    "delete-records": admin(lambda a, topic, group: a.delete_records({TopicPartition(topic, 0): 40}) and {}),
    "list-groups": admin(lambda a, topic, group: {"groups": [g["group_id"] if isinstance(g, dict) else g[0] for g in a.list_groups()]}),
    "describe-group": admin(describe_group),
    "describe-cluster": admin(describe_cluster),
    "group-offsets": admin(lambda a, topic, group: {"offset": a.list_group_offsets({group: None})[group][TopicPartition(topic, 0)].offset}),
    "alter-offsets": admin(alter_offsets),
    "delete-group": admin(lambda a, topic, group: a.delete_groups([group]) and {}),
    "delete-topic": admin(lambda a, topic, group: a.delete_topics([topic]) and {}),
})
