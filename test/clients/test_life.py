"""Start, stop, kill: what was acknowledged stays."""
import subprocess
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from conftest_shared import MOLDAU, Node, run


def read_all(node, topic, partition=0):
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": "reader"})
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
    consumer.assign([TopicPartition(topic, partition, low)])
    got = []
    deadline = time.monotonic() + 30
    while (not got or got[-1].offset() < high - 1) and high > low and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            got.append(message)
    consumer.close()
    return got


def test_clean_stop_and_start_keeps_everything(own_node):
    producer = Producer({"bootstrap.servers": own_node.address})
    for i in range(1000):
        producer.produce("kept", str(i))
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": own_node.address, "group.id": "g"})
    consumer.commit(offsets=[TopicPartition("kept", 0, 500)], asynchronous=False)
    consumer.close()
    began = time.monotonic()
    own_node.stop()
    assert time.monotonic() - began < 5
    own_node.start()
    assert [m.value() for m in read_all(own_node, "kept")] == [str(i).encode() for i in range(1000)]
    consumer = Consumer({"bootstrap.servers": own_node.address, "group.id": "g"})
    assert consumer.committed([TopicPartition("kept", 0)], timeout=10)[0].offset == 500
    consumer.close()


def test_kill_under_load_loses_nothing_acknowledged_and_doubles_nothing(own_node):
    acked = []
    stop = threading.Event()

    def load():
        producer = Producer({"bootstrap.servers": own_node.address, "enable.idempotence": True, "linger.ms": 1,
                             "message.timeout.ms": 60000, "reconnect.backoff.max.ms": 200})
        i = 0
        while not stop.is_set():
            value = b"%d" % i
            try:
                producer.produce("hit", value, on_delivery=lambda e, m, v=value: acked.append(v) if e is None else None)
                i += 1
            except BufferError:
                producer.poll(0.1)
            producer.poll(0.0005)
        producer.flush(60)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(5):
            time.sleep(0.7)
            own_node.kill()
            own_node.start()
    finally:
        time.sleep(0.5)
        stop.set()
        thread.join()
    values = [m.value() for m in read_all(own_node, "hit")]
    assert len(acked) > 100
    assert set(acked) <= set(values)
    assert len(values) == len(set(values))
    assert values == sorted(values, key=int)


def test_two_processes_never_share_a_folder(own_node):
    other = subprocess.run([MOLDAU, "dev", "--dir", own_node.folder, "--port", "0"], capture_output=True, text=True, timeout=20)
    assert other.returncode != 0 and str(own_node.folder) in other.stdout + other.stderr


def test_ready_is_said_once(tmp_path):
    node = Node(tmp_path / "data").start()
    node.stop()
    assert sum(line.startswith("ready:") for line in node.log.read_text().splitlines()) == 1


def test_wrong_settings_stop_the_start_with_one_sentence(tmp_path):
    good = ("process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:19193\n"
            "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\ncontroller.listener.names=CONTROLLER\n"
            f"log.dirs={tmp_path}/data\n")
    for line, word in (("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "authorizer.class.name"),
                       ("num.partitions=many", "num.partitions"),
                       ("listeners=SASL_PLAINTEXT://127.0.0.1:0", "listeners"),
                       ("listeners=SSL://127.0.0.1:0", "listeners")):
        conf = tmp_path / "server.properties"
        conf.write_text(good + line + "\n")
        done = run(MOLDAU, "server", conf, check=False, timeout=10)
        assert done.returncode != 0 and word in done.stdout + done.stderr, (line, done)
        assert len((done.stdout + done.stderr).strip().splitlines()) <= 2


def test_deleted_records_stay_deleted_after_kill(own_node):
    """Killed at the moment when DeleteRecords is answered, again and again: the partition starts where the answer said, at
    once and after the next start, in the middle of a segment and at its end."""
    producer = Producer({"bootstrap.servers": own_node.address})
    topics = ["gone-%d" % i for i in range(3)]
    for topic in topics:
        for i in range(300):
            producer.produce(topic, str(i))
    assert producer.flush(20) == 0
    for offset in (7, 100, 101, 299, 300):
        admin = AdminClient({"bootstrap.servers": own_node.address})
        futures = admin.delete_records([TopicPartition(topic, 0, offset) for topic in topics], request_timeout=20)
        assert [future.result().low_watermark for future in futures.values()] == [offset] * len(topics)
        own_node.kill()
        own_node.start()
        consumer = Consumer({"bootstrap.servers": own_node.address, "group.id": "reader"})
        for topic in topics:
            assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20) == (offset, 300)
        consumer.close()


def test_a_node_without_a_file_has_nothing_to_warn_of(tmp_path):
    """Nobody set anything, so there is no setting to complain about before the line that says `ready`."""
    node = Node(tmp_path / "data").start()
    try:
        said = node.log.read_text().split("\nready:")[0]
        assert "has no effect" not in said and "unknown" not in said
    finally:
        node.kill()
