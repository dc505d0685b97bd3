/* Any bytes over a connection to a whole node, in the simulator: nothing ends the node; each request is answered, in the
 * order of the requests, or the connection is closed; what may wait is a Produce, a Fetch, a join and a sync only; and
 * another connection is served all the while.
 *
 * The input: a byte of shape; then, with RAW, the bytes of the stream as they are, else frames, each two bytes of size and
 * so many bytes: on the wire the size before a frame is true then. A node lives through NODE_INPUTS inputs; each life begins
 * with the same seed, so that a run of the plain runner (its seed, its number of runs) can be repeated. */
#include "fuzz.h"
#include "base/bytes.h"
#include "base/random.h"
#include "controller/format.h"
#include "server/server.h"
#include "sim/sim_io.h"
#include "vectors.h"
#include "wire/batch.h"
#include "wire/header.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODE = 0, CLIENT = 1, NODE_INPUTS = 400, SHARDS = 2, PORT = 9092, WIRE_BYTES_MAX = 1 << 17, REQUESTS_MAX = 64, FRAME_BYTES_MAX = 100 << 20 };
enum shape { RAW = 1, IN_PIECES = 2 };
#define WAITS_AT_MOST (600 * NS_PER_MS)
#define ANSWERS_WITHIN (20 * NS_PER_S)
static const size_t node_memory_max = MIB(96);

static struct {
    struct sim *sim;
    struct sim_net *net;
    struct sim_host *hosts[2];
    struct sim_process *process;
    struct settings settings;
    struct config_values values;
    struct pool pool;
    struct arena arena;
    struct server *server;
    struct io *io; /* the client's */
    bool ready;
    uint32_t inputs;
} world;

/* ---- The node */
static const char *const data_path = "/data";
static const char properties[] =
    "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@10.0.0.1:9093\ncontroller.listener.names=CONTROLLER\n"
    "listeners=PLAINTEXT://10.0.0.1:9092,CONTROLLER://10.0.0.1:9093\ninter.broker.listener.name=PLAINTEXT\nlog.dirs=/data\n"
    "offsets.topic.replication.factor=1\noffsets.topic.num.partitions=2\ngroup.initial.rebalance.delay.ms=0\n"
    "socket.request.max.bytes=104857600\nlog.segment.bytes=1048576\n";

static void trace(const char *line) {
    if (getenv("FUZZ_TRACE")) fprintf(stderr, "%12.6f node: %s\n", (double)sim_now(world.sim) / 1e9, line);
}
static void on_ready(void *context) { world.ready = true; }
static void on_stopped(void *context, bool clean, const char *why) { never("the node stops by itself"); }

static void begin_life(void) {
    char why_bytes[1024];
    struct text why;
    struct uuid directory = {{1}};
    struct pool *pools[SHARDS];
    struct io *ios[SHARDS];
    world.ready = false;
    world.inputs = 0;
    world.sim = sim_new(1);
    world.net = sim_net_new(world.sim, NULL);
    for (uint32_t i = 0; i < countof(world.hosts); i++) world.hosts[i] = sim_host_new(world.sim, world.net, i, 0);
    text_init(&why, why_bytes, sizeof why_bytes);
    struct format_plan plan = {.node = 1, .cluster_id = SPAN_LITERAL("a-node-to-be-fuzzed-AA"), .dirs = &data_path, .directory_ids = &directory,
                               .dir_count = 1, .is_controller = true, .now = 1000};
    enum err err = format_run(&plan, sim_host_files(world.hosts[NODE]), sim_pool(world.sim), &why);
    assert(err == ERR_NONE);
    world.process = sim_process_start(world.hosts[NODE], SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++) {
        pools[i] = sim_process_pool(world.process, i);
        ios[i] = sim_process_io(world.process, i);
    }
    pool_init(&world.pool, 0, 0);
    arena_init(&world.arena, &world.pool, 0);
    config_values_init(&world.values, &world.arena);
    err = config_values_read(&world.values, span_text(properties), &why);
    assert(err == ERR_NONE);
    bool read = settings_read(&world.settings, &world.values, &why, NULL);
    assert(read);
    struct server_options options = {.settings = &world.settings, .ios = ios, .shards = SHARDS, .files = io_files(ios[0]), .pool = pools[0],
                                     .shard_pools = pools, .trace = trace, .on_ready = on_ready, .on_stopped = on_stopped};
    err = server_open(&world.server, &options, &why);
    assert(err == ERR_NONE);
    sim_process_drive(world.process, server_shards(world.server));
    world.io = sim_process_io(sim_process_start(world.hosts[CLIENT], 1), 0);
    time_ns end = io_now(world.io) + 60 * NS_PER_S;
    while (!world.ready && io_now(world.io) < end) io_turn(world.io, io_now(world.io) + 100 * NS_PER_MS);
    assert(world.ready);
}

