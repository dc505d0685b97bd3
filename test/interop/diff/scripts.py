"""Scenes in which the order matters: groups whose members join and sync together, static members, committed offsets."""
import base64
import struct
import time

import requests


def subscription(*topics):
    """A consumer's metadata in version 1 of its protocol: topics, no user data, nothing owned."""
    out = struct.pack(">hi", 1, len(topics))
    for topic in topics:
        out += struct.pack(">h", len(topic)) + topic.encode()
    return base64.b64encode(out + struct.pack(">ii", -1, 0)).decode()


def assignment(topic, *partitions):
    out = struct.pack(">hih", 1, 1, len(topic)) + topic.encode() + struct.pack(">i", len(partitions))
    for partition in partitions:
        out += struct.pack(">i", partition)
    return base64.b64encode(out + struct.pack(">i", -1)).decode()


class Group:
    """A group of the classic protocol and its members, each on a connection of its own."""

    def __init__(self, tester, world, rng, name, topic):
        self.tester, self.world, self.rng, self.name, self.topic = tester, world, rng, name, topic
        self.members = {}       # connection -> member id
        self.instances = {}
        self.generation = -1
        self.fast = {}          # other time-outs
        self.protocols = [{"name": n, "metadata": subscription(topic)} for n in rng.choice([["range"], ["range", "roundrobin"], ["roundrobin", "range"]])]

    def version(self, api, least=0):
        low, high = self.tester.served[api]
        return self.rng.randint(max(low, least), high)

    def join_body(self, conn, **more):
        return dict({"groupId": self.name, "sessionTimeoutMs": 30000, "rebalanceTimeoutMs": 30000, "memberId": self.members.get(conn, ""),
                     "groupInstanceId": self.instances.get(conn), "protocolType": "consumer", "protocols": self.protocols, "reason": "test"}, **dict(self.fast, **more))

    def join_version(self, conn):
        return self.version("JoinGroup", 5 if self.instances.get(conn) else 0)

    def send_join(self, conn, **more):
        version, body = self.join_version(conn), self.join_body(conn, **more)
        if version >= 4 and not body["memberId"] and not body["groupInstanceId"]:
            answer = self.tester.ask("JoinGroup", version, body, conn=conn, client="c-" + conn)  # MEMBER_ID_REQUIRED
            if not answer or answer["errorCode"] != 79:
                return None
            self.members[conn] = body["memberId"] = answer["memberId"]
        self.tester.send("JoinGroup", version, body, "c-" + conn, None, conn)
        return version, body

    def joined(self, conns):
        answers = self.tester.collect({conn: ("JoinGroup", *self.waiting.pop(conn)) for conn in conns})
        for conn, whole in answers.items():
            if whole and whole["errorCode"] == 0:
                self.members[conn], self.generation = whole["memberId"], whole["generationId"]
                if whole["leader"] == whole["memberId"]:
                    self.leader = conn

    def rebalance(self, conns):
        """All of these join, in their order; then all sync."""
        self.waiting = {}
        for number, conn in enumerate(conns):
            sent = self.send_join(conn)
            if sent is None:
                return False
            self.waiting[conn] = sent
            if number < len(conns) - 1:
                self.until_state(("PreparingRebalance", "CompletingRebalance") if number or len(conns) > 1 else ())
        self.leader = None
        self.joined(list(self.waiting))
        if self.leader not in conns:
            return False
        self.sync(conns)
        return True

    def until_state(self, states, seconds=8):
        self.tester.until_group(self.name, states, seconds)

    def sync(self, conns):
        others = [c for c in conns if c != self.leader]
        sent = {}
        for conn in others + [self.leader]:
            version = self.version("SyncGroup", 3 if self.instances.get(conn) else 0)
            given = [{"memberId": self.members[c], "assignment": assignment(self.topic, n)} for n, c in enumerate(conns)] if conn == self.leader else []
            body = {"groupId": self.name, "generationId": self.generation, "memberId": self.members[conn], "groupInstanceId": self.instances.get(conn),
                    "protocolType": "consumer", "protocolName": self.protocols[0]["name"], "assignments": given}
            self.tester.send("SyncGroup", version, body, "c-" + conn, None, conn)
            sent[conn] = "SyncGroup", version, body
            if conn != self.leader:
                time.sleep(0.02)
        self.tester.collect(sent)

    def heartbeat(self, conn, **more):
        body = dict({"groupId": self.name, "generationId": self.generation, "memberId": self.members[conn], "groupInstanceId": self.instances.get(conn)}, **more)
        self.tester.ask("Heartbeat", self.version("Heartbeat", 3 if body["groupInstanceId"] else 0), body, conn=conn)

    def commit(self, conn, **more):
        rng = self.rng
        version = self.version("OffsetCommit", 7 if self.instances.get(conn) else 2)
        body = dict({"groupId": self.name, "generationIdOrMemberEpoch": self.generation, "memberId": self.members.get(conn, ""),
                     "groupInstanceId": self.instances.get(conn), "retentionTimeMs": -1,
                     "topics": [{"name": self.topic, "topicId": self.world.topics[self.topic].id,
                                 "partitions": [{"partitionIndex": 0, "committedOffset": rng.choice([0, 3, 9]), "committedLeaderEpoch": rng.choice([-1, 0]),
                                                 "committedMetadata": rng.choice([None, "", "meta"])}]}]}, **more)
        self.tester.ask("OffsetCommit", version, body, conn=conn)

    def look(self):
        """What everybody may ask about the group."""
        t, rng = self.tester, self.rng
        t.ask("DescribeGroups", self.version("DescribeGroups"), {"groups": [self.name], "includeAuthorizedOperations": rng.random() < 0.5})
        t.ask("ListGroups", self.version("ListGroups"), {"statesFilter": rng.choice([[], ["Stable"], ["Empty"], ["PreparingRebalance"]]), "typesFilter": []})
        version = self.version("OffsetFetch")
        topics = [{"name": self.topic, "topicId": self.world.topics[self.topic].id, "partitionIndexes": [0, 1]}]
        if version >= 2 and rng.random() < 0.4:
            topics = None
        t.ask("OffsetFetch", version, {"groupId": self.name, "topics": topics, "requireStable": rng.random() < 0.5,
                                       "groups": [{"groupId": self.name, "memberId": None, "memberEpoch": -1, "topics": topics}]})

    def wrong(self, conn):
        """What a member that is late, or not one, is told."""
        rng = self.rng
        if rng.random() < 0.5:
            self.heartbeat(conn, **rng.choice([{"generationId": self.generation - 1}, {"generationId": self.generation + 1}, {"memberId": "nobody"},
                                               {"groupId": self.name + "x"}, {"memberId": ""}]))
        else:
            self.commit(conn, **rng.choice([{"generationIdOrMemberEpoch": self.generation - 1}, {"generationIdOrMemberEpoch": -1}, {"memberId": "nobody"},
                                            {"memberId": ""}, {"groupId": self.name + "x"}, {"generationIdOrMemberEpoch": -1, "memberId": ""}]))

    def leave(self, conns):
        rng = self.rng
        version = self.version("LeaveGroup")
        if version < 3:
            conns = conns[:1]
        members = [{"memberId": self.members[c], "groupInstanceId": self.instances.get(c), "reason": "bye"} for c in conns]
        if version >= 3 and rng.random() < 0.3:
            members.append({"memberId": "nobody", "groupInstanceId": None, "reason": None})
        self.tester.ask("LeaveGroup", version, {"groupId": self.name, "memberId": self.members[conns[0]], "members": members})
        for conn in conns:
            del self.members[conn]


