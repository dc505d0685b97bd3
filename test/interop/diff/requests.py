"""Random requests that know the state: valid ones, ones at the edges, wrong ones.

Each function g_Api(world, rng, version) answers a request's body; the names, offsets and epochs in it come from what the
world holds. `seen` keeps the world up to date from the answers.
"""
import wire

BASE_TIME = 1700000000000
STRANGE_NAMES = ["", ".", "..", "a/b", "with space", "x" * 250, "ü", "a,b"]
UNKNOWN_IDS = ["_w-qgVh6T5eAxX0Kk3Nqcg", "AAAAAAAAAAAAAAAAAAAAAQ", wire.ZERO_ID]
HUGE = 1 << 62


class Topic:
    def __init__(self, parts):
        self.parts, self.id = parts, None
        self.ends = {p: 0 for p in range(parts)}
        self.starts = {p: 0 for p in range(parts)}


class World:
    """What one scene has made; a scene knows nothing of the others."""

    def __init__(self, scene, alone=True):
        self.scene, self.alone = scene, alone
        self.topics, self.deleted, self.deleted_ids, self.made = {}, [], [], 0
        # valid ones are the scene's own: scenes go on side by side
        self.strange = STRANGE_NAMES + [(f"s{scene}-" + "x" * 249)[:249], f"s{scene}-a.b_c-D9", f"s{scene}-a.b", f"s{scene}-a_b"]
        self.producers, self.groups, self.sessions = [], [], []
        self.sequences = {}

    def fresh(self):
        self.made += 1
        return f"s{self.scene}-{self.made}"

    def topic(self, rng, wrong=0.15):
        """A topic's name: mostly one that is there."""
        if rng.random() < wrong or not self.topics:
            return rng.choice(self.deleted + [f"s{self.scene}-missing"] + STRANGE_NAMES)
        return rng.choice(sorted(self.topics))

    def topic_id(self, rng, wrong=0.15):
        with_id = [t.id for t in self.topics.values() if t.id]
        if rng.random() < wrong or not with_id:
            return rng.choice(self.deleted_ids + UNKNOWN_IDS)
        return rng.choice(with_id)

    def id_of(self, name, rng):
        topic = self.topics.get(name)
        return topic.id if topic and topic.id else rng.choice(self.deleted_ids + UNKNOWN_IDS)

    def partition(self, rng, name):
        parts = self.topics[name].parts if name in self.topics else 1
        return rng.choice([rng.randrange(parts)] * 8 + [parts, parts + 7, -1, 2147483647])

    def offset(self, rng, name, partition):
        topic = self.topics.get(name)
        end = topic.ends.get(partition, 0) if topic else 0
        start = topic.starts.get(partition, 0) if topic else 0
        return rng.choice([start, end, end, end - 1, end + 1, start - 1, start + 1, rng.randint(start, max(start, end)),
                           -1, -2, -3, 0, HUGE])


def different(w, rng, most=2):
    return sorted({w.topic(rng) for _ in range(rng.choice([1, 1, most]))})


def epoch(rng):
    return rng.choice([-1, -1, -1, 0, 0, 1, 5, -2, 2147483647])


def g_ApiVersions(w, rng, v):
    return {"clientSoftwareName": rng.choice(["apache-kafka-java", "x", "", "-bad", "bad-", "has space", "a" * 300, "ü"]),
            "clientSoftwareVersion": rng.choice(["4.4.0", "", "1", "-", "a b", "v1.0-x"]),
            "clusterId": rng.choice([None, None, "MkU3OEVBNTcwNTJENDM2Qg", "other", ""]), "nodeId": rng.choice([-1, -1, 1, 2, -5])}


