/* wire/family_fuzz.c - any bytes as any message of one family (a file of definitions): two bytes choose the message, one
 * the version and whether JSON is made of it too, the rest is decoded. What decodes must encode, decode to an equal value,
 * and survive the way through JSON; what does not must be refused for a reason; and memory stays within a constant times
 * the bytes.
 */
#include "fuzz.h"
#include "vectors.h"
#include "base/random.h"
#include "wire/fill.h"
#include "wire/header.h"
#include "wire/json.h"
#include "wire/record_frame.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const char fuzz_family[]; /* which: the build makes a file that says so */

enum { CHOICE_BYTES = 3, MEMORY_PER_BYTE = 160, MEMORY_BESIDES = 3 * POOL_CHUNK_BYTES, JSON_BYTES_MAX = 1 << 20, JSON_INPUT_BYTES_MAX = 4096,
    VERSION_BITS = 0x1f, JSON_BITS = 0xe0 /* all of them: JSON, which is slow */ };

static const struct wire_message *messages[512];
static uint32_t messages_count;
static struct pool pool;

static void add_messages(const struct wire_message *const *all, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(all[i]->family, fuzz_family)) messages[messages_count++] = all[i];
}
static void prepare(void) {
    if (messages_count) return;
    pool_init(&pool, 0, 64);
    add_messages(wire_api_messages, wire_api_messages_count);
    add_messages(wire_record_messages, wire_record_messages_count);
    assert(messages_count);
}

static struct span encoded(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    struct chain chain;
    chain_init(&chain, arena);
    bool done = wire_encode(message, version, value, &chain);
    assert(done);
    assert(chain.bytes == wire_size(message, version, value));
    uint8_t *bytes = arena_alloc(arena, chain.bytes + 1);
    chain_copy_out(&chain, bytes, chain.bytes);
    return span_of(bytes, chain.bytes);
}

static void through_json(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    static char memory[JSON_BYTES_MAX];
    struct text text;
    text_init(&text, memory, sizeof memory);
    wire_json_write(message, version, value, WIRE_JSON_HIDE_SECRETS, &text);
    text_reset(&text);
    wire_json_write(message, version, value, 0, &text);
    if (text.cut) return;
    json_t *json = json_loads(memory, JSON_ALLOW_NUL, NULL);
    assert(json);
    void *again = arena_alloc(arena, message->body->size);
    enum err err = wire_json_read(message, version, json, again, arena, NULL);
    assert(err == ERR_NONE);
    /* Bytes that are no text, and the many forms of "not a number", do not come back. */
    if (!strstr(memory, "\\ufffd") && !strstr(memory, "NaN")) assert(wire_equal(message->body, value, again));
    json_decref(json);
}

static void decode_message(const struct wire_message *message, int16_t version, struct span bytes, bool with_json) {
    struct arena arena, scratch;
    size_t used = 0;
    arena_init(&arena, &pool, 0);
    arena_init(&scratch, &pool, 0);
    void *value = arena_alloc(&scratch, message->body->size), *again = arena_alloc(&scratch, message->body->size);
    enum err err = wire_decode(message, version, value, bytes, &arena, &used);
    assert(err == ERR_NONE || err == ERR_CORRUPT || err == ERR_LIMIT);
    assert(arena.bytes <= MEMORY_BESIDES + bytes.size * MEMORY_PER_BYTE);
    if (!err) {
        assert(used <= bytes.size);
        struct span first = encoded(message, version, value, &scratch);
        err = wire_decode(message, version, again, first, &scratch, NULL);
        assert(err == ERR_NONE);
        assert(wire_equal(message->body, value, again));
        struct span second = encoded(message, version, again, &scratch);
        assert(span_equal(first, second));
        if (with_json && bytes.size <= JSON_INPUT_BYTES_MAX) through_json(message, version, value, &scratch);
    }
    arena_destroy(&scratch);
    arena_destroy(&arena);
}

