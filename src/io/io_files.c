/* io/io_files.c - the real file system, blocking. */
#include "io/io_real.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { WRITE_SLICES_MAX = 128, LIST_BYTES_MAX = 1 << 30 };

/* Files are opened on one thread and let go on any other: their few bytes come from a pool of their own. */
static struct {
    pthread_mutex_t lock;
    struct pool pool;
} open_files = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct io_file *file_alloc(void) {
    pthread_mutex_lock(&open_files.lock);
    struct io_file *file = POOL_NEW(&open_files.pool, struct io_file);
    pthread_mutex_unlock(&open_files.lock);
    return file;
}

static void file_free(struct io_file *file) {
    pthread_mutex_lock(&open_files.lock);
    pool_free(&open_files.pool, file, sizeof *file);
    pthread_mutex_unlock(&open_files.lock);
}

static void file_release(struct file_ref *ref) {
    struct io_file *file = container_of(ref, struct io_file, ref);
    close(file->descriptor);
    file_free(file);
}

static int open_retry(const char *path, int flags, mode_t mode) {
    int descriptor;
    do descriptor = open(path, flags | O_CLOEXEC, mode);
    while (descriptor < 0 && errno == EINTR);
    return descriptor < 0 ? -errno : descriptor;
}

static int files_open(void *self, struct io_file **out, const char *path, unsigned flags) {
    bool reads = flags & (IO_READ | IO_DIRECTORY), writes = flags & IO_WRITE;
    assert(reads || writes);
    int mode = reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
    if (flags & IO_CREATE) mode |= O_CREAT;
    if (flags & IO_EXCLUSIVE) mode |= O_EXCL;
    if (flags & IO_TRUNCATE) mode |= O_TRUNC;
    if (flags & IO_DIRECTORY) mode |= O_DIRECTORY;
    struct io_file *file = file_alloc();
    if (!file) return -ENOMEM;
    int descriptor = open_retry(path, mode, 0644);
    if (descriptor < 0) {
        file_free(file);
        return descriptor;
    }
    atomic_init(&file->ref.refs, 1);
    file->ref.release = file_release;
    struct stat info;
    file->descriptor = descriptor;
    file->device = fstat(descriptor, &info) == 0 ? (uint64_t)info.st_dev : 0;
    *out = file;
    return 0;
}

static int64_t files_size(void *self, struct io_file *file) {
    struct stat info;
    return fstat(file->descriptor, &info) < 0 ? -errno : (int64_t)info.st_size;
}

int64_t file_read(struct io_file *file, void *target, size_t size, uint64_t offset) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(file->descriptor, (uint8_t *)target + done, size - done, (off_t)(offset + done));
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int64_t files_read(void *self, struct io_file *file, void *target, size_t size, uint64_t offset) {
    return file_read(file, target, size, offset);
}

