/* log/scan.h - walks the batches of a segment's file, for jobs: recovery, rebuilding of indexes, look-ups, verification.
 *
 * Whole: each batch is brought into memory and its CRC checked. Headers only: the bodies are stepped over,
 * but for those of control batches.
 * What a length field says is believed only as far as the file reaches.
 *
 * A batch's base offset and leader epoch are not covered by its CRC: when `ordered`, they are held against its neighbours. They
 * never fall. After compaction a base offset may leave some out, and epochs rise: then the batch behind must agree, so that
 * the one that is damaged is found, not the next.
 */
#pragma once
#include "wire/batch.h"
#include "io/io.h"

struct scan {
    struct io_files files;
    struct io_file *file;     /* borrows */
    struct pool *pool;        /* borrows */
    uint64_t at;              /* where the next batch begins              */
    uint64_t end;             /* nothing is read from here on             */
    bool whole;
    uint8_t *buffer;          /* owns */
    uint32_t capacity;
    uint64_t buffer_at;       /* where in the file the buffer's bytes lie */
    uint32_t buffer_size;
    uint64_t bytes_read;
    /* For the caller to set, after scan_init. */
    bool ordered;
    log_offset next;          /* behind the batch before; -1: not known   */
    leader_epoch epoch;       /* of the batch before; -1: not known       */
    log_offset bound;         /* all offsets are below it                 */
    log_offset first_last;    /* the first batch's last offset, as an index says; -1: not known */
    leader_epoch first_epoch; /* what its epoch should be; -1: not known. Nobody is blamed by that alone */
    uint64_t file_end;        /* a batch behind may lie up to here        */
};
/* A message of formats 0 and 1 is given as a batch of one record: base offset its own, leader epoch and producer -1. */
struct scan_batch {
    struct batch batch;       /* `bytes` is set when whole, and of control batches; valid until the next call */
    uint64_t position;
    int8_t magic;
};
must_use enum err scan_init(struct scan *scan, struct io_files files, struct io_file *file, uint64_t from, uint64_t end, bool whole, struct pool *pool);
void scan_free(struct scan *scan);
/* ERR_NOT_FOUND: `at` is the end. ERR_CORRUPT: what lies at `at` is no batch, not a whole one, or its CRC is wrong; `at`
 * stays. ERR_IO, ERR_NO_MEMORY. */
must_use enum err scan_next(struct scan *scan, struct scan_batch *out);
/* At `from` there is damage: where does the next whole batch begin, from which the file can be walked to `end`, and at which
 * offset, which is at least `least`? By the damaged one's length if that is right; else byte by byte. ERR_NOT_FOUND: nothing
 * of that kind follows. (Of formats before 2 only by the length.) */
must_use enum err scan_behind(struct io_files files, struct io_file *file, struct pool *pool, uint64_t from, uint64_t end, log_offset least,
                              uint64_t *position, log_offset *base);