def group_life(tester, world, rng, name, topic):
    g = Group(tester, world, rng, name, topic)
    conns = ["m1", "m2", "m3"][:rng.choice([1, 2, 2, 3])]
    for conn in ["m1", "m2", "m3"]:
        tester.drop(conn)
    if rng.random() < 0.3:
        g.instances = {conn: f"{name}-{conn}" for conn in conns}
    g.look()
    if not g.rebalance(conns[:1]):
        return
    g.look()
    for conn in conns[:1]:
        g.heartbeat(conn)
        g.commit(conn)
        g.wrong(conn)
    # what does not fit into the group
    for more in rng.sample([{"protocolType": "connect"}, {"protocols": [{"name": "other", "metadata": "AA=="}]}, {"protocols": []}, {"memberId": "nobody"},
                            {"sessionTimeoutMs": 1}], 2):
        body = g.join_body("m4", **more)
        tester.ask("JoinGroup", g.version("JoinGroup"), dict(body, groupInstanceId=None), conn="m4")
    if len(conns) > 1:
        # others join: who is there learns it by a heartbeat, and joins again
        g.waiting = {}
        for conn in conns[1:]:
            sent = g.send_join(conn)
            if sent is None:
                return
            g.waiting[conn] = sent
            g.until_state(("PreparingRebalance",))
        g.heartbeat(conns[0])
        g.commit(conns[0])
        g.look()
        sent = g.send_join(conns[0])
        if sent is None:
            return
        g.waiting[conns[0]] = sent
        g.leader = None
        g.joined(list(g.waiting))
        g.look()
        g.commit(conns[0])  # while it completes
        g.heartbeat(conns[0])
        if g.leader is None:
            return
        g.sync(conns)
        for conn in conns:
            g.heartbeat(conn)
            g.commit(conn)
            g.wrong(conn)
        g.look()
    if "DeleteGroups" in tester.served:
        tester.ask("DeleteGroups", g.version("DeleteGroups"), {"groupsNames": [name]})
    if "OffsetDelete" in tester.served:
        tester.ask("OffsetDelete", 0, {"groupId": name, "topics": [{"name": topic, "partitions": [{"partitionIndex": 0}, {"partitionIndex": 99}]}]})
    if g.instances and rng.random() < 0.7:
        # a static member comes back without its id: it gets another, and the old one is fenced
        conn = conns[0]
        old = g.members[conn]
        version = g.join_version(conn)
        tester.drop(conn)
        answer = tester.ask("JoinGroup", version, g.join_body(conn, memberId=""), conn=conn)
        if answer and answer["errorCode"] == 0:
            g.members[conn] = answer["memberId"]
            g.generation = answer["generationId"]
            g.heartbeat(conn, memberId=old)
            g.heartbeat(conn)
            g.commit(conn, memberId=old)
            tester.ask("SyncGroup", g.version("SyncGroup", 3), {"groupId": name, "generationId": g.generation, "memberId": old, "groupInstanceId": g.instances[conn],
                                                             "protocolType": "consumer", "protocolName": g.protocols[0]["name"], "assignments": []}, conn=conn)
        g.look()
    leaving = list(g.members)
    g.leave(leaving[-1:])
    g.look()
    while g.members:
        g.leave(list(g.members)[:1])
    g.look()
    tester.ask("OffsetCommit", g.version("OffsetCommit"), {
        "groupId": name, "generationIdOrMemberEpoch": rng.choice([-1, -1, 0, g.generation]), "memberId": "", "retentionTimeMs": -1,
        "topics": [{"name": topic, "topicId": world.topics[topic].id, "partitions": [{"partitionIndex": 0, "committedOffset": 5, "committedMetadata": ""}]}]})
    g.look()
    if "OffsetDelete" in tester.served:
        tester.ask("OffsetDelete", 0, {"groupId": name, "topics": [{"name": topic, "partitions": [{"partitionIndex": 0}]}]})
    if "DeleteGroups" in tester.served:
        tester.ask("DeleteGroups", g.version("DeleteGroups"), {"groupsNames": [name, name + "-missing"]})
    g.look()


