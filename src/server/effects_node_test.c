/* What the settings of a broker do on a running node that can be changed there: of the cleaner, of producers, of connections, of moves
 * and of traces; at once, the broker's own stronger than those of all, and these stronger than the file's.
 */
#include "server/effects_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <stdio.h>
#include <string.h>

#define FOR_EVER "9223372036854775807"
#define COMPACTED "log.cleanup.policy=compact\nlog.roll.ms=100\nlog.cleaner.min.cleanable.ratio=0\n"
#define EFFECT(name, ...) TEST(effect_of_##name) { effects_climb(&(struct effects_ladder){.topic_key = NULL, __VA_ARGS__}); }

/* ---- the cleaner */

/* A key that no probe had before, twice, in segments that are full. */
static void write_twice(struct effects *e, const char *topic, uint32_t bytes, char key[32]) {
    static uint8_t value[1 << 16];
    snprintf(key, 32, "k-%u", e->turns);
    for (int i = 0; i < 3; i++) {
        char filler[32];
        snprintf(filler, sizeof filler, "f-%u", e->turns);
        struct effects_record record = {.topic = topic, .key = i == 2 ? filler : key, .value = span_of(value, bytes)};
        assert_int_equal(effects_produce(e, &record).error, KAFKA_NONE);
        effects_pass(e, 150);
    }
    struct effects_record last = {.topic = topic, .key = "last", .value = span_of(value, 1)};
    assert_int_equal(effects_produce(e, &last).error, KAFKA_NONE);
}
static bool is_left_for(struct effects *e, uint32_t bytes) {
    char key[32];
    write_twice(e, "t", bytes, key);
    effects_pass(e, 20000);
    return effects_count(e, "t", key) > 1;
}
static bool is_left(struct effects *e) { return is_left_for(e, 20); }
/* What a cleaning read and wrote is made up for before the next one. */
static bool large_are_left(struct effects *e) {
    is_left_for(e, 20000);
    e->turns += 20;
    bool left = is_left_for(e, 20000);
    e->turns -= 20;
    return left;
}
EFFECT(cleaner_backoff_ms, .key = "log.cleaner.backoff.ms", .acting = "100000000", .idle = "1000", .settings = COMPACTED, .probe = is_left)
EFFECT(cleaner_io_max_bytes_per_second, .key = "log.cleaner.io.max.bytes.per.second", .acting = "1000", .idle = "1000000000",
       .settings = COMPACTED "log.cleaner.backoff.ms=1000\n", .probe = large_are_left)
TEST(effect_of_cleaner_enable) { effects_of_file("log.cleaner.enable", "false", "true", COMPACTED "log.cleaner.backoff.ms=1000\n", is_left); }

static log_offset clean_end(struct effects *e) {
    char text[4096];
    int64_t size = sim_disk_peek(sim_host_disk(e->rig.hosts[RIG_NODE]), "/data/cleaner-offset-checkpoint", text, sizeof text - 1, 0);
    long long offset = 0;
    if (size < 0) return 0;
    text[size] = 0;
    const char *line = strstr(text, "\nt 0 ");
    return line && sscanf(line, "\nt 0 %lld", &offset) == 1 ? offset : 0;
}
/* 150 keys are more than one cleaning's map can hold: it goes on in further cleanings. */
static bool needs_cleanings(struct effects *e) {
    struct sim_timing timing = sim_timing_default();
    int cleanings = 0;
    effects_set(e, LEVEL_TOPIC, "min.compaction.lag.ms", "100000000"); /* not before all is written */
    for (uint32_t i = 0; i < 150; i++) {
        char key[32];
        snprintf(key, sizeof key, "m-%u-%u", e->turns, i);
        effects_fill(e, key, 10);
        if (i % 50 == 49) effects_pass(e, 150);
    }
    effects_fill(e, "last", 1);
    timing.disk_min = 100 * NS_PER_MS; /* so that each cleaning is seen */
    timing.stall_one_in = 0;
    sim_host_set_timing(e->rig.hosts[RIG_NODE], &timing);
    log_offset end = effects_end(e, "t"), before = clean_end(e);
    effects_set(e, LEVEL_TOPIC, "min.compaction.lag.ms", NULL);
    for (int i = 0; i < 600; i++) {
        effects_pass(e, 100);
        log_offset now = clean_end(e);
        cleanings += now != before;
        before = now;
    }
    timing = sim_timing_default();
    sim_host_set_timing(e->rig.hosts[RIG_NODE], &timing);
    assert_true(before > end - 60);
    return cleanings > 2;
}
EFFECT(cleaner_dedupe_buffer_size, .key = "log.cleaner.dedupe.buffer.size", .acting = "1048577", .idle = "134217728",
       .settings = COMPACTED "log.cleaner.backoff.ms=20000\nlog.flush.offset.checkpoint.interval.ms=50\nlog.cleaner.io.buffer.load.factor=0.001\n", .probe = needs_cleanings)
