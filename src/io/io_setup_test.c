#include "io/io_shim.h"
#include "io/io_test.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pool test_pool;
static char folder[256];

const char *folder_make(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/moldau-io-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

const char *folder_path(const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int remove_entry(void *context, const char *name, bool is_directory) {
    struct io_files files = io_files_real();
    return is_directory ? files.vtable->remove_directory(files.self, folder_path(name)) : files.vtable->unlink(files.self, folder_path(name));
}

void folder_remove(void) {
    struct io_files files = io_files_real();
    assert_int_equal(files.vtable->list(files.self, folder, remove_entry, NULL), 0);
    assert_int_equal(files.vtable->remove_directory(files.self, folder), 0);
}

struct io *backend_open(enum io_backend backend) {
    static struct io_shim_plan plan;
    struct io *io = NULL, *shim;
    struct io_options options = {.backend = backend == (enum io_backend)BACKEND_SHIM ? IO_BACKEND_EPOLL : backend, .offload_threads = 4, .pool = &test_pool};
    int result = io_open(&io, &options);
    if (result == 0) {
        assert_string_equal(io->vtable->name, backend == IO_BACKEND_URING ? "io_uring" : "epoll");
        if (backend != (enum io_backend)BACKEND_SHIM) return io;
        assert_int_equal(io_shim_open(&shim, io, &plan), 0);
        return shim;
    }
    assert_true(backend == IO_BACKEND_URING);
    printf("[  SKIPPED ] io_uring: not allowed here: %s\n", strerror(-result));
    return NULL;
}

void each_backend(void (*test)(struct io *io, enum io_backend backend)) {
    static const enum io_backend backends[] = {IO_BACKEND_EPOLL, IO_BACKEND_URING, (enum io_backend)BACKEND_SHIM};
    for (size_t i = 0; i < countof(backends); i++) {
        pool_init(&test_pool, 0, 16);
        struct io *io = backend_open(backends[i]);
        if (io) {
            test(io, backends[i]);
            io_close(io);
        }
        pool_destroy(&test_pool);
    }
}

void turn_until(struct io *io, const bool *what) {
    time_ns end = io_now_precise(io) + 10 * NS_PER_S;
    while (!*what) {
        io_turn(io, io_now_precise(io) + NS_PER_S);
        assert_true(io_now_precise(io) < end);
    }
}

void flagged_done(struct io_op *op) {
    struct flagged *flagged = container_of(op, struct flagged, op);
    assert_false(op->pending);
    flagged->done = true;
    flagged->times++;
}

void flagged_submit(struct io *io, struct flagged *flagged) {
    flagged->op.done = flagged_done;
    flagged->done = false;
    io_submit(io, &flagged->op);
    assert_false(flagged->done);
}

int64_t op_run(struct io *io, struct io_op *op) {
    struct flagged flagged = {.op = *op};
    flagged_submit(io, &flagged);
    turn_until(io, &flagged.done);
    assert_int_equal(flagged.times, 1);
    *op = flagged.op;
    return op->result;
}
