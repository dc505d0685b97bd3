/* test/vectors_message.c - messages, and frames around them, in both directions. */
#include "vectors.h"
#include "wire/header.h"
#include "wire/json.h"
#include "wire/record_frame.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CUT_BYTES_MAX = 2048 }; /* messages up to this are also cut at every byte */

static const struct wire_message *find(const struct wire_message *const *messages, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(messages[i]->name, name)) return messages[i];
    return NULL;
}

const struct wire_message *vector_message(const char *name, const char *type) {
    char whole[256];
    const char *ending = !strcmp(type, "request") ? "Request" : !strcmp(type, "response") ? "Response" : "";
    snprintf(whole, sizeof whole, "%s%s", name, ending);
    const struct wire_message *found = find(wire_api_messages, wire_api_messages_count, whole);
    return found ? found : find(wire_record_messages, wire_record_messages_count, whole);
}

/* The JSON form of a value is `expected`. */
static bool json_matches(const struct wire_message *message, int16_t version, const void *value, const json_t *expected, char why[1024]) {
    size_t capacity = 1 << 16;
    struct text text;
    char *memory = NULL;
    do { /* until it fits */
        capacity *= 4;
        free(memory);
        memory = malloc(capacity);
        assert(memory);
        text_init(&text, memory, capacity);
        wire_json_write(message, version, value, 0, &text);
    } while (text.cut);
    json_t *json = json_loads(memory, JSON_ALLOW_NUL, NULL);
    bool same = json && json_equal(json, expected);
    if (!same) snprintf(why, 1024, "as JSON: %.900s", memory);
    json_decref(json);
    free(memory);
    return same;
}

/* No beginning of a message is a message, and nothing may follow one. */
static bool cuts_are_refused(struct arena *arena, const struct wire_message *message, int16_t version, struct span bytes, void *room, char why[1024]) {
    uint8_t *copy = arena_alloc(arena, bytes.size + 1);
    memcpy(copy, bytes.data, bytes.size);
    if (wire_decode(message, version, room, span_of(copy, bytes.size + 1), arena, NULL) != ERR_CORRUPT) {
        snprintf(why, 1024, "a byte behind it is not refused");
        return false;
    }
    for (size_t size = 0; size < bytes.size && bytes.size <= CUT_BYTES_MAX; size++) {
        struct arena cut_arena;
        arena_init(&cut_arena, arena->pool, 0);
        uint8_t *cut = malloc(size ? size : 1); /* of exactly that size, so that reading past it is seen */
        memcpy(cut, bytes.data, size);
        enum err err = wire_decode(message, version, room, span_of(cut, size), &cut_arena, NULL);
        free(cut);
        arena_destroy(&cut_arena);
        if (err == ERR_CORRUPT) continue;
        snprintf(why, 1024, "cut to %zu bytes: %s", size, err_name(err));
        return false;
    }
    return true;
}

bool vector_both_ways(struct arena *arena, const struct wire_message *message, int16_t version, struct span bytes,
                      const json_t *json, bool not_kept, char why[1024]) {
    size_t struct_bytes = message->body->size, used = 0;
    void *decoded = arena_alloc(arena, struct_bytes), *said = arena_alloc(arena, struct_bytes), *again = arena_alloc(arena, struct_bytes);
    struct text reason;
    enum err err;
    if ((err = wire_decode(message, version, decoded, bytes, arena, NULL))) {
        snprintf(why, 1024, "decode: %s", err_name(err));
        return false;
    }
    text_init(&reason, why, 1024);
    if (wire_json_read(message, version, json, said, arena, &reason)) return false;
    if (!wire_equal(message->body, decoded, said)) {
        snprintf(why, 1024, "what was decoded is not what the JSON says");
        return false;
    }
    if (!json_matches(message, version, decoded, json, why)) return false;

    struct chain chain;
    chain_init(&chain, arena);
    if (!wire_encode(message, version, said, &chain)) {
        snprintf(why, 1024, "encode: refused");
        return false;
    }
    uint8_t *encoded = arena_alloc(arena, chain.bytes + 1), *written = arena_alloc(arena, chain.bytes + 1);
    chain_copy_out(&chain, encoded, chain.bytes);
    if (wire_size(message, version, said) != chain.bytes || wire_write(message, version, said, written) != chain.bytes || memcmp(encoded, written, chain.bytes)) {
        snprintf(why, 1024, "size, write and encode differ");
        return false;
    }
    if (!not_kept && !span_equal(span_of(encoded, chain.bytes), bytes)) {
        snprintf(why, 1024, "encode: %.900s", vector_hex_text(arena, span_of(encoded, chain.bytes)));
        return false;
    }
    if ((err = wire_decode(message, version, again, span_of(encoded, chain.bytes), arena, &used)) || used != chain.bytes ||
        !wire_equal(message->body, again, decoded)) {
        snprintf(why, 1024, "encoded and decoded again, it is another");
        return false;
    }
    return cuts_are_refused(arena, message, version, bytes, again, why);
}

