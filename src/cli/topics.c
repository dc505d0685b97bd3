/* cli/topics.c - kafka-topics.sh. */
#include "cli/topics.h"
#include "cli/names.h"
#include "cli/admin.h"
#include "base/random.h"
#include "wire/errors.h"
#include <stdlib.h>
#include <string.h>

enum { PARTITIONS_ANSWERED = 2000 };

/* One run: what was asked for, whom it is asked of, and what went wrong. */
struct run {
    const struct args *args;
    struct admin admin;
    struct topic_view *topics;      /* those that --topic or --topic-id means, by name */
    int32_t topic_count;
};

static struct arena *memory(struct run *run) { return admin_memory(&run->admin); }
static bool fail_memory(struct run *run) { return admin_fail_memory(&run->admin); }
static bool call(struct run *run, int16_t key, const char *name, const void *request, void *response) { return admin_call(&run->admin, CLIENT_ANY, key, 0, name, request, response); }
static bool check(struct run *run, int16_t code, struct span message) { return admin_check(&run->admin, code, message); }
static bool again(struct run *run, int16_t code, int *tries) { return admin_again(&run->admin, code, tries); }

/* ---- which topics -------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return span_compare(((const struct topic_view *)a)->name, ((const struct topic_view *)b)->name);
}

static bool metadata_to_view(struct run *run, const struct metadata_response_metadata_response_topic *from, struct topic_view *to) {
    to->partitions = ARENA_ARRAY(memory(run), (size_t)from->partitions_count + 1, struct topic_partition_view);
    if (!to->partitions) return fail_memory(run);
    to->partition_count = from->partitions_count;
    for (int32_t i = 0; i < from->partitions_count; i++) {
        const struct metadata_response_metadata_response_partition *p = &from->partitions[i];
        to->partitions[i] = (struct topic_partition_view){.index = p->partition_index, .leader = p->leader_id, .replicas = p->replica_nodes,
            .replicas_count = p->replica_nodes_count, .isr = p->isr_nodes, .isr_count = p->isr_nodes_count, .elr_count = -1, .last_known_elr_count = -1};
    }
    return true;
}

/* Fills run->topics with what is there and is meant. `missing_is_fine`: none need match. */
static bool find_topics(struct run *run, bool missing_is_fine) {
    if (!admin_topics(&run->admin, NULL, 0)) return false;
    const char *pattern = args_text(run->args, "topic"), *id_text = args_text(run->args, "topic-id");
    struct uuid id = {{0}};
    if (id_text && !uuid_parse(id_text, strlen(id_text), &id)) {
        text_add(&run->admin.why, "Input string `%s` decoded as %zu bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID", id_text, strlen(id_text) * 3 / 4);
        return false;
    }
    bool by_id = !uuid_is_zero(id);
    struct names *names = NULL;
    if (!by_id && pattern && !(names = names_new(pattern, &run->admin.why))) return false;
    run->topics = ARENA_ARRAY(memory(run), (size_t)run->admin.metadata.topics_count + 1, struct topic_view);
    bool ok = run->topics || fail_memory(run);
    for (int32_t i = 0; ok && i < run->admin.metadata.topics_count; i++) {
        const struct metadata_response_metadata_response_topic *topic = &run->admin.metadata.topics[i];
        bool excluded = args_has(run->args, "exclude-internal") && (topic->is_internal || names_is_internal(topic->name));
        if (excluded || (by_id ? !uuid_equal(id, topic->topic_id) : names && !names_match(names, topic->name))) continue;
        struct topic_view *view = &run->topics[run->topic_count++];
        *view = (struct topic_view){.name = topic->name, .id = topic->topic_id};
        ok = metadata_to_view(run, topic, view);
    }
    names_free(names);
    if (!ok) return false;
    if (run->topic_count) qsort(run->topics, (size_t)run->topic_count, sizeof *run->topics, by_name);
    if (run->topic_count || missing_is_fine || !(by_id || (pattern && *pattern))) return true;
    if (by_id) text_add(&run->admin.why, "TopicId '%s' does not exist as expected", id_text);
    else text_add(&run->admin.why, "Topic '%s' does not exist as expected", pattern);
    return false;
}

