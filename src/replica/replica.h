/* replica/replica.h - one partition's replicas: the leader's view of them, a follower's next move, and what waits.
 *
 * Three pure parts: no I/O, no clock, memory from a pool that is handed in.
 *   leader     ends of all replicas in, high watermark and wanted ISR out
 *   follower   answers of the leader in, next fetch, truncation and high watermark out
 *   purgatory  Produces and Fetches that wait, woken by what they wait for, never by polling
 * broker/partition is the one who knows a log and steps these with what happens to it.
 */
#pragma once
#include "base/containers.h"
#include "base/text.h"
#include "base/units.h"

/* A place in the log as the log knows it. segment_base -1: only the offset is known. */
struct replica_offset {
    log_offset offset;
    log_offset segment_base;
    uint32_t position; /* bytes from the segment's start */
};
static inline struct replica_offset replica_offset_only(log_offset offset) {
    return (struct replica_offset){.offset = offset, .segment_base = -1};
}

/* ==== The leader =====================================================================================================
 *
 * Always: high_watermark <= own counted end <= log end; the high watermark never falls while leader, and passes an
 * offset only when every member of the maximal ISR (committed, plus what a change in flight would add) holds it, and
 * the committed ISR is not below its minimum [R2, R4]. In fsync mode the own counted end is the durable end [L7], in
 * page-cache mode the appended one.
 */
enum { REPLICAS_MAX = 256 };

/* What the cluster knows about one replica of the partition. */
struct replica_info {
    broker_id broker;
    broker_epoch epoch;   /* of its registration; -1: not known                      */
    bool in_isr;          /* as the controller has committed it                      */
    bool in_elr;          /* eligible to lead though not in sync; only when ISR < min */
    bool fenced;
    bool shutting_down;   /* controlled shutdown: may stay in the ISR, may not enter */
};

enum replica_event_type {
    REPLICA_BECOME,      /* leader, or leader still with other replicas, ISR or broker states: as the metadata say */
    REPLICA_RESIGN,      /* not the leader any longer                                                              */
    REPLICA_APPENDED,    /* the own log ends at `end` now                                                          */
    REPLICA_DURABLE,     /* it is flushed up to `end`                                                              */
    REPLICA_FETCHED,     /* a follower asked from `end` on: it holds all before                                    */
    REPLICA_TIME,        /* at replica_leader_deadline: somebody has fallen behind                                 */
    REPLICA_ISR_ANSWER,  /* the controller's answer to the last ISR_WANTED (an answer to an earlier one is dropped) */
    REPLICA_SETTINGS,    /* min.insync.replicas or replica.lag.time.max.ms have changed                            */
};

enum replica_isr_answer {
    REPLICA_ISR_COMMITTED, /* it is as `isr` and `partition_epoch` say                                             */
    REPLICA_ISR_RETRY,     /* nothing is known of it: send again what was wanted                                   */
    REPLICA_ISR_REVERT,    /* refused, nothing changed: OPERATION_NOT_ATTEMPTED, INELIGIBLE_REPLICA                */
    REPLICA_ISR_WAIT,      /* refused because we are behind: no more of it before the next BECOME                  */
};

struct replica_event {
    enum replica_event_type type;
    time_ms now_ms; /* monotonic */
    union {
        struct {
            leader_epoch leader_epoch;
            int32_t partition_epoch;
            broker_id self;
            const struct replica_info *replicas; /* borrows: all of them, self too */
            uint32_t count;
            struct replica_offset end, durable;  /* of the own log */
            struct replica_offset high_watermark;/* as checkpointed, or as it was as a follower; for a new epoch only */
            bool recovering;                     /* elected uncleanly: reported as recovered with the next ISR change  */
        } become;
        struct { struct replica_offset end; } appended;
        struct { struct replica_offset end; } durable;
        struct {
            broker_id broker;
            broker_epoch epoch;         /* -1: an old follower that does not say     */
            struct replica_offset end;  /* its fetch offset, placed in the own log   */
            log_offset log_start;
        } fetched;
        struct {
            enum replica_isr_answer answer;
            leader_epoch leader_epoch;  /* COMMITTED: as in the answer               */
            int32_t partition_epoch;
            const broker_id *isr;       /* COMMITTED: borrows                        */
            uint32_t isr_count;
        } isr;
        struct { int32_t min_isr; time_ms lag_ms_max; bool fsync; } settings;
    };
};

