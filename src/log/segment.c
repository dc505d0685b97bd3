#include "log/segment.h"
#include "log/index_txn.h"
#include <string.h>

struct segment *segment_new(struct log *log, log_offset base, struct pool *pool, uint32_t index_bytes_max) {
    struct segment *segment = POOL_NEW(pool, struct segment);
    if (!segment) return NULL;
    segment->log = log;
    segment->base = base;
    segment->timestamp_max = segment->timestamp_max_at = segment->timestamp_first = -1;
    index_init(&segment->by_offset, INDEX_OFFSET, base, index_bytes_max, pool);
    index_init(&segment->by_time, INDEX_TIME, base, index_bytes_max, pool);
    list_init(&segment->waiting);
    list_init(&segment->file_node);
    list_init(&segment->index_node);
    return segment;
}

void segment_free(struct segment *segment, struct pool *pool) {
    if (!segment) return;
    assert(segment->readers == 0);
    assert(!segment->loading);
    list_remove(&segment->file_node);
    list_remove(&segment->index_node);
    io_file_drop(segment->file);
    index_free(&segment->by_offset);
    index_free(&segment->by_time);
    pool_free(pool, segment->txn, segment->txn_capacity);
    pool_free(pool, segment->snapshot, segment->snapshot_bytes);
    pool_free(pool, segment, sizeof *segment);
}

/* As Kafka: the entry is made for the first batch after more than index.interval.bytes, before it is counted itself. A full
 * index, or no memory for an entry, costs a longer walk later and nothing else. */
void segment_note_batch(struct segment *segment, uint64_t position, uint32_t size, log_offset last, time_ms timestamp_max, uint32_t index_interval_bytes) {
    if (timestamp_max > segment->timestamp_max) {
        segment->timestamp_max = timestamp_max;
        segment->timestamp_max_at = last;
    }
    if (segment->since_index > index_interval_bytes) {
        index_add(&segment->by_offset, last, (int64_t)position);
        if (segment->timestamp_max >= 0) index_add_time(&segment->by_time, segment->timestamp_max, segment->timestamp_max_at, false);
        segment->since_index = 0;
    }
    segment->since_index += size;
}

void segment_close_time_index(struct segment *segment) {
    if (segment->by_time.known && segment->timestamp_known && segment->timestamp_max >= 0)
        index_add_time(&segment->by_time, segment->timestamp_max, segment->timestamp_max_at, true);
}

bool segment_add_txn(struct segment *segment, const void *entry, uint32_t size, struct pool *pool) {
    assert(segment->txn_known);
    if (segment->txn_bytes + size > segment->txn_capacity) {
        uint32_t capacity = segment->txn_capacity ? segment->txn_capacity * 2 : 4 * size;
        uint8_t *grown = pool_alloc(pool, capacity);
        if (!grown) return false;
        if (segment->txn_bytes) memcpy(grown, segment->txn, segment->txn_bytes);
        pool_free(pool, segment->txn, segment->txn_capacity);
        segment->txn = grown;
        segment->txn_capacity = capacity;
    }
    memcpy(segment->txn + segment->txn_bytes, entry, size);
    segment->txn_bytes += size;
    return true;
}

void segment_check(const struct segment *segment) {
    assert(segment->written <= segment->size);
    assert(implies(segment->sealed, segment->written == segment->size));
    assert(implies(segment->sealed, !segment->unsynced));
    assert(segment->txn_filed <= segment->txn_bytes || !segment->txn_known);
    assert(segment->txn_bytes % TXN_ENTRY_BYTES == 0);
    index_check(&segment->by_offset);
    index_check(&segment->by_time);
}