static void end_life(void) {
    for (uint32_t i = 0; i < countof(world.hosts); i++) {
        sim_process_kill(sim_host_process(world.hosts[i]));
        sim_host_free(world.hosts[i]);
    }
    sim_net_free(world.net);
    sim_free(world.sim);
    arena_destroy(&world.arena);
    pool_destroy(&world.pool);
    world.sim = NULL;
}

/* ---- A client: sends what it is given and looks at the sizes and numbers of the answers. */
struct client {
    struct io_socket *socket;
    struct io_op in, out;
    struct arena arena;
    struct chain chain;
    bool closed;                               /* by the node */
    struct { int16_t key; int32_t correlation; } requests[REQUESTS_MAX];
    uint32_t requests_count, answered;         /* answered: all before are, or need not be: the most that can be */
    bool may_be[REQUESTS_MAX + 1];             /* so many of the requests are answered or left out, perhaps */
    uint8_t head[8];
    uint32_t head_bytes, answer_left;
    uint8_t received[8192];
};

static void in_done(struct io_op *op);
static void noted(struct io_op *op) {}

static void receive(struct client *client) {
    client->in = (struct io_op){.kind = IO_OP_RECV, .done = in_done, .net = {.socket = client->socket, .data = client->received, .size = sizeof client->received}};
    io_submit(world.io, &client->in);
}

static void answer_begins(struct client *client) {
    int32_t size = (int32_t)load_be32(client->head), correlation = (int32_t)load_be32(client->head + 4);
    assert(size >= 4 && size <= FRAME_BYTES_MAX);
    /* A Produce may have asked for no answer; nothing else may be left out. Where one has the number of a later request, it
     * is not known whose answer this is: each is remembered as possible. */
    bool next[REQUESTS_MAX + 1] = {false};
    uint32_t most = 0;
    for (uint32_t from = 0; from < client->requests_count; from++) {
        if (!client->may_be[from]) continue;
        for (uint32_t i = from; i < client->requests_count; i++) {
            if (client->requests[i].correlation == correlation) {
                next[i + 1] = true;
                if (i + 1 > most) most = i + 1;
            }
            if (client->requests[i].key != API_PRODUCE) break;
        }
    }
    assert(most > 0); /* else it is nobody's answer, or one came too early */
    client->answered = most;
    memcpy(client->may_be, next, sizeof next);
    client->answer_left = (uint32_t)size - 4;
    client->head_bytes = 0;
}

static void in_done(struct io_op *op) {
    struct client *client = container_of(op, struct client, in);
    if (op->result <= 0) {
        client->closed = true;
        return;
    }
    for (int64_t i = 0; i < op->result;) {
        if (client->answer_left) {
            int64_t step = op->result - i < client->answer_left ? op->result - i : client->answer_left;
            client->answer_left -= (uint32_t)step;
            i += step;
            continue;
        }
        client->head[client->head_bytes++] = client->received[i++];
        if (client->head_bytes == sizeof client->head) answer_begins(client);
    }
    if (client->socket) receive(client);
}

/* Which requests the bytes on the wire are, as far as they are whole; what comes behind an impossible size is lost. */
static void expect(struct client *client, const uint8_t *at, size_t size) {
    while (size >= 4 && client->requests_count < REQUESTS_MAX) {
        uint32_t frame = load_be32(at);
        if (frame > size - 4 || frame < 8) return;
        client->requests[client->requests_count].key = (int16_t)load_be16(at + 4);
        client->requests[client->requests_count++].correlation = (int32_t)load_be32(at + 8);
        at += 4 + frame;
        size -= 4 + frame;
    }
}

static void step(time_ns until) {
    io_turn(world.io, until);
}

