#include "log/log_test.h"
#include "test.h"

/* Appends of one turn are one write and one sync; those that come while the sync is under way wait together for the next. */
TEST(log_appends_of_a_turn_share_a_write_and_a_sync) {
    struct bench_log l;
    struct bench *b = bench_started(bench_new(BENCH_SIM, 1), &l);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    uint64_t writes = m->writes, syncs = m->syncs;
    for (int i = 0; i < 50; i++) assert_int_equal(bench_append(b, l.log, 0, 1, 100, NULL), ERR_NONE);
    assert_int_equal(m->writes, writes);
    assert_int_equal(log_durable(l.log), 0);
    while (m->syncs == syncs) bench_turns(b, 1);
    assert_int_equal(log_durable(l.log), 0); /* written, not yet flushed */
    assert_int_equal(log_written(l.log), 50);
    for (int i = 0; i < 30; i++) assert_int_equal(bench_append(b, l.log, 0, 1, 100, NULL), ERR_NONE);
    assert_int_equal(m->writes, writes + 1);
    assert_true(bench_until_durable(b, &l, 80));
    assert_int_equal(m->writes, writes + 2);
    assert_int_equal(m->syncs, syncs + 2);
    assert_int_equal(m->appends, 80);
    bench_end(b);
}

/* With flush.messages at its maximum nothing is synced by an append; log_flush does it all the same; with 10 every tenth
 * message does. */
TEST(log_flush_policies) {
    struct bench_log l;
    struct bench *b = bench_new(BENCH_SIM, 1);
    bench_config(b)->flush_messages = INT64_MAX;
    bench_started(b, &l);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    bench_fill(b, &l, 20, 0);
    assert_int_equal(m->syncs, 0);
    assert_int_equal(log_durable(l.log), 40);
    assert_int_equal(log_flushed(l.log), 0);
    struct waiting w;
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_flush(l.log, &w.wait)), ERR_NONE);
    assert_int_equal(log_flushed(l.log), 40);
    assert_int_equal(m->syncs, 1);
    waiting_init(&w);
    assert_int_equal(log_flush(l.log, &w.wait), ERR_NONE);
    struct log_config config = *bench_config(b);
    config.flush_messages = 10;
    log_config_set(l.log, &config);
    bench_fill(b, &l, 25, 0);
    assert_int_equal(m->syncs, 6);
    config.flush_messages = INT64_MAX;
    config.flush_ms = 3000;
    log_config_set(l.log, &config);
    bench_fill(b, &l, 1, 0);
    assert_true(log_flushed(l.log) < log_end(l.log));
    assert_true(bench_pass(b, 6000));
    assert_int_equal(log_flushed(l.log), log_end(l.log));
    bench_end(b);
}

/* With many files written in a turn the file system is synced at once, and that is as good: a power cut right after loses
 * nothing of what was acknowledged. */
TEST(log_many_files_are_synced_together) {
    static struct bench_log l[40];
    struct bench *b = bench_small();
    bench_options(b)->sync_fs_files = 16;
    assert_int_equal(bench_start(b), ERR_NONE);
    for (int i = 0; i < 40; i++) assert_int_equal(bench_open(b, &l[i], "many", i), ERR_NONE);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 40; i++) assert_int_equal(bench_append(b, l[i].log, 0, 2, 100, NULL), ERR_NONE);
        for (int i = 0; i < 40; i++) assert_true(bench_until_durable(b, &l[i], log_end(l[i].log)));
    }
    assert_true(m->syncs_fs > 0);
    assert_true(m->syncs + m->syncs_fs < 200); /* fewer than one for each file and round */
    bench_power_cut(b, BENCH_LOSE_ALL);
    assert_int_equal(bench_start(b), ERR_NONE);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(bench_open(b, &l[i], "many", i), ERR_NONE);
        assert_int_equal(log_end(l[i].log), 10);
        assert_int_equal(bench_read_all(b, l[i].log, 0, LOG_UPTO_END, 900, true).next, 10);
    }
    bench_end(b);
}
