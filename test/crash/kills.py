#!/usr/bin/env python3
"""A node under load, killed at random moments again and again: `./dev crash [--cycles N] [--seed S] [--power]`.

With --power the node's data lie in an ext4 image on a loop device, and it is the file system that goes: EXT4_IOC_SHUTDOWN
drops what was not synced, as a power cut does (needs root). After each start the clients' model (load.py) is compared with what
the node says; at the end everything is read once more. Each start prints what its recovery read and how soon it served.
"""
import argparse
import fcntl
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from conftest_shared import MOLDAU, TOOLS, free_port, run  # noqa: E402
from load import Load, Wrong  # noqa: E402

EXT4_IOC_SHUTDOWN, LOGFLUSH, NOLOGFLUSH = 0x8004587D, 1, 2


class Disk:
    """A small ext4 file system whose power can be cut."""

    def __init__(self, folder, mib=2048):
        self.image, self.folder = folder / "image", folder / "disk"
        self.folder.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(mib << 20)
        run("mkfs.ext4", "-q", "-F", self.image)
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", self.image, self.folder)

    def cut(self, how):
        folder = os.open(self.folder, os.O_RDONLY)
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", how))
        os.close(folder)

    def unmount(self):
        """The kernel lets go of a killed process's ring a little later than of the process."""
        deadline = time.monotonic() + 30
        while run("umount", self.folder, check=time.monotonic() > deadline).returncode:
            time.sleep(0.05)


class Broker:
    def __init__(self, folder, data):
        self.port, controller = free_port(), free_port()
        self.address, self.log = f"localhost:{self.port}", folder / "node.log"
        self.conf = folder / "server.properties"
        self.conf.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:{controller}
