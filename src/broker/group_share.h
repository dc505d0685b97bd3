/* broker/group_share.h - one group's part of a request: a share that travels to the shard on which the group's partition of
 * `__consumer_offsets` lives, and into its coordinator. */
#pragma once
#include "broker/coordinators.h"
#include "broker/fanout.h"

struct group_share {
    struct share share;
    struct group_call call;
    partition_index partition;
};

/* NULL: the request has been refused (over budget). The caller fills in the body of call.coord.group. */
struct group_share *group_share_new(struct request *request, enum group_request_type type);
/* Sends it to where its group lives; a group that does not live here is answered at once. Between fanout_begin and
 * fanout_sent. */
void group_share_send(struct request *request, struct group_share *share, struct span group_id);
