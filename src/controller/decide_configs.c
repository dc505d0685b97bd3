#include "controller/decide.h"
#include <string.h>

enum { CONFIG_BYTES_MAX = 32767 };

/* One resource's change: what its values will be, and what was said to change. */
struct change {
    int8_t type;
    struct span name;
    struct config_values after;   /* every value that it will have */
    struct config_record *records;
    uint32_t count;
};
struct verdict { enum kafka_error error; struct span message; };
#define VERDICT(error_, ...) ((struct verdict){error_, decide_text(d, __VA_ARGS__)})
#define FINE ((struct verdict){KAFKA_NONE, {0}})

static bool scope_of(int8_t type, enum config_scope *scope) {
    switch (type) {
    case CONFIG_TOPIC: *scope = SCOPE_TOPIC; return true;
    case CONFIG_BROKER: *scope = SCOPE_BROKER; return true;
    case CONFIG_GROUP: *scope = SCOPE_GROUP; return true;
    case CONFIG_CLIENT_METRICS: *scope = SCOPE_CLIENT_METRICS; return true;
    default: return false;
    }
}

/* ---- may it be? */

/* Values that the schema does not know were written by another release: they stay, and are not judged. */
static struct span check_values(struct decide *d, enum config_scope scope, const struct config_values *values, const struct config_values *before) {
    char words[384];
    struct text why;
    text_init(&why, words, sizeof words);
    for (uint32_t i = 0; i < values->count; i++) {
        const struct config_key *key = config_find(scope, values->entries[i].name);
        struct span old;
        bool is_old = before && config_values_get(before, values->entries[i].name, &old) && span_equal(old, values->entries[i].value);
        if (!key && !is_old && scope != SCOPE_BROKER) return decide_text(d, "Unknown %s config name: %.*s", scope == SCOPE_TOPIC ? "topic" : scope == SCOPE_GROUP ? "group" : "client metrics", SPAN_ARGS(values->entries[i].name));
        if (values->entries[i].value.size > CONFIG_BYTES_MAX) return decide_text(d, "%s: a value has at most %d bytes", key ? key->name : "config", CONFIG_BYTES_MAX);
        if (key && !config_validate(key, values->entries[i].value, &why)) return decide_keep(d, &why);
    }
    struct config_view view = decide_config(d);
    if (scope == SCOPE_GROUP) return config_check_group(&view, values, &why) ? (struct span){0} : decide_keep(d, &why);
    if (scope != SCOPE_TOPIC) return (struct span){0};
    struct topic_config config;
    topic_config_load_values(&config, &view, values);
    if (config.remote_storage_enable && !config_flag(&view, KEY_remote_log_storage_system_enable))
        return SPAN_LITERAL("remote.storage.enable cannot be true: remote.log.storage.system.enable is false");
    return topic_config_validate(&config, &why) ? (struct span){0} : decide_keep(d, &why);
}

struct span decide_check_topic_configs(struct decide *d, const struct config_values *values) {
    return check_values(d, SCOPE_TOPIC, values, NULL);
}

static struct verdict check_name(struct decide *d, const struct change *change) {
    int64_t id;
    switch (change->type) {
    case CONFIG_TOPIC: {
        if (change->name.size == 0) return VERDICT(KAFKA_INVALID_REQUEST, "a topic's name must not be empty");
        struct span why = decide_check_topic_name(d, change->name);
        return why.data ? (struct verdict){KAFKA_INVALID_TOPIC_EXCEPTION, why} : FINE;
    }
    case CONFIG_BROKER:
        if (change->name.size == 0) return FINE; /* for all of them */
        if (!config_parse_integer(change->name, &id) || id < 0 || id > INT32_MAX)
            return VERDICT(KAFKA_INVALID_REQUEST, "%.*s is not a broker's id", SPAN_ARGS(change->name));
        return FINE;
    default:
        return change->name.size ? FINE : VERDICT(KAFKA_INVALID_REQUEST, "the resource's name must not be empty");
    }
}

