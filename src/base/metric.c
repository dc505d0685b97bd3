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

/* In OpenMetrics a counter is called by its name without what its value ends with. */
static void put_family(struct metric_page *page, enum metric_id id) {
    size_t size = strlen(metrics[id].name), total = sizeof "_total" - 1;
    bool shorter = page->is_open_metrics && metrics[id].kind == METRIC_COUNTER;
    assert(metrics[id].kind != METRIC_COUNTER || size > total);
    put(page, metrics[id].name, shorter ? size - total : size);
}

static void begin(struct metric_page *page, enum metric_id id) {
    static const char *const kinds[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    if (page->open == (int)id) return;
    assert(!page->seen[id]); /* all values of a metric stand together */
    page->seen[id] = true;
    page->open = (int)id;
    put_text(page, "# HELP ");
    put_family(page, id);
    put(page, " ", 1);
    put_text(page, metrics[id].help);
    put_text(page, "\n# TYPE ");
    put_family(page, id);
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

void metric_page_end(struct metric_page *page) {
    if (page->is_open_metrics) put_text(page, "# EOF\n");
}

/* ---- which format ---------------------------------------------------------------------------------------------------------- */

static bool next_part(struct span *rest, char between, struct span *out) {
    if (rest->size == 0) return false;
    const uint8_t *end = memchr(rest->data, between, rest->size);
    *out = span_of(rest->data, end ? (size_t)(end - rest->data) : rest->size);
    *rest = end ? span_of(end + 1, rest->size - out->size - 1) : (struct span){0};
    while (out->size && out->data[0] == ' ') *out = span_of(out->data + 1, out->size - 1);
    while (out->size && out->data[out->size - 1] == ' ') out->size--;
    return true;
}

/* "0.75" as 750; what is none counts for nothing. */
static uint32_t weight(struct span text) {
    uint32_t value = 0, digits = 0;
    bool behind = false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '.' && !behind) behind = true;
        else if (text.data[i] < '0' || text.data[i] > '9') return 0;
        else if (!behind || digits < 3) {
            value = value * 10 + (text.data[i] - '0');
            digits += behind;
        }
        if (value > 1000) return 0;
    }
    for (; digits < 3; digits++) value *= 10;
    return value > 1000 ? 0 : value;
}

const char *metric_page_type(const char *accept, bool *is_open_metrics) {
    enum { PLAIN, OPEN_1, OPEN_0, FORMATS };
    static const char *const types[] = {[PLAIN] = "text/plain; version=0.0.4; charset=utf-8", [OPEN_1] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
                                        [OPEN_0] = "application/openmetrics-text; version=0.0.1; charset=utf-8"};
    uint32_t weights[FORMATS] = {0};
    struct span rest = accept ? span_of(accept, strlen(accept)) : (struct span){0}, range, part;
    while (next_part(&rest, ',', &range)) {
        struct span version = {0}, type;
        uint32_t q = 1000;
        int format = -1;
        if (!next_part(&range, ';', &type)) continue;
        while (next_part(&range, ';', &part)) {
            if (part.size > 2 && memcmp(part.data, "q=", 2) == 0) q = weight(span_of(part.data + 2, part.size - 2));
            if (part.size > 8 && memcmp(part.data, "version=", 8) == 0) version = span_of(part.data + 8, part.size - 8);
        }
        bool is_open = span_equal(type, SPAN_LITERAL("application/openmetrics-text"));
        if (is_open && (!version.size || span_equal(version, SPAN_LITERAL("1.0.0")))) format = OPEN_1;
        else if (is_open && span_equal(version, SPAN_LITERAL("0.0.1"))) format = OPEN_0;
        else if (span_equal(type, SPAN_LITERAL("*/*")) || span_equal(type, SPAN_LITERAL("text/*"))) format = PLAIN;
        else if (span_equal(type, SPAN_LITERAL("text/plain")) && (!version.size || span_equal(version, SPAN_LITERAL("0.0.4")))) format = PLAIN;
        if (format >= 0 && q > weights[format]) weights[format] = q;
    }
    int best = weights[OPEN_1] >= weights[OPEN_0] ? OPEN_1 : OPEN_0;
    if (weights[best] == 0 || weights[best] < weights[PLAIN]) best = PLAIN; /* who asks for neither gets what everybody reads */
    *is_open_metrics = best != PLAIN;
    return types[best];
}
