#include "log/log_test.h"
#include "log/producer.h"
#include "test.h"
#include "wire/batch.h"

static enum err append_from(struct bench *b, struct log *log, producer_id producer, int16_t epoch, int32_t sequence, bool transactional, struct log_appended *out) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    options.producer_id = producer;
    options.producer_epoch = epoch;
    options.base_sequence = sequence;
    options.transactional = transactional;
    batch_builder_init(&builder, bench_pool(b), 1 << 20, &options);
    assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_CLIENT};
    if (transactional)
        assert_int_equal(producer_guard(log_producers(log), producer, epoch, sequence, false, 1000, &append.verification_guard), ERR_NONE);
    enum err err = log_append(log, &append, out);
    slab_drop(slab);
    return err;
}

/* Producers whose records are older than they are remembered for (a copy of an old topic) are known on after the log has
 * closed because it was idle: they go at the check of expiry, not at the opening. */
TEST(log_idle_closing_forgets_no_producer) {
    struct bench_log l, others[8];
    struct log_appended out;
    struct waiting w;
    struct bench *b = bench_small();
    bench_options(b)->open_logs_max = 2;
    bench_options(b)->producer_expiration_ms = 1;
    bench_options(b)->producer_check_ms = 60000;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "copy", 0), ERR_NONE);
    bench_pass(b, 1000);
    assert_int_equal(append_from(b, l.log, 7, 0, 0, false, &out), ERR_NONE);
    assert_true(bench_until_durable(b, &l, 1));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(bench_open(b, &others[i], "many", i), ERR_NONE);
        assert_int_equal(bench_append_durably(b, &others[i], 0, 1, 150), ERR_NONE);
    }
    bench_pass(b, 500);
    assert_int_equal(log_state(l.log), LOG_CLOSED);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_open(l.log, &w.wait)), ERR_NONE);
    assert_int_equal(producer_count(log_producers(l.log)), 1);
    assert_int_equal(append_from(b, l.log, 7, 0, 5, false, &out), ERR_INVALID); /* a gap in its sequence */
    log_hold(l.log);
    bench_pass(b, 61000);
    assert_int_equal(producer_count(log_producers(l.log)), 0);
    log_release(l.log);
    bench_end(b);
}

static enum err append_marker(struct bench *b, struct log *log, enum control_type type, producer_id producer, int16_t epoch) {
    struct slab *slab;
    struct log_appended out;
    assert_int_equal(batch_build_marker(bench_pool(b), type, producer, epoch, 0, 1000, &slab), ERR_NONE);
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_COORDINATOR};
    enum err err = log_append(log, &append, &out);
    slab_drop(slab);
    return err;
}

/* A retried batch is answered with its first offsets and not written again, even after a restart; a gap in the sequence is
 * refused with Kafka's error, and nothing of it is written. */
