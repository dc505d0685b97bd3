/* io/io_real.c - clocks, wake-ups, and sockets' system calls for epoll and io_uring. */
#include "io/io_real.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int real_init(struct io_real *real, const struct io_vtable *vtable, const struct io_options *options) {
    *real = (struct io_real){.io = {.vtable = vtable, .pool = options->pool}};
    real->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (real->wake_fd < 0) return -errno;
    signal(SIGPIPE, SIG_IGN); /* sendfile has no flag that keeps it from being raised */
    offload_hold(options->offload_threads);
    real_clock(real);
    return 0;
}

void real_destroy(struct io_real *real) {
    assert(real->pending == 0);
    while (atomic_load(&real->touching) > 0) sched_yield();
    offload_drop();
    close(real->wake_fd);
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * NS_PER_S + at.tv_nsec;
}

void real_clock(struct io_real *real) {
    real->now = clock_ns(CLOCK_MONOTONIC);
    real->wall = clock_ns(CLOCK_REALTIME) / NS_PER_MS;
}

time_ns real_now(struct io *io) { return real_of(io)->now; }
time_ns real_now_precise(struct io *io) { return clock_ns(CLOCK_MONOTONIC); }
time_ms real_wall(struct io *io) { return real_of(io)->wall; }
struct io_files real_files(struct io *io) { return io_files_real(); }

void real_random(struct io *io, void *target, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = getrandom((uint8_t *)target + done, size - done, 0);
        if (got < 0 && errno == EINTR) continue;
        assert(got > 0); /* with no flags it only ever waits for the kernel's first seed */
        done += (size_t)got;
    }
}

/* ---- Wake-ups. The one who sleeps says so, then looks once more; the one who wakes leaves word, then looks whether
 * somebody sleeps. In the one order of these atomics at least one of them sees the other. */
void eventfd_ring(int wake_fd) {
    uint64_t one = 1;
    ssize_t written = write(wake_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one || errno == EAGAIN); /* EAGAIN: rung often and never read; it is ringing */
}

void real_wake(struct io *io) {
    struct io_real *real = real_of(io);
    atomic_store(&real->woken, true);
    if (atomic_exchange(&real->sleeping, false)) eventfd_ring(real->wake_fd);
}

bool real_fall_asleep(struct io_real *real) {
    atomic_store(&real->sleeping, true);
    return atomic_load(&real->woken) || atomic_load(&real->finished);
}

void real_awake(struct io_real *real) {
    atomic_store(&real->sleeping, false);
    atomic_exchange(&real->woken, false);
}

void real_take_finished(struct io_real *real, struct op_queue *to) {
    if (!atomic_load_explicit(&real->finished, memory_order_relaxed)) return;
    struct io_op *newest = atomic_exchange(&real->finished, NULL), *oldest = NULL;
    while (newest) {
        struct io_op *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct io_op *next = oldest->next;
        op_push(to, oldest);
        oldest = next;
    }
}

/* ---- Addresses */
static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

socklen_t socket_address_to(const struct io_address *address, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (!memcmp(address->ip, mapped_prefix, sizeof mapped_prefix)) {
        struct sockaddr_in *to = (struct sockaddr_in *)out;
        to->sin_family = AF_INET;
        to->sin_port = htons(address->port);
        memcpy(&to->sin_addr, address->ip + 12, 4);
        return sizeof *to;
    }
    struct sockaddr_in6 *to = (struct sockaddr_in6 *)out;
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(address->port);
    memcpy(&to->sin6_addr, address->ip, 16);
    return sizeof *to;
}

bool address_from(const struct sockaddr *from, struct io_address *out) {
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        memcpy(out->ip, mapped_prefix, sizeof mapped_prefix);
        memcpy(out->ip + 12, &in->sin_addr, 4);
        out->port = ntohs(in->sin_port);
        return true;
    }
    if (from->sa_family != AF_INET6) return false;
    const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)from;
    memcpy(out->ip, &in->sin6_addr, 16);
    out->port = ntohs(in->sin6_port);
    return true;
}

/* ---- Sockets */
static void set_flag(int descriptor, int level, int name, int value) {
    int result = setsockopt(descriptor, level, name, &value, sizeof value);
    assert(result == 0);
}

