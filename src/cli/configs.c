#include "cli/configs.h"
#include "cli/columns.h"
#include "cli/properties.h"
#include <ctype.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_BROKER_LOGGER = 8, RESOURCE_CLIENT_METRICS = 16, RESOURCE_GROUP = 32, OPERATION_SET = 0, OPERATION_DELETE = 1 };

/* In the order in which Kafka's tool looks at the options. */
static const struct { const char *kind, *option, *defaults; int8_t resource; enum config_source own; } entities[ENTITY_KINDS] = {
    [ENTITY_TOPICS] = {"topics", "topic", NULL, RESOURCE_TOPIC, SOURCE_TOPIC},
    [ENTITY_CLIENTS] = {"clients", "client", "client-defaults", 0, 0},
    [ENTITY_USERS] = {"users", "user", "user-defaults", 0, 0},
    [ENTITY_BROKERS] = {"brokers", "broker", "broker-defaults", RESOURCE_BROKER, SOURCE_DYNAMIC_BROKER},
    [ENTITY_BROKER_LOGGERS] = {"broker-loggers", "broker-logger", NULL, RESOURCE_BROKER_LOGGER, 0},
    [ENTITY_IPS] = {"ips", "ip", "ip-defaults", 0, 0},
    [ENTITY_CLIENT_METRICS] = {"client-metrics", "client-metrics", NULL, RESOURCE_CLIENT_METRICS, SOURCE_CLIENT_METRICS},
    [ENTITY_GROUPS] = {"groups", "group", NULL, RESOURCE_GROUP, SOURCE_GROUP},
};

static struct arena *memory(struct configs *configs) { return admin_memory(&configs->admin); }

/* ---- what is there ------------------------------------------------------------------------------------------------------- */

static bool is_broker_id(const char *name) {
    char *end;
    long id = strtol(name, &end, 10);
    return end != name && !*end && id <= INT32_MAX && id >= INT32_MIN;
}

/* Brokers answer for themselves; anything else any of them knows. */
static bool node_of(struct configs *configs, const char *name, int32_t *node) {
    enum config_entity_kind kind = configs->kinds[0];
    *node = CLIENT_ANY;
    if ((kind != ENTITY_BROKERS && kind != ENTITY_BROKER_LOGGERS) || !*name || configs->admin.at_controllers) return true;
    struct span nothing = {0};
    if (configs->admin.metadata.brokers_count == 0 && !admin_topics(&configs->admin, &nothing, 0)) return false;
    *node = (int32_t)strtol(name, NULL, 10);
    if (admin_broker(&configs->admin, *node)) return true;
    return admin_fail(&configs->admin, "TimeoutException", "Timed out waiting for a node assignment. Call: describeBrokerConfigs");
}

static int by_name(const void *a, const void *b) {
    return span_compare(((const struct describe_configs_response_describe_configs_resource_result *)a)->name, ((const struct describe_configs_response_describe_configs_resource_result *)b)->name);
}

/* Configurations of one entity, by name; those that it has itself, or all. */
static bool read_configs(struct configs *configs, const char *name, bool all, struct describe_configs_response_describe_configs_resource_result **out, int32_t *count) {
    enum config_entity_kind kind = configs->kinds[0];
    struct describe_configs_request request;
    struct describe_configs_response response;
    struct describe_configs_request_describe_configs_resource resource;
    int32_t node;
    describe_configs_request_init(&request);
    describe_configs_request_describe_configs_resource_init(&resource);
    resource.resource_type = entities[kind].resource;
    resource.resource_name = span_text(name);
    resource.configuration_keys_count = -1;
    request.resources = &resource;
    request.resources_count = 1;
    request.include_synonyms = true;
    if (!node_of(configs, name, &node) || !admin_call(&configs->admin, node, API_DESCRIBE_CONFIGS, 0, "describeConfigs", &request, &response)) return false;
    if (response.results_count != 1) return admin_check(&configs->admin, KAFKA_UNKNOWN_SERVER_ERROR, (struct span){0});
    if (!admin_check(&configs->admin, response.results[0].error_code, response.results[0].error_message)) return false;
    enum config_source own = kind == ENTITY_BROKERS && !*name ? SOURCE_DYNAMIC_DEFAULT_BROKER : entities[kind].own;
    *out = response.results[0].configs;
    *count = 0;
    for (int32_t i = 0; i < response.results[0].configs_count; i++)
        if (all || own == 0 || (*out)[i].config_source == (int8_t)own) (*out)[(*count)++] = (*out)[i];
    if (*count) qsort(*out, (size_t)*count, sizeof **out, by_name);
    return true;
}

