/* What the settings do that are read at the start alone: each probe answers once as with the acting value, once as with the idle one. */
#include "server/effects_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <stdio.h>
#include <string.h>

#define EFFECT(name, ...) TEST(effect_of_##name) { effects_of_file(__VA_ARGS__); }

/* ---- topics */

static const struct metadata_response *metadata_of(struct effects *e, const char *topic, bool creates) {
    struct metadata_request request;
    struct metadata_request_metadata_request_topic asked;
    metadata_request_init(&request);
    metadata_request_metadata_request_topic_init(&asked);
    asked.name = span_text(topic);
    request.topics = &asked, request.topics_count = 1;
    request.allow_auto_topic_creation = creates;
    const struct metadata_response *answer = rig_ask(&e->client, API_METADATA, 9, &request);
    assert_non_null(answer);
    return answer;
}
static bool creates_topics(struct effects *e) {
    for (int i = 0; i < 20; i++) {
        if (metadata_of(e, "another", true)->topics[0].error_code == KAFKA_NONE) return true;
        effects_pass(e, 100);
    }
    return false;
}
EFFECT(auto_create_topics_enable, "auto.create.topics.enable", "true", "false", NULL, creates_topics)

/* A topic whose partitions and replicas the broker chooses: the error, or how many partitions it has. */
static int create_by_default(struct effects *e, int32_t partitions, int16_t factor) {
    struct create_topics_request request;
    struct create_topics_request_creatable_topic topic;
    create_topics_request_init(&request);
    create_topics_request_creatable_topic_init(&topic);
    topic.name = SPAN_LITERAL("by-default");
    topic.num_partitions = partitions, topic.replication_factor = factor;
    request.topics = &topic, request.topics_count = 1;
    request.timeout_ms = 10000;
    const struct create_topics_response *answer = rig_ask(&e->client, API_CREATE_TOPICS, 7, &request);
    assert_non_null(answer);
    effects_pass(e, 100);
    return answer->topics[0].error_code ? -answer->topics[0].error_code : metadata_of(e, "by-default", false)->topics[0].partitions_count;
}
static bool makes_seven(struct effects *e) { return create_by_default(e, -1, 1) == 7; }
static bool wants_two_brokers(struct effects *e) { return create_by_default(e, 1, -1) == -KAFKA_INVALID_REPLICATION_FACTOR; }
static bool makes_seven_by_itself(struct effects *e) {
    assert_true(creates_topics(e));
    effects_pass(e, 100);
    return metadata_of(e, "another", false)->topics[0].partitions_count == 7;
}
EFFECT(num_partitions, "num.partitions", "7", "2", NULL, makes_seven)
EFFECT(num_partitions_of_topics_made_on_the_way, "num.partitions", "7", "2", NULL, makes_seven_by_itself)
EFFECT(default_replication_factor, "default.replication.factor", "2", "1", NULL, wants_two_brokers)

static bool deletes_topics(struct effects *e) {
    struct delete_topics_request request;
    struct span name = SPAN_LITERAL("t");
    delete_topics_request_init(&request);
    request.topic_names = &name, request.topic_names_count = 1;
    request.timeout_ms = 10000;
    const struct delete_topics_response *answer = rig_ask(&e->client, API_DELETE_TOPICS, 5, &request);
    assert_non_null(answer);
    return answer->responses[0].error_code == KAFKA_NONE;
}
EFFECT(delete_topic_enable, "delete.topic.enable", "true", "false", NULL, deletes_topics)

