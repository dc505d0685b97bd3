#include "server/server.h"
#include "base/random.h"
#include "controller/controller.h"
#include "quorum/quorum.h"
#include "server/overrides.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SHUTDOWN_MS = 5000, QUORUM_STOP_MS = 1000, CONNECTIONS_GRACE_MS = 1000, MAILBOX_MESSAGES = 1024, WHY_BYTES = 512,
       LISTEN_ATTEMPTS = 100, LISTEN_AGAIN_MS = 20, STORE_FILES_MAX = 2048, STORE_FILES_MIN = 16, STORE_LOGS_MAX = 1024, OTHER_DESCRIPTORS = 64 };

/* What a shard has, and its way through the end: told by message, tells by message. */
struct shard_part {
    struct message message;
    struct server *server;
    struct shard *shard;
    struct log_store *store;
    struct net *net;
    struct broker *broker;
    struct log_wait store_wait;
};

enum server_state { SERVER_STARTING, SERVER_RUNNING, SERVER_LEAVING, SERVER_CLOSING_BROKERS, SERVER_CLOSING_QUORUM, SERVER_CLOSING_STORES, SERVER_STOPPED };

struct server {
    struct server_options options;
    struct pool *pool;
    struct broker_node node;
    struct log_dirs *dirs;
    struct shard_group *group;
    struct shard_part parts[SHARDS_MAX];
    uint32_t shards;
    struct listener *listeners[LISTENERS_MAX];
    struct admission *admission, *controllers; /* to the brokers' listeners, to the controller's */
    struct overrides *overrides;
    struct meta_follow *follow;
    struct quorum *quorum;
    struct controller *controller;
    struct image_endpoint endpoints[LISTENERS_MAX];
    struct registration *registration;
    enum server_state state;
    uint32_t waiting;           /* shards that are not through with the step */
    bool is_unclean;            /* something failed: no clean-shutdown mark  */
    char why[WHY_BYTES];
};

static void trace(struct server *server, const char *line) {
    if (server->options.trace) server->options.trace(line);
}

/* ---- stopping ----------------------------------------------------------------------------------------------------------- */

/* Every shard is told, and runs `there` on its own thread; the last to come back goes on with `then`. */
static void all_shards(struct server *server, void (*there)(struct shard *, struct message *)) {
    server->waiting = server->shards;
    for (uint32_t i = 0; i < server->shards; i++) {
        server->parts[i].message.run = there;
        shard_send(server->parts[0].shard, i, &server->parts[i].message);
    }
}

static void stopped(void *context) {
    struct server *server = context;
    server->state = SERVER_STOPPED;
    if (server->options.on_stopped) server->options.on_stopped(server->options.context, !server->is_unclean, server->why[0] ? server->why : NULL);
}

static void stores_closed(struct server *server) {
    broker_epoch epoch = server->registration ? registration_epoch(server->registration) : -1;
    log_dirs_close(server->dirs, server->options.files, !server->is_unclean, epoch);
    server->dirs = NULL;
    if (overrides_stop(server->overrides, stopped)) stopped(server); /* a name may still be looked up */
}

static void store_is_home(struct shard *shard, struct message *message) {
    struct server *server = container_of(message, struct shard_part, message)->server;
    if (--server->waiting == 0) stores_closed(server);
}

static void store_stopped(struct log_wait *wait, enum err err) {
    struct shard_part *part = container_of(wait, struct shard_part, store_wait);
    if (err) part->server->is_unclean = true;
    part->message.run = store_is_home;
    shard_send(part->shard, 0, &part->message);
}

static void store_stops(struct shard *shard, struct message *message) {
    struct shard_part *part = container_of(message, struct shard_part, message);
    part->store_wait.done = store_stopped;
    enum err err = log_store_stop(part->store, &part->store_wait);
    if (err != ERR_AGAIN) store_stopped(&part->store_wait, err);
}

static void quorum_stopped(void *context) {
    struct server *server = context;
    server->state = SERVER_CLOSING_STORES;
    all_shards(server, store_stops);
}

static void broker_is_home(struct shard *shard, struct message *message) {
    struct server *server = container_of(message, struct shard_part, message)->server;
    if (--server->waiting > 0) return;
    server->state = SERVER_CLOSING_QUORUM;
    meta_follow_stop(server->follow);
    quorum_stop(server->quorum, QUORUM_STOP_MS, quorum_stopped, server);
}

