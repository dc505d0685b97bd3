/* net/peer.c - one connection to another node, made when there is something to send, and again after it was lost.
 *
 * A request waits, is in flight, or is finished and about to be told. Answers come in the order of the requests, as
 * Kafka promises; one that does not match its request ends the connection. A request whose bytes may still be the io's
 * is never told: those in flight when the connection ends are told when the stream is dead.
 */
#include "base/bytes.h"
#include "net/stream.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 20, HOST_BYTES_MAX = 256, HEADER_BYTES = 8, CORRELATION_BYTES = 4, BACKOFF_DOUBLINGS_MAX = 20 };

struct peer {
    struct stream stream;
    bool has_stream;              /* it is open, or closed and not dead yet */
    struct shard *shard;
    struct peer_options options;
    char host[HOST_BYTES_MAX];
    enum peer_state state;
    struct io_op op;              /* resolving, connecting */
    struct io_socket *socket;     /* owns, while connecting */
    struct io_address addresses[IO_ADDRESSES_MAX], address;
    uint32_t address_count, address_next;
    struct list waiting, in_flight, finished;
    uint32_t held, in_flight_count;
    int32_t correlation;
    uint32_t failures;            /* in a row, for the backoff */
    time_ns connect_until, backoff_until, used;
    int error;                    /* why the connection ended */
    bool wanted;                  /* peer_connect: also without a request */
    bool lost;                    /* on_disconnected is to be told when the stream is dead */
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
    struct timer timer;
    struct turn_hook hook;
};

static void peer_step(struct turn_hook *hook);
static void wake(struct peer *peer) { turn_end(peer->shard, &peer->hook, peer_step); }
static struct peer *peer_of(struct stream *stream) { return container_of(stream, struct peer, stream); }

/* ---- Timer: at or before the earliest of what has a time. */
static void peer_fire(struct timer *timer);

static time_ns earliest(const struct list *list, time_ns than) {
    LIST_EACH(node, list) {
        const struct peer_request *request = LIST_ITEM(node, const struct peer_request, node);
        if (request->deadline < than) than = request->deadline;
    }
    return than;
}

static void arm(struct peer *peer) {
    time_ns at = earliest(&peer->waiting, earliest(&peer->in_flight, INT64_MAX));
    if (peer->state == PEER_CONNECTING && peer->connect_until < at) at = peer->connect_until;
    if (peer->state == PEER_BACKING_OFF && peer->backoff_until < at) at = peer->backoff_until;
    if (peer->state == PEER_READY && peer->options.idle_ms >= 0 && !peer->held && peer->used + peer->options.idle_ms * NS_PER_MS < at)
        at = peer->used + peer->options.idle_ms * NS_PER_MS;
    if (peer->has_stream && peer->stream.starved && shard_now(peer->shard) + RETRY_MS * NS_PER_MS < at)
        at = shard_now(peer->shard) + RETRY_MS * NS_PER_MS;
    if (at == INT64_MAX || (peer->timer.node.index && peer->timer.node.key <= at)) return;
    /* The timer's place was taken when the peer was opened, and is taken again at each firing before anything else. */
    bool set = timer_set(peer->shard, &peer->timer, at, peer_fire);
    assert(set);
}

/* ---- The end of requests and connections */
static void finish(struct peer *peer, struct peer_request *request, enum err err) {
    list_remove(&request->node);
    request->err = err;
    list_push(&peer->finished, &request->node);
    wake(peer);
}

/* Puts the next attempt off, ever longer while they fail, and not all at once with everybody else who lost the same node. */
static void back_off(struct peer *peer) {
    uint64_t dice;
    time_ms span = peer->options.backoff_min_ms << (peer->failures < BACKOFF_DOUBLINGS_MAX ? peer->failures : BACKOFF_DOUBLINGS_MAX);
    if (span > peer->options.backoff_max_ms) span = peer->options.backoff_max_ms;
    io_random(peer->shard->io, &dice, sizeof dice);
    time_ns exact = span * NS_PER_MS * 4 / 5 + (time_ns)(dice % (uint64_t)(span * NS_PER_MS * 2 / 5 + 1));
    peer->failures++;
    peer->state = PEER_BACKING_OFF;
    peer->backoff_until = shard_now(peer->shard) + exact;
}

