#include "base/random.h"
#include "base/text.h"
#include "log/clean_map.h"
#include "log/log_test.h"
#include "log/producer.h"
#include "sim/sim_disk.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was appended, offset by offset, and what of it must still be there after a cleaning. */
enum { KEYS = 24, OFFSETS_MAX = 6000, PRODUCERS = 4 };
struct fact {
    bool there;              /* a record was appended at this offset        */
    bool marker, aborted, tombstone, commit;
    int key, producer;       /* producer: -1 none                           */
    uint32_t bytes;
};
struct model {
    struct bench *b;
    struct bench_log l;
    struct random random;
    struct fact facts[OFFSETS_MAX];
    log_offset end;          /* what was acknowledged                        */
    int32_t sequences[PRODUCERS];
    log_offset open[PRODUCERS]; /* first offset of a producer's transaction; -1 */
    log_offset last_data[PRODUCERS];
};

static struct model *model_new(uint64_t seed) {
    struct model *m = calloc(1, sizeof *m);
    m->b = bench_new(BENCH_SIM, seed);
    random_seed(&m->random, seed);
    struct log_config *config = bench_config(m->b);
    config->segment_bytes = 6000;
    config->index_interval_bytes = 300;
    config->retention_ms = -1;
    config->cleanup_delete = false;
    config->cleanup_compact = true;
    config->min_cleanable_dirty_ratio = 0.01;
    config->delete_retention_ms = 100000;
    config->file_delete_delay_ms = 500;
    bench_options(m->b)->cleaner_backoff_ms = 100;
    bench_options(m->b)->producer_expiration_ms = INT64_MAX / 2;
    for (int i = 0; i < PRODUCERS; i++) m->open[i] = m->last_data[i] = -1;
    return m;
}

static void model_free(struct model *m) {
    bench_free(m->b);
    free(m);
}

static void model_start(struct model *m) {
    assert_int_equal(bench_start(m->b), ERR_NONE);
    assert_int_equal(bench_open(m->b, &m->l, "table", 0), ERR_NONE);
}

