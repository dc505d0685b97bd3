/* broker/topic.h - what a shard's partitions of one topic share: its name and its settings, read from the image once. */
#pragma once
#include "broker/counts.h"
#include "log/log.h"
#include "meta/meta.h"

struct broker;

struct topic_settings {
    struct log_config log;
    struct verify_rules verify;
    int32_t min_isr;
};

struct topic_entry {
    struct map_node node;  /* in broker->topics, by id */
    uint32_t refs;         /* partitions of it on this shard */
    struct uuid id;
    struct span name;      /* behind this struct */
    size_t bytes;
    struct topic_settings settings;
    struct topic_counts counts;
};

/* NULL: over budget. */
struct topic_entry *topic_entry_hold(struct broker *broker, const struct image_topic *topic);
void topic_entry_drop(struct broker *broker, struct topic_entry *entry);
/* The topic's configs (or those of all brokers) have changed. */
void topic_entry_reload(struct broker *broker, struct topic_entry *entry);
bool topic_entry_is_key(const struct map_node *node, const void *key);
/* Topics that hold the cluster's own state: written by coordinators only, and allowed to use the disk's reserve. */
bool topic_is_internal(struct span name);

/* ---- What was read of topics over this shard's connections: their partitions may live on other shards. */
enum { TOPICS_READ_MAX = 4096 }; /* of more, only the sum is counted */
struct topic_read {
    struct map_node node;  /* in broker->topics_read, by id */
    struct uuid id;
    uint64_t bytes_out;
};
bool topic_read_is_key(const struct map_node *node, const void *key);
void topic_bytes_out(struct broker *broker, struct uuid id, uint64_t bytes);
void topic_read_forget(struct broker *broker, struct uuid id); /* the topic is gone, or is not known */
void topics_read_free(struct broker *broker);
