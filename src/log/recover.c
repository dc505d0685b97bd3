#include "log/recovery.h"
#include "base/text.h"
#include "log/checkpoint.h"
#include "log/scan.h"
#include <errno.h>
#include <string.h>

void recovery_path(const struct recovery *r, char out[PATH_MAX_BYTES], log_offset base, const char *ending) {
    path_of_offset(out, r->in->folder, base, ending);
}

/* Makes the folder with its identity. A crash in between leaves a folder without segments, which is fine as it is. What is
 * in the folder is synced once, when the first segment is there, too. */
static enum err make_folder(struct recovery *r) {
    const struct recover_input *in = r->in;
    int result = r->files.vtable->make_directory(r->files.self, in->folder);
    if (result < 0) return err_from_errno(result);
    enum err err = uuid_is_zero(in->topic_id) ? ERR_NONE : partition_metadata_write(r->files, in->folder, in->topic_id);
    if (err) return err;
    r->report->created = r->names_changed = true;
    return folder_sync(r->files, in->parent);
}

static enum err check_identity(struct recovery *r, struct uuid *topic_id) {
    const struct recover_input *in = r->in;
    struct io_stat stat;
    int result = r->files.vtable->stat(r->files.self, in->folder, &stat);
    *topic_id = in->topic_id;
    if (result == -ENOENT) return in->create ? make_folder(r) : ERR_NOT_FOUND;
    if (result < 0) return err_from_errno(result);
    enum err err = partition_metadata_read(r->files, in->folder, topic_id);
    if (err == ERR_NONE) return uuid_is_zero(in->topic_id) || uuid_equal(*topic_id, in->topic_id) ? ERR_NONE : ERR_FENCED;
    *topic_id = in->topic_id;
    if (err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    r->names_changed |= !uuid_is_zero(in->topic_id);
    return uuid_is_zero(in->topic_id) ? ERR_NONE : partition_metadata_write(r->files, in->folder, in->topic_id);
}

/* As Kafka's loader: what was being deleted goes; a cleaning that had not got to the swap is forgotten; one that had is
 * carried to its end: the originals in the range of the swapped ones go, and those take their names. */
static enum err swap_range(struct recovery *r, log_offset from, log_offset *low, log_offset *high) {
    struct io_file *file = NULL;
    struct scan scan;
    struct scan_batch batch;
    char path[PATH_MAX_BYTES];
    recovery_path(r, path, from, ".log.swap");
    int64_t size = r->files.vtable->open(r->files.self, &file, path, IO_READ);
    if (size < 0) return err_from_errno(size);
    size = r->files.vtable->size(r->files.self, file);
    enum err err = size < 0 ? err_from_errno(size) : scan_init(&scan, r->files, file, 0, (uint64_t)size, false, r->in->work_pool);
    if (!err) {
        log_offset next = from;
        while (!(err = scan_next(&scan, &batch))) next = batch_next_offset(&batch.batch);
        scan_free(&scan);
        if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) err = ERR_NONE;
        if (from < *low) *low = from;
        if (next > *high) *high = next;
    }
    io_file_drop(file);
    return err;
}

