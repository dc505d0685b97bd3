#include "meta/meta_test.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench {
    struct pool pool;
    struct arena arena;
    struct delta *delta;
    struct config_values values;
    char words[512];
    struct text why;
};
static void bench_open(struct bench *b) {
    pool_init(&b->pool, 0, 16);
    arena_init(&b->arena, &b->pool, 0);
    struct image *empty = image_new(&b->pool);
    b->delta = delta_new(&b->pool, empty);
    image_drop(empty);
    config_values_init(&b->values, &b->arena);
    text_init(&b->why, b->words, sizeof b->words);
}
static void bench_close(struct bench *b) {
    delta_free(b->delta);
    arena_destroy(&b->arena);
    pool_destroy(&b->pool);
}
static void set_dynamic(struct bench *b, int8_t type, const char *resource, const char *key, const char *value) {
    struct config_record r = {.resource_type = type, .resource_name = span_text(resource), .name = span_text(key), .value = span_text(value)};
    assert_int_equal(delta_apply_message(b->delta, 4, &r), ERR_NONE);
}
static void assert_span(struct span span, const char *text) {
    if (!text) {
        assert_null(span.data);
        return;
    }
    if (span.size != strlen(text) || memcmp(span.data, text, span.size) != 0) fail_msg("\"%.*s\" is not \"%s\"", (int)span.size, (const char *)span.data, text);
}

/* Every row of the table is sound: its default is allowed by its own rule, its synonyms exist, a name comes once, each
 * has words that say what it does. */
TEST(config_table_is_sound) {
    struct bench b;
    bench_open(&b);
    uint32_t counts[4] = {0};
    for (enum config_scope scope = SCOPE_BROKER; scope <= SCOPE_CLIENT_METRICS; scope++)
        for (const struct config_key *key = NULL; (key = config_next(scope, key));) {
            counts[scope]++;
            assert_ptr_equal(config_find(scope, span_text(key->name)), key);
            if (config_default(key).data && !config_validate(key, config_default(key), &b.why)) fail_msg("%s", b.words);
            if (strlen(key->doc) < 16) fail_msg("%s has no words", key->name);
            struct config_synonym synonyms[CONFIG_SYNONYMS_MAX];
            config_synonyms(&(struct config_view){.broker = -1}, key, SPAN_LITERAL("x"), synonyms); /* asserts that they exist */
        }
    assert_int_equal(counts[SCOPE_TOPIC], 38);
    assert_int_equal(counts[SCOPE_GROUP], 27);
    assert_int_equal(counts[SCOPE_CLIENT_METRICS], 3);
    assert_true(counts[SCOPE_BROKER] >= 300);
    bench_close(&b);
}

struct refusal { enum config_scope scope; const char *key, *value, *why; };
static const struct refusal refusals[] = {
    {SCOPE_TOPIC, "retention.ms", "-2", "retention.ms is \"-2\": allowed are numbers from -1 up"},
    {SCOPE_TOPIC, "retention.ms", "soon", "retention.ms is \"soon\": a whole number of 64 bits is wanted"},
    {SCOPE_TOPIC, "segment.bytes", "1048575", "segment.bytes is \"1048575\": allowed are numbers from 1048576 up"},
    {SCOPE_TOPIC, "segment.bytes", "2147483648", "segment.bytes is \"2147483648\": a whole number of 32 bits is wanted"},
    {SCOPE_TOPIC, "min.cleanable.dirty.ratio", "1.5", "min.cleanable.dirty.ratio is \"1.5\": allowed are numbers from 0 to 1"},
    {SCOPE_TOPIC, "cleanup.policy", "delete,burn", "cleanup.policy is \"delete,burn\": allowed are compact,delete"},
    {SCOPE_TOPIC, "compression.type", "Zstd", "compression.type is \"Zstd\": allowed are uncompressed,zstd,lz4,snappy,gzip,producer"},
    {SCOPE_TOPIC, "compression.gzip.level", "0", "compression.gzip.level is \"0\": allowed are numbers from 1 to 9, and -1"},
    {SCOPE_TOPIC, "preallocate", "yes", "preallocate is \"yes\": allowed are true and false"},
    {SCOPE_TOPIC, "leader.replication.throttled.replicas", "1:x", "leader.replication.throttled.replicas is \"1:x\": allowed are *, or a list of partition:broker"},
    {SCOPE_GROUP, "share.auto.offset.reset", "never", "share.auto.offset.reset is \"never\": allowed are latest, earliest and by_duration: with a duration, like by_duration:PT1H"},
    {SCOPE_BROKER, "process.roles", "broker,driver", "process.roles is \"broker,driver\": allowed are broker,controller"},
    {SCOPE_BROKER, "ssl.keystore.password", NULL, NULL},
    {SCOPE_BROKER, "moldau.durability", "hope", "moldau.durability is \"hope\": allowed are fsync,page-cache"},
};
/* A value that is not allowed is refused by a sentence with the key, the value and what is allowed. */
TEST(config_refuses_by_a_sentence) {
    for (size_t i = 0; i < countof(refusals); i++) {
        char words[256];
        struct text why;
        text_init(&why, words, sizeof words);
        const struct config_key *key = config_find(refusals[i].scope, span_text(refusals[i].key));
        bool fine = config_validate(key, refusals[i].value ? span_text(refusals[i].value) : (struct span){0}, &why);
        assert_int_equal(fine, refusals[i].why == NULL);
        if (refusals[i].why) assert_string_equal(words, refusals[i].why);
    }
}

