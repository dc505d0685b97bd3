"""Several log directories, and one of them dies: its partitions are refused, everything else goes on."""
import urllib.request

import pytest

from batches import batch, batches, records
from conftest_shared import Node, eventually
from disks import Mortal
from messages import Connection

NONE, LEADER_NOT_AVAILABLE, STORAGE_ERROR = 0, 5, 56
PARTITIONS = 9


@pytest.fixture
def three(tmp_path):
    """A node over three directories, the second of which is mortal."""
    disk = Mortal(tmp_path / "second")
    dirs = [tmp_path / "first", disk.path, tmp_path / "third"]
    node = Node(dirs[0], ["--override", "log.dirs=" + ",".join(map(str, dirs)), "--override", "broker.heartbeat.interval.ms=300"])
    node.disk, node.dirs = disk, dirs
    yield node.start()
    if node.alive():
        node.kill()
    disk.unmount()


def produce(connection, partition, value, version=9):
    answer = connection.ask("Produce", version, Acks=-1, TimeoutMs=30000, TopicData=[
        {"Name": "t", "PartitionData": [{"Index": partition, "Records": batch([value])}]}])
    return answer["Responses"][0]["PartitionResponses"][0]


def values(connection, partition):
    answer = connection.ask("Fetch", 11, MaxWaitMs=0, MinBytes=0, MaxBytes=1 << 24, SessionEpoch=-1, Topics=[
        {"Topic": "t", "Partitions": [{"Partition": partition, "FetchOffset": 0, "PartitionMaxBytes": 1 << 24}]}])
    one = answer["Responses"][0]["Partitions"][0]
    return one["ErrorCode"], [value for header in batches(one["Records"] or b"") for _, _, _, value in records(header)]


def described(connection):
    answer = connection.ask("DescribeLogDirs", 4, Topics=None)
    return {result["LogDir"]: result for result in answer["Results"]}


def partitions_in(result):
    return {p["PartitionIndex"] for t in result["Topics"] if t["Name"] == "t" for p in t["Partitions"]}


def states(connection):
    answer = connection.ask("Metadata", 9, Topics=[{"Name": "t"}])
    return {p["PartitionIndex"]: p for p in answer["Topics"][0]["Partitions"]}


def set_up(node):
    """Records in each partition; which partitions lie in the mortal directory."""
    connection = Connection(node.port)
    connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": PARTITIONS, "ReplicationFactor": 1}])
    for partition in range(PARTITIONS):
        for i in range(3):
            assert produce(connection, partition, b"%d-%d" % (partition, i))["ErrorCode"] == NONE
    lost = partitions_in(described(connection)[str(node.disk.path)])
    assert 0 < len(lost) < PARTITIONS
    return connection, lost


def test_one_directory_dies_and_comes_back(three):
    """The second directory's disk dies under a running node. Its partitions answer KAFKA_STORAGE_ERROR to Produce and Fetch,
    DescribeLogDirs tells the error for it and for no other, the controller takes its replicas for offline; partitions of
    the two others are written to and read as if nothing had been, new topics are made, groups commit. Started again
    without the disk the node serves the others, and makes nothing anew in their place; started with it, all is there that
    was acknowledged, and it is written to again."""
    connection, lost = set_up(three)
    kept = set(range(PARTITIONS)) - lost
    three.disk.die()
    written = {partition: [b"%d-%d" % (partition, i) for i in range(3)] for partition in range(PARTITIONS)}
    for round in range(3):
        for partition in range(PARTITIONS):
            value = b"%d-after-%d" % (partition, round)
            answer = produce(connection, partition, value)
            assert answer["ErrorCode"] == (STORAGE_ERROR if partition in lost else NONE), (round, partition)
            if partition in kept:
                written[partition].append(value)
    for partition in kept:
        assert values(connection, partition) == (NONE, written[partition])
    for partition in lost:
        assert eventually(lambda: values(connection, partition)[0] == STORAGE_ERROR)

    def is_told():
        now = described(connection)
        return [now[str(path)]["ErrorCode"] for path in three.dirs] == [NONE, STORAGE_ERROR, NONE]

    assert eventually(is_told)
    with urllib.request.urlopen(three.http + "/health/ready", timeout=10) as answer:  # it serves: what failed is named, no more
        assert answer.status == 200
        assert answer.read().decode() == f"ready\nthe log directory {three.disk.path} has failed: its partitions are offline\n"
    page = three.metrics()
    assert page.value("moldau_ready") == 1 and page.value("kafka_log_logmanager_offlinelogdirectorycount") == 1
    assert eventually(lambda: {p for p, state in states(connection).items() if state["OfflineReplicas"]} == lost), states(connection)
    assert {p for p, state in states(connection).items() if state["ErrorCode"]} == lost
    for partition in range(PARTITIONS):
        assert produce(connection, partition, b"x" if partition in lost else written[partition].append(b"x") or b"x")["ErrorCode"] == (
            STORAGE_ERROR if partition in lost else NONE)
    made = connection.ask("CreateTopics", 7, Topics=[{"Name": "new", "NumPartitions": 4, "ReplicationFactor": 1}])
    assert made["Topics"][0]["ErrorCode"] == NONE
    for partition in range(4):
        answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[
            {"Name": "new", "PartitionData": [{"Index": partition, "Records": batch([b"x"])}]}])
        assert answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == NONE
    three.stop()  # clean, though a directory is gone
    for with_it in (False, True):
        if with_it:
            three.stop()
            three.disk.come_back()
        three.start()
        connection = Connection(three.port)
        for partition in range(PARTITIONS):
            if with_it or partition in kept:
                assert eventually(lambda: values(connection, partition) == (NONE, written[partition])), (with_it, partition)
                assert produce(connection, partition, b"again")["ErrorCode"] == NONE
                written[partition].append(b"again")
            else:
                assert produce(connection, partition, b"x")["ErrorCode"] == STORAGE_ERROR
                assert values(connection, partition)[0] == STORAGE_ERROR
    assert all(result["ErrorCode"] == NONE for result in described(connection).values())
    three.stop()


def test_the_metadata_directory_dies(tmp_path):
    """Without its metadata a node cannot go on: it stops by itself, soon, and says why. With the disk back it starts, and
    what was acknowledged is there."""
    disk = Mortal(tmp_path / "first")
    node = Node(disk.path, ["--override", f"log.dirs={disk.path},{tmp_path / 'second'}"])
    node.log = tmp_path / "node.log"
    try:
        node.start()
        connection = Connection(node.port)
        connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": 4, "ReplicationFactor": 1}])
        for partition in range(4):
            assert produce(connection, partition, b"x")["ErrorCode"] == NONE
        disk.die()
        assert node.process.wait(timeout=20) == 1
        text = node.log.read_text()
        assert f"the metadata log in {disk.path}/__cluster_metadata-0 has failed: input or output failed; the node stops" in text, text
        disk.come_back()
        node.start()
        connection = Connection(node.port)
        for partition in range(4):
            assert values(connection, partition) == (NONE, [b"x"])
        node.stop()
    finally:
        if node.alive():
            node.kill()
        disk.unmount()
