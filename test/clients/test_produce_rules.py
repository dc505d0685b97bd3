"""What a topic's configs make of produced batches: times, codecs, sizes; and what is refused, with which error, record by
record. The expectations are Apache Kafka 4.4's answers to the same bytes."""
import resource
import struct

import pytest

from batches import batch, batches, crc32c, now_ms, records
from messages import Connection

NONE, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_REQUIRED_ACKS, INVALID_TIMESTAMP = 0, 2, 10, 21, 32
OUT_OF_ORDER_SEQUENCE, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UNSUPPORTED_COMPRESSION, INVALID_RECORD = 45, 53, 76, 87
LOG_APPEND_TIME = 8  # the attribute


@pytest.fixture
def connection(node):
    connection = Connection(node.port)
    yield connection
    connection.close()


def create(connection, topic, **configs):
    """Kept for ever: some records here are of 1970, and a check of retention comes half a minute after the start."""
    configs = {"retention_ms": -1, **configs}
    answer = connection.ask("CreateTopics", 7, Topics=[{
        "Name": topic, "NumPartitions": 1, "ReplicationFactor": 1,
        "Configs": [{"Name": name.replace("_", "."), "Value": str(value)} for name, value in configs.items()]}])
    assert answer["Topics"][0]["ErrorCode"] == NONE, answer


def produce(connection, topic, data, version=9, acks=-1):
    answer = connection.ask("Produce", version, Acks=acks, TimeoutMs=30000, TopicData=[
        {"Name": topic, "PartitionData": [{"Index": 0, "Records": data}]}])
    return answer["Responses"][0]["PartitionResponses"][0]


