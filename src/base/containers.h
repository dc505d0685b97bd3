/* base/containers.h - list (intrusive, doubly linked), ring (bounded), heap (intrusive, by a 64-bit key) and
 * map (bounded, intrusive, chained by insertion order: what iterates it never depends on addresses).
 */
#pragma once
#include "base/buf.h"

/* ---- list: a node lives inside its owner; a list is a node of its own. */
struct list { struct list *next, *prev; };
#define LIST_ITEM(node, type, member) container_of((node), type, member)
#define LIST_EACH(node, head) for (struct list *node = (head)->next; node != (head); node = node->next)
/* Survives the removal of `node` itself. */
#define LIST_EACH_SAFE(node, head) \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); node = node##_next, node##_next = node->next)
static inline void list_init(struct list *list) { list->next = list->prev = list; }
static inline bool list_is_empty(const struct list *list) { return list->next == list; }
static inline void list_insert_after(struct list *at, struct list *node) {
    node->prev = at; node->next = at->next; at->next->prev = node; at->next = node;
}
static inline void list_push(struct list *list, struct list *node) { list_insert_after(list->prev, node); }
static inline void list_push_front(struct list *list, struct list *node) { list_insert_after(list, node); }
/* The node is then a list of its own: removing it again is fine, and list_is_empty says that it is in none. */
static inline void list_remove(struct list *node) {
    node->prev->next = node->next; node->next->prev = node->prev; list_init(node);
}
static inline struct list *list_pop(struct list *list) {
    if (list_is_empty(list)) return NULL;
    struct list *node = list->next;
    list_remove(node);
    return node;
}

/* ---- heap: the smallest key first; equal keys in the order of insertion. Nodes live inside their owners. */
struct heap_node { int64_t key; uint64_t order; uint32_t index; /* 0: in no heap */ };
struct heap { struct pool *pool; struct heap_node **nodes; uint32_t count, capacity; uint64_t order; };
void heap_init(struct heap *heap, struct pool *pool);
void heap_destroy(struct heap *heap);
must_use bool heap_insert(struct heap *heap, struct heap_node *node, int64_t key); /* false: over budget */
void heap_remove(struct heap *heap, struct heap_node *node);                       /* in none: fine      */
struct heap_node *heap_first(const struct heap *heap);                             /* NULL: empty        */

/* ---- map: from a key inside the item to the item. Keys are compared by the caller's function. */
struct map_node { struct map_node *chain; struct list order; uint64_t hash; };
struct map {
    struct pool *pool;
    struct map_node **buckets;
    struct list order;          /* all nodes, oldest first: the only way to iterate */
    uint32_t count, count_max;  /* count_max 0: no bound of its own */
    uint32_t bucket_count;
    bool (*is_key)(const struct map_node *node, const void *key);
};
void map_init(struct map *map, struct pool *pool, uint32_t count_max, bool (*is_key)(const struct map_node *, const void *));
void map_destroy(struct map *map); /* does not free the items: empty it first */
struct map_node *map_find(const struct map *map, uint64_t hash, const void *key);
/* False: full or over budget. The key must not be there already. */
must_use bool map_insert(struct map *map, struct map_node *node, uint64_t hash);
void map_remove(struct map *map, struct map_node *node);
#define MAP_EACH(node, map) LIST_EACH(node, &(map)->order)
#define MAP_EACH_SAFE(node, map) LIST_EACH_SAFE(node, &(map)->order)
#define MAP_ITEM(node_, type, member) container_of((node_), type, member)
/* From the `order` list node of MAP_EACH to the item. */
#define MAP_EACH_ITEM(node_, type, member) container_of((node_), type, member.order)

/* ---- ring: a bounded queue of pointers in memory that the caller gives; the capacity is a power of two. */
struct ring { void **items; uint32_t capacity, head, tail; };
void ring_init(struct ring *ring, void **items, uint32_t capacity);
static inline uint32_t ring_count(const struct ring *ring) { return ring->tail - ring->head; }
must_use bool ring_push(struct ring *ring, void *item); /* false: full  */
void *ring_pop(struct ring *ring);                      /* NULL: empty  */
