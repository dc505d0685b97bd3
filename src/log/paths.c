#include "log/paths.h"
#include "base/assert.h"
#include "base/text.h"
#include <string.h>

void path_join(char out[PATH_MAX_BYTES], const char *folder, const char *name) {
    struct text text;
    text_init(&text, out, PATH_MAX_BYTES);
    text_add(&text, "%s/%s", folder, name);
    assert(!text.cut);
}

void path_of_offset(char out[PATH_MAX_BYTES], const char *folder, log_offset offset, const char *ending) {
    struct text text;
    assert(offset >= 0);
    text_init(&text, out, PATH_MAX_BYTES);
    text_add(&text, "%s/%020lld%s", folder, (long long)offset, ending);
    assert(!text.cut);
}

void path_partition_name(char out[NAME_MAX_BYTES + 1], const char *topic, partition_index partition) {
    struct text text;
    text_init(&text, out, NAME_MAX_BYTES + 1);
    text_add(&text, "%s-%d", topic, (int)partition);
    assert(!text.cut);
}

void path_away_name(char out[NAME_MAX_BYTES + 1], const char *topic, partition_index partition, struct uuid id, const char *ending) {
    char behind[128];
    struct text text;
    text_init(&text, behind, sizeof behind);
    text_add(&text, "-%d.", (int)partition);
    for (size_t i = 0; i < sizeof id.bytes; i++) text_add(&text, "%02x", id.bytes[i]);
    text_add(&text, "%s", ending);
    size_t room = NAME_MAX_BYTES - text.size;
    text_init(&text, out, NAME_MAX_BYTES + 1);
    text_add(&text, "%.*s%s", (int)room, topic, behind);
    assert(!text.cut);
}

bool name_ends_with(const char *name, const char *ending) {
    size_t size = strlen(name), end = strlen(ending);
    return size >= end && memcmp(name + size - end, ending, end) == 0;
}

bool name_offset(const char *name, const char *ending, log_offset *out) {
    uint64_t offset = 0;
    for (int i = 0; i < OFFSET_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') return false;
        if (__builtin_mul_overflow(offset, 10u, &offset) || __builtin_add_overflow(offset, (uint64_t)(name[i] - '0'), &offset)) return false;
    }
    if (strcmp(name + OFFSET_DIGITS, ending) != 0 || offset > INT64_MAX) return false;
    *out = (log_offset)offset;
    return true;
}

bool name_partition(const char *name, char topic[NAME_MAX_BYTES + 1], partition_index *partition) {
    const char *dash = strrchr(name, '-');
    if (!dash || dash == name || !dash[1] || (size_t)(dash - name) > NAME_MAX_BYTES) return false;
    int64_t number = 0;
    for (const char *at = dash + 1; *at; at++) {
        if (*at < '0' || *at > '9') return false;
        number = number * 10 + (*at - '0');
        if (number > INT32_MAX) return false;
    }
    memcpy(topic, name, (size_t)(dash - name));
    topic[dash - name] = 0;
    *partition = (partition_index)number;
    return true;
}

bool name_future(const char *name, char topic[NAME_MAX_BYTES + 1], partition_index *partition) {
    enum { ID_DIGITS = 32, ENDING_BYTES = 7 };
    size_t size = strlen(name);
    if (size > NAME_MAX_BYTES || size <= 1 + ID_DIGITS + ENDING_BYTES || !name_ends_with(name, "-future")) return false;
    size_t dot = size - ENDING_BYTES - ID_DIGITS - 1;
    if (name[dot] != '.') return false;
    for (size_t i = dot + 1; i < size - ENDING_BYTES; i++)
        if (!((name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'f'))) return false;
    char before[NAME_MAX_BYTES + 1];
    memcpy(before, name, dot);
    before[dot] = 0;
    return name_partition(before, topic, partition);
}
