#include "base/bytes.h"
#include "base/containers.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

/* The checksums are the ones that the rest of the world computes: the check values of their catalogues. */
TEST(checksums_match_their_catalogue) {
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32_zip(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

/* Varints round-trip at every length, and what is cut short, too long or too large is refused. */
TEST(varints_round_trip_and_refuse) {
    uint8_t bytes[VARINT64_BYTES_MAX];
    for (int bit = 0; bit < 64; bit++) {
        uint64_t value = UINT64_C(1) << bit, back;
        size_t size = uvarint64_store(bytes, value);
        assert_int_equal(size, uvarint_bytes(value));
        assert_int_equal(uvarint64_load(bytes, bytes + size, &back), size);
        assert_true(back == value);
        assert_int_equal(uvarint64_load(bytes, bytes + size - 1, &back), 0);
        assert_true(unzigzag64(zigzag64((int64_t)value)) == (int64_t)value);
    }
    uint32_t small;
    const uint8_t too_large[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    assert_int_equal(uvarint32_load(too_large, too_large + 5, &small), 0);
    const uint8_t too_long[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    assert_int_equal(uvarint32_load(too_long, too_long + 6, &small), 0);
}

/* A pool gives no more than its limit, and an arena passes that on and gives everything back. */
TEST(pool_and_arena_keep_to_their_budget) {
    struct pool pool;
    struct arena arena;
    pool_init(&pool, KIB(64), 4);
    arena_init(&arena, &pool, 0);
    size_t got = 0;
    while (arena_alloc(&arena, 1000)) got++;
    assert_true(got >= 56 && got <= 64);
    assert_null(arena_array(&arena, SIZE_MAX / 2, 4));
    arena_reset(&arena);
    assert_int_equal(atomic_load(&pool.used), POOL_CHUNK_BYTES);
    assert_non_null(arena_alloc(&arena, 40000));
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* A chain holds its slabs until the last slice that points into them is consumed. */
TEST(chain_counts_what_it_holds) {
    struct pool pool;
    struct arena arena;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    struct slab *slab = slab_new(&pool, 100);
    memcpy(slab->bytes, "hello, world", 12);
    struct chain chain;
    chain_init(&chain, &arena);
    assert_true(chain_add_memory(&chain, slab->bytes, 5, slab));
    assert_true(chain_add_memory(&chain, slab->bytes + 5, 7, slab));
    slab_drop(slab);
    char copy[13] = {0};
    assert_int_equal(chain_copy_out(&chain, copy, 12), 12);
    assert_string_equal(copy, "hello, world");
    chain_consume(&chain, 6);
    assert_int_equal(chain.count, 1);
    chain_consume(&chain, 6);
    assert_null(chain.first);
    arena_destroy(&arena);
    pool_destroy(&pool); /* asserts that the slab is gone */
}

struct item { struct heap_node heap; struct map_node map; uint64_t key; };
static bool item_is(const struct map_node *node, const void *key) {
    return MAP_ITEM(node, const struct item, map)->key == *(const uint64_t *)key;
}

/* Heap and map against the plain truth, under random inserts and removals. */
TEST(heap_and_map_agree_with_a_plain_list) {
    enum { N = 500 };
    static struct item items[N];
    struct pool pool;
    struct heap heap;
    struct map map;
    struct random random;
    pool_init(&pool, 0, 0);
    heap_init(&heap, &pool);
    map_init(&map, &pool, N, item_is);
    random_seed(&random, 7);
    for (int i = 0; i < N; i++) items[i].key = (uint64_t)i;
    for (int step = 0; step < 20000; step++) {
        struct item *item = &items[random_below(&random, N)];
        bool is_in = map_find(&map, hash_u64(item->key), &item->key) == &item->map;
        assert_int_equal(is_in, item->heap.index != 0);
        if (is_in) {
            heap_remove(&heap, &item->heap);
            map_remove(&map, &item->map);
        } else {
            assert_true(heap_insert(&heap, &item->heap, (int64_t)random_below(&random, 50)));
            assert_true(map_insert(&map, &item->map, hash_u64(item->key)));
        }
        assert_int_equal(heap.count, map.count);
    }
    int64_t before = -1;
    while (heap_first(&heap)) {
        struct heap_node *node = heap_first(&heap);
        assert_true(node->key >= before);
        before = node->key;
        heap_remove(&heap, node);
        map_remove(&map, &container_of(node, struct item, heap)->map);
    }
    heap_destroy(&heap);
    map_destroy(&map);
    pool_destroy(&pool);
}

/* Ids in text are Kafka's: 22 characters that parse back; what is generated never has a '-'. */
TEST(uuids_round_trip) {
    struct random random;
    random_seed(&random, 1);
    for (int i = 0; i < 1000; i++) {
        struct uuid id = uuid_random(&random), back;
        char text[UUID_TEXT_BYTES + 1];
        uuid_text(id, text);
        assert_null(strchr(text, '-'));
        assert_true(uuid_parse(text, UUID_TEXT_BYTES, &back) && uuid_equal(id, back));
    }
    struct uuid metadata;
    assert_true(uuid_parse("AAAAAAAAAAAAAAAAAAAAAQ", 22, &metadata));
    assert_int_equal(metadata.bytes[15], 1);
    assert_false(uuid_parse("AAAAAAAAAAAAAAAAAAAA+Q", 22, &metadata));
}

/* Java hashes UTF-16 units: surrogate pairs count as two. */
TEST(java_hash_counts_utf16_units) {
    assert_int_equal(java_string_hash(span_text("abc")), 96354);
    assert_int_equal(java_string_hash(span_text("")), 0);
    assert_int_equal(java_string_hash(span_text("\xf0\x9f\x98\x80")), 31 * 0xd83d + 0xde00);
}

/* What a child takes counts in its parent's budget, and a refusal there leaves both as they were. */
TEST(pool_child_charges_its_parent) {
    struct pool parent, child;
    pool_init(&parent, 10000, 4);
    pool_init_child(&child, &parent, 9000);
    void *a = pool_alloc(&child, 6000);
    assert_non_null(a);
    assert_int_equal(parent.used, 6000);
    void *b = pool_alloc(&parent, 3000);
    assert_non_null(b);
    assert_null(pool_alloc(&child, 2000)); /* fits the child, not the parent */
    assert_int_equal(child.used, 6000);
    assert_int_equal(parent.used, 9000);
    assert_null(pool_alloc(&child, 3500)); /* does not fit the child */
    assert_int_equal(parent.used, 9000);
    pool_free(&child, a, 6000);
    pool_free(&parent, b, 3000);
    pool_destroy(&child);
    pool_destroy(&parent);
}

/* Numbers of every length and both signs come out as printf has them. */
TEST(text_numbers_as_printf_has_them) {
    char bytes[64], expected[64];
    struct text text;
    for (int shift = 0; shift < 64; shift++) {
        for (int d = -1; d <= 1; d++) {
            int64_t number = (int64_t)((UINT64_C(1) << shift) + (uint64_t)(int64_t)d);
            int64_t both[] = {number, (int64_t)(0 - (uint64_t)number)};
            for (size_t i = 0; i < countof(both); i++) {
                text_init(&text, bytes, sizeof bytes);
                text_add_number(&text, both[i]);
                snprintf(expected, sizeof expected, "%lld", (long long)both[i]);
                assert_string_equal(bytes, expected);
            }
        }
    }
}
