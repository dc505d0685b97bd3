/* A log goes to another directory of its node while it is used.
 *
 * Its files are copied beside it, into `<topic>-<partition>.<id>-future` there, again and again until little is missing.
 * Then appends and reads wait (ERR_BUSY) for one job: the rest is copied and synced, the future folder gets the partition's
 * name, the old one goes away as a deleted one does. The log stays open meanwhile; what it holds in memory is true of the
 * copies, too.
 *
 * A crash leaves either a future folder behind, which means nothing, or, between the two renames, two folders of the same
 * content. An error leaves the log where it was.
 */
#include "log/parts.h"
#include <errno.h>
#include <string.h>

enum { COPY_BYTES = 1 << 20, LITTLE_BYTES = 8 << 20, ROUNDS_MAX = 20 };

/* A place in the log's files: all before it is in them for good. Behind it there may be room that is written to later, so
 * that a file's size says nothing. */
struct settled {
    log_offset base;              /* of a segment */
    uint64_t at;                  /* in its file  */
};

struct log_move {
    struct log_dir *target;
    uint32_t rewritten;           /* of the log, when the copying began         */
    uint32_t rounds;
    uint64_t bytes;               /* of the log, when this round began          */
    struct settled copied;        /* up to here the copies are as they should be */
    _Atomic bool cancelled;       /* by the shard, for the job                  */
    bool is_copying, is_copied;
    char future[PATH_MAX_BYTES];
};

struct move_job {
    struct log_job job;
    struct log_move *move;
    struct io_files files;
    struct settled from, upto;    /* what is copied already; what is settled in the files now */
    uint8_t *buffer;              /* while it runs: of the job's pool */
    bool renamed;                 /* the log is in its new place             */
    bool has_active;
    log_offset active_base;
    struct io_file *active;       /* owns, until the log takes it            */
    char leftover[PATH_MAX_BYTES], place[PATH_MAX_BYTES], away[PATH_MAX_BYTES], stray[PATH_MAX_BYTES], parent[PATH_MAX_BYTES], old_parent[PATH_MAX_BYTES];
};

/* ---- On an offload thread */

static bool is_kept(const char *name) {
    return !name_ends_with(name, ".deleted") && !name_ends_with(name, ".tmp") && !name_ends_with(name, ".cleaned") && !name_ends_with(name, ".swap");
}

static int copy_bytes(struct move_job *m, struct io_file *from, struct io_file *to, uint64_t at, uint64_t upto) {
    while (at < upto) {
        if (atomic_load_explicit(&m->move->cancelled, memory_order_relaxed)) return -ECANCELED;
        size_t size = upto - at < COPY_BYTES ? (size_t)(upto - at) : COPY_BYTES;
        int64_t got = m->files.vtable->read(m->files.self, from, m->buffer, size, at);
        if (got > 0) got = m->files.vtable->write(m->files.self, to, m->buffer, (size_t)got, at);
        if (got <= 0) return got < 0 ? (int)got : -EIO; /* it shrank */
        at += (uint64_t)got;
    }
    return 0;
}

static bool name_offset_of_log(const char *name, log_offset *base) {
    return strlen(name) == OFFSET_DIGITS + strlen(".log") && name_offset(name, ".log", base);
}

/* From where on a segment's file is to be copied, `there` bytes of it being copied already. */
static uint64_t copy_from(const struct move_job *m, log_offset base, uint64_t there, uint64_t size) {
    if (base < m->from.base) return there >= size ? size : 0; /* it is whole: at most its room has been given back */
    uint64_t from = base == m->from.base ? m->from.at : 0;
    return there < from || size < from ? 0 : from;
}

