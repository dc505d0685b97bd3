/* wire/batch_build.c - the writing half of wire/batch.h: records in, a batch out; control records. */
#include "wire/batch.h"

void batch_options_init(struct batch_options *options) {
    *options = (struct batch_options){
        .codec = COMPRESSION_NONE,
        .level = COMPRESSION_LEVEL_DEFAULT,
        .leader_epoch = -1,
        .max_timestamp = -1,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .last_offset_delta = -1,
        .delete_horizon = -1,
    };
}

static void start(struct batch_builder *builder) {
    builder->slab = NULL;
    builder->count = 0;
    builder->last_delta = -1;
    builder->base_timestamp = builder->options.delete_horizon; /* -1 until the first record says better */
    builder->max_timestamp = -1;
}

void batch_builder_init(struct batch_builder *builder, struct pool *pool, uint32_t bytes_max, const struct batch_options *options) {
    assert(bytes_max >= BATCH_HEADER_BYTES && bytes_max <= INT32_MAX);
    *builder = (struct batch_builder){.pool = pool, .bytes_max = bytes_max, .options = *options};
    start(builder);
}

void batch_builder_destroy(struct batch_builder *builder) {
    slab_drop(builder->slab);
    builder->slab = NULL;
}

static size_t bytes_size(struct span span) {
    return span.data ? uvarint_bytes(zigzag32((int32_t)span.size)) + span.size : 1;
}

static size_t headers_size(const struct record_header *headers, int32_t count) {
    size_t size = 0;
    for (int32_t i = 0; i < count; i++) {
        struct span key = headers[i].key.data ? headers[i].key : SPAN_LITERAL("");
        size += bytes_size(key) + bytes_size(headers[i].value);
    }
    return size;
}

static size_t body_size(int64_t timestamp_delta, int32_t offset_delta, struct span key, struct span value, size_t headers_bytes,
                        int32_t headers_count) {
    return 1 + uvarint_bytes(zigzag64(timestamp_delta)) + uvarint_bytes(zigzag32(offset_delta)) + bytes_size(key) +
           bytes_size(value) + uvarint_bytes(zigzag32(headers_count)) + headers_bytes;
}

size_t record_size(int64_t timestamp_delta, int32_t offset_delta, struct span key, struct span value,
                   const struct record_header *headers, int32_t headers_count) {
    size_t body = body_size(timestamp_delta, offset_delta, key, value, headers_size(headers, headers_count), headers_count);
    return uvarint_bytes(zigzag64((int64_t)body)) + body;
}

static uint8_t *store_bytes(uint8_t *at, struct span span) {
    at += uvarint32_store(at, zigzag32(span.data ? (int32_t)span.size : -1));
    if (span.size) memcpy(at, span.data, span.size);
    return at + span.size;
}

uint32_t batch_builder_size(const struct batch_builder *builder) {
    return builder->slab ? builder->slab->used : BATCH_HEADER_BYTES;
}

