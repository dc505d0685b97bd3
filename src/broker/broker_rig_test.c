#include "broker/broker_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <stdio.h>
#include <string.h>

static const char *const paths[BROKER_RIG_DIRS_MAX] = {"/data", "/data2"};
static const char cluster[] = "brokers-in-a-test-AAAA";
static struct broker_rig *current;

static void on_trace(const char *line) {
    size_t used = strlen(current->traces);
    snprintf(current->traces + used, sizeof current->traces - used, "%s\n", line);
}

/* ---- Life */

void broker_rig_start(struct broker_rig *rig) {
    struct pool *pools[BROKER_RIG_SHARDS_MAX];
    struct broker_node *node = &rig->node;
    struct random random;
    char why[256] = "";
    rig->process = sim_process_start(rig->host, rig->shards);
    for (uint32_t i = 0; i < rig->shards; i++) {
        rig->ios[i] = sim_process_io(rig->process, i);
        pools[i] = sim_process_pool(rig->process, i);
    }
    struct shard_options shards = {.count = rig->shards, .ios = rig->ios, .pools = pools};
    assert_int_equal(shard_group_open(&rig->group, &shards), ERR_NONE);
    random_seed(&random, 5);
    struct log_dirs_options dirs = {.paths = paths, .count = rig->dir_count, .node = BROKER_RIG_ID, .cluster_id = cluster, .pool = pools[0],
                                    .random = &random, .now_ms = 1700000000000};
    if (log_dirs_open(&rig->dirs, io_files(rig->ios[0]), &dirs, why, sizeof why)) fail_msg("%s", why);
    *node = (struct broker_node){.id = BROKER_RIG_ID, .incarnation = {{9}}, .config = &rig->values, .dirs = rig->dirs, .group = rig->group,
                                 .replica_lag_ms_max = 30000, .trace = on_trace, .log_level = 2, .request_bytes_max = 1 << 20,
                                 .fetch_bytes_max = 1 << 20, .fetch_sessions_max = 100};
    snprintf(node->cluster_id, sizeof node->cluster_id, "%s", cluster);
    struct config_view view = {.values = &rig->values, .broker = BROKER_RIG_ID};
    struct log_store_options store = {0};
    store_settings_read(&store, &view, rig->shards, rig->dir_count);
    current = rig;
    for (uint32_t i = 0; i < rig->shards; i++) {
        struct shard *shard = shard_at(rig->group, i);
        assert_int_equal(log_store_open(&rig->stores[i], shard, rig->dirs, &store), ERR_NONE);
        struct broker_options broker = {.shard = shard, .node = node, .store = rig->stores[i]};
        assert_int_equal(broker_open(&rig->brokers[i], &broker), ERR_NONE);
    }
}

struct stopping { struct log_wait wait; bool done; };
static void store_stopped(struct log_wait *wait, enum err err) {
    assert_int_equal(err, ERR_NONE);
    container_of(wait, struct stopping, wait)->done = true;
}

void broker_rig_stop(struct broker_rig *rig) {
    for (uint32_t i = 0; i < rig->shards; i++) broker_stop(rig->brokers[i]);
    for (uint32_t i = rig->shards; i-- > 0;) { /* shard 0 last: it writes for all */
        struct stopping stopping = {.wait.done = store_stopped};
        list_init(&stopping.wait.node);
        assert_int_equal(log_store_stop(rig->stores[i], &stopping.wait), ERR_AGAIN);
        broker_rig_until(rig, &stopping.done);
    }
    for (uint32_t i = 0; i < rig->shards; i++) {
        broker_free(rig->brokers[i]);
        log_store_free(rig->stores[i]);
    }
    log_dirs_close(rig->dirs, io_files(rig->ios[0]), true, BROKER_RIG_EPOCH);
    shard_group_close(rig->group);
    sim_process_end(rig->process);
    rig->group = NULL;
}

