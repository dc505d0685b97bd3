"""The disk fails in one place under a running node: that log is refused, and nothing else is touched by it.

Apache Kafka takes the whole directory offline then, with every partition in it; Moldau gives up the log that failed.
"""
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from batches import batch, batches, records
from conftest_shared import Node, eventually
from messages import Connection

NONE, NOT_COORDINATOR, STORAGE_ERROR = 0, 16, 56
PARTITIONS = 6
SICK = 1


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("there is no C compiler here")
    made = tmp_path_factory.mktemp("failing") / "failing_disk.so"
    source = pathlib.Path(__file__).with_name("failing_disk.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


class Sick(Node):
    """A node over two directories, whose operations on files fail as fails(...) says."""

    def __init__(self, folder, library, backend):
        self.dirs = [folder / "first", folder / "second"]
        super().__init__(self.dirs[0], ["--override", "log.dirs=" + ",".join(map(str, self.dirs)), "--override", f"io.backend={backend}",
                                        "--override", "log.flush.offset.checkpoint.interval.ms=500", "--override", "offsets.topic.num.partitions=4"])
        self.rules = folder / "rules"
        self.environment = {"LD_PRELOAD": " ".join([str(library), *os.environ.get("LD_PRELOAD", "").split()]), "FAILING_DISK": str(self.rules)}
        self.fails()

    def fails(self, *rules):
        """Each a kind of operation (write, sync, read) and a part of a path; none: the disk is well."""
        new = self.rules.with_suffix(".new")
        new.write_text("".join(rule + "\n" for rule in rules))
        new.rename(self.rules)

    def text(self):
        return self.log.read_text(errors="replace")


@pytest.fixture(params=["epoll", "io_uring"])
def sick(request, tmp_path, library):
    node = Sick(tmp_path, library, request.param)
    try:
        node.start()
    except AssertionError as wrong:
        if request.param == "epoll" or "io.backend: io_uring cannot be used here" not in str(wrong):
            raise
        pytest.skip("there is no io_uring here")
    yield node
    if node.alive():
        node.kill()


def produce(connection, partition, value):
    answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[
        {"Name": "t", "PartitionData": [{"Index": partition, "Records": batch([value])}]}])
    return answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]


