#include "log/parts.h"
#include "log/rebuild.h"
#include "log/scan.h"
#include "wire/batch_old.h"
#include <errno.h>
#include <string.h>

/* ---- By timestamp: a job, over the list of segments as it was when it began. What it learns of largest timestamps is
 * kept for the next time. */
struct look_segment {
    log_offset base;
    uint64_t size;
    uint32_t entries, time_entries;  /* filed; UINT32_MAX: all that are there */
    struct timestamp largest;
    bool known, learned;
    bool damaged;                    /* so nothing is known of its largest */
    time_ms modified_ms;
};
struct lookup_job {
    struct log_job job;
    struct log_lookup *lookup;
    time_ms target;
    log_offset start;
    uint32_t interval, count, capacity;
    struct look_segment *segments;
    log_offset offset;               /* found; -1: not */
    time_ms timestamp;
    leader_epoch epoch;
};

/* The first record of a batch at or after `start` with a timestamp of at least `target`. */
static enum err first_record(struct lookup_job *l, const struct scan_batch *at, struct codecs *codecs, time_ms target) {
    struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;
    struct record record;
    enum err err;
    if (at->magic < BATCH_MAGIC_2) {
        struct span rest = span_of(at->batch.bytes, at->batch.size);
        struct old_message message;
        struct old_cursor cursor;
        if ((err = old_next(&rest, &message)) || (err = old_cursor_open(&cursor, &message, codecs, &limits, NULL))) return err;
        while (!(err = old_cursor_next(&cursor, &record)) && (record.timestamp < target || record.offset < l->start))
            ;
        old_cursor_close(&cursor);
    } else {
        struct batch_records records;
        struct record_cursor cursor;
        if ((err = batch_records_open(&at->batch, codecs, &limits, &records))) return err;
        record_cursor_init(&cursor, &at->batch, records.bytes);
        while (!(err = record_next(&cursor, &record)) && (record.timestamp < target || record.offset < l->start))
            ;
        batch_records_close(&records);
    }
    if (err) return err;
    l->offset = record.offset;
    l->timestamp = record.timestamp;
    l->epoch = at->batch.leader_epoch;
    return ERR_NONE;
}

static void rebuild_of(struct lookup_job *l, struct io_files files, const struct look_segment *s, uint32_t entries, struct rebuild *out) {
    *out = (struct rebuild){.files = files, .pool = &l->job.pool, .folder = l->job.folder, .base = s->base, .size = s->size,
                            .interval = l->interval, .entries = entries};
}

static enum err open_segment(struct lookup_job *l, struct io_files files, const struct look_segment *s, struct io_file **file) {
    char path[PATH_MAX_BYTES];
    path_of_offset(path, l->job.folder, s->base, ".log");
    return err_from_errno(files.vtable->open(files.self, file, path, IO_READ));
}

/* Where to begin to look for `target`: the time index says from which offset on, the offset index where that is. What they
 * say is held against the batches; an index that is wrong costs a walk from the beginning. */
static enum err begin_position(struct lookup_job *l, struct io_files files, const struct look_segment *s, struct io_file *file, uint64_t *position) {
    struct index by_time, by_offset;
    struct index_entry entry, where;
    struct rebuild rebuild;
    *position = 0;
    rebuild_of(l, files, s, s->time_entries, &rebuild);
    enum err err = rebuild_index(&rebuild, INDEX_TIME, &by_time);
    /* An entry has the largest timestamp up to its offset: where that is below the target, so is everything before. */
    bool any = !err && index_find(&by_time, l->target - 1, &entry) == ERR_NONE;
    index_free(&by_time);
    if (err || !any) return err;
    rebuild_of(l, files, s, s->entries, &rebuild);
    err = rebuild_index(&rebuild, INDEX_OFFSET, &by_offset);
    if (!err && index_find(&by_offset, entry.value, &where) == ERR_NONE && rebuild_entry_fits(&rebuild, file, where) &&
        rebuild_time_fits(&rebuild, file, entry, (uint64_t)where.value)) *position = (uint64_t)where.value;
    index_free(&by_offset);
    return err;
}

