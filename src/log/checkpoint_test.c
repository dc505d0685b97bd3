#include "log/checkpoint.h"
#include "test.h"
#include <string.h>

static struct pool pool;
static struct arena arena;
static void begin(void) {
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
}
static void end(void) {
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* What Kafka's reader takes, and what it does not: which line, and nothing is believed of a wrong file. */
TEST(offset_checkpoints_are_read_as_kafka_reads) {
    static const struct { const char *text; enum err err; uint32_t count, line; } cases[] = {
        {"0\n2\nplain 0 60\nplain 1 5\n", ERR_NONE, 2, 0},
        {"0\n2\nplain 0 60\nplain 1 5", ERR_NONE, 2, 0},         /* no line end at the end */
        {"0\r\n1\r\nplain \t 0   60  \r\n", ERR_NONE, 1, 0},      /* any white space, behind, too */
        {"0\n0\n", ERR_NONE, 0, 0},
        {"", ERR_NONE, 0, 0},                                     /* as a crash leaves it */
        {"0\n", ERR_NONE, 0, 0},
        {"0\n1\nplain 0 -1\n", ERR_NONE, 1, 0},
        {"0\n1\nplain +1 +7\n", ERR_NONE, 1, 0},
        {"0\n1\nplain 0 9223372036854775807\n", ERR_NONE, 1, 0},
        {"0\n1\nplain 0 -9223372036854775808\n", ERR_NONE, 1, 0},
        {"0\n1\nplain 0 9223372036854775808\n", ERR_CORRUPT, 0, 3},
        {"0\n1\nplain 2147483648 1\n", ERR_CORRUPT, 0, 3},
        {"1\n0\n", ERR_CORRUPT, 0, 1},
        {"x\n0\n", ERR_CORRUPT, 0, 1},
        {" 0\n0\n", ERR_CORRUPT, 0, 1},
        {"0\n-1\n", ERR_CORRUPT, 0, 2},
        {"0\nmany\n", ERR_CORRUPT, 0, 2},
        {"0\n2\nplain 0 60\n", ERR_CORRUPT, 0, 2},
        {"0\n2147483647\nplain 0 60\n", ERR_CORRUPT, 0, 2},
        {"0\n1\nplain 0 60\nplain 1 5\n", ERR_CORRUPT, 0, 4},
        {"0\n2\nplain 0 60\n\n", ERR_CORRUPT, 0, 4},
        {"0\n1\nplain 0\n", ERR_CORRUPT, 0, 3},
        {"0\n1\nplain 0 60 1\n", ERR_CORRUPT, 0, 3},
        {"0\n1\n plain 0 60\n", ERR_CORRUPT, 0, 3},
        {"0\n1\nplain zero 60\n", ERR_CORRUPT, 0, 3},
        {"0\n1\nplain 0 6-0\n", ERR_CORRUPT, 0, 3},
        {"0\n1\nplain 0 -\n", ERR_CORRUPT, 0, 3},
        {"0", ERR_NONE, 0, 0},
    };
    begin();
    for (size_t i = 0; i < countof(cases); i++) {
        struct checkpoint_offset *entries;
        struct checkpoint_fault fault;
        uint32_t count;
        assert_int_equal(checkpoint_offsets_parse(span_text(cases[i].text), &arena, &entries, &count, &fault), cases[i].err);
        if (!cases[i].err) assert_int_equal(count, cases[i].count);
        assert_int_equal(fault.line, cases[i].line);
        assert_int_equal(fault.why != NULL, cases[i].err != ERR_NONE);
    }
    struct checkpoint_offset *entries;
    struct checkpoint_fault fault;
    uint32_t count;
    assert_int_equal(checkpoint_offsets_parse(SPAN_LITERAL("0\n2\na-b_c.d 17 60\n__x -1 5\n"), &arena, &entries, &count, &fault), ERR_NONE);
    assert_true(span_equal(entries[0].topic, SPAN_LITERAL("a-b_c.d")) && entries[0].partition == 17 && entries[0].offset == 60);
    assert_true(span_equal(entries[1].topic, SPAN_LITERAL("__x")) && entries[1].partition == -1 && entries[1].offset == 5);
    end();
}

/* The largest values fit into the room that the size functions promise, and are read back. */
TEST(printed_checkpoints_are_read_back) {
    char topic[249], *bytes;
    struct text text;
    struct checkpoint_fault fault;
    begin();
    memset(topic, 'T', sizeof topic);
    struct checkpoint_offset in[] = {{span_of(topic, sizeof topic), INT32_MIN, INT64_MIN}, {SPAN_LITERAL("t"), INT32_MAX, INT64_MAX}}, *out;
    size_t size = checkpoint_offsets_size(in, 2);
    uint32_t count;
    text_init(&text, bytes = arena_alloc(&arena, size), size);
    checkpoint_offsets_print(in, 2, &text);
    assert_false(text.cut);
    assert_int_equal(checkpoint_offsets_parse(span_of(bytes, text.size), &arena, &out, &count, &fault), ERR_NONE);
    for (int i = 0; i < 2; i++)
        assert_true(span_equal(in[i].topic, out[i].topic) && in[i].partition == out[i].partition && in[i].offset == out[i].offset);

    struct epoch_cache cache, again;
    epoch_cache_init(&cache, &pool);
    epoch_cache_init(&again, &pool);
    assert_int_equal(epoch_assign(&cache, 0, 0), ERR_NONE);
    assert_int_equal(epoch_assign(&cache, INT32_MAX, INT64_MAX), ERR_NONE);
    size = checkpoint_epochs_size(&cache);
    text_init(&text, bytes = arena_alloc(&arena, size), size);
    checkpoint_epochs_print(&cache, &text);
    assert_false(text.cut);
    assert_string_equal(bytes, "0\n2\n0 0\n2147483647 9223372036854775807\n");
    assert_int_equal(checkpoint_epochs_parse(span_of(bytes, text.size), &again, &fault), ERR_NONE);
    assert_true(again.count == 2 && epoch_latest(&again) == INT32_MAX && !again.changed);
    epoch_cache_destroy(&cache);
    epoch_cache_destroy(&again);
    end();
}

/* A wrong leader-epoch-checkpoint leaves an empty cache and names its line; contradictions are resolved, not refused. */
TEST(epoch_checkpoints) {
    static const struct { const char *text; enum err err; uint32_t count, line; } cases[] = {
        {"0\n2\n1 0\n3 10\n", ERR_NONE, 2, 0}, {"0\n3\n1 0\n3 10\n2 20\n", ERR_NONE, 2, 0}, {"", ERR_NONE, 0, 0},
        {"0\n1\n-1 0\n", ERR_CORRUPT, 0, 3},   {"0\n1\n1 -5\n", ERR_CORRUPT, 0, 3},         {"0\n2\n1 0\n", ERR_CORRUPT, 0, 2},
        {"0\n1\n1 0 0\n", ERR_CORRUPT, 0, 3},  {"0\n1\n1 0\n2 3\n", ERR_CORRUPT, 0, 2},     {"0\n1\n1\n", ERR_CORRUPT, 0, 3}};
    struct epoch_cache cache;
    struct checkpoint_fault fault;
    begin();
    epoch_cache_init(&cache, &pool);
    for (size_t i = 0; i < countof(cases); i++) {
        assert_int_equal(checkpoint_epochs_parse(span_text(cases[i].text), &cache, &fault), cases[i].err);
        assert_int_equal(cache.count, cases[i].count);
        assert_int_equal(fault.line, cases[i].line);
    }
    epoch_cache_destroy(&cache);
    end();
}

TEST(partition_metadata) {
    static const struct { const char *text; enum err err; uint32_t line; } cases[] = {
        {"version: 0\ntopic_id: guigBCrjR5OJjliOMLVYNQ", ERR_NONE, 0},
        {"version: 0\ntopic_id: guigBCrjR5OJjliOMLVYNQ\n", ERR_NONE, 0},
        {"version: 7\r\ntopic_id:   guigBCrjR5OJjliOMLVYNQ \r\n", ERR_NONE, 0},
        {"", ERR_CORRUPT, 1},
        {"version: 0", ERR_CORRUPT, 2},
        {"version: -1\ntopic_id: guigBCrjR5OJjliOMLVYNQ", ERR_CORRUPT, 1},
        {"version:0\ntopic_id: guigBCrjR5OJjliOMLVYNQ", ERR_CORRUPT, 1},
        {"version: 0\ntopic_id: guigBCrjR5OJjliOMLVYN", ERR_CORRUPT, 2},
        {"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", ERR_CORRUPT, 2},
        {"topic_id: guigBCrjR5OJjliOMLVYNQ\nversion: 0\n", ERR_CORRUPT, 1}};
    struct checkpoint_fault fault;
    struct uuid id;
    char bytes[PARTITION_METADATA_BYTES + 1];
    struct text text;
    for (size_t i = 0; i < countof(cases); i++) {
        assert_int_equal(partition_metadata_parse(span_text(cases[i].text), &id, &fault), cases[i].err);
        assert_int_equal(fault.line, cases[i].line);
    }
    assert_int_equal(partition_metadata_parse(span_text(cases[0].text), &id, &fault), ERR_NONE);
    text_init(&text, bytes, sizeof bytes);
    partition_metadata_print(id, &text);
    assert_false(text.cut);
    assert_string_equal(bytes, cases[0].text);
}

/* A mark that cannot be read is a mark without an epoch, as for Kafka. */
TEST(clean_shutdown_marks) {
    static const struct { const char *text; broker_epoch epoch; } cases[] = {
        {"{\"version\":0,\"brokerEpoch\":14}", 14}, {" { \"brokerEpoch\" : 9223372036854775807, \"version\" : 0 }\n", INT64_MAX},
        {"{\"version\":1,\"brokerEpoch\":14}", -1}, {"{\"version\":0}", -1}, {"{\"version\":0,\"brokerEpoch\":\"14\"}", -1}, {"", -1}, {"{", -1}, {"[]", -1}, {"14", -1}};
    for (size_t i = 0; i < countof(cases); i++) assert_int_equal(clean_shutdown_parse(span_text(cases[i].text)), cases[i].epoch);
    char bytes[64];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    clean_shutdown_print(14, &text);
    assert_string_equal(bytes, cases[0].text);
}

/* Java's properties: any order, comments, spaces, escapes, continued lines; and what is missing or wrong is named. */
TEST(meta_properties) {
    static const struct { const char *text; enum err err; int32_t version; broker_id node; uint32_t line; } cases[] = {
        {"#\n#Fri Nov 20 23:47:32 UTC 2026\nnode.id=1\ndirectory.id=Lh5EN2ABTh6YwD2b_wPwiA\nversion=1\ncluster.id=TbH7K9H3or5WN2m56kkS5w\n", ERR_NONE, 1, 1, 0},
        {"  cluster.id : c\n!x\n\nversion 1\nnode\\.id\t=\t7\r\nsomething.else=9", ERR_NONE, 1, 7, 0},
        {"version=1\ncluster.id=\\u0063\nnode.id=1\\\n   2\n", ERR_NONE, 1, 12, 0},
        {"broker.id=3\n", ERR_NONE, 0, 3, 0},
        {"", ERR_NONE, 0, -1, 0},
        {"version=1\nnode.id=1\n", ERR_CORRUPT, 1, 1, 0},
        {"version=1\ncluster.id=c\n", ERR_CORRUPT, 1, -1, 0},
        {"version=2\ncluster.id=c\nnode.id=1\n", ERR_UNSUPPORTED, 2, 1, 0},
        {"version=x\n", ERR_CORRUPT, 0, -1, 1},
        {"version=1\nnode.id=one\n", ERR_CORRUPT, 1, -1, 2},
        {"version=1\nnode.id=1 \n", ERR_CORRUPT, 1, -1, 2}, /* Java keeps what is behind a value */
        {"version=1\ndirectory.id=x\n", ERR_CORRUPT, 1, -1, 2}};
    struct meta_properties meta;
    struct checkpoint_fault fault;
    for (size_t i = 0; i < countof(cases); i++) {
        assert_int_equal(meta_properties_parse(span_text(cases[i].text), &meta, &fault), cases[i].err);
        assert_int_equal(meta.version, cases[i].version);
        assert_int_equal(meta.node, cases[i].node);
        assert_int_equal(fault.line, cases[i].line);
        if (!cases[i].err && cases[i].version) assert_true(!strcmp(meta.cluster_id, i ? "c" : "TbH7K9H3or5WN2m56kkS5w"));
    }
    char bytes[META_PROPERTIES_BYTES_MAX], longest[400];
    struct text text;
    assert_int_equal(meta_properties_parse(span_text(cases[0].text), &meta, &fault), ERR_NONE);
    text_init(&text, bytes, sizeof bytes);
    meta_properties_print(&meta, 1795218452000, &text); /* the time in that file */
    assert_string_equal(bytes, cases[0].text);
    memset(meta.cluster_id, 'c', CLUSTER_ID_BYTES_MAX);
    meta.cluster_id[CLUSTER_ID_BYTES_MAX] = 0;
    meta.node = INT32_MAX;
    text_reset(&text);
    meta_properties_print(&meta, INT64_MAX / 1000, &text);
    assert_false(text.cut);
    assert_int_equal(meta_properties_parse(span_of(bytes, text.size), &meta, &fault), ERR_NONE);
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "cluster.id=", 11);
    assert_int_equal(meta_properties_parse(span_of(longest, sizeof longest), &meta, &fault), ERR_CORRUPT);
}

/* Every date that Java would print: days are counted by hand over two centuries and more. */
TEST(dates_of_meta_properties) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static const char *const names[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    struct meta_properties meta = {.version = 1, .node = 1, .cluster_id = "c"};
    int64_t day = 0;
    for (int year = 1970; year < 2210; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 0; month < 12; month++) {
            for (int of_month = 1; of_month <= days[month] + (leap && month == 1); of_month++, day++) {
                char bytes[META_PROPERTIES_BYTES_MAX], expected[64];
                struct text text, line;
                text_init(&text, bytes, sizeof bytes);
                text_init(&line, expected, sizeof expected);
                meta_properties_print(&meta, (day * 86400 + 3661) * 1000, &text);
                text_add(&line, "#\n#%s %s %02d 01:01:01 UTC %d\n", names[day % 7], months[month], of_month, year);
                assert_memory_equal(bytes, expected, line.size);
            }
        }
    }
}
