#include "base/metric.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct metric metrics[METRICS_COUNT] = {
#define SECTION(...)
#define METRIC(id, kind_, name_, labels_, unit_, help_) {.name = name_, .labels = labels_, .unit = unit_, .help = help_, .kind = METRIC_##kind_},
#include "base/metric.tbl"
};

/* A heading is found by its place between the metrics: their lines in the table. */
static const struct { int line; const char *title, *words; } sections[] = {
#define SECTION(title, words) {__LINE__, title, words},
#define METRIC(...)
#include "base/metric.tbl"
};
static const int lines[METRICS_COUNT] = {
#define SECTION(...)
#define METRIC(...) __LINE__,
#include "base/metric.tbl"
};

const char *metric_section(enum metric_id id, const char **words) {
    for (uint32_t i = 0; i < countof(sections); i++) {
        if (sections[i].line > lines[id] || (id > 0 && sections[i].line < lines[id - 1])) continue;
        *words = sections[i].words;
        return sections[i].title;
    }
    return NULL;
}

void metric_page_init(struct metric_page *page, struct pool *pool, size_t size_max) {
    memset(page, 0, sizeof *page);
    page->pool = pool;
    page->size_max = size_max;
    page->open = -1;
}

void metric_page_destroy(struct metric_page *page) {
    pool_free(page->pool, page->bytes, page->capacity);
    page->bytes = NULL;
    page->size = page->capacity = 0;
}

/* ---- A line either stands on the page as a whole or not at all. */

static bool room(struct metric_page *page, size_t bytes) {
    enum { FIRST = 64 << 10 };
    if (page->cut) return false;
    size_t wanted = page->size + bytes, capacity = page->capacity ? page->capacity : FIRST;
    while (capacity < wanted) capacity *= 2;
    if (wanted > page->size_max) {
        page->cut = true;
        return false;
    }
    if (capacity == page->capacity) return true;
    char *bigger = pool_realloc(page->pool, page->bytes, page->capacity, capacity);
    if (!bigger) {
        page->cut = true;
        return false;
    }
    page->bytes = bigger;
    page->capacity = capacity;
    return true;
}

static void put(struct metric_page *page, const char *text, size_t size) {
    if (!room(page, size)) return;
    memcpy(page->bytes + page->size, text, size);
    page->size += size;
}

static void put_text(struct metric_page *page, const char *text) { put(page, text, strlen(text)); }

static void put_number(struct metric_page *page, const char *format, ...) printf_like(2, 3);
static void put_number(struct metric_page *page, const char *format, ...) {
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert(n > 0);
    assert((size_t)n < sizeof text);
    put(page, text, (size_t)n);
}

static void put_seconds(struct metric_page *page, uint64_t ns) {
    put_number(page, "%llu.%09llu", (unsigned long long)(ns / NS_PER_S), (unsigned long long)(ns % NS_PER_S));
}

/* A quote, a backslash and a line's end have their escapes; other control characters, which no name has, become '?'. */
static void put_value(struct metric_page *page, struct span value) {
    for (size_t i = 0; i < value.size; i++) {
        char c = (char)value.data[i];
        if (c == '"' || c == '\\') put(page, (const char[]){'\\', c}, 2);
        else if (c == '\n') put(page, "\\n", 2);
        else put(page, (unsigned char)c < ' ' ? "?" : &c, 1);
    }
}

static void put_labels(struct metric_page *page, const struct metric *metric, const struct span *labels, const char *more_name, const char *more) {
    const char *name = metric->labels;
    if (!*name && !more) return;
    put(page, "{", 1);
    for (uint32_t i = 0; *name; i++) {
        size_t size = strcspn(name, ",");
        put(page, name, size);
        put(page, "=\"", 2);
        put_value(page, labels[i]);
        put(page, "\"", 1);
        name += size;
        if (*name == ',') name++;
        if (*name || more) put(page, ",", 1);
    }
    if (more) {
        put_text(page, more_name);
        put(page, "=\"", 2);
        put_text(page, more);
        put(page, "\"", 1);
    }
    put(page, "}", 1);
}

static void begin(struct metric_page *page, enum metric_id id) {
    static const char *const kinds[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    if (page->open == (int)id) return;
    assert(!page->seen[id]); /* all values of a metric stand together */
    page->seen[id] = true;
    page->open = (int)id;
    put_text(page, "# HELP ");
    put_text(page, metrics[id].name);
    put(page, " ", 1);
    put_text(page, metrics[id].help);
    put_text(page, "\n# TYPE ");
    put_text(page, metrics[id].name);
    put(page, " ", 1);
    put_text(page, kinds[metrics[id].kind]);
    put(page, "\n", 1);
}

static size_t line_begins(struct metric_page *page, enum metric_id id, const struct span *labels) {
    size_t at = page->size;
    begin(page, id);
    put_text(page, metrics[id].name);
    put_labels(page, &metrics[id], labels, NULL, NULL);
    put(page, " ", 1);
    return at;
}

static void line_ends(struct metric_page *page, size_t at) {
    put(page, "\n", 1);
    if (page->cut) page->size = at;
}

void metric_count(struct metric_page *page, enum metric_id id, const struct span *labels, uint64_t value) {
    size_t at = line_begins(page, id, labels);
    put_number(page, "%llu", (unsigned long long)value);
    line_ends(page, at);
}

void metric_gauge(struct metric_page *page, enum metric_id id, const struct span *labels, int64_t value) {
    size_t at = line_begins(page, id, labels);
    put_number(page, "%lld", (long long)value);
    line_ends(page, at);
}

void metric_real(struct metric_page *page, enum metric_id id, const struct span *labels, double value) {
    size_t at = line_begins(page, id, labels);
    put_number(page, "%.9g", value);
    line_ends(page, at);
}

void metric_seconds(struct metric_page *page, enum metric_id id, const struct span *labels, uint64_t ns) {
    size_t at = line_begins(page, id, labels);
    put_seconds(page, ns);
    line_ends(page, at);
}

void metric_histogram(struct metric_page *page, enum metric_id id, const struct span *labels, const struct histogram *histogram) {
    const struct metric *metric = &metrics[id];
    size_t at = page->size;
    uint64_t count = 0;
    assert(metric->kind == METRIC_HISTOGRAM);
    begin(page, id);
    for (uint32_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        char bound[32] = "+Inf";
        uint64_t us = i < HISTOGRAM_BOUNDS ? histogram_bound_us(i) : 0;
        if (us) snprintf(bound, sizeof bound, "%llu.%06llu", (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000));
        count += histogram->buckets[i];
        put_text(page, metric->name);
        put(page, "_bucket", 7);
        put_labels(page, metric, labels, "le", bound);
        put_number(page, " %llu\n", (unsigned long long)count);
    }
    put_text(page, metric->name);
    put(page, "_sum", 4);
    put_labels(page, metric, labels, NULL, NULL);
    put(page, " ", 1);
    put_seconds(page, histogram->sum_ns);
    put(page, "\n", 1);
    put_text(page, metric->name);
    put(page, "_count", 6);
    put_labels(page, metric, labels, NULL, NULL);
    put_number(page, " %llu", (unsigned long long)count);
    line_ends(page, at);
}