static enum wire_log log_of(const struct wire_message *message) {
    switch (message->kind) {
    case WIRE_REMOTE: return WIRE_LOG_REMOTE;
    case WIRE_GROUP_KEY: case WIRE_GROUP_VALUE: return WIRE_LOG_GROUP;
    case WIRE_TRANSACTION_KEY: case WIRE_TRANSACTION_VALUE: return WIRE_LOG_TRANSACTION;
    case WIRE_SHARE_KEY: case WIRE_SHARE_VALUE: return WIRE_LOG_SHARE;
    default: return WIRE_LOG_METADATA;
    }
}

/* The whole key or value of a record: opened it is the message, and made of the message it is the same bytes. */
static bool frame_matches(struct arena *arena, const struct wire_message *message, int16_t version, struct span framed, struct span bytes, bool not_kept, char why[1024]) {
    struct wire_framed opened;
    enum err err;
    struct span made;
    enum wire_log log = log_of(message);
    void *value = arena_alloc(arena, message->body->size);
    switch (message->kind) {
    case WIRE_METADATA: case WIRE_REMOTE: err = wire_metadata_open(log, framed, &opened); break;
    case WIRE_GROUP_KEY: case WIRE_TRANSACTION_KEY: case WIRE_SHARE_KEY: err = wire_coordinator_key_open(log, framed, &opened); break;
    case WIRE_GROUP_VALUE: case WIRE_TRANSACTION_VALUE: case WIRE_SHARE_VALUE:
        err = wire_coordinator_value_open(log, (uint32_t)message->key, framed, &opened);
        break;
    default: err = wire_versioned_open(message, framed, &opened);
    }
    snprintf(why, 1024, "framed: not opened");
    if (err || opened.message != message || opened.version != version || !span_equal(opened.body, bytes)) return false;
    if (wire_framed_decode(&opened, value, arena)) return false;
    switch (message->kind) {
    case WIRE_METADATA: case WIRE_REMOTE: made = wire_metadata_frame(message, version, value, arena); break;
    case WIRE_GROUP_KEY: case WIRE_TRANSACTION_KEY: case WIRE_SHARE_KEY: made = wire_coordinator_key_frame(message, value, arena); break;
    case WIRE_GROUP_VALUE: case WIRE_TRANSACTION_VALUE: case WIRE_SHARE_VALUE: made = wire_coordinator_value_frame(message, version, value, arena); break;
    default: made = wire_versioned_frame(message, version, value, arena);
    }
    snprintf(why, 1024, "framed: made %.900s", vector_hex_text(arena, made));
    return not_kept || span_equal(made, framed);
}

/* The case `default` is what a fresh object of Apache's classes holds; so must ours. */
static bool defaults_match(struct arena *arena, const struct wire_message *message, int16_t version, struct span bytes) {
    void *fresh = arena_alloc(arena, message->body->size), *decoded = arena_alloc(arena, message->body->size);
    wire_init(message->body, fresh);
    return !wire_decode(message, version, decoded, bytes, arena, NULL) && wire_equal(message->body, fresh, decoded);
}

