/* cli/get_offsets.c - kafka-get-offsets.sh. */
#include "cli/admin.h"
#include "cli/columns.h"
#include "cli/names.h"
#include "cli/servers.h"
#include "cli/tools.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 256 };
struct rule {
    struct names *topics;       /* owns */
    int64_t from, to;           /* partitions; `to` is not among them */
};
struct rules {
    struct rule list[RULES_MAX];
    uint32_t count;
    int32_t *only;              /* --partitions; NULL: all */
    int32_t only_count;
};

static bool rule_matches(const struct rules *rules, struct span topic, int32_t index) {
    bool listed = rules->only_count == 0;
    for (int32_t i = 0; i < rules->only_count; i++) listed |= rules->only[i] == index;
    for (uint32_t i = 0; listed && i < rules->count; i++)
        if (index >= rules->list[i].from && index < rules->list[i].to && names_match(rules->list[i].topics, topic)) return true;
    return false;
}

static const char *number(const char *at, int64_t *out) {
    for (*out = -1; isdigit((unsigned char)*at); at++) *out = (*out < 0 ? 0 : *out) * 10 + (*at - '0');
    return at;
}

/* "topic", "topic:1", "topic:1-3", "topic:1-", "topic:-3", and the same without a topic. */
static bool add_rule(struct admin *admin, struct rules *rules, const char *spec, size_t size) {
    const char *text = cell_text(admin_memory(admin), "%.*s", (int)size, spec), *colon = strchr(text, ':'), *end = colon ? colon + 1 : "";
    int64_t from = -1, to = -1;
    bool range = false;
    if (colon) {
        end = number(colon + 1, &from);
        range = *end == '-';
        if (range) end = number(end + 1, &to);
    }
    if (*end) return admin_fail(admin, NULL, "org.apache.kafka.tools.TerseException: Invalid rule specification: %s", text);
    if (rules->count == RULES_MAX) return admin_fail(admin, NULL, "too many rules");
    struct rule *rule = &rules->list[rules->count];
    size_t name = colon ? (size_t)(colon - text) : strlen(text);
    rule->topics = names_new(name ? cell_text(admin_memory(admin), "%.*s", (int)name, text) : ".*", &admin->why);
    if (!rule->topics) return false;
    rules->count++;
    rule->from = from < 0 ? 0 : from;
    rule->to = range || from < 0 ? (to < 0 ? INT32_MAX : to) : from + 1;
    return true;
}

static bool read_rules(struct admin *admin, struct rules *rules) {
    const char *topic = args_text(admin->args, "topic"), *partitions = args_text(admin->args, "partitions"), *pairs = args_text(admin->args, "topic-partitions");
    if (pairs && (topic || partitions)) return admin_fail(admin, NULL, "--topic-partitions cannot be used with --topic or --partitions");
    if (pairs) {
        for (const char *at = pairs;;) {
            size_t size = strcspn(at, ",");
            if (!add_rule(admin, rules, at, size)) return false;
            if (!at[size]) return true;
            at += size + 1;
        }
    }
    rules->list[0] = (struct rule){.topics = names_new(topic ? topic : ".*", &admin->why), .to = INT64_MAX};
    if (!rules->list[0].topics) return false;
    rules->count = 1;
    if (!partitions || !*partitions) return true;
    rules->only = ARENA_ARRAY(admin_memory(admin), strlen(partitions) + 1, int32_t);
    if (!rules->only) return admin_fail_memory(admin);
    for (const char *at = partitions;;) {
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || id > INT32_MAX || id < INT32_MIN)
            return admin_fail(admin, NULL, "--partitions expects a comma separated list of numeric partition ids, but received: %s", partitions);
        rules->only[rules->only_count++] = (int32_t)id;
        if (!*end) return true;
        at = end + 1;
    }
}

