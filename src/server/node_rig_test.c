#include "server/node_rig.h"
#include "base/bytes.h"
#include "controller/format.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct node_rig *current;

static void on_ready(void *context) { ((struct node_rig *)context)->ready = true; }
static void on_stopped(void *context, bool clean, const char *why) {
    struct node_rig *rig = context;
    rig->stopped = true;
    rig->clean = clean;
    if (why) snprintf(rig->why, sizeof rig->why, "%s", why);
    shard_stop(server_shards(rig->server));
}
static void on_trace(const char *line) {
    size_t used = strlen(current->traces);
    snprintf(current->traces + used, sizeof current->traces - used, "%s\n", line);
}

static void step(struct node_rig *rig, time_ns until) { io_turn(rig->io, until); }

bool node_rig_start(struct node_rig *rig) {
    struct pool *pools[RIG_SHARDS_MAX];
    struct io *ios[RIG_SHARDS_MAX];
    struct text why;
    text_init(&why, rig->why, sizeof rig->why);
    rig->ready = rig->stopped = false;
    rig->why[0] = 0;
    rig->process = sim_process_start(rig->hosts[RIG_NODE], rig->shards);
    for (uint32_t i = 0; i < rig->shards; i++) {
        pools[i] = sim_process_pool(rig->process, i);
        ios[i] = sim_process_io(rig->process, i);
    }
    struct server_options options = {.settings = &rig->settings, .ios = ios, .shards = rig->shards, .files = io_files(ios[0]), .pool = pools[0],
                                     .shard_pools = pools, .trace = on_trace, .on_ready = on_ready, .on_stopped = on_stopped, .context = rig};
    current = rig;
    if (server_open(&rig->server, &options, &why)) return false;
    sim_process_drive(rig->process, server_shards(rig->server));
    return true;
}

bool node_rig_run(struct node_rig *rig) {
    time_ns end = io_now(rig->io) + 60 * NS_PER_S;
    while (!rig->ready && !rig->stopped && io_now(rig->io) < end) step(rig, io_now(rig->io) + NS_PER_MS);
    return rig->ready;
}

void node_rig_open(struct node_rig *rig, uint64_t seed, uint32_t shards, const char *settings) {
    static const char base[] =
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@10.0.0.1:9093\ncontroller.listener.names=CONTROLLER\n"
        "listeners=PLAINTEXT://10.0.0.1:9092,CONTROLLER://10.0.0.1:9093\ninter.broker.listener.name=PLAINTEXT\nlog.dirs=/data\n"
        "offsets.topic.replication.factor=1\noffsets.topic.num.partitions=2\ngroup.initial.rebalance.delay.ms=0\n";
    static const char *const data = "/data";
    struct uuid directory = {{1}};
    struct text why;
    char text[4096], sentence[512];
    memset(rig, 0, sizeof *rig);
    text_init(&why, sentence, sizeof sentence);
    rig->shards = shards;
    rig->sim = sim_new(seed);
    rig->net = sim_net_new(rig->sim, NULL);
    for (uint32_t i = 0; i < countof(rig->hosts); i++) rig->hosts[i] = sim_host_new(rig->sim, rig->net, i, 0);
    struct format_plan plan = {.node = 1, .cluster_id = SPAN_LITERAL("a-node-in-a-test-AAAAA"), .dirs = &data, .directory_ids = &directory, .dir_count = 1,
                               .is_controller = true, .now = 1000};
    assert_int_equal(format_run(&plan, sim_host_files(rig->hosts[RIG_NODE]), sim_pool(rig->sim), &why), ERR_NONE);
    pool_init(&rig->pool, 0, 0);
    arena_init(&rig->arena, &rig->pool, 0);
    config_values_init(&rig->values, &rig->arena);
    snprintf(text, sizeof text, "%s%s", base, settings ? settings : "");
    assert_int_equal(config_values_read(&rig->values, span_of(arena_copy(&rig->arena, text, strlen(text)), strlen(text)), &why), ERR_NONE);
    if (!settings_read(&rig->settings, &rig->values, &why, NULL)) fail_msg("%s", sentence);
    rig->io = sim_process_io(sim_process_start(rig->hosts[RIG_CLIENT], 1), 0);
    if (!node_rig_start(rig)) fail_msg("%s", rig->why);
    assert_true(node_rig_run(rig));
}

void node_rig_kill(struct node_rig *rig) {
    sim_process_kill(rig->process);
    rig->process = NULL;
}