/* ---- create ---------------------------------------------------------------------------------------------------------------- */

static struct span trim(const char *from, const char *to) {
    while (from < to && (*from == ' ' || *from == '\t')) from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t')) to--;
    return span_of(from, (size_t)(to - from));
}

/* Checked here as Kafka's tool does, so that its sentences come out whatever the broker is. */
static bool check_config(struct run *run, struct span name, struct span value) {
    const struct config_key *key = config_find(SCOPE_TOPIC, name);
    if (!key) {
        text_add(&run->admin.why, "Unknown topic config name: %.*s", (int)name.size, (const char *)name.data);
        return false;
    }
    int64_t integer;
    double real;
    bool flag;
    const char *type = NULL;
    switch (key->type) {
    case CONFIG_TYPE_INT: type = config_parse_integer(value, &integer) ? NULL : "Not a number of type INT"; break;
    case CONFIG_TYPE_LONG: type = config_parse_integer(value, &integer) ? NULL : "Not a number of type LONG"; break;
    case CONFIG_TYPE_DOUBLE: type = config_parse_double(value, &real) ? NULL : "Not a number of type DOUBLE"; break;
    case CONFIG_TYPE_BOOLEAN: type = config_parse_boolean(value, &flag) ? NULL : "Expected value to be either true or false"; break;
    default: break;
    }
    if (!type) return config_validate(key, value, &run->admin.why);
    text_add(&run->admin.why, "Invalid value %.*s for configuration %s: %s", (int)value.size, (const char *)value.data, key->name, type);
    return false;
}

