"""Requests that are wrong by one change: one that was sent before, with one field set to something else, or with one of its
elements named twice.

What would reach beyond the scene (another scene's topics, the node's settings, its features) is left alone, and what would
wait: joins, long waits.
"""
import copy

import requests
import wire

NOT_CHANGED = {"JoinGroup", "SyncGroup", "UpdateFeatures", "UnregisterBroker", "ApiVersions", "AlterConfigs", "IncrementalAlterConfigs",
               "AlterPartitionReassignments", "SaslHandshake",
               "SaslAuthenticate", "UnregisterController"}
# Of these a value of one's own would mean what is not served yet, wait for long, or make much.
NOT_FIELDS = {"transactionalId", "maxWaitMs", "timeoutMs", "timeout", "numPartitions", "count", "minBytes", "records", "assignments", "responsePartitionLimit",
              "allowAutoTopicCreation"}


def places(struct_of, version, value, at=()):
    """Every field of the request that this version has: (path, field)."""
    for field in struct_of["fields"]:
        name = field["name"]
        if name not in value or not field["versions"] & (1 << version):
            continue
        yield at + (name,), field
        inner = value[name]
        if field["type"] in ("struct", "pointer") and isinstance(inner, dict) and field["of"] and "$batches" not in inner:
            yield from places(field["of"], version, inner, at + (name,))
        elif field["type"] == "array" and field["of"] and inner:
            for number, item in enumerate(inner):
                yield from places(field["of"], version, item, at + (name, number))


def other(world, rng, field, version, value):
    kind = field["type"]
    can_be_null = bool(field["nullable"] & (1 << version))
    if can_be_null and value is not None and rng.random() < 0.2:
        return None
    if kind == "array":
        items = list(value or [])
        return rng.choice([[], items + items[:1], items[::-1], items[1:]])
    if kind == "bool":
        return not value
    if kind in ("int8", "int16", "int32", "int64"):
        most = (1 << int(kind[3:]) - 1) - 1
        return rng.choice([-1, 0, 1, 2, 3, -2, most, -most - 1, (value or 0) + 1, (value or 0) - 1])
    if kind == "uuid":
        return rng.choice(requests.UNKNOWN_IDS[:2] + [world.topic_id(rng)])
    if kind == "string":
        mine = f"s{world.scene}-"
        return rng.choice(["", world.topic(rng, 0) if world.topics else mine, mine + "missing", mine + "a/b", mine + "ü", mine + "x" * 260]
                          + requests.group_names(world))
    return value


def again(world, rng, api, version, body):
    """The request with one element named twice: a copy of it, alike or with one thing changed, before or behind it. Of a
    partition that is written to the copy has records of its own. None: nothing has elements."""
    body = copy.deepcopy(body)
    lists = [(path, field) for path, field in places(wire.APIS[api].request, version, body)
             if field["type"] == "array" and field["of"] and field["name"] not in NOT_FIELDS]
    lists = [(path, field, at) for path, field in lists if (at := inside(body, path))]
    if not lists:
        return None
    path, field, items = rng.choice(lists)
    item = copy.deepcopy(rng.choice(items))
    fields = [(where, inner) for where, inner in places(field["of"], version, item) if inner["name"] not in NOT_FIELDS]
    if field["name"] == "partitionData":
        topic = inside(body, path[:-1])
        name = topic.get("name") or next((n for n, t in world.topics.items() if t.id == topic.get("topicId")), "x")
        item["records"] = {"$batches": [requests.a_batch(world, rng, name, item["index"])]}
    elif fields and rng.random() < 0.7:
        where, inner = rng.choice(fields)
        inside(item, where[:-1])[where[-1]] = other(world, rng, inner, version, inside(item, where))
    items.insert(rng.randint(0, len(items)), item)
    return body


def inside(value, path):
    for part in path:
        value = value[part]
    return value


def changed(world, rng, api, version, body):
    """The request with one thing changed; None: there is nothing to change."""
    if rng.random() < 0.25:
        return again(world, rng, api, version, body)
    body = copy.deepcopy(body)
    found = [(path, field) for path, field in places(wire.APIS[api].request, version, body) if field["name"] not in NOT_FIELDS]
    if not found:
        return None
    path, field = rng.choice(found)
    at = body
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = other(world, rng, field, version, at[path[-1]])
    return body


def is_tame(api, body):
    """Does not what Apache never answers, or answers by failing: scripts.accidents does."""
    if api == "Produce":
        return all(p["records"] is not None for t in body["topicData"] for p in t["partitionData"])
    if api == "FindCoordinator":
        return body["keyType"] not in (1, 2)  # transactions and share groups are not served yet
    if api == "DescribeTopicPartitions":
        # none asks for all that there are; of partitions at either end of the range Apache computes the next cursor by overflowing
        return body["topics"] and all(t["name"] for t in body["topics"]) and (not body["cursor"] or -1 <= body["cursor"]["partitionIndex"] < 1 << 30)
    if api == "Fetch":
        zero = any(t.get("topicId") == wire.ZERO_ID for t in body["topics"])
        return body["maxBytes"] >= 0 and body["isolationLevel"] in (0, 1) and abs(body["sessionId"]) < (1 << 31) - 1 and not zero
    if api == "ListOffsets":
        return body["isolationLevel"] in (0, 1)
    return True


def tail(tester, world, rng, size):
    sent = [step for step in tester.log if step["do"] in ("ask", "step") and not step["change"] and step["api"] not in NOT_CHANGED
            and (not tester.options.apis or step["api"] in tester.options.apis.split(","))]
    for _ in range(size if sent else 0):
        step = rng.choice(sent)
        body = changed(world, rng, step["api"], step["version"], step["body"])
        if body is None or not is_tame(step["api"], body):
            continue
        try:
            wire.encode(wire.APIS[step["api"]], step["version"], tester.comparer.realise(0, body))
        except (wire.Malformed, TypeError, KeyError, OverflowError):
            continue  # no request of this version
        tester.step(world, step["api"], step["version"], body)
