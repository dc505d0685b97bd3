/* io/io_uring.c - the seam over io_uring: one ring for each io, everything of a turn submitted in one system call.
 *
 * In the kernel's hands: waiting for sockets, accept, connect, recv, sends of memory, cold reads. Tried on this thread, as
 * with epoll: writes to the page cache and hot reads, which a buffered file system would only push to a worker, and sends
 * with file ranges, for which the ring has no operation; what of them must wait for the socket waits as a poll. The threads
 * of io_offload keep jobs, names and syncs, which are cheaper in waves than one by one in the ring's workers; only when
 * the device is slow those do better, being many.
 *
 * An operation's memory is the kernel's until its completion came, so a socket that is closed with operations under way
 * cancels them and lets go of its descriptor when the last has come back.
 */
#include "io/io_real.h"
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SQ_ENTRIES = 256, CQ_ENTRIES = 4096, REAP_MAX = 256, TURN_ROUNDS_MAX = 4, TURN_OPS_MAX = 4096 };
enum { MESSAGES_MAX = SQ_ENTRIES, VECTORS_MAX = 4096, WORKERS_MAX = 16 };
enum op_state { OP_IN_KERNEL, OP_QUEUED, OP_FINISHED };
enum { DATA_WAKE = 1, DATA_CANCEL = 2, DATA_TRIAL = 3 }; /* user data that is no operation's address */

struct uring_io {
    struct io_real real;
    struct io_uring ring;
    struct op_queue ready;  /* to be tried here, or to be told that they are finished */
    bool wake_armed;
    bool urgent;            /* something prepared since the last submission is worth a system call of its own */
    /* What sends point to until the kernel has taken them over, which is at the next submission. */
    uint32_t messages_used, vectors_used;
    struct msghdr messages[MESSAGES_MAX];
    struct iovec vectors[VECTORS_MAX];
};

struct io_socket {
    struct uring_io *owner;
    struct pool *pool;
    int descriptor;              /* -1: for a connect that has not begun */
    struct io_op *in, *out;
    bool closing;                /* goes when both are back */
    bool listens;
    struct socket_ending ending;
    struct sockaddr_storage address; /* of an accept or connect under way */
    socklen_t address_bytes;
};

static struct uring_io *uring_of(struct io *io) { return (struct uring_io *)(void *)io; }
static enum op_state state_of(const struct io_op *op) { return (enum op_state)op->backend[1]; }
static bool is_polling(const struct io_op *op) { return op->backend[3]; } /* for the chance to be tried here */
static bool is_net(enum io_kind kind) { return kind >= IO_OP_ACCEPT && kind <= IO_OP_SEND; }

static void queue(struct uring_io *u, struct io_op *op, enum op_state state) {
    op->backend[1] = state;
    op_push(&u->ready, op);
}

static struct io_op **slot_of(struct io_op *op) {
    return op->kind == IO_OP_CONNECT || op->kind == IO_OP_SEND ? &op->net.socket->out : &op->net.socket->in;
}

static struct io_socket *socket_alloc(struct uring_io *u, int descriptor) {
    struct io_socket *socket = POOL_NEW(u->real.io.pool, struct io_socket);
    if (!socket) return NULL;
    socket->owner = u;
    socket->pool = u->real.io.pool;
    socket->descriptor = descriptor;
    return socket;
}

static void socket_free(struct io_socket *socket) {
    pool_free_remote(socket->pool, socket, sizeof *socket); /* it may have moved here from another shard */
}

static void ended(struct socket_ending *ending) { socket_free(container_of(ending, struct io_socket, ending)); }

/* A listener's address is free at once. */
static void end(struct uring_io *u, struct io_socket *socket) {
    socket->ending.descriptor = socket->descriptor;
    if (!socket->listens) ending_push(&u->real, &socket->ending);
    else {
        socket_destroy(socket->descriptor, socket->ending.reset);
        socket_free(socket);
    }
}

/* ---- Submission */
static void taken_over(struct uring_io *u) {
    if (io_uring_sq_ready(&u->ring)) return;
    u->messages_used = u->vectors_used = 0;
    u->urgent = false;
}

