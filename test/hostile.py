#!/usr/bin/env python3
"""Hostile frames and idle connections against a live node, while a well-behaved client goes on.

Usage: hostile.py [--to HOST:PORT] [--frames N] [--rate N] [--idle N] [--seconds N] [--workers N] [--seed N] [--pid PID]
                  [--memory-max MIB] [--p99-factor F] [--control SECONDS] [--realtime PRIORITY] [--rounds N]

What is sent: random bytes, good requests with some bytes changed, impossible sizes, frames that are half sent and left so,
or sent byte by byte, counts that promise a million elements, bombs of empty elements and of compressed records, requests
whose answers nobody reads. The number of frames, the time and the connections open at once are bounded. A second process
produces one record and fetches it, again and again, before, while and after. Prints whether the node is up, its memory,
and that client's latencies; the exit status is 1 when the node is gone, the client met an error, or a limit that was
given is passed.

The sender takes cores that the node and that client would have, so it runs at the lowest priority; and with --control the
same flood goes for so long, at the same rate, to a process that only reads and closes: what that does to the client's
latencies is the machine's doing, and --p99-factor is held against it. With --rounds the two take turns, N times, and medians
are compared; with --realtime the node (its --pid) and that client come before whatever else runs here.
"""
import argparse
import asyncio
import gzip
import logging
import multiprocessing
import os
import random
import resource
import socket
import statistics
import struct
import sys
import time

CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ 0x82F63B78 if n & 1 else n >> 1
    CRC_TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def string(text):
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text)) + text


def varint(n):
    n, out = n << 1, b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


NOW_MS = int(time.time() * 1000)  # nothing of it is too old to be kept


def batch(records, count=1, codec=0):
    behind_crc = struct.pack(">hiqqqhii", codec, count - 1, NOW_MS, NOW_MS, -1, -1, -1, count) + records
    behind_length = struct.pack(">ibI", 0, 2, crc32c(behind_crc)) + behind_crc
    return struct.pack(">qi", 0, len(behind_length)) + behind_length


def record(value):
    body = b"\0" + varint(0) + varint(0) + b"\1" + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def request(key, version, body, correlation=1, flexible=False):
    frame = struct.pack(">hhi", key, version, correlation) + string(b"hostile") + (b"\0" if flexible else b"") + body
    return struct.pack(">i", len(frame)) + frame


def produce(topic, records, acks=-1, correlation=1):
    return request(0, 3, string(None) + struct.pack(">hii", acks, 5000, 1) + string(topic) + struct.pack(">iii", 1, 0, len(records)) + records, correlation)


def fetch(topic, offset, wait_ms=500, correlation=1):
    body = struct.pack(">iiiibi", -1, wait_ms, 1, 1 << 20, 0, 1) + string(topic) + struct.pack(">iiqi", 1, 0, offset, 1 << 20)
    return request(1, 4, body, correlation)


def metadata(topic, correlation=1):
    return request(3, 4, struct.pack(">i", 1) + string(topic) + b"\1", correlation)


# ---- the well-behaved client
class Client:
    def __init__(self, to):
        self.socket = socket.create_connection(to, timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, frame):
        self.socket.sendall(frame)
        return self.exactly(struct.unpack(">i", self.exactly(4))[0])

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError("the node closed the connection")
            data += part
        return data


