/* What each setting of a topic does on a running node, and that the stronger level holds at once: the topic's own, the broker's,
 * that of all brokers, the file's. Each test is one ladder (server/effects_rig.h), or one line of a file.
 */
#include "server/effects_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <stdio.h>
#include <string.h>

#define FOR_EVER "9223372036854775807"
#define QUICK "log.retention.check.interval.ms=1000\nlog.cleaner.backoff.ms=1000\n"
#define COMPACTED QUICK "log.cleanup.policy=compact\nlog.roll.ms=100\n"
#define EFFECT(name, ...) TEST(effect_of_##name) { effects_climb(&(struct effects_ladder){__VA_ARGS__}); }

static char unique_key[32];
static const char *unique(struct effects *e, const char *what) {
    snprintf(unique_key, sizeof unique_key, "%s-%u", what, e->turns);
    return unique_key;
}

/* ---- retention */

/* A record two seconds old and more is gone. */
static bool loses_old_records(struct effects *e) {
    effects_fill(e, "k", 100);
    effects_pass(e, 6000);
    return effects_start(e, "t") == effects_end(e, "t");
}
EFFECT(retention_ms, "retention.ms", "log.retention.ms", "2000", "-1", QUICK, loses_old_records)

/* Of old segments no more than the last one's bytes stay. */
static bool loses_large_logs(struct effects *e) {
    log_offset first = effects_fill(e, NULL, 1000);
    for (int i = 0; i < 3; i++) {
        effects_pass(e, 200);
        effects_fill(e, NULL, 1000);
    }
    effects_pass(e, 3000);
    return effects_start(e, "t") > first;
}
EFFECT(retention_bytes, "retention.bytes", "log.retention.bytes", "1500", "-1", QUICK "log.roll.ms=100\n", loses_large_logs)

/* A record that is so old by its own time goes at the next look. */
static bool loses_record_of(struct effects *e, time_ms age) {
    assert_int_equal(effects_produce(e, &(struct effects_record){.value = SPAN_LITERAL("x"), .at_ms = effects_now(e) - age}).error, KAFKA_NONE);
    effects_pass(e, 4000);
    return effects_start(e, "t") == effects_end(e, "t");
}
static bool loses_hours(struct effects *e) { return loses_record_of(e, 90 * 60000); }
static bool loses_minutes(struct effects *e) { return loses_record_of(e, 90 * 1000); }
/* log.retention.hours, and the minutes that are stronger. */
TEST(effect_of_retention_hours_and_minutes) {
    effects_of_file("log.retention.hours", "1", "2", QUICK, loses_hours);
    effects_of_file("log.retention.minutes", "1", "2", QUICK, loses_minutes);
    effects_of_file("log.retention.minutes", "1", "180", QUICK "log.retention.hours=1\n", loses_hours);
}
static bool loses_in_time(struct effects *e) { return loses_record_of(e, 10000); }
/* log.retention.check.interval.ms: with a look in ten minutes the record is still there. */
TEST(effect_of_retention_check_interval) {
    effects_of_file("log.retention.check.interval.ms", "1000", "600000", "log.retention.ms=1000\n", loses_in_time);
}

/* What was deleted is gone from the disk three seconds later. */
static bool removes_soon(struct effects *e) {
    struct delete_records_request request;
    struct delete_records_request_delete_records_topic topic;
    struct delete_records_request_delete_records_partition partition;
    log_offset first = effects_fill(e, NULL, 100);
    effects_pass(e, 200);
    log_offset next = effects_fill(e, NULL, 100);
    delete_records_request_init(&request);
    delete_records_request_delete_records_topic_init(&topic);
    delete_records_request_delete_records_partition_init(&partition);
    request.topics = &topic, request.topics_count = 1;
    request.timeout_ms = 5000;
    topic.name = SPAN_LITERAL("t");
    topic.partitions = &partition, topic.partitions_count = 1;
    partition.offset = next;
    const struct delete_records_response *answer = rig_ask(&e->client, API_DELETE_RECORDS, 2, &request);
    assert_int_equal(answer->topics[0].partitions[0].error_code, KAFKA_NONE);
    effects_pass(e, 300);
    assert_false(effects_segment(e, "t", first));
    assert_true(effects_file(e, "t-0/%020lld.log.deleted", (long long)first) >= 0);
    effects_pass(e, 3000);
    return effects_file(e, "t-0/%020lld.log.deleted", (long long)first) < 0;
}
EFFECT(file_delete_delay_ms, "file.delete.delay.ms", "log.segment.delete.delay.ms", "1000", "100000", QUICK "log.roll.ms=100\n", removes_soon)

