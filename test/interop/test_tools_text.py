"""The same question to the same broker by Apache's tool and by ours: the same text.

What may differ, and why:
- the order of rows, where Apache's tools tell them in the order of a hash map: rows are compared sorted;
- members of a JSON object, for the same reason: values are compared;
- numbers that move between two calls (the metadata log's end, times): digits are compared with digits;
- names of metadata.version levels that tools of 4.3 do not know yet.

What differs on purpose, and is not compared:
- --help is an answer here: standard output, exit status 0 (most of Kafka's tools: standard error, 1); its words are our own;
- a wrong command line is told with the options behind it, and ends with 1 in kafka-consumer-groups.sh, too, whose Java
  program ends with 0 after a number that is none;
- stack traces and log lines on standard error; lists of a Java set, whose order is chance from one run to the next;
- kafka-storage.sh format does not print the keys of the SCRAM credentials that it writes;
- a file that is missing is an error of kafka-dump-log.sh, whatever its name ends with; a decoder's number of the wrong
  size is told and the next record read;
- kafka-delete-records.sh ends with 1 when nobody answers; partition -1 is refused by kafka-console-consumer.sh;
- --print-metrics tells the totals, not each of the Java client's metrics.
"""
import json
import re
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import java
from conftest_shared import TOOLS, run

CLASSES = {
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "configs": "kafka.admin.ConfigCommand", "features": "org.apache.kafka.tools.FeatureCommand", "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "topics": "org.apache.kafka.tools.TopicCommand", "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer", "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool", "log-dirs": "org.apache.kafka.tools.LogDirsCommand", "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
}
TOPIC, GROUP = "texts", "readers"


@pytest.fixture(scope="module")
def address(node):
    """A broker with a topic of three partitions, part of which a group has read, and a topic with configurations."""
    run(TOOLS / "kafka-topics.sh", "--bootstrap-server", node.address, "--create", "--topic", TOPIC, "--partitions", "3")
    run(TOOLS / "kafka-topics.sh", "--bootstrap-server", node.address, "--create", "--topic", "configured", "--config", "retention.ms=1000", "--config", "cleanup.policy=compact,delete")
    producer = Producer({"bootstrap.servers": node.address})
    for i in range(30):
        producer.produce(TOPIC, partition=i % 3, value=str(i), timestamp=1_600_000_000_000 + i * 1000)
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": GROUP})
    consumer.commit(offsets=[TopicPartition(TOPIC, 0, 3), TopicPartition(TOPIC, 2, 10)], asynchronous=False)
    consumer.close()
    return node.address


def both(name, *words):
    mine = run(TOOLS / f"kafka-{name}.sh", *words, check=False)
    theirs = java("tools", CLASSES[name], *words, check=False)
    assert mine.returncode == theirs.returncode, (mine, theirs)
    return mine, theirs


def same(name, *words, mask=None):
    mine, theirs = (sorted(re.sub(mask, "#", done.stdout).splitlines() if mask else done.stdout.splitlines()) for done in both(name, *words))
    assert mine == theirs and mine


@pytest.mark.parametrize("words", [
    ["--list"], ["--list", "--type", "--state"], ["--list", "--state", "Empty"], ["--describe", "--group", GROUP], ["--describe", "--group", GROUP, "--verbose"],
    ["--describe", "--group", GROUP, "--members", "--verbose"], ["--describe", "--all-groups", "--state", "--verbose"], ["--describe", "--group", "nobody"],
    ["--reset-offsets", "--group", GROUP, "--all-topics", "--to-earliest", "--dry-run"], ["--reset-offsets", "--group", GROUP, "--topic", TOPIC, "--to-current", "--dry-run"],
    ["--reset-offsets", "--group", GROUP, "--topic", f"{TOPIC}:0,2", "--shift-by", "2", "--dry-run", "--export"],
    ["--reset-offsets", "--all-groups", "--all-topics", "--to-datetime", "2020-09-13T12:26:52.500", "--dry-run", "--export"],
    ["--reset-offsets", "--group", "new", "--topic", TOPIC, "--by-duration", "PT1S", "--dry-run"], ["--reset-offsets", "--group", GROUP, "--topic", "missing", "--to-latest", "--dry-run"],
    ["--reset-offsets", "--group", GROUP, "--all-topics", "--by-duration", "P100000D", "--dry-run"], ["--reset-offsets", "--group", GROUP, "--from-file", "/nope", "--dry-run"],
    ["--reset-offsets", "--group", GROUP, "--topic", f"{TOPIC}:9", "--to-latest", "--dry-run"], ["--reset-offsets", "--group", GROUP, "--all-topics", "--to-datetime", "2020-09-13", "--dry-run"],
    ["--delete", "--group", "nobody"], ["--delete-offsets", "--group", GROUP, "--topic", "missing"],
])
def test_groups(address, words):
    same("consumer-groups", "--bootstrap-server", address, *words)


