#include "base/text.h"
#include "log/log_test.h"
#include "log/producer.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The log directory of a real Kafka 4.4 node after a clean stop. Its topics had index.interval.bytes 200. */
struct golden { const char *topic; partition_index partition; log_offset start, end; uint32_t batches, segments; bool compacted; };
static const struct golden goldens[] = {
    {"plain", 0, 0, 60, 16, 1, false},
    {"plain", 1, 5, 60, 16, 1, false}, /* DeleteRecords moved its start: the batch with offset 5 is still whole */
    {"plain", 2, 0, 0, 0, 1, false},
    {"appendtime", 0, 0, 5, 5, 1, false},
    {"compacted", 0, 0, 30, 5, 2, true},
    {"txn", 0, 0, 7, 6, 1, false},
    {"__consumer_offsets", 0, 0, 31, 11, 1, true},
    {"__consumer_offsets", 1, 0, 16, 4, 1, true},
    {"__share_group_state", 0, 0, 1, 1, 1, false},
    {"__share_group_state", 1, 0, 3, 3, 1, false},
    {"__transaction_state", 0, 0, 11, 11, 1, true},
    {"__transaction_state", 1, 0, 0, 0, 1, true},
};

static const char *golden_folder(void) {
    static char path[512];
    struct text text;
    text_init(&text, path, sizeof path);
    text_add(&text, "%s/disk/files", test_vectors_folder());
    return path;
}

static struct bench *golden_bench(enum bench_where where) {
    struct bench *b = bench_new(where, 5);
    bench_file_remove(b, "meta.properties");
    bench_copy_in(b, golden_folder());
    bench_config(b)->index_interval_bytes = 200;
    bench_config(b)->retention_ms = -1;
    return b;
}

static enum err open_golden(struct bench *b, const struct golden *g, struct bench_log *l) {
    bench_config(b)->cleanup_compact = g->compacted;
    return bench_open(b, l, g->topic, g->partition);
}

static void check_golden(struct bench *b, const struct golden *g, struct bench_log *l, bool clean) {
    assert_int_equal(open_golden(b, g, l), ERR_NONE);
    assert_int_equal(log_report(l->log)->clean, clean);
    assert_int_equal(log_report(l->log)->cut_at, -1);
    assert_int_equal(log_start(l->log), g->start);
    assert_int_equal(log_end(l->log), g->end);
    assert_int_equal(log_high_watermark(l->log), g->end);
    assert_int_equal(log_segments(l->log), g->segments);
    struct bench_seen seen = bench_read_all(b, l->log, g->start, LOG_UPTO_HIGH_WATERMARK, 1 << 20, false);
    assert_int_equal(seen.next, g->end);
    assert_int_equal(seen.batches, g->start == 5 ? g->batches - 1 : g->batches);
    log_store_check(bench_store(b));
}

struct comparing { struct bench *bench; const char *folder; uint32_t files, snapshots; bool empty; };

static void compare_snapshots(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
    uint32_t count, other;
    assert_int_equal(a_size, b_size);
    assert_int_equal(producer_snapshot_count(span_of(a, a_size), &count), ERR_NONE);
    assert_int_equal(producer_snapshot_count(span_of(b, b_size), &other), ERR_NONE);
    for (uint32_t i = 0; i < count; i++) { /* Kafka writes them in the order of a hash map */
        bool found = false;
        for (uint32_t k = 0; k < count; k++) found |= memcmp(a + 10 + i * 46, b + 10 + k * 46, 46) == 0;
        assert_true(found);
    }
}

static int compare_file(void *context, const char *name, bool is_directory) {
    struct comparing *c = context;
    static uint8_t golden[1 << 16], ours[1 << 16];
    char path[1024];
    struct text text;
    bool log = strstr(name, ".log") != NULL, snapshot = strstr(name, ".snapshot") != NULL;
    if (is_directory || strstr(name, ".deleted")) return 0;
    /* An epoch that begins at the log's end goes with an opening, here as in Kafka; becoming leader brings it again. */
    if (c->empty && strcmp(name, "leader-epoch-checkpoint") == 0) return 0;
    text_init(&text, path, sizeof path);
    text_add(&text, "%s/%s/%s", golden_folder(), c->folder, name);
    struct io_files real = io_files_real();
    struct io_file *file;
    assert_int_equal(real.vtable->open(real.self, &file, path, IO_READ), 0);
    size_t golden_size = (size_t)real.vtable->read(real.self, file, golden, sizeof golden, 0);
    io_file_drop(file);
    text_reset(&text);
    text_add(&text, "%s/%s", c->folder, name);
    int64_t size = bench_file_size(c->bench, path);
    /* An empty index that was not loaded is not made again. */
    if (size == -ENOENT && golden_size == 0) return 0;
    /* Only the end's snapshot is made again, not those of earlier segments: nobody would read them. */
    if (size == -ENOENT && strcmp(name, "00000000000000000024.snapshot") == 0) return 0;
    assert_int_equal(size, golden_size);
    bench_file_read(c->bench, path, ours, sizeof ours);
    if (snapshot) compare_snapshots(ours, (size_t)size, golden, golden_size);
    else assert_memory_equal(ours, golden, golden_size);
    c->files += !log;
    c->snapshots += snapshot;
    return 0;
}

