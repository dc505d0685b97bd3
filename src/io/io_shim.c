#include "io/io_shim.h"
#include <errno.h>
#include <string.h>

/* An operation on its way: the inner io gets a copy, so that what is the backend's in it is the inner backend's. */
struct shim_op {
    struct io_op inner;
    struct io_op *outer;
    struct shim_io *shim;
    struct heap_node late;  /* until when it is held back */
    time_ns due;
    int error;              /* of a write that was torn; 0: the inner result counts */
    struct chain torn;
    struct arena torn_arena;
};

struct shim_io {
    struct io io;
    struct io *inner;
    struct io_shim_plan *plan;
    struct io_shim_files files;
    struct heap late;
    uint64_t pending;
};

static struct shim_io *shim_of(struct io *io) { return (struct shim_io *)(void *)io; }

void io_shim_plan_reset(struct io_shim_plan *plan) {
    atomic_store(&plan->seen, 0);
    for (size_t i = 0; i < SHIM_KINDS; i++) atomic_store(&plan->counts[i], 0);
}

/* Counts; 0, or the error that this one ends with. */
static int judge(struct io_shim_plan *plan, enum io_shim_kind kind) {
    atomic_fetch_add(&plan->counts[kind], 1);
    if (!(plan->kinds >> kind & 1)) return 0;
    uint64_t n = atomic_fetch_add(&plan->seen, 1) + 1;
    bool fails = plan->fail_at && (n == plan->fail_at || (plan->fail_after && n > plan->fail_at));
    return fails ? -plan->fail_with : 0;
}

/* ---- Files */
#define SHIM struct io_shim_files *shim = self
#define INNER(name, ...) shim->inner.vtable->name(shim->inner.self, __VA_ARGS__)
#define JUDGED(kind, name, ...)                 \
    SHIM;                                       \
    int error = judge(shim->plan, kind);        \
    return error ? error : INNER(name, __VA_ARGS__)

static int shim_open(void *self, struct io_file **out, const char *path, unsigned flags) { JUDGED(SHIM_OPEN, open, out, path, flags); }
static int64_t shim_size(void *self, struct io_file *file) { JUDGED(SHIM_SIZE, size, file); }
static int64_t shim_read(void *self, struct io_file *file, void *target, size_t size, uint64_t offset) { JUDGED(SHIM_READ, read, file, target, size, offset); }
static int64_t shim_write(void *self, struct io_file *file, const void *source, size_t size, uint64_t offset) {
    SHIM;
    int error = judge(shim->plan, SHIM_WRITE);
    if (!error) return INNER(write, file, source, size, offset);
    size_t torn = shim->plan->torn_bytes < size ? shim->plan->torn_bytes : size;
    int64_t put = torn ? INNER(write, file, source, torn, offset) : 0;
    return put < 0 ? put : error;
}
static int shim_truncate(void *self, struct io_file *file, uint64_t size) { JUDGED(SHIM_TRUNCATE, truncate, file, size); }
static int shim_allocate(void *self, struct io_file *file, uint64_t offset, uint64_t size) { JUDGED(SHIM_ALLOCATE, allocate, file, offset, size); }
static int shim_sync_data(void *self, struct io_file *file) { JUDGED(SHIM_SYNC, sync_data, file); }
static int shim_sync_file(void *self, struct io_file *file) { JUDGED(SHIM_SYNC, sync_file, file); }
static int shim_sync_directory(void *self, const char *path) { JUDGED(SHIM_SYNC_DIRECTORY, sync_directory, path); }
static int shim_sync_file_system(void *self, const char *path) { JUDGED(SHIM_SYNC_FS, sync_file_system, path); }
static int shim_rename(void *self, const char *from, const char *to) { JUDGED(SHIM_RENAME, rename, from, to); }
static int shim_unlink(void *self, const char *path) { JUDGED(SHIM_UNLINK, unlink, path); }
static int shim_make_directory(void *self, const char *path) { JUDGED(SHIM_MAKE_DIRECTORY, make_directory, path); }
static int shim_remove_directory(void *self, const char *path) { JUDGED(SHIM_REMOVE_DIRECTORY, remove_directory, path); }
static int shim_list(void *self, const char *path, int (*entry)(void *context, const char *name, bool is_directory), void *context) {
    JUDGED(SHIM_LIST, list, path, entry, context);
}
static int shim_stat(void *self, const char *path, struct io_stat *out) { JUDGED(SHIM_STAT, stat, path, out); }
static int shim_space(void *self, const char *path, struct io_space *out) { JUDGED(SHIM_SPACE, space, path, out); }
static int shim_lock(void *self, struct io_file *file) { JUDGED(SHIM_LOCK, lock, file); }
static int shim_set_modified(void *self, const char *path, int64_t modified_ns) { JUDGED(SHIM_SET_MODIFIED, set_modified, path, modified_ns); }
static int shim_set_mode(void *self, const char *path, uint32_t mode) { JUDGED(SHIM_SET_MODE, set_mode, path, mode); }

