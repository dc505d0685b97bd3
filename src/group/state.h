/* group/state.h - what the files of this folder share: the machine's state, and what each of them does to it. Private.
 *
 *   group.c     the door: which kind of request, groups by name, deadlines, records in
 *   classic.c   the classic protocol: rebalances, syncing, heartbeats, leaving, deadlines
 *   classic_join.c  joining it: who may, and under which id
 *   parked.c    joins and syncs: their answers, and how they wait
 *   members.c   members, their protocols and assignments; what a group's record says of them
 *   offsets.c   committed offsets, those of open transactions, expiry
 *   answer.c    answers, and records out
 */
#pragma once
#include "base/bytes.h"
#include "base/hash.h"
#include "group/group.h"
#include "wire/record_frame.h"

enum group_kind { KIND_CLASSIC, KIND_CONSUMER, KIND_SHARE, KIND_STREAMS };

/* Dead groups are those that are not there. */
enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE };

enum {
    GROUP_SWEEP_STEP = 64,    /* groups looked at in one tick of expiry                                  */
    GROUP_PROTOCOLS_MAX = 64, /* that a member may offer; clients offer one to five. Comparing them is squared */
};

/* Always in the machine's heap while its owner lives (at INT64_MAX when off), so that moving it needs no memory. */
enum deadline_kind { DEADLINE_MEMBER, DEADLINE_PENDING, DEADLINE_JOIN, DEADLINE_SYNC, DEADLINE_SWEEP };
struct deadline {
    struct heap_node node;
    enum deadline_kind kind;
};

struct member_protocol { struct span name, metadata; }; /* live in member->protocol_bytes */

struct member {
    struct map_node by_id;
    struct map_node by_instance;      /* static members only */
    struct group *group;              /* borrows */
    struct deadline session;
    struct span id, instance;         /* owns; instance.data NULL: dynamic */
    struct span client_id, client_host, assignment; /* owns */
    int32_t session_timeout_ms, rebalance_timeout_ms;
    struct member_protocol *protocols;/* owns, with the bytes that they point to */
    uint32_t protocol_count;
    size_t protocols_bytes;           /* of that allocation */
    struct group_request *join, *sync;/* parked: awaiting the rebalance, awaiting the assignment */
    uint32_t index;                   /* group_value's: its place in the record */
    bool is_new;                      /* has never been answered: cannot send heartbeats yet */
    bool sync_pending;                /* joined this generation, has not synced yet */
};

/* A member id that was given out and has not come back yet. */
struct pending_member {
    struct map_node by_id;
    struct group *group; /* borrows */
    struct deadline deadline;
    struct span id;      /* owns */
};

/* A member of a group that is not served: that it is there, and how far it has come. */
struct foreign_member {
    struct map_node by_id;
    struct span id;    /* owns */
    int32_t epoch;
    bool is_settled;   /* has what it is meant to have in that epoch */
};

struct committed {
    struct map_node by_partition;
    partition_index partition;
    log_offset offset;
    leader_epoch leader_epoch;
    struct span metadata;             /* owns */
    time_ms commit_ms, expire_ms;     /* wall; expire -1: by retention */
    struct uuid topic_id;             /* zero: not known */
    log_offset record;                /* where its record lies: a transaction's older one does not replace it */
};
struct committed_topic {
    struct map_node by_name;
    struct span name;                 /* owns */
    struct map partitions;
};

struct group {
    struct map_node by_id;
    struct span id;                   /* owns */
    enum group_kind kind;
    enum group_state state, previous;
    uint64_t hidden_at;               /* nobody is told of it while machine->batches is this: see offsets_commit; 0: told */
    bool differs;                     /* from what the log says: a record that was due could not be written */
    int32_t generation;
    struct span protocol_type, protocol, leader; /* own; data NULL: none */
    time_ms state_ms;                 /* wall: when it came into its state; -1: not known */
    struct map members, instances, pendings, foreign;
    int32_t epoch, assigned_epoch;    /* of a group that is not served: its own, and that of its assignment */
    uint32_t joining;                 /* members with a parked join */
    uint32_t syncs_pending;
    struct deadline join_deadline, sync_deadline;
    bool initial_delay;               /* the join deadline is that of a first rebalance ... */
    bool new_member_added;            /* ... which is moved on while members keep coming ... */
    int32_t delay_ms, delay_left_ms;  /* ... for no longer than this */
    struct map topics;                /* of committed offsets */
    struct list unstable;             /* pending_offset.in_group: of open transactions */
};

