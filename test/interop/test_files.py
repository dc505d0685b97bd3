"""Apache's readers and its node over Moldau's files, Moldau over Apache's, and the lock that keeps two nodes out of one folder."""
import contextlib
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from conftest import java, java_start
from conftest_shared import MOLDAU, TOOLS, free_port, run

DUMP = "org.apache.kafka.tools.DumpLogSegments"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
DECODERS = {"__cluster_metadata-": "--cluster-metadata-decoder", "__consumer_offsets-": "--offsets-decoder"}


def same_dump(*words):
    """Apache's tool and Moldau's, over the same files with the same words: answers the text that both print."""
    theirs = java("tools", DUMP, *words)
    mine = run(TOOLS / "kafka-dump-log.sh", *words, check=False)
    assert mine.stdout == theirs.stdout
    return theirs.stdout, theirs.stderr


def dump_all(folder):
    """All that a node left: whole, the same by both tools, nothing that either of them calls wrong. Answers the text."""
    folder, text = pathlib.Path(folder), ""
    logs = [p for p in sorted(folder.glob("*/*.log")) if p.stat().st_size]
    for begin in ("__cluster_metadata-", "__consumer_offsets-", ""):
        files = [p for p in logs if p.parent.name.startswith(begin) and (begin or not p.parent.name.startswith("__"))]
        if not files:
            continue
        out, errors = same_dump("--files", ",".join(map(str, files)), DECODERS.get(begin, "--print-data-log"))
        assert "isvalid: false" not in out and "invalid bytes" not in out and "Error at" not in out
        text += out
    indexes = [p for kind in ("index", "timeindex", "txnindex", "snapshot") for p in sorted(folder.glob(f"*/*.{kind}"))]
    out, errors = same_dump("--files", ",".join(map(str, indexes)))
    for wrong in ("Mismatches", "mismatch", "not found", "out of order", "corrupt"):
        assert wrong not in errors, errors
    checked = [p for p in indexes if p.suffix in (".index", ".timeindex")]
    out, errors = same_dump("--files", ",".join(map(str, checked)), "--index-sanity-check")
    assert all(f"{p} passed sanity check." in out or f"{p} is empty." in out for p in checked), out
    assert run(MOLDAU, "dump", *{p.parent for p in logs}, folder).stderr == ""
    return text


def server_properties(folder, data, port, controller_port):
    conf = folder / "server.properties"
    conf.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:{controller_port}
