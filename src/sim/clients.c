#include "sim/client.h"
#include "wire/header.h"
#include <string.h>

static const char *const kind_names[] = {"admin", "producer", "consumer", "member"};

/* ---- Calls */
static void on_timer(struct timer *timer) {
    struct client *client = container_of(timer, struct client, timer);
    client->next(client);
}

void client_later(struct client *client, time_ms in_ms, void (*next)(struct client *)) {
    struct shard *shard = client->all->shard;
    client->next = next;
    bool set = timer_set(shard, &client->timer, shard_now(shard) + in_ms * NS_PER_MS + (time_ns)random_below(&client->all->random, (uint64_t)NS_PER_MS), on_timer);
    assert(set);
}

time_ms client_backoff(struct client *client) { return 20 + (time_ms)random_below(&client->all->random, 200); }

static void call_done(struct peer_request *request, enum err err, struct span answer, struct slab *slab) {
    struct client *client = container_of(request, struct client, request);
    struct sim *sim = client->all->sim;
    client->calling = false;
    chain_clear(&client->chain);
    if (err == ERR_NONE && client->lives != history_lives(client->all->history)) err = ERR_CLOSED;
    void *response = NULL;
    if (err == ERR_NONE) {
        const struct wire_message *message = client->api->response;
        if (wire_response_header_version(client->api, client->version) >= 1) {
            SIM_CHECK(sim, answer.size > 0 && answer.data[0] == 0, "wire", "%s v%d: a response header with fields", client->api->name, client->version);
            answer = answer.size ? span_of(answer.data + 1, answer.size - 1) : answer;
        }
        response = arena_alloc(&client->arena, message->body->size);
        assert(response);
        wire_init(message->body, response);
        enum err decoded = wire_decode(message, client->version, response, answer, &client->arena, NULL);
        SIM_CHECK(sim, decoded == ERR_NONE, "wire", "%s v%d: a response that cannot be decoded: %s", client->api->name, client->version, err_name(decoded));
    }
    sim_note(sim, err ? "client fails" : "client answered", client->number + 100 * (uint32_t)client->kind, (uint64_t)client->api->key, (uint64_t)err);
    if (!sim_has_failed(sim)) client->answered(client, err, response);
}

void client_call(struct client *client, int16_t key, int16_t version_min, int16_t version_max, const void *request, time_ms timeout_ms,
                 void (*answered)(struct client *, enum err, const void *)) {
    struct clients *all = client->all;
    assert(!client->calling);
    client->api = wire_api(key);
    client->version = (int16_t)(version_min + (int16_t)random_below(&all->random, (uint64_t)(version_max - version_min) + 1));
    client->answered = answered;
    chain_init(&client->chain, &client->arena);
    bool framed = wire_request_frame(client->api, client->version, 0, SPAN_LITERAL("simulated"), request, &client->chain);
    assert(framed);
    chain_consume(&client->chain, 4);
    client->request = (struct peer_request){.done = call_done, .chain = &client->chain, .deadline = shard_now(all->shard) + timeout_ms * NS_PER_MS};
    client->calling = true;
    client->lives = history_lives(all->history);
    enum err err = peer_send(client->peer, &client->request);
    assert(err == ERR_NONE);
}

void client_begin(struct client *client) {
    assert(!client->calling);
    arena_reset(&client->arena);
}

bool client_may_retry(enum kafka_error error) {
    switch (error) {
    case KAFKA_UNKNOWN_SERVER_ERROR: case KAFKA_UNKNOWN_TOPIC_OR_PARTITION: case KAFKA_LEADER_NOT_AVAILABLE: case KAFKA_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_REQUEST_TIMED_OUT: case KAFKA_BROKER_NOT_AVAILABLE: case KAFKA_COORDINATOR_LOAD_IN_PROGRESS: case KAFKA_COORDINATOR_NOT_AVAILABLE:
    case KAFKA_NOT_COORDINATOR: case KAFKA_NOT_ENOUGH_REPLICAS: case KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND: case KAFKA_NOT_CONTROLLER:
    case KAFKA_KAFKA_STORAGE_ERROR: case KAFKA_FENCED_LEADER_EPOCH: case KAFKA_UNKNOWN_LEADER_EPOCH: case KAFKA_OFFSET_NOT_AVAILABLE:
    case KAFKA_UNKNOWN_TOPIC_ID: case KAFKA_INCONSISTENT_TOPIC_ID: case KAFKA_THROTTLING_QUOTA_EXCEEDED: case KAFKA_CONCURRENT_TRANSACTIONS:
    case KAFKA_INVALID_REPLICATION_FACTOR: /* no broker is registered yet */
        return true;
    default:
        return false;
    }
}

