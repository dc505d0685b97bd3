"""/metrics and /health: what is told agrees with what was done, and whoever is hostile to the port hurts nobody else."""
import concurrent.futures
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from conftest_shared import MOLDAU, ROOT, TOOLS, Node, run

RECORDS, VALUE = 5000, b"x" * 100


def get(url, timeout=10):
    """Status and text, also of an error."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def produce(node, topic, count=RECORDS, **settings):
    errors = []
    producer = Producer({"bootstrap.servers": node.address, "linger.ms": 5, **settings})
    for i in range(count):
        producer.produce(topic, VALUE, key=b"%08d" % i, on_delivery=lambda error, _: errors.append(error) if error else None)
        if i % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0 and not errors


def consume(node, topic, count, group, **settings):
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **settings})
    consumer.subscribe([topic])
    seen, deadline = 0, time.monotonic() + 60
    while seen < count and time.monotonic() < deadline:
        batch = consumer.consume(min(500, count - seen), timeout=1)
        assert not any(message.error() for message in batch)
        seen += len(batch)
    assert seen == count
    consumer.commit(asynchronous=False)
    consumer.close()


def test_reference_is_current():
    """docs/metrics.md is what the program prints: after a change of the table, print it again."""
    assert run(MOLDAU, "metrics", "doc").stdout == (ROOT / "docs" / "metrics.md").read_text()


def test_page_and_reference_agree(node, topic):
    """Every metric on the page stands in the reference with its kind and its labels."""
    produce(node, topic, 10)
    consume(node, topic, 10, "g-" + topic)
    rows = [line.split(" | ") for line in (ROOT / "docs" / "metrics.md").read_text().splitlines() if line.startswith("| `") and line.count(" | ") == 4]
    known = {row[0][3:-1]: (row[1], {label for label in row[2].split(", ") if label}) for row in rows}
    page = node.metrics()
    assert len(page.families) > 60
    for name, family in page.families.items():
        full = name + "_total" if family.type == "counter" else name
        kind, labels = known[full]
        assert family.type == kind, full
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, sample


def test_counts_are_what_was_done(node, topic):
    """Records and bytes produced and consumed, requests by API and error, as the clients counted them."""
    before = node.metrics()
    produce(node, topic)
    consume(node, topic, RECORDS, "g-" + topic)
    after = node.metrics()

    def grown(name, **labels):
        return after.value(name, **labels) - before.value(name, **labels)

    topics = "kafka_server_brokertopicmetrics_"
    for labels in ({"topic": topic}, {"topic": ""}):
        assert grown(topics + "messagesin_total", **labels) in ((RECORDS,) if labels["topic"] else (RECORDS, RECORDS + 1))
        # A record of 100 bytes and a key of 8 takes a little more; 5,000 share few batch headers.
        assert RECORDS * 110 < grown(topics + "bytesin_total", **labels) < RECORDS * 130
        assert grown(topics + "failedproducerequests_total", **labels) == 0
    assert grown(topics + "bytesout_total", topic=topic) >= grown(topics + "bytesin_total", topic=topic)
    assert after.value("kafka_log_log_logendoffset", topic=topic) == RECORDS
    assert after.value("kafka_cluster_partition_highwatermark", topic=topic) == RECORDS
    assert after.value("kafka_log_log_size", topic=topic) == grown(topics + "bytesin_total", topic=topic)
    produced = grown("kafka_network_requestmetrics_requests_total", request="Produce")
    assert 0 < produced == grown(topics + "totalproducerequests_total", topic="")
    assert grown("kafka_network_requestmetrics_errors_total", request="Produce", error="NONE") == produced
    assert grown("moldau_request_bytes_total", request="Produce") > RECORDS * 110
    assert grown("moldau_log_sync_seconds_count") > 0
    for name in ("JoinGroup", "SyncGroup", "OffsetCommit", "LeaveGroup"):
        assert grown("kafka_network_requestmetrics_requests_total", request=name) > 0, name


def test_openmetrics_for_whoever_asks(node, topic):
    """As Prometheus asks, the page comes in OpenMetrics, which an outside parser of it reads; both formats say the same. A
    client that asks for nothing, or for anything, gets the older text."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
    produce(node, topic, 10)
    consume(node, topic, 10, "g-" + topic)

    def page(accept):
        with urllib.request.urlopen(urllib.request.Request(node.http + "/metrics", headers={"Accept": accept} if accept else {}), timeout=20) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    asked = ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
             "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
    kind, text = page(asked)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8" and text.endswith("\n# EOF\n")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    plain = node.metrics()
    assert set(families) == set(plain.families)
    for name, family in families.items():
        assert family.type == plain.families[name].type, name
        assert {(s.name, tuple(sorted(s.labels.items()))) for s in family.samples if "_bucket" not in s.name} <= {
            (s.name, tuple(sorted(s.labels.items()))) for s in plain.families[name].samples}, name
    for accept in (None, "*/*", "text/plain", "text/html,*/*;q=0.8"):
        kind, text = page(accept)
        assert kind == "text/plain; version=0.0.4; charset=utf-8" and "# EOF" not in text


