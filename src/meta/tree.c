#include "meta/tree.h"
#include "meta/image.h"
#include <string.h>

/* ---- nodes */

static size_t node_bytes(uint8_t level, uint32_t capacity) {
    return sizeof(struct image_node) + (level ? 2 : 1) * (size_t)capacity * sizeof(void *);
}
static struct image_node *child_at(const struct image_node *node, uint32_t i) {
    return node->slots[i];
}
static void **firsts(struct image_node *node) {
    return node->slots + node->capacity;
}
static const void *first_item(const struct image_node *node) {
    return node->level ? node->slots[node->capacity] : node->slots[0];
}
static bool is_unique(const struct image_node *node) {
    return atomic_load_explicit(&node->refs, memory_order_acquire) == 1;
}

static struct image_node *node_new(struct pool *pool, uint8_t level, uint32_t capacity) {
    capacity = (capacity + 3) & ~3u;
    if (capacity > TREE_FANOUT) capacity = TREE_FANOUT;
    struct image_node *node = pool_alloc(pool, node_bytes(level, capacity));
    if (!node) return NULL;
    atomic_init(&node->refs, 1);
    node->count = 0;
    node->capacity = (uint16_t)capacity;
    node->level = level;
    return node;
}

static void node_free(struct pool *pool, struct image_node *node) {
    pool_free_remote(pool, node, node_bytes(node->level, node->capacity));
}

static void node_drop(struct image_node *node, const struct tree_kind *kind, struct pool *pool) {
    if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->level) node_drop(child_at(node, i), kind, pool);
        else item_drop(node->slots[i], kind, pool);
    }
    node_free(pool, node);
}

/* Moves entries [from, from + count) of source to the end of target: the counts go with them. */
static void move_entries(struct image_node *target, struct image_node *source, uint32_t from, uint32_t count) {
    assert(target->count + count <= target->capacity && target->level == source->level);
    memcpy(target->slots + target->count, source->slots + from, count * sizeof(void *));
    if (target->level) memcpy(firsts(target) + target->count, firsts(source) + from, count * sizeof(void *));
    target->count = (uint16_t)(target->count + count);
}

static void insert_entry(struct image_node *node, uint32_t at, void *slot, const void *first) {
    assert(node->count < node->capacity && at <= node->count);
    memmove(node->slots + at + 1, node->slots + at, (node->count - at) * sizeof(void *));
    node->slots[at] = slot;
    if (node->level) {
        void **first_of = firsts(node);
        memmove(first_of + at + 1, first_of + at, (node->count - at) * sizeof(void *));
        first_of[at] = (void *)(uintptr_t)first;
    }
    node->count++;
}

static void remove_entry(struct image_node *node, uint32_t at) {
    node->count--;
    memmove(node->slots + at, node->slots + at + 1, (node->count - at) * sizeof(void *));
    if (node->level) memmove(firsts(node) + at, firsts(node) + at + 1, (node->count - at) * sizeof(void *));
}

/* Makes *link a node that only this tree reaches, with room for `room` more entries. */
static bool own(struct image_node **link, uint32_t room, const struct tree_kind *kind, struct pool *pool) {
    struct image_node *node = *link;
    if (is_unique(node) && node->count + room <= node->capacity) return true;
    struct image_node *copy = node_new(pool, node->level, node->count + room);
    if (!copy) return false;
    move_entries(copy, node, 0, node->count);
    if (is_unique(node)) {
        node_free(pool, node); /* its counts went over */
    } else {
        for (uint32_t i = 0; i < copy->count; i++) {
            struct tree_item *shared = copy->slots[i]; /* nodes and items both begin with their count */
            atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
        }
        node_drop(node, kind, pool);
    }
    *link = copy;
    return true;
}
static_assert(offsetof(struct image_node, refs) == offsetof(struct tree_item, refs), "counted alike");

/* ---- finding */

/* The last entry whose first item is not after `key`; 0 when all are. */
static uint32_t descend_at(const struct image_node *node, const struct tree_kind *kind, const void *key) {
    uint32_t low = 0, high = node->count; /* entries before low are not after the key */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (kind->compare(node->slots[node->capacity + middle], key) <= 0) low = middle + 1;
        else high = middle;
    }
    return low ? low - 1 : 0;
}

