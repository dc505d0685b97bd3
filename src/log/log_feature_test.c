#include "base/text.h"
#include "log/log_test.h"
#include "log/producer.h"
#include "sim/sim_disk.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <string.h>

static struct bench *small_bench(void) {
    struct bench *b = bench_new(BENCH_SIM, 3);
    bench_config(b)->segment_bytes = 4096;
    bench_config(b)->index_interval_bytes = 300;
    bench_config(b)->retention_ms = -1;
    bench_config(b)->file_delete_delay_ms = 1000;
    bench_options(b)->producer_expiration_ms = INT64_MAX / 2; /* the batches here are of 1970 */
    return b;
}

static struct bench *started(struct bench *b, struct bench_log *l) {
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, l, "orders", 0), ERR_NONE);
    return b;
}

static void ended(struct bench *b) {
    log_store_check(bench_store(b));
    bench_stop(b);
    bench_free(b);
}

static void fill(struct bench *b, struct bench_log *l, uint32_t batches, leader_epoch epoch) {
    for (uint32_t i = 0; i < batches; i++) assert_int_equal(bench_append_durably(b, l, epoch, 2, 150), ERR_NONE);
}

/* Appends of one turn are one write and one sync; those that come while the sync is under way wait together for the next. */
TEST(log_appends_of_a_turn_share_a_write_and_a_sync) {
    struct bench_log l;
    struct bench *b = started(bench_new(BENCH_SIM, 1), &l);
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
    ended(b);
}

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
    ended(b);
}

/* With flush.messages at its maximum nothing is synced by an append; log_flush does it all the same; with 10 every tenth
 * message does. */
TEST(log_flush_policies) {
    struct bench_log l;
    struct bench *b = bench_new(BENCH_SIM, 1);
    bench_config(b)->flush_messages = INT64_MAX;
    started(b, &l);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    fill(b, &l, 20, 0);
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
    fill(b, &l, 25, 0);
    assert_int_equal(m->syncs, 6);
    config.flush_messages = INT64_MAX;
    config.flush_ms = 3000;
    log_config_set(l.log, &config);
    fill(b, &l, 1, 0);
    assert_true(log_flushed(l.log) < log_end(l.log));
    assert_true(bench_pass(b, 6000));
    assert_int_equal(log_flushed(l.log), log_end(l.log));
    ended(b);
}

/* A follower's log takes batches with their offsets, gaps included, refuses what it has already, and knows the epochs. */
TEST(log_appends_as_follower) {
    struct bench_log l;
    struct bench *b = started(small_bench(), &l);
    struct log_appended out;
    log_offset base = 0;
    for (int i = 0; i < 40; i++) {
        struct slab *slab = bench_batch(b, base, i / 10, 3, 100);
        struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_LEADER};
        assert_int_equal(log_append(l.log, &append, &out), ERR_NONE);
        assert_int_equal(out.base, base);
        assert_int_equal(out.last, base + 2);
        assert_int_equal(log_append(l.log, &append, &out), ERR_OUT_OF_RANGE);
        slab_drop(slab);
        base += i == 20 ? 10 : 3;
    }
    assert_true(bench_until_durable(b, &l, log_end(l.log)));
    assert_int_equal(log_end(l.log), 127);
    assert_int_equal(log_epoch_last(l.log), 3);
    struct log_epoch_end end = log_epoch_end_for(l.log, 1);
    assert_int_equal(end.epoch, 1);
    assert_int_equal(end.end, 60);
    assert_int_equal(log_epoch_end_for(l.log, 9).epoch, -1);
    assert_int_equal(log_epoch_at(l.log, 61), 2);
    struct bench_seen seen = bench_read_all(b, l.log, 0, LOG_UPTO_END, 1000, true);
    assert_int_equal(seen.records, 120);
    assert_int_equal(seen.next, 127);
    ended(b);
}

