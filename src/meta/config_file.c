#include "meta/config.h"
#include "meta/config_change.h"
#include <string.h>

/* ---- a set of values, sorted by name */

void config_values_init(struct config_values *values, struct arena *arena) {
    *values = (struct config_values){.arena = arena};
}

/* Where the name is, or belongs. */
static uint32_t place_of(const struct config_values *values, struct span name, bool *found) {
    uint32_t low = 0, high = values->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = span_compare(values->entries[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    *found = false;
    return low;
}

static enum err set(struct config_values *values, struct span name, struct span value, uint32_t line) {
    bool found;
    uint32_t at = place_of(values, name, &found);
    struct span copy = {value.size ? arena_copy(values->arena, value.data, value.size) : arena_alloc(values->arena, 1), value.size};
    struct span own_name = found ? values->entries[at].name : (struct span){arena_copy(values->arena, name.data, name.size), name.size};
    if (!copy.data || !own_name.data) return ERR_NO_MEMORY;
    if (!found) {
        if (values->count == values->capacity) {
            uint32_t capacity = values->capacity ? values->capacity * 2 : 32;
            struct config_entry *entries = ARENA_ARRAY(values->arena, capacity, struct config_entry);
            if (!entries) return ERR_NO_MEMORY;
            if (values->count) memcpy(entries, values->entries, values->count * sizeof *entries);
            values->entries = entries;
            values->capacity = capacity;
        }
        memmove(values->entries + at + 1, values->entries + at, (values->count - at) * sizeof *values->entries);
        values->count++;
    }
    uint32_t before = found && line > 0 ? values->entries[at].line : 0;
    values->entries[at] = (struct config_entry){own_name, copy, line, before};
    return ERR_NONE;
}

enum err config_values_set(struct config_values *values, struct span name, struct span value) {
    return set(values, name, value.data ? value : SPAN_LITERAL(""), 0);
}

bool config_values_get(const struct config_values *values, struct span name, struct span *out) {
    bool found;
    uint32_t at = place_of(values, name, &found);
    if (found) *out = values->entries[at].value;
    return found;
}

/* ---- Java's properties. A logical line is a natural line and those that it is continued on; its key ends at the first
 * '=', ':' or blank that is not escaped. Bytes are Latin-1, as Java reads them; values are kept as UTF-8. */

struct lines {
    const uint8_t *at, *end;
    uint32_t number;
};

static bool is_blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\f';
}

/* The next natural line, without its end. */
static bool next_line(struct lines *lines, struct span *line) {
    if (lines->at == lines->end) return false;
    const uint8_t *from = lines->at;
    while (lines->at < lines->end && *lines->at != '\n' && *lines->at != '\r') lines->at++;
    *line = (struct span){from, (size_t)(lines->at - from)};
    if (lines->at < lines->end && *lines->at++ == '\r' && lines->at < lines->end && *lines->at == '\n') lines->at++;
    lines->number++;
    return true;
}

static void skip_blanks(struct span *text) {
    while (text->size && is_blank(text->data[0])) text->data++, text->size--;
}

/* Its last backslash is not itself escaped. */
static bool is_continued(struct span line) {
    size_t backslashes = 0;
    while (backslashes < line.size && line.data[line.size - 1 - backslashes] == '\\') backslashes++;
    return backslashes % 2 == 1;
}

/* The next logical line, put together in `target` (which has room for the whole file); false: there is none. */
static bool next_logical_line(struct lines *lines, uint8_t *target, struct span *out, uint32_t *number) {
    struct span line;
    for (;;) {
        if (!next_line(lines, &line)) return false;
        skip_blanks(&line);
        if (line.size > 0 && line.data[0] != '#' && line.data[0] != '!') break;
    }
    *number = lines->number;
    size_t size = 0;
    for (;;) {
        bool continued = is_continued(line);
        size_t part = line.size - continued;
        if (part) memcpy(target + size, line.data, part);
        size += part;
        if (!continued || !next_line(lines, &line)) break;
        skip_blanks(&line);
    }
    *out = (struct span){target, size};
    return true;
}

static size_t put_utf8(uint8_t *target, uint32_t c) {
    if (c < 0x80) {
        target[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        target[0] = (uint8_t)(0xc0 | c >> 6);
        target[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        target[0] = (uint8_t)(0xe0 | c >> 12);
        target[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        target[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    target[0] = (uint8_t)(0xf0 | c >> 18);
    target[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    target[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    target[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Reads \uXXXX at `at` (behind the u); false: not four digits. */
static bool read_unit(struct span text, size_t at, uint32_t *unit) {
    *unit = 0;
    for (size_t i = at; i < at + 4; i++) {
        int digit = i < text.size ? hex_digit(text.data[i]) : -1;
        if (digit < 0) return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

/* Undoes escapes, and makes UTF-8 of Latin-1. The result is at most twice as long. */
static bool unescape(struct span text, uint8_t *target, struct span *out) {
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint32_t c = text.data[i];
        if (c != '\\' || i + 1 == text.size) {
            if (c != '\\') size += put_utf8(target + size, c);
            continue;
        }
        c = text.data[++i];
        if (c == 't') c = '\t';
        else if (c == 'n') c = '\n';
        else if (c == 'r') c = '\r';
        else if (c == 'f') c = '\f';
        else if (c == 'u') {
            uint32_t low;
            if (!read_unit(text, i + 1, &c)) return false;
            i += 4;
            /* Two units make one character beyond the first 65536; one of them alone is none. */
            if (c >= 0xd800 && c < 0xdc00 && i + 2 < text.size && text.data[i + 1] == '\\' && text.data[i + 2] == 'u' &&
                read_unit(text, i + 3, &low) && low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 6;
            } else if (c >= 0xd800 && c < 0xe000) {
                c = '?';
            }
        }
        size += put_utf8(target + size, c);
    }
    *out = (struct span){target, size};
    return true;
}

enum err config_values_read(struct config_values *values, struct span file, struct text *why) {
    uint8_t *work = arena_alloc(values->arena, 5 * file.size + 8); /* a logical line; its name and its value, unescaped */
    if (!work) return ERR_NO_MEMORY;
    struct lines lines = {.at = file.data, .end = file.data + file.size};
    struct span line, name, value;
    uint32_t number;
    while (next_logical_line(&lines, work, &line, &number)) {
        size_t end = 0;
        while (end < line.size && !is_blank(line.data[end]) && line.data[end] != '=' && line.data[end] != ':')
            end += line.data[end] == '\\' && end + 1 < line.size ? 2 : 1;
        struct span rest = {line.data + end, line.size - end};
        skip_blanks(&rest);
        if (rest.size && (rest.data[0] == '=' || rest.data[0] == ':')) {
            rest.data++, rest.size--;
            skip_blanks(&rest);
        }
        uint8_t *unescaped = work + file.size;
        if (!unescape((struct span){line.data, end}, unescaped, &name) || !unescape(rest, unescaped + name.size, &value)) {
            text_add(why, "line %u: \\u is not followed by four hexadecimal digits", number);
            return ERR_CORRUPT;
        }
        if (name.size == 0) continue; /* Java takes an empty name; nothing has one */
        enum err err = set(values, name, value, number);
        if (err) return err;
    }
    return ERR_NONE;
}

/* ---- does it all fit together? */

static bool validate_quorum(const struct config_view *view, struct text *why) {
    struct span one;
    struct span voters = config_text(view, KEY_controller_quorum_voters, NULL), bootstrap = config_text(view, KEY_controller_quorum_bootstrap_servers, NULL);
    if (!config_list_next(&voters, &one) && !config_list_next(&bootstrap, &one)) {
        text_add(why, "controller.quorum.bootstrap.servers and controller.quorum.voters are both empty: one of them must name the controllers");
        return false;
    }
    return true;
}

/* node.id was broker.id before; both are fine when they agree. */
static bool validate_node_id(const struct config_values *values, struct text *why) {
    struct span node = {0}, broker = {0};
    int64_t node_id = -1, broker_id_ = -1;
    bool has_node = config_values_get(values, SPAN_LITERAL("node.id"), &node) && config_parse_integer(node, &node_id);
    bool has_broker = config_values_get(values, SPAN_LITERAL("broker.id"), &broker) && config_parse_integer(broker, &broker_id_);
    if (has_node && has_broker && node_id != broker_id_) {
        text_add(why, "node.id is %lld and broker.id is %lld: where both are given they must be equal", (long long)node_id, (long long)broker_id_);
        return false;
    }
    if (!has_node && !(has_broker && broker_id_ >= 0)) {
        text_add(why, "node.id is missing: a number from 0 up is wanted");
        return false;
    }
    return true;
}

bool config_values_validate(const struct config_values *values, struct text *why) {
    struct config_view view = {.values = values, .broker = -1};
    for (uint32_t i = 0; i < values->count; i++) {
        const struct config_key *key = config_find(SCOPE_BROKER, values->entries[i].name);
        if (key && !config_validate(key, values->entries[i].value, why)) return false;
    }
    if (!validate_node_id(values, why)) return false;
    for (const struct config_key *key = NULL; (key = config_next(SCOPE_BROKER, key));) {
        struct span value;
        if (!config_is_required(key) || key == config_key(KEY_node_id) || config_values_get(values, span_text(key->name), &value)) continue;
        text_add(why, "%s is missing: it has no default and must be given", key->name);
        return false;
    }
    return validate_quorum(&view, why) && config_fits(&view, why);
}

/* ---- what is worth a warning */

enum { NAME_BYTES_MAX = 96 };

/* How many letters must be changed, added, left out or swapped to make one name the other. */
static uint32_t distance(struct span a, struct span b) {
    uint8_t before[NAME_BYTES_MAX + 1], now[NAME_BYTES_MAX + 1], after[NAME_BYTES_MAX + 1];
    if (a.size > NAME_BYTES_MAX || b.size > NAME_BYTES_MAX) return UINT32_MAX;
    for (size_t k = 0; k <= b.size; k++) now[k] = (uint8_t)k;
    memcpy(before, now, sizeof before);
    for (size_t i = 1; i <= a.size; i++) {
        after[0] = (uint8_t)i;
        for (size_t k = 1; k <= b.size; k++) {
            uint8_t least = (uint8_t)(now[k - 1] + (a.data[i - 1] != b.data[k - 1]));
            if (now[k] + 1 < least) least = (uint8_t)(now[k] + 1);
            if (after[k - 1] + 1 < least) least = (uint8_t)(after[k - 1] + 1);
            if (i > 1 && k > 1 && a.data[i - 1] == b.data[k - 2] && a.data[i - 2] == b.data[k - 1] && before[k - 2] + 1 < least) least = (uint8_t)(before[k - 2] + 1);
            after[k] = least;
        }
        memcpy(before, now, sizeof before);
        memcpy(now, after, sizeof now);
    }
    return now[b.size];
}

const struct config_key *config_nearest(enum config_scope scope, struct span name) {
    const struct config_key *nearest = NULL;
    uint32_t least = name.size / 5 < 2 ? 3 : (uint32_t)(name.size / 5) + 1; /* a fifth of it may be wrong, and two letters of a short one */
    for (const struct config_key *key = NULL; (key = config_next(scope, key));) {
        if (key->internal) continue;
        uint32_t d = distance(name, span_text(key->name));
        if (d < least) least = d, nearest = key;
    }
    return nearest;
}

static bool begins(struct span name, const char *with) {
    return name.size > strlen(with) && memcmp(name.data, with, strlen(with)) == 0;
}

/* What Kafka knew once. NULL: it never did. */
static const char *gone(struct span name) {
    static const char *const of_formats[] = {"inter.broker.protocol.version", "log.message.format.version", "message.format.version"};
    static const char *const of_hosts[] = {"host.name", "port", "advertised.host.name", "advertised.port"};
    if (begins(name, "zookeeper.")) return "is of the time of ZooKeeper, and has no effect: metadata are in the quorum, see process.roles";
    for (size_t i = 0; i < countof(of_formats); i++)
        if (span_equal(name, span_text(of_formats[i]))) return "went with Kafka 4.0, and has no effect: see metadata.version in kafka-features.sh";
    for (size_t i = 0; i < countof(of_hosts); i++)
        if (span_equal(name, span_text(of_hosts[i]))) return "went with Kafka 3.0, and has no effect: see listeners and advertised.listeners";
    return NULL;
}

static void warn_unknown(struct span name, struct text *lines) {
    if (begins(name, "config.providers.")) return; /* a provider's own, read before all others */
    const char *went = gone(name);
    if (went) {
        text_add(lines, "%.*s %s\n", (int)(name.size < 128 ? name.size : 128), (const char *)name.data, went);
        return;
    }
    const struct config_key *topic = config_find(SCOPE_TOPIC, name), *near = config_nearest(SCOPE_BROKER, name);
    struct span synonyms = topic && topic->synonyms ? span_text(topic->synonyms) : (struct span){0}, first;
    text_add(lines, "%.*s ", (int)(name.size < 128 ? name.size : 128), (const char *)name.data);
    if (config_list_next(&synonyms, &first)) {
        const uint8_t *star = memchr(first.data, '*', first.size);
        size_t size = star ? (size_t)(star - first.data) : first.size;
        text_add(lines, "is a topic's key and has no effect in this file: for all topics it is %.*s\n", (int)size, (const char *)first.data);
    } else if (near) {
        text_add(lines, "is not a key that is known, and has no effect: was %s meant?\n", near->name);
    } else {
        text_add(lines, "is not a key that is known, and has no effect\n");
    }
}

void config_values_warn(const struct config_values *values, struct text *lines) {
    enum { LINE_BYTES_MAX = 768 };
    for (uint32_t i = 0; i < values->count && lines->size + LINE_BYTES_MAX < lines->capacity; i++) {
        const struct config_entry *entry = &values->entries[i];
        const struct config_key *key = config_find(SCOPE_BROKER, entry->name);
        if (!key && config_base_name(entry->name).size != entry->name.size) key = config_find(SCOPE_BROKER, config_base_name(entry->name));
        if (entry->line_before)
            text_add(lines, "%.*s is there twice, in lines %u and %u: the last one counts\n", (int)(entry->name.size < 128 ? entry->name.size : 128),
                     (const char *)entry->name.data, entry->line_before, entry->line);
        bool of_listener = key && key->name_bytes != entry->name.size;
        if (!key) warn_unknown(entry->name, lines);
        else if (key->not_served && (of_listener || !span_equal(entry->value, config_default(key))))
            text_add(lines, "%.*s has no effect yet: what it is for is not served\n", (int)(entry->name.size < 128 ? entry->name.size : 128), (const char *)entry->name.data);
        else if (of_listener && key != config_key(KEY_max_connections) && key != config_key(KEY_max_connection_creation_rate))
            text_add(lines, "%.*s has no effect yet: %s is served for all listeners together\n", (int)(entry->name.size < 128 ? entry->name.size : 128),
                     (const char *)entry->name.data, key->name);
        else if (key->no_effect && !span_equal(entry->value, config_default(key)))
            text_add(lines, "%s has no effect here: %s\n", key->name, strncmp(key->doc, "Known so", 8) == 0 ? "it names something of the JVM." : key->doc);
    }
    struct config_view view = {.values = values, .broker = -1};
    int64_t heartbeat = config_number(&view, KEY_broker_heartbeat_interval_ms), session = config_number(&view, KEY_broker_session_timeout_ms);
    if (heartbeat > session / 2 && lines->size + LINE_BYTES_MAX < lines->capacity) /* Kafka starts all the same, and says so */
        text_add(lines, "broker.heartbeat.interval.ms is %lld, more than half of broker.session.timeout.ms, which is %lld: a broker may be fenced between two heartbeats\n",
                 (long long)heartbeat, (long long)session);
}
