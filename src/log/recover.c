#include "log/recover.h"
#include "base/text.h"
#include "log/checkpoint.h"
#include "log/scan.h"
#include <errno.h>
#include <string.h>

enum { CUT_KEPT_MAX = 16 << 20, COPY_BYTES = 256 << 10 };

/* ---- What lies in the folder. */
enum file_kind { FILE_LOG, FILE_OFFSET_INDEX, FILE_TIME_INDEX, FILE_TXN_INDEX, FILE_SNAPSHOT, FILE_KINDS };
enum file_state { FILE_PLAIN, FILE_DELETED, FILE_CLEANED, FILE_SWAP };
static const char *const file_endings[FILE_KINDS] = {".log", ".index", ".timeindex", ".txnindex", ".snapshot"};
static const char *const state_endings[] = {"", ".deleted", ".cleaned", ".swap"};

struct file_entry { log_offset offset; enum file_kind kind; enum file_state state; };
struct listing {
    struct pool *pool;
    struct file_entry *entries;
    uint32_t count, capacity;
};

static int list_one(void *context, const char *name, bool is_directory) {
    struct listing *listing = context;
    if (is_directory) return 0;
    for (int state = FILE_PLAIN; state <= FILE_SWAP; state++) {
        for (int kind = 0; kind < FILE_KINDS; kind++) {
            char ending[32];
            struct text text;
            log_offset offset;
            text_init(&text, ending, sizeof ending);
            text_add(&text, "%s%s", file_endings[kind], state_endings[state]);
            if (!name_ends_with(name, ending) || strlen(name) != OFFSET_DIGITS + text.size || !name_offset(name, ending, &offset)) continue;
            if (listing->count == listing->capacity) {
                uint32_t capacity = listing->capacity ? listing->capacity * 2 : 64;
                struct file_entry *grown = pool_realloc(listing->pool, listing->entries, listing->capacity * sizeof *grown, capacity * sizeof *grown);
                if (!grown) return -ENOMEM;
                listing->entries = grown;
                listing->capacity = capacity;
            }
            listing->entries[listing->count++] = (struct file_entry){offset, (enum file_kind)kind, (enum file_state)state};
            return 0;
        }
    }
    return 0;
}

static enum err list_folder(struct io_files files, struct pool *pool, const char *folder, struct listing *out) {
    *out = (struct listing){.pool = pool};
    int result = files.vtable->list(files.self, folder, list_one, out);
    return result == -ENOMEM ? ERR_NO_MEMORY : err_from_errno(result);
}

static void listing_free(struct listing *listing) {
    pool_free(listing->pool, listing->entries, listing->capacity * sizeof *listing->entries);
    listing->entries = NULL;
    listing->count = listing->capacity = 0;
}

static void file_path(char out[PATH_MAX_BYTES], const char *folder, const struct file_entry *entry, enum file_state state) {
    char ending[32];
    struct text text;
    text_init(&text, ending, sizeof ending);
    text_add(&text, "%s%s", file_endings[entry->kind], state_endings[state]);
    path_of_offset(out, folder, entry->offset, ending);
}

static enum err remove_entry(struct io_files files, const char *folder, struct file_entry *entry) {
    char path[PATH_MAX_BYTES];
    file_path(path, folder, entry, entry->state);
    int result = files.vtable->unlink(files.self, path);
    entry->offset = -1; /* gone */
    return err_from_errno(result == -ENOENT ? 0 : result);
}

static enum err remove_path(struct io_files files, const char *folder, log_offset offset, const char *ending) {
    char path[PATH_MAX_BYTES];
    path_of_offset(path, folder, offset, ending);
    int result = files.vtable->unlink(files.self, path);
    return err_from_errno(result == -ENOENT ? 0 : result);
}

static enum err sync_folder(struct io_files files, const char *folder) {
    return err_from_errno(files.vtable->sync_directory(files.self, folder));
}

/* ---- The opening. */
struct recovery {
    const struct recover_input *in;
    struct io_files files;
    struct listing listing;
    struct log_body *body;
    struct log_report *report;
    bool names_changed;           /* the folder is to be synced       */
    log_offset next;              /* behind what was walked over so far */
    log_offset replayed;          /* the producers' state is as of here */
};

static void note_damage(struct recovery *r, const struct segment *segment, log_offset at) {
    if (r->report->damaged_at >= 0) return;
    r->report->damaged_at = at;
    r->report->damaged_base = segment->base;
}

static void segment_path(const struct recovery *r, char out[PATH_MAX_BYTES], log_offset base, const char *ending) {
    path_of_offset(out, r->in->folder, base, ending);
}

