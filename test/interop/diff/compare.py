"""Two answers field by field, and the ids that differ by nature, each mapped one to one."""
import base64
import json
import re
import time

import wire

# What a field of this name holds, whatever the message: ids that each node makes up. They are told apart from values that
# the tester made up by having been seen: only what both nodes answered in the same place is bound.
KINDS = {"topicId": "topic", "topicIds": "topic", "memberId": "member", "memberIds": "member", "producerId": "producer",
         "sessionId": "session", "directoryId": "directory", "voterDirectoryId": "directory", "replicaDirectoryId": "directory",
         "clientInstanceId": "client", "brokerEpoch": "epoch"}
NOTHING = {"topic": (wire.ZERO_ID,), "member": ("",), "producer": (-1,), "session": (0,), "directory": (wire.ZERO_ID,),
           "client": (wire.ZERO_ID,), "epoch": (-1,)}
# An array's elements are matched by the first of these that they have; their order is not compared, as Kafka's own comes
# from hash maps.
KEYS = (("name",), ("topicName",), ("topic",), ("groupId",), ("apiKey",), ("resourceType", "resourceName"), ("partitionIndex",),
        ("partition",), ("index",), ("partitionId",), ("key",), ("nodeId",), ("brokerId",), ("topicId",), ("memberId",), ("logDir",),
        ("transactionalId",), ("producerId",), ("feature",), ("entityType",), ("replicaId",), ("voterId",), ("batchIndex",))

GROUPED = ("name", "topicName", "topic", "topicId")


def key_of(item, keys):
    """An element's key. What has no name is told apart by its topic's id, if it has one."""
    return tuple((None, item.get("topicId")) if item[k] is None else item[k] for k in keys)


def canonical(kind, number):
    if kind in ("topic", "directory", "client"):
        return base64.urlsafe_b64encode(kind[:5].encode().ljust(6, b"-") + number.to_bytes(10, "big")).decode().rstrip("=")
    if kind == "member":
        return f"member~{number}"
    return {"producer": 7 << 40, "session": 1900000000, "epoch": 7 << 40}[kind] + number


class Ids:
    """One to one: canonical id <-> the id on each side."""

    def __init__(self):
        self.to = [{}, {}]      # by side: canonical -> own
        self.back = [{}, {}]    # by side: own -> canonical
        self.counts = {}

    def bind(self, kind, own):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        name = canonical(kind, self.counts[kind])
        for side in (0, 1):
            self.to[side][kind, name] = own[side]
            self.back[side][kind, own[side]] = name
        return name

    def known(self, side, kind, value):
        return self.back[side].get((kind, value))

    def real(self, side, kind, name):
        return self.to[side].get((kind, name), name)


def kind_of(name, value):
    kind = KINDS.get(name)
    if name == "leader" and isinstance(value, str):
        kind = "member"  # JoinGroup's answer
    return kind


