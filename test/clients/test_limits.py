"""Limits of connections and requests, each one below, at, and one beyond."""
import select
import socket
import struct
import time

import pytest

import conftest_shared
from batches import batch
from conftest_shared import Node
from messages import Connection


@pytest.fixture
def node_with(tmp_path):
    nodes = []

    def start(**settings):
        options = []
        for name, value in settings.items():
            options += ["--override", f"{name.replace('_', '.')}={value}"]
        nodes.append(Node(tmp_path / f"data{len(nodes)}", options).start())
        return nodes[-1]

    yield start
    for node in nodes:
        assert node.alive()
        node.stop()


def api_versions(size=None):
    """A request that is answered, of so many bytes without its size: a client id makes up for the rest."""
    client = b"" if size is None else b"c" * (size - 10)
    frame = struct.pack(">hhih", 18, 0, 7, len(client)) + client
    return struct.pack(">i", len(frame)) + frame


def is_served(s):
    s.sendall(api_versions())
    return answered(s)


def answered(s, seconds=60):
    s.settimeout(seconds)
    try:
        head = s.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return False
        size = struct.unpack(">i", head)[0]
        return len(s.recv(size, socket.MSG_WAITALL)) == size
    except ConnectionResetError:
        return False


def connect(node, count):
    return [socket.create_connection(("127.0.0.1", node.port), timeout=60) for _ in range(count)]


def is_refused(node):
    try:
        s, = connect(node, 1)
        return not is_served(s)
    except ConnectionError:
        return True


def waits(s):
    s.sendall(api_versions())
    return not select.select([s], [], [], 0.3)[0]


def test_max_connections(node_with):
    node = node_with(max_connections=3)
    one, two, three, four = connect(node, 4)
    assert is_served(one) and is_served(two) and is_served(three)
    assert waits(four)
    two.close()
    assert answered(four) and is_served(one)


def test_max_connections_per_ip(node_with):
    node = node_with(max_connections_per_ip=2)
    one, two = connect(node, 2)
    assert is_served(one) and is_served(two)
    assert is_refused(node)
    two.close()
    deadline = time.monotonic() + 60  # the node hears of it a moment later
    while is_refused(node):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert is_served(one)


def test_an_addresss_own_limit(node_with):
    node = node_with(max_connections_per_ip=1, max_connections_per_ip_overrides="127.0.0.1:3,10.0.0.1:7")
    sockets = connect(node, 3)
    assert all(is_served(s) for s in sockets)
    assert is_refused(node)


def test_max_connection_creation_rate(node_with):
    node = node_with(max_connection_creation_rate=10)
    time.sleep(1.2)  # the fixture's own
    begin = time.monotonic()
    sockets = connect(node, 12)
    for s in sockets:
        s.sendall(api_versions())
    assert all(answered(s) for s in sockets[:10])
    assert all(answered(s) for s in sockets[10:])
    assert time.monotonic() - begin >= 0.15


def test_request_sizes(node_with):
    node = node_with(socket_request_max_bytes=2000)
    for size, fine in ((1999, True), (2000, True), (2001, False)):
        s, = connect(node, 1)
        s.sendall(api_versions(size))
        assert answered(s) == fine, size


def test_idle_connections_are_closed(node_with):
    """One connection is silent for longer than the limit, the other never: where the machine stands still for so long that it is,
    all begins anew."""
    node = node_with(connections_max_idle_ms=1000)
    for _ in range(20):
        one, two = connect(node, 2)
        assert is_served(one) and is_served(two)
        pause, last = 0, time.monotonic()
        for _ in range(6):
            time.sleep(0.3)
            served, now = is_served(two), time.monotonic()
            pause, last = max(pause, now - last), now
            if not served:
                break
        if pause >= 0.9:
            continue
        assert served
        one.settimeout(60)
        assert one.recv(1) == b""
        return
    pytest.skip("this machine stands still every time")


@pytest.fixture
def limited(tmp_path):
    """A node with 260 descriptors."""
    node = Node(tmp_path / "data")
    program = tmp_path / "moldau"
    program.write_text(f"#!/bin/sh\nulimit -n 260\nexec {conftest_shared.MOLDAU} \"$@\"\n")
    program.chmod(0o755)
    original = conftest_shared.MOLDAU
    try:
        conftest_shared.MOLDAU = program
        node.start()
    finally:
        conftest_shared.MOLDAU = original
    yield node
    if node.alive():
        node.kill()


