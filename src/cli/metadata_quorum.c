/* cli/metadata_quorum.c - kafka-metadata-quorum.sh. */
#include "cli/admin.h"
#include "cli/columns.h"
#include "cli/tools.h"
#include "base/random.h"
#include "log/log.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LISTENERS_MAX = 16 };
static struct admin admin;

static bool has_servers(const struct args *args) {
    if (args_has(args, "bootstrap-server") + args_has(args, "bootstrap-controller") == 1) return true;
    args_help(args->tool, stderr);
    fprintf(stderr, args_has(args, "bootstrap-server") ? "kafka-metadata-quorum: error: argument --bootstrap-controller: not allowed with argument --bootstrap-server\n"
                                                       : "kafka-metadata-quorum: error: one of the arguments --bootstrap-server --bootstrap-controller is required\n");
    return false;
}

/* ---- describe --------------------------------------------------------------------------------------------------------------- */

typedef struct describe_quorum_response_replica_state replica_state;
struct quorum {
    struct describe_quorum_response response;
    const struct describe_quorum_response_partition_data *partition;
    const replica_state *leader;
};

static bool find_quorum(struct quorum *quorum) {
    struct describe_quorum_request request;
    struct describe_quorum_request_topic_data topic;
    struct describe_quorum_request_partition_data partition;
    int tries = 0;
    int16_t code;
    struct span message;
    describe_quorum_request_init(&request);
    describe_quorum_request_topic_data_init(&topic);
    describe_quorum_request_partition_data_init(&partition);
    topic.topic_name = SPAN_LITERAL("__cluster_metadata");
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    do {
        if (!admin_call(&admin, CLIENT_ANY, API_DESCRIBE_QUORUM, 0, "describeMetadataQuorum", &request, &quorum->response)) return false;
        code = quorum->response.error_code;
        message = quorum->response.error_message;
        bool whole = quorum->response.topics_count == 1 && quorum->response.topics[0].partitions_count == 1;
        quorum->partition = whole ? &quorum->response.topics[0].partitions[0] : NULL;
        if (!code && whole) {
            code = quorum->partition->error_code;
            message = quorum->partition->error_message;
        } else if (!code) code = KAFKA_UNKNOWN_SERVER_ERROR;
    } while (admin_again(&admin, code, &tries));
    if (!admin_check(&admin, code, message)) return false;
    for (int32_t i = 0; i < quorum->partition->current_voters_count; i++)
        if (quorum->partition->current_voters[i].replica_id == quorum->partition->leader_id) quorum->leader = &quorum->partition->current_voters[i];
    return quorum->leader || admin_fail(&admin, NULL, "No value present");
}

static const char *directory_text(struct uuid id) {
    char text[UUID_TEXT_BYTES + 1];
    uuid_text(id, text);
    return cell_text(admin_memory(&admin), "%s", text);
}

static const char *time_text(int64_t timestamp, bool ago) {
    struct timespec now;
    if (timestamp < 0) return "-1";
    if (!ago) return cell_text(admin_memory(&admin), "%lld", (long long)timestamp);
    clock_gettime(CLOCK_REALTIME, &now);
    return cell_text(admin_memory(&admin), "%lld ms ago", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000 - (long long)timestamp);
}

static bool add_replica(struct columns *table, const struct quorum *quorum, const replica_state *replica, const char *status, bool ago) {
    struct arena *arena = admin_memory(&admin);
    const char *cells[] = {cell_text(arena, "%d", replica->replica_id), directory_text(replica->replica_directory_id), cell_text(arena, "%lld", (long long)replica->log_end_offset),
                           cell_text(arena, "%lld", (long long)(quorum->leader->log_end_offset - replica->log_end_offset)), time_text(replica->last_fetch_timestamp, ago),
                           time_text(replica->last_caught_up_timestamp, ago), status};
    return columns_add(table, cells) || admin_fail_memory(&admin);
}