static void submit_now(struct uring_io *u) {
    int result;
    do result = io_uring_submit(&u->ring);
    while (result == -EINTR);
    /* EBUSY and EAGAIN: the kernel wants us to take completions first; what is left stays in the queue. */
    assert(result >= 0 || result == -EBUSY || result == -EAGAIN || result == -ENOMEM);
    taken_over(u);
}

/* NULL: the kernel takes nothing at the moment; try again in the next turn. */
static struct io_uring_sqe *entry(struct uring_io *u) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (!sqe) {
        submit_now(u);
        sqe = io_uring_get_sqe(&u->ring);
    }
    if (sqe) memset(sqe, 0, sizeof *sqe);
    return sqe;
}

static void mark(struct uring_io *u, struct io_uring_sqe *sqe, struct io_op *op) {
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)op);
    op->backend[1] = OP_IN_KERNEL;
    if (op->kind != IO_OP_READABLE && op->kind != IO_OP_ACCEPT) u->urgent = true; /* they only wait; the next wait takes them along */
}

static bool prepare_poll(struct uring_io *u, struct io_op *op, unsigned events) {
    struct io_uring_sqe *sqe = entry(u);
    if (!sqe) return false;
    io_uring_prep_poll_add(sqe, op->net.socket->descriptor, events);
    mark(u, sqe, op);
    return true;
}

static bool has_file(const struct chain *chain) {
    uint32_t n = 0;
    for (const struct slice *slice = chain->first; slice && n < SEND_SLICES_MAX; slice = slice->next, n++)
        if (slice->kind == SLICE_FILE) return true;
    return false;
}

static bool prepare_send(struct uring_io *u, struct io_op *op) {
    if (u->messages_used == MESSAGES_MAX || u->vectors_used + SEND_SLICES_MAX > VECTORS_MAX) {
        submit_now(u);
        if (u->messages_used) return false;
    }
    struct io_uring_sqe *sqe = entry(u);
    if (!sqe) return false;
    const struct slice *next;
    struct iovec *vectors = &u->vectors[u->vectors_used];
    struct msghdr *message = &u->messages[u->messages_used++];
    uint32_t count = chain_vectors(op->net.chain->first, vectors, SEND_SLICES_MAX, &next);
    u->vectors_used += count;
    *message = (struct msghdr){.msg_iov = vectors, .msg_iovlen = count};
    io_uring_prep_sendmsg(sqe, op->net.socket->descriptor, message, MSG_NOSIGNAL | (next ? MSG_MORE : 0));
    mark(u, sqe, op);
    return true;
}

