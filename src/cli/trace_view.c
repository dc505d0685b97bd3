#include "cli/trace.h"
#include "base/bytes.h"
#include <stdio.h>
#include <string.h>

enum { CLIENT_ID_BYTES = 128 };

/* A request that waits for its answer. */
struct asked {
    struct list node;
    const struct wire_api *api;
    int16_t version;
    int32_t correlation_id;
    time_ns sent;
    bool is_told, has_client_id;
    char client_id[CLIENT_ID_BYTES];
};

bool trace_view_open(struct trace_view *view, const struct trace_rules *rules, struct pool *pool, const char *client, const char *host, uint64_t id) {
    *view = (struct trace_view){.rules = rules, .pool = pool, .id = id};
    snprintf(view->client, sizeof view->client, "%s", client);
    snprintf(view->host, sizeof view->host, "%s", host);
    list_init(&view->pending);
    view->line = pool_alloc(pool, rules->line_bytes);
    return view->line != NULL;
}

void trace_view_close(struct trace_view *view) {
    struct list *node;
    if (!view->line) return;
    while ((node = list_pop(&view->pending))) pool_free(view->pool, LIST_ITEM(node, struct asked, node), sizeof(struct asked));
    pool_free(view->pool, view->line, view->rules->line_bytes);
    view->line = NULL;
}

static struct span address_of(const struct trace_view *view) {
    const char *colon = strrchr(view->client, ':');
    return span_of(view->client, colon ? (size_t)(colon - view->client) : strlen(view->client));
}

static struct wire_trace_head head_of(const struct trace_view *view, size_t bytes) {
    return (struct wire_trace_head){.address = view->client, .connection = view->id, .bytes = bytes};
}

static void tell(struct trace_view *view, struct text *line) {
    wire_trace_end(line);
    view->rules->tell(view->rules->context, view->line);
}

void trace_view_note(struct trace_view *view, const char *what) {
    struct text line;
    if (!wire_trace_takes(&view->rules->filter, -1, span_of(NULL, 0), address_of(view))) return;
    text_init(&line, view->line, view->rules->line_bytes);
    text_add(&line, "connection %llu from %s: %s", (unsigned long long)view->id, view->client, what);
    view->rules->tell(view->rules->context, view->line);
}

/* ---- requests */

static void remember(struct trace_view *view, const struct wire_api *api, const struct request_header *header, time_ns now, bool is_told) {
    if (view->pending_count == TRACE_PENDING_MAX) { /* nobody answers these any more */
        pool_free(view->pool, LIST_ITEM(list_pop(&view->pending), struct asked, node), sizeof(struct asked));
        view->pending_count--;
    }
    struct asked *asked = POOL_NEW(view->pool, struct asked);
    if (!asked) return;
    asked->api = api;
    asked->version = header->request_api_version;
    asked->correlation_id = header->correlation_id;
    asked->sent = now;
    asked->is_told = is_told;
    asked->has_client_id = header->client_id.data != NULL;
    size_t size = header->client_id.size < CLIENT_ID_BYTES - 1 ? header->client_id.size : CLIENT_ID_BYTES - 1;
    if (size) memcpy(asked->client_id, header->client_id.data, size);
    list_push(&view->pending, &asked->node);
    view->pending_count++;
}

static void tell_unknown(struct trace_view *view, const struct wire_api *api, struct span frame, enum err err) {
    struct text line;
    struct wire_trace_head head = head_of(view, frame.size);
    if (!wire_trace_takes(&view->rules->filter, api ? api->key : -1, span_of(NULL, 0), address_of(view))) return;
    wire_trace_begin(&line, view->line, view->rules->line_bytes, &head);
    if (view->sends_tokens) wire_trace_note(&line, "bare credentials, not shown");
    else wire_trace_unread(&line, api ? api->request : NULL, frame, err, 0);
    tell(view, &line);
}

