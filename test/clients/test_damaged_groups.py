"""Rot in what the node itself lives from: the groups' partitions, and the metadata log.

Where Apache Kafka 4.4 notices, it does the same with __consumer_offsets: a record of a kind that it knows and cannot read makes
its partition no coordinator (NOT_COORDINATOR), one of an unknown kind is passed over. It does not look at checksums there:
a flipped bit it hands out as an offset; Moldau refuses the partition.
"""
import struct
import subprocess
import time

import pytest

from batches import batch, crc32c
from conftest_shared import MOLDAU, Node
from messages import Connection

NONE, NOT_COORDINATOR = 0, 16
PARTITIONS = 4
SICK = 2


def place(group):
    """Java's hash of its name, by the number of partitions."""
    hash = 0
    for letter in group:
        hash = hash * 31 + ord(letter) & 0xFFFFFFFF
    return (hash & 0x7FFFFFFF) % PARTITIONS


def offsets_commit(connection, group, offset):
    answer = connection.ask("OffsetCommit", 8, GroupId=group, GenerationIdOrMemberEpoch=-1, Topics=[
        {"Name": "t", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": offset}]}])
    return answer["Topics"][0]["Partitions"][0]["ErrorCode"]


def offset_of(connection, group):
    """What is committed; an error as a negative number."""
    answer = connection.ask("OffsetFetch", 8, Groups=[{"GroupId": group, "Topics": [{"Name": "t", "PartitionIndexes": [0]}]}])["Groups"][0]
    return -answer["ErrorCode"] if answer["ErrorCode"] else answer["Topics"][0]["Partitions"][0]["CommittedOffset"]


GROUPS = {index: [f"group-{i}" for i in range(100) if place(f"group-{i}") == index][:3] for index in range(PARTITIONS)}
ALL = [group for groups in GROUPS.values() for group in groups]


@pytest.fixture
def stopped(tmp_path):
    """A node that is down, after three commits of each of three groups on each of four partitions."""
    node = Node(tmp_path / "data", ["--override", f"offsets.topic.num.partitions={PARTITIONS}"]).start()
    connection = Connection(node.port)
    connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": 1, "ReplicationFactor": 1}])
    deadline = time.monotonic() + 60
    while any(c["ErrorCode"] for c in connection.ask("FindCoordinator", 4, KeyType=0, CoordinatorKeys=ALL)["Coordinators"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for offset in (10, 11, 12):
        for group in ALL:
            assert offsets_commit(connection, group, offset) == NONE
    node.stop()
    yield node
    if node.alive():
        node.kill()


def segment(node, index):
    return node.folder / f"__consumer_offsets-{index}" / ("0" * 20 + ".log")


def damage(node, what):
    """Changes the second commit of the second group of the sick partition; answers its offset. With a checksum that is right
    again, unless `what` answers that it shall not be."""
    path = segment(node, SICK)
    data = bytearray(path.read_bytes())
    name = GROUPS[SICK][1].encode()
    at, met = 0, 0
    while at + 12 <= len(data) and struct.unpack_from(">i", data, at + 8)[0] > 49:
        base, size = struct.unpack_from(">qi", data, at)
        size += 12
        key = data.find(struct.pack(">hh", 1, len(name)) + name, at, at + size)
        met += key >= 0
        if key >= 0 and met == 2:
            value = key + 4 + len(name) + 3 + 4  # behind the topic's name and the partition: the value's length in two bytes or one
            value += 2 if data[value] & 128 else 1
            if what(data, key, value) is not False:
                struct.pack_into(">I", data, at + 17, crc32c(bytes(data[at + 21:at + size])))
            path.write_bytes(data)
            return base
        at += size
    raise AssertionError("it is not there")


def a_newer_value(data, key, value):
    struct.pack_into(">h", data, value, 99)


def a_value_of_no_version(data, key, value):
    struct.pack_into(">h", data, value, -1)


def a_length_that_cannot_be(data, key, value):
    struct.pack_into(">h", data, value + 2 + 8 + 4, 0x7FFF)  # of the metadata, behind offset and leader epoch


def a_key_that_ends_too_soon(data, key, value):
    struct.pack_into(">h", data, key + 2, 0x7FFF)


def an_unknown_kind(data, key, value):
    struct.pack_into(">h", data, key, 99)


def a_flipped_bit(data, key, value):
    data[value + 9] ^= 1
    return False


def restarted(node):
    """Up, and its well groups loaded."""
    node.start()
    connection, deadline = Connection(node.port), time.monotonic() + 30
    well = [group for index, groups in GROUPS.items() if index != SICK for group in groups]
    while any(offset_of(connection, group) in (-14, -15, -NOT_COORDINATOR) for group in well) and time.monotonic() < deadline:
        time.sleep(0.05)
    return connection


@pytest.mark.parametrize("what", [a_newer_value, a_value_of_no_version, a_length_that_cannot_be, a_key_that_ends_too_soon, a_flipped_bit])
def test_what_cannot_be_read_ends_the_groups_of_its_partition_only(stopped, what):
    """The node starts; groups of that partition are refused with NOT_COORDINATOR at once, reading and writing, never given an
    older offset; groups of the three others have theirs and commit on. Partition and offset are told, once. The segment is
    left as it is."""
    offset = damage(stopped, what)
    before = segment(stopped, SICK).read_bytes()
    connection = restarted(stopped)
    for _ in range(3):
        for index, groups in GROUPS.items():
            for group in groups:
                begin = time.monotonic()
                assert offset_of(connection, group) == (-NOT_COORDINATOR if index == SICK else 12), group
                assert offsets_commit(connection, group, 12) == (NOT_COORDINATOR if index == SICK else NONE), group
                assert time.monotonic() - begin < 5
        time.sleep(0.3)
    text = stopped.log.read_text()
    assert text.count(f"partition __consumer_offsets-{SICK}: what is committed there cannot be read at offset {offset}: ") == 1, text
    assert "cannot be read" not in text.replace(f"__consumer_offsets-{SICK}: what is committed there cannot be read", "")
    stopped.stop()
    assert segment(stopped, SICK).read_bytes() == before


def test_a_kind_of_a_later_version_is_passed_over(stopped):
    """As Apache Kafka does: all groups are there, with what they committed last."""
    damage(stopped, an_unknown_kind)
    connection = restarted(stopped)
    for group in ALL:
        assert offset_of(connection, group) == 12
        assert offsets_commit(connection, group, 13) == NONE
    assert "cannot be read" not in stopped.log.read_text()
    stopped.stop()


def test_a_torn_tail_and_no_indexes(stopped):
    """The node was killed; half a batch stands behind the last whole one, the partition's indexes are gone: nothing that was
    committed is lost, what is torn is told to be cut off."""
    stopped.start()
    Connection(stopped.port)
    stopped.kill()
    path = segment(stopped, SICK)
    whole = path.read_bytes().rstrip(b"\0")  # room that was made for more
    torn = batch([b"never acknowledged"] * 3, base=10**6)[:100]
    with open(path, "r+b") as file:
        data = file.read()
        at = 0
        while at + 12 <= len(data) and struct.unpack_from(">i", data, at + 8)[0] > 49:
            at += 12 + struct.unpack_from(">i", data, at + 8)[0]
        assert at >= len(whole)
        file.truncate(at)
        file.seek(at)
        file.write(torn)
    for index in path.parent.glob("*index"):
        index.unlink()
    connection = restarted(stopped)
    for group in ALL:
        assert offset_of(connection, group) == 12
        assert offsets_commit(connection, group, 13) == NONE
    assert f"__consumer_offsets-{SICK}" in stopped.log.read_text()
    stopped.stop()


@pytest.mark.parametrize("killed", [False, True])
def test_rot_in_the_metadata_stops_the_start(stopped, killed):
    """A bit turns in a batch in the middle of the metadata log. Whether it was stopped in order or killed, the node does not
    start, says in one sentence which file and offset, and cuts nothing; with the bit turned back all is there."""
    if killed:
        stopped.start()
        stopped.kill()
    path = stopped.folder / "__cluster_metadata-0" / ("0" * 20 + ".log")
    data = bytearray(path.read_bytes())
    places, at = [], 0
    while at + 12 <= len(data) and struct.unpack_from(">i", data, at + 8)[0] > 49:
        places.append(at)
        at += 12 + struct.unpack_from(">i", data, at + 8)[0]
    at = places[len(places) // 2]
    assert len(places) > 5 and at > 0
    data[at + 70] ^= 4
    path.write_bytes(data)
    offset = struct.unpack_from(">q", data, at)[0]
    done = subprocess.run([MOLDAU, "dev", "--dir", stopped.folder, "--port", str(stopped.port)], capture_output=True, text=True, timeout=30)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "damaged" in line]
    assert done.returncode == 1 and len(said) == 1, (done.returncode, done.stdout + done.stderr)
    assert f"{path} at offset {offset}" in said[0], said
    assert path.read_bytes() == bytes(data)
    data[at + 70] ^= 4
    path.write_bytes(data)
    connection = restarted(stopped)
    assert offset_of(connection, ALL[0]) == 12
    stopped.stop()
