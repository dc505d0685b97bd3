/* Log start offsets that somebody was told are safe: what it costs, and that no crash brings back what lies before them. */
#include "base/text.h"
#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <errno.h>
#include <string.h>

enum { LOGS = 12, RECORDS = 60 };

static struct bench *bench_of(uint32_t segment_bytes) {
    struct bench *b = bench_new(BENCH_SIM, 11);
    bench_config(b)->segment_bytes = segment_bytes;
    bench_config(b)->retention_ms = -1;
    bench_config(b)->file_delete_delay_ms = 100;
    return b;
}

static void open_filled(struct bench *b, struct bench_log *l, partition_index partition) {
    assert_int_equal(bench_open(b, l, "orders", partition), ERR_NONE);
    while (log_end(l->log) < RECORDS) assert_int_equal(bench_append_durably(b, l, 0, 2, 150), ERR_NONE);
    log_high_watermark_set(l->log, log_end(l->log));
}

/* Twelve logs of two shards ask in one turn: the file is written once for those of a shard, and after a power cut that takes
 * all that was not synced each start is there. Asking again costs nothing. */
TEST(log_starts_of_a_turn_share_a_write) {
    struct bench *b = bench_of(1 << 20);
    struct bench_log l[LOGS];
    struct waiting waiting[LOGS], one;
    bench_shards(b, 2);
    assert_int_equal(bench_start(b), ERR_NONE);
    for (int i = 0; i < LOGS; i++) {
        bench_on_shard(b, (uint32_t)i % 2);
        open_filled(b, &l[i], i);
    }
    bench_pass(b, 20);
    bench_on_shard(b, 0);
    waiting_init(&one);
    uint64_t before = sim_disk_operations(bench_disk(b));
    assert_int_equal(log_start_set(l[0].log, 3), ERR_NONE);
    assert_int_equal(log_start_flush(l[0].log, &one.wait), ERR_AGAIN);
    assert_int_equal(bench_wait(b, &one, ERR_AGAIN), ERR_NONE);
    uint64_t of_one = sim_disk_operations(bench_disk(b)) - before;
    before += of_one;
    for (int i = 0; i < LOGS; i++) {
        waiting_init(&waiting[i]);
        assert_int_equal(log_start_set(l[i].log, 10 + i), ERR_NONE);
        assert_int_equal(log_start_flush(l[i].log, &waiting[i].wait), ERR_AGAIN);
    }
    for (int i = 0; i < LOGS; i++) {
        assert_true(bench_until(b, &waiting[i].done));
        assert_int_equal(waiting[i].err, ERR_NONE);
    }
    assert_true(sim_disk_operations(bench_disk(b)) - before <= 2 * of_one);
    for (int i = 0; i < LOGS; i++) assert_int_equal(log_start_flush(l[i].log, &waiting[i].wait), ERR_NONE);
    bench_power_cut(b, BENCH_LOSE_ALL);
    assert_int_equal(bench_start(b), ERR_NONE);
    for (int i = 0; i < LOGS; i++) {
        bench_on_shard(b, (uint32_t)i % 2);
        assert_int_equal(bench_open(b, &l[i], "orders", i), ERR_NONE);
        assert_int_equal(log_start(l[i].log), 10 + i);
        assert_int_equal(bench_read_all(b, l[i].log, 10 + i, LOG_UPTO_END, 700, true).next, RECORDS);
    }
    bench_stop(b);
    bench_free(b);
}

/* The power is cut at every change of the disk while a start moves over several segments, which then go: once the answer was
 * given the start is never below it. */
