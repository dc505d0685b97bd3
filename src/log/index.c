#include "log/index.h"
#include "base/bytes.h"
#include <errno.h>

void index_init(struct index *index, enum index_kind kind, log_offset base, uint32_t bytes_max, struct pool *pool) {
    *index = (struct index){.kind = kind, .base = base, .pool = pool, .known = true};
    index->entries_max = bytes_max / index_entry_bytes(kind);
    index->last = kind == INDEX_OFFSET ? (struct index_entry){base, 0} : (struct index_entry){-1, base};
}

void index_free(struct index *index) {
    pool_free(index->pool, index->bytes, index->capacity);
    index->bytes = NULL;
    index->capacity = 0;
    index->first = index->filed = index->entries = 0;
    index->known = false;
}

bool index_is_full(const struct index *index) {
    return index->entries + (index->kind == INDEX_TIME ? 1 : 0) >= index->entries_max;
}

size_t index_memory(const struct index *index) {
    return index->capacity;
}

bool index_is_loaded(const struct index *index) {
    return index->known && index->first == 0;
}

static struct index_entry decode(enum index_kind kind, log_offset base, const uint8_t *at) {
    if (kind == INDEX_OFFSET) return (struct index_entry){base + (int32_t)load_be32(at), (int32_t)load_be32(at + 4)};
    return (struct index_entry){(int64_t)load_be64(at), base + (int32_t)load_be32(at + 8)};
}

struct index_entry index_entry_at(const struct index *index, uint32_t at) {
    assert(at >= index->first && at < index->entries);
    return decode(index->kind, index->base, index->bytes + (size_t)(at - index->first) * index_entry_bytes(index->kind));
}

static bool reserve(struct index *index, uint32_t bytes) {
    if (bytes <= index->capacity) return true;
    uint32_t capacity = index->capacity ? index->capacity : 256;
    while (capacity < bytes) capacity *= 2;
    uint32_t used = (index->entries - index->first) * index_entry_bytes(index->kind);
    uint8_t *grown = pool_alloc(index->pool, capacity);
    if (!grown) return false;
    if (used) memcpy(grown, index->bytes, used);
    pool_free(index->pool, index->bytes, index->capacity);
    index->bytes = grown;
    index->capacity = capacity;
    return true;
}

bool index_add(struct index *index, int64_t key, int64_t value) {
    assert(index->known);
    if (index->entries >= index->entries_max) return false;
    if (index->entries > 0 && key <= index->last.key) return false;
    log_offset offset = index->kind == INDEX_OFFSET ? key : value;
    if (offset < index->base || offset - index->base > INT32_MAX) return false;
    if (index->kind == INDEX_OFFSET && (value <= 0 || value > INT32_MAX)) return false;
    if (index->kind == INDEX_TIME && index->entries > 0 && value < index->last.value) return false;
    uint32_t each = index_entry_bytes(index->kind), used = (index->entries - index->first) * each;
    if (!reserve(index, used + each)) return false;
    uint8_t *at = index->bytes + used;
    if (index->kind == INDEX_OFFSET) {
        store_be32(at, (uint32_t)(key - index->base));
        store_be32(at + 4, (uint32_t)value);
    } else {
        store_be64(at, (uint64_t)key);
        store_be32(at + 8, (uint32_t)(value - index->base));
    }
    index->entries++;
    index->last = (struct index_entry){key, value};
    return true;
}

void index_add_time(struct index *index, time_ms timestamp, log_offset offset, bool closing) {
    assert(index->kind == INDEX_TIME);
    if (timestamp <= index->last.key) return;
    if (!closing && index_is_full(index)) return;
    index_add(index, timestamp, offset);
}

