#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include "wire/batch.h"

/* With next to no memory for indexes, and the files of old segments closed again and again, every read is right. */
TEST(log_reads_with_little_memory_for_indexes) {
    struct bench_log l;
    struct bench *b = bench_small();
    bench_options(b)->index_bytes_max = 64;
    bench_options(b)->open_files_max = 2;
    bench_options(b)->tail_bytes_max = 1;
    bench_started(b, &l);
    bench_fill(b, &l, 200, 0);
    bench_pass(b, 1000);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    assert_true(log_segments(l.log) > 10);
    for (log_offset from = 0; from < 400; from += 37) {
        struct bench_seen seen = bench_read_all(b, l.log, from, LOG_UPTO_END, 800, true);
        assert_int_equal(seen.next, 400);
    }
    assert_true(m->index_loads > 10);
    assert_true(m->files_open < 6);
    assert_int_equal(m->index_rebuilds, 0);
    bench_end(b);
}

/* Reading goes up to the bound and not a batch further, wherever the bound is. */
TEST(log_reads_end_at_the_high_watermark) {
    for (int fresh = 0; fresh < 2; fresh++) {
        struct bench_log l;
        struct bench *b = bench_started(bench_small(), &l);
        bench_fill(b, &l, 60, 0);
        if (!fresh) {
            bench_stop(b);
            bench_started(b, &l);
        }
        for (log_offset mark = 0; mark <= 120; mark += 2) {
            log_high_watermark_set(l.log, mark);
            for (log_offset from = 0; from <= mark; from += 17)
                assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_HIGH_WATERMARK, 1500, true).next, mark > from ? mark : from);
        }
        bench_end(b);
    }
}

/* A first batch that is larger than what was asked for is given only to those who must get one. */
TEST(log_read_gives_one_batch_at_least_if_asked) {
    for (int fresh = 0; fresh < 2; fresh++) {
        struct bench_log l;
        struct bench *b = bench_started(bench_small(), &l);
        struct arena arena;
        struct chain chain;
        assert_int_equal(bench_append_durably(b, &l, 0, 2, 1000), ERR_NONE);
        if (!fresh) {
            bench_stop(b);
            bench_started(b, &l);
        }
        arena_init(&arena, bench_pool(b), 0);
        chain_init(&chain, &arena);
        struct log_read read = {.log = l.log, .from = 1, .bytes_max = 100, .upto = LOG_UPTO_END, .out = &chain};
        assert_int_equal(bench_read(b, &read), ERR_NONE);
        assert_int_equal(read.bytes, 0);
        assert_true(read.cut);
        read.min_one = true;
        assert_int_equal(bench_read(b, &read), ERR_NONE);
        assert_true(read.bytes > 2000);
        assert_false(read.cut);
        assert_int_equal(read.position.offset, 0); /* the batch that holds offset 1 begins at 0 */
        chain_clear(&chain);
        arena_destroy(&arena);
        bench_end(b);
    }
}

/* Timestamps are 1000 + offset here, so the answer to each question is known; in memory, after a stop, after a crash. */
TEST(log_lookups_over_many_segments) {
    struct bench_log l;
    struct bench *b = bench_started(bench_small(), &l);
    bench_fill(b, &l, 60, 2);
    for (int life = 0; life < 3; life++) {
        for (log_offset at = 0; at < 120; at += 7) {
            struct log_lookup lookup = {.log = l.log, .timestamp = 1000 + at, .upto = LOG_UPTO_END};
            assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
            assert_int_equal(lookup.offset, at);
            assert_int_equal(lookup.found_timestamp, 1000 + at);
            assert_int_equal(lookup.epoch, 2);
            lookup.upto = LOG_UPTO_HIGH_WATERMARK; /* 0: nothing may be found */
            assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
            assert_int_equal(lookup.offset, -1);
        }
        struct log_lookup lookup = {.log = l.log, .timestamp = 5, .upto = LOG_UPTO_END};
        assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
        assert_int_equal(lookup.offset, 0);
        lookup.timestamp = 1120;
        assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
        assert_int_equal(lookup.offset, -1);
        lookup.timestamp = LOG_TIME_MAX;
        assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
        assert_int_equal(lookup.offset, 119);
        if (life == 0) bench_stop(b);
        else bench_power_cut(b, BENCH_LOSE_ALL);
        bench_started(b, &l);
    }
    bench_end(b);
}

/* Where the page cache does not have the headers a job brings them in, and the answer is the same. */
TEST(log_reads_what_is_cold) {
    struct bench_log l;
    struct bench *b = bench_started(bench_small(), &l);
    bench_fill(b, &l, 60, 0);
    bench_power_cut(b, BENCH_LOSE_ALL); /* the page cache is empty then */
    bench_started(b, &l);
    sim_disk_trouble(bench_disk(b), (struct sim_disk_trouble){.cold_one_in = 2});
    log_high_watermark_set(l.log, 90);
    for (log_offset from = 0; from < 120; from += 13) {
        assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_END, 900, true).next, 120);
        assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_HIGH_WATERMARK, 900, true).next, from > 90 ? from : 90);
    }
    assert_true(log_store_metrics(bench_store(b))->reads_cold > 10);
    sim_disk_heal(bench_disk(b));
    bench_end(b);
}
