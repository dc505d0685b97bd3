/* log/checkpoint.h - the small text files of a log directory, as Kafka writes them: read from memory, printed to memory.
 *
 *   recovery-point-offset-checkpoint, log-start-offset-checkpoint, replication-offset-checkpoint, cleaner-offset-checkpoint:
 *       0 | count | `topic partition offset` ...
 *   leader-epoch-checkpoint (in a partition's directory):   0 | count | `epoch start` ...
 *   partition.metadata:      `version: 0` | `topic_id: <22 characters>`         (no line end at the end)
 *   .kafka_cleanshutdown:    {"version":0,"brokerEpoch":N}
 *   meta.properties:         Java properties: node.id, directory.id, version, cluster.id
 * (| is a line end.) Read as Kafka reads: any white space between fields, any order of properties; the count must be right.
 * A file that is wrong is an answer that names the line, never more than that: most can be rebuilt from the log.
 */
#pragma once
#include "base/text.h"
#include "base/random.h"
#include "base/err.h"
#include "log/epoch.h"

struct checkpoint_fault {
    uint32_t line;              /* from 1; 0: the file as a whole */
    const char *why;            /* static */
};

/* ---- Offsets of partitions */

struct checkpoint_offset {
    struct span topic;          /* borrows from the parsed bytes */
    partition_index partition;
    log_offset offset;
};
/* Entries live in the arena. An empty file has none, as Kafka has it. ERR_CORRUPT (see fault), ERR_NO_MEMORY. */
must_use enum err checkpoint_offsets_parse(struct span bytes, struct arena *arena, struct checkpoint_offset **entries,
                                           uint32_t *count, struct checkpoint_fault *fault);
size_t checkpoint_offsets_size(const struct checkpoint_offset *entries, uint32_t count); /* room for the final 0 included */
void checkpoint_offsets_print(const struct checkpoint_offset *entries, uint32_t count, struct text *out);
/* For who prints without having an array: first the head, then each line. */
void checkpoint_offsets_head(uint32_t count, struct text *out);
void checkpoint_offsets_line(struct span topic, partition_index partition, log_offset offset, struct text *out);
enum { CHECKPOINT_HEAD_BYTES_MAX = 16, CHECKPOINT_LINE_BYTES_MAX = 249 + 1 + 11 + 1 + 20 + 1 };

/* ---- Leader epochs */

/* Replaces what the cache holds. Entries that contradict each other are dropped as epoch_assign does. */
must_use enum err checkpoint_epochs_parse(struct span bytes, struct epoch_cache *cache, struct checkpoint_fault *fault);
size_t checkpoint_epochs_size(const struct epoch_cache *cache);
void checkpoint_epochs_print(const struct epoch_cache *cache, struct text *out);

/* ---- partition.metadata */

enum { PARTITION_METADATA_BYTES = 11 + 10 + UUID_TEXT_BYTES };
must_use enum err partition_metadata_parse(struct span bytes, struct uuid *topic_id, struct checkpoint_fault *fault);
void partition_metadata_print(struct uuid topic_id, struct text *out);

/* ---- .kafka_cleanshutdown: the epoch is -1 when the file says none (Kafka then has none, too, and starts). */

broker_epoch clean_shutdown_parse(struct span bytes);
void clean_shutdown_print(broker_epoch epoch, struct text *out);

/* ---- meta.properties */

enum { CLUSTER_ID_BYTES_MAX = 63, META_PROPERTIES_BYTES_MAX = 512 };
struct meta_properties {
    int32_t version;                          /* 1; 0 is of ZooKeeper's time                                        */
    broker_id node;                           /* -1: not there                                                      */
    struct uuid directory;                    /* zero: not there                                                    */
    char cluster_id[CLUSTER_ID_BYTES_MAX + 1];/* "": not there                                                      */
};
/* Version 1 must name node and cluster. ERR_CORRUPT; ERR_UNSUPPORTED: a later version. */
must_use enum err meta_properties_parse(struct span bytes, struct meta_properties *out, struct checkpoint_fault *fault);
void meta_properties_print(const struct meta_properties *meta, time_ms now_ms, struct text *out);
