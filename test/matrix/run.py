"""Runs the matrix of clients: every driver, every capability. `./dev matrix` is the way to call it.

    ./dev matrix [--only CLIENT,...] [--cells CELL,...] [--bootstrap HOST:PORT --broker NAME] [--jobs N] [--record]

Without --bootstrap a node is started as a user would, `moldau dev` in an empty folder. With it the cells run against whatever
listens there, and --broker names it. A cell that failed with Apache Kafka too, as results.json has it, is the client's own: it is
told, and is no failure of the run.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "matrix"
sys.path[:0] = [str(HERE), str(ROOT / "test" / "clients")]

import cells  # noqa: E402
import page  # noqa: E402
from clients import CLIENTS  # noqa: E402
from conftest_shared import Node  # noqa: E402

CELL_SECONDS = 60
BUILD_SECONDS = 2700


def last_line(text):
    """Where the node listens is another one each time and is left out."""
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"(localhost|127\.0\.0\.1):\d+", "NODE", lines[-1].strip()[:300]) if lines else ""


def tail(path):
    return path.read_text(errors="replace")[-2000:] if path.exists() else ""


class Driver:
    """One client's program."""

    def __init__(self, client):
        self.client = client
        self.out = OUT / client.id
        self.where = {"out": str(self.out), "here": str(HERE / client.folder), "venv": str(OUT / "venv")}
        self.foreign, self.wrote, self.java = {}, [], None

    def build(self, may_build=True):
        """Builds the driver unless it is there, made of the same sources. Answers why it is not there, or None."""
        for tool in self.client.tools:
            if shutil.which(tool) is None:
                return f"{tool} is not installed"
        folder = HERE / self.client.folder
        stamp, digest = self.out / ".built", hashlib.sha256(repr(self.client.build).encode())
        for name in self.client.sources:
            digest.update((folder / name).read_bytes())
        if not self.client.build or (stamp.exists() and stamp.read_text() == digest.hexdigest()):
            return None
        if not may_build:
            return "it is not there"
        self.out.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        with open(self.out / "build.log", "w") as log:
            for command in self.client.build:
                log.write(f"$ {command}\n")
                log.flush()
                try:
                    done = subprocess.run(["bash", "-c", "set -e; " + command.format(**self.where)], cwd=folder, stdout=log, stderr=log, timeout=BUILD_SECONDS)
                except subprocess.TimeoutExpired:
                    return "its build did not end in time"
                if done.returncode != 0:
                    return f"its build failed: {self.out / 'build.log'}"
        stamp.write_text(digest.hexdigest())
        return None

    def call(self, capability, topic="-", group="-", argument=None, on_line=None, on_start=None):
        command = [word.format(**self.where) for word in self.client.command]
        command += [self.bootstrap, capability, topic, group] + ([] if argument is None else [argument])
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        if on_start:
            on_start(process)
        late = threading.Timer(CELL_SECONDS, process.kill)
        late.start()
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)
        reader.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if on_line:
                    on_line(line.strip())
            process.wait()
        finally:
            timely = late.is_alive()
            late.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
        reader.join()
        if not timely:
            raise cells.Failed(f"the driver did not end within {CELL_SECONDS} s; it said last: {last_line(errors[0]) or last_line(''.join(lines)) or 'nothing'}")
        if process.returncode != 0:
            raise cells.Failed((last_line(errors[0]).replace(group, "GROUP").replace(topic, "TOPIC") if len(group) > 1 else last_line(errors[0])) or f"the driver ended with {process.returncode}")
        try:
            answer = json.loads(last_line("".join(lines)) if len(lines) and len(lines[-1]) < 300 else lines[-1])
        except (ValueError, IndexError):
            raise cells.Failed(f"the driver's last line is not JSON: {last_line(''.join(lines)) or 'nothing'}") from None
        if "lacks" in answer:
            raise cells.Lacks(answer["lacks"])
        return answer


