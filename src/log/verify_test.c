#include "base/hash.h"
#include "base/random.h"
#include "log/verify.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

enum { NOW = 1700000000 }; /* ms; within reach of both limits below */

static struct pool pool;
static struct arena arena;
static struct codecs codecs;
static struct verify_rules rules;
static struct verify_input input;

static void begin(void) {
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    codecs_init(&codecs, &pool);
    verify_rules_init(&rules);
    input = (struct verify_input){.rules = &rules, .origin = LOG_FROM_CLIENT, .epoch = 5, .now_ms = NOW, .codecs = &codecs, .pool = &pool, .arena = &arena};
}
static void finish(void) {
    codecs_destroy(&codecs);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

struct given {
    int records;
    enum compression codec;
    time_ms timestamps[8];  /* of the records; 0: NOW */
    bool no_key[8];
    int gap_behind;         /* the offset after this record is left out; 0: none */
    producer_id producer;   /* 0: none */
    int16_t epoch;
    int32_t sequence;
    size_t value_bytes;
    enum timestamp_type type;
};

static struct slab *batch_of(const struct given *given) {
    static uint8_t value[100000];
    struct batch_options options;
    struct batch_builder builder;
    struct slab *slab = NULL;
    batch_options_init(&options);
    options.codec = given->codec;
    options.timestamp_type = given->type;
    if (given->type) options.max_timestamp = NOW;
    if (given->producer) {
        options.producer_id = given->producer;
        options.producer_epoch = given->epoch;
        options.base_sequence = given->sequence;
    }
    batch_builder_init(&builder, &pool, INT32_MAX, &options);
    for (int i = 0, delta = 0; i < given->records; i++, delta++) {
        struct span key = given->no_key[i % 8] ? span_of(NULL, 0) : SPAN_LITERAL("key");
        if (given->gap_behind && i == given->gap_behind) delta++;
        time_ms timestamp = given->timestamps[i % 8] ? given->timestamps[i % 8] : NOW;
        assert_int_equal(batch_builder_add_at(&builder, delta, timestamp, key, span_of(value, given->value_bytes ? given->value_bytes : 20), span_of("", 0), 0), ERR_NONE);
    }
    assert_int_equal(batch_builder_finish(&builder, &codecs, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    return slab;
}

static struct verified verify(struct slab *slab) {
    struct verified out;
    input.bytes = slab->bytes;
    input.size = slab->used;
    assert_int_equal(verify_incoming(&input, &out), ERR_NONE);
    assert_int_equal(out.why != NULL, out.kafka_error != KAFKA_NONE);
    assert_true(out.kafka_error || batch_crc_is_good(&out.batch));
    assert_true(!out.kafka_error || !out.rewritten);
    return out;
}

/* The same after a change of one field, with the CRC made to fit. */
static void set16(struct slab *slab, int at, uint16_t v) { store_be16(slab->bytes + at, v); batch_stamp_crc(slab->bytes, slab->used); }
static void set32(struct slab *slab, int at, uint32_t v) { store_be32(slab->bytes + at, v); batch_stamp_crc(slab->bytes, slab->used); }
static void set64(struct slab *slab, int at, uint64_t v) { store_be64(slab->bytes + at, v); batch_stamp_crc(slab->bytes, slab->used); }

static void refused(struct slab *slab, enum kafka_error error) {
    struct verified out = verify(slab);
    if (out.kafka_error != error) print_message("%s instead of %s: %s\n", kafka_error_name(out.kafka_error), kafka_error_name(error), out.why ? out.why : "");
    assert_int_equal(out.kafka_error, error);
    slab_drop(slab);
}
#define GIVEN(...) batch_of(&(struct given){__VA_ARGS__})

/* A good batch goes through as it is, not a byte changed, whatever its codec. */
TEST(good_batches_are_taken_as_they_are) {
    begin();
    for (unsigned codec = 0; codec < COMPRESSION_COUNT; codec++) {
        struct slab *slab = GIVEN(.records = 5, .codec = (enum compression)codec, .producer = 7, .sequence = 3);
        uint8_t *before = malloc(slab->used);
        memcpy(before, slab->bytes, slab->used);
        struct verified out = verify(slab);
        assert_int_equal(out.kafka_error, KAFKA_NONE);
        assert_null(out.rewritten);
        assert_ptr_equal(out.batch.bytes, slab->bytes);
        assert_int_equal(out.batch.count, 5);
        assert_memory_equal(before, slab->bytes, slab->used);
        free(before);
        slab_drop(slab);
    }
    finish();
}

/* Each fact of the list broken once: the error of Kafka. */
TEST(each_wrong_fact_has_its_error) {
    struct slab *slab;
    begin();
    /* 1: one whole batch of format 2 */
    slab = GIVEN(.records = 2);
    slab->used = 0;
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    slab->used--;
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    slab->bytes[BATCH_AT_MAGIC] = 1;
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    slab->bytes[BATCH_AT_MAGIC] = 3;
    refused(slab, KAFKA_CORRUPT_MESSAGE);
    slab = GIVEN(.records = 2);
    store_be32(slab->bytes + BATCH_AT_LENGTH, 48);
    refused(slab, KAFKA_CORRUPT_MESSAGE);
    slab = GIVEN(.records = 2);
    uint32_t one = slab->used;
    assert_true(slab_reserve(&pool, &slab, one));
    memcpy(slab->bytes + one, slab->bytes, one);
    slab->used = 2 * one;
    struct verified out = verify(slab);
    assert_int_equal(out.kafka_error, KAFKA_INVALID_RECORD); /* two */
    slab->used = 2 * one - 1;
    out = verify(slab);
    assert_int_equal(out.kafka_error, KAFKA_NONE); /* one, and the beginning of another, which is dropped */
    assert_int_equal(out.batch.size, one);
    memset(slab->bytes + one, 0, 17);
    refused(slab, KAFKA_CORRUPT_MESSAGE);
    /* 2 */
    slab = GIVEN(.records = 2);
    batch_stamp(slab->bytes, 1, -1);
    refused(slab, KAFKA_INVALID_RECORD);
    /* 4 */
    slab = GIVEN(.records = 2);
    slab->bytes[slab->used - 1] ^= 1;
    refused(slab, KAFKA_CORRUPT_MESSAGE);
    /* 5 */
    slab = GIVEN(.records = 2);
    set32(slab, BATCH_AT_LAST_OFFSET_DELTA, UINT32_MAX);
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    set32(slab, BATCH_AT_LAST_OFFSET_DELTA, 2);
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    set32(slab, BATCH_AT_COUNT, 0);
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    set32(slab, BATCH_AT_COUNT, UINT32_MAX);
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    set16(slab, BATCH_AT_ATTRIBUTES, BATCH_CONTROL);
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    set16(slab, BATCH_AT_ATTRIBUTES, BATCH_DELETE_HORIZON);
    refused(slab, KAFKA_INVALID_RECORD);
    slab = GIVEN(.records = 2);
    set16(slab, BATCH_AT_ATTRIBUTES, 0x80);
    refused(slab, KAFKA_INVALID_RECORD);
    refused(GIVEN(.records = 2, .producer = 7, .sequence = -1), KAFKA_INVALID_RECORD);
    /* 6 */
    slab = GIVEN(.records = 2);
    set16(slab, BATCH_AT_ATTRIBUTES, COMPRESSION_COUNT);
    refused(slab, KAFKA_UNSUPPORTED_COMPRESSION_TYPE);
    /* 7: a count that is not that of the records, in both readers; bytes that are no packed records */
    for (unsigned codec = 0; codec < COMPRESSION_COUNT; codec++) {
        slab = GIVEN(.records = 2, .codec = (enum compression)codec);
        set32(slab, BATCH_AT_LAST_OFFSET_DELTA, 2);
        set32(slab, BATCH_AT_COUNT, 3);
        refused(slab, KAFKA_INVALID_RECORD);
        slab = GIVEN(.records = 2, .codec = (enum compression)codec);
        set32(slab, BATCH_AT_LAST_OFFSET_DELTA, 0);
        set32(slab, BATCH_AT_COUNT, 1);
        refused(slab, KAFKA_INVALID_RECORD);
        if (!codec) continue;
        slab = GIVEN(.records = 2);
        set16(slab, BATCH_AT_ATTRIBUTES, (uint16_t)codec);
        refused(slab, KAFKA_INVALID_RECORD);
    }
    /* 8 */
    slab = GIVEN(.records = 3, .gap_behind = 1);
    set32(slab, BATCH_AT_LAST_OFFSET_DELTA, 2);
    refused(slab, KAFKA_INVALID_RECORD);
    finish();
}

/* The limits at -1, 0 and +1: max.message.bytes, the size of a record in a compressed batch, what unpacking may give. */
TEST(limits_are_exact) {
    begin();
    for (int off = -1; off <= 1; off++) {
        struct slab *slab = GIVEN(.records = 3);
        rules.message_bytes_max = (int32_t)slab->used + off;
        refused(slab, off < 0 ? KAFKA_MESSAGE_TOO_LARGE : KAFKA_NONE);
        verify_rules_init(&rules);

        struct batch_facts facts;
        slab = GIVEN(.records = 3, .codec = COMPRESSION_GZIP, .value_bytes = 90000);
        struct verified out = verify(slab);
        assert_int_equal(out.kafka_error, KAFKA_NONE);
        assert_int_equal(batch_walk(&out.batch, &codecs, &rules.limits, &facts), ERR_NONE);
        rules.decompressed_record_bytes_max = (int32_t)facts.record_bytes_max + off;
        out = verify(slab);
        assert_int_equal(out.kafka_error, off < 0 ? KAFKA_INVALID_RECORD : KAFKA_NONE);
        verify_rules_init(&rules);
        rules.limits.bytes_max = (uint64_t)((int64_t)facts.records_bytes + off);
        refused(slab, off < 0 ? KAFKA_INVALID_RECORD : KAFKA_NONE);
        verify_rules_init(&rules);
    }
    struct slab *slab = GIVEN(.records = 3, .value_bytes = 90000);
    rules.decompressed_record_bytes_max = 1; /* it is about compressed ones only */
    refused(slab, KAFKA_NONE);
    finish();
}

/* A megabyte of zeros in a few bytes, over and over: refused for what it unpacks to, in a window of 64 KiB. */
TEST(a_bomb_is_refused_in_little_memory) {
    begin();
    for (unsigned codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) {
        struct slab *slab = GIVEN(.records = 800, .codec = (enum compression)codec, .value_bytes = 100000);
        rules.message_bytes_max = INT32_MAX;
        size_t before = atomic_load(&pool.used);
        atomic_store(&pool.used_max, before);
        refused(slab, KAFKA_INVALID_RECORD);
        assert_true(atomic_load(&pool.used_max) - before < MIB(4));
    }
    finish();
}

/* Timestamps against the clock, at their limits and beyond, and what else fact 9 says: the records that are wrong are named
 * by their index, a wrong time outweighs a missing key. */
TEST(records_are_judged_one_by_one) {
    static const struct {
        struct given given;
        enum timestamp_type type;
        bool compacted;
        enum kafka_error error;
        int32_t count, indexes[4];
    } cases[] = {
        {{.records = 3}, TIMESTAMP_CREATE, true, KAFKA_NONE, 0, {0}},
        {{.records = 3, .no_key = {0, 1, 0}}, TIMESTAMP_CREATE, false, KAFKA_NONE, 0, {0}},
        {{.records = 3, .no_key = {0, 1, 1}}, TIMESTAMP_CREATE, true, KAFKA_INVALID_RECORD, 2, {1, 2}},
        {{.records = 3, .timestamps = {NOW + 3600, NOW - 1000, NOW}}, TIMESTAMP_CREATE, false, KAFKA_NONE, 0, {0}},
        {{.records = 3, .timestamps = {NOW + 3601, NOW - 1000, NOW}}, TIMESTAMP_CREATE, false, KAFKA_INVALID_TIMESTAMP, 1, {0}},
        {{.records = 3, .timestamps = {NOW, NOW, NOW - 1001}}, TIMESTAMP_CREATE, false, KAFKA_INVALID_TIMESTAMP, 1, {2}},
        {{.records = 3, .timestamps = {-1, -1, NOW}}, TIMESTAMP_CREATE, false, KAFKA_NONE, 0, {0}}, /* none is always fine */
        {{.records = 3, .timestamps = {-1, -1, -1}}, TIMESTAMP_CREATE, false, KAFKA_NONE, 0, {0}},
        {{.records = 3, .timestamps = {-2, -1, NOW}}, TIMESTAMP_CREATE, false, KAFKA_INVALID_TIMESTAMP, 1, {0}},
        {{.records = 2, .timestamps = {INT64_MIN, INT64_MAX}}, TIMESTAMP_CREATE, false, KAFKA_INVALID_TIMESTAMP, 2, {0, 1}},
        {{.records = 3, .timestamps = {NOW + 9999, 0, -5}}, TIMESTAMP_LOG_APPEND, false, KAFKA_NONE, 0, {0}}, /* the broker sets them */
        {{.records = 3, .no_key = {1, 0, 0}, .timestamps = {NOW, NOW, NOW + 9999}}, TIMESTAMP_CREATE, true, KAFKA_INVALID_TIMESTAMP, 2, {0, 2}},
        {{.records = 2, .type = TIMESTAMP_LOG_APPEND}, TIMESTAMP_LOG_APPEND, false, KAFKA_INVALID_TIMESTAMP, 2, {0, 1}}, /* not a client's to say */
        {{.records = 2, .type = TIMESTAMP_LOG_APPEND}, TIMESTAMP_CREATE, false, KAFKA_NONE, 0, {0}}, /* judged like others */
    };
    begin();
    for (size_t i = 0; i < countof(cases); i++) {
        for (unsigned codec = 0; codec < COMPRESSION_COUNT; codec++) {
            struct given given = cases[i].given;
            given.codec = (enum compression)codec;
            verify_rules_init(&rules);
            rules.timestamp_after_max_ms = 3600;
            rules.timestamp_before_max_ms = 1000;
            rules.timestamp_type = cases[i].type;
            rules.compacted = cases[i].compacted;
            struct slab *slab = batch_of(&given);
            struct verified out = verify(slab);
            assert_int_equal(out.kafka_error, cases[i].error);
            assert_int_equal(out.errors_count, cases[i].count);
            for (int32_t k = 0; k < out.errors_count; k++) {
                assert_int_equal(out.errors[k].index, cases[i].indexes[k]);
                assert_true(out.errors[k].message.size > 10);
            }
            if (!out.kafka_error) assert_int_equal(batch_timestamp_type(&out.batch), cases[i].type);
            slab_drop(slab);
        }
    }
    /* However many are wrong, so many are listed. */
    verify_rules_init(&rules);
    rules.compacted = true;
    struct slab *slab = GIVEN(.records = VERIFY_RECORD_ERRORS_MAX + 5, .no_key = {1, 1, 1, 1, 1, 1, 1, 1});
    struct verified out = verify(slab);
    assert_int_equal(out.kafka_error, KAFKA_INVALID_RECORD);
    assert_int_equal(out.errors_count, VERIFY_RECORD_ERRORS_MAX);
    slab_drop(slab);
    finish();
}

/* The header's largest timestamp is that of the records, whatever a client wrote; with LogAppendTime it is the clock's. The
 * CRC fits in both cases. */
TEST(times_are_stamped_in_place) {
    begin();
    struct slab *slab = GIVEN(.records = 3, .timestamps = {NOW - 5, NOW - 2, NOW - 9});
    set64(slab, BATCH_AT_MAX_TIMESTAMP, NOW + 77);
    struct verified out = verify(slab);
    assert_int_equal(out.kafka_error, KAFKA_NONE);
    assert_int_equal(out.batch.max_timestamp, NOW - 2);
    assert_int_equal(out.batch.base_timestamp, NOW - 5);
    slab_drop(slab);
    for (unsigned codec = 0; codec < COMPRESSION_COUNT; codec++) {
        rules.timestamp_type = TIMESTAMP_LOG_APPEND;
        slab = GIVEN(.records = 3, .codec = (enum compression)codec, .timestamps = {NOW - 5, NOW - 2, NOW - 9});
        out = verify(slab);
        assert_int_equal(out.kafka_error, KAFKA_NONE);
        assert_null(out.rewritten);
        assert_true(batch_timestamp_type(&out.batch) == TIMESTAMP_LOG_APPEND && out.batch.max_timestamp == NOW && out.batch.base_timestamp == NOW - 5);
        slab_drop(slab);
    }
    finish();
}

/* compression.type other than the batch's: the same records in the codec that the topic wants, everything else of the
 * header kept. Any pair of codecs. */
TEST(batches_are_encoded_as_the_topic_wants) {
    static const time_ms times[] = {NOW - 3, NOW - 1, NOW - 2, NOW, NOW, NOW};
    begin();
    rules.compression_is_producers = false;
    for (unsigned from = 0; from < COMPRESSION_COUNT; from++) {
        for (unsigned to = 0; to < COMPRESSION_COUNT; to++) {
            struct slab *slab = GIVEN(.records = 6, .codec = (enum compression)from, .producer = 9, .epoch = 2, .sequence = 100, .timestamps = {NOW - 3, NOW - 1, NOW - 2});
            set16(slab, BATCH_AT_ATTRIBUTES, (uint16_t)(from | BATCH_TRANSACTIONAL));
            rules.compression = (enum compression)to;
            struct verified out = verify(slab);
            assert_int_equal(out.kafka_error, KAFKA_NONE);
            assert_int_equal(out.rewritten != NULL, from != to);
            assert_int_equal(batch_codec(&out.batch), to);
            assert_true(out.batch.producer_id == 9 && out.batch.producer_epoch == 2 && out.batch.base_sequence == 100 && batch_is_transactional(&out.batch));
            assert_true(out.batch.count == 6 && out.batch.last_offset_delta == 5 && out.batch.max_timestamp == NOW && out.batch.base_timestamp == NOW - 3);
            struct batch_records records;
            struct record_cursor cursor;
            struct record record;
            assert_int_equal(batch_records_open(&out.batch, &codecs, &rules.limits, &records), ERR_NONE);
            record_cursor_init(&cursor, &out.batch, records.bytes);
            for (int i = 0; i < 6; i++) {
                assert_int_equal(record_next(&cursor, &record), ERR_NONE);
                assert_true(record.offset == i && span_equal(record.key, SPAN_LITERAL("key")) && record.value.size == 20);
                assert_int_equal(record.timestamp, times[i]);
            }
            assert_int_equal(record_next(&cursor, &record), ERR_NOT_FOUND);
            batch_records_close(&records);
            slab_drop(out.rewritten);
            slab_drop(slab);
        }
    }
    /* Compressed with gaps between its offsets: encoded anew without them, in the codec that it has. */
    rules.compression_is_producers = true;
    struct slab *slab = GIVEN(.records = 3, .codec = COMPRESSION_LZ4, .gap_behind = 1);
    set32(slab, BATCH_AT_LAST_OFFSET_DELTA, 2);
    struct verified out = verify(slab);
    struct batch_facts facts;
    assert_int_equal(out.kafka_error, KAFKA_NONE);
    assert_non_null(out.rewritten);
    assert_int_equal(batch_codec(&out.batch), COMPRESSION_LZ4);
    assert_int_equal(batch_walk(&out.batch, &codecs, &rules.limits, &facts), ERR_NONE);
    assert_true(facts.offsets_are_dense);
    slab_drop(out.rewritten);
    slab_drop(slab);
    /* Larger than allowed only after it was unpacked. */
    rules.compression_is_producers = false;
    rules.compression = COMPRESSION_NONE;
    rules.message_bytes_max = 50000;
    refused(GIVEN(.records = 3, .codec = COMPRESSION_ZSTD, .value_bytes = 20000), KAFKA_MESSAGE_TOO_LARGE);
    finish();
}

/* A producer's id without an epoch, and one below 0 without a sequence: taken as they come, and not where they would have to
 * be encoded anew. */
TEST(producers_in_part_are_not_encoded_anew) {
    static const struct { int64_t producer; int16_t epoch; int32_t sequence; bool is_good; } cases[] = {
        {9, -1, 0, false}, {-2, 0, -1, false}, {-2, -1, -1, false}, {-2, 3, 3, true}, {-1, -1, 5, true}, {-1, 0, -1, true}, {9, 0, 0, true},
    };
    begin();
    for (int encoded = 0; encoded < 2; encoded++) {
        rules.compression_is_producers = !encoded;
        rules.compression = COMPRESSION_GZIP;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct slab *slab = GIVEN(.records = 2);
            set64(slab, BATCH_AT_PRODUCER_ID, (uint64_t)cases[i].producer);
            set16(slab, BATCH_AT_PRODUCER_EPOCH, (uint16_t)cases[i].epoch);
            set32(slab, BATCH_AT_BASE_SEQUENCE, (uint32_t)cases[i].sequence);
            struct verified out = verify(slab);
            assert_int_equal(out.kafka_error, encoded && !cases[i].is_good ? KAFKA_INVALID_RECORD : KAFKA_NONE);
            slab_drop(out.rewritten);
            slab_drop(slab);
        }
    }
    finish();
}

/* Coordinators write control batches, which stay as they are, and are not asked for a client's base offset. */
TEST(coordinators_are_not_clients) {
    struct slab *slab = NULL;
    begin();
    input.origin = LOG_FROM_COORDINATOR;
    rules.compression_is_producers = false;
    rules.compression = COMPRESSION_ZSTD;
    rules.compacted = true;
    assert_int_equal(batch_build_marker(&pool, CONTROL_COMMIT, 7, 1, 2, NOW, &slab), ERR_NONE);
    batch_stamp(slab->bytes, 55, 3);
    struct verified out = verify(slab);
    assert_int_equal(out.kafka_error, KAFKA_NONE);
    assert_null(out.rewritten);
    slab->bytes[slab->used - 1] ^= 1;
    refused(slab, KAFKA_CORRUPT_MESSAGE);
    finish();
}

/* Encoding anew survives each failed allocation: the answer is ERR_NO_MEMORY, the batch is as it was. */
TEST(encoding_anew_survives_failed_allocations) {
    for (uint64_t n = 1; n < 100; n++) {
        begin();
        struct slab *slab = GIVEN(.records = 5, .codec = COMPRESSION_GZIP, .value_bytes = 5000);
        uint8_t *before = malloc(slab->used);
        memcpy(before, slab->bytes, slab->used);
        rules.compression_is_producers = false;
        rules.compression = COMPRESSION_ZSTD;
        input.bytes = slab->bytes;
        input.size = slab->used;
        pool.fail_at = n;
        struct verified out;
        enum err err = verify_incoming(&input, &out);
        bool reached = pool.fail_at == 0;
        pool.fail_at = 0;
        assert_int_equal(err, reached ? ERR_NO_MEMORY : ERR_NONE);
        assert_memory_equal(before, slab->bytes, slab->used);
        if (reached) {
            assert_null(out.rewritten);
            assert_int_equal(verify_incoming(&input, &out), ERR_NONE);
        }
        assert_int_equal(out.kafka_error, KAFKA_NONE);
        slab_drop(out.rewritten);
        slab_drop(slab);
        free(before);
        finish();
        if (!reached) return;
    }
    fail();
}

/* ---- Runs */

enum { RUN_BATCHES = 5 };
static uint8_t run_bytes[8192];
static size_t run_ends[RUN_BATCHES];

static size_t make_run(void) {
    size_t at = 0;
    for (int i = 0; i < RUN_BATCHES; i++) {
        struct slab *slab = GIVEN(.records = 2, .codec = i % 2 ? COMPRESSION_GZIP : COMPRESSION_NONE);
        batch_stamp(slab->bytes, 100 + 2 * i, i / 2);
        memcpy(run_bytes + at, slab->bytes, slab->used);
        run_ends[i] = at += slab->used;
        slab_drop(slab);
    }
    return at;
}

/* Cut at any byte, a run is good up to the last whole batch; with any bit flipped, up to the batch that holds it. */
TEST(a_run_is_good_up_to_its_first_bad_batch) {
    struct verify_run run;
    begin();
    size_t size = make_run();
    for (size_t kept = 0; kept <= size; kept++) {
        uint8_t *exact = malloc(kept + 1);
        uint32_t whole = 0;
        memcpy(exact, run_bytes, kept);
        while (whole < RUN_BATCHES && run_ends[whole] <= kept) whole++;
        verify_run_init(&run, 100);
        assert_int_equal(verify_stored(&run, span_of(exact, kept)), ERR_NONE);
        assert_int_equal(run.batches, whole);
        assert_int_equal(run.bytes, whole ? run_ends[whole - 1] : 0);
        assert_int_equal(run.last, whole ? 101 + 2 * (int)(whole - 1) : -1);
        assert_int_equal(run.next, 100 + 2 * (int)whole);
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        uint32_t hit = 0;
        while (run_ends[hit] <= bit / 8) hit++;
        size_t at = bit / 8 - (hit ? run_ends[hit - 1] : 0);
        run_bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        verify_run_init(&run, 100);
        enum err err = verify_stored(&run, span_of(run_bytes, size));
        bool outside = at < BATCH_AT_LENGTH || (at >= BATCH_AT_LEADER_EPOCH && at < BATCH_AT_MAGIC); /* not under the CRC */
        if (!outside) {
            assert_int_equal(run.batches, hit);
            assert_true(err == ERR_CORRUPT || (err == ERR_NONE && at >= BATCH_AT_LENGTH && at < BATCH_AT_LEADER_EPOCH)); /* a size beyond the end */
        } else {
            assert_true(run.batches >= hit);
        }
        run_bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    finish();
}

/* Offsets that overlap, epochs that fall, epochs from the future, and the raft leader's: each at the batch where it is. */
TEST(runs_keep_offsets_and_epochs_in_order) {
    struct verify_run run;
    begin();
    size_t size = make_run();
    struct span all = span_of(run_bytes, size);
    verify_run_init(&run, 101); /* below the end of the log */
    assert_int_equal(verify_stored(&run, all), ERR_OUT_OF_RANGE);
    assert_int_equal(run.bytes, 0);
    verify_run_init(&run, 50); /* a gap is fine */
    assert_int_equal(verify_stored(&run, all), ERR_NONE);
    verify_run_init(&run, 100);
    run.epoch_max = 1; /* later ones are not for us yet */
    assert_int_equal(verify_stored(&run, all), ERR_NONE);
    assert_int_equal(run.batches, 4);
    verify_run_init(&run, 100);
    run.epoch_max = 0;
    run.epoch_exact = true;
    assert_int_equal(verify_stored(&run, all), ERR_FENCED);
    assert_int_equal(run.batches, 2);
    batch_stamp(run_bytes + run_ends[2], 106, 0); /* the fourth falls back */
    verify_run_init(&run, 100);
    assert_int_equal(verify_stored(&run, all), ERR_FENCED);
    assert_int_equal(run.batches, 3);
    batch_stamp(run_bytes + run_ends[2], 105, 1); /* ... and overlaps the third */
    verify_run_init(&run, 100);
    assert_int_equal(verify_stored(&run, all), ERR_OUT_OF_RANGE);
    assert_int_equal(run.batches, 3);
    batch_stamp(run_bytes + run_ends[2], INT64_MAX - 1, 1); /* ... and ends where no offset is */
    verify_run_init(&run, 100);
    assert_int_equal(verify_stored(&run, all), ERR_CORRUPT);
    batch_stamp(run_bytes + run_ends[2], -5, 1);
    verify_run_init(&run, -10);
    assert_int_equal(verify_stored(&run, all), ERR_CORRUPT);
    assert_int_equal(run.batches, 3);
    /* In pieces, the state carries over. */
    make_run();
    verify_run_init(&run, 100);
    assert_int_equal(verify_stored(&run, span_of(run_bytes, run_ends[1] + 10)), ERR_NONE);
    assert_int_equal(run.bytes, run_ends[1]);
    assert_int_equal(verify_stored(&run, span_of(run_bytes + run_ends[1], size - run_ends[1])), ERR_NONE);
    assert_int_equal(run.batches, RUN_BATCHES);
    assert_int_equal(run.last, 109);
    assert_int_equal(run.timestamp_max, NOW);
    /* Old formats only where they are allowed. */
    uint8_t old[26];
    memset(old, 0, sizeof old);
    store_be64(old, 200);
    store_be32(old + 8, 14);
    memset(old + 18, 0xff, 8);
    store_be32(old + 12, crc32_zip(0, old + 16, 10));
    assert_int_equal(verify_stored(&run, span_of(old, sizeof old)), ERR_CORRUPT);
    run.old_formats = true;
    assert_int_equal(verify_stored(&run, span_of(old, sizeof old)), ERR_NONE);
    assert_int_equal(run.last, 200);
    assert_int_equal(verify_stored(&run, span_of(old, sizeof old)), ERR_OUT_OF_RANGE);
    finish();
}