EFFECT(cleaner_io_buffer_load_factor, .key = "log.cleaner.io.buffer.load.factor", .acting = "0.001", .idle = "0.9",
       .settings = COMPACTED "log.cleaner.backoff.ms=20000\nlog.flush.offset.checkpoint.interval.ms=50\nlog.cleaner.dedupe.buffer.size=1048577\n", .probe = needs_cleanings)

/* Logs of several shards are dirty, and each step takes half a second: is one taken up while another is under way? */
static bool cleans_two(struct effects *e) {
    static const char *const names[] = {"t", "u", "v", "w", "x", "y", "z", "zz"};
    struct sim_timing timing = sim_timing_default();
    char key[32];
    bool both = false;
    timing.stall_one_in = 0;
    sim_host_set_timing(e->rig.hosts[RIG_NODE], &timing);
    for (size_t i = 0; i < countof(names); i++) {
        if (i > 0 && e->turns == 1) rig_topic(&e->client, names[i], 1);
        write_twice(e, names[i], 2000, key);
    }
    timing.disk_min = 500 * NS_PER_MS;
    sim_host_set_timing(e->rig.hosts[RIG_NODE], &timing);
    for (int t = 0; t < 1000; t++) {
        uint32_t at_once = 0;
        char folder[8];
        effects_pass(e, 100);
        for (size_t i = 0; i < countof(names); i++) {
            snprintf(folder, sizeof folder, "%s-0", names[i]);
            at_once += effects_files(e, folder, ".log.cleaned") > 0;
        }
        both |= at_once > 1;
    }
    timing.disk_min = 0;
    sim_host_set_timing(e->rig.hosts[RIG_NODE], &timing);
    for (size_t i = 0; i < countof(names); i++) assert_int_equal(effects_count(e, names[i], key), 1);
    return both;
}
EFFECT(cleaner_threads, .key = "log.cleaner.threads", .acting = "2", .idle = "1",
       .settings = COMPACTED "log.cleaner.backoff.ms=20000\n", .probe = cleans_two)

/* ---- producers */

static uint32_t producers(struct effects *e) {
    struct describe_producers_request request;
    struct describe_producers_request_topic_request topic;
    int32_t index = 0;
    describe_producers_request_init(&request);
    describe_producers_request_topic_request_init(&topic);
    request.topics = &topic, request.topics_count = 1;
    topic.name = SPAN_LITERAL("t");
    topic.partition_indexes = &index, topic.partition_indexes_count = 1;
    const struct describe_producers_response *answer = rig_ask(&e->client, API_DESCRIBE_PRODUCERS, 0, &request);
    assert_non_null(answer);
    assert_int_equal(answer->topics[0].partitions[0].error_code, KAFKA_NONE);
    return (uint32_t)answer->topics[0].partitions[0].active_producers_count;
}
static bool forgets_producers(struct effects *e) {
    uint32_t before = producers(e);
    struct effects_record record = {.value = SPAN_LITERAL("x"), .producer = 1000 + e->turns};
    assert_int_equal(effects_produce(e, &record).error, KAFKA_NONE);
    assert_int_equal(producers(e), before + 1);
    effects_pass(e, 8000);
    return producers(e) == 0;
}
EFFECT(producer_id_expiration_ms, .key = "producer.id.expiration.ms", .acting = "2000", .idle = "86400000",
       .settings = "producer.id.expiration.check.interval.ms=500\n", .probe = forgets_producers)
