/* raft/raft.h - KRaft, the consensus on the metadata log, as a pure machine: events in, effects out.
 *
 * Kafka's protocol whole: pre-vote, vote, begin and end quorum epoch, replication by Fetch with diverging epochs,
 * FetchSnapshot, static and dynamic voters, check-quorum, observers. No I/O, no clock, no allocation; the same state
 * and event give the same effects. The host (quorum/) holds log, files, connections and the clock.
 *
 * The log is the host's. The machine knows its start, end, durable end and last epoch, and the ids of its snapshots;
 * where more is needed (how far an epoch goes) the event brings the log's answer along.
 *
 * The order of effects is a promise: PERSIST stands before all that depends on it, and the host carries out each
 * effect (a PERSIST until it is durable) before the next. One step at a time: what APPEND, TRUNCATE and the like have
 * done to the log is reported by events of their own before anything else is stepped.
 *
 * Always: one leader for each epoch [M1]; epoch and vote are durable before they are sent [M2]; the high watermark
 * passes an offset when a majority of the current voters hold it flushed, and an offset of the leader's own epoch is
 * among them [M3]; truncation never goes below the high watermark [M4]; epoch and high watermark never go back [M5].
 */
#pragma once
#include "raft/voters.h"

enum {
    RAFT_OBSERVERS_MAX = 256,
    RAFT_PARKED_MAX = RAFT_VOTERS_MAX + RAFT_OBSERVERS_MAX, /* fetches that wait for data */
    RAFT_BOOTSTRAP_MAX = 16,                                /* controller.quorum.bootstrap.servers */
    RAFT_PEERS_MAX = RAFT_VOTERS_MAX + RAFT_BOOTSTRAP_MAX + 1,
    RAFT_EFFECTS_MAX = RAFT_PARKED_MAX + 2 * RAFT_PEERS_MAX + 32,
    RAFT_CLUSTER_ID_MAX = 255,
    RAFT_APPEND_RECORDS_MAX = 3,
};

/* Kafka's numbers of the errors that this protocol has. */
enum raft_error {
    RAFT_UNKNOWN_SERVER_ERROR = -1, RAFT_NONE = 0, RAFT_UNKNOWN_TOPIC_OR_PARTITION = 3, RAFT_NOT_LEADER_OR_FOLLOWER = 6,
    RAFT_REQUEST_TIMED_OUT = 7, RAFT_BROKER_NOT_AVAILABLE = 8, RAFT_NETWORK_EXCEPTION = 13,
    RAFT_CLUSTER_AUTHORIZATION_FAILED = 31, RAFT_UNSUPPORTED_VERSION = 35, RAFT_INVALID_REQUEST = 42,
    RAFT_FENCED_LEADER_EPOCH = 74, RAFT_UNKNOWN_LEADER_EPOCH = 75, RAFT_INVALID_UPDATE_VERSION = 95,
    RAFT_SNAPSHOT_NOT_FOUND = 98, RAFT_POSITION_OUT_OF_RANGE = 99, RAFT_INCONSISTENT_CLUSTER_ID = 104,
    RAFT_INVALID_VOTER_KEY = 125, RAFT_DUPLICATE_VOTER = 126, RAFT_VOTER_NOT_FOUND = 127,
};

enum raft_role {
    RAFT_UNATTACHED,  /* knows an epoch; maybe its leader's id, but not where it is; maybe has voted */
    RAFT_PROSPECTIVE, /* asks for pre-votes: would I win? */
    RAFT_CANDIDATE,   /* has raised the epoch and voted for itself */
    RAFT_LEADER,
    RAFT_RESIGNED,    /* was the leader of this epoch, and is no more */
    RAFT_FOLLOWER,    /* voters and observers alike */
};

/* A snapshot holds the state of all records before `offset`; `epoch` is that of the record at offset - 1. */
struct raft_snapshot_id {
    log_offset offset;
    leader_epoch epoch;
};
#define RAFT_NO_SNAPSHOT ((struct raft_snapshot_id){-1, -1})

/* What the quorum-state file says. Version 0 (kraft.version 0) has no directory id but the static voters. */
struct raft_quorum_state {
    int16_t version;
    leader_epoch epoch;
    int32_t leader_id;      /* -1: none */
    struct raft_key voted;  /* id -1: none */
};

