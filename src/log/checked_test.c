#include "log/checked.h"
#include "base/random.h"
#include "test.h"
#include <string.h>

/* The ranges that are remembered are never more than what was added, and a range that was just added is there (until it is
 * the smallest of too many): against a plain map of bytes, with random additions, doubts and clearings. */
TEST(checked_never_claims_too_much) {
    struct random random;
    random_seed(&random, 11);
    for (int round = 0; round < 300; round++) {
        struct file_ref file = {.refs = 1};
        struct checked checked = {0};
        bool good[400] = {false};
        for (int step = 0; step < 60; step++) {
            uint64_t from = random_below(&random, 400), to = from + random_below(&random, 400 - from + 1);
            switch (random_below(&random, 12)) {
            case 0: checked_clear(&checked); memset(good, 0, sizeof good); break;
            case 1: atomic_fetch_add(&file.doubts, 1); memset(good, 0, sizeof good); break;
            default:
                checked_add(&checked, (struct io_file *)(void *)&file, from, to);
                memset(good + from, true, to - from);
            }
            for (int probe = 0; probe < 20; probe++) {
                uint64_t a = random_below(&random, 400), b = a + 1 + random_below(&random, 400 - a);
                if (!checked_holds(&checked, (struct io_file *)(void *)&file, a, b)) continue;
                for (uint64_t i = a; i < b; i++) assert_true(good[i]);
            }
        }
    }
}

/* Pieces that touch become one range, in whatever order they come, so that a reader who goes through a segment needs one
 * place; the smallest range makes room. */
TEST(checked_joins_what_touches) {
    struct file_ref ref = {.refs = 1};
    struct io_file *file = (struct io_file *)(void *)&ref;
    struct checked checked = {0};
    uint64_t order[] = {4, 0, 2, 1, 3};
    for (size_t i = 0; i < countof(order); i++) checked_add(&checked, file, order[i] * 100, order[i] * 100 + 100);
    assert_true(checked_holds(&checked, file, 0, 500));
    assert_false(checked_holds(&checked, file, 0, 501));
    for (uint64_t i = 0; i < 4; i++) checked_add(&checked, file, 1000 + i * 100, 1000 + i * 100 + 10 + i); /* one too many */
    assert_true(checked_holds(&checked, file, 0, 500));
    assert_false(checked_holds(&checked, file, 1000, 1010));
    for (uint64_t i = 1; i < 4; i++) assert_true(checked_holds(&checked, file, 1000 + i * 100, 1000 + i * 100 + 10 + i));
    checked_add(&checked, file, (uint64_t)UINT32_MAX - 5, (uint64_t)UINT32_MAX + 5); /* no such segment */
    assert_false(checked_holds(&checked, file, (uint64_t)UINT32_MAX - 5, (uint64_t)UINT32_MAX + 5));
}
