/* cli/log_dirs.c - kafka-log-dirs.sh. */
#include "cli/admin.h"
#include "cli/columns.h"
#include "cli/quoted.h"
#include "cli/tools.h"
#include <stdlib.h>
#include <string.h>

struct chosen { int32_t *ids; int32_t count; };

static void print_ids(const struct chosen *chosen, FILE *out) {
    for (int32_t i = 0; i < chosen->count; i++) fprintf(out, i ? ",%d" : "%d", chosen->ids[i]);
}

static int by_id(const void *a, const void *b) { return (*(const int32_t *)a > *(const int32_t *)b) - (*(const int32_t *)a < *(const int32_t *)b); }

/* The brokers that there are, and those of --broker-list. */
static bool choose(struct admin *admin, struct chosen *out) {
    struct span nothing = {0}, rest = span_text(args_text(admin->args, "broker-list")), item;
    struct chosen missing = {0}, all = {0};
    if (!admin_topics(admin, &nothing, 0)) return false;
    int32_t room = admin->metadata.brokers_count + (int32_t)rest.size + 1;
    out->ids = ARENA_ARRAY(admin_memory(admin), room, int32_t);
    missing.ids = ARENA_ARRAY(admin_memory(admin), room, int32_t);
    all.ids = ARENA_ARRAY(admin_memory(admin), room, int32_t);
    if (!out->ids || !missing.ids || !all.ids) return admin_fail_memory(admin);
    for (int32_t i = 0; i < admin->metadata.brokers_count; i++) all.ids[all.count++] = admin->metadata.brokers[i].node_id;
    qsort(all.ids, (size_t)all.count, sizeof *all.ids, by_id);
    while (config_list_next(&rest, &item)) {
        int64_t id;
        if (!item.size) continue;
        if (!config_parse_integer(item, &id) || id < INT32_MIN || id > INT32_MAX) return admin_fail(admin, NULL, "For input string: \"%.*s\"", (int)item.size, (const char *)item.data);
        struct chosen *to = admin_broker(admin, (int32_t)id) ? out : &missing;
        int32_t i = 0;
        while (i < to->count && to->ids[i] != id) i++;
        if (i == to->count) to->ids[to->count++] = (int32_t)id;
    }
    if (missing.count) {
        text_add(&admin->why, "ERROR: The given brokers do not exist from --broker-list: ");
        for (int32_t i = 0; i < missing.count; i++) text_add(&admin->why, i ? ",%d" : "%d", missing.ids[i]);
        text_add(&admin->why, ". Current existent brokers: ");
        for (int32_t i = 0; i < all.count; i++) text_add(&admin->why, i ? ",%d" : "%d", all.ids[i]);
        return false;
    }
    if (out->count == 0) *out = all;
    qsort(out->ids, (size_t)out->count, sizeof *out->ids, by_id);
    return true;
}

/* Members in the order in which Kafka's tool has them. */
static void print_dir(struct admin *admin, const struct describe_log_dirs_response_describe_log_dirs_result *dir, struct span topics) {
    const char *between = "";
    printf("{\"partitions\":[");
    for (int32_t t = 0; t < dir->topics_count; t++) {
        if (topics.size && !config_list_contains(topics, dir->topics[t].name)) continue;
        for (int32_t p = 0; p < dir->topics[t].partitions_count; p++) {
            const struct describe_log_dirs_response_describe_log_dirs_partition *partition = &dir->topics[t].partitions[p];
            printf("%s{\"partition\":", between);
            print_quoted(span_text(cell_text(admin_memory(admin), "%.*s-%d", (int)dir->topics[t].name.size, (const char *)dir->topics[t].name.data, partition->partition_index)), stdout);
            printf(",\"size\":%lld,\"offsetLag\":%lld,\"isFuture\":%s}", (long long)partition->partition_size, (long long)partition->offset_lag, partition->is_future_key ? "true" : "false");
            between = ",";
        }
    }
    printf("],\"error\":");
    if (dir->error_code) {
        char bytes[160];
        struct text text;
        text_init(&text, bytes, sizeof bytes);
        text_add(&text, "org.apache.kafka.common.errors.");
        exception_of_error(dir->error_code, &text);
        print_quoted(span_text(bytes), stdout);
    } else printf("null");
    printf(",\"logDir\":");
    print_quoted(dir->log_dir, stdout);
    putchar('}');
}

static bool run(struct admin *admin) {
    struct chosen chosen = {0};
    if (!choose(admin, &chosen)) return false;
    puts("Querying brokers for log directories information");
    struct describe_log_dirs_response *responses = ARENA_ARRAY(admin_memory(admin), (size_t)chosen.count + 1, struct describe_log_dirs_response);
    if (!responses) return admin_fail_memory(admin);
    for (int32_t i = 0; i < chosen.count; i++) {
        struct describe_log_dirs_request request;
        describe_log_dirs_request_init(&request);
        request.topics_count = -1;
        if (!admin_call(admin, chosen.ids[i], API_DESCRIBE_LOG_DIRS, 0, "describeLogDirs", &request, &responses[i]) || !admin_check(admin, responses[i].error_code, (struct span){0})) return false;
    }
    printf("Received log directory information from brokers ");
    print_ids(&chosen, stdout);
    printf("\n{\"brokers\":[");
    for (int32_t i = 0; i < chosen.count; i++) {
        printf("%s{\"broker\":%d,\"logDirs\":[", i ? "," : "", chosen.ids[i]);
        for (int32_t d = 0; d < responses[i].results_count; d++) {
            if (d) putchar(',');
            print_dir(admin, &responses[i].results[d], span_text(args_text(admin->args, "topic-list")));
        }
        printf("]}");
    }
    puts("],\"version\":1}");
    return true;
}

int log_dirs_run(struct args *args) {
    static struct admin admin;
    static const char *const needed[] = {"bootstrap-server", "describe"};
    for (size_t i = 0; i < countof(needed); i++)
        if (!args_has(args, needed[i])) return args_wrong(args, args->count ? "Missing required argument \"[%s]\"" : "This tool helps to query log directory usage on the specified brokers.", needed[i]);
    return admin_end(&admin, admin_open(&admin, args) && run(&admin));
}
