/* coord/coord_state.h - what coord.c and coord_load.c share: the host's own state. Private to this folder. */
#pragma once
#include "coord/coord.h"

enum {
    COORD_LOAD_BYTES = 1 << 20,
    COORD_DECISION_BYTES = 16 << 20,
    COORD_UNPACKED_BYTES = 64 << 20, /* of one compressed batch */
    COORD_TICKS_MAX = 32,            /* decisions of one coord_tick: the rest is due again at once */
    COORD_PAUSE_MS = 100,            /* before a tick is tried again that could not be written     */
    COORD_RELOAD_MS_MIN = 100,       /* before a load that failed is tried again; doubles ...      */
    COORD_RELOAD_MS_MAX = 30000,     /* ... up to this                                             */
};

struct coord {
    struct coord_options options;
    struct arena arena;              /* owns: one decision's records           */
    enum coord_state state;
    bool deciding;                   /* inside the machine: nothing may be answered now */
    struct list taken;               /* with the machine: being decided, or parked      */
    struct list waiting;             /* completed, for what they saw to be committed; wait_for ascending */
    uint32_t requests;               /* in both lists */
    log_offset applied, committed;
    time_ms tick_not_before;
    /* Loading */
    uint64_t load;                   /* which load this is: answers to older ones are dropped */
    log_offset load_from, load_end;  /* where it began; the log's end when it began           */
    bool read_pending;               /* the log has been asked                                */
    bool read_inside;                /* ... by a call that has not returned yet               */
    bool read_wanted;                /* ask at read_not_before                                */
    time_ms read_not_before, reload_ms;
    enum err failure;                /* ERR_NONE, or why what is at failure_at cannot be read */
    log_offset failure_at;
};

/* Answers everything that was taken, with this error; the machine has been reset. */
void coord_answer_all(struct coord *coord, enum kafka_error error);
/* The machine had no memory for a record that is in the log: it must not go on without it. */
void coord_reload(struct coord *coord, const struct coord_now *now);
void coord_load_begin(struct coord *coord, const struct coord_now *now, log_offset from);
void coord_load_tick(struct coord *coord, const struct coord_now *now);
/* False: it is the answer to a read of a load that is over, or it failed and will be asked again. */
bool coord_load_answered(struct coord *coord, const struct coord_now *now, uint64_t load, enum err err);
/* False: no memory, and the load has begun anew. */
bool coord_load_apply(struct coord *coord, const struct coord_now *now, const struct coord_batch *batch, log_offset base);
/* A read has been applied up to `next`. */
void coord_load_next(struct coord *coord, const struct coord_now *now, log_offset next);
void coord_load_later(struct coord *coord, time_ms when);
/* What is there cannot be read: from the same place again, after a pause that grows. */
void coord_load_failed(struct coord *coord, const struct coord_now *now, enum err err, log_offset at);
/* One event to the machine, and what came of it to the log and to those who wait. */
struct coord_decision coord_decision_begin(struct coord *coord);
void coord_carry_out(struct coord *coord, struct coord_decision *decision, const struct coord_now *now);
void coord_release(struct coord *coord);
