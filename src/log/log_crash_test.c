#include "base/text.h"
#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <stdio.h>
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
        for (int k = 0; k < 3; k++) {
            enum err err = bench_append(b, l->log, (leader_epoch)life->epoch, 2, 150, NULL);
            if (err == ERR_NO_MEMORY) err = bench_append(b, l->log, (leader_epoch)life->epoch, 2, 150, NULL);
            if (err) return false;
        }
        if (!bench_until_durable(b, l, log_end(l->log))) return false;
        log_store_check(bench_store(b));
        life->durable = log_durable(l->log);
    }
    return true;
}

static bool waited(struct bench *b, struct waiting *w, enum err err) { return bench_wait(b, w, err) == ERR_NONE; }

static bool live(struct bench *b, struct life *life, uint64_t fail_allocation) {
    struct bench_log l, other;
    struct waiting w;
    if (bench_start(b)) return false;
    bench_pool(b)->fail_at = fail_allocation;
    if (bench_open(b, &l, "orders", 0)) return false;
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
    bench_started(b, &l);
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
        bool whole = live(b, &life, 0);
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

/* The n-th operation of one kind fails with EIO, for each n: whatever waits is answered, nothing that was acknowledged is
 * gone after a restart, and the log goes on. */
static void fail_each(unsigned operations, uint64_t at_least) {
    uint64_t n = 0;
    for (;; n++) {
        struct bench *b = bench_for_life(n + 1, true);
        struct life life = {.cut = -1, .fsync = true};
        struct sim_disk_fault fault = {.operations = operations, .skip = n, .times = 1, .error = -EIO};
        uint64_t before = bench_faults(b);
        sim_disk_fail(bench_disk(b), &fault);
        bool whole = live(b, &life, 0);
        bool reached = bench_faults(b) > before;
        sim_disk_heal(bench_disk(b));
        (void)whole;
        bench_kill(b);
        look(b, &life, true);
        bench_free(b);
        if (!reached) break;
    }
    assert_true(n >= at_least);
}
TEST(log_survives_each_failed_write) { fail_each(SIM_DISK_WRITE, 50); }
TEST(log_survives_each_failed_sync) { fail_each(SIM_DISK_SYNC, 50); }
TEST(log_survives_each_failed_open) { fail_each(SIM_DISK_OPEN, 20); }
TEST(log_survives_each_failed_read) { fail_each(SIM_DISK_READ, 5); }
TEST(log_survives_each_failed_change_of_names) { fail_each(SIM_DISK_NAMES, 10); }
TEST(log_survives_each_failed_truncate_allocate_or_stat) { fail_each(SIM_DISK_TRUNCATE | SIM_DISK_ALLOCATE | SIM_DISK_STAT, 5); }

/* The n-th allocation fails, for each n: an answer, or another try a second later; never a wrong log, never a hang. */
TEST(log_survives_each_failed_allocation) {
    uint64_t n = 1, ended = 0;
    for (;; n++) {
        struct bench *b = bench_for_life(n, true);
        struct life life = {.cut = -1, .fsync = true};
        bool whole = live(b, &life, n);
        bool reached = !whole || bench_pool(b)->fail_at == 0;
        ended += whole;
        bench_kill(b);
        look(b, &life, true);
        bench_free(b);
        if (!reached) break;
    }
    assert_true(n > 100);
    assert_true(ended > n / 2); /* most are only a delay */
}

/* The disk fills up, at each possible byte count in turn: the log stops with ERR_NO_SPACE and nothing acknowledged is lost;
 * with space again it opens and goes on, in the same process. */
TEST(log_on_a_full_disk) {
    for (uint64_t room = 0; room < 9000; room += 333) {
        struct bench_log l;
        struct waiting w;
        struct bench *b = bench_for_life(room + 1, true);
        bench_started(b, &l);
        for (int i = 0; i < 5; i++) assert_int_equal(bench_append_durably(b, &l, 0, 2, 150), ERR_NONE);
        sim_disk_set_capacity(bench_disk(b), sim_disk_used(bench_disk(b)) + room);
        enum err err = ERR_NONE;
        for (int i = 0; i < 60 && !err; i++) err = bench_append_durably(b, &l, 0, 2, 150);
        assert_int_equal(err, ERR_NO_SPACE);
        assert_int_equal(l.failed_told, 1);
        assert_int_equal(log_state(l.log), LOG_FAILED);
        log_offset durable = log_durable(l.log);
        sim_disk_set_capacity(bench_disk(b), 0);
        waiting_init(&w);
        assert_int_equal(bench_wait(b, &w, log_open(l.log, &w.wait)), ERR_NONE);
        l.failed_told = 0;
        assert_true(log_end(l.log) >= durable);
        assert_int_equal(bench_append_durably(b, &l, 1, 2, 150), ERR_NONE);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 1000, true).next, log_end(l.log));
        bench_end(b);
    }
}