static bool prepare_accept(struct uring_io *u, struct io_op *op) {
    struct io_socket *listener = op->net.socket;
    struct io_uring_sqe *sqe = entry(u);
    if (!sqe) return false;
    listener->address_bytes = sizeof listener->address;
    io_uring_prep_accept(sqe, listener->descriptor, (struct sockaddr *)&listener->address, &listener->address_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    mark(u, sqe, op);
    return true;
}

static bool prepare_connect(struct uring_io *u, struct io_op *op) {
    struct io_socket *socket = op->net.socket;
    struct io_uring_sqe *sqe = entry(u);
    if (!sqe) return false;
    io_uring_prep_connect(sqe, socket->descriptor, (struct sockaddr *)&socket->address, socket->address_bytes);
    mark(u, sqe, op);
    return true;
}

static bool prepare_file(struct uring_io *u, struct io_op *op) {
    struct io_uring_sqe *sqe = entry(u);
    if (!sqe) return false;
    int descriptor = op->disk.file->descriptor;
    size_t done = op->backend[2]; /* of a read that came in parts */
    size_t left = op->disk.size - done < (1u << 30) ? op->disk.size - done : 1u << 30;
    if (op->kind == IO_OP_SYNC) io_uring_prep_fsync(sqe, descriptor, IORING_FSYNC_DATASYNC);
    else io_uring_prep_read(sqe, descriptor, (uint8_t *)op->disk.data + done, (unsigned)left, op->disk.offset + done);
    mark(u, sqe, op);
    return true;
}

/* Hands one to the kernel. False: not now. */
static bool prepare(struct uring_io *u, struct io_op *op) {
    struct io_uring_sqe *sqe;
    switch (op->kind) {
    case IO_OP_READ: case IO_OP_SYNC: return prepare_file(u, op);
    case IO_OP_ACCEPT: return prepare_accept(u, op);
    case IO_OP_CONNECT: return prepare_connect(u, op);
    case IO_OP_READABLE: return prepare_poll(u, op, POLLIN | POLLRDHUP);
    case IO_OP_SEND: return prepare_send(u, op);
    case IO_OP_RECV:
        if (!(sqe = entry(u))) return false;
        io_uring_prep_recv(sqe, op->net.socket->descriptor, op->net.data, op->net.size, op->hot ? MSG_DONTWAIT : 0);
        mark(u, sqe, op);
        return true;
    default: never("the others are no business of the ring's");
    }
}

/* ---- Trying here. WAIT: it is in the kernel now; AGAIN: the kernel took nothing, it stays queued. */
enum { WAIT = INT32_MIN, AGAIN = INT32_MIN + 1 };

static int64_t begin_connect(struct io_op *op) {
    struct io_socket *socket = op->net.socket;
    if (socket->descriptor >= 0) return 0;
    int descriptor = socket_make(op->net.address);
    if (descriptor < 0) return descriptor;
    socket->descriptor = descriptor;
    socket->address_bytes = socket_address_to(op->net.address, &socket->address);
    return 0;
}

static int64_t try_op(struct uring_io *u, struct io_op *op) {
    bool cold;
    int64_t result;
    switch (op->kind) {
    case IO_OP_WRITE: return file_write_chain(op->disk.file, op->disk.chain, op->disk.offset);
    case IO_OP_READ:
        if (op->hot) return file_read_hot(op->disk.file, op->disk.data, op->disk.size, op->disk.offset);
        break;
    case IO_OP_SEND:
        if (!has_file(op->net.chain)) break;
        result = socket_send(op->net.socket->descriptor, op->net.chain, &cold);
        if (result != -EAGAIN || cold) return result;
        if (!prepare_poll(u, op, POLLOUT)) return AGAIN;
        op->backend[3] = 1;
        return WAIT;
    case IO_OP_CONNECT:
        if ((result = begin_connect(op))) return result;
        break;
    case IO_OP_ACCEPT: /* its socket's memory first: a connection that was accepted must not be lost for want of it */
        if (!op->backend[2]) op->backend[2] = (uint64_t)(uintptr_t)socket_alloc(u, -1);
        if (!op->backend[2]) return -ENOMEM;
        break;
    default: break;
    }
    return prepare(u, op) ? WAIT : AGAIN;
}

/* ---- Completion */
static void tell(struct uring_io *u, struct io_op *op, int64_t result) {
    if (is_net(op->kind) && state_of(op) != OP_FINISHED) {
        struct io_socket *socket = op->net.socket;
        *slot_of(op) = NULL;
        if (socket->closing) {
            result = -ECANCELED;
            if (!socket->in && !socket->out) end(u, socket);
        }
    }
    op->result = result;
    op->pending = false;
    u->real.pending--;
    op->done(op);
}

static void accepted(struct uring_io *u, struct io_op *op, int result) {
    struct io_socket *listener = op->net.socket, *socket = (struct io_socket *)(uintptr_t)op->backend[2];
    op->backend[2] = 0;
    if (result < 0 || listener->closing) {
        if (result >= 0) close(result);
        socket_free(socket);
        tell(u, op, result);
        return;
    }
    if (op->net.address && !address_from((struct sockaddr *)&listener->address, op->net.address)) memset(op->net.address, 0, sizeof *op->net.address);
    socket->descriptor = result;
    op->net.accepted = socket;
    tell(u, op, 0);
}

/* False: it goes on. */
static bool read_is_over(struct uring_io *u, struct io_op *op, int result) {
    if (result > 0) op->backend[2] += (uint64_t)result;
    return result <= 0 || op->backend[2] == op->disk.size;
}

static bool is_passing(int result) { /* of an accept: a connection that ended before it was taken */
    return result == -ECONNABORTED || result == -EPROTO || result == -EINTR;
}

static uint32_t completed(struct uring_io *u, uint64_t data, int result, unsigned flags) {
    if (data == DATA_WAKE) {
        u->wake_armed = flags & IORING_CQE_F_MORE;
        return 0;
    }
    if (data == DATA_CANCEL || data == DATA_TRIAL) return 0;
    struct io_op *op = (struct io_op *)(uintptr_t)data;
    bool closing = is_net(op->kind) && op->net.socket->closing;
    bool again = !closing && (result == -EINTR || (result == -EAGAIN && !op->hot && !is_polling(op)));
    if (op->kind == IO_OP_READ && result != -EINTR) {
        if (!read_is_over(u, op, result)) again = true;
        else if (result >= 0) result = 0;
    }
    if (op->kind == IO_OP_ACCEPT && !closing) again = again || is_passing(result);
    if (op->kind == IO_OP_ACCEPT && !closing && u->real.endings && (result == -EMFILE || result == -ENFILE)) {
        endings_close(&u->real, TURN_CLOSES_MAX, ended);
        again = true;
    }
    if (is_polling(op) && !closing && result >= 0) again = true;
    if (again) { /* what is left of it, or what it waited for the chance of */
        op->backend[3] = 0;
        queue(u, op, OP_QUEUED);
        return 0;
    }
    if (op->kind == IO_OP_ACCEPT) accepted(u, op, result);
    else if (op->kind == IO_OP_READ) tell(u, op, result < 0 ? result : (int64_t)op->backend[2]);
    else if (op->kind == IO_OP_READABLE) tell(u, op, result > 0 ? 1 : result);
    else tell(u, op, result);
    return 1;
}

/* The queue's entries are given back before anything of the owners' runs: that may submit, and so cause more. */
static uint32_t reap(struct uring_io *u) {
    struct io_uring_cqe *found[REAP_MAX];
    struct { uint64_t data; int result; unsigned flags; } cqes[REAP_MAX];
    uint32_t ran = 0, count = io_uring_peek_batch_cqe(&u->ring, found, REAP_MAX);
    for (uint32_t i = 0; i < count; i++) {
        cqes[i].data = io_uring_cqe_get_data64(found[i]);
        cqes[i].result = found[i]->res;
        cqes[i].flags = found[i]->flags;
    }
    io_uring_cq_advance(&u->ring, count);
    for (uint32_t i = 0; i < count; i++) ran += completed(u, cqes[i].data, cqes[i].result, cqes[i].flags);
    return ran;
}

static bool run_one(struct uring_io *u, struct io_op *op) {
    int64_t result = op->result;
    if (state_of(op) == OP_QUEUED) {
        result = try_op(u, op);
        if (result == WAIT) return false;
        if (result == AGAIN) {
            queue(u, op, OP_QUEUED);
            return false;
        }
    }
    tell(u, op, result);
    return true;
}

static uint32_t run_ready(struct uring_io *u) {
    uint32_t ran = 0, budget = TURN_OPS_MAX;
    struct io_op *last = u->ready.last, *op;
    while (budget-- && (op = op_pop(&u->ready))) {
        bool was_last = op == last; /* once it has run it may stand in the queue again */
        ran += run_one(u, op);
        if (was_last) break;
    }
    if (u->real.waiting_offload.first) offload_submit(&u->real, &u->real.waiting_offload);
    return ran;
}

static void uring_submit(struct io *io, struct io_op *op) {
    struct uring_io *u = uring_of(io);
    assert(!op->pending);
    op->pending = true;
    u->real.pending++;
    op->backend[2] = op->backend[3] = 0;
    switch (op->kind) {
    case IO_OP_SYNC:
        if (!offload_is_quick(op)) break;
        __attribute__((fallthrough));
    case IO_OP_SYNC_FS: case IO_OP_RESOLVE: case IO_OP_JOB:
        op->backend[1] = OP_FINISHED; /* by the time that it comes back */
        op_push(&u->real.waiting_offload, op);
        return;
    case IO_OP_WRITE: case IO_OP_READ:
        break;
    default: {
        struct io_op **slot = slot_of(op);
        assert(*slot == NULL);
        assert(op->net.socket->owner == u && !op->net.socket->closing);
        *slot = op;
    }
    }
    queue(u, op, OP_QUEUED);
}

/* ---- The turn */
static void arm_wake(struct uring_io *u) {
    if (u->wake_armed) return;
    struct io_uring_sqe *sqe = entry(u);
    if (!sqe) return;
    io_uring_prep_poll_multishot(sqe, u->real.wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, DATA_WAKE);
    u->wake_armed = true;
}

/* False: a signal cut it short. */
static bool wait_for_completion(struct uring_io *u, time_ns deadline) {
    struct io_uring_cqe *cqe;
    struct __kernel_timespec timeout = {0};
    if (deadline != INT64_MAX && deadline > u->real.now) {
        timeout.tv_sec = (deadline - u->real.now) / NS_PER_S;
        timeout.tv_nsec = (deadline - u->real.now) % NS_PER_S;
    }
    int result = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, deadline == INT64_MAX ? NULL : &timeout, NULL);
    assert(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY || result == -EAGAIN || result == -ENOMEM);
    taken_over(u);
    return result != -EINTR;
}

