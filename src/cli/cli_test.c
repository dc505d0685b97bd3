#include "cli/coordinator_text.h"
#include "cli/servers.h"
#include "cli/args.h"
#include "cli/names.h"
#include "cli/properties.h"
#include "cli/record_text.h"
#include "cli/topics.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

static struct args args;
static int reads(enum tool_id tool, const char *const *words) {
    char *argv[32];
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)(uintptr_t)words[argc];
    FILE *before = stderr;
    stderr = fopen("/dev/null", "w"); /* what is wrong is told there; the status is what counts here */
    int result = args_read(&args, &cli_tools[tool], argc, argv);
    fclose(stderr);
    stderr = before;
    return result;
}
#define READS(tool, ...) reads(tool, (const char *const[]){__VA_ARGS__, NULL})

/* Values follow a name as a word or behind '=', may begin with a dash, may come again, and have presets. */
TEST(options_are_read_in_all_their_forms) {
    uint32_t at = 0;
    assert_int_equal(READS(TOOL_topics, "--create", "--topic", "a", "--config=x=y", "--config", "z=1", "--partitions", "-3", "word"), 0);
    assert_true(args_has(&args, "create") && !args_has(&args, "delete"));
    assert_string_equal(args_text(&args, "topic"), "a");
    assert_string_equal(args_each(&args, "config", &at), "x=y");
    assert_string_equal(args_each(&args, "config", &at), "z=1");
    assert_null(args_each(&args, "config", &at));
    assert_int_equal(args_number(&args, "partitions"), -3);
    assert_int_equal(args.word_count, 1);
    assert_null(args_text(&args, "bootstrap-server"));
    assert_int_equal(READS(TOOL_storage_format, "-t", "id", "-g", "-c", "file"), 0);
    assert_string_equal(args_text(&args, "cluster-id"), "id");
    assert_true(args_has(&args, "ignore-formatted"));
    assert_int_equal(READS(TOOL_console_producer, "--compression-codec", "--sync"), 0);
    assert_true(args_has(&args, "compression-codec") && args_has(&args, "sync"));
    assert_null(args_text(&args, "compression-codec"));
    assert_string_equal(args_text(&args, "request-required-acks"), "-1");
    assert_int_equal(args_number(&args, "timeout"), 1000);
}

/* What is no option, lacks its value, has one too many, or is no number of its size is refused. */
TEST(wrong_options_are_refused) {
    assert_int_equal(READS(TOOL_topics, "--frob"), 1);
    assert_int_equal(READS(TOOL_topics, "-x"), 1);
    assert_int_equal(READS(TOOL_topics, "--topi", "a"), 1); /* no abbreviations, as Kafka's tools */
    assert_int_equal(READS(TOOL_topics, "--topic"), 1);
    assert_int_equal(READS(TOOL_topics, "--create=yes"), 1);
    assert_int_equal(READS(TOOL_topics, "--partitions", "q"), 1);
    assert_int_equal(READS(TOOL_topics, "--partitions", "2147483648"), 1);
    assert_int_equal(READS(TOOL_console_consumer, "--timeout-ms", "2147483648"), 0);
    assert_int_equal(READS(TOOL_console_consumer, "--timeout-ms", "9223372036854775808"), 1);
}

