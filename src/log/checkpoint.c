#include "log/checkpoint.h"
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

/* ---- Lines and numbers, as Java's readers take them */

struct lines {
    struct span rest;
    uint32_t line;        /* number of the last one given */
};

static bool next_line(struct lines *lines, struct span *out) {
    if (lines->rest.size == 0) return false;
    const uint8_t *end = memchr(lines->rest.data, '\n', lines->rest.size);
    size_t size = end ? (size_t)(end - lines->rest.data) : lines->rest.size, taken = end ? size + 1 : size;
    *out = span_of(lines->rest.data, size);
    if (size && out->data[size - 1] == '\r') out->size--;
    lines->rest.data += taken;
    lines->rest.size -= taken;
    lines->line++;
    return true;
}

static bool is_space(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The field up to white space or the end, and the white space behind it. An empty one is no field. */
static bool next_field(struct span *rest, struct span *out) {
    size_t size = 0;
    while (size < rest->size && !is_space(rest->data[size])) size++;
    *out = span_of(rest->data, size);
    while (size < rest->size && is_space(rest->data[size])) size++;
    rest->data += size;
    rest->size -= size;
    return out->size > 0;
}

static bool parse_number(struct span text, int64_t min, int64_t max, int64_t *out) {
    size_t i = 0;
    bool negative = text.size > 1 && text.data[0] == '-';
    if (negative || (text.size > 1 && text.data[0] == '+')) i = 1;
    if (i == text.size) return false;
    int64_t value = 0;
    for (; i < text.size; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9) return false;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value)) return false; /* below 0: reaches the least */
    }
    if (!negative && value == INT64_MIN) return false;
    *out = negative ? value : -value;
    return *out >= min && *out <= max;
}

static enum err fault_at(struct checkpoint_fault *fault, uint32_t line, const char *why) {
    *fault = (struct checkpoint_fault){line, why};
    return ERR_CORRUPT;
}

/* Version and count, in front of the entries. *count -1: the file is empty, which is fine. */
static enum err read_head(struct lines *lines, int64_t *count, struct checkpoint_fault *fault) {
    struct span line;
    int64_t version;
    *fault = (struct checkpoint_fault){0};
    *count = -1;
    if (!next_line(lines, &line)) return ERR_NONE;
    if (!parse_number(line, INT32_MIN, INT32_MAX, &version)) return fault_at(fault, lines->line, "the version is not a number");
    if (version != 0) return fault_at(fault, lines->line, "a version that is not known");
    if (!next_line(lines, &line)) return ERR_NONE;
    if (!parse_number(line, 0, INT32_MAX, count)) return fault_at(fault, lines->line, "the count is not a number");
    return ERR_NONE;
}

/* Each entry takes a few bytes: a count that the file cannot hold is not believed. */
static bool count_is_possible(int64_t count, struct span rest, size_t entry_bytes_min) {
    return count <= (int64_t)(rest.size / entry_bytes_min) + 1;
}

/* ---- Offsets */

static bool parse_offset(struct span line, struct checkpoint_offset *out) {
    struct span partition, offset;
    int64_t number;
    if (!next_field(&line, &out->topic) || !next_field(&line, &partition) || !next_field(&line, &offset) || line.size) return false;
    if (!parse_number(partition, INT32_MIN, INT32_MAX, &number)) return false;
    out->partition = (partition_index)number;
    return parse_number(offset, INT64_MIN, INT64_MAX, &out->offset);
}

