#include "group/group_world.h"
#include "test.h"

/* The first member's way: an id first, then it joins, waits out the initial delay, leads, and gets what it gave itself.
 * The group is written when it begins and when its assignment is known, as Kafka writes it. */
TEST(group_first_member_joins_with_the_id_that_it_was_given) {
    world_run(
        "> join a\n"
        "  a join: MEMBER_ID_REQUIRED member a#1\n"
        "> records\n"
        "  GroupMetadataKey v3 type \"\" generation 0 protocol - leader - since 1000000 members 0\n"
        "> join a member=a#1\n"
        "> time +2999\n"
        "> state\n"
        "  g PreparingRebalance generation 0 protocol - members [a#1 leads joins]\n"
        "> time +1\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: ok\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> records\n"
        "  GroupMetadataKey v3 type \"consumer\" generation 1 protocol range leader a#1 since 1003000 members 1\n"
        "> describe\n"
        "  describe: ok Stable type \"consumer\" data \"range\" (a#1 - a /10.0.0.1 \"x\" \"all\")\n"
        "> list\n"
        "  list: ok g(classic consumer Stable)\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: ok\n");
}

/* Before version 4 a member is added at once. It cannot send heartbeats before it is answered, so its session does not
 * count while it waits; but after five minutes it is taken to be gone. */
TEST(group_old_clients_join_without_an_id_first) {
    world_run(
        "> join a v=3 session=1800000 rebalance=1800000\n"
        "> state\n"
        "  g PreparingRebalance generation 0 protocol - members [a#1 leads joins]\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a v=3 member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> join b v=3 session=6000\n"
        "> time +299999\n"
        "> state\n"
        "  g PreparingRebalance generation 1 protocol range members [a#1 leads has all, b#1 joins]\n"
        "> time +1\n"
        "  b join: UNKNOWN_MEMBER_ID member \n"
        "> state\n"
        "  g PreparingRebalance generation 1 protocol range members [a#1 leads has all]\n");
}

/* The first rebalance waits 3 s after each newcomer, but no longer than the longest rebalance time-out altogether. */
TEST(group_initial_delay_grows_while_members_come) {
    world_run(
        "> join a v=3 rebalance=8000\n"
        "> time +2000\n"
        "> join b v=3 rebalance=8000\n"
        "> time +2000\n"
        "> join c v=3 rebalance=8000\n"
        "> time +2500\n"
        "> join d v=3 rebalance=8000\n"
        "> time +1400\n"
        "> state\n"
        "  g PreparingRebalance generation 0 protocol - members [a#1 leads joins, b#1 joins, c#1 joins, d#1 joins]\n"
        "> time +100\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x, c#1:x, d#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "  c join: ok member c#1 generation 1 consumer range leader a#1\n"
        "  d join: ok member d#1 generation 1 consumer range leader a#1\n"
        "> state\n"
        "  g CompletingRebalance generation 1 protocol range members [a#1 leads, b#1, c#1, d#1]\n");
}

/* A newcomer makes everyone join again; heartbeats say so; when all have come the next generation begins, the old leader
 * leads again and learns of all, and nobody has an assignment before the leader has synced. */
TEST(group_rebalances_when_a_member_comes) {
    world_run(
        "> join a v=3\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> join b v=3\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: REBALANCE_IN_PROGRESS\n"
        "> commit a member=a#1 gen=1 offsets=t-0:5\n"
        "  a commit: ok t-0=NONE\n"
        "> join a member=a#1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 2 consumer range leader a#1\n"
        "> sync b member=b#1 gen=2\n"
        "> state\n"
        "  g CompletingRebalance generation 2 protocol range members [a#1 leads has all, b#1 syncs]\n"
        "> sync a member=a#1 gen=2 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "  b sync: ok \"right\"\n"
        "> heartbeat b member=b#1 gen=1\n"
        "  b heartbeat: ILLEGAL_GENERATION\n"
        "> heartbeat b member=b#1 gen=2\n"
        "  b heartbeat: ok\n"
        "> commit b member=b#1 gen=1 offsets=t-0:6\n"
        "  b commit: ok t-0=ILLEGAL_GENERATION\n"
        "> commit b member=b#1 gen=2 offsets=t-0:7\n"
        "  b commit: ok t-0=NONE\n"
        "> fetch\n"
        "  fetch: ok t-0:7\n");
}

