/* broker/sample.h - what a broker's shard shows to whoever gathers metrics: on that shard, borrowed for the call.
 */
#pragma once
#include "broker/broker.h"
#include "group/group.h"

/* Topics in use on this shard, and topics read over its connections (then only bytes_out is set): a topic may come twice.
 * At most `max` of each kind; answers how many were left out. */
uint64_t broker_sample_topics(const struct broker *broker, uint32_t max, void *context,
                              void (*topic)(void *context, struct uuid id, struct span name, const struct topic_counts *counts));
/* Every group that is coordinated on this shard, and its committed offsets; `max` groups at most. Answers how many were
 * left out. */
uint64_t broker_sample_groups(const struct broker *broker, uint32_t max, const struct group_visitor *visitor);
/* Where a topic's partition lives; false: there is none of that name, or of that id where one is given. */
bool broker_sample_place(const struct broker *broker, struct span topic, struct uuid wanted, partition_index partition, struct uuid *id, uint32_t *shard);
uint32_t broker_sample_fetch_sessions(const struct broker *broker, uint64_t *evicted);
