"""The capabilities of a client: for each, what is there before a driver runs, and what has to be true afterwards.

What a driver says is checked here against the rule (README.md), and what is on the node then is looked at through librdkafka
and through plain requests, which are nobody's client.
"""
import pathlib
import sys
import threading
import time

sys.path[:0] = [str(pathlib.Path(__file__).parent / "python"), str(pathlib.Path(__file__).parents[1] / "clients")]

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType  # noqa: E402

import batches  # noqa: E402
import messages  # noqa: E402
import rule  # noqa: E402

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Failed(Exception):
    """The cell has failed, and this is why."""


class Refused(Exception):
    """Moldau does not serve it yet and has said so, in the way that ends a client's try at once."""


class Lacks(Exception):
    """The library has no such call, and this is what it says."""


def check(fact, why):
    if not fact:
        raise Failed(why)


def same(found, expected, what):
    check(found == expected, f"{what}: {found}, expected {expected}")


def soon(ask, expected, what, seconds=5):
    """The node has answered the client; what others see of it may come a moment later (it does with Apache Kafka)."""
    deadline = time.monotonic() + seconds
    while (found := ask()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    same(found, expected, what)


class Reference:
    """A broker as librdkafka sees it: what the cells need before and after."""

    def __init__(self, bootstrap, is_moldau):
        self.bootstrap, self.is_moldau = bootstrap, is_moldau
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def create(self, topic, partitions=1, **configs):
        configs = {name.replace("_", "."): value for name, value in configs.items()}
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=configs)])[topic].result(30)
        deadline = time.monotonic() + 20
        while True:
            found = self.partitions(topic)
            if found is not None and len(found) == partitions and all(p.leader >= 0 for p in found.values()):
                return
            check(time.monotonic() < deadline, "the new topic got no leaders")
            time.sleep(0.05)

    def partitions(self, topic):
        found = self.admin.list_topics(timeout=10).topics.get(topic)
        return None if found is None or found.error else found.partitions

    def fill(self, topic, count, codec="none", step_ms=None):
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 2, "compression.type": codec, "linger.ms": 20})
        for i in range(count):
            more = {} if step_ms is None else {"timestamp": rule.START_MS + i * step_ms}
            producer.produce(topic, partition=0, key=rule.key(i), value=rule.value(i), **more)
        check(producer.flush(30) == 0, "librdkafka could not produce")

    def consumer(self, group="nobody", **settings):
        return Consumer({"bootstrap.servers": self.bootstrap, "log_level": 2, "group.id": group, "auto.offset.reset": "earliest", **settings})

    def read(self, topic, count, seconds=20):
        consumer, out, deadline = self.consumer(), [], time.monotonic() + seconds
        consumer.assign([TopicPartition(topic, 0, 0)])
        while len(out) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and not message.error():
                out.append(message)
        consumer.close()
        return out

    def right(self, topic, count):
        """How many of the first `count` records are by the rule."""
        return sum(m.offset() == o and m.key() == rule.key(o % 500) and m.value() == rule.value(o % 500) for o, m in enumerate(self.read(topic, count)))

    def offset(self, topic, spec, partition=0):
        there = TopicPartition(topic, partition)
        return self.admin.list_offsets({there: spec})[there].result(30).offset

    def retention(self, topic):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return self.admin.describe_configs([resource])[resource].result(30)["retention.ms"].value

    def committed(self, group):
        answer = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
        return {p.partition: p.offset for p in answer.topic_partitions}

    def groups(self):
        return {g.group_id for g in self.admin.list_consumer_groups().result(30).valid}

    def stored(self, topic, partition=0):
        """The headers of the batches as they lie in the log."""
        connection, out, offset = messages.Connection(int(self.bootstrap.rsplit(":", 1)[1])), [], 0
        end = self.offset(topic, OffsetSpec.latest(), partition)
        while offset < end:
            answer = connection.ask("Fetch", 11, ReplicaId=-1, MaxWaitMs=500, MinBytes=1, MaxBytes=50 << 20, Topics=[
                {"Topic": topic, "Partitions": [{"Partition": partition, "CurrentLeaderEpoch": -1, "FetchOffset": offset, "PartitionMaxBytes": 10 << 20}]}])
            found = batches.batches(answer["Responses"][0]["Partitions"][0]["Records"] or b"")
            check(found, f"no batch at offset {offset}")
            out += found
            offset = found[-1]["base"] + found[-1]["delta"] + 1
        connection.close()
        return out


