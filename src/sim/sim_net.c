#include "sim/sim_net.h"
#include "base/bytes.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NAMES_MAX = 128, NAME_BYTES = 64, PORT_FIRST = 32768 };

enum piece_kind { PIECE_DATA, PIECE_END, PIECE_RESET };
struct piece { /* on its way */
    struct list order;
    enum piece_kind kind;
    time_ns arrives;
    size_t size;
    uint8_t bytes[];
};

struct connection;
struct wire { /* one direction of a connection */
    struct connection *connection;
    uint32_t to;              /* the side where it ends                                          */
    struct list pieces;       /* in order                                                        */
    size_t in_flight, unread; /* bytes: together at most the window                              */
    uint8_t *buffer;          /* unread: what arrived and nobody took yet                        */
    size_t buffer_capacity, buffer_start;
    bool ended;               /* the end has arrived                                             */
    time_ns last_arrival, blocked_since; /* blocked: -1 when it moves                            */
    struct sim_event arrival; /* of the first piece                                              */
    struct sim_event credit;  /* the sender hears that there is room                             */
};

enum side_state { SIDE_ALIVE, SIDE_CLOSED, SIDE_FORGOTTEN }; /* forgotten: its host lost power */
struct connection {
    struct list all;
    struct sim_net *net;
    uint64_t number;
    uint32_t host[2];
    enum side_state state[2];
    struct io_socket *socket[2]; /* NULL: closed or forgotten */
    int error[2];                /* what the side learns at its next operation */
    struct wire wire[2];         /* wire[n] leads to side n */
};

enum socket_kind { SOCKET_NEW, SOCKET_CONNECTING, SOCKET_LISTENING, SOCKET_CONNECTED };
struct io_socket {
    struct list others;          /* of the net              */
    struct list waiting;         /* in a listener's backlog */
    struct sim_net *net;
    struct sim_net_user *user;
    struct sim_net_end *end;     /* NULL: not accepted yet  */
    enum socket_kind kind;
    struct io_address own, peer;
    struct io_op *in, *out;
    struct list backlog;
    uint32_t backlog_count, backlog_max;
    bool shared_port;
    struct connection *connection;
    uint32_t side;
    struct sim_event handshake;
    uint32_t handshake_stage;
    time_ns handshake_since;
};

struct sim_net_user { struct list others; struct sim_net *net; uint32_t host; bool dead; };

struct link { bool cut; time_ns extra; };
struct sim_net {
    struct sim *sim;
    struct pool *pool;
    struct random random;
    struct sim_net_options options;
    struct link links[SIM_HOSTS_MAX][SIM_HOSTS_MAX];
    bool down[SIM_HOSTS_MAX];
    uint16_t port_next;
    struct list sockets, connections, users;
    uint64_t connection_next;
    struct { char name[NAME_BYTES]; uint32_t host; } names[NAMES_MAX];
    uint32_t names_count;
};

struct sim_net_options sim_net_options_default(void) {
    return (struct sim_net_options){.delay_min = 50000, .delay_max = 2 * NS_PER_MS, .give_up = 15 * NS_PER_S,
                                    .window_bytes = 128 << 10, .pieces = true};
}

struct sim_net *sim_net_new(struct sim *sim, const struct sim_net_options *options) {
    struct sim_net *net = POOL_NEW(sim_pool(sim), struct sim_net);
    assert(net);
    net->sim = sim;
    net->pool = sim_pool(sim);
    net->options = options ? *options : sim_net_options_default();
    net->port_next = PORT_FIRST;
    random_seed(&net->random, sim_fork_seed(sim));
    list_init(&net->sockets);
    list_init(&net->connections);
    list_init(&net->users);
    return net;
}

void sim_net_set_options(struct sim_net *net, const struct sim_net_options *options) { net->options = *options; }

/* ---- Addresses and names */
static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void sim_net_address(uint32_t host, uint16_t port, struct io_address *out) {
    memcpy(out->ip, mapped, sizeof mapped);
    out->ip[12] = 10;
    out->ip[13] = out->ip[14] = 0;
    out->ip[15] = (uint8_t)(host + 1);
    out->port = port;
}

bool sim_net_host_of(const struct io_address *address, uint32_t *host) {
    if (memcmp(address->ip, mapped, sizeof mapped) != 0 || address->ip[12] != 10 || address->ip[13] || address->ip[14]) return false;
    if (address->ip[15] == 0 || address->ip[15] > SIM_HOSTS_MAX) return false;
    *host = address->ip[15] - 1u;
    return true;
}