static struct verdict check_existence(struct decide *d, const struct change *change) {
    int64_t id;
    if (change->type == CONFIG_TOPIC && !image_topic(d->image, change->name))
        return VERDICT(KAFKA_UNKNOWN_TOPIC_OR_PARTITION, "there is no topic %.*s", SPAN_ARGS(change->name));
    if (change->type == CONFIG_BROKER && change->name.size && config_parse_integer(change->name, &id) && !image_broker(d->image, (broker_id)id))
        return VERDICT(KAFKA_BROKER_ID_NOT_REGISTERED, "broker %lld is not registered", (long long)id);
    return FINE;
}

/* Kafka answers a key that client metrics do not have with another error than a value that does not fit. */
static enum kafka_error metrics_error(const struct config_values *values) {
    for (uint32_t i = 0; i < values->count; i++)
        if (!config_find(SCOPE_CLIENT_METRICS, values->entries[i].name)) return KAFKA_INVALID_REQUEST;
    return KAFKA_INVALID_CONFIG;
}

static struct verdict check_client_metrics(struct decide *d, const struct config_values *values) {
    char words[384];
    struct text why;
    text_init(&why, words, sizeof words);
    enum config_verdict verdict = config_check_client_metrics(values, &why);
    if (verdict == CONFIG_FINE) return FINE;
    return (struct verdict){verdict == CONFIG_REFUSED ? KAFKA_INVALID_REQUEST : KAFKA_INVALID_CONFIG, decide_keep(d, &why)};
}

/* What ELR and directories stand on. What can be changed at run time at all, the broker has judged (config_check_broker). */
static struct verdict check_broker_rules(struct decide *d, const struct change *change) {
    for (uint32_t i = 0; i < change->count; i++) {
        const struct config_record *r = &change->records[i];
        if (span_equal(r->name, SPAN_LITERAL("min.insync.replicas")) && decide_elr_is_on(d)) {
            if (change->name.size) return VERDICT(KAFKA_INVALID_CONFIG, "min.insync.replicas cannot be set for a single broker while ELR is on");
            if (!r->value.data) return VERDICT(KAFKA_INVALID_CONFIG, "min.insync.replicas of the cluster cannot be removed while ELR is on");
        }
        if (span_equal(r->name, SPAN_LITERAL("cordoned.log.dirs")) && !mv_has_cordoned(decide_mv(d)))
            return VERDICT(KAFKA_INVALID_CONFIG, "cordoned.log.dirs can be set from metadata.version 4.3-IV0 on");
    }
    return FINE;
}

/* The eligible leaders of a topic were counted against another minimum: they are no longer. */
static void clear_elr(struct decide *d, const struct change *change) {
    if (!decide_elr_is_on(d) || (change->type != CONFIG_TOPIC && change->type != CONFIG_BROKER)) return;
    for (uint32_t i = 0; i < change->count; i++) {
        if (!span_equal(change->records[i].name, SPAN_LITERAL("min.insync.replicas"))) continue;
        struct clear_elr_record r = {.topic_name = change->type == CONFIG_TOPIC ? change->name : SPAN_LITERAL("")};
        decide_record(d, &clear_elr_record_message, 0, &r);
        return;
    }
}

static struct verdict carry_out(struct decide *d, struct change *change, const struct config_values *before) {
    enum config_scope scope;
    if (!scope_of(change->type, &scope)) return VERDICT(KAFKA_INVALID_REQUEST, "resources of type %d have no configs here", change->type);
    struct verdict verdict = check_name(d, change);
    if (verdict.error) return verdict;
    struct span why = check_values(d, scope, &change->after, before);
    if (why.data) return (struct verdict){scope == SCOPE_CLIENT_METRICS ? metrics_error(&change->after) : KAFKA_INVALID_CONFIG, why};
    if (scope == SCOPE_CLIENT_METRICS) verdict = check_client_metrics(d, &change->after);
    if (!verdict.error) verdict = check_existence(d, change);
    if (!verdict.error && change->type == CONFIG_BROKER) verdict = check_broker_rules(d, change);
    if (verdict.error) return verdict;
    for (uint32_t i = 0; i < change->count; i++) decide_record(d, &config_record_message, 0, &change->records[i]);
    clear_elr(d, change);
    return FINE;
}

/* ---- what will it be? */

