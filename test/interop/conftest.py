"""Apache's side: its jars under build/interop, run one class at a time."""
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "clients"))
from conftest_shared import Node, free_port, run  # noqa: E402,F401
from fixtures import node, own_node  # noqa: E402,F401

JARS = ROOT / "build" / "interop"
LOGGING = ROOT / "test" / "interop" / "log4j2.yaml"


def java(part, main, *words, **more):
    """One of Apache's programs: part is `tools` or `server`."""
    return run("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={LOGGING}",
               "-cp", f"{JARS / part}/*", main, *words, timeout=more.pop("timeout", 120), **more)


def java_start(part, main, *words, **more):
    return subprocess.Popen(["java", "-Xmx512m", f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{JARS / part}/*", main,
                             *[str(w) for w in words]], text=True, **more)


@pytest.fixture
def topic(request):
    return "t-" + request.node.name.replace("[", "-").replace("]", "").replace("_", "-")[:80]
