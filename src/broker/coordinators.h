/* broker/coordinators.h - the group coordinators of this shard: one for each partition of `__consumer_offsets` that this
 * broker leads and that lives here. Each hosts (coord/) a machine of groups (group/) on its partition's log.
 *
 * A coordinator is made when its partition is first asked for, or at once when the partition was found on disk; requests
 * that come while it loads wait for it, up to LOADING_MAX_MS, and are then answered COORDINATOR_LOAD_IN_PROGRESS.
 */
#pragma once
#include "broker/request.h"
#include "coord/coord.h"
#include "base/hash.h"
#include "group/group.h"

struct broker;
struct coordinators;

/* One group's request on its way into a coordinator. `done` runs once, never from within coordinators_group_call's
 * caller's loop over a list that it changes: it may run from within the call. */
struct group_call {
    struct coord_group_request coord; /* coord.group is filled in but for `error` and `answer` */
    struct list node;                /* waiting for the loading */
    struct coordinator *coordinator;
    void (*done)(struct group_call *call);
};

must_use enum err coordinators_open(struct coordinators **out, struct broker *broker);
void coordinators_close(struct coordinators *coordinators);

/* Where a group lives. NOT_COORDINATOR when the topic or its leader is not there or not here; then the others are not set. */
enum kafka_error coordinators_place(const struct broker *broker, struct span group_id, partition_index *partition, uint32_t *shard);
/* On the partition's shard. */
void coordinators_group_call(struct coordinators *coordinators, partition_index partition, struct group_call *call);
/* The partitions with a coordinator on this shard, one after the other; -1 before the first, and at the end. */
partition_index coordinators_next(const struct coordinators *coordinators, partition_index previous);
/* Every group that is coordinated here, in partitions that are loaded; `max` at most. Answers how many were left out. */
uint64_t coordinators_visit(const struct coordinators *coordinators, uint32_t max, const struct group_visitor *visitor);
/* The image has changed: start what was found on disk and is led here, stop what is led elsewhere. */
void coordinators_follow_image(struct coordinators *coordinators);
/* A topic is gone: its offsets go. */
void coordinators_topic_deleted(struct coordinators *coordinators, struct span name, struct uuid id);
