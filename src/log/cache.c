#include "log/parts.h"
#include "wire/batch.h"

/* Entries are cut from chunks of the pool and go back to a list: an append takes nothing from the heap. */
struct pool_block {
    struct pool_block *next;
    struct tail_entry entries[];
};
enum { BLOCK_ENTRIES = (POOL_CHUNK_BYTES - sizeof(struct pool_block)) / sizeof(struct tail_entry) };
static_assert(BLOCK_ENTRIES >= 16, "a chunk is worth it");

struct tail_entry *tail_entry_new(struct log_store *store) {
    if (!store->free_entries) {
        struct pool_block *block = pool_alloc(store->shard->pool, POOL_CHUNK_BYTES);
        if (!block) return NULL;
        block->next = store->blocks;
        store->blocks = block;
        for (uint32_t i = 0; i < BLOCK_ENTRIES; i++) {
            list_init(&block->entries[i].node);
            tail_entry_free(store, &block->entries[i]);
        }
    }
    struct list *first = (struct list *)(void *)store->free_entries;
    struct tail_entry *entry = LIST_ITEM(first, struct tail_entry, node);
    store->free_entries = first->next ? LIST_ITEM(first->next, struct tail_entry, node) : NULL;
    *entry = (struct tail_entry){0};
    list_init(&entry->node);
    list_init(&entry->age);
    return entry;
}

static_assert(offsetof(struct tail_entry, node) == 0, "the list of free entries goes through their nodes");

void tail_entry_free(struct log_store *store, struct tail_entry *entry) {
    entry->node.next = store->free_entries ? &store->free_entries->node : NULL;
    store->free_entries = entry;
}

void tail_free_all(struct log_store *store) {
    while (store->blocks) {
        struct pool_block *block = store->blocks;
        store->blocks = block->next;
        pool_free(store->shard->pool, block, POOL_CHUNK_BYTES);
    }
    store->free_entries = NULL;
}

/* A slab that several appends share is counted once, with the one that will go last. */
void tail_add(struct log *log, struct tail_entry *entry) {
    struct log_body *body = log->body;
    struct tail_entry *before = list_is_empty(&body->tail) ? NULL : LIST_ITEM(body->tail.prev, struct tail_entry, node);
    entry->log = log;
    slab_hold(entry->slab);
    entry->charge = (uint32_t)sizeof *entry->slab + entry->slab->capacity;
    if (before && before->slab == entry->slab) {
        log->store->metrics.tail_bytes -= before->charge;
        before->charge = 0;
    }
    log->store->metrics.tail_bytes += entry->charge;
    list_push(&body->tail, &entry->node);
    if (body->unwritten == &body->tail) body->unwritten = &entry->node;
    body->tail_count++;
    body->queued++;
}

void tail_written(struct tail_entry *entry) {
    assert(!entry->written);
    entry->written = true;
    entry->log->body->queued--;
    list_push(&entry->log->store->tail_ages, &entry->age);
}

static void drop(struct tail_entry *entry) {
    struct log *log = entry->log;
    struct log_store *store = log->store;
    if (log->body->unwritten == &entry->node) log->body->unwritten = entry->node.next;
    if (!entry->written) log->body->queued--;
    log->body->tail_count--;
    store->metrics.tail_bytes -= entry->charge;
    list_remove(&entry->node);
    list_remove(&entry->age);
    slab_drop(entry->slab);
    tail_entry_free(store, entry);
}

void tail_drop_first(struct log *log) {
    struct tail_entry *entry = LIST_ITEM(log->body->tail.next, struct tail_entry, node);
    assert(entry->written);
    drop(entry);
}

void tail_clear(struct log *log) {
    while (!list_is_empty(&log->body->tail)) drop(LIST_ITEM(log->body->tail.next, struct tail_entry, node));
    log->body->unwritten = &log->body->tail;
}

