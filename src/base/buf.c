#include "base/buf.h"
#include <string.h>

struct span span_text(const char *text) {
    return text ? span_of(text, strlen(text)) : span_of(NULL, 0);
}

bool span_equal(struct span a, struct span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int span_compare(struct span a, struct span b) {
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

struct slab *slab_new(struct pool *pool, uint32_t capacity) {
    struct slab *slab = pool_alloc(pool, sizeof *slab + capacity);
    if (!slab) return NULL;
    atomic_init(&slab->refs, 1);
    slab->capacity = capacity;
    slab->used = 0;
    slab->pool = pool;
    return slab;
}

struct slab *slab_hold(struct slab *slab) {
    uint32_t before = atomic_fetch_add_explicit(&slab->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return slab;
}

void slab_drop(struct slab *slab) {
    if (!slab) return;
    uint32_t before = atomic_fetch_sub_explicit(&slab->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) pool_free_remote(slab->pool, slab, sizeof *slab + slab->capacity);
}

struct file_ref *file_ref_hold(struct file_ref *file) {
    uint32_t before = atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return file;
}

void file_ref_drop(struct file_ref *file) {
    if (!file) return;
    uint32_t before = atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) file->release(file);
}

void chain_init(struct chain *chain, struct arena *arena) {
    *chain = (struct chain){.arena = arena};
}

static void slice_drop(struct slice *slice) {
    if (slice->kind == SLICE_FILE) file_ref_drop(slice->file.file);
    else slab_drop(slice->memory.slab);
}

void chain_clear(struct chain *chain) {
    for (struct slice *slice = chain->first; slice; slice = slice->next) slice_drop(slice);
    chain_init(chain, chain->arena);
}

static struct slice *add(struct chain *chain, size_t size) {
    struct slice *slice = ARENA_NEW(chain->arena, struct slice);
    if (!slice) return NULL;
    slice->size = size;
    if (chain->last) chain->last->next = slice;
    else chain->first = slice;
    chain->last = slice;
    chain->bytes += size;
    chain->count++;
    return slice;
}

bool chain_add_memory(struct chain *chain, const void *data, size_t size, struct slab *slab) {
    if (size == 0) return true;
    struct slice *slice = add(chain, size);
    if (!slice) return false;
    slice->kind = SLICE_MEMORY;
    slice->memory.data = data;
    slice->memory.slab = slab ? slab_hold(slab) : NULL;
    return true;
}

bool chain_add_file(struct chain *chain, struct file_ref *file, uint64_t offset, size_t size) {
    if (size == 0) return true;
    struct slice *slice = add(chain, size);
    if (!slice) return false;
    slice->kind = SLICE_FILE;
    slice->file.file = file_ref_hold(file);
    slice->file.offset = slice->file.begin = offset;
    return true;
}

void chain_append(struct chain *chain, struct chain *tail) {
    if (!tail->first) return;
    if (chain->last) chain->last->next = tail->first;
    else chain->first = tail->first;
    chain->last = tail->last;
    chain->bytes += tail->bytes;
    chain->count += tail->count;
    chain_init(tail, tail->arena);
}

void chain_consume(struct chain *chain, size_t bytes) {
    assert(bytes <= chain->bytes);
    chain->bytes -= bytes;
    while (bytes > 0) {
        struct slice *slice = chain->first;
        if (bytes < slice->size) {
            slice->size -= bytes;
            if (slice->kind == SLICE_FILE) slice->file.offset += bytes;
            else slice->memory.data += bytes;
            return;
        }
        bytes -= slice->size;
        chain->first = slice->next;
        if (!chain->first) chain->last = NULL;
        chain->count--;
        slice_drop(slice);
    }
}

size_t chain_copy_out(const struct chain *chain, void *target, size_t size) {
    size_t done = 0;
    for (struct slice *slice = chain->first; slice && done < size; slice = slice->next) {
        assert(slice->kind == SLICE_MEMORY);
        size_t part = slice->size < size - done ? slice->size : size - done;
        memcpy((uint8_t *)target + done, slice->memory.data, part);
        done += part;
    }
    return done;
}
