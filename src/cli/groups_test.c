#include "cli/admin.h"
#include "cli/columns.h"
#include "cli/groups.h"
#include "cli/names.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

struct world { struct admin admin; };
static void world_open(struct world *world) {
    memset(world, 0, sizeof *world);
    pool_init(&world->admin.session.pool, 0, 0);
    arena_init(&world->admin.session.arena, &world->admin.session.pool, 0);
    text_init(&world->admin.why, world->admin.why_bytes, sizeof world->admin.why_bytes);
}
static void world_close(struct world *world) {
    arena_destroy(&world->admin.session.arena);
    pool_destroy(&world->admin.session.pool);
}

/* Times with and without a zone, on both sides of leap days; what is no time is told. Expected numbers are those of date(1). */
TEST(datetimes_are_read) {
    static const struct { const char *text; time_ms at; } good[] = {
        {"1970-01-01T00:00:00.000", 0}, {"2020-02-29T12:30:45.678", 1582979445678}, {"2020-02-29T12:30:45.678Z", 1582979445678},
        {"2020-02-29T12:30:45.678+02:00", 1582972245678}, {"2020-02-29T12:30:45.678-0130", 1582984845678}, {"2000-03-01T00:00:00.000+01", 951865200000},
        {"1969-12-31T23:59:59.999", -1}, {"2100-03-01T00:00:00.000", 4107542400000},
    };
    static const char *const bad[] = {"", "2020-01-01", "2020-01-01T", "2020-02-30T00:00:00.000", "2021-02-29T00:00:00.000", "2020-01-01T24:00:00.000",
                                      "2020-01-01T00:00:00", "2020-01-01T00:00:00.000x", "2020-13-01T00:00:00.000", "x2020-01-01T00:00:00.000", "2020-01-01T00:00:00.000+1"};
    struct world world;
    world_open(&world);
    for (size_t i = 0; i < countof(good); i++) {
        time_ms at;
        assert_true(reset_parse_datetime(&world.admin, good[i].text, &at));
        assert_int_equal(at, good[i].at);
    }
    for (size_t i = 0; i < countof(bad); i++) {
        time_ms at;
        text_reset(&world.admin.why);
        assert_false(reset_parse_datetime(&world.admin, bad[i], &at));
        assert_int_equal(strncmp(world.admin.why_bytes, "java.text.ParseException: ", 26), 0);
    }
    world_close(&world);
}

