/* io/io_test.h - what io's tests share: a temporary folder, every backend in turn, and turning until something is so. */
#pragma once
#include "io/io.h"

/* A new folder under $TMPDIR or /tmp; removed with all that is in it. */
const char *folder_make(void);
void folder_remove(void);
/* folder/name, in one of a few static buffers. */
const char *folder_path(const char *name);

extern struct pool test_pool;
enum { BACKEND_SHIM = IO_BACKEND_EPOLL + 1 }; /* a shim over epoll, with a plan that does nothing */

/* Runs the test with an io of each backend that this machine has, and with a shim over one; says the name of one that it
 * has not. */
void each_backend(void (*test)(struct io *io, enum io_backend backend));
struct io *backend_open(enum io_backend backend); /* NULL: this machine has it not */

/* Turns until *what is true; fails after ten seconds. */
void turn_until(struct io *io, const bool *what);
/* Submits, turns until done, and answers the result. Checks that `done` does not run within the submission. */
int64_t op_run(struct io *io, struct io_op *op);

struct flagged { struct io_op op; bool done; int times; };
void flagged_done(struct io_op *op);
void flagged_submit(struct io *io, struct flagged *flagged); /* sets `done`, submits */
