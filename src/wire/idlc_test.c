#include "test.h"
#include "wire/idlc.h"
#include <stdlib.h>
#include <string.h>

/* Reads and checks a text; what was reported goes to `report`. */
static bool understood(const char *text, struct idl *idl, char *report, size_t report_bytes) {
    char copy[2048];
    strcpy(copy, text);
    memset(idl, 0, sizeof *idl);
    memset(report, 0, report_bytes);
    FILE *in = fmemopen(copy, strlen(copy), "r");
    idl_reports = fmemopen(report, report_bytes, "w");
    bool good = idl_read(idl, "x/test.idl", in) && idl_check(idl);
    fclose(in);
    fclose(idl_reports);
    idl_reports = NULL;
    return good;
}

/* A bad definition is refused with its file, its line and what is wrong with it. */
TEST(bad_definitions_are_refused_with_their_line) {
    static const struct { const char *text, *report; } cases[] = {
        {"nonsense 1\n", "x/test.idl:1: error: nonsense begins nothing"},
        {"data A versions 0\n  X int33 0+\n", "x/test.idl:2: error: int33 is no type"},
        {"data A versions 0\n  X int32 3x\n", "x/test.idl:2: error: X: expected versions"},
        {"data A versions 0\n  X int32 0+ wonderful\n", "x/test.idl:2: error: wonderful: not understood"},
        {"data A versions 0\n   X int32 0+\n", "x/test.idl:2: error: indentation is two spaces"},
        {"data A versions 0\n  X int32 0+\n    Y int32 0+\n", "x/test.idl:3: error: indented below nothing"},
        {"  X int32 0+\n", "x/test.idl:1: error: a field outside of a message"},
        {"data A versions 0\n  X int32 0+\n  X int64 0+\n", "x/test.idl:3: error: X is there twice"},
        {"data A versions 0\n  X Y 0+\n", "x/test.idl:2: error: X: Y is neither defined here"},
        {"data A versions 0\n  Nam string 0+\n  X string 0+ setting\n", "x/test.idl:3: error: X: a setting, and no string Name"},
        {"data A versions 0\n  X int32 0+ nullable\n", "x/test.idl:2: error: X: a int32 cannot be null"},
        {"data A versions 0\n  X string 0+ default null\n", "x/test.idl:2: error: X: null by default, and not nullable"},
        {"data A versions 0\n  X int8 0+ default 128\n", "x/test.idl:2: error: X: default 128 does not fit"},
        {"data A versions 0\n  X uint16 0+ default -1\n", "x/test.idl:2: error: X: default -1 does not fit"},
        {"data A versions 0-1 flexible 1+\n  X int8 0+ tag 0\n", "x/test.idl:2: error: X: tagged before the message is flexible"},
        {"data A versions 0 flexible 0+\n  X int8 0+ tag 1\n", "x/test.idl:1: error: the tags of A are not 0 to 0"},
        {"data A versions 0 flexible 0+\n  X int8 0+ tag 0\n  Y int8 0+ tag 0\n", "x/test.idl:3: error: Y: tag 0 is taken"},
        {"data A versions 0\n  X []B 0+\n    Y []B 0+\n", "x/test.idl:3: error: struct B contains itself"},
        {"data A versions 0\n  struct B\n    Y int8 0+\n", "x/test.idl:2: error: nothing uses struct B"},
        {"data A versions 0\ndata A versions 0\n", "x/test.idl:2: error: message A is defined twice"},
        {"api 0 A versions 0 on broker\nrequest\n", "x/test.idl:1: error: A lacks its request or its response"},
        {"api 0 A versions 0\n", "x/test.idl:1: error: expected: on broker"},
        {"api 1 A reserved\n", "x/test.idl:1: error: no api has key 0"},
        {"request\n", "x/test.idl:1: error: request without an api"},
        {"error 0 NONE\nerror 2 TWO\n", "x/test.idl:2: error: error 2 does not follow 0"},
        {"metadata 1 A versions 0\nmetadata 1 B versions 0\n", "x/test.idl:2: error: type 1 is A already"},
    };
    static struct idl idl;
    char report[1024];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(understood(cases[i].text, &idl, report, sizeof report));
        if (!strstr(report, cases[i].report)) print_message("%s-> %s", cases[i].text, report);
        assert_non_null(strstr(report, cases[i].report));
    }
}

/* What a good definition means: ranges end with the message, structs stand before those that need them, and the least
 * bytes count lengths, tags and what a version lacks. */
TEST(definitions_are_understood) {
    static struct idl idl;
    char report[1024];
    assert_true(understood("# a comment\n"
                           "data Thing versions 1-3 flexible 3+\n"
                           "  Name   string 0+\n"
                           "  Parts  []Part 2+ nullable\n"
                           "    Id   int32 0+ default -1\n"
                           "    At   Place 0+   # defined below\n"
                           "  Note   string 3+ tag 0 nullable default null\n"
                           "  struct Place\n"
                           "    KRaftPort uint16 0+\n", &idl, report, sizeof report));
    const struct idl_message *message = idl.messages[0];
    assert_string_equal(message->family, "test");
    assert_int_equal(message->struct_count, 2);
    assert_string_equal(message->structs[0]->c_name, "thing_place");
    assert_string_equal(message->structs[0]->fields[0].c_name, "kraft_port");
    assert_string_equal(message->structs[1]->c_name, "thing_part");
    assert_int_equal(message->body->fields[1].versions.low, 2);
    assert_int_equal(message->body->fields[1].versions.high, 3);
    assert_int_equal(idl_struct_bytes_min(message->body, message, 1), 2);
    assert_int_equal(idl_struct_bytes_min(message->body, message, 2), 2 + 4);
    assert_int_equal(idl_struct_bytes_min(message->body, message, 3), 1 + 1 + 1);
    assert_int_equal(idl_struct_bytes_min(message->structs[1], message, 3), 4 + 2 + 1 + 1);
}

/* Names in C. */
TEST(names_become_snake_case) {
    static const char *const cases[][2] = {{"TopicId", "topic_id"}, {"KRaftVersionRecord", "kraft_version_record"}, {"ISR", "isr"},
        {"UserEndpoint", "user_endpoint"}, {"KRaftVersionFeature", "kraft_version_feature"}, {"topicGroupId", "topic_group_id"}, {"ABTest", "ab_test"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_string_equal(idl_snake(cases[i][0], false), cases[i][1]);
}
