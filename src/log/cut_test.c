#include "log/log_test.h"
#include "test.h"

/* Cut at every offset: what is before stays, the epochs end there, and appending goes on; so after another start. */
TEST(log_truncates_at_every_offset) {
    for (log_offset cut = 0; cut <= 60; cut++) {
        struct bench_log l;
        struct bench *b = bench_started(bench_small(), &l);
        struct waiting w;
        bench_fill(b, &l, 20, 4);
        bench_fill(b, &l, 10, 6);
        assert_int_equal(log_end(l.log), 60);
        log_high_watermark_set(l.log, 10);
        waiting_init(&w);
        assert_int_equal(bench_wait(b, &w, log_truncate(l.log, cut, &w.wait)), ERR_NONE);
        log_offset end = cut - cut % 2;
        assert_int_equal(log_end(l.log), end);
        assert_int_equal(log_high_watermark(l.log), end < 10 ? end : 10);
        assert_int_equal(log_epoch_last(l.log), end > 40 ? 6 : end > 0 ? 4 : -1);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 900, true).next, end);
        log_store_check(bench_store(b));
        bench_fill(b, &l, 3, 8);
        assert_int_equal(log_epoch_end_for(l.log, 7).end, end > 0 ? end : 0);
        bench_kill(b);
        bench_started(b, &l);
        assert_int_equal(log_end(l.log), end + 6);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 900, true).next, end + 6);
        assert_int_equal(log_epoch_last(l.log), 8);
        bench_end(b);
    }
}

/* A reader that holds a range of the file keeps its bytes while the file is cut and written anew (L5). */
TEST(log_truncation_leaves_held_ranges_alone) {
    struct bench_log l;
    struct bench *b = bench_small();
    bench_config(b)->segment_bytes = 1 << 20;
    bench_started(b, &l);
    bench_fill(b, &l, 20, 1);
    bench_stop(b);
    bench_started(b, &l);
    struct arena arena;
    struct chain chain;
    uint8_t before[8192], after[8192];
    arena_init(&arena, bench_pool(b), 0);
    chain_init(&chain, &arena);
    struct log_read read = {.log = l.log, .from = 20, .bytes_max = 4000, .upto = LOG_UPTO_END, .out = &chain};
    assert_int_equal(bench_read(b, &read), ERR_NONE);
    assert_int_equal(chain.first->kind, SLICE_FILE);
    size_t size = bench_copy(b, &chain, before, sizeof before);
    assert_true(size > 3000);
    struct waiting w;
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_truncate(l.log, 22, &w.wait)), ERR_NONE);
    bench_fill(b, &l, 10, 2);
    assert_int_equal(bench_copy(b, &chain, after, sizeof after), size);
    assert_memory_equal(before, after, size);
    chain_clear(&chain);
    arena_destroy(&arena);
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 900, true).next, 42);
    bench_end(b);
}

/* Truncated fully, a log is empty at another offset, and stays so. */
TEST(log_truncates_fully) {
    struct bench_log l;
    struct bench *b = bench_started(bench_small(), &l);
    struct waiting w;
    bench_fill(b, &l, 30, 4);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_truncate_fully(l.log, 1000, &w.wait)), ERR_NONE);
    assert_int_equal(log_start(l.log), 1000);
    assert_int_equal(log_end(l.log), 1000);
    assert_int_equal(log_epoch_last(l.log), -1);
    assert_int_equal(bench_append_durably(b, &l, 5, 2, 50), ERR_NONE);
    bench_power_cut(b, BENCH_LOSE_ALL);
    bench_started(b, &l);
    assert_int_equal(log_start(l.log), 1000);
    assert_int_equal(log_end(l.log), 1002);
    assert_int_equal(bench_read_all(b, l.log, 1000, LOG_UPTO_END, 900, true).next, 1002);
    bench_end(b);
}

static enum err append_epoch(struct bench *b, struct bench_log *l, leader_epoch epoch, log_offset base) {
    struct log_appended out;
    struct slab *slab = bench_batch(b, base, epoch, 2, 60);
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_LEADER};
    enum err err = log_append(l->log, &append, &out);
    slab_drop(slab);
    return err ? err : bench_until_durable(b, l, out.last + 1) ? ERR_NONE : ERR_IO;
}

/* What was cut leaves no epoch behind: a follower that then gets batches of a lower epoch knows only those, after a crash,
 * too, though the file had the higher one. */
TEST(log_epochs_of_what_was_cut_do_not_come_back) {
    for (int crash = 0; crash < 3; crash++) {
        struct bench_log l;
        struct bench *b = bench_small();
        bench_options(b)->recovery_checkpoint_ms = 1000;
        bench_options(b)->checkpoint_bytes_min = 1;
        bench_started(b, &l);
        for (log_offset at = 0; at < 20; at += 2) assert_int_equal(append_epoch(b, &l, at < 10 ? 1 : 5, at), ERR_NONE);
        bench_pass(b, 3500);
        assert_true(bench_file_size(b, "orders-0/leader-epoch-checkpoint") > 8);
        struct waiting w;
        waiting_init(&w);
        assert_int_equal(bench_wait(b, &w, log_truncate(l.log, 10, &w.wait)), ERR_NONE);
        assert_int_equal(log_epoch_last(l.log), 1);
        for (log_offset at = 10; at < 16; at += 2) assert_int_equal(append_epoch(b, &l, 3, at), ERR_NONE);
        if (crash == 0) bench_stop(b);
        else bench_power_cut(b, crash == 1 ? BENCH_LOSE_ALL : BENCH_KEEP_ALL);
        bench_started(b, &l);
        assert_int_equal(log_end(l.log), 16);
        assert_int_equal(log_epoch_last(l.log), 3);
        assert_int_equal(log_epoch_end_for(l.log, 3).end, 16);
        assert_int_equal(log_epoch_end_for(l.log, 2).end, 10);
        bench_end(b);
    }
}
