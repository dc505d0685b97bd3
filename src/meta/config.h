/* meta/config.h - every configuration key once (config.tbl), and where a value comes from.
 *
 * A broker's key: set for that broker at run time, else for all brokers, else in the file or on the command line
 * (static), else the default. A topic's key: set on the topic, else what its broker keys say by that order, else the
 * default. A group's: set on the group, else the broker's key `group.` + name. Values are text, as they are written;
 * what is read as a number is checked where it comes in.
 */
#pragma once
#include "base/arena.h"
#include "base/text.h"
#include "meta/image.h"

enum config_scope { SCOPE_BROKER, SCOPE_TOPIC, SCOPE_GROUP, SCOPE_CLIENT_METRICS };
enum config_type { /* as DescribeConfigs tells them */
    CONFIG_TYPE_BOOLEAN = 1, CONFIG_TYPE_STRING = 2, CONFIG_TYPE_INT = 3, CONFIG_TYPE_SHORT = 4, CONFIG_TYPE_LONG = 5,
    CONFIG_TYPE_DOUBLE = 6, CONFIG_TYPE_LIST = 7, CONFIG_TYPE_CLASS = 8, CONFIG_TYPE_PASSWORD = 9,
};
/* At run time: never; for one broker; for one broker or for all. */
enum config_mode { CONFIG_READ_ONLY, CONFIG_PER_BROKER, CONFIG_CLUSTER_WIDE };
enum config_importance { CONFIG_HIGH, CONFIG_MEDIUM, CONFIG_LOW };
enum config_check {
    CHECK_ANY, CHECK_RANGE, CHECK_ONE_OF, CHECK_ONE_OF_ANY_CASE, CHECK_LIST_OF, CHECK_SOME_OF, CHECK_NOT_NULL, CHECK_NOT_EMPTY,
    CHECK_THROTTLED, CHECK_OFFSET_RESET, CHECK_SERVERS, CHECK_VOTERS,
};

/* One row of the table. Lives for ever. */
struct config_key {
    enum config_scope scope;
    const char *name;
    uint8_t name_bytes;            /* of the name, known when compiling: looking one up goes over the whole table */
    enum config_type type;
    const char *default_text;      /* ask config_default */
    bool internal;
    bool no_effect;                /* known, so that files of Apache Kafka are read; nothing here follows from it */
    bool not_served;               /* checked and told; what it is for is not served yet, and nothing follows from it */
    enum config_check check;
    double low, high, also;        /* CHECK_RANGE: low..high, or `also` */
    const char *allowed;           /* CHECK_ONE_OF..., CHECK_LIST_OF, CHECK_SOME_OF: comma-separated */
    enum config_importance importance;
    enum config_mode mode;
    const char *synonyms;          /* broker keys, comma-separated, the strongest first; "*n" turns its unit; NULL: none */
    const char *doc;
};
const struct config_key *config_find(enum config_scope scope, struct span name);    /* NULL: not known */
const struct config_key *config_next(enum config_scope scope, const struct config_key *previous); /* NULL: the first */
bool config_is_required(const struct config_key *key);         /* has no default, and must be given */
struct span config_default(const struct config_key *key);      /* data NULL: null, or required */
/* Must never be shown: a password, or a broker key that is not known. */
bool config_is_sensitive(enum config_scope scope, const struct config_key *key);

/* May the key have this value (data NULL: null)? If not, `why` gets a sentence: the key, the value, what is allowed. */
must_use bool config_validate(const struct config_key *key, struct span value, struct text *why);
/* Do the values of a topic fit together (min.compaction.lag.ms <= max.compaction.lag.ms, ...)? Asked of what holds after a
 * change. */
struct topic_config;
must_use bool topic_config_validate(const struct topic_config *config, struct text *why);

/* Text to value; false: it is not one. Spaces around it are fine, as in Kafka. */
bool config_parse_integer(struct span text, int64_t *out);
bool config_parse_double(struct span text, double *out);
bool config_parse_boolean(struct span text, bool *out);
/* The next item of a comma-separated list, without the spaces around it; false: there is none. Start with the text. */
bool config_list_next(struct span *rest, struct span *item);
bool config_list_contains(struct span list, struct span item);

/* ---- Static values: from a server.properties and from --override */

struct config_entry {
    struct span name, value;
    uint32_t line, line_before;    /* in the file: its last line, and the one before that said the same key; 0: none */
};
struct config_values {
    struct arena *arena;
    struct config_entry *entries;  /* sorted by name */
    uint32_t count, capacity;
};
void config_values_init(struct config_values *values, struct arena *arena); /* values live in the arena */
must_use enum err config_values_set(struct config_values *values, struct span name, struct span value); /* copies; replaces */
bool config_values_get(const struct config_values *values, struct span name, struct span *out);
/* Java's properties syntax: '=', ':' or space between, '\' continues a line and escapes, '#' and '!' comment, \uXXXX.
 * ERR_CORRUPT with `why`: a line that Java would refuse as well. */
must_use enum err config_values_read(struct config_values *values, struct span file, struct text *why);
/* What is worth a line before the start, a sentence each: keys that are not known, with the nearest that is; keys that are
 * known and have no effect, here or yet; keys that are there twice. Written while there is room. */