/* A verb's options may stand behind it, its tool's before it as well; what is a value is no verb. */
TEST(verbs_are_found_behind_their_tools_options) {
    static const struct { const char *words[6]; int at; } rows[] = {
        {{"describe"}, 0}, {{"--bootstrap-server", "describe", "upgrade"}, 2}, {{"--bootstrap-server=x", "describe"}, 1}, {{"--command-config", "f", "-h", "describe", "--node-id"}, 3}, {{"--bootstrap-server", "x"}, 2}, {{NULL}, 0},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char *argv[8];
        int argc = 0;
        for (; rows[i].words[argc]; argc++) argv[argc] = (char *)(uintptr_t)rows[i].words[argc];
        assert_int_equal(args_find_verb(&cli_tools[TOOL_features], argc, argv), rows[i].at);
    }
    assert_int_equal(READS(TOOL_features_describe, "--bootstrap-server", "x", "--node-id", "7"), 0);
    assert_string_equal(args_text(&args, "bootstrap-server"), "x");
    assert_int_equal(args_number(&args, "node-id"), 7);
    assert_int_equal(READS(TOOL_features_upgrade, "--node-id", "7"), 1);
    assert_int_equal(READS(TOOL_producer_perf, "--command-property", "a=b", "c=d", "--topic", "t", "--producer-props=x=y"), 0);
    uint32_t at = 0;
    assert_string_equal(args_each(&args, "command-property", &at), "a=b");
    assert_string_equal(args_each(&args, "command-property", &at), "c=d");
    assert_null(args_each(&args, "command-property", &at));
    assert_int_equal(READS(TOOL_producer_perf, "--topic", "t", "word"), 1);
}

/* One value of several would be taken by chance, and `--delete --topic a --topic b` would delete one of two: where Kafka's
 * tools refuse it, it is refused; where an option may come several times, and by tools that take the last one, it is taken. */
TEST(an_option_for_one_value_comes_only_once) {
    assert_int_equal(READS(TOOL_topics, "--topic", "a", "--topic", "b"), 1);
    assert_int_equal(READS(TOOL_console_consumer, "--timeout-ms", "1", "--timeout-ms=2"), 1);
    assert_int_equal(READS(TOOL_topics, "--create", "--create", "--topic", "a"), 0);
    assert_int_equal(READS(TOOL_consumer_groups, "--group", "a", "--group", "b", "--topic", "c", "--topic", "d"), 0);
    assert_int_equal(READS(TOOL_configs, "--delete-config", "a", "--delete-config", "b", "--entity-type", "users", "--entity-type", "clients"), 0);
    assert_int_equal(READS(TOOL_console_consumer, "--property", "a=b", "--property", "c=d"), 0);
    assert_int_equal(READS(TOOL_cluster_id, "-b", "x", "-b", "y"), 0);
    assert_string_equal(args_text(&args, "bootstrap-server"), "y");
}

/* What Kafka's two kinds of tools take besides: -name for --name and words behind --, or names cut short. */
TEST(each_kind_of_tool_has_its_own_short_forms) {
    assert_int_equal(READS(TOOL_topics, "-list", "-bootstrap-server", "x", "--", "--frob"), 0);
    assert_true(args_has(&args, "list"));
    assert_string_equal(args_text(&args, "bootstrap-server"), "x");
    assert_string_equal(args.words[0], "--frob");
    assert_int_equal(READS(TOOL_storage_format, "--cluster", "id", "--conf=file"), 0);
    assert_string_equal(args_text(&args, "cluster-id"), "id");
    assert_string_equal(args_text(&args, "config"), "file");
    assert_int_equal(READS(TOOL_cluster_id, "--bootstrap", "x"), 1); /* -server or -controller */
    assert_int_equal(READS(TOOL_verifiable_producer, "--version"), 1); /* has none in Kafka, too */
}

/* host:port with commas between, as Kafka's clients read it; the first that is none is named. */
TEST(servers_are_checked_before_anybody_waits_for_them) {
    static const char *const good[] = {"a:1", "localhost:9092,b:65535", "[::1]:9092", "::1:9092", "PLAINTEXT://a:1", " a:1 , b:2 "};
    static const struct { const char *list, *bad; } wrong[] = {{"", ""}, {"a", "a"}, {"a:1,b", "b"}, {"a:", "a:"}, {"a:x", "a:x"}, {"a:65536", "a:65536"}, {":1", ":1"}, {"a b:1", "a b:1"}};
    for (size_t i = 0; i < countof(good); i++) assert_true(servers_are_valid(good[i], NULL, NULL));
    for (size_t i = 0; i < countof(wrong); i++) {
        const char *bad;
        size_t size;
        assert_false(servers_are_valid(wrong[i].list, &bad, &size));
        assert_true(span_equal(span_of(bad, size), span_text(wrong[i].bad)));
    }
    char bytes[256];
    struct text why;
    text_init(&why, bytes, sizeof bytes);
    assert_true(servers_check("127.0.0.1:1", &why));
    assert_false(servers_check("nohost", &why));
    assert_string_equal(why.bytes, "Invalid url in bootstrap.servers: nohost");
}

