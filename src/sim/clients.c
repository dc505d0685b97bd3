#include "sim/clients.h"
#include "net/net.h"
#include "wire/api.h"
#include "wire/batch.h"
#include "wire/errors.h"
#include "wire/header.h"
#include <stdio.h>
#include <string.h>

enum { CLIENTS_MAX = 24, REQUEST_BYTES_MAX = 1 << 20, MEMBER_ID_BYTES = 128, TOPIC_PARTITIONS = 2 };
enum client_kind { CLIENT_ADMIN, CLIENT_PRODUCER, CLIENT_CONSUMER, CLIENT_MEMBER };
static const char *const kind_names[] = {"admin", "producer", "consumer", "member"};

struct clients;
struct client {
    struct clients *all;
    enum client_kind kind;
    uint32_t number;              /* among its kind */
    struct peer *peer;
    struct timer timer;
    void (*next)(struct client *client);
    /* The one call under way. */
    struct peer_request request;
    struct arena arena;
    struct chain chain;
    const struct wire_api *api;
    int16_t version;
    void (*answered)(struct client *client, enum err err, const void *response);
    bool calling;
    uint32_t lives;               /* of the history, when the call was made */
    uint64_t done;                /* successes, ever */
    uint64_t marked;
    enum kafka_error error;       /* the last that was not none */
    union {
        struct { bool exists, verified; uint32_t topic, deletes_of; uint32_t verify_next; } admin;
        struct {
            producer_id id;
            int16_t epoch;
            int32_t sequences[HISTORY_PARTITIONS_MAX];
            struct slab *batch;   /* not acknowledged yet */
            uint32_t partition, count;
            uint64_t first;
            bool stop;
        } producer;
        struct {
            int64_t positions[HISTORY_PARTITIONS_MAX], starts[HISTORY_PARTITIONS_MAX];
            bool verifying;
            uint64_t verified;    /* partitions, bits */
        } consumer;
        struct {
            char id[MEMBER_ID_BYTES];
            int32_t generation;
            uint64_t owned, fetched;
            int64_t offsets[HISTORY_PARTITIONS_MAX], floors[HISTORY_PARTITIONS_MAX];
            int32_t highest_when_sent;
            bool leads, knows_coordinator;
            uint32_t members_count;
            char members[CLIENTS_MAX][MEMBER_ID_BYTES];
            uint32_t rounds;
        } member;
    };
};

struct clients {
    struct clients_options options;
    struct cluster_node *node;
    struct sim *sim;
    struct history *history;
    struct shard_group *group;
    struct shard *shard;
    struct random random;
    struct client clients[CLIENTS_MAX];
    uint32_t count;
    bool topic_exists, verifying;
    struct uuid topic_id;
};

#define TOPIC SPAN_LITERAL("t")
#define GROUP SPAN_LITERAL("g")

/* ---- Calls */
static void on_timer(struct timer *timer) {
    struct client *client = container_of(timer, struct client, timer);
    client->next(client);
}

static void client_later(struct client *client, time_ms in_ms, void (*next)(struct client *)) {
    struct shard *shard = client->all->shard;
    client->next = next;
    bool set = timer_set(shard, &client->timer, shard_now(shard) + in_ms * NS_PER_MS + (time_ns)random_below(&client->all->random, (uint64_t)NS_PER_MS), on_timer);
    assert(set);
}

static time_ms backoff(struct client *client) { return 20 + (time_ms)random_below(&client->all->random, 200); }

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