static bool start(struct decide *d, struct change *change, int8_t type, struct span name, int32_t configs, struct config_values *before) {
    *change = (struct change){.type = type, .name = name};
    config_values_init(&change->after, d->arena);
    config_values_init(before, d->arena);
    uint32_t existing = 0;
    for (const struct image_config *c = NULL; (c = image_config_of(d->image, type, name, c)); existing++)
        if (config_values_set(&change->after, c->key, c->value) || config_values_set(before, c->key, c->value)) d->failed = true;
    change->records = decide_alloc(d, existing + (size_t)configs, sizeof *change->records);
    return !d->failed;
}

static void remove_value(struct config_values *values, struct span name) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < values->count; i++)
        if (!span_equal(values->entries[i].name, name)) values->entries[kept++] = values->entries[i];
    values->count = kept;
}

/* Sets the value (data NULL: removes it). Brokers are told again of what stays: they may have missed something. */
static void set_value(struct decide *d, struct change *change, const struct config_values *before, struct span key, struct span value) {
    struct span old = {0};
    bool had = config_values_get(before, key, &old);
    if (value.data && config_values_set(&change->after, key, value)) d->failed = true;
    if (!value.data) remove_value(&change->after, key);
    bool same = value.data ? had && span_equal(old, value) : !had;
    if (same && change->type != CONFIG_BROKER) return;
    change->records[change->count++] = (struct config_record){.resource_type = change->type, .resource_name = change->name, .name = key, .value = value};
}

static bool said_twice(const struct incremental_alter_configs_request_alter_configs_resource *in, int32_t at) {
    for (int32_t i = 0; i < at; i++)
        if (span_equal(in->configs[i].name, in->configs[at].name)) return true;
    return false;
}

static struct verdict apply_op(struct decide *d, struct change *change, const struct config_values *before,
                               const struct incremental_alter_configs_request_alterable_config *op) {
    if (op->config_operation == CONFIG_DELETE) {
        set_value(d, change, before, op->name, (struct span){0});
        return FINE;
    }
    if (op->config_operation == CONFIG_SET) {
        set_value(d, change, before, op->name, op->value);
        return FINE;
    }
    enum config_scope scope;
    const struct config_key *key = scope_of(change->type, &scope) ? config_find(scope, op->name) : NULL;
    bool edits_lists = key && key->type == CONFIG_TYPE_LIST && scope != SCOPE_CLIENT_METRICS; /* whose lists Kafka takes as a whole only */
    if (!edits_lists) return VERDICT(KAFKA_INVALID_CONFIG, "%.*s is not a list", SPAN_ARGS(op->name));
    struct span base;
    if (!config_values_get(before, op->name, &base)) base = config_default(key);
    struct span list = config_list_edit(d->arena, base, op->value, op->config_operation == CONFIG_APPEND);
    if (!list.data) d->failed = true;
    else set_value(d, change, before, op->name, list);
    return FINE;
}

static struct verdict alter_incrementally(struct decide *d, const struct incremental_alter_configs_request_alter_configs_resource *in) {
    struct change change;
    struct config_values before;
    if (!start(d, &change, in->resource_type, in->resource_name, in->configs_count, &before)) return FINE;
    for (int32_t i = 0; i < in->configs_count; i++) {
        if (said_twice(in, i)) return VERDICT(KAFKA_INVALID_REQUEST, "%.*s is changed more than once", SPAN_ARGS(in->configs[i].name));
        if (in->configs[i].config_operation < CONFIG_SET || in->configs[i].config_operation > CONFIG_SUBTRACT)
            return VERDICT(KAFKA_INVALID_REQUEST, "there is no operation %d", in->configs[i].config_operation);
        if (in->configs[i].config_operation != CONFIG_DELETE && !in->configs[i].value.data)
            return VERDICT(KAFKA_INVALID_REQUEST, "%.*s: a value is wanted", SPAN_ARGS(in->configs[i].name));
    }
    for (int32_t i = 0; i < in->configs_count && !d->failed; i++) {
        struct verdict verdict = apply_op(d, &change, &before, &in->configs[i]);
        if (verdict.error) return verdict;
    }
    return d->failed ? FINE : carry_out(d, &change, &before);
}

