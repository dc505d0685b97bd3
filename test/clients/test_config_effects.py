"""What settings of the process do, which the simulator has none of: each node here acts as its setting says, and would not by default."""
import os
import pathlib
import urllib.request

import pytest

from conftest_shared import Node, free_port


@pytest.fixture
def node_with(tmp_path):
    nodes = []

    def start(**settings):
        options = [word for key, value in settings.items() for word in ("--override", f"{key.replace('_', '.')}={value}")]
        nodes.append(Node(tmp_path / f"data{len(nodes)}", options).start())
        return nodes[-1]

    yield start
    for node in nodes:
        if node.alive():
            node.kill()


def has_a_ring(node):
    folder = pathlib.Path(f"/proc/{node.process.pid}/fd")
    return any("io_uring" in os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink())


def test_io_backend(node_with):
    """io.backend: with epoll there is no ring; with io_uring there is one, or no start where the kernel has none."""
    assert not has_a_ring(node_with(io_backend="epoll"))
    try:
        assert has_a_ring(node_with(io_backend="io_uring"))
    except AssertionError as wrong:
        if "io.backend: io_uring cannot be used here" not in str(wrong):
            raise
        pytest.skip("no io_uring here")


def test_http_listener(node_with):
    """moldau.http.listener: where metrics and health are."""
    port = free_port()
    node_with(moldau_http_listener=f"127.0.0.1:{port}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=10) as answer:
        assert answer.status == 200


def test_shards(node_with):
    """moldau.shards: so many threads take turns."""
    for shards in (1, 5):
        samples = [sample for family in node_with(moldau_shards=shards).metrics().families.values() for sample in family.samples]
        assert len({sample.labels["shard"] for sample in samples if "shard" in sample.labels}) == shards
