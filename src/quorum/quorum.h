/* quorum/quorum.h - the host of raft on the metadata log: one per process, on the control shard, for voters and
 * observers alike.
 *
 * Owns `__cluster_metadata-0` in the metadata log directory: the log, quorum-state, the snapshots. Carries out what raft
 * (raft/raft.h) says, and hands what is committed upward, in order, to at most two listeners (the controller's and the
 * broker's image). Only the controller appends, and only while this node leads.
 *
 *     quorum_open -> LOADING: log, snapshot, control records are read -> RUNNING -> quorum_stop -> STOPPED
 *                                                        any I/O error of its files, a broken promise -> FAILED
 *
 * Nothing here waits on the shard but quorum_open (start-up). Callbacks come from the shard's turn, never from within a
 * call to this header's functions, except where it is said.
 *
 * In the directory, besides a partition's files (log/log.h), to the byte as Apache Kafka writes them:
 *   quorum-state                                one line of JSON: {"leaderId":1,"leaderEpoch":3,"votedId":-1,...}
 *   <end offset, 20 digits>-<epoch, 10>.checkpoint   a snapshot: the state of all records before the end offset, as record
 *                                               batches from offset 0 on: a control batch with the header (and, at
 *                                               kraft.version 1, version and voters), data, a control batch with the footer
 *   ....checkpoint.part                         one that is being written; removed at start
 * 00000000000000000000-0000000000.checkpoint is what `format` left: handed up as "bootstrap", never to other nodes.
 */
#pragma once
#include "log/log.h"
#include "raft/raft.h"
#include "wire/api.h"

struct quorum;

/* ---- Upward */

/* Records that were written together. Control batches come with no values: they only move the offset. */
struct quorum_batch {
    log_offset base, last;          /* of a snapshot: both its end offset - 1                             */
    leader_epoch epoch;
    time_ms timestamp;              /* wall time of the append                                            */
    const struct span *values;      /* framed metadata records (wire/record_frame.h): borrows, for the call */
    uint32_t count;
    uint32_t bytes;                 /* of the batch in the log                                            */
};

/* All functions may be NULL. They may append, but not stop the quorum. */
struct quorum_listener {
    /* Forget everything: the records that follow, up to on_snapshot_end, say all that there is before id.offset.
     * `bootstrap`: they are what format wrote, not yet in any log; they come once, before anything else, and mean nothing
     * for the offsets. `ok` false: the file turned out to be damaged, the quorum has failed. */
    void (*on_snapshot_begin)(struct quorum_listener *listener, struct raft_snapshot_id id, bool bootstrap);
    void (*on_snapshot_records)(struct quorum_listener *listener, const struct quorum_batch *batch);
    void (*on_snapshot_end)(struct quorum_listener *listener, bool ok);
    /* Committed: once, in order, without gaps (a snapshot jumps). */
    void (*on_commit)(struct quorum_listener *listener, const struct quorum_batch *batch);
    /* Who leads: -1 when nobody is known to. Of this node's own leadership a listener hears when it has been given
     * everything before the epoch's start; of its loss at once. */
    void (*on_leader)(struct quorum_listener *listener, leader_epoch epoch, broker_id leader);
    /* A snapshot is due; it shall say what the listener was given, which ends before `end`. The first listener with
     * these writes. begin: a handle (any state that later records do not change), or NULL: not now. next: up to `max`
     * values into `values`, their bytes in `arena`, and how many; 0: that was all; -1: failed. end: always, once. */
    void *(*snapshot_begin)(struct quorum_listener *listener, log_offset end);
    int32_t (*snapshot_next)(struct quorum_listener *listener, void *handle, struct arena *arena, struct span *values, uint32_t max);
    void (*snapshot_end)(struct quorum_listener *listener, void *handle, bool taken);
    /* The quorum has failed: this node's metadata goes no further. `why` is one sentence. */
    void (*on_failed)(struct quorum_listener *listener, const char *why);
};

/* ---- Towards other nodes. The owner of this struct (quorum/peers.h, or a test) carries requests to them. */

