/* quorum/peers.c - carries the quorum's calls to other nodes over net's peers: one connection to a node, one request in
 * flight on it, ApiVersions asked on each new connection.
 *
 * A call waits here until its connection has been greeted, because its bytes depend on what the other side speaks.
 */
#include "net/net.h"
#include "quorum/host.h"
#include "wire/header.h"
#include <string.h>

enum { GREETING_VERSION = 3, HOST_MAX = 256 };

struct carried;
struct node {
    struct node *next;
    struct net_peers *peers;
    int32_t id;
    char host[HOST_MAX];
    uint16_t port;
    struct peer *peer;
    bool greeted, closing;
    struct list waiting;               /* calls, until the connection is greeted */
    struct { int16_t min, max; } versions[API_COUNT]; /* max < min: not known there */
    struct carried *greeting;
};

struct net_peers {
    struct quorum_peers base;
    struct shard *shard;
    struct node *nodes;
    uint32_t nodes_count;
    char client_id[32];
    void (*closed)(void *context);
    void *closed_context;
    bool closing;
};

/* A request on its way. */
struct carried {
    struct peer_request request;
    struct node *node;
    struct quorum_call *call;          /* NULL: the greeting */
    struct arena arena;
    struct chain chain;
    int16_t version;
};

static void carried_free(struct carried *carried) {
    struct pool *pool = carried->node->peers->shard->pool;
    arena_destroy(&carried->arena);
    pool_free(pool, carried, sizeof(*carried));
}

static struct carried *carried_new(struct node *node, struct quorum_call *call, const struct wire_api *api, int16_t version, const void *message) {
    struct pool *pool = node->peers->shard->pool;
    struct carried *carried = POOL_NEW(pool, struct carried);
    if (!carried) return NULL;
    carried->node = node;
    carried->call = call;
    carried->version = version;
    arena_init(&carried->arena, pool, 0);
    chain_init(&carried->chain, &carried->arena);
    if (!wire_request_frame(api, version, 0, span_text(node->peers->client_id), message, &carried->chain)) {
        carried_free(carried);
        return NULL;
    }
    chain_consume(&carried->chain, 4); /* the size is the peer's to write */
    carried->request.chain = &carried->chain;
    return carried;
}

/* ---- An answer */

/* The correlation id stands before what is handed over: together they are a frame again. */
static enum err answer_decode(const struct wire_api *api, int16_t version, struct span answer, struct arena *arena, void **out) {
    struct response_header header;
    struct span body;
    enum err err = wire_response_header_decode(api, version, &header, span_of(answer.data - 4, answer.size + 4), arena, &body);
    if (err) return err;
    *out = arena_alloc(arena, api->response->body->size);
    return *out ? wire_decode(api->response, version, *out, body, arena, NULL) : ERR_NO_MEMORY;
}

static void call_done(struct peer_request *request, enum err err, struct span answer, struct slab *slab) {
    struct carried *carried = container_of(request, struct carried, request);
    struct quorum_call *call = carried->call;
    int16_t version = carried->version;
    void *response = NULL;
    (void)slab;
    if (!err) {
        err = answer_decode(call->api, version, answer, call->arena, &response);
        if (err) { /* not what this protocol says: nothing more is understood on that connection */
            peer_disconnect(carried->node->peer);
            err = ERR_CLOSED;
        }
    }
    carried_free(carried);
    quorum_done(call, err, version, response);
}

static void call_send(struct node *node, struct quorum_call *call) {
    int16_t key = call->api->key;
    int16_t version = call->version_max < node->versions[key].max ? call->version_max : node->versions[key].max;
    if (version < call->version_min || version < node->versions[key].min) {
        quorum_done(call, ERR_UNSUPPORTED, 0, NULL);
        return;
    }
    struct carried *carried = carried_new(node, call, call->api, version, call->request);
    if (!carried) {
        quorum_done(call, ERR_AGAIN, 0, NULL);
        return;
    }
    carried->request.done = call_done;
    carried->request.deadline = call->deadline_ms * NS_PER_MS;
    if (peer_send(node->peer, &carried->request)) {
        carried_free(carried);
        quorum_done(call, ERR_AGAIN, 0, NULL);
    }
}

static void end_waiting(struct node *node, enum err err, time_ms overdue_ms) {
    LIST_EACH_SAFE(at, &node->waiting) {
        struct quorum_call *call = LIST_ITEM(at, struct quorum_call, node);
        if (call->deadline_ms > overdue_ms) continue;
        list_remove(&call->node);
        quorum_done(call, err, 0, NULL);
    }
}

/* ---- Greeting */

static void greeting_done(struct peer_request *request, enum err err, struct span answer, struct slab *slab) {
    struct carried *carried = container_of(request, struct carried, request);
    struct node *node = carried->node;
    struct api_versions_response *response = NULL;
    void *decoded = NULL;
    (void)slab;
    node->greeting = NULL;
    if (!err) err = answer_decode(wire_api(API_API_VERSIONS), GREETING_VERSION, answer, &carried->arena, &decoded);
    response = decoded;
    if (err || response->error_code) {
        carried_free(carried);
        if (!node->closing) peer_disconnect(node->peer);
        end_waiting(node, ERR_AGAIN, INT64_MAX);
        return;
    }
    for (uint32_t i = 0; i < API_COUNT; i++) node->versions[i].min = 0, node->versions[i].max = -1;
    for (int32_t i = 0; i < response->api_keys_count; i++) {
        int16_t key = response->api_keys[i].api_key;
        if (key < 0 || key >= API_COUNT) continue;
        node->versions[key].min = response->api_keys[i].min_version;
        node->versions[key].max = response->api_keys[i].max_version;
    }
    carried_free(carried);
    node->greeted = true;
    peer_ready(node->peer);
    for (struct list *at; (at = list_pop(&node->waiting));) call_send(node, LIST_ITEM(at, struct quorum_call, node));
}

