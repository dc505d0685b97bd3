#include "net/net_rig.h"
#include "test.h"
#include <string.h>

/* An owner that echoes nothing: connections open and close; frames that begin with 'h' are held unanswered. */
static struct { uint32_t opened, closed; enum conn_end why; struct conn_slot *held; } owner;

static void on_open(struct conn *conn) { owner.opened++; }
static void on_closed(struct conn *conn, enum conn_end why) { owner.closed++, owner.why = why; }
static enum frame_verdict on_frame(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    if (frame.data[0] == 'h') owner.held = slot;
    else conn_answer(slot, NULL, NULL);
    return FRAME_TAKEN;
}
static const struct conn_owner test_owner = {.on_open = on_open, .on_frame = on_frame, .on_closed = on_closed};

static struct admission *admission;
static const struct admission_limits unlimited = {.connections_max = UINT32_MAX, .per_address_max = UINT32_MAX, .rate_max = UINT32_MAX, .sockets_max = UINT32_MAX};

static void listen_under(struct rig *rig, const struct admission_limits *limits) {
    memset(&owner, 0, sizeof owner);
    assert_int_equal(admission_open(&admission, rig->shard, limits), ERR_NONE);
    rig_listen(rig, NULL, &(struct listener_options){.owner = &test_owner, .admission = admission});
}

static void stop(struct rig *rig) {
    rig_stop(rig);
    admission_close(admission);
}

static bool opened_are(void *context) { return owner.opened >= *(uint32_t *)context; }
static void until_opened(struct rig *rig, uint32_t count) { rig_until(rig, opened_are, &count); }

static void in_all(struct rig *rig) {
    struct client clients[4];
    struct admission_limits limits = unlimited;
    limits.connections_max = 3;
    listen_under(rig, &limits);
    for (int i = 0; i < 2; i++) client_open(&clients[i], rig, 64); /* one below */
    until_opened(rig, 2);
    client_open(&clients[2], rig, 64); /* at it */
    until_opened(rig, 3);
    client_open(&clients[3], rig, 64); /* beyond: it waits, and is not closed */
    rig_for(rig, 30);
    assert_int_equal(owner.opened, 3);
    assert_false(clients[3].ended);
    client_close(&clients[0]);
    until_opened(rig, 4);
    assert_int_equal(admission_counts_of(admission)->connections, 3);
    for (int i = 1; i < 4; i++) client_close(&clients[i]);
    stop(rig);
}

/* max.connections: as many as the limit come in, one more waits until another has gone. */
TEST(admission_limits_connections) { each_rig(in_all); }

static void over_two(struct rig *rig) {
    struct client clients[4];
    struct admission_limits limits = unlimited;
    struct listener *second, *first;
    struct io_address address;
    bool closed = false;
    limits.connections_max = 2;
    listen_under(rig, &limits);
    assert_true(io_address_parse("127.0.0.1:0", &address));
    first = rig->listener;
    assert_int_equal(listener_open(&second, rig->shard, &(struct listener_options){.address = address, .owner = &test_owner, .admission = admission, .is_protected = true}), 0);
    for (int i = 0; i < 2; i++) client_open(&clients[i], rig, 64);
    until_opened(rig, 2);
    client_send_frame(&clients[1], "h", 1); /* at work: it is not closed for others, though it came first */
    rig_for(rig, 30);
    rig->listener = second;
    client_open(&clients[2], rig, 64);
    until_opened(rig, 3);
    client_until_ended(&clients[0]);
    assert_int_equal(owner.why, CONN_END_CROWDED);
    client_open(&clients[3], rig, 64); /* protected ones come in, even if nobody may go for them */
    until_opened(rig, 4);
    rig_for(rig, 30);
    assert_int_equal(admission_counts_of(admission)->connections, 3);
    assert_int_equal(admission_counts_of(admission)->closed_for_others, 1);
    assert_false(clients[1].ended || clients[2].ended || clients[3].ended);
    conn_answer(owner.held, NULL, NULL);
    for (int i = 0; i < 4; i++) client_close(&clients[i]);
    listener_close(second, NULL, NULL);
    rig->listener = first;
    rig_for(rig, 30);
    stop(rig);
    (void)closed;
}

/* The limit is that of all listeners together; on a protected one connections come in beyond it, and the idlest of the
 * others goes for them: never one with a request under way, never a protected one. */
TEST(admission_protected_listeners_come_in) { each_rig(over_two); }

