"""Nodes for tests: those here and those with Apache Kafka beside (test/interop)."""
import pytest

from conftest_shared import Node


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One Moldau node for each test module."""
    node = Node(tmp_path_factory.mktemp("node") / "data").start()
    yield node
    assert node.alive(), "the node ended by itself:\n" + node.log.read_text(errors="replace")[-3000:]
    node.stop()


@pytest.fixture
def own_node(tmp_path):
    """A node for one test that stops or kills it."""
    node = Node(tmp_path / "data").start()
    yield node
    if node.alive():
        node.kill()
