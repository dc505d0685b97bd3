/* log/index_txn.h - aborted transactions of a segment, and which of them a read_committed Fetch must be told.
 *
 * The file `<base offset, 20 digits>.txnindex`, there only if it is not empty: entries of 34 bytes, in the order of their
 * markers: int16 version 0; int64 producer id; int64 first offset; int64 last offset (of the marker); int64 last stable
 * offset when the marker was written. Valid: version 0, last offsets rise, each at or above the segment's base offset.
 */
#pragma once
#include "base/bytes.h"
#include "base/buf.h"
#include "base/err.h"

enum { TXN_ENTRY_BYTES = 34 };
struct txn_entry {
    producer_id producer;
    log_offset first, last, stable;
};
void txn_entry_encode(const struct txn_entry *entry, uint8_t *target);
must_use enum err txn_entry_decode(const uint8_t *source, struct txn_entry *out); /* ERR_UNSUPPORTED: version */

/* Are these the whole entries of a segment that begins at `base`? ERR_CORRUPT else; *good: bytes of the entries before. */
must_use enum err txn_index_check(struct span bytes, log_offset base, size_t *good);
/* Bytes to keep when the log is cut at `offset`: entries whose marker lies below it. */
size_t txn_index_bytes_before(struct span bytes, log_offset offset);

/* Collects those that overlap [from, upto) from the indexes of one segment after the other, the segment of `from` first.
 * Answers true when later segments cannot hold more. */
struct txn_search {
    log_offset from, upto;
    struct arena *arena;        /* borrows: entries live there */
    struct txn_entry *entries;
    uint32_t count, capacity;
    bool complete;
};
void txn_search_init(struct txn_search *search, log_offset from, log_offset upto, struct arena *arena);
/* ERR_CORRUPT: an entry is not valid: rebuild the segment's index; ERR_NO_MEMORY. Sets `complete`. */
must_use enum err txn_search_segment(struct txn_search *search, struct span bytes);
void txn_search_sort(struct txn_search *search); /* by first offset, as a Fetch answer lists them */