static int64_t files_write(void *self, struct io_file *file, const void *source, size_t size, uint64_t offset) {
    size_t done = 0;
    while (done < size) {
        ssize_t put = pwrite(file->descriptor, (const uint8_t *)source + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -errno;
        if (put == 0) return -ENOSPC;
        done += (size_t)put;
    }
    return (int64_t)done;
}

/* One pwritev for up to WRITE_SLICES_MAX slices; begins anew behind what went when the kernel took only a part. */
int64_t file_write_chain(struct io_file *file, const struct chain *chain, uint64_t offset) {
    struct iovec vectors[WRITE_SLICES_MAX];
    const struct slice *slice = chain->first;
    size_t skip = 0, done = 0;
    while (slice) {
        int count = 0;
        size_t from = skip;
        for (const struct slice *at = slice; at && count < WRITE_SLICES_MAX; at = at->next, from = 0) {
            assert(at->kind == SLICE_MEMORY);
            union { const void *source; void *base; } bytes = {.source = at->memory.data + from}; /* iovec knows no const */
            vectors[count++] = (struct iovec){bytes.base, at->size - from};
        }
        ssize_t put = pwritev(file->descriptor, vectors, count, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -errno;
        if (put == 0) return -ENOSPC;
        done += (size_t)put;
        skip += (size_t)put;
        while (slice && skip >= slice->size) {
            skip -= slice->size;
            slice = slice->next;
        }
    }
    return (int64_t)done;
}

/* Whole or not at all: a part of it from memory would only make the caller come again. */
int64_t file_read_hot(struct io_file *file, void *target, size_t size, uint64_t offset) {
    size_t done = 0;
    if (atomic_load_explicit(&file->always_waits, memory_order_relaxed)) return file_read(file, target, size, offset);
    while (done < size) {
        struct iovec vector = {(uint8_t *)target + done, size - done};
        ssize_t got = preadv2(file->descriptor, &vector, 1, (off_t)(offset + done), RWF_NOWAIT);
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
            atomic_store_explicit(&file->always_waits, true, memory_order_relaxed);
            return file_read(file, target, size, offset);
        }
        if (got < 0) return -errno;
        done += (size_t)got;
    }
    return (int64_t)done;
}

/* Samples: the first page, the last, and one in each 64 KiB between, which is less than what the kernel reads ahead.
 * What is evicted between the samples costs a wait, never a wrong byte. */
bool file_is_hot(struct io_file *file, uint64_t offset, size_t size) {
    enum { STEP = 64 << 10 };
    if (size == 0) return true;
    uint64_t last = offset + size - 1;
    for (uint64_t at = offset;; at += STEP) {
        uint8_t byte;
        if (at > last) at = last;
        int64_t got = file_read_hot(file, &byte, 1, at);
        if (got == -EAGAIN) return false;
        if (got <= 0) return true; /* sending it will tell what is wrong */
        if (atomic_load_explicit(&file->always_waits, memory_order_relaxed)) return true;
        if (at / 4096 == last / 4096) return true;
    }
}

static int files_truncate(void *self, struct io_file *file, uint64_t size) {
    return ftruncate(file->descriptor, (off_t)size) < 0 ? -errno : 0;
}

static int files_allocate(void *self, struct io_file *file, uint64_t offset, uint64_t size) {
    int result;
    do result = fallocate(file->descriptor, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

static int files_sync_data(void *self, struct io_file *file) {
    return fdatasync(file->descriptor) < 0 ? -errno : 0;
}

static int files_sync_file(void *self, struct io_file *file) {
    return fsync(file->descriptor) < 0 ? -errno : 0;
}

static int sync_path(const char *path, int flags, int (*sync)(int)) {
    int descriptor = open_retry(path, flags, 0);
    if (descriptor < 0) return descriptor;
    int result = sync(descriptor) < 0 ? -errno : 0;
    close(descriptor);
    return result;
}

static int files_sync_directory(void *self, const char *path) {
    return sync_path(path, O_RDONLY | O_DIRECTORY, fsync);
}

static int files_sync_file_system(void *self, const char *path) {
    return sync_path(path, O_RDONLY, syncfs);
}

static int files_rename(void *self, const char *from, const char *to) {
    return rename(from, to) < 0 ? -errno : 0;
}

static int files_unlink(void *self, const char *path) {
    return unlink(path) < 0 ? -errno : 0;
}

static int files_make_directory(void *self, const char *path) {
    return mkdir(path, 0755) < 0 ? -errno : 0;
}

static int files_remove_directory(void *self, const char *path) {
    return rmdir(path) < 0 ? -errno : 0;
}

static int stat_at(int directory, const char *path, struct io_stat *out) {
    struct stat info;
    if (fstatat(directory, path, &info, 0) < 0) return -errno;
    *out = (struct io_stat){
        .size = (uint64_t)info.st_size, .inode = info.st_ino, .blocks_bytes = (uint64_t)info.st_blocks * 512,
        .modified_ns = (int64_t)info.st_mtim.tv_sec * NS_PER_S + info.st_mtim.tv_nsec,
        .mode = info.st_mode & 07777, .uid = info.st_uid, .gid = info.st_gid,
        .is_directory = S_ISDIR(info.st_mode),
    };
    return 0;
}

static int files_stat(void *self, const char *path, struct io_stat *out) {
    return stat_at(AT_FDCWD, path, out);
}

struct entry { struct entry *next; bool is_directory; char name[]; };

static int entry_order(const void *a, const void *b) {
    return strcmp((*(struct entry *const *)a)->name, (*(struct entry *const *)b)->name);
}

/* File systems that do not say in the listing what an entry is are asked for it; links are followed, as by an open. */
static bool entry_is_directory(DIR *directory, const struct dirent *found) {
    if (found->d_type != DT_UNKNOWN && found->d_type != DT_LNK) return found->d_type == DT_DIR;
    struct io_stat info = {0};
    return stat_at(dirfd(directory), found->d_name, &info) == 0 && info.is_directory;
}

static int read_entries(DIR *directory, struct arena *arena, struct entry **entries, size_t *count) {
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(directory);
        if (!found) return -errno;
        if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, "..")) continue;
        size_t bytes = strlen(found->d_name) + 1;
        struct entry *entry = arena_alloc(arena, sizeof *entry + bytes);
        if (!entry) return -ENOMEM;
        entry->is_directory = entry_is_directory(directory, found);
        memcpy(entry->name, found->d_name, bytes);
        entry->next = *entries;
        *entries = entry;
        ++*count;
    }
}

