"""A node under a service manager, as systemd starts one: Type=notify, with a watchdog."""
import os
import signal
import socket
import subprocess
import time

from confluent_kafka.admin import AdminClient

from conftest_shared import MOLDAU, free_port


def test_readiness_signs_of_life_and_the_stop_are_told(tmp_path):
    """READY=1 comes once, when a client can be served, signs of life from then on, STOPPING=1 at SIGTERM."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    port = free_port()
    process = subprocess.Popen([MOLDAU, "dev", "--dir", tmp_path / "data", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
    first = manager.recv(1000).decode().splitlines()
    assert first[0] == "READY=1" and first[1].startswith("STATUS=ready: node 1 of cluster "), first
    assert len(AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"}).list_topics(timeout=10).brokers) == 1
    began = time.monotonic()
    for _ in range(5):
        assert manager.recv(1000) == b"WATCHDOG=1"
    assert time.monotonic() - began < 5
    process.send_signal(signal.SIGTERM)
    rest = []
    while not rest or not rest[-1].startswith("STOPPING=1"):
        rest.append(manager.recv(1000).decode())
    assert set(rest[:-1]) <= {"WATCHDOG=1"}
    assert process.wait(timeout=60) == 0
