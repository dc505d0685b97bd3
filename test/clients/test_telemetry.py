"""GetTelemetrySubscriptions and PushTelemetry (KIP-714), case by case as Apache Kafka 4.4 answers."""
import gzip
import time
import uuid

import pytest

from conftest_shared import Node
from messages import Connection

NONE, INVALID_REQUEST, UNSUPPORTED_COMPRESSION, INVALID_RECORD, THROTTLED = 0, 42, 76, 87, 89
UNKNOWN_SUBSCRIPTION, TOO_LARGE = 117, 118
PAYLOAD = bytes([0x0A, 11, 0x12, 9, 0x12, 7, 0x0A, 1, 0x6E, 0x3A, 2, 0x0A, 0])  # one metric with one point


@pytest.fixture
def connection(node):
    connection = Connection(node.port)
    yield connection
    connection.close()


def ask(connection, instance=None):
    return connection.ask("GetTelemetrySubscriptions", 0, ClientInstanceId=instance or uuid.uuid4())


def push(connection, instance, subscription, **values):
    return connection.ask("PushTelemetry", 0, **{**dict(ClientInstanceId=instance, SubscriptionId=subscription, Metrics=PAYLOAD), **values})["ErrorCode"]


def subscribed(connection):
    instance = uuid.uuid4()
    return instance, ask(connection, instance)["SubscriptionId"]


def configure(connection, name, **configs):
    answer = connection.ask("IncrementalAlterConfigs", 1, Resources=[{"ResourceType": 16, "ResourceName": name, "Configs": [
        {"Name": key.replace("_", "."), "ConfigOperation": 0 if value is not None else 1, "Value": value} for key, value in configs.items()]}])
    return answer["Responses"][0]["ErrorCode"]


def soon(condition):
    """The configuration reaches the broker's shards a moment after the answer."""
    for _ in range(3000):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_nothing_is_subscribed_to_at_first(connection):
    answer = ask(connection, uuid.UUID(int=0))
    assert answer["ErrorCode"] == NONE
    assert answer["ClientInstanceId"].int > 1
    assert (answer["PushIntervalMs"], answer["TelemetryMaxBytes"], answer["DeltaTemporality"]) == (300000, 1048576, True)
    assert (answer["AcceptedCompressionTypes"], answer["RequestedMetrics"]) == ([4, 3, 1, 2], [])
    assert ask(connection, uuid.UUID(int=1))["ClientInstanceId"] != uuid.UUID(int=1)
    # As Apache Kafka makes a subscription's id.
    assert ask(connection, uuid.UUID(int=77))["SubscriptionId"] == -725132397


def test_no_more_often_than_the_interval(connection):
    """Asking twice, pushing twice; after an unknown subscription or codec one may ask at once."""
    instance, subscription = subscribed(connection)
    assert ask(connection, instance)["ErrorCode"] == THROTTLED
    assert push(connection, instance, subscription) == NONE
    assert push(connection, instance, subscription) == THROTTLED
    assert ask(connection, instance)["ErrorCode"] == THROTTLED
    for error, wrong in ((UNKNOWN_SUBSCRIPTION, dict(SubscriptionId=1)), (UNSUPPORTED_COMPRESSION, dict(CompressionType=9))):
        instance, subscription = subscribed(connection)
        assert push(connection, instance, subscription, **wrong) == error
        assert ask(connection, instance)["ErrorCode"] == NONE
        assert push(connection, instance, subscription) == THROTTLED


def test_what_is_not_taken(connection):
    for instance in (uuid.UUID(int=0), uuid.UUID(int=1)):
        assert push(connection, instance, 5) == INVALID_REQUEST
    assert push(connection, uuid.uuid4(), 5) == UNKNOWN_SUBSCRIPTION
    for error, wrong in ((TOO_LARGE, dict(Metrics=b"x" * 1048577)), (INVALID_RECORD, dict(Metrics=b"\xff\xff")),
                         (INVALID_RECORD, dict(Metrics=gzip.compress(b"\0" * (1 << 21)), CompressionType=1)),
                         (INVALID_RECORD, dict(Metrics=b"not gzip", CompressionType=1)), (NONE, dict(Metrics=b""))):
        instance, subscription = subscribed(connection)
        assert push(connection, instance, subscription, **wrong) == error