def g_Metadata(w, rng, v):
    names = [w.topic(rng, 0.25) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    if rng.random() < 0.1 and names:
        names.append(names[0])
    topics = [{"name": n} for n in names]
    if v >= 10 and rng.random() < 0.4:
        topics = [{"name": None, "topicId": w.topic_id(rng)} for _ in names]
    if v >= 1 and rng.random() < 0.05:
        topics = None
    if v == 0 and not topics:
        topics = [{"name": w.topic(rng)}]
    return {"topics": topics, "allowAutoTopicCreation": v >= 4 and rng.random() < 0.03,
            "includeClusterAuthorizedOperations": rng.random() < 0.3, "includeTopicAuthorizedOperations": rng.random() < 0.3}


CONFIGS = [("retention.ms", "1000000"), ("retention.ms", "-1"), ("retention.ms", "-2"), ("cleanup.policy", "compact"),
           ("cleanup.policy", "compact,delete"), ("cleanup.policy", "nothing"), ("compression.type", "gzip"), ("compression.type", "snip"),
           ("max.message.bytes", "2000"), ("max.message.bytes", "abc"), ("min.insync.replicas", "1"), ("min.insync.replicas", "0"),
           ("segment.bytes", "1048576"), ("segment.bytes", "5"), ("unknown.key", "1"), ("message.timestamp.type", "LogAppendTime"),
           ("message.timestamp.type", "CreateTime"), ("retention.ms", None), ("cleanup.policy", ""), ("flush.messages", "0"),
           ("unclean.leader.election.enable", "maybe"), ("min.cleanable.dirty.ratio", "1.5"), ("compression.gzip.level", "12"),
           ("preallocate", "true"), ("segment.ms", "9999999999999999999"), ("delete.retention.ms", " 100 "), ("index.interval.bytes", "-1"),
           ("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "0"), ("local.retention.ms", "5000"),
           ("remote.storage.enable", "true"), ("leader.replication.throttled.replicas", "0:1"), ("message.format.version", "2.0")]


def g_CreateTopics(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 2, 0] if rng.random() < 0.3 else [1])):
        name = w.fresh() if rng.random() < 0.6 else rng.choice(w.strange + ["__consumer_offsets", w.topic(rng), w.topic(rng)])
        topic = {"name": name, "numPartitions": rng.choice([1, 1, 2, 3, 4, -1, 0, -2]), "replicationFactor": rng.choice([1, 1, 1, -1, 0, 2, -3]),
                 "assignments": [], "configs": []}
        if rng.random() < 0.2:
            topic.update(numPartitions=rng.choice([-1, -1, -1, 1]), replicationFactor=rng.choice([-1, -1, -1, 1]),
                         assignments=rng.choice([[{"partitionIndex": 0, "brokerIds": [1]}], [{"partitionIndex": i, "brokerIds": [1]} for i in range(2)],
                                                 [{"partitionIndex": 1, "brokerIds": [1]}], [{"partitionIndex": 0, "brokerIds": []}],
                                                 [{"partitionIndex": 0, "brokerIds": [2]}], [{"partitionIndex": 0, "brokerIds": [1, 1]}],
                                                 [{"partitionIndex": 0, "brokerIds": [1]}] * 2, [{"partitionIndex": 0, "brokerIds": [-1]}],
                                                 [{"partitionIndex": 0, "brokerIds": [1, 2]}]]))
        if rng.random() < 0.3:
            for key, value in rng.sample(CONFIGS, rng.choice([1, 1, 2])):
                topic["configs"].append({"name": key, "value": value})
        topics.append(topic)
    if topics and rng.random() < 0.08:
        topics.append(dict(topics[0], numPartitions=2))
    return {"topics": topics, "timeoutMs": 30000, "validateOnly": rng.random() < 0.15}


def g_DeleteTopics(w, rng, v):
    names = [w.topic(rng, 0.5) for _ in range(rng.choice([1, 1, 2, 0]))]
    if len(w.topics) < 4:
        names = [n for n in names if n not in w.topics]
    if v < 6:
        return {"topicNames": names, "timeoutMs": 30000}
    topics = []
    for name in names:
        if rng.random() < 0.5:
            topics.append({"name": name, "topicId": rng.choice([wire.ZERO_ID] * 6 + UNKNOWN_IDS)})
        else:
            topics.append({"name": None, "topicId": w.id_of(name, rng)})
    if topics and rng.random() < 0.1:
        topics.append(dict(topics[0]))
    return {"topics": topics, "timeoutMs": 30000}


def g_CreatePartitions(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 2])):
        name = w.topic(rng, 0.2)
        parts = w.topics[name].parts if name in w.topics else 1
        count = rng.choice([parts + 1, parts, parts - 1, 0, -1, parts + 2] if parts < 8 else [parts, 1])
        made = None
        if rng.random() < 0.3:
            made = rng.choice([[], [{"brokerIds": [1]}], [{"brokerIds": [1]}] * 2, [{"brokerIds": [7]}], [{"brokerIds": []}],
                               [{"brokerIds": [1, 1]}], [{"brokerIds": [1, 2]}]])
        topics.append({"name": name, "count": count, "assignments": made})
    if rng.random() < 0.08:
        topics.append(dict(topics[0]))
    return {"topics": topics, "timeoutMs": 30000, "validateOnly": rng.random() < 0.2}


