/* base/metric.h - what a node tells of itself: the table of metrics (metric.tbl), and their text as Prometheus reads it.
 *
 * A page is filled metric by metric: all values of one, then those of the next. It writes the words in front of a metric
 * (# HELP, # TYPE) by itself, and escapes what stands in labels. There are two formats of the text: Prometheus's own, and
 * OpenMetrics, in which a counter's words are said of its name without _total and the last line is # EOF. Nothing fails on the way: a page that ran out of its
 * memory says so at the end (`cut`).
 */
#pragma once
#include "base/buf.h"
#include "base/histogram.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
struct metric {
    const char *name;      /* as Prometheus sees it; a histogram's without _bucket, _sum, _count */
    const char *labels;    /* their names with commas between, in the order of the values; "": none */
    const char *unit;      /* "": a plain number */
    const char *help;      /* a sentence or more */
    enum metric_kind kind;
};
enum metric_id {
#define SECTION(...)
#define METRIC(id, kind, name, labels, unit, help) METRIC_##id,
#include "base/metric.tbl"
    METRICS_COUNT
};
extern const struct metric metrics[METRICS_COUNT];
/* The heading under which a metric is the first one; NULL: it goes on under the one before. */
const char *metric_section(enum metric_id id, const char **words);

struct metric_page {
    struct pool *pool;     /* borrows */
    char *bytes;           /* owns */
    size_t size, capacity, size_max;
    bool is_open_metrics;  /* set before the first value; else Prometheus's text format 0.0.4 */
    bool cut;              /* over size_max, or over budget: what is there is the beginning */
    int open;              /* the metric whose values come now; -1: none yet */
    bool seen[METRICS_COUNT];
};
void metric_page_init(struct metric_page *page, struct pool *pool, size_t size_max);
void metric_page_end(struct metric_page *page);   /* behind the last value */
void metric_page_destroy(struct metric_page *page);
/* Which format an Accept header asks for, by the weights that it gives them: the type of the answer. NULL: no header. */
const char *metric_page_type(const char *accept, bool *is_open_metrics);

/* Values of labels, as many as the table says. */
#define LABELS(...) ((const struct span[]){__VA_ARGS__})
#define NO_LABELS ((const struct span *)NULL)
void metric_count(struct metric_page *page, enum metric_id id, const struct span *labels, uint64_t value);
void metric_gauge(struct metric_page *page, enum metric_id id, const struct span *labels, int64_t value);
void metric_real(struct metric_page *page, enum metric_id id, const struct span *labels, double value);
void metric_seconds(struct metric_page *page, enum metric_id id, const struct span *labels, uint64_t ns); /* of a counter or a gauge */
void metric_histogram(struct metric_page *page, enum metric_id id, const struct span *labels, const struct histogram *histogram);
