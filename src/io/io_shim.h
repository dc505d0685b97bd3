/* io/io_shim.h - an io and its files with trouble on top: counts operations, makes them late, fails the n-th, tears a
 * write. Stacks on any backend, the simulator's and another shim included. For tests, on real disks too.
 *
 * The way to use it: run something with a plan that fails nothing and read how many operations there were; then, for
 * n = 1, 2, ... up to that, fail the n-th and look at what is left.
 */
#pragma once
#include "io/io.h"
#include <stdatomic.h>

enum io_shim_kind {
    SHIM_OPEN, SHIM_SIZE, SHIM_READ, SHIM_WRITE, SHIM_TRUNCATE, SHIM_ALLOCATE, SHIM_SYNC, SHIM_SYNC_DIRECTORY, SHIM_SYNC_FS,
    SHIM_RENAME, SHIM_UNLINK, SHIM_MAKE_DIRECTORY, SHIM_REMOVE_DIRECTORY, SHIM_LIST, SHIM_STAT, SHIM_SPACE, SHIM_LOCK,
    SHIM_SET_MODIFIED, SHIM_SET_MODE, SHIM_FILES_END,
    SHIM_ACCEPT = SHIM_FILES_END, SHIM_CONNECT, SHIM_READABLE, SHIM_RECV, SHIM_SEND, SHIM_RESOLVE, SHIM_JOB, SHIM_LISTEN,
    SHIM_KINDS
};
#define SHIM_ALL ((UINT64_C(1) << SHIM_KINDS) - 1)
#define SHIM_FILES ((UINT64_C(1) << SHIM_FILES_END) - 1)
/* What changes the disk. */
#define SHIM_CHANGES (SHIM_FILES & ~(1u << SHIM_SIZE | 1u << SHIM_READ | 1u << SHIM_LIST | 1u << SHIM_STAT | 1u << SHIM_SPACE | 1u << SHIM_LOCK))

/* May be shared by several shims; read and counted from any thread, set only while nothing is under way. */
struct io_shim_plan {
    uint64_t kinds;           /* which operations are meant: a bit for each io_shim_kind                   */
    uint64_t fail_at;         /* the n-th of them since io_shim_plan_reset fails; 0: none                  */
    bool fail_after;          /* and so do all that come later: as after a dead disk, or a kill            */
    int fail_with;            /* an errno value, as EIO                                                    */
    size_t torn_bytes;        /* a write that fails writes so many first                                   */
    time_ns delay;            /* those that do not fail end no earlier than this after they were submitted */
    _Atomic uint64_t seen;    /* of those that are meant                                                   */
    _Atomic uint64_t counts[SHIM_KINDS];
};
void io_shim_plan_reset(struct io_shim_plan *plan); /* the counting begins anew */

/* Takes the inner io, which io_close closes with it. `plan` is borrowed. */
must_use int io_shim_open(struct io **out, struct io *inner, struct io_shim_plan *plan);

/* The same for blocking operations; jobs of a shimmed io get these by themselves. Delays do not apply. */
struct io_shim_files { struct io_files inner; struct io_shim_plan *plan; };
struct io_files io_shim_files(struct io_shim_files *shim);
