"""kcat (librdkafka), the first client that most people try."""
import json

import pytest

from conftest_shared import run


def kcat(node, *words, **more):
    return run("kcat", "-b", node.address, *words, **more)


def test_what_is_produced_is_consumed(node, topic):
    lines = "".join(f"key-{i}:value-{i}\n" for i in range(1000))
    kcat(node, "-P", "-t", topic, "-K", ":", input=lines)
    out = kcat(node, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-K", ":").stdout
    assert sorted(out.splitlines()) == sorted(lines.splitlines())


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec(node, topic, codec):
    lines = "".join(f"{'x' * (i % 200)}{i}\n" for i in range(2000))
    kcat(node, "-P", "-t", topic, "-z", codec, "-X", "linger.ms=50", input=lines)
    out = kcat(node, "-C", "-t", topic, "-o", "beginning", "-e", "-q").stdout
    assert out == lines


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_acks(node, topic, acks):
    lines = "".join(f"{i}\n" for i in range(500))
    kcat(node, "-P", "-t", topic, "-X", f"acks={acks}", input="first\n")
    kcat(node, "-P", "-t", topic, "-X", f"acks={acks}", input=lines)
    out = kcat(node, "-C", "-t", topic, "-o", "beginning", "-c", "501", "-q").stdout
    assert out == "first\n" + lines


def test_metadata_names_the_node_and_its_topics(node, topic):
    kcat(node, "-P", "-t", topic, input="x\n")
    metadata = json.loads(kcat(node, "-L", "-J").stdout)
    assert [broker["name"] for broker in metadata["brokers"]] in ([node.address], [f"localhost:{node.port}"])
    found = {t["topic"]: t for t in metadata["topics"]}[topic]
    assert [(p["partition"], p["leader"]) for p in found["partitions"]] == [(0, metadata["brokers"][0]["id"])]


def test_headers_and_null_values_survive(node, topic):
    kcat(node, "-P", "-t", topic, "-K", ":", "-H", "a=1", "-H", "b=zwei", input="k:v\n")
    kcat(node, "-P", "-t", topic, "-K", ":", "-Z", input="tombstone:\n")
    out = kcat(node, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k|%s|%S|%h\n").stdout
    assert out == "k|v|1|a=1,b=zwei\ntombstone||-1|\n"


def test_offsets_by_time(node, topic):
    kcat(node, "-P", "-t", topic, input="a\nb\nc\n")
    assert f"{topic} [0] offset 3" in kcat(node, "-Q", "-t", f"{topic}:0:-1").stdout
    assert f"{topic} [0] offset 0" in kcat(node, "-Q", "-t", f"{topic}:0:-2").stdout
    assert f"{topic} [0] offset 0" in kcat(node, "-Q", "-t", f"{topic}:0:1").stdout


def test_consumer_group_balances_and_commits(node, topic):
    kcat(node, "-P", "-t", topic, input="".join(f"{i}\n" for i in range(100)))
    first = kcat(node, "-G", f"g-{topic}", "-X", "auto.offset.reset=earliest", "-e", "-q", topic).stdout
    assert len(first.splitlines()) == 100
    kcat(node, "-P", "-t", topic, input="later\n")
    again = kcat(node, "-G", f"g-{topic}", "-X", "auto.offset.reset=earliest", "-e", "-q", topic).stdout
    assert again == "later\n"