/* ---- segments */

static bool rolls_by_size(struct effects *e) {
    effects_fill(e, NULL, 600000);
    log_offset second = effects_fill(e, NULL, 600000), third = effects_fill(e, NULL, 600000);
    return effects_segment(e, "t", second) || effects_segment(e, "t", third);
}
EFFECT(segment_bytes, "segment.bytes", "log.segment.bytes", "1048576", "1073741824", NULL, rolls_by_size)

static bool rolls_by_time(struct effects *e) {
    effects_fill(e, NULL, 10);
    effects_pass(e, 300);
    return effects_segment(e, "t", effects_fill(e, NULL, 10));
}
EFFECT(segment_ms, "segment.ms", "log.roll.ms", "100", "100000000", NULL, rolls_by_time)

/* Records of a night, one every six minutes by their own time: after the first new segment, does another begin early? */
static bool rolls_within(struct effects *e, time_ms pace, int count, time_ms whole) {
    time_ms at = effects_now(e) - pace * count, last = -1;
    bool early = false;
    for (int i = 0; i < count; i++, at += pace) {
        struct effects_answer answer = effects_produce(e, &(struct effects_record){.value = SPAN_LITERAL("x"), .at_ms = at});
        assert_int_equal(answer.error, KAFKA_NONE);
        if (!effects_segment(e, "t", answer.base)) continue;
        early |= last >= 0 && at - last < whole - pace;
        last = at;
    }
    assert_true(last >= 0);
    return early;
}
static bool rolls_within_hours(struct effects *e) { return rolls_within(e, 6 * 60000, 150, 3600000); }
static bool rolls_hourly(struct effects *e) {
    time_ms at = effects_now(e) - 100 * 60000;
    assert_int_equal(effects_produce(e, &(struct effects_record){.value = SPAN_LITERAL("x"), .at_ms = at}).error, KAFKA_NONE);
    return effects_segment(e, "t", effects_produce(e, &(struct effects_record){.value = SPAN_LITERAL("x"), .at_ms = at + 70 * 60000}).base);
}
TEST(effect_of_roll_hours) { effects_of_file("log.roll.hours", "1", "2", NULL, rolls_hourly); }
/* The jitter takes up to all of a segment's time off it; it is drawn for each new segment. */
static bool rolls_early(struct effects *e) {
    time_ms last = -1, begin = effects_now(e);
    bool early = false;
    for (int i = 0; i < 60; i++) {
        log_offset base = effects_fill(e, NULL, 10);
        time_ms now = effects_now(e);
        if (effects_segment(e, "t", base)) {
            early |= last >= 0 && now - last < 90000;
            last = now;
        }
        effects_pass(e, 10000);
    }
    assert_true(last > begin);
    return early;
}
EFFECT(segment_jitter_ms, "segment.jitter.ms", "log.roll.jitter.ms", "99000", "0", "log.roll.ms=100000\n", rolls_early)
TEST(effect_of_roll_jitter_hours) { effects_of_file("log.roll.jitter.hours", "1", "0", "log.roll.hours=1\n", rolls_within_hours); }

/* An index of time with room for two entries, one for each batch: eight batches are several segments. (One may be full from before.) */
static bool rolls_by_index(struct effects *e) {
    int rolled = 0;
    for (int i = 0; i < 8; i++) rolled += effects_segment(e, "t", effects_fill(e, NULL, 100));
    return rolled > 1;
}
EFFECT(segment_index_bytes, "segment.index.bytes", "log.index.size.max.bytes", "36", "10485760", "log.index.interval.bytes=0\n", rolls_by_index)
EFFECT(index_interval_bytes, "index.interval.bytes", "log.index.interval.bytes", "0", "100000000", "log.index.size.max.bytes=36\n", rolls_by_index)

/* ---- syncs */

/* Is the newest segment on the platter as it is seen? */
static bool is_synced(struct effects *e) {
    static uint8_t seen[1 << 16], kept[1 << 16];
    struct sim_disk *disk = sim_host_disk(e->rig.hosts[RIG_NODE]);
    int64_t size = sim_disk_peek(disk, "/data/t-0/00000000000000000000.log", seen, sizeof seen, 0);
    int64_t durable = sim_disk_peek_durable(disk, "/data/t-0/00000000000000000000.log", kept, sizeof kept, 0);
    assert_true(size > 0);
    return durable == size && memcmp(seen, kept, (size_t)size) == 0;
}
static bool leaves_it_to_the_page_cache(struct effects *e) {
    effects_fill(e, NULL, 100);
    return !is_synced(e);
}
EFFECT(flush_messages, "flush.messages", "log.flush.interval.messages", FOR_EVER, "1", NULL, leaves_it_to_the_page_cache)
/* moldau.durability, where nothing says more. */
TEST(effect_of_moldau_durability) { effects_of_file("moldau.durability", "page-cache", "fsync", NULL, leaves_it_to_the_page_cache); }

