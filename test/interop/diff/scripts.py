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
        self.protocols = [{"name": n, "metadata": subscription(topic)} for n in rng.choice([["range"], ["range", "roundrobin"], ["roundrobin", "range"]])]

    def version(self, api, least=0):
        low, high = self.tester.served[api]
        return self.rng.randint(max(low, least), high)

    def join_body(self, conn, **more):
        return dict({"groupId": self.name, "sessionTimeoutMs": 30000, "rebalanceTimeoutMs": 30000, "memberId": self.members.get(conn, ""),
                     "groupInstanceId": self.instances.get(conn), "protocolType": "consumer", "protocols": self.protocols, "reason": "test"}, **more)

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


def run(tester, world, rng, size):
    tester.begin(world, rng)
    tester.step(world, "Metadata", 12, {"topics": [{"name": n} for n in sorted(world.topics)], "allowAutoTopicCreation": False})
    for n, name in enumerate(requests.group_names(world)):
        group_life(tester, world, rng, name, sorted(world.topics)[n % len(world.topics)])
