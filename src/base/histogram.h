/* base/histogram.h - how long things took: counts in fixed buckets from 16 microseconds to 67 seconds, two for each doubling.
 *
 * The same bounds everywhere, so that histograms of several shards are added bucket by bucket. A value goes into the first
 * bucket whose bound is not below it; the last bucket has no bound. One owner writes; whoever else wants it gets a copy.
 */
#pragma once
#include "base/units.h"

enum { HISTOGRAM_LOW_BIT = 4, HISTOGRAM_HIGH_BIT = 26, HISTOGRAM_BOUNDS = 2 * (HISTOGRAM_HIGH_BIT - HISTOGRAM_LOW_BIT) + 1 };
struct histogram {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1];
    uint64_t sum_ns;
};
/* Of the i-th bucket, in microseconds: 16, 24, 32, 48, 64, 96, ... */
static inline uint64_t histogram_bound_us(uint32_t i) {
    return (UINT64_C(2) + (i & 1)) << (HISTOGRAM_LOW_BIT - 1 + i / 2);
}

static inline uint32_t histogram_bucket(time_ns took) {
    uint64_t us = took <= 0 ? 0 : ((uint64_t)took + 999) / 1000;
    if (us <= UINT64_C(1) << HISTOGRAM_LOW_BIT) return 0;
    uint64_t below = us - 1; /* bounds belong to the bucket that they end */
    uint32_t bit = 63u - (uint32_t)__builtin_clzll(below);
    if (bit >= HISTOGRAM_HIGH_BIT) return HISTOGRAM_BOUNDS;
    return 2 * (bit - HISTOGRAM_LOW_BIT) + (uint32_t)(below >> (bit - 1) & 1) + 1;
}

static inline void histogram_add(struct histogram *histogram, time_ns took) {
    histogram->buckets[histogram_bucket(took)]++;
    histogram->sum_ns += took > 0 ? (uint64_t)took : 0;
}

void histogram_merge(struct histogram *into, const struct histogram *from);
uint64_t histogram_count(const struct histogram *histogram);
