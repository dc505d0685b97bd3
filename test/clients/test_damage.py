"""Rot on the disk: what is damaged is not handed out, and nothing else suffers from it."""
import struct

from conftest_shared import TOOLS, run
from messages import Connection


def fetch(connection, topic, offsets, size=1 << 20):
    answer = connection.ask("Fetch", 12, MaxWaitMs=10, MinBytes=1, MaxBytes=50 << 20, SessionEpoch=-1, Topics=[
        {"Topic": topic, "Partitions": [{"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": size}
                                        for partition, offset in offsets.items()]}])
    return {p["PartitionIndex"]: p for p in answer["Responses"][0]["Partitions"]}


def batches(data):
    """(position, size) of each whole batch."""
    found, at = [], 0
    while at + 12 <= len(data):
        size = 12 + struct.unpack(">i", data[at + 8:at + 12])[0]
        if at + size > len(data):
            break
        found.append((at, size))
        at += size
    return found


def test_a_flipped_bit_is_told_and_never_sent(own_node):
    """Ten batches in each of two partitions; the node is down, one bit in the fifth batch of partition 0 turns. Readers get
    the four before it, an error for it, and those behind it; the other partition is not touched by it."""
    topic = "t-rot"
    run(TOOLS / "kafka-topics.sh", "--bootstrap-server", own_node.address, "--create", "--topic", topic, "--partitions", 2)
    for i in range(10):
        for partition in (0, 1):
            run("kcat", "-b", own_node.address, "-P", "-t", topic, "-p", partition, input=f"{partition}-{i}-" + "x" * 500 + "\n")
    own_node.stop()
    file = own_node.folder / f"{topic}-0" / ("0" * 20 + ".log")
    data = bytearray(file.read_bytes())
    places = batches(data)
    assert len(places) == 10
    at = places[4][0] + places[4][1] - 20
    data[at] ^= 0x10
    file.write_bytes(data)
    own_node.start()
    connection = Connection(own_node.port)
    for _ in range(2):  # the second time it is in memory
        answer = fetch(connection, topic, {0: 0, 1: 0})
        assert answer[0]["ErrorCode"] == 0 and answer[1]["ErrorCode"] == 0
        assert len(batches(answer[0]["Records"])) == 4 and len(batches(answer[1]["Records"])) == 10
        answer = fetch(connection, topic, {0: 4, 1: 4})
        assert answer[0]["ErrorCode"] == 2 and not answer[0]["Records"]
        assert answer[1]["ErrorCode"] == 0 and len(batches(answer[1]["Records"])) == 6
        answer = fetch(connection, topic, {0: 5})
        assert answer[0]["ErrorCode"] == 0 and len(batches(answer[0]["Records"])) == 5
    assert own_node.log.read_text().count("offset 4 is damaged on disk") == 1
    run("kcat", "-b", own_node.address, "-P", "-t", topic, "-p", 0, input="and on it goes\n")
    assert len(batches(fetch(connection, topic, {0: 5})[0]["Records"])) == 6