/* Below the reserve client topics are refused at once and others go on; with space again all go on by themselves. */
TEST(log_keeps_the_disk_reserve) {
    struct bench_log l, internal;
    struct bench *b = bench_for_life(1, true);
    bench_reserve(b, 500000);
    sim_disk_set_capacity(bench_disk(b), 600000);
    bench_started(b, &l);
    bench_config(b)->may_use_reserve = true;
    assert_int_equal(bench_open(b, &internal, "__consumer_offsets", 0), ERR_NONE);
    enum err err = ERR_NONE;
    for (int i = 0; i < 1000 && !err; i++) {
        err = bench_append_durably(b, &l, 0, 2, 1500);
        if (i % 20 == 0) assert_true(bench_pass(b, 1100)); /* the space is measured each second */
    }
    assert_int_equal(err, ERR_NO_SPACE);
    assert_int_equal(log_state(l.log), LOG_OPEN);
    assert_int_equal(bench_append_durably(b, &internal, 0, 2, 150), ERR_NONE);
    sim_disk_set_capacity(bench_disk(b), 5000000);
    assert_int_equal(bench_append(b, l.log, 0, 2, 150, NULL), ERR_NO_SPACE);
    assert_true(bench_pass(b, 2500));
    assert_int_equal(bench_append_durably(b, &l, 0, 2, 150), ERR_NONE);
    bench_stop(b);
    bench_free(b);
}

/* ---- Torn ends, rot, wrong indexes */

static void unclean(struct bench *b) {
    bench_file_remove(b, ".kafka_cleanshutdown");
    bench_file_remove(b, "recovery-point-offset-checkpoint");
}

/* The last batch is cut at each of its bytes: it goes as a whole and nothing else does; what was cut is kept aside. Of its
 * first bytes, which are zeros, nothing is told: that may be room that was made in advance. */
TEST(log_recovers_from_a_tail_torn_at_every_byte) {
    static uint8_t bytes[1 << 16];
    uint32_t last = 0;
    for (uint32_t kept = 0; kept == 0 || kept < last; kept++) {
        struct bench_log l;
        struct bench *b = bench_for_life(1, true);
        bench_config(b)->segment_bytes = 1 << 20;
        bench_started(b, &l);
        for (int i = 0; i < 10; i++) assert_int_equal(bench_append_durably(b, &l, 2, 2, 40), ERR_NONE);
        bench_stop(b);
        size_t size = bench_file_read(b, "orders-0/00000000000000000000.log", bytes, sizeof bytes);
        last = (uint32_t)(size / 10) + 3;
        struct span rest = span_of(bytes, size);
        struct batch batch;
        while (batch_next(&rest, &batch) == ERR_NONE) last = batch.size;
        bench_file_write(b, "orders-0/00000000000000000000.log", bytes, size - last + kept);
        unclean(b);
        bench_started(b, &l);
        assert_int_equal(log_end(l.log), 18);
        assert_int_equal(log_report(l.log)->cut_at, kept > 7 ? 18 : -1);
        assert_int_equal(log_report(l.log)->cut_bytes, kept > 7 ? kept : 0);
        if (kept > 7) assert_int_equal(bench_file_size(b, "orders-0/moldau.cut-00000000000000000018"), kept);
        assert_int_equal(bench_append_durably(b, &l, 3, 2, 40), ERR_NONE);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 1000, true).next, 20);
        bench_stop(b);
        bench_free(b);
    }
}