def expiries(tester, world, rng, name, topic):
    """What happens to a group whose members say nothing: sessions, static ones', a rebalance and a sync that nobody waits for."""
    fast = {"sessionTimeoutMs": 1200, "rebalanceTimeoutMs": 1500}

    def fresh(suffix, instances=()):
        g = Group(tester, world, rng, name + suffix, topic)
        g.fast = fast
        for conn in ("m1", "m2", "m3"):
            tester.drop(conn)
        g.instances = {conn: f"{g.name}-{conn}" for conn in instances}
        return g
    # a member's session ends, dynamic or static
    for suffix, instances in (("a", ()), ("b", ("m1",))):
        g = fresh(suffix, instances)
        if not g.rebalance(["m1"]):
            return
        g.look()
        g.until_state(("Empty",))
        g.look()
        g.heartbeat("m1")
        g.commit("m1")
        tester.ask("SyncGroup", g.version("SyncGroup", 3), {"groupId": g.name, "generationId": g.generation, "memberId": g.members["m1"],
                                                         "groupInstanceId": g.instances.get("m1"), "protocolType": "consumer",
                                                         "protocolName": g.protocols[0]["name"], "assignments": []}, conn="m1")
    # one of two does not join again: the rebalance goes on without it
    g = fresh("c")
    g.fast = {"sessionTimeoutMs": 6000, "rebalanceTimeoutMs": 1500}
    if not g.rebalance(["m1"]):
        return
    sent = g.send_join("m2")
    if sent is None:
        return
    g.waiting = {"m2": sent}
    g.until_state(("PreparingRebalance",))
    tester.ask("SyncGroup", g.version("SyncGroup"), {"groupId": g.name, "generationId": g.generation, "memberId": g.members["m1"], "protocolType": "consumer",
                                                     "protocolName": g.protocols[0]["name"], "assignments": []}, conn="m1")
    tester.ask("SyncGroup", g.version("SyncGroup"), {"groupId": g.name, "generationId": g.generation - 1, "memberId": g.members["m1"], "protocolType": "consumer",
                                                     "protocolName": g.protocols[0]["name"], "assignments": []}, conn="m1")
    g.joined(["m2"])
    g.heartbeat("m1")
    g.look()
    # the leader does not sync: it is gone, too
    g.until_state(("Empty", "Dead"))
    g.look()
    g.heartbeat("m2")