def a_batch(w, rng, name, partition):
    records = [(rng.choice([None, "k", "key%d" % rng.randrange(9)]), rng.choice(["value", "v" * rng.randrange(200), "", None]), i,
                [("h", "x")] * 0) for i in range(rng.choice([1, 1, 2, 3, 10]))]
    records = [(k, v_, d) for k, v_, d, _ in records]
    made = {"records": records, "base_time": BASE_TIME + w.made * 1000}
    roll = rng.random()
    if roll < 0.55:
        made["codec"] = rng.choice([0, 0, 0, 1, 2, 3, 4])
    elif roll < 0.75 and w.producers:
        producer, pepoch = rng.choice(w.producers)
        key = (producer, pepoch, name, partition)
        sequence = w.sequences.get(key, 0)
        last = w.sequences.get(key + ("last",), 0)
        made["producer"] = (producer, pepoch, rng.choice([sequence] * 8 + [last, (sequence + 1) % (1 << 31), sequence - 1, 0, 2147483647, -1]))
        if rng.random() < 0.1:  # a new epoch begins anew; then the former one is fenced
            made["producer"] = (producer, pepoch + 1, rng.choice([0, 0, 0, 5]))
            w.producers.append((producer, pepoch + 1))
    elif roll < 0.80:
        made["producer"] = rng.choice([(12345678, 0, 0), (12345678, 0, 5), (-1, 0, 0), (-1, -1, 5), (987654321012, -1, 0), (987654321012, 0, -1), (-2, 3, 3)])
    elif roll < 0.83:
        made["wrong_crc"] = 1
    elif roll < 0.86:
        made["magic"] = rng.choice([0, 1, 3, -1, 127])
    elif roll < 0.88:
        made["count"] = rng.choice([0, 1, len(records) + 1, -1, 1000])
    elif roll < 0.90:
        made["last_delta"] = rng.choice([0, len(records), 50, -1])
    elif roll < 0.92:
        made["length"] = rng.choice([0, 5, 49, 48, -1, 1000000])
    elif roll < 0.94:
        made["cut"] = rng.choice([1, 10, 40, 60])
    elif roll < 0.96:
        made["attributes"] = rng.choice([0x08, 0x10, 0x20, 0x30])
    elif roll < 0.97:
        made.update(codec=2, payload="00112233445566")
    elif roll < 0.98:
        made["records"] = []
    elif roll < 0.99:
        made["records"] = [("k", "x" * rng.choice([1900, 2100, 1048500, 1048600]), 0)]
    else:
        made["base_time"] = rng.choice([-1, 0, -5, 9999999999999, HUGE])
    made["base_offset"] = rng.choice([0, 0, 0, 0, 0, 5]) if "length" not in made else 0
    return made


