"""What Moldau does not serve yet survives it, readers of each make over the other's files, and the second copies."""
import hashlib
import json
import os
import re
import signal
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from conftest import java
from conftest_shared import MOLDAU, TOOLS, free_port, run
from messages import Connection
from test_files import DUMP, address_of, apache, commit, committed, create, moldau, read_all, same_dump, server_properties

CONFIGS = "kafka.admin.ConfigCommand"
ONLY_APACHE = {"CLIENT_QUOTA_RECORD", "USER_SCRAM_CREDENTIAL_RECORD", "ACCESS_CONTROL_ENTRY_RECORD", "CONFIG_RECORD", "FEATURE_LEVEL_RECORD",
               "TOPIC_RECORD"}


def logs_of(data, topic):
    return sorted(data.glob(f"{topic}-*/*.log"))


def sums(data, topic):
    return {f"{p.parent.name}/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in logs_of(data, topic) if p.stat().st_size}


def metadata_records(files):
    """The records of these files, as Apache's tool prints them: (type, text)."""
    out = java("tools", DUMP, "--files", ",".join(map(str, files)), "--cluster-metadata-decoder").stdout
    found = set()
    for text in re.findall(r"payload: (\{.*\})", out):
        record = json.loads(text)
        record.pop("version", None)  # of the record's form
        found.add((record["type"], json.dumps(record, sort_keys=True)))
    return found


def coordinator_records(data):
    """Of each key in __consumer_offsets the last value, as Apache's tool prints them."""
    files = [p for p in logs_of(data, "__consumer_offsets") if p.stat().st_size]
    out = java("tools", DUMP, "--files", ",".join(map(str, files)), "--offsets-decoder").stdout
    assert "isvalid: false" not in out
    last = {}
    for key, value in re.findall(r"key: (\{.*?\}) payload: (.*)$", out, re.M):
        last[key] = value
    return last


def newest_snapshot(data):
    return sorted((data / "__cluster_metadata-0").glob("*.checkpoint"))[-1]


def shell(snapshot, *words):
    return java("shell", "org.apache.kafka.shell.MetadataShell", "--snapshot", snapshot, *words).stdout


def make_newer_groups(address):
    """A group of the consumer protocol, a share group and a streams group, each with a member, on the topic "t"."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "newer", "group.protocol": "consumer", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False})
    consumer.subscribe(["t"])
    deadline, count = time.monotonic() + 60, 0
    while count < 50 and time.monotonic() < deadline:
        count += sum(message.error() is None for message in consumer.consume(50 - count, 1.0))
    assert count == 50
    consumer.commit(asynchronous=False)
    consumer.close()
    connection = Connection(int(address.split(":")[1]))
    member = str(uuid.uuid4())
    topology = {"Epoch": 1, "Subtopologies": [{"SubtopologyId": "0", "SourceTopics": ["t"], "SourceTopicRegex": [], "StateChangelogTopics": [],
                                              "RepartitionSinkTopics": [], "RepartitionSourceTopics": [], "CopartitionGroups": []}]}
    deadline = time.monotonic() + 60
    while True:
        answer = connection.ask("StreamsGroupHeartbeat", 0, GroupId="streaming", MemberId=member, MemberEpoch=0, EndpointInformationEpoch=0, RebalanceTimeoutMs=60000, Topology=topology,
                                ActiveTasks=[], StandbyTasks=[], WarmupTasks=[], ProcessId="p", ClientTags=[])
        if answer["ErrorCode"] == 0:
            break
        assert time.monotonic() < deadline, answer
        time.sleep(0.3)
    connection.close()
    java("tools", CONFIGS, "--bootstrap-server", address, "--alter", "--entity-type", "groups", "--entity-name", "shared",
         "--add-config", "share.auto.offset.reset=earliest")
    shown = java("tools", "org.apache.kafka.tools.consumer.ConsoleShareConsumer", "--bootstrap-server", address, "--topic", "t", "--group", "shared",
                 "--max-messages", "30", "--timeout-ms", "60000", check=False)
    assert len(shown.stdout.splitlines()) == 30, shown.stderr


def transactions(address):
    producer = Producer({"bootstrap.servers": address, "transactional.id": "x"})
    producer.init_transactions(60)
    for i in range(4):
        producer.begin_transaction()
        producer.produce("tx", f"{i}")
        assert producer.flush(30) == 0
        producer.abort_transaction(30) if i % 2 else producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce("tx", "open")
    assert producer.flush(30) == 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_moldau_does_not_serve_survives(tmp_path, end):
    """Records of kinds that Moldau does not act on: groups of the newer protocols, quotas, credentials, ACLs, configs of things
    that it does not know. Apache writes them; Moldau loads them, compacts their log and writes snapshots; then both lie as they did."""
    data = tmp_path / "data"
    conf = server_properties(tmp_path, data, free_port(), free_port())
    conf.write_text(conf.read_text() + """offsets.topic.segment.bytes=1048576
metadata.log.max.record.bytes.between.snapshots=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
""")
    address = address_of(conf)
    plain = conf.read_text()
    java("server", "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
    conf.write_text(plain + "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nallow.everyone.if.no.acl.found=true\nsuper.users=User:ANONYMOUS\n")
    with apache(conf):
        create(address, NewTopic("t", 2, 1, config={"retention.ms": "123456789"}), NewTopic("tx", 1, 1))
        producer = Producer({"bootstrap.servers": address})
        for i in range(100):
            producer.produce("t", f"value {i}", partition=i % 2)
        assert producer.flush(30) == 0
        make_newer_groups(address)
        for words in (("users", "u", "producer_byte_rate=1024"), ("users", "v", "SCRAM-SHA-256=[iterations=4096,password=secret]"),
                      ("client-metrics", "m", "interval.ms=1000,metrics=org.apache.kafka."), ("brokers", "1", "log.cleaner.backoff.ms=150")):
            java("tools", CONFIGS, "--bootstrap-server", address, "--alter", "--entity-type", words[0], "--entity-name", words[1], "--add-config", words[2])
        java("tools", "org.apache.kafka.tools.AclCommand", "--bootstrap-server", address, "--add", "--allow-principal", "User:w", "--operation", "Read",
             "--topic", "t")
        commit(address, "older", "t", 7)
        transactions(address)
        groups = set(java("tools", "org.apache.kafka.tools.GroupsCommand", "--bootstrap-server", address, "--list").stdout.split("\n"))
        shares = java("tools", "org.apache.kafka.tools.consumer.group.ShareGroupCommand", "--bootstrap-server", address, "--describe", "--group", "shared").stdout
    states = {topic: sums(data, topic) for topic in ("__transaction_state", "__share_group_state")}
    assert all(states.values()), states
    before = {r for r in metadata_records([*sorted((data / "__cluster_metadata-0").glob("*.checkpoint")), *logs_of(data, "__cluster_metadata")])
              if r[0] in ONLY_APACHE}
    assert {kind for kind, _ in before} == ONLY_APACHE
    records = coordinator_records(data)
    kinds = {json.loads(key)["type"] for key in records}
    assert kinds >= {"1", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"} or len(kinds) > 8, kinds
    snapshot = newest_snapshot(data)
    files_before = {p.parent.name + "/" + p.name for p in logs_of(data, "__consumer_offsets")}

    conf.write_text(plain)
    with moldau(conf, end=end):
        assert committed(address, "older", "t") == 7
        # Enough commits for each partition of __consumer_offsets to roll, and to be compacted.
        consumers = [Consumer({"bootstrap.servers": address, "group.id": f"filler-{i}", "enable.auto.commit": False}) for i in range(9)]
        for n in range(250):
            for consumer in consumers:
                consumer.commit(offsets=[TopicPartition("t", p, n, metadata="x" * 700) for p in range(2)], asynchronous=False)
        for consumer in consumers:
            consumer.close()
        create(address, *(NewTopic(f"more-{i}", 1, 1) for i in range(20)))
        deadline = time.monotonic() + 60
        while newest_snapshot(data) == snapshot or files_before & {p.parent.name + "/" + p.name for p in logs_of(data, "__consumer_offsets") if p.stat().st_size > 500000}:
            assert time.monotonic() < deadline, "no snapshot, or not compacted"
            time.sleep(0.2)
        assert read_all(address, "tx", "read_committed") == ["0", "2"]
    for topic, sum_before in states.items():
        assert sums(data, topic) == sum_before, topic
    after = metadata_records([newest_snapshot(data)])
    missing = before - after
    assert not missing, missing
    left = coordinator_records(data)
    foreign = {key: value for key, value in records.items() if json.loads(key)["type"] not in ("0", "1", "2")}
    assert len(foreign) > 8 and {key: left.get(key) for key in foreign} == foreign
    conf.write_text(plain + "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nallow.everyone.if.no.acl.found=true\nsuper.users=User:ANONYMOUS\n")
    with apache(conf):
        now = set(java("tools", "org.apache.kafka.tools.GroupsCommand", "--bootstrap-server", address, "--list").stdout.split("\n"))
        assert groups <= now, groups - now
        assert java("tools", "org.apache.kafka.tools.consumer.group.ShareGroupCommand", "--bootstrap-server", address, "--describe", "--group", "shared").stdout == shares
        assert sum(p.offset for p in offsets_of(address, "newer")) == 50
        assert committed(address, "older", "t") == 7
        assert "User:w" in java("tools", "org.apache.kafka.tools.AclCommand", "--bootstrap-server", address, "--list").stdout
        assert "producer_byte_rate=1024" in java("tools", CONFIGS, "--bootstrap-server", address, "--describe", "--entity-type", "users", "--entity-name", "u").stdout
        producer = Producer({"bootstrap.servers": address, "transactional.id": "x"})
        producer.init_transactions(60)  # ends the one that was left open
        producer.begin_transaction()
        producer.produce("tx", "after")
        producer.commit_transaction(30)
        assert read_all(address, "tx", "read_committed") == ["0", "2", "after"]


def offsets_of(address, group):
    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    found = consumer.committed([TopicPartition("t", p) for p in range(2)], timeout=30)
    consumer.close()
    return [p for p in found if p.offset >= 0]


def test_readers_of_both_makes_over_the_others_files(tmp_path):
    """kafka-storage info says the same of a directory whoever formatted it; Apache's shell (of 4.3: hence the release) reads
    Moldau's snapshots as its own; Moldau's dump reads every file that Apache left."""
    said, trees = {}, {}
    for maker in ("apache", "moldau"):
        folder = tmp_path / maker
        folder.mkdir()
        conf = server_properties(folder, tmp_path / "data", free_port(), free_port())
        conf.write_text(conf.read_text() + "metadata.log.max.record.bytes.between.snapshots=1000\n")
        if maker == "apache":
            java("server", "kafka.tools.StorageTool", "format", "--release-version", "4.3", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
        else:
            os.rename(tmp_path / "data", tmp_path / "data-of-apache")
            run(TOOLS / "kafka-storage.sh", "format", "--release-version", "4.3", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
        theirs = java("server", "kafka.tools.StorageTool", "info", "-c", conf, check=False)
        mine = run(TOOLS / "kafka-storage.sh", "info", "-c", conf, check=False)
        normal = [re.sub(r"directory\.id=\S+|directoryId=\S+", "directory.id", text.stdout.strip()) for text in (theirs, mine)]
        assert normal[0] == normal[1] and theirs.returncode == mine.returncode == 0
        said[maker] = normal[0]
        with (apache if maker == "apache" else moldau)(conf):
            address = address_of(conf)
            create(address, *(NewTopic(f"t{i}", 2, 1, config={"retention.ms": str(1000000 + i)}) for i in range(10)))
            for i in range(10):
                run("kcat", "-b", address, "-P", "-t", f"t{i}", input="a value\n")
            commit(address, "g", "t1", 1)
        data = tmp_path / "data"
        files = [p for p in data.glob("*/*") if p.suffix in (".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".checkpoint") and p.stat().st_size]
        metadata = [p for p in files if p.parent.name.startswith("__cluster_metadata") and p.suffix in (".log", ".checkpoint")]
        assert any(p.suffix == ".checkpoint" and p.stat().st_size > 1000 for p in metadata)
        out, _ = same_dump("--files", ",".join(map(str, metadata)), "--cluster-metadata-decoder")
        assert "TOPIC_RECORD" in out
        same_dump("--files", ",".join(str(p) for p in files if p.suffix == ".log" and p.parent.name.startswith("__consumer")), "--offsets-decoder")
        assert run(MOLDAU, "dump", *{p.parent for p in files}, data).stderr == ""
        tree = shell(newest_snapshot(data), "find", "/image")
        assert "/image/topics/byName/t9/1" in tree and "/image/configs/TOPIC:t1" in tree, tree
        trees[maker] = {line for line in tree.splitlines() if "byId" not in line}
    assert said["apache"] == said["moldau"]
    assert trees["apache"] == trees["moldau"]


def refused(conf):
    done = run(MOLDAU, "server", conf, check=False, timeout=30)
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_second_copies_after_a_foreign_writer(tmp_path):
    """The second copy stands for a file only as long as nobody else has written it since."""
    data = tmp_path / "data"
    conf = server_properties(tmp_path, data, free_port(), free_port())
    run(TOOLS / "kafka-storage.sh", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
    state, properties = data / "__cluster_metadata-0" / "quorum-state", data / "meta.properties"
    with moldau(conf):
        create(address_of(conf), NewTopic("t", 1, 1))
    # Rot in Moldau's own file: the copy stands for it.
    good = state.read_bytes()
    at = state.stat()
    state.write_bytes(good.replace(b'"leaderEpoch":', b'"leaderEpoch":9'))
    os.utime(state, ns=(at.st_atime_ns, at.st_mtime_ns))
    with moldau(conf):
        epoch = json.loads(state.read_text())["leaderEpoch"]
        assert epoch < 90
    for file in (state, properties):
        kept = file.read_bytes()
        file.write_bytes(b"\0" * len(kept))
        with moldau(conf):
            pass
        assert file.read_bytes()[:1] != b"\0"
    # Apache writes: its file wins, whatever the copy says.
    copy = (data / "__cluster_metadata-0" / "moldau.quorum-state").read_bytes()
    with apache(conf):
        create(address_of(conf), NewTopic("of-apache", 1, 1))
    assert (data / "__cluster_metadata-0" / "moldau.quorum-state").read_bytes() == copy
    theirs = json.loads(state.read_text())["leaderEpoch"]
    assert theirs > epoch
    with moldau(conf):
        assert read_all(address_of(conf), "of-apache") == []
    assert json.loads(state.read_text())["leaderEpoch"] > theirs
    # Apache writes, and then its file is lost: the copy is older than the log, and stands for nothing.
    with apache(conf):
        pass
    kept = state.read_bytes()
    state.write_bytes(b"\0" * len(kept))
    assert "quorum-state" in refused(conf)
    state.write_bytes(kept)
    with moldau(conf):
        assert read_all(address_of(conf), "of-apache") == []
    # Another writer's meta.properties wins when it parses.
    text = properties.read_text()
    properties.write_text("#somebody else\n" + text)
    with moldau(conf):
        pass
    assert sorted(re.findall(r"^[^#].*", properties.read_text(), re.M)) == sorted(re.findall(r"^[^#].*", text, re.M))
