/* cli/top_page.h - a page of metrics in Prometheus's text, read back: series by name and labels, what grew between two
 * pages, and quantiles of histograms. Lines that are none are passed over.
 */
#pragma once
#include "base/units.h"

struct series {
    const char *key;         /* name{labels}, ended by a 0; lives in the page's text */
    double value;
};
struct top_page {
    char *text;              /* owns */
    struct series *series;   /* owns: sorted by key */
    size_t count;
    double at_s;             /* when it was taken */
};
/* Takes the text, which ends with a 0 and is written to. False: no memory. */
bool top_page_read(struct top_page *page, char *text, double at_s);
void top_page_free(struct top_page *page); /* one that is all zero is fine */

/* Those of a metric, one after the other; NULL before the first and at the end. */
const struct series *top_next(const struct top_page *page, const char *name, const struct series *previous);
/* The value of a label, without its escapes; false: it has none, or an empty one. */
bool top_label(const struct series *series, const char *label, char *out, size_t size);
/* The sum over a metric's series, of those with label=value where `label` is not NULL. */
double top_sum(const struct top_page *page, const char *name, const char *label, const char *value);
/* How fast it grew, a second; 0 where there is no page before, or the process is another one. */
double top_rate(const struct top_page *now, const struct top_page *before, const char *name, const char *label, const char *value);
/* Of what came between the pages (or since the start), in seconds; -1: nothing came. Between two bounds it is drawn
 * straight. */
double top_quantile(const struct top_page *now, const struct top_page *before, const char *histogram, const char *label, const char *value, double q);
