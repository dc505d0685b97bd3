/* broker/sample.h - what a broker's shard shows to whoever gathers metrics: on that shard, borrowed for the call.
 */
#pragma once
#include "broker/broker.h"

/* Topics in use on this shard, and topics read over its connections (then only bytes_out is set): a topic may come twice.
 * At most `max` of each kind; answers how many were left out. */
uint64_t broker_sample_topics(const struct broker *broker, uint32_t max, void *context,
                              void (*topic)(void *context, struct uuid id, struct span name, const struct topic_counts *counts));
uint32_t broker_sample_fetch_sessions(const struct broker *broker, uint64_t *evicted);
