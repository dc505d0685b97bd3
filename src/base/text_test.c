#include "base/text.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

/* Pieces of each kind are added into memory of every size from one byte on: what is there is always the beginning of the
 * whole, ended by a 0 within its bounds, and `cut` tells whether anything is missing. */
TEST(text_is_bounded_and_ended) {
    static const char whole[] = "shard 3: -12 of \"topic\"";
    for (size_t capacity = 1; capacity <= sizeof whole + 3; capacity++) {
        char bytes[sizeof whole + 4];
        struct text text;
        memset(bytes, '#', sizeof bytes);
        text_init(&text, bytes, capacity);
        assert_string_equal(bytes, "");
        text_add(&text, "shard %d: ", 3);
        text_add_number(&text, -12);
        text_add_bytes(&text, " of ", 4);
        text_add(&text, "\"");
        text_add_span(&text, SPAN_LITERAL("topic"));
        text_add(&text, "%s", "\"");
        size_t fits = capacity < sizeof whole ? capacity - 1 : sizeof whole - 1;
        assert_int_equal(text.size, fits);
        assert_int_equal(strlen(bytes), fits);
        assert_memory_equal(bytes, whole, fits);
        assert_int_equal(text.cut, capacity < sizeof whole);
        for (size_t i = capacity; i < sizeof bytes; i++) assert_int_equal(bytes[i], '#');
        text_reset(&text);
        assert_string_equal(bytes, "");
        assert_false(text.cut);
        assert_int_equal(text.capacity, capacity);
    }
}

/* Once something was cut, what comes later does not hide it, and adding goes on to do no harm. */
TEST(text_that_was_cut_stays_cut) {
    char bytes[4];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    text_add(&text, "%s", "abcdef");
    for (int i = 0; i < 3; i++) {
        text_add_bytes(&text, NULL, 0);
        text_add_number(&text, 7);
        text_add(&text, "x");
    }
    assert_true(text.cut);
    assert_string_equal(bytes, "abc");
}

/* Numbers are those of printf, at the ends of their range and around each power of ten. */
TEST(text_numbers_are_printf_s) {
    int64_t numbers[60] = {0, INT64_MIN, INT64_MAX, INT64_MIN + 1};
    size_t count = 4;
    for (int64_t power = 1; count + 3 <= countof(numbers); power *= 10) {
        numbers[count++] = power - 1;
        numbers[count++] = power;
        numbers[count++] = -power;
        if (power > INT64_MAX / 10) break;
    }
    for (size_t i = 0; i < count; i++) {
        char bytes[32], expected[32];
        struct text text;
        text_init(&text, bytes, sizeof bytes);
        text_add_number(&text, numbers[i]);
        snprintf(expected, sizeof expected, "%lld", (long long)numbers[i]);
        assert_string_equal(bytes, expected);
        assert_false(text.cut);
    }
}