/* Anything but a segment is copied anew unless it looks the same. */
static int copy_file(void *context, const char *name, bool is_directory) {
    struct move_job *m = context;
    char from_path[PATH_MAX_BYTES], to_path[PATH_MAX_BYTES];
    struct io_file *from = NULL, *to = NULL;
    struct io_stat source, there = {0};
    if (is_directory || !is_kept(name)) return 0;
    path_join(from_path, m->job.folder, name);
    path_join(to_path, m->move->future, name);
    int result = m->files.vtable->stat(m->files.self, from_path, &source);
    if (result < 0) return result == -ENOENT ? 0 : result;
    log_offset base;
    bool is_segment = name_offset_of_log(name, &base), is_there = m->files.vtable->stat(m->files.self, to_path, &there) == 0;
    uint64_t at = is_segment ? copy_from(m, base, there.size, source.size) : 0;
    if (is_there && there.size == source.size && (is_segment ? at == source.size && source.size > 0 : there.modified_ns == source.modified_ns)) return 0;
    result = m->files.vtable->open(m->files.self, &from, from_path, IO_READ);
    if (result < 0) return result == -ENOENT ? 0 : result; /* deleted meanwhile */
    result = m->files.vtable->open(m->files.self, &to, to_path, IO_READ | IO_WRITE | IO_CREATE | (at == 0 ? IO_TRUNCATE : 0));
    if (result >= 0) result = copy_bytes(m, from, to, at, source.size);
    if (result >= 0 && at > 0 && there.size > source.size) result = m->files.vtable->truncate(m->files.self, to, source.size);
    if (result >= 0) result = m->files.vtable->sync_data(m->files.self, to);
    io_file_drop(to);
    io_file_drop(from);
    /* Retention asks for it where records have no timestamps. */
    if (result >= 0) result = m->files.vtable->set_modified(m->files.self, to_path, source.modified_ns);
    return result < 0 ? result : 0;
}

static int drop_extra(void *context, const char *name, bool is_directory) {
    struct move_job *m = context;
    char path[PATH_MAX_BYTES];
    struct io_stat stat;
    path_join(path, m->job.folder, name);
    if (is_directory || m->files.vtable->stat(m->files.self, path, &stat) != -ENOENT) return 0;
    path_join(path, m->move->future, name);
    return m->files.vtable->unlink(m->files.self, path);
}

static int unlink_one(void *context, const char *name, bool is_directory) {
    struct move_job *m = context;
    char path[PATH_MAX_BYTES];
    path_join(path, m->leftover, name);
    return is_directory ? 0 : m->files.vtable->unlink(m->files.self, path);
}

/* Another future of this partition, which a crash or another node has left. */
static int drop_leftover(void *context, const char *name, bool is_directory) {
    struct move_job *m = context;
    char topic[NAME_MAX_BYTES + 1];
    partition_index partition;
    if (!is_directory || !name_future(name, topic, &partition) || partition != m->job.log->partition || strcmp(topic, m->job.log->topic) != 0) return 0;
    path_join(m->leftover, m->parent, name);
    if (strcmp(m->leftover, m->move->future) == 0) return 0;
    int result = m->files.vtable->list(m->files.self, m->leftover, unlink_one, m);
    return result < 0 ? result : m->files.vtable->remove_directory(m->files.self, m->leftover);
}

static int make_future(struct move_job *m) {
    struct io_files files = m->files;
    int result = files.vtable->list(files.self, m->parent, drop_leftover, m);
    /* Nor is a folder of its name any use to it there, after a crash between the renames of an earlier move. */
    if (result >= 0) result = files.vtable->rename(files.self, m->place, m->stray);
    if (result >= 0 || result == -ENOENT) result = files.vtable->make_directory(files.self, m->move->future);
    return result == -EEXIST ? 0 : result;
}

static enum err copy_run(struct log_job *job, struct io_files files) {
    struct move_job *m = container_of(job, struct move_job, job);
    m->files = files;
    m->buffer = pool_alloc(&job->pool, COPY_BYTES);
    if (!m->buffer) return ERR_NO_MEMORY;
    int result = make_future(m);
    if (result >= 0) result = files.vtable->list(files.self, job->folder, copy_file, m);
    if (result == -ENOENT) result = 0; /* nothing was written yet */
    pool_free(&job->pool, m->buffer, COPY_BYTES);
    return result == -ECANCELED ? ERR_CLOSED : err_from_errno(result);
}

