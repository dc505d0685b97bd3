/* log/producer.h - the producers of one partition: what makes a retried batch a duplicate, and a transaction's reach.
 *
 * Of each producer id: its epoch, the last five batches, the coordinator's epoch of its last marker, the first offset of
 * its open transaction. From them: duplicates are answered with the first time's offsets, gaps in the sequence and stale
 * epochs are refused, and the last stable offset is known. Pure over values: no I/O and no clock; a snapshot is bytes.
 *
 * Always: a window's batches are of the current epoch and their offsets rise; a producer has at most one open transaction;
 * first_unstable is the smallest first offset of those that are open, or were ended at or above the high watermark.
 *
 * The file `<offset, 20 digits>.snapshot` is the state of all batches before that offset:
 *   int16 version 1; uint32 CRC-32C of what follows; int32 count; of each producer (46 bytes): int64 id, int16 epoch,
 *   int32 last sequence, int64 last offset, int32 offset delta (last - first of that batch), int64 timestamp, int32
 *   coordinator epoch, int64 first offset of the open transaction (-1: none). Only the last batch survives a restart.
 */
#pragma once
#include "base/containers.h"
#include "log/verify.h"

enum {
    PRODUCER_WINDOW = 5,               /* batches that are remembered                                                */
    PRODUCERS_MAX = 1000000,           /* of a node; beyond, the longest idle ones go, those of the partition first  */
    PRODUCER_SNAPSHOT_HEADER_BYTES = 10,
    PRODUCER_SNAPSHOT_ENTRY_BYTES = 46,
};

/* What all partitions of a shard share; may be NULL in the options: no bound but the pool's. */
struct producer_budget {
    uint32_t count, count_max;
    bool (*make_room)(struct producer_budget *budget); /* others have all: some of theirs go. NULL: none do          */
    uint64_t evicted;
    uint64_t mismatches;               /* retries that were not the same batch (T7)                                  */
};

struct producer_options {
    struct pool *pool;                 /* borrows */
    struct producer_budget *budget;    /* borrows, or NULL */
    time_ms expiration_ms;             /* producer.id.expiration.ms                                                  */
    bool verification;                 /* transaction.partition.verification.enable                                  */
    bool refuse_mismatch;              /* a used sequence with other content: OUT_OF_ORDER_SEQUENCE_NUMBER, not acknowledged */
};

struct producer_state;
must_use struct producer_state *producer_state_new(const struct producer_options *options); /* NULL: over budget */
void producer_state_free(struct producer_state *state);                                       /* NULL is fine     */
/* Its producers count there from now on. */
void producer_budget_set(struct producer_state *state, struct producer_budget *budget);
/* At most so many of the longest idle that have no open transaction go; how many did. */
uint32_t producer_evict(struct producer_state *state, uint32_t most);
void producer_state_clear(struct producer_state *state);      /* as new: before a reload after a truncation         */
void producer_options_set(struct producer_state *state, const struct producer_options *options); /* same pool and budget */

/* ---- Append */

struct producer_append {
    const struct batch *batch;         /* borrows: with its bytes, and the base offset that it gets                  */
    enum log_origin origin;
    uint64_t guard;                    /* of the request, from producer_guard; 0: none                               */
    uint8_t transaction_version;       /* of a marker: from 2 on its epoch must be above the producer's              */
};
struct producer_outcome {
    enum kafka_error kafka_error;      /* with ERR_INVALID                                                           */
    bool duplicate;                    /* nothing is to be appended; the first time's: */
    log_offset base, last;
    time_ms timestamp;
    bool mismatch;                     /* the sequence was used before, by a batch with other content (T7)            */
};
/* A transaction that a marker has ended. */
struct producer_ended {
    producer_id producer;
    log_offset first, last;            /* of its first batch; of the marker                                          */
    log_offset stable;                 /* for the transaction index: no offset below it was undecided then           */
    bool aborted;
};

