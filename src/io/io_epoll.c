/* io/io_epoll.c - the seam over epoll and the offload threads.
 *
 * A socket is registered once, edge-triggered for both directions, when an operation of it first has to wait; from then
 * on the kernel tells of changes and `readable` and `writable` remember them. A request costs epoll_wait, recv and
 * sendmsg. Operations that can be tried are tried in io_turn, in the order of submission; what they cause is tried in
 * the same turn, so that a READABLE and the RECV behind it need one wait only, but not for ever: somebody who sends
 * faster than we read must not keep the turn from ending.
 */
#include "io/io_real.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TURN_EVENTS_MAX = 512, TURN_OPS_MAX = 4096, TURN_ROUNDS_MAX = 4 };
enum op_state { OP_WAITING, OP_QUEUED, OP_FINISHED };

struct epoll_io {
    struct io_real real;
    int epoll_fd;
    struct op_queue ready; /* to be tried, or to be told that they are finished */
    bool waited;           /* the last turn asked the kernel for events         */
    bool old_kernel;       /* epoll_pwait2 is missing or forbidden              */
    struct epoll_event events[TURN_EVENTS_MAX];
};

struct io_socket {
    struct epoll_io *owner;
    struct pool *pool;
    int descriptor;        /* -1: for a connect that has not begun           */
    struct io_op *in, *out; /* one operation for each direction               */
    bool registered;
    bool readable;         /* something may be there: an event since the last recv that emptied it */
    bool writable;
    bool hung_up;          /* the end or an error is there, and no edge will tell again */
    bool connecting;
    bool listens;
    struct socket_ending ending;
};

static struct epoll_io *epoll_of(struct io *io) { return (struct epoll_io *)(void *)io; }
static enum op_state state_of(const struct io_op *op) { return (enum op_state)op->backend[1]; }

static void queue(struct epoll_io *e, struct io_op *op, enum op_state state) {
    op->backend[1] = state;
    op_push(&e->ready, op);
}

static bool is_inward(enum io_kind kind) { return kind == IO_OP_ACCEPT || kind == IO_OP_READABLE || kind == IO_OP_RECV; }

static struct io_op **slot_of(struct io_op *op) {
    return is_inward(op->kind) ? &op->net.socket->in : &op->net.socket->out;
}

static struct io_socket *socket_alloc(struct epoll_io *e, int descriptor) {
    struct io_socket *socket = POOL_NEW(e->real.io.pool, struct io_socket);
    if (!socket) return NULL;
    socket->owner = e;
    socket->pool = e->real.io.pool;
    socket->descriptor = descriptor;
    socket->writable = true;
    return socket;
}

static void socket_free(struct io_socket *socket) {
    pool_free_remote(socket->pool, socket, sizeof *socket); /* it may have moved here from another shard */
}

static void ended(struct socket_ending *ending) { socket_free(container_of(ending, struct io_socket, ending)); }

/* A listener's address is free at once. */
static void end(struct epoll_io *e, struct io_socket *socket) {
    socket->ending.descriptor = socket->descriptor;
    socket->in = socket->out = NULL; /* events may still come, and find no operation */
    if (!socket->listens) ending_push(&e->real, &socket->ending);
    else {
        socket_destroy(socket->descriptor, socket->ending.reset);
        socket_free(socket);
    }
}

/* ---- Trying. Each answers the result, or WAIT after it saw to it that an event will come. */
enum { WAIT = INT32_MIN };

static int64_t wait_for_event(struct io_socket *socket) {
    if (socket->registered) return WAIT;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = socket};
    if (epoll_ctl(socket->owner->epoll_fd, EPOLL_CTL_ADD, socket->descriptor, &event) < 0) return -errno;
    socket->registered = true; /* what is there already comes as the first event */
    return WAIT;
}

