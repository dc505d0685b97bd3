/* base/pool.h - memory within a budget: chunks of one size, kept for reuse, and the few larger pieces.
 *
 * The only place (with the tools) where memory comes from the general heap. A pool belongs to one shard and is not
 * locked; pieces that travel between shards are freed to the pool that is named in them, through pool_free_remote.
 * Always: used <= limit; what does not fit is refused with NULL, which is an ordinary answer.
 */
#pragma once
#include "base/assert.h"
#include "base/units.h"
#include <stdatomic.h>

struct pool_free_chunk;
struct pool_piece;
struct pool {
    size_t limit;                            /* bytes that may be out at once; 0: no limit          */
    _Atomic size_t used;                     /* bytes that are out                                  */
    _Atomic size_t used_max;                 /* the most that was out, for metrics                  */
    struct pool *parent;                     /* borrows: what is taken here counts there too; NULL  */
    struct pool_free_chunk *free;            /* chunks of POOL_CHUNK_BYTES kept for reuse           */
    uint32_t free_count;
    uint32_t free_max;                       /* chunks kept at most; more go back to the heap       */
    _Atomic(struct pool_free_chunk *) remote;/* returned by other threads, taken over in pool_alloc */
    uint64_t fail_at;                        /* tests: the n-th allocation from now fails; 0: none  */
    bool fail_in_arenas;                     /* tests: each piece of an arena counts as one, as if it had found no room left */
    void (*on_fail)(struct pool *pool);      /* tests: hears of that; NULL                          */
    struct pool_piece *pieces;               /* the simulator: all that is out, so that it can be abandoned; else NULL */
};

enum { POOL_CHUNK_BYTES = 4096 };

void pool_init(struct pool *pool, size_t limit_bytes, uint32_t free_max);
/* A pool for something that wanders between a shard and an offload thread (a log being opened, a job): one of them uses it
 * at a time, and its parent's budget is charged from whichever thread that is. It keeps no chunks of its own. */
void pool_init_child(struct pool *pool, struct pool *parent, size_t limit_bytes);
void pool_destroy(struct pool *pool);        /* asserts that nothing is out */

/* For arenas: whether this piece is the one that a test wants refused. */
static inline bool pool_refuses_piece(struct pool *pool) {
    return __builtin_expect(pool->fail_in_arenas, false) && pool->fail_at && --pool->fail_at == 0;
}

/* For the simulator, on one thread: keeps account of each piece, of its children's too, so that the memory of a process
 * that was killed can be dropped as a whole. */
void pool_track(struct pool *pool);          /* before anything is taken      */
void pool_abandon(struct pool *pool);        /* all that is out; as new then   */

/* Memory is aligned for any type and not zeroed. NULL: over budget. */
must_use void *pool_alloc(struct pool *pool, size_t bytes);
/* Grows or shrinks; the old piece stays valid when NULL comes back. */
must_use void *pool_realloc(struct pool *pool, void *old, size_t old_bytes, size_t bytes);
void pool_free(struct pool *pool, void *memory, size_t bytes);        /* NULL is fine; bytes as allocated */
void pool_free_remote(struct pool *pool, void *memory, size_t bytes); /* from any thread                  */

/* From any thread, past the free list: straight from the heap and back, within the same budget. */
must_use void *pool_alloc_shared(struct pool *pool, size_t bytes);
void pool_free_shared(struct pool *pool, void *memory, size_t bytes);

#define POOL_NEW(pool, type) ((type *)pool_zero_alloc((pool), sizeof(type)))
must_use void *pool_zero_alloc(struct pool *pool, size_t bytes);
