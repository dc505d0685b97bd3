#include "server/effects_rig.h"
#include "broker/partition.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void effects_close(struct effects *e) {
    rig_disconnect(&e->client);
    node_rig_stop(&e->rig);
    node_rig_close(&e->rig);
}

void effects_open(struct effects *e, uint32_t shards, const char *settings) {
    for (uint64_t seed = 11;; seed++) {
        memset(e, 0, sizeof *e);
        node_rig_open(&e->rig, seed, shards, settings);
        rig_connect(&e->client, &e->rig, RIG_PORT);
        e->topic = rig_topic(&e->client, "t", 1);
        if (shards == 1 || partition_shard(server_node(e->rig.server)->brokers[0], e->topic, 0) != 0) break;
        effects_close(e); /* shard 0 hears of everything first: another one shall */
    }
    e->name = "t";
    e->wall_ms = io_wall(sim_process_io(e->rig.process, 0)) - io_now(e->rig.io) / NS_PER_MS; /* each host has a clock of its own */
}

int16_t effects_try(struct effects *e, enum effects_level level, const char *key, const char *value) {
    int16_t error = rig_alter(&e->client, level == LEVEL_TOPIC ? CONFIG_TOPIC : CONFIG_BROKER,
                              level == LEVEL_TOPIC ? e->name : level == LEVEL_ONE ? "1" : "", key, value);
    node_rig_for(&e->rig, 50); /* it is in the image of every shard */
    return error;
}

void effects_set(struct effects *e, enum effects_level level, const char *key, const char *value) {
    int16_t error = effects_try(e, level, key, value);
    if (error) fail_msg("%s=%s at level %d: error %d", key, value ? value : "(taken back)", level, error);
}

static void expect(struct effects *e, const struct effects_ladder *ladder, const char *where, bool acts) {
    e->turns++;
    if (ladder->probe(e) != acts)
        fail_msg("%s: %s: %s", ladder->key ? ladder->key : ladder->topic_key, where, acts ? "is without effect" : "acts though a stronger one says otherwise");
}

void effects_climb(const struct effects_ladder *ladder) {
    struct effects e;
    char lines[2048];
    snprintf(lines, sizeof lines, "%s%s%s%s%s", ladder->settings ? ladder->settings : "", ladder->key ? ladder->key : "", ladder->key ? "=" : "",
             ladder->key ? ladder->acting : "", ladder->key ? "\n" : "");
    effects_open(&e, ladder->shards ? ladder->shards : 3, lines);
    if (!ladder->key) {
        expect(&e, ladder, "by default", false);
        effects_set(&e, LEVEL_TOPIC, ladder->topic_key, ladder->acting);
        expect(&e, ladder, "on the topic", true);
        effects_set(&e, LEVEL_TOPIC, ladder->topic_key, NULL);
        expect(&e, ladder, "taken back from the topic", false);
        effects_close(&e);
        return;
    }
    enum effects_level all = ladder->one_broker_only ? LEVEL_ONE : LEVEL_ALL;
    expect(&e, ladder, "in the file", true);
    effects_set(&e, all, ladder->key, ladder->idle);
    expect(&e, ladder, "in the file, below one of all brokers", false);
    if (!ladder->one_broker_only) {
        effects_set(&e, LEVEL_ONE, ladder->key, ladder->acting);
        expect(&e, ladder, "on the broker, above one of all brokers", true);
    } else {
        effects_set(&e, LEVEL_ONE, ladder->key, NULL);
    }
    if (ladder->topic_key) {
        effects_set(&e, LEVEL_TOPIC, ladder->topic_key, ladder->idle);
        expect(&e, ladder, "on the broker, below one of the topic", false);
        effects_set(&e, LEVEL_TOPIC, ladder->topic_key, NULL);
        expect(&e, ladder, "on the broker, when the topic's is taken back", true);
    }
    if (!ladder->one_broker_only) {
        effects_set(&e, LEVEL_ONE, ladder->key, NULL);
        expect(&e, ladder, "taken back from the broker", false);
        effects_set(&e, LEVEL_ALL, ladder->key, NULL);
    }
    expect(&e, ladder, "in the file, when all others are taken back", true);
    effects_close(&e);
}