/* The duplicates' test: same epoch and sequences as one of the window. It is the same batch if the CRC is the same, or
 * else (clients may compress a retry anew, and stamping times changes the CRC) count and timestamps are.
 *
 * Would this batch be taken? Batches without a producer id always are. Reserves what producer_apply needs, so that this one
 * cannot fail. ERR_NONE (look at `duplicate`), ERR_INVALID (kafka_error), ERR_NO_MEMORY. LOG_FROM_LEADER: never refused. */
must_use enum err producer_check(struct producer_state *state, const struct producer_append *append, struct producer_outcome *out);
/* It is appended: after a producer_check of the same batch that said so, with no other in between. True: a marker ended
 * a transaction that had data; if aborted, it is for the transaction index. */
bool producer_apply(struct producer_state *state, const struct producer_append *append, struct producer_ended *ended);
/* Both, for batches that lie in the log already (recovery, reload): as LOG_FROM_LEADER. *did says what producer_apply says. */
must_use enum err producer_replay(struct producer_state *state, const struct batch *batch, struct producer_ended *ended, bool *did);

/* ---- Transactions */

/* -1: none. The last stable offset is min(this, high watermark) where it is not -1. */
log_offset producer_first_unstable(const struct producer_state *state);
log_offset producer_first_open(const struct producer_state *state);           /* of those without a marker; -1: none */
/* Ended transactions whose marker lies below it are decided for good. */
void producer_high_watermark(struct producer_state *state, log_offset high_watermark);
/* The log start moved up: transactions that end below it are no longer undecided. */
void producer_log_start(struct producer_state *state, log_offset start);
bool producer_has_open(const struct producer_state *state, producer_id producer, int16_t epoch);
/* The last timestamp of the producer whose transaction is open for longest; -1: none is. For the late transactions' metric. */
time_ms producer_oldest_open_timestamp(const struct producer_state *state);
/* Before the coordinator is asked whether the partition is in the transaction: what the append has to show then. 0 and
 * ERR_NONE: the transaction is open already, nothing to ask. Made anew after each marker. */
must_use enum err producer_guard(struct producer_state *state, producer_id producer, int16_t epoch, int32_t sequence,
                                 bool epoch_bumps, time_ms now_ms, uint64_t *guard);

/* ---- Expiry and a look inside */

/* Producers without an open transaction whose last timestamp is that old, and guards. Answers how many went. */
uint32_t producer_expire(struct producer_state *state, time_ms now_ms, time_ms expiration_ms); /* which holds from now on */
uint32_t producer_count(const struct producer_state *state);
struct producer_view {
    producer_id producer;
    int16_t epoch;
    int32_t last_sequence;             /* -1: none */
    log_offset last_offset;            /* of the last data batch; -1: none */
    time_ms last_timestamp;
    int32_t coordinator_epoch;         /* -1: none */
    log_offset transaction_first;      /* -1: none is open */
};
/* In the order of last use, the longest idle first; a non-zero answer of `see` stops. */
int producer_each(const struct producer_state *state, int (*see)(void *context, const struct producer_view *view), void *context);
bool producer_find(const struct producer_state *state, producer_id producer, struct producer_view *out);
/* Compaction: does the batch hold its producer's last sequence, so that it must stay even when empty? */
bool producer_batch_is_last(const struct producer_state *state, const struct batch *batch);

/* ---- Snapshot */

size_t producer_snapshot_bytes(const struct producer_state *state);
void producer_snapshot_write(const struct producer_state *state, uint8_t *target); /* exactly so many bytes */
/* Replaces what there is; producers that are expired at now_ms are left out. ERR_CORRUPT: not a whole snapshot of version 1
 * (the state is empty then); ERR_NO_MEMORY. */
must_use enum err producer_snapshot_read(struct producer_state *state, struct span bytes, time_ms now_ms);
/* From memory alone, for dumps: entry i. */
must_use enum err producer_snapshot_count(struct span bytes, uint32_t *count);      /* checks everything */
void producer_snapshot_entry(struct span bytes, uint32_t index, struct producer_view *out, int32_t *offset_delta);

void producer_check_state(const struct producer_state *state); /* asserts every invariant */
struct text;
void producer_text(const struct producer_state *state, struct text *out); /* a line for each producer */
