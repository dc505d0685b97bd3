#include "group/group_world.h"
#include "test.h"

/* Without a generation: into a group that does not exist, which then does, or that is empty; never past its members. */
TEST(group_tools_and_self_assigned_consumers_commit) {
    world_run(
        "> fetch\n"
        "  fetch: ok nothing\n"
        "> commit tool offsets=t-0:5,t-1:6 metadata=note\n"
        "  tool commit: ok t-0=NONE t-1=NONE\n"
        "> records\n"
        "  OffsetCommitKey v4 offset 5 epoch -1 metadata \"note\" at 1000000 expires -1\n"
        "  OffsetCommitKey v4 offset 6 epoch -1 metadata \"note\" at 1000000 expires -1\n"
        "> list\n"
        "  list: ok g(classic - Empty)\n"
        "> describe\n"
        "  describe: ok Empty type \"-\" data \"\"\n"
        "> fetch offsets=t-0,t-1,t-2\n"
        "  fetch: ok t-0:5\"note\" t-1:6\"note\" t-2:-1\n"
        "> join a v=3\n"
        "> commit tool offsets=t-0:9\n"
        "  tool commit: ok t-0=UNKNOWN_MEMBER_ID\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> commit tool offsets=t-0:9\n"
        "  tool commit: ok t-0=UNKNOWN_MEMBER_ID\n"
        "> commit a member=a#1 gen=1 offsets=t-0:9\n"
        "  a commit: ok t-0=REBALANCE_IN_PROGRESS\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> commit a member=a#1 gen=1 offsets=t-0:9\n"
        "  a commit: ok t-0=NONE\n"
        "> commit a member=a#1 gen=0 offsets=t-0:10\n"
        "  a commit: ok t-0=ILLEGAL_GENERATION\n"
        "> commit a member=nobody gen=1 offsets=t-0:10\n"
        "  a commit: ok t-0=UNKNOWN_MEMBER_ID\n"
        "> fetch offsets=t-0\n"
        "  fetch: ok t-0:9\n");
}

/* A generation of a group that does not exist: old clients know another error than new ones. */
TEST(group_commit_into_what_is_not_there) {
    world_run(
        "> commit a v=8 member=a gen=3 offsets=t-0:1\n"
        "  a commit: ok t-0=ILLEGAL_GENERATION\n"
        "> commit a v=9 member=a gen=3 offsets=t-0:1\n"
        "  a commit: ok t-0=GROUP_ID_NOT_FOUND\n"
        "> list\n"
        "  list: ok\n");
}

/* The retention of versions 2 to 4 is written as a time of expiry, in the version of the record that has room for it. */
TEST(group_commit_of_old_clients_says_how_long) {
    world_run(
        "> commit tool v=4 offsets=t-0:5 retention=60000\n"
        "  tool commit: ok t-0=NONE\n"
        "> records\n"
        "  OffsetCommitKey v1 offset 5 epoch -1 metadata \"\" at 1000000 expires 1060000\n"
        "> commit tool v=4 offsets=t-1:5\n"
        "  tool commit: ok t-1=NONE\n"
        "> time +600000\n"
        "> fetch\n"
        "  fetch: ok t-1:5\n");
}

/* Retention counts from when the group was emptied, or, where nobody ever joined, from the commit. Offsets of a topic that
 * is read are kept. With the last offset the group goes. */
TEST(group_offsets_expire) {
    world_run(
        "> commit tool group=h offsets=t-0:5\n"
        "  tool commit: ok t-0=NONE\n"
        "> join a v=3\n"
        "> time +3000\n"
        "  a join: ok member a#1 generation 1 consumer range leader a#1 [a#1:x]\n"
        "> sync a member=a#1 gen=1 assign=a#1:all\n"
        "  a sync: ok \"all\"\n"
        "> commit a member=a#1 gen=1 offsets=t-0:5\n"
        "  a commit: ok t-0=NONE\n"
        "> leave a member=a#1\n"
        "  a leave: ok a#1=NONE\n"
        "> time +604200000\n"
        "> list\n"
        "  list: ok h(classic - Empty) g(classic consumer Empty)\n"
        "> time +597000\n"
        "> list\n"
        "  list: ok g(classic consumer Empty)\n"
        "> time +600000\n"
        "> list\n"
        "  list: ok\n"
        "> records\n"
        "  OffsetCommitKey deleted\n"
        "  GroupMetadataKey deleted\n");
}