def test_more_partitions_than_descriptors(limited):
    """Four hundred partitions are written to one after the other, and again: logs that nobody asks for make room for the next
    one, and connections that come meanwhile are served."""
    connection = Connection(limited.port)
    connection.ask("CreateTopics", 7, timeoutMs=30000, Topics=[{"Name": "t", "NumPartitions": 400, "ReplicationFactor": 1}])
    for _ in range(2):
        for partition in range(400):
            answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[{"Name": "t", "PartitionData": [
                {"Index": partition, "Records": batch([b"x"])}]}])
            assert answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == 0, partition
        newcomer, = connect(limited, 1)
        assert is_served(newcomer)
    limited.stop()


def test_descriptors_run_out_and_the_idlest_goes(limited):
    """With 260 descriptors some 80 connections fit. Three hundred come that say nothing; one at work is never closed, and
    who comes is served."""
    working, = connect(limited, 1)
    silent = []
    for i in range(300):
        silent += connect(limited, 1)
        if i % 20 == 0:
            assert is_served(working), i
    assert is_served(working)
    newcomer, = connect(limited, 1)
    assert is_served(newcomer)
    limited.stop()


def test_a_hundred_requests_in_flight(node_with):
    """A connection may have 100 requests under way; the 101st waits unread, and all are answered in their order."""
    node = node_with()
    s, = connect(node, 1)
    for i in range(101):
        frame = struct.pack(">hhih", 18, 0, i, 0)
        s.sendall(struct.pack(">i", len(frame)) + frame)
    s.settimeout(60)
    for i in range(101):
        size = struct.unpack(">i", s.recv(4, socket.MSG_WAITALL))[0]
        assert struct.unpack(">i", s.recv(size, socket.MSG_WAITALL)[:4])[0] == i


def frame_of(key, version, body):
    frame = struct.pack(">hhih", key, version, 9, -1) + body
    return struct.pack(">i", len(frame)) + frame


def answer_of(s):
    with s.makefile("rb") as stream:  # nothing follows the answer that it could take along
        return stream.read(struct.unpack(">i", stream.read(4))[0])


def test_a_million_elements_in_a_request(node_with):
    """One less and just so many are answered, one more is INVALID_REQUEST where the answer has an error for the whole
    request (OffsetFetch), and ends the connection where it has none (Metadata). Others go on."""
    node = node_with()
    other, = connect(node, 1)
    for _ in range(200):  # until the group has its coordinator
        other.sendall(frame_of(10, 0, struct.pack(">h", 1) + b"g"))
        found = answer_of(other)
        other.sendall(frame_of(9, 2, struct.pack(">h", 1) + b"g" + struct.pack(">i", 0)))
        fetched = answer_of(other)
        if found[4:6] == b"\0\0" and fetched[-2:] == b"\0\0":
            break
        time.sleep(0.05)
    for elements, error in ((999_999, 0), (1_000_000, 0), (1_000_001, 42)):
        partitions = elements - 1  # and the topic itself
        s, = connect(node, 1)
        s.sendall(frame_of(9, 2, struct.pack(">h", 1) + b"g" + struct.pack(">ih", 1, 1) + b"t" + struct.pack(">i", partitions) + bytes(4 * partitions)))
        answer = answer_of(s)
        assert struct.unpack(">i", answer[:4])[0] == 9
        topics = struct.unpack(">i", answer[4:8])[0]
        assert (topics, struct.unpack(">h", answer[-2:])[0]) == ((0, error) if error else (1, 0))
        assert is_served(s)
    s, = connect(node, 1)
    s.sendall(frame_of(3, 1, struct.pack(">i", 1_000_001) + bytes(2 * 1_000_001)))
    assert not answered(s)
    assert is_served(other)


def test_how_many_producers_are_remembered(node_with):
    """Of three: with two all are known, with three too; the fourth takes the place of the one that is idle for longest, whose
    next batch is taken as a new producer's."""
    node = node_with(moldau_producer_ids_max=3, moldau_shards=1)
    connection = Connection(node.port)
    connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": 1, "ReplicationFactor": 1}])

    def send(producer, sequence):
        answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[{"Name": "t", "PartitionData": [
            {"Index": 0, "Records": batch([b"x"], producer=(producer, 0, sequence))}]}])
        return answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]

    def known():
        answer = connection.ask("DescribeProducers", 0, Topics=[{"Name": "t", "PartitionIndexes": [0]}])
        return sorted(p["ProducerId"] for p in answer["Topics"][0]["Partitions"][0]["ActiveProducers"])

    for producer, remembered in ((1, [1]), (2, [1, 2]), (3, [1, 2, 3])):
        assert send(producer, 0) == 0
        assert known() == remembered
    assert send(1, 1) == 0
    assert send(4, 0) == 0
    assert known() == [1, 3, 4]  # 2 was idle for longest


