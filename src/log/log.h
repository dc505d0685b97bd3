/* log/log.h - the storage of partitions, in Kafka's files: log directories, the store of a shard, one partition's log.
 *
 * - `log_dirs` is the node's: the directories of log.dirs, locked, with their meta.properties, the clean-shutdown mark and
 *   what their checkpoints said. Opened once, blocking, before anything is served; read by all shards afterwards.
 * - `log_store` is a shard's: its logs, open files (least recently used ones close), the tail cache, checkpoints, retention.
 * - `log` is one partition's, and lives on its shard. Idle it is under 1 KiB and holds no descriptor; it opens on first use
 *   (recovery included, on an offload thread) and closes again by itself.
 *
 * Nothing here blocks the shard. What has to wait answers ERR_AGAIN and calls back from a later turn, exactly once; any
 * other answer is final and no call follows. Callbacks never run inside the call that asked.
 *
 * Offsets of a log, in the order that always holds (L4):
 *     start <= stable <= high watermark <= end,   and   flushed <= written <= end
 * `end`: appended, has an offset; in memory until the turn's end. `written`: in the file. `flushed`: survives a power cut.
 * `durable`: what may be acknowledged: by the topic's policy either `flushed` or `written`.
 *
 * A failed write or sync ends the log in this process (LOG_FAILED; fsync is never tried again); the owner hears of it once,
 * and each call answers ERR_IO. After a full disk (ERR_NO_SPACE) the log may be opened again, which verifies it anew.
 *
 * On disk: segments `<base offset, 20 digits>.log` of record batches; `.index` (8-byte entries: relative last offset of a
 * batch, its position), `.timeindex` (12: largest timestamp so far, relative offset), `.txnindex`, `.snapshot`;
 * leader-epoch-checkpoint, partition.metadata. All of it to the byte as Apache Kafka writes it. Of our own only
 * `moldau.cut-<offset>` in a partition's directory: what recovery cut off, kept once; and a second copy of meta.properties.
 */
#pragma once
#include "base/containers.h"
#include "base/histogram.h"
#include "base/random.h"
#include "base/units.h"
#include "io/io.h"
#include "log/producer.h" /* producers and their transactions, as an owner sees them */
#include "log/verify.h"   /* what a batch must be before log_append; enum log_origin */
#include "shard/shard.h"

enum { LOG_TOPIC_BYTES_MAX = 249, LOG_DIRS_MAX = 64, LOG_PATH_MAX = 1024 };

/* ---- Log directories ------------------------------------------------------------------------------------------- */

struct log_dir;  /* one of log.dirs; offline is a state, not an end */
struct log_dirs;

struct log_dirs_options {
    const char *const *paths;      /* log.dirs, or log.dir alone                                                      */
    uint32_t count;
    const char *metadata_path;     /* metadata.log.dir, one of paths or not; NULL: the first of paths                 */
    broker_id node;                /* must agree with each meta.properties                                            */
    const char *cluster_id;        /* NULL: take what is there                                                        */
    struct pool *pool;             /* borrows: for what is found at start; used on one thread at a time               */
    struct random *random;         /* borrows: ids for empty directories, which are formatted here (but the metadata's)*/
    time_ms now_ms;                /* wall                                                                            */
    uint64_t disk_reserve_bytes;   /* moldau.disk.reserve; UINT64_MAX: 2 % of the disk, at most 1 GiB; 0: none        */
};

/* Locks, reads and verifies. A directory that cannot be used is offline; an error answer is for what must stop the
 * start: the metadata directory or all of them are unusable (ERR_IO), locked by somebody (ERR_LOCKED), not formatted
 * (ERR_NOT_FOUND), of another node or cluster, or damaged with no valid copy (ERR_INVALID, ERR_CORRUPT). `why` gets one
 * sentence then. The clean-shutdown marks are read and removed, durably, before this returns. */
must_use enum err log_dirs_open(struct log_dirs **out, struct io_files files, const struct log_dirs_options *options,
                                char *why, size_t why_size);
