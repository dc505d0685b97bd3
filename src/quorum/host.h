/* quorum/host.h - what the files of quorum/ share: the host's state, and what they ask of each other.
 *
 *   quorum.c        the pump: one raft step at a time, its effects in order; appends; stopping
 *   open.c          opening and loading
 *   upward.c        reading ranges of the log, handing up what is committed
 *   records.c       control records, batches
 *   calls_in.c      what others ask: Kafka's messages as raft's requests, raft's answers as Kafka's
 *   calls_out.c     what this node asks: the other way round
 *   describe.c      DescribeQuorum
 *   peers.c         connections to the other nodes
 *   state_file.c    quorum-state and its second copy
 *   snapshot_file.c .checkpoint files: names, writing, reading in pieces
 *   snapshots.c     when one is taken, loaded, downloaded, sent, cleaned away
 */
#pragma once
#include "base/text.h"
#include "quorum/quorum.h"
#include "wire/batch.h"
#include "wire/record_frame.h"

enum {
    QUORUM_PATH_MAX = LOG_PATH_MAX + 64,
    QUORUM_SNAPSHOTS_MAX = 64,
    QUORUM_PIECE_BYTES = 1 << 20,      /* of a snapshot: read and written in such pieces */
    QUORUM_STATE_BYTES_MAX = 4096,
    QUORUM_RECORDS_MAX = 1 << 20,      /* of one batch */
};

/* ---- state_file.c: blocking, for start-up and jobs */

/* ERR_NOT_FOUND: neither the file nor its copy is there. ERR_CORRUPT: unreadable, and the copy cannot stand for it;
 * `epoch_min`: what the copy must not be below. ERR_UNSUPPORTED: a data_version of the future. `repair`: a copy is missing
 * or differs; writing the state anew makes it whole. */
must_use enum err state_file_read(struct io_files files, const char *directory, leader_epoch epoch_min, struct raft_quorum_state *out, bool *repair);
/* Durable when it answers. `voters`: of version 0 only. `syncs` counts. */
must_use int state_file_write(struct io_files files, const char *directory, const struct raft_quorum_state *state,
                              const int32_t *voters, uint32_t voters_count, uint32_t *syncs);
must_use enum err state_file_parse(struct span text, struct raft_quorum_state *out);
void state_file_text(const struct raft_quorum_state *state, const int32_t *voters, uint32_t voters_count, struct text *out);

/* ---- snapshot_file.c */

enum snapshot_name { SNAPSHOT_NAME_OTHER, SNAPSHOT_NAME_WHOLE, SNAPSHOT_NAME_PART, SNAPSHOT_NAME_DELETED };
enum snapshot_name snapshot_name_parse(const char *name, struct raft_snapshot_id *out);
void snapshot_path(const char *directory, struct raft_snapshot_id id, const char *ending, char out[QUORUM_PATH_MAX]);
static inline bool snapshot_id_equal(struct raft_snapshot_id a, struct raft_snapshot_id b) { return a.offset == b.offset && a.epoch == b.epoch; }

/* Builds a snapshot's bytes batch by batch; the caller writes them. */
struct snapshot_builder {
    struct pool *pool;
    struct raft_snapshot_id id;
    time_ms now;
    log_offset next;                   /* base offset of the next batch, inside of the file */
};
void snapshot_builder_init(struct snapshot_builder *builder, struct pool *pool, struct raft_snapshot_id id, time_ms now);
must_use enum err snapshot_builder_header(struct snapshot_builder *builder, time_ms last_timestamp, int16_t version,
                                          const struct raft_voters *voters, struct slab **out);
must_use enum err snapshot_builder_records(struct snapshot_builder *builder, const struct span *values, uint32_t count, struct slab **out);
must_use enum err snapshot_builder_footer(struct snapshot_builder *builder, struct slab **out);