/* What the caller has to do after a step; at most one of each. Pointers are valid until the next step. */
struct replica_effects {
    bool high_watermark_moved;  /* to leader->high_watermark: release, checkpoint some time */
    bool isr_wanted;            /* send AlterPartition with: */
    const broker_id *isr;
    const broker_epoch *isr_epochs;
    uint32_t isr_count;
    leader_epoch leader_epoch;
    int32_t partition_epoch;
    bool recovered;             /* the leader recovery state to report is RECOVERED (it was RECOVERING) */
    bool fetch_refused;         /* FETCHED by no replica of this partition, or by an older life of one: nothing was noted.
                                 * UNKNOWN_LEADER_EPOCH if it sent an epoch, else NOT_LEADER_OR_FOLLOWER */
    bool stale_broker_epoch;    /* with fetch_refused: it was an older life; NOT_LEADER_OR_FOLLOWER      */
};

struct replica_follower_state; /* what the leader knows of one replica: leader.c */
struct replica_leader {
    struct pool *pool;                     /* borrows */
    bool leading, fsync, recovering, isr_blocked;
    bool isr_in_flight;                    /* an ISR_WANTED is not answered yet */
    broker_id self;
    leader_epoch leader_epoch;             /* -1: never was */
    int32_t partition_epoch, min_isr;
    time_ms lag_ms_max;
    time_ms now_ms, isr_not_before_ms;     /* the latest event's time; no ISR change is asked for before this */
    log_offset epoch_start;                /* the log's end when this epoch began */
    struct replica_offset end, durable, high_watermark;
    struct replica_follower_state *states; /* owns: replicas other than self */
    uint32_t count, capacity;
    uint32_t isr_count;                    /* committed, self included */
    broker_id *wanted;                     /* owns: capacity + 1 */
    broker_epoch *wanted_epochs;           /* owns: capacity + 1 */
    uint32_t wanted_count;
    broker_epoch self_epoch;
};

void replica_leader_init(struct replica_leader *leader, struct pool *pool, bool fsync, int32_t min_isr, time_ms lag_ms_max);
void replica_leader_destroy(struct replica_leader *leader);
/* Room for that many replicas: before a BECOME with more than ever before. A step itself takes no memory. */
must_use bool replica_leader_reserve(struct replica_leader *leader, uint32_t replicas);
void replica_leader_step(struct replica_leader *leader, const struct replica_event *event, struct replica_effects *effects);
/* When the first follower that is not at the end will count as fallen behind; INT64_MAX: nothing can become due. A partition
 * with one replica, or one that is idle, never has a deadline. */
time_ms replica_leader_deadline(const struct replica_leader *leader);
/* min(min.insync.replicas, replicas). */
int32_t replica_leader_min_isr(const struct replica_leader *leader);
/* Before an append with acks=all: false is NOT_ENOUGH_REPLICAS. Counts the committed ISR. */
bool replica_leader_may_append(const struct replica_leader *leader);
/* When the high watermark has passed it: false is NOT_ENOUGH_REPLICAS_AFTER_APPEND. Counts the maximal ISR. */
bool replica_leader_may_ack(const struct replica_leader *leader);
/* For a consumer in that follower's rack: the follower's end, -1: not in the ISR or not known. */
log_offset replica_leader_follower_end(const struct replica_leader *leader, broker_id broker, log_offset *log_start, time_ms *caught_up_ms);
/* The lowest log start of the own log (given) and of all live replicas: what DeleteRecords waits for. */
log_offset replica_leader_low_watermark(const struct replica_leader *leader, log_offset own_log_start);
void replica_leader_check(const struct replica_leader *leader);
void replica_leader_text(const struct replica_leader *leader, struct text *out);

/* ==== A follower =====================================================================================================
 *
 * One answer at a time: says what to ask the leader next, what to cut, what to append.
 * Always: it never appends at another offset than its end; it cuts only where epochs differ from the leader's [L8], and
 * says so when that is below the high watermark known here (only an unclean election can ask for it).
 */
