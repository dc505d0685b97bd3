/* log/clean_map.h - compaction's memory: from a key to the offset of its last record, in memory of a fixed size.
 *
 * Keys are not kept: 16 bytes of a salted digest stand for each, so that nobody can make two that meet. A slot is 24 bytes;
 * a cleaning takes no more of the log than fits (log.cleaner.dedupe.buffer.size, .io.buffer.load.factor), the rest is for
 * the next one. Kafka's slots are as large, so its settings mean the same here.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum { CLEAN_SLOT_BYTES = 24, CLEAN_SALT_BYTES = 16, CLEAN_DIGEST_BYTES = 16 };

struct clean_slot;
struct clean_map {
    struct pool *pool;            /* borrows */
    struct clean_slot *slots;     /* owns    */
    void *digest;                 /* owns: the digest's state */
    uint32_t slot_count, used, used_max;
    uint8_t salt[CLEAN_SALT_BYTES];
    log_offset latest;            /* of the last batch that was taken in as a whole; -1: none */
};

/* Room for `keys` of them, or for as many as `bytes_max` and the load factor allow. ERR_NO_MEMORY. */
must_use enum err clean_map_init(struct clean_map *map, struct pool *pool, uint64_t keys, uint64_t bytes_max, double load_factor,
                                 const uint8_t salt[CLEAN_SALT_BYTES]);
void clean_map_destroy(struct clean_map *map); /* one that is all zeros is fine */

/* The key's last record lies at `offset`, above all offsets it was given before. False: full. */
must_use bool clean_map_put(struct clean_map *map, struct span key, log_offset offset);
/* -1: the key is not there. */
log_offset clean_map_get(const struct clean_map *map, struct span key);
