/* A node that finds no memory at any one place of serving a request. */
#include "broker/broker.h"
#include "server/node_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PARTITIONS = 4, SHARDS = 2, RUNS_MAX = 4000, IDS_OF_A_LEASE = 1000 };

/* What a request is made of; `turn` makes names new. */
struct scene {
    struct rig_client *client;
    struct slab *batch;
    char name[32];
    uint32_t turn;
};

static struct span fresh(struct scene *scene) {
    snprintf(scene->name, sizeof scene->name, "n%u", scene->turn);
    return span_text(scene->name);
}

/* A request of `prefix_` is zeroed, then as Kafka's defaults say. */
#define MADE(prefix_, variable_) struct prefix_ variable_; prefix_##_init(&variable_)
/* The array `field_` of `owner_` has these elements. */
#define HOLDS(owner_, field_, items_, count_) ((owner_).field_ = (items_), (owner_).field_##_count = (count_))

static int32_t all_partitions[PARTITIONS] = {0, 1, 2, 3};

static void produce(struct scene *scene) {
    MADE(produce_request, request);
    MADE(produce_request_topic_produce_data, topic);
    struct produce_request_partition_produce_data data[PARTITIONS];
    for (int32_t i = 0; i < PARTITIONS; i++) {
        produce_request_partition_produce_data_init(&data[i]);
        data[i].index = i;
        data[i].records = (struct wire_records){.bytes = span_of(scene->batch->bytes, scene->batch->used)};
    }
    request.acks = -1, request.timeout_ms = 5000;
    HOLDS(request, topic_data, &topic, 1);
    topic.name = SPAN_LITERAL("t");
    HOLDS(topic, partition_data, data, PARTITIONS);
    rig_send_request(scene->client, API_PRODUCE, 9, &request);
}

static void fetch_of(struct scene *scene, int32_t wait_ms, int32_t min_bytes, int32_t session_epoch) {
    MADE(fetch_request, request);
    MADE(fetch_request_fetch_topic, topic);
    struct fetch_request_fetch_partition partitions[PARTITIONS];
    for (int32_t i = 0; i < PARTITIONS; i++) {
        fetch_request_fetch_partition_init(&partitions[i]);
        partitions[i].partition = i;
        partitions[i].partition_max_bytes = 1 << 16;
    }
    request.max_wait_ms = wait_ms, request.min_bytes = min_bytes, request.max_bytes = 1 << 20, request.session_epoch = session_epoch;
    HOLDS(request, topics, &topic, 1);
    topic.topic = SPAN_LITERAL("t");
    HOLDS(topic, partitions, partitions, PARTITIONS);
    rig_send_request(scene->client, API_FETCH, 12, &request);
}
static void fetch(struct scene *scene) { fetch_of(scene, 100, 1, -1); }
static void fetch_waits(struct scene *scene) { fetch_of(scene, 100, 1 << 20, -1); }
static void fetch_session(struct scene *scene) { fetch_of(scene, 100, 1, 0); }

static void list_offsets(struct scene *scene) {
    MADE(list_offsets_request, request);
    MADE(list_offsets_request_list_offsets_topic, topic);
    struct list_offsets_request_list_offsets_partition partitions[PARTITIONS];
    for (int32_t i = 0; i < PARTITIONS; i++) {
        list_offsets_request_list_offsets_partition_init(&partitions[i]);
        partitions[i].partition_index = i;
        partitions[i].timestamp = i == 3 ? 1000 : -1 - i;
    }
    request.replica_id = -1;
    HOLDS(request, topics, &topic, 1);
    topic.name = SPAN_LITERAL("t");
    HOLDS(topic, partitions, partitions, PARTITIONS);
    rig_send_request(scene->client, API_LIST_OFFSETS, 9, &request);
}

static void metadata_makes_a_topic(struct scene *scene) {
    MADE(metadata_request, request);
    MADE(metadata_request_metadata_request_topic, topic);
    HOLDS(request, topics, &topic, 1);
    topic.name = fresh(scene);
    request.allow_auto_topic_creation = true;
    rig_send_request(scene->client, API_METADATA, 9, &request);
}