static const struct { enum config_scope scope; const char *key, *value; } allowed[] = {
    {SCOPE_TOPIC, "retention.ms", "-1"}, {SCOPE_TOPIC, "retention.ms", " 86400000 "}, {SCOPE_TOPIC, "cleanup.policy", "compact, delete"},
    {SCOPE_TOPIC, "cleanup.policy", ""}, {SCOPE_TOPIC, "compression.gzip.level", "-1"}, {SCOPE_TOPIC, "preallocate", "TRUE"},
    {SCOPE_TOPIC, "min.cleanable.dirty.ratio", "5e-1"}, {SCOPE_TOPIC, "leader.replication.throttled.replicas", "0:1, 1:2"},
    {SCOPE_TOPIC, "leader.replication.throttled.replicas", "*"}, {SCOPE_GROUP, "share.auto.offset.reset", "by_duration:PT1H"},
    {SCOPE_BROKER, "group.consumer.migration.policy", "Upgrade"},
};
TEST(config_allows_what_kafka_allows) {
    for (size_t i = 0; i < countof(allowed); i++) {
        char words[256];
        struct text why;
        text_init(&why, words, sizeof words);
        if (!config_validate(config_find(allowed[i].scope, span_text(allowed[i].key)), span_text(allowed[i].value), &why)) fail_msg("%s", words);
    }
}

/* Numbers as Java reads them, to their edges. */
TEST(config_reads_numbers) {
    static const struct { const char *text; bool ok; int64_t value; } integers[] = {
        {"0", true, 0}, {"+5", true, 5}, {" -7\t", true, -7}, {"9223372036854775807", true, INT64_MAX}, {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN}, {"-9223372036854775809", false, 0}, {"", false, 0}, {"-", false, 0}, {"1 2", false, 0}, {"0x1", false, 0}, {"1.0", false, 0}};
    for (size_t i = 0; i < countof(integers); i++) {
        int64_t v = 0;
        assert_int_equal(config_parse_integer(span_text(integers[i].text), &v), integers[i].ok);
        if (integers[i].ok) assert_int_equal(v, integers[i].value);
    }
    static const struct { const char *text; bool ok; double value; } reals[] = {
        {"0.5", true, 0.5}, {".25", true, 0.25}, {"1.", true, 1}, {"-2.5e3", true, -2500}, {"1e-3", true, 0.001}, {"1.7976931348623157E308", true, 1.7976931348623157e308},
        {"0.1", true, 0.1}, {"2.147483647E9", true, 2147483647.0}, {"", false, 0}, {".", false, 0}, {"e5", false, 0}, {"1e", false, 0}, {"1e+", false, 0}, {"1x", false, 0}, {"0e999999999", true, 0}};
    for (size_t i = 0; i < countof(reals); i++) {
        double v = 0;
        assert_int_equal(config_parse_double(span_text(reals[i].text), &v), reals[i].ok);
        if (reals[i].ok) assert_true(v == reals[i].value);
    }
    struct span rest = SPAN_LITERAL(" a, b ,,c"), one;
    const char *items[] = {"a", "b", "", "c"};
    for (int i = 0; i < 4; i++) {
        assert_true(config_list_next(&rest, &one));
        assert_span(one, items[i]);
    }
    assert_false(config_list_next(&rest, &one));
    assert_false(config_list_next(&rest, &one));
    rest = SPAN_LITERAL("  ");
    assert_false(config_list_next(&rest, &one));
}