enum err index_find(const struct index *index, int64_t key, struct index_entry *out) {
    if (!index->known) return ERR_AGAIN;
    if (index->first > 0) { /* the entries in memory decide only for what lies behind the first of them */
        if (index->first == index->entries || index_entry_at(index, index->first).key > key) return ERR_AGAIN;
    }
    uint32_t low = index->first, high = index->entries; /* the answer is the one before the first entry above key */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index_entry_at(index, middle).key <= key) low = middle + 1;
        else high = middle;
    }
    if (low == index->first) return ERR_NOT_FOUND;
    *out = index_entry_at(index, low - 1);
    return ERR_NONE;
}

static log_offset offset_of(const struct index *index, struct index_entry entry) {
    return index->kind == INDEX_OFFSET ? entry.key : entry.value;
}

void index_cut(struct index *index, log_offset offset) {
    assert(index_is_loaded(index));
    while (index->entries > 0 && offset_of(index, index_entry_at(index, index->entries - 1)) >= offset) index->entries--;
    if (index->filed > index->entries) index->filed = index->entries;
    if (index->entries > 0) index->last = index_entry_at(index, index->entries - 1);
    else index->last = index->kind == INDEX_OFFSET ? (struct index_entry){index->base, 0} : (struct index_entry){-1, index->base};
}

void index_unload(struct index *index) {
    uint32_t each = index_entry_bytes(index->kind), drop = index->filed - index->first;
    uint32_t kept = (index->entries - index->filed) * each;
    if (drop == 0) return;
    if (kept == 0) {
        pool_free(index->pool, index->bytes, index->capacity);
        index->bytes = NULL;
        index->capacity = 0;
    } else {
        memmove(index->bytes, index->bytes + (size_t)drop * each, kept);
    }
    index->first = index->filed;
}

uint32_t index_valid_entries(enum index_kind kind, log_offset base, const uint8_t *bytes, size_t size, uint64_t log_size, log_offset end) {
    uint32_t each = index_entry_bytes(kind), count = (uint32_t)(size / each), valid = 0;
    struct index_entry last = {-1, 0};
    for (; valid < count; valid++) {
        struct index_entry entry = decode(kind, base, bytes + (size_t)valid * each);
        log_offset offset = kind == INDEX_OFFSET ? entry.key : entry.value;
        if (offset < base || offset >= end) break;
        if (kind == INDEX_OFFSET && (entry.value <= 0 || (uint64_t)entry.value >= log_size)) break;
        if (valid > 0 && entry.key <= last.key) break;
        if (valid > 0 && (kind == INDEX_OFFSET ? entry.value <= last.value : entry.value < last.value)) break;
        last = entry;
    }
    return valid;
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i]) return false;
    return true;
}

enum err index_file_load(struct index *index, struct io_files files, const char *path, uint32_t entries, uint64_t log_size, log_offset end) {
    enum err err = ERR_NONE;
    struct io_file *file = NULL;
    uint32_t each = index_entry_bytes(index->kind);
    assert(index->entries == 0);
    int64_t size = files.vtable->open(files.self, &file, path, IO_READ);
    if (size < 0) return size == -ENOENT ? ERR_NOT_FOUND : err_from_errno(size);
    size = files.vtable->size(files.self, file);
    if (size < 0) { err = err_from_errno(size); goto out; }
    /* A segment cannot have more entries than batches, nor a batch fewer than 16 bytes or so. */
    uint64_t most = log_size / 16 * each + each;
    uint64_t want = (uint64_t)size;
    if (entries != UINT32_MAX && want > (uint64_t)entries * each) want = (uint64_t)entries * each;
    if (want > most) want = most;
    if (want > UINT32_MAX / 2) want = UINT32_MAX / 2;
    want -= want % each;
    bool odd = (uint64_t)size % each != 0;
    if (want > 0) {
        if (!reserve(index, (uint32_t)want)) { err = ERR_NO_MEMORY; goto out; }
        int64_t got = files.vtable->read(files.self, file, index->bytes, want, 0);
        if (got < 0) { err = err_from_errno(got); goto out; }
        got -= got % each;
        uint32_t valid = index_valid_entries(index->kind, index->base, index->bytes, (size_t)got, log_size, end);
        bool zeros = all_zero(index->bytes + (size_t)valid * each, (size_t)got - (size_t)valid * each);
        /* An empty preallocated time index reads as one entry of timestamp 0 at the base. */
        if (index->kind == INDEX_TIME && valid == 1 && all_zero(index->bytes, each)) valid = 0;
        if (!zeros || (entries != UINT32_MAX && valid < entries)) err = ERR_CORRUPT;
        index->entries = valid;
    } else if (entries != UINT32_MAX && entries > 0) {
        err = ERR_CORRUPT;
    }
    if (odd) err = ERR_CORRUPT;
    index->filed = index->entries;
    if (index->entries > 0) index->last = index_entry_at(index, index->entries - 1);
out:
    io_file_drop(file);
    return err;
}