static bool is_loopback(const struct io_address *address) {
    static const uint8_t six[16] = {[15] = 1};
    return (memcmp(address->ip, mapped, sizeof mapped) == 0 && address->ip[12] == 127) || memcmp(address->ip, six, 16) == 0;
}

static bool is_any(const struct io_address *address) {
    static const uint8_t none[16] = {0};
    return memcmp(address->ip, none, 16) == 0
        || (memcmp(address->ip, mapped, sizeof mapped) == 0 && load_be32(address->ip + 12) == 0);
}

bool sim_net_name(struct sim_net *net, const char *name, uint32_t host) {
    if (net->names_count == NAMES_MAX || strlen(name) >= NAME_BYTES) return false;
    strcpy(net->names[net->names_count].name, name);
    net->names[net->names_count++].host = host;
    return true;
}

/* ---- Wires */
static void serve_in(struct io_socket *socket);
static void serve_out(struct io_socket *socket);
static void connection_drop_if_over(struct connection *connection);

static time_ns delay(struct sim_net *net, uint32_t from, uint32_t to) {
    time_ns range = net->options.delay_max - net->options.delay_min;
    time_ns base = net->options.delay_min + (range > 0 ? (time_ns)random_below(&net->random, (uint64_t)range) : 0);
    return (from == to ? base / 8 + 1 : base) + net->links[from][to].extra;
}

static bool link_is_open(const struct sim_net *net, uint32_t from, uint32_t to) {
    return (from == to || !net->links[from][to].cut) && !net->down[to];
}

static void wire_schedule(struct sim *sim, struct wire *wire);

static void wire_put(struct wire *wire, enum piece_kind kind, size_t size, struct piece *piece) {
    struct connection *connection = wire->connection;
    struct sim_net *net = connection->net;
    if (!piece) {
        piece = pool_alloc(net->pool, sizeof *piece);
        assert(piece);
    }
    uint32_t from = connection->host[!wire->to], to = connection->host[wire->to];
    piece->kind = kind;
    piece->size = size;
    piece->arrives = sim_now(net->sim) + delay(net, from, to);
    if (piece->arrives <= wire->last_arrival) piece->arrives = wire->last_arrival + 1;
    wire->last_arrival = piece->arrives;
    wire->in_flight += size;
    list_push(&wire->pieces, &piece->order);
    wire_schedule(net->sim, wire);
}

static void piece_free(struct wire *wire, struct piece *piece) {
    list_remove(&piece->order);
    wire->in_flight -= piece->size;
    pool_free(wire->connection->net->pool, piece, sizeof *piece + piece->size);
}

static void wire_clear(struct wire *wire) {
    while (!list_is_empty(&wire->pieces)) piece_free(wire, LIST_ITEM(wire->pieces.next, struct piece, order));
    sim_cancel(wire->connection->net->sim, &wire->arrival);
}

static void wire_buffer_drop(struct wire *wire) {
    pool_free(wire->connection->net->pool, wire->buffer, wire->buffer_capacity);
    wire->buffer = NULL;
    wire->buffer_capacity = wire->buffer_start = wire->unread = 0;
}

static void wire_buffer_add(struct wire *wire, const uint8_t *bytes, size_t size) {
    struct pool *pool = wire->connection->net->pool;
    if (wire->buffer_start + wire->unread + size > wire->buffer_capacity) {
        size_t capacity = 4096;
        while (capacity < wire->unread + size) capacity *= 2;
        uint8_t *buffer = pool_alloc(pool, capacity);
        assert(buffer);
        if (wire->unread) memcpy(buffer, wire->buffer + wire->buffer_start, wire->unread);
        pool_free(pool, wire->buffer, wire->buffer_capacity);
        wire->buffer = buffer;
        wire->buffer_capacity = capacity;
        wire->buffer_start = 0;
    }
    memcpy(wire->buffer + wire->buffer_start + wire->unread, bytes, size);
    wire->unread += size;
}

/* The side learns it at its next operation, or at the one that waits. */
static void side_error(struct connection *connection, uint32_t side, int error) {
    if (!connection->socket[side] || connection->error[side]) return;
    connection->error[side] = error;
    wire_buffer_drop(&connection->wire[side]);
    sim_note(connection->net->sim, "net error", connection->host[side], connection->number, (uint64_t)-error);
    serve_in(connection->socket[side]);
    if (connection->socket[side]) serve_out(connection->socket[side]);
}