/* Java's properties: the examples of its documentation and its odd corners, read as java.util.Properties reads them. */
TEST(config_reads_java_properties) {
    struct bench b;
    bench_open(&b);
    struct span file = SPAN_LITERAL(
        "# a comment\n! another \\\nnode.id=1\n"
        "Truth = Beauty\n Truth2:Beauty\nTruth3                    :Beauty\n"
        "fruits    apple, banana, pear, \\\n          cantaloupe, watermelon, \\\n          kiwi, mango\n"
        "cheeses\n"
        "\n   \t\n"
        "path=c:\\\\temp\\\\x\r\n"
        "key\\ with\\=odd\\:signs = v=1:2\r"
        "tab=\\ta\\nb\\qc\n"
        "uni=\\u00e9\\u20ac\\ud83d\\ude00\n"
        "latin=\xe9\n"
        "trail = x  \n"
        "cont\\\n   inued=yes\n"
        "even=a\\\\\n"
        "twice=1\ntwice=2\n"
        "empty=\n"
        "last=end\\");
    assert_int_equal(config_values_read(&b.values, file, &b.why), ERR_NONE);
    static const struct { const char *name, *value; } expected[] = {
        {"node.id", "1"}, {"Truth", "Beauty"}, {"Truth2", "Beauty"}, {"Truth3", "Beauty"},
        {"fruits", "apple, banana, pear, cantaloupe, watermelon, kiwi, mango"}, {"cheeses", ""}, {"path", "c:\\temp\\x"},
        {"key with=odd:signs", "v=1:2"}, {"tab", "\ta\nbqc"}, {"uni", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"}, {"latin", "\xc3\xa9"},
        {"trail", "x  "}, {"continued", "yes"}, {"even", "a\\"}, {"twice", "2"}, {"empty", ""}, {"last", "end"}};
    for (size_t i = 0; i < countof(expected); i++) {
        struct span value;
        if (!config_values_get(&b.values, span_text(expected[i].name), &value)) fail_msg("%s is missing", expected[i].name);
        assert_span(value, expected[i].value);
    }
    assert_int_equal(b.values.count, countof(expected));
    assert_int_equal(config_values_read(&b.values, SPAN_LITERAL("a=1\nb=\\u12G4\n"), &b.why), ERR_CORRUPT);
    assert_string_equal(b.words, "line 2: \\u is not followed by four hexadecimal digits");
    bench_close(&b);
}

/* An empty value is copied without a look at what lies there: its place is the end of exactly so much memory, behind the
 * sanitizer's fence. So values of metadata are packed. */
TEST(config_copies_empty_values) {
    struct pool pool;
    struct arena arena;
    struct config_values values;
    struct span got;
    char *memory = malloc(4);
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    config_values_init(&values, &arena);
    assert_int_equal(config_values_set(&values, SPAN_LITERAL("a"), span_of(memory + 4, 0)), ERR_NONE);
    free(memory);
    assert_true(config_values_get(&values, SPAN_LITERAL("a"), &got));
    assert_int_equal(got.size, 0);
    assert_non_null(got.data);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Every cut and every flipped byte of a file is read without harm. */
TEST(config_reads_any_bytes) {
    struct bench b;
    bench_open(&b);
    struct random random;
    random_seed(&random, 3);
    static const char signs[] = "a=: \\\n\r\tu0#!\xff.";
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[24];
        size_t size = random_below(&random, sizeof bytes + 1);
        for (size_t k = 0; k < size; k++) bytes[k] = (uint8_t)signs[random_below(&random, sizeof signs - 1)];
        config_values_init(&b.values, &b.arena);
        text_reset(&b.why);
        enum err err = config_values_read(&b.values, (struct span){bytes, size}, &b.why);
        assert_true(err == ERR_NONE || err == ERR_CORRUPT);
        arena_reset(&b.arena);
    }
    bench_close(&b);
}

static const struct { const char *file, *why; } files[] = {
    {"node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=C\ncontroller.quorum.voters=1@localhost:9093\n", NULL},
    {"broker.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=C\ncontroller.quorum.bootstrap.servers=localhost:9093\n", NULL},
    {"process.roles=broker\n", "node.id is missing: a number from 0 up is wanted"},
    {"node.id=1\nbroker.id=2\n", "node.id is 1 and broker.id is 2: where both are given they must be equal"},
    {"node.id=1\n", "controller.listener.names is missing: it has no default and must be given"},
    {"node.id=1\ncontroller.listener.names=C\n", "process.roles is missing: it has no default and must be given"},
    {"node.id=1\nprocess.roles=\ncontroller.listener.names=C\n", "process.roles is \"\": allowed are broker,controller"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\n",
     "controller.quorum.bootstrap.servers and controller.quorum.voters are both empty: one of them must name the controllers"},
    {"node.id=-1\n", "node.id is \"-1\": allowed are numbers from 0 up"},
    {"num.partitions=0\n", "num.partitions is \"0\": allowed are numbers from 1 up"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\ngroup.share.min.delivery.count.limit=3\ngroup.share.delivery.count.limit=2\n", "group.share.min.delivery.count.limit is 3: it must not be above group.share.delivery.count.limit, which is 2"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\ngroup.consumer.max.heartbeat.interval.ms=60000\ngroup.consumer.heartbeat.interval.ms=45000\n", "group.consumer.heartbeat.interval.ms is 45000: it must be below group.consumer.session.timeout.ms, which is 45000"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\ngroup.consumer.max.heartbeat.interval.ms=60000\ngroup.consumer.heartbeat.interval.ms=44999\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nconnections.max.idle.ms=100\n", "connection.failed.authentication.delay.ms is 100: it must be below connections.max.idle.ms, which is 100"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nconnections.max.idle.ms=101\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nconnections.max.idle.ms=-1\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nqueued.max.request.bytes=104857599\n", "queued.max.request.bytes is 104857599: allowed are numbers up to 0, for no bound, and from socket.request.max.bytes up, which is 104857600"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nqueued.max.request.bytes=104857600\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.retention.ms=0\n", "log.retention.ms is 0: allowed are -1, for no bound, and numbers from 1 up"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.retention.minutes=0\n", "log.retention.minutes is 0: allowed are -1, for no bound, and numbers from 1 up"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.retention.minutes=5\nlog.retention.hours=0\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.roll.ms=0\n", "log.roll.ms is 0: allowed are numbers from 1 up"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.roll.jitter.ms=-1\n", "log.roll.jitter.ms is -1: allowed are numbers from 0 up"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.cleaner.threads=0\n", "log.cleaner.threads is 0: allowed are numbers from 1 up"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.cleaner.threads=2\nlog.cleaner.dedupe.buffer.size=2097153\n", "log.cleaner.dedupe.buffer.size is 2097153: each of log.cleaner.threads, which is 2, needs more than 1048576"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.cleaner.threads=2\nlog.cleaner.dedupe.buffer.size=2097154\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nmax.connections.per.ip=0\n", "max.connections.per.ip is 0: allowed only where max.connections.per.ip.overrides lets somebody in"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nmax.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:4\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\noffsets.topic.compression.codec=5\n", "offsets.topic.compression.codec is 5: allowed are 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) and 4 (zstd)"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\noffsets.topic.compression.codec=4\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\ngroup.coordinator.rebalance.protocols=consumer\n", "group.coordinator.rebalance.protocols is \"consumer\": classic must be among them"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\ngroup.streams.rack.aware.assignment.tags=a,b,a\n", "group.streams.rack.aware.assignment.tags is \"a,b,a\": a tag is there twice"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.dirs=/a,/b\ncordoned.log.dirs=/b\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.dirs=/a,/b\ncordoned.log.dirs=/c\n", "cordoned.log.dirs: /c is not one of log.dirs"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nlog.dirs=/a,/b\ncordoned.log.dirs=*,/b\n", "cordoned.log.dirs: * stands for all directories, nothing else may stand beside it"},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nbroker.heartbeat.interval.ms=5000\n", NULL},
    {"node.id=1\nprocess.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@h:1\nreplica.fetch.wait.max.ms=40000\n",
     "replica.fetch.wait.max.ms is 40000: it must not be above replica.socket.timeout.ms, which is 30000"},
};
/* A whole file is accepted, or refused by one sentence. */
TEST(config_checks_whole_files) {
    for (size_t i = 0; i < countof(files); i++) {
        struct bench b;
        bench_open(&b);
        assert_int_equal(config_values_read(&b.values, span_text(files[i].file), &b.why), ERR_NONE);
        bool fine = config_values_validate(&b.values, &b.why);
        if (fine != (files[i].why == NULL)) fail_msg("file %zu: %s", i, b.words);
        if (files[i].why) assert_string_equal(b.words, files[i].why);
        bench_close(&b);
    }
}

/* retention.ms of a topic: its own value; else log.retention.ms of the broker, of all brokers, of the file; else minutes,
 * else hours, turned into ms. Each level is put in place from the weakest to the strongest. */
TEST(config_values_come_from_the_strongest_level) {
    struct bench b;
    bench_open(&b);
    struct config_view view = {.values = &b.values, .broker = 1};
    const struct config_key *key = config_find(SCOPE_TOPIC, SPAN_LITERAL("retention.ms"));
    struct span t = SPAN_LITERAL("t");
    enum config_source source;
    struct topic_config config;
#define NOW() do { image_drop(view.image); view.image = delta_current(b.delta); } while (0)
#define EXPECT(text, from, number)                                                                     \
    do {                                                                                               \
        NOW();                                                                                         \
        assert_span(config_value(&view, key, t, &source, &b.arena), text);                             \
        assert_int_equal(source, from);                                                                \
        topic_config_load(&config, &view, t);                                                          \
        assert_int_equal(config.retention_ms, number);                                                 \
    } while (0)
    EXPECT("604800000", SOURCE_DEFAULT, 604800000);
    assert_int_equal(config_values_set(&b.values, SPAN_LITERAL("log.retention.hours"), SPAN_LITERAL("1")), ERR_NONE);
    EXPECT("3600000", SOURCE_STATIC_BROKER, 3600000);
    assert_int_equal(config_values_set(&b.values, SPAN_LITERAL("log.retention.minutes"), SPAN_LITERAL("-1")), ERR_NONE);
    EXPECT("-1", SOURCE_STATIC_BROKER, -1);
    assert_int_equal(config_values_set(&b.values, SPAN_LITERAL("log.retention.ms"), SPAN_LITERAL("5")), ERR_NONE);
    EXPECT("5", SOURCE_STATIC_BROKER, 5);
    set_dynamic(&b, CONFIG_BROKER, "", "log.retention.ms", "6");
    EXPECT("6", SOURCE_DYNAMIC_DEFAULT_BROKER, 6);
    set_dynamic(&b, CONFIG_BROKER, "1", "log.retention.ms", "7");
    set_dynamic(&b, CONFIG_BROKER, "2", "log.retention.ms", "99");
    EXPECT("7", SOURCE_DYNAMIC_BROKER, 7);
    set_dynamic(&b, CONFIG_TOPIC, "t", "retention.ms", "8");
    EXPECT("8", SOURCE_TOPIC, 8);
    struct config_synonym out[CONFIG_SYNONYMS_MAX];
    static const struct { const char *name, *value; enum config_source source; } all[] = {
        {"retention.ms", "8", SOURCE_TOPIC}, {"log.retention.ms", "7", SOURCE_DYNAMIC_BROKER}, {"log.retention.ms", "6", SOURCE_DYNAMIC_DEFAULT_BROKER},
        {"log.retention.ms", "5", SOURCE_STATIC_BROKER}, {"log.retention.minutes", "-1", SOURCE_STATIC_BROKER},
        {"log.retention.hours", "1", SOURCE_STATIC_BROKER}, {"log.retention.hours", "168", SOURCE_DEFAULT}};
    assert_int_equal(config_synonyms(&view, key, t, out), countof(all));
    for (size_t i = 0; i < countof(all); i++) {
        assert_span(out[i].name, all[i].name);
        assert_span(out[i].value, all[i].value);
        assert_int_equal(out[i].source, all[i].source);
    }
    /* A read-only key cannot be changed at run time, whatever was written. */
    set_dynamic(&b, CONFIG_BROKER, "", "num.partitions", "9");
    NOW();
    assert_int_equal(config_number(&view, KEY_num_partitions), 1);
    /* Values that cannot be read count as the default. */
    set_dynamic(&b, CONFIG_TOPIC, "t", "segment.bytes", "big");
    NOW();
    topic_config_load(&config, &view, t);
    assert_int_equal(config.segment_bytes, 1073741824);
    assert_true(config.min_cleanable_dirty_ratio == 0.5);
    assert_span(config.cleanup_policy, "delete");
    assert_false(config.preallocate);
    image_drop(view.image);
    bench_close(&b);
}

/* A group's key comes from the broker's key of the same name with "group." in front. */
TEST(config_of_groups_comes_from_the_broker) {
    struct bench b;
    bench_open(&b);
    struct group_config config;
    struct config_view view = {.values = &b.values, .broker = 1};
    assert_int_equal(config_values_set(&b.values, SPAN_LITERAL("group.consumer.session.timeout.ms"), SPAN_LITERAL("50000")), ERR_NONE);
    set_dynamic(&b, CONFIG_GROUP, "g", "consumer.heartbeat.interval.ms", "6000");
    view.image = delta_current(b.delta);
    group_config_load(&config, &view, SPAN_LITERAL("g"));
    assert_int_equal(config.consumer_session_timeout_ms, 50000);
    assert_int_equal(config.consumer_heartbeat_interval_ms, 6000);
    assert_span(config.share_auto_offset_reset, "latest");
    assert_span(config.streams_assignor_name, "sticky"); /* group.streams.assignors, as Apache Kafka tells it */
    image_drop(view.image);
    bench_close(&b);
}

/* Levels and ranges are Kafka 4.4's. */
TEST(feature_levels_are_those_of_kafka) {
    assert_int_equal(metadata_level_named(SPAN_LITERAL("4.4-IV2"))->level, 33);
    assert_int_equal(metadata_level_named(SPAN_LITERAL("4.4"))->level, 33);
    assert_int_equal(metadata_level_named(SPAN_LITERAL("4.4.1"))->level, 33);
    assert_int_equal(metadata_level_named(SPAN_LITERAL("3.9"))->level, 21);
    assert_int_equal(metadata_level_named(SPAN_LITERAL("4.0"))->level, 25);
    assert_null(metadata_level_named(SPAN_LITERAL("4.5")));
    assert_non_null(metadata_level_named(SPAN_LITERAL("4.5-IV0")));
    assert_null(metadata_level_named(SPAN_LITERAL("4")));
    assert_null(metadata_level_named(SPAN_LITERAL("3.2")));
    assert_null(metadata_level_named(SPAN_LITERAL("4.4.")));
    assert_null(metadata_level(6));
    assert_null(metadata_level(35));
    assert_int_equal(feature_default(feature_find(SPAN_LITERAL("share.version")), 33), 2);
    assert_int_equal(feature_default(feature_find(SPAN_LITERAL("share.version")), 30), 1);
    assert_int_equal(feature_default(feature_find(SPAN_LITERAL("transaction.version")), 23), 0);
    assert_null(feature_find(SPAN_LITERAL("no.such.version")));
    for (size_t i = 1; i < FEATURES_COUNT; i++) assert_true(strcmp(features[i - 1].name, features[i].name) < 0);
}

struct broker_edit {
    bool for_one;
    enum config_op op;
    const char *key, *value;
    enum config_verdict verdict;
};
/* As Apache Kafka 4.4 answers each of these, on a broker whose file says num.io.threads=8 and log.dirs=/a,/b. */
static const struct broker_edit broker_edits[] = {
    {true, CONFIG_SET, "log.retention.ms", "100000", CONFIG_FINE},
    {true, CONFIG_SET, "log.retention.ms", "x", CONFIG_REFUSED},
    {true, CONFIG_SET, "broker.id", "5", CONFIG_REFUSED},
    {true, CONFIG_DELETE, "broker.id", "", CONFIG_FINE},
    {true, CONFIG_SET, "log.retention.hours", "5", CONFIG_REFUSED},
    {true, CONFIG_SET, "advertised.listeners", "PLAINTEXT://a:9", CONFIG_REFUSED},
    {true, CONFIG_SET, "somebody.elses", "1", CONFIG_FINE},
    {true, CONFIG_SET, "num.io.threads", "16", CONFIG_FINE},
    {true, CONFIG_SET, "num.io.threads", "17", CONFIG_REFUSED},
    {true, CONFIG_SET, "num.io.threads", "3", CONFIG_REFUSED},
    {false, CONFIG_SET, "num.io.threads", "1000", CONFIG_REFUSED},
    {false, CONFIG_SET, "num.io.threads", "16", CONFIG_FINE},
    {true, CONFIG_SET, "remote.log.reader.threads", "4", CONFIG_REFUSED},
    {true, CONFIG_SET, "remote.log.reader.threads", "5", CONFIG_FINE},
    {true, CONFIG_SET, "log.cleaner.threads", "0", CONFIG_REFUSED},
    {false, CONFIG_SET, "log.cleaner.dedupe.buffer.size", "1048576", CONFIG_REFUSED},
    {false, CONFIG_SET, "log.cleaner.dedupe.buffer.size", "1048577", CONFIG_FINE},
    {false, CONFIG_SET, "max.connection.creation.rate", "0", CONFIG_REFUSED},
    {true, CONFIG_SET, "listener.name.plaintext.max.connection.creation.rate", "0", CONFIG_REFUSED},
    {true, CONFIG_SET, "listener.name.plaintext.max.connection.creation.rate", "1", CONFIG_FINE},
    {true, CONFIG_SET, "max.connections.per.ip.overrides", "a://b:1", CONFIG_REFUSED},
    {true, CONFIG_SET, "max.connections.per.ip.overrides", "::1:1", CONFIG_FINE},
    {false, CONFIG_SET, "log.retention.ms", "0", CONFIG_REFUSED},
    {false, CONFIG_SET, "log.retention.ms", "-2", CONFIG_FINE},
    {false, CONFIG_SET, "log.roll.ms", "0", CONFIG_REFUSED},
    {false, CONFIG_SET, "log.roll.jitter.ms", "-1", CONFIG_REFUSED},
    {false, CONFIG_SET, "log.cleanup.policy", "compact,compact", CONFIG_REFUSED},
    {false, CONFIG_SET, "log.local.retention.ms", "-1", CONFIG_REFUSED},
    {true, CONFIG_SET, "log.remote.copy.lag.ms", "604800000", CONFIG_FINE},
    {true, CONFIG_SET, "log.remote.copy.lag.ms", "604800001", CONFIG_REFUSED},
    {false, CONFIG_SET, "group.share.assignment.interval.ms", "15000", CONFIG_FINE},
    {false, CONFIG_SET, "group.share.assignment.interval.ms", "15001", CONFIG_REFUSED},
    {true, CONFIG_SET, "config.providers", "file", CONFIG_FINE},
    {true, CONFIG_SET, "metric.reporters", " ", CONFIG_FINE},
    {false, CONFIG_SET, "num.io.threads", "0", CONFIG_REFUSED},
    {true, CONFIG_SET, "ssl.keystore.location", "/x", CONFIG_REFUSED},
    {true, CONFIG_SET, "listener.name.plaintext.ssl.keystore.location", "/x", CONFIG_FINE},
    {false, CONFIG_SET, "listener.name.plaintext.ssl.keystore.location", "/x", CONFIG_REFUSED},
    {false, CONFIG_SET, "listener.name.plaintext.max.connections", "500", CONFIG_FINE},
    {false, CONFIG_SET, "listener.name.plaintext.max.connections", "few", CONFIG_REFUSED},
    {true, CONFIG_SET, "compression.type", "foo", CONFIG_REFUSED},
    {true, CONFIG_APPEND, "log.cleanup.policy", "compact", CONFIG_FINE},
    {true, CONFIG_APPEND, "log.cleanup.policy", "burn", CONFIG_REFUSED},
    {true, CONFIG_APPEND, "log.retention.ms", "1", CONFIG_INVALID},
    {true, CONFIG_SET, "metric.reporters", "x", CONFIG_REFUSED},
    {true, CONFIG_SET, "principal.builder.class", "x", CONFIG_REFUSED},
    {true, CONFIG_SET, "cordoned.log.dirs", "*", CONFIG_FINE},
    {true, CONFIG_SET, "cordoned.log.dirs", "/a", CONFIG_FINE},
    {true, CONFIG_SET, "cordoned.log.dirs", "/nope", CONFIG_REFUSED},
    {false, CONFIG_SET, "cordoned.log.dirs", "*", CONFIG_REFUSED},
    {false, CONFIG_SET, "sasl.jaas.config", "x", CONFIG_REFUSED},
    {true, CONFIG_SET, "log.local.retention.ms", "604800000", CONFIG_FINE},
    {true, CONFIG_SET, "log.local.retention.ms", "604800001", CONFIG_REFUSED},
    {true, CONFIG_SET, "log.local.retention.ms", "-2", CONFIG_FINE},
    {true, CONFIG_SET, "max.connections", "0", CONFIG_REFUSED},
    {true, CONFIG_SET, "max.connections", "1", CONFIG_FINE},
    {true, CONFIG_SET, "max.connections.per.ip", "0", CONFIG_REFUSED},
    {true, CONFIG_SET, "max.connections.per.ip.overrides", "127.0.0.1:5", CONFIG_FINE},
    {true, CONFIG_SET, "max.connections.per.ip.overrides", "nobody", CONFIG_REFUSED},
    {true, CONFIG_SET, "max.connections.per.ip.overrides", "x:y", CONFIG_REFUSED},
    {true, CONFIG_SET, "log.cleaner.dedupe.buffer.size", "1048576", CONFIG_REFUSED},
    {true, CONFIG_SET, "log.cleaner.dedupe.buffer.size", "1048577", CONFIG_FINE},
    {false, CONFIG_SET, "follower.replication.throttled.rate", "1000", CONFIG_FINE},
    {true, CONFIG_SET, "sasl.jaas.config", "x", CONFIG_FINE},
};

/* A running broker takes and refuses the changes that Apache Kafka takes and refuses: asked one by one; each refusal says
 * why in words that name the key. */
TEST(config_changes_of_a_broker_are_judged) {
    struct bench b;
    bench_open(&b);
    assert_int_equal(config_values_set(&b.values, SPAN_LITERAL("num.io.threads"), SPAN_LITERAL("8")), ERR_NONE);
    assert_int_equal(config_values_set(&b.values, SPAN_LITERAL("log.dirs"), SPAN_LITERAL("/a,/b")), ERR_NONE);
    struct image *image = delta_current(b.delta);
    struct config_view view = {.image = image, .values = &b.values, .broker = 3};
    for (size_t i = 0; i < countof(broker_edits); i++) {
        const struct broker_edit *e = &broker_edits[i];
        text_init(&b.why, b.words, sizeof b.words);
        struct config_edit edit = {.name = span_text(e->key), .value = span_text(e->value), .op = e->op};
        enum config_verdict verdict = config_check_broker(&view, e->for_one, &edit, 1, &b.arena, &b.why);
        if (verdict != e->verdict) fail_msg("%s %s %s: %d (%s)", e->for_one ? "one" : "all", e->key, e->value, verdict, b.words);
        assert_true((verdict == CONFIG_FINE) == (b.why.size == 0));
    }
    image_drop(image);
    bench_close(&b);
}

/* Lists grow without saying anything twice, and shrink. */
TEST(config_lists_are_edited) {
    struct bench b;
    bench_open(&b);
    static const struct { const char *list, *items, *after; bool adds; } edits[] = {
        {"delete", "compact", "delete,compact", true}, {"delete", "delete", "delete", true},     {"", "a", "a", true},
        {"a,b,c", "b", "a,c", false},                  {"a", "a", "", false},                    {"a, b", "b,c", "a, b,b,c", true},
        {"a,", "", "a,", true},                        {"", ",", "", true},                      {"a,b", "b", "a", false},
        {"a,,b", "c,,d,,", "a,b,c,,d", true},          {"a, b", "b", "a, b", false},
    };
    for (size_t i = 0; i < countof(edits); i++)
        assert_span(config_list_edit(&b.arena, span_text(edits[i].list), span_text(edits[i].items), edits[i].adds), edits[i].after);
    assert_span(config_base_name(SPAN_LITERAL("listener.name.a.ssl.key.password")), "ssl.key.password");
    assert_span(config_base_name(SPAN_LITERAL("listener.name.a")), "listener.name.a");
    assert_span(config_base_name(SPAN_LITERAL("log.dirs")), "log.dirs");
    bench_close(&b);
}

/* What a file says in vain is told, a line each, with the key that was probably meant; what has effect is not. */
TEST(config_warns_of_what_has_no_effect) {
    struct bench b;
    bench_open(&b);
    static const struct { const char *key, *value, *line; } said[] = {
        {"log.retension.hours", "5", "log.retension.hours is not a key that is known, and has no effect: was log.retention.hours meant?\n"},
        {"nmu.partitions", "5", "nmu.partitions is not a key that is known, and has no effect: was num.partitions meant?\n"},
        {"Log.Dirs", "/x", "Log.Dirs is not a key that is known, and has no effect: was log.dirs meant?\n"},
        {"zookeeper.connect", "a:2181", "zookeeper.connect is of the time of ZooKeeper, and has no effect: metadata are in the quorum, see process.roles\n"},
        {"inter.broker.protocol.version", "3.9", "inter.broker.protocol.version went with Kafka 4.0, and has no effect: see metadata.version in kafka-features.sh\n"},
        {"advertised.host.name", "a", "advertised.host.name went with Kafka 3.0, and has no effect: see listeners and advertised.listeners\n"},
        {"retention.ms", "5", "retention.ms is a topic's key and has no effect in this file: for all topics it is log.retention.ms\n"},
        {"metric.reporters", "a.B", "metric.reporters has no effect here: it names something of the JVM.\n"},
        {"num.io.threads", "9", "num.io.threads has no effect here: Threads that carry out requests; here shards do, see moldau.shards.\n"},
        {"broker.heartbeat.interval.ms", "4501",
         "broker.heartbeat.interval.ms is 4501, more than half of broker.session.timeout.ms, which is 9000: a broker may be fenced between two heartbeats\n"},
        {"broker.heartbeat.interval.ms", "4500", ""},
        {"num.io.threads", "8", ""}, /* its default: nobody waits for anything */
        {"num.partitions", "5", ""},
        {"listener.name.external.ssl.keystore.location", "/x", "listener.name.external.ssl.keystore.location has no effect yet: what it is for is not served\n"},
        {"listener.name.external.max.connections", "5", ""},
        {"listener.name.external.max.connection.creation.rate", "5", ""},
        {"listener.name.external.max.connections.per.ip", "5", "listener.name.external.max.connections.per.ip has no effect yet: max.connections.per.ip is served for all listeners together\n"},
        {"ssl.keystore.location", "/x", "ssl.keystore.location has no effect yet: what it is for is not served\n"},
        {"ssl.keystore.type", "JKS", ""}, /* its default */
        {"config.providers.env.class", "a.B", ""}, /* read before all others */
    };
    for (size_t i = 0; i < countof(said); i++) {
        config_values_init(&b.values, &b.arena);
        text_init(&b.why, b.words, sizeof b.words);
        assert_int_equal(config_values_set(&b.values, span_text(said[i].key), span_text(said[i].value)), ERR_NONE);
        char lines[2048];
        struct text text;
        text_init(&text, lines, sizeof lines);
        config_values_warn(&b.values, &text);
        assert_string_equal(lines, said[i].line);
    }
    /* A page of nonsense is told as far as there is room, in whole lines. */
    config_values_init(&b.values, &b.arena);
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "xyzzy%d", i);
        assert_int_equal(config_values_set(&b.values, span_text(name), SPAN_LITERAL("1")), ERR_NONE);
    }
    char lines[2048];
    struct text text;
    text_init(&text, lines, sizeof lines);
    config_values_warn(&b.values, &text);
    assert_false(text.cut);
    assert_true(text.size > 1000 && lines[text.size - 1] == '\n');
    bench_close(&b);
}
