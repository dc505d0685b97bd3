/* coord/coord.h - hosts a pure decide/apply machine on a log: groups, transactions, share groups, the controller.
 *
 * A request comes in, the machine decides: records and answers. The records are appended as one batch and applied at
 * once, so that the next decision sees them. Nothing leaves before every record that was applied when it was made is
 * committed: an answer is held with the log end that it depends on, and goes when the log says that this end is
 * committed. An answer that needed no records waits too, for the end that the decision saw.
 *
 *     coord_won -> LOADING: the log is read and applied up to the end that it had -> SERVING -> coord_lost -> IDLE
 *
 * A coord belongs to one shard and is stepped by its owner: it has no clock (each event brings one), no thread and no
 * I/O but the functions of its coord_log.
 * Always: committed <= applied; a request that was taken is answered exactly once; answers that wait leave in the order
 * of the ends that they wait for; while LOADING or IDLE the machine is asked nothing.
 */
#pragma once
#include "base/containers.h"
#include "base/random.h"
#include "group/group.h"
#include "wire/batch.h"
#include "wire/errors.h"

struct coord;

/* ---- What is written and replayed */

/* A key or value with data NULL is null: metadata records have no keys, a tombstone has no value. */
struct coord_record {
    struct span key, value;
};

enum coord_marker { COORD_MARKER_NONE, COORD_MARKER_COMMIT, COORD_MARKER_ABORT };

/* Records that are written together or not at all. A marker is a control batch: it ends the producer's transaction,
 * and has no records of its own. */
struct coord_batch {
    const struct coord_record *records; /* borrows: for the call */
    uint32_t count;
    time_ms timestamp_ms;               /* wall time; of each record */
    producer_id producer_id;            /* -1: not part of a transaction */
    int16_t producer_epoch;
    enum coord_marker marker;
    int32_t coordinator_epoch;          /* of the marker */
    bool is_bounded;                    /* refused above the topic's max.message.bytes: a client decides how large it is */
};

/* ---- The log below: broker/ fills it in for a partition, quorum/ for the metadata log. From within these functions it may
 * call coord_read_done and coord_committed, and nothing else of this header. */

struct coord_log {
    void *self;
    /* Appends one batch; *end is then the log's end. Never waits. KAFKA_NONE, or why not (then nothing was written). */
    enum kafka_error (*append)(void *self, const struct coord_batch *batch, log_offset *end);
    /* Asks for whole batches from `from` on, about bytes_max of them; coord_read_done answers, with the same
     * `load`, from within this call or later. Up to the log's end, not only up to what is committed. */
    void (*read)(void *self, log_offset from, uint32_t bytes_max, uint64_t load);
    log_offset (*end)(void *self);       /* the next offset to be written                     */
    log_offset (*committed)(void *self); /* the high watermark: all before it is committed    */
};

/* ---- The machine above */

/* What time it is, and where chance comes from: the machine has neither of its own. */
struct coord_now {
    time_ms now_ms;        /* monotonic: deadlines                          */
    time_ms wall_ms;       /* wall: timestamps, retention; never for safety */
    struct random *random; /* borrows */
};

/* A request in the host's hands, inside the caller's own struct together with what the machine reads and answers.
 * The caller keeps it until `reply` runs; reply runs once, from within any call of this header. `error` is not
 * KAFKA_NONE when the host answers in place of the machine: loading, not (any longer) the leader, too much waiting,
 * or the append failed. Then the machine's answer, if there is one, must not be used.
 * A machine that sends messages of its own (markers, ...) uses one of these for each: completed in a decision, it is
 * released by the same rule. */
struct coord_request {
    struct list node;     /* the host's    */
    log_offset wait_for;  /* the host's: released when this end is committed */
    void (*reply)(struct coord_request *request);
    enum kafka_error error;
    enum { COORD_REQUEST_NEW, COORD_REQUEST_TAKEN, COORD_REQUEST_COMPLETED, COORD_REQUEST_ANSWERED } stage; /* the host's */
};

/* What came of one event. The machine adds to it; the host carries it out. */
struct coord_decision {
    struct arena *arena;                /* records are encoded here; gone after the call */
    struct coord_record *records;       /* made by coord_record_add */
    uint32_t count, capacity;
    bool failed;                        /* out of memory: the host writes nothing and refuses with `busy` */
    struct list completed;              /* coord_request: answered by this decision      */
    producer_id producer_id;            /* -1, or as in coord_batch                      */
    int16_t producer_epoch;
    enum coord_marker marker;
    int32_t coordinator_epoch;
    bool is_bounded;                    /* as in coord_batch                             */
};
/* Key and value are borrowed until the decision has been carried out: in decision->arena they live long enough. */
void coord_record_add(struct coord_decision *decision, struct span key, struct span value);
/* The answer to this request (of this event, or parked by an earlier one) is made. */
void coord_complete(struct coord_decision *decision, struct coord_request *request);