/* A member that does not join again within the longest rebalance time-out loses its place; if it was the leader, another
 * one leads. */
TEST(group_who_does_not_come_back_is_out) {
    world_run(
        "> join a v=3 rebalance=9000 session=60000\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> join b v=3 rebalance=9000\n"
        "> time +8999\n"
        "> state\n"
        "  g PreparingRebalance generation 1 protocol range members [a#1 leads has all, b#1 joins]\n"
        "> time +1\n"
        "  b join: ok member b#1 generation 2 consumer range leader b#1 [b#1:x]\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: UNKNOWN_MEMBER_ID\n"
        "> state\n"
        "  g CompletingRebalance generation 2 protocol range members [b#1 leads]\n");
}

/* Ten silent seconds end a session: the others rebalance. Heartbeats and commits both count as a sign of life; the last
 * member's going empties the group, which is written. */
TEST(group_sessions_end) {
    world_run(
        "> join a v=3 session=10000\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> time +9000\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: ok\n"
        "> time +9000\n"
        "> commit a member=a#1 gen=1 offsets=t-0:5\n"
        "  a commit: ok t-0=NONE\n"
        "> time +9999\n"
        "> state\n"
        "  g Stable generation 1 protocol range members [a#1 leads has all]\n"
        "> time +1\n"
        "> state\n"
        "  g Empty generation 2 protocol - members []\n"
        "> records\n"
        "  GroupMetadataKey v3 type \"consumer\" generation 2 protocol - leader - since 1031000 members 0\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: UNKNOWN_MEMBER_ID\n");
}

/* Whoever waits for others (in a join, or for the leader's assignment) needs no heartbeats. */
TEST(group_waiting_members_are_alive) {
    world_run(
        "> join a v=3 session=6000 rebalance=60000\n"
        "> join b v=3 session=6000 rebalance=60000\n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync b member=b#1 gen=1\n"
        "> time +5000\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: ok\n"
        "> time +5000\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: ok\n"
        "> state\n"
        "  g CompletingRebalance generation 1 protocol range members [a#1 leads, b#1 syncs]\n"
        "> time +5000\n"
        "> sync a member=a#1 gen=1 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "  b sync: ok \"right\"\n");
}

/* A leader that does not sync within the rebalance time-out is thrown out, and the others, told to join again, go on. */
TEST(group_leader_that_never_assigns) {
    world_run(
        "> join a v=3 session=60000 rebalance=20000\n"
        "> join b v=3 session=60000 rebalance=20000\n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync b member=b#1 gen=1\n"
        "> time +20000\n"
        "  b sync: REBALANCE_IN_PROGRESS\n"
        "> join b member=b#1\n"
        "  b join: ok member b#1 generation 2 consumer range leader b#1 [b#1:x]\n"
        "> sync b member=b#1 gen=2 assign=b#1:all\n"
        "  b sync: ok \"all\"\n");
}

/* The same for a follower that does not ask for its assignment, in a group that is stable by then. */
TEST(group_member_that_never_syncs) {
    world_run(
        "> join a v=3 session=60000 rebalance=20000\n"
        "> join b v=3 session=60000 rebalance=20000\n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync a member=a#1 gen=1 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "> state\n"
        "  g Stable generation 1 protocol range members [a#1 leads has left, b#1 has right]\n"
        "> time +20000\n"
        "> state\n"
        "  g PreparingRebalance generation 1 protocol range members [a#1 leads has left]\n"
        "> join a member=a#1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x]\n");
}

