#include "group/group_world.h"
#include "test.h"

/* A static member that restarts takes its place under a new id without a rebalance: its old id is fenced, and the new one
 * is written. */
TEST(group_static_member_comes_back) {
    world_run(
        "> join a instance=one v=5\n"
        "> join b instance=two v=5\n"
        "> time +6000\n"
        "  a join: ok member one#1 generation 1 consumer range leader one#1 [one#1 as one:x, two#1 as two:x]\n"
        "  b join: ok member two#1 generation 1 consumer range leader one#1\n"
        "> sync a member=one#1 gen=1 assign=one#1:left,two#1:right instance=one\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=two#1 gen=1 instance=two\n"
        "  b sync: ok \"right\"\n"
        "> join b instance=two v=5\n"
        "  b join: ok member two#2 generation 1 consumer range leader one#1\n"
        "> sync b member=two#2 gen=1 instance=two\n"
        "  b sync: ok \"right\"\n"
        "> heartbeat b member=two#1 gen=1 instance=two\n"
        "  b heartbeat: FENCED_INSTANCE_ID\n"
        "> heartbeat b member=two#1 gen=1\n"
        "  b heartbeat: UNKNOWN_MEMBER_ID\n"
        "> heartbeat b member=two#2 gen=1 instance=two\n"
        "  b heartbeat: ok\n"
        "> commit b member=two#1 gen=1 instance=two offsets=t-0:1\n"
        "  b commit: ok t-0=FENCED_INSTANCE_ID\n"
        "> restart\n"
        "> state\n"
        "  g Stable generation 1 protocol range members [one#1 leads as one has left, two#2 as two has right]\n"
        "> heartbeat b member=two#2 gen=1 instance=two\n"
        "  b heartbeat: ok\n");
}

/* The leader's place: from version 9 on it is told that it leads and must skip the assignment; before, that another one
 * does, so that it does not assign. Either way nobody else notices. */
TEST(group_static_leader_comes_back) {
    world_run(
        "> join a instance=one\n"
        "> join b instance=two\n"
        "> time +6000\n"
        "  a join: ok member one#1 generation 1 consumer range leader one#1 [one#1 as one:x, two#1 as two:x]\n"
        "  b join: ok member two#1 generation 1 consumer range leader one#1\n"
        "> sync a member=one#1 gen=1 assign=one#1:left,two#1:right instance=one\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=two#1 gen=1 instance=two\n"
        "  b sync: ok \"right\"\n"
        "> join a instance=one\n"
        "  a join: ok member one#2 generation 1 consumer range leader one#2 skip [one#2 as one:x, two#1 as two:x]\n"
        "> sync a member=one#2 gen=1 instance=one\n"
        "  a sync: ok \"left\"\n"
        "> join a instance=one v=8\n"
        "  a join: ok member one#3 generation 1 consumer range leader one#2\n"
        "> heartbeat b member=two#1 gen=1 instance=two\n"
        "  b heartbeat: ok\n"
        "> state\n"
        "  g Stable generation 1 protocol range members [one#3 leads as one has left, two#1 as two has right]\n");
}

/* With a change that would change the protocol of the next generation there is a rebalance after all. */
TEST(group_static_member_comes_back_changed) {
    world_run(
        "> join a instance=one protocols=range:x,rr:x\n"
        "> join b instance=two protocols=range:x,rr:x\n"
        "> time +6000\n"
        "  a join: ok member one#1 generation 1 consumer range leader one#1 [one#1 as one:x, two#1 as two:x]\n"
        "  b join: ok member two#1 generation 1 consumer range leader one#1\n"
        "> sync a member=one#1 gen=1 assign=one#1:left,two#1:right\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=two#1 gen=1\n"
        "  b sync: ok \"right\"\n"
        "> join b instance=two protocols=rr:x\n"
        "> heartbeat a member=one#1 gen=1\n"
        "  a heartbeat: REBALANCE_IN_PROGRESS\n"
        "> join a member=one#1 instance=one protocols=range:x,rr:x\n"
        "  a join: ok member one#1 generation 2 consumer rr leader one#1 [one#1 as one:x, two#2 as two:x]\n"
        "  b join: ok member two#2 generation 2 consumer rr leader one#1\n");
}

/* While the group rebalances or waits for its assignment: the old one's parked request is fenced, the new one joins. */
TEST(group_static_member_comes_back_in_a_rebalance) {
    world_run(
        "> join a instance=one\n"
        "> join b instance=two\n"
        "> time +6000\n"
        "  a join: ok member one#1 generation 1 consumer range leader one#1 [one#1 as one:x, two#1 as two:x]\n"
        "  b join: ok member two#1 generation 1 consumer range leader one#1\n"
        "> sync b member=two#1 gen=1 instance=two\n"
        "> join b instance=two\n"
        "  b sync: FENCED_INSTANCE_ID\n"
        "> heartbeat a member=one#1 gen=1\n"
        "  a heartbeat: REBALANCE_IN_PROGRESS\n"
        "> join b instance=two\n"
        "  b join: FENCED_INSTANCE_ID member two#2\n"
        "> join a member=one#1 instance=one\n"
        "  a join: ok member one#1 generation 2 consumer range leader one#1 [one#1 as one:x, two#3 as two:x]\n"
        "  b join: ok member two#3 generation 2 consumer range leader one#1\n");
}

/* A static member that does not join again keeps its place until its session ends; its assignment stays with it. */
TEST(group_static_members_may_be_away) {
    world_run(
        "> join a instance=one session=60000 rebalance=20000\n"
        "> join b session=10000 rebalance=20000 v=3\n"
        "> time +6000\n"
        "  a join: ok member one#1 generation 1 consumer range leader one#1 [one#1 as one:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader one#1\n"
        "> sync a member=one#1 gen=1 assign=one#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n"
        "> sync b member=b#1 gen=1\n"
        "  b sync: ok \"right\"\n"
        "> join b member=b#1 protocols=range:other rebalance=20000\n"
        "> time +20000\n"
        "  b join: ok member b#1 generation 2 consumer range leader b#1 [one#1 as one:x, b#1:other]\n"
        "> sync b member=b#1 gen=2 assign=one#1:left,b#1:right\n"
        "  b sync: ok \"right\"\n"
        "> heartbeat b member=b#1 gen=2\n"
        "  b heartbeat: ok\n"
        "> state\n"
        "  g Stable generation 2 protocol range members [one#1 as one has left, b#1 leads has right]\n");
}

/* By its instance alone, as a tool does; a wrong pair is fenced, an instance that nobody has is not known. */
TEST(group_operator_removes_a_static_member) {
    world_run(
        "> join a instance=one\n"
        "> time +3000\n"
        "  a join: ok member one#1 generation 1 consumer range leader one#1 [one#1 as one:x]\n"
        "> sync a member=one#1 gen=1 assign=one#1:all\n"
        "  a sync: ok \"all\"\n"
        "> leave tool member=other instance=one\n"
        "  tool leave: ok other=FENCED_INSTANCE_ID\n"
        "> leave tool instance=two\n"
        "  tool leave: ok =UNKNOWN_MEMBER_ID\n"
        "> leave tool instance=one\n"
        "  tool leave: ok =NONE\n"
        "> state\n"
        "  g Empty generation 2 protocol - members []\n");
}