def fenced(tester, world, rng, name, topic):
    """A static member whose id is not that of its instance, in all versions that know instances; and one member too many."""
    g = Group(tester, world, rng, name, topic)
    for conn in ("m1", "m2", "m3", "m4"):
        tester.drop(conn)
    g.instances = {"m1": f"{name}-m1"}
    if not g.rebalance(["m1"]):
        return
    for version in range(3, tester.served["Heartbeat"][1] + 1):
        tester.ask("Heartbeat", version, {"groupId": name, "generationId": g.generation, "memberId": "nobody", "groupInstanceId": g.instances["m1"]}, conn="m1")
        tester.ask("Heartbeat", version, {"groupId": name, "generationId": g.generation, "memberId": g.members["m1"], "groupInstanceId": "nobody"}, conn="m1")
    for version in range(3, tester.served["SyncGroup"][1] + 1):
        for member, protocol, kind, generation in (("nobody", g.protocols[0]["name"], "consumer", 0), (g.members["m1"], "other", "consumer", 0),
                                                   (g.members["m1"], g.protocols[0]["name"], "other", 0), (g.members["m1"], g.protocols[0]["name"], "consumer", 1)):
            tester.ask("SyncGroup", version, {"groupId": name, "generationId": g.generation + generation, "memberId": member, "groupInstanceId": g.instances["m1"],
                                              "protocolType": kind, "protocolName": protocol, "assignments": []}, conn="m1")
    for version in range(5, tester.served["JoinGroup"][1] + 1):
        tester.ask("JoinGroup", version, g.join_body("m1", memberId="nobody"), conn="m1")
    for version in range(7, tester.served["OffsetCommit"][1] + 1):
        tester.ask("OffsetCommit", version, {
            "groupId": name, "generationIdOrMemberEpoch": g.generation, "memberId": "nobody", "groupInstanceId": g.instances["m1"], "topics": [
                {"name": topic, "topicId": world.topics[topic].id, "partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedMetadata": ""}]}]}, conn="m1")
    for version in range(3, tester.served["LeaveGroup"][1] + 1):
        tester.ask("LeaveGroup", version, {"groupId": name, "members": [{"memberId": "nobody", "groupInstanceId": g.instances["m1"]}]}, conn="m1")
    g.leave(["m1"])
    # three are allowed
    low, high = tester.served["JoinGroup"]
    full = Group(tester, world, rng, name + "full", topic)
    full.waiting = {}
    for conn in ("m1", "m2", "m3"):
        tester.drop(conn)
    if not full.rebalance(["m1"]):
        return
    for number, conn in enumerate(("m2", "m3")):
        sent = full.send_join(conn)
        if sent is None:
            return
        full.waiting[conn] = sent
        tester.until_group(full.name, ("PreparingRebalance",), members=2 + number)
    sent = full.send_join("m1")
    if sent is None:
        return
    full.waiting["m1"] = sent
    full.leader = None
    full.joined(list(full.waiting))
    if full.leader and len(full.members) == 3:
        full.sync(["m1", "m2", "m3"])
    for version in range(low, high + 1):
        body = dict(full.join_body("m4"), groupInstanceId=None)
        answer = tester.ask("JoinGroup", version, body, conn="m4")
        if answer and answer["errorCode"] == 79:
            tester.ask("JoinGroup", version, dict(body, memberId=answer["memberId"]), conn="m4")
    full.look()
    while full.members:
        full.leave(list(full.members)[:1])


def all_versions(tester, api, least=0):
    low, high = tester.served[api]
    return range(max(low, least), high + 1)