/* Makes the folder with its identity. A crash in between leaves a folder without segments, which is fine as it is. */
static enum err make_folder(struct recovery *r) {
    const struct recover_input *in = r->in;
    int result = r->files.vtable->make_directory(r->files.self, in->folder);
    if (result < 0) return err_from_errno(result);
    enum err err = uuid_is_zero(in->topic_id) ? ERR_NONE : partition_metadata_write(r->files, in->folder, in->topic_id);
    if (err) return err;
    r->report->created = true;
    return sync_folder(r->files, in->parent);
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
    return uuid_is_zero(in->topic_id) ? ERR_NONE : partition_metadata_write(r->files, in->folder, in->topic_id);
}

/* As Kafka's loader: what was being deleted goes; a cleaning that had not got to the swap is forgotten; one that had is
 * carried to its end: the originals in the range of the swapped ones go, and those take their names. */
static enum err swap_range(struct recovery *r, log_offset from, log_offset *low, log_offset *high) {
    struct io_file *file = NULL;
    struct scan scan;
    struct scan_batch batch;
    char path[PATH_MAX_BYTES];
    segment_path(r, path, from, ".log.swap");
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
        if (goes && (err = remove_entry(r->files, r->in->folder, e))) return err;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct file_entry *e = &l->entries[i];
        if (e->offset >= 0 && e->state == FILE_SWAP && e->kind == FILE_LOG && (err = swap_range(r, e->offset, &low, &high))) return err;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct file_entry *e = &l->entries[i];
        if (e->offset >= low && e->offset < high && e->state == FILE_PLAIN && e->kind != FILE_SNAPSHOT &&
            (err = remove_entry(r->files, r->in->folder, e))) return err;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct file_entry *e = &l->entries[i];
        char from[PATH_MAX_BYTES], to[PATH_MAX_BYTES];
        if (e->offset < 0 || e->state != FILE_SWAP) continue;
        file_path(from, r->in->folder, e, FILE_SWAP);
        file_path(to, r->in->folder, e, FILE_PLAIN);
        if ((err = err_from_errno(r->files.vtable->rename(r->files.self, from, to)))) return err;
        e->state = FILE_PLAIN;
    }
    if ((err = sync_folder(r->files, r->in->folder))) return err;
    listing_free(l);
    return list_folder(r->files, r->in->work_pool, r->in->folder, l);
}

static bool has_segment(const struct listing *l, log_offset base) {
    for (uint32_t i = 0; i < l->count; i++)
        if (l->entries[i].offset == base && l->entries[i].kind == FILE_LOG && l->entries[i].state == FILE_PLAIN) return true;
    return false;
}

static enum err add_segment(struct recovery *r, log_offset base) {
    struct io_stat stat;
    char path[PATH_MAX_BYTES];
    segment_path(r, path, base, ".log");
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
        if (is_index && !has_segment(l, e->offset) && (err = remove_entry(r->files, r->in->folder, e))) return err;
    }
    return ERR_NONE;
}

/* A new segment's name is durable before anything in it can be acknowledged. */
static enum err make_segment(struct recovery *r, log_offset base) {
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    segment_path(r, path, base, ".log");
    enum err err = err_from_errno(r->files.vtable->open(r->files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE));
    if (err) return err;
    io_file_drop(file);
    if ((err = sync_folder(r->files, r->in->folder))) return err;
    return add_segment(r, base);
}

static enum err open_segment_file(struct recovery *r, struct segment *segment) {
    char path[PATH_MAX_BYTES];
    if (segment->file) return ERR_NONE;
    segment_path(r, path, segment->base, ".log");
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
        if ((err = open_segment_file(r, segment))) return err;
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
static enum err load_producers(struct recovery *r, log_offset limit, log_offset *at) {
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
        segment_path(r, path, best, ".snapshot");
        enum err err = file_slurp(r->files, path, GIB(1), r->in->work_pool, &bytes, &size);
        if (!err) {
            err = producer_snapshot_read(r->body->producers, span_of(bytes, size), r->in->now_ms);
            pool_free(r->in->work_pool, bytes, size + 1);
        }
        if (!err) { *at = best; return ERR_NONE; }
        if (err == ERR_NO_MEMORY || err == ERR_IO) return err;
        if ((err = remove_entry(r->files, r->in->folder, &l->entries[best_i]))) return err; /* torn: an older one and a longer walk do */
    }
}

static uint32_t segment_index_of(const struct log_body *body, log_offset offset) {
    uint32_t i = body->count;
    while (i > 1 && body->segments[i - 1]->base > offset) i--;
    return i - 1;
}