def test_a_group_with_members(address):
    consumer = Consumer({"bootstrap.servers": address, "group.id": "live", "client.id": "here", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    deadline = time.monotonic() + 30
    while not consumer.assignment():
        consumer.poll(0.2)
        assert time.monotonic() < deadline
    for words in ([], ["--members"], ["--members", "--verbose"], ["--state"]):
        consumer.poll(0)
        same("consumer-groups", "--bootstrap-server", address, "--describe", "--group", "live", *words)
    consumer.close()


@pytest.mark.parametrize("words", [
    [], ["--time", "earliest"], ["--time", "max-timestamp"], ["--time", "1600000005000"], ["--topic", "te.*", "--partitions", "0,2"], ["--topic-partitions", f"{TOPIC}:1-,conf.*"], ["--topic", "missing"],
])
def test_offsets(address, words):
    same_or_silent = both("get-offsets", "--bootstrap-server", address, *words)
    assert same_or_silent[0].stdout == same_or_silent[1].stdout
    if same_or_silent[0].returncode:
        assert same_or_silent[0].stderr.splitlines()[0] in same_or_silent[1].stderr.splitlines()


@pytest.mark.parametrize("words", [
    ["--topic", "configured"], ["--topic", "configured", "--all"], ["--entity-type", "topics"], ["--topic", "missing"], ["--broker", "1"], ["--broker", "1", "--all"], ["--broker-defaults"],
    ["--entity-type", "brokers"], ["--group", GROUP, "--all"], ["--entity-type", "client-metrics", "--entity-name", "missing"],
])
def test_configs(address, words):
    same("configs", "--bootstrap-server", address, "--describe", *words)


def test_configs_are_changed(address):
    """Set by ours and seen by theirs, and the other way round; what is refused is refused in the same words."""
    at = ["--bootstrap-server", address, "--alter", "--topic", "configured"]
    for name, value in (("segment.ms", "70000"), ("segment.ms", "80000")):
        mine, theirs = both("configs", *at, "--add-config", f"{name}={value}")
        assert mine.stdout == theirs.stdout == "Completed updating config for topic configured.\n"
        same("configs", "--bootstrap-server", address, "--describe", "--topic", "configured")
    same("configs", *at, "--delete-config", "max.message.bytes")
    for words in (["--add-config", "frob"], ["--add-config", "a/b=c"], ["--add-config", "segment.ms=frob"]):
        mine, theirs = both("configs", *at, *words)
        assert mine.returncode == 1 and set(mine.stderr.splitlines()) <= set(theirs.stderr.splitlines())


def test_the_rest(address, tmp_path):
    at = ["--bootstrap-server", address]
    same("metadata-quorum", *at, "describe", "--status", mask=r"(?<=HighWatermark:          )\d+")
    same("metadata-quorum", *at, "describe", "--replication", mask=r"\d+ *")
    same("cluster", "cluster-id", *at)
    same("cluster", "list-endpoints", *at)
    same("features", *at, "describe", mask=r"4\.4-IV2   |UNKNOWN 33|Epoch: \d+")
    same("features", *at, "version-mapping", "--release-version", "4.0")
    same("features", *at, "feature-dependencies", "--feature", "share.version=1")

    def directories(text):
        first, second, found = text.splitlines()
        brokers = json.loads(found)["brokers"]
        for broker in brokers:
            for directory in broker["logDirs"]:
                directory["partitions"].sort(key=lambda partition: partition["partition"])
        return first, second, brokers

    mine, theirs = both("log-dirs", *at, "--describe", "--topic-list", TOPIC)
    assert directories(mine.stdout) == directories(theirs.stdout)
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps({"partitions": [{"topic": TOPIC, "partition": 1, "offset": 2}], "version": 1}))
    same("delete-records", *at, "--offset-json-file", path)


@pytest.mark.parametrize("name, words", [
    ("topics", ["--describe", "--topic", "a", "--topic", "b"]), ("get-offsets", ["--topic", "a", "--topic", "b"]), ("configs", ["--describe", "--topic", "a", "--topic", "b"]),
    ("console-consumer", ["--topic", "a", "--topic", "b"]), ("topics", ["--frob"]), ("topics", ["--list", "--topi", "x"]), ("topics", ["-list"]), ("cluster", ["clus"]), ("cluster", ["frob"]),
    ("cluster", []), ("features", ["frob"]), ("features", ["describe", "stray"]), ("metadata-quorum", ["describe"]), ("configs", ["--describe", "--ip", "no.such.invalid"]),
    ("console-consumer", ["--topic", "no/name", "--timeout-ms", "3000"]), ("console-consumer", ["--topic", TOPIC, "--command-property", "group.protocol=frob"]),
])
def test_what_is_refused_and_taken(address, name, words):
    """The exit status, and where there is any, the text on standard output but what is said of a wrong command line."""
    mine, theirs = both(name, *words, *(["--bootstrap-server", address] if words else []))
    if not mine.returncode:
        assert mine.stdout == theirs.stdout


@pytest.mark.parametrize("servers", ["nohost", "nowhere.invalid:9092", ""])
@pytest.mark.parametrize("name, words", [("topics", ["--list"]), ("consumer-groups", ["--list"]), ("configs", ["--describe", "--entity-type", "topics"]), ("get-offsets", []),
                                         ("cluster", ["cluster-id"]), ("console-consumer", ["--topic", TOPIC])])
def test_servers_that_cannot_be(servers, name, words):
    mine, theirs = both(name, *words, "--bootstrap-server", servers)
    assert mine.stdout == theirs.stdout


@pytest.mark.parametrize("formatter", ["OffsetsMessageFormatter", "GroupMetadataMessageFormatter", "TransactionLogMessageFormatter", "NoOpMessageFormatter"])
def test_formatters_of_kafkas_own_topics(address, formatter):
    """The same objects; of partitions whose order is chance."""
    words = ["--bootstrap-server", address, "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "8000", "--partition", "0"]
    for partition in range(50):
        words[-1] = str(partition)
        if run(TOOLS / "kafka-get-offsets.sh", "--bootstrap-server", address, "--topic-partitions", f"__consumer_offsets:{partition}").stdout.strip().endswith(":0"):
            continue
        mine, theirs = both("console-consumer", *words, "--formatter", "org.apache.kafka.tools.consumer." + formatter)
        assert mine.stdout == theirs.stdout
        break
