#include "broker/request.h"
#include "broker/apart.h"
#include "broker/broker.h"
#include "broker/dispatch.h"
#include "broker/fanout.h"
#include "broker/tracing.h"
#include <stdarg.h>
#include <stdio.h>

enum { REQUESTS_FREE_MAX = 256, TEXT_BYTES_MAX = 512, FRAME_SIZE_BYTES = 4, REFUSALS_TOLD_MAX = 10 /* lines of each shard in each period */ };
#define REFUSALS_PERIOD (60 * NS_PER_S)

/* Back to the broker's list with the first chunk of its arena, so that a small request costs no call to the heap. */
void request_free(struct request *request) {
    struct broker *broker = request->broker;
    for (struct share *share = request->shares; share; share = share->next) arena_destroy(&share->arena);
    slab_drop(request->slab);
    if (broker->requests_free_count >= REQUESTS_FREE_MAX) {
        arena_destroy(&request->arena);
        pool_free(&broker->requests, request, sizeof *request);
        return;
    }
    arena_reset(&request->arena);
    list_push_front(&broker->requests_free, &request->node);
    broker->requests_free_count++;
}

bool request_is_controllers(const struct request *request) {
    return request->broker->node->listeners[request->client->listener].is_controller;
}

static uint64_t span_ns(time_ns from, time_ns to) { return to > from ? (uint64_t)(to - from) : 0; }

static void count_times(const struct request *request) {
    struct api_counts *counts = request->counts;
    time_ns now = io_now(request->broker->shard->io);
    uint64_t worked = span_ns(request->started, request->answered);
    counts->queue_ns += span_ns(request->arrived, request->started);
    counts->remote_ns += (uint64_t)request->away;
    counts->local_ns += worked - ((uint64_t)request->away < worked ? (uint64_t)request->away : worked);
    counts->send_ns += span_ns(request->answered, now);
    histogram_add(&counts->total, now - request->arrived);
}

static void gone(struct conn_slot *slot) {
    struct request *request = slot_user(slot);
    if (request->counts) count_times(request);
    request_free(request);
}

/* The answer is made: the next request of the connection may start. */
static void answer(struct request *request, struct chain *chain) {
    assert(request->state == REQUEST_RUNNING);
    request->state = REQUEST_ANSWERED;
    request->answered = io_now(request->broker->shard->io);
    if (!request->started) request->started = request->answered; /* it was held, and never begun */
    if (request->before_answer) request->before_answer(request);
    if (!(request->row->flags & API_OVERLAPS)) request->client->exclusive--;
    slot_set_user(request->slot, request);
    conn_answer(request->slot, chain, gone);
}

bool request_encode(struct request *request, const void *response, struct chain *chain) {
    chain_init(chain, &request->arena);
    if (wire_response_frame(request->api, request->version, request->header.correlation_id, response, chain)) return true;
    chain_clear(chain);
    return false;
}

void request_send(struct request *request, const void *response, struct chain *chain) {
    if (request->counts) {
        count_errors(request->counts, request->api, response);
        request->counts->bytes_out += chain->bytes;
    }
    chain_consume(chain, FRAME_SIZE_BYTES); /* the connection writes it */
    answer(request, chain);
}

void request_reply(struct request *request, const void *response) {
    struct chain chain;
    if (request->apart) {
        apart_reply(request, response);
        return;
    }
    if (request->client->closed) {
        if (request->is_traced) trace_tell(request->broker, trace_answer(request, NULL, "the connection has ended"));
        answer(request, NULL);
        return;
    }
    const char *line = request->is_traced ? trace_answer(request, response, NULL) : NULL; /* before encoding empties the records */
    if (!request_encode(request, response, &chain)) {
        request_refuse(request, REQUEST_NOT_ENCODED);
        return;
    }
    if (line) trace_tell(request->broker, line);
    request_send(request, response, &chain);
}

void request_reply_nothing(struct request *request) {
    if (request->is_traced) trace_tell(request->broker, trace_answer(request, NULL, "none is wanted"));
    answer(request, NULL);
}

/* Who sends what cannot be read may do so for ever: of each minute, a few are told and the others counted. */
static void trace_refusal(struct request *request, const char *why) {
    struct broker *broker = request->broker;
    time_ns now = io_now(broker->shard->io);
    if (now - broker->refusals.since >= REFUSALS_PERIOD) {
        if (broker->refusals.untold) broker_trace(broker, "closed %u more connections for what they had sent", broker->refusals.untold);
        broker->refusals.since = now;
        broker->refusals.told = broker->refusals.untold = 0;
    }
    if (broker->refusals.told == REFUSALS_TOLD_MAX) {
        broker->refusals.untold++;
        return;
    }
    broker->refusals.told++;
    broker_trace(broker, "closing the connection of %s: %s: %s", request->client->address, request->row->name, why);
}

void request_refuse(struct request *request, const char *why) {
    struct client *client = request->client;
    if (request->apart) {
        apart_refuse(request, why);
        return;
    }
    request->broker->metrics.refused++;
    if (request->is_traced) trace_tell(request->broker, trace_answer(request, NULL, why));
    if (!client->closed) {
        trace_refusal(request, why);
        client->closed = true;
        conn_close(client->conn);
    }
    answer(request, NULL);
}

void *request_alloc(struct request *request, size_t bytes) {
    void *memory = arena_alloc(&request->arena, bytes);
    if (!memory) request_refuse(request, "over budget");
    return memory;
}

void *request_array(struct request *request, size_t count, size_t size) {
    void *memory = arena_array(&request->arena, count ? count : 1, size);
    if (!memory) request_refuse(request, "over budget");
    return memory;
}

void *request_response_new(struct request *request) {
    const struct wire_struct *of = request->api->response->body;
    void *response = request_alloc(request, of->size);
    if (response) wire_init(of, response);
    return response;
}

struct span request_text(struct request *request, const char *format, ...) {
    char line[TEXT_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t size = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    const void *copy = arena_copy(&request->arena, line, size + 1);
    return span_of(copy, copy ? size : 0);
}

struct config_view request_config_view(const struct request *request) {
    struct config_view view = broker_config_view(request->broker);
    view.image = request->image;
    return view;
}

const char *request_listener(const struct request *request) {
    return request->broker->node->listeners[request->client->listener].name;
}
