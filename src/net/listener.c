/* net/listener.c - accepting, and who may: limits for each listener and each address.
 *
 * All counts are the listener's shard's. A connection carries a ticket, which comes home when the connection is gone.
 */
#include "base/hash.h"
#include "net/conn.h"
#include <errno.h>
#include <string.h>

enum { BACKLOG_DEFAULT = 50, RETRY_MS = 100 };

struct address_count {
    struct map_node node;
    uint8_t ip[16];
    uint32_t connections;
};

struct listener {
    struct shard *shard;
    struct listener_options options;
    struct listener_counts counts;
    struct io_socket *socket;  /* owns; NULL: closed */
    struct io_address address;
    struct io_op accept;
    struct io_address peer;    /* of what is being accepted */
    struct map addresses;      /* owns its items */
    uint32_t next;             /* the shard that is next in turn */
    struct timer retry;
    struct turn_hook hook;
    void (*closed)(void *context);
    void *closed_context;
};

static void accept_done(struct io_op *op);

static bool is_full(const struct listener *listener) {
    return listener->options.connections_max && listener->counts.connections >= listener->options.connections_max;
}

/* Full: the kernel's queue holds the others, until a ticket comes home. */
static void accept_next(struct listener *listener) {
    if (!listener->socket || listener->accept.pending || listener->retry.node.index || is_full(listener)) return;
    listener->accept = (struct io_op){.kind = IO_OP_ACCEPT, .done = accept_done, .net = {.socket = listener->socket, .address = &listener->peer}};
    io_submit(listener->shard->io, &listener->accept);
}

static void retry_fire(struct timer *timer) { accept_next(container_of(timer, struct listener, retry)); }

/* ---- Counting by address */
static bool is_address(const struct map_node *node, const void *key) {
    return !memcmp(MAP_ITEM(node, struct address_count, node)->ip, key, 16);
}

/* NULL: over its limit, or over budget. */
static struct address_count *address_take(struct listener *listener, const uint8_t ip[16]) {
    uint64_t hash = hash_bytes(ip, 16);
    struct map_node *found = map_find(&listener->addresses, hash, ip);
    uint32_t most = listener->options.connections_per_address_max;
    if (found) {
        struct address_count *count = MAP_ITEM(found, struct address_count, node);
        if (most && count->connections >= most) return NULL;
        count->connections++;
        return count;
    }
    struct address_count *count = POOL_NEW(listener->shard->pool, struct address_count);
    if (!count) return NULL;
    memcpy(count->ip, ip, 16);
    count->connections = 1;
    if (map_insert(&listener->addresses, &count->node, hash)) return count;
    pool_free(listener->shard->pool, count, sizeof *count);
    return NULL;
}

static void address_give_back(struct listener *listener, struct address_count *count) {
    if (--count->connections > 0) return;
    map_remove(&listener->addresses, &count->node);
    pool_free(listener->shard->pool, count, sizeof *count);
}

/* ---- Tickets */
static void listener_step(struct turn_hook *hook);

static void ticket_home(struct shard *shard, struct message *message) {
    struct ticket *ticket = container_of(message, struct ticket, message);
    struct listener *listener = ticket->listener;
    assert(shard == listener->shard);
    address_give_back(listener, ticket->by_address);
    listener->counts.connections--;
    pool_free(shard->pool, ticket, sizeof *ticket);
    turn_end(shard, &listener->hook, listener_step);
}

void ticket_return(struct shard *shard, struct ticket *ticket) {
    ticket->message.run = ticket_home;
    shard_send(shard, ticket->listener->shard->index, &ticket->message);
}

static void ticket_arrives(struct shard *shard, struct message *message) {
    conn_adopt(shard, container_of(message, struct ticket, message));
}

static void hand_over(struct listener *listener, struct ticket *ticket) {
    struct shard *target = shard_at(listener->shard->group, listener->next);
    listener->next = (listener->next + 1) % shard_count(listener->shard->group);
    if (target == listener->shard) {
        conn_adopt(target, ticket);
        return;
    }
    struct io *io = listener->shard->io;
    if (io->vtable->socket_move(io, ticket->socket, target->io) < 0) { /* then it stays here */
        conn_adopt(listener->shard, ticket);
        return;
    }
    ticket->message.run = ticket_arrives;
    shard_send(listener->shard, target->index, &ticket->message);
}

