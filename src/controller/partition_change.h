/* controller/partition_change.h - one change of one partition: given a wanted ISR (or replicas, or an election), what the
 * record must say: is a reassignment complete, who is eligible, who leads, which epochs rise.
 */
#pragma once
#include "controller/decide.h"

enum election {
    ELECT_ONLINE,      /* keep it online: from the ISR, or the ELR when that is empty               */
    ELECT_PREFERRED,   /* the first replica if it may lead                                          */
    ELECT_UNCLEAN,     /* anybody, rather than nobody: records may be lost                          */
};

struct broker_list { broker_id *ids; uint32_t count; };

struct partition_change {
    struct decide *d;
    const struct image_topic *topic;
    const struct image_partition *was;
    enum election election;
    struct broker_list isr, replicas, removing, adding, elr;
    int8_t recovery;
    uint32_t isr_min;                        /* what makes the ELR empty        */
    bool elr_on;
    broker_id remove, add, unclean;          /* -1: nobody; as in struct sweep  */
    broker_id assign;                        /* whose replica moves; -1: nobody */
    struct uuid directory;                   /* to where                        */
};

/* What a topic says about its partitions' leaders; asked once for many of them. */
struct topic_rules { uint32_t isr_min; bool unclean; };
struct topic_rules topic_rules(const struct decide *d, const struct image_topic *topic);

/* Wants nothing yet: everything as it is, ELECT_ONLINE (or _UNCLEAN if the topic allows it and `by_rules`). */
void partition_change_init(struct partition_change *change, struct decide *d, const struct image_topic *topic,
                           const struct image_partition *was, const struct topic_rules *rules, bool by_rules);
/* The wanted ISR is the one there is, without those two. */
void partition_change_shrink(struct partition_change *change, broker_id one, broker_id other);
/* True: *out is the record, not added yet. False: nothing changes. Its lists live in d->arena. */
bool partition_change_build(struct partition_change *change, struct partition_change_record *out);
void partition_change_add(struct decide *d, const struct partition_change_record *record);

bool broker_list_contains(struct broker_list list, broker_id id);
struct broker_list broker_list_copy(struct decide *d, struct image_ids ids, uint32_t room);