def directed(tester, world, rng):
    """Errors that chance seldom meets, in every version."""
    compacted, plain, small = world.fresh(), world.fresh(), world.fresh()
    tester.step(world, "CreateTopics", 7, {"topics": [
        {"name": compacted, "numPartitions": 1, "replicationFactor": 1, "assignments": [], "configs": [{"name": "cleanup.policy", "value": "compact"}]},
        {"name": plain, "numPartitions": 1, "replicationFactor": 1, "assignments": [], "configs": []},
        {"name": small, "numPartitions": 1, "replicationFactor": 1, "assignments": [], "configs": [{"name": "max.message.bytes", "value": "200"}]}],
        "timeoutMs": 30000, "validateOnly": False})
    for version in all_versions(tester, "DeleteRecords"):
        tester.step(world, "DeleteRecords", version, {"topics": [{"name": compacted, "partitions": [{"partitionIndex": 0, "offset": 0}]}], "timeoutMs": 5000})
    for version in all_versions(tester, "DeleteGroups"):
        tester.ask("DeleteGroups", version, {"groupsNames": ["", f"s{world.scene}-missing", ""]})
    for version in all_versions(tester, "AlterConfigs"):
        tester.ask("AlterConfigs", version, {"resources": [{"resourceType": 2, "resourceName": f"s{world.scene}-missing", "configs": []}], "validateOnly": False})
    for version in all_versions(tester, "Metadata", 10):
        tester.ask("Metadata", version, {"topics": [{"name": None, "topicId": requests.UNKNOWN_IDS[0]}], "allowAutoTopicCreation": False})
    for version in all_versions(tester, "AlterReplicaLogDirs"):
        tester.ask("AlterReplicaLogDirs", version, {"dirs": [{"path": "DATA", "topics": [{"name": "x" * 250, "partitions": [0]}]}]})
    for version in all_versions(tester, "DescribeConfigs"):
        for name in (f"s{world.scene}-missing", "a/b"):
            for kinds in ([2], [2, 99]):
                tester.ask("DescribeConfigs", version, {"resources": [{"resourceType": k, "resourceName": name, "configurationKeys": None} for k in kinds]})
    for version in all_versions(tester, "ApiVersions"):
        tester.ask("ApiVersions", version, {"clientSoftwareName": "diff", "clientSoftwareVersion": "1"}, change={"version": 99, "answer": 0})
    for api in ("SaslHandshake", "SaslAuthenticate"):
        for version in all_versions(tester, api) if api in tester.served else ():
            tester.ask(api, version, requests.GENERATORS[api](world, rng, version))
    made = tester.ask("InitProducerId", 4, {"transactionalId": None, "transactionTimeoutMs": 1000, "producerId": -1, "producerEpoch": -1})

    def produce(version, producer=None, size=1, topic=plain, **more):
        batch = dict({"records": [["k", "x" * size, 0]], "base_time": requests.BASE_TIME}, **more)
        if producer:
            batch["producer"] = producer
        tester.step(world, "Produce", version, {"transactionalId": None, "acks": -1, "timeoutMs": 10000, "topicData": [
            {"name": topic, "topicId": world.topics[topic].id, "partitionData": [{"index": 0, "records": {"$batches": [batch]}}]}]})
    epoch = 0
    for version in all_versions(tester, "Produce"):
        if made and made["errorCode"] == 0:
            produce(version, (made["producerId"], epoch, 0))
            produce(version, (made["producerId"], epoch, 0))   # the same batch again
            produce(version, (made["producerId"], epoch, 7))   # a gap
            produce(version, (made["producerId"], epoch + 1, 0))
            produce(version, (made["producerId"], epoch, 1))   # fenced
            produce(version, (made["producerId"], epoch + 2, 5))
            epoch += 2
        produce(version, topic=compacted, records=[[None, "v", 0]])
        produce(version, base_time=9999999999999)
        produce(version, topic=small, size=300)
    version = rng.choice(list(all_versions(tester, "Produce")))
    produce(version, size=1048600)
    sessions(tester, world, rng, plain)
    accidents(tester, world, rng, plain, compacted)
    made_again(tester, world, rng)


def fetch_body(world, topic, offset=0, **more):
    return dict({"replicaId": -1, "maxWaitMs": 0, "minBytes": 0, "maxBytes": 1 << 20, "isolationLevel": 0, "sessionId": 0, "sessionEpoch": -1, "topics": [
        {"topic": topic, "topicId": world.topics[topic].id, "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "fetchOffset": offset,
                                                                          "lastFetchedEpoch": -1, "logStartOffset": -1, "partitionMaxBytes": 1 << 20}]}],
                 "forgottenTopicsData": [], "rackId": ""}, **more)


