/* Rot in data that was flushed: only what is damaged is refused. */
#include "log/log_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include "wire/batch.h"

enum { BATCHES = 10, RECORDS = 2 };
static const char segment[] = "/data/orders-0/00000000000000000000.log";

static enum err read_one(struct bench *b, struct log *log, log_offset from) {
    struct arena arena;
    struct chain chain;
    arena_init(&arena, bench_pool(b), 0);
    chain_init(&chain, &arena);
    struct log_read read = {.log = log, .from = from, .bytes_max = 1, .min_one = true, .upto = LOG_UPTO_END, .out = &chain};
    enum err err = bench_read(b, &read);
    if (!err) assert_true(chain.bytes > 0);
    chain_clear(&chain);
    arena_destroy(&arena);
    return err;
}

/* Every batch but the damaged one is read, by each of its offsets and in a row. */
static void only_that_one(struct bench *b, struct log *log, uint32_t damaged, log_offset end) {
    assert_int_equal(log_end(log), end);
    for (log_offset offset = 0; offset < end; offset++)
        assert_int_equal(read_one(b, log, offset), offset / RECORDS == damaged ? ERR_CORRUPT : ERR_NONE);
    log_offset behind = (damaged + 1) * RECORDS;
    if (behind < end) assert_int_equal(bench_read_all(b, log, behind, LOG_UPTO_END, 1000, true).next, end);
}

/* A byte of a batch in the last segment turns while the node is down: in its length, its magic, its checksum or what that
 * covers; in a batch in the middle and in the last one; there is no index entry behind it. The log opens, after a clean stop
 * and after a kill, ends where it ended, refuses that batch and gives all others; it is appended to, and it is all the same
 * after the next start. */
TEST(rot_in_flushed_data_is_refused_and_nothing_else) {
    static const int places[] = {8, 9, 10, 11, 16, 17, 21, 23, 60, 100, -1};
    for (uint32_t damaged = 5; damaged < BATCHES; damaged += BATCHES - 6) {
        for (size_t i = 0; i < countof(places); i++) {
            for (int clean = 0; clean < 2; clean++) {
                struct bench_log l;
                struct bench *b = bench_new(BENCH_SIM, 1);
                bench_config(b)->segment_bytes = 1 << 20;
                bench_config(b)->retention_ms = -1;
                bench_started(b, &l);
                for (int n = 0; n < BATCHES; n++) assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
                bench_stop(b);
                uint64_t at = places[i] < 0 ? bench_batch_at(b, damaged + 1) - 1 : bench_batch_at(b, damaged) + (uint64_t)places[i];
                assert_int_equal(sim_disk_rot(bench_disk(b), segment, at, 0x41), 0);
                if (!clean) bench_file_remove(b, ".kafka_cleanshutdown");
                for (int start = 0; start < 3; start++) {
                    log_offset end = (BATCHES + start) * RECORDS;
                    bench_started(b, &l);
                    only_that_one(b, l.log, damaged, end);
                    assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
                    only_that_one(b, l.log, damaged, end + RECORDS);
                    log_store_check(bench_store(b));
                    if (start == 0) bench_stop(b);
                    else bench_power_cut(b, BENCH_LOSE_ALL);
                }
                bench_free(b);
            }
        }
    }
}

/* The same of what no checksum covers: the base offset and the leader epoch, a little more, a little less, and much more. They are
 * held against those of the neighbours, whether the index is there or is made anew. (Of the last batch there is but one.) */
TEST(rot_outside_of_the_checksum_is_refused_and_nothing_else) {
    static const struct { int place; uint8_t mask; } turns[] = {{7, 1}, {7, 2}, {7, 8}, {7, 0x40}, {4, 1}, {1, 1}, {0, 0x80}, {0, 0x7f}, {15, 1}, {15, 2}, {15, 4}, {12, 0x40}};
    for (uint32_t damaged = 0; damaged < BATCHES - 1; damaged += 4) {
        for (size_t i = 0; i < countof(turns); i++) {
            for (int how = 0; how < 4; how++) {
                struct bench_log l;
                struct bench *b = bench_new(BENCH_SIM, 1);
                bench_config(b)->segment_bytes = 1 << 20;
                bench_config(b)->retention_ms = -1;
                if (how & 1) bench_config(b)->index_interval_bytes = 100;
                bench_started(b, &l);
                for (int n = 0; n < BATCHES; n++) assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
                bench_stop(b);
                assert_int_equal(sim_disk_rot(bench_disk(b), segment, bench_batch_at(b, damaged) + (uint64_t)turns[i].place, turns[i].mask), 0);
                if (how & 2) bench_file_remove(b, ".kafka_cleanshutdown");
                /* A lower epoch of the first one is what an older leader would have written. */
                bool is_seen = !(damaged == 0 && turns[i].place == 15 && (2 ^ turns[i].mask) < 2);
                bench_started(b, &l);
                assert_int_equal(log_end(l.log), BATCHES * RECORDS);
                if (is_seen) only_that_one(b, l.log, damaged, BATCHES * RECORDS);
                assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
                if (is_seen) only_that_one(b, l.log, damaged, (BATCHES + 1) * RECORDS);
                log_store_check(bench_store(b));
                bench_stop(b);
                bench_free(b);
            }
        }
    }
}