/* Cut at every offset: what is before stays, the epochs end there, and appending goes on; so after another start. */
TEST(log_truncates_at_every_offset) {
    for (log_offset cut = 0; cut <= 60; cut++) {
        struct bench_log l;
        struct bench *b = started(small_bench(), &l);
        struct waiting w;
        fill(b, &l, 20, 4);
        fill(b, &l, 10, 6);
        assert_int_equal(log_end(l.log), 60);
        log_high_watermark_set(l.log, 10);
        waiting_init(&w);
        assert_int_equal(bench_wait(b, &w, log_truncate(l.log, cut, &w.wait)), ERR_NONE);
        log_offset end = cut - cut % 2;
        assert_int_equal(log_end(l.log), end);
        assert_int_equal(log_high_watermark(l.log), end < 10 ? end : 10);
        assert_int_equal(log_epoch_last(l.log), end > 40 ? 6 : end > 0 ? 4 : -1);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 900, true).next, end);
        log_store_check(bench_store(b));
        fill(b, &l, 3, 8);
        assert_int_equal(log_epoch_end_for(l.log, 7).end, end > 0 ? end : 0);
        bench_kill(b);
        assert_int_equal(bench_start(b), ERR_NONE);
        assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
        assert_int_equal(log_end(l.log), end + 6);
        assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 900, true).next, end + 6);
        assert_int_equal(log_epoch_last(l.log), 8);
        ended(b);
    }
}

/* A reader that holds a range of the file keeps its bytes while the file is cut and written anew (L5). */
TEST(log_truncation_leaves_held_ranges_alone) {
    struct bench_log l;
    struct bench *b = small_bench();
    bench_config(b)->segment_bytes = 1 << 20;
    started(b, &l);
    fill(b, &l, 20, 1);
    bench_stop(b);
    started(b, &l);
    struct arena arena;
    struct chain chain;
    uint8_t before[8192], after[8192];
    arena_init(&arena, bench_pool(b), 0);
    chain_init(&chain, &arena);
    struct log_read read = {.log = l.log, .from = 20, .bytes_max = 4000, .upto = LOG_UPTO_END, .out = &chain};
    assert_int_equal(bench_read(b, &read), ERR_NONE);
    assert_int_equal(chain.first->kind, SLICE_FILE);
    size_t size = bench_copy(b, &chain, before, sizeof before);
    assert_true(size > 3000);
    struct waiting w;
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_truncate(l.log, 22, &w.wait)), ERR_NONE);
    fill(b, &l, 10, 2);
    assert_int_equal(bench_copy(b, &chain, after, sizeof after), size);
    assert_memory_equal(before, after, size);
    chain_clear(&chain);
    arena_destroy(&arena);
    assert_int_equal(bench_read_all(b, l.log, 0, LOG_UPTO_END, 900, true).next, 42);
    ended(b);
}

/* Truncated fully, a log is empty at another offset, and stays so. */
TEST(log_truncates_fully) {
    struct bench_log l;
    struct bench *b = started(small_bench(), &l);
    struct waiting w;
    fill(b, &l, 30, 4);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_truncate_fully(l.log, 1000, &w.wait)), ERR_NONE);
    assert_int_equal(log_start(l.log), 1000);
    assert_int_equal(log_end(l.log), 1000);
    assert_int_equal(log_epoch_last(l.log), -1);
    assert_int_equal(bench_append_durably(b, &l, 5, 2, 50), ERR_NONE);
    bench_power_cut(b, BENCH_LOSE_ALL);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_start(l.log), 1000);
    assert_int_equal(log_end(l.log), 1002);
    assert_int_equal(bench_read_all(b, l.log, 1000, LOG_UPTO_END, 900, true).next, 1002);
    ended(b);
}

