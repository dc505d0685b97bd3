"""Configs are set at run time: through real admin clients, with effect at once, over a restart."""
import socket
import struct
import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from conftest_shared import until

TOPIC, BROKER = ResourceType.TOPIC, ResourceType.BROKER


@pytest.fixture
def admin(node):
    return AdminClient({"bootstrap.servers": node.address})


def alter(admin, kind, name, *entries, validate_only=False):
    """Entries are (key, value) to set, (key, None) to delete, or (key, value, operation)."""
    said = []
    for key, value, *op in entries:
        operation = op[0] if op else AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        said.append(ConfigEntry(key, value, incremental_operation=operation))
    resource = ConfigResource(kind, name, incremental_configs=said)
    for future in admin.incremental_alter_configs([resource], validate_only=validate_only).values():
        future.result(10)


def alter_raw(node, kind, name, *entries):
    """The same in plain bytes, for what confluent-kafka does not say: no name, groups, another broker's id. The error."""
    text = lambda words: struct.pack(">h", -1) if words is None else struct.pack(">h", len(words)) + words.encode()
    body = struct.pack(">hhih", 44, 0, 1, -1) + struct.pack(">ib", 1, kind) + text(name) + struct.pack(">i", len(entries))
    for key, value in entries:
        body += text(key) + struct.pack(">b", 1 if value is None else 0) + text(value)
    body += b"\0"
    with socket.create_connection(("127.0.0.1", node.port), 10) as s:
        s.sendall(struct.pack(">i", len(body)) + body)
        answer = s.recv(4096)
    return struct.unpack(">h", answer[16:18])[0]


def alter_all_brokers(node, *entries):
    return alter_raw(node, 4, "", *entries)


def describe(admin, kind, name):
    for future in admin.describe_configs([ConfigResource(kind, name)]).values():
        return future.result(10)


def create(admin, topic, **config):
    for future in admin.create_topics([NewTopic(topic, 1, 1, config=config)]).values():
        future.result(10)


def produce(node, topic, value, **config):
    """The error's name, or None."""
    said = []
    producer = Producer({"bootstrap.servers": node.address, "message.timeout.ms": 30000, "message.max.bytes": 4000000, **config})
    producer.produce(topic, value, on_delivery=lambda error, message: said.append(error))
    producer.flush(60)
    return said[0].name() if said[0] else None


def test_topic_config_takes_effect_at_once(node, admin, topic):
    """max.message.bytes is lowered and taken back: the next Produce is refused, then accepted."""
    create(admin, topic)
    assert produce(node, topic, b"x" * 5000) is None
    alter(admin, TOPIC, topic, ("max.message.bytes", "1000"))
    assert produce(node, topic, b"x" * 5000) == "MSG_SIZE_TOO_LARGE"
    alter(admin, TOPIC, topic, ("max.message.bytes", None))
    assert produce(node, topic, b"x" * 5000) is None
    described = describe(admin, TOPIC, topic)["max.message.bytes"]
    assert (described.value, described.source, described.is_default) == ("1048588", 5, True)


def test_broker_config_takes_effect_at_once(node, admin, topic):
    """message.max.bytes of all brokers, then of this one, holds for a topic that has none of its own."""
    create(admin, topic)
    assert alter_all_brokers(node, ("message.max.bytes", "1000")) == 0
    assert produce(node, topic, b"x" * 5000) == "MSG_SIZE_TOO_LARGE"
    alter(admin, BROKER, "1", ("message.max.bytes", "20000"))
    assert produce(node, topic, b"x" * 5000) is None
    assert describe(admin, BROKER, "1")["message.max.bytes"].source == 2
    assert describe(admin, TOPIC, topic)["max.message.bytes"].value == "20000"
    alter(admin, BROKER, "1", ("message.max.bytes", None))
    assert alter_all_brokers(node, ("message.max.bytes", None)) == 0


def test_what_no_broker_can_have_by_default(node):
    """Keys that mean one broker cannot be set for all, those of the file not at all: INVALID_REQUEST."""
    for key, value in (("advertised.listeners", "PLAINTEXT://a:1"), ("listeners", "PLAINTEXT://a:1"), ("log.dirs", "/x")):
        assert alter_all_brokers(node, (key, value)) == 42


