/* raft/state.h - what the machine remembers. Part of raft/raft.h, which includes it, and of use to this folder alone. */
#pragma once

/* A node that requests go to. One request is in flight to each at most. */
struct raft_peer {
    int32_t id;               /* 0 with used == false: free */
    bool used;
    bool failed;              /* the last request failed or timed out: somebody else may know more */
    uint32_t request_id;      /* in flight; 0: none */
    enum raft_call call;
    int64_t sent_ms, backoff_until_ms;
};

/* How far a replica has come, as its leader sees it. */
struct raft_replica {
    struct raft_key key;
    log_offset end;           /* it holds everything before, flushed; -1: not known */
    log_offset leader_end;    /* the leader's end when it last fetched */
    int64_t fetch_ms, caught_up_ms; /* -1: never */
    bool fetched;             /* since check-quorum's timer was set (voters) */
    bool has_caught_up;       /* has been at the leader's end in this epoch */
};

struct raft_parked {
    uint64_t token;
    log_offset offset, high_watermark; /* waits for an end beyond, for a high watermark beyond */
    int64_t deadline_ms;
    int32_t bytes_max;
};

enum raft_ballot { RAFT_BALLOT_OPEN, RAFT_BALLOT_GRANTED, RAFT_BALLOT_REJECTED };

/* A change of the voters that somebody waits for. */
struct raft_change {
    enum { RAFT_CHANGE_NONE, RAFT_CHANGE_ASKING, RAFT_CHANGE_APPENDED } stage;
    enum raft_call call;      /* RAFT_ADD, RAFT_REMOVE */
    uint64_t token;
    bool ack_at_append;       /* AckWhenCommitted was false: no waiting for the commit */
    struct raft_key key;
    struct raft_listeners listeners;
    log_offset offset;        /* of its VotersRecord */
    int64_t deadline_ms;
    uint32_t request_id;      /* of ApiVersions, while ASKING */
};

struct raft {
    /* Set up once. */
    struct raft_options options;
    char cluster_id[RAFT_CLUSTER_ID_MAX];
    char default_listener[256];
    struct raft_voters static_voters; /* count 0: none */

    /* The log, as far as it was reported. */
    log_offset log_start, log_end, durable_end;
    leader_epoch last_epoch;
    struct raft_snapshot_id earliest, latest;
    struct raft_voters_history history;

    /* The election. */
    enum raft_role role;
    bool begun, dead;
    leader_epoch epoch;
    int32_t leader_id;                  /* -1: not known */
    struct raft_listeners leader;       /* where it is; count 0: not known */
    struct raft_key voted;
    log_offset high_watermark;          /* -1: not known; never goes back */
    int64_t election_deadline_ms;       /* unattached voter, prospective, candidate, resigned; INT64_MAX: never */
    enum raft_ballot ballots[RAFT_VOTERS_MAX]; /* prospective and candidate: by index in `electorate` */
    struct raft_key electorate[RAFT_VOTERS_MAX];
    uint32_t electorate_count;

    /* Follower. */
    int64_t fetch_deadline_ms, update_deadline_ms;
    bool fetched;                       /* successfully, from this leader in this epoch */
    bool leader_confirmed;              /* another node has named the same leader since we last asked it */
    bool updated;                       /* UpdateRaftVoter is done for this epoch */
    bool appending;                     /* fetched records are on their way to the log (and the disk) */
    bool removed_old;                   /* auto-join: nothing is left to be removed */
    log_offset leader_high_watermark;   /* as told last */
    struct { bool active; struct raft_snapshot_id id; int64_t position; } download;

    /* Leader. */
    log_offset epoch_start;             /* the log's end at election; records from here on are of this epoch */
    bool high_watermark_known;          /* in this epoch */
    int64_t check_quorum_deadline_ms, begin_deadline_ms;
    struct raft_replica voters[RAFT_VOTERS_MAX];
    uint32_t voters_count;
    struct raft_replica observers[RAFT_OBSERVERS_MAX];
    uint32_t observers_count;
    struct raft_change change;
    bool updates_known;                 /* kraft.version 0: what UpdateRaftVoter told, kept in memory */
    struct raft_voters updates;
    uint64_t upgrade_token;
    log_offset upgrade_offset;          /* of a KRaftVersionRecord that somebody waits for; -1: none */
    struct raft_parked parked[RAFT_PARKED_MAX];
    uint32_t parked_count;

    /* Resigned. */
    struct raft_key successors[RAFT_VOTERS_MAX];
    uint32_t successors_count;
    uint64_t acknowledged;              /* bit i: voter i of the set knows that we resigned */

    bool shutting_down, shutdown_done;
    int64_t shutdown_deadline_ms;

    struct raft_peer peers[RAFT_PEERS_MAX];
    uint32_t last_request_id;

    /* Of the step that is running. */
    struct raft_effects *effects;
    const struct raft_response *response;
    int64_t now_ms;
    uint64_t random;
    struct raft_voters work;            /* room for a set that is being made */
};
