"""What every test here may ask for."""
import time

import pytest

from fixtures import node, own_node  # noqa: F401


@pytest.fixture
def topic(request):
    """A name that no other test uses."""
    return "t-" + request.node.name.replace("[", "-").replace("]", "").replace("_", "-")[:80] + f"-{time.time_ns() % 100000}"
