/* A disk that fails in one place, under a real program: loaded before the C library (LD_PRELOAD), it lets operations on
 * files fail as a file says that is named by FAILING_DISK. Each line of it: the kind of operation (write, sync, read),
 * and a part of the path of the files that are meant. No line, or no file: everything works.
 *
 *     sync t-1/00000000000000000000.log
 *
 * After a failed sync nothing is taken back: what the page cache has may be on the disk or not, as in life.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64 /* as the program is built: the functions of that name */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Straight from the kernel: the functions of the C library are the ones that are replaced here. */
static int is_to_fail(int descriptor, const char *kind) {
    char rules[4096], name[64], path[PATH_MAX];
    const char *file = getenv("FAILING_DISK");
    if (!file) return 0;
    int rules_descriptor = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0);
    if (rules_descriptor < 0) return 0;
    long size = syscall(SYS_read, rules_descriptor, rules, sizeof rules - 1);
    syscall(SYS_close, rules_descriptor);
    if (size <= 0) return 0;
    rules[size] = 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    long length = readlink(name, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    char *rest;
    for (char *line = strtok_r(rules, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t kind_size = strlen(kind);
        if (strncmp(line, kind, kind_size) != 0 || line[kind_size] != ' ') continue;
        if (strstr(path, line + kind_size + 1)) return 1;
    }
    return 0;
}

#define REPLACED(type, name, kind, parameters, arguments, descriptor) \
    type name parameters { \
        static type (*real) parameters; \
        if (is_to_fail(descriptor, kind)) { errno = EIO; return -1; } \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name); \
        return real arguments; \
    }

REPLACED(int, fdatasync, "sync", (int fd), (fd), fd)
REPLACED(int, fsync, "sync", (int fd), (fd), fd)
REPLACED(ssize_t, pwrite, "write", (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), fd)
REPLACED(ssize_t, pwritev, "write", (int fd, const struct iovec *v, int count, off_t at), (fd, v, count, at), fd)
REPLACED(ssize_t, pread, "read", (int fd, void *data, size_t size, off_t at), (fd, data, size, at), fd)
REPLACED(ssize_t, preadv2, "read", (int fd, const struct iovec *v, int count, off_t at, int flags), (fd, v, count, at, flags), fd)
REPLACED(ssize_t, sendfile, "read", (int out, int fd, off_t *at, size_t size), (out, fd, at, size), fd)
