#include "base/text.h"
#include "log/log_test.h"
#include "test.h"
#include <errno.h>

struct in_order { struct log_wait wait; int *told, place; };

static void told_in_order(struct log_wait *wait, enum err err) {
    struct in_order *one = container_of(wait, struct in_order, wait);
    assert_int_equal(err, ERR_NONE);
    one->place = ++*one->told;
}

/* An opening has come back, and who waited for it is told at the end of the turn: who asks in between waits behind. Shown
 * with the completions of a turn alone, as requests that are read in that turn find the log. */
TEST(log_opening_is_told_in_the_order_of_asking) {
    struct bench *b = bench_new(BENCH_SIM, 1);
    struct bench_log l = {0};
    int told = 0;
    struct in_order first = {.wait.done = told_in_order, .told = &told}, second = first;
    assert_int_equal(bench_start(b), ERR_NONE);
    struct log_spec spec = {.dir = log_dirs_at(bench_dirs(b), 0), .topic = "orders", .create = true, .config = *bench_config(b), .owner = &l.owner};
    assert_int_equal(log_new(&l.log, bench_store(b), &spec), ERR_NONE);
    list_init(&first.wait.node);
    list_init(&second.wait.node);
    assert_int_equal(log_open(l.log, &first.wait), ERR_AGAIN);
    bench_turns(b, 1);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    assert_int_equal(m->opens, 0);
    while (m->opens == 0) bench_completions(b);
    assert_int_equal(told, 0);
    assert_int_equal(log_open(l.log, &second.wait), ERR_AGAIN);
    while (told < 2) bench_turns(b, 1);
    assert_int_equal(first.place, 1);
    assert_int_equal(second.place, 2);
    struct waiting now;
    waiting_init(&now);
    assert_int_equal(log_open(l.log, &now.wait), ERR_NONE);
    bench_end(b);
}

/* Many logs, few of them open: each is there when it is used, and memory and descriptors follow the use. */
TEST(log_idle_logs_close) {
    struct bench_log l[40];
    struct bench *b = bench_small();
    bench_options(b)->open_logs_max = 5;
    assert_int_equal(bench_start(b), ERR_NONE);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    for (int i = 0; i < 40; i++) {
        assert_int_equal(bench_open(b, &l[i], "many", i), ERR_NONE);
        assert_int_equal(bench_append_durably(b, &l[i], 0, 2, 150), ERR_NONE);
    }
    bench_pass(b, 500);
    assert_true(m->logs_open <= 8);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) {
            struct waiting w;
            waiting_init(&w);
            assert_int_equal(bench_wait(b, &w, log_open(l[i].log, &w.wait)), ERR_NONE);
            assert_int_equal(bench_append_durably(b, &l[i], 0, 2, 150), ERR_NONE);
            assert_int_equal(log_end(l[i].log), 4 + 2 * round);
            assert_int_equal(bench_read_all(b, l[i].log, 0, LOG_UPTO_END, 900, true).next, log_end(l[i].log));
        }
    }
    bench_pass(b, 500);
    assert_true(m->logs_open <= 8);
    assert_true(m->files_open <= 8);
    assert_int_equal(m->cut_bytes, 0);
    bench_end(b);
}

/* Many logs are opened at once, more than may stay: none is refused, and when all have been used the next opening closes so
 * many that no more than that are open, not one alone. */
TEST(log_many_at_once_close_together) {
    struct bench_log l[41];
    struct waiting waits[40];
    struct bench *b = bench_small();
    bench_options(b)->open_logs_max = 5;
    assert_int_equal(bench_start(b), ERR_NONE);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    for (int i = 0; i < 40; i++) {
        struct log_spec spec = {.dir = log_dirs_at(bench_dirs(b), 0), .topic = "many", .partition = i, .create = true, .config = *bench_config(b), .owner = &l[i].owner};
        memset(&l[i], 0, sizeof l[i]);
        assert_int_equal(log_new(&l[i].log, bench_store(b), &spec), ERR_NONE);
        waiting_init(&waits[i]);
        assert_int_equal(log_open(l[i].log, &waits[i].wait), ERR_AGAIN);
    }
    for (int i = 0; i < 40; i++) {
        while (!waits[i].done) bench_turns(b, 1);
        assert_int_equal(waits[i].err, ERR_NONE);
    }
    assert_true(m->logs_open > 20);
    assert_int_equal(bench_open(b, &l[40], "many", 40), ERR_NONE);
    bench_pass(b, 500);
    assert_true(m->logs_open <= 6);
    assert_true(m->files_open <= 6);
    bench_end(b);
}