static uint32_t count_files(struct bench *b, const char *ending);
struct counting { const char *ending; uint32_t count; };
static int count_one(void *context, const char *name, bool is_directory) {
    struct counting *counting = context;
    size_t size = strlen(name), end = strlen(counting->ending);
    counting->count += size >= end && strcmp(name + size - end, counting->ending) == 0;
    return 0;
}
static uint32_t count_files(struct bench *b, const char *ending) {
    struct counting counting = {ending, 0};
    char path[300];
    struct text text;
    text_init(&text, path, sizeof path);
    text_add(&text, "%s/orders-0", bench_dir(b));
    struct io_files files = bench_files(b);
    assert_int_equal(files.vtable->list(files.self, path, count_one, &counting), 0);
    return counting.count;
}

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
    struct bench *b = small_bench();
    bench_config(b)->retention_bytes = 10000;
    started(b, &l);
    fill(b, &l, 100, 0);
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
    assert_true(count_files(b, ".log.deleted") > 0);
    assert_int_equal(count_files(b, ".log"), log_segments(l.log));
    assert_true(bench_pass(b, 3000));
    assert_int_equal(count_files(b, ".deleted"), 0);
    struct log_read read = {.log = l.log, .from = log_start(l.log) - 1, .bytes_max = 100, .out = NULL};
    assert_int_equal(log_read(&read), ERR_OUT_OF_RANGE);
    assert_int_equal(bench_read_all(b, l.log, log_start(l.log), LOG_UPTO_END, 900, true).next, log_end(l.log));
    ended(b);
}

/* By time: all of it is old (timestamps of 1970), so all of it goes, the active segment too; the log goes on behind. */
TEST(log_retention_by_time_takes_everything_that_is_old) {
    struct bench_log l;
    struct bench *b = small_bench();
    bench_config(b)->retention_ms = 3600000;
    started(b, &l);
    fill(b, &l, 50, 0);
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
    fill(b, &l, 1, 0);
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_start(l.log), 100);
    assert_int_equal(log_end(l.log), 102);
    ended(b);
}

/* Closed segments of an earlier life are looked at, too: their largest timestamps come from their time indexes. */
TEST(log_retention_by_time_after_a_restart) {
    struct bench_log l;
    struct bench *b = small_bench();
    bench_config(b)->cleanup_delete = false;
    started(b, &l);
    fill(b, &l, 50, 0);
    log_high_watermark_set(l.log, 100);
    bench_stop(b);
    bench_config(b)->cleanup_delete = true;
    bench_config(b)->retention_ms = 3600000;
    started(b, &l);
    assert_int_equal(log_start(l.log), 0);
    retain(b, &l);
    assert_int_equal(log_start(l.log), 100);
    ended(b);
}

/* DeleteRecords moves the start inside a segment; whole segments before it go; the start survives. */
TEST(log_start_moves_up) {
    struct bench_log l;
    struct bench *b = started(small_bench(), &l);
    fill(b, &l, 50, 0);
    assert_int_equal(log_start_set(l.log, 41), ERR_OUT_OF_RANGE);
    log_high_watermark_set(l.log, 80);
    uint32_t segments = log_segments(l.log);
    assert_int_equal(log_start_set(l.log, 41), ERR_NONE);
    bench_pass(b, 500);
    assert_true(log_segments(l.log) < segments);
    assert_int_equal(log_start(l.log), 41);
    assert_int_equal(bench_read_all(b, l.log, 41, LOG_UPTO_END, 700, true).next, 100);
    bench_stop(b);
    started(b, &l);
    assert_int_equal(log_start(l.log), 41);
    assert_int_equal(log_end(l.log), 100);
    ended(b);
}

/* Many logs, few of them open: each is there when it is used, and memory and descriptors follow the use. */
TEST(log_idle_logs_close) {
    struct bench_log l[40];
    struct bench *b = small_bench();
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
    ended(b);
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
    ended(b);
}

/* A deleted log is gone at once and for good; one of the same name begins at 0 and inherits nothing, whatever happens. */
TEST(log_deleted_and_made_again) {
    struct bench_log l;
    struct waiting w;
    struct bench *b = started(small_bench(), &l);
    fill(b, &l, 50, 3);
    log_high_watermark_set(l.log, 70);
    assert_int_equal(log_start_set(l.log, 60), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_store_checkpoint(bench_store(b), &w.wait)), ERR_NONE);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_delete(l.log, &w.wait)), ERR_NONE);
    assert_int_equal(bench_file_size(b, "orders-0/partition.metadata"), -ENOENT);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(log_end(l.log), 0);
    fill(b, &l, 2, 0);
    bench_power_cut(b, BENCH_LOSE_ALL);
    started(b, &l);
    assert_int_equal(log_start(l.log), 0);
    assert_int_equal(log_end(l.log), 4);
    assert_false(log_report(l.log)->flushed_lost);
    bench_pass(b, 2000);
    struct io_files files = bench_files(b);
    struct counting counting = {"-delete", 0};
    assert_int_equal(files.vtable->list(files.self, bench_dir(b), count_one, &counting), 0);
    assert_int_equal(counting.count, 0);
    ended(b);
}

