#include "group/group_world.h"
#include "test.h"

/* The log refuses the assignment: all who wait are told so, nobody got it, and the group rebalances. */
TEST(group_assignment_that_cannot_be_written) {
    world_run(
        "> join a v=3\n"
        "> join b v=3\n"
        "> time +6000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 1 consumer range leader a#1\n"
        "> sync b member=b#1 gen=1\n"
        "> refuse NOT_ENOUGH_REPLICAS\n"
        "> sync a member=a#1 gen=1 assign=a#1:left,b#1:right\n"
        "  a sync: COORDINATOR_NOT_AVAILABLE\n"
        "  b sync: COORDINATOR_NOT_AVAILABLE\n"
        "> state\n"
        "  g PreparingRebalance generation 1 protocol range members [a#1 leads, b#1]\n"
        "> accept\n"
        "> join a member=a#1\n"
        "> join b member=b#1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 2 consumer range leader a#1\n"
        "> sync a member=a#1 gen=2 assign=a#1:left,b#1:right\n"
        "  a sync: ok \"left\"\n");
}

/* Then there is no group; its first member is told to try again, and does. */
TEST(group_first_record_that_cannot_be_written) {
    world_run(
        "> refuse NOT_ENOUGH_REPLICAS\n"
        "> join a\n"
        "  a join: COORDINATOR_NOT_AVAILABLE member \n"
        "> refuse NOT_LEADER_OR_FOLLOWER\n"
        "> join a\n"
        "  a join: NOT_COORDINATOR member \n"
        "> state\n"
        "  g does not exist\n"
        "> accept\n"
        "> join a\n"
        "  a join: MEMBER_ID_REQUIRED member a#1\n"
        "> state\n"
        "  g Empty generation 0 protocol - members [] pending 1\n");
}

/* Then the old id goes on being the member. */
TEST(group_static_return_that_cannot_be_written) {
    world_run(
        "> join a instance=one\n"
        "> time +3000\n"
        "  a join: ok member one#1 generation 1 consumer range leader one#1 [one#1 as one:x]\n"
        "> sync a member=one#1 gen=1 assign=one#1:all instance=one\n"
        "  a sync: ok \"all\"\n"
        "> refuse NOT_ENOUGH_REPLICAS\n"
        "> join a instance=one\n"
        "  a join: COORDINATOR_NOT_AVAILABLE member \n"
        "> heartbeat a member=one#1 gen=1 instance=one\n"
        "  a heartbeat: ok\n"
        "> accept\n"
        "> join a instance=one\n"
        "  a join: ok member one#2 generation 1 consumer range leader one#2 skip [one#2 as one:x]\n");
}

/* The group is empty all the same; the next generation goes on counting, and what the log says is mended with it. */
TEST(group_emptiness_that_cannot_be_written) {
    world_run(
        "> join a v=3\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> refuse NOT_ENOUGH_REPLICAS\n"
        "> leave a member=a#1\n"
        "  a leave: NOT_ENOUGH_REPLICAS a#1=NONE\n"
        "> state\n"
        "  g Empty generation 1 protocol - members []\n"
        "> accept\n"
        "> join b v=3\n"
        "> time +3000\n"
        "  b join: ok member b#1 generation 2 consumer range leader b#1 [b#1:x]\n"
        "> sync b member=b#1 gen=2 assign=b#1:all\n"
        "  b sync: ok \"all\"\n");
}

/* A coordinator that takes over knows the members of the last stable generation, gives them a session's time, and refuses
 * those of a generation that was not written. */
TEST(group_restart_brings_the_last_stable_generation) {
    world_run(
        "> join a v=3 session=10000\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> commit a member=a#1 gen=1 offsets=t-0:5\n"
        "  a commit: ok t-0=NONE\n"
        "> restart\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: ok\n"
        "> sync a member=a#1 gen=1\n"
        "  a sync: ok \"all\"\n"
        "> join b v=3\n"
        "> join a member=a#1\n"
        "  a join: ok member a#1 generation 2 consumer range leader a#1 [a#1:x, b#1:x]\n"
        "  b join: ok member b#1 generation 2 consumer range leader a#1\n"
        "> restart\n"
        "> heartbeat a member=a#1 gen=2\n"
        "  a heartbeat: ILLEGAL_GENERATION\n"
        "> heartbeat a member=a#1 gen=1\n"
        "  a heartbeat: ok\n"
        "> heartbeat b member=b#1 gen=2\n"
        "  b heartbeat: UNKNOWN_MEMBER_ID\n"
        "> fetch\n"
        "  fetch: ok t-0:5\n"
        "> time +10000\n"
        "> state\n"
        "  g Empty generation 2 protocol - members []\n");
}

/* Only an empty group can be deleted: all its records get tombstones. */
TEST(group_delete) {
    world_run(
        "> delete\n"
        "  delete: GROUP_ID_NOT_FOUND\n"
        "> commit tool offsets=t-0:5,u-1:6\n"
        "  tool commit: ok t-0=NONE u-1=NONE\n"
        "> delete\n"
        "  delete: ok\n"
        "> records\n"
        "  OffsetCommitKey deleted\n"
        "  OffsetCommitKey deleted\n"
        "  GroupMetadataKey deleted\n"
        "> fetch\n"
        "  fetch: ok nothing\n"
        "> join a v=3\n"
        "> delete\n"
        "  delete: NON_EMPTY_GROUP\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> delete\n"
        "  delete: NON_EMPTY_GROUP\n");
}

/* Filters do not mind case. */
TEST(group_lists_by_state_and_type) {
    world_run(
        "> commit tool group=g offsets=t-0:5\n"
        "  tool commit: ok t-0=NONE\n"
        "> join a v=3 group=h\n"
        "> list states=empty\n"
        "  list: ok g(classic - Empty)\n"
        "> list states=preparingrebalance,stable\n"
        "  list: ok h(classic consumer PreparingRebalance)\n"
        "> list types=Classic\n"
        "  list: ok g(classic - Empty) h(classic consumer PreparingRebalance)\n"
        "> list types=consumer\n"
        "  list: ok\n");
}