/* An offset of a transaction that has not ended. */
struct pending_producer;
struct pending_offset {
    struct list in_group, in_producer;
    struct group *group;              /* borrows */
    struct pending_producer *producer;/* borrows */
    struct span topic;                /* owns */
    struct committed value;           /* owns its metadata; in no map */
};
struct pending_producer {
    struct map_node by_producer;
    producer_id producer;
    struct list offsets;
};

enum intent_kind {
    INTENT_NONE,
    INTENT_JOIN_NEW,   /* the group's first record: then the request joins it                    */
    INTENT_ASSIGN,     /* the leader's assignment: then the syncs are answered                   */
    INTENT_REPLACE,    /* a static member came back in a stable group: then it takes its place   */
    INTENT_EMPTY,      /* the last member went                                                   */
    INTENT_ANSWERED,   /* nothing is left to do but on refusal: `request` was completed already  */
};

struct group_machine {
    struct pool *pool;                /* borrows */
    struct group_settings settings;
    struct map groups;
    struct map producers;
    struct heap deadlines;
    struct deadline sweep;
    struct group *sweep_at;           /* the next group that expiry looks at */
    struct arena scratch;             /* owns: for the length of one call */
    uint64_t batches;                 /* that were applied, and one */
    uint64_t unreadable;
    log_offset unreadable_at;      /* of the first one's batch; while there are any */
    /* What a decision left to do when its records have been applied. */
    struct {
        enum intent_kind kind;
        struct group *group;
        struct member *member;
        struct group_request *request;
        struct span new_id;           /* REPLACE: lives in the request's arena */
    } intent;
};

/* ---- group.c */
must_use bool span_own(struct pool *pool, struct span source, struct span *out); /* a copy; null stays null */
void span_disown(struct pool *pool, struct span *span);
must_use bool span_replace(struct pool *pool, struct span *own, struct span with);
bool span_is_key(struct span own, const void *key);
struct group *group_find(const struct group_machine *machine, struct span id);
struct group *group_find_shown(const struct group_machine *machine, struct span id); /* NULL also: nobody is told of it yet */
must_use struct group *group_find_or_new(struct group_machine *machine, struct span id); /* NULL: no memory */
void group_remove(struct group_machine *machine, struct group *group);
must_use bool deadline_add(struct group_machine *machine, struct deadline *deadline, enum deadline_kind kind);
void deadline_set(struct group_machine *machine, struct deadline *deadline, time_ms at); /* INT64_MAX: off */
void deadline_remove(struct group_machine *machine, struct deadline *deadline);
const char *group_state_name(const struct group *group);
bool group_is_empty(const struct group *group);
/* The tombstones that end an empty group of any kind that may be ended here. */
void group_tombstones(struct group *group, struct group_effects *effects);

/* ---- members.c */
void members_init(struct group_machine *machine, struct group *group);
void members_destroy(struct group_machine *machine, struct group *group);
struct member *member_find(const struct group *group, struct span id);
struct member *member_find_instance(const struct group *group, struct span instance);
/* At its end of the list; NULL: no memory. */
must_use struct member *member_new(struct group_machine *machine, struct group *group, struct span id, struct span instance,
                                   struct span client_id, struct span client_host);
void member_remove(struct group_machine *machine, struct member *member); /* nothing of it may be parked */
must_use bool member_rename(struct group_machine *machine, struct member *member, struct span id);
must_use bool member_set_protocols(struct group_machine *machine, struct member *member, const struct join_group_request *join);
bool member_matches(const struct member *member, const struct join_group_request *join);
struct span member_metadata(const struct member *member, struct span protocol); /* data NULL: not supported */
void members_clear(struct group_machine *machine, struct group *group);         /* pending and foreign ones too */
must_use struct pending_member *pending_new(struct group_machine *machine, struct group *group, struct span id);
struct pending_member *pending_find(const struct group *group, struct span id);
void pending_remove(struct group_machine *machine, struct pending_member *pending);
bool group_supports(const struct group *group, const struct join_group_request *join);
struct span group_vote(const struct group *group);          /* the protocol of the next generation; data NULL: none */
int32_t group_rebalance_timeout(const struct group *group); /* the longest of its members' */
bool group_uses_consumer_protocol(const struct group *group);
bool group_is_subscribed(struct group_machine *machine, const struct group *group, struct span topic);
/* The group as its record, in the given arena: with these assignments (NULL: the members' own); `replaced` under its
 * new id. NULL: no memory. */
struct assignment_of { const struct sync_group_request *sync; const struct member *replaced; struct span new_id; };
must_use struct group_metadata_value *group_value(const struct group *group, int32_t generation, time_ms state_ms,
                                                  const struct assignment_of *with, struct arena *arena);
