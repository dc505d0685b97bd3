/* cli/cluster.c - kafka-cluster.sh. */
#include "cli/admin.h"
#include "cli/columns.h"
#include "cli/tools.h"
#include <stdlib.h>
#include <string.h>

static struct admin admin;

/* The older name of --command-config goes on to be taken. */
static bool open_cluster(struct args *args, bool *said) {
    *said = true;
    if (args_has(args, "bootstrap-server") + args_has(args, "bootstrap-controller") != 1) {
        args_help(args->tool, stderr);
        fprintf(stderr, args_has(args, "bootstrap-server") ? "kafka-cluster: error: argument --bootstrap-controller/-C: not allowed with argument --bootstrap-server/-b\n"
                                                           : "kafka-cluster: error: one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required\n");
        return false;
    }
    if (args_has(args, "config") && args_has(args, "command-config")) {
        fprintf(stderr, "--config and --command-config cannot be specified together.\n");
        return false;
    }
    *said = false;
    if (args_has(args, "config")) {
        puts("Option --config has been deprecated and will be removed in a future version. Use --command-config instead.");
        for (uint32_t i = 0; i < args->count; i++)
            for (uint32_t k = 0; k < args->tool->count; k++)
                if (strcmp(args->given[i].option->name, "config") == 0 && strcmp(args->tool->options[k].name, "command-config") == 0) args->given[i].option = &args->tool->options[k];
    }
    return admin_open(&admin, args);
}

static bool describe(struct describe_cluster_response *response, bool fenced_too) {
    struct describe_cluster_request request;
    describe_cluster_request_init(&request);
    request.endpoint_type = admin.at_controllers ? 2 : 1;
    request.include_fenced_brokers = fenced_too;
    return admin_call(&admin, CLIENT_ANY, API_DESCRIBE_CLUSTER, 0, "listNodes", &request, response) && admin_check(&admin, response->error_code, response->error_message);
}

int cluster_id_run(struct args *args) {
    struct describe_cluster_response response;
    bool said;
    if (!open_cluster(args, &said)) return said ? 1 : admin_end(&admin, false);
    bool ok = describe(&response, false);
    if (ok) printf("Cluster ID: %.*s\n", (int)response.cluster_id.size, (const char *)response.cluster_id.data);
    return admin_end(&admin, ok);
}

int cluster_unregister_run(struct args *args) {
    struct unregister_broker_request request;
    struct unregister_broker_response response;
    bool said;
    int tries = 0;
    if (!args_has(args, "id")) {
        args_help(args->tool, stderr);
        fprintf(stderr, "kafka-cluster: error: argument --id/-i is required\n");
        return 1;
    }
    if (!open_cluster(args, &said)) return said ? 1 : admin_end(&admin, false);
    unregister_broker_request_init(&request);
    request.broker_id = (int32_t)args_number(args, "id");
    bool ok;
    do ok = admin_call(&admin, CLIENT_ANY, API_UNREGISTER_BROKER, 0, "unregisterBroker", &request, &response);
    while (ok && admin_again(&admin, response.error_code, &tries));
    ok = ok && admin_check(&admin, response.error_code, response.error_message);
    if (ok) printf("Broker %d is no longer registered.\n", request.broker_id);
    else if (admin.code == KAFKA_UNSUPPORTED_VERSION) {
        puts("The target cluster does not support the broker unregistration API.");
        ok = true;
    }
    return admin_end(&admin, ok);
}

static int by_id(const void *a, const void *b) {
    const struct describe_cluster_response_describe_cluster_broker *left = a, *right = b;
    return (left->broker_id > right->broker_id) - (left->broker_id < right->broker_id);
}

int cluster_list_endpoints_run(struct args *args) {
    struct describe_cluster_response response;
    bool said;
    if (!open_cluster(args, &said)) return said ? 1 : admin_end(&admin, false);
    if (admin.at_controllers && args_has(args, "include-fenced-brokers"))
        return admin_end(&admin, admin_fail(&admin, NULL, "The option --include-fenced-brokers is only supported with --bootstrap-server option"));
    if (!describe(&response, args_has(args, "include-fenced-brokers"))) return admin_end(&admin, false);
    int host = 5, rack = 10;
    if (response.brokers_count) qsort(response.brokers, (size_t)response.brokers_count, sizeof *response.brokers, by_id);
    for (int32_t i = 0; i < response.brokers_count; i++) {
        if ((int)response.brokers[i].host.size > host) host = (int)response.brokers[i].host.size;
        if ((int)response.brokers[i].rack.size > rack) rack = (int)response.brokers[i].rack.size;
    }
    if (admin.at_controllers) printf("%-10s %-*s %-10s %-*s %-15s\n", "ID", host, "HOST", "PORT", rack, "RACK", "ENDPOINT_TYPE");
    else printf("%-10s %-*s %-10s %-*s %-10s %-15s\n", "ID", host, "HOST", "PORT", rack, "RACK", "STATE", "ENDPOINT_TYPE");
    for (int32_t i = 0; i < response.brokers_count; i++) {
        const struct describe_cluster_response_describe_cluster_broker *broker = &response.brokers[i];
        const char *name = cell_span(admin_memory(&admin), broker->host);
        const char *where = broker->rack.data ? cell_span(admin_memory(&admin), broker->rack) : "null";
        if (admin.at_controllers) printf("%-10d %-*s %-10d %-*s %-15s\n", broker->broker_id, host, name, broker->port, rack, where, "controller");
        else printf("%-10d %-*s %-10d %-*s %-10s %-15s\n", broker->broker_id, host, name, broker->port, rack, where, broker->is_fenced ? "fenced" : "unfenced", "broker");
    }
    return admin_end(&admin, true);
}