static void answer_with_reset(struct connection *connection, uint32_t from_side) {
    /* A lost reset is not sent again: the other end stays half-open. */
    struct sim_net *net = connection->net;
    uint32_t from = connection->host[from_side], to = connection->host[!from_side];
    if (connection->socket[!from_side] && link_is_open(net, from, to)) {
        wire_clear(&connection->wire[!from_side]);
        wire_put(&connection->wire[!from_side], PIECE_RESET, 0, NULL);
    }
}

static void wire_deliver(struct wire *wire, struct piece *piece) {
    struct connection *connection = wire->connection;
    struct sim *sim = connection->net->sim;
    uint32_t side = wire->to;
    struct io_socket *socket = connection->socket[side];
    sim_note(sim, piece->kind == PIECE_DATA ? "net arrive" : piece->kind == PIECE_END ? "net end" : "net reset",
             connection->host[side], connection->number, piece->size);
    enum piece_kind kind = piece->kind;
    if (!socket || connection->error[side]) { /* nobody there any more: say so, unless it is the end of it */
        bool tell = kind == PIECE_DATA && !socket;
        piece_free(wire, piece);
        if (tell) answer_with_reset(connection, side);
        return;
    }
    if (kind == PIECE_DATA) {
        sim_hash_bytes(sim, piece->bytes, piece->size);
        wire_buffer_add(wire, piece->bytes, piece->size);
    }
    piece_free(wire, piece);
    if (kind == PIECE_END) wire->ended = true;
    if (kind == PIECE_RESET) side_error(connection, side, -ECONNRESET);
    else serve_in(socket);
}

static void wire_arrive(struct sim *sim, struct sim_event *event) {
    struct wire *wire = container_of(event, struct wire, arrival);
    struct connection *connection = wire->connection;
    struct sim_net *net = connection->net;
    struct piece *piece = LIST_ITEM(wire->pieces.next, struct piece, order);
    uint32_t from = connection->host[!wire->to], to = connection->host[wire->to];
    if (link_is_open(net, from, to)) {
        wire->blocked_since = -1;
        wire_deliver(wire, piece);
        wire_schedule(sim, wire);
    } else if (piece->kind == PIECE_RESET || connection->state[!wire->to] == SIDE_FORGOTTEN) {
        wire_clear(wire); /* nobody sends it again */
    } else if (wire->blocked_since < 0 || sim_now(sim) - wire->blocked_since < net->options.give_up) {
        if (wire->blocked_since < 0) wire->blocked_since = sim_now(sim);
        piece->arrives = sim_now(sim) + (time_ns)(50 + random_below(&net->random, 350)) * NS_PER_MS; /* sent again */
        if (piece->arrives > wire->last_arrival) wire->last_arrival = piece->arrives;
        wire_schedule(sim, wire);
    } else {
        wire_clear(wire);
        side_error(connection, !wire->to, -ETIMEDOUT);
    }
    connection_drop_if_over(connection);
}

static void wire_schedule(struct sim *sim, struct wire *wire) {
    if (list_is_empty(&wire->pieces) || sim_is_scheduled(&wire->arrival)) return;
    sim_at(sim, &wire->arrival, LIST_ITEM(wire->pieces.next, struct piece, order)->arrives, wire_arrive);
}

static void wire_credit(struct sim *sim, struct sim_event *event) {
    struct wire *wire = container_of(event, struct wire, credit);
    struct io_socket *sender = wire->connection->socket[!wire->to];
    if (sender) serve_out(sender);
}

/* ---- Connections and sockets */
static struct connection *connection_new(struct sim_net *net, uint32_t from, uint32_t to) {
    struct connection *connection = POOL_NEW(net->pool, struct connection);
    assert(connection);
    connection->net = net;
    connection->number = ++net->connection_next;
    connection->host[0] = from;
    connection->host[1] = to;
    for (uint32_t n = 0; n < 2; n++) {
        connection->wire[n].connection = connection;
        connection->wire[n].to = n;
        connection->wire[n].blocked_since = -1;
        list_init(&connection->wire[n].pieces);
    }
    list_push(&net->connections, &connection->all);
    return connection;
}

