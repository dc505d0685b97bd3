/* sim/sim_disk.h - a disk with a file system that does what it promises and nothing more.
 *
 * Two versions of everything: what running programs see, and what is on the platter. A write is seen at once and is on
 * the platter when its file was synced (sync_data: data and size; sync_file: the time of change too); a name that was
 * made, renamed or removed is there when its directory was synced. Until then a power cut keeps, drops or tears each
 * write on its own, at sectors of 512 bytes, and each change of a directory on its own or in the order of a journal.
 * A rename is whole or not at all. A killed process loses nothing that it wrote.
 *
 * Locks belong to a user (a process): they conflict between two opens of a file, and go with the close or the process.
 */
#pragma once
#include "io/io.h"
#include "sim/sim.h"

struct sim_disk;
struct sim_disk_user; /* who has files open: a process; its files and locks go with it */

enum { SIM_SECTOR_BYTES = 512, SIM_PAGE_BYTES = 4096, SIM_NAME_MAX = 255 };

/* `where`: the host's number, for notes. The wall clock gives the times of change. Capacity 0: no end. */
must_use struct sim_disk *sim_disk_new(struct sim *sim, uint32_t where, uint64_t capacity_bytes);
void sim_disk_free(struct sim_disk *disk); /* after its users */
void sim_disk_set_wall(struct sim_disk *disk, int64_t (*wall_ns)(void *context), void *context);
void sim_disk_set_capacity(struct sim_disk *disk, uint64_t capacity_bytes);
uint64_t sim_disk_used(const struct sim_disk *disk);
/* From now on each directory that is made in the root is a file system of its own, as if a disk were mounted there: a sync of a
 * file system is of that one, and nothing can be renamed from one to another. Their room is one all the same. */
void sim_disk_set_devices(struct sim_disk *disk);

must_use struct sim_disk_user *sim_disk_user_new(struct sim_disk *disk);
/* The process is gone: its files can do nothing any more, its locks are free. */
void sim_disk_user_kill(struct sim_disk_user *user);
/* Frees what it still had open as well: nothing may use those files afterwards. */
void sim_disk_user_free(struct sim_disk_user *user);
struct io_files sim_disk_files(struct sim_disk_user *user);
bool sim_file_belongs(const struct io_file *file, const struct sim_disk_user *user);

/* ---- Power. Users must have been killed: no process survives it. */
enum sim_crash {
    SIM_CRASH_RANDOM,     /* each write and each name: kept, dropped or torn, as the seed says */
    SIM_CRASH_LOSE_ALL,   /* only what was synced stays                                        */
    SIM_CRASH_KEEP_ALL,   /* everything made it, by luck                                       */
    SIM_CRASH_NEWEST,     /* every write, and of the names some of the last, but none before   */
};
void sim_disk_crash(struct sim_disk *disk, enum sim_crash policy);
/* After `operations` more changing operations (write, truncate, allocate, sync, create, rename, unlink, mkdir, rmdir)
 * the one that follows is cut short and every operation answers -EIO: the moment for sim_disk_crash, or for a kill.
 * UINT64_MAX: never. */
void sim_disk_cut_after(struct sim_disk *disk, uint64_t operations);
bool sim_disk_is_cut(const struct sim_disk *disk);
void sim_disk_uncut(struct sim_disk *disk); /* after a kill: nothing was lost, the next process goes on */
uint64_t sim_disk_operations(const struct sim_disk *disk); /* changing operations so far */

/* ---- Faults by rule: the operations that match fail from the `skip`-th on, `times` times. */
enum sim_disk_operation {
    SIM_DISK_OPEN = 1, SIM_DISK_READ = 2, SIM_DISK_WRITE = 4, SIM_DISK_SYNC = 8, SIM_DISK_NAMES = 16, /* rename, unlink, mkdir */
    SIM_DISK_TRUNCATE = 32, SIM_DISK_ALLOCATE = 64, SIM_DISK_STAT = 128, SIM_DISK_LOCK = 256,
};
struct sim_disk_fault {
    unsigned operations;       /* which kinds                                                    */
    const char *path_part;     /* in the path as it was opened; borrowed; NULL: any file         */
    uint64_t skip;
    uint64_t times;            /* 0: for ever                                                    */
    int error;                 /* -EIO, -ENOSPC, ... After a failed sync the data may be gone.   */
    void (*failed)(void *context, unsigned operation, const char *path); /* hears of each; NULL. The path may be */
    void *context;
};
enum { SIM_DISK_FAULTS_MAX = 8 };
void sim_disk_fail(struct sim_disk *disk, const struct sim_disk_fault *fault);
uint64_t sim_disk_met(const struct sim_disk *disk); /* operations that matched the first rule so far */
/* ---- Faults by seed: one in so many operations of a kind fails with -EIO. 0: none. */
struct sim_disk_trouble { uint32_t read_one_in, write_one_in, sync_one_in, cold_one_in; }; /* cold: a hot read says COLD */
void sim_disk_trouble(struct sim_disk *disk, struct sim_disk_trouble trouble);
void sim_disk_heal(struct sim_disk *disk); /* no more rules, no more trouble */
void sim_disk_heal_path(struct sim_disk *disk, const char *path_part); /* no more rules that were made with this one */
/* Hears of every operation that failed, also because the disk is full. */
void sim_disk_on_fault(struct sim_disk *disk, void (*on_fault)(void *context, const char *path), void *context);

/* Rot: the byte at rest changes by `mask`. -ENOENT, -ERANGE (past the end). */
int sim_disk_rot(struct sim_disk *disk, const char *path, uint64_t offset, uint8_t mask);

/* ---- What is there, for those who look from outside: without faults, without counting, without touching. */
int64_t sim_disk_peek(struct sim_disk *disk, const char *path, void *target, size_t size, uint64_t offset); /* as seen */
int64_t sim_disk_peek_size(struct sim_disk *disk, const char *path);                                        /* -ENOENT */
void sim_disk_peek_names(struct sim_disk *disk, const char *path, void (*name)(void *context, const char *name, bool is_directory), void *context);
/* On the platter, with the names of the platter: what SIM_CRASH_LOSE_ALL would leave. */
int64_t sim_disk_peek_durable(struct sim_disk *disk, const char *path, void *target, size_t size, uint64_t offset);
int64_t sim_disk_peek_durable_size(struct sim_disk *disk, const char *path);
int64_t sim_file_peek(const struct io_file *file, void *target, size_t size, uint64_t offset);              /* as seen, of an open file */

/* ---- For sim_io: the operations on an open file. `from` marks what a sync covers: writes up to that mark. */
int64_t sim_file_write_chain(struct io_file *file, const struct chain *chain, uint64_t offset);
int64_t sim_file_read(struct io_file *file, void *target, size_t size, uint64_t offset, bool hot); /* -EAGAIN: COLD */
uint64_t sim_file_mark(const struct io_file *file);
int sim_file_sync(struct io_file *file, uint64_t mark);
int sim_file_sync_device(struct io_file *file, uint64_t mark);
/* A write was under way when the process died: some beginning of it may have been taken over. */
void sim_file_write_interrupted(struct io_file *file, const struct chain *chain, uint64_t offset);
