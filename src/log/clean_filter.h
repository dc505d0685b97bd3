/* log/clean_filter.h - inside of compaction: what of a batch stays, and the new segment that it goes into. */
#pragma once
#include "log/clean.h"

/* ---- Transactions, as the batches go by in their order. */
/* Begins anew, for another walk. */
void clean_walk_begin(struct cleaning *c);
/* True: the batch may go, as far as transactions are concerned. Of a data batch: it was aborted. Of a marker: nothing of its
 * transaction is left before it; if something is, *kept says which aborted transaction (NULL: it was committed). */
must_use enum err clean_walk_batch(struct cleaning *c, const struct batch *batch, bool *may_go, struct clean_txn **kept);
void clean_walk_end(struct cleaning *c);

/* ---- The new segment of a group. */
must_use enum err clean_target_open(struct cleaning *c, const struct clean_group *group);
must_use enum err clean_target_flush(struct cleaning *c);
/* All of it is on the disk afterwards, but for the folder. */
must_use enum err clean_target_close(struct cleaning *c, struct clean_group *group);
void clean_target_free(struct cleaning *c);

/* Writes what stays of the batch, if anything. */
must_use enum err clean_filter(struct cleaning *c, struct clean_group *group, const struct scan_batch *at, time_ms modified_ms);