# ---- the cells: each gets the client's way to be called, the reference, and names of its own

def codec(name):
    def cell(client, reference, topic, group):
        reference.create(topic)
        foreign, count = client.foreign[name]
        answer = client.call(name, topic, group, f"{foreign}:{count}")
        stored = reference.stored(topic)
        codecs = {CODECS[b["attributes"] & 7] for b in stored}
        check(name in codecs and codecs <= {name, "none"}, f"the batches in the log are of codec {sorted(codecs)}")
        same(answer["own"], 500, "of its own records the client read rightly")
        same(answer["foreign"], count, "of the records that librdkafka and Java wrote the client read rightly")
        same(reference.right(topic, 500), 500, "of the client's records librdkafka read rightly")
        client.wrote.append((topic, 500))
    return cell


def odd_records(capability, odd_ones):
    def cell(client, reference, topic, group):
        reference.create(topic, retention_ms="-1")  # the records are of 2023, and retention comes half a minute after the start
        answer = client.call(capability, topic, group)
        expected = [rule.as_json(*odd) for odd in odd_ones]
        there = [rule.as_json(m.key(), m.value(), m.timestamp()[1], m.headers()) for m in reference.read(topic, len(expected))]
        differ = []
        for who, found in (("in the log", there), ("as the client reads it", answer["records"])):
            same(len(found), len(expected), f"records {who}")
            for i, (a, b) in enumerate(zip(found, expected)):
                for field, word in (("k", "key"), ("v", "value"), ("t", "timestamp"), ("h", "headers")):
                    if a[field] != b[field]:
                        differ.append(f"the {word} of record {i} {who} is {a[field]!r}, not {b[field]!r}")
        check(not differ, "; ".join(differ))
    return cell


def idempotent(client, reference, topic, group):
    reference.create(topic)
    client.call("idempotent", topic, group)
    stored, next_sequence = reference.stored(topic), 0
    for batch in stored:
        check(batch["producer"] >= 0, "a batch has no producer id")
        same(batch["sequence"], next_sequence, "the sequence of a batch")
        next_sequence += batch["count"]
    same(next_sequence, 500, "records in the log")
    same(reference.right(topic, 500), 500, "records read rightly")


class Writer(threading.Thread):
    """Writes numbers to the partitions in turn, a hundred a second, until it is told that the driver has seen enough."""

    def __init__(self, bootstrap, topic, partitions):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 2})
        self.topic, self.partitions, self.written, self.enough = topic, partitions, 0, threading.Event()
        self.start()

    def run(self):
        while not self.enough.wait(0.01):
            self.producer.produce(self.topic, partition=self.written % self.partitions, value=str(self.written))
            self.written += 1
            self.producer.poll(0)

    def finish(self):
        self.enough.set()
        self.join()
        check(self.producer.flush(20) == 0, "librdkafka could not produce")
        for p in range(self.partitions):
            self.producer.produce(self.topic, partition=p, value="end")
        check(self.producer.flush(20) == 0, "librdkafka could not produce")


def assignor(reference, group):
    return reference.admin.describe_consumer_groups([group])[group].result(30).partition_assignor


def group_of_two(strategy=None, *names):
    """`strategy` is the driver's word, `names` what libraries call it on the wire."""
    def cell(client, reference, topic, group):
        reference.create(topic, 6)
        writer, used = Writer(reference.bootstrap, topic, 6), []

        def covered():
            used.append(assignor(reference, group))
            writer.finish()
        try:
            answer = client.call("group", topic, group, strategy, on_line=lambda line: line == "covered" and covered())
        finally:
            writer.enough.set()
        two_have_read(reference, topic, group, writer, answer)
        check(not names or used[0] in names, f"the members' strategy is {used[0]}")
    return cell