/* ---- Accepting */
static void accepted(struct listener *listener, struct io_socket *socket) {
    struct io *io = listener->shard->io;
    struct address_count *by_address = address_take(listener, listener->peer.ip);
    struct ticket *ticket = by_address ? POOL_NEW(listener->shard->pool, struct ticket) : NULL;
    if (!ticket) {
        if (by_address) address_give_back(listener, by_address);
        listener->counts.refused_by_address++;
        io_socket_close(io, socket, true);
        return;
    }
    *ticket = (struct ticket){.listener = listener, .socket = socket, .peer = listener->peer, .own = listener->address,
        .by_address = by_address, .owner = listener->options.owner, .context = listener->options.context,
        .untrusted = listener->options.untrusted};
    io->vtable->socket_address(io, socket, &ticket->own); /* else the listener's, which may be a wildcard */
    listener->counts.accepted++;
    listener->counts.connections++;
    hand_over(listener, ticket);
}

/* Without descriptors or memory the waiting connection stays in the kernel's queue; asking again at once would only spin. */
static void accept_done(struct io_op *op) {
    struct listener *listener = container_of(op, struct listener, accept);
    if (!listener->socket) {
        if (op->result >= 0) io_socket_close(listener->shard->io, op->net.accepted, true);
        turn_end(listener->shard, &listener->hook, listener_step);
        return;
    }
    if (op->result >= 0) accepted(listener, op->net.accepted);
    else {
        listener->counts.without_descriptors++;
        if (timer_set(listener->shard, &listener->retry, shard_now(listener->shard) + RETRY_MS * NS_PER_MS, retry_fire)) return;
    }
    accept_next(listener);
}

int listener_open(struct listener **out, struct shard *shard, const struct listener_options *options) {
    struct listener *listener = POOL_NEW(shard->pool, struct listener);
    if (!listener) return -ENOMEM;
    listener->shard = shard;
    listener->options = *options;
    map_init(&listener->addresses, shard->pool, 0, is_address);
    int backlog = options->backlog ? options->backlog : BACKLOG_DEFAULT;
    int result = shard->io->vtable->listen(shard->io, &listener->socket, &options->address, backlog, false);
    if (result < 0) goto fail;
    listener->address = options->address;
    result = shard->io->vtable->socket_address(shard->io, listener->socket, &listener->address);
    if (result < 0) goto fail;
    accept_next(listener);
    *out = listener;
    return 0;
fail:
    if (listener->socket) io_socket_close(shard->io, listener->socket, false);
    map_destroy(&listener->addresses);
    pool_free(shard->pool, listener, sizeof *listener);
    return result;
}

const struct io_address *listener_address(const struct listener *listener) { return &listener->address; }
const struct listener_counts *listener_counts_of(const struct listener *listener) { return &listener->counts; }

void listener_set_limits(struct listener *listener, uint32_t connections_max, uint32_t connections_per_address_max) {
    listener->options.connections_max = connections_max;
    listener->options.connections_per_address_max = connections_per_address_max;
    accept_next(listener);
}

/* Room for another connection, or one step nearer to the end. */
static void listener_step(struct turn_hook *hook) {
    struct listener *listener = container_of(hook, struct listener, hook);
    if (listener->socket) {
        accept_next(listener);
        return;
    }
    if (listener->accept.pending || listener->counts.connections > 0) return;
    struct shard *shard = listener->shard;
    void (*closed)(void *context) = listener->closed;
    void *context = listener->closed_context;
    map_destroy(&listener->addresses);
    pool_free(shard->pool, listener, sizeof *listener);
    if (closed) closed(context);
}

void listener_close(struct listener *listener, void (*closed)(void *context), void *context) {
    assert(listener->socket);
    listener->closed = closed;
    listener->closed_context = context;
    timer_cancel(listener->shard, &listener->retry);
    io_socket_close(listener->shard->io, listener->socket, false);
    listener->socket = NULL;
    turn_end(listener->shard, &listener->hook, listener_step);
}