/* ISO 8601 durations as java.time.Duration reads them: signs, fractions, either case; nothing behind P or T is none. */
TEST(durations_are_read) {
    static const struct { const char *text; int64_t ms; } good[] = {
        {"PT0S", 0}, {"P1D", 86400000}, {"P1DT2H3M4.5S", 93784500}, {"-PT1M", -60000}, {"PT-6H+3M", -21420000}, {"pt1.001s", 1001}, {"PT-0.5S", -500}, {"-PT-1S", 1000},
    };
    static const char *const bad[] = {"", "foo", "P", "PT", "P1DT", "1D", "P1H", "PT1D", "PT1", "PT1S1H", "P99999999999999999D", "PT1Sx"};
    struct world world;
    world_open(&world);
    for (size_t i = 0; i < countof(good); i++) {
        int64_t ms;
        assert_true(reset_parse_duration(&world.admin, good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < countof(bad); i++) {
        int64_t ms;
        assert_false(reset_parse_duration(&world.admin, bad[i], &ms));
    }
    world_close(&world);
}

/* topic:0,1 names partitions, each once; a bare topic those of the metadata; what is neither is told in Kafka's words. */
TEST(topics_with_partitions_are_read) {
    struct world world;
    struct metadata_response_metadata_response_partition partitions[] = {{.partition_index = 0}, {.partition_index = 1}};
    struct metadata_response_metadata_response_topic topic = {.name = SPAN_LITERAL("t"), .partitions = partitions, .partitions_count = 2};
    world_open(&world);
    world.admin.metadata.topics = &topic;
    world.admin.metadata.topics_count = 1;
    struct reset_list list = {.arena = admin_memory(&world.admin)};
    assert_true(reset_parse_topic(&world.admin, "u:3,1,3", &list));
    assert_true(reset_parse_topic(&world.admin, "t", &list));
    assert_int_equal(list.count, 4);
    qsort(list.rows, 4, sizeof *list.rows, partition_compare);
    assert_true(span_equal(list.rows[0].topic, SPAN_LITERAL("t")) && list.rows[1].index == 1 && list.rows[2].index == 1 && list.rows[3].index == 3);
    static const struct { const char *text, *why; } bad[] = {
        {"t:", "Invalid topic arg 't:', expected topic name and partitions"}, {"t:1:2", "Invalid topic arg 't:1:2', expected topic name and partitions"},
        {"t:x", "Invalid partition 'x' specified in topic arg 't:x''"}, {"t:1,,2", "Invalid partition '' specified in topic arg 't:1,,2''"},
        {"v", "This server does not host this topic-partition."},
    };
    for (size_t i = 0; i < countof(bad); i++) {
        admin_forgive(&world.admin);
        assert_false(reset_parse_topic(&world.admin, bad[i].text, &list));
        assert_string_equal(world.admin.why_bytes, bad[i].why);
    }
    world_close(&world);
}

/* Both styles: columns grow with their cells unless they are fixed, widths are in characters, what is missing is a dash. */
TEST(tables_are_laid_out) {
    static const struct column columns[] = {{"A", 3, false}, {"B", 2, true}, {"C", 0, false}};
    struct world world;
    struct columns table;
    char *text;
    size_t size;
    world_open(&world);
    columns_init(&table, admin_memory(&world.admin), columns, countof(columns));
    assert_true(columns_add(&table, (const char *const[]){"wide\xc3\xa4", "fixed", "x"}));
    assert_true(columns_add(&table, (const char *const[]){NULL, "b", NULL}));
    FILE *out = open_memstream(&text, &size);
    columns_print(&table, COLUMNS_LED, out);
    fputc('|', out);
    columns_print(&table, COLUMNS_TABBED, out);
    fclose(out);
    assert_string_equal(text, "\nA     B  C\nwide\xc3\xa4 fixed x\n-     b  -|A    \tB \tC\t\nwide\xc3\xa4\tfixed\tx\t\n-    \tb \t-\t\n");
    free(text);
    world_close(&world);
}

/* Java's names of errors: by rule, and those that have names of their own. */
TEST(errors_have_javas_names) {
    static const struct { int16_t code; const char *name; } rows[] = {
        {KAFKA_GROUP_ID_NOT_FOUND, "GroupIdNotFoundException"}, {KAFKA_UNKNOWN_TOPIC_OR_PARTITION, "UnknownTopicOrPartitionException"}, {KAFKA_NON_EMPTY_GROUP, "GroupNotEmptyException"},
        {KAFKA_REQUEST_TIMED_OUT, "TimeoutException"}, {KAFKA_UNKNOWN_SERVER_ERROR, "UnknownServerException"}, {KAFKA_TOPIC_ALREADY_EXISTS, "TopicExistsException"},
        {KAFKA_KAFKA_STORAGE_ERROR, "KafkaStorageException"}, {KAFKA_INVALID_CONFIG, "InvalidConfigurationException"}, {KAFKA_NOT_COORDINATOR, "NotCoordinatorException"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char bytes[96];
        struct text text;
        text_init(&text, bytes, sizeof bytes);
        exception_of_error(rows[i].code, &text);
        assert_string_equal(bytes, rows[i].name);
    }
}

/* RE2's rules: what it reads, and what it says of the rest, as re2j was heard to say it. */
TEST(regular_expressions_of_re2) {
    static const char *const good[] = {"", "a.*", "(?i)a|b", "[[:alpha:]]+", "[]a]", "(?P<n>x)", "a{2,5}?", "\\pL\\d\\Q(\\E"};
    static const struct { const char *pattern, *why; } bad[] = {
        {"a(", "missing closing )"}, {"[a", "missing closing ]"}, {"*a", "missing argument to repetition operator"}, {"a\\", "trailing backslash at end of expression"},
        {"(a)\\1", "invalid escape sequence"}, {"(?=a)", "invalid or unsupported Perl syntax"}, {"[z-a]", "invalid character class range"}, {"a**", "invalid nested repetition operator"},
        {"a{5,2}", "invalid repeat count"},
    };
    for (size_t i = 0; i < countof(good); i++) assert_null(names_re2_problem(good[i]));
    for (size_t i = 0; i < countof(bad); i++) {
        assert_non_null(names_re2_problem(bad[i].pattern));
        assert_string_equal(names_re2_problem(bad[i].pattern), bad[i].why);
    }
}
