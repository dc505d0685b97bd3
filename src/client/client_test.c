#include "base/bytes.h"
#include "client/client.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

/* A broker of a few lines on the same shard: knows ApiVersions 0 and Metadata 1 to 4, and does what `does` says with the
 * frames that are not greetings: ANSWERS them; CUTS the connection at the first `cuts` of them; is SILENT. */
enum does { ANSWERS, SILENT };
struct broker {
    struct listener *listener;
    uint16_t port;
    enum does does;
    uint32_t cuts, frames, greetings;
    int16_t version_seen;
    struct conn_slot *held;
    struct pool *pool;
};
struct world {
    struct pool pool;
    struct shard_group *group;
    struct shard *shard;
    struct net *net;
    struct broker brokers[2];
    struct client *client;
    struct arena arena;
};
struct reply { struct arena arena; };

static void reply_gone(struct conn_slot *slot) {
    struct reply *reply = slot_user(slot);
    struct pool *pool = reply->arena.pool;
    arena_destroy(&reply->arena);
    pool_free(pool, reply, sizeof *reply);
}

static void answer(struct broker *broker, struct conn_slot *slot, int16_t key, int16_t version, int32_t correlation) {
    struct reply *reply = POOL_NEW(broker->pool, struct reply);
    struct chain chain;
    arena_init(&reply->arena, broker->pool, 0);
    chain_init(&chain, &reply->arena);
    slot_set_user(slot, reply);
    if (key == API_API_VERSIONS) {
        struct api_versions_response response;
        api_versions_response_init(&response);
        response.api_keys = api_versions_response_api_version_array(&reply->arena, 2);
        response.api_keys_count = 2;
        response.api_keys[0] = (struct api_versions_response_api_version){API_API_VERSIONS, 0, 0};
        response.api_keys[1] = (struct api_versions_response_api_version){API_METADATA, 1, 4};
        assert_true(wire_response_frame(wire_api(key), 0, correlation, &response, &chain));
    } else {
        struct metadata_response response;
        metadata_response_init(&response);
        response.brokers = metadata_response_metadata_response_broker_array(&reply->arena, 1);
        response.brokers_count = 1;
        response.brokers[0].node_id = 5;
        response.brokers[0].host = SPAN_LITERAL("127.0.0.1");
        response.brokers[0].port = broker->port;
        response.controller_id = 5;
        response.cluster_id = SPAN_LITERAL("cluster");
        if (version < 2) response.cluster_id = (struct span){0};
        assert_true(wire_response_frame(wire_api(key), version, correlation, &response, &chain));
    }
    chain_consume(&chain, 4);
    conn_answer(slot, &chain, reply_gone);
}

static void opened(struct conn *conn) {}
static void ended(struct conn *conn, enum conn_end why) {}
static enum frame_verdict framed(struct conn *conn, struct conn_slot *slot, struct span frame, struct slab *slab) {
    struct broker *broker = conn_listener_context(conn);
    int16_t key = (int16_t)load_be16(frame.data), version = (int16_t)load_be16(frame.data + 2);
    if (key == API_API_VERSIONS) broker->greetings++;
    else {
        broker->frames++;
        broker->version_seen = version;
        if (broker->cuts > 0) {
            broker->cuts--;
            return FRAME_REFUSED;
        }
        if (broker->does == SILENT) {
            broker->held = slot;
            return FRAME_TAKEN;
        }
    }
    answer(broker, slot, key, version, (int32_t)load_be32(frame.data + 4));
    return FRAME_TAKEN;
}
static const struct conn_owner owner = {.on_open = opened, .on_frame = framed, .on_closed = ended};

static void world_open(struct world *world) {
    struct io *io;
    struct pool *pools[] = {&world->pool};
    memset(world, 0, sizeof *world);
    pool_init(&world->pool, 0, 0);
    arena_init(&world->arena, &world->pool, 0);
    assert_int_equal(io_open(&io, &(struct io_options){.backend = IO_BACKEND_EPOLL, .offload_threads = 1, .pool = &world->pool}), 0);
    assert_int_equal(shard_group_open(&world->group, &(struct shard_options){.count = 1, .ios = &io, .pools = pools}), ERR_NONE);
    world->shard = shard_at(world->group, 0);
    assert_int_equal(net_open(&world->net, world->shard, &(struct net_limits){0}), ERR_NONE);
    for (size_t i = 0; i < countof(world->brokers); i++) {
        struct broker *broker = &world->brokers[i];
        struct listener_options options = {.owner = &owner, .context = broker};
        broker->pool = &world->pool;
        assert_true(io_address_parse("127.0.0.1:0", &options.address));
        assert_int_equal(listener_open(&broker->listener, world->shard, &options), 0);
        broker->port = listener_address(broker->listener)->port;
    }
}

