#include "wire/json.h"
#include "base/bytes.h"
#include "base/random.h"
#include "wire/trace.h"
#include <jansson.h>
#include <math.h>

enum { NAME_BYTES_MAX = 128 };
static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Kafka's name in JSON: topicId. */
static const char *json_name(const struct wire_field *field, char name[NAME_BYTES_MAX]) {
    size_t size = strlen(field->name);
    assert(size < NAME_BYTES_MAX);
    memcpy(name, field->name, size + 1);
    if (name[0] >= 'A' && name[0] <= 'Z') name[0] = (char)(name[0] + 32);
    return name;
}

/* ---- writing */
struct json_writer {
    struct text *out;
    uint32_t bit;
    bool hides;                          /* secrets */
    bool is_metadata;                    /* what is walked through belongs to the metadata log */
    const struct wire_json_rules *rules; /* NULL: everything is written so that it can be read again */
};

/* The bytes of the UTF-8 character that begins at `at`; 0: it is none. */
static size_t utf8_bytes(const uint8_t *at, const uint8_t *end) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = *at < 0x80 ? 1 : *at >> 5 == 6 ? 2 : *at >> 4 == 14 ? 3 : *at >> 3 == 30 ? 4 : 0;
    if (bytes < 2) return bytes;
    if ((size_t)(end - at) < bytes) return 0;
    uint32_t character = *at & (0x7f >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        character = character << 6 | (at[i] & 0x3f);
    }
    if (character < least[bytes] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff)) return 0;
    return bytes;
}

static void write_string(struct text *out, struct span string) {
    const uint8_t *at = string.data, *end = at + string.size;
    text_add(out, "\"");
    while (at < end && !out->cut) {
        size_t bytes = utf8_bytes(at, end);
        if (!bytes) {
            text_add(out, "\\ufffd");
            bytes = 1;
        } else if (*at == '"' || *at == '\\') text_add(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f) text_add(out, "\\u%04x", *at);
        else text_add_bytes(out, at, bytes);
        at += bytes;
    }
    text_add(out, "\"");
}

void wire_json_string(struct span string, struct text *out) {
    if (string.data) write_string(out, string);
    else text_add(out, "null");
}

/* Base64 of bytes that come in pieces: what does not fill three waits in `held`. */
struct base64 { struct text *out; uint8_t held[3]; size_t count; };

static void base64_flush(struct base64 *b) {
    uint32_t bits = (uint32_t)b->held[0] << 16 | (b->count > 1 ? (uint32_t)b->held[1] << 8 : 0) | (b->count > 2 ? b->held[2] : 0);
    char four[4];
    for (size_t i = 0; i < 4; i++) four[i] = i <= b->count ? base64_alphabet[bits >> (18 - 6 * i) & 63] : '=';
    text_add_bytes(b->out, four, 4);
    b->count = 0;
}

static void base64_add(struct base64 *b, struct span bytes) {
    for (size_t i = 0; i < bytes.size && !b->out->cut; i++) {
        b->held[b->count++] = bytes.data[i];
        if (b->count == 3) base64_flush(b);
    }
}

static void write_bytes(struct json_writer *json, struct span bytes) {
    struct base64 b = {.out = json->out};
    text_add(json->out, "\"");
    base64_add(&b, bytes);
    if (b.count) base64_flush(&b);
    text_add(json->out, "\"");
}

static void write_records(struct json_writer *json, const struct wire_records *records) {
    struct base64 b = {.out = json->out};
    if (!records->chain) {
        if (records->bytes.data) write_bytes(json, records->bytes);
        else text_add(json->out, "null");
        return;
    }
    text_add(json->out, "\"");
    for (const struct slice *slice = records->chain->first; slice; slice = slice->next)
        if (slice->kind == SLICE_MEMORY) base64_add(&b, span_of(slice->memory.data, slice->size)); /* what is in files is not read for this */
    if (b.count) base64_flush(&b);
    text_add(json->out, "\"");
}