/* ---- Producers */
static enum err append_from(struct bench *b, struct log *log, producer_id producer, int16_t epoch, int32_t sequence, bool transactional, struct log_appended *out) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    options.producer_id = producer;
    options.producer_epoch = epoch;
    options.base_sequence = sequence;
    options.transactional = transactional;
    batch_builder_init(&builder, bench_pool(b), 1 << 20, &options);
    assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_CLIENT};
    if (transactional)
        assert_int_equal(producer_guard(log_producers(log), producer, epoch, sequence, false, 1000, &append.verification_guard), ERR_NONE);
    enum err err = log_append(log, &append, out);
    slab_drop(slab);
    return err;
}

/* Producers whose records are older than they are remembered for (a copy of an old topic) are known on after the log has
 * closed because it was idle: they go at the check of expiry, not at the opening. */
TEST(log_idle_closing_forgets_no_producer) {
    struct bench_log l, others[8];
    struct log_appended out;
    struct waiting w;
    struct bench *b = small_bench();
    bench_options(b)->open_logs_max = 2;
    bench_options(b)->producer_expiration_ms = 1;
    bench_options(b)->producer_check_ms = 60000;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "copy", 0), ERR_NONE);
    bench_pass(b, 1000);
    assert_int_equal(append_from(b, l.log, 7, 0, 0, false, &out), ERR_NONE);
    assert_true(bench_until_durable(b, &l, 1));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(bench_open(b, &others[i], "many", i), ERR_NONE);
        assert_int_equal(bench_append_durably(b, &others[i], 0, 1, 150), ERR_NONE);
    }
    bench_pass(b, 500);
    assert_int_equal(log_state(l.log), LOG_CLOSED);
    waiting_init(&w);
    assert_int_equal(bench_wait(b, &w, log_open(l.log, &w.wait)), ERR_NONE);
    assert_int_equal(producer_count(log_producers(l.log)), 1);
    assert_int_equal(append_from(b, l.log, 7, 0, 5, false, &out), ERR_INVALID); /* a gap in its sequence */
    log_hold(l.log);
    bench_pass(b, 61000);
    assert_int_equal(producer_count(log_producers(l.log)), 0);
    log_release(l.log);
    ended(b);
}

static enum err append_marker(struct bench *b, struct log *log, enum control_type type, producer_id producer, int16_t epoch) {
    struct slab *slab;
    struct log_appended out;
    assert_int_equal(batch_build_marker(bench_pool(b), type, producer, epoch, 0, 1000, &slab), ERR_NONE);
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_COORDINATOR};
    enum err err = log_append(log, &append, &out);
    slab_drop(slab);
    return err;
}

/* A retried batch is answered with its first offsets and not written again, even after a restart; a gap in the sequence is
 * refused with Kafka's error, and nothing of it is written. */
