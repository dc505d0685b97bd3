#include "broker/dispatch.h"
#include "broker/apart.h"
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/tracing.h"
#include <string.h>

static const struct api_row rows[] = {
#define API(key_, name_, min_, max_, handler_, flags_) \
    {.key = key_, .version_min = min_, .version_max = max_, .flags = flags_, .size = sizeof(struct name_##_request), .name = #name_, .handle = handler_},
#include "broker/api.tbl"
};
static const struct api_row controller_rows[] = {
#include "broker/api_controller.tbl"
#undef API
};

const struct api_row *api_rows(bool is_controller, uint32_t *count) {
    *count = is_controller ? countof(controller_rows) : countof(rows);
    return is_controller ? controller_rows : rows;
}

const struct api_row *api_row(bool is_controller, int16_t key) {
    /* Few rows, in the order of their keys: halving finds one in six steps. */
    uint32_t low = 0, count, high;
    const struct api_row *of = api_rows(is_controller, &count);
    for (high = count; low < high;) {
        uint32_t middle = (low + high) / 2;
        if (of[middle].key < key) low = middle + 1;
        else high = middle;
    }
    return low < count && of[low].key == key ? &of[low] : NULL;
}

enum kafka_error kafka_error_of(enum err err) {
    switch (err) {
    case ERR_NONE: return KAFKA_NONE;
    case ERR_AGAIN:
    case ERR_BUSY:
    case ERR_NO_MEMORY:
    case ERR_TIMEOUT: return KAFKA_REQUEST_TIMED_OUT;
    case ERR_CLOSED: return KAFKA_NETWORK_EXCEPTION;
    case ERR_NO_SPACE:
    case ERR_IO:
    case ERR_LOCKED: return KAFKA_KAFKA_STORAGE_ERROR;
    case ERR_CORRUPT: return KAFKA_CORRUPT_MESSAGE;
    case ERR_UNSUPPORTED: return KAFKA_UNSUPPORTED_VERSION;
    case ERR_OUT_OF_RANGE: return KAFKA_OFFSET_OUT_OF_RANGE;
    case ERR_INVALID:
    case ERR_LIMIT: return KAFKA_INVALID_REQUEST;
    default: return KAFKA_UNKNOWN_SERVER_ERROR;
    }
}

static struct request *request_take(struct broker *broker) {
    struct list *node = list_pop(&broker->requests_free);
    struct request *request;
    struct arena arena;
    if (node) {
        request = LIST_ITEM(node, struct request, node);
        broker->requests_free_count--;
        arena = request->arena;
    } else {
        request = pool_alloc(&broker->requests, sizeof *request);
        if (!request) return NULL;
        arena_init(&arena, &broker->requests, 0);
    }
    memset(request, 0, sizeof *request);
    request->arena = arena;
    request->broker = broker;
    list_init(&request->node);
    return request;
}

static struct api_counts *counts_of(struct broker *broker, int16_t key) {
    if (!broker->apis[key]) broker->apis[key] = POOL_NEW(broker->shard->pool, struct api_counts);
    return broker->apis[key];
}

/* More than one request may hold, and its header could be read: who sent it is told, where the answer has an error for the
 * whole of it. Of the other answers none would be true. False: the connection has to end. */
static bool reply_limit(struct request *request) {
    const struct wire_struct *body = request->api->response->body;
    for (uint32_t i = 0; i < body->field_count; i++) {
        const struct wire_field *field = &body->fields[i];
        if (field->type != WIRE_INT16 || !(field->versions & 1u << request->version) || strcmp(field->name, "ErrorCode") != 0) continue;
        uint8_t *out = request_alloc(request, body->size);
        if (!out) return true; /* and refused */
        int16_t error = KAFKA_INVALID_REQUEST;
        wire_init(body, out);
        memcpy(out + field->offset, &error, sizeof error);
        request_reply(request, out);
        return true;
    }
    return false;
}

void request_decoded(struct request *request, enum err err, size_t used) {
    if (request->broker->tracing) trace_request(request, err, used);
    if (err == ERR_LIMIT && reply_limit(request)) return;
    if (err) request_refuse(request, err_text(err));
    else request->row->handle(request);
}

static void decode_and_handle(struct request *request) {
    const struct api_row *row = request->row;
    bool served = request->version >= row->version_min && request->version <= row->version_max;
    request->in = request_alloc(request, row->size);
    if (!request->in) return;
    if (!served) {
        row->handle(request);
        return;
    }
    if (apart_decode(request)) return;
    /* Bytes behind the message are passed over, as Apache Kafka does: librdkafka's Metadata of all topics has three. */
    size_t used = 0;
    enum err err = wire_decode(request->api->request, request->version, request->in, request->body, &request->arena, &used);
    request_decoded(request, err, used);
}

void request_start(struct request *request) {
    request->started = io_now(request->broker->shard->io);
    request->image = request->broker->image;
    const char *before = panic_context_set(request->row->name);
    decode_and_handle(request);
    panic_context_set(before);
}

/* ---- the connection's events (net.h) ---------------------------------------------------------------------------- */

static void on_open(struct conn *conn) {
    struct shard *shard = conn_shard(conn);
    struct broker *broker = shard->roles[ROLE_BROKER];
    struct client *client = broker && !broker->stopping ? POOL_NEW(shard->pool, struct client) : NULL;
    if (!client) {
        conn_close(conn);
        return;
    }
    client->broker = broker;
    client->conn = conn;
    client->listener = (uint32_t)((const struct broker_listener *)conn_listener_context(conn) - broker->node->listeners);
    client->address[0] = '/';
    io_address_text(conn_peer_address(conn), client->address + 1);
    char *colon = strrchr(client->address, ':');
    if (colon) *colon = 0;
    list_push(&broker->clients, &client->node);
    broker->listeners[client->listener].opened++;
    broker->listeners[client->listener].open++;
    conn_set_user(conn, client);
}

static enum frame_verdict on_frame(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    struct client *client = conn_user(conn);
    if (!client) return FRAME_REFUSED;
    struct broker *broker = client->broker;
    struct request *request = request_take(broker);
    if (!request) return conn_unanswered(conn) ? FRAME_LATER : FRAME_REFUSED;
    struct span body;
    enum frame_verdict verdict = FRAME_REFUSED;
    enum err err = wire_request_header_decode(&request->header, frame, &request->arena, &body);
    if (err != ERR_NONE && err != ERR_UNSUPPORTED) goto not_taken;
    bool is_controller = broker->node->listeners[client->listener].is_controller;
    const struct api_row *row = api_row(is_controller, request->header.request_api_key);
    if (!row || (is_controller && !broker->node->control.call)) goto not_taken; /* or the quorum is not there yet */
    int16_t version = request->header.request_api_version;
    if ((err || version < row->version_min || version > row->version_max) && !(row->flags & API_ANY_VERSION)) goto not_taken;
    bool overlaps = row->flags & API_OVERLAPS;
    if (conn_unanswered(conn) && (client->exclusive || !overlaps)) {
        verdict = FRAME_LATER;
        goto not_taken;
    }
    request->row = row;
    request->version = version;
    request->api = wire_api(row->key);
    request->slot = slot;
    request->slab = slab ? slab_hold(slab) : NULL;
    request->client = client;
    request->arrived = io_now(broker->shard->io);
    if (!overlaps) client->exclusive++;
    request->counts = counts_of(broker, row->key);
    if (request->counts) {
        request->counts->requests++;
        request->counts->bytes_in += frame.size;
    }
    request->body = body;
    /* Until this broker serves, its clients wait: an answer that knows no broker would only confuse. The quorum cannot. */
    if (broker->serves || is_controller) request_start(request);
    else list_push(&broker->held, &request->node);
    return FRAME_TAKEN;
not_taken:
    if (verdict == FRAME_REFUSED) {
        broker->metrics.refused++;
        if (broker->tracing) trace_refused(client, &request->header, frame, err);
    }
    request_free(request);
    return verdict;
}

static void on_closed(struct conn *conn, enum conn_end why) {
    struct client *client = conn_user(conn);
    if (client) client->closed = true;
}

static void on_freed(struct conn *conn) {
    struct client *client = conn_user(conn);
    if (!client) return;
    list_remove(&client->node);
    client->broker->listeners[client->listener].open--;
    pool_free(client->broker->shard->pool, client, sizeof *client);
}

/* What log_read gives is verified; a range that is gone from memory before it is sent is verified once more [L3]. */
const struct conn_owner broker_connections = {.on_open = on_open, .on_frame = on_frame, .on_closed = on_closed, .on_freed = on_freed,
                                              .warm = log_warm};