/* Records of Kafka's own topics as its formatters write them, others passed over; a value that is none is told. */
TEST(coordinators_records_are_written_as_kafkas_formatters_do) {
    struct pool pool;
    struct text why;
    char why_bytes[256], *text = NULL;
    size_t size;
    const char *package = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
    const struct coordinator_format *offsets = coordinator_format_named(package), *groups = coordinator_format_named("org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter");
    struct span key = span_of("\0\1\0\1g\0\1t\0\0\0\3", 12), value = span_of("\0\3\0\0\0\0\0\0\0\7\xff\xff\xff\xff\0\1m\0\0\0\0\0\0\0\11", 25);
    pool_init(&pool, 0, 0);
    text_init(&why, why_bytes, sizeof why_bytes);
    assert_non_null(offsets);
    assert_non_null(groups);
    assert_null(coordinator_format_named("OffsetsMessageFormatter"));
    FILE *out = open_memstream(&text, &size);
    assert_true(coordinator_print(offsets, key, value, 5, &pool, out, &why));
    assert_true(coordinator_print(offsets, key, (struct span){0}, 6, &pool, out, &why));
    assert_true(coordinator_print(groups, key, value, 7, &pool, out, &why));
    assert_true(coordinator_print(offsets, span_of("\0\377", 2), value, 8, &pool, out, &why));
    assert_true(coordinator_print(offsets, (struct span){0}, value, 9, &pool, out, &why));
    assert_false(coordinator_print(offsets, key, span_of("\0\3\0", 3), 10, &pool, out, &why));
    assert_non_null(strstr(why.bytes, "Could not read record at offset 10"));
    fclose(out);
    assert_string_equal(text, "{\"key\":{\"type\":1,\"data\":{\"group\":\"g\",\"topic\":\"t\",\"partition\":3}},\"value\":{\"version\":3,\"data\":{\"offset\":7,\"leaderEpoch\":-1,\"metadata\":\"m\",\"commitTimestamp\":9}}}"
                              "{\"key\":{\"type\":1,\"data\":{\"group\":\"g\",\"topic\":\"t\",\"partition\":3}},\"value\":null}");
    free(text);
    pool_destroy(&pool);
}

/* Every row of the table can be found by its tool's names, is there once, and has a help. */
TEST(the_table_is_whole) {
    for (uint32_t i = 0; i < TOOLS_COUNT; i++) {
        const struct tool *tool = &cli_tools[i];
        if (tool->parent < 0 || tool->parent == TOOL_storage) assert_ptr_equal(cli_tool_named(tool->name), tool);
        else assert_ptr_equal(cli_verb_named(&cli_tools[tool->parent], tool->name), tool);
        if (tool->script) assert_ptr_equal(cli_tool_of_script(tool->script), tool);
        for (uint32_t a = 0; a < tool->count; a++) {
            assert_true(strlen(tool->options[a].help) > 5);
            assert_true((tool->options[a].kind == OPTION_FLAG) == (tool->options[a].argument == NULL));
            for (uint32_t b = 0; b < a; b++) assert_true(strcmp(tool->options[a].name, tool->options[b].name) != 0);
        }
    }
    assert_null(cli_tool_named("frob"));
}

/* ---- records and lines */

