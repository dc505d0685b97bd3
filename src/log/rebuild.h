/* log/rebuild.h - an index for a job that wants to look something up: from its file, or else made from the segment (L6). */
#pragma once
#include "log/index.h"

struct rebuild {
    struct io_files files;
    struct pool *pool;            /* borrows: what is made lives in it            */
    const char *folder;
    log_offset base;              /* of the segment                               */
    uint64_t size;                /* of its batches that are in the file          */
    uint32_t interval;            /* index.interval.bytes                         */
    uint32_t entries;             /* that must be in the index's file; UINT32_MAX: all that are */
    bool anew;                    /* what the file says is known to be wrong      */
    bool rebuilt;                 /* the answer: it was made anew                 */
};
/* The index is initialised here, and freed by the caller whatever the answer. When all of a file was asked for and it had
 * to be made anew, it is written back. */
must_use enum err rebuild_index(struct rebuild *rebuild, enum index_kind kind, struct index *out);

/* True: the batch at the entry's position ends at the entry's offset. */
bool rebuild_entry_fits(struct rebuild *rebuild, struct io_file *file, struct index_entry entry);

/* The same for an entry of the time index, whose batch is looked for from `position` on. */
bool rebuild_time_fits(struct rebuild *rebuild, struct io_file *file, struct index_entry entry, uint64_t position);

struct timestamp { time_ms time; log_offset offset; }; /* (-1, -1): none */
/* The largest timestamp in a segment and the last offset of the first batch that has it: the time index's last entry, or
 * a later one behind what the indexes know, where the batches are verified: ERR_CORRUPT, with what is known up to there. */
must_use enum err rebuild_largest_timestamp(struct rebuild *rebuild, struct io_file *file, struct timestamp *out);
