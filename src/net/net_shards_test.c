/* Several shards on threads of their own, one listener, and clients that know nothing of it. */
#include "base/bytes.h"
#include "net/net.h"
#include "test.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SHARDS = 3, CLIENTS = 31, ROUNDS = 40 };

struct part { struct net *net; struct timer timer; struct shard *shard; uint32_t opened, frames; char apart[64]; };
static struct part parts[SHARDS];
static struct listener *listener;
static _Atomic uint32_t finished, stopped, freed;

struct echo { struct arena arena; struct slab *slab; struct pool *pool; };

static void echo_gone(struct conn_slot *slot) {
    struct echo *echo = slot_user(slot);
    slab_drop(echo->slab);
    arena_destroy(&echo->arena);
    pool_free(echo->pool, echo, sizeof *echo);
}

static enum frame_verdict on_frame(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    struct shard *shard = conn_shard(conn);
    struct echo *echo = POOL_NEW(shard->pool, struct echo);
    struct chain chain;
    assert(echo);
    echo->slab = slab_hold(slab);
    echo->pool = shard->pool;
    arena_init(&echo->arena, shard->pool, 0);
    chain_init(&chain, &echo->arena);
    assert(chain_add_memory(&chain, frame.data, frame.size, slab));
    slot_set_user(slot, echo);
    parts[shard->index].frames++;
    conn_answer(slot, &chain, echo_gone);
    return FRAME_TAKEN;
}
static void on_open(struct conn *conn) {
    parts[conn_shard(conn)->index].opened++;
    assert(conn_peer_address(conn)->port != conn_own_address(conn)->port);
    assert(conn_own_address(conn)->port == listener_address(listener)->port);
}
static void on_closed(struct conn *conn, enum conn_end why) {}
static void on_freed(struct conn *conn) { atomic_fetch_add(&freed, 1); }
static const struct conn_owner owner = {.on_open = on_open, .on_frame = on_frame, .on_closed = on_closed, .on_freed = on_freed};

static void one_stopped(void *context) {
    struct part *part = context;
    net_close(part->net);
    if (atomic_fetch_add(&stopped, 1) + 1 == SHARDS + 1) shard_stop(part->shard->group);
}
static void listener_closed(void *context) {
    if (atomic_fetch_add(&stopped, 1) + 1 == SHARDS + 1) shard_stop(((struct part *)context)->shard->group);
}

/* Looks each few milliseconds whether the clients are done; then this shard's part ends. */
static void look(struct timer *timer) {
    struct part *part = container_of(timer, struct part, timer);
    if (!atomic_load(&finished)) {
        assert(timer_set(part->shard, timer, shard_now(part->shard) + 5 * NS_PER_MS, look));
        return;
    }
    if (part->shard->index == 0) listener_close(listener, listener_closed, part);
    net_stop(part->net, part->shard->index == 1 ? 0 : NS_PER_S, one_stopped, part);
}

static void exactly(int descriptor, void *bytes, size_t size, bool out) {
    for (size_t done = 0; done < size;) {
        ssize_t n = out ? send(descriptor, (char *)bytes + done, size - done, 0) : recv(descriptor, (char *)bytes + done, size - done, 0);
        assert(n > 0);
        done += (size_t)n;
    }
}

static void *clients_main(void *context) {
    static uint8_t out[70000], in[70000];
    int descriptors[CLIENTS];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(listener_address(listener)->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (int i = 0; i < CLIENTS; i++) {
        descriptors[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert(connect(descriptors[i], (struct sockaddr *)&to, sizeof to) == 0);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CLIENTS; i++) {
            size_t size = round % 10 == 9 ? 60000 : (size_t)(round * 37 + i);
            store_be32(out, (uint32_t)size);
            memset(out + 4, round + i, size);
            exactly(descriptors[i], out, 4 + size, true);
            exactly(descriptors[i], in, 4 + size, false);
            assert(memcmp(in, out, 4 + size) == 0);
        }
    for (int i = 0; i < CLIENTS; i += 2) close(descriptors[i]); /* the others are there when the nets stop */
    atomic_store(&finished, 1);
    for (int i = 1; i < CLIENTS; i += 2) {
        assert(recv(descriptors[i], in, 1, 0) <= 0);
        close(descriptors[i]);
    }
    return NULL;
}

/* Connections are spread over the shards evenly, work there, and are counted out by the listener when they end, whoever
 * ends them. */
TEST(net_over_several_shards) {
    struct pool pools[SHARDS];
    struct pool *list[SHARDS];
    struct io *ios[SHARDS];
    struct shard_group *group;
    struct listener_options options = {.owner = &owner};
    pthread_t thread;
    atomic_store(&finished, 0);
    for (int i = 0; i < SHARDS; i++) {
        pool_init(&pools[i], 0, 16);
        list[i] = &pools[i];
        assert_int_equal(io_open(&ios[i], &(struct io_options){.pool = &pools[i]}), 0);
    }
    assert_int_equal(shard_group_open(&group, &(struct shard_options){.count = SHARDS, .ios = ios, .pools = list, .mailbox_messages = 4}), ERR_NONE);
    for (uint32_t i = 0; i < SHARDS; i++) {
        parts[i].shard = shard_at(group, i);
        assert_int_equal(net_open(&parts[i].net, parts[i].shard, &(struct net_limits){0}), ERR_NONE);
        assert_true(timer_set(parts[i].shard, &parts[i].timer, 0, look));
    }
    assert_true(io_address_parse("127.0.0.1:0", &options.address));
    assert_int_equal(listener_open(&listener, shard_at(group, 0), &options), 0);
    assert_int_equal(pthread_create(&thread, NULL, clients_main, NULL), 0);
    assert_int_equal(shard_group_run(group), ERR_NONE);
    pthread_join(thread, NULL);
    for (int i = 0; i < SHARDS; i++) {
        assert_true(parts[i].opened >= CLIENTS / SHARDS);
        assert_int_equal(parts[i].frames, parts[i].opened * ROUNDS);
    }
    assert_int_equal(freed, CLIENTS);
    shard_group_close(group);
    for (int i = 0; i < SHARDS; i++) pool_destroy(&pools[i]);
}
