#include "meta/image.h"
#include "meta/tree.h"
#include "base/random.h"
#include "test.h"
#include <string.h>

struct number {
    _Atomic uint32_t refs;
    int32_t key, value;
};
static int compare_numbers(const void *a, const void *b) {
    const struct number *one = a, *other = b;
    return one->key < other->key ? -1 : one->key > other->key;
}
static void free_number(struct pool *pool, void *item) {
    pool_free(pool, item, sizeof(struct number));
}
static const struct tree_kind kind = {compare_numbers, free_number};

static struct number *number_new(struct pool *pool, int32_t key, int32_t value) {
    struct number *n = pool_alloc(pool, sizeof *n);
    if (!n) return NULL;
    atomic_init(&n->refs, 1);
    n->key = key;
    n->value = value;
    return n;
}

enum { KEYS = 3000 };
struct model { int32_t value[KEYS]; /* 0: not there */ };

static void check_against(const struct tree *tree, const struct model *model) {
    tree_check(tree, &kind);
    uint32_t count = 0;
    const struct number *item = tree_next(tree, &kind, NULL, false);
    struct image_walk walk;
    tree_walk_begin(&walk, tree);
    for (int32_t key = 0; key < KEYS; key++) {
        struct number wanted = {.key = key};
        const struct number *found = tree_find(tree, &kind, &wanted);
        const struct number *from = tree_next(tree, &kind, &wanted, true);
        if (!model->value[key]) {
            assert_null(found);
            assert_ptr_equal(from, item);
            continue;
        }
        count++;
        assert_non_null(found);
        assert_int_equal(found->value, model->value[key]);
        assert_ptr_equal(found, item);
        assert_ptr_equal(from, item);
        assert_ptr_equal(tree_walk_step(&walk), item);
        item = tree_next(tree, &kind, item, false);
    }
    assert_null(tree_walk_step(&walk));
    assert_null(item);
    assert_int_equal(tree->count, count);
}

struct seen { const struct model *before, *after; uint32_t changes; };
static void see_change(void *context, const void *before, const void *after) {
    struct seen *seen = context;
    const struct number *old = before, *new = after;
    int32_t key = old ? old->key : new->key;
    assert_int_equal(seen->before->value[key], old ? old->value : 0);
    assert_int_equal(seen->after->value[key], new ? new->value : 0);
    seen->changes++;
}

/* Every version keeps its content while later ones change: a random run of puts and removes beside a plain array, with
 * versions kept, compared in full, and their differences compared with those of the arrays. Nothing leaks. */
TEST(tree_versions_are_independent) {
    enum { VERSIONS = 12, ROUNDS = 400 };
    struct pool pool;
    pool_init(&pool, 0, 0);
    static struct model models[VERSIONS], now;
    memset(&now, 0, sizeof now);
    struct tree versions[VERSIONS] = {{0}}, tree = {0};
    struct random random;
    random_seed(&random, 7);
    for (int32_t round = 0; round < ROUNDS; round++) {
        bool growing = (round / 100) % 2 == 0;
        for (int i = 0; i < 60; i++) {
            int32_t key = (int32_t)random_below(&random, KEYS);
            if (random_below(&random, 10) < (growing ? 8 : 2)) {
                int32_t value = (int32_t)random_below(&random, 1 << 20) + 1;
                assert_int_equal(tree_put(&tree, &kind, &pool, number_new(&pool, key, value)), ERR_NONE);
                now.value[key] = value;
            } else {
                struct number wanted = {.key = key};
                assert_int_equal(tree_remove(&tree, &kind, &pool, &wanted), now.value[key] ? ERR_NONE : ERR_NOT_FOUND);
                now.value[key] = 0;
            }
        }
        uint32_t slot = (uint32_t)random_below(&random, VERSIONS);
        tree_drop(&versions[slot], &kind, &pool);
        versions[slot] = tree_hold(&tree);
        models[slot] = now;
        if (round % 40 == 0) {
            for (uint32_t v = 0; v < VERSIONS; v++) {
                if (!versions[v].root) continue;
                check_against(&versions[v], &models[v]);
                struct seen seen = {&models[v], &now, 0};
                tree_diff(&versions[v], &tree, &kind, see_change, &seen);
                uint32_t different = 0;
                for (int32_t key = 0; key < KEYS; key++) different += models[v].value[key] != now.value[key];
                assert_true(seen.changes >= different);
            }
        }
    }
    check_against(&tree, &now);
    for (uint32_t v = 0; v < VERSIONS; v++) tree_drop(&versions[v], &kind, &pool);
    tree_drop(&tree, &kind, &pool);
    assert_int_equal(pool.used, 0);
    pool_destroy(&pool);
}

