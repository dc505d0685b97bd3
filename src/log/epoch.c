#include "log/epoch.h"
#include <string.h>

void epoch_cache_init(struct epoch_cache *cache, struct pool *pool) {
    *cache = (struct epoch_cache){.pool = pool};
}

void epoch_cache_destroy(struct epoch_cache *cache) {
    pool_free(cache->pool, cache->entries, cache->capacity * sizeof *cache->entries);
    epoch_cache_init(cache, cache->pool);
}

void epoch_cache_clear(struct epoch_cache *cache) {
    if (cache->count) cache->changed = true;
    cache->count = 0;
}

static const struct epoch_entry *latest(const struct epoch_cache *cache) {
    return cache->count ? &cache->entries[cache->count - 1] : NULL;
}

static enum err append(struct epoch_cache *cache, struct epoch_entry entry) {
    if (cache->count == EPOCH_ENTRIES_MAX) return ERR_NO_MEMORY;
    if (cache->count == cache->capacity) {
        uint32_t capacity = cache->capacity ? cache->capacity * 2 : 4;
        struct epoch_entry *grown = pool_realloc(cache->pool, cache->entries, cache->capacity * sizeof entry, capacity * sizeof entry);
        if (!grown) return ERR_NO_MEMORY;
        cache->entries = grown;
        cache->capacity = capacity;
    }
    cache->entries[cache->count++] = entry;
    cache->changed = true;
    return ERR_NONE;
}

enum err epoch_assign(struct epoch_cache *cache, leader_epoch epoch, log_offset start) {
    if (epoch < 0 || start < 0) return ERR_INVALID;
    const struct epoch_entry *last = latest(cache);
    if (last && last->epoch == epoch && last->start <= start) return ERR_NONE;
    uint32_t kept = cache->count;
    while (kept && (cache->entries[kept - 1].epoch >= epoch || cache->entries[kept - 1].start >= start)) kept--;
    if (kept < cache->count) { /* there is room then: nothing is lost by a failed allocation */
        cache->count = kept;
        cache->changed = true;
    }
    return append(cache, (struct epoch_entry){epoch, start});
}

leader_epoch epoch_latest(const struct epoch_cache *cache) {
    return cache->count ? latest(cache)->epoch : -1;
}

const struct epoch_entry *epoch_first(const struct epoch_cache *cache) {
    return cache->count ? cache->entries : NULL;
}

/* How many entries have an epoch not above `epoch`, or a start not above `start`: both rise, so both are found by halves. */
static uint32_t count_to_epoch(const struct epoch_cache *cache, leader_epoch epoch) {
    uint32_t low = 0, high = cache->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cache->entries[middle].epoch <= epoch) low = middle + 1;
        else high = middle;
    }
    return low;
}
static uint32_t count_to_start(const struct epoch_cache *cache, log_offset start) {
    uint32_t low = 0, high = cache->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cache->entries[middle].start <= start) low = middle + 1;
        else high = middle;
    }
    return low;
}

leader_epoch epoch_of_offset(const struct epoch_cache *cache, log_offset offset) {
    uint32_t n = count_to_start(cache, offset);
    return n ? cache->entries[n - 1].epoch : -1;
}

leader_epoch epoch_before(const struct epoch_cache *cache, leader_epoch epoch) {
    uint32_t n = epoch > 0 ? count_to_epoch(cache, epoch - 1) : 0;
    return n ? cache->entries[n - 1].epoch : -1;
}

void epoch_end(const struct epoch_cache *cache, leader_epoch epoch, log_offset log_end, leader_epoch *found, log_offset *end) {
    *found = -1;
    *end = -1;
    if (epoch == -1 || !cache->count || epoch > latest(cache)->epoch) return;
    uint32_t n = count_to_epoch(cache, epoch);
    if (n == 0) { /* before all that is known: it ended where the earliest began */
        *found = epoch;
        *end = cache->entries[0].start;
        return;
    }
    *found = cache->entries[n - 1].epoch;
    *end = n == cache->count ? log_end : cache->entries[n].start;
}

void epoch_truncate_end(struct epoch_cache *cache, log_offset end) {
    uint32_t kept = cache->count;
    while (kept && cache->entries[kept - 1].start >= end) kept--;
    if (kept == cache->count) return;
    cache->count = kept;
    cache->changed = true;
}

void epoch_truncate_start(struct epoch_cache *cache, log_offset start) {
    uint32_t n = count_to_start(cache, start);
    if (n == 0 || (n == 1 && cache->entries[0].start == start)) return;
    memmove(cache->entries, cache->entries + n - 1, (cache->count - (n - 1)) * sizeof *cache->entries);
    cache->count -= n - 1;
    cache->entries[0].start = start;
    cache->changed = true;
}

void epoch_check(const struct epoch_cache *cache) {
    assert(cache->count <= cache->capacity);
    for (uint32_t i = 0; i < cache->count; i++) {
        assert(cache->entries[i].epoch >= 0);
        assert(cache->entries[i].start >= 0);
        assert(i == 0 || cache->entries[i - 1].epoch < cache->entries[i].epoch);
        assert(i == 0 || cache->entries[i - 1].start < cache->entries[i].start);
    }
}