/* How many bytes of the file are batches; what lies behind them must be zeros. */
static size_t batches_in(struct bench *b, const char *name, size_t *size) {
    static uint8_t bytes[1 << 17];
    *size = bench_file_read(b, name, bytes, sizeof bytes);
    struct span rest = span_of(bytes, *size);
    struct batch batch;
    while (batch_next(&rest, &batch) == ERR_NONE) {}
    for (size_t i = 0; i < rest.size; i++) assert_int_equal(rest.data[i], 0);
    return *size - rest.size;
}

/* A log that is synced again and again grows by more than it needs, in steps: seen in the size of its file. What is not
 * needed goes at a clean stop, when it is left alone for some seconds, and after a kill without a word of anything lost. */
TEST(log_makes_room_and_takes_it_back) {
    for (int killed = 0; killed < 2; killed++) {
        struct bench_log l;
        size_t size, used, grown = 0, last = 0;
        struct bench *b = bench_for_life(1, true);
        bench_config(b)->segment_bytes = 1 << 20;
        bench_started(b, &l);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(bench_append_durably(b, &l, 2, 2, 150), ERR_NONE);
            used = batches_in(b, "orders-0/00000000000000000000.log", &size);
            if (i < 20) assert_int_equal(size, used); /* it is not known yet that there will be many */
            else grown += size != last;
            last = size;
        }
        assert_true(size > used);
        assert_true(grown < 10); /* of 100 syncs the others found the room made */
        if (killed) bench_kill(b);
        else bench_stop(b);
        if (!killed) assert_int_equal(bench_file_size(b, "orders-0/00000000000000000000.log"), used);
        bench_started(b, &l);
        assert_int_equal(bench_file_size(b, "orders-0/00000000000000000000.log"), used);
        assert_int_equal(log_end(l.log), 200);
        assert_int_equal(log_report(l.log)->cut_at, -1);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 100000, true).next, 200);
        bench_stop(b);
        bench_free(b);
    }
}

TEST(log_gives_room_back_when_nothing_comes) {
    struct bench_log l;
    size_t size;
    struct bench *b = bench_for_life(1, true);
    bench_config(b)->segment_bytes = 1 << 20;
    bench_started(b, &l);
    for (int round = 1; round <= 2; round++) {
        struct waiting w;
        for (int i = 0; i < 50; i++) assert_int_equal(bench_append_durably(b, &l, 2, 2, 150), ERR_NONE);
        size_t used = batches_in(b, "orders-0/00000000000000000000.log", &size);
        assert_true(used < size);
        assert_true(bench_pass(b, 4000));
        assert_int_equal(batches_in(b, "orders-0/00000000000000000000.log", &size), used);
        assert_int_equal(size, used);
        waiting_init(&w);
        assert_int_equal(bench_wait(b, &w, log_open(l.log, &w.wait)), ERR_NONE); /* as whoever comes next does */
        assert_int_equal(log_end(l.log), 100 * round);
    }
    bench_stop(b);
    bench_free(b);
}