static void net_stopped(void *context) {
    struct shard_part *part = context;
    part->message.run = broker_is_home;
    shard_send(part->shard, 0, &part->message);
}

static void broker_stops(struct shard *shard, struct message *message) {
    struct shard_part *part = container_of(message, struct shard_part, message);
    broker_stop(part->broker);
    net_stop(part->net, CONNECTIONS_GRACE_MS * NS_PER_MS, net_stopped, part);
}

static void left(void *context) {
    struct server *server = context;
    server->state = SERVER_CLOSING_BROKERS;
    all_shards(server, broker_stops);
}

void server_stop(struct server *server) {
    if (server->state >= SERVER_LEAVING) return;
    server->state = SERVER_LEAVING;
    for (uint32_t i = 0; i < server->node.listener_count; i++) {
        if (server->listeners[i]) listener_close(server->listeners[i], NULL, NULL);
        server->listeners[i] = NULL;
    }
    registration_leave(server->registration, SHUTDOWN_MS, left, server);
}

/* The metadata go no further on this node: better to stop it than to serve what is no longer so. */
static void failed(void *context, const char *why) {
    struct server *server = context;
    if (!server->why[0]) { /* of two who follow the metadata the second says the same */
        snprintf(server->why, sizeof server->why, "%s", why);
        trace(server, why);
    }
    server->is_unclean = true;
    server_stop(server);
}

/* ---- running -------------------------------------------------------------------------------------------------------------- */

/* INT64_MIN, which is nothing set, and Kafka's largest are no limit. */
static uint32_t limit_of(int64_t number) { return number < 0 || number >= INT32_MAX ? UINT32_MAX : (uint32_t)number; }

/* What of the settings on connections is so now; a listener of the controller has the same limits, counted apart. */
static struct admission_limits limits_now(struct server *server, const struct image *image) {
    const struct settings *settings = server->options.settings;
    struct config_view view = {.image = image, .values = settings->values, .broker = settings->node};
    const struct address_overrides *overrides = overrides_now(server->overrides);
    struct admission_limits limits = {.overrides = overrides->entries, .override_count = overrides->count, .sockets_max = UINT32_MAX};
    int64_t most = config_number(&view, KEY_max_connections), each = config_number(&view, KEY_max_connections_per_ip);
    int64_t rate = config_number(&view, KEY_max_connection_creation_rate);
    limits.connections_max = limit_of(most);
    limits.per_address_max = limit_of(each);
    limits.rate_max = limit_of(rate);
    return limits;
}

/* Half of the descriptors are the logs'; of the rest some are for what the process has besides. */
static uint32_t files_max(const struct server *server) {
    uint64_t most = server->options.descriptors_max / 2 / server->shards;
    return server->options.descriptors_max == 0 || most > STORE_FILES_MAX ? STORE_FILES_MAX : most < STORE_FILES_MIN ? STORE_FILES_MIN : (uint32_t)most;
}

static uint32_t sockets_max(const struct server *server) {
    uint64_t all = server->options.descriptors_max, others = (uint64_t)files_max(server) * server->shards + OTHER_DESCRIPTORS;
    if (all == 0 || all > others + UINT32_MAX) return UINT32_MAX;
    return all > others + ADMISSION_KEPT ? (uint32_t)(all - others) : ADMISSION_KEPT + 1;
}

static void set_limits(struct server *server, const struct image *image) {
    struct admission_limits limits = limits_now(server, image);
    admission_set_limits(server->controllers, &limits);
    limits.sockets_max = sockets_max(server);
    admission_set_limits(server->admission, &limits);
    struct config_view view = {.image = image, .values = server->options.settings->values, .broker = server->node.id};
    for (uint32_t i = 0; i < server->node.listener_count; i++) {
        const char *name = server->node.listeners[i].name;
        if (server->listeners[i])
            listener_set_limits(server->listeners[i], limit_of(config_listener_number(&view, name, KEY_max_connections)),
                                limit_of(config_listener_number(&view, name, KEY_max_connection_creation_rate)));
    }
}

/* Names among them are known by now. */
static void overrides_changed(void *context) {
    struct server *server = context;
    if (server->state < SERVER_CLOSING_QUORUM) set_limits(server, controller_image(server->controller));
}

static void overrides_wrong(void *context, const char *line) { trace(context, line); }