struct world { struct pool pool; struct arena arena; struct config_values values; struct text why; char why_bytes[1024]; char *out; };
static void world_open(struct world *world, const char *const *pairs) {
    pool_init(&world->pool, 0, 0);
    arena_init(&world->arena, &world->pool, 0);
    config_values_init(&world->values, &world->arena);
    text_init(&world->why, world->why_bytes, sizeof world->why_bytes);
    world->out = NULL;
    for (; pairs[0]; pairs += 2) assert_int_equal(config_values_set(&world->values, span_text(pairs[0]), span_text(pairs[1])), ERR_NONE);
}
static void world_close(struct world *world) {
    free(world->out);
    arena_destroy(&world->arena);
    pool_destroy(&world->pool);
}
static struct line_record record;
/* "headers|key|value", null as ~; or what was said. */
static const char *parsed(const char *line, const char *const *pairs) {
    static char shown[1024];
    struct world world;
    struct line_reader reader;
    struct text text;
    world_open(&world, pairs);
    text_init(&text, shown, sizeof shown);
    if (!line_reader_init(&reader, &world.values, &world.why) || !line_parse(&reader, span_text(line), 7, &record, &world.why)) text_add(&text, "%s", world.why_bytes);
    else {
        for (uint32_t i = 0; i < record.header_count; i++) {
            text_add_span(&text, record.headers[i].name);
            text_add(&text, "=");
            text_add_span(&text, record.headers[i].value.data ? record.headers[i].value : SPAN_LITERAL("~"));
            text_add(&text, ";");
        }
        text_add(&text, "|");
        text_add_span(&text, record.key.data ? record.key : SPAN_LITERAL("~"));
        text_add(&text, "|");
        text_add_span(&text, record.value.data ? record.value : SPAN_LITERAL("~"));
    }
    world_close(&world);
    return shown;
}
#define PARSED(line, ...) parsed(line, (const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL})
#define WITH_KEY "parse.key", "true"
#define WITH_HEADERS "parse.headers", "true"

/* Headers, key and value are taken apart in this order, by the separators that were chosen; as LineMessageReader does. */
TEST(lines_become_records) {
    assert_string_equal(PARSED("a\tb"), "|~|a\tb");
    assert_string_equal(PARSED(""), "|~|");
    assert_string_equal(PARSED("k\tv\tw", WITH_KEY), "|k|v\tw");
    assert_string_equal(PARSED("k--v", WITH_KEY, "key.separator", "--"), "|k|v");
    assert_string_equal(PARSED("\tv", WITH_KEY), "||v");
    assert_string_equal(PARSED("a:1,b:2\tk\tv", WITH_KEY, WITH_HEADERS), "a=1;b=2;|k|v");
    assert_string_equal(PARSED("a:1:2,b:\tv", WITH_HEADERS), "a=1:2;b=;|~|v");
    assert_string_equal(PARSED("a=1;b=2|v", WITH_HEADERS, "headers.delimiter", "|", "headers.separator", ";", "headers.key.separator", "="), "a=1;b=2;|~|v");
}

/* The marker stands for null wherever something may be null, and nowhere else. */
TEST(the_null_marker_is_null) {
    assert_string_equal(PARSED("N\tN", WITH_KEY, "null.marker", "N"), "|~|~");
    assert_string_equal(PARSED("NN\tN ", WITH_KEY, "null.marker", "N"), "|NN|N ");
    assert_string_equal(PARSED("N\tk\tv", WITH_KEY, WITH_HEADERS, "null.marker", "N"), "|k|v");
    assert_string_equal(PARSED("a:N,b:2\tv", WITH_HEADERS, "null.marker", "N"), "a=~;b=2;|~|v");
    assert_string_equal(PARSED("N:1\tv", WITH_HEADERS, "null.marker", "N"), "Header keys should not be equal to the null marker 'N' as they can't be null");
}