/* What was submitted since the last turn goes to the kernel with the wait, in one call; what its completions cause, in as
 * few as there are rounds of it. The next turn follows at once after one in which something ran, so nothing that is left
 * prepared at the end waits for long. */
static uint32_t uring_turn(struct io *io, time_ns deadline) {
    struct uring_io *u = uring_of(io);
    real_clock(&u->real);
    real_take_finished(&u->real, &u->ready);
    arm_wake(u);
    uint32_t ran = run_ready(u);
    bool at_once = ran > 0 || u->ready.first || u->real.endings || io_uring_cq_ready(&u->ring) || real_fall_asleep(&u->real);
    time_ns before_wait = u->real.now;
    if (!at_once) while (!wait_for_completion(u, deadline)) real_clock(&u->real);
    else if (io_uring_sq_ready(&u->ring)) submit_now(u);
    real_awake(&u->real);
    if (!at_once) real_clock(&u->real);
    if (!at_once) io->waited += u->real.now - before_wait;
    for (int round = 0; round < TURN_ROUNDS_MAX; round++) {
        real_take_finished(&u->real, &u->ready);
        uint32_t before = ran;
        ran += reap(u);
        ran += run_ready(u);
        if (u->urgent) submit_now(u);
        else if (ran == before) break;
    }
    endings_close(&u->real, TURN_CLOSES_MAX, ended);
    return ran;
}

