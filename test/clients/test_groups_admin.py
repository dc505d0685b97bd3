"""DeleteGroups and OffsetDelete: in every version, with every error, and by the admin clients of libraries."""
import struct
import subprocess
import time

import pytest
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from conftest_shared import MOLDAU, Node
from messages import Connection

NONE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_GROUP_ID, NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, GROUP_SUBSCRIBED_TO_TOPIC = 0, 3, 24, 68, 69, 86


@pytest.fixture
def connection(node):
    connection = Connection(node.port)
    yield connection
    connection.close()


def create(connection, topic, partitions=3):
    answer = connection.ask("CreateTopics", 7, Topics=[{"Name": topic, "NumPartitions": partitions, "ReplicationFactor": 1}])
    assert answer["Topics"][0]["ErrorCode"] == NONE


def coordinator(connection, group):
    for _ in range(200):
        if connection.ask("FindCoordinator", 4, CoordinatorKeys=[group])["Coordinators"][0]["ErrorCode"] == NONE:
            return
        time.sleep(0.05)
    raise AssertionError("no coordinator")


def commit(connection, group, topic, offsets):
    coordinator(connection, group)
    answer = connection.ask("OffsetCommit", 8, GroupId=group, GenerationIdOrMemberEpoch=-1, Topics=[
        {"Name": topic, "Partitions": [{"PartitionIndex": p, "CommittedOffset": o} for p, o in offsets.items()]}])
    assert {p["ErrorCode"] for p in answer["Topics"][0]["Partitions"]} == {NONE}


def committed(connection, group):
    answer = connection.ask("OffsetFetch", 8, Groups=[{"GroupId": group, "Topics": None}])["Groups"][0]
    assert answer["ErrorCode"] == NONE
    return {(t["Name"], p["PartitionIndex"]): p["CommittedOffset"] for t in answer["Topics"] for p in t["Partitions"]}


def join(connection, group, topics, protocol_type="consumer"):
    coordinator(connection, group)
    names = b"".join(struct.pack(">h", len(t)) + t.encode() for t in topics)
    protocols = [{"Name": "range", "Metadata": struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)}]
    join = dict(GroupId=group, SessionTimeoutMs=30000, RebalanceTimeoutMs=30000, ProtocolType=protocol_type, Protocols=protocols)
    member = connection.ask("JoinGroup", 5, MemberId="", **join)["MemberId"]
    joined = connection.ask("JoinGroup", 5, MemberId=member, **join)
    assert joined["ErrorCode"] == NONE
    synced = connection.ask("SyncGroup", 3, GroupId=group, GenerationId=joined["GenerationId"], MemberId=member,
                            Assignments=[{"MemberId": member, "Assignment": b"mine"}])
    assert synced["ErrorCode"] == NONE
    return member


def groups(connection):
    return {group["GroupId"] for group in connection.ask("ListGroups", 5)["Groups"]}


def results(answer):
    return {result["GroupId"]: result["ErrorCode"] for result in answer["Results"]}


@pytest.mark.parametrize("version", range(4))
def test_groups_are_deleted_and_what_cannot_be_is_told(connection, topic, version):
    """An empty group goes with its offsets, one with a member stays, unknown ones are told; each is answered once."""
    create(connection, topic)
    gone, busy = topic + "-gone", topic + "-busy"
    commit(connection, gone, topic, {0: 5, 2: 7})
    member = join(connection, busy, [topic])
    answer = connection.ask("DeleteGroups", version, GroupsNames=[gone, busy, topic + "-none", "", gone])
    assert len(answer["Results"]) == 4
    assert results(answer) == {gone: NONE, busy: NON_EMPTY_GROUP, topic + "-none": GROUP_ID_NOT_FOUND, "": GROUP_ID_NOT_FOUND}
    assert committed(connection, gone) == {}
    assert gone not in groups(connection) and busy in groups(connection)
    connection.ask("LeaveGroup", 3, GroupId=busy, Members=[{"MemberId": member}])
    assert results(connection.ask("DeleteGroups", version, GroupsNames=[busy])) == {busy: NONE}
    assert busy not in groups(connection)


def test_offsets_are_deleted_one_by_one(connection, topic):
    """Partitions that are not there are told each; the others lose their offset, also those that had none."""
    create(connection, topic)
    commit(connection, topic, topic, {0: 5, 1: 6})
    answer = connection.ask("OffsetDelete", 0, GroupId=topic, Topics=[
        {"Name": topic, "Partitions": [{"PartitionIndex": 0}, {"PartitionIndex": 9}, {"PartitionIndex": 2}]},
        {"Name": topic + "-none", "Partitions": [{"PartitionIndex": 0}]}])
    assert answer["ErrorCode"] == NONE
    assert {(t["Name"], p["PartitionIndex"]): p["ErrorCode"] for t in answer["Topics"] for p in t["Partitions"]} == {
        (topic, 0): NONE, (topic, 2): NONE, (topic, 9): UNKNOWN_TOPIC_OR_PARTITION, (topic + "-none", 0): UNKNOWN_TOPIC_OR_PARTITION}
    assert len(answer["Topics"]) == 2
    assert committed(connection, topic) == {(topic, 1): 6}


