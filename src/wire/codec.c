/* wire/codec.c - the walk over a message's table: decode, size, encode, compare.
 *
 * On the wire a struct is its plain fields in order, those that the version has; in flexible versions then uvarint count of
 * tagged fields, and each as uvarint tag, uvarint size, value, by rising tag, those at their default left out.
 *   string            int16 length, -1 null; compact: uvarint length + 1, 0 null; at most 32,767 bytes
 *   bytes, records    int32 length, -1 null; compact: uvarint length + 1, 0 null
 *   array             int32 count,  -1 null; compact: uvarint count + 1,  0 null
 *   struct that may be null   int8 -1 null, 1 there; as a tagged field uvarint 0 null, 1 there
 */
#include "wire/codec.h"
#include "base/bytes.h"

enum { STRING_BYTES_MAX = 32767 };
#define likely(fact) __builtin_expect(!!(fact), 1)
#define unlikely(fact) __builtin_expect(!!(fact), 0)

static const uint8_t empty[1]; /* what an empty span that is not null points to */

/* Bytes on the wire and in C of the types that have a size; 0: of those that have not. */
static const uint8_t wire_bytes_of[] = {
    [WIRE_BOOL] = 1, [WIRE_INT8] = 1, [WIRE_INT16] = 2, [WIRE_UINT16] = 2, [WIRE_INT32] = 4, [WIRE_UINT32] = 4,
    [WIRE_INT64] = 8, [WIRE_DOUBLE] = 8, [WIRE_UUID] = 16, [WIRE_STRING] = 0, [WIRE_BYTES] = 0, [WIRE_RECORDS] = 0,
    [WIRE_STRUCT] = 0, [WIRE_STRUCT_POINTER] = 0, [WIRE_ARRAY] = 0};

size_t wire_element_bytes(const struct wire_field *field) {
    if (field->element == WIRE_STRUCT) return field->of->size;
    if (field->element == WIRE_STRING || field->element == WIRE_BYTES) return sizeof(struct span);
    assert(wire_bytes_of[field->element]); /* the generator makes no other arrays */
    return wire_bytes_of[field->element];
}

void wire_init(const struct wire_struct *of, void *out) { memcpy(out, of->defaults, of->size); }

void *wire_array(const struct wire_struct *of, int32_t count, struct arena *arena) {
    assert(count >= 0);
    uint8_t *items = arena_array(arena, count ? (size_t)count : 1, of->size);
    for (int32_t i = 0; items && i < count; i++) wire_init(of, items + (size_t)i * of->size);
    return items;
}

/* ---- decode */
struct reader {
    const uint8_t *at, *end;
    struct arena *arena;
    uint32_t bit;           /* of the version, in masks */
    int16_t version;
    bool is_flexible;
    uint32_t elements_left;
};

static enum err read_struct(struct reader *in, const struct wire_struct *of, uint8_t *out);

static inline size_t left(const struct reader *in) { return (size_t)(in->end - in->at); }

static inline bool read_uvarint(struct reader *in, uint32_t *out) {
    if (likely(in->at < in->end && *in->at < 0x80)) {
        *out = *in->at++;
        return true;
    }
    size_t bytes = uvarint32_load(in->at, in->end, out);
    in->at += bytes;
    return bytes > 0;
}

/* A length or a count: -1 is null. */
static inline bool read_length(struct reader *in, bool compact, size_t plain_bytes, int64_t *out) {
    if (compact) {
        uint32_t plus_one;
        if (!read_uvarint(in, &plus_one)) return false;
        *out = (int64_t)plus_one - 1;
        return true;
    }
    if (left(in) < plain_bytes) return false;
    *out = plain_bytes == 2 ? (int16_t)load_be16(in->at) : (int32_t)load_be32(in->at);
    in->at += plain_bytes;
    return *out >= -1;
}

