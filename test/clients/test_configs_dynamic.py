"""Settings of a running node: set on a topic, for all brokers, for one; each is seen to act at once, and to be gone when it is taken
back."""
import random
import time

import pytest

from batches import batch, now_ms
from conftest_shared import TOOLS, run
from messages import Connection
from test_configs import BROKER, TOPIC, admin, alter, alter_all_brokers, create, describe, produce, until  # noqa: F401: admin is a fixture

WORDS = " ".join(random.Random(7).choice(["river", "bank", "water", "bridge", "stone", "boat"]) + str(i % 97) for i in range(20000)).encode()
INVALID_TIMESTAMP, INVALID_RECORD, NONE = 32, 87, 0


def stored(node, topic):
    """The bytes of each batch as they are stored."""
    connection = Connection(node.port)
    answer = connection.ask("Fetch", 11, MaxWaitMs=0, MinBytes=0, MaxBytes=1 << 24, SessionEpoch=-1, Topics=[
        {"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 24}]}])
    connection.close()
    data, sizes = answer["Responses"][0]["Partitions"][0]["Records"], []
    while data:
        size = 12 + int.from_bytes(data[8:12], "big")
        sizes.append(size)
        data = data[size:]
    return sizes


def produce_raw(node, topic, data):
    connection = Connection(node.port)
    answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[{"Name": topic, "PartitionData": [{"Index": 0, "Records": data}]}])
    connection.close()
    return answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]


def segments(node, topic):
    return len(list(node.folder.rglob(f"{topic}-0/*.log")))


@pytest.mark.parametrize("codec,key,low,high", [
    ("gzip", "compression.gzip.level", "1", "9"), ("lz4", "compression.lz4.level", "1", "17"), ("zstd", "compression.zstd.level", "-50", "19")])
@pytest.mark.parametrize("of_topic", [True, False])
def test_compression_levels(node, admin, topic, codec, key, low, high, of_topic):
    """The same text is stored smaller after the level was raised, on the topic or for all brokers, and as before when it is taken
    back."""
    create(admin, topic, **{"compression.type": codec})
    change = (lambda level: alter(admin, TOPIC, topic, (key, level))) if of_topic else (lambda level: alter_all_brokers(node, (key, level)))
    for level in (None, low, high, None):
        change(level)
        assert produce(node, topic, WORDS) is None
    default, fast, hard, back = stored(node, topic)
    assert hard < fast and back == default


def test_timestamps_are_bounded(node, admin, topic):
    """message.timestamp.before.max.ms and after.max.ms of the topic, then of all brokers, refuse what lies beyond; and
    log.message.timestamp.type makes the question go away."""
    create(admin, topic)
    early, late = batch([b"a"], timestamp=now_ms() - 600000), batch([b"a"], timestamp=now_ms() + 600000)
    assert produce_raw(node, topic, early) == produce_raw(node, topic, late) == NONE
    for key, data in (("message.timestamp.before.max.ms", early), ("message.timestamp.after.max.ms", late)):
        alter(admin, TOPIC, topic, (key, "60000"))
        assert produce_raw(node, topic, data) == INVALID_TIMESTAMP
        alter(admin, TOPIC, topic, (key, None))
        assert produce_raw(node, topic, data) == NONE
        assert alter_all_brokers(node, ("log." + key, "60000")) == 0
        assert produce_raw(node, topic, data) == INVALID_TIMESTAMP
        alter(admin, BROKER, "1", ("log.message.timestamp.type", "LogAppendTime"))
        assert produce_raw(node, topic, data) == NONE
        alter(admin, BROKER, "1", ("log.message.timestamp.type", None))
        assert produce_raw(node, topic, data) == INVALID_TIMESTAMP
        assert alter_all_brokers(node, ("log." + key, None)) == 0
        assert produce_raw(node, topic, data) == NONE


def test_cleanup_policy_of_all_brokers(node, admin, topic):
    """Under log.cleanup.policy=compact a record without a key is refused in a topic that has no policy of its own."""
    create(admin, topic)
    assert produce(node, topic, b"x") is None
    assert alter_all_brokers(node, ("log.cleanup.policy", "compact")) == 0
    assert produce(node, topic, b"x") == "INVALID_RECORD"
    alter(admin, TOPIC, topic, ("cleanup.policy", "delete"))
    assert produce(node, topic, b"x") is None
    assert alter_all_brokers(node, ("log.cleanup.policy", None)) == 0


def test_segments_roll_by_time_and_by_their_index(node, admin, topic):
    """log.roll.ms of this broker, and segment.index.bytes of the topic (with an entry for each batch), begin new segments."""
    create(admin, topic)
    assert produce(node, topic, b"x") is None and produce(node, topic, b"x") is None
    assert segments(node, topic) == 1
    alter(admin, BROKER, "1", ("log.roll.ms", "20"))
    time.sleep(0.05)
    assert produce(node, topic, b"x") is None
    until(lambda: segments(node, topic) == 2)
    alter(admin, BROKER, "1", ("log.roll.ms", None))
    time.sleep(0.05)
    assert produce(node, topic, b"x") is None and segments(node, topic) == 2
    assert alter_all_brokers(node, ("log.index.interval.bytes", "0")) == 0
    alter(admin, TOPIC, topic, ("segment.index.bytes", "16"))  # two entries
    for _ in range(6):
        assert produce(node, topic, b"x") is None
    until(lambda: segments(node, topic) > 3)
    assert alter_all_brokers(node, ("log.index.interval.bytes", None)) == 0


def test_segments_roll_by_size(node, admin, topic):
    """log.segment.bytes of all brokers; the topic's own segment.bytes is stronger."""
    create(admin, topic)
    assert alter_all_brokers(node, ("log.segment.bytes", "1048576")) == 0
    for _ in range(3):
        assert produce(node, topic, random.Random(1).randbytes(700000)) is None
    until(lambda: segments(node, topic) == 3)
    alter(admin, TOPIC, topic, ("segment.bytes", "10485760"))
    for _ in range(3):
        assert produce(node, topic, random.Random(1).randbytes(700000)) is None
    assert segments(node, topic) == 3
    assert alter_all_brokers(node, ("log.segment.bytes", None)) == 0


def test_flushes(node, admin, topic):
    """A topic whose flush.messages is set to the largest number syncs nothing for its records any more; at 1 it does again."""
    create(admin, topic)
    syncs = lambda: node.metrics().value("moldau_log_syncs_total")

    def made(times=20):
        assert produce(node, topic, b"warm") is None
        before = syncs()
        for _ in range(times):
            assert produce_raw(node, topic, batch([b"x"])) == NONE
        return syncs() - before

    assert made() >= 20
    alter(admin, TOPIC, topic, ("flush.messages", "9223372036854775807"))
    assert made() < 20
    assert alter_all_brokers(node, ("log.flush.interval.messages", "1")) == 0
    assert made() < 20  # the topic's own is stronger
    alter(admin, TOPIC, topic, ("flush.messages", None))
    assert made() >= 20
    assert alter_all_brokers(node, ("log.flush.interval.messages", None)) == 0


def test_levels_by_the_tool(node, admin, topic):
    """kafka-configs.sh sets for all brokers and for one, the stronger one holds; each is taken back, down to the default. A list
    is made in square brackets."""
    def configs(*words):
        return run(TOOLS / "kafka-configs.sh", "--bootstrap-server", node.address, *words).stdout

    create(admin, topic)
    one, all_of_them = ("--entity-type", "brokers", "--entity-name", "1"), ("--entity-type", "brokers", "--entity-default")
    steps = [(all_of_them, "--add-config", "message.max.bytes=2000", "2000"), (one, "--add-config", "message.max.bytes=20000", "20000"),
             (one, "--delete-config", "message.max.bytes", "2000"), (all_of_them, "--delete-config", "message.max.bytes", "1048588")]
    for entity, option, value, holds in steps:
        configs("--alter", *entity, option, value)
        assert describe(admin, TOPIC, topic)["max.message.bytes"].value == holds
        assert (produce(node, topic, b"x" * 5000) is None) == (int(holds) > 5000)
    configs("--alter", *all_of_them, "--add-config", "log.cleanup.policy=[compact,delete]")
    assert "log.cleanup.policy=compact,delete" in configs("--describe", *all_of_them)
    assert describe(admin, TOPIC, topic)["cleanup.policy"].value == "compact,delete"
    configs("--alter", *all_of_them, "--delete-config", "log.cleanup.policy")
    assert describe(admin, TOPIC, topic)["cleanup.policy"].value == "delete"