static bool tells_one_partition(struct effects *e) {
    struct describe_topic_partitions_request request;
    struct describe_topic_partitions_request_topic_request topic;
    rig_topic(&e->client, "three", 3);
    describe_topic_partitions_request_init(&request);
    describe_topic_partitions_request_topic_request_init(&topic);
    request.topics = &topic, request.topics_count = 1;
    topic.name = SPAN_LITERAL("three");
    const struct describe_topic_partitions_response *answer = rig_ask(&e->client, API_DESCRIBE_TOPIC_PARTITIONS, 0, &request);
    assert_non_null(answer);
    assert_true((answer->next_cursor != NULL) == (answer->topics[0].partitions_count < 3));
    return answer->topics[0].partitions_count == 1;
}
EFFECT(max_request_partition_size_limit, "max.request.partition.size.limit", "1", "2000", NULL, tells_one_partition)

/* ---- what the broker tells of itself */

static bool is_elsewhere(struct effects *e) {
    const struct metadata_response *answer = metadata_of(e, "t", false);
    return span_equal(answer->brokers[0].host, SPAN_LITERAL("kafka.example")) && answer->brokers[0].port == 19092;
}
EFFECT(advertised_listeners, "advertised.listeners", "PLAINTEXT://kafka.example:19092", "PLAINTEXT://10.0.0.1:9092", NULL, is_elsewhere)
static bool stands_in_r7(struct effects *e) { return span_equal(metadata_of(e, "t", false)->brokers[0].rack, SPAN_LITERAL("r7")); }
EFFECT(broker_rack, "broker.rack", "r7", "r8", NULL, stands_in_r7)

static bool tells_unstable(struct effects *e) {
    struct api_versions_request request;
    api_versions_request_init(&request);
    request.client_software_name = request.client_software_version = SPAN_LITERAL("t");
    const struct api_versions_response *answer = rig_ask(&e->client, API_API_VERSIONS, 3, &request);
    bool any = false;
    assert_non_null(answer);
    for (int32_t i = 0; i < answer->api_keys_count; i++) {
        const struct wire_api *api = wire_api(answer->api_keys[i].api_key);
        any |= api->is_unstable && answer->api_keys[i].max_version == api->version_max;
    }
    return any;
}
EFFECT(unstable_api_versions_enable, "unstable.api.versions.enable", "true", "false", NULL, tells_unstable)

/* ---- Fetch */

static const struct fetch_response *fetch(struct effects *e, int32_t epoch) {
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition partition;
    fetch_request_init(&request);
    fetch_request_fetch_topic_init(&topic);
    fetch_request_fetch_partition_init(&partition);
    request.max_bytes = partition.partition_max_bytes = 1 << 20;
    request.session_epoch = epoch;
    request.topics = &topic, request.topics_count = 1;
    topic.topic = SPAN_LITERAL("t");
    topic.partitions = &partition, topic.partitions_count = 1;
    const struct fetch_response *answer = rig_ask(&e->client, API_FETCH, 11, &request);
    assert_non_null(answer);
    return answer;
}
static bool gives_little(struct effects *e) {
    for (int i = 0; i < 8; i++) effects_fill(e, NULL, 500);
    size_t size = fetch(e, -1)->responses[0].partitions[0].records.bytes.size;
    return size <= 1024;
}
EFFECT(fetch_max_bytes, "fetch.max.bytes", "1024", "57671680", NULL, gives_little)
static bool opens_sessions(struct effects *e) { return fetch(e, 0)->session_id != 0; }
EFFECT(fetch_sessions, "max.incremental.fetch.session.cache.slots", "1000", "0", NULL, opens_sessions)

/* ---- connections */

static bool closes_the_idle(struct effects *e) {
    struct rig_client other;
    struct api_versions_request request;
    api_versions_request_init(&request);
    rig_connect(&other, &e->rig, RIG_PORT);
    assert_non_null(rig_ask(&other, API_API_VERSIONS, 0, &request));
    for (int i = 0; i < 10; i++) {
        effects_pass(e, 1000);
        (void)effects_end(e, "t"); /* our own stays */
    }
    bool closed = other.closed;
    rig_disconnect(&other);
    return closed;
}
EFFECT(connections_max_idle_ms, "connections.max.idle.ms", "3000", "600000", NULL, closes_the_idle)

