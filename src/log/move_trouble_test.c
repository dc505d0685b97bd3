/* A move in trouble: called off, its target failing under it, and what other directories' trouble is to a log. */
#include "log/dir.h"
#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <errno.h>
#include <string.h>

static struct bench *two_dirs(struct bench_log *l) {
    struct bench *b = bench_new(BENCH_SIM, 7);
    bench_second_dir(b);
    bench_config(b)->segment_bytes = 4096;
    bench_config(b)->index_interval_bytes = 300;
    bench_config(b)->retention_ms = -1;
    bench_config(b)->file_delete_delay_ms = 0;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, l, "orders", 0), ERR_NONE);
    return b;
}

static struct log_dir *other_dir(struct bench *b, struct log *log) {
    struct log_dirs *dirs = bench_dirs(b);
    return log_dirs_at(dirs, log_dir_of(log) == log_dirs_at(dirs, 0));
}

static void fill(struct bench *b, struct bench_log *l, uint32_t batches) {
    for (uint32_t i = 0; i < batches; i++) assert_int_equal(bench_append_durably(b, l, 0, 2, 150), ERR_NONE);
}

static void begin_at(struct bench *b, struct bench_log *l, log_offset start) {
    struct waiting w;
    log_high_watermark_set(l->log, log_end(l->log));
    assert_int_equal(log_start_set(l->log, start), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_start_flush(l->log, &w.wait)), ERR_NONE);
}

static void rests(struct bench *b, struct log *log) {
    for (int i = 0; i < 20000 && log_move_target(log); i++) bench_turns(b, 1);
    assert_null(log_move_target(log));
}

static int count_future(void *context, const struct log_dir_entry *entry) {
    *(uint32_t *)context += entry->is_future;
    return 0;
}

static uint32_t futures(struct bench *b) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < 2; i++) assert_int_equal(log_dir_scan(log_dirs_at(bench_dirs(b), i), bench_files(b), NULL, count_future, &count), 0);
    return count;
}

/* Called off after each number of turns, also while its log start is written to the new directory's checkpoint: the log is where
 * it was, or had arrived; all of it can be read, and nothing of the move is left. */
TEST(log_move_is_called_off_at_any_time) {
    bool arrived = false;
    for (uint32_t turns = 0; !arrived; turns++) {
        struct bench_log l;
        struct bench *b = two_dirs(&l);
        fill(b, &l, 10);
        begin_at(b, &l, 5);
        struct log_dir *from = log_dir_of(l.log), *target = other_dir(b, l.log);
        assert_int_equal(log_move(l.log, target), ERR_NONE);
        bench_turns(b, turns);
        arrived = log_dir_of(l.log) == target;
        if (!arrived) assert_int_equal(log_move(l.log, from), ERR_NONE);
        rests(b, l.log);
        fill(b, &l, 2);
        assert_int_equal(bench_read_all(b, l.log, 5, LOG_UPTO_END, 700, true).next, 24);
        bench_pass(b, 1000);
        assert_int_equal(futures(b), 0);
        bench_stop(b);
        bench_free(b);
    }
}

/* The target is given up after each number of turns: a log that has not arrived stays where it was, and is written to. */
TEST(log_move_ends_with_its_target) {
    bool arrived = false;
    uint32_t stayed = 0;
    for (uint32_t turns = 0; !arrived; turns++) {
        struct bench_log l;
        struct bench *b = two_dirs(&l);
        fill(b, &l, 10);
        begin_at(b, &l, 5);
        struct log_dir *from = log_dir_of(l.log), *target = other_dir(b, l.log);
        assert_int_equal(log_move(l.log, target), ERR_NONE);
        bench_turns(b, turns);
        arrived = log_dir_of(l.log) == target;
        if (!arrived) {
            log_dir_fail(target);
            rests(b, l.log);
            bool stayed_there = log_dir_of(l.log) == from; /* else its last job was under way */
            stayed += stayed_there;
            assert_true(stayed_there || turns > 0);
            if (stayed_there) fill(b, &l, 2);
        }
        bench_stop(b);
        bench_free(b);
    }
    assert_true(stayed > 1);
}

/* The n-th sync fails in the new directory, of a file or of the names; where the log has not arrived it goes on in the old one,
 * which nobody blames. What it acknowledged then is there after a power cut, whatever became of the names. */