/* Reads one from its pieces: holds the batches against each other. Feed it whole batches. */
struct snapshot_reader {
    struct raft_snapshot_id id;
    log_offset next;
    bool has_header, has_footer;
    time_ms last_timestamp;            /* of the header */
    int16_t version;                   /* kraft.version; 0: not said */
    bool has_voters;
};
void snapshot_reader_init(struct snapshot_reader *reader, struct raft_snapshot_id id);
/* One batch: checks it; of control batches takes what they say (`voters` may be NULL: not wanted). ERR_CORRUPT. */
must_use enum err snapshot_reader_batch(struct snapshot_reader *reader, const struct batch *batch, struct arena *arena, struct raft_voters *voters);
/* The whole file, blocking: ERR_CORRUPT when it is not whole and good. Data batches are only checked. */
must_use enum err snapshot_file_verify(struct io_files files, struct pool *pool, const char *path, struct raft_snapshot_id id,
                                       struct snapshot_reader *out, struct raft_voters *voters);

/* Control records as this folder's values. */
must_use struct span voters_record_encode_bytes(const struct raft_voters *voters, struct arena *arena);
must_use enum err voters_record_parse(struct span value, struct arena *arena, struct raft_voters *out);
must_use struct span leader_change_bytes(const struct raft_record *record, struct arena *arena);
must_use enum err kraft_version_parse(struct span value, struct arena *arena, int16_t *out);

/* ---- The host */

struct quorum_snapshot_entry { struct raft_snapshot_id id; uint64_t bytes; time_ms timestamp; };

/* A response that waits for its turn. */
struct quorum_box {
    struct quorum_call call;
    struct arena arena;
    struct raft_response response;
    struct slab *records;              /* of a Fetch or a FetchSnapshot: a count of its own */
    struct list ready;
};

/* What was done to the log and raft is to be told of before it is stepped again. */
enum quorum_report { REPORT_NONE, REPORT_APPENDED, REPORT_APPEND_FAILED, REPORT_TRUNCATED, REPORT_LOADED };

struct quorum {
    struct quorum_options options;
    struct raft_listeners listeners;
    struct raft_voters static_voters;
    char default_listener[256];
    char directory[QUORUM_PATH_MAX];   /* of the metadata partition */
    struct quorum_address *bootstrap;
    struct shard *shard;
    struct pool *pool;
    struct io *io;
    struct quorum_peers *peers;
    enum quorum_state state;
    char why[256];
    struct random random;
    struct io_files files;             /* blocking: for opening and loading */

    struct log *log;
    struct log_owner log_owner;
    bool log_held;
    struct log_wait log_wait;          /* opening, truncating, closing: one at a time */

    /* The pump. */
    struct raft raft;
    struct raft_effects effects;
    uint32_t effect_at;                /* the next one to be carried out */
    bool waiting;                      /* an effect is under way: nothing is stepped */
    bool pumping;
    struct timer timer;
    bool tick_due, durable_due, resign_due, shutdown_due;
    leader_epoch resign_epoch;
    int32_t shutdown_timeout_ms;
    struct list requests_queue, requests; /* waiting to be stepped; all that are not answered */
    struct list responses, calls;      /* boxes: ready to be stepped; all under way */
    struct quorum_box *stepping;       /* whose response is being carried out */
    enum quorum_report report;
    struct raft_snapshot_id report_snapshot;
    struct snapshot_reader report_control; /* of the snapshot that was loaded */
    struct raft_voters report_voters;
    struct slab *report_slab;          /* fetched batches that were appended: a count; and how many bytes of it */
    uint32_t report_bytes;
    struct quorum_upgrade *upgrade;    /* one at a time */
    bool upgrade_due;
    struct turn_hook hook;             /* delivery upward, at the turn's end */

    /* quorum-state. */
    struct io_op state_op;
    struct raft_quorum_state state_job;
    int32_t state_voters[RAFT_VOTERS_MAX];
    uint32_t state_voters_count, state_syncs;
    uint32_t syncs;

    /* Loading. */
    struct raft_start start;
    bool state_repair;
    log_offset scan;                   /* the log's control records before it are known */
    struct quorum_read scan_read;

    /* Delivery. */
    struct quorum_listener *listener[2];
    uint32_t listeners_count;
    log_offset next;                   /* everything before has been handed up */
    struct quorum_read deliver_read;
    bool delivering;
    bool told, failure_told;           /* who leads; that the quorum has failed */
    leader_epoch told_epoch;
    broker_id told_leader;
    log_offset high_watermark;
    leader_epoch leader_epoch_;        /* as raft said last */
    broker_id leader_id;
    log_offset leader_start;           /* of this node's own leadership: where the epoch starts */
    uint64_t bytes_since_snapshot;
    time_ms last_snapshot_ms;          /* monotonic */
    time_ms last_timestamp;            /* of the last batch delivered */