static void connection_free(struct connection *connection) {
    for (uint32_t n = 0; n < 2; n++) {
        wire_clear(&connection->wire[n]);
        wire_buffer_drop(&connection->wire[n]);
        sim_cancel(connection->net->sim, &connection->wire[n].credit);
    }
    list_remove(&connection->all);
    pool_free(connection->net->pool, connection, sizeof *connection);
}

static void connection_drop_if_over(struct connection *connection) {
    if (connection->socket[0] || connection->socket[1]) return;
    connection_free(connection);
}

static struct io_socket *socket_make(struct sim_net *net, struct sim_net_user *user, struct sim_net_end *end) {
    struct io_socket *socket = POOL_NEW(net->pool, struct io_socket);
    assert(socket);
    socket->net = net;
    socket->user = user;
    socket->end = end;
    list_init(&socket->waiting);
    list_init(&socket->backlog);
    list_push(&net->sockets, &socket->others);
    return socket;
}

static void socket_complete(struct io_socket *socket, struct io_op **slot, int64_t result) {
    struct io_op *op = *slot;
    if (!op) return;
    *slot = NULL;
    socket->end->complete(socket->end, op, result);
}

/* Lets go of the socket; what the network still does for it is with the connection. */
static void socket_free(struct io_socket *socket) {
    struct sim_net *net = socket->net;
    while (!list_is_empty(&socket->backlog)) {
        struct io_socket *waiting = LIST_ITEM(socket->backlog.next, struct io_socket, waiting);
        list_remove(&waiting->waiting);
        sim_net_socket_close(waiting, true);
    }
    list_remove(&socket->waiting);
    list_remove(&socket->others);
    sim_cancel(net->sim, &socket->handshake);
    pool_free(net->pool, socket, sizeof *socket);
}

void sim_net_socket_close(struct io_socket *socket, bool reset) {
    struct connection *connection = socket->connection;
    struct sim_net *net = socket->net;
    socket_complete(socket, &socket->in, -ECANCELED);
    socket_complete(socket, &socket->out, -ECANCELED);
    if (connection) {
        uint32_t side = socket->side;
        if (connection->wire[side].unread > 0) reset = true; /* as a kernel does: the peer must know that it was not read */
        sim_note(net->sim, reset ? "net close hard" : "net close", connection->host[side], connection->number, 0);
        connection->socket[side] = NULL;
        connection->state[side] = SIDE_CLOSED;
        wire_buffer_drop(&connection->wire[side]);
        if (!connection->error[side]) {
            if (reset) answer_with_reset(connection, side);
            else wire_put(&connection->wire[!side], PIECE_END, 0, NULL);
        }
        connection_drop_if_over(connection);
    }
    socket_free(socket);
}

int sim_net_socket_move(struct io_socket *socket, struct sim_net_end *to) {
    assert(socket->kind == SOCKET_CONNECTED && !socket->in && !socket->out && socket->user == to->user);
    socket->end = to;
    return 0;
}

int sim_net_socket_new(struct sim_net_end *end, struct io_socket **out) {
    *out = socket_make(end->user->net, end->user, end);
    return 0;
}

static bool same_ip(const struct io_address *a, const struct io_address *b) {
    return is_any(a) || is_any(b) || memcmp(a->ip, b->ip, 16) == 0;
}

static uint16_t port_free(struct sim_net *net) {
    uint16_t port = net->port_next;
    net->port_next = port == UINT16_MAX ? PORT_FIRST : (uint16_t)(port + 1);
    return port;
}

int sim_net_listen(struct sim_net_end *end, struct io_socket **out, const struct io_address *address, int backlog, bool shared) {
    struct sim_net *net = end->user->net;
    uint32_t host = end->user->host, other;
    if (!is_any(address) && !is_loopback(address) && (!sim_net_host_of(address, &other) || other != host)) return -EADDRNOTAVAIL;
    LIST_EACH(node, &net->sockets) {
        struct io_socket *socket = LIST_ITEM(node, struct io_socket, others);
        if (socket->kind != SOCKET_LISTENING || socket->user->host != host || socket->own.port != address->port) continue;
        if (address->port && same_ip(&socket->own, address) && !(shared && socket->shared_port)) return -EADDRINUSE;
    }
    struct io_socket *socket = socket_make(net, end->user, end);
    socket->kind = SOCKET_LISTENING;
    socket->own = *address;
    if (socket->own.port == 0) socket->own.port = port_free(net);
    socket->backlog_max = backlog > 0 ? (uint32_t)backlog : 1;
    socket->shared_port = shared;
    sim_note(net->sim, "net listen", host, socket->own.port, 0);
    *out = socket;
    return 0;
}