TEST(log_start_is_safe_at_every_cut) {
    bool whole = false;
    uint32_t told = 0;
    for (uint64_t cut = 0; !whole; cut++) {
        struct bench *b = bench_of(2000);
        struct bench_log l;
        struct waiting w;
        assert_int_equal(bench_start(b), ERR_NONE);
        open_filled(b, &l, 0);
        bench_pass(b, 100);
        sim_disk_cut_after(bench_disk(b), cut);
        waiting_init(&w);
        assert_int_equal(log_start_set(l.log, 37), ERR_NONE);
        bool safe = bench_wait(b, &w, log_start_flush(l.log, &w.wait)) == ERR_NONE;
        told += safe;
        whole = bench_pass(b, 500) && !bench_is_stuck(b);
        bench_power_cut(b, cut % 2 ? BENCH_LOSE_ALL : BENCH_RANDOM);
        assert_int_equal(bench_start(b), ERR_NONE);
        assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
        assert_true(log_start(l.log) <= 37);
        if (safe) assert_int_equal(log_start(l.log), 37);
        assert_int_equal(bench_read_all(b, l.log, log_start(l.log), LOG_UPTO_END, 700, true).next, RECORDS);
        bench_stop(b);
        bench_free(b);
    }
    assert_true(told > 10); /* cuts while the segments went */
}

/* The segments below a start cannot be renamed: the log fails, and the start still has its line when the file is written
 * again. */
TEST(log_start_is_safe_when_segments_cannot_go) {
    struct bench *b = bench_of(2000);
    struct bench_log l;
    struct waiting w;
    assert_int_equal(bench_start(b), ERR_NONE);
    open_filled(b, &l, 0);
    bench_pass(b, 100);
    waiting_init(&w);
    sim_disk_fail(bench_disk(b), &(struct sim_disk_fault){.operations = SIM_DISK_NAMES, .path_part = "orders-0", .error = -EIO});
    assert_int_equal(log_start_set(l.log, 37), ERR_NONE);
    assert_int_equal(bench_wait(b, &w, log_start_flush(l.log, &w.wait)), ERR_NONE);
    bench_pass(b, 100);
    assert_int_equal(l.failed_told, 1);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_store_checkpoint(bench_store(b), &w.wait)), ERR_NONE);
    sim_disk_heal(bench_disk(b));
    bench_kill(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_start(l.log), 37);
    bench_stop(b);
    bench_free(b);
}

/* The file cannot be written: who asked hears of it, and a full disk is no reason to give up the directory. A log that is
 * deleted meanwhile, or a store that is stopped, answers, too. */
TEST(log_start_that_cannot_be_filed_is_told) {
    static const int errors[] = {-ENOSPC, -EIO};
    for (int i = 0; i < 4; i++) {
        struct bench *b = bench_of(1 << 20);
        struct bench_log l;
        struct waiting w, gone;
        assert_int_equal(bench_start(b), ERR_NONE);
        open_filled(b, &l, 0);
        waiting_init(&w);
        waiting_init(&gone);
        if (i < 2) sim_disk_fail(bench_disk(b), &(struct sim_disk_fault){.operations = SIM_DISK_WRITE, .path_part = "log-start", .error = errors[i]});
        assert_int_equal(log_start_set(l.log, 37), ERR_NONE);
        assert_int_equal(log_start_flush(l.log, &w.wait), ERR_AGAIN);
        if (i == 2) assert_int_equal(bench_wait(b, &gone, log_delete(l.log, &gone.wait)), ERR_NONE);
        if (i == 3) bench_stop(b);
        else if (i == 2) assert_true(bench_until(b, &w.done));
        else assert_int_equal(bench_wait(b, &w, ERR_AGAIN), i == 0 ? ERR_NO_SPACE : ERR_IO);
        assert_true(w.done);
        if (i < 2) assert_int_equal(log_dir_is_online(log_dirs_at(bench_dirs(b), 0)), i == 0);
        if (i == 0) {
            sim_disk_heal(bench_disk(b));
            waiting_init(&w);
            assert_int_equal(bench_wait(b, &w, log_start_flush(l.log, &w.wait)), ERR_NONE);
        }
        if (i == 1) bench_kill(b);
        else if (i != 3) bench_stop(b);
        bench_free(b);
    }
}