/* `raw` are headers as they lie in a record; else they are in `headers`. */
static enum err add(struct batch_builder *builder, int32_t offset_delta, time_ms timestamp, struct span key, struct span value,
                    const struct record_header *headers, struct span raw, int32_t headers_count) {
    assert(offset_delta > builder->last_delta && headers_count >= 0);
    if (key.size > builder->bytes_max || value.size > builder->bytes_max) return ERR_LIMIT;
    bool first = builder->count == 0 && builder->options.delete_horizon < 0;
    time_ms base = first ? timestamp : builder->base_timestamp;
    int64_t timestamp_delta = (int64_t)((uint64_t)timestamp - (uint64_t)base);
    size_t headers_bytes = headers ? headers_size(headers, headers_count) : raw.size;
    size_t body = body_size(timestamp_delta, offset_delta, key, value, headers_bytes, headers_count);
    size_t size = uvarint_bytes(zigzag64((int64_t)body)) + body;
    if (size > builder->bytes_max - batch_builder_size(builder)) return ERR_LIMIT;
    size_t room = builder->slab ? size : BATCH_HEADER_BYTES + size;
    if (!builder->slab && room < 512) room = 512;
    if (!slab_reserve(builder->pool, &builder->slab, room)) return ERR_NO_MEMORY;
    struct slab *slab = builder->slab;
    if (slab->used == 0) slab->used = BATCH_HEADER_BYTES;

    uint8_t *at = slab->bytes + slab->used;
    at += uvarint32_store(at, zigzag32((int32_t)body));
    *at++ = 0;
    at += uvarint64_store(at, zigzag64(timestamp_delta));
    at += uvarint32_store(at, zigzag32(offset_delta));
    at = store_bytes(at, key);
    at = store_bytes(at, value);
    at += uvarint32_store(at, zigzag32(headers_count));
    for (int32_t i = 0; headers && i < headers_count; i++) {
        at = store_bytes(at, headers[i].key.data ? headers[i].key : SPAN_LITERAL(""));
        at = store_bytes(at, headers[i].value);
    }
    if (!headers && raw.size) {
        memcpy(at, raw.data, raw.size);
        at += raw.size;
    }
    assert((size_t)(at - slab->bytes) == slab->used + size);
    slab->used += (uint32_t)size;
    builder->base_timestamp = base;
    if (timestamp > builder->max_timestamp) builder->max_timestamp = timestamp;
    builder->last_delta = offset_delta;
    builder->count++;
    return ERR_NONE;
}

enum err batch_builder_add(struct batch_builder *builder, time_ms timestamp, struct span key, struct span value,
                           const struct record_header *headers, int32_t headers_count) {
    if (builder->last_delta == INT32_MAX) return ERR_LIMIT;
    return add(builder, builder->last_delta + 1, timestamp, key, value, headers, (struct span){0}, headers_count);
}

enum err batch_builder_add_at(struct batch_builder *builder, int32_t offset_delta, time_ms timestamp, struct span key,
                              struct span value, struct span headers, int32_t headers_count) {
    return add(builder, offset_delta, timestamp, key, value, NULL, headers, headers_count);
}

