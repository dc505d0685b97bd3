#include "base/hash.h"
#include "base/bytes.h"
#include <isa-l/crc.h>
#include <zlib.h>

/* ISA-L's crc32_iscsi neither starts from nor ends with the inverted register: both are done here. */
uint32_t crc32c(uint32_t seed, const void *data, size_t size) {
    uint32_t crc = ~seed;
    const uint8_t *at = data;
    while (size > 0) {
        int part = size > MIB(512) ? (int)MIB(512) : (int)size;
        crc = crc32_iscsi((unsigned char *)(uintptr_t)at, part, crc);
        at += part;
        size -= (size_t)part;
    }
    return ~crc;
}

uint32_t crc32_zip(uint32_t seed, const void *data, size_t size) {
    return (uint32_t)crc32_z(seed, data, size);
}

uint32_t murmur2(const void *data, size_t size) {
    const uint32_t m = 0x5bd1e995;
    const uint8_t *at = data;
    uint32_t h = UINT32_C(0x9747b28c) ^ (uint32_t)size;
    for (; size >= 4; size -= 4, at += 4) {
        uint32_t k;
        memcpy(&k, at, 4);
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = h * m ^ k;
    }
    if (size >= 3) h ^= (uint32_t)at[2] << 16;
    if (size >= 2) h ^= (uint32_t)at[1] << 8;
    if (size >= 1) h = (h ^ at[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t java_string_hash(struct span utf8) {
    uint32_t h = 0;
    const uint8_t *at = utf8.data, *end = at + utf8.size;
    while (at < end) {
        uint32_t c = *at++;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        if (more) c &= 0x3fu >> more;
        for (; more > 0 && at < end; more--) c = c << 6 | (*at++ & 0x3f);
        if (c >= 0x10000) {
            c -= 0x10000;
            h = 31 * h + (0xd800 | c >> 10);
            c = 0xdc00 | (c & 0x3ff);
        }
        h = 31 * h + c;
    }
    return (int32_t)h;
}

uint64_t hash_bytes(const void *data, size_t size) {
    const uint8_t *at = data;
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ size;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t k;
        memcpy(&k, at, 8);
        h = hash_u64(h ^ k);
    }
    uint64_t tail = 0;
    if (size) memcpy(&tail, at, size);
    return hash_u64(h ^ tail);
}