static void metadata_of_all(struct scene *scene) {
    MADE(metadata_request, request);
    HOLDS(request, topics, NULL, -1);
    rig_send_request(scene->client, API_METADATA, 12, &request);
}

/* Large ones: worked on apart (broker/apart.h). */
static void metadata_of_many(struct scene *scene) {
    static struct metadata_request_metadata_request_topic topics[1000];
    MADE(metadata_request, request);
    for (size_t i = 0; i < countof(topics); i++) {
        metadata_request_metadata_request_topic_init(&topics[i]);
        topics[i].name = i % 2 ? SPAN_LITERAL("t") : SPAN_LITERAL("never-there");
    }
    HOLDS(request, topics, topics, countof(topics));
    rig_send_request(scene->client, API_METADATA, 9, &request);
}

static void describe_many_groups(struct scene *scene) {
    static struct span groups[1500];
    MADE(describe_groups_request, request);
    for (size_t i = 0; i < countof(groups); i++) groups[i] = SPAN_LITERAL("group");
    HOLDS(request, groups, groups, countof(groups));
    rig_send_request(scene->client, API_DESCRIBE_GROUPS, 5, &request);
}

static void describe_many_configs(struct scene *scene) {
    struct describe_configs_request_describe_configs_resource resources[10];
    MADE(describe_configs_request, request);
    for (size_t i = 0; i < countof(resources); i++) {
        describe_configs_request_describe_configs_resource_init(&resources[i]);
        resources[i].resource_type = 2;
        resources[i].resource_name = SPAN_LITERAL("t");
        HOLDS(resources[i], configuration_keys, NULL, -1);
    }
    HOLDS(request, resources, resources, countof(resources));
    rig_send_request(scene->client, API_DESCRIBE_CONFIGS, 4, &request);
}

static void offset_commit(struct scene *scene) {
    MADE(offset_commit_request, request);
    MADE(offset_commit_request_offset_commit_request_topic, topic);
    MADE(offset_commit_request_offset_commit_request_partition, partition);
    request.group_id = SPAN_LITERAL("g");
    request.generation_id_or_member_epoch = -1;
    HOLDS(request, topics, &topic, 1);
    topic.name = SPAN_LITERAL("t");
    HOLDS(topic, partitions, &partition, 1);
    partition.committed_offset = scene->turn;
    rig_send_request(scene->client, API_OFFSET_COMMIT, 8, &request);
}

static void offset_fetch(struct scene *scene) {
    MADE(offset_fetch_request, request);
    struct offset_fetch_request_offset_fetch_request_group groups[2];
    for (int i = 0; i < 2; i++) {
        offset_fetch_request_offset_fetch_request_group_init(&groups[i]);
        groups[i].group_id = i ? SPAN_LITERAL("other") : SPAN_LITERAL("g");
        HOLDS(groups[i], topics, NULL, -1);
    }
    HOLDS(request, groups, groups, 2);
    rig_send_request(scene->client, API_OFFSET_FETCH, 8, &request);
}

static void offset_delete(struct scene *scene) {
    MADE(offset_delete_request, request);
    MADE(offset_delete_request_offset_delete_request_topic, topic);
    MADE(offset_delete_request_offset_delete_request_partition, partition);
    request.group_id = SPAN_LITERAL("g");
    HOLDS(request, topics, &topic, 1);
    topic.name = SPAN_LITERAL("t");
    HOLDS(topic, partitions, &partition, 1);
    rig_send_request(scene->client, API_OFFSET_DELETE, 0, &request);
}

static void find_coordinator(struct scene *scene) {
    MADE(find_coordinator_request, request);
    struct span keys[] = {SPAN_LITERAL("g"), SPAN_LITERAL("other")};
    HOLDS(request, coordinator_keys, keys, 2);
    rig_send_request(scene->client, API_FIND_COORDINATOR, 4, &request);
}