listeners=PLAINTEXT://localhost:{self.port},CONTROLLER://localhost:{controller}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
offsets.topic.segment.bytes=1048576
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=300
log.flush.offset.checkpoint.interval.ms=2000
log.retention.check.interval.ms=1000
metadata.log.max.record.bytes.between.snapshots=8192
metadata.log.max.snapshot.interval.ms=5000
metadata.log.segment.bytes=8388608
""")
        run(TOOLS / "kafka-storage.sh", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", self.conf)
        self.process = None

    def start(self):
        """Answers the seconds up to the ready line."""
        self.log_at = self.log.stat().st_size if self.log.exists() else 0
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(MOLDAU), "server", str(self.conf)], stdout=log, stderr=subprocess.STDOUT)
        while b"ready:" not in self.said():
            if self.process.poll() is not None or time.monotonic() - began > 60:
                raise Wrong(f"the node did not start: exit {self.process.poll()}\n" + self.said().decode(errors="replace")[-3000:])
            time.sleep(0.002)
        return time.monotonic() - began

    def said(self):
        with open(self.log, "rb") as log:
            log.seek(self.log_at)
            return log.read()

    def recovery(self):
        """What this start verified: logs, their bytes, bytes of the metadata log, bytes cut off."""
        text = self.said().decode(errors="replace")
        scanned = [int(n) for n in re.findall(r"was recovered: (\d+) bytes", text)]
        metadata = re.findall(r"metadata log was opened: (\d+) bytes", text)
        cut = [int(n) for n in re.findall(r"was cut at offset \d+: (\d+) bytes", text)]
        return len(scanned), sum(scanned), int(metadata[0]) if metadata else 0, sum(cut)

    def kill(self):
        if self.process.poll() is not None:
            raise Wrong(f"the node ended by itself: exit {self.process.returncode}\n" + self.said().decode(errors="replace")[-3000:])
        self.process.kill()
        self.process.wait()


def run_cycles(folder, cycles, seed, power, say=print):
    chance = random.Random(seed)
    disk = Disk(folder) if power else None
    data = disk.folder / "data" if power else folder / "data"
    broker = Broker(folder, data)
    broker.start()
    load = Load(broker.address, seed)
    starts, scans = [], []
    try:
        load.create()
        load.start()
        for cycle in range(1, cycles + 1):
            time.sleep(chance.choice((0.05, 0.3, 0.7, 1, 1.5, 2.5)) * (0.5 + chance.random()))
            how = chance.choice((NOLOGFLUSH, NOLOGFLUSH, LOGFLUSH)) if power else None
            if power:
                # The machine stops as a whole: what an fdatasync under way says after the cut, nobody may hear (it may say that
                # all went well).
                broker.process.send_signal(signal.SIGSTOP)
                disk.cut(how)
                broker.kill()
                disk.unmount()
                disk.mount()
            else:
                broker.kill()
            began = time.monotonic()
            ready = broker.start()
            load.first_ack_after = None
            load.check_offsets()
            load.check_topics()
            count = load.check_logs()
            while load.first_ack_after is None and time.monotonic() < began + 60:
                time.sleep(0.01)
            if load.first_ack_after is None:
                raise Wrong("60 s after the start no producer was answered")
            if load.wrong:
                raise Wrong(load.wrong[0])
            fatal = [client.fatal for client in load.clients if getattr(client, "fatal", None)]
            if fatal:
                raise Wrong(f"a producer met a fatal error: {fatal}")
            alive = [client.name for client in load.clients if not client.is_alive()]
            if alive:
                raise Wrong(f"clients that ended: {alive}")
            logs, scanned, metadata, cut = broker.recovery()
            starts.append(ready)
            scans.append(scanned)
            say(f"cycle {cycle:3}: ready in {ready * 1000:4.0f} ms, first acknowledgement at {(load.first_ack_after - began) * 1000:5.0f} ms; "
                f"{scanned:9} bytes of {logs:2} logs scanned, {metadata:7} of the metadata log, {cut:6} cut; {count} records read"
                + (f" ({'no ' if how == NOLOGFLUSH else ''}log flush)" if power else ""), flush=True)
        load.stop()
        load.check_offsets()
        load.check_topics()
        load.check_configs()
        total = load.check_logs(from_start=True)
        broker.kill()
        broker.start()
        load.check_offsets()
        load.check_logs(from_start=True)
        if load.wrong:
            raise Wrong(load.wrong[0])
        acknowledged = sum(client.acknowledged for client in load.clients if hasattr(client, "acknowledged"))
        starts.sort()
        say(f"{cycles} {'power cuts' if power else 'kills'}, seed {seed}: {acknowledged} records and {load.commits_acknowledged} commits acknowledged, "
            f"{total} records read back; lost 0, doubled 0 (plain producers repeated {load.repeated}); {len(load.topics)} topics created; "
            f"ready in {starts[len(starts) // 2] * 1000:.0f} ms (median), {starts[-1] * 1000:.0f} ms (longest); "
            f"bytes scanned: {sorted(scans)[len(scans) // 2]} (median), {max(scans)} (most); refused or unanswered: {dict(load.errors)}", flush=True)
    finally:
        load.over = True
        if broker.process and broker.process.poll() is None:
            broker.process.kill()
            broker.process.wait()
        if disk:
            disk.unmount()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cycles", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--power", action="store_true", help="cut the power of a file system of its own")
    options.add_argument("--dir", help="work here, and leave it there")
    words = options.parse_args()
    folder = pathlib.Path(words.dir or tempfile.mkdtemp(prefix="moldau-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run_cycles(folder, words.cycles, words.seed, words.power)
    except Wrong as wrong:
        print(f"WRONG: {wrong}\nseed {words.seed}; the node's files are in {folder}\n0 passed, 1 failed", flush=True)
        os._exit(1)
    if not words.dir:
        shutil.rmtree(folder)
    print(f"{words.cycles} passed, 0 failed", flush=True)
    os._exit(0)  # clients' threads that wait for a node that is gone


if __name__ == "__main__":
    main()