static void on_image(void *context, const struct image *image) {
    struct server *server = context;
    struct config_view view = {.image = image, .values = server->options.settings->values, .broker = server->node.id};
    overrides_set(server->overrides, config_text(&view, KEY_max_connections_per_ip_overrides, NULL));
    set_limits(server, image);
    registration_image(server->registration, image);
}

static const struct image *committed(void *context) {
    return controller_image(((struct server *)context)->controller);
}

/* The end of the metadata log was not whole, or somebody else's: what that was is kept, and told. */
static void tell_cut(struct server *server) {
    const struct log_report *report = quorum_log_report(server->quorum);
    char line[WHY_BYTES];
    if (!report || report->cut_at < 0) return;
    snprintf(line, sizeof line, "the metadata log was cut at offset %lld: %llu bytes behind it were no whole batches that fit; they are kept in moldau.cut-%020lld",
             (long long)report->cut_at, (unsigned long long)report->cut_bytes, (long long)report->cut_at);
    trace(server, line);
}

static void tell_metadata_log(struct server *server) {
    const struct log_report *report = quorum_log_report(server->quorum);
    char line[WHY_BYTES];
    if (!report || report->created) return;
    snprintf(line, sizeof line, "the metadata log was opened: %llu bytes from offset %lld on were verified in %u us",
             (unsigned long long)report->scanned_bytes, (long long)report->recovery_point, report->time_us);
    trace(server, line);
}

static void on_serving(void *context) {
    struct server *server = context;
    if (server->state != SERVER_STARTING) return;
    server->state = SERVER_RUNNING;
    tell_metadata_log(server);
    tell_cut(server);
    if (server->options.on_ready) server->options.on_ready(server->options.context);
}

/* A broker's call while the controller of this process carries it out: in the call itself. */
struct carried {
    struct controller_request request;
    struct control_call *call;
};

static void decided(struct controller_request *request, enum kafka_error error) {
    struct control_call *call = container_of(request, struct carried, request)->call;
    call->error = error;
    call->done(call);
}

/* One of raft's requests, in the call's arena until the quorum has answered. */
struct asked {
    struct quorum_request request;
    struct control_call *call;
};

static void quorum_answered(struct quorum_request *request, void *response) {
    struct control_call *call = container_of(request, struct asked, request)->call;
    call->response = response;
    call->records = &request->chain;
    call->done(call);
}

static void ask_quorum(struct server *server, struct control_call *call) {
    struct asked *asked = ARENA_NEW(call->arena, struct asked);
    call->response = NULL;
    if (!asked) {
        call->done(call);
        return;
    }
    asked->call = call;
    asked->request = (struct quorum_request){.api = call->api, .version = call->version, .request = call->request,
                                             .listener = call->listener, .arena = call->arena, .answer = quorum_answered};
    chain_init(&asked->request.chain, call->arena);
    quorum_request(server->quorum, &asked->request);
}

static void control_call(void *self, struct control_call *call) {
    struct server *server = self;
    if (quorum_serves(call->api->key)) {
        ask_quorum(server, call);
        return;
    }
    struct carried *carried = (struct carried *)(void *)call->held;
    static_assert(sizeof *carried <= sizeof call->held, "room for the controller's own");
    carried->call = call;
    carried->request = (struct controller_request){.api_key = call->api->key, .version = call->version, .request = call->request,
                                                   .response = call->response, .arena = call->arena, .former_is_gone = call->listener.data == NULL, .done = decided};
    if (server->state >= SERVER_CLOSING_QUORUM || !controller_serves(call->api->key)) {
        never("asked of a controller that is closed, or does not serve it");
    }
    controller_call(server->controller, &carried->request);
}

static int32_t active_controller(void *self) {
    struct server *server = self;
    return quorum_leader(server->quorum);
}

/* ---- starting --------------------------------------------------------------------------------------------------------------- */

static enum err open_dirs(struct server *server, struct text *why) {
    const struct settings *settings = server->options.settings;
    const char *paths[LOG_DIRS_MAX];
    char sentence[WHY_BYTES] = "";
    for (uint32_t i = 0; i < settings->log_dir_count; i++) paths[i] = settings->log_dirs[i];
    struct log_dirs_options options = {.paths = paths, .count = settings->log_dir_count, .metadata_path = settings->metadata_dir,
                                       .node = settings->node, .pool = server->pool, .disk_reserve_bytes = settings->disk_reserve_bytes};
    struct random random;
    uint64_t seed;
    if (settings->log_dir_count > 1) { /* one that is empty, beside a formatted one, becomes part of the node: it gets an id */
        struct io *io = server->options.ios[0];
        io_random(io, &seed, sizeof seed);
        random_seed(&random, seed);
        options.random = &random;
        options.now_ms = io_wall(io);
    }
    enum err err = log_dirs_open(&server->dirs, server->options.files, &options, sentence, sizeof sentence);
    if (err) text_add(why, "%s", sentence);
    return err;
}

