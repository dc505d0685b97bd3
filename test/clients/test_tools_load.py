"""The tools that measure and verify, against a node: what they print has Kafka's form, and what they count is true."""
import json
import re
import signal
import subprocess

import pytest

from conftest_shared import TOOLS, run

TOTAL = r"(\d+){}records sent, \d+\.\d{{6}} records/sec \(\d+\.\d\d MB/sec\), \d+\.\d\d ms avg latency, \d+\.\d\d ms max latency, \d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\."


def tool(node, name, *words, **more):
    return run(TOOLS / f"kafka-{name}.sh", "--bootstrap-server", node.address, *words, **more)


def end_of(node, topic):
    return sum(int(line.rsplit(":", 1)[1]) for line in tool(node, "get-offsets", "--topic", topic).stdout.splitlines())


def test_sending_is_measured(node, topic):
    out = tool(node, "producer-perf-test", "--topic", topic, "--num-records", "5000", "--throughput", "-1", "--record-size", "50", "--warmup-records", "1000",
               "--command-property", "acks=1", "linger.ms=2").stdout.splitlines()
    assert out[0] == "Warmup first 1000 records. Steady state results will print after the complete test summary."
    assert re.fullmatch(TOTAL.format(" "), out[-2]).group(1) == "5000" and re.fullmatch(TOTAL.format(" steady state "), out[-1]).group(1) == "4000"
    assert end_of(node, topic) == 5000
    paced = tool(node, "producer-perf-test", "--topic", topic, "--num-records", "60", "--throughput", "100", "--payload-monotonic", "--reporting-interval", "200").stdout.splitlines()
    windows = [re.fullmatch(r"(\d+) records sent, \d+\.\d records/sec \(\d+\.\d\d MB/sec\), \d+\.\d ms avg latency, \d+\.\d ms max latency\.", line) for line in paced[:-1]]
    assert windows and all(windows) and sum(int(w.group(1)) for w in windows) <= 60
    assert float(re.search(r"sent, (\S+) records/sec", paced[-1]).group(1)) < 140  # the pace was kept


def test_payloads_of_a_file(node, topic, tmp_path):
    path = tmp_path / "payloads"
    path.write_text("one|two|three")
    out = tool(node, "producer-perf-test", "--topic", topic, "--num-records", "50", "--throughput", "-1", "--payload-file", path, "--payload-delimiter", "|").stdout
    assert out.startswith(f"Reading payloads from: {path}\nNumber of records read: 3\n")
    values = tool(node, "console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "50").stdout.split()
    assert set(values) == {"one", "two", "three"}


@pytest.mark.parametrize("words, said", [
    (["--topic", "t"], "error: argument --num-records is required"),
    (["--topic", "t", "--num-records", "1", "--throughput", "-1"], "error: one of the arguments --record-size --payload-file --payload-monotonic is required"),
    (["--topic", "t", "--num-records", "0", "--throughput", "-1", "--record-size", "1"], "error: --num-records should be greater than zero."),
    (["--topic", "t", "--num-records", "5", "--throughput", "-1", "--record-size", "1", "--warmup-records", "5"], "error: The value for --warmup-records must be strictly fewer than"),
])
def test_sending_that_cannot_be_measured(node, words, said):
    done = tool(node, "producer-perf-test", *words, check=False)
    assert done.returncode == 1 and said in done.stderr and done.stdout == ""


def test_reading_is_measured(node, topic):
    tool(node, "producer-perf-test", "--topic", topic, "--num-records", "3000", "--throughput", "-1", "--record-size", "100")
    head, numbers = tool(node, "consumer-perf-test", "--topic", topic, "--num-records", "3000").stdout.splitlines()
    assert head == ("start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec")
    fields = numbers.split(", ")
    assert len(fields) == 10 and fields[4] == "3000" and fields[2] == f"{300000 / 1048576:.4f}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}", fields[0])
    short = tool(node, "consumer-perf-test", "--topic", topic, "--num-records", "4000", "--timeout", "500", "--hide-header", "--show-detailed-stats").stdout
    assert short == "WARNING: Exiting before consuming the expected number of records: timeout (500 ms) exceeded. You can use the --timeout option to increase the timeout.\n"


def test_latency_from_end_to_end(node, topic):
    named = tool(node, "e2e-latency", "--topic", topic, "--num-records", "10", "--producer-acks", "all", "--record-size", "20", "--record-key-size", "3", "--num-headers", "2").stdout.splitlines()
    assert re.fullmatch(r"0\t\d+\.\d+", named[-3]) and re.fullmatch(r"Avg latency: \d+\.\d{4} ms", named[-2])
    assert re.fullmatch(r"Percentiles: 50th = \d+, 99th = \d+, 99\.9th = \d+", named[-1])
    placed = run(TOOLS / "kafka-e2e-latency.sh", node.address, topic, "3", "1", "5").stdout
    assert placed.startswith("WARNING: Positional argument usage is deprecated") and end_of(node, topic) == 13
    wrong = run(TOOLS / "kafka-e2e-latency.sh", node.address, topic, check=False)
    assert wrong.returncode == 1 and wrong.stderr.startswith("Invalid number of arguments. Expected 5 or 6 positional arguments, but got 2.")


def events(text):
    found = [json.loads(line) for line in text.splitlines()]
    assert all(list(event)[:2] == ["timestamp", "name"] for event in found)
    return found


def test_what_was_sent_can_be_verified(node, topic):
    sent = events(tool(node, "verifiable-producer", "--topic", topic, "--max-messages", "5", "--repeating-keys", "2", "--value-prefix", "7").stdout)
    assert [event["name"] for event in sent] == ["startup_complete"] + ["producer_send_success"] * 5 + ["shutdown_complete", "tool_data"]
    assert [(e["key"], e["value"], e["offset"], e["topic"], e["partition"]) for e in sent[1:6]] == [(str(i % 2), f"7.{i}", i, topic, 0) for i in range(5)]
    assert (sent[-1]["sent"], sent[-1]["acked"], sent[-1]["target_throughput"]) == (5, 5, -1)
    read = events(tool(node, "verifiable-consumer", "--topic", topic, "--group-id", "g-" + topic, "--max-messages", "5", "--verbose").stdout)
    assert read[0]["name"] == "startup_complete" and read[-1]["name"] == "shutdown_complete"
    assert read[1] | {"timestamp": 0} == {"timestamp": 0, "name": "partitions_assigned", "partitions": [{"topic": topic, "partition": 0}]}
    assert [(e["key"], e["value"], e["offset"]) for e in read if e["name"] == "record_data"] == [(str(i % 2), f"7.{i}", i) for i in range(5)]
    assert sum(e["count"] for e in read if e["name"] == "records_consumed") == 5
    last = [e for e in read if e["name"] == "offsets_committed"][-1]
    assert last["offsets"] == [{"topic": topic, "partition": 0, "offset": 5}] and last["success"] is True


def test_a_signal_ends_the_verifiable_producer(node, topic):
    process = subprocess.Popen([TOOLS / "kafka-verifiable-producer.sh", "--bootstrap-server", node.address, "--topic", topic, "--throughput", "50"], stdout=subprocess.PIPE, text=True)
    while "producer_send_success" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    done = events(out)
    assert process.returncode == 0 and [e["name"] for e in done[-2:]] == ["shutdown_complete", "tool_data"]
    assert done[-1]["sent"] == done[-1]["acked"] == end_of(node, topic)