static void checkpointed(struct bench *b) {
    struct waiting w;
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_store_checkpoint(bench_store(b), &w.wait)), ERR_NONE);
}

/* A log that started at 37 is deleted, or lies in a folder of another topic's, and the process is killed before the checkpoints
 * are written again. One of the same name that is made after the start, and killed at any time, has all of its records. */
TEST(log_start_of_one_that_is_gone_is_not_inherited) {
    for (int another = 0; another < 2; another++) {
        struct bench *b = bench_of(1 << 20);
        struct bench_log l = {0};
        struct waiting w;
        assert_int_equal(bench_start(b), ERR_NONE);
        open_filled(b, &l, 0);
        waiting_init(&w);
        assert_int_equal(log_start_set(l.log, 37), ERR_NONE);
        assert_int_equal(bench_wait(b, &w, log_start_flush(l.log, &w.wait)), ERR_NONE);
        checkpointed(b);
        static const char id[] = "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ";
        bench_file_write(b, "orders-0/partition.metadata", id, sizeof id - 1);
        waiting_init(&w);
        if (!another) assert_int_equal(bench_wait(b, &w, log_delete(l.log, &w.wait)), ERR_NONE);
        bench_kill(b);
        for (int life = 0; life < 2; life++) {
            assert_int_equal(bench_start(b), ERR_NONE);
            struct log_dir *found = log_dirs_find(bench_dirs(b), "orders", 0);
            assert_int_equal(found != NULL, another || life > 0);
            struct log_spec spec = {.dir = found ? found : log_dirs_at(bench_dirs(b), 0), .topic = "orders", .partition = 0, .create = true, .strays = true,
                                    .config = *bench_config(b), .owner = &l.owner};
            memset(&spec.topic_id, 9, sizeof spec.topic_id);
            assert_int_equal(log_new(&l.log, bench_store(b), &spec), ERR_NONE);
            waiting_init(&w);
            assert_int_equal(bench_wait(b, &w, log_open(l.log, &w.wait)), ERR_NONE);
            assert_int_equal(log_start(l.log), 0);
            assert_int_equal(log_end(l.log), life * 20);
            for (int i = 0; i < 10; i++) assert_int_equal(bench_append_durably(b, &l, 0, 2, 150), ERR_NONE);
            assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, life * 20 + 20);
            bench_kill(b);
        }
        bench_free(b);
    }
}

static int count_ending(void *context, const char *name, bool is_directory) {
    uint32_t *counts = context;
    const char *dot = strrchr(name, '-');
    counts[0] += is_directory && dot && strcmp(dot, "-delete") == 0;
    counts[1] += is_directory && dot && strcmp(dot, "-stray") == 0;
    return 0;
}

/* What a process has renamed for deletion and not deleted goes as long after the next start as files are kept; strays stay. */
TEST(log_folders_to_delete_go_after_a_start) {
    struct bench *b = bench_of(1 << 20);
    struct bench_log l;
    struct waiting w;
    struct io_files files = bench_files(b);
    bench_config(b)->file_delete_delay_ms = 60000;
    bench_options(b)->delete_delay_ms = 5000;
    assert_int_equal(bench_start(b), ERR_NONE);
    open_filled(b, &l, 0);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_delete(l.log, &w.wait)), ERR_NONE);
    bench_kill(b);
    assert_int_equal(files.vtable->make_directory(files.self, "/data/orders-1.0123456789abcdef0123456789abcdef-stray"), 0);
    assert_int_equal(bench_start(b), ERR_NONE);
    for (int late = 0; late < 2; late++) {
        uint32_t counts[2] = {0};
        assert_true(bench_pass(b, 3000));
        assert_int_equal(files.vtable->list(files.self, bench_dir(b), count_ending, counts), 0);
        assert_int_equal(counts[0], !late);
        assert_int_equal(counts[1], 1);
    }
    bench_stop(b);
    bench_free(b);
}
