"""Plain sockets: what a connection gets that no client library would send."""
import struct
import time

import pytest

from messages import Connection


class Raw(Connection):
    def __init__(self, node):
        super().__init__(node.port)
        self.socket.settimeout(10)

    def send(self, data):
        self.socket.sendall(data)

    def request(self, key, version, body=b"", correlation=7, flexible=False):
        header = struct.pack(">hhih", key, version, correlation, 4) + b"test" + (b"\0" if flexible else b"")
        frame = header + body
        self.send(struct.pack(">i", len(frame)) + frame)

    def answer(self):
        size = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(size)

    def is_closed(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def served(node):
    raw = Raw(node)
    raw.request(18, 0)
    answer = raw.answer()
    assert answer[:6] == struct.pack(">ih", 7, 0)
    count = struct.unpack(">i", answer[6:10])[0]
    return {k: (low, high) for k, low, high in struct.iter_unpack(">hhh", answer[10:10 + count * 6])}


def test_what_is_advertised(node):
    apis = served(node)
    assert apis[0] == (3, 13) or apis[0] == (0, 13)
    assert apis[1][1] >= 17 and apis[3] == (0, 13) and apis[18][1] >= 4
    for absent in (26, 27, 68, 78):  # EndTxn, WriteTxnMarkers, ConsumerGroupHeartbeat, ShareFetch
        assert absent not in apis


def test_api_versions_of_an_unknown_version_is_answered_in_version_0(node):
    raw = Raw(node)
    raw.request(18, 99)
    answer = raw.answer()
    assert struct.unpack(">ih", answer[:6]) == (7, 35)
    raw.request(18, 0)  # and the connection goes on
    assert raw.answer()[:6] == struct.pack(">ih", 7, 0)


@pytest.mark.parametrize("frame", [
    struct.pack(">i", -1), struct.pack(">i", 2**31 - 1), struct.pack(">i", 104857601), struct.pack(">ih", 2, 18),
    struct.pack(">ihhih", 10, 9999, 0, 1, -1), struct.pack(">ihhih", 10, 26, 3, 1, -1), struct.pack(">ihhih", 10, 3, 99, 1, -1),
    struct.pack(">ihhih", 10, -1, 0, 1, -1), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    struct.pack(">ihhihi", 14, 3, 1, 1, -1, 2**31 - 1), struct.pack(">ihhihih", 16, 3, 1, 1, -1, 1, -1)])
def test_what_cannot_be_read_ends_the_connection_and_nothing_else(node, frame):
    other, raw = Raw(node), Raw(node)
    raw.send(frame)
    assert raw.is_closed()
    other.request(18, 0)
    assert other.answer()[:6] == struct.pack(">ih", 7, 0)


def test_requests_are_answered_in_order(node):
    raw = Raw(node)
    for i in range(50):
        raw.request(18 if i % 2 else 3, 0 if i % 2 else 1, b"" if i % 2 else struct.pack(">i", 0), correlation=i)
    assert [struct.unpack(">i", raw.answer()[:4])[0] for i in range(50)] == list(range(50))


def test_a_frame_that_comes_byte_by_byte(node):
    raw = Raw(node)
    for byte in struct.pack(">ihhih", 14, 18, 0, 9, 4) + b"test":
        raw.send(bytes([byte]))
        time.sleep(0.002)
    assert raw.answer()[:6] == struct.pack(">ih", 9, 0)


def test_topic_names_have_at_most_249_characters(node):
    """One less and just so many are taken, one more is INVALID_TOPIC_EXCEPTION: to CreateTopics and to Metadata."""
    for size in (248, 249, 250):
        name = b"n" * size
        named = struct.pack(">h", size) + name
        raw = Raw(node)
        raw.request(19, 2, struct.pack(">i", 1) + named + struct.pack(">ihii", 1, 1, 0, 0) + struct.pack(">ib", 5000, 1))
        answer = raw.answer()
        at = 4 + 4 + 4 + 2 + size
        assert struct.unpack(">h", answer[at:at + 2])[0] == (0 if size <= 249 else 17)
        raw.request(3, 4, struct.pack(">i", 1) + named + b"\0")
        answer = raw.answer()
        at = answer.index(named) - 2
        assert struct.unpack(">h", answer[at:at + 2])[0] == (3 if size <= 249 else 17)


def test_an_answer_is_of_the_request_before_it_is_of_an_error(node):
    """OffsetFetch in version 1 tells an error of the group for each partition that was asked for."""
    raw = Raw(node)
    body = struct.pack(">h", 0) + struct.pack(">i", 3)
    for topic in (b"a", b"b", b"c"):
        body += struct.pack(">h", 1) + topic + struct.pack(">iii", 2, 0, 1)
    raw.request(9, 1, body)
    answer = raw.answer()
    assert struct.unpack(">ii", answer[:8]) == (7, 3)
    raw.request(18, 0)
    assert raw.answer()[:6] == struct.pack(">ih", 7, 0)


def test_metadata_tells_each_topic_once(node, topic):
    """Names that come again, at once or later, by name or by id, in order or not: each is told once, in the order in which it
    is named first. 50,000 times nothing has an answer like nothing once, and takes no time to speak of."""
    connection = Connection(node.port)
    made = connection.ask("CreateTopics", 7, Topics=[{"Name": topic + end, "NumPartitions": 1, "ReplicationFactor": 1} for end in "ab"])
    ids = [t["TopicId"] for t in made["Topics"]]
    asked = [topic + end for end in "bbabaab"] + ["?", "?", topic + "a", "?"]
    answer = connection.ask("Metadata", 9, Topics=[{"Name": name} for name in asked], AllowAutoTopicCreation=False)
    assert [(t["Name"], t["ErrorCode"]) for t in answer["Topics"]] == [(topic + "b", 0), (topic + "a", 0), ("?", 17)]
    answer = connection.ask("Metadata", 12, Topics=[{"TopicId": ids[i], "Name": None} for i in (1, 1, 0, 1, 0, 0)], AllowAutoTopicCreation=False)
    assert [(t["Name"], t["ErrorCode"]) for t in answer["Topics"]] == [(topic + "b", 0), (topic + "a", 0)]
    answer = connection.ask("Metadata", 9, Topics=[{"Name": ""}] * 50000, AllowAutoTopicCreation=False)
    assert [(t["Name"], t["ErrorCode"]) for t in answer["Topics"]] == [("", 17)]