static void read_node(struct server *server) {
    const struct settings *settings = server->options.settings;
    struct broker_node *node = &server->node;
    struct config_view view = {.values = settings->values, .broker = settings->node};
    node->id = settings->node;
    snprintf(node->cluster_id, sizeof node->cluster_id, "%s", log_dirs_cluster_id(server->dirs));
    memcpy(node->listeners, settings->listeners, sizeof node->listeners);
    node->listener_count = settings->listener_count;
    node->config = settings->values;
    node->dirs = server->dirs;
    node->group = server->group;
    node->replica_lag_ms_max = config_number(&view, KEY_replica_lag_time_max_ms);
    node->page_cache = settings->page_cache;
    node->trace = server->options.trace;
    node->protocol = server->options.protocol;
    node->log_level = 2;
    node->num_partitions = (int32_t)config_number(&view, KEY_num_partitions);
    node->default_replication = (int32_t)config_number(&view, KEY_default_replication_factor);
    node->offsets_partitions = (int32_t)config_number(&view, KEY_offsets_topic_num_partitions);
    node->offsets_replication = (int32_t)config_number(&view, KEY_offsets_topic_replication_factor);
    snprintf(node->offsets_segment_bytes, sizeof node->offsets_segment_bytes, "%lld", (long long)config_number(&view, KEY_offsets_topic_segment_bytes));
    node->request_bytes_max = config_number(&view, KEY_socket_request_max_bytes);
    node->fetch_bytes_max = config_number(&view, KEY_fetch_max_bytes);
    node->fetch_sessions_max = (int32_t)config_number(&view, KEY_max_incremental_fetch_session_cache_slots);
    node->auto_create = config_flag(&view, KEY_auto_create_topics_enable);
    node->delete_enabled = config_flag(&view, KEY_delete_topic_enable);
    node->unstable_apis = config_flag(&view, KEY_unstable_api_versions_enable);
    struct random random;
    uint64_t seed;
    io_random(server->parts[0].shard->io, &seed, sizeof seed);
    random_seed(&random, seed);
    node->incarnation = uuid_random(&random);
}

static enum err open_shards(struct server *server) {
    struct config_view view = {.values = server->options.settings->values, .broker = server->node.id};
    uint32_t producers_max = (uint32_t)config_number(&view, KEY_moldau_producer_ids_max);
    uint32_t files = files_max(server);
    struct log_store_options store = {.open_files_max = files, .open_logs_max = files < STORE_LOGS_MAX ? files : STORE_LOGS_MAX, /* each holds one */
                                      .producers_max = producers_max > server->shards ? producers_max / server->shards : 1};
    store_settings_read(&store, &view, server->shards, log_dirs_count(server->dirs));
    struct net_limits limits = {.frame_bytes_max = (uint32_t)server->node.request_bytes_max, .idle_ms = config_number(&view, KEY_connections_max_idle_ms)};
    if (server->options.shard_pool_bytes) limits.incomplete_bytes_max = server->options.shard_pool_bytes / 4;
    int64_t queued = config_number(&view, KEY_queued_max_request_bytes);
    if (queued > 0 && (limits.incomplete_bytes_max == 0 || (size_t)queued / server->shards < limits.incomplete_bytes_max))
        limits.incomplete_bytes_max = (size_t)queued / server->shards + 1;
    for (uint32_t i = 0; i < server->shards; i++) {
        struct shard_part *part = &server->parts[i];
        enum err err = log_store_open(&part->store, part->shard, server->dirs, &store);
        if (err || (err = net_open(&part->net, part->shard, &limits))) return err;
        struct broker_options broker = {.shard = part->shard, .node = &server->node, .store = part->store};
        if ((err = broker_open(&part->broker, &broker))) return err;
    }
    return ERR_NONE;
}