TEST(log_duplicates_and_gaps) {
    for (int crash = 0; crash < 2; crash++) {
        struct bench_log l;
        struct log_appended out;
        struct bench *b = started(small_bench(), &l);
        for (int32_t i = 0; i < 60; i++) assert_int_equal(append_from(b, l.log, 77, 0, i, false, &out), ERR_NONE);
        assert_true(bench_until_durable(b, &l, 60));
        assert_int_equal(append_from(b, l.log, 77, 0, 57, false, &out), ERR_NONE);
        assert_true(out.duplicate);
        assert_int_equal(out.base, 57);
        assert_int_equal(append_from(b, l.log, 77, 0, 70, false, &out), ERR_INVALID);
        assert_int_equal(out.kafka_error, KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_int_equal(log_end(l.log), 60);
        if (crash) bench_power_cut(b, BENCH_LOSE_ALL);
        else bench_stop(b);
        started(b, &l);
        assert_int_equal(append_from(b, l.log, 77, 0, 59, false, &out), ERR_NONE);
        assert_true(out.duplicate);
        assert_int_equal(out.base, 59);
        assert_int_equal(append_from(b, l.log, 77, 0, 60, false, &out), ERR_NONE);
        assert_false(out.duplicate);
        assert_int_equal(out.base, 60);
        ended(b);
    }
}

static uint32_t aborted_in(struct bench *b, struct log *log, log_offset from, log_offset upto);
struct listing { struct log_aborted_list list; bool done; enum err err; };
static void listed(struct log_aborted_list *list, enum err err) {
    struct listing *listing = (struct listing *)(void *)list;
    listing->done = true;
    listing->err = err;
}
static uint32_t aborted_in(struct bench *b, struct log *log, log_offset from, log_offset upto) {
    struct arena arena;
    arena_init(&arena, bench_pool(b), 0);
    struct listing listing = {.list = {.log = log, .from = from, .upto = upto, .arena = &arena, .done = listed}};
    enum err err = log_aborted_list(&listing.list);
    if (err == ERR_AGAIN) {
        assert_true(bench_until(b, &listing.done));
        err = listing.err;
    }
    assert_int_equal(err, ERR_NONE);
    uint32_t count = listing.list.count;
    arena_destroy(&arena);
    return count;
}

/* The last stable offset stands before the first open transaction and moves when it is decided and replicated; aborted ones
 * are listed, across segments, restarts and crashes. */
TEST(log_transactions) {
    for (int crash = 0; crash < 2; crash++) {
        struct bench_log l;
        struct log_appended out;
        struct bench *b = started(small_bench(), &l);
        for (int i = 0; i < 60; i++) { /* every third one is aborted; they span several segments */
            assert_int_equal(append_from(b, l.log, 5, 0, i, true, &out), ERR_NONE);
            log_high_watermark_set(l.log, log_end(l.log));
            assert_int_equal(log_stable(l.log), out.base);
            assert_int_equal(append_marker(b, l.log, i % 3 == 0 ? CONTROL_ABORT : CONTROL_COMMIT, 5, 0), ERR_NONE);
            assert_int_equal(log_stable(l.log), out.base); /* decided, not yet below the high watermark */
            log_high_watermark_set(l.log, log_end(l.log));
            assert_int_equal(log_stable(l.log), log_end(l.log));
        }
        assert_int_equal(append_from(b, l.log, 6, 0, 0, true, &out), ERR_NONE);
        assert_true(bench_until_durable(b, &l, log_end(l.log)));
        assert_true(log_segments(l.log) > 2);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(aborted_in(b, l.log, 0, log_end(l.log)), 20);
            assert_int_equal(aborted_in(b, l.log, 60, log_end(l.log)), 10);
            assert_int_equal(aborted_in(b, l.log, 6, 7), 1);
            assert_int_equal(aborted_in(b, l.log, 2, 6), 0);
            log_high_watermark_set(l.log, log_end(l.log));
            assert_int_equal(log_stable(l.log), 120);
            if (again) break;
            bench_pass(b, 70000); /* a checkpoint, so that not all comes from the same place */
            if (crash) bench_power_cut(b, BENCH_LOSE_ALL);
            else bench_stop(b);
            started(b, &l);
        }
        ended(b);
    }
}

/* ---- Lazy indexes, look-ups over many segments */

/* With next to no memory for indexes, and the files of old segments closed again and again, every read is right. */
TEST(log_reads_with_little_memory_for_indexes) {
    struct bench_log l;
    struct bench *b = small_bench();
    bench_options(b)->index_bytes_max = 64;
    bench_options(b)->open_files_max = 2;
    bench_options(b)->tail_bytes_max = 1;
    started(b, &l);
    fill(b, &l, 200, 0);
    bench_pass(b, 1000);
    const struct log_metrics *m = log_store_metrics(bench_store(b));
    assert_true(log_segments(l.log) > 10);
    for (log_offset from = 0; from < 400; from += 37) {
        struct bench_seen seen = bench_read_all(b, l.log, from, LOG_UPTO_END, 800, true);
        assert_int_equal(seen.next, 400);
    }
    assert_true(m->index_loads > 10);
    assert_true(m->files_open < 6);
    assert_int_equal(m->index_rebuilds, 0);
    ended(b);
}