TEST(log_duplicates_and_gaps) {
    for (int crash = 0; crash < 2; crash++) {
        struct bench_log l;
        struct log_appended out;
        struct bench *b = bench_started(bench_small(), &l);
        for (int32_t i = 0; i < 60; i++) assert_int_equal(append_from(b, l.log, 77, 0, i, false, &out), ERR_NONE);
        assert_true(bench_until_durable(b, &l, 60));
        assert_int_equal(append_from(b, l.log, 77, 0, 57, false, &out), ERR_NONE);
        assert_true(out.duplicate);
        assert_int_equal(out.base, 57);
        assert_int_equal(append_from(b, l.log, 77, 0, 70, false, &out), ERR_INVALID);
        assert_int_equal(out.kafka_error, KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_int_equal(log_end(l.log), 60);
        if (crash) bench_power_cut(b, BENCH_LOSE_ALL);
        else bench_stop(b);
        bench_started(b, &l);
        assert_int_equal(append_from(b, l.log, 77, 0, 59, false, &out), ERR_NONE);
        assert_true(out.duplicate);
        assert_int_equal(out.base, 59);
        assert_int_equal(append_from(b, l.log, 77, 0, 60, false, &out), ERR_NONE);
        assert_false(out.duplicate);
        assert_int_equal(out.base, 60);
        bench_end(b);
    }
}

struct listing { struct log_aborted_list list; bool done; enum err err; };
static void listed(struct log_aborted_list *list, enum err err) {
    struct listing *listing = (struct listing *)(void *)list;
    listing->done = true;
    listing->err = err;
}
static uint32_t aborted_in(struct bench *b, struct log *log, log_offset from, log_offset upto) {
    struct arena arena;
    arena_init(&arena, bench_pool(b), 0);
    struct listing listing = {.list = {.log = log, .from = from, .upto = upto, .arena = &arena, .done = listed}};
    enum err err = log_aborted_list(&listing.list);
    if (err == ERR_AGAIN) {
        assert_true(bench_until(b, &listing.done));
        err = listing.err;
    }
    assert_int_equal(err, ERR_NONE);
    uint32_t count = listing.list.count;
    arena_destroy(&arena);
    return count;
}

/* The last stable offset stands before the first open transaction and moves when it is decided and replicated; aborted ones
 * are listed, across segments, restarts and crashes. */
TEST(log_transactions) {
    for (int crash = 0; crash < 2; crash++) {
        struct bench_log l;
        struct log_appended out;
        struct bench *b = bench_started(bench_small(), &l);
        for (int i = 0; i < 60; i++) { /* every third one is aborted; they span several segments */
            assert_int_equal(append_from(b, l.log, 5, 0, i, true, &out), ERR_NONE);
            log_high_watermark_set(l.log, log_end(l.log));
            assert_int_equal(log_stable(l.log), out.base);
            assert_int_equal(append_marker(b, l.log, i % 3 == 0 ? CONTROL_ABORT : CONTROL_COMMIT, 5, 0), ERR_NONE);
            assert_int_equal(log_stable(l.log), out.base); /* decided, not yet below the high watermark */
            log_high_watermark_set(l.log, log_end(l.log));
            assert_int_equal(log_stable(l.log), log_end(l.log));
        }
        assert_int_equal(append_from(b, l.log, 6, 0, 0, true, &out), ERR_NONE);
        assert_true(bench_until_durable(b, &l, log_end(l.log)));
        assert_true(log_segments(l.log) > 2);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(aborted_in(b, l.log, 0, log_end(l.log)), 20);
            assert_int_equal(aborted_in(b, l.log, 60, log_end(l.log)), 10);
            assert_int_equal(aborted_in(b, l.log, 6, 7), 1);
            assert_int_equal(aborted_in(b, l.log, 2, 6), 0);
            log_high_watermark_set(l.log, log_end(l.log));
            assert_int_equal(log_stable(l.log), 120);
            if (again) break;
            bench_pass(b, 70000); /* a checkpoint, so that not all comes from the same place */
            if (crash) bench_power_cut(b, BENCH_LOSE_ALL);
            else bench_stop(b);
            bench_started(b, &l);
        }
        bench_end(b);
    }
}

/* One batch of a producer, its first; the log's answer. */
static enum err append_of(struct bench *b, struct log *log, producer_id id) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    struct log_appended out;
    batch_options_init(&options);
    options.base_offset = log_end(log);
    options.producer_id = id;
    options.producer_epoch = 0;
    options.base_sequence = 0;
    batch_builder_init(&builder, bench_pool(b), 1 << 16, &options);
    assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    struct log_append append = {.batches = {.data = slab->bytes, .size = slab->used, .slab = slab}, .origin = LOG_FROM_CLIENT, .coordinator_epoch = -1};
    enum err err = log_append(log, &append, &out);
    slab_drop(slab);
    return err;
}

/* The bound of producers is that of all logs together, also after they were opened again; at it, a log without producers
 * takes a new one at the cost of the log that has most. */
TEST(log_producers_are_bounded_over_all_logs) {
    struct bench_log one, other;
    struct bench *b = bench_small();
    bench_options(b)->producers_max = 5;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &one, "one", 0), ERR_NONE);
    assert_int_equal(bench_open(b, &other, "other", 0), ERR_NONE);
    for (producer_id id = 1; id <= 4; id++) assert_int_equal(append_of(b, one.log, id), ERR_NONE); /* one below */
    assert_int_equal(append_of(b, other.log, 5), ERR_NONE); /* at it */
    assert_int_equal(producer_count(log_producers(one.log)), 4);
    assert_int_equal(append_of(b, one.log, 6), ERR_NONE); /* beyond: its own longest idle one goes */
    assert_int_equal(producer_count(log_producers(one.log)), 4);
    assert_int_equal(producer_count(log_producers(other.log)), 1);
    assert_true(bench_until_durable(b, &one, 5));
    assert_true(bench_until_durable(b, &other, 1));
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    struct bench_log third;
    assert_int_equal(bench_open(b, &one, "one", 0), ERR_NONE);
    assert_int_equal(bench_open(b, &other, "other", 0), ERR_NONE);
    assert_int_equal(bench_open(b, &third, "third", 0), ERR_NONE);
    assert_int_equal(producer_count(log_producers(one.log)), 4);
    assert_int_equal(append_of(b, third.log, 7), ERR_NONE); /* has none of its own that could go */
    assert_int_equal(producer_count(log_producers(third.log)), 1);
    assert_int_equal(producer_count(log_producers(other.log)), 1);
    assert_int_equal(producer_count(log_producers(one.log)), 0);
    bench_end(b);
}
