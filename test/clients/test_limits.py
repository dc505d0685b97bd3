"""Limits of connections and requests, each one below, at, and one beyond."""
import select
import socket
import struct
import time

import pytest

import conftest_shared
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


def answered(s, seconds=5):
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
    return [socket.create_connection(("127.0.0.1", node.port), timeout=5) for _ in range(count)]


def is_refused(node):
    try:
        s, = connect(node, 1)
        return not answered(s)
    except ConnectionResetError:
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
    time.sleep(0.2)
    four, = connect(node, 1)
    assert is_served(four) and is_served(one)


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
    node = node_with(connections_max_idle_ms=700)
    one, two = connect(node, 2)
    assert is_served(one) and is_served(two)
    for _ in range(4):
        time.sleep(0.3)
        assert is_served(two)
    one.settimeout(2)
    assert one.recv(1) == b""
    time.sleep(0.4)
    assert is_served(two)


def test_descriptors_run_out_and_the_idlest_goes(tmp_path):
    """With 260 descriptors some 80 connections fit. Three hundred come that say nothing; one at work is never closed, and
    who comes is served."""
    limited = Node(tmp_path / "data")
    program = tmp_path / "moldau"
    program.write_text(f"#!/bin/sh\nulimit -n 260\nexec {conftest_shared.MOLDAU} \"$@\"\n")
    program.chmod(0o755)
    original = conftest_shared.MOLDAU
    try:
        conftest_shared.MOLDAU = program
        limited.start()
    finally:
        conftest_shared.MOLDAU = original
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
    s.settimeout(5)
    for i in range(101):
        size = struct.unpack(">i", s.recv(4, socket.MSG_WAITALL))[0]
        assert struct.unpack(">i", s.recv(size, socket.MSG_WAITALL)[:4])[0] == i
