/* A log goes to another directory of its node while it is used.
 *
 * Its files are copied beside it, into `<topic>-<partition>.<id>-future` there, again and again until little is missing: some
 * MiB a job, at the rate that the store's options say. Its log start goes into the checkpoint of the new directory.
 * Then appends and reads wait (ERR_BUSY) for one job: the rest is copied and synced, the future folder gets the partition's
 * name, the old one goes away as a deleted one does. The log stays open meanwhile; what it holds in memory is true of the
 * copies, too.
 *
 * A stop or a crash leaves a future folder behind, and the next process goes on with it (move_resume): a segment that was
 * copied to its end has the time of its source, which is set when it is synced. Between the two renames it leaves two folders
 * of the same content, of which log_dirs_open takes one. An error leaves the log where it was.
 */
#include "log/parts.h"
#include <errno.h>
#include <string.h>

enum { COPY_BYTES = 1 << 20, LITTLE_BYTES = 8 << 20, ROUNDS_MAX = 20, STEP_BYTES_MIN = 4096, STEP_BYTES_MAX = 8 << 20, STEPS_A_SECOND = 4 };

/* A place in the log's files: all before it is in them for good. Behind it there may be room that is written to later, so
 * that a file's size says nothing. */
struct settled {
    log_offset base;              /* of a segment */
    uint64_t at;                  /* in its file  */
};

struct log_move {
    struct log *log;
    struct log_dir *target;
    struct timer timer;           /* the next job, when the rate is bounded     */
    struct log_wait filing;       /* of the log start, for the new directory    */
    log_offset start_filed;       /* there; -1: nothing                         */
    uint32_t rewritten;           /* of the log, when the copying began         */
    uint32_t rounds;
    uint64_t bytes;               /* of the log, when this round began          */
    struct settled copied;        /* up to here the copies are as they should be */
    struct settled upto, at;      /* of this round: what was settled when it began; how far it has come */
    _Atomic bool cancelled;       /* by the shard, for the job                  */
    bool is_copying, is_copied, is_waiting, is_filing;
    bool is_deferred;             /* the log is to be recovered first           */
    char future[PATH_MAX_BYTES];
};

struct move_job {
    struct log_job job;
    struct log_move *move;
    struct io_files files;
    struct settled from, upto;    /* what is copied already; what was settled when the round began */
    struct settled at;            /* how far it has come           */
    uint64_t budget, bytes;       /* to copy at most; copied       */
    uint8_t *buffer;              /* while it runs: of the job's pool */
    bool renamed;                 /* the log is in its new place             */
    bool is_unsure;               /* the target could not say so durably     */
    bool is_unmade;               /* the log was never opened, nor found: there may be no folder */
    bool has_nothing;             /* so it is                                */
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
    for (; at < upto; m->at.at = at) {
        if (m->bytes >= m->budget) return -EAGAIN;
        if (atomic_load_explicit(&m->move->cancelled, memory_order_relaxed)) return -ECANCELED;
        size_t size = upto - at < COPY_BYTES ? (size_t)(upto - at) : COPY_BYTES;
        int64_t got = m->files.vtable->read(m->files.self, from, m->buffer, size, at);
        if (got > 0) got = m->files.vtable->write(m->files.self, to, m->buffer, (size_t)got, at);
        if (got <= 0) return got < 0 ? (int)got : -EIO; /* it shrank */
        at += (uint64_t)got;
        m->bytes += (uint64_t)got;
    }
    return 0;
}

