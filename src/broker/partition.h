/* broker/partition.h - glue of one partition's log and its replica machine; the only caller of both.
 *
 * Lives on the shard that its topic id and index hash to, made on first use and dropped when the metadata no longer give
 * it to this broker. An idle partition is an entry in the image and nothing else.
 *
 * The way of a Produce: partition_produce -> verify -> log_append -> replica APPENDED -> (turn's end: written, synced)
 * -> durable -> replica DURABLE -> high watermark -> what waited for it is answered at this turn's end.
 * Whatever ends asynchronously calls the item's `done`, exactly once and never from within the call that began it,
 * unless the call says that it is over at once.
 */
#pragma once
#include "base/containers.h"
#include "log/log.h"
#include "replica/replica.h"
#include "wire/api.h"
#include "wire/errors.h"

struct broker;
struct topic_entry;

struct partition {
    struct map_node node;           /* in broker->partitions, by topic id and index */
    struct broker *broker;
    struct topic_entry *topic;      /* counted: name, id, config */
    partition_index index;
    struct log *log;                /* owns */
    struct log_owner log_owner;
    struct replica_leader leader;
    struct purgatory_place place;
    struct list changed;            /* in broker->partitions_changed: the turn's end looks at it */
    struct log_dir *dir_told;       /* to the controller; NULL: not yet */
    struct list unassigned;         /* in broker->assigning.wanted */
    struct log_wait deleting;
    struct list internal;           /* who hosts a coordinator here: partition_listener.node */
    leader_epoch epoch;             /* as told to the log and the machine; -1: not yet */
    enum kafka_error unusable;      /* KAFKA_KAFKA_STORAGE_ERROR once the log has failed */
    bool may_open_again;            /* the next request tries it */
    uint32_t waiting;               /* items that wait on the log's opening */
    bool is_deleting;
    bool damage_told, cut_told, recovery_told; /* to the operator, once */
};

/* Who wants to hear what happens to a partition on its own shard: the coordinators. */
struct partition_listener {
    struct list node;
    void (*high_watermark)(struct partition_listener *listener, log_offset offset);
    void (*gone)(struct partition_listener *listener); /* leadership lost, deleted, or the log failed */
};
void partition_listen(struct partition *partition, struct partition_listener *listener);

/* The partition of this broker and shard, made when the image says that this broker leads it. Else NULL, and why:
 * UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER, KAFKA_KAFKA_STORAGE_ERROR. */
struct partition *partition_get(struct broker *broker, struct uuid topic_id, partition_index index, enum kafka_error *why);
/* Only if it is in use. */
struct partition *partition_find(struct broker *broker, struct uuid topic_id, partition_index index);
/* Its topic's settings are others now: they hold at once. */
void partition_settings(struct partition *partition);
/* The broker ends: the log is the store's to close. */
void partition_forget(struct partition *partition);
/* Which shard a partition lives on. */
uint32_t partition_shard(const struct broker *broker, struct uuid topic_id, partition_index index);

/* ---- One partition's part of a Produce */
struct produce_item {
    struct list node;                    /* the handler's or the partition's */
    struct partition *partition;
    struct uuid topic_id;
    partition_index index;
    uint8_t *data;                       /* records as they were received: written to (offsets, epoch) */
    uint32_t size;
    struct slab *slab;                   /* borrows */
    int16_t acks;
    time_ms timeout_ms;
    bool idempotent_only;                /* no transactional batches: refused */
    struct arena *arena;                 /* for errors in words; travels with the share */
    struct produce_response_partition_produce_response *out;
    void (*done)(struct produce_item *item);
    struct offset_wait wait;
    struct log_wait opening;
};
/* True: it is over, `out` is filled, `done` is not called. */
bool partition_produce(struct produce_item *item);

/* ---- One partition's part of a Fetch */
enum fetch_isolation { FETCH_UNCOMMITTED, FETCH_COMMITTED };
struct fetch_item {
    struct partition *partition;
    struct uuid topic_id;
    partition_index index;
    log_offset from;
    leader_epoch current_epoch, last_fetched_epoch; /* -1: not given */
    broker_id replica;                              /* -1: a consumer */
    enum fetch_isolation isolation;
    uint32_t bytes_max;
    bool min_one;
    bool bytes_are_negative;                        /* as asked: what would be read is refused instead               */
    struct arena *arena;                            /* travels with the share */
    struct chain records;
    struct fetch_response_partition_data *out;      /* error, ends, aborted transactions; records.chain = &records */
    void (*done)(struct fetch_item *item);
    struct log_read read;
    struct log_wait opening;
    struct log_aborted_list aborted;
    struct replica_offset at;                       /* where it reads, for waiting */
    bool is_refused;                                /* an error is the answer */
};
/* True: it is over. */
bool partition_fetch(struct fetch_item *item);

/* ---- Offsets: by timestamp, by leader epoch */
struct offset_item {
    struct partition *partition;
    struct uuid topic_id;
    partition_index index;
    leader_epoch current_epoch;
    time_ms timestamp;                   /* or of what epoch the end is asked */
    leader_epoch of_epoch;               /* >= -1 with by_epoch */
    bool by_epoch;
    bool is_replica;
    enum fetch_isolation isolation;
    /* the answer */
    enum kafka_error error;
    log_offset offset;
    time_ms found_timestamp;
    leader_epoch epoch;
    void (*done)(struct offset_item *item);
    struct log_lookup lookup;
    struct log_wait opening;
};
bool partition_offset(struct offset_item *item);

/* The metadata changed: leadership, replicas, configs. Drops the partition when it is no longer ours. */
void partition_follow_image(struct partition *partition);
/* The topic is gone: the files go. */
void partition_delete(struct partition *partition);

/* For the broker's turn: the ends moved, so the machine is stepped and what waited is woken. */
void partition_settle(struct partition *partition);
void produce_item_woken(struct produce_item *item, enum purgatory_outcome outcome);
bool partition_is_key(const struct map_node *node, const void *key);

/* For coordinators, whose log is open: an append of their own batch; *end is then the log's end. */
enum kafka_error partition_append(struct partition *partition, uint8_t *bytes, uint32_t size, struct slab *slab, int32_t coordinator_epoch,
                                  log_offset *end);
/* Takes up leadership as the image says. Not NONE: not the leader. */
enum kafka_error partition_lead(struct partition *partition);
/* What clients are told of an error of the log. */
enum kafka_error partition_log_error(enum err err);
/* handle_fetch.c: a waiting Fetch's part on this shard was woken. */
void fetch_share_woken(struct fetch_wait *wait, enum purgatory_outcome outcome);
