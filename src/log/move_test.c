#include "base/bytes.h"
#include "base/text.h"
#include "log/dir.h"
#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include "wire/batch.h"
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

/* Until it is on no way any more. */
static void rests(struct bench *b, struct log *log) {
    for (int i = 0; i < 20000 && log_move_target(log); i++) bench_turns(b, 1);
    assert_null(log_move_target(log));
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

/* The same when most was copied before, in segments that look the same afterwards: as long, and there. */
TEST(log_moves_what_was_truncated_after_it_was_copied) {
    struct bench_log l;
    struct bench *b = two_dirs(&l);
    struct waiting waiting;
    fill(b, &l, 60);
    bench_options(b)->move_bytes_per_second = 20000;
    log_store_tune(bench_store(b), bench_options(b));
    struct log_dir *target = other_dir(b, l.log);
    assert_int_equal(log_move(l.log, target), ERR_NONE);
    bench_pass(b, 700); /* of a good second */
    assert_ptr_equal(log_move_target(l.log), target);
    waiting_init(&waiting);
    assert_int_equal(bench_wait(b, &waiting, log_truncate(l.log, 6, &waiting.wait)), ERR_NONE);
    for (int i = 0; i < 57; i++) assert_int_equal(bench_append(b, l.log, 1, 2, 150, NULL), ERR_NONE);
    assert_int_equal(log_end(l.log), 120);
    assert_true(bench_until_durable(b, &l, 120));
    bench_options(b)->move_bytes_per_second = 0;
    log_store_tune(bench_store(b), bench_options(b));
    rests(b, l.log);
    assert_ptr_equal(log_dir_of(l.log), target);
    bench_kill(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, 120);
    uint8_t bytes[BATCH_HEADER_BYTES];
    char path[PATH_MAX_BYTES], name[64];
    for (log_offset offset = 6; offset < 120; offset += 2) { /* each segment's first batch has the new epoch */
        struct text text;
        text_init(&text, name, sizeof name);
        text_add(&text, "orders-0/%020lld.log", (long long)offset);
        path_join(path, log_dir_path(log_dir_of(l.log)), name);
        if (sim_disk_peek(bench_disk(b), path, bytes, sizeof bytes, 0) == (int64_t)sizeof bytes) assert_int_equal(load_be32(bytes + 12), 1);
    }
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
            struct log_dir *target = log_move_target(l.log);
            bool had_moved = !target;
            const char *path = target ? log_dir_path(target) : log_dir_path(log_dir_of(l.log));
            char goal[32];
            strcpy(goal, path);
            bench_stop(b);
            assert_int_equal(bench_start(b), ERR_NONE);
            assert_int_equal(folders(b).futures, !had_moved);
            assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
            rests(b, l.log);
            assert_string_equal(log_dir_path(log_dir_of(l.log)), goal); /* it went on by itself */
            assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, 40);
            bench_stop(b);
        }
        bench_free(b);
    }
}

static uint64_t written_to(struct bench *b, struct log *log) {
    uint64_t before = sim_disk_operations(bench_disk(b));
    rests(b, log);
    return sim_disk_operations(bench_disk(b)) - before;
}

/* Stopped or killed when nearly all was copied: the next life copies only what is missing, and says meanwhile where the log is
 * on its way to. A target that is given up in the new life leaves nothing behind. */
TEST(log_move_goes_on_where_it_was) {
    uint64_t of_all = 0;
    for (int how = 0; how < 4; how++) {
        struct bench_log l;
        struct bench *b = two_dirs(&l);
        fill(b, &l, 300);
        bench_options(b)->move_bytes_per_second = 40000; /* of about 110000 bytes */
        bench_stop(b);
        assert_int_equal(bench_start(b), ERR_NONE);
        assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
        struct log_dir *from = log_dir_of(l.log);
        assert_int_equal(log_move(l.log, other_dir(b, l.log)), ERR_NONE);
        if (how == 0) { /* how much it is without an interruption */
            bench_options(b)->move_bytes_per_second = 0;
            log_store_tune(bench_store(b), bench_options(b));
            of_all = written_to(b, l.log);
        } else {
            bench_pass(b, 2500);
            assert_ptr_equal(log_dir_of(l.log), from);
            bench_options(b)->move_bytes_per_second = how == 3 ? 40000 : 0;
            if (how == 1) bench_stop(b);
            else bench_kill(b);
            assert_int_equal(bench_start(b), ERR_NONE);
            assert_int_equal(folders(b).partitions, 1);
            assert_int_equal(folders(b).futures, 1);
            assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
            assert_ptr_equal(log_move_target(l.log), other_dir(b, l.log));
            if (how == 3) {
                assert_int_equal(log_move(l.log, log_dir_of(l.log)), ERR_NONE);
                rests(b, l.log);
                bench_pass(b, 1000);
            } else {
                assert_true(written_to(b, l.log) < of_all / 2);
            }
        }
        assert_int_equal(log_store_metrics(bench_store(b))->moves, how != 3);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, 600);
        bench_pass(b, 1000);
        assert_int_equal(folders(b).partitions, 1);
        assert_int_equal(folders(b).futures, 0);
        bench_stop(b);
        bench_free(b);
    }
}

/* At 40000 bytes a second some 110000 take three seconds, whether one log moves or two; a running node's new rate holds at
 * once. */