/* Reading goes up to the bound and not a batch further, wherever the bound is. */
TEST(log_reads_end_at_the_high_watermark) {
    for (int fresh = 0; fresh < 2; fresh++) {
        struct bench_log l;
        struct bench *b = started(small_bench(), &l);
        fill(b, &l, 60, 0);
        if (!fresh) {
            bench_stop(b);
            started(b, &l);
        }
        for (log_offset mark = 0; mark <= 120; mark += 2) {
            log_high_watermark_set(l.log, mark);
            for (log_offset from = 0; from <= mark; from += 17)
                assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_HIGH_WATERMARK, 1500, true).next, mark > from ? mark : from);
        }
        ended(b);
    }
}

/* A first batch that is larger than what was asked for is given only to those who must get one. */
TEST(log_read_gives_one_batch_at_least_if_asked) {
    for (int fresh = 0; fresh < 2; fresh++) {
        struct bench_log l;
        struct bench *b = started(small_bench(), &l);
        struct arena arena;
        struct chain chain;
        assert_int_equal(bench_append_durably(b, &l, 0, 2, 1000), ERR_NONE);
        if (!fresh) {
            bench_stop(b);
            started(b, &l);
        }
        arena_init(&arena, bench_pool(b), 0);
        chain_init(&chain, &arena);
        struct log_read read = {.log = l.log, .from = 1, .bytes_max = 100, .upto = LOG_UPTO_END, .out = &chain};
        assert_int_equal(bench_read(b, &read), ERR_NONE);
        assert_int_equal(read.bytes, 0);
        assert_true(read.cut);
        read.min_one = true;
        assert_int_equal(bench_read(b, &read), ERR_NONE);
        assert_true(read.bytes > 2000);
        assert_false(read.cut);
        assert_int_equal(read.position.offset, 0); /* the batch that holds offset 1 begins at 0 */
        chain_clear(&chain);
        arena_destroy(&arena);
        ended(b);
    }
}

/* Timestamps are 1000 + offset here, so the answer to each question is known; in memory, after a stop, after a crash. */
TEST(log_lookups_over_many_segments) {
    struct bench_log l;
    struct bench *b = started(small_bench(), &l);
    fill(b, &l, 60, 2);
    for (int life = 0; life < 3; life++) {
        for (log_offset at = 0; at < 120; at += 7) {
            struct log_lookup lookup = {.log = l.log, .timestamp = 1000 + at, .upto = LOG_UPTO_END};
            assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
            assert_int_equal(lookup.offset, at);
            assert_int_equal(lookup.found_timestamp, 1000 + at);
            assert_int_equal(lookup.epoch, 2);
            lookup.upto = LOG_UPTO_HIGH_WATERMARK; /* 0: nothing may be found */
            assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
            assert_int_equal(lookup.offset, -1);
        }
        struct log_lookup lookup = {.log = l.log, .timestamp = 5, .upto = LOG_UPTO_END};
        assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
        assert_int_equal(lookup.offset, 0);
        lookup.timestamp = 1120;
        assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
        assert_int_equal(lookup.offset, -1);
        lookup.timestamp = LOG_TIME_MAX;
        assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
        assert_int_equal(lookup.offset, 119);
        if (life == 0) bench_stop(b);
        else bench_power_cut(b, BENCH_LOSE_ALL);
        started(b, &l);
    }
    ended(b);
}

/* A log that its owner closed can be taken up again in the same process, as it was. */
TEST(log_closed_and_taken_up_again) {
    struct bench_log l;
    struct waiting w;
    struct bench *b = started(small_bench(), &l);
    fill(b, &l, 30, 2);
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
    ended(b);
}

