/* broker/named.h - what a request names more than once: partitions by topic and index, found by sorting, so that it costs
 * n log n however the request is made, and n where it is in order already, as it is when one thing is named again and again.
 *
 * Lives in the request's arena. What is named is added in the request's order; the n-th added has the place n.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/units.h"

struct named_entry { /* by place */
    struct span topic;
    partition_index index;
};
/* Sorted instead of the entries. */
struct named_key {
    uint32_t hash; /* of the topic's name; 0 where the request's own order is taken */
    uint32_t at;   /* the entry's place */
};
/* Where the same partition is named first and last, and where its topic is named first. */
struct named_place {
    uint32_t first, last, topic;
};
struct named {
    struct named_entry *entries;
    struct named_key *keys, *spare;
    struct named_place *places; /* by place, once settled */
    uint32_t count, distinct, capacity; /* distinct: different ones, once settled */
    bool unsorted;
};

must_use bool named_init(struct named *named, struct arena *arena, size_t count_max); /* false: over budget */
void named_add(struct named *named, struct span topic, partition_index index);        /* borrows the name   */
void named_settle(struct named *named);
