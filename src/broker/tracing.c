#include "broker/tracing.h"
#include "broker/broker.h"
#include "wire/trace.h"
#include <string.h>

enum { TELL_BYTES_MAX = 96, REFUSED_LINE_BYTES = 512 };

struct tracing {
    struct wire_trace_filter filter;     /* over the copies below */
    uint8_t clients[TRACE_LIST_BYTES_MAX], addresses[TRACE_LIST_BYTES_MAX];
    struct wire_json_rules rules;
    size_t line_bytes;
    uint32_t lines_max, lines_left;      /* of this shard, in each second */
    time_ns since;
    uint64_t untold;
};

static struct span copy_list(uint8_t *target, struct span list) {
    size_t size = list.size < TRACE_LIST_BYTES_MAX ? list.size : TRACE_LIST_BYTES_MAX; /* longer ones were refused */
    if (size) memcpy(target, list.data, size);
    return span_of(target, size);
}

void tracing_follow(struct broker *broker) {
    struct config_view view = broker_config_view(broker);
    struct span apis = config_text(&view, KEY_moldau_trace_apis, NULL);
    uint64_t bits[WIRE_TRACE_KEYS_MAX / 64];
    struct text why;
    char why_bytes[128];
    text_init(&why, why_bytes, sizeof why_bytes);
    if (apis.size == 0 || !wire_trace_apis(apis, bits, &why)) { /* what was refused may lie in metadata of another's making */
        tracing_free(broker);
        return;
    }
    if (!broker->tracing) broker->tracing = POOL_NEW(broker->shard->pool, struct tracing);
    struct tracing *tracing = broker->tracing;
    if (!tracing) {
        broker_trace(broker, "no memory for tracing requests");
        return;
    }
    memcpy(tracing->filter.apis, bits, sizeof bits);
    tracing->filter.clients = copy_list(tracing->clients, config_text(&view, KEY_moldau_trace_clients, NULL));
    tracing->filter.addresses = copy_list(tracing->addresses, config_text(&view, KEY_moldau_trace_addresses, NULL));
    tracing->rules = (struct wire_json_rules){.setting_is_open = config_is_open, .codecs = &broker->codecs,
                                              .records = config_flag(&view, KEY_moldau_trace_records) ? WIRE_JSON_CONTENTS : WIRE_JSON_COUNTED};
    tracing->line_bytes = (size_t)config_number(&view, KEY_moldau_trace_line_bytes);
    uint64_t lines = (uint64_t)config_number(&view, KEY_moldau_trace_lines_per_second) / broker->shards;
    tracing->lines_max = lines ? (uint32_t)lines : 1;
}

void tracing_free(struct broker *broker) {
    if (broker->tracing) pool_free(broker->shard->pool, broker->tracing, sizeof *broker->tracing);
    broker->tracing = NULL;
}

void trace_tell(struct broker *broker, const char *line) {
    char told[TELL_BYTES_MAX];
    if (!line) return;
    if (broker->node->protocol) broker->node->protocol(line);
    else if (broker->node->trace) broker->node->trace(line);
    if (!broker->tracing || !broker->tracing->untold) return;
    struct text text;
    text_init(&text, told, sizeof told);
    text_add(&text, "%llu requests and answers more were not told: moldau.trace.lines.per.second", (unsigned long long)broker->tracing->untold);
    broker->tracing->untold = 0;
    trace_tell(broker, told);
}

/* One line less of this second; false: there is none left. */
static bool take_line(struct broker *broker) {
    struct tracing *tracing = broker->tracing;
    time_ns now = io_now(broker->shard->io);
    if (!tracing) return false; /* switched off since the request came */
    if (tracing->since == 0 || now - tracing->since >= NS_PER_S) {
        tracing->since = now;
        tracing->lines_left = tracing->lines_max;
    }
    if (tracing->lines_left == 0) {
        tracing->untold++;
        return false;
    }
    tracing->lines_left--;
    return true;
}

static struct wire_trace_head head_of(const struct request *request, char address[IO_ADDRESS_TEXT_MAX]) {
    io_address_text(conn_peer_address(request->client->conn), address);
    return (struct wire_trace_head){.api = request->api, .version = request->version, .correlation_id = request->header.correlation_id,
                                    .client_id = request->header.client_id, .address = address, .connection = conn_id(request->client->conn)};
}

void trace_request(struct request *request, enum err err, size_t at) {
    struct broker *broker = request->broker;
    struct tracing *tracing = broker->tracing;
    char address[IO_ADDRESS_TEXT_MAX];
    if (!wire_trace_takes(&tracing->filter, request->api->key, request->header.client_id, span_text(request->client->address + 1))) return;
    request->is_traced = true;
    char *bytes = take_line(broker) ? arena_alloc(&request->arena, tracing->line_bytes) : NULL;
    if (!bytes) return;
    struct wire_trace_head head = head_of(request, address);
    struct text line;
    head.bytes = request->body.size;
    wire_trace_begin(&line, bytes, tracing->line_bytes, &head);
    if (err) wire_trace_unread(&line, request->api->request, request->body, err, at);
    else wire_trace_body(&line, request->api->request, request->version, request->in, &tracing->rules);
    wire_trace_end(&line);
    trace_tell(broker, bytes);
}

const char *trace_answer(struct request *request, const void *response, const char *why) {
    struct broker *broker = request->broker;
    char address[IO_ADDRESS_TEXT_MAX];
    char *bytes = take_line(broker) ? arena_alloc(&request->arena, broker->tracing->line_bytes) : NULL;
    if (!bytes) return NULL;
    struct wire_trace_head head = head_of(request, address);
    struct text line;
    size_t size = response ? wire_size(request->api->response, request->version, response) : 0;
    head.is_answer = true;
    head.bytes = size == WIRE_NOT_ENCODABLE ? 0 : size;
    head.taken_us = (io_now_precise(broker->shard->io) - request->arrived) / 1000;
    wire_trace_begin(&line, bytes, broker->tracing->line_bytes, &head);
    if (response) wire_trace_body(&line, request->api->response, request->version, response, &broker->tracing->rules);
    else wire_trace_note(&line, why);
    wire_trace_end(&line);
    return bytes;
}

void trace_refused(struct client *client, const struct request_header *header, struct span frame, enum err err) {
    struct broker *broker = client->broker;
    char address[IO_ADDRESS_TEXT_MAX], bytes[REFUSED_LINE_BYTES];
    const struct wire_api *api = frame.size >= 8 ? wire_api(header->request_api_key) : NULL;
    if (api && !api->request) api = NULL;
    if (!wire_trace_takes(&broker->tracing->filter, api ? api->key : -1, header->client_id, span_text(client->address + 1)) || !take_line(broker)) return;
    io_address_text(conn_peer_address(client->conn), address);
    struct wire_trace_head head = {.address = address, .connection = conn_id(client->conn), .bytes = frame.size};
    struct text line;
    if (!client->sends_tokens && api) {
        head.api = api;
        head.version = header->request_api_version;
        head.correlation_id = header->correlation_id;
        head.client_id = header->client_id;
    }
    wire_trace_begin(&line, bytes, sizeof bytes, &head);
    if (client->sends_tokens) wire_trace_note(&line, "bare credentials, not shown");
    else if (api && !err) wire_trace_note(&line, "not served here");
    else wire_trace_unread(&line, api ? api->request : NULL, frame, err ? err : ERR_UNSUPPORTED, 0);
    wire_trace_end(&line);
    trace_tell(broker, bytes);
}