static void world_client(struct world *world, const char *bootstrap) {
    assert_int_equal(client_open(&world->client, &(struct client_options){.shard = world->shard, .bootstrap = bootstrap}), ERR_NONE);
}
/* Both brokers, in this order. */
static void world_client_of_both(struct world *world) {
    char text[64];
    snprintf(text, sizeof text, "127.0.0.1:%u,127.0.0.1:%u", world->brokers[0].port, world->brokers[1].port);
    world_client(world, text);
}

static void flag(void *context) { *(bool *)context = true; }
static void until(struct world *world, const bool *is_so) { while (!*is_so) shard_turn(world->shard, INT64_MAX); }

static void world_close(struct world *world) {
    bool done = false;
    if (world->client) {
        client_close(world->client, flag, &done);
        until(world, &done);
    }
    for (size_t i = 0; i < countof(world->brokers); i++)
        if (world->brokers[i].held) conn_answer(world->brokers[i].held, NULL, NULL);
    done = false;
    net_stop(world->net, 0, flag, &done);
    until(world, &done);
    for (size_t i = 0; i < countof(world->brokers); i++) {
        done = false;
        listener_close(world->brokers[i].listener, flag, &done);
        until(world, &done);
    }
    net_close(world->net);
    shard_group_close(world->group);
    arena_destroy(&world->arena);
    pool_destroy(&world->pool); /* asserts that nothing is left */
}

static struct metadata_request everything(void) {
    struct metadata_request request;
    metadata_request_init(&request);
    request.topics_count = -1;
    request.allow_auto_topic_creation = true;
    return request;
}
static struct client_call metadata_call(struct world *world, const struct metadata_request *request, struct metadata_response *response) {
    return (struct client_call){.broker = CLIENT_ANY, .api_key = API_METADATA, .request = request, .response = response, .arena = &world->arena, .timeout_ms = 5000};
}

/* A call goes out in the newest version that both know, here 4, and its answer is read; the broker that it names can then
 * be called by its id, over a connection of its own, and its versions are known. */
TEST(a_call_is_answered_and_brokers_are_learnt) {
    struct world world;
    struct metadata_request request = everything();
    struct metadata_response response;
    int16_t min, max;
    world_open(&world);
    world_client_of_both(&world);
    struct client_call call = metadata_call(&world, &request, &response);
    assert_int_equal(client_wait(world.client, &call), ERR_NONE);
    assert_int_equal(call.version, 4);
    assert_true(span_equal(response.cluster_id, SPAN_LITERAL("cluster")) && response.controller_id == 5);
    assert_int_equal(call.answered_by, -1);
    assert_false(client_versions(world.client, 5, API_METADATA, &min, &max)); /* not spoken to yet */
    call = metadata_call(&world, &request, &response);
    call.broker = 5;
    assert_int_equal(client_wait(world.client, &call), ERR_NONE);
    assert_int_equal(call.answered_by, 5);
    assert_true(client_versions(world.client, 5, API_METADATA, &min, &max) && min == 1 && max == 4);
    assert_int_equal(world.brokers[0].greetings + world.brokers[1].greetings, 2);
    world_close(&world);
}

/* The caller's bounds and what the request says choose the version: without automatic creation, only 4 can say it. */
TEST(versions_are_chosen_by_what_they_can_say) {
    struct world world;
    struct metadata_request request = everything();
    struct metadata_response response;
    world_open(&world);
    world_client_of_both(&world);
    struct client_call call = metadata_call(&world, &request, &response);
    call.version_min = 1;
    call.version_max = 2;
    assert_int_equal(client_wait(world.client, &call), ERR_NONE);
    assert_int_equal(call.version, 2);
    request.allow_auto_topic_creation = false;
    call = metadata_call(&world, &request, &response);
    call.version_min = 1;
    call.version_max = 2;
    assert_int_equal(client_wait(world.client, &call), ERR_UNSUPPORTED);
    world_close(&world);
}

/* An API that the broker does not name in ApiVersions is not sent at all. */
TEST(what_the_broker_does_not_know_is_not_sent) {
    struct world world;
    struct describe_cluster_request request;
    struct describe_cluster_response response;
    describe_cluster_request_init(&request);
    world_open(&world);
    world_client_of_both(&world);
    struct client_call call = {.broker = CLIENT_ANY, .api_key = API_DESCRIBE_CLUSTER, .request = &request, .response = &response, .arena = &world.arena};
    assert_int_equal(client_wait(world.client, &call), ERR_UNSUPPORTED);
    assert_int_equal(world.brokers[0].frames + world.brokers[1].frames, 0);
    world_close(&world);
}