    /* Snapshots: snapshots.c */
    struct quorum_snapshot_entry snapshots[QUORUM_SNAPSHOTS_MAX]; /* oldest first, the bootstrap one not among them */
    uint32_t snapshots_count;
    bool has_bootstrap;
    struct snapshot_job *snapshot_job; /* taking or loading or cleaning; one at a time */
    struct raft_snapshot_id load_wanted; /* to be given to the listeners; offset -1: none */
    bool load_bootstrap;
    struct io_file *download;          /* the file of the download under way */
    struct raft_snapshot_id download_id;
    struct timer snapshot_timer;
    bool snapshot_asked, clean_due;    /* by hand; by the timer */
    bool snapshot_due, start_due;      /* raft is to be told */
    struct io_op download_op;
    struct slab *download_slab;        /* the piece being written */
    int64_t download_at;
    bool download_bad;                 /* whole, and not a snapshot */

    void (*stopped)(void *context);
    void *stopped_context;
    bool log_closing;
    bool closing;
};

/* quorum.c */
void quorum_fail(struct quorum *quorum, const char *format, ...) printf_like(2, 3);
void quorum_pump(struct quorum *quorum);
void quorum_step(struct quorum *quorum, struct raft_event event);
void quorum_effect_done(struct quorum *quorum); /* what `waiting` stood for has happened */
void quorum_wake(struct quorum *quorum);        /* delivery at the end of this turn */
int64_t quorum_now_ms(const struct quorum *quorum);
void quorum_persist(struct quorum *quorum, const struct raft_quorum_state *state); /* the pump waits for it */

/* upward.c */
void upward_deliver(struct quorum *quorum);
void upward_tell_leader(struct quorum *quorum);

/* records.c */
/* Batches of bytes as they lie in a log, decoded into `arena`. Stops before a batch that is cut short. ERR_CORRUPT. */
must_use enum err quorum_batches_decode(struct span bytes, log_offset from, struct arena *arena, struct quorum_batch **out, uint32_t *count);

/* calls_in.c: what others ask */
bool calls_decode_request(struct quorum *quorum, struct quorum_request *in, struct raft_request *out);
void calls_answer(struct quorum *quorum, const struct raft_answer *answer);
/* As ANSWER, but with records (NULL: none) or a piece of a snapshot. */
void calls_answer_fetch(struct quorum *quorum, const struct raft_answer *answer, struct chain *records);
void calls_answer_snapshot(struct quorum *quorum, const struct raft_answer *answer, enum raft_error error, int64_t size, struct chain *piece);
void calls_refuse(struct quorum *quorum, struct quorum_request *request, enum raft_error error);
static inline struct quorum_request *calls_request_of(uint64_t token) { return (struct quorum_request *)(uintptr_t)token; }

/* describe.c */
void *calls_describe(struct quorum *quorum, struct quorum_request *request); /* the response of DescribeQuorum */

/* calls_out.c: what this node asks */
void calls_send(struct quorum *quorum, const struct raft_effect *effect);
void calls_free(struct quorum_box *box);

/* snapshots.c */
must_use enum err snapshots_list(struct quorum *quorum, char *why, size_t why_size); /* at start, blocking */
void snapshots_forget_before(struct quorum *quorum, log_offset start);               /* the same: those that nothing needs */
void snapshots_add(struct quorum *quorum, struct raft_snapshot_id id, uint64_t bytes, time_ms timestamp);
bool snapshots_has(const struct quorum *quorum, struct raft_snapshot_id id);
void snapshots_work(struct quorum *quorum);     /* loads, takes, cleans: whatever is due, one job at a time */
void snapshots_answer(struct quorum *quorum, const struct raft_answer *answer);
void snapshots_download_begin(struct quorum *quorum, struct raft_snapshot_id id);
void snapshots_download_piece(struct quorum *quorum);
void snapshots_download_end(struct quorum *quorum);
void snapshots_download_abandon(struct quorum *quorum);
bool snapshots_idle(const struct quorum *quorum); /* nothing is to be handed up before the log goes on */
void snapshots_start_timer(struct quorum *quorum);