class Comparer:
    def __init__(self, nodes, ids):
        self.nodes, self.ids, self.began_ms = nodes, ids, int(time.time() * 1000)
        self.places = []
        for node in nodes:
            self.places.append(((str(node.data), "DATA"), (f":{node.port}", ":PORT"), (f":{node.quorum}", ":QUORUM")))

    # ---- a request on its way to one side
    def realise(self, side, value, name=""):
        if isinstance(value, dict):
            if "$batches" in value:
                return base64.b64encode(b"".join(self.batch(side, b) for b in value["$batches"])).decode()
            return {k: self.realise(side, v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.realise(side, v, name) for v in value]
        kind = kind_of(name, value)
        if kind:
            return self.ids.real(side, kind, value)
        if isinstance(value, str) and "DATA" in value and name in ("path", "logDir"):
            return value.replace("DATA", str(self.nodes[side].data))
        return value

    def batch(self, side, given):
        if "hex" in given:
            return bytes.fromhex(given["hex"])
        words = dict(given)
        records = [(None if k is None else k.encode(), None if v is None else v.encode(), *rest) for k, v, *rest in words.pop("records")]
        if "producer" in words:
            words["producer"] = (self.ids.real(side, "producer", words["producer"][0]), *words["producer"][1:])
        if "payload" in words:
            words["payload"] = bytes.fromhex(words["payload"])
        wrong_crc, cut = words.pop("wrong_crc", 0), words.pop("cut", 0)
        made = bytearray(wire.batch(records, **words))
        if wrong_crc:
            made[17] ^= 0x55
        return bytes(made[:len(made) - cut])

    # ---- an answer that came from one side
    def plain(self, side, value, name=""):
        """With known ids replaced by their canonical ones, records opened, own places hidden."""
        if isinstance(value, dict):
            return {k: self.plain(side, v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.plain(side, v, name) for v in value]
        kind = kind_of(name, value)
        if kind and value not in NOTHING[kind]:
            known = self.ids.known(side, kind, value)
            return known if known is not None else value
        if name == "records" and value is not None:
            return self.plain(side, wire.batches(base64.b64decode(value)))
        if isinstance(value, str):
            for place, hidden in self.places[side]:
                value = value.replace(place, hidden)
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if name == "port" and value in (self.nodes[side].port, self.nodes[side].quorum):
                return "PORT" if value == self.nodes[side].port else "QUORUM"
            if re.search("[tT]ime", name) and value > self.began_ms - 60000 and value < self.began_ms + 10 ** 8:
                return "NOW"
        return value

    def compare(self, answers):
        """Differences as (path, apache's, moldau's), and the answer in canonical ids."""
        a, b = (self.plain(side, answer) for side, answer in enumerate(answers))
        found = []
        whole = self.walk(a, b, "", "", found)
        return found, whole

    def walk(self, a, b, path, name, found):
        if isinstance(a, dict) and isinstance(b, dict):
            out = {}
            for key in list(a) + [k for k in b if k not in a]:
                here = f"{path}.{key}" if path else key
                if key in a and key in b:
                    out[key] = self.walk(a[key], b[key], here, key, found)
                else:
                    found.append((here, a.get(key, "absent"), b.get(key, "absent")))
                    out[key] = a.get(key, b.get(key))
            return out
        if isinstance(a, list) and isinstance(b, list):
            return self.walk_items(a, b, path, name, found)
        if a == b and type(a) is type(b):
            return a
        kind = kind_of(name, a)
        if kind and type(a) is type(b) and a not in NOTHING[kind] and b not in NOTHING[kind]:
            made = [not any((kind, own) in self.ids.to[side] for own in (a, b)) for side in (0, 1)]
            known = [self.ids.known(side, kind, own) for side, own in ((0, a), (1, b))]
            if known[0] and known[0] == known[1]:
                return known[0]  # by another field of this answer
            if all(made) and known == [None, None]:
                return self.ids.bind(kind, (a, b))
        found.append((path, a, b))
        return a

    def walk_items(self, a, b, path, name, found):
        if not (a or b) or not all(isinstance(x, dict) for x in a + b):
            if len(a) == len(b):
                if kind_of(name, "") is None and a and not isinstance(a[0], (dict, list)) and sorted(map(str, a)) == sorted(map(str, b)):
                    return a
                return [self.walk(x, y, path + "[]", name, found) for x, y in zip(a, b)]
            found.append((path, a, b))
            return a
        keys = next((k for k in KEYS if all(part in x for x in a + b for part in k) and (len(k) > 1 or any(x[k[0]] is not None for x in a + b))), None)
        if keys is None or name == "records":
            if len(a) != len(b):
                found.append((path + "[]", a, b))
                return a
            return [self.walk(x, y, path + "[]", name, found) for x, y in zip(a, b)]
        if keys[0] in GROUPED:
            a, b = merged(a, keys), merged(b, keys)
        rest, out, left = {}, [], []
        for y in b:
            rest.setdefault(key_of(y, keys), []).append(y)
        for x in a:
            same = rest.get(key_of(x, keys))
            if same:
                alike = same.index(x) if x in same else 0  # of several with one key: the one that says the same
                out.append(self.walk(x, same.pop(alike), path + "[]", name, found))
            else:
                left.append(x)
        extra = [y for same in rest.values() for y in same]
        if keys[0] in KINDS and len(left) == len(extra):
            left.sort(key=lambda x: str(x.get("clientId")))  # ids that are not known yet: by what else tells them apart
            extra.sort(key=lambda y: str(y.get("clientId")))
            for x, y in zip(left, extra):
                out.append(self.walk(x, y, path + "[]", name, found))
            return out
        for x in left:
            found.append((f"{path}[{','.join(str(x[k]) for k in keys)}]", brief(x), "absent"))
        for y in extra:
            found.append((f"{path}[{','.join(str(y[k]) for k in keys)}]", "absent", brief(y)))
        return out + left


def merged(items, keys):
    """Elements of one key put together, where each holds one list: a topic may come in several pieces."""
    out = {}
    for item in items:
        lists = [k for k, v in item.items() if isinstance(v, list)]
        key = key_of(item, keys)
        if item[keys[0]] is not None and key in out and len(lists) == 1:
            out[key] = dict(out[key], **{lists[0]: out[key][lists[0]] + item[lists[0]]})
        else:
            out[key if key not in out else (key, len(out))] = item
    return list(out.values())


def brief(value):
    text = json.dumps(value)
    return text if len(text) < 300 else text[:300] + "..."


def errors_of(value, out):
    """All error codes in an answer."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.lower().endswith("errorcode") and isinstance(inner, int):
                out.add(inner)
            else:
                errors_of(inner, out)
    elif isinstance(value, list):
        for inner in value:
            errors_of(inner, out)
    return out


class Listed:
    """differences.txt: API | field | Apache's -> Moldau's | reason. A pair of values may be words -> words (two texts, neither
    missing), null -> words, present -> absent, absent -> present, more -> less (two numbers) or varies -> varies; else it is the two
    values."""

    def __init__(self, path):
        self.rows, self.hits = {}, {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = [part.strip() for part in line.split("|")]
            assert len(parts) == 4 and all(parts) and "*" not in parts[0] + parts[1], f"{path}:{number}: API | field | a -> b | reason"
            values = tuple(part.strip() for part in parts[2].split("->"))
            self.rows[parts[0], parts[1], values] = parts[3]

    def allows(self, api, path, a, b):
        if isinstance(a, str) and isinstance(b, str) and a and b and "absent" not in (a, b) and (api, path, ("words", "words")) in self.rows:
            self.hits[api, path, ("words", "words")] = self.hits.get((api, path, ("words", "words")), 0) + 1
            return True
        values = (brief(a) if isinstance(a, (dict, list)) else str(a), brief(b) if isinstance(b, (dict, list)) else str(b))
        if type(a) is int and type(b) is int and a > b and (api, path, ("more", "less")) in self.rows:
            self.hits[api, path, ("more", "less")] = self.hits.get((api, path, ("more", "less")), 0) + 1
            return True
        if a is None and isinstance(b, str) and b and (api, path, ("null", "words")) in self.rows:
            self.hits[api, path, ("null", "words")] = self.hits.get((api, path, ("null", "words")), 0) + 1
            return True
        for row in ((api, path, values), (api, path, ("varies", "varies")), (api, path, ("present" if b == "absent" else "absent" if a == "absent" else "varies",
                                                      "absent" if b == "absent" else "present" if a == "absent" else "varies"))):
            if row in self.rows:
                self.hits[row] = self.hits.get(row, 0) + 1
                return True
        return False