int sim_net_socket_address(struct io_socket *socket, struct io_address *own) {
    *own = socket->own;
    return 0;
}

/* ---- Connecting: there, answered, back; tried again while the wires are cut. */
static struct io_socket *listener_at(struct sim_net *net, uint32_t host, const struct io_address *address, bool loopback) {
    struct io_socket *found = NULL;
    uint64_t count = 0;
    LIST_EACH(node, &net->sockets) {
        struct io_socket *socket = LIST_ITEM(node, struct io_socket, others);
        if (socket->kind != SOCKET_LISTENING || socket->user->host != host || socket->own.port != address->port) continue;
        bool reachable = is_any(&socket->own) || (loopback ? is_loopback(&socket->own) : memcmp(socket->own.ip, address->ip, 16) == 0);
        if (reachable && random_below(&net->random, ++count) == 0) found = socket; /* of several, any */
    }
    return found;
}

static void connect_end(struct io_socket *socket, int result) {
    sim_note(socket->net->sim, "net connect", socket->user->host, socket->peer.port, (uint64_t)-result);
    if (result == 0) socket->kind = SOCKET_CONNECTED;
    else socket->kind = SOCKET_NEW;
    socket_complete(socket, &socket->out, result);
}

static void connect_step(struct sim *sim, struct sim_event *event) {
    struct io_socket *socket = container_of(event, struct io_socket, handshake);
    struct sim_net *net = socket->net;
    uint32_t from = socket->user->host, to = from;
    bool loopback = is_loopback(&socket->peer);
    if (socket->handshake_stage == 1) { connect_end(socket, socket->connection->error[0]); return; }
    if (socket->handshake_stage == 2) { connect_end(socket, -ECONNREFUSED); return; }
    if (!loopback && !sim_net_host_of(&socket->peer, &to)) { connect_end(socket, -ENETUNREACH); return; }
    struct io_socket *listener = listener_at(net, to, &socket->peer, loopback);
    bool blocked = !link_is_open(net, from, to) || !link_is_open(net, to, from)
                || (listener && listener->backlog_count >= listener->backlog_max);
    if (blocked) {
        if (sim_now(sim) - socket->handshake_since > net->options.give_up) { connect_end(socket, -ETIMEDOUT); return; }
        sim_at(sim, &socket->handshake, sim_now(sim) + NS_PER_S / 2 + (time_ns)random_below(&net->random, (uint64_t)NS_PER_S), connect_step);
        return;
    }
    socket->handshake_stage = 2;
    if (listener) {
        struct connection *connection = connection_new(net, from, to);
        struct io_socket *accepted = socket_make(net, listener->user, NULL);
        accepted->kind = SOCKET_CONNECTED;
        accepted->own = socket->peer;
        accepted->peer = socket->own;
        accepted->connection = socket->connection = connection;
        accepted->side = 1;
        connection->socket[0] = socket;
        connection->socket[1] = accepted;
        socket->side = 0;
        list_push(&listener->backlog, &accepted->waiting);
        listener->backlog_count++;
        serve_in(listener);
        socket->handshake_stage = 1;
    }
    sim_at(sim, &socket->handshake, sim_now(sim) + delay(net, to, from), connect_step);
}

static void connect_start(struct io_socket *socket, const struct io_address *address) {
    struct sim_net *net = socket->net;
    uint32_t to = socket->user->host;
    assert(socket->kind == SOCKET_NEW && !socket->connection);
    socket->kind = SOCKET_CONNECTING;
    socket->peer = *address;
    socket->handshake_stage = 0;
    socket->handshake_since = sim_now(net->sim);
    if (is_loopback(address)) socket->own = *address;
    else {
        sim_net_address(socket->user->host, 0, &socket->own);
        (void)sim_net_host_of(address, &to);
    }
    socket->own.port = port_free(net);
    sim_at(net->sim, &socket->handshake, sim_now(net->sim) + delay(net, socket->user->host, to), connect_step);
}

