#include "base/bytes.h"
#include "net/net_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The other node. The first byte behind a request's header says what becomes of it: e answered, h held by the test,
 * w answered with another correlation id, x the connection is closed. */
static struct { struct conn_slot *held[64]; uint32_t held_count, frames, opened; struct pool *pool; } server;
struct reply { struct arena arena; uint8_t bytes[64]; size_t size; };

static void reply_gone(struct conn_slot *slot) {
    struct reply *reply = slot_user(slot);
    arena_destroy(&reply->arena);
    pool_free(server.pool, reply, sizeof *reply);
}
static void reply_send(struct conn_slot *slot) {
    struct reply *reply = slot_user(slot);
    struct chain chain;
    chain_init(&chain, &reply->arena);
    assert_true(chain_add_memory(&chain, reply->bytes, reply->size, NULL));
    conn_answer(slot, &chain, reply_gone);
}
static void server_open(struct conn *conn) { server.opened++; }
static void server_closed(struct conn *conn, enum conn_end why) {}
static enum frame_verdict server_frame(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    assert_true(frame.size > 8 && frame.size < 64);
    assert_memory_equal(frame.data, "\0\7\0\2", 4); /* what stands before the correlation id is as it was given */
    server.frames++;
    if (frame.data[8] == 'x') return FRAME_REFUSED;
    struct reply *reply = POOL_NEW(server.pool, struct reply);
    arena_init(&reply->arena, server.pool, 0);
    reply->size = frame.size - 4;
    memcpy(reply->bytes, frame.data + 4, reply->size);
    if (frame.data[8] == 'w') reply->bytes[3] ^= 1;
    slot_set_user(slot, reply);
    if (frame.data[8] == 'h') server.held[server.held_count++] = slot;
    else reply_send(slot);
    return FRAME_TAKEN;
}
static const struct conn_owner server_owner = {.on_open = server_open, .on_frame = server_frame, .on_closed = server_closed};

static void serve(struct rig *rig) {
    memset(&server, 0, sizeof server);
    server.pool = rig->pool;
    rig_listen(rig, NULL, &(struct listener_options){.owner = &server_owner});
}

/* ---- This node */
struct ask { struct peer_request request; struct arena arena; struct chain chain; bool done; enum err err; size_t left; char answer[64]; };
static struct { uint32_t connected, disconnected; int error; bool greets; } seen;
static struct rig *rig_now;

static void ask_done(struct peer_request *request, enum err err, struct span answer, struct slab *slab) {
    struct ask *ask = container_of(request, struct ask, request);
    assert_false(ask->done);
    assert_true(err ? !slab && !answer.size : slab && answer.size < sizeof ask->answer);
    ask->done = true;
    ask->left = ask->chain.bytes;
    ask->err = err;
    memcpy(ask->answer, answer.data ? (const char *)answer.data : "", answer.size);
    ask->answer[answer.size] = 0;
    chain_clear(&ask->chain);
    arena_destroy(&ask->arena);
}

static enum err ask(struct ask *ask, struct peer *peer, const char *text, time_ms within) {
    static const uint8_t header[8] = {0, 7, 0, 2, 0xff, 0xff, 0xff, 0xff};
    bool greeting = ask->request.greeting;
    *ask = (struct ask){.request = {.done = ask_done, .chain = &ask->chain, .greeting = greeting}};
    arena_init(&ask->arena, rig_now->pool, 0);
    chain_init(&ask->chain, &ask->arena);
    assert_true(chain_add_memory(&ask->chain, header, 6, NULL)); /* the header need not lie in one slice */
    assert_true(chain_add_memory(&ask->chain, header + 6, 2, NULL));
    assert_true(chain_add_memory(&ask->chain, text, strlen(text), NULL));
    ask->request.deadline = io_now_precise(rig_now->io) + within * NS_PER_MS;
    enum err err = peer_send(peer, &ask->request);
    assert_false(ask->done);
    if (err) {
        chain_clear(&ask->chain);
        arena_destroy(&ask->arena);
    }
    return err;
}