TEST(effect_of_producer_id_expiration_check_interval) {
    effects_of_file("producer.id.expiration.check.interval.ms", "500", "600000", "producer.id.expiration.ms=1000\n", forgets_producers);
}

/* ---- connections */

static bool is_served(struct effects *e, struct rig_client *client, time_ms span) {
    struct api_versions_request request;
    api_versions_request_init(&request);
    rig_connect(client, &e->rig, RIG_PORT);
    if (client->closed) return false;
    rig_send_request(client, API_API_VERSIONS, 0, &request);
    return rig_answer(client, span).size > 0;
}
static bool takes_no_second(struct effects *e) {
    struct rig_client other;
    bool served = is_served(e, &other, 1000);
    rig_disconnect(&other);
    effects_pass(e, 100);
    return !served;
}
/* Ten connections one after the other, when nobody came for some seconds. */
static bool takes_them_slowly(struct effects *e) {
    struct rig_client others[10];
    bool slow = false;
    effects_pass(e, 5000);
    for (size_t i = 0; i < countof(others); i++) slow |= !is_served(e, &others[i], 100);
    for (size_t i = 0; i < countof(others); i++) rig_disconnect(&others[i]);
    effects_pass(e, 20000);
    return slow;
}
EFFECT(max_connections, .key = "max.connections", .acting = "1", .idle = "100", .probe = takes_no_second)
EFFECT(max_connections_per_ip, .key = "max.connections.per.ip", .acting = "1", .idle = "100", .probe = takes_no_second)
EFFECT(max_connection_creation_rate, .key = "max.connection.creation.rate", .acting = "2", .idle = "1000", .probe = takes_them_slowly)
TEST(effect_of_max_connections_per_ip_overrides) {
    struct io_address address;
    char text[IO_ADDRESS_TEXT_MAX], acting[IO_ADDRESS_TEXT_MAX + 8];
    sim_net_address(RIG_CLIENT, 0, &address);
    io_address_text(&address, text);
    *strrchr(text, ':') = 0;
    snprintf(acting, sizeof acting, "%s:1", text);
    effects_climb(&(struct effects_ladder){.key = "max.connections.per.ip.overrides", .acting = acting, .idle = "10.9.9.9:1", .probe = takes_no_second});
}

/* ---- traces: what is told of a Metadata request */

