/* raft/voters.c - sets of voters and their history: see voters.h. */
#include "raft/voters.h"
#include "base/random.h"
#include <string.h>

bool raft_listeners_add(struct raft_listeners *to, struct raft_listener listener) {
    if (to->count == RAFT_LISTENERS_MAX) return false;
    if (listener.name.size + listener.host.size > RAFT_LISTENERS_TEXT_MAX - (size_t)to->text_size) return false;
    uint16_t name_at = to->text_size, host_at = (uint16_t)(name_at + listener.name.size);
    if (listener.name.size) memcpy(to->text + name_at, listener.name.data, listener.name.size);
    if (listener.host.size) memcpy(to->text + host_at, listener.host.data, listener.host.size);
    to->at[to->count].name_at = name_at;
    to->at[to->count].name_size = (uint16_t)listener.name.size;
    to->at[to->count].host_at = host_at;
    to->at[to->count].host_size = (uint16_t)listener.host.size;
    to->at[to->count].port = listener.port;
    to->count++;
    to->text_size = (uint16_t)(host_at + listener.host.size);
    return true;
}

struct raft_listener raft_listeners_at(const struct raft_listeners *of, uint32_t index) {
    assert(index < of->count);
    return (struct raft_listener){.name = span_of(of->text + of->at[index].name_at, of->at[index].name_size),
                                  .host = span_of(of->text + of->at[index].host_at, of->at[index].host_size),
                                  .port = of->at[index].port};
}

bool raft_listeners_find(const struct raft_listeners *of, struct span name, struct raft_listener *out) {
    for (uint32_t i = 0; i < of->count; i++) {
        struct raft_listener listener = raft_listeners_at(of, i);
        if (!span_equal(listener.name, name)) continue;
        *out = listener;
        return true;
    }
    return false;
}

static bool listener_equal(struct raft_listener a, struct raft_listener b) {
    return a.port == b.port && span_equal(a.name, b.name) && span_equal(a.host, b.host);
}

/* As sets: the order in which listeners are named means nothing, but for the first one's being the default. */
bool raft_listeners_equal(const struct raft_listeners *a, const struct raft_listeners *b) {
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        struct raft_listener listener = raft_listeners_at(a, i), other;
        if (!raft_listeners_find(b, listener.name, &other) || !listener_equal(listener, other)) return false;
    }
    return true;
}

/* ---- One set */

bool raft_voters_add(struct raft_voters *to, struct raft_key key, int16_t kraft_min, int16_t kraft_max,
                     const struct raft_listener *listeners, uint32_t count) {
    if (to->count == RAFT_VOTERS_MAX || count > RAFT_LISTENERS_MAX || raft_voters_index(to, key.id) >= 0) return false;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) bytes += listeners[i].name.size + listeners[i].host.size;
    if (bytes > RAFT_VOTERS_TEXT_MAX - (size_t)to->text_size) return false;

    uint32_t at = to->count;
    for (; at > 0 && to->voters[at - 1].key.id > key.id; at--) to->voters[at] = to->voters[at - 1];
    struct raft_voter *voter = &to->voters[at];
    *voter = (struct raft_voter){.key = key, .kraft_min = kraft_min, .kraft_max = kraft_max, .count = (uint16_t)count};
    for (uint32_t i = 0; i < count; i++) {
        voter->at[i].name_at = to->text_size;
        voter->at[i].name_size = (uint16_t)listeners[i].name.size;
        if (listeners[i].name.size) memcpy(to->text + to->text_size, listeners[i].name.data, listeners[i].name.size);
        to->text_size = (uint16_t)(to->text_size + listeners[i].name.size);
        voter->at[i].host_at = to->text_size;
        voter->at[i].host_size = (uint16_t)listeners[i].host.size;
        if (listeners[i].host.size) memcpy(to->text + to->text_size, listeners[i].host.data, listeners[i].host.size);
        to->text_size = (uint16_t)(to->text_size + listeners[i].host.size);
        voter->at[i].port = listeners[i].port;
    }
    to->count++;
    return true;
}

bool raft_voters_add_node(struct raft_voters *to, struct raft_key key, int16_t kraft_min, int16_t kraft_max,
                          const struct raft_listeners *listeners) {
    struct raft_listener at[RAFT_LISTENERS_MAX];
    for (uint32_t i = 0; i < listeners->count; i++) at[i] = raft_listeners_at(listeners, i);
    return raft_voters_add(to, key, kraft_min, kraft_max, at, listeners->count);
}

