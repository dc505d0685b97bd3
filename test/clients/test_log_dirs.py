"""DescribeLogDirs on a node with two log directories: sizes, room, what is asked about and what is not."""
import os
import pathlib
import time

import pytest

from batches import batch, batches, records
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
    answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[
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
        assert size == (partition + 1) * len(batch([b"x" * 100]))  # its data; the file may have room behind them
        assert size_on_disk(folder / f"t-{partition}") >= size
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
    assert places(describe(Connection(node.port), 4, None)) == before  # the room that an open log has made does not count
    node.stop()


# ---- AlterReplicaLogDirs

UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC, LOG_DIR_NOT_FOUND = 3, 17, 57


def alter(connection, version, path, topic, partitions):
    answer = connection.ask("AlterReplicaLogDirs", version, Dirs=[{"Path": str(path), "Topics": [{"Name": topic, "Partitions": partitions}]}])
    assert [result["TopicName"] for result in answer["Results"]] == [topic]
    return {p["PartitionIndex"]: p["ErrorCode"] for p in answer["Results"][0]["Partitions"]}


def place_of(connection, topic, partition=0):
    return places(describe(connection, 4, [{"Topic": topic, "Partitions": [partition]}]))[topic, partition][0]


def arrives(connection, topic, path):
    for _ in range(3000):
        if place_of(connection, topic) == path:
            return True
        time.sleep(0.02)
    return False


def values(connection, topic):
    found, offset = [], 0
    while True:
        answer = connection.ask("Fetch", 11, MaxWaitMs=0, MinBytes=0, MaxBytes=1 << 24, SessionEpoch=-1, Topics=[
            {"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 1 << 24}]}])
        partition = answer["Responses"][0]["Partitions"][0]
        if partition["ErrorCode"] == 6:  # just now it is being moved
            time.sleep(0.01)
            continue
        assert partition["ErrorCode"] == NONE
        got = [record for header in batches(partition["Records"]) for record in records(header)]
        if not got:
            return found
        found += [value for o, _, _, value in got if o >= offset]
        offset = got[-1][0] + 1


@pytest.mark.parametrize("version", (1, 2))
def test_what_cannot_be_moved(two, version):
    connection = Connection(two.port)
    create(connection, "t", 1)
    for path in ("/nope", "relative", "", f"{two.dirs[0]}/"):
        assert alter(connection, version, path, "t", [0]) == {0: LOG_DIR_NOT_FOUND}
    assert alter(connection, version, two.dirs[0], "none", [0]) == {0: UNKNOWN_TOPIC_OR_PARTITION}
    assert alter(connection, version, two.dirs[0], "t", [9, 0]) == {9: UNKNOWN_TOPIC_OR_PARTITION, 0: NONE}
    # 255 bytes are a name: the topic's, and 42 around a partition of one digit.
    assert alter(connection, version, two.dirs[0], "x" * 213, [0]) == {0: UNKNOWN_TOPIC_OR_PARTITION}
    assert alter(connection, version, two.dirs[0], "x" * 213, [10]) == {10: INVALID_TOPIC}
    assert alter(connection, version, two.dirs[0], "x" * 214, [0]) == {0: INVALID_TOPIC}


def test_a_partition_that_is_named_twice_goes_where_it_is_said_last(two):
    connection = Connection(two.port)
    create(connection, "t", 1)
    produce(connection, "t", 0, batch([b"x"]))
    here = place_of(connection, "t")
    there = next(path for path in two.dirs if path != here)
    answer = connection.ask("AlterReplicaLogDirs", 2, Dirs=[
        {"Path": str(here), "Topics": [{"Name": "t", "Partitions": [0, 0]}]}, {"Path": str(there), "Topics": [{"Name": "t", "Partitions": [0]}]}])
    assert answer["Results"] == [{"TopicName": "t", "Partitions": [{"PartitionIndex": 0, "ErrorCode": NONE}]}]
    assert arrives(connection, "t", there)


def test_a_partition_moves_while_it_is_written_to(two):
    """There and back, three times, with several segments, under a producer with sequences; then a kill. Nothing is lost or
    doubled, one folder of it is left, and it is where it was moved to."""
    connection = Connection(two.port)
    answer = connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": 1, "ReplicationFactor": 1, "Configs": [
        {"Name": "segment.bytes", "Value": "1048576"}, {"Name": "file.delete.delay.ms", "Value": "0"}, {"Name": "retention.ms", "Value": "-1"}]}])
    assert answer["Topics"][0]["ErrorCode"] == NONE
    sent = []

    def send(count):
        for _ in range(count):
            value = b"%06d" % len(sent) + b"x" * 20000
            for _ in range(10000):
                one = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[{"Name": "t", "PartitionData": [
                    {"Index": 0, "Records": batch([value], producer=(77, 0, len(sent)), timestamp=1)}]}])["Responses"][0]["PartitionResponses"][0]
                if one["ErrorCode"] != 6:
                    break
                time.sleep(0.005)
            assert one["ErrorCode"] == NONE and one["BaseOffset"] == len(sent)
            sent.append(value)

    send(150)
    here = place_of(connection, "t")
    there = next(path for path in two.dirs if path != here)
    for _ in range(3):
        here, there = there, here
        assert alter(connection, 2, here, "t", [0]) == {0: NONE}
        while place_of(connection, "t") != here:
            send(5)
        send(20)
        assert values(connection, "t") == sent
    two.kill()
    two.start()
    connection = Connection(two.port)
    assert place_of(connection, "t") == here
    assert values(connection, "t") == sent
    send(3)
    assert values(connection, "t") == sent
    for _ in range(1000):
        left = [path.name for d in two.dirs for path in d.iterdir() if path.name.startswith("t-")]
        if left == ["t-0"]:
            break
        time.sleep(0.05)
    assert left == ["t-0"]