static bool takes_no_large_request(struct effects *e) {
    struct rig_client other;
    uint8_t size[4] = {0, 0, 64, 1}; /* 16,385 bytes will come */
    rig_connect(&other, &e->rig, RIG_PORT);
    rig_send(&other, size, sizeof size);
    effects_pass(e, 200);
    bool closed = other.closed;
    rig_disconnect(&other);
    return closed;
}
EFFECT(socket_request_max_bytes, "socket.request.max.bytes", "16384", "16385", NULL, takes_no_large_request)

/* At max.connections nobody is taken: beyond the kernel's queue connections are refused. */
static bool queues_few(struct effects *e) {
    struct rig_client others[8];
    bool refused = false;
    for (size_t i = 0; i < countof(others); i++) {
        rig_connect(&others[i], &e->rig, RIG_PORT);
        refused |= others[i].closed;
    }
    for (size_t i = 0; i < countof(others); i++) rig_disconnect(&others[i]);
    effects_pass(e, 100);
    return refused;
}
EFFECT(socket_listen_backlog_size, "socket.listen.backlog.size", "3", "50", "max.connections=1\n", queues_few)

/* ---- groups */

static const struct join_group_response *join(struct effects *e, struct rig_client *client, const char *group, int32_t session_ms, time_ms span) {
    struct join_group_request request;
    struct join_group_request_join_group_request_protocol protocol;
    join_group_request_init(&request);
    join_group_request_join_group_request_protocol_init(&protocol);
    request.group_id = span_text(group);
    request.session_timeout_ms = session_ms;
    request.rebalance_timeout_ms = 60000;
    request.member_id = SPAN_LITERAL("");
    request.protocol_type = SPAN_LITERAL("consumer");
    request.protocols = &protocol, request.protocols_count = 1;
    protocol.name = SPAN_LITERAL("range");
    protocol.metadata = SPAN_LITERAL("");
    rig_send_request(client, API_JOIN_GROUP, 3, &request); /* of a time when an id was given at once */
    struct span answer = rig_answer(client, span);
    return answer.data ? rig_decode(client, API_JOIN_GROUP, 3, answer, client->correlation) : NULL;
}
static int16_t find_coordinator(struct effects *e) {
    struct find_coordinator_request request;
    int16_t error = KAFKA_COORDINATOR_NOT_AVAILABLE;
    find_coordinator_request_init(&request);
    request.key = SPAN_LITERAL("g");
    for (int i = 0; error == KAFKA_COORDINATOR_NOT_AVAILABLE && i < 20; i++) {
        const struct find_coordinator_response *answer = rig_ask(&e->client, API_FIND_COORDINATOR, 2, &request);
        assert_non_null(answer);
        error = answer->error_code;
        effects_pass(e, 100);
    }
    return error;
}
static bool refuses_session_of_9_s(struct effects *e) {
    assert_int_equal(find_coordinator(e), KAFKA_NONE);
    const struct join_group_response *answer = join(e, &e->client, "g", 9000, 10000);
    assert_non_null(answer);
    if (answer->error_code) assert_int_equal(answer->error_code, KAFKA_INVALID_SESSION_TIMEOUT);
    return answer->error_code != KAFKA_NONE;
}
EFFECT(group_min_session_timeout_ms, "group.min.session.timeout.ms", "9001", "9000", NULL, refuses_session_of_9_s)
EFFECT(group_max_session_timeout_ms, "group.max.session.timeout.ms", "8999", "9000", NULL, refuses_session_of_9_s)
static bool waits_for_more_members(struct effects *e) {
    assert_int_equal(find_coordinator(e), KAFKA_NONE);
    return join(e, &e->client, "g", 10000, 1000) == NULL;
}
EFFECT(group_initial_rebalance_delay_ms, "group.initial.rebalance.delay.ms", "3000", "0", NULL, waits_for_more_members)
static bool is_full_with_one(struct effects *e) {
    struct rig_client other;
    assert_int_equal(find_coordinator(e), KAFKA_NONE);
    assert_int_equal(join(e, &e->client, "g", 10000, 10000)->error_code, KAFKA_NONE);
    rig_connect(&other, &e->rig, RIG_PORT);
    const struct join_group_response *answer = join(e, &other, "g", 10000, 1000); /* with room it waits for the first one */
    if (answer) assert_int_equal(answer->error_code, KAFKA_GROUP_MAX_SIZE_REACHED);
    rig_disconnect(&other);
    return answer != NULL;
}
EFFECT(group_max_size, "group.max.size", "1", "2", NULL, is_full_with_one)

