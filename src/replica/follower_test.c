#include "replica/replica.h"
#include "test.h"

struct world { struct replica_follower follower; struct replica_follower_effects effects; };

static void begin(struct world *world, bool fsync, log_offset end, log_offset high_watermark, leader_epoch last_epoch) {
    replica_follower_init(&world->follower, fsync, 1000);
    struct replica_follower_event event = {.type = FOLLOWER_BECOME, .become = {.leader_epoch = 5, .end = end, .durable = end, .high_watermark = high_watermark, .last_epoch = last_epoch}};
    replica_follower_step(&world->follower, &event, &world->effects);
    replica_follower_check(&world->follower);
}
static void step(struct world *world, struct replica_follower_event event) {
    replica_follower_step(&world->follower, &event, &world->effects);
    replica_follower_check(&world->follower);
}
static struct replica_follower_event answer(enum replica_fetch_outcome outcome, log_offset fetch_offset) {
    return (struct replica_follower_event){.type = FOLLOWER_FETCH_ANSWER, .answer = {.outcome = outcome, .leader_epoch = 5, .fetch_offset = fetch_offset, .first_offset = -1, .own_epoch = -1}};
}
static void assert_next(struct world *world, time_ms now, enum replica_follower_phase what, log_offset offset) {
    struct replica_next_fetch next;
    assert_true(replica_follower_next(&world->follower, now, &next));
    assert_int_equal(next.what, what);
    assert_int_equal(next.offset, offset);
    assert_int_equal(next.leader_epoch, 5);
}
static void assert_nothing_next(struct world *world, time_ms now) {
    struct replica_next_fetch next;
    assert_false(replica_follower_next(&world->follower, now, &next));
}

/* In fsync mode a follower asks only from what it has flushed, and its high watermark stays below that. */
TEST(follower_asks_from_what_it_holds) {
    struct world world;
    begin(&world, true, 10, 10, 3);
    assert_next(&world, 0, REPLICA_FETCHING, 10);
    struct replica_follower_event ok = answer(FETCH_OK, 10);
    ok.answer.first_offset = 10;
    ok.answer.leader_high_watermark = 14;
    step(&world, ok);
    assert_true(world.effects.append);
    step(&world, (struct replica_follower_event){.type = FOLLOWER_APPENDED, .appended = {.end = 15, .durable = 10, .last_epoch = 5}});
    assert_nothing_next(&world, 0);
    assert_int_equal(world.follower.high_watermark, 10);
    step(&world, (struct replica_follower_event){.type = FOLLOWER_DURABLE, .durable = {.end = 15}});
    assert_true(world.effects.high_watermark_moved);
    assert_int_equal(world.follower.high_watermark, 14);
    assert_next(&world, 0, REPLICA_FETCHING, 15);
}

/* Where histories differ it cuts to the end that both have; where its own epoch is older, to the end of that, and asks again. */
TEST(follower_cuts_where_epochs_differ) {
    static const struct { leader_epoch diverging; log_offset leader_end; leader_epoch own; log_offset own_end, to; bool unclean; } cases[] = {
        {3, 40, 3, 45, 40, false},  /* both have epoch 3, the leader less of it */
        {3, 50, 3, 45, 45, false},  /* ... the follower less of it              */
        {3, 40, 2, 30, 30, false},  /* the follower has no epoch 3              */
        {3, 20, 3, 45, 20, true},   /* below what it knows to be committed      */
        {3, 40, -1, 0, 40, false},  /* none of its epochs is as old             */
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct world world;
        begin(&world, false, 60, 25, 4);
        struct replica_follower_event diverging = answer(FETCH_DIVERGING, 60);
        diverging.answer.diverging_epoch = cases[i].diverging;
        diverging.answer.diverging_end = cases[i].leader_end;
        diverging.answer.own_epoch = cases[i].own;
        diverging.answer.own_end = cases[i].own_end;
        step(&world, diverging);
        assert_true(world.effects.truncate && !world.effects.truncate_fully);
        assert_int_equal(world.effects.truncate_to, cases[i].to);
        assert_int_equal(world.effects.truncate_unclean, cases[i].unclean);
        assert_nothing_next(&world, 5000);
        step(&world, (struct replica_follower_event){.type = FOLLOWER_TRUNCATED, .appended = {.end = cases[i].to, .durable = cases[i].to, .last_epoch = 3}});
        assert_next(&world, 5000, REPLICA_FETCHING, cases[i].to);
        assert_true(world.follower.high_watermark <= cases[i].to);
    }
}