/* A follower that joins again as it was gets the running generation and asks for its assignment anew. A leader that joins
 * again wants to assign anew: everyone must come. */
TEST(group_follower_joins_again_unchanged) {
    world_run(
        "> join a v=3\n"
        "> join b v=3\n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync a member=a#1 gen=1 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=b#1 gen=1\n"
        "  b sync: ok \"right\"\n"
        "> join b member=b#1\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync b member=b#1 gen=1\n"
        "  b sync: ok \"right\"\n"
        "> join b member=b#1 protocols=range:other\n"
        "> join a member=a#1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x, b#1:other]\n"
        "  b join: ok member b#1 generation 2 consumer range leader a#1\n"
        "> sync a member=a#1 gen=2 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=b#1 gen=2\n"
        "  b sync: ok \"right\"\n"
        "> join a member=a#1\n"
        "> join b member=b#1 protocols=range:other\n"
        "  a join: ok member a#1 generation 3 consumer range leader a#1 [a#1:x, b#1:other]\n"
        "  b join: ok member b#1 generation 3 consumer range leader a#1\n");
}

/* While the assignment is awaited: an unchanged member is told the same generation once more (its answer was lost), and a
 * changed one begins a rebalance, which those who wait for the assignment are told of. */
TEST(group_joins_again_before_the_assignment) {
    world_run(
        "> join a v=3\n"
        "> join b v=3\n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> join a member=a#1\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "> join b member=b#1\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync b member=b#1 gen=1\n"
        "> join a member=a#1 protocols=range:other\n"
        "  b sync: REBALANCE_IN_PROGRESS\n"
        "> join b member=b#1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:other, b#1:x]\n"
        "  b join: ok member b#1 generation 2 consumer range leader a#1\n");
}

/* Leaving begins a rebalance at once; a list is answered member by member; the last one empties the group. */
TEST(group_leave) {
    world_run(
        "> join a v=3\n"
        "> join b v=3\n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync a member=a#1 gen=1 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=b#1 gen=1\n"
        "  b sync: ok \"right\"\n"
        "> leave b member=b#1,nobody\n"
        "  b leave: ok b#1=NONE nobody=UNKNOWN_MEMBER_ID\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: REBALANCE_IN_PROGRESS\n"
        "> join a member=a#1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x]\n"
        "> leave a member=a#1\n"
        "  a leave: ok a#1=NONE\n"
        "> records\n"
        "  GroupMetadataKey v3 type \"consumer\" generation 3 protocol - leader - since 1006000 members 0\n"
        "> leave a member=a#1\n"
        "  a leave: ok a#1=UNKNOWN_MEMBER_ID\n"
        "> leave a v=2 member=a#1\n"
        "  a leave: UNKNOWN_MEMBER_ID\n"
        "> join a v=3\n"
        "> state\n"
        "  g PreparingRebalance generation 3 protocol - members [a#2 leads joins]\n"
        "> leave a v=2 member=a#2\n"
        "  a join: UNKNOWN_MEMBER_ID member \n"
        "  a leave: ok\n"
        "> state\n"
        "  g PreparingRebalance generation 3 protocol - members []\n"
        "> time +3000\n"
        "> state\n"
        "  g Empty generation 4 protocol - members []\n");
}

/* A member that leaves while its join waits (from another connection) is answered; an id that was only given out goes too. */
TEST(group_leave_of_those_who_wait) {
    world_run(
        "> join a v=3\n"
        "> join b\n"
        "  b join: MEMBER_ID_REQUIRED member b#1\n"
        "> state\n"
        "  g PreparingRebalance generation 0 protocol - members [a#1 leads joins] pending 1\n"
        "> leave x member=a#1,b#1\n"
        "  a join: UNKNOWN_MEMBER_ID member \n"
        "  x leave: ok a#1=NONE b#1=NONE\n"
        "> state\n"
        "  g PreparingRebalance generation 0 protocol - members []\n"
        "> join b member=b#1\n"
        "  b join: UNKNOWN_MEMBER_ID member b#1\n");
}