static bool print_replication(const struct quorum *quorum, bool ago) {
    static const struct column columns[] = {{"NodeId", 6, false}, {"DirectoryId", 11, false}, {"LogEndOffset", 12, false}, {"Lag", 3, false},
                                            {"LastFetchTimestamp", 18, false}, {"LastCaughtUpTimestamp", 21, false}, {"Status", 6, false}};
    struct columns table;
    columns_init(&table, admin_memory(&admin), columns, countof(columns));
    if (!add_replica(&table, quorum, quorum->leader, "Leader", ago)) return false;
    for (int32_t i = 0; i < quorum->partition->current_voters_count; i++)
        if (&quorum->partition->current_voters[i] != quorum->leader && !add_replica(&table, quorum, &quorum->partition->current_voters[i], "Follower", ago)) return false;
    for (int32_t i = 0; i < quorum->partition->observers_count; i++)
        if (!add_replica(&table, quorum, &quorum->partition->observers[i], "Observer", ago)) return false;
    columns_print(&table, COLUMNS_TABBED, stdout);
    return true;
}

static void print_replicas(const struct quorum *quorum, const replica_state *replicas, int32_t count) {
    putchar('[');
    for (int32_t i = 0; i < count; i++) {
        printf("%s{\"id\": %d", i ? ", " : "", replicas[i].replica_id);
        if (!uuid_is_zero(replicas[i].replica_directory_id)) printf(", \"directoryId\": \"%s\"", directory_text(replicas[i].replica_directory_id));
        for (int32_t n = 0; n < quorum->response.nodes_count; n++) {
            const struct describe_quorum_response_node *node = &quorum->response.nodes[n];
            if (node->node_id != replicas[i].replica_id || node->listeners_count <= 0) continue;
            printf(", \"endpoints\": [");
            for (int32_t l = 0; l < node->listeners_count; l++) {
                bool six = memchr(node->listeners[l].host.data, ':', node->listeners[l].host.size) != NULL;
                printf("%s\"%.*s://%s%.*s%s:%u\"", l ? ", " : "", (int)node->listeners[l].name.size, (const char *)node->listeners[l].name.data, six ? "[" : "",
                       (int)node->listeners[l].host.size, (const char *)node->listeners[l].host.data, six ? "]" : "", node->listeners[l].port);
            }
            putchar(']');
        }
        putchar('}');
    }
    putchar(']');
}

static bool print_status(const struct quorum *quorum) {
    const struct describe_quorum_response_partition_data *partition = quorum->partition;
    const replica_state *last = quorum->leader;
    struct describe_cluster_request request;
    struct describe_cluster_response cluster;
    describe_cluster_request_init(&request);
    request.endpoint_type = admin.at_controllers ? 2 : 1;
    if (!admin_call(&admin, CLIENT_ANY, API_DESCRIBE_CLUSTER, 0, "listNodes", &request, &cluster) || !admin_check(&admin, cluster.error_code, cluster.error_message)) return false;
    for (int32_t i = 0; i < partition->current_voters_count; i++)
        if (partition->current_voters[i].log_end_offset < last->log_end_offset) last = &partition->current_voters[i];
    int64_t lag_ms = last == quorum->leader ? 0 : quorum->leader->last_caught_up_timestamp >= 0 && last->last_caught_up_timestamp >= 0 ? quorum->leader->last_caught_up_timestamp - last->last_caught_up_timestamp : -1;
    printf("ClusterId:              %.*s\nLeaderId:               %d\nLeaderEpoch:            %d\nHighWatermark:          %lld\nMaxFollowerLag:         %lld\nMaxFollowerLagTimeMs:   %lld\nCurrentVoters:          ",
           (int)cluster.cluster_id.size, (const char *)cluster.cluster_id.data, partition->leader_id, partition->leader_epoch, (long long)partition->high_watermark,
           (long long)(quorum->leader->log_end_offset - last->log_end_offset), (long long)lag_ms);
    print_replicas(quorum, partition->current_voters, partition->current_voters_count);
    printf("\nCurrentObservers:       ");
    print_replicas(quorum, partition->observers, partition->observers_count);
    putchar('\n');
    return true;
}

