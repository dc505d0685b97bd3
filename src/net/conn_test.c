#include "base/bytes.h"
#include "net/net_rig.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An owner whose frames say what to do with them, in their first byte:
 *   e  answer at once with the same bytes           h  hold: the test answers (with the same bytes)
 *   s  answer with nothing                          l  as e, but only when nothing earlier is unanswered
 *   r  refuse                                       t  trust, then as e
 *   c  close the connection, then answer            b  a big answer: as many times 64 KiB as the second byte says
 *   w  as e, then close when answered               p  pause for 60 ms, then as e
 *   f  a range of the test's file                                                                                      */
enum { HELD_MAX = 256 };
static struct {
    struct conn *conn;           /* the last that was opened */
    struct conn_slot *held[HELD_MAX];
    uint32_t held_count, opened, closed, freed, gone, frames, later;
    enum conn_end why;
    struct io_file *file;
    uint64_t file_bytes;
    _Atomic uint32_t warmed;
    size_t frame_bytes;
    struct pool *pool;
} owner;

struct answer { struct arena arena; struct slab *slab; struct span frame; };

static void answer_gone(struct conn_slot *slot) {
    struct answer *answer = slot_user(slot);
    slab_drop(answer->slab);
    arena_destroy(&answer->arena);
    pool_free(owner.pool, answer, sizeof *answer);
    owner.gone++;
}

static void answer_send(struct conn_slot *slot) {
    static uint8_t block[KIB(64)];
    struct answer *answer = slot_user(slot);
    struct chain chain;
    bool added = true;
    chain_init(&chain, &answer->arena);
    if (answer->frame.data[0] == 's') {
        conn_answer(slot, NULL, answer_gone);
        return;
    }
    if (answer->frame.data[0] == 'b')
        for (uint8_t i = 0; i < answer->frame.data[1]; i++) added = added && chain_add_memory(&chain, block, sizeof block, NULL);
    else if (answer->frame.data[0] == 'f') {
        added = chain_add_memory(&chain, "head", 4, NULL) && chain_add_file(&chain, io_file_ref(owner.file), 0, owner.file_bytes / 2) &&
            chain_add_memory(&chain, "middle", 6, NULL) && chain_add_file(&chain, io_file_ref(owner.file), owner.file_bytes / 2, owner.file_bytes - owner.file_bytes / 2);
    } else added = chain_add_memory(&chain, answer->frame.data, answer->frame.size, answer->slab);
    if (!added) {
        chain_clear(&chain);
        conn_close(slot_conn(slot));
        conn_answer(slot, NULL, answer_gone);
        return;
    }
    conn_answer(slot, &chain, answer_gone);
    assert_int_equal(chain.bytes, 0);
}

static void on_open(struct conn *conn) {
    owner.conn = conn;
    owner.opened++;
    conn_set_user(conn, &owner);
}

static enum frame_verdict on_frame(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    char what = frame.size ? (char)frame.data[0] : 'r';
    owner.frames++;
    owner.frame_bytes = frame.size;
    if (what == 'r') return FRAME_REFUSED;
    if (what == 'l' && conn_unanswered(conn) > 0) {
        owner.later++;
        return FRAME_LATER;
    }
    struct answer *answer = POOL_NEW(owner.pool, struct answer);
    if (!answer) return FRAME_REFUSED;
    answer->slab = slab_hold(slab);
    answer->frame = frame;
    arena_init(&answer->arena, owner.pool, 0);
    slot_set_user(slot, answer);
    if (what == 't') conn_trust(conn);
    if (what == 'c') conn_close(conn);
    if (what == 'w') conn_close_when_answered(conn);
    if (what == 'p') conn_pause(conn, shard_now(conn_shard(conn)) + 60 * NS_PER_MS);
    if (what == 'h') {
        assert_true(owner.held_count < HELD_MAX);
        owner.held[owner.held_count++] = slot;
    } else answer_send(slot);
    return FRAME_TAKEN;
}

static void on_closed(struct conn *conn, enum conn_end why) {
    assert_ptr_equal(conn_user(conn), &owner);
    owner.closed++;
    owner.why = why;
}
static void on_freed(struct conn *conn) { owner.freed++; }

static const struct conn_owner test_owner = {.on_open = on_open, .on_frame = on_frame, .on_closed = on_closed, .on_freed = on_freed};

