/* DescribeConfigs: what holds for a topic, a broker, a group, and where it comes from. ListConfigResources: who has any. */
#include "broker/apart.h"
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/topics_auto.h"

static bool is_wanted(const struct describe_configs_request_describe_configs_resource *resource, struct span name) {
    if (resource->configuration_keys_count <= 0) return true; /* none are all, as in Kafka */
    for (int32_t i = 0; i < resource->configuration_keys_count; i++)
        if (span_equal(resource->configuration_keys[i], name)) return true;
    return false;
}

static bool synonyms(struct request *request, struct describe_configs_response_describe_configs_resource_result *out,
                     const struct config_synonym *values, uint32_t count) {
    const struct describe_configs_request *in = request->in;
    if (!in->include_synonyms) return true;
    out->synonyms = describe_configs_response_describe_configs_synonym_array(&request->arena, (int32_t)count);
    if (!out->synonyms) {
        request_refuse(request, "over budget");
        return false;
    }
    out->synonyms_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        out->synonyms[i].name = values[i].name;
        out->synonyms[i].value = out->is_sensitive ? (struct span){0} : values[i].value;
        out->synonyms[i].source = (int8_t)values[i].source;
    }
    return true;
}

/* What is set on the resource itself comes first. Behind it Kafka tells a broker's values from the first on that bears the
 * key's own name (for a topic: the name of its first broker key): what only another name says (log.retention.hours) counts
 * for the value, and is not told. Subscriptions of client metrics tell what is set only. */
static uint32_t find_synonyms(const struct config_view *view, const struct config_key *key, struct span resource, struct config_synonym out[CONFIG_SYNONYMS_MAX]) {
    uint32_t count = config_synonyms(view, key, resource, out);
    bool has_own = count && key->scope != SCOPE_BROKER && span_equal(out[0].name, span_text(key->name)) && out[0].source != SOURCE_DEFAULT;
    uint32_t own = has_own, from = own;
    struct span first = span_text(key->name), rest = key->synonyms ? span_text(key->synonyms) : (struct span){0};
    switch (key->scope) {
    case SCOPE_BROKER:
        break;
    case SCOPE_TOPIC:
        if (!config_list_next(&rest, &first)) return own;
        break;
    case SCOPE_GROUP:
        return count;
    case SCOPE_CLIENT_METRICS:
        return own;
    }
    while (from < count && !span_equal(out[from].name, first)) from++;
    if (from > own) memmove(out + own, out + from, (count - from) * sizeof *out);
    return own + count - from;
}

static void fill(struct describe_configs_response_describe_configs_resource_result *out, const struct request *request, const struct config_key *key) {
    const struct describe_configs_request *in = request->in;
    out->name = span_text(key->name);
    out->is_sensitive = config_is_sensitive(key->scope, key);
    out->config_type = (int8_t)key->type;
    out->read_only = key->scope == SCOPE_BROKER && key->mode == CONFIG_READ_ONLY;
    out->documentation = in->include_documentation && key->doc && key->doc[0] ? span_text(key->doc) : (struct span){0};
}

/* As it is understood; null stays null. */
static struct span trimmed(struct span value) {
    while (value.size && value.data[0] <= ' ') value = span_of(value.data + 1, value.size - 1);
    while (value.size && value.data[value.size - 1] <= ' ') value.size--;
    return value;
}

/* A topic's list is told as it is understood: no spaces around the items, and each policy of cleaning once. False: over
 * budget. */
static bool list_text(struct arena *arena, const struct config_key *key, struct span *inout) {
    bool each_once = strcmp(key->name, "cleanup.policy") == 0;
    struct span value = *inout;
    if (key->scope != SCOPE_TOPIC || key->type != CONFIG_TYPE_LIST || !value.size) return true;
    uint8_t *text = arena_alloc(arena, value.size);
    size_t size = 0;
    if (!text) return false;
    for (const uint8_t *at = value.data, *end = value.data + value.size; at <= end;) {
        const uint8_t *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
        struct span one = trimmed(span_of(at, (size_t)((comma ? comma : end) - at)));
        bool is_first = at == value.data;
        at = comma ? comma + 1 : end + 1;
        if (each_once && config_list_contains((struct span){text, size}, one)) continue;
        if (!is_first) text[size++] = ',';
        if (one.size) memcpy(text + size, one.data, one.size);
        size += one.size;
    }
    *inout = span_of(text, size);
    return true;
}