def test_offsets_of_a_group_that_does_not_let_go(connection, topic):
    """No such group; no group id; members of another protocol; a topic that the members read."""
    create(connection, topic)
    asked = [{"Name": topic, "Partitions": [{"PartitionIndex": 0}]}]
    for group, error in ((topic + "-none", GROUP_ID_NOT_FOUND), ("", INVALID_GROUP_ID)):
        for topics in (asked, [], [{"Name": topic + "-none", "Partitions": [{"PartitionIndex": 0}]}]):
            answer = connection.ask("OffsetDelete", 0, GroupId=group, Topics=topics)
            assert (answer["ErrorCode"], answer["Topics"]) == (error, [])
    other = topic + "-other"
    create(connection, other)
    join(connection, topic + "-connect", [topic], "connect")
    assert connection.ask("OffsetDelete", 0, GroupId=topic + "-connect", Topics=asked)["ErrorCode"] == NON_EMPTY_GROUP
    commit(connection, topic, other, {0: 3})
    join(connection, topic, [topic])
    answer = connection.ask("OffsetDelete", 0, GroupId=topic, Topics=asked + [{"Name": other, "Partitions": [{"PartitionIndex": 0}]}])
    assert answer["ErrorCode"] == NONE
    assert [t["Partitions"][0]["ErrorCode"] for t in answer["Topics"]] == [GROUP_SUBSCRIBED_TO_TOPIC, NONE]
    assert committed(connection, topic) == {}


@pytest.mark.parametrize("version, behind", [(0, b""), (1, b"\0\0\0\0"), (1, b""), (9, b"\0\0\0\0" * 3), (-1, b"")],
                         ids=["version-0", "whole", "cut", "newer", "below-0"])
def test_what_members_read_is_known_from_the_start_of_what_they_say(connection, topic, version, behind):
    """A subscription's topics come first in every version. Some clients say version 1 and leave out what it has behind them:
    the topic that is not read lets its offset go, as with Apache Kafka."""
    create(connection, topic)
    other, name = topic + "-other", topic.encode()
    create(connection, other)
    said = struct.pack(">hih", version, 1, len(name)) + name + struct.pack(">i", 0) + behind
    asked = {"GroupId": topic, "SessionTimeoutMs": 10000, "RebalanceTimeoutMs": 10000, "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": said}]}
    answer = connection.ask("JoinGroup", 4, **asked)
    if answer["ErrorCode"] == 79:  # MEMBER_ID_REQUIRED
        answer = connection.ask("JoinGroup", 4, MemberId=answer["MemberId"], **asked)
    member = answer["MemberId"]
    assert connection.ask("SyncGroup", 3, GroupId=topic, GenerationId=answer["GenerationId"], MemberId=member, Assignments=[{"MemberId": member, "Assignment": b""}])["ErrorCode"] == NONE
    answer = connection.ask("OffsetDelete", 0, GroupId=topic, Topics=[{"Name": t, "Partitions": [{"PartitionIndex": 0}]} for t in (topic, other)])
    assert [t["Partitions"][0]["ErrorCode"] for t in answer["Topics"]] == [GROUP_SUBSCRIBED_TO_TOPIC, NONE]


def test_what_was_deleted_stays_so_after_a_kill(own_node):
    """The tombstones are as durable as what they delete."""
    connection = Connection(own_node.port)
    create(connection, "t")
    for group in ("stays", "goes"):
        commit(connection, group, "t", {0: 1, 1: 2})
    assert results(connection.ask("DeleteGroups", 2, GroupsNames=["goes"])) == {"goes": NONE}
    connection.ask("OffsetDelete", 0, GroupId="stays", Topics=[{"Name": "t", "Partitions": [{"PartitionIndex": 1}]}])
    own_node.kill()
    own_node.start()
    connection = Connection(own_node.port)
    coordinator(connection, "goes")
    coordinator(connection, "stays")
    assert committed(connection, "stays") == {("t", 0): 1}
    assert committed(connection, "goes") == {}
    assert groups(connection) == {"stays"}


def test_by_client_libraries(node, connection, topic):
    """confluent-kafka and kafka-python delete groups that their own consumers left."""
    create(connection, topic)
    for admin in ("confluent", "kafka-python"):
        group = topic + admin
        consumer = KafkaConsumer(bootstrap_servers=node.address, group_id=group, enable_auto_commit=False)
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        consumer.commit()
        consumer.close()
        assert group in groups(connection)
        if admin == "confluent":
            client = AdminClient({"bootstrap.servers": node.address})
            for future in client.delete_consumer_groups([group]).values():
                future.result(timeout=20)
        else:
            client = KafkaAdminClient(bootstrap_servers=node.address)
            assert [error.errno for _, error in client.delete_consumer_groups([group])] == [NONE]
            client.close()
        assert group not in groups(connection)


