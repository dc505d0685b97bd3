#include "base/text.h"
#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include "wire/batch.h"
#include <string.h>

/* A life that touches everything that writes: a log is made, filled over several segments, checkpointed, cut, trimmed at
 * its start, filled again, closed; another one is made and deleted. It ends early where the disk is cut. What was told as
 * durable is noted: later it must be there. */
struct life {
    log_offset durable;      /* the largest end that was told, since the last cut by truncation */
    log_offset cut;          /* a truncation to here was asked for: less than `durable` may be there */
    log_offset start;        /* the log start that was set */
    bool fsync;
    uint32_t epoch;
};

static bool fill(struct bench *b, struct bench_log *l, struct life *life, uint32_t batches) {
    for (uint32_t i = 0; i < batches; i++) {
        /* several appends in a turn: they share one write */
        for (int k = 0; k < 3; k++)
            if (bench_append(b, l->log, (leader_epoch)life->epoch, 2, 150, NULL)) return false;
        if (!bench_until_durable(b, l, log_end(l->log))) return false;
        log_store_check(bench_store(b));
        life->durable = log_durable(l->log);
    }
    return true;
}

static bool waited(struct bench *b, struct waiting *w, enum err err) { return bench_wait(b, w, err) == ERR_NONE; }

static bool live(struct bench *b, struct life *life) {
    struct bench_log l, other;
    struct waiting w;
    if (bench_start(b) || bench_open(b, &l, "orders", 0)) return false;
    if (!fill(b, &l, life, 8)) return false;
    log_high_watermark_set(l.log, log_end(l.log));
    waiting_init(&w);
    if (!waited(b, &w, log_store_checkpoint(bench_store(b), &w.wait)) || !bench_pass(b, 61000)) return false;
    life->epoch++;
    if (!fill(b, &l, life, 6)) return false;
    if (bench_open(b, &other, "gone", 3) || bench_append_durably(b, &other, 0, 1, 10)) return false;
    waiting_init(&w);
    life->cut = log_end(l.log) - 7;
    log_offset keep = life->durable;
    life->durable = life->cut - 1; /* the batch that holds it begins at most one offset before */
    if (!waited(b, &w, log_truncate(l.log, life->cut, &w.wait))) return false;
    assert_true(log_end(l.log) <= life->cut && log_end(l.log) >= life->cut - 1 && log_end(l.log) < keep);
    life->cut = -1;
    life->epoch++;
    if (!fill(b, &l, life, 5)) return false;
    waiting_init(&w);
    if (!waited(b, &w, log_delete(other.log, &w.wait))) return false;
    log_high_watermark_set(l.log, log_end(l.log));
    life->start = 20;
    if (log_start_set(l.log, 20)) return false;
    if (!bench_pass(b, 70000) || !fill(b, &l, life, 3)) return false;
    waiting_init(&w);
    if (bench_wait(b, &w, log_store_stop(bench_store(b), &w.wait))) return false;
    log_store_free(bench_store(b));
    log_dirs_close(bench_dirs(b), bench_files(b), true, 7);
    return !bench_is_stuck(b);
}

static void look(struct bench *b, const struct life *life, bool promises) {
    struct bench_log l;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    log_store_check(bench_store(b));
    assert_false(log_report(l.log)->flushed_lost);
    assert_true(log_report(l.log)->damaged_at < 0);
    if (promises) assert_true(log_end(l.log) >= life->durable);
    assert_true(log_start(l.log) <= life->start);
    struct bench_seen seen = bench_read_all(b, l.log, log_start(l.log), LOG_UPTO_END, 3000, true);
    assert_int_equal(seen.next, log_end(l.log));
    assert_int_equal(bench_append_durably(b, &l, 9, 3, 50), ERR_NONE); /* and it goes on */
    struct bench_seen again = bench_read_all(b, l.log, log_start(l.log), LOG_UPTO_END, 100000, true);
    assert_int_equal(again.next, log_end(l.log));
    log_store_check(bench_store(b));
    bench_stop(b);
}

static struct bench *bench_for_life(uint64_t seed, bool fsync) {
    struct bench *b = bench_new(BENCH_SIM, seed);
    bench_config(b)->segment_bytes = 4096;
    bench_config(b)->index_interval_bytes = 300;
    bench_config(b)->file_delete_delay_ms = 1000;
    bench_config(b)->retention_ms = -1;
    bench_config(b)->flush_messages = fsync ? 1 : INT64_MAX;
    bench_options(b)->checkpoint_bytes_min = 100;
    return b;
}

static void cut_everywhere(enum bench_crash crash, bool fsync, bool kill) {
    uint64_t reached = 0;
    for (uint64_t n = 0;; n++) {
        struct bench *b = bench_for_life(n + 1, fsync);
        struct life life = {.cut = -1, .fsync = fsync};
        sim_disk_cut_after(bench_disk(b), n);
        bool whole = live(b, &life);
        reached = n;
        if (kill) sim_disk_cut_after(bench_disk(b), UINT64_MAX); /* the disk is fine, the process is gone */
        if (kill) bench_kill(b);
        else bench_power_cut(b, crash);
        look(b, &life, fsync || kill);
        bench_free(b);
        if (whole) break;
    }
    assert_true(reached > 100);
}

/* Power is cut before each changing operation of the disk in turn; un-synced writes and names are then lost. In fsync mode
 * everything acknowledged is there afterwards, whole and in order, and the log goes on. */
TEST(log_power_cut_everywhere_loses_nothing_acknowledged) { cut_everywhere(BENCH_LOSE_ALL, true, false); }
/* The same, with each un-synced write and name kept, dropped or torn at random. */
TEST(log_power_cut_everywhere_with_torn_writes) { cut_everywhere(BENCH_RANDOM, true, false); }
/* The same, with all un-synced writes kept. */
TEST(log_power_cut_everywhere_with_luck) { cut_everywhere(BENCH_KEEP_ALL, true, false); }
/* In page-cache mode a power cut may take what was acknowledged, but never leaves a log that does not open, or a gap. */
TEST(log_power_cut_everywhere_in_page_cache_mode) { cut_everywhere(BENCH_RANDOM, false, false); }
/* A killed process loses nothing that was acknowledged, in page-cache mode either. */
TEST(log_kill_everywhere_in_page_cache_mode) { cut_everywhere(BENCH_RANDOM, false, true); }