def test_histograms_add_up(node, topic):
    """As many in the buckets as were counted; buckets only grow; the parts are the whole."""
    produce(node, topic)
    page = node.metrics()
    for request in ("Produce", "Metadata"):
        buckets = page.of("moldau_request_seconds_bucket", request=request)
        values = [sample.value for sample in buckets]
        assert values == sorted(values) and buckets[-1].labels["le"] == "+Inf"
        count = page.value("moldau_request_seconds_count", request=request)
        assert values[-1] == count == page.value("kafka_network_requestmetrics_requests_total", request=request)
        parts = page.value("moldau_request_part_seconds_total", request=request)
        assert parts == pytest.approx(page.value("moldau_request_seconds_sum", request=request), rel=0.001, abs=1e-6)


def test_errors_by_name(node):
    """A fetch of a group's offsets that fails, a produce to a topic that cannot be: counted under the error's name."""
    before = node.metrics()
    with pytest.raises(Exception):
        produce(node, "no/such/name", 1, **{"message.timeout.ms": 2000})
    after = node.metrics()
    name = "kafka_network_requestmetrics_errors_total"
    assert after.value(name, request="Metadata", error="INVALID_TOPIC_EXCEPTION") > before.value(name, request="Metadata", error="INVALID_TOPIC_EXCEPTION")


def test_scrapes_under_load(own_node):
    """Twelve scrapes while producers run: counters never fall, the sum is right at the end, each scrape is soon back."""
    seen, took = [], []
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        work = [pool.submit(produce, own_node, f"load-{i}", 20000) for i in range(3)]
        for _ in range(12):
            began = time.monotonic()
            seen.append(own_node.metrics().value("kafka_server_brokertopicmetrics_messagesin_total", topic=""))
            took.append(time.monotonic() - began)
        for done in work:
            done.result()
    assert seen == sorted(seen)
    assert max(took) < 5
    page = own_node.metrics()
    assert page.value("kafka_server_brokertopicmetrics_messagesin_total", topic="") == 60000
    assert page.value("kafka_server_brokertopicmetrics_messagesin_total") == 120000  # the topics' own are as much


def test_health(tmp_path):
    """Live and ready while the node serves, gone after it."""
    other = tmp_path / "other"
    node = Node(tmp_path / "data", ["--override", f"log.dirs={tmp_path / 'data'},{other}"]).start()
    try:
        assert get(node.http + "/health/live") == (200, "live\n")
        assert get(node.http + "/health/ready") == (200, "ready\n")
        assert get(node.http + "/nothing")[0] == 404
        page = node.metrics()
        assert page.value("moldau_ready") == 1 and page.value("kafka_server_kafkaserver_brokerstate") == 3
        assert page.value("moldau_log_dir_online") == 2
    finally:
        url = node.http
        node.stop()
    with pytest.raises(urllib.error.URLError):
        get(url + "/health/live")


def test_only_where_it_is_configured(tmp_path):
    """A server listens for HTTP only when told to; a port that is taken stops its start with a sentence."""
    node = Node(tmp_path / "data", ["--override", "moldau.http.listener="]).start()
    assert "metrics:" not in node.log.read_text()
    node.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(MOLDAU, "dev", "--dir", tmp_path / "data", "--port", "0", "--override", f"moldau.http.listener=127.0.0.1:{port}", check=False)
        assert done.returncode == 1
        assert f"moldau.http.listener: cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    done = run(MOLDAU, "dev", "--dir", tmp_path / "data", "--port", "0", "--override", "moldau.http.listener=somewhere", check=False)
    assert done.returncode == 1 and "moldau.http.listener" in done.stderr


def raw(node, data, wait=5):
    """What the port answers to these bytes, until it closes or `wait` is over."""
    at = urlsplit(node.http)
    with socket.create_connection((at.hostname, at.port), timeout=wait) as s:
        try:
            s.sendall(data)
            answer = b""
            while piece := s.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
        return answer