static void listen_with(struct rig *rig, const struct net_limits *limits) {
    memset(&owner, 0, sizeof owner);
    owner.pool = rig->pool;
    rig_listen(rig, limits, &(struct listener_options){.owner = &test_owner});
}

static bool all_freed(void *context) { return owner.freed == owner.opened && owner.opened > 0; }
static bool has_held(void *context) { return owner.held_count >= *(uint32_t *)context; }
static void until_held(struct rig *rig, uint32_t count) { rig_until(rig, has_held, &count); }

static void expect_frame(const struct client *client, size_t at, const char *text) {
    assert_true(client->got_bytes >= at + 4 + strlen(text));
    assert_int_equal(load_be32(client->got + at), strlen(text));
    assert_memory_equal(client->got + at + 4, text, strlen(text));
}

/* ---- Frames and answers */
static void echo(struct rig *rig) {
    struct client client;
    struct net_limits limits = {0};
    listen_with(rig, &limits);
    client_open(&client, rig, 4096);
    client_send_frame(&client, "e1", 2);
    client_until(&client, 6);
    expect_frame(&client, 0, "e1");
    client_send(&client, "\0\0\0\2e2\0\0\0\3e33\0\0\0\1e\0\0\0\2e", 4 + 2 + 4 + 3 + 4 + 1 + 4 + 1); /* three and a part */
    client_until(&client, 6 + 6 + 7 + 5);
    expect_frame(&client, 6, "e2");
    expect_frame(&client, 12, "e33");
    expect_frame(&client, 19, "e");
    client_send(&client, "5", 1);
    client_until(&client, 24 + 6);
    expect_frame(&client, 24, "e5");
    assert_int_equal(owner.frames, 5);
    assert_int_equal(net_counts_of(rig->net)->frames, 5);
    assert_int_equal(net_counts_of(rig->net)->bytes_in, 30);
    assert_int_equal(net_counts_of(rig->net)->bytes_out, 30);
    assert_int_equal(net_counts_of(rig->net)->connections, 1);
    client_close(&client);
    rig_until(rig, all_freed, NULL);
    assert_int_equal(owner.why, CONN_END_PEER);
    assert_int_equal(owner.gone, 5);
}

/* Frames come whole, several in one receive and one over several, and their answers come back. */
TEST(conn_echoes_frames) { each_rig(echo); }

static void byte_wise(struct rig *rig) {
    static const char bytes[] = "\0\0\0\3eab\0\0\0\1e\0\0\0\2ez";
    struct client client;
    listen_with(rig, NULL);
    client_open(&client, rig, 4096);
    for (size_t i = 0; i + 1 < sizeof bytes; i++) {
        client_send(&client, bytes + i, 1);
        rig_turns(rig, 3);
    }
    client_until(&client, sizeof bytes - 1);
    assert_memory_equal(client.got, bytes, sizeof bytes - 1);
    client_close(&client);
    rig_until(rig, all_freed, NULL);
}

/* It makes no difference where the network cuts: byte by byte, the same answers. */
TEST(conn_frames_byte_by_byte) { each_rig(byte_wise); }

static void in_order(struct rig *rig) {
    struct client client;
    listen_with(rig, NULL);
    client_open(&client, rig, 4096);
    for (char i = '0'; i < '5'; i++) client_send_frame(&client, (char[]){'h', i}, 2);
    client_send_frame(&client, "e5", 2);
    client_send_frame(&client, "s6", 2);
    client_send_frame(&client, "e7", 2);
    until_held(rig, 5);
    rig_turns(rig, 10);
    assert_int_equal(conn_unanswered(owner.conn), 5);
    for (int i = 4; i > 0; i--) answer_send(owner.held[i]);
    rig_turns(rig, 10);
    assert_int_equal(client.got_bytes, 0);
    assert_int_equal(owner.gone, 0);
    answer_send(owner.held[0]);
    client_until(&client, 7 * 6);
    for (int i = 0; i < 5; i++) expect_frame(&client, (size_t)i * 6, (char[]){'h', (char)('0' + i), 0});
    expect_frame(&client, 30, "e5");
    expect_frame(&client, 36, "e7");
    rig_turns(rig, 5);
    assert_int_equal(owner.gone, 8);
    assert_int_equal(conn_unanswered(owner.conn), 0);
    client_close(&client);
}

