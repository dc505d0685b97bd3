"""What the three Python drivers share: the rule of a record, the records that are unlike others, the last line."""
import json
import sys
import threading
import time

START_MS = 1700000000000
ODD = [(b"\x00\xff", b"v0", START_MS, [("a", b"a"), ("b", b""), ("a", b"b")]), (None, b"v1", START_MS + 1, []), (b"k2", None, START_MS + 2, []),
       (b"", b"", START_MS + 3, [])]
NULL_HEADER = [(b"k", b"v", START_MS, [("n", None)])]


def key(i):
    return b"key-%d" % i


def value(i):
    return b"value-%d-" % i + b"abc" * (i % 100)


def hexadecimal(data):
    return None if data is None else bytes(data).hex()


def as_json(key, value, timestamp, headers):
    return {"k": hexadecimal(key), "v": hexadecimal(value), "t": timestamp, "h": [[name, hexadecimal(data)] for name, data in headers or []]}


def has(count):
    """The line that a member prints whenever it has more or fewer partitions."""
    print(f"has {count}", flush=True)
    return count


class Seen:
    """The numbers that the members of a group have read, and the ends."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts, self.ends = {}, 0

    def add(self, value):
        with self.lock:
            if value == b"end":
                self.ends += 1
            else:
                self.counts[value] = self.counts.get(value, 0) + 1

    def answer(self, **more):
        return dict(more, seen=len(self.counts), most=max(self.counts.values(), default=0))


def until(fact, seconds=40):
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError("the group did not get there")
        time.sleep(0.02)


# What the members of a group do, where a member is a thread: it has its partitions, how many assignments it got, how many
# records it has read, and close().

def two_members(join):
    """join(seen) is a new member, which reads into seen."""
    seen = Seen()
    a = join(seen)
    until(lambda: len(a.partitions) == 6)
    b = join(seen)
    until(lambda: a.partitions and b.partitions and len(a.partitions | b.partitions) == 6 and b.read > 0)
    shared = [len(a.partitions), len(b.partitions)]
    b.close()
    until(lambda: len(a.partitions) == 6)
    print("covered", flush=True)
    until(lambda: seen.ends >= 6)
    a.close()
    return seen.answer(alone=6, shared=shared, again=6)


def one_member(join):
    seen = Seen()
    one, had = join(seen), 0
    while seen.ends < 6:
        count = len(one.partitions)
        if count != had:
            had = has(count)
        time.sleep(0.02)
    one.close()


def static_members(join):
    """join(name) is a new static member of that name."""
    one, two = join("one"), join("two")
    until(lambda: len(one.partitions) == 2 and len(two.partitions) == 2)
    before, assignments = sorted(two.partitions), one.assignments
    two.close()
    two = join("two")
    until(lambda: len(two.partitions) > 0)
    time.sleep(1.5)  # a heartbeat of `one` would tell it of a rebalance
    after, disturbed = sorted(two.partitions), one.assignments - assignments
    two.close()
    one.close()
    return {"before": before, "after": after, "disturbed": disturbed}


def main(capabilities):
    """Calls capabilities[CAPABILITY](bootstrap, topic, group, argument), prints what it answers."""
    bootstrap, capability, topic, group, *rest = sys.argv[1:]
    try:
        answer = capabilities[capability](bootstrap, topic, group, rest[0] if rest else None)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        sys.exit(1)
    print(json.dumps(answer or {}), flush=True)
