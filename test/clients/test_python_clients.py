"""kafka-python and aiokafka: two implementations of the protocol that share nothing with librdkafka."""
import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AioTopic
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic


@pytest.mark.parametrize("codec", [None, "gzip"])
def test_kafka_python_round_trip_in_a_group(node, topic, codec):
    admin = KafkaAdminClient(bootstrap_servers=node.address)
    admin.create_topics([NewTopic(topic, 3, 1)])
    producer = KafkaProducer(bootstrap_servers=node.address, compression_type=codec, acks="all")
    sent = [producer.send(topic, key=str(i).encode(), value=b"v%d" % i, headers=[("h", b"1")]) for i in range(1000)]
    assert all(f.get(timeout=20).offset >= 0 for f in sent)
    consumer = KafkaConsumer(topic, bootstrap_servers=node.address, group_id=topic, auto_offset_reset="earliest",
                             consumer_timeout_ms=20000)
    got = []
    for message in consumer:
        got.append(message)
        if len(got) == 1000:
            break
    consumer.commit()
    assert {m.value for m in got} == {b"v%d" % i for i in range(1000)}
    assert all(m.headers == [("h", b"1")] for m in got)
    consumer.close()
    committed = KafkaConsumer(bootstrap_servers=node.address, group_id=topic)
    assert sum(committed.committed(TopicPartition(topic, p)) or 0 for p in range(3)) == 1000
    committed.close()
    groups = admin.describe_consumer_groups([topic])
    assert groups[0].state == "Empty"
    admin.delete_topics([topic])
    admin.close()
    producer.close()


def test_kafka_python_begin_and_end_and_times(node, topic):
    admin = KafkaAdminClient(bootstrap_servers=node.address)
    admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"retention.ms": "-1"})])  # records of 2023 are older than a week
    admin.close()
    producer = KafkaProducer(bootstrap_servers=node.address)
    for i in range(10):
        producer.send(topic, b"x", timestamp_ms=1_700_000_000_000 + i).get(20)
    consumer = KafkaConsumer(bootstrap_servers=node.address)
    p = TopicPartition(topic, 0)
    assert consumer.beginning_offsets([p])[p] == 0 and consumer.end_offsets([p])[p] == 10
    assert consumer.offsets_for_times({p: 1_700_000_000_007})[p].offset == 7
    consumer.close()
    producer.close()


@pytest.mark.parametrize("idempotent", [False, True])
def test_aiokafka_round_trip_in_a_group(node, topic, idempotent):
    async def go():
        admin = AIOKafkaAdminClient(bootstrap_servers=node.address)
        await admin.start()
        await admin.create_topics([AioTopic(topic, 2, 1)])
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=node.address, enable_idempotence=idempotent)
        await producer.start()
        for batch in range(10):
            await asyncio.gather(*[await producer.send(topic, b"%d-%d" % (batch, i)) for i in range(100)])
        await producer.stop()
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=node.address, group_id=topic, auto_offset_reset="earliest")
        await consumer.start()
        got, deadline = [], time.monotonic() + 30
        while len(got) < 1000 and time.monotonic() < deadline:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                got += [m.value for m in messages]
        await consumer.commit()
        await consumer.stop()
        assert sorted(got) == sorted(b"%d-%d" % (b, i) for b in range(10) for i in range(100))

    asyncio.run(go())
