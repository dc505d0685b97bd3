"""Apache's readers over Moldau's files, and the lock that keeps two nodes out of one folder."""
import pathlib
import re

from conftest import JARS, LOGGING, java, java_start
from conftest_shared import MOLDAU, free_port, run

DUMP = "org.apache.kafka.tools.DumpLogSegments"


def dump(*words):
    jars = "server" if not (JARS / "tools").exists() else "tools"
    done = java(jars, DUMP, *words, check=False)
    if "ClassNotFound" in done.stderr or "Could not find or load" in done.stderr:
        done = java("server", "kafka.tools.DumpLogSegments", *words)
    return done.stdout


def test_apache_dumps_moldaus_segments_and_metadata_log(own_node):
    run("kcat", "-b", own_node.address, "-P", "-t", "dumped", "-z", "lz4", "-K", ":", input="".join(f"k{i}:v{i}\n" for i in range(100)))
    run("kcat", "-b", own_node.address, "-G", "a-group", "-X", "auto.offset.reset=earliest", "-e", "-q", "dumped")
    own_node.stop()
    logs = sorted(pathlib.Path(own_node.folder).glob("dumped-0/*.log"))
    out = dump("--files", str(logs[0]), "--print-data-log", "--deep-iteration")
    assert out.count("| offset:") == 100 or out.count("offset: ") >= 100, out[:2000]
    assert "isvalid: true" in out and "isvalid: false" not in out
    index = dump("--files", str(logs[0].with_suffix(".index")), "--index-sanity-check")
    assert "passed the sanity check" in index, index
    metadata = sorted(pathlib.Path(own_node.folder).glob("__cluster_metadata-0/*.log"))
    out = dump("--files", str(metadata[0]), "--cluster-metadata-decoder")
    for kind in ("LeaderChange", "REGISTER_BROKER_RECORD", "FEATURE_LEVEL_RECORD", "TOPIC_RECORD", "PARTITION_RECORD"):
        assert kind in out, (kind, out[:3000])
    offsets = [p for p in pathlib.Path(own_node.folder).glob("__consumer_offsets-*/*.log") if p.stat().st_size]
    out = "".join(dump("--files", str(p), "--offsets-decoder") for p in offsets)
    assert "a-group" in out and re.search(r'"offset":\s*100', out), out[:3000]


def server_properties(folder, port, controller_port, data):
    conf = folder / "server.properties"
    conf.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
""")
    return conf


def test_the_lock_conflicts_both_ways(tmp_path):
    """A folder in use by the one is refused by the other, with a message that names it."""
    data = tmp_path / "data"
    ports = free_port(), free_port()
    conf = server_properties(tmp_path, *ports, data)
    run(MOLDAU, "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
    import subprocess
    import time
    mine = subprocess.Popen([str(MOLDAU), "server", str(conf)], stdout=subprocess.PIPE, text=True)
    try:
        assert any("ready" in line for line in iter(mine.stdout.readline, ""))
        theirs = java("server", "kafka.Kafka", conf, check=False, timeout=60)
        assert theirs.returncode != 0 and "lock" in (theirs.stdout + theirs.stderr).lower()
    finally:
        mine.terminate()
        assert mine.wait(20) == 0
    theirs = java_start("server", "kafka.Kafka", conf, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while run("kcat", "-b", f"127.0.0.1:{ports[0]}", "-L", "-m", "1", check=False).returncode and time.monotonic() < deadline:
            time.sleep(0.3)
        done = run(MOLDAU, "server", conf, check=False, timeout=20)
        assert done.returncode != 0 and str(data) in done.stdout + done.stderr
    finally:
        theirs.terminate()
        theirs.wait(60)