/* The connection or the attempt is over; `error` 0 and `wanted`: by our own wish. */
static void lose(struct peer *peer, int error, bool wanted) {
    if (peer->lost) return;
    peer->lost = true;
    peer->error = error;
    if (peer->has_stream) stream_close(&peer->stream, error != 0);
    if (peer->socket) io_socket_close(peer->shard->io, peer->socket, true);
    peer->socket = NULL;
    if (wanted) peer->state = PEER_IDLE;
    else back_off(peer);
    wake(peer);
    if (!peer->closing) arm(peer);
}

static void connection_over(struct peer *peer) {
    peer->lost = false;
    peer->has_stream = false;
    peer->in_flight_count = 0;
    for (struct list *node; (node = list_pop(&peer->in_flight));) {
        struct peer_request *request = LIST_ITEM(node, struct peer_request, node);
        if (request->err == ERR_NONE) request->err = ERR_CLOSED;
        list_push(&peer->finished, &request->node);
    }
    if (peer->options.on_disconnected && !peer->closing) peer->options.on_disconnected(peer, peer->error);
}

/* ---- Connecting */
static void op_done(struct io_op *op);

static void connect_next(struct peer *peer, int error) {
    if (peer->address_next == peer->address_count) {
        lose(peer, error, false);
        return;
    }
    peer->address = peer->addresses[peer->address_next++];
    int result = peer->shard->io->vtable->socket_new(peer->shard->io, &peer->socket);
    if (result < 0) {
        peer->socket = NULL;
        lose(peer, result, false);
        return;
    }
    peer->op = (struct io_op){.kind = IO_OP_CONNECT, .done = op_done, .net = {.socket = peer->socket, .address = &peer->address}};
    io_submit(peer->shard->io, &peer->op);
}

static bool parse_literal(const struct peer *peer, struct io_address *out) {
    char text[HOST_BYTES_MAX + 16];
    snprintf(text, sizeof text, strchr(peer->host, ':') ? "[%s]:%u" : "%s:%u", peer->host, peer->options.port);
    return io_address_parse(text, out);
}

static void begin(struct peer *peer) {
    peer->wanted = false;
    peer->state = PEER_CONNECTING;
    peer->connect_until = shard_now(peer->shard) + peer->options.connect_ms * NS_PER_MS;
    peer->address_count = peer->address_next = 0;
    arm(peer);
    if (parse_literal(peer, &peer->addresses[0])) {
        peer->address_count = 1;
        connect_next(peer, 0);
        return;
    }
    peer->op = (struct io_op){.kind = IO_OP_RESOLVE, .done = op_done,
        .resolve = {.name = peer->host, .port = peer->options.port, .addresses = peer->addresses}};
    io_submit(peer->shard->io, &peer->op);
}

static const struct stream_owner stream_owner;

static void connected(struct peer *peer) {
    struct io_socket *socket = peer->socket;
    peer->socket = NULL;
    peer->has_stream = true;
    stream_init(&peer->stream, peer->shard, socket, &stream_owner, peer->options.frame_bytes_max);
    peer->state = PEER_GREETING;
    peer->used = shard_now(peer->shard);
    if (peer->options.on_connected) peer->options.on_connected(peer);
    else peer_ready(peer);
    if (peer->has_stream && !peer->stream.closed) stream_resume(&peer->stream);
    wake(peer);
}

static void op_done(struct io_op *op) {
    struct peer *peer = container_of(op, struct peer, op);
    if (peer->state != PEER_CONNECTING || peer->lost) { /* given up meanwhile: what comes of it goes */
        wake(peer);
        return;
    }
    if (op->kind == IO_OP_RESOLVE) {
        if (op->result > 0) peer->address_count = op->resolve.count;
        if (op->result <= 0) lose(peer, op->result ? (int)op->result : -ENOENT, false);
        else connect_next(peer, 0);
        return;
    }
    if (op->result >= 0) {
        connected(peer);
        return;
    }
    io_socket_close(peer->shard->io, peer->socket, true);
    peer->socket = NULL;
    connect_next(peer, (int)op->result);
}

/* ---- Requests and answers */
static bool may_go(const struct peer *peer, const struct peer_request *request) {
    if (peer->in_flight_count >= peer->options.in_flight_max) return false;
    return peer->state == PEER_READY || (peer->state == PEER_GREETING && request->greeting);
}