static void expect(struct ask *ask, enum err err, const char *answer) {
    rig_until_flag(rig_now, &ask->done);
    assert_string_equal(err_name(ask->err), err_name(err));
    assert_string_equal(ask->answer, answer);
}

static void on_connected(struct peer *peer) { seen.connected++; if (!seen.greets) peer_ready(peer); }
static void on_disconnected(struct peer *peer, int error) {
    seen.disconnected++;
    seen.error = error;
}

static struct peer *peer_to(struct rig *rig, struct peer_options options) {
    struct peer *peer;
    rig_now = rig;
    memset(&seen, 0, sizeof seen);
    if (!options.host) options.host = "127.0.0.1";
    if (!options.port) options.port = listener_address(rig->listener)->port;
    options.on_connected = on_connected;
    options.on_disconnected = on_disconnected;
    assert_int_equal(peer_open(&peer, rig->shard, &options), ERR_NONE);
    return peer;
}

static void set_flag(void *context) { *(bool *)context = true; }
static void close_peer(struct peer *peer) {
    bool closed = false;
    peer_close(peer, set_flag, &closed);
    rig_until_flag(rig_now, &closed);
}

static void asks(struct rig *rig) {
    struct ask a = {0}, b = {0}, c = {0};
    serve(rig);
    struct peer *peer = peer_to(rig, (struct peer_options){0});
    assert_int_equal(peer_state_of(peer), PEER_IDLE);
    assert_int_equal(ask(&a, peer, "e1", 5000), ERR_NONE);
    assert_int_equal(ask(&b, peer, "h2", 5000), ERR_NONE);
    assert_int_equal(ask(&c, peer, "e3", 5000), ERR_NONE);
    expect(&a, ERR_NONE, "e1");
    assert_int_equal(peer_state_of(peer), PEER_READY);
    rig_for(rig, 20);
    assert_false(b.done || c.done);
    reply_send(server.held[0]);
    expect(&b, ERR_NONE, "h2");
    expect(&c, ERR_NONE, "e3");
    assert_int_equal(seen.connected, 1);
    assert_int_equal(server.opened, 1);
    assert_true(a.request.correlation != b.request.correlation && b.request.correlation != c.request.correlation);
    peer_disconnect(peer);
    assert_int_equal(ask(&a, peer, "e4", 5000), ERR_NONE);
    expect(&a, ERR_NONE, "e4");
    assert_int_equal(seen.connected, 2);
    assert_int_equal(seen.disconnected, 1);
    assert_int_equal(seen.error, 0);
    close_peer(peer);
}

/* A request makes the connection; answers come back in order, each to its own; after a disconnect the next one connects
 * anew. */
TEST(peer_asks_and_is_answered) { each_rig(asks); }

static void bounds(struct rig *rig) {
    struct ask asks_[5] = {0};
    serve(rig);
    struct peer *peer = peer_to(rig, (struct peer_options){.in_flight_max = 2, .requests_max = 4});
    for (int i = 0; i < 4; i++) assert_int_equal(ask(&asks_[i], peer, "h", 5000), ERR_NONE);
    assert_int_equal(ask(&asks_[4], peer, "h", 5000), ERR_BUSY);
    while (server.held_count < 2) rig_turns(rig, 1);
    rig_for(rig, 20);
    assert_int_equal(server.frames, 2);
    for (uint32_t i = 0; i < 4; i++) {
        while (server.held_count <= i) rig_turns(rig, 1);
        reply_send(server.held[i]);
        expect(&asks_[i], ERR_NONE, "h");
    }
    close_peer(peer);
}

/* No more are sent than may be in flight, and no more taken than may wait. */
TEST(peer_is_bounded) { each_rig(bounds); }

