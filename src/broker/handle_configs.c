/* DescribeConfigs: what holds for a topic, a broker, a group, and where it comes from. */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/topics_auto.h"

static bool is_wanted(const struct describe_configs_request_describe_configs_resource *resource, const char *name) {
    if (resource->configuration_keys_count < 0) return true;
    for (int32_t i = 0; i < resource->configuration_keys_count; i++)
        if (span_equal(resource->configuration_keys[i], span_text(name))) return true;
    return false;
}

static bool synonyms(struct request *request, struct describe_configs_response_describe_configs_resource_result *out,
                     const struct config_synonym *values, uint32_t count) {
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

static bool describe(struct request *request, struct describe_configs_response_describe_configs_result *result,
                     const struct describe_configs_request_describe_configs_resource *resource, enum config_scope scope, bool read_only) {
    const struct describe_configs_request *in = request->in;
    struct config_view view = broker_config_view(request->broker);
    int32_t count = 0;
    for (const struct config_key *key = config_next(scope, NULL); key; key = config_next(scope, key)) count++;
    result->configs = describe_configs_response_describe_configs_resource_result_array(&request->arena, count);
    if (!result->configs) {
        request_refuse(request, "over budget");
        return false;
    }
    for (const struct config_key *key = config_next(scope, NULL); key; key = config_next(scope, key)) {
        if (key->internal || !is_wanted(resource, key->name)) continue;
        struct config_synonym values[CONFIG_SYNONYMS_MAX];
        uint32_t found = config_synonyms(&view, key, resource->resource_name, values);
        enum config_source source;
        struct span value = config_value(&view, key, resource->resource_name, &source, &request->arena);
        struct describe_configs_response_describe_configs_resource_result *out = &result->configs[result->configs_count++];
        out->name = span_text(key->name);
        out->is_sensitive = config_is_sensitive(scope, key);
        out->value = out->is_sensitive ? (struct span){0} : value;
        out->config_source = (int8_t)source;
        out->read_only = read_only && key->mode == CONFIG_READ_ONLY;
        out->config_type = (int8_t)key->type;
        if (in->include_documentation && key->doc && key->doc[0]) out->documentation = span_text(key->doc);
        if (in->include_synonyms && !synonyms(request, out, values, found)) return false;
    }
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
        if (!image_topic(broker->image, resource->resource_name)) {
            out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            return true;
        }
        return describe(request, out, resource, SCOPE_TOPIC, false);
    case CONFIG_BROKER:
        if (resource->resource_name.size == 0) return describe(request, out, resource, SCOPE_BROKER, true);
        if (!parse_id(resource->resource_name, &id) || id != broker->node->id) {
            out->error_code = KAFKA_INVALID_REQUEST;
            out->error_message = request_text(request, "Unexpected broker id: this broker is %d, the request is about '%.*s'.", broker->node->id,
                                              (int)resource->resource_name.size, (const char *)resource->resource_name.data);
            return true;
        }
        return describe(request, out, resource, SCOPE_BROKER, true);
    case CONFIG_GROUP:
        if (resource->resource_name.size == 0) {
            out->error_code = KAFKA_INVALID_REQUEST;
            out->error_message = SPAN_LITERAL("A group's name must not be empty.");
            return true;
        }
        return describe(request, out, resource, SCOPE_GROUP, false);
    case CONFIG_CLIENT_METRICS:
        if (resource->resource_name.size == 0) {
            out->error_code = KAFKA_INVALID_REQUEST;
            out->error_message = SPAN_LITERAL("A client metrics subscription's name must not be empty.");
            return true;
        }
        return describe(request, out, resource, SCOPE_CLIENT_METRICS, false);
    default:
        out->error_code = KAFKA_INVALID_REQUEST;
        out->error_message = request_text(request, "Unsupported resource type: %d.", resource->resource_type);
        return true;
    }
}

void handle_describe_configs(struct request *request) {
    const struct describe_configs_request *in = request->in;
    struct describe_configs_response *out = REQUEST_NEW(request, struct describe_configs_response);
    if (!out) return;
    describe_configs_response_init(out);
    out->results = describe_configs_response_describe_configs_result_array(&request->arena, in->resources_count);
    if (!out->results) {
        request_refuse(request, "over budget");
        return;
    }
    out->results_count = in->resources_count;
    for (int32_t i = 0; i < in->resources_count; i++)
        if (!one(request, &in->resources[i], &out->results[i])) return;
    request_reply(request, out);
}
