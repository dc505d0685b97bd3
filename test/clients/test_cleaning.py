"""Compaction and retention as users see them, on a node as they start it; after a restart also where nobody has asked yet."""
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from conftest_shared import Node, until

OPTIONS = ["--override", "log.cleaner.backoff.ms=100", "--override", "log.retention.check.interval.ms=300"]


def create(address, name, **config):
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(name, 1, 1, config=config)])[name].result(20)


def read(address, topic):
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found, deadline = [], time.monotonic() + 30
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            break
        found.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return found


def bytes_of_log(folder):
    """Cleaning renames files and removes them meanwhile: then once more."""
    while True:
        try:
            return sum(path.stat().st_size for path in folder.glob("*.log"))
        except FileNotFoundError:
            continue


def fill(address, topic, keys, count):
    producer = Producer({"bootstrap.servers": address, "linger.ms": 5})
    for i in range(count):
        producer.produce(topic, key=f"k{i % keys}", value=f"{i} " + "x" * 1000)
    assert producer.flush(30) == 0


def test_a_compacted_topic_keeps_the_last_value_of_each_key(tmp_path):
    node = Node(tmp_path / "data", OPTIONS).start()
    create(node.address, "table", cleanup_policy="compact", segment_bytes=1 << 20, min_cleanable_dirty_ratio=0.01)
    fill(node.address, "table", 50, 3500)
    until(lambda: len(read(node.address, "table")) < 2000)
    found = read(node.address, "table")
    last = {key: value for _, key, value in found}
    assert [offset for offset, _, _ in found] == sorted(offset for offset, _, _ in found)
    assert {key: int(value.split()[0]) for key, value in last.items()} == {f"k{i % 50}".encode(): i for i in range(3450, 3500)}
    node.stop()


def test_time_passes_for_partitions_that_nobody_asks_for(tmp_path):
    """Written, stopped, started: retention and compaction come to them though no client does."""
    node = Node(tmp_path / "data", ["--override", "log.cleaner.backoff.ms=100000"]).start()
    create(node.address, "table", cleanup_policy="compact", segment_bytes=1 << 20, min_cleanable_dirty_ratio=0.01)
    create(node.address, "short", retention_ms=1, segment_bytes=1 << 20)
    for topic in ("table", "short"):
        fill(node.address, topic, 50, 3500)
    node.stop()
    size = {t: bytes_of_log(node.folder / f"{t}-0") for t in ("table", "short")}
    node = Node(tmp_path / "data", OPTIONS).start()
    for topic in size:
        until(lambda: bytes_of_log(node.folder / f"{topic}-0") < size[topic] / 2)
    node.stop()
