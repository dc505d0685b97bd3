/* moldau trace: stands between clients and brokers, passes all bytes on, and prints requests and answers.
 *
 * A `door` is a port of ours that stands for one broker: the first for --to, one more for each broker that an answer tells
 * of. A `link` is a client's connection and ours to the broker behind its door, with a `flow` in each direction: receive,
 * look at what is whole, send, receive again. So neither side is read faster than the other takes it. A frame that is
 * larger than FRAME_BYTES_MAX, and TLS, pass unread. One thread, one io; what is slow to print slows the traffic.
 */
#include "cli/trace.h"
#include "base/bytes.h"
#include "io/io.h"
#include "meta/meta.h"
#include "wire/compress.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FRAME_BYTES_MAX = 128 << 20, FLOW_BYTES = 1 << 16, LINKS_MAX = 400 /* two descriptors each */, DOORS_MAX = 200, HOST_BYTES = 256, SIZE_BYTES = 4,
    TLS_HANDSHAKE = 0x1603, BACKLOG = 50,
};

struct proxy;
struct link;

struct door {
    struct door *next;
    struct proxy *proxy;
    struct io_socket *socket;
    struct io_op accept;
    struct io_address own, peer;
    char host[HOST_BYTES];          /* of the broker */
    uint16_t port;
};

struct flow {
    struct link *link;
    struct io_socket **from, **to;  /* the link's */
    struct io_op in, out;
    uint8_t *got, *send;            /* own */
    size_t got_bytes, got_room, send_bytes, send_room, sent;
    uint64_t pass;                  /* bytes that go on unread */
    struct slice slice;
    struct chain chain;
    bool is_answers;
};

struct link {
    struct proxy *proxy;
    struct door *door;
    struct io_socket *client, *broker;
    struct io_op op;                /* resolving, connecting */
    struct io_address addresses[IO_ADDRESSES_MAX], address;
    uint32_t address_count, address_next;
    struct flow requests, answers;
    struct trace_view view;
    bool is_unread;                 /* TLS, or no frames of Kafka's: both ways pass as they are */
    bool closing;
};

struct proxy {
    struct pool pool;
    struct io *io;
    struct door *doors;
    uint32_t door_count, link_count;
    uint64_t connections;
    struct trace_rules rules;
};

static void take_connection(struct door *door);

/* ---- what is printed */

static void print_line(void *context, const char *line) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    printf("%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s\n", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
           now.tv_nsec / 1000000, line);
    fflush(stdout);
}

/* "127.0.0.1:9092" without the port, and without the brackets of "[::1]:9092". */
static void host_text(const struct io_address *address, char out[IO_ADDRESS_TEXT_MAX]) {
    char text[IO_ADDRESS_TEXT_MAX];
    io_address_text(address, text);
    char *colon = strrchr(text, ':'), *host = text;
    if (colon) *colon = 0;
    if (*host == '[') {
        host++;
        host[strcspn(host, "]")] = 0;
    }
    snprintf(out, IO_ADDRESS_TEXT_MAX, "%s", host);
}

/* ---- a link's end */

static bool is_busy(const struct link *link) {
    return link->op.pending || link->requests.in.pending || link->requests.out.pending || link->answers.in.pending || link->answers.out.pending;
}

static void link_close(struct link *link) {
    struct io *io = link->proxy->io;
    if (!link->closing) {
        link->closing = true;
        if (link->client) io_socket_close(io, link->client, false);
        if (link->broker) io_socket_close(io, link->broker, false);
    }
    if (is_busy(link)) return; /* what is under way ends with -ECANCELED, and comes here again */
    trace_view_close(&link->view);
    free(link->requests.got);
    free(link->requests.send);
    free(link->answers.got);
    free(link->answers.send);
    link->proxy->link_count--;
    pool_free(&link->proxy->pool, link, sizeof *link);
}

static void link_fail(struct link *link, const char *what, int error) {
    char line[TRACE_ADDRESS_BYTES + HOST_BYTES];
    snprintf(line, sizeof line, "%s %s:%d: %s", what, link->door->host, link->door->port, strerror(-error));
    trace_view_note(&link->view, line);
    link_close(link);
}

/* ---- flows */

static bool grow(uint8_t **bytes, size_t *room, size_t need) {
    if (need <= *room) return true;
    size_t more = *room ? *room : FLOW_BYTES;
    while (more < need) more *= 2;
    uint8_t *grown = realloc(*bytes, more);
    if (grown) *bytes = grown, *room = more;
    return grown != NULL;
}