/* Some logs were never opened: what a kill left in them stays as it is. Directories that had no mark get none. */
void log_dirs_unsettled(struct log_dirs *dirs);
/* After every store is closed. Writes the clean-shutdown marks when `clean`, and frees the locks. */
void log_dirs_close(struct log_dirs *dirs, struct io_files files, bool clean, broker_epoch epoch);

/* What `format` does to one directory: makes it, writes meta.properties (and its copy), syncs. ERR_EXISTS: formatted. */
must_use enum err log_dir_format(struct io_files files, const char *path, const char *cluster_id, broker_id node,
                                 struct uuid id, time_ms now_ms);
/* ERR_NOT_FOUND: not formatted; ERR_CORRUPT: neither it nor its copy can be read. */
struct log_dir_meta {
    char cluster_id[64];
    broker_id node;   /* -1: not in the file */
    struct uuid id;
    int32_t version;
};
must_use enum err log_dir_meta_read(struct io_files files, const char *path, struct log_dir_meta *out);

uint32_t log_dirs_count(const struct log_dirs *dirs);                   /* of log.dirs: partitions are in no other  */
struct log_dir *log_dirs_at(struct log_dirs *dirs, uint32_t index);
struct log_dir *log_dirs_metadata(struct log_dirs *dirs);               /* where __cluster_metadata-0 lives */
struct log_dir *log_dirs_by_id(struct log_dirs *dirs, struct uuid id);  /* NULL: none                       */
struct log_dir *log_dirs_emptiest(struct log_dirs *dirs);               /* online, not cordoned if that can be, fewest partitions; NULL: all offline */
const char *log_dirs_cluster_id(const struct log_dirs *dirs);
bool log_dirs_were_clean(const struct log_dirs *dirs);                  /* every one had its mark           */
broker_epoch log_dirs_previous_epoch(const struct log_dirs *dirs);      /* from the marks; -1: missing anywhere, or they differ */

struct uuid log_dir_id(const struct log_dir *dir);
const char *log_dir_path(const struct log_dir *dir);
/* cordoned.log.dirs: takes no new partitions while another directory can. From any thread. */
void log_dir_cordon(struct log_dir *dir, bool cordoned);
bool log_dir_is_cordoned(const struct log_dir *dir);
bool log_dir_is_online(const struct log_dir *dir);                      /* from any thread */
void log_dir_fail(struct log_dir *dir);                                 /* from any thread; for good, in this process */
/* Free on its file system as last measured, less what was written since; and moldau.disk.reserve of it, below which clients'
 * writes are refused. UINT64_MAX: not measured yet. From any thread. */
uint64_t log_dir_available(const struct log_dir *dir);
uint64_t log_dir_reserve(const struct log_dir *dir);
uint32_t log_dir_partitions(const struct log_dir *dir);                 /* about how many; from any thread */

/* The partitions that were there at start and that no log has taken over yet. A non-zero answer of `found` stops. */
int log_dirs_each_found(const struct log_dirs *dirs,
                        int (*found)(void *context, struct log_dir *dir, const char *topic, partition_index partition),
                        void *context);
/* What lies in a directory just now: partitions and those that are on their way into it (`topic-N.<id>-future`), with the
 * bytes of their segments. Blocking: for jobs. Logs go on meanwhile, so files may come and go. A non-zero answer of `found`
 * stops and is returned; an error of the directory is negative, like -EIO. */
struct log_dir_entry {
    struct log_dir *dir;
    const char *topic;
    partition_index partition;
    uint64_t bytes;
    bool is_future;
};
int log_dir_scan(struct log_dir *dir, struct io_files files, bool (*wanted)(void *context, const char *topic, partition_index partition),
                 int (*found)(void *context, const struct log_dir_entry *entry), void *context);
/* The directory in which this partition was found; NULL: nowhere. */
struct log_dir *log_dirs_find(const struct log_dirs *dirs, const char *topic, partition_index partition);

/* ---- The store of a shard --------------------------------------------------------------------------------------- */

