#!/usr/bin/env python3
"""Very many partitions on one node: what they cost, and how soon it serves again after kill -9.

Usage: partitions.py PROGRAM [--topics N] [--partitions N] [--written N] [--descriptors N] [--serve-s S] [--memory-mib M]
                     [--idle-bytes N] [--watch-s S] [--dir DIR] [--keep]

Creates topics x partitions, writes to `written` of them (the first topic's partitions get many segments), kills the node
while it is being written to, and starts it again. Serving is what the design calls it: the port is open, and any partition
answers. It is reckoned from the start of the process to the last of: the `ready` line, a Metadata answer that gives a
leader for every partition, a record produced to and fetched from a partition that had been written to, and from one that
had not. Then the node is left alone while it brings the other partitions to life, is asked for its memory and descriptors
again, is stopped, and started once more. The exit status is 1 when a bound is passed.
"""
import argparse, os, pathlib, resource, shutil, signal, socket, struct, subprocess, sys, tempfile, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "test" / "clients"))
from batches import batch  # noqa: E402
from messages import Connection  # noqa: E402

MIB = 1 << 20


def topic_name(i):
    return f"topic-{i:05d}"


class Node:
    def __init__(self, program, folder, port, descriptors):
        self.command = [program, "dev", "--dir", folder, "--port", str(port)]
        self.port, self.descriptors, self.log = port, descriptors, folder + ".log"

    def start(self):
        limit = (self.descriptors, self.descriptors)
        self.out = open(self.log, "ab")
        self.from_byte = self.out.tell()
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(self.command, stdout=self.out, stderr=self.out,
                                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit))
        with open(self.log, "rb") as text:
            text.seek(self.from_byte)
            while not any(line.startswith(b"ready") for line in text.read().splitlines()):
                if self.process.poll() is not None or self.age() > 120:
                    sys.exit("the node does not serve; its output is in " + self.log)
                time.sleep(0.002)
                text.seek(self.from_byte)
        return self.age()

    def age(self):
        return time.perf_counter() - self.begin

    def status(self, field):
        with open(f"/proc/{self.process.pid}/status") as text:
            return next(int(line.split()[1]) * 1024 for line in text if line.startswith(field + ":"))

    def descriptors_open(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as text:
            words = text.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def read_bytes(self):
        with open(f"/proc/{self.process.pid}/io") as text:
            return int(text.readline().split()[1])

    def tell(self, when):
        print(f"  {when}: resident {self.status('VmRSS') / MIB:.1f} MiB (most {self.status('VmHWM') / MIB:.1f}), "
              f"{self.descriptors_open()} descriptors, {self.cpu_s():.2f} CPU-seconds", flush=True)


# ---- Asking. Written out where a hundred thousand items would make the client the slow one.
def leaders(port):
    """How many partitions have this node as their leader, by an answer about all topics; when that was there; its seconds."""
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(struct.pack(">ihhihib", 15, 3, 4, 7, -1, -1, 0))
        stream = client.makefile("rb")
        data = stream.read(struct.unpack(">i", stream.read(4))[0])
    end = time.perf_counter()
    at, count = 4 + 4, 0  # correlation, throttle

    def string(at):
        size = struct.unpack_from(">h", data, at)[0]
        return at + 2 + max(size, 0)
    brokers, at = struct.unpack_from(">i", data, at)[0], at + 4
    for _ in range(brokers):
        at = string(string(at + 4) + 4)
    at = string(at) + 4  # cluster id, controller
    topics, at = struct.unpack_from(">i", data, at)[0], at + 4
    for _ in range(topics):
        at = string(at + 2) + 1
        partitions, at = struct.unpack_from(">i", data, at)[0], at + 4
        for _ in range(partitions):
            error, _, leader, replicas = struct.unpack_from(">hiii", data, at)
            at += 14 + 4 * replicas
            isr = struct.unpack_from(">i", data, at)[0]
            at += 4 + 4 * isr
            count += error == 0 and leader >= 0 and isr == 1
    assert at == len(data)
    return count, end, end - begin


def create(connection, first, last, partitions, **config):
    topics = [{"Name": topic_name(i), "NumPartitions": partitions, "ReplicationFactor": 1, "Assignments": [],
               "Configs": [{"Name": name.replace("_", "."), "Value": value} for name, value in config.items()]} for i in range(first, last)]
    answer = connection.ask("CreateTopics", 7, Topics=topics, timeoutMs=60000)
    assert all(topic["ErrorCode"] == 0 for topic in answer["Topics"]), answer


def produce(connection, topic, partitions, records):
    answer = connection.ask("Produce", 9, Acks=-1, TimeoutMs=60000,
                            TopicData=[{"Name": topic_name(topic), "PartitionData": [{"Index": p, "Records": records} for p in partitions]}])
    parts = [p for t in answer["Responses"] for p in t["PartitionResponses"]]
    assert len(parts) == len(partitions) and all(p["ErrorCode"] == 0 for p in parts), answer
    return parts[0]["BaseOffset"]


def fetch(connection, topic, partition, offset):
    answer = connection.ask("Fetch", 11, ReplicaId=-1, MaxWaitMs=1000, MinBytes=1, MaxBytes=MIB, SessionEpoch=-1, Topics=[
        {"Topic": topic_name(topic), "Partitions": [{"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": MIB, "CurrentLeaderEpoch": -1}]}])
    part = answer["Responses"][0]["Partitions"][0]
    assert part["ErrorCode"] == 0, answer
    return part["Records"]


def produce_and_fetch(port, topic, partition, value):
    connection = Connection(port)
    offset = produce(connection, topic, [partition], batch([value]))
    assert value in fetch(connection, topic, partition, offset)
    connection.close()


# ---- The parts of the run.
def all_lead(node, options):
    """Asks until all partitions have leaders: when that was, and how long the last answer took."""
    total, count, asked = options.topics * options.partitions, -1, 0
    while count != total:
        before, asked = count, asked + 1
        count, end, took = leaders(node.port)
        if count != before and count != total:
            print(f"  {end - node.begin:.3f} s: {count} have a leader")
        if node.age() > 120:
            sys.exit(f"only {count} of {total} partitions have a leader")
    return end, took


def fill(node, options):
    connection = Connection(node.port)
    begin = time.perf_counter()
    create(connection, 0, 1, options.partitions, segment_ms="1000")
    step = max(1, 5000 // options.partitions)  # of one request at most 10,000 records may come
    for first in range(1, options.topics, step):
        create(connection, first, min(options.topics, first + step), options.partitions)
    print(f"{options.topics} x {options.partitions} partitions created in {time.perf_counter() - begin:.2f} s")
    node.tell("created")
    took = all_lead(node, options)[1]
    print(f"  Metadata of all: {took * 1000:.0f} ms")
    node.tell("Metadata of all asked")
    begin, now, written = time.perf_counter(), int(time.time() * 1000), 0
    many = min(50, options.partitions, options.written)
    for i in range(20):  # each of these begins a segment
        produce(connection, 0, range(many), batch([b"x" * 100] * 10, timestamp=now - (20 - i) * 60000))
    written += many
    for topic in range(1, options.topics):
        part = min(options.partitions, (options.written - written) // (options.topics - topic))
        for first in range(0, part, 100):
            produce(connection, topic, range(first, min(part, first + 100)), batch([b"x" * 100] * 10))
        written += part
    took = time.perf_counter() - begin
    print(f"{written} of them written to in {took:.2f} s, {many} with 21 segments")
    node.tell("written to")
    return connection


def serve(node, options, what):
    """Starts it, and answers the seconds until it served in each sense."""
    ready = node.start()
    end, took = all_lead(node, options)
    listed = end - node.begin
    produce_and_fetch(node.port, 0, 0, b"segments")
    produce_and_fetch(node.port, 1, 0, b"touched")
    touched = node.age()
    produce_and_fetch(node.port, options.topics - 1, options.partitions - 1, b"untouched")
    untouched = node.age()
    print(f"{what}: ready after {ready:.3f} s, Metadata of all partitions with leaders after {listed:.3f} s (its answer took {took * 1000:.0f} ms), "
          f"produced to and fetched from partitions written to before after {touched:.3f} s, from an untouched one after {untouched:.3f} s")
    print(f"  {node.read_bytes() / MIB:.1f} MiB read")
    node.tell("serving")
    return untouched


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--topics", type=int, default=100)
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--written", type=int, default=5000)
    parser.add_argument("--descriptors", type=int, default=10000)
    parser.add_argument("--serve-s", type=float, default=2)
    parser.add_argument("--memory-mib", type=float, default=300)
    parser.add_argument("--idle-bytes", type=int, default=2048)
    parser.add_argument("--watch-s", type=float, default=60)
    parser.add_argument("--dir", help="for the data; else a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the data there at the end")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    options.program = os.path.abspath(options.program)
    folder = options.dir or tempfile.mkdtemp(prefix="partitions-")
    os.makedirs(folder, exist_ok=True)
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    node, total, faults = Node(options.program, folder + "/data", port, options.descriptors), options.topics * options.partitions, []

    def bound(what, is_so):
        if not is_so:
            faults.append(what)
    try:
        print(f"empty node: ready after {node.start():.3f} s")
        node.tell("empty")
        empty = node.status("VmRSS")
        connection = fill(node, options)
        bound("memory before the kill", node.status("VmHWM") < options.memory_mib * MIB)
        # The answers to these are not waited for.
        connection.socket.setblocking(False)
        connection.close()
        node.process.kill()
        node.process.wait()

        bound("serving again in time", serve(node, options, "after kill -9") <= options.serve_s)
        bound("memory when serving", node.status("VmRSS") < options.memory_mib * MIB)
        # Time goes by: partitions that nobody asks for come to life for retention and compaction, closed.
        until, cpu, before = time.perf_counter() + options.watch_s, node.cpu_s(), None
        while time.perf_counter() < until:
            time.sleep(min(5, options.watch_s))
            now = node.cpu_s()
            before, cpu = now - cpu, now
        node.tell(f"after {options.watch_s:.0f} s")
        print(f"  idle: {before / 5 * 100:.2f} % of a core in the last 5 s; {(node.status('VmRSS') - empty) / total:.0f} bytes a partition over the empty node")
        bound("memory when all partitions live", node.status("VmHWM") < options.memory_mib * MIB)
        bound("bytes an idle partition", (node.status("VmRSS") - empty) / total <= options.idle_bytes)
        begin = time.perf_counter()
        produce_and_fetch(port, options.topics - 1, options.partitions // 2, b"later")
        print(f"  an untouched partition: {(time.perf_counter() - begin) * 1000:.1f} ms for a produce and a fetch")
        print(f"  Metadata of all: {leaders(port)[2] * 1000:.0f} ms")
        node.tell("asked again")
        begin = time.perf_counter()
        node.process.send_signal(signal.SIGTERM)
        status = node.process.wait()
        print(f"clean stop: {time.perf_counter() - begin:.3f} s, exit status {status}")
        bound("exit status of the stop", status == 0)
        bound("serving after a clean stop in time", serve(node, options, "after the stop") <= options.serve_s)
        begin = time.perf_counter()
        node.process.send_signal(signal.SIGTERM)
        node.process.wait()
        print(f"clean stop of a node that just started: {time.perf_counter() - begin:.3f} s")
    finally:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    for fault in faults:
        print("passed its bound:", fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