/* The first item of a leaf that is not before `key`. */
static uint32_t leaf_at(const struct image_node *leaf, const struct tree_kind *kind, const void *key, bool *found) {
    uint32_t low = 0, high = leaf->count;
    *found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = kind->compare(leaf->slots[middle], key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

const void *tree_find(const struct tree *tree, const struct tree_kind *kind, const void *key) {
    const struct image_node *node = tree->root;
    if (!node) return NULL;
    while (node->level) node = child_at(node, descend_at(node, kind, key));
    bool found;
    uint32_t at = leaf_at(node, kind, key, &found);
    return found ? node->slots[at] : NULL;
}

const void *tree_next(const struct tree *tree, const struct tree_kind *kind, const void *key, bool inclusive) {
    const struct image_node *node = tree->root, *right = NULL; /* the nearest subtree to the right of the path */
    if (!node) return NULL;
    if (!key) return first_item(node);
    while (node->level) {
        uint32_t at = descend_at(node, kind, key);
        if (at + 1u < node->count) right = child_at(node, at + 1);
        node = child_at(node, at);
    }
    bool found;
    uint32_t at = leaf_at(node, kind, key, &found);
    if (found && !inclusive) at++;
    if (at < node->count) return node->slots[at];
    return right ? first_item(right) : NULL;
}

/* ---- changing. A path notes which entry was taken in each inner node, from the root down. */

struct path {
    struct image_node *nodes[TREE_DEPTH_MAX];
    uint32_t at[TREE_DEPTH_MAX];
    uint32_t depth; /* of inner nodes */
};

/* What each inner node says about the first item below an entry, after the leaf or a child changed. */
static void refresh_firsts(struct path *path) {
    for (uint32_t d = path->depth; d-- > 0;) {
        struct image_node *node = path->nodes[d];
        firsts(node)[path->at[d]] = (void *)(uintptr_t)first_item(child_at(node, path->at[d]));
    }
}

/* Splits the full child at `at` of `parent`, which has room. At the right edge of the tree nearly all stays on the left,
 * so that items that come in order leave full nodes behind. */
static bool split(struct image_node *parent, uint32_t at, bool at_the_end, struct pool *pool) {
    struct image_node *left = child_at(parent, at);
    uint32_t keep = at_the_end ? left->count - 1u : left->count / 2u;
    struct image_node *right = node_new(pool, left->level, left->count - keep);
    if (!right) return false;
    move_entries(right, left, keep, left->count - keep);
    left->count = (uint16_t)keep;
    insert_entry(parent, at + 1, right, first_item(right));
    return true;
}

/* Walks down to the leaf for `key`, making each node on the way unique, and with room when `room`. */
static struct image_node **own_path(struct tree *tree, const struct tree_kind *kind, struct pool *pool, const void *key,
                                    bool room, struct path *path) {
    path->depth = 0;
    if (!own(&tree->root, room && tree->root->count < TREE_FANOUT, kind, pool)) return NULL;
    if (room && tree->root->count == TREE_FANOUT) {
        struct image_node *top = node_new(pool, (uint8_t)(tree->root->level + 1), 2);
        if (!top) return NULL;
        assert(top->level < TREE_DEPTH_MAX);
        insert_entry(top, 0, tree->root, first_item(tree->root));
        tree->root = top; /* a root of one child: still the same set, if the split fails */
    }
    struct image_node **link = &tree->root;
    bool at_the_end = true;
    while ((*link)->level) {
        struct image_node *node = *link;
        uint32_t at = descend_at(node, kind, key);
        bool last = at_the_end && at + 1u == node->count;
        struct image_node **down = (struct image_node **)&node->slots[at];
        if (!own(down, room && (*down)->count < TREE_FANOUT, kind, pool)) return NULL;
        firsts(node)[at] = (void *)(uintptr_t)first_item(*down);
        if (room && (*down)->count == TREE_FANOUT) {
            bool appends = last && (*down)->level == 0 && kind->compare((*down)->slots[(*down)->count - 1], key) < 0;
            if (!split(node, at, appends || (last && (*down)->level > 0), pool)) return NULL;
            continue; /* the same node again: the key may belong to the new half, which needs room of its own */
        }
        at_the_end = last;
        path->nodes[path->depth] = node;
        path->at[path->depth++] = at;
        link = down;
    }
    return link;
}

enum err tree_put(struct tree *tree, const struct tree_kind *kind, struct pool *pool, void *item) {
    if (!tree->root) {
        struct image_node *leaf = node_new(pool, 0, 1);
        if (!leaf) return ERR_NO_MEMORY;
        insert_entry(leaf, 0, item, NULL);
        tree->root = leaf;
        tree->count = 1;
        return ERR_NONE;
    }
    struct path path;
    struct image_node **link = own_path(tree, kind, pool, item, true, &path);
    if (!link) return ERR_NO_MEMORY;
    bool found;
    uint32_t at = leaf_at(*link, kind, item, &found);
    void *old = NULL;
    if (found) {
        old = (*link)->slots[at];
        (*link)->slots[at] = item;
    } else {
        insert_entry(*link, at, item, NULL);
        tree->count++;
    }
    if (at == 0) refresh_firsts(&path);
    if (old) item_drop(old, kind, pool); /* after nothing points to it any more */
    return ERR_NONE;
}

enum err tree_own(struct tree *tree, const struct tree_kind *kind, struct pool *pool, const void *key, void **item) {
    const struct image_node *node = tree->root;
    bool is_own = true, found;
    *item = NULL;
    if (!node) return ERR_NONE;
    for (is_own = is_unique(node); node->level; is_own = is_own && is_unique(node)) node = child_at(node, descend_at(node, kind, key));
    uint32_t at = leaf_at(node, kind, key, &found);
    if (!found) return ERR_NONE;
    if (is_own) {
        *item = node->slots[at];
        return ERR_NONE;
    }
    struct path path;
    struct image_node **link = own_path(tree, kind, pool, key, false, &path);
    if (!link) return ERR_NO_MEMORY;
    *item = (*link)->slots[leaf_at(*link, kind, key, &found)];
    assert(found);
    return ERR_NONE;
}

/* Joins two thin neighbours into one. Optional: without memory they stay thin. */
static void merge(struct image_node *parent, uint32_t at, const struct tree_kind *kind, struct pool *pool) {
    if (at + 1u >= parent->count) {
        if (at == 0) return;
        at--;
    }
    struct image_node *left = child_at(parent, at), *right = child_at(parent, at + 1);
    uint32_t together = left->count + (uint32_t)right->count;
    if (together > TREE_FANOUT / 2) return;
    if (!own((struct image_node **)&parent->slots[at], right->count, kind, pool)) return;
    if (!own((struct image_node **)&parent->slots[at + 1], 0, kind, pool)) return;
    left = child_at(parent, at);
    right = child_at(parent, at + 1);
    move_entries(left, right, 0, right->count);
    node_free(pool, right);
    remove_entry(parent, at + 1);
}

enum err tree_remove(struct tree *tree, const struct tree_kind *kind, struct pool *pool, const void *key) {
    if (!tree_find(tree, kind, key)) return ERR_NOT_FOUND;
    struct path path;
    struct image_node **link = own_path(tree, kind, pool, key, false, &path);
    if (!link) return ERR_NO_MEMORY;
    bool found;
    uint32_t at = leaf_at(*link, kind, key, &found);
    assert(found);
    void *old = (*link)->slots[at];
    remove_entry(*link, at);
    tree->count--;
    /* Empty nodes go, up to the first that has something left; then thin neighbours of what is left are joined. */
    struct image_node *node = *link;
    while (node->count == 0 && path.depth > 0) {
        path.depth--;
        remove_entry(path.nodes[path.depth], path.at[path.depth]);
        node_free(pool, node);
        node = path.nodes[path.depth];
    }
    refresh_firsts(&path);
    for (uint32_t d = path.depth; d-- > 0;) merge(path.nodes[d], path.at[d], kind, pool);
    if (tree->root->count == 0) {
        node_free(pool, tree->root);
        tree->root = NULL;
    }
    while (tree->root && tree->root->level && tree->root->count == 1) {
        struct image_node *top = tree->root;
        if (is_unique(top)) {
            tree->root = child_at(top, 0);
            node_free(pool, top);
        } else {
            tree->root = item_hold(child_at(top, 0));
            node_drop(top, kind, pool);
        }
    }
    item_drop(old, kind, pool);
    return ERR_NONE;
}

struct tree tree_hold(const struct tree *tree) {
    if (tree->root) atomic_fetch_add_explicit(&tree->root->refs, 1, memory_order_relaxed);
    return *tree;
}

void tree_drop(struct tree *tree, const struct tree_kind *kind, struct pool *pool) {
    node_drop(tree->root, kind, pool);
    *tree = (struct tree){0};
}

/* ---- comparing two versions: two walks side by side */

static_assert(countof(((struct image_walk *)0)->nodes) == TREE_DEPTH_MAX, "a walk reaches every leaf");

static void walk_down(struct image_walk *walk, const struct image_node *node) {
    for (;;) {
        walk->nodes[walk->depth] = node;
        walk->at[walk->depth++] = 0;
        if (node->level == 0) return;
        node = child_at(node, 0);
    }
}
/* Past the whole subtree of the node that stands at `depth` of the path. */
static void walk_past(struct image_walk *walk, uint32_t depth) {
    walk->depth = depth;
    while (walk->depth > 0) {
        uint32_t d = walk->depth - 1;
        if (++walk->at[d] < walk->nodes[d]->count) {
            if (walk->nodes[d]->level) walk_down(walk, child_at(walk->nodes[d], walk->at[d]));
            return;
        }
        walk->depth--;
    }
}
static const void *walk_item(const struct image_walk *walk) {
    return walk->depth ? walk->nodes[walk->depth - 1]->slots[walk->at[walk->depth - 1]] : NULL;
}
/* The depth of the highest node that the walk stands at the very beginning of; `depth` itself when not even the leaf. */
static uint32_t walk_fresh(const struct image_walk *walk) {
    uint32_t d = walk->depth;
    while (d > 0 && walk->at[d - 1] == 0) d--;
    return d;
}

void tree_walk_begin(struct image_walk *walk, const struct tree *tree) {
    walk->depth = 0;
    if (tree->root) walk_down(walk, tree->root);
}

const void *tree_walk_step(struct image_walk *walk) {
    const void *item = walk_item(walk);
    if (item) walk_past(walk, walk->depth);
    return item;
}

void tree_diff(const struct tree *before, const struct tree *after, const struct tree_kind *kind,
               void (*change)(void *context, const void *before, const void *after), void *context) {
    if (before->root == after->root) return;
    struct image_walk a = {.depth = 0}, b = {.depth = 0};
    if (before->root) walk_down(&a, before->root);
    if (after->root) walk_down(&b, after->root);
    while (a.depth || b.depth) {
        const void *old = walk_item(&a), *new = walk_item(&b);
        if (old && old == new) {
            uint32_t from_a = a.depth, from_b = b.depth; /* past this item alone, or past the largest common node */
            for (uint32_t i = walk_fresh(&a); i < a.depth && from_a == a.depth; i++)
                for (uint32_t j = walk_fresh(&b); j < b.depth; j++)
                    if (a.nodes[i] == b.nodes[j]) {
                        from_a = i;
                        from_b = j;
                        break;
                    }
            walk_past(&a, from_a);
            walk_past(&b, from_b);
            continue;
        }
        int order = !old ? 1 : !new ? -1 : kind->compare(old, new);
        change(context, order <= 0 ? old : NULL, order >= 0 ? new : NULL);
        if (order <= 0) walk_past(&a, a.depth);
        if (order >= 0) walk_past(&b, b.depth);
    }
}

/* ---- what always holds */

static uint32_t check_node(const struct image_node *node, const struct tree_kind *kind, const void **last) {
    uint32_t items = 0;
    assert(node->count > 0 && node->count <= node->capacity && node->capacity <= TREE_FANOUT);
    assert(atomic_load(&node->refs) > 0);
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->level) {
            assert(child_at(node, i)->level + 1 == node->level);
            assert(node->slots[node->capacity + i] == first_item(child_at(node, i)));
            items += check_node(child_at(node, i), kind, last);
        } else {
            assert(!*last || kind->compare(*last, node->slots[i]) < 0);
            *last = node->slots[i];
            items++;
        }
    }
    return items;
}

void tree_check(const struct tree *tree, const struct tree_kind *kind) {
    const void *last = NULL;
    assert((tree->root ? check_node(tree->root, kind, &last) : 0) == tree->count);
}