static void timeouts(struct rig *rig) {
    struct ask late = {0}, other = {0}, waiting = {0}, short_ = {0};
    serve(rig);
    struct peer *peer = peer_to(rig, (struct peer_options){.in_flight_max = 2});
    assert_int_equal(ask(&late, peer, "h1", 100), ERR_NONE);
    assert_int_equal(ask(&other, peer, "h2", 5000), ERR_NONE);
    assert_int_equal(ask(&short_, peer, "h3", 50), ERR_NONE);
    assert_int_equal(ask(&waiting, peer, "e4", 5000), ERR_NONE);
    expect(&short_, ERR_AGAIN, "");
    assert_false(late.done);
    assert_int_equal(short_.left, 10); /* whole: it may be given again */
    expect(&late, ERR_TIMEOUT, "");
    expect(&other, ERR_CLOSED, "");
    assert_int_equal(seen.disconnected, 1);
    assert_int_equal(seen.error, -ETIMEDOUT);
    expect(&waiting, ERR_NONE, "e4");
    assert_int_equal(server.opened, 2);
    reply_send(server.held[0]);
    reply_send(server.held[1]);
    close_peer(peer);
}

/* One that is not answered in time ends the connection and says so; what was sent with it may have been carried out,
 * what was not goes on over a new connection; one whose time ends while it waits was never sent. */
TEST(peer_times_out) { each_rig(timeouts); }

static void nonsense(struct rig *rig) {
    struct ask a = {0}, b = {0};
    serve(rig);
    struct peer *peer = peer_to(rig, (struct peer_options){0});
    assert_int_equal(ask(&a, peer, "w", 5000), ERR_NONE);
    expect(&a, ERR_CLOSED, "");
    assert_int_equal(seen.error, -EPROTO);
    assert_int_equal(ask(&b, peer, "x", 5000), ERR_NONE);
    expect(&b, ERR_CLOSED, "");
    assert_int_equal(seen.disconnected, 2);
    assert_true(seen.error == 0 || seen.error == -ECONNRESET);
    assert_int_equal(ask(&b, peer, "e", 5000), ERR_NONE);
    expect(&b, ERR_NONE, "e");
    close_peer(peer);
}

/* An answer to something else ends the connection, and so does the other side; both are told, and life goes on. */
TEST(peer_loses_connections) { each_rig(nonsense); }

static void refused(struct rig *rig) {
    struct ask a = {0}, b = {0};
    serve(rig);
    struct io_address at = *listener_address(rig->listener);
    rig_stop(rig);
    struct peer *peer = peer_to(rig, (struct peer_options){.port = at.port, .backoff_min_ms = 20, .backoff_max_ms = 80});
    time_ns begun = io_now_precise(rig->io);
    assert_int_equal(ask(&a, peer, "e", 400), ERR_NONE);
    assert_int_equal(ask(&b, peer, "e", 15000), ERR_NONE);
    expect(&a, ERR_AGAIN, "");
    assert_true(io_now_precise(rig->io) - begun >= 400 * NS_PER_MS);
    assert_int_equal(seen.error, -ECONNREFUSED);
    assert_true(seen.disconnected >= 3 && seen.disconnected <= 14); /* 20 + 40 + 80 + 80 ..., give or take a fifth */
    memset(&server, 0, sizeof server);
    server.pool = rig->pool;
    rig_listen(rig, NULL, &(struct listener_options){.owner = &server_owner, .address = at});
    expect(&b, ERR_NONE, "e");
    assert_int_equal(peer_address(peer)->port, at.port);
    close_peer(peer);
}

/* While nobody listens it tries again, ever more slowly, and requests keep to their own time; then it comes through. */
TEST(peer_backs_off) { each_rig(refused); }

static void greets(struct rig *rig) {
    struct ask first = {0}, hello = {0};
    serve(rig);
    struct peer *peer = peer_to(rig, (struct peer_options){0});
    seen.greets = true;
    assert_int_equal(ask(&first, peer, "e1", 5000), ERR_NONE);
    hello.request.greeting = true;
    assert_int_equal(ask(&hello, peer, "e0", 5000), ERR_NONE);
    expect(&hello, ERR_NONE, "e0");
    assert_int_equal(peer_state_of(peer), PEER_GREETING);
    rig_for(rig, 20);
    assert_false(first.done);
    peer_ready(peer);
    expect(&first, ERR_NONE, "e1");
    close_peer(peer);
}

