#include "broker/named.h"
#include "base/hash.h"
#include <stdlib.h>
#include <string.h>

bool named_init(struct named *named, struct arena *arena, size_t count_max) {
    *named = (struct named){.capacity = (uint32_t)count_max};
    if (count_max > UINT32_MAX) return false;
    if (!(named->entries = ARENA_ARRAY(arena, count_max, struct named_entry))) return false;
    if (!(named->keys = ARENA_ARRAY(arena, count_max, struct named_key))) return false;
    if (!(named->spare = ARENA_ARRAY(arena, count_max, struct named_key))) return false;
    return (named->places = ARENA_ARRAY(arena, count_max, struct named_place)) != NULL;
}

static int by_topic(const struct named_entry *a, const struct named_entry *b) {
    if (a->topic.size != b->topic.size) return a->topic.size < b->topic.size ? -1 : 1;
    return a->topic.size ? memcmp(a->topic.data, b->topic.data, a->topic.size) : 0;
}

static int by_partition(const struct named_entry *a, const struct named_entry *b) {
    int topics = by_topic(a, b);
    return topics ? topics : a->index < b->index ? -1 : a->index > b->index;
}

/* By digits of the hash, the lowest first: comparisons of hashes, whose outcome no processor guesses, would take most of the
 * time of a request of many names. What has the same hash keeps its order. */
static void sort_by_hash(struct named *named) {
    for (int shift = 0; shift < 32; shift += 8) {
        uint32_t begins[256] = {0}, sum = 0;
        for (uint32_t i = 0; i < named->count; i++) begins[named->keys[i].hash >> shift & 0xff]++;
        for (size_t digit = 0; digit < countof(begins); digit++) {
            uint32_t size = begins[digit];
            begins[digit] = sum;
            sum += size;
        }
        for (uint32_t i = 0; i < named->count; i++) named->spare[begins[named->keys[i].hash >> shift & 0xff]++] = named->keys[i];
        struct named_key *sorted = named->spare;
        named->spare = named->keys;
        named->keys = sorted;
    }
}

static int by_place_in_topic(const void *left, const void *right, void *entries) {
    const struct named_key *a = left, *b = right;
    int partitions = by_partition((const struct named_entry *)entries + a->at, (const struct named_entry *)entries + b->at);
    return partitions ? partitions : a->at < b->at ? -1 : a->at > b->at;
}

void named_add(struct named *named, struct span topic, partition_index index) {
    assert(named->count < named->capacity);
    struct named_entry *entry = &named->entries[named->count];
    *entry = (struct named_entry){topic, index};
    if (named->count > 0 && by_partition(entry - 1, entry) > 0) named->unsorted = true;
    named->count++;
}

/* Of keys that are in order, so that what is the same lies together. */
static void settle_sorted(struct named *named, const struct named_key *keys, uint32_t count) {
    const struct named_entry *entries = named->entries;
    uint32_t topic_end;
    for (uint32_t topic = 0; topic < count; topic = topic_end) {
        uint32_t topic_first = keys[topic].at;
        for (topic_end = topic; topic_end < count && by_topic(&entries[keys[topic_end].at], &entries[keys[topic].at]) == 0; topic_end++)
            if (keys[topic_end].at < topic_first) topic_first = keys[topic_end].at;
        for (uint32_t begin = topic, end; begin < topic_end; begin = end) {
            named->distinct++;
            for (end = begin; end < topic_end && entries[keys[end].at].index == entries[keys[begin].at].index;) end++;
            struct named_place place = {.first = keys[begin].at, .last = keys[end - 1].at, .topic = topic_first};
            for (uint32_t i = begin; i < end; i++) named->places[keys[i].at] = place;
        }
    }
}

/* Names of one hash come together, mostly one name's; those are sorted in full, so that a client that makes many names of one
 * hash gains nothing by it. */
void named_settle(struct named *named) {
    for (uint32_t i = 0; i < named->count; i++)
        named->keys[i] = (struct named_key){named->unsorted ? (uint32_t)hash_bytes(named->entries[i].topic.data, named->entries[i].topic.size) : 0, i};
    if (named->unsorted) sort_by_hash(named);
    struct named_key *keys = named->keys;
    for (uint32_t begin = 0, end; begin < named->count; begin = end) {
        for (end = begin + 1; end < named->count && keys[end].hash == keys[begin].hash;) end++;
        if (named->unsorted && end - begin > 1) qsort_r(keys + begin, end - begin, sizeof *keys, by_place_in_topic, named->entries);
        settle_sorted(named, keys + begin, end - begin);
    }
}