void tail_trim(struct log *log) {
    struct log_store *store = log->store;
    while (log->body->tail_count - log->body->queued > TAIL_ENTRIES_MAX) tail_drop_first(log);
    while (store->metrics.tail_bytes > store->options.tail_bytes_max && !list_is_empty(&store->tail_ages))
        drop(LIST_ITEM(store->tail_ages.next, struct tail_entry, age));
}

/* ---- Reading. */

/* From which byte on the entry has batches that end at or behind `from`, and up to which they end below `bound`, at most
 * `room` bytes (the first one in any case when `always`). */
struct part { uint32_t begin, end; log_offset first; bool cut, has_more; };

static struct part part_of(const struct tail_entry *entry, log_offset from, log_offset bound, uint64_t room, bool always) {
    struct part part = {.begin = UINT32_MAX, .first = -1};
    if (entry->base >= from && entry->last < bound && entry->size <= room) return (struct part){.end = entry->size, .first = entry->base};
    for (uint32_t at = 0; at < entry->size;) {
        struct batch batch;
        /* These bytes were parsed when they were appended. */
        if (batch_header_parse(span_of(entry->data + at, entry->size - at), &batch)) never("what was appended parses");
        if (batch_last_offset(&batch) >= bound) break;
        if (batch_last_offset(&batch) >= from) {
            if (part.begin == UINT32_MAX) { part.begin = part.end = at; part.first = batch.base_offset; }
            if (at + batch.size - part.begin > room && !(always && part.end == part.begin)) {
                part.cut = part.end == part.begin;
                part.has_more = true;
                break;
            }
            part.end = at + batch.size;
        }
        at += batch.size;
    }
    if (part.begin == UINT32_MAX) part.begin = part.end = 0;
    return part;
}

bool tail_read(struct log_read *read, log_offset bound, enum err *err) {
    struct log_body *body = read->log->body;
    struct list *at = body->tail.prev;
    if (list_is_empty(&body->tail) || LIST_ITEM(body->tail.next, struct tail_entry, node)->base > read->from) return false;
    const struct tail_entry *oldest = LIST_ITEM(body->tail.next, struct tail_entry, node), *newest = LIST_ITEM(at, struct tail_entry, node);
    if (read->from - oldest->base < newest->last - read->from) { /* from the nearer end */
        for (at = body->tail.next; at->next != &body->tail && LIST_ITEM(at, struct tail_entry, node)->last < read->from;) at = at->next;
    } else {
        while (at->prev != &body->tail && LIST_ITEM(at, struct tail_entry, node)->base > read->from) at = at->prev;
    }
    if (LIST_ITEM(at, struct tail_entry, node)->last < read->from) at = at->next; /* in a gap: the next one */
    *err = ERR_NONE;
    const struct segment *segment = LIST_ITEM(at, struct tail_entry, node)->segment;
    for (; at != &body->tail; at = at->next) {
        struct tail_entry *entry = LIST_ITEM(at, struct tail_entry, node);
        if (entry->base >= bound || entry->segment != segment) break; /* one segment's, like what comes from files */
        bool first = read->bytes == 0;
        uint64_t room = read->bytes_max > read->bytes ? read->bytes_max - read->bytes : 0;
        struct part part = part_of(entry, read->from, bound, room, first && read->min_one);
        if (first) {
            read->position = (struct log_position){part.first < 0 ? read->from : part.first, entry->segment->base, (int64_t)(entry->position + part.begin)};
            read->cut = part.cut;
        }
        read->has_more = part.has_more;
        if (part.end == part.begin) break;
        if (!chain_add_memory(read->out, entry->data + part.begin, part.end - part.begin, entry->slab)) {
            if (first) *err = ERR_NO_MEMORY;
            break;
        }
        read->bytes += part.end - part.begin;
        if (part.end < entry->size || read->bytes >= read->bytes_max) break;
    }
    read->log->store->metrics.reads_memory++;
    return true;
}