static inline enum err read_span(struct reader *in, bool compact, bool nullable, bool is_string, struct span *out) {
    int64_t length;
    if (unlikely(!read_length(in, compact, is_string ? 2 : 4, &length))) return ERR_CORRUPT;
    if (length < 0) {
        *out = (struct span){NULL, 0};
        return nullable ? ERR_NONE : ERR_CORRUPT;
    }
    if (unlikely((uint64_t)length > left(in) || (is_string && length > STRING_BYTES_MAX))) return ERR_CORRUPT;
    *out = (struct span){in->at, (size_t)length};
    in->at += length;
    return ERR_NONE;
}

/* The types of one size; there is room for it. */
static inline void read_number(const uint8_t *from, uint8_t type, uint8_t *out) {
    switch (type) {
    case WIRE_BOOL: *(bool *)out = *from != 0; break;
    case WIRE_INT8: *out = *from; break;
    case WIRE_INT16: case WIRE_UINT16: *(uint16_t *)out = load_be16(from); break;
    case WIRE_INT32: case WIRE_UINT32: *(uint32_t *)out = load_be32(from); break;
    case WIRE_INT64: case WIRE_DOUBLE: *(uint64_t *)out = load_be64(from); break;
    case WIRE_UUID: memcpy(out, from, 16); break;
    default: never("a type without a size");
    }
}

static enum err read_elements(struct reader *in, const struct wire_field *field, struct wire_items *items) {
    uint8_t type = field->element, bytes = wire_bytes_of[type];
    size_t stride = wire_element_bytes(field);
    enum err err;
    if (bytes) { /* read_array has seen that all of them are there */
        for (int32_t i = 0; i < items->count; i++, in->at += bytes) read_number(in->at, type, items->first + (size_t)i * stride);
        return ERR_NONE;
    }
    for (int32_t i = 0; i < items->count; i++) {
        uint8_t *item = items->first + (size_t)i * stride;
        if (type == WIRE_STRUCT) err = read_struct(in, field->of, item);
        else err = read_span(in, in->is_flexible, false, type == WIRE_STRING, (struct span *)item);
        if (err) return err;
    }
    return ERR_NONE;
}

static enum err read_array(struct reader *in, const struct wire_field *field, bool nullable, uint8_t *out) {
    struct wire_items *items = (struct wire_items *)out;
    int64_t count;
    if (unlikely(!read_length(in, in->is_flexible, 4, &count))) return ERR_CORRUPT;
    if (count <= 0) {
        *items = (struct wire_items){NULL, (int32_t)count};
        return count == 0 || nullable ? ERR_NONE : ERR_CORRUPT;
    }
    /* A count is believed as far as the bytes that are left can hold that many of the smallest. */
    size_t bytes_min = wire_bytes_of[field->element];
    if (field->element == WIRE_STRUCT) bytes_min = field->of->bytes_min[in->version];
    else if (!bytes_min) bytes_min = in->is_flexible ? 1 : field->element == WIRE_STRING ? 2 : 4;
    if (!bytes_min) bytes_min = 1;
    if (unlikely((uint64_t)count > left(in) / bytes_min)) return ERR_CORRUPT;
    if (unlikely((uint64_t)count > in->elements_left)) return ERR_LIMIT;
    in->elements_left -= (uint32_t)count;
    *items = (struct wire_items){arena_array(in->arena, (size_t)count, wire_element_bytes(field)), (int32_t)count};
    if (unlikely(!items->first)) {
        items->count = 0;
        return ERR_NO_MEMORY;
    }
    return read_elements(in, field, items);
}

static enum err read_pointer(struct reader *in, const struct wire_field *field, bool nullable, bool tagged, uint8_t *out) {
    uint8_t **pointer = (uint8_t **)out;
    bool is_null = false;
    if (nullable && tagged) {
        uint32_t there;
        if (!read_uvarint(in, &there)) return ERR_CORRUPT;
        is_null = there == 0;
    } else if (nullable) {
        if (!left(in)) return ERR_CORRUPT;
        is_null = (int8_t)*in->at++ < 0;
    }
    if (is_null) {
        *pointer = NULL;
        return ERR_NONE;
    }
    if (!in->elements_left) return ERR_LIMIT;
    in->elements_left--;
    *pointer = arena_alloc(in->arena, field->of->size);
    return *pointer ? read_struct(in, field->of, *pointer) : ERR_NO_MEMORY;
}