/* When a segment ends, its room goes before the next one exists: to Apache Kafka zeros are damage, behind which it deletes. */
TEST(log_leaves_no_room_before_another_segment) {
    struct bench_log l;
    struct bench *b = bench_for_life(1, true);
    size_t size;
    char name[64];
    bench_config(b)->segment_bytes = 40000;
    bench_started(b, &l);
    for (int i = 0; i < 50; i++) assert_int_equal(bench_append_durably(b, &l, 2, 2, 150), ERR_NONE);
    assert_int_equal(batches_in(b, "orders-0/00000000000000000000.log", &size), log_size(l.log));
    assert_true(size > log_size(l.log));
    assert_int_equal(log_roll(l.log), ERR_NONE);
    log_offset base = log_end(l.log);
    assert_int_equal(bench_append(b, l.log, 2, 2, 150, NULL), ERR_NONE);
    snprintf(name, sizeof name, "orders-0/%020lld.log", (long long)base);
    for (int i = 0; i < 1000 && bench_file_size(b, name) < 0; i++) bench_turns(b, 1);
    assert_true(bench_file_size(b, name) >= 0);
    size_t used = batches_in(b, "orders-0/00000000000000000000.log", &size);
    assert_int_equal(size, used);
    assert_true(bench_until_durable(b, &l, log_end(l.log)));
    bench_stop(b);
    bench_free(b);
}

/* Each byte of the last batch is changed in turn. What its checksum covers ends the log before it. */
TEST(log_recovers_from_rot_in_its_last_batch) {
    static uint8_t bytes[1 << 16];
    uint32_t last = 100;
    for (uint32_t at = 0; at < last; at++) {
        struct bench_log l;
        struct bench *b = bench_for_life(1, true);
        bench_config(b)->segment_bytes = 1 << 20;
        bench_started(b, &l);
        for (int i = 0; i < 4; i++) assert_int_equal(bench_append_durably(b, &l, 2, 2, 40), ERR_NONE);
        bench_stop(b);
        size_t size = bench_file_read(b, "orders-0/00000000000000000000.log", bytes, sizeof bytes);
        struct span rest = span_of(bytes, size);
        struct batch batch;
        while (batch_next(&rest, &batch) == ERR_NONE) last = batch.size;
        bytes[size - last + at] ^= 0x81;
        bench_file_write(b, "orders-0/00000000000000000000.log", bytes, size);
        unclean(b);
        bench_started(b, &l);
        bool covered = at >= BATCH_AT_MAGIC || (at >= BATCH_AT_LENGTH && at < BATCH_AT_LEADER_EPOCH);
        if (covered) assert_int_equal(log_end(l.log), 6);
        log_store_check(bench_store(b));
        assert_int_equal(bench_append_durably(b, &l, 0x7fffffff, 2, 40), ERR_NONE);
        bench_stop(b);
        bench_free(b);
    }
}

static enum err read_at(struct bench *b, struct log *log, log_offset from, uint32_t bytes_max, struct chain *chain) {
    struct log_read read = {.log = log, .from = from, .bytes_max = bytes_max, .upto = LOG_UPTO_END, .out = chain};
    return bench_read(b, &read);
}

/* Rot in old data is seen before a reader gets it [L3]: whoever comes for the damaged batch is told, those before it and
 * those behind it are given; once verified, a range is not verified again. The damage stops a metadata log from opening;
 * nothing of it is cut. */