enum err index_file_write(const struct index *index, struct io_files files, const char *path, uint32_t from, bool sync) {
    uint32_t each = index_entry_bytes(index->kind);
    assert(index->known && from >= index->first && from <= index->entries);
    struct io_file *file = NULL;
    int64_t result = files.vtable->open(files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE);
    if (result < 0) return err_from_errno(result);
    int64_t size = files.vtable->size(files.self, file);
    uint64_t end = (uint64_t)index->entries * each;
    if (size < 0) result = size;
    if (result >= 0 && index->entries > from)
        result = files.vtable->write(files.self, file, index->bytes + (size_t)(from - index->first) * each,
                                     (size_t)(index->entries - from) * each, (uint64_t)from * each);
    if (result >= 0 && (uint64_t)size > end) result = files.vtable->truncate(files.self, file, end);
    if (result >= 0 && sync && (end || size)) result = files.vtable->sync_data(files.self, file); /* empty as ever: only a name */
    io_file_drop(file);
    return err_from_errno(result);
}

bool index_adopt(struct index *index, const struct index *front, bool rebuilt) {
    assert(front->kind == index->kind && front->base == index->base && front->first == 0);
    if (index_is_loaded(index)) return true; /* somebody else was faster */
    uint32_t each = index_entry_bytes(index->kind);
    if (!index->known) {
        if (!reserve(index, front->entries * each)) return false;
        if (front->entries) memcpy(index->bytes, front->bytes, (size_t)front->entries * each);
        index->entries = index->filed = front->entries;
        index->first = 0;
        index->last = front->last;
        index->known = true;
        return true;
    }
    uint32_t taken = index->first;
    if (rebuilt) { /* those before what is in memory */
        int64_t key = index->first < index->entries ? index_entry_at(index, index->first).key : INT64_MAX;
        for (taken = front->entries; taken > 0 && index_entry_at(front, taken - 1).key >= key; taken--)
            ;
    }
    assert(front->entries >= taken);
    uint32_t before = taken * each, behind = (index->entries - index->first) * each;
    uint32_t capacity = before + behind + 256;
    uint8_t *bytes = pool_alloc(index->pool, capacity);
    if (!bytes) return false;
    if (before) memcpy(bytes, front->bytes, before);
    if (behind) memcpy(bytes + before, index->bytes, behind);
    pool_free(index->pool, index->bytes, index->capacity);
    index->bytes = bytes;
    index->capacity = capacity;
    index->entries = taken + (index->entries - index->first);
    if (rebuilt) index->filed = 0;
    index->first = 0;
    if (rebuilt && index->entries > 0) index->last = index_entry_at(index, index->entries - 1);
    return true;
}

void index_check(const struct index *index) {
    if (!index->known) return;
    assert(index->first <= index->filed);
    assert(index->filed <= index->entries);
    assert((index->entries - index->first) * index_entry_bytes(index->kind) <= index->capacity);
    if (index->entries > index->first) {
        struct index_entry last = index_entry_at(index, index->entries - 1);
        assert(last.key == index->last.key);
        assert(last.value == index->last.value);
    }
}