static const char *source_name(int8_t source) {
    static const char *const names[] = {"UNKNOWN", "DYNAMIC_TOPIC_CONFIG", "DYNAMIC_BROKER_CONFIG", "DYNAMIC_DEFAULT_BROKER_CONFIG", "STATIC_BROKER_CONFIG",
                                        "DEFAULT_CONFIG", "DYNAMIC_BROKER_LOGGER_CONFIG", "DYNAMIC_CLIENT_METRICS_CONFIG", "DYNAMIC_GROUP_CONFIG"};
    return source > 0 && (size_t)source < countof(names) ? names[source] : names[0];
}

static void print_pair(struct span name, struct span value) {
    printf("%.*s=%.*s", (int)name.size, (const char *)name.data, value.data ? (int)value.size : 4, value.data ? (const char *)value.data : "null");
}

static bool describe_one(struct configs *configs, const char *name) {
    struct describe_configs_response_describe_configs_resource_result *found;
    int32_t count;
    const char *kind = entities[configs->kinds[0]].kind;
    bool all = args_has(configs->admin.args, "all");
    if (!*name) printf("Default configs for %s in the cluster are:\n", kind);
    else printf("%s configs for %.*s %s are:\n", all ? "All" : "Dynamic", (int)strlen(kind) - 1, kind, name);
    if (!read_configs(configs, name, all, &found, &count)) return false;
    for (int32_t i = 0; i < count; i++) {
        fputs("  ", stdout);
        print_pair(found[i].name, found[i].value);
        printf(" sensitive=%s synonyms={", found[i].is_sensitive ? "true" : "false");
        for (int32_t k = 0; k < found[i].synonyms_count; k++) {
            printf(k ? ", %s:" : "%s:", source_name(found[i].synonyms[k].source));
            print_pair(found[i].synonyms[k].name, found[i].synonyms[k].value);
        }
        puts("}");
    }
    return true;
}

/* ---- every entity of a kind ------------------------------------------------------------------------------------------------ */

struct all_names { const char **names; uint32_t count, capacity; };

