/* broker/broker_rig.h - brokers of one node in the simulator, without quorum, controller and connections, for tests: shards
 * with their stores, log directories, and metadata that the test writes as records. So they can be told what a node
 * never learns from its own controller: that others lead, that others follow, that an epoch has gone by.
 */
#pragma once
#include "broker/broker.h"
#include "broker/partition.h"
#include "broker/topic.h"
#include "wire/records.h"

struct sim;
struct sim_net;
struct sim_host;
struct sim_process;

enum { BROKER_RIG_SHARDS_MAX = 4, BROKER_RIG_DIRS_MAX = 2, BROKER_RIG_ID = 1, BROKER_RIG_EPOCH = 7 };

struct broker_rig {
    struct sim *sim;
    struct sim_net *net;
    struct sim_host *host;
    struct sim_process *process;
    uint32_t shards, dir_count;
    struct pool pool;             /* the test's own: metadata, settings, what is sent and answered */
    struct arena arena;
    struct config_values values;
    struct delta *delta;
    struct uuid dir_ids[BROKER_RIG_DIRS_MAX];
    struct io *ios[BROKER_RIG_SHARDS_MAX];
    struct shard_group *group;
    struct log_dirs *dirs;
    struct log_store *stores[BROKER_RIG_SHARDS_MAX];
    struct broker_node node;
    struct broker *brokers[BROKER_RIG_SHARDS_MAX];
    char traces[1 << 14];         /* every line that was traced */
};
/* Formatted and started, with these lines of configuration (NULL: none); nothing is in the metadata. */
void broker_rig_open(struct broker_rig *rig, uint32_t shards, uint32_t dirs, const char *settings);
void broker_rig_close(struct broker_rig *rig); /* stops; that all memory was given back is asserted */
/* In between: a stop in order, and a start with the metadata as they are, not yet published. */
void broker_rig_stop(struct broker_rig *rig);
void broker_rig_start(struct broker_rig *rig);

/* Turns: so many, until *what, or for a time. */
void broker_rig_turns(struct broker_rig *rig, uint32_t turns);
void broker_rig_until(struct broker_rig *rig, const bool *what);
void broker_rig_for(struct broker_rig *rig, time_ms span);

/* ---- Metadata. What was said reaches the brokers with broker_rig_publish. */
void broker_rig_record(struct broker_rig *rig, int16_t type, const void *record);
/* This broker (in its own life) or another, in an epoch; it is unfenced unless `fenced`. */
void broker_rig_broker(struct broker_rig *rig, broker_id id, bool fenced);
struct uuid broker_rig_topic(struct broker_rig *rig, const char *name);
/* A partition, or what has become of it. `dir` is where this broker's replica shall lie; zero: in the first directory. */
struct rig_partition {
    partition_index index;
    broker_id replicas[4], isr[4], leader;
    uint32_t replica_count, isr_count;
    leader_epoch leader_epoch;
    int32_t partition_epoch;
    struct uuid dir;
};
void broker_rig_partition(struct broker_rig *rig, struct uuid topic, const struct rig_partition *partition);
/* This broker alone, in leader epoch 0. */
void broker_rig_own(struct broker_rig *rig, struct uuid topic, partition_index index);
void broker_rig_publish(struct broker_rig *rig);

/* ---- Data */
struct broker *broker_rig_of(struct broker_rig *rig, struct uuid topic, partition_index index); /* where the partition lives */
struct partition *broker_rig_get(struct broker_rig *rig, struct uuid topic, partition_index index); /* must be usable */
/* One batch, as a producer sends it; the caller drops it. */
struct slab *broker_rig_batch(struct broker_rig *rig, uint32_t records);
/* Its error, or none; *base its offset. Waits for the answer. */
enum kafka_error broker_rig_produce(struct broker_rig *rig, struct uuid topic, partition_index index, int16_t acks, uint32_t records, log_offset *base);
