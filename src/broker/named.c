#include "broker/named.h"
#include <stdlib.h>
#include <string.h>

bool named_init(struct named *named, struct arena *arena, size_t count_max) {
    *named = (struct named){.capacity = (uint32_t)count_max};
    if (count_max > UINT32_MAX) return false;
    if (!(named->entries = ARENA_ARRAY(arena, count_max, struct named_entry))) return false;
    return (named->places = ARENA_ARRAY(arena, count_max, struct named_place)) != NULL;
}

static int by_topic(const struct named_entry *a, const struct named_entry *b) {
    if (a->topic.size != b->topic.size) return a->topic.size < b->topic.size ? -1 : 1;
    return a->topic.size ? memcmp(a->topic.data, b->topic.data, a->topic.size) : 0;
}

static int by_place_in_topic(const void *left, const void *right) {
    const struct named_entry *a = left, *b = right;
    int topics = by_topic(a, b);
    if (topics) return topics;
    if (a->index != b->index) return a->index < b->index ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

void named_add(struct named *named, struct span topic, partition_index index) {
    assert(named->count < named->capacity);
    struct named_entry *entry = &named->entries[named->count];
    *entry = (struct named_entry){topic, index, named->count};
    if (named->count > 0 && by_place_in_topic(entry - 1, entry) > 0) named->unsorted = true;
    named->count++;
}

void named_settle(struct named *named) {
    struct named_entry *entries = named->entries;
    uint32_t count = named->count, topic_end;
    if (named->unsorted) qsort(entries, count, sizeof *entries, by_place_in_topic);
    for (uint32_t topic = 0; topic < count; topic = topic_end) {
        uint32_t topic_first = entries[topic].at;
        for (topic_end = topic; topic_end < count && by_topic(&entries[topic_end], &entries[topic]) == 0; topic_end++)
            if (entries[topic_end].at < topic_first) topic_first = entries[topic_end].at;
        for (uint32_t begin = topic, end; begin < topic_end; begin = end) {
            named->distinct++;
            for (end = begin; end < topic_end && entries[end].index == entries[begin].index;) end++;
            struct named_place place = {.first = entries[begin].at, .last = entries[end - 1].at, .topic = topic_first};
            for (uint32_t i = begin; i < end; i++) named->places[entries[i].at] = place;
        }
    }
}
