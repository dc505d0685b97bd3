/* log/checked.h - which ranges of a segment's file are known to be good [L3]: written by this log, or brought in and their
 * batches' CRCs verified, since the file was opened. What is outside of them is verified before a reader gets it.
 *
 * A range stands until somebody may have brought pages in without looking at them: a header's read that was cold (the
 * kernel reads ahead of it), or a send that found a page gone (file_ref.doubts counts those). Then all are forgotten, and
 * the next reads verify again: in memory that costs a fraction of what the send does.
 */
#pragma once
#include "base/buf.h"
#include "io/io.h"

enum { CHECKED_RANGES_MAX = 4 };
struct checked {
    uint32_t doubts;                  /* of the file, when the ranges were noted */
    struct { uint32_t from, to; } ranges[CHECKED_RANGES_MAX]; /* empty: from == to */
};
void checked_clear(struct checked *checked);
/* With more places than there is room for, the smallest range goes. */
void checked_add(struct checked *checked, struct io_file *file, uint64_t from, uint64_t to);
bool checked_holds(struct checked *checked, struct io_file *file, uint64_t from, uint64_t to);

/* What is known of the place where a range begins: see log/scan.h. */
struct checked_order { log_offset next; leader_epoch epoch; log_offset bound; leader_epoch first_epoch; };
/* For jobs: verifies the batches of a file from `from` on, where one begins, until all of [from, upto) is covered; the
 * last may reach beyond `upto`, but not beyond file_end. `order` NULL: nothing is known. *sound: everything before it is good. ERR_CORRUPT: not even the
 * first is; ERR_IO, ERR_NO_MEMORY. */
must_use enum err checked_verify(struct io_files files, struct io_file *file, struct pool *pool, uint64_t from, uint64_t upto,
                                 uint64_t file_end, const struct checked_order *order, uint64_t *sound);