/* ---- Sockets */
static int uring_listen(struct io *io, struct io_socket **out, const struct io_address *address, int backlog, bool shared_port) {
    struct io_socket *socket = socket_alloc(uring_of(io), -1);
    if (!socket) return -ENOMEM;
    socket->listens = true;
    int result = socket_listen(address, backlog, shared_port, &socket->descriptor);
    if (result) socket_free(socket);
    else *out = socket;
    return result;
}

static int uring_socket_new(struct io *io, struct io_socket **out) {
    return (*out = socket_alloc(uring_of(io), -1)) ? 0 : -ENOMEM;
}

static int uring_socket_address(struct io *io, struct io_socket *socket, struct io_address *own) {
    return socket->descriptor < 0 ? -ENOTCONN : socket_own_address(socket->descriptor, own);
}

/* True: it stays until its completion comes. That a later operation may have the same address does no harm: entries are
 * taken in their order, so the cancelling is over before that one begins. */
static bool cancel(struct uring_io *u, struct io_op **slot) {
    struct io_op *op = *slot;
    if (!op) return false;
    if (state_of(op) == OP_IN_KERNEL) {
        struct io_uring_sqe *sqe = entry(u);
        if (sqe) {
            io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
            io_uring_sqe_set_data64(sqe, DATA_CANCEL);
        } else shutdown(op->net.socket->descriptor, SHUT_RDWR); /* which ends it too, if less politely */
        return true;
    }
    if (op->kind == IO_OP_ACCEPT && op->backend[2]) socket_free((struct io_socket *)(uintptr_t)op->backend[2]);
    op->backend[1] = OP_FINISHED; /* where it stands in the queue */
    op->result = -ECANCELED;
    *slot = NULL;
    return false;
}

