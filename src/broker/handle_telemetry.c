/* GetTelemetrySubscriptions and PushTelemetry: to the shard of the client's instance, and back. */
#include "broker/broker.h"
#include "broker/fanout.h"
#include "broker/handlers.h"
#include "broker/telemetry.h"
#include <stdio.h>

struct telemetry_share {
    struct share share;
    struct telemetry_client client;
    struct telemetry_subscription subscription;
    const struct push_telemetry_request *push;
    enum kafka_error error;
    char port[8];
};

static struct telemetry_share *share_new(struct request *request, struct uuid instance) {
    struct telemetry_share *share = REQUEST_NEW(request, struct telemetry_share);
    if (!share) return NULL;
    const struct client *client = request->client;
    arena_init_travelling(&share->share.arena, request->broker->shard->pool, 0);
    snprintf(share->port, sizeof share->port, "%u", conn_peer_address(client->conn)->port);
    struct span address = span_text(client->address);
    share->client = (struct telemetry_client){.instance = instance, .client_id = request->header.client_id,
        .software_name = span_text(client->software_name), .software_version = span_text(client->software_version),
        .address = span_of(address.data + 1, address.size - 1), .port = span_text(share->port)}; /* it begins with a slash */
    request->work = share;
    return share;
}

static void send(struct request *request, struct telemetry_share *share, void (*run)(struct share *share), void (*joined)(struct request *request)) {
    fanout_begin(request, joined);
    fanout_send(request, telemetry_shard(request->broker, share->client.instance), &share->share, run, NULL);
    fanout_sent(request);
}

/* ---- GetTelemetrySubscriptions */

static void ask(struct share *base) {
    struct telemetry_share *share = container_of(base, struct telemetry_share, share);
    share->error = telemetry_ask(base->there, &share->client, &base->arena, &share->subscription);
    fanout_done(base);
}

static void asked(struct request *request) {
    static int8_t accepted[] = {COMPRESSION_ZSTD, COMPRESSION_LZ4, COMPRESSION_GZIP, COMPRESSION_SNAPPY};
    const struct telemetry_share *share = request->work;
    const struct telemetry_subscription *subscription = &share->subscription;
    struct config_view view = broker_config_view(request->broker);
    struct get_telemetry_subscriptions_response out;
    get_telemetry_subscriptions_response_init(&out);
    out.error_code = (int16_t)share->error;
    if (!share->error) {
        out.client_instance_id = share->client.instance;
        out.subscription_id = subscription->id;
        out.accepted_compression_types = accepted;
        out.accepted_compression_types_count = countof(accepted);
        out.push_interval_ms = subscription->interval_ms;
        out.telemetry_max_bytes = (int32_t)config_number(&view, KEY_telemetry_max_bytes);
        out.delta_temporality = true;
        out.requested_metrics = subscription->metrics;
        out.requested_metrics_count = subscription->metrics_count;
    }
    request_reply(request, &out);
}

void handle_get_telemetry_subscriptions(struct request *request) {
    const struct get_telemetry_subscriptions_request *in = request->in;
    struct uuid instance = in->client_instance_id;
    while (telemetry_is_reserved(instance)) instance = uuid_random(&request->broker->random);
    struct telemetry_share *share = share_new(request, instance);
    if (share) send(request, share, ask, asked);
}

/* ---- PushTelemetry */

static void push(struct share *base) {
    struct telemetry_share *share = container_of(base, struct telemetry_share, share);
    share->error = telemetry_push(base->there, &share->client, share->push, &base->arena);
    fanout_done(base);
}

static void pushed(struct request *request) {
    const struct telemetry_share *share = request->work;
    struct push_telemetry_response out;
    push_telemetry_response_init(&out);
    out.error_code = (int16_t)share->error;
    request_reply(request, &out);
}

void handle_push_telemetry(struct request *request) {
    const struct push_telemetry_request *in = request->in;
    struct telemetry_share *share = share_new(request, in->client_instance_id);
    if (!share) return;
    share->push = in;
    if (telemetry_is_reserved(in->client_instance_id)) {
        share->error = KAFKA_INVALID_REQUEST;
        pushed(request);
        return;
    }
    send(request, share, push, pushed);
}
