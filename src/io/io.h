/* io/io.h - the seam: the only way to time, disk, network, names and randomness.
 *
 * An `io` belongs to one thread (one shard). What is asked through it comes back through it: an operation is a struct
 * inside its owner, submitted once, and its `done` runs from io_turn, never from within the call that submitted it, so
 * that no function is re-entered. A submitted operation is the io's until `done` runs; only sockets' operations can be
 * cut short, by closing the socket (they end with -ECANCELED).
 *
 * What waits longer than a page cache does (opening, listing, recovery, cold reads, compaction) runs as a job on an
 * offload thread: a function with blocking file operations of its own (`struct io_files`, below), over memory that it
 * owns. At start-up and in the tools the same blocking operations may be used directly.
 *
 * Backends: io_uring and epoll here (io_open tries, or is told which), `sim` in sim/; shims stack on any (io_shim.h).
 * Results: >= 0, or a negative errno value.
 */
#pragma once
#include "base/containers.h"
#include "base/err.h"

struct io;
struct io_op;
struct io_file;   /* an open file: counted; its first member is a struct file_ref, so that slices can hold it */
struct io_socket; /* a listening or connected socket */

/* ---- Files, blocking: for jobs, start-up and tools. Any thread, if the io_files it was given says so (the real one does). */
enum io_open_flags {
    IO_READ = 1,
    IO_WRITE = 2,      /* with IO_READ: both */
    IO_CREATE = 4,     /* make it when it is missing */
    IO_EXCLUSIVE = 8,  /* with IO_CREATE: it must be missing */
    IO_TRUNCATE = 16,
    IO_DIRECTORY = 32, /* only for sync */
};
struct io_stat {
    uint64_t size, inode, blocks_bytes;
    int64_t modified_ns;       /* wall time */
    uint32_t mode, uid, gid;
    bool is_directory;
};
struct io_space { uint64_t total, available; }; /* of the file system, in bytes */

struct io_files_vtable {
    int (*open)(void *self, struct io_file **out, const char *path, unsigned flags);
    int64_t (*size)(void *self, struct io_file *file);
    int64_t (*read)(void *self, struct io_file *file, void *target, size_t size, uint64_t offset);         /* short only at the end */
    int64_t (*write)(void *self, struct io_file *file, const void *source, size_t size, uint64_t offset);  /* never short */
    int (*truncate)(void *self, struct io_file *file, uint64_t size);
    int (*allocate)(void *self, struct io_file *file, uint64_t offset, uint64_t size); /* room, without changing the size; -EOPNOTSUPP: it cannot */
    int (*sync_data)(void *self, struct io_file *file);   /* fdatasync: the data and the size */
    int (*sync_file)(void *self, struct io_file *file);   /* fsync */
    int (*sync_directory)(void *self, const char *path);
    int (*sync_file_system)(void *self, const char *path);
    int (*rename)(void *self, const char *from, const char *to); /* replaces; durable only after sync_directory */
    int (*unlink)(void *self, const char *path);
    int (*make_directory)(void *self, const char *path);  /* -EEXIST when there */
    int (*remove_directory)(void *self, const char *path);
    /* Calls `entry` for each name but . and .. in an order that is sorted by bytes; a non-zero answer stops and is returned. */
    int (*list)(void *self, const char *path, int (*entry)(void *context, const char *name, bool is_directory), void *context);
    int (*stat)(void *self, const char *path, struct io_stat *out);
    int (*space)(void *self, const char *path, struct io_space *out);
    /* An exclusive lock on the whole file that conflicts with Java's FileLock (F_OFD_SETLK). -EAGAIN: somebody has it.
     * It goes when the file is closed. */
    int (*lock)(void *self, struct io_file *file);
    int (*set_modified)(void *self, const char *path, int64_t modified_ns);
    int (*set_mode)(void *self, const char *path, uint32_t mode);
};
struct io_files {
    const struct io_files_vtable *vtable;
    void *self;
};
/* The real file system: for tools and start-up. Jobs get theirs from io_job. */
struct io_files io_files_real(void);

static inline struct file_ref *io_file_ref(struct io_file *file) { return (struct file_ref *)(void *)file; }
static inline struct io_file *io_file_hold(struct io_file *file) { file_ref_hold(io_file_ref(file)); return file; }
static inline void io_file_drop(struct io_file *file) { file_ref_drop((struct file_ref *)(void *)file); } /* the last one closes it */

/* ---- Operations. Those on one file that are under way together run in any order: a SYNC covers the writes whose `done`
 * ran before it was submitted. A socket has at most one operation for each direction: one of ACCEPT, READABLE and RECV,
 * and one of CONNECT and SEND. */
enum io_kind {
    IO_OP_WRITE,      /* file: the chain's memory slices at `offset`; result: all the bytes, or an error              */
    IO_OP_READ,       /* file: into data/size at `offset`; never waits for the disk when `hot`: -EAGAIN says COLD     */
    IO_OP_SYNC,       /* file: fdatasync                                                                              */
    IO_OP_SYNC_FS,    /* file: the whole file system it lies on (syncfs)                                              */
    IO_OP_ACCEPT,     /* socket: a new connection into `accepted`, its peer's address into `address` (or NULL).
                       * -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM: the listener is whole, ask again a little later           */
    IO_OP_CONNECT,    /* socket (from io_socket_new): to `address`                                                    */
    IO_OP_READABLE,   /* socket: bytes (or the end, or an error) are there, or may be: a `hot` RECV tells. No memory is
                       * tied up while waiting                                                                         */
    IO_OP_RECV,       /* socket: into data/size, what is there; 0: the other side is done. `hot`: -EAGAIN and no wait
                       * when nothing is there                                                                         */
    IO_OP_SEND,       /* socket: the chain, memory and file slices; result: the bytes that went, maybe fewer.
                       * A file slice whose bytes are not in memory ends the send before it: with nothing sent the
                       * result is -EAGAIN (COLD), and a job must read the range in before it is tried again.        */
    IO_OP_RESOLVE,    /* name:port in `name` to up to IO_ADDRESSES_MAX addresses in `addresses`                       */
    IO_OP_JOB,        /* run `job` on an offload thread                                                               */
};
struct io_address {
    uint8_t ip[16];   /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};
