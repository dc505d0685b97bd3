#!/usr/bin/env python3
"""Each setting has its effect, and a test that sees it: test/configs/effects.tsv says which.

    tools/config_effects.py                   every key of src/meta/config.tbl that is neither NO_EFFECT nor NOT_SERVED has a row for each
                                              place where it may be set, and the tests of the rows are there
    tools/config_effects.py --prove [WORD...] plants the mistake that a key is ignored in one of these places, for each row (or those
                                              whose key or test holds a WORD), and shows that the row's test fails then, and passes without

A row: the key, where it is set (file, one: the broker; all: all brokers; own: the topic, group or client metrics), and who catches it:
`unit FOLDER TEST` or `client FILE::TEST`. The mistake is test/configs/ignore.patch, in a copy of the sources under build/config-effects.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLE = ROOT / "test" / "configs" / "effects.tsv"
COPY = pathlib.Path(os.environ.get("MUTATE_DIR", ROOT / "build" / "config-effects")) / "tree"
SOURCES = {"file": {"BROKER": 4}, "one": {"BROKER": 2}, "all": {"BROKER": 3}, "own": {"TOPIC": 1, "GROUP": 8, "CLIENT_METRICS": 7}}
PLACES = {"READ_ONLY": ["file"], "PER_BROKER": ["file", "one"], "CLUSTER_WIDE": ["file", "one", "all"]}
# Documented as a broker's own, and taken for all of them, too; taken while it runs, and read at the start alone; refused while it runs.
ALSO = {"config.providers": ["file"], "replica.alter.log.dirs.io.max.bytes.per.second": ["file", "one", "all"], "listeners": ["file"], "listener.security.protocol.map": ["file"]}


def wanted():
    """{(scope, key): places}"""
    out = {}
    for line in (ROOT / "src" / "meta" / "config.tbl").read_text().splitlines():
        row = re.match(r'CONFIG_(BROKER|TOPIC|GROUP|CLIENT_METRICS)\(\w+, "([^"]+)"', line)
        if not row or re.search("NO_EFFECT|NOT_SERVED", line):
            continue
        mode = re.search("READ_ONLY|PER_BROKER|CLUSTER_WIDE", line)[0]
        out[row.groups()] = ALSO.get(row[2], PLACES[mode]) if row[1] == "BROKER" else ["own"]
    return out


def rows():
    """[(scope, key, place, catcher)]"""
    out, keys = [], wanted()
    for line in TABLE.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        key, places, catcher = line.split("\t")
        for place in places.split():
            scopes = [scope for scope in SOURCES[place] if (scope, key) in keys]
            out.append((scopes[0] if scopes else None, key, place, catcher.split()))
    return out


def test_is_there(catcher):
    if catcher[0] == "unit":
        folder, name = catcher[1:]
        texts = [path.read_text() for path in sorted((ROOT / "src" / folder).glob("*_test.c"))]
        wanted = re.compile(r"\b(?:TEST|EFFECT)\((?:\w+_)?" + re.escape(name.removeprefix("effect_of_")) + r"\b" if name.startswith("effect_of_") else rf"\bTEST\({re.escape(name)}\)")
        return any(wanted.search(text) for text in texts)
    file, name = catcher[1].split("::")
    path = ROOT / "test" / "clients" / file
    return path.exists() and f"def {name.split('[')[0]}(" in path.read_text()


def check():
    bad, there = [], set()
    for scope, key, place, catcher in rows():
        there.add((scope, key, place))
        if scope is None:
            bad.append(f"{key} ({place}) is no key that may be set there and has an effect")
        elif not test_is_there(catcher):
            bad.append(f"{key} ({place}): there is no test {' '.join(catcher)}")
    keys = wanted()
    for (scope, key), places in keys.items():
        bad += [f"{key} ({place}) has no test of its effect" for place in places if (scope, key, place) not in there]
    print("\n".join(bad + [f"config effects: {len(keys)} keys, {len(there)} places, {len(bad)} wrong"]))
    return 1 if bad or not keys else 0


def copy_tree():
    """Only what changed gets a new time, so that a build that is there is used."""
    patch = ROOT / "test" / "configs" / "ignore.patch"
    planted = {name: None for name in re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.M)}
    for name in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0"):
        source, target = ROOT / name, COPY / name
        if not name or not source.is_file() or (name not in planted and target.exists() and target.read_bytes() == source.read_bytes()):
            continue
        if name in planted and target.exists():
            planted[name] = target.read_bytes(), target.stat().st_mtime
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    subprocess.run(["patch", "-p1", "--force", "--no-backup-if-mismatch", "-i", patch], cwd=COPY, check=True, stdout=subprocess.DEVNULL)
    for name, before in planted.items():
        if before and before[0] == (COPY / name).read_bytes():
            os.utime(COPY / name, (before[1], before[1])) # as it was built
    if not (COPY / "build" / "build.ninja").exists():
        subprocess.run(["meson", "setup", COPY / "build", COPY, "-Dtests=true"], check=True, stdout=subprocess.DEVNULL)


def passes(catcher, ignored):
    environment = dict(os.environ, IGNORE_CONFIG=ignored, MOLDAU=str(COPY / "build" / "moldau"))
    if catcher[0] == "unit":
        command, folder = [COPY / "build" / "test" / f"test-{catcher[1]}", catcher[2]], COPY
    else:
        python = ROOT / "build" / "venv" / "bin" / "python"
        command, folder = [os.environ.get("PYTHON", python), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", catcher[1]], COPY / "test" / "clients"
    try:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    except subprocess.TimeoutExpired:
        return False, "it did not end"
    said = done.stdout.decode(errors="replace")
    why = re.search(r"^(?:ERROR: (.*)|E +(.*)|\[   LINE   \] --- .*/(\S+ \S+).*)$", said, re.M)
    return done.returncode == 0, next((word for word in why.groups() if word), "") if why else said.strip().rsplit("\n", 1)[-1]


def prove(words):
    passed = failed = 0
    chosen = [row for row in rows() if not words or any(word in row[1] or word in row[3][-1] for word in words)]
    copy_tree()
    targets = {"moldau"} | {f"test/test-{catcher[1]}" for _, _, _, catcher in chosen if catcher[0] == "unit"}
    subprocess.run(["ninja", "-C", COPY / "build", *sorted(targets)], check=True, stdout=subprocess.DEVNULL)
    sound = {}
    for scope, key, place, catcher in chosen:
        name = " ".join(catcher[1:])
        if name not in sound:
            sound[name], said = passes(catcher, "")
            if not sound[name]:
                print(f"{'(nothing ignored)':50} | {name:60} | fails: {said[:110]}", flush=True)
                failed += 1
        if not sound[name]:
            continue
        missed, said = passes(catcher, f"{key}@{SOURCES[place][scope]}")
        print(f"{key + ', ' + place:50} | {name:60} | {'NOT SEEN' if missed else said[:110]}", flush=True)
        passed, failed = passed + (not missed), failed + missed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(prove(sys.argv[2:]) if sys.argv[1:2] == ["--prove"] else check())
