/* quorum/calls.h - what the files of messages share: the one topic with the one partition that all of them are about. */
#pragma once
#include "quorum/host.h"

#define METADATA_TOPIC SPAN_LITERAL("__cluster_metadata")
static const struct uuid METADATA_TOPIC_ID = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

static_assert((int)RAFT_NOT_LEADER_OR_FOLLOWER == (int)KAFKA_NOT_LEADER_OR_FOLLOWER, "raft's errors are Kafka's");
static_assert((int)RAFT_INVALID_VOTER_KEY == (int)KAFKA_INVALID_VOTER_KEY, "raft's errors are Kafka's");
static_assert((int)RAFT_DUPLICATE_VOTER == (int)KAFKA_DUPLICATE_VOTER, "raft's errors are Kafka's");
static_assert((int)RAFT_VOTER_NOT_FOUND == (int)KAFKA_VOTER_NOT_FOUND, "raft's errors are Kafka's");
static_assert((int)RAFT_INCONSISTENT_CLUSTER_ID == (int)KAFKA_INCONSISTENT_CLUSTER_ID, "raft's errors are Kafka's");
static_assert((int)RAFT_SNAPSHOT_NOT_FOUND == (int)KAFKA_SNAPSHOT_NOT_FOUND, "raft's errors are Kafka's");
static_assert((int)RAFT_POSITION_OUT_OF_RANGE == (int)KAFKA_POSITION_OUT_OF_RANGE, "raft's errors are Kafka's");
static_assert((int)RAFT_FENCED_LEADER_EPOCH == (int)KAFKA_FENCED_LEADER_EPOCH, "raft's errors are Kafka's");
static_assert((int)RAFT_INVALID_UPDATE_VERSION == (int)KAFKA_INVALID_UPDATE_VERSION, "raft's errors are Kafka's");

static inline bool is_metadata(struct span topic) { return span_equal(topic, METADATA_TOPIC); }

/* One topic, one partition, and that is the metadata's. */
#define ONE_PARTITION(message, field) \
    ((message)->topics_count == 1 && is_metadata((message)->topics[0].field) && (message)->topics[0].partitions_count == 1)

/* A response of topics with one partition: makes both, and leaves `part` at the partition. NULL: no memory. */
#define ONE_PART(response, type, part_type, part)                                           \
    struct part_type *part = NULL;                                                          \
    do {                                                                                    \
        (response)->topics = type##_array(arena, 1);                                        \
        part = part_type##_array(arena, 1);                                                 \
        if (!(response)->topics || !part) return NULL;                                      \
        (response)->topics_count = 1;                                                       \
        (response)->topics[0].partitions = part;                                            \
        (response)->topics[0].partitions_count = 1;                                         \
    } while (0)
