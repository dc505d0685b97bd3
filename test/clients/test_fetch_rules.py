"""What a Fetch gives and says beside the records. The expectations are Apache Kafka 4.4's answers to the same bytes."""
import threading
import time

import pytest

from batches import batch
from messages import Connection
from test_produce_rules import connection, create, produce  # noqa: F401 (a fixture)

NONE = 0


@pytest.mark.parametrize("version", range(12, 19))
def test_who_leads_instead_is_told_from_version_16_on(connection, topic, version):
    """Of Fetch, to a replica that this broker does not follow."""
    create(connection, topic)
    topic_id = connection.ask("Metadata", 12, Topics=[{"Name": topic}])["Topics"][0]["TopicId"]
    answer = connection.ask("Fetch", version, ReplicaId=77, ReplicaState={"ReplicaId": 77}, MaxWaitMs=0, MaxBytes=1000, SessionEpoch=-1, Topics=[
        {"Topic": topic, "TopicId": topic_id, "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000}]}])
    part = answer["Responses"][0]["Partitions"][0]
    assert part["ErrorCode"] == 6  # NOT_LEADER_OR_FOLLOWER
    assert part.get("CurrentLeader", {}).get("LeaderId", -1) == (1 if version >= 16 else -1)


def fetch(connection, bytes_max, *parts):
    """Of each (topic, offset, most bytes): the records' bytes, and the list of aborted transactions."""
    answer = connection.ask("Fetch", 4, MaxWaitMs=0, MaxBytes=bytes_max, IsolationLevel=1, Topics=[
        {"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": most}]} for topic, offset, most in parts])
    parts = [part for topic in answer["Responses"] for part in topic["Partitions"]]
    assert [part["ErrorCode"] for part in parts] == [NONE] * len(parts)
    return [(len(part["Records"] or b""), part["AbortedTransactions"]) for part in parts]


def test_a_batch_that_does_not_fit_leaves_no_room_for_others(connection, topic):
    """Two batches in one topic and a smaller one in another. The request's bytes that are left where the second one did not
    fit are not given to the other topic; those of the partition's own limit are."""
    small = batch([b"s"], timestamp=1)
    large = batch([b"x" * 100], timestamp=1)
    other = topic + "-other"
    create(connection, topic)
    create(connection, other)
    for name, data in ((topic, large), (topic, large), (other, small)):
        assert produce(connection, name, data)["ErrorCode"] == NONE
    whole, rest = len(large), len(small) + 10
    assert rest < whole
    assert fetch(connection, 1 << 20, (topic, 0, 1 << 20), (other, 0, 1 << 20)) == [(2 * whole, []), (len(small), [])]
    (first, _), after = fetch(connection, whole + rest, (topic, 0, 1 << 20), (other, 0, 1 << 20))
    assert first - first % whole == whole and after == (0, [])
    (first, _), after = fetch(connection, whole + 2 * rest, (topic, 0, whole + rest), (other, 0, 1 << 20))
    assert first - first % whole == whole and after == (len(small), [])
    # with nothing in front of it, it is what does not fit: nothing is told of what was aborted
    assert fetch(connection, whole + rest, (topic, 1, 1 << 20), (other, 0, 10))[1] == (0, None)


UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST, UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID = 3, 42, 100, 103


@pytest.mark.parametrize("version", [4, 6, 7, 12, 13, 18])
def test_a_level_of_isolation_that_does_not_exist(connection, topic, version):
    """The request is refused as a whole: before version 13 partition by partition, from 7 on also at its top."""
    create(connection, topic)
    topic_id = connection.ask("Metadata", 12, Topics=[{"Name": topic}])["Topics"][0]["TopicId"]
    parts = [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000}]
    answer = connection.ask("Fetch", version, MaxWaitMs=0, MaxBytes=1000, IsolationLevel=2, SessionEpoch=-1, Topics=[
        {"Topic": topic, "TopicId": topic_id, "Partitions": parts}])
    assert answer.get("ErrorCode", INVALID_REQUEST) == INVALID_REQUEST
    assert [(p["ErrorCode"], p["HighWatermark"]) for t in answer["Responses"] for p in t["Partitions"]] == ([(INVALID_REQUEST, -1)] if version < 13 else [])
    answer = connection.ask("ListOffsets", 5, IsolationLevel=2, ReplicaId=-1, Topics=[
        {"Name": topic, "Partitions": [{"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -1}]}])
    assert answer["Topics"][0]["Partitions"][0]["ErrorCode"] == INVALID_REQUEST


def test_bytes_below_0(connection, topic):
    """Of the request or of a partition: where there is something to read, it is refused; at the end there is nothing to refuse."""
    create(connection, topic)
    assert produce(connection, topic, batch([b"a"]))["ErrorCode"] == NONE
    for bytes_max, most, offset, error in ((-1, 1000, 0, INVALID_REQUEST), (1000, -1, 0, INVALID_REQUEST), (1000, -2 ** 31, 0, INVALID_REQUEST),
                                           (-1, 1000, 1, NONE), (1000, -1, 1, NONE), (0, 0, 0, NONE)):
        answer = connection.ask("Fetch", 11, MaxWaitMs=0, MaxBytes=bytes_max, SessionEpoch=-1, Topics=[
            {"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": most}]}])
        assert answer["Responses"][0]["Partitions"][0]["ErrorCode"] == error, (bytes_max, most, offset)


def test_a_session_of_ids_remembers_the_name(connection, topic):
    """A topic of the session is deleted: it is not there; then another is made under its name: it is not the same one."""
    create(connection, topic)
    old = connection.ask("Metadata", 12, Topics=[{"Name": topic}])["Topics"][0]["TopicId"]
    parts = [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000}]

    def ask(session, epoch, topics=()):
        answer = connection.ask("Fetch", 13, MaxWaitMs=0, MaxBytes=1000, SessionId=session, SessionEpoch=epoch, Topics=list(topics))
        return answer["SessionId"], [p["ErrorCode"] for t in answer["Responses"] for p in t["Partitions"]]
    session, errors = ask(0, 0, [{"TopicId": old, "Partitions": parts}])
    assert session and errors == [NONE]
    assert connection.ask("DeleteTopics", 4, TopicNames=[topic])["Responses"][0]["ErrorCode"] == NONE
    errors = []
    for epoch in range(1, 50):
        if errors == [UNKNOWN_TOPIC_OR_PARTITION]:
            break
        errors = ask(session, epoch)[1]
    assert errors == [UNKNOWN_TOPIC_OR_PARTITION]
    create(connection, topic)
    for epoch in range(epoch, epoch + 50):
        errors = ask(session, epoch)[1]
        if errors == [INCONSISTENT_TOPIC_ID]:
            break
    assert errors == [INCONSISTENT_TOPIC_ID]
    assert ask(0, 0, [{"TopicId": old, "Partitions": parts}])[1] == [UNKNOWN_TOPIC_ID]


class Waiting:
    """A Fetch from a connection of its own, sent at once; `answer` waits for it."""

    def __init__(self, node, topic, topic_id=None, offset=0, bytes_min=1, wait_ms=5000):
        self.connection = Connection(node.port)
        self.began = time.monotonic()
        self.result = None
        name = {"Topic": topic} if topic_id is None else {"TopicId": topic_id}
        part = {"Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}

        def ask():
            answer = self.connection.ask("Fetch", 12 if topic_id is None else 16, MaxWaitMs=wait_ms, MinBytes=bytes_min, MaxBytes=1 << 20,
                                         SessionEpoch=-1, Topics=[{**name, "Partitions": [part]}])
            self.result = answer["Responses"][0]["Partitions"][0], time.monotonic() - self.began
        self.thread = threading.Thread(target=ask)
        self.thread.start()
        time.sleep(0.3)

    def answer(self):
        self.thread.join(20)
        self.connection.close()
        return self.result


@pytest.mark.parametrize("begins", ["new", "read", "written"])
def test_min_bytes_are_waited_for_while_records_come(node, connection, topic, begins):
    """A Fetch that wants 20,000 bytes, and 15 batches of 2,000 one after the other: the answer is there with the tenth, not
    with the second, whose bytes are on their way to the disk when the first one's place is asked for."""
    create(connection, topic)
    if begins == "read":
        fetch(connection, 1 << 20, (topic, 0, 1 << 20))
    if begins == "written":
        assert produce(connection, topic, batch([b"first"]))["ErrorCode"] == NONE
    waiting = Waiting(node, topic, bytes_min=20000)
    for _ in range(15):
        assert produce(connection, topic, batch([b"x" * 2000]))["ErrorCode"] == NONE
    part, seconds = waiting.answer()
    assert 20000 <= len(part["Records"]) <= 2100 * 15 and seconds < 4
    waiting = Waiting(node, topic, bytes_min=200000, wait_ms=1000)
    part, seconds = waiting.answer()
    assert len(part["Records"]) > 15 * 2000 and seconds > 0.98  # the node counts from the beginning of its turn


@pytest.mark.parametrize("by_id", [False, True])
def test_a_fetch_that_waits_is_told_that_the_topic_is_gone(node, connection, topic, by_id):
    """A topic is deleted while a Fetch waits at its end: answered at once, with the error of a topic that does not exist, and
    with no ends."""
    create(connection, topic)
    topic_id = connection.ask("Metadata", 12, Topics=[{"Name": topic}])["Topics"][0]["TopicId"]
    assert produce(connection, topic, batch([b"x"]))["ErrorCode"] == NONE
    waiting = Waiting(node, topic, topic_id if by_id else None, offset=1)
    connection.ask("DeleteTopics", 5, TopicNames=[topic], TimeoutMs=5000)
    part, seconds = waiting.answer()
    assert part["ErrorCode"] == UNKNOWN_TOPIC_OR_PARTITION and seconds < 3
    assert (part["HighWatermark"], part["LastStableOffset"], part["LogStartOffset"]) == (-1, -1, -1)


def test_partitions_of_a_session_take_turns(connection, topic):
    """Four partitions with more than fits into an answer. The Fetch that makes the session leaves their order as it is; from then
    on who was given something comes last: what Apache Kafka answers."""
    answer = connection.ask("CreateTopics", 7, Topics=[{"Name": topic, "NumPartitions": 4, "ReplicationFactor": 1}])
    assert answer["Topics"][0]["ErrorCode"] == NONE
    for partition in range(4):
        for _ in range(4):
            data = [{"Name": topic, "PartitionData": [{"Index": partition, "Records": batch([b"x" * 1000])}]}]
            answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=5000, TopicData=data)
            assert answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == NONE
    at, session, given, order = [0] * 4, 0, list(range(4)), []
    for epoch in range(10):
        parts = [{"Partition": p, "CurrentLeaderEpoch": -1, "FetchOffset": at[p], "PartitionMaxBytes": 1 << 20} for p in given]
        answer = connection.ask("Fetch", 12, MaxWaitMs=0, MinBytes=0, MaxBytes=1200, SessionId=session, SessionEpoch=epoch, Topics=[{"Topic": topic, "Partitions": parts}] if parts else [])
        session = answer["SessionId"]
        given = [p["PartitionIndex"] for t in answer["Responses"] for p in t["Partitions"] if p["Records"]]
        assert len(given) == 1
        at[given[0]] += 1
        order += given
    assert order == [0] + [0, 1, 2, 3] * 2 + [0]
