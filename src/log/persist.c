#include "log/checkpoint.h"
#include "log/parts.h"
#include <string.h>

/* What it takes to make everything below `point` durable: the data of the last segment before it, what its indexes have
 * that their files have not, aborted transactions, the producers and the epochs as of there. Copies of all of it: the log
 * goes on meanwhile. Three occasions: a segment was rolled, a checkpoint is due, the log is closed. */
enum { SECTOR_BYTES = 512 };
enum persist_why { PERSIST_SEAL, PERSIST_CHECKPOINT, PERSIST_CLOSE };
struct persist_job {
    struct log_job job;
    enum persist_why why;
    log_offset base, point;
    uint64_t size;                /* of the segment's batches                             */
    struct io_file *file;         /* holds a count; NULL: to be opened by name            */
    bool data, sync, trim;        /* data is to be synced; the rest, too; room in advance goes */
    struct index by_offset, by_time; /* entries [first, entries): those that are not in the files */
    uint8_t *txn;
    uint32_t txn_from, txn_bytes, txn_capacity;
    uint8_t *snapshot;            /* NULL: none, then the recovery point stays            */
    uint32_t snapshot_bytes;
    bool has_snapshot, epochs_changed;
    bool is_synced;               /* the data are; what failed came after                 */
    char *epochs;                 /* of one sector, so that without a sync it is there or empty; then the batches say them */
    size_t epochs_size, epochs_capacity;
    log_offset old_snapshot;      /* -1: none goes                                        */
};

static enum err write_txn(struct persist_job *p, struct io_files files, const char *folder) {
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    path_of_offset(path, folder, p->base, ".txnindex");
    enum err err = err_from_errno(files.vtable->open(files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE));
    if (err) return err;
    int64_t result = files.vtable->write(files.self, file, p->txn, p->txn_bytes, p->txn_from);
    if (result >= 0) result = files.vtable->truncate(files.self, file, (uint64_t)p->txn_from + p->txn_bytes);
    if (result >= 0 && p->sync) result = files.vtable->sync_data(files.self, file);
    io_file_drop(file);
    return err_from_errno(result);
}

/* A torn one is seen by its checksum, so it needs no other name first. */
static enum err write_snapshot(struct persist_job *p, struct io_files files, const char *folder) {
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    path_of_offset(path, folder, p->point, ".snapshot");
    enum err err = err_from_errno(files.vtable->open(files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE));
    if (err) return err;
    int64_t result = files.vtable->write(files.self, file, p->snapshot, p->snapshot_bytes, 0);
    if (result >= 0 && p->sync) result = files.vtable->sync_data(files.self, file);
    io_file_drop(file);
    return err_from_errno(result);
}

static enum err persist_run(struct log_job *job, struct io_files files) {
    struct persist_job *p = container_of(job, struct persist_job, job);
    const char *folder = job->folder;
    char path[PATH_MAX_BYTES];
    enum err err = ERR_NONE;
    if (!p->file && (p->data || p->trim)) {
        path_of_offset(path, folder, p->base, ".log");
        err = err_from_errno(files.vtable->open(files.self, &p->file, path, IO_READ | IO_WRITE));
    }
    if (!err && p->trim) err = err_from_errno(files.vtable->truncate(files.self, p->file, p->size));
    if (!err && p->data) err = err_from_errno(files.vtable->sync_data(files.self, p->file));
    p->is_synced = !err;
    path_of_offset(path, folder, p->base, ".index");
    if (!err) err = index_file_write(&p->by_offset, files, path, p->by_offset.first, p->sync);
    path_of_offset(path, folder, p->base, ".timeindex");
    if (!err) err = index_file_write(&p->by_time, files, path, p->by_time.first, p->sync);
    if (!err && p->txn_bytes) err = write_txn(p, files, folder);
    if (!err && p->has_snapshot) err = write_snapshot(p, files, folder);
    if (!err && p->epochs_changed) err = file_put(files, folder, "leader-epoch-checkpoint", p->epochs, p->epochs_size, p->sync || p->epochs_size > SECTOR_BYTES);
    if (!err && p->old_snapshot >= 0) {
        path_of_offset(path, folder, p->old_snapshot, ".snapshot");
        (void)files.vtable->unlink(files.self, path); /* one too many is no harm */
    }
    if (!err && p->sync) err = err_from_errno(files.vtable->sync_directory(files.self, folder));
    return err;
}