static bool send_on(struct flow *flow, const void *bytes, size_t size) {
    if (!grow(&flow->send, &flow->send_room, flow->send_bytes + size)) return false;
    memcpy(flow->send + flow->send_bytes, bytes, size);
    flow->send_bytes += size;
    return true;
}

/* One whole frame with its size: told, and sent on, changed or not. */
static bool take_frame(struct flow *flow, struct span frame) {
    struct link *link = flow->link;
    struct span body = span_of(frame.data + SIZE_BYTES, frame.size - SIZE_BYTES), changed = {0};
    struct arena arena;
    time_ns now = io_now_precise(link->proxy->io);
    arena_init(&arena, &link->proxy->pool, 0);
    if (flow->is_answers) changed = trace_view_answer(&link->view, body, now, &arena);
    else trace_view_request(&link->view, body, now);
    if (!changed.data) changed = frame;
    bool ok = send_on(flow, changed.data, changed.size);
    arena_destroy(&arena);
    return ok;
}

/* Takes what is whole of what has come; false: out of memory. */
static bool take_frames(struct flow *flow) {
    struct link *link = flow->link;
    size_t at = 0;
    bool ok = true;
    while (ok && at < flow->got_bytes) {
        size_t left = flow->got_bytes - at;
        if (flow->pass || link->is_unread) {
            size_t some = link->is_unread || flow->pass > left ? left : (size_t)flow->pass;
            ok = send_on(flow, flow->got + at, some);
            flow->pass -= flow->pass > some ? some : flow->pass;
            at += some;
            continue;
        }
        if (left < SIZE_BYTES) break;
        int32_t size = (int32_t)load_be32(flow->got + at);
        if (size < 0 || load_be16(flow->got + at) == TLS_HANDSHAKE) {
            trace_view_note(&link->view, size < 0 ? "no frames of Kafka's: passed on unread" : "TLS: passed on unread");
            link->is_unread = true;
            continue;
        }
        if (size > FRAME_BYTES_MAX) {
            trace_view_note(&link->view, flow->is_answers ? "an answer that is too large to be read: passed on" : "a request that is too large to be read: passed on");
            flow->pass = (uint64_t)size + SIZE_BYTES;
            continue;
        }
        if (left < (size_t)size + SIZE_BYTES) break;
        ok = take_frame(flow, span_of(flow->got + at, (size_t)size + SIZE_BYTES));
        at += (size_t)size + SIZE_BYTES;
    }
    memmove(flow->got, flow->got + at, flow->got_bytes - at);
    flow->got_bytes -= at;
    return ok;
}

static void sent(struct io_op *op);
static void received(struct io_op *op);

static void flow_send(struct flow *flow) {
    flow->slice = (struct slice){.kind = SLICE_MEMORY, .size = flow->send_bytes - flow->sent, .memory = {.data = flow->send + flow->sent}};
    flow->chain = (struct chain){.first = &flow->slice, .last = &flow->slice, .bytes = flow->slice.size, .count = 1};
    flow->out = (struct io_op){.kind = IO_OP_SEND, .done = sent, .net = {.socket = *flow->to, .chain = &flow->chain}};
    io_submit(flow->link->proxy->io, &flow->out);
}

static void flow_receive(struct flow *flow) {
    if (!grow(&flow->got, &flow->got_room, flow->got_bytes + 1)) { /* with what has come, not with what a frame promises */
        link_close(flow->link);
        return;
    }
    flow->in = (struct io_op){.kind = IO_OP_RECV, .done = received,
        .net = {.socket = *flow->from, .data = flow->got + flow->got_bytes, .size = flow->got_room - flow->got_bytes}};
    io_submit(flow->link->proxy->io, &flow->in);
}

static void received(struct io_op *op) {
    struct flow *flow = container_of(op, struct flow, in);
    /* The end: all that came before it has been sent, for nothing is read while something is to be sent. */
    if (flow->link->closing || op->result <= 0) {
        link_close(flow->link);
        return;
    }
    flow->got_bytes += (size_t)op->result;
    if (!take_frames(flow)) link_close(flow->link);
    else if (flow->send_bytes) flow_send(flow);
    else flow_receive(flow);
}

static void sent(struct io_op *op) {
    struct flow *flow = container_of(op, struct flow, out);
    if (flow->link->closing || op->result < 0) {
        link_close(flow->link);
        return;
    }
    flow->sent += (size_t)op->result;
    if (flow->sent < flow->send_bytes) {
        flow_send(flow);
        return;
    }
    flow->sent = flow->send_bytes = 0;
    flow_receive(flow);
}

/* ---- a link's beginning */

static void op_done(struct io_op *op);

