"""What very many idle partitions cost. The whole of it (100,000 of them, and how soon they serve) is bench/partitions.py."""
import os
import time

from batches import batch
from conftest_shared import Node, until
from messages import Connection

TOPICS, PARTITIONS, WRITTEN = 5, 1000, 100
TOTAL = TOPICS * PARTITIONS
BYTES_MAX, DESCRIPTORS_MAX, SERVING_S = 2048, 64, 10  # an idle partition; all of the node; generous: a loaded machine


def resident(node):
    with open(f"/proc/{node.process.pid}/status") as text:
        return next(int(line.split()[1]) * 1024 for line in text if line.startswith("VmRSS:"))


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def led(connection):
    """How many partitions have a leader."""
    answer = connection.ask("Metadata", 9, Topics=None)
    return sum(p["LeaderId"] >= 0 and p["ErrorCode"] == 0 for t in answer["Topics"] for p in t["Partitions"])


def produce(connection, topic, partitions):
    answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=30000, TopicData=[
        {"Name": f"many-{topic}", "PartitionData": [{"Index": i, "Records": batch([b"value"])} for i in partitions]}])
    assert all(p["ErrorCode"] == 0 for t in answer["Responses"] for p in t["PartitionResponses"]), answer


def test_idle_partitions_cost_little_memory_and_no_descriptor(tmp_path):
    """5,000 partitions are created, written to in part, and killed: made, served again, and adopted with the files of all of
    them there, they stay under 2 KiB each, and but for those that were asked for lately they hold no descriptor."""
    node = Node(tmp_path / "node").start()
    try:
        connection = Connection(node.port)
        empty = resident(node)
        answer = connection.ask("CreateTopics", 7, timeoutMs=30000, Topics=[
            {"Name": f"many-{i}", "NumPartitions": PARTITIONS, "ReplicationFactor": 1, "Assignments": [], "Configs": []} for i in range(TOPICS)])
        assert all(t["ErrorCode"] == 0 for t in answer["Topics"]), answer
        until(lambda: led(connection) == TOTAL)
        assert (resident(node) - empty) / TOTAL < BYTES_MAX
        assert descriptors(node) < DESCRIPTORS_MAX
        produce(connection, 0, range(WRITTEN))
        node.kill()

        begin = time.monotonic()
        node.start()
        connection = Connection(node.port)
        until(lambda: led(connection) == TOTAL, SERVING_S)
        produce(connection, 0, [0])            # written to before
        produce(connection, 1, [PARTITIONS - 1])  # not
        assert time.monotonic() - begin < SERVING_S
        node.stop()

        for topic in range(TOPICS):
            for i in range(PARTITIONS):
                (node.folder / f"many-{topic}-{i}").mkdir(exist_ok=True)
        node.start()
        connection = Connection(node.port)
        until(lambda: led(connection) == TOTAL)
        until(lambda: resident(node) - empty > TOTAL * 800)  # they come to life by and by
        time.sleep(1)
        assert (resident(node) - empty) / TOTAL < BYTES_MAX
        assert descriptors(node) < DESCRIPTORS_MAX
        node.stop()
    finally:
        if node.alive():
            node.kill()
