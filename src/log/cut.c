/* The work of a truncation, and of a log that begins anew. */
#include "log/listing.h"
#include "log/recover.h"
#include "log/scan.h"
#include <errno.h>
#include <string.h>

enum { COPY_BYTES = 256 << 10 };

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
            err = listing_remove(files, folder, &l->entries[i]);
    return err;
}

enum err recover_cut(struct io_files files, struct pool *pool, const char *folder, log_offset offset, bool copy) {
    struct listing listing;
    enum err err = listing_read(files, pool, folder, &listing);
    log_offset holds = -1;
    for (uint32_t i = 0; i < listing.count && !err; i++) { /* snapshots behind the cut describe nothing any more */
        struct file_entry *e = &listing.entries[i];
        if (e->kind == FILE_LOG && e->state == FILE_PLAIN && e->offset <= offset && e->offset > holds) holds = e->offset;
        if (e->kind == FILE_SNAPSHOT && e->offset > offset) err = listing_remove(files, folder, e);
    }
    for (uint32_t i = listing.count; i-- > 0 && !err;) {
        struct file_entry *e = &listing.entries[i];
        if (e->kind != FILE_LOG || e->state != FILE_PLAIN || e->offset <= offset || e->offset < 0) continue;
        err = remove_kind(files, folder, &listing, e->offset);
        if (!err) err = folder_sync(files, folder);
    }
    if (!err && holds >= 0) err = cut_file(files, pool, folder, holds, offset, copy);
    if (!err) err = folder_sync(files, folder);
    listing_free(&listing);
    return err;
}

static int wipe_one(void *context, const char *name, bool is_directory);
struct wiping { struct io_files files; const char *folder; };

enum err recover_wipe(struct io_files files, const char *folder) {
    struct wiping wiping = {files, folder};
    int result = files.vtable->list(files.self, folder, wipe_one, &wiping);
    if (result < 0) return err_from_errno(result);
    return folder_sync(files, folder);
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