static uint32_t lines_with(const struct effects *e, const char *word, size_t *longest) {
    uint32_t count = 0;
    for (const char *at = e->rig.traces; (at = strstr(at, word)); at++) {
        const char *line = at;
        while (line > e->rig.traces && line[-1] != '\n') line--;
        if (longest && strcspn(line, "\n") > *longest) *longest = strcspn(line, "\n");
        count++;
    }
    return count;
}
static void ask_metadata(struct effects *e) {
    struct metadata_request request;
    metadata_request_init(&request);
    assert_non_null(rig_ask(&e->client, API_METADATA, 9, &request));
}
static bool traces(struct effects *e) {
    memset(e->rig.traces, 0, sizeof e->rig.traces);
    ask_metadata(e);
    return lines_with(e, "answer Metadata", NULL) > 0;
}
EFFECT(trace_apis, .key = "moldau.trace.apis", .acting = "Metadata", .idle = "Heartbeat", .probe = traces)
static bool traces_nothing(struct effects *e) { return !traces(e); }
EFFECT(trace_clients, .key = "moldau.trace.clients", .acting = "nobody", .idle = "rig", .settings = "moldau.trace.apis=Metadata\n", .probe = traces_nothing)
TEST(effect_of_trace_addresses) {
    struct io_address address;
    char text[IO_ADDRESS_TEXT_MAX];
    sim_net_address(RIG_CLIENT, 0, &address);
    io_address_text(&address, text);
    *strrchr(text, ':') = 0;
    effects_climb(&(struct effects_ladder){.key = "moldau.trace.addresses", .acting = "10.9.9.9", .idle = text, .settings = "moldau.trace.apis=Metadata\n", .probe = traces_nothing});
}
static bool traces_short_lines(struct effects *e) {
    size_t longest = 0;
    memset(e->rig.traces, 0, sizeof e->rig.traces);
    ask_metadata(e);
    assert_true(lines_with(e, "answer Metadata", &longest) > 0);
    return longest <= 256;
}
EFFECT(trace_line_bytes, .key = "moldau.trace.line.bytes", .acting = "256", .idle = "4096", .settings = "moldau.trace.apis=Metadata\n", .probe = traces_short_lines)
static bool traces_few_lines(struct effects *e) {
    effects_pass(e, 3000);
    memset(e->rig.traces, 0, sizeof e->rig.traces);
    for (int i = 0; i < 10; i++) ask_metadata(e);
    return lines_with(e, "answer Metadata", NULL) < 10;
}
EFFECT(trace_lines_per_second, .key = "moldau.trace.lines.per.second", .acting = "3", .idle = "1000", .settings = "moldau.trace.apis=Metadata\n", .probe = traces_few_lines)
static bool traces_records(struct effects *e) {
    memset(e->rig.traces, 0, sizeof e->rig.traces);
    assert_int_equal(effects_produce(e, &(struct effects_record){.value = SPAN_LITERAL("the-word")}).error, KAFKA_NONE);
    assert_true(lines_with(e, "request Produce", NULL) == 1);
    return lines_with(e, "the-word", NULL) > 0;
}
EFFECT(trace_records, .key = "moldau.trace.records", .acting = "true", .idle = "false", .settings = "moldau.trace.apis=Produce\n", .probe = traces_records)

/* ---- directories */

static const char *const places[] = {"/data", "/more"};
static bool lies_in(struct effects *e, const char *place) {
    char path[64];
    snprintf(path, sizeof path, "%s/t-0/00000000000000000000.log", place);
    return sim_disk_peek_size(sim_host_disk(e->rig.hosts[RIG_NODE]), path) >= 0;
}
static void move_to(struct effects *e, const char *place) {
    struct alter_replica_log_dirs_request request;
    struct alter_replica_log_dirs_request_alter_replica_log_dir dir;
    struct alter_replica_log_dirs_request_alter_replica_log_dir_topic topic;
    int32_t index = 0;
    alter_replica_log_dirs_request_init(&request);
    alter_replica_log_dirs_request_alter_replica_log_dir_init(&dir);
    alter_replica_log_dirs_request_alter_replica_log_dir_topic_init(&topic);
    request.dirs = &dir, request.dirs_count = 1;
    dir.path = span_text(place);
    dir.topics = &topic, dir.topics_count = 1;
    topic.name = SPAN_LITERAL("t");
    topic.partitions = &index, topic.partitions_count = 1;
    const struct alter_replica_log_dirs_response *answer = rig_ask(&e->client, API_ALTER_REPLICA_LOG_DIRS, 2, &request);
    assert_int_equal(answer->results[0].partitions[0].error_code, KAFKA_NONE);
}
/* A log of 10 MB goes to the other directory and back. What the first move copied is made up for before the second copies: is it
 * not through within some seconds? */