/* What is no segment is copied at once. */
static int copy_small(struct move_job *m, struct io_file *from, struct io_file *to, uint64_t size) {
    struct settled at = m->at;
    uint64_t budget = m->budget;
    m->budget = UINT64_MAX;
    int result = copy_bytes(m, from, to, 0, size);
    m->budget = budget;
    m->at = at;
    return result;
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

/* Whether a copy is there that needs nothing. A segment that still grows may look the same and not be it. */
static bool is_as_it_should_be(const struct move_job *m, bool is_segment, log_offset base, uint64_t at, const struct io_stat *source, const struct io_stat *there) {
    if (there->size != source->size) return false;
    if (is_segment && at == source->size && source->size > 0) return true;
    return there->modified_ns == source->modified_ns && (!is_segment || base < m->upto.base);
}

/* Those of segments come in the order of their bases. */
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
    log_offset base = -1;
    bool is_segment = name_offset_of_log(name, &base), is_there = m->files.vtable->stat(m->files.self, to_path, &there) == 0;
    if (is_segment && base < m->at.base) return 0; /* an earlier job of this round has done it */
    bool goes_on = is_segment && base == m->at.base && m->at.at > 0 && there.size >= m->at.at && source.size >= m->at.at;
    uint64_t at = goes_on ? m->at.at : is_segment ? copy_from(m, base, there.size, source.size) : 0;
    if (is_there && !goes_on && is_as_it_should_be(m, is_segment, base, at, &source, &there)) return 0;
    if (is_segment) m->at = (struct settled){base, at};
    result = m->files.vtable->open(m->files.self, &from, from_path, IO_READ);
    if (result < 0) return result == -ENOENT ? 0 : result; /* deleted meanwhile */
    result = m->files.vtable->open(m->files.self, &to, to_path, IO_READ | IO_WRITE | IO_CREATE | (at == 0 ? IO_TRUNCATE : 0));
    if (result >= 0) result = is_segment ? copy_bytes(m, from, to, at, source.size) : copy_small(m, from, to, source.size);
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
    if (result == -ENOENT && m->is_unmade) result = 0;
    pool_free(&job->pool, m->buffer, COPY_BYTES);
    return result == -ECANCELED ? ERR_CLOSED : result == -EAGAIN ? ERR_AGAIN : err_from_errno(result);
}