TEST(log_move_a_sync_fails_in_the_new_directory) {
    bool arrived = false;
    uint32_t stayed = 0;
    for (uint64_t nth = 0; !arrived; nth++) {
        for (int how = 0; how < 3; how++) {
            struct bench_log l;
            struct bench *b = two_dirs(&l);
            fill(b, &l, 10);
            begin_at(b, &l, 5);
            struct log_dir *from = log_dir_of(l.log), *target = other_dir(b, l.log);
            char path[PATH_MAX_BYTES];
            strcpy(path, log_dir_path(target));
            sim_disk_fail(bench_disk(b), &(struct sim_disk_fault){.operations = SIM_DISK_SYNC, .path_part = path, .skip = nth, .times = 1, .error = -EIO});
            assert_int_equal(log_move(l.log, target), ERR_NONE);
            rests(b, l.log);
            arrived = log_dir_of(l.log) == target;
            assert_true(log_dir_is_online(from));
            log_offset end = 20;
            if (!arrived) {
                stayed++;
                fill(b, &l, 2);
                end += 4;
            }
            sim_disk_heal(bench_disk(b));
            static const enum bench_crash crashes[] = {BENCH_LOSE_ALL, BENCH_RANDOM, BENCH_KEEP_ALL};
            bench_power_cut(b, crashes[how]);
            assert_int_equal(bench_start(b), ERR_NONE);
            assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
            rests(b, l.log); /* it goes on by itself */
            assert_int_equal(bench_read_all(b, l.log, 5, LOG_UPTO_END, 700, true).next, end);
            bench_stop(b);
            bench_free(b);
        }
    }
    assert_true(stayed > 10);
}

/* A move that was called off and one that came after it may both have left a folder, if the process is killed then: the next one
 * goes on with one of them, and the other is gone. */
TEST(log_move_leaves_one_future) {
    struct bench_log l;
    struct bench *b = two_dirs(&l);
    fill(b, &l, 10);
    bench_kill(b);
    static const char *const left[] = {"/data/orders-0.00112233445566778899aabbccddeeff-future", "/data/orders-0.10112233445566778899aabbccddeeff-future",
                                       "/data2/orders-0.20112233445566778899aabbccddeeff-future", "/data2/orders-0.30112233445566778899aabbccddeeff-future"};
    for (size_t i = 0; i < countof(left); i++) assert_int_equal(bench_files(b).vtable->make_directory(bench_files(b).self, left[i]), 0);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    rests(b, l.log);
    bench_pass(b, 1000);
    assert_int_equal(futures(b), 0);
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, 20);
    bench_stop(b);
    bench_free(b);
}

/* While one directory is full, a log start in the other one is written down, and a new log is made there after one was deleted. */
TEST(log_a_full_directory_is_its_own_trouble) {
    struct bench_log l, second;
    struct bench *b = two_dirs(&l);
    fill(b, &l, 10);
    assert_int_equal(bench_open(b, &second, "orders", 1), ERR_NONE);
    assert_ptr_equal(log_dir_of(second.log), log_dir_of(l.log));
    char path[PATH_MAX_BYTES];
    strcpy(path, log_dir_path(other_dir(b, l.log)));
    sim_disk_fail(bench_disk(b), &(struct sim_disk_fault){.operations = SIM_DISK_WRITE | SIM_DISK_ALLOCATE, .path_part = path, .error = -ENOSPC});
    begin_at(b, &l, 5);
    struct waiting w;
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_delete(second.log, &w.wait)), ERR_NONE);
    assert_int_equal(bench_open(b, &second, "orders", 1), ERR_NONE);
    fill(b, &second, 1);
    sim_disk_heal(bench_disk(b));
    bench_stop(b);
    bench_free(b);
}

/* A log that left a directory, was cut, and came back, finds there a recovery point of the time before: after a power cut it
 * is not taken for its own. */
TEST(log_moves_back_to_old_checkpoints) {
    struct bench_log l;
    struct bench *b = two_dirs(&l);
    struct waiting w;
    fill(b, &l, 30);
    bench_stop(b); /* its recovery point is 60 there */
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    struct log_dir *target = other_dir(b, l.log);
    assert_int_equal(log_move(l.log, target), ERR_NONE);
    rests(b, l.log);
    assert_ptr_equal(log_dir_of(l.log), target);
    bench_kill(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_truncate(l.log, 20, &w.wait)), ERR_NONE);
    fill(b, &l, 1);
    target = other_dir(b, l.log);
    assert_int_equal(log_move(l.log, target), ERR_NONE);
    rests(b, l.log);
    assert_ptr_equal(log_dir_of(l.log), target);
    bench_power_cut(b, BENCH_LOSE_ALL);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_end(l.log), 22);
    assert_false(log_report(l.log)->flushed_lost);
    bench_stop(b);
    bench_free(b);
}

/* There and back while it is written to and its recovery point moves with every turn of a clock: what a checkpoint was to write
 * when the log left does not go into the folder that it has left. */
TEST(log_moves_while_its_checkpoints_are_written) {
    struct bench_log l;
    struct bench *b = two_dirs(&l);
    bench_stop(b);
    bench_options(b)->recovery_checkpoint_ms = 3;
    bench_options(b)->checkpoint_bytes_min = 1;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    log_offset end = 0;
    for (int round = 0; round < 6; round++) {
        assert_int_equal(log_move(l.log, other_dir(b, l.log)), ERR_NONE);
        for (int i = 0; i < 100 && log_move_target(l.log); i++) {
            end += bench_append(b, l.log, 0, 1, 100, NULL) == ERR_NONE;
            bench_turns(b, 1);
        }
        rests(b, l.log);
    }
    assert_int_equal(l.failed_told, 0);
    assert_true(bench_until_durable(b, &l, end));
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, end);
    bench_stop(b);
    bench_free(b);
}
