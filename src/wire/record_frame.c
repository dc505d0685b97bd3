#include "wire/record_frame.h"
#include "base/bytes.h"

static const struct wire_message *by_type(const struct wire_message *const *messages, size_t count, uint32_t type) {
    return type < count ? messages[type] : NULL;
}
#define BY_TYPE(list, type) by_type(list, countof(list), type)

const struct wire_message *wire_record_value(enum wire_log log, uint32_t type) {
    switch (log) {
    case WIRE_LOG_METADATA: return BY_TYPE(wire_metadata_messages, type);
    case WIRE_LOG_REMOTE: return BY_TYPE(wire_remote_messages, type);
    case WIRE_LOG_GROUP: return BY_TYPE(wire_group_value_messages, type);
    case WIRE_LOG_TRANSACTION: return BY_TYPE(wire_transaction_value_messages, type);
    case WIRE_LOG_SHARE: return BY_TYPE(wire_share_value_messages, type);
    }
    return NULL;
}

const struct wire_message *wire_record_key(enum wire_log log, uint32_t type) {
    switch (log) {
    case WIRE_LOG_METADATA: case WIRE_LOG_REMOTE: return NULL;
    case WIRE_LOG_GROUP: return BY_TYPE(wire_group_key_messages, type);
    case WIRE_LOG_TRANSACTION: return BY_TYPE(wire_transaction_key_messages, type);
    case WIRE_LOG_SHARE: return BY_TYPE(wire_share_key_messages, type);
    }
    return NULL;
}

static enum err opened(struct wire_framed *out, const struct wire_message *message, uint32_t version, struct span body) {
    if (!message || version > INT16_MAX || !wire_has_version(message, (int16_t)version)) return ERR_UNSUPPORTED;
    *out = (struct wire_framed){.message = message, .version = (int16_t)version, .body = body};
    return ERR_NONE;
}

enum err wire_metadata_open(enum wire_log log, struct span value, struct wire_framed *out) {
    uint32_t numbers[3]; /* frame version, type, version */
    const uint8_t *at = value.data, *end = at + value.size;
    assert(log == WIRE_LOG_METADATA || log == WIRE_LOG_REMOTE);
    for (size_t i = 0; i < countof(numbers); i++) {
        size_t bytes = uvarint32_load(at, end, &numbers[i]);
        if (!bytes) return ERR_CORRUPT;
        at += bytes;
        if (numbers[0] != WIRE_FRAME_VERSION) return ERR_UNSUPPORTED;
    }
    return opened(out, wire_record_value(log, numbers[1]), numbers[2], span_of(at, (size_t)(end - at)));
}

enum err wire_coordinator_key_open(enum wire_log log, struct span key, struct wire_framed *out) {
    if (key.size < 2) return ERR_CORRUPT;
    return opened(out, wire_record_key(log, load_be16(key.data)), 0, span_of(key.data + 2, key.size - 2));
}

enum err wire_coordinator_value_open(enum wire_log log, uint32_t type, struct span value, struct wire_framed *out) {
    if (value.size < 2) return ERR_CORRUPT;
    return opened(out, wire_record_value(log, type), load_be16(value.data), span_of(value.data + 2, value.size - 2));
}

enum err wire_versioned_open(const struct wire_message *message, struct span bytes, struct wire_framed *out) {
    if (bytes.size < 2) return ERR_CORRUPT;
    int16_t version = (int16_t)load_be16(bytes.data);
    if (version < message->version_min) return ERR_UNSUPPORTED;
    *out = (struct wire_framed){.message = message, .version = version, .body = span_of(bytes.data + 2, bytes.size - 2)};
    if (version > message->version_max) {
        out->version = message->version_max;
        out->is_newer = true;
    }
    return ERR_NONE;
}

enum err wire_framed_decode(const struct wire_framed *framed, void *out, struct arena *arena) {
    size_t used;
    return wire_decode(framed->message, framed->version, out, framed->body, arena, framed->is_newer ? &used : NULL);
}

/* The prefix and the message behind it, in one piece. */
static struct span frame(const uint8_t *prefix, size_t prefix_bytes, const struct wire_message *message, int16_t version,
                         const void *value, struct arena *arena) {
    size_t size = wire_size(message, version, value);
    if (size == WIRE_NOT_ENCODABLE) return span_of(NULL, 0);
    uint8_t *bytes = arena_alloc(arena, prefix_bytes + size + 1); /* never nothing, so that NULL always says what it says */
    if (!bytes) return span_of(NULL, 0);
    if (prefix_bytes) memcpy(bytes, prefix, prefix_bytes);
    size_t written = wire_write(message, version, value, bytes + prefix_bytes);
    assert(written == size);
    return span_of(bytes, prefix_bytes + size);
}

struct span wire_metadata_frame(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    uint8_t prefix[3 * VARINT32_BYTES_MAX], *at = prefix;
    assert(message->kind == WIRE_METADATA || message->kind == WIRE_REMOTE);
    at += uvarint32_store(at, WIRE_FRAME_VERSION);
    at += uvarint32_store(at, (uint32_t)message->key);
    at += uvarint32_store(at, (uint32_t)version);
    return frame(prefix, (size_t)(at - prefix), message, version, value, arena);
}

static struct span frame_with_int16(int16_t number, const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    uint8_t prefix[2];
    store_be16(prefix, (uint16_t)number);
    return frame(prefix, sizeof prefix, message, version, value, arena);
}

struct span wire_coordinator_key_frame(const struct wire_message *message, const void *key, struct arena *arena) {
    assert(message->kind == WIRE_GROUP_KEY || message->kind == WIRE_TRANSACTION_KEY || message->kind == WIRE_SHARE_KEY);
    return frame_with_int16(message->key, message, 0, key, arena);
}

struct span wire_coordinator_value_frame(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    assert(message->kind == WIRE_GROUP_VALUE || message->kind == WIRE_TRANSACTION_VALUE || message->kind == WIRE_SHARE_VALUE);
    return frame_with_int16(version, message, version, value, arena);
}

struct span wire_versioned_frame(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    return frame_with_int16(version, message, version, value, arena);
}

struct span wire_bytes(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    return frame(NULL, 0, message, version, value, arena);
}
