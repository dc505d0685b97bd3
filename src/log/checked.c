#include "log/checked.h"
#include "base/assert.h"
#include "log/log.h"
#include "log/scan.h"
#include <errno.h>

void checked_clear(struct checked *checked) {
    *checked = (struct checked){0};
}

/* What was noted of a file that somebody doubts since then is worth nothing. */
static void believe(struct checked *checked, struct io_file *file) {
    uint32_t doubts = atomic_load_explicit(&io_file_ref(file)->doubts, memory_order_acquire);
    if (checked->doubts != doubts) *checked = (struct checked){.doubts = doubts};
}

void checked_add(struct checked *checked, struct io_file *file, uint64_t from, uint64_t to) {
    assert(from <= to);
    believe(checked, file);
    if (from == to || to > UINT32_MAX) return; /* beyond what a segment of Kafka's can be: verified each time */
    uint32_t smallest = 0;
    for (uint32_t i = 0; i < CHECKED_RANGES_MAX; i++) { /* what it touches becomes part of it */
        if (checked->ranges[i].from < checked->ranges[i].to && checked->ranges[i].from <= to && from <= checked->ranges[i].to) {
            if (checked->ranges[i].from < from) from = checked->ranges[i].from;
            if (checked->ranges[i].to > to) to = checked->ranges[i].to;
            checked->ranges[i].from = checked->ranges[i].to = 0;
            i = UINT32_MAX; /* it has grown: look at the others again */
        }
    }
    for (uint32_t i = 1; i < CHECKED_RANGES_MAX; i++)
        if (checked->ranges[i].to - checked->ranges[i].from < checked->ranges[smallest].to - checked->ranges[smallest].from) smallest = i;
    checked->ranges[smallest].from = (uint32_t)from;
    checked->ranges[smallest].to = (uint32_t)to;
}

bool checked_holds(struct checked *checked, struct io_file *file, uint64_t from, uint64_t to) {
    believe(checked, file);
    for (uint32_t i = 0; i < CHECKED_RANGES_MAX; i++)
        if (checked->ranges[i].from <= from && to <= checked->ranges[i].to) return true;
    return false;
}

enum err checked_verify(struct io_files files, struct io_file *file, struct pool *pool, uint64_t from, uint64_t upto, uint64_t file_end,
                        const struct checked_order *order, uint64_t *sound) {
    struct scan scan;
    struct scan_batch batch;
    *sound = from;
    enum err err = scan_init(&scan, files, file, from, upto, true, pool);
    scan.ordered = true;
    scan.file_end = file_end;
    if (order) {
        scan.next = order->next;
        scan.epoch = order->epoch;
        scan.bound = order->bound;
        scan.first_epoch = order->first_epoch;
    }
    while (!err && scan.at < upto) {
        err = scan_next(&scan, &batch);
        if (err != ERR_CORRUPT || scan.end >= file_end) continue;
        scan.end = file_end; /* a reader's limit may have cut it: whole, in the file, it must be good all the same */
        err = ERR_NONE;
    }
    *sound = scan.at;
    scan_free(&scan);
    return err == ERR_CORRUPT && *sound > from ? ERR_NONE : err;
}

/* The batches before `offset` were looked at when the answer was made, and are sent: over them it only walks. */
int64_t log_warm(struct io_files files, struct pool *pool, struct file_ref *ref, uint64_t begin, uint64_t offset, size_t size) {
    struct io_file *file = (struct io_file *)(void *)ref;
    struct scan scan;
    struct scan_batch batch;
    uint64_t at = begin, sound = begin, upto = offset + size;
    atomic_fetch_add_explicit(&ref->doubts, 1, memory_order_acq_rel);
    int64_t file_end = files.vtable->size(files.self, file);
    if (file_end < 0) return file_end;
    if ((uint64_t)file_end < upto) return -EIO;
    enum err err = scan_init(&scan, files, file, begin, (uint64_t)file_end, false, pool);
    while (!err && scan.at <= offset) {
        at = scan.at;
        err = scan_next(&scan, &batch);
    }
    scan_free(&scan);
    if (err == ERR_NOT_FOUND) err = ERR_NONE;
    if (!err) err = checked_verify(files, file, pool, at, upto, (uint64_t)file_end, NULL, &sound);
    if (!err && sound < upto) err = ERR_CORRUPT;
    return err == ERR_NONE ? 0 : err == ERR_CORRUPT ? -EBADMSG : err == ERR_NO_MEMORY ? -ENOMEM : -EIO;
}
