/* broker/topic.h - what a shard's partitions of one topic share: its name and its settings, read from the image once. */
#pragma once
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
};

/* NULL: over budget. */
struct topic_entry *topic_entry_hold(struct broker *broker, const struct image_topic *topic);
void topic_entry_drop(struct broker *broker, struct topic_entry *entry);
/* The topic's configs (or those of all brokers) have changed. */
void topic_entry_reload(struct broker *broker, struct topic_entry *entry);
bool topic_entry_is_key(const struct map_node *node, const void *key);
/* Topics that hold the cluster's own state: written by coordinators only, and allowed to use the disk's reserve. */
bool topic_is_internal(struct span name);