/* A partition that nobody uses costs well under 2 KiB, name included, and no descriptor. */
TEST(log_idle_partition_is_small) {
    static struct bench_log l[1000];
    struct bench *b = bench_new(BENCH_SIM, 1);
    assert_int_equal(bench_start(b), ERR_NONE);
    size_t before = bench_pool(b)->used;
    for (int i = 0; i < 1000; i++) {
        struct log_spec spec = {.dir = log_dirs_at(bench_dirs(b), 0), .topic = "some-topic-with-a-name-of-usual-length", .partition = i,
                                .create = true, .config = *bench_config(b)};
        assert_int_equal(log_new(&l[i].log, bench_store(b), &spec), ERR_NONE);
    }
    assert_true((bench_pool(b)->used - before) / 1000 < 1500);
    assert_int_equal(log_store_metrics(bench_store(b))->files_open, 0);
    bench_end(b);
}

/* A deleted log is gone at once and for good; one of the same name begins at 0 and inherits nothing, whatever happens. */
TEST(log_deleted_and_made_again) {
    struct bench_log l;
    struct waiting w;
    struct bench *b = bench_started(bench_small(), &l);
    bench_fill(b, &l, 50, 3);
    log_high_watermark_set(l.log, 70);
    assert_int_equal(log_start_set(l.log, 60), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_store_checkpoint(bench_store(b), &w.wait)), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_delete(l.log, &w.wait)), ERR_NONE);
    assert_int_equal(bench_file_size(b, "orders-0/partition.metadata"), -ENOENT);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_end(l.log), 0);
    bench_fill(b, &l, 2, 0);
    bench_power_cut(b, BENCH_LOSE_ALL);
    bench_started(b, &l);
    assert_int_equal(log_start(l.log), 0);
    assert_int_equal(log_end(l.log), 4);
    assert_false(log_report(l.log)->flushed_lost);
    bench_pass(b, 2000);
    assert_int_equal(bench_count_files(b, "", "-delete"), 0);
    bench_end(b);
}

/* A log that its owner closed can be taken up again in the same process, as it was. */
TEST(log_closed_and_taken_up_again) {
    struct bench_log l;
    struct waiting w;
    struct bench *b = bench_started(bench_small(), &l);
    bench_fill(b, &l, 30, 2);
    log_high_watermark_set(l.log, 50);
    assert_int_equal(log_start_set(l.log, 7), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_close(l.log, &w.wait)), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_true(log_report(l.log)->clean);
    assert_int_equal(log_start(l.log), 7);
    assert_int_equal(log_high_watermark(l.log), 50);
    assert_int_equal(log_end(l.log), 60);
    assert_int_equal(bench_read_all(b, l.log, 7, LOG_UPTO_END, 900, true).next, 60);
    bench_end(b);
}

/* A topic's folder that belongs to another topic id is not touched. */
TEST(log_of_another_topic_id_is_refused) {
    struct bench_log l;
    struct bench *b = bench_small();
    assert_int_equal(bench_start(b), ERR_NONE);
    struct uuid one = {{1, 2, 3}}, two = {{4, 5, 6}};
    struct log_spec spec = {.dir = log_dirs_at(bench_dirs(b), 0), .topic = "orders", .topic_id = one, .create = true, .config = *bench_config(b)};
    struct waiting w;
    waiting_init(&w);
    assert_int_equal(log_new(&l.log, bench_store(b), &spec), ERR_NONE);
    assert_int_equal(bench_wait(b, &w, log_open(l.log, &w.wait)), ERR_NONE);
    struct log *again;
    assert_int_equal(log_new(&again, bench_store(b), &spec), ERR_EXISTS);
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    spec.dir = log_dirs_find(bench_dirs(b), "orders", 0);
    assert_non_null(spec.dir);
    spec.topic_id = two;
    waiting_init(&w);
    assert_int_equal(log_new(&l.log, bench_store(b), &spec), ERR_NONE);
    assert_null(log_dirs_find(bench_dirs(b), "orders", 0));
    assert_int_equal(bench_wait(b, &w, log_open(l.log, &w.wait)), ERR_FENCED);
    bench_end(b);
}

