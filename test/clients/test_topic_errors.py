"""What a client is told when topics cannot be made, grown or deleted: errors and sentences are Apache Kafka 4.4's, which
its tools print as they are."""
import uuid

import pytest

from messages import Connection


@pytest.fixture
def connection(node):
    connection = Connection(node.port)
    yield connection
    connection.close()


def create(connection, name, partitions=1, factor=1, assignments=(), configs=()):
    topic = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": factor, "Assignments": list(assignments),
             "Configs": [{"Name": k, "Value": v} for k, v in configs]}
    answer = connection.ask("CreateTopics", 7, Topics=[topic], timeoutMs=10000)["Topics"][0]
    return answer["ErrorCode"], answer["ErrorMessage"]


def to(*lists):
    return [{"PartitionIndex": index, "BrokerIds": brokers} for index, brokers in lists]


def test_create_topics(connection, topic):
    assert create(connection, topic, 3) == (0, None)
    assert create(connection, topic) == (36, f"Topic '{topic}' already exists.")
    assert create(connection, topic.replace("-", ".")) == (0, None)
    assert create(connection, topic.replace("-", "_")) == \
        (17, f"Topic '{topic.replace('-', '_')}' collides with existing topic: {topic.replace('-', '.')}")
    for name, why in (("", "the empty string is not allowed"), (".", "'.' is not allowed"), ("..", "'..' is not allowed"),
                      ("x" * 250, f"the length of '{'x' * 250}' is longer than the max allowed length 249"),
                      ("a b", "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")):
        assert create(connection, name) == (17, f"Topic name is invalid: {why}")
    other = topic + "2"
    assert create(connection, other, 0) == (37, "Number of partitions was set to an invalid non-positive value.")
    assert create(connection, other, 1, 0) == (38, "Replication factor must be larger than 0, or -1 to use the default value.")
    assert create(connection, other, 1, 3) == \
        (38, "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 "
             "broker(s) are registered or some brokers have all their log directories cordoned.")
    assert create(connection, other, 10001) == (44, "Excessively large number of partitions per request.")
    assert create(connection, other, configs=[("no.such", "1")]) == (40, "Unknown topic config name: no.such")
    assert create(connection, other, configs=[("retention.ms", None)]) == (40, "Null value not supported for topic configs: retention.ms")
    assert create(connection, "__cluster_metadata") == (42, "Creation of internal topic __cluster_metadata is prohibited.")


def test_create_with_assignments(connection, topic):
    for lists, why in ((to((0, [9])), "The manual partition assignment includes broker 9, but no such broker is registered."),
                       (to((0, [1, 1])), "The manual partition assignment includes the broker 1 more than once."),
                       (to((0, [])), "The manual partition assignment includes an empty replica list."),
                       (to((0, [1]), (2, [1])), "partitions should be a consecutive 0-based integer sequence"),
                       (to((0, [1]), (0, [1])), "Found multiple manual partition assignments for partition 0")):
        assert create(connection, topic, -1, -1, lists) == (39, why)
    assert create(connection, topic, 2, -1, to((0, [1]))) == (42, "A manual partition assignment was specified, but numPartitions was not set to -1.")
    assert create(connection, topic, -1, 1, to((0, [1]))) == (42, "A manual partition assignment was specified, but replication factor was not set to -1.")
    assert create(connection, topic, -1, -1, to((0, [1]), (1, [1]))) == (0, None)


def test_create_partitions(connection, topic):
    create(connection, topic, 3)

    def grow(count, assignments=None, name=topic):
        answer = connection.ask("CreatePartitions", 3, TimeoutMs=10000, Topics=[
            {"Name": name, "Count": count, "Assignments": assignments and [{"BrokerIds": a} for a in assignments]}])["Results"][0]
        return answer["ErrorCode"], answer["ErrorMessage"]

    assert grow(3) == (37, "Topic already has 3 partition(s).")
    for count in (2, 0, -1):
        assert grow(count) == (37, f"The topic {topic} currently has 3 partition(s); {count} would not be an increase.")
    assert grow(5, [[1]]) == (39, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.")
    assert grow(100000) == (44, "Excessively large number of additional partitions per request.")
    assert grow(5, name="no-such-topic-here") == (3, None)
    assert grow(4) == (0, None)


def test_delete_topics(connection, topic):
    create(connection, topic)

    def delete(*topics):
        answer = connection.ask("DeleteTopics", 6, Topics=list(topics), TimeoutMs=10000)
        return [(t["ErrorCode"], t["ErrorMessage"]) for t in answer["Responses"]]

    assert delete({"Name": "no-such-topic-here"}) == [(3, "This server does not host this topic-partition.")]
    assert delete({"Name": None, "TopicId": uuid.UUID(int=77)}) == [(100, "This server does not host this topic ID.")]
    assert delete({"Name": topic, "TopicId": uuid.UUID(int=77)}) == [(42, "You may not specify both topic name and topic id.")]
    assert delete({"Name": None}) == [(42, "Neither topic name nor id were specified.")]
    assert delete({"Name": topic}, {"Name": topic}) == [(42, "Duplicate topic name.")]
    assert delete({"Name": topic}) == [(0, None)]


@pytest.mark.parametrize("version", [10, 11, 12, 13])
def test_metadata_of_a_topic_with_neither_a_name_nor_an_id(connection, version):
    """The request is refused, topic by topic, and the connection goes on. Where another topic is asked for by id, names say
    nothing from version 12 on."""
    nothing, some = uuid.UUID(int=0), uuid.UUID(int=5)
    answer = connection.ask("Metadata", version, Topics=[{"Name": None, "TopicId": nothing}, {"Name": "x"}])
    assert [(t["Name"], t["ErrorCode"]) for t in answer["Topics"]] == [("", 42), ("x", 42)] and not answer["Brokers"]
    answer = connection.ask("Metadata", version, Topics=[{"Name": None, "TopicId": nothing}, {"Name": None, "TopicId": some}])
    assert [t["ErrorCode"] for t in answer["Topics"]] == ([42, 42] if version < 12 else [100])