TEST(log_rot_below_the_recovery_point) {
    struct bench_log l;
    struct bench *b = bench_for_life(1, true);
    bench_config(b)->segment_bytes = 1 << 20;
    bench_started(b, &l);
    for (int i = 0; i < 20; i++) assert_int_equal(bench_append_durably(b, &l, 2, 2, 40), ERR_NONE);
    bench_stop(b);
    uint64_t at[20];
    for (uint32_t i = 0; i < countof(at); i++) at[i] = bench_batch_at(b, i);
    assert_int_equal(sim_disk_rot(bench_disk(b), "/data/orders-0/00000000000000000000.log", at[3] + 70, 4), 0);
    bench_started(b, &l);
    struct arena arena;
    struct chain chain;
    arena_init(&arena, bench_pool(b), 0);
    chain_init(&chain, &arena);
    const struct log_metrics *metrics = log_store_metrics(bench_store(b));
    assert_int_equal(read_at(b, l.log, 0, 900, &chain), ERR_NONE); /* three batches, and then it ends */
    assert_int_equal(chain.first->kind, SLICE_FILE);
    assert_int_equal(chain.bytes, at[3]);
    chain_clear(&chain);
    assert_int_equal(read_at(b, l.log, 6, 900, &chain), ERR_CORRUPT);
    assert_int_equal(read_at(b, l.log, 7, 900, &chain), ERR_CORRUPT);
    assert_int_equal(metrics->reads_corrupt, 2);
    assert_int_equal(chain.bytes, 0);
    uint32_t cut = (uint32_t)(at[6] - at[4]) + 10;
    assert_int_equal(read_at(b, l.log, 8, cut, &chain), ERR_NONE); /* the last one is cut */
    assert_int_equal(chain.bytes, cut);
    uint64_t verified = metrics->reads_verified;
    chain_clear(&chain);
    assert_int_equal(read_at(b, l.log, 10, (uint32_t)(at[7] - at[5]), &chain), ERR_NONE); /* verified with the one before */
    assert_int_equal(metrics->reads_verified, verified);
    chain_clear(&chain);
    arena_destroy(&arena);
    bench_stop(b);
    int64_t size = bench_file_size(b, "orders-0/00000000000000000000.log");
    bench_config(b)->verify_from_start = true;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_CORRUPT);
    assert_int_equal(log_state(l.log), LOG_FAILED);
    assert_int_equal(bench_file_size(b, "orders-0/00000000000000000000.log"), size);
    bench_stop(b);
    bench_free(b);
}

/* A send that finds pages gone verifies what it brings in [L3]. Rot comes into a range after it was verified and given; then
 * nothing of a piece that touches the damaged batch is let through, wherever in the range the send stands, while pieces
 * that do not touch it are. After that the log's own reads verify again, and tell. */
TEST(log_rot_between_the_check_and_the_send) {
    struct bench_log l;
    struct bench *b = bench_for_life(1, true);
    bench_config(b)->segment_bytes = 1 << 20;
    bench_started(b, &l);
    for (int i = 0; i < 20; i++) assert_int_equal(bench_append_durably(b, &l, 2, 2, 40), ERR_NONE);
    bench_stop(b);
    uint64_t at[20];
    for (uint32_t i = 0; i < countof(at); i++) at[i] = bench_batch_at(b, i);
    bench_started(b, &l);
    struct arena arena;
    struct chain chain;
    struct pool pool;
    arena_init(&arena, bench_pool(b), 0);
    chain_init(&chain, &arena);
    pool_init_child(&pool, bench_pool(b), 0);
    assert_int_equal(read_at(b, l.log, 4, (uint32_t)(at[12] - at[2]), &chain), ERR_NONE);
    assert_int_equal(sim_disk_rot(bench_disk(b), "/data/orders-0/00000000000000000000.log", at[6] + 70, 4), 0);
    struct slice *slice = chain.first;
    assert_int_equal(slice->file.begin, at[2]);
    for (uint64_t from = at[2]; from < at[12]; from += 37) {
        uint64_t size = at[12] - from < 150 ? at[12] - from : 150;
        bool touches = from < at[7] && from + size > at[6];
        assert_int_equal(log_warm(bench_files(b), &pool, slice->file.file, at[2], from, size), touches ? -EBADMSG : 0);
    }
    chain_clear(&chain);
    assert_int_equal(read_at(b, l.log, 12, 900, &chain), ERR_CORRUPT);
    assert_int_equal(read_at(b, l.log, 14, 900, &chain), ERR_NONE);
    chain_clear(&chain);
    pool_destroy(&pool);
    arena_destroy(&arena);
    bench_stop(b);
    bench_free(b);
}

