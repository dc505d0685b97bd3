/* io/io_open.c - the choice of a backend, by trying. */
#include "io/io_real.h"

/* Containers often forbid io_uring, and how they do it differs (a missing system call, a refused one, no memory to lock):
 * whatever the trial fails with, epoll is there. */
int io_open(struct io **out, const struct io_options *options) {
    assert(options->pool);
    if (options->backend == IO_BACKEND_EPOLL) return io_epoll_open(out, options);
    int result = io_uring_open(out, options);
    return result < 0 && options->backend == IO_BACKEND_AUTO ? io_epoll_open(out, options) : result;
}
