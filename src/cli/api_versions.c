/* cli/api_versions.c - kafka-broker-api-versions.sh. */
#include "cli/admin.h"
#include "cli/tools.h"
#include "wire/header.h"
#include <string.h>

enum { KEYS_MAX = 128 };

/* What a broker may serve; what is for controllers alone is told of where a broker serves it all the same. */
static bool is_for_brokers(int16_t key) {
    const struct wire_api *api = wire_api(key);
    return api && api->request && api->on_broker;
}

static void print_key(const struct wire_api *api, int16_t key, const struct api_versions_response_api_version *served, bool last) {
    const char *end = last ? "" : ",";
    if (!api) printf("\tUNKNOWN(%d): ", key);
    else printf("\t%s(%d): ", api->name, key);
    if (!served) {
        printf("UNSUPPORTED%s\n", end);
        return;
    }
    if (served->min_version == served->max_version) printf("%d", served->min_version);
    else printf("%d to %d", served->min_version, served->max_version);
    int16_t known = api ? api->version_max - (api->is_unstable ? 1 : 0) : -1, low = api ? api->version_min : 0;
    int16_t usable = known < served->max_version ? known : served->max_version;
    if (!api || usable < served->min_version || usable < low) printf(" [unusable: %s]%s\n", api ? "node too new or too old" : "unknown", end);
    else printf(" [usable: %d]%s\n", usable, end);
}

static bool describe(struct admin *admin, const struct describe_cluster_response_describe_cluster_broker *broker) {
    struct api_versions_request request;
    struct api_versions_response response;
    const struct api_versions_response_api_version *served[KEYS_MAX] = {NULL};
    api_versions_request_init(&request);
    request.client_software_name = SPAN_LITERAL("moldau");
    request.client_software_version = SPAN_LITERAL("0.1.0");
    printf("%.*s:%d (id: %d rack: %.*s isFenced: %s) -> ", (int)broker->host.size, (const char *)broker->host.data, broker->port, broker->broker_id, broker->rack.data ? (int)broker->rack.size : 4,
           broker->rack.data ? (const char *)broker->rack.data : "null", broker->is_fenced ? "true" : "false");
    if (!admin_call(admin, broker->broker_id, API_API_VERSIONS, 0, "apiVersions", &request, &response) || !admin_check(admin, response.error_code, (struct span){0})) {
        printf("ERROR: %s\n", admin_cause(admin)); /* this one; the others may answer */
        admin_forgive(admin);
        return true;
    }
    int16_t last = -1;
    for (int32_t i = 0; i < response.api_keys_count; i++)
        if (response.api_keys[i].api_key >= 0 && response.api_keys[i].api_key < KEYS_MAX) served[response.api_keys[i].api_key] = &response.api_keys[i];
    for (int16_t key = 0; key < KEYS_MAX; key++)
        if (served[key] || is_for_brokers(key)) last = key;
    puts("(");
    for (int16_t key = 0; key <= last; key++)
        if (served[key] || is_for_brokers(key)) print_key(wire_api(key), key, served[key], key == last);
    puts(")");
    return true;
}

static bool run(struct admin *admin) {
    struct describe_cluster_request request;
    struct describe_cluster_response response;
    struct span nothing = {0};
    describe_cluster_request_init(&request);
    if (!admin_topics(admin, &nothing, 0) || !admin_call(admin, CLIENT_ANY, API_DESCRIBE_CLUSTER, 0, "listNodes", &request, &response) ||
        !admin_check(admin, response.error_code, response.error_message)) return false;
    for (int32_t i = 0; i < response.brokers_count; i++)
        if (!describe(admin, &response.brokers[i])) return false;
    return true;
}

int api_versions_run(struct args *args) {
    static struct admin admin;
    if (!args_has(args, "bootstrap-server")) return args_wrong(args, args->count ? "Missing required argument \"[bootstrap-server]\"" : "This tool helps to retrieve broker version information.");
    return admin_end(&admin, admin_open(&admin, args) && run(&admin));
}