def come_first(pid, priority):
    """All threads of a process, before those of every other."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(priority))


def well_behaved(to, pipe):
    """Produces and fetches until told to end; for each phase that is named, answers its latencies and errors."""
    topic = b"well-behaved-%d" % os.getpid()
    frame = produce(topic, batch(record(b"x" * 100)))
    latencies, errors, client = [], [], None
    at = 4 + 4 + 2 + len(topic) + 4 + 4  # where the answer has the error and the offset
    for _ in range(100):  # until the topic is there
        client = client or Client(to)
        client.ask(metadata(topic))
        if client.ask(frame)[at:at + 2] == b"\0\0":
            break
        time.sleep(0.1)
    while True:
        if pipe.poll():
            if pipe.recv() == "end":
                return
            pipe.send((latencies, errors))
            latencies, errors = [], []
        begin = time.perf_counter()
        try:
            client = client or Client(to)
            answer = client.ask(frame)
            error, offset = struct.unpack(">hq", answer[at:at + 10])
            if error:
                raise ValueError(f"Produce: error {error}")
            answer = client.ask(fetch(topic, offset))
            if struct.unpack(">h", answer[at + 4:at + 6])[0]:
                raise ValueError("Fetch: an error")
        except (OSError, EOFError, ValueError) as wrong:
            errors.append(f"{type(wrong).__name__}: {wrong}")
            client = None
            time.sleep(0.1)
            continue
        latencies.append(time.perf_counter() - begin)
        time.sleep(0.002)


# ---- hostile ones
GOOD = [
    request(18, 0, b""), request(18, 3, b"\2f\2g\0", flexible=True), metadata(b"hostile-topic"), request(3, 1, struct.pack(">i", -1)),
    produce(b"hostile-topic", batch(record(b"value"))), produce(b"hostile-topic", batch(record(b"value")), acks=0), fetch(b"hostile-topic", 0, 10),
    request(2, 1, struct.pack(">ii", -1, 1) + string(b"hostile-topic") + struct.pack(">iiq", 1, 0, -1)),
    request(8, 2, string(b"g") + struct.pack(">i", -1) + string(b"") + struct.pack(">qi", -1, 1) + string(b"hostile-topic") + struct.pack(">iiq", 1, 0, 5) + string(b"")),
    request(9, 1, string(b"g") + struct.pack(">i", 1) + string(b"hostile-topic") + struct.pack(">ii", 1, 0)), request(10, 0, string(b"g")),
    request(11, 0, string(b"g") + struct.pack(">i", 6000) + string(b"") + string(b"consumer") + struct.pack(">i", 1) + string(b"range") + struct.pack(">i", 0)),
    request(12, 0, string(b"g") + struct.pack(">i", 1) + string(b"m")), request(15, 0, struct.pack(">i", 1) + string(b"g")), request(16, 0, b""),
    request(22, 0, string(None) + struct.pack(">i", 1000)), request(32, 1, struct.pack(">ib", 1, 2) + string(b"hostile-topic") + struct.pack(">ib", -1, 0)),
]
BOMBS = [
    request(3, 1, struct.pack(">i", 50000) + b"\0\0" * 50000),                                  # empty elements
    request(3, 1, struct.pack(">i", 10000) + b"".join(string(b"?%d" % (i * 7919 % 10007)) for i in range(10000))), # different ones, in no order
    request(3, 1, struct.pack(">i", 1000001) + b"\0\0" * 100), request(2, 1, struct.pack(">ii", -1, 2**31 - 1)),
    request(18, 3, b"\2f\2g\xff\xff\x03", flexible=True), request(3, 9, b"\xff\xff\xff\xff\x07\0\0\0", flexible=True),
    produce(b"hostile-topic", batch(gzip.compress(b"\0" * (4 << 20)), count=1, codec=1)), produce(b"hostile-topic", batch(b"\xff" * 60, count=2**30, codec=2)),
    produce(b"hostile-topic", batch(b"\x04\x22\x4d\x18" + b"\xff" * 60, codec=3)), produce(b"hostile-topic", batch(b"\x28\xb5\x2f\xfd" + b"\xff" * 60, codec=4)),
]


def random_frame(chance):
    body = chance.randbytes(chance.randrange(1, 300))
    if chance.random() < 0.7:  # a header that is right, then anything
        body = struct.pack(">hhi", chance.randrange(0, 95), chance.randrange(0, 14), 1) + string(b"x") + body
    return struct.pack(">i", len(body)) + body


def changed_frame(chance):
    frame = bytearray(chance.choice(GOOD))
    for _ in range(chance.randrange(1, 6)):
        frame[chance.randrange(4, len(frame))] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    return bytes(frame)


def sink(pipe):
    """Takes whatever is sent, answers a byte now and then, and closes a connection after 30 pieces."""
    os.nice(19)

    async def take(reader, writer):
        try:
            for _ in range(30):
                if not await reader.read(65536):
                    break
                writer.write(b"x")
        except OSError:
            pass
        writer.close()

    async def serve():
        server = await asyncio.start_server(take, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname())
        await server.serve_forever()

    asyncio.run(serve())


class Flood:
    def __init__(self, to, frames, rate, until, workers, seed):
        self.to, self.left, self.rate, self.until, self.workers, self.seed = to, frames, rate, until, workers, seed
        self.begin = time.monotonic()
        self.sent = self.connections = self.closed = self.refused = 0
        self.held = []

    async def run(self):
        await asyncio.gather(*(self.worker(random.Random(self.seed * 1000 + i)) for i in range(self.workers)))
        for writer in self.held:
            writer.transport.abort()

    def take(self, count):
        count = min(count, self.left)
        self.left -= count
        self.sent += count
        return count

    async def worker(self, chance):
        while self.left > 0 and time.monotonic() < self.until:
            if self.rate:
                await asyncio.sleep(max(0, self.sent / self.rate - (time.monotonic() - self.begin)))
            try:
                reader, writer = await asyncio.open_connection(*self.to)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.05)
                continue
            self.connections += 1
            try:
                keep = await asyncio.wait_for(self.attack(chance, reader, writer), 5)
            except (OSError, EOFError, asyncio.TimeoutError):
                self.closed += 1
                keep = False
            if keep and len(self.held) < 500:
                self.held.append(writer)
            else:
                writer.transport.abort()

    async def attack(self, chance, reader, writer):
        """Some frames of one kind over a new connection; True: it is left open."""
        kind = chance.choices(("changed", "random", "size", "half", "slow", "bomb", "unread"), (60, 20, 5, 3, 2, 5, 5))[0]
        if kind == "size":
            self.take(1)
            writer.write(struct.pack(">i", chance.choice((-1, -2**31, 2**31 - 1, 104857601))) + chance.randbytes(20))
            await writer.drain()
            await reader.read(10)
        elif kind == "half":
            self.take(1)
            writer.write(struct.pack(">i", chance.randrange(1000, 100 << 20)) + chance.randbytes(chance.randrange(0, 5000)))
            await writer.drain()
            return True
        elif kind == "slow":
            self.take(1)
            for byte in changed_frame(chance)[:40]:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
            return True
        elif kind == "bomb":
            for _ in range(self.take(4)):
                writer.write(chance.choice(BOMBS))
                await writer.drain()
            await self.drink(reader)
        elif kind == "unread":
            for _ in range(self.take(100)):
                writer.write(chance.choice(GOOD[:4]))
            await writer.drain()
            return True
        else:
            one = changed_frame if kind == "changed" else random_frame
            for _ in range(self.take(20)):
                writer.write(one(chance))
                await writer.drain()
            await self.drink(reader)
        return False

    async def drink(self, reader):
        """Answers that come within a moment; an end is what many of these frames deserve."""
        try:
            while await asyncio.wait_for(reader.read(65536), 0.05):
                pass
            self.closed += 1
        except asyncio.TimeoutError:
            pass


# ---- measuring
def memory_mib(pid):
    """Resident now, and the most ever."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