/* What lies in a record's value and is a batch itself is never taken for one of the log's, though it stands behind damage. */
TEST(rot_before_a_batch_within_a_value) {
    for (int place = 8; place < 12; place++) {
        struct bench_log l;
        struct bench *b = bench_new(BENCH_SIM, 1);
        bench_config(b)->segment_bytes = 1 << 20;
        bench_config(b)->retention_ms = -1;
        bench_started(b, &l);
        assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
        struct slab *inner = bench_batch(b, 1000, 2, 1, 40), *slab;
        struct batch_builder builder;
        struct batch_options options;
        batch_options_init(&options);
        batch_builder_init(&builder, bench_pool(b), 1 << 16, &options);
        assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), span_of(inner->bytes, inner->used), NULL, 0), ERR_NONE);
        assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), span_of(inner->bytes, inner->used), NULL, 0), ERR_NONE);
        assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
        batch_builder_destroy(&builder);
        struct log_append append = {.batches = {.data = slab->bytes, .size = slab->used, .slab = slab}, .origin = LOG_FROM_CLIENT, .epoch = 2, .coordinator_epoch = -1};
        struct log_appended out;
        assert_int_equal(log_append(l.log, &append, &out), ERR_NONE);
        slab_drop(slab);
        slab_drop(inner);
        assert_true(bench_until_durable(b, &l, 4));
        assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
        bench_stop(b);
        assert_int_equal(sim_disk_rot(bench_disk(b), segment, bench_batch_at(b, 1) + (uint64_t)place, 0x41), 0);
        bench_started(b, &l);
        only_that_one(b, l.log, 1, 6);
        bench_stop(b);
        bench_free(b);
    }
}

/* The last batch of a segment that is not the last one says a wrong time: looking for its time, or for the largest, is told of
 * the damage, and not led past it into the next segment. Looking for what lies before it finds that. */
TEST(rot_is_noticed_by_who_looks_for_a_time) {
    struct bench_log l;
    struct bench *b = bench_new(BENCH_SIM, 1);
    bench_config(b)->segment_bytes = 1500;
    bench_config(b)->retention_ms = -1;
    bench_started(b, &l);
    for (int n = 0; n < 30; n++) assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
    bench_stop(b);
    static uint8_t bytes[1 << 16];
    size_t size = bench_file_read(b, "orders-0/00000000000000000000.log", bytes, sizeof bytes);
    struct span rest = span_of(bytes, size);
    struct batch last;
    while (batch_next(&rest, &last) == ERR_NONE) continue;
    assert_true(last.base_offset > 4 && last.base_offset < 30);
    /* 1000 + offset becomes less: the highest byte that is set. And the time index does not know. */
    assert_int_equal(sim_disk_rot(bench_disk(b), segment, (uint64_t)(last.bytes - bytes) + BATCH_AT_MAX_TIMESTAMP + 6, 3), 0);
    bench_file_remove(b, "orders-0/00000000000000000000.timeindex");
    bench_started(b, &l);
    log_offset wanted = batch_last_offset(&last);
    struct log_lookup lookup = {.log = l.log, .timestamp = 1000 + wanted, .upto = LOG_UPTO_END};
    assert_int_equal(bench_lookup(b, &lookup), ERR_CORRUPT);
    lookup = (struct log_lookup){.log = l.log, .timestamp = LOG_TIME_MAX, .upto = LOG_UPTO_END};
    assert_int_equal(bench_lookup(b, &lookup), ERR_CORRUPT);
    lookup = (struct log_lookup){.log = l.log, .timestamp = 1003, .upto = LOG_UPTO_END};
    assert_int_equal(bench_lookup(b, &lookup), ERR_NONE);
    assert_int_equal(lookup.offset, 3);
    bench_stop(b);
    bench_free(b);
}

/* The power goes while a batch is written behind one that was acknowledged, the first of its leader epoch; of the sectors that
 * the write touched the first one stays as it was, in the middle of the batch's header, so that the rest of the header is there
 * without its offset and most of its length. Wherever in the header that is, what was acknowledged is there. */
TEST(rot_torn_write_behind_says_nothing_of_the_batch_before) {
    for (uint64_t missing = 1; missing < 32; missing++) {
        struct bench_log l;
        struct bench *b = bench_new(BENCH_SIM, 1);
        bench_started(b, &l);
        assert_int_equal(bench_append_durably(b, &l, 2, RECORDS, 40), ERR_NONE);
        assert_int_equal(bench_append_durably(b, &l, 3, RECORDS, 40), ERR_NONE);
        assert_int_equal(bench_append_durably(b, &l, 3, RECORDS, 400), ERR_NONE);
        bench_kill(b);
        uint64_t at = bench_batch_at(b, 2);
        for (uint64_t i = 0; i < missing; i++) {
            uint8_t byte;
            assert_int_equal(sim_disk_peek(bench_disk(b), segment, &byte, 1, at + i), 1);
            assert_int_equal(sim_disk_rot(bench_disk(b), segment, at + i, byte), 0);
        }
        bench_started(b, &l);
        assert_true(log_end(l.log) >= 2 * RECORDS);
        assert_int_equal(read_one(b, l.log, RECORDS), ERR_NONE);
        bench_stop(b);
        bench_free(b);
    }
}