static const struct io_files_vtable files_vtable = {
    .open = shim_open, .size = shim_size, .read = shim_read, .write = shim_write, .truncate = shim_truncate,
    .allocate = shim_allocate, .sync_data = shim_sync_data, .sync_file = shim_sync_file,
    .sync_directory = shim_sync_directory, .sync_file_system = shim_sync_file_system, .rename = shim_rename,
    .unlink = shim_unlink, .make_directory = shim_make_directory, .remove_directory = shim_remove_directory,
    .list = shim_list, .stat = shim_stat, .space = shim_space, .lock = shim_lock,
    .set_modified = shim_set_modified, .set_mode = shim_set_mode,
};

struct io_files io_shim_files(struct io_shim_files *shim) {
    return (struct io_files){.vtable = &files_vtable, .self = shim};
}

/* ---- Operations */
static enum io_shim_kind kind_of(enum io_kind kind) {
    switch (kind) {
    case IO_OP_WRITE: return SHIM_WRITE;
    case IO_OP_READ: return SHIM_READ;
    case IO_OP_SYNC: return SHIM_SYNC;
    case IO_OP_SYNC_FS: return SHIM_SYNC_FS;
    case IO_OP_ACCEPT: return SHIM_ACCEPT;
    case IO_OP_CONNECT: return SHIM_CONNECT;
    case IO_OP_READABLE: return SHIM_READABLE;
    case IO_OP_RECV: return SHIM_RECV;
    case IO_OP_SEND: return SHIM_SEND;
    case IO_OP_RESOLVE: return SHIM_RESOLVE;
    case IO_OP_JOB: return SHIM_JOB;
    }
    never("all kinds are above");
}

static void finish(struct shim_op *op) {
    struct shim_io *shim = op->shim;
    struct io_op *outer = op->outer;
    outer->result = op->error ? op->error : op->inner.result;
    if (outer->kind == IO_OP_ACCEPT) outer->net.accepted = op->inner.net.accepted;
    if (outer->kind == IO_OP_RESOLVE) outer->resolve.count = op->inner.resolve.count;
    outer->pending = false;
    chain_clear(&op->torn);
    arena_destroy(&op->torn_arena);
    pool_free(shim->io.pool, op, sizeof *op);
    shim->pending--;
    outer->done(outer);
}

/* Cancelled ones are not held back: their socket is gone. */
static void inner_done(struct io_op *inner) {
    struct shim_op *op = container_of(inner, struct shim_op, inner);
    struct shim_io *shim = op->shim;
    if (op->due <= io_now(shim->inner) || inner->result == -ECANCELED) finish(op);
    else if (!heap_insert(&shim->late, &op->late, op->due)) finish(op);
}

static int64_t job_run(struct io_op *inner, struct io_files files) {
    struct shim_op *op = container_of(inner, struct shim_op, inner);
    struct io_shim_files with = {.inner = files, .plan = op->shim->plan};
    return op->outer->job.run(op->outer, io_shim_files(&with));
}

/* The first bytes of a chain, in slices of its own. */
static bool tear(struct shim_op *op, const struct chain *whole, size_t bytes) {
    for (const struct slice *slice = whole->first; slice && bytes; slice = slice->next) {
        size_t part = slice->size < bytes ? slice->size : bytes;
        if (!chain_add_memory(&op->torn, slice->memory.data, part, slice->memory.slab)) return false;
        bytes -= part;
    }
    return true;
}

static void shim_submit(struct io *io, struct io_op *outer) {
    struct shim_io *shim = shim_of(io);
    assert(!outer->pending);
    struct shim_op *op = POOL_NEW(io->pool, struct shim_op);
    assert(op); /* tests' memory fails elsewhere */
    outer->pending = true;
    shim->pending++;
    op->outer = outer;
    op->shim = shim;
    op->inner = *outer;
    op->inner.pending = false;
    op->inner.done = inner_done;
    op->due = shim->plan->delay ? io_now(shim->inner) + shim->plan->delay : 0;
    arena_init(&op->torn_arena, io->pool, 0);
    chain_init(&op->torn, &op->torn_arena);
    op->error = judge(shim->plan, kind_of(outer->kind));
    if (outer->kind == IO_OP_JOB) op->inner.job.run = job_run;
    if (op->error && outer->kind == IO_OP_WRITE && tear(op, outer->disk.chain, shim->plan->torn_bytes) && op->torn.bytes)
        op->inner.disk.chain = &op->torn;
    else if (op->error) {
        op->inner.result = op->error;
        bool held = heap_insert(&shim->late, &op->late, 0); /* told in the next turn */
        assert(held);
        return;
    }
    io_submit(shim->inner, &op->inner);
}