static bool syncs_after_a_second(struct effects *e) {
    effects_fill(e, NULL, 100);
    assert_false(is_synced(e));
    effects_pass(e, 2000);
    return is_synced(e);
}
EFFECT(flush_ms, "flush.ms", "log.flush.interval.ms", "500", FOR_EVER, "moldau.durability=page-cache\nlog.flush.offset.checkpoint.interval.ms=10000000\n", syncs_after_a_second)
TEST(effect_of_flush_scheduler_interval) {
    effects_of_file("log.flush.scheduler.interval.ms", "500", FOR_EVER, "moldau.durability=page-cache\nlog.flush.offset.checkpoint.interval.ms=10000000\n", syncs_after_a_second);
}

/* ---- compaction: a key that is new with each probe, there twice in segments that are full */

static void write_twice(struct effects *e, const char *key) {
    effects_fill(e, key, 20);
    effects_pass(e, 150);
    effects_fill(e, key, 20);
    for (int i = 0; i < 2; i++) {
        char filler[32];
        snprintf(filler, sizeof filler, "f-%u-%d", e->turns, i);
        effects_pass(e, 150);
        effects_fill(e, filler, 20);
    }
}
static bool is_compacted(struct effects *e) {
    const char *key = unique(e, "k");
    write_twice(e, key);
    effects_pass(e, 6000);
    return effects_count(e, "t", key) == 1;
}
static bool is_left(struct effects *e) { return !is_compacted(e); }

static bool wants_keys(struct effects *e) {
    struct effects_answer answer = effects_produce(e, &(struct effects_record){.value = SPAN_LITERAL("x")});
    if (answer.error) assert_int_equal(answer.error, KAFKA_INVALID_RECORD);
    return answer.error != KAFKA_NONE;
}
EFFECT(cleanup_policy, "cleanup.policy", "log.cleanup.policy", "compact", "delete", NULL, wants_keys)
/* A policy of both compacts, and loses what is old besides; `delete` alone does not compact. */
TEST(effect_of_cleanup_policy_on_what_is_there) {
    assert_true(effects_with("log.cleanup.policy", "compact,delete", QUICK "log.roll.ms=100\nlog.cleaner.min.cleanable.ratio=0\n", is_compacted));
    assert_true(effects_with("log.cleanup.policy", "compact,delete", QUICK "log.roll.ms=100\nlog.retention.ms=2000\n", loses_old_records));
    assert_false(effects_with("log.cleanup.policy", "delete", QUICK "log.roll.ms=100\nlog.cleaner.min.cleanable.ratio=0\n", is_compacted));
    assert_false(effects_with("log.cleanup.policy", "compact", QUICK "log.roll.ms=100\nlog.retention.ms=2000\n", loses_old_records));
}
EFFECT(min_cleanable_dirty_ratio, "min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", "0", "1", COMPACTED, is_compacted)
EFFECT(min_compaction_lag_ms, "min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", "10000000", "0", COMPACTED "log.cleaner.min.cleanable.ratio=0\n", is_left)
EFFECT(max_compaction_lag_ms, "max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", "2000", FOR_EVER, COMPACTED "log.cleaner.min.cleanable.ratio=1\n", is_compacted)

/* A tombstone goes with the cleanings that come after its time. */
static bool forgets_tombstones(struct effects *e) {
    const char *key = unique(e, "gone");
    effects_fill(e, key, 20);
    effects_pass(e, 150);
    assert_int_equal(effects_produce(e, &(struct effects_record){.key = key}).error, KAFKA_NONE);
    for (int i = 0; i < 3; i++) {
        char filler[32];
        snprintf(filler, sizeof filler, "f-%u-%d", e->turns, i);
        effects_pass(e, 150);
        effects_fill(e, filler, 20);
        effects_pass(e, 3000);
    }
    assert_true(effects_count(e, "t", key) <= 1);
    return effects_count(e, "t", key) == 0;
}
EFFECT(delete_retention_ms, "delete.retention.ms", "log.cleaner.delete.retention.ms", "100", "100000000", COMPACTED "log.cleaner.min.cleanable.ratio=0\n", forgets_tombstones)

