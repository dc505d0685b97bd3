/* log/parts.h - inside of log/: a log and its store, for the files of this folder.
 *
 * Who does what, on the shard:
 *   log.c       the doors of one log, its states, what happens next (log_next)
 *   open.c      opening, and truncation, which is one, too
 *   append.c    append as leader and follower, roll
 *   flush.c     rounds: one write for each touched segment, then the syncs, then the new ends
 *   cache.c     the tail: appended batches in memory, first because they must be written, then for readers at the tail
 *   read.c      reads from files: segment, index, headers, a range
 *   lookup.c    by timestamp; aborted transactions
 *   retain.c    what may be deleted, and deleting
 *   cleaner.c   compaction: which log, step by step, and the swap
 *   move.c      from one directory to another
 *   store.c     the store of a shard: jobs, timers, least recently used, starting and stopping
 *   checkpoint_round.c  the checkpoint files of the directories: gathered from all shards, written by one job
 *   removal.c   what was renamed away, removed when its time has come
 *   stray.c     what the metadata do not know, put aside
 * In jobs:
 *   recover.c   the opening job: what there is (recover_walk.c, listing.c), up to where it is good (recover_end.c)
 *   cut.c       the cutting job of truncations
 *   persist.c   the job that makes a point durable: data, indexes, producers, epochs (roll, checkpoint, close)
 *   clean.c     compaction's reading and writing; what stays is clean_filter.c's
 * Below them, each with a header that says what it is: checkpoint, index, index_txn, epoch, producer (formats and their
 * state), segment, scan, verify, checked, rebuild, clean_map, paths; dir.h has the log directories (dir.c, dir_scan.c) and
 * small files whole or not at all (files.c).
 *
 * One job changes a log's files at a time (log->job); rounds of writes go on beside it, except while the log is `changing`.
 */
#pragma once
#include "base/text.h"
#include "log/dir.h"
#include "log/epoch.h"
#include "log/index_txn.h"
#include "log/log.h"
#include "log/segment.h"

enum {
    ROUND_ENTRIES_MAX = 1024,     /* batches written by one round                                  */
    ROUND_SYNCS_MAX = 8,          /* files synced at its end; more by the next                     */
    ROUND_BYTES_MAX = 32 << 20,
    ROUND_ROOMY_BYTES_MAX = 128 << 10, /* larger rounds make no room behind them                     */
    TAIL_ENTRIES_MAX = 1024,      /* written ones that a log keeps in memory                       */
    QUEUE_ENTRIES_MAX = 8192,     /* appended and not written: beyond it appends answer ERR_BUSY   */
    QUEUE_ENTRIES_BEHIND = 512,   /* log_is_behind                                                 */
    UNMADE_SEGMENTS_MAX = 8,
    MARKS_MAX = 8,                /* offsets whose places are remembered                           */
    READ_WINDOW_BYTES = 4096,
};

/* ---- The tail. An entry is what one append brought. */
struct tail_entry {
    struct list node;             /* in the log's tail, oldest first                               */
    struct list age;              /* in the store's list of entries that may go, oldest first      */
    struct log *log;
    struct segment *segment;
    struct slab *slab;            /* shares */
    const uint8_t *data;
    uint32_t size;
    uint32_t charge;              /* what it keeps from the pool: the slab's, for the last that holds it */
    uint64_t position;
    log_offset base, last;
    bool written;
};

/* ---- A round: what one turn (or several, while the disk was busy) brought goes to the disk together. One segment at a
 * time: nothing is written to a new segment before the old one's end is durable (or, with the page cache, written), so that a
 * crash leaves no gap between them. */
struct round_sync {
    struct io_op op;
    struct round *round;
    struct segment *segment;
    uint64_t written;             /* of the segment, when the sync was asked for */
    time_ns began;
};
struct round {
    struct log *log;
    struct round *next_free;
    struct io_op write;
    struct list *first;           /* of the entries that it writes */
    struct segment *segment;
    struct chain chain;
    struct arena arena;           /* the chain's nodes */
    uint64_t bytes;               /* of batches: the chain may have room behind them */
    struct round_sync syncs[ROUND_SYNCS_MAX];
    uint32_t sync_count, pending, entries;
    log_offset end;               /* the log's end when all of it is written */
    log_offset sync_end;          /* flushed up to here when all syncs are done */
    struct log_position sync_at;  /* where that is, if it is known              */
    bool wants_sync;
    bool in_batch;                /* of so many files in one turn that they are synced together */
    enum err err;
    struct list sync_node;        /* in the store's list of rounds that want a sync at the turn's end, or in sync_fs */
};
/* A file system's sync that stands for many files. */
struct sync_fs {
    struct io_op op;
    struct log_store *store;
    struct log_dir *dir;
    struct list rounds;
    time_ns began;
    bool busy;
};

