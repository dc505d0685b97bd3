/* io/io_real.h - what the kernel's two backends (epoll, io_uring) share: clocks, wake-ups, open files, the threads that
 * wait for the disk, and the system calls of the operations that never wait.
 *
 * Private to io/. An io belongs to one thread; other threads touch only `finished`, `sleeping`, `woken` and `wake_fd`.
 */
#pragma once
#include "io/io.h"
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/uio.h>

struct io_file {
    struct file_ref ref;
    int descriptor;
    uint64_t device;
    _Atomic bool always_waits; /* the file system cannot answer "only from memory": then all of it counts as hot */
};

/* Operations in order, through their `next`. */
struct op_queue { struct io_op *first, *last; };
static inline void op_push(struct op_queue *queue, struct io_op *op) {
    op->next = NULL;
    if (queue->last) queue->last->next = op;
    else queue->first = op;
    queue->last = op;
}
static inline struct io_op *op_pop(struct op_queue *queue) {
    struct io_op *op = queue->first;
    if (op && !(queue->first = op->next)) queue->last = NULL;
    return op;
}

/* Inside a socket that was closed, and whose descriptor is still open. */
struct socket_ending {
    struct socket_ending *next;
    int descriptor;
    bool reset;
};

struct io_real {
    struct io io;
    time_ns now;
    time_ms wall;
    struct op_queue waiting_offload;    /* handed to the threads at once, in one go                      */
    struct socket_ending *endings, *endings_last;
    uint32_t pending;                   /* submitted, not done                                           */
    int wake_fd;                        /* an eventfd                                                    */
    _Atomic(struct io_op *) finished;   /* by the threads: newest first                                  */
    _Atomic bool sleeping;              /* in, or about to be in, a wait that only wake_fd can end early */
    _Atomic bool woken;                 /* io_wake since the last wait                                   */
    _Atomic uint32_t touching;          /* threads that are just handing something back                  */
};

/* 0 or a negative errno value. */
int real_init(struct io_real *real, const struct io_vtable *vtable, const struct io_options *options);
void real_destroy(struct io_real *real);
void real_clock(struct io_real *real);
static inline struct io_real *real_of(struct io *io) { return (struct io_real *)(void *)io; }

/* vtable entries that are the same for both. */
void real_wake(struct io *io);
time_ns real_now(struct io *io);
time_ns real_now_precise(struct io *io);
time_ms real_wall(struct io *io);
void real_random(struct io *io, void *target, size_t size);
struct io_files real_files(struct io *io);

/* True: something came meanwhile, do not wait. After the wait: real_awake. */
bool real_fall_asleep(struct io_real *real);
void real_awake(struct io_real *real);
void eventfd_ring(int wake_fd);
/* Moves what the threads finished to the end of `to`, in the order of finishing; results are set. */
void real_take_finished(struct io_real *real, struct op_queue *to);

/* ---- The threads: one set for the process, started when there is work, ended with the last io. */
int offload_hold(uint32_t threads_max);
void offload_drop(void);
void offload_submit(struct io_real *real, struct op_queue *ops); /* takes all of them */
bool offload_is_quick(const struct io_op *sync); /* false: the device is slow to sync, so whoever can do many at once shall */

/* ---- System calls that do not wait (or only as long as a page cache does). Results as in io.h. */
int64_t file_write_chain(struct io_file *file, const struct chain *chain, uint64_t offset);
int64_t file_read(struct io_file *file, void *target, size_t size, uint64_t offset);
int64_t file_read_hot(struct io_file *file, void *target, size_t size, uint64_t offset); /* -EAGAIN: cold */
bool file_is_hot(struct io_file *file, uint64_t offset, size_t size);

enum { SEND_SLICES_MAX = 64, SEND_BYTES_MAX = 1 << 20 };
/* As much of the chain as the socket takes now. -EAGAIN: the socket is full; *cold: the first slice is not in memory. */
int64_t socket_send(int descriptor, const struct chain *chain, bool *cold);
int socket_listen(const struct io_address *address, int backlog, bool shared_port, int *descriptor);
int socket_accept(int listener, struct io_address *peer);      /* the descriptor, or a negative errno value */
int socket_make(const struct io_address *peer);                /* a descriptor for a connect                */
socklen_t socket_address_to(const struct io_address *address, struct sockaddr_storage *out);
bool address_from(const struct sockaddr *from, struct io_address *out); /* false: neither IPv4 nor IPv6 */
/* The memory slices from `slice` on, up to `count_max` or the first file slice, which is then *next. */
uint32_t chain_vectors(const struct slice *slice, struct iovec *vectors, uint32_t count_max, const struct slice **next);
int socket_own_address(int descriptor, struct io_address *out);
void socket_destroy(int descriptor, bool reset);

/* ---- Closing takes the kernel longer than all else that a connection's end makes: when thousands go at once, those that stay
 * are served in between, as each turn closes a few. */
enum { TURN_CLOSES_MAX = 32 };
void ending_push(struct io_real *real, struct socket_ending *ending);
void endings_close(struct io_real *real, uint32_t most, void (*gone)(struct socket_ending *ending));

int io_epoll_open(struct io **out, const struct io_options *options);
int io_uring_open(struct io **out, const struct io_options *options); /* -ENOSYS, -EPERM, ...: the trial failed */
