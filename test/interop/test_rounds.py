"""Apache Kafka and Moldau in turn over one data directory, in short; rounds.py does as many rounds as it is told."""
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT
from conftest_shared import MOLDAU, TOOLS, free_port, run
from confluent_kafka.admin import NewTopic
from test_files import address_of, apache, create, moldau, read_all, server_properties

ROUNDS = os.environ.get("ROUNDS", "4")


@pytest.mark.parametrize("first", ["4.4", "3.9"])
def test_rounds(tmp_path, first):
    done = run(sys.executable, "-B", ROOT / "test" / "interop" / "rounds.py", "--rounds", ROUNDS, "--seed", "1", "--first", first, "--dir", tmp_path / "rounds",
               timeout=1800, check=False)
    assert done.returncode == 0 and "lost 0, doubled 0" in done.stdout, done.stdout + done.stderr[-2000:]
    print(done.stdout)


def test_a_stop_before_everything_is_recovered_is_not_a_clean_one(tmp_path):
    """A kill left zeros behind the records of a partition that nobody asked for until the next stop. The mark of a clean
    shutdown would make Apache Kafka append behind them: there is none, so it cuts them off."""
    conf = server_properties(tmp_path, tmp_path / "data", free_port(), free_port())
    run(TOOLS / "kafka-storage.sh", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
    address = address_of(conf)
    with moldau(conf, end=signal.SIGKILL):
        create(address, NewTopic("t", 1, 1))
        run("kcat", "-b", address, "-P", "-t", "t", input="one\ntwo\n")
    with open(next(tmp_path.glob("data/t-0/*.log")), "ab") as log:
        log.write(b"\0" * 5000)
    node = subprocess.Popen([str(MOLDAU), "server", str(conf)], stdout=subprocess.PIPE, text=True)
    assert "ready" in node.stdout.readline()
    node.send_signal(signal.SIGTERM)
    assert node.wait(30) == 0
    assert not (tmp_path / "data" / ".kafka_cleanshutdown").exists()
    with apache(conf):
        assert read_all(address, "t") == ["one", "two"]
        run("kcat", "-b", address, "-P", "-t", "t", input="three\n")
        assert read_all(address, "t") == sorted(["one", "two", "three"])
    with moldau(conf):
        assert read_all(address, "t") == sorted(["one", "two", "three"])
