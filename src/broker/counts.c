#include "broker/counts.h"
#include "base/assert.h"
#include "wire/codec.h"
#include <stdatomic.h>
#include <string.h>

void topic_counts_add(struct topic_counts *into, const struct topic_counts *from) {
    into->messages_in += from->messages_in;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    into->produces += from->produces;
    into->fetches += from->fetches;
    into->produces_failed += from->produces_failed;
    into->fetches_failed += from->fetches_failed;
}

void api_counts_add(struct api_counts *into, const struct api_counts *from) {
    into->requests += from->requests;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    into->queue_ns += from->queue_ns;
    into->local_ns += from->local_ns;
    into->remote_ns += from->remote_ns;
    into->send_ns += from->send_ns;
    histogram_merge(&into->total, &from->total);
    for (uint32_t i = 0; i < COUNTED_ERRORS; i++) into->errors[i] += from->errors[i];
}

/* ---- Error codes. Which fields of a struct lead to one is found out once for each struct, by its names; what is kept of
 * that is a bit for each field, in a small table by the struct's address. Shards may find the same out at the same time:
 * they write the same. */

enum { PATHS = 512, FIELDS_MAX = 64 };
struct path {
    _Atomic(const struct wire_struct *) of;
    _Atomic uint64_t fields; /* bits; KNOWN in the last */
};
#define KNOWN (UINT64_C(1) << 63)
static struct path paths[PATHS];

static bool is_error_code(const struct wire_field *field) {
    return field->type == WIRE_INT16 && strcmp(field->name, "ErrorCode") == 0;
}

static uint64_t fields_to_errors(const struct wire_struct *of);

static uint64_t look(const struct wire_struct *of) {
    uint64_t bits = 0;
    uint32_t count = (uint32_t)of->field_count + of->tagged_count;
    assert(count < FIELDS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct wire_field *field = &of->fields[i];
        bool is_struct = field->type == WIRE_STRUCT || field->type == WIRE_STRUCT_POINTER || (field->type == WIRE_ARRAY && field->element == WIRE_STRUCT);
        if (is_error_code(field) || (is_struct && fields_to_errors(field->of) != KNOWN)) bits |= UINT64_C(1) << i;
    }
    return bits | KNOWN;
}

/* The answers served have some two hundred structs, so that the table is never full; were it, it would be slow, not wrong. */
static uint64_t fields_to_errors(const struct wire_struct *of) {
    uint32_t at = (uint32_t)((uintptr_t)of / sizeof *of * 2654435761u >> 16) % PATHS;
    for (uint32_t tries = 0; tries < PATHS; tries++, at = (at + 1) % PATHS) {
        const struct wire_struct *here = atomic_load_explicit(&paths[at].of, memory_order_acquire);
        if (!here && atomic_compare_exchange_strong(&paths[at].of, &here, of)) here = of;
        if (here != of) continue;
        uint64_t bits = atomic_load_explicit(&paths[at].fields, memory_order_relaxed);
        if (!bits) atomic_store_explicit(&paths[at].fields, bits = look(of), memory_order_relaxed);
        return bits;
    }
    return look(of);
}

static void count_in(struct api_counts *counts, const struct wire_struct *of, const uint8_t *value) {
    for (uint64_t left = fields_to_errors(of) & ~KNOWN; left; left &= left - 1) {
        const struct wire_field *field = &of->fields[__builtin_ctzll(left)];
        const uint8_t *at = value + field->offset;
        if (field->type == WIRE_INT16) {
            int16_t code = *(const int16_t *)(const void *)at;
            uint32_t slot = (uint32_t)(code + 1);
            counts->errors[slot < COUNTED_ERRORS ? slot : 0]++;
        } else if (field->type == WIRE_STRUCT) {
            count_in(counts, field->of, at);
        } else if (field->type == WIRE_STRUCT_POINTER) {
            const uint8_t *target = *(const uint8_t *const *)(const void *)at;
            if (target) count_in(counts, field->of, target);
        } else {
            const uint8_t *items = *(const uint8_t *const *)(const void *)at;
            int32_t count = *(const int32_t *)(const void *)(at + sizeof items);
            for (int32_t i = 0; i < count; i++) count_in(counts, field->of, items + (size_t)i * field->of->size);
        }
    }
}

void count_errors(struct api_counts *counts, const struct wire_api *api, const void *response) {
    count_in(counts, api->response->body, response);
}