static void persist_free(struct persist_job *p) {
    io_file_drop(p->file);
    index_free(&p->by_offset);
    index_free(&p->by_time);
    pool_free(&p->job.pool, p->txn, p->txn_capacity);
    pool_free(&p->job.pool, p->snapshot, p->snapshot_bytes);
    pool_free(&p->job.pool, p->epochs, p->epochs_capacity);
    job_free(&p->job);
}

static bool copy_index(struct index *copy, const struct index *index, struct pool *pool) {
    uint32_t each = index_entry_bytes(index->kind), bytes = (index->entries - index->filed) * each;
    *copy = *index;
    copy->pool = pool;
    copy->first = index->filed;
    copy->capacity = bytes;
    copy->bytes = pool_alloc(pool, bytes);
    if (!copy->bytes) { copy->capacity = 0; return false; }
    if (bytes) memcpy(copy->bytes, index->bytes + (size_t)(index->filed - index->first) * each, bytes);
    return true;
}

static void persist_finish(struct log_job *job);

/* NULL: no memory. */
static struct persist_job *persist_new(struct log *log, enum persist_why why, struct segment *segment, log_offset point) {
    struct persist_job *p = job_new(log->store, log, sizeof *p);
    if (!p) return NULL;
    struct pool *pool = &p->job.pool;
    p->job.run = persist_run;
    p->job.finish = persist_finish;
    p->why = why;
    p->base = segment->base;
    p->point = point;
    p->size = segment->size;
    p->sync = !log->store->stopping; /* a stop syncs the file systems once, at its end */
    p->data = segment->unsynced || log->flushed < point;
    p->trim = why != PERSIST_CHECKPOINT && (segment->allocated > segment->size || segment->room > segment->size);
    p->file = segment->file ? io_file_hold(segment->file) : NULL;
    p->old_snapshot = -1;
    if (!copy_index(&p->by_offset, &segment->by_offset, pool) || !copy_index(&p->by_time, &segment->by_time, pool)) goto fail;
    p->txn_from = segment->txn_filed;
    p->txn_bytes = p->txn_capacity = segment->txn_bytes - segment->txn_filed;
    if (p->txn_bytes) {
        if (!(p->txn = pool_alloc(pool, p->txn_capacity))) { p->txn_capacity = 0; goto fail; }
        memcpy(p->txn, segment->txn + segment->txn_filed, p->txn_bytes);
    }
    p->epochs_changed = log->body->epochs.changed;
    if (p->epochs_changed) {
        struct text text;
        p->epochs_capacity = checkpoint_epochs_size(&log->body->epochs) + 1;
        if (!(p->epochs = pool_alloc(pool, p->epochs_capacity))) { p->epochs_capacity = 0; goto fail; }
        text_init(&text, p->epochs, p->epochs_capacity);
        checkpoint_epochs_print(&log->body->epochs, &text);
        assert(!text.cut);
        p->epochs_size = text.size;
        log->body->epochs.changed = false;
    }
    return p;
fail:
    persist_free(p);
    return NULL;
}

static bool take_snapshot(struct persist_job *p, const struct log *log) {
    p->snapshot_bytes = (uint32_t)producer_snapshot_bytes(log->body->producers);
    p->snapshot = pool_alloc(&p->job.pool, p->snapshot_bytes);
    if (!p->snapshot) { p->snapshot_bytes = 0; return false; }
    producer_snapshot_write(log->body->producers, p->snapshot);
    return p->has_snapshot = true;
}

/* ---- What has become durable. */

static void note_filed(struct segment *segment, const struct persist_job *p) {
    if (segment->by_offset.known && segment->by_offset.filed == p->by_offset.first) segment->by_offset.filed = p->by_offset.entries;
    if (segment->by_time.known && segment->by_time.filed == p->by_time.first) segment->by_time.filed = p->by_time.entries;
    if (segment->txn_filed == p->txn_from) segment->txn_filed = p->txn_from + p->txn_bytes;
    if (p->trim) segment->allocated = segment->room = segment->size;
}

static void finish_seal(struct log *log, struct segment *segment, const struct persist_job *p) {
    struct log_store *store = log->store;
    note_filed(segment, p);
    segment->sealed = true;
    segment->unsynced = false;
    index_unload(&segment->by_time); /* seldom asked */
    segment_use(segment);
    store_trim_files(store);
    store_trim_indexes(store);
}

static void finish_checkpoint(struct log *log, struct segment *segment, const struct persist_job *p) {
    struct log_body *body = log->body;
    note_filed(segment, p);
    if (body->snapshots[0] != p->point) {
        body->snapshots[1] = body->snapshots[0];
        body->snapshots[0] = p->point;
    }
}