struct log_store;
struct log_store_options {
    uint32_t open_logs_max;        /* 0: 1024; beyond it the longest unused ones close                                */
    uint32_t open_files_max;       /* 0: 2048; descriptors of segments, those of old ones close first                 */
    size_t tail_bytes_max;         /* 0: 32 MiB of received slabs are kept for consumers that keep up                 */
    size_t index_bytes_max;        /* 0: 32 MiB of loaded indexes of old segments                                     */
    time_ms recovery_checkpoint_ms;/* 0: 60000: log.flush.offset.checkpoint.interval.ms and the log start offsets'    */
    time_ms high_watermark_ms;     /* 0: 5000: replica.high.watermark.checkpoint.interval.ms                          */
    time_ms retention_check_ms;    /* 0: 300000: log.retention.check.interval.ms                                      */
    time_ms retention_first_ms;    /* 0: 30000: the first one                                                         */
    uint64_t checkpoint_bytes_min; /* 0: 4 MiB: a log gets a new recovery point after that many bytes, or 10 checks   */
    uint32_t sync_fs_files;        /* 0: 64; more files to sync in a turn than this: the whole file system at once    */
    uint32_t preallocate_bytes;    /* 0: 4 MiB for logs that are hot; UINT32_MAX: never                               */
    uint32_t room_bytes_max;       /* 0: 256 KiB of zeros at most behind what is synced often; UINT32_MAX: never           */
    time_ms delete_delay_ms;       /* so long is kept what the process before renamed for deletion                     */
    time_ms producer_expiration_ms;/* 0: 86400000                                                                     */
    time_ms producer_check_ms;     /* 0: 600000: producer.id.expiration.check.interval.ms                             */
    uint32_t background_opens_max; /* 0: 2; logs at once that are opened though nobody waits for them                 */
    uint32_t producers_max;        /* 0: 1000000; producers whose sequences are remembered, of all logs              */
    bool cleaner_off;              /* log.cleaner.enable=false                                                        */
    uint32_t cleaner_threads;      /* 0: 1; cleanings at once, of all shards together                                 */
    time_ms cleaner_backoff_ms;    /* 0: 15000; between two looks for something to clean                              */
    uint64_t cleaner_dedupe_bytes; /* 0: 128 MiB; a cleaning's map of keys at most                                    */
    double cleaner_load_factor;    /* 0: 0.9                                                                          */
    uint64_t move_bytes_per_second;/* 0: no bound on what moves between directories copy, of all shards together      */
    uint64_t cleaner_bytes_per_second; /* 0: no bound on what is read and written                                     */
    uint32_t cleaner_step_bytes;   /* 0: 8 MiB; so much of a cleaning is one job                                      */
};
must_use enum err log_store_open(struct log_store **out, struct shard *shard, struct log_dirs *dirs, const struct log_store_options *options);

/* What of the options can change while the store runs, at once: the cleaner's (but for cleaner_off), producer_expiration_ms,
 * move_bytes_per_second and background_opens_max. A cleaning that is under way keeps its map, and goes on at the new rate. */
void log_store_tune(struct log_store *store, const struct log_store_options *options);

/* Everything ends within a log, then in the store. */
struct log_wait {
    struct list node;                                /* the log's, as the next two */
    log_offset target;
    struct log *log;
    void (*done)(struct log_wait *wait, enum err err);
};
/* Stops the store: each log is flushed, gets its producer snapshot, and is closed; owners must not use theirs afterwards.
 * Shard 0's is stopped last, before any is freed: it syncs the file systems once and writes the checkpoints for all. */
enum err log_store_stop(struct log_store *store, struct log_wait *wait);
void log_store_free(struct log_store *store); /* after it has stopped */
/* Checkpoint files written now: recovery points, log start offsets, high watermarks of all stores (asked of shard 0's). */
enum err log_store_checkpoint(struct log_store *store, struct log_wait *wait);