bool effects_with(const char *key, const char *value, const char *settings, bool (*probe)(struct effects *e)) {
    struct effects e;
    char lines[2048];
    snprintf(lines, sizeof lines, "%s%s=%s\n", settings ? settings : "", key, value);
    effects_open(&e, 1, lines);
    e.turns = 1;
    bool acts = probe(&e);
    effects_close(&e);
    return acts;
}

void effects_of_file(const char *key, const char *acting, const char *idle, const char *settings, bool (*probe)(struct effects *e)) {
    if (!effects_with(key, acting, settings, probe)) fail_msg("%s=%s is without effect", key, acting);
    if (effects_with(key, idle, settings, probe)) fail_msg("%s=%s acts like %s", key, idle, acting);
}

/* ---- what probes do */

time_ms effects_now(const struct effects *e) { return io_now(e->rig.io) / NS_PER_MS + e->wall_ms; }
void effects_pass(struct effects *e, time_ms span) { node_rig_for(&e->rig, span); }

struct effects_answer effects_produce(struct effects *e, const struct effects_record *record) {
    struct batch_builder builder;
    struct batch_options options;
    struct codecs codecs;
    struct slab *slab;
    uint32_t count = record->count ? record->count : 1;
    batch_options_init(&options);
    options.base_offset = 0;
    options.codec = record->codec;
    if (record->producer) {
        options.producer_id = record->producer;
        options.producer_epoch = 0;
        options.base_sequence = record->sequence;
    }
    codecs_init(&codecs, &e->rig.pool);
    batch_builder_init(&builder, &e->rig.pool, count * ((uint32_t)record->value.size + 96) + 512, &options);
    for (uint32_t i = 0; i < count; i++) {
        struct span key = record->key ? span_text(record->key) : (struct span){0};
        assert_int_equal(batch_builder_add(&builder, record->at_ms ? record->at_ms : effects_now(e), key, record->value, NULL, 0), ERR_NONE);
    }
    assert_int_equal(batch_builder_finish(&builder, &codecs, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    codecs_destroy(&codecs);
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data data;
    produce_request_init(&request);
    produce_request_topic_produce_data_init(&topic);
    produce_request_partition_produce_data_init(&data);
    request.acks = record->acks ? record->acks : -1;
    request.timeout_ms = 10000;
    request.topic_data = &topic, request.topic_data_count = 1;
    topic.name = span_text(record->topic ? record->topic : "t");
    topic.partition_data = &data, topic.partition_data_count = 1;
    data.records = (struct wire_records){.bytes = span_of(slab->bytes, slab->used)};
    const struct produce_response *answer = rig_ask(&e->client, API_PRODUCE, 9, &request);
    slab_drop(slab);
    assert_non_null(answer);
    const struct produce_response_partition_produce_response *got = &answer->responses[0].partition_responses[0];
    return (struct effects_answer){got->error_code, got->base_offset, got->log_append_time_ms};
}

log_offset effects_fill(struct effects *e, const char *key, uint32_t bytes) {
    static uint8_t value[1 << 20];
    assert_true(bytes <= sizeof value);
    for (uint32_t i = 0; i < bytes; i++) value[i] = (uint8_t)(i * 7 + e->turns);
    struct effects_answer answer = effects_produce(e, &(struct effects_record){.key = key, .value = span_of(value, bytes)});
    assert_int_equal(answer.error, KAFKA_NONE);
    return answer.base;
}

static log_offset list_offset(struct effects *e, const char *name, int64_t timestamp) {
    struct list_offsets_request request;
    struct list_offsets_request_list_offsets_topic topic;
    struct list_offsets_request_list_offsets_partition partition;
    list_offsets_request_init(&request);
    list_offsets_request_list_offsets_topic_init(&topic);
    list_offsets_request_list_offsets_partition_init(&partition);
    request.topics = &topic, request.topics_count = 1;
    topic.name = span_text(name);
    topic.partitions = &partition, topic.partitions_count = 1;
    partition.timestamp = timestamp;
    const struct list_offsets_response *answer = rig_ask(&e->client, API_LIST_OFFSETS, 5, &request);
    assert_non_null(answer);
    assert_int_equal(answer->topics[0].partitions[0].error_code, KAFKA_NONE);
    return answer->topics[0].partitions[0].offset;
}
log_offset effects_start(struct effects *e, const char *topic) { return list_offset(e, topic, -2); }
log_offset effects_end(struct effects *e, const char *topic) { return list_offset(e, topic, -1); }

struct span effects_fetch(struct effects *e, const char *name, log_offset from) {
    enum { ALL_MAX = 1 << 21 };
    uint8_t *all = arena_alloc(&e->rig.arena, ALL_MAX);
    size_t size = 0;
    assert_non_null(all);
    for (;;) {
        struct fetch_request request;
        struct fetch_request_fetch_topic topic;
        struct fetch_request_fetch_partition partition;
        struct batch batch;
        fetch_request_init(&request);
        fetch_request_fetch_topic_init(&topic);
        fetch_request_fetch_partition_init(&partition);
        request.max_bytes = partition.partition_max_bytes = 1 << 20;
        request.session_epoch = -1;
        request.topics = &topic, request.topics_count = 1;
        topic.topic = span_text(name);
        topic.partitions = &partition, topic.partitions_count = 1;
        partition.fetch_offset = from;
        const struct fetch_response *answer = rig_ask(&e->client, API_FETCH, 11, &request);
        assert_non_null(answer);
        assert_int_equal(answer->responses[0].partitions[0].error_code, KAFKA_NONE);
        struct span rest = answer->responses[0].partitions[0].records.bytes;
        const uint8_t *begin = rest.data;
        log_offset next = from;
        while (batch_next(&rest, &batch) == ERR_NONE) next = batch_next_offset(&batch);
        if (next == from) return span_of(all, size);
        size_t whole = (size_t)(rest.data - begin);
        assert_true(size + whole <= ALL_MAX);
        memcpy(all + size, begin, whole);
        size += whole;
        from = next;
    }
}

uint32_t effects_count(struct effects *e, const char *topic, const char *key) {
    struct span all = effects_fetch(e, topic, effects_start(e, topic));
    struct batch batch;
    uint32_t found = 0;
    while (batch_next(&all, &batch) == ERR_NONE) {
        struct batch_records records;
        struct record_cursor cursor;
        struct record record;
        assert_int_equal(batch_records_open(&batch, NULL, NULL, &records), ERR_NONE);
        record_cursor_init(&cursor, &batch, records.bytes);
        while (record_next(&cursor, &record) == ERR_NONE) found += record.key.data && span_equal(record.key, span_text(key));
        batch_records_close(&records);
    }
    return found;
}

int64_t effects_file(struct effects *e, const char *format, ...) {
    char path[512] = "/data/";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + 6, sizeof path - 6, format, arguments);
    va_end(arguments);
    return sim_disk_peek_size(sim_host_disk(e->rig.hosts[RIG_NODE]), path);
}

struct counting { const char *ending; uint32_t count; };
static int count_name(void *context, const char *name, bool is_directory) {
    struct counting *counting = context;
    size_t size = strlen(name), wanted = strlen(counting->ending);
    counting->count += !is_directory && size >= wanted && strcmp(name + size - wanted, counting->ending) == 0;
    return 0;
}
uint32_t effects_files(struct effects *e, const char *folder, const char *ending) {
    struct io_files files = sim_host_files(e->rig.hosts[RIG_NODE]);
    struct counting counting = {.ending = ending};
    char path[256];
    snprintf(path, sizeof path, "/data/%s", folder);
    int result = files.vtable->list(files.self, path, count_name, &counting);
    assert_true(result == 0 || result == -ENOENT);
    return counting.count;
}

bool effects_checkpoint(struct effects *e, const char *name, const char *line) {
    char path[256], text[4096];
    snprintf(path, sizeof path, "/data/%s", name);
    int64_t size = sim_disk_peek(sim_host_disk(e->rig.hosts[RIG_NODE]), path, text, sizeof text - 1, 0);
    if (size < 0) return false;
    text[size] = 0;
    return strstr(text, line) != NULL;
}

bool effects_segment(struct effects *e, const char *topic, log_offset base) {
    return effects_file(e, "%s-0/%020lld.log", topic, (long long)base) >= 0;
}