void config_values_warn(const struct config_values *values, struct text *lines);
/* The known key that a name was probably meant to be; NULL: none is near. */
const struct config_key *config_nearest(enum config_scope scope, struct span name);
/* Each known key's value is allowed, what is required is there, and what belongs together fits. Unknown keys are fine
 * (plug-ins have their own), as in Kafka. */
must_use bool config_values_validate(const struct config_values *values, struct text *why);

/* Do the values of a broker fit together? What belongs to the file alone (roles, ids) is not asked. */
struct config_view;
must_use bool config_fits(const struct config_view *view, struct text *why);
must_use bool config_fits_dirs(const struct config_view *view, struct span cordoned, struct text *why); /* cordoned.log.dirs */
bool config_list_repeats(struct span list); /* an item is there twice */

/* ---- What holds */

/* The ids of broker keys: KEY_num_partitions, ... */
enum config_id {
#define CONFIG_BROKER(field, ...) KEY_##field,
#define CONFIG_TOPIC(field, ...)
#define CONFIG_GROUP(field, ...)
#define CONFIG_CLIENT_METRICS(field, ...)
#include "meta/config.tbl"
    KEYS_COUNT
};
const struct config_key *config_key(enum config_id id);

/* Where a node looks its values up. image NULL: static values only; broker -1: none of its own. */
struct config_view {
    const struct image *image;           /* borrows */
    const struct config_values *values;  /* borrows; NULL: none */
    broker_id broker;
    const struct config_values *edits;   /* borrows; NULL: none. What would stand at the level of edits_for_one, instead of the image's */
    bool edits_for_one;
};

enum config_source { /* as DescribeConfigs tells them */
    SOURCE_TOPIC = 1, SOURCE_DYNAMIC_BROKER = 2, SOURCE_DYNAMIC_DEFAULT_BROKER = 3, SOURCE_STATIC_BROKER = 4, SOURCE_DEFAULT = 5,
    SOURCE_DYNAMIC_BROKER_LOGGER = 6, SOURCE_CLIENT_METRICS = 7, SOURCE_GROUP = 8,
};
/* The value of a broker's key; data NULL is null. A null default whose key falls back to another (log.dirs: log.dir)
 * stays null here. `source` may be NULL. */
struct span config_text(const struct config_view *view, enum config_id id, enum config_source *source);
int64_t config_number(const struct config_view *view, enum config_id id);  /* INT, SHORT, LONG; null: INT64_MIN */
/* What is set of it for one listener alone, as listener.name.NAME.KEY with the name in small letters; INT64_MIN: nothing. */
int64_t config_listener_number(const struct config_view *view, const char *listener, enum config_id id);
bool config_flag(const struct config_view *view, enum config_id id);
double config_real(const struct config_view *view, enum config_id id);

/* The value of a key of any scope, in the key's own unit; data NULL is null. resource: the topic's or group's name, not
 * looked at for brokers' keys. A text that has to be made (log.retention.hours, told in ms) lives in `arena`. */
struct span config_value(const struct config_view *view, const struct config_key *key, struct span resource,
                         enum config_source *source, struct arena *arena);
/* Where a value is set, the strongest first, each under the name and in the unit in which it is: what DescribeConfigs
 * tells as synonyms. Answers how many. */
struct config_synonym {
    struct span name, value;
    enum config_source source;
};
enum { CONFIG_SYNONYMS_MAX = 16 };
uint32_t config_synonyms(const struct config_view *view, const struct config_key *key, struct span resource,
                         struct config_synonym out[CONFIG_SYNONYMS_MAX]);

/* All that a topic's partitions need to know, read. Lists and strings are borrowed from the view. */
#define CONFIG_C_BOOLEAN bool
#define CONFIG_C_INT int64_t
#define CONFIG_C_SHORT int64_t
#define CONFIG_C_LONG int64_t
#define CONFIG_C_DOUBLE double
#define CONFIG_C_STRING struct span
#define CONFIG_C_LIST struct span
#define CONFIG_C_CLASS struct span
#define CONFIG_C_PASSWORD struct span
struct topic_config {
#define CONFIG_BROKER(field, ...)
#define CONFIG_TOPIC(field, name, type, ...) CONFIG_C_##type field;
#define CONFIG_GROUP(field, ...)
#define CONFIG_CLIENT_METRICS(field, ...)
#include "meta/config.tbl"
};
struct group_config {
#define CONFIG_BROKER(field, ...)
#define CONFIG_TOPIC(field, ...)
#define CONFIG_GROUP(field, name, type, ...) CONFIG_C_##type field;
#define CONFIG_CLIENT_METRICS(field, ...)
#include "meta/config.tbl"
};
/* `topic` with data NULL: what a topic without settings has. */
void topic_config_load(struct topic_config *out, const struct config_view *view, struct span topic);
void group_config_load(struct group_config *out, const struct config_view *view, struct span group);
/* The same with `overrides` in place of what the image says of the topic: to check a change before it is made. */
void topic_config_load_values(struct topic_config *out, const struct config_view *view, const struct config_values *overrides);