struct log_metrics {
    uint64_t appends, append_bytes, writes, syncs, syncs_fs, rolls, reads_memory, reads_file, reads_cold, reads_verified,
        reads_corrupt, opens, closes, recoveries, recovered_bytes, moves, moves_failed, cut_bytes, index_loads, index_rebuilds, segments_deleted,
        failures, refused_no_space, cleanings, cleanings_failed, cleaned_bytes_read, cleaned_bytes_written,
        cleaned_records; /* that went */
    struct histogram sync;
    uint32_t logs, logs_open, files_open;
    size_t tail_bytes, index_bytes;
};
/* Of what was found at the start and no log has taken over: that of which `is_stray` says so gets a name `...-stray`, and is
 * kept; partitions that were on their way into another directory, too. Answers how many. */
uint32_t log_store_strays(struct log_store *store, bool (*is_stray)(void *context, const char *topic, partition_index partition), void *context);
const struct log_metrics *log_store_metrics(const struct log_store *store);
void log_metrics_add(struct log_metrics *into, const struct log_metrics *from); /* those of several stores */
/* Each log that is open; open_logs_max of them at most. */
struct log;
void log_store_each_open(const struct log_store *store, void *context, void (*each)(void *context, const struct log *log));

/* ---- One partition's log ---------------------------------------------------------------------------------------- */

struct log;
enum log_state { LOG_CLOSED, LOG_OPENING, LOG_OPEN, LOG_CLOSING, LOG_FAILED, LOG_DELETED };

/* Kafka's topic configs, as far as the log acts on them. log_config_init gives Kafka's defaults, with flush_messages 1. */
struct log_config {
    int64_t flush_messages;          /* 1: nothing is acknowledged before it is flushed; INT64_MAX: page cache         */
    time_ms flush_ms;
    uint32_t segment_bytes, segment_index_bytes, index_interval_bytes;
    time_ms segment_ms, segment_jitter_ms;
    int64_t retention_bytes;         /* -1: no bound */
    time_ms retention_ms;            /* -1: no bound */
    time_ms file_delete_delay_ms;
    time_ms delete_retention_ms, min_compaction_lag_ms, max_compaction_lag_ms;
    double min_cleanable_dirty_ratio;
    bool cleanup_delete, cleanup_compact;
    bool may_use_reserve;            /* internal topics and metadata: writes go on below moldau.disk.reserve           */
    bool verify_from_start;          /* the metadata log: each opening verifies all of it                              */
};
void log_config_init(struct log_config *config);
void log_config_init_metadata(struct log_config *config); /* __cluster_metadata: no retention of its own, always flushed */

/* The owner's functions; each may be NULL. They run in a turn of the shard, never inside a call to the log, and read the
 * new value from the log. */
struct log_owner {
    void (*written)(struct log_owner *owner, struct log *log);      /* log_written moved: others may read it            */
    void (*durable)(struct log_owner *owner, struct log *log);      /* log_durable moved: it may be acknowledged        */
    void (*start_moved)(struct log_owner *owner, struct log *log);  /* retention moved the log start offset             */
    void (*failed)(struct log_owner *owner, struct log *log, enum err err); /* once; the log is LOG_FAILED              */
};

struct log_spec {
    struct log_dir *dir;             /* where it was found (log_dirs_find) or shall be made                             */
    const char *topic;               /* copied */
    partition_index partition;
    struct uuid topic_id;            /* checked against partition.metadata: ERR_FENCED from the opening when it differs  */
    bool strays;                     /* then what was found at the start is put aside as `-stray`, and made anew         */
    bool create;                     /* make it when it is missing; else a missing one is ERR_NOT_FOUND                 */
    struct log_config config;
    struct log_owner *owner;         /* borrows: outlives the log */
};
/* Costs memory only; the files come with log_open. ERR_EXISTS: this store has it. ERR_BUSY: over budget. */
must_use enum err log_new(struct log **out, struct log_store *store, const struct log_spec *spec);

/* ERR_NONE: it is open, and stays so during this turn (and while anything waits on it). ERR_AGAIN: `wait` is called. */
must_use enum err log_open(struct log *log, struct log_wait *wait);
/* May a log that failed with this error be opened again, which verifies it anew? Room and memory come back, a disk does not. */
bool log_failure_passes(enum err err);
/* While held, an idle log is not closed. Counted. */
void log_hold(struct log *log);
void log_release(struct log *log);
/* Flushes and closes it: the owner must not use it after the call. What the checkpoints say of it is kept, and goes on with
 * a log_new of the same name. */