/* What stands around messages: headers of requests, keys and values of records. */
static void decode_frames(struct span bytes) {
    static const enum wire_log logs[] = {WIRE_LOG_GROUP, WIRE_LOG_TRANSACTION, WIRE_LOG_SHARE};
    struct request_header header;
    struct wire_framed opened;
    struct span rest;
    struct arena arena;
    arena_init(&arena, &pool, 0);
    if (!strcmp(fuzz_family, "header") && !wire_request_header_decode(&header, bytes, &arena, &rest))
        decode_message(wire_api(header.request_api_key)->request, header.request_api_version, rest, false);
    if (!strcmp(fuzz_family, "records_meta") && !wire_metadata_open(WIRE_LOG_METADATA, bytes, &opened))
        decode_message(opened.message, opened.version, opened.body, false);
    if (!strcmp(fuzz_family, "records_data") && !wire_versioned_open(&consumer_protocol_subscription_message, bytes, &opened))
        decode_message(opened.message, opened.version, opened.body, false);
    for (size_t i = 0; i < countof(logs) && !strcmp(fuzz_family, "records_coord"); i++)
        if (!wire_coordinator_key_open(logs[i], bytes, &opened)) decode_message(opened.message, opened.version, opened.body, false);
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    prepare();
    decode_frames(span_of(data, size));
    if (size < CHOICE_BYTES) return 0;
    const struct wire_message *message = messages[((uint32_t)data[0] << 8 | data[1]) % messages_count];
    int16_t version = (int16_t)(message->version_min + (data[2] & VERSION_BITS) % (message->version_max - message->version_min + 1));
    decode_message(message, version, span_of(data + CHOICE_BYTES, size - CHOICE_BYTES), (data[2] & JSON_BITS) == JSON_BITS);
    return 0;
}

static void add_input(fuzz_add *add, uint32_t index, int16_t version, struct span bytes) {
    uint8_t *input = malloc(CHOICE_BYTES + bytes.size);
    assert(input);
    input[0] = (uint8_t)(index >> 8);
    input[1] = (uint8_t)index;
    input[2] = (uint8_t)(version - messages[index]->version_min) | (bytes.size % 8 ? 0 : JSON_BITS);
    if (bytes.size) memcpy(input + CHOICE_BYTES, bytes.data, bytes.size);
    add(input, CHOICE_BYTES + bytes.size);
    free(input);
}

static void add_vector(void *context, const char *folder, const char *path, uint32_t line, const json_t *json) {
    fuzz_add *const *add = context;
    char name[256];
    struct arena arena;
    if (!json || !json_object_get(json, "hex")) return;
    const char *type = vector_text(json, "type"), *framed = json_string_value(json_object_get(json, "framed"));
    snprintf(name, sizeof name, "%s%s", vector_text(json, "api"), !strcmp(type, "request") ? "Request" : !strcmp(type, "response") ? "Response" : "");
    arena_init(&arena, &pool, 0);
    for (uint32_t i = 0; i < messages_count; i++) {
        if (strcmp(messages[i]->name, name)) continue;
        add_input(*add, i, (int16_t)vector_number(json, "version"), vector_hex(&arena, json_object_get(json, "hex")));
        if (!framed) continue;
        struct span bytes = vector_hex(&arena, json_object_get(json, "framed"));
        (*add)(bytes.data, bytes.size);
    }
    arena_destroy(&arena);
}

/* The golden vectors, and random values of every message in every version. */
void fuzz_seeds(fuzz_add *add) {
    static const char *const folders[] = {"rpc", "header", "data", "metadata", "group", "transaction", "share", "storage", "raft", "streams"};
    static const struct wire_fill limits = {.items_max = 3, .bytes_max = 12};
    const char *top = getenv("MOLDAU_VECTORS");
    char folder[4096];
    struct random random;
    prepare();
    for (size_t i = 0; i < countof(folders); i++) {
        snprintf(folder, sizeof folder, "%s/%s", top ? top : TEST_SOURCE_ROOT "/test/vectors", folders[i]);
        vectors_each(folder, NULL, add_vector, &add);
    }
    random_seed(&random, 1);
    for (int16_t key = 0; !strcmp(fuzz_family, "header") && key < 128; key++) { /* whole requests: what comes behind a header */
        const struct wire_api *api = wire_api(key);
        struct arena arena;
        struct chain chain;
        arena_init(&arena, &pool, 0);
        chain_init(&chain, &arena);
        void *request = api && api->request ? arena_alloc(&arena, api->request->body->size) : NULL;
        if (request && wire_fill(api->request, api->version_max, &limits, &random, &arena, request) &&
            wire_request_frame(api, api->version_max, 1, SPAN_LITERAL("f"), request, &chain)) {
            uint8_t *bytes = arena_alloc(&arena, chain.bytes);
            size_t size = chain_copy_out(&chain, bytes, chain.bytes);
            add(bytes + 4, size - 4);
        }
        chain_clear(&chain);
        arena_destroy(&arena);
    }
    for (uint32_t i = 0; i < messages_count; i++) {
        for (int16_t version = messages[i]->version_min; version <= messages[i]->version_max; version++) {
            struct arena arena;
            arena_init(&arena, &pool, 0);
            void *value = arena_alloc(&arena, messages[i]->body->size);
            if (wire_fill(messages[i], version, &limits, &random, &arena, value)) add_input(add, i, version, encoded(messages[i], version, value, &arena));
            arena_destroy(&arena);
        }
    }
}
