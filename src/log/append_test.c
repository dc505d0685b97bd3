#include "log/log_test.h"
#include "test.h"
#include <string.h>

/* A follower's log takes batches with their offsets, gaps included, refuses what it has already, and knows the epochs. */
TEST(log_appends_as_follower) {
    struct bench_log l;
    struct bench *b = bench_started(bench_small(), &l);
    struct log_appended out;
    log_offset base = 0;
    for (int i = 0; i < 40; i++) {
        struct slab *slab = bench_batch(b, base, i / 10, 3, 100);
        struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_LEADER};
        assert_int_equal(log_append(l.log, &append, &out), ERR_NONE);
        assert_int_equal(out.base, base);
        assert_int_equal(out.last, base + 2);
        assert_int_equal(log_append(l.log, &append, &out), ERR_OUT_OF_RANGE);
        slab_drop(slab);
        base += i == 20 ? 10 : 3;
    }
    assert_true(bench_until_durable(b, &l, log_end(l.log)));
    assert_int_equal(log_end(l.log), 127);
    assert_int_equal(log_epoch_last(l.log), 3);
    struct log_epoch_end end = log_epoch_end_for(l.log, 1);
    assert_int_equal(end.epoch, 1);
    assert_int_equal(end.end, 60);
    assert_int_equal(log_epoch_end_for(l.log, 9).epoch, -1);
    assert_int_equal(log_epoch_at(l.log, 61), 2);
    struct bench_seen seen = bench_read_all(b, l.log, 0, LOG_UPTO_END, 1000, true);
    assert_int_equal(seen.records, 120);
    assert_int_equal(seen.next, 127);
    bench_end(b);
}

/* One append of several batches (as a follower gets them) is given out batch by batch, up to the bound and from the middle. */
TEST(log_reads_within_an_append_of_many_batches) {
    struct bench_log l;
    struct bench *b = bench_started(bench_small(), &l);
    struct slab *all = slab_new(bench_pool(b), 1 << 16);
    for (log_offset base = 0; base < 30; base += 3) {
        struct slab *one = bench_batch(b, base, 1, 3, 60);
        memcpy(all->bytes + all->used, one->bytes, one->used);
        all->used += one->used;
        slab_drop(one);
    }
    struct log_appended out;
    struct log_append append = {.batches = {all->bytes, all->used, all}, .origin = LOG_FROM_LEADER};
    assert_int_equal(log_append(l.log, &append, &out), ERR_NONE);
    assert_int_equal(out.batches, 10);
    slab_drop(all);
    assert_true(bench_until_durable(b, &l, 30));
    for (int memory = 1; memory >= 0; memory--) {
        for (log_offset mark = 3; mark <= 30; mark += 3) {
            log_high_watermark_set(l.log, mark);
            for (log_offset from = 0; from < mark; from++) {
                struct bench_seen seen = bench_read_all(b, l.log, from, LOG_UPTO_HIGH_WATERMARK, 600, true);
                assert_int_equal(seen.next, log_high_watermark(l.log));
                assert_int_equal(seen.batches, (log_high_watermark(l.log) - from + 2) / 3);
                assert_int_equal(seen.reads_memory, memory ? seen.reads : 0);
            }
        }
        if (!memory) break;
        bench_stop(b);
        bench_started(b, &l);
    }
    bench_end(b);
}