static int16_t commit(struct effects *e, const char *metadata) {
    struct offset_commit_request request;
    struct offset_commit_request_offset_commit_request_topic topic;
    struct offset_commit_request_offset_commit_request_partition partition;
    assert_int_equal(find_coordinator(e), KAFKA_NONE);
    offset_commit_request_init(&request);
    offset_commit_request_offset_commit_request_topic_init(&topic);
    offset_commit_request_offset_commit_request_partition_init(&partition);
    request.group_id = SPAN_LITERAL("g");
    request.topics = &topic, request.topics_count = 1;
    topic.name = SPAN_LITERAL("t");
    topic.partitions = &partition, topic.partitions_count = 1;
    partition.committed_offset = 5;
    partition.committed_metadata = span_text(metadata);
    for (int i = 0;; i++) {
        const struct offset_commit_response *answer = rig_ask(&e->client, API_OFFSET_COMMIT, 5, &request);
        assert_non_null(answer);
        int16_t error = answer->topics[0].partitions[0].error_code;
        if (error != KAFKA_COORDINATOR_LOAD_IN_PROGRESS || i == 20) return error;
        effects_pass(e, 50);
    }
}
static log_offset committed(struct effects *e) {
    struct offset_fetch_request request;
    struct offset_fetch_request_offset_fetch_request_topic topic;
    int32_t index = 0;
    offset_fetch_request_init(&request);
    offset_fetch_request_offset_fetch_request_topic_init(&topic);
    request.group_id = SPAN_LITERAL("g");
    request.topics = &topic, request.topics_count = 1;
    topic.name = SPAN_LITERAL("t");
    topic.partition_indexes = &index, topic.partition_indexes_count = 1;
    const struct offset_fetch_response *answer = rig_ask(&e->client, API_OFFSET_FETCH, 5, &request);
    assert_non_null(answer);
    assert_int_equal(answer->error_code, KAFKA_NONE);
    return answer->topics[0].partitions[0].committed_offset;
}
static bool refuses_long_metadata(struct effects *e) {
    int16_t error = commit(e, "twelve bytes");
    if (error) assert_int_equal(error, KAFKA_OFFSET_METADATA_TOO_LARGE);
    return error != KAFKA_NONE;
}
EFFECT(offset_metadata_max_bytes, "offset.metadata.max.bytes", "11", "12", NULL, refuses_long_metadata)
static bool forgets_offsets(struct effects *e) {
    assert_int_equal(commit(e, ""), KAFKA_NONE);
    effects_pass(e, 30000);
    assert_int_equal(committed(e), 5);
    effects_pass(e, 60000);
    return committed(e) == -1;
}
EFFECT(offsets_retention_minutes, "offsets.retention.minutes", "1", "2", "offsets.retention.check.interval.ms=1000\n", forgets_offsets)
EFFECT(offsets_retention_check_interval_ms, "offsets.retention.check.interval.ms", "1000", "600000", "offsets.retention.minutes=1\n", forgets_offsets)

