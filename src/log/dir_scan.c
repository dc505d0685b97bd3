#include "log/dir.h"
#include <errno.h>
#include <string.h>

struct scan {
    struct log_dir *dir;
    struct io_files files;
    bool (*wanted)(void *context, const char *topic, partition_index partition);
    int (*found)(void *context, const struct log_dir_entry *entry);
    void *context;
    char folder[PATH_MAX_BYTES];
    uint64_t bytes;
};

static int add_segment(void *context, const char *name, bool is_directory) {
    struct scan *scan = context;
    char path[PATH_MAX_BYTES];
    struct io_stat stat;
    if (is_directory || !name_ends_with(name, ".log")) return 0;
    path_join(path, scan->folder, name);
    if (scan->files.vtable->stat(scan->files.self, path, &stat) == 0) scan->bytes += stat.size; /* else it is gone meanwhile */
    return 0;
}

static int look_at(void *context, const char *name, bool is_directory) {
    struct scan *scan = context;
    char topic[NAME_MAX_BYTES + 1];
    struct log_dir_entry entry = {.dir = scan->dir, .topic = topic};
    if (!is_directory || name_ends_with(name, "-delete") || name_ends_with(name, "-stray")) return 0;
    entry.is_future = name_future(name, topic, &entry.partition);
    if (!entry.is_future && !name_partition(name, topic, &entry.partition)) return 0;
    if (scan->wanted && !scan->wanted(scan->context, topic, entry.partition)) return 0;
    if (strlen(scan->dir->path) + strlen(name) + NAME_MAX_BYTES + 3 > PATH_MAX_BYTES) return -ENAMETOOLONG;
    path_join(scan->folder, scan->dir->path, name);
    scan->bytes = 0;
    int result = scan->files.vtable->list(scan->files.self, scan->folder, add_segment, scan);
    if (result == -ENOENT) return 0; /* deleted meanwhile */
    if (result) return result;
    entry.bytes = scan->bytes;
    return scan->found(scan->context, &entry);
}

int log_dir_scan(struct log_dir *dir, struct io_files files, bool (*wanted)(void *context, const char *topic, partition_index partition),
                 int (*found)(void *context, const struct log_dir_entry *entry), void *context) {
    struct scan scan = {.dir = dir, .files = files, .wanted = wanted, .found = found, .context = context};
    return files.vtable->list(files.self, dir->path, look_at, &scan);
}
