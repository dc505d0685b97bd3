#include "log/dir.h"
#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <string.h>

static struct bench *two_dirs_of(struct bench_log *l, uint32_t segment_bytes) {
    struct bench *b = bench_new(BENCH_SIM, 7);
    bench_second_dir(b);
    bench_config(b)->segment_bytes = segment_bytes;
    bench_config(b)->index_interval_bytes = 300;
    bench_config(b)->retention_ms = -1;
    bench_config(b)->file_delete_delay_ms = 0;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, l, "orders", 0), ERR_NONE);
    return b;
}

static struct bench *two_dirs(struct bench_log *l) { return two_dirs_of(l, 4096); }

static struct log_dir *other_dir(struct bench *b, struct log *log) {
    struct log_dirs *dirs = bench_dirs(b);
    return log_dirs_at(dirs, log_dir_of(log) == log_dirs_at(dirs, 0));
}

static void fill(struct bench *b, struct bench_log *l, uint32_t batches) {
    for (uint32_t i = 0; i < batches; i++) assert_int_equal(bench_append_durably(b, l, 0, 2, 150), ERR_NONE);
}

/* Turns until it has moved, or time is over. */
static bool arrives(struct bench *b, struct log *log, struct log_dir *target) {
    for (int i = 0; i < 2000 && !bench_is_stuck(b); i++) {
        if (log_dir_of(log) == target) return true;
        bench_turns(b, 1);
    }
    return log_dir_of(log) == target;
}

struct found_names { uint32_t partitions, futures; };
static int count_name(void *context, const struct log_dir_entry *entry) {
    struct found_names *names = context;
    names->partitions += !entry->is_future;
    names->futures += entry->is_future;
    return 0;
}

static struct found_names folders(struct bench *b) {
    struct found_names names = {0};
    for (uint32_t i = 0; i < 2; i++) assert_int_equal(log_dir_scan(log_dirs_at(bench_dirs(b), i), bench_files(b), NULL, count_name, &names), 0);
    return names;
}

/* There and back with many segments: all of it can be read, nothing of it is left behind, and appends go on, also after a
 * stop and a start. */
TEST(log_moves_there_and_back) {
    struct bench_log l;
    struct bench *b = two_dirs(&l);
    log_offset end = 0;
    for (int round = 0; round < 3; round++) {
        fill(b, &l, 30);
        end += 60;
        struct log_dir *target = other_dir(b, l.log);
        assert_int_equal(log_move(l.log, target), ERR_NONE);
        assert_int_equal(log_move(l.log, target), ERR_NONE); /* it is under way */
        assert_true(arrives(b, l.log, target));
        assert_int_equal(log_move(l.log, target), ERR_NONE); /* it is there */
        log_check(l.log);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, end);
    }
    assert_int_equal(log_store_metrics(bench_store(b))->moves, 3);
    bench_pass(b, 1000);
    struct found_names names = folders(b);
    assert_int_equal(names.partitions, 1);
    assert_int_equal(names.futures, 0);
    fill(b, &l, 5);
    log_store_check(bench_store(b));
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_true(log_report(l.log)->clean);
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, end + 10);
    bench_stop(b);
    bench_free(b);
}

/* Appended to all the time while it moves: what was refused meanwhile (busy) is sent again, and all is there in order. */
TEST(log_moves_while_it_is_written_to) {
    struct bench_log l;
    struct bench *b = two_dirs_of(&l, 65536);
    fill(b, &l, 20);
    struct log_dir *target = other_dir(b, l.log);
    assert_int_equal(log_move(l.log, target), ERR_NONE);
    uint32_t busy = 0;
    log_offset end = 40;
    for (int i = 0; i < 20000 && log_dir_of(l.log) != target; i++) {
        enum err err = bench_append(b, l.log, 0, 1, 100, NULL);
        assert_true(err == ERR_NONE || err == ERR_BUSY);
        busy += err == ERR_BUSY;
        end += err == ERR_NONE;
        bench_turns(b, 1);
    }
    assert_ptr_equal(log_dir_of(l.log), target);
    assert_true(busy > 0);
    assert_true(end > 41);
    assert_true(bench_until_durable(b, &l, end));
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, end);
    bench_stop(b);
    bench_free(b);
}

/* What was truncated and written anew while it was copied is copied anew. */
TEST(log_moves_what_is_there_at_the_end) {
    struct bench_log l;
    struct bench *b = two_dirs(&l);
    struct waiting waiting;
    fill(b, &l, 40);
    struct log_dir *target = other_dir(b, l.log);
    assert_int_equal(log_move(l.log, target), ERR_NONE);
    waiting_init(&waiting);
    assert_int_equal(bench_wait(b, &waiting, log_truncate(l.log, 30, &waiting.wait)), ERR_NONE);
    for (int i = 0; i < 40; i++) assert_true(bench_append(b, l.log, 1, 1, 170, NULL) != ERR_IO);
    assert_true(arrives(b, l.log, target));
    log_offset end = log_end(l.log);
    assert_true(bench_until_durable(b, &l, end));
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, end);
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, end);
    bench_stop(b);
    bench_free(b);
}

/* Deleted, or stopped with the node, while it moves: that goes before. */
TEST(log_that_moves_is_deleted_or_stopped) {
    for (uint32_t turns = 0; turns < 30; turns += 3) {
        struct bench_log l;
        struct bench *b = two_dirs(&l);
        struct waiting waiting;
        fill(b, &l, 20);
        assert_int_equal(log_move(l.log, other_dir(b, l.log)), ERR_NONE);
        bench_turns(b, turns);
        if (turns % 2) {
            waiting_init(&waiting);
            assert_int_equal(bench_wait(b, &waiting, log_delete(l.log, &waiting.wait)), ERR_NONE);
            bench_pass(b, 1000);
            assert_int_equal(folders(b).partitions, 0);
            bench_stop(b);
        } else {
            bench_stop(b);
            assert_int_equal(bench_start(b), ERR_NONE);
            assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
            assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, 40);
            bench_stop(b);
        }
        bench_free(b);
    }
}

/* The power is cut at every change that a move makes to the disk: after the start the log is in one of the directories
 * with all that was acknowledged, and it can be moved again. */
TEST(log_power_cut_everywhere_in_a_move) {
    bool whole = false;
    uint64_t cut = 1;
    for (; !whole; cut++) {
        struct bench_log l;
        struct bench *b = two_dirs(&l);
        fill(b, &l, 20);
        sim_disk_cut_after(bench_disk(b), cut);
        assert_int_equal(log_move(l.log, other_dir(b, l.log)), ERR_NONE);
        whole = arrives(b, l.log, other_dir(b, l.log)) && !bench_is_stuck(b);
        bench_power_cut(b, cut % 2 ? BENCH_RANDOM : BENCH_LOSE_ALL);
        assert_int_equal(bench_start(b), ERR_NONE);
        assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, 40);
        fill(b, &l, 1);
        struct log_dir *target = other_dir(b, l.log);
        assert_int_equal(log_move(l.log, target), ERR_NONE);
        assert_true(arrives(b, l.log, target));
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, 42);
        bench_stop(b);
        bench_free(b);
    }
    assert_true(cut > 15);
}