static void client_open(struct client *client) {
    struct io_address address;
    int error = world.io->vtable->socket_new(world.io, &client->socket);
    assert(error == 0);
    sim_net_address(NODE, PORT, &address);
    client->closed = false;
    client->requests_count = client->answered = client->head_bytes = client->answer_left = 0;
    memset(client->may_be, 0, sizeof client->may_be);
    client->may_be[0] = true;
    arena_init(&client->arena, &world.pool, 0);
    chain_init(&client->chain, &client->arena);
    client->out = (struct io_op){.kind = IO_OP_CONNECT, .done = noted, .net = {.socket = client->socket, .address = &address}};
    io_submit(world.io, &client->out);
    while (client->out.pending) step(INT64_MAX);
    assert(client->out.result == 0);
    receive(client);
}

static void client_send(struct client *client, const uint8_t *bytes, size_t size) {
    bool room = size == 0 || chain_add_memory(&client->chain, bytes, size, NULL);
    assert(room);
    while (client->chain.bytes && !client->closed) {
        client->out = (struct io_op){.kind = IO_OP_SEND, .done = noted, .net = {.socket = client->socket, .chain = &client->chain}};
        io_submit(world.io, &client->out);
        time_ns end = io_now(world.io) + WAITS_AT_MOST;
        while (client->out.pending && !client->closed && io_now(world.io) < end) step(end);
        if (client->out.pending || client->out.result <= 0) return; /* it is not read now */
        chain_consume(&client->chain, (size_t)client->out.result);
    }
}

static bool may_wait(int16_t key) { return key == API_PRODUCE || key == API_FETCH || key == API_JOIN_GROUP || key == API_SYNC_GROUP; }

static void client_wait(struct client *client) {
    time_ns begin = io_now(world.io);
    while (!client->closed && client->answered < client->requests_count) {
        bool waits = may_wait(client->requests[client->answered].key);
        time_ns end = begin + (waits ? WAITS_AT_MOST : ANSWERS_WITHIN);
        if (io_now(world.io) >= end) {
            assert(waits); /* or a request got neither an answer nor an end */
            return;
        }
        step(end);
    }
}

static void client_close(struct client *client) {
    io_socket_close(world.io, client->socket, false);
    client->socket = NULL;
    while (client->in.pending || client->out.pending) step(INT64_MAX);
    chain_clear(&client->chain);
    arena_destroy(&client->arena);
}

/* ---- An input */
static uint8_t wire[WIRE_BYTES_MAX];

static size_t frames_of(const uint8_t *data, size_t size) {
    size_t out = 0;
    while (size >= 2) {
        size_t bytes = load_be16(data);
        if (bytes > size - 2) bytes = size - 2;
        if (out + 4 + bytes > sizeof wire) break;
        store_be32(wire + out, (uint32_t)bytes);
        memcpy(wire + out + 4, data + 2, bytes);
        out += 4 + bytes;
        data += 2 + bytes;
        size -= 2 + bytes;
    }
    return out;
}