static void uring_socket_close(struct io *io, struct io_socket *socket, bool reset) {
    struct uring_io *u = uring_of(io);
    if (!socket) return;
    assert(socket->owner == u && !socket->closing);
    bool in = cancel(u, &socket->in), out = cancel(u, &socket->out);
    socket->closing = true;
    socket->ending.reset = reset;
    if (!in && !out) end(u, socket);
}

static int uring_socket_move(struct io *io, struct io_socket *socket, struct io *to) {
    assert(socket->owner == uring_of(io) && to->vtable == io->vtable);
    assert(!socket->in && !socket->out);
    socket->owner = uring_of(to);
    return 0;
}

static void uring_close(struct io *io) {
    struct uring_io *u = uring_of(io);
    for (int i = 0; i < 3; i++) uring_turn(io, 0); /* sockets that were closed just now let go of their descriptors */
    endings_close(&u->real, UINT32_MAX, ended);
    io_uring_queue_exit(&u->ring);
    real_destroy(&u->real);
    pool_free(io->pool, u, sizeof *u);
}

static const struct io_vtable uring_vtable = {
    .submit = uring_submit, .turn = uring_turn, .wake = real_wake, .now = real_now, .now_precise = real_now_precise,
    .wall = real_wall, .random = real_random, .files = real_files, .listen = uring_listen, .socket_new = uring_socket_new,
    .socket_address = uring_socket_address, .socket_close = uring_socket_close, .socket_move = uring_socket_move,
    .close = uring_close, .name = "io_uring",
};

/* ---- Opening: everything that is needed must be there, and one round trip must work. */
static bool has_operations(struct io_uring *ring) {
    static const int needed[] = {IORING_OP_POLL_ADD, IORING_OP_SENDMSG, IORING_OP_RECV, IORING_OP_ACCEPT, IORING_OP_CONNECT,
                                 IORING_OP_READ, IORING_OP_FSYNC, IORING_OP_ASYNC_CANCEL};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool has = probe;
    for (size_t i = 0; has && i < countof(needed); i++) has = io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    return has;
}

static int trial(struct io_uring *ring) {
    struct io_uring_cqe *cqe;
    struct __kernel_timespec timeout = {.tv_sec = 1};
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (!sqe) return -EAGAIN;
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data64(sqe, DATA_TRIAL);
    int result = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL);
    if (result < 0) return result;
    result = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    return result < 0 ? result : 0;
}

int io_uring_open(struct io **out, const struct io_options *options) {
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG | IORING_FEAT_FAST_POLL;
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN, .cq_entries = CQ_ENTRIES};
    unsigned workers[2] = {WORKERS_MAX, WORKERS_MAX};
    struct uring_io *u = POOL_NEW(options->pool, struct uring_io);
    if (!u) return -ENOMEM;
    int result = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &params);
    if (result < 0) {
        pool_free(options->pool, u, sizeof *u);
        return result;
    }
    if ((params.features & needed) != needed || !has_operations(&u->ring)) result = -ENOSYS;
    else if (!(result = trial(&u->ring))) result = real_init(&u->real, &uring_vtable, options);
    if (result < 0) {
        io_uring_queue_exit(&u->ring);
        pool_free(options->pool, u, sizeof *u);
        return result;
    }
    io_uring_register_iowq_max_workers(&u->ring, workers); /* an older kernel has its own bound */
    *out = &u->real.io;
    return 0;
}