static enum err settle_temporaries(struct recovery *r) {
    struct listing *l = &r->listing;
    log_offset cleaned_min = INT64_MAX, low = INT64_MAX, high = INT64_MIN;
    enum err err;
    bool any = false;
    for (uint32_t i = 0; i < l->count; i++) {
        any |= l->entries[i].state != FILE_PLAIN;
        if (l->entries[i].state == FILE_CLEANED && l->entries[i].offset < cleaned_min) cleaned_min = l->entries[i].offset;
    }
    if (!any) return ERR_NONE;
    for (uint32_t i = 0; i < l->count; i++) {
        struct file_entry *e = &l->entries[i];
        bool goes = e->state == FILE_DELETED || e->state == FILE_CLEANED || (e->state == FILE_SWAP && e->offset >= cleaned_min);
        if (goes && (err = listing_remove(r->files, r->in->folder, e))) return err;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct file_entry *e = &l->entries[i];
        if (e->offset >= 0 && e->state == FILE_SWAP && e->kind == FILE_LOG && (err = swap_range(r, e->offset, &low, &high))) return err;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct file_entry *e = &l->entries[i];
        if (e->offset >= low && e->offset < high && e->state == FILE_PLAIN && e->kind != FILE_SNAPSHOT &&
            (err = listing_remove(r->files, r->in->folder, e))) return err;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct file_entry *e = &l->entries[i];
        char from[PATH_MAX_BYTES], to[PATH_MAX_BYTES];
        if (e->offset < 0 || e->state != FILE_SWAP) continue;
        listing_path(from, r->in->folder, e, FILE_SWAP);
        listing_path(to, r->in->folder, e, FILE_PLAIN);
        if ((err = err_from_errno(r->files.vtable->rename(r->files.self, from, to)))) return err;
        e->state = FILE_PLAIN;
    }
    if ((err = folder_sync(r->files, r->in->folder))) return err;
    listing_free(l);
    return listing_read(r->files, r->in->work_pool, r->in->folder, l);
}

static bool has_segment(const struct listing *l, log_offset base) {
    for (uint32_t i = 0; i < l->count; i++)
        if (l->entries[i].offset == base && l->entries[i].kind == FILE_LOG && l->entries[i].state == FILE_PLAIN) return true;
    return false;
}

static enum err add_segment(struct recovery *r, log_offset base) {
    struct io_stat stat;
    char path[PATH_MAX_BYTES];
    recovery_path(r, path, base, ".log");
    enum err err = err_from_errno(r->files.vtable->stat(r->files.self, path, &stat));
    if (err) return err;
    struct segment *segment = segment_new(r->in->log, base, r->in->body_pool, r->in->config->segment_index_bytes);
    if (!segment) return ERR_NO_MEMORY;
    segment->size = segment->written = stat.size;
    segment->modified_ms = stat.modified_ns / NS_PER_MS;
    segment->created_ms = r->in->now_ms;
    segment->made = segment->sealed = true;
    segment->by_offset.known = segment->by_time.known = false;
    if (body_add_segment(r->body, segment, r->in->body_pool)) return ERR_NONE;
    segment_free(segment, r->in->body_pool);
    return ERR_NO_MEMORY;
}

static enum err collect_segments(struct recovery *r) {
    struct listing *l = &r->listing;
    enum err err;
    for (uint32_t i = 0; i < l->count; i++) { /* sorted by name, so by base */
        struct file_entry *e = &l->entries[i];
        if (e->kind == FILE_LOG && (err = add_segment(r, e->offset))) return err;
        bool is_index = e->kind == FILE_OFFSET_INDEX || e->kind == FILE_TIME_INDEX || e->kind == FILE_TXN_INDEX;
        if (is_index && !has_segment(l, e->offset) && (err = listing_remove(r->files, r->in->folder, e))) return err;
    }
    return ERR_NONE;
}

/* A new segment's name is durable before anything in it can be acknowledged: before the opening is over. */
enum err recovery_make_segment(struct recovery *r, log_offset base) {
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    recovery_path(r, path, base, ".log");
    enum err err = err_from_errno(r->files.vtable->open(r->files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE));
    if (err) return err;
    io_file_drop(file);
    r->names_changed = true;
    return add_segment(r, base);
}

enum err recovery_open_file(struct recovery *r, struct segment *segment) {
    char path[PATH_MAX_BYTES];
    if (segment->file) return ERR_NONE;
    recovery_path(r, path, segment->base, ".log");
    return err_from_errno(r->files.vtable->open(r->files.self, &segment->file, path, IO_READ | IO_WRITE));
}

