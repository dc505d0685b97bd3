#include "log/parts.h"
#include "log/rebuild.h"
#include "log/scan.h"
#include <errno.h>
#include <string.h>

enum { REMOVE_MAX = 32 };
const char *const segment_endings[5] = {".log", ".index", ".timeindex", ".txnindex", ".snapshot"};

/* ---- Deleting segments: renamed to .deleted at once, the names made durable, the bytes freed later. */
struct remove_job {
    struct log_job job;
    uint32_t count;
    log_offset bases[REMOVE_MAX];
};

static enum err remove_run(struct log_job *job, struct io_files files) {
    struct remove_job *r = container_of(job, struct remove_job, job);
    for (uint32_t i = 0; i < r->count; i++) {
        for (size_t kind = 0; kind < countof(segment_endings); kind++) {
            char from[PATH_MAX_BYTES], to[PATH_MAX_BYTES], ending[32];
            struct text text;
            text_init(&text, ending, sizeof ending);
            text_add(&text, "%s.deleted", segment_endings[kind]);
            path_of_offset(from, job->folder, r->bases[i], segment_endings[kind]);
            path_of_offset(to, job->folder, r->bases[i], ending);
            int result = files.vtable->rename(files.self, from, to);
            if (result < 0 && result != -ENOENT) return err_from_errno(result);
        }
        /* One after the other: a power cut among several would leave an older one behind a gap. */
        enum err err = err_from_errno(files.vtable->sync_directory(files.self, job->folder));
        if (err) return err;
    }
    return ERR_NONE;
}

static void remove_finish(struct log_job *job) {
    struct remove_job *r = container_of(job, struct remove_job, job);
    struct log *log = job->log;
    enum err err = job->err;
    /* After an error they are still to be removed: the start needs its line in the checkpoint. */
    for (uint32_t i = 0; i < r->count && !err; i++) {
        assert(!list_is_empty(&log->body->trash));
        segment_free(LIST_ITEM(list_pop(&log->body->trash), struct segment, file_node), &log->pool);
        log->body->trash_count--;
        removal_add(log->store, job->folder, r->bases[i], log->config.file_delete_delay_ms);
    }
    if (!err) log->store->metrics.segments_deleted += r->count;
    job_free(job);
    if (err) log_fail(log, err);
    log_due(log);
}

bool retain_remove(struct log *log) {
    struct remove_job *r = job_new(log->store, log, sizeof *r);
    if (!r) { store_retry(log->store); return false; }
    r->job.run = remove_run;
    r->job.finish = remove_finish;
    LIST_EACH(at, &log->body->trash) {
        if (r->count == REMOVE_MAX) break;
        r->bases[r->count++] = LIST_ITEM(at, struct segment, file_node)->base;
    }
    job_start(&r->job);
    return true;
}

/* Whole segments below the log's start go to the trash, unless somebody reads them just now. */
void retain_start_moved(struct log *log) {
    struct log_body *body = log->body;
    uint32_t gone = 0;
    while (gone + 1 < body->count && body->segments[gone + 1]->base <= log->start) {
        struct segment *segment = body->segments[gone];
        if (!segment->sealed || segment->readers || segment->loading) break;
        body->sealed_bytes -= segment->size;
        while (!list_is_empty(&body->tail) && LIST_ITEM(body->tail.next, struct tail_entry, node)->segment == segment) tail_drop_first(log);
        segment_close_file(segment);
        list_remove(&segment->index_node);
        list_push(&body->trash, &segment->file_node);
        body->trash_count++;
        gone++;
    }
    if (gone == 0) return;
    body->count -= gone;
    memmove(body->segments, body->segments + gone, body->count * sizeof *body->segments);
    log_due(log);
}

/* ---- What retention lets go. In order from the oldest, until one stays. */

static log_offset next_base(const struct log *log, uint32_t i) {
    return i + 1 < log->body->count ? log->body->segments[i + 1]->base : log->end;
}

static bool may_go(const struct log *log, uint32_t i) {
    if (next_base(log, i) > log->high_watermark) return false;
    return i + 1 < log->body->count || log->body->segments[i]->size > 0; /* never an empty last one */
}