/* ---- How it is set up. Everything is copied by raft_init. */
struct raft_options {
    struct raft_key self;             /* id -1: only ever an observer without a name (a tool) */
    bool can_vote;                    /* process.roles has controller: flushes before it fetches on, may become a voter */
    struct span cluster_id;           /* empty: not checked */
    struct raft_listeners listeners;  /* own controller listeners; the first is the default one */
    struct span default_listener;     /* the name used towards others: first of controller.listener.names */
    const struct raft_voters *static_voters; /* controller.quorum.voters; NULL: none */
    uint32_t bootstrap_count;         /* controller.quorum.bootstrap.servers: nodes -2, -3, ... */
    int16_t kraft_min, kraft_max;     /* 0, 1 */
    bool auto_join;
    int32_t election_timeout_ms, fetch_timeout_ms, election_backoff_max_ms, request_timeout_ms, retry_backoff_ms;
    int32_t fetch_bytes_max, fetch_snapshot_bytes_max, fetch_wait_max_ms;
};
void raft_options_default(struct raft_options *options); /* Kafka's defaults; self, cluster and listeners stay empty */

/* ---- Requests and answers, decoded. The host has checked that they name the metadata topic and nothing else. */
struct raft_vote_request {
    leader_epoch epoch;
    struct raft_key candidate;
    struct raft_key voter;           /* whom it is meant for; id -1 or zero directory: not checked */
    leader_epoch last_epoch;
    log_offset last_offset;
    bool pre_vote;
};
struct raft_begin_request {          /* BeginQuorumEpoch */
    leader_epoch epoch;
    int32_t leader_id;
    struct raft_key voter;
    const struct raft_listeners *listeners; /* NULL (version 0): to be looked up among the voters */
};
struct raft_end_request {            /* EndQuorumEpoch */
    leader_epoch epoch;
    int32_t leader_id;
    const struct raft_key *preferred; /* successors, best first */
    uint32_t preferred_count;
    const struct raft_listeners *listeners;
};
struct raft_fetch_request {
    leader_epoch epoch;              /* CurrentLeaderEpoch */
    struct raft_key replica;         /* id -1: not a replica, served but not tracked */
    log_offset offset;
    leader_epoch last_epoch;         /* LastFetchedEpoch */
    log_offset high_watermark;       /* the asker's; INT64_MAX below version 18 */
    int32_t wait_max_ms, bytes_max;
    /* The log's answer: the largest epoch <= last_epoch that it has, and where that one ends. -1, -1: none. */
    leader_epoch known_epoch;
    log_offset known_epoch_end;
};
struct raft_fetch_snapshot_request {
    leader_epoch epoch;
    struct raft_key replica;
    struct raft_snapshot_id id;
    int64_t position;
    int32_t bytes_max;
};
struct raft_add_request { struct raft_key voter; const struct raft_listeners *listeners; int32_t timeout_ms; bool ack_when_committed; };
struct raft_remove_request { struct raft_key voter; };
struct raft_update_request {
    leader_epoch epoch;
    struct raft_key voter;
    const struct raft_listeners *listeners;
    int16_t kraft_min, kraft_max;
};

enum raft_call { /* what goes between nodes */
    RAFT_VOTE, RAFT_BEGIN, RAFT_END, RAFT_FETCH, RAFT_FETCH_SNAPSHOT, RAFT_ADD, RAFT_REMOVE, RAFT_UPDATE,
    RAFT_API_VERSIONS, /* only sent: what does a voter-to-be support? */
    RAFT_UPGRADE,      /* only answered: what UPGRADE has come to */
    RAFT_CALLS
};

struct raft_request {
    enum raft_call call;
    struct span cluster_id;          /* data NULL: not given */
    uint64_t token;                  /* the host's: comes back in the answer */
    union {
        struct raft_vote_request vote;
        struct raft_begin_request begin;
        struct raft_end_request end;
        struct raft_fetch_request fetch;
        struct raft_fetch_snapshot_request fetch_snapshot;
        struct raft_add_request add;
        struct raft_remove_request remove;
        struct raft_update_request update;
    };
};

/* What became of a request that was sent. */
struct raft_response {
    enum raft_call call;
    uint32_t request_id;             /* of the SEND; others are dropped */
    int32_t from;
    enum raft_error top_error;       /* the whole response's; also what stands for a failed connection:
                                      * BROKER_NOT_AVAILABLE (disconnected, timed out), UNSUPPORTED_VERSION, NETWORK_EXCEPTION */
    enum raft_error error;           /* the partition's */
    leader_epoch epoch;
    int32_t leader_id;               /* -1: not known there */
    struct raft_listener leader;     /* its endpoint for our default listener; host empty: not told. The name is not looked at */
    union {
        struct { bool granted; } vote;
        struct {
            log_offset high_watermark;
            uint32_t records_bytes;            /* the host keeps them for APPEND_FETCHED */
            bool diverging;
            leader_epoch diverging_epoch;
            log_offset diverging_end;
            leader_epoch known_epoch;          /* our own log's answer for diverging_epoch, as in raft_fetch_request */
            log_offset known_epoch_end;
            struct raft_snapshot_id snapshot;  /* offset < 0: none */
            bool snapshot_here;                /* we have it already */
        } fetch;
        struct { struct raft_snapshot_id id; int64_t size, position; uint32_t bytes; } fetch_snapshot;
        struct { int16_t kraft_min, kraft_max; } api_versions;
    };
};