enum err log_close(struct log *log, struct log_wait *wait);
/* Renames it away, durably, before `wait` is told; the files are deleted file.delete.delay.ms later. The owner must not use
 * it after the call. */
enum err log_delete(struct log *log, struct log_wait *wait);
/* Into another directory of the node, while it is used; ERR_NONE: it is under way, or there already. Near its end appends
 * and reads are answered ERR_BUSY for a moment. A second call with another target ends the first one: ERR_BUSY, unless the
 * target is where the log is. What comes of it is in the metrics, and log_dir_of says where the log is. */
must_use enum err log_move(struct log *log, struct log_dir *target);
struct log_dir *log_move_target(const struct log *log); /* NULL: it is not on its way; one that a stop or a crash ended goes on with log_new */

void log_config_set(struct log *log, const struct log_config *config);
void log_topic_id_set(struct log *log, struct uuid topic_id);

enum log_state log_state(const struct log *log);
enum err log_failure(const struct log *log);            /* why it is LOG_FAILED */
const char *log_topic(const struct log *log);
partition_index log_partition(const struct log *log);
struct uuid log_topic_id(const struct log *log);
struct log_dir *log_dir_of(const struct log *log);

/* What the last opening found, also one that failed: told to the operator and to the controller. */
struct log_report {
    bool created, clean;             /* clean: nothing had to be verified                                              */
    log_offset recovery_point;       /* where the scan began                                                           */
    uint64_t scanned_bytes;
    log_offset cut_at;               /* -1: nothing was cut; else what lay from this offset on went to moldau.cut-...   */
    uint64_t cut_bytes;
    log_offset damaged_at;           /* -1: none seen; else rot before the recovery point, which was left as it is      */
    log_offset damaged_base;         /* of the segment that it is in                                                    */
    bool flushed_lost;               /* the log ends before its recovery point: flushed data is missing. Leave the ISR. */
    uint32_t time_us;
};
const struct log_report *log_report(const struct log *log);

/* These are remembered while the log is closed; before the first opening they are what the checkpoints said (end: -1). */
log_offset log_start(const struct log *log);
log_offset log_start_filed(const struct log *log);  /* the start, as far as it is safe on disk */
log_offset log_end(const struct log *log);              /* LEO */
log_offset log_written(const struct log *log);
log_offset log_flushed(const struct log *log);
log_offset log_durable(const struct log *log);
bool log_is_behind(const struct log *log);            /* so much waits to be written that who appends had better wait */
log_offset log_high_watermark(const struct log *log);   /* at first: from the checkpoint, clamped to [start, end] at open */
log_offset log_stable(const struct log *log);           /* LSO: min(first undecided transaction, high watermark)          */
log_offset log_recovery_point(const struct log *log);
/* An offset with its place, as Kafka's LogOffsetMetadata. */
struct log_position {
    log_offset offset;
    log_offset segment_base;         /* -1: only the offset is known */
    int64_t position;                /* in the segment's file        */
};
struct log_position log_end_position(const struct log *log);
struct log_position log_durable_position(const struct log *log);
int64_t log_position_bytes_between(const struct log *log, const struct log_position *from, const struct log_position *to); /* -1: not on one segment */

/* For these the log must be open. */
uint64_t log_size(const struct log *log);
uint32_t log_segments(const struct log *log);
time_ms log_timestamp_max(const struct log *log);       /* of what was appended since the opening; -1: nothing */

/* Never below what it was, except by log_truncate; above the end: clamped. Decides transactions up to it. */
void log_high_watermark_set(struct log *log, log_offset offset);

/* ---- Append. The log must be open. */