static uint32_t over_size(const struct log *log) {
    const struct log_body *body = log->body;
    uint32_t i = 0;
    if (log->config.retention_bytes < 0) return 0;
    int64_t excess = (int64_t)log_size(log) - log->config.retention_bytes;
    for (; i < body->count && may_go(log, i) && excess - (int64_t)body->segments[i]->size >= 0; i++) excess -= (int64_t)body->segments[i]->size;
    return i;
}

static time_ms largest_timestamp(const struct segment *segment) {
    return segment->timestamp_max >= 0 ? segment->timestamp_max : segment->modified_ms;
}

/* *unknown: the first one whose largest timestamp has to be looked up before more can be said. */
static uint32_t over_time(const struct log *log, uint32_t from, time_ms now_ms, struct segment **unknown) {
    const struct log_body *body = log->body;
    uint32_t i = from;
    *unknown = NULL;
    if (log->config.retention_ms < 0) return from;
    for (; i < body->count && may_go(log, i); i++) {
        struct segment *segment = body->segments[i];
        if (!segment->timestamp_known) { *unknown = segment; break; }
        if (now_ms - largest_timestamp(segment) <= log->config.retention_ms) break;
    }
    return i;
}

/* When a closed log must be looked at again. */
static void note_due(struct log *log) {
    const struct segment *first = log->body->segments[0];
    log->retain_due_ms = INT64_MAX;
    if (log->config.cleanup_delete && log->config.retention_ms >= 0 && first->timestamp_known && first->size > 0)
        if (__builtin_add_overflow(largest_timestamp(first), log->config.retention_ms, &log->retain_due_ms)) log->retain_due_ms = INT64_MAX;
}

static void let_go(struct log *log, uint32_t count) {
    struct log_body *body = log->body;
    log_offset start;
    if (count == body->count) { /* all of them: a new, empty one follows */
        if (log_roll(log)) { store_retry(log->store); return; }
        start = log->end;
    } else {
        start = body->segments[count]->base;
    }
    if (start <= log->start) return;
    log->start = start;
    epoch_truncate_start(&body->epochs, start);
    producer_log_start(body->producers, start);
    dirs_mark_dirty(log->store->dirs, CHECKPOINT_START);
    if (log->owner && log->owner->start_moved) log->owner->start_moved(log->owner, log);
}

/* Runs from log_next: no job is under way. Comes back here until every timestamp that counts is known. */
void retain_step(struct log *log) {
    struct segment *unknown = NULL;
    uint32_t count = 0;
    if (log->config.cleanup_delete) {
        count = over_size(log);
        uint32_t aged = over_time(log, count, io_wall(log->store->shard->io), &unknown);
        if (aged > count) count = aged;
        if (!unknown && !log->body->segments[0]->timestamp_known && log->config.retention_ms >= 0) unknown = log->body->segments[0];
    }
    if (unknown) { retain_look(log, unknown); return; }
    log->retain_wanted = false;
    if (count > 0) let_go(log, count);
    if (log->state != LOG_OPEN) return;
    retain_start_moved(log);
    note_due(log);
    log_due(log);
    log_tell_all(&log->retain_waits, ERR_NONE);
}

struct look_job {
    struct log_job job;
    log_offset base;
    uint64_t size;
    uint32_t interval;
    struct timestamp found;
    time_ms first;
};

/* Of the first batch. What cannot be read is for others to find. */
static time_ms first_timestamp(struct look_job *look, struct io_files files, struct io_file *file) {
    struct scan scan;
    struct scan_batch batch;
    time_ms first = -1;
    if (scan_init(&scan, files, file, 0, look->size, false, &look->job.pool)) return -1;
    if (!scan_next(&scan, &batch)) first = batch.batch.max_timestamp;
    scan_free(&scan);
    return first;
}