static int64_t try_accept(struct epoll_io *e, struct io_op *op) {
    struct io_socket *listener = op->net.socket, *socket = socket_alloc(e, -1);
    if (!socket) return -ENOMEM;
    int descriptor = socket_accept(listener->descriptor, op->net.address);
    if (e->real.endings && (descriptor == -EMFILE || descriptor == -ENFILE)) {
        endings_close(&e->real, TURN_CLOSES_MAX, ended);
        descriptor = socket_accept(listener->descriptor, op->net.address);
    }
    if (descriptor >= 0) {
        socket->descriptor = descriptor;
        op->net.accepted = socket;
        return 0;
    }
    socket_free(socket);
    if (descriptor != -EAGAIN) return descriptor; /* no descriptor or memory: the connection waits in the backlog, and
                                                   * `readable` stays set, so that the next ACCEPT tries again */
    listener->readable = false;
    return wait_for_event(listener);
}

static int64_t try_recv(struct io_op *op) {
    struct io_socket *socket = op->net.socket;
    if (socket->registered && !socket->readable) return op->hot ? -EAGAIN : WAIT;
    ssize_t got;
    do got = recv(socket->descriptor, op->net.data, op->net.size, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno != EAGAIN) return -errno;
    if (got < 0) socket->hung_up = false; /* an error that was told of already */
    if ((size_t)got != op->net.size) socket->readable = socket->hung_up; /* emptied: the next edge tells of more */
    if (got >= 0) return got;
    return op->hot ? -EAGAIN : wait_for_event(socket);
}

static int64_t try_readable(struct io_op *op) {
    return op->net.socket->readable ? 1 : wait_for_event(op->net.socket);
}

