/* Groups of the newer protocols, as Apache Kafka leaves them in the log: kept, listed, described as not being classic ones. */
#include "base/text.h"
#include "group/group.h"
#include "test.h"
#include "wire/record_frame.h"
#include <string.h>

struct rig {
    struct pool pool;
    struct arena arena;
    struct group_machine *machine;
    log_offset end;
};

static void rig_new(struct rig *rig) {
    struct group_settings settings = group_settings_default();
    *rig = (struct rig){.end = 0};
    pool_init(&rig->pool, 0, 4);
    arena_init(&rig->arena, &rig->pool, 0);
    rig->machine = group_machine_new(&rig->pool, &settings);
    assert_non_null(rig->machine);
}

static void rig_free(struct rig *rig) {
    group_check(rig->machine);
    group_machine_free(rig->machine);
    arena_destroy(&rig->arena);
    pool_destroy(&rig->pool);
}

/* value NULL: a tombstone. */
static void put(struct rig *rig, const struct wire_message *key_message, const void *key, const struct wire_message *value_message, const void *value) {
    struct group_record record = {.key = wire_coordinator_key_frame(key_message, key, &rig->arena)};
    assert_non_null(record.key.data);
    if (value) record.value = wire_coordinator_value_frame(value_message, 0, value, &rig->arena);
    struct group_batch batch = {.records = &record, .count = 1, .producer_id = -1, .producer_epoch = -1};
    assert_true(group_apply(rig->machine, &batch, rig->end++, false));
    assert_int_equal(group_unreadable_records(rig->machine), 0);
}

#define PUT(rig, name, key_fields, ...) do {                                                                \
        struct name##_key key_ = key_fields;                                                                \
        struct name##_value value_;                                                                         \
        name##_value_init(&value_);                                                                         \
        __VA_ARGS__;                                                                                        \
        put(rig, &name##_key_message, &key_, &name##_value_message, &value_);                               \
    } while (0)
#define GROUP_KEY {.group_id = SPAN_LITERAL("g")}
#define MEMBER_KEY(id) {.group_id = SPAN_LITERAL("g"), .member_id = SPAN_LITERAL(id)}
#define MEMBER_A MEMBER_KEY("a")

static void decide(struct rig *rig, struct group_request *request) {
    struct group_effects effects;
    struct random random;
    random_seed(&random, 1);
    struct group_now now = {.now_ms = 1000, .wall_ms = 1000, .random = &random};
    list_init(&request->node);
    request->arena = &rig->arena;
    group_effects_init(&effects, &rig->arena);
    group_decide(rig->machine, request, &now, &effects);
    assert_false(effects.failed);
    assert_int_equal(effects.count, 0);
    group_applied(rig->machine, &now, &effects);
    assert_false(list_is_empty(&effects.completed));
}

/* "name type state protocol" of the only group; "" without one. */
static const char *listed(struct rig *rig, const char *type_filter, const char *state_filter) {
    static char line[128];
    struct span types = span_text(type_filter), states = span_text(state_filter);
    struct list_groups_request body;
    list_groups_request_init(&body);
    body.types_filter = &types;
    body.types_filter_count = types.size > 0;
    body.states_filter = &states;
    body.states_filter_count = states.size > 0;
    struct group_request request = {.type = GROUP_LIST, .version = 5, .list = &body};
    decide(rig, &request);
    struct text text;
    text_init(&text, line, sizeof line);
    for (int32_t i = 0; i < request.answer.list->groups_count; i++) {
        const struct list_groups_response_listed_group *group = &request.answer.list->groups[i];
        const struct span parts[] = {group->group_id, group->group_type, group->group_state, group->protocol_type};
        for (size_t p = 0; p < countof(parts); p++) {
            if (p) text_add(&text, " ");
            text_add_span(&text, parts[p]);
        }
    }
    return line;
}

static void describe(struct rig *rig, int16_t version, enum kafka_error error, const char *message) {
    struct group_request request = {.type = GROUP_DESCRIBE, .version = version, .group_id = SPAN_LITERAL("g")};
    decide(rig, &request);
    const struct describe_groups_response_described_group *answer = request.answer.describe;
    assert_int_equal(answer->error_code, error);
    assert_true(span_equal(answer->group_state, SPAN_LITERAL("Dead")));
    if (message) assert_true(span_equal(answer->error_message, span_text(message)));
}