def killed(client, reference, topic, group):
    """One of two members is killed: when its session is over the other one has all partitions again."""
    reference.create(topic, 6)
    writer, others, has = Writer(reference.bootstrap, topic, 6), [], []

    def second(line):
        if line.startswith("has ") and int(line[4:]) in (2, 3, 4):
            others[0].kill()

    def run_second():
        try:
            client.call("member", topic, group, on_start=others.append, on_line=second)
        except Failed:
            pass  # it was killed

    def first(line):
        if not line.startswith("has "):
            return
        count = int(line[4:])
        if count == 6 and not has:
            has.append(6)
            threading.Thread(target=run_second, daemon=True).start()
        elif has:
            has.append(count)
            if count == 6 and min(has) < 6 and others and others[0].poll() is not None:
                writer.finish()
    try:
        client.call("member", topic, group, on_line=first)
    finally:
        writer.enough.set()
        for process in others:
            process.kill()
    check(others and others[0].poll() == -9, "the second member was not killed, it got no part of the partitions")
    ends = {p: reference.offset(topic, OffsetSpec.latest(), p) for p in range(6)}
    same(reference.committed(group), ends, "offsets committed")


def two_have_read(reference, topic, group, writer, answer):
    same(answer["alone"], 6, "partitions of the first member alone")
    check(sum(answer["shared"]) == 6 and min(answer["shared"]) > 0, f"partitions of the two together: {answer['shared']}")
    same(answer["again"], 6, "partitions of the first member, alone again")
    same(answer["seen"], writer.written, "different records read")
    check(answer["most"] <= 3, f"a record was read {answer['most']} times over two rebalances")
    ends = {p: reference.offset(topic, OffsetSpec.latest(), p) for p in range(6)}
    same(reference.committed(group), ends, "offsets committed")


def pause(client, reference, topic, group):
    reference.create(topic)
    reference.fill(topic, 100)
    same(client.call("pause", topic, group), {"quiet": 0, "next": 20}, "read in the pause, and next after it")


def transaction(client, reference, topic, group):
    """Ten records aborted, their marker, ten committed: who reads what is committed begins at offset 11."""
    reference.create(topic)
    try:
        answer = client.call("transaction", topic, group)
    except Failed as failure:
        ended = "authoriz" in str(failure).lower() or "Failed to find group coordinator" in str(failure)  # kafkajs keeps the error to itself
        check(ended and reference.is_moldau, str(failure))
        same(reference.offset(topic, OffsetSpec.latest()), 0, "records that a refused transaction left in the log")
        raise Refused(str(failure)) from None
    same(answer, {"read": 10, "first": 11}, "the answer")


def large(client, reference, topic, group):
    reference.create(topic)
    answer = client.call("large", topic, group)
    same(answer["read"], 1000000, "bytes of the large value as the client reads it")
    check("large" in answer["refused"].lower(), f"what the client says of a value that is too large: {answer['refused'] or 'nothing'}")
    same(reference.offset(topic, OffsetSpec.latest()), 1, "records in the log")


def resume(client, reference, topic, group):
    reference.create(topic)
    reference.fill(topic, 100)
    answer = client.call("resume", topic, group)
    same((answer["first"], answer["last"]), (40, 99), "offsets that the second member read first and last")
    check(reference.committed(group).get(0, -1) >= 40, "the commit is not there")


def static(client, reference, topic, group):
    reference.create(topic, 4)
    answer = client.call("static", topic, group)
    same(len(answer["before"]), 2, "partitions of the second member")
    same(answer["after"], answer["before"], "its partitions after its return")
    same(answer["disturbed"], 0, "assignments that the other member got meanwhile")


def offsets(client, reference, topic, group):
    reference.create(topic, retention_ms="-1")
    reference.fill(topic, 100, step_ms=1000)
    answer = client.call("offsets", topic, group)
    same(answer, {"earliest": 0, "latest": 100, "at": 50, "between": 51, "after": None, "read": "key-50"}, "the answers")


def create_topic(client, reference, topic, group):
    client.call("create-topic", topic, group)
    soon(lambda: len(reference.partitions(topic) or ()), 3, "partitions")
    soon(lambda: reference.retention(topic), "3600000", "retention.ms")


def describe_topic(client, reference, topic, group):
    reference.create(topic, 3)
    leaders = sorted({p.leader for p in reference.partitions(topic).values()})
    same(client.call("describe-topic", topic, group), {"partitions": 3, "leaders": leaders}, "the answer")


def create_partitions(client, reference, topic, group):
    reference.create(topic, 3)
    client.call("create-partitions", topic, group)
    soon(lambda: len(reference.partitions(topic)), 5, "partitions")