def g_Produce(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        name = w.topic(rng, 0.1) or "x"
        parts = []
        for _ in range(rng.choice([1, 1, 1, 2])):
            p = w.partition(rng, name)
            if any(q["index"] == p for q in parts):
                continue
            batches = [a_batch(w, rng, name, p)]
            roll = rng.random()
            if roll < 0.03:
                batches.append(a_batch(w, rng, name, p))
            records = {"$batches": batches}
            if roll > 0.98:
                records = rng.choice([{"$batches": []}, {"$batches": [{"hex": "00"}]}, {"$batches": [{"hex": "00" * 61}]}])
            parts.append({"index": p, "records": records})
        if any(t["name"] == name for t in topics):
            continue
        topics.append({"name": name, "topicId": w.id_of(name, rng), "partitionData": parts})
    return {"transactionalId": None, "acks": rng.choice([-1, -1, -1, 1, 1, 0, 2, -2] if rng.random() < 0.3 else [-1, 1]), "timeoutMs": 10000, "topicData": topics}


def g_ListOffsets(w, rng, v):
    topics = []
    for name in different(w, rng):
        parts = [{"partitionIndex": w.partition(rng, name), "currentLeaderEpoch": epoch(rng),
                  "timestamp": rng.choice([-1, -2, -3, -4, -5, -6, -7, 0, BASE_TIME, BASE_TIME + 1, BASE_TIME + rng.randrange(40000), HUGE])}
                 for _ in range(rng.choice([1, 1, 2]))]
        topics.append({"name": name, "partitions": parts})
    return {"replicaId": rng.choice([-1] * 20 + [1, 2, -2, -3]), "isolationLevel": rng.choice([0, 0, 1]), "topics": topics, "timeoutMs": 1000}


def g_Fetch(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 2])):
        name = w.topic(rng)
        if any(t["topic"] == name for t in topics):
            continue
        parts = []
        for _ in range(rng.choice([1, 1, 2])):
            p = w.partition(rng, name)
            if any(q["partition"] == p for q in parts):
                continue
            parts.append({"partition": p, "currentLeaderEpoch": epoch(rng), "fetchOffset": w.offset(rng, name, p),
                          "lastFetchedEpoch": rng.choice([-1] * 9 + [0, 1, 5]), "logStartOffset": rng.choice([-1, -1, 0]),
                          "partitionMaxBytes": rng.choice([1048576, 1048576, 1048576, 1, 0, 100, 300])})
        topics.append({"topic": name, "topicId": w.id_of(name, rng), "partitions": parts})
        if topics[-1]["topicId"] == wire.ZERO_ID:
            topics[-1]["topicId"] = UNKNOWN_IDS[0]  # zero is asked by scripts.accidents
        if any(t["topicId"] == topics[-1]["topicId"] for t in topics[:-1]):
            topics.pop()
    session, sepoch = 0, rng.choice([-1, -1, -1, 0])
    if w.sessions and rng.random() < 0.3:
        session, sepoch = rng.choice(w.sessions)
        sepoch = rng.choice([sepoch] * 6 + [sepoch + 1, 0, -1])
    elif rng.random() < 0.05:
        session, sepoch = rng.choice([(77, 1), (77, 0), (77, -1), (0, 5), (-1, 0)])
    return {"replicaId": -1, "maxWaitMs": rng.choice([0, 0, 0, 20]), "minBytes": rng.choice([0, 1, 1, 1000]),
            "maxBytes": rng.choice([0x7FFFFFFF, 1048576, 1048576, 0, 100, 1]), "isolationLevel": rng.choice([0, 0, 1]),
            "sessionId": session, "sessionEpoch": sepoch, "topics": topics,
            "forgottenTopicsData": [], "rackId": rng.choice(["", "", "r1"])}


def g_OffsetForLeaderEpoch(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 2])):
        name = w.topic(rng)
        if any(t["topic"] == name for t in topics):
            continue
        topics.append({"topic": name, "partitions": [{"partition": w.partition(rng, name), "currentLeaderEpoch": epoch(rng),
                                                      "leaderEpoch": epoch(rng)} for _ in range(rng.choice([1, 1, 2]))]})
    return {"replicaId": rng.choice([-1] * 8 + [-2, 1]), "topics": topics}


def g_InitProducerId(w, rng, v):
    producer, pepoch = rng.choice(w.producers) if w.producers and rng.random() < 0.3 else (-1, -1)
    if rng.random() < 0.15:
        producer, pepoch = rng.choice([(987654321012, -1), (-1, 3), (99999999, 0), (-2, -2)])
    return {"transactionalId": None if rng.random() < 0.95 else "", "transactionTimeoutMs": rng.choice([60000, 0, -1, 2147483647]),
            "producerId": producer, "producerEpoch": pepoch}


def g_FindCoordinator(w, rng, v):
    kind = rng.choice([0] * 8 + [3, -1, 7])
    keys = [rng.choice(group_names(w) + ["", "ü", "x" * 300]) for _ in range(rng.choice([1, 1, 2, 0]))]
    if rng.random() < 0.05 and keys:
        keys.append(keys[0])
    return {"key": rng.choice(group_names(w) + [""]), "keyType": kind, "coordinatorKeys": keys}


GROUP_STATE = {"OffsetCommit", "OffsetFetch", "OffsetDelete", "DescribeGroups", "DeleteGroups"}


def own_groups(w, api, value, name=""):
    """The group without a name can have offsets, and there is one of it: it belongs to the scenes that go on one after the other."""
    if w is None or w.alone or api not in GROUP_STATE:
        return value
    if isinstance(value, dict):
        return {k: own_groups(w, api, v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [own_groups(w, api, v, name) for v in value]
    return f"s{w.scene}-nobody's" if value == "" and name in ("groupId", "groups", "groupsNames") else value


def group_names(w):
    return [f"s{w.scene}-g{i}" for i in range(3)]


def g_OffsetCommit(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 2, 0])):
        name = w.topic(rng)
        parts = [{"partitionIndex": w.partition(rng, name), "committedOffset": rng.choice([0, 1, 5, 100, -1, HUGE]),
                  "committedLeaderEpoch": rng.choice([-1, 0, 3]), "committedMetadata": rng.choice([None, "", "m", "ü"])}
                 for _ in range(rng.choice([1, 1, 2]))]
        if rng.random() < 0.1 and parts[0]["partitionIndex"] == 0 and name in w.topics:  # too large; alone it would leave a group without offsets
            parts.append(dict(parts[0], partitionIndex=w.topics[name].parts - 1, committedMetadata="x" * 5000))
        topics.append({"name": name, "topicId": w.id_of(name, rng), "partitions": parts})
    return {"groupId": rng.choice(group_names(w) * 4 + [""]), "generationIdOrMemberEpoch": rng.choice([-1] * 6 + [0, 1, -2]),
            "memberId": rng.choice([""] * 6 + ["nobody"]), "groupInstanceId": rng.choice([None] * 6 + ["i1", ""]),
            "retentionTimeMs": rng.choice([-1, -1, 1000]), "topics": topics}