/* A line that lacks a separator is told with its number, or taken as it is when errors are to be ignored. */
TEST(lines_that_cannot_be_taken_apart) {
    assert_string_equal(PARSED("abc", WITH_KEY), "No key separator found on line number 7: 'abc'");
    assert_string_equal(PARSED("abc", WITH_HEADERS), "No headers delimiter found on line number 7: 'abc'");
    assert_string_equal(PARSED("a:1,b\tv", WITH_HEADERS), "No header key separator found in pair 'b' on line number 7");
    assert_string_equal(PARSED("abc", WITH_KEY, "ignore.error", "true"), "|~|abc");
    assert_string_equal(PARSED("a,b:1\tv", WITH_HEADERS, "ignore.error", "true"), "a=~;b=1;|~|v");
    assert_string_equal(PARSED("x", "headers.separator", ":"), "headers.separator and headers.key.separator may not be equal");
    assert_string_equal(PARSED("x", "null.marker", "\t"), "null.marker and key.separator may not be equal");
}

static const char *printed(const struct record_view *view, const char *const *pairs) {
    static char shown[1024];
    struct world world;
    struct record_format format;
    size_t size;
    world_open(&world, pairs);
    FILE *out = open_memstream(&world.out, &size);
    bool ok = record_format_init(&format, &world.values, &world.why) && record_print(&format, view, out, &world.why);
    fclose(out);
    snprintf(shown, sizeof shown, "%s", ok ? world.out : world.why_bytes);
    world_close(&world);
    return shown;
}
#define PRINTED(view, ...) printed(view, (const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL})

/* What was asked for, in the order and with the separators of DefaultMessageFormatter, as Apache's tool printed it. */
TEST(records_become_text) {
    struct line_header headers[] = {{SPAN_LITERAL("h1"), SPAN_LITERAL("v1")}, {SPAN_LITERAL("h2"), {0}}};
    struct record_view view = {.partition = 3, .offset = 42, .time_kind = RECORD_CREATE_TIME, .time = 1795268372370, .key = SPAN_LITERAL("k"),
                               .value = SPAN_LITERAL("v"), .headers = headers, .header_count = 2};
    assert_string_equal(PRINTED(&view), "v\n");
    assert_string_equal(PRINTED(&view, "print.key", "true"), "k\tv\n");
    assert_string_equal(PRINTED(&view, "print.key", "true", "print.value", "false"), "k\n");
    assert_string_equal(PRINTED(&view, "print.timestamp", "true", "print.key", "true", "print.offset", "true", "print.partition", "true", "print.epoch", "true", "print.headers", "true"),
                        "CreateTime:1795268372370\tPartition:3\tOffset:42\tEpoch:NOT_PRESENT\th1:v1,h2:null\tk\tv\n");
    view.time_kind = RECORD_NO_TIME;
    view.header_count = 0;
    view.key = view.value = (struct span){0};
    assert_string_equal(PRINTED(&view, "print.timestamp", "true", "print.headers", "true", "print.key", "true", "null.literal", "-", "key.separator", "|", "line.separator", "!"),
                        "NO_TIMESTAMP|NO_HEADERS|-|-!");
}