def run_cell(driver, reference, name, nonce):
    """(state, why) of one cell; states: passed, refused, failed, lacks, not run."""
    try:
        cells.CELLS[name](driver, reference, f"m-{driver.client.id}-{name}-{nonce}", f"g-{driver.client.id}-{name}-{nonce}")
        return "passed", None
    except cells.Lacks as lacks:
        return "lacks", str(lacks)
    except cells.Refused as refused:
        return "refused", str(refused)
    except LookupError as error:
        return ("not run", str(error)) if type(error) is LookupError else ("failed", f"the driver's answer has no {error}")
    except Exception as error:  # whatever it is, it is told and the others run
        return "failed", str(error) if isinstance(error, cells.Failed) else f"{type(error).__name__}: {error}"


def foreign_topics(reference, java, nonce):
    """A topic for each codec with what librdkafka wrote and, if it is there, what Java wrote after it."""
    foreign = {}
    for codec in cells.CODECS:
        topic = f"m-foreign-{codec}-{nonce}"
        reference.create(topic)
        reference.fill(topic, 500, codec)
        if java:
            java("write", topic, "-", codec)
        foreign[codec] = (topic, 1000 if java else 500)
    return foreign


# Some libraries come to a halt once in a while, whatever the node answers (kafka-python in about one start of a static member
# in ten): such a cell gets a second try, which the page tells, and a third, or one run in a hundred would fail for it. With
# another broker every failure gets them: what fails there once is not a difference yet.
TRIES = 3
TOO_LATE = ("the group did not get there", "the driver did not end within", "not within 40 s")


