/* OTLP's MetricsData, as far as counting needs it (field numbers of opentelemetry/proto/metrics/v1):
 *   MetricsData { 1: ResourceMetrics { 2: ScopeMetrics { 2: Metric { 5, 7, 9, 10, 11: data { 1: a point } } } } }
 */
#include "base/bytes.h"
#include "broker/telemetry.h"

enum otlp_type { OTLP_VARINT = 0, OTLP_FIXED64 = 1, OTLP_BYTES = 2, OTLP_FIXED32 = 5 };
struct field {
    uint32_t number;
    enum otlp_type type;
    struct span bytes; /* OTLP_BYTES */
};

/* False at the end, and with *bad where the bytes are no field. */
static bool next_field(struct span *rest, struct field *out, bool *bad) {
    const uint8_t *at = rest->data, *end = rest->data + rest->size;
    uint64_t key, value = 0;
    if (rest->size == 0) return false;
    *bad = true;
    size_t used = uvarint64_load(at, end, &key);
    if (!used || key >> 3 == 0 || key >> 3 > UINT32_MAX) return false;
    at += used;
    out->number = (uint32_t)(key >> 3);
    out->type = (enum otlp_type)(key & 7);
    size_t size;
    switch (out->type) {
    case OTLP_VARINT:
        if (!(size = uvarint64_load(at, end, &value))) return false;
        break;
    case OTLP_FIXED64: size = 8; break;
    case OTLP_FIXED32: size = 4; break;
    case OTLP_BYTES:
        if (!(used = uvarint64_load(at, end, &value))) return false;
        at += used;
        if (value > (uint64_t)(end - at)) return false;
        size = (size_t)value;
        break;
    default: return false;
    }
    if (size > (size_t)(end - at)) return false;
    out->bytes = span_of(at, size);
    *rest = span_of(at + size, (size_t)(end - at) - size);
    *bad = false;
    return true;
}

static bool is_data(uint32_t number) { return number == 5 || number == 7 || number == 9 || number == 10 || number == 11; }

/* Depth 0 is MetricsData, 3 a Metric, 4 its data. */
static bool count_at(struct span bytes, uint32_t depth, struct telemetry_counts *counts) {
    static const uint32_t inner[] = {1, 2, 2};
    struct field field;
    bool bad = false;
    while (next_field(&bytes, &field, &bad)) {
        if (field.type != OTLP_BYTES) continue;
        if (depth == 4) {
            if (field.number == 1) counts->points++;
            continue;
        }
        bool goes_down = depth < 3 ? field.number == inner[depth] : is_data(field.number);
        if (!goes_down) continue;
        if (depth == 2) counts->metrics++;
        if (!count_at(field.bytes, depth + 1, counts)) return false;
    }
    return !bad;
}

bool telemetry_count(struct span payload, struct telemetry_counts *counts) {
    *counts = (struct telemetry_counts){0};
    return count_at(payload, 0, counts);
}
