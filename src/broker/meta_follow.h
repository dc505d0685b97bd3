/* broker/meta_follow.h - takes committed metadata from quorum/ and publishes images to the shards, in order. Lives on the
 * control shard. (Snapshots are the controller's to write.)
 *
 * Where a controller of this node follows the same log, its committed versions are what is published: the records are
 * applied once, and both roles hold the same items. It must be the quorum's earlier listener then.
 */
#pragma once
#include "broker/broker.h"
#include "quorum/quorum.h"

struct meta_follow;

struct meta_follow_options {
    struct shard *shard;          /* the control shard */
    struct broker_node *node;
    void (*on_image)(void *context, const struct image *image); /* after it went out; on the control shard */
    void (*on_failed)(void *context, const char *why);          /* the metadata go no further on this node */
    const struct image *(*committed)(void *context);            /* the controller's committed version; NULL: there is no controller */
    void *context;
};
must_use enum err meta_follow_open(struct meta_follow **out, const struct meta_follow_options *options);
struct quorum_listener *meta_follow_listener(struct meta_follow *follow);
const struct image *meta_follow_image(const struct meta_follow *follow); /* the last one; borrows */
void meta_follow_stop(struct meta_follow *follow); /* publishes no more */
void meta_follow_free(struct meta_follow *follow); /* when no publication is on its way; NULL is fine */