def run_client(driver, reference, names, nonce):
    results = {}
    for name in names:
        began = time.monotonic()
        state, why = run_cell(driver, reference, name, nonce)
        first = None
        tries = 1
        while state == "failed" and tries < TRIES and (any(word in why for word in TOO_LATE) or not reference.is_moldau):
            tries += 1
            first = first or why
            state, why = run_cell(driver, reference, name, f"{nonce}-{tries}")
        results[name] = {"state": state, **({"why": why} if why else {}), **({"first": first} if first else {})}
        if first and state == "passed":
            print(f"{driver.client.id} {name}: passed at try {tries}, at the first: {first}", flush=True)
        say = "" if state == "passed" else f": {why}"
        print(f"{driver.client.id} {name}: {state} ({time.monotonic() - began:.1f} s){say}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(prog="./dev matrix", description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="these clients, separated by commas: " + ", ".join(c.id for c in CLIENTS))
    parser.add_argument("--cells", help="these cells: " + ", ".join(cells.CELLS))
    parser.add_argument("--bootstrap", help="a broker that runs already, HOST:PORT")
    parser.add_argument("--broker", help="its name in the results, such as apache-kafka-4.4.0")
    parser.add_argument("--jobs", type=int, default=3, help="clients that run at the same time (3)")
    parser.add_argument("--record", action="store_true", help="keep the results in test/matrix/results.json and make docs/clients.md")
    parser.add_argument("--languages", help="the clients of these languages: " + ", ".join(dict.fromkeys(c.language for c in CLIENTS)))
    parser.add_argument("--build-only", action="store_true", help="build the drivers and run nothing")
    parser.add_argument("--no-build", action="store_true", help="build nothing: a driver that is not built is not run")
    words = parser.parse_args()
    if bool(words.bootstrap) != bool(words.broker):
        parser.error("--bootstrap and --broker go together")
    only = words.only.split(",") if words.only else [c.id for c in CLIENTS if not words.languages or c.language in words.languages.split(",")]
    names = words.cells.split(",") if words.cells else list(cells.CELLS)
    for given, known in ((only, [c.id for c in CLIENTS]), (names, cells.CELLS)):
        unknown = [word for word in given if word not in known]
        if unknown:
            parser.error("unknown: " + ", ".join(unknown))

    drivers, missing, broken = [], {}, 0
    for client in CLIENTS:
        java = client.id == "java-4"
        if client.id not in only and not java:
            continue
        driver = Driver(client)
        began = time.monotonic()
        if words.build_only and client.id not in only:
            continue
        why = driver.build(not words.no_build and client.id in only)  # what Java reads is looked at where its driver is there
        if time.monotonic() - began > 1:
            print(f"{client.id}: built in {time.monotonic() - began:.0f} s", flush=True)
        if why:
            missing[client.id] = why
            broken += client.id in only
        else:
            drivers.append(driver)

    if words.build_only:
        for id, why in missing.items():
            print(f"{id}: {why}\n{tail(OUT / id / 'build.log')}")
        print(f"{len(drivers)} passed, {broken} failed")
        return 1 if broken else 0

    nonce = f"{time.time_ns() // 1000000 % 1000000000:x}"
    began = time.monotonic()
    node = folder = None
    if words.bootstrap:
        bootstrap, broker = words.bootstrap, words.broker
    else:
        folder = tempfile.TemporaryDirectory(prefix="matrix-")
        node = Node(pathlib.Path(folder.name) / "data").start()
        bootstrap, broker = node.address, "moldau"
    results, versions = {}, {}
    try:
        reference = cells.Reference(bootstrap, broker == "moldau")
        for driver in drivers:
            driver.bootstrap = bootstrap
        java = next((d.call for d in drivers if d.client.id == "java-4"), None)
        foreign = foreign_topics(reference, java, nonce)
        with concurrent.futures.ThreadPoolExecutor(words.jobs) as pool:
            running = {}
            for driver in drivers:
                if driver.client.id not in only:
                    continue
                driver.foreign, driver.java = foreign, java
                try:
                    versions[driver.client.id] = driver.call("version")["version"]
                except cells.Failed as error:
                    missing[driver.client.id] = str(error)
                    continue
                running[driver.client.id] = pool.submit(run_client, driver, cells.Reference(bootstrap, broker == "moldau"), names, nonce)
            results = {id: future.result() for id, future in running.items()}
        if node:
            assert node.alive(), "the node ended by itself:\n" + node.log.read_text(errors="replace")[-3000:]
            node.stop()
    finally:
        if node and node.alive():
            node.kill()
        if folder:
            keep = OUT / "node.log"
            shutil.copyfile(node.log, keep)
            folder.cleanup()
    for id, why in missing.items():
        if id in only:
            results[id] = {name: {"state": "not run", "why": why} for name in names}
            print(f"{id}: not run: {why}")

    run = {"broker": broker, "versions": versions, "results": results}
    (OUT / f"results-{broker}.json").write_text(json.dumps(run, indent=1) + "\n")
    if words.record:
        page.record(run)
    counts = {state: sum(cell["state"] == state for row in results.values() for cell in row.values()) for state in ("passed", "refused", "failed", "lacks", "not run")}
    print(f"\n{broker}, {time.monotonic() - began:.0f} s")
    for id, row in results.items():
        for name, cell in row.items():
            if cell["state"] in ("failed", "not run"):
                own = " (fails with Apache Kafka too)" if cell["state"] == "failed" and page.is_its_own(id, name) else ""
                print(f"{cell['state'].upper()} {id} {name}: {cell['why']}{own}")
    if broken:
        print(f"{broken} drivers are not there, each of which counts as one failure")
    print(f"{counts['refused']} refused because it is not served yet")
    print(f"{counts['lacks']} not offered by the client, {counts['not run']} not run")
    ours = sum(cell["state"] == "failed" and not page.is_its_own(id, name) for id, row in results.items() for name, cell in row.items())
    print(f"{counts['failed'] - ours} that Apache Kafka's stored run failed in, too")
    print(f"{counts['passed']} passed, {ours + broken} failed")
    return 1 if ours or broken else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    OUT.mkdir(parents=True, exist_ok=True)
    sys.exit(main())