/* Everything is on disk: the next opening need not look. */
static void finish_close(struct log *log) {
    log_body_free(log);
    log->state = LOG_CLOSED;
    log->clean = true;
    log->store->metrics.closes++;
}

/* A full disk has no room for what is written beside the data. Those are synced, so the log goes on, and tries it again. */
static bool can_wait(struct log *log, const struct persist_job *p) {
    struct log_body *body = log->body;
    if (p->job.err != ERR_NO_SPACE || !p->is_synced || p->why == PERSIST_CLOSE || !body) return false;
    body->epochs.changed |= p->epochs_changed;
    if (p->why == PERSIST_SEAL) store_retry(log->store);
    else if (body->appended_since_checkpoint < log->store->options.checkpoint_bytes_min) body->appended_since_checkpoint = log->store->options.checkpoint_bytes_min;
    return true;
}

static void persist_finish(struct log_job *job) {
    struct persist_job *p = container_of(job, struct persist_job, job);
    struct log *log = job->log;
    struct log_store *store = job->store;
    enum err err = job->err;
    enum persist_why why = p->why;
    struct segment *segment = log->body ? log_segment_of(log, p->base, NULL) : NULL;
    log->job = NULL;
    if (err) {
        bool waits = can_wait(log, p);
        persist_free(p);
        if (!waits) log_fail(log, err);
        return;
    }
    assert(segment && segment->base == p->base);
    if (why == PERSIST_SEAL) finish_seal(log, segment, p);
    if (why == PERSIST_CHECKPOINT) finish_checkpoint(log, segment, p);
    if (p->point > log->flushed && p->point <= log->written) log->flushed = p->point;
    if ((p->has_snapshot || why == PERSIST_CLOSE) && p->point > log->recovery_point) {
        log->recovery_point = p->point;
        dirs_mark_dirty(store->dirs, CHECKPOINT_RECOVERY);
    }
    persist_free(p);
    if (why == PERSIST_CLOSE) finish_close(log);
    log_due(log);
}

/* ---- A rolled segment. */
bool persist_seal(struct log *log) {
    struct log_body *body = log->body;
    for (uint32_t i = 0; i + 1 < body->count; i++) {
        struct segment *segment = body->segments[i], *next = body->segments[i + 1];
        if (segment->sealed) continue;
        if (segment->written < segment->size || !next->made) return false;
        segment_close_time_index(segment); /* a roll did it; after a recovery it is still to be done */
        struct persist_job *p = persist_new(log, PERSIST_SEAL, segment, next->base);
        if (!p) { store_retry(log->store); return false; }
        if (next->snapshot) { /* the producers as of its base; after a recovery there are none, and the recovery point waits */
            p->snapshot = pool_alloc(&p->job.pool, next->snapshot_bytes);
            if (!p->snapshot) { log->body->epochs.changed |= p->epochs_changed; persist_free(p); store_retry(log->store); return false; }
            memcpy(p->snapshot, next->snapshot, next->snapshot_bytes);
            p->snapshot_bytes = next->snapshot_bytes;
            p->has_snapshot = true;
            pool_free(&log->pool, next->snapshot, next->snapshot_bytes);
            next->snapshot = NULL;
            next->snapshot_bytes = 0;
        }
        p->data = true;
        job_start(&p->job);
        return true;
    }
    return false;
}

/* ---- A checkpoint. */
void capture_free(struct log *log) {
    if (log->body->capture) {
        log->body->epochs.changed |= log->body->capture->epochs_changed;
        persist_free(log->body->capture);
    }
    log->body->capture = NULL;
}

static bool is_base(const struct log_body *body, log_offset offset) {
    for (uint32_t i = 0; i < body->count; i++)
        if (body->segments[i]->base == offset) return true;
    return false;
}

void capture_take(struct log *log) {
    struct log_body *body = log->body;
    if (body->capture) return;
    for (uint32_t i = 0; i + 1 < body->count; i++)
        if (!body->segments[i]->sealed) return; /* its own job comes first */
    struct persist_job *p = persist_new(log, PERSIST_CHECKPOINT, log_active(log), log->end);
    if (!p) return;
    if (!take_snapshot(p, log)) {
        body->epochs.changed |= p->epochs_changed;
        persist_free(p);
        return;
    }
    /* The one before the last may go: the checkpoint file does not name it any more, or soon will not. */
    if (body->snapshots[1] >= 0 && body->snapshots[1] != p->point && !is_base(body, body->snapshots[1])) p->old_snapshot = body->snapshots[1];
    body->capture = p;
}