void node_rig_stop(struct node_rig *rig) {
    time_ns end = io_now(rig->io) + 60 * NS_PER_S;
    server_stop(rig->server);
    sim_io_nudge(sim_process_io(rig->process, 0));
    while (!rig->stopped && io_now(rig->io) < end) step(rig, io_now(rig->io) + NS_PER_MS);
    assert_true(rig->stopped);
    server_free(rig->server);
    sim_process_end(rig->process);
    rig->process = NULL;
}

void node_rig_close(struct node_rig *rig) {
    for (uint32_t i = 0; i < countof(rig->hosts); i++) {
        if (sim_host_process(rig->hosts[i])) sim_process_kill(sim_host_process(rig->hosts[i]));
        sim_host_free(rig->hosts[i]);
    }
    sim_net_free(rig->net);
    sim_free(rig->sim);
    arena_destroy(&rig->arena);
    pool_destroy(&rig->pool);
}

void node_rig_for(struct node_rig *rig, time_ms span) {
    time_ns end = io_now(rig->io) + span * NS_PER_MS;
    while (io_now(rig->io) < end) step(rig, end);
}

size_t node_rig_memory(const struct node_rig *rig) {
    size_t used = 0;
    for (uint32_t i = 0; i < rig->shards; i++) used += atomic_load(&sim_process_pool(rig->process, i)->used);
    return used;
}

/* ---- A client's connection */

static void in_done(struct io_op *op);
static void noted(struct io_op *op) {}

static void receive(struct rig_client *client) {
    if (client->deaf || client->in.pending || client->closed) return;
    client->in = (struct io_op){.kind = IO_OP_RECV, .done = in_done,
        .net = {.socket = client->socket, .data = client->piece, .size = sizeof client->piece}};
    io_submit(client->rig->io, &client->in);
}

static void in_done(struct io_op *op) {
    struct rig_client *client = container_of(op, struct rig_client, in);
    if (op->result <= 0) client->closed = true;
    else {
        assert_true(client->got_bytes + (size_t)op->result <= RIG_ANSWER_MAX);
        memcpy(client->got + client->got_bytes, client->piece, (size_t)op->result);
        client->got_bytes += (size_t)op->result;
    }
    if (client->socket) receive(client);
}

void rig_connect(struct rig_client *client, struct node_rig *rig, uint16_t port) {
    struct io_address address;
    *client = (struct rig_client){.rig = rig};
    client->got = pool_alloc(&rig->pool, RIG_ANSWER_MAX);
    chain_init(&client->chain, &rig->arena);
    assert_int_equal(rig->io->vtable->socket_new(rig->io, &client->socket), 0);
    sim_net_address(RIG_NODE, port, &address);
    client->out = (struct io_op){.kind = IO_OP_CONNECT, .done = noted, .net = {.socket = client->socket, .address = &address}};
    io_submit(rig->io, &client->out);
    while (client->out.pending) step(rig, INT64_MAX);
    if (client->out.result == -ECONNRESET || client->out.result == -ETIMEDOUT) client->closed = true; /* refused as soon as it was there, or ignored */
    else assert_int_equal(client->out.result, 0);
    receive(client);
}

void rig_disconnect(struct rig_client *client) {
    io_socket_close(client->rig->io, client->socket, false);
    client->socket = NULL;
    while (client->in.pending || client->out.pending) step(client->rig, INT64_MAX);
    chain_clear(&client->chain);
    pool_free(&client->rig->pool, client->got, RIG_ANSWER_MAX);
}

static void send_chain(struct rig_client *client) {
    while (client->chain.bytes && !client->closed) {
        client->out = (struct io_op){.kind = IO_OP_SEND, .done = noted, .net = {.socket = client->socket, .chain = &client->chain}};
        io_submit(client->rig->io, &client->out);
        while (client->out.pending && !client->closed) step(client->rig, INT64_MAX);
        if (client->out.pending || client->out.result <= 0) return;
        chain_consume(&client->chain, (size_t)client->out.result);
    }
}

void rig_send(struct rig_client *client, const void *bytes, size_t size) {
    void *copy = arena_copy(&client->rig->arena, bytes, size);
    assert_non_null(copy);
    assert_true(chain_add_memory(&client->chain, copy, size, NULL));
    send_chain(client);
}

void rig_send_request(struct rig_client *client, int16_t key, int16_t version, const void *request) {
    assert_true(wire_request_frame(wire_api(key), version, ++client->correlation, SPAN_LITERAL("rig"), request, &client->chain));
    send_chain(client);
}