/* A topic's folder that belongs to another topic id is not touched. */
TEST(log_of_another_topic_id_is_refused) {
    struct bench_log l;
    struct bench *b = small_bench();
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
    ended(b);
}

/* One append of several batches (as a follower gets them) is given out batch by batch, up to the bound and from the middle. */
TEST(log_reads_within_an_append_of_many_batches) {
    struct bench_log l;
    struct bench *b = started(small_bench(), &l);
    struct slab *all = slab_new(bench_pool(b), 1 << 16);
    for (log_offset base = 0; base < 30; base += 3) {
        struct slab *one = bench_batch(b, base, 1, 3, 60);
        memcpy(all->bytes + all->used, one->bytes, one->used);
        all->used += one->used;
        slab_drop(one);
    }
    struct log_appended out;
    struct log_append append = {.batches = {all->bytes, all->used, all}, .origin = LOG_FROM_LEADER};
    assert_int_equal(log_append(l.log, &append, &out), ERR_NONE);
    assert_int_equal(out.batches, 10);
    slab_drop(all);
    assert_true(bench_until_durable(b, &l, 30));
    for (int memory = 1; memory >= 0; memory--) {
        for (log_offset mark = 3; mark <= 30; mark += 3) {
            log_high_watermark_set(l.log, mark);
            for (log_offset from = 0; from < mark; from++) {
                struct bench_seen seen = bench_read_all(b, l.log, from, LOG_UPTO_HIGH_WATERMARK, 600, true);
                assert_int_equal(seen.next, log_high_watermark(l.log));
                assert_int_equal(seen.batches, (log_high_watermark(l.log) - from + 2) / 3);
                assert_int_equal(seen.reads_memory, memory ? seen.reads : 0);
            }
        }
        if (!memory) break;
        bench_stop(b);
        started(b, &l);
    }
    ended(b);
}

/* The mark of a clean stop is gone, durably, before anything is written: a crash right after the start is seen as one. */
TEST(log_clean_mark_does_not_survive_the_start) {
    struct bench_log l;
    struct bench *b = started(small_bench(), &l);
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
    struct bench *b = small_bench();
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

static enum err append_epoch(struct bench *b, struct bench_log *l, leader_epoch epoch, log_offset base) {
    struct log_appended out;
    struct slab *slab = bench_batch(b, base, epoch, 2, 60);
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_LEADER};
    enum err err = log_append(l->log, &append, &out);
    slab_drop(slab);
    return err ? err : bench_until_durable(b, l, out.last + 1) ? ERR_NONE : ERR_IO;
}

/* What was cut leaves no epoch behind: a follower that then gets batches of a lower epoch knows only those, after a crash,
 * too, though the file had the higher one. */
TEST(log_epochs_of_what_was_cut_do_not_come_back) {
    for (int crash = 0; crash < 3; crash++) {
        struct bench_log l;
        struct bench *b = small_bench();
        bench_options(b)->recovery_checkpoint_ms = 1000;
        bench_options(b)->checkpoint_bytes_min = 1;
        started(b, &l);
        for (log_offset at = 0; at < 20; at += 2) assert_int_equal(append_epoch(b, &l, at < 10 ? 1 : 5, at), ERR_NONE);
        bench_pass(b, 3500);
        assert_true(bench_file_size(b, "orders-0/leader-epoch-checkpoint") > 8);
        struct waiting w;
        waiting_init(&w);
        assert_int_equal(bench_wait(b, &w, log_truncate(l.log, 10, &w.wait)), ERR_NONE);
        assert_int_equal(log_epoch_last(l.log), 1);
        for (log_offset at = 10; at < 16; at += 2) assert_int_equal(append_epoch(b, &l, 3, at), ERR_NONE);
        if (crash == 0) bench_stop(b);
        else bench_power_cut(b, crash == 1 ? BENCH_LOSE_ALL : BENCH_KEEP_ALL);
        started(b, &l);
        assert_int_equal(log_end(l.log), 16);
        assert_int_equal(log_epoch_last(l.log), 3);
        assert_int_equal(log_epoch_end_for(l.log, 3).end, 16);
        assert_int_equal(log_epoch_end_for(l.log, 2).end, 10);
        ended(b);
    }
}

