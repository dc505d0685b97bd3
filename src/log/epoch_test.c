#include "base/random.h"
#include "log/epoch.h"
#include "test.h"

static struct pool pool;

static void given(struct epoch_cache *cache, const struct epoch_entry *entries, uint32_t count) {
    epoch_cache_init(cache, &pool);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(epoch_assign(cache, entries[i].epoch, entries[i].start), ERR_NONE);
    epoch_check(cache);
}
static void holds(const struct epoch_cache *cache, const struct epoch_entry *entries, uint32_t count) {
    epoch_check(cache);
    assert_int_equal(cache->count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(cache->entries[i].epoch, entries[i].epoch);
        assert_int_equal(cache->entries[i].start, entries[i].start);
    }
}
#define ENTRIES(...) (const struct epoch_entry[]){__VA_ARGS__}, sizeof((const struct epoch_entry[]){__VA_ARGS__}) / sizeof(struct epoch_entry)

/* Where an epoch ends, case by case, as followers and leaders ask each other. The log ends at 50. */
TEST(ends_of_epochs) {
    static const struct { leader_epoch epoch, found; log_offset end; } cases[] = {
        {-1, -1, -1}, {-2, -2, 10}, {0, 0, 10}, {1, 1, 10}, {2, 2, 20}, {3, 2, 20}, {4, 2, 20}, {5, 5, 30}, {7, 7, 50}, {8, -1, -1}};
    struct epoch_cache cache;
    pool_init(&pool, 0, 4);
    given(&cache, ENTRIES({2, 10}, {5, 20}, {7, 30}));
    for (size_t i = 0; i < countof(cases); i++) {
        leader_epoch found;
        log_offset end;
        epoch_end(&cache, cases[i].epoch, 50, &found, &end);
        assert_int_equal(found, cases[i].found);
        assert_int_equal(end, cases[i].end);
    }
    assert_int_equal(epoch_latest(&cache), 7);
    assert_int_equal(epoch_of_offset(&cache, 9), -1);
    assert_int_equal(epoch_of_offset(&cache, 10), 2);
    assert_int_equal(epoch_of_offset(&cache, 29), 5);
    assert_int_equal(epoch_of_offset(&cache, 1000), 7);
    assert_int_equal(epoch_before(&cache, 7), 5);
    assert_int_equal(epoch_before(&cache, 6), 5);
    assert_int_equal(epoch_before(&cache, 2), -1);
    assert_int_equal(epoch_before(&cache, 0), -1);
    epoch_cache_clear(&cache);
    leader_epoch found;
    log_offset end;
    epoch_end(&cache, 0, 50, &found, &end);
    assert_true(found == -1 && end == -1 && epoch_latest(&cache) == -1 && !epoch_first(&cache));
    epoch_cache_destroy(&cache);
    pool_destroy(&pool);
}

/* A new epoch drops what contradicts it; the same once more changes nothing. */
TEST(assigning_drops_contradictions) {
    struct epoch_cache cache;
    pool_init(&pool, 0, 4);
    given(&cache, ENTRIES({2, 10}, {5, 20}, {7, 30}));
    cache.changed = false;
    assert_int_equal(epoch_assign(&cache, 7, 40), ERR_NONE); /* more batches of the same epoch */
    assert_false(cache.changed);
    assert_int_equal(epoch_assign(&cache, 8, 25), ERR_NONE); /* the log was cut at 25 */
    holds(&cache, ENTRIES({2, 10}, {5, 20}, {8, 25}));
    assert_true(cache.changed);
    assert_int_equal(epoch_assign(&cache, 5, 40), ERR_NONE);
    holds(&cache, ENTRIES({2, 10}, {5, 40}));
    assert_int_equal(epoch_assign(&cache, 5, 39), ERR_NONE); /* an earlier start of the last */
    holds(&cache, ENTRIES({2, 10}, {5, 39}));
    assert_int_equal(epoch_assign(&cache, 6, 39), ERR_NONE); /* an epoch without batches */
    holds(&cache, ENTRIES({2, 10}, {6, 39}));
    assert_int_equal(epoch_assign(&cache, -1, 50), ERR_INVALID);
    assert_int_equal(epoch_assign(&cache, 9, -1), ERR_INVALID);
    epoch_cache_destroy(&cache);
    pool_destroy(&pool);
}

/* Both ends can be cut; what begins before the new start begins at it. */
TEST(truncating_at_both_ends) {
    static const struct { log_offset at; uint32_t kept; } ends[] = {{31, 3}, {30, 2}, {11, 1}, {10, 0}, {0, 0}};
    struct epoch_cache cache;
    pool_init(&pool, 0, 4);
    for (size_t i = 0; i < countof(ends); i++) {
        given(&cache, ENTRIES({2, 10}, {5, 20}, {7, 30}));
        epoch_truncate_end(&cache, ends[i].at);
        epoch_check(&cache);
        assert_int_equal(cache.count, ends[i].kept);
        epoch_cache_destroy(&cache);
    }
    given(&cache, ENTRIES({2, 10}, {5, 20}, {7, 30}));
    epoch_truncate_start(&cache, 9);
    holds(&cache, ENTRIES({2, 10}, {5, 20}, {7, 30}));
    epoch_truncate_start(&cache, 15);
    holds(&cache, ENTRIES({2, 15}, {5, 20}, {7, 30}));
    epoch_truncate_start(&cache, 20);
    holds(&cache, ENTRIES({5, 20}, {7, 30}));
    epoch_truncate_start(&cache, 100);
    holds(&cache, ENTRIES({7, 100}));
    epoch_cache_destroy(&cache);
    pool_destroy(&pool);
}

/* A long history: the cache answers what a log of batches would, batch by batch. */
TEST(the_cache_agrees_with_a_log) {
    enum { BATCHES = 3000 };
    static leader_epoch epochs[BATCHES];
    struct epoch_cache cache;
    struct random random;
    leader_epoch epoch = 0;
    pool_init(&pool, 0, 4);
    random_seed(&random, 3);
    epoch_cache_init(&cache, &pool);
    uint32_t end = 0;
    for (int step = 0; step < 20000 && end < BATCHES; step++) {
        if (random_chance(&random, 1, 10)) epoch += 1 + (leader_epoch)random_below(&random, 3);
        if (random_chance(&random, 1, 40) && end) {
            end -= (uint32_t)random_below(&random, end < 20 ? end : 20);
            epoch_truncate_end(&cache, end);
        }
        epochs[end] = epoch;
        assert_int_equal(epoch_assign(&cache, epoch, end++), ERR_NONE);
    }
    epoch_check(&cache);
    for (uint32_t i = 0; i < end; i++) assert_int_equal(epoch_of_offset(&cache, i), epochs[i]);
    for (leader_epoch asked = epochs[0]; asked <= epoch; asked++) {
        leader_epoch found, largest = -1;
        log_offset found_end, expected = 0;
        for (uint32_t i = 0; i < end; i++)
            if (epochs[i] <= asked) largest = epochs[i], expected = i + 1;
        epoch_end(&cache, asked, end, &found, &found_end);
        assert_int_equal(found, largest);
        assert_int_equal(found_end, expected);
    }
    epoch_cache_destroy(&cache);
    pool_destroy(&pool);
}
