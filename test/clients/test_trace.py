"""`moldau trace` between real clients and a node, and the node's own trace: both tell what happens, and hide secrets."""
import re
import socket
import struct
import subprocess
import time

import pytest
from confluent_kafka import Consumer, Producer
from kafka import KafkaConsumer, KafkaProducer

from conftest_shared import MOLDAU, TOOLS, Node, run


class Trace:
    """`moldau trace` to a node, on a port of its own."""

    def __init__(self, folder, to, *words):
        self.log = folder / "trace.txt"
        self.process = subprocess.Popen([MOLDAU, "trace", "--listen", "0", "--to", to, *words], stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        found = None
        deadline = time.monotonic() + 60
        while not found and time.monotonic() < deadline:
            found = re.match(r"listening on (\S+), passing on to", self.log.read_text())
            time.sleep(0.01)
        assert found, self.log.read_text()
        self.address = found[1]

    def lines(self):
        """Of requests and answers."""
        return [line for line in self.log.read_text().splitlines() if re.match(r"\S+ (request|answer) ", line)]

    def stop(self):
        assert self.process.poll() is None, "it ended by itself"
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def trace(node, tmp_path):
    trace = Trace(tmp_path, node.address)
    yield trace
    trace.stop()


def test_clients_stay_on_it(node, trace, topic):
    """A producer and a group's consumer of two makers only ever know the trace's addresses; each request has its answer."""
    producer = Producer({"bootstrap.servers": trace.address, "client.id": "writer", "compression.type": "gzip"})
    for i in range(100):
        producer.produce(topic, f"value {i}".encode(), f"{i}".encode())
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": trace.address, "group.id": topic, "auto.offset.reset": "earliest", "client.id": "reader"})
    consumer.subscribe([topic])
    got = 0
    deadline = time.monotonic() + 30
    while got < 100 and time.monotonic() < deadline:
        message = consumer.poll(1)
        got += message is not None and message.error() is None
    consumer.close()
    assert got == 100
    producer = KafkaProducer(bootstrap_servers=trace.address)
    producer.send(topic, b"one more").get(20)
    producer.close()
    consumer = KafkaConsumer(topic, bootstrap_servers=trace.address, auto_offset_reset="earliest", consumer_timeout_ms=3000)
    assert sum(1 for _ in consumer) == 101
    consumer.close()

    lines = trace.lines()
    asked = [line for line in lines if " request " in line]
    answered = [line for line in lines if " answer " in line]
    assert len(answered) >= len(asked) - 10  # of long polls that clients left
    assert not [line for line in lines if "cannot be read" in line or "could not be changed" in line]
    for word in ("request Produce", "answer Produce", "request JoinGroup", "answer SyncGroup", "request OffsetCommit", "answer Fetch"):
        assert any(word in line for line in lines), word
    assert any('"codecs":"gzip"' in line for line in lines)
    assert not any("value 7" in line for line in lines)
    # What is printed is what the node said, and that is its own address; the clients were told the other.
    assert any(f'"host":"localhost","port":{node.port}' in line for line in answered)
    # Had one of them gone past the trace, its Produce, Fetch or Heartbeat would be missing: all offsets were seen here.
    told = run(TOOLS / "kafka-broker-api-versions.sh", "--bootstrap-server", trace.address).stdout
    through = re.search(rf" localhost:{node.port} is reached through (\S+)", trace.log.read_text())
    assert through and told.startswith(f"{through[1]} "), told


def test_filters_and_contents(node, tmp_path, topic):
    """Only the APIs and the client that were asked for are printed; with --records, keys and values, too."""
    trace = Trace(tmp_path, node.address, "--api", "produce", "--client-id", "writer", "--records")
    for client in ("writer", "other"):
        producer = Producer({"bootstrap.servers": trace.address, "client.id": client, "compression.type": "lz4"})
        producer.produce(topic, f"from {client}".encode(), b"key")
        assert producer.flush(20) == 0
    trace.stop()
    lines = trace.lines()
    assert len(lines) == 2, lines
    assert " request Produce " in lines[0] and '"key":"key","value":"from writer"' in lines[0]
    assert " answer Produce " in lines[1]


def frame(body):
    return struct.pack(">i", len(body)) + body


def test_secrets_and_strange_bytes(node, trace):
    """A password in SaslAuthenticate, bare behind a SaslHandshake of version 0, and as a setting's value is printed nowhere;
    HTTP and TLS pass through and do no harm."""
    host, port = trace.address.split(":")
    login = b"\0alice\0swordfish"
    authenticate = struct.pack(">hhih", 36, 1, 1, -1) + struct.pack(">i", len(login)) + login
    handshake = struct.pack(">hhih", 17, 0, 1, -1) + struct.pack(">h", 5) + b"PLAIN"
    for bytes in (frame(authenticate), frame(authenticate[:-3]), frame(handshake) + frame(login), b"GET / HTTP/1.1\r\n\r\n",
                  bytes_of_tls(), b"\xff\xff\xff\xff swordfish"):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(bytes)
            s.settimeout(1)
            try:
                while s.recv(4096):
                    pass
            except (TimeoutError, ConnectionError):
                pass
    run(TOOLS / "kafka-configs.sh", "--bootstrap-server", trace.address, "--alter", "--entity-type", "brokers", "--entity-name", "1",
        "--add-config", "listener.name.plaintext.ssl.keystore.password=swordfish", check=False)
    text = trace.log.read_text()
    assert "swordfish" not in text and "73 77 6f 72 64" not in text
    assert '"***"' in text and "bare credentials, not shown" in text and "its bytes are not shown" in text
    assert "TLS: passed on unread" in text and "no frames of Kafka's: passed on unread" in text
    assert node.alive()


def bytes_of_tls():
    return b"\x16\x03\x01\x00\x05hello"


def test_a_broker_that_is_not_there(tmp_path, topic):
    """Nobody listens behind it: the client's connection is closed, the trace says why and goes on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    trace = Trace(tmp_path, f"localhost:{port}")
    for _ in range(2):
        with socket.create_connection(trace.address.split(":")) as s:
            s.settimeout(10)
            assert s.recv(10) == b""
    deadline = time.monotonic() + 60
    while trace.log.read_text().count("cannot connect to") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert trace.log.read_text().count(f"cannot connect to localhost:{port}: Connection refused") == 2
    trace.stop()


def test_a_node_traces_into_its_file(tmp_path, topic):
    """moldau.trace.apis switches it on, kafka-configs.sh off again; the file is its owner's alone."""
    file = tmp_path / "protocol.txt"
    node = Node(tmp_path / "data", ["--override", "moldau.trace.apis=Metadata,Produce", "--override", f"moldau.trace.file={file}"]).start()
    producer = Producer({"bootstrap.servers": node.address})
    producer.produce(topic, b"value")
    assert producer.flush(20) == 0
    text = file.read_text()
    assert " request Metadata v" in text and " answer Produce v" in text and "ApiVersions" not in text
    assert file.stat().st_mode & 0o777 == 0o600
    assert " request " not in node.log.read_text()
    run(TOOLS / "kafka-configs.sh", "--bootstrap-server", node.address, "--alter", "--entity-type", "brokers", "--entity-default", "--add-config", "moldau.trace.apis=")
    deadline, size = time.monotonic() + 60, None
    while size != file.stat().st_size:  # every shard learns of it; then nothing is written any more
        assert time.monotonic() < deadline
        time.sleep(0.2)
        size = file.stat().st_size
        producer.produce(topic, b"value")
        assert producer.flush(20) == 0
    node.stop()
    wrong = run(MOLDAU, "dev", "--dir", tmp_path / "other", "--override", "moldau.trace.apis=Fech", check=False)
    assert wrong.returncode == 1 and 'moldau.trace.apis: "Fech" is no API' in wrong.stderr
