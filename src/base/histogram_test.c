#include "base/histogram.h"
#include "test.h"

/* Each value lies in the first bucket whose bound is not below it: just below, at and just above every bound, in
 * nanoseconds, where a microsecond begun counts as whole. */
TEST(histogram_buckets_end_at_their_bounds) {
    for (uint32_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        time_ns bound = (time_ns)histogram_bound_us(i) * 1000;
        assert_int_equal(histogram_bucket(bound), i);
        assert_int_equal(histogram_bucket(bound - 999), i);
        assert_int_equal(histogram_bucket(bound + 1), i + 1);
        if (i > 0) assert_int_equal(histogram_bucket((time_ns)histogram_bound_us(i - 1) * 1000 + 1), i);
    }
    assert_int_equal(histogram_bound_us(0), 16);
    assert_int_equal(histogram_bound_us(1), 24);
    assert_int_equal(histogram_bound_us(HISTOGRAM_BOUNDS - 1), 1 << 26);
}

/* What took no time, or less than none because a clock went back, is in the first bucket and adds nothing to the sum; what
 * took for ever is in the last one, which has no bound. */
TEST(histogram_takes_every_value) {
    struct histogram h = {0};
    histogram_add(&h, 0);
    histogram_add(&h, -5 * NS_PER_S);
    assert_int_equal(h.buckets[0], 2);
    assert_int_equal(h.sum_ns, 0);
    histogram_add(&h, INT64_MAX);
    assert_int_equal(h.buckets[HISTOGRAM_BOUNDS], 1);
    assert_int_equal(h.sum_ns, INT64_MAX);
    assert_int_equal(histogram_count(&h), 3);
}

/* Two shards' histograms become one, bucket by bucket, the sum and the last bucket too. */
TEST(histogram_merges) {
    struct histogram a = {0}, b = {0};
    for (uint32_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        time_ns took = i < HISTOGRAM_BOUNDS ? (time_ns)histogram_bound_us(i) * 1000 : 100 * NS_PER_S;
        histogram_add(&a, took);
        histogram_add(&b, took);
        histogram_add(&b, took);
    }
    uint64_t sum = a.sum_ns + b.sum_ns;
    histogram_merge(&a, &b);
    for (uint32_t i = 0; i <= HISTOGRAM_BOUNDS; i++) assert_int_equal(a.buckets[i], 3);
    assert_int_equal(a.sum_ns, sum);
    assert_int_equal(histogram_count(&a), 3 * (HISTOGRAM_BOUNDS + 1));
}