static int replace(struct move_job *m) {
    struct io_files files = m->files;
    char path[PATH_MAX_BYTES];
    int result = files.vtable->list(files.self, m->job.folder, copy_file, m);
    if (result == -ENOENT) { /* there is no such folder: the new one comes with the first opening */
        m->renamed = true;
        return files.vtable->remove_directory(files.self, m->move->future);
    }
    if (result >= 0) result = files.vtable->list(files.self, m->move->future, drop_extra, m);
    if (result >= 0) result = files.vtable->sync_directory(files.self, m->move->future);
    if (result >= 0 && m->has_active) {
        path_of_offset(path, m->move->future, m->active_base, ".log");
        result = files.vtable->open(files.self, &m->active, path, IO_READ | IO_WRITE);
    }
    if (result >= 0) result = files.vtable->rename(files.self, m->move->future, m->place);
    if (result < 0) return result;
    m->renamed = true;
    result = files.vtable->sync_directory(files.self, m->parent);
    if (result >= 0) result = files.vtable->rename(files.self, m->job.folder, m->away);
    return result < 0 ? result : files.vtable->sync_directory(files.self, m->old_parent);
}

static enum err replace_run(struct log_job *job, struct io_files files) {
    struct move_job *m = container_of(job, struct move_job, job);
    m->files = files;
    m->buffer = pool_alloc(&job->pool, COPY_BYTES);
    if (!m->buffer) return ERR_NO_MEMORY;
    int result = replace(m);
    pool_free(&job->pool, m->buffer, COPY_BYTES);
    return result == -ECANCELED ? ERR_CLOSED : err_from_errno(result);
}

/* ---- On the shard */

static struct move_job *move_job_new(struct log *log) {
    struct move_job *m = job_new(log->store, log, sizeof *m);
    char name[NAME_MAX_BYTES + 1];
    if (!m) return NULL;
    m->move = log->move;
    m->from = log->move->copied;
    strcpy(m->parent, log->move->target->path);
    strcpy(m->old_parent, log->dir->path);
    path_partition_name(name, log->topic, log->partition);
    path_join(m->place, m->parent, name);
    path_away_name(name, log->topic, log->partition, uuid_random(&log->store->random), "-delete");
    path_join(m->away, m->old_parent, name);
    path_away_name(name, log->topic, log->partition, uuid_random(&log->store->random), "-stray");
    path_join(m->stray, m->parent, name);
    return m;
}

/* The log stays where it is. */
static void give_up(struct log *log) {
    struct log_move *move = log->move;
    log->move = NULL;
    if (log->change == CHANGE_MOVE) log->change = CHANGE_NONE;
    removal_add(log->store, move->future, REMOVAL_FOLDER, 0);
    pool_free(log->store->shard->pool, move, sizeof *move);
    log_due(log);
}

/* The first segment that is not all in its file; of a closed log all are. */
static struct settled settled_now(const struct log *log) {
    const struct log_body *body = log->body;
    for (uint32_t i = 0; body && i < body->count; i++)
        if (!body->segments[i]->sealed) return (struct settled){body->segments[i]->base, body->segments[i]->written};
    return (struct settled){INT64_MAX, 0};
}

static bool copy_start(struct log *log);

static void copy_finish(struct log_job *job) {
    struct log *log = job->log;
    struct log_move *move = log->move;
    enum err err = job->err;
    if (!err) move->copied = container_of(job, struct move_job, job)->upto;
    job_free(job);
    move->is_copying = false;
    if (err || move->cancelled) {
        log->store->metrics.moves_failed += !move->cancelled;
        give_up(log);
        return;
    }
    bool is_little = !log->body || log_size(log) < move->bytes + LITTLE_BYTES || ++move->rounds == ROUNDS_MAX;
    move->is_copied = is_little || !copy_start(log);
    log_due(log);
}

static bool copy_start(struct log *log) {
    struct move_job *m = move_job_new(log);
    if (!m) return false;
    m->job.run = copy_run;
    m->job.finish = copy_finish;
    m->job.beside = true;
    m->upto = settled_now(log);
    log->move->is_copying = true;
    log->move->bytes = log->body ? log_size(log) : 0;
    job_start(&m->job);
    return true;
}