void broker_rig_open(struct broker_rig *rig, uint32_t shards, uint32_t dirs, const char *settings) {
    char sentence[512] = "";
    struct text why;
    memset(rig, 0, sizeof *rig);
    rig->shards = shards;
    rig->dir_count = dirs;
    rig->sim = sim_new(11);
    rig->net = sim_net_new(rig->sim, NULL);
    rig->host = sim_host_new(rig->sim, rig->net, 0, 0);
    for (uint32_t i = 0; i < dirs; i++) {
        rig->dir_ids[i] = (struct uuid){{0x40, (uint8_t)(i + 1)}};
        assert_int_equal(log_dir_format(sim_host_files(rig->host), paths[i], cluster, BROKER_RIG_ID, rig->dir_ids[i], 1700000000000), ERR_NONE);
    }
    pool_init(&rig->pool, 0, 0);
    arena_init(&rig->arena, &rig->pool, 0);
    config_values_init(&rig->values, &rig->arena);
    text_init(&why, sentence, sizeof sentence);
    if (settings && config_values_read(&rig->values, span_text(settings), &why)) fail_msg("%s", sentence);
    struct image *nothing = image_new(&rig->pool);
    rig->delta = delta_new(&rig->pool, nothing);
    image_drop(nothing);
    struct feature_level_record level = {.name = SPAN_LITERAL("metadata.version"), .feature_level = MV_4_4_IV2};
    broker_rig_record(rig, FEATURE_LEVEL_RECORD_TYPE, &level);
    broker_rig_start(rig);
}

void broker_rig_close(struct broker_rig *rig) {
    if (rig->group) broker_rig_stop(rig);
    delta_free(rig->delta);
    arena_destroy(&rig->arena);
    assert_int_equal(rig->pool.used, 0);
    pool_destroy(&rig->pool);
    sim_host_free(rig->host);
    sim_net_free(rig->net);
    sim_free(rig->sim);
}

/* None waits for long, since another may have to act first. */
static void turn(struct broker_rig *rig) {
    for (uint32_t i = 0; i < rig->shards; i++) shard_turn(shard_at(rig->group, i), io_now(rig->ios[i]) + 100000);
}

void broker_rig_turns(struct broker_rig *rig, uint32_t turns) {
    for (uint32_t i = 0; i < turns; i++) turn(rig);
}

void broker_rig_until(struct broker_rig *rig, const bool *what) {
    time_ns end = io_now(rig->ios[0]) + 60 * NS_PER_S;
    while (!*what) {
        if (io_now(rig->ios[0]) >= end) fail_msg("nothing came within a minute");
        turn(rig);
    }
}

void broker_rig_for(struct broker_rig *rig, time_ms span) {
    time_ns end = io_now(rig->ios[0]) + span * NS_PER_MS;
    while (io_now(rig->ios[0]) < end) turn(rig);
}

/* ---- Metadata */

void broker_rig_record(struct broker_rig *rig, int16_t type, const void *record) {
    if (delta_apply_message(rig->delta, type, record)) fail_msg("%s", delta_error(rig->delta));
}

void broker_rig_broker(struct broker_rig *rig, broker_id id, bool fenced) {
    struct register_broker_record record;
    register_broker_record_init(&record);
    record.broker_id = id;
    record.broker_epoch = BROKER_RIG_EPOCH;
    record.incarnation_id = id == BROKER_RIG_ID ? rig->node.incarnation : (struct uuid){{8, (uint8_t)id}};
    record.fenced = fenced;
    record.log_dirs = rig->dir_ids;
    record.log_dirs_count = id == BROKER_RIG_ID ? (int32_t)rig->dir_count : 0;
    broker_rig_record(rig, REGISTER_BROKER_RECORD_TYPE, &record);
}

struct uuid broker_rig_topic(struct broker_rig *rig, const char *name) {
    struct topic_record record = {.name = span_text(name), .topic_id = {{0x20}}};
    memcpy(record.topic_id.bytes + 1, name, strlen(name) < 15 ? strlen(name) : 15);
    broker_rig_record(rig, TOPIC_RECORD_TYPE, &record);
    return record.topic_id;
}

