"""The two nodes under comparison, each alone on an empty directory with the same settings, and plain sockets to them."""
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import time

import wire

ROOT = wire.ROOT
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
WAIT_SECONDS = 20  # for an answer, under a busy machine

# Short delays so that scenarios are quick, nothing that expires by itself while they run.
SETTINGS = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{quorum}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{quorum}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.max.size=3
log.retention.ms=-1
offsets.retention.check.interval.ms=86400000
producer.id.expiration.check.interval.ms=86400000
connections.max.idle.ms=3600000
log.flush.start.offset.checkpoint.interval.ms=1000
log.flush.offset.checkpoint.interval.ms=1000
log.initial.task.delay.ms=500
max.incremental.fetch.session.cache.slots=1000000
"""


def free_ports(count):
    """Below the ephemeral range, so that no client's own port can take one."""
    found = []
    while len(found) < count:
        port = random.randrange(15000, 30000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


class Node:
    """One side: `name` is apache or moldau."""

    def __init__(self, name, folder):
        self.name, self.folder = name, pathlib.Path(folder) / name
        self.process = None
        self.port, self.quorum = free_ports(2)
        self.data = self.folder / "data"
        self.conf = self.folder / "server.properties"
        self.log = self.folder / "log"

    def java(self, heap, main, *words):
        logging = ROOT / "test" / "interop" / "log4j2.yaml"
        return ["java", heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={logging}",
                "-cp", f"{ROOT / 'build' / 'interop' / 'server'}/*", main, *[str(word) for word in words]]

    def start(self, again=False):
        """On an empty directory, or (again) on what the node left when it was stopped."""
        if not again:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        self.conf.write_text(SETTINGS.format(port=self.port, quorum=self.quorum, data=self.data))
        moldau = os.environ.get("MOLDAU", str(ROOT / "build" / "moldau"))
        if self.name == "apache":
            form = self.java("-Xmx256m", "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.conf)
            run = self.java("-Xmx768m", "kafka.Kafka", self.conf)
        else:
            form = [moldau, "format", "-t", CLUSTER, "-c", str(self.conf)]
            run = [moldau, "server", str(self.conf)]
        out = open(self.log, "ab")
        if not again:
            subprocess.run(form, stdout=out, stderr=out, check=True)
        self.process = subprocess.Popen(run, stdout=out, stderr=out)

    def ready(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                conn = Connection(self)
                conn.send(wire.APIS["Metadata"], 12, {"topics": []}, None)
                answer, _ = conn.receive()
                conn.close()
                if answer and answer.get("brokers"):
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise SystemExit(f"{self.name} does not serve: {self.log.read_text(errors='replace')[-3000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Connection:
    def __init__(self, node):
        self.node = node
        self.socket = socket.create_connection(("127.0.0.1", node.port), timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0
        self.waiting = []

    def close(self):
        self.socket.close()

    def send(self, api, version, body, client, change=None):
        """`change` names what is wrong with the bytes: version, key, cut (bytes off the end), tail, set ([at, byte])."""
        change = change or {}
        self.correlation += 1
        payload = wire.encode(api, version, body)
        if "cut" in change:
            payload = payload[:max(0, len(payload) - change["cut"])]
        if "tail" in change:
            payload += bytes.fromhex(change["tail"])
        if "set" in change and payload:
            at, byte = change["set"]
            payload = payload[:at % len(payload)] + bytes([byte]) + payload[at % len(payload) + 1:]
        tags = bytes.fromhex(change.get("tags", "00"))
        told = change.get("version", version)
        data = wire.frame(change.get("key", api.key), told, self.correlation, client, payload, told >= api.flexible_request, tags)
        if "size" in change:
            data = struct.pack(">i", change["size"]) + data[4:]
        self.waiting.append((self.correlation, api, change.get("answer", version)))
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # closed: receive will tell

    def exactly(self, size):
        out = b""
        while len(out) < size:
            part = self.socket.recv(min(1 << 20, size - len(out)))
            if not part:
                raise EOFError
            out += part
        return out

    def receive(self, seconds=WAIT_SECONDS):
        """The next answer and None, or None and what came instead: closed, silence, or what is wrong with the bytes."""
        correlation, api, version = self.waiting.pop(0)
        self.socket.settimeout(seconds)
        try:
            frame = self.exactly(struct.unpack(">i", self.exactly(4))[0])
        except TimeoutError:
            return None, "silence"
        except (EOFError, OSError):
            return None, "closed"
        if struct.unpack_from(">i", frame)[0] != correlation:
            return None, f"correlation id {struct.unpack_from('>i', frame)[0]} instead of {correlation}"
        at = 4
        if version >= api.flexible_response and api.name != "ApiVersions":
            if frame[4:5] != b"\0":
                return None, "tagged fields in the response header"
            at = 5
        try:
            return wire.decode(api, version, frame[at:]), None
        except wire.Malformed as wrong:
            return None, f"not decodable: {wrong}"