@pytest.mark.parametrize("codec, name", [(0, "NONE"), (1, "GZIP"), (2, "SNAPPY"), (3, "LZ4"), (4, "ZSTD")])
def test_offsets_topic_compression(tmp_path, codec, name):
    """offsets.topic.compression.codec: what is written of groups is compressed so, and read again after a restart."""
    node = Node(tmp_path / "data", ["--override", f"offsets.topic.compression.codec={codec}", "--override", "offsets.topic.num.partitions=1"]).start()
    try:
        connection = Connection(node.port)
        create(connection, "t")
        commit(connection, "g", "t", {0: 7, 1: 8, 2: 9})
        connection.close()
        node.stop()
        dump = subprocess.run([MOLDAU.parent / "bin" / "kafka-dump-log.sh", "--files", node.folder / "__consumer_offsets-0" / ("0" * 20 + ".log")],
                              capture_output=True, text=True, check=True).stdout
        assert {part.split(" ")[0] for part in dump.split("compresscodec: ")[1:]} == {name.lower()}
        node.start()
        connection = Connection(node.port)
        coordinator(connection, "g")
        told = connection.ask("OffsetFetch", 7, GroupId="g", Topics=[{"Name": "t", "PartitionIndexes": [0, 1, 2]}])["Topics"][0]["Partitions"]
        assert {p["PartitionIndex"]: p["CommittedOffset"] for p in told} == {0: 7, 1: 8, 2: 9}
        connection.close()
    finally:
        node.kill()


UNKNOWN_SERVER_ERROR, REBALANCE_IN_PROGRESS = -1, 27


def set_offsets_limit(connection, value):
    answer = connection.ask("IncrementalAlterConfigs", 1, Resources=[{"ResourceType": 2, "ResourceName": "__consumer_offsets", "Configs": [
        {"Name": "max.message.bytes", "ConfigOperation": 0 if value else 1, "Value": value}]}])
    assert answer["Responses"][0]["ErrorCode"] == NONE
    time.sleep(0.3)


def test_what_a_group_writes_at_once_has_the_bound_of_its_topic(own_node):
    """Offsets and assignments above max.message.bytes of __consumer_offsets (1 MiB and a little) are refused with -1, as by Apache
    Kafka: of the commit nothing is kept, the group rebalances and goes on. A larger setting lets them through at once."""
    connection = Connection(own_node.port)
    create(connection, "t", 300)
    coordinator(connection, "g")

    def commit_many(size):
        answer = connection.ask("OffsetCommit", 8, GroupId="g", GenerationIdOrMemberEpoch=-1, Topics=[
            {"Name": "t", "Partitions": [{"PartitionIndex": i, "CommittedOffset": size, "CommittedMetadata": "m" * size} for i in range(300)]}])
        return {p["ErrorCode"] for p in answer["Topics"][0]["Partitions"]}

    def synced(member, generation, size):
        return connection.ask("SyncGroup", 3, GroupId="s", GenerationId=generation, MemberId=member, Assignments=[{"MemberId": member, "Assignment": b"a" * size}])

    assert commit_many(3000) == {NONE}
    assert commit_many(4000) == {UNKNOWN_SERVER_ERROR}
    assert set(committed(connection, "g").values()) == {3000} and len(committed(connection, "g")) == 300
    coordinator(connection, "s")
    join = dict(GroupId="s", SessionTimeoutMs=30000, RebalanceTimeoutMs=30000, ProtocolType="consumer", Protocols=[{"Name": "range", "Metadata": b"m"}])
    member = connection.ask("JoinGroup", 5, MemberId="", **join)["MemberId"]
    for size, error in ((1_040_000, NONE), (1_100_000, UNKNOWN_SERVER_ERROR), (1, NONE)):
        generation = connection.ask("JoinGroup", 5, MemberId=member, **join)["GenerationId"]
        answer = synced(member, generation, size)
        assert (answer["ErrorCode"], len(answer["Assignment"])) == (error, size if error == NONE else 0)
        beat = connection.ask("Heartbeat", 3, GroupId="s", GenerationId=generation, MemberId=member)["ErrorCode"]
        assert beat == (NONE if error == NONE else REBALANCE_IN_PROGRESS)
    set_offsets_limit(connection, "3000000")
    assert commit_many(4000) == {NONE}
    assert set(committed(connection, "g").values()) == {4000}
    set_offsets_limit(connection, "100000")
    assert commit_many(3000) == {UNKNOWN_SERVER_ERROR} and commit_many(100) == {NONE}
    # what goes has to go, however much it is
    connection.ask("DeleteTopics", 5, TopicNames=["t"], TimeoutMs=5000)
    deadline = time.time() + 10
    while committed(connection, "g") and time.time() < deadline:
        time.sleep(0.05)
    assert committed(connection, "g") == {}
    connection.close()