enum err checkpoint_offsets_parse(struct span bytes, struct arena *arena, struct checkpoint_offset **entries, uint32_t *count,
                                  struct checkpoint_fault *fault) {
    struct lines lines = {bytes, 0};
    struct span line;
    int64_t expected;
    *entries = NULL;
    *count = 0;
    enum err err = read_head(&lines, &expected, fault);
    if (err || expected < 0) return err;
    if (!count_is_possible(expected, lines.rest, sizeof "t 0 0")) return fault_at(fault, 2, "fewer entries than counted");
    struct checkpoint_offset *list = ARENA_ARRAY(arena, (size_t)expected + 1, struct checkpoint_offset);
    if (!list) return ERR_NO_MEMORY;
    while (next_line(&lines, &line)) {
        if (*count == expected) return fault_at(fault, lines.line, "more entries than counted");
        if (!parse_offset(line, &list[*count])) return fault_at(fault, lines.line, "not `topic partition offset`");
        ++*count;
    }
    if (*count != expected) return fault_at(fault, 2, "fewer entries than counted");
    *entries = list;
    return ERR_NONE;
}

size_t checkpoint_offsets_size(const struct checkpoint_offset *entries, uint32_t count) {
    size_t size = CHECKPOINT_HEAD_BYTES_MAX + 1;
    for (uint32_t i = 0; i < count; i++) size += entries[i].topic.size + 1 + 11 + 1 + 20 + 1;
    return size;
}

void checkpoint_offsets_head(uint32_t count, struct text *out) {
    text_add(out, "0\n%" PRIu32 "\n", count);
}

void checkpoint_offsets_line(struct span topic, partition_index partition, log_offset offset, struct text *out) {
    text_add_span(out, topic);
    text_add_bytes(out, " ", 1);
    text_add_number(out, partition);
    text_add_bytes(out, " ", 1);
    text_add_number(out, offset);
    text_add_bytes(out, "\n", 1);
}

void checkpoint_offsets_print(const struct checkpoint_offset *entries, uint32_t count, struct text *out) {
    checkpoint_offsets_head(count, out);
    for (uint32_t i = 0; i < count; i++) checkpoint_offsets_line(entries[i].topic, entries[i].partition, entries[i].offset, out);
}

/* ---- Leader epochs */

enum err checkpoint_epochs_parse(struct span bytes, struct epoch_cache *cache, struct checkpoint_fault *fault) {
    struct lines lines = {bytes, 0};
    struct span line;
    int64_t expected, seen = 0;
    epoch_cache_clear(cache);
    enum err err = read_head(&lines, &expected, fault);
    if (err || expected < 0) return err;
    while (next_line(&lines, &line)) {
        struct span epoch, start;
        int64_t epoch_number, start_number;
        bool is = next_field(&line, &epoch) && next_field(&line, &start) && line.size == 0 &&
                  parse_number(epoch, 0, INT32_MAX, &epoch_number) && parse_number(start, 0, INT64_MAX, &start_number);
        if (!is) err = fault_at(fault, lines.line, "not `epoch start`");
        else err = epoch_assign(cache, (leader_epoch)epoch_number, start_number);
        if (err) goto fail;
        seen++;
    }
    if (seen == expected) {
        cache->changed = false;
        return ERR_NONE;
    }
    err = fault_at(fault, 2, "another count than entries");
fail:
    epoch_cache_clear(cache);
    return err;
}

size_t checkpoint_epochs_size(const struct epoch_cache *cache) {
    return CHECKPOINT_HEAD_BYTES_MAX + 1 + (size_t)cache->count * (11 + 1 + 20 + 1);
}

void checkpoint_epochs_print(const struct epoch_cache *cache, struct text *out) {
    text_add(out, "0\n%" PRIu32 "\n", cache->count);
    for (uint32_t i = 0; i < cache->count; i++) text_add(out, "%" PRId32 " %" PRId64 "\n", cache->entries[i].epoch, cache->entries[i].start);
}

/* ---- partition.metadata */

/* `name: value`, with at least one space behind the colon. */
static bool named_value(struct span line, const char *name, struct span *value) {
    size_t size = strlen(name);
    if (line.size < size + 2 || memcmp(line.data, name, size) || line.data[size] != ':' || !is_space(line.data[size + 1])) return false;
    line.data += size + 1;
    line.size -= size + 1;
    while (line.size && is_space(line.data[0])) line.data++, line.size--;
    while (line.size && is_space(line.data[line.size - 1])) line.size--;
    *value = line;
    return true;
}

