/* io/io_open.c - the choice of a backend, by trying. */
#include "io/io_real.h"
#include <errno.h>

int io_open(struct io **out, const struct io_options *options) {
    assert(options->pool);
    if (options->backend == IO_BACKEND_URING) return -ENOSYS;
    return io_epoll_open(out, options);
}