static struct slab *make_batch(struct model *m, int producer, bool transactional, uint32_t count, struct fact facts[]) {
    struct batch_builder builder;
    struct batch_options options;
    struct codecs codecs;
    struct slab *slab;
    batch_options_init(&options);
    options.codec = (enum compression)random_below(&m->random, COMPRESSION_COUNT);
    options.transactional = transactional;
    if (producer >= 0) {
        options.producer_id = 1000 + producer;
        options.producer_epoch = 0;
        options.base_sequence = m->sequences[producer];
    }
    codecs_init(&codecs, bench_pool(m->b));
    batch_builder_init(&builder, bench_pool(m->b), 1 << 20, &options);
    for (uint32_t i = 0; i < count; i++) {
        char key[32], value[400];
        log_offset offset = log_end(m->l.log) + i;
        facts[i] = (struct fact){.there = true, .key = (int)random_below(&m->random, KEYS), .producer = producer,
                                 .tombstone = random_below(&m->random, 6) == 0, .bytes = 20 + (uint32_t)random_below(&m->random, 300)};
        int size = snprintf(key, sizeof key, "key-%d", facts[i].key);
        memset(value, (int)('a' + offset % 26), sizeof value);
        snprintf(value, sizeof value, "%lld", (long long)offset);
        struct span v = facts[i].tombstone ? (struct span){0} : span_of(value, facts[i].bytes);
        assert_int_equal(batch_builder_add(&builder, 1000 + offset, span_of(key, (size_t)size), v, NULL, 0), ERR_NONE);
    }
    assert_int_equal(batch_builder_finish(&builder, &codecs, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    codecs_destroy(&codecs);
    return slab;
}

/* False: the disk was cut. */
static bool append(struct model *m, struct slab *slab, enum log_origin origin, const struct fact *facts, uint32_t count, log_offset *base) {
    struct log_appended out;
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = origin, .epoch = 0, .coordinator_epoch = origin == LOG_FROM_COORDINATOR ? 0 : -1};
    struct batch batch;
    assert_int_equal(batch_header_parse(span_of(slab->bytes, slab->used), &batch), ERR_NONE);
    if (batch_is_transactional(&batch) && origin == LOG_FROM_CLIENT) /* as after the coordinator said yes */
        assert_int_equal(producer_guard(log_producers(m->l.log), batch.producer_id, 0, batch.base_sequence, false, 0, &append.verification_guard), ERR_NONE);
    enum err err = log_append(m->l.log, &append, &out);
    slab_drop(slab);
    if (err && bench_is_stuck(m->b)) return false;
    if (err) fail_msg("append: %s, kafka error %d", err_name(err), out.kafka_error);
    assert_int_equal(err, ERR_NONE);
    assert_true(out.last < OFFSETS_MAX);
    /* It may be there after a cut even if nobody was told so. */
    for (uint32_t i = 0; i < count; i++) m->facts[out.base + i] = facts[i];
    *base = out.base;
    if (!bench_until_durable(m->b, &m->l, out.last + 1)) return false;
    log_high_watermark_set(m->l.log, log_end(m->l.log));
    m->end = log_end(m->l.log);
    return true;
}

static bool append_some(struct model *m) {
    struct fact facts[8];
    uint32_t count = 1 + (uint32_t)random_below(&m->random, 8);
    int producer = (int)random_below(&m->random, PRODUCERS + 1) - 1;
    log_offset base;
    /* Producers 0 and 1 are transactional, 2 and 3 idempotent. */
    bool transactional = producer == 0 || producer == 1;
    if (transactional && m->open[producer] >= 0 && random_below(&m->random, 3) == 0) {
        struct slab *slab;
        bool commit = random_below(&m->random, 2);
        facts[0] = (struct fact){.there = true, .marker = true, .commit = commit, .producer = producer};
        assert_int_equal(batch_build_marker(bench_pool(m->b), commit ? CONTROL_COMMIT : CONTROL_ABORT, 1000 + producer, 0, 0, 1000, &slab), ERR_NONE);
        if (!commit)
            for (log_offset at = m->open[producer]; at < log_end(m->l.log); at++)
                if (m->facts[at].producer == producer && !m->facts[at].marker) m->facts[at].aborted = true;
        m->open[producer] = -1;
        return append(m, slab, LOG_FROM_COORDINATOR, facts, 1, &base);
    }
    struct slab *slab = make_batch(m, producer, transactional, count, facts);
    if (transactional && m->open[producer] < 0) m->open[producer] = log_end(m->l.log);
    if (producer >= 0) m->sequences[producer] += (int32_t)count;
    if (!append(m, slab, LOG_FROM_CLIENT, facts, count, &base)) return false;
    if (producer >= 0) m->last_data[producer] = base + count - 1;
    return true;
}

/* Reads all and holds each record against what was appended; answers which offsets are there. */
static void read_table(struct model *m, bool *there, uint32_t *horizons) {
    log_offset next = 0;
    struct arena arena;
    struct codecs codecs;
    *horizons = 0;
    memset(there, 0, OFFSETS_MAX);
    arena_init(&arena, bench_pool(m->b), 0);
    codecs_init(&codecs, bench_pool(m->b));
    for (;;) {
        struct chain chain;
        chain_init(&chain, &arena);
        struct log_read read = {.log = m->l.log, .from = next, .bytes_max = 3000, .min_one = true, .upto = LOG_UPTO_HIGH_WATERMARK, .out = &chain};
        assert_int_equal(bench_read(m->b, &read), ERR_NONE);
        if (read.bytes == 0) break;
        uint8_t *bytes = malloc(read.bytes);
        assert_int_equal(bench_copy(m->b, &chain, bytes, read.bytes), read.bytes);
        chain_clear(&chain);
        struct span rest = span_of(bytes, read.bytes);
        struct batch batch;
        while (!batch_next(&rest, &batch)) {
            struct batch_records records;
            struct record_cursor cursor;
            struct record record;
            struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;
            assert_true(batch_crc_is_good(&batch));
            assert_true(batch_last_offset(&batch) >= next);
            *horizons += batch_has_delete_horizon(&batch);
            assert_int_equal(batch_records_open(&batch, &codecs, &limits, &records), ERR_NONE);
            record_cursor_init(&cursor, &batch, records.bytes);
            while (!record_next(&cursor, &record)) {
                const struct fact *fact = &m->facts[record.offset];
                assert_true(fact->there);
                assert_int_equal(fact->marker, batch_is_control(&batch));
                there[record.offset] = true;
                if (fact->marker) continue;
                char key[32], value[32];
                int size = snprintf(key, sizeof key, "key-%d", fact->key);
                assert_true(span_equal(record.key, span_of(key, (size_t)size)));
                assert_int_equal(record.timestamp, 1000 + record.offset);
                assert_int_equal(record.value.data == NULL, fact->tombstone);
                if (fact->tombstone) continue;
                assert_int_equal(record.value.size, fact->bytes);
                size = snprintf(value, sizeof value, "%lld", (long long)record.offset);
                assert_memory_equal(record.value.data, value, (size_t)size);
            }
            batch_records_close(&records);
            next = batch_next_offset(&batch);
        }
        free(bytes);
    }
    codecs_destroy(&codecs);
    arena_destroy(&arena);
}

/* The last record of a key that counts, below `bound`; -1: none. */
static log_offset last_of(const struct model *m, int key, log_offset bound) {
    while (bound-- > 0) {
        const struct fact *fact = &m->facts[bound];
        if (fact->there && !fact->marker && !fact->aborted && fact->key == key) return bound;
    }
    return -1;
}

/* Whatever was cleaned so far: nobody may miss a key's last value, and nothing in the active segment. */
static void check_nothing_lost(const struct model *m, const bool *there, bool tombstones_may_go) {
    for (int key = 0; key < KEYS; key++) {
        log_offset last = last_of(m, key, m->end);
        if (last < 0) continue;
        if (m->facts[last].tombstone && tombstones_may_go) continue;
        if (!there[last]) fail_msg("key %d lost its last record, at %lld%s of %lld", key, (long long)last, m->facts[last].tombstone ? " (a tombstone)" : "", (long long)m->end);
    }
}

/* What is clean holds one record of a key at most, and no aborted one. */
static void check_is_clean(const struct model *m, const bool *there, log_offset clean_end) {
    for (log_offset at = 0; at < clean_end; at++) {
        const struct fact *fact = &m->facts[at];
        if (!there[at] || fact->marker) continue;
        if (fact->aborted) fail_msg("an aborted record stayed at %lld", (long long)at);
        if (last_of(m, fact->key, clean_end) != at) fail_msg("a superseded record stayed at %lld", (long long)at);
    }
}

/* The offset behind the last segment but one: what can be cleaned when no transaction is open. */
static log_offset active_base(struct model *m) { return log_end_position(m->l.log).segment_base; }

static void close_transactions(struct model *m) {
    for (int producer = 0; producer < 2; producer++) {
        struct slab *slab;
        struct fact fact = {.there = true, .marker = true, .commit = true, .producer = producer};
        log_offset base;
        if (m->open[producer] < 0) continue;
        m->open[producer] = -1;
        assert_int_equal(batch_build_marker(bench_pool(m->b), CONTROL_COMMIT, 1000 + producer, 0, 0, 1000, &slab), ERR_NONE);
        assert_true(append(m, slab, LOG_FROM_COORDINATOR, &fact, 1, &base));
    }
}

/* Random batches of every codec, of idempotent and transactional producers, with tombstones: after cleanings the last value
 * of each key is there, what it superseded and what was aborted is not, and every record is as it was appended. Once the
 * horizon has passed, the tombstones of the clean part are gone, too. A restart sees the same. */
TEST(clean_keeps_the_last_record_of_each_key) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct model *m = model_new(seed);
        static bool there[OFFSETS_MAX], again[OFFSETS_MAX];
        uint32_t horizons;
        model_start(m);
        const struct log_metrics *metrics = log_store_metrics(bench_store(m->b));
        for (int i = 0; i < 300; i++) {
            assert_true(append_some(m));
            log_store_check(bench_store(m->b));
        }
        close_transactions(m);
        assert_true(bench_pass(m->b, 2000));
        assert_true(metrics->cleanings > 0);
        assert_int_equal(metrics->cleanings_failed, 0);
        read_table(m, there, &horizons);
        check_nothing_lost(m, there, false);
        check_is_clean(m, there, active_base(m));
        assert_true(horizons > 0);
        for (int i = 0; i < 60; i++) assert_true(append_some(m)); /* rolls, so that there is something to clean */
        close_transactions(m);
        assert_true(bench_pass(m->b, 200000)); /* delete.retention.ms goes by */
        for (int i = 0; i < 60; i++) assert_true(append_some(m));
        close_transactions(m);
        assert_true(bench_pass(m->b, 2000));
        log_offset aged = 0, end = active_base(m);
        read_table(m, there, &horizons);
        check_nothing_lost(m, there, true);
        check_is_clean(m, there, end);
        /* Tombstones of the first 300 batches' segments are older than the retention by now. */
        for (log_offset at = 0; at < 500; at++) aged += there[at] && m->facts[at].tombstone;
        assert_int_equal(aged, 0);
        log_store_check(bench_store(m->b));
        bench_stop(m->b);
        model_start(m);
        read_table(m, again, &horizons);
        assert_memory_equal(there, again, sizeof there);
        for (int producer = 0; producer < PRODUCERS; producer++) {
            struct producer_view view;
            if (m->last_data[producer] < 0) continue;
            assert_true(producer_find(log_producers(m->l.log), 1000 + producer, &view));
            assert_int_equal(view.last_sequence, m->sequences[producer] - 1);
        }
        bench_stop(m->b);
        model_free(m);
    }
}

