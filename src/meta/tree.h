/* meta/tree.h - a sorted set of counted items of which every version can be kept: a B+ tree whose nodes are counted.
 *
 * A change copies the nodes on its path that somebody else holds too; a node that only this tree reaches is changed in
 * place. Items begin with their atomic count and are never changed once they are in a tree that is shared.
 * Each step of a change leaves the same set behind until the last one, which cannot fail: being out of memory half-way
 * leaves the set as it was.
 * Always: all leaves are at the same depth; no node but an absent root is empty; items are in order.
 */
#pragma once
#include "base/err.h"
#include "base/pool.h"

enum { TREE_FANOUT = 32, TREE_DEPTH_MAX = 12 };

struct image_node {
    _Atomic uint32_t refs;
    uint16_t count, capacity;
    uint8_t level;     /* 0: slots are items. Else: children, and then, after `capacity` of them, the first item below each */
    void *slots[];
};

struct tree_item { _Atomic uint32_t refs; }; /* what every item begins with */

struct tree_kind {
    int (*compare)(const void *a, const void *b);         /* by their keys */
    void (*free)(struct pool *pool, void *item);          /* nobody holds it any more */
};

struct tree {
    struct image_node *root; /* shares; NULL: empty */
    uint32_t count;
};

const void *tree_find(const struct tree *tree, const struct tree_kind *kind, const void *key);
/* The first item after `key`, or at it when `inclusive`; key NULL: the first of all. */
const void *tree_next(const struct tree *tree, const struct tree_kind *kind, const void *key, bool inclusive);
/* Over all of them in order, as long as the tree stays. */
struct image_walk;
void tree_walk_begin(struct image_walk *walk, const struct tree *tree);
const void *tree_walk_step(struct image_walk *walk);
/* Takes the item over, count and all, and drops one that has the same key. On ERR_NO_MEMORY the caller keeps it. */
must_use enum err tree_put(struct tree *tree, const struct tree_kind *kind, struct pool *pool, void *item);
/* ERR_NOT_FOUND: the key is not there. */
must_use enum err tree_remove(struct tree *tree, const struct tree_kind *kind, struct pool *pool, const void *key);
/* The item for a change in place, its path made unique; NULL: not there, or (error) over budget. The item itself may
 * still be shared: check its count. */
must_use enum err tree_own(struct tree *tree, const struct tree_kind *kind, struct pool *pool, const void *key, void **item);

struct tree tree_hold(const struct tree *tree);
void tree_drop(struct tree *tree, const struct tree_kind *kind, struct pool *pool); /* leaves it empty */

/* Calls `change` for each key whose item is another one in `after`: before NULL is new, after NULL is gone. Parts that
 * both share are skipped as a whole. */
void tree_diff(const struct tree *before, const struct tree *after, const struct tree_kind *kind,
               void (*change)(void *context, const void *before, const void *after), void *context);

void tree_check(const struct tree *tree, const struct tree_kind *kind);

static inline void *item_hold(const void *item) {
    struct tree_item *mine = (struct tree_item *)(uintptr_t)item;
    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}
static inline void item_drop(void *item, const struct tree_kind *kind, struct pool *pool) {
    struct tree_item *mine = item;
    if (item && atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) == 1) kind->free(pool, item);
}
static inline bool item_is_unique(const void *item) {
    return atomic_load_explicit(&((const struct tree_item *)item)->refs, memory_order_acquire) == 1;
}