def fetch_offset_topics(w, rng):
    topics = []
    for _ in range(rng.choice([1, 1, 2, 0])):
        name = w.topic(rng)
        topics.append({"name": name, "topicId": w.id_of(name, rng), "partitionIndexes": [w.partition(rng, name) for _ in range(rng.choice([1, 2, 3, 0]))]})
    return topics if rng.random() < 0.8 else None


def g_OffsetFetch(w, rng, v):
    topics = fetch_offset_topics(w, rng)
    if v < 2 and topics is None:
        topics = []
    groups = [{"groupId": rng.choice(group_names(w) * 4 + ["", "missing"]), "memberId": rng.choice([None, None, None, "", "nobody"]),
               "memberEpoch": rng.choice([-1, -1, -1, 0, 5]), "topics": fetch_offset_topics(w, rng)} for _ in range(rng.choice([1, 1, 2, 0]))]
    return {"groupId": rng.choice(group_names(w) * 4 + ["", "missing"]), "topics": topics, "groups": groups, "requireStable": rng.random() < 0.2}


def member(w, rng):
    return rng.choice(["", "nobody", "x-" + "y" * 30])


def g_Heartbeat(w, rng, v):
    return {"groupId": rng.choice(group_names(w) + ["", "missing"]), "generationId": rng.choice([-1, 0, 1, 5]), "memberId": member(w, rng),
            "groupInstanceId": rng.choice([None, None, "i1", ""])}


def g_LeaveGroup(w, rng, v):
    return {"groupId": rng.choice(group_names(w) + ["", "missing"]), "memberId": member(w, rng),
            "members": [{"memberId": member(w, rng), "groupInstanceId": rng.choice([None, None, "i1", ""]), "reason": rng.choice([None, "because", ""])}
                        for _ in range(rng.choice([1, 2, 0]))]}


def g_SyncGroup(w, rng, v):
    return {"groupId": rng.choice(group_names(w) + ["", "missing"]), "generationId": rng.choice([-1, 0, 1, 5]), "memberId": member(w, rng),
            "groupInstanceId": rng.choice([None, None, "i1", ""]), "protocolType": rng.choice([None, "consumer", ""]),
            "protocolName": rng.choice([None, "range", ""]), "assignments": []}


def g_JoinGroup(w, rng, v):
    """Only joins that are refused: the others are in scripts (groups.py)."""
    bad = rng.choice(["group", "timeout", "protocols", "member", "type"])
    return {"groupId": "" if bad == "group" else f"s{w.scene}-j", "sessionTimeoutMs": rng.choice([0, 10, -1, 2000000000]) if bad == "timeout" else 30000,
            "rebalanceTimeoutMs": 30000, "memberId": rng.choice(["nobody", "x"]) if bad == "member" else "",
            "groupInstanceId": rng.choice(["", "bad instance", ".", "x" * 250]) if bad == "group" and v >= 5 else None,
            "protocolType": "" if bad == "type" else "consumer", "protocols": [] if bad == "protocols" else [{"name": "range", "metadata": "AAA="}],
            "reason": rng.choice([None, "", "because"])} if bad in ("group", "timeout", "protocols", "type", "member") and not (
                bad == "timeout" and False) else {}


def g_DescribeGroups(w, rng, v):
    return {"groups": [rng.choice(group_names(w) + ["", "missing"]) for _ in range(rng.choice([1, 1, 2, 0]))],
            "includeAuthorizedOperations": rng.random() < 0.3}


def g_ListGroups(w, rng, v):
    return {"statesFilter": rng.choice([[], [], ["Stable"], ["stable"], ["Empty"], ["Dead"], ["Nonsense"], ["Stable", "Empty"], [""]]),
            "typesFilter": rng.choice([[], [], ["classic"], ["consumer"], ["Classic"], ["share"], ["streams"], ["nonsense"], [""]])}


