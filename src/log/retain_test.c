#include "log/log_test.h"
#include "test.h"

static void retain(struct bench *b, struct bench_log *l) {
    struct waiting w;
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_retain(l->log, &w.wait)), ERR_NONE);
    bench_pass(b, 100);
}

/* By size: the oldest segments go until what is left would be too little, never above the high watermark; their files are
 * renamed, then removed. */
TEST(log_retention_by_size) {
    struct bench_log l;
    struct bench *b = bench_small();
    bench_config(b)->retention_bytes = 10000;
    bench_started(b, &l);
    bench_fill(b, &l, 100, 0);
    uint32_t segments = log_segments(l.log);
    uint64_t size = log_size(l.log);
    retain(b, &l);
    assert_int_equal(log_segments(l.log), segments); /* the high watermark is at 0 */
    log_high_watermark_set(l.log, log_end(l.log));
    retain(b, &l);
    assert_true(log_size(l.log) >= 10000 && log_size(l.log) < 10000 + 4096);
    assert_true(log_segments(l.log) < segments && log_size(l.log) < size);
    assert_int_equal(l.start_told, 1);
    assert_true(log_start(l.log) > 0);
    assert_true(bench_count_files(b, "orders-0", ".log.deleted") > 0);
    assert_int_equal(bench_count_files(b, "orders-0", ".log"), log_segments(l.log));
    assert_true(bench_pass(b, 3000));
    assert_int_equal(bench_count_files(b, "orders-0", ".deleted"), 0);
    struct log_read read = {.log = l.log, .from = log_start(l.log) - 1, .bytes_max = 100, .out = NULL};
    assert_int_equal(log_read(&read), ERR_OUT_OF_RANGE);
    assert_int_equal(bench_read_all(b, l.log, log_start(l.log), LOG_UPTO_END, 900, true).next, log_end(l.log));
    bench_end(b);
}

/* By time: all of it is old (timestamps of 1970), so all of it goes, the active segment too; the log goes on behind. */
TEST(log_retention_by_time_takes_everything_that_is_old) {
    struct bench_log l;
    struct bench *b = bench_small();
    bench_config(b)->retention_ms = 3600000;
    bench_started(b, &l);
    bench_fill(b, &l, 50, 0);
    log_high_watermark_set(l.log, 90);
    retain(b, &l);
    assert_true(log_start(l.log) > 60 && log_start(l.log) <= 90);
    log_high_watermark_set(l.log, 100);
    retain(b, &l);
    bench_pass(b, 100);
    assert_int_equal(log_start(l.log), 100);
    assert_int_equal(log_end(l.log), 100);
    assert_int_equal(log_segments(l.log), 1);
    assert_int_equal(log_size(l.log), 0);
    bench_fill(b, &l, 1, 0);
    bench_stop(b);
    bench_started(b, &l);
    assert_int_equal(log_start(l.log), 100);
    assert_int_equal(log_end(l.log), 102);
    bench_end(b);
}

/* Closed segments of an earlier life are looked at, too: their largest timestamps come from their time indexes. */
TEST(log_retention_by_time_after_a_restart) {
    struct bench_log l;
    struct bench *b = bench_small();
    bench_config(b)->cleanup_delete = false;
    bench_started(b, &l);
    bench_fill(b, &l, 50, 0);
    log_high_watermark_set(l.log, 100);
    bench_stop(b);
    bench_config(b)->cleanup_delete = true;
    bench_config(b)->retention_ms = 3600000;
    bench_started(b, &l);
    assert_int_equal(log_start(l.log), 0);
    retain(b, &l);
    assert_int_equal(log_start(l.log), 100);
    bench_end(b);
}

/* DeleteRecords moves the start inside a segment; whole segments before it go; the start survives. */
TEST(log_start_moves_up) {
    struct bench_log l;
    struct bench *b = bench_started(bench_small(), &l);
    bench_fill(b, &l, 50, 0);
    assert_int_equal(log_start_set(l.log, 41), ERR_OUT_OF_RANGE);
    log_high_watermark_set(l.log, 80);
    uint32_t segments = log_segments(l.log);
    assert_int_equal(log_start_set(l.log, 41), ERR_NONE);
    bench_pass(b, 500);
    assert_true(log_segments(l.log) < segments);
    assert_int_equal(log_start(l.log), 41);
    assert_int_equal(bench_read_all(b, l.log, 41, LOG_UPTO_END, 700, true).next, 100);
    bench_stop(b);
    bench_started(b, &l);
    assert_int_equal(log_start(l.log), 41);
    assert_int_equal(log_end(l.log), 100);
    bench_end(b);
}
