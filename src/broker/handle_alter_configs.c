/* IncrementalAlterConfigs and AlterConfigs: this broker judges what only it can (its own settings, its loggers), the
 * controller decides the rest and writes it down. Each resource has its own fate; answers come in the request's order.
 */
#include "broker/broker.h"
#include "broker/control.h"
#include "broker/dispatch.h"
#include "broker/handlers.h"

enum { WHY_BYTES = 384 };
static const char *const levels[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};

/* One resource of either request. */
struct alteration {
    int8_t type;
    struct span name;
    struct config_edit *edits;
    uint32_t count;
    bool twice, replaces;        /* AlterConfigs: what is not said is gone */
    bool judged;                 /* here: the controller does not hear of it */
    enum kafka_error error;
    struct span message;
};
struct alter;
/* What the two requests do each with messages of its own type. */
struct form {
    void (*leave)(void *request, const struct alter *alter);   /* what is judged makes room: the rest is for the controller */
    void (*hear)(const struct alter *alter, int32_t next, struct alteration *a); /* the controller's next answer is about this one */
    void (*answer)(struct request *request, const struct alter *alter);
};
struct alter {
    const struct form *form;
    struct alteration *all;
    int32_t count;
    bool validate_only;
    void *decided;               /* the controller's answer */
};

static void judge(struct alteration *a, enum kafka_error error, struct span message) {
    a->judged = true;
    a->error = error;
    a->message = message;
}

static bool same_resource(const struct alteration *a, const struct alteration *b) {
    return a->type == b->type && span_equal(a->name, b->name);
}

/* ---- this broker's loggers: there is one, and it says what is to be told at all */

static bool parse_level(struct span text, int8_t *out) {
    for (size_t i = 0; i < countof(levels); i++) {
        if (!span_equal(text, span_text(levels[i]))) continue;
        *out = (int8_t)i;
        return true;
    }
    return false;
}

static void alter_logger(struct request *request, struct alteration *a, bool validate_only) {
    struct broker_node *node = request->broker->node;
    int64_t id;
    int8_t level = -1;
    if (a->replaces) {
        judge(a, KAFKA_INVALID_REQUEST, SPAN_LITERAL("loggers are changed by IncrementalAlterConfigs only"));
        return;
    }
    if (!config_parse_integer(a->name, &id) || id != node->id) {
        judge(a, KAFKA_INVALID_REQUEST, request_text(request, "this node is %d, the request is about '%.*s'", node->id, (int)a->name.size, (const char *)a->name.data));
        return;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        const struct config_edit *edit = &a->edits[i];
        if (edit->op == CONFIG_APPEND || edit->op == CONFIG_SUBTRACT) {
            judge(a, KAFKA_INVALID_REQUEST, SPAN_LITERAL("a logger's level is no list"));
            return;
        }
        if (!span_equal(edit->name, SPAN_LITERAL("root"))) {
            judge(a, KAFKA_INVALID_CONFIG, request_text(request, "there is no logger %.*s here, only root", (int)edit->name.size, (const char *)edit->name.data));
            return;
        }
        if (edit->op == CONFIG_DELETE) {
            judge(a, KAFKA_INVALID_REQUEST, SPAN_LITERAL("the root logger always has a level"));
            return;
        }
        if (edit->op != CONFIG_SET || !parse_level(edit->value, &level)) {
            judge(a, KAFKA_INVALID_CONFIG, SPAN_LITERAL("allowed levels are TRACE, DEBUG, INFO, WARN, ERROR and FATAL"));
            return;
        }
    }
    if (level >= 0 && !validate_only) atomic_store_explicit(&node->log_level, level, memory_order_relaxed);
    judge(a, KAFKA_NONE, (struct span){0});
}

/* ---- this broker's settings, and those of all brokers */

static void check_broker(struct request *request, struct alteration *a) {
    struct broker *broker = request->broker;
    struct config_view view = broker_config_view(broker);
    char words[WHY_BYTES];
    struct text why;
    text_init(&why, words, sizeof words);
    int64_t id;
    if (a->name.size && (!config_parse_integer(a->name, &id) || id != broker->node->id)) {
        judge(a, KAFKA_INVALID_REQUEST, request_text(request, "this broker is %d, the request is about '%.*s'", broker->node->id, (int)a->name.size, (const char *)a->name.data));
        return;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if ((uint8_t)a->edits[i].op <= CONFIG_SUBTRACT) continue;
        judge(a, KAFKA_INVALID_REQUEST, request_text(request, "there is no operation %d", a->edits[i].op));
        return;
    }
    switch (config_check_broker(&view, a->name.size > 0, a->edits, a->count, &request->arena, &why)) {
    case CONFIG_FINE: return;
    case CONFIG_REFUSED: judge(a, KAFKA_INVALID_REQUEST, request_text(request, "%s", words)); return;
    case CONFIG_INVALID: judge(a, KAFKA_INVALID_CONFIG, request_text(request, "%s", words)); return;
    case CONFIG_NO_MEMORY: judge(a, KAFKA_UNKNOWN_SERVER_ERROR, (struct span){0}); return;
    }
}

