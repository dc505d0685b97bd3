"""One Moldau node for each test module."""
import time

import pytest

from conftest_shared import Node


@pytest.fixture(scope="module")
def node(tmp_path_factory):
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


@pytest.fixture
def topic(request):
    """A name that no other test uses."""
    return "t-" + request.node.name.replace("[", "-").replace("]", "").replace("_", "-")[:80] + f"-{time.time_ns() % 100000}"