static uint32_t compare_with_golden(struct bench *b) {
    uint32_t files = 0;
    for (size_t i = 0; i < countof(goldens); i++) {
        char folder[300], path[1024];
        struct text text;
        text_init(&text, folder, sizeof folder);
        text_add(&text, "%s-%d", goldens[i].topic, (int)goldens[i].partition);
        text_init(&text, path, sizeof path);
        text_add(&text, "%s/%s", golden_folder(), folder);
        struct comparing comparing = {b, folder, 0, 0, goldens[i].end == 0};
        struct io_files real = io_files_real();
        assert_int_equal(real.vtable->list(real.self, path, compare_file, &comparing), 0);
        files += comparing.files;
    }
    return files;
}

/* Kafka's own directory opens as clean, each partition ends where Kafka's did and is read whole; after our own clean stop
 * every file is byte for byte as it was. */
static void open_golden_dir(enum bench_where where, time_ms producer_expiration_ms) {
    struct bench *b = golden_bench(where);
    bench_options(b)->producer_expiration_ms = producer_expiration_ms;
    struct bench_log logs[countof(goldens)];
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_true(log_dirs_were_clean(bench_dirs(b)));
    assert_int_equal(log_dirs_previous_epoch(bench_dirs(b)), 14);
    for (size_t i = 0; i < countof(goldens); i++) check_golden(b, &goldens[i], &logs[i], true);
    bench_stop(b);
    assert_true(compare_with_golden(b) > 40);
    bench_free(b);
}
TEST(log_golden_directory_opens_clean) { open_golden_dir(BENCH_SIM, INT64_MAX / 2); }
TEST(log_golden_directory_opens_clean_on_a_real_disk) { open_golden_dir(BENCH_REAL, INT64_MAX / 2); }
/* Whatever the day: producers that are too old are forgotten, and no file tells of it. */
TEST(log_golden_directory_stays_as_it_is_when_its_producers_are_too_old) { open_golden_dir(BENCH_SIM, INT64_MIN / 2); }
TEST(log_golden_directory_stays_as_it_is_on_any_day) { open_golden_dir(BENCH_REAL, 0); }

static int remove_derived(void *context, const char *name, bool is_directory) {
    static const char *const endings[] = {".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint"};
    struct comparing *c = context;
    size_t size = strlen(name);
    for (size_t i = 0; i < countof(endings); i++) {
        size_t end = strlen(endings[i]);
        char path[1024];
        struct text text;
        if (size < end || strcmp(name + size - end, endings[i]) != 0) continue;
        text_init(&text, path, sizeof path);
        text_add(&text, "%s/%s", c->folder, name);
        bench_file_remove(c->bench, path);
        c->files++;
    }
    return 0;
}

/* Without indexes, snapshots, epochs, recovery points and the mark, all of it is made again from the segments alone: the
 * same ends, and after a stop the very bytes that Kafka had written (L6). */
TEST(log_golden_directory_is_rebuilt_from_its_segments) {
    struct bench *b = golden_bench(BENCH_SIM);
    struct bench_log logs[countof(goldens)];
    bench_file_remove(b, ".kafka_cleanshutdown");
    bench_file_remove(b, "recovery-point-offset-checkpoint");
    for (size_t i = 0; i < countof(goldens); i++) {
        char folder[300], path[1024];
        struct text text;
        text_init(&text, folder, sizeof folder);
        text_add(&text, "%s-%d", goldens[i].topic, (int)goldens[i].partition);
        text_init(&text, path, sizeof path);
        text_add(&text, "%s/%s", bench_dir(b), folder);
        struct comparing removing = {b, folder, 0, 0, false};
        struct io_files files = bench_files(b);
        assert_int_equal(files.vtable->list(files.self, path, remove_derived, &removing), 0);
        assert_true(removing.files >= 3);
    }
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_false(log_dirs_were_clean(bench_dirs(b)));
    for (size_t i = 0; i < countof(goldens); i++) check_golden(b, &goldens[i], &logs[i], false);
    bench_stop(b);
    assert_true(compare_with_golden(b) > 30);
    bench_free(b);
}

/* ---- Look-ups by timestamp, against a walk over all records. */
struct naive { log_offset offset; time_ms timestamp; };

