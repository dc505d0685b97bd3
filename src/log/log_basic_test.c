#include "log/log_test.h"
#include "test.h"

/* What was appended is read back, from memory while it is fresh and from the files after a stop, with the same bytes;
 * everything was durable before it was acknowledged. On the simulator's disk and on a real one. */
static void round_trip(enum bench_where where) {
    struct bench *b = bench_new(where, 1);
    struct bench_log l;
    bench_config(b)->segment_bytes = 20000;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_end(l.log), 0);
    assert_true(log_report(l.log)->created);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(bench_append_durably(b, &l, 3, 1 + (uint32_t)i % 7, 100 + (uint32_t)i), ERR_NONE);
        log_store_check(bench_store(b));
        assert_int_equal(log_flushed(l.log), log_end(l.log));
        assert_int_equal(l.durable_told, log_end(l.log));
    }
    log_offset end = log_end(l.log);
    assert_true(log_segments(l.log) > 3);
    log_high_watermark_set(l.log, end);
    struct bench_seen first = bench_read_all(b, l.log, 0, LOG_UPTO_HIGH_WATERMARK, 5000, true);
    assert_int_equal(first.next, end);
    assert_int_equal(first.reads, first.reads_memory);
    bench_stop(b);

    assert_int_equal(bench_start(b), ERR_NONE);
    assert_true(log_dirs_were_clean(bench_dirs(b)));
    assert_int_equal(log_dirs_previous_epoch(bench_dirs(b)), 7);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_true(log_report(l.log)->clean);
    assert_int_equal(log_end(l.log), end);
    assert_int_equal(log_high_watermark(l.log), end);
    assert_int_equal(log_epoch_last(l.log), 3);
    struct bench_seen second = bench_read_all(b, l.log, 0, LOG_UPTO_HIGH_WATERMARK, 5000, true);
    assert_int_equal(second.next, end);
    assert_int_equal(second.reads_memory, 0);
    assert_int_equal(second.hash, first.hash);
    for (log_offset from = 0; from < end; from += 11) assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_END, 700, true).next, end);
    log_store_check(bench_store(b));
    bench_stop(b);
    bench_free(b);
}
TEST(log_round_trip_in_the_simulator) { round_trip(BENCH_SIM); }
TEST(log_round_trip_on_a_real_disk) { round_trip(BENCH_REAL); }