/* A log with much to clean; its cleaner sleeps for so long. */
static struct model *ready_to_clean(uint64_t seed) {
    struct model *m = model_new(seed);
    bench_options(m->b)->cleaner_backoff_ms = 50000;
    bench_config(m->b)->delete_retention_ms = INT64_MAX / 4;
    model_start(m);
    for (int i = 0; i < 70; i++) assert_true(append_some(m));
    close_transactions(m);
    /* Several of its segments fit into one from now on: each group takes the place of more than one file. */
    struct log_config config = *bench_config(m->b);
    config.segment_bytes = 25000;
    log_config_set(m->l.log, &config);
    return m;
}

/* The segments' files, in the order of their names: no offset lies in two of them. */
struct walk { struct bench *b; log_offset next; };
static int walk_file(void *context, const char *name, bool is_directory) {
    struct walk *walk = context;
    static uint8_t bytes[1 << 17];
    char path[128];
    size_t size = strlen(name);
    struct batch batch;
    if (is_directory || size < 4 || strcmp(name + size - 4, ".log") != 0) return 0;
    snprintf(path, sizeof path, "table-0/%s", name);
    struct span rest = span_of(bytes, bench_file_read(walk->b, path, bytes, sizeof bytes));
    for (; !batch_next(&rest, &batch); walk->next = batch_next_offset(&batch)) assert_true(batch.base_offset >= walk->next);
    return 0;
}

