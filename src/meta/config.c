#include "meta/config.h"
#include "meta/config_change.h"
#include <string.h>

/* ---- the table */

/* The valid values, as one argument in brackets. */
#define ANY (CHECK_ANY, 0, 0, 0, NULL)
#define AT_LEAST(low) (CHECK_RANGE, low, __builtin_inf(), low, NULL)
#define RANGE(low, high) (CHECK_RANGE, low, high, low, NULL)
#define RANGE_OR(low, high, also) (CHECK_RANGE, low, high, also, NULL)
#define ONE_OF(list) (CHECK_ONE_OF, 0, 0, 0, list)
#define ONE_OF_ANY_CASE(list) (CHECK_ONE_OF_ANY_CASE, 0, 0, 0, list)
#define LIST_OF(list) (CHECK_LIST_OF, 0, 0, 0, list)
#define SOME_OF(list) (CHECK_SOME_OF, 0, 0, 0, list)
#define NOT_NULL (CHECK_NOT_NULL, 0, 0, 0, NULL)
#define NOT_EMPTY (CHECK_NOT_EMPTY, 0, 0, 0, NULL)
#define THROTTLED (CHECK_THROTTLED, 0, 0, 0, NULL)
#define OFFSET_RESET (CHECK_OFFSET_RESET, 0, 0, 0, NULL)
#define SERVERS (CHECK_SERVERS, 0, 0, 0, NULL)
#define VOTERS (CHECK_VOTERS, 0, 0, 0, NULL)
#define VALID(check_, low_, high_, also_, allowed_) .check = check_, .low = low_, .high = high_, .also = also_, .allowed = allowed_
enum { INTERNAL = 1, NO_EFFECT = 2, NOT_SERVED = 4 };
static const char required_mark[] = "(required)";
#define REQUIRED required_mark
#define CONFIG_BROKER(field, ...) CONFIG_ROW(SCOPE_BROKER, __VA_ARGS__)
#define CONFIG_TOPIC(field, ...) CONFIG_ROW(SCOPE_TOPIC, __VA_ARGS__)
#define CONFIG_GROUP(field, ...) CONFIG_ROW(SCOPE_GROUP, __VA_ARGS__)
#define CONFIG_CLIENT_METRICS(field, ...) CONFIG_ROW(SCOPE_CLIENT_METRICS, __VA_ARGS__)
#define CONFIG_ROW(scope_, name_, type_, default_, valid_, importance_, mode_, flags_, synonyms_, doc_)                     \
    {.scope = scope_, .name = name_, .name_bytes = sizeof name_ - 1, .type = CONFIG_TYPE_##type_, .default_text = default_, VALID valid_,                      \
     .importance = CONFIG_##importance_, .mode = CONFIG_##mode_, .internal = ((flags_) & INTERNAL) != 0, .no_effect = ((flags_) & NO_EFFECT) != 0, .not_served = ((flags_) & NOT_SERVED) != 0, .synonyms = synonyms_, .doc = doc_},
static const struct config_key keys[] = {
#include "meta/config.tbl"
};

bool config_is_required(const struct config_key *key) {
    return key->default_text == required_mark;
}
struct span config_default(const struct config_key *key) {
    return key->default_text && !config_is_required(key) ? span_text(key->default_text) : (struct span){0};
}

const struct config_key *config_key(enum config_id id) {
    assert(id < KEYS_COUNT && keys[id].scope == SCOPE_BROKER);
    return &keys[id];
}

const struct config_key *config_next(enum config_scope scope, const struct config_key *previous) {
    for (const struct config_key *key = previous ? previous + 1 : keys; key < keys + countof(keys); key++)
        if (key->scope == scope) return key;
    return NULL;
}

const struct config_key *config_find(enum config_scope scope, struct span name) {
    for (const struct config_key *key = NULL; (key = config_next(scope, key));)
        if (key->name_bytes == name.size && memcmp(key->name, name.data, name.size) == 0) return key;
    return NULL;
}

bool config_is_sensitive(enum config_scope scope, const struct config_key *key) {
    return key ? key->type == CONFIG_TYPE_PASSWORD : scope == SCOPE_BROKER;
}

/* ---- text to values */

static struct span trimmed(struct span text) {
    while (text.size && text.data[0] <= ' ') text.data++, text.size--;
    while (text.size && text.data[text.size - 1] <= ' ') text.size--;
    return text;
}

bool config_parse_integer(struct span text, int64_t *out) {
    text = trimmed(text);
    bool negative = text.size && text.data[0] == '-';
    if (negative || (text.size && text.data[0] == '+')) text.data++, text.size--;
    if (text.size == 0) return false;
    uint64_t v = 0, limit = (uint64_t)INT64_MAX + negative;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        uint64_t digit = text.data[i] - (uint64_t)'0';
        if (v > (limit - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool config_parse_double(struct span text, double *out) {
    text = trimmed(text);
    const uint8_t *at = text.data, *end = at + text.size;
    bool negative = false, digits = false;
    if (at < end && (*at == '-' || *at == '+')) negative = *at++ == '-';
    long double v = 0;
    int64_t scale = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++, digits = true) v = v * 10 + (*at - '0');
    if (at < end && *at == '.')
        for (at++; at < end && *at >= '0' && *at <= '9'; at++, digits = true, scale--) v = v * 10 + (*at - '0');
    if (!digits) return false;
    if (at < end && (end[-1] == 'd' || end[-1] == 'D' || end[-1] == 'f' || end[-1] == 'F')) end--; /* as in Java's own text */
    if (at < end && (*at == 'e' || *at == 'E')) {
        int64_t exponent;
        if (!config_parse_integer((struct span){at + 1, (size_t)(end - at - 1)}, &exponent) || at[1] <= ' ') return false;
        if (exponent > 5000 || exponent < -5000) exponent = exponent > 0 ? 5000 : -5000;
        scale += exponent;
        at = end;
    }
    if (at != end) return false;
    long double factor = 1, base = 10;
    for (uint64_t n = (uint64_t)(scale < 0 ? -scale : scale); n; n >>= 1, base *= base)
        if (n & 1) factor *= base;
    v = v == 0 ? 0 : scale < 0 ? v / factor : v * factor;
    *out = (double)(negative ? -v : v);
    return true;
}

static bool equal_any_case(struct span a, struct span b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++) {
        uint8_t x = a.data[i], y = b.data[i];
        if (x >= 'A' && x <= 'Z') x = (uint8_t)(x + 32);
        if (y >= 'A' && y <= 'Z') y = (uint8_t)(y + 32);
        if (x != y) return false;
    }
    return true;
}

bool config_parse_boolean(struct span text, bool *out) {
    text = trimmed(text);
    *out = equal_any_case(text, SPAN_LITERAL("true"));
    return *out || equal_any_case(text, SPAN_LITERAL("false"));
}

bool config_list_next(struct span *rest, struct span *item) {
    if (!rest->data || rest->size == SIZE_MAX) return false;
    struct span text = *rest;
    if (trimmed(text).size == 0 && text.size != 0 && text.data[0] != ',') text.size = 0; /* blanks are an empty list */
    if (text.size == 0) {
        rest->size = SIZE_MAX; /* the end was told */
        return false;
    }
    const uint8_t *comma = memchr(text.data, ',', text.size);
    size_t size = comma ? (size_t)(comma - text.data) : text.size;
    *item = trimmed((struct span){text.data, size});
    *rest = comma ? (struct span){comma + 1, text.size - size - 1} : (struct span){text.data + size, 0};
    return true;
}

bool config_list_contains(struct span list, struct span item) {
    for (struct span one; config_list_next(&list, &one);)
        if (span_equal(one, item)) return true;
    return false;
}

/* ---- is a value allowed? */

static bool wrong(const struct config_key *key, struct span value, struct text *why, const char *allowed) {
    if (config_is_sensitive(key->scope, key)) text_add(why, "%s: %s", key->name, allowed);
    else if (!value.data) text_add(why, "%s is null: %s", key->name, allowed);
    else text_add(why, "%s is \"%.*s\": %s", key->name, (int)(value.size < 128 ? value.size : 128), (const char *)value.data, allowed);
    return false;
}

static bool is_number_type(enum config_type type) {
    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_SHORT || type == CONFIG_TYPE_LONG || type == CONFIG_TYPE_DOUBLE;
}

static bool in_range(const struct config_key *key, struct span value, double number, struct text *why) {
    if (key->check != CHECK_RANGE || (number >= key->low && number <= key->high) || number == key->also) return true;
    char words[160];
    struct text allowed;
    text_init(&allowed, words, sizeof words);
    if (key->high == __builtin_inf()) text_add(&allowed, "allowed are numbers from %.10g up", key->low);
    else text_add(&allowed, "allowed are numbers from %.10g to %.10g", key->low, key->high);
    if (key->also != key->low) text_add(&allowed, ", and %.10g", key->also);
    return wrong(key, value, why, words);
}

/* Of a list that is not empty itself; one comma makes two items. */
static bool has_empty_item(struct span list) {
    struct span text = trimmed(list);
    for (struct span one; config_list_next(&list, &one);)
        if (one.size == 0) return true;
    return text.size > 0 && text.data[text.size - 1] == ',';
}

static bool fits_type(const struct config_key *key, struct span value, struct text *why) {
    int64_t number;
    double real;
    bool flag;
    switch (key->type) {
    case CONFIG_TYPE_BOOLEAN:
        return config_parse_boolean(value, &flag) || wrong(key, value, why, "allowed are true and false");
    case CONFIG_TYPE_INT:
        if (!config_parse_integer(value, &number) || number < INT32_MIN || number > INT32_MAX)
            return wrong(key, value, why, "a whole number of 32 bits is wanted");
        return in_range(key, value, (double)number, why);
    case CONFIG_TYPE_SHORT:
        if (!config_parse_integer(value, &number) || number < INT16_MIN || number > INT16_MAX)
            return wrong(key, value, why, "a whole number of 16 bits is wanted");
        return in_range(key, value, (double)number, why);
    case CONFIG_TYPE_LONG:
        if (!config_parse_integer(value, &number)) return wrong(key, value, why, "a whole number of 64 bits is wanted");
        return in_range(key, value, (double)number, why);
    case CONFIG_TYPE_DOUBLE:
        if (!config_parse_double(value, &real)) return wrong(key, value, why, "a number is wanted");
        return in_range(key, value, real, why);
    case CONFIG_TYPE_LIST:
        return key->check == CHECK_THROTTLED || !has_empty_item(value) || wrong(key, value, why, "an item of the list is empty");
    case CONFIG_TYPE_STRING: case CONFIG_TYPE_CLASS: case CONFIG_TYPE_PASSWORD:
        return true;
    }
    never("a type of config that is not in the list");
}

static bool is_one_of(const struct config_key *key, struct span value) {
    struct span rest = span_text(key->allowed);
    for (struct span one; config_list_next(&rest, &one);)
        if (key->check == CHECK_ONE_OF_ANY_CASE ? equal_any_case(one, value) : span_equal(one, value)) return true;
    return false;
}

static bool wrong_choice(const struct config_key *key, struct span value, struct text *why) {
    char words[256];
    struct text allowed;
    text_init(&allowed, words, sizeof words);
    text_add(&allowed, "allowed %s %s", strchr(key->allowed, ',') ? "are" : "is", key->allowed);
    return wrong(key, value, why, words);
}

/* [partition]:[broker],... or *; each a whole number that is not negative. */
static bool are_throttled_replicas(struct span value) {
    if (span_equal(trimmed(value), SPAN_LITERAL("*"))) return true;
    for (struct span one; config_list_next(&value, &one);) {
        const uint8_t *colon = memchr(one.data, ':', one.size);
        int64_t partition, broker;
        if (one.size == 0) continue; /* as in Kafka */
        if (!colon || !config_parse_integer((struct span){one.data, (size_t)(colon - one.data)}, &partition) ||
            !config_parse_integer((struct span){colon + 1, one.size - (size_t)(colon - one.data) - 1}, &broker) || partition < 0 || broker < 0)
            return false;
    }
    return true;
}

/* host:port, the host of IPv6 in brackets, and whatever stands before it (PLAINTEXT://). */
static bool is_server(struct span text) {
    size_t at = text.size;
    while (at > 0 && text.data[at - 1] >= '0' && text.data[at - 1] <= '9') at--;
    int64_t port;
    return at > 0 && text.data[at - 1] == ':' && config_parse_integer((struct span){text.data + at, text.size - at}, &port) && port <= INT32_MAX;
}

static bool are_servers(struct span value, bool with_ids) {
    for (struct span one; config_list_next(&value, &one);) {
        const uint8_t *sign = with_ids && one.size ? memchr(one.data, '@', one.size) : NULL;
        int64_t id;
        if (with_ids && (!sign || !config_parse_integer((struct span){one.data, (size_t)(sign - one.data)}, &id) || id < INT32_MIN || id > INT32_MAX)) return false;
        if (sign) one = (struct span){sign + 1, one.size - (size_t)(sign + 1 - one.data)};
        if (!is_server(one)) return false;
    }
    return true;
}

static bool takes(struct span *text, const char *letters) {
    if (text->size == 0 || !strchr(letters, text->data[0]) || !text->data[0]) return false;
    text->data++, text->size--;
    return true;
}

/* ISO 8601 as Java reads it: PnDTnHnMn.nS, each part there at most once and one of them at least, T only before a part; not
 * below zero as a whole (each part may be). */
static bool is_duration(struct span text) {
    static const struct { const char *letter; int64_t seconds; } parts[] = {{"dD", 86400}, {"hH", 3600}, {"mM", 60}, {"sS", 1}};
    bool negative = text.size && text.data[0] == '-', in_time = false, any = false;
    int64_t sum = 0;
    (void)takes(&text, "+-");
    if (!takes(&text, "pP")) return false;
    for (size_t next = 0; text.size > 0; any = true) {
        if (!in_time && takes(&text, "tT")) {
            in_time = true;
            if (next == 0) next = 1;
        }
        size_t digits = text.size && (text.data[0] == '-' || text.data[0] == '+'), fraction = 0;
        while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9') digits++;
        int64_t number;
        if (!config_parse_integer((struct span){text.data, digits}, &number) || text.data[0] == ' ') return false;
        text.data += digits, text.size -= digits;
        bool has_point = takes(&text, ".,");
        while (has_point && takes(&text, "0123456789")) fraction++;
        while (next < countof(parts) && !takes(&text, parts[next].letter)) next++;
        if (next == countof(parts) || (next == 0) == in_time || (has_point && next != 3) || fraction > 9) return false;
        int64_t seconds;
        if (__builtin_mul_overflow(number, parts[next].seconds, &seconds) || __builtin_add_overflow(sum, seconds, &sum)) return false;
        next++;
    }
    return any && (negative ? sum <= 0 : sum >= 0);
}

bool config_validate(const struct config_key *key, struct span value, struct text *why) {
    if (!value.data) {
        if (key->check == CHECK_NOT_NULL || (key->check != CHECK_ANY && is_number_type(key->type) && key->default_text) || config_is_required(key))
            return wrong(key, value, why, "a value is wanted");
        return true;
    }
    if (!fits_type(key, value, why)) return false;
    switch (key->check) {
    case CHECK_ANY: case CHECK_RANGE: case CHECK_NOT_NULL:
        return true;
    case CHECK_NOT_EMPTY:
        return trimmed(value).size > 0 || wrong(key, value, why, "it must not be empty");
    case CHECK_ONE_OF: case CHECK_ONE_OF_ANY_CASE:
        return is_one_of(key, trimmed(value)) || wrong_choice(key, value, why);
    case CHECK_SOME_OF: case CHECK_LIST_OF:
        for (struct span rest = value, one; config_list_next(&rest, &one);)
            if (!is_one_of(key, one)) return wrong_choice(key, value, why);
        return key->check == CHECK_LIST_OF || trimmed(value).size > 0 || wrong_choice(key, value, why);
    case CHECK_THROTTLED:
        return are_throttled_replicas(value) || wrong(key, value, why, "allowed are *, or a list of partition:broker");
    case CHECK_SERVERS:
        return are_servers(value, false) || wrong(key, value, why, "a list of host:port is wanted");
    case CHECK_VOTERS:
        return are_servers(value, true) || wrong(key, value, why, "a list of id@host:port is wanted");
    case CHECK_OFFSET_RESET: {
        struct span text = trimmed(value), by = SPAN_LITERAL("by_duration:");
        if (span_equal(text, SPAN_LITERAL("latest")) || span_equal(text, SPAN_LITERAL("earliest"))) return true;
        return (text.size > by.size && memcmp(text.data, by.data, by.size) == 0 && is_duration((struct span){text.data + by.size, text.size - by.size})) ||
               wrong(key, value, why, "allowed are latest, earliest and by_duration: with a duration, like by_duration:PT1H");
    }
    }
    never("a check of config that is not in the list");
}

bool topic_config_validate(const struct topic_config *c, struct text *why) {
    if (c->min_compaction_lag_ms > c->max_compaction_lag_ms) {
        text_add(why, "min.compaction.lag.ms (%lld) must not be above max.compaction.lag.ms (%lld)",
                 (long long)c->min_compaction_lag_ms, (long long)c->max_compaction_lag_ms);
        return false;
    }
    if (c->remote_storage_enable) {
        if (config_list_contains(c->cleanup_policy, SPAN_LITERAL("compact"))) {
            text_add(why, "remote.storage.enable cannot be true for a topic whose cleanup.policy holds compact");
            return false;
        }
        if (c->local_retention_ms != -2 && c->retention_ms >= 0 && (c->local_retention_ms == -1 || c->local_retention_ms > c->retention_ms)) {
            text_add(why, "local.retention.ms (%lld) must not be above retention.ms (%lld)", (long long)c->local_retention_ms, (long long)c->retention_ms);
            return false;
        }
        if (c->local_retention_bytes != -2 && c->retention_bytes >= 0 &&
            (c->local_retention_bytes == -1 || c->local_retention_bytes > c->retention_bytes)) {
            text_add(why, "local.retention.bytes (%lld) must not be above retention.bytes (%lld)",
                     (long long)c->local_retention_bytes, (long long)c->retention_bytes);
            return false;
        }
    }
    return true;
}

/* ---- where a value comes from */

static enum config_resource resource_of(enum config_scope scope) {
    switch (scope) {
    case SCOPE_BROKER: return CONFIG_BROKER;
    case SCOPE_TOPIC: return CONFIG_TOPIC;
    case SCOPE_GROUP: return CONFIG_GROUP;
    case SCOPE_CLIENT_METRICS: return CONFIG_CLIENT_METRICS;
    }
    never("a scope that is not in the list");
}

static struct span set_in_image(const struct config_view *view, enum config_resource type, struct span resource, const char *name) {
    const struct image_config *config = view->image ? image_config(view->image, type, resource, span_text(name)) : NULL;
    return config ? config->value : (struct span){0};
}

/* At one level of a broker's key: set for the broker, for all, in the file, or the default. */
static struct span broker_value_at(const struct config_view *view, const struct config_key *key, enum config_source source) {
    struct span value = {0};
    bool edited = view->edits && source == (view->edits_for_one ? SOURCE_DYNAMIC_BROKER : SOURCE_DYNAMIC_DEFAULT_BROKER);
    if (edited && config_values_get(view->edits, span_text(key->name), &value)) return value;
    if (source == SOURCE_DYNAMIC_BROKER && view->broker >= 0 && key->mode != CONFIG_READ_ONLY) {
        char id[16];
        struct text text;
        text_init(&text, id, sizeof id);
        text_add(&text, "%d", view->broker);
        value = set_in_image(view, CONFIG_BROKER, (struct span){(const uint8_t *)id, text.size}, key->name);
    } else if (source == SOURCE_DYNAMIC_DEFAULT_BROKER && key->mode != CONFIG_READ_ONLY && !config_is_for_one_broker(key)) {
        value = set_in_image(view, CONFIG_BROKER, (struct span){(const uint8_t *)"", 0}, key->name);
    } else if (source == SOURCE_STATIC_BROKER) {
        if (view->values && !config_values_get(view->values, span_text(key->name), &value)) value = (struct span){0};
    } else if (source == SOURCE_DEFAULT) {
        value = config_default(key);
    }
    return value;
}

static struct span broker_value(const struct config_view *view, const struct config_key *key, enum config_source *source) {
    for (enum config_source s = SOURCE_DYNAMIC_BROKER; s <= SOURCE_DEFAULT; s++) {
        struct span value = broker_value_at(view, key, s);
        if (source) *source = s;
        if (value.data) return value;
    }
    return (struct span){0};
}

struct span config_text(const struct config_view *view, enum config_id id, enum config_source *source) {
    return broker_value(view, config_key(id), source);
}

/* A value and what its unit must be multiplied with. */
struct found {
    struct span value;
    int64_t factor;
    enum config_source source;
};

/* The next of a key's synonyms: a broker's key, and its factor. */
static const struct config_key *synonym_next(struct span *rest, int64_t *factor) {
    struct span one;
    *factor = 1;
    if (!config_list_next(rest, &one)) return NULL;
    const uint8_t *star = memchr(one.data, '*', one.size);
    if (star) {
        bool is_number = config_parse_integer((struct span){star + 1, one.size - (size_t)(star - one.data) - 1}, factor);
        assert(is_number);
        one.size = (size_t)(star - one.data);
    }
    const struct config_key *key = config_find(SCOPE_BROKER, one);
    assert(key);
    return key;
}

/* What holds where the resource itself has nothing: the key's synonyms by their order, else its default. */
static struct found inherited(const struct config_view *view, const struct config_key *key) {
    struct found found = {.factor = 1, .source = SOURCE_DEFAULT};
    if (key->scope == SCOPE_BROKER) {
        found.value = broker_value(view, key, &found.source);
        if (found.value.data) return found;
    }
    struct span rest = key->synonyms ? span_text(key->synonyms) : (struct span){0};
    for (const struct config_key *synonym; (synonym = synonym_next(&rest, &found.factor));) {
        found.value = broker_value(view, synonym, &found.source);
        if (found.value.data) return found;
    }
    return (struct found){.value = config_default(key), .factor = 1, .source = SOURCE_DEFAULT};
}

static enum config_source own_source(enum config_scope scope) {
    return scope == SCOPE_TOPIC ? SOURCE_TOPIC : scope == SCOPE_GROUP ? SOURCE_GROUP : SOURCE_CLIENT_METRICS;
}

static struct found look_up(const struct config_view *view, const struct config_key *key, struct span resource) {
    if (key->scope != SCOPE_BROKER && resource.data) {
        struct span own = set_in_image(view, resource_of(key->scope), resource, key->name);
        if (own.data) return (struct found){.value = own, .factor = 1, .source = own_source(key->scope)};
    }
    return inherited(view, key);
}

/* Numbers that mean "no limit" stay -1 in any unit. */
static int64_t times(int64_t number, int64_t factor) {
    int64_t product;
    if (factor == 1) return number;
    if (number < 0) return -1;
    return __builtin_mul_overflow(number, factor, &product) ? INT64_MAX : product;
}

struct span config_value(const struct config_view *view, const struct config_key *key, struct span resource,
                         enum config_source *source, struct arena *arena) {
    struct found found = look_up(view, key, resource);
    if (source) *source = found.source;
    int64_t number;
    if (found.factor == 1 || !config_parse_integer(found.value, &number)) return found.value;
    char words[24];
    struct text text;
    text_init(&text, words, sizeof words);
    text_add(&text, "%lld", (long long)times(number, found.factor));
    void *copy = arena_copy(arena, words, text.size);
    return copy ? (struct span){copy, text.size} : found.value;
}

uint32_t config_synonyms(const struct config_view *view, const struct config_key *key, struct span resource,
                         struct config_synonym out[CONFIG_SYNONYMS_MAX]) {
    uint32_t count = 0;
    if (key->scope != SCOPE_BROKER && resource.data) {
        struct span own = set_in_image(view, resource_of(key->scope), resource, key->name);
        if (own.data) out[count++] = (struct config_synonym){span_text(key->name), own, own_source(key->scope)};
    }
    for (enum config_source source = SOURCE_DYNAMIC_BROKER; source <= SOURCE_DEFAULT; source++) {
        int64_t factor;
        struct span rest = key->synonyms ? span_text(key->synonyms) : (struct span){0};
        const struct config_key *broker_key = key->scope == SCOPE_BROKER ? key : synonym_next(&rest, &factor);
        for (; broker_key && count < CONFIG_SYNONYMS_MAX; broker_key = synonym_next(&rest, &factor)) {
            struct span value = broker_value_at(view, broker_key, source);
            if (value.data) out[count++] = (struct config_synonym){span_text(broker_key->name), value, source};
        }
    }
    if (key->scope != SCOPE_BROKER && !key->synonyms && key->default_text && count < CONFIG_SYNONYMS_MAX)
        out[count++] = (struct config_synonym){span_text(key->name), config_default(key), SOURCE_DEFAULT};
    return count;
}

/* ---- read values. What cannot be read (a value of another release) counts as the default. */

static int64_t number_of(struct found found, const struct config_key *key) {
    int64_t number = INT64_MIN;
    if (found.value.data && config_parse_integer(found.value, &number)) return times(number, found.factor);
    return config_default(key).data && config_parse_integer(config_default(key), &number) ? number : INT64_MIN;
}
static bool flag_of(struct found found, const struct config_key *key) {
    bool flag = false;
    if (found.value.data && config_parse_boolean(found.value, &flag)) return flag;
    return config_default(key).data && config_parse_boolean(config_default(key), &flag) && flag;
}
static double real_of(struct found found, const struct config_key *key) {
    double real = 0;
    if (found.value.data && config_parse_double(found.value, &real)) return real;
    return config_default(key).data && config_parse_double(config_default(key), &real) ? real : 0;
}

static struct found found_for_broker(const struct config_view *view, enum config_id id) {
    return (struct found){.value = config_text(view, id, NULL), .factor = 1};
}
int64_t config_number(const struct config_view *view, enum config_id id) {
    return number_of(found_for_broker(view, id), config_key(id));
}
int64_t config_listener_number(const struct config_view *view, const char *listener, enum config_id id) {
    char name[256], own[16];
    struct text text, broker;
    struct span value = {0};
    int64_t number;
    text_init(&text, name, sizeof name);
    text_init(&broker, own, sizeof own);
    text_add(&text, "listener.name.");
    for (const char *at = listener; *at; at++) text_add(&text, "%c", *at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
    text_add(&text, ".%s", config_key(id)->name);
    text_add(&broker, "%d", view->broker);
    value = set_in_image(view, CONFIG_BROKER, span_of(own, broker.size), name);
    if (!value.data) value = set_in_image(view, CONFIG_BROKER, SPAN_LITERAL(""), name);
    if (!value.data && view->values && !config_values_get(view->values, span_of(name, text.size), &value)) value = (struct span){0};
    return value.data && config_parse_integer(value, &number) ? number : INT64_MIN;
}
bool config_flag(const struct config_view *view, enum config_id id) {
    return flag_of(found_for_broker(view, id), config_key(id));
}
double config_real(const struct config_view *view, enum config_id id) {
    return real_of(found_for_broker(view, id), config_key(id));
}

/* One loop over the rows of a scope fills the struct that was made from the same rows. */
#define READ_BOOLEAN flag_of
#define READ_INT number_of
#define READ_SHORT number_of
#define READ_LONG number_of
#define READ_DOUBLE real_of
#define READ_STRING text_of
#define READ_LIST text_of
#define READ_CLASS text_of
#define READ_PASSWORD text_of
static struct span text_of(struct found found, const struct config_key *key) {
    return found.value;
}

static struct found look_up_or(const struct config_view *view, const struct config_key *key, struct span resource,
                               const struct config_values *overrides) {
    struct span own;
    if (!overrides) return look_up(view, key, resource);
    if (config_values_get(overrides, span_text(key->name), &own)) return (struct found){.value = own, .factor = 1, .source = own_source(key->scope)};
    return inherited(view, key);
}

static void load_topic(struct topic_config *out, const struct config_view *view, struct span topic, const struct config_values *overrides) {
    const struct config_key *key = NULL;
#undef CONFIG_ROW
#define CONFIG_BROKER(field, ...)
#define CONFIG_TOPIC(field, name, type, ...)                                        \
    key = config_next(SCOPE_TOPIC, key);                                            \
    out->field = READ_##type(look_up_or(view, key, topic, overrides), key);
#define CONFIG_GROUP(field, ...)
#define CONFIG_CLIENT_METRICS(field, ...)
#include "meta/config.tbl"
}

void topic_config_load(struct topic_config *out, const struct config_view *view, struct span topic) {
    load_topic(out, view, topic, NULL);
}
void topic_config_load_values(struct topic_config *out, const struct config_view *view, const struct config_values *overrides) {
    load_topic(out, view, (struct span){0}, overrides);
}

void group_config_load(struct group_config *out, const struct config_view *view, struct span group) {
    const struct config_key *key = NULL;
#define CONFIG_BROKER(field, ...)
#define CONFIG_TOPIC(field, ...)
#define CONFIG_GROUP(field, name, type, ...)                                        \
    key = config_next(SCOPE_GROUP, key);                                            \
    out->field = READ_##type(look_up(view, key, group), key);
#define CONFIG_CLIENT_METRICS(field, ...)
#include "meta/config.tbl"
}