bool persist_checkpoint(struct log *log) {
    struct log_body *body = log->body;
    if (body->round) return false; /* its end looks again */
    if (!body->capture && body->checkpoint_wanted && log_is_quiet(log)) capture_take(log);
    struct persist_job *p = body->capture;
    if (!p) return false;
    body->capture = NULL;
    body->checkpoint_wanted = false;
    if (log_active(log)->base != p->base || log->written < p->point) { /* a roll came in between: it does more than this would have */
        body->epochs.changed |= p->epochs_changed;
        persist_free(p);
        return false;
    }
    body->appended_since_checkpoint = 0;
    body->checks_since_checkpoint = 0;
    p->data = log->flushed < p->point;
    job_start(&p->job);
    return true;
}

/* ---- Closing. Quiet: all is written, nobody reads. */
void persist_close(struct log *log) {
    struct log_body *body = log->body;
    struct segment *active = log_active(log);
    if (persist_seal(log)) return;
    for (uint32_t i = 0; i + 1 < body->count; i++)
        if (!body->segments[i]->sealed) return; /* no memory: tried again */
    if (body->trash_count && retain_remove(log)) return;
    segment_close_time_index(active);
    bool changed = active->room > active->size || active->by_time.filed < active->by_time.entries || active->by_offset.filed < active->by_offset.entries;
    if (log->recovery_point == log->end && log->flushed == log->end && !changed && !body->epochs.changed && body->report.clean && body->appended_since_checkpoint == 0) {
        finish_close(log);
        log_due(log);
        return;
    }
    capture_free(log);
    struct persist_job *p = persist_new(log, PERSIST_CLOSE, active, log->end);
    bool empty = log_size(log) == 0 && producer_count(body->producers) == 0; /* nothing that a snapshot could say */
    /* One that the last stop left here stays as it is, as Kafka's do, though some that it names may be too old by now. */
    bool told = body->report.clean && body->snapshots[0] == log->end && body->appended_since_checkpoint == 0;
    if (!p || (!empty && !told && !take_snapshot(p, log))) {
        if (p) { body->epochs.changed |= p->epochs_changed; persist_free(p); }
        store_retry(log->store);
        return;
    }
    log->state = LOG_CLOSING;
    job_start(&p->job);
}

/* ---- Room in advance. The metadata must go on where the disk is full, or the node ends: the file of their log is always
 * some MiB ahead of what is written to it, which lasts a quiet node for hours. Its size says nothing of that. */
enum { AHEAD_BYTES = 4 << 20, AHEAD_BYTES_MIN = 3 << 20, AHEAD_EVERY_S = 1 };

struct ahead_job {
    struct log_job job;
    struct io_file *file;         /* holds a count */
    log_offset base;
    uint64_t from, size;
};

static enum err ahead_run(struct log_job *job, struct io_files files) {
    struct ahead_job *ahead = container_of(job, struct ahead_job, job);
    return err_from_errno(files.vtable->allocate(files.self, ahead->file, ahead->from, ahead->size));
}

static void ahead_finish(struct log_job *job) {
    struct ahead_job *ahead = container_of(job, struct ahead_job, job);
    struct log *log = job->log;
    struct segment *segment = log_segment_of(log, ahead->base, NULL);
    if (!job->err && segment && segment->base == ahead->base && !segment->sealed) segment->allocated = ahead->from + ahead->size;
    io_file_drop(ahead->file);
    job_free(job);
    if (--log->body->reads == 0) log_due(log);
}

void persist_ahead(struct log *log) {
    struct log_body *body = log->body;
    struct segment *active = log_active(log);
    uint64_t from = active->allocated > active->written ? active->allocated : active->written;
    time_ns now = io_now(log->store->shard->io);
    if (!log->config.verify_from_start || !active->made || !active->file || log->store->stopping || log->change != CHANGE_NONE) return;
    if (from >= active->written + AHEAD_BYTES_MIN || (body->ahead_at && now - body->ahead_at < AHEAD_EVERY_S * NS_PER_S)) return;
    struct ahead_job *ahead = job_new(log->store, log, sizeof *ahead);
    if (!ahead) return;
    body->ahead_at = now;
    ahead->job.run = ahead_run;
    ahead->job.finish = ahead_finish;
    ahead->job.beside = true;
    ahead->file = io_file_hold(active->file);
    ahead->base = active->base;
    ahead->from = from;
    ahead->size = active->written + AHEAD_BYTES - from;
    body->reads++;
    job_start(&ahead->job);
}