def g_DescribeConfigs(w, rng, v):
    resources = []
    for _ in range(rng.choice([1, 1, 2, 0])):
        kind = rng.choice([2, 2, 2, 2, 2, 4, 4, 8, 16, 32] if rng.random() < 0.95 else [0, 1, 3, 99])
        name = {2: w.topic(rng), 4: rng.choice(["1", "1", "2", "", "x"]), 8: rng.choice(["2", "", "x"])}.get(kind, rng.choice(["s", ""]))
        if kind == 32:
            name = rng.choice(group_names(w) + [""])
        keys = rng.choice([None, None, [], ["retention.ms"], ["retention.ms", "nope"], ["log.dirs", "node.id"], ["compression.type"] * 2])
        resources.append({"resourceType": kind, "resourceName": name, "configurationKeys": keys})
    return {"resources": resources, "includeSynonyms": rng.random() < 0.5, "includeDocumentation": rng.random() < 0.2}


def g_DescribeCluster(w, rng, v):
    return {"includeClusterAuthorizedOperations": rng.random() < 0.5, "endpointType": rng.choice([1, 1, 1, 2, 0, 3, -1]),
            "includeFencedBrokers": rng.random() < 0.3}


def g_DescribeTopicPartitions(w, rng, v):
    names = [w.topic(rng, 0.2) or "x" for _ in range(rng.choice([1, 1, 2, 3]))]  # "" makes Apache fail as a whole
    cursor = None
    if rng.random() < 0.3:
        cursor = {"topicName": rng.choice(names + ["zzz", ""]), "partitionIndex": rng.choice([0, 1, 2, -1, 100])}
    return {"topics": [{"name": n} for n in names], "responsePartitionLimit": rng.choice([2000, 2000, 1, 2, 3, 0, -1]), "cursor": cursor}


def alterations(w, rng):
    kind = rng.choice([2, 2, 2, 2, 2, 4, 8, 16, 32, 0, 99])
    name = {2: w.topic(rng), 4: rng.choice(["1", "2", "", "x"]), 8: rng.choice(["1", "2", "", "x"])}.get(kind, rng.choice(["s", ""]))
    if kind == 32:
        name = rng.choice(group_names(w) + [""])
    pool = CONFIGS if kind == 2 else [("nope", "1"), ("log.retention.ms", "x"), ("advertised.listeners", "x"), ("log.dirs", "/x"),
                                      ("consumer.session.timeout.ms", "46000"), ("consumer.session.timeout.ms", "1"), ("metrics", "*"), ("interval.ms", "1")]
    return kind, name, rng.sample(pool, rng.choice([1, 1, 2, 0] if kind == 2 else [1, 1, 0]))


def g_IncrementalAlterConfigs(w, rng, v):
    resources = []
    for _ in range(rng.choice([1, 1, 2])):
        kind, name, pairs = alterations(w, rng)
        resources.append({"resourceType": kind, "resourceName": name,
                          "configs": [{"name": k, "configOperation": rng.choice([0, 0, 0, 1, 2, 3] if x else [0, 1]), "value": x} for k, x in pairs]})
    return {"resources": resources, "validateOnly": rng.random() < 0.3}


def g_AlterConfigs(w, rng, v):
    resources = []
    for _ in range(rng.choice([1, 1, 2])):
        kind, name, pairs = alterations(w, rng)
        if kind in (0, 99) or any(r["resourceType"] == kind and r["resourceName"] == name for r in resources):
            continue  # to these, and to the same one twice, Apache does not answer at all
        resources.append({"resourceType": kind, "resourceName": name, "configs": [{"name": k, "value": x} for k, x in pairs]})
    return {"resources": resources, "validateOnly": rng.random() < 0.3}


def g_DeleteRecords(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 2])):
        name = w.topic(rng)
        topics.append({"name": name, "partitions": [{"partitionIndex": p, "offset": w.offset(rng, name, p)}
                                                    for p in [w.partition(rng, name) for _ in range(rng.choice([1, 1, 2]))]]})
    return {"topics": topics, "timeoutMs": 5000}


def g_OffsetDelete(w, rng, v):
    topics = []
    for _ in range(rng.choice([1, 1, 2, 0])):
        name = w.topic(rng)
        topics.append({"name": name, "partitions": [{"partitionIndex": w.partition(rng, name)} for _ in range(rng.choice([1, 2]))]})
    return {"groupId": rng.choice(group_names(w) * 3 + ["", "missing"]), "topics": topics}