def read(connection, topic):
    answer = connection.ask("Fetch", 11, MaxWaitMs=0, MinBytes=0, MaxBytes=1 << 24, SessionEpoch=-1, Topics=[
        {"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 24}]}])
    return batches(answer["Responses"][0]["Partitions"][0]["Records"])


def refused(answer):
    return answer["ErrorCode"], [error["BatchIndex"] for error in answer["RecordErrors"]], answer["LogStartOffset"]


def is_now(ms):
    return abs(ms - now_ms()) < 60000


def test_log_append_time(connection, topic):
    """The broker's time stands in the batch and in the answer; what the producer said stays in the records' deltas."""
    create(connection, topic, message_timestamp_type="LogAppendTime")
    for data in (batch([b"a", b"b"], timestamp=5), batch([b"a"], timestamp=-1), batch([b"a"], codec=1)):
        answer = produce(connection, topic, data)
        assert answer["ErrorCode"] == NONE and is_now(answer["LogAppendTimeMs"])
    written = read(connection, topic)
    assert [b["first_ms"] for b in written[:2]] == [5, -1]
    for b in written:
        assert b["attributes"] & LOG_APPEND_TIME and is_now(b["max_ms"])
    assert refused(produce(connection, topic, batch([b"a", b"b"], attributes=LOG_APPEND_TIME))) == (INVALID_TIMESTAMP, [0, 1], 0)


@pytest.mark.parametrize("codec,attribute", [("uncompressed", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)])
def test_the_topics_codec(connection, topic, codec, attribute):
    """However it came, it is written in the topic's codec, its offsets and producer as they were."""
    create(connection, topic, compression_type=codec)
    for n, came in enumerate((0, 1)):
        assert produce(connection, topic, batch([b"x" * 100] * 3, codec=came, producer=(77, 0, 3 * n)))["BaseOffset"] == 3 * n
    written = read(connection, topic)
    assert [(b["attributes"], b["base"], b["delta"], b["count"], b["producer"], b["sequence"]) for b in written] == [
        (attribute, 0, 2, 3, 77, 0), (attribute, 3, 2, 3, 77, 3)]
    if attribute < 2:
        assert [(offset, value) for b in written for offset, _, _, value in records(b)] == [(n, b"x" * 100) for n in range(6)]


def test_levels_of_compression(connection, topic):
    """The same records at gzip's lowest level take more bytes than at its highest."""
    text = b"".join(b"%d:%d " % (n * n % 977, n * 31 % 89) for n in range(4000))
    sizes = []
    for level in (1, 9):
        name = f"{topic}-{level}"
        create(connection, name, compression_type="gzip", compression_gzip_level=level)
        produce(connection, name, batch([text]))
        sizes.append(len(read(connection, name)[0]["records"]))
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("version", range(3, 13))
def test_limits_of_time(connection, topic, version):
    """A thousand seconds before and after the broker's clock: ten seconds inside are fine, ten outside are not."""
    create(connection, topic, message_timestamp_before_max_ms=1000000, message_timestamp_after_max_ms=1000000)
    for distance, error in ((0, NONE), (-990000, NONE), (990000, NONE), (-1010000, INVALID_TIMESTAMP), (1010000, INVALID_TIMESTAMP)):
        answer = produce(connection, topic, batch([b"a"], timestamp=now_ms() + distance), version)
        assert answer["ErrorCode"] == error
        if version >= 8:
            assert [e["BatchIndex"] for e in answer["RecordErrors"]] == ([0] if error else [])


def test_times_are_judged_record_by_record(connection, topic):
    """Those that are wrong are named; one without a time is fine, and so is what calls itself LogAppendTime."""
    create(connection, topic, message_timestamp_before_max_ms=1000000, message_timestamp_after_max_ms=1000000)
    now = now_ms()
    for codec in (0, 1):
        mixed = batch([b"a", b"b", b"c"], timestamps=[now, now - 2000000, now + 2000000], codec=codec)
        assert refused(produce(connection, topic, mixed)) == (INVALID_TIMESTAMP, [1, 2], 0)
    assert produce(connection, topic, batch([b"a", b"b"], timestamp=-1))["BaseOffset"] == 0
    assert produce(connection, topic, batch([b"a"], attributes=LOG_APPEND_TIME))["BaseOffset"] == 2
    assert read(connection, topic)[1]["attributes"] == 0
    # With LogAppendTime no time that a producer gave is judged.
    other = topic + "-append"
    create(connection, other, message_timestamp_before_max_ms=1, message_timestamp_type="LogAppendTime")
    assert produce(connection, other, batch([b"a"], timestamp=5))["ErrorCode"] == NONE


def test_max_message_bytes(connection, topic):
    """One byte less, exactly as many, one more."""
    size = len(batch([b"x" * 1000]))
    create(connection, topic, max_message_bytes=size)
    for difference, error in ((-1, NONE), (0, NONE), (1, MESSAGE_TOO_LARGE)):
        answer = produce(connection, topic, batch([b"x" * (1000 + difference)]))
        assert answer["ErrorCode"] == error
    assert answer["LogStartOffset"] == -1
    # Encoded anew it may be larger; what came is what is judged first.
    for codec, data in (("gzip", batch([b"x" * 1000])), ("uncompressed", batch([b"x" * 1000], codec=1))):
        create(connection, f"{topic}-{codec}", max_message_bytes=200, compression_type=codec)
        assert produce(connection, f"{topic}-{codec}", data)["ErrorCode"] == MESSAGE_TOO_LARGE


def test_a_compacted_topic_needs_keys(connection, topic):
    create(connection, topic, cleanup_policy="compact")
    assert refused(produce(connection, topic, batch([b"a", b"b", b"c"], keys=[b"k", None, None]))) == (INVALID_RECORD, [1, 2], 0)
    assert produce(connection, topic, batch([b"a"], keys=[b"k"]))["BaseOffset"] == 0


def changed(data, at, what, mend=True):
    data = data[:at] + what + data[at + len(what):]
    return data[:17] + struct.pack(">I", crc32c(data[21:])) + data[21:] if mend else data


GOOD = batch([b"a", b"b"], timestamp=1)


NOT_WRITTEN = [
    ("crc", changed(GOOD, 30, b"\xff", False), CORRUPT_MESSAGE, -1), ("format 1", changed(GOOD, 16, b"\1"), INVALID_RECORD, -1),
    ("format 3", changed(GOOD, 16, b"\3"), CORRUPT_MESSAGE, -1), ("count 3", changed(GOOD, 57, struct.pack(">i", 3)), INVALID_RECORD, 0),
    ("count 0", changed(GOOD, 57, struct.pack(">i", 0)), INVALID_RECORD, 0), ("delta -1", changed(GOOD, 23, struct.pack(">i", -1)), INVALID_RECORD, 0),
    ("base 5", batch([b"a"], base=5), INVALID_RECORD, 0), ("control", batch([b"a"], attributes=32), INVALID_RECORD, 0),
    ("transactional", batch([b"a"], attributes=16, producer=(5, 0, 0)), TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1),
    ("codec 5", changed(GOOD, 21, b"\0\5"), UNSUPPORTED_COMPRESSION, 0), ("not gzip", changed(GOOD, 21, b"\0\1"), INVALID_RECORD, 0),
    ("two batches", GOOD + GOOD, INVALID_RECORD, -1), ("nothing", b"", INVALID_RECORD, -1), ("no sequence", batch([b"a"], producer=(7, 0, -1)), INVALID_RECORD, 0),
    ("a gap", batch([b"a"], producer=(8, 0, 5)), NONE, 0)]


@pytest.mark.parametrize("case", range(len(NOT_WRITTEN)), ids=[case[0].replace(" ", "-") for case in NOT_WRITTEN])
def test_what_is_not_a_batch_to_be_written(connection, topic, case):
    """Refused as a whole; and the next batch is written as if nothing had been."""
    _, data, error, start = NOT_WRITTEN[case]
    create(connection, topic)
    answer = produce(connection, topic, data)
    assert (answer["ErrorCode"], answer["LogStartOffset"]) == (error, start)
    assert produce(connection, topic, GOOD)["BaseOffset"] == (1 if error == NONE else 0)


def test_sequences(connection, topic):
    """A gap is refused with the log's start told; a retry is answered as the first time."""
    create(connection, topic)
    assert produce(connection, topic, batch([b"a"], producer=(9, 0, 0), timestamp=1))["BaseOffset"] == 0
    assert refused(produce(connection, topic, batch([b"a"], producer=(9, 0, 5)))) == (OUT_OF_ORDER_SEQUENCE, [], 0)
    assert produce(connection, topic, batch([b"a"], producer=(9, 0, 0), timestamp=1))["BaseOffset"] == 0
    assert produce(connection, topic, GOOD, acks=2)["ErrorCode"] == INVALID_REQUIRED_ACKS


UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID = 3, 100
TWO = GOOD + GOOD
OTHER = batch([b"later"], timestamp=2)
# The records that are named for a partition, in their order: the answer, and what is written.
NAMED_AGAIN = {"both-good": ([GOOD, OTHER], NONE, [1]), "thrice": ([OTHER, GOOD, OTHER], NONE, [1]), "alike": ([GOOD, GOOD], NONE, [2]),
               "first-wrong": ([TWO, OTHER], INVALID_RECORD, [1]), "second-wrong": ([GOOD, TWO], INVALID_RECORD, [2]),
               "in-the-middle": ([GOOD, TWO, OTHER], INVALID_RECORD, [1]), "both-wrong": ([TWO, b""], INVALID_RECORD, []),
               "last-of-the-wrong": ([TWO, GOOD + changed(GOOD, 16, b"\3")], CORRUPT_MESSAGE, []),
               "the-good-one-fails": ([TWO, changed(GOOD, 57, struct.pack(">i", 3))], INVALID_RECORD, [])}


@pytest.mark.parametrize("version,topics,case", [(v, t, c) for v in (9, 13) for t in (1, 2) for c in NAMED_AGAIN],
                         ids=[f"v{v}-{t}-{c}" for v in (9, 13) for t in (1, 2) for c in NAMED_AGAIN])
def test_a_partition_named_more_than_once(connection, topic, version, topics, case):
    """Within one topic's entry or in several, by name or by id: the last that may be written is, once; what is wrong with
    the last wrong one is the answer, once."""
    given, error, written = NAMED_AGAIN[case]
    create(connection, topic)
    topic_id = connection.ask("Metadata", 12, Topics=[{"Name": topic}])["Topics"][0]["TopicId"]
    parts = [{"Index": 0, "Records": data} for data in given]
    entry = {"TopicId": topic_id} if version >= 13 else {"Name": topic}
    entries = [dict(entry, PartitionData=parts)] if topics == 1 else [dict(entry, PartitionData=[part]) for part in parts]
    answer = connection.ask("Produce", version, Acks=-1, TimeoutMs=30000, TopicData=entries)
    assert [(part["ErrorCode"], part["BaseOffset"]) for one in answer["Responses"] for part in one["PartitionResponses"]] == [
        (error, -1 if error else 0)]
    assert [b["count"] for b in read(connection, topic)] == written


def test_a_partition_named_more_than_once_among_many(connection, topic):
    """Thousands of partitions, each named twice: each is answered once and written to once, and it takes no time to speak of."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("two thousand logs that are written to at once want as many descriptors")
    answer = connection.ask("CreateTopics", 7, Topics=[{"Name": topic, "NumPartitions": 2000, "ReplicationFactor": 1,
                                                         "Configs": [{"Name": "retention.ms", "Value": "-1"}]}])
    assert answer["Topics"][0]["ErrorCode"] == NONE
    parts = [{"Index": p % 2000, "Records": GOOD if p < 2000 else OTHER} for p in range(4000)] + [
        {"Index": p % 20000 + 2000, "Records": b""} for p in range(40000)]
    answer = connection.ask("Produce", 9, Acks=1, TimeoutMs=30000, TopicData=[{"Name": topic, "PartitionData": parts}])
    got = {part["Index"]: (part["ErrorCode"], part["BaseOffset"]) for part in answer["Responses"][0]["PartitionResponses"]}
    assert len(got) == len(answer["Responses"][0]["PartitionResponses"]) == 22000
    assert set(got[p] for p in range(2000)) == {(NONE, 0)} and set(got[p] for p in range(2000, 22000)) == {(UNKNOWN_TOPIC_OR_PARTITION, -1)}
    assert [b["count"] for b in read(connection, topic)] == [1]


def test_old_versions_may_not_use_zstd(connection, topic):
    """Before version 7 of Produce a batch in zstd is refused, whatever else is wrong; the other partition's is not."""
    create(connection, topic)
    data = zstd_batch()
    for version, error in ((3, UNSUPPORTED_COMPRESSION), (6, UNSUPPORTED_COMPRESSION), (7, NONE), (9, NONE)):
        assert produce(connection, topic, data, version=version)["ErrorCode"] == error
    assert produce(connection, topic, data, version=6, acks=5)["ErrorCode"] == UNSUPPORTED_COMPRESSION
    assert produce(connection, topic, data, version=7, acks=5)["ErrorCode"] == INVALID_REQUIRED_ACKS
    assert produce(connection, "no-such-topic-here", data, version=7, acks=5)["ErrorCode"] == 3
    assert len(read(connection, topic)) == 2


def zstd_batch():
    """One record, in a frame of zstd that holds it as it is."""
    record = b"\x0e\x00\x00\x00\x01\x02v\x00"
    frame = bytes.fromhex("28b52ffd20") + bytes([len(record), (len(record) << 3 | 1) & 0xff, 0, 0]) + record
    body = struct.pack(">hiqqqhii", 4, 0, now_ms(), now_ms(), -1, -1, -1, 1) + frame
    tail = struct.pack(">ibI", -1, 2, crc32c(body)) + body
    return struct.pack(">qi", 0, len(tail)) + tail