/* Answers are given in reverse; they leave in the order of the requests, and one without bytes takes its turn too. */
TEST(conn_answers_in_request_order) { each_rig(in_order); }

static void later(struct rig *rig) {
    struct client client;
    listen_with(rig, NULL);
    client_open(&client, rig, 4096);
    client_send_frame(&client, "h0", 2);
    client_send_frame(&client, "h1", 2);
    client_send_frame(&client, "l2", 2);
    client_send_frame(&client, "e3", 2);
    until_held(rig, 2);
    rig_turns(rig, 10);
    assert_int_equal(owner.later, 1); /* once, not at each turn */
    answer_send(owner.held[1]);
    rig_turns(rig, 10);
    assert_int_equal(owner.frames, 3);
    assert_int_equal(owner.later, 1);
    answer_send(owner.held[0]);
    client_until(&client, 4 * 6);
    expect_frame(&client, 12, "l2");
    expect_frame(&client, 18, "e3");
    assert_int_equal(owner.later, 1);
    client_close(&client);
}

/* A frame that is put off comes again when all earlier ones are answered, not before, and those behind it wait. */
TEST(conn_gives_later_frames_again) { each_rig(later); }

static void refuse(struct rig *rig) {
    struct client client;
    static const char *const last[] = {"r", "c", "w"};
    for (size_t i = 0; i < countof(last); i++) {
        listen_with(rig, NULL);
        client_open(&client, rig, 4096);
        client_send_frame(&client, "h0", 2);
        client_send_frame(&client, last[i], 1);
        client_send_frame(&client, "e9", 2);
        rig_until(rig, has_held, &(uint32_t){1});
        if (i == 2) {
            rig_turns(rig, 10);
            assert_int_equal(owner.closed, 0);
            answer_send(owner.held[0]);
            client_until(&client, 6 + 5);
            expect_frame(&client, 6, "w");
            client_until_ended(&client);
            rig_until(rig, all_freed, NULL);
        } else {
            client_until_ended(&client);
            rig_turns(rig, 5);
            assert_int_equal(owner.closed, 1);
            assert_int_equal(owner.freed, 0); /* a slot is still out */
            answer_send(owner.held[0]);
            rig_until(rig, all_freed, NULL);
            assert_int_equal(client.got_bytes, 0);
        }
        assert_int_equal(owner.why, CONN_END_OWNER);
        assert_int_equal(owner.frames, 2);
        assert_int_equal(owner.gone, i == 0 ? 1 : 2);
        client_close(&client);
        rig_stop(rig);
    }
}

/* Refusing a frame or closing ends a connection at once, closing when answered after its answers; no frame comes after
 * it, and the conn lives until its last slot is answered. */
TEST(conn_closes_as_asked) { each_rig(refuse); }

/* ---- Sizes and memory */
static void sizes(struct rig *rig) {
    static uint8_t body[1001];
    struct net_limits limits = {.frame_bytes_max = 1000, .frame_bytes_max_untrusted = 100};
    struct { size_t size; bool trusted, good; } cases[] = {
        {99, false, true}, {100, false, true}, {101, false, false}, {999, true, true}, {1000, true, true}, {1001, true, false}};
    body[0] = 'e';
    for (size_t i = 0; i < countof(cases); i++) {
        struct client client;
        memset(&owner, 0, sizeof owner);
        owner.pool = rig->pool;
        rig_listen(rig, &limits, &(struct listener_options){.owner = &test_owner, .untrusted = true});
        client_open(&client, rig, 4096);
        size_t before = 0;
        if (cases[i].trusted) {
            client_send_frame(&client, "t", 1);
            client_until(&client, before = 5);
        }
        client_send_frame(&client, body, cases[i].size);
        if (cases[i].good) {
            client_until(&client, before + 4 + cases[i].size);
        } else {
            client_until_ended(&client);
            assert_int_equal(client.got_bytes, before);
            rig_until(rig, all_freed, NULL);
            assert_int_equal(owner.why, CONN_END_FRAME_SIZE);
        }
        client_close(&client);
        rig_stop(rig);
    }
    static const char *const wrong[] = {"\xff\xff\xff\xff", "\x80\0\0\0", "\x7f\xff\xff\xff"};
    for (size_t i = 0; i < countof(wrong); i++) {
        struct client client;
        listen_with(rig, &limits);
        client_open(&client, rig, 16);
        size_t used = rig->pool->used;
        client_send(&client, wrong[i], 4);
        client_until_ended(&client);
        assert_true(rig->pool->used <= used + KIB(4));
        client_close(&client);
        rig_until(rig, all_freed, NULL);
        rig_stop(rig);
    }
}

