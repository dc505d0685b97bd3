/* wire/fuzz_batch.h - what the fuzz targets of batches and codecs share; behind fuzz.h and vectors.h. */
#pragma once
#include "wire/batch.h"
#include "wire/batch_old.h"
#include <stdio.h>
#include <stdlib.h>

static struct pool fuzz_pool;
static struct codecs fuzz_codecs;
static const struct unpack_limits fuzz_limits = {.bytes_max = MIB(1), .ratio_max = 1000, .ratio_from = KIB(64)};
enum { FUZZ_MEMORY_MAX = 16 << 20 };

static inline void fuzz_begin(void) {
    if (fuzz_codecs.pool) return;
    pool_init(&fuzz_pool, FUZZ_MEMORY_MAX, 4);
    codecs_init(&fuzz_codecs, &fuzz_pool);
}
/* The codecs stay, as in a shard; everything else must be back. */
static inline void fuzz_end(void) {
    static size_t runs;
    if (++runs % 4096) return;
    codecs_destroy(&fuzz_codecs);
    pool_destroy(&fuzz_pool);
    fuzz_codecs.pool = NULL;
}
/* Exactly so large: a read beyond it is seen. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size) {
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes) abort();
    if (size) memcpy(bytes, data, size);
    return bytes;
}

/* All records by the cursor, and what the walk should find. */
static inline enum err fuzz_cursor(const struct batch *batch, struct span records, struct batch_facts *facts) {
    struct record_cursor cursor;
    struct record record;
    struct record_header header;
    enum err err;
    int32_t n = 0, last = -1;
    *facts = (struct batch_facts){.timestamp_max = -1, .timestamp_min = INT64_MAX, .records_bytes = records.size,
                                  .every_has_key = true, .offsets_are_dense = true, .offsets_rise = true};
    record_cursor_init(&cursor, batch, records);
    for (; (err = record_next(&cursor, &record)) == ERR_NONE; n++) {
        int32_t delta = (int32_t)((uint64_t)record.offset - (uint64_t)batch->base_offset), headers = record.headers_count;
        if (record.timestamp > facts->timestamp_max) facts->timestamp_max = record.timestamp, facts->timestamp_max_delta = delta;
        if (record.timestamp != -1 && record.timestamp < facts->timestamp_min) facts->timestamp_min = record.timestamp;
        if (!record.key.data) facts->every_has_key = false;
        if (delta != n) facts->offsets_are_dense = false;
        if (delta <= last || delta > batch->last_offset_delta) facts->offsets_rise = false;
        last = delta;
        while (record_header_next(&record, &header)) headers--;
        assert(headers == 0);
    }
    return err;
}

static inline void fuzz_batch(const struct batch *batch) {
    struct batch_records records;
    struct batch_facts by_walk = {0}, by_cursor = {0};
    enum err walked = batch_walk(batch, &fuzz_codecs, &fuzz_limits, &by_walk);
    enum err opened = batch_records_open(batch, &fuzz_codecs, &fuzz_limits, &records);
    if (opened) {
        /* The walk stops at the first record that is wrong, maybe before what the codec would object to. */
        assert(walked != ERR_NONE);
        return;
    }
    enum err parsed = fuzz_cursor(batch, records.bytes, &by_cursor);
    assert((parsed == ERR_NOT_FOUND) == (walked == ERR_NONE));
    if (walked == ERR_NONE) {
        assert(by_walk.timestamp_max == by_cursor.timestamp_max && by_walk.timestamp_min == by_cursor.timestamp_min);
        assert(by_walk.timestamp_max_delta == by_cursor.timestamp_max_delta && by_walk.records_bytes == by_cursor.records_bytes);
        assert(by_walk.every_has_key == by_cursor.every_has_key && by_walk.offsets_are_dense == by_cursor.offsets_are_dense);
        assert(by_walk.offsets_rise == by_cursor.offsets_rise);
    }
    batch_records_close(&records);
    struct batch_marker marker;
    if (batch_is_control(batch) && batch_marker_parse(batch, &marker)) {}
}

/* The golden vectors' batches that `wants` chooses; it may prepend or cut. */
typedef void fuzz_seed_from(fuzz_add *add, struct span bytes);
struct fuzz_seeding {
    fuzz_add *add;
    fuzz_seed_from *from;
};
static inline void fuzz_seed_line(void *context, const char *folder, const char *path, uint32_t line, const json_t *json) {
    const struct fuzz_seeding *seeding = context;
    struct arena arena;
    fuzz_begin();
    arena_init(&arena, &fuzz_pool, 0);
    struct span bytes = vector_hex(&arena, json_object_get(json, "hex"));
    if (bytes.size > BATCH_MAGIC_BYTES) seeding->from(seeding->add, bytes);
    arena_destroy(&arena);
}
static inline void fuzz_seeds_from(fuzz_add *add, fuzz_seed_from *from) {
    const char *top = getenv("MOLDAU_VECTORS");
    char folder[4096];
    struct fuzz_seeding seeding = {add, from};
    snprintf(folder, sizeof folder, "%s/records", top ? top : TEST_SOURCE_ROOT "/test/vectors");
    vectors_each(folder, NULL, fuzz_seed_line, &seeding);
}