def test_a_partition_of_the_groups_moves(two):
    """The coordinator goes on over the same log: offsets are there, and new ones are taken."""
    connection = Connection(two.port)
    create(connection, "t", 1)

    def ask(name, version, **fields):
        for _ in range(3000):
            answer = connection.ask(name, version, **fields)
            text = str(answer)
            if not any(f"'ErrorCode': {e}," in text or f"'ErrorCode': {e}}}" in text for e in (14, 15, 16)):
                return answer
            time.sleep(0.02)
        raise AssertionError(text)

    def commit(offset):
        answer = ask("OffsetCommit", 8, GroupId="g", GenerationIdOrMemberEpoch=-1, Topics=[
            {"Name": "t", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": offset}]}])
        assert answer["Topics"][0]["Partitions"][0]["ErrorCode"] == NONE

    def committed():
        answer = ask("OffsetFetch", 8, Groups=[{"GroupId": "g", "Topics": None}])["Groups"][0]
        return [p["CommittedOffset"] for t in answer["Topics"] for p in t["Partitions"]]

    ask("FindCoordinator", 4, CoordinatorKeys=["g"])
    commit(1)
    everything = places(describe(connection, 4, None))
    mine = next(p for (name, p), (path, size) in everything.items() if name == "__consumer_offsets" and size > 0)
    here = everything["__consumer_offsets", mine][0]
    for round in range(4):
        here = next(path for path in two.dirs if path != here)
        assert alter(connection, 2, here, "__consumer_offsets", [mine]) == {mine: NONE}
        for _ in range(3000):
            if place_of(connection, "__consumer_offsets", mine) == here:
                break
            time.sleep(0.02)
        assert committed() == [round + 1]
        commit(round + 2)
    two.kill()
    two.start()
    connection = Connection(two.port)
    assert committed() == [5]


def rate(connection, bytes_per_second):
    """replica.alter.log.dirs.io.max.bytes.per.second, while the node runs; None: without a bound."""
    answer = connection.ask("IncrementalAlterConfigs", 1, Resources=[{"ResourceType": 4, "ResourceName": "", "Configs": [
        {"Name": "replica.alter.log.dirs.io.max.bytes.per.second", "ConfigOperation": 0 if bytes_per_second else 1,
         "Value": str(bytes_per_second) if bytes_per_second else None}]}])
    assert answer["Responses"][0]["ErrorCode"] == NONE


def futures(connection):
    return [(result["LogDir"], t["Name"], p["PartitionIndex"]) for result in describe(connection, 4, None).values()
            for t in result["Topics"] for p in t["Partitions"] if p["IsFutureKey"]]


@pytest.mark.parametrize("stop", ["kill", "stop"])
def test_a_move_goes_on_after_a_start(two, stop):
    """At 100 kB a second some 4 MB are on their way for long enough: the node is killed, or stopped, and started again. The
    future is told before and after, and goes on; without a bound it soon is the log, with all that was written."""
    connection = Connection(two.port)
    answer = connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": 1, "ReplicationFactor": 1, "Configs": [
        {"Name": "segment.bytes", "Value": "1048576"}, {"Name": "file.delete.delay.ms", "Value": "0"}, {"Name": "retention.ms", "Value": "-1"}]}])
    assert answer["Topics"][0]["ErrorCode"] == NONE
    sent = [b"%06d" % i + b"x" * 40000 for i in range(100)]
    for value in sent:
        produce(connection, "t", 0, batch([value], timestamp=1))
    here = place_of(connection, "t")
    there = next(path for path in two.dirs if path != here)
    rate(connection, 100_000)
    time.sleep(0.3)
    assert alter(connection, 2, there, "t", [0]) == {0: NONE}
    time.sleep(1)
    assert futures(connection) == [(str(there), "t", 0)] and place_of(connection, "t") == here
    getattr(two, stop)()
    two.start()
    connection = Connection(two.port)
    assert values(connection, "t") == sent
    assert futures(connection) == [(str(there), "t", 0)] and place_of(connection, "t") == here
    assert alter(connection, 2, there, "t", [0]) == {0: NONE}
    rate(connection, None)
    assert arrives(connection, "t", there)
    assert futures(connection) == []
    assert values(connection, "t") == sent
    for _ in range(1000):
        left = [path.name for d in two.dirs for path in d.iterdir() if path.name.startswith("t-")]
        if left == ["t-0"]:
            break
        time.sleep(0.05)
    assert left == ["t-0"]