static void check_files(struct model *m) {
    struct io_files files = bench_files(m->b);
    struct walk walk = {.b = m->b};
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/table-0", bench_dir(m->b));
    assert_int_equal(files.vtable->list(files.self, folder, walk_file, &walk), 0);
}

/* After whatever happened to the disk: all that counts is there (twice is nothing: read_table sees to that), and it goes on. */
static void look_again(struct model *m) {
    static bool there[OFFSETS_MAX];
    struct fact facts[2];
    uint32_t horizons;
    log_offset base;
    model_start(m);
    assert_false(log_report(m->l.log)->flushed_lost);
    assert_true(log_report(m->l.log)->damaged_at < 0);
    assert_int_equal(log_end(m->l.log), m->end);
    log_high_watermark_set(m->l.log, m->end);
    check_files(m);
    read_table(m, there, &horizons);
    check_nothing_lost(m, there, false);
    assert_true(append(m, make_batch(m, -1, false, 2, facts), LOG_FROM_CLIENT, facts, 2, &base));
    assert_true(bench_pass(m->b, 120000)); /* and is cleaned, if it was not before */
    read_table(m, there, &horizons);
    check_nothing_lost(m, there, false);
    check_is_clean(m, there, active_base(m));
    log_store_check(bench_store(m->b));
    bench_stop(m->b);
}

static void cut_everywhere_with(uint64_t seed, enum bench_crash crash, bool kill) {
    uint64_t n = 0;
    for (bool whole = false; !whole; n++) {
        struct model *m = ready_to_clean(seed + n); /* each with another choice of what is lost */
        sim_disk_cut_after(bench_disk(m->b), n);
        whole = bench_pass(m->b, 60000) && log_store_metrics(bench_store(m->b))->cleanings > 0;
        sim_disk_cut_after(bench_disk(m->b), UINT64_MAX);
        if (kill) bench_kill(m->b);
        else bench_power_cut(m->b, crash);
        look_again(m);
        model_free(m);
    }
    assert_true(n > 30);
}