@pytest.mark.parametrize("kind,name,key,value,error", [
    (4, "9", "log.retention.ms", "1", 42),
    (4, "x", "log.retention.ms", "1", 42),
    (8, "1", "no.such.logger", "INFO", 40),
    (8, "1", "root", "LOUD", 40),
    (8, "1", "root", "INFO", 0),
    (1, "x", "a", "b", 42),
    (32, "", "consumer.session.timeout.ms", "50000", 42),
    (32, "g", "no.such.key", "10", 40),
    (32, "g", "consumer.session.timeout.ms", "soon", 40),
])
def test_other_resources(node, kind, name, key, value, error):
    """Resources that are not this broker's, and of other kinds, as Apache Kafka 4.4 answers."""
    assert alter_raw(node, kind, name, (key, value)) == error


def test_timestamp_type_takes_effect_at_once(node, admin, topic):
    """After LogAppendTime is set, a record's own time is replaced by the broker's."""
    create(admin, topic)
    alter(admin, TOPIC, topic, ("message.timestamp.type", "LogAppendTime"))
    producer = Producer({"bootstrap.servers": node.address})
    producer.produce(topic, b"x", timestamp=1000)
    producer.flush(10)
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    kind, at = consumer.poll(10).timestamp()
    consumer.close()
    assert kind == 2 and abs(at / 1000 - time.time()) < 60


def test_retention_takes_effect_on_old_records(tmp_path):
    """With small segments and a short check interval, records vanish soon after retention.ms is lowered."""
    from conftest_shared import Node
    node = Node(tmp_path / "data", ["--override", "log.retention.check.interval.ms=200"]).start()
    try:
        admin = AdminClient({"bootstrap.servers": node.address})
        create(admin, "old", **{"segment.ms": "1"})
        for i in range(5):
            assert produce(node, "old", b"%d" % i) is None
            time.sleep(0.02)
        consumer = Consumer({"bootstrap.servers": node.address, "group.id": "g"})
        assert consumer.get_watermark_offsets(TopicPartition("old", 0), 10) == (0, 5)
        alter(admin, TOPIC, "old", ("retention.ms", "1"))
        until(lambda: consumer.get_watermark_offsets(TopicPartition("old", 0), 10)[0] >= 4)
        consumer.close()
    finally:
        node.stop()


def test_lists_are_edited(node, admin, topic):
    """APPEND and SUBTRACT start from the default; on what is no list they are refused."""
    create(admin, topic)
    policy = lambda: describe(admin, TOPIC, topic)["cleanup.policy"].value
    alter(admin, TOPIC, topic, ("cleanup.policy", "compact", AlterConfigOpType.APPEND))
    until(lambda: policy() == "delete,compact")
    alter(admin, TOPIC, topic, ("cleanup.policy", "delete", AlterConfigOpType.SUBTRACT))
    until(lambda: policy() == "compact")
    with pytest.raises(KafkaException) as refused:
        alter(admin, TOPIC, topic, ("retention.ms", "1", AlterConfigOpType.APPEND))
    assert refused.value.args[0].name() == "INVALID_CONFIG"


@pytest.mark.parametrize("kind,name,key,value,error", [
    (TOPIC, "t", "retention.ms", "x", "INVALID_CONFIG"),
    (TOPIC, "t", "no.such.key", "1", "INVALID_CONFIG"),
    (TOPIC, "t", "segment.bytes", "1", "INVALID_CONFIG"),
    (TOPIC, "missing", "retention.ms", "1", "UNKNOWN_TOPIC_OR_PART"),
    (TOPIC, "a b", "retention.ms", "1", "TOPIC_EXCEPTION"),
    (BROKER, "1", "node.id", "5", "INVALID_REQUEST"),
    (BROKER, "1", "log.retention.ms", "x", "INVALID_REQUEST"),
])
def test_refusals(node, admin, kind, name, key, value, error):
    """As Apache Kafka 4.4 answers, also when it is only to be validated."""
    if name == "t" and "t" not in admin.list_topics(timeout=10).topics:
        create(admin, "t")
    for validate_only in (True, False):
        with pytest.raises(KafkaException) as refused:
            alter(admin, kind, name, (key, value), validate_only=validate_only)
        assert refused.value.args[0].name() == error
        assert refused.value.args[0].str()