/* ---- Indexes of the segment in which the walk begins: what is filed and lies before `offset` is kept. */

static enum err load_txn(struct recovery *r, struct segment *segment) {
    char path[PATH_MAX_BYTES], *bytes;
    size_t size, good = 0;
    segment->txn_known = true;
    segment_path(r, path, segment->base, ".txnindex");
    enum err err = file_slurp(r->files, path, MIB(256), r->in->work_pool, &bytes, &size);
    if (err == ERR_NOT_FOUND) return ERR_NONE;
    if (err) return err;
    enum err checked = txn_index_check(span_of(bytes, size), segment->base, &good);
    pool_free(r->in->body_pool, segment->txn, segment->txn_capacity);
    segment->txn = good ? pool_alloc(r->in->body_pool, good) : NULL;
    if (segment->txn) memcpy(segment->txn, bytes, good);
    else if (good) err = ERR_NO_MEMORY;
    segment->txn_bytes = segment->txn_capacity = segment->txn_filed = segment->txn ? (uint32_t)good : 0;
    pool_free(r->in->work_pool, bytes, size + 1);
    return err ? err : checked;
}

static void forget_indexes(struct recovery *r, struct segment *segment) {
    uint32_t bytes_max = r->in->config->segment_index_bytes;
    index_free(&segment->by_offset);
    index_free(&segment->by_time);
    index_init(&segment->by_offset, INDEX_OFFSET, segment->base, bytes_max, r->in->body_pool);
    index_init(&segment->by_time, INDEX_TIME, segment->base, bytes_max, r->in->body_pool);
    segment->timestamp_max = segment->timestamp_max_at = -1;
    segment->since_index = 0;
}

/* Aborted transactions up to which the producers are known stand in the file; the walk finds the others. */
static void trim_txn(struct segment *segment, log_offset before) {
    segment->txn_bytes = (uint32_t)txn_index_bytes_before(span_of(segment->txn, segment->txn_bytes), before);
    if (segment->txn_filed > segment->txn_bytes) segment->txn_filed = segment->txn_bytes;
}

/* True: the batch at the entry's position is the one that the entry says. */
static bool entry_fits(struct recovery *r, struct segment *segment, struct index_entry entry) {
    struct scan scan;
    struct scan_batch batch;
    bool fits = false;
    if (scan_init(&scan, r->files, segment->file, (uint64_t)entry.value, segment->size, false, r->in->work_pool)) return false;
    fits = scan_next(&scan, &batch) == ERR_NONE && batch_last_offset(&batch.batch) == entry.key;
    scan_free(&scan);
    return fits;
}

/* Where to begin so that everything from `offset` on is walked over; the indexes hold what comes before. After a clean stop
 * (`whole`) they are right to their end. */
static enum err begin_at(struct recovery *r, struct segment *segment, log_offset offset, bool whole, uint64_t *position) {
    char path[PATH_MAX_BYTES];
    struct index_entry entry;
    *position = 0;
    forget_indexes(r, segment);
    if (offset <= segment->base) return ERR_NONE;
    segment_path(r, path, segment->base, ".index");
    enum err err = index_file_load(&segment->by_offset, r->files, path, UINT32_MAX, segment->size, INT64_MAX);
    bool trusted = err == ERR_NONE;
    if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    segment_path(r, path, segment->base, ".timeindex");
    err = index_file_load(&segment->by_time, r->files, path, UINT32_MAX, segment->size, INT64_MAX);
    trusted &= err == ERR_NONE;
    if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    if ((whole && !trusted) || index_find(&segment->by_offset, offset - 1, &entry) != ERR_NONE || !entry_fits(r, segment, entry)) {
        forget_indexes(r, segment);
        return ERR_NONE;
    }
    index_cut(&segment->by_offset, entry.key + 1);
    if (!whole) index_cut(&segment->by_time, entry.key + 1);
    if (segment->by_time.entries > 0) {
        segment->timestamp_max = segment->by_time.last.key;
        segment->timestamp_max_at = segment->by_time.last.value;
    }
    *position = (uint64_t)entry.value;
    return ERR_NONE;
}

/* ---- Walking. */

static enum err note_ended(struct recovery *r, struct segment *segment, const struct producer_ended *ended) {
    uint8_t bytes[TXN_ENTRY_BYTES];
    struct txn_entry entry = {.producer = ended->producer, .first = ended->first, .last = ended->last, .stable = ended->stable};
    if (!ended->aborted) return ERR_NONE;
    txn_entry_encode(&entry, bytes);
    return segment_add_txn(segment, bytes, sizeof bytes, r->in->body_pool) ? ERR_NONE : ERR_NO_MEMORY;
}