static bool moves_slowly(struct effects *e) {
    for (int i = 0; e->turns == 1 && i < 10; i++) effects_fill(e, NULL, 1 << 20);
    bool from = !lies_in(e, places[0]), done = false;
    for (int way = 0; way < 2; way++) {
        move_to(e, places[way ? from : !from]);
        for (int i = 0; i < 100 && !(done = lies_in(e, places[way ? from : !from])); i++) effects_pass(e, way ? 100 : 1000);
        assert_true(done || way == 1);
    }
    effects_pass(e, 200000);
    assert_true(lies_in(e, places[from]));
    return !done;
}
EFFECT(alter_log_dirs_rate, .key = "replica.alter.log.dirs.io.max.bytes.per.second", .acting = "200000", .idle = "1000000000", .settings = "log.dirs=/data,/more\nmessage.max.bytes=2000000\n", .probe = moves_slowly)

/* After kill -9, with a slow disk: are 96 logs recovered as soon as the first time? */
static bool recovers_as_at_first(struct effects *e) {
    static time_ns first;
    struct sim_timing timing = sim_timing_default();
    timing.stall_one_in = 0;
    if (e->turns == 1) rig_topic(&e->client, "many", 96);
    for (partition_index p = 0; p < 96; p++) assert_int_equal(rig_produce(&e->client, "many", p, 1, 10, NULL), KAFKA_NONE);
    node_rig_kill(&e->rig);
    rig_disconnect(&e->client);
    timing.disk_min = 200 * NS_PER_MS;
    sim_host_set_timing(e->rig.hosts[RIG_NODE], &timing);
    assert_true(node_rig_start(&e->rig) && node_rig_run(&e->rig));
    time_ns begin = io_now(e->rig.io);
    const struct log_metrics *metrics = log_store_metrics(server_node(e->rig.server)->brokers[0]->store);
    while (metrics->recoveries < 96 && io_now(e->rig.io) - begin < 600 * NS_PER_S) effects_pass(e, 10);
    time_ns took = io_now(e->rig.io) - begin;
    timing.disk_min = 0;
    sim_host_set_timing(e->rig.hosts[RIG_NODE], &timing);
    rig_connect(&e->client, &e->rig, RIG_PORT);
    if (e->turns == 1) first = took;
    return took < first + first / 4 && took > first - first / 4;
}
EFFECT(num_recovery_threads, .key = "num.recovery.threads.per.data.dir", .acting = "8", .idle = "4", .settings = "log.retention.ms=-1\n", .probe = recovers_as_at_first, .shards = 1)

/* With every directory cordoned there is no place for a topic. */
static bool refuses_topics(struct effects *e) {
    struct create_topics_request request;
    struct create_topics_request_creatable_topic topic;
    char name[32];
    create_topics_request_init(&request);
    create_topics_request_creatable_topic_init(&topic);
    snprintf(name, sizeof name, "new-%u", e->turns);
    topic.name = span_text(name);
    topic.num_partitions = topic.replication_factor = 1;
    request.topics = &topic, request.topics_count = 1;
    request.timeout_ms = 10000;
    effects_pass(e, 5000);
    const struct create_topics_response *answer = rig_ask(&e->client, API_CREATE_TOPICS, 7, &request);
    assert_non_null(answer);
    return answer->topics[0].error_code != KAFKA_NONE;
}
TEST(effect_of_cordoned_log_dirs) {
    struct effects e;
    effects_open(&e, 1, "log.dirs=/data,/more\n");
    assert_false(refuses_topics(&e));
    effects_set(&e, LEVEL_ONE, "cordoned.log.dirs", "/data,/more");
    e.turns++;
    assert_true(refuses_topics(&e));
    effects_set(&e, LEVEL_ONE, "cordoned.log.dirs", "/data");
    assert_false(refuses_topics(&e));
    effects_close(&e);
}
/* From the file: "t" itself, that every rig makes, has no place then. */
TEST(effect_of_cordoned_log_dirs_in_the_file) {
    struct effects e = {.turns = 1};
    node_rig_open(&e.rig, 12, 1, "cordoned.log.dirs=*\n");
    rig_connect(&e.client, &e.rig, RIG_PORT);
    assert_true(refuses_topics(&e));
    effects_close(&e);
}