/* Of a group that is in use only with the consumer protocol, where it is known who reads what. */
TEST(group_delete_offsets) {
    world_run(
        "> delete-offsets tool offsets=t-0\n"
        "  tool delete-offsets: GROUP_ID_NOT_FOUND\n"
        "> commit tool offsets=t-0:5,u-0:6\n"
        "  tool commit: ok t-0=NONE u-0=NONE\n"
        "> delete-offsets tool offsets=t-0,t-1\n"
        "  tool delete-offsets: ok t-0=NONE t-1=NONE\n"
        "> records\n"
        "  OffsetCommitKey deleted\n"
        "> fetch\n"
        "  fetch: ok u-0:6\n"
        "> join a v=3 type=connect protocols=range:x\n"
        "> delete-offsets tool offsets=u-0\n"
        "  tool delete-offsets: NON_EMPTY_GROUP\n");
}

/* From every group. */
TEST(group_offsets_of_a_deleted_topic_go) {
    world_run(
        "> commit tool group=g offsets=t-0:5,u-0:6\n"
        "  tool commit: ok t-0=NONE u-0=NONE\n"
        "> commit tool group=h offsets=t-0:7\n"
        "  tool commit: ok t-0=NONE\n"
        "> topic-deleted name=t\n"
        "  topic-deleted: ok\n"
        "> records\n"
        "  OffsetCommitKey deleted\n"
        "  OffsetCommitKey deleted\n"
        "> fetch group=g\n"
        "  fetch: ok u-0:6\n"
        "> fetch group=h\n"
        "  fetch: ok nothing\n");
}

/* Seen only after the commit marker; a fetch that wants stable offsets is told to wait; an abort leaves nothing. What was
 * committed outside meanwhile is newer and stays. */
TEST(group_transactional_offsets_wait_for_their_marker) {
    world_run(
        "> commit tool offsets=t-0:1\n"
        "  tool commit: ok t-0=NONE\n"
        "> txn-commit p producer=5 offsets=t-0:2,t-1:3\n"
        "  p txn-commit: ok t-0=NONE t-1=NONE\n"
        "> fetch offsets=t-0,t-1\n"
        "  fetch: ok t-0:1 t-1:-1\n"
        "> fetch offsets=t-0,t-1,t-2 stable\n"
        "  fetch: ok t-0:-1 UNSTABLE_OFFSET_COMMIT t-1:-1 UNSTABLE_OFFSET_COMMIT t-2:-1\n"
        "> restart\n"
        "> end-txn producer=5 commit\n"
        "  end-txn: ok\n"
        "> fetch offsets=t-0,t-1 stable\n"
        "  fetch: ok t-0:2 t-1:3\n"
        "> txn-commit p producer=6 offsets=t-0:9\n"
        "  p txn-commit: ok t-0=NONE\n"
        "> end-txn producer=6 abort\n"
        "  end-txn: ok\n"
        "> fetch offsets=t-0 stable\n"
        "  fetch: ok t-0:2\n"
        "> txn-commit p producer=7 offsets=t-0:10\n"
        "  p txn-commit: ok t-0=NONE\n"
        "> commit tool offsets=t-0:11\n"
        "  tool commit: ok t-0=NONE\n"
        "> end-txn producer=7 commit\n"
        "  end-txn: ok\n"
        "> fetch offsets=t-0\n"
        "  fetch: ok t-0:11\n");
}

/* 4,096 characters by default; tested with a lower one. Characters as Java counts them. */
TEST(group_metadata_of_an_offset_has_a_bound) {
    world_run(
        "> metadata-max 8\n"
        "> commit tool offsets=t-0:5 metadata=12345678\n"
        "  tool commit: ok t-0=NONE\n"
        "> commit tool offsets=t-0:6 metadata=123456789\n"
        "  tool commit: ok t-0=OFFSET_METADATA_TOO_LARGE\n"
        "> commit tool offsets=t-0:7 metadata=ÄÖÜäöüßé\n"
        "  tool commit: ok t-0=NONE\n"
        "> commit tool offsets=t-0:8 metadata=1234567😀\n"
        "  tool commit: ok t-0=OFFSET_METADATA_TOO_LARGE\n"
        "> fetch\n"
        "  fetch: ok t-0:7\"ÄÖÜäöüßé\"\n");
}