/* Indexes are hints (L6): with any byte of them changed, or with pieces missing, every read and look-up says the same. */
TEST(log_answers_do_not_depend_on_indexes) {
    struct random random;
    random_seed(&random, 4);
    for (int round = 0; round < 60; round++) {
        static uint8_t bytes[1 << 16];
        struct bench_log l;
        struct bench *b = bench_for_life((uint64_t)round + 1, true);
        bench_started(b, &l);
        for (int i = 0; i < 40; i++) assert_int_equal(bench_append_durably(b, &l, 2, 2, 150), ERR_NONE);
        bench_stop(b);
        for (log_offset base = 0; base < 80; base++) {
            for (int kind = 0; kind < 2; kind++) {
                char name[64];
                struct text text;
                text_init(&text, name, sizeof name);
                text_add(&text, "orders-0/%020lld%s", (long long)base, kind ? ".timeindex" : ".index");
                int64_t size = bench_file_size(b, name);
                if (size <= 0) continue;
                uint64_t what = random_below(&random, 4);
                bench_file_read(b, name, bytes, sizeof bytes);
                for (uint64_t i = 0; i < 1 + what; i++) bytes[random_below(&random, (uint64_t)size)] ^= (uint8_t)(1u << random_below(&random, 8));
                if (what == 3) bench_file_remove(b, name);
                else bench_file_write(b, name, bytes, what == 2 ? random_below(&random, (uint64_t)size) : (size_t)size);
            }
        }
        bench_started(b, &l);
        assert_int_equal(log_end(l.log), 80);
        log_high_watermark_set(l.log, 72);
        for (log_offset from = 0; from < 80; from += 3) {
            assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_END, 900, true).next, 80);
            struct bench_seen seen = bench_read_all(b, l.log, from, LOG_UPTO_HIGH_WATERMARK, 900, true);
            assert_int_equal(seen.next, from > 72 ? from : 72);
            struct log_lookup lookup = {.log = l.log, .timestamp = 1000 + from, .upto = LOG_UPTO_END};
            assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
            assert_int_equal(lookup.offset, from);
        }
        struct log_lookup lookup = {.log = l.log, .timestamp = LOG_TIME_MAX, .upto = LOG_UPTO_END};
        assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
        assert_int_equal(lookup.offset, 79);
        bench_end(b);
    }
}

/* Truncated below its recovery point and then written to, with the power cut at each operation: what is torn then is a torn
 * end, not rot below a recovery point of before the cut. */
TEST(log_truncated_below_its_recovery_point_then_cut) {
    uint64_t before = 0;
    for (uint64_t n = 0;; n++) {
        struct bench_log l;
        struct waiting w;
        struct bench *b = bench_for_life(n + 1, true);
        bench_options(b)->recovery_checkpoint_ms = 1000;
        bench_started(b, &l);
        for (int i = 0; i < 20; i++) assert_int_equal(bench_append_durably(b, &l, 1, 2, 150), ERR_NONE);
        assert_true(bench_pass(b, 3500));
        assert_int_equal(log_recovery_point(l.log), 40);
        sim_disk_cut_after(bench_disk(b), n);
        before = sim_disk_operations(bench_disk(b));
        waiting_init(&w);
        log_offset durable = 0;
        bool whole = bench_wait(b, &w, log_truncate(l.log, 12, &w.wait)) == ERR_NONE;
        for (int i = 0; i < 6 && whole; i++) {
            durable = log_end(l.log);
            whole = bench_append_durably(b, &l, 2, 2, 600) == ERR_NONE;
        }
        before = sim_disk_operations(bench_disk(b)) - before;
        bench_power_cut(b, BENCH_RANDOM);
        bench_started(b, &l);
        assert_true(log_report(l.log)->damaged_at < 0);
        assert_false(log_report(l.log)->flushed_lost);
        assert_true(log_end(l.log) >= durable);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 1000, true).next, log_end(l.log));
        bench_stop(b);
        bench_free(b);
        if (whole) break;
    }
    assert_true(before > 15);
}

/* A checkpoint fails with EIO while a truncation waits for its own: the directory is dead, so nothing is cut, and the
 * recovery point that the files still name is not past the end. */