static enum err open_listeners(struct server *server, struct text *why) {
    struct config_view view = {.values = server->options.settings->values, .broker = server->node.id};
    struct overrides_options overrides = {.shard = server->parts[0].shard, .first = &server->options.settings->overrides,
                                          .text = config_text(&view, KEY_max_connections_per_ip_overrides, NULL),
                                          .on_change = overrides_changed, .on_trouble = overrides_wrong, .context = server};
    enum err err = overrides_open(&server->overrides, &overrides);
    if (err) return err;
    struct admission_limits limits = limits_now(server, NULL);
    err = admission_open(&server->controllers, server->parts[0].shard, &limits);
    limits.sockets_max = sockets_max(server);
    if (err || (err = admission_open(&server->admission, server->parts[0].shard, &limits))) return err;
    for (uint32_t i = 0; i < server->node.listener_count; i++) {
        struct broker_listener *listener = &server->node.listeners[i];
        struct listener_options options = {.address = listener->address, .owner = &broker_connections, .context = listener,
                                           .admission = listener->is_controller ? server->controllers : server->admission,
                                           .is_protected = listener->is_protected};
        options.backlog = (int)config_number(&view, KEY_socket_listen_backlog_size);
        int result = listener_open(&server->listeners[i], server->parts[0].shard, &options);
        /* The kernel closes the sockets of a killed process's ring some time after the process is gone: a node that is
         * started again at once finds its own port in use for that long. */
        struct io *io = server->parts[0].shard->io;
        for (int attempt = 0; result == -EADDRINUSE && attempt < LISTEN_ATTEMPTS; attempt++) {
            io_turn(io, io_now_precise(io) + LISTEN_AGAIN_MS * NS_PER_MS);
            result = listener_open(&server->listeners[i], server->parts[0].shard, &options);
        }
        if (result < 0) {
            char address[IO_ADDRESS_TEXT_MAX];
            io_address_text(&listener->address, address);
            text_add(why, "listeners: cannot listen on %s for %s: %s", address, listener->name, strerror(-result));
            return err_from_errno(result) == ERR_NONE ? ERR_IO : err_from_errno(result);
        }
        listener->address = *listener_address(server->listeners[i]);
        if (listener->port == 0) listener->port = listener->address.port;
    }
    set_limits(server, NULL);
    return ERR_NONE;
}

static enum err open_quorum(struct server *server, struct text *why) {
    const struct settings *settings = server->options.settings;
    struct config_view view = {.values = settings->values, .broker = server->node.id};
    struct shard *shard = server->parts[0].shard;
    struct meta_follow_options follow = {.shard = shard, .node = &server->node, .on_image = on_image, .on_failed = failed,
        .committed = committed, .context = server};
    struct registration_options registration = {.shard = shard, .node = &server->node, .rack = settings->rack,
        .heartbeat_ms = config_number(&view, KEY_broker_heartbeat_interval_ms), .previous_epoch = log_dirs_previous_epoch(server->dirs),
        .on_serving = on_serving, .context = server};
    enum err err = meta_follow_open(&server->follow, &follow);
    if (err || (err = registration_open(&server->registration, &registration))) return err;
    struct raft_listeners listeners = {0};
    uint32_t endpoints = 0;
    for (uint32_t i = 0; i < server->node.listener_count; i++) {
        const struct broker_listener *listener = &server->node.listeners[i];
        if (!listener->is_controller) continue;
        server->endpoints[endpoints++] = (struct image_endpoint){.name = span_text(listener->name), .host = span_text(listener->host), .port = listener->port};
        if (!raft_listeners_add(&listeners, (struct raft_listener){.name = span_text(listener->name), .host = span_text(listener->host), .port = listener->port}))
            return ERR_LIMIT;
    }
    struct controller_options controller = {.shard = shard, .node = settings->node, .cluster_id = span_text(server->node.cluster_id),
        .config = settings->values, .incarnation = server->node.incarnation, .endpoints = server->endpoints, .endpoint_count = endpoints,
        .on_failed = failed, .context = server};
    if ((err = controller_open(&server->controller, &controller))) return err;
    char sentence[WHY_BYTES] = "";
    struct quorum_options quorum = {
        .shard = shard, .store = server->parts[0].store, .dir = log_dirs_metadata(server->dirs), .cluster_id = server->node.cluster_id,
        .node = settings->node, .can_vote = settings->is_controller, .listeners = &listeners, .default_listener = settings->controller_listener,
        .voters = settings->voters,
        .election_timeout_ms = (int32_t)config_number(&view, KEY_controller_quorum_election_timeout_ms),
        .fetch_timeout_ms = (int32_t)config_number(&view, KEY_controller_quorum_fetch_timeout_ms),
        .election_backoff_max_ms = (int32_t)config_number(&view, KEY_controller_quorum_election_backoff_max_ms),
        .request_timeout_ms = (int32_t)config_number(&view, KEY_controller_quorum_request_timeout_ms),
        .retry_backoff_ms = (int32_t)config_number(&view, KEY_controller_quorum_retry_backoff_ms),
        .snapshot_bytes = (uint64_t)config_number(&view, KEY_metadata_log_max_record_bytes_between_snapshots),
        .snapshot_interval_ms = config_number(&view, KEY_metadata_log_max_snapshot_interval_ms),
        .segment_bytes = (uint32_t)config_number(&view, KEY_metadata_log_segment_bytes),
        .retention_bytes = config_number(&view, KEY_metadata_max_retention_bytes),
        .retention_ms = config_number(&view, KEY_metadata_max_retention_ms),
        .listener = {controller_listener(server->controller), meta_follow_listener(server->follow)},
    };
    if (quorum.snapshot_interval_ms == 0) quorum.snapshot_interval_ms = -1;
    if (quorum.retention_bytes == 0) quorum.retention_bytes = 1; /* 0 is "by default" there */
    if (quorum.retention_ms == 0) quorum.retention_ms = 1;
    err = quorum_open(&server->quorum, &quorum, sentence, sizeof sentence);
    if (err) text_add(why, "%s", sentence);
    else {
        controller_start(server->controller, server->quorum);
        server->node.control = (struct broker_control){.self = server, .call = control_call, .active_controller = active_controller};
    }
    return err;
}