static void cut_everywhere(enum bench_crash crash, bool kill) { cut_everywhere_with(5, crash, kill); }

/* Power is cut before each changing operation of a cleaning in turn; what is not synced is lost, torn or kept. */
TEST(clean_power_cut_everywhere_loses_nothing) { cut_everywhere(BENCH_LOSE_ALL, false); }
TEST(clean_power_cut_everywhere_with_torn_writes) { cut_everywhere(BENCH_RANDOM, false); }
TEST(clean_power_cut_everywhere_with_luck) { cut_everywhere(BENCH_KEEP_ALL, false); }
TEST(clean_kill_everywhere) { cut_everywhere(BENCH_RANDOM, true); }

/* The same where the disk has written the newest changes of names, and none of those before: each step of a swap rests on
 * the folder's sync before it. */
TEST(clean_power_cut_everywhere_with_the_newest_names) {
    for (uint64_t seed = 0; seed < 5; seed++) cut_everywhere_with(1000 * seed, BENCH_NEWEST, false);
}

/* When a cleaning is over, its files have their names on the platter: no swap is left that a later cleaning would take for
 * its own and throw away. */
TEST(clean_leaves_names_that_are_synced) {
    struct model *m = ready_to_clean(4);
    while (log_store_metrics(bench_store(m->b))->cleanings == 0) bench_turns(m->b, 1);
    uint32_t logs = bench_count_files(m->b, "table-0", ".log");
    bench_power_cut(m->b, BENCH_LOSE_ALL);
    assert_int_equal(bench_count_files(m->b, "table-0", ".swap"), 0);
    assert_int_equal(bench_count_files(m->b, "table-0", ".log"), logs);
    look_again(m);
    model_free(m);
}

/* The n-th operation of a cleaning fails, for each n: with EIO the log stops, with a full disk it goes on uncleaned. */
static void fail_each(unsigned operations, int error, uint64_t at_least) {
    uint64_t n = 0;
    for (bool reached = true; reached; n++) {
        struct model *m = ready_to_clean(6);
        struct sim_disk_fault fault = {.operations = operations, .skip = n, .times = 1, .error = error};
        uint64_t before = bench_faults(m->b);
        sim_disk_fail(bench_disk(m->b), &fault);
        assert_true(bench_pass(m->b, 52000));
        reached = bench_faults(m->b) > before;
        sim_disk_heal(bench_disk(m->b));
        bench_kill(m->b);
        look_again(m);
        model_free(m);
    }
    assert_true(n >= at_least);
}
TEST(clean_survives_each_failed_write) { fail_each(SIM_DISK_WRITE, -EIO, 5); }
TEST(clean_survives_each_full_disk) { fail_each(SIM_DISK_WRITE, -ENOSPC, 5); }
TEST(clean_survives_each_failed_sync) { fail_each(SIM_DISK_SYNC, -EIO, 8); }
TEST(clean_survives_each_failed_read) { fail_each(SIM_DISK_READ, -EIO, 5); }
TEST(clean_survives_each_failed_open) { fail_each(SIM_DISK_OPEN, -EIO, 5); }
TEST(clean_survives_each_failed_change_of_names) { fail_each(SIM_DISK_NAMES, -EIO, 20); }

/* The n-th allocation of a cleaning fails, for each n: it is tried again later. */
TEST(clean_survives_each_failed_allocation) {
    uint64_t n = 1;
    for (bool reached = true; reached; n++) {
        struct model *m = ready_to_clean(8);
        bench_pool(m->b)->fail_at = n;
        assert_true(bench_pass(m->b, 52000));
        reached = bench_pool(m->b)->fail_at == 0;
        bench_pool(m->b)->fail_at = 0;
        assert_int_equal(log_state(m->l.log), LOG_OPEN);
        bench_kill(m->b);
        look_again(m);
        model_free(m);
    }
    assert_true(n > 20);
}