def sessions(tester, world, rng, topic):
    """Of each version: a session, what is wrong with a next request of it, its end; and a session of names asked by id."""
    for version in all_versions(tester, "Fetch", 7):
        made = tester.ask("Fetch", version, fetch_body(world, topic, sessionEpoch=0))
        if not made or not made["sessionId"]:
            continue
        own = {"sessionId": made["sessionId"], "topics": []}
        tester.ask("Fetch", version, fetch_body(world, topic, **dict(own, sessionEpoch=1)))
        tester.ask("Fetch", version, fetch_body(world, topic, **dict(own, sessionEpoch=9)))
        tester.ask("Fetch", version, fetch_body(world, topic, **dict(own, sessionId=77, sessionEpoch=2)))
        if (version < 13) == (tester.served["Fetch"][1] >= 13):
            tester.ask("Fetch", 13 if version < 13 else 12, fetch_body(world, topic, **dict(own, sessionEpoch=2)))
        tester.ask("Fetch", version, fetch_body(world, topic, **dict(own, sessionEpoch=2, forgottenTopicsData=[
            {"topic": topic, "topicId": world.topics[topic].id, "partitions": [0]}])))
        tester.ask("Fetch", version, fetch_body(world, topic, **dict(own, sessionEpoch=-1)))


def accidents(tester, world, rng, topic, compacted):
    """What makes Apache fail by accident, or not answer at all: what Moldau says to it instead is listed."""
    id_of = world.topics[topic].id
    for version in rng.sample(list(all_versions(tester, "Metadata", 10)), 2):
        tester.ask("Metadata", version, {"topics": [{"name": None, "topicId": requests.wire.ZERO_ID}], "allowAutoTopicCreation": False})
    for version in rng.sample(list(all_versions(tester, "Fetch", 7)), 3):
        for more in ({"maxBytes": -1}, {"isolationLevel": 2}, {"sessionId": 2147483647, "sessionEpoch": 3, "topics": []},
                     {"sessionId": -2147483648, "sessionEpoch": 3, "topics": []}):
            tester.ask("Fetch", version, fetch_body(world, topic, **more))
        for field, value in (("partitionMaxBytes", -1), ("fetchOffset", -5)):
            body = fetch_body(world, topic)
            body["topics"][0]["partitions"][0][field] = value
            tester.ask("Fetch", version, body)
        body = fetch_body(world, topic)
        body["topics"][0]["topicId"] = requests.wire.ZERO_ID
        tester.ask("Fetch", version, body)
    for version in rng.sample(list(all_versions(tester, "ListOffsets", 2)), 2):
        tester.ask("ListOffsets", version, {"replicaId": -1, "isolationLevel": 2, "topics": [
            {"name": topic, "partitions": [{"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": -1}]}]})
    for names, cursor in (([""], None), ([topic], {"topicName": topic, "partitionIndex": -2147483648})):
        tester.ask("DescribeTopicPartitions", 0, {"topics": [{"name": n} for n in names], "responsePartitionLimit": 2000, "cursor": cursor})
    for version in all_versions(tester, "IncrementalAlterConfigs"):
        tester.ask("IncrementalAlterConfigs", version, {"resources": [{"resourceType": 2, "resourceName": topic, "configs": [
            {"name": "retention.ms", "configOperation": 9, "value": "5"}]}], "validateOnly": True})
    for version in rng.sample(list(all_versions(tester, "Produce")), 2):
        for more in ({"attributes": 5}, {"producer": (987654321012, -2, 0)}, {"codec": 1, "payload": "0011"}, {"codec": 4, "payload": "0011"},
                     {"codec": 3, "payload": "0011"}):
            batch = dict({"records": [["k", "x", 0]], "base_time": requests.BASE_TIME}, **more)
            tester.step(world, "Produce", version, {"transactionalId": None, "acks": -1, "timeoutMs": 10000, "topicData": [
                {"name": topic, "topicId": id_of, "partitionData": [{"index": 0, "records": {"$batches": [batch]}}]}]})


