/* net/listener.c - accepting, and handing over to the shards in turn.
 *
 * All counts are the listener's shard's. A connection carries a ticket, which comes home when the connection is gone.
 */
#include "net/admission.h"
#include <errno.h>

enum { BACKLOG_DEFAULT = 50, RETRY_MS = 100 };

struct listener {
    struct shard *shard;
    struct listener_options options;
    struct listener_counts counts;
    struct io_socket *socket;  /* owns; NULL: closed */
    struct io_socket *held;    /* owns: accepted, and there is no room for it yet; others wait in the kernel's queue */
    struct io_address address;
    struct io_op accept;
    struct io_address peer;    /* of what is being accepted */
    struct list node;          /* in the admission's list */
    struct pace pace;          /* this listener's own */
    uint32_t next;             /* the shard that is next in turn */
    struct timer retry;
    struct turn_hook hook;
    void (*closed)(void *context);
    void *closed_context;
};

static void accept_done(struct io_op *op);
static void listener_step(struct turn_hook *hook);

static bool is_full(const struct listener *listener) {
    return listener->counts.connections >= listener->options.connections_max;
}

static void retry_fire(struct timer *timer);

static void accepted(struct listener *listener, struct io_socket *socket);

/* What was accepted comes in when there is room. Listeners that share a limit each hold one at most. */
static bool admit(struct listener *listener) {
    struct admission *admission = listener->options.admission;
    if (!listener->held) return true;
    if (is_full(listener)) return false; /* the limit came down while it was being accepted; a ticket that comes home asks again */
    time_ns again = pace_again(&listener->pace, shard_now(listener->shard));
    if (again || (admission && !admission_has_room(admission, listener->options.is_protected, &again))) {
        if (again && !timer_set(listener->shard, &listener->retry, again, retry_fire)) turn_end(listener->shard, &listener->hook, listener_step);
        return false;
    }
    struct io_socket *socket = listener->held;
    listener->held = NULL;
    accepted(listener, socket);
    return true;
}

/* Full: the kernel's queue holds the others, until a ticket comes home. */
static void accept_next(struct listener *listener) {
    if (!listener->socket || listener->accept.pending || listener->retry.node.index) return;
    if (!admit(listener) || is_full(listener)) return;
    listener->accept = (struct io_op){.kind = IO_OP_ACCEPT, .done = accept_done, .net = {.socket = listener->socket, .address = &listener->peer}};
    io_submit(listener->shard->io, &listener->accept);
}

static void retry_fire(struct timer *timer) { accept_next(container_of(timer, struct listener, retry)); }

void listener_wakes(struct list *node) {
    struct listener *listener = LIST_ITEM(node, struct listener, node);
    timer_cancel(listener->shard, &listener->retry); /* looks again now; what it waited for is asked anew */
    turn_end(listener->shard, &listener->hook, listener_step);
}

/* ---- Tickets */

static void ticket_home(struct shard *shard, struct message *message) {
    struct ticket *ticket = container_of(message, struct ticket, message);
    struct listener *listener = ticket->listener;
    assert(shard == listener->shard);
    listener->counts.connections--;
    if (ticket->by_address) admission_give_back(listener->options.admission, ticket->by_address);
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
    struct admission *admission = listener->options.admission;
    pace_take(&listener->pace, shard_now(listener->shard));
    struct address_count *by_address = admission ? admission_take(admission, listener->peer.ip) : NULL;
    struct ticket *ticket = by_address || !admission ? POOL_NEW(listener->shard->pool, struct ticket) : NULL;
    if (!ticket) {
        if (by_address) admission_give_back(admission, by_address);
        listener->counts.refused++;
        io_socket_close(io, socket, true);
        return;
    }
    *ticket = (struct ticket){.listener = listener, .socket = socket, .peer = listener->peer, .own = listener->address,
        .by_address = by_address, .owner = listener->options.owner, .context = listener->options.context,
        .untrusted = listener->options.untrusted, .is_protected = listener->options.is_protected};
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
    if (op->result >= 0) listener->held = op->net.accepted;
    else {
        listener->counts.without_descriptors++;
        if (listener->options.admission) admission_make_room(listener->options.admission);
        if (timer_set(listener->shard, &listener->retry, shard_now(listener->shard) + RETRY_MS * NS_PER_MS, retry_fire)) return;
    }
    accept_next(listener);
}

int listener_open(struct listener **out, struct shard *shard, const struct listener_options *options) {
    struct listener *listener = POOL_NEW(shard->pool, struct listener);
    if (!listener) return -ENOMEM;
    listener->shard = shard;
    listener->options = *options;
    if (!options->connections_max) listener->options.connections_max = UINT32_MAX;
    listener->pace.rate_max = UINT32_MAX;
    list_init(&listener->node);
    int backlog = options->backlog ? options->backlog : BACKLOG_DEFAULT;
    int result = shard->io->vtable->listen(shard->io, &listener->socket, &options->address, backlog, false);
    if (result < 0) goto fail;
    listener->address = options->address;
    result = shard->io->vtable->socket_address(shard->io, listener->socket, &listener->address);
    if (result < 0) goto fail;
    if (options->admission) admission_join(options->admission, &listener->node);
    accept_next(listener);
    *out = listener;
    return 0;
fail:
    if (listener->socket) io_socket_close(shard->io, listener->socket, false);
    pool_free(shard->pool, listener, sizeof *listener);
    return result;
}

const struct io_address *listener_address(const struct listener *listener) { return &listener->address; }
const struct listener_counts *listener_counts_of(const struct listener *listener) { return &listener->counts; }

void listener_set_limits(struct listener *listener, uint32_t connections_max, uint32_t rate_max) {
    if (connections_max == listener->options.connections_max && rate_max == listener->pace.rate_max) return;
    listener->options.connections_max = connections_max;
    listener->pace.rate_max = rate_max;
    listener_wakes(&listener->node);
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
    list_remove(&listener->node);
    pool_free(shard->pool, listener, sizeof *listener);
    if (closed) closed(context);
}

void listener_close(struct listener *listener, void (*closed)(void *context), void *context) {
    assert(listener->socket);
    listener->closed = closed;
    listener->closed_context = context;
    timer_cancel(listener->shard, &listener->retry);
    io_socket_close(listener->shard->io, listener->socket, false);
    if (listener->held) io_socket_close(listener->shard->io, listener->held, true);
    listener->socket = listener->held = NULL;
    turn_end(listener->shard, &listener->hook, listener_step);
}