enum replica_follower_phase {
    REPLICA_NOT_FOLLOWING,
    REPLICA_FETCHING,
    REPLICA_ASKS_LATEST,    /* out of range: where does the leader end?            */
    REPLICA_ASKS_EARLIEST,  /* ... and where does it begin?                        */
    REPLICA_FAILED,         /* until the metadata change                           */
};
enum replica_follower_event_type {
    FOLLOWER_BECOME,        /* follow the leader of this epoch                     */
    FOLLOWER_STOP,
    FOLLOWER_FETCH_ANSWER,
    FOLLOWER_OFFSET_ANSWER, /* to LATEST or EARLIEST                               */
    FOLLOWER_APPENDED,      /* own log: `end` and its last epoch                   */
    FOLLOWER_DURABLE,
    FOLLOWER_TRUNCATED,     /* own log was cut as asked: `end` and its last epoch  */
    FOLLOWER_ERROR,         /* BACKOFF: connection; STORAGE_ERROR: own log         */
};
enum replica_fetch_outcome {
    FETCH_OK,
    FETCH_DIVERGING,        /* the leader's epoch history differs                  */
    FETCH_OUT_OF_RANGE,
    FETCH_FENCED,           /* our leader epoch is older than the leader's         */
    FETCH_BACKOFF,          /* any other error: again after a while                */
    FETCH_STORAGE_ERROR,    /* our own log failed: until the metadata change       */
};
struct replica_follower_event {
    enum replica_follower_event_type type;
    time_ms now_ms;
    union {
        struct { leader_epoch leader_epoch; log_offset start, end, durable, high_watermark; leader_epoch last_epoch; } become;
        struct {
            enum replica_fetch_outcome outcome;
            leader_epoch leader_epoch;         /* of the request that is answered              */
            log_offset fetch_offset;           /* of the request that is answered              */
            log_offset first_offset;           /* OK: of the batches, -1: there are none       */
            log_offset leader_high_watermark, leader_log_start;
            leader_epoch diverging_epoch;      /* DIVERGING                                    */
            log_offset diverging_end;
            leader_epoch own_epoch;            /* DIVERGING: the own largest epoch <= diverging_epoch, -1: none, */
            log_offset own_end;                /* and where it ends in the own log             */
        } answer;
        struct { leader_epoch leader_epoch; log_offset offset; bool failed; } offset;
        struct { log_offset end, durable; leader_epoch last_epoch; } appended; /* APPENDED, TRUNCATED */
        struct { log_offset end; } durable;
        struct { enum replica_fetch_outcome outcome; } error;
    };
};
struct replica_follower_effects {
    bool append;                 /* the batches of this answer: at the end of the own log       */
    bool truncate;               /* the own log to truncate_to, then FOLLOWER_TRUNCATED         */
    bool truncate_fully;         /* ... by dropping all of it and starting at truncate_to       */
    bool truncate_unclean;       /* ... which is below the high watermark known here            */
    log_offset truncate_to;
    bool high_watermark_moved;   /* to follower->high_watermark                                 */
    bool log_start_moved;        /* raise the own log start to ...                              */
    log_offset log_start;
};
struct replica_follower {
    enum replica_follower_phase phase;
    leader_epoch leader_epoch;
    bool fsync;                  /* ask from the durable end */
    bool truncating;
    log_offset start, end, durable, high_watermark, leader_high_watermark;
    leader_epoch last_epoch;     /* of the own log; -1: empty or not known */
    log_offset leader_end;       /* between LATEST and EARLIEST */
    time_ms not_before_ms;       /* back off */
    time_ms backoff_ms;
};
void replica_follower_init(struct replica_follower *follower, bool fsync, time_ms backoff_ms);
void replica_follower_step(struct replica_follower *follower, const struct replica_follower_event *event,
                           struct replica_follower_effects *effects);
/* What to ask now: false: nothing (not following, truncating, backing off, appended and not yet durable). */
struct replica_next_fetch { enum replica_follower_phase what; leader_epoch leader_epoch; log_offset offset; leader_epoch last_fetched_epoch; };
bool replica_follower_next(const struct replica_follower *follower, time_ms now_ms, struct replica_next_fetch *out);
void replica_follower_check(const struct replica_follower *follower);
void replica_follower_text(const struct replica_follower *follower, struct text *out);