static struct naive walk(struct bench *b, struct log *log, time_ms target, bool largest) {
    struct naive found = {-1, -1};
    struct arena arena;
    struct chain chain;
    arena_init(&arena, bench_pool(b), 0);
    chain_init(&chain, &arena);
    struct codecs codecs;
    codecs_init(&codecs, bench_pool(b));
    struct log_read read = {.log = log, .from = log_start(log), .bytes_max = 1 << 20, .min_one = true, .upto = LOG_UPTO_END, .out = &chain};
    if (log_start(log) < log_end(log)) assert_int_equal(bench_read(b, &read), ERR_NONE);
    uint8_t *bytes = malloc(1 << 16);
    struct span rest = span_of(bytes, bench_copy(b, &chain, bytes, 1 << 16));
    struct batch batch;
    while (batch_next(&rest, &batch) == ERR_NONE) {
        struct batch_records records;
        struct record_cursor cursor;
        struct record record;
        struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;
        assert_int_equal(batch_records_open(&batch, &codecs, &limits, &records), ERR_NONE);
        record_cursor_init(&cursor, &batch, records.bytes);
        while (record_next(&cursor, &record) == ERR_NONE) {
            if (record.offset < log_start(log)) continue;
            if (largest ? record.timestamp > found.timestamp : found.offset < 0 && record.timestamp >= target)
                found = (struct naive){record.offset, record.timestamp};
        }
        batch_records_close(&records);
    }
    free(bytes);
    chain_clear(&chain);
    codecs_destroy(&codecs);
    arena_destroy(&arena);
    return found;
}

/* Every millisecond that matters is asked for, in each golden log of one segment, with Kafka's indexes and without any:
 * the answers are those of a walk over all records. */
TEST(log_lookups_by_timestamp_agree_with_a_walk) {
    for (int without_indexes = 0; without_indexes < 2; without_indexes++) {
        struct bench *b = golden_bench(BENCH_SIM);
        struct bench_log l;
        uint32_t asked = 0;
        if (without_indexes) {
            bench_file_remove(b, ".kafka_cleanshutdown");
            bench_file_remove(b, "recovery-point-offset-checkpoint");
        }
        assert_int_equal(bench_start(b), ERR_NONE);
        for (size_t i = 0; i < countof(goldens); i++) {
            if (goldens[i].segments > 1) continue;
            assert_int_equal(open_golden(b, &goldens[i], &l), ERR_NONE);
            struct naive max = walk(b, l.log, 0, true);
            struct log_lookup lookup = {.log = l.log, .timestamp = LOG_TIME_MAX, .upto = LOG_UPTO_END};
            assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
            assert_int_equal(lookup.offset, max.offset);
            assert_int_equal(lookup.found_timestamp, max.timestamp);
            for (time_ms back = 0; back < 60000 && max.offset >= 0; back += back < 5000 ? 97 : 1999) {
                struct naive expected = walk(b, l.log, max.timestamp + 1 - back, false);
                lookup = (struct log_lookup){.log = l.log, .timestamp = max.timestamp + 1 - back, .upto = LOG_UPTO_END};
                assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
                assert_int_equal(lookup.offset, expected.offset);
                assert_int_equal(lookup.found_timestamp, expected.timestamp);
                asked++;
            }
        }
        assert_true(asked > 500);
        bench_stop(b);
        bench_free(b);
    }
}

/* The special timestamps of ListOffsets. */
TEST(log_lookups_of_special_timestamps) {
    struct bench *b = golden_bench(BENCH_SIM);
    struct bench_log l;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "plain", 1), ERR_NONE);
    struct log_lookup lookup = {.log = l.log, .timestamp = LOG_TIME_EARLIEST};
    assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
    assert_int_equal(lookup.offset, 5);
    assert_int_equal(lookup.epoch, 0);
    lookup.timestamp = LOG_TIME_LATEST;
    assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
    assert_int_equal(lookup.offset, 60);
    assert_int_equal(lookup.found_timestamp, -1);
    lookup.timestamp = LOG_TIME_LATEST_TIERED;
    assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
    assert_int_equal(lookup.offset, -1);
    lookup.timestamp = -7;
    assert_int_equal(bench_lookup(b, &lookup), ERR_INVALID);
    bench_stop(b);
    bench_free(b);
}

/* The aborted transaction that Kafka's index names is found from its file, and again from the log alone. */
TEST(log_aborted_transactions_of_the_golden_directory) {
    for (int rebuilt = 0; rebuilt < 2; rebuilt++) {
        struct bench *b = golden_bench(BENCH_SIM);
        struct bench_log l;
        if (rebuilt) {
            bench_file_remove(b, ".kafka_cleanshutdown");
            bench_file_remove(b, "recovery-point-offset-checkpoint");
            bench_file_remove(b, "txn-0/00000000000000000000.txnindex");
            bench_file_remove(b, "txn-0/00000000000000000007.snapshot");
        }
        assert_int_equal(bench_start(b), ERR_NONE);
        assert_int_equal(bench_open(b, &l, "txn", 0), ERR_NONE);
        struct arena arena;
        arena_init(&arena, bench_pool(b), 0);
        struct log_aborted_list list = {.log = l.log, .from = 0, .upto = 7, .arena = &arena};
        assert_int_equal(log_aborted_list(&list), ERR_NONE);
        assert_int_equal(list.count, 1);
        assert_int_equal(list.items[0].first, 3);
        list.from = 6;
        assert_int_equal(log_aborted_list(&list), ERR_NONE);
        assert_int_equal(list.count, 0);
        arena_destroy(&arena);
        bench_stop(b);
        bench_free(b);
    }
}
