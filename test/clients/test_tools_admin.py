"""kafka-configs.sh, kafka-get-offsets.sh, kafka-delete-records.sh and kafka-log-dirs.sh against a node."""
import json

import pytest

from conftest_shared import TOOLS, run


def tool(node, name, *words, **more):
    return run(TOOLS / f"kafka-{name}.sh", "--bootstrap-server", node.address, *words, **more)


@pytest.fixture
def filled(node, topic):
    """A topic of two partitions with 4 and 0 records, the times of which are 1000, 2000, 3000, 4000."""
    tool(node, "topics", "--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=-1")
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": node.address})
    for i in range(4):
        producer.produce(topic, partition=0, value=str(i), timestamp=(i + 1) * 1000)
    assert producer.flush(20) == 0
    return topic


@pytest.mark.parametrize("words, expected", [
    ([], [4, 0]), (["--time", "earliest"], [0, 0]), (["--time", "-2"], [0, 0]), (["--time", "max-timestamp"], [3, None]), (["--time", "2500"], [2, None]),
    (["--time", "9000"], [None, None]), (["--partitions", "1"], [None, 0]),
])
def test_offsets(node, filled, words, expected):
    out = tool(node, "get-offsets", "--topic", filled, *words).stdout
    assert out == "".join(f"{filled}:{p}:{o}\n" for p, o in enumerate(expected) if o is not None)


def test_offsets_by_patterns(node, filled):
    assert tool(node, "get-offsets", "--topic-partitions", f"{filled}:1-,nothing").stdout == f"{filled}:1:0\n"
    assert tool(node, "get-offsets", "--topic-partitions", f"{filled}:-1").stdout == f"{filled}:0:4\n"
    assert tool(node, "get-offsets", "--topic-partitions", f"{filled[:-1]}.:0").stdout == f"{filled}:0:4\n"
    out = tool(node, "get-offsets", "--exclude-internal-topics").stdout
    assert f"{filled}:0:4\n" in out and "__consumer_offsets" not in out


@pytest.mark.parametrize("words, said", [
    (["--time", "x"], "Error occurred: Malformed time argument x. Please use -1 or latest / -2 or earliest / "),
    (["--topic", "nope"], "Error occurred: Could not match any topic-partitions with the specified filters"),
    (["--topic-partitions", "a:x"], "Error occurred: org.apache.kafka.tools.TerseException: Invalid rule specification: a:x"),
    (["--topic-partitions", "a", "--topic", "b"], "Error occurred: --topic-partitions cannot be used with --topic or --partitions"),
    (["--partitions", "x"], "Error occurred: --partitions expects a comma separated list of numeric partition ids, but received: x"),
])
def test_offsets_that_cannot_be_asked_for(node, words, said):
    done = tool(node, "get-offsets", *words, check=False)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith(said)


def test_records_are_deleted(node, filled, tmp_path):
    path = tmp_path / "offsets.json"

    def delete(*rows, check=True):
        path.write_text(json.dumps({"partitions": [dict(zip(("topic", "partition", "offset"), row)) for row in rows], "version": 1}))
        return tool(node, "delete-records", "--offset-json-file", path, check=check)

    head = "Executing records delete operation\nRecords delete operation completed:\n"
    assert delete((filled, 0, 2)).stdout == head + f"partition: {filled}-0\tlow_watermark: 2\n"
    assert tool(node, "get-offsets", "--topic", filled, "--time", "earliest").stdout == f"{filled}:0:2\n{filled}:1:0\n"
    assert delete((filled, 0, -1), (filled, 7, 1)).stdout == head + (
        f"partition: {filled}-0\tlow_watermark: 4\n"
        f"partition: {filled}-7\terror: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does not host this topic-partition.\n")
    assert "error: org.apache.kafka.common.errors.OffsetOutOfRangeException: " in delete((filled, 0, 99)).stdout
    twice = delete((filled, 0, 1), (filled, 0, 2), check=False)
    assert twice.returncode == 1 and twice.stderr == f"Offset json file contains duplicate topic partitions: {filled}-0\n"
    path.write_text("{")
    bad = tool(node, "delete-records", "--offset-json-file", path, check=False)
    assert bad.returncode == 1 and bad.stderr == "The input string is not a valid JSON\n"


