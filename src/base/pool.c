#include "base/pool.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct pool_free_chunk {
    struct pool_free_chunk *next;
};

/* Before each piece of a tracked pool. */
struct pool_piece {
    struct pool_piece *next, *previous;
};
static_assert(sizeof(struct pool_piece) % _Alignof(max_align_t) == 0, "what follows is aligned for any type");

static struct pool_piece *pieces_of(const struct pool *pool) {
    while (pool->parent) pool = pool->parent;
    return pool->pieces;
}

static void *heap_take(struct pool *pool, size_t bytes) {
    struct pool_piece *all = pieces_of(pool);
    if (!all) return malloc(bytes ? bytes : 1);
    struct pool_piece *piece = malloc(sizeof *piece + bytes);
    if (!piece) return NULL;
    *piece = (struct pool_piece){all->next, all};
    all->next->previous = piece;
    all->next = piece;
    return piece + 1;
}

static void heap_give(struct pool *pool, void *memory) {
    if (!pieces_of(pool)) {
        free(memory);
        return;
    }
    struct pool_piece *piece = (struct pool_piece *)memory - 1;
    piece->previous->next = piece->next;
    piece->next->previous = piece->previous;
    free(piece);
}

void pool_track(struct pool *pool) {
    assert(atomic_load(&pool->used) == 0 && !pool->parent);
    struct pool_piece *all = malloc(sizeof *all);
    assert(all);
    *all = (struct pool_piece){all, all};
    pool->pieces = all;
}

void pool_abandon(struct pool *pool) {
    struct pool_piece *all = pool->pieces;
    assert(all);
    while (all->next != all) {
        struct pool_piece *piece = all->next;
        all->next = piece->next;
        free(piece);
    }
    all->previous = all;
    pool->free = NULL;
    pool->free_count = 0;
    atomic_store(&pool->remote, NULL);
    atomic_store(&pool->used, 0);
}

void pool_init(struct pool *pool, size_t limit_bytes, uint32_t free_max) {
    memset(pool, 0, sizeof *pool);
    pool->limit = limit_bytes;
    pool->free_max = free_max;
}

void pool_init_child(struct pool *pool, struct pool *parent, size_t limit_bytes) {
    pool_init(pool, limit_bytes, 0);
    pool->parent = parent;
}

/* Chunks that other threads gave back become ours in one exchange. */
static void take_over_remote(struct pool *pool) {
    if (!atomic_load_explicit(&pool->remote, memory_order_relaxed)) return;
    struct pool_free_chunk *chunk = atomic_exchange_explicit(&pool->remote, NULL, memory_order_acquire);
    while (chunk) {
        struct pool_free_chunk *next = chunk->next;
        if (pool->free_count < pool->free_max) {
            chunk->next = pool->free;
            pool->free = chunk;
            pool->free_count++;
        } else {
            heap_give(pool, chunk);
        }
        chunk = next;
    }
}

void pool_destroy(struct pool *pool) {
    take_over_remote(pool);
    assert(atomic_load(&pool->used) == 0);
    while (pool->free) {
        struct pool_free_chunk *chunk = pool->free;
        pool->free = chunk->next;
        heap_give(pool, chunk);
    }
    pool->free_count = 0;
    free(pool->pieces);
    pool->pieces = NULL;
}

static void discharge(struct pool *pool, size_t bytes) {
    for (; pool; pool = pool->parent) {
        size_t before = atomic_fetch_sub_explicit(&pool->used, bytes, memory_order_relaxed);
        assert(before >= bytes);
    }
}

static bool charge(struct pool *pool, size_t bytes) {
    for (struct pool *at = pool; at; at = at->parent) {
        bool refused = at->fail_at && --at->fail_at == 0;
        if (refused && at->on_fail) at->on_fail(at);
        size_t used = refused ? 0 : atomic_fetch_add_explicit(&at->used, bytes, memory_order_relaxed) + bytes;
        if (at->limit && used > at->limit) {
            atomic_fetch_sub_explicit(&at->used, bytes, memory_order_relaxed);
            refused = true;
        }
        if (refused) { /* what was charged further down goes back */
            for (struct pool *back = pool; back != at; back = back->parent)
                atomic_fetch_sub_explicit(&back->used, bytes, memory_order_relaxed);
            return false;
        }
        if (used > atomic_load_explicit(&at->used_max, memory_order_relaxed))
            atomic_store_explicit(&at->used_max, used, memory_order_relaxed);
    }
    return true;
}

void *pool_alloc(struct pool *pool, size_t bytes) {
    if (!charge(pool, bytes)) return NULL;
    if (bytes == POOL_CHUNK_BYTES) {
        take_over_remote(pool);
        struct pool_free_chunk *chunk = pool->free;
        if (chunk) {
            pool->free = chunk->next;
            pool->free_count--;
            return chunk;
        }
    }
    void *memory = heap_take(pool, bytes);
    if (!memory) discharge(pool, bytes);
    return memory;
}

void *pool_alloc_shared(struct pool *pool, size_t bytes) {
    if (!charge(pool, bytes)) return NULL;
    void *memory = heap_take(pool, bytes);
    if (!memory) discharge(pool, bytes);
    return memory;
}

void pool_free_shared(struct pool *pool, void *memory, size_t bytes) {
    if (!memory) return;
    discharge(pool, bytes);
    heap_give(pool, memory);
}

void *pool_zero_alloc(struct pool *pool, size_t bytes) {
    void *memory = pool_alloc(pool, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void *pool_realloc(struct pool *pool, void *old, size_t old_bytes, size_t bytes) {
    void *memory = pool_alloc(pool, bytes);
    if (!memory) return NULL;
    if (old) {
        memcpy(memory, old, old_bytes < bytes ? old_bytes : bytes);
        pool_free(pool, old, old_bytes);
    }
    return memory;
}

void pool_free(struct pool *pool, void *memory, size_t bytes) {
    if (!memory) return;
    discharge(pool, bytes);
    if (bytes == POOL_CHUNK_BYTES && pool->free_count < pool->free_max) {
        struct pool_free_chunk *chunk = memory;
        chunk->next = pool->free;
        pool->free = chunk;
        pool->free_count++;
        return;
    }
    heap_give(pool, memory);
}

void pool_free_remote(struct pool *pool, void *memory, size_t bytes) {
    if (!memory) return;
    if (bytes != POOL_CHUNK_BYTES) {
        discharge(pool, bytes);
        heap_give(pool, memory);
        return;
    }
    struct pool_free_chunk *chunk = memory;
    chunk->next = atomic_load_explicit(&pool->remote, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&pool->remote, &chunk->next, chunk, memory_order_release,
                                                  memory_order_relaxed))
        ;
    discharge(pool, bytes);
}