/* Readers, look-ups and lists of aborted transactions go on while segments are swapped under them. */
TEST(clean_and_readers_at_once) {
    struct model *m = model_new(7);
    static bool there[OFFSETS_MAX];
    uint32_t horizons;
    model_start(m);
    const struct log_metrics *metrics = log_store_metrics(bench_store(m->b));
    for (int i = 0; i < 250; i++) {
        assert_true(append_some(m));
        if (i % 5 == 0) read_table(m, there, &horizons);
        if (i % 7 == 0) {
            struct log_lookup lookup = {.log = m->l.log, .timestamp = 1000, .upto = LOG_UPTO_HIGH_WATERMARK};
            assert_int_equal(bench_lookup(m->b, &lookup), ERR_NONE);
            assert_true(lookup.offset >= 0);
        }
    }
    close_transactions(m);
    assert_true(bench_pass(m->b, 1000));
    assert_true(metrics->cleanings > 3);
    assert_int_equal(metrics->cleanings_failed, 0);
    read_table(m, there, &horizons);
    check_nothing_lost(m, there, false);
    check_is_clean(m, there, active_base(m));
    bench_stop(m->b);
    model_free(m);
}

/* A log that nobody has opened since the start is cleaned all the same, and closed again. */
TEST(clean_finds_closed_logs) {
    struct model *m = ready_to_clean(17);
    bench_stop(m->b);
    bench_options(m->b)->cleaner_backoff_ms = 1000;
    assert_int_equal(bench_start(m->b), ERR_NONE);
    struct log_spec spec = {.dir = log_dirs_find(bench_dirs(m->b), "table", 0), .topic = "table", .config = *bench_config(m->b)};
    struct log *log;
    assert_int_equal(log_new(&log, bench_store(m->b), &spec), ERR_NONE);
    assert_int_equal(log_state(log), LOG_CLOSED);
    assert_true(bench_pass(m->b, 2500));
    log_high_watermark_set(log, log_end(log)); /* as its leader does */
    assert_true(bench_pass(m->b, 10000));
    assert_true(log_store_metrics(bench_store(m->b))->cleanings > 0);
    assert_int_equal(log_state(log), LOG_CLOSED);
    uint64_t opens = log_store_metrics(bench_store(m->b))->opens;
    assert_true(bench_pass(m->b, 60000));
    assert_int_equal(log_store_metrics(bench_store(m->b))->opens, opens); /* nothing new: it is left alone */
    bench_stop(m->b);
    model_free(m);
}

/* Younger than the minimum lag: nothing is cleaned; below the dirty ratio: nothing either, until the maximum lag is over. */
TEST(clean_waits_as_the_configs_say) {
    struct model *m = model_new(9);
    struct log_config config;
    bench_config(m->b)->min_compaction_lag_ms = INT64_MAX / 4;
    model_start(m);
    const struct log_metrics *metrics = log_store_metrics(bench_store(m->b));
    for (int i = 0; i < 100; i++) assert_true(append_some(m));
    close_transactions(m);
    assert_true(bench_pass(m->b, 3000));
    assert_int_equal(metrics->cleanings, 0);
    config = *bench_config(m->b);
    config.min_compaction_lag_ms = 0;
    config.min_cleanable_dirty_ratio = 1;
    log_config_set(m->l.log, &config);
    assert_true(bench_pass(m->b, 3000));
    assert_int_equal(metrics->cleanings, 0);
    config.max_compaction_lag_ms = 1; /* the batches are of 1970 */
    log_config_set(m->l.log, &config);
    assert_true(bench_pass(m->b, 3000));
    assert_true(metrics->cleanings > 0);
    bench_stop(m->b);
    model_free(m);
}