static void connect_next(struct link *link, int error) {
    struct io *io = link->proxy->io;
    if (link->address_next == link->address_count) {
        link_fail(link, "cannot connect to", error);
        return;
    }
    int result = io->vtable->socket_new(io, &link->broker);
    if (result < 0) {
        link->broker = NULL;
        link_fail(link, "no socket for", result);
        return;
    }
    link->address = link->addresses[link->address_next++];
    link->op = (struct io_op){.kind = IO_OP_CONNECT, .done = op_done, .net = {.socket = link->broker, .address = &link->address}};
    io_submit(io, &link->op);
}

static void op_done(struct io_op *op) {
    struct link *link = container_of(op, struct link, op);
    if (link->closing) {
        link_close(link);
    } else if (op->kind == IO_OP_RESOLVE) {
        link->address_count = op->result > 0 ? op->resolve.count : 0;
        if (op->result > 0) connect_next(link, 0);
        else link_fail(link, "no address of", op->result ? (int)op->result : -ENOENT);
    } else if (op->result < 0) {
        io_socket_close(link->proxy->io, link->broker, true);
        link->broker = NULL;
        connect_next(link, (int)op->result);
    } else {
        flow_receive(&link->requests);
        if (!link->closing) flow_receive(&link->answers);
    }
}

static void link_open(struct door *door, struct io_socket *client) {
    struct proxy *proxy = door->proxy;
    struct io *io = proxy->io;
    char peer[IO_ADDRESS_TEXT_MAX], host[IO_ADDRESS_TEXT_MAX];
    struct io_address own = door->own;
    struct link *link = proxy->link_count < LINKS_MAX ? POOL_NEW(&proxy->pool, struct link) : NULL;
    if (!link) {
        io_socket_close(io, client, true);
        return;
    }
    io->vtable->socket_address(io, client, &own); /* the one that this client knows us by */
    io_address_text(&door->peer, peer);
    host_text(&own, host);
    link->proxy = proxy;
    link->door = door;
    link->client = client;
    link->requests = (struct flow){.link = link, .from = &link->client, .to = &link->broker};
    link->answers = (struct flow){.link = link, .from = &link->broker, .to = &link->client, .is_answers = true};
    proxy->link_count++;
    if (!trace_view_open(&link->view, &proxy->rules, &proxy->pool, peer, host, ++proxy->connections)) {
        link_close(link);
        return;
    }
    link->op = (struct io_op){.kind = IO_OP_RESOLVE, .done = op_done, .resolve = {.name = door->host, .port = door->port, .addresses = link->addresses}};
    io_submit(io, &link->op);
}

static void accepted(struct io_op *op) {
    struct door *door = container_of(op, struct door, accept);
    if (op->result >= 0) link_open(door, op->net.accepted);
    take_connection(door);
}

static void take_connection(struct door *door) {
    door->accept = (struct io_op){.kind = IO_OP_ACCEPT, .done = accepted, .net = {.socket = door->socket, .address = &door->peer}};
    io_submit(door->proxy->io, &door->accept);
}

/* ---- doors */

static struct door *door_open(struct proxy *proxy, const struct io_address *at, const char *host, uint16_t port, int *error) {
    struct door *door = POOL_NEW(&proxy->pool, struct door);
    *error = -ENOMEM;
    if (!door) return NULL;
    door->proxy = proxy;
    snprintf(door->host, sizeof door->host, "%s", host);
    door->port = port;
    *error = proxy->io->vtable->listen(proxy->io, &door->socket, at, BACKLOG, false);
    if (*error >= 0) *error = proxy->io->vtable->socket_address(proxy->io, door->socket, &door->own);
    if (*error < 0) {
        pool_free(&proxy->pool, door, sizeof *door);
        return NULL;
    }
    struct door **last = &proxy->doors; /* the first stays the first */
    while (*last) last = &(*last)->next;
    *last = door;
    proxy->door_count++;
    take_connection(door);
    return door;
}

static uint16_t port_for(void *context, struct span host, uint16_t port) {
    struct proxy *proxy = context;
    char name[HOST_BYTES], own[IO_ADDRESS_TEXT_MAX], line[HOST_BYTES + 2 * IO_ADDRESS_TEXT_MAX];
    int error;
    if (host.size >= sizeof name) return 0;
    memcpy(name, host.data, host.size);
    name[host.size] = 0;
    for (struct door *door = proxy->doors; door; door = door->next)
        if (door->port == port && strcmp(door->host, name) == 0) return door->own.port;
    struct io_address at = proxy->doors->own;
    at.port = 0;
    struct door *door = proxy->door_count < DOORS_MAX ? door_open(proxy, &at, name, port, &error) : NULL;
    if (!door) return 0;
    io_address_text(&door->own, own);
    snprintf(line, sizeof line, "%s:%d is reached through %s", name, port, own);
    print_line(NULL, line);
    return door->own.port;
}

