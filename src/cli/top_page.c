#include "cli/top_page.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 200, BOUNDS_MAX = 256 };

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct series *)a)->key, ((const struct series *)b)->key);
}

/* The value stands behind the last space: labels may hold spaces, values none. */
static bool read_line(char *line, struct series *out) {
    char *space = strrchr(line, ' '), *end;
    if (!space || space == line || line[0] == '#') return false;
    *space = 0;
    out->key = line;
    out->value = strtod(space + 1, &end);
    return end > space + 1 && *end == 0;
}

bool top_page_read(struct top_page *page, char *text, double at_s) {
    size_t lines = 1;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    *page = (struct top_page){.text = text, .at_s = at_s, .series = malloc(lines * sizeof *page->series)};
    if (!page->series) return false;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (read_line(line, &page->series[page->count])) page->count++;
    qsort(page->series, page->count, sizeof *page->series, by_key);
    return true;
}

void top_page_free(struct top_page *page) {
    free(page->text);
    free(page->series);
    *page = (struct top_page){0};
}

static bool is_of(const struct series *series, const char *name, size_t size) {
    return strncmp(series->key, name, size) == 0 && (series->key[size] == '{' || series->key[size] == 0);
}

const struct series *top_next(const struct top_page *page, const char *name, const struct series *previous) {
    const struct series *end = page->series + page->count, *at = previous ? previous + 1 : page->series;
    size_t size = strlen(name);
    if (!previous) { /* those before it are smaller than the name itself */
        size_t low = 0, high = page->count;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (strcmp(page->series[middle].key, name) < 0) low = middle + 1;
            else high = middle;
        }
        at = page->series + low;
    }
    /* Names that begin with this one may stand between it and its series with labels: '_' is smaller than '{'. */
    for (; at < end && strncmp(at->key, name, size) == 0; at++)
        if (is_of(at, name, size)) return at;
    return NULL;
}

/* To the value behind label=" ; NULL: not there. */
static const char *find_label(const char *key, const char *label) {
    const char *at = strchr(key, '{');
    size_t size = strlen(label);
    while (at && *at && *at != '}') {
        const char *equal = strchr(++at, '=');
        if (!equal || equal[1] != '"') return NULL;
        if ((size_t)(equal - at) == size && strncmp(at, label, size) == 0) return equal + 2;
        for (at = equal + 2; *at && *at != '"'; at++)
            if (*at == '\\' && at[1]) at++;
        if (*at) at++; /* a comma, or the brace */
    }
    return NULL;
}

bool top_label(const struct series *series, const char *label, char *out, size_t size) {
    const char *at = find_label(series->key, label);
    size_t n = 0;
    for (; at && *at && *at != '"' && n + 1 < size; at++) {
        if (*at == '\\' && at[1]) at++;
        out[n++] = *at == 'n' && at[-1] == '\\' ? ' ' : *at;
    }
    out[n] = 0;
    return n > 0;
}

static bool has_label(const struct series *series, const char *label, const char *value) {
    char text[1024];
    if (!label) return true;
    bool has = top_label(series, label, text, sizeof text);
    return has ? strcmp(text, value) == 0 : *value == 0;
}

double top_sum(const struct top_page *page, const char *name, const char *label, const char *value) {
    double sum = 0;
    for (const struct series *s = NULL; (s = top_next(page, name, s));)
        if (has_label(s, label, value)) sum += s->value;
    return sum;
}

static bool is_later(const struct top_page *now, const struct top_page *before) {
    return before->count > 0 && now->at_s > before->at_s &&
           fabs(top_sum(now, "process_start_time_seconds", NULL, NULL) - top_sum(before, "process_start_time_seconds", NULL, NULL)) < 2;
}

double top_rate(const struct top_page *now, const struct top_page *before, const char *name, const char *label, const char *value) {
    if (!is_later(now, before)) return 0;
    double grown = top_sum(now, name, label, value) - top_sum(before, name, label, value);
    return grown > 0 ? grown / (now->at_s - before->at_s) : 0;
}

struct bucket { double bound, count; };
static int by_bound(const void *a, const void *b) {
    double x = ((const struct bucket *)a)->bound, y = ((const struct bucket *)b)->bound;
    return (x > y) - (x < y);
}

static void add_buckets(const struct top_page *page, double sign, const char *name, const char *label, const char *value, struct bucket *buckets, uint32_t *count) {
    char bound[64];
    for (const struct series *s = NULL; (s = top_next(page, name, s));) {
        if (!has_label(s, label, value) || !top_label(s, "le", bound, sizeof bound)) continue;
        double at = strcmp(bound, "+Inf") == 0 ? INFINITY : strtod(bound, NULL);
        uint32_t i = 0;
        while (i < *count && buckets[i].bound != at) i++;
        if (i == BOUNDS_MAX) continue;
        if (i == *count) buckets[(*count)++] = (struct bucket){.bound = at};
        buckets[i].count += sign * s->value;
    }
}

double top_quantile(const struct top_page *now, const struct top_page *before, const char *histogram, const char *label, const char *value, double q) {
    struct bucket buckets[BOUNDS_MAX];
    uint32_t count = 0;
    char name[NAME_BYTES_MAX];
    snprintf(name, sizeof name, "%s_bucket", histogram);
    add_buckets(now, 1, name, label, value, buckets, &count);
    if (is_later(now, before)) add_buckets(before, -1, name, label, value, buckets, &count);
    qsort(buckets, count, sizeof *buckets, by_bound);
    if (count == 0 || buckets[count - 1].count < 1) return -1;
    double wanted = q * buckets[count - 1].count, low = 0, below = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (buckets[i].count >= wanted) {
            if (isinf(buckets[i].bound)) return low;
            double in = buckets[i].count - below;
            return in > 0 ? low + (buckets[i].bound - low) * (wanted - below) / in : buckets[i].bound;
        }
        low = buckets[i].bound;
        below = buckets[i].count;
    }
    return low;
}