static inline enum err read_field(struct reader *in, const struct wire_field *field, bool tagged, uint8_t *out) {
    bool nullable = (field->nullable & in->bit) != 0;
    switch (field->type) {
    case WIRE_STRING: return read_span(in, in->is_flexible && !(field->flags & WIRE_NONCOMPACT), nullable, true, (struct span *)out);
    case WIRE_BYTES: return read_span(in, in->is_flexible, nullable, false, (struct span *)out);
    case WIRE_RECORDS:
        ((struct wire_records *)out)->chain = NULL;
        return read_span(in, in->is_flexible, nullable, false, &((struct wire_records *)out)->bytes);
    case WIRE_STRUCT: return read_struct(in, field->of, out);
    case WIRE_STRUCT_POINTER: return read_pointer(in, field, nullable, tagged, out);
    case WIRE_ARRAY: return read_array(in, field, nullable, out);
    default: {
        uint8_t bytes = wire_bytes_of[field->type];
        if (unlikely(left(in) < bytes)) return ERR_CORRUPT;
        read_number(in->at, field->type, out);
        in->at += bytes;
        return ERR_NONE;
    }
    }
}

static enum err read_tags(struct reader *in, const struct wire_struct *of, uint32_t count, uint8_t *out) {
    uint32_t tag, size, unknown = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_uvarint(in, &tag) || !read_uvarint(in, &size) || size > left(in)) return ERR_CORRUPT;
        if (tag >= of->tagged_count) { /* of a version that we do not know yet: skipped, and not kept */
            if (++unknown > WIRE_UNKNOWN_TAGS_MAX) return ERR_CORRUPT; /* nobody means that */
            in->at += size;
            continue;
        }
        const struct wire_field *field = &of->fields[of->field_count + tag];
        if (!(field->versions & in->bit)) return ERR_CORRUPT; /* known, but not in this version: Apache refuses it, too */
        const uint8_t *end = in->end;
        in->end = in->at + size;
        enum err err = read_field(in, field, true, out + field->offset);
        if (err) return err;
        if (in->at != in->end) return ERR_CORRUPT;
        in->end = end;
    }
    return ERR_NONE;
}

static enum err read_struct(struct reader *in, const struct wire_struct *of, uint8_t *out) {
    if (!(of->complete & in->bit)) memcpy(out, of->defaults, of->size);
    for (const struct wire_field *field = of->fields, *end = field + of->field_count; field < end; field++) {
        if (!(field->versions & in->bit)) continue;
        enum err err = read_field(in, field, false, out + field->offset);
        if (unlikely(err)) return err;
    }
    if (!in->is_flexible) return ERR_NONE;
    uint32_t tags;
    if (unlikely(!read_uvarint(in, &tags))) return ERR_CORRUPT;
    return likely(!tags) ? ERR_NONE : read_tags(in, of, tags, out);
}

enum err wire_decode(const struct wire_message *message, int16_t version, void *out, struct span bytes, struct arena *arena, size_t *used) {
    if (!wire_has_version(message, version)) return ERR_UNSUPPORTED;
    const uint8_t *start = bytes.data ? bytes.data : empty;
    struct reader in = {.at = start, .end = start + bytes.size, .arena = arena, .bit = UINT32_C(1) << version, .version = version,
                        .is_flexible = wire_is_flexible(message, version), .elements_left = WIRE_ELEMENTS_MAX};
    enum err err = read_struct(&in, message->body, out);
    if (used) *used = (size_t)(in.at - start);
    if (err) return err;
    if (!used && in.at != in.end) return ERR_CORRUPT;
    return ERR_NONE;
}

/* ---- compare */
static bool span_same(struct span a, struct span b, bool nullable) {
    if (nullable && !a.data != !b.data) return false; /* elsewhere null means empty */
    return a.size == b.size && (a.size == 0 || !memcmp(a.data, b.data, a.size));
}