/* What a request is made of lives in the client's arena, until the answer was dealt with. */
static void client_call(struct client *client, int16_t key, int16_t version_min, int16_t version_max, const void *request, time_ms timeout_ms,
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

static void client_begin(struct client *client) {
    assert(!client->calling);
    arena_reset(&client->arena);
}

/* Errors after which the same is tried again, and which a cluster in trouble may give. */
static bool is_retriable(enum kafka_error error) {
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

static void note_error(struct client *client, enum kafka_error error) {
    client->error = error;
    sim_note(client->all->sim, "client error", client->number + 100 * (uint32_t)client->kind, (uint64_t)client->api->key, (uint64_t)(int64_t)error);
}

static void unexpected(struct client *client, enum kafka_error error) {
    if (error == KAFKA_NONE || is_retriable(error)) return;
    sim_fail(client->all->sim, "protocol", "%s %u: %s v%d is answered with error %d", kind_names[client->kind], client->number, client->api->name,
             client->version, error);
}

static void acknowledged(struct clients *all, enum client_done what) {
    all->options.run->acknowledged++;
    if (all->options.acknowledged) all->options.acknowledged(all->options.context, what);
}

/* ---- Admin: the topic first; others now and then; at the end every one is looked for. */
static void admin_next(struct client *client);

static void admin_created(struct client *client, enum err err, const void *answer) {
    const struct create_topics_response *response = answer;
    struct clients *all = client->all;
    if (err == ERR_NONE && response->topics_count == 1) {
        enum kafka_error error = (enum kafka_error)response->topics[0].error_code;
        if (error == KAFKA_NONE || error == KAFKA_TOPIC_ALREADY_EXISTS) {
            client->done++;
            if (!client->admin.exists) client->admin.exists = all->topic_exists = true;
            else {
                history_topic_created(all->history, client->admin.topic);
                acknowledged(all, CLIENT_CREATED);
                client->admin.topic = UINT32_MAX;
            }
        } else {
            note_error(client, error);
            unexpected(client, error);
        }
    }
    client_later(client, client->admin.exists ? 200 + backoff(client) * 3 : backoff(client), admin_next);
}

static void admin_found(struct client *client, enum err err, const void *answer) {
    const struct metadata_response *response = answer;
    struct clients *all = client->all;
    if (err == ERR_NONE && response->topics_count == 1) {
        enum kafka_error error = (enum kafka_error)response->topics[0].error_code;
        bool there = error == KAFKA_NONE && response->topics[0].partitions_count == TOPIC_PARTITIONS;
        if (there) {
            client->done++;
            client->admin.verify_next++;
        } else {
            note_error(client, error);
            SIM_CHECK(all->sim, error != KAFKA_UNKNOWN_TOPIC_OR_PARTITION || response->brokers_count == 0, "M4",
                      "topic %u was created, and is not there any more", client->admin.verify_next);
        }
    }
    client_later(client, err ? backoff(client) : 1, admin_next);
}

static void admin_verify(struct client *client) {
    struct clients *all = client->all;
    while (client->admin.verify_next < history_topics(all->history) && !history_topic_must_exist(all->history, client->admin.verify_next))
        client->admin.verify_next++;
    if (client->admin.verify_next >= history_topics(all->history)) {
        client->admin.verified = true;
        return;
    }
    char name[32];
    int size = snprintf(name, sizeof name, "x%u", client->admin.verify_next);
    struct metadata_request request;
    metadata_request_init(&request);
    request.allow_auto_topic_creation = false;
    request.topics = metadata_request_metadata_request_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = span_of(arena_copy(&client->arena, name, (size_t)size), (size_t)size);
    client_call(client, API_METADATA, 4, 12, &request, 3000, admin_found);
}

static void admin_deleted(struct client *client, enum err err, const void *answer) {
    const struct delete_records_response *response = answer;
    struct clients *all = client->all;
    if (err == ERR_NONE && response->topics_count == 1 && response->topics[0].partitions_count == 1) {
        enum kafka_error error = (enum kafka_error)response->topics[0].partitions[0].error_code;
        note_error(client, error);
        unexpected(client, error);
        if (!error) {
            history_deleted(all->history, client->admin.deletes_of, response->topics[0].partitions[0].low_watermark);
            acknowledged(all, CLIENT_DELETED);
            client->done++;
        }
    }
    client_later(client, backoff(client), admin_next);
}

/* Sometimes just what is deletable; then whole segments go, too. */
static void admin_delete(struct client *client) {
    struct clients *all = client->all;
    uint32_t partition = client->admin.deletes_of = (uint32_t)random_below(&all->random, all->options.partitions);
    int64_t most = history_deletable(all->history, partition);
    struct delete_records_request request;
    delete_records_request_init(&request);
    request.timeout_ms = 2000;
    request.topics = delete_records_request_delete_records_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = TOPIC;
    request.topics[0].partitions = delete_records_request_delete_records_partition_array(&client->arena, 1);
    request.topics[0].partitions_count = 1;
    request.topics[0].partitions[0].partition_index = (int32_t)partition;
    request.topics[0].partitions[0].offset = random_chance(&all->random, 1, 3) ? most : (int64_t)random_below(&all->random, (uint64_t)most + 1);
    history_delete_attempt(all->history, partition, request.topics[0].partitions[0].offset);
    client_call(client, API_DELETE_RECORDS, 0, 2, &request, 3000, admin_deleted);
}

static void admin_next(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (all->verifying) {
        admin_verify(client);
        return;
    }
    if (client->admin.exists && all->options.deletes_records && random_chance(&all->random, 1, 2)) {
        admin_delete(client);
        return;
    }
    char name[32] = "t";
    int32_t partitions = (int32_t)all->options.partitions;
    if (client->admin.exists) {
        if (client->admin.topic == UINT32_MAX) client->admin.topic = history_topic_new(all->history);
        if (client->admin.topic == UINT32_MAX || !all->options.creates_topics) {
            client->done++; /* nothing to do is done */
            client_later(client, 1000, admin_next);
            return;
        }
        snprintf(name, sizeof name, "x%u", client->admin.topic);
        partitions = TOPIC_PARTITIONS;
    }
    struct create_topics_request request;
    create_topics_request_init(&request);
    request.timeout_ms = 2000;
    request.topics = create_topics_request_creatable_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = span_of(arena_copy(&client->arena, name, strlen(name)), strlen(name));
    request.topics[0].num_partitions = partitions;
    request.topics[0].replication_factor = 1;
    client_call(client, API_CREATE_TOPICS, 4, 7, &request, 3000, admin_created);
}

/* ---- Producers: one batch at a time, sent again until it is acknowledged. */
static void producer_next(struct client *client);

static void producer_abandon(struct client *client) {
    slab_drop(client->producer.batch);
    client->producer.batch = NULL;
}

static void producer_has_id(struct client *client, enum err err, const void *answer) {
    const struct init_producer_id_response *response = answer;
    if (err == ERR_NONE && response->error_code == KAFKA_NONE) {
        client->producer.id = response->producer_id;
        client->producer.epoch = response->producer_epoch;
        memset(client->producer.sequences, 0, sizeof client->producer.sequences);
        client_later(client, 0, producer_next);
        return;
    }
    if (err == ERR_NONE) {
        note_error(client, (enum kafka_error)response->error_code);
        unexpected(client, (enum kafka_error)response->error_code);
    }
    client_later(client, backoff(client), producer_next);
}

static void producer_make_batch(struct client *client) {
    struct clients *all = client->all;
    struct batch_options options;
    struct batch_builder builder;
    uint32_t partition = (uint32_t)random_below(&all->random, all->options.partitions);
    client->producer.partition = partition;
    client->producer.count = 1 + (uint32_t)random_below(&all->random, all->options.batch_records_max);
    client->producer.first = history_take(all->history, client->number, partition, client->producer.count);
    batch_options_init(&options);
    options.producer_id = client->producer.id;
    options.producer_epoch = client->producer.epoch;
    options.base_sequence = client->producer.sequences[partition];
    batch_builder_init(&builder, all->shard->pool, REQUEST_BYTES_MAX, &options);
    for (uint32_t i = 0; i < client->producer.count; i++) {
        uint8_t value[HISTORY_VALUE_BYTES];
        history_value(&(struct history_record){client->number, partition, client->producer.first + i}, value);
        enum err err = batch_builder_add(&builder, shard_wall(all->shard), SPAN_LITERAL("k"), span_of(value, sizeof value), NULL, 0);
        assert(err == ERR_NONE);
    }
    enum err err = batch_builder_finish(&builder, NULL, &client->producer.batch);
    assert(err == ERR_NONE);
    batch_builder_destroy(&builder);
}

static void producer_answered(struct client *client, enum err err, const void *answer) {
    const struct produce_response *response = answer;
    struct clients *all = client->all;
    if (err != ERR_NONE || response->responses_count != 1 || response->responses[0].partition_responses_count != 1) {
        client_later(client, backoff(client), producer_next);
        return;
    }
    const struct produce_response_partition_produce_response *part = &response->responses[0].partition_responses[0];
    enum kafka_error error = (enum kafka_error)part->error_code;
    sim_say(all->sim, client->number, "  producer %lld epoch %d partition %u sequence %d, %u from %llu: error %d, offset %lld", (long long)client->producer.id,
            client->producer.epoch, client->producer.partition, client->producer.sequences[client->producer.partition], client->producer.count,
            (unsigned long long)client->producer.first, error, (long long)part->base_offset);
    if (error == KAFKA_NONE || error == KAFKA_DUPLICATE_SEQUENCE_NUMBER) {
        if (error == KAFKA_NONE && part->base_offset >= 0)
            history_acknowledged(all->history, client->producer.partition, part->base_offset, client->number, client->producer.first, client->producer.count);
        acknowledged(all, CLIENT_PRODUCED);
        client->done++;
        client->producer.sequences[client->producer.partition] = sequence_add(client->producer.sequences[client->producer.partition], (int32_t)client->producer.count);
        producer_abandon(client);
        client_later(client, (time_ms)random_below(&all->random, 30), producer_next);
        return;
    }
    note_error(client, error);
    if (!is_retriable(error) && !all->options.durable) { /* the log has forgotten us: begin anew, with other numbers */
        producer_abandon(client);
        client->producer.id = -1;
    } else {
        unexpected(client, error);
    }
    client_later(client, backoff(client), producer_next);
}

static void producer_next(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (!all->topic_exists) {
        client_later(client, 100, producer_next);
        return;
    }
    if (client->producer.id < 0) {
        struct init_producer_id_request request;
        init_producer_id_request_init(&request);
        request.transactional_id = (struct span){0};
        request.transaction_timeout_ms = 60000;
        client_call(client, API_INIT_PRODUCER_ID, 0, 4, &request, 2000, producer_has_id);
        return;
    }
    if (!client->producer.batch && all->verifying) {
        client->producer.stop = true;
        return;
    }
    if (!client->producer.batch) producer_make_batch(client);
    struct produce_request request;
    produce_request_init(&request);
    request.acks = random_chance(&all->random, 3, 4) ? -1 : 1;
    request.timeout_ms = 1500;
    request.topic_data = produce_request_topic_produce_data_array(&client->arena, 1);
    request.topic_data_count = 1;
    request.topic_data[0].name = TOPIC;
    request.topic_data[0].partition_data = produce_request_partition_produce_data_array(&client->arena, 1);
    request.topic_data[0].partition_data_count = 1;
    request.topic_data[0].partition_data[0].index = (int32_t)client->producer.partition;
    request.topic_data[0].partition_data[0].records.bytes = span_of(client->producer.batch->bytes, client->producer.batch->used);
    client_call(client, API_PRODUCE, 3, 12, &request, 3000, producer_answered);
}

/* ---- Consumers: every partition, from the beginning, over and over. */
static void consumer_next(struct client *client);

static void consumer_take(struct client *client, uint32_t partition, struct span bytes) {
    struct clients *all = client->all;
    int64_t *position = &client->consumer.positions[partition];
    struct batch batch;
    struct record record;
    while (bytes.size && batch_next(&bytes, &batch) == ERR_NONE && !sim_has_failed(all->sim)) {
        SIM_CHECK(all->sim, batch_crc_is_good(&batch), "L3", "partition %u: the CRC of batch %lld is wrong", partition, (long long)batch.base_offset);
        SIM_CHECK(all->sim, batch_last_offset(&batch) >= *position && batch.base_offset <= *position, "L1", "partition %u: a batch %lld..%lld for position %lld",
                  partition, (long long)batch.base_offset, (long long)batch_last_offset(&batch), (long long)*position);
        struct batch_records records;
        struct record_cursor cursor;
        struct unpack_limits limits = {0};
        if (sim_has_failed(all->sim) || batch_records_open(&batch, NULL, &limits, &records)) return;
        record_cursor_init(&cursor, &batch, records.bytes);
        while (record_next(&cursor, &record) == ERR_NONE) {
            struct history_record seen;
            bool ours = history_value_parse(record.value.data, record.value.size, &seen);
            SIM_CHECK(all->sim, ours, "L5", "partition %u offset %lld: nothing that anybody wrote", partition, (long long)record.offset);
            if (record.offset >= *position && ours) history_seen(all->history, partition, record.offset, &seen);
        }
        batch_records_close(&records);
        *position = batch_next_offset(&batch);
        client->done++;
    }
}

static void consumer_answered(struct client *client, enum err err, const void *answer) {
    const struct fetch_response *response = answer;
    struct clients *all = client->all;
    for (int32_t t = 0; err == ERR_NONE && t < response->responses_count; t++)
        for (int32_t p = 0; p < response->responses[t].partitions_count && !sim_has_failed(all->sim); p++) {
            const struct fetch_response_partition_data *part = &response->responses[t].partitions[p];
            uint32_t partition = (uint32_t)part->partition_index;
            if (partition >= all->options.partitions) continue;
            if (part->error_code == KAFKA_OFFSET_OUT_OF_RANGE && client->consumer.positions[partition] < history_start_most(all->history, partition)) {
                client->consumer.positions[partition] = history_start_most(all->history, partition);
                continue;
            }
            if (part->error_code == KAFKA_OFFSET_OUT_OF_RANGE) {
                SIM_CHECK(all->sim, !all->options.durable, "L4", "partition %u: position %lld was reached, and is out of range now", partition,
                          (long long)client->consumer.positions[partition]);
                client->consumer.positions[partition] = 0;
                continue;
            }
            if (part->error_code) {
                note_error(client, (enum kafka_error)part->error_code);
                unexpected(client, (enum kafka_error)part->error_code);
                continue;
            }
            if (part->log_start_offset >= 0) history_start_told(all->history, partition, part->log_start_offset, client->consumer.starts[partition]);
            SIM_CHECK(all->sim, part->records.bytes.size == 0 || client->consumer.positions[partition] >= client->consumer.starts[partition], "L4",
                      "partition %u: records at %lld are shown, those before %lld were deleted", partition,
                      (long long)client->consumer.positions[partition], (long long)client->consumer.starts[partition]);
            consumer_take(client, partition, part->records.bytes);
            int64_t position = client->consumer.positions[partition];
            SIM_CHECK(all->sim, position <= part->high_watermark || !all->options.durable, "L4", "partition %u: read up to %lld, the high watermark is %lld", partition,
                      (long long)position, (long long)part->high_watermark);
            if (position < part->high_watermark || !client->consumer.verifying) continue;
            if (!(client->consumer.verified >> partition & 1)) history_read_to_end(all->history, partition, history_start_most(all->history, partition), position);
            client->consumer.verified |= UINT64_C(1) << partition;
        }
    client_later(client, err ? backoff(client) : (time_ms)random_below(&all->random, 20), consumer_next);
}

static void consumer_next(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (!all->topic_exists) {
        client_later(client, 100, consumer_next);
        return;
    }
    /* Not before the last acknowledgement: else one could arrive from past the end that was read. */
    bool writing = false;
    for (uint32_t i = 0; i < all->count; i++) writing |= all->clients[i].kind == CLIENT_PRODUCER && !all->clients[i].producer.stop;
    if (all->verifying && !writing && client->number == 0 && !client->consumer.verifying) {
        client->consumer.verifying = true;
        memset(client->consumer.positions, 0, sizeof client->consumer.positions);
    }
    struct fetch_request request;
    fetch_request_init(&request);
    request.max_wait_ms = 100 + (int32_t)random_below(&all->random, 400);
    request.min_bytes = 1;
    request.max_bytes = 1 + (int32_t)random_below(&all->random, 100000);
    request.topics = fetch_request_fetch_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].topic = TOPIC;
    request.topics[0].partitions = fetch_request_fetch_partition_array(&client->arena, (int32_t)all->options.partitions);
    request.topics[0].partitions_count = (int32_t)all->options.partitions;
    for (uint32_t p = 0; p < all->options.partitions; p++) {
        request.topics[0].partitions[p].partition = (int32_t)p;
        request.topics[0].partitions[p].fetch_offset = client->consumer.positions[p];
        client->consumer.starts[p] = history_start_least(all->history, p);
        request.topics[0].partitions[p].partition_max_bytes = 1 + (int32_t)random_below(&all->random, 30000);
    }
    client_call(client, API_FETCH, 4, 12, &request, 3000, consumer_answered);
}

/* ---- Members: join, sync, fetch the offsets, then heartbeats and commits until the group moves on. */
static void member_join(struct client *client);
static void member_live(struct client *client);

static void member_error(struct client *client, enum kafka_error error) {
    note_error(client, error);
    switch (error) {
    case KAFKA_UNKNOWN_MEMBER_ID: client->member.id[0] = 0; break;
    case KAFKA_GROUP_ID_NOT_FOUND: /* a commit to a group that was lost */
        SIM_CHECK(client->all->sim, !client->all->options.durable, "G1", "the group is forgotten: %s v%d says so", client->api->name, client->version);
        client->member.id[0] = 0;
        break;
    case KAFKA_NOT_COORDINATOR: case KAFKA_COORDINATOR_NOT_AVAILABLE: client->member.knows_coordinator = false; break;
    case KAFKA_MEMBER_ID_REQUIRED: case KAFKA_ILLEGAL_GENERATION: case KAFKA_REBALANCE_IN_PROGRESS: break;
    default: unexpected(client, error);
    }
    client_later(client, error == KAFKA_MEMBER_ID_REQUIRED ? 0 : backoff(client), member_join);
}

static void member_committed(struct client *client, enum err err, const void *answer) {
    const struct offset_commit_response *response = answer;
    struct clients *all = client->all;
    enum kafka_error error = KAFKA_NONE;
    for (uint32_t p = 0; err != ERR_NONE && p < all->options.partitions; p++)
        if (client->member.owned >> p & 1) history_commit_unanswered(all->history, p, client->member.offsets[p], client->member.generation);
    if (err == ERR_NONE && response->topics_count == 1)
        for (int32_t i = 0; i < response->topics[0].partitions_count; i++) {
            const struct offset_commit_response_offset_commit_response_partition *part = &response->topics[0].partitions[i];
            uint32_t partition = (uint32_t)part->partition_index;
            if (part->error_code) {
                error = (enum kafka_error)part->error_code;
                continue;
            }
            history_committed(all->history, partition, client->member.offsets[partition], client->member.generation, client->member.highest_when_sent);
            acknowledged(all, CLIENT_COMMITTED);
            client->done++;
        }
    if (error) member_error(client, error);
    else client_later(client, err ? backoff(client) : 50 + backoff(client), member_live);
}

static void member_commit(struct client *client) {
    struct clients *all = client->all;
    struct offset_commit_request request;
    offset_commit_request_init(&request);
    request.group_id = GROUP;
    request.generation_id_or_member_epoch = client->member.generation;
    request.member_id = span_text(client->member.id);
    request.topics = offset_commit_request_offset_commit_request_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = TOPIC;
    request.topics[0].partitions = offset_commit_request_offset_commit_request_partition_array(&client->arena, (int32_t)all->options.partitions);
    int32_t count = 0;
    for (uint32_t p = 0; p < all->options.partitions; p++) {
        if (!(client->member.owned >> p & 1)) continue;
        client->member.offsets[p]++;
        history_commit_attempt(all->history, p, client->member.offsets[p]);
        request.topics[0].partitions[count].partition_index = (int32_t)p;
        request.topics[0].partitions[count].committed_metadata = SPAN_LITERAL("");
        request.topics[0].partitions[count++].committed_offset = client->member.offsets[p];
    }
    request.topics[0].partitions_count = count;
    client->member.highest_when_sent = history_generation(all->history);
    client_call(client, API_OFFSET_COMMIT, 5, 9, &request, 3000, member_committed);
}

static void member_beaten(struct client *client, enum err err, const void *answer) {
    const struct heartbeat_response *response = answer;
    if (err == ERR_NONE && response->error_code) member_error(client, (enum kafka_error)response->error_code);
    else client_later(client, 50 + backoff(client), member_live);
}

static void member_left(struct client *client, enum err err, const void *answer) {
    client->member.id[0] = 0;
    client->member.generation = -1;
    client_later(client, backoff(client), member_join);
}

static void member_live(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    uint64_t what = random_below(&all->random, 40);
    if (what == 0 && !all->verifying) {
        struct leave_group_request request;
        leave_group_request_init(&request);
        request.group_id = GROUP;
        request.member_id = span_text(client->member.id);
        client_call(client, API_LEAVE_GROUP, 0, 2, &request, 3000, member_left);
    } else if (what < 24 && client->member.owned) {
        member_commit(client);
    } else {
        struct heartbeat_request request;
        heartbeat_request_init(&request);
        request.group_id = GROUP;
        request.generation_id = client->member.generation;
        request.member_id = span_text(client->member.id);
        if (!client->member.owned) client->done++;
        client_call(client, API_HEARTBEAT, 0, 4, &request, 3000, member_beaten);
    }
}

static void member_fetch(struct client *client);

static void member_fetched(struct client *client, enum err err, const void *answer) {
    const struct offset_fetch_response *response = answer;
    struct clients *all = client->all;
    enum kafka_error error = err == ERR_NONE ? (enum kafka_error)response->error_code : KAFKA_NONE;
    uint64_t fetched = 0;
    for (int32_t i = 0; err == ERR_NONE && !error && response->topics_count == 1 && i < response->topics[0].partitions_count; i++) {
        const struct offset_fetch_response_offset_fetch_response_partition *part = &response->topics[0].partitions[i];
        uint32_t partition = (uint32_t)part->partition_index;
        if (part->error_code) {
            error = (enum kafka_error)part->error_code;
            break;
        }
        history_commit_fetched(all->history, partition, part->committed_offset, client->member.floors[partition], client->member.generation);
        client->member.offsets[partition] = part->committed_offset;
        fetched |= UINT64_C(1) << partition;
    }
    if (error) member_error(client, error);
    else client_later(client, err ? backoff(client) : 0, err || fetched != client->member.owned ? member_fetch : member_live);
}

static void member_fetch(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (!client->member.owned) {
        client_later(client, 0, member_live);
        return;
    }
    struct offset_fetch_request request;
    offset_fetch_request_init(&request);
    request.group_id = GROUP;
    request.topics = offset_fetch_request_offset_fetch_request_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = TOPIC;
    request.topics[0].partition_indexes = ARENA_ARRAY(&client->arena, all->options.partitions, int32_t);
    for (uint32_t p = 0; p < all->options.partitions; p++) {
        client->member.floors[p] = history_commit_floor(all->history, p);
        if (client->member.owned >> p & 1) request.topics[0].partition_indexes[request.topics[0].partition_indexes_count++] = (int32_t)p;
    }
    client_call(client, API_OFFSET_FETCH, 3, 7, &request, 3000, member_fetched);
}

static void member_synced(struct client *client, enum err err, const void *answer) {
    const struct sync_group_response *response = answer;
    struct clients *all = client->all;
    if (err != ERR_NONE) {
        client_later(client, backoff(client), member_join);
        return;
    }
    if (response->error_code) {
        member_error(client, (enum kafka_error)response->error_code);
        return;
    }
    client->member.owned = response->assignment.size == 8 ? load_be64(response->assignment.data) : 0;
    history_owns(all->history, client->member.generation, client->number, client->member.owned);
    sim_note(all->sim, "member owns", client->number, (uint64_t)client->member.generation, client->member.owned);
    client->member.rounds++;
    client_later(client, 0, member_fetch);
}

static void member_sync(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    struct sync_group_request request;
    sync_group_request_init(&request);
    request.group_id = GROUP;
    request.generation_id = client->member.generation;
    request.member_id = span_text(client->member.id);
    request.protocol_type = SPAN_LITERAL("consumer");
    request.protocol_name = SPAN_LITERAL("simulated");
    if (client->member.leads) {
        request.assignments = sync_group_request_sync_group_request_assignment_array(&client->arena, (int32_t)client->member.members_count);
        request.assignments_count = (int32_t)client->member.members_count;
        for (uint32_t m = 0; m < client->member.members_count; m++) {
            uint64_t owned = 0;
            for (uint32_t p = m; p < all->options.partitions; p += client->member.members_count) owned |= UINT64_C(1) << p;
            uint8_t *bytes = arena_alloc(&client->arena, 8);
            store_be64(bytes, owned);
            request.assignments[m].member_id = span_text(client->member.members[m]);
            request.assignments[m].assignment = span_of(bytes, 8);
        }
    }
    client_call(client, API_SYNC_GROUP, 0, 5, &request, 10000, member_synced);
}

static void member_id_set(char out[MEMBER_ID_BYTES], struct span id) {
    size_t size = id.size < MEMBER_ID_BYTES - 1 ? id.size : MEMBER_ID_BYTES - 1;
    if (size) memcpy(out, id.data, size);
    out[size] = 0;
}

static void member_joined(struct client *client, enum err err, const void *answer) {
    const struct join_group_response *response = answer;
    if (err != ERR_NONE) {
        client_later(client, backoff(client), member_join);
        return;
    }
    if (response->error_code == KAFKA_MEMBER_ID_REQUIRED) member_id_set(client->member.id, response->member_id);
    if (response->error_code) {
        member_error(client, (enum kafka_error)response->error_code);
        return;
    }
    member_id_set(client->member.id, response->member_id);
    client->member.generation = response->generation_id;
    client->member.leads = span_equal(response->leader, response->member_id);
    client->member.members_count = 0;
    for (int32_t i = 0; client->member.leads && i < response->members_count && i < CLIENTS_MAX; i++)
        member_id_set(client->member.members[client->member.members_count++], response->members[i].member_id);
    client_later(client, 0, member_sync);
}

static void member_found(struct client *client, enum err err, const void *answer) {
    const struct find_coordinator_response *response = answer;
    enum kafka_error error = KAFKA_NONE;
    if (err == ERR_NONE) {
        bool many = client->version >= 4;
        error = many && response->coordinators_count == 1 ? (enum kafka_error)response->coordinators[0].error_code : (enum kafka_error)response->error_code;
        if (error) {
            note_error(client, error);
            unexpected(client, error);
        } else {
            client->member.knows_coordinator = true;
        }
    }
    client_later(client, err || error ? backoff(client) : 0, member_join);
}

/* Asking for the coordinator is what makes the offsets' topic, too. */
static void member_find(struct client *client) {
    struct find_coordinator_request request;
    find_coordinator_request_init(&request);
    request.key = GROUP;
    struct span *keys = ARENA_NEW(&client->arena, struct span);
    *keys = GROUP;
    bool many = random_chance(&client->all->random, 1, 2);
    if (many) {
        request.key = SPAN_LITERAL("");
        request.coordinator_keys = keys;
        request.coordinator_keys_count = 1;
    }
    client_call(client, API_FIND_COORDINATOR, many ? 4 : 1, many ? 5 : 3, &request, 3000, member_found);
}

static void member_join(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    client->member.owned = 0;
    if (!all->topic_exists) {
        client_later(client, 100, member_join);
        return;
    }
    if (!client->member.knows_coordinator) {
        member_find(client);
        return;
    }
    /* A subscription as the consumers' own protocol writes it: version 1, one topic, no user data, no owned partitions. */
    static const uint8_t subscription[] = {0, 1, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    struct join_group_request request;
    join_group_request_init(&request);
    request.group_id = GROUP;
    request.session_timeout_ms = 6000;
    request.rebalance_timeout_ms = 4000;
    request.member_id = client->member.id[0] ? span_text(client->member.id) : SPAN_LITERAL("");
    request.protocol_type = SPAN_LITERAL("consumer");
    request.protocols = join_group_request_join_group_request_protocol_array(&client->arena, 1);
    request.protocols_count = 1;
    request.protocols[0].name = SPAN_LITERAL("simulated");
    request.protocols[0].metadata = span_of(subscription, sizeof subscription);
    client_call(client, API_JOIN_GROUP, 2, 9, &request, 12000, member_joined);
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
