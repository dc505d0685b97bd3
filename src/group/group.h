/* group/group.h - the groups of one `__consumer_offsets` partition: decide about a request, apply a record. Pure.
 *
 * group_decide answers a request or parks it, and says which records must be written; nothing that these records say
 * has happened before group_apply is given them. group_applied or group_refused then finishes the decision: parked
 * joins and syncs are completed there. The host (coord/) calls them in this order and holds every completed request
 * until what was applied is committed.
 *
 * What lives only in memory, as in Apache Kafka: members that are joining, rebalances in progress, session deadlines.
 * What a restart brings back: the last generation that was stable or empty, and the offsets.
 *
 * Always: a group's generation never decreases while loaded [G2]; in one generation each member has one assignment, as
 * its leader gave it [G3]; an offset that was answered is in the state until a newer commit, a deletion or its expiry
 * [G1]; apply(every record written so far) on an empty machine gives the same offsets and the same generations.
 *
 * Records of kinds that are not served (consumer, share, streams groups) are kept in the log untouched; of them the
 * machine knows only that a group of that name exists and of which kind it is, so that nobody overwrites it.
 */
#pragma once
#include "base/containers.h"
#include "base/random.h"
#include "base/text.h"
#include "wire/api.h"
#include "wire/errors.h"
#include "wire/records.h"

struct group_machine;

/* Names as in Kafka's configuration. */
struct group_settings {
    int32_t session_timeout_ms_min, session_timeout_ms_max; /* group.{min,max}.session.timeout.ms: 6000, 1800000  */
    int32_t initial_rebalance_delay_ms;                     /* group.initial.rebalance.delay.ms: 3000             */
    int32_t size_max;                                       /* group.max.size: 2147483647                         */
    int32_t new_member_join_timeout_ms;                     /* 300000                                             */
    int32_t offset_metadata_bytes_max;                      /* offset.metadata.max.bytes: 4096                    */
    int64_t offsets_retention_ms;                           /* offsets.retention.minutes: 10080 of them           */
    int64_t offsets_check_interval_ms;                      /* offsets.retention.check.interval.ms: 600000        */
    uint32_t groups_max;                                    /* our own bound on groups of this partition; 0: memory's */
};
struct group_settings group_settings_default(void);

struct group_now {
    time_ms now_ms;        /* monotonic: session and rebalance deadlines */
    time_ms wall_ms;       /* commit timestamps, retention               */
    struct random *random; /* member ids                                 */
};

/* ---- Requests. One is about one group: a request that names several was split by group before. */

enum group_request_type {
    GROUP_JOIN, GROUP_SYNC, GROUP_HEARTBEAT, GROUP_LEAVE,
    GROUP_OFFSET_COMMIT, GROUP_TXN_OFFSET_COMMIT, GROUP_OFFSET_FETCH, GROUP_OFFSET_DELETE,
    GROUP_LIST, GROUP_DESCRIBE, GROUP_DELETE,
    GROUP_END_TXN,            /* not from a client: a marker for these groups' transactional offsets */
    GROUP_TOPIC_DELETED,      /* not from a client: its offsets go from every group                  */
    GROUP_REQUEST_TYPES
};

/* Lives in the caller; the machine holds it while it is parked. The body is borrowed until the answer has gone, which may
 * point into it, and carries only what passed the checks above: names resolved (topic ids beside them where known), access
 * granted. */
struct group_request {
    struct list node;                 /* the machine's while parked; then in effects->completed */
    enum group_request_type type;
    int16_t version;                  /* of the client's request: answers differ by it */
    struct span client_id, client_host; /* host as Kafka shows it: "/10.0.0.1"         */
    struct arena *arena;              /* the answer lives here */
    union {
        const struct join_group_request *join;
        const struct sync_group_request *sync;
        const struct heartbeat_request *heartbeat;
        const struct leave_group_request *leave;
        const struct offset_commit_request *offset_commit; /* topic_id in every version: it is written  */
        const struct txn_offset_commit_request *txn_offset_commit;
        struct { const struct offset_fetch_request_offset_fetch_request_group *group; bool require_stable; } offset_fetch;
        const struct offset_delete_request *offset_delete;
        const struct list_groups_request *list;
        struct span group_id;                              /* DESCRIBE, DELETE */
        struct { producer_id producer; int16_t epoch; int32_t coordinator_epoch; bool commit; } end_txn;
        struct { struct span name; struct uuid id; } topic;
    };
    /* The answer: a wire response in its version's terms; NULL with `error` set when there was no memory for it. */
    enum kafka_error error;
    union {
        void *any;
        struct join_group_response *join;
        struct sync_group_response *sync;
        struct heartbeat_response *heartbeat;
        struct leave_group_response *leave;
        struct offset_commit_response *offset_commit;
        struct txn_offset_commit_response *txn_offset_commit;
        struct offset_fetch_response_offset_fetch_response_group *offset_fetch; /* of v8+; older versions are made of it */
        struct offset_delete_response *offset_delete;
        struct list_groups_response *list;                         /* this machine's groups */
        struct describe_groups_response_described_group *describe;
        struct delete_groups_response_deletable_group_result *deleted;
    } answer;
    void *parked;                     /* the machine's */
};