static int64_t try_connect(struct io_op *op) {
    struct io_socket *socket = op->net.socket;
    if (socket->connecting) { /* an event came */
        int error = 0;
        socklen_t bytes = sizeof error;
        socket->connecting = false;
        return getsockopt(socket->descriptor, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0 ? -errno : -error;
    }
    assert(socket->descriptor < 0);
    int descriptor = socket_make(op->net.address);
    if (descriptor < 0) return descriptor;
    socket->descriptor = descriptor;
    struct sockaddr_storage to;
    socklen_t bytes = socket_address_to(op->net.address, &to);
    if (connect(descriptor, (struct sockaddr *)&to, bytes) == 0) return 0;
    if (errno != EINPROGRESS && errno != EINTR) return -errno;
    socket->connecting = true;
    socket->writable = false;
    return wait_for_event(socket);
}

static int64_t try_send(struct io_op *op) {
    struct io_socket *socket = op->net.socket;
    bool cold;
    if (!socket->writable) return wait_for_event(socket);
    int64_t put = socket_send(socket->descriptor, op->net.chain, &cold);
    if (put != -EAGAIN || cold) return put;
    socket->writable = false;
    return wait_for_event(socket);
}

static int64_t try_op(struct epoll_io *e, struct io_op *op) {
    switch (op->kind) {
    case IO_OP_WRITE: return file_write_chain(op->disk.file, op->disk.chain, op->disk.offset);
    case IO_OP_READ: return file_read_hot(op->disk.file, op->disk.data, op->disk.size, op->disk.offset);
    case IO_OP_ACCEPT: return try_accept(e, op);
    case IO_OP_CONNECT: return try_connect(op);
    case IO_OP_READABLE: return try_readable(op);
    case IO_OP_RECV: return try_recv(op);
    case IO_OP_SEND: return try_send(op);
    default: never("what waits for the disk goes to the threads");
    }
}

/* Socket operations were taken out of their slots when they were cancelled: the socket may be gone. */
static bool run_one(struct epoll_io *e, struct io_op *op) {
    if (state_of(op) == OP_QUEUED) {
        int64_t result = try_op(e, op);
        if (result == WAIT) {
            op->backend[1] = OP_WAITING;
            return false;
        }
        op->result = result;
        if (op->kind > IO_OP_SYNC_FS) *slot_of(op) = NULL;
    }
    op->pending = false;
    e->real.pending--;
    op->done(op);
    return true;
}

/* In rounds: what is there, then what that caused, and so on. */
static uint32_t run_ready(struct epoll_io *e) {
    uint32_t ran = 0, budget = TURN_OPS_MAX;
    for (int round = 0; round < TURN_ROUNDS_MAX && e->ready.first && budget; round++) {
        struct io_op *last = e->ready.last, *op;
        do {
            op = op_pop(&e->ready);
            bool was_last = op == last; /* once it has run it may stand in the queue again */
            ran += run_one(e, op);
            if (was_last) break;
        } while (--budget);
    }
    if (e->real.waiting_offload.first) offload_submit(&e->real, &e->real.waiting_offload);
    return ran;
}

static void epoll_submit(struct io *io, struct io_op *op) {
    struct epoll_io *e = epoll_of(io);
    assert(!op->pending);
    op->pending = true;
    e->real.pending++;
    switch (op->kind) {
    case IO_OP_WRITE:
        queue(e, op, OP_QUEUED);
        return;
    case IO_OP_READ:
        if (op->hot) {
            queue(e, op, OP_QUEUED);
            return;
        }
        break;
    case IO_OP_SYNC: case IO_OP_SYNC_FS: case IO_OP_RESOLVE: case IO_OP_JOB:
        break;
    default: {
        struct io_op **slot = slot_of(op);
        assert(*slot == NULL);
        assert(op->net.socket->owner == e);
        *slot = op;
        queue(e, op, OP_QUEUED);
        return;
    }
    }
    op->backend[1] = OP_FINISHED; /* by the time that it comes back */
    op_push(&e->real.waiting_offload, op);
}

/* ---- Waiting */
/* How many events; -EINTR: a signal cut it short. */
static int wait_for_events(struct epoll_io *e, time_ns deadline, bool at_once) {
    struct timespec timeout = {0};
    bool forever = !at_once && deadline == INT64_MAX;
    if (!at_once && !forever && deadline > e->real.now) {
        timeout.tv_sec = (deadline - e->real.now) / NS_PER_S;
        timeout.tv_nsec = (deadline - e->real.now) % NS_PER_S;
    }
    if (!e->old_kernel) {
        int count = epoll_pwait2(e->epoll_fd, e->events, TURN_EVENTS_MAX, forever ? NULL : &timeout, NULL);
        if (count >= 0 || errno == EINTR) return count < 0 ? -EINTR : count;
        assert(errno == ENOSYS || errno == EPERM);
        e->old_kernel = true;
    }
    int64_t ms = timeout.tv_sec > 1000000 ? 1000000000 : timeout.tv_sec * 1000 + (timeout.tv_nsec + 999999) / 1000000;
    int count = epoll_wait(e->epoll_fd, e->events, TURN_EVENTS_MAX, forever ? -1 : (int)ms);
    assert(count >= 0 || errno == EINTR);
    return count < 0 ? -EINTR : count;
}

static void wake_op(struct epoll_io *e, struct io_op *op) {
    if (op && state_of(op) == OP_WAITING) queue(e, op, OP_QUEUED);
}

/* Runs nothing of the owners': no socket can go away while its event is still in the array. */
static void take_event(struct epoll_io *e, const struct epoll_event *event) {
    struct io_socket *socket = event->data.ptr;
    if (!socket) return; /* wake_fd: its edge has done what it is for */
    if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) socket->hung_up = true;
    if (event->events & EPOLLIN || socket->hung_up) {
        socket->readable = true;
        wake_op(e, socket->in);
    }
    if (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        socket->writable = true;
        wake_op(e, socket->out);
    }
}

/* First what was submitted since the last turn. When that made something happen, the caller goes round before anything
 * is waited for, and every other time without asking the kernel for events at all: in the rhythm of request and answer
 * that saves every second epoll_wait. */
