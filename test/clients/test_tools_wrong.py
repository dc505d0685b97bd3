"""What Kafka's tools refuse or wait for, and the less common things that they take: in ours the same, with the same exit status."""
import json
import os
import struct
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from conftest_shared import TOOLS, run


def tool(name, *words, **more):
    return run(TOOLS / f"kafka-{name}.sh", *words, check=False, **more)


@pytest.mark.parametrize("name, words", [
    ("topics", ["--describe", "--topic", "a", "--topic", "b"]), ("get-offsets", ["--time", "-1", "--time", "-2"]), ("configs", ["--describe", "--topic", "a", "--topic", "b"]),
    ("console-consumer", ["--topic", "a", "--topic", "b"]), ("console-producer", ["--topic", "a", "--topic", "b"]), ("log-dirs", ["--describe", "--bootstrap-server", "127.0.0.1:1"]),
])
def test_one_of_two_values_is_not_taken_by_chance(node, name, words):
    done = tool(name, "--bootstrap-server", node.address, *words)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[0] == f"Found multiple arguments for option {words[-2].strip('-')}, but you asked for only one"


def test_nothing_is_deleted_when_two_are_named(node, topic):
    for name in (topic + "-a", topic + "-b"):
        assert tool("topics", "--bootstrap-server", node.address, "--create", "--topic", name).returncode == 0
    assert tool("topics", "--bootstrap-server", node.address, "--delete", "--topic", topic + "-a", "--topic", topic + "-b").returncode == 1
    assert {topic + "-a", topic + "-b"} <= set(tool("topics", "--bootstrap-server", node.address, "--list").stdout.split())


@pytest.mark.parametrize("name, words", [
    ("topics", ["--list"]), ("consumer-groups", ["--list"]), ("configs", ["--describe", "--entity-type", "topics"]), ("log-dirs", ["--describe"]), ("metadata-quorum", ["describe", "--status"]),
    ("cluster", ["cluster-id"]), ("features", ["describe"]), ("console-consumer", ["--topic", "t"]), ("verifiable-producer", ["--topic", "t"]), ("consumer-perf-test", ["--topic", "t", "--num-records", "1"]),
])
@pytest.mark.parametrize("servers, said", [("nohost", "Invalid url in bootstrap.servers: nohost"), ("nowhere.invalid:9092", "No resolvable bootstrap urls given in bootstrap.servers")])
def test_servers_that_cannot_be_are_told_at_once(name, words, servers, said):
    """A console tool once waited for ever for a host that does not exist."""
    began = time.monotonic()
    # Name servers that do not answer are not what is shown here: each is asked once, for a second.
    done = tool(name, *words, "--bootstrap-server", servers, env={**os.environ, "RES_OPTIONS": "timeout:1 attempts:1"})
    assert time.monotonic() - began < 10
    assert said in done.stderr.splitlines(), done
    assert done.returncode == (0 if name == "consumer-groups" else 1)
    if name == "consumer-groups":
        assert done.stdout == "\nError: Executing consumer group command failed due to Failed to create new KafkaAdminClient\n"


def test_whoever_waits_is_told_for_what(tmp_path):
    config = tmp_path / "client.properties"
    config.write_text("default.api.timeout.ms=3500\n")
    done = tool("topics", "--bootstrap-server", "127.0.0.1:1", "--list", "--command-config", config)
    assert done.returncode == 1 and done.stderr == "WARN No answer to listTopics yet. Waiting for it, at most 4 s in all.\n"
    assert done.stdout == "Error while executing topic command : Timed out waiting for a node assignment. Call: listTopics\n"


def test_the_consumers_time_runs_without_a_broker(node):
    began = time.monotonic()
    done = tool("console-consumer", "--bootstrap-server", "127.0.0.1:1", "--topic", "t", "--timeout-ms", "500")
    assert time.monotonic() - began < 5
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == "Processed a total of 0 messages"
    done = tool("console-consumer", "--bootstrap-server", node.address, "--topic", "no/name", timeout=10)
    assert done.returncode == 0 and "org.apache.kafka.common.errors.InvalidTopicException: Invalid topics: [no/name]" in done.stderr