static bool has_five_partitions(struct effects *e) {
    assert_int_equal(find_coordinator(e), KAFKA_NONE);
    return metadata_of(e, "__consumer_offsets", false)->topics[0].partitions_count == 5;
}
EFFECT(offsets_topic_num_partitions, "offsets.topic.num.partitions", "5", "3", NULL, has_five_partitions)
static bool has_no_groups(struct effects *e) { return find_coordinator(e) != KAFKA_NONE; }
EFFECT(offsets_topic_replication_factor, "offsets.topic.replication.factor", "2", "1", NULL, has_no_groups)
/* More than a megabyte of commits: the topic is made with its own size of segments. */
static bool rolls_offsets(struct effects *e) {
    char text[4000];
    memset(text, 'm', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (int i = 0; i < 300; i++) assert_int_equal(commit(e, text), KAFKA_NONE);
    return effects_files(e, "__consumer_offsets-0", ".log") > 1 || effects_files(e, "__consumer_offsets-1", ".log") > 1;
}
EFFECT(offsets_topic_segment_bytes, "offsets.topic.segment.bytes", "1048576", "104857600", "log.cleaner.enable=false\n", rolls_offsets)
static bool packs_offsets(struct effects *e) {
    char text[4000];
    int64_t size = 0;
    memset(text, 'm', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(commit(e, text), KAFKA_NONE);
    for (int i = 0; i < 2; i++) {
        char topic[64];
        snprintf(topic, sizeof topic, "__consumer_offsets-%d/00000000000000000000.log", i);
        uint8_t codec = 0;
        char path[80];
        snprintf(path, sizeof path, "/data/%s", topic);
        if (sim_disk_peek(sim_host_disk(e->rig.hosts[RIG_NODE]), path, &codec, 1, 22) == 1) size |= codec;
    }
    return (size & 7) == COMPRESSION_ZSTD;
}
EFFECT(offsets_topic_compression_codec, "offsets.topic.compression.codec", "4", "0", NULL, packs_offsets)

/* ---- checkpoints: the end of "t" is in the file after some seconds */

static bool files_recovery_point(struct effects *e) {
    effects_fill(e, NULL, 10);
    effects_pass(e, 200);
    effects_fill(e, NULL, 10); /* in a segment of its own: what is before it is safe */
    effects_pass(e, 5000);
    return effects_checkpoint(e, "recovery-point-offset-checkpoint", "\nt 0 1\n");
}
static bool files_high_watermark(struct effects *e) {
    effects_fill(e, NULL, 10);
    effects_pass(e, 8000);
    return effects_checkpoint(e, "replication-offset-checkpoint", "\nt 0 1\n");
}
EFFECT(flush_offset_checkpoint_interval_ms, "log.flush.offset.checkpoint.interval.ms", "1000", "60000", "log.roll.ms=100\n", files_recovery_point)
EFFECT(high_watermark_checkpoint_interval_ms, "replica.high.watermark.checkpoint.interval.ms", "1000", "60000", "log.flush.offset.checkpoint.interval.ms=60000\n", files_high_watermark)

/* With five megabytes left on the disk. */
static bool keeps_ten(struct effects *e) {
    struct sim_disk *disk = sim_host_disk(e->rig.hosts[RIG_NODE]);
    effects_fill(e, NULL, 10);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + 5000000);
    effects_pass(e, 15000);
    struct effects_answer answer = effects_produce(e, &(struct effects_record){.value = SPAN_LITERAL("x")});
    if (answer.error) assert_int_equal(answer.error, KAFKA_KAFKA_STORAGE_ERROR);
    return answer.error != KAFKA_NONE;
}
EFFECT(moldau_disk_reserve, "moldau.disk.reserve", "10000000", "0", NULL, keeps_ten)

/* ---- the metadata log */

#define METADATA "__cluster_metadata-0"
static void alter_much(struct effects *e, int times, size_t bytes) {
    char *value = arena_alloc(&e->rig.arena, bytes + 8);
    assert_non_null(value);
    for (int i = 0; i < times; i++) {
        size_t size = (size_t)sprintf(value, "%d:1", i);
        while (size + 4 < bytes) size += (size_t)sprintf(value + size, ",0:%zu", size % 10);
        effects_set(e, LEVEL_TOPIC, "follower.replication.throttled.replicas", value);
    }
}
static bool makes_snapshots(struct effects *e) {
    uint32_t before = effects_files(e, METADATA, ".checkpoint");
    alter_much(e, 10, 2000);
    effects_pass(e, 6000);
    return effects_files(e, METADATA, ".checkpoint") > before;
}
EFFECT(metadata_snapshot_bytes, "metadata.log.max.record.bytes.between.snapshots", "10000", "1000000", NULL, makes_snapshots)
EFFECT(metadata_snapshot_interval_ms, "metadata.log.max.snapshot.interval.ms", "3000", "3600000", NULL, makes_snapshots)
static bool rolls_metadata(struct effects *e) {
    alter_much(e, 300, 30000);
    return effects_files(e, METADATA, ".log") > 1;
}
EFFECT(metadata_log_segment_bytes, "metadata.log.segment.bytes", "8388608", "1073741824", NULL, rolls_metadata)
/* Of the snapshots that were made only the newest are left. */
static bool drops_snapshots(struct effects *e) {
    for (int i = 0; i < 5; i++) {
        alter_much(e, 6, 2000);
        effects_pass(e, 20000);
    }
    effects_pass(e, 60000);
    uint32_t left = effects_files(e, METADATA, ".checkpoint");
    assert_true(left > 0);
    return left <= 2;
}
EFFECT(metadata_max_retention_bytes, "metadata.max.retention.bytes", "1", "100000000", "metadata.log.max.record.bytes.between.snapshots=8000\n", drops_snapshots)
EFFECT(metadata_max_retention_ms, "metadata.max.retention.ms", "10000", "600000000", "metadata.log.max.record.bytes.between.snapshots=8000\n", drops_snapshots)
static bool stands_still(struct effects *e) {
    struct control_sample before = {0}, after = {0};
    server_sample(e->rig.server, &before);
    effects_pass(e, 10000);
    server_sample(e->rig.server, &after);
    return after.raft_end - before.raft_end < 3;
}
EFFECT(metadata_max_idle_interval_ms, "metadata.max.idle.interval.ms", "60000", "500", NULL, stands_still)

/* ---- the broker's life in the cluster */

/* A directory that has failed is told with the next heartbeat: then its partition has no leader. */
static bool tells_soon(struct effects *e) {
    struct log_dirs *dirs = server_node(e->rig.server)->dirs;
    for (int i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof name, "d%d", i);
        rig_topic(&e->client, name, 4);
        for (partition_index p = 0; p < 4; p++) assert_int_equal(rig_produce(&e->client, name, p, 1, 10, NULL), KAFKA_NONE);
    }
    effects_pass(e, 10000);
    log_dir_fail(log_dirs_at(dirs, 1));
    effects_pass(e, 1500);
    uint32_t without = 0;
    for (int i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof name, "d%d", i);
        const struct metadata_response *answer = metadata_of(e, name, false);
        for (int32_t p = 0; p < 4; p++) without += answer->topics[0].partitions[p].leader_id == -1;
    }
    return without > 0;
}
/* The node cannot stop cleanly with a directory that has failed. */
static bool heartbeats(const char *interval) {
    struct effects e;
    char lines[128];
    snprintf(lines, sizeof lines, "log.dirs=/data,/more\nbroker.heartbeat.interval.ms=%s\n", interval);
    effects_open(&e, 1, lines);
    bool soon = tells_soon(&e);
    rig_disconnect(&e.client);
    node_rig_kill(&e.rig);
    node_rig_close(&e.rig);
    return soon;
}
TEST(effect_of_broker_heartbeat_interval_ms) {
    assert_true(heartbeats("200"));
    assert_false(heartbeats("8000"));
}
