#include "base/random.h"
#include "log/index_txn.h"
#include "test.h"

static void write_entries(uint8_t *bytes, const struct txn_entry *entries, size_t count) {
    for (size_t i = 0; i < count; i++) txn_entry_encode(&entries[i], bytes + i * TXN_ENTRY_BYTES);
}

/* A read is told every aborted transaction that overlaps it, and no segment is asked that cannot hold one. The search over
 * any split into segments is held against a loop over all. Transactions come as a log would make them: several open at a
 * time, the last stable offset being the first that still is. */
TEST(the_search_finds_what_overlaps) {
    enum { ENTRIES_MAX = 60, OFFSETS = 400 };
    struct pool pool;
    struct random random;
    pool_init(&pool, 0, 4);
    random_seed(&random, 4);
    for (int round = 0; round < 300; round++) {
        struct txn_entry entries[ENTRIES_MAX];
        log_offset open[5] = {-1, -1, -1, -1, -1};
        size_t count = 0;
        for (log_offset at = 0; at < OFFSETS && count < ENTRIES_MAX; at++) {
            size_t producer = random_below(&random, countof(open));
            if (open[producer] < 0) {
                open[producer] = at;
            } else if (random_chance(&random, 1, 2)) {
                log_offset first = open[producer], stable = at + 1;
                open[producer] = -1;
                for (size_t i = 0; i < countof(open); i++)
                    if (open[i] >= 0 && open[i] < stable) stable = open[i];
                if (random_chance(&random, 1, 2)) entries[count++] = (struct txn_entry){(producer_id)producer, first, at, stable};
            }
        }
        uint8_t bytes[ENTRIES_MAX * TXN_ENTRY_BYTES];
        write_entries(bytes, entries, count);
        size_t good;
        assert_int_equal(txn_index_check(span_of(bytes, count * TXN_ENTRY_BYTES), 0, &good), ERR_NONE);

        log_offset from = (log_offset)random_below(&random, OFFSETS), upto = from + 1 + (log_offset)random_below(&random, 50);
        struct arena arena;
        struct txn_search search;
        arena_init(&arena, &pool, 0);
        txn_search_init(&search, from, upto, &arena);
        for (size_t at = 0; at < count && !search.complete;) {
            size_t part = 1 + random_below(&random, count - at);
            assert_int_equal(txn_search_segment(&search, span_of(bytes + at * TXN_ENTRY_BYTES, part * TXN_ENTRY_BYTES)), ERR_NONE);
            at += part;
        }
        txn_search_sort(&search);
        size_t expected = 0, found = 0;
        for (size_t i = 0; i < count; i++) {
            if (entries[i].last < from || entries[i].first >= upto) continue;
            expected++;
            for (uint32_t k = 0; k < search.count; k++) found += search.entries[k].first == entries[i].first && search.entries[k].producer == entries[i].producer;
        }
        assert_int_equal(search.count, expected);
        assert_int_equal(found, expected);
        for (uint32_t k = 1; k < search.count; k++) assert_true(search.entries[k - 1].first <= search.entries[k].first);
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}

/* Each rule of the file broken once, in the third entry: two are good. */
TEST(a_wrong_index_is_seen) {
    static const struct txn_entry right[] = {{1, 100, 110, 105}, {2, 105, 120, 121}, {3, 130, 140, 141}};
    static const struct { size_t at; uint8_t value; } wrong[] = {
        {1, 1},                           /* version                          */
        {25, 120},                        /* last offset not above the second's */
        {25, 119},
        {17, 141}};                       /* first above last                 */
    uint8_t bytes[3 * TXN_ENTRY_BYTES];
    size_t good;
    write_entries(bytes, right, 3);
    assert_int_equal(txn_index_check(span_of(bytes, sizeof bytes), 110, &good), ERR_NONE);
    assert_int_equal(txn_index_check(span_of(bytes, sizeof bytes), 111, &good), ERR_CORRUPT); /* of another segment */
    assert_int_equal(good, 0);
    assert_int_equal(txn_index_check(span_of(bytes, sizeof bytes - 1), 100, &good), ERR_CORRUPT);
    assert_int_equal(good, 2 * TXN_ENTRY_BYTES);
    for (size_t i = 0; i < countof(wrong); i++) {
        uint8_t *field = bytes + 2 * TXN_ENTRY_BYTES + wrong[i].at, saved = *field;
        *field = wrong[i].value;
        assert_int_equal(txn_index_check(span_of(bytes, sizeof bytes), 100, &good), ERR_CORRUPT);
        assert_int_equal(good, 2 * TXN_ENTRY_BYTES);
        *field = saved;
    }
    assert_int_equal(txn_index_bytes_before(span_of(bytes, sizeof bytes), 110), 0);
    assert_int_equal(txn_index_bytes_before(span_of(bytes, sizeof bytes), 111), TXN_ENTRY_BYTES);
    assert_int_equal(txn_index_bytes_before(span_of(bytes, sizeof bytes), 1000), 3 * TXN_ENTRY_BYTES);
}