static void join_group(struct scene *scene) {
    MADE(join_group_request, request);
    MADE(join_group_request_join_group_request_protocol, protocol);
    request.group_id = fresh(scene);
    request.session_timeout_ms = request.rebalance_timeout_ms = 6000;
    request.protocol_type = SPAN_LITERAL("consumer");
    HOLDS(request, protocols, &protocol, 1);
    protocol.name = SPAN_LITERAL("range");
    protocol.metadata = SPAN_LITERAL("whatever");
    rig_send_request(scene->client, API_JOIN_GROUP, 3, &request);
}

static void delete_groups(struct scene *scene) {
    MADE(delete_groups_request, request);
    struct span names[] = {SPAN_LITERAL("g"), SPAN_LITERAL("other"), SPAN_LITERAL("third")};
    HOLDS(request, groups_names, names, 3);
    rig_send_request(scene->client, API_DELETE_GROUPS, 2, &request);
}

static void describe_groups(struct scene *scene) {
    MADE(describe_groups_request, request);
    struct span names[] = {SPAN_LITERAL("g"), SPAN_LITERAL("other"), SPAN_LITERAL("third")};
    HOLDS(request, groups, names, 3);
    rig_send_request(scene->client, API_DESCRIBE_GROUPS, 5, &request);
}

static void list_groups(struct scene *scene) {
    MADE(list_groups_request, request);
    rig_send_request(scene->client, API_LIST_GROUPS, 4, &request);
}

static void create_topics(struct scene *scene) {
    MADE(create_topics_request, request);
    MADE(create_topics_request_creatable_topic, topic);
    MADE(create_topics_request_creatable_topic_config, config);
    HOLDS(request, topics, &topic, 1);
    request.timeout_ms = 5000;
    topic.name = fresh(scene);
    topic.num_partitions = 2;
    topic.replication_factor = 1;
    HOLDS(topic, configs, &config, 1);
    config.name = SPAN_LITERAL("retention.ms");
    config.value = SPAN_LITERAL("100000");
    rig_send_request(scene->client, API_CREATE_TOPICS, 7, &request);
}

static void delete_topics(struct scene *scene) {
    MADE(delete_topics_request, request);
    struct delete_topics_request_delete_topic_state topics[2];
    for (int i = 0; i < 2; i++) delete_topics_request_delete_topic_state_init(&topics[i]);
    scene->turn--; /* what create_topics made, in one turn of two */
    topics[0].name = fresh(scene);
    scene->turn++;
    topics[1].name = SPAN_LITERAL("never-there");
    HOLDS(request, topics, topics, 2);
    request.timeout_ms = 5000;
    rig_send_request(scene->client, API_DELETE_TOPICS, 6, &request);
}

static void create_partitions(struct scene *scene) {
    MADE(create_partitions_request, request);
    MADE(create_partitions_request_create_partitions_topic, topic);
    HOLDS(request, topics, &topic, 1);
    request.timeout_ms = 5000;
    topic.name = SPAN_LITERAL("grows");
    topic.count = (int32_t)scene->turn + 2;
    rig_send_request(scene->client, API_CREATE_PARTITIONS, 3, &request);
}

static void delete_records(struct scene *scene) {
    MADE(delete_records_request, request);
    MADE(delete_records_request_delete_records_topic, topic);
    struct delete_records_request_delete_records_partition partitions[PARTITIONS];
    for (int32_t i = 0; i < PARTITIONS; i++) {
        delete_records_request_delete_records_partition_init(&partitions[i]);
        partitions[i].partition_index = i;
        partitions[i].offset = scene->turn % 7;
    }
    HOLDS(request, topics, &topic, 1);
    request.timeout_ms = 5000;
    topic.name = SPAN_LITERAL("t");
    HOLDS(topic, partitions, partitions, PARTITIONS);
    rig_send_request(scene->client, API_DELETE_RECORDS, 2, &request);
}

static void init_producer_id(struct scene *scene) {
    MADE(init_producer_id_request, request);
    request.transactional_id = (struct span){0};
    rig_send_request(scene->client, API_INIT_PRODUCER_ID, 4, &request);
}

