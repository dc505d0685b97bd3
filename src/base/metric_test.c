#include "base/metric.h"
#include "base/pool.h"
#include "test.h"
#include <ctype.h>
#include <string.h>

/* Names are Prometheus's, and stand there once; counters end in _total, what has a unit says it; every help ends as a sentence. */
TEST(metric_table_is_well_formed) {
    for (int i = 0; i < METRICS_COUNT; i++) {
        const struct metric *metric = &metrics[i];
        for (const char *c = metric->name; *c; c++) assert_true(islower(*c) || isdigit(*c) || *c == '_');
        for (int j = 0; j < i; j++) assert_string_not_equal(metric->name, metrics[j].name);
        size_t size = strlen(metric->name), help = strlen(metric->help);
        if (metric->kind == METRIC_COUNTER) assert_string_equal(metric->name + size - 6, "_total");
        else assert_null(strstr(metric->name, "_total"));
        assert_true(help > 5 && metric->help[help - 1] == '.');
        assert_null(strpbrk(metric->help, "\n\\"));
        if (strncmp(metric->name, "moldau_", 7) == 0 && *metric->unit) assert_non_null(strstr(metric->name, metric->unit));
    }
    const char *words;
    assert_string_equal(metric_section(0, &words), "The node");
    assert_null(metric_section(1, &words));
    assert_string_equal(metric_section(METRIC_requests, &words), "Requests");
    assert_string_equal(metric_section(METRIC_telemetry_pushes, &words), "Client telemetry");
}

/* Every bound belongs to the bucket that it ends, one nanosecond more to the next; bounds grow by at most a half. */
TEST(histogram_buckets_are_bounded) {
    for (uint32_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        uint64_t bound = histogram_bound_us(i);
        assert_int_equal(histogram_bucket((time_ns)bound * 1000), i);
        assert_int_equal(histogram_bucket((time_ns)bound * 1000 + 1), i + 1);
        if (i > 0) assert_true(bound > histogram_bound_us(i - 1) && bound * 2 <= histogram_bound_us(i - 1) * 3);
    }
    assert_int_equal(histogram_bucket(-5), 0);
    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(INT64_MAX), HISTOGRAM_BOUNDS);
    assert_int_equal(histogram_bound_us(0), 16);
    assert_int_equal(histogram_bound_us(HISTOGRAM_BOUNDS - 1), 1 << 26);
}

/* Adding up two is as if one had seen it all. */
TEST(histograms_are_merged) {
    struct histogram a = {0}, b = {0}, all = {0};
    uint64_t count = 0;
    for (time_ns took = 1; took < 100 * NS_PER_S; took = took * 3 + 1, count++) {
        histogram_add(took & 1 ? &a : &b, took);
        histogram_add(&all, took);
    }
    histogram_merge(&a, &b);
    assert_memory_equal(&a, &all, sizeof a);
    assert_int_equal(histogram_count(&a), count);
}

static void fill(struct metric_page *page) {
    metric_gauge(page, METRIC_raft_leader, NO_LABELS, -1);
    metric_count(page, METRIC_messages_in, LABELS(SPAN_LITERAL("")), 7);
    metric_count(page, METRIC_messages_in, LABELS(SPAN_LITERAL("a\"b\\c\nd\te")), 18446744073709551615u);
    metric_seconds(page, METRIC_shard_busy, LABELS(SPAN_LITERAL("0")), 1500000001);
}

/* The text of a page, to the byte: words once for each metric, escapes in labels. */
TEST(metric_page_text) {
    struct pool pool;
    struct metric_page page;
    pool_init(&pool, 0, 0);
    metric_page_init(&page, &pool, 1 << 20);
    fill(&page);
    static const char wanted[] =
        "# HELP kafka_server_raft_metrics_current_leader The node that leads the quorum; -1: not known.\n"
        "# TYPE kafka_server_raft_metrics_current_leader gauge\n"
        "kafka_server_raft_metrics_current_leader -1\n"
        "# HELP kafka_server_brokertopicmetrics_messagesin_total Records appended by clients.\n"
        "# TYPE kafka_server_brokertopicmetrics_messagesin_total counter\n"
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"\"} 7\n"
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"a\\\"b\\\\c\\nd?e\"} 18446744073709551615\n";
    assert_false(page.cut);
    assert_memory_equal(page.bytes, wanted, sizeof wanted - 1);
    static const char last[] = "\nmoldau_shard_busy_seconds_total{shard=\"0\"} 1.500000001\n";
    assert_memory_equal(page.bytes + page.size - (sizeof last - 1), last, sizeof last - 1);
    metric_page_destroy(&page);
    pool_destroy(&pool);
}