/* The bytes of records from a place on: the rest of a slice. Chains compared here are of memory. */
struct records_cursor { const struct slice *slice; struct span rest; };
static struct records_cursor records_cursor(const struct wire_records *records) {
    if (!records->chain) return (struct records_cursor){NULL, records->bytes};
    return (struct records_cursor){records->chain->first, {NULL, 0}};
}
static struct span records_next(struct records_cursor *cursor) {
    while (!cursor->rest.size && cursor->slice) {
        assert(cursor->slice->kind == SLICE_MEMORY);
        cursor->rest = span_of(cursor->slice->memory.data, cursor->slice->size);
        cursor->slice = cursor->slice->next;
    }
    return cursor->rest;
}
static bool records_are_null(const struct wire_records *records) { return !records->chain && !records->bytes.data; }

static bool records_same(const struct wire_records *a, const struct wire_records *b, bool nullable) {
    if (nullable && (records_are_null(a) || records_are_null(b))) return records_are_null(a) && records_are_null(b);
    struct records_cursor x = records_cursor(a), y = records_cursor(b);
    for (;;) {
        struct span p = records_next(&x), q = records_next(&y);
        size_t size = p.size < q.size ? p.size : q.size;
        if (!size) return p.size == q.size;
        if (memcmp(p.data, q.data, size)) return false;
        x.rest = span_of(p.data + size, p.size - size);
        y.rest = span_of(q.data + size, q.size - size);
    }
}

static bool value_same(const struct wire_field *field, uint8_t type, const uint8_t *a, const uint8_t *b);

static bool items_same(const struct wire_field *field, const uint8_t *a, const uint8_t *b) {
    const struct wire_items *x = (const struct wire_items *)a, *y = (const struct wire_items *)b;
    if (x->count != y->count) return false;
    if (x->count <= 0) return true;
    size_t stride = wire_element_bytes(field);
    for (int32_t i = 0; i < x->count; i++)
        if (!value_same(field, field->element, x->first + (size_t)i * stride, y->first + (size_t)i * stride)) return false;
    return true;
}

static bool value_same(const struct wire_field *field, uint8_t type, const uint8_t *a, const uint8_t *b) {
    switch (type) {
    case WIRE_STRING: case WIRE_BYTES:
        return span_same(*(const struct span *)a, *(const struct span *)b, field->type != WIRE_ARRAY && field->nullable);
    case WIRE_RECORDS: return records_same((const struct wire_records *)a, (const struct wire_records *)b, field->nullable);
    case WIRE_STRUCT: return wire_equal(field->of, a, b);
    case WIRE_STRUCT_POINTER: {
        const void *x = *(const void *const *)a, *y = *(const void *const *)b;
        return x == y || (x && y && wire_equal(field->of, x, y));
    }
    case WIRE_ARRAY: return items_same(field, a, b);
    default: return !memcmp(a, b, wire_bytes_of[type]);
    }
}

bool wire_equal(const struct wire_struct *of, const void *a, const void *b) {
    const uint8_t *x = a, *y = b;
    for (const struct wire_field *field = of->fields, *end = field + of->field_count + of->tagged_count; field < end; field++)
        if (!value_same(field, field->type, x + field->offset, y + field->offset)) return false;
    return true;
}

bool wire_is_default(const struct wire_struct *of, const void *value) { return wire_equal(of, value, of->defaults); }

bool wire_field_is_default(const struct wire_struct *of, const struct wire_field *field, const uint8_t *value) {
    const uint8_t *mine = value + field->offset, *fresh = (const uint8_t *)of->defaults + field->offset;
    /* Most are the fresh struct's bits; what differs in bits may still be the same value. */
    if (field->type == WIRE_STRUCT && !memcmp(mine, fresh, field->of->size)) return true;
    return value_same(field, field->type, mine, fresh);
}

/* ---- size: also finds what the version cannot say, so that writing cannot fail on it */
struct form {
    uint32_t bit;
    bool is_flexible;
    bool has_failed;
    size_t chain_bytes; /* of records that move over instead of being copied */
};

