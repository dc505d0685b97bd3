/* controller/place_replicas.h - where the replicas of new partitions go: racks in turn, brokers of a rack in turn, leaders
 * spread, unfenced brokers before fenced ones; a random start, and a new shuffle whenever every unfenced broker has been a
 * leader once.
 */
#pragma once
#include "base/arena.h"
#include "base/random.h"
#include "meta/meta.h"

struct place_broker {
    broker_id id;
    struct span rack;     /* data NULL: none */
    bool fenced;
};
struct placer;
/* The brokers may hold replicas; NULL: over budget. Lives in the arena, and borrows the random. */
must_use struct placer *placer_new(struct arena *arena, const struct place_broker *brokers, uint32_t count, struct random *random);
uint32_t placer_total(const struct placer *placer);
uint32_t placer_unfenced(const struct placer *placer);
/* The replicas of the next partition, the leader first: `factor` different brokers, 0 < factor <= total, unfenced > 0. */
void placer_next(struct placer *placer, uint32_t factor, broker_id *out);
