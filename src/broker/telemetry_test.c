#include "base/text.h"
#include "broker/telemetry.h"
#include "test.h"
#include <string.h>

/* A field of bytes: its number and what is in it. */
static size_t put(uint8_t *target, uint32_t number, const uint8_t *bytes, size_t size) {
    assert_true(size < 128 && number < 16);
    target[0] = (uint8_t)(number << 3 | 2);
    target[1] = (uint8_t)size;
    memcpy(target + 2, bytes, size);
    return size + 2;
}

/* Two metrics, of three points and of one, below one resource; beside them fields that mean nothing here. */
static size_t sample(uint8_t *out) {
    uint8_t data[64], metric[128], scope[200], resource[220];
    static const uint8_t point[] = {0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0x96, 0x01}; /* a fixed number and a varint */
    size_t n = 0, m = 0, s = 0, r = 0;
    for (int i = 0; i < 3; i++) n += put(data + n, 1, point, sizeof point);
    m += put(metric + m, 1, (const uint8_t *)"a.name", 6);
    m += put(metric + m, 7, data, n);
    s += put(scope + s, 2, metric, m);
    n = put(data, 1, point, sizeof point);
    m = put(metric, 5, data, n);
    s += put(scope + s, 2, metric, m);
    r += put(resource + r, 1, (const uint8_t *)"attributes", 10);
    memcpy(resource + r, "\x12\x00", 2); /* an empty scope */
    r += 2;
    assert_true(s < 128);
    r += put(resource + r, 2, scope, s);
    assert_true(r < 128);
    return put(out, 1, resource, r);
}

/* Metrics and their points are counted wherever they lie. */
TEST(telemetry_is_counted) {
    uint8_t bytes[256];
    struct telemetry_counts counts;
    assert_true(telemetry_count(span_of(bytes, sample(bytes)), &counts));
    assert_int_equal(counts.metrics, 2);
    assert_int_equal(counts.points, 4);
    assert_true(telemetry_count(SPAN_LITERAL(""), &counts));
    assert_int_equal(counts.metrics, 0);
}

/* Cut anywhere but at its ends it is no payload; neither is garbage. */
TEST(telemetry_that_is_none_is_refused) {
    uint8_t bytes[256];
    struct telemetry_counts counts;
    size_t size = sample(bytes);
    for (size_t cut = 1; cut < size; cut++) assert_false(telemetry_count(span_of(bytes, cut), &counts));
    assert_false(telemetry_count(SPAN_LITERAL("\xff\xff\xff"), &counts));
    assert_false(telemetry_count(SPAN_LITERAL("\x0b"), &counts));         /* groups are not used */
    assert_false(telemetry_count(SPAN_LITERAL("\x02\x00"), &counts));     /* field 0 */
    assert_false(telemetry_count(SPAN_LITERAL("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &counts)); /* beyond the end */
}

/* The ids that no client may have. */
TEST(telemetry_reserved_ids) {
    struct uuid id = {{0}};
    assert_true(telemetry_is_reserved(id));
    id.bytes[15] = 1;
    assert_true(telemetry_is_reserved(id));
    id.bytes[15] = 2;
    assert_false(telemetry_is_reserved(id));
    id = (struct uuid){{[3] = 1}};
    assert_false(telemetry_is_reserved(id));
}