/* The quorum's from quorum_peers.send until quorum_done. */
struct quorum_call {
    struct list node;               /* the carrier's                                                      */
    void *carrier;                  /* the carrier's                                                      */
    int32_t to;                     /* node id; <= -2: bootstrap server number -2 - to                    */
    struct span host;               /* lives in the call's arena                                          */
    uint16_t port;
    const struct wire_api *api;
    int16_t version_min, version_max; /* the highest of these that the other side knows; none: ERR_UNSUPPORTED */
    const void *request;            /* the message's struct: lives in the call's arena                    */
    struct arena *arena;            /* owns: the response may live here, too                              */
    time_ms deadline_ms;            /* monotonic: nobody waits for the answer any longer                  */
    /* the quorum's */
    struct quorum *quorum;
    struct list calls;
    uint32_t request_id;
    enum raft_call kind;
    bool unwanted;
};
struct quorum_peers {
    void (*send)(struct quorum_peers *peers, struct quorum_call *call);
    void (*disconnect)(struct quorum_peers *peers); /* drop connections; calls under way end with ERR_CLOSED */
};
/* `err`: ERR_NONE and a response in that version (slices of it valid during this call), ERR_CLOSED, ERR_TIMEOUT, ERR_AGAIN
 * (not reached), ERR_UNSUPPORTED (no such version there), ERR_INVALID (refused: authentication). Frees the call. */
void quorum_done(struct quorum_call *call, enum err err, int16_t version, const void *response);

/* The ordinary one: over net's peers, one connection to a node, ApiVersions first. */
must_use enum err quorum_peers_open(struct quorum_peers **out, struct shard *shard, broker_id node);
void quorum_peers_close(struct quorum_peers *peers, void (*closed)(void *context), void *context);

/* ---- Setting up */

struct quorum_address { char host[256]; uint16_t port; };

struct quorum_options { /* 0 in a number: Kafka's default */
    struct shard *shard;                  /* the control shard                                                    */
    struct log_store *store;              /* of that shard                                                        */
    struct log_dir *dir;                  /* metadata.log.dir                                                     */
    const char *cluster_id;
    broker_id node;
    bool can_vote;                        /* process.roles has controller                                         */
    const struct raft_listeners *listeners; /* own controller listeners, as advertised; NULL: none                */
    const char *default_listener;         /* first of controller.listener.names                                   */
    const char *voters;                   /* controller.quorum.voters; NULL or "": none                           */
    const struct quorum_address *bootstrap; /* controller.quorum.bootstrap.servers                                */
    uint32_t bootstrap_count;
    bool auto_join;                       /* controller.quorum.auto.join.enable                                   */
    int32_t election_timeout_ms, fetch_timeout_ms, election_backoff_max_ms, request_timeout_ms, retry_backoff_ms;
    int32_t fetch_bytes_max, fetch_snapshot_bytes_max;
    uint64_t snapshot_bytes;              /* metadata.log.max.record.bytes.between.snapshots: 20 MiB              */
    time_ms snapshot_interval_ms;         /* metadata.log.max.snapshot.interval.ms: 1 h; -1: never                */
    int64_t retention_bytes;              /* metadata.max.retention.bytes: 100 MiB; -1: no bound                  */
    time_ms retention_ms;                 /* metadata.max.retention.ms: 7 d; -1: no bound                         */
    uint32_t segment_bytes;               /* metadata.log.segment.bytes: 1 GiB                                    */
    uint32_t read_bytes;                  /* of one read for the listeners: 1 MiB                                 */
    struct quorum_peers *peers;           /* borrows; NULL: alone in the world                                    */
    struct quorum_listener *listener[2];  /* borrows; NULL: none                                                  */
};

/* Reads quorum-state and lists snapshots, blocking; the rest comes in later turns. `why` gets one sentence with an error:
 * ERR_INVALID (the configuration), ERR_CORRUPT (a file that nothing stands for; which), ERR_NOT_FOUND (log and snapshots
 * do not fit together), ERR_IO. */
must_use enum err quorum_open(struct quorum **out, const struct quorum_options *options, char *why, size_t why_size);
/* Gives leadership up (others are told whom to follow), waits for a new leader up to timeout_ms, closes the log.
 * `stopped` runs when all of it is done. */
void quorum_stop(struct quorum *quorum, int32_t timeout_ms, void (*stopped)(void *context), void *context);
void quorum_free(struct quorum *quorum); /* stopped, or failed with nothing under way; NULL is fine */

/* What `moldau format` leaves in the metadata log's directory, which is made: the bootstrap snapshot with these framed
 * records. version: kraft.version; voters: NULL, or the initial controllers. Blocking. */
must_use enum err quorum_format(struct io_files files, struct pool *pool, const char *metadata_dir, int16_t version,
                                const struct raft_voters *voters, const struct span *values, uint32_t count, time_ms now);

