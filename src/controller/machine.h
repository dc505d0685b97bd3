/* controller/machine.h - the machine that coord hosts: it holds the applied version and those on the way to it that are
 * not committed yet, asks the decisions, and does what falls due: sessions that expire, leaders to be balanced, no-op
 * records.
 *
 *     versions:  committed -> ... -> applied      each made by one batch of the log; a batch is committed as a whole
 *
 * Besides a leader's life it follows: batches that are committed by others are applied by machine_follow.
 * Always: the committed version is that of the delivered offset, the last one is what the delta has become.
 */
#pragma once
#include "controller/controller.h"
#include "controller/decide.h"

struct version {
    struct list node;
    log_offset end;             /* all records before it are in */
    struct image *current;      /* owns a count: with what an open transaction has so far */
    struct image *visible;      /* owns a count: without                                  */
    bool in_transaction;
};

struct machine {
    struct pool *pool;          /* borrows */
    struct decide_settings settings;
    struct sessions sessions;   /* while active */
    struct delta *delta;
    struct list versions;       /* struct version, oldest first; never empty */
    leader_epoch epoch;         /* of what is applied now */
    bool broken;                /* a record contradicts the state: nothing can be trusted any more */
    char why[224];

    bool loaded, activated;     /* as leader */
    const struct span *bootstrap; /* borrows */
    uint32_t bootstrap_count;
    struct controller_registration_request registration; /* borrows what it points to: as what this controller registers */
    time_ms idle_since_ms, balance_ms, unclean_ms;
    time_ms idle_interval_ms, balance_interval_ms, unclean_interval_ms; /* 0: never */
    broker_id fencing;          /* in several steps; -1: nobody */
    bool sweep_leaderless;
    log_offset (*log_end)(void *self);  /* where the next record will be */
    void *log;
};

must_use enum err machine_init(struct machine *machine, struct pool *pool, const struct decide_settings *settings);
void machine_destroy(struct machine *machine);
struct coord_machine machine_for_coord(struct machine *machine);

/* Committed, and applied by nobody yet. False: out of memory, or broken. */
must_use bool machine_follow(struct machine *machine, const struct span *values, uint32_t count, struct image_position after);
/* A snapshot is coming: forget everything. */
must_use bool machine_clear(struct machine *machine);
/* One part of a snapshot; the last part makes the version. */
must_use bool machine_load_snapshot(struct machine *machine, const struct span *values, uint32_t count);
must_use bool machine_end_snapshot(struct machine *machine, struct image_position position);
/* All before `offset` is committed and delivered. */
void machine_commit(struct machine *machine, log_offset offset);

struct version *machine_committed(const struct machine *machine);
struct version *machine_applied(const struct machine *machine);
bool machine_knows(int16_t api_key);
void machine_check(const struct machine *machine);