must_use bool group_apply_value(struct group_machine *machine, struct group *group, const struct group_metadata_value *value, bool live);

/* ---- classic.c */
void classic_sync(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects);
void classic_heartbeat(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects);
void classic_leave(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects);
void classic_deadline(struct group_machine *machine, struct deadline *deadline, const struct group_now *now, struct group_effects *effects);
void classic_applied(struct group_machine *machine, const struct group_now *now, struct group_effects *effects);
void classic_refused(struct group_machine *machine, const struct group_now *now, enum kafka_error error, struct group_effects *effects);
void classic_loaded(struct group_machine *machine, struct group *group, const struct group_now *now);
enum kafka_error classic_validate(const struct group *group, struct span member_id, struct span instance);
enum kafka_error classic_validate_commit(const struct group *group, struct span member_id, struct span instance,
                                         int32_t generation, bool is_transactional);
void classic_alive(struct group_machine *machine, struct member *member, const struct group_now *now);
void classic_rebalance_or_go_on(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects);
void classic_join_phase_maybe_end(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects);

/* ---- classic_join.c */
void classic_join(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects);
/* Once a new group's record is written, and once that of a static member's new id is. */
void classic_join_on(struct group_machine *machine, struct group *group, struct group_request *request, const struct group_now *now, struct group_effects *effects);
void classic_replaced(struct group_machine *machine, const struct group_now *now, struct group_effects *effects);

/* ---- parked.c. A request is answered, or waits in its member; a second one of the same member takes the place of the first,
 * whose sender has given up. */
void refuse_join(struct group_effects *effects, struct group_request *request, enum kafka_error error, struct span member_id);
void refuse_sync(struct group_effects *effects, struct group_request *request, enum kafka_error error);
/* The group's current generation, for this member; the leader learns who the others are. */
void tell_generation(struct group_effects *effects, struct group_request *request, const struct group *group,
                     struct span member_id, struct span leader, bool with_members, bool skip_assignment);
void tell_assignment(struct group_effects *effects, struct group_request *request, const struct group *group, const struct member *member);
bool member_is_leader(const struct group *group, const struct member *member);
void park_join(struct group_effects *effects, struct member *member, struct group_request *request);
void park_sync(struct group_effects *effects, struct member *member, struct group_request *request);
struct group_request *take_join(struct member *member); /* NULL: none waits */
struct group_request *take_sync(struct member *member);
void fail_parked(struct group_effects *effects, struct member *member, enum kafka_error error, struct span member_id);

/* ---- offsets.c */
void offsets_commit(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects);
void offsets_txn_commit(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects);
void offsets_fetch(struct group_machine *machine, struct group_request *request, struct group_effects *effects);
void offsets_delete(struct group_machine *machine, struct group_request *request, struct group_effects *effects);
void offsets_topic_deleted(struct group_machine *machine, struct group_request *request, struct group_effects *effects);
/* Tombstones for all of a group's offsets. */
void offsets_tombstones(struct group *group, struct group_effects *effects);
/* Tombstones for those that are past their time; true: none are left. */
bool offsets_expire(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects);
must_use bool offsets_apply(struct group_machine *machine, const struct offset_commit_key *key, const struct offset_commit_value *value,
                            producer_id producer, log_offset record);
must_use bool offsets_apply_marker(struct group_machine *machine, producer_id producer, bool commit);
void offsets_init(struct group_machine *machine, struct group *group);
void offsets_clear(struct group_machine *machine, struct group *group); /* and gives everything back */
void offsets_text(const struct group *group, struct text *out);
uint32_t offsets_count(const struct group *group);

/* ---- answer.c */
void complete(struct group_effects *effects, struct group_request *request);
/* Sets the answer and completes; an answer that is NULL (no memory) becomes an error. */
void complete_with(struct group_effects *effects, struct group_request *request, void *answer);
void complete_error(struct group_effects *effects, struct group_request *request, enum kafka_error error);
must_use bool span_copy(struct arena *arena, struct span source, struct span *out);
void record_add(struct group_effects *effects, struct span key, struct span value);
void record_group(struct group_effects *effects, struct span group_id, const struct group_metadata_value *value); /* NULL: tombstone */
void record_offset(struct group_effects *effects, struct span group_id, struct span topic, partition_index partition,
                   const struct offset_commit_value *value);                                                   /* NULL: tombstone */
void group_list(struct group_machine *machine, struct group_request *request, struct group_effects *effects);
void group_describe(struct group_machine *machine, struct group_request *request, struct group_effects *effects);