/* An answer that says only `error`, for a request that the machine was not asked or could not answer: not the
 * coordinator, loading, append failed. In request->arena; false: no memory. */
must_use bool group_error_answer(struct group_request *request, enum kafka_error error);

/* ---- Records as they lie in the log: key int16 type + body, value int16 version + body; no value: a tombstone. */

struct group_record {
    struct span key, value; /* value.data NULL: tombstone */
};
enum group_marker { GROUP_MARKER_NONE, GROUP_MARKER_COMMIT, GROUP_MARKER_ABORT };
struct group_batch {
    const struct group_record *records;
    uint32_t count;
    producer_id producer_id; /* of a transactional batch or a marker; else -1 */
    int16_t producer_epoch;
    enum group_marker marker;
};

struct group_effects {
    struct arena *arena;        /* records live here; given by the caller    */
    struct group_record *records;
    uint32_t count, capacity;
    producer_id producer_id;    /* -1, or the batch is transactional: as in group_batch */
    int16_t producer_epoch;
    enum group_marker marker;
    int32_t coordinator_epoch;
    struct list completed;      /* group_request.node: answered              */
    bool failed;                /* out of memory: nothing may be written; the request was not completed */
};
void group_effects_init(struct group_effects *effects, struct arena *arena);

/* ---- The machine */

must_use struct group_machine *group_machine_new(struct pool *pool, const struct group_settings *settings); /* NULL: no memory */
void group_machine_free(struct group_machine *machine);  /* nothing may be parked; NULL is fine */
void group_machine_settings(struct group_machine *machine, const struct group_settings *settings);

void group_decide(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects);
/* Deadlines that have come: at most one group is decided about in a call; call again while group_next_deadline <= now. */
void group_tick(struct group_machine *machine, const struct group_now *now, struct group_effects *effects);
/* False: no memory, and nothing else: the machine is then to be reset and loaded anew. A record that cannot be read is
 * skipped and counted. `base` is the batch's offset. */
must_use bool group_apply(struct group_machine *machine, const struct group_batch *batch, log_offset base, bool live);
/* After a decision's records were applied: completes what waited for that. Adds no records. */
void group_applied(struct group_machine *machine, const struct group_now *now, struct group_effects *effects);
/* They could not be written: the log's own error. The decision's own request is completed with the error that Kafka
 * tells clients in its place, if it was not completed before. Adds no records. */
void group_refused(struct group_machine *machine, const struct group_now *now, enum kafka_error log_error, struct group_effects *effects);
/* Replay is over: session deadlines begin now. Adds no records. */
void group_loaded(struct group_machine *machine, const struct group_now *now, struct group_effects *effects);
/* Forgets everything, parked requests too: whoever resets, answers them. */
void group_reset(struct group_machine *machine);
time_ms group_next_deadline(const struct group_machine *machine); /* monotonic; INT64_MAX: none */

uint32_t group_count(const struct group_machine *machine);
/* Every group, and its committed offsets, those that nothing may follow included: for metrics. At most `max` groups. */
struct group_view {
    struct span id;                   /* borrows */
    const char *protocol, *state;     /* "classic", ...; "Stable", ... */
    uint32_t members;
};
struct group_visitor {
    void *context;
    bool (*group)(void *context, const struct group_view *group); /* false: its offsets are of no interest */
    void (*offset)(void *context, const struct group_view *group, struct span topic, struct uuid topic_id, partition_index partition, log_offset offset);
};
void group_visit(const struct group_machine *machine, uint32_t max, const struct group_visitor *visitor);
/* Records of kinds that are known, which could not be read while applying: damaged, or of a newer version. A machine that
 * has them does not know what was committed. Where the batch of the first one lies; -1: there is none. */
uint64_t group_unreadable_records(const struct group_machine *machine);
log_offset group_unreadable_at(const struct group_machine *machine);
void group_check(const struct group_machine *machine);                 /* asserts every invariant */
/* One line for a group: state, generation, protocol, members, what is parked. */
void group_text(const struct group_machine *machine, struct span group_id, struct text *out);
/* Every group and offset in the form in which a replay must bring it back: for comparing. */
void group_text_persistent(const struct group_machine *machine, struct text *out);

/* The partition of `__consumer_offsets` that a group lives on. */
partition_index group_partition(struct span group_id, int32_t partitions);