void broker_rig_partition(struct broker_rig *rig, struct uuid topic, const struct rig_partition *partition) {
    struct partition_record record;
    struct rig_partition own = *partition;
    struct uuid dirs[4] = {0};
    partition_record_init(&record);
    for (uint32_t i = 0; i < own.replica_count; i++) {
        dirs[i] = (struct uuid){{0x40, 0xff, (uint8_t)own.replicas[i]}};
        if (own.replicas[i] == BROKER_RIG_ID) dirs[i] = own.dir.bytes[0] ? own.dir : rig->dir_ids[0];
    }
    record.topic_id = topic;
    record.partition_id = own.index;
    record.replicas = own.replicas;
    record.directories = dirs;
    record.replicas_count = record.directories_count = (int32_t)own.replica_count;
    record.isr = own.isr;
    record.isr_count = (int32_t)own.isr_count;
    record.leader = own.leader;
    record.leader_epoch = own.leader_epoch;
    record.partition_epoch = own.partition_epoch;
    broker_rig_record(rig, PARTITION_RECORD_TYPE, &record);
}

void broker_rig_own(struct broker_rig *rig, struct uuid topic, partition_index index) {
    broker_rig_partition(rig, topic, &(struct rig_partition){.index = index, .replicas = {BROKER_RIG_ID}, .isr = {BROKER_RIG_ID},
                                                             .replica_count = 1, .isr_count = 1, .leader = BROKER_RIG_ID});
}

void broker_rig_publish(struct broker_rig *rig) {
    struct image *image = delta_visible(rig->delta);
    assert_non_null(image);
    for (uint32_t i = 0; i < rig->shards; i++) broker_image(rig->brokers[i], image_hold(image));
    image_drop(image);
}

/* ---- Data */

struct broker *broker_rig_of(struct broker_rig *rig, struct uuid topic, partition_index index) {
    return rig->brokers[partition_shard(rig->brokers[0], topic, index)];
}

struct partition *broker_rig_get(struct broker_rig *rig, struct uuid topic, partition_index index) {
    enum kafka_error why;
    struct partition *partition = partition_get(broker_rig_of(rig, topic, index), topic, index, &why);
    assert_int_equal(why, KAFKA_NONE);
    assert_non_null(partition);
    return partition;
}

struct slab *broker_rig_batch(struct broker_rig *rig, uint32_t records) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    batch_builder_init(&builder, &rig->pool, 1 << 20, &options);
    for (uint32_t i = 0; i < records; i++)
        assert_int_equal(batch_builder_add(&builder, io_wall(rig->ios[0]), SPAN_LITERAL("key"), SPAN_LITERAL("value"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    return slab;
}

struct producing { struct produce_item item; bool done; };
static void produced(struct produce_item *item) { container_of(item, struct producing, item)->done = true; }

enum kafka_error broker_rig_produce(struct broker_rig *rig, struct uuid topic, partition_index index, int16_t acks, uint32_t records, log_offset *base) {
    struct produce_response_partition_produce_response out;
    struct producing producing = {.item = {.index = index, .topic_id = topic, .acks = acks, .timeout_ms = 1000, .arena = &rig->arena, .out = &out, .done = produced}};
    enum kafka_error why;
    produce_response_partition_produce_response_init(&out);
    producing.item.partition = partition_get(broker_rig_of(rig, topic, index), topic, index, &why);
    if (!producing.item.partition) return why;
    struct slab *slab = broker_rig_batch(rig, records);
    producing.item.slab = slab;
    producing.item.data = slab->bytes;
    producing.item.size = (uint32_t)slab->used;
    if (!partition_produce(&producing.item)) broker_rig_until(rig, &producing.done);
    slab_drop(slab);
    if (base) *base = out.base_offset;
    return (enum kafka_error)out.error_code;
}