/* Whole batches that log/verify has passed, one after the other; more than one of a producer id only with LOG_FROM_LEADER. Their headers are written to (base offset and leader
 * epoch, outside of the CRC); the log takes a count of the slab and keeps the bytes as they are until they are written
 * and, for readers at the tail, a while longer. */
struct log_batches {
    uint8_t *data;
    uint32_t size;
    struct slab *slab;               /* counted here: the caller keeps its own count */
};
struct log_append {
    struct log_batches batches;
    enum log_origin origin;
    leader_epoch epoch;              /* stamped, but for LOG_FROM_LEADER, whose batches carry theirs                    */
    uint64_t verification_guard;     /* of a transactional Produce; 0: none                                            */
    int32_t coordinator_epoch;       /* of a transaction marker; -1: none. The batch says it, too, and that counts         */
    uint8_t transaction_version;     /* of a marker: 2 has the stricter epoch check                                    */
};
struct log_appended {
    log_offset base, last;           /* of a duplicate: those of the first time                                        */
    log_offset start;                /* log start offset, for the answer                                               */
    time_ms timestamp;               /* largest; of a duplicate: that of the first time                                */
    bool duplicate;
    int16_t kafka_error;             /* with ERR_INVALID: which of Kafka's errors the producer state answers with      */
    uint32_t batches;
};
/* ERR_NONE: it has offsets, and `durable` will pass them or `failed` is called. Nothing is appended on any other answer:
 * ERR_INVALID (kafka_error says), ERR_LIMIT (more than a segment), ERR_NO_SPACE (disk reserve reached), ERR_NO_MEMORY,
 * ERR_IO (failed), ERR_OUT_OF_RANGE (LOG_FROM_LEADER: the batches do not begin at the end of the log). */
must_use enum err log_append(struct log *log, const struct log_append *append, struct log_appended *out);
/* Writes at this turn's end happen by themselves. This also flushes all that was appended so far, whatever the policy,
 * and tells when that is done. */
enum err log_flush(struct log *log, struct log_wait *wait);

/* ---- Change the ends. The log must be open; appends and reads while one waits answer ERR_BUSY. */

/* Drops everything from `offset` on. Files are cut into new ones while somebody reads the old one. */
enum err log_truncate(struct log *log, log_offset offset, struct log_wait *wait);
/* Drops everything; the log starts and ends at `offset`. */
enum err log_truncate_fully(struct log *log, log_offset offset, struct log_wait *wait);
/* Up only: DeleteRecords, a leader's log start, a snapshot. Whole segments before it go in the background. Answers
 * ERR_OUT_OF_RANGE above the high watermark (metadata: above the end). */
enum err log_start_set(struct log *log, log_offset offset);
/* ERR_NONE: the start, as it is now, does not go back, whatever happens. ERR_AGAIN: `wait` is called when that is so. All that
 * ask while one write is under way share the next. ERR_IO, ERR_NO_SPACE, ...: it may go back. The log may go meanwhile. */
must_use enum err log_start_flush(struct log *log, struct log_wait *wait);
/* Retention as the store's timer runs it. `done` when it has run; what it deleted is in the metrics. */
enum err log_retain(struct log *log, struct log_wait *wait);
/* The active segment ends here (unless empty); as time, size or a full index do. */
enum err log_roll(struct log *log);

/* ---- Leader epochs. The log must be open. */

void log_epoch_assign(struct log *log, leader_epoch epoch, log_offset start); /* on becoming leader: at the end */
leader_epoch log_epoch_last(const struct log *log);                           /* -1: none */
/* Kafka's endOffsetForEpoch: the largest epoch <= `epoch` and where it ends; (-1, -1) when not known. */
struct log_epoch_end { leader_epoch epoch; log_offset end; };
struct log_epoch_end log_epoch_end_for(const struct log *log, leader_epoch epoch);
leader_epoch log_epoch_at(const struct log *log, log_offset offset);          /* -1: not known */

/* ---- Read. The log must be open. */

enum log_upto { LOG_UPTO_HIGH_WATERMARK, LOG_UPTO_STABLE, LOG_UPTO_END };