def test_requests_that_are_none(own_node):
    """Garbage, huge headers, bodies, methods: an error or a closed connection, and the next one is served."""
    line = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
    for data in (b"\x00" * 1000, b"GET\r\n\r\n", line + b"A: " + b"y" * 100000 + b"\r\n\r\n", line + b"A: b\r\n" * 20000 + b"\r\n",
                 b"GET /" + b"z" * 200000 + b" HTTP/1.1\r\n\r\n", line + b"Content-Length: -1\r\n\r\n", line + b"Content-Length: 99999999999999999999\r\n\r\n"):
        assert b" 200 " not in raw(own_node, data)[:20], data[:40]
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        at = urlsplit(own_node.http)
        connection = http.client.HTTPConnection(at.hostname, at.port, timeout=5)
        connection.request(method, "/metrics", body=b"q" * 1000 if method in ("POST", "PUT") else None)
        assert connection.getresponse().status == 405
        connection.close()
    assert raw(own_node, line + b"Content-Length: 100000000\r\n\r\n" + b"q" * 1000000, wait=2)[:15] == b""
    assert get(own_node.http + "/health/ready") == (200, "ready\n")
    assert own_node.alive()


def test_slow_and_many_connections(own_node):
    """A hundred connections that say nothing or half a line: no more than the bound are held, they go by themselves, memory
    stays, clients of the broker notice nothing."""
    at = urlsplit(own_node.http)
    before = own_node.metrics()
    held = []
    for i in range(100):
        s = socket.create_connection((at.hostname, at.port), timeout=5)
        held.append(s)
        try:
            if i % 2:
                s.sendall(b"GET /metr")
        except OSError:
            pass  # closed at once: over the bound
    produce(own_node, "meanwhile", 1000)
    deadline = time.monotonic() + 25
    while time.monotonic() < deadline:
        try:
            if get(own_node.http + "/health/live", timeout=2)[0] == 200:
                break
        except OSError:
            time.sleep(0.5)
    after = own_node.metrics()
    for s in held:
        s.close()
    assert after.value("process_open_fds") < before.value("process_open_fds") + 100
    assert after.value("process_resident_memory_bytes") < before.value("process_resident_memory_bytes") + (16 << 20)
    assert after.value("kafka_server_brokertopicmetrics_messagesin_total", topic="meanwhile") == 1000


def test_top(node, topic):
    """moldau top --once shows the load that goes on meanwhile; found by the broker's own configuration or by its URL."""
    over = threading.Event()

    def load():
        producer = Producer({"bootstrap.servers": node.address, "linger.ms": 5})
        while not over.is_set():
            producer.produce(topic, VALUE)
            producer.flush(10)

    worker = threading.Thread(target=load)
    worker.start()
    try:
        while node.metrics().value("kafka_server_brokertopicmetrics_messagesin_total", topic=topic) == 0:
            time.sleep(0.1)
        for words in (["--bootstrap-server", node.address], ["--metrics", node.http + "/metrics"]):
            shown = run(MOLDAU, "top", "--once", "--interval-ms", "1500", *words).stdout
            lines = [line for line in shown.splitlines() if line]
            assert "ready" in lines[0] and "\033" not in shown
            heads = [line.split()[0] for line in lines]
            assert [head for head in heads if head in ("REQUEST", "TOPIC", "GROUP", "SHARD")] == ["REQUEST", "TOPIC", "GROUP", "SHARD"]
            produced = next(line.split() for line in lines if line.startswith("Produce "))
            assert produced[1] != "0" and produced[2] != "-"
            assert any(line.startswith(topic + " ") for line in lines)
    finally:
        over.set()
        worker.join()
    for words, sentence in ((["--metrics", "http://127.0.0.1:1/metrics"], "Connection refused"), (["--metrics", "https://x/"], "only http://"),
                            (["--metrics", node.http + "/nothing"], "404"), (["--interval-ms", "5"], "--interval-ms is 100 at least")):
        done = run(MOLDAU, "top", "--once", *words, check=False)
        assert done.returncode == 1 and sentence in done.stderr, words


HOUR_S = 3600


def old_records(node, topic, count, age_s):
    producer = Producer({"bootstrap.servers": node.address, "linger.ms": 50})
    stamp = int((time.time() - age_s) * 1000)
    for i in range(count):
        producer.produce(topic, VALUE, timestamp=stamp)
    assert producer.flush(30) == 0