static void store_header(const struct batch_builder *builder, uint8_t *at, uint32_t size) {
    const struct batch_options *options = &builder->options;
    uint16_t attributes = (uint16_t)(builder->count ? options->codec : COMPRESSION_NONE);
    if (options->timestamp_type == TIMESTAMP_LOG_APPEND) attributes |= BATCH_LOG_APPEND_TIME;
    if (options->transactional) attributes |= BATCH_TRANSACTIONAL;
    if (options->control) attributes |= BATCH_CONTROL;
    if (options->delete_horizon >= 0) attributes |= BATCH_DELETE_HORIZON;
    int32_t last_delta = options->last_offset_delta >= 0 ? options->last_offset_delta : builder->last_delta;
    assert(last_delta >= 0 && last_delta >= builder->last_delta);
    time_ms max_timestamp = builder->max_timestamp;
    if (options->timestamp_type == TIMESTAMP_LOG_APPEND || options->max_timestamp >= 0) max_timestamp = options->max_timestamp;
    batch_stamp(at, options->base_offset, options->leader_epoch);
    store_be32(at + BATCH_AT_LENGTH, size - BATCH_FRAME_BYTES);
    at[BATCH_AT_MAGIC] = BATCH_MAGIC_2;
    store_be16(at + BATCH_AT_ATTRIBUTES, attributes);
    store_be32(at + BATCH_AT_LAST_OFFSET_DELTA, (uint32_t)last_delta);
    store_be64(at + BATCH_AT_BASE_TIMESTAMP, (uint64_t)builder->base_timestamp);
    store_be64(at + BATCH_AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    store_be64(at + BATCH_AT_PRODUCER_ID, (uint64_t)options->producer_id);
    store_be16(at + BATCH_AT_PRODUCER_EPOCH, (uint16_t)options->producer_epoch);
    store_be32(at + BATCH_AT_BASE_SEQUENCE, (uint32_t)options->base_sequence);
    store_be32(at + BATCH_AT_COUNT, (uint32_t)builder->count);
    batch_stamp_crc(at, size);
}

enum err batch_builder_finish(struct batch_builder *builder, struct codecs *codecs, struct slab **out) {
    struct slab *slab = builder->slab;
    if (!slab) { /* no records */
        if (!slab_reserve(builder->pool, &slab, BATCH_HEADER_BYTES)) return ERR_NO_MEMORY;
        slab->used = BATCH_HEADER_BYTES;
    } else if (builder->options.codec != COMPRESSION_NONE) {
        struct slab *packed = NULL;
        uint32_t plain = slab->used - BATCH_HEADER_BYTES;
        if (!slab_reserve(builder->pool, &packed, BATCH_HEADER_BYTES + plain / 2)) return ERR_NO_MEMORY;
        packed->used = BATCH_HEADER_BYTES;
        enum err err = pack(codecs, builder->options.codec, builder->options.level, 0, span_of(slab->bytes + BATCH_HEADER_BYTES, plain), &packed);
        if (!err && packed->used > INT32_MAX) err = ERR_LIMIT;
        if (err) {
            slab_drop(packed);
            return err;
        }
        slab_drop(slab);
        slab = packed;
    }
    store_header(builder, slab->bytes, slab->used);
    *out = slab;
    start(builder);
    return ERR_NONE;
}

/* ---- Control records */

enum { CONTROL_KEY_BYTES = 4, MARKER_VALUE_BYTES = 6 };

enum err control_type_parse(struct span key, enum control_type *out) {
    if (!key.data || key.size < CONTROL_KEY_BYTES || (int16_t)load_be16(key.data) < 0) return ERR_CORRUPT;
    int16_t type = (int16_t)load_be16(key.data + 2);
    *out = type >= CONTROL_ABORT && type <= CONTROL_VOTERS ? (enum control_type)type : CONTROL_UNKNOWN;
    return ERR_NONE;
}

enum err batch_builder_add_control(struct batch_builder *builder, enum control_type type, time_ms timestamp, struct span value) {
    assert(builder->options.control && type != CONTROL_UNKNOWN);
    uint8_t key[CONTROL_KEY_BYTES];
    store_be16(key, 0);
    store_be16(key + 2, (uint16_t)type);
    return batch_builder_add(builder, timestamp, span_of(key, sizeof key), value, NULL, 0);
}

enum err batch_build_marker(struct pool *pool, enum control_type type, producer_id producer, int16_t epoch, int32_t coordinator_epoch,
                            time_ms timestamp, struct slab **out) {
    assert(type == CONTROL_COMMIT || type == CONTROL_ABORT);
    struct batch_options options;
    batch_options_init(&options);
    options.producer_id = producer;
    options.producer_epoch = epoch;
    options.transactional = options.control = true;
    uint8_t value[MARKER_VALUE_BYTES];
    store_be16(value, 0);
    store_be32(value + 2, (uint32_t)coordinator_epoch);
    struct batch_builder builder;
    batch_builder_init(&builder, pool, 512, &options);
    enum err err = batch_builder_add_control(&builder, type, timestamp, span_of(value, sizeof value));
    if (!err) err = batch_builder_finish(&builder, NULL, out);
    batch_builder_destroy(&builder);
    return err;
}

enum err batch_marker_parse(const struct batch *batch, struct batch_marker *out) {
    struct batch_records records;
    struct record_cursor cursor;
    struct record record;
    if (!batch_is_control(batch) || batch_codec(batch) != COMPRESSION_NONE) return ERR_CORRUPT;
    enum err err = batch_records_open(batch, NULL, NULL, &records);
    if (err) return err;
    record_cursor_init(&cursor, batch, records.bytes);
    if ((err = record_next(&cursor, &record))) return err;
    if ((err = control_type_parse(record.key, &out->type))) return err;
    if (out->type != CONTROL_COMMIT && out->type != CONTROL_ABORT) return ERR_UNSUPPORTED;
    if (!record.value.data || record.value.size < MARKER_VALUE_BYTES || (int16_t)load_be16(record.value.data) < 0) return ERR_CORRUPT;
    out->coordinator_epoch = (int32_t)load_be32(record.value.data + 2);
    return ERR_NONE;
}
