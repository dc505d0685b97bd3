/* base/units.h - the numbers that Kafka's protocol and files are made of, each with a name and a unit. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t log_offset;      /* a record's place in a partition; -1 where Kafka says "none" */
typedef int32_t leader_epoch;    /* -1: not known */
typedef int32_t partition_index;
typedef int32_t broker_id;       /* -1: none */
typedef int64_t broker_epoch;
typedef int64_t producer_id;     /* -1: none */
typedef int64_t time_ms;         /* wall time since 1970, or a span of time, in milliseconds; -1: none */
typedef int64_t time_ns;         /* monotonic time or a span, in nanoseconds */

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define GIB(n) ((size_t)(n) << 30)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* A UUID as its sixteen bytes, most significant first: as on the wire. All zero is "none". */
struct uuid {
    uint8_t bytes[16];
};
