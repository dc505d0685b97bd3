"""kafka-consumer-groups.sh against a node."""
import subprocess
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from conftest_shared import TOOLS, run


def groups(node, *words, **more):
    return run(TOOLS / "kafka-consumer-groups.sh", "--bootstrap-server", node.address, *words, **more)


def table(text):
    """The rows of a table as lists of words, without its head."""
    return [line.split() for line in text.strip().splitlines()[1:]]


@pytest.fixture
def group(node, topic):
    """A group without members that has read a part: partition 0 to 3 of 10, 1 to 5 of 5, nothing of 2."""
    run(TOOLS / "kafka-topics.sh", "--bootstrap-server", node.address, "--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=-1")
    producer = Producer({"bootstrap.servers": node.address})
    for i in range(10):
        producer.produce(topic, partition=0, value=str(i), timestamp=1_600_000_000_000 + i * 1000)
    for i in range(5):
        producer.produce(topic, partition=1, value=str(i), timestamp=1_600_000_000_000 + i * 1000)
    assert producer.flush(20) == 0
    name = "g-" + topic
    commit(node, name, topic, {0: 3, 1: 5})
    return name


def commit(node, group, topic, offsets):
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in offsets.items()], asynchronous=False)
    consumer.close()


def committed(node, group, topic):
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": group})
    found = consumer.committed([TopicPartition(topic, p) for p in range(3)], timeout=20)
    consumer.close()
    return [None if p.offset < 0 else p.offset for p in found]


def test_list(node, group):
    assert group in groups(node, "--list").stdout.splitlines()
    head, *rows = groups(node, "--list", "--type", "--state").stdout.splitlines()
    assert head.split() == ["GROUP", "TYPE", "STATE"] and [group, "Classic", "Empty"] in [row.split() for row in rows]
    assert group in groups(node, "--list", "--state", "Stable,empty").stdout
    assert group not in groups(node, "--list", "--state", "stable").stdout
    assert group not in groups(node, "--list", "--type", "consumer").stdout
    wrong = groups(node, "--list", "--state", "frob", check=False)
    assert wrong.returncode == 1 and wrong.stderr.startswith("Invalid state list 'frob'. Valid states are: ")


def test_describe_an_idle_group(node, topic, group):
    done = groups(node, "--describe", "--group", group)
    assert done.stderr == f"\nConsumer group '{group}' has no active members.\n"
    assert table(done.stdout) == [[group, topic, "0", "3", "10", "7", "-", "-", "-"], [group, topic, "1", "5", "5", "0", "-", "-", "-"]]
    assert done.stdout.startswith("\nGROUP ") and done.stdout.endswith("-\n")
    assert table(groups(node, "--describe", "--group", group, "--state").stdout) == [[group, f"localhost:{node.port}", "(1)", "-", "Empty", "0"]]
    assert table(groups(node, "--describe", "--group", group, "--members").stdout) == []


