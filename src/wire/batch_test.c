#include "base/hash.h"
#include "base/random.h"
#include "test.h"
#include "wire/batch.h"
#include "wire/codecs_rig.h"
#include <stdlib.h>

/* ---- A model: records as plain values. */

enum { MODEL_RECORDS_MAX = 40, MODEL_HEADERS_MAX = 3 };
struct model_record {
    int32_t delta;
    time_ms timestamp;
    struct span key, value;
    struct record_header headers[MODEL_HEADERS_MAX];
    int32_t headers_count;
};
struct model {
    struct model_record records[MODEL_RECORDS_MAX];
    int32_t count;
    struct batch_options options;
};

static struct span random_span(struct random *random, bool may_be_null) {
    static uint8_t bytes[200000];
    if (!bytes[0]) random_bytes(random, bytes, sizeof bytes), bytes[0] = 1;
    if (may_be_null && random_chance(random, 1, 5)) return span_of(NULL, 0);
    uint64_t largest = random_chance(random, 1, 30) ? 150000 : random_chance(random, 1, 4) ? 2000 : 60;
    return span_of(bytes + random_below(random, 100), random_below(random, largest));
}

static void random_model(struct random *random, struct model *model, bool gaps) {
    static const time_ms bases[] = {0, 1700000000000, INT64_MAX / 2, -1};
    time_ms base = bases[random_below(random, countof(bases))];
    int32_t delta = -1;
    batch_options_init(&model->options);
    model->options.codec = (enum compression)random_below(random, COMPRESSION_COUNT);
    model->options.base_offset = (log_offset)random_below(random, 1000000);
    model->options.leader_epoch = (leader_epoch)random_below(random, 10);
    model->options.producer_id = (producer_id)random_below(random, 10) - 1;
    model->options.base_sequence = model->options.producer_id < 0 ? -1 : (int32_t)random_below(random, 100);
    model->options.transactional = random_chance(random, 1, 3);
    if (random_chance(random, 1, 4)) {
        model->options.timestamp_type = TIMESTAMP_LOG_APPEND;
        model->options.max_timestamp = 1800000000000;
    }
    model->count = 1 + (int32_t)random_below(random, MODEL_RECORDS_MAX);
    for (int32_t i = 0; i < model->count; i++) {
        struct model_record *record = &model->records[i];
        delta += 1 + (gaps && random_chance(random, 1, 3) ? (int32_t)random_below(random, 100) : 0);
        *record = (struct model_record){.delta = delta, .timestamp = random_chance(random, 1, 10) ? -1 : base + (int64_t)random_below(random, 100000)};
        record->key = random_span(random, true);
        record->value = random_span(random, true);
        record->headers_count = random_chance(random, 1, 3) ? (int32_t)random_below(random, MODEL_HEADERS_MAX + 1) : 0;
        for (int32_t k = 0; k < record->headers_count; k++)
            record->headers[k] = (struct record_header){random_span(random, false), random_span(random, true)};
    }
}

/* Headers as they lie in a record, for the door that takes them so. */
static struct span raw_headers(const struct model_record *record, uint8_t *target) {
    uint8_t *at = target;
    for (int32_t k = 0; k < record->headers_count; k++) {
        struct span parts[] = {record->headers[k].key, record->headers[k].value};
        for (int p = 0; p < 2; p++) {
            at += uvarint32_store(at, zigzag32(parts[p].data ? (int32_t)parts[p].size : -1));
            if (parts[p].size) memcpy(at, parts[p].data, parts[p].size);
            at += parts[p].size;
        }
    }
    return span_of(target, (size_t)(at - target));
}

