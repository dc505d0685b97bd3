"""The differential tester: the same requests to Apache Kafka 4.4.0 and to Moldau, the answers compared field by field.

    ./dev interop diff [--requests N] [--seed S] [--scene I] [--apis A,B] [--replay FILE [--shrink]]

Both nodes begin on empty directories with the same settings. Work is done in scenes of some hundred requests, each with
topics and groups of its own and a seed of its own (S and the scene's number), so that a scene that shows a difference can
be run again alone (--scene I). Each ends with requests that are wrong by one random change to one that was sent before.
At the end some scenes go on after both nodes were stopped, and killed, and started again.
A scene with a difference is kept in build/interop/diff/scene-I.json: --replay sends it again, and --shrink looks for the
fewest of its steps that still show the first difference.
Ids that each node makes up are mapped one to one (compare.py). What may differ is in differences.txt, one field a line.
"""
import argparse
import collections
import json
import multiprocessing
import pathlib
import random
import re
import sys
import time

import brokers
import compare
import mutate
import plausible
import replay
import requests
import scripts
import wire

HERE = pathlib.Path(__file__).resolve().parent
OUT = wire.ROOT / "build" / "interop" / "diff"
READS = {"Metadata", "ListOffsets", "Fetch", "OffsetForLeaderEpoch", "DescribeConfigs", "DescribeTopicPartitions", "DescribeCluster",
         "DescribeGroups", "ListGroups", "FindCoordinator", "OffsetFetch", "DescribeLogDirs", "DescribeQuorum", "DescribeProducers",
         "ListConfigResources", "DescribeClientQuotas"}


SCENE_REQUESTS = 150