static enum err search(struct lookup_job *l, struct io_files files, const struct look_segment *s, time_ms target, bool from_start) {
    struct io_file *file = NULL;
    struct scan scan = {0};
    struct scan_batch batch;
    struct codecs codecs;
    uint64_t position = 0;
    enum err err = open_segment(l, files, s, &file);
    if (err) return err;
    codecs_init(&codecs, &l->job.pool);
    if (!from_start) err = begin_position(l, files, s, file, &position);
    if (!err) err = scan_init(&scan, files, file, position, s->size, true, &l->job.pool);
    while (!err && l->offset < 0 && !(err = scan_next(&scan, &batch))) {
        if (batch.batch.max_timestamp < target || batch_last_offset(&batch.batch) < l->start) continue;
        err = first_record(l, &batch, &codecs, target);
        if (err == ERR_NOT_FOUND) err = ERR_NONE;
    }
    scan_free(&scan);
    codecs_destroy(&codecs);
    io_file_drop(file);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static enum err learn(struct lookup_job *l, struct io_files files, struct look_segment *s) {
    struct io_file *file = NULL;
    struct rebuild rebuild;
    if (s->known) return ERR_NONE;
    rebuild_of(l, files, s, UINT32_MAX, &rebuild);
    enum err err = open_segment(l, files, s, &file);
    if (!err) err = rebuild_largest_timestamp(&rebuild, file, &s->largest);
    io_file_drop(file);
    if (!err) s->known = s->learned = true;
    if (err != ERR_CORRUPT) return err;
    s->damaged = true; /* whoever looks for something in it comes to the damage, or finds it before */
    return ERR_NONE;
}

/* The first segment whose largest timestamp reaches the target, and only that one: as Kafka. */
static enum err find_time(struct lookup_job *l, struct io_files files) {
    for (uint32_t i = 0; i < l->count; i++) {
        struct look_segment *s = &l->segments[i];
        enum err err = learn(l, files, s);
        if (err == ERR_NOT_FOUND) continue; /* deleted meanwhile: it lies below the log's start now */
        if (err) return err;
        time_ms largest = s->largest.time >= 0 ? s->largest.time : s->modified_ms;
        if (largest < l->target && !s->damaged) continue;
        err = search(l, files, s, l->target, false);
        if (err != ERR_NOT_FOUND) return err;
    }
    return ERR_NONE;
}

static enum err find_max(struct lookup_job *l, struct io_files files) {
    struct look_segment *best = NULL;
    for (uint32_t i = 0; i < l->count; i++) {
        struct look_segment *s = &l->segments[i];
        enum err err = learn(l, files, s);
        if (err == ERR_NOT_FOUND) continue;
        if (err) return err;
        if (s->damaged) return ERR_CORRUPT;
        if (s->largest.time >= 0 && (!best || s->largest.time > best->largest.time)) best = s;
    }
    if (!best) return ERR_NONE;
    l->target = best->largest.time;
    return search(l, files, best, l->target, false);
}

static enum err lookup_run(struct log_job *job, struct io_files files) {
    struct lookup_job *l = container_of(job, struct lookup_job, job);
    return l->target == LOG_TIME_MAX ? find_max(l, files) : find_time(l, files);
}

static void keep_learned(struct log *log, const struct lookup_job *l) {
    for (uint32_t i = 0; i < l->count; i++) {
        const struct look_segment *s = &l->segments[i];
        struct segment *segment = s->learned ? log_segment_of(log, s->base, NULL) : NULL;
        if (!segment || segment->base != s->base || segment->timestamp_known || !segment->sealed) continue;
        segment->timestamp_max = s->largest.time;
        segment->timestamp_max_at = s->largest.offset;
        segment->timestamp_known = true;
    }
}

static log_offset bound_of(const struct log_lookup *lookup) {
    const struct log *log = lookup->log;
    return lookup->upto == LOG_UPTO_END ? log->end : lookup->upto == LOG_UPTO_STABLE ? log_stable(log) : log->high_watermark;
}

static void lookup_finish(struct log_job *job) {
    struct lookup_job *l = container_of(job, struct lookup_job, job);
    struct log *log = job->log;
    struct log_lookup *lookup = l->lookup;
    enum err err = job->err;
    keep_learned(log, l);
    if (!err && l->offset >= 0 && l->offset < bound_of(lookup)) {
        lookup->offset = l->offset;
        lookup->found_timestamp = l->timestamp;
        lookup->epoch = l->epoch;
    }
    pool_free(&job->pool, l->segments, l->capacity * sizeof *l->segments);
    job_free(job);
    if (--log->body->reads == 0) log_due(log);
    lookup->done(lookup, err);
}

static enum err lookup_start(struct log_lookup *lookup) {
    struct log *log = lookup->log;
    struct log_body *body = log->body;
    if (body->swap_wanted) {
        list_push(&body->parked_lookups, &lookup->node);
        return ERR_AGAIN;
    }
    struct lookup_job *l = job_new(log->store, log, sizeof *l);
    if (!l) return ERR_NO_MEMORY;
    l->segments = pool_zero_alloc(&l->job.pool, body->count * sizeof *l->segments);
    if (!l->segments) { job_free(&l->job); return ERR_NO_MEMORY; }
    l->capacity = body->count;
    l->job.run = lookup_run;
    l->job.finish = lookup_finish;
    l->job.beside = true;
    l->lookup = lookup;
    l->target = lookup->timestamp;
    /* The largest timestamp is, as in Apache Kafka, also that of a record below the log's start while its segment is there. */
    l->start = lookup->timestamp == LOG_TIME_MAX ? 0 : log->start;
    l->interval = log->config.index_interval_bytes;
    l->offset = -1;
    for (uint32_t i = 0; i < body->count; i++) {
        struct segment *segment = body->segments[i];
        if (!segment->made) break; /* nothing of it is in a file yet */
        l->segments[l->count++] = (struct look_segment){
            .base = segment->base, .size = segment->written, .known = segment->timestamp_known, .modified_ms = segment->modified_ms,
            .largest = {segment->timestamp_max, segment->timestamp_max_at},
            .entries = segment->sealed ? UINT32_MAX : segment->by_offset.filed,
            .time_entries = segment->sealed ? UINT32_MAX : segment->by_time.filed};
    }
    body->reads++;
    job_start(&l->job);
    return ERR_AGAIN;
}

static enum err answer(struct log_lookup *lookup, log_offset offset, leader_epoch epoch) {
    lookup->offset = offset;
    lookup->epoch = epoch;
    return ERR_NONE;
}

enum err log_lookup(struct log_lookup *lookup) {
    struct log *log = lookup->log;
    lookup->offset = lookup->found_timestamp = -1;
    lookup->epoch = -1;
    if (log->state == LOG_FAILED) return ERR_IO;
    if (log->state != LOG_OPEN) return ERR_CLOSED;
    if (log->change != CHANGE_NONE && log->change != CHANGE_REST) return ERR_BUSY;
    log_touch(log);
    const struct epoch_entry *first = epoch_first(&log->body->epochs);
    switch (lookup->timestamp) {
    case LOG_TIME_LATEST: return answer(lookup, bound_of(lookup), epoch_latest(&log->body->epochs));
    case LOG_TIME_EARLIEST:
    case LOG_TIME_EARLIEST_LOCAL: return answer(lookup, log->start, first && first->start <= log->start ? first->epoch : -1);
    case LOG_TIME_LATEST_TIERED:
    case LOG_TIME_EARLIEST_PENDING: return ERR_NONE; /* nothing is tiered */
    default: return lookup->timestamp >= 0 || lookup->timestamp == LOG_TIME_MAX ? lookup_start(lookup) : ERR_INVALID;
    }
}

/* ---- Aborted transactions. */
struct txn_part { log_offset base; uint8_t *bytes; size_t size; bool read; };
struct aborted_job {
    struct log_job job;
    struct log_aborted_list *list;
    struct arena arena;
    struct txn_search search;
    struct txn_part *parts;
    uint32_t count, capacity;
};

static enum err aborted_run(struct log_job *job, struct io_files files) {
    struct aborted_job *a = container_of(job, struct aborted_job, job);
    for (uint32_t i = 0; i < a->count && !a->search.complete; i++) {
        struct txn_part *part = &a->parts[i];
        enum err err = ERR_NONE;
        if (!part->bytes && part->read) {
            char path[PATH_MAX_BYTES], *bytes;
            path_of_offset(path, job->folder, part->base, ".txnindex");
            err = file_slurp(files, path, MIB(256), &job->pool, &bytes, &part->size);
            if (!err) part->bytes = (uint8_t *)bytes;
            else if (err == ERR_NOT_FOUND) part->size = 0;
            else return err;
        }
        if ((err = txn_search_segment(&a->search, span_of(part->bytes, part->size)))) return err;
    }
    return ERR_NONE;
}

static enum err give(struct log_aborted_list *list, struct txn_search *search) {
    txn_search_sort(search);
    list->items = ARENA_ARRAY(list->arena, search->count ? search->count : 1, struct log_aborted);
    if (!list->items) return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < search->count; i++) list->items[i] = (struct log_aborted){search->entries[i].producer, search->entries[i].first};
    list->count = search->count;
    return ERR_NONE;
}