@pytest.mark.parametrize("name, words, said", [
    ("features", ["frob"], "Command line error: invalid choice: 'frob' (choose from 'describe', 'upgrade', 'downgrade', 'disable', 'version-mapping', 'feature-dependencies'). Type --help for help."),
    ("features", ["describe"], "Command line error: You must specify either --bootstrap-controller or --bootstrap-server.. Type --help for help."),
    ("features", [], "Command line error: too few arguments. Type --help for help."), ("cluster", [], "kafka-cluster: error: too few arguments"),
    ("storage", ["random-uuid", "x"], "unrecognized arguments: 'x'"), ("verifiable-producer", ["stray"], "unrecognized arguments: 'stray'"),
    ("console-producer", ["stray"], 'Missing required argument "[topic]"'), ("get-offsets", ["--bootstrap-server", "nohost"], "Please provide valid host:port like host1:9091,host2:9092"),
    ("cluster", ["cluster-id", "-b", "h:1", "--config", "a", "--command-config", "b"], "--config and --command-config cannot be specified together."),
    ("configs", ["--bootstrap-server", "127.0.0.1:1", "--describe", "--ip", "no.such.invalid"], "The entity name for ips must be a valid IP or resolvable host, but it is: no.such.invalid"),
    ("console-producer", ["--bootstrap-server", "127.0.0.1:1", "--topic", "t", "--command-property", "acks=7"], "Invalid value 7 for configuration acks: String must be one of: all, -1, 0, 1"),
    ("console-consumer", ["--bootstrap-server", "127.0.0.1:1", "--topic", "t", "--command-property", "group.protocol=frob"],
     "Invalid value frob for configuration group.protocol: String must be one of (case insensitive): CONSUMER, CLASSIC"),
    ("delete-records", ["--bootstrap-server", "127.0.0.1:1", "--offset-json-file", "/nope"], "Unable to read file /nope"),
    ("dump-log", ["--files", "/nope.log", "--value-decoder-class", "my.Decoder"], "--value-decoder-class my.Decoder: Java classes cannot be loaded here; there are String-, Integer- and LongDecoder of org.apache.kafka.tools.api"),
])
def test_what_is_refused(name, words, said):
    done = tool(name, *words)
    assert done.returncode == 1 and said in done.stderr.splitlines()[0], done


def test_names_that_were_given_up(node, topic, tmp_path):
    """They are still taken, and told to be deprecated; beside the ones that took their place they are refused."""
    empty = tmp_path / "empty.properties"
    empty.write_text("client.id=x\n")
    at = ["--bootstrap-server", node.address, "--topic", topic]
    done = tool("console-producer", *at, "--property", "parse.key=false", input="x\n")
    assert (done.returncode, done.stdout) == (0, "Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead.\n")
    done = tool("producer-perf-test", *at, "--num-records", "1", "--record-size", "1", "--throughput", "-1", "--producer.config", empty)
    assert done.stdout.startswith("Option --producer.config has been deprecated and will be removed in a future version. Use --command-config instead.\n1 records sent")
    done = tool("consumer-perf-test", *at, "--num-records", "1", "--consumer.config", empty)
    assert done.stdout.startswith("Warning: --consumer.config is deprecated. Use --command-config instead.\nstart.time")
    for name in ("producer", "consumer"):
        done = tool(f"verifiable-{name}", *at, *(["--group-id", "g"] if name == "consumer" else []), f"--{name}.config", empty, "--command-config", empty)
        assert done.returncode == 1 and f"--{name}.config and --command-config cannot be specified together." in done.stderr
    assert tool("console-producer", *at, "--message-send-max-retries", "0", input="y\n").returncode == 0


def test_short_forms(node):
    listed = tool("topics", "--bootstrap-server", node.address, "--list")
    assert tool("topics", "-list", "-bootstrap-server", node.address).stdout == listed.stdout
    assert tool("cluster", "clus", "--bootstrap-s", node.address).stdout == tool("cluster", "cluster-id", "-b", node.address).stdout


def test_offsets_of_groups_are_read_by_their_formatter(node, topic):
    """What a group committed, and that it was deleted, as kafka-console-consumer.sh tells it of __consumer_offsets."""
    group = "g-" + topic
    assert tool("topics", "--bootstrap-server", node.address, "--create", "--topic", topic).returncode == 0
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 7, "seen")], asynchronous=False)
    consumer.close()
    assert tool("consumer-groups", "--bootstrap-server", node.address, "--delete", "--group", group).returncode == 0
    done = tool("console-consumer", "--bootstrap-server", node.address, "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "2000",
                "--formatter", "org.apache.kafka.tools.consumer.OffsetsMessageFormatter")
    assert done.returncode == 0 and "\n" not in done.stdout
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(done.stdout):
        record, at = decoder.raw_decode(done.stdout, at)
        if record["key"]["data"]["group"] == group:
            found.append(record)
    assert [record["key"] for record in found] == [{"type": 1, "data": {"group": group, "topic": topic, "partition": 0}}] * 2
    data = found[0]["value"]["data"]
    assert (data["offset"], data["metadata"].rstrip("\0"), found[1]["value"]) == (7, "seen", None)  # the client sends its string with its end