static bool one_key(struct request *request, struct describe_configs_response_describe_configs_result *result, struct span resource, const struct config_key *key) {
    struct config_view view = request_config_view(request);
    struct config_synonym values[CONFIG_SYNONYMS_MAX];
    uint32_t found = find_synonyms(&view, key, resource, values);
    enum config_source source;
    struct span value = config_value(&view, key, resource, &source, &request->arena);
    if (key->internal && !(found && values[0].source != SOURCE_DEFAULT)) return true; /* only where it is set */
    if (key == config_key(KEY_broker_id)) { /* the former name of the same */
        value = config_text(&view, KEY_node_id, NULL);
        values[0] = (struct config_synonym){span_text(key->name), value, SOURCE_STATIC_BROKER};
        values[1] = (struct config_synonym){span_text(key->name), config_default(key), SOURCE_DEFAULT};
        found = 2;
    }
    struct describe_configs_response_describe_configs_resource_result *out = &result->configs[result->configs_count++];
    fill(out, request, key);
    if (key->scope == SCOPE_BROKER) value = found ? values[0].value : config_default(key); /* another name's value is not this one's */
    out->config_source = (int8_t)(found ? values[0].source : SOURCE_DEFAULT);
    out->value = out->is_sensitive ? (struct span){0} : key->type == CONFIG_TYPE_STRING ? value : trimmed(value);
    bool fits = list_text(&request->arena, key, &out->value);
    for (uint32_t i = 0; i < found; i++) {
        if (key->type != CONFIG_TYPE_STRING && key->scope == SCOPE_TOPIC) values[i].value = trimmed(values[i].value);
        fits = fits && list_text(&request->arena, key, &values[i].value);
    }
    if (!fits) request_refuse(request, "over budget");
    return fits && synonyms(request, out, values, found);
}

static bool make_room(struct request *request, struct describe_configs_response_describe_configs_result *result, enum config_scope scope) {
    const struct image *image = request->image;
    int32_t count = 0;
    for (const struct config_key *key = config_next(scope, NULL); key; key = config_next(scope, key)) count++;
    for (const struct image_config *c = NULL; scope == SCOPE_BROKER && (c = image_config_next(image, c));) count += c->type == CONFIG_BROKER;
    result->configs = describe_configs_response_describe_configs_resource_result_array(&request->arena, count);
    if (!result->configs) request_refuse(request, "over budget");
    return result->configs != NULL;
}

static bool describe(struct request *request, struct describe_configs_response_describe_configs_result *result,
                     const struct describe_configs_request_describe_configs_resource *resource, enum config_scope scope) {
    if (!make_room(request, result, scope)) return false;
    for (const struct config_key *key = config_next(scope, NULL); key; key = config_next(scope, key))
        if (is_wanted(resource, span_text(key->name)) && !one_key(request, result, resource->resource_name, key)) return false;
    return true;
}

/* ---- brokers: one broker's keys, and what was set besides for somebody's plug-in or for one listener */