static uint32_t run_late(struct shim_io *shim) {
    uint32_t ran = 0, budget = shim->late.count;
    for (struct heap_node *first; ran < budget && (first = heap_first(&shim->late)) && first->key <= io_now(shim->inner); ran++) {
        heap_remove(&shim->late, first);
        finish(container_of(first, struct shim_op, late));
    }
    return ran;
}

static uint32_t shim_turn(struct io *io, time_ns deadline) {
    struct shim_io *shim = shim_of(io);
    uint32_t ran = run_late(shim);
    const struct heap_node *first = heap_first(&shim->late);
    if (ran) deadline = 0;
    else if (first && first->key < deadline) deadline = first->key;
    uint32_t inner = io_turn(shim->inner, deadline);
    return ran + inner + run_late(shim);
}

/* One that the shim itself holds knows nothing of its socket's end: it is found here, and told when its time
 * comes. */
static void shim_socket_close(struct io *io, struct io_socket *socket, bool reset) {
    struct shim_io *shim = shim_of(io);
    for (uint32_t i = 1; i <= shim->late.count; i++) {
        struct shim_op *op = container_of(shim->late.nodes[i], struct shim_op, late);
        enum io_kind kind = op->outer->kind;
        if (kind < IO_OP_ACCEPT || kind > IO_OP_SEND || op->outer->net.socket != socket) continue;
        if (kind == IO_OP_ACCEPT && !op->error && op->inner.result >= 0) io_socket_close(shim->inner, op->inner.net.accepted, true);
        op->error = -ECANCELED;
    }
    io_socket_close(shim->inner, socket, reset);
}

static void shim_wake(struct io *io) { io_wake(shim_of(io)->inner); }
static time_ns shim_now(struct io *io) { return io_now(shim_of(io)->inner); }
static time_ns shim_now_precise(struct io *io) { return io_now_precise(shim_of(io)->inner); }
static time_ms shim_wall(struct io *io) { return io_wall(shim_of(io)->inner); }
static void shim_random(struct io *io, void *target, size_t size) { io_random(shim_of(io)->inner, target, size); }
static struct io_files shim_files(struct io *io) { return io_shim_files(&shim_of(io)->files); }
static int shim_listen(struct io *io, struct io_socket **out, const struct io_address *address, int backlog, bool shared_port) {
    struct io *inner = shim_of(io)->inner;
    int error = judge(shim_of(io)->plan, SHIM_LISTEN);
    return error ? error : inner->vtable->listen(inner, out, address, backlog, shared_port);
}
static int shim_socket_new(struct io *io, struct io_socket **out) {
    struct io *inner = shim_of(io)->inner;
    return inner->vtable->socket_new(inner, out);
}
static int shim_socket_address(struct io *io, struct io_socket *socket, struct io_address *own) {
    struct io *inner = shim_of(io)->inner;
    return inner->vtable->socket_address(inner, socket, own);
}
static int shim_socket_move(struct io *io, struct io_socket *socket, struct io *to) {
    struct io *inner = shim_of(io)->inner;
    assert(to->vtable == io->vtable);
    return inner->vtable->socket_move(inner, socket, shim_of(to)->inner);
}
static void shim_close(struct io *io) {
    struct shim_io *shim = shim_of(io);
    assert(shim->pending == 0);
    heap_destroy(&shim->late);
    struct io *inner = shim->inner;
    pool_free(io->pool, shim, sizeof *shim);
    io_close(inner);
}

static const struct io_vtable shim_vtable = {
    .submit = shim_submit, .turn = shim_turn, .wake = shim_wake, .now = shim_now, .now_precise = shim_now_precise,
    .wall = shim_wall, .random = shim_random, .files = shim_files, .listen = shim_listen, .socket_new = shim_socket_new,
    .socket_address = shim_socket_address, .socket_close = shim_socket_close, .socket_move = shim_socket_move,
    .close = shim_close, .name = "shim",
};

int io_shim_open(struct io **out, struct io *inner, struct io_shim_plan *plan) {
    struct shim_io *shim = POOL_NEW(inner->pool, struct shim_io);
    if (!shim) return -ENOMEM;
    shim->io = (struct io){.vtable = &shim_vtable, .pool = inner->pool};
    shim->inner = inner;
    shim->plan = plan;
    shim->files = (struct io_shim_files){.inner = io_files(inner), .plan = plan};
    heap_init(&shim->late, inner->pool);
    *out = &shim->io;
    return 0;
}