def values(connection, partition, offset=0):
    """The error, and what is there from the offset on."""
    answer = connection.ask("Fetch", 11, MaxWaitMs=0, MinBytes=0, MaxBytes=1 << 24, SessionEpoch=-1, Topics=[
        {"Topic": "t", "Partitions": [{"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1 << 24}]}])
    one = answer["Responses"][0]["Partitions"][0]
    return one["ErrorCode"], [value for header in batches(one["Records"] or b"") for _, _, _, value in records(header)]


def until_loaded(connection, name, version, error_of, **fields):
    deadline = time.monotonic() + 60
    while True:
        answer = connection.ask(name, version, **fields)
        if error_of(answer) not in (14, 15, NOT_COORDINATOR) or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def commit(connection, group, offset):
    error_of = lambda answer: answer["Topics"][0]["Partitions"][0]["ErrorCode"]
    return error_of(until_loaded(connection, "OffsetCommit", 8, error_of, GroupId=group, GenerationIdOrMemberEpoch=-1, Topics=[
        {"Name": "t", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": offset}]}]))


def committed(connection, group):
    error_of = lambda answer: answer["Groups"][0]["ErrorCode"]
    answer = until_loaded(connection, "OffsetFetch", 8, error_of, Groups=[{"GroupId": group, "Topics": [{"Name": "t", "PartitionIndexes": [0]}]}])
    group = answer["Groups"][0]
    return group["ErrorCode"] or group["Topics"][0]["Partitions"][0]["CommittedOffset"]


def place(group):
    """Which of the four partitions of __consumer_offsets is a group's: Java's hash of its name."""
    hash = 0
    for letter in group:
        hash = hash * 31 + ord(letter) & 0xFFFFFFFF
    return (hash & 0x7FFFFFFF) % 4


def set_up(node):
    connection = Connection(node.port)
    connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": PARTITIONS, "ReplicationFactor": 1}])
    written = {}
    for partition in range(PARTITIONS):
        written[partition] = [b"%d-%d" % (partition, i) for i in range(3)]
        for value in written[partition]:
            assert produce(connection, partition, value) == NONE
    groups = [f"group-{i}" for i in range(12)]
    found = lambda answer: answer["Coordinators"][0]["ErrorCode"]
    assert found(until_loaded(connection, "FindCoordinator", 4, found, KeyType=0, CoordinatorKeys=groups)) == NONE  # makes the topic
    for group in groups:
        assert commit(connection, group, 7) == NONE
    folders = [sorted(path.name for path in folder.glob("t-*")) for folder in node.dirs]
    assert all(folders) and sum(len(names) for names in folders) == PARTITIONS  # in both directories
    assert any(f"t-{SICK}" in names and len(names) > 1 for names in folders)    # with neighbours in its own
    return connection, written, groups


def directories_are_well(connection):
    return all(result["ErrorCode"] == NONE for result in connection.ask("DescribeLogDirs", 4, Topics=None)["Results"])


# Syncs of io_uring go past the C library where the device is slow, so they cannot be made to fail here.
@pytest.mark.parametrize("sick, kind", [("epoll", "write"), ("epoll", "sync"), ("io_uring", "write")], indirect=["sick"])
def test_a_log_that_cannot_be_written_fails_alone(sick, kind):
    """Writes (or syncs) of one partition's segment end with EIO, once. From then on that partition answers
    KAFKA_STORAGE_ERROR to Produce and Fetch, also when the disk is well again: nobody knows what is on it. The partitions
    beside it in its directory, the other directory, groups and new topics go on, no directory is said to have failed, and
    the node says which log it was, once. Killed and started again, the node has all that was acknowledged everywhere and
    writes to all of it."""
    connection, written, groups = set_up(sick)
    sick.fails(f"{kind} t-{SICK}/00000000000000000000.log")
    assert produce(connection, SICK, b"lost") == STORAGE_ERROR
    sick.fails()
    for round in range(3):
        for partition in range(PARTITIONS):
            value = b"%d-after-%d" % (partition, round)
            assert produce(connection, partition, value) == (STORAGE_ERROR if partition == SICK else NONE), (round, partition)
            if partition != SICK:
                written[partition].append(value)
        for group in groups:
            assert commit(connection, group, 100 + round) == NONE
        time.sleep(0.6)  # checkpoints come and go
    for partition in range(PARTITIONS):
        error, found = values(connection, partition)
        assert error == STORAGE_ERROR if partition == SICK else (error, found) == (NONE, written[partition]), (partition, error, found)
    made = connection.ask("CreateTopics", 7, Topics=[{"Name": "new", "NumPartitions": 4, "ReplicationFactor": 1}])
    assert made["Topics"][0]["ErrorCode"] == NONE
    assert directories_are_well(connection)
    assert sick.text().count("its log has failed") == 1
    assert f"partition t-{SICK}: its log has failed: input or output failed" in sick.text()
    sick.kill()
    sick.start()
    connection = Connection(sick.port)
    for partition in range(PARTITIONS):
        assert eventually(lambda: values(connection, partition)[0] == NONE)
        found = values(connection, partition)[1]
        assert found[:len(written[partition])] == written[partition]
        assert found[len(written[partition]):] in ([], [b"lost"])  # what was refused may be there
        assert produce(connection, partition, b"again") == NONE
    for group in groups:
        assert committed(connection, group) == 102
    sick.stop()


@pytest.mark.parametrize("sick", ["epoll"], indirect=True)
def test_a_sick_partition_of_the_groups_ends_its_groups_only(sick):
    """Syncs of one partition of __consumer_offsets end with EIO: groups of that partition are refused from then on, without
    waiting; those of the others commit and read on, and so do producers. Started again, every group has what was
    acknowledged."""
    connection, _, groups = set_up(sick)
    its = {group for group in groups if place(group) == place(groups[0])}
    assert 0 < len(its) < len(groups)
    sick.fails(f"sync __consumer_offsets-{place(groups[0])}/00000000000000000000.log")
    refused = connection.ask("OffsetCommit", 8, GroupId=groups[0], GenerationIdOrMemberEpoch=-1, Topics=[
        {"Name": "t", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 8}]}])["Topics"][0]["Partitions"][0]["ErrorCode"]
    assert refused != NONE
    sick.fails()
    for group in groups:
        begin = time.monotonic()
        error = connection.ask("OffsetCommit", 8, GroupId=group, GenerationIdOrMemberEpoch=-1, Topics=[
            {"Name": "t", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 9}]}])["Topics"][0]["Partitions"][0]["ErrorCode"]
        assert error in (14, 15, NOT_COORDINATOR) if group in its else error == NONE, (group, error)
        assert time.monotonic() - begin < 4  # offsets.commit.timeout.ms is 5 s: nothing waited for it
    for partition in range(PARTITIONS):
        assert produce(connection, partition, b"x") == NONE
    assert directories_are_well(connection)
    sick.kill()
    sick.start()
    connection = Connection(sick.port)
    for group in groups:
        assert committed(connection, group) in ((7, 8) if group == groups[0] else (7,) if group in its else (9,)), group
        assert commit(connection, group, 10) == NONE
    sick.stop()


def test_a_log_that_cannot_be_read_is_refused_alone(sick):
    """After a restart nothing is in the node's memory, and reads of one partition's segment end with EIO: Fetch of it is
    answered with KAFKA_STORAGE_ERROR, never with fewer records and no error, while the others are read."""
    connection, written, _ = set_up(sick)
    sick.stop()
    sick.start()
    connection = Connection(sick.port)
    for partition in range(PARTITIONS):
        assert eventually(lambda: values(connection, partition)[0] == NONE)
    sick.stop()
    sick.start()
    sick.fails(f"read t-{SICK}/00000000000000000000.log")
    connection = Connection(sick.port)
    for partition in range(PARTITIONS):
        if partition != SICK:
            assert eventually(lambda: values(connection, partition) == (NONE, written[partition])), partition
            assert produce(connection, partition, b"y") == NONE
    error, found = values(connection, SICK)
    assert (error, found) == (STORAGE_ERROR, []), (error, found)
    assert directories_are_well(connection)
    sick.fails()
    sick.kill()
    sick.start()
    connection = Connection(sick.port)
    assert eventually(lambda: values(connection, SICK) == (NONE, written[SICK]))
    sick.stop()