static struct verdict alter_whole(struct decide *d, const struct alter_configs_request_alter_configs_resource *in) {
    struct change change;
    struct config_values before;
    if (!start(d, &change, in->resource_type, in->resource_name, in->configs_count, &before)) return FINE;
    change.after.count = 0;
    struct config_values said;
    config_values_init(&said, d->arena);
    for (int32_t i = 0; i < in->configs_count && !d->failed; i++) {
        if (!in->configs[i].value.data) return VERDICT(KAFKA_INVALID_REQUEST, "%.*s: a value is wanted", SPAN_ARGS(in->configs[i].name));
        struct span twice;
        if (config_values_get(&said, in->configs[i].name, &twice)) return VERDICT(KAFKA_INVALID_REQUEST, "%.*s is set more than once", SPAN_ARGS(in->configs[i].name));
        if (config_values_set(&said, in->configs[i].name, in->configs[i].value)) d->failed = true;
        set_value(d, &change, &before, in->configs[i].name, in->configs[i].value);
    }
    for (uint32_t i = 0; i < before.count && !d->failed; i++) { /* what is not said is gone */
        struct span stays;
        if (!config_values_get(&said, before.entries[i].name, &stays)) set_value(d, &change, &before, before.entries[i].name, (struct span){0});
    }
    return d->failed ? FINE : carry_out(d, &change, &before);
}

/* ---- the requests */

/* Two changes of one resource: neither is done. */
#define IS_TWICE(resources, count, i)                                                                                           \
    ({                                                                                                                          \
        bool twice_ = false;                                                                                                    \
        for (int32_t k_ = 0; k_ < (count) && !twice_; k_++)                                                                     \
            twice_ = k_ != (i) && (resources)[k_].resource_type == (resources)[i].resource_type &&                              \
                     span_equal((resources)[k_].resource_name, (resources)[i].resource_name);                                   \
        twice_;                                                                                                                 \
    })
enum { RESOURCES_MAX = 10000 };

void decide_incremental_alter_configs(struct decide *d, const struct incremental_alter_configs_request *in, struct incremental_alter_configs_response *out) {
    out->responses = decide_answer_alloc(d, (size_t)in->resources_count, sizeof *out->responses);
    if (!out->responses) return;
    for (int32_t i = 0; i < in->resources_count && !d->failed; i++) {
        uint32_t before = d->count;
        struct verdict verdict = in->resources_count > RESOURCES_MAX ? VERDICT(KAFKA_POLICY_VIOLATION, "the request changes too many resources")
            : IS_TWICE(in->resources, in->resources_count, i) ? VERDICT(KAFKA_INVALID_REQUEST, "the request names this resource more than once")
            : alter_incrementally(d, &in->resources[i]);
        if (verdict.error) decide_undo(d, before);
        struct incremental_alter_configs_response_alter_configs_resource_response *to = &out->responses[out->responses_count++];
        to->error_code = (int16_t)verdict.error;
        to->error_message = verdict.message;
        to->resource_type = in->resources[i].resource_type;
        to->resource_name = in->resources[i].resource_name;
    }
    if (in->validate_only) decide_undo(d, 0);
}

void decide_alter_configs(struct decide *d, const struct alter_configs_request *in, struct alter_configs_response *out) {
    out->responses = decide_answer_alloc(d, (size_t)in->resources_count, sizeof *out->responses);
    if (!out->responses) return;
    for (int32_t i = 0; i < in->resources_count && !d->failed; i++) {
        uint32_t before = d->count;
        struct verdict verdict = in->resources_count > RESOURCES_MAX ? VERDICT(KAFKA_POLICY_VIOLATION, "the request changes too many resources")
            : IS_TWICE(in->resources, in->resources_count, i) ? VERDICT(KAFKA_INVALID_REQUEST, "the request names this resource more than once")
            : alter_whole(d, &in->resources[i]);
        enum config_scope scope;
        if (verdict.error == KAFKA_INVALID_REQUEST && !scope_of(in->resources[i].resource_type, &scope)) verdict.error = KAFKA_UNSUPPORTED_VERSION;
        if (verdict.error) decide_undo(d, before);
        struct alter_configs_response_alter_configs_resource_response *to = &out->responses[out->responses_count++];
        to->error_code = (int16_t)verdict.error;
        to->error_message = verdict.message;
        to->resource_type = in->resources[i].resource_type;
        to->resource_name = in->resources[i].resource_name;
    }
    if (in->validate_only) decide_undo(d, 0);
}