/* ---- what is taken, and how it is kept */

static bool refuses(struct effects *e, const struct effects_record *record, int16_t error) {
    struct effects_answer answer = effects_produce(e, record);
    if (answer.error) assert_int_equal(answer.error, error);
    return answer.error != KAFKA_NONE;
}
static const uint8_t zeros[8000];
static bool refuses_large(struct effects *e) { return refuses(e, &(struct effects_record){.value = span_of(zeros, 2000)}, KAFKA_MESSAGE_TOO_LARGE); }
static bool refuses_unpacked(struct effects *e) {
    return refuses(e, &(struct effects_record){.value = span_of(zeros, 5000), .codec = COMPRESSION_GZIP}, KAFKA_INVALID_RECORD);
}
static bool refuses_early(struct effects *e) {
    return refuses(e, &(struct effects_record){.value = span_of(zeros, 5), .at_ms = effects_now(e) - 600000}, KAFKA_INVALID_TIMESTAMP);
}
static bool refuses_late(struct effects *e) {
    return refuses(e, &(struct effects_record){.value = span_of(zeros, 5), .at_ms = effects_now(e) + 600000}, KAFKA_INVALID_TIMESTAMP);
}
EFFECT(max_message_bytes, "max.message.bytes", "message.max.bytes", "1000", "1048588", NULL, refuses_large)
EFFECT(max_decompressed_message_bytes, "max.decompressed.message.bytes", "max.decompressed.message.bytes", "1000", "1000000", NULL, refuses_unpacked)
EFFECT(message_timestamp_before_max_ms, "message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", "60000", FOR_EVER, NULL, refuses_early)
EFFECT(message_timestamp_after_max_ms, "message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", "60000", "3600000", NULL, refuses_late)

static bool gives_its_own_time(struct effects *e) {
    struct effects_answer answer = effects_produce(e, &(struct effects_record){.value = span_of(zeros, 5), .at_ms = effects_now(e) - 60000});
    assert_int_equal(answer.error, KAFKA_NONE);
    return answer.append_ms > 0;
}
EFFECT(message_timestamp_type, "message.timestamp.type", "log.message.timestamp.type", "LogAppendTime", "CreateTime", NULL, gives_its_own_time)

static uint32_t stored_bytes(struct effects *e, const char *topic, enum compression *codec) {
    struct batch batch;
    uint8_t text[8000];
    for (uint32_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)"the river under the old stone bridge"[(i * i / 7 + i / 13) % 36];
    struct effects_answer answer = effects_produce(e, &(struct effects_record){.topic = topic, .value = span_of(text, sizeof text), .at_ms = 1000000000000});
    assert_int_equal(answer.error, KAFKA_NONE);
    struct span all = effects_fetch(e, topic, answer.base);
    assert_int_equal(batch_next(&all, &batch), ERR_NONE);
    if (codec) *codec = batch_codec(&batch);
    return batch.size;
}
static bool compresses(struct effects *e) {
    enum compression codec;
    stored_bytes(e, "t", &codec);
    return codec == COMPRESSION_ZSTD;
}
EFFECT(compression_type, "compression.type", "compression.type", "zstd", "producer", NULL, compresses)

/* As large as what the acting level made of it at first; the idle one makes something else of it. */
static bool is_like_the_first(struct effects *e) {
    static uint32_t sizes[64];
    sizes[e->turns] = stored_bytes(e, "t", NULL);
    assert_true(e->turns == 1 || sizes[2] != sizes[1]);
    assert_true(sizes[e->turns] == sizes[1] || sizes[e->turns] == sizes[2]);
    return sizes[e->turns] == sizes[1];
}
EFFECT(compression_gzip_level, "compression.gzip.level", "compression.gzip.level", "1", "9", "compression.type=gzip\nlog.retention.ms=-1\n", is_like_the_first)
EFFECT(compression_lz4_level, "compression.lz4.level", "compression.lz4.level", "17", "1", "compression.type=lz4\nlog.retention.ms=-1\n", is_like_the_first)
EFFECT(compression_zstd_level, "compression.zstd.level", "compression.zstd.level", "19", "-50", "compression.type=zstd\nlog.retention.ms=-1\n", is_like_the_first)

/* ---- replicas: a topic of two, whose second broker is known and does not follow */

