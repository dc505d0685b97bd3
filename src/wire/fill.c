#include "wire/fill.h"
#include <string.h>

/* What lies around the places where encodings change their form: varint lengths, signs, ends of ranges. */
static const int64_t edges[] = {0, 1, -1, 63, 64, 126, 127, 128, 255, 256, 16383, 16384, INT16_MAX, INT16_MIN, UINT16_MAX,
                                INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};

static_assert(offsetof(struct wire_records, bytes) == 0, "records begin with their span, as default_is_impossible reads them");

struct filler {
    const struct wire_fill *limits;
    struct random *random;
    struct arena *arena;
    uint32_t bit;
};

static bool fill_struct(struct filler *fill, const struct wire_struct *of, uint8_t *out);

static int64_t number(struct filler *fill) {
    if (random_chance(fill->random, 1, 3)) return edges[random_below(fill->random, countof(edges))];
    return (int64_t)random_u64(fill->random) >> random_below(fill->random, 64);
}

static size_t some(struct filler *fill, uint32_t max) {
    if (random_chance(fill->random, 1, 50)) return 120 + random_below(fill->random, 20); /* around the second byte of a varint */
    return random_below(fill->random, (uint64_t)max + 1);
}

static bool fill_span(struct filler *fill, bool is_text, struct span *out) {
    static const char *const pieces[] = {"a", "Z", "0", "-", ".", " ", "\"", "\\", "\n", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x8c\x8a"};
    size_t size = some(fill, fill->limits->bytes_max), at = 0;
    uint8_t *bytes = arena_alloc(fill->arena, size + 1);
    if (!bytes) return false;
    if (!is_text) {
        random_bytes(fill->random, bytes, size);
        at = size;
    }
    while (at < size) {
        const char *piece = pieces[random_below(fill->random, countof(pieces))];
        size_t piece_bytes = strlen(piece);
        if (piece_bytes > size - at) piece = "x", piece_bytes = 1;
        memcpy(bytes + at, piece, piece_bytes);
        at += piece_bytes;
    }
    *out = span_of(bytes, size);
    return true;
}

static bool fill_value(struct filler *fill, const struct wire_field *field, uint8_t type, uint8_t *out) {
    switch (type) {
    case WIRE_BOOL: *(bool *)out = random_chance(fill->random, 1, 2); return true;
    case WIRE_INT8: *(int8_t *)out = (int8_t)number(fill); return true;
    case WIRE_INT16: case WIRE_UINT16: *(uint16_t *)out = (uint16_t)number(fill); return true;
    case WIRE_INT32: case WIRE_UINT32: *(uint32_t *)out = (uint32_t)number(fill); return true;
    case WIRE_INT64: *(int64_t *)out = number(fill); return true;
    case WIRE_DOUBLE: *(double *)out = (double)number(fill) / 8; return true;
    case WIRE_UUID: *(struct uuid *)out = uuid_random(fill->random); return true;
    case WIRE_STRING: return fill_span(fill, true, (struct span *)out);
    case WIRE_BYTES: return fill_span(fill, false, (struct span *)out);
    case WIRE_RECORDS: return fill_span(fill, false, &((struct wire_records *)out)->bytes);
    case WIRE_STRUCT: return fill_struct(fill, field->of, out);
    case WIRE_STRUCT_POINTER: {
        uint8_t *pointer = arena_alloc(fill->arena, field->of->size);
        *(uint8_t **)out = pointer;
        return pointer && fill_struct(fill, field->of, pointer);
    }
    default: never("arrays hold no arrays");
    }
}

static bool fill_items(struct filler *fill, const struct wire_field *field, uint8_t *out) {
    struct wire_items *items = (struct wire_items *)out;
    size_t count = some(fill, fill->limits->items_max), stride = wire_element_bytes(field);
    /* Structs in structs would multiply the large ones. */
    if (field->element == WIRE_STRUCT && count > fill->limits->items_max) count = fill->limits->items_max;
    *items = (struct wire_items){arena_array(fill->arena, count ? count : 1, stride), (int32_t)count};
    if (!items->first) return false;
    for (size_t i = 0; i < count; i++)
        if (!fill_value(fill, field, field->element, items->first + i * stride)) return false;
    return true;
}

static void fill_null(const struct wire_field *field, uint8_t *out) {
    switch (field->type) {
    case WIRE_ARRAY: *(struct wire_items *)out = (struct wire_items){NULL, -1}; break;
    case WIRE_STRUCT_POINTER: *(void **)out = NULL; break;
    case WIRE_RECORDS: *(struct wire_records *)out = (struct wire_records){{NULL, 0}, NULL}; break;
    default: *(struct span *)out = span_of(NULL, 0);
    }
}

/* The default is null, and this version has no null for it: something else must be said. */
static bool default_is_impossible(const struct filler *fill, const struct wire_field *field, const uint8_t *at) {
    if (field->nullable & fill->bit) return false;
    if (field->type == WIRE_ARRAY) return ((const struct wire_items *)at)->count < 0;
    return field->type >= WIRE_STRING && field->type <= WIRE_RECORDS && !((const struct span *)at)->data;
}

static bool fill_struct(struct filler *fill, const struct wire_struct *of, uint8_t *out) {
    wire_init(of, out);
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count; i++) {
        const struct wire_field *field = &of->fields[i];
        uint8_t *at = out + field->offset;
        if (!(field->versions & fill->bit)) continue;
        if (random_chance(fill->random, 1, 8) && !default_is_impossible(fill, field, at)) continue;
        if ((field->nullable & fill->bit) && random_chance(fill->random, 1, 4)) fill_null(field, at);
        else if (field->type == WIRE_ARRAY ? !fill_items(fill, field, at) : !fill_value(fill, field, field->type, at)) return false;
    }
    return true;
}

bool wire_fill(const struct wire_message *message, int16_t version, const struct wire_fill *limits, struct random *random,
               struct arena *arena, void *out) {
    assert(wire_has_version(message, version));
    struct filler fill = {.limits = limits, .random = random, .arena = arena, .bit = UINT32_C(1) << version};
    return fill_struct(&fill, message->body, out);
}