/* An id that was given out is expected to come: the rebalance waits for it no longer than its session time-out. */
TEST(group_given_ids_hold_up_a_rebalance_until_they_expire) {
    world_run(
        "> join a v=3 session=60000\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> join b session=7000\n"
        "  b join: MEMBER_ID_REQUIRED member b#1\n"
        "> join c v=3 session=60000\n"
        "> join a member=a#1 session=60000\n"
        "> state\n"
        "  g PreparingRebalance generation 1 protocol range members [a#1 leads joins has all, c#1 joins] pending 1\n"
        "> time +6999\n"
        "> state\n"
        "  g PreparingRebalance generation 1 protocol range members [a#1 leads joins has all, c#1 joins] pending 1\n"
        "> time +1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x, c#1:x]\n"
        "  c join: ok member c#1 generation 2 consumer range leader a#1\n"
        "> join b member=b#1\n"
        "  b join: UNKNOWN_MEMBER_ID member b#1\n");
}

/* The generation's protocol is one that all speak; of several the one that most members would rather have. */
TEST(group_protocols_are_voted) {
    world_run(
        "> join a v=3 protocols=range:ra,rr:xa\n"
        "> join b v=3 protocols=rr:xb,range:rb\n"
        "> join c v=3 protocols=rr:xc,sticky:sc,range:rc\n"
        "> join d v=3 protocols=sticky:sd\n"
        "  d join: INCONSISTENT_GROUP_PROTOCOL member \n"
        "> join e v=3 type=connect protocols=range:r\n"
        "  e join: INCONSISTENT_GROUP_PROTOCOL member \n"
        "> join f v=3 type= protocols=range:r\n"
        "  f join: INCONSISTENT_GROUP_PROTOCOL member \n"
        "> time +3000\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer rr leader a#1 [a#1:xa, b#1:xb, c#1:xc]\n"
        "  b join: ok member b#1 generation 1 consumer rr leader a#1\n"
        "  c join: ok member c#1 generation 1 consumer rr leader a#1\n");
}

/* The checks before anything is done: the group's name, the session's length, unknown members and generations. */
TEST(group_refuses_what_it_cannot_serve) {
    world_run(
        "> join a group= \n"
        "  a join: INVALID_GROUP_ID member \n"
        "> join a session=5999\n"
        "  a join: INVALID_SESSION_TIMEOUT member \n"
        "> join a session=6000\n"
        "  a join: MEMBER_ID_REQUIRED member a#1\n"
        "> join a session=1800001\n"
        "  a join: INVALID_SESSION_TIMEOUT member \n"
        "> join a member=nobody\n"
        "  a join: UNKNOWN_MEMBER_ID member nobody\n"
        "> join b group=h member=nobody\n"
        "  b join: UNKNOWN_MEMBER_ID member nobody\n"
        "> sync a member=nobody\n"
        "  a sync: UNKNOWN_MEMBER_ID\n"
        "> heartbeat a member=nobody\n"
        "  a heartbeat: UNKNOWN_MEMBER_ID\n"
        "> heartbeat a group=h\n"
        "  a heartbeat: UNKNOWN_MEMBER_ID\n"
        "> leave a member=nobody\n"
        "  a leave: ok nobody=UNKNOWN_MEMBER_ID\n"
        "> join a v=3\n"
        "> time +3000\n"
        "  a join: ok member a#2 generation 1 consumer range leader a#2 [a#2:x]\n"
        "> sync a member=a#2 gen=2\n"
        "  a sync: ILLEGAL_GENERATION\n"
        "> sync a member=a#2 gen=1 name=other\n"
        "  a sync: INCONSISTENT_GROUP_PROTOCOL\n"
        "> sync a member=a#2 gen=1 type=other\n"
        "  a sync: INCONSISTENT_GROUP_PROTOCOL\n"
        "> sync a member=a#2 gen=1 bare\n"
        "  a sync: INCONSISTENT_GROUP_PROTOCOL\n"
        "> sync a v=4 member=a#2 gen=1 assign=a#2:all\n"
        "  a sync: ok \"all\"\n"
        "> heartbeat a member=a#2 gen=2\n"
        "  a heartbeat: ILLEGAL_GENERATION\n"
        "> describe group=nothing\n"
        "  describe: ok Dead type \"\" data \"\"\n"
        "> describe group=nothing v=6\n"
        "  describe: GROUP_ID_NOT_FOUND Dead type \"\" data \"\" Group nothing not found.\n"
        "> state\n"
        "  g Stable generation 1 protocol range members [a#2 leads has all] pending 1\n");
}

