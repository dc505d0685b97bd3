"""aiokafka: asyncio. Its administration is a part of what Kafka has."""
import asyncio
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import rule

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}


async def write(bootstrap, topic, **settings):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, **settings) as producer:
        sent = [await producer.send(topic, partition=0, key=rule.key(i), value=rule.value(i)) for i in range(500)]
        for future in sent:
            await asyncio.wait_for(future, 30)


def consumer(bootstrap, *topics, group=None, **settings):
    return AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", session_timeout_ms=10000,
                            heartbeat_interval_ms=1000, **settings)


async def messages(member, count):
    return [await asyncio.wait_for(member.getone(), 30) for _ in range(count)]


async def read_all(bootstrap, topic, count):
    member = consumer(bootstrap)
    await member.start()
    member.assign([TopicPartition(topic, 0)])
    try:
        return await messages(member, count)
    finally:
        await member.stop()


async def read(bootstrap, topic, count):
    return sum(m.offset == o and m.key == rule.key(o % 500) and m.value == rule.value(o % 500) for o, m in enumerate(await read_all(bootstrap, topic, count)))


def codec(name):
    async def run(bootstrap, topic, group, argument):
        await write(bootstrap, topic, compression_type=None if name == "none" else name)
        foreign, count = argument.rsplit(":", 1)
        return {"own": await read(bootstrap, topic, 500), "foreign": await read(bootstrap, foreign, int(count))}
    return run


def records(odd):
    async def run(bootstrap, topic, group, argument):
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            for key, value, timestamp, headers in odd:
                await producer.send_and_wait(topic, partition=0, key=key, value=value, timestamp_ms=timestamp, headers=headers)
        return {"records": [rule.as_json(m.key, m.value, m.timestamp, m.headers) for m in await read_all(bootstrap, topic, len(odd))]}
    return run


class Member(ConsumerRebalanceListener):
    def __init__(self, bootstrap, group, topic, seen=None, **settings):
        self.partitions, self.assignments, self.read, self.leave, self.seen = set(), 0, 0, False, seen
        self.consumer = consumer(bootstrap, group=group, **settings)
        self.consumer.subscribe([topic], listener=self)
        self.task = asyncio.ensure_future(self.run())

    async def on_partitions_assigned(self, assigned):
        self.assignments += 1
        self.partitions = {p.partition for p in assigned}

    async def on_partitions_revoked(self, revoked):
        self.partitions = set()

    async def run(self):
        await self.consumer.start()
        while not self.leave:
            for batch in (await self.consumer.getmany(timeout_ms=100)).values():
                for message in batch:
                    if self.seen:
                        self.seen.add(message.value)
                        self.read += 1
        await self.consumer.stop()

    async def close(self):
        self.leave = True
        await asyncio.wait_for(self.task, 30)


async def until(fact, seconds=40):
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError("the group did not get there")
        await asyncio.sleep(0.02)


async def group_of_two(bootstrap, topic, group, argument):
    seen = rule.Seen()
    if argument and argument not in ASSIGNORS:
        return {"lacks": f"it has no assignor {argument}"}
    strategy = {"partition_assignment_strategy": [ASSIGNORS[argument]]} if argument else {}
    a = Member(bootstrap, group, topic, seen, **strategy)
    await until(lambda: len(a.partitions) == 6)
    b = Member(bootstrap, group, topic, seen, **strategy)
    await until(lambda: a.partitions and b.partitions and len(a.partitions | b.partitions) == 6 and b.read > 0)
    shared = [len(a.partitions), len(b.partitions)]
    await b.close()
    await until(lambda: len(a.partitions) == 6)
    print("covered", flush=True)
    await until(lambda: seen.ends >= 6)
    await a.close()
    return seen.answer(alone=6, shared=shared, again=6)


async def member(bootstrap, topic, group, argument):
    seen = rule.Seen()
    one, had = Member(bootstrap, group, topic, seen), 0
    while seen.ends < 6:
        has = len(one.partitions)
        if has != had:
            had = rule.has(has)
        await asyncio.sleep(0.02)
    await one.close()


async def pause(bootstrap, topic, group, argument):
    there, one = TopicPartition(topic, 0), consumer(bootstrap)
    await one.start()
    one.assign([there])
    await messages(one, 10)
    one.pause(there)
    quiet = sum([len(await one.getmany(timeout_ms=100)) for _ in range(10)])
    one.seek(there, 20)
    one.resume(there)
    offset = (await messages(one, 1))[0].offset
    await one.stop()
    return {"quiet": quiet, "next": offset}


async def transaction(bootstrap, topic, group, argument):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=group)
    try:
        await producer.start()
        for end in (producer.abort_transaction, producer.commit_transaction):
            await producer.begin_transaction()
            for i in range(10):
                await producer.send_and_wait(topic, partition=0, key=rule.key(i), value=rule.value(i))
            await end()
    finally:
        await producer.stop()
    one = consumer(bootstrap, isolation_level="read_committed")
    await one.start()
    one.assign([TopicPartition(topic, 0)])
    found = await messages(one, 10)
    await one.stop()
    return {"read": len(found), "first": found[0].offset}


async def large(bootstrap, topic, group, argument):
    refused = ""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2000000) as producer:
        await producer.send_and_wait(topic, partition=0, value=bytes(1000000))
        try:
            await producer.send_and_wait(topic, partition=0, value=bytes(1100000))
        except Exception as error:
            refused = f"{type(error).__name__}: {error}"
    return {"read": len((await read_all(bootstrap, topic, 1))[0].value), "refused": refused}