/* ---- Serving operations */
static size_t part_of(struct sim_net *net, size_t size) {
    if (!net->options.pieces || size <= 1) return size;
    switch (random_below(&net->random, 8)) {
    case 0: return 1 + (size_t)random_below(&net->random, size < 16 ? size : 16);
    case 1: return 1 + (size_t)random_below(&net->random, size);
    default: return size;
    }
}

static void serve_accept(struct io_socket *socket) {
    struct io_op *op = socket->in;
    if (socket->backlog_count == 0) return;
    struct io_socket *accepted = LIST_ITEM(socket->backlog.next, struct io_socket, waiting);
    list_remove(&accepted->waiting);
    socket->backlog_count--;
    accepted->end = socket->end;
    op->net.accepted = accepted;
    if (op->net.address) *op->net.address = accepted->peer;
    sim_note(socket->net->sim, "net accept", socket->user->host, accepted->connection->number, 0);
    socket_complete(socket, &socket->in, 0);
}

static void serve_in(struct io_socket *socket) {
    struct io_op *op = socket->in;
    if (!op) return;
    if (op->kind == IO_OP_ACCEPT) { serve_accept(socket); return; }
    struct connection *connection = socket->connection;
    assert(connection);
    struct wire *wire = &connection->wire[socket->side];
    bool something = wire->unread > 0 || wire->ended || connection->error[socket->side];
    if (!something) {
        /* The promise is only that there may be something. */
        if (op->kind == IO_OP_READABLE && socket->net->options.pieces && random_chance(&socket->net->random, 1, 64))
            socket_complete(socket, &socket->in, 1);
        else if (op->kind == IO_OP_RECV && op->hot) socket_complete(socket, &socket->in, -EAGAIN);
        return;
    }
    if (op->kind == IO_OP_READABLE) { socket_complete(socket, &socket->in, 1); return; }
    if (wire->unread == 0) {
        socket_complete(socket, &socket->in, connection->error[socket->side]); /* 0: the end */
        return;
    }
    size_t size = part_of(socket->net, op->net.size < wire->unread ? op->net.size : wire->unread);
    memcpy(op->net.data, wire->buffer + wire->buffer_start, size);
    wire->buffer_start += size;
    wire->unread -= size;
    struct sim_net *net = socket->net;
    if (!sim_is_scheduled(&wire->credit))
        sim_at(net->sim, &wire->credit, sim_now(net->sim) + delay(net, connection->host[socket->side], connection->host[!socket->side]), wire_credit);
    socket_complete(socket, &socket->in, (int64_t)size);
}

/* Takes up to `room` bytes of the chain into a piece. Negative: an error, or COLD at the very beginning. */
static int64_t gather(struct io_socket *socket, const struct chain *chain, size_t room, uint8_t *target) {
    size_t done = 0;
    for (struct slice *slice = chain->first; slice && done < room; slice = slice->next) {
        size_t part = slice->size < room - done ? slice->size : room - done;
        if (slice->kind == SLICE_MEMORY) {
            memcpy(target + done, slice->memory.data, part);
            done += part;
            continue;
        }
        int64_t got = socket->end->file_read(socket->end, (struct io_file *)(void *)slice->file.file, target + done, part, slice->file.offset);
        if (got < 0 && done == 0) return got;
        if (got <= 0) return done > 0 ? (int64_t)done : -EIO; /* shorter than what was promised: it can not be sent */
        done += (size_t)got;
        if ((size_t)got < part) break;
    }
    return (int64_t)done;
}

static void serve_out(struct io_socket *socket) {
    struct io_op *op = socket->out;
    if (!op || op->kind != IO_OP_SEND) return;
    struct connection *connection = socket->connection;
    struct sim_net *net = socket->net;
    if (connection->error[socket->side]) {
        socket_complete(socket, &socket->out, connection->error[socket->side]);
        return;
    }
    struct wire *wire = &connection->wire[!socket->side];
    size_t used = wire->in_flight + wire->unread;
    if (used >= net->options.window_bytes) return;
    size_t room = net->options.window_bytes - used;
    if (room > op->net.chain->bytes) room = op->net.chain->bytes;
    if (room == 0) {
        socket_complete(socket, &socket->out, 0);
        return;
    }
    room = part_of(net, room);
    struct piece *piece = pool_alloc(net->pool, sizeof *piece + room);
    assert(piece);
    int64_t got = gather(socket, op->net.chain, room, piece->bytes);
    if (got <= 0) {
        pool_free(net->pool, piece, sizeof *piece + room);
    } else {
        if ((size_t)got < room) {
            piece = pool_realloc(net->pool, piece, sizeof *piece + room, sizeof *piece + (size_t)got);
            assert(piece);
        }
        sim_note(net->sim, "net send", connection->host[socket->side], connection->number, (uint64_t)got);
        wire_put(wire, PIECE_DATA, (size_t)got, piece);
    }
    socket_complete(socket, &socket->out, got);
}

