#include "wire/batch.h"
#include "base/hash.h"

static_assert(BATCH_AT_LENGTH == BATCH_AT_BASE_OFFSET + 8, "the fields follow each other");
static_assert(BATCH_AT_LEADER_EPOCH == BATCH_AT_LENGTH + 4, "the fields follow each other");
static_assert(BATCH_FRAME_BYTES == BATCH_AT_LENGTH + 4, "length counts what follows it");
static_assert(BATCH_AT_MAGIC == BATCH_AT_LEADER_EPOCH + 4, "in all formats the magic is at 16");
static_assert(BATCH_AT_MAGIC == 16 && BATCH_MAGIC_BYTES == 17, "in all formats the magic is at 16");
static_assert(BATCH_AT_CRC == BATCH_AT_MAGIC + 1, "the fields follow each other");
static_assert(BATCH_AT_ATTRIBUTES == BATCH_AT_CRC + 4, "the CRC covers everything behind itself");
static_assert(BATCH_AT_LAST_OFFSET_DELTA == BATCH_AT_ATTRIBUTES + 2, "the fields follow each other");
static_assert(BATCH_AT_BASE_TIMESTAMP == BATCH_AT_LAST_OFFSET_DELTA + 4, "the fields follow each other");
static_assert(BATCH_AT_MAX_TIMESTAMP == BATCH_AT_BASE_TIMESTAMP + 8, "the fields follow each other");
static_assert(BATCH_AT_PRODUCER_ID == BATCH_AT_MAX_TIMESTAMP + 8, "the fields follow each other");
static_assert(BATCH_AT_PRODUCER_EPOCH == BATCH_AT_PRODUCER_ID + 8, "the fields follow each other");
static_assert(BATCH_AT_BASE_SEQUENCE == BATCH_AT_PRODUCER_EPOCH + 2, "the fields follow each other");
static_assert(BATCH_AT_COUNT == BATCH_AT_BASE_SEQUENCE + 4, "the fields follow each other");
static_assert(BATCH_HEADER_BYTES == BATCH_AT_COUNT + 4, "the records follow the count");
static_assert((COMPRESSION_COUNT - 1) <= BATCH_CODEC_MASK, "three bits name the codec");

int32_t batch_last_sequence(const struct batch *batch) {
    return batch->base_sequence < 0 ? -1 : sequence_add(batch->base_sequence, batch->last_offset_delta);
}

/* ---- Find the batches */

enum err batch_frame_parse(struct span bytes, struct batch_frame *out) {
    if (bytes.size < BATCH_FRAME_BYTES) return ERR_AGAIN;
    uint32_t length = load_be32(bytes.data + BATCH_AT_LENGTH);
    if (length < BATCH_OLD_BYTES_MIN - BATCH_FRAME_BYTES || length > INT32_MAX) return ERR_CORRUPT;
    if (bytes.size < BATCH_MAGIC_BYTES) return ERR_AGAIN;
    *out = (struct batch_frame){
        .base_offset = (log_offset)load_be64(bytes.data + BATCH_AT_BASE_OFFSET),
        .size = length + BATCH_FRAME_BYTES,
        .magic = (int8_t)bytes.data[BATCH_AT_MAGIC],
    };
    if (out->magic < 0 || out->magic > BATCH_MAGIC_2) return ERR_CORRUPT;
    if (out->magic == BATCH_MAGIC_2 && out->size < BATCH_HEADER_BYTES) return ERR_CORRUPT;
    return ERR_NONE;
}

static void load_header(const uint8_t *at, struct batch *out) {
    *out = (struct batch){
        .size = load_be32(at + BATCH_AT_LENGTH) + BATCH_FRAME_BYTES,
        .leader_epoch = (leader_epoch)load_be32(at + BATCH_AT_LEADER_EPOCH),
        .base_offset = (log_offset)load_be64(at + BATCH_AT_BASE_OFFSET),
        .last_offset_delta = (int32_t)load_be32(at + BATCH_AT_LAST_OFFSET_DELTA),
        .crc = load_be32(at + BATCH_AT_CRC),
        .base_timestamp = (time_ms)load_be64(at + BATCH_AT_BASE_TIMESTAMP),
        .max_timestamp = (time_ms)load_be64(at + BATCH_AT_MAX_TIMESTAMP),
        .producer_id = (producer_id)load_be64(at + BATCH_AT_PRODUCER_ID),
        .base_sequence = (int32_t)load_be32(at + BATCH_AT_BASE_SEQUENCE),
        .producer_epoch = (int16_t)load_be16(at + BATCH_AT_PRODUCER_EPOCH),
        .attributes = load_be16(at + BATCH_AT_ATTRIBUTES),
        .count = (int32_t)load_be32(at + BATCH_AT_COUNT),
    };
}