int quorum_describe_run(struct args *args) {
    static struct quorum quorum;
    bool status = args_has(args, "status"), replication = args_has(args, "replication"), ago = args_has(args, "human-readable");
    if (!has_servers(args)) return 1;
    if (!admin_open(&admin, args)) return admin_end(&admin, false);
    if (status && replication) return admin_end(&admin, admin_fail(&admin, NULL, "Only one of --status or --replication should be specified with describe sub-command"));
    if (!status && !replication) return admin_end(&admin, admin_fail(&admin, NULL, "One of --status or --replication must be specified with describe sub-command"));
    if (status && ago) return admin_end(&admin, admin_fail(&admin, NULL, "The option --human-readable is only supported along with --replication"));
    return admin_end(&admin, find_quorum(&quorum) && (status ? print_status(&quorum) : print_replication(&quorum, ago)));
}

/* ---- add and remove ------------------------------------------------------------------------------------------------------------- */

struct controller {
    int32_t id;
    struct uuid directory;
    struct add_raft_voter_request_listener listeners[LISTENERS_MAX];
    int32_t listener_count;
};

static bool property(const char *name, struct span *out) { return config_values_get(&admin.session.config, span_text(name), out) && out->size > 0; }

/* "NAME://host:port" of a list, by the listener's name. */
static bool find_listener(struct span list, struct span name, struct add_raft_voter_request_listener *out) {
    struct span item;
    while (config_list_next(&list, &item)) {
        if (item.size < name.size + 4 || memcmp(item.data, name.data, name.size) != 0 || memcmp(item.data + name.size, "://", 3) != 0) continue;
        struct span rest = span_of(item.data + name.size + 3, item.size - name.size - 3);
        size_t colon = rest.size;
        while (colon > 0 && rest.data[colon - 1] != ':') colon--;
        int64_t port;
        if (colon == 0 || !config_parse_integer(span_of(rest.data + colon, rest.size - colon), &port) || port < 0 || port > 65535) continue;
        struct span host = span_of(rest.data, colon - 1);
        if (host.size > 1 && host.data[0] == '[') host = span_of(host.data + 1, host.size - 2);
        *out = (struct add_raft_voter_request_listener){.name = name, .host = host.size ? host : SPAN_LITERAL("localhost"), .port = (uint16_t)port};
        return true;
    }
    return false;
}

/* What the new controller's configuration and directory say of it. */
static bool read_controller(struct controller *out) {
    struct span text, names, name, listeners = {0}, advertised = {0};
    int64_t id;
    struct log_dir_meta meta;
    if (!property("node.id", &text)) return admin_fail(&admin, NULL, "node.id not found in configuration file. Is this a valid controller configuration file?");
    if (!config_parse_integer(text, &id) || id > INT32_MAX) return admin_fail(&admin, NULL, "For input string: \"%.*s\"", (int)text.size, (const char *)text.data);
    if (id < 0) return admin_fail(&admin, NULL, "node.id was negative in configuration file. Is this a valid controller configuration file?");
    if (!property("process.roles", &text) || !config_list_contains(text, SPAN_LITERAL("controller")))
        return admin_fail(&admin, NULL, "process.roles did not contain 'controller' in configuration file. Is this a valid controller configuration file?");
    out->id = (int32_t)id;
    bool has_dir = property("metadata.log.dir", &text);
    if (!has_dir && property("log.dirs", &names)) has_dir = config_list_next(&names, &text);
    if (!has_dir) return admin_fail(&admin, NULL, "Neither metadata.log.dir nor log.dirs were found. Is this a valid controller configuration file?");
    const char *dir = cell_span(admin_memory(&admin), text);
    if (log_dir_meta_read(io_files_real(), dir, &meta)) return admin_fail(&admin, NULL, "Unable to read meta.properties from %s", dir);
    if (uuid_is_zero(meta.id)) return admin_fail(&admin, NULL, "No directory id found in %s", dir);
    out->directory = meta.id;
    (void)property("listeners", &listeners);
    (void)property("advertised.listeners", &advertised);
    if (!property("controller.listener.names", &names)) return admin_fail(&admin, NULL, "controller.listener.names was not found. Is this a valid controller configuration file?");
    while (config_list_next(&names, &name) && out->listener_count < LISTENERS_MAX) {
        struct add_raft_voter_request_listener *to = &out->listeners[out->listener_count++];
        if (!find_listener(advertised, name, to) && !find_listener(listeners, name, to))
            return admin_fail(&admin, NULL, "Cannot find information about controller listener name: %.*s", (int)name.size, (const char *)name.data);
    }
    return true;
}

