/* test/vectors_records.c - runs of record batches and old message sets: decoded, and encoded again.
 *
 * What is not compressed must come out to the byte; what is, must decode to the same records, since compressors differ.
 */
#include "vectors.h"
#include "base/hash.h"
#include "wire/batch.h"
#include "wire/batch_old.h"
#include <string.h>

static struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;

/* Only what the vector names is compared: log folders tell less than the families of batches. */
static bool number_is(const json_t *json, const char *name, int64_t value, const char **why) {
    const json_t *expected = json_object_get(json, name);
    if (!expected || (json_is_integer(expected) && json_integer_value(expected) == value)) return true;
    *why = name;
    return false;
}
static bool flag_is(const json_t *json, const char *name, bool value, const char **why) {
    const json_t *expected = json_object_get(json, name);
    if (!expected || !json_is_boolean(expected) || json_is_true(expected) == value) return true;
    *why = name;
    return false;
}
static bool text_is(const json_t *json, const char *name, const char *value, const char **why) {
    const char *expected = json_string_value(json_object_get(json, name));
    if (!expected || !strcmp(expected, value)) return true;
    *why = name;
    return false;
}
static bool bytes_are(const struct vector *vector, const json_t *json, const char *name, struct span value, const char **why) {
    struct span expected = vector_hex(vector->arena, json_object_get(json, name));
    if (!expected.data == !value.data && span_equal(expected, value)) return true;
    *why = name;
    return false;
}

static bool headers_are(const struct vector *vector, const json_t *json, struct record record, const char **why) {
    const json_t *headers = json_object_get(json, "headers");
    struct record_header header;
    size_t n = 0;
    *why = "headers";
    for (; record_header_next(&record, &header); n++) {
        const json_t *expected = json_array_get(headers, n);
        const json_t *key = json_object_get(expected, "key");
        struct span value = vector_hex(vector->arena, json_object_get(expected, "value"));
        if (!span_equal(header.key, span_of(json_string_value(key), json_string_length(key)))) return false;
        if (!value.data != !header.value.data || !span_equal(value, header.value)) return false;
    }
    return n == json_array_size(headers);
}

static const char *control_name(enum control_type type) {
    static const char *const names[] = {"ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"};
    return type >= 0 && (size_t)type < countof(names) ? names[type] : "UNKNOWN";
}

static bool record_is(const struct vector *vector, const json_t *json, const struct record *record, const char **why) {
    if (!number_is(json, "offset", record->offset, why) || !number_is(json, "timestamp", record->timestamp, why)) return false;
    if (!bytes_are(vector, json, "key", record->key, why) || !bytes_are(vector, json, "value", record->value, why)) return false;
    const char *control = vector_text(json, json_object_get(json, "controlType") ? "controlType" : "control");
    enum control_type type;
    if (control[0]) {
        *why = "control type";
        if (control_type_parse(record->key, &type)) return false;
        if (strcmp(control, control_name(type)) && !(type == CONTROL_VOTERS && !strcmp(control, "VOTERS"))) return false;
    }
    return headers_are(vector, json, *record, why);
}

static bool records_are(const struct vector *vector, const json_t *json, const struct batch *batch, struct span bytes, const char **why) {
    const json_t *records = json_object_get(json, "records");
    struct record_cursor cursor;
    struct record record;
    size_t n = 0;
    enum err err;
    record_cursor_init(&cursor, batch, bytes);
    while ((err = record_next(&cursor, &record)) == ERR_NONE) {
        const json_t *expected = json_array_get(records, n++);
        if (!expected || !record_is(vector, expected, &record, why)) return false;
        int32_t delta = (int32_t)(record.offset - batch->base_offset);
        if (batch->base_sequence >= 0 && !number_is(expected, "sequence", sequence_add(batch->base_sequence, delta), why)) return false;
    }
    *why = "count of records";
    return err == ERR_NOT_FOUND && n == json_array_size(records);
}

