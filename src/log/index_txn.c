#include "log/index_txn.h"

enum { AT_VERSION = 0, AT_PRODUCER = 2, AT_FIRST = 10, AT_LAST = 18, AT_STABLE = 26, VERSION = 0 };
static_assert(AT_STABLE + 8 == TXN_ENTRY_BYTES, "the fields fill the entry");

void txn_entry_encode(const struct txn_entry *entry, uint8_t *target) {
    store_be16(target + AT_VERSION, VERSION);
    store_be64(target + AT_PRODUCER, (uint64_t)entry->producer);
    store_be64(target + AT_FIRST, (uint64_t)entry->first);
    store_be64(target + AT_LAST, (uint64_t)entry->last);
    store_be64(target + AT_STABLE, (uint64_t)entry->stable);
}

enum err txn_entry_decode(const uint8_t *source, struct txn_entry *out) {
    if (load_be16(source + AT_VERSION) != VERSION) return ERR_UNSUPPORTED;
    *out = (struct txn_entry){
        .producer = (producer_id)load_be64(source + AT_PRODUCER),
        .first = (log_offset)load_be64(source + AT_FIRST),
        .last = (log_offset)load_be64(source + AT_LAST),
        .stable = (log_offset)load_be64(source + AT_STABLE),
    };
    return ERR_NONE;
}

enum err txn_index_check(struct span bytes, log_offset base, size_t *good) {
    log_offset before = -1;
    *good = 0;
    for (; bytes.size - *good >= TXN_ENTRY_BYTES; *good += TXN_ENTRY_BYTES) {
        struct txn_entry entry;
        if (txn_entry_decode(bytes.data + *good, &entry)) return ERR_CORRUPT;
        if (entry.last < base || entry.last <= before || entry.first > entry.last) return ERR_CORRUPT;
        before = entry.last;
    }
    return *good == bytes.size ? ERR_NONE : ERR_CORRUPT;
}

size_t txn_index_bytes_before(struct span bytes, log_offset offset) {
    size_t kept = 0;
    struct txn_entry entry;
    while (bytes.size - kept >= TXN_ENTRY_BYTES && !txn_entry_decode(bytes.data + kept, &entry) && entry.last < offset) kept += TXN_ENTRY_BYTES;
    return kept;
}

void txn_search_init(struct txn_search *search, log_offset from, log_offset upto, struct arena *arena) {
    *search = (struct txn_search){.from = from, .upto = upto, .arena = arena};
}

static bool add(struct txn_search *search, const struct txn_entry *entry) {
    if (search->count == search->capacity) {
        uint32_t capacity = search->capacity ? search->capacity * 2 : 16;
        struct txn_entry *grown = ARENA_ARRAY(search->arena, capacity, struct txn_entry);
        if (!grown) return false;
        if (search->count) memcpy(grown, search->entries, search->count * sizeof *grown);
        search->entries = grown;
        search->capacity = capacity;
    }
    search->entries[search->count++] = *entry;
    return true;
}

enum err txn_search_segment(struct txn_search *search, struct span bytes) {
    for (size_t at = 0; bytes.size - at >= TXN_ENTRY_BYTES; at += TXN_ENTRY_BYTES) {
        struct txn_entry entry;
        if (txn_entry_decode(bytes.data + at, &entry)) return ERR_CORRUPT;
        if (entry.last >= search->from && entry.first < search->upto && !add(search, &entry)) return ERR_NO_MEMORY;
        /* Nothing below the last stable offset was open when this marker was written: what comes later began behind it. */
        if (entry.stable >= search->upto) {
            search->complete = true;
            return ERR_NONE;
        }
    }
    return ERR_NONE;
}

void txn_search_sort(struct txn_search *search) {
    /* Few, and nearly in order: markers come in about the order of their transactions. */
    for (uint32_t i = 1; i < search->count; i++) {
        struct txn_entry entry = search->entries[i];
        uint32_t k = i;
        for (; k > 0 && search->entries[k - 1].first > entry.first; k--) search->entries[k] = search->entries[k - 1];
        search->entries[k] = entry;
    }
}