/* ---- What only an open log has. Made by the opening job in the log's own pool, then the shard's. */
struct log_body {
    struct segment **segments;    /* owns, by base; the last one is active */
    uint32_t count, capacity;
    struct epoch_cache epochs;
    struct producer_state *producers;
    struct producer_budget producer_budget;
    struct log_report report;
    log_offset start, end;        /* as found; then the log's fields count   */
    uint64_t sealed_bytes;        /* sizes of all but the active one         */
    struct list tail;             /* entries, oldest first                   */
    struct list *unwritten;       /* the first that is in no round yet; the list itself: none */
    struct log_position written_at, flushed_at; /* where rounds have ended; an offset of -1: none did */
    uint32_t tail_count, queued;  /* entries; those that are not written     */
    struct round *round;          /* in flight                               */
    uint32_t reads;               /* log_read, log_lookup, ... in progress: files and segments stay */
    struct list flush_waits;      /* log_wait, each with its target          */
    log_offset flush_target;      /* everything below shall be flushed       */
    struct log_position marks[MARKS_MAX];
    uint32_t mark_next;
    time_ms timestamp_max;        /* of what was appended since the opening  */
    uint64_t appended_since_checkpoint; /* bytes */
    uint32_t checks_since_checkpoint;
    log_offset snapshots[2];      /* of checkpoints, the newer first: -1 none; older ones are deleted */
    time_ms unflushed_since_ms;   /* -1: nothing */
    time_ms roll_jitter_ms;
    time_ns ahead_at;             /* when room was last asked for ahead; 0: never */
    log_offset end_last_second;   /* of a log with room: where it was when the last second ended */
    bool checkpoint_wanted, roll_wanted;
    struct cleaner *cleaner;      /* compacts the log; NULL: nobody does */
    bool swap_wanted;             /* it is about to put new segments in: who would read files waits in these: */
    struct list parked_reads, parked_lookups, parked_lists;
    struct persist_job *capture;  /* owns: taken at a round's start, to run after it   */
    struct list trash;            /* segments that wait for their removal job */
    uint32_t trash_count;
};

struct log {
    struct log_store *store;
    struct list node;             /* in the store's list of logs, or of retired ones */
    struct list open_node;        /* open ones, the longest unused first         */
    struct list flush_node;       /* those with something to write at this turn's end */
    struct list due_node;         /* those for which log_next shall look again at the turn's end */
    struct map_node name_node;
    struct log_dir *dir;
    struct log_owner *owner;
    struct pool pool;             /* the body's: a child of the shard's          */
    struct log_body *body;        /* NULL: closed                                */
    struct log_job *job;          /* changes files                               */
    struct list waits;            /* for the opening                             */
    struct log_wait *change_wait; /* for truncation, close or deletion           */
    struct list retain_waits;
    struct uuid topic_id;
    struct log_config config;
    enum log_state state;
    enum err failure;
    enum change { CHANGE_NONE, CHANGE_TRUNCATE, CHANGE_TRUNCATE_FULLY, CHANGE_CLOSE, CHANGE_REST, CHANGE_DELETE, CHANGE_MOVE } change;
    struct log_move *move;        /* on its way into another directory           */
    uint32_t rewritten;           /* counts what changed written files otherwise than by growing */
    log_offset change_offset;
    bool change_settled;          /* truncation: the recovery point on disk is low enough */
    bool create, clean, opened_once, failed_told, wants_background, retain_wanted;
    bool in_background;           /* is one of the few that are opened in the background now */
    bool settling;                /* waits for a checkpoint of the whole directory */
    bool retired;                 /* closed by its owner: only its marks are kept, for the checkpoints */
    bool may_be_stray;            /* it was found, and may be of another topic id                      */
    bool start_is_above;          /* of the first segment's base, when the log was closed               */
    bool recovery_known, mark_known; /* there is something to write into the checkpoints                */
    log_offset recovery_gathered; /* what the checkpoint that is being written holds                    */
    struct list background_node;
    uint32_t holds;
    log_offset durable_before;    /* while a round's sync is due by flush.messages or flush.ms */
    log_offset durable_told;
    leader_epoch epoch_last;      /* remembered while closed */
    log_offset start, end, written, flushed, high_watermark, recovery_point;
    log_offset recovery_filed;    /* the largest recovery point that a checkpoint file may hold */
    log_offset start_filed;       /* the start never goes below it: it is in the checkpoint file */
    log_offset clean_point;       /* compaction: all before it is clean; -1: none */
    log_offset measured_end;      /* the end when compaction last looked whether there is enough to do; -1: not yet */
    time_ms measured_ms;
    bool uncleanable;             /* something in it cannot be compacted */
    bool opened_to_measure;       /* nobody else wanted it open */
    bool unasked;                 /* opened for recovery or retention, and nobody has asked for it since */
    time_ms retain_due_ms;        /* a closed log: when its oldest segment may be too old; INT64_MAX: never */
    struct log_report last_report;
    partition_index partition;
    char topic[];
};

