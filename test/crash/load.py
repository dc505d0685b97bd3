"""Clients that go on while their node is killed, and a model of what was acknowledged to them.

Everything here stands outside of the node: it knows what the clients were told, and looks whether that is still so.
  idem    idempotent producers, acks=all, retried until acknowledged: each record once, in order, where it was told
  plain   acks=all with retries, one request in flight, not idempotent: nothing lost; it may come twice, but what was acknowledged
          stands in the order in which it was sent
  once    acks=1 without retries: what was acknowledged is there, once
  table   compacted; an idempotent producer: of each key the last acknowledged record or a later one
  groups  a group with members that come and go, and offsets that are committed without one: never behind an acknowledged commit
  admin   topics, partitions and configs: what was acknowledged is so
"""
import collections
import random
import re
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

PATIENT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20, "retry.backoff.max.ms": 200,
           "topic.metadata.refresh.fast.interval.ms": 50, "log_level": 0}
OFFSET_GROUPS = 12


class Wrong(AssertionError):
    """Something acknowledged is not so any more."""


class Stream(threading.Thread):
    """One producer; its records are "NAME:NUMBER:padding", the number counted for each partition."""

    def __init__(self, load, name, topic, partitions, **settings):
        super().__init__(daemon=True)
        self.load, self.name, self.topic, self.partitions = load, name, topic, partitions
        self.random = random.Random(f"{load.seed}-{name}")
        self.settings = {"bootstrap.servers": load.address, "message.timeout.ms": 0, "linger.ms": 2,
                         "queue.buffering.max.messages": 20000, **PATIENT, **settings}
        self.next = [0] * partitions
        self.outstanding = self.acknowledged = 0
        self.fatal = None

    def told(self, partition, number, key):
        def delivered(error, message):
            self.outstanding -= 1
            if error is None:
                self.acknowledged += 1
                self.load.acknowledged(self, partition, number, message.offset(), key)
            else:
                self.load.unknown(self, partition, number, error)
        return delivered

    def run(self):
        producer = Producer(self.settings)
        for partition in range(self.partitions):  # what is produced while librdkafka does not know the topic yet may come in any order
            producer.produce(self.topic, f"{self.name}:0:", key=f"{self.name}-0" if self.load.is_compacted(self.topic) else None,
                             partition=partition, on_delivery=self.told(partition, 0, f"{self.name}-0" if self.load.is_compacted(self.topic) else None))
            self.next[partition] = 1
            self.outstanding += 1
        producer.flush(60)
        while not self.load.over:
            if self.load.paused:
                producer.poll(0.05)
                continue
            partition = self.random.randrange(self.partitions)
            size = self.random.choice((0, 10, 100, 100, 1000, 4000))
            for _ in range(self.random.choice((1, 1, 1, 3, 3, 10, 20, 100))):
                if self.outstanding > 4000:
                    break
                number, key = self.next[partition], None
                if self.load.is_compacted(self.topic):
                    key = f"{self.name}-{self.random.randrange(200)}"
                text = f"{self.name}:{number}:" + ("%x" % self.random.getrandbits(64)) * (size // 16)
                producer.produce(self.topic, text, key=key, partition=partition, on_delivery=self.told(partition, number, key))
                self.next[partition] += 1
                self.outstanding += 1
            producer.poll(0)
            time.sleep(self.random.choice((0, 0.05, 0.1, 0.3)))
        # A fatal error ends an idempotent producer: nothing of what it was told may have led to that.
        deadline = time.monotonic() + 60
        while self.outstanding and time.monotonic() < deadline:
            producer.poll(0.1)
        producer.purge()
        producer.flush(5)


class Member(threading.Thread):
    """A member of the group: reads, remembers what it was shown, commits, sometimes leaves and comes back."""

    def __init__(self, load, name, group, topic):
        super().__init__(daemon=True)
        self.load, self.name, self.group, self.topic = load, name, group, topic
        self.random = random.Random(f"{load.seed}-{name}")

    def consumer(self):
        consumer = Consumer({"bootstrap.servers": self.load.address, "group.id": self.group, "enable.auto.commit": False,
                             "auto.offset.reset": "earliest", "session.timeout.ms": 10000, "heartbeat.interval.ms": 500, **PATIENT})
        consumer.subscribe([self.topic])
        return consumer

    def run(self):
        consumer = self.consumer()
        while not self.load.over:
            try:
                for message in consumer.consume(500, 0.2):
                    if message.error() is None:
                        self.load.was_shown(message)
                if self.random.random() < 0.5 and not self.load.paused:
                    positions = [p for p in consumer.position(consumer.assignment()) if p.offset >= 0]
                    self.load.commit(consumer, self.group, positions)
                if self.random.random() < 0.01:
                    consumer.close()
                    consumer = self.consumer()
            except KafkaException:
                time.sleep(0.05)
        consumer.close()


class Committer(threading.Thread):
    """Offsets of groups without members."""

    def __init__(self, load, topic):
        super().__init__(daemon=True)
        self.load, self.topic = load, topic
        self.random = random.Random(f"{load.seed}-committer")

    def run(self):
        consumers = [Consumer({"bootstrap.servers": self.load.address, "group.id": f"offsets-{i}", "enable.auto.commit": False, **PATIENT})
                     for i in range(OFFSET_GROUPS)]
        number = 0
        while not self.load.over:
            if self.load.paused:
                time.sleep(0.05)
                continue
            number += 1
            time.sleep(self.random.choice((0, 0.02, 0.05, 0.1)))
            i = self.random.randrange(OFFSET_GROUPS)
            self.load.commit(consumers[i], f"offsets-{i}", [TopicPartition(self.topic, p, number) for p in range(self.random.choice((1, 3)))])
        for consumer in consumers:
            consumer.close()


class Administrator(threading.Thread):
    """Topics come, get more partitions and other configs, and go."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load = load
        self.random = random.Random(f"{load.seed}-admin")

    def run(self):
        admin = AdminClient({"bootstrap.servers": self.load.address, "socket.timeout.ms": 5000, **PATIENT})
        number = 0
        while not self.load.over:
            if self.load.paused:
                time.sleep(0.05)
                continue
            topics = self.load.topics
            sure = [name for name, is_there in topics.items() if is_there]
            what = self.random.choice(("create", "create", "delete", "grow", "config", "config"))
            try:
                if what == "create":
                    number += 1
                    name = f"topic-{number}"
                    topics[name] = None
                    admin.create_topics([NewTopic(name, 2, 1)], operation_timeout=5, request_timeout=5)[name].result()
                    topics[name], self.load.sizes[name] = True, 2
                elif what == "delete" and len(sure) > 10:
                    name = self.random.choice(sure)
                    topics[name] = None
                    admin.delete_topics([name], operation_timeout=5, request_timeout=5)[name].result()
                    topics[name] = False
                elif what == "grow" and sure:
                    name = self.random.choice(sure)
                    wanted = self.load.sizes[name] + 1
                    admin.create_partitions([NewPartitions(name, wanted)], operation_timeout=5, request_timeout=5)[name].result()
                    self.load.sizes[name] = wanted
                elif what == "config" and sure:
                    name = self.random.choice(sure)
                    self.load.configs[name] = None
                    value = str(self.random.randrange(10**6, 10**9))
                    resource = ConfigResource(ConfigResource.Type.TOPIC, name, set_config={"retention.ms": value})
                    admin.alter_configs([resource], request_timeout=5)[resource].result()
                    self.load.configs[name] = value
            except KafkaException:
                pass  # it may have happened, or not
            time.sleep(self.random.choice((0.02, 0.1, 0.3)))


class Load:
    """The clients and the model. One lock: callbacks are short."""

    TOPICS = {"idem": 3, "plain": 2, "once": 1, "table": 1}

    def __init__(self, address, seed):
        self.address, self.seed = address, seed
        self.over = self.paused = False
        self.lock = threading.Lock()
        self.acks = collections.defaultdict(dict)      # (topic, partition) -> offset -> (name, number)
        self.maybe = collections.defaultdict(set)      # (topic, partition) -> (name, number): refused or never answered
        self.last_of_key = {}                          # key of the table -> number
        self.shown = collections.defaultdict(dict)     # (topic, partition) -> offset -> head of the value
        self.log = collections.defaultdict(list)       # (topic, partition) -> [(offset, name, number)], as verified
        self.verified = collections.Counter()          # (topic, partition) -> next offset
        self.commits, self.attempts = {}, {}           # (group, topic, partition) -> offset
        self.topics, self.sizes, self.configs = {}, {}, {}
        self.errors = collections.Counter()
        self.first_ack_after, self.commits_acknowledged, self.repeated = None, 0, 0
        self.clients, self.consumers = [], {}
        self.wrong = []                                # seen by a client's own thread

    @staticmethod
    def is_compacted(topic):
        return topic == "table"

    def forgets(self, topic):
        """Records at its beginning may go."""
        return False

    def config_of(self, topic):
        if self.is_compacted(topic):
            return {"segment.bytes": "1048576", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000"}
        return {"segment.bytes": "1048576", "retention.ms": "-1", "retention.bytes": "-1"}

    def create(self):
        admin = AdminClient({"bootstrap.servers": self.address})
        topics = [NewTopic(name, partitions, 1, config=self.config_of(name)) for name, partitions in self.TOPICS.items()]
        for created in admin.create_topics(topics).values():
            created.result(30)

    def start(self):
        idempotent = {"enable.idempotence": True}
        self.clients = [
            Stream(self, "i0", "idem", 3, **idempotent),
            Stream(self, "i1", "idem", 3, **idempotent, **{"compression.type": "lz4"}),
            Stream(self, "i2", "idem", 3, **idempotent, **{"compression.type": "zstd"}),
            Stream(self, "p0", "plain", 2, **{"acks": "all", "max.in.flight": 1, "compression.type": "gzip"}),
            Stream(self, "o0", "once", 1, **{"acks": "1", "retries": 0}),
            Stream(self, "t0", "table", 1, **idempotent, **{"compression.type": "snappy"}),
            Member(self, "m0", "members", "idem"), Member(self, "m1", "members", "idem"),
            Committer(self, "idem"), Administrator(self)]
        for client in self.clients:
            client.start()

    def stop(self):
        self.over = True
        for client in self.clients:
            client.join(90)
            if client.is_alive():
                raise Wrong(f"{type(client).__name__} {client.name} did not end")
            if isinstance(client, Stream) and client.outstanding:
                raise Wrong(f"{client.name}: {client.outstanding} records were never answered")

    # ---- what clients are told

    def acknowledged(self, stream, partition, number, offset, key):
        with self.lock:
            there = self.acks[stream.topic, partition].setdefault(offset, (stream.name, number))
            if there != (stream.name, number):
                self.wrong.append(f"{stream.topic}-{partition}: offset {offset} was told to {there} and to {(stream.name, number)}")
            if key is not None:
                self.last_of_key[key] = max(number, self.last_of_key.get(key, -1))
            if self.first_ack_after is None:
                self.first_ack_after = time.monotonic()

    def unknown(self, stream, partition, number, error):
        with self.lock:
            self.maybe[stream.topic, partition].add((stream.name, number))
            self.errors[f"{stream.name}: {error.name()}"] += 1
            if error.fatal() and stream.fatal is None:
                stream.fatal = error.str()

    def was_shown(self, message):
        with self.lock:
            self.shown[message.topic(), message.partition()][message.offset()] = head_of(message.value())

    def commit(self, consumer, group, positions):
        if not positions:
            return
        with self.lock:
            for p in positions:
                key = (group, p.topic, p.partition)
                self.attempts[key] = max(p.offset, self.attempts.get(key, -1))
        try:
            answers = consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            self.errors[f"commit: {error.args[0].name()}"] += 1
            return
        with self.lock:
            self.commits_acknowledged += 1
            for p in answers:
                if p.error is None:
                    key = (group, p.topic, p.partition)
                    if group.startswith("offsets") or p.offset >= self.commits.get(key, -1):
                        self.commits[key] = p.offset
                    else:
                        self.wrong.append(f"{key}: {p.offset} was committed after {self.commits[key]}: somebody began before it")

    # ---- whether it is so

    def consumer(self, group, **settings):
        """One that stays: to make one takes longer than to ask it."""
        key = (group, settings.get("isolation.level"))
        if key not in self.consumers:
            self.consumers[key] = Consumer({"bootstrap.servers": self.address, "group.id": group, "enable.auto.commit": False, **PATIENT, **settings})
        return self.consumers[key]

    def check_offsets(self, but=()):
        """No group's offset lies behind an acknowledged commit, or ahead of all that was tried."""
        with self.lock:
            groups = sorted({group for group, _, _ in self.commits} - set(but))
        for group in groups:
            consumer = self.consumer(group, **{"isolation.level": "read_uncommitted"})  # else offsets of open transactions are waited for
            with self.lock:
                least = {key: offset for key, offset in self.commits.items() if key[0] == group}
            found = patiently(lambda: consumer.committed([TopicPartition(topic, partition) for _, topic, partition in least], timeout=30))
            with self.lock:
                most = dict(self.attempts)
            for p in found:
                key = (group, p.topic, p.partition)
                if not least[key] <= p.offset <= most[key]:
                    raise Wrong(f"{key}: committed is {p.offset}, acknowledged was {least[key]}, tried {most[key]}")

    def check_topics(self):
        """What was answered is so, if not at once: the controller may answer before every broker knows."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.compare_topics()
            except Wrong:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def compare_topics(self):
        with self.lock:
            expected, sizes = dict(self.topics), dict(self.sizes)
        admin = AdminClient({"bootstrap.servers": self.address})
        found = patiently(lambda: admin.list_topics(timeout=30)).topics
        after = dict(self.topics)
        for name, is_there in expected.items():
            if is_there is None or after[name] is not is_there:
                continue
            if is_there != (name in found):
                raise Wrong(f"topic {name}: expected {is_there}, found {name in found}")
            if is_there and len(found[name].partitions) < sizes[name]:
                raise Wrong(f"topic {name}: {len(found[name].partitions)} partitions, {sizes[name]} were acknowledged")

    def check_configs(self):
        """While nothing changes them."""
        admin = AdminClient({"bootstrap.servers": self.address})
        sure = [name for name, value in self.configs.items() if value is not None and self.topics.get(name)]
        for resource, answer in admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name) for name in sure]).items() if sure else ():
            value = answer.result(30)["retention.ms"].value
            if value != self.configs[resource.name]:
                raise Wrong(f"topic {resource.name}: retention.ms is {value}, {self.configs[resource.name]} was acknowledged")

    def check_logs(self, from_start=False):
        """Reads what came since the last check, or everything, while the load goes on. Answers how many records."""
        count = 0
        for topic, partitions in self.TOPICS.items():
            for partition in range(partitions):
                if self.is_compacted(topic):
                    count += self.check_table(topic, partition)
                else:
                    count += self.check_log(topic, partition, from_start)
        return count

    def read(self, topic, partition, from_, isolation="read_uncommitted"):
        """All records from an offset up to what is the end now."""
        consumer = self.consumer("checker", **{"enable.partition.eof": True, "isolation.level": isolation, "check.crcs": True,
                                               "auto.offset.reset": "error", "fetch.wait.max.ms": 20})
        place = TopicPartition(topic, partition, from_)
        deadline = time.monotonic() + 120
        low, high = patiently(lambda: consumer.get_watermark_offsets(place, timeout=60))
        place.offset = max(low, from_)
        consumer.assign([place])
        at_end = place.offset >= high
        while not at_end:
            for message in consumer.consume(2000, 0.02):
                if message.error() is None:
                    if message.offset() < high:
                        yield message.offset(), message.key(), message.value()
                    at_end = at_end or message.offset() >= high - 1
                elif message.error().name() == "_PARTITION_EOF":
                    at_end = at_end or message.offset() >= high or isolation == "read_committed"
                else:
                    raise Wrong(f"{topic}-{partition}: {message.error()}")
            if time.monotonic() > deadline:
                raise Wrong(f"{topic}-{partition}: reading from {place.offset} to {high} got no further than {consumer.position([place])}")
        consumer.unassign()
        self.low, self.high = low, high

    def check_log(self, topic, partition, from_start):
        where = (topic, partition)
        with self.lock:
            acks = dict(self.acks[where])
        if from_start:
            before, self.log[where], begin = self.log[where], [], 0
        else:
            before, begin = None, self.verified[where]
        check_order(where, acks)
        last, any_order = {}, set()
        for _, name, number in self.log[where]:
            last[name] = max(number, last.get(name, -1))
            any_order.add(number)
        expected = begin
        for offset, _, value in self.read(topic, partition, begin):
            head = head_of(value)
            name, number = head.split(":")
            number = int(number)
            if offset > expected == begin and self.forgets(topic):
                expected = offset
                last = None
            if offset != expected:
                raise Wrong(f"{topic}-{partition}: after {expected - 1} comes offset {offset}")
            expected = offset + 1
            if acks.get(offset, (name, number)) != (name, number):
                raise Wrong(f"{topic}-{partition}: at {offset} lies {head}, {acks[offset]} was acknowledged")
            shown = self.shown[where].get(offset, head)
            if shown != head:
                raise Wrong(f"{topic}-{partition}: at {offset} lies {head}, {shown} was shown to a consumer")
            if last is None:
                last = {name: number - 1}
            previous = last.get(name, -1)
            if name[0] in "op" and number < previous and number not in any_order:
                previous = number - 1  # over a lost connection the client promises no order
            any_order.add(number)
            if number <= previous and name[0] != "p":
                raise Wrong(f"{topic}-{partition}: {head} at {offset} is there again, or after {previous}")
            self.repeated += number <= previous
            if number > previous + 1:
                missing = [n for n in range(previous + 1, number) if (name, n) not in self.maybe[where]]
                if missing and name[0] not in "op":
                    raise Wrong(f"{topic}-{partition}: {name}:{missing[0]} is missing before {head} at {offset}")
            last[name] = max(number, last.get(name, -1))
            self.log[where].append((offset, name, number))
        if self.high < expected or (acks and max(acks) >= self.high):
            raise Wrong(f"{topic}-{partition}: ends at {self.high}; {max(acks)} was acknowledged, {expected} read")
        lost = sorted(offset for offset in acks if begin <= offset and not offset < expected)
        if self.forgets(topic):
            expected = max(expected, self.low)
            lost = [offset for offset in lost if offset >= expected]
        if lost:
            raise Wrong(f"{topic}-{partition}: lost: {lost[:5]} of {len(lost)}")
        if before is not None and not self.forgets(topic) and self.log[where][:len(before)] != before:
            raise Wrong(f"{topic}-{partition}: what was read before reads otherwise now")
        self.verified[where] = expected
        return len(self.log[where]) if from_start else expected - begin

    def check_table(self, topic, partition):
        """Compaction may drop what is overwritten, and nothing else; no record comes twice, and their order stays."""
        with self.lock:
            sure = dict(self.last_of_key)
            acks = dict(self.acks[topic, partition])
        last, count, previous, numbers = {}, 0, -1, -1
        for offset, key, value in self.read(topic, partition, 0):
            head = head_of(value)
            number = int(head.split(":")[1])
            if offset <= previous or number <= numbers:
                raise Wrong(f"{topic}-{partition}: {head} at {offset} comes after {numbers} at {previous}")
            if acks.get(offset, (head.split(":")[0], number))[1] != number:
                raise Wrong(f"{topic}-{partition}: at {offset} lies {head}, {acks[offset]} was acknowledged")
            previous, numbers, count = offset, number, count + 1
            last[key.decode()] = number
        for key, number in sure.items():
            if last.get(key, -1) < number:
                raise Wrong(f"{topic}-{partition}: the last record of {key} is {last.get(key)}, {number} was acknowledged")
        return count


def check_order(where, acks):
    """What a producer with one request in flight was told, one after the other, stands in that order, whatever lies between."""
    last = {}
    for offset in sorted(acks):
        name, number = acks[offset]
        if name[0] == "p" and number <= last.get(name, (-1, -1))[0]:
            raise Wrong(f"{where[0]}-{where[1]}: {name}:{number} was acknowledged at {offset}, and {name}:{last[name][0]} before it at {last[name][1]}")
        last[name] = (number, offset)


def patiently(ask):
    """The node has only just started: a coordinator may not be there yet."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def head_of(value):
    return re.match(rb"[^:]+:\d+", value).group().decode()