enum err partition_metadata_parse(struct span bytes, struct uuid *topic_id, struct checkpoint_fault *fault) {
    struct lines lines = {bytes, 0};
    struct span line, value;
    int64_t version;
    *fault = (struct checkpoint_fault){0};
    if (!next_line(&lines, &line) || !named_value(line, "version", &value) || !parse_number(value, INT32_MIN, INT32_MAX, &version))
        return fault_at(fault, 1, "not `version: number`");
    if (version < 0) return fault_at(fault, 1, "a version that is not known");
    if (!next_line(&lines, &line) || !named_value(line, "topic_id", &value) || !uuid_parse((const char *)value.data, value.size, topic_id))
        return fault_at(fault, 2, "not `topic_id: id`");
    if (uuid_is_zero(*topic_id)) return fault_at(fault, 2, "the id of no topic");
    return ERR_NONE;
}

void partition_metadata_print(struct uuid topic_id, struct text *out) {
    char text[UUID_TEXT_BYTES + 1];
    uuid_text(topic_id, text);
    text_add(out, "version: 0\ntopic_id: %s", text);
}

/* ---- .kafka_cleanshutdown */

broker_epoch clean_shutdown_parse(struct span bytes) {
    json_error_t error;
    json_t *json = bytes.data ? json_loadb((const char *)bytes.data, bytes.size, 0, &error) : NULL;
    json_t *version = json_object_get(json, "version"), *epoch = json_object_get(json, "brokerEpoch");
    broker_epoch result = json_is_integer(version) && json_integer_value(version) == 0 && json_is_integer(epoch) ? json_integer_value(epoch) : -1;
    json_decref(json);
    return result;
}

void clean_shutdown_print(broker_epoch epoch, struct text *out) {
    text_add(out, "{\"version\":0,\"brokerEpoch\":%" PRId64 "}", epoch);
}

/* ---- meta.properties */

enum { PROPERTY_BYTES_MAX = 255 };

/* One property as Java's Properties reads it: comments, continued lines, escapes. */
struct property {
    char key[PROPERTY_BYTES_MAX + 1], value[PROPERTY_BYTES_MAX + 1];
    bool cut; /* one of them did not fit */
};

static void put(char *text, size_t *size, uint32_t c, bool *cut) {
    if (*size == PROPERTY_BYTES_MAX) *cut = true;
    else text[(*size)++] = c < 0x80 ? (char)c : '?';
    text[*size] = 0;
}