/* ---- Jobs */
struct log_job {
    struct io_op op;
    struct log_store *store;
    struct log *log;                          /* NULL: the store's own */
    struct pool pool;                         /* a child: the job's while it runs */
    size_t bytes;                             /* of this struct */
    enum err err;
    bool beside;                              /* changes no file: runs beside the log's one job */
    enum err (*run)(struct log_job *job, struct io_files files); /* on an offload thread */
    void (*finish)(struct log_job *job);      /* on the shard; frees it */
    char folder[PATH_MAX_BYTES];              /* the partition's */
};
/* NULL: no memory. */
must_use void *job_new(struct log_store *store, struct log *log, size_t bytes);
void job_start(struct log_job *job);
void job_free(struct log_job *job);

struct checkpoint_round;
struct log_store {
    struct shard *shard;
    struct log_dirs *dirs;
    struct log_store_options options;
    struct log_metrics metrics;
    struct producer_budget producers;         /* of all open logs */
    struct list logs, retired, open_logs, flush, due, sync;
    struct list files, indexes;               /* segments, the longest unused first */
    struct list tail_ages;
    struct list background;                   /* logs to be opened though nobody waits */
    struct list removals;
    struct map names;
    struct tail_entry *free_entries;
    struct pool_block *blocks;                /* what tail entries are cut from */
    struct round *free_rounds;
    struct turn_hook turn;
    struct timer recovery_timer, mark_timer, retention_timer, removal_timer, second_timer, cleaner_timer, producer_timer;
    struct cleaner *cleaner;                  /* one at a time */
    struct sync_fs sync_fs[4];
    struct random random;
    uint32_t background_jobs, jobs;
    uint32_t batch_writes;                    /* of rounds in a batch, under way */
    struct log_wait final_wait;
    bool stopping, stopped, finishing, second_armed, retry_wanted, appended_lately, measuring;
    struct log_wait *stop_wait;
    /* shard 0's store gathers the checkpoint lines of all */
    struct checkpoint_round *checkpoint;      /* in progress */
    struct list checkpoint_requests;          /* for the next one */
    /* Who waits for a log start offset to be in its file: for a request to be made, and for the one that is under way. */
    struct list start_waits, start_waits_asked;
    bool start_asked;
};

/* ---- log.c */
void log_fail(struct log *log, enum err err);
void log_due(struct log *log);                /* log_next shall look at it at the turn's end */
void log_next(struct log *log);
void log_touch(struct log *log);              /* it was used */
void log_tell_all(struct list *waits, enum err err);
void log_body_free(struct log *log);
bool log_start_is_above(const struct log *log); /* so the start has a line in its checkpoint file */
void log_forget(struct log *log);             /* frees it */
void segment_close_file(struct segment *segment);
bool log_is_named(const struct map_node *node, const void *key);
static inline struct segment *log_active(const struct log *log) { return log->body->segments[log->body->count - 1]; }
/* The segment that `offset` would be in; NULL: below the first. */
struct segment *log_segment_of(const struct log *log, log_offset offset, uint32_t *index);
must_use bool body_add_segment(struct log_body *body, struct segment *segment, struct pool *pool);
void log_folder(const struct log *log, char out[PATH_MAX_BYTES]);
bool log_is_syncing(const struct log *log);   /* by policy nothing is durable before it is flushed */

/* ---- open.c */
void open_start(struct log *log);
void cut_start(struct log *log);              /* truncation, once everything is quiet */

/* ---- append.c */
void append_roll_job(struct log *log);        /* makes the files of segments that have none */

/* ---- flush.c */
void flush_mark(struct log *log);             /* there is something to write or sync at this turn's end */
void flush_turn(struct log_store *store);     /* the turn's end */
void flush_syncs(struct log_store *store);
bool log_is_quiet(const struct log *log);     /* nothing queued, nothing in flight */
void round_free_all(struct log_store *store);