/* Until it is declared ready only greetings are sent. */
TEST(peer_greets_first) { each_rig(greets); }

static void idles(struct rig *rig) {
    struct ask a = {0};
    serve(rig);
    struct peer *peer = peer_to(rig, (struct peer_options){.idle_ms = 60});
    peer_connect(peer);
    while (!seen.connected) rig_turns(rig, 1);
    rig_for(rig, 200);
    assert_int_equal(peer_state_of(peer), PEER_IDLE);
    assert_int_equal(seen.disconnected, 1);
    assert_int_equal(ask(&a, peer, "h", 5000), ERR_NONE);
    while (!server.held_count) rig_turns(rig, 1);
    rig_for(rig, 200);
    assert_int_equal(peer_state_of(peer), PEER_READY); /* it waits for an answer */
    reply_send(server.held[0]);
    expect(&a, ERR_NONE, "h");
    close_peer(peer);
}

/* A connection without use is closed; one that waits for an answer is not. */
TEST(peer_closes_idle) { each_rig(idles); }

static void closes(struct rig *rig) {
    for (int stage = 0; stage < 12; stage++) {
        struct ask asks_[4] = {0};
        bool closed = false;
        serve(rig);
        struct peer *peer = peer_to(rig, (struct peer_options){.in_flight_max = 2, .host = rig->sim || stage % 2 ? NULL : "localhost"});
        for (int i = 0; i < 4; i++) assert_int_equal(ask(&asks_[i], peer, i ? "h" : "e", 5000), ERR_NONE);
        rig_turns(rig, (uint32_t)stage);
        peer_close(peer, set_flag, &closed);
        assert_false(closed);
        rig_until_flag(rig, &closed);
        for (int i = 0; i < 4; i++) {
            assert_true(asks_[i].done);
            assert_true(asks_[i].err == ERR_CLOSED || asks_[i].err == ERR_AGAIN || (i == 0 && !asks_[i].err));
        }
        for (uint32_t i = 0; i < server.held_count; i++) reply_send(server.held[i]);
        server.held_count = 0;
        rig_turns(rig, 5);
        for (uint32_t i = 0; i < server.held_count; i++) reply_send(server.held[i]);
        rig_stop(rig);
    }
}

/* Closed at every stage, from resolving to answers under way: each request is told once, and nothing is left. */
TEST(peer_closes_at_any_stage) { each_rig(closes); }

static void names(struct rig *rig) {
    struct ask a = {0};
    serve(rig);
    if (rig->sim) assert_true(sim_net_name(rig->wires, "node-zero", 0));
    struct peer *peer = peer_to(rig, (struct peer_options){.host = rig->sim ? "node-zero" : "localhost"});
    if (!rig->sim) { /* where localhost is ::1 first, nobody listens there: the next address is tried */
        assert_int_equal(ask(&a, peer, "e", 5000), ERR_NONE);
        expect(&a, ERR_NONE, "e");
    } else { /* the listener is on the loopback address only; the name is the host's own */
        assert_int_equal(ask(&a, peer, "e", 500), ERR_NONE);
        rig_until_flag(rig, &a.done);
        assert_true(peer_address(peer)->port == listener_address(rig->listener)->port);
    }
    close_peer(peer);
    peer = peer_to(rig, (struct peer_options){.host = rig->sim ? "nobody" : "not a name"});
    assert_int_equal(ask(&a, peer, "e", 300), ERR_NONE);
    expect(&a, ERR_AGAIN, "");
    assert_true(seen.disconnected >= 1 && seen.error < 0);
    close_peer(peer);
    assert_int_equal(peer_open(&peer, rig->shard, &(struct peer_options){.host = ""}), ERR_INVALID);
}

/* Names are resolved and their addresses tried in turn; an unknown one is an error like a refused connection. */
TEST(peer_resolves_names) { each_rig(names); }
