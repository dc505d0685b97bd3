#include "sim/quorum_node.h"
#include "base/assert.h"
#include "log/log.h"
#include "wire/header.h"
#include <stdio.h>
#include <string.h>

/* ---- where they are, and what their settings say */

struct uuid quorum_node_directory(uint32_t number) {
    struct uuid id;
    memset(id.bytes, (int)(0x61 + number), sizeof id.bytes);
    return id;
}

static struct raft_listener listener_of(uint32_t number, char host[32]) {
    snprintf(host, 32, "10.0.0.%u", number + 1);
    return (struct raft_listener){SPAN_LITERAL("CONTROLLER"), span_text(host), QUORUM_PORT};
}

void quorum_node_voters(uint32_t count, struct raft_voters *out) {
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < count; i++) {
        char host[32];
        struct raft_listener at = listener_of(i, host);
        bool added = raft_voters_add(out, (struct raft_key){(int32_t)i + 1, quorum_node_directory(i)}, 0, 1, &at, 1);
        assert(added);
    }
}

enum err quorum_node_format(const struct quorum_nodes *nodes, uint32_t number, struct io_files files, struct pool *pool, const struct span *values, uint32_t count) {
    static struct raft_voters voters;
    enum err err = log_dir_format(files, nodes->path, nodes->cluster_id, (broker_id)number + 1, quorum_node_directory(number), 1000);
    if (err || number >= nodes->voters) return err;
    quorum_node_voters(nodes->voters, &voters);
    return quorum_format(files, pool, nodes->path, nodes->dynamic ? 1 : 0, nodes->dynamic ? &voters : NULL, values, count, 1000);
}

void quorum_node_settings(const struct quorum_nodes *nodes, uint32_t number, struct quorum_node_settings *settings, struct quorum_options *options) {
    char host[32];
    memset(settings, 0, sizeof *settings);
    assert(nodes->voters <= QUORUM_NODES_MAX);
    bool added = raft_listeners_add(&settings->listeners, listener_of(number, host));
    assert(added);
    size_t size = 0;
    for (uint32_t i = 0; i < nodes->voters; i++) {
        if (!nodes->dynamic)
            size += (size_t)snprintf(settings->voters + size, sizeof settings->voters - size, "%s%u@10.0.0.%u:%d", i ? "," : "", i + 1, i + 1, QUORUM_PORT);
        listener_of(i, settings->bootstrap[i].host);
        settings->bootstrap[i].port = QUORUM_PORT;
    }
    options->node = (broker_id)number + 1;
    options->can_vote = number < nodes->voters;
    options->listeners = &settings->listeners;
    options->default_listener = "CONTROLLER";
    options->voters = settings->voters;
    options->bootstrap = settings->bootstrap;
    options->bootstrap_count = nodes->dynamic ? nodes->voters : 0;
}

/* ---- the listener */

struct served {
    struct quorum_node_server *server;
    struct quorum_request request;
    struct arena arena;
    struct pool *pool;
    struct conn_slot *slot;
    struct slab *slab;
    struct chain chain;
    int32_t correlation;
};

static void served_gone(struct conn_slot *slot) {
    struct served *served = slot_user(slot);
    slab_drop(served->slab);
    arena_destroy(&served->arena);
    pool_free(served->pool, served, sizeof *served);
}

static void served_answer(struct quorum_request *request, void *response) {
    struct served *served = container_of(request, struct served, request);
    assert(response);
    if (served->server->on_answer) served->server->on_answer(served->server, request->api, request->request, response);
    chain_init(&served->chain, &served->arena);
    bool framed = wire_response_frame(request->api, request->version, served->correlation, response, &served->chain);
    assert(framed);
    chain_consume(&served->chain, 4);
    conn_answer(served->slot, &served->chain, served_gone);
}

static void *api_versions(struct arena *arena) {
    struct api_versions_response *out = ARENA_NEW(arena, struct api_versions_response);
    api_versions_response_init(out);
    out->api_keys = api_versions_response_api_version_array(arena, API_COUNT);
    for (int16_t key = 0; key < API_COUNT; key++) {
        const struct wire_api *api = wire_api(key);
        if (!api->request || !api->on_controller) continue;
        struct api_versions_response_api_version *row = &out->api_keys[out->api_keys_count++];
        row->api_key = key;
        row->min_version = api->version_min;
        row->max_version = (int16_t)(api->version_max - (api->is_unstable ? 1 : 0));
    }
    out->supported_features = api_versions_response_supported_feature_key_array(arena, 1);
    out->supported_features_count = 1;
    out->supported_features[0].name = SPAN_LITERAL("kraft.version");
    out->supported_features[0].max_version = 1;
    return out;
}

static enum frame_verdict on_frame(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    struct quorum_node_server *server = conn_listener_context(conn);
    struct pool *pool = conn_shard(conn)->pool;
    struct served *served = POOL_NEW(pool, struct served);
    struct request_header header;
    struct span body;
    assert(served);
    served->server = server;
    served->pool = pool;
    served->slot = slot;
    served->slab = slab_hold(slab);
    arena_init(&served->arena, pool, 0);
    slot_set_user(slot, served);
    enum err err = wire_request_header_decode(&header, frame, &served->arena, &body);
    SIM_CHECK(server->sim, err == ERR_NONE, "wire", "a request cannot be read: %s", err_name(err));
    const struct wire_api *api = wire_api(header.request_api_key);
    void *request = arena_alloc(&served->arena, api->request->body->size);
    err = wire_decode(api->request, header.request_api_version, request, body, &served->arena, NULL);
    SIM_CHECK(server->sim, err == ERR_NONE, "wire", "a %s cannot be decoded: %s", api->name, err_name(err));
    served->correlation = header.correlation_id;
    served->request = (struct quorum_request){.api = api, .version = header.request_api_version, .request = request,
                                              .listener = SPAN_LITERAL("CONTROLLER"), .arena = &served->arena, .answer = served_answer};
    if (server->on_asked) server->on_asked(server, api, request);
    if (api->key == API_API_VERSIONS) served_answer(&served->request, api_versions(&served->arena));
    else quorum_request(server->quorum, &served->request);
    return FRAME_TAKEN;
}

static void on_closed(struct conn *conn, enum conn_end why) {
    (void)conn;
    (void)why;
}

const struct conn_owner quorum_node_conns = {.on_frame = on_frame, .on_closed = on_closed};
