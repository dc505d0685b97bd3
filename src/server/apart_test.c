/* Requests that take long, worked on apart from the shard (broker/apart.h): a whole node in the simulator, whose offload
 * threads take their time. */
#include "base/bytes.h"
#include "broker/broker.h"
#include "server/node_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

enum { SHARDS = 1, TOPICS = 3, PARTITIONS = 250, NAMES = 2000, AWAY_MS = 50 };

static struct metadata_request_metadata_request_topic asked[NAMES];
static char names[NAMES][12];

/* NAMES names; of them the first `there` are topics. A name that is not there has the letters of `word`. */
static void metadata_of_many(struct metadata_request *request, uint32_t there, const char *word) {
    metadata_request_init(request);
    for (uint32_t i = 0; i < NAMES; i++) {
        metadata_request_metadata_request_topic_init(&asked[i]);
        snprintf(names[i], sizeof names[i], "%s-%u", i < there ? "t" : word, i);
        asked[i].name = span_text(names[i]);
    }
    request->topics = asked;
    request->topics_count = NAMES;
    request->allow_auto_topic_creation = false;
}

static void metadata_of_all(struct metadata_request *request) {
    metadata_request_init(request);
    request->topics_count = -1;
}

static void slow_down(struct node_rig *rig) {
    struct sim_timing slow = sim_timing_default();
    slow.disk_min = slow.disk_max = slow.sync_max = slow.job_max = AWAY_MS * NS_PER_MS;
    sim_host_set_timing(rig->hosts[RIG_NODE], &slow);
}

/* A node with topics t-0, t-1, ... whose jobs take AWAY_MS from now on. */
static void open_node(struct node_rig *rig, struct rig_client *client, uint64_t seed, const char *settings) {
    node_rig_open(rig, seed, SHARDS, settings);
    rig_connect(client, rig, RIG_PORT);
    for (int i = 0; i < TOPICS; i++) {
        char name[12];
        snprintf(name, sizeof name, "t-%d", i);
        rig_topic(client, name, PARTITIONS);
    }
    node_rig_for(rig, 1000);
    slow_down(rig);
}

static void close_node(struct node_rig *rig) {
    node_rig_stop(rig); /* which asserts that all memory was given back */
    node_rig_close(rig);
}

static void send_versions(struct rig_client *client) {
    struct api_versions_request request;
    api_versions_request_init(&request);
    rig_send_request(client, API_API_VERSIONS, 0, &request);
}

static bool is_answered_within(struct rig_client *client, time_ms span) { return rig_answer(client, span).size > 0; }

static int32_t partitions_told(const struct metadata_response *told, int16_t error) {
    int32_t count = 0;
    for (int32_t i = 0; i < told->topics_count; i++) {
        if (told->topics[i].error_code == error) count += error ? 1 : told->topics[i].partitions_count;
        for (int32_t k = 0; !error && k < told->topics[i].partitions_count; k++) assert_int_equal(told->topics[i].partitions[k].leader_id, 1);
    }
    return count;
}

/* While a request of thousands of names, or an answer of many partitions or configs, is made elsewhere, others are answered; it
 * says what it would have said here; and what its own connection asked behind it waits for its turn. */
