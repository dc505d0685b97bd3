#include "base/bytes.h"

size_t uvarint64_load(const uint8_t *at, const uint8_t *end, uint64_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < VARINT64_BYTES_MAX && at + i < end; i++) {
        uint8_t byte = at[i];
        if (i == VARINT64_BYTES_MAX - 1 && byte > 1) return 0;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *out = v;
            return i + 1;
        }
    }
    return 0;
}

size_t uvarint32_load(const uint8_t *at, const uint8_t *end, uint32_t *out) {
    uint32_t v = 0;
    for (size_t i = 0; i < VARINT32_BYTES_MAX && at + i < end; i++) {
        uint8_t byte = at[i];
        if (i == VARINT32_BYTES_MAX - 1 && byte > 0x0f) return 0;
        v |= (uint32_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *out = v;
            return i + 1;
        }
    }
    return 0;
}

size_t uvarint64_store(uint8_t *at, uint64_t v) {
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) at[n++] = (uint8_t)(v | 0x80);
    at[n++] = (uint8_t)v;
    return n;
}

size_t uvarint32_store(uint8_t *at, uint32_t v) {
    return uvarint64_store(at, v);
}