enum err log_move(struct log *log, struct log_dir *target) {
    struct pool *pool = log->store->shard->pool;
    if (log->change == CHANGE_CLOSE || log->change == CHANGE_DELETE || log->state == LOG_DELETED || log->store->stopping) return ERR_CLOSED;
    if (log->state == LOG_FAILED) return log->failure;
    if (!log_dir_is_online(target)) return ERR_IO;
    if (log->move && log->move->target == target) return ERR_NONE;
    if (log->move) { /* elsewhere: not any more, and then perhaps again */
        atomic_store(&log->move->cancelled, true);
        return log->dir == target ? ERR_NONE : ERR_BUSY;
    }
    if (log->dir == target) return ERR_NONE;
    struct log_move *move = POOL_NEW(pool, struct log_move);
    if (!move) return ERR_BUSY;
    char name[NAME_MAX_BYTES + 1];
    move->target = target;
    path_away_name(name, log->topic, log->partition, uuid_random(&log->store->random), "-future");
    path_join(move->future, target->path, name);
    move->rewritten = log->rewritten;
    log->move = move;
    if (copy_start(log)) return ERR_NONE;
    log->move = NULL;
    pool_free(pool, move, sizeof *move);
    return ERR_BUSY;
}

bool move_is_ready(struct log *log) {
    struct log_move *move = log->move;
    if (!move || !move->is_copied || log->change != CHANGE_NONE) return false;
    if (log->body && log->body->cleaner) return false; /* it works in the folder: when it is over, this is looked at again */
    if (move->cancelled) {
        give_up(log);
        return false;
    }
    if (move->rewritten == log->rewritten) return true;
    /* What was copied is no longer what is there: once more, into an empty folder. */
    char name[NAME_MAX_BYTES + 1];
    removal_add(log->store, move->future, REMOVAL_FOLDER, 0);
    path_away_name(name, log->topic, log->partition, uuid_random(&log->store->random), "-future");
    path_join(move->future, move->target->path, name);
    move->is_copied = false;
    move->copied = (struct settled){0, 0};
    move->rewritten = log->rewritten;
    if (!copy_start(log)) give_up(log);
    return false;
}

bool move_must_end(struct log *log) {
    if (!log->move) return false;
    if (log->move->is_copying) {
        atomic_store(&log->move->cancelled, true);
        return true; /* copy_finish looks here again */
    }
    give_up(log);
    return false;
}

/* Its files are in the new folder, under the same names and with the same bytes. */
static void adopt(struct log *log, struct move_job *m) {
    struct log_body *body = log->body;
    for (uint32_t i = 0; body && i < body->count; i++) {
        struct segment *segment = body->segments[i];
        segment_close_file(segment);
        segment->allocated = 0;
    }
    if (body && m->active) {
        struct segment *active = body->segments[body->count - 1];
        assert(active->base == m->active_base);
        active->file = m->active;
        m->active = NULL;
        log->store->metrics.files_open++;
    }
    struct log_dir *old = log->dir;
    log->dir = log->move->target;
    atomic_fetch_sub(&old->partitions, 1);
    atomic_fetch_add(&log->dir->partitions, 1);
    atomic_fetch_add(&old->deleted, 1); /* its lines in that directory's checkpoints are nobody's now */
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) dirs_mark_dirty(log->store->dirs, (enum checkpoint_kind)kind);
    log->store->metrics.moves++;
}

static void replace_finish(struct log_job *job) {
    struct move_job *m = container_of(job, struct move_job, job);
    struct log *log = job->log;
    struct log_store *store = job->store;
    struct log_move *move = log->move;
    struct log_dir *old = log->dir;
    enum err err = job->err;
    if (m->renamed) {
        adopt(log, m);
        if (err) log_dir_fail(old); /* a directory that cannot rename is of no use */
        else removal_add(store, m->away, REMOVAL_FOLDER, log->config.file_delete_delay_ms);
        log->move = NULL;
        if (log->change == CHANGE_MOVE) log->change = CHANGE_NONE; /* it may have been deleted meanwhile */
        pool_free(store->shard->pool, move, sizeof *move);
    } else {
        store->metrics.moves_failed++;
        give_up(log);
    }
    io_file_drop(m->active);
    job_free(job);
    log_due(log);
}

void move_start(struct log *log) {
    struct move_job *m = move_job_new(log);
    if (!m) { store_retry(log->store); return; }
    m->job.run = replace_run;
    m->job.finish = replace_finish;
    if (log->body) {
        m->has_active = true;
        m->active_base = log->body->segments[log->body->count - 1]->base;
    }
    job_start(&m->job);
}
