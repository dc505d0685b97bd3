/* Sets of voters, their text, and the history of them that follows the log. */
#include "raft/voters.h"
#include "base/random.h"
#include "test.h"
#include <string.h>

static struct raft_key key(int32_t id) {
    struct raft_key made = {.id = id};
    memset(made.directory.bytes, 0x40 + id, sizeof(made.directory.bytes));
    return made;
}

static struct raft_voters voters_of(uint32_t count) {
    struct raft_voters set = {0};
    struct raft_listener at = {SPAN_LITERAL("CONTROLLER"), SPAN_LITERAL("host"), 9093};
    for (uint32_t i = 1; i <= count; i++) assert_true(raft_voters_add(&set, key((int32_t)i), 0, 1, &at, 1));
    return set;
}

/* controller.quorum.voters and --initial-controllers, right and wrong. */
TEST(voters_are_parsed) {
    static const char *const wrong[] = {"1", "1@", "1@host", "1@host:", "1@:1", "@host:1", "1@0.0.0.0:9093", "1@a:1,1@b:2", "1@a:99999", "1@a:1,", "x@a:1", "-1@a:1"};
    struct raft_voters voters;
    for (size_t i = 0; i < countof(wrong); i++) assert_int_equal(raft_voters_parse(span_text(wrong[i]), SPAN_LITERAL("C"), false, &voters), ERR_INVALID);
    assert_int_equal(raft_voters_parse(SPAN_LITERAL("3@c:3, 1@[::1]:1,2@b.example:2"), SPAN_LITERAL("C"), false, &voters), ERR_NONE);
    assert_int_equal(voters.count, 3);
    assert_int_equal(voters.voters[0].key.id, 1);
    struct raft_listener at = raft_voters_listener(&voters, 0, 0);
    assert_true(span_equal(at.host, SPAN_LITERAL("::1")) && at.port == 1 && span_equal(at.name, SPAN_LITERAL("C")));
    assert_int_equal(raft_voters_parse(SPAN_LITERAL("1@localhost:9093:Lh5EN2ABTh6YwD2b_wPwiA"), SPAN_LITERAL("C"), true, &voters), ERR_NONE);
    assert_false(uuid_is_zero(voters.voters[0].key.directory));
    assert_int_equal(raft_voters_parse(SPAN_LITERAL("1@localhost:9093:AAAAAAAAAAAAAAAAAAAAAA"), SPAN_LITERAL("C"), true, &voters), ERR_INVALID);
    assert_int_equal(raft_voters_parse(SPAN_LITERAL(""), SPAN_LITERAL("C"), false, &voters), ERR_NONE);
    assert_int_equal(voters.count, 0);
}

/* A set never fills up by being changed, and says no when it is full. */
TEST(voters_have_bounds) {
    struct raft_voters set = {0};
    char host[200];
    memset(host, 'h', sizeof(host));
    struct raft_listener at = {SPAN_LITERAL("CONTROLLER"), span_of(host, sizeof(host)), 1};
    for (int32_t i = 0; i < RAFT_VOTERS_MAX; i++) assert_true(raft_voters_add(&set, key(i), 0, 1, &at, 1));
    assert_false(raft_voters_add(&set, key(99), 0, 1, &at, 1));
    for (int32_t i = 0; i < 10000; i++) {
        raft_voters_remove(&set, i % RAFT_VOTERS_MAX);
        assert_true(raft_voters_add(&set, key(i % RAFT_VOTERS_MAX), 0, 1, &at, 1));
    }
    assert_int_equal(set.count, RAFT_VOTERS_MAX);
    for (uint32_t i = 0; i < set.count; i++) {
        assert_int_equal(set.voters[i].key.id, (int)i);
        assert_true(span_equal(raft_voters_listener(&set, i, 0).host, at.host));
    }
}

/* The history answers for any offset, forgets what is cut, and keeps the latest when it is full. */
TEST(history_follows_the_log) {
    static struct raft_voters_history history;
    memset(&history, 0, sizeof(history));
    struct raft_voters sets[3] = {voters_of(1), voters_of(2), voters_of(3)};
    for (uint32_t i = 0; i < 3; i++) raft_history_add_voters(&history, 10 * (log_offset)i, &sets[i]);
    assert_null(raft_history_voters(&history, 0, NULL));
    assert_int_equal(raft_history_voters(&history, 1, NULL)->count, 1);
    assert_int_equal(raft_history_voters(&history, 20, NULL)->count, 2);
    raft_history_truncate(&history, 20);
    assert_int_equal(raft_history_voters(&history, INT64_MAX, NULL)->count, 2);
    for (log_offset i = 0; i < 100; i++) raft_history_add_voters(&history, 30 + i, &sets[i % 3]);
    log_offset offset;
    assert_int_equal(raft_history_voters(&history, INT64_MAX, &offset)->count, 1);
    assert_int_equal(offset, 129);
    assert_int_equal(history.count, RAFT_HISTORY_MAX);
}
