/* base/buf.h - bytes: borrowed spans, counted slabs, and chains of slices of memory or of a file.
 *
 * Records are never copied between socket and disk: what was received into a slab is written from it, and what is
 * read from a file is sent as a range of it. A slab or file is counted; a slice holds one count; counts are atomic,
 * because slices travel between shards.
 */
#pragma once
#include "base/arena.h"

/* Borrowed bytes. data may be NULL when size is 0. */
struct span {
    const uint8_t *data;
    size_t size;
};
#define SPAN_LITERAL(text) ((struct span){(const uint8_t *)(text), sizeof(text) - 1})
static inline struct span span_of(const void *data, size_t size) {
    return (struct span){data, size};
}
struct span span_text(const char *text);  /* a C string; NULL: empty */
bool span_equal(struct span a, struct span b);
int span_compare(struct span a, struct span b); /* bytewise, shorter first: as memcmp */

/* Counted memory. The bytes follow the header. Free room is [used, capacity): its one writer appends there while
 * readers hold slices of what is before. */
struct slab {
    _Atomic uint32_t refs;
    uint32_t capacity;
    uint32_t used;
    struct pool *pool; /* borrows: outlives every slab of it */
    uint8_t bytes[];
};
must_use struct slab *slab_new(struct pool *pool, uint32_t capacity); /* one count, the caller's; NULL: over budget */
struct slab *slab_hold(struct slab *slab);
void slab_drop(struct slab *slab);                                    /* NULL is fine; from any thread */

/* A counted file, as the io seam makes it: a slice of it keeps it open. `release` runs when the last count goes,
 * on whichever thread that was. */
struct file_ref {
    _Atomic uint32_t refs;
    _Atomic uint32_t doubts; /* counts reasons to look again at what was verified of it; the file's owner reads it */
    void (*release)(struct file_ref *file);
};
struct file_ref *file_ref_hold(struct file_ref *file);
void file_ref_drop(struct file_ref *file);

enum slice_kind { SLICE_MEMORY, SLICE_FILE };
struct slice {
    struct slice *next;
    enum slice_kind kind;
    size_t size;
    union {
        struct { const uint8_t *data; struct slab *slab; } memory;  /* slab: shares, or NULL: borrowed for the chain's life */
        struct { struct file_ref *file; uint64_t offset, begin; } file; /* shares; begin: where it began before some of it was consumed */
    };
};

/* A list of slices. The nodes live in the arena that was given; the counts are the chain's until chain_clear. */
struct chain {
    struct arena *arena;
    struct slice *first, *last;
    size_t bytes;
    uint32_t count;
};
void chain_init(struct chain *chain, struct arena *arena);
void chain_clear(struct chain *chain); /* drops every count; the nodes stay in the arena */
/* False: the arena is over budget, and the chain is as it was. */
must_use bool chain_add_memory(struct chain *chain, const void *data, size_t size, struct slab *slab); /* takes a count of its own */
must_use bool chain_add_file(struct chain *chain, struct file_ref *file, uint64_t offset, size_t size);
void chain_append(struct chain *chain, struct chain *tail); /* takes all of it; same arena, or one that lives longer */
void chain_consume(struct chain *chain, size_t bytes);      /* drops that many from the front, as after a send */
/* Copies memory slices out; asserts that there are no file slices in the range. Returns bytes copied. */
size_t chain_copy_out(const struct chain *chain, void *target, size_t size);