struct coord_machine {
    void *self;
    /* Decides about a request: adds records, completes the request, or keeps it (parked: until a later event
     * completes it). Must not change what `apply` changes. */
    void (*decide)(void *self, struct coord_request *request, const struct coord_now *now, struct coord_decision *out);
    /* A batch is in the log from offset `base` on: written by a decision just now (`live`), or replayed.
     * False: out of memory; the host then resets the machine and loads it anew, after a while. */
    bool (*apply)(void *self, const struct coord_batch *batch, log_offset base, bool live);
    /* After a replayed batch: the offset of a batch with records that mean something and cannot be read, -1: there is none.
     * Then the load fails there; to go on without would be to forget what was answered. Optional. */
    log_offset (*unreadable_at)(void *self);
    /* The decision's records have been appended and applied: complete what waited for that. Optional. May not add
     * records. */
    void (*applied)(void *self, const struct coord_now *now, struct coord_decision *out);
    /* The decision's records could not be appended: `error` is the log's own. The requests that the decision completed
     * already carry what clients are told of it (coord_append_error); complete more if more must know. Optional. */
    void (*refused)(void *self, const struct coord_now *now, enum kafka_error error, struct coord_decision *out);
    /* Time has passed: expire, retry. Optional, with next_deadline: monotonic ms, INT64_MAX when nothing is due. Called
     * again while that is due, and after a pause when its records could not be written. */
    void (*tick)(void *self, const struct coord_now *now, struct coord_decision *out);
    time_ms (*next_deadline)(void *self);
    /* Replay is over, serving begins: arm timers. Optional. May not add records: a tick that is due at once may. */
    void (*loaded)(void *self, const struct coord_now *now, struct coord_decision *out);
    /* Everything before `offset` is committed: for machines that keep a committed version. Optional. */
    void (*committed)(void *self, log_offset offset);
    /* Back to nothing, or to the committed version: parked requests are forgotten, the host answers them. */
    void (*reset)(void *self);
};

/* ---- The host */

struct coord_options {
    struct pool *pool;                   /* borrows */
    struct coord_log log;
    struct coord_machine machine;
    struct codecs *codecs;               /* borrows: to read compressed batches; NULL: a log that has one is never loaded */
    uint32_t requests_max;               /* taken and not yet answered; more are refused with error_busy */
    uint32_t load_bytes;                 /* of one read while loading: the bound of a step; 0: 1 MiB */
    size_t decision_bytes_max;           /* memory for one decision's records; 0: 16 MiB     */
    /* What is answered in the machine's place. 0: the ones of groups and transactions (14, 16, 14). */
    enum kafka_error error_loading, error_lost, error_busy;
};

enum coord_state { COORD_IDLE, COORD_LOADING, COORD_SERVING };

must_use enum err coord_open(struct coord **out, const struct coord_options *options);
void coord_close(struct coord *coord); /* as coord_lost first; NULL is fine */

/* Leadership won: replay from `from` (0 or the log's start for a partition; what the image covers for metadata) up to
 * the end that the log has now, then serve. A second call while leader starts over. */
void coord_won(struct coord *coord, const struct coord_now *now, log_offset from);
/* The answer to coord_log.read: batches in order, `next` the offset after the last of them (== from: there are no more).
 * bases[i] is the offset of the i-th batch. An error: asked again by coord_tick after a while. */
void coord_read_done(struct coord *coord, const struct coord_now *now, uint64_t load, enum err err,
                     const struct coord_batch *batches, const log_offset *bases, uint32_t count, log_offset next);
/* The same from bytes: whole record batches as they lie in a log, checked before. What cannot be read is an error too. */
void coord_read_done_bytes(struct coord *coord, const struct coord_now *now, uint64_t load, enum err err, struct span bytes);
/* Leadership lost, or the log has failed: everything that waits is answered with error_lost, the machine is reset. */
void coord_lost(struct coord *coord);

/* A machine of groups as coord hosts it: every request is then a struct coord_group_request's `host`. When host.error is
 * set in the reply, group_error_answer makes the answer that says so. */
struct coord_group_request {
    struct coord_request host;
    struct group_request group;
};
struct coord_machine coord_group_machine(struct group_machine *machine);

/* The caller has set `reply` and what the machine reads. */
void coord_request(struct coord *coord, struct coord_request *request, const struct coord_now *now);
/* The log's committed end moved: releases what waited for it. */
void coord_committed(struct coord *coord, log_offset offset);
/* At or after coord_next_deadline (monotonic ms; INT64_MAX: none). Ask for it after each call of the above. */
void coord_tick(struct coord *coord, const struct coord_now *now);
time_ms coord_next_deadline(const struct coord *coord);

enum coord_state coord_state(const struct coord *coord);
/* LOADING, and what the log has cannot be read at that offset: tried again ever more seldom, it does not mend itself. Else ERR_NONE. */
enum err coord_load_failure(const struct coord *coord, log_offset *at);
log_offset coord_applied(const struct coord *coord);  /* the log's end as the machine has seen it */
uint32_t coord_waiting(const struct coord *coord);    /* requests taken and not yet answered */
void coord_check(const struct coord *coord);          /* asserts every invariant */

/* What a client of a coordinator is told when an append failed. */
enum kafka_error coord_append_error(enum kafka_error of_append);