/* ==== Purgatory ======================================================================================================
 *
 * Two kinds of waiting: for an offset (a Produce: until the high watermark, or the own disk, has reached its end; a
 * DeleteRecords: the low watermark), and for bytes (a Fetch: until enough lies between where it reads and the bound that
 * it may read to). Waiters live in their owners; nothing here takes memory but the heap of deadlines, one for each
 * shard. What is woken stands in a list, in order, until purgatory_take: woken, never called back.
 */
enum purgatory_line { LINE_HIGH_WATERMARK, LINE_DURABLE, LINE_LOW_WATERMARK, LINES };
enum purgatory_bound { BOUND_HIGH_WATERMARK, BOUND_STABLE, BOUND_END, BOUNDS };
enum purgatory_outcome {
    PURGATORY_WAITING,
    PURGATORY_REACHED,  /* what it waited for has happened                                   */
    PURGATORY_TIMEOUT,
    PURGATORY_CHANGED,  /* leadership, replicas, truncation, deletion: look again            */
};

struct purgatory {          /* one for each shard */
    struct heap deadlines;
    struct list woken;
    uint32_t waiting, waiting_max;
};
struct purgatory_waiter {   /* the part that both kinds have */
    struct heap_node deadline;
    struct list woken;
    enum purgatory_outcome outcome;
    bool is_fetch;
};
struct purgatory_place {    /* one for each partition that is in use */
    struct purgatory *purgatory;
    struct list lines[LINES];             /* ordered by required */
    struct list watches[BOUNDS];          /* ordered by (segment, wake_at) */
    struct replica_offset bounds[BOUNDS]; /* as last told; offset -1: not yet */
    log_offset reached[LINES];            /* the same             */
};
struct offset_wait {        /* lives in its owner */
    struct purgatory_waiter waiter;
    struct list line;
    log_offset required;    /* reached when the line's offset is >= it */
};
struct fetch_watch {        /* one partition of a waiting Fetch; lives in its owner */
    struct list node;
    struct fetch_wait *wait;
    struct purgatory_place *place;
    enum purgatory_bound bound;
    struct replica_offset from;   /* where it reads                       */
    uint32_t bytes_max;           /* counts at most this much             */
    uint64_t wake_at;             /* position in that segment at which to look again; a bound in a later one does, too */
};
struct fetch_wait {         /* lives in its owner */
    struct purgatory_waiter waiter;
    struct fetch_watch *watches;
    uint32_t count;
    uint64_t bytes_min;
    uint64_t bytes;         /* the answer: what there was when it was woken or cancelled; UINT64_MAX: enough, whatever is wanted */
};

void purgatory_init(struct purgatory *purgatory, struct pool *pool, uint32_t waiting_max);
void purgatory_destroy(struct purgatory *purgatory); /* nobody may be waiting */
void purgatory_place_init(struct purgatory_place *place, struct purgatory *purgatory);

/* False: full, or over budget: answer now. wait->required is set; when it was reached before, the wait is woken at once. */
must_use bool purgatory_wait_offset(struct purgatory_place *place, enum purgatory_line line, struct offset_wait *wait, time_ms deadline_ms);
/* watches (place, bound, from, bytes_max) and bytes_min are set. A wait that is already over is woken at once. */
must_use bool purgatory_wait_fetch(struct purgatory *purgatory, struct fetch_wait *wait, time_ms deadline_ms);
/* What there is for a wait whose watches are set, as it counts. */
uint64_t purgatory_fetch_bytes(const struct fetch_wait *wait);
/* The owner goes away, or does not want it any longer: not woken. */
void purgatory_cancel_offset(struct purgatory *purgatory, struct offset_wait *wait);
void purgatory_cancel_fetch(struct purgatory *purgatory, struct fetch_wait *wait);

/* The events. */
void purgatory_offset_moved(struct purgatory_place *place, enum purgatory_line line, log_offset offset);
void purgatory_bound_moved(struct purgatory_place *place, enum purgatory_bound bound, struct replica_offset at);
void purgatory_place_changed(struct purgatory_place *place);  /* wakes all that wait here: CHANGED */
void purgatory_time(struct purgatory *purgatory, time_ms now_ms);
time_ms purgatory_deadline(const struct purgatory *purgatory); /* INT64_MAX: none */

/* The next that was woken, in the order of waking; NULL: none. container_of by is_fetch. */
struct purgatory_waiter *purgatory_take(struct purgatory *purgatory);
