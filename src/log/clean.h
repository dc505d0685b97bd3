/* log/clean.h - compaction: of each key the last record stays. The work on files, for a job; who may be cleaned and when is
 * log/cleaner.c's.
 *
 * One cleaning: read the dirty part (from `dirty` up to `bound`) into a map of each key's last offset, as far as the map has
 * room; then copy all segments from the log's first up to there, group by group, into one new segment each
 * (`<base>.log.cleaned` and its indexes), leaving out what the map says is superseded. The files that are there are not
 * touched: the caller swaps them afterwards.
 *
 * What stays, batch by batch, is Kafka's rule:
 * - a record behind the map's last offset; else one with a key, if it is the key's last, and has a value or its batch's
 *   delete horizon has not passed. A record without a key goes.
 * - the horizon: the first cleaning that meets a tombstone or a marker without data writes now + delete.retention.ms into
 *   the batch; a later one, after that time, drops it.
 * - records of aborted transactions go; their marker when none is left and the horizon has passed. The marker of a committed
 *   one likewise.
 * - an emptied batch stays as a header if it holds its producer's last sequence, or ends at the high watermark.
 * Offsets never change; a batch keeps its base and last offset whatever it loses. Formats 0 and 1: a message stays or goes
 * as a whole; a compressed one that loses a part is written as format 2.
 */
#pragma once
#include "log/clean_map.h"
#include "log/index.h"
#include "log/index_txn.h"
#include "log/scan.h"
#include "base/containers.h"
#include "wire/batch_old.h"

struct clean_segment {
    log_offset base, next;        /* of the segment behind it                                   */
    uint64_t size;
    uint32_t index_bytes;         /* of its largest index, about                                */
    time_ms modified_ms, timestamp_max; /* -1: not known                                        */
    uint8_t *txn;                 /* owns, in the cleaning's pool: its aborted transactions ...  */
    uint32_t txn_bytes;
    bool txn_read;                /* ... or they are in its file                                */
};
/* A producer's last batch, which must outlive its records. In the order of the ids. */
struct clean_producer {
    producer_id producer;
    int16_t epoch;
    log_offset last_offset;       /* -1: it has written markers only: then the epoch counts     */
};
/* What became of a group of segments. */
struct clean_group {
    uint32_t first, count;        /* of the cleaning's segments                                 */
    log_offset base;
    uint64_t size;
    time_ms timestamp_max, modified_ms, timestamp_first; /* -1: none */
    log_offset timestamp_max_at;
};
enum clean_phase { CLEAN_TRANSACTIONS, CLEAN_MAP, CLEAN_GROUPS, CLEAN_COPY, CLEAN_DONE };

struct clean_txn {
    struct txn_entry entry;
    bool seen;                    /* data of it is still there */
};
struct cleaning {
    /* the caller's */
    struct io_files files;        /* those of the job; set anew at each step                    */
    struct pool *pool;            /* borrows                                                    */
    const char *folder;
    struct clean_segment *segments; /* all of the log, in order, those behind `bound` too (for their transactions) */
    uint32_t count;
    log_offset start, dirty, high_watermark;
    log_offset bound;             /* a segment's base: the first that is not cleaned            */
    const struct clean_producer *producers;
    uint32_t producer_count;
    time_ms now_ms, delete_retention_ms;
    uint32_t segment_bytes, segment_index_bytes, index_interval_bytes;
    struct clean_map map;
    /* the answer */
    struct clean_group *groups;   /* owns */
    uint32_t group_count;
    log_offset end;               /* all before it is clean now                                 */
    uint64_t bytes_read, bytes_written, records_read, records_kept;
    /* the cleaning's */
    enum clean_phase phase;
    uint32_t at, group_at, group_capacity; /* segment that is read; group that is made          */
    struct io_file *source, *target;
    struct scan scan;
    bool scanning;
    struct codecs codecs;
    struct clean_txn *aborted;    /* owns: by first offset */
    uint32_t aborted_count, aborted_capacity, aborted_next;
    struct map open;              /* transactions that were met and whose marker was not        */
    struct index by_offset, by_time;
    uint8_t *buffer;              /* owns: what is not yet in the target                        */
    uint32_t buffered, buffer_bytes, since_index;
    uint8_t *txn;                 /* owns: the target's transaction index                       */
    uint32_t txn_bytes, txn_capacity;
    time_ms legacy_horizon;       /* tombstones of old formats in segments modified after it stay */
};
void clean_init(struct cleaning *cleaning); /* after the caller's part is filled; takes nothing */
void clean_free(struct cleaning *cleaning);

/* Works until about `bytes` were read or written. ERR_AGAIN: there is more to do; ERR_NONE: `groups` and `end` are there, and
 * the new files are on the disk, but for the folder. ERR_CORRUPT: a source is damaged; ERR_LIMIT: one batch has more keys
 * than the map has room for; ERR_NO_SPACE, ERR_NO_MEMORY, ERR_IO. After an error: clean_discard. */
must_use enum err clean_step(struct cleaning *cleaning, uint64_t bytes);
/* Removes what was made. */
void clean_discard(struct cleaning *cleaning);
/* Puts the groups' files in the place of the originals, which become `.deleted`: durable at each step, so that an opening
 * after a crash finds one or the other. */
must_use enum err clean_swap(struct cleaning *cleaning);