static void on_connected(struct peer *peer) {
    struct node *node = peer_user(peer);
    struct api_versions_request request;
    api_versions_request_init(&request);
    request.client_software_name = SPAN_LITERAL("moldau");
    request.client_software_version = SPAN_LITERAL("1");
    struct carried *carried = carried_new(node, NULL, wire_api(API_API_VERSIONS), GREETING_VERSION, &request);
    if (carried) {
        carried->request.done = greeting_done;
        carried->request.greeting = true;
        carried->request.deadline = shard_now(node->peers->shard) + 5 * NS_PER_S;
        node->greeting = carried;
        if (!peer_send(peer, &carried->request)) return;
        node->greeting = NULL;
        carried_free(carried);
    }
    peer_disconnect(peer);
}

static void on_disconnected(struct peer *peer, int error) {
    struct node *node = peer_user(peer);
    (void)error;
    node->greeted = false;
    end_waiting(node, ERR_AGAIN, INT64_MAX);
}

/* ---- Nodes */

static void node_closed(void *context) {
    struct node *node = context;
    struct net_peers *peers = node->peers;
    for (struct node **at = &peers->nodes; *at; at = &(*at)->next) {
        if (*at != node) continue;
        *at = node->next;
        peers->nodes_count--;
        break;
    }
    pool_free(peers->shard->pool, node, sizeof(*node));
    if (!peers->closing || peers->nodes) return;
    void (*closed)(void *) = peers->closed;
    void *closed_context = peers->closed_context;
    pool_free(peers->shard->pool, peers, sizeof(*peers));
    if (closed) closed(closed_context);
}

static void node_close(struct node *node) {
    if (node->closing) return;
    node->closing = true;
    end_waiting(node, ERR_CLOSED, INT64_MAX);
    peer_close(node->peer, node_closed, node);
}

static struct node *node_open(struct net_peers *peers, const struct quorum_call *call) {
    if (call->host.size >= HOST_MAX || peers->nodes_count >= 2 * RAFT_PEERS_MAX) return NULL;
    struct node *node = POOL_NEW(peers->shard->pool, struct node);
    if (!node) return NULL;
    node->peers = peers;
    node->id = call->to;
    node->port = call->port;
    memcpy(node->host, call->host.data, call->host.size);
    list_init(&node->waiting);
    struct peer_options options = {.host = node->host, .port = node->port, .in_flight_max = 1, .backoff_min_ms = 50, .backoff_max_ms = 500,
                                   .connect_ms = 2000, .on_connected = on_connected, .on_disconnected = on_disconnected, .user = node};
    if (peer_open(&node->peer, peers->shard, &options)) {
        pool_free(peers->shard->pool, node, sizeof(*node));
        return NULL;
    }
    node->next = peers->nodes;
    peers->nodes = node;
    peers->nodes_count++;
    return node;
}

/* A node that moved is another connection. */
static struct node *node_for(struct net_peers *peers, const struct quorum_call *call) {
    for (struct node *node = peers->nodes; node; node = node->next) {
        if (node->id != call->to || node->closing) continue;
        if (node->port == call->port && span_equal(span_text(node->host), call->host)) return node;
        node_close(node);
        break;
    }
    return node_open(peers, call);
}

static void peers_send(struct quorum_peers *base, struct quorum_call *call) {
    struct net_peers *peers = container_of(base, struct net_peers, base);
    struct node *node = peers->closing ? NULL : node_for(peers, call);
    if (!node) {
        quorum_done(call, ERR_AGAIN, 0, NULL);
        return;
    }
    end_waiting(node, ERR_TIMEOUT, shard_now(peers->shard) / NS_PER_MS);
    if (node->greeted) {
        call_send(node, call);
        return;
    }
    list_push(&node->waiting, &call->node);
    peer_connect(node->peer);
}

static void peers_disconnect(struct quorum_peers *base) {
    struct net_peers *peers = container_of(base, struct net_peers, base);
    for (struct node *node = peers->nodes; node; node = node->next) {
        if (node->closing) continue;
        end_waiting(node, ERR_CLOSED, INT64_MAX);
        if (peer_state_of(node->peer) == PEER_READY && node->greeted) peer_disconnect(node->peer);
    }
}

enum err quorum_peers_open(struct quorum_peers **out, struct shard *shard, broker_id node) {
    struct net_peers *peers = POOL_NEW(shard->pool, struct net_peers);
    struct text text;
    if (!peers) return ERR_NO_MEMORY;
    peers->base = (struct quorum_peers){.send = peers_send, .disconnect = peers_disconnect};
    peers->shard = shard;
    text_init(&text, peers->client_id, sizeof(peers->client_id));
    text_add(&text, "raft-client-%d", node);
    *out = &peers->base;
    return ERR_NONE;
}

void quorum_peers_close(struct quorum_peers *base, void (*closed)(void *context), void *context) {
    struct net_peers *peers = container_of(base, struct net_peers, base);
    struct node *next;
    peers->closing = true;
    peers->closed = closed;
    peers->closed_context = context;
    if (!peers->nodes) {
        pool_free(peers->shard->pool, peers, sizeof(*peers));
        if (closed) closed(context);
        return;
    }
    for (struct node *node = peers->nodes; node; node = next) {
        next = node->next;
        node_close(node);
    }
}
