/* sim/sim_io.h - hosts, processes on them, and the io seam of each simulated shard: no kernel anywhere.
 *
 * A host is a machine: a number, a disk, clocks of its own (the wall clock may step, both may drift), a place in the
 * network. At most one process runs on it; a process has an io, a memory pool and a share of the seed for each of its
 * shards. Each operation takes a time that the seed chooses. When something ends, the world gives the shard a turn.
 *
 * kill -9 and power cuts do not call the program: its operations are forgotten, its sockets closed by the kernel (or not
 * at all), its memory is dropped as a whole. So a process' memory must come from its pools.
 */
#pragma once
#include "io/io.h"
#include "shard/shard.h"
#include "sim/sim_disk.h"
#include "sim/sim_net.h"

struct sim_host;
struct sim_process;

struct sim_timing { /* how long operations take */
    time_ns turn_max;                      /* from a completion to the shard's turn */
    time_ns disk_min, disk_max, sync_max;
    time_ns job_max;
    uint32_t stall_one_in;                 /* a disk operation takes up to stall_max instead; 0: never */
    time_ns stall_max;
};
struct sim_timing sim_timing_default(void);

must_use struct sim_host *sim_host_new(struct sim *sim, struct sim_net *net, uint32_t number, uint64_t disk_bytes);
void sim_host_free(struct sim_host *host);
uint32_t sim_host_number(const struct sim_host *host);
struct sim_disk *sim_host_disk(struct sim_host *host);
struct sim_process *sim_host_process(struct sim_host *host); /* NULL: none runs */
void sim_host_set_timing(struct sim_host *host, const struct sim_timing *timing);
/* The clocks: the wall jumps by `step_ms`; both run `rate_ppm` millionths faster (or slower) from now on. */
void sim_host_clock_step(struct sim_host *host, time_ms step_ms);
void sim_host_clock_rate(struct sim_host *host, int32_t rate_ppm);
/* Files of the host without a process: for formatting and for looking. One user, not counted as a process. */
struct io_files sim_host_files(struct sim_host *host);

/* ---- Processes */
enum { SIM_SHARDS_MAX = 8 };
must_use struct sim_process *sim_process_start(struct sim_host *host, uint32_t shards);
struct io *sim_process_io(struct sim_process *process, uint32_t shard);
struct pool *sim_process_pool(struct sim_process *process, uint32_t shard);
/* Who takes turns when something ended: the shards of a group, or a function for each io. Without either, io_turn runs
 * the world by itself until something ends or the deadline comes, so that a single io works like a real one. */
void sim_process_drive(struct sim_process *process, struct shard_group *group);
void sim_io_drive(struct io *io, void (*turn)(void *context), time_ns (*next_deadline)(void *context), void *context);
/* Asks for a turn soon, as something from outside does. */
void sim_io_nudge(struct io *io);
/* The disk was cut (sim_disk_cut_after): the process does nothing any more, and waits for a kill or a power cut. */
bool sim_process_is_stuck(const struct sim_process *process);
/* kill -9. What the process had allocated from its pools is gone. */
void sim_process_kill(struct sim_process *process);
/* SIGSTOP until then: nothing runs, connections stay. */
void sim_process_pause(struct sim_process *process, time_ns until);
/* After an orderly end: everything was closed and given back, which is asserted. */
void sim_process_end(struct sim_process *process);
/* Power: the process is gone, the disk keeps what it promised, the network forgets the host. */
void sim_host_power_cut(struct sim_host *host, enum sim_crash policy);
void sim_host_power_on(struct sim_host *host);
bool sim_host_has_power(const struct sim_host *host);