enum { IO_ADDRESSES_MAX = 8, IO_ADDRESS_TEXT_MAX = 64 };

struct io_op {
    struct io_op *next;                     /* the backend's, while it is submitted */
    void (*done)(struct io_op *op);         /* set by the owner; runs from io_turn  */
    int64_t result;
    enum io_kind kind;
    bool hot;                               /* READ: page cache only; RECV: no wait; JOB: somebody waits for it, so it goes with the reads */
    bool pending;                           /* the backend's: submitted, not done   */
    union {
        struct { struct io_file *file; uint64_t offset; struct chain *chain; void *data; size_t size; } disk;
        struct { struct io_socket *socket; struct io_socket *accepted; struct io_address *address;
                 void *data; size_t size; struct chain *chain; } net;
        struct { const char *name; uint16_t port; struct io_address *addresses; uint32_t count; } resolve;
        /* Runs on an offload thread; may use `files`, and memory that it owns until done. Its answer is the result. */
        struct { int64_t (*run)(struct io_op *op, struct io_files files); } job;
    };
    uint64_t backend[4];                    /* the backend's                        */
};

struct io_vtable {
    void (*submit)(struct io *io, struct io_op *op);
    /* Hands what was submitted to the kernel, waits until something is done, the deadline (monotonic, INT64_MAX: none)
     * or a wake (a signal is none: its handler calls io_wake), and runs `done` of what is. Answers how many ran. One
     * reading of both clocks a turn. */
    uint32_t (*turn)(struct io *io, time_ns deadline);
    void (*wake)(struct io *io);            /* from any thread: ends the wait of a turn */
    time_ns (*now)(struct io *io);          /* monotonic, as read at the turn's start   */
    time_ns (*now_precise)(struct io *io);  /* monotonic, read now: for measuring only  */
    time_ms (*wall)(struct io *io);         /* as read at the turn's start              */
    void (*random)(struct io *io, void *target, size_t size);
    struct io_files (*files)(struct io *io);/* blocking: start-up only                  */
    int (*listen)(struct io *io, struct io_socket **out, const struct io_address *address, int backlog, bool shared_port);
    int (*socket_new)(struct io *io, struct io_socket **out); /* for a connect */
    int (*socket_address)(struct io *io, struct io_socket *socket, struct io_address *own);
    void (*socket_close)(struct io *io, struct io_socket *socket, bool reset); /* pending operations end with -ECANCELED, later; the descriptor goes in this turn or, of many, one soon */
    /* Hands a connected socket with nothing pending to another io of the same process. */
    int (*socket_move)(struct io *io, struct io_socket *socket, struct io *to);
    void (*close)(struct io *io);           /* nothing may be pending */
    const char *name;                       /* "io_uring", "epoll", "sim" */
};
struct io {
    const struct io_vtable *vtable;
    struct pool *pool;                      /* borrows */
    time_ns waited;                         /* in all turns so far, for something to do; 0 where it is not counted */
};

enum io_backend { IO_BACKEND_AUTO, IO_BACKEND_URING, IO_BACKEND_EPOLL };
struct io_options {
    enum io_backend backend;    /* AUTO: io_uring where a trial of it works, else epoll                  */
    uint32_t offload_threads;   /* at most; one set for all ios of the process; 0: a good number         */
    struct pool *pool;          /* of the io's thread; outlives it                                       */
};
/* Ends the raising of SIGPIPE for the process: a peer that is gone is a result. */
must_use int io_open(struct io **out, const struct io_options *options);

static inline void io_submit(struct io *io, struct io_op *op) { io->vtable->submit(io, op); }
static inline uint32_t io_turn(struct io *io, time_ns deadline) { return io->vtable->turn(io, deadline); }
static inline void io_wake(struct io *io) { io->vtable->wake(io); }
static inline time_ns io_now(struct io *io) { return io->vtable->now(io); }
static inline time_ns io_now_precise(struct io *io) { return io->vtable->now_precise(io); }
static inline time_ms io_wall(struct io *io) { return io->vtable->wall(io); }
static inline void io_random(struct io *io, void *target, size_t size) { io->vtable->random(io, target, size); }
static inline struct io_files io_files(struct io *io) { return io->vtable->files(io); }
static inline void io_socket_close(struct io *io, struct io_socket *socket, bool reset) { io->vtable->socket_close(io, socket, reset); }
static inline void io_close(struct io *io) { if (io) io->vtable->close(io); }

/* Text forms: "1.2.3.4:9092", "[::1]:9092". */
void io_address_text(const struct io_address *address, char out[IO_ADDRESS_TEXT_MAX]);
bool io_address_parse(const char *text, struct io_address *out); /* literals only: names are for IO_OP_RESOLVE */
