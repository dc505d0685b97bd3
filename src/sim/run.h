/* sim/run.h - one run of a seed: its settings, its faults, its phases; and what moldau-sim can run.
 *
 * The faults of a run are drawn one after the other from a generator of their own, so that leaving one out (the mask,
 * for shrinking) changes none of the others. Each is carried out by the thing under test's own cluster.
 *
 *     1 faults are on, the invariants are checked after each event, until enough has happened
 *     2 everything is healed and started: it must become live within RUN_LIVE_WITHIN
 *     3 everything is read back and compared
 */
#pragma once
#include "sim/sim.h"

enum fault_kind {
    FAULT_KILL,         /* kill -9 of one                          */
    FAULT_POWER,        /* power cut of one                        */
    FAULT_POWER_ALL,    /* of all at once                          */
    FAULT_DISK_CUT,     /* power cut (or kill) at the n-th operation from now */
    FAULT_CUT_ONE_WAY,  /* of one wire                             */
    FAULT_CUT_NODE,     /* one from all others                     */
    FAULT_SPLIT,        /* in two parts                            */
    FAULT_RESET,        /* of connections                          */
    FAULT_PAUSE,        /* SIGSTOP                                 */
    FAULT_SLOW_WIRE,
    FAULT_CLOCK_STEP, FAULT_CLOCK_RATE,
    FAULT_DISK_FULL, FAULT_DISK_SYNC, FAULT_DISK_WRITE, FAULT_DISK_READ, FAULT_DISK_SLOW,
    FAULT_ROT,
    FAULT_OWN_1, FAULT_OWN_2, FAULT_OWN_3, /* what only the thing under test knows */
    FAULT_KINDS
};
const char *fault_name(enum fault_kind kind);

struct fault {
    uint32_t index;
    enum fault_kind kind;
    uint64_t a, b, c;   /* drawn: to be taken modulo what there is */
    time_ns lasts;      /* until healed or started again           */
};

enum { RUN_FAULTS_MAX = 4096, RUN_SETTINGS_MAX = 48, RUN_MUTATIONS_MAX = 16 };
#define RUN_LIVE_WITHIN (60 * NS_PER_S)

struct run_options {
    uint64_t seed;
    uint64_t events;          /* at least so many in phase 1 */
    uint32_t crashes;         /* crashes and cuts            */
    uint64_t mask[RUN_FAULTS_MAX / 64]; /* faults that are left out */
    const char *mutation;     /* a fault of the program, planted to see that it is caught; NULL: none */
    bool verbose;
};

/* Of a sweep: what the node was at when its n-th operation failed. Each but the last must be met by a whole sweep. */
enum sweep_phase { PHASE_NOT_REACHED, PHASE_START, PHASE_PRODUCE, PHASE_FETCH, PHASE_COMMIT, PHASE_SNAPSHOT, PHASE_STOP, PHASE_OTHER, PHASES };

struct run {
    struct sim *sim;
    const struct run_options *options;
    struct random settings;   /* for drawing settings          */
    struct random faults;     /* for drawing faults            */
    uint32_t faults_drawn, crashes_drawn, faults_limit;
    uint32_t weights[FAULT_KINDS];
    time_ns pause_min, pause_max, lasts_max; /* between faults, of one */
    void (*carry_out)(void *context, const struct fault *fault);
    void *context;
    struct sim_event next_fault;
    bool quiet;               /* no more faults                */
    struct { const char *name; int64_t value; } set[RUN_SETTINGS_MAX];
    uint32_t set_count;
    uint64_t nth;             /* of a sweep: which operation fails, from 1; 0: none, they are only counted */
    uint64_t operations;      /* of a sweep: counted */
    enum sweep_phase phase;   /* of a sweep: when that was */
    uint64_t acknowledged;    /* operations that the thing under test promised, for the report */
};

/* Draws a setting, notes it for the report. */
int64_t run_setting(struct run *run, const char *name, int64_t min, int64_t max);
bool run_chance(struct run *run, const char *name, uint32_t in_percent);
bool run_is_mutated(const struct run *run, const char *mutation);
/* Starts to draw faults by `weights`. */
void run_faults_begin(struct run *run, void (*carry_out)(void *context, const struct fault *fault), void *context);
/* Phase 1 as the options say: runs the world until enough has happened, and stops drawing. False: failed. */
bool run_faults_end(struct run *run);

struct what {
    const char *name;
    const char *about;
    void (*run)(struct run *run);
    const char *const *mutations; /* that it can be planted with; NULL: none */
    bool sweep;                   /* always the same world; the seed says which operation of it fails */
};
extern const struct what sim_whats[];
extern const uint32_t sim_whats_count;