static void register_second(struct effects *e) {
    struct rig_client controller;
    struct broker_registration_request request;
    struct broker_registration_request_listener listener;
    struct uuid directory = {{7}};
    broker_registration_request_init(&request);
    broker_registration_request_listener_init(&listener);
    request.broker_id = 2;
    request.cluster_id = SPAN_LITERAL("a-node-in-a-test-AAAAA");
    request.incarnation_id = (struct uuid){{9}};
    request.log_dirs = &directory, request.log_dirs_count = 1;
    request.listeners = &listener, request.listeners_count = 1;
    listener.name = SPAN_LITERAL("PLAINTEXT"), listener.host = SPAN_LITERAL("10.0.0.7"), listener.port = 9092;
    request.features = broker_registration_request_feature_array(&e->rig.arena, FEATURES_COUNT);
    request.features_count = FEATURES_COUNT;
    for (int i = 0; i < FEATURES_COUNT; i++)
        request.features[i] = (struct broker_registration_request_feature){span_text(features[i].name), features[i].min, features[i].max};
    rig_connect(&controller, &e->rig, RIG_CONTROLLER_PORT);
    const struct broker_registration_response *answer = rig_ask(&controller, API_BROKER_REGISTRATION, 4, &request);
    assert_non_null(answer);
    assert_int_equal(answer->error_code, KAFKA_NONE);
    rig_disconnect(&controller);
}
static void make_topic_of_two(struct effects *e) {
    struct create_topics_request request;
    struct create_topics_request_creatable_topic topic;
    struct create_topics_request_creatable_replica_assignment assignment;
    int32_t brokers[] = {1, 2};
    register_second(e);
    create_topics_request_init(&request);
    create_topics_request_creatable_topic_init(&topic);
    create_topics_request_creatable_replica_assignment_init(&assignment);
    topic.name = SPAN_LITERAL("two");
    topic.num_partitions = topic.replication_factor = -1;
    topic.assignments = &assignment, topic.assignments_count = 1;
    assignment.broker_ids = brokers, assignment.broker_ids_count = 2;
    request.topics = &topic, request.topics_count = 1;
    request.timeout_ms = 10000;
    const struct create_topics_response *answer = rig_ask(&e->client, API_CREATE_TOPICS, 7, &request);
    assert_non_null(answer);
    assert_int_equal(answer->topics[0].error_code, KAFKA_NONE);
    effects_pass(e, 200);
    e->name = "two";
}
static bool wants_two_in_sync(struct effects *e) {
    struct effects_answer answer = effects_produce(e, &(struct effects_record){.topic = "two", .value = SPAN_LITERAL("x")});
    if (answer.error) assert_int_equal(answer.error, KAFKA_NOT_ENOUGH_REPLICAS);
    return answer.error != KAFKA_NONE;
}
static void set_elr(struct effects *e, int16_t level) {
    struct update_features_request request;
    struct update_features_request_feature_update_key update;
    update_features_request_init(&request);
    update_features_request_feature_update_key_init(&update);
    request.feature_updates = &update, request.feature_updates_count = 1;
    update.feature = SPAN_LITERAL("eligible.leader.replicas.version");
    update.max_version_level = level;
    update.upgrade_type = level ? 1 : 2;
    const struct update_features_response *answer = rig_ask(&e->client, API_UPDATE_FEATURES, 1, &request);
    assert_non_null(answer);
    assert_int_equal(answer->error_code, KAFKA_NONE);
    effects_pass(e, 100);
}
/* min.insync.replicas: in the file, of all brokers, of the broker (which may have one where there are no eligible leaders), of the
 * topic. */
TEST(effect_of_min_insync_replicas) {
    struct effects e;
    effects_open(&e, 1, "min.insync.replicas=2\n");
    make_topic_of_two(&e);
    assert_true(wants_two_in_sync(&e));
    set_elr(&e, 0);
    effects_set(&e, LEVEL_ALL, "min.insync.replicas", NULL);
    assert_true(wants_two_in_sync(&e));
    effects_set(&e, LEVEL_ALL, "min.insync.replicas", "1");
    assert_false(wants_two_in_sync(&e));
    effects_set(&e, LEVEL_ONE, "min.insync.replicas", "2");
    assert_true(wants_two_in_sync(&e));
    effects_set(&e, LEVEL_TOPIC, "min.insync.replicas", "1");
    assert_false(wants_two_in_sync(&e));
    effects_set(&e, LEVEL_TOPIC, "min.insync.replicas", NULL);
    assert_true(wants_two_in_sync(&e));
    effects_set(&e, LEVEL_ONE, "min.insync.replicas", NULL);
    assert_false(wants_two_in_sync(&e));
    effects_close(&e);
}
