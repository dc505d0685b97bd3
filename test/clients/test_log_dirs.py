"""DescribeLogDirs on a node with two log directories: sizes, room, what is asked about and what is not."""
import os
import pathlib

import pytest

from batches import batch
from conftest_shared import Node
from messages import Connection

NONE = 0


@pytest.fixture
def two(tmp_path):
    """A node that keeps its data in two directories."""
    dirs = [tmp_path / "data", tmp_path / "more"]
    node = Node(dirs[0], ["--override", f"log.dirs={dirs[0]},{dirs[1]}"]).start()
    node.dirs = dirs
    yield node
    if node.alive():
        node.kill()


def create(connection, topic, partitions):
    answer = connection.ask("CreateTopics", 7, Topics=[{"Name": topic, "NumPartitions": partitions, "ReplicationFactor": 1}])
    assert answer["Topics"][0]["ErrorCode"] == NONE


def produce(connection, topic, partition, data):
    answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=5000, TopicData=[
        {"Name": topic, "PartitionData": [{"Index": partition, "Records": data}]}])
    assert answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == NONE


def describe(connection, version, topics):
    answer = connection.ask("DescribeLogDirs", version, Topics=topics)
    assert answer.get("ErrorCode", NONE) == NONE
    return {result["LogDir"]: result for result in answer["Results"]}


def places(described):
    return {(t["Name"], p["PartitionIndex"]): (pathlib.Path(name), p["PartitionSize"])
            for name, result in described.items() for t in result["Topics"] for p in t["Partitions"] if not p["IsFutureKey"]}


def size_on_disk(folder):
    return sum(path.stat().st_size for path in folder.glob("*.log"))


@pytest.mark.parametrize("version", range(1, 6))
def test_what_lies_where(two, version):
    """Four partitions over two directories, three written to: each is told where its folder is, with its bytes."""
    connection = Connection(two.port)
    create(connection, "t", 4)
    create(connection, "t-1", 1)  # its folder's name lies between those of t
    for partition in range(3):
        for _ in range(partition + 1):
            produce(connection, "t", partition, batch([b"x" * 100]))
    described = describe(connection, version, None)
    assert sorted(described) == sorted(str(path) for path in two.dirs)
    found = places(described)
    assert sorted(found) == [("t", 0), ("t", 1), ("t", 2), ("t", 3), ("t-1", 0)]
    assert len({found["t", p][0] for p in range(3)}) == 2
    for partition in range(3):
        folder, size = found["t", partition]
        assert size == size_on_disk(folder / f"t-{partition}") > 100 * (partition + 1)
    assert found["t", 3][1] == 0
    for path, result in described.items():
        assert result["ErrorCode"] == NONE
        names = [t["Name"] for t in result["Topics"]]
        assert len(names) == len(set(names))
        if version >= 4:
            space = os.statvfs(path)
            assert result["TotalBytes"] == space.f_blocks * space.f_frsize
            assert 0 < result["UsableBytes"] < result["TotalBytes"]
        if version >= 5:
            assert result["IsCordoned"] is False


def test_only_what_is_asked(two):
    """Named partitions, once each; none for no topics, for no partitions, and for what is not there."""
    connection = Connection(two.port)
    create(connection, "t", 2)
    produce(connection, "t", 0, batch([b"x"]))
    assert set(places(describe(connection, 4, [{"Topic": "t", "Partitions": [0, 0, 7]}, {"Topic": "t", "Partitions": [0]}]))) == {("t", 0)}
    assert set(places(describe(connection, 4, [{"Topic": "t", "Partitions": [1]}, {"Topic": "none", "Partitions": [0]}]))) == {("t", 1)}
    for topics in ([], [{"Topic": "t", "Partitions": []}], [{"Topic": "none", "Partitions": [0]}]):
        described = describe(connection, 4, topics)
        assert len(described) == 2 and places(described) == {}


def test_a_directory_added_later_becomes_part_of_the_node(tmp_path):
    """One directory, then a second, empty one: it is formatted at the start, and partitions go into it; both stay."""
    first, second = tmp_path / "data", tmp_path / "more"
    node = Node(first).start()
    create(Connection(node.port), "before", 1)
    produce(Connection(node.port), "before", 0, batch([b"x"]))
    node.stop()
    node.options = ["--override", f"log.dirs={first},{second}"]
    node.start()
    connection = Connection(node.port)
    create(connection, "after", 4)
    for partition in range(4):
        produce(connection, "after", partition, batch([b"x"]))
    before = places(describe(connection, 4, None))
    assert before["before", 0][0] == first
    assert second in {place for place, _ in before.values()}
    node.stop()
    node.start()
    assert places(describe(Connection(node.port), 4, None)) == before
    node.stop()