def phase(name, pipe, pid, quiet=False):
    """What the client has seen since the last phase."""
    pipe.send(name)
    if not pipe.poll(60):
        print(f"{name:10} the well-behaved client got no answer for 60 s")
        return None, ["no answer"]
    latencies, errors = pipe.recv()
    if quiet:
        return None, errors
    latencies.sort()
    at = lambda part: 1000 * latencies[min(len(latencies) - 1, int(len(latencies) * part))] if latencies else float("nan")
    memory = "" if not pid else "memory %.1f MiB, at most %.1f MiB" % memory_mib(pid)
    print(f"{name:10} {len(latencies):6} produce+fetch, p50 {at(.5):7.2f} ms, p99 {at(.99):7.2f} ms, errors {len(errors)}  {memory}", flush=True)
    for error in errors[:3]:
        print("           " + error)
    return (at(.99) if latencies else None), errors


def open_idle(to, count):
    """Each has asked once: who never asks is closed after seconds."""
    clients = []
    for i in range(count):
        try:
            clients.append(Client(to))
            clients[-1].ask(GOOD[0])
        except (OSError, EOFError) as wrong:
            print(f"idle connection {i}: {wrong}")
            break
    return clients


def still_open(clients):
    count = 0
    for client in clients:
        client.socket.setblocking(False)
        try:
            count += client.socket.recv(1) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", default="localhost:9092")
    parser.add_argument("--frames", type=int, default=100000)
    parser.add_argument("--rate", type=float, default=0, help="frames a second; 0: as many as can be sent")
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300, help="the flood ends then at the latest")
    parser.add_argument("--calm", type=float, default=5, help="seconds of measuring before and after")
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", type=float, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="of control and flood, a part of the frames in each")
    parser.add_argument("--realtime", type=int, default=0)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--memory-max", type=float)
    parser.add_argument("--p99-factor", type=float)
    args = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of connections that the other side has closed
    host, _, port = args.to.rpartition(":")
    to = ("127.0.0.1" if host == "localhost" else host, int(port))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pipe, other_end = multiprocessing.Pipe()
    client = multiprocessing.Process(target=well_behaved, args=(to, other_end), daemon=True)
    client.start()
    if args.realtime:
        for pid in filter(None, (client.pid, args.pid)):
            come_first(pid, args.realtime)
    os.nice(19)  # the hostile ones shall not win by taking the cores of this machine
    time.sleep(2)
    pipe.send("warm")
    pipe.recv()
    time.sleep(args.calm)
    before, errors = phase("before", pipe, args.pid)
    wrong = list(errors)
    idle = open_idle(to, args.idle)
    if args.idle:
        time.sleep(args.calm)
        p99, errors = phase("idle", pipe, args.pid)
        print(f"           {len(idle)} idle connections")
        wrong += errors
    controls, floods, sent, took = [], [], 0, 0
    if args.control:
        here, there = multiprocessing.Pipe()
        drain = multiprocessing.Process(target=sink, args=(there,), daemon=True)
        drain.start()
        address = here.recv()
    for round in range(args.rounds):
        if args.control:
            phase("-", pipe, args.pid, quiet=True)
            asyncio.run(Flood(address, 1 << 60, args.rate, time.monotonic() + args.control, args.workers, args.seed + round).run())
            p99, errors = phase("control", pipe, args.pid)
            controls.append(p99 or float("nan"))
            wrong += errors
        phase("-", pipe, args.pid, quiet=True)
        begin = time.monotonic()
        flood = Flood(to, args.frames // args.rounds, args.rate, begin + args.seconds / args.rounds, args.workers, args.seed + round)
        asyncio.run(flood.run())
        seconds = time.monotonic() - begin
        p99, errors = phase("flood", pipe, args.pid)
        floods.append(p99 or float("nan"))
        wrong += errors
        sent += flood.sent
        took += seconds
        print(f"           {flood.sent} hostile frames over {flood.connections} connections in {seconds:.1f} s; {flood.closed} closed by the node, {flood.refused} not accepted")
    if args.control:
        drain.terminate()
    control = statistics.median(controls) if controls else before
    during = statistics.median(floods)
    if idle:
        left = still_open(idle)
        print(f"           {left} of {len(idle)} idle connections are still open")
        if left < args.idle:
            wrong.append("idle connections were lost")
    for one in idle:
        one.socket.close()
    time.sleep(args.calm)
    after, errors = phase("after", pipe, args.pid)
    wrong += errors
    pipe.send("end")
    up = Client(to).ask(request(18, 0, b""))[:6] == struct.pack(">ih", 1, 0)
    print("the node is up" if up else "the node does not answer as it should")
    limits = []
    if args.memory_max and args.pid and memory_mib(args.pid)[1] > args.memory_max:
        limits.append(f"memory: more than {args.memory_max} MiB")
    if control and during:
        print(f"p99 of the flood is {during / control:.2f} times that {'of the control' if args.control else 'before'}")
        if args.p99_factor and during > control * args.p99_factor:
            limits.append(f"p99: more than {args.p99_factor} times")
    if sent < args.frames // args.rounds * args.rounds and took < args.seconds:
        limits.append("not all frames could be sent")
    for limit in limits:
        print(limit)
    sys.exit(1 if wrong or limits or not up else 0)


if __name__ == "__main__":
    main()
