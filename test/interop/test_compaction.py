"""The same log compacted by Apache Kafka and by Moldau: the same records stay."""
import re
import shutil
import time

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from conftest import java
from conftest_shared import TOOLS, free_port, run
from test_files import CODECS, DUMP, address_of, apache, create, moldau, read_all, server_properties

PADDING = "compaction is a matter of what may be forgotten " * 12


def write_table(address, topic):
    """Keys again and again, in every codec; tombstones; transactions, committed and aborted, that share the log's segments."""
    plain = {codec: Producer({"bootstrap.servers": address, "compression.type": codec, "enable.idempotence": True, "linger.ms": 5,
                              "batch.num.messages": 50}) for codec in CODECS}
    transactional = [Producer({"bootstrap.servers": address, "transactional.id": f"tx-{i}", "linger.ms": 5}) for i in range(2)]
    for producer in transactional:
        producer.init_transactions(60)
    number = 0
    for round_ in range(12):
        for codec, producer in plain.items():
            for _ in range(250):
                number += 1
                tombstone = number % 7 == 0
                producer.produce(topic, key=f"{codec}-{number * 31 % 97}", value=None if tombstone else f"{number} {PADDING}")
            assert producer.flush(60) == 0
        for i, producer in enumerate(transactional):
            producer.begin_transaction()
            for _ in range(100):
                number += 1
                producer.produce(topic, key=f"tx-{number % 53}", value=f"{number} {PADDING}")
            if (round_ + i) % 2:
                producer.commit_transaction(60)
            else:
                assert producer.flush(60) == 0  # else what is aborted never reaches the log
                producer.abort_transaction(60)
    # The active segment is never cleaned: what counts goes before it.
    for _ in range(3000):
        number += 1
        plain["none"].produce(topic, key=f"last-{number}", value=f"{number} {PADDING}")
    assert plain["none"].flush(60) == 0


def set_properties(conf, data, **more):
    text = re.sub(r"log\.dirs=.*", f"log.dirs={data}", conf.read_text())
    for key, value in more.items():
        key = key.replace("_", ".")
        text = "".join(line + "\n" for line in text.splitlines() if not line.startswith(key + "=")) + f"{key}={value}\n"
    conf.write_text(text)


def segments(data, topic):
    return sorted((p.name, p.stat().st_size) for p in (data / f"{topic}-0").glob("*.log"))


def wait_until_clean(data, topic, before):
    """The segments shrank and then stayed as they are for some seconds."""
    deadline, last, since = time.monotonic() + 120, None, time.monotonic()
    while time.monotonic() < deadline:
        now = segments(data, topic)
        if now != last:
            last, since = now, time.monotonic()
        if now != before and time.monotonic() - since > 4 and not list((data / f"{topic}-0").glob("*.cleaned")):
            return
        time.sleep(0.2)
    raise AssertionError(f"not cleaned: {before} -> {last}")


def records(data, topic):
    """What Apache's own tool finds: offset, key and payload of each record, and the markers."""
    files = ",".join(str(p) for p in sorted((data / f"{topic}-0").glob("*.log")))
    out = java("tools", DUMP, "--files", files, "--print-data-log").stdout
    assert "isvalid: false" not in out
    found = []
    for line in out.splitlines():
        if line.startswith("|"):
            offset = re.search(r"offset: (\d+)", line).group(1)
            rest = re.search(r"(endTxnMarker: \w+|key: .*)", line)
            found.append((int(offset), rest.group(1) if rest else line))
    return found


def test_compaction_leaves_what_apaches_leaves(tmp_path):
    conf = server_properties(tmp_path, tmp_path / "apache", free_port(), free_port())
    address = address_of(conf)
    set_properties(conf, tmp_path / "apache", log_cleaner_backoff_ms=100000000)
    run(TOOLS / "kafka-storage.sh", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", conf)
    with apache(conf):
        create(address, NewTopic("table", 1, 1, config={"cleanup.policy": "compact", "segment.bytes": "1048576",
                                                        "min.cleanable.dirty.ratio": "0.01"}))
        write_table(address, "table")
    before = segments(tmp_path / "apache", "table")
    assert len(before) >= 4
    shutil.copytree(tmp_path / "apache", tmp_path / "moldau")
    for name, node in (("apache", apache), ("moldau", moldau)):
        set_properties(conf, tmp_path / name, log_cleaner_backoff_ms=200)
        with node(conf):
            wait_until_clean(tmp_path / name, "table", before)
    theirs, ours = records(tmp_path / "apache", "table"), records(tmp_path / "moldau", "table")
    assert len(theirs) < 20000 * 0.9
    assert ours == theirs
    checkpoints = [(tmp_path / name / "cleaner-offset-checkpoint").read_text() for name in ("apache", "moldau")]
    clean = [re.search(r"^table 0 (\d+)$", text, re.M).group(1) for text in checkpoints]
    assert clean[0] == clean[1]
    # And each opens what the other compacted.
    with apache(conf):  # the folder is Moldau's
        from_apache = read_all(address, "table", isolation="read_committed")
    set_properties(conf, tmp_path / "apache")
    with moldau(conf):
        assert read_all(address, "table", isolation="read_committed") == from_apache