static void aborted_free(struct aborted_job *a) {
    for (uint32_t i = 0; i < a->count; i++)
        if (a->parts[i].bytes) pool_free(&a->job.pool, a->parts[i].bytes, a->parts[i].read ? a->parts[i].size + 1 : a->parts[i].size);
    pool_free(&a->job.pool, a->parts, a->capacity * sizeof *a->parts);
    arena_destroy(&a->arena);
    job_free(&a->job);
}

static void aborted_finish(struct log_job *job) {
    struct aborted_job *a = container_of(job, struct aborted_job, job);
    struct log *log = job->log;
    struct log_aborted_list *list = a->list;
    enum err err = job->err;
    if (!err) err = give(list, &a->search);
    aborted_free(a);
    if (--log->body->reads == 0) log_due(log);
    list->done(list, err);
}

static enum err aborted_start(struct log_aborted_list *list, uint32_t from) {
    struct log *log = list->log;
    struct log_body *body = log->body;
    if (body->swap_wanted) {
        list_push(&body->parked_lists, &list->node);
        return ERR_AGAIN;
    }
    struct aborted_job *a = job_new(log->store, log, sizeof *a);
    if (!a) return ERR_NO_MEMORY;
    a->job.run = aborted_run;
    a->job.finish = aborted_finish;
    a->job.beside = true;
    a->list = list;
    arena_init(&a->arena, &a->job.pool, 0);
    txn_search_init(&a->search, list->from, list->upto, &a->arena);
    a->capacity = body->count - from;
    a->parts = pool_zero_alloc(&a->job.pool, a->capacity * sizeof *a->parts);
    if (!a->parts) { a->capacity = 0; goto fail; }
    for (uint32_t i = from; i < body->count; i++) {
        struct segment *segment = body->segments[i];
        struct txn_part *part = &a->parts[a->count++];
        part->base = segment->base;
        part->read = !segment->txn_known;
        if (part->read || segment->txn_bytes == 0) continue;
        if (!(part->bytes = pool_alloc(&a->job.pool, segment->txn_bytes))) goto fail;
        memcpy(part->bytes, segment->txn, segment->txn_bytes);
        part->size = segment->txn_bytes;
    }
    body->reads++;
    job_start(&a->job);
    return ERR_AGAIN;
fail:
    aborted_free(a);
    return ERR_NO_MEMORY;
}

enum err log_aborted_list(struct log_aborted_list *list) {
    struct log *log = list->log;
    struct txn_search search;
    uint32_t i = 0;
    list->items = NULL;
    list->count = 0;
    if (log->state == LOG_FAILED) return ERR_IO;
    if (log->state != LOG_OPEN) return ERR_CLOSED;
    if (log->change != CHANGE_NONE && log->change != CHANGE_REST) return ERR_BUSY;
    if (!log_segment_of(log, list->from, &i)) i = 0;
    txn_search_init(&search, list->from, list->upto, list->arena);
    for (uint32_t at = i; at < log->body->count && !search.complete; at++) {
        struct segment *segment = log->body->segments[at];
        if (!segment->txn_known) return aborted_start(list, i);
        enum err err = txn_search_segment(&search, span_of(segment->txn, segment->txn_bytes));
        if (err) return err;
    }
    return give(list, &search);
}
