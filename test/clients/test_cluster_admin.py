"""Administrative requests that the controller and the quorum answer, in plain bytes: as Apache Kafka 4.4 answers a single node."""
import socket
import struct

import pytest


class Wire:
    """One connection; flexible requests are made by hand, answers are read by a cursor."""

    def __init__(self, node):
        self.socket = socket.create_connection(("127.0.0.1", node.port), 10)

    def call(self, key, version, body, flexible=True):
        header = struct.pack(">hhih", key, version, 7, -1) + (b"\0" if flexible else b"")
        self.socket.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        size = struct.unpack(">i", self.read(4))[0]
        answer = Cursor(self.read(size))
        assert answer.take(">i") == 7
        if flexible:
            answer.skip_tags()
        return answer

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, "the connection was closed"
            data += part
        return data


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value[0] if len(value) == 1 else value

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(">B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def string(self):
        size = self.varint() - 1
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def array(self, item):
        size = self.varint() - 1
        return None if size < 0 else [item() for _ in range(size)]

    def skip_tags(self):
        assert self.varint() == 0


def string(text):
    return b"\0" if text is None else bytes([len(text) + 1]) + text.encode()


def array(items):
    return bytes([len(items) + 1]) + b"".join(items)


@pytest.fixture
def wire(node):
    return Wire(node)


def describe_quorum(wire, topic, partitions):
    asked = array([string(topic) + array([struct.pack(">i", p) + b"\0" for p in partitions]) + b"\0"]) + b"\0"
    answer = wire.call(55, 2, asked)
    assert answer.take(">h") == 0
    assert answer.string() == ""

    def replica():
        value = answer.take(">i16sqqq")
        answer.skip_tags()
        return value

    def partition():
        index, error = answer.take(">ih")
        answer.string()
        leader, epoch, high_watermark = answer.take(">iiq")
        voters, observers = answer.array(replica), answer.array(replica)
        answer.skip_tags()
        return index, error, leader, epoch, high_watermark, voters, observers

    def one():
        name, parts = answer.string(), answer.array(partition)
        answer.skip_tags()
        return name, parts

    return answer.array(one)


def test_describe_quorum(wire):
    """One voter, which leads and has all that is committed; its times are of now."""
    (name, [(index, error, leader, epoch, high_watermark, voters, observers)]), = describe_quorum(wire, "__cluster_metadata", [0])
    assert (name, index, error, leader, observers) == ("__cluster_metadata", 0, 0, 1, [])
    assert epoch >= 1 and high_watermark > 0
    (voter, directory, end, fetched_ms, caught_up_ms), = voters
    assert voter == 1 and end >= high_watermark
    assert abs(fetched_ms - caught_up_ms) < 1000 and fetched_ms > 1_600_000_000_000


@pytest.mark.parametrize("topic,partitions", [("other", [0]), ("__cluster_metadata", [1]), ("__cluster_metadata", [0, 0]), ("__cluster_metadata", [])])
def test_describe_quorum_of_what_is_not_there(wire, topic, partitions):
    """Each partition that was named is unknown; a quorum has one."""
    (name, parts), = describe_quorum(wire, topic, partitions)
    assert name == topic
    assert [(p[0], p[1]) for p in parts] == [(p, 3) for p in partitions]


def update_features(wire, *updates, validate_only=False):
    body = struct.pack(">i", 5000) + array([string(name) + struct.pack(">hb", level, kind) + b"\0" for name, level, kind in updates])
    answer = wire.call(57, 2, body + struct.pack(">?", validate_only) + b"\0")
    answer.take(">i")
    return answer.take(">h"), answer.string()


def finalized(wire):
    header = struct.pack(">hhih", 18, 3, 7, -1) + b"\0" + string("test") + string("1") + b"\0"
    wire.socket.sendall(struct.pack(">i", len(header)) + header)
    answer = Cursor(wire.read(struct.unpack(">i", wire.read(4))[0]))
    assert answer.take(">ih") == (7, 0)
    answer.array(lambda: (answer.take(">hhh"), answer.skip_tags()))
    answer.take(">i")
    found = {}
    for _ in range(answer.varint()):
        tag, size = answer.varint(), answer.varint()
        end = answer.at + size
        if tag == 2:
            for name, high, _ in answer.array(lambda: (answer.string(), answer.take(">hh")[0], answer.skip_tags())):
                found[name] = high
        answer.at = end
    return found


def test_update_features(wire):
    """Down, validated first, then done; up again; levels and types that are refused change nothing."""
    assert finalized(wire)["group.version"] == 1
    assert update_features(wire, ("group.version", 0, 2), validate_only=True) == (0, None)
    assert finalized(wire)["group.version"] == 1
    assert update_features(wire, ("group.version", 0, 2)) == (0, None)
    assert "group.version" not in finalized(wire)
    for wrong in [("group.version", 2, 1), ("group.version", -1, 1), ("group.version", 1, 2), ("group.version", 1, 0),
                  ("nobody.knows", 1, 1), ("metadata.version", 32, 2), ("metadata.version", 32, 3), ("metadata.version", 99, 1)]:
        error, why = update_features(wire, wrong)
        assert error == 95 and why, wrong
    assert update_features(wire, ("group.version", 1, 1), ("nobody.knows", 1, 1))[0] == 95
    assert "group.version" not in finalized(wire)
    assert update_features(wire, ("group.version", 1, 1)) == (0, None)
    assert finalized(wire)["group.version"] == 1
    assert update_features(wire) == (0, None)


def test_kraft_version(own_node):
    """Validated, then raised for good: the quorum has its voters in the log from then on, also over a restart."""
    wire = Wire(own_node)
    assert update_features(wire, ("kraft.version", 2, 1))[0] == 95
    assert update_features(wire, ("kraft.version", 0, 1)) == (0, None)
    assert update_features(wire, ("kraft.version", 1, 1), validate_only=True) == (0, None)
    (_, [(*_, voters, _)]), = describe_quorum(wire, "__cluster_metadata", [0])
    assert voters[0][1] == bytes(16)
    assert update_features(wire, ("kraft.version", 1, 1)) == (0, None)
    (_, [(*_, voters, _)]), = describe_quorum(wire, "__cluster_metadata", [0])
    assert voters[0][1] != bytes(16)
    assert update_features(wire, ("kraft.version", 0, 2))[0] == 95
    own_node.kill()
    own_node.start()
    wire = Wire(own_node)
    (_, [(_, error, leader, *_, voters, _)]), = describe_quorum(wire, "__cluster_metadata", [0])
    assert (error, leader, len(voters)) == (0, 1, 1) and voters[0][1] != bytes(16)
    own_node.stop()
    own_node.start()
    assert update_features(Wire(own_node), ("kraft.version", 1, 1)) == (0, None)


def test_unregister(wire):
    """Who is not registered cannot be unregistered; the active controller stays."""
    for key, node, expected in [(64, 2, 102), (64, -1, 102), (94, 1, 42), (94, 2, 136)]:
        answer = wire.call(key, 0, struct.pack(">i", node) + b"\0")
        answer.take(">i")
        assert answer.take(">h") == expected
        assert answer.string()


def test_sasl_is_refused(wire):
    """No listener asks for SASL: it comes too late, and the connection lives on."""
    answer = wire.call(17, 1, struct.pack(">h", 5) + b"PLAIN", flexible=False)
    assert answer.take(">hi") == (34, 0)
    answer = wire.call(36, 2, bytes([4]) + b"abc" + b"\0")
    assert answer.take(">h") == 34
    assert finalized(wire)


def test_client_quotas_are_empty(wire):
    """Nobody has any; wrong filters are told."""
    def ask(*components):
        body = array([string(kind) + struct.pack(">b", match) + string(name) + b"\0" for kind, match, name in components]) + b"\0\0"
        answer = wire.call(48, 1, body)
        answer.take(">i")
        return answer.take(">h"), answer.string(), answer.array(lambda: None)
    assert ask() == (0, "", [])
    assert ask(("user", 1, None)) == (0, "", [])
    for wrong, error in [(("foo", 1, None), 35), (("user", 5, None), 42), (("", 0, "x"), 42), (("user", 0, None), 42), (("user", 1, "x"), 42)]:
        assert ask(wrong)[0] == error
    assert ask(("user", 2, None), ("user", 1, None))[0] == 42
    assert ask(("ip", 2, None), ("user", 1, None))[0] == 42


def test_reassignments_of_a_single_node(wire):
    """None is under way; none can go to a broker that is not there."""
    answer = wire.call(46, 0, struct.pack(">i", 5000) + b"\0\0")
    answer.take(">i")
    assert (answer.take(">h"), answer.string(), answer.array(lambda: None)) == (0, None, [])
    partition = struct.pack(">i", 0) + array([struct.pack(">i", 2)]) + b"\0"
    answer = wire.call(45, 1, struct.pack(">i?", 5000, True) + array([string("missing") + array([partition]) + b"\0"]) + b"\0")
    answer.take(">i?")
    assert answer.take(">h") == 0
    answer.string()
    assert answer.varint() == 2 and answer.string() == "missing" and answer.varint() == 2
    assert answer.take(">ih") == (0, 3)
