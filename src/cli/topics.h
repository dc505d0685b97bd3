/* cli/topics.h - kafka-topics.sh: what describes a topic, and the lines that it is told in. */
#pragma once
#include "cli/args.h"
#include "meta/meta.h"
#include "wire/api.h"

int topics_run(struct args *args);

/* A topic as Metadata, DescribeTopicPartitions, DescribeConfigs and ListPartitionReassignments tell of it together. */
struct topic_partition_view {
    int32_t index, leader;                 /* -1: none */
    const int32_t *replicas, *isr, *elr, *last_known_elr, *adding, *removing;
    int32_t replicas_count, isr_count;
    int32_t elr_count, last_known_elr_count; /* -1: not told */
    int32_t adding_count, removing_count;
    bool is_reassigned;
};
struct topic_view {
    struct span name;
    struct uuid id;
    struct topic_partition_view *partitions;
    int32_t partition_count;
    const struct describe_configs_response_describe_configs_resource_result *configs;
    int32_t config_count;
};
/* What --describe is to show. */
struct topic_filter {
    bool overridden, unavailable, under_replicated, under_min_isr, at_min_isr;
    const int32_t *brokers;                /* that are there */
    int32_t broker_count;
};
void topics_print(const struct topic_view *topic, const struct topic_filter *filter, FILE *out);
/* "1:2,2:1" -> replicas of each partition. False: `why` has the sentence. */
must_use bool topics_parse_assignment(const char *text, struct arena *arena,
                                      struct create_topics_request_creatable_replica_assignment **out, int32_t *count, struct text *why);