static bool header_is(const json_t *json, const struct batch *batch, const char **why) {
    return number_is(json, "sizeInBytes", batch->size, why) && number_is(json, "magic", BATCH_MAGIC_2, why) &&
           number_is(json, "baseOffset", batch->base_offset, why) && number_is(json, "lastOffset", batch_last_offset(batch), why) &&
           number_is(json, "crc32c", batch->crc, why) && number_is(json, "partitionLeaderEpoch", batch->leader_epoch, why) &&
           text_is(json, "compression", compression_name((enum compression)batch_codec(batch)), why) &&
           text_is(json, "timestampType", batch_timestamp_type(batch) ? "LogAppendTime" : "CreateTime", why) &&
           number_is(json, "maxTimestamp", batch->max_timestamp, why) && number_is(json, "baseTimestamp", batch->base_timestamp, why) &&
           number_is(json, "producerId", batch->producer_id, why) && number_is(json, "producerEpoch", batch->producer_epoch, why) &&
           number_is(json, "baseSequence", batch->base_sequence, why) && number_is(json, "lastSequence", batch_last_sequence(batch), why) &&
           flag_is(json, "transactional", batch_is_transactional(batch), why) && flag_is(json, "control", batch_is_control(batch), why) &&
           number_is(json, "count", batch->count, why) &&
           (batch_has_delete_horizon(batch) ? number_is(json, "deleteHorizonMs", batch->base_timestamp, why) : !json_object_get(json, "deleteHorizonMs"));
}

/* The walk finds what the records say. */
static bool walk_is(const struct batch *batch, struct codecs *codecs, struct span bytes, const char **why) {
    struct batch_facts facts;
    struct record_cursor cursor;
    struct record record;
    time_ms largest = -1, smallest = INT64_MAX;
    bool dense = true, keys = true;
    int64_t n = 0;
    record_cursor_init(&cursor, batch, bytes);
    for (; record_next(&cursor, &record) == ERR_NONE; n++) {
        if (record.timestamp > largest) largest = record.timestamp;
        if (record.timestamp != -1 && record.timestamp < smallest) smallest = record.timestamp;
        dense &= record.offset == batch->base_offset + n;
        keys &= record.key.data != NULL;
    }
    *why = "walk";
    return !batch_walk(batch, codecs, &limits, &facts) && facts.timestamp_max == largest && facts.timestamp_min == smallest &&
           facts.offsets_are_dense == dense && facts.every_has_key == keys && facts.offsets_rise && facts.records_bytes == bytes.size;
}

static bool built_again(const struct vector *vector, const json_t *json, const struct batch *batch, struct codecs *codecs, struct span bytes,
                        const char **why) {
    struct batch_options options;
    batch_options_init(&options);
    options.codec = (enum compression)batch_codec(batch);
    options.base_offset = batch->base_offset;
    options.leader_epoch = batch->leader_epoch;
    options.timestamp_type = batch_timestamp_type(batch);
    if (options.timestamp_type == TIMESTAMP_LOG_APPEND || batch->count == 0) options.max_timestamp = batch->max_timestamp;
    options.producer_id = batch->producer_id;
    options.producer_epoch = batch->producer_epoch;
    options.base_sequence = batch->base_sequence;
    options.transactional = batch_is_transactional(batch);
    options.control = batch_is_control(batch);
    options.last_offset_delta = batch->last_offset_delta;
    if (batch_has_delete_horizon(batch)) options.delete_horizon = batch->base_timestamp;
    struct batch_builder builder;
    struct record_cursor cursor, plain;
    struct record record;
    struct slab *slab = NULL;
    bool same = false;
    *why = "encoding";
    batch_builder_init(&builder, vector->pool, MIB(64), &options);
    /* With LogAppendTime the records keep the timestamps that they were sent with. */
    plain = (record_cursor_init(&cursor, batch, bytes), cursor);
    plain.log_append_time = false;
    while (record_next(&plain, &record) == ERR_NONE)
        if (batch_builder_add_at(&builder, (int32_t)(record.offset - batch->base_offset), record.timestamp, record.key, record.value,
                                 record.headers, record.headers_count)) goto out;
    if (batch_builder_finish(&builder, codecs, &slab)) goto out;
    if (options.codec == COMPRESSION_NONE) {
        same = span_equal(span_of(slab->bytes, slab->used), span_of(batch->bytes, batch->size));
    } else {
        struct span run = span_of(slab->bytes, slab->used);
        struct batch again;
        struct batch_records records;
        if (batch_next(&run, &again) || !batch_crc_is_good(&again) || batch_records_open(&again, codecs, &limits, &records)) goto out;
        same = span_equal(records.bytes, bytes) && records_are(vector, json, &again, records.bytes, why);
        batch_records_close(&records);
    }
out:
    slab_drop(slab);
    batch_builder_destroy(&builder);
    return same;
}

static bool batch_is(const struct vector *vector, const json_t *json, const struct batch *batch, struct codecs *codecs, const char **why) {
    struct batch_records records;
    *why = "CRC";
    if (!batch_crc_is_good(batch)) return false;
    if (!header_is(json, batch, why)) return false;
    *why = "unpacking";
    if (batch_records_open(batch, codecs, &limits, &records)) return false;
    bool is = records_are(vector, json, batch, records.bytes, why) && walk_is(batch, codecs, records.bytes, why) &&
              built_again(vector, json, batch, codecs, records.bytes, why);
    batch_records_close(&records);
    return is;
}