def test_log_directories(node, filled):
    first, second, text = tool(node, "log-dirs", "--describe", "--topic-list", filled).stdout.splitlines()
    assert (first, second) == ("Querying brokers for log directories information", "Received log directory information from brokers 1")
    found = json.loads(text)
    broker, = found["brokers"]
    directory, = broker["logDirs"]
    assert (found["version"], broker["broker"], directory["error"], directory["logDir"]) == (1, 1, None, str(node.folder))
    sizes = {p["partition"]: p["size"] for p in directory["partitions"]}
    assert set(sizes) == {f"{filled}-0"} | ({f"{filled}-1"} & set(sizes)) and sizes[f"{filled}-0"] > 0
    wrong = tool(node, "log-dirs", "--describe", "--broker-list", "1,7", check=False)
    assert wrong.returncode == 1 and wrong.stderr == "ERROR: The given brokers do not exist from --broker-list: 7. Current existent brokers: 1\n"


def test_configs_are_described(node, filled):
    own = tool(node, "configs", "--describe", "--topic", filled).stdout
    assert own == (f"Dynamic configs for topic {filled} are:\n"
                   "  retention.ms=-1 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=-1}\n")
    everything = tool(node, "configs", "--describe", "--entity-type", "topics", "--entity-name", filled, "--all").stdout.splitlines()
    assert everything[0] == f"All configs for topic {filled} are:" and everything[1:] == sorted(everything[1:])
    assert "  segment.ms=604800000 sensitive=false synonyms={}" in everything
    assert own in tool(node, "configs", "--describe", "--entity-type", "topics").stdout
    broker = tool(node, "configs", "--describe", "--broker", "1", "--all").stdout.splitlines()
    assert broker[0] == "All configs for broker 1 are:" and any(line.startswith("  node.id=1 ") for line in broker)
    assert tool(node, "configs", "--describe", "--topic", "nope").stdout == "The topic 'nope' doesn't exist and doesn't have dynamic config.\n"
    assert tool(node, "configs", "--describe", "--broker-defaults").stdout.startswith("Default configs for brokers in the cluster are:\n")


def test_configs_are_changed(node, filled, tmp_path):
    at = ["--alter", "--topic", filled]
    done = f"Completed updating config for topic {filled}.\n"
    assert tool(node, "configs", *at, "--add-config", "segment.ms=70000,cleanup.policy=[compact,delete]", "--delete-config", "retention.ms").stdout == done
    rows = tool(node, "configs", "--describe", "--topic", filled).stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["cleanup.policy=compact,delete", "segment.ms=70000"]
    path = tmp_path / "configs"
    path.write_text("segment.ms = 80000\n# nothing else\n")
    assert tool(node, "configs", *at, "--add-config-file", path).stdout == done
    assert "  segment.ms=80000 " in tool(node, "configs", "--describe", "--topic", filled).stdout
    wrong = tool(node, "configs", *at, "--add-config", "segment.ms=frob", check=False)
    assert wrong.returncode == 1 and wrong.stderr.splitlines()[0] == f"Error while executing config command with args '--bootstrap-server {node.address} --alter --topic {filled} --add-config segment.ms=frob'"
    assert wrong.stderr.splitlines()[1].startswith("java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.InvalidConfigurationException: ")
    assert tool(node, "configs", "--alter", "--broker-defaults", "--add-config", "log.retention.ms=600000").stdout == "Completed updating default config for brokers in the cluster.\n"
    assert "  log.retention.ms=600000 " in tool(node, "configs", "--describe", "--broker-defaults").stdout


@pytest.mark.parametrize("words, said", [
    (["--describe"], "At least one entity type must be specified"),
    (["--describe", "--alter", "--topic", "t"], "Command must include exactly one action: --describe, --alter"),
    (["--describe", "--topic", "t", "--broker", "1"], "Only 'users' and 'clients' entity types may be specified together"),
    (["--describe", "--entity-type", "topics", "--topic", "t"], "Duplicate entity type(s) specified: topics"),
    (["--describe", "--entity-type", "topics", "--entity-default"], "--entity-default must not be specified with --describe of topics"),
    (["--describe", "--broker", "x"], "The entity name for brokers must be a valid integer broker id, but it is: x"),
    (["--describe", "--topic", "t", "--add-config", "a=b"], 'Option "[describe]" can\'t be used with option "[add-config]"'),
    (["--alter", "--topic", "t"], "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"),
    (["--alter", "--entity-type", "topics", "--add-config", "a=b"], "An entity name must be specified with --alter of topics"),
    (["--alter", "--topic", "t", "--add-config", "a/b=c"], "Invalid character found for config key: a/b"),
    (["--alter", "--user", "u", "--add-config", "frob=1"], "Only quota and SCRAM credential configs can be added for 'users' using --bootstrap-server. Unexpected config names: Set(frob)"),
    (["--alter", "--user", "u", "--add-config", "SCRAM-SHA-256=[iterations=5,password=x]"], "Iterations 5 is less than the minimum 4096 required for SCRAM-SHA-256"),
])
def test_configs_that_cannot_be_asked_for(node, words, said):
    done = tool(node, "configs", *words, check=False)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (1, "", said)