/* The size and the header's first eight bytes go from the request's own memory, the correlation id being ours. */
static void send_request(struct peer *peer, struct peer_request *request) {
    assert(request->chain->bytes >= HEADER_BYTES && request->chain->bytes <= INT32_MAX);
    request->correlation = peer->correlation;
    peer->correlation = peer->correlation == INT32_MAX ? 0 : peer->correlation + 1;
    store_be32(request->head, (uint32_t)request->chain->bytes);
    chain_copy_out(request->chain, request->head + 4, HEADER_BYTES);
    store_be32(request->head + 8, (uint32_t)request->correlation);
    chain_consume(request->chain, HEADER_BYTES);
    request->head_slice = (struct slice){.kind = SLICE_MEMORY, .size = sizeof request->head, .memory.data = request->head};
    struct chain head = {.first = &request->head_slice, .last = &request->head_slice, .bytes = sizeof request->head, .count = 1};
    stream_send(&peer->stream, &head);
    if (request->chain->bytes) stream_send(&peer->stream, request->chain);
    request->sent_end = peer->stream.queued_total;
    list_remove(&request->node);
    list_push(&peer->in_flight, &request->node);
    peer->in_flight_count++;
    peer->used = shard_now(peer->shard);
}

static void send_waiting(struct peer *peer) {
    if (!peer->has_stream || peer->stream.closed) return;
    LIST_EACH_SAFE(node, &peer->waiting) {
        struct peer_request *request = LIST_ITEM(node, struct peer_request, node);
        if (may_go(peer, request)) send_request(peer, request);
    }
}

static enum stream_verdict on_frame(struct stream *stream, struct span frame, struct slab *slab) {
    struct peer *peer = peer_of(stream);
    struct list *first = peer->in_flight.next;
    struct peer_request *request = first == &peer->in_flight ? NULL : LIST_ITEM(first, struct peer_request, node);
    if (request && request->sent_end > stream->sent_total) return STREAM_HOLD; /* the send's own end has not been told yet */
    if (!request || frame.size < CORRELATION_BYTES || (int32_t)load_be32(frame.data) != request->correlation) {
        lose(peer, -EPROTO, false);
        return STREAM_ENDED;
    }
    list_remove(&request->node);
    peer->in_flight_count--;
    peer->held--;
    peer->used = shard_now(peer->shard);
    wake(peer);
    request->done(request, ERR_NONE, span_of(frame.data + CORRELATION_BYTES, frame.size - CORRELATION_BYTES), slab);
    return stream->closed ? STREAM_ENDED : STREAM_NEXT;
}

static void on_sent(struct stream *stream) {
    if (stream->held) wake(peer_of(stream));
}
static void on_received(struct stream *stream) {
    if (stream->starved) arm(peer_of(stream));
}
static void on_broken(struct stream *stream, enum conn_end why, int error) {
    lose(peer_of(stream), why == CONN_END_FRAME_SIZE ? -EMSGSIZE : error, false);
}
static void on_dead(struct stream *stream) { wake(peer_of(stream)); }

static const struct stream_owner stream_owner = {
    .on_frame = on_frame, .on_received = on_received, .on_sent = on_sent, .on_broken = on_broken, .on_dead = on_dead,
};

static void expire(struct peer *peer, time_ns now) {
    LIST_EACH_SAFE(node, &peer->waiting) {
        struct peer_request *request = LIST_ITEM(node, struct peer_request, node);
        if (request->deadline <= now) finish(peer, request, ERR_AGAIN);
    }
    bool late = false;
    LIST_EACH(node, &peer->in_flight) {
        struct peer_request *request = LIST_ITEM(node, struct peer_request, node);
        if (request->deadline > now) continue;
        request->err = ERR_TIMEOUT;
        late = true;
    }
    if (late) lose(peer, -ETIMEDOUT, false); /* its answer would stand before all later ones */
}

static void peer_fire(struct timer *timer) {
    struct peer *peer = container_of(timer, struct peer, timer);
    time_ns now = shard_now(peer->shard);
    bool set = timer_set(peer->shard, timer, INT64_MAX, peer_fire); /* the place it had just now */
    assert(set);
    if (peer->closing) return;
    expire(peer, now);
    if (peer->has_stream && peer->stream.starved) stream_resume(&peer->stream);
    if (peer->state == PEER_CONNECTING && now >= peer->connect_until) lose(peer, -ETIMEDOUT, false);
    if (peer->state == PEER_READY && !peer->held && peer->options.idle_ms >= 0 && now >= peer->used + peer->options.idle_ms * NS_PER_MS)
        lose(peer, 0, true);
    wake(peer);
    arm(peer);
}

/* ---- The step at the end of a turn */
static void tell_finished(struct peer *peer) {
    for (struct list *node; (node = list_pop(&peer->finished));) {
        struct peer_request *request = LIST_ITEM(node, struct peer_request, node);
        peer->held--;
        request->done(request, request->err, (struct span){0}, NULL);
    }
}

