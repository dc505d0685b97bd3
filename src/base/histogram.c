#include "base/histogram.h"

void histogram_merge(struct histogram *into, const struct histogram *from) {
    for (uint32_t i = 0; i <= HISTOGRAM_BOUNDS; i++) into->buckets[i] += from->buckets[i];
    into->sum_ns += from->sum_ns;
}

uint64_t histogram_count(const struct histogram *histogram) {
    uint64_t count = 0;
    for (uint32_t i = 0; i <= HISTOGRAM_BOUNDS; i++) count += histogram->buckets[i];
    return count;
}
