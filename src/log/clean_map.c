#include "log/clean_map.h"
#include "base/bytes.h"
#include <openssl/evp.h>
#include <string.h>

struct clean_slot {
    uint8_t digest[CLEAN_DIGEST_BYTES];
    log_offset offset;            /* of the key's last record, plus one; 0: the slot is free */
};
static_assert(sizeof(struct clean_slot) == CLEAN_SLOT_BYTES, "Kafka's settings count slots of this size");

enum err clean_map_init(struct clean_map *map, struct pool *pool, uint64_t keys, uint64_t bytes_max, double load_factor,
                        const uint8_t salt[CLEAN_SALT_BYTES]) {
    assert(load_factor > 0 && load_factor <= 1);
    *map = (struct clean_map){.pool = pool, .latest = -1};
    uint64_t most = bytes_max / CLEAN_SLOT_BYTES;
    uint64_t slots = keys > UINT32_MAX / 2 ? most : (uint64_t)((double)keys / load_factor) + 2;
    if (slots > most) slots = most;
    if (slots > UINT32_MAX) slots = UINT32_MAX;
    if (slots < 2) slots = 2;
    map->slot_count = (uint32_t)slots;
    map->used_max = (uint32_t)((double)slots * load_factor);
    if (map->used_max >= map->slot_count) map->used_max = map->slot_count - 1; /* a search ends at a free slot */
    if (map->used_max == 0) map->used_max = 1;
    memcpy(map->salt, salt, CLEAN_SALT_BYTES);
    map->slots = pool_zero_alloc(pool, (size_t)slots * CLEAN_SLOT_BYTES);
    map->digest = EVP_MD_CTX_new();
    if (map->slots && map->digest) return ERR_NONE;
    clean_map_destroy(map);
    return ERR_NO_MEMORY;
}

void clean_map_destroy(struct clean_map *map) {
    if (map->slots) pool_free(map->pool, map->slots, (size_t)map->slot_count * CLEAN_SLOT_BYTES);
    EVP_MD_CTX_free(map->digest);
    map->slots = NULL;
    map->digest = NULL;
}

/* The slot of the key, or the free one where it belongs. */
static struct clean_slot *find(const struct clean_map *map, struct span key, uint8_t digest[CLEAN_DIGEST_BYTES]) {
    uint8_t full[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    bool done = EVP_DigestInit_ex(map->digest, EVP_blake2s256(), NULL) && EVP_DigestUpdate(map->digest, map->salt, CLEAN_SALT_BYTES) &&
                EVP_DigestUpdate(map->digest, key.data, key.size) && EVP_DigestFinal_ex(map->digest, full, &size);
    if (!done || size < CLEAN_DIGEST_BYTES) never("a digest over memory cannot fail");
    memcpy(digest, full, CLEAN_DIGEST_BYTES);
    uint32_t at = (uint32_t)(load_be64(digest) % map->slot_count);
    while (map->slots[at].offset != 0 && memcmp(map->slots[at].digest, digest, CLEAN_DIGEST_BYTES) != 0) at = at + 1 == map->slot_count ? 0 : at + 1;
    return &map->slots[at];
}

bool clean_map_put(struct clean_map *map, struct span key, log_offset offset) {
    uint8_t digest[CLEAN_DIGEST_BYTES];
    struct clean_slot *slot = find(map, key, digest);
    if (slot->offset == 0) {
        if (map->used >= map->used_max) return false;
        map->used++;
        memcpy(slot->digest, digest, CLEAN_DIGEST_BYTES);
    }
    slot->offset = offset + 1;
    return true;
}

log_offset clean_map_get(const struct clean_map *map, struct span key) {
    uint8_t digest[CLEAN_DIGEST_BYTES];
    return find(map, key, digest)->offset - 1;
}