/* Replication's quotas and tiered storage's own keys are known, and not among what a broker tells unless they are set. */
static bool is_told_if_set_only(const struct config_key *key) {
    static const char *const prefixes[] = {"remote.log.metadata.consume.", "remote.log.metadata.initialization.", "remote.log.metadata.topic."};
    for (size_t i = 0; i < countof(prefixes); i++)
        if (strncmp(key->name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return key == config_key(KEY_leader_replication_throttled_rate) ||
           key == config_key(KEY_follower_replication_throttled_rate) || key == config_key(KEY_replica_alter_log_dirs_io_max_bytes_per_second);
}

static bool set_only(struct request *request, struct describe_configs_response_describe_configs_result *result, struct span name, bool with_own) {
    const struct image *image = request->image;
    const struct config_key *key = config_find(SCOPE_BROKER, name), *base = config_find(SCOPE_BROKER, config_base_name(name));
    char id[16];
    struct text text;
    text_init(&text, id, sizeof id);
    text_add(&text, "%d", request->broker->node->id);
    const struct image_config *own = with_own ? image_config(image, CONFIG_BROKER, span_of(id, text.size), name) : NULL;
    const struct image_config *all = image_config(image, CONFIG_BROKER, SPAN_LITERAL(""), name);
    struct config_synonym values[2];
    uint32_t found = 0;
    if (own) values[found++] = (struct config_synonym){name, own->value, SOURCE_DYNAMIC_BROKER};
    if (all) values[found++] = (struct config_synonym){name, all->value, SOURCE_DYNAMIC_DEFAULT_BROKER};
    if (!found) return true;
    struct describe_configs_response_describe_configs_resource_result *out = &result->configs[result->configs_count++];
    out->documentation = (struct span){0};
    if (base) fill(out, request, base);
    out->name = name;
    out->is_sensitive = config_is_sensitive(SCOPE_BROKER, base);
    out->read_only = !key || key->mode == CONFIG_READ_ONLY;
    out->config_source = (int8_t)values[0].source;
    out->value = out->is_sensitive ? (struct span){0} : values[0].value;
    return synonyms(request, out, values, found);
}

static bool describe_broker(struct request *request, struct describe_configs_response_describe_configs_result *result,
                            const struct describe_configs_request_describe_configs_resource *resource) {
    const struct image *image = request->image;
    bool for_one = resource->resource_name.size > 0;
    if (!make_room(request, result, SCOPE_BROKER)) return false;
    for (const struct config_key *key = NULL; for_one && (key = config_next(SCOPE_BROKER, key));) {
        if (is_wanted(resource, span_text(key->name)) && !is_told_if_set_only(key) && !one_key(request, result, resource->resource_name, key)) return false;
    }
    for (const struct image_config *c = NULL; (c = image_config_next(image, c));) {
        const struct config_key *key = config_find(SCOPE_BROKER, c->key);
        int64_t id;
        bool is_own = c->resource.size && config_parse_integer(c->resource, &id) && id == request->broker->node->id;
        if (c->type != CONFIG_BROKER || !is_wanted(resource, c->key) || (c->resource.size && !(for_one && is_own))) continue;
        if (for_one && key && !is_told_if_set_only(key)) continue;                                 /* told above */
        if (is_own && image_config(image, CONFIG_BROKER, SPAN_LITERAL(""), c->key)) continue;      /* told with all brokers' */
        if (!set_only(request, result, c->key, for_one)) return false;
    }
    return true;
}

/* ---- loggers: there is one */

static bool describe_logger(struct request *request, struct describe_configs_response_describe_configs_result *result,
                            const struct describe_configs_request_describe_configs_resource *resource) {
    static const char *const levels[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
    int8_t level = atomic_load_explicit(&request->broker->node->log_level, memory_order_relaxed);
    result->configs = describe_configs_response_describe_configs_resource_result_array(&request->arena, 1);
    if (!result->configs) {
        request_refuse(request, "over budget");
        return false;
    }
    if (!is_wanted(resource, SPAN_LITERAL("root"))) return true;
    result->configs_count = 1;
    result->configs[0].name = SPAN_LITERAL("root");
    result->configs[0].value = span_text(levels[level]);
    result->configs[0].config_source = SOURCE_DYNAMIC_BROKER_LOGGER;
    return true;
}

static bool parse_id(struct span text, int64_t *out) {
    return text.size > 0 && config_parse_integer(text, out);
}

static bool one(struct request *request, const struct describe_configs_request_describe_configs_resource *resource,
                struct describe_configs_response_describe_configs_result *out) {
    struct broker *broker = request->broker;
    int64_t id;
    out->resource_type = resource->resource_type;
    out->resource_name = resource->resource_name;
    switch (resource->resource_type) {
    case CONFIG_TOPIC:
        if (!topic_name_is_valid(resource->resource_name)) {
            out->error_code = KAFKA_INVALID_TOPIC_EXCEPTION;
            out->error_message = request_text(request, "Not a name that a topic may have: '%.*s'.", (int)resource->resource_name.size,
                                              (const char *)resource->resource_name.data);
            return true;
        }
        if (!image_topic(request->image, resource->resource_name)) {
            out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            return true;
        }
        return describe(request, out, resource, SCOPE_TOPIC);
    case CONFIG_BROKER:
        if (resource->resource_name.size && (!parse_id(resource->resource_name, &id) || id != broker->node->id)) {
            out->error_code = KAFKA_INVALID_REQUEST;
            out->error_message = request_text(request, "Unexpected broker id: this broker is %d, the request is about '%.*s'.", broker->node->id,
                                              (int)resource->resource_name.size, (const char *)resource->resource_name.data);
            return true;
        }
        return describe_broker(request, out, resource);
    case CONFIG_BROKER_LOGGER:
        if (!parse_id(resource->resource_name, &id) || id != broker->node->id) {
            out->error_code = KAFKA_INVALID_REQUEST;
            out->error_message = request_text(request, "This broker is %d, the request is about '%.*s'.", broker->node->id,
                                              (int)resource->resource_name.size, (const char *)resource->resource_name.data);
            return true;
        }
        return describe_logger(request, out, resource);
    case CONFIG_GROUP:
        if (resource->resource_name.size == 0) {
            out->error_code = KAFKA_INVALID_REQUEST;
            out->error_message = SPAN_LITERAL("A group's name must not be empty.");
            return true;
        }
        return describe(request, out, resource, SCOPE_GROUP);
    case CONFIG_CLIENT_METRICS:
        if (resource->resource_name.size == 0) {
            out->error_code = KAFKA_INVALID_REQUEST;
            out->error_message = SPAN_LITERAL("A client metrics subscription's name must not be empty.");
            return true;
        }
        return describe(request, out, resource, SCOPE_CLIENT_METRICS);
    default:
        out->error_code = KAFKA_INVALID_REQUEST;
        out->error_message = request_text(request, "Unsupported resource type: %d.", resource->resource_type);
        return true;
    }
}

static bool is_resource_type(int8_t type) {
    return type == CONFIG_TOPIC || type == CONFIG_BROKER || type == CONFIG_BROKER_LOGGER || type == CONFIG_CLIENT_METRICS || type == CONFIG_GROUP;
}

enum { LONG_ANSWER = 8 /* resources: a topic's keys take some 15 us, a broker's 100 */ };

void handle_describe_configs(struct request *request) {
    const struct describe_configs_request *in = request->in;
    if (in->resources_count > LONG_ANSWER && apart_handle(request)) return;
    struct describe_configs_response *out = REQUEST_NEW(request, struct describe_configs_response);
    if (!out) return;
    describe_configs_response_init(out);
    out->results = describe_configs_response_describe_configs_result_array(&request->arena, in->resources_count);
    if (!out->results) {
        request_refuse(request, "over budget");
        return;
    }
    out->results_count = in->resources_count;
    bool all_known = true;
    for (int32_t i = 0; i < in->resources_count; i++) all_known = all_known && is_resource_type(in->resources[i].resource_type);
    for (int32_t i = 0; i < in->resources_count; i++) {
        struct describe_configs_response_describe_configs_result *result = &out->results[i];
        if (all_known) {
            if (!one(request, &in->resources[i], result)) return;
            continue;
        }
        /* A type that does not exist refuses all of them. */
        result->resource_type = in->resources[i].resource_type;
        result->resource_name = in->resources[i].resource_name;
        result->error_code = KAFKA_INVALID_REQUEST;
        result->error_message = SPAN_LITERAL("One of the resources is of a type that does not exist.");
    }
    request_reply(request, out);
}

/* ---- ListConfigResources */

static bool lists(const struct request *request, int8_t type) {
    const struct list_config_resources_request *in = request->in;
    if (request->version == 0) return type == CONFIG_CLIENT_METRICS;
    for (int32_t i = 0; i < in->resource_types_count; i++)
        if (in->resource_types[i] == type) return true;
    return in->resource_types_count == 0;
}

void handle_list_config_resources(struct request *request) {
    static const int8_t types[] = {CONFIG_GROUP, CONFIG_CLIENT_METRICS, CONFIG_BROKER_LOGGER, CONFIG_BROKER, CONFIG_TOPIC};
    const struct list_config_resources_request *in = request->in;
    const struct image *image = request->image;
    struct list_config_resources_response *out = REQUEST_NEW(request, struct list_config_resources_response);
    if (!out) return;
    list_config_resources_response_init(out);
    for (int32_t i = 0; request->version > 0 && i < in->resource_types_count; i++) {
        bool known = false;
        for (size_t k = 0; k < countof(types); k++) known |= in->resource_types[i] == types[k];
        if (!known) out->error_code = KAFKA_UNSUPPORTED_VERSION;
    }
    if (out->error_code) {
        request_reply(request, out);
        return;
    }
    size_t most = 2 * (size_t)image_broker_count(image) + image_topic_count(image);
    for (const struct image_config *c = NULL; (c = image_config_next(image, c));) most++;
    out->config_resources = REQUEST_ARRAY(request, most, struct list_config_resources_response_config_resource);
    if (!out->config_resources) return;
    for (size_t k = 0; k < countof(types); k++) {
        int8_t type = types[k];
        if (!lists(request, type)) continue;
        struct span last = {0};
        for (const struct image_config *c = NULL; (type == CONFIG_GROUP || type == CONFIG_CLIENT_METRICS) && (c = image_config_next(image, c));) {
            if (c->type != type || (last.data && span_equal(last, c->resource))) continue;
            last = c->resource;
            out->config_resources[out->config_resources_count++] = (struct list_config_resources_response_config_resource){c->resource, type};
        }
        for (const struct image_broker *b = NULL; (type == CONFIG_BROKER || type == CONFIG_BROKER_LOGGER) && (b = image_broker_next(image, b));)
            out->config_resources[out->config_resources_count++] = (struct list_config_resources_response_config_resource){request_text(request, "%d", b->id), type};
        for (const struct image_topic *t = NULL; type == CONFIG_TOPIC && (t = image_topic_next(image, t));)
            out->config_resources[out->config_resources_count++] = (struct list_config_resources_response_config_resource){t->name, type};
    }
    request_reply(request, out);
}