static enum err look_run(struct log_job *job, struct io_files files) {
    struct look_job *look = container_of(job, struct look_job, job);
    struct rebuild rebuild = {.files = files, .pool = &job->pool, .folder = job->folder, .base = look->base, .size = look->size,
                              .interval = look->interval, .entries = UINT32_MAX};
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    path_of_offset(path, job->folder, look->base, ".log");
    enum err err = err_from_errno(files.vtable->open(files.self, &file, path, IO_READ));
    if (!err) err = rebuild_largest_timestamp(&rebuild, file, &look->found);
    if (err == ERR_CORRUPT) err = ERR_NONE; /* by what is left of it: it does not stay for ever */
    if (!err) look->first = first_timestamp(look, files, file);
    io_file_drop(file);
    return err;
}

static void look_finish(struct log_job *job) {
    struct look_job *look = container_of(job, struct look_job, job);
    struct log *log = job->log;
    struct segment *segment = log_segment_of(log, look->base, NULL);
    enum err err = job->err;
    assert(segment && segment->base == look->base);
    if (!err) {
        segment->timestamp_max = look->found.time;
        segment->timestamp_max_at = look->found.offset;
        segment->timestamp_known = true;
        if (segment->timestamp_first < 0) segment->timestamp_first = look->first;
        segment->timestamp_first_known = true;
    }
    job_free(job);
    if (err) { /* next time, perhaps */
        log->retain_wanted = false;
        log_tell_all(&log->retain_waits, err);
    }
    log_due(log);
}

void retain_look(struct log *log, struct segment *segment) {
    struct look_job *look = job_new(log->store, log, sizeof *look);
    if (!look) { store_retry(log->store); return; }
    look->job.run = look_run;
    look->job.finish = look_finish;
    look->base = segment->base;
    look->size = segment->written;
    look->interval = log->config.index_interval_bytes;
    job_start(&look->job);
}

enum err log_retain(struct log *log, struct log_wait *wait) {
    if (log->state == LOG_FAILED) return log->failure;
    if (log->change == CHANGE_CLOSE || log->change == CHANGE_DELETE) return ERR_CLOSED;
    log->retain_wanted = true;
    if (wait) list_push(&log->retain_waits, &wait->node);
    if (log->state == LOG_CLOSED) log->wants_background = true;
    log_due(log);
    return ERR_AGAIN;
}

/* ---- Deleting a log: the folder gets another name, which is durable before anybody is told. */
struct delete_job {
    struct log_job job;
    char parent[PATH_MAX_BYTES], away[PATH_MAX_BYTES];
};

static enum err delete_run(struct log_job *job, struct io_files files) {
    struct delete_job *d = container_of(job, struct delete_job, job);
    int result = files.vtable->rename(files.self, job->folder, d->away);
    if (result == -ENOENT) return ERR_NONE; /* it was never made */
    if (result < 0) return err_from_errno(result);
    return err_from_errno(files.vtable->sync_directory(files.self, d->parent));
}

static void delete_finish(struct log_job *job) {
    struct delete_job *d = container_of(job, struct delete_job, job);
    struct log *log = job->log;
    struct log_store *store = job->store;
    struct log_wait *wait = log->change_wait;
    struct log_dir *dir = log->dir;
    enum err err = job->err;
    if (!err) {
        removal_add(store, d->away, REMOVAL_FOLDER, log->config.file_delete_delay_ms);
        atomic_fetch_add(&dir->deleted, 1);
        atomic_fetch_sub(&dir->partitions, 1);
        dirs_mark_all_dirty(store->dirs);
    }
    job_free(job);
    log->change_wait = NULL;
    log->state = LOG_DELETED;
    log_tell_all(&log->waits, ERR_CLOSED);
    log_tell_all(&log->retain_waits, ERR_CLOSED);
    log_forget(log);
    if (err) log_dir_fail(dir); /* a directory that cannot rename is of no use */
    if (wait) wait->done(wait, err);
    store_turn_wanted(store);
}

void delete_start(struct log *log) {
    struct delete_job *d = job_new(log->store, log, sizeof *d);
    if (!d) { store_retry(log->store); return; }
    char name[NAME_MAX_BYTES + 1];
    struct uuid id = uuid_random(&log->store->random);
    d->job.run = delete_run;
    d->job.finish = delete_finish;
    strcpy(d->parent, log->dir->path);
    path_away_name(name, log->topic, log->partition, id, "-delete");
    path_join(d->away, d->parent, name);
    log->state = LOG_CLOSED;
    job_start(&d->job);
}
