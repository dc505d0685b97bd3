"""Hostile frames against a live node: what test/hostile.py does at length, here for some seconds."""
import os
import subprocess
import sys

import pytest

from conftest_shared import ROOT


@pytest.mark.parametrize("seed", [1, 2])
def test_a_flood_of_hostile_frames_hurts_nobody_else(own_node, seed):
    """The node is up, its memory small, another client's produces and fetches go on without an error, connections that
    are idle stay, and the log does not grow by a line for each that is closed."""
    done = subprocess.run(
        [sys.executable, ROOT / "test" / "hostile.py", "--to", own_node.address, "--frames", "4000", "--idle", "200", "--seconds", "30",
         "--calm", "1", "--workers", "20", "--seed", str(seed), "--pid", str(own_node.process.pid), "--memory-max", "250"],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = own_node.log.read_text(errors="replace").splitlines()
    assert sum("closing the connection" in line for line in lines) <= 2 * 10 * os.cpu_count()  # ten a minute of each shard
    own_node.stop()
