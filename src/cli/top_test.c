#include "cli/top_page.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

static struct top_page page_of(const char *text, double at_s) {
    struct top_page page;
    assert_true(top_page_read(&page, strdup(text), at_s));
    return page;
}

/* Series are found by name, whatever stands around them and however their names begin; sums go by a label. */
TEST(top_sums_series) {
    struct top_page page = page_of("# HELP a_b words\n# TYPE a_b counter\na_b{x=\"1\",y=\"p q\"} 3\na_b{x=\"2\",y=\"\"} 4\na_b_c 100\na_b_c{x=\"1\"} 50\na 7\n\nnonsense\nbad x\n", 0);
    assert_int_equal(page.count, 5);
    assert_true(top_sum(&page, "a_b", NULL, NULL) == 7);
    assert_true(top_sum(&page, "a_b", "x", "1") == 3);
    assert_true(top_sum(&page, "a_b", "y", "p q") == 3);
    assert_true(top_sum(&page, "a_b", "y", "") == 4);
    assert_true(top_sum(&page, "a_b_c", NULL, NULL) == 150);
    assert_true(top_sum(&page, "a", NULL, NULL) == 7);
    assert_true(top_sum(&page, "b", NULL, NULL) == 0);
    top_page_free(&page);
}

/* A label's value comes without its escapes, and cut where there is no room. */
TEST(top_reads_labels) {
    struct top_page page = page_of("m{first=\"a,\\\"x\\\"=}\\\\\",le=\"0.5\",last=\"line\\nend\"} 1\n", 0);
    char text[32];
    const struct series *s = top_next(&page, "m", NULL);
    assert_true(s && top_label(s, "first", text, sizeof text));
    assert_string_equal(text, "a,\"x\"=}\\");
    assert_true(top_label(s, "le", text, sizeof text));
    assert_string_equal(text, "0.5");
    assert_true(top_label(s, "last", text, sizeof text));
    assert_string_equal(text, "line end");
    assert_true(top_label(s, "last", text, 4));
    assert_string_equal(text, "lin");
    assert_false(top_label(s, "x", text, sizeof text));
    assert_null(top_next(&page, "m", s));
    top_page_free(&page);
}

/* What grew between two pages, by the time between them; a process that began anew has grown by nothing. */
TEST(top_rates) {
    struct top_page none = {0}, before = page_of("process_start_time_seconds 1000\nc{t=\"a\"} 10\n", 5);
    struct top_page now = page_of("process_start_time_seconds 1000.5\nc{t=\"a\"} 30\nc{t=\"b\"} 5\n", 7);
    struct top_page anew = page_of("process_start_time_seconds 2000\nc{t=\"a\"} 300\n", 8);
    assert_true(top_rate(&now, &before, "c", NULL, NULL) == 12.5);
    assert_true(top_rate(&now, &before, "c", "t", "a") == 10);
    assert_true(top_rate(&now, &none, "c", NULL, NULL) == 0);
    assert_true(top_rate(&anew, &now, "c", NULL, NULL) == 0);
    top_page_free(&before);
    top_page_free(&now);
    top_page_free(&anew);
}

/* Quantiles of what came between the pages: drawn straight within a bucket, the last bound where it lies beyond all. */
TEST(top_quantiles) {
    struct top_page before = page_of("process_start_time_seconds 1\nh_bucket{r=\"x\",le=\"0.1\"} 5\nh_bucket{r=\"x\",le=\"0.2\"} 5\nh_bucket{r=\"x\",le=\"+Inf\"} 5\n", 1);
    struct top_page now = page_of("process_start_time_seconds 1\nh_bucket{r=\"x\",le=\"0.1\"} 5\nh_bucket{r=\"x\",le=\"0.2\"} 9\nh_bucket{r=\"x\",le=\"+Inf\"} 10\n", 2);
    assert_true(top_quantile(&now, &before, "h", "r", "x", 0.4) > 0.1499 && top_quantile(&now, &before, "h", "r", "x", 0.4) < 0.1501);
    assert_true(top_quantile(&now, &before, "h", "r", "x", 0.99) == 0.2);
    assert_true(top_quantile(&now, &now, "h", "r", "y", 0.5) == -1);
    assert_true(top_quantile(&before, &(struct top_page){0}, "h", NULL, NULL, 1) == 0.1);
    top_page_free(&before);
    top_page_free(&now);
}
