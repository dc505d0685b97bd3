"""Apache's Java clients with their defaults, by way of its console and performance tools."""
import json

from conftest import java, java_start
from conftest_shared import TOOLS, run

PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"


def test_console_producer_and_consumer_group(node, topic):
    lines = [f"line {i}" for i in range(200)]
    java("tools", PRODUCER, "--bootstrap-server", node.address, "--topic", topic, input="\n".join(lines) + "\n")
    out = java("tools", CONSUMER, "--bootstrap-server", node.address, "--topic", topic, "--from-beginning",
               "--group", topic, "--max-messages", "200", "--timeout-ms", "30000").stdout
    assert out.splitlines() == lines
    described = java("tools", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", node.address,
                     "--describe", "--group", topic).stdout
    row = [line.split() for line in described.splitlines() if topic in line and "0" in line][-1]
    assert row[:6] == [topic, topic, "0", "200", "200", "0"], described


def test_each_codec_from_java_to_kcat_and_back(node, topic):
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        name = f"{topic}-{codec}"
        java("tools", PRODUCER, "--bootstrap-server", node.address, "--topic", name, "--compression-codec", codec,
             input="".join(f"{codec} {i}\n" for i in range(300)))
        out = run("kcat", "-b", node.address, "-C", "-t", name, "-o", "beginning", "-e", "-q").stdout
        assert out == "".join(f"{codec} {i}\n" for i in range(300))
        run("kcat", "-b", node.address, "-P", "-t", name, "-z", codec, input="from kcat\n")
        out = java("tools", CONSUMER, "--bootstrap-server", node.address, "--topic", name, "--from-beginning",
                   "--max-messages", "301", "--timeout-ms", "30000").stdout
        assert out.splitlines()[-1] == "from kcat"


def test_idempotent_verifiable_producer_and_consumer(node, topic):
    out = java("tools", "org.apache.kafka.tools.VerifiableProducer", "--bootstrap-server", node.address, "--topic", topic,
               "--max-messages", "5000", "--acks", "-1").stdout
    last = json.loads(out.splitlines()[-1])
    assert last["sent"] == 5000 and last["acked"] == 5000
    out = java("tools", "org.apache.kafka.tools.VerifiableConsumer", "--bootstrap-server", node.address, "--topic", topic,
               "--group-id", topic, "--max-messages", "5000", "--reset-policy", "earliest").stdout
    consumed = sum(json.loads(line)["count"] for line in out.splitlines() if '"records_consumed"' in line)
    assert consumed == 5000


def test_moldaus_console_tools_speak_with_apaches(node, topic):
    run(TOOLS / "kafka-console-producer.sh", "--bootstrap-server", node.address, "--topic", topic, input="a\nb\n")
    assert java("tools", CONSUMER, "--bootstrap-server", node.address, "--topic", topic, "--from-beginning",
                "--max-messages", "2", "--timeout-ms", "30000").stdout == "a\nb\n"
    java("tools", PRODUCER, "--bootstrap-server", node.address, "--topic", topic, input="c\n")
    assert run(TOOLS / "kafka-console-consumer.sh", "--bootstrap-server", node.address, "--topic", topic, "--from-beginning",
               "--max-messages", "3", "--timeout-ms", "30000").stdout == "a\nb\nc\n"


def lines(text):
    """Apache's tool prints topics and configs in the order of Java's hashes; ours by name."""
    def sorted_configs(line):
        head, configs, values = line.partition("Configs: ")
        return head + configs + ",".join(sorted(values.split(",")))
    return sorted(sorted_configs(line) for line in text.splitlines())


def test_topics_tool_prints_what_apaches_prints(node, topic):
    apache = ["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", node.address]
    mine = [TOOLS / "kafka-topics.sh", "--bootstrap-server", node.address]
    theirs = java("tools", *apache, "--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=3600000").stdout
    assert theirs.strip() == f"Created topic {topic}."
    other = run(*mine, "--create", "--topic", topic + "-2", "--partitions", "3", "--config", "retention.ms=3600000").stdout
    assert other == theirs.replace(topic, topic + "-2")
    for words in (["--list"], ["--describe", "--topic", topic], ["--describe", "--topic", topic + "-2"], ["--describe"]):
        assert lines(run(*mine, *words).stdout) == lines(java("tools", *apache, *words).stdout), words
    missing = java("tools", *apache, "--describe", "--topic", "nowhere", check=False)
    ours = run(*mine, "--describe", "--topic", "nowhere", check=False)
    assert ours.returncode == missing.returncode and ours.stdout.splitlines()[0] == missing.stdout.splitlines()[0]
    java("tools", *apache, "--delete", "--topic", topic)
    assert topic not in run(*mine, "--list").stdout.split()
