"""A full disk under a running node: refused at once and clearly, and everything goes on by itself when there is space again."""
import time

import pytest

from batches import batch, batches, records
from conftest_shared import Node
from disks import Small
from messages import Connection

NONE, STORAGE_ERROR = 0, 56
MESSAGE = "disk reserve reached"


@pytest.fixture
def small(tmp_path):
    disk = Small(tmp_path / "small", 64 << 20)
    node = Node(disk.path / "data", ["--override", f"moldau.disk.reserve={8 << 20}"])
    node.log = tmp_path / "node.log"
    node.disk = disk
    yield node.start()
    if node.alive():
        node.kill()
    disk.unmount()


def produce(connection, topic, data, version=9):
    begin = time.monotonic()
    answer = connection.ask("Produce", version, Acks=-1, TimeoutMs=30000, TopicData=[{"Name": topic, "PartitionData": [{"Index": 0, "Records": data}]}])
    one = answer["Responses"][0]["PartitionResponses"][0]
    return one["ErrorCode"], one.get("ErrorMessage"), one["BaseOffset"], time.monotonic() - begin


def values(connection, topic):
    found, offset = [], 0
    while True:
        answer = connection.ask("Fetch", 11, MaxWaitMs=0, MinBytes=0, MaxBytes=1 << 24, SessionEpoch=-1, Topics=[
            {"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 1 << 24}]}])
        one = answer["Responses"][0]["Partitions"][0]
        assert one["ErrorCode"] == NONE
        got = [record for header in batches(one["Records"] or b"") for record in records(header)]
        if not got:
            return found
        found += [(o, value[:6]) for o, _, _, value in got if o >= offset]
        offset = got[-1][0] + 1


def until_answered(connection, name, version, **fields):
    for _ in range(3000):
        answer = connection.ask(name, version, **fields)
        if not any(f"'ErrorCode': {e}" in str(answer) for e in (14, 15, 16)):
            return answer
        time.sleep(0.02)
    raise AssertionError(answer)


def commit(connection, offset):
    answer = until_answered(connection, "OffsetCommit", 8, GroupId="g", GenerationIdOrMemberEpoch=-1, Topics=[
        {"Name": "t", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": offset}]}])
    return answer["Topics"][0]["Partitions"][0]["ErrorCode"]


def committed(connection):
    answer = until_answered(connection, "OffsetFetch", 8, Groups=[{"GroupId": "g", "Topics": None}])["Groups"][0]
    return [p["CommittedOffset"] for t in answer["Topics"] for p in t["Partitions"]]


def create(connection, topic):
    answer = connection.ask("CreateTopics", 7, Topics=[{"Name": topic, "NumPartitions": 1, "ReplicationFactor": 1}])
    return answer["Topics"][0]["ErrorCode"]


def test_the_reserve_is_kept(small):
    """A producer writes as fast as it can until it is refused: at once, with KAFKA_STORAGE_ERROR and the reason, and with
    something of the reserve left. Consumers read all of it, groups commit, topics are made, deleted and configured from the
    reserve. Then records are deleted, which gives room: within seconds the same connection produces again, without a
    restart; nothing that was acknowledged is lost, neither then nor after a kill."""
    connection = Connection(small.port)
    assert create(connection, "t") == NONE
    connection.ask("FindCoordinator", 4, CoordinatorKeys=["g"])
    assert commit(connection, 0) == NONE
    small.disk.fill(left=28 << 20)
    sent, big = [], b"x" * 250_000
    while True:
        error, message, base, _ = produce(connection, "t", batch([b"%06d" % len(sent) + big]))
        if error:
            break
        sent.append((base, b"%06d" % len(sent)))
        assert len(sent) < 1000
    assert (error, message) == (STORAGE_ERROR, MESSAGE)
    assert len(sent) > 40
    for _ in range(5):
        error, message, _, took = produce(connection, "t", batch([b"y"]))
        assert (error, message) == (STORAGE_ERROR, MESSAGE) and took < 5
    assert produce(connection, "t", batch([b"y"]), version=7)[:2] == (STORAGE_ERROR, None)  # it has no room for a message
    assert values(connection, "t") == sent
    assert commit(connection, 17) == NONE and committed(connection) == [17]
    assert create(connection, "other") == NONE
    assert produce(connection, "other", batch([b"y"]))[:2] == (STORAGE_ERROR, MESSAGE)
    small.disk.empty()
    deadline = time.monotonic() + 60
    while (answer := produce(connection, "t", batch([b"%06d" % len(sent)])))[0] == STORAGE_ERROR:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer[0] == NONE
    sent.append((answer[2], b"%06d" % len(sent)))
    assert produce(connection, "other", batch([b"y"]))[0] == NONE
    assert values(connection, "t") == sent
    small.kill()
    small.start()
    connection = Connection(small.port)
    assert values(connection, "t") == sent and committed(connection) == [17]
    assert [name for name in small.log.read_text().splitlines() if "failed" in name] == []
    small.stop()


def test_not_a_byte_is_left(small):
    """Somebody else takes the whole disk, reserve and all, between two looks of the node. Producers are refused, the node
    stays up; with space again everything is written to again, by itself, and nothing acknowledged is lost. (What was
    refused may be there: the disk may have had room for it, and not for what was written along with it.)"""
    connection = Connection(small.port)
    assert create(connection, "t") == NONE
    sent = []

    def send(value):
        error, _, base, _ = produce(connection, "t", batch([value + b"x" * 20000]))
        if not error:
            sent.append((base, value))
        return error

    for i in range(20):
        assert send(b"%06d" % i) == NONE
    for left in (60000, 0, 60000):
        small.disk.fill(left)
        errors = [send(b"%06d" % len(sent)) for _ in range(20)]
        time.sleep(3)  # the metadata log goes on in the room that it has taken in advance
        assert set(errors) <= {NONE, STORAGE_ERROR} and errors[-1] == STORAGE_ERROR
        assert set(sent) <= set(values(connection, "t"))
        assert create(connection, f"other-{left}-{len(sent)}") == NONE
        small.disk.empty()
        deadline = time.monotonic() + 60
        while send(b"%06d" % len(sent)):
            assert time.monotonic() < deadline, small.log.read_text()
            time.sleep(0.1)
        assert set(sent) <= set(values(connection, "t"))
    assert small.alive()
    small.stop()
    small.start()
    assert set(sent) <= set(values(Connection(small.port), "t"))
    small.stop()
