/* log/segment.h - one .log file: the batches from base up to the next segment's base, and what is known about them.
 *
 * Lives on the log's shard. What waits for the disk is done by jobs over values of their own; their findings are put in
 * here when they have ended. Always: written <= size; the file holds whole batches up to `written`.
 */
#pragma once
#include "log/checked.h"
#include "log/index.h"

struct log;
struct segment {
    struct log *log;              /* borrows */
    log_offset base;
    uint64_t size;                /* of all batches, those included that are still in memory                   */
    uint64_t written;             /* of those that are in the file                                             */
    struct io_file *file;         /* owns a count; NULL: closed, or not made yet                               */
    bool made;                    /* the file exists and its name is durable                                   */
    bool unsynced;                /* written to since its last sync                                            */
    bool sealed;                  /* no longer the active one, and it and its indexes are durable              */
    uint64_t allocated;           /* room that was asked for in advance, from the file's start                 */
    time_ns growing_since;        /* ten seconds in which its file grew ...                                    */
    uint32_t grown;               /* ... so many times                                                         */
    uint64_t room;                /* the file's end, if that is behind `written`: zeros, to be written over     */
    uint32_t room_step;           /* by which it grew last                                                     */
    time_ms timestamp_max;        /* of its batches, and the last offset of the first batch that has it;       */
    log_offset timestamp_max_at;  /*   -1: none has one                                                        */
    bool timestamp_known;
    time_ms modified_ms;          /* of the file: stands in for a largest timestamp where there is none        */
    time_ms created_ms;           /* for the roll by time, where batches have no timestamp                     */
    time_ms timestamp_first;      /* of the first batch: -1 none, or not looked up                             */
    bool timestamp_first_known;
    struct index by_offset, by_time;
    uint32_t since_index;         /* bytes since the last entry of the offset index                            */
    uint8_t *txn;                 /* owns: entries of the transaction index, as in its file                    */
    uint32_t txn_bytes, txn_capacity;
    uint32_t txn_filed;           /* bytes of them that are in the file                                        */
    bool txn_known;
    uint8_t *snapshot;            /* owns: producers as of `base`, until they are in their file                */
    uint32_t snapshot_bytes;
    struct checked checked;       /* what of the file may be served as it is                                   */
    uint32_t readers;             /* who needs the file and the indexes to stay                                */
    bool loading;                 /* a job opens the file and loads the offset index                           */
    struct list waiting;          /* of log_read: who waits for that                                           */
    struct list file_node;        /* in the store's list of closable files, the longest unused first           */
    struct list index_node;       /* in the store's list of loaded indexes                                     */
};

/* From a log's pool, zeroed but for the names; NULL: over budget. */
must_use struct segment *segment_new(struct log *log, log_offset base, struct pool *pool, uint32_t index_bytes_max);
void segment_free(struct segment *segment, struct pool *pool);

/* A batch lies at `position` now: index entries as Kafka makes them, the largest timestamp. */
void segment_note_batch(struct segment *segment, uint64_t position, uint32_t size, log_offset last, time_ms timestamp_max, uint32_t index_interval_bytes);
/* False: no memory. */
must_use bool segment_add_txn(struct segment *segment, const void *entry, uint32_t size, struct pool *pool);
/* The largest timestamp goes into the time index when a segment is closed or no longer active. */
void segment_close_time_index(struct segment *segment);
void segment_check(const struct segment *segment);
