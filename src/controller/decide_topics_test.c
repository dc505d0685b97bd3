/* Decisions about topics, as tables: the error cases of each API in the order in which they are looked for. */
#include "controller/machine_rig.h"
#include "test.h"

struct create_case {
    const char *what, *name;
    int32_t partitions;
    int16_t factor;
    int32_t assigned[4][4];       /* partition index, then brokers; -1 ends a list, {-2}: no more */
    const char *key, *value;      /* NULL value: null */
    enum kafka_error error;
};
#define NONE_ASSIGNED {{-2}}
static const struct create_case creates[] = {
    {"fine", "new", 2, 2, NONE_ASSIGNED, NULL, NULL, KAFKA_NONE},
    {"defaults", "new", -1, -1, NONE_ASSIGNED, NULL, NULL, KAFKA_NONE},
    {"empty name", "", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_TOPIC_EXCEPTION},
    {"dot", ".", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_TOPIC_EXCEPTION},
    {"dots", "..", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_TOPIC_EXCEPTION},
    {"bad sign", "a b", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_TOPIC_EXCEPTION},
    {"collides", "dotted_name", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_TOPIC_EXCEPTION},
    {"exists", "t", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_TOPIC_ALREADY_EXISTS},
    {"exists, with a dot", "dotted.name", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_TOPIC_ALREADY_EXISTS},
    {"metadata topic", "__cluster_metadata", 1, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_REQUEST},
    {"null config", "new", 1, 1, NONE_ASSIGNED, "retention.ms", NULL, KAFKA_INVALID_CONFIG},
    {"unknown config", "new", 1, 1, NONE_ASSIGNED, "retention.minutes", "1", KAFKA_INVALID_CONFIG},
    {"bad config", "new", 1, 1, NONE_ASSIGNED, "retention.ms", "soon", KAFKA_INVALID_CONFIG},
    {"configs that do not fit together", "new", 1, 1, NONE_ASSIGNED, "max.compaction.lag.ms", "1", KAFKA_NONE},
    {"config before factor", "new", 1, 0, NONE_ASSIGNED, "retention.ms", "soon", KAFKA_INVALID_CONFIG},
    {"factor 0", "new", 1, 0, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_REPLICATION_FACTOR},
    {"factor -2", "new", 0, -2, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_REPLICATION_FACTOR},
    {"partitions 0", "new", 0, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_PARTITIONS},
    {"partitions -2", "new", -2, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_PARTITIONS},
    {"factor too large", "new", 1, 5, NONE_ASSIGNED, NULL, NULL, KAFKA_INVALID_REPLICATION_FACTOR},
    {"fenced brokers count", "new", 1, 4, NONE_ASSIGNED, NULL, NULL, KAFKA_NONE},
    {"too many partitions", "new", 10001, 1, NONE_ASSIGNED, NULL, NULL, KAFKA_POLICY_VIOLATION},
    {"assigned", "new", -1, -1, {{1, 2, 0, -1}, {0, 1, 2, -1}, {-2}}, NULL, NULL, KAFKA_NONE},
    {"assigned, with factor", "new", -1, 2, {{0, 1, 2, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REQUEST},
    {"assigned, with partitions", "new", 1, -1, {{0, 1, 2, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REQUEST},
    {"assigned twice", "new", -1, -1, {{0, 1, -1}, {0, 2, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned with a gap", "new", -1, -1, {{0, 1, -1}, {2, 2, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned to nobody", "new", -1, -1, {{0, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned to a stranger", "new", -1, -1, {{0, 1, 9, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned twice to one", "new", -1, -1, {{0, 1, 1, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned unevenly", "new", -1, -1, {{0, 1, -1}, {1, 1, 2, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned to a fenced one", "new", -1, -1, {{0, 3, -1}, {-2}}, NULL, NULL, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned to a fenced one, too", "new", -1, -1, {{0, 3, 1, -1}, {-2}}, NULL, NULL, KAFKA_NONE},
};

static void fill_topic(struct rig *rig, struct create_topics_request_creatable_topic *topic, const struct create_case *c) {
    topic->name = span_text(c->name);
    topic->num_partitions = c->partitions;
    topic->replication_factor = c->factor;
    topic->assignments = create_topics_request_creatable_replica_assignment_array(&rig->memory, 4);
    for (int i = 0; i < 4 && c->assigned[i][0] != -2; i++) {
        struct create_topics_request_creatable_replica_assignment *to = &topic->assignments[topic->assignments_count++];
        to->partition_index = c->assigned[i][0];
        to->broker_ids = ARENA_ARRAY(&rig->memory, 4, int32_t);
        for (int k = 1; k < 4 && c->assigned[i][k] != -1; k++) to->broker_ids[to->broker_ids_count++] = c->assigned[i][k];
    }
    if (!c->key) return;
    topic->configs = create_topics_request_creatable_topic_config_array(&rig->memory, 1);
    topic->configs_count = 1;
    topic->configs[0].name = span_text(c->key);
    topic->configs[0].value = c->value ? span_text(c->value) : (struct span){0};
}

/* One topic for each row: the error of the row and nothing written, or the topic as it was asked for; and the same with
 * validate_only, which never writes. */
TEST(decide_create_topics_by_table) {
    for (int only = 0; only < 2; only++)
        for (size_t i = 0; i < countof(creates); i++) {
            const struct create_case *c = &creates[i];
            struct rig rig;
            rig_open_cluster(&rig, RIG_QUIET "num.partitions=4\ndefault.replication.factor=2\n", MV_LATEST, true);
            log_offset end = rig.end;
            struct create_topics_request in;
            struct create_topics_response out;
            create_topics_request_init(&in);
            create_topics_response_init(&out);
            in.validate_only = only;
            in.topics = create_topics_request_creatable_topic_array(&rig.memory, 1);
            in.topics_count = 1;
            fill_topic(&rig, &in.topics[0], c);
            assert_int_equal(rig_call(&rig, 19, 7, &in, &out), KAFKA_NONE);
            assert_int_equal(out.topics_count, 1);
            if (out.topics[0].error_code != (int16_t)c->error) fail_msg("%s: error %d, not %d", c->what, out.topics[0].error_code, c->error);
            assert_int_equal(out.topics[0].error_message.data != NULL, c->error != KAFKA_NONE);
            assert_int_equal(rig.end > end, c->error == KAFKA_NONE && !only);
            const struct image_topic *topic = c->error == KAFKA_NONE ? image_topic(rig_image(&rig), span_text(c->name)) : NULL;
            if (c->error == KAFKA_NONE) {
                int32_t partitions = c->assigned[0][0] != -2 ? in.topics[0].assignments_count : c->partitions == -1 ? 4 : c->partitions;
                assert_int_equal(out.topics[0].num_partitions, partitions);
                assert_true(out.topics[0].configs_count > 30);
                assert_int_equal(topic != NULL, !only);
                if (topic) {
                    assert_int_equal(topic->partition_count, partitions);
                    assert_true(uuid_equal(topic->id, out.topics[0].topic_id));
                    const struct image_partition *p = image_partition(topic, 0);
                    assert_int_equal(p->replicas, out.topics[0].replication_factor);
                    assert_false(image_ids_contain(image_isr(p), 3)); /* fenced */
                    assert_int_equal(p->leader, image_isr(p).ids[0]);
                    assert_true(uuid_equal(image_directory(p, 0), rig.directories[image_replicas(p).ids[0]]));
                }
            }
            rig_check(&rig, NULL);
            rig_close(&rig);
        }
}

/* Of several topics each has its own fate; a name that comes twice is refused once; together too many is refused whole. */
TEST(decide_create_topics_together) {
    struct rig rig;
    rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
    struct create_topics_request in;
    struct create_topics_response out;
    create_topics_request_init(&in);
    create_topics_response_init(&out);
    static const char *const names[] = {"a", "twice", "t", "twice", "b"};
    in.topics = create_topics_request_creatable_topic_array(&rig.memory, 5);
    in.topics_count = 5;
    for (int i = 0; i < 5; i++) {
        in.topics[i].name = span_text(names[i]);
        in.topics[i].num_partitions = in.topics[i].replication_factor = 1;
    }
    assert_int_equal(rig_call(&rig, 19, 7, &in, &out), KAFKA_NONE);
    assert_int_equal(out.topics_count, 4);
    static const struct { const char *name; enum kafka_error error; } expected[] = {
        {"a", KAFKA_NONE}, {"t", KAFKA_TOPIC_ALREADY_EXISTS}, {"b", KAFKA_NONE}, {"twice", KAFKA_INVALID_REQUEST}};
    for (int i = 0; i < 4; i++) {
        assert_true(span_equal(out.topics[i].name, span_text(expected[i].name)));
        assert_int_equal(out.topics[i].error_code, expected[i].error);
    }
    assert_non_null(image_topic(rig_image(&rig), SPAN_LITERAL("a")));
    assert_null(image_topic(rig_image(&rig), SPAN_LITERAL("twice")));
    for (int i = 0; i < 5; i++) in.topics[i].num_partitions = 2001, in.topics[i].name = span_text((const char *[]){"c", "d", "e", "f", "g"}[i]);
    log_offset end = rig.end;
    assert_int_equal(rig_call(&rig, 19, 7, &in, &out), KAFKA_NONE);
    for (int i = 0; i < 5; i++) assert_int_equal(out.topics[i].error_code, KAFKA_POLICY_VIOLATION);
    assert_int_equal(rig.end, end);
    rig_close(&rig);
}

/* ---- DeleteTopics */

TEST(decide_delete_topics_by_table) {
    struct rig rig;
    rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
    const struct uuid t = image_topic(rig_image(&rig), SPAN_LITERAL("t"))->id, dotted = image_topic(rig_image(&rig), SPAN_LITERAL("dotted.name"))->id;
    const struct uuid stranger = {{9, 9}}, other = {{8, 8}};
    struct { const char *name; struct uuid id; } asked[] = {
        {NULL, {{0}}}, {"t", t}, {"missing", {{0}}}, {NULL, stranger}, {"twice", {{0}}}, {"twice", {{0}}}, {NULL, other}, {NULL, other},
        {"dotted.name", {{0}}}, {NULL, dotted}};
    struct delete_topics_request in;
    struct delete_topics_response out;
    delete_topics_request_init(&in);
    delete_topics_response_init(&out);
    in.topics = delete_topics_request_delete_topic_state_array(&rig.memory, countof(asked));
    in.topics_count = countof(asked);
    for (size_t i = 0; i < countof(asked); i++) {
        in.topics[i].name = asked[i].name ? span_text(asked[i].name) : (struct span){0};
        in.topics[i].topic_id = asked[i].id;
    }
    assert_int_equal(rig_call(&rig, 20, 6, &in, &out), KAFKA_NONE);
    assert_int_equal(out.responses_count, 7);
    int none = 0, requests = 0;
    for (int i = 0; i < out.responses_count; i++) {
        int16_t error = out.responses[i].error_code;
        none += error == KAFKA_NONE;
        requests += error == KAFKA_INVALID_REQUEST;
        if (error == KAFKA_UNKNOWN_TOPIC_ID) assert_true(uuid_equal(out.responses[i].topic_id, stranger));
        if (error == KAFKA_UNKNOWN_TOPIC_OR_PARTITION) assert_true(span_equal(out.responses[i].name, SPAN_LITERAL("missing")));
    }
    assert_int_equal(none, 0);
    assert_int_equal(requests, 5); /* neither, both, twice by name, twice by id, by name and by id: told once, not deleted */
    assert_non_null(image_topic(rig_image(&rig), SPAN_LITERAL("dotted.name")));
    in.topics_count = 1;
    in.topics[0].name = (struct span){0};
    in.topics[0].topic_id = dotted;
    delete_topics_response_init(&out);
    assert_int_equal(rig_call(&rig, 20, 6, &in, &out), KAFKA_NONE);
    assert_int_equal(out.responses_count, 1);
    assert_int_equal(out.responses[0].error_code, KAFKA_NONE);
    assert_true(span_equal(out.responses[0].name, SPAN_LITERAL("dotted.name"))); /* though it is gone from the image */
    assert_null(image_topic(rig_image(&rig), SPAN_LITERAL("dotted.name")));
    assert_non_null(image_topic(rig_image(&rig), SPAN_LITERAL("t")));
    rig_close(&rig);
    rig_open_cluster(&rig, RIG_QUIET "delete.topic.enable=false\n", MV_LATEST, true);
    struct span name = SPAN_LITERAL("t");
    delete_topics_request_init(&in);
    in.topic_names = &name;
    in.topic_names_count = 1;
    assert_int_equal(rig_call(&rig, 20, 3, &in, &out), KAFKA_NONE);
    assert_int_equal(out.responses[0].error_code, KAFKA_TOPIC_DELETION_DISABLED);
    assert_int_equal(rig_call(&rig, 20, 2, &in, &out), KAFKA_NONE);
    assert_int_equal(out.responses[0].error_code, KAFKA_INVALID_REQUEST);
    rig_close(&rig);
}