TEST(apart_others_do_not_wait) {
    struct node_rig rig;
    struct rig_client client, other;
    struct metadata_request many, all;
    struct describe_configs_request configs;
    struct describe_configs_request_describe_configs_resource resources[20];
    open_node(&rig, &client, 11, NULL);
    rig_connect(&other, &rig, RIG_PORT);
    metadata_of_many(&many, TOPICS, "none");
    metadata_of_all(&all);
    describe_configs_request_init(&configs);
    for (size_t i = 0; i < countof(resources); i++) {
        describe_configs_request_describe_configs_resource_init(&resources[i]);
        resources[i].resource_type = 2;
        resources[i].resource_name = i % 2 ? SPAN_LITERAL("t-1") : SPAN_LITERAL("none");
        resources[i].configuration_keys_count = -1;
    }
    configs.resources = resources;
    configs.resources_count = countof(resources);
    const struct { int16_t key, version; const void *request; } larges[] = {
        {API_METADATA, 9, &many}, {API_METADATA, 12, &all}, {API_DESCRIBE_CONFIGS, 4, &configs}};
    for (size_t i = 0; i < countof(larges); i++) {
        rig_send_request(&client, larges[i].key, larges[i].version, larges[i].request);
        int32_t correlation = client.correlation;
        send_versions(&client);
        send_versions(&other);
        assert_true(is_answered_within(&other, AWAY_MS / 2));
        assert_false(is_answered_within(&client, AWAY_MS / 4));
        struct span answer = rig_answer(&client, 10 * AWAY_MS);
        assert_true(answer.size > 0);
        const void *told = rig_decode(&client, larges[i].key, larges[i].version, answer, correlation);
        if (larges[i].key == API_METADATA) assert_int_equal(partitions_told(told, KAFKA_NONE), TOPICS * PARTITIONS);
        if (larges[i].request == &many) assert_int_equal(partitions_told(told, KAFKA_UNKNOWN_TOPIC_OR_PARTITION), NAMES - TOPICS);
        for (size_t k = 0; larges[i].key == API_DESCRIBE_CONFIGS && k < countof(resources); k++) {
            const struct describe_configs_response *described = told;
            assert_int_equal(described->results[k].error_code, k % 2 ? KAFKA_NONE : KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
            assert_int_equal(described->results[k].configs_count > 20, k % 2);
        }
        assert_true(is_answered_within(&client, AWAY_MS / 2)); /* the small one behind it */
    }
    rig_disconnect(&client);
    rig_disconnect(&other);
    close_node(&rig);
}

/* What is large and is not answered from the metadata is only read there; its handler runs on the shard, in its turn. */
TEST(apart_reads_whatever_is_large) {
    struct node_rig rig;
    struct rig_client client, other;
    struct find_coordinator_request request;
    static struct span keys[NAMES];
    node_rig_open(&rig, 12, SHARDS, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    rig_connect(&other, &rig, RIG_PORT);
    find_coordinator_request_init(&request);
    for (int32_t i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof names[i], "group-%d", i);
        keys[i] = span_text(names[i]);
    }
    request.coordinator_keys = keys;
    for (int round = 0; round < 2; round++) { /* the first makes __consumer_offsets */
        request.coordinator_keys_count = round ? NAMES : 1;
        if (round) slow_down(&rig);
        rig_send_request(&client, API_FIND_COORDINATOR, 4, &request);
        send_versions(&other);
        assert_true(is_answered_within(&other, AWAY_MS / 2));
        if (round) assert_false(is_answered_within(&client, AWAY_MS / 4)); /* it is away */
        struct span answer = rig_answer(&client, 10 * AWAY_MS);
        const struct find_coordinator_response *told = rig_decode(&client, API_FIND_COORDINATOR, 4, answer, client.correlation);
        assert_int_equal(told->coordinators_count, request.coordinator_keys_count);
        for (int32_t i = 0; round && i < NAMES; i++) {
            assert_int_equal(told->coordinators[i].error_code, KAFKA_NONE);
            assert_true(span_equal(told->coordinators[i].key, keys[i]));
        }
        node_rig_for(&rig, 3000);
    }
    rig_disconnect(&client);
    rig_disconnect(&other);
    close_node(&rig);
}

/* A large request that cannot be read ends its connection, one of more elements than a request may have too, and nobody else's. */
TEST(apart_refuses_what_cannot_be_read) {
    static uint8_t frame[40 << 10];
    struct node_rig rig;
    struct rig_client client;
    open_node(&rig, &client, 13, NULL);
    rig_disconnect(&client);
    for (int32_t count = 0; count < 3; count++) {
        static const int32_t counts[] = {20000, 1000001, -2};
        memset(frame, 0xff, sizeof frame);
        store_be32(frame, sizeof frame - 4);
        store_be16(frame + 4, API_METADATA);
        store_be16(frame + 6, 4);
        store_be32(frame + 8, 7);      /* correlation id */
        store_be16(frame + 12, 0xffff); /* no client id   */
        store_be32(frame + 14, (uint32_t)counts[count]);
        rig_connect(&client, &rig, RIG_PORT);
        rig_send(&client, frame, sizeof frame);
        assert_false(is_answered_within(&client, 10 * AWAY_MS));
        assert_true(client.closed);
        rig_disconnect(&client);
    }
    rig_connect(&client, &rig, RIG_PORT);
    send_versions(&client);
    assert_true(is_answered_within(&client, AWAY_MS));
    rig_disconnect(&client);
    close_node(&rig);
}

/* Several at once: one is away, the others wait in their order, and who goes meanwhile leaves nothing behind. */
TEST(apart_one_at_a_time) {
    enum { CLIENTS = 5, LEAVES = 2 };
    struct node_rig rig;
    struct rig_client clients[CLIENTS], other;
    struct metadata_request many;
    open_node(&rig, &other, 14, NULL);
    metadata_of_many(&many, TOPICS, "none");
    for (int i = 0; i < CLIENTS; i++) {
        rig_connect(&clients[i], &rig, RIG_PORT);
        rig_send_request(&clients[i], API_METADATA, 9, &many);
        node_rig_for(&rig, 2); /* it is there before the next one */
    }
    rig_disconnect(&clients[LEAVES]);
    for (int i = 0; i < CLIENTS; i++) {
        if (i == LEAVES) continue;
        send_versions(&other);
        assert_true(is_answered_within(&other, AWAY_MS / 2));
        assert_true(is_answered_within(&clients[i], 3 * AWAY_MS));
        node_rig_for(&rig, AWAY_MS / 2);
        if (i + 1 < CLIENTS && i + 1 != LEAVES) assert_int_equal(clients[i + 1].got_bytes, 0);
        rig_disconnect(&clients[i]);
    }
    rig_disconnect(&other);
    close_node(&rig);
}

/* The metadata go on while a request is away: it is answered from those that it began with. Who stops the node then waits for it. */
TEST(apart_keeps_the_metadata_it_began_with) {
    struct node_rig rig;
    struct rig_client client, other;
    struct metadata_request all;
    struct create_topics_request create;
    struct create_topics_request_creatable_topic topic;
    open_node(&rig, &client, 15, "num.partitions=1\n");
    rig_connect(&other, &rig, RIG_PORT);
    create_topics_request_init(&create);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = SPAN_LITERAL("t-new"), topic.num_partitions = 2, topic.replication_factor = 1;
    create.topics = &topic, create.topics_count = 1, create.timeout_ms = 10000;
    struct sim_timing slow = sim_timing_default();
    slow.disk_min = NS_PER_MS, slow.job_max = NS_PER_S;
    metadata_of_all(&all);
    for (int round = 0; round < 4; round++) {
        bool was_new = false;
        sim_host_set_timing(rig.hosts[RIG_NODE], &slow);
        rig_send_request(&client, API_METADATA, 12, &all);
        int32_t before = TOPICS + round;
        char name[12];
        snprintf(name, sizeof name, "t-new-%d", round);
        topic.name = span_text(name);
        const struct create_topics_response *made = rig_ask(&other, API_CREATE_TOPICS, 7, &create);
        assert_int_equal(made->topics[0].error_code, KAFKA_NONE);
        struct span answer = rig_answer(&client, 3000);
        const struct metadata_response *told = rig_decode(&client, API_METADATA, 12, answer, client.correlation);
        for (int32_t i = 0; i < told->topics_count; i++) was_new |= span_equal(told->topics[i].name, span_text(name));
        assert_false(was_new);
        assert_int_equal(told->topics_count, before);
        node_rig_for(&rig, 2000);
    }
    rig_send_request(&client, API_METADATA, 12, &all);
    node_rig_stop(&rig);
    rig_disconnect(&client);
    rig_disconnect(&other);
    node_rig_close(&rig);
}

/* Names that are to be made because they were asked for are, and the request that was traced is told with its answer. */
TEST(apart_makes_topics_and_is_traced) {
    struct node_rig rig;
    struct rig_client client;
    struct metadata_request many;
    open_node(&rig, &client, 16, "num.partitions=1\nmoldau.trace.apis=Metadata\n");
    rig.traces[0] = 0;
    metadata_of_many(&many, NAMES, "t");
    for (int i = 0; i < 3; i++) asked[NAMES - 1 - i].name = i == 0 ? SPAN_LITERAL("a-new") : i == 1 ? SPAN_LITERAL("b-new") : SPAN_LITERAL("not/valid");
    for (int i = TOPICS; i < NAMES - 3; i++) asked[i].name = SPAN_LITERAL("t-0");
    many.allow_auto_topic_creation = true;
    const struct metadata_response *told = rig_ask(&client, API_METADATA, 9, &many);
    assert_int_equal(told->topics_count, TOPICS + 3);
    assert_int_equal(partitions_told(told, KAFKA_INVALID_TOPIC_EXCEPTION), 1);
    assert_non_null(strstr(rig.traces, "request Metadata v9"));
    assert_non_null(strstr(rig.traces, "answer Metadata v9"));
    node_rig_for(&rig, 3000);
    metadata_of_all(&many);
    told = rig_ask(&client, API_METADATA, 9, &many);
    assert_int_equal(told->topics_count, TOPICS + 2);
    rig_disconnect(&client);
    close_node(&rig);
}

/* Offsets of many partitions are looked up some in each turn: all are told, and who goes before that leaves nothing behind. */
TEST(apart_looks_up_offsets_in_pieces) {
    struct node_rig rig;
    struct rig_client client;
    struct list_offsets_request request;
    struct list_offsets_request_list_offsets_topic topics[TOPICS];
    static struct list_offsets_request_list_offsets_partition partitions[PARTITIONS + 50];
    log_offset base;
    open_node(&rig, &client, 17, NULL);
    assert_int_equal(rig_produce(&client, "t-2", PARTITIONS - 1, 5, 10, &base), 0);
    list_offsets_request_init(&request);
    for (int32_t i = 0; i < PARTITIONS + 50; i++) {
        list_offsets_request_list_offsets_partition_init(&partitions[i]);
        partitions[i].partition_index = i;
        partitions[i].timestamp = -1;
    }
    for (int32_t i = 0; i < TOPICS; i++) {
        list_offsets_request_list_offsets_topic_init(&topics[i]);
        snprintf(names[i], sizeof names[i], "t-%d", i);
        topics[i].name = span_text(names[i]);
        topics[i].partitions = partitions, topics[i].partitions_count = PARTITIONS + 50;
    }
    request.replica_id = -1;
    request.topics = topics, request.topics_count = TOPICS;
    for (int round = 0; round < 3; round++) {
        rig_send_request(&client, API_LIST_OFFSETS, 5, &request);
        if (round == 1) { /* gone before it is answered */
            rig_disconnect(&client);
            node_rig_for(&rig, 20 * AWAY_MS);
            rig_connect(&client, &rig, RIG_PORT);
            continue;
        }
        struct span answer = rig_answer(&client, 10000 * AWAY_MS);
        assert_true(answer.size > 0);
        const struct list_offsets_response *told = rig_decode(&client, API_LIST_OFFSETS, 5, answer, client.correlation);
        assert_int_equal(told->topics_count, TOPICS);
        for (int32_t t = 0; t < TOPICS; t++) {
            assert_int_equal(told->topics[t].partitions_count, PARTITIONS + 50);
            for (int32_t p = 0; p < PARTITIONS + 50; p++) {
                const struct list_offsets_response_list_offsets_partition_response *one = &told->topics[t].partitions[p];
                assert_int_equal(one->partition_index, p);
                assert_int_equal(one->error_code, p < PARTITIONS ? KAFKA_NONE : KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
                assert_int_equal(one->offset, p >= PARTITIONS ? -1 : t == 2 && p == PARTITIONS - 1 ? 5 : 0);
            }
        }
    }
    rig_disconnect(&client);
    close_node(&rig);
}