/* A consumer group from its first record to its last: empty, being assigned, being reconciled, stable, and gone. */
TEST(group_states_of_the_consumer_protocol) {
    struct rig rig;
    rig_new(&rig);
    PUT(&rig, consumer_group_metadata, GROUP_KEY, value_.epoch = 1);
    assert_string_equal(listed(&rig, "", ""), "g consumer Empty consumer");
    PUT(&rig, consumer_group_member_metadata, MEMBER_A, value_.client_id = SPAN_LITERAL("c"));
    assert_string_equal(listed(&rig, "", ""), "g consumer Assigning consumer");
    PUT(&rig, consumer_group_target_assignment_metadata, GROUP_KEY, value_.assignment_epoch = 1);
    assert_string_equal(listed(&rig, "", ""), "g consumer Reconciling consumer");
    PUT(&rig, consumer_group_current_member_assignment, MEMBER_A, value_.member_epoch = 1);
    assert_string_equal(listed(&rig, "", ""), "g consumer Stable consumer");
    PUT(&rig, consumer_group_current_member_assignment, MEMBER_A, (value_.member_epoch = 1, value_.state = 1));
    assert_string_equal(listed(&rig, "CONSUMER", "reconciling"), "g consumer Reconciling consumer");
    assert_string_equal(listed(&rig, "classic", ""), "");
    assert_string_equal(listed(&rig, "", "Stable"), "");
    PUT(&rig, consumer_group_current_member_assignment, MEMBER_A, value_.member_epoch = 1);
    PUT(&rig, consumer_group_metadata, GROUP_KEY, value_.epoch = 2);
    assert_string_equal(listed(&rig, "", ""), "g consumer Assigning consumer");
    describe(&rig, 5, KAFKA_NONE, NULL);
    describe(&rig, 6, KAFKA_GROUP_ID_NOT_FOUND, "Group g is not a classic group.");
    struct consumer_group_member_metadata_key member = MEMBER_A;
    struct consumer_group_metadata_key group = GROUP_KEY;
    put(&rig, &consumer_group_member_metadata_key_message, &member, NULL, NULL);
    assert_string_equal(listed(&rig, "", ""), "g consumer Empty consumer");
    put(&rig, &consumer_group_metadata_key_message, &group, NULL, NULL);
    assert_string_equal(listed(&rig, "", ""), "");
    describe(&rig, 6, KAFKA_GROUP_ID_NOT_FOUND, "Group g not found.");
    rig_free(&rig);
}

/* Streams groups have the same states; their members' numbers for them are others. */
TEST(group_states_of_the_streams_protocol) {
    struct rig rig;
    rig_new(&rig);
    PUT(&rig, streams_group_metadata, GROUP_KEY, value_.epoch = 3);
    PUT(&rig, streams_group_member_metadata, MEMBER_A, value_.client_id = SPAN_LITERAL("c"));
    assert_string_equal(listed(&rig, "", ""), "g streams Assigning streams");
    PUT(&rig, streams_group_target_assignment_metadata, GROUP_KEY, value_.assignment_epoch = 3);
    PUT(&rig, streams_group_current_member_assignment, MEMBER_A, (value_.member_epoch = 3, value_.state = 2));
    assert_string_equal(listed(&rig, "", ""), "g streams Reconciling streams");
    PUT(&rig, streams_group_current_member_assignment, MEMBER_A, (value_.member_epoch = 3, value_.state = 1));
    assert_string_equal(listed(&rig, "streams", "Stable"), "g streams Stable streams");
    describe(&rig, 6, KAFKA_GROUP_ID_NOT_FOUND, "Group g is not a classic group.");
    rig_free(&rig);
}

/* Share groups are empty or stable. */
TEST(group_states_of_share_groups) {
    struct rig rig;
    rig_new(&rig);
    PUT(&rig, share_group_metadata, GROUP_KEY, value_.epoch = 3);
    assert_string_equal(listed(&rig, "share", "Empty"), "g share Empty share");
    PUT(&rig, share_group_member_metadata, MEMBER_A, value_.client_id = SPAN_LITERAL("c"));
    assert_string_equal(listed(&rig, "share", ""), "g share Stable share");
    describe(&rig, 6, KAFKA_GROUP_ID_NOT_FOUND, "Group g is not a classic group.");
    rig_free(&rig);
}