/* group.max.size: newcomers are refused, members are not; when it was lowered, those who come back last are left out. */
TEST(group_is_full) {
    world_run(
        "> full 2\n"
        "> join a v=3 session=60000\n"
        "> join b v=3 session=60000\n"
        "> join c v=3\n"
        "  c join: GROUP_MAX_SIZE_REACHED member \n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync a member=a#1 gen=1 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=b#1 gen=1\n"
        "  b sync: ok \"right\"\n"
        "> join c v=3\n"
        "  c join: GROUP_MAX_SIZE_REACHED member \n"
        "> full 1\n"
        "> join a member=a#1 session=60000\n"
        "> join b member=b#1 session=60000\n"
        "  b join: GROUP_MAX_SIZE_REACHED member \n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x]\n"
        "> state\n"
        "  g CompletingRebalance generation 2 protocol range members [a#1 leads has left]\n");
}

/* A member whose connection broke joins again while its first join waits: the first is answered, the second waits. */
TEST(group_second_join_of_the_same_member) {
    world_run(
        "> join a v=3 session=60000\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> join b v=3\n"
        "> join b v=3\n"
        "> join a1 member=a#1\n"
        "  a1 join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x, b#1:x, b#2:x]\n"
        "  b join: ok member b#1 generation 2 consumer range leader a#1\n"
        "  b join: ok member b#2 generation 2 consumer range leader a#1\n"
        "> state\n"
        "  g CompletingRebalance generation 2 protocol range members [a#1 leads has all, b#1, b#2]\n");
}

/* The cooperative protocol's second rebalance: members give up what moves (here b joins again having dropped it), then the
 * leader hands it on. The coordinator sees only changed metadata. */
TEST(group_cooperative_members_rejoin) {
    world_run(
        "> join a v=3 protocols=cooperative-sticky:owns-all\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer cooperative-sticky leader a#1 [a#1:owns-all]\n"
        "> sync a member=a#1 gen=1 name=cooperative-sticky assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> join b v=3 protocols=cooperative-sticky:owns-none\n"
        "> join a member=a#1 protocols=cooperative-sticky:owns-all\n"
        "  a join: ok member a#1 generation 2 consumer cooperative-sticky leader a#1 [a#1:owns-all, b#1:owns-none]\n"
        "  b join: ok member b#1 generation 2 consumer cooperative-sticky leader a#1\n"
        "> sync a member=a#1 gen=2 name=cooperative-sticky assign=a#1:left,b#1:\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=b#1 gen=2 name=cooperative-sticky\n"
        "  b sync: ok \"\"\n"
        "> join a member=a#1 protocols=cooperative-sticky:owns-left\n"
        "> heartbeat b member=b#1 gen=2\n"
        "  b heartbeat: REBALANCE_IN_PROGRESS\n"
        "> join b member=b#1 protocols=cooperative-sticky:owns-none\n"
        "  a join: ok member a#1 generation 3 consumer cooperative-sticky leader a#1 [a#1:owns-left, b#1:owns-none]\n"
        "  b join: ok member b#1 generation 3 consumer cooperative-sticky leader a#1\n"
        "> sync a member=a#1 gen=3 name=cooperative-sticky assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=b#1 gen=3 name=cooperative-sticky\n"
        "  b sync: ok \"right\"\n");
}
