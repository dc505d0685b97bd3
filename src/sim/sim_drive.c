/* The shards of a simulated process, stepped by the world. Apart from sim_io.c: who drives an io alone needs no shards. */
#include "sim/sim_io.h"

static void shard_take_turn(void *context) {
    struct shard *shard = context;
    (void)shard_turn(shard, 0);
    /* A shard wakes only those that sleep in their io, and here nobody does: whoever has got something to do is told. */
    for (uint32_t i = 0; i < shard_count(shard->group); i++) {
        struct shard *other = shard_at(shard->group, i);
        if (other != shard && shard_next_deadline(other) == 0) sim_io_nudge(other->io);
    }
}
static time_ns shard_deadline(void *context) { return shard_next_deadline(context); }

void sim_process_drive(struct sim_process *process, struct shard_group *group) {
    for (uint32_t i = 0; i < shard_count(group); i++)
        sim_io_drive(sim_process_io(process, i), shard_take_turn, shard_deadline, shard_at(group, i));
}