TEST(log_cuts_nothing_in_a_directory_that_failed) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct bench_log l;
        struct waiting checkpoint, cut;
        struct bench *b = bench_for_life(seed, true);
        bench_options(b)->recovery_checkpoint_ms = 1000;
        bench_started(b, &l);
        for (int i = 0; i < 20; i++) assert_int_equal(bench_append_durably(b, &l, 1, 2, 150), ERR_NONE);
        assert_true(bench_pass(b, 3500));
        assert_int_equal(log_recovery_point(l.log), 40);
        struct sim_disk_fault fault = {.operations = SIM_DISK_SYNC, .path_part = "log-start-offset-checkpoint", .times = 1, .error = -EIO};
        sim_disk_fail(bench_disk(b), &fault);
        waiting_init(&checkpoint);
        waiting_init(&cut);
        enum err first = log_store_checkpoint(bench_store(b), &checkpoint.wait);
        assert_int_equal(first, ERR_AGAIN);
        assert_int_equal(log_truncate(l.log, 12, &cut.wait), ERR_AGAIN);
        assert_true(bench_until(b, &checkpoint.done) && bench_until(b, &cut.done));
        assert_int_equal(checkpoint.err, ERR_IO);
        assert_int_equal(cut.err, ERR_IO);
        bench_kill(b);
        bench_started(b, &l);
        assert_false(log_report(l.log)->flushed_lost);
        assert_int_equal(log_end(l.log), 40);
        bench_stop(b);
        bench_free(b);
    }
}

/* The sync of a truncation fails, so the disk may still have what was cut. What an opening after that found must not grow
 * when the power goes: the opening makes the end durable that it gives. */
TEST(log_cut_whose_sync_failed_does_not_come_back) {
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct bench_log l;
        struct waiting cut;
        struct bench *b = bench_for_life(seed, true);
        bench_config(b)->segment_bytes = 1 << 20;
        bench_started(b, &l);
        for (int i = 0; i < 10; i++) assert_int_equal(bench_append_durably(b, &l, 1, 2, 150), ERR_NONE);
        struct sim_disk_fault fault = {.operations = SIM_DISK_SYNC, .path_part = ".log", .times = 1, .error = -EIO};
        sim_disk_fail(bench_disk(b), &fault);
        waiting_init(&cut);
        assert_int_equal(bench_wait(b, &cut, log_truncate(l.log, 12, &cut.wait)), ERR_IO);
        bench_kill(b);
        bench_started(b, &l);
        log_offset end = log_end(l.log);
        assert_true(end >= 12);
        bench_power_cut(b, BENCH_LOSE_ALL);
        bench_started(b, &l);
        assert_int_equal(log_end(l.log), end);
        bench_stop(b);
        bench_free(b);
    }
}

/* The start moves to a segment's base, and a checkpoint says so before the segments below have gone. With the power cut at
 * each operation: a start that was filed is never taken back. */
TEST(log_start_that_was_filed_stays) {
    uint64_t reached = 0;
    for (uint64_t n = 0;; n++) {
        struct bench_log l;
        struct waiting w;
        struct bench *b = bench_for_life(n + 1, true);
        bench_started(b, &l);
        log_offset base = -1;
        for (int i = 0; i < 60; i++) {
            log_offset end = log_end(l.log);
            uint32_t segments = log_segments(l.log);
            assert_int_equal(bench_append_durably(b, &l, 1, 2, 150), ERR_NONE);
            if (log_segments(l.log) > segments) base = end; /* a new segment begins there */
        }
        assert_true(base > 0);
        log_high_watermark_set(l.log, log_end(l.log));
        sim_disk_cut_after(bench_disk(b), n);
        assert_int_equal(log_start_set(l.log, base), ERR_NONE);
        waiting_init(&w);
        bool filed = bench_wait(b, &w, log_store_checkpoint(bench_store(b), &w.wait)) == ERR_NONE;
        bool whole = filed && bench_pass(b, 3000);
        bench_power_cut(b, BENCH_LOSE_ALL);
        bench_started(b, &l);
        if (filed) assert_int_equal(log_start(l.log), base);
        bench_stop(b);
        bench_free(b);
        reached = n;
        if (whole) break;
    }
    assert_true(reached > 10);
}
