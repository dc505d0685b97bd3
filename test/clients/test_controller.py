"""The controller's listener: what it serves is said by its ApiVersions, and that is served and nothing else."""
import struct
import time

import pytest

from conftest_shared import TOOLS, Node, free_port, run
from messages import APIS, Connection

METADATA = "__cluster_metadata"


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("controller") / "data")
    node.controller_port = free_port()
    node.options = ["--override", f"listeners=PLAINTEXT://localhost:{node.port},CONTROLLER://localhost:{node.controller_port}",
                    "--override", f"controller.quorum.voters=1@localhost:{node.controller_port}"]
    node.start()
    yield node
    node.stop()


def listed(port):
    return {a["ApiKey"]: (a["MinVersion"], a["MaxVersion"]) for a in Connection(port).ask("ApiVersions", 4, ClientSoftwareName="t", ClientSoftwareVersion="1")["ApiKeys"]}


def test_each_listener_lists_its_own(controller):
    own, brokers = listed(controller.controller_port), listed(controller.port)
    assert {1, 18, 52, 53, 54, 55, 56, 59, 60, 62, 63, 67, 70, 73, 80, 81, 82} <= set(own)
    assert not {0, 2, 3, 8, 10, 11, 22, 75} & set(own)
    assert {0, 1, 3, 18, 55, 60} <= set(brokers) and not {52, 53, 54, 56, 59, 62, 63, 67, 70, 73, 82} & set(brokers)
    assert own[52] == (0, 2) and own[59] == (0, 1) and own[62] == (0, 4)


def test_what_is_not_listed_ends_the_connection(controller):
    keys = set(listed(controller.controller_port))
    for key in sorted(set(range(0, 100)) - keys):
        connection = Connection(controller.controller_port)
        connection.socket.sendall(struct.pack(">ihhih", 10, key, 0, 1, -1))
        try:
            assert connection.socket.recv(1) == b"", key
        except ConnectionResetError:
            pass


def test_what_is_listed_is_answered(controller):
    """An empty request of every listed API in its highest version gets an answer that can be read to its end."""
    names = {api["key"]: name for name, api in APIS.items() if api.get("request")}
    for key, (low, high) in sorted(listed(controller.controller_port).items()):
        if key in (62, 94, 63, 70):  # an empty one of these would be a change
            continue
        for version in (low, high):
            answer = Connection(controller.controller_port).ask(names[key], version)
            assert isinstance(answer, dict), names[key]


def test_the_quorum_describes_itself(controller):
    for port in (controller.port, controller.controller_port):
        for version in (0, 1, 2):
            answer = Connection(port).ask("DescribeQuorum", version, Topics=[{"TopicName": METADATA, "Partitions": [{"PartitionIndex": 0}]}])
            assert answer["ErrorCode"] == 0
            part = answer["Topics"][0]["Partitions"][0]
            assert part["ErrorCode"] == 0 and part["LeaderId"] == 1 and part["LeaderEpoch"] >= 1 and part["HighWatermark"] > 0
            assert [v["ReplicaId"] for v in part["CurrentVoters"]] == [1] and part["Observers"] == []
    other = Connection(controller.port).ask("DescribeQuorum", 1, Topics=[{"TopicName": "orders", "Partitions": [{"PartitionIndex": 0}]}])
    assert other["Topics"][0]["Partitions"][0]["ErrorCode"] == 3


def test_controllers_are_described_to_those_who_ask_a_controller(controller):
    answer = Connection(controller.controller_port).ask("DescribeCluster", 1, EndpointType=2)
    assert answer["ErrorCode"] == 0 and answer["ControllerId"] == 1 and answer["EndpointType"] == 2
    assert [(b["BrokerId"], b["Host"], b["Port"]) for b in answer["Brokers"]] == [(1, "localhost", controller.controller_port)]
    assert Connection(controller.controller_port).ask("DescribeCluster", 1, EndpointType=1)["ErrorCode"] == 114
    assert Connection(controller.port).ask("DescribeCluster", 1, EndpointType=2)["ErrorCode"] == 114
    assert Connection(controller.port).ask("DescribeCluster", 1, EndpointType=7)["ErrorCode"] == 115


def test_an_observer_reads_the_log_and_is_seen(controller):
    """A node that is no voter fetches the metadata log from its start: whole batches up to the high watermark, then it is
    listed as an observer. From beyond the end the answer is a diverging epoch."""
    connection = Connection(controller.controller_port)
    cluster = connection.ask("DescribeCluster", 1, EndpointType=2)["ClusterId"]
    topic_id = "00000000-0000-0000-0000-000000000001"
    import uuid
    quorum = connection.ask("DescribeQuorum", 1, Topics=[{"TopicName": METADATA, "Partitions": [{"PartitionIndex": 0}]}])["Topics"][0]["Partitions"][0]

    def fetch(offset, epoch):
        answer = connection.ask("Fetch", 17, ClusterId=cluster, ReplicaState={"ReplicaId": 77, "ReplicaEpoch": -1}, MaxWaitMs=200, MaxBytes=1 << 20,
                                Topics=[{"TopicId": uuid.UUID(topic_id), "Partitions": [
                                    {"Partition": 0, "CurrentLeaderEpoch": quorum["LeaderEpoch"], "FetchOffset": offset, "LastFetchedEpoch": epoch,
                                     "PartitionMaxBytes": 1 << 20, "ReplicaDirectoryId": uuid.UUID(int=77)}]}])
        assert answer["ErrorCode"] == 0
        return answer["Responses"][0]["Partitions"][0]

    first = fetch(0, 0)
    assert first["ErrorCode"] == 0 and first["HighWatermark"] > 0 and len(first["Records"]) > 100
    assert struct.unpack(">q", first["Records"][:8])[0] == 0
    end = first["HighWatermark"]
    fetch(end, quorum["LeaderEpoch"])
    seen = connection.ask("DescribeQuorum", 1, Topics=[{"TopicName": METADATA, "Partitions": [{"PartitionIndex": 0}]}])["Topics"][0]["Partitions"][0]
    assert [o["ReplicaId"] for o in seen["Observers"]] == [77]
    assert fetch(end + 1000, quorum["LeaderEpoch"])["DivergingEpoch"]["EndOffset"] <= seen["HighWatermark"] + 1