static int files_list(void *self, const char *path, int (*visit)(void *context, const char *name, bool is_directory), void *context) {
    struct pool pool; /* of this call alone, so that any thread may list */
    struct arena arena;
    struct entry *entries = NULL, **sorted;
    size_t count = 0, n = 0;
    DIR *directory = opendir(path);
    if (!directory) return -errno;
    pool_init(&pool, LIST_BYTES_MAX, 0);
    arena_init(&arena, &pool, 0);
    int result = read_entries(directory, &arena, &entries, &count);
    closedir(directory);
    if (result) goto out;
    if (!(sorted = ARENA_ARRAY(&arena, count + 1, struct entry *))) {
        result = -ENOMEM;
        goto out;
    }
    for (; entries; entries = entries->next) sorted[n++] = entries;
    qsort(sorted, n, sizeof *sorted, entry_order);
    for (size_t i = 0; i < n && !result; i++) result = visit(context, sorted[i]->name, sorted[i]->is_directory);
out:
    arena_destroy(&arena);
    pool_destroy(&pool);
    return result;
}

static int files_space(void *self, const char *path, struct io_space *out) {
    struct statvfs info;
    if (statvfs(path, &info) < 0) return -errno;
    *out = (struct io_space){(uint64_t)info.f_blocks * info.f_frsize, (uint64_t)info.f_bavail * info.f_frsize};
    return 0;
}

static int files_lock(void *self, struct io_file *file) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; /* length 0: to the end, wherever that is */
    if (fcntl(file->descriptor, F_OFD_SETLK, &range) == 0) return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

static int files_set_modified(void *self, const char *path, int64_t modified_ns) {
    int64_t seconds = modified_ns / NS_PER_S - (modified_ns % NS_PER_S < 0);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = modified_ns - seconds * NS_PER_S}};
    return utimensat(AT_FDCWD, path, times, 0) < 0 ? -errno : 0;
}

static int files_set_mode(void *self, const char *path, uint32_t mode) {
    return chmod(path, (mode_t)mode) < 0 ? -errno : 0;
}

static const struct io_files_vtable real_vtable = {
    .open = files_open, .size = files_size, .read = files_read, .write = files_write, .truncate = files_truncate,
    .allocate = files_allocate, .sync_data = files_sync_data, .sync_file = files_sync_file,
    .sync_directory = files_sync_directory, .sync_file_system = files_sync_file_system, .rename = files_rename,
    .unlink = files_unlink, .make_directory = files_make_directory, .remove_directory = files_remove_directory,
    .list = files_list, .stat = files_stat, .space = files_space, .lock = files_lock,
    .set_modified = files_set_modified, .set_mode = files_set_mode,
};

struct io_files io_files_real(void) {
    return (struct io_files){.vtable = &real_vtable};
}