static bool add_name(struct configs *configs, struct all_names *all, const char *name) {
    for (uint32_t i = 0; i < all->count; i++)
        if (strcmp(all->names[i], name) == 0) return true;
    if (all->count == all->capacity) {
        uint32_t capacity = all->capacity ? all->capacity * 2 : 64;
        const char **grown = ARENA_ARRAY(memory(configs), capacity, const char *);
        if (!grown) return admin_fail_memory(&configs->admin);
        if (all->count) memcpy(grown, all->names, all->count * sizeof *grown);
        all->names = grown;
        all->capacity = capacity;
    }
    all->names[all->count++] = name;
    return true;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Those that have configurations: groups, client metrics. */
static bool add_resources(struct configs *configs, struct all_names *all, int8_t type) {
    struct list_config_resources_request request;
    struct list_config_resources_response response;
    list_config_resources_request_init(&request);
    request.resource_types = &type;
    request.resource_types_count = 1;
    if (!admin_call(&configs->admin, CLIENT_ANY, API_LIST_CONFIG_RESOURCES, 0, "listConfigResources", &request, &response)) {
        if (type != RESOURCE_GROUP || configs->admin.code != KAFKA_UNSUPPORTED_VERSION) return false;
        admin_forgive(&configs->admin); /* a broker of before 4.1: then those that are there are all */
        return true;
    }
    if (!admin_check(&configs->admin, response.error_code, (struct span){0})) return false;
    for (int32_t i = 0; i < response.config_resources_count; i++)
        if (response.config_resources[i].resource_type == type && !add_name(configs, all, cell_span(memory(configs), response.config_resources[i].resource_name))) return false;
    return true;
}

static bool add_groups(struct configs *configs, struct all_names *all) {
    struct list_groups_request request;
    struct span nothing = {0};
    list_groups_request_init(&request);
    if (!admin_topics(&configs->admin, &nothing, 0)) return false;
    for (int32_t b = 0; b < configs->admin.metadata.brokers_count; b++) {
        struct list_groups_response response;
        int tries = 0;
        do
            if (!admin_call(&configs->admin, configs->admin.metadata.brokers[b].node_id, API_LIST_GROUPS, 0, "listGroups", &request, &response)) return false;
        while (admin_again(&configs->admin, response.error_code, &tries));
        if (!admin_check(&configs->admin, response.error_code, (struct span){0})) return false;
        for (int32_t i = 0; i < response.groups_count; i++)
            if (!add_name(configs, all, cell_span(memory(configs), response.groups[i].group_id))) return false;
    }
    return add_resources(configs, all, RESOURCE_GROUP);
}

static bool find_all(struct configs *configs, struct all_names *all) {
    struct admin *admin = &configs->admin;
    struct span nothing = {0};
    switch (configs->kinds[0]) {
    case ENTITY_TOPICS:
        if (!admin_topics(admin, NULL, 0)) return false;
        for (int32_t i = 0; i < admin->metadata.topics_count; i++)
            if (!add_name(configs, all, cell_span(memory(configs), admin->metadata.topics[i].name))) return false;
        break;
    case ENTITY_BROKERS: case ENTITY_BROKER_LOGGERS:
        if (!admin_topics(admin, &nothing, 0)) return false;
        for (int32_t i = 0; i < admin->metadata.brokers_count; i++)
            if (!add_name(configs, all, cell_text(memory(configs), "%d", admin->metadata.brokers[i].node_id))) return false;
        return add_name(configs, all, "");
    case ENTITY_CLIENT_METRICS:
        if (!add_resources(configs, all, RESOURCE_CLIENT_METRICS)) return false;
        break;
    case ENTITY_GROUPS:
        if (!add_groups(configs, all)) return false;
        break;
    default: break;
    }
    if (all->count) qsort(all->names, all->count, sizeof *all->names, by_text);
    return true;
}

static bool describe(struct configs *configs) {
    struct all_names all = {0};
    enum config_entity_kind kind = configs->kinds[0];
    if (kind == ENTITY_USERS || kind == ENTITY_CLIENTS || kind == ENTITY_IPS) return configs_users_describe(configs);
    bool is_named = configs->name_count > 0, may_be_missing = is_named && *configs->names[0] && !args_has(configs->admin.args, "all") && !configs->admin.at_controllers;
    if (is_named && !may_be_missing) return describe_one(configs, configs->names[0]);
    if (!find_all(configs, &all)) return false;
    if (is_named) {
        for (uint32_t i = 0; i < all.count; i++)
            if (strcmp(all.names[i], configs->names[0]) == 0) return describe_one(configs, configs->names[0]);
        printf("The %.*s '%s' doesn't exist and doesn't have dynamic config.\n", (int)strlen(entities[kind].kind) - 1, entities[kind].kind, configs->names[0]);
        return true;
    }
    for (uint32_t i = 0; i < all.count; i++)
        if (!describe_one(configs, all.names[i])) return false;
    return true;
}

/* ---- changes ----------------------------------------------------------------------------------------------------------------- */

static struct span trim(struct span text) {
    while (text.size && isspace(text.data[0])) text = span_of(text.data + 1, text.size - 1);
    while (text.size && isspace(text.data[text.size - 1])) text.size--;
    return text;
}

static bool add_change(struct configs *configs, struct span name, struct span value) {
    for (size_t i = 0; i < name.size; i++)
        if (!isalnum(name.data[i]) && !strchr("._-", name.data[i])) return admin_fail(&configs->admin, NULL, "Invalid character found for config key: %.*s", (int)name.size, (const char *)name.data);
    uint32_t i = 0;
    while (i < configs->added_count && !span_equal(configs->added[i].name, name)) i++;
    if (i == CONFIG_CHANGES_MAX) return admin_fail(&configs->admin, NULL, "too many configurations at once");
    configs->added[i] = (struct config_change){name, value};
    if (i == configs->added_count) configs->added_count++;
    return true;
}

bool configs_parse_added(struct configs *configs, const char *text) {
    for (const char *at = text;;) {
        const char *equals = NULL, *end = at;
        uint32_t equals_count = 0;
        bool inside = false;
        char *value = arena_alloc(memory(configs), strlen(at) + 1);
        size_t size = 0;
        if (!value) return admin_fail_memory(&configs->admin);
        for (; *end && (inside || *end != ','); end++) {
            if (*end == '[') inside = true;
            else if (*end == ']') inside = false;
            else if (*end == '=' && !inside) {
                if (!equals) equals = end;
                equals_count++;
            }
            if (equals && end > equals && *end != '[' && *end != ']') value[size++] = *end;
        }
        if (equals_count != 1) return admin_fail(&configs->admin, NULL, "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.");
        if (!add_change(configs, trim(span_of(at, (size_t)(equals - at))), trim(span_of(value, size)))) return false;
        if (!*end) return true;
        at = end + 1;
    }
}

static bool read_changes(struct configs *configs) {
    const struct args *args = configs->admin.args;
    const char *file = args_text(args, "add-config-file"), *added = args_text(args, "add-config");
    struct config_values values;
    uint32_t at = 0;
    struct span item;
    if (file) {
        config_values_init(&values, memory(configs));
        if (!properties_read_file(&values, file, &configs->admin.why)) return false;
        for (uint32_t i = 0; i < values.count; i++)
            if (!add_change(configs, values.entries[i].name, values.entries[i].value)) return false;
    }
    if (added && !configs_parse_added(configs, added)) return false;
    for (const char *text; (text = args_each(args, "delete-config", &at));) {
        struct span rest = span_text(text);
        while (config_list_next(&rest, &item)) {
            if (configs->deleted_count == CONFIG_CHANGES_MAX) return admin_fail(&configs->admin, NULL, "too many configurations at once");
            configs->deleted[configs->deleted_count++] = item;
        }
    }
    return true;
}

static bool is_there(const struct describe_configs_response_describe_configs_resource_result *found, int32_t count, struct span name) {
    for (int32_t i = 0; i < count; i++)
        if (span_equal(found[i].name, name)) return true;
    return false;
}

/* Loggers must be there. Of other configurations the broker says what it thinks of them. */
static bool check_loggers(struct configs *configs) {
    struct describe_configs_response_describe_configs_resource_result *found;
    int32_t count;
    char list[ADMIN_WHY_MAX / 2];
    struct text text;
    text_init(&text, list, sizeof list);
    if (configs->kinds[0] != ENTITY_BROKER_LOGGERS) return true;
    if (!read_configs(configs, configs->names[0], true, &found, &count)) return false;
    for (uint32_t i = 0; i < configs->deleted_count + configs->added_count; i++) {
        struct span name = i < configs->deleted_count ? configs->deleted[i] : configs->added[i - configs->deleted_count].name;
        if (!is_there(found, count, name)) text_add(&text, text.size ? ",%.*s" : "%.*s", (int)name.size, (const char *)name.data);
    }
    return text.size == 0 || admin_fail(&configs->admin, NULL, "Invalid broker logger(s): %s", list);
}

static bool alter_resource(struct configs *configs) {
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_response response;
    struct incremental_alter_configs_request_alter_configs_resource resource;
    int32_t node, count = 0;
    int tries = 0;
    int16_t code;
    if (!check_loggers(configs) || !node_of(configs, configs->names[0], &node)) return false;
    incremental_alter_configs_request_init(&request);
    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    resource.resource_type = entities[configs->kinds[0]].resource;
    resource.resource_name = span_text(configs->names[0]);
    resource.configs = incremental_alter_configs_request_alterable_config_array(memory(configs), (int32_t)(configs->added_count + configs->deleted_count));
    if (!resource.configs) return admin_fail_memory(&configs->admin);
    for (uint32_t i = 0; i < configs->added_count; i++, count++) {
        resource.configs[count].name = configs->added[i].name;
        resource.configs[count].value = configs->added[i].value;
        resource.configs[count].config_operation = OPERATION_SET;
    }
    for (uint32_t i = 0; i < configs->deleted_count; i++, count++) {
        resource.configs[count].name = configs->deleted[i];
        resource.configs[count].value = SPAN_LITERAL("");
        resource.configs[count].config_operation = OPERATION_DELETE;
    }
    resource.configs_count = count;
    request.resources = &resource;
    request.resources_count = 1;
    do {
        if (!admin_call(&configs->admin, node, API_INCREMENTAL_ALTER_CONFIGS, 0, "incrementalAlterConfigs", &request, &response)) return false;
        code = response.responses_count == 1 ? response.responses[0].error_code : KAFKA_UNKNOWN_SERVER_ERROR;
    } while (admin_again(&configs->admin, code, &tries));
    return admin_check(&configs->admin, code, response.responses_count == 1 ? response.responses[0].error_message : (struct span){0});
}

static bool alter(struct configs *configs) {
    enum config_entity_kind kind = configs->kinds[0];
    const char *word = entities[kind].kind;
    if (!read_changes(configs)) return false;
    if (!(kind == ENTITY_USERS || kind == ENTITY_CLIENTS || kind == ENTITY_IPS ? configs_users_alter(configs) : alter_resource(configs))) return false;
    if (*configs->names[0]) printf("Completed updating config for %.*s %s.\n", (int)strlen(word) - 1, word, configs->names[0]);
    else printf("Completed updating default config for %s in the cluster.\n", word);
    return true;
}

/* ---- options ------------------------------------------------------------------------------------------------------------------- */

static bool fail(struct configs *configs, const char *sentence, const char *word) { return admin_fail(&configs->admin, NULL, "%s%s", sentence, word); }

static bool add_kind(struct configs *configs, const char *word) {
    for (uint32_t i = 0; i < ENTITY_KINDS; i++) {
        if (strcmp(entities[i].kind, word) != 0) continue;
        for (uint32_t k = 0; k < configs->kind_count; k++)
            if (configs->kinds[k] == i) return admin_fail(&configs->admin, NULL, "Duplicate entity type(s) specified: %s", word);
        if (configs->kind_count < CONFIG_ENTITIES_MAX) configs->kinds[configs->kind_count++] = (enum config_entity_kind)i;
        return true;
    }
    return admin_fail(&configs->admin, NULL, "Invalid entity type %s, the entity type must be one of topics, clients, users, brokers, ips, client-metrics, groups, broker-loggers with a "
                      "--bootstrap-server or --bootstrap-controller argument", word);
}

static void add_entity_name(struct configs *configs, const char *name) {
    if (configs->name_count < CONFIG_ENTITIES_MAX) configs->names[configs->name_count++] = name;
}

/* Kinds and names: of --entity-..., then of the options that name a kind, then of the defaults. */
static bool read_entities(struct configs *configs) {
    const struct args *args = configs->admin.args;
    bool generic = false, specific = false;
    for (uint32_t i = 0; i < args->count; i++) {
        const char *option = args->given[i].option->name;
        generic |= strncmp(option, "entity-", 7) == 0;
        if (strcmp(option, "entity-type") == 0 && !add_kind(configs, args->given[i].value)) return false;
        if (strcmp(option, "entity-name") == 0) add_entity_name(configs, args->given[i].value);
        if (strcmp(option, "entity-default") == 0) add_entity_name(configs, "");
    }
    for (uint32_t i = 0; i < ENTITY_KINDS; i++) {
        if (!args_has(args, entities[i].option)) continue;
        specific = true;
        if (!add_kind(configs, entities[i].kind)) return false;
        add_entity_name(configs, args_text(args, entities[i].option));
    }
    for (uint32_t i = 0; i < ENTITY_KINDS; i++) {
        if (!entities[i].defaults || !args_has(args, entities[i].defaults)) continue;
        specific = true;
        if (!add_kind(configs, entities[i].kind)) return false;
        add_entity_name(configs, "");
    }
    if (configs->kind_count == 0) return fail(configs, "At least one entity type must be specified", "");
    bool both = configs->kind_count == 2 && (configs->kinds[0] == ENTITY_USERS || configs->kinds[1] == ENTITY_USERS) && (configs->kinds[0] == ENTITY_CLIENTS || configs->kinds[1] == ENTITY_CLIENTS);
    if (configs->kind_count > 1 && !both) return fail(configs, "Only 'users' and 'clients' entity types may be specified together", "");
    return !(generic && specific) || fail(configs, "--entity-{type,name,default} should not be used in conjunction with specific entity flags", "");
}

static bool check_entities(struct configs *configs) {
    const struct args *args = configs->admin.args;
    enum config_entity_kind kind = configs->kinds[0];
    const char *word = entities[kind].kind;
    bool named = false, defaults = false, may_default = kind == ENTITY_USERS || kind == ENTITY_CLIENTS || kind == ENTITY_BROKERS || kind == ENTITY_IPS;
    for (uint32_t i = 0; i < configs->name_count; i++) *configs->names[i] ? (named = true) : (defaults = true);
    if (!args_has(args, "bootstrap-server") && !args_has(args, "bootstrap-controller")) return fail(configs, "Either --bootstrap-server or --bootstrap-controller must be specified.", "");
    if (args_has(args, "bootstrap-server") && args_has(args, "bootstrap-controller")) return fail(configs, "Only one of --bootstrap-server or --bootstrap-controller can be specified", "");
    for (uint32_t i = 0; (kind == ENTITY_BROKERS || kind == ENTITY_BROKER_LOGGERS) && i < configs->name_count; i++)
        if (*configs->names[i] && !is_broker_id(configs->names[i]))
            return admin_fail(&configs->admin, NULL, "The entity name for %s must be a valid integer broker id, but it is: %s", word, configs->names[i]);
    for (uint32_t i = 0; kind == ENTITY_IPS && i < configs->name_count; i++) {
        struct addrinfo *addresses = NULL;
        if (*configs->names[i] && getaddrinfo(configs->names[i], NULL, NULL, &addresses))
            return admin_fail(&configs->admin, NULL, "The entity name for %s must be a valid IP or resolvable host, but it is: %s", word, configs->names[i]);
        if (addresses) freeaddrinfo(addresses);
    }
    if (args_has(args, "describe")) {
        if (!may_default && args_has(args, "entity-default")) return fail(configs, "--entity-default must not be specified with --describe of ", word);
        return kind != ENTITY_BROKER_LOGGERS || named || fail(configs, "An entity name must be specified with --describe of ", word);
    }
    if (may_default && !named && !defaults) return fail(configs, "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips", "");
    if (!may_default && !named) return fail(configs, "An entity name must be specified with --alter of ", word);
    if (args_has(args, "add-config") && args_has(args, "add-config-file")) return fail(configs, "Only one of --add-config or --add-config-file must be specified", "");
    if (!args_has(args, "add-config") && !args_has(args, "add-config-file") && !args_has(args, "delete-config"))
        return fail(configs, "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter", "");
    return configs->kind_count == configs->name_count || fail(configs, "An entity name must be specified for every entity type", "");
}

static int check_options(const struct args *args) {
    static const char *const not_with_describe[] = {"add-config", "delete-config"};
    if (args->count + args->word_count == 0) return args_wrong(args, "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group");
    if (args_has(args, "alter") + args_has(args, "describe") != 1) return args_wrong(args, "Command must include exactly one action: --describe, --alter");
    for (size_t i = 0; i < countof(not_with_describe); i++)
        if (args_has(args, "describe") && args_has(args, not_with_describe[i])) return args_wrong(args, "Option \"[describe]\" can't be used with option \"[%s]\"", not_with_describe[i]);
    return 0;
}

int configs_run(struct args *args) {
    static struct configs configs;
    struct admin *admin = &configs.admin;
    int wrong = check_options(args);
    if (wrong) return wrong;
    admin->args = args;
    text_init(&admin->why, admin->why_bytes, sizeof admin->why_bytes);
    bool ok = read_entities(&configs) && check_entities(&configs);
    if (ok) {
        ok = admin_open(admin, args) && (args_has(args, "alter") ? alter(&configs) : describe(&configs));
        fflush(stdout);
        /* What a broker refused is told as Kafka's tool does, with the words that it was called with. */
        if (!ok && admin->exception) {
            fputs("Error while executing config command with args '", stderr);
            for (uint32_t i = 0; i < args->count; i++)
                fprintf(stderr, "%s--%s%s%s", i ? " " : "", args->given[i].option->name, args->given[i].value ? " " : "", args->given[i].value ? args->given[i].value : "");
            fprintf(stderr, "'\njava.util.concurrent.ExecutionException: %s\n", admin_cause(admin));
        } else if (!ok) fprintf(stderr, "%s\n", admin->why.bytes);
        admin_close(admin);
    } else fprintf(stderr, "%s\n", admin->why.bytes);
    return ok ? 0 : 1;
}