def test_a_vote_of_an_old_epoch_and_of_another_cluster(controller):
    connection = Connection(controller.controller_port)
    part = {"PartitionIndex": 0, "ReplicaEpoch": 1, "ReplicaId": 5, "LastOffsetEpoch": 0, "LastOffset": 0}
    answer = connection.ask("Vote", 0, Topics=[{"TopicName": METADATA, "Partitions": [part]}])
    got = answer["Topics"][0]["Partitions"][0]
    assert not got["VoteGranted"] and got["ErrorCode"] in (0, 74, 94)  # fenced, or not a voter
    assert connection.ask("Vote", 0, ClusterId="someone-else", Topics=[{"TopicName": METADATA, "Partitions": [part]}])["ErrorCode"] == 104


def test_topics_are_made_through_the_controller(controller):
    name = f"t-{time.time_ns()}"
    connection = Connection(controller.controller_port)
    topic = {"Name": name, "NumPartitions": 2, "ReplicationFactor": 1}
    assert connection.ask("CreateTopics", 7, Topics=[topic], timeoutMs=5000)["Topics"][0]["ErrorCode"] == 0
    assert connection.ask("CreateTopics", 7, Topics=[topic], timeoutMs=5000)["Topics"][0]["ErrorCode"] == 36
    heard = connection.ask("BrokerHeartbeat", 1, BrokerId=1, BrokerEpoch=3)
    assert heard["ErrorCode"] == 77  # STALE_BROKER_EPOCH


def test_configs_are_altered_at_the_controller(controller):
    """Both requests, over the controller's listener: an answer for each resource in its place, and what is set holds."""
    connection = Connection(controller.controller_port)

    def ask(api, version, **more):
        resources = [{"ResourceType": kind, "ResourceName": name, "Configs": [{"Name": "log.retention.ms", "Value": value, **more}]}
                     for kind, name, value in ((4, "1", "7200000"), (77, "what", "1"), (2, "t-missing", "1"), (2, "t-missing", "2"))]
        return [(one["ResourceType"], one["ResourceName"], one["ErrorCode"]) for one in connection.ask(api, version, Resources=resources)["Responses"]]

    def told():
        asked = [{"ResourceType": 4, "ResourceName": "1", "ConfigurationKeys": ["log.retention.ms"]}]
        return [one["Value"] for one in Connection(controller.port).ask("DescribeConfigs", 4, Resources=asked)["Results"][0]["Configs"]]

    for version in (0, 1):
        assert ask("IncrementalAlterConfigs", version, ConfigOperation=0) == [(4, "1", 0), (77, "what", 42), (2, "t-missing", 42), (2, "t-missing", 42)]
    assert told() == ["7200000"]
    assert connection.ask("AlterConfigs", 2, Resources=[{"ResourceType": 4, "ResourceName": "1", "Configs": []}])["Responses"][0]["ErrorCode"] == 0
    assert told() == [None]
    for version in (0, 1, 2):
        assert ask("AlterConfigs", version) == [(4, "1", 0), (77, "what", 35), (2, "t-missing", 42), (2, "t-missing", 42)]
    assert told() == ["7200000"]
    assert connection.ask("IncrementalAlterConfigs", 1, Resources=[])["Responses"] == []


def test_a_broker_that_runs_is_not_replaced_from_elsewhere(controller):
    """A registration with a running broker's id that comes over the network is refused: its session has not expired."""
    import uuid
    connection = Connection(controller.controller_port)
    cluster = connection.ask("DescribeCluster", 1, EndpointType=2)["ClusterId"]
    answer = connection.ask("BrokerRegistration", 2, BrokerId=1, ClusterId=cluster, IncarnationId=uuid.uuid4(), LogDirs=[uuid.uuid4()],
                            Listeners=[{"Name": "PLAINTEXT", "Host": "localhost", "Port": 1, "SecurityProtocol": 0}],
                            Features=[{"Name": "metadata.version", "MinSupportedVersion": 7, "MaxSupportedVersion": 30}])
    assert answer["ErrorCode"] == 101  # DUPLICATE_BROKER_REGISTRATION


def test_endpoints_of_controllers_are_listed(controller):
    done = run(TOOLS / "kafka-cluster.sh", "list-endpoints", "-C", f"localhost:{controller.controller_port}")
    head, row = done.stdout.splitlines()
    assert head.split() == ["ID", "HOST", "PORT", "RACK", "ENDPOINT_TYPE"] and row.split() == ["1", "localhost", str(controller.controller_port), "null", "controller"]