enum err batch_header_parse(struct span bytes, struct batch *out) {
    struct batch_frame frame;
    enum err err = batch_frame_parse(bytes, &frame);
    if (err) return err;
    if (frame.magic != BATCH_MAGIC_2) return ERR_UNSUPPORTED;
    if (bytes.size < BATCH_HEADER_BYTES) return ERR_AGAIN;
    load_header(bytes.data, out);
    return ERR_NONE;
}

enum err batch_next(struct span *rest, struct batch *out) {
    if (rest->size == 0) return ERR_NOT_FOUND;
    struct batch_frame frame;
    enum err err = batch_frame_parse(*rest, &frame);
    if (err) return err;
    if (frame.magic != BATCH_MAGIC_2) return ERR_UNSUPPORTED;
    if (frame.size > rest->size) return ERR_AGAIN;
    load_header(rest->data, out);
    out->bytes = rest->data;
    rest->data += frame.size;
    rest->size -= frame.size;
    return ERR_NONE;
}

bool batch_crc_is_good(const struct batch *batch) {
    assert(batch->bytes);
    return crc32c(0, batch->bytes + BATCH_AT_ATTRIBUTES, batch->size - BATCH_AT_ATTRIBUTES) == batch->crc;
}

/* ---- Records. All but a few varints have one byte or two. NULL: not a varint that fits. */

static inline const uint8_t *load_varint32(const uint8_t *at, const uint8_t *end, int32_t *out) {
    if (__builtin_expect(end - at >= 2, 1)) {
        if (at[0] < 0x80) {
            *out = unzigzag32(at[0]);
            return at + 1;
        }
        if (at[1] < 0x80) {
            *out = unzigzag32((uint32_t)(at[0] & 0x7f) | (uint32_t)at[1] << 7);
            return at + 2;
        }
    }
    uint32_t v;
    size_t size = uvarint32_load(at, end, &v);
    *out = size ? unzigzag32(v) : 0;
    return size ? at + size : NULL;
}