/* Connections that are cut with a call under way: it is sent again until it is answered. */
TEST(a_call_outlives_its_connection) {
    struct world world;
    struct metadata_request request = everything();
    struct metadata_response response;
    world_open(&world);
    world_client_of_both(&world);
    world.brokers[0].cuts = world.brokers[1].cuts = 2;
    struct client_call call = metadata_call(&world, &request, &response);
    assert_int_equal(client_wait(world.client, &call), ERR_NONE);
    assert_true(world.brokers[0].frames + world.brokers[1].frames >= 3);
    world_close(&world);
}

/* Nobody listens at the first server: the second answers. */
TEST(another_server_is_asked_when_one_is_not_there) {
    struct world world;
    struct metadata_request request = everything();
    struct metadata_response response;
    char text[64];
    bool closed = false;
    world_open(&world);
    uint16_t gone = world.brokers[0].port;
    listener_close(world.brokers[0].listener, flag, &closed);
    until(&world, &closed);
    struct listener_options options = {.owner = &owner, .context = &world.brokers[0]};
    assert_true(io_address_parse("127.0.0.1:0", &options.address));
    assert_int_equal(listener_open(&world.brokers[0].listener, world.shard, &options), 0); /* for world_close; on another port */
    snprintf(text, sizeof text, "127.0.0.1:%u, 127.0.0.1:%u", gone, world.brokers[1].port);
    world_client(&world, text);
    struct client_call call = metadata_call(&world, &request, &response);
    assert_int_equal(client_wait(world.client, &call), ERR_NONE);
    assert_int_equal(world.brokers[1].frames, 1);
    world_close(&world);
}

/* A broker that never answers, and one that nobody has heard of: the call ends at its own deadline, not later. */
TEST(a_call_ends_at_its_deadline) {
    struct world world;
    struct metadata_request request = everything();
    struct metadata_response response;
    world_open(&world);
    world_client_of_both(&world);
    world.brokers[0].does = world.brokers[1].does = SILENT;
    for (int32_t broker = CLIENT_ANY; broker <= 9; broker += 10) {
        time_ns begin = io_now_precise(world.shard->io);
        struct client_call call = metadata_call(&world, &request, &response);
        call.broker = broker;
        call.timeout_ms = 150;
        assert_int_equal(client_wait(world.client, &call), ERR_TIMEOUT);
        time_ns took = io_now_precise(world.shard->io) - begin;
        assert_true(took >= 90 * NS_PER_MS && took < 2000 * NS_PER_MS);
    }
    world_close(&world);
}

static void count_closed(struct client_call *call) {
    assert_int_equal(call->err, ERR_CLOSED);
    ++*(int *)call->context;
}

/* Closing ends every call with ERR_CLOSED, once: the one under way, the one without a connection, and the new one. */
TEST(closing_ends_calls) {
    struct world world;
    struct metadata_request request = everything();
    struct metadata_response responses[3];
    struct client_call calls[3];
    int count = 0;
    bool closed = false;
    world_open(&world);
    world_client_of_both(&world);
    world.brokers[0].does = world.brokers[1].does = SILENT;
    for (size_t i = 0; i < countof(calls); i++) {
        if (i == 2) /* the first is on its way, the second waits for a broker, the third was never looked at */
            while (!world.brokers[0].held && !world.brokers[1].held) shard_turn(world.shard, INT64_MAX);
        calls[i] = metadata_call(&world, &request, &responses[i]);
        if (i == 1) calls[i].broker = 9;
        calls[i].done = count_closed;
        calls[i].context = &count;
        client_call(world.client, &calls[i]);
    }
    client_close(world.client, flag, &closed);
    world.client = NULL;
    until(&world, &closed);
    assert_int_equal(count, 3);
    world_close(&world);
}

/* What is no list of host:port is refused, whatever stands beside it, and nothing is left behind. */
TEST(wrong_servers_are_refused) {
    static const char *const wrong[] = {"", ",", "host", "host:", ":9092", "host:0", "host:65536", "host:9x", "127.0.0.1:9092,host"};
    struct world world;
    world_open(&world);
    for (size_t i = 0; i < countof(wrong); i++)
        assert_int_equal(client_open(&world.client, &(struct client_options){.shard = world.shard, .bootstrap = wrong[i]}), ERR_INVALID);
    world.client = NULL;
    world_client(&world, "[::1]:9092, localhost:1");
    world_close(&world);
}
