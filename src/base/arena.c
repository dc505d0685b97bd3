#include "base/arena.h"
#include <string.h>

enum { ALIGNMENT = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes; /* of the whole chunk, this header included */
};
static_assert(sizeof(struct arena_chunk) % ALIGNMENT == 0, "pieces stay aligned behind the header");

void arena_init(struct arena *arena, struct pool *pool, size_t limit_bytes) {
    *arena = (struct arena){.pool = pool, .limit = limit_bytes};
}

void arena_init_travelling(struct arena *arena, struct pool *pool, size_t limit_bytes) {
    arena_init(arena, pool, limit_bytes);
    arena->travels = true;
}

static void use_chunk(struct arena *arena, struct arena_chunk *chunk) {
    arena->next = (uint8_t *)(chunk + 1);
    arena->end = (uint8_t *)chunk + chunk->bytes;
}

static void free_chunks(struct arena *arena, struct arena_chunk *keep) {
    struct arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        if (chunk != keep) {
            arena->bytes -= chunk->bytes;
            if (arena->travels) pool_free_shared(arena->pool, chunk, chunk->bytes);
            else pool_free(arena->pool, chunk, chunk->bytes);
        }
        chunk = next;
    }
    arena->chunks = keep;
    if (keep) keep->next = NULL;
}

void arena_reset(struct arena *arena) {
    struct arena_chunk *keep = NULL;
    for (struct arena_chunk *chunk = arena->chunks; chunk; chunk = chunk->next)
        if (chunk->bytes == POOL_CHUNK_BYTES) keep = chunk;
    free_chunks(arena, keep);
    if (keep) use_chunk(arena, keep);
    else arena->next = arena->end = NULL;
}

void arena_destroy(struct arena *arena) {
    free_chunks(arena, NULL);
    arena->next = arena->end = NULL;
}

static void *grow(struct arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    size_t want = bytes + sizeof(struct arena_chunk);
    if (want < POOL_CHUNK_BYTES) want = POOL_CHUNK_BYTES;
    if (arena->limit && (want > arena->limit || arena->bytes > arena->limit - want)) return NULL;
    struct arena_chunk *chunk = arena->travels ? pool_alloc_shared(arena->pool, want) : pool_alloc(arena->pool, want);
    if (!chunk) return NULL;
    chunk->bytes = want;
    arena->bytes += want;
    if (want > POOL_CHUNK_BYTES && arena->chunks) { /* a large piece has its own chunk; the room before it stays in use */
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
        return memset(chunk + 1, 0, bytes);
    }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    use_chunk(arena, chunk);
    void *piece = arena->next;
    arena->next += bytes;
    return memset(piece, 0, bytes);
}

void *arena_alloc(struct arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX - ALIGNMENT || pool_refuses_piece(arena->pool)) return NULL;
    bytes = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if ((size_t)(arena->end - arena->next) < bytes || !arena->next) return grow(arena, bytes);
    void *piece = arena->next;
    arena->next += bytes;
    return memset(piece, 0, bytes);
}

void *arena_array(struct arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    return arena_alloc(arena, bytes);
}

void *arena_copy(struct arena *arena, const void *source, size_t bytes) {
    void *piece = arena_alloc(arena, bytes);
    if (piece && bytes) memcpy(piece, source, bytes);
    return piece;
}