TEST(log_moves_at_a_rate) {
    for (int what = 0; what < 3; what++) {
        struct bench_log l, second;
        struct bench *b = two_dirs(&l);
        fill(b, &l, what == 1 ? 150 : 300);
        if (what == 1) {
            assert_int_equal(bench_open(b, &second, "orders", 1), ERR_NONE);
            fill(b, &second, 150);
        }
        bench_options(b)->move_bytes_per_second = 40000;
        log_store_tune(bench_store(b), bench_options(b));
        struct log_dir *target = other_dir(b, l.log);
        uint64_t bytes = log_size(l.log);
        assert_int_equal(log_move(l.log, target), ERR_NONE);
        if (what == 1) {
            bytes += log_size(second.log);
            assert_int_equal(log_move(second.log, target), ERR_NONE);
        }
        assert_in_range(bytes, 100000, 140000);
        bench_pass(b, (time_ms)(bytes * 1000 / 40000) * 7 / 10);
        assert_true(log_dir_of(l.log) != target || (what == 1 && log_dir_of(second.log) != target));
        if (what == 2) {
            bench_options(b)->move_bytes_per_second = 0;
            log_store_tune(bench_store(b), bench_options(b));
            bench_pass(b, 20);
        } else {
            bench_pass(b, (time_ms)(bytes * 1000 / 40000) * 7 / 10);
        }
        assert_ptr_equal(log_dir_of(l.log), target);
        if (what == 1) assert_ptr_equal(log_dir_of(second.log), target);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 700, true).next, log_end(l.log));
        bench_stop(b);
        bench_free(b);
    }
}

/* A start in the middle of the log is there after a kill at any time since the move. */
TEST(log_moves_with_its_start) {
    struct bench_log l;
    struct bench *b = two_dirs(&l);
    struct waiting w;
    fill(b, &l, 30);
    log_high_watermark_set(l.log, 60);
    assert_int_equal(log_start_set(l.log, 33), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_start_flush(l.log, &w.wait)), ERR_NONE);
    struct log_dir *target = other_dir(b, l.log);
    assert_int_equal(log_move(l.log, target), ERR_NONE);
    assert_true(arrives(b, l.log, target));
    bench_kill(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_start(l.log), 33);
    assert_int_equal(bench_read_all(b, l.log, 33, LOG_UPTO_END, 700, true).next, 60);
    bench_stop(b);
    bench_free(b);
}

/* The power is cut, or the process killed, at every change that a move makes to the disk: after the start there is the log
 * once, with all that was acknowledged and the start that was; a move that had begun goes on by itself. What is appended then
 * is there after another start, too. */
TEST(log_power_cut_everywhere_in_a_move) {
    static const enum bench_crash crashes[] = {BENCH_LOSE_ALL, BENCH_RANDOM, BENCH_KEEP_ALL};
    uint32_t resumed = 0, arrived = 0, cuts = 0;
    for (uint32_t how = 0; how < countof(crashes); how++) {
        bool whole = false;
        for (uint64_t cut = 1; !whole; cut++, cuts++) {
            struct bench_log l;
            struct bench *b = two_dirs(&l);
            struct waiting w;
            fill(b, &l, 20);
            log_high_watermark_set(l.log, 40);
            assert_int_equal(log_start_set(l.log, 5), ERR_NONE);
            waiting_init(&w);
            assert_int_equal(bench_wait(b, &w, log_start_flush(l.log, &w.wait)), ERR_NONE);
            struct log_dir *from = log_dir_of(l.log);
            bool was_first = from == log_dirs_at(bench_dirs(b), 0);
            sim_disk_cut_after(bench_disk(b), cut);
            assert_int_equal(log_move(l.log, other_dir(b, l.log)), ERR_NONE);
            for (int i = 0; i < 2000 && !bench_is_stuck(b) && log_dir_of(l.log) == from; i++) bench_turns(b, 1);
            whole = bench_pass(b, 200) && !bench_is_stuck(b);
            bench_power_cut(b, crashes[how]);
            assert_int_equal(bench_start(b), ERR_NONE);
            struct found_names names = folders(b);
            assert_int_equal(names.partitions, 1);
            assert_in_range(names.futures, 0, 1);
            assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
            assert_int_equal(log_start(l.log), 5);
            bool goes_on = log_move_target(l.log) != NULL;
            resumed += goes_on;
            rests(b, l.log);
            bool is_first = log_dir_of(l.log) == log_dirs_at(bench_dirs(b), 0);
            if (goes_on || whole) assert_int_equal(is_first, !was_first);
            arrived += is_first != was_first;
            assert_int_equal(bench_read_all(b, l.log, 5, LOG_UPTO_END, 700, true).next, 40);
            fill(b, &l, 1);
            bench_pass(b, 1000);
            names = folders(b);
            assert_int_equal(names.partitions, 1);
            assert_int_equal(names.futures, 0);
            bench_kill(b);
            assert_int_equal(bench_start(b), ERR_NONE);
            assert_int_equal(folders(b).partitions, 1);
            assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
            assert_null(log_move_target(l.log));
            assert_int_equal(log_start(l.log), 5);
            assert_int_equal(bench_read_all(b, l.log, 5, LOG_UPTO_END, 700, true).next, 42);
            struct log_dir *target = other_dir(b, l.log);
            assert_int_equal(log_move(l.log, target), ERR_NONE);
            assert_true(arrives(b, l.log, target));
            assert_int_equal(bench_read_all(b, l.log, 5, LOG_UPTO_END, 700, true).next, 42);
            bench_stop(b);
            bench_free(b);
        }
    }
    assert_true(cuts > 60);
    assert_true(resumed > 30);
    assert_true(arrived > 30);
}