struct span rig_answer(struct rig_client *client, time_ms span) {
    struct node_rig *rig = client->rig;
    time_ns end = io_now(rig->io) + span * NS_PER_MS;
    for (;;) {
        size_t size = client->got_bytes < 4 ? SIZE_MAX : load_be32(client->got);
        if (size != SIZE_MAX && client->got_bytes >= 4 + size) {
            struct span answer = span_of(arena_copy(&rig->arena, client->got + 4, size), size);
            assert_non_null(answer.data);
            memmove(client->got, client->got + 4 + size, client->got_bytes - 4 - size);
            client->got_bytes -= 4 + size;
            return answer;
        }
        if (client->closed || io_now(rig->io) >= end) return (struct span){0};
        step(rig, end);
    }
}

void *rig_decode(struct rig_client *client, int16_t key, int16_t version, struct span answer, int32_t correlation) {
    const struct wire_api *api = wire_api(key);
    struct response_header header;
    struct span body;
    size_t used;
    assert_int_equal(wire_response_header_decode(api, version, &header, answer, &client->rig->arena, &body), ERR_NONE);
    assert_int_equal(header.correlation_id, correlation);
    void *out = arena_alloc(&client->rig->arena, api->response->body->size);
    assert_non_null(out);
    assert_int_equal(wire_decode(api->response, version, out, body, &client->rig->arena, &used), ERR_NONE);
    assert_int_equal(used, body.size);
    return out;
}

void *rig_ask(struct rig_client *client, int16_t key, int16_t version, const void *request) {
    rig_send_request(client, key, version, request);
    struct span answer = rig_answer(client, 30000);
    return answer.data ? rig_decode(client, key, version, answer, client->correlation) : NULL;
}

int16_t rig_alter(struct rig_client *client, int8_t type, const char *resource_name, const char *key, const char *value) {
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_alter_configs_resource resource;
    struct incremental_alter_configs_request_alterable_config config;
    incremental_alter_configs_request_init(&request);
    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    incremental_alter_configs_request_alterable_config_init(&config);
    config.name = span_text(key);
    config.value = value ? span_text(value) : (struct span){0};
    config.config_operation = value ? 0 : 1;
    resource.resource_type = type;
    resource.resource_name = span_text(resource_name);
    resource.configs = &config, resource.configs_count = 1;
    request.resources = &resource, request.resources_count = 1;
    const struct incremental_alter_configs_response *answer = rig_ask(client, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    assert_non_null(answer);
    return answer->responses[0].error_code;
}

struct uuid rig_topic(struct rig_client *client, const char *name, int32_t partitions) {
    struct create_topics_request request;
    struct create_topics_request_creatable_topic topic;
    create_topics_request_init(&request);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = span_text(name);
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = 10000;
    const struct create_topics_response *answer = rig_ask(client, API_CREATE_TOPICS, 7, &request);
    assert_non_null(answer);
    assert_int_equal(answer->topics[0].error_code, KAFKA_NONE);
    struct uuid id = answer->topics[0].topic_id;
    for (int32_t known = 0; known < partitions;) { /* until every shard has it: partitions with a leader */
        struct metadata_request metadata;
        struct metadata_request_metadata_request_topic asked;
        metadata_request_init(&metadata);
        metadata_request_metadata_request_topic_init(&asked);
        asked.name = span_text(name);
        metadata.topics = &asked;
        metadata.topics_count = 1;
        const struct metadata_response *told = rig_ask(client, API_METADATA, 9, &metadata);
        known = told->topics[0].partitions_count;
        node_rig_for(client->rig, 5);
    }
    return id;
}

int16_t rig_produce(struct rig_client *client, const char *name, partition_index index, uint32_t count, uint32_t bytes, log_offset *base) {
    static const uint8_t value[1 << 16];
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    options.base_offset = 0;
    batch_builder_init(&builder, &client->rig->pool, count * (bytes + 32) + 512, &options);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), span_of(value, bytes), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data data;
    produce_request_init(&request);
    produce_request_topic_produce_data_init(&topic);
    produce_request_partition_produce_data_init(&data);
    request.acks = -1;
    request.timeout_ms = 10000;
    request.topic_data = &topic;
    request.topic_data_count = 1;
    topic.name = span_text(name);
    topic.partition_data = &data;
    topic.partition_data_count = 1;
    data.index = index;
    data.records = (struct wire_records){.bytes = span_of(slab->bytes, slab->used)};
    const struct produce_response *answer = rig_ask(client, API_PRODUCE, 9, &request);
    slab_drop(slab);
    assert_non_null(answer);
    if (base) *base = answer->responses[0].partition_responses[0].base_offset;
    return answer->responses[0].partition_responses[0].error_code;
}