async def resume(bootstrap, topic, group, argument):
    first = consumer(bootstrap, topic, group=group, enable_auto_commit=False)
    await first.start()
    await messages(first, 40)
    await first.commit({TopicPartition(topic, 0): 40})
    await first.stop()
    second = consumer(bootstrap, topic, group=group, enable_auto_commit=False)
    await second.start()
    offsets = [m.offset for m in await messages(second, 1)]
    offsets += [m.offset for m in await messages(second, 99 - offsets[0])]
    await second.commit()
    await second.stop()
    return {"first": offsets[0], "last": offsets[-1]}


async def static(bootstrap, topic, group, argument):
    one = Member(bootstrap, group, topic, group_instance_id="one")
    two = Member(bootstrap, group, topic, group_instance_id="two")
    await until(lambda: len(one.partitions) == 2 and len(two.partitions) == 2)
    before, assignments = sorted(two.partitions), one.assignments
    await two.close()
    two = Member(bootstrap, group, topic, group_instance_id="two")
    await until(lambda: len(two.partitions) > 0)
    await asyncio.sleep(1.5)  # a heartbeat of `one` would tell it of a rebalance
    after = sorted(two.partitions)
    disturbed = one.assignments - assignments
    await two.close()
    await one.close()
    return {"before": before, "after": after, "disturbed": disturbed}


async def offsets(bootstrap, topic, group, argument):
    member, there = consumer(bootstrap), TopicPartition(topic, 0)
    await member.start()
    member.assign([there])
    at, between, after = [(await member.offsets_for_times({there: time}))[there] for time in (1700000050000, 1700000050500, 1800000000000)]
    earliest, latest = (await member.beginning_offsets([there]))[there], (await member.end_offsets([there]))[there]
    member.seek(there, at.offset)
    key = (await messages(member, 1))[0].key.decode()
    await member.stop()
    return {"earliest": earliest, "latest": latest, "at": at.offset, "between": between.offset, "after": after and after.offset, "read": key}


def admin(call):
    async def run(bootstrap, topic, group, argument):
        client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await client.start()
        try:
            return await call(client, topic, group)
        finally:
            await client.close()
    return run


def well(answer):
    """Its administration answers with the plain answers of the protocol; an error code in one has to be looked for."""
    for word in ("topic_errors", "topic_error_codes", "topic_partitions", "resources"):
        for entry in getattr(answer, word, []):
            codes = [item for item in entry if isinstance(item, int) and item != 0 and not isinstance(item, bool)] if word != "resources" else [entry[0]] if entry[0] else []
            if codes and word in ("topic_errors", "topic_error_codes", "resources"):
                raise RuntimeError(f"answered {entry}")
    return {}


async def create_topic(admin, topic, group):
    return well(await admin.create_topics([NewTopic(topic, 3, 1, topic_configs={"retention.ms": "3600000"})]))


async def describe_topic(admin, topic, group):
    partitions = (await admin.describe_topics([topic]))[0]["partitions"]
    return {"partitions": len(partitions), "leaders": sorted({p["leader"] for p in partitions})}


async def describe_config(admin, topic, group):
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    entries = answers[0].resources[0][4]
    return {"retention": next(entry[1] for entry in entries if entry[0] == "retention.ms")}


async def alter_config(admin, topic, group):
    for answer in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "7200000"})]):
        well(answer)


async def create_partitions(admin, topic, group):
    return well(await admin.create_partitions({topic: NewPartitions(5)}))


async def delete_records(admin, topic, group):
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(40)})


async def list_groups(admin, topic, group):
    return {"groups": [g[0] for g in await admin.list_consumer_groups()]}


async def describe_group(admin, topic, group):
    found = (await admin.describe_consumer_groups([group]))[0].groups[0]
    return {"state": found[2], "members": len(found[5])}


async def describe_cluster(admin, topic, group):
    found = await admin.describe_cluster()
    return {"nodes": len(found["brokers"]), "controller": found["controller_id"]}


async def group_offsets(admin, topic, group):
    return {"offset": (await admin.list_consumer_group_offsets(group))[TopicPartition(topic, 0)].offset}


async def delete_topic(admin, topic, group):
    return well(await admin.delete_topics([topic]))


async def lacks_delete_group(*_):
    return {"lacks": "its admin client has no call that deletes a group"}


async def lacks_alter_offsets(*_):
    return {"lacks": "its admin client has no call that sets a group's offsets"}


async def version(*_):
    return {"version": aiokafka.__version__}


async def idempotent(bootstrap, topic, group, argument):
    await write(bootstrap, topic, enable_idempotence=True)


CAPABILITIES = {
    "version": version,
    **{name: codec(name) for name in ("none", "gzip", "snappy", "lz4", "zstd")},
    "records": records(rule.ODD),
    "null-header": records(rule.NULL_HEADER),
    "idempotent": idempotent,
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
    "delete-records": admin(delete_records),
    "list-groups": admin(list_groups),
    "describe-group": admin(describe_group),
    "describe-cluster": admin(describe_cluster),
    "group-offsets": admin(group_offsets),
    "alter-offsets": lacks_alter_offsets,
    "delete-group": lacks_delete_group,
    "delete-topic": admin(delete_topic),
}
rule.main({name: (lambda call: lambda *words: asyncio.run(call(*words)))(call) for name, call in CAPABILITIES.items()})
