"""A Moldau node as a user would start it, `moldau dev` in a folder of its own, and the tools."""
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOLDAU = pathlib.Path(os.environ.get("MOLDAU", ROOT / "build" / "moldau"))
TOOLS = MOLDAU.parent / "bin"


PORTS = {"begin": 15000, "end": 30000, "next": random.randrange(15000, 30000)}


def free_port():
    """Below the ephemeral range: a client that dials a killed node's ephemeral port may connect to itself and hold it. Each one once,
    up to the last: one that was given and is not listened on yet looks free, too."""
    for _ in range(PORTS["begin"], PORTS["end"]):
        port = PORTS["next"]
        PORTS["next"] = port + 1 if port + 1 < PORTS["end"] else PORTS["begin"]
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("every port is taken")


class Metrics:
    """What a node's /metrics said, read by Prometheus's own parser: value("name", label="x"), sums over labels left out."""

    def __init__(self, text):
        from prometheus_client.parser import text_string_to_metric_families
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def of(self, name, **labels):
        return [s for s in self.samples if s.name == name and all(s.labels.get(k) == v for k, v in labels.items())]

    def value(self, name, **labels):
        return sum(sample.value for sample in self.of(name, **labels))


class Node:
    """A node that can be stopped, killed and started again over the same folder and port.

    It has one shard unless its options or SHARDS in the environment say otherwise, and not as many as the machine has cores: a
    change of metadata is acknowledged when it is committed, and other shards see it a moment later, as another broker would.
    """

    def __init__(self, folder, options=()):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.options = list(options)
        if not any("moldau.shards=" in str(option) for option in self.options):
            self.options += ["--override", "moldau.shards=" + os.environ.get("SHARDS", "1")]
        self.environment = {}  # more than this process has
        self.process = None
        self.log = self.folder.parent / (self.folder.name + ".log")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        out = open(self.log, "ab")
        at = out.tell()
        self.process = subprocess.Popen(
            [MOLDAU, "dev", "--dir", self.folder, "--port", str(self.port), *self.options],
            stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **self.environment})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with open(self.log, "rb") as text:
                text.seek(at)
                if any(line.startswith(b"ready:") for line in text.read().splitlines()):
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError("the node did not become ready:\n" + self.log.read_text(errors="replace")[-3000:])

    @property
    def http(self):
        """Where it serves metrics and health; the last one that its log names."""
        return re.findall(r"^metrics: (http://\S+)/metrics$", self.log.read_text(errors="replace"), re.M)[-1]

    def metrics(self):
        with urllib.request.urlopen(self.http + "/metrics", timeout=60) as answer:
            assert answer.status == 200 and answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            return Metrics(answer.read().decode())

    def stop(self):
        """A clean stop: SIGTERM, exit status 0, soon."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0, self.log.read_text(errors="replace")[-3000:]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def alive(self):
        return self.process is not None and self.process.poll() is None


def eventually(what, seconds=60):
    """Whether it comes about within that time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def until(what, seconds=60):
    assert eventually(what, seconds), "it did not come about"


def run(*command, input=None, timeout=120, check=True, env=None):
    """Runs a tool; answers its output. Text in, text out."""
    done = subprocess.run([str(word) for word in command], input=input, capture_output=True, text=True, timeout=timeout, env=env)
    if check:
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