class Tester:
    def __init__(self, options):
        self.options = options
        self.nodes = [brokers.Node(name, OUT) for name in ("apache", "moldau")]
        self.ids = compare.Ids()
        self.listed = compare.Listed(HERE / "differences.txt")
        self.conns = {}
        self.asked = self.late = 0
        self.coverage = collections.Counter()
        self.found = {}
        self.log, self.scene, self.world = [], None, None
        self.scene_is_bad = False
        self.served = {}

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.ready()
        self.comparer = compare.Comparer(self.nodes, self.ids)
        self.warm()

    def stop(self):
        for node in self.nodes:
            node.stop()

    def warm(self):
        """Which APIs and versions both serve; the coordinators' topic."""
        tables = []
        for node in self.nodes:
            conn = brokers.Connection(node)
            conn.send(wire.APIS["ApiVersions"], 3, {"clientSoftwareName": "diff", "clientSoftwareVersion": "1"}, "diff")
            answer, _ = conn.receive()
            tables.append({row["apiKey"]: row for row in answer["apiKeys"]})
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                conn.send(wire.APIS["FindCoordinator"], 4, {"keyType": 0, "coordinatorKeys": ["warm"]}, "diff")
                answer, _ = conn.receive()
                if answer["coordinators"][0]["errorCode"] == 0:
                    conn.send(wire.APIS["ListGroups"], 4, {}, "diff")
                    answer, _ = conn.receive()
                    if answer["errorCode"] == 0:
                        break
                time.sleep(0.2)
            while time.monotonic() < deadline:
                conn.send(wire.APIS["InitProducerId"], 4, {"transactionalId": None, "transactionTimeoutMs": 1000, "producerId": -1, "producerEpoch": -1}, "diff")
                if conn.receive()[0]["errorCode"] == 0:
                    break
                time.sleep(0.2)
            conn.close()
        for key, row in tables[1].items():
            if key in tables[0]:
                self.served[wire.BY_KEY[key].name] = (max(row["minVersion"], tables[0][key]["minVersion"], wire.BY_KEY[key].min),
                                                      min(row["maxVersion"], tables[0][key]["maxVersion"]))
        self.not_served = [wire.BY_KEY[key].name for key in tables[0] if key not in tables[1]]

    # ---- connections, in pairs
    def pair(self, name):
        if name not in self.conns:
            self.conns[name] = [brokers.Connection(node) for node in self.nodes]
        return self.conns[name]

    def drop(self, name):
        if name in self.conns:
            self.log.append({"do": "drop", "conn": name})
        if name == "main" and self.world:
            self.world.sessions.clear()  # a fetch session lives on in Kafka, and in Moldau only with the connection's shard
        for conn in self.conns.pop(name, ()):
            conn.close()

    # ---- asking
    def send(self, api, version, body, client="diff", change=None, conn="main", told=True):
        body = requests.own_groups(self.world, api, body)
        if told:
            self.log.append({"do": "send", "api": api, "version": version, "body": body, "client": client, "change": change, "conn": conn})
        for side, connection in enumerate(self.pair(conn)):
            connection.send(wire.APIS[api], version, self.comparer.realise(side, body), client, change)
        self.asked += 1

    def receive(self, conn="main", seconds=brokers.WAIT_SECONDS):
        pair = self.pair(conn)
        out = [connection.receive(seconds) for connection in pair]
        return [answer for answer, _ in out], [end for _, end in out]

    def collect(self, sent):
        """The answers to what was sent on several connections: {conn: (api, version, body)}. Of a join the leader's comes last,
        who is told the others' ids. Answers what Apache answered, by connection."""
        self.log.append({"do": "collect", "sent": {conn: list(what) for conn, what in sent.items()}})
        got = {conn: self.receive(conn) for conn in sent}
        out = {}
        for conn in sorted(sent, key=lambda c: len((got[c][0][0] or {}).get("members", ()))):
            api, version, body = sent[conn]
            answers, ends = got[conn]
            differences, whole = self.judge(api, version, body, answers, ends)
            self.note(api, version, body, differences, whole, None)
            if any(ends):
                self.drop(conn)
            out[conn] = whole
        return out

    def until_group(self, name, states, seconds=8, members=0):
        """Both nodes have taken in what was sent, or the time has come: the group is in one of these states and has that many members."""
        self.log.append({"do": "until", "group": name, "states": list(states), "seconds": seconds, "members": members})
        deadline = time.monotonic() + seconds
        for side in (0, 1):
            while time.monotonic() < deadline:
                conn = self.pair("settle")[side]
                conn.send(wire.APIS["DescribeGroups"], 4, {"groups": [name]}, "settle")
                answer, _ = conn.receive()
                if answer["groups"][0]["groupState"] in states and len(answer["groups"][0]["members"]) >= members:
                    break
                time.sleep(0.02)
        time.sleep(0.03)

    def own_part(self, api, answer):
        """Of a list of everything that there is: what belongs to this scene, as other scenes go on beside it."""
        mine = f"s{self.scene}-"
        if api == "Metadata":
            return dict(answer, topics=[t for t in answer["topics"] if (t["name"] or "").startswith(mine)])
        if api == "ListGroups":
            return dict(answer, groups=[g for g in answer["groups"] if g["groupId"].startswith(mine)])
        if api == "DescribeLogDirs":
            return dict(answer, results=[dict(r, topics=[t for t in r["topics"] if t["name"].startswith(mine)]) for r in answer["results"]])
        if api == "ListConfigResources":
            return dict(answer, configResources=[r for r in answer["configResources"] if r["resourceName"].startswith(mine)])
        return answer

    def judge(self, api, version, body, answers, ends, change=None):
        """Differences beyond none at all, each (path, apache's, moldau's); the answer in canonical ids."""
        if ends != [None, None]:
            if ends[0] == ends[1]:
                return [], None
            return [("connection", ends[0] or "answered", ends[1] or "answered")], None
        if api in ("ListGroups", "ListConfigResources") or (api in ("Metadata", "DescribeLogDirs") and not body["topics"]):
            answers = [self.own_part(api, answer) for answer in answers]
        return self.comparer.compare(answers)

    def ask(self, api, version, body, client="diff", change=None, conn="main", do="ask", seconds=brokers.WAIT_SECONDS):
        """Sends, compares, and answers Apache's answer in canonical ids; None when the connection was closed."""
        body = requests.own_groups(self.world, api, body)
        self.log.append({"do": do, "api": api, "version": version, "body": body, "client": client, "change": change, "conn": conn})
        silent = api == "Produce" and body.get("acks") == 0
        self.send(api, version, body, client, change, conn, told=False)
        if silent:
            for connection in self.pair(conn):
                connection.waiting.pop()
                connection.send(wire.APIS["ApiVersions"], 0, {}, "diff")
            answers, ends = self.receive(conn)
            answers = [None if answer is None else {"alive": True} for answer in answers]
        else:
            answers, ends = self.receive(conn, seconds)
        differences, whole = self.judge(api, version, body, answers, ends, change)
        tries = 0
        while self.are_new(api, differences) and api in READS and not change and not body.get("sessionId") and body.get("sessionEpoch", -1) == -1 and tries < 3 \
                and ends == [None, None]:
            tries += 1
            time.sleep(0.1 * tries)
            for side, connection in enumerate(self.pair(conn)):
                connection.send(wire.APIS[api], version, self.comparer.realise(side, body), client, change)
            answers, ends = self.receive(conn)
            differences, whole = self.judge(api, version, body, answers, ends, change)
            self.late += not differences
        self.note(api, version, body, differences, whole, change)
        if any(ends):
            self.drop(conn)
        if silent:
            time.sleep(0.05)  # nobody says when it is written
        return None if silent or change else whole

    def sign(self, api, path, a, b):
        """What makes two differences one kind: values, but not the names of this scene."""
        return tuple(re.sub(r"s\w{4}-(\d+|missing)", "T", text) for text in (api, path, compare.brief(a)[:80], compare.brief(b)[:80]))

    def are_new(self, api, differences):
        """Worth asking again: what has neither been seen before nor is listed."""
        return any(self.sign(api, path, a, b) not in self.found and not self.listed.allows(api, path, a, b)
                   for path, a, b in differences)

    def note(self, api, version, body, differences, whole, change):
        for code in compare.errors_of(whole, set()) if whole else ["closed" if whole is None and body.get("acks") != 0 else 0]:
            self.coverage[api, version, code] += 1
        if whole and not compare.errors_of(whole, set()):
            self.coverage[api, version, 0] += 1
        for path, a, b in differences:
            if self.listed.allows(api, path, a, b):
                continue
            self.scene_is_bad = True
            sign = self.sign(api, path, a, b)
            if sign not in self.found:
                self.found[sign] = dict(count=0, version=version, body=body, change=change, scene=self.scene, at=len(self.log),
                                        a=a, b=b)
                print(f"DIFFERENT {api} v{version} {path}\n   apache {compare.brief(a)}\n   moldau {compare.brief(b)}\n"
                      f"   scene {self.scene}, request {len(self.log)}: {compare.brief(body)} {change or ''}", flush=True)
            self.found[sign]["count"] += 1

    def settle(self, world):
        """Until both nodes show and serve the topics that the world holds, and no longer those that it deleted."""
        deadline = time.monotonic() + 10
        parts = [{"name": n, "partitions": [{"partitionIndex": p, "currentLeaderEpoch": -1, "timestamp": -2} for p in range(t.parts)]}
                 for n, t in sorted(world.topics.items())]
        gone = sorted({name for name in world.deleted[-3:] if name not in world.topics})
        for side, node in enumerate(self.nodes):
            conn = self.pair("settle")[side]
            while True:
                conn.send(wire.APIS["ListOffsets"], 5, {"replicaId": -1, "topics": parts}, "settle")
                answer, _ = conn.receive()
                good = answer is not None and all(p["errorCode"] == 0 for t in answer["topics"] for p in t["partitions"])
                if good and gone:
                    conn.send(wire.APIS["ListOffsets"], 5, {"replicaId": -1, "topics": [
                        {"name": n, "partitions": [{"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": -2}]} for n in gone]}, "settle")
                    answer, _ = conn.receive()
                    good = all(p["errorCode"] == 3 for t in answer["topics"] for p in t["partitions"])
                if good:
                    break
                if time.monotonic() > deadline:
                    print(f"DIFFERENT {node.name} does not settle: {compare.brief(answer)}", flush=True)
                    self.found[("settle", node.name, "", "")] = dict(count=1, scene=self.scene, at=len(self.log), body={}, version=0, change=None)
                    break
                time.sleep(0.02)

    # ---- scenes
    def enter(self, name):
        """A scene's beginning: nothing is known but the two nodes."""
        for conn in list(self.conns):
            self.drop(conn)
        self.scene, self.log, self.scene_is_bad = name, [], False
        self.ids = self.comparer.ids = compare.Ids()
        self.world = requests.World(name, not name.isdigit() or int(name) % max(1, self.options.jobs) == 0)
        return self.world

    def run_scene(self, number, size):
        world = self.enter(f"{number:04d}")
        rng = random.Random(f"{self.options.seed}:{number}")
        if number % 4 or self.options.apis:
            self.mixed(world, rng, size)
        else:
            scripts.run(self, world, rng, size)
        mutate.tail(self, world, rng, size // 4)
        self.finish(world)
        if self.scene_is_bad:
            (OUT / f"scene-{number}.json").write_text(json.dumps(dict(scene=self.scene, steps=self.log), indent=0))

    def run_restarts(self, scenes=6, size=120):
        """Scenes in the middle of which both nodes are stopped, and later killed, and started again on what they left."""
        requests.BASE_TIME = (int(time.time()) - 300) * 1000  # producers are not so old that a restart forgets them
        kept = []
        for number in range(scenes):
            world, rng = self.enter(f"R{number:03d}"), random.Random(f"{self.options.seed}:R{number}")
            if number % 3:
                self.mixed(world, rng, size)
            else:
                scripts.run(self, world, rng, size)
                self.more(world, rng, size)
            scripts.fill_emptied(self, world)
            kept.append((world, rng, self.ids, self.log))
        for end in ("stop", "kill"):
            for name in list(self.conns):
                self.drop(name)
            time.sleep(3)  # until the logs' starts are in Apache's checkpoint, too
            for node in self.nodes:
                getattr(node, end)()
                node.start(again=True)
            for node in self.nodes:
                node.ready()
            self.warm()
            for world, rng, self.ids, self.log in kept:
                self.comparer.ids, self.world, self.scene, self.scene_is_bad = self.ids, world, world.scene, False
                world.sessions.clear()
                self.log.append({"do": end})
                self.settle(world)
                scripts.look_at_all(self, world)
                self.more(world, rng, size // 2)
                scripts.fill_emptied(self, world)
                scripts.look_at_all(self, world)
                if end == "kill":
                    self.finish(world)
                if self.scene_is_bad:
                    (OUT / f"scene-{self.scene}.json").write_text(json.dumps(dict(scene=self.scene, steps=self.log), indent=0))
        return scenes

    def begin(self, world, rng):
        version = self.served["CreateTopics"][1]
        body = {"topics": [{"name": world.fresh(), "numPartitions": n, "replicationFactor": 1} for n in (1, 2, 3)], "timeoutMs": 30000, "validateOnly": False}
        self.step(world, "CreateTopics", version, wire.complete(wire.APIS["CreateTopics"].request, version, body))
        self.step(world, "InitProducerId", 4, {"transactionalId": None, "transactionTimeoutMs": 1000, "producerId": -1, "producerEpoch": -1})

    def step(self, world, api, version, body, **more):
        answer = self.ask(api, version, body, do="step", **more)
        if answer is not None and requests.seen(world, api, version, body, answer):
            self.settle(world)
            if "AlterConfigs" in api:
                time.sleep(0.15)  # Apache applies them to its logs some time after the answer
        return answer

    def finish(self, world):
        names = sorted(world.topics)
        if names:
            self.step(world, "DeleteTopics", 5, {"topicNames": names, "timeoutMs": 30000})
        if "DeleteGroups" in self.served:
            self.ask("DeleteGroups", 2, {"groupsNames": requests.group_names(world)})

    def mixed(self, world, rng, size):
        self.begin(world, rng)
        self.more(world, rng, size)

    def more(self, world, rng, size):
        names = [n for n in requests.GENERATORS if n in self.served and (not self.options.apis or n in self.options.apis.split(","))]
        weights = [requests.WEIGHTS.get(n, 2) for n in names]
        for _ in range(size):
            api = rng.choices(names, weights)[0]
            version = rng.randint(*self.served[api])
            body = requests.GENERATORS[api](world, rng, version)
            client = rng.choice(["diff", "diff", "diff", None, "", "ü"])
            change = None
            if rng.random() < 0.03:
                change = broken(rng, api, version, self.served)
            self.step(world, api, version, body, client=client, change=change)

    def run(self):
        """Scenes by several processes side by side: most of a request's time is waiting."""
        began = time.monotonic()
        if self.options.replay:
            replay.run(self, self.options.replay, self.options.shrink)
            return
        if self.options.scene is not None:
            self.run_scene(self.options.scene, SCENE_REQUESTS)
            self.report(1, time.monotonic() - began)
            return
        jobs = max(1, self.options.jobs)
        with multiprocessing.get_context("fork").Pool(jobs, initializer=remember, initargs=(self,)) as pool:
            parts = pool.map(work, [(job, jobs, self.options.requests // jobs) for job in range(jobs)], chunksize=1)
        scenes = 0
        for part in parts:
            scenes += part["scenes"]
            self.asked += part["asked"]
            self.late += part["late"]
            self.coverage.update(part["coverage"])
            for row, count in part["hits"].items():
                self.listed.hits[row] = self.listed.hits.get(row, 0) + count
            for sign, found in part["found"].items():
                if sign in self.found:
                    found["count"] += self.found[sign]["count"]
                self.found[sign] = found
        if not self.options.apis:
            scenes += self.run_restarts()
        self.report(scenes, time.monotonic() - began)

    def report(self, scenes, seconds):
        rows = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
        for (api, version, code), count in self.coverage.items():
            rows[api][version][code] += count
        with open(OUT / "coverage.txt", "w") as table:
            for api in sorted(rows, key=lambda a: wire.APIS[a].key):
                for version in sorted(rows[api]):
                    codes = ", ".join(f"{code}: {rows[api][version][code]}" for code in sorted(rows[api][version], key=str))
                    table.write(f"{api} {version}: {codes}\n")
        print(f"\n{'API':32} {'versions':>8} {'requests':>8}  errors seen")
        for api in sorted(rows, key=lambda a: wire.APIS[a].key):
            codes = sorted({code for counts in rows[api].values() for code in counts}, key=str)
            low, high = self.served.get(api, (0, 0))
            print(f"{api:32} {len(rows[api]):>3} of {high - low + 1:<2} {sum(sum(c.values()) for c in rows[api].values()):>7}  {', '.join(map(str, codes))}")
        if scenes > 1:
            plausible.report(self.coverage, self.served, OUT / "not-met.txt")
        print(f"served by Apache Kafka only: {', '.join(self.not_served) or 'nothing'}")
        print(f"listed differences met: {sum(self.listed.hits.values())}, in {len(self.listed.hits)} of {len(self.listed.rows)} rows")
        for api, path, values in self.listed.rows:
            if (api, path, values) not in self.listed.hits:
                print(f"  not met: {api} | {path} | {' -> '.join(values)}")
        print(f"{self.asked} requests in {scenes} scenes, {len(self.coverage)} of (API, version, error), {seconds:.0f} s; "
              f"{self.late} reads agreed only when asked again")
        print(f"differences beyond the list: {sum(f['count'] for f in self.found.values())}, of {len(self.found)} kinds")
        for sign, found in sorted(self.found.items(), key=lambda item: str(item[0])):
            print(f"  {found['count']:>5} x {sign[0]} v{found['version']} {sign[1]}: apache {sign[2]} moldau {sign[3]} (scene {found['scene']}, request {found['at']})")


def remember(tester):
    global the_tester
    the_tester = tester


def work(part):
    """In a process of its own: every jobs-th scene, until enough has been asked."""
    job, jobs, requests_wanted = part
    tester, number, scenes, began = the_tester, job, 0, time.monotonic()
    while tester.asked < requests_wanted:
        tester.run_scene(number, SCENE_REQUESTS)
        number, scenes = number + jobs, scenes + 1
        if job == 0 and scenes % 20 == 0:
            print(f"... about {tester.asked * jobs} requests, {len(tester.found)} kinds of differences in one part of them, "
                  f"{time.monotonic() - began:.0f} s", flush=True)
    return dict(scenes=scenes, asked=tester.asked, late=tester.late, coverage=tester.coverage, hits=tester.listed.hits, found=tester.found)


def broken(rng, api, version, served):
    """Something wrong with the bytes of a request."""
    low, high = served[api]
    return rng.choice([{"cut": 1}, {"cut": rng.randint(1, 20)}, {"cut": 10 ** 6}, {"version": wire.APIS[api].max + 1, "answer": 0},
                       {"version": -1, "answer": 0}, {"key": 4}, {"key": 999}, {"key": -1}, {"size": -1}, {"size": 2 ** 31 - 1}])


def main():
    parser = argparse.ArgumentParser(prog="./dev interop diff")
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--scene", type=int)
    parser.add_argument("--jobs", type=int, default=6, help="scenes at a time")
    parser.add_argument("--apis", help="only these, in mixed scenes")
    parser.add_argument("--replay", help="a scene's file: its steps again")
    parser.add_argument("--shrink", action="store_true", help="with --replay: the fewest steps that show its first difference")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    tester = Tester(options)
    try:
        tester.start()
        tester.run()
    finally:
        tester.stop()
    sys.exit(1 if tester.found else 0)


if __name__ == "__main__":
    main()