static bool add_controller(const struct controller *controller, bool dry) {
    struct add_raft_voter_request request;
    struct add_raft_voter_response response;
    int tries = 0;
    add_raft_voter_request_init(&request);
    request.cluster_id = (struct span){0}; /* null: whichever it is */
    request.timeout_ms = ADMIN_TIMEOUT_MS;
    request.voter_id = controller->id;
    request.voter_directory_id = controller->directory;
    request.listeners = ARENA_ARRAY(admin_memory(&admin), LISTENERS_MAX, struct add_raft_voter_request_listener);
    if (!request.listeners) return admin_fail_memory(&admin);
    memcpy(request.listeners, controller->listeners, sizeof controller->listeners);
    request.listeners_count = controller->listener_count;
    if (!dry) {
        do
            if (!admin_call(&admin, CLIENT_ANY, API_ADD_RAFT_VOTER, 0, "addRaftVoter", &request, &response)) return false;
        while (admin_again(&admin, response.error_code, &tries));
        if (!admin_check(&admin, response.error_code, response.error_message)) return false;
    }
    printf("%s controller %d with directory id %s and endpoints: ", dry ? "DRY RUN of adding" : "Added", controller->id, directory_text(controller->directory));
    for (int32_t i = 0; i < controller->listener_count; i++) {
        const struct add_raft_voter_request_listener *listener = &controller->listeners[i];
        bool six = memchr(listener->host.data, ':', listener->host.size) != NULL;
        printf("%s%.*s://%s%.*s%s:%u", i ? ", " : "", (int)listener->name.size, (const char *)listener->name.data, six ? "[" : "", (int)listener->host.size, (const char *)listener->host.data, six ? "]" : "", listener->port);
    }
    putchar('\n');
    return true;
}

int quorum_add_controller_run(struct args *args) {
    static struct controller controller;
    if (!has_servers(args)) return 1;
    if (!admin_open(&admin, args)) return admin_end(&admin, false);
    if (!args_has(args, "command-config")) return admin_end(&admin, admin_fail(&admin, NULL, "You must supply the configuration file of the controller you are adding when using add-controller."));
    return admin_end(&admin, read_controller(&controller) && add_controller(&controller, args_has(args, "dry-run")));
}

int quorum_remove_controller_run(struct args *args) {
    static const char *const needed[] = {"controller-id/-i", "controller-directory-id/-d"};
    struct remove_raft_voter_request request;
    struct remove_raft_voter_response response;
    bool dry = args_has(args, "dry-run");
    int tries = 0;
    if (!has_servers(args)) return 1;
    for (size_t i = 0; i < countof(needed); i++)
        if (!args_has(args, i ? "controller-directory-id" : "controller-id")) {
            args_help(args->tool, stderr);
            fprintf(stderr, "kafka-metadata-quorum: error: argument --%s is required\n", needed[i]);
            return 1;
        }
    if (!admin_open(&admin, args)) return admin_end(&admin, false);
    remove_raft_voter_request_init(&request);
    request.cluster_id = (struct span){0};
    request.voter_id = (int32_t)args_number(args, "controller-id");
    const char *directory = args_text(args, "controller-directory-id");
    if (request.voter_id < 0) return admin_end(&admin, admin_fail(&admin, NULL, "Invalid negative --controller-id: %d", request.voter_id));
    if (!uuid_parse(directory, strlen(directory), &request.voter_directory_id))
        return admin_end(&admin, admin_fail(&admin, NULL, "Failed to parse --controller-directory-id: Input string `%s` decoded as %zu bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID",
                                                 directory, strlen(directory) * 3 / 4));
    if (!dry) {
        do
            if (!admin_call(&admin, CLIENT_ANY, API_REMOVE_RAFT_VOTER, 0, "removeRaftVoter", &request, &response)) return admin_end(&admin, false);
        while (admin_again(&admin, response.error_code, &tries));
        if (!admin_check(&admin, response.error_code, response.error_message)) return admin_end(&admin, false);
    }
    printf("%s KRaft controller %d with directory id %s\n", dry ? "DRY RUN of removing " : "Removed ", request.voter_id, directory_text(request.voter_directory_id));
    return admin_end(&admin, true);
}