def describe_config(client, reference, topic, group):
    reference.create(topic, retention_ms="3600000")
    same(client.call("describe-config", topic, group), {"retention": "3600000"}, "the answer")


def alter_config(client, reference, topic, group):
    reference.create(topic, retention_ms="3600000")
    client.call("alter-config", topic, group)
    soon(lambda: reference.retention(topic), "7200000", "retention.ms")


def delete_records(client, reference, topic, group):
    reference.create(topic)
    reference.fill(topic, 100)
    client.call("delete-records", topic, group)
    same(reference.offset(topic, OffsetSpec.earliest()), 40, "the first offset")


def committed_group(reference, topic, group, offset=0):
    reference.create(topic)
    member = reference.consumer(group)
    member.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    member.close()


def describe_cluster(client, reference, topic, group):
    found = reference.admin.describe_cluster().result(30)
    same(client.call("describe-cluster", topic, group), {"nodes": len(found.nodes), "controller": found.controller.id}, "the answer")


def group_offsets(client, reference, topic, group):
    committed_group(reference, topic, group, 7)
    same(client.call("group-offsets", topic, group), {"offset": 7}, "the answer")


def alter_offsets(client, reference, topic, group):
    committed_group(reference, topic, group, 7)
    client.call("alter-offsets", topic, group)
    same(reference.committed(group), {0: 3}, "offsets committed")


def list_groups(client, reference, topic, group):
    committed_group(reference, topic, group)
    found = client.call("list-groups", topic, group)["groups"]
    check(group in found, "the group is not in the list")


def describe_group(client, reference, topic, group):
    reference.create(topic)
    member = reference.consumer(group)
    try:
        member.subscribe([topic])
        deadline = time.monotonic() + 20
        while not member.assignment():
            check(time.monotonic() < deadline, "librdkafka's member got no partition")
            member.poll(0.1)
        same(client.call("describe-group", topic, group), {"state": "Stable", "members": 1}, "the answer")
    finally:
        member.close()


def delete_group(client, reference, topic, group):
    committed_group(reference, topic, group)
    check(group in reference.groups(), "the group to be deleted is not there")
    client.call("delete-group", topic, group)
    check(group not in reference.groups(), "the group is still there")


def delete_topic(client, reference, topic, group):
    reference.create(topic)
    client.call("delete-topic", topic, group)
    deadline = time.monotonic() + 10
    while reference.partitions(topic) is not None:
        check(time.monotonic() < deadline, "the topic is still there")
        time.sleep(0.05)


def java_reads(client, reference, topic, group):
    """Apache's own consumer reads what this client wrote in its codecs; the cells of the codecs come before this one."""
    check(client.wrote, "there is nothing to read: every codec's cell failed")
    if client.java is None:
        raise LookupError("the Java driver is not built")
    answer = client.java("read", topic, group, ",".join(f"{name}:{count}" for name, count in client.wrote))
    same(answer["topics"], [count for _, count in client.wrote], "records read rightly")


# In the order of the table. The name is the capability of the driver, except for the last one.
CELLS = {
    **{name: codec(name) for name in CODECS},
    "java-reads": java_reads,
    "records": odd_records("records", rule.ODD),
    "null-header": odd_records("null-header", rule.NULL_HEADER),
    "idempotent": idempotent,
    "large": large,
    "transaction": transaction,
    "group": group_of_two(),
    "group-range": group_of_two("range", "range"),
    "group-roundrobin": group_of_two("roundrobin", "roundrobin", "RoundRobinAssigner"),
    "group-sticky": group_of_two("sticky", "sticky"),
    "group-cooperative": group_of_two("cooperative", "cooperative-sticky"),
    "killed": killed,
    "resume": resume,
    "static": static,
    "pause": pause,
    "offsets": offsets,
    "create-topic": create_topic,
    "describe-topic": describe_topic,
    "create-partitions": create_partitions,
    "describe-config": describe_config,
    "alter-config": alter_config,
    "delete-records": delete_records,
    "describe-cluster": describe_cluster,
    "list-groups": list_groups,
    "describe-group": describe_group,
    "group-offsets": group_offsets,
    "alter-offsets": alter_offsets,
    "delete-group": delete_group,
    "delete-topic": delete_topic,
}
