#include "client/client.h"
#include <stdio.h>
#include <string.h>

enum { KEYS_MAX = 128, RETRY_MS = 50, DEFAULT_CALL_MS = 60000, BOOTSTRAP_MAX = 32, GREETING_MS = 10000 };

struct connection {
    struct list node;
    struct client *client;
    struct peer *peer;
    int32_t broker;              /* -1: a bootstrap server */
    char host[256];
    uint16_t port;
    bool has_versions, is_closed;
    struct { int16_t min, max; bool known; } versions[KEYS_MAX];
    struct peer_request greeting;
    struct arena arena;          /* of the greeting */
    struct chain chain;
    struct list waiting;         /* client_call.node: until it is ready */
};

struct client {
    struct shard *shard;
    struct pool *pool;
    char client_id[128];
    time_ms call_ms;
    struct list connections;
    struct list calls;           /* client_call.node: nowhere yet, between attempts */
    uint32_t bootstrap_count, next_bootstrap, open_connections;
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
};

static void attempt(struct client_call *call);

static void finish(struct client_call *call, enum err err) {
    timer_cancel(call->client->shard, &call->timer);
    list_remove(&call->node);
    chain_clear(&call->chain);
    call->err = err;
    call->connection = NULL;
    call->done(call);
}

static void again(struct timer *timer) {
    struct client_call *call = container_of(timer, struct client_call, timer);
    if (shard_now(call->client->shard) >= call->deadline) finish(call, ERR_TIMEOUT);
    else attempt(call);
}

static void later(struct client_call *call) {
    time_ns at = shard_now(call->client->shard) + RETRY_MS * NS_PER_MS;
    list_remove(&call->node);
    list_push(&call->client->calls, &call->node);
    call->connection = NULL;
    if (at >= call->deadline) finish(call, ERR_TIMEOUT);
    else if (!timer_set(call->client->shard, &call->timer, at, again)) finish(call, ERR_NO_MEMORY);
}

/* ---- a connection: greeted with ApiVersions, version 0, which everybody answers --------------------------------------- */

static void send(struct client_call *call);

static void greeted(struct peer_request *request, enum err err, struct span answer, struct slab *slab) {
    struct connection *connection = container_of(request, struct connection, greeting);
    struct api_versions_response response;
    chain_clear(&connection->chain);
    if (!err) {
        /* Behind the correlation id comes the body: the response header of ApiVersions is version 0. */
        err = api_versions_response_decode(&response, 0, answer, &connection->arena, NULL);
        if (!err && response.error_code != 0) err = ERR_UNSUPPORTED;
    }
    if (err) {
        arena_reset(&connection->arena);
        peer_disconnect(connection->peer);
        return;
    }
    memset(connection->versions, 0, sizeof connection->versions);
    for (int32_t i = 0; i < response.api_keys_count; i++) {
        int16_t key = response.api_keys[i].api_key;
        if (key < 0 || key >= KEYS_MAX) continue;
        connection->versions[key].min = response.api_keys[i].min_version;
        connection->versions[key].max = response.api_keys[i].max_version;
        connection->versions[key].known = true;
    }
    connection->has_versions = true;
    arena_reset(&connection->arena);
    peer_ready(connection->peer);
    struct list ready;
    list_init(&ready);
    struct list *node;
    while ((node = list_pop(&connection->waiting))) list_push(&ready, node);
    while ((node = list_pop(&ready))) send(LIST_ITEM(node, struct client_call, node));
}

static void connected(struct peer *peer) {
    struct connection *connection = peer_user(peer);
    struct api_versions_request request;
    api_versions_request_init(&request);
    arena_reset(&connection->arena);
    chain_init(&connection->chain, &connection->arena);
    connection->has_versions = false;
    connection->greeting = (struct peer_request){.done = greeted, .greeting = true, .chain = &connection->chain};
    connection->greeting.deadline = shard_now(connection->client->shard) + (time_ns)GREETING_MS * NS_PER_MS;
    if (!wire_request_frame(wire_api(18), 0, 0, span_text(connection->client->client_id), &request, &connection->chain)) {
        peer_disconnect(peer);
        return;
    }
    chain_consume(&connection->chain, 4);
    if (peer_send(peer, &connection->greeting)) peer_disconnect(peer);
}

static void disconnected(struct peer *peer, int error) {
    struct connection *connection = peer_user(peer);
    connection->has_versions = false;
    struct list *node;
    struct list waiting;
    list_init(&waiting);
    while ((node = list_pop(&connection->waiting))) list_push(&waiting, node);
    while ((node = list_pop(&waiting))) later(LIST_ITEM(node, struct client_call, node));
}

static struct connection *connect_to(struct client *client, int32_t broker, const char *host, uint16_t port) {
    struct connection *connection = POOL_NEW(client->pool, struct connection);
    if (!connection) return NULL;
    connection->client = client;
    connection->broker = broker;
    connection->port = port;
    snprintf(connection->host, sizeof connection->host, "%s", host);
    list_init(&connection->waiting);
    arena_init(&connection->arena, client->pool, 0);
    struct peer_options options = {.host = connection->host, .port = port, .on_connected = connected, .on_disconnected = disconnected, .user = connection};
    if (peer_open(&connection->peer, client->shard, &options)) {
        pool_free(client->pool, connection, sizeof *connection);
        return NULL;
    }
    list_push(&client->connections, &connection->node);
    client->open_connections++;
    return connection;
}