static void of_one_address(struct rig *rig) {
    struct client clients[4];
    struct admission_limits limits = unlimited;
    limits.per_address_max = 2;
    listen_under(rig, &limits);
    for (int i = 0; i < 2; i++) client_open(&clients[i], rig, 64);
    until_opened(rig, 2);
    client_open(&clients[2], rig, 64);
    client_until_ended(&clients[2]);
    assert_false(clients[0].ended || clients[1].ended);
    assert_int_equal(admission_counts_of(admission)->refused_by_address, 1);
    client_close(&clients[2]);
    client_close(&clients[0]);
    rig_for(rig, 20);
    client_open(&clients[0], rig, 64); /* there is room again */
    until_opened(rig, 3);
    struct admission_override own = {.connections_max = 3};
    struct io_address address;
    assert_true(io_address_parse("127.0.0.1:0", &address));
    memcpy(own.ip, address.ip, 16);
    if (!rig->sim) { /* there clients have an address of their own */
        limits.overrides = &own;
        limits.override_count = 1;
        admission_set_limits(admission, &limits);
        client_open(&clients[2], rig, 64);
        until_opened(rig, 4);
        client_open(&clients[3], rig, 64);
        client_until_ended(&clients[3]);
        client_close(&clients[3]);
        client_close(&clients[2]);
    }
    for (int i = 0; i < 2; i++) client_close(&clients[i]);
    stop(rig);
}

/* max.connections.per.ip: one more than the limit is closed at once. An address's own limit stands instead of it. */
TEST(admission_limits_addresses) { each_rig(of_one_address); }

static void by_rate(struct rig *rig) {
    struct client clients[7];
    struct admission_limits limits = unlimited;
    limits.rate_max = 5;
    listen_under(rig, &limits);
    time_ns begin = io_now_precise(rig->io);
    for (int i = 0; i < 7; i++) client_open(&clients[i], rig, 64);
    until_opened(rig, 5);
    until_opened(rig, 6);
    assert_true(io_now_precise(rig->io) - begin >= 195 * NS_PER_MS);
    until_opened(rig, 7);
    assert_true(io_now_precise(rig->io) - begin >= 395 * NS_PER_MS);
    for (int i = 0; i < 7; i++) assert_false(clients[i].ended);
    for (int i = 0; i < 7; i++) client_close(&clients[i]);
    stop(rig);
}

/* max.connection.creation.rate: a second's worth comes in at once, each further one when its time has come. */
TEST(admission_limits_the_rate) { each_rig(by_rate); }

static void by_sockets(struct rig *rig) {
    struct client clients[4];
    struct admission_limits limits = unlimited;
    limits.sockets_max = ADMISSION_KEPT + 3;
    listen_under(rig, &limits);
    for (int i = 0; i < 3; i++) {
        client_open(&clients[i], rig, 64);
        until_opened(rig, (uint32_t)i + 1);
        rig_for(rig, 5);
    }
    client_send_frame(&clients[0], "x", 1); /* the first is at work now and then: the second is the idlest that never spoke */
    rig_for(rig, 20);
    client_open(&clients[3], rig, 64);
    until_opened(rig, 4);
    client_until_ended(&clients[1]);
    assert_false(clients[0].ended || clients[2].ended || clients[3].ended);
    assert_int_equal(admission_counts_of(admission)->connections, 3);
    for (int i = 0; i < 4; i++) client_close(&clients[i]);
    stop(rig);
}

/* When only the kept descriptors are left, who comes gets the place of the idlest. */
TEST(admission_descriptors_are_for_those_at_work) { each_rig(by_sockets); }

static void while_busy(struct rig *rig) {
    struct client clients[2];
    struct admission_limits limits = unlimited;
    limits.sockets_max = ADMISSION_KEPT + 1;
    listen_under(rig, &limits);
    client_open(&clients[0], rig, 64);
    until_opened(rig, 1);
    client_send_frame(&clients[0], "h", 1);
    rig_for(rig, 20);
    client_open(&clients[1], rig, 64);
    rig_for(rig, 50);
    assert_int_equal(owner.opened, 1);
    conn_answer(owner.held, NULL, NULL); /* idle from now on: within a moment it goes */
    until_opened(rig, 2);
    client_until_ended(&clients[0]);
    for (int i = 0; i < 2; i++) client_close(&clients[i]);
    stop(rig);
}

/* Where all are at work who comes waits, and comes in when one of them is idle. */
TEST(admission_waits_for_those_at_work) { each_rig(while_busy); }