/* The texts are packed anew, so that a set can be changed for ever without filling up. */
void raft_voters_remove(struct raft_voters *from, int32_t id) {
    int gone = raft_voters_index(from, id);
    if (gone < 0) return;
    char text[RAFT_VOTERS_TEXT_MAX];
    uint16_t size = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        if ((int)i == gone) continue;
        struct raft_voter *voter = &from->voters[i];
        for (uint32_t j = 0; j < voter->count; j++) {
            memcpy(text + size, from->text + voter->at[j].name_at, voter->at[j].name_size);
            voter->at[j].name_at = size;
            size = (uint16_t)(size + voter->at[j].name_size);
            memcpy(text + size, from->text + voter->at[j].host_at, voter->at[j].host_size);
            voter->at[j].host_at = size;
            size = (uint16_t)(size + voter->at[j].host_size);
        }
    }
    memcpy(from->text, text, size);
    from->text_size = size;
    from->count--;
    for (uint32_t i = (uint32_t)gone; i < from->count; i++) from->voters[i] = from->voters[i + 1];
}

int raft_voters_index(const struct raft_voters *set, int32_t id) {
    for (uint32_t i = 0; i < set->count; i++)
        if (set->voters[i].key.id == id) return (int)i;
    return -1;
}

bool raft_voters_has(const struct raft_voters *set, struct raft_key key) {
    int index = raft_voters_index(set, key.id);
    if (index < 0) return false;
    struct uuid directory = set->voters[index].key.directory;
    return uuid_is_zero(directory) || uuid_equal(directory, key.directory);
}

struct raft_listener raft_voters_listener(const struct raft_voters *set, uint32_t voter, uint32_t listener) {
    assert(voter < set->count);
    const struct raft_voter *at = &set->voters[voter];
    assert(listener < at->count);
    return (struct raft_listener){.name = span_of(set->text + at->at[listener].name_at, at->at[listener].name_size),
                                  .host = span_of(set->text + at->at[listener].host_at, at->at[listener].host_size),
                                  .port = at->at[listener].port};
}

bool raft_voters_find_listener(const struct raft_voters *set, int32_t id, struct span name, struct raft_listener *out) {
    int voter = raft_voters_index(set, id);
    if (voter < 0) return false;
    for (uint32_t i = 0; i < set->voters[voter].count; i++) {
        struct raft_listener listener = raft_voters_listener(set, (uint32_t)voter, i);
        if (!span_equal(listener.name, name)) continue;
        *out = listener;
        return true;
    }
    return false;
}

void raft_voters_listeners(const struct raft_voters *set, uint32_t voter, struct raft_listeners *out) {
    *out = (struct raft_listeners){0};
    for (uint32_t i = 0; i < set->voters[voter].count; i++)
        if (!raft_listeners_add(out, raft_voters_listener(set, voter, i))) return; /* the first ones are the ones in use */
}

static bool voter_equal(const struct raft_voters *a, uint32_t i, const struct raft_voters *b, uint32_t j) {
    const struct raft_voter *x = &a->voters[i], *y = &b->voters[j];
    if (x->key.id != y->key.id || !uuid_equal(x->key.directory, y->key.directory) || x->kraft_min != y->kraft_min ||
        x->kraft_max != y->kraft_max || x->count != y->count)
        return false;
    for (uint32_t k = 0; k < x->count; k++)
        if (!listener_equal(raft_voters_listener(a, i, k), raft_voters_listener(b, j, k))) return false;
    return true;
}

bool raft_voters_equal(const struct raft_voters *a, const struct raft_voters *b) {
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!voter_equal(a, i, b, i)) return false;
    return true;
}

/* ---- As text */

static bool parse_number(struct span text, int64_t max, int64_t *out) {
    if (!text.size || text.size > 10) return false;
    int64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        value = value * 10 + (text.data[i] - '0');
    }
    *out = value;
    return value <= max;
}

static bool split(struct span text, uint8_t at, bool last, struct span *before, struct span *after) {
    for (size_t n = 0; n < text.size; n++) {
        size_t i = last ? text.size - 1 - n : n;
        if (text.data[i] != at) continue;
        *before = span_of(text.data, i);
        *after = span_of(text.data + i + 1, text.size - i - 1);
        return true;
    }
    return false;
}

static struct span trimmed(struct span text) {
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) text = span_of(text.data + 1, text.size - 1);
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) text.size--;
    return text;
}