/* The size limits hold at one less, at, and one more, before and after trust; negative sizes are over every limit. */
TEST(conn_limits_frame_size) { each_rig(sizes); }

static void large(struct rig *rig) {
    enum { SIZE = 3000000 };
    struct client client;
    uint8_t *frame = malloc(4 + SIZE);
    listen_with(rig, NULL);
    client_open(&client, rig, 4 + SIZE);
    rig_turns(rig, 3);
    size_t used = rig->pool->used;
    store_be32(frame, SIZE);
    for (size_t i = 0; i < SIZE; i++) frame[4 + i] = (uint8_t)(i * 7 >> 3);
    frame[4] = 'e';
    client_send(&client, frame, 1000);
    rig_for(rig, 30);
    assert_true(rig->pool->used < used + KIB(64) + KIB(16)); /* the promise of the size took no more than the first chunk */
    client_send(&client, frame + 1000, 400000);
    rig_for(rig, 60);
    assert_true(rig->pool->used < used + 4 * 401000 + MIB(1)); /* the client's own copy is in it */
    client_send(&client, frame + 401000, SIZE + 4 - 401000);
    client_until(&client, SIZE + 4);
    assert_memory_equal(client.got, frame, SIZE + 4);
    for (int i = 0; i < 3; i++) { /* once it is known to send such frames, the same again */
        client.got_bytes = 0;
        client_send(&client, frame, SIZE + 4);
        client_until(&client, SIZE + 4);
        assert_memory_equal(client.got, frame, SIZE + 4);
    }
    client_close(&client);
    rig_until(rig, all_freed, NULL);
    free(frame);
}

/* A large frame comes whole; its buffer grows with the bytes that came, not with the size that was promised. */
TEST(conn_large_frames_grow) { each_rig(large); }

static void idle_memory(struct rig *rig) {
    struct client client;
    listen_with(rig, NULL);
    client_open(&client, rig, MIB(1));
    rig_turns(rig, 3);
    arena_destroy(&client.arena);
    size_t used = rig->pool->used;
    for (int i = 0; i < 3; i++) {
        static uint8_t frame[30000] = {'e'};
        client.got_bytes = 0;
        client_send_frame(&client, frame, sizeof frame);
        client_until(&client, sizeof frame + 4);
        rig_turns(rig, 5);
        arena_destroy(&client.arena);
        assert_int_equal(rig->pool->used, used);
    }
    client_close(&client);
}

/* After a request a connection holds what it held before: no buffer. */
TEST(conn_idle_holds_no_buffer) { each_rig(idle_memory); }

static void queued(struct rig *rig) {
    struct client client;
    struct net_limits limits = {.requests_max = 5};
    listen_with(rig, &limits);
    client_open(&client, rig, 4096);
    for (int i = 0; i < 12; i++) client_send_frame(&client, "h", 1);
    until_held(rig, 5);
    rig_for(rig, 20);
    assert_int_equal(owner.held_count, 5);
    answer_send(owner.held[2]); /* not the first: nothing leaves, no room */
    rig_for(rig, 20);
    assert_int_equal(owner.held_count, 5);
    answer_send(owner.held[0]);
    until_held(rig, 6);
    rig_for(rig, 20);
    assert_int_equal(owner.held_count, 6);
    answer_send(owner.held[1]); /* and with it the third */
    until_held(rig, 8);
    rig_for(rig, 20);
    assert_int_equal(owner.held_count, 8);
    for (uint32_t i = 3; i < 12; i++) {
        until_held(rig, i + 1);
        answer_send(owner.held[i]);
    }
    client_until(&client, 12 * 5);
    client_close(&client);
}

/* No more requests are taken than the limit; each answer that leaves lets one more in. */
TEST(conn_limits_queued_requests) { each_rig(queued); }