/* ---- Events */
enum raft_event_type {
    RAFT_EVENT_TICK,            /* time has passed: due when raft_deadline says so, harmless otherwise */
    RAFT_EVENT_REQUEST,
    RAFT_EVENT_RESPONSE,
    RAFT_EVENT_APPENDED,        /* the log's end, after any append (own records, control records, fetched ones) */
    RAFT_EVENT_DURABLE,         /* everything below `end` is flushed */
    RAFT_EVENT_TRUNCATED,       /* what TRUNCATE has done */
    RAFT_EVENT_VOTERS,          /* a VotersRecord among fetched records, at `offset`; before their APPENDED. No effects */
    RAFT_EVENT_KRAFT_VERSION,   /* the same for a KRaftVersionRecord */
    RAFT_EVENT_LOG_START,       /* old segments or snapshots were deleted: log start and earliest snapshot */
    RAFT_EVENT_SNAPSHOT,        /* a snapshot was taken here */
    RAFT_EVENT_SNAPSHOT_LOADING,/* what SNAPSHOT_END has come to: the log starts (and ends) at it now. No effects; its voters
                                 * follow as VOTERS and KRAFT_VERSION with offset = that of the snapshot - 1, and then */
    RAFT_EVENT_SNAPSHOT_LOADED,
    RAFT_EVENT_APPEND_FAILED,   /* fetched records were corrupt or did not fit, and were dropped */
    RAFT_EVENT_UPGRADE,         /* UpdateFeatures wants this kraft.version; answered by ANSWER */
    RAFT_EVENT_RESIGN,          /* the controller gives its leadership of `epoch` up */
    RAFT_EVENT_SHUTDOWN,        /* end gracefully: SHUTDOWN_DONE follows */
};

struct raft_event {
    enum raft_event_type type;
    int64_t now_ms;             /* monotonic */
    uint64_t random;            /* for election timeouts and the choice of a bootstrap server */
    union {
        const struct raft_request *request;
        const struct raft_response *response;
        struct { log_offset end; leader_epoch last_epoch; } log; /* APPENDED, DURABLE (end), TRUNCATED */
        struct { log_offset offset; const struct raft_voters *voters; int16_t version; } control;
        struct { log_offset start; struct raft_snapshot_id earliest, latest; } start;  /* LOG_START */
        struct raft_snapshot_id snapshot;
        struct { uint64_t token; int16_t version; bool validate_only; } upgrade;
        leader_epoch epoch;     /* RESIGN */
        int32_t timeout_ms;     /* SHUTDOWN */
    };
};

/* ---- Effects, to be carried out in order */
enum raft_effect_type {
    RAFT_PERSIST,          /* write quorum-state; durable before the next effect */
    RAFT_SEND,             /* a request to a node; its RESPONSE carries request_id */
    RAFT_ANSWER,           /* to the request with this token */
    RAFT_ANSWER_FETCH,     /* answer with records from `offset`, and this high watermark */
    RAFT_ANSWER_SNAPSHOT,  /* answer with a piece of that snapshot file; not there or out of it: the host's to say */
    RAFT_APPEND,           /* control records in one batch at the log's end; then APPENDED (and DURABLE when it is) */
    RAFT_APPEND_FETCHED,   /* the records of the response just stepped; then VOTERS, KRAFT_VERSION, APPENDED or APPEND_FAILED */
    RAFT_TRUNCATE,         /* cut the log to end at most at `offset`; then TRUNCATED */
    RAFT_SNAPSHOT_BEGIN,   /* a download starts: make a file for `snapshot` */
    RAFT_SNAPSHOT_PIECE,   /* write the bytes of the response just stepped at its position */
    RAFT_SNAPSHOT_END,     /* it is whole: verify, sync, rename; drop the log and start it there; then SNAPSHOT_LOADED */
    RAFT_SNAPSHOT_ABANDON, /* forget the download */
    RAFT_HIGH_WATERMARK,   /* it moved up to `offset` */
    RAFT_BECAME,           /* `role`, `epoch`, `leader_id`. LEADER: the log's end is where the epoch starts */
    RAFT_DISCONNECT,       /* drop connections to others: answers to what is in flight are not wanted any more */
    RAFT_SHUTDOWN_DONE,
    RAFT_FATAL,            /* the protocol's promises were broken by somebody, or our state is: stop this node's metadata */
};

enum raft_record_type { RAFT_RECORD_LEADER_CHANGE, RAFT_RECORD_KRAFT_VERSION, RAFT_RECORD_VOTERS };
struct raft_record {
    enum raft_record_type type;
    int16_t kraft_version;
    const struct raft_voters *voters;  /* VOTERS: the new set; LEADER_CHANGE: the voters */
    uint32_t granting;                 /* LEADER_CHANGE: bit i: voters[i] has granted its vote */
    int32_t leader_id;
};