static bool read_time(struct admin *admin, int64_t *out) {
    static const char *const named[] = {"latest", "earliest", "max-timestamp", "earliest-local", "latest-tiered", "earliest-pending-upload"};
    const char *text = args_text(admin->args, "time");
    for (size_t i = 0; i < countof(named); i++)
        if (strcmp(text, named[i]) == 0) {
            *out = -1 - (int64_t)i;
            return true;
        }
    return config_parse_integer(span_text(text), out) ||
           admin_fail(admin, NULL, "Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / "
                      "-6 or earliest-pending-upload, or a specified long format timestamp", text);
}

static bool find(struct admin *admin, const struct rules *rules, struct partition_row **rows, int32_t *count) {
    bool internal_too = !args_has(admin->args, "exclude-internal-topics");
    int32_t n = 0;
    if (!admin_topics(admin, NULL, 0)) return false;
    for (int32_t t = 0; t < admin->metadata.topics_count; t++) n += admin->metadata.topics[t].partitions_count;
    *rows = ARENA_ARRAY(admin_memory(admin), (size_t)n + 1, struct partition_row);
    if (!*rows) return admin_fail_memory(admin);
    for (int32_t t = 0; t < admin->metadata.topics_count; t++) {
        const struct metadata_response_metadata_response_topic *topic = &admin->metadata.topics[t];
        if (!internal_too && (topic->is_internal || names_is_internal(topic->name))) continue;
        for (int32_t p = 0; p < topic->partitions_count; p++)
            if (rule_matches(rules, topic->name, topic->partitions[p].partition_index))
                (*rows)[(*count)++] = (struct partition_row){.topic = topic->name, .index = topic->partitions[p].partition_index};
    }
    return *count > 0 || admin_fail(admin, NULL, "Could not match any topic-partitions with the specified filters");
}

/* As text: "t-10" stands before "t-2", as Kafka's tool has it. */
static int by_told(const void *a, const void *b) {
    const struct partition_row *rows[2] = {a, b};
    char text[2][320];
    for (int i = 0; i < 2; i++) snprintf(text[i], sizeof text[i], "%.*s-%d", (int)rows[i]->topic.size, (const char *)rows[i]->topic.data, rows[i]->index);
    return strcmp(text[0], text[1]);
}

static bool run(struct admin *admin, struct rules *rules) {
    struct partition_row *rows;
    int32_t count = 0;
    int64_t time;
    if (!read_time(admin, &time) || !read_rules(admin, rules) || !find(admin, rules, &rows, &count) || !admin_offsets(admin, rows, count, time)) return false;
    qsort(rows, (size_t)count, sizeof *rows, by_told);
    for (int32_t i = 0; i < count; i++) {
        if (admin_check(admin, rows[i].error, (struct span){0})) {
            if (rows[i].offset >= 0) printf("%.*s:%d:%lld\n", (int)rows[i].topic.size, (const char *)rows[i].topic.data, rows[i].index, (long long)rows[i].offset);
            continue;
        }
        fprintf(stderr, "Skip getting offsets for topic-partition %.*s-%d due to error: %s\n", (int)rows[i].topic.size, (const char *)rows[i].topic.data, rows[i].index, admin_cause(admin));
        admin_forgive(admin);
    }
    return true;
}

int get_offsets_run(struct args *args) {
    static struct admin admin;
    static struct rules rules;
    if (args->count + args->word_count == 0) return args_wrong(args, "An interactive shell for getting topic-partition offsets.");
    if (!args_has(args, "bootstrap-server")) return args_wrong(args, "Missing required argument \"[bootstrap-server]\"");
    if (!*args_text(args, "bootstrap-server")) return args_wrong(args, "Error while validating the bootstrap address\n");
    if (!servers_are_valid(args_text(args, "bootstrap-server"), NULL, NULL)) return args_wrong(args, "Please provide valid host:port like host1:9091,host2:9092\n");
    bool ok = admin_open(&admin, args) && run(&admin, &rules);
    fflush(stdout);
    if (!ok) fprintf(stderr, "Error occurred: %s\n", admin_cause(&admin));
    for (uint32_t i = 0; i < rules.count; i++) names_free(rules.list[i].topics);
    admin_close(&admin);
    return ok ? 0 : 1;
}