static void peer_free(struct peer *peer) {
    void (*closed)(void *context) = peer->closed;
    void *context = peer->closed_context;
    timer_cancel(peer->shard, &peer->timer);
    pool_free(peer->shard->pool, peer, sizeof *peer);
    if (closed) closed(context);
}

static void peer_step(struct turn_hook *hook) {
    struct peer *peer = container_of(hook, struct peer, hook);
    bool busy = peer->op.pending || (peer->has_stream && !peer->stream.dead);
    if (peer->lost && !busy) connection_over(peer);
    tell_finished(peer);
    if (peer->closing) {
        if (!busy && !peer->lost && !peer->held && !peer->hook.queued) peer_free(peer);
        return;
    }
    if (peer->state == PEER_BACKING_OFF && shard_now(peer->shard) >= peer->backoff_until) peer->state = PEER_IDLE;
    if (peer->state == PEER_IDLE && !peer->lost && !busy && (peer->wanted || !list_is_empty(&peer->waiting))) begin(peer);
    if (peer->has_stream && peer->stream.held && !peer->stream.starved) stream_resume(&peer->stream);
    send_waiting(peer);
    arm(peer);
}

/* ---- What the owner asks */
static time_ms or_ms(time_ms value, time_ms otherwise) { return value ? value : otherwise; }

enum err peer_open(struct peer **out, struct shard *shard, const struct peer_options *options) {
    if (!options->host || !options->host[0] || strlen(options->host) >= HOST_BYTES_MAX) return ERR_INVALID;
    struct peer *peer = POOL_NEW(shard->pool, struct peer);
    if (!peer) return ERR_NO_MEMORY;
    peer->shard = shard;
    peer->options = *options;
    memcpy(peer->host, options->host, strlen(options->host) + 1);
    peer->options.host = peer->host;
    if (!options->requests_max) peer->options.requests_max = 100;
    if (!options->in_flight_max) peer->options.in_flight_max = 5;
    if (!options->frame_bytes_max) peer->options.frame_bytes_max = (uint32_t)MIB(100);
    peer->options.connect_ms = or_ms(options->connect_ms, 10000);
    peer->options.backoff_min_ms = or_ms(options->backoff_min_ms, 50);
    peer->options.backoff_max_ms = or_ms(options->backoff_max_ms, 1000);
    peer->options.idle_ms = or_ms(options->idle_ms, 540000);
    list_init(&peer->waiting);
    list_init(&peer->in_flight);
    list_init(&peer->finished);
    if (!timer_set(shard, &peer->timer, INT64_MAX, peer_fire)) {
        pool_free(shard->pool, peer, sizeof *peer);
        return ERR_NO_MEMORY;
    }
    *out = peer;
    return ERR_NONE;
}

enum err peer_send(struct peer *peer, struct peer_request *request) {
    assert(!peer->closing);
    if (peer->held >= peer->options.requests_max) return ERR_BUSY;
    peer->held++;
    request->err = ERR_NONE;
    list_push(&peer->waiting, &request->node);
    wake(peer);
    return ERR_NONE;
}

void peer_connect(struct peer *peer) {
    if (peer->closing || (peer->state != PEER_IDLE && peer->state != PEER_BACKING_OFF)) return;
    peer->state = PEER_IDLE; /* as soon as an old connection is gone */
    peer->wanted = true;
    wake(peer);
}

void peer_ready(struct peer *peer) {
    if (peer->state != PEER_GREETING) return;
    peer->state = PEER_READY;
    peer->failures = 0;
    wake(peer);
}

void peer_disconnect(struct peer *peer) {
    peer->wanted = false;
    if (peer->state == PEER_BACKING_OFF) peer->state = PEER_IDLE;
    else if (peer->state != PEER_IDLE) lose(peer, 0, true);
}

enum peer_state peer_state_of(const struct peer *peer) { return peer->state; }
void *peer_user(const struct peer *peer) { return peer->options.user; }
const struct io_address *peer_address(const struct peer *peer) { return &peer->address; }

void peer_close(struct peer *peer, void (*closed)(void *context), void *context) {
    assert(!peer->closing);
    peer->closing = true;
    peer->closed = closed;
    peer->closed_context = context;
    LIST_EACH_SAFE(node, &peer->waiting) finish(peer, LIST_ITEM(node, struct peer_request, node), ERR_AGAIN);
    if (peer->state != PEER_IDLE && peer->state != PEER_BACKING_OFF) lose(peer, 0, true);
    wake(peer);
}