static size_t size_struct(struct form *form, const struct wire_struct *of, const uint8_t *value);

static inline size_t size_length(const struct form *form, bool compact, size_t plain_bytes, size_t length) {
    return compact ? uvarint_bytes(length + 1) : plain_bytes;
}

static inline size_t size_span(struct form *form, bool compact, bool nullable, bool is_string, const struct span *span) {
    if (!span->data && nullable) return compact ? 1 : is_string ? 2 : 4;
    if (unlikely(span->size > (is_string ? STRING_BYTES_MAX : INT32_MAX))) form->has_failed = true;
    return size_length(form, compact, is_string ? 2 : 4, span->size) + span->size;
}

static size_t size_records(struct form *form, const struct wire_records *records, bool nullable) {
    if (!records->chain) return size_span(form, form->is_flexible, nullable, false, &records->bytes);
    if (records->chain->bytes > INT32_MAX) form->has_failed = true;
    form->chain_bytes += records->chain->bytes;
    return size_length(form, form->is_flexible, 4, records->chain->bytes) + records->chain->bytes;
}

static size_t size_array(struct form *form, const struct wire_field *field, bool nullable, const uint8_t *value) {
    const struct wire_items *items = (const struct wire_items *)value;
    if (items->count < 0) {
        if (!nullable || items->count != -1) form->has_failed = true;
        return form->is_flexible ? 1 : 4;
    }
    size_t size = size_length(form, form->is_flexible, 4, (size_t)items->count), stride = wire_element_bytes(field);
    if (wire_bytes_of[field->element]) return size + (size_t)items->count * wire_bytes_of[field->element];
    for (int32_t i = 0; i < items->count; i++) {
        const uint8_t *item = items->first + (size_t)i * stride;
        if (field->element == WIRE_STRUCT) size += size_struct(form, field->of, item);
        else size += size_span(form, form->is_flexible, false, field->element == WIRE_STRING, (const struct span *)item);
    }
    return size;
}

static inline __attribute__((always_inline)) size_t size_field(struct form *form, const struct wire_field *field, bool tagged, const uint8_t *value) {
    bool nullable = (field->nullable & form->bit) != 0;
    switch (field->type) {
    case WIRE_STRING: return size_span(form, form->is_flexible && !(field->flags & WIRE_NONCOMPACT), nullable, true, (const struct span *)value);
    case WIRE_BYTES: return size_span(form, form->is_flexible, nullable, false, (const struct span *)value);
    case WIRE_RECORDS: return size_records(form, (const struct wire_records *)value, nullable);
    case WIRE_STRUCT: return size_struct(form, field->of, value);
    case WIRE_STRUCT_POINTER: {
        const void *pointer = *(const void *const *)value;
        if (!pointer && nullable) return 1;
        return size_struct(form, field->of, pointer ? pointer : field->of->defaults) + nullable;
    }
    case WIRE_ARRAY: return size_array(form, field, nullable, value);
    default: return wire_bytes_of[field->type];
    }
}

/* Whether a tagged field is written: this version has it, and there is something to say. */
static inline bool tag_is_written(struct form *form, const struct wire_struct *of, const struct wire_field *field, const uint8_t *value) {
    if (wire_field_is_default(of, field, value)) return false;
    if (field->versions & form->bit) return true;
    if (!(field->flags & WIRE_IGNORABLE)) form->has_failed = true;
    return false;
}

static size_t size_struct(struct form *form, const struct wire_struct *of, const uint8_t *value) {
    size_t size = 0, tags = 0;
    const struct wire_field *field = of->fields, *end = field + of->field_count;
    for (; field < end; field++) {
        if (likely(field->versions & form->bit)) size += size_field(form, field, false, value + field->offset);
        else if (!(field->flags & WIRE_IGNORABLE) && !wire_field_is_default(of, field, value)) form->has_failed = true;
    }
    for (end += of->tagged_count; field < end; field++) {
        if (!tag_is_written(form, of, field, value)) continue;
        size_t bytes = size_field(form, field, true, value + field->offset);
        size += uvarint_bytes(field->tag) + uvarint_bytes(bytes) + bytes;
        tags++;
    }
    return form->is_flexible ? size + uvarint_bytes(tags) : size;
}