static enum err parse_voter(struct span text, struct span name, bool directories, struct raft_voters *out) {
    struct span id_text, rest, directory_text = {0}, host, port_text;
    struct raft_key key = RAFT_NO_KEY;
    int64_t id, port;
    if (!split(trimmed(text), '@', false, &id_text, &rest) || !parse_number(id_text, INT32_MAX, &id)) return ERR_INVALID;
    if (directories) {
        if (!split(rest, ':', true, &rest, &directory_text)) return ERR_INVALID;
        if (!uuid_parse((const char *)directory_text.data, directory_text.size, &key.directory)) return ERR_INVALID;
        if (uuid_is_zero(key.directory)) return ERR_INVALID;
    }
    if (!split(rest, ':', true, &host, &port_text) || !parse_number(port_text, UINT16_MAX, &port)) return ERR_INVALID;
    if (host.size >= 2 && host.data[0] == '[' && host.data[host.size - 1] == ']') host = span_of(host.data + 1, host.size - 2);
    if (!host.size || span_equal(host, SPAN_LITERAL("0.0.0.0"))) return ERR_INVALID;
    key.id = (int32_t)id;
    struct raft_listener listener = {.name = name, .host = host, .port = (uint16_t)port};
    return raft_voters_add(out, key, 0, directories ? 1 : 0, &listener, 1) ? ERR_NONE : ERR_INVALID;
}

enum err raft_voters_parse(struct span text, struct span name, bool directories, struct raft_voters *out) {
    *out = (struct raft_voters){0};
    struct span rest = trimmed(text);
    while (rest.size) {
        struct span one;
        if (!split(rest, ',', false, &one, &rest)) {
            one = rest;
            rest = (struct span){0};
        } else if (!rest.size) {
            return ERR_INVALID; /* ends with a comma */
        }
        enum err err = parse_voter(one, name, directories, out);
        if (err) return err;
    }
    return ERR_NONE;
}

void raft_voters_text(const struct raft_voters *set, struct text *out) {
    text_add(out, "{");
    for (uint32_t i = 0; i < set->count; i++) {
        text_add(out, "%s%d", i ? ", " : "", set->voters[i].key.id);
        if (!uuid_is_zero(set->voters[i].key.directory)) {
            char directory[UUID_TEXT_BYTES + 1];
            uuid_text(set->voters[i].key.directory, directory);
            text_add(out, "/%.4s", directory);
        }
    }
    text_add(out, "}");
}

/* ---- The history */

static void drop_oldest(struct raft_voters_history *history) {
    for (uint32_t i = 1; i < history->count; i++) {
        history->order[i - 1] = history->order[i];
        history->offsets[i - 1] = history->offsets[i];
    }
    history->count--;
}

void raft_history_add_voters(struct raft_voters_history *history, log_offset offset, const struct raft_voters *set) {
    while (history->count && history->offsets[history->count - 1] >= offset) history->count--; /* read again: replaced */
    if (history->count == RAFT_HISTORY_MAX) drop_oldest(history);
    uint8_t slot = 0;
    for (bool taken = true; taken; slot = (uint8_t)(slot + taken)) {
        taken = false;
        for (uint32_t i = 0; i < history->count; i++) taken |= history->order[i] == slot;
    }
    assert(slot < RAFT_HISTORY_MAX);
    history->items[slot] = *set;
    history->offsets[history->count] = offset;
    history->order[history->count++] = slot;
}

void raft_history_add_version(struct raft_voters_history *history, log_offset offset, int16_t version) {
    while (history->versions_count && history->version_offsets[history->versions_count - 1] >= offset) history->versions_count--;
    if (history->versions_count == RAFT_HISTORY_MAX) {
        for (uint32_t i = 1; i < history->versions_count; i++) {
            history->version_offsets[i - 1] = history->version_offsets[i];
            history->versions[i - 1] = history->versions[i];
        }
        history->versions_count--;
    }
    history->version_offsets[history->versions_count] = offset;
    history->versions[history->versions_count++] = version;
}

void raft_history_truncate(struct raft_voters_history *history, log_offset end) {
    while (history->count && history->offsets[history->count - 1] >= end) history->count--;
    while (history->versions_count && history->version_offsets[history->versions_count - 1] >= end) history->versions_count--;
}

void raft_history_clear(struct raft_voters_history *history) {
    history->count = history->versions_count = 0;
}

const struct raft_voters *raft_history_voters(const struct raft_voters_history *history, log_offset end, log_offset *offset) {
    for (uint32_t i = history->count; i-- > 0;) {
        if (history->offsets[i] >= end) continue;
        if (offset) *offset = history->offsets[i];
        return &history->items[history->order[i]];
    }
    return NULL;
}

int16_t raft_history_version(const struct raft_voters_history *history, log_offset end) {
    for (uint32_t i = history->versions_count; i-- > 0;)
        if (history->version_offsets[i] < end) return history->versions[i];
    return 0;
}
