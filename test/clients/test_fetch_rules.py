"""What a Fetch gives and says beside the records. The expectations are Apache Kafka 4.4's answers to the same bytes."""
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