static void others_are_served(void) {
    static const uint8_t api_versions[] = {0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 9, 0xff, 0xff};
    struct client client;
    client_open(&client);
    expect(&client, api_versions, sizeof api_versions);
    client_send(&client, api_versions, sizeof api_versions);
    client_wait(&client);
    assert(client.answered == 1);
    client_close(&client);
    size_t used = 0;
    for (uint32_t i = 0; i < SHARDS; i++) used += atomic_load(&sim_process_pool(world.process, i)->used);
    assert(used < node_memory_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    if (!world.sim) begin_life();
    struct client client;
    size_t bytes = size - 1;
    if (data[0] & RAW) {
        if (bytes > sizeof wire) bytes = sizeof wire;
        memcpy(wire, data + 1, bytes);
    } else bytes = frames_of(data + 1, bytes);
    client_open(&client);
    expect(&client, wire, bytes);
    size_t first = data[0] & IN_PIECES ? bytes / 3 : 0;
    if (first) {
        client_send(&client, wire, first);
        step(io_now(world.io) + NS_PER_MS);
    }
    if (!client.out.pending) client_send(&client, wire + first, bytes - first);
    client_wait(&client);
    client_close(&client);
    if (++world.inputs % 32 == 0) others_are_served();
    if (world.inputs == NODE_INPUTS) end_life();
    return 0;
}

/* ---- Seeds: what clients do with a topic and a group, in one connection; and the golden vectors of what is served. */
struct seeds { uint8_t bytes[1 << 16]; size_t size; int32_t correlation; struct pool pool; fuzz_add *add; };

static void put_frame(struct seeds *seeds, const struct wire_api *api, int16_t version, struct span body) {
    struct request_header header = {.request_api_key = api->key, .request_api_version = version, .correlation_id = ++seeds->correlation, .client_id = SPAN_LITERAL("f")};
    int16_t header_version = wire_request_header_version(api, version);
    size_t head = request_header_size(&header, header_version), frame = head + body.size;
    if (frame > UINT16_MAX || seeds->size + 2 + frame > sizeof seeds->bytes) return;
    store_be16(seeds->bytes + seeds->size, (uint16_t)frame);
    wire_write(&request_header_message, header_version, &header, seeds->bytes + seeds->size + 2);
    if (body.size) memcpy(seeds->bytes + seeds->size + 2 + head, body.data, body.size);
    seeds->size += 2 + frame;
}

static void put_request(struct seeds *seeds, int16_t key, int16_t version, const void *request) {
    static uint8_t body[4096];
    const struct wire_api *api = wire_api(key);
    assert(wire_size(api->request, version, request) <= sizeof body);
    size_t size = wire_write(api->request, version, request, body);
    put_frame(seeds, api, version, span_of(body, size));
}

static void begin_input(struct seeds *seeds, uint8_t shape) {
    seeds->bytes[0] = shape;
    seeds->size = 1;
    seeds->correlation = 0;
}

static struct slab *some_batch(struct pool *pool) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    options.base_offset = 0;
    batch_builder_init(&builder, pool, 512, &options);
    enum err err = batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), SPAN_LITERAL("v"), NULL, 0);
    if (!err) err = batch_builder_finish(&builder, NULL, &slab);
    assert(err == ERR_NONE);
    batch_builder_destroy(&builder);
    return slab;
}

static void a_topic(struct seeds *seeds, int16_t acks) {
    static const struct span name = SPAN_LITERAL("t");
    struct metadata_request_metadata_request_topic asked;
    struct metadata_request metadata;
    metadata_request_init(&metadata);
    metadata_request_metadata_request_topic_init(&asked);
    asked.name = name;
    metadata.topics = &asked;
    metadata.topics_count = 1;
    metadata.allow_auto_topic_creation = true;
    put_request(seeds, API_METADATA, 9, &metadata);
    struct slab *slab = some_batch(&seeds->pool);
    struct produce_request produce;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data partition;
    produce_request_init(&produce);
    produce_request_topic_produce_data_init(&topic);
    produce_request_partition_produce_data_init(&partition);
    partition.records.bytes = span_of(slab->bytes, slab->used);
    topic.name = name;
    topic.partition_data = &partition;
    produce.topic_data = &topic;
    topic.partition_data_count = produce.topic_data_count = 1;
    produce.acks = acks;
    produce.timeout_ms = 1000;
    put_request(seeds, API_PRODUCE, 8, &produce);
    slab_drop(slab);
    struct list_offsets_request offsets;
    struct list_offsets_request_list_offsets_topic offsets_topic;
    struct list_offsets_request_list_offsets_partition offsets_partition;
    list_offsets_request_init(&offsets);
    list_offsets_request_list_offsets_topic_init(&offsets_topic);
    list_offsets_request_list_offsets_partition_init(&offsets_partition);
    offsets_partition.timestamp = -1;
    offsets_topic.name = name;
    offsets_topic.partitions = &offsets_partition;
    offsets.topics = &offsets_topic;
    offsets.topics_count = offsets_topic.partitions_count = 1;
    offsets.replica_id = -1;
    put_request(seeds, API_LIST_OFFSETS, 7, &offsets);
    struct fetch_request fetch;
    struct fetch_request_fetch_topic fetch_topic;
    struct fetch_request_fetch_partition fetch_partition;
    fetch_request_init(&fetch);
    fetch_request_fetch_topic_init(&fetch_topic);
    fetch_request_fetch_partition_init(&fetch_partition);
    fetch_partition.partition_max_bytes = 4096;
    fetch_topic.topic = name;
    fetch_topic.partitions = &fetch_partition;
    fetch.topics = &fetch_topic;
    fetch.topics_count = fetch_topic.partitions_count = 1;
    fetch.max_wait_ms = 10;
    put_request(seeds, API_FETCH, 12, &fetch);
}

