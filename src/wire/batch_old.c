#include "wire/batch_old.h"
#include "base/hash.h"

enum { AT_CRC = 12, AT_ATTRIBUTES = 17, AT_TIMESTAMP = 18 };

static const uint8_t *load_field(const uint8_t *at, const uint8_t *end, struct span *out) {
    if (end - at < 4) return NULL;
    int32_t size = (int32_t)load_be32(at);
    at += 4;
    *out = (struct span){NULL, 0};
    if (size < 0) return at;
    if (size > end - at) return NULL;
    *out = (struct span){at, (size_t)size};
    return at + size;
}

enum err old_next(struct span *rest, struct old_message *out) {
    if (rest->size == 0) return ERR_NOT_FOUND;
    struct batch_frame frame;
    enum err err = batch_frame_parse(*rest, &frame);
    if (err) return err;
    if (frame.magic == BATCH_MAGIC_2) return ERR_UNSUPPORTED;
    if (frame.magic == 1 && frame.size < OLD_HEADER_BYTES_1) return ERR_CORRUPT;
    if (frame.size > rest->size) return ERR_AGAIN;
    const uint8_t *bytes = rest->data, *end = bytes + frame.size;
    *out = (struct old_message){
        .bytes = bytes,
        .size = frame.size,
        .crc = load_be32(bytes + AT_CRC),
        .offset = frame.base_offset,
        .magic = frame.magic,
        .attributes = bytes[AT_ATTRIBUTES],
        .timestamp = frame.magic == 1 ? (time_ms)load_be64(bytes + AT_TIMESTAMP) : -1,
    };
    const uint8_t *at = load_field(bytes + AT_TIMESTAMP + (frame.magic == 1 ? 8 : 0), end, &out->key);
    if (at) at = load_field(at, end, &out->value);
    if (at != end) return ERR_CORRUPT;
    rest->data = end;
    rest->size -= frame.size;
    return ERR_NONE;
}

bool old_crc_is_good(const struct old_message *message) {
    return crc32_zip(0, message->bytes + BATCH_AT_MAGIC, message->size - BATCH_AT_MAGIC) == message->crc;
}

static bool inner_is_good(const struct old_message *inner, const struct old_message *outer) {
    return inner->magic == outer->magic && old_codec(inner) == COMPRESSION_NONE && old_crc_is_good(inner);
}

static time_ms timestamp_of(const struct old_message *inner, const struct old_message *outer) {
    return outer->magic == 1 && (outer->attributes & BATCH_LOG_APPEND_TIME) ? outer->timestamp : inner->timestamp;
}

/* One pass over what is inside: all of it is looked at before any of it is given out. */
static enum err open_inner(struct old_cursor *cursor, struct codecs *codecs, const struct unpack_limits *limits, struct old_range *range) {
    const struct old_message *outer = &cursor->outer;
    if (!outer->value.data) return ERR_CORRUPT;
    enum err err = unpack(codecs, (enum compression)old_codec(outer), outer->value, COMPRESS_OLD_LZ4, limits, &cursor->slab);
    if (err) return err;
    cursor->rest = span_of(cursor->slab->bytes, cursor->slab->used);
    struct span rest = cursor->rest;
    struct old_message inner;
    log_offset first = 0, last = -1;
    *range = (struct old_range){.max_timestamp = -1};
    while ((err = old_next(&rest, &inner)) == ERR_NONE) {
        if (!inner_is_good(&inner, outer)) return ERR_CORRUPT;
        if (range->count == 0) first = inner.offset;
        else if (inner.offset <= last) return ERR_CORRUPT;
        last = inner.offset;
        if (inner.timestamp > range->max_timestamp) range->max_timestamp = inner.timestamp;
        range->count++;
    }
    if (err != ERR_NOT_FOUND || range->count == 0) return ERR_CORRUPT;
    if (outer->magic == 1) {
        /* The outer offset is the last one's; the inner ones count from some start, mostly 0. */
        if (first < 0 || outer->offset < last) return ERR_CORRUPT;
        cursor->base = outer->offset - last;
        range->max_timestamp = outer->timestamp;
    }
    range->base_offset = cursor->base + first;
    range->last_offset = cursor->base + last;
    return ERR_NONE;
}

enum err old_cursor_open(struct old_cursor *cursor, const struct old_message *message, struct codecs *codecs,
                         const struct unpack_limits *limits, struct old_range *range) {
    struct old_range ignored;
    if (!range) range = &ignored;
    *cursor = (struct old_cursor){.outer = *message};
    if (!old_crc_is_good(message)) return ERR_CORRUPT;
    unsigned codec = old_codec(message);
    if (codec > COMPRESSION_LZ4) return ERR_UNSUPPORTED;
    *range = (struct old_range){message->offset, message->offset, message->timestamp, 1};
    return codec == COMPRESSION_NONE ? ERR_NONE : open_inner(cursor, codecs, limits, range);
}

enum err old_cursor_next(struct old_cursor *cursor, struct record *out) {
    const struct old_message *outer = &cursor->outer;
    struct old_message inner;
    if (!cursor->slab) {
        if (cursor->done) return ERR_NOT_FOUND;
        cursor->done = true;
        inner = *outer;
    } else {
        enum err err = old_next(&cursor->rest, &inner);
        if (err) return err;
    }
    *out = (struct record){
        .offset = cursor->base + inner.offset,
        .timestamp = timestamp_of(&inner, outer),
        .key = inner.key,
        .value = inner.value,
        .size = inner.size,
    };
    return ERR_NONE;
}

void old_cursor_close(struct old_cursor *cursor) {
    slab_drop(cursor->slab);
    cursor->slab = NULL;
    cursor->done = true;
}