static struct form form_of(const struct wire_message *message, int16_t version) {
    return (struct form){.bit = UINT32_C(1) << version, .is_flexible = wire_is_flexible(message, version)};
}

size_t wire_size(const struct wire_message *message, int16_t version, const void *value) {
    if (!wire_has_version(message, version)) return WIRE_NOT_ENCODABLE;
    struct form form = form_of(message, version);
    size_t size = size_struct(&form, message->body, value);
    return form.has_failed ? WIRE_NOT_ENCODABLE : size;
}

/* ---- encode: into memory of the size found before; only moving chains can still fail */
struct writer {
    struct form form;
    uint8_t *at;
    uint8_t *run;        /* where the bytes begin that are not in `out` yet       */
    struct chain *out;   /* NULL: everything into the memory, chains copied too   */
    bool has_failed;     /* the arena had no room for a slice                     */
};

static void write_struct(struct writer *out, const struct wire_struct *of, const uint8_t *value);

static inline void write_uvarint(struct writer *out, uint64_t value) {
    if (likely(value < 0x80)) *out->at++ = (uint8_t)value;
    else out->at += uvarint32_store(out->at, (uint32_t)value);
}

static inline void write_length(struct writer *out, bool compact, size_t plain_bytes, int64_t length) {
    if (compact) write_uvarint(out, (uint64_t)(length + 1));
    else if (plain_bytes == 2) store_be16(out->at, (uint16_t)length), out->at += 2;
    else store_be32(out->at, (uint32_t)length), out->at += 4;
}

static inline void write_span(struct writer *out, bool compact, bool nullable, bool is_string, const struct span *span) {
    if (!span->data && nullable) {
        write_length(out, compact, is_string ? 2 : 4, -1);
        return;
    }
    write_length(out, compact, is_string ? 2 : 4, (int64_t)span->size);
    if (span->size) memcpy(out->at, span->data, span->size);
    out->at += span->size;
}

static inline void write_number(uint8_t *to, uint8_t type, const uint8_t *value) {
    switch (type) {
    case WIRE_BOOL: *to = *(const bool *)value; break;
    case WIRE_INT8: *to = *value; break;
    case WIRE_INT16: case WIRE_UINT16: store_be16(to, *(const uint16_t *)value); break;
    case WIRE_INT32: case WIRE_UINT32: store_be32(to, *(const uint32_t *)value); break;
    case WIRE_INT64: case WIRE_DOUBLE: store_be64(to, *(const uint64_t *)value); break;
    case WIRE_UUID: memcpy(to, value, 16); break;
    default: never("a type without a size");
    }
}

/* What was written since the last chain becomes a slice. */
static void flush_run(struct writer *out) {
    if (out->at == out->run || out->has_failed) return;
    if (!chain_add_memory(out->out, out->run, (size_t)(out->at - out->run), NULL)) out->has_failed = true;
    out->run = out->at;
}

static void write_records(struct writer *out, const struct wire_records *records, bool nullable) {
    if (!records->chain) {
        write_span(out, out->form.is_flexible, nullable, false, &records->bytes);
        return;
    }
    write_length(out, out->form.is_flexible, 4, (int64_t)records->chain->bytes);
    if (out->out) {
        flush_run(out);
        if (!out->has_failed) chain_append(out->out, records->chain);
    } else out->at += chain_copy_out(records->chain, out->at, records->chain->bytes);
}

static void write_array(struct writer *out, const struct wire_field *field, const uint8_t *value) {
    const struct wire_items *items = (const struct wire_items *)value;
    uint8_t bytes = wire_bytes_of[field->element];
    size_t stride = wire_element_bytes(field);
    write_length(out, out->form.is_flexible, 4, items->count);
    for (int32_t i = 0; i < items->count; i++) {
        const uint8_t *item = items->first + (size_t)i * stride;
        if (bytes) write_number(out->at, field->element, item), out->at += bytes;
        else if (field->element == WIRE_STRUCT) write_struct(out, field->of, item);
        else write_span(out, out->form.is_flexible, false, field->element == WIRE_STRING, (const struct span *)item);
    }
}

