/* log/epoch.h - where each leader epoch starts in a partition's log.
 *
 * A follower and its leader find the point from which their logs differ by it: "where does epoch E end with you?".
 * Always: epochs and start offsets rise strictly. The file leader-epoch-checkpoint is in checkpoint.h.
 */
#pragma once
#include "base/pool.h"
#include "base/err.h"

struct epoch_entry {
    leader_epoch epoch;
    log_offset start;
};
struct epoch_cache {
    struct pool *pool;           /* borrows */
    struct epoch_entry *entries; /* owns: in order */
    uint32_t count, capacity;
    bool changed;                /* since it was cleared by who writes the checkpoint */
};
enum { EPOCH_ENTRIES_MAX = 1000000 };

void epoch_cache_init(struct epoch_cache *cache, struct pool *pool);
void epoch_cache_destroy(struct epoch_cache *cache);
void epoch_cache_clear(struct epoch_cache *cache);

/* A batch or a leadership of this epoch begins here. Nothing new: nothing happens. Entries that contradict it (epoch or
 * start not below) are dropped first: the log has been cut there. ERR_NO_MEMORY, ERR_INVALID (negative). */
must_use enum err epoch_assign(struct epoch_cache *cache, leader_epoch epoch, log_offset start);

leader_epoch epoch_latest(const struct epoch_cache *cache);                      /* -1: none */
const struct epoch_entry *epoch_first(const struct epoch_cache *cache);          /* NULL: none */
leader_epoch epoch_of_offset(const struct epoch_cache *cache, log_offset offset);/* -1: not known */
leader_epoch epoch_before(const struct epoch_cache *cache, leader_epoch epoch);  /* the largest below it; -1: none */
/* The largest epoch not above `epoch`, and where it ends; (-1, -1) for one that is not known here: -1 itself, above the
 * latest, or an empty cache. Below the earliest: that epoch with the earliest start. */
void epoch_end(const struct epoch_cache *cache, leader_epoch epoch, log_offset log_end, leader_epoch *found, log_offset *end);

void epoch_truncate_end(struct epoch_cache *cache, log_offset end);      /* entries that start at or behind it go          */
void epoch_truncate_start(struct epoch_cache *cache, log_offset start);  /* those before become one that starts there      */
void epoch_check(const struct epoch_cache *cache);