static void write_double(struct json_writer *json, double number) {
    if (isnan(number) || isinf(number)) {
        text_add(json->out, isnan(number) ? "\"NaN\"" : number > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    size_t before = json->out->size;
    text_add(json->out, "%.17g", number);
    for (size_t i = before; i < json->out->size; i++)
        if (strchr(".eE", json->out->bytes[i])) return;
    text_add(json->out, ".0"); /* a double stays one when it is read again */
}

static void write_struct(struct json_writer *json, const struct wire_struct *of, const uint8_t *value);

static void write_value(struct json_writer *json, const struct wire_field *field, uint8_t type, const uint8_t *value) {
    struct text *out = json->out;
    struct span span;
    switch (type) {
    case WIRE_BOOL: text_add(out, *(const bool *)value ? "true" : "false"); break;
    case WIRE_INT8: text_add(out, "%d", *(const int8_t *)value); break;
    case WIRE_INT16: text_add(out, "%d", *(const int16_t *)value); break;
    case WIRE_UINT16: text_add(out, "%u", *(const uint16_t *)value); break;
    case WIRE_INT32: text_add(out, "%d", *(const int32_t *)value); break;
    case WIRE_UINT32: text_add(out, "%u", *(const uint32_t *)value); break;
    case WIRE_INT64: text_add(out, "%lld", (long long)*(const int64_t *)value); break;
    case WIRE_DOUBLE: write_double(json, *(const double *)value); break;
    case WIRE_UUID: {
        char text[UUID_TEXT_BYTES + 1];
        uuid_text(*(const struct uuid *)value, text);
        text_add(out, "\"%s\"", text);
        break;
    }
    case WIRE_STRING: case WIRE_BYTES:
        span = *(const struct span *)value;
        if (!span.data && (field->nullable & json->bit) && field->type != WIRE_ARRAY) text_add(out, "null");
        else if (type == WIRE_STRING) write_string(out, span);
        else write_bytes(json, span);
        break;
    case WIRE_RECORDS:
        if (json->rules) wire_records_brief((const struct wire_records *)value, json->rules->records == WIRE_JSON_CONTENTS && !json->is_metadata, json->rules->codecs, out);
        else write_records(json, (const struct wire_records *)value);
        break;
    case WIRE_STRUCT: write_struct(json, field->of, value); break;
    case WIRE_STRUCT_POINTER: {
        const void *pointer = *(const void *const *)value;
        if (pointer) write_struct(json, field->of, pointer);
        else text_add(out, "null");
        break;
    }
    default: never("arrays hold no arrays");
    }
}

static void write_items(struct json_writer *json, const struct wire_field *field, const uint8_t *value) {
    const struct wire_items *items = (const struct wire_items *)value;
    size_t stride = wire_element_bytes(field);
    if (items->count < 0) {
        text_add(json->out, "null");
        return;
    }
    text_add(json->out, "[");
    for (int32_t i = 0; i < items->count && !(json->rules && json->out->cut); i++) {
        if (i) text_add(json->out, ",");
        write_value(json, field, field->element, items->first + (size_t)i * stride);
    }
    text_add(json->out, "]");
}

/* The value of a configuration belongs to the field Name of the same struct; the generator has seen that there is one. */
static bool setting_is_open(const struct json_writer *json, const struct wire_struct *of, const uint8_t *value) {
    if (!json->rules || !json->rules->setting_is_open) return false;
    for (uint32_t i = 0; i < of->field_count; i++)
        if (strcmp(of->fields[i].name, "Name") == 0) return json->rules->setting_is_open(*(const struct span *)(const void *)(value + of->fields[i].offset));
    return false;
}

static bool is_hidden(const struct json_writer *json, const struct wire_struct *of, const struct wire_field *field, const uint8_t *value) {
    if (!json->hides) return false;
    if (field->flags & WIRE_SECRET) return !(json->rules && field->type == WIRE_RECORDS); /* those can be counted */
    return (field->flags & WIRE_SETTING) && !setting_is_open(json, of, value);
}

static bool is_null(const struct json_writer *json, const struct wire_field *field, const uint8_t *value) {
    return (field->type == WIRE_STRING || field->type == WIRE_BYTES) && (field->nullable & json->bit) && !((const struct span *)(const void *)value)->data;
}

/* Topics stand before their partitions, so what this says holds for the records that follow in the struct. */
static bool names_metadata(const struct wire_field *field, const uint8_t *value) {
    static const struct uuid id = {{[15] = 1}};
    if (field->type == WIRE_STRING) return span_equal(*(const struct span *)value, SPAN_LITERAL("__cluster_metadata"));
    return field->type == WIRE_UUID && uuid_equal(*(const struct uuid *)value, id);
}

static void write_struct(struct json_writer *json, const struct wire_struct *of, const uint8_t *value) {
    char name[NAME_BYTES_MAX];
    bool first = true, outside = json->is_metadata;
    text_add(json->out, "{");
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count && !(json->rules && json->out->cut); i++) {
        const struct wire_field *field = &of->fields[i];
        if (!(field->versions & json->bit)) continue;
        if (i >= of->field_count && wire_field_is_default(of, field, value)) continue;
        text_add(json->out, "%s\"%s\":", first ? "" : ",", json_name(field, name));
        first = false;
        if (names_metadata(field, value + field->offset) || (field->flags & WIRE_SECRET)) json->is_metadata = true;
        if (is_hidden(json, of, field, value)) text_add(json->out, is_null(json, field, value + field->offset) ? "null" : "\"***\"");
        else if (field->type == WIRE_ARRAY) write_items(json, field, value + field->offset);
        else write_value(json, field, field->type, value + field->offset);
    }
    text_add(json->out, "}");
    json->is_metadata = outside;
}

void wire_json_write(const struct wire_message *message, int16_t version, const void *value, int flags, struct text *out) {
    assert(wire_has_version(message, version));
    struct json_writer json = {.out = out, .bit = UINT32_C(1) << version, .hides = flags & WIRE_JSON_HIDE_SECRETS};
    write_struct(&json, message->body, value);
}

void wire_json_trace(const struct wire_message *message, int16_t version, const void *value, const struct wire_json_rules *rules, struct text *out) {
    assert(wire_has_version(message, version));
    struct json_writer json = {.out = out, .bit = UINT32_C(1) << version, .hides = true, .rules = rules};
    write_struct(&json, message->body, value);
}

/* ---- reading */
struct json_reader {
    uint32_t bit;
    struct arena *arena;
    struct text *why;
};

static enum err refuse(struct json_reader *in, const struct wire_field *field, const char *what) {
    if (in->why) text_add(in->why, "%s: %s", field->name, what);
    return ERR_INVALID;
}

static enum err read_struct(struct json_reader *in, const struct wire_struct *of, const json_t *json, uint8_t *out);

static bool base64_read(const char *text, size_t size, uint8_t *out, size_t *bytes) {
    uint32_t bits = 0;
    size_t at = 0;
    if (size % 4) return false;
    size_t padding = size && text[size - 1] == '=' ? text[size - 2] == '=' ? 2 : 1 : 0;
    for (size_t i = 0; i < size; i++) {
        const char *found = i < size - padding && text[i] ? strchr(base64_alphabet, text[i]) : base64_alphabet;
        if (!found) return false;
        bits = bits << 6 | (uint32_t)(found - base64_alphabet);
        if (i % 4 != 3) continue;
        for (size_t k = 0; k < 3; k++) out[at++] = (uint8_t)(bits >> (16 - 8 * k));
        bits = 0;
    }
    *bytes = at - padding;
    return true;
}

static enum err read_span(struct json_reader *in, const struct wire_field *field, bool is_text, const json_t *json, struct span *out) {
    const char *text = json_string_value(json);
    size_t size = json_string_length(json);
    if (!text) return refuse(in, field, is_text ? "not a string" : "not a string of base64");
    uint8_t *bytes = arena_alloc(in->arena, size + 1); /* also of nothing there is a pointer: it is not null */
    if (!bytes) return ERR_NO_MEMORY;
    if (is_text) memcpy(bytes, text, size);
    else if (!base64_read(text, size, bytes, &size)) return refuse(in, field, "not base64");
    *out = span_of(bytes, size);
    return ERR_NONE;
}

static enum err read_integer(struct json_reader *in, const struct wire_field *field, const json_t *json, int64_t low, int64_t high, int64_t *out) {
    if (!json_is_integer(json)) return refuse(in, field, "not a whole number");
    *out = json_integer_value(json);
    return *out >= low && *out <= high ? ERR_NONE : refuse(in, field, "out of range");
}

static enum err read_double(struct json_reader *in, const struct wire_field *field, const json_t *json, double *out) {
    const char *text = json_string_value(json);
    if (json_is_number(json)) *out = json_number_value(json);
    else if (text && !strcmp(text, "NaN")) *out = (double)NAN;
    else if (text && !strcmp(text, "Infinity")) *out = (double)INFINITY;
    else if (text && !strcmp(text, "-Infinity")) *out = -(double)INFINITY;
    else return refuse(in, field, "not a number");
    return ERR_NONE;
}

static enum err read_pointer(struct json_reader *in, const struct wire_field *field, const json_t *json, uint8_t *out) {
    uint8_t *pointer = arena_alloc(in->arena, field->of->size);
    if (!pointer) return ERR_NO_MEMORY;
    *(uint8_t **)out = pointer;
    return read_struct(in, field->of, json, pointer);
}

static enum err read_value(struct json_reader *in, const struct wire_field *field, uint8_t type, const json_t *json, uint8_t *out) {
    int64_t number = 0;
    enum err err = ERR_NONE;
    switch (type) {
    case WIRE_BOOL:
        if (!json_is_boolean(json)) return refuse(in, field, "neither true nor false");
        *(bool *)out = json_is_true(json);
        break;
    case WIRE_INT8: err = read_integer(in, field, json, INT8_MIN, INT8_MAX, &number); *(int8_t *)out = (int8_t)number; break;
    case WIRE_INT16: err = read_integer(in, field, json, INT16_MIN, INT16_MAX, &number); *(int16_t *)out = (int16_t)number; break;
    case WIRE_UINT16: err = read_integer(in, field, json, 0, UINT16_MAX, &number); *(uint16_t *)out = (uint16_t)number; break;
    case WIRE_INT32: err = read_integer(in, field, json, INT32_MIN, INT32_MAX, &number); *(int32_t *)out = (int32_t)number; break;
    case WIRE_UINT32: err = read_integer(in, field, json, 0, UINT32_MAX, &number); *(uint32_t *)out = (uint32_t)number; break;
    case WIRE_INT64: err = read_integer(in, field, json, INT64_MIN, INT64_MAX, &number); *(int64_t *)out = number; break;
    case WIRE_DOUBLE: err = read_double(in, field, json, (double *)out); break;
    case WIRE_UUID:
        if (!json_is_string(json) || !uuid_parse(json_string_value(json), json_string_length(json), (struct uuid *)out)) return refuse(in, field, "not a uuid");
        break;
    case WIRE_STRING: err = read_span(in, field, true, json, (struct span *)out); break;
    case WIRE_BYTES: err = read_span(in, field, false, json, (struct span *)out); break;
    case WIRE_RECORDS: err = read_span(in, field, false, json, &((struct wire_records *)out)->bytes); break;
    case WIRE_STRUCT: err = read_struct(in, field->of, json, out); break;
    case WIRE_STRUCT_POINTER: err = read_pointer(in, field, json, out); break;
    default: never("arrays hold no arrays");
    }
    return err;
}

static enum err read_items(struct json_reader *in, const struct wire_field *field, const json_t *json, uint8_t *out) {
    struct wire_items *items = (struct wire_items *)out;
    size_t stride = wire_element_bytes(field), count = json_array_size(json);
    if (!json_is_array(json) || count > WIRE_ELEMENTS_MAX) return refuse(in, field, "not an array, or too long");
    *items = (struct wire_items){arena_array(in->arena, count ? count : 1, stride), (int32_t)count};
    if (!items->first) return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        enum err err = read_value(in, field, field->element, json_array_get(json, i), items->first + i * stride);
        if (err) {
            if (in->why) text_add(in->why, " in %s[%zu]", field->name, i);
            return err;
        }
    }
    return ERR_NONE;
}