static enum err load_epochs(struct recovery *r) {
    struct checkpoint_fault fault;
    char path[PATH_MAX_BYTES], *bytes;
    size_t size;
    epoch_cache_init(&r->body->epochs, r->in->body_pool);
    path_join(path, r->in->folder, "leader-epoch-checkpoint");
    enum err err = file_slurp(r->files, path, MIB(64), r->in->work_pool, &bytes, &size);
    if (err == ERR_NONE) {
        err = checkpoint_epochs_parse(span_of(bytes, size), &r->body->epochs, &fault);
        pool_free(r->in->work_pool, bytes, size + 1);
    }
    r->body->epochs.changed = false;
    if (err != ERR_CORRUPT && err != ERR_NOT_FOUND) return err;
    epoch_cache_clear(&r->body->epochs);
    /* It can be made again from the batches, all of them. A missing one is usual in a folder that is new. */
    for (uint32_t i = 0; i < r->body->count; i++) {
        struct segment *segment = r->body->segments[i];
        struct scan scan;
        struct scan_batch batch;
        if (segment->size == 0) continue;
        if ((err = recovery_open_file(r, segment))) return err;
        err = scan_init(&scan, r->files, segment->file, 0, segment->size, false, r->in->work_pool);
        while (!err && !(err = scan_next(&scan, &batch)))
            if (batch.batch.leader_epoch > epoch_latest(&r->body->epochs))
                err = epoch_assign(&r->body->epochs, batch.batch.leader_epoch, batch.batch.base_offset);
        scan_free(&scan);
        io_file_drop(segment->file);
        segment->file = NULL;
        if (err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    }
    r->body->epochs.changed = true;
    return ERR_NONE;
}

/* The newest producer snapshot at or below `limit` that is whole. -1: none. */
enum err recovery_load_producers(struct recovery *r, log_offset limit, log_offset *at) {
    struct listing *l = &r->listing;
    producer_state_clear(r->body->producers);
    for (*at = -1;; ) {
        log_offset best = -1;
        uint32_t best_i = 0;
        char path[PATH_MAX_BYTES], *bytes;
        size_t size;
        for (uint32_t i = 0; i < l->count; i++) {
            struct file_entry *e = &l->entries[i];
            if (e->kind == FILE_SNAPSHOT && e->offset <= limit && e->offset > best) { best = e->offset; best_i = i; }
        }
        if (best < 0) return ERR_NONE;
        recovery_path(r, path, best, ".snapshot");
        enum err err = file_slurp(r->files, path, GIB(1), r->in->work_pool, &bytes, &size);
        if (!err) {
            err = producer_snapshot_read(r->body->producers, span_of(bytes, size), r->in->now_ms);
            pool_free(r->in->work_pool, bytes, size + 1);
        }
        if (!err) { *at = best; return ERR_NONE; }
        if (err == ERR_NO_MEMORY || err == ERR_IO) return err;
        if ((err = listing_remove(r->files, r->in->folder, &l->entries[best_i]))) return err; /* torn: an older one and a longer walk do */
    }
}

uint32_t recovery_segment_index(const struct log_body *body, log_offset offset) {
    uint32_t i = body->count;
    while (i > 1 && body->segments[i - 1]->base > offset) i--;
    return i - 1;
}

/* ---- Bringing it together. */

static enum err producers_after_clean(struct recovery *r) {
    log_offset at;
    enum err err = recovery_load_producers(r, r->next, &at);
    if (err) return err;
    r->replayed = at < 0 ? r->next : at; /* a clean stop without a snapshot: there were none */
    return recovery_replay_until(r, r->next);
}

static void restart_walk(struct recovery *r) {
    for (uint32_t i = 0; i < r->body->count; i++) {
        struct segment *segment = r->body->segments[i];
        io_file_drop(segment->file);
        segment->file = NULL;
    }
    r->report->scanned_bytes = 0;
    r->next = 0;
}

static enum err find_end(struct recovery *r) {
    const struct recover_input *in = r->in;
    struct log_body *body = r->body;
    enum err err;
    if (in->clean && !in->config->verify_from_start) {
        err = recovery_trust(r);
        if (!err) err = producers_after_clean(r);
        if (err != ERR_CORRUPT) {
            r->report->clean = true;
            return err;
        }
        restart_walk(r);
    }
    log_offset base = body->segments[0]->base, at;
    log_offset point = in->recovery_point < base ? base : in->recovery_point;
    log_offset flushed = point;
    for (int attempt = 0;; attempt++) {
        log_offset from = in->config->verify_from_start ? base : point;
        r->report->recovery_point = from;
        if ((err = recovery_load_producers(r, from, &at))) return err;
        r->replayed = at < 0 ? base : at;
        if ((err = recovery_verify(r, from, point))) return err;
        if (r->next >= point || attempt > 0 || from <= base) break;
        /* It ends before its recovery point: that cannot be believed then, nor can what was taken from the indexes. */
        point = body->segments[recovery_segment_index(body, r->next)]->base;
        restart_walk(r);
    }
    r->report->flushed_lost = r->next < flushed;
    return ERR_NONE;
}

static bool is_base(const struct log_body *body, log_offset offset) {
    for (uint32_t i = 0; i < body->count; i++)
        if (body->segments[i]->base == offset) return true;
    return false;
}

/* Snapshots of segments stay, and the two newest others (of checkpoints); those behind the end are of no log. */
static enum err settle_snapshots(struct recovery *r) {
    struct log_body *body = r->body;
    enum err err;
    body->snapshots[0] = body->snapshots[1] = -1;
    for (uint32_t i = r->listing.count; i-- > 0;) {
        struct file_entry *e = &r->listing.entries[i];
        if (e->kind != FILE_SNAPSHOT || e->offset < 0) continue;
        if (e->offset <= body->end && is_base(body, e->offset)) continue;
        if (e->offset <= body->end && body->snapshots[0] < 0) { body->snapshots[0] = e->offset; continue; }
        if (e->offset <= body->end && body->snapshots[1] < 0) { body->snapshots[1] = e->offset; continue; }
        if ((err = listing_remove(r->files, r->in->folder, e))) return err;
    }
    return ERR_NONE;
}

static enum err start_over(struct recovery *r, log_offset at) {
    enum err err;
    while (r->body->count) segment_free(r->body->segments[--r->body->count], r->in->body_pool);
    if ((err = recover_wipe(r->files, r->in->folder))) return err;
    epoch_cache_clear(&r->body->epochs);
    producer_state_clear(r->body->producers);
    listing_free(&r->listing);
    return recovery_make_segment(r, at);
}

static enum err settle_active(struct recovery *r) {
    struct log_body *body = r->body;
    struct segment *active = body->segments[body->count - 1];
    enum err err = recovery_open_file(r, active);
    for (uint32_t i = 0; i < body->count; i++) { /* only the active one keeps its file open */
        struct segment *segment = body->segments[i];
        if (segment == active) continue;
        io_file_drop(segment->file);
        segment->file = NULL;
        body->sealed_bytes += segment->size;
    }
    if (index_memory(&active->by_offset) > KIB(64)) index_unload(&active->by_offset);
    if (index_memory(&active->by_time) > KIB(64)) index_unload(&active->by_time);
    active->sealed = false;
    if (!active->by_offset.known) recovery_forget_indexes(r, active); /* a new, empty one */
    active->timestamp_known = active->txn_known = true;
    active->allocated = active->room = active->size;
    return err;
}

static enum err recover_all(struct recovery *r, struct uuid *topic_id) {
    const struct recover_input *in = r->in;
    struct log_body *body = r->body;
    enum err err;
    log_offset start = in->start_mark < 0 ? 0 : in->start_mark;
    struct producer_options options = {.pool = in->body_pool, .budget = &body->producer_budget,
                                       .expiration_ms = in->producer_expiration_ms, .verification = true};
    body->producer_budget.count_max = PRODUCERS_MAX;
    epoch_cache_init(&body->epochs, in->body_pool);
    if (!(body->producers = producer_state_new(&options))) return ERR_NO_MEMORY;
    if ((err = check_identity(r, topic_id))) return err;
    if ((err = listing_read(r->files, in->work_pool, in->folder, &r->listing))) return err;
    if ((err = settle_temporaries(r))) return err;
    if ((err = collect_segments(r))) return err;
    if (body->count == 0) {
        if ((err = recovery_make_segment(r, start))) return err;
        r->next = start;
    } else {
        if ((err = load_epochs(r))) return err;
        if ((err = find_end(r))) return err;
        if (r->next < start) {
            if ((err = start_over(r, start))) return err;
            r->next = start;
        }
    }
    body->end = r->next;
    body->start = start > body->segments[0]->base ? start : body->segments[0]->base;
    uint32_t epochs = body->epochs.count;
    epoch_truncate_end(&body->epochs, body->end);
    /* Before anything is appended: else a crash would find epochs of before the cut again. */
    if (in->cut && body->epochs.count != epochs && (err = epochs_write(r->files, in->folder, &body->epochs, in->work_pool))) return err;
    epoch_truncate_start(&body->epochs, body->start);
    producer_log_start(body->producers, body->start);
    if ((err = settle_snapshots(r))) return err;
    if ((err = settle_active(r))) return err;
    /* Names that a killed process did not get to sync are here to be seen, and would be gone after a power cut. */
    if (r->names_changed || !in->clean) return folder_sync(r->files, in->folder);
    return ERR_NONE;
}

void recover_body_free(struct log_body *body, struct pool *pool) {
    if (!body) return;
    while (body->count) segment_free(body->segments[--body->count], pool);
    pool_free(pool, body->segments, body->capacity * sizeof *body->segments);
    if (body->epochs.pool) epoch_cache_destroy(&body->epochs);
    producer_state_free(body->producers);
    pool_free(pool, body, sizeof *body);
}

enum err recover(const struct recover_input *in, struct log_body **out, struct uuid *topic_id) {
    struct recovery r = {.in = in, .files = in->files, .listing.pool = in->work_pool};
    enum err err;
    r.body = POOL_NEW(in->body_pool, struct log_body);
    if (!r.body) return ERR_NO_MEMORY;
    struct log_body *body = r.body;
    r.report = &body->report;
    *r.report = (struct log_report){.recovery_point = -1, .cut_at = -1, .damaged_at = -1};
    list_init(&body->tail);
    list_init(&body->parked_reads);
    list_init(&body->parked_lookups);
    list_init(&body->parked_lists);
    list_init(&body->flush_waits);
    list_init(&body->trash);
    body->unwritten = &body->tail;
    body->unflushed_since_ms = -1;
    for (int i = 0; i < MARKS_MAX; i++) body->marks[i].offset = -1;
    err = recover_all(&r, topic_id);
    if (r.listing.pool) listing_free(&r.listing);
    if (in->report) *in->report = body->report;
    if (err) recover_body_free(body, in->body_pool);
    else *out = body;
    return err;
}

enum err epochs_write(struct io_files files, const char *folder, struct epoch_cache *epochs, struct pool *pool) {
    size_t capacity = checkpoint_epochs_size(epochs) + 1;
    char *bytes = pool_alloc(pool, capacity);
    struct text text;
    if (!bytes) return ERR_NO_MEMORY;
    text_init(&text, bytes, capacity);
    checkpoint_epochs_print(epochs, &text);
    assert(!text.cut);
    enum err err = file_replace(files, folder, "leader-epoch-checkpoint", bytes, text.size);
    if (!err) epochs->changed = false;
    pool_free(pool, bytes, capacity);
    return err;
}