static void unread(struct rig *rig) {
    struct client client;
    struct net_limits limits = {.unread_bytes_max = MIB(1)};
    listen_with(rig, &limits);
    client_open(&client, rig, MIB(64));
    rig_turns(rig, 3);
    client_send_frame(&client, "e", 1);
    client_until(&client, 5);
    client.deaf = true;
    for (int i = 0; i < 60; i++) client_send_frame(&client, "b\x10", 2); /* 60 MiB of answers: more than any socket's buffer */
    rig_for(rig, 100);
    uint32_t taken = owner.frames;
    assert_true(taken >= 3 && taken < 60);
    rig_for(rig, 50);
    assert_int_equal(owner.frames, taken);
    client_listen(&client);
    client_until(&client, 5 + 60 * (4 + MIB(1)));
    assert_int_equal(owner.frames, 61);
    client_close(&client);
}

/* Answers that are not read stop the taking of requests, and their reading starts it again. */
TEST(conn_limits_unread_answers) { each_rig(unread); }

static void incomplete(struct rig *rig) {
    enum { CLIENTS = 4, SIZE = 200000, HALF = 120000 };
    static uint8_t frame[4 + SIZE];
    struct client clients[CLIENTS];
    struct net_limits limits = {.incomplete_bytes_max = KIB(256)};
    listen_with(rig, &limits);
    store_be32(frame, SIZE);
    frame[4] = 'e';
    for (int i = 0; i < CLIENTS; i++) client_open(&clients[i], rig, 4 + SIZE);
    for (int i = 0; i < CLIENTS; i++) client_send(&clients[i], frame, HALF);
    rig_for(rig, 100);
    for (int i = 0; i < CLIENTS; i++) client_send(&clients[i], frame + HALF, 4 + SIZE - HALF);
    for (int i = 0; i < CLIENTS; i++) client_until(&clients[i], 4 + SIZE);
    assert_int_equal(owner.frames, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) client_close(&clients[i]);
    rig_until(rig, all_freed, NULL);
}

/* More unfinished frames than the shard's limit allows: none is lost, they are finished one after the other. */
TEST(conn_limits_incomplete_frames) { each_rig(incomplete); }

static void admits_one(struct rig *rig) {
    enum { SIZE = 400000 };
    static uint8_t frame[4 + SIZE];
    struct client first, second;
    struct net_limits limits = {.incomplete_bytes_max = KIB(100), .frame_ms = 100};
    listen_with(rig, &limits);
    store_be32(frame, SIZE);
    frame[4] = 'e';
    client_open(&first, rig, 4 + SIZE);
    client_send_frame(&first, "e", 1);
    client_until(&first, 5);
    first.got_bytes = 0;
    client_open(&second, rig, 4 + SIZE);
    client_send(&first, frame, 200000); /* takes the exception, and stops half-way */
    rig_for(rig, 20);
    client_send(&second, frame, 4 + SIZE);
    rig_for(rig, 20);
    assert_int_equal(owner.frames, 1);
    client_until(&second, 4 + SIZE);    /* when the first was closed for its slowness */
    client_until_ended(&first);
    client_close(&first);
    client_close(&second);
    rig_until(rig, all_freed, NULL);
}

/* One that holds the exception and does not go on is closed for its slowness, and the next one's frame is finished. */
TEST(conn_incomplete_frame_gives_way) { each_rig(admits_one); }

/* ---- Times */
static void idle(struct rig *rig) {
    struct client quiet, busy, waiting;
    struct net_limits limits = {.idle_ms = 200};
    listen_with(rig, &limits);
    client_open(&waiting, rig, 4096);
    client_open(&quiet, rig, 4096);
    client_open(&busy, rig, 4096);
    client_send_frame(&quiet, "e", 1);
    client_send_frame(&waiting, "h", 1);
    time_ns begun = shard_now(rig->shard);
    for (int i = 0; i < 8; i++) {
        client_send_frame(&busy, "e", 1);
        client_until(&busy, ((size_t)i + 1) * 5);
        if (i == 0) assert_false(quiet.ended);
        rig_for(rig, 50);
    }
    assert_true(shard_now(rig->shard) - begun >= 400 * NS_PER_MS);
    assert_true(quiet.ended);
    assert_false(busy.ended);
    assert_false(waiting.ended);
    assert_int_equal(owner.closed, 1);
    assert_int_equal(owner.why, CONN_END_IDLE);
    answer_send(owner.held[0]);
    client_until(&waiting, 5);
    client_until_ended(&waiting);
    client_until_ended(&busy);
    client_close(&quiet);
    client_close(&busy);
    client_close(&waiting);
}