def g_DeleteGroups(w, rng, v):
    return {"groupsNames": [rng.choice(group_names(w) + ["", "missing"]) for _ in range(rng.choice([1, 1, 2, 0]))]}


def g_DescribeLogDirs(w, rng, v):
    topics = []
    for name in sorted({w.topic(rng) for _ in range(rng.choice([1, 2]))}):
        topics.append({"topic": name, "partitions": [w.partition(rng, name) for _ in range(rng.choice([1, 2]))]})
    return {"topics": topics}


def g_AlterReplicaLogDirs(w, rng, v):
    name = w.topic(rng)
    return {"dirs": [{"path": rng.choice(["DATA", "/nowhere", ""]), "topics": [{"name": name, "partitions": [w.partition(rng, name)]}]}]}


def g_DescribeQuorum(w, rng, v):
    return {"topics": [{"topicName": rng.choice(["__cluster_metadata"] * 3 + ["x", ""]), "partitions": [{"partitionIndex": rng.choice([0, 0, 0, 1])}]}
                       for _ in range(rng.choice([1, 1, 1, 0, 2]))]}


def g_DescribeProducers(w, rng, v):
    name = w.topic(rng)
    return {"topics": [{"name": name, "partitionIndexes": [w.partition(rng, name) for _ in range(rng.choice([1, 2]))]}]}


def g_UpdateFeatures(w, rng, v):
    updates = []
    for _ in range(rng.choice([1, 1, 2, 0])):
        updates.append({"feature": rng.choice(["nope", "", "metadata.version", "transaction.version", "kraft.version", "group.version"]),
                        "maxVersionLevel": rng.choice([99, -1, 1000]), "allowDowngrade": rng.random() < 0.3, "upgradeType": rng.choice([1, 1, 0, 9])})
    return {"timeoutMs": 10000, "featureUpdates": updates, "validateOnly": rng.random() < 0.7}


def g_UnregisterBroker(w, rng, v):
    return {"brokerId": rng.choice([2, 99, -1])}


def g_ElectLeaders(w, rng, v):
    topics = []
    for name in sorted({w.topic(rng) for _ in range(rng.choice([1, 2]))}):
        topics.append({"topic": name, "partitions": [w.partition(rng, name) for _ in range(rng.choice([1, 2]))]})
    return {"electionType": rng.choice([0, 0, 1, 5, -1]), "topicPartitions": topics, "timeoutMs": 5000}


def g_AlterPartitionReassignments(w, rng, v):
    name = w.topic(rng)
    return {"timeoutMs": 5000, "allowReplicationFactorChange": rng.random() < 0.8,
            "topics": [{"name": name, "partitions": [{"partitionIndex": w.partition(rng, name), "replicas": rng.choice([None, [1], [2], [], [1, 1], [1, 2], [-1]])}]}]}


def g_ListPartitionReassignments(w, rng, v):
    name = w.topic(rng)
    return {"timeoutMs": 5000, "topics": rng.choice([None, [], [{"name": name, "partitionIndexes": [w.partition(rng, name)]}]])}


def g_ListConfigResources(w, rng, v):
    return {"resourceTypes": rng.choice([[], [], [2], [4], [8], [16], [32], [99], [2, 4], [16, 32], [0]])}


def g_DescribeClientQuotas(w, rng, v):
    return {"components": [{"entityType": rng.choice(["user", "client-id", "ip", "nope", ""]), "matchType": rng.choice([0, 1, 2, 3]),
                            "match": rng.choice([None, "a"])} for _ in range(rng.choice([0, 1, 1, 2]))], "strict": rng.random() < 0.5}


def g_SaslHandshake(w, rng, v):
    return {"mechanism": rng.choice(["PLAIN", "SCRAM-SHA-256", "", "x"])}


def g_SaslAuthenticate(w, rng, v):
    return {"authBytes": rng.choice(["", "AAAA", "AHgAeQ=="])}


def g_UnregisterController(w, rng, v):
    return {"controllerId": rng.choice([2, 99, -1])}


def g_GetTelemetrySubscriptions(w, rng, v):
    return {"clientInstanceId": rng.choice([wire.ZERO_ID, "_w-qgVh6T5eAxX0Kk3Nqcg"])}