/* Two versions that differ in one item of many share all but a path: counted in bytes, and in what a comparison visits. */
TEST(tree_shares_what_did_not_change) {
    struct pool pool;
    pool_init(&pool, 0, 0);
    struct tree tree = {0};
    for (int32_t key = 0; key < 100000; key++) assert_int_equal(tree_put(&tree, &kind, &pool, number_new(&pool, key, 1)), ERR_NONE);
    tree_check(&tree, &kind);
    size_t items = 100000 * sizeof(struct number), nodes = pool.used - items;
    assert_in_range(nodes, 100000 * 8, 100000 * 10); /* items that came in order leave full nodes */
    struct tree before = tree_hold(&tree);
    size_t used = pool.used;
    assert_int_equal(tree_put(&tree, &kind, &pool, number_new(&pool, 50000, 2)), ERR_NONE);
    assert_true(pool.used - used < 3000);
    struct number wanted = {.key = 50000};
    assert_int_equal(((const struct number *)tree_find(&before, &kind, &wanted))->value, 1);
    assert_int_equal(((const struct number *)tree_find(&tree, &kind, &wanted))->value, 2);
    tree_drop(&before, &kind, &pool);
    used = pool.used; /* now alone again: a change in place takes nothing */
    assert_int_equal(tree_put(&tree, &kind, &pool, number_new(&pool, 50001, 2)), ERR_NONE);
    assert_int_equal(pool.used, used);
    tree_drop(&tree, &kind, &pool);
    pool_destroy(&pool);
}

/* Out of memory at any allocation of a change leaves the set as it was, and lets the change succeed later: each of many
 * changes is first tried with its n-th allocation failing, for n = 1, 2, ... until it goes through. */
TEST(tree_survives_every_failed_allocation) {
    struct pool pool;
    pool_init(&pool, 0, 0);
    static struct model now, kept_model;
    memset(&now, 0, sizeof now);
    struct tree tree = {0}, kept = {0};
    struct random random;
    random_seed(&random, 11);
    for (int32_t round = 0; round < 3000; round++) {
        int32_t key = (int32_t)random_below(&random, 500);
        bool puts = random_chance(&random, 1 + (round / 500) % 2, 3);
        struct number *item = puts ? number_new(&pool, key, round + 1) : NULL;
        struct number wanted = {.key = key};
        for (uint64_t n = 1;; n++) {
            assert_true(n < 30);
            pool.fail_at = n;
            enum err err = puts ? tree_put(&tree, &kind, &pool, item) : tree_remove(&tree, &kind, &pool, &wanted);
            bool failed_one = pool.fail_at == 0;
            pool.fail_at = 0;
            if (err == ERR_NO_MEMORY) {
                assert_true(failed_one);
                tree_check(&tree, &kind);
                const struct number *found = tree_find(&tree, &kind, &wanted);
                assert_int_equal(found ? found->value : 0, now.value[key]);
                continue;
            }
            assert_int_equal(err, puts || now.value[key] ? ERR_NONE : ERR_NOT_FOUND);
            break;
        }
        now.value[key] = puts ? round + 1 : 0;
        if (round % 37 == 0) {
            if (kept.root) check_against(&kept, &kept_model);
            tree_drop(&kept, &kind, &pool);
            kept = tree_hold(&tree);
            kept_model = now;
        }
    }
    check_against(&tree, &now);
    tree_drop(&kept, &kind, &pool);
    tree_drop(&tree, &kind, &pool);
    pool_destroy(&pool);
}