static struct slab *build(const struct model *model, bool gaps) {
    struct batch_builder builder;
    struct slab *slab = NULL;
    static uint8_t raw[3 * 2 * 150010];
    batch_builder_init(&builder, &pool, MIB(64), &model->options);
    for (int32_t i = 0; i < model->count; i++) {
        const struct model_record *record = &model->records[i];
        size_t before = batch_builder_size(&builder);
        enum err err = gaps ? batch_builder_add_at(&builder, record->delta, record->timestamp, record->key, record->value,
                                                   raw_headers(record, raw), record->headers_count)
                            : batch_builder_add(&builder, record->timestamp, record->key, record->value, record->headers, record->headers_count);
        assert_int_equal(err, ERR_NONE);
        assert_int_equal(batch_builder_size(&builder) - before,
                         record_size(record->timestamp - model->records[0].timestamp, record->delta, record->key, record->value, record->headers, record->headers_count));
    }
    assert_int_equal(batch_builder_finish(&builder, &codecs, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    return slab;
}

static bool same_bytes(struct span a, struct span b) {
    return !a.data == !b.data && span_equal(a, b);
}

/* Random batches, all codecs, with and without gaps: what was put in comes out, and the walk finds what a loop over the
 * model finds. */
TEST(batches_hold_what_was_put_in) {
    struct random random;
    struct model *model = malloc(sizeof *model);
    begin();
    random_seed(&random, 1);
    for (int round = 0; round < 400; round++) {
        bool gaps = round % 2;
        random_model(&random, model, gaps);
        struct slab *slab = build(model, gaps);
        struct span run = span_of(slab->bytes, slab->used);
        struct batch batch;
        assert_int_equal(batch_next(&run, &batch), ERR_NONE);
        assert_int_equal(run.size, 0);
        assert_int_equal(batch_next(&run, &batch), ERR_NOT_FOUND);
        assert_true(batch_crc_is_good(&batch));
        assert_int_equal(batch.count, model->count);
        assert_int_equal(batch.base_offset, model->options.base_offset);
        assert_int_equal(batch.leader_epoch, model->options.leader_epoch);
        assert_int_equal(batch.last_offset_delta, model->records[model->count - 1].delta);
        assert_int_equal(batch.producer_id, model->options.producer_id);
        assert_int_equal(batch_codec(&batch), model->options.codec);
        assert_int_equal(batch_is_transactional(&batch), model->options.transactional);

        struct batch_records records;
        struct record_cursor cursor;
        struct record record;
        struct batch_facts facts, expected = {.timestamp_max = -1, .timestamp_min = INT64_MAX, .every_has_key = true, .offsets_are_dense = true, .offsets_rise = true};
        assert_int_equal(batch_records_open(&batch, &codecs, &limits, &records), ERR_NONE);
        record_cursor_init(&cursor, &batch, records.bytes);
        for (int32_t i = 0; i < model->count; i++) {
            const struct model_record *in = &model->records[i];
            bool append = model->options.timestamp_type == TIMESTAMP_LOG_APPEND;
            time_ms timestamp = append ? model->options.max_timestamp : in->timestamp;
            assert_int_equal(record_next(&cursor, &record), ERR_NONE);
            assert_int_equal(record.offset, model->options.base_offset + in->delta);
            assert_int_equal(record.timestamp, timestamp);
            assert_true(same_bytes(record.key, in->key) && same_bytes(record.value, in->value));
            assert_int_equal(record.headers_count, in->headers_count);
            struct record_header header;
            for (int32_t k = 0; k < in->headers_count; k++) {
                assert_true(record_header_next(&record, &header));
                assert_true(same_bytes(header.key, in->headers[k].key) && same_bytes(header.value, in->headers[k].value));
            }
            assert_false(record_header_next(&record, &header));
            if (timestamp > expected.timestamp_max) expected.timestamp_max = timestamp, expected.timestamp_max_delta = in->delta;
            if (timestamp != -1 && timestamp < expected.timestamp_min) expected.timestamp_min = timestamp;
            expected.every_has_key &= in->key.data != NULL;
            expected.offsets_are_dense &= in->delta == i;
        }
        assert_int_equal(record_next(&cursor, &record), ERR_NOT_FOUND);
        assert_int_equal(batch_walk(&batch, &codecs, &limits, &facts), ERR_NONE);
        assert_int_equal(facts.timestamp_max, expected.timestamp_max);
        assert_int_equal(facts.timestamp_min, expected.timestamp_min);
        assert_int_equal(batch.max_timestamp, expected.timestamp_max);
        assert_int_equal(batch.base_timestamp, model->records[0].timestamp);
        assert_int_equal(facts.timestamp_max_delta, expected.timestamp_max_delta);
        assert_int_equal(facts.every_has_key, expected.every_has_key);
        assert_int_equal(facts.offsets_are_dense, expected.offsets_are_dense);
        assert_true(facts.offsets_rise);
        assert_int_equal(facts.records_bytes, records.bytes.size);
        batch_records_close(&records);
        slab_drop(slab);
    }
    free(model);
    end();
}

/* The fast walk, the walk through the window and the cursor are three readers of one format: on records that were damaged
 * at random (the CRC made to fit) they say the same, and nobody reads outside (sanitizers watch). Some records are larger
 * than the window. */
TEST(readers_agree_on_damaged_records) {
    struct random random;
    struct model *model = malloc(sizeof *model);
    int refused = 0, taken = 0;
    begin();
    random_seed(&random, 2);
    for (int round = 0; round < 3000; round++) {
        random_model(&random, model, false);
        model->count = 1 + model->count / 8;
        model->options.codec = COMPRESSION_NONE;
        struct slab *slab = build(model, false);
        uint32_t records = slab->used - BATCH_HEADER_BYTES;
        uint8_t *exact = malloc(slab->used);
        memcpy(exact, slab->bytes, slab->used);
        for (uint64_t flips = random_below(&random, 3); flips; flips--) {
            uint64_t near = random_chance(&random, 1, 2) && records > 40 ? 40 : records;
            exact[BATCH_HEADER_BYTES + random_below(&random, near)] ^= (uint8_t)(1 << random_below(&random, 8));
        }
        if (random_chance(&random, 1, 5)) store_be32(exact + BATCH_AT_COUNT, (uint32_t)(model->count + (int)random_below(&random, 3) - 1));
        batch_stamp_crc(exact, slab->used);

        struct span run = span_of(exact, slab->used);
        struct batch plain, small;
        assert_int_equal(batch_next(&run, &plain), ERR_NONE);
        struct record_cursor cursor;
        struct record record;
        enum err by_cursor;
        record_cursor_init(&cursor, &plain, span_of(exact + BATCH_HEADER_BYTES, records));
        while ((by_cursor = record_next(&cursor, &record)) == ERR_NONE) {}
        if (by_cursor == ERR_NOT_FOUND) by_cursor = ERR_NONE;
        struct batch_facts fast, windowed;
        assert_int_equal(batch_walk(&plain, NULL, NULL, &fast), by_cursor);

        /* The same records, packed. */
        struct slab *packed = NULL;
        assert_true(slab_reserve(&pool, &packed, BATCH_HEADER_BYTES));
        memcpy(packed->bytes, exact, BATCH_HEADER_BYTES);
        packed->used = BATCH_HEADER_BYTES;
        enum compression codec = (enum compression)(1 + random_below(&random, 4));
        assert_int_equal(pack(&codecs, codec, COMPRESSION_LEVEL_DEFAULT, 0, span_of(exact + BATCH_HEADER_BYTES, records), &packed), ERR_NONE);
        store_be16(packed->bytes + BATCH_AT_ATTRIBUTES, (uint16_t)(load_be16(packed->bytes + BATCH_AT_ATTRIBUTES) | codec));
        store_be32(packed->bytes + BATCH_AT_LENGTH, packed->used - BATCH_FRAME_BYTES);
        batch_stamp_crc(packed->bytes, packed->used);
        run = span_of(packed->bytes, packed->used);
        assert_int_equal(batch_next(&run, &small), ERR_NONE);
        assert_int_equal(batch_walk(&small, &codecs, &limits, &windowed), by_cursor);
        if (!by_cursor) assert_memory_equal(&fast, &windowed, sizeof fast);
        if (by_cursor) refused++;
        else taken++;
        slab_drop(packed);
        slab_drop(slab);
        free(exact);
    }
    assert_true(refused > 300 && taken > 300);
    free(model);
    end();
}

static struct slab *plain_batch(int records) {
    struct batch_options options;
    struct batch_builder builder;
    struct slab *slab = NULL;
    batch_options_init(&options);
    batch_builder_init(&builder, &pool, MIB(1), &options);
    for (int i = 0; i < records; i++)
        assert_int_equal(batch_builder_add(&builder, 1700000000000 + i, SPAN_LITERAL("key"), SPAN_LITERAL("value"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    return slab;
}

/* A run that ends within a batch says so at every byte; the batches before it are given. */
TEST(a_partial_batch_is_waited_for) {
    begin();
    struct slab *slab = plain_batch(3);
    uint8_t two[2 * 200];
    assert_true(slab->used <= 200);
    memcpy(two, slab->bytes, slab->used);
    memcpy(two + slab->used, slab->bytes, slab->used);
    for (size_t kept = 1; kept < slab->used; kept++) {
        struct span run = span_of(two, slab->used + kept);
        struct batch batch;
        assert_int_equal(batch_next(&run, &batch), ERR_NONE);
        assert_int_equal(batch_next(&run, &batch), ERR_AGAIN);
        assert_int_equal(run.size, kept);
    }
    slab_drop(slab);
    end();
}

/* What cannot be a batch is refused by its first bytes, before anything is believed. */
TEST(impossible_headers_are_refused) {
    static const struct { uint32_t length; uint8_t magic; size_t size; enum err err; } cases[] = {
        {49, 2, 61, ERR_NONE},         {48, 2, 61, ERR_CORRUPT},   {49, 2, 60, ERR_AGAIN},      {50, 2, 61, ERR_AGAIN},
        {0, 0, 61, ERR_CORRUPT},       {13, 0, 61, ERR_CORRUPT},   {14, 0, 61, ERR_UNSUPPORTED}, {22, 1, 61, ERR_UNSUPPORTED},
        {49, 3, 61, ERR_CORRUPT},      {49, 0xff, 61, ERR_CORRUPT}, {0xffffffff, 2, 61, ERR_CORRUPT}, {0x80000000, 2, 61, ERR_CORRUPT},
        {0x7fffffff, 2, 61, ERR_AGAIN}, {13, 2, 12, ERR_CORRUPT},   {49, 2, 16, ERR_AGAIN},      {49, 2, 11, ERR_AGAIN},
        {49, 2, 0, ERR_NOT_FOUND}};
    for (size_t i = 0; i < countof(cases); i++) {
        uint8_t *bytes = calloc(1, cases[i].size + 1), whole[61] = {0};
        store_be32(whole + BATCH_AT_LENGTH, cases[i].length);
        whole[BATCH_AT_MAGIC] = cases[i].magic;
        memcpy(bytes, whole, cases[i].size);
        struct span run = span_of(bytes, cases[i].size);
        struct batch batch;
        assert_int_equal(batch_next(&run, &batch), cases[i].err);
        free(bytes);
    }
}

/* Every single bit of a batch matters: flipped, the CRC fails, or it is one of the fields that the CRC leaves out (base
 * offset, leader epoch), or the structure is refused. */
TEST(every_flipped_bit_is_seen) {
    begin();
    struct slab *slab = plain_batch(2);
    for (uint32_t bit = 0; bit < 8 * slab->used; bit++) {
        uint32_t at = bit / 8;
        bool outside = at < BATCH_AT_LENGTH || (at >= BATCH_AT_LEADER_EPOCH && at < BATCH_AT_MAGIC);
        struct batch batch;
        slab->bytes[at] ^= (uint8_t)(1 << bit % 8);
        struct span run = span_of(slab->bytes, slab->used);
        bool seen = batch_next(&run, &batch) != ERR_NONE || !batch_crc_is_good(&batch);
        assert_int_equal(seen, !outside);
        slab->bytes[at] ^= (uint8_t)(1 << bit % 8);
    }
    slab_drop(slab);
    end();
}

/* Offsets and epoch are stamped outside of the CRC; times inside, and only when they change. */
TEST(stamping_keeps_a_batch_good) {
    begin();
    struct slab *slab = plain_batch(3);
    struct batch before, after;
    struct span run = span_of(slab->bytes, slab->used);
    assert_int_equal(batch_next(&run, &before), ERR_NONE);
    batch_stamp(slab->bytes, 123456789012, 77);
    run = span_of(slab->bytes, slab->used);
    assert_int_equal(batch_next(&run, &after), ERR_NONE);
    assert_true(after.base_offset == 123456789012 && after.leader_epoch == 77 && batch_last_offset(&after) == 123456789014);
    assert_int_equal(after.crc, before.crc);
    assert_true(batch_crc_is_good(&after));
    assert_false(batch_stamp_time(slab->bytes, slab->used, TIMESTAMP_CREATE, before.max_timestamp));
    assert_true(batch_stamp_time(slab->bytes, slab->used, TIMESTAMP_LOG_APPEND, 1800000000000));
    run = span_of(slab->bytes, slab->used);
    assert_int_equal(batch_next(&run, &after), ERR_NONE);
    assert_true(batch_crc_is_good(&after) && after.crc != before.crc);
    assert_true(batch_timestamp_type(&after) == TIMESTAMP_LOG_APPEND && after.max_timestamp == 1800000000000);
    assert_true(after.base_timestamp == before.base_timestamp);
    slab_drop(slab);
    end();
}

/* A builder stays within its bound and says so, and loses nothing by it; failed allocations likewise. */
TEST(a_builder_keeps_its_bound) {
    struct batch_options options;
    struct batch_builder builder;
    struct slab *slab = NULL;
    begin();
    batch_options_init(&options);
    size_t one = record_size(0, 0, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0);
    for (int bound = -1; bound <= 1; bound++) {
        batch_builder_init(&builder, &pool, (uint32_t)(BATCH_HEADER_BYTES + 2 * one) + (uint32_t)bound, &options);
        assert_int_equal(batch_builder_add(&builder, 5, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_NONE);
        assert_int_equal(batch_builder_add(&builder, 5, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), bound < 0 ? ERR_LIMIT : ERR_NONE);
        assert_int_equal(batch_builder_add(&builder, 5, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_LIMIT);
        assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
        assert_int_equal(load_be32(slab->bytes + BATCH_AT_COUNT), bound < 0 ? 1 : 2);
        slab_drop(slab);
        batch_builder_destroy(&builder);
    }
    batch_builder_init(&builder, &pool, MIB(1), &options);
    pool.fail_at = 1;
    assert_int_equal(batch_builder_add(&builder, 5, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_NO_MEMORY);
    assert_int_equal(batch_builder_add(&builder, 5, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0), ERR_NONE);
    batch_builder_destroy(&builder);
    end();
}

/* Sequences go from 0 to 2^31 - 1 and begin again. */
TEST(sequences_wrap) {
    assert_int_equal(sequence_add(0, 0), 0);
    assert_int_equal(sequence_add(INT32_MAX, 1), 0);
    assert_int_equal(sequence_add(INT32_MAX - 1, 4), 2);
    struct batch batch = {.base_sequence = INT32_MAX - 1, .last_offset_delta = 3};
    assert_int_equal(batch_last_sequence(&batch), 1);
    batch.base_sequence = -1;
    assert_int_equal(batch_last_sequence(&batch), -1);
}

/* A transaction marker is written and read; other control batches and damaged ones are told apart. */
TEST(markers_are_told_from_other_control_batches) {
    struct slab *slab = NULL;
    struct batch batch;
    struct batch_marker marker;
    begin();
    assert_int_equal(batch_build_marker(&pool, CONTROL_ABORT, 4711, 3, 9, 1700000000000, &slab), ERR_NONE);
    struct span run = span_of(slab->bytes, slab->used);
    assert_int_equal(batch_next(&run, &batch), ERR_NONE);
    assert_int_equal(batch.size, 78); /* as Kafka's */
    assert_true(batch_is_control(&batch) && batch_is_transactional(&batch) && batch.producer_id == 4711 && batch.producer_epoch == 3);
    assert_int_equal(batch_marker_parse(&batch, &marker), ERR_NONE);
    assert_true(marker.type == CONTROL_ABORT && marker.coordinator_epoch == 9);
    batch.attributes &= (uint16_t)~BATCH_CONTROL;
    assert_int_equal(batch_marker_parse(&batch, &marker), ERR_CORRUPT);
    batch.attributes |= BATCH_CONTROL;
    batch.count = 0; /* emptied by compaction: no bytes of records, either */
    batch.size = BATCH_HEADER_BYTES;
    assert_int_equal(batch_marker_parse(&batch, &marker), ERR_NOT_FOUND);
    slab_drop(slab);

    struct batch_options options;
    struct batch_builder builder;
    batch_options_init(&options);
    options.control = true;
    batch_builder_init(&builder, &pool, 1000, &options);
    assert_int_equal(batch_builder_add_control(&builder, CONTROL_KRAFT_VERSION, 5, SPAN_LITERAL("\0\0\0\1\0")), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    run = span_of(slab->bytes, slab->used);
    assert_int_equal(batch_next(&run, &batch), ERR_NONE);
    assert_int_equal(batch_marker_parse(&batch, &marker), ERR_UNSUPPORTED);
    slab_drop(slab);

    static const struct { const char *key; size_t size; enum err err; enum control_type type; } keys[] = {
        {"\0\0\0\1", 4, ERR_NONE, CONTROL_COMMIT}, {"\0\1\0\1", 4, ERR_NONE, CONTROL_COMMIT}, {"\0\0\0\6", 4, ERR_NONE, CONTROL_VOTERS},
        {"\0\0\0\7", 4, ERR_NONE, CONTROL_UNKNOWN}, {"\0\0\xff\xff", 4, ERR_NONE, CONTROL_UNKNOWN}, {"\0\0\0", 3, ERR_CORRUPT, 0},
        {"\xff\xff\0\1", 4, ERR_CORRUPT, 0}, {NULL, 0, ERR_CORRUPT, 0}};
    for (size_t i = 0; i < countof(keys); i++) {
        enum control_type type = CONTROL_UNKNOWN;
        assert_int_equal(control_type_parse(span_of(keys[i].key, keys[i].size), &type), keys[i].err);
        if (!keys[i].err) assert_int_equal(type, keys[i].type);
    }
    end();
}

/* A codec that does not exist is named as such, in both readers. */
TEST(unknown_codecs_are_unsupported) {
    begin();
    struct slab *slab = plain_batch(1);
    for (uint16_t codec = COMPRESSION_COUNT; codec <= BATCH_CODEC_MASK; codec++) {
        struct batch batch;
        struct batch_records records;
        struct batch_facts facts;
        store_be16(slab->bytes + BATCH_AT_ATTRIBUTES, codec);
        struct span run = span_of(slab->bytes, slab->used);
        assert_int_equal(batch_next(&run, &batch), ERR_NONE);
        assert_int_equal(batch_records_open(&batch, &codecs, &limits, &records), ERR_UNSUPPORTED);
        assert_int_equal(batch_walk(&batch, &codecs, &limits, &facts), ERR_UNSUPPORTED);
    }
    slab_drop(slab);
    end();
}

/* Records that are not well formed, one fault each, small and larger than the window: refused by the cursor, by the walk and
 * by the walk through the window. */
TEST(malformed_records_are_refused) {
    enum { SMALL = 3, LARGE = 70000 };
    /* attributes, timestamp, offset, key size, (key), value size, value, headers: as bytes before and behind the value */
    static const struct { const char *before; int before_size; int value_size_off; const char *behind; int behind_size; bool good; } cases[] = {
        {"\0\0\0\2k", 5, 0, "\0", 1, true},
        {"\0\0\0\1", 4, 0, "\0", 1, true},                  /* null key                                */
        {"\0\0\0\2k", 5, 0, "\2\2h\2v", 5, true},          /* one header                              */
        {"\0\0\0\2k", 5, 0, "\2\2h\1", 4, true},           /* ... with a null value                   */
        {"\0\0\0\2k", 5, 0, "\2\1\2v", 4, false},          /* ... with a null key                     */
        {"\0\0\0\2k", 5, 0, "\4\2h\2v", 5, false},         /* two headers, but one is there           */
        {"\0\0\0\2k", 5, 0, "\1", 1, false},                /* -1 headers                              */
        {"\0\0\0\2k", 5, 0, "\0\0", 2, false},              /* a byte too many                         */
        {"\0\0\0\2k", 5, 0, "", 0, false},                  /* no count of headers                     */
        {"\0\0\0\2k", 5, 1, "\0", 1, false},                /* a value one byte larger                 */
        {"\0\0\0\2k", 5, -1, "\0", 1, false},               /* a value one byte smaller                */
        {"\0\0\0\2k", 5, 0, "\2\2h\xfe\xff\xff\xff\x0f", 8, false}, /* a header's value of 2 GiB     */
        {"\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\2", 11, 0, "\0", 1, false}, /* a timestamp of 65 bits */
        {"\0\0\x80\x80\x80\x80\x10\2k", 9, 0, "\0", 1, false}, /* an offset of 33 bits              */
    };
    begin();
    for (size_t i = 0; i < countof(cases); i++) {
        for (int large = 0; large < 2; large++) {
            int32_t value = large ? LARGE : SMALL;
            uint8_t *bytes = calloc(1, LARGE + 200), *at = bytes + BATCH_HEADER_BYTES + 5, *body = at;
            memcpy(at, cases[i].before, (size_t)cases[i].before_size);
            at += cases[i].before_size;
            at += uvarint32_store(at, zigzag32(value + cases[i].value_size_off));
            memset(at, 'v', (size_t)value);
            at += value;
            memcpy(at, cases[i].behind, (size_t)cases[i].behind_size);
            at += cases[i].behind_size;
            uint8_t size[5];
            size_t size_bytes = uvarint32_store(size, zigzag32((int32_t)(at - body)));
            memmove(bytes + BATCH_HEADER_BYTES + size_bytes, body, (size_t)(at - body));
            memcpy(bytes + BATCH_HEADER_BYTES, size, size_bytes);
            struct span records = span_of(bytes + BATCH_HEADER_BYTES, size_bytes + (size_t)(at - body));
            struct batch plain = {.bytes = bytes, .size = (uint32_t)(BATCH_HEADER_BYTES + records.size), .count = 1}, small = plain;
            struct slab *packed = NULL;
            struct record_cursor cursor;
            struct record record;
            struct batch_facts facts;
            record_cursor_init(&cursor, &plain, records);
            enum err err = record_next(&cursor, &record);
            if (!err) err = record_next(&cursor, &record);
            assert_int_equal(err, cases[i].good ? ERR_NOT_FOUND : ERR_CORRUPT);
            assert_int_equal(batch_walk(&plain, NULL, NULL, &facts), cases[i].good ? ERR_NONE : ERR_CORRUPT);
            assert_true(slab_reserve(&pool, &packed, BATCH_HEADER_BYTES));
            packed->used = BATCH_HEADER_BYTES;
            assert_int_equal(pack(&codecs, COMPRESSION_SNAPPY, COMPRESSION_LEVEL_DEFAULT, 0, records, &packed), ERR_NONE);
            small.bytes = packed->bytes;
            small.size = packed->used;
            small.attributes = COMPRESSION_SNAPPY;
            assert_int_equal(batch_walk(&small, &codecs, &limits, &facts), cases[i].good ? ERR_NONE : ERR_CORRUPT);
            slab_drop(packed);
            free(bytes);
        }
    }
    end();
}