/* What was read, written again: an old message is its fields and nothing else. */
static bool old_again(const struct vector *vector, const struct old_message *message) {
    uint8_t *bytes = arena_alloc(vector->arena, message->size), *at = bytes + 18;
    if (!bytes) return false;
    store_be64(bytes, (uint64_t)message->offset);
    store_be32(bytes + 8, message->size - 12);
    bytes[16] = (uint8_t)message->magic;
    bytes[17] = message->attributes;
    if (message->magic == 1) {
        store_be64(at, (uint64_t)message->timestamp);
        at += 8;
    }
    struct span fields[] = {message->key, message->value};
    for (size_t i = 0; i < countof(fields); i++) {
        store_be32(at, fields[i].data ? (uint32_t)fields[i].size : UINT32_MAX);
        if (fields[i].size) memcpy(at + 4, fields[i].data, fields[i].size);
        at += 4 + fields[i].size;
    }
    store_be32(bytes + 12, crc32_zip(0, bytes + 16, message->size - 16));
    return at == bytes + message->size && !memcmp(bytes, message->bytes, message->size);
}

static bool old_is(const struct vector *vector, const json_t *json, const struct old_message *message, struct codecs *codecs, const char **why) {
    struct old_cursor cursor;
    struct old_range range;
    struct record record;
    const json_t *records = json_object_get(json, "records");
    const char *type = message->magic == 0 ? "NoTimestampType" : message->attributes & BATCH_LOG_APPEND_TIME ? "LogAppendTime" : "CreateTime";
    size_t n = 0;
    *why = "old message";
    bool is = !old_cursor_open(&cursor, message, codecs, &limits, &range) && old_again(vector, message) &&
              number_is(json, "sizeInBytes", message->size, why) && number_is(json, "magic", message->magic, why) &&
              number_is(json, "crc32", message->crc, why) && number_is(json, "baseOffset", range.base_offset, why) &&
              number_is(json, "lastOffset", range.last_offset, why) && number_is(json, "maxTimestamp", range.max_timestamp, why) &&
              text_is(json, "compression", compression_name((enum compression)old_codec(message)), why) &&
              text_is(json, "timestampType", type, why);
    for (; is && old_cursor_next(&cursor, &record) == ERR_NONE; n++) is = record_is(vector, json_array_get(records, n), &record, why);
    if (is && n != json_array_size(records)) {
        *why = "count of records";
        is = false;
    }
    old_cursor_close(&cursor);
    return is;
}

enum verdict vector_batches(const struct vector *vector, const json_t *batches, struct span bytes, bool may_be_cut) {
    struct codecs codecs;
    struct span rest = bytes;
    const char *why = "order";
    size_t n = 0;
    bool is = true;
    enum err err;
    codecs_init(&codecs, vector->pool);
    for (; is; n++) {
        const json_t *json = json_array_get(batches, n);
        struct batch batch;
        struct old_message message;
        if (!number_is(json, "position", (int64_t)(bytes.size - rest.size), &why)) is = false;
        err = batch_next(&rest, &batch);
        bool old = err == ERR_UNSUPPORTED && !(err = old_next(&rest, &message));
        if (err) break;
        if (json_is_false(json_object_get(json, "valid"))) {
            why = "a bad batch was taken";
            is = old ? !old_crc_is_good(&message) : !batch_crc_is_good(&batch);
        } else {
            is = is && json && (old ? old_is(vector, json, &message, &codecs, &why) : batch_is(vector, json, &batch, &codecs, &why));
        }
    }
    codecs_destroy(&codecs);
    if (!is) return vector_wrong(vector, "batch %zu: %s", n - 1, why);
    if (n != json_array_size(batches)) return vector_wrong(vector, "%zu batches: %s", n, err_text(err));
    if (err != (may_be_cut ? ERR_AGAIN : ERR_NOT_FOUND)) return vector_wrong(vector, "at the end: %s", err_text(err));
    return VECTOR_PASSED;
}

enum verdict vectors_records(const struct vector *vector) {
    struct span bytes = vector_hex(vector->arena, json_object_get(vector->json, "hex"));
    bool cut = strstr(vector_text(vector->json, "case"), "-truncated-") != NULL;
    return vector_batches(vector, json_object_get(vector->json, "batches"), bytes, cut);
}
