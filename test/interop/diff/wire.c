/* wire.c - the wire tables as a shared library, for the differential tester's Python: what the messages are, JSON to bytes,
 * bytes to JSON, and the checksum of record batches.
 *
 * Each function writes into memory of the caller's and answers the bytes written, or less than 0 with a reason in `out`.
 */
#include "base/hash.h"
#include "base/pool.h"
#include "base/random.h"
#include "wire/header.h"
#include "wire/json.h"
#include <jansson.h>


#define EXPORT __attribute__((visibility("default")))
EXPORT int64_t diff_schema(char *out, size_t capacity);
EXPORT int64_t diff_encode(int key, int version, int is_response, const char *json, uint8_t *out, size_t capacity);
EXPORT int64_t diff_decode(int key, int version, int is_response, const uint8_t *in, size_t size, char *out, size_t capacity);
EXPORT uint32_t diff_crc32c(const uint8_t *in, size_t size);

static const char *const type_names[] = {"bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "double", "uuid",
    "string", "bytes", "records", "struct", "pointer", "array"};

static void schema_struct(struct text *out, const struct wire_struct *of);

static void schema_default(struct text *out, const struct wire_field *field, const uint8_t *value) {
    switch (field->type) {
    case WIRE_BOOL: text_add(out, *(const bool *)value ? "true" : "false"); break;
    case WIRE_INT8: text_add(out, "%d", *(const int8_t *)value); break;
    case WIRE_INT16: text_add(out, "%d", *(const int16_t *)value); break;
    case WIRE_UINT16: text_add(out, "%u", *(const uint16_t *)value); break;
    case WIRE_INT32: text_add(out, "%d", *(const int32_t *)value); break;
    case WIRE_UINT32: text_add(out, "%u", *(const uint32_t *)value); break;
    case WIRE_INT64: text_add(out, "%lld", (long long)*(const int64_t *)value); break;
    case WIRE_DOUBLE: text_add(out, "%.17g", *(const double *)value); break;
    case WIRE_UUID: {
        char text[UUID_TEXT_BYTES + 1];
        uuid_text(*(const struct uuid *)value, text);
        text_add(out, "\"%s\"", text);
        break;
    }
    case WIRE_STRING:
        if (((const struct span *)value)->data) {
            text_add(out, "\"");
            text_add_span(out, *(const struct span *)value); /* definitions' defaults are plain words */
            text_add(out, "\"");
            break;
        }
        text_add(out, field->nullable ? "null" : "\"\"");
        break;
    case WIRE_BYTES: case WIRE_RECORDS: text_add(out, field->nullable ? "null" : "\"\""); break;
    case WIRE_ARRAY: text_add(out, ((const struct wire_items *)value)->count < 0 ? "null" : "[]"); break;
    default: text_add(out, "null");
    }
}

static void schema_field(struct text *out, const struct wire_struct *of, const struct wire_field *field, bool tagged) {
    text_add(out, "{\"name\":\"%c%s\",\"type\":\"%s\",\"element\":\"%s\",\"versions\":%u,\"nullable\":%u,\"flags\":%u,\"tagged\":%s,\"default\":",
             field->name[0] | 32, field->name + 1, type_names[field->type],
             field->type == WIRE_ARRAY ? type_names[field->element] : "", field->versions, field->nullable, field->flags,
             tagged ? "true" : "false");
    schema_default(out, field, (const uint8_t *)of->defaults + field->offset);
    text_add(out, ",\"of\":");
    if (field->of) schema_struct(out, field->of);
    else text_add(out, "null");
    text_add(out, "}");
}

static void schema_struct(struct text *out, const struct wire_struct *of) {
    text_add(out, "{\"name\":\"%s\",\"fields\":[", of->name);
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count; i++) {
        if (i) text_add(out, ",");
        schema_field(out, of, &of->fields[i], i >= of->field_count);
    }
    text_add(out, "]}");
}

static const struct wire_api *find(int key) { return wire_api((int16_t)key); }

int64_t diff_schema(char *memory, size_t capacity) {
    struct text out;
    bool first = true;
    text_init(&out, memory, capacity);
    text_add(&out, "[");
    for (int key = 0; key < API_COUNT; key++) {
        const struct wire_api *api = find(key);
        if (!api || !api->request) continue;
        text_add(&out, "%s{\"key\":%d,\"name\":\"%s\",\"min\":%d,\"max\":%d,\"flexible\":[%d,%d],\"broker\":%s,\"request\":", first ? "" : ",", key,
                 api->name, api->version_min, api->version_max, api->request->flexible, api->response->flexible, api->on_broker ? "true" : "false");
        schema_struct(&out, api->request->body);
        text_add(&out, ",\"response\":");
        schema_struct(&out, api->response->body);
        text_add(&out, "}");
        first = false;
    }
    text_add(&out, "]");
    return out.cut ? -1 : (int64_t)out.size;
}

int64_t diff_encode(int key, int version, int is_response, const char *json, uint8_t *out, size_t capacity) {
    const struct wire_api *api = find(key);
    const struct wire_message *message = api ? is_response ? api->response : api->request : NULL;
    struct pool pool;
    struct arena arena;
    struct text why;
    int64_t written = -1;
    json_error_t wrong;
    json_t *value = json_loads(json, JSON_ALLOW_NUL, &wrong);
    text_init(&why, (char *)out, capacity);
    pool_init(&pool, 0, 16);
    arena_init(&arena, &pool, 0);
    if (!value) text_add(&why, "not JSON: %s", wrong.text);
    else if (!message || !wire_has_version(message, (int16_t)version)) text_add(&why, "no such message");
    else {
        void *body = arena_alloc(&arena, message->body->size);
        if (body && !wire_json_read(message, (int16_t)version, value, body, &arena, &why)) {
            size_t size = wire_size(message, (int16_t)version, body);
            if (size == WIRE_NOT_ENCODABLE || size > capacity) text_add(&why, "this version cannot say it");
            else written = (int64_t)wire_write(message, (int16_t)version, body, out);
        }
    }
    arena_destroy(&arena);
    pool_destroy(&pool);
    json_decref(value);
    return written;
}

int64_t diff_decode(int key, int version, int is_response, const uint8_t *in, size_t size, char *memory, size_t capacity) {
    const struct wire_api *api = find(key);
    const struct wire_message *message = api ? is_response ? api->response : api->request : NULL;
    struct pool pool;
    struct arena arena;
    struct text out;
    bool is_good = false;
    text_init(&out, memory, capacity);
    if (!message || !wire_has_version(message, (int16_t)version)) return -1;
    pool_init(&pool, 0, 16);
    arena_init(&arena, &pool, 0);
    void *body = arena_alloc(&arena, message->body->size);
    enum err err = body ? wire_decode(message, (int16_t)version, body, span_of(in, size), &arena, NULL) : ERR_NO_MEMORY;
    if (!err) {
        wire_json_write(message, (int16_t)version, body, 0, &out);
        is_good = !out.cut;
    } else text_add(&out, "%s", err_text(err));
    arena_destroy(&arena);
    pool_destroy(&pool);
    return is_good ? (int64_t)out.size : -1;
}

uint32_t diff_crc32c(const uint8_t *in, size_t size) { return crc32c(0, in, size); }