static int64_t resolve(struct sim_net_end *end, struct io_op *op) {
    struct sim_net *net = end->user->net;
    unsigned a, b, c, d;
    char rest;
    op->resolve.count = 0;
    if (strcmp(op->resolve.name, "localhost") == 0 || strcmp(op->resolve.name, "127.0.0.1") == 0) {
        struct io_address *address = &op->resolve.addresses[op->resolve.count++];
        memcpy(address->ip, mapped, sizeof mapped);
        store_be32(address->ip + 12, 0x7f000001);
        address->port = op->resolve.port;
    } else if (sscanf(op->resolve.name, "%u.%u.%u.%u%c", &a, &b, &c, &d, &rest) == 4 && (a | b | c | d) < 256) {
        struct io_address *address = &op->resolve.addresses[op->resolve.count++];
        memcpy(address->ip, mapped, sizeof mapped);
        store_be32(address->ip + 12, a << 24 | b << 16 | c << 8 | d);
        address->port = op->resolve.port;
    }
    for (uint32_t i = 0; i < net->names_count && op->resolve.count < IO_ADDRESSES_MAX; i++)
        if (strcmp(net->names[i].name, op->resolve.name) == 0)
            sim_net_address(net->names[i].host, op->resolve.port, &op->resolve.addresses[op->resolve.count++]);
    return op->resolve.count ? (int64_t)op->resolve.count : -ENOENT;
}

void sim_net_submit(struct sim_net_end *end, struct io_op *op) {
    if (op->kind == IO_OP_RESOLVE) {
        end->complete(end, op, resolve(end, op));
        return;
    }
    struct io_socket *socket = op->net.socket;
    struct io_op **slot = op->kind == IO_OP_CONNECT || op->kind == IO_OP_SEND ? &socket->out : &socket->in;
    assert(socket->end == end && *slot == NULL);
    *slot = op;
    if (op->kind == IO_OP_CONNECT) connect_start(socket, op->net.address);
    else if (op->kind == IO_OP_SEND) serve_out(socket);
    else serve_in(socket);
}

/* ---- Trouble */
void sim_net_cut(struct sim_net *net, uint32_t from, uint32_t to) {
    if (net->links[from][to].cut || from == to) return;
    net->links[from][to].cut = true;
    sim_note(net->sim, "net cut", from, to, 0);
    sim_count(net->sim)->cuts++;
}

void sim_net_heal(struct sim_net *net, uint32_t from, uint32_t to) {
    if (!net->links[from][to].cut) return;
    net->links[from][to].cut = false;
    sim_note(net->sim, "net heal", from, to, 0);
}

void sim_net_cut_host(struct sim_net *net, uint32_t host) {
    for (uint32_t other = 0; other < SIM_HOSTS_MAX; other++)
        if (other != host) net->links[host][other].cut = net->links[other][host].cut = true;
    sim_note(net->sim, "net cut host", host, 0, 0);
    sim_count(net->sim)->cuts++;
}

void sim_net_heal_host(struct sim_net *net, uint32_t host) {
    for (uint32_t other = 0; other < SIM_HOSTS_MAX; other++) net->links[host][other].cut = net->links[other][host].cut = false;
    sim_note(net->sim, "net heal host", host, 0, 0);
}

void sim_net_heal_all(struct sim_net *net) {
    memset(net->links, 0, sizeof net->links);
    sim_note(net->sim, "net heal all", SIM_NOWHERE, 0, 0);
}

bool sim_net_is_cut(const struct sim_net *net, uint32_t from, uint32_t to) { return from != to && net->links[from][to].cut; }

void sim_net_slow(struct sim_net *net, uint32_t from, uint32_t to, time_ns extra) {
    net->links[from][to].extra = extra;
    sim_note(net->sim, "net slow", from, to, (uint64_t)extra);
}