static void read_request(struct trace_view *view, struct span frame, time_ns now, struct arena *arena) {
    struct request_header header;
    struct span body = {0};
    struct text line;
    size_t used = 0;
    enum err err = wire_request_header_decode(&header, frame, arena, &body);
    const struct wire_api *api = frame.size >= 8 ? wire_api(header.request_api_key) : NULL;
    if (api && !api->request) api = NULL;
    bool is_versions = api && api->key == API_API_VERSIONS; /* of any version, it is answered */
    if ((err && !is_versions) || !api) {
        tell_unknown(view, api, frame, err ? err : ERR_UNSUPPORTED);
        return;
    }
    void *value = arena_alloc(arena, api->request->body->size);
    if (!value) return;
    if (!err) err = wire_decode(api->request, header.request_api_version, value, body, arena, &used);
    if (view->sends_tokens && err) { /* a token that looks like a header by chance */
        tell_unknown(view, NULL, frame, err);
        return;
    }
    bool is_told = wire_trace_takes(&view->rules->filter, api->key, header.client_id, address_of(view));
    bool is_answered = err || api->key != API_PRODUCE || ((const struct produce_request *)value)->acks != 0;
    if (is_answered) remember(view, api, &header, now, is_told);
    view->sends_tokens = api->key == API_SASL_HANDSHAKE && header.request_api_version == 0;
    if (!is_told) return;
    struct wire_trace_head head = head_of(view, body.size);
    head.api = api;
    head.version = header.request_api_version;
    head.correlation_id = header.correlation_id;
    head.client_id = header.client_id;
    wire_trace_begin(&line, view->line, view->rules->line_bytes, &head);
    if (err == ERR_UNSUPPORTED) wire_trace_note(&line, "a version that is not known here");
    else if (err) wire_trace_unread(&line, api->request, body, err, used);
    else wire_trace_body(&line, api->request, header.request_api_version, value, &view->rules->json);
    tell(view, &line);
}

void trace_view_request(struct trace_view *view, struct span frame, time_ns now) {
    struct arena arena;
    arena_init(&arena, view->pool, 0);
    read_request(view, frame, now, &arena);
    arena_destroy(&arena);
}

/* ---- answers */

static struct asked *take_asked(struct trace_view *view, struct span frame) {
    if (frame.size < 4) return NULL;
    int32_t correlation_id = (int32_t)load_be32(frame.data);
    LIST_EACH(node, &view->pending) {
        struct asked *asked = LIST_ITEM(node, struct asked, node);
        if (asked->correlation_id != correlation_id) continue;
        list_remove(node);
        view->pending_count--;
        return asked;
    }
    return NULL;
}

static const struct wire_field *field_named(const struct wire_struct *of, const char *name, uint32_t bit) {
    for (uint32_t i = 0; i < of->field_count; i++)
        if ((of->fields[i].versions & bit) && strcmp(of->fields[i].name, name) == 0) return &of->fields[i];
    return NULL;
}

static bool change_struct(const struct trace_view *view, const struct wire_struct *of, uint8_t *value, uint32_t bit);

/* An id, a host and a port together are where a broker is; -1 and an empty host where there is none. */
static bool change_address(const struct trace_view *view, const struct wire_struct *of, uint8_t *value, uint32_t bit) {
    const struct wire_field *host = field_named(of, "Host", bit), *port = field_named(of, "Port", bit);
    if (!host || !port || (!field_named(of, "NodeId", bit) && !field_named(of, "BrokerId", bit))) return false;
    if (host->type != WIRE_STRING || (port->type != WIRE_INT32 && port->type != WIRE_UINT16)) return false;
    struct span *name = (struct span *)(void *)(value + host->offset);
    int32_t number = port->type == WIRE_INT32 ? *(int32_t *)(void *)(value + port->offset) : *(uint16_t *)(void *)(value + port->offset);
    if (name->size == 0 || number <= 0 || number > UINT16_MAX) return false;
    uint16_t own = view->rules->port_for(view->rules->context, *name, (uint16_t)number);
    if (own == 0) return false;
    *name = span_text(view->host);
    if (port->type == WIRE_INT32) *(int32_t *)(void *)(value + port->offset) = own;
    else *(uint16_t *)(void *)(value + port->offset) = own;
    return true;
}

