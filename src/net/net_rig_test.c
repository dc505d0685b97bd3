#include "net/net_rig.h"
#include "base/bytes.h"
#include "sim/sim_io.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"epoll", "io_uring", "sim"};

static bool rig_open(struct rig *rig, enum rig_kind kind) {
    *rig = (struct rig){.kind = kind};
    pool_init(&rig->real_pool, 0, 16);
    if (kind == RIG_SIM) {
        struct sim_net_options options = sim_net_options_default();
        options.pieces = true;
        rig->sim = sim_new(11);
        rig->wires = sim_net_new(rig->sim, &options);
        rig->host = sim_host_new(rig->sim, rig->wires, 0, 0);
        rig->process = sim_process_start(rig->host, 1);
        rig->io = sim_process_io(rig->process, 0);
        rig->pool = sim_process_pool(rig->process, 0);
    } else {
        struct io_options options = {.backend = kind == RIG_EPOLL ? IO_BACKEND_EPOLL : IO_BACKEND_URING, .offload_threads = 2, .pool = &rig->real_pool};
        int result = io_open(&rig->io, &options);
        if (result < 0) {
            printf("[  SKIPPED ] %s: not allowed here: %s\n", kinds[kind], strerror(-result));
            pool_destroy(&rig->real_pool);
            return false;
        }
        rig->pool = &rig->real_pool;
    }
    struct shard_options options = {.count = 1, .ios = &rig->io, .pools = &rig->pool, .mailbox_messages = 16};
    assert_int_equal(shard_group_open(&rig->group, &options), ERR_NONE);
    rig->shard = shard_at(rig->group, 0);
    return true;
}

static void rig_close(struct rig *rig) {
    if (rig->net) rig_stop(rig);
    shard_group_close(rig->group);
    if (rig->sim) {
        assert_int_equal(rig->pool->used, 0);
        sim_process_end(rig->process);
        sim_host_free(rig->host);
        sim_net_free(rig->wires);
        sim_free(rig->sim);
    }
    pool_destroy(&rig->real_pool);
}

void each_rig(void (*test)(struct rig *rig)) {
    for (enum rig_kind kind = RIG_EPOLL; kind < RIG_COUNT; kind++) {
        static struct rig rig;
        if (!rig_open(&rig, kind)) continue;
        test(&rig);
        rig_close(&rig);
    }
}

void rig_listen(struct rig *rig, const struct net_limits *limits, const struct listener_options *options) {
    struct net_limits none = {0};
    struct listener_options with = *options;
    if (!with.address.port && !with.address.ip[15]) assert_true(io_address_parse("127.0.0.1:0", &with.address));
    assert_int_equal(net_open(&rig->net, rig->shard, limits ? limits : &none), ERR_NONE);
    assert_int_equal(listener_open(&rig->listener, rig->shard, &with), 0);
}

static void set_flag(void *context) { *(bool *)context = true; }

void rig_stop(struct rig *rig) {
    bool stopped = false, closed = false;
    net_stop(rig->net, 0, set_flag, &stopped);
    listener_close(rig->listener, set_flag, &closed);
    rig_until_flag(rig, &stopped);
    rig_until_flag(rig, &closed);
    net_close(rig->net);
    rig->net = NULL;
    rig_turns(rig, 3);
}

void rig_turns(struct rig *rig, uint32_t turns) {
    while (turns--) shard_turn(rig->shard, io_now_precise(rig->io) + NS_PER_MS);
}

void rig_for(struct rig *rig, time_ms span) {
    time_ns end = io_now_precise(rig->io) + span * NS_PER_MS;
    while (io_now_precise(rig->io) < end) shard_turn(rig->shard, end);
}

void rig_until(struct rig *rig, bool (*is_so)(void *context), void *context) {
    time_ns end = io_now_precise(rig->io) + 20 * NS_PER_S;
    while (!is_so(context)) {
        assert_true(io_now_precise(rig->io) < end);
        shard_turn(rig->shard, end);
    }
}

static bool is_set(void *context) { return *(bool *)context; }
void rig_until_flag(struct rig *rig, const bool *flag) {
    union { const bool *from; void *to; } context = {.from = flag};
    rig_until(rig, is_set, context.to);
}