/* ---- a call ---------------------------------------------------------------------------------------------------------------- */

static struct connection *choose(struct client *client, int32_t broker) {
    struct connection *first = NULL;
    uint32_t n = 0;
    LIST_EACH(node, &client->connections) {
        struct connection *connection = LIST_ITEM(node, struct connection, node);
        if (broker >= 0 && connection->broker == broker) return connection;
        if (broker < 0 && connection->has_versions && connection->broker < 0) return connection;
        if (connection->broker < 0 && n++ == client->next_bootstrap % client->bootstrap_count) first = connection;
    }
    if (broker >= 0) return NULL;
    client->next_bootstrap++;
    return first;
}

static void answered(struct peer_request *request, enum err err, struct span answer, struct slab *slab) {
    struct client_call *call = container_of(request, struct client_call, peer_request);
    struct client *client = call->client;
    chain_clear(&call->chain);
    if (err) {
        if (client->closing) finish(call, ERR_CLOSED);
        else later(call);
        return;
    }
    const struct wire_api *api = wire_api(call->api_key);
    struct span rest = answer;
    /* The header's correlation id has been taken off: with tagged fields in the header, their count comes next. */
    if (wire_response_header_version(api, call->version) >= 1) {
        if (rest.size < 1 || rest.data[0] != 0) {
            finish(call, ERR_CORRUPT);
            return;
        }
        rest = span_of(rest.data + 1, rest.size - 1);
    }
    void *copy = arena_copy(call->arena, rest.data, rest.size);
    wire_init(api->response->body, call->response);
    if (!copy) finish(call, ERR_NO_MEMORY);
    else {
        err = wire_decode(api->response, call->version, call->response, span_of(copy, rest.size), call->arena, NULL);
        call->answered_by = call->connection->broker;
        if (!err && call->api_key == 3) client_learn(client, call->response);
        finish(call, err);
    }
}

static void send(struct client_call *call) {
    struct client *client = call->client;
    struct connection *connection = call->connection;
    const struct wire_api *api = wire_api(call->api_key);
    /* From here on the peer's deadline is the call's: the timer must not end a call that the peer holds. */
    timer_cancel(client->shard, &call->timer);
    bool any = call->version_min == 0 && call->version_max == 0;
    int16_t low = any ? api->version_min : call->version_min, high = any ? api->version_max : call->version_max;
    if (any && api->is_unstable) high--;
    if (!connection->versions[call->api_key].known) {
        finish(call, ERR_UNSUPPORTED);
        return;
    }
    if (connection->versions[call->api_key].min > low) low = connection->versions[call->api_key].min;
    if (connection->versions[call->api_key].max < high) high = connection->versions[call->api_key].max;
    chain_init(&call->chain, call->arena);
    /* The newest that can say it: older ones lack fields, newer ones may have lost some. */
    for (call->version = high; call->version >= low; call->version--)
        if (wire_size(api->request, call->version, call->request) != WIRE_NOT_ENCODABLE) break;
    if (call->version < low || !wire_request_frame(api, call->version, 0, span_text(client->client_id), call->request, &call->chain)) {
        finish(call, call->version < low ? ERR_UNSUPPORTED : ERR_NO_MEMORY);
        return;
    }
    chain_consume(&call->chain, 4);
    time_ns until = shard_now(client->shard) + client->call_ms * NS_PER_MS;
    call->peer_request = (struct peer_request){.done = answered, .chain = &call->chain, .deadline = until < call->deadline ? until : call->deadline};
    if (peer_send(connection->peer, &call->peer_request)) later(call);
}

static void attempt(struct client_call *call) {
    struct client *client = call->client;
    struct connection *connection = choose(client, call->broker);
    list_remove(&call->node);
    list_push(&client->calls, &call->node);
    if (client->closing) {
        finish(call, ERR_CLOSED);
        return;
    }
    if (!connection) {
        later(call); /* not known yet: whoever asks for metadata meanwhile helps */
        return;
    }
    call->connection = connection;
    list_remove(&call->node);
    if (connection->has_versions) {
        send(call);
        return;
    }
    list_push(&connection->waiting, &call->node);
    peer_connect(connection->peer);
    if (!timer_set(client->shard, &call->timer, call->deadline, again)) finish(call, ERR_NO_MEMORY);
}

void client_call(struct client *client, struct client_call *call) {
    call->client = client;
    list_init(&call->node);
    chain_init(&call->chain, call->arena);
    call->deadline = shard_now(client->shard) + (call->timeout_ms ? call->timeout_ms : DEFAULT_CALL_MS) * NS_PER_MS;
    call->connection = NULL;
    call->answered_by = -1;
    /* `done` never runs from within this call. */
    if (!timer_set(client->shard, &call->timer, shard_now(client->shard), again)) never("a tool has memory for a timer");
}

