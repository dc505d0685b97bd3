/* sim/sim.h - the world of a simulation: one seed, one virtual clock, one queue of events, one thread.
 *
 * Everything that happens is an event with a virtual time; events of the same time run in an order that the seed
 * decides. What an event does is noted: the notes are folded into a 64-bit hash chain, so that two runs of a seed can be
 * compared, and the last of them are kept, so that a failure can be told. Nothing decides by an address, by the real
 * clock, or by memory that was not written.
 *
 * On top: sim_disk (what a power cut leaves), sim_net (connections between hosts), sim_io (hosts, processes and the io
 * seam on both), cluster and the programs of moldau-sim.
 */
#pragma once
#include "base/containers.h"
#include "base/random.h"
#include "base/text.h"

struct sim;

/* Lives inside its owner. Scheduled at most once at a time. */
struct sim_event {
    void (*run)(struct sim *sim, struct sim_event *event);
    time_ns at;
    uint64_t tie;
    uint32_t index; /* the queue's; 0: not scheduled */
};

enum { SIM_NOTES_KEPT = 256, SIM_NOWHERE = UINT32_MAX };

struct sim_counters {
    uint64_t events;  /* that ran                                            */
    uint64_t notes;   /* of what they did                                    */
    uint64_t crashes; /* power cuts and kills                                */
    uint64_t cuts;    /* of the network: partitions, resets, half-open peers */
    uint64_t faults;  /* of disks: errors, full, rot                         */
    uint64_t lost;    /* those after which written data may be gone: syncs   */
};

must_use struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *sim); /* after everything that stands on it */

uint64_t sim_seed(const struct sim *sim);
struct pool *sim_pool(struct sim *sim);     /* the world's own memory, without a limit          */
struct random *sim_random(struct sim *sim); /* the world's decisions: for what steps it         */
uint64_t sim_fork_seed(struct sim *sim);    /* for a part with a generator of its own           */
time_ns sim_now(const struct sim *sim);     /* true time: since the beginning of the simulation */
struct sim_counters *sim_count(struct sim *sim);

/* ---- Events */
void sim_at(struct sim *sim, struct sim_event *event, time_ns at, void (*run)(struct sim *, struct sim_event *));
void sim_cancel(struct sim *sim, struct sim_event *event); /* not scheduled: fine */
static inline bool sim_is_scheduled(const struct sim_event *event) { return event->index != 0; }
/* Runs the next event. False: there is none, or the run has failed. */
bool sim_step(struct sim *sim);
/* When the next event runs; INT64_MAX: there is none. */
time_ns sim_next(const struct sim *sim);
/* Runs what happens up to and including `until`; time stands there afterwards. False: the run has failed. */
bool sim_run_until(struct sim *sim, time_ns until);
/* Steps until `is_done` says so. False: not within `within` of virtual time, or nothing is left to happen. */
bool sim_run_while_not(struct sim *sim, bool (*is_done)(void *context), void *context, time_ns within);
/* Called after every event, for those who watch from outside. NULL: nobody. */
void sim_watch(struct sim *sim, void (*after_event)(struct sim *sim, void *context), void *context);

/* ---- What happened: `what` and `where` (a host's number or SIM_NOWHERE) and two numbers that say more. The text of
 * `what` must live for ever: a literal. Every note goes into the hash. */
void sim_note(struct sim *sim, const char *what, uint32_t where, uint64_t a, uint64_t b);
uint64_t sim_hash(const struct sim *sim);
void sim_hash_bytes(struct sim *sim, const void *data, size_t size); /* content, where it matters */
/* Every note is printed as it is made. */
void sim_set_verbose(struct sim *sim);
/* More to read, when verbose; no part of the hash. */
void sim_say(struct sim *sim, uint32_t where, const char *format, ...) printf_like(3, 4);
/* The notes that are kept, oldest first, a line each. */
void sim_notes_print(const struct sim *sim, void (*line)(void *context, const char *text), void *context);

/* ---- The verdict: the first broken invariant ends the run. */
void sim_fail(struct sim *sim, const char *invariant, const char *format, ...) printf_like(3, 4);
bool sim_has_failed(const struct sim *sim);
const char *sim_failure(const struct sim *sim); /* "L7: acknowledged at 40, lost" */
/* Like an assertion about the part under test, not about the simulator. */
#define SIM_CHECK(sim, fact, invariant, ...) ((fact) ? (void)0 : sim_fail((sim), (invariant), __VA_ARGS__))