listeners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller_port}
advertised.listeners=PLAINTEXT://localhost:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=200
""")
    return conf


@contextlib.contextmanager
def serving(process, address, end=signal.SIGTERM):
    """While a node of either make serves."""
    try:
        deadline = time.monotonic() + 180
        while run("kcat", "-b", address, "-L", "-m", "1", check=False).returncode:
            assert process.poll() is None and time.monotonic() < deadline, f"no node at {address}: exit {process.poll()}"
            time.sleep(0.3)
        yield
    finally:
        if process.poll() is None:
            process.send_signal(end)
        process.wait(60)


def moldau(conf, **more):
    return serving(subprocess.Popen([str(MOLDAU), "server", str(conf)], stdout=subprocess.DEVNULL), address_of(conf), **more)


def apache(conf, **more):
    return serving(java_start("server", "kafka.Kafka", conf, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), address_of(conf), **more)


def address_of(conf):
    return next(line for line in conf.read_text().splitlines() if line.startswith("advertised")).split("//")[1]


@pytest.fixture
def conf(tmp_path):
    conf = server_properties(tmp_path, tmp_path / "data", free_port(), free_port())
    run(TOOLS / "kafka-storage.sh", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
    return conf


def write_codecs(address, topic, tag, count=200):
    for codec in CODECS:
        producer = Producer({"bootstrap.servers": address, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20})
        for i in range(count):
            producer.produce(topic, key=f"{tag}{i}", value=f"{tag} {i} of {codec} again and again", headers={"h": str(i)})
        assert producer.flush(30) == 0


def values_of_codecs(*tags, count=200):
    return sorted(f"{tag} {i} of {codec} again and again" for tag in tags for codec in CODECS for i in range(count))


def create(address, *topics):
    admin = AdminClient({"bootstrap.servers": address})  # the answers end with it
    for created in admin.create_topics(list(topics)).values():
        created.result(30)


def config_of(address, topic):
    admin = AdminClient({"bootstrap.servers": address})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return admin.describe_configs([resource])[resource].result(30)


def read_all(address, topic, isolation="read_uncommitted"):
    out = run("kcat", "-b", address, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", f"isolation.level={isolation}").stdout
    return sorted(out.splitlines())


def commit(address, group, topic, offset):
    consumer = Consumer({"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def committed(address, group, topic):
    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    offset = consumer.committed([TopicPartition(topic, 0)], timeout=20)[0].offset
    consumer.close()
    return offset


def test_both_tools_read_moldaus_files_alike(own_node):
    """After a clean stop, and after a kill in the middle of a produce: whole files, the same text from both tools."""
    write_codecs(own_node.address, "dumped", "a")
    run("kcat", "-b", own_node.address, "-G", "a-group", "-X", "auto.offset.reset=earliest", "-e", "-q", "dumped")
    own_node.stop()
    text = dump_all(own_node.folder)
    for kind in ("LeaderChange", "REGISTER_BROKER_RECORD", "FEATURE_LEVEL_RECORD", "TOPIC_RECORD", "PARTITION_RECORD",
                 '"group":"a-group"', '"offset":1000', *(f"payload: a 199 of {codec}" for codec in CODECS)):
        assert kind in text, kind
    own_node.start()
    producer = Producer({"bootstrap.servers": own_node.address, "linger.ms": 1})
    acknowledged = []
    for i in range(3000):
        producer.produce("dumped", value=f"late {i}", callback=lambda error, message: error or acknowledged.append(message.value()))
        producer.poll(0)
    producer.poll(0.05)
    own_node.kill()
    sure = {value.decode() for value in acknowledged}
    del producer
    text = dump_all(own_node.folder)
    found = {line.split("payload: ")[1] for line in text.splitlines() if "payload: late" in line}
    assert sure <= found
    own_node.start()
    assert sure <= set(read_all(own_node.address, "dumped"))


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_apache_serves_what_moldau_wrote(conf, end):
    """Records of all codecs, offsets of groups, topics and their configs; then Moldau again, over what Apache left of it."""
    address = address_of(conf)
    with moldau(conf, end=end):
        create(address, NewTopic("t", 1, 1, config={"retention.ms": "123456789"}))
        write_codecs(address, "t", "moldau")
        commit(address, "g", "t", 77)
    with apache(conf):
        assert read_all(address, "t") == values_of_codecs("moldau")
        assert committed(address, "g", "t") == 77
        assert config_of(address, "t")["retention.ms"].value == "123456789"
        described = java("tools", GROUPS, "--bootstrap-server", address, "--describe", "--group", "g").stdout
        assert ["g", "t", "0", "77", "1000", "923"] in [line.split()[:6] for line in described.splitlines()], described
        write_codecs(address, "t", "apache")
        commit(address, "g", "t", 88)
    with moldau(conf):
        assert read_all(address, "t") == values_of_codecs("moldau", "apache")
        assert committed(address, "g", "t") == 88
        write_codecs(address, "t", "again")
    with apache(conf):
        assert read_all(address, "t") == values_of_codecs("moldau", "apache", "again")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_moldau_serves_what_apache_wrote(conf, end):
    """All codecs, a compacted topic, committed, aborted and open transactions, offsets of a group and of a transaction."""
    address = address_of(conf)
    with apache(conf, end=end):
        create(address, NewTopic("t", 1, 1), NewTopic("tx", 1, 1),
               NewTopic("c", 1, 1, config={"cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "500"}))
        write_codecs(address, "t", "apache")
        commit(address, "g", "t", 55)
        producer = Producer({"bootstrap.servers": address, "transactional.id": "x", "linger.ms": 5})
        producer.init_transactions(30)
        reader = Consumer({"bootstrap.servers": address, "group.id": "tx-g"})
        for i in range(6):
            producer.begin_transaction()
            for k in range(10):
                producer.produce("tx", value=f"{'abort' if i % 2 else 'commit'} {i} {k}")
            producer.flush(30)
            producer.send_offsets_to_transaction([TopicPartition("t", 0, 100 + i)], reader.consumer_group_metadata(), 30)
            producer.abort_transaction(30) if i % 2 else producer.commit_transaction(30)
        reader.close()
        compacting = Producer({"bootstrap.servers": address})
        for i in range(12):
            for k in range(5):
                compacting.produce("c", key=f"k{k}", value=f"{i} of k{k}")
            compacting.flush(30)
            time.sleep(0.6 if i > 8 else 0)
        data = conf.parent / "data"
        deadline = time.monotonic() + 30
        while len(read_all(address, "c")) > 30 and time.monotonic() < deadline:
            time.sleep(0.5)
        compacted = read_all(address, "c")
        assert len(compacted) <= 30, "Apache compacted nothing"
        producer.begin_transaction()
        producer.produce("tx", value="open 6 0")
        producer.flush(30)
    done = [f"commit {i} {k}" for i in (0, 2, 4) for k in range(10)]
    gone = [f"abort {i} {k}" for i in (1, 3, 5) for k in range(10)]
    with moldau(conf):
        assert read_all(address, "t") == values_of_codecs("apache")
        assert read_all(address, "c") == compacted
        uncommitted = read_all(address, "tx")
        assert uncommitted == sorted(done + gone + ["open 6 0"])
        assert read_all(address, "tx", "read_committed") == sorted(done)
        assert committed(address, "g", "t") == 55
        assert committed(address, "tx-g", "t") == 104
        write_codecs(address, "t", "moldau")
        run("kcat", "-b", address, "-P", "-t", "c", "-K", ":", input="k0:moldau\n")
    assert run(MOLDAU, "dump", *sorted(data.iterdir()), check=False).stdout.count("Damaged") == 0
    with apache(conf):
        assert read_all(address, "t") == values_of_codecs("apache", "moldau")
        assert "moldau" in read_all(address, "c")
        assert read_all(address, "tx", "read_committed") == sorted(done)


def test_the_lock_conflicts_both_ways(tmp_path):
    """A folder in use by the one is refused by the other, with a message that names it. The metadata log has a folder of
    its own: Apache locks that before it touches it, but in a shared folder it opens the metadata log before any lock."""
    data, meta, copy = tmp_path / "data", tmp_path / "meta", tmp_path / "copy"
    conf = server_properties(tmp_path, data, free_port(), free_port())
    conf.write_text(conf.read_text() + f"metadata.log.dir={meta}\n")
    run(TOOLS / "kafka-storage.sh", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(meta, copy)
    elsewhere = server_properties(other, data, free_port(), free_port())
    elsewhere.write_text(elsewhere.read_text() + f"metadata.log.dir={copy}\n")
    with moldau(conf):
        for file, locked in ((conf, meta), (elsewhere, data)):
            theirs = java("server", "kafka.Kafka", file, check=False, timeout=60)
            said = theirs.stdout + theirs.stderr
            assert theirs.returncode != 0 and "lock on file .lock in " + str(locked) in said, said
        create(address_of(conf), NewTopic("t", 1, 1))
        write_codecs(address_of(conf), "t", "locked")
    assert run(MOLDAU, "dump", *sorted(data.iterdir()), *sorted(meta.iterdir()), check=False).stdout.count("Damaged") == 0
    with apache(conf):
        assert read_all(address_of(conf), "t") == values_of_codecs("locked")
        mine = run(MOLDAU, "server", conf, check=False, timeout=20)
        assert mine.returncode != 0 and str(tmp_path) in mine.stdout + mine.stderr, mine.stderr