struct waiting { bool is_done; };
static void wait_done(struct client_call *call) {
    ((struct waiting *)call->context)->is_done = true;
}

enum err client_wait(struct client *client, struct client_call *call) {
    struct waiting waiting = {false};
    call->context = &waiting;
    call->done = wait_done;
    client_call(client, call);
    while (!waiting.is_done) shard_turn(call->client->shard, INT64_MAX);
    return call->err;
}

void client_learn(struct client *client, const struct metadata_response *metadata) {
    for (int32_t i = 0; i < metadata->brokers_count; i++) {
        const struct metadata_response_metadata_response_broker *broker = &metadata->brokers[i];
        char host[256];
        if (broker->host.size >= sizeof host || choose(client, broker->node_id) || client->open_connections >= CLIENT_BROKERS_MAX) continue;
        memcpy(host, broker->host.data, broker->host.size);
        host[broker->host.size] = 0;
        (void)connect_to(client, broker->node_id, host, (uint16_t)broker->port);
    }
}

bool client_versions(const struct client *client, int32_t broker, int16_t api_key, int16_t *min, int16_t *max) {
    LIST_EACH(node, &client->connections) {
        const struct connection *connection = LIST_ITEM(node, struct connection, node);
        if (connection->broker != broker || !connection->has_versions || api_key < 0 || api_key >= KEYS_MAX) continue;
        *min = connection->versions[api_key].min;
        *max = connection->versions[api_key].max;
        return connection->versions[api_key].known;
    }
    return false;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

/* client NULL: only looks whether it is one. */
static bool add_bootstrap(struct client *client, const char *at, size_t size) {
    char host[256];
    const char *colon = NULL;
    for (size_t i = 0; i < size; i++)
        if (at[i] == ':') colon = at + i;
    if (!colon || colon == at) return false;
    const char *first = at, *last = colon;
    if (*first == '[' && last[-1] == ']') first++, last--;
    long port = 0;
    for (const char *digit = colon + 1; digit < at + size; digit++) {
        if (*digit < '0' || *digit > '9') return false;
        port = port * 10 + (*digit - '0');
        if (port > 65535) return false;
    }
    if (port == 0 || (size_t)(last - first) >= sizeof host) return false;
    if (!client) return true;
    memcpy(host, first, (size_t)(last - first));
    host[last - first] = 0;
    client->bootstrap_count++;
    return connect_to(client, -1, host, (uint16_t)port) != NULL;
}

/* How many there are; 0: none, too many, or one that is wrong. */
static uint32_t each_bootstrap(const char *at, struct client *client) {
    uint32_t count = 0;
    while (*at) {
        while (*at == ',' || *at == ' ') at++;
        const char *end = at;
        while (*end && *end != ',' && *end != ' ') end++;
        if (end > at && (++count > BOOTSTRAP_MAX || !add_bootstrap(client, at, (size_t)(end - at)))) return 0;
        at = end;
    }
    return count;
}

enum err client_open(struct client **out, const struct client_options *options) {
    struct pool *pool = options->shard->pool;
    if (each_bootstrap(options->bootstrap, NULL) == 0) return ERR_INVALID;
    struct client *client = POOL_NEW(pool, struct client);
    if (!client) return ERR_NO_MEMORY;
    client->shard = options->shard;
    client->pool = pool;
    client->call_ms = options->call_ms ? options->call_ms : DEFAULT_CALL_MS;
    snprintf(client->client_id, sizeof client->client_id, "%s", options->client_id ? options->client_id : "moldau");
    list_init(&client->connections);
    list_init(&client->calls);
    each_bootstrap(options->bootstrap, client);
    if (client->open_connections == 0) {
        pool_free(pool, client, sizeof *client);
        return ERR_NO_MEMORY;
    }
    *out = client;
    return ERR_NONE;
}

static void free_if_done(struct client *client) {
    if (client->open_connections > 0) return;
    void (*closed)(void *context) = client->closed;
    void *context = client->closed_context;
    pool_free(client->pool, client, sizeof *client);
    if (closed) closed(context);
}

static void connection_closed(void *context) {
    struct connection *connection = context;
    struct client *client = connection->client;
    list_remove(&connection->node);
    arena_destroy(&connection->arena);
    pool_free(client->pool, connection, sizeof *connection);
    client->open_connections--;
    free_if_done(client);
}

void client_close(struct client *client, void (*closed)(void *context), void *context) {
    client->closing = true;
    client->closed = closed;
    client->closed_context = context;
    struct list *node;
    while ((node = list_pop(&client->calls))) {
        struct client_call *call = LIST_ITEM(node, struct client_call, node);
        list_init(&call->node);
        finish(call, ERR_CLOSED);
    }
    if (client->open_connections == 0) {
        free_if_done(client);
        return;
    }
    LIST_EACH_SAFE(each, &client->connections) {
        struct connection *connection = LIST_ITEM(each, struct connection, node);
        while ((node = list_pop(&connection->waiting))) finish(LIST_ITEM(node, struct client_call, node), ERR_CLOSED);
        peer_close(connection->peer, connection_closed, connection);
    }
}