/* The next character of a logical line; false: its end. *plain: it was not escaped. */
static bool next_char(struct lines *lines, struct span *line, uint32_t *c, bool *plain) {
    while (line->size && line->data[0] == '\\') {
        if (line->size == 1) { /* goes on in the next line, behind its indentation */
            if (!next_line(lines, line)) return false;
            while (line->size && is_space(line->data[0])) line->data++, line->size--;
            continue;
        }
        uint8_t escaped = line->data[1];
        size_t taken = 2;
        *c = escaped == 't' ? '\t' : escaped == 'n' ? '\n' : escaped == 'r' ? '\r' : escaped == 'f' ? '\f' : escaped;
        if (escaped == 'u') {
            for (*c = 0; taken < 6 && taken < line->size; taken++) {
                uint8_t digit = line->data[taken] | 0x20;
                if (!((digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f'))) break;
                *c = *c << 4 | (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
            }
        }
        line->data += taken;
        line->size -= taken;
        *plain = false;
        return true;
    }
    if (!line->size) return false;
    *c = line->data[0];
    line->data++;
    line->size--;
    *plain = true;
    return true;
}

static bool next_property(struct lines *lines, struct property *out) {
    struct span line;
    do {
        if (!next_line(lines, &line)) return false;
        while (line.size && is_space(line.data[0])) line.data++, line.size--;
    } while (!line.size || line.data[0] == '#' || line.data[0] == '!');
    *out = (struct property){0};
    size_t key = 0, value = 0;
    uint32_t c;
    bool plain, separated = false, in_value = false;
    while (next_char(lines, &line, &c, &plain)) {
        if (in_value) {
            put(out->value, &value, c, &out->cut);
        } else if (plain && (c == '=' || c == ':') && !separated) {
            separated = true;
            while (line.size && is_space(line.data[0])) line.data++, line.size--;
            in_value = true;
        } else if (plain && is_space((uint8_t)c)) {
            while (line.size && is_space(line.data[0])) line.data++, line.size--;
            if (line.size && (line.data[0] == '=' || line.data[0] == ':')) continue; /* the separator takes the rest */
            in_value = true;
        } else {
            put(out->key, &key, c, &out->cut);
        }
    }
    return true;
}

enum err meta_properties_parse(struct span bytes, struct meta_properties *out, struct checkpoint_fault *fault) {
    struct lines lines = {bytes, 0};
    struct property property;
    int64_t number;
    *fault = (struct checkpoint_fault){0};
    *out = (struct meta_properties){.version = 0, .node = -1};
    while (next_property(&lines, &property)) {
        struct span value = span_text(property.value);
        if (property.cut) return fault_at(fault, lines.line, "longer than any value may be");
        if (!strcmp(property.key, "version")) {
            if (!parse_number(value, INT32_MIN, INT32_MAX, &number)) return fault_at(fault, lines.line, "the version is not a number");
            out->version = (int32_t)number;
        } else if (!strcmp(property.key, "node.id") || !strcmp(property.key, "broker.id")) {
            if (!parse_number(value, INT32_MIN, INT32_MAX, &number)) return fault_at(fault, lines.line, "the node's id is not a number");
            out->node = (broker_id)number;
        } else if (!strcmp(property.key, "cluster.id")) {
            if (value.size > CLUSTER_ID_BYTES_MAX) return fault_at(fault, lines.line, "the cluster's id is too long");
            memcpy(out->cluster_id, value.data, value.size + 1);
        } else if (!strcmp(property.key, "directory.id")) {
            if (!uuid_parse(property.value, value.size, &out->directory)) return fault_at(fault, lines.line, "the directory's id is not one");
        }
    }
    if (out->version != 0 && out->version != 1) {
        fault_at(fault, 0, "a version that is not known");
        return ERR_UNSUPPORTED;
    }
    if (out->version == 1 && !out->cluster_id[0]) return fault_at(fault, 0, "cluster.id is missing");
    if (out->version == 1 && out->node < 0) return fault_at(fault, 0, "node.id is missing");
    return ERR_NONE;
}

/* Java's Date.toString in UTC. Days to a date by the count of 400-year cycles that begin in March. */
static void print_date(time_ms now_ms, struct text *out) {
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t seconds = now_ms > 0 ? now_ms / 1000 : 0, day = seconds / 86400, second = seconds % 86400;
    int64_t since = day + 719468, era = since / 146097, of_era = since % 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100), march = (5 * of_year + 2) / 153;
    int64_t month = march < 10 ? march + 2 : march - 10, year = year_of_era + era * 400 + (month < 2);
    text_add(out, "%s %s %02d %02d:%02d:%02d UTC %" PRId64, days[day % 7], months[month], (int)(of_year - (153 * march + 2) / 5 + 1),
             (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60), year);
}

void meta_properties_print(const struct meta_properties *meta, time_ms now_ms, struct text *out) {
    char directory[UUID_TEXT_BYTES + 1];
    text_add(out, "#\n#");
    print_date(now_ms, out);
    text_add(out, "\nnode.id=%" PRId32 "\n", meta->node);
    if (!uuid_is_zero(meta->directory)) {
        uuid_text(meta->directory, directory);
        text_add(out, "directory.id=%s\n", directory);
    }
    text_add(out, "version=%" PRId32 "\ncluster.id=%s\n", meta->version, meta->cluster_id);
}