static void connection_reset(struct connection *connection) {
    sim_note(connection->net->sim, "net reset both", connection->host[0], connection->number, connection->host[1]);
    sim_count(connection->net->sim)->cuts++;
    for (uint32_t n = 0; n < 2; n++) wire_clear(&connection->wire[n]);
    for (uint32_t n = 0; n < 2; n++) side_error(connection, n, -ECONNRESET);
}

uint32_t sim_net_reset(struct sim_net *net, uint32_t a, uint32_t b) {
    uint32_t count = 0;
    LIST_EACH_SAFE(node, &net->connections) {
        struct connection *connection = LIST_ITEM(node, struct connection, all);
        if ((connection->host[0] != a || connection->host[1] != b) && (connection->host[0] != b || connection->host[1] != a)) continue;
        connection_reset(connection);
        count++;
    }
    return count;
}

bool sim_net_reset_one(struct sim_net *net) {
    uint64_t count = 0;
    struct connection *chosen = NULL;
    LIST_EACH(node, &net->connections)
        if (random_below(&net->random, ++count) == 0) chosen = LIST_ITEM(node, struct connection, all);
    if (chosen) connection_reset(chosen);
    return chosen != NULL;
}

uint32_t sim_net_connections(const struct sim_net *net) {
    uint32_t count = 0;
    LIST_EACH(node, &net->connections) count++;
    return count;
}

/* Ends a socket whose owner is gone: its operations are forgotten, not ended. */
static void socket_orphan(struct io_socket *socket, bool power, bool reset) {
    struct connection *connection = socket->connection;
    socket->in = socket->out = NULL;
    if (!power) {
        LIST_EACH_SAFE(node, &socket->backlog) {
            struct io_socket *waiting = LIST_ITEM(node, struct io_socket, waiting);
            list_remove(&waiting->waiting);
            socket_orphan(waiting, false, true);
        }
        sim_net_socket_close(socket, reset);
        return;
    }
    list_init(&socket->backlog); /* those are orphans of their own */
    if (connection) {
        connection->socket[socket->side] = NULL;
        connection->state[socket->side] = SIDE_FORGOTTEN;
        wire_buffer_drop(&connection->wire[socket->side]);
        connection_drop_if_over(connection);
    }
    socket_free(socket);
}

/* The first of them again and again: closing one may close others. */
static struct io_socket *socket_of(struct sim_net *net, const struct sim_net_user *user, uint32_t host) {
    LIST_EACH(node, &net->sockets) {
        struct io_socket *socket = LIST_ITEM(node, struct io_socket, others);
        if (user ? socket->user == user : socket->user->host == host) return socket;
    }
    return NULL;
}

void sim_net_host_down(struct sim_net *net, uint32_t host) {
    sim_note(net->sim, "net host down", host, 0, 0);
    net->down[host] = true;
    LIST_EACH(node, &net->sockets) {
        struct io_socket *socket = LIST_ITEM(node, struct io_socket, others);
        if (socket->user->host == host) {
            list_remove(&socket->waiting);
            list_init(&socket->backlog);
        }
    }
    for (struct io_socket *socket; (socket = socket_of(net, NULL, host));) socket_orphan(socket, true, false);
}

void sim_net_host_up(struct sim_net *net, uint32_t host) {
    sim_note(net->sim, "net host up", host, 0, 0);
    net->down[host] = false;
}

struct sim_net_user *sim_net_user_new(struct sim_net *net, uint32_t host) {
    struct sim_net_user *user = POOL_NEW(net->pool, struct sim_net_user);
    assert(user && host < SIM_HOSTS_MAX);
    user->net = net;
    user->host = host;
    list_push(&net->users, &user->others);
    return user;
}

void sim_net_user_kill(struct sim_net_user *user) {
    user->dead = true;
    for (struct io_socket *socket; (socket = socket_of(user->net, user, 0));)
        socket_orphan(socket, false, random_chance(&user->net->random, 1, 2));
}

void sim_net_user_free(struct sim_net_user *user) {
    if (!user) return;
    assert(!socket_of(user->net, user, 0));
    list_remove(&user->others);
    pool_free(user->net->pool, user, sizeof *user);
}

void sim_net_free(struct sim_net *net) {
    if (!net) return;
    assert(list_is_empty(&net->users) && list_is_empty(&net->sockets));
    LIST_EACH_SAFE(node, &net->connections) connection_free(LIST_ITEM(node, struct connection, all));
    pool_free(net->pool, net, sizeof *net);
}