/* A log without epochs is first cut to what is committed. */
TEST(follower_without_epochs_keeps_what_is_committed) {
    struct world world;
    begin(&world, false, 60, 25, -1);
    assert_true(world.effects.truncate);
    assert_int_equal(world.effects.truncate_to, 25);
    assert_false(world.effects.truncate_unclean);
}

/* Out of range: the leader ends before us (cut to its end), or begins after us (begin anew there), or neither (go on). */
TEST(follower_out_of_range) {
    for (int way = 0; way < 3; way++) {
        struct world world;
        begin(&world, false, 60, 25, 4);
        step(&world, answer(FETCH_OUT_OF_RANGE, 60));
        assert_next(&world, 0, REPLICA_ASKS_LATEST, 60);
        step(&world, (struct replica_follower_event){.type = FOLLOWER_OFFSET_ANSWER, .offset = {.leader_epoch = 5, .offset = way == 0 ? 20 : 100}});
        if (way == 0) {
            assert_true(world.effects.truncate && world.effects.truncate_unclean);
            assert_int_equal(world.effects.truncate_to, 20);
            continue;
        }
        assert_next(&world, 0, REPLICA_ASKS_EARLIEST, 60);
        step(&world, (struct replica_follower_event){.type = FOLLOWER_OFFSET_ANSWER, .offset = {.leader_epoch = 5, .offset = way == 1 ? 80 : 50}});
        assert_int_equal(world.effects.truncate_fully, way == 1);
        if (way == 1) step(&world, (struct replica_follower_event){.type = FOLLOWER_TRUNCATED, .appended = {.end = 80, .durable = 80, .last_epoch = -1}});
        assert_next(&world, 0, REPLICA_FETCHING, way == 1 ? 80 : 60);
        if (way == 1) assert_int_equal(world.follower.high_watermark, 80);
    }
}

/* Answers to what was not asked are dropped; a leader that answers another offset is not followed any further. */
TEST(follower_takes_only_what_it_asked_for) {
    struct world world;
    begin(&world, false, 10, 10, 3);
    struct replica_follower_event old = answer(FETCH_OK, 9);
    old.answer.first_offset = 9;
    step(&world, old);
    assert_false(world.effects.append);
    old = answer(FETCH_OK, 10);
    old.answer.first_offset = 10;
    old.answer.leader_epoch = 4;
    step(&world, old);
    assert_false(world.effects.append);
    struct replica_follower_event wrong = answer(FETCH_OK, 10);
    wrong.answer.first_offset = 12;
    step(&world, wrong);
    assert_false(world.effects.append);
    assert_nothing_next(&world, 100000);
}

/* Errors: most are tried again after the back-off; a fenced epoch or a failed disk waits for the metadata. */
TEST(follower_backs_off_or_gives_up) {
    struct world world;
    begin(&world, false, 10, 10, 3);
    struct replica_follower_event later = answer(FETCH_BACKOFF, 10);
    later.now_ms = 500;
    step(&world, later);
    assert_nothing_next(&world, 1499);
    assert_next(&world, 1500, REPLICA_FETCHING, 10);
    step(&world, answer(FETCH_FENCED, 10));
    assert_nothing_next(&world, 100000);
    struct replica_follower_event newer = {.type = FOLLOWER_BECOME, .become = {.leader_epoch = 6, .end = 10, .durable = 10, .high_watermark = 10, .last_epoch = 3}};
    step(&world, newer);
    struct replica_next_fetch next;
    assert_true(replica_follower_next(&world.follower, 0, &next));
    step(&world, (struct replica_follower_event){.type = FOLLOWER_ERROR, .error = {.outcome = FETCH_STORAGE_ERROR}});
    assert_nothing_next(&world, 100000);
}

/* An empty follower begins where the leader's log begins. */
TEST(follower_that_is_empty_may_begin_later) {
    struct world world;
    begin(&world, false, 0, 0, -1);
    struct replica_follower_event ok = answer(FETCH_OK, 0);
    ok.answer.first_offset = 7;
    step(&world, ok);
    assert_true(world.effects.append);
}