static void a_group(struct seeds *seeds) {
    struct find_coordinator_request find;
    find_coordinator_request_init(&find);
    find.key = SPAN_LITERAL("g");
    put_request(seeds, API_FIND_COORDINATOR, 2, &find);
    struct join_group_request join;
    struct join_group_request_join_group_request_protocol protocol;
    join_group_request_init(&join);
    join_group_request_join_group_request_protocol_init(&protocol);
    protocol.name = SPAN_LITERAL("range");
    protocol.metadata = SPAN_LITERAL("\0\0\0\0\0\1\0\1t\xff\xff\xff\xff");
    join.group_id = SPAN_LITERAL("g");
    join.session_timeout_ms = 6000;
    join.rebalance_timeout_ms = 6000;
    join.protocol_type = SPAN_LITERAL("consumer");
    join.protocols = &protocol;
    join.protocols_count = 1;
    put_request(seeds, API_JOIN_GROUP, 3, &join);
    struct heartbeat_request heartbeat;
    heartbeat_request_init(&heartbeat);
    heartbeat.group_id = SPAN_LITERAL("g");
    put_request(seeds, API_HEARTBEAT, 3, &heartbeat);
    struct offset_commit_request commit;
    struct offset_commit_request_offset_commit_request_topic topic;
    struct offset_commit_request_offset_commit_request_partition partition;
    offset_commit_request_init(&commit);
    offset_commit_request_offset_commit_request_topic_init(&topic);
    offset_commit_request_offset_commit_request_partition_init(&partition);
    topic.name = SPAN_LITERAL("t");
    topic.partitions = &partition;
    commit.group_id = SPAN_LITERAL("h");
    commit.topics = &topic;
    commit.topics_count = topic.partitions_count = 1;
    put_request(seeds, API_OFFSET_COMMIT, 7, &commit);
}

static const struct wire_api *api_of(const char *name) {
    for (uint32_t i = 0; i < wire_api_messages_count; i++) {
        const struct wire_message *message = wire_api_messages[i];
        if (message->kind == WIRE_REQUEST && strncmp(message->name, name, strlen(name)) == 0 && strcmp(message->name + strlen(name), "Request") == 0)
            return wire_api(message->key);
    }
    return NULL;
}

static void add_vector(void *context, const char *folder, const char *path, uint32_t line, const json_t *json) {
    struct seeds *seeds = context;
    if (!json || strcmp(vector_text(json, "type"), "request") != 0) return;
    struct arena arena;
    arena_init(&arena, &seeds->pool, 0);
    struct span body = vector_hex(&arena, json_object_get(json, "hex"));
    const struct wire_api *api = api_of(vector_text(json, "api"));
    if (api && api->on_broker && body.size < 600) {
        begin_input(seeds, (uint8_t)(line % 4 == 0 ? IN_PIECES : 0));
        put_frame(seeds, api, (int16_t)vector_number(json, "version"), body);
        seeds->add(seeds->bytes, seeds->size);
    }
    arena_destroy(&arena);
}

void fuzz_seeds(fuzz_add *add) {
    static struct seeds seeds;
    seeds.add = add;
    pool_init(&seeds.pool, 0, 0);
    for (int16_t acks = -1; acks <= 1; acks++) {
        begin_input(&seeds, acks > 0 ? IN_PIECES : 0);
        a_topic(&seeds, acks);
        add(seeds.bytes, seeds.size);
        a_group(&seeds);
        add(seeds.bytes, seeds.size);
    }
    static const char raw[] = "\1\0\0\0\12\0\22\0\0\0\0\0\1\xff\xff\0\0\0\12\0\22\0\143\0\0\0\2\xff\xff\0\0\0\77half";
    add(raw, sizeof raw - 1);
    vectors_each(TEST_SOURCE_ROOT "/test/vectors/rpc", NULL, add_vector, &seeds);
    pool_destroy(&seeds.pool);
}
