#include "broker/named.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

struct row { const char *topic; partition_index index; uint32_t first, last, of_topic; };

/* Places are told in the request's order, whatever order the names have: partitions twice and thrice, a topic in pieces, names
 * that begin alike, the empty name, indexes below 0. */
TEST(named_tells_first_and_last) {
    static const struct row rows[] = {
        {"b", 1, 0, 3, 0}, {"a", 1, 1, 1, 1}, {"b", 0, 2, 2, 0}, {"b", 1, 0, 3, 0}, {"ab", 1, 4, 9, 4}, {"", 1, 5, 5, 5},
        {"b", -1, 6, 6, 0}, {"a", 2, 7, 7, 1}, {"ab", 1, 4, 9, 4}, {"ab", 1, 4, 9, 4}, {"aa", 1, 10, 10, 10},
    };
    uint32_t count = sizeof rows / sizeof *rows;
    struct pool pool;
    struct arena arena;
    struct named named;
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
    assert_true(named_init(&named, &arena, count));
    for (uint32_t i = 0; i < count; i++) named_add(&named, span_text(rows[i].topic), rows[i].index);
    named_settle(&named);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(named.places[i].first, rows[i].first);
        assert_int_equal(named.places[i].last, rows[i].last);
        assert_int_equal(named.places[i].topic, rows[i].of_topic);
    }
    assert_true(named_init(&named, &arena, 0)); /* nothing named: nothing to tell */
    named_settle(&named);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Beyond its budget it says so. */
TEST(named_keeps_to_its_budget) {
    struct pool pool;
    struct arena arena;
    struct named named;
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, KIB(64));
    assert_false(named_init(&named, &arena, 100000));
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Thousands of names in no order, some of them twice: as a comparison of each with each tells it. */
TEST(named_of_many_in_no_order) {
    enum { COUNT = 3000 };
    static char names[COUNT][8];
    struct pool pool;
    struct arena arena;
    struct named named;
    uint32_t distinct = 0;
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
    assert_true(named_init(&named, &arena, COUNT));
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%u", i * 7919 % 1009);
        named_add(&named, span_text(names[i]), (partition_index)(i % 2));
    }
    named_settle(&named);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct named_place place = {UINT32_MAX, 0, UINT32_MAX};
        for (uint32_t k = 0; k < COUNT; k++) {
            if (strcmp(names[i], names[k]) != 0) continue;
            if (place.topic == UINT32_MAX) place.topic = k;
            if (k % 2 != i % 2) continue;
            if (place.first == UINT32_MAX) place.first = k;
            place.last = k;
        }
        distinct += place.first == i;
        assert_int_equal(named.places[i].first, place.first);
        assert_int_equal(named.places[i].last, place.last);
        assert_int_equal(named.places[i].topic, place.topic);
    }
    assert_int_equal(named.distinct, distinct);
    arena_destroy(&arena);
    pool_destroy(&pool);
}