def test_numbers_are_read_by_decoders(own_node):
    at = ["--bootstrap-server", own_node.address]
    assert tool("topics", *at, "--create", "--topic", "n").returncode == 0
    producer = Producer({"bootstrap.servers": own_node.address})
    producer.produce("n", key=struct.pack(">i", -5), value=struct.pack(">q", 1 << 40))
    assert producer.flush(10) == 0
    log = own_node.folder / "n-0" / "00000000000000000000.log"
    package = "org.apache.kafka.tools.api."
    done = tool("dump-log", "--files", log, "--key-decoder-class", package + "IntegerDecoder", "--value-decoder-class", package + "LongDecoder")
    assert done.returncode == 0 and done.stdout.splitlines()[-1].endswith(f" key: -5 payload: {1 << 40}")
    done = tool("dump-log", "--files", log, "--key-decoder-class", package + "LongDecoder")
    assert done.returncode == 1 and "4 bytes are none of a number of 8" in done.stdout


def test_a_plan_with_a_bad_line_is_none(node, topic, tmp_path):
    at = ["--bootstrap-server", node.address]
    plan = tmp_path / "plan.csv"
    assert tool("topics", *at, "--create", "--topic", topic).returncode == 0
    reset = [*at, "--reset-offsets", "--from-file", plan, "--dry-run", "--group"]
    plan.write_text(f"{topic},0,0\n{topic},x,0\n")
    done = tool("consumer-groups", *reset, "a")
    assert done.returncode == 0 and done.stdout.startswith("\nError: No reset plan for group a found\n\nGROUP ")
    assert f"this is none: {topic},x,0" in done.stderr
    plan.write_text(f"{topic},0,0\n")
    assert f"\na               {topic}" in tool("consumer-groups", *reset, "a").stdout
    done = tool("consumer-groups", *reset, "a", "--group", "b")
    assert [line for line in done.stdout.splitlines() if line.startswith("Error")] == [f"Error: No reset plan for group {group} found" for group in "ab"]
    done = tool("consumer-groups", *at, "--reset-offsets", "--group", "a", "--from-file", "/nope", "--dry-run")
    assert done.stdout == "\nError: Executing consumer group command failed due to java.io.IOException: Unable to read file /nope\n"


def test_reading_begins_at_once_though_partitions_are_empty(node, topic):
    """One record in one of three partitions: an empty one does not keep it waiting for half a second."""
    assert tool("topics", "--bootstrap-server", node.address, "--create", "--topic", topic, "--partitions", "3").returncode == 0
    assert tool("console-producer", "--bootstrap-server", node.address, "--topic", topic, input="here\n").returncode == 0
    took = []
    for _ in range(9):
        began = time.monotonic()
        done = tool("console-consumer", "--bootstrap-server", node.address, "--topic", topic, "--from-beginning", "--max-messages", "1")
        took.append(time.monotonic() - began)
        assert done.stdout == "here\n"
    assert sorted(took)[4] < 0.3, took


def test_storage_tells_what_is_there_and_what_it_makes(tmp_path):
    """info names directories that exist; format says which kind of metadata directory it makes, by what the node is in it."""
    config, id = tmp_path / "server.properties", "MkU3OEVBNTcwNTJENDM2Qg"

    def write(part):
        config.write_text(f"process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n"
                          f"controller.quorum.bootstrap.servers=localhost:9093\nlog.dirs={tmp_path / part}\n")
        return tmp_path / part

    voters = "@localhost:9093:AAAAAAAAAAAAAAAAAAAAAQ"
    for part, words, kind in (("a", ["-N"], "metadata directory"), ("b", ["-s"], "dynamic metadata voter directory"), ("c", ["-I", "1" + voters], "dynamic metadata voter directory"),
                              ("d", ["-I", "2" + voters], "dynamic metadata directory")):
        folder = write(part)
        done = tool("storage", "info", "-c", config)
        assert (done.returncode, done.stdout) == (1, f"Found problem:\n  {folder} does not exist\n\n")
        done = tool("storage", "format", "-c", config, "-t", id, *words)
        assert done.returncode == 0 and done.stdout.splitlines()[-1] == f"Formatting {kind} {folder} with metadata.version 4.4-IV2.", done
        assert tool("storage", "info", "-c", config).stdout.startswith(f"Found log directory:\n  {folder}\n\nFound metadata: ")


@pytest.mark.parametrize("name, words, said", [
    ("storage", ["-f", "frob"], "Invalid feature format: frob. Expected format: 'feature=version' (e.g. 'group.version=1')"), ("features", ["--feature", "frob"], "Can't parse feature=level string frob: equals sign not found."),
    ("storage", ["-f", "share.version=99"], "Feature level 99 is not supported for feature share.version"), ("features", ["--feature", "share.version=99"], "No feature:share.version with feature level 99"),
    ("storage", [], "kafka-storage: error: argument --feature/-f is required"), ("features", [], "Command line error: argument --feature is required. Type --help for help."),
])
def test_dependencies_that_cannot_be_told(name, words, said):
    done = tool(name, "feature-dependencies", *words)
    assert (done.returncode, done.stderr) == (1, said + "\n")