enum verdict vectors_message(const struct vector *vector) {
    char why[1024] = "";
    const char *name = vector_text(vector->json, "api"), *type = vector_text(vector->json, "type");
    int16_t version = (int16_t)vector_number(vector->json, "version");
    bool not_kept = json_object_get(vector->json, "unknown") != NULL;
    const struct wire_message *message = vector_message(name, type);
    if (!message) return vector_wrong(vector, "no message %s %s", name, type);
    if (message->key != vector_number(vector->json, "key")) return vector_wrong(vector, "%s has key %d", name, message->key);
    struct span bytes = vector_hex(vector->arena, json_object_get(vector->json, "hex"));
    struct span framed = vector_hex(vector->arena, json_object_get(vector->json, "framed"));
    if (!vector_both_ways(vector->arena, message, version, bytes, json_object_get(vector->json, "json"), not_kept, why) ||
        (framed.data && !frame_matches(vector->arena, message, version, framed, bytes, not_kept, why)))
        return vector_wrong(vector, "%s version %d, case %s: %s", message->name, version, vector_text(vector->json, "case"), why);
    if (!strcmp(vector_text(vector->json, "case"), "default") && !defaults_match(vector->arena, message, version, bytes))
        return vector_wrong(vector, "%s version %d: its defaults are others", message->name, version);
    return VECTOR_PASSED;
}

static bool header_matches(const struct vector *vector, const struct wire_message *message, int16_t version, const void *header) {
    char why[1024];
    return vector_number(vector->json, "headerVersion") == version && json_matches(message, version, header, json_object_get(vector->json, "header"), why);
}

enum verdict vectors_frame(const struct vector *vector) {
    const json_t *json = vector->json, *header_json = json_object_get(json, "header");
    const struct wire_api *api = wire_api((int16_t)vector_number(json, "key"));
    int16_t version = (int16_t)vector_number(json, "version");
    bool is_request = !strcmp(vector_text(json, "type"), "request"), made;
    struct span frame = vector_hex(vector->arena, json_object_get(json, "frame")), rest;
    struct request_header request_header;
    struct response_header response_header;
    enum err err;
    char why[1024] = "";
    if (!api || !api->request || strcmp(api->name, vector_text(json, "api")) || frame.size < 4) return vector_wrong(vector, "no such api");
    const struct wire_message *message = is_request ? api->request : api->response;
    struct span inside = span_of(frame.data + 4, frame.size - 4);
    if (is_request) err = wire_request_header_decode(&request_header, inside, vector->arena, &rest);
    else err = wire_response_header_decode(api, version, &response_header, inside, vector->arena, &rest);
    if (err) return vector_wrong(vector, "%s: header: %s", message->name, err_name(err));
    if (is_request ? !header_matches(vector, &request_header_message, wire_request_header_version(api, version), &request_header)
                   : !header_matches(vector, &response_header_message, wire_response_header_version(api, version), &response_header))
        return vector_wrong(vector, "%s version %d: another header", message->name, version);
    if ((int64_t)(inside.size - rest.size) != vector_number(json, "headerLength")) return vector_wrong(vector, "%s: the header's length", message->name);
    if (!vector_both_ways(vector->arena, message, version, rest, json_object_get(json, "json"), false, why))
        return vector_wrong(vector, "%s version %d: %s", message->name, version, why);

    void *value = arena_alloc(vector->arena, message->body->size);
    struct chain chain;
    chain_init(&chain, vector->arena);
    if (wire_decode(message, version, value, rest, vector->arena, NULL)) return vector_wrong(vector, "%s: body", message->name);
    int32_t correlation = (int32_t)vector_number(header_json, "correlationId");
    if (is_request) made = wire_request_frame(api, version, correlation, request_header.client_id, value, &chain);
    else made = wire_response_frame(api, version, correlation, value, &chain);
    uint8_t *bytes = arena_alloc(vector->arena, chain.bytes + 1);
    chain_copy_out(&chain, bytes, chain.bytes);
    if (!made || !span_equal(span_of(bytes, chain.bytes), frame))
        return vector_wrong(vector, "%s version %d: the frame is %.900s", message->name, version, vector_hex_text(vector->arena, span_of(bytes, chain.bytes)));
    return VECTOR_PASSED;
}