# How often each is asked, in a scene of mixed requests.
WEIGHTS = {"Produce": 22, "Fetch": 16, "ListOffsets": 8, "Metadata": 6, "CreateTopics": 7, "DeleteTopics": 2, "CreatePartitions": 4,
           "OffsetForLeaderEpoch": 4, "InitProducerId": 3, "FindCoordinator": 3, "OffsetCommit": 5, "OffsetFetch": 5, "DescribeConfigs": 4,
           "DescribeTopicPartitions": 4, "IncrementalAlterConfigs": 4, "AlterConfigs": 2, "DeleteRecords": 4, "OffsetDelete": 3}


def seen(w, api, version, body, answer):
    """Takes over what an answer (in canonical ids) says about the world. Answers whether metadata moved."""
    moved = False
    if api == "CreateTopics" and not body["validateOnly"]:
        for topic in answer["topics"]:
            if topic["errorCode"] == 0:
                asked = next((t for t in body["topics"] if t["name"] == topic["name"]), None)
                count = len(asked["assignments"]) or max(1, asked["numPartitions"])
                w.topics[topic["name"]] = Topic(count)
                w.topics[topic["name"]].id = topic.get("topicId")
                moved = True
    elif api == "DeleteTopics":
        for topic in answer["responses"]:
            if topic["errorCode"] == 0:
                name = topic.get("name") or next((n for n, t in w.topics.items() if t.id == topic.get("topicId")), None)
                gone = w.topics.pop(name, None)
                if gone:
                    w.deleted.append(name)
                    if gone.id:
                        w.deleted_ids.append(gone.id)
                moved = True
    elif api == "CreatePartitions" and not body["validateOnly"]:
        for result in answer["results"]:
            if result["errorCode"] == 0:
                count = next(t["count"] for t in body["topics"] if t["name"] == result["name"])
                topic = w.topics.setdefault(result["name"], Topic(count))
                for p in range(topic.parts, count):
                    topic.ends[p] = topic.starts[p] = 0
                topic.parts = count
                moved = True
    elif api == "Metadata":
        for topic in answer["topics"]:
            if topic["errorCode"] == 0 and topic["name"] in w.topics and topic.get("topicId", wire.ZERO_ID) != wire.ZERO_ID:
                w.topics[topic["name"]].id = topic["topicId"]
            if topic["errorCode"] in (3, 5) and (version < 4 or body["allowAutoTopicCreation"]) and topic["name"] and topic["name"] not in w.topics:
                w.topics[topic["name"]] = Topic(1)  # it comes into being by having been asked for
                moved = True
    elif api == "Produce" and answer:
        for topic in answer["responses"]:
            own = w.topics.get(topic.get("name")) or next((t for t in w.topics.values() if t.id and t.id == topic.get("topicId")), None)
            asked = next((t for t in body["topicData"] if t["name"] == topic.get("name") or t["topicId"] == topic.get("topicId")), None)
            for part in topic["partitionResponses"]:
                given = next((p for p in asked["partitionData"] if p["index"] == part["index"]), None) if asked else None
                if part["errorCode"] or not own or not given or not given["records"]:
                    continue
                for made in given["records"]["$batches"]:
                    count = len(made.get("records", ()))
                    own.ends[part["index"]] = max(own.ends.get(part["index"], 0), part["baseOffset"] + count)
                    if "producer" in made and made["producer"][2] >= 0:
                        name = next((n for n, t in w.topics.items() if t is own), None)
                        key = (*made["producer"][:2], name, part["index"])
                        w.sequences[key], w.sequences[key + ("last",)] = (made["producer"][2] + count) % (1 << 31), made["producer"][2]
    elif api == "InitProducerId" and answer["errorCode"] == 0:
        w.producers = (w.producers + [(answer["producerId"], answer["producerEpoch"])])[-4:]
    elif api == "Fetch":
        session = answer.get("sessionId", 0)
        if answer.get("errorCode", 0) == 0 and session:
            w.sessions = ([s for s in w.sessions if s[0] != session] + [(session, body["sessionEpoch"] + 1 if body["sessionEpoch"] > 0 else 1)])[-3:]
        elif body["sessionId"]:
            w.sessions = [s for s in w.sessions if s[0] != body["sessionId"]]
    elif api == "DeleteRecords":
        for topic in answer["topics"]:
            for part in topic["partitions"]:
                if part["errorCode"] == 0 and topic["name"] in w.topics:
                    w.topics[topic["name"]].starts[part["partitionIndex"]] = part["lowWatermark"]
    elif api in ("IncrementalAlterConfigs", "AlterConfigs"):
        moved = any(r["errorCode"] == 0 for r in answer["responses"]) and not body["validateOnly"]
    return moved


GENERATORS = {name[2:]: function for name, function in list(globals().items()) if name.startswith("g_")}