/* Where a request goes. */
struct raft_target {
    int32_t id;            /* <= -2: bootstrap server number -2 - id; the rest of it is then empty */
    struct span host;
    uint16_t port;
};

struct raft_answer {
    enum raft_call call;
    uint64_t token;
    enum raft_error top_error, error;
    leader_epoch epoch;    /* own; the leader's listener for the asker: raft_leader_listener */
    int32_t leader_id;
    union {
        struct { bool granted; } vote;
        struct {
            log_offset high_watermark;         /* -1: not known */
            bool diverging;
            leader_epoch diverging_epoch;
            log_offset diverging_end;
            struct raft_snapshot_id snapshot;  /* offset < 0: none */
            log_offset offset;                 /* ANSWER_FETCH: from here */
            int32_t bytes_max;
        } fetch;
        struct { struct raft_snapshot_id id; int64_t position; int32_t bytes_max; } fetch_snapshot;
        const char *message;                   /* add, remove, update, upgrade: why, or NULL */
    };
};

struct raft_effect {
    enum raft_effect_type type;
    union {
        struct raft_quorum_state state;
        struct { struct raft_target to; uint32_t request_id; struct raft_request request; } send;
        struct raft_answer answer;
        struct { leader_epoch epoch; uint32_t count; struct raft_record records[RAFT_APPEND_RECORDS_MAX]; } append;
        struct raft_snapshot_id snapshot;
        log_offset offset;
        struct { enum raft_role role; leader_epoch epoch; int32_t leader_id; } became;
        const char *why;
    };
};
struct raft_effects {
    uint32_t count;
    struct raft_effect items[RAFT_EFFECTS_MAX];
};

/* ---- The machine */

/* What the disk gave at start. */
struct raft_start {
    bool has_state;                     /* there is a quorum-state file */
    struct raft_quorum_state state;
    log_offset log_start, log_end;      /* all of it is durable; nothing after a full truncation: both the snapshot's */
    leader_epoch last_epoch;            /* of the last batch, else the latest snapshot's, else 0 */
    struct raft_snapshot_id earliest, latest; /* snapshots on disk, the bootstrap one not counted */
};

#include "raft/state.h" /* struct raft: the caller has to have room for it; its fields are this folder's own */

/* The control records of the bootstrap snapshot (offset -1), the latest snapshot (its offset - 1) and the log, oldest
 * first, come before raft_start: a set of voters, or (voters NULL) a kraft.version. */
void raft_init(struct raft *raft, const struct raft_options *options);
void raft_load(struct raft *raft, log_offset offset, const struct raft_voters *voters, int16_t version);
void raft_begin(struct raft *raft, const struct raft_start *start, int64_t now_ms, uint64_t random, struct raft_effects *effects);

void raft_step(struct raft *raft, const struct raft_event *event, struct raft_effects *effects);
int64_t raft_deadline(const struct raft *raft);  /* when it wants a TICK; INT64_MAX: never */
void raft_check(const struct raft *raft);        /* asserts every invariant */
void raft_text(const struct raft *raft, struct text *out);                     /* one line */
void raft_event_text(const struct raft_event *event, struct text *out);
void raft_effect_text(const struct raft_effect *effect, struct text *out);     /* one line each */
const char *raft_role_text(enum raft_role role);

/* ---- What others may know of it */
bool raft_is_leader(const struct raft *raft);
bool raft_is_voter(const struct raft *raft);
const struct raft_voters *raft_voters(const struct raft *raft);    /* the latest, committed or not; may be empty */
int16_t raft_kraft_version(const struct raft *raft);
/* False: not known for that listener. */
bool raft_leader_listener(const struct raft *raft, struct span listener, struct raft_listener *out);
/* The voters and kraft.version that a snapshot at `end` must hold. False: no longer known (or, voters, none: *voters NULL). */
bool raft_state_at(const struct raft *raft, log_offset end, const struct raft_voters **voters, int16_t *version);

struct raft_replica_info {
    struct raft_key key;
    log_offset end;                            /* -1: not known */
    int64_t fetch_ms, caught_up_ms;            /* monotonic; -1: never */
};
struct raft_description {                      /* only a leader has one */
    leader_epoch epoch;
    int32_t leader_id;
    log_offset high_watermark;                 /* -1: not known */
    uint32_t voters_count, observers_count;
    struct raft_replica_info voters[RAFT_VOTERS_MAX], observers[RAFT_OBSERVERS_MAX];
};
bool raft_describe(const struct raft *raft, int64_t now_ms, struct raft_description *out); /* false: not the leader */
