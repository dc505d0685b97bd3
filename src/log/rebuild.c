#include "log/rebuild.h"
#include "log/paths.h"
#include "log/scan.h"

static enum err make_anew(struct rebuild *r, enum index_kind kind, struct index *out) {
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    struct scan scan = {0};
    struct scan_batch batch;
    struct timestamp largest = {-1, -1};
    uint64_t since = 0;
    index_free(out);
    index_init(out, kind, r->base, INT32_MAX, r->pool);
    path_of_offset(path, r->folder, r->base, ".log");
    enum err err = err_from_errno(r->files.vtable->open(r->files.self, &file, path, IO_READ));
    if (!err) err = scan_init(&scan, r->files, file, 0, r->size, false, r->pool);
    scan.ordered = true;
    while (!err) {
        log_offset base;
        err = scan_next(&scan, &batch);
        if (err == ERR_CORRUPT) { /* for readers of that place to find; what lies behind it is in the index */
            if ((err = scan_behind(r->files, file, r->pool, scan.at, r->size, r->base, &scan.at, &base))) break;
            since = r->interval + (uint64_t)1; /* they begin there */
            scan.next = base;
            continue;
        }
        if (err) break;
        log_offset last = batch_last_offset(&batch.batch);
        if (batch.batch.max_timestamp > largest.time) largest = (struct timestamp){batch.batch.max_timestamp, last};
        if (since > r->interval) {
            if (kind == INDEX_OFFSET) index_add(out, last, (int64_t)batch.position);
            else index_add_time(out, largest.time, largest.offset, false);
            since = 0;
        }
        since += batch.batch.size;
    }
    if (kind == INDEX_TIME && largest.time >= 0) index_add_time(out, largest.time, largest.offset, true);
    scan_free(&scan);
    io_file_drop(file);
    r->rebuilt = true;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err rebuild_index(struct rebuild *r, enum index_kind kind, struct index *out) {
    char path[PATH_MAX_BYTES];
    r->rebuilt = false;
    index_init(out, kind, r->base, INT32_MAX, r->pool);
    path_of_offset(path, r->folder, r->base, kind == INDEX_OFFSET ? ".index" : ".timeindex");
    enum err err = r->anew ? ERR_NOT_FOUND : index_file_load(out, r->files, path, r->entries, r->size, INT64_MAX);
    if (err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    if ((err = make_anew(r, kind, out))) return err;
    /* A full disk or the like is no reason not to answer. */
    if (r->entries == UINT32_MAX && index_file_write(out, r->files, path, 0, false)) return ERR_NONE;
    return ERR_NONE;
}

bool rebuild_entry_fits(struct rebuild *r, struct io_file *file, struct index_entry entry) {
    struct scan scan;
    struct scan_batch batch;
    if (scan_init(&scan, r->files, file, (uint64_t)entry.value, r->size, false, r->pool)) return false;
    bool fits = scan_next(&scan, &batch) == ERR_NONE && batch_last_offset(&batch.batch) == entry.key;
    scan_free(&scan);
    return fits;
}

/* The batch that ends at the entry's offset, looked for from `position` on, has the entry's timestamp. */
bool rebuild_time_fits(struct rebuild *r, struct io_file *file, struct index_entry entry, uint64_t position) {
    struct scan scan;
    struct scan_batch batch;
    bool fits = false;
    if (scan_init(&scan, r->files, file, position, r->size, false, r->pool)) return false;
    while (!scan_next(&scan, &batch)) {
        if (batch_last_offset(&batch.batch) < entry.value) continue;
        fits = batch_last_offset(&batch.batch) == entry.value && batch.batch.max_timestamp == entry.key;
        break;
    }
    scan_free(&scan);
    return fits;
}

/* Where the batch of that offset can be looked for; 0 when the index cannot be believed. */
static enum err position_of(struct rebuild *r, struct io_file *file, log_offset offset, uint64_t *position) {
    struct index by_offset;
    struct index_entry entry;
    *position = 0;
    enum err err = rebuild_index(r, INDEX_OFFSET, &by_offset);
    if (!err && index_find(&by_offset, offset, &entry) == ERR_NONE && rebuild_entry_fits(r, file, entry)) *position = (uint64_t)entry.value;
    index_free(&by_offset);
    return err;
}

enum err rebuild_largest_timestamp(struct rebuild *r, struct io_file *file, struct timestamp *out) {
    struct index by_time;
    struct scan scan = {0};
    struct scan_batch batch;
    uint64_t position = 0;
    *out = (struct timestamp){-1, -1};
    enum err err = rebuild_index(r, INDEX_TIME, &by_time);
    if (!err && by_time.entries > 0) {
        err = position_of(r, file, by_time.last.value, &position);
        if (!err && rebuild_time_fits(r, file, by_time.last, position)) *out = (struct timestamp){by_time.last.key, by_time.last.value};
        else position = 0;
    }
    index_free(&by_time);
    if (!err) err = scan_init(&scan, r->files, file, position, r->size, true, r->pool);
    while (!err && !(err = scan_next(&scan, &batch)))
        if (batch.batch.max_timestamp > out->time) *out = (struct timestamp){batch.batch.max_timestamp, batch_last_offset(&batch.batch)};
    scan_free(&scan);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}
