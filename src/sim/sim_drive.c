/* The shards of a simulated process, stepped by the world. Apart from sim_io.c: who drives an io alone needs no shards. */
#include "sim/sim_io.h"

static void shard_take_turn(void *context) { (void)shard_turn(context, 0); }
static time_ns shard_deadline(void *context) { return shard_next_deadline(context); }

void sim_process_drive(struct sim_process *process, struct shard_group *group) {
    for (uint32_t i = 0; i < shard_count(group); i++)
        sim_io_drive(sim_process_io(process, i), shard_take_turn, shard_deadline, shard_at(group, i));
}