/* A connection without traffic is closed after its time; one with traffic is not, nor one that waits for its answer. */
TEST(conn_closes_idle) { each_rig(idle); }

static void slow(struct rig *rig) {
    struct client none, half, drip, held;
    struct net_limits limits = {.first_frame_ms = 150, .frame_ms = 150};
    listen_with(rig, &limits);
    client_open(&held, rig, 4096);
    client_send_frame(&held, "h", 1);
    client_open(&none, rig, 4096);
    client_open(&half, rig, 4096);
    client_open(&drip, rig, 4096);
    client_send_frame(&half, "e", 1);
    client_send_frame(&drip, "e", 1);
    client_until(&half, 5);
    client_until(&drip, 5);
    client_send(&half, "\0\0\xff\xffxxx", 7);
    client_send(&drip, "\0\0\xff\xff", 4);
    for (int i = 0; i < 40 && !none.ended; i++) {
        static char piece[200];
        client_send(&drip, piece, sizeof piece); /* 20 KB/s: slow, but it goes on */
        rig_for(rig, 10);
    }
    assert_true(none.ended);
    client_until_ended(&half);
    assert_false(drip.ended);
    client_until_ended(&drip); /* it stopped */
    assert_int_equal(net_counts_of(rig->net)->closed[CONN_END_SLOW], 3);
    assert_false(held.ended);
    answer_send(owner.held[0]);
    client_until(&held, 5);
    client_close(&none);
    client_close(&half);
    client_close(&drip);
    client_close(&held);
}

/* No first frame in time, or a frame that stops half-way: closed. One that comes slowly but steadily is not. */
TEST(conn_closes_slow_senders) { each_rig(slow); }

static void pauses(struct rig *rig) {
    struct client client;
    listen_with(rig, NULL);
    client_open(&client, rig, 4096);
    client_send_frame(&client, "p", 1);
    client_send_frame(&client, "e", 1);
    client_until(&client, 5); /* the answer is not held back */
    time_ns paused = shard_now(rig->shard);
    client_until(&client, 10);
    assert_true(shard_now(rig->shard) - paused >= 40 * NS_PER_MS);
    client_close(&client);
}

/* A pause holds back the next frames, not the answer, and ends by itself. */
TEST(conn_pauses) { each_rig(pauses); }

/* ---- Files */
/* Dropping pages is advice: those that another core has just touched stay a while, so it is given until it is taken. Looked at
 * through mincore, as even a read that does not wait makes the kernel fetch the file. False: this kernel never takes it, so a
 * file that is not in memory cannot be shown. */
static bool make_cold(const char *path, size_t size) {
    int descriptor = open(path, O_RDONLY);
    size_t pages = (size + 4095) / 4096, resident = pages;
    unsigned char *in_memory = malloc(pages);
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
    assert_true(map != MAP_FAILED);
    for (int i = 0; i < 300 && resident > 0; i++) {
        if (i > 0) usleep(10000);
        fsync(descriptor);
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
        if (mincore(map, size, in_memory) != 0) break;
        resident = 0;
        for (size_t page = 0; page < pages; page++) resident += in_memory[page] & 1;
    }
    munmap(map, size);
    free(in_memory);
    close(descriptor);
    return resident == 0;
}