static int replace(struct move_job *m) {
    struct io_files files = m->files;
    char path[PATH_MAX_BYTES];
    int result = files.vtable->list(files.self, m->job.folder, copy_file, m);
    if (result == -ENOENT && m->is_unmade) { /* the new one comes with the first opening */
        m->renamed = m->has_nothing = true;
        return 0;
    }
    if (result >= 0) result = files.vtable->list(files.self, m->move->future, drop_extra, m);
    if (result >= 0) result = files.vtable->sync_directory(files.self, m->move->future);
    if (result >= 0 && m->has_active) {
        path_of_offset(path, m->move->future, m->active_base, ".log");
        result = files.vtable->open(files.self, &m->active, path, IO_READ | IO_WRITE);
    }
    if (result >= 0) result = files.vtable->rename(files.self, m->move->future, m->place);
    if (result < 0) return result;
    result = files.vtable->sync_directory(files.self, m->parent);
    if (result < 0) { /* a power cut might take back the name, and what was written under it: the log stays where it was */
        m->is_unsure = true;
        (void)files.vtable->rename(files.self, m->place, m->move->future);
        return result;
    }
    m->renamed = true;
    result = files.vtable->rename(files.self, m->job.folder, m->away);
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
    m->budget = UINT64_MAX;
    m->at.base = -1;
    m->is_unmade = log->create;
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
    assert(!move->is_copying && !move->is_filing);
    timer_cancel(log->store->shard, &move->timer);
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
static void copy_later(struct log *log, uint64_t bytes);

static void copy_failed(struct log *log) {
    log->store->metrics.moves_failed += !log->move->cancelled;
    give_up(log);
}

static void copy_finish(struct log_job *job) {
    struct log *log = job->log;
    struct log_move *move = log->move;
    struct move_job *m = container_of(job, struct move_job, job);
    enum err err = job->err;
    uint64_t bytes = m->bytes;
    move->at = m->at;
    job_free(job);
    move->is_copying = false;
    if ((err && err != ERR_AGAIN) || move->cancelled) {
        copy_failed(log);
        return;
    }
    if (!err) {
        bool is_paced = log->store->options.move_bytes_per_second > 0;
        move->copied = move->upto;
        move->at.base = -1; /* a round more begins anew */
        /* Appends that come faster than copies at the rate that was asked for shall not wait for all of the difference. */
        move->is_copied = !log->body || log_size(log) < move->bytes + LITTLE_BYTES || (!is_paced && ++move->rounds == ROUNDS_MAX);
    }
    if (!move->is_copied) copy_later(log, bytes);
    log_due(log);
}

static uint64_t step_bytes(uint64_t rate) {
    uint64_t bytes = rate / STEPS_A_SECOND;
    return rate == 0 || bytes > STEP_BYTES_MAX ? STEP_BYTES_MAX : bytes < STEP_BYTES_MIN ? STEP_BYTES_MIN : bytes;
}

static void round_begin(struct log *log) {
    struct log_move *move = log->move;
    move->at = (struct settled){-1, 0};
    move->upto = settled_now(log);
    move->bytes = log->body ? log_size(log) : 0;
}

static bool copy_start(struct log *log) {
    struct log_move *move = log->move;
    struct move_job *m = move_job_new(log);
    if (!m) return false;
    m->job.run = copy_run;
    m->job.finish = copy_finish;
    m->job.beside = true;
    m->upto = move->upto;
    m->at = move->at;
    m->budget = step_bytes(log->store->options.move_bytes_per_second);
    move->is_copying = true;
    job_start(&m->job);
    return true;
}

static void copy_go_on(struct log *log) {
    log->move->is_waiting = false;
    if (log->move->at.base < 0) round_begin(log);
    if (log->move->cancelled || !copy_start(log)) copy_failed(log);
}

static void timer_fire(struct timer *timer) { copy_go_on(container_of(timer, struct log_move, timer)->log); }

/* All moves of the node together keep to the rate: what one has copied is paid for before it goes on. */
static void copy_later(struct log *log, uint64_t bytes) {
    struct log_store *store = log->store;
    struct log_move *move = log->move;
    uint64_t rate = store->options.move_bytes_per_second;
    time_ns now = io_now(store->shard->io), due = 0;
    if (rate > 0) {
        time_ns cost = (time_ns)((double)bytes / (double)rate * NS_PER_S), until = atomic_load(&store->dirs->moves_until);
        do due = (until > now ? until : now) + cost;
        while (!atomic_compare_exchange_weak(&store->dirs->moves_until, &until, due));
    }
    move->is_waiting = due > now && timer_set(store->shard, &move->timer, due, timer_fire);
    if (!move->is_waiting) copy_go_on(log);
}

void move_tuned(struct log_store *store) {
    atomic_store(&store->dirs->moves_until, 0);
    LIST_EACH(at, &store->logs) {
        struct log *log = LIST_ITEM(at, struct log, node);
        if (!log->move || !log->move->is_waiting) continue;
        timer_cancel(store->shard, &log->move->timer);
        copy_go_on(log);
    }
}

/* Into a folder of that name there. */
static struct log_move *move_new(struct log *log, struct log_dir *target, const char *name) {
    struct log_move *move = POOL_NEW(log->store->shard->pool, struct log_move);
    if (!move) return NULL;
    move->log = log;
    move->target = target;
    move->start_filed = -1;
    move->rewritten = log->rewritten;
    list_init(&move->filing.node);
    path_join(move->future, target->path, name);
    log->move = move;
    return move;
}

static bool move_begin(struct log *log) {
    struct log_move *move = log->move;
    round_begin(log);
    if (copy_start(log)) return true;
    log->move = NULL;
    pool_free(log->store->shard->pool, move, sizeof *move);
    return false;
}

/* What is there of a log that was not stopped may look like its source and not be it: the recovery says what is good. Out of
 * memory, this time: the next start finds the folder again. */
void move_resume(struct log *log, const struct future *future) {
    struct log_move *move = move_new(log, future->dir, future->name);
    if (!move) return;
    move->is_deferred = !log->clean;
    if (log->clean && !move_begin(log)) return;
}

void move_drop_left(struct log *log, const struct future *future) {
    char path[PATH_MAX_BYTES];
    path_join(path, future->dir->path, future->name);
    removal_add(log->store, path, REMOVAL_FOLDER, 0);
}

enum err log_move(struct log *log, struct log_dir *target) {
    if (log->change == CHANGE_CLOSE || log->change == CHANGE_DELETE || log->state == LOG_DELETED || log->store->stopping) return ERR_CLOSED;
    if (log->state == LOG_FAILED) return log->failure;
    if (!log_dir_is_online(target)) return ERR_IO;
    if (log->move && log->move->target == target) return ERR_NONE;
    if (log->move) { /* elsewhere: not any more, and then perhaps again */
        atomic_store(&log->move->cancelled, true);
        log_due(log);
        return log->dir == target ? ERR_NONE : ERR_BUSY;
    }
    if (log->dir == target) return ERR_NONE;
    char name[NAME_MAX_BYTES + 1];
    path_away_name(name, log->topic, log->partition, uuid_random(&log->store->random), "-future");
    return move_new(log, target, name) && move_begin(log) ? ERR_NONE : ERR_BUSY;
}

struct log_dir *log_move_target(const struct log *log) { return log->move ? log->move->target : NULL; }

static void start_filed(struct log_wait *wait, enum err err) {
    struct log_move *move = container_of(wait, struct log_move, filing);
    struct log *log = move->log;
    move->is_filing = false;
    if (!err) move->start_filed = wait->target;
    if (err || move->cancelled) copy_failed(log); /* and the move is gone */
    log_due(log);
}

/* Segments below the start are moved, too, so it must be known over there. */
static bool start_is_there(struct log *log) {
    struct log_move *move = log->move;
    if (!log_start_is_above(log) || move->start_filed == log->start) return true;
    move->filing.done = start_filed;
    move->is_filing = true;
    store_file_start(log, &move->filing);
    return false;
}

bool move_is_ready(struct log *log) {
    struct log_move *move = log->move;
    if (!move || log->change != CHANGE_NONE || move->is_copying || move->is_filing) return false;
    if (!log_dir_is_online(move->target)) atomic_store(&move->cancelled, true); /* it has failed meanwhile */
    if (move->is_deferred && log->body && !move->cancelled) {
        move->is_deferred = false;
        move->rewritten = log->rewritten;
        round_begin(log);
        if (!copy_start(log)) copy_failed(log);
        return false;
    }
    if (!move->is_copied && !move->cancelled) return false; /* the timer goes on */
    if (log->body && log->body->cleaner) return false; /* it works in the folder: when it is over, this is looked at again */
    if (move->cancelled) {
        give_up(log);
        return false;
    }
    if (move->rewritten == log->rewritten) {
        /* It may have been there before: lines of that time in the checkpoint files would be taken for true ones. */
        bool has_lines = atomic_load(&move->target->settled) < atomic_load(&move->target->deleted);
        if (has_lines) store_settle(log);
        return !has_lines && start_is_there(log);
    }
    /* What was copied is no longer what is there: once more. Into an empty folder, if segments may have been compacted, which
     * keeps their times. */
    if (log->config.cleanup_compact) {
        char name[NAME_MAX_BYTES + 1];
        removal_add(log->store, move->future, REMOVAL_FOLDER, 0);
        path_away_name(name, log->topic, log->partition, uuid_random(&log->store->random), "-future");
        path_join(move->future, move->target->path, name);
    }
    move->is_copied = false;
    move->copied = (struct settled){0, 0};
    move->rewritten = log->rewritten;
    round_begin(log);
    if (!copy_start(log)) give_up(log);
    return false;
}

bool move_must_end(struct log *log) {
    if (!log->move) return false;
    if (log->move->is_copying || log->move->is_filing) {
        atomic_store(&log->move->cancelled, true);
        return true; /* copy_finish or start_filed looks here again */
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
        if (i + 1 < body->count) segment->unsynced = false; /* a roll came meanwhile; its copy was synced */
    }
    if (body && m->active) {
        struct segment *active = body->segments[body->count - 1];
        assert(active->base == m->active_base);
        active->file = m->active;
        m->active = NULL;
        log->store->metrics.files_open++;
    }
    if (body && body->capture) { /* it would go on in the old folder */
        capture_free(log);
        body->checkpoint_wanted = true;
    }
    struct log_dir *old = log->dir;
    log->dir = log->move->target;
    atomic_fetch_sub(&old->partitions, 1);
    atomic_fetch_add(&log->dir->partitions, 1);
    atomic_fetch_add(&old->deleted, 1); /* its lines in that directory's checkpoints are nobody's now */
    dirs_mark_all_dirty(log->store->dirs);
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
        else if (m->has_nothing) removal_add(store, move->future, REMOVAL_FOLDER, 0);
        else removal_add(store, m->away, REMOVAL_FOLDER, log->config.file_delete_delay_ms);
        log->move = NULL;
        if (log->change == CHANGE_MOVE) log->change = CHANGE_NONE; /* it may have been deleted meanwhile */
        pool_free(store->shard->pool, move, sizeof *move);
    } else {
        store->metrics.moves_failed++;
        if (m->is_unsure) log_dir_fail(move->target);
        give_up(log);
    }
    io_file_drop(m->active);
    job_free(job);
    log_due(log);
}

void move_start(struct log *log) {
    if (!log_dir_is_online(log->move->target)) { /* it has failed meanwhile */
        copy_failed(log);
        return;
    }
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
