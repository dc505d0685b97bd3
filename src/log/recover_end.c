/* The end of a log that was found: what lies behind it goes, what lies before it is brought to the disk once more. */
#include "log/recovery.h"
#include "base/text.h"
#include <errno.h>
#include <string.h>

enum { CUT_KEPT_MAX = 16 << 20, COPY_BYTES = 256 << 10 };

static enum err keep_aside(struct recovery *r, struct segment *segment, uint64_t from, log_offset offset) {
    char path[PATH_MAX_BYTES], name[NAME_MAX_BYTES + 1];
    struct text text;
    enum err err = ERR_NONE;
    uint64_t size = segment->size - from, done = 0;
    bool zeros = true;
    struct io_file *target = NULL;
    if (size > CUT_KEPT_MAX) size = CUT_KEPT_MAX;
    size_t capacity = size < COPY_BYTES ? (size_t)size : COPY_BYTES;
    uint8_t *buffer = pool_alloc(r->in->work_pool, capacity);
    if (!buffer) return ERR_NO_MEMORY;
    text_init(&text, name, sizeof name);
    text_add(&text, "moldau.cut-%020lld", (long long)offset);
    path_join(path, r->in->folder, name);
    while (!err && done < size) {
        size_t part = size - done < capacity ? (size_t)(size - done) : capacity;
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
    pool_free(r->in->work_pool, buffer, capacity);
    return err == ERR_NO_SPACE ? ERR_NONE : err; /* a full disk must not keep the log from opening */
}

/* Segments from `first` on go: the last one first, each removal durable before the next, so that no crash leaves a gap.
 * Their .log files are kept aside as they are, under a name that nobody reads. */
enum err recovery_drop_segments(struct recovery *r, uint32_t first) {
    enum err err = ERR_NONE;
    while (r->body->count > first && !err) {
        struct segment *segment = r->body->segments[r->body->count - 1];
        char path[PATH_MAX_BYTES], aside[PATH_MAX_BYTES], name[NAME_MAX_BYTES + 1];
        struct text text;
        recovery_path(r, path, segment->base, ".log");
        r->report->cut_bytes += segment->size;
        text_init(&text, name, sizeof name);
        text_add(&text, "moldau.cut-%020lld", (long long)segment->base);
        path_join(aside, r->in->folder, name);
        int result = segment->size ? r->files.vtable->rename(r->files.self, path, aside) : r->files.vtable->unlink(r->files.self, path);
        err = err_from_errno(result);
        for (int kind = FILE_OFFSET_INDEX; kind <= FILE_SNAPSHOT && !err; kind++)
            err = file_remove(r->files, r->in->folder, segment->base, file_endings[kind]);
        if (!err) err = folder_sync(r->files, r->in->folder);
        if (err) break;
        r->body->count--;
        segment_free(segment, r->in->body_pool);
    }
    return err;
}

/* Room that was made in advance: zeros up to the file's end. It goes, and is nothing that anybody lost. */
enum err recovery_drop_room(struct recovery *r, struct segment *segment, uint64_t from, bool *dropped) {
    bool zeros = true;
    size_t capacity = segment->size - from < COPY_BYTES ? (size_t)(segment->size - from) : COPY_BYTES;
    uint8_t *buffer = pool_alloc(r->in->work_pool, capacity);
    if (!buffer) return ERR_NO_MEMORY;
    enum err err = ERR_NONE;
    for (uint64_t at = from; at < segment->size && zeros && !err;) {
        size_t part = segment->size - at < capacity ? (size_t)(segment->size - at) : capacity;
        int64_t got = r->files.vtable->read(r->files.self, segment->file, buffer, part, at);
        if (got <= 0) { err = got < 0 ? err_from_errno(got) : ERR_IO; break; }
        for (int64_t i = 0; i < got && zeros; i++) zeros = buffer[i] == 0;
        at += (uint64_t)got;
    }
    pool_free(r->in->work_pool, buffer, capacity);
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

enum err recovery_remove_old_cuts(struct recovery *r) {
    return err_from_errno(r->files.vtable->list(r->files.self, r->in->folder, remove_cut, r));
}

enum err recovery_cut(struct recovery *r, uint32_t index, uint64_t good) {
    struct segment *segment = r->body->segments[index];
    enum err err;
    r->report->cut_at = r->next;
    if ((err = recovery_remove_old_cuts(r))) return err;
    if ((err = recovery_drop_segments(r, index + 1))) return err;
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
enum err recovery_write_again(struct recovery *r, struct segment *segment, uint64_t from, uint64_t to) {
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
enum err recovery_end_again(struct recovery *r, struct segment *segment) {
    int result = r->files.vtable->truncate(r->files.self, segment->file, segment->size + 1);
    if (result == 0) result = r->files.vtable->truncate(r->files.self, segment->file, segment->size);
    return err_from_errno(result);
}
