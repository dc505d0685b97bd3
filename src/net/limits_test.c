/* The limits of connections, each one below, at, and one beyond, where that can be told exactly. */
#include "base/bytes.h"
#include "net/net_rig.h"
#include "test.h"
#include <string.h>

enum { PIECE = 1 << 16 };

/* Frames: e is answered with five bytes at once, b with PIECE bytes, h when the test says so. */
static struct {
    struct conn_slot *held;
    uint32_t frames, opened, freed;
    struct arena arena; /* of all answers */
} owner;

static void gone(struct conn_slot *slot) {}

static void answer(struct conn_slot *slot, size_t size) {
    static const uint8_t bytes[PIECE];
    struct chain chain;
    chain_init(&chain, &owner.arena);
    assert_true(chain_add_memory(&chain, bytes, size, NULL));
    conn_answer(slot, &chain, gone);
}

static void on_open(struct conn *conn) { owner.opened++; }
static enum frame_verdict on_frame(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    owner.frames++;
    if (frame.data[0] == 'h') owner.held = slot;
    else answer(slot, frame.data[0] == 'b' ? PIECE : 5);
    return FRAME_TAKEN;
}
static void on_closed(struct conn *conn, enum conn_end why) {}
static void on_freed(struct conn *conn) { owner.freed++; }
static bool all_freed(void *context) { return owner.freed == owner.opened; }

static const struct conn_owner test_owner = {.on_open = on_open, .on_frame = on_frame, .on_closed = on_closed, .on_freed = on_freed};

static void begin(struct rig *rig, const struct net_limits *limits) {
    memset(&owner, 0, sizeof owner);
    arena_init(&owner.arena, rig->pool, 0);
    rig_listen(rig, limits, &(struct listener_options){.owner = &test_owner});
}

static void end(struct rig *rig) {
    rig_until(rig, all_freed, NULL);
    rig_stop(rig);
    arena_destroy(&owner.arena);
}

static void in_flight(struct rig *rig) {
    for (uint32_t most = 99; most <= 101; most++) {
        struct client client;
        struct net_limits limits = {.requests_max = most == 100 ? 0 : most}; /* 0: the default, which is 100 */
        begin(rig, &limits);
        client_open(&client, rig, KIB(64));
        client_send_frame(&client, "h", 1);
        for (int i = 0; i < 120; i++) client_send_frame(&client, "e", 1);
        rig_for(rig, 60);
        assert_int_equal(owner.frames, most);
        answer(owner.held, 5);
        client_until(&client, 121 * 9);
        assert_int_equal(owner.frames, 121);
        client_close(&client);
        end(rig);
    }
}

/* With the first of 121 requests not answered, so many are taken as the limit says and no more; then all are answered. */
TEST(limits_requests_in_flight) { each_rig(in_flight); }

static void unread(struct rig *rig) {
    for (int more = -1; more <= 1; more++) {
        struct client client;
        struct net_limits limits = {.unread_bytes_max = (size_t)(4 * PIECE + more)};
        begin(rig, &limits);
        client_open(&client, rig, MIB(1));
        client_send_frame(&client, "h", 1); /* while it is not answered, nothing leaves, so what is unread is exact */
        for (int i = 0; i < 8; i++) client_send_frame(&client, "b", 1);
        rig_for(rig, 60);
        assert_int_equal(owner.frames, 1 + (more < 0 ? 4 : 5)); /* at it, one more answer may be begun */
        answer(owner.held, 5);
        client_until(&client, 9 + 8 * (4 + PIECE));
        client_close(&client);
        end(rig);
    }
}

/* Answers that are not sent stop the taking of requests when they are more than the limit. */
TEST(limits_unread_answers) { each_rig(unread); }

static void incomplete(struct rig *rig) {
    enum { CLIENTS = 4, SIZE = 40000, FRONT = 5000 };
    static uint8_t frame[4 + SIZE];
    for (int more = -1; more <= 1; more++) {
        struct client clients[CLIENTS];
        /* Room for three such frames; beyond it one may go on at a time: the third or the fourth. */
        struct net_limits limits = {.incomplete_bytes_max = (size_t)(3 * (4 + SIZE) + more)};
        begin(rig, &limits);
        store_be32(frame, SIZE);
        frame[4] = 'e';
        for (int i = 0; i < CLIENTS; i++) {
            client_open(&clients[i], rig, 64);
            client_send(&clients[i], frame, FRONT); /* more than the smallest buffer, which does not count */
            rig_for(rig, 20);
        }
        client_send(&clients[3], frame + FRONT, 4 + SIZE - FRONT);
        rig_for(rig, 100);
        assert_int_equal(owner.frames, more < 0 ? 0 : 1);
        for (int i = 0; i < 3; i++) client_send(&clients[i], frame + FRONT, 4 + SIZE - FRONT);
        for (int i = 0; i < CLIENTS; i++) client_until(&clients[i], 9);
        for (int i = 0; i < CLIENTS; i++) client_close(&clients[i]);
        end(rig);
    }
}

/* Buffers of frames that are not whole: with one byte less than three of them need, the third takes the exception that is
 * there for one, and the fourth is not read; with enough the fourth takes it and is finished. In the end all are. */
TEST(limits_incomplete_frames) { each_rig(incomplete); }

static bool is_open_after(struct rig *rig, const struct client *client, time_ms span) {
    rig_for(rig, span);
    return !client->ended;
}

static void times(struct rig *rig) {
    static uint8_t bytes[64 << 10];
    struct client client;
    if (rig->kind != RIG_SIM) return; /* real time is too long, and not exact */
    begin(rig, NULL);
    client_open(&client, rig, 4096); /* says nothing: 10 s */
    assert_true(is_open_after(rig, &client, 9950));
    assert_false(is_open_after(rig, &client, 100));
    client_close(&client);
    client_open(&client, rig, 4096); /* has spoken, then says nothing: 10 min */
    client_send_frame(&client, "e", 1);
    client_until(&client, 9);
    assert_true(is_open_after(rig, &client, 599900));
    assert_false(is_open_after(rig, &client, 200));
    client_close(&client);
    for (int more = -1; more <= 1; more++) { /* 60 KiB in the first minute of a frame, and then nothing */
        client_open(&client, rig, 4096);
        client_send_frame(&client, "e", 1);
        client_until(&client, 9);
        client_send(&client, "\0", 1);
        rig_for(rig, 1000); /* the minute has begun with what came first, which does not count */
        client_send(&client, "\2\0\0", 3);
        client_send(&client, bytes, (size_t)(60 * 1024 - 3 + more));
        assert_true(is_open_after(rig, &client, 58500));
        assert_int_equal(is_open_after(rig, &client, 1500), more >= 0);
        if (more >= 0) assert_true(is_open_after(rig, &client, 58000));
        assert_false(is_open_after(rig, &client, 2500));
        client_close(&client);
    }
    end(rig);
}

/* The times are those that the header promises: to the first frame 10 s, without traffic 10 minutes, 1 KiB/s of an
 * unfinished frame in each minute. */
TEST(limits_of_time) { each_rig(times); }