/* ---- The controller's side */

enum { QUORUM_BATCH_BYTES_MAX = 8 << 20 };

/* One atomic batch at the log's end, committed when quorum_high_watermark passes *last. ERR_FENCED: this node does not
 * lead in that epoch (any more); ERR_AGAIN: it does, but is busy with its own records, try in the next turn; ERR_LIMIT: more
 * than a batch holds; ERR_NO_MEMORY, ERR_NO_SPACE, ERR_IO. */
must_use enum err quorum_append(struct quorum *quorum, leader_epoch epoch, const struct span *values, uint32_t count, log_offset *last);
/* The controller cannot go on: others shall lead. */
void quorum_resign(struct quorum *quorum, leader_epoch epoch);
/* UpdateFeatures for kraft.version. `done` may run from within the call. */
struct quorum_upgrade {
    int16_t version;
    bool validate_only;
    void (*done)(struct quorum_upgrade *upgrade, enum kafka_error error, const char *message);
};
void quorum_upgrade(struct quorum *quorum, struct quorum_upgrade *upgrade);

/* Batches from `from` on, committed or not: for loading. `done` may run from within the call: ERR_NONE and about
 * bytes_max of them (count 0: there are no more), ERR_OUT_OF_RANGE (before the log's start: begin with the snapshot). */
struct quorum_read {
    log_offset from;
    uint32_t bytes_max;
    void (*done)(struct quorum_read *read, enum err err, const struct quorum_batch *batches, uint32_t count, log_offset next);
    /* the quorum's */
    struct quorum *quorum;
    struct log_read log_read;
    struct io_op op;
    struct arena arena;
    struct chain chain;
    uint8_t *bytes;
    uint32_t size, filled, room;
    bool raw;
};
void quorum_read(struct quorum *quorum, struct quorum_read *read);

/* ---- What is known */

enum quorum_state { QUORUM_LOADING, QUORUM_RUNNING, QUORUM_STOPPING, QUORUM_STOPPED, QUORUM_FAILED };
enum quorum_state quorum_state(const struct quorum *quorum);
bool quorum_is_leader(const struct quorum *quorum);
leader_epoch quorum_epoch(const struct quorum *quorum);
broker_id quorum_leader(const struct quorum *quorum);            /* -1: not known */
log_offset quorum_end(const struct quorum *quorum);              /* of the log */
log_offset quorum_high_watermark(const struct quorum *quorum);   /* all before it is committed; -1: not known yet */
log_offset quorum_delivered(const struct quorum *quorum, uint32_t listener); /* the next offset that it will be given */
int16_t quorum_kraft_version(const struct quorum *quorum);
const struct raft *quorum_raft(const struct quorum *quorum);     /* for those who check and explain */
const struct log_report *quorum_log_report(const struct quorum *quorum); /* NULL: no log yet */
/* Where the leader is, for that listener. False: not known. */
bool quorum_leader_address(const struct quorum *quorum, struct span listener, struct raft_listener *out);
uint32_t quorum_syncs(const struct quorum *quorum);              /* fsyncs of its own (the log's are the store's to tell) */
/* Takes a snapshot now if a listener can and something is new. */
void quorum_snapshot_now(struct quorum *quorum);

/* ---- Requests of other nodes: Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch (of the metadata topic alone),
 * FetchSnapshot, DescribeQuorum, AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter. Authorized by whoever calls. */
struct quorum_request {
    const struct wire_api *api;
    int16_t version;
    const void *request;            /* the message's struct; until `answer`                                */
    struct span listener;           /* the name of the listener that it came in on                         */
    struct arena *arena;            /* the response lives here, and so do the nodes of its records' chain   */
    /* Once. May run from within quorum_request. The response is the message's struct; its records' slices are counted:
     * wire_response_frame takes them over, or chain_clear drops them. */
    void (*answer)(struct quorum_request *request, void *response);
    void *user;
    /* the quorum's */
    struct list node;
    enum raft_call call;
    struct log_read log_read;
    struct chain chain;
    struct raft_answer reply;       /* what the records are read for */
    struct quorum *quorum;
    bool reading;
};
bool quorum_serves(int16_t api_key); /* one of those */
void quorum_request(struct quorum *quorum, struct quorum_request *request);

void quorum_check(const struct quorum *quorum); /* asserts every invariant */