/* ---- cache.c */
must_use struct tail_entry *tail_entry_new(struct log_store *store);
void tail_entry_free(struct log_store *store, struct tail_entry *entry);
void tail_add(struct log *log, struct tail_entry *entry); /* takes it, and a count of its slab */
void tail_written(struct tail_entry *entry);  /* may be evicted from now on */
void tail_drop_first(struct log *log);
void tail_clear(struct log *log);
void tail_trim(struct log *log);              /* the log's own and the store's, down to their bounds */
void tail_free_all(struct log_store *store);
/* True: answered from memory, with *err. */
bool tail_read(struct log_read *read, log_offset bound, enum err *err);

/* ---- read.c */
void segment_use(struct segment *segment);    /* the store's lists: it was used */
void store_trim_files(struct log_store *store);
void store_trim_indexes(struct log_store *store);
void log_mark(struct log *log, struct log_position position);

/* ---- persist.c */
/* Takes what is needed to make [.., end of the log] durable, at the start of a round that writes all there is. */
void capture_take(struct log *log);
void capture_free(struct log *log);
bool persist_checkpoint(struct log *log);     /* with the capture, after its round. False: nothing to do now */
bool persist_seal(struct log *log);           /* the oldest segment that is not active and not sealed */
void persist_close(struct log *log);
void persist_ahead(struct log *log);          /* sees to the room ahead of a metadata log; beside whatever else it does */

/* ---- cleaner.c */
void cleaner_look(struct log_store *store);   /* starts to compact the dirtiest log, if one is dirty enough */
void cleaner_tuned(struct log_store *store);  /* the store's options for it are other ones now */
bool cleaner_swap(struct log *log);           /* starts the swap, when it is wanted and nobody reads files */
void cleaner_cancel(struct log *log);         /* ends it now, or when its step does */

/* ---- move.c */
void move_resume(struct log *log, const struct future *future); /* what another process began */
void move_drop_left(struct log *log, const struct future *future); /* it is of no use: deletes it */
void move_tuned(struct log_store *store);     /* the rate is another one now */
bool move_is_ready(struct log *log);          /* little is missing: appends may be made to wait for the rest */
bool move_must_end(struct log *log);          /* false: it has ended; else its job ends it soon */
void move_start(struct log *log);             /* the rest, once everything is quiet */

/* ---- retain.c */
void retain_look(struct log *log, struct segment *segment); /* starts the job that learns a segment's timestamps */
void retain_step(struct log *log);
bool retain_remove(struct log *log);          /* starts the job for segments in the trash */
void retain_start_moved(struct log *log);     /* puts whole segments below the start into the trash */
void delete_start(struct log *log);

/* ---- checkpoint_round.c */
enum { CHECKPOINT_ALL_KINDS = (1 << CHECKPOINT_KINDS) - 1 };
/* On shard 0: a round of these kinds (bits), and of those that are asked for. */
void checkpoint_begin(struct log_store *store, uint32_t kinds);
void store_settle(struct log *log);           /* a checkpoint of all, then log->settling ends and log_next goes on */
void store_file_start(struct log *log, struct log_wait *wait); /* `wait` is called when the start has been written to its file */
void store_forget_waits(const struct log *log); /* it goes: those get ERR_CLOSED */
void checkpoint_starts(struct log_store *store); /* asks for a round, if somebody waits for a start: at the turn's end */

/* ---- removal.c */
/* After `delay` files are deleted; out of memory they stay until the next start. */
void removal_add(struct log_store *store, const char *path, log_offset base, time_ms delay);
enum { REMOVAL_FOLDER = -1 };                 /* instead of a base: path is a folder, and all in it goes; else `path` is the
                                               * folder and the files <base>.*.deleted go */
void removal_resume(struct log_store *store); /* what another life of the process has left, in all directories */
void removal_free_all(struct log_store *store);

/* ---- store.c */
void store_turn_wanted(struct log_store *store);
void store_retry(struct log_store *store);    /* something had no memory: look again in a second */
void store_make_room(struct log_store *store);/* an open log more: the longest unused one closes */
void store_arm_second(struct log_store *store);
void store_background(struct log_store *store);
void store_want_background(struct log *log);
void store_rest(struct log *log);             /* closes an open log, if nobody uses it now */
void store_background_done(struct log *log);  /* it was opened, or could not be */
extern const char *const segment_endings[5];