enum err server_open(struct server **out, const struct server_options *options, struct text *why) {
    struct server *server = POOL_NEW(options->pool, struct server);
    if (!server) {
        text_add(why, "%s", err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    server->options = *options;
    server->pool = options->pool;
    server->shards = options->shards;
    struct shard_options shards = {.count = options->shards, .ios = options->ios, .pool_bytes = options->shard_pool_bytes,
                                   .mailbox_messages = MAILBOX_MESSAGES, .pools = options->shard_pools};
    enum err err = open_dirs(server, why);
    if (err || (err = shard_group_open(&server->group, &shards))) goto fail;
    for (uint32_t i = 0; i < server->shards; i++) {
        server->parts[i].server = server;
        server->parts[i].shard = shard_at(server->group, i);
    }
    read_node(server);
    if ((err = open_shards(server))) goto fail;
    if ((err = open_listeners(server, why))) goto fail;
    if ((err = open_quorum(server, why))) goto fail;
    registration_start(server->registration);
    *out = server;
    return ERR_NONE;
fail:
    if (why->size == 0) text_add(why, "%s", err_text(err));
    /* The process ends with this: what was opened goes with it, and nothing was promised to anybody yet. */
    if (server->dirs) log_dirs_close(server->dirs, options->files, log_dirs_were_clean(server->dirs), log_dirs_previous_epoch(server->dirs));
    return err;
}

struct shard_group *server_shards(struct server *server) {
    return server->group;
}

struct broker_node *server_node(struct server *server) {
    return &server->node;
}

void server_sample(void *self, struct control_sample *out) {
    const struct server *server = self;
    out->is_stopping = server->state >= SERVER_LEAVING;
    out->refused_by_address = admission_counts_of(server->admission)->refused_by_address + admission_counts_of(server->controllers)->refused_by_address;
    if (server->state >= SERVER_CLOSING_QUORUM) return;
    const struct image *image = controller_image(server->controller);
    out->raft_leader = quorum_leader(server->quorum);
    out->raft_epoch = quorum_epoch(server->quorum);
    out->raft_high_watermark = quorum_high_watermark(server->quorum);
    out->raft_end = quorum_end(server->quorum);
    out->controller_is_active = controller_is_active(server->controller);
    out->controller_applied = image ? image_position(image).offset - 1 : -1;
}

void server_free(struct server *server) {
    if (!server) return;
    registration_free(server->registration);
    controller_close(server->controller);
    quorum_free(server->quorum);
    meta_follow_free(server->follow);
    for (uint32_t i = 0; i < server->shards; i++) {
        broker_free(server->parts[i].broker);
        net_close(server->parts[i].net);
        log_store_free(server->parts[i].store);
    }
    admission_close(server->admission);
    admission_close(server->controllers);
    overrides_free(server->overrides);
    shard_group_close(server->group);
    pool_free(server->pool, server, sizeof *server);
}
