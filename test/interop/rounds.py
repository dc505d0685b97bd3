#!/usr/bin/env python3
"""One data directory, Apache Kafka's and Moldau's in turn, under a load that goes on: rounds.py [--rounds N] [--seed S] [--first 3.9].

The clients of test/crash live through all rounds, and their model compares after each start what was acknowledged with what is
there. Besides: a topic that forgets (by retention and by DeleteRecords), and while the node is Apache Kafka transactions,
committed and aborted, with offsets in them. Each round ends with a clean stop or a kill -9. The first one is Apache Kafka's: 4.4, or 3.9.
"""
import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "clients"))
sys.path.insert(0, str(ROOT / "test" / "crash"))
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from conftest_shared import MOLDAU, free_port, run  # noqa: E402
from load import PATIENT, Load, Stream, Wrong, head_of, patiently  # noqa: E402

JARS = ROOT / "build" / "interop"
LOGGING = ROOT / "test" / "interop" / "log4j2.yaml"
TX_GROUP = "tx-group"


class Transactions(threading.Thread):
    """Transactions while the node has a coordinator for them; each record is "x:TRANSACTION:padding"."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load = load
        self.random = random.Random(f"{load.seed}-tx")
        self.allowed, self.number = False, 0
        self.outcomes, self.sizes = {}, {}   # transaction -> committed, aborted or maybe

    def run(self):
        while not self.load.over:
            if not self.allowed:
                time.sleep(0.1)
                continue
            try:
                self.session()
            except KafkaException as error:
                self.load.errors[f"tx: {error.args[0].name()}"] += 1
                time.sleep(0.2)

    def session(self):
        producer = Producer({"bootstrap.servers": self.load.address, "transactional.id": "x", "linger.ms": 2, **PATIENT,
                             "compression.type": self.random.choice(("none", "gzip", "snappy", "lz4", "zstd"))})
        group = Consumer({"bootstrap.servers": self.load.address, "group.id": TX_GROUP, **PATIENT})
        producer.init_transactions(30)
        while self.allowed and not self.load.over:
            self.number += 1
            number, size = self.number, self.random.choice((1, 5, 40))
            self.outcomes[number], self.sizes[number] = "maybe", size
            commits = self.random.random() < 0.6
            producer.begin_transaction()
            for _ in range(size):
                producer.produce("tx", f"x:{number}:" + "y" * self.random.choice((0, 100, 2000)), partition=0)
            self.load.attempts[TX_GROUP, "tx", 0] = number
            producer.send_offsets_to_transaction([TopicPartition("tx", 0, number)], group.consumer_group_metadata(), 20)
            producer.flush(20)
            if commits:
                producer.commit_transaction(20)
                self.load.commits[TX_GROUP, "tx", 0] = number
            else:
                producer.abort_transaction(20)
            self.outcomes[number] = "committed" if commits else "aborted"
            time.sleep(self.random.choice((0, 0.05, 0.2)))
        group.close()

    def check(self, settled):
        """Whole transactions in order, no aborted one; all that were committed, once their markers are there."""
        sure = dict(self.outcomes)
        seen = {}
        for _, _, value in self.load.read("tx", 0, 0, "read_committed"):
            number = int(head_of(value).split(":")[1])
            seen[number] = seen.get(number, 0) + 1
        if list(seen) != sorted(seen):
            raise Wrong("transactions are in another order")
        for number, count in seen.items():
            if count != self.sizes[number] or self.outcomes[number] == "aborted":
                raise Wrong(f"transaction {number}, {self.outcomes[number]}: {count} of {self.sizes[number]} records are shown")
        missing = [number for number, outcome in sure.items() if outcome == "committed" and number not in seen]
        if missing and settled:
            raise Wrong(f"transaction {missing[0]} was committed and is not shown ({len(missing)} such)")
        return len(seen), missing


class RoundsLoad(Load):
    TOPICS = {**Load.TOPICS, "short": 1}

    def __init__(self, address, seed):
        super().__init__(address, seed)
        self.transactions = Transactions(self)
        self.deleted_before = self.deleting_before = 0

    def forgets(self, topic):
        return topic == "short"

    def create(self):
        super().create()
        admin = AdminClient({"bootstrap.servers": self.address})
        for created in admin.create_topics([NewTopic("tx", 1, 1, config={"segment.bytes": "1048576", "retention.ms": "-1"})]).values():
            created.result(60)

    def config_of(self, topic):
        return {"segment.bytes": "1048576", "retention.ms": "-1", "retention.bytes": "1500000"} if topic == "short" else super().config_of(topic)

    def start(self):
        super().start()
        more = [Stream(self, "s0", "short", 1, **{"enable.idempotence": True, "compression.type": "gzip"}), self.transactions]
        self.clients += more
        for client in more:
            client.start()

    def delete_records(self, chance):
        high = self.verified["short", 0]
        if not high:
            return
        offset = chance.randrange(self.deleted_before, high + 1)
        admin = AdminClient({"bootstrap.servers": self.address})
        answer = admin.delete_records([TopicPartition("short", 0, offset)])
        low = next(iter(answer.values())).result(30).low_watermark
        self.deleting_before = max(self.deleted_before, low)

    def check_forgetting(self):
        low, _ = patiently(lambda: self.consumer("checker-low").get_watermark_offsets(TopicPartition("short", 0), timeout=30))
        if low < self.deleted_before:
            raise Wrong(f"short-0 begins at {low}; everything before {self.deleted_before} was deleted")


class Nodes:
    """The data directory, and whoever serves it."""

    def __init__(self, folder):
        self.folder = folder
        self.port, controller = free_port(), free_port()
        self.address = f"localhost:{self.port}"
        self.conf = folder / "server.properties"
        self.log = folder / "node.log"
        self.process = None
        dirs = ",".join(str(folder / f"data{i}") for i in range(3))
        self.conf.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:{controller}
listeners=PLAINTEXT://localhost:{self.port},CONTROLLER://localhost:{controller}
advertised.listeners=PLAINTEXT://localhost:{self.port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={dirs}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
offsets.topic.segment.bytes=1048576
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=300
log.retention.check.interval.ms=1000
log.flush.offset.checkpoint.interval.ms=5000
metadata.log.max.record.bytes.between.snapshots=8192
metadata.log.max.snapshot.interval.ms=5000
metadata.log.segment.bytes=8388608
""")

    def java(self, part):
        return ["java", "-Xmx400m", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{JARS / part}/*"]

    def format(self, part):
        run(*self.java(part), "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", self.conf, timeout=120)

    def start(self, make):
        """`moldau`, `server` (Apache Kafka 4.4) or `server-3.9`. Answers the seconds until it answers."""
        command = [str(MOLDAU), "server", str(self.conf)] if make == "moldau" else [*self.java(make), "kafka.Kafka", str(self.conf)]
        began = time.monotonic()
        with open(self.log, "a") as log:
            print(f"---- {make}", file=log, flush=True)
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        while run("kcat", "-b", self.address, "-L", "-m", "1", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() - began > 180:
                raise Wrong(f"{make} did not start: exit {self.process.poll()}\n" + self.log.read_text(errors="replace")[-3000:])
            time.sleep(0.1)
        return time.monotonic() - began

    def end(self, how):
        if self.process.poll() is not None:
            raise Wrong(f"the node ended by itself: exit {self.process.returncode}\n" + self.log.read_text(errors="replace")[-3000:])
        self.process.send_signal(how)
        self.process.wait(120)


def run_rounds(folder, rounds, seed, first, say=print):
    chance = random.Random(seed)
    nodes = Nodes(folder)
    nodes.format(first)
    load = RoundsLoad(nodes.address, seed)
    makes = [first] + ["moldau" if i % 2 == 0 else "server" for i in range(rounds)]
    try:
        for i, make in enumerate(makes):
            took = nodes.start(make)
            if i == 0:
                load.create()
                load.start()
            is_apache = make != "moldau"
            load.transactions.allowed = is_apache
            load.check_offsets(but=() if is_apache else (TX_GROUP,))
            load.check_topics()
            count = load.check_logs()
            load.check_forgetting()
            shown, _ = load.transactions.check(settled=False)
            time.sleep(chance.choice((1, 3, 6)))
            load.delete_records(chance)
            time.sleep(chance.random() * 2)
            fail_if_wrong(load)
            how = chance.choice((signal.SIGTERM, signal.SIGKILL))
            if is_apache and how == signal.SIGTERM and chance.random() < 0.5:
                load.transactions.allowed = False  # else the stop, too, comes in the middle of one
                time.sleep(1)
            nodes.end(how)
            load.transactions.allowed = False
            if how == signal.SIGTERM:  # both write it down once in a minute
                load.deleted_before = load.deleting_before
            say(f"round {i:2} {make:10} answered after {took:5.1f} s; {count:6} records read, {shown} transactions shown; ended by {how.name}", flush=True)
        # The last words: each reads everything, Apache Kafka after its coordinator has settled what was under way.
        for make in ("server", "moldau"):
            nodes.start(make)
            if make == "server":
                load.transactions.allowed = True
                ended = load.transactions.number + 2
                deadline = time.monotonic() + 120
                while load.transactions.number < ended and time.monotonic() < deadline:
                    time.sleep(0.2)
                load.transactions.allowed = False
                time.sleep(1)
                load.stop()
            load.check_offsets()
            load.check_topics()
            load.check_configs()
            total = load.check_logs(from_start=True)
            load.check_forgetting()
            shown, _ = load.transactions.check(settled=True)
            fail_if_wrong(load)
            nodes.end(signal.SIGTERM)
        acknowledged = sum(client.acknowledged for client in load.clients if hasattr(client, "acknowledged"))
        outcomes = list(load.transactions.outcomes.values())
        say(f"{rounds} rounds after Apache Kafka {'4.4' if first == 'server' else '3.9'}, seed {seed}: {acknowledged} records, {load.commits_acknowledged} commits and "
            f"{outcomes.count('committed')} transactions acknowledged ({outcomes.count('aborted')} aborted, {outcomes.count('maybe')} of unknown end); "
            f"{total} records read back, {shown} transactions shown; lost 0, doubled 0; {len(load.topics)} topics; errors told: {dict(load.errors)}", flush=True)
    finally:
        load.over = True
        if nodes.process and nodes.process.poll() is None:
            nodes.process.kill()
            nodes.process.wait()


def fail_if_wrong(load):
    if load.wrong:
        raise Wrong(load.wrong[0])
    for client in load.clients:
        if getattr(client, "fatal", None):
            raise Wrong(f"{client.name} met a fatal error: {client.fatal}")
        if not client.is_alive() and not load.over:
            raise Wrong(f"a client ended: {client.name}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--first", choices=("4.4", "3.9"), default="4.4")
    options.add_argument("--dir", help="work here, and leave it there")
    words = options.parse_args()
    folder = pathlib.Path(words.dir or tempfile.mkdtemp(prefix="moldau-rounds-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run_rounds(folder, words.rounds, words.seed, "server" if words.first == "4.4" else "server-3.9")
    except Wrong as wrong:
        print(f"WRONG: {wrong}\nseed {words.seed}; the files are in {folder}", flush=True)
        os._exit(1)
    os._exit(0)  # clients' threads that wait for a node that is gone


if __name__ == "__main__":
    main()
