/* base/bytes.h - numbers in bytes: big-endian as on Kafka's wire and in its files, and zigzag varints. */
#pragma once
#include "base/units.h"
#include "base/assert.h"
#include <string.h>

static inline uint16_t load_be16(const void *at) { uint16_t v; memcpy(&v, at, 2); return __builtin_bswap16(v); }
static inline uint32_t load_be32(const void *at) { uint32_t v; memcpy(&v, at, 4); return __builtin_bswap32(v); }
static inline uint64_t load_be64(const void *at) { uint64_t v; memcpy(&v, at, 8); return __builtin_bswap64(v); }
static inline void store_be16(void *at, uint16_t v) { v = __builtin_bswap16(v); memcpy(at, &v, 2); }
static inline void store_be32(void *at, uint32_t v) { v = __builtin_bswap32(v); memcpy(at, &v, 4); }
static inline void store_be64(void *at, uint64_t v) { v = __builtin_bswap64(v); memcpy(at, &v, 8); }
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "x86-64 and arm64, both little-endian here");

static inline uint32_t zigzag32(int32_t v) { return ((uint32_t)v << 1) ^ (uint32_t)(v >> 31); }
static inline uint64_t zigzag64(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); }
static inline int32_t unzigzag32(uint32_t v) { return (int32_t)(v >> 1) ^ -(int32_t)(v & 1); }
static inline int64_t unzigzag64(uint64_t v) { return (int64_t)(v >> 1) ^ -(int64_t)(v & 1); }

enum { VARINT32_BYTES_MAX = 5, VARINT64_BYTES_MAX = 10 };

/* Both answer the bytes read, or 0: cut short, too long, or does not fit the type. */
size_t uvarint32_load(const uint8_t *at, const uint8_t *end, uint32_t *out);
size_t uvarint64_load(const uint8_t *at, const uint8_t *end, uint64_t *out);
/* Both answer the bytes written; `at` has room for the maximum. */
size_t uvarint32_store(uint8_t *at, uint32_t v);
size_t uvarint64_store(uint8_t *at, uint64_t v);
static inline size_t uvarint_bytes(uint64_t v) {
    return v ? (size_t)(63 - __builtin_clzll(v)) / 7 + 1 : 1;
}
