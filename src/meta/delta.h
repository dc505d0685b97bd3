/* meta/delta.h - from version to version: a record of the metadata log is applied to a version that is being built.
 *
 * A delta starts at a version and takes records one by one; what it has become can be had as a version at any time,
 * cheaply. Records between BeginTransaction and EndTransaction are applied at once, but delta_visible answers the
 * version from before the transaction until it has ended; AbortTransaction goes back to it.
 * An apply that fails leaves the delta as it was: the log does not fit the state (fatal for a node), or the budget is
 * spent. Encoded records have Kafka's frame: version 1, type, version, message.
 */
#pragma once
#include "meta/image.h"

struct delta;

/* Shares `base`. NULL: over budget. */
must_use struct delta *delta_new(struct pool *pool, const struct image *base);
/* At a version that was reached inside of a transaction: `visible` is what delta_visible answered there. */
must_use struct delta *delta_new_inside(struct pool *pool, const struct image *base, const struct image *visible);
void delta_free(struct delta *delta); /* NULL is fine */

/* The value of one record of the log. `scratch` is used for decoding and can be reset afterwards.
 * ERR_CORRUPT: cannot be read, or contradicts the state (a partition of no topic, ...); ERR_UNSUPPORTED: a type,
 * version or metadata.version that Kafka 4.4 does not know; ERR_NO_MEMORY: over budget. */
must_use enum err delta_apply(struct delta *delta, struct span record, struct arena *scratch);
/* The same from a struct of wire/records.h, by its type id (0 RegisterBroker, 2 Topic, ...). */
must_use enum err delta_apply_message(struct delta *delta, int16_t type, const void *message);
/* The records so far end before `position.offset`. */
void delta_set_position(struct delta *delta, struct image_position position);
/* Snapshots take the place of everything: start from nothing, keep the pool. */
must_use enum err delta_clear(struct delta *delta);

/* The version as it is now, with one count for the caller; NULL: over budget. What `current` shares with the delta
 * stays unchanged in it. */
must_use struct image *delta_current(struct delta *delta); /* transactions that are open included: for the controller */
must_use struct image *delta_visible(struct delta *delta); /* for everybody else */
bool delta_in_transaction(const struct delta *delta);

/* Why the last apply failed: one line; empty if it did not. */
const char *delta_error(const struct delta *delta);

/* ---- Snapshots: the records that make a version, in Kafka's order: features (metadata.version first), brokers and
 * controllers, topics, configs, client quotas, producer ids, ACLs, SCRAM, tokens; at the record versions of the
 * image's metadata.version. What that level cannot say is left out and reported. */
struct snapshot_walk;
/* Holds the image. NULL: over budget. */
must_use struct snapshot_walk *snapshot_walk_new(struct pool *pool, const struct image *image);
void snapshot_walk_free(struct snapshot_walk *walk); /* NULL is fine */
/* The next records' values, at most `max`, encoded into the arena. 0: there are no more; -1: the arena is over budget. */
int32_t snapshot_walk_next(struct snapshot_walk *walk, struct arena *arena, struct span *values, uint32_t max);
/* What was left out so far, a word for each kind of thing; empty: nothing. */
const char *snapshot_walk_lost(const struct snapshot_walk *walk);
