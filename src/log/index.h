/* log/index.h - one index of a segment: sparse entries that say where to begin to look. A hint, never the truth: each can
 * be made again from the segment, and is, when it is missing or does not make sense (L6).
 *
 * Bytes, in memory as in the file, big-endian, in ascending order of the key:
 *   offset index (.index), 8 bytes:      int32 relative last offset of a batch, int32 position of that batch
 *   time index (.timeindex), 12 bytes:   int64 largest timestamp so far, int32 relative last offset of the batch that has it
 * An entry of the offset index is never at position 0, so zeros that Apache preallocated end both.
 *
 * Entries [0, filed) are in the file; [first, entries) are in memory, first <= filed: what is in the file may be unloaded
 * and loaded again. Only an active segment has entries that are not filed.
 */
#pragma once
#include "base/pool.h"
#include "base/units.h"
#include "io/io.h"

enum index_kind { INDEX_OFFSET, INDEX_TIME };
enum { INDEX_ENTRY_BYTES_OFFSET = 8, INDEX_ENTRY_BYTES_TIME = 12 };

struct index_entry {
    int64_t key;   /* offset index: offset; time index: timestamp */
    int64_t value; /* position;                      offset       */
};
struct index {
    enum index_kind kind;
    log_offset base;
    struct pool *pool;            /* borrows */
    uint8_t *bytes;               /* owns: entries [first, entries) */
    uint32_t capacity;            /* of bytes                       */
    uint32_t first, filed, entries;
    uint32_t entries_max;
    struct index_entry last;      /* of an empty one: (base, 0) and (-1, base), as Kafka says */
    bool known;                   /* `entries` and `last` are known: it was loaded, or made here */
};

static inline uint32_t index_entry_bytes(enum index_kind kind) {
    return kind == INDEX_OFFSET ? INDEX_ENTRY_BYTES_OFFSET : INDEX_ENTRY_BYTES_TIME;
}
/* Empty and known. bytes_max: segment.index.bytes. */
void index_init(struct index *index, enum index_kind kind, log_offset base, uint32_t bytes_max, struct pool *pool);
void index_free(struct index *index);
bool index_is_full(const struct index *index); /* time: but for the one entry that closing adds */
size_t index_memory(const struct index *index);

/* False: no memory, full, or not above the last one. A missing entry costs a longer search, nothing else. */
bool index_add(struct index *index, int64_t key, int64_t value);
/* The time index takes an entry only for a larger timestamp. */
void index_add_time(struct index *index, time_ms timestamp, log_offset offset, bool closing);
/* The last entry with a key <= `key`. ERR_NOT_FOUND: none, begin at the start. ERR_AGAIN: load it first. */
must_use enum err index_find(const struct index *index, int64_t key, struct index_entry *out);
/* Drops entries of offsets >= `offset`. All of it must be loaded. */
void index_cut(struct index *index, log_offset offset);
bool index_is_loaded(const struct index *index);
void index_unload(struct index *index);        /* keeps what is not in the file */

/* ---- Jobs. */
/* How many entries at the front of these bytes make sense, for a segment of that size that ends before `end`. */
uint32_t index_valid_entries(enum index_kind kind, log_offset base, const uint8_t *bytes, size_t size, uint64_t log_size, log_offset end);
/* Loads the first `entries` entries (UINT32_MAX: all) into an index that was just initialised. ERR_NOT_FOUND: no file;
 * ERR_CORRUPT: not a whole number of entries that make sense (what made sense is loaded); zeros at the end are fine. */
must_use enum err index_file_load(struct index *index, struct io_files files, const char *path, uint32_t entries, uint64_t log_size, log_offset end);
/* Writes entries from `from` on, cuts the file there, and syncs it if asked. All of them must be in memory. */
must_use enum err index_file_write(const struct index *index, struct io_files files, const char *path, uint32_t from, bool sync);
/* Copies a loaded front before what is in memory. One that was rebuilt may have other entries than the file had: then all of
 * it counts as not filed. False: no memory, nothing changed. */
bool index_adopt(struct index *index, const struct index *front, bool rebuilt);
struct index_entry index_entry_at(const struct index *index, uint32_t at); /* first <= at < entries */
void index_check(const struct index *index);