static enum err replay(struct recovery *r, const struct scan_batch *batch, struct producer_ended *ended, bool *did) {
    *did = false;
    if (batch->batch.base_offset < r->replayed) return ERR_NONE;
    r->replayed = batch_next_offset(&batch->batch);
    if (batch->magic < BATCH_MAGIC_2 || !batch_has_producer(&batch->batch)) return ERR_NONE;
    enum err err = producer_replay(r->body->producers, &batch->batch, ended, did);
    return err == ERR_NO_MEMORY ? err : ERR_NONE; /* what does not fit the state is the past's problem */
}

/* Brings the producers from their snapshot up to `until`, by the headers alone. Rot on the way is reported, not repaired. */
static enum err replay_until(struct recovery *r, log_offset until) {
    /* A snapshot may be older than the oldest segment: what lay between is gone, and says nothing any more. */
    if (r->replayed < r->body->segments[0]->base) r->replayed = r->body->segments[0]->base;
    while (r->replayed < until) {
        uint32_t i = segment_index_of(r->body, r->replayed);
        struct segment *segment = r->body->segments[i];
        bool opened = segment->file == NULL;
        struct scan scan;
        struct scan_batch batch;
        struct producer_ended ended;
        bool did;
        struct index_entry entry;
        uint64_t position = 0;
        enum err err = open_segment_file(r, segment);
        if (index_is_loaded(&segment->by_offset) && index_find(&segment->by_offset, r->replayed - 1, &entry) == ERR_NONE)
            position = (uint64_t)entry.value;
        if (!err) err = scan_init(&scan, r->files, segment->file, position, segment->size, false, r->in->work_pool);
        if (err) return err;
        /* Not a batch further than needed: behind `until` there may be a torn end. */
        while (!err && r->replayed < until && !(err = scan_next(&scan, &batch)) && batch.batch.base_offset < until)
            err = replay(r, &batch, &ended, &did);
        scan_free(&scan);
        if (opened) { io_file_drop(segment->file); segment->file = NULL; }
        if (err == ERR_CORRUPT) note_damage(r, segment, r->replayed);
        if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
        log_offset behind = i + 1 < r->body->count && r->body->segments[i + 1]->base < until ? r->body->segments[i + 1]->base : until;
        if (r->replayed < behind) r->replayed = behind;
    }
    return ERR_NONE;
}