static enum err read_null(struct json_reader *in, const struct wire_field *field, uint8_t *out) {
    if (!(field->nullable & in->bit)) return refuse(in, field, "null is not allowed");
    switch (field->type) {
    case WIRE_ARRAY: *(struct wire_items *)out = (struct wire_items){NULL, -1}; break;
    case WIRE_STRUCT_POINTER: *(void **)out = NULL; break;
    case WIRE_RECORDS: *(struct wire_records *)out = (struct wire_records){{NULL, 0}, NULL}; break;
    default: *(struct span *)out = span_of(NULL, 0);
    }
    return ERR_NONE;
}

static enum err read_struct(struct json_reader *in, const struct wire_struct *of, const json_t *json, uint8_t *out) {
    char name[NAME_BYTES_MAX];
    size_t taken = 0;
    if (!json_is_object(json)) {
        if (in->why) text_add(in->why, "%s: not an object", of->name);
        return ERR_INVALID;
    }
    wire_init(of, out);
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count; i++) {
        const struct wire_field *field = &of->fields[i];
        const json_t *value = json_object_get(json, json_name(field, name));
        if (!(field->versions & in->bit)) {
            if (value) return refuse(in, field, "not in this version");
            continue;
        }
        if (!value && i >= of->field_count) continue;
        if (!value) return refuse(in, field, "missing");
        taken++;
        enum err err = json_is_null(value)         ? read_null(in, field, out + field->offset)
                       : field->type == WIRE_ARRAY ? read_items(in, field, value, out + field->offset)
                                                   : read_value(in, field, field->type, value, out + field->offset);
        if (err) return err;
    }
    if (taken == json_object_size(json)) return ERR_NONE;
    if (in->why) text_add(in->why, "%s: a field that it does not have", of->name);
    return ERR_INVALID;
}

enum err wire_json_read(const struct wire_message *message, int16_t version, const struct json_t *json, void *out, struct arena *arena, struct text *why) {
    if (!wire_has_version(message, version)) return ERR_UNSUPPORTED;
    struct json_reader in = {.bit = UINT32_C(1) << version, .arena = arena, .why = why};
    return read_struct(&in, message->body, json, out);
}