static inline const uint8_t *load_varint64(const uint8_t *at, const uint8_t *end, int64_t *out) {
    if (__builtin_expect(end - at >= 2, 1)) {
        if (at[0] < 0x80) {
            *out = unzigzag64(at[0]);
            return at + 1;
        }
        if (at[1] < 0x80) {
            *out = unzigzag64((uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7);
            return at + 2;
        }
    }
    uint64_t v;
    size_t size = uvarint64_load(at, end, &v);
    *out = size ? unzigzag64(v) : 0;
    return size ? at + size : NULL;
}

/* size, bytes: a size of -1 (or below, as Java has it) is null. */
static inline const uint8_t *load_bytes(const uint8_t *at, const uint8_t *end, struct span *out) {
    int32_t size;
    if (!(at = load_varint32(at, end, &size))) return NULL;
    *out = (struct span){NULL, 0};
    if (size < 0) return at;
    if (size > end - at) return NULL;
    *out = (struct span){at, (size_t)size};
    return at + size;
}

/* A record without what the batch adds to it. */
struct raw_record {
    int64_t timestamp_delta;
    int32_t offset_delta;
    int32_t headers_count;
    struct span key, value, headers;
};

/* Its body, which fills [at, end) exactly; each header is looked at, so that nobody has to check them again. */
static inline bool parse_body(const uint8_t *at, const uint8_t *end, struct raw_record *out) {
    if (at == end) return false;
    at++; /* attributes: none are defined */
    if (!(at = load_varint64(at, end, &out->timestamp_delta))) return false;
    if (!(at = load_varint32(at, end, &out->offset_delta))) return false;
    if (!(at = load_bytes(at, end, &out->key))) return false;
    if (!(at = load_bytes(at, end, &out->value))) return false;
    if (!(at = load_varint32(at, end, &out->headers_count))) return false;
    if (out->headers_count < 0) return false;
    out->headers = (struct span){at, (size_t)(end - at)};
    for (int32_t i = 0; i < out->headers_count; i++) {
        struct span key, value;
        if (!(at = load_bytes(at, end, &key)) || !key.data) return false;
        if (!(at = load_bytes(at, end, &value))) return false;
    }
    return at == end;
}

static inline const uint8_t *parse_record(const uint8_t *at, const uint8_t *end, struct raw_record *out) {
    int32_t size;
    if (!(at = load_varint32(at, end, &size))) return NULL;
    if (size <= 0 || size > end - at) return NULL;
    return parse_body(at, at + size, out) ? at + size : NULL;
}

static time_ms add_time(time_ms base, int64_t delta) {
    return (time_ms)((uint64_t)base + (uint64_t)delta);
}

static struct span payload(const struct batch *batch) {
    assert(batch->bytes);
    return span_of(batch->bytes + BATCH_HEADER_BYTES, batch->size - BATCH_HEADER_BYTES);
}

enum err batch_records_open(const struct batch *batch, struct codecs *codecs, const struct unpack_limits *limits,
                            struct batch_records *out) {
    *out = (struct batch_records){.bytes = payload(batch)};
    unsigned codec = batch_codec(batch);
    if (codec == COMPRESSION_NONE) return ERR_NONE;
    if (codec >= COMPRESSION_COUNT) return ERR_UNSUPPORTED;
    if (batch->count == 0 && out->bytes.size == 0) return ERR_NONE; /* emptied by compaction: nothing was compressed */
    enum err err = unpack(codecs, (enum compression)codec, out->bytes, 0, limits, &out->slab);
    if (!err) out->bytes = span_of(out->slab->bytes, out->slab->used);
    return err;
}

void batch_records_close(struct batch_records *records) {
    slab_drop(records->slab);
    *records = (struct batch_records){0};
}

void record_cursor_init(struct record_cursor *cursor, const struct batch *batch, struct span records) {
    *cursor = (struct record_cursor){
        .at = records.data,
        .end = records.data + records.size,
        .base_offset = batch->base_offset,
        .base_timestamp = batch->base_timestamp,
        .append_timestamp = batch->max_timestamp,
        .left = batch->count,
        .log_append_time = batch_timestamp_type(batch) == TIMESTAMP_LOG_APPEND,
    };
}

enum err record_next(struct record_cursor *cursor, struct record *out) {
    if (cursor->left == 0) return cursor->at == cursor->end ? ERR_NOT_FOUND : ERR_CORRUPT;
    if (cursor->left < 0) return ERR_CORRUPT;
    struct raw_record raw;
    const uint8_t *next = parse_record(cursor->at, cursor->end, &raw);
    if (!next) return ERR_CORRUPT;
    *out = (struct record){
        .offset = (log_offset)((uint64_t)cursor->base_offset + (uint64_t)(int64_t)raw.offset_delta),
        .timestamp = cursor->log_append_time ? cursor->append_timestamp : add_time(cursor->base_timestamp, raw.timestamp_delta),
        .key = raw.key,
        .value = raw.value,
        .headers = raw.headers,
        .headers_count = raw.headers_count,
        .size = (uint32_t)(next - cursor->at),
    };
    cursor->at = next;
    cursor->left--;
    return ERR_NONE;
}

bool record_header_next(struct record *record, struct record_header *out) {
    if (record->headers_count == 0) return false;
    const uint8_t *at = record->headers.data, *end = at + record->headers.size;
    at = load_bytes(at, end, &out->key);
    if (at) at = load_bytes(at, end, &out->value);
    assert(at); /* record_next has looked at all of them */
    record->headers = span_of(at, (size_t)(end - at));
    record->headers_count--;
    return true;
}

/* ---- Walk */

struct walk {
    const struct batch *batch;
    struct batch_facts facts;
    int32_t seen;        /* records so far */
    int32_t last_delta;  /* of the record before; -1: none */
    bool log_append_time;
};

static inline void walk_record(struct walk *walk, int64_t timestamp_delta, int32_t offset_delta, bool has_key, uint32_t bytes) {
    struct batch_facts *facts = &walk->facts;
    time_ms timestamp = walk->log_append_time ? walk->batch->max_timestamp : add_time(walk->batch->base_timestamp, timestamp_delta);
    if (timestamp > facts->timestamp_max) {
        facts->timestamp_max = timestamp;
        facts->timestamp_max_delta = offset_delta;
    }
    if (timestamp < facts->timestamp_min && timestamp != -1) facts->timestamp_min = timestamp;
    if (offset_delta != walk->seen) facts->offsets_are_dense = false;
    if (offset_delta <= walk->last_delta || offset_delta > walk->batch->last_offset_delta) facts->offsets_rise = false;
    if (!has_key) facts->every_has_key = false;
    if (bytes > facts->record_bytes_max) facts->record_bytes_max = bytes;
    walk->last_delta = offset_delta;
    walk->seen++;
}

static enum err walk_plain(struct walk *walk, struct span records) {
    const uint8_t *at = records.data, *end = at + records.size;
    struct walk local = *walk; /* in registers, as far as they go */
    while (local.seen < local.batch->count) {
        int32_t size;
        struct raw_record raw;
        if (!(at = load_varint32(at, end, &size))) return ERR_CORRUPT;
        if (size <= 0 || size > end - at || !parse_body(at, at + size, &raw)) return ERR_CORRUPT;
        at += size;
        walk_record(&local, raw.timestamp_delta, raw.offset_delta, raw.key.data != NULL, (uint32_t)size);
    }
    *walk = local;
    walk->facts.records_bytes = records.size;
    return at == end ? ERR_NONE : ERR_CORRUPT;
}

/* The decompressed records, through a window. */
struct stream {
    struct unpacker unpacker;
    uint8_t *window;
    size_t at, end;
};

/* Tries to have `bytes` in the window; fewer only at the stream's end. */
static enum err stream_fill(struct stream *stream, size_t bytes) {
    assert(bytes <= WINDOW_BYTES);
    if (stream->end - stream->at >= bytes) return ERR_NONE;
    memmove(stream->window, stream->window + stream->at, stream->end - stream->at);
    stream->end -= stream->at;
    stream->at = 0;
    while (stream->end < bytes) {
        size_t got;
        enum err err = unpacker_read(&stream->unpacker, stream->window + stream->end, WINDOW_BYTES - stream->end, &got);
        if (err) return err;
        if (got == 0) break;
        stream->end += got;
    }
    return ERR_NONE;
}

/* A varint within the `left` bytes of a record that does not fit the window. */
static enum err stream_varint(struct stream *stream, size_t *left, int64_t *out, bool small) {
    enum err err = stream_fill(stream, VARINT64_BYTES_MAX);
    if (err) return err;
    size_t room = stream->end - stream->at;
    if (room > *left) room = *left;
    const uint8_t *at = stream->window + stream->at, *next;
    if (small) {
        int32_t v;
        next = load_varint32(at, at + room, &v);
        *out = v;
    } else {
        next = load_varint64(at, at + room, out);
    }
    if (!next) return ERR_CORRUPT;
    stream->at += (size_t)(next - at);
    *left -= (size_t)(next - at);
    return ERR_NONE;
}

static enum err stream_skip(struct stream *stream, size_t *left, size_t bytes) {
    if (bytes > *left) return ERR_CORRUPT;
    *left -= bytes;
    while (bytes > 0) {
        enum err err = stream_fill(stream, 1);
        if (err) return err;
        size_t part = stream->end - stream->at;
        if (part == 0) return ERR_CORRUPT;
        if (part > bytes) part = bytes;
        stream->at += part;
        bytes -= part;
    }
    return ERR_NONE;
}

static enum err stream_bytes(struct stream *stream, size_t *left, bool *is_null) {
    int64_t size;
    enum err err = stream_varint(stream, left, &size, true);
    if (err) return err;
    *is_null = size < 0;
    return size > 0 ? stream_skip(stream, left, (size_t)size) : ERR_NONE;
}

static enum err walk_large_record(struct walk *walk, struct stream *stream, uint32_t size) {
    size_t left = size;
    int64_t timestamp_delta, offset_delta, headers;
    bool no_key, no_value;
    enum err err;
    if ((err = stream_skip(stream, &left, 1))) return err;
    if ((err = stream_varint(stream, &left, &timestamp_delta, false))) return err;
    if ((err = stream_varint(stream, &left, &offset_delta, true))) return err;
    if ((err = stream_bytes(stream, &left, &no_key))) return err;
    if ((err = stream_bytes(stream, &left, &no_value))) return err;
    if ((err = stream_varint(stream, &left, &headers, true))) return err;
    if (headers < 0) return ERR_CORRUPT;
    for (int64_t i = 0; i < headers; i++) { /* each takes a byte of `left` at least */
        if ((err = stream_bytes(stream, &left, &no_value))) return err;
        if (no_value) return ERR_CORRUPT;
        if ((err = stream_bytes(stream, &left, &no_value))) return err;
    }
    if (left != 0) return ERR_CORRUPT;
    walk_record(walk, timestamp_delta, (int32_t)offset_delta, !no_key, size);
    return ERR_NONE;
}

static enum err walk_stream(struct walk *walk, struct stream *stream) {
    enum err err;
    while (walk->seen < walk->batch->count) {
        if ((err = stream_fill(stream, VARINT32_BYTES_MAX))) return err;
        const uint8_t *at = stream->window + stream->at, *body;
        int32_t size;
        if (!(body = load_varint32(at, stream->window + stream->end, &size)) || size <= 0) return ERR_CORRUPT;
        stream->at += (size_t)(body - at);
        if (size > WINDOW_BYTES) {
            if ((err = walk_large_record(walk, stream, (uint32_t)size))) return err;
            continue;
        }
        if ((err = stream_fill(stream, (size_t)size))) return err;
        if (stream->end - stream->at < (size_t)size) return ERR_CORRUPT;
        struct raw_record raw;
        body = stream->window + stream->at;
        if (!parse_body(body, body + size, &raw)) return ERR_CORRUPT;
        stream->at += (size_t)size;
        walk_record(walk, raw.timestamp_delta, raw.offset_delta, raw.key.data != NULL, (uint32_t)size);
    }
    if ((err = stream_fill(stream, 1))) return err;
    walk->facts.records_bytes = stream->unpacker.unpacked_bytes;
    return stream->at == stream->end ? ERR_NONE : ERR_CORRUPT;
}

enum err batch_walk(const struct batch *batch, struct codecs *codecs, const struct unpack_limits *limits, struct batch_facts *out) {
    struct walk walk = {
        .batch = batch,
        .facts = {.timestamp_max = -1, .timestamp_min = INT64_MAX, .every_has_key = true, .offsets_are_dense = true, .offsets_rise = true},
        .last_delta = -1,
        .log_append_time = batch_timestamp_type(batch) == TIMESTAMP_LOG_APPEND,
    };
    enum err err = ERR_CORRUPT;
    unsigned codec = batch_codec(batch);
    struct span records = payload(batch);
    if (batch->count < 0) return ERR_CORRUPT;
    if (codec >= COMPRESSION_COUNT) return ERR_UNSUPPORTED;
    if (codec == COMPRESSION_NONE || (batch->count == 0 && records.size == 0)) {
        err = walk_plain(&walk, records);
    } else {
        struct stream stream = {.window = codecs_window(codecs)};
        if (!stream.window) return ERR_NO_MEMORY;
        err = unpacker_open(&stream.unpacker, codecs, (enum compression)codec, records, 0, limits);
        if (!err) err = walk_stream(&walk, &stream);
        unpacker_close(&stream.unpacker);
    }
    *out = walk.facts;
    return err;
}

/* ---- Change in place */

void batch_stamp(uint8_t *bytes, log_offset base_offset, leader_epoch epoch) {
    store_be64(bytes + BATCH_AT_BASE_OFFSET, (uint64_t)base_offset);
    store_be32(bytes + BATCH_AT_LEADER_EPOCH, (uint32_t)epoch);
}

void batch_stamp_crc(uint8_t *bytes, uint32_t size) {
    assert(size >= BATCH_HEADER_BYTES);
    store_be32(bytes + BATCH_AT_CRC, crc32c(0, bytes + BATCH_AT_ATTRIBUTES, size - BATCH_AT_ATTRIBUTES));
}

bool batch_stamp_time(uint8_t *bytes, uint32_t size, enum timestamp_type type, time_ms max_timestamp) {
    uint16_t before = load_be16(bytes + BATCH_AT_ATTRIBUTES);
    uint16_t attributes = (uint16_t)(before & ~BATCH_LOG_APPEND_TIME);
    if (type == TIMESTAMP_LOG_APPEND) attributes |= BATCH_LOG_APPEND_TIME;
    if (attributes == before && (time_ms)load_be64(bytes + BATCH_AT_MAX_TIMESTAMP) == max_timestamp) return false;
    store_be16(bytes + BATCH_AT_ATTRIBUTES, attributes);
    store_be64(bytes + BATCH_AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    batch_stamp_crc(bytes, size);
    return true;
}
