"""DeleteRecords and DescribeProducers: in every version, with every error, and by the admin clients of libraries."""
import pathlib
import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from batches import batch, batches
from messages import Connection

NONE, OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC, POLICY_VIOLATION = 0, 1, 3, 17, 44


@pytest.fixture
def connection(node):
    connection = Connection(node.port)
    yield connection
    connection.close()


def create(connection, topic, partitions=2, **configs):
    """Kept for ever: some records here are of 1970."""
    configs = {"retention_ms": "-1", **configs}
    answer = connection.ask("CreateTopics", 7, Topics=[{
        "Name": topic, "NumPartitions": partitions, "ReplicationFactor": 1,
        "Configs": [{"Name": name.replace("_", "."), "Value": value} for name, value in configs.items()]}])
    assert answer["Topics"][0]["ErrorCode"] == NONE


def produce(connection, topic, data, partition=0):
    answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[
        {"Name": topic, "PartitionData": [{"Index": partition, "Records": data}]}])
    return answer["Responses"][0]["PartitionResponses"][0]


def delete(connection, version, topic, *wanted):
    answer = connection.ask("DeleteRecords", version, TimeoutMs=30000, Topics=[
        {"Name": topic, "Partitions": [{"PartitionIndex": p, "Offset": o} for p, o in wanted]}])
    assert [t["Name"] for t in answer["Topics"]] == [topic]
    return {p["PartitionIndex"]: (p["ErrorCode"], p["LowWatermark"]) for p in answer["Topics"][0]["Partitions"]}


def start_of(connection, topic, partition=0):
    answer = connection.ask("ListOffsets", 7, ReplicaId=-1, Topics=[{"Name": topic, "Partitions": [{"PartitionIndex": partition, "Timestamp": -2}]}])
    return answer["Topics"][0]["Partitions"][0]["Offset"]