def test_lag(tmp_path):
    """A group that has read 400 of 1,000 records of an hour ago lags 600 records and an hour; one that has read all lags 0 and
    0 s; the same after the node was started again, and when the other records are a minute old."""
    node = Node(tmp_path / "data", ["--override", "moldau.shards=2"]).start()
    try:
        old_records(node, "aged", 1000, HOUR_S)
        consume(node, "aged", 400, "behind", **{"enable.partition.eof": False})
        consume(node, "aged", 1000, "ahead")
        for life in range(2):
            page = node.metrics()
            of = {"consumergroup": "behind", "topic": "aged", "partition": "0"}
            committed = page.value("kafka_consumergroup_current_offset", **of)
            assert committed == 400
            assert page.value("kafka_consumergroup_lag", **of) == 600
            assert page.value("kafka_consumergroup_lag_seconds", **of) == pytest.approx(HOUR_S, abs=60)
            ahead = page.of("kafka_consumergroup_lag_seconds", consumergroup="ahead", topic="aged")
            assert [sample.value for sample in ahead] == [0]
            assert page.value("kafka_consumergroup_lag", consumergroup="ahead") == 0
            assert page.value("moldau_groups", protocol="classic", state="Empty") == 2
            assert page.value("kafka_consumergroup_members") == 0
            node.stop() if life == 0 else None
            if life == 0:
                node.start()
                deadline = time.monotonic() + 20  # the coordinator loads; partitions found on disk are taken up after a second
                while not node.metrics().of("kafka_consumergroup_lag_seconds", consumergroup="behind") and time.monotonic() < deadline:
                    time.sleep(0.2)
        old_records(node, "aged", 100, 60)
        consume(node, "aged", 600, "behind")
        page = node.metrics()
        assert page.value("kafka_consumergroup_lag", consumergroup="behind") == 100
        assert page.value("kafka_consumergroup_lag_seconds", consumergroup="behind") == pytest.approx(60, abs=30)
        assert page.value("kafka_consumergroup_lag", consumergroup="ahead") == 100
        rows = [line.split() for line in run(TOOLS / "kafka-consumer-groups.sh", "--bootstrap-server", node.address, "--describe", "--all-groups").stdout.splitlines() if " aged " in line]
        assert {(row[0], int(row[3]), int(row[5])) for row in rows} == {
            (name, page.value("kafka_consumergroup_current_offset", consumergroup=name), page.value("kafka_consumergroup_lag", consumergroup=name)) for name in ("ahead", "behind")}
    finally:
        node.stop()


def test_members_and_states(node, topic):
    """While a consumer is in its group, the group is stable and has a member."""
    produce(node, topic, 10)
    consumer = Consumer({"bootstrap.servers": node.address, "group.id": "m-" + topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    assert consumer.poll(30) is not None
    page = node.metrics()
    assert page.value("moldau_groups", protocol="classic", state="Stable") >= 1
    assert page.value("kafka_consumergroup_members", consumergroup="m-" + topic) == 1
    consumer.close()
    assert node.metrics().value("kafka_consumergroup_members", consumergroup="m-" + topic) == 0


def test_lags_of_many(tmp_path):
    """A group with offsets in 1,200 partitions, all behind: each scrape looks up some, and after a few of them every one has
    its age; what is found once stays."""
    node = Node(tmp_path / "data", ["--override", "moldau.shards=2"]).start()
    try:
        admin = AdminClient({"bootstrap.servers": node.address})
        admin.create_topics([NewTopic("many", 1200, 1)])["many"].result(60)
        producer = Producer({"bootstrap.servers": node.address})
        stamp = int((time.time() - 500) * 1000)
        for partition in range(1200):
            producer.produce("many", b"v", partition=partition, timestamp=stamp)
            producer.poll(0)
        assert producer.flush(60) == 0
        consumer = Consumer({"bootstrap.servers": node.address, "group.id": "wide"})
        for begin in range(0, 1200, 400):
            consumer.commit(offsets=[TopicPartition("many", p, 0) for p in range(begin, begin + 400)], asynchronous=False)
        consumer.close()
        seen = 0
        for _ in range(100):
            page = node.metrics()
            ages = page.of("kafka_consumergroup_lag_seconds", consumergroup="wide")
            assert len(ages) >= seen
            seen = len(ages)
            if seen == 1200:
                break
        assert seen == 1200
        assert all(400 < sample.value < 900 for sample in ages)
        assert page.value("kafka_consumergroup_lag", consumergroup="wide") == 1200
        assert page.value("moldau_metrics_left_out") == 0
    finally:
        node.stop()
