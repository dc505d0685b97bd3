/* log/dir.h - inside of the log directories: what every shard may read of them, and their small files. */
#pragma once
#include "log/log.h"
#include "log/paths.h"

enum checkpoint_kind { CHECKPOINT_RECOVERY, CHECKPOINT_START, CHECKPOINT_HIGH_WATERMARK, CHECKPOINT_CLEANER, CHECKPOINT_KINDS };
extern const char *const checkpoint_names[CHECKPOINT_KINDS];

/* A partition that was there at start: a name and what the checkpoints said. Its place in the map is fixed after the
 * start, so that every shard may look it up; `taken` is all that changes. */
struct found {
    struct map_node node;
    struct log_dir *dir;
    log_offset marks[CHECKPOINT_KINDS]; /* -1: no line */
    _Atomic bool taken;                 /* a log has it now, or it was deleted: its lines are that log's */
    partition_index partition;
    char topic[];
};

/* A partition on its way into this directory when the process before ended. */
struct future {
    struct future *next;
    struct log_dir *dir;
    _Atomic bool is_stray;              /* put aside since */
    partition_index partition;
    char *topic;                        /* lives in the dirs' arena, as the name does */
    char name[];
};
/* A partition that was found in another directory, too. */
struct twin { struct twin *next; struct log_dir *dir; struct found *found; };
struct away { struct away *next; char name[]; }; /* a directory that was renamed for deletion */

struct log_dir {
    struct log_dirs *dirs;
    char *path;                      /* lives in the dirs' arena */
    struct uuid id;
    struct io_file *lock;            /* owns; NULL: offline from the start */
    bool was_clean;
    broker_epoch previous_epoch;
    uint64_t reserve_bytes;
    struct away *away;
    _Atomic bool offline, cordoned;
    _Atomic bool unsettled;          /* something in it is not as a clean stop leaves it: no mark */
    _Atomic uint32_t partitions;
    _Atomic uint64_t available;      /* of the file system, as last measured; UINT64_MAX: not yet */
    /* A partition that was deleted leaves lines in the checkpoints that a new one of its name must not inherit: a log is
     * created only when `settled` has reached what `deleted` was. */
    _Atomic uint64_t deleted, settled;
    _Atomic int filing;              /* enum err: how the newest checkpoints were written here */
    _Atomic uint32_t straying;       /* jobs that put strays aside: until then nothing is made where they lie */
};
struct log_dirs {
    struct pool *pool;               /* borrows */
    struct arena arena;
    struct log_dir *dirs;            /* lives in arena */
    uint32_t count;                  /* of log.dirs, and behind them metadata.log.dir if it is none of these */
    uint32_t data_count;             /* of log.dirs */
    uint32_t metadata;
    struct map found;
    struct future *futures;
    struct twin *twins;
    _Atomic time_ns moves_until;     /* what moves between directories have copied is paid for then, at their rate */
    char cluster_id[64];
    broker_id node;
    bool clean;
    broker_epoch previous_epoch;
    _Atomic time_ns cleanings_until; /* what cleanings have read and written is paid for then, at their rate */
    _Atomic uint32_t cleaners;       /* cleanings under way, of all stores */
    _Atomic uint32_t dirty;          /* bits of checkpoint kinds that changed since they were written */
};

/* NULL: not found, or taken. Taking is done by the shard that makes the log. */
struct found *dirs_find(const struct log_dirs *dirs, const char *topic, partition_index partition);
/* A directory into which it was on its way, after `before`; NULL: none (more). */
const struct future *dirs_next_future(const struct log_dirs *dirs, const struct future *before, const char *topic, partition_index partition);
static inline void dirs_mark_dirty(struct log_dirs *dirs, enum checkpoint_kind kind) {
    uint32_t bit = 1u << kind;
    if (!(atomic_load_explicit(&dirs->dirty, memory_order_relaxed) & bit)) atomic_fetch_or(&dirs->dirty, bit);
}

static inline void dirs_mark_all_dirty(struct log_dirs *dirs) {
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) dirs_mark_dirty(dirs, (enum checkpoint_kind)kind);
}

/* So many bytes more were written since the space was measured; or there is none, as the disk just said. */
static inline void dir_takes(struct log_dir *dir, uint64_t bytes) {
    uint64_t had = atomic_load_explicit(&dir->available, memory_order_relaxed);
    while (had != UINT64_MAX && !atomic_compare_exchange_weak_explicit(&dir->available, &had, had > bytes ? had - bytes : 0, memory_order_relaxed, memory_order_relaxed))
        ;
}
static inline void dir_is_full(struct log_dir *dir) { atomic_store_explicit(&dir->available, 0, memory_order_relaxed); }

/* Writes `name`.tmp, syncs it if asked, and renames it to `name`. The new name is durable once the folder is synced; without
 * `sync` a power cut may leave an empty file. */
must_use enum err file_put(struct io_files files, const char *folder, const char *name, const void *bytes, size_t size, bool sync);
/* The same, and syncs the folder: whole or not at all. */
must_use enum err file_replace(struct io_files files, const char *folder, const char *name, const void *bytes, size_t size);
/* All of a small file. ERR_NOT_FOUND; ERR_LIMIT: larger than size_max. The bytes are the caller's, with a 0 behind. */
must_use enum err file_slurp(struct io_files files, const char *path, size_t size_max, struct pool *pool, char **out, size_t *size);

/* partition.metadata: "version: 0\ntopic_id: <22 characters>". ERR_NOT_FOUND, ERR_CORRUPT. After a write the folder is to be synced. */
must_use enum err partition_metadata_read(struct io_files files, const char *folder, struct uuid *out);
must_use enum err partition_metadata_write(struct io_files files, const char *folder, struct uuid id);