def test_describe_a_group_with_members(node, topic, group):
    consumer = subprocess.Popen([TOOLS / "kafka-console-consumer.sh", "--bootstrap-server", node.address, "--topic", topic, "--group", group], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while "Stable" not in groups(node, "--describe", "--group", group, "--state").stdout:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        member, = table(groups(node, "--describe", "--group", group, "--members", "--verbose").stdout)
        assert member[0] == group and member[3:6] == ["console-consumer", "3", "-"] and member[6:] == [f"{topic}:0,1,2", "-", "-"]
        rows = table(groups(node, "--describe", "--group", group).stdout)
        assert [row[2] for row in rows] == ["0", "1", "2"] and all(row[6] == member[1] for row in rows)
        refused = groups(node, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute").stdout
        assert refused == (f"\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is Stable.\n"
                           "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\n")
    finally:
        consumer.terminate()
        consumer.wait(20)


def test_what_is_not_there(node):
    said = groups(node, "--describe", "--group", "nope").stdout
    assert said == "\nError: Executing consumer group command failed due to org.apache.kafka.common.errors.GroupIdNotFoundException: Group nope not found.\n"


def plan(node, group, *words):
    return {int(row[2]): int(row[3]) for row in table(groups(node, "--reset-offsets", "--group", group, "--dry-run", *words).stdout)}


@pytest.mark.parametrize("how, expected", [
    (["--to-earliest", "--all-topics"], {0: 0, 1: 0}), (["--to-latest", "--all-topics"], {0: 10, 1: 5}), (["--to-current", "--topic", "T"], {0: 3, 1: 5, 2: 0}),
    (["--shift-by", "2", "--all-topics"], {0: 5, 1: 5}), (["--shift-by", "-4", "--all-topics"], {0: 0, 1: 1}), (["--to-offset", "7", "--topic", "T:0"], {0: 7}),
    (["--to-offset", "7", "--topic", "T"], {0: 7, 1: 5, 2: 0}), (["--to-datetime", "2020-09-13T12:26:42.000", "--topic", "T:0,1"], {0: 2, 1: 2}),
    (["--to-datetime", "2020-09-13T14:26:46.500+02:00", "--topic", "T:0,1"], {0: 7, 1: 5}), (["--by-duration", "P9999D", "--topic", "T:1"], {1: 0}),
    (["--by-duration", "PT0S", "--topic", "T:1"], {1: 5}),
])
def test_plans(node, topic, group, how, expected):
    before = committed(node, group, topic)
    found = {}
    for row in groups(node, "--reset-offsets", "--group", group, "--dry-run", *[word.replace("T", topic) if word[0] == "T" else word for word in how]).stdout.splitlines():
        if row.startswith(group + " "):
            found[int(row.split()[2])] = int(row.split()[3])
    assert found == expected
    assert committed(node, group, topic) == before


def test_a_plan_is_carried_out_exported_and_read(node, topic, group, tmp_path):
    groups(node, "--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "2", "--execute")
    assert committed(node, group, topic) == [2, 2, 0]
    text = groups(node, "--reset-offsets", "--group", group, "--all-topics", "--to-earliest", "--dry-run", "--export").stdout
    name = f'"{topic}"' if len(topic) > 24 else topic
    assert text == f"{name},0,0\n{name},1,0\n{name},2,0\n\n"
    path = tmp_path / "plan.csv"
    path.write_text(text.replace(",0,0", ",0,4"))
    groups(node, "--reset-offsets", "--group", group, "--from-file", path, "--execute")
    assert committed(node, group, topic) == [4, 0, 0]
    path.write_text(f"{group},{topic},1,3\nother,{topic},1,1\n")
    groups(node, "--reset-offsets", "--group", group, "--from-file", path, "--execute")
    assert committed(node, group, topic) == [4, 3, 0]
    path.write_text("what is this\n")
    assert "Error: " in groups(node, "--reset-offsets", "--group", group, "--from-file", path, "--execute").stdout
    groups(node, "--reset-offsets", "--group", "new-" + group, "--topic", topic, "--to-latest", "--execute")
    assert committed(node, "new-" + group, topic) == [10, 5, 0]


def test_groups_and_offsets_are_deleted(node, topic, group):
    assert groups(node, "--delete-offsets", "--group", group, "--topic", f"{topic}:0").stdout == (
        f"Request succeeded for deleting offsets from group {group}.\n\n" + f"{'TOPIC':<{max(15, len(topic))}} PARTITION  STATUS         \n{topic:<15} 0          Successful     \n")
    assert committed(node, group, topic) == [None, 5, None]
    said = groups(node, "--delete", "--group", group, "--group", "nope").stdout.splitlines()
    assert said[1:] == ["Error: Deletion of some consumer groups failed:",
                        "* Group 'nope' could not be deleted due to: org.apache.kafka.common.errors.GroupIdNotFoundException: " + said[2].split("Exception: ")[1],
                        "", f"These consumer groups were deleted successfully: '{group}'"]
    assert group not in groups(node, "--list").stdout.splitlines()
    commit(node, group, topic, {0: 1})
    assert groups(node, "--delete", "--group", group).stdout == f"Deletion of requested consumer groups ('{group}') was successful.\n"


def test_all_groups(node, topic, group):
    commit(node, "second-" + group, topic, {1: 1})
    rows = table(groups(node, "--reset-offsets", "--all-groups", "--all-topics", "--to-latest", "--dry-run").stdout)
    assert [group, topic, "0", "10"] in rows and ["second-" + group, topic, "1", "5"] in rows


@pytest.mark.parametrize("words, said", [
    ([], "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex"),
    (["--describe"], "Option [describe] takes one of these options: [all-groups], [group]"),
    (["--describe", "--group", "g", "--members", "--state"], "Option [describe] takes at most one of these options: [members], [offsets], [state]"),
    (["--list", "--group", "g"], 'Option "[group]" can\'t be used with option "[list]"'),
    (["--reset-offsets", "--group", "g", "--dry-run", "--execute"], "Option [reset-offsets] only accepts one of [execute] and [dry-run]"),
    (["--reset-offsets", "--group", "g", "--dry-run", "--to-latest"], "One of the reset scopes should be defined: --all-topics, --topic."),
    (["--reset-offsets", "--group", "g", "--dry-run", "--to-latest", "--topic", "t:"], "Invalid topic arg 't:', expected topic name and partitions"),
    (["--delete", "--group", "g", "--topic", "t"], "The consumer does not support topic-specific offset deletion from a consumer group."),
])
def test_options_that_do_not_fit(node, words, said):
    done = groups(node, *words, check=False)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (1, "", said)


def test_regular_expressions():
    tool = TOOLS / "kafka-consumer-groups.sh"
    assert run(tool, "--validate-regex", "a.*").stdout == "The regular expression `a.*` is valid.\n"
    assert run(tool, "--validate-regex", "a(").stdout == "The regular expression `a(` is invalid: missing closing ).\n"