def silences(tester, world, topic):
    """Each of these costs its client a time-out: once in a run is enough."""
    id_of = world.topics[topic].id
    for api, version, body in (
            ("Produce", 9, {"transactionalId": None, "acks": -1, "timeoutMs": 1000, "topicData": [
                {"name": topic, "topicId": id_of, "partitionData": [{"index": 0, "records": None}]}]}),
            ("AlterConfigs", 2, {"resources": [{"resourceType": 2, "resourceName": topic, "configs": []}] * 2, "validateOnly": True})):
        tester.ask(api, version, body, conn="silent", seconds=4)


def fill_emptied(tester, world):
    """A record to each partition that DeleteRecords has emptied: Apache forgets the producers of such a log when it starts."""
    for name, topic in sorted(world.topics.items()):
        for part in range(topic.parts):
            if topic.ends.get(part, 0) and topic.starts.get(part, 0) >= topic.ends[part]:
                batch = {"records": [["k", "v", 0]], "base_time": requests.BASE_TIME}
                tester.step(world, "Produce", 9, {"transactionalId": None, "acks": -1, "timeoutMs": 10000, "topicData": [
                    {"name": name, "partitionData": [{"index": part, "records": {"$batches": [batch]}}]}]})


def look_at_all(tester, world):
    """Everything that can be read of the scene's topics and groups, from whatever the nodes keep of them."""
    groups = requests.group_names(world)
    for name in sorted(world.topics):
        topic = world.topics[name]
        parts = range(topic.parts)
        tester.ask("Metadata", 12, {"topics": [{"name": name}], "allowAutoTopicCreation": False})
        tester.ask("DescribeTopicPartitions", 0, {"topics": [{"name": name}], "responsePartitionLimit": 2000, "cursor": None})
        tester.ask("DescribeConfigs", 4, {"resources": [{"resourceType": 2, "resourceName": name, "configurationKeys": None}], "includeSynonyms": True})
        tester.ask("DescribeLogDirs", 4, {"topics": [{"topic": name, "partitions": list(parts)}]})
        tester.ask("DescribeProducers", 0, {"topics": [{"name": name, "partitionIndexes": list(parts)}]})
        for time_asked in (-1, -2, -3, requests.BASE_TIME, requests.BASE_TIME + 3000):
            tester.ask("ListOffsets", 7, {"replicaId": -1, "isolationLevel": 1, "topics": [{"name": name, "partitions": [
                {"partitionIndex": p, "currentLeaderEpoch": -1, "timestamp": time_asked} for p in parts]}]})
        for epoch in (0, 1, 2, 3, 9):
            tester.ask("OffsetForLeaderEpoch", 4, {"replicaId": -1, "topics": [{"topic": name, "partitions": [
                {"partition": p, "currentLeaderEpoch": -1, "leaderEpoch": epoch} for p in parts]}]})
        for part in parts:
            for offset in sorted({topic.starts.get(part, 0), (topic.starts.get(part, 0) + topic.ends.get(part, 0)) // 2, topic.ends.get(part, 0)}):
                body = fetch_body(world, name, offset)
                body["topics"][0]["partitions"][0]["partition"] = part
                tester.ask("Fetch", 12, body)
    for version in (7, tester.served["OffsetFetch"][1]):
        for group in groups:
            tester.ask("OffsetFetch", version, {"groupId": group, "topics": None, "requireStable": True, "groups": [
                {"groupId": group, "memberId": None, "memberEpoch": -1, "topics": None}]})
    tester.ask("DescribeGroups", 5, {"groups": groups})
    tester.ask("ListGroups", 4, {"statesFilter": []})


def made_again(tester, world, rng):
    """A topic is deleted and another made under its name: what was known of the first is not of the second. Sessions, ids,
    committed offsets, sequences, the log's start."""
    name, group = world.fresh(), requests.group_names(world)[0]
    made = tester.ask("InitProducerId", 4, {"transactionalId": None, "transactionTimeoutMs": 1000, "producerId": -1, "producerEpoch": -1})
    # Apache that reads both topics' records in one go, at a start, gives the second what was set on the first.
    configs = [] if world.scene.startswith("R") else [{"name": "retention.ms", "value": "-1"}]
    creation = {"topics": [{"name": name, "numPartitions": 1, "replicationFactor": 1, "assignments": [], "configs": configs}],
                "timeoutMs": 30000, "validateOnly": False}

    def look(ids, sessions=()):
        parts = [{"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": -2}]
        tester.ask("ListOffsets", rng.randint(2, tester.served["ListOffsets"][1]), {"replicaId": -1, "isolationLevel": 0, "topics": [{"name": name, "partitions": parts}]})
        tester.ask("DescribeProducers", 0, {"topics": [{"name": name, "partitionIndexes": [0]}]})
        tester.ask("DescribeConfigs", 4, {"resources": [{"resourceType": 2, "resourceName": name, "configurationKeys": ["retention.ms", "cleanup.policy"]}]})
        tester.ask("DescribeLogDirs", 4, {"topics": [{"topic": name, "partitions": [0]}]})
        for topic_id in ids:
            for version in all_versions(tester, "OffsetFetch", 8):
                tester.ask("OffsetFetch", version, {"requireStable": False, "groups": [{"groupId": group, "memberId": None, "memberEpoch": -1, "topics": [
                    {"name": name, "topicId": topic_id, "partitionIndexes": [0, 1]}]}]})
            tester.ask("Metadata", 12, {"topics": [{"name": None, "topicId": topic_id}], "allowAutoTopicCreation": False})
            for offset in (0, 1, 4):
                body = fetch_body(world, name if name in world.topics else topic_of, offset)
                body["topics"][0].update(topic=name, topicId=topic_id)
                tester.ask("Fetch", 13, body)
                tester.ask("Fetch", 12, body)
        for version, session, epoch in sessions:
            tester.ask("Fetch", version, fetch_body(world, topic_of, sessionId=session, sessionEpoch=epoch, topics=[]))

    def write(version, topic_id, sequence):
        batch = {"records": [["k", "v", 0], ["k2", "v", 1]], "base_time": requests.BASE_TIME, "producer": (made["producerId"], 0, sequence)}
        tester.step(world, "Produce", version, {"transactionalId": None, "acks": -1, "timeoutMs": 10000, "topicData": [
            {"name": name, "topicId": topic_id, "partitionData": [{"index": 0, "records": {"$batches": [batch]}}]}]})

    def commit(topic_id):
        for version in (9, tester.served["OffsetCommit"][1]):
            tester.ask("OffsetCommit", version, {"groupId": group, "generationIdOrMemberEpoch": -1, "memberId": "", "topics": [
                {"name": name, "topicId": topic_id, "partitions": [{"partitionIndex": 0, "committedOffset": 3, "committedLeaderEpoch": 0, "committedMetadata": "m"}]}]})
    topic_of = sorted(world.topics)[0]
    tester.step(world, "CreateTopics", 7, creation)
    if name not in world.topics or not made or made["errorCode"]:
        return
    first = world.topics[name].id
    write(9, first, 0)
    write(13, first, 2)
    commit(first)
    tester.step(world, "DeleteRecords", 2, {"topics": [{"name": name, "partitions": [{"partitionIndex": 0, "offset": 3}]}], "timeoutMs": 5000})
    held = []
    for version in (12, 13):
        answer = tester.ask("Fetch", version, fetch_body(world, name, 4, sessionEpoch=0))
        if answer and answer["sessionId"]:
            held.append([version, answer["sessionId"], 1])
    look([first], held)
    tester.step(world, "DeleteTopics", 6, {"topics": [{"name": None, "topicId": first}], "timeoutMs": 30000})
    held = [[version, session, epoch + 1] for version, session, epoch in held]
    look([first], held)
    commit(first)
    write(13, first, 4)
    tester.step(world, "CreateTopics", 7, dict(creation, topics=[dict(creation["topics"][0], configs=[])]))
    if name not in world.topics:
        return
    second = world.topics[name].id
    held = [[version, session, epoch + 1] for version, session, epoch in held]
    look([first, second], held)
    write(13, first, 4)
    write(9, second, 0)
    write(13, second, 2)
    commit(first)
    commit(second)
    look([first, second])


def run(tester, world, rng, size):
    tester.begin(world, rng)
    tester.step(world, "Metadata", 12, {"topics": [{"name": n} for n in sorted(world.topics)], "allowAutoTopicCreation": False})
    names, topic = requests.group_names(world), sorted(world.topics)[0]
    part = rng.choice(["lives", "lives", "directed", "fenced", "expiries"])
    if world.scene == "0000":
        silences(tester, world, topic)
    if part == "directed":
        directed(tester, world, rng)
    elif part == "fenced":
        fenced(tester, world, rng, names[0], topic)
    elif part == "expiries":
        expiries(tester, world, rng, names[0], topic)
    for n, name in enumerate(names[1:] if part == "expiries" else names):
        group_life(tester, world, rng, name if part != "fenced" or n else name + "-", sorted(world.topics)[n % len(world.topics)])
