/* meta/image_inner.h - a version from the inside: for image.c and delta.c alone. */
#pragma once
#include "meta/image.h"
#include "meta/tree.h"

/* The primary place of a topic is the tree by id; by name there is only this. */
struct image_name {
    _Atomic uint32_t refs;
    uint32_t bytes;
    struct uuid id;
    struct span name;
};

struct image {
    _Atomic uint32_t refs;
    struct pool *pool;          /* borrows */
    struct image_position position;
    struct tree names;          /* struct image_name       */
    struct tree topics;         /* struct image_topic      */
    struct tree brokers;        /* struct image_broker     */
    struct tree controllers;    /* struct image_controller */
    struct tree features;       /* struct image_feature    */
    struct tree configs;        /* struct image_config     */
    struct tree quotas;         /* struct image_quota      */
    struct tree acls;           /* struct image_acl        */
    struct tree scrams;         /* struct image_scram      */
    struct tree tokens;         /* struct image_token      */
    uint64_t partition_count;
    producer_id next_producer_id;
    int16_t metadata_version;
    int8_t zk_migration_state;
};

extern const struct tree_kind kind_name, kind_topic, kind_partition, kind_broker, kind_controller, kind_feature,
    kind_config, kind_quota, kind_acl, kind_scram, kind_token;

/* All trees of a version with their kinds: what is done to each of them is done in a loop. */
enum { IMAGE_TREES = 10 };
struct tree *image_tree(struct image *image, uint32_t i, const struct tree_kind **kind);

/* A version with the same content, one count for the caller. */
must_use struct image *image_copy(const struct image *image);

static inline struct tree topic_tree(const struct image_topic *topic) {
    return (struct tree){.root = topic->partitions, .count = topic->partition_count};
}
static inline size_t partition_ids(const struct image_partition *p) {
    return (size_t)p->replicas + (p->isr_is_replicas ? 0 : p->isr) + p->removing + p->adding + p->elr + p->last_known_elr;
}
static inline size_t partition_bytes(const struct image_partition *p) {
    return sizeof *p + partition_ids(p) * sizeof(broker_id) + (p->has_directories ? p->replicas * sizeof(struct uuid) : 0);
}