/* Numbers by their deserializers; a size that is none of theirs and a class that is not known are told. */
TEST(numbers_are_told_by_their_deserializers) {
    struct record_view view = {.key = span_of("\xff\xff\xff\xfe", 4), .value = span_of("\0\0\0\1\0\0\0\2", 8)};
#define CLASS "org.apache.kafka.common.serialization."
    assert_string_equal(PRINTED(&view, "print.key", "true", "key.deserializer", CLASS "IntegerDeserializer", "value.deserializer", CLASS "LongDeserializer"), "-2\t4294967298\n");
    assert_string_equal(PRINTED(&view, "value.deserializer", CLASS "ShortDeserializer"), "org.apache.kafka.common.errors.SerializationException: Size of data received by ShortDeserializer is not 2");
    static const struct { const char *bytes, *said; } doubles[] = {
        {"\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1\n"}, {"\x40\x08\0\0\0\0\0\0", "3.0\n"}, {"\x41\x63\x12\xd0\0\0\0\0", "1.0E7\n"}, {"\x3f\x50\x62\x4d\xd2\xf1\xa9\xfc", "0.001\n"},
        {"\x3f\x40\x62\x4d\xd2\xf1\xa9\xfc", "5.0E-4\n"}, {"\x80\0\0\0\0\0\0\0", "-0.0\n"}, {"\x7f\xf0\0\0\0\0\0\0", "Infinity\n"}, {"\x40\xfe\x24\x0c\x9f\xbe\x76\xc9", "123456.789\n"}};
    for (size_t i = 0; i < countof(doubles); i++) {
        view.value = span_of(doubles[i].bytes, 8);
        assert_string_equal(PRINTED(&view, "value.deserializer", CLASS "DoubleDeserializer"), doubles[i].said);
    }
    view.value = span_of("\x3d\xcc\xcc\xcd", 4);
    assert_string_equal(PRINTED(&view, "value.deserializer", CLASS "FloatDeserializer"), "0.1\n");
    view.value = SPAN_LITERAL("0F8FAD5B-d9cb-469f-a165-70867728950e");
    assert_string_equal(PRINTED(&view, "value.deserializer", CLASS "UUIDDeserializer"), "0f8fad5b-d9cb-469f-a165-70867728950e\n");
    view.value = SPAN_LITERAL("1");
    assert_string_equal(PRINTED(&view, "value.deserializer", CLASS "UUIDDeserializer"), "org.apache.kafka.common.errors.SerializationException: Error parsing data into UUID");
    assert_non_null(strstr(PRINTED(&view, "value.deserializer", "my.Own"), "value.deserializer=my.Own: Java classes cannot be loaded here"));
}

/* ---- topics */

/* The lines of --describe, and which of them each filter leaves: two partitions, one of which lacks a replica and a leader. */
TEST(topics_are_described_as_apache_does) {
    int32_t both[] = {1, 2}, one[] = {1}, live[] = {1};
    struct describe_configs_response_describe_configs_resource_result configs[] = {
        {.name = SPAN_LITERAL("min.insync.replicas"), .value = SPAN_LITERAL("1"), .config_source = 4},
        {.name = SPAN_LITERAL("segment.ms"), .value = SPAN_LITERAL("5"), .config_source = 5},
        {.name = SPAN_LITERAL("retention.ms"), .value = SPAN_LITERAL("1000"), .config_source = 1},
    };
    struct topic_partition_view partitions[] = {
        {.index = 0, .leader = 1, .replicas = both, .replicas_count = 2, .isr = both, .isr_count = 2},
        {.index = 1, .leader = -1, .replicas = both, .replicas_count = 2, .isr = one, .isr_count = 1, .elr_count = -1, .last_known_elr_count = -1},
    };
    struct topic_view topic = {.name = SPAN_LITERAL("a.b"), .id = {{1}}, .partitions = partitions, .partition_count = 2, .configs = configs, .config_count = 3};
    const char *head = "Topic: a.b\tTopicId: AQAAAAAAAAAAAAAAAAAAAA\tPartitionCount: 2\tReplicationFactor: 2\tConfigs: min.insync.replicas=1,retention.ms=1000\n";
    const char *first = "\tTopic: a.b\tPartition: 0\tLeader: 1\tReplicas: 1,2\tIsr: 1,2\tElr: \tLastKnownElr: \n";
    const char *second = "\tTopic: a.b\tPartition: 1\tLeader: none\tReplicas: 1,2\tIsr: 1\tElr: N/A\tLastKnownElr: N/A\n";
    const struct { struct topic_filter filter; const char *parts[3]; } rows[] = {
        {{0}, {head, first, second}}, {{.overridden = true}, {head, "", ""}}, {{.under_replicated = true}, {"", "", second}},
        {{.unavailable = true}, {"", "", second}}, {{.under_min_isr = true}, {"", "", second}}, {{.at_min_isr = true}, {"", "", second}},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char *text, expected[1024];
        size_t size;
        struct topic_filter filter = rows[i].filter;
        filter.brokers = live;
        filter.broker_count = 1;
        FILE *out = open_memstream(&text, &size);
        topics_print(&topic, &filter, out);
        fclose(out);
        snprintf(expected, sizeof expected, "%s%s%s", rows[i].parts[0], rows[i].parts[1], rows[i].parts[2]);
        assert_string_equal(text, expected);
        free(text);
    }
}