static void describe_configs(struct scene *scene) {
    MADE(describe_configs_request, request);
    struct describe_configs_request_describe_configs_resource resources[2];
    for (int i = 0; i < 2; i++) {
        describe_configs_request_describe_configs_resource_init(&resources[i]);
        resources[i].resource_type = i ? 4 : 2;
        resources[i].resource_name = i ? SPAN_LITERAL("1") : SPAN_LITERAL("t");
        HOLDS(resources[i], configuration_keys, NULL, -1);
    }
    HOLDS(request, resources, resources, 2);
    request.include_synonyms = true;
    rig_send_request(scene->client, API_DESCRIBE_CONFIGS, 4, &request);
}

static void incremental_alter_configs(struct scene *scene) {
    MADE(incremental_alter_configs_request, request);
    struct incremental_alter_configs_request_alter_configs_resource resources[2];
    MADE(incremental_alter_configs_request_alterable_config, config);
    config.name = SPAN_LITERAL("retention.ms");
    config.value = scene->turn % 2 ? SPAN_LITERAL("900000") : SPAN_LITERAL("800000");
    for (int i = 0; i < 2; i++) {
        incremental_alter_configs_request_alter_configs_resource_init(&resources[i]);
        resources[i].resource_type = 2;
        resources[i].resource_name = i ? SPAN_LITERAL("never-there") : SPAN_LITERAL("t");
        HOLDS(resources[i], configs, &config, 1);
    }
    HOLDS(request, resources, resources, 2);
    rig_send_request(scene->client, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
}

static void describe_log_dirs(struct scene *scene) {
    MADE(describe_log_dirs_request, request);
    HOLDS(request, topics, NULL, -1);
    rig_send_request(scene->client, API_DESCRIBE_LOG_DIRS, 4, &request);
}

static void alter_replica_log_dirs(struct scene *scene) {
    MADE(alter_replica_log_dirs_request, request);
    MADE(alter_replica_log_dirs_request_alter_replica_log_dir, dir);
    MADE(alter_replica_log_dirs_request_alter_replica_log_dir_topic, topic);
    HOLDS(request, dirs, &dir, 1);
    dir.path = SPAN_LITERAL("/data");
    HOLDS(dir, topics, &topic, 1);
    topic.name = SPAN_LITERAL("t");
    HOLDS(topic, partitions, all_partitions, PARTITIONS);
    rig_send_request(scene->client, API_ALTER_REPLICA_LOG_DIRS, 2, &request);
}

static void describe_quorum(struct scene *scene) {
    MADE(describe_quorum_request, request);
    MADE(describe_quorum_request_topic_data, topic);
    MADE(describe_quorum_request_partition_data, partition);
    HOLDS(request, topics, &topic, 1);
    topic.topic_name = SPAN_LITERAL("__cluster_metadata");
    HOLDS(topic, partitions, &partition, 1);
    rig_send_request(scene->client, API_DESCRIBE_QUORUM, 2, &request);
}

static void describe_producers(struct scene *scene) {
    MADE(describe_producers_request, request);
    MADE(describe_producers_request_topic_request, topic);
    HOLDS(request, topics, &topic, 1);
    topic.name = SPAN_LITERAL("t");
    HOLDS(topic, partition_indexes, all_partitions, PARTITIONS);
    rig_send_request(scene->client, API_DESCRIBE_PRODUCERS, 0, &request);
}

static void describe_topic_partitions(struct scene *scene) {
    MADE(describe_topic_partitions_request, request);
    MADE(describe_topic_partitions_request_topic_request, topic);
    HOLDS(request, topics, &topic, 1);
    topic.name = SPAN_LITERAL("t");
    request.response_partition_limit = 3;
    rig_send_request(scene->client, API_DESCRIBE_TOPIC_PARTITIONS, 0, &request);
}

static void describe_cluster(struct scene *scene) {
    MADE(describe_cluster_request, request);
    rig_send_request(scene->client, API_DESCRIBE_CLUSTER, 1, &request);
}

static void elect_leaders(struct scene *scene) {
    MADE(elect_leaders_request, request);
    HOLDS(request, topic_partitions, NULL, -1);
    request.timeout_ms = 5000;
    rig_send_request(scene->client, API_ELECT_LEADERS, 2, &request);
}

static void offset_for_leader_epoch(struct scene *scene) {
    MADE(offset_for_leader_epoch_request, request);
    MADE(offset_for_leader_epoch_request_offset_for_leader_topic, topic);
    MADE(offset_for_leader_epoch_request_offset_for_leader_partition, partition);
    request.replica_id = -1;
    HOLDS(request, topics, &topic, 1);
    topic.topic = SPAN_LITERAL("t");
    HOLDS(topic, partitions, &partition, 1);
    rig_send_request(scene->client, API_OFFSET_FOR_LEADER_EPOCH, 4, &request);
}

static void list_config_resources(struct scene *scene) {
    MADE(list_config_resources_request, request);
    rig_send_request(scene->client, API_LIST_CONFIG_RESOURCES, 1, &request);
}

static void get_telemetry_subscriptions(struct scene *scene) {
    MADE(get_telemetry_subscriptions_request, request);
    rig_send_request(scene->client, API_GET_TELEMETRY_SUBSCRIPTIONS, 0, &request);
}

static void describe_client_quotas(struct scene *scene) {
    MADE(describe_client_quotas_request, request);
    rig_send_request(scene->client, API_DESCRIBE_CLIENT_QUOTAS, 1, &request);
}

static void api_versions(struct scene *scene) {
    MADE(api_versions_request, request);
    request.client_software_name = SPAN_LITERAL("rig");
    request.client_software_version = SPAN_LITERAL("1");
    rig_send_request(scene->client, API_API_VERSIONS, 4, &request);
}

/* The next InitProducerId on this connection must ask the controller for ids. */
static void use_up_ids(struct scene *scene) {
    for (uint32_t i = 0; i < 2 * IDS_OF_A_LEASE; i++) {
        MADE(init_producer_id_request, request);
    request.transactional_id = (struct span){0};
        const struct init_producer_id_response *answer = rig_ask(scene->client, API_INIT_PRODUCER_ID, 4, &request);
        assert_non_null(answer);
        if (answer->error_code == KAFKA_NONE && answer->producer_id % IDS_OF_A_LEASE == IDS_OF_A_LEASE - 1) return;
    }
    fail_msg("a lease of producer ids has no end");
}

struct kind { const char *name; void (*ask)(struct scene *scene); void (*before)(struct scene *scene); };
#define KIND(name_) {#name_, name_, NULL}
static const struct kind kinds[] = {
    KIND(produce), KIND(fetch), KIND(fetch_waits), KIND(fetch_session), KIND(list_offsets), KIND(metadata_makes_a_topic), KIND(metadata_of_all),
    KIND(metadata_of_many), KIND(describe_many_groups), KIND(describe_many_configs),
    KIND(offset_commit), KIND(offset_fetch), KIND(find_coordinator), KIND(join_group), KIND(describe_groups), KIND(list_groups),
    KIND(offset_delete), KIND(delete_groups), KIND(create_topics), KIND(delete_topics), KIND(create_partitions), KIND(delete_records),
    {"init_producer_id", init_producer_id, use_up_ids}, KIND(describe_configs), KIND(incremental_alter_configs), KIND(describe_log_dirs),
    KIND(alter_replica_log_dirs), KIND(describe_quorum), KIND(describe_producers), KIND(describe_topic_partitions), KIND(describe_cluster),
    KIND(elect_leaders), KIND(offset_for_leader_epoch), KIND(list_config_resources), KIND(get_telemetry_subscriptions),
    KIND(describe_client_quotas), KIND(api_versions),
};

static struct slab *some_batch(struct node_rig *rig) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    batch_builder_init(&builder, &rig->pool, 1024, &options);
    assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("key"), SPAN_LITERAL("value"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    return slab;
}

/* Whether it was answered, or the connection closed, which clients take as a reason to ask again. */
static bool came_to_an_end(struct rig_client *client) { return rig_answer(client, 30000).data || client->closed; }

/* Each request, with the n-th allocation from its arrival on refused, for each n and in each pool, until it needs no more: it is
 * answered or its connection closed, the node goes on, and the same request on another connection is answered at once.
 */
TEST(node_serves_on_after_any_refused_allocation) {
    struct node_rig rig;
    struct rig_client client;
    struct scene scene = {.client = &client};
    node_rig_open(&rig, 31, SHARDS, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    rig_topic(&client, "t", PARTITIONS);
    rig_topic(&client, "grows", 1);
    scene.batch = some_batch(&rig);
    offset_commit(&scene);
    assert_true(rig_answer(&client, 30000).data != NULL);
    rig_disconnect(&client);
    struct pool *pools[2 * SHARDS]; /* of each shard, and within it of its requests */
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct broker *broker = shard_at(server_shards(rig.server), i)->roles[ROLE_BROKER];
        pools[2 * i] = sim_process_pool(rig.process, i);
        pools[2 * i + 1] = &broker->requests;
    }
    for (size_t k = 0; k < countof(kinds); k++) {
        for (uint32_t which = 0; which < countof(pools); which++) {
            struct pool *pool = pools[which];
            bool reached = true;
            pool->fail_in_arenas = true;
            for (uint64_t n = 1; reached; n++) {
                assert_in_range(n, 1, RUNS_MAX);
                rig_connect(&client, &rig, RIG_PORT);
                scene.turn++;
                if (kinds[k].before) kinds[k].before(&scene);
                pool->fail_at = n;
                kinds[k].ask(&scene);
                if (!came_to_an_end(&client)) fail_msg("%s: no answer without allocation %" PRIu64 " of pool %u", kinds[k].name, n, which);
                rig_disconnect(&client);
                node_rig_for(&rig, 50); /* what it goes on with behind its answer */
                reached = pool->fail_at == 0;
                pool->fail_at = 0;
                if (rig.stopped) fail_msg("%s: allocation %" PRIu64 " of pool %u ended the node: %s\n%s", kinds[k].name, n, which, rig.why, rig.traces);
                rig_connect(&client, &rig, RIG_PORT);
                scene.turn++;
                kinds[k].ask(&scene);
                if (!rig_answer(&client, 5000).data) fail_msg("%s: no second answer after allocation %" PRIu64 " of pool %u", kinds[k].name, n, which);
                rig_disconnect(&client);
            }
        }
    }
    slab_drop(scene.batch);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

static int32_t leaders_of(struct rig_client *client, struct span name) {
    MADE(metadata_request, request);
    MADE(metadata_request_metadata_request_topic, topic);
    HOLDS(request, topics, &topic, 1);
    topic.name = name;
    const struct metadata_response *told = rig_ask(client, API_METADATA, 9, &request);
    assert_non_null(told);
    return told->topics[0].partitions_count;
}

/* A topic is made while the n-th allocation of the control shard is refused, in a metadata log to which nothing else is written:
 * what was answered without an error is there soon, as the image that found no memory is tried again. */
TEST(node_shows_what_was_made_without_memory_for_the_image) {
    struct node_rig rig;
    struct rig_client client;
    struct scene scene = {.client = &client};
    uint32_t made = 0;
    node_rig_open(&rig, 33, 1, "metadata.max.idle.interval.ms=0\n");
    struct pool *pool = sim_process_pool(rig.process, 0);
    bool reached = true;
    for (uint64_t n = 1; reached; n++) {
        assert_in_range(n, 1, RUNS_MAX);
        rig_connect(&client, &rig, RIG_PORT);
        scene.turn++;
        pool->fail_in_arenas = true;
        pool->fail_at = n;
        create_topics(&scene);
        struct span answer = rig_answer(&client, 30000);
        node_rig_for(&rig, 300);
        reached = pool->fail_at == 0;
        pool->fail_at = 0;
        const struct create_topics_response *told = answer.data ? rig_decode(&client, API_CREATE_TOPICS, 7, answer, client.correlation) : NULL;
        rig_disconnect(&client);
        if (!told || told->topics[0].error_code) continue;
        made++;
        rig_connect(&client, &rig, RIG_PORT);
        if (leaders_of(&client, fresh(&scene)) != 2) fail_msg("allocation %" PRIu64 ": the topic is made, and not told of", n);
        rig_disconnect(&client);
    }
    assert_true(made > 1);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}