/* A histogram's buckets count what is below them, too; the last is the count. */
TEST(metric_page_histogram) {
    struct pool pool;
    struct metric_page page;
    struct histogram histogram = {0};
    pool_init(&pool, 0, 0);
    metric_page_init(&page, &pool, 1 << 20);
    histogram_add(&histogram, 20 * 1000);
    histogram_add(&histogram, 25 * 1000);
    histogram_add(&histogram, 100 * NS_PER_S);
    metric_histogram(&page, METRIC_request_seconds, LABELS(SPAN_LITERAL("Produce")), &histogram);
    char *text = page.bytes;
    text[page.size - 1] = 0;
    assert_non_null(strstr(text, "moldau_request_seconds_bucket{request=\"Produce\",le=\"0.000016\"} 0\n"));
    assert_non_null(strstr(text, "moldau_request_seconds_bucket{request=\"Produce\",le=\"0.000024\"} 1\n"));
    assert_non_null(strstr(text, "moldau_request_seconds_bucket{request=\"Produce\",le=\"0.000032\"} 2\n"));
    assert_non_null(strstr(text, "moldau_request_seconds_bucket{request=\"Produce\",le=\"67.108864\"} 2\n"));
    assert_non_null(strstr(text, "moldau_request_seconds_bucket{request=\"Produce\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "moldau_request_seconds_sum{request=\"Produce\"} 100.000045000\n"));
    assert_string_equal(strstr(text, "moldau_request_seconds_count"), "moldau_request_seconds_count{request=\"Produce\"} 3");
    metric_page_destroy(&page);
    pool_destroy(&pool);
}

/* A page that may not grow ends with a whole line, whatever the size at which that is, and says that it is cut. */
TEST(metric_page_is_bounded) {
    struct pool pool;
    pool_init(&pool, 0, 0);
    for (size_t most = 1; most < 520; most++) {
        struct metric_page page;
        metric_page_init(&page, &pool, most);
        fill(&page);
        assert_true(page.size <= most);
        assert_true(page.cut || most > 500);
        assert_true(page.size == 0 || page.bytes[page.size - 1] == '\n');
        metric_page_destroy(&page);
    }
    pool_destroy(&pool);
}

/* In OpenMetrics a counter's words are said without _total, its values with it, and the last line is the end's. */
TEST(page_is_written_as_openmetrics) {
    struct pool pool;
    struct metric_page page;
    pool_init(&pool, 0, 0);
    metric_page_init(&page, &pool, 1 << 20);
    page.is_open_metrics = true;
    fill(&page);
    metric_page_end(&page);
    assert_false(page.cut);
    metric_count(&page, METRIC_requests, LABELS(SPAN_LITERAL("")), 0); /* ends the text */
    page.bytes[page.size - 1] = 0;
    assert_non_null(strstr(page.bytes, "# TYPE kafka_server_brokertopicmetrics_messagesin counter\n"));
    assert_non_null(strstr(page.bytes, "\nkafka_server_brokertopicmetrics_messagesin_total{topic=\"\"} 7\n"));
    assert_null(strstr(page.bytes, "# TYPE kafka_server_brokertopicmetrics_messagesin_total"));
    assert_non_null(strstr(page.bytes, "\n# EOF\n"));
    metric_page_destroy(&page);
    pool_destroy(&pool);
}

/* The format by the weights of an Accept header: what Prometheus 2 and 3 and others send, and what is none. */
TEST(formats_are_negotiated) {
    static const struct { const char *accept, *type; } rows[] = {
        {NULL, "text/plain; version=0.0.4"}, {"", "text/plain; version=0.0.4"}, {"*/*", "text/plain; version=0.0.4"}, {"text/html,*/*;q=0.8", "text/plain; version=0.0.4"},
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         "application/openmetrics-text; version=1.0.0"},
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "application/openmetrics-text; version=1.0.0"},
        {"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "application/openmetrics-text; version=0.0.1"},
        {"application/openmetrics-text", "application/openmetrics-text; version=1.0.0"}, {"application/openmetrics-text;q=0.1, text/plain", "text/plain; version=0.0.4"},
        {"application/openmetrics-text;q=0", "text/plain; version=0.0.4"}, {"application/openmetrics-text;version=2.0.0", "text/plain; version=0.0.4"},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text; version=1.0.0"},
        {",;,;q=,application/openmetrics-text;q=9999999999999999999999,;;;", "text/plain; version=0.0.4"}, {"application/openmetrics-text;q=abc", "text/plain; version=0.0.4"}};
    for (size_t i = 0; i < countof(rows); i++) {
        bool open;
        const char *type = metric_page_type(rows[i].accept, &open);
        assert_memory_equal(type, rows[i].type, strlen(rows[i].type));
        assert_int_equal(open, strncmp(rows[i].type, "application/", 12) == 0);
    }
}
