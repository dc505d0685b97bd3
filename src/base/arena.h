/* base/arena.h - the memory of one request (or one connection, one flush): taken piece by piece, freed as a whole.
 *
 * Owns its chunks, which come from a pool. A piece lives until arena_reset or arena_destroy.
 */
#pragma once
#include "base/pool.h"

struct arena_chunk;
struct arena {
    struct pool *pool;          /* borrows                                        */
    struct arena_chunk *chunks; /* owns: newest first                             */
    uint8_t *next, *end;        /* free room in the newest chunk                  */
    size_t bytes;               /* what was taken from the pool                   */
    size_t limit;               /* no more than this from the pool; 0: the pool's */
    bool travels;               /* goes between threads: takes and gives past the pool's free list */
};

void arena_init(struct arena *arena, struct pool *pool, size_t limit_bytes);
/* An arena that travels with a message: on one thread at a time, which need not be the pool's. */
void arena_init_travelling(struct arena *arena, struct pool *pool, size_t limit_bytes);
void arena_reset(struct arena *arena);   /* keeps one chunk for the next use */
void arena_destroy(struct arena *arena); /* the arena may be initialised again */

/* From here on on another thread than the pool's, or back on that one: what it has taken goes with it. */
static inline void arena_goes(struct arena *arena) { arena->travels = true; }
static inline void arena_is_back(struct arena *arena) { arena->travels = false; }

/* Zeroed, aligned for any type. NULL: over budget. */
must_use void *arena_alloc(struct arena *arena, size_t bytes);
must_use void *arena_copy(struct arena *arena, const void *source, size_t bytes);
/* count * size, checked for overflow. */
must_use void *arena_array(struct arena *arena, size_t count, size_t size);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, count, type) ((type *)arena_array((arena), (count), sizeof(type)))