/* A directory that was given up takes its logs with it: each fails once, and is told; nothing opens there any more. */
TEST(log_directory_offline) {
    struct bench_log l, other;
    struct bench *b = started(small_bench(), &l);
    fill(b, &l, 3, 0);
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

/* With many files written in a turn the file system is synced at once, and that is as good: a power cut right after loses
 * nothing of what was acknowledged. */
TEST(log_many_files_are_synced_together) {
    static struct bench_log l[40];
    struct bench *b = small_bench();
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
    ended(b);
}

/* Where the page cache does not have the headers a job brings them in, and the answer is the same. */
TEST(log_reads_what_is_cold) {
    struct bench_log l;
    struct bench *b = started(small_bench(), &l);
    fill(b, &l, 60, 0);
    bench_power_cut(b, BENCH_LOSE_ALL); /* the page cache is empty then */
    started(b, &l);
    sim_disk_trouble(bench_disk(b), (struct sim_disk_trouble){.cold_one_in = 2});
    log_high_watermark_set(l.log, 90);
    for (log_offset from = 0; from < 120; from += 13) {
        assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_END, 900, true).next, 120);
        assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_HIGH_WATERMARK, 900, true).next, from > 90 ? from : 90);
    }
    assert_true(log_store_metrics(bench_store(b))->reads_cold > 10);
    sim_disk_heal(bench_disk(b));
    ended(b);
}

/* One batch of a producer, its first; the log's answer. */
static enum err append_of(struct bench *b, struct log *log, producer_id id) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    struct log_appended out;
    batch_options_init(&options);
    options.base_offset = log_end(log);
    options.producer_id = id;
    options.producer_epoch = 0;
    options.base_sequence = 0;
    batch_builder_init(&builder, bench_pool(b), 1 << 16, &options);
    assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    struct log_append append = {.batches = {.data = slab->bytes, .size = slab->used, .slab = slab}, .origin = LOG_FROM_CLIENT, .coordinator_epoch = -1};
    enum err err = log_append(log, &append, &out);
    slab_drop(slab);
    return err;
}

/* The bound of producers is that of all logs together, also after they were opened again; at it, a log without producers
 * takes a new one at the cost of the log that has most. */
TEST(log_producers_are_bounded_over_all_logs) {
    struct bench_log one, other;
    struct bench *b = small_bench();
    bench_options(b)->producers_max = 5;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &one, "one", 0), ERR_NONE);
    assert_int_equal(bench_open(b, &other, "other", 0), ERR_NONE);
    for (producer_id id = 1; id <= 4; id++) assert_int_equal(append_of(b, one.log, id), ERR_NONE); /* one below */
    assert_int_equal(append_of(b, other.log, 5), ERR_NONE); /* at it */
    assert_int_equal(producer_count(log_producers(one.log)), 4);
    assert_int_equal(append_of(b, one.log, 6), ERR_NONE); /* beyond: its own longest idle one goes */
    assert_int_equal(producer_count(log_producers(one.log)), 4);
    assert_int_equal(producer_count(log_producers(other.log)), 1);
    assert_true(bench_until_durable(b, &one, 5));
    assert_true(bench_until_durable(b, &other, 1));
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    struct bench_log third;
    assert_int_equal(bench_open(b, &one, "one", 0), ERR_NONE);
    assert_int_equal(bench_open(b, &other, "other", 0), ERR_NONE);
    assert_int_equal(bench_open(b, &third, "third", 0), ERR_NONE);
    assert_int_equal(producer_count(log_producers(one.log)), 4);
    assert_int_equal(append_of(b, third.log, 7), ERR_NONE); /* has none of its own that could go */
    assert_int_equal(producer_count(log_producers(third.log)), 1);
    assert_int_equal(producer_count(log_producers(other.log)), 1);
    assert_int_equal(producer_count(log_producers(one.log)), 0);
    ended(b);
}