static int make(int family) {
    int descriptor = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    /* Accepted sockets inherit both from their listener. Requests and answers are whole messages: waiting for more to
     * fill a packet only delays them. */
    set_flag(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    set_flag(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    return descriptor;
}

static int bind_and_listen(const struct sockaddr_storage *to, socklen_t bytes, int backlog, bool shared_port) {
    int descriptor = make(to->ss_family);
    if (descriptor < 0) return descriptor;
    set_flag(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    if (shared_port) set_flag(descriptor, SOL_SOCKET, SO_REUSEPORT, 1);
    if (to->ss_family == AF_INET6) set_flag(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(descriptor, (const struct sockaddr *)to, bytes) == 0 && listen(descriptor, backlog) == 0) return descriptor;
    int error = -errno;
    close(descriptor);
    return error;
}

int socket_listen(const struct io_address *address, int backlog, bool shared_port, int *out) {
    static const uint8_t any[16];
    struct sockaddr_storage to;
    int descriptor = bind_and_listen(&to, socket_address_to(address, &to), backlog, shared_port);
    if (descriptor == -EAFNOSUPPORT && !memcmp(address->ip, any, 16)) { /* a machine without IPv6: all there is is IPv4 */
        struct io_address v4 = {.port = address->port};
        memcpy(v4.ip, mapped_prefix, sizeof mapped_prefix);
        descriptor = bind_and_listen(&to, socket_address_to(&v4, &to), backlog, shared_port);
    }
    if (descriptor < 0) return descriptor;
    *out = descriptor;
    return 0;
}

/* A connection that ended before it was accepted is not the listener's trouble: the next one is tried. */
static bool is_passing(int error) {
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN || error == ENOPROTOOPT ||
        error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH || error == EOPNOTSUPP || error == ENETUNREACH;
}

int socket_accept(int listener, struct io_address *peer) {
    struct sockaddr_storage from;
    for (int tries = 0; tries < 16; tries++) {
        socklen_t bytes = sizeof from;
        int descriptor = accept4(listener, (struct sockaddr *)&from, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) {
            if (peer && !address_from((struct sockaddr *)&from, peer)) memset(peer, 0, sizeof *peer);
            return descriptor;
        }
        if (!is_passing(errno)) return -errno;
    }
    return -ECONNABORTED;
}

int socket_make(const struct io_address *peer) {
    struct sockaddr_storage to;
    socket_address_to(peer, &to);
    return make(to.ss_family);
}

int socket_own_address(int descriptor, struct io_address *out) {
    struct sockaddr_storage own;
    socklen_t bytes = sizeof own;
    if (getsockname(descriptor, (struct sockaddr *)&own, &bytes) < 0) return -errno;
    return address_from((struct sockaddr *)&own, out) ? 0 : -EAFNOSUPPORT;
}

void socket_destroy(int descriptor, bool reset) {
    if (descriptor < 0) return;
    if (reset) {
        struct linger linger = {.l_onoff = 1};
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(descriptor);
}

void ending_push(struct io_real *real, struct socket_ending *ending) {
    ending->next = NULL;
    if (real->endings) real->endings_last->next = ending;
    else real->endings = ending;
    real->endings_last = ending;
}

void endings_close(struct io_real *real, uint32_t most, void (*gone)(struct socket_ending *ending)) {
    for (struct socket_ending *ending; most && (ending = real->endings); most--) {
        real->endings = ending->next;
        socket_destroy(ending->descriptor, ending->reset);
        gone(ending);
    }
}

uint32_t chain_vectors(const struct slice *slice, struct iovec *vectors, uint32_t count_max, const struct slice **next) {
    uint32_t count = 0;
    for (; slice && slice->kind == SLICE_MEMORY && count < count_max; slice = slice->next) {
        union { const void *source; void *base; } bytes = {.source = slice->memory.data}; /* iovec knows no const */
        vectors[count++] = (struct iovec){bytes.base, slice->size};
    }
    *next = slice;
    return count;
}

static size_t vectors_bytes(const struct iovec *vectors, uint32_t count) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) bytes += vectors[i].iov_len;
    return bytes;
}

static ssize_t send_file(int descriptor, const struct slice *slice, size_t size) {
    off_t offset = (off_t)slice->file.offset;
    ssize_t put = sendfile(descriptor, ((struct io_file *)(void *)slice->file.file)->descriptor, &offset, size);
    return put < 0 ? -errno : put > 0 ? put : -EIO; /* nothing: the file ends before the slice does */
}

/* One attempt goes on until the socket is full, a slice is cold, or SEND_BYTES_MAX, so that a fast reader of a large
 * answer does not hold up the others. Memory before a file range is held back (MSG_MORE) to travel with it, but only
 * when that range is known to follow at once. */
int64_t socket_send(int descriptor, const struct chain *chain, bool *cold) {
    const struct slice *slice = chain->first, *next, *hot = NULL;
    struct iovec vectors[SEND_SLICES_MAX];
    size_t done = 0;
    *cold = false;
    while (slice && done < SEND_BYTES_MAX) {
        size_t want;
        ssize_t put;
        if (slice->kind == SLICE_FILE) {
            want = slice->size < SEND_BYTES_MAX ? slice->size : SEND_BYTES_MAX;
            if (hot != slice && !file_is_hot((struct io_file *)(void *)slice->file.file, slice->file.offset, want)) {
                *cold = done == 0;
                break;
            }
            put = send_file(descriptor, slice, want);
            if (put == (ssize_t)slice->size) slice = slice->next;
            else want = SIZE_MAX; /* the rest of this slice is for the next attempt */
        } else {
            uint32_t count = chain_vectors(slice, vectors, SEND_SLICES_MAX, &next);
            want = vectors_bytes(vectors, count);
            if (next && next->kind == SLICE_FILE) {
                size_t follows = next->size < SEND_BYTES_MAX ? next->size : SEND_BYTES_MAX;
                if (file_is_hot((struct io_file *)(void *)next->file.file, next->file.offset, follows)) hot = next;
            }
            bool more = next && (next->kind == SLICE_MEMORY || next == hot) && done + want < SEND_BYTES_MAX;
            struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
            put = sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
            if (put < 0) put = -errno;
            if (put == (ssize_t)want) slice = next;
        }
        if (put == -EINTR) continue;
        if (put == -EAGAIN) break;
        if (put < 0) return done ? (int64_t)done : put; /* it will be there again at the next attempt */
        done += (size_t)put;
        if ((size_t)put < want) break;
    }
    return done ? (int64_t)done : -EAGAIN;
}
