#include "log/dir.h"
#include "base/text.h"
#include "log/checkpoint.h"
#include <errno.h>
#include <string.h>

enum err file_put(struct io_files files, const char *folder, const char *name, const void *bytes, size_t size, bool sync) {
    char path[PATH_MAX_BYTES], temporary[PATH_MAX_BYTES], name_temporary[NAME_MAX_BYTES + 1];
    struct text text;
    text_init(&text, name_temporary, sizeof name_temporary);
    text_add(&text, "%s.tmp", name);
    path_join(path, folder, name);
    path_join(temporary, folder, name_temporary);
    struct io_file *file = NULL;
    int64_t result = files.vtable->open(files.self, &file, temporary, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE);
    if (result < 0) return err_from_errno(result);
    if (size) result = files.vtable->write(files.self, file, bytes, size, 0);
    if (result >= 0 && sync) result = files.vtable->sync_data(files.self, file);
    io_file_drop(file);
    if (result >= 0) result = files.vtable->rename(files.self, temporary, path);
    return err_from_errno(result);
}

enum err file_replace(struct io_files files, const char *folder, const char *name, const void *bytes, size_t size) {
    enum err err = file_put(files, folder, name, bytes, size, true);
    return err ? err : err_from_errno(files.vtable->sync_directory(files.self, folder));
}

enum err file_slurp(struct io_files files, const char *path, size_t size_max, struct pool *pool, char **out, size_t *size) {
    enum err err = ERR_NONE;
    struct io_file *file = NULL;
    char *bytes = NULL;
    int64_t result = files.vtable->open(files.self, &file, path, IO_READ);
    if (result < 0) return result == -ENOENT ? ERR_NOT_FOUND : err_from_errno(result);
    int64_t there = files.vtable->size(files.self, file);
    if (there < 0) err = err_from_errno(there);
    else if ((uint64_t)there > size_max) err = ERR_LIMIT;
    else if (!(bytes = pool_alloc(pool, (size_t)there + 1))) err = ERR_NO_MEMORY;
    else {
        result = there ? files.vtable->read(files.self, file, bytes, (size_t)there, 0) : 0;
        if (result < 0) err = err_from_errno(result);
        else if (result < there) err = ERR_IO; /* it shrank under us */
    }
    io_file_drop(file);
    if (err) {
        if (bytes) pool_free(pool, bytes, (size_t)there + 1);
        return err;
    }
    bytes[there] = 0;
    *out = bytes;
    *size = (size_t)there;
    return ERR_NONE;
}

enum err partition_metadata_read(struct io_files files, const char *folder, struct uuid *out) {
    char path[PATH_MAX_BYTES], bytes[256];
    struct checkpoint_fault fault;
    path_join(path, folder, "partition.metadata");
    struct io_file *file = NULL;
    int64_t size = files.vtable->open(files.self, &file, path, IO_READ);
    if (size < 0) return size == -ENOENT ? ERR_NOT_FOUND : err_from_errno(size);
    size = files.vtable->read(files.self, file, bytes, sizeof bytes, 0);
    io_file_drop(file);
    if (size < 0) return err_from_errno(size);
    return partition_metadata_parse(span_of(bytes, (size_t)size), out, &fault);
}

enum err partition_metadata_write(struct io_files files, const char *folder, struct uuid id) {
    char bytes[PARTITION_METADATA_BYTES + 1];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    partition_metadata_print(id, &text);
    return file_put(files, folder, "partition.metadata", bytes, text.size, true);
}