/* ---- each resource */

static struct span said_twice(const struct alteration *a) {
    for (uint32_t i = 0; i < a->count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (span_equal(a->edits[i].name, a->edits[k].name)) return a->edits[i].name;
    return (struct span){0};
}

static struct span without_value(const struct alteration *a) {
    for (uint32_t i = 0; i < a->count; i++)
        if (a->edits[i].op != CONFIG_DELETE && !a->edits[i].value.data) return a->edits[i].name;
    return (struct span){0};
}

static void look_at(struct request *request, struct alteration *a, bool validate_only) {
    if (a->twice) {
        judge(a, KAFKA_INVALID_REQUEST, SPAN_LITERAL("the request names this resource more than once"));
        return;
    }
    struct span twice = said_twice(a), empty = without_value(a);
    if (twice.data) {
        judge(a, KAFKA_INVALID_REQUEST, request_text(request, "%.*s is changed more than once", (int)twice.size, (const char *)twice.data));
        return;
    }
    if (empty.data) {
        judge(a, KAFKA_INVALID_REQUEST, request_text(request, "%.*s: a value is wanted", (int)empty.size, (const char *)empty.data));
        return;
    }
    switch (a->type) {
    case CONFIG_TOPIC: case CONFIG_CLIENT_METRICS: case CONFIG_GROUP:
        for (uint32_t i = 0; i < a->count && !a->judged; i++) /* Kafka's answer to a number that it does not know */
            if ((uint8_t)a->edits[i].op > CONFIG_SUBTRACT) judge(a, KAFKA_UNKNOWN_SERVER_ERROR, (struct span){0});
        return;
    case CONFIG_BROKER:
        check_broker(request, a);
        return;
    case CONFIG_BROKER_LOGGER:
        alter_logger(request, a, validate_only);
        return;
    default:
        judge(a, KAFKA_INVALID_REQUEST, request_text(request, "there is no type %d of resources", a->type));
        return;
    }
}

/* All are looked at; answers how many are for the controller. */
static int32_t look_at_all(struct request *request, struct alter *alter) {
    int32_t left = 0;
    for (int32_t i = 0; i < alter->count; i++)
        for (int32_t k = 0; k < i; k++)
            if (same_resource(&alter->all[i], &alter->all[k])) alter->all[i].twice = alter->all[k].twice = true;
    for (int32_t i = 0; i < alter->count; i++) {
        look_at(request, &alter->all[i], alter->validate_only);
        left += !alter->all[i].judged;
    }
    return left;
}

static struct alter *begin(struct request *request, const struct form *form, int32_t count, bool validate_only) {
    struct alter *alter = REQUEST_NEW(request, struct alter);
    if (!alter) return NULL;
    *alter = (struct alter){.form = form, .count = count, .validate_only = validate_only};
    alter->all = REQUEST_ARRAY(request, (size_t)count, struct alteration);
    request->work = alter;
    return alter->all ? alter : NULL;
}

static bool begin_one(struct request *request, struct alteration *a, int8_t type, struct span name, int32_t count) {
    *a = (struct alteration){.type = type, .name = name, .count = (uint32_t)count};
    a->edits = REQUEST_ARRAY(request, (size_t)count, struct config_edit);
    return a->edits != NULL;
}

/* The controller has answered about those that were left to it, or as a whole it could not. */
static void joined(struct request *request) {
    struct alter *alter = request->work;
    enum kafka_error failed = request->shares ? container_of(request->shares, struct control_share, share)->call.error : KAFKA_NONE;
    int32_t next = 0;
    for (int32_t i = 0; i < alter->count; i++) {
        struct alteration *a = &alter->all[i];
        if (a->judged) continue;
        if (failed) judge(a, failed, (struct span){0});
        else alter->form->hear(alter, next++, a);
    }
    alter->form->answer(request, alter);
}

/* The controller's listener leaves it all to the controller. */
static void ask(struct request *request) {
    struct alter *alter = request->work;
    int32_t left = request_is_controllers(request) ? alter->count : look_at_all(request, alter);
    if (left == 0) {
        joined(request);
        return;
    }
    if (!(alter->decided = request_response_new(request))) return;
    alter->form->leave(request->in, alter);
    (void)control_ask(request, request->row->key, request->version, request->in, alter->decided, joined);
}

/* ---- IncrementalAlterConfigs */

static void incremental_leave(void *request, const struct alter *alter) {
    struct incremental_alter_configs_request *in = request;
    in->resources_count = 0;
    for (int32_t i = 0; i < alter->count; i++)
        if (!alter->all[i].judged) in->resources[in->resources_count++] = in->resources[i];
}

static void incremental_hear(const struct alter *alter, int32_t next, struct alteration *a) {
    const struct incremental_alter_configs_response *decided = alter->decided;
    assert(next < decided->responses_count);
    judge(a, (enum kafka_error)decided->responses[next].error_code, decided->responses[next].error_message);
}

static void incremental_answer(struct request *request, const struct alter *alter) {
    struct incremental_alter_configs_response out;
    incremental_alter_configs_response_init(&out);
    out.responses = REQUEST_ARRAY(request, (size_t)alter->count, struct incremental_alter_configs_response_alter_configs_resource_response);
    if (!out.responses) return;
    for (const struct alteration *a = alter->all; a < alter->all + alter->count; a++)
        out.responses[out.responses_count++] = (struct incremental_alter_configs_response_alter_configs_resource_response){
            .error_code = (int16_t)a->error, .error_message = a->message, .resource_type = a->type, .resource_name = a->name};
    request_reply(request, &out);
}

static const struct form incremental = {incremental_leave, incremental_hear, incremental_answer};

void handle_incremental_alter_configs(struct request *request) {
    const struct incremental_alter_configs_request *in = request->in;
    struct alter *alter = begin(request, &incremental, in->resources_count, in->validate_only);
    if (!alter) return;
    for (int32_t i = 0; i < in->resources_count; i++) {
        const struct incremental_alter_configs_request_alter_configs_resource *from = &in->resources[i];
        if (!begin_one(request, &alter->all[i], from->resource_type, from->resource_name, from->configs_count)) return;
        for (int32_t k = 0; k < from->configs_count; k++)
            alter->all[i].edits[k] = (struct config_edit){from->configs[k].name, from->configs[k].value, (enum config_op)(uint8_t)from->configs[k].config_operation};
    }
    ask(request);
}

/* ---- AlterConfigs */

static void whole_leave(void *request, const struct alter *alter) {
    struct alter_configs_request *in = request;
    in->resources_count = 0;
    for (int32_t i = 0; i < alter->count; i++)
        if (!alter->all[i].judged) in->resources[in->resources_count++] = in->resources[i];
}

static void whole_hear(const struct alter *alter, int32_t next, struct alteration *a) {
    const struct alter_configs_response *decided = alter->decided;
    assert(next < decided->responses_count);
    judge(a, (enum kafka_error)decided->responses[next].error_code, decided->responses[next].error_message);
}

static void whole_answer(struct request *request, const struct alter *alter) {
    struct alter_configs_response out;
    alter_configs_response_init(&out);
    out.responses = REQUEST_ARRAY(request, (size_t)alter->count, struct alter_configs_response_alter_configs_resource_response);
    if (!out.responses) return;
    for (const struct alteration *a = alter->all; a < alter->all + alter->count; a++)
        out.responses[out.responses_count++] = (struct alter_configs_response_alter_configs_resource_response){
            .error_code = (int16_t)a->error, .error_message = a->message, .resource_type = a->type, .resource_name = a->name};
    request_reply(request, &out);
}

static const struct form whole = {whole_leave, whole_hear, whole_answer};

void handle_alter_configs(struct request *request) {
    const struct alter_configs_request *in = request->in;
    struct alter *alter = begin(request, &whole, in->resources_count, in->validate_only);
    if (!alter) return;
    for (int32_t i = 0; i < in->resources_count; i++) {
        const struct alter_configs_request_alter_configs_resource *from = &in->resources[i];
        if (!begin_one(request, &alter->all[i], from->resource_type, from->resource_name, from->configs_count)) return;
        alter->all[i].replaces = true;
        for (int32_t k = 0; k < from->configs_count; k++)
            alter->all[i].edits[k] = (struct config_edit){from->configs[k].name, from->configs[k].value, CONFIG_SET};
    }
    ask(request);
}