/* The mark of a clean stop is gone, durably, before anything is written: a crash right after the start is seen as one. */
TEST(log_clean_mark_does_not_survive_the_start) {
    struct bench_log l;
    struct bench *b = bench_started(bench_small(), &l);
    bench_stop(b);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bench_start(b), ERR_NONE);
        assert_int_equal(log_dirs_were_clean(bench_dirs(b)), i == 0);
        assert_int_equal(log_dirs_previous_epoch(bench_dirs(b)), i == 0 ? 7 : -1);
        bench_power_cut(b, BENCH_LOSE_ALL);
    }
    bench_free(b);
}

/* Two shards, each with logs of its own, in one directory: the checkpoint files hold the lines of both, and of partitions
 * that nobody has taken up. */
TEST(log_checkpoints_gather_all_shards) {
    struct bench *b = bench_small();
    bench_shards(b, 2);
    struct bench_log l[4];
    for (int life = 0; life < 3; life++) {
        assert_int_equal(bench_start(b), ERR_NONE);
        for (int i = 0; i < 4; i++) {
            if (life == 1 && i >= 2) continue; /* these stay as they were found */
            bench_on_shard(b, (uint32_t)i % 2);
            assert_int_equal(bench_open(b, &l[i], "orders", i), ERR_NONE);
            assert_int_equal(log_end(l[i].log), life == 2 ? (i < 2 ? 20 : 10) : life * 10);
            if (life > 0) assert_true(log_report(l[i].log)->clean);
            for (int k = 0; k < 5 && life < 2; k++) assert_int_equal(bench_append_durably(b, &l[i], 0, 2, 300), ERR_NONE);
            log_high_watermark_set(l[i].log, log_end(l[i].log));
        }
        struct waiting w;
        waiting_init(&w);
        bench_on_shard(b, 1);
        assert_int_equal(bench_wait(b, &w, log_store_checkpoint(bench_store(b), &w.wait)), ERR_NONE);
        char text[1024];
        text[bench_file_read(b, "replication-offset-checkpoint", text, sizeof text - 1)] = 0;
        for (int i = 0; i < 4; i++) {
            char line[64];
            struct text out;
            text_init(&out, line, sizeof line);
            text_add(&out, "orders %d %d\n", i, life > 0 && i < 2 ? 20 : 10);
            assert_non_null(strstr(text, line));
        }
        bench_stop(b);
    }
    bench_free(b);
}

/* A directory that was given up takes its logs with it: each fails once, and is told; nothing opens there any more. */
TEST(log_directory_offline) {
    struct bench_log l, other;
    struct bench *b = bench_started(bench_small(), &l);
    bench_fill(b, &l, 3, 0);
    log_dir_fail(log_dirs_at(bench_dirs(b), 0));
    assert_int_equal(bench_append(b, l.log, 0, 1, 10, NULL), ERR_IO);
    bench_turns(b, 3);
    assert_int_equal(l.failed_told, 1);
    struct log_read read = {.log = l.log, .from = 0, .bytes_max = 100};
    assert_int_equal(log_read(&read), ERR_IO);
    assert_int_equal(bench_open(b, &other, "other", 0), ERR_IO);
    assert_null(log_dirs_emptiest(bench_dirs(b)));
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_false(log_dirs_were_clean(bench_dirs(b)));
    bench_power_cut(b, BENCH_KEEP_ALL);
    bench_free(b);
}