def test_the_metadata_log_apart(tmp_path):
    """metadata.log.dir beside log.dirs: it is not told, nothing can be moved into it, and eight partitions, over a stop and a
    kill, lie in log.dirs and nowhere else, where Apache Kafka would look for them."""
    data, more, apart = tmp_path / "data", tmp_path / "more", tmp_path / "apart"
    formatted = Node(apart).start()
    formatted.stop()
    (apart / "old-0").mkdir()
    node = Node(apart, ["--override", f"log.dirs={data},{more}", "--override", f"metadata.log.dir={apart}"]).start()
    connection = Connection(node.port)
    create(connection, "t", 8)
    for partition in range(8):
        produce(connection, "t", partition, batch([b"x"]))
    answer = connection.ask("AlterReplicaLogDirs", 2, Dirs=[{"Path": str(apart), "Topics": [{"Name": "t", "Partitions": [0]}]}])
    assert answer["Results"][0]["Partitions"][0]["ErrorCode"] == 57  # LOG_DIR_NOT_FOUND
    for end in (node.stop, node.kill):
        described = describe(connection, 4, None)
        assert set(described) == {str(data), str(more)}
        assert len(places(described)) == 8
        assert sorted(path.name for path in apart.iterdir() if path.is_dir()) == ["__cluster_metadata-0", "old-0"]
        connection.close()
        end()
        assert not (apart / ".kafka_cleanshutdown").exists()
        node.start()
        connection = Connection(node.port)
        for partition in range(8):
            produce(connection, "t", partition, batch([b"y"]))
    connection.close()
    node.stop()