static bool change_struct(const struct trace_view *view, const struct wire_struct *of, uint8_t *value, uint32_t bit) {
    bool changed = change_address(view, of, value, bit);
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count; i++) {
        const struct wire_field *field = &of->fields[i];
        uint8_t *at = value + field->offset;
        if (!(field->versions & bit) || !field->of) continue;
        if (field->type == WIRE_STRUCT) changed |= change_struct(view, field->of, at, bit);
        else if (field->type == WIRE_STRUCT_POINTER && *(uint8_t **)(void *)at) changed |= change_struct(view, field->of, *(uint8_t **)(void *)at, bit);
        else if (field->type == WIRE_ARRAY) {
            struct wire_items *items = (struct wire_items *)(void *)at;
            for (int32_t k = 0; k < items->count; k++) changed |= change_struct(view, field->of, items->first + (size_t)k * field->of->size, bit);
        }
    }
    return changed;
}

static struct span encoded(const struct wire_api *api, int16_t version, int32_t correlation_id, const void *value, struct arena *arena) {
    struct chain chain;
    uint8_t *bytes = NULL;
    size_t size = 0;
    chain_init(&chain, arena);
    if (wire_response_frame(api, version, correlation_id, value, &chain) && (bytes = arena_alloc(arena, chain.bytes)))
        size = chain_copy_out(&chain, bytes, chain.bytes);
    chain_clear(&chain);
    return span_of(bytes, size);
}

/* ApiVersions of a version that the broker does not know is answered in version 0. */
static enum err decode_answer(const struct asked *asked, struct span frame, int16_t *version, void **value, struct span *body, size_t *used, struct arena *arena) {
    struct response_header header;
    enum err err = ERR_UNSUPPORTED;
    *version = asked->version;
    *used = 0;
    *value = arena_alloc(arena, asked->api->response->body->size);
    if (!*value) return ERR_NO_MEMORY;
    if (wire_has_version(asked->api->response, *version)) {
        err = wire_response_header_decode(asked->api, *version, &header, frame, arena, body);
        if (!err) err = wire_decode(asked->api->response, *version, *value, *body, arena, used);
    }
    if (!err || asked->api->key != API_API_VERSIONS) return err;
    size_t used_in_0;
    struct span body_in_0;
    if (wire_response_header_decode(asked->api, 0, &header, frame, arena, &body_in_0) ||
        wire_decode(asked->api->response, 0, *value, body_in_0, arena, &used_in_0)) return err;
    *version = 0;
    *body = body_in_0;
    *used = used_in_0;
    return ERR_NONE;
}

static struct span read_answer(struct trace_view *view, struct asked *asked, struct span frame, time_ns now, struct arena *arena) {
    struct span body = frame, changed = {0};
    struct text line;
    size_t used;
    int16_t version;
    void *value;
    enum err err = decode_answer(asked, frame, &version, &value, &body, &used, arena);
    if (asked->is_told) { /* as the broker sent it */
        struct wire_trace_head head = head_of(view, body.size);
        head.is_answer = true;
        head.api = asked->api;
        head.version = asked->version;
        head.correlation_id = asked->correlation_id;
        head.client_id = asked->has_client_id ? span_text(asked->client_id) : span_of(NULL, 0);
        head.taken_us = (now - asked->sent) / 1000;
        wire_trace_begin(&line, view->line, view->rules->line_bytes, &head);
        if (err) wire_trace_unread(&line, asked->api->response, body, err, used);
        else wire_trace_body(&line, asked->api->response, version, value, &view->rules->json);
        tell(view, &line);
    }
    if (err || !change_struct(view, asked->api->response->body, value, UINT32_C(1) << version)) return changed;
    changed = encoded(asked->api, version, asked->correlation_id, value, arena);
    if (!changed.data) trace_view_note(view, "an answer's addresses could not be changed: the client may go past this trace");
    return changed;
}

struct span trace_view_answer(struct trace_view *view, struct span frame, time_ns now, struct arena *arena) {
    struct asked *asked = take_asked(view, frame);
    struct span changed = {0};
    if (asked) {
        changed = read_answer(view, asked, frame, now, arena);
        pool_free(view->pool, asked, sizeof *asked);
    } else trace_view_note(view, view->sends_tokens ? "an answer to bare credentials, not shown" : "an answer that nothing known was asked for");
    return changed;
}
