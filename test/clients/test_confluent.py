"""confluent-kafka (librdkafka) with its defaults: producer, idempotent producer, consumer groups, admin."""
import threading
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec


def create(node, topic, partitions=1, **config):
    admin = AdminClient({"bootstrap.servers": node.address})
    admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(10)
    return admin


def produce(node, topic, values, **config):
    failures = []
    producer = Producer({"bootstrap.servers": node.address, **config})
    for i, value in enumerate(values):
        while True:
            try:
                producer.produce(topic, value, key=str(i), on_delivery=lambda e, m: e and failures.append(e))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(30) == 0
    assert failures == []


def consume(consumer, count, seconds=30):
    got, deadline = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is None:
            continue
        assert message.error() is None, message.error()
        got.append(message)
    return got


def reader(node, group, **config):
    return Consumer({"bootstrap.servers": node.address, "group.id": group, "auto.offset.reset": "earliest", **config})


@pytest.mark.parametrize("idempotence", [False, True])
def test_many_records_over_partitions(node, topic, idempotence):
    create(node, topic, 6)
    produce(node, topic, [f"v{i}" for i in range(20000)], **{"enable.idempotence": idempotence})
    consumer = reader(node, topic)
    consumer.subscribe([topic])
    got = consume(consumer, 20000)
    consumer.close()
    assert sorted(m.value() for m in got) == sorted(f"v{i}".encode() for i in range(20000))
    by_partition = {}
    for m in got:
        by_partition.setdefault(m.partition(), []).append(m.offset())
    for offsets in by_partition.values():
        assert offsets == list(range(len(offsets)))


def test_large_records_up_to_the_limit_and_one_byte_more(node, topic):
    create(node, topic)
    produce(node, topic, [b"x" * 900_000], **{"message.max.bytes": 2_000_000})
    seen = []
    producer = Producer({"bootstrap.servers": node.address, "message.max.bytes": 5_000_000})
    producer.produce(topic, b"y" * 1_100_000, on_delivery=lambda e, m: seen.append(e))
    assert producer.flush(20) == 0
    assert seen[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_two_members_share_the_partitions_and_one_takes_over(node, topic):
    create(node, topic, 4)
    assigned = {}

    def member(name, stop):
        consumer = reader(node, topic, **{"session.timeout.ms": 6000, "client.id": name})
        consumer.subscribe([topic], on_assign=lambda c, p: assigned.__setitem__(name, {x.partition for x in p}),
                           on_revoke=lambda c, p: assigned.__setitem__(name, set()))
        while not stop.is_set():
            consumer.poll(0.1)
        consumer.close()
        assigned[name] = set()

    stops = {n: threading.Event() for n in "ab"}
    threads = [threading.Thread(target=member, args=(n, stops[n])) for n in "ab"]
    for t in threads:
        t.start()
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and sorted(len(v) for v in assigned.values()) != [2, 2]:
            time.sleep(0.1)
        assert assigned["a"] | assigned["b"] == {0, 1, 2, 3} and not assigned["a"] & assigned["b"]
        stops["a"].set()
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and assigned["b"] != {0, 1, 2, 3}:
            time.sleep(0.1)
        assert assigned["b"] == {0, 1, 2, 3}
    finally:
        for stop in stops.values():
            stop.set()
        for t in threads:
            t.join()


def test_static_member_comes_back_without_a_rebalance(node, topic):
    create(node, topic, 2)
    generations = []
    for _ in range(2):
        consumer = reader(node, topic, **{"group.instance.id": "one", "session.timeout.ms": 10000})
        consumer.subscribe([topic])
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and len(consumer.assignment()) != 2:
            consumer.poll(0.1)
        assert len(consumer.assignment()) == 2
        generations.append(consumer.consumer_group_metadata())
        consumer.close()


def test_commits_are_kept_and_read_back(node, topic):
    create(node, topic, 2)
    consumer = reader(node, topic, **{"enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 0, 42, "note"), TopicPartition(topic, 1, 7)], asynchronous=False)
    back = reader(node, topic).committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], timeout=10)
    assert [(p.partition, p.offset) for p in back] == [(0, 42), (1, 7)]
    consumer.close()


def test_offsets_for_times_and_watermarks(node, topic):
    create(node, topic, **{"retention.ms": "-1"})
    producer = Producer({"bootstrap.servers": node.address})
    for i in range(10):
        producer.produce(topic, str(i), timestamp=1_700_000_000_000 + i * 1000)
    assert producer.flush(10) == 0
    consumer = reader(node, topic)
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 10)
    found = consumer.offsets_for_times([TopicPartition(topic, 0, 1_700_000_004_500)], timeout=10)
    assert found[0].offset == 5
    admin = AdminClient({"bootstrap.servers": node.address})
    newest = admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.max_timestamp()})
    assert list(newest.values())[0].result(10).offset == 9
    consumer.close()


def test_admin_topics_partitions_and_configs(node, topic):
    admin = create(node, topic, 3, **{"retention.ms": "3600000", "cleanup.policy": "delete"})
    with pytest.raises(KafkaException) as again:
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    assert again.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    for bad, code in (("a b", KafkaError.TOPIC_EXCEPTION), ("x" * 250, KafkaError.TOPIC_EXCEPTION)):
        with pytest.raises(KafkaException) as wrong:
            admin.create_topics([NewTopic(bad, 1, 1)])[bad].result(10)
        assert wrong.value.args[0].code() == code
    with pytest.raises(KafkaException) as wrong:
        admin.create_topics([NewTopic(topic + "x", 1, 1, config={"retention.ms": "soon"})])[topic + "x"].result(10)
    assert wrong.value.args[0].code() == KafkaError.INVALID_CONFIG
    with pytest.raises(KafkaException) as wrong:
        admin.create_topics([NewTopic(topic + "y", 1, 3)])[topic + "y"].result(10)
    assert wrong.value.args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(10)
    deadline = time.monotonic() + 60
    while len(admin.list_topics(timeout=10).topics[topic].partitions) != 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(admin.list_topics(timeout=10).topics[topic].partitions) == 5
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(10)
    assert config["retention.ms"].value == "3600000" and not config["retention.ms"].is_default
    assert config["segment.bytes"].value == "1073741824" and config["segment.bytes"].is_default
    produce(node, topic, ["last", "words"])
    admin.delete_topics([topic])[topic].result(10)
    deadline = time.monotonic() + 60
    while topic in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.05)
    assert topic not in admin.list_topics(timeout=10).topics


def test_admin_cluster_and_groups(node, topic):
    admin = create(node, topic)
    produce(node, topic, ["a"])
    consumer = reader(node, topic)
    consumer.subscribe([topic])
    assert len(consume(consumer, 1)) == 1
    cluster = admin.describe_cluster().result(10)
    assert len(cluster.nodes) == 1 and len(cluster.cluster_id) == 22
    group = admin.describe_consumer_groups([topic])[topic].result(10)
    assert group.state.name == "STABLE" and len(group.members) == 1
    assert topic in [g.group_id for g in admin.list_consumer_groups().result(10).valid]
    consumer.close()


def test_a_transactional_id_is_refused_for_good(node, topic):
    producer = Producer({"bootstrap.servers": node.address, "transactional.id": topic, "transaction.timeout.ms": 5000})
    with pytest.raises(KafkaException) as refused:
        producer.init_transactions(20)
    assert refused.value.args[0].fatal() or not refused.value.args[0].retriable()