/* Replicas that are being added do not count as promised, and are told. */
TEST(reassignments_are_described) {
    int32_t three[] = {1, 2, 3}, added[] = {3}, removed[] = {2};
    struct topic_partition_view partition = {.leader = 1, .replicas = three, .replicas_count = 3, .isr = three, .isr_count = 2, .is_reassigned = true,
                                             .adding = added, .adding_count = 1, .removing = removed, .removing_count = 1};
    struct topic_view topic = {.name = SPAN_LITERAL("t"), .partitions = &partition, .partition_count = 1};
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    topics_print(&topic, &(struct topic_filter){0}, out);
    topics_print(&topic, &(struct topic_filter){.under_replicated = true}, out);
    fclose(out);
    assert_string_equal(text, "Topic: t\tPartitionCount: 1\tReplicationFactor: 2\tConfigs: \n"
                              "\tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2\tAdding Replicas: 3\tRemoving Replicas: 2\tElr: \tLastKnownElr: \n");
    free(text);
}

/* Assignments of replicas: partitions by commas, replicas by colons; duplicates and unequal numbers are told. */
TEST(assignments_are_read) {
    static const struct { const char *text; int32_t count; const char *why; } rows[] = {
        {"1", 1, NULL}, {"1:2,2:1", 2, NULL}, {" 1 : 2 , 2 : 1 ", 2, NULL}, {"1:1", 0, "Partition replica lists may not contain duplicate entries: 1"},
        {"1:2,3", 0, "Partition 1 has different replication factor: [3]"}, {"", 0, "For input string: \"\""}, {"1,x", 0, "For input string: \"x\""}, {"1:-2", 0, "For input string: \"-2\""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world world;
        struct create_topics_request_creatable_replica_assignment *out;
        int32_t count;
        world_open(&world, (const char *const[]){NULL});
        bool ok = topics_parse_assignment(rows[i].text, &world.arena, &out, &count, &world.why);
        assert_int_equal(ok, rows[i].why == NULL);
        if (ok) assert_int_equal(count, rows[i].count);
        else assert_string_equal(world.why_bytes, rows[i].why);
        if (ok && count == 2) assert_true(out[1].partition_index == 1 && out[1].broker_ids_count == 2 && out[1].broker_ids[0] == 2 && out[1].broker_ids[1] == 1);
        world_close(&world);
    }
}

/* Patterns match names as a whole; commas are alternatives; spaces and quotes around mean nothing. */
TEST(patterns_mean_topics) {
    static const struct { const char *pattern, *name; bool matches; } rows[] = {
        {"a", "a", true}, {"a", "ab", false}, {"a.*", "abc", true}, {"a,b", "b", true}, {" 'a , b' ", "b", true}, {"a|b", "ab", false}, {"", "", true}, {"", "a", false}, {"[^_].*", "__x", false},
    };
    char bytes[256];
    struct text why;
    text_init(&why, bytes, sizeof bytes);
    for (size_t i = 0; i < countof(rows); i++) {
        struct names *names = names_new(rows[i].pattern, &why);
        assert_non_null(names);
        assert_int_equal(names_match(names, span_text(rows[i].name)), rows[i].matches);
        names_free(names);
    }
    assert_null(names_new("(", &why));
    assert_string_equal(bytes, "( is an invalid regex.");
}

/* Security that is not there is refused, never passed over. */
TEST(security_that_is_not_served_is_refused) {
    static const struct { const char *protocol; bool fine; } rows[] = {{"PLAINTEXT", true}, {"plaintext", true}, {"SSL", false}, {"SASL_PLAINTEXT", false}, {"", false}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct world world;
        world_open(&world, (const char *const[]){"security.protocol", rows[i].protocol, NULL});
        assert_int_equal(properties_check_security(&world.values, &world.why), rows[i].fine);
        world_close(&world);
    }
}