/* Walks over a segment from `position`; ERR_CORRUPT: what lies at *good is not good. */
static enum err walk(struct recovery *r, struct segment *segment, uint64_t position, uint64_t *good) {
    struct scan scan;
    struct scan_batch batch;
    struct producer_ended ended;
    bool did;
    enum err err = scan_init(&scan, r->files, segment->file, position, segment->size, true, r->in->work_pool);
    bool known_by_index = position > 0; /* the batch at `position` has its entry already */
    while (!err && !(err = scan_next(&scan, &batch))) {
        log_offset last = batch_last_offset(&batch.batch);
        if (batch.magic >= BATCH_MAGIC_2 && position != batch.position && batch.batch.base_offset < r->next) { err = ERR_CORRUPT; scan.at = batch.position; break; }
        if (batch.batch.base_offset < segment->base || last - segment->base > INT32_MAX) { err = ERR_CORRUPT; scan.at = batch.position; break; }
        if (known_by_index) {
            segment->since_index = batch.batch.size;
            if (batch.batch.max_timestamp > segment->timestamp_max) {
                segment->timestamp_max = batch.batch.max_timestamp;
                segment->timestamp_max_at = last;
            }
            known_by_index = false;
        } else {
            segment_note_batch(segment, batch.position, batch.batch.size, last, batch.batch.max_timestamp, r->in->config->index_interval_bytes);
        }
        if (batch.position == 0) segment->timestamp_first = batch.batch.max_timestamp;
        if (batch.batch.leader_epoch > epoch_latest(&r->body->epochs))
            err = epoch_assign(&r->body->epochs, batch.batch.leader_epoch, batch.batch.base_offset);
        if (!err) err = replay(r, &batch, &ended, &did);
        if (!err && did) err = note_ended(r, segment, &ended);
        r->next = last + 1;
    }
    *good = scan.at;
    r->report->scanned_bytes += scan.at - position;
    scan_free(&scan);
    segment->timestamp_known = true;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* ---- Cutting off. */

static enum err keep_aside(struct recovery *r, struct segment *segment, uint64_t from, log_offset offset) {
    char path[PATH_MAX_BYTES], name[NAME_MAX_BYTES + 1];
    struct text text;
    enum err err = ERR_NONE;
    uint64_t size = segment->size - from, done = 0;
    bool zeros = true;
    struct io_file *target = NULL;
    if (size > CUT_KEPT_MAX) size = CUT_KEPT_MAX;
    uint8_t *buffer = pool_alloc(r->in->work_pool, COPY_BYTES);
    if (!buffer) return ERR_NO_MEMORY;
    text_init(&text, name, sizeof name);
    text_add(&text, "moldau.cut-%020lld", (long long)offset);
    path_join(path, r->in->folder, name);
    while (!err && done < size) {
        size_t part = size - done < COPY_BYTES ? (size_t)(size - done) : COPY_BYTES;
        int64_t got = r->files.vtable->read(r->files.self, segment->file, buffer, part, from + done);
        if (got <= 0) { err = err_from_errno(got); break; }
        for (int64_t i = 0; i < got && zeros; i++) zeros = buffer[i] == 0;
        /* A hole that a crash left is nothing that anybody could want back. */
        if (!zeros) {
            if (!target) err = err_from_errno(r->files.vtable->open(r->files.self, &target, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE));
            if (!err) err = err_from_errno(r->files.vtable->write(r->files.self, target, buffer, (size_t)got, done));
        }
        done += (uint64_t)got;
    }
    if (!err && target) err = err_from_errno(r->files.vtable->sync_data(r->files.self, target));
    io_file_drop(target);
    pool_free(r->in->work_pool, buffer, COPY_BYTES);
    return err == ERR_NO_SPACE ? ERR_NONE : err; /* a full disk must not keep the log from opening */
}

/* Segments from `first` on go: the last one first, each removal durable before the next, so that no crash leaves a gap.
 * Their .log files are kept aside as they are, under a name that nobody reads. */
static enum err drop_segments(struct recovery *r, uint32_t first) {
    enum err err = ERR_NONE;
    while (r->body->count > first && !err) {
        struct segment *segment = r->body->segments[r->body->count - 1];
        char path[PATH_MAX_BYTES], aside[PATH_MAX_BYTES], name[NAME_MAX_BYTES + 1];
        struct text text;
        segment_path(r, path, segment->base, ".log");
        r->report->cut_bytes += segment->size;
        text_init(&text, name, sizeof name);
        text_add(&text, "moldau.cut-%020lld", (long long)segment->base);
        path_join(aside, r->in->folder, name);
        int result = segment->size ? r->files.vtable->rename(r->files.self, path, aside) : r->files.vtable->unlink(r->files.self, path);
        err = err_from_errno(result);
        for (int kind = FILE_OFFSET_INDEX; kind <= FILE_SNAPSHOT && !err; kind++)
            err = remove_path(r->files, r->in->folder, segment->base, file_endings[kind]);
        if (!err) err = sync_folder(r->files, r->in->folder);
        if (err) break;
        r->body->count--;
        segment_free(segment, r->in->body_pool);
    }
    return err;
}

/* Room that was made in advance: zeros up to the file's end. It goes, and is nothing that anybody lost. */
static enum err drop_room(struct recovery *r, struct segment *segment, uint64_t from, bool *dropped) {
    bool zeros = true;
    uint8_t *buffer = pool_alloc(r->in->work_pool, COPY_BYTES);
    if (!buffer) return ERR_NO_MEMORY;
    enum err err = ERR_NONE;
    for (uint64_t at = from; at < segment->size && zeros && !err;) {
        size_t part = segment->size - at < COPY_BYTES ? (size_t)(segment->size - at) : COPY_BYTES;
        int64_t got = r->files.vtable->read(r->files.self, segment->file, buffer, part, at);
        if (got <= 0) { err = got < 0 ? err_from_errno(got) : ERR_IO; break; }
        for (int64_t i = 0; i < got && zeros; i++) zeros = buffer[i] == 0;
        at += (uint64_t)got;
    }
    pool_free(r->in->work_pool, buffer, COPY_BYTES);
    *dropped = zeros && !err;
    if (*dropped) err = err_from_errno(r->files.vtable->truncate(r->files.self, segment->file, from));
    if (*dropped && !err) segment->size = segment->written = from;
    return err;
}

static int remove_cut(void *context, const char *name, bool is_directory) {
    struct recovery *r = context;
    char path[PATH_MAX_BYTES];
    if (is_directory || strncmp(name, "moldau.cut-", 11) != 0) return 0;
    path_join(path, r->in->folder, name);
    int result = r->files.vtable->unlink(r->files.self, path);
    return result == -ENOENT ? 0 : result;
}

static enum err remove_old_cuts(struct recovery *r) {
    return err_from_errno(r->files.vtable->list(r->files.self, r->in->folder, remove_cut, r));
}

static enum err cut_at(struct recovery *r, uint32_t index, uint64_t good) {
    struct segment *segment = r->body->segments[index];
    enum err err;
    r->report->cut_at = r->next;
    if ((err = remove_old_cuts(r))) return err;
    if ((err = drop_segments(r, index + 1))) return err;
    if (good < segment->size) {
        r->report->cut_bytes += segment->size - good;
        if ((err = keep_aside(r, segment, good, r->next))) return err;
        if ((err = err_from_errno(r->files.vtable->truncate(r->files.self, segment->file, good)))) return err;
    }
    segment->size = segment->written = good;
    r->names_changed = true;
    return ERR_NONE;
}

/* Writes what was read once more. After a sync that failed the kernel may hold pages as clean that never reached the disk:
 * they are read as if they were there, and no later sync writes them. Whether one failed nobody remembers. */
static enum err write_again(struct recovery *r, struct segment *segment, uint64_t from, uint64_t to) {
    enum { WINDOW = 64 << 10 };
    enum err err = ERR_NONE;
    if (from >= to) return err;
    uint8_t *window = pool_alloc(r->in->work_pool, WINDOW);
    if (!window) return ERR_NO_MEMORY;
    while (from < to && !err) {
        size_t size = to - from < WINDOW ? (size_t)(to - from) : WINDOW;
        int64_t result = r->files.vtable->read(r->files.self, segment->file, window, size, from);
        if (result == (int64_t)size) result = r->files.vtable->write(r->files.self, segment->file, window, size, from);
        else if (result >= 0) err = ERR_IO; /* it was just walked over */
        if (result < 0) err = err_from_errno(result);
        from += size;
    }
    pool_free(r->in->work_pool, window, WINDOW);
    return err;
}

/* The same for the end of the last segment: behind one that was cut the disk may still have what a power cut would bring back.
 * Setting the size that it has would change nothing, so a byte is added first; if that is all that stays, it is a torn end.
 * Segments before the last were never cut, and a byte too many there would end the log. */
static enum err end_again(struct recovery *r, struct segment *segment) {
    int result = r->files.vtable->truncate(r->files.self, segment->file, segment->size + 1);
    if (result == 0) result = r->files.vtable->truncate(r->files.self, segment->file, segment->size);
    return err_from_errno(result);
}

/* Everything from `point` on is verified and made durable. Below `flushed` nothing may be wrong: there it is rot. */
static enum err verify_from(struct recovery *r, log_offset point, log_offset flushed) {
    struct log_body *body = r->body;
    uint32_t first = segment_index_of(body, point);
    enum err err;
    for (uint32_t i = first; i < body->count; i++) {
        struct segment *segment = body->segments[i];
        uint64_t position = 0, good = 0;
        bool gap = !r->in->config->cleanup_compact && segment->base > r->next;
        if (i > first && (gap || segment->base < r->next)) { /* what lay between was lost */
            if (r->next < flushed) { /* not by this crash */
                note_damage(r, segment, r->next);
                return ERR_CORRUPT;
            }
            r->report->cut_at = r->next;
            if ((err = remove_old_cuts(r)) || (err = drop_segments(r, i))) return err;
            break;
        }
        if ((err = open_segment_file(r, segment))) return err;
        segment->sealed = false;
        if (r->next < segment->base) r->next = segment->base;
        if (i == first) {
            if ((err = begin_at(r, segment, point, false, &position))) return err;
            if ((err = load_txn(r, segment)) == ERR_CORRUPT) { /* made anew: the producers begin at the segment's base */
                log_offset at;
                if ((err = load_producers(r, segment->base, &at))) return err;
                r->replayed = at < 0 ? body->segments[0]->base : at;
            }
            /* the producers are brought up to the end of the batch at `position`, that is to where the walk adds to them */
            if (!err) err = replay_until(r, position ? segment->by_offset.last.key : segment->base);
            if (err) return err;
            trim_txn(segment, r->replayed);
            /* From here on the batches say which epochs there are, not what the file remembers of a log that was cut. */
            epoch_truncate_end(&body->epochs, position ? segment->by_offset.last.key + 1 : segment->base);
        } else {
            forget_indexes(r, segment);
            segment->txn_known = true;
        }
        err = walk(r, segment, position, &good);
        if (err == ERR_CORRUPT) {
            if (r->next < flushed) { /* before the recovery point it is rot, not a torn end */
                note_damage(r, segment, r->next);
                return ERR_CORRUPT;
            }
            bool room;
            err = drop_room(r, segment, good, &room);
            if (!err && !room) err = cut_at(r, i, good);
        }
        if (!err) err = write_again(r, segment, position, good);
        if (!err && i + 1 == body->count) err = end_again(r, segment);
        if (!err) err = err_from_errno(r->files.vtable->sync_data(r->files.self, segment->file));
        if (err) return err;
        if (r->report->cut_at >= 0) break;
    }
    return ERR_NONE;
}

/* After a clean stop: the indexes of the last segment are whole, and behind their last entry there is little. ERR_CORRUPT:
 * it was not that clean. */
static enum err trust(struct recovery *r) {
    struct log_body *body = r->body;
    struct segment *last = body->segments[body->count - 1];
    uint64_t position = 0, good = 0;
    struct scan scan;
    struct scan_batch batch;
    enum err err = open_segment_file(r, last);
    if (err) return err;
    r->next = last->base;
    if ((err = begin_at(r, last, INT64_MAX, true, &position))) return err;
    if ((err = load_txn(r, last))) return err;
    r->replayed = INT64_MAX; /* not yet: the walk shall find the end first */
    if ((err = walk(r, last, position, &good))) return err;
    if (position > 0) { /* the first batch's timestamp, for the roll by time */
        if (!(err = scan_init(&scan, r->files, last->file, 0, last->size, false, r->in->work_pool)) && !(err = scan_next(&scan, &batch)))
            last->timestamp_first = batch.batch.max_timestamp;
        scan_free(&scan);
        if (err) return err;
    }
    return ERR_NONE;
}

/* ---- Bringing it together. */

static enum err producers_after_clean(struct recovery *r) {
    log_offset at;
    enum err err = load_producers(r, r->next, &at);
    if (err) return err;
    r->replayed = at < 0 ? r->next : at; /* a clean stop without a snapshot: there were none */
    return replay_until(r, r->next);
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
        err = trust(r);
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
        if ((err = load_producers(r, from, &at))) return err;
        r->replayed = at < 0 ? base : at;
        if ((err = verify_from(r, from, point))) return err;
        if (r->next >= point || attempt > 0 || from <= base) break;
        /* It ends before its recovery point: that cannot be believed then, nor can what was taken from the indexes. */
        point = body->segments[segment_index_of(body, r->next)]->base;
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
        if ((err = remove_entry(r->files, r->in->folder, e))) return err;
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
    return make_segment(r, at);
}

static enum err settle_active(struct recovery *r) {
    struct log_body *body = r->body;
    struct segment *active = body->segments[body->count - 1];
    enum err err = open_segment_file(r, active);
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
    if (!active->by_offset.known) forget_indexes(r, active); /* a new, empty one */
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
    if ((err = list_folder(r->files, in->work_pool, in->folder, &r->listing))) return err;
    if ((err = settle_temporaries(r))) return err;
    if ((err = collect_segments(r))) return err;
    if (body->count == 0) {
        if ((err = make_segment(r, start))) return err;
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
    if (r->names_changed || r->report->created || !in->clean) return sync_folder(r->files, in->folder);
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

/* ---- Cuts. */

static enum err copy_front(struct io_files files, struct pool *pool, const char *folder, const char *path, struct io_file *file, uint64_t size) {
    char temporary[PATH_MAX_BYTES];
    struct io_file *target = NULL;
    path_join(temporary, folder, "moldau.truncate.tmp");
    uint8_t *buffer = pool_alloc(pool, COPY_BYTES);
    if (!buffer) return ERR_NO_MEMORY;
    int64_t result = files.vtable->open(files.self, &target, temporary, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE);
    for (uint64_t done = 0; result >= 0 && done < size;) {
        size_t part = size - done < COPY_BYTES ? (size_t)(size - done) : COPY_BYTES;
        result = files.vtable->read(files.self, file, buffer, part, done);
        if (result == 0) result = -EIO;
        if (result > 0) {
            part = (size_t)result;
            result = files.vtable->write(files.self, target, buffer, part, done);
            done += part;
        }
    }
    if (result >= 0) result = files.vtable->sync_data(files.self, target);
    io_file_drop(target);
    pool_free(pool, buffer, COPY_BYTES);
    if (result >= 0) result = files.vtable->rename(files.self, temporary, path);
    return err_from_errno(result);
}

static enum err cut_file(struct io_files files, struct pool *pool, const char *folder, log_offset base, log_offset offset, bool copy) {
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    struct scan scan = {0};
    struct scan_batch batch;
    path_of_offset(path, folder, base, ".log");
    enum err err = err_from_errno(files.vtable->open(files.self, &file, path, IO_READ | IO_WRITE));
    if (err) return err;
    int64_t size = files.vtable->size(files.self, file);
    if (size < 0) { err = err_from_errno(size); goto out; }
    uint64_t position = 0;
    struct index index;
    struct index_entry entry;
    char index_path[PATH_MAX_BYTES];
    index_init(&index, INDEX_OFFSET, base, INT32_MAX, pool);
    path_of_offset(index_path, folder, base, ".index");
    err = index_file_load(&index, files, index_path, UINT32_MAX, (uint64_t)size, INT64_MAX);
    if (!err && index_find(&index, offset - 1, &entry) == ERR_NONE) position = (uint64_t)entry.value;
    index_free(&index);
    if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) goto out;
    if (position > 0) { /* only if it is what it says */
        if ((err = scan_init(&scan, files, file, position, (uint64_t)size, false, pool))) goto out;
        bool fits = scan_next(&scan, &batch) == ERR_NONE && batch_last_offset(&batch.batch) == entry.key;
        scan_free(&scan);
        if (!fits) position = 0;
    }
    if ((err = scan_init(&scan, files, file, position, (uint64_t)size, false, pool))) goto out;
    while (!(err = scan_next(&scan, &batch)))
        if (batch_last_offset(&batch.batch) >= offset) break;
    uint64_t keep = err ? scan.at : batch.position;
    scan_free(&scan);
    if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) goto out;
    err = ERR_NONE;
    if (keep < (uint64_t)size) {
        if (copy) err = copy_front(files, pool, folder, path, file, keep);
        else {
            err = err_from_errno(files.vtable->truncate(files.self, file, keep));
            if (!err) err = err_from_errno(files.vtable->sync_data(files.self, file));
        }
    }
out:
    io_file_drop(file);
    return err;
}

static enum err remove_kind(struct io_files files, const char *folder, struct listing *l, log_offset base) {
    enum err err = ERR_NONE;
    for (uint32_t i = 0; i < l->count && !err; i++)
        if (l->entries[i].offset == base && l->entries[i].state == FILE_PLAIN && l->entries[i].kind != FILE_SNAPSHOT)
            err = remove_entry(files, folder, &l->entries[i]);
    return err;
}

enum err recover_cut(struct io_files files, struct pool *pool, const char *folder, log_offset offset, bool copy) {
    struct listing listing;
    enum err err = list_folder(files, pool, folder, &listing);
    log_offset holds = -1;
    for (uint32_t i = 0; i < listing.count && !err; i++) { /* snapshots behind the cut describe nothing any more */
        struct file_entry *e = &listing.entries[i];
        if (e->kind == FILE_LOG && e->state == FILE_PLAIN && e->offset <= offset && e->offset > holds) holds = e->offset;
        if (e->kind == FILE_SNAPSHOT && e->offset > offset) err = remove_entry(files, folder, e);
    }
    for (uint32_t i = listing.count; i-- > 0 && !err;) {
        struct file_entry *e = &listing.entries[i];
        if (e->kind != FILE_LOG || e->state != FILE_PLAIN || e->offset <= offset || e->offset < 0) continue;
        err = remove_kind(files, folder, &listing, e->offset);
        if (!err) err = sync_folder(files, folder);
    }
    if (!err && holds >= 0) err = cut_file(files, pool, folder, holds, offset, copy);
    if (!err) err = sync_folder(files, folder);
    listing_free(&listing);
    return err;
}

static int wipe_one(void *context, const char *name, bool is_directory);
struct wiping { struct io_files files; const char *folder; };

enum err recover_wipe(struct io_files files, const char *folder) {
    struct wiping wiping = {files, folder};
    int result = files.vtable->list(files.self, folder, wipe_one, &wiping);
    if (result < 0) return err_from_errno(result);
    return sync_folder(files, folder);
}

static int wipe_one(void *context, const char *name, bool is_directory) {
    struct wiping *wiping = context;
    char path[PATH_MAX_BYTES];
    if (is_directory || strcmp(name, "partition.metadata") == 0 || strncmp(name, "moldau.", 7) == 0) return 0;
    bool ours = strcmp(name, "leader-epoch-checkpoint") == 0;
    for (int kind = 0; kind < FILE_KINDS; kind++) ours |= name_ends_with(name, file_endings[kind]);
    if (!ours) return 0;
    path_join(path, wiping->folder, name);
    int result = wiping->files.vtable->unlink(wiping->files.self, path);
    return result == -ENOENT ? 0 : result;
}