/* ---- the tool */

/* host:port, [host]:port; false: not such a thing. */
static bool read_target(const char *text, char host[HOST_BYTES], uint16_t *port) {
    const char *colon = strrchr(text, ':');
    char *end;
    if (!colon || colon == text) return false;
    long number = strtol(colon + 1, &end, 10);
    size_t size = (size_t)(colon - text);
    if (*end || end == colon + 1 || number < 1 || number > UINT16_MAX || size >= HOST_BYTES) return false;
    if (text[0] == '[' && text[size - 1] == ']') text++, size -= 2;
    memcpy(host, text, size);
    host[size] = 0;
    *port = (uint16_t)number;
    return true;
}

/* A port of the loopback, or an address and a port. */
static bool read_listen(const char *text, struct io_address *out) {
    char whole[HOST_BYTES];
    snprintf(whole, sizeof whole, strchr(text, ':') ? "%s" : "127.0.0.1:%s", text);
    return io_address_parse(whole, out);
}

/* All the values of an option that may come several times, with commas between. */
static struct span joined(const struct args *args, const char *name, char *target, size_t room) {
    struct text text;
    uint32_t at = 0;
    text_init(&text, target, room);
    for (const char *value; (value = args_each(args, name, &at));) text_add(&text, "%s%s", text.size ? "," : "", value);
    return span_of(text.bytes, text.size);
}

int trace_run(struct args *args) {
    static struct proxy proxy;
    static struct codecs codecs;
    static char apis[4096], clients[4096], addresses[4096];
    struct io_address at;
    struct text why;
    char why_bytes[256], host[HOST_BYTES], own[IO_ADDRESS_TEXT_MAX];
    uint16_t port;
    int error;
    const char *listen = args_text(args, "listen"), *to = args_text(args, "to");
    int64_t line_bytes = args_number(args, "line-bytes");
    text_init(&why, why_bytes, sizeof why_bytes);
    if (!listen) return args_wrong(args, "Missing required argument \"[listen]\"");
    if (!to) return args_wrong(args, "Missing required argument \"[to]\"");
    if (!read_listen(listen, &at)) return args_wrong(args, "--listen %s: a port is wanted, or an address and a port", listen);
    if (!read_target(to, host, &port)) return args_wrong(args, "--to %s: host:port of a broker is wanted", to);
    if (line_bytes < WIRE_TRACE_LINE_MIN || line_bytes > 1 << 26) return args_wrong(args, "--line-bytes %lld: from %d to %d", (long long)line_bytes, WIRE_TRACE_LINE_MIN, 1 << 26);
    struct span names = joined(args, "api", apis, sizeof apis);
    if (!wire_trace_apis(names.size ? names : SPAN_LITERAL("*"), proxy.rules.filter.apis, &why)) return args_wrong(args, "--api: %s", why_bytes);
    proxy.rules.filter.clients = joined(args, "client-id", clients, sizeof clients);
    proxy.rules.filter.addresses = joined(args, "address", addresses, sizeof addresses);
    proxy.rules.json = (struct wire_json_rules){.setting_is_open = config_is_open, .records = args_has(args, "records") ? WIRE_JSON_CONTENTS : WIRE_JSON_COUNTED, .codecs = &codecs};
    proxy.rules.line_bytes = (size_t)line_bytes;
    proxy.rules.tell = print_line;
    proxy.rules.port_for = port_for;
    proxy.rules.context = &proxy;
    pool_init(&proxy.pool, 0, 64);
    codecs_init(&codecs, &proxy.pool);
    error = io_open(&proxy.io, &(struct io_options){.backend = IO_BACKEND_EPOLL, .offload_threads = 1, .pool = &proxy.pool});
    if (error < 0) {
        fprintf(stderr, "moldau trace: no event loop: %s\n", strerror(-error));
        return 1;
    }
    struct door *door = door_open(&proxy, &at, host, port, &error);
    if (!door) {
        fprintf(stderr, "moldau trace: cannot listen on %s: %s\n", listen, strerror(-error));
        return 1;
    }
    io_address_text(&door->own, own);
    printf("listening on %s, passing on to %s:%d\n", own, host, port);
    fflush(stdout);
    while (!ferror(stdout)) io_turn(proxy.io, INT64_MAX); /* until a signal ends it, or nobody reads what is printed */
    return 1;
}