static uint32_t epoll_turn(struct io *io, time_ns deadline) {
    struct epoll_io *e = epoll_of(io);
    real_clock(&e->real);
    real_take_finished(&e->real, &e->ready);
    uint32_t ran = run_ready(e);
    if (ran > 0 && e->waited) {
        e->waited = false;
        return ran;
    }
    bool at_once = ran > 0 || e->ready.first || e->real.endings || real_fall_asleep(&e->real);
    time_ns before = e->real.now;
    int count;
    while ((count = wait_for_events(e, deadline, at_once)) < 0) real_clock(&e->real);
    real_awake(&e->real);
    e->waited = true;
    if (!at_once) real_clock(&e->real);
    if (!at_once) io->waited += e->real.now - before;
    for (int i = 0; i < count; i++) take_event(e, &e->events[i]);
    real_take_finished(&e->real, &e->ready);
    ran += run_ready(e);
    endings_close(&e->real, TURN_CLOSES_MAX, ended); /* behind the events, which point at sockets */
    return ran;
}

/* ---- Sockets */
static int epoll_listen(struct io *io, struct io_socket **out, const struct io_address *address, int backlog, bool shared_port) {
    struct io_socket *socket = socket_alloc(epoll_of(io), -1);
    if (!socket) return -ENOMEM;
    socket->listens = true;
    int result = socket_listen(address, backlog, shared_port, &socket->descriptor);
    if (result) socket_free(socket);
    else *out = socket;
    return result;
}

static int epoll_socket_new(struct io *io, struct io_socket **out) {
    return (*out = socket_alloc(epoll_of(io), -1)) ? 0 : -ENOMEM;
}

static int epoll_socket_address(struct io *io, struct io_socket *socket, struct io_address *own) {
    return socket->descriptor < 0 ? -ENOTCONN : socket_own_address(socket->descriptor, own);
}

static void cancel(struct epoll_io *e, struct io_op *op) {
    if (!op) return;
    op->result = -ECANCELED;
    if (state_of(op) == OP_QUEUED) op->backend[1] = OP_FINISHED; /* where it stands in the queue */
    else queue(e, op, OP_FINISHED);
}

static void epoll_socket_close(struct io *io, struct io_socket *socket, bool reset) {
    struct epoll_io *e = epoll_of(io);
    if (!socket) return;
    assert(socket->owner == e);
    cancel(e, socket->in);
    cancel(e, socket->out);
    socket->ending.reset = reset;
    end(e, socket);
}

static int epoll_socket_move(struct io *io, struct io_socket *socket, struct io *to) {
    assert(socket->owner == epoll_of(io) && to->vtable == io->vtable);
    assert(!socket->in && !socket->out);
    if (socket->registered) {
        int result = epoll_ctl(socket->owner->epoll_fd, EPOLL_CTL_DEL, socket->descriptor, NULL);
        assert(result == 0);
    }
    socket->registered = false; /* its new owner's first wait registers it there */
    socket->owner = epoll_of(to);
    return 0;
}

static void epoll_close(struct io *io) {
    struct epoll_io *e = epoll_of(io);
    endings_close(&e->real, UINT32_MAX, ended);
    real_destroy(&e->real);
    close(e->epoll_fd);
    pool_free(io->pool, e, sizeof *e);
}

static const struct io_vtable epoll_vtable = {
    .submit = epoll_submit, .turn = epoll_turn, .wake = real_wake, .now = real_now, .now_precise = real_now_precise,
    .wall = real_wall, .random = real_random, .files = real_files, .listen = epoll_listen,
    .socket_new = epoll_socket_new, .socket_address = epoll_socket_address, .socket_close = epoll_socket_close,
    .socket_move = epoll_socket_move, .close = epoll_close, .name = "epoll",
};

int io_epoll_open(struct io **out, const struct io_options *options) {
    struct epoll_io *e = POOL_NEW(options->pool, struct epoll_io);
    if (!e) return -ENOMEM;
    int result;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd < 0) {
        result = -errno;
        goto fail;
    }
    if ((result = real_init(&e->real, &epoll_vtable, options))) goto fail;
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->real.wake_fd, &event) < 0) {
        result = -errno;
        real_destroy(&e->real);
        goto fail;
    }
    *out = &e->real.io;
    return 0;
fail:
    if (e->epoll_fd >= 0) close(e->epoll_fd);
    pool_free(options->pool, e, sizeof *e);
    return result;
}