def test_how_much_is_taken(connection):
    """telemetry.max.bytes is a MiB as it comes, and so much may come out of it: one less, just so much, one more."""
    def field(size):  # of the protocol's buffers: an unknown one, of so many bytes in all
        return b"\x7a" + b"".join(bytes([(size - 5) >> shift & 127 | (128 if shift < 21 else 0)]) for shift in (0, 7, 14, 21)) + b"x" * (size - 5)

    for size, error in ((1048575, NONE), (1048576, NONE), (1048577, TOO_LARGE)):
        instance, subscription = subscribed(connection)
        assert push(connection, instance, subscription, Metrics=field(size)) == error, size
    for size, error in ((1048575, NONE), (1048576, NONE), (1048577, INVALID_RECORD)):
        instance, subscription = subscribed(connection)
        assert push(connection, instance, subscription, Metrics=gzip.compress(field(size)), CompressionType=1) == error, size


def test_how_much_the_setting_lets_in(tmp_path):
    """telemetry.max.bytes, smaller than by default: just so much, and one more."""
    node = Node(tmp_path / "data", ["--override", "telemetry.max.bytes=1000"]).start()
    connection = Connection(node.port)
    for size, error in ((1000, NONE), (1001, TOO_LARGE)):
        instance, subscription = subscribed(connection)
        assert push(connection, instance, subscription, Metrics=b"\x7a" + bytes([(size - 3) & 127 | 128, (size - 3) >> 7]) + b"x" * (size - 3)) == error, size
    connection.close()
    node.stop()


def test_a_last_push(connection):
    """It may come at any time, and nothing after it."""
    instance, subscription = subscribed(connection)
    assert push(connection, instance, subscription) == NONE
    assert push(connection, instance, subscription, Terminating=True, Metrics=gzip.compress(PAYLOAD), CompressionType=1) == NONE
    assert push(connection, instance, subscription) == INVALID_REQUEST


def test_subscriptions_choose_clients(own_node):
    """Two subscriptions, one for clients of a name; both, the shortest interval, and '*' for all."""
    connection, chosen = Connection(own_node.port), Connection(own_node.port, client="prober")
    instance, old = subscribed(connection)

    def requested(connection):
        answer = ask(connection)
        return sorted(answer["RequestedMetrics"]), answer["PushIntervalMs"]

    assert configure(connection, "s1", metrics="p.,c.x", interval_ms="6000", match="client_id=pr.*,client_source_address=127\\..*") == NONE
    assert configure(connection, "s2", metrics="a.b", interval_ms="3000") == NONE
    assert soon(lambda: requested(chosen) == (["a.b", "c.x", "p."], 3000))
    assert requested(connection) == (["a.b"], 3000)
    assert requested(Connection(own_node.port, client="xprober")) == (["a.b"], 3000)
    # Who has the old one is told to ask again.
    assert push(connection, instance, old) == UNKNOWN_SUBSCRIPTION
    assert ask(connection, instance)["SubscriptionId"] != old
    assert configure(connection, "s3", metrics="*") == NONE
    assert soon(lambda: requested(chosen) == (["*"], 3000))
    assert configure(connection, "s3", metrics=None) == NONE
    assert soon(lambda: requested(chosen)[0] != ["*"])
    instance, subscription = subscribed(connection)
    assert push(connection, instance, subscription) == NONE
    assert push(connection, instance, subscription) == THROTTLED
    time.sleep(3.1)
    assert push(connection, instance, subscription) == NONE
