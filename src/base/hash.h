/* base/hash.h - checksums and hashes that Kafka's formats name, and one for our own maps. */
#pragma once
#include "base/buf.h"

/* CRC-32C (Castagnoli) as in record batches v2 and producer snapshots; `seed` is the checksum so far, 0 at first. */
uint32_t crc32c(uint32_t seed, const void *data, size_t size);
/* CRC-32 (IEEE) as in message sets v0 and v1. */
uint32_t crc32_zip(uint32_t seed, const void *data, size_t size);
/* Murmur2 with the seed of Kafka's default partitioner; partition = (hash & 0x7fffffff) % partitions. */
uint32_t murmur2(const void *data, size_t size);
/* Java's String.hashCode of UTF-8 text (by UTF-16 units): places groups and transactional ids on partitions. */
int32_t java_string_hash(struct span utf8);
/* For maps: fast, seeded by a constant, the same on every run. */
uint64_t hash_bytes(const void *data, size_t size);
static inline uint64_t hash_u64(uint64_t v) {
    v ^= v >> 32; v *= UINT64_C(0xd6e8feb86659fd93); v ^= v >> 32; v *= UINT64_C(0xd6e8feb86659fd93); return v ^ (v >> 32);
}
