/* broker/lag.h - how far committed offsets lie behind: in records and in time, for partitions that live on one shard.
 *
 * A round is a list of items, which its owner keeps until `done`. The high watermark is known at once, of a log that was
 * not opened yet by its checkpoint. How old the next record to be consumed is stands in its batch: the header is read,
 * LAG_PROBES at a time, at most `reads_max` in a round; logs that are closed are opened for it, `opens_max` of them.
 * Nothing is read for an item whose `batch_ms` is known already, or that is not behind.
 */
#pragma once
#include "log/log.h"
#include "wire/batch.h"

struct broker;
struct partition;

enum { LAG_PROBES = 16 };
struct lag_item {
    struct uuid topic_id;
    partition_index partition;
    uint32_t shard;              /* on which it lives; items of others are passed over  */
    log_offset committed;
    log_offset high_watermark;   /* -1: not known */
    time_ms batch_ms;            /* largest timestamp of the batch with the next record; -1: not known */
};
struct lag_round;
struct lag_probe {
    struct lag_round *round;
    struct lag_item *item;       /* NULL: free */
    struct partition *partition;
    struct log_wait opening;
    struct log_read read;
    struct chain chain;
    struct arena arena;
    struct io_op op;
    uint8_t header[BATCH_HEADER_BYTES];
};
struct lag_round {
    struct lag_item *items;
    uint32_t count, first;       /* it begins with items[first] and goes round */
    struct pool *pool;           /* borrows: used on the shard until done */
    uint32_t reads_max, opens_max;
    void (*done)(struct lag_round *round); /* on the shard; once, maybe from within the call */
    /* the round's */
    struct broker *broker;
    struct timer timer;
    uint32_t next, reads, opens, running;
    bool is_over, is_stepping;
    struct lag_probe probes[LAG_PROBES];
};
/* On that shard. */
void lag_round_start(struct lag_round *round, struct broker *broker);