static inline void write_field(struct writer *out, const struct wire_field *field, bool tagged, const uint8_t *value) {
    bool nullable = (field->nullable & out->form.bit) != 0, flexible = out->form.is_flexible;
    switch (field->type) {
    case WIRE_STRING: write_span(out, flexible && !(field->flags & WIRE_NONCOMPACT), nullable, true, (const struct span *)value); break;
    case WIRE_BYTES: write_span(out, flexible, nullable, false, (const struct span *)value); break;
    case WIRE_RECORDS: write_records(out, (const struct wire_records *)value, nullable); break;
    case WIRE_STRUCT: write_struct(out, field->of, value); break;
    case WIRE_STRUCT_POINTER: {
        const void *pointer = *(const void *const *)value;
        if (nullable) *out->at++ = pointer ? 1 : tagged ? 0 : 0xff;
        if (pointer || !nullable) write_struct(out, field->of, pointer ? pointer : field->of->defaults);
        break;
    }
    case WIRE_ARRAY: write_array(out, field, value); break;
    default:
        write_number(out->at, field->type, value);
        out->at += wire_bytes_of[field->type];
    }
}

static void write_tags(struct writer *out, const struct wire_struct *of, const uint8_t *value) {
    const struct wire_field *first = of->fields + of->field_count, *end = first + of->tagged_count;
    uint32_t count = 0;
    for (const struct wire_field *field = first; field < end; field++) count += tag_is_written(&out->form, of, field, value);
    write_uvarint(out, count);
    for (const struct wire_field *field = first; count && field < end; field++) {
        if (!tag_is_written(&out->form, of, field, value)) continue;
        write_uvarint(out, field->tag);
        write_uvarint(out, size_field(&out->form, field, true, value + field->offset));
        write_field(out, field, true, value + field->offset);
    }
}

static void write_struct(struct writer *out, const struct wire_struct *of, const uint8_t *value) {
    for (const struct wire_field *field = of->fields, *end = field + of->field_count; field < end; field++)
        if (field->versions & out->form.bit) write_field(out, field, false, value + field->offset);
    if (out->form.is_flexible) write_tags(out, of, value);
}

size_t wire_write(const struct wire_message *message, int16_t version, const void *value, uint8_t *target) {
    assert(wire_has_version(message, version));
    struct writer out = {.form = form_of(message, version), .at = target, .run = target};
    write_struct(&out, message->body, value);
    return (size_t)(out.at - target);
}

bool wire_encode_behind(size_t prefix_bytes, const struct wire_message *message, int16_t version, const void *value,
                        struct chain *target, uint8_t **prefix) {
    if (!wire_has_version(message, version)) return false;
    struct form form = form_of(message, version);
    size_t size = prefix_bytes + size_struct(&form, message->body, value);
    if (form.has_failed || size > INT32_MAX) return false;
    size_t memory_bytes = size - form.chain_bytes;
    uint8_t *memory = arena_alloc(target->arena, memory_bytes ? memory_bytes : 1);
    if (!memory) return false;
    struct chain chain;
    chain_init(&chain, target->arena);
    struct writer out = {.form = form_of(message, version), .at = memory + prefix_bytes, .run = memory, .out = &chain};
    write_struct(&out, message->body, value);
    flush_run(&out);
    if (out.has_failed) {
        chain_clear(&chain);
        return false;
    }
    assert((size_t)(out.at - memory) == memory_bytes);
    assert(chain.bytes == size);
    chain_append(target, &chain);
    if (prefix) *prefix = memory;
    return true;
}

bool wire_encode(const struct wire_message *message, int16_t version, const void *value, struct chain *out) {
    return wire_encode_behind(0, message, version, value, out, NULL);
}
