#include "base/random.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

/* xoshiro256**, seeded through splitmix64. */
static uint64_t splitmix(uint64_t *x) {
    uint64_t z = *x += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void random_seed(struct random *random, uint64_t seed) {
    for (size_t i = 0; i < 4; i++) random->state[i] = splitmix(&seed);
}

static uint64_t rotate(uint64_t v, int by) {
    return v << by | v >> (64 - by);
}

uint64_t random_u64(struct random *random) {
    uint64_t *s = random->state, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t bound) {
    assert(bound > 0);
    uint64_t reject_below = -bound % bound, v;
    do v = random_u64(random);
    while (v < reject_below);
    return v % bound;
}

bool random_chance(struct random *random, uint64_t numerator, uint64_t denominator) {
    return random_below(random, denominator) < numerator;
}

void random_bytes(struct random *random, void *target, size_t size) {
    uint8_t *at = target;
    while (size > 0) {
        uint64_t v = random_u64(random);
        size_t part = size < 8 ? size : 8;
        memcpy(at, &v, part);
        at += part;
        size -= part;
    }
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void uuid_text(struct uuid id, char out[UUID_TEXT_BYTES + 1]) {
    uint32_t bits = 0;
    int have = 0, n = 0;
    for (int i = 0; i < 16; i++) {
        bits = bits << 8 | id.bytes[i];
        for (have += 8; have >= 6; have -= 6) out[n++] = alphabet[bits >> (have - 6) & 63];
    }
    out[n++] = alphabet[bits << (6 - have) & 63];
    out[n] = 0;
}

bool uuid_parse(const char *text, size_t size, struct uuid *out) {
    if (size != UUID_TEXT_BYTES) return false;
    uint32_t bits = 0;
    int have = 0, n = 0;
    for (size_t i = 0; i < size; i++) {
        const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!at) return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        have += 6;
        if (have >= 8 && n < 16) out->bytes[n++] = (uint8_t)(bits >> (have -= 8));
    }
    return true;
}

bool uuid_equal(struct uuid a, struct uuid b) {
    return memcmp(a.bytes, b.bytes, 16) == 0;
}

int uuid_compare(struct uuid a, struct uuid b) {
    return memcmp(a.bytes, b.bytes, 16);
}

bool uuid_is_zero(struct uuid id) {
    return load_be64(id.bytes) == 0 && load_be64(id.bytes + 8) == 0;
}

uint64_t uuid_hash(struct uuid id) {
    return hash_bytes(id.bytes, 16);
}

struct uuid uuid_random(struct random *random) {
    struct uuid id;
    char text[UUID_TEXT_BYTES + 1];
    do {
        random_bytes(random, id.bytes, 16);
        id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
        id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
        uuid_text(id, text);
    } while (strchr(text, '-'));
    return id;
}