/* A map with room for a few keys only: each cleaning gets a part further, and the end is the same. */
TEST(clean_with_a_small_map) {
    struct model *m = model_new(11);
    static bool there[OFFSETS_MAX];
    uint32_t horizons;
    struct clean_map map;
    uint8_t salt[CLEAN_SALT_BYTES] = {1};
    bench_options(m->b)->cleaner_dedupe_bytes = 14 * CLEAN_SLOT_BYTES;
    model_start(m);
    assert_int_equal(clean_map_init(&map, bench_pool(m->b), 1000, 10 * CLEAN_SLOT_BYTES, 0.9, salt), ERR_NONE);
    for (int i = 0; i < 9; i++) assert_true(clean_map_put(&map, span_of(&i, sizeof i), i));
    for (int i = 0; i < 9; i++) assert_int_equal(clean_map_get(&map, span_of(&i, sizeof i)), i);
    int tenth = 9;
    assert_false(clean_map_put(&map, span_of(&tenth, sizeof tenth), 9));
    assert_int_equal(clean_map_get(&map, span_of(&tenth, sizeof tenth)), -1);
    tenth = 3;
    assert_true(clean_map_put(&map, span_of(&tenth, sizeof tenth), 77)); /* a key that is there has room */
    assert_int_equal(clean_map_get(&map, span_of(&tenth, sizeof tenth)), 77);
    clean_map_destroy(&map);

    const struct log_metrics *metrics = log_store_metrics(bench_store(m->b));
    for (int i = 0; i < 200; i++) assert_true(append_some(m));
    close_transactions(m);
    assert_true(bench_pass(m->b, 10000));
    assert_true(metrics->cleanings > 10);
    assert_int_equal(metrics->cleanings_failed, 0);
    read_table(m, there, &horizons);
    check_nothing_lost(m, there, false);
    bench_stop(m->b);
    model_free(m);
}

/* A damaged batch in what is to be cleaned: the cleaning stops, the files stay as they are, the log goes on. */
TEST(clean_leaves_damage_alone) {
    struct model *m = model_new(13);
    model_start(m);
    const struct log_metrics *metrics = log_store_metrics(bench_store(m->b));
    for (int i = 0; i < 20; i++) assert_true(append_some(m));
    static uint8_t bytes[20000];
    const char *name = "table-0/00000000000000000000.log";
    size_t size = bench_file_read(m->b, name, bytes, sizeof bytes);
    assert_true(size > 1000);
    uint8_t damaged = bytes[70] ^= 4;
    bench_file_write(m->b, name, bytes, size);
    for (int i = 0; i < 60; i++) assert_true(append_some(m));
    close_transactions(m);
    assert_true(bench_pass(m->b, 3000));
    assert_int_equal(metrics->cleanings, 0);
    assert_int_equal(metrics->cleanings_failed, 1);
    assert_int_equal(bench_file_read(m->b, name, bytes, sizeof bytes) > size, true);
    assert_int_equal(bytes[70], damaged);
    assert_true(bench_file_size(m->b, "table-0/00000000000000000000.log.cleaned") < 0);
    assert_true(append_some(m));
    bench_stop(m->b);
    model_free(m);
}

/* The cleaner's settings change while it runs: with a new backoff it looks at once, a cleaning that a rate holds back is
 * over as soon as the bound is gone. */
TEST(clean_is_tuned_while_it_runs) {
    struct model *m = ready_to_clean(23);
    bench_stop(m->b);
    bench_options(m->b)->cleaner_step_bytes = 2000;
    model_start(m);
    log_high_watermark_set(m->l.log, log_end(m->l.log));
    const struct log_metrics *metrics = log_store_metrics(bench_store(m->b));
    struct log_store_options options = *bench_options(m->b);
    assert_true(bench_pass(m->b, 5000));
    assert_int_equal(metrics->cleanings, 0); /* it sleeps */
    options.cleaner_backoff_ms = 40000;
    options.cleaner_bytes_per_second = 1;
    log_store_tune(bench_store(m->b), &options);
    assert_true(bench_pass(m->b, 30000));
    assert_int_equal(metrics->cleanings, 0); /* it has begun, and goes on a byte a second */
    options.cleaner_bytes_per_second = 0;
    log_store_tune(bench_store(m->b), &options);
    assert_true(bench_pass(m->b, 1000));
    assert_true(metrics->cleanings > 0);
    bench_stop(m->b);
    model_free(m);
}

/* How long producers are remembered changes while the log is open, too. */
TEST(producers_expire_by_the_time_that_holds_now) {
    struct model *m = model_new(24);
    bench_options(m->b)->producer_check_ms = 1000;
    struct log_store_options options = *bench_options(m->b);
    model_start(m);
    for (int i = 0; i < 30; i++) assert_true(append_some(m));
    close_transactions(m);
    assert_true(bench_pass(m->b, 3000));
    assert_true(producer_count(log_producers(m->l.log)) > 0);
    options.producer_expiration_ms = 1;
    log_store_tune(bench_store(m->b), &options);
    assert_true(bench_pass(m->b, 1500));
    assert_int_equal(producer_count(log_producers(m->l.log)), 0);
    bench_stop(m->b);
    model_free(m);
}