/* ---- Clients */
static void client_in(struct io_op *op);

void client_listen(struct client *client) {
    client->deaf = false;
    if (client->in.pending || client->ended || !client->connected) return;
    client->in = (struct io_op){.kind = IO_OP_RECV, .done = client_in, .net = {.socket = client->socket, .data = client->piece, .size = sizeof client->piece}};
    io_submit(client->rig->io, &client->in);
}

static void client_in(struct io_op *op) {
    struct client *client = container_of(op, struct client, in);
    if (op->result <= 0) {
        client->ended = true;
        client->error = op->result;
        return;
    }
    assert_true(client->got_bytes + (size_t)op->result <= client->got_max);
    memcpy(client->got + client->got_bytes, client->piece, (size_t)op->result);
    client->got_bytes += (size_t)op->result;
    if (!client->deaf) client_listen(client);
}

static void client_out(struct io_op *op);

static void client_send_more(struct client *client) {
    if (client->out.pending || !client->chain.bytes || !client->connected || client->error) return;
    client->out = (struct io_op){.kind = IO_OP_SEND, .done = client_out, .net = {.socket = client->socket, .chain = &client->chain}};
    io_submit(client->rig->io, &client->out);
}

static void client_out(struct io_op *op) {
    struct client *client = container_of(op, struct client, out);
    if (op->kind == IO_OP_CONNECT) {
        client->connected = true; /* or so it was: one that is refused may hear of both at once */
        client->ended = op->result < 0;
        client->error = op->result;
        if (!client->deaf) client_listen(client);
    } else if (op->result < 0) {
        client->error = op->result;
        return;
    } else {
        chain_consume(&client->chain, (size_t)op->result);
    }
    client_send_more(client);
}

void client_open(struct client *client, struct rig *rig, size_t got_max) {
    *client = (struct client){.rig = rig, .got_max = got_max, .got = malloc(got_max + 1)};
    static struct io_address to;
    to = *listener_address(rig->listener);
    arena_init(&client->arena, rig->pool, 0);
    chain_init(&client->chain, &client->arena);
    assert_int_equal(rig->io->vtable->socket_new(rig->io, &client->socket), 0);
    client->out = (struct io_op){.kind = IO_OP_CONNECT, .done = client_out, .net = {.socket = client->socket, .address = &to}};
    io_submit(rig->io, &client->out);
    rig_until_flag(rig, &client->connected);
}

/* Bytes under way are the io's: what is added goes into slices behind them, which an epoll or sim send may already see
 * and which a send never changes. So it waits for the send to end. */
void client_send(struct client *client, const void *bytes, size_t size) {
    while (client->out.pending && !client->error) shard_turn(client->rig->shard, io_now_precise(client->rig->io) + NS_PER_S);
    if (!client->chain.bytes) arena_reset(&client->arena);
    void *copy = arena_copy(&client->arena, bytes, size);
    assert_non_null(copy);
    assert_true(chain_add_memory(&client->chain, copy, size, NULL));
    client_send_more(client);
}

void client_send_frame(struct client *client, const void *bytes, size_t size) {
    uint8_t *frame = malloc(4 + size);
    store_be32(frame, (uint32_t)size);
    memcpy(frame + 4, bytes, size);
    client_send(client, frame, 4 + size);
    free(frame);
}

struct until { struct client *client; size_t bytes; };
static bool has_got(void *context) {
    struct until *until = context;
    return until->client->got_bytes >= until->bytes || until->client->ended;
}

void client_until(struct client *client, size_t bytes) {
    rig_until(client->rig, has_got, &(struct until){client, bytes});
    assert_true(client->got_bytes >= bytes);
}

static bool has_ended(void *context) { return ((struct client *)context)->ended; }
void client_until_ended(struct client *client) { rig_until(client->rig, has_ended, client); }

static bool is_idle(void *context) {
    struct client *client = context;
    return !client->in.pending && !client->out.pending;
}

void client_close(struct client *client) {
    io_socket_close(client->rig->io, client->socket, false);
    client->socket = NULL;
    client->connected = false;
    rig_until(client->rig, is_idle, client);
    chain_clear(&client->chain);
    arena_destroy(&client->arena);
    free(client->got);
    client->got = NULL;
}