void client_note_error(struct client *client, enum kafka_error error) {
    client->error = error;
    sim_note(client->all->sim, "client error", client->number + 100 * (uint32_t)client->kind, (uint64_t)client->api->key, (uint64_t)(int64_t)error);
}

void client_unexpected(struct client *client, enum kafka_error error) {
    if (error == KAFKA_NONE || client_may_retry(error)) return;
    sim_fail(client->all->sim, "protocol", "%s %u: %s v%d is answered with error %d", kind_names[client->kind], client->number, client->api->name,
             client->version, error);
}

void clients_acknowledged(struct clients *all, enum client_done what) {
    all->options.run->acknowledged++;
    if (all->options.acknowledged) all->options.acknowledged(all->options.context, what);
}

/* ---- All of them */
static struct client *client_add(struct clients *all, enum client_kind kind, uint32_t number, void (*next)(struct client *)) {
    assert(all->count < CLIENTS_MAX);
    struct client *client = &all->clients[all->count++];
    struct io_address address;
    char text[IO_ADDRESS_TEXT_MAX];
    client->all = all;
    client->kind = kind;
    client->number = number;
    arena_init(&client->arena, all->shard->pool, 0);
    sim_net_address(all->options.server_host, 9092, &address);
    io_address_text(&address, text);
    *strrchr(text, ':') = 0;
    struct peer_options options = {.host = text, .port = 9092, .connect_ms = 2000, .backoff_min_ms = 20, .backoff_max_ms = 500};
    enum err err = peer_open(&client->peer, all->shard, &options);
    assert(err == ERR_NONE);
    client_later(client, (time_ms)random_below(&all->random, 100), next);
    return client;
}

struct clients *clients_start(struct cluster_node *node, const struct clients_options *options) {
    struct pool *pool = sim_process_pool(node->process, 0);
    struct clients *all = POOL_NEW(pool, struct clients);
    struct io *ios[1] = {sim_process_io(node->process, 0)};
    struct pool *pools[1] = {pool};
    struct shard_options shards = {.count = 1, .ios = ios, .pools = pools, .mailbox_messages = 64};
    assert(all);
    all->options = *options;
    all->node = node;
    all->sim = options->run->sim;
    all->history = options->history;
    random_seed(&all->random, sim_fork_seed(all->sim));
    enum err err = shard_group_open(&all->group, &shards);
    assert(err == ERR_NONE);
    all->shard = shard_at(all->group, 0);
    client_add(all, CLIENT_ADMIN, 0, admin_next)->admin.topic = UINT32_MAX;
    for (uint32_t i = 0; i < options->producers; i++) client_add(all, CLIENT_PRODUCER, i, producer_next)->producer.id = -1;
    for (uint32_t i = 0; i < options->consumers; i++) client_add(all, CLIENT_CONSUMER, i, consumer_next);
    for (uint32_t i = 0; i < options->members; i++) client_add(all, CLIENT_MEMBER, i, member_join)->member.generation = -1;
    sim_process_drive(node->process, all->group);
    return all;
}

void clients_mark(struct clients *clients) {
    for (uint32_t i = 0; i < clients->count; i++) clients->clients[i].marked = clients->clients[i].done;
}

bool clients_are_live(const struct clients *clients) {
    for (uint32_t i = 0; i < clients->count; i++)
        if (clients->clients[i].done == clients->clients[i].marked) return false;
    return true;
}

void clients_text(const struct clients *clients, struct text *out) {
    for (uint32_t i = 0; i < clients->count; i++) {
        const struct client *client = &clients->clients[i];
        if (client->done != client->marked && !clients->verifying) continue;
        text_add(out, " %s %u (%s, last error %d)", kind_names[client->kind], client->number, client->calling ? client->api->name : "idle", client->error);
    }
}

void clients_verify(struct clients *clients) { clients->verifying = true; }

bool clients_are_verified(const struct clients *clients) {
    uint64_t every = (UINT64_C(1) << clients->options.partitions) - 1;
    for (uint32_t i = 0; i < clients->count; i++) {
        const struct client *client = &clients->clients[i];
        if (client->kind == CLIENT_ADMIN && !client->admin.verified) return false;
        if (client->kind == CLIENT_PRODUCER && !client->producer.stop) return false;
        if (client->kind == CLIENT_CONSUMER && client->number == 0 && client->consumer.verified != every) return false;
    }
    return true;
}
