"""Start, idle memory and idle CPU of `moldau dev`, beside this disk's fdatasync.

A start counts from the spawning of the program on an empty directory to the first Metadata answer that lists a broker.
The client is a plain socket, so that it costs next to nothing of what is measured.
"""
import argparse, os, shutil, signal, socket, statistics, struct, subprocess, sys, tempfile, time

START_MS, START_SYNCS, RSS_MIB, IDLE_PERCENT, IDLE_S = 15, 15, 12, 0.2, 10
# Metadata version 1 about no topic: size, key 3, version, correlation id, client id null, empty array
METADATA = struct.pack(">ihhihi", 14, 3, 1, 7, -1, 0)


def sync_ms(folder, count=200):
    """The median of fdatasync after an append of 4 KiB."""
    path, times = os.path.join(folder, "sync"), []
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    for _ in range(count):
        os.write(file, bytes(4096))
        start = time.perf_counter()
        os.fdatasync(file)
        times.append((time.perf_counter() - start) * 1e3)
    os.close(file)
    os.unlink(path)
    return statistics.median(times)


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def brokers(port):
    """How many brokers the node's Metadata lists; 0 while it does not answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(METADATA)
            answer = b""
            while len(answer) < 12:
                piece = client.recv(4096)
                if not piece:
                    return 0
                answer += piece
            return struct.unpack_from(">i", answer, 8)[0]
    except OSError:
        return 0


def start(program, folder):
    port = free_port()
    begin = time.perf_counter()
    node = subprocess.Popen([program, "dev", "--dir", folder, "--port", str(port)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not brokers(port):
            if node.poll() is not None or time.perf_counter() - begin > 30:
                sys.exit("the node does not serve")
            time.sleep(0.0002)
        return node, (time.perf_counter() - begin) * 1e3
    except BaseException:
        node.kill()
        raise


def cpu_seconds(pid):
    """Of all its threads, in nanosecond steps; what the tick of /proc/PID/stat hides counts here."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def rss_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def say(what, figure, goal):
    print(f"{what:<46} {figure:>10}   goal: at most {goal}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--dir", help="an existing folder on the disk to measure; by default a temporary one")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="moldau-bench-", dir=options.dir)
    node, starts, syncs = None, [], []
    try:
        for i in range(options.starts):
            syncs.append(sync_ms(folder))
            node, took = start(options.program, os.path.join(folder, f"node-{i}"))
            starts.append(took)
            if i + 1 < options.starts:
                node.send_signal(signal.SIGTERM)
                node.wait(30)
                node = None
        time.sleep(2)
        before, begin = cpu_seconds(node.pid), time.perf_counter()
        time.sleep(IDLE_S)
        idle = (cpu_seconds(node.pid) - before) * 100 / (time.perf_counter() - begin)
        sync, took = statistics.median(syncs), statistics.median(starts)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {options.starts} starts")
        print(f"{'fdatasync after 4 KiB, p50 (ms)':<46} {sync:>10.3f}")
        say("start to the first Metadata, median (ms)", f"{took:.1f}", f"{START_MS + START_SYNCS * sync:.1f} ({START_MS} + {START_SYNCS} fdatasync)")
        say("start to the first Metadata, best (ms)", f"{min(starts):.1f}", "the same")
        say("idle, resident (MiB)", f"{rss_mib(node.pid):.1f}", RSS_MIB)
        say(f"idle, CPU of one core over {IDLE_S} s (%)", f"{idle:.3f}", IDLE_PERCENT)
    finally:
        if node:
            node.terminate()
            node.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


main()