/* The caller fills the first part, keeps the struct until `done`, and then owns the chain's slices. */
struct log_read {
    struct log *log;
    log_offset from;
    uint32_t bytes_max;
    bool min_one;                    /* the first batch is given even if it is larger than bytes_max                    */
    enum log_upto upto;
    struct chain *out;               /* the slices are added to it: whole of memory, or one range of a file            */
    void (*done)(struct log_read *read, enum err err);
    /* the answer */
    struct log_position position;    /* of the first batch given; of `from` when there is nothing                      */
    log_offset upto_offset;          /* the bound that was used                                                        */
    uint32_t bytes;
    bool cut;                        /* the first batch was larger than bytes_max, and min_one was not asked for       */
    bool has_more;                   /* the next batch did not fit any more: of memory only whole ones are given       */
    /* the log's */
    struct list node;
    struct io_op op;
    struct segment *segment;
    struct io_file *window_file;
    uint64_t at, limit, verify_to, sound;
    uint32_t step, window_size;
    void *buffer;
    log_offset expected;
    log_offset next, sound_next, sound_last, bound; /* what should lie at `at` and at `sound`; -1: not known. In the segment all is below `bound` */
    leader_epoch epoch, sound_epoch;
    enum err err;
    bool starting, finished, anew, around;
};
/* ERR_NONE: answered (possibly with nothing: from == the bound). ERR_AGAIN: `done` is called. ERR_OUT_OF_RANGE: below
 * the start or above the end. A chain's last batch may be cut by bytes_max, as Kafka's is, when it comes from a file.
 * ERR_CORRUPT: what lies at `from` is damaged; where the damage comes later, the answer ends before it. */
must_use enum err log_read(struct log_read *read);

/* For an offload thread, when a send finds that a range which log_read gave is no longer in memory: brings it in and
 * verifies the batches that it touches (L3). `begin` is where the range began, with a batch; `offset` what is next. 0, or a
 * negative errno value: nothing of it may be sent. Either way the log's next reads of this file verify again. */
int64_t log_warm(struct io_files files, struct pool *pool, struct file_ref *file, uint64_t begin, uint64_t offset, size_t size);

/* ---- Look up. The log must be open. */

enum { LOG_TIME_LATEST = -1, LOG_TIME_EARLIEST = -2, LOG_TIME_MAX = -3, LOG_TIME_EARLIEST_LOCAL = -4,
       LOG_TIME_LATEST_TIERED = -5, LOG_TIME_EARLIEST_PENDING = -6 };
struct log_lookup {
    struct log *log;
    time_ms timestamp;               /* >= 0: the first record at or after it; or one of the above                      */
    enum log_upto upto;              /* LATEST answers it; results at or beyond it count as not found                  */
    void (*done)(struct log_lookup *lookup, enum err err);
    /* the answer; not found: all -1 */
    log_offset offset;
    time_ms found_timestamp;
    leader_epoch epoch;
    /* the log's */
    struct list node;
    struct io_op op;
    void *job;
};
must_use enum err log_lookup(struct log_lookup *lookup);

/* Aborted transactions that overlap [from, upto), as a Fetch with read_committed lists them. */
struct log_aborted { producer_id producer; log_offset first; };
struct log_aborted_list {
    struct log *log;
    log_offset from, upto;
    struct arena *arena;             /* borrows: where the answer lives */
    void (*done)(struct log_aborted_list *list, enum err err);
    struct log_aborted *items;
    uint32_t count;
    struct list node;
    struct io_op op;
    void *job;
};
must_use enum err log_aborted_list(struct log_aborted_list *list);

/* ---- Producers. The log must be open. */

struct producer_state;
/* For DescribeProducers, verification guards and expiry: see log/producer.h. NULL while the log is not open. */
struct producer_state *log_producers(struct log *log);

/* Asserts every invariant that can be asserted without waiting (L1, L2, L4, order of the ends, segments, indexes). */
void log_check(const struct log *log);
void log_store_check(const struct log_store *store);
/* One line: state, ends, segments. For transcripts and the operator. */
struct text;
void log_text(const struct log *log, struct text *out);