def test_unknown_tags_in_a_request(node_with):
    """1,023 and 1,024 tagged fields that nobody knows are passed over, one more ends the connection."""
    def varint(n):
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])

    node = node_with()
    for count, fine in ((1023, True), (1024, True), (1025, False)):
        s, = connect(node, 1)
        tags = varint(count) + b"".join(varint(1000 + i) + b"\1x" for i in range(count))
        s.sendall(frame_of(18, 3, b"\0\2f\2g" + tags))  # the header's own tags are none
        assert answered(s) == fine, count


def test_memory_stays_within_its_budget(node_with):
    """With 64 MiB for all data: 400 connections stop in the middle of frames of 50 MiB, having sent 300 KiB each; 100 more ask
    for 40 answers of 1 MiB each and read none. The process stays within that and what it has besides, a client that was there
    before goes on and nobody else's request takes longer than seconds; when all have gone, a newcomer is served."""
    node = node_with(moldau_memory_max=64 << 20)
    connection = Connection(node.port)
    connection.ask("CreateTopics", 7, Topics=[{"Name": "t", "NumPartitions": 1, "ReplicationFactor": 1}])

    def send(value):
        answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[{"Name": "t", "PartitionData": [
            {"Index": 0, "Records": batch([value])}]}])
        return answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]

    for _ in range(4):
        assert send(b"x" * 500_000) == 0
    others = []

    def another():
        s, = connect(node, 1)
        s.setblocking(False)
        others.append(s)
        return s

    def push(s, data):
        try:
            s.send(data)
        except (BlockingIOError, ConnectionError):
            pass  # the node does not read on, or has closed it

    fetch = frame_of(1, 4, struct.pack(">iiiibi", -1, 0, 0, 1 << 20, 0, 1) + struct.pack(">h", 1) + b"t" + struct.pack(">iiqi", 1, 0, 0, 1 << 20))
    longest = 0
    for i in range(400):
        push(another(), struct.pack(">i", 50 << 20) + bytes(300_000))
        if i % 4 == 0:
            push(another(), fetch * 40)
        if i % 20 == 0:
            begin = time.monotonic()
            assert send(b"y") == 0
            longest = max(longest, time.monotonic() - begin)
    time.sleep(1)
    assert send(b"y") == 0
    assert longest < 10
    status = dict(line.split(":", 1) for line in open(f"/proc/{node.process.pid}/status") if ":" in line)
    assert int(status["VmHWM"].split()[0]) / 1024 < 64 + 32
    for s in others:
        s.close()
    s, = connect(node, 1)
    assert is_served(s)


@pytest.mark.parametrize("settings, bytes_max", [
    ({"moldau_memory_max": 64 << 20, "moldau_shards": 1}, 16 << 20),
    ({"moldau_memory_max": 64 << 20, "moldau_shards": 1, "queued_max_request_bytes": 4 << 20, "socket_request_max_bytes": 1 << 20}, 4 << 20)])
def test_a_quarter_of_the_memory_for_unfinished_frames(node_with, settings, bytes_max):
    """Frames of 64 KiB that have begun, as many as fit into a quarter of the memory (or into queued.max.request.bytes), less
    one, and one more: whoever comes then is still served, the last time because one at a time may go beyond. With another
    one a new one is not read, until there is room for it."""
    size = 64 << 10
    node = node_with(**settings)
    whole = struct.pack(">ihhih", size - 4, 18, 0, 7, 0) + bytes(size - 14)  # what is behind the message is passed over
    held = []

    def send(sockets, data):
        """Until the node has read it."""
        read = lambda: node.metrics().value("kafka_server_socket_server_metrics_incoming_byte_total")
        before, deadline = read(), time.monotonic() + 60
        for s in sockets:
            s.sendall(data)
        while read() < before + len(sockets) * len(data):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def hold(count):
        new = connect(node, count)
        send(new, whole[:12])  # from its size on it is known how much room it needs
        send(new, whole[12:5000])  # more than fits into the first small buffer
        held.extend(new)

    def ask():
        s, = connect(node, 1)
        s.sendall(whole[:12])
        time.sleep(0.1)
        s.sendall(whole[12:])
        return s

    hold(bytes_max // size - 1)
    assert answered(ask())
    hold(1)
    assert answered(ask())
    hold(1)
    waiting = ask()
    assert not select.select([waiting], [], [], 0.5)[0]
    held.pop(0).close()
    held.pop(0).close()
    assert answered(waiting)
