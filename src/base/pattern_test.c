#include "base/pattern.h"
#include "test.h"
#include <string.h>

/* What matches as a whole, and what only in part or not at all: pattern, text, does it? */
TEST(pattern_matches_the_whole_text) {
    static const struct { const char *pattern, *text; bool matches; } cases[] = {
        {"abc", "abc", true}, {"abc", "abcd", false}, {"bc", "abc", false}, {"", "", true}, {"", "a", false},
        {"a.c", "axc", true}, {"a\\.c", "axc", false}, {"a\\.c", "a.c", true}, {".*", "", true}, {".*", "anything", true},
        {"pr.*", "prober", true}, {"pr.*", "xpr", false}, {"a+b*c?", "aab", true}, {"a+b*c?", "bc", false}, {"a{2,3}", "aa", true},
        {"a{2,3}", "aaaa", false}, {"a{2}", "aa", true}, {"a{2,}", "aaaaa", true}, {"a{2,}", "a", false}, {"a{x}", "a{x}", false},
        {"[a-c]+", "abcabc", true}, {"[a-c]+", "abd", false}, {"[^a-c]", "d", true}, {"[^a-c]", "b", false}, {"[]x]", "]", true},
        {"[a\\-z]+", "a-z", true}, {"[a\\-z]", "m", false}, {"\\d+\\.\\d+", "3.14", true}, {"\\d+\\.\\d+", "3x14", false}, {"\\w+\\s\\W", "ab !", true},
        {"a|b", "b", true}, {"a|b", "ab", false}, {"(a|bc)*d", "abcad", true}, {"(a|bc)*d", "abad", false}, {"(?:ab)+", "abab", true},
        {"(ab)+", "aba", false}, {"((a)|(b))+c", "abbac", true}, {"^abc$", "abc", true}, {"a*?b", "aab", true}, {"(a*)*b", "aaab", true},
        {"(a*)*b", "aaac", false}, {"(a|)b", "b", true}, {"x(a|b){2}y", "xaby", true}, {"x(a|b){2}y", "xay", false}, {"apache-kafka-(java|python)", "apache-kafka-java", true},
        {"(?=a)a", "a", false}, {"(a", "a", false}, {"a)", "a", false}, {"[a", "a", false}, {"*a", "a", false}, {"a\\", "a", false},
    };
    for (size_t i = 0; i < countof(cases); i++)
        if (pattern_matches(span_text(cases[i].pattern), span_text(cases[i].text)) != cases[i].matches)
            fail_msg("%s against %s", cases[i].pattern, cases[i].text);
}

/* Patterns that would take for ever, or a deep stack, are given up: by their steps, and by their depth. */
TEST(pattern_work_is_bounded) {
    static uint8_t text[40000];
    memset(text, 'a', sizeof text);
    assert_false(pattern_matches(SPAN_LITERAL("(a|a)*(a|a)*(a|a)*b"), span_of(text, 60)));
    assert_false(pattern_matches(SPAN_LITERAL("(a+)+b"), span_of(text, 60)));
    assert_false(pattern_matches(SPAN_LITERAL("(a|b)*"), span_of(text, sizeof text))); /* too deep */
    assert_true(pattern_matches(SPAN_LITERAL("[ab]*.*a"), span_of(text, sizeof text)));
    assert_false(pattern_matches(span_of(memset(text, '(', 1000), 1000), SPAN_LITERAL("a")));
}