def test_validate_only_changes_nothing(node, admin, topic):
    """A change that is fine is not made when it is only to be validated."""
    create(admin, topic)
    alter(admin, TOPIC, topic, ("retention.ms", "5000"), validate_only=True)
    time.sleep(0.2)
    assert describe(admin, TOPIC, topic)["retention.ms"].value == "604800000"


def test_configs_survive_a_restart(own_node):
    """What was set on a topic, the broker and a group is there after the node was killed."""
    admin = AdminClient({"bootstrap.servers": own_node.address})
    create(admin, "kept")
    alter(admin, TOPIC, "kept", ("retention.ms", "5000"))
    assert alter_all_brokers(own_node, ("compression.type", "gzip")) == 0
    alter(admin, BROKER, "1", ("num.io.threads", "9"))
    assert alter_raw(own_node, 32, "g", ("consumer.session.timeout.ms", "50000")) == 0
    own_node.kill()
    own_node.start()
    admin = AdminClient({"bootstrap.servers": own_node.address})
    assert describe(admin, TOPIC, "kept")["retention.ms"].value == "5000"
    broker = describe(admin, BROKER, "1")
    assert (broker["compression.type"].value, broker["compression.type"].source) == ("gzip", 3)
    assert (broker["num.io.threads"].value, broker["num.io.threads"].source) == ("9", 2)


def test_cordoned_directories_take_nothing_new(own_node):
    """With all directories cordoned no topic can be made, what is there is served; taken back, topics are made again."""
    admin = AdminClient({"bootstrap.servers": own_node.address})
    create(admin, "before")

    def refused():
        try:
            create(admin, f"new-{time.time_ns()}")
        except KafkaException as error:
            return error.args[0].name() == "INVALID_REPLICATION_FACTOR"
        return False

    assert not refused()
    assert alter_raw(own_node, 4, "1", ("cordoned.log.dirs", "/not/ours")) == 42
    assert alter_raw(own_node, 4, "1", ("cordoned.log.dirs", "*")) == 0
    until(refused)
    assert produce(own_node, "before", b"x") is None
    assert alter_raw(own_node, 4, "1", ("cordoned.log.dirs", None)) == 0
    until(lambda: not refused())


def test_min_insync_replicas_is_bounded_by_the_replicas(node, admin, topic):
    """A topic of one replica whose minimum is two is written to all the same, as in Kafka since 4.0."""
    create(admin, topic)
    alter(admin, TOPIC, topic, ("min.insync.replicas", "2"))
    until(lambda: describe(admin, TOPIC, topic)["min.insync.replicas"].value == "2")
    assert produce(node, topic, b"x", acks="all") is None


def test_compression_takes_effect_at_once(node, admin, topic):
    """What was stored as it came is stored compressed after compression.type is set: the log grows by far less."""
    create(admin, topic)
    size = lambda: sum(file.stat().st_size for file in (node.folder / f"{topic}-0").glob("*.log"))
    assert produce(node, topic, b"x" * 100000) is None
    assert size() > 100000
    before = size()
    alter(admin, TOPIC, topic, ("compression.type", "zstd"))
    assert produce(node, topic, b"x" * 100000) is None
    assert size() - before < 10000


def test_decompressed_records_are_bounded_at_once(node, admin, topic):
    """max.decompressed.message.bytes is about records of compressed batches: refused above it, taken after it was taken back."""
    create(admin, topic)
    alter(admin, TOPIC, topic, ("max.decompressed.message.bytes", "1000"))
    assert produce(node, topic, b"x" * 5000, **{"compression.type": "gzip"}) == "INVALID_RECORD"
    assert produce(node, topic, b"x" * 5000) is None
    alter(admin, TOPIC, topic, ("max.decompressed.message.bytes", None))
    assert produce(node, topic, b"x" * 5000, **{"compression.type": "gzip"}) is None
    assert alter_all_brokers(node, ("max.decompressed.message.bytes", "1000")) == 0
    assert produce(node, topic, b"x" * 5000, **{"compression.type": "gzip"}) == "INVALID_RECORD"
    assert alter_all_brokers(node, ("max.decompressed.message.bytes", None)) == 0
