#include "base/containers.h"
#include <string.h>

/* ---- heap: nodes[0] is not used, so that an index of 0 can mean "in no heap". */
void heap_init(struct heap *heap, struct pool *pool) {
    *heap = (struct heap){.pool = pool};
}

void heap_destroy(struct heap *heap) {
    pool_free(heap->pool, heap->nodes, heap->capacity * sizeof *heap->nodes);
    heap_init(heap, heap->pool);
}

static bool before(const struct heap_node *a, const struct heap_node *b) {
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

static void put(struct heap *heap, uint32_t at, struct heap_node *node) {
    heap->nodes[at] = node;
    node->index = at;
}

static void sift_up(struct heap *heap, uint32_t at, struct heap_node *node) {
    for (; at > 1 && before(node, heap->nodes[at / 2]); at /= 2) put(heap, at, heap->nodes[at / 2]);
    put(heap, at, node);
}

static void sift_down(struct heap *heap, uint32_t at, struct heap_node *node) {
    for (;;) {
        uint32_t child = at * 2;
        if (child > heap->count) break;
        if (child < heap->count && before(heap->nodes[child + 1], heap->nodes[child])) child++;
        if (!before(heap->nodes[child], node)) break;
        put(heap, at, heap->nodes[child]);
        at = child;
    }
    put(heap, at, node);
}

bool heap_insert(struct heap *heap, struct heap_node *node, int64_t key) {
    assert(node->index == 0);
    if (heap->count + 2 > heap->capacity) {
        uint32_t capacity = heap->capacity ? heap->capacity * 2 : 16;
        struct heap_node **nodes = pool_realloc(heap->pool, heap->nodes, heap->capacity * sizeof *nodes, capacity * sizeof *nodes);
        if (!nodes) return false;
        heap->nodes = nodes;
        heap->capacity = capacity;
    }
    node->key = key;
    node->order = heap->order++;
    sift_up(heap, ++heap->count, node);
    return true;
}

void heap_remove(struct heap *heap, struct heap_node *node) {
    uint32_t at = node->index;
    if (at == 0) return;
    assert(at <= heap->count && heap->nodes[at] == node);
    struct heap_node *last = heap->nodes[heap->count--];
    node->index = 0;
    if (last == node) return;
    if (at > 1 && before(last, heap->nodes[at / 2])) sift_up(heap, at, last);
    else sift_down(heap, at, last);
}

struct heap_node *heap_first(const struct heap *heap) {
    return heap->count ? heap->nodes[1] : NULL;
}

/* ---- map */
void map_init(struct map *map, struct pool *pool, uint32_t count_max, bool (*is_key)(const struct map_node *, const void *)) {
    *map = (struct map){.pool = pool, .count_max = count_max, .is_key = is_key};
    list_init(&map->order);
}

void map_destroy(struct map *map) {
    assert(map->count == 0);
    pool_free(map->pool, map->buckets, map->bucket_count * sizeof *map->buckets);
    map->buckets = NULL;
    map->bucket_count = 0;
}

struct map_node *map_find(const struct map *map, uint64_t hash, const void *key) {
    if (!map->bucket_count) return NULL;
    for (struct map_node *node = map->buckets[hash & (map->bucket_count - 1)]; node; node = node->chain)
        if (node->hash == hash && map->is_key(node, key)) return node;
    return NULL;
}

static bool grow(struct map *map) {
    uint32_t count = map->bucket_count ? map->bucket_count * 2 : 16;
    struct map_node **buckets = pool_zero_alloc(map->pool, count * sizeof *buckets);
    if (!buckets) return map->bucket_count > 0; /* longer chains are no failure */
    LIST_EACH(item, &map->order) {
        struct map_node *node = container_of(item, struct map_node, order);
        struct map_node **bucket = &buckets[node->hash & (count - 1)];
        node->chain = *bucket;
        *bucket = node;
    }
    pool_free(map->pool, map->buckets, map->bucket_count * sizeof *map->buckets);
    map->buckets = buckets;
    map->bucket_count = count;
    return true;
}

bool map_insert(struct map *map, struct map_node *node, uint64_t hash) {
    if (map->count_max && map->count >= map->count_max) return false;
    if (map->count >= map->bucket_count && !grow(map)) return false;
    struct map_node **bucket = &map->buckets[hash & (map->bucket_count - 1)];
    node->hash = hash;
    node->chain = *bucket;
    *bucket = node;
    list_push(&map->order, &node->order);
    map->count++;
    return true;
}

void map_remove(struct map *map, struct map_node *node) {
    struct map_node **at = &map->buckets[node->hash & (map->bucket_count - 1)];
    while (*at != node) {
        assert(*at);
        at = &(*at)->chain;
    }
    *at = node->chain;
    list_remove(&node->order);
    map->count--;
}

/* ---- ring */
void ring_init(struct ring *ring, void **items, uint32_t capacity) {
    assert(capacity && (capacity & (capacity - 1)) == 0);
    *ring = (struct ring){.items = items, .capacity = capacity};
}

bool ring_push(struct ring *ring, void *item) {
    if (ring_count(ring) == ring->capacity) return false;
    ring->items[ring->tail++ & (ring->capacity - 1)] = item;
    return true;
}

void *ring_pop(struct ring *ring) {
    if (ring->head == ring->tail) return NULL;
    return ring->items[ring->head++ & (ring->capacity - 1)];
}