static bool read_configs(struct run *run, struct create_topics_request_creatable_topic *topic) {
    uint32_t at = 0, count = 0;
    while (args_each(run->args, "config", &at)) count++;
    topic->configs = create_topics_request_creatable_topic_config_array(memory(run), (int32_t)count);
    if (!topic->configs) return fail_memory(run);
    at = 0;
    for (const char *word; (word = args_each(run->args, "config", &at));) {
        const char *equals = strchr(word, '='), *end = word + strlen(word);
        if (!equals || !trim(equals + 1, end).size || strchr(equals + 1, '=')) {
            text_add(&run->admin.why, "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".");
            return false;
        }
        struct span name = trim(word, equals), value = trim(equals + 1, end);
        if (!check_config(run, name, value)) return false;
        int32_t i = 0;
        while (i < topic->configs_count && !span_equal(topic->configs[i].name, name)) i++;
        topic->configs[i].name = name;
        topic->configs[i].value = value;
        if (i == topic->configs_count) topic->configs_count++;
    }
    return true;
}

static bool create(struct run *run) {
    const char *name = args_text(run->args, "topic"), *assignment = args_text(run->args, "replica-assignment");
    struct create_topics_request request;
    struct create_topics_response response;
    struct create_topics_request_creatable_topic *topic = create_topics_request_creatable_topic_array(memory(run), 1);
    if (!topic) return fail_memory(run);
    topic->name = span_text(name);
    topic->num_partitions = topic->replication_factor = -1;
    if (!read_configs(run, topic)) return false;
    if (strpbrk(name, "._"))
        puts("WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.");
    if (args_has(run->args, "replication-factor")) {
        int64_t factor = args_number(run->args, "replication-factor");
        if (factor < 1 || factor > INT16_MAX) {
            text_add(&run->admin.why, "The replication factor must be between 1 and %d inclusive", INT16_MAX);
            return false;
        }
        topic->replication_factor = (int16_t)factor;
    }
    if (args_has(run->args, "partitions")) {
        topic->num_partitions = (int32_t)args_number(run->args, "partitions");
        if (topic->num_partitions < 1) {
            text_add(&run->admin.why, "The partitions must be greater than 0");
            return false;
        }
    }
    if (assignment && !topics_parse_assignment(assignment, memory(run), &topic->assignments, &topic->assignments_count, &run->admin.why)) return false;
    create_topics_request_init(&request);
    request.topics = topic;
    request.topics_count = 1;
    request.timeout_ms = ADMIN_TIMEOUT_MS;
    int tries = 0;
    do {
        if (!call(run, API_CREATE_TOPICS, "createTopics", &request, &response)) return false;
        if (response.topics_count != 1) return check(run, KAFKA_UNKNOWN_SERVER_ERROR, (struct span){0});
    } while (again(run, response.topics[0].error_code, &tries));
    if (response.topics[0].error_code == KAFKA_TOPIC_ALREADY_EXISTS && args_has(run->args, "if-not-exists")) return true;
    if (!check(run, response.topics[0].error_code, response.topics[0].error_message)) return false;
    printf("Created topic %s.\n", name);
    return true;
}

/* ---- alter, delete, list ------------------------------------------------------------------------------------------------------ */

static bool alter(struct run *run) {
    const char *assignment = args_text(run->args, "replica-assignment");
    struct create_topics_request_creatable_replica_assignment *rows = NULL;
    int32_t row_count = 0;
    if (assignment && !topics_parse_assignment(assignment, memory(run), &rows, &row_count, &run->admin.why)) return false;
    if (!find_topics(run, args_has(run->args, "if-exists"))) return false;
    if (run->topic_count == 0) return true;
    struct create_partitions_request request;
    struct create_partitions_response response;
    create_partitions_request_init(&request);
    request.timeout_ms = ADMIN_TIMEOUT_MS;
    request.topics = create_partitions_request_create_partitions_topic_array(memory(run), run->topic_count);
    if (!request.topics) return fail_memory(run);
    request.topics_count = run->topic_count;
    for (int32_t i = 0; i < run->topic_count; i++) {
        request.topics[i].name = run->topics[i].name;
        request.topics[i].count = (int32_t)args_number(run->args, "partitions");
        request.topics[i].assignments_count = -1;
        if (!assignment) continue;
        /* Those of the partitions that are there already are passed over. */
        int32_t first = run->topics[i].partition_count < row_count ? run->topics[i].partition_count : row_count;
        request.topics[i].assignments = create_partitions_request_create_partitions_assignment_array(memory(run), row_count - first);
        if (!request.topics[i].assignments) return fail_memory(run);
        request.topics[i].assignments_count = row_count - first;
        for (int32_t row = first; row < row_count; row++) {
            request.topics[i].assignments[row - first].broker_ids = rows[row].broker_ids;
            request.topics[i].assignments[row - first].broker_ids_count = rows[row].broker_ids_count;
        }
    }
    int tries = 0;
    do
        if (!call(run, API_CREATE_PARTITIONS, "createPartitions", &request, &response)) return false;
    while (response.results_count > 0 && again(run, response.results[0].error_code, &tries));
    for (int32_t i = 0; i < response.results_count; i++)
        if (!check(run, response.results[i].error_code, response.results[i].error_message)) return false;
    return true;
}

static bool delete(struct run *run) {
    if (!find_topics(run, args_has(run->args, "if-exists"))) return false;
    if (run->topic_count == 0) return true;
    struct delete_topics_request request;
    struct delete_topics_response response;
    delete_topics_request_init(&request);
    request.timeout_ms = ADMIN_TIMEOUT_MS;
    request.topics = delete_topics_request_delete_topic_state_array(memory(run), run->topic_count);
    if (!request.topics) return fail_memory(run);
    request.topics_count = run->topic_count;
    for (int32_t i = 0; i < run->topic_count; i++) request.topics[i].name = run->topics[i].name;
    int tries = 0;
    do
        if (!call(run, API_DELETE_TOPICS, "deleteTopics", &request, &response)) return false;
    while (response.responses_count > 0 && again(run, response.responses[0].error_code, &tries));
    for (int32_t i = 0; i < response.responses_count; i++)
        if (!check(run, response.responses[i].error_code, response.responses[i].error_message)) return false;
    return true;
}

static bool list(struct run *run) {
    if (!find_topics(run, true)) return false;
    for (int32_t i = 0; i < run->topic_count; i++) printf("%.*s\n", (int)run->topics[i].name.size, (const char *)run->topics[i].name.data);
    if (run->topic_count == 0) putchar('\n'); /* as Kafka's: the line is there even when nothing is on it */
    return true;
}

/* ---- describe -------------------------------------------------------------------------------------------------------------------- */

static struct topic_view *view_of(struct run *run, struct span name) {
    struct topic_view key = {.name = name};
    return bsearch(&key, run->topics, (size_t)run->topic_count, sizeof key, by_name);
}

/* What Metadata told is replaced by what DescribeTopicPartitions tells, which knows of the ELR; a broker that does not
 * have it leaves it at that, as Kafka's tool does. */
static bool describe_partitions(struct run *run) {
    struct describe_topic_partitions_request request;
    struct describe_topic_partitions_response response;
    describe_topic_partitions_request_init(&request);
    request.topics = describe_topic_partitions_request_topic_request_array(memory(run), run->topic_count);
    if (!request.topics) return fail_memory(run);
    request.topics_count = run->topic_count;
    for (int32_t i = 0; i < run->topic_count; i++) request.topics[i].name = run->topics[i].name;
    int64_t limit = args_number(run->args, "partition-size-limit-per-response");
    request.response_partition_limit = args_has(run->args, "partition-size-limit-per-response") ? (int32_t)limit : PARTITIONS_ANSWERED;
    struct describe_topic_partitions_request_cursor cursor;
    for (;;) {
        enum err err = session_call(&run->admin.session, API_DESCRIBE_TOPIC_PARTITIONS, &request, &response);
        if (err == ERR_UNSUPPORTED) return true;
        if (err) {
            text_add(&run->admin.why, "describeTopics: %s", err_text(err));
            return false;
        }
        for (int32_t i = 0; i < response.topics_count; i++) {
            const struct describe_topic_partitions_response_describe_topic_partitions_response_topic *topic = &response.topics[i];
            struct topic_view *view = topic->name.data ? view_of(run, topic->name) : NULL;
            if (!check(run, topic->error_code, (struct span){0})) return false;
            for (int32_t j = 0; view && j < topic->partitions_count; j++) {
                const struct describe_topic_partitions_response_describe_topic_partitions_response_partition *p = &topic->partitions[j];
                for (int32_t k = 0; k < view->partition_count; k++) {
                    if (view->partitions[k].index != p->partition_index) continue;
                    view->partitions[k] = (struct topic_partition_view){.index = p->partition_index, .leader = p->leader_id,
                        .replicas = p->replica_nodes, .replicas_count = p->replica_nodes_count, .isr = p->isr_nodes, .isr_count = p->isr_nodes_count,
                        .elr = p->eligible_leader_replicas, .elr_count = p->eligible_leader_replicas_count,
                        .last_known_elr = p->last_known_elr, .last_known_elr_count = p->last_known_elr_count};
                }
            }
        }
        if (!response.next_cursor) return true;
        if (request.cursor && request.cursor->partition_index == response.next_cursor->partition_index &&
            span_equal(request.cursor->topic_name, response.next_cursor->topic_name)) {
            text_add(&run->admin.why, "the broker gives the same part of the answer again and again");
            return false;
        }
        cursor.topic_name = response.next_cursor->topic_name;
        cursor.partition_index = response.next_cursor->partition_index;
        request.cursor = &cursor;
    }
}

static bool describe_configs(struct run *run) {
    struct describe_configs_request request;
    struct describe_configs_response response;
    describe_configs_request_init(&request);
    request.resources = describe_configs_request_describe_configs_resource_array(memory(run), run->topic_count);
    if (!request.resources) return fail_memory(run);
    request.resources_count = run->topic_count;
    for (int32_t i = 0; i < run->topic_count; i++) {
        request.resources[i].resource_type = 2; /* a topic */
        request.resources[i].resource_name = run->topics[i].name;
        request.resources[i].configuration_keys_count = -1;
    }
    if (!call(run, API_DESCRIBE_CONFIGS, "describeConfigs", &request, &response)) return false;
    for (int32_t i = 0; i < response.results_count; i++) {
        struct topic_view *view = view_of(run, response.results[i].resource_name);
        if (!check(run, response.results[i].error_code, response.results[i].error_message)) return false;
        if (!view) continue;
        view->configs = response.results[i].configs;
        view->config_count = response.results[i].configs_count;
    }
    return true;
}

static bool describe_reassignments(struct run *run) {
    struct list_partition_reassignments_request request;
    struct list_partition_reassignments_response response;
    list_partition_reassignments_request_init(&request);
    request.topics_count = -1;
    enum err err = session_call(&run->admin.session, API_LIST_PARTITION_REASSIGNMENTS, &request, &response);
    if (err || response.error_code) return true; /* not served, or not allowed: described without it, as Kafka's tool does */
    for (int32_t i = 0; i < response.topics_count; i++) {
        struct topic_view *view = view_of(run, response.topics[i].name);
        for (int32_t j = 0; view && j < response.topics[i].partitions_count; j++) {
            const struct list_partition_reassignments_response_ongoing_partition_reassignment *p = &response.topics[i].partitions[j];
            for (int32_t k = 0; k < view->partition_count; k++) {
                struct topic_partition_view *to = &view->partitions[k];
                if (to->index != p->partition_index) continue;
                to->is_reassigned = true;
                to->adding = p->adding_replicas;
                to->adding_count = p->adding_replicas_count;
                to->removing = p->removing_replicas;
                to->removing_count = p->removing_replicas_count;
            }
        }
    }
    return true;
}

static int by_index(const void *a, const void *b) {
    return ((const struct topic_partition_view *)a)->index - ((const struct topic_partition_view *)b)->index;
}

static bool describe(struct run *run) {
    const struct args *args = run->args;
    if (!find_topics(run, args_has(args, "if-exists"))) return false;
    if (run->topic_count == 0) return true;
    bool by_id = args_has(args, "topic-id"); /* asked for by id, the partitions come from Metadata, without the ELR */
    if (!by_id && !describe_partitions(run)) return false;
    if (!describe_configs(run) || !describe_reassignments(run)) return false;
    int32_t *brokers = ARENA_ARRAY(memory(run), (size_t)run->admin.metadata.brokers_count + 1, int32_t);
    if (!brokers) return fail_memory(run);
    for (int32_t i = 0; i < run->admin.metadata.brokers_count; i++) brokers[i] = run->admin.metadata.brokers[i].node_id;
    struct topic_filter filter = {.overridden = args_has(args, "topics-with-overrides"), .unavailable = args_has(args, "unavailable-partitions"),
        .under_replicated = args_has(args, "under-replicated-partitions"), .under_min_isr = args_has(args, "under-min-isr-partitions"),
        .at_min_isr = args_has(args, "at-min-isr-partitions"), .brokers = brokers, .broker_count = run->admin.metadata.brokers_count};
    for (int32_t i = 0; i < run->topic_count; i++) {
        qsort(run->topics[i].partitions, (size_t)run->topics[i].partition_count, sizeof *run->topics[i].partitions, by_index);
        topics_print(&run->topics[i], &filter, stdout);
    }
    return true;
}

/* ---- options that do not go together ---------------------------------------------------------------------------------------------- */

static int check_options(const struct args *args) {
    static const char *const actions[] = {"create", "list", "alter", "describe", "delete"};
    /* What may come with which action. */
    static const struct { const char *option, *with; } rows[] = {
        {"config", "create"}, {"partitions", "create alter"}, {"replication-factor", "create"}, {"replica-assignment", "create alter"},
        {"if-exists", "alter delete describe"}, {"if-not-exists", "create"}, {"exclude-internal", "list describe"},
        {"under-replicated-partitions", "describe"}, {"under-min-isr-partitions", "describe"}, {"at-min-isr-partitions", "describe"},
        {"unavailable-partitions", "describe"}, {"topics-with-overrides", "describe"},
    };
    static const char *const reports[] = {"under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions", "topics-with-overrides"};
    const char *action = NULL;
    int count = 0;
    for (size_t i = 0; i < countof(actions); i++)
        if (args_has(args, actions[i])) action = actions[i], count++;
    if (count != 1) return args_wrong(args, "Command must include exactly one action: --list, --describe, --create, --alter or --delete");
    if (!args_has(args, "bootstrap-server")) {
        fprintf(stderr, "--bootstrap-server must be specified\n");
        return 1;
    }
    bool has_topic = args_has(args, "topic");
    if (strcmp(action, "describe") == 0 && args_has(args, "if-exists") && !has_topic && !args_has(args, "topic-id"))
        return args_wrong(args, "--topic or --topic-id is required to describe a topic");
    if (strcmp(action, "describe") == 0 && has_topic && args_has(args, "topic-id"))
        puts("Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID");
    if (strcmp(action, "list") != 0 && strcmp(action, "describe") != 0 && !has_topic) return args_wrong(args, "Missing required argument \"[topic]\"");
    if (strcmp(action, "alter") == 0) {
        if (args_has(args, "config"))
            return args_wrong(args, "Option combination \"[[config], [bootstrap-server]]\" can't be used with option \"[alter]\" (To alter topic configurations, the kafka-configs tool can be used.)");
        if (!args_has(args, "partitions")) return args_wrong(args, "Missing required argument \"[partitions]\"");
    }
    for (size_t i = 0; i < countof(rows); i++)
        if (args_has(args, rows[i].option) && !strstr(rows[i].with, action))
            return args_wrong(args, "Option \"[%s]\" can't be used with option \"[%s]\"", rows[i].option, action);
    if (args_has(args, "create") && args_has(args, "replica-assignment"))
        for (size_t i = 1; i < 3; i++)
            if (args_has(args, rows[i].option)) return args_wrong(args, "Option \"[replica-assignment]\" can't be used with option \"[%s]\"", rows[i].option);
    for (size_t i = 0; i < countof(reports); i++)
        for (size_t j = i + 1; j < countof(reports); j++)
            if (args_has(args, reports[i]) && args_has(args, reports[j]))
                return args_wrong(args, "Option \"[%s]\" can't be used with option \"[%s]\"", reports[i], reports[j]);
    return 0;
}

int topics_run(struct args *args) {
    if (args->count + args->word_count == 0) return args_wrong(args, "Create, delete, describe, or change a topic.");
    if (args_has(args, "delete-config"))
        fprintf(stderr, "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future releases.\n");
    int wrong = check_options(args);
    if (wrong) return wrong;
    struct run *run = calloc(1, sizeof *run);
    if (!run) return 1;
    run->args = args;
    bool ok = false;
    if (!admin_open(&run->admin, args)) fprintf(stderr, "%s\n", run->admin.why.bytes);
    else {
        ok = args_has(args, "create") ? create(run) : args_has(args, "list") ? list(run) : args_has(args, "alter") ? alter(run)
             : args_has(args, "describe") ? describe(run) : delete(run);
        if (!ok) printf("Error while executing topic command : %s\n", run->admin.why.bytes);
    }
    admin_close(&run->admin);
    free(run);
    return ok ? 0 : 1;
}