static void from_file(struct rig *rig) {
    struct client client;
    struct io_files files = io_files(rig->io);
    char path[64];
    enum { SIZE = 3000001 };
    uint8_t *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    listen_with(rig, NULL);
    snprintf(path, sizeof path, rig->sim ? "answer" : "/tmp/moldau-net-%d", (int)getpid());
    assert_int_equal(files.vtable->open(files.self, &owner.file, path, IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(files.vtable->write(files.self, owner.file, bytes, SIZE, 0), SIZE);
    assert_int_equal(files.vtable->sync_data(files.self, owner.file), 0);
    owner.file_bytes = SIZE;
    if (!rig->sim) {
        if (!make_cold(path, SIZE)) {
            print_message("the kernel keeps the file in memory: not shown here\n");
            io_file_drop(owner.file);
            free(bytes);
            return;
        }
    }
    client_open(&client, rig, 2 * SIZE + 100);
    client_send_frame(&client, "f", 1);
    client_send_frame(&client, "e", 1);
    client_until(&client, 4 + 10 + SIZE + 5);
    assert_int_equal(load_be32(client.got), SIZE + 10);
    assert_memory_equal(client.got + 4, "head", 4);
    assert_memory_equal(client.got + 8, bytes, SIZE / 2);
    assert_memory_equal(client.got + 8 + SIZE / 2, "middle", 6);
    assert_memory_equal(client.got + 14 + SIZE / 2, bytes + SIZE / 2, SIZE - SIZE / 2);
    expect_frame(&client, 14 + SIZE, "e");
    /* A file that ends before its slice: a short send closes the connection. */
    assert_int_equal(files.vtable->truncate(files.self, owner.file, 1000), 0);
    client.got_bytes = 0;
    client_send_frame(&client, "f", 1);
    client_until_ended(&client);
    rig_until(rig, all_freed, NULL);
    assert_int_equal(owner.why, CONN_END_ERROR);
    assert_true(client.got_bytes <= 8 + 1000);
    client_close(&client);
    io_file_drop(owner.file);
    assert_int_equal(files.vtable->unlink(files.self, path), 0);
    free(bytes);
}

/* An answer with ranges of a file that is not in memory arrives byte for byte, the next one behind it. */
TEST(conn_sends_cold_files) { each_rig(from_file); }

static int64_t warm_fails(struct io_files files, struct pool *pool, struct file_ref *file, uint64_t begin, uint64_t offset, size_t size) {
    atomic_fetch_add(&owner.warmed, 1);
    return begin <= offset && size > 0 ? -EILSEQ : 0;
}

static bool refused_or_sent(void *context) {
    const struct client *client = context;
    return owner.warmed > 0 || client->got_bytes >= 100000;
}

static void warm_refuses(struct rig *rig) {
    struct client client;
    struct conn_owner with = test_owner;
    struct io_files files = io_files(rig->io);
    static uint8_t bytes[100000];
    char path[64];
    with.warm = warm_fails;
    memset(&owner, 0, sizeof owner);
    owner.pool = rig->pool;
    rig_listen(rig, NULL, &(struct listener_options){.owner = &with});
    snprintf(path, sizeof path, rig->sim ? "answer" : "/tmp/moldau-net-%d", (int)getpid());
    assert_int_equal(files.vtable->open(files.self, &owner.file, path, IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(files.vtable->write(files.self, owner.file, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(files.vtable->sync_data(files.self, owner.file), 0);
    owner.file_bytes = sizeof bytes;
    if (!rig->sim) {
        if (!make_cold(path, sizeof bytes)) {
            print_message("the kernel keeps the file in memory: not shown here\n");
            io_file_drop(owner.file);
            return;
        }
    } else { /* a simulated power cut is the way to a cold page; here what was just written is hot: nothing to refuse */
        io_file_drop(owner.file);
        return;
    }
    /* The send's own look at the range may make the kernel fetch it before the next one: then it goes out as it is (the gap
     * that L3 states), and is made cold again. */
    time_ns until = io_now_precise(rig->io) + 20 * NS_PER_S;
    bool was_refused = false;
    while (owner.warmed == 0 && io_now_precise(rig->io) < until) {
        if (!make_cold(path, sizeof bytes)) break;
        client_open(&client, rig, 200000);
        client_send_frame(&client, "f", 1);
        rig_until(rig, refused_or_sent, &client);
        if (owner.warmed > 0) {
            rig_until(rig, all_freed, NULL);
            assert_int_equal(owner.why, CONN_END_ERROR);
            assert_int_equal(owner.warmed, 1);
            assert_true(client.got_bytes <= 8 + sizeof bytes / 2 + 6); /* never what was refused */
            was_refused = true;
            if (client.got_bytes > 8) owner.warmed = 0; /* the first half was there already: once more */
        }
        client_close(&client);
        rig_until(rig, all_freed, NULL);
    }
    if (!was_refused) print_message("the kernel had the file in memory again before each look: not shown here\n");
    io_file_drop(owner.file);
    assert_int_equal(files.vtable->unlink(files.self, path), 0);
}

/* The owner's own reading of cold ranges is used, and when it refuses what it read, none of it is sent. */
TEST(conn_owner_checks_cold_ranges) { each_rig(warm_refuses); }

/* ---- Stopping */
static void set_flag(void *context) { *(bool *)context = true; }

static void stops(struct rig *rig) {
    struct client idle_one, busy;
    bool stopped = false, closed = false;
    listen_with(rig, NULL);
    client_open(&idle_one, rig, 4096);
    client_open(&busy, rig, 4096);
    client_send_frame(&busy, "h", 1);
    until_held(rig, 1);
    net_stop(rig->net, 10 * NS_PER_S, set_flag, &stopped);
    client_until_ended(&idle_one);
    client_send_frame(&busy, "e", 1);
    rig_for(rig, 30);
    assert_false(stopped || busy.ended);
    assert_int_equal(owner.frames, 1);
    answer_send(owner.held[0]);
    rig_until_flag(rig, &stopped);
    client_until_ended(&busy);
    listener_close(rig->listener, set_flag, &closed);
    rig_until_flag(rig, &closed);
    net_close(rig->net);
    client_close(&idle_one);
    client_close(&busy);

    listen_with(rig, NULL);
    stopped = closed = false;
    client_open(&busy, rig, 4096);
    client_send_frame(&busy, "h", 1);
    until_held(rig, 1);
    net_stop(rig->net, 30 * NS_PER_MS, set_flag, &stopped);
    client_until_ended(&busy);
    assert_int_equal(owner.why, CONN_END_STOP);
    rig_turns(rig, 5);
    assert_false(stopped); /* the slot is still out */
    answer_send(owner.held[0]);
    rig_until_flag(rig, &stopped);
    listener_close(rig->listener, set_flag, &closed);
    rig_until_flag(rig, &closed);
    net_close(rig->net);
    rig->net = NULL;
    client_close(&busy);
}

/* Stopping lets what was taken be answered, takes nothing new, and when its time is over closes all the same. */
TEST(net_stops) { each_rig(stops); }

/* ---- Listeners */
static bool opened_are(void *context) { return owner.opened >= *(uint32_t *)context; }

static void limits(struct rig *rig) {
    struct client clients[4];
    memset(&owner, 0, sizeof owner);
    owner.pool = rig->pool;
    rig_listen(rig, NULL, &(struct listener_options){.owner = &test_owner, .connections_max = 2});
    for (int i = 0; i < 4; i++) client_open(&clients[i], rig, 64);
    rig_for(rig, 30);
    assert_int_equal(owner.opened, 2);
    client_close(&clients[0]);
    rig_until(rig, opened_are, &(uint32_t){3});
    rig_for(rig, 20);
    assert_int_equal(owner.opened, 3);
    listener_set_limits(rig->listener, UINT32_MAX, UINT32_MAX);
    rig_until(rig, opened_are, &(uint32_t){4});
    client_send_frame(&clients[3], "e", 1);
    client_until(&clients[3], 5);
    for (int i = 1; i < 4; i++) client_close(&clients[i]);
}

/* Beyond the listener's limit a connection waits for room. */
TEST(listener_limits) { each_rig(limits); }

/* ---- Without memory */
static void no_memory(struct rig *rig) {
    uint32_t failures = 0;
    for (uint64_t n = 1; n < 200; n++) {
        struct client client;
        listen_with(rig, NULL);
        client_open(&client, rig, 100000);
        static uint8_t frame[20000] = {'e'};
        client_send_frame(&client, "e", 1);
        client_send_frame(&client, frame, sizeof frame);
        rig->pool->fail_at = n;
        time_ns end = io_now_precise(rig->io) + 20 * NS_PER_S;
        while (!client.ended && client.got_bytes < 5 + sizeof frame + 4) {
            shard_turn(rig->shard, end);
            assert_true(io_now_precise(rig->io) < end);
        }
        bool reached = rig->pool->fail_at == 0;
        rig->pool->fail_at = 0;
        failures += client.ended;
        client_close(&client);
        rig_stop(rig);
        if (!reached) {
            assert_true(n > 3 && failures > 0);
            return;
        }
    }
    fail();
}

/* Memory fails at the first, second, ... allocation: each time the connection works on or is closed, and nothing leaks. */
TEST(conn_survives_without_memory) { each_rig(no_memory); }