def fetch(connection, topic, offset, partition=0):
    answer = connection.ask("Fetch", 11, MaxWaitMs=0, MinBytes=0, MaxBytes=1 << 20, SessionEpoch=-1, Topics=[
        {"Topic": topic, "Partitions": [{"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}]}])
    return answer["Responses"][0]["Partitions"][0]


@pytest.mark.parametrize("version", range(3))
def test_the_start_moves_up_and_never_down(connection, topic, version):
    """Five batches of two records: to the middle of a batch, back, past the end, and to the high watermark."""
    create(connection, topic)
    for _ in range(5):
        produce(connection, topic, batch([b"a", b"b"]))
    assert delete(connection, version, topic, (0, 3)) == {0: (NONE, 3)}
    assert start_of(connection, topic) == 3
    assert fetch(connection, topic, 2)["ErrorCode"] == OFFSET_OUT_OF_RANGE
    read = fetch(connection, topic, 3)
    assert (read["ErrorCode"], read["LogStartOffset"], read["HighWatermark"]) == (NONE, 3, 10)
    assert [b["base"] for b in batches(read["Records"])] == [2, 4, 6, 8]
    assert delete(connection, version, topic, (0, 1)) == {0: (NONE, 3)}
    assert delete(connection, version, topic, (0, 10), (1, 0)) == {0: (NONE, 10), 1: (NONE, 0)}
    assert produce(connection, topic, batch([b"c"]))["LogStartOffset"] == 10
    assert delete(connection, version, topic, (0, -1)) == {0: (NONE, 11)}
    assert start_of(connection, topic) == 11


@pytest.mark.parametrize("version", range(3))
def test_what_cannot_be_deleted(connection, topic, version):
    """-1, 0, +1 around the end; partitions that are not there; topics that must keep what they have."""
    create(connection, topic)
    produce(connection, topic, batch([b"a", b"b"]))
    assert delete(connection, version, topic, (0, 3), (1, 1), (2, 0), (-1, 0)) == {
        0: (OFFSET_OUT_OF_RANGE, -1), 1: (OFFSET_OUT_OF_RANGE, -1), 2: (UNKNOWN_TOPIC_OR_PARTITION, -1), -1: (UNKNOWN_TOPIC_OR_PARTITION, -1)}
    assert delete(connection, version, topic, (0, -2)) == {0: (OFFSET_OUT_OF_RANGE, -1)}
    assert delete(connection, version, topic, (0, 2)) == {0: (NONE, 2)}
    assert delete(connection, version, topic + "-none", (0, 0)) == {0: (UNKNOWN_TOPIC_OR_PARTITION, -1)}
    compacted, both = topic + "-compacted", topic + "-both"
    create(connection, compacted, cleanup_policy="compact")
    create(connection, both, cleanup_policy="compact,delete")
    for name in (compacted, both):
        produce(connection, name, batch([b"a"], keys=[b"k"]))
    assert delete(connection, version, compacted, (0, 1)) == {0: (POLICY_VIOLATION, -1)}
    assert delete(connection, version, compacted, (0, 99)) == {0: (POLICY_VIOLATION, -1)}
    assert delete(connection, version, both, (0, 1)) == {0: (NONE, 1)}
    for _ in range(1000):
        if connection.ask("FindCoordinator", 4, CoordinatorKeys=["g"])["Coordinators"][0]["ErrorCode"] == NONE:
            break
        time.sleep(0.05)
    assert delete(connection, version, "__consumer_offsets", (0, -1)) == {0: (INVALID_TOPIC, -1)}


def test_a_partition_that_is_named_twice(connection, topic):
    """It has one answer, and the last offset counts."""
    create(connection, topic)
    for _ in range(5):
        produce(connection, topic, batch([b"a", b"b"]))
    answer = connection.ask("DeleteRecords", 2, TimeoutMs=30000, Topics=[
        {"Name": topic, "Partitions": [{"PartitionIndex": 0, "Offset": 6}, {"PartitionIndex": 0, "Offset": 7}]},
        {"Name": topic, "Partitions": [{"PartitionIndex": 0, "Offset": 8}]}])
    assert answer["Topics"] == [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "LowWatermark": 8, "ErrorCode": NONE}]}]
    assert connection.ask("DeleteRecords", 2, TimeoutMs=30000, Topics=[])["Topics"] == []


def test_whole_segments_go_and_the_start_survives_a_stop(own_node):
    """Segments of 1 MiB: those before the new start are not there any more; after a stop the start is where it was."""
    connection = Connection(own_node.port)
    create(connection, "t", 1, segment_bytes="1048576", file_delete_delay_ms="0")
    for _ in range(8):
        produce(connection, "t", batch([b"x" * 500000]))
    folder = pathlib.Path(own_node.folder) / "t-0"
    if not folder.exists():
        folder = next(pathlib.Path(own_node.folder).glob("**/t-0"))
    assert len(list(folder.glob("*.log"))) >= 4
    assert delete(connection, 2, "t", (0, 7)) == {0: (NONE, 7)}
    for _ in range(600):
        if len(list(folder.glob("*.log"))) == 1:
            break
        time.sleep(0.1)
    assert len(list(folder.glob("*.log"))) == 1
    own_node.stop()
    own_node.start()
    connection = Connection(own_node.port)
    assert start_of(connection, "t") == 7
    assert fetch(connection, "t", 6)["ErrorCode"] == OFFSET_OUT_OF_RANGE
    assert [b["base"] for b in batches(fetch(connection, "t", 7)["Records"])] == [7]


def test_records_are_deleted_by_confluent_kafka(node, connection, topic):
    create(connection, topic)
    produce(connection, topic, batch([b"a", b"b", b"c"]))
    admin = AdminClient({"bootstrap.servers": node.address})
    futures = admin.delete_records([TopicPartition(topic, 0, 2)])
    assert [f.result(timeout=20).low_watermark for f in futures.values()] == [2]
    assert start_of(connection, topic) == 2


def test_producers_are_described(connection, topic):
    """Two that write with sequences, in the state that their last batch left; one that does not is not there."""
    create(connection, topic)
    produce(connection, topic, batch([b"a"]))
    produce(connection, topic, batch([b"a", b"b"], producer=(4000, 3, 0), timestamp=1000))
    produce(connection, topic, batch([b"a", b"b"], producer=(4000, 3, 2), timestamp=5000))
    produce(connection, topic, batch([b"a"], producer=(4001, 0, 0), timestamp=6000))
    answer = connection.ask("DescribeProducers", 0, Topics=[{"Name": topic, "PartitionIndexes": [0, 1, 9]},
                                                            {"Name": topic + "-none", "PartitionIndexes": [0]}, {"Name": "a b", "PartitionIndexes": [0]}])
    mine, none, invalid = answer["Topics"]
    fields = ("ProducerId", "ProducerEpoch", "LastSequence", "LastTimestamp", "CoordinatorEpoch", "CurrentTxnStartOffset")
    assert [p["ErrorCode"] for p in mine["Partitions"]] == [NONE, NONE, UNKNOWN_TOPIC_OR_PARTITION]
    assert sorted(tuple(p[f] for f in fields) for p in mine["Partitions"][0]["ActiveProducers"]) == [
        (4000, 3, 3, 5000, -1, -1), (4001, 0, 0, 6000, -1, -1)]
    assert mine["Partitions"][1]["ActiveProducers"] == []
    assert none["Partitions"][0]["ErrorCode"] == UNKNOWN_TOPIC_OR_PARTITION
    assert invalid["Partitions"][0]["ErrorCode"] == INVALID_TOPIC
