/* Decisions as tables: for each API its error cases in the order in which they are looked for, on a cluster of three brokers
 * (0, 1, 2; 3 is fenced) with topics `t` (3 partitions of 3 replicas) and `dotted.name`. */
#include "controller/machine_rig.h"
#include "test.h"
#include "wire/record_frame.h"
#include <string.h>

static void open_cluster(struct rig *rig, const char *config, int16_t mv, bool elr) {
    rig_open(rig, config, 7);
    struct feature_level_record levels[2] = {{SPAN_LITERAL("metadata.version"), mv}, {SPAN_LITERAL(FEATURE_ELR), 1}};
    struct span *values = ARENA_ARRAY(&rig->memory, 2, struct span);
    for (int i = 0; i < 2; i++) values[i] = wire_metadata_frame(&feature_level_record_message, 0, &levels[i], &rig->memory);
    rig->machine.bootstrap = values;
    rig->machine.bootstrap_count = elr ? 2 : 1;
    rig_lead(rig);
    for (broker_id id = 0; id < 4; id++) {
        rig_register(rig, id, NULL);
        if (id < 3) rig_unfence(rig, id);
    }
    assert_int_equal(rig_create(rig, "t", 3, 3), KAFKA_NONE);
    assert_int_equal(rig_create(rig, "dotted.name", 1, 1), KAFKA_NONE);
}
#define QUIET "metadata.max.idle.interval.ms=0\nbroker.session.timeout.ms=900000\n"

/* ---- CreateTopics */

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
            open_cluster(&rig, QUIET "num.partitions=4\ndefault.replication.factor=2\n", MV_LATEST, true);
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
    open_cluster(&rig, QUIET, MV_LATEST, true);
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
    open_cluster(&rig, QUIET, MV_LATEST, true);
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
    open_cluster(&rig, QUIET "delete.topic.enable=false\n", MV_LATEST, true);
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

/* ---- CreatePartitions */

static const struct { const char *what, *name; int32_t count, lists, brokers[3]; enum kafka_error error; } grows[] = {
    {"fine", "t", 5, -1, {0}, KAFKA_NONE},
    {"unknown", "missing", 5, -1, {0}, KAFKA_UNKNOWN_TOPIC_OR_PARTITION},
    {"same", "t", 3, -1, {0}, KAFKA_INVALID_PARTITIONS},
    {"fewer", "t", 2, -1, {0}, KAFKA_INVALID_PARTITIONS},
    {"too many", "t", 10004, -1, {0}, KAFKA_POLICY_VIOLATION},
    {"at the bound", "dotted.name", 10001, -1, {0}, KAFKA_NONE},
    {"lists of another count", "t", 5, 1, {0, 1, 2}, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned", "t", 4, 1, {2, 1, 0}, KAFKA_NONE},
    {"assigned twice to one", "t", 4, 1, {2, 2, 0}, KAFKA_INVALID_REPLICA_ASSIGNMENT},
    {"assigned to a stranger", "t", 4, 1, {2, 1, 9}, KAFKA_INVALID_REPLICA_ASSIGNMENT},
};
TEST(decide_create_partitions_by_table) {
    for (size_t i = 0; i < countof(grows); i++) {
        struct rig rig;
        open_cluster(&rig, QUIET, MV_LATEST, true);
        log_offset end = rig.end;
        struct create_partitions_request in;
        struct create_partitions_response out;
        create_partitions_request_init(&in);
        create_partitions_response_init(&out);
        in.topics = create_partitions_request_create_partitions_topic_array(&rig.memory, 1);
        in.topics_count = 1;
        in.topics[0].name = span_text(grows[i].name);
        in.topics[0].count = grows[i].count;
        in.topics[0].assignments_count = grows[i].lists;
        if (grows[i].lists > 0) {
            in.topics[0].assignments = create_partitions_request_create_partitions_assignment_array(&rig.memory, grows[i].lists);
            in.topics[0].assignments[0].broker_ids = arena_copy(&rig.memory, grows[i].brokers, sizeof grows[i].brokers);
            in.topics[0].assignments[0].broker_ids_count = 3;
        }
        assert_int_equal(rig_call(&rig, 37, 3, &in, &out), KAFKA_NONE);
        assert_int_equal(out.results_count, 1);
        if (out.results[0].error_code != (int16_t)grows[i].error) fail_msg("%s: error %d", grows[i].what, out.results[0].error_code);
        assert_int_equal(rig.end > end, grows[i].error == KAFKA_NONE);
        if (grows[i].error == KAFKA_NONE) {
            assert_int_equal(image_topic(rig_image(&rig), span_text(grows[i].name))->partition_count, grows[i].count);
            if (grows[i].lists > 0) assert_int_equal(rig_partition(&rig, "t", 3)->leader, 2);
        }
        rig_close(&rig);
    }
}

/* ---- AlterPartition */

struct alter_case {
    const char *what;
    int sender;                   /* an index into the replicas; -1: a broker with an old epoch */
    int32_t topic;                /* 0: t, 1: unknown */
    int32_t partition, leader_epoch, partition_epoch; /* the epochs relative to what is */
    int32_t isr[4], isr_count;    /* indexes into the replicas; 9: broker 9 */
    int64_t epochs;               /* relative to what is; 99: -1 */
    int8_t recovery;
    enum kafka_error error;
};
static const struct alter_case alters[] = {
    {"shrink", 0, 0, 0, 0, 0, {0, 1}, 2, 0, 0, KAFKA_NONE},
    {"no epochs told", 0, 0, 0, 0, 0, {0, 1}, 2, 99, 0, KAFKA_NONE},
    {"old broker epoch", -1, 0, 0, 0, 0, {0, 1}, 2, 0, 0, KAFKA_STALE_BROKER_EPOCH},
    {"unknown topic", 0, 1, 0, 0, 0, {0, 1}, 2, 0, 0, KAFKA_UNKNOWN_TOPIC_ID},
    {"unknown partition", 0, 0, 7, 0, 0, {0, 1}, 2, 0, 0, KAFKA_UNKNOWN_TOPIC_OR_PARTITION},
    {"leader epoch ahead", 0, 0, 0, 1, 0, {0, 1}, 2, 0, 0, KAFKA_NOT_CONTROLLER},
    {"partition epoch ahead", 0, 0, 0, 0, 1, {0, 1}, 2, 0, 0, KAFKA_NOT_CONTROLLER},
    {"both ahead and behind", 0, 0, 0, -1, 1, {0, 1}, 2, 0, 0, KAFKA_NOT_CONTROLLER},
    {"leader epoch behind", 0, 0, 0, -1, 0, {0, 1}, 2, 0, 0, KAFKA_FENCED_LEADER_EPOCH},
    {"not the leader", 1, 0, 0, 0, -1, {0, 1}, 2, 0, 0, KAFKA_INVALID_REQUEST},
    {"partition epoch behind", 0, 0, 0, 0, -1, {0, 1}, 2, 0, 0, KAFKA_INVALID_UPDATE_VERSION},
    {"empty", 0, 0, 0, 0, 0, {0}, 0, 0, 0, KAFKA_INVALID_REQUEST},
    {"twice", 0, 0, 0, 0, 0, {0, 1, 1}, 3, 0, 0, KAFKA_INVALID_REQUEST},
    {"stranger", 0, 0, 0, 0, 0, {0, 9}, 2, 99, 0, KAFKA_INVALID_REQUEST},
    {"without the leader", 0, 0, 0, 0, 0, {1, 2}, 2, 0, 0, KAFKA_INVALID_REQUEST},
    {"recovering with two", 0, 0, 0, 0, 0, {0, 1}, 2, 0, 1, KAFKA_INVALID_REQUEST},
    {"recovering anew", 0, 0, 0, 0, 0, {0}, 1, 0, 1, KAFKA_INVALID_REQUEST},
    {"no such recovery", 0, 0, 0, 0, 0, {0}, 1, 0, 2, KAFKA_INVALID_REQUEST},
    {"member's epoch differs", 0, 0, 0, 0, 0, {0, 1}, 2, -1, 0, KAFKA_INELIGIBLE_REPLICA},
};
TEST(decide_alter_partition_by_table) {
    for (size_t i = 0; i < countof(alters); i++) {
        const struct alter_case *c = &alters[i];
        struct rig rig;
        open_cluster(&rig, QUIET, MV_LATEST, true);
        /* Epochs above 0, so that there is something below them. */
        struct partition_change_record bump;
        const struct image_partition *p = rig_partition(&rig, "t", 0);
        rig_lose(&rig);
        partition_change_record_init(&bump);
        bump.topic_id = image_topic(rig_image(&rig), SPAN_LITERAL("t"))->id;
        bump.partition_id = 0;
        bump.leader = p->leader;
        rig_write(&rig, &partition_change_record_message, 2, &bump);
        rig_lead(&rig);
        p = rig_partition(&rig, "t", 0);
        log_offset end = rig.end;
        broker_id sender = image_replicas(p).ids[c->sender < 0 ? 0 : c->sender];
        struct alter_partition_request in;
        struct alter_partition_response out;
        alter_partition_request_init(&in);
        alter_partition_response_init(&out);
        in.broker_id = sender;
        in.broker_epoch = image_broker(rig_image(&rig), sender)->epoch - (c->sender < 0);
        in.topics = alter_partition_request_topic_data_array(&rig.memory, 1);
        in.topics_count = 1;
        in.topics[0].topic_id = c->topic ? (struct uuid){{7}} : bump.topic_id;
        in.topics[0].partitions = alter_partition_request_partition_data_array(&rig.memory, 1);
        in.topics[0].partitions_count = 1;
        struct alter_partition_request_partition_data *data = &in.topics[0].partitions[0];
        data->partition_index = c->partition;
        data->leader_epoch = p->leader_epoch + c->leader_epoch;
        data->partition_epoch = p->partition_epoch + c->partition_epoch;
        data->leader_recovery_state = c->recovery;
        data->new_isr_with_epochs = alter_partition_request_broker_state_array(&rig.memory, 4);
        data->new_isr_with_epochs_count = c->isr_count;
        for (int k = 0; k < c->isr_count; k++) {
            broker_id id = c->isr[k] == 9 ? 9 : image_replicas(p).ids[c->isr[k]];
            const struct image_broker *broker = image_broker(rig_image(&rig), id);
            data->new_isr_with_epochs[k] = (struct alter_partition_request_broker_state){id, c->epochs == 99 || !broker ? -1 : broker->epoch + c->epochs};
        }
        assert_int_equal(rig_call(&rig, 56, 3, &in, &out), KAFKA_NONE);
        int16_t error = out.error_code ? out.error_code : out.topics[0].partitions[0].error_code;
        if (error != (int16_t)c->error) fail_msg("%s: error %d, not %d", c->what, error, c->error);
        assert_int_equal(rig.end > end, c->error == KAFKA_NONE);
        if (c->error == KAFKA_NONE) {
            const struct image_partition *now = rig_partition(&rig, "t", 0);
            assert_int_equal(image_isr(now).count, 2);
            assert_int_equal(now->leader_epoch, data->leader_epoch); /* a shrink does not raise it any more */
            assert_int_equal(now->partition_epoch, data->partition_epoch + 1);
            assert_int_equal(out.topics[0].partitions[0].partition_epoch, now->partition_epoch);
            assert_int_equal(out.topics[0].partitions[0].isr_count, 2);
        }
        rig_close(&rig);
    }
}

/* A fenced broker, or one that shuts down, is not taken into an ISR. */
TEST(decide_alter_partition_refuses_who_is_not_active) {
    struct rig rig;
    open_cluster(&rig, QUIET, MV_LATEST, true);
    struct decide d = {.image = rig_image(&rig), .settings = &rig.machine.settings, .sessions = &rig.machine.sessions, .now_ms = rig.now_ms,
                       .random = &rig.random, .next_offset = rig.end, .arena = &rig.memory, .answer = &rig.memory};
    broker_id gone = image_replicas(rig_partition(&rig, "t", 0)).ids[2], leader = rig_partition(&rig, "t", 0)->leader;
    assert_true(decide_fence(&d, gone));
    assert_int_equal(d.count, 4); /* three partitions, and the fencing */
    struct broker_heartbeat_request beat;
    struct broker_heartbeat_response answer;
    broker_heartbeat_request_init(&beat);
    beat.broker_id = gone;
    beat.broker_epoch = image_broker(rig_image(&rig), gone)->epoch;
    beat.want_fence = true;
    assert_int_equal(rig_call(&rig, 63, 1, &beat, &answer), KAFKA_NONE);
    assert_true(answer.is_fenced);
    const struct image_partition *p = rig_partition(&rig, "t", 0);
    assert_false(image_ids_contain(image_isr(p), gone));
    struct alter_partition_request in;
    struct alter_partition_response out;
    alter_partition_request_init(&in);
    alter_partition_response_init(&out);
    in.broker_id = leader;
    in.broker_epoch = image_broker(rig_image(&rig), leader)->epoch;
    in.topics = alter_partition_request_topic_data_array(&rig.memory, 1);
    in.topics_count = 1;
    in.topics[0].topic_id = image_topic(rig_image(&rig), SPAN_LITERAL("t"))->id;
    in.topics[0].partitions = alter_partition_request_partition_data_array(&rig.memory, 1);
    in.topics[0].partitions_count = 1;
    struct alter_partition_request_partition_data *data = &in.topics[0].partitions[0];
    data->leader_epoch = p->leader_epoch;
    data->partition_epoch = p->partition_epoch;
    data->new_isr_with_epochs = alter_partition_request_broker_state_array(&rig.memory, 2);
    data->new_isr_with_epochs_count = 2;
    data->new_isr_with_epochs[0] = (struct alter_partition_request_broker_state){leader, -1};
    data->new_isr_with_epochs[1] = (struct alter_partition_request_broker_state){gone, -1};
    assert_int_equal(rig_call(&rig, 56, 3, &in, &out), KAFKA_NONE);
    assert_int_equal(out.topics[0].partitions[0].error_code, KAFKA_INELIGIBLE_REPLICA);
    rig_close(&rig);
}

/* ---- BrokerRegistration */

enum { OWN_DIR, NO_DIR, RESERVED_DIR, TWO_SAME, OTHERS_DIR };
static const struct { const char *what, *cluster; broker_id id; bool migrating; int dirs; int16_t mv_max; enum kafka_error error; } registrations[] = {
    {"new", "the-cluster", 9, false, OWN_DIR, MV_LATEST, KAFKA_NONE},
    {"other cluster", "another", 1, true, NO_DIR, 7, KAFKA_INCONSISTENT_CLUSTER_ID},
    {"id is taken", "the-cluster", 1, true, NO_DIR, 7, KAFKA_DUPLICATE_BROKER_REGISTRATION},
    {"from ZooKeeper", "the-cluster", 9, true, NO_DIR, 7, KAFKA_BROKER_ID_NOT_REGISTERED},
    {"no directory", "the-cluster", 9, false, NO_DIR, 7, KAFKA_INVALID_REGISTRATION},
    {"reserved directory", "the-cluster", 9, false, RESERVED_DIR, MV_LATEST, KAFKA_INVALID_REGISTRATION},
    {"directory twice", "the-cluster", 9, false, TWO_SAME, MV_LATEST, KAFKA_INVALID_REGISTRATION},
    {"another's directory", "the-cluster", 9, false, OTHERS_DIR, MV_LATEST, KAFKA_INVALID_REGISTRATION},
    {"too old", "the-cluster", 9, false, OWN_DIR, MV_4_3_IV0, KAFKA_UNSUPPORTED_VERSION},
    {"names no metadata.version", "the-cluster", 9, false, OWN_DIR, -1, KAFKA_UNSUPPORTED_VERSION},
    {"fenced one again", "the-cluster", 3, false, OWN_DIR, MV_LATEST, KAFKA_NONE},
};
TEST(decide_register_broker_by_table) {
    for (size_t i = 0; i < countof(registrations); i++) {
        struct rig rig;
        open_cluster(&rig, QUIET, MV_LATEST, true);
        log_offset end = rig.end;
        struct broker_registration_request in;
        struct broker_registration_response out;
        broker_registration_request_init(&in);
        broker_registration_response_init(&out);
        in.broker_id = registrations[i].id;
        in.cluster_id = span_text(registrations[i].cluster);
        in.incarnation_id = uuid_random(&rig.random);
        in.is_migrating_zk_broker = registrations[i].migrating;
        struct uuid dirs[2] = {rig.directories[registrations[i].id], rig.directories[registrations[i].id]};
        if (registrations[i].dirs == RESERVED_DIR) dirs[0] = DIRECTORY_LOST;
        if (registrations[i].dirs == OTHERS_DIR) dirs[0] = rig.directories[2];
        in.log_dirs = dirs;
        in.log_dirs_count = registrations[i].dirs == NO_DIR ? 0 : registrations[i].dirs == TWO_SAME ? 2 : 1;
        struct broker_registration_request_feature supported[2] = {{SPAN_LITERAL(FEATURE_ELR), 0, 1}, {SPAN_LITERAL(FEATURE_METADATA), MV_MIN, registrations[i].mv_max}};
        in.features = supported;
        in.features_count = registrations[i].mv_max < 0 ? 1 : 2;
        assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
        if (out.error_code != (int16_t)registrations[i].error) fail_msg("%s: error %d", registrations[i].what, out.error_code);
        assert_int_equal(rig.end > end, registrations[i].error == KAFKA_NONE);
        if (!out.error_code) {
            assert_int_equal(out.broker_epoch, end);
            assert_true(image_broker(rig_image(&rig), in.broker_id)->fenced);
            /* The same process again: the epoch stays. */
            assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
            assert_int_equal(out.error_code, KAFKA_NONE);
            assert_int_equal(out.broker_epoch, end);
        }
        rig_close(&rig);
    }
}

/* A process that ended badly leaves ISR and ELR: what it had flushed nobody knows. One that knows its last epoch ended well,
 * and stays eligible. */
TEST(decide_tells_clean_from_unclean_restarts) {
    for (int clean = 0; clean < 2; clean++) {
        struct rig rig;
        open_cluster(&rig, QUIET "min.insync.replicas=3\n", MV_LATEST, true);
        broker_id id = image_replicas(rig_partition(&rig, "t", 0)).ids[1];
        struct broker_registration_request in;
        struct broker_registration_response out;
        broker_registration_request_init(&in);
        broker_registration_response_init(&out);
        in.broker_id = id;
        in.cluster_id = SPAN_LITERAL("the-cluster");
        in.incarnation_id = uuid_random(&rig.random);
        in.log_dirs = &rig.directories[id];
        in.log_dirs_count = 1;
        in.previous_broker_epoch = clean ? image_broker(rig_image(&rig), id)->epoch : -1;
        struct broker_registration_request_feature supported[2] = {{SPAN_LITERAL(FEATURE_ELR), 0, 1}, {SPAN_LITERAL(FEATURE_METADATA), MV_MIN, MV_LATEST}};
        in.features = supported;
        in.features_count = 2;
        rig.former_is_gone = true;
        assert_int_equal(rig_call(&rig, 62, 4, &in, &out), KAFKA_NONE);
        assert_int_equal(out.error_code, KAFKA_NONE);
        const struct image_partition *p = rig_partition(&rig, "t", 0);
        assert_false(image_ids_contain(image_isr(p), id));
        assert_int_equal(image_ids_contain(image_elr(p), id), clean);
        rig_check(&rig, NULL);
        rig_close(&rig);
    }
}

/* ---- the heartbeat's table of states */

static const struct { const char *what; bool fenced, leads, want_fence, want_shut_down, behind; bool is_fenced, should_shut_down, shutting_down; } beats[] = {
    {"fenced, wants to go", true, false, false, true, false, true, true, false},
    {"fenced, wants to stay so", true, false, true, false, false, true, false, false},
    {"fenced, not caught up", true, false, false, false, true, true, false, false},
    {"fenced, ready", true, false, false, false, false, false, false, false},
    {"serving", false, true, false, false, false, false, false, false},
    {"serving, behind", false, true, false, false, true, false, false, false},
    {"wants to be fenced", false, true, true, false, false, true, false, false},
    {"wants to be fenced and to go", false, true, true, true, false, true, true, false},
    {"wants to go, and leads", false, true, false, true, false, false, false, true},
    {"wants to go, and leads nothing", false, false, false, true, false, true, true, false},
};
TEST(decide_heartbeat_by_table) {
    for (size_t i = 0; i < countof(beats); i++) {
        struct rig rig;
        open_cluster(&rig, QUIET, MV_LATEST, true);
        broker_id id = beats[i].fenced ? 3 : rig_partition(&rig, "t", 0)->leader;
        if (!beats[i].fenced && !beats[i].leads) {
            rig_unfence(&rig, 3);
            id = 3;
        }
        struct broker_heartbeat_request in;
        struct broker_heartbeat_response out;
        broker_heartbeat_request_init(&in);
        broker_heartbeat_response_init(&out);
        in.broker_id = id;
        in.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
        in.current_metadata_offset = beats[i].behind ? in.broker_epoch - 1 : rig.end;
        in.want_fence = beats[i].want_fence;
        in.want_shut_down = beats[i].want_shut_down;
        assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
        if (out.error_code || out.is_fenced != beats[i].is_fenced || out.should_shut_down != beats[i].should_shut_down ||
            out.is_caught_up == beats[i].behind || image_broker(rig_image(&rig), id)->in_controlled_shutdown != beats[i].shutting_down)
            fail_msg("%s: error %d, fenced %d, shut down %d, caught up %d", beats[i].what, out.error_code, out.is_fenced, out.should_shut_down, out.is_caught_up);
        rig_check(&rig, NULL);
        in.broker_epoch--;
        assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
        assert_int_equal(out.error_code, KAFKA_STALE_BROKER_EPOCH);
        rig_close(&rig);
    }
}

/* A broker that shuts down is let go only when all others have heard of the new leaders. */
TEST(decide_shutdown_waits_for_the_others) {
    struct rig rig;
    open_cluster(&rig, QUIET, MV_LATEST, true);
    broker_id id = rig_partition(&rig, "t", 0)->leader;
    struct broker_heartbeat_request in;
    struct broker_heartbeat_response out;
    broker_heartbeat_request_init(&in);
    in.broker_id = id;
    in.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
    in.current_metadata_offset = rig.end;
    in.want_shut_down = true;
    assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
    assert_false(out.should_shut_down);
    assert_true(rig_partition(&rig, "t", 0)->leader != id && rig_partition(&rig, "t", 0)->leader >= 0);
    assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
    assert_false(out.should_shut_down); /* nobody else has said how far it is */
    for (broker_id other = 0; other < 3; other++)
        if (other != id) rig_unfence(&rig, other); /* a heartbeat with the newest offset */
    assert_int_equal(rig_call(&rig, 63, 1, &in, &out), KAFKA_NONE);
    assert_true(out.should_shut_down);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* ---- configs */

static const struct { const char *what; int8_t type; const char *resource, *key; int8_t op; const char *value; enum kafka_error error; const char *after; } changes[] = {
    {"set", 2, "t", "retention.ms", 0, "5", KAFKA_NONE, "5"},
    {"no such topic", 2, "missing", "retention.ms", 0, "5", KAFKA_UNKNOWN_TOPIC_OR_PARTITION, NULL},
    {"no such key", 2, "t", "retention.minutes", 0, "5", KAFKA_INVALID_CONFIG, NULL},
    {"bad value", 2, "t", "retention.ms", 0, "-5", KAFKA_INVALID_CONFIG, NULL},
    {"null value", 2, "t", "retention.ms", 0, NULL, KAFKA_INVALID_REQUEST, NULL},
    {"delete what is not there", 2, "t", "retention.ms", 1, NULL, KAFKA_NONE, NULL},
    {"append to the default", 2, "t", "cleanup.policy", 2, "compact", KAFKA_NONE, "delete,compact"},
    {"append what is there", 2, "t", "cleanup.policy", 2, "delete", KAFKA_NONE, "delete"},
    {"subtract", 2, "t", "cleanup.policy", 3, "delete", KAFKA_NONE, ""},
    {"append to no list", 2, "t", "retention.ms", 2, "5", KAFKA_INVALID_CONFIG, NULL},
    {"no such operation", 2, "t", "retention.ms", 4, "5", KAFKA_INVALID_REQUEST, NULL},
    {"no such type", 3, "t", "retention.ms", 0, "5", KAFKA_INVALID_REQUEST, NULL},
    {"loggers live on their broker", 8, "1", "root", 0, "INFO", KAFKA_INVALID_REQUEST, NULL},
    {"broker", 4, "1", "log.cleaner.threads", 0, "2", KAFKA_NONE, "2"},
    {"all brokers", 4, "", "log.cleaner.threads", 0, "2", KAFKA_NONE, "2"},
    {"broker that is not there", 4, "7", "log.cleaner.threads", 0, "2", KAFKA_BROKER_ID_NOT_REGISTERED, NULL},
    {"not a broker", 4, "x", "log.cleaner.threads", 0, "2", KAFKA_INVALID_REQUEST, NULL},
    {"what the broker has judged", 4, "1", "num.partitions", 0, "2", KAFKA_NONE, "2"},
    {"minimum of one broker, with ELR", 4, "1", "min.insync.replicas", 0, "2", KAFKA_INVALID_CONFIG, NULL},
    {"minimum of the cluster", 4, "", "min.insync.replicas", 0, "2", KAFKA_NONE, "2"},
    {"minimum of the cluster removed, with ELR", 4, "", "min.insync.replicas", 1, NULL, KAFKA_INVALID_CONFIG, "1"},
    {"group", 32, "g", "share.auto.offset.reset", 0, "earliest", KAFKA_NONE, "earliest"},
    {"bad name", 2, "a b", "retention.ms", 0, "x", KAFKA_INVALID_TOPIC_EXCEPTION, NULL},
    {"bad value of a topic that is not there", 2, "missing", "retention.ms", 0, "x", KAFKA_INVALID_CONFIG, NULL},
    {"remote storage that is off", 2, "t", "remote.storage.enable", 0, "true", KAFKA_INVALID_CONFIG, NULL},
    {"below what brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "44999", KAFKA_INVALID_CONFIG, NULL},
    {"the least that brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "45000", KAFKA_NONE, "45000"},
    {"the most that brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "60000", KAFKA_NONE, "60000"},
    {"above what brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "60001", KAFKA_INVALID_CONFIG, NULL},
    {"too many standbys", 32, "g", "streams.num.standby.replicas", 0, "3", KAFKA_INVALID_CONFIG, NULL},
    {"no such assignor", 32, "g", "streams.assignor.name", 0, "foo", KAFKA_INVALID_CONFIG, NULL},
    {"rejected records into an internal topic", 32, "g", "errors.deadletterqueue.topic.name", 0, "__x", KAFKA_INVALID_CONFIG, NULL},
    {"interval too short", 16, "sub", "interval.ms", 0, "99", KAFKA_INVALID_REQUEST, NULL},
    {"interval", 16, "sub", "interval.ms", 0, "100", KAFKA_NONE, "100"},
    {"interval that is none", 16, "sub", "interval.ms", 0, "x", KAFKA_INVALID_CONFIG, NULL},
    {"no such key of client metrics", 16, "sub", "foo", 0, "x", KAFKA_INVALID_REQUEST, NULL},
    {"list of client metrics", 16, "sub", "metrics", 2, "c", KAFKA_INVALID_CONFIG, NULL},
    {"match", 16, "sub", "match", 0, "client_id=a.*, client_software_name=(b|c)+", KAFKA_NONE, "client_id=a.*, client_software_name=(b|c)+"},
    {"match of no attribute", 16, "sub", "match", 0, "foo=x", KAFKA_INVALID_CONFIG, NULL},
    {"match without a pattern", 16, "sub", "match", 0, "client_id", KAFKA_INVALID_CONFIG, NULL},
    {"match by half a pattern", 16, "sub", "match", 0, "client_id=[", KAFKA_INVALID_CONFIG, NULL},
    {"group without a name", 32, "", "share.auto.offset.reset", 0, "earliest", KAFKA_INVALID_REQUEST, NULL},
    {"client metrics", 16, "sub", "metrics", 0, "*", KAFKA_NONE, "*"},
};
TEST(decide_alter_configs_by_table) {
    for (size_t i = 0; i < countof(changes); i++) {
        struct rig rig;
        open_cluster(&rig, QUIET, MV_LATEST, true);
        struct incremental_alter_configs_request in;
        struct incremental_alter_configs_response out;
        incremental_alter_configs_request_init(&in);
        incremental_alter_configs_response_init(&out);
        in.resources = incremental_alter_configs_request_alter_configs_resource_array(&rig.memory, 1);
        in.resources_count = 1;
        in.resources[0].resource_type = changes[i].type;
        in.resources[0].resource_name = span_text(changes[i].resource);
        in.resources[0].configs = incremental_alter_configs_request_alterable_config_array(&rig.memory, 1);
        in.resources[0].configs_count = 1;
        in.resources[0].configs[0] = (struct incremental_alter_configs_request_alterable_config){
            span_text(changes[i].key), changes[i].op, changes[i].value ? span_text(changes[i].value) : (struct span){0}};
        assert_int_equal(rig_call(&rig, 44, 1, &in, &out), KAFKA_NONE);
        assert_int_equal(out.responses_count, 1);
        if (out.responses[0].error_code != (int16_t)changes[i].error) fail_msg("%s: error %d", changes[i].what, out.responses[0].error_code);
        const struct image_config *config = image_config(rig_image(&rig), (enum config_resource)changes[i].type, span_text(changes[i].resource), span_text(changes[i].key));
        if (!changes[i].after) assert_null(config);
        else assert_true(config && span_equal(config->value, span_text(changes[i].after)));
        rig_close(&rig);
    }
}

/* The older call replaces all that a resource has; twice the same resource changes nothing. */
TEST(decide_alter_configs_replaces) {
    struct rig rig;
    open_cluster(&rig, QUIET, MV_LATEST, true);
    struct alter_configs_request in;
    struct alter_configs_response out;
    static const struct { const char *key, *value; } steps[] = {{"retention.ms", "5"}, {"segment.ms", "6"}};
    for (int i = 0; i < 2; i++) {
        alter_configs_request_init(&in);
        alter_configs_response_init(&out);
        in.resources = alter_configs_request_alter_configs_resource_array(&rig.memory, 2);
        in.resources_count = 1;
        in.resources[0].resource_type = 2;
        in.resources[0].resource_name = SPAN_LITERAL("t");
        in.resources[0].configs = alter_configs_request_alterable_config_array(&rig.memory, 1);
        in.resources[0].configs_count = 1;
        in.resources[0].configs[0] = (struct alter_configs_request_alterable_config){span_text(steps[i].key), span_text(steps[i].value)};
        in.resources[1] = in.resources[0];
        assert_int_equal(rig_call(&rig, 33, 2, &in, &out), KAFKA_NONE);
        assert_int_equal(out.responses[0].error_code, KAFKA_NONE);
        assert_non_null(image_config(rig_image(&rig), CONFIG_TOPIC, SPAN_LITERAL("t"), span_text(steps[i].key)));
    }
    assert_null(image_config(rig_image(&rig), CONFIG_TOPIC, SPAN_LITERAL("t"), SPAN_LITERAL("retention.ms")));
    log_offset end = rig.end;
    in.resources_count = 2;
    alter_configs_response_init(&out);
    assert_int_equal(rig_call(&rig, 33, 2, &in, &out), KAFKA_NONE);
    for (int i = 0; i < 2; i++) assert_int_equal(out.responses[i].error_code, KAFKA_INVALID_REQUEST);
    in.resources_count = 1;
    in.resources[0].resource_type = 3;
    alter_configs_response_init(&out);
    assert_int_equal(rig_call(&rig, 33, 2, &in, &out), KAFKA_NONE);
    assert_int_equal(out.responses[0].error_code, KAFKA_UNSUPPORTED_VERSION);
    assert_int_equal(rig.end, end);
    rig_close(&rig);
}

/* ---- features */

static const struct { const char *what, *feature; int16_t from_mv, level; int8_t type; enum kafka_error error; } updates[] = {
    {"upgrade", "metadata.version", MV_4_3_IV0, MV_LATEST, 1, KAFKA_NONE},
    {"the same", "metadata.version", MV_LATEST, MV_LATEST, 1, KAFKA_NONE},
    {"unknown type", "metadata.version", MV_LATEST, MV_LATEST, 0, KAFKA_INVALID_UPDATE_VERSION},
    {"below 0", "share.version", MV_LATEST, -1, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"unknown feature", "no.such", MV_LATEST, 1, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"not stable", "metadata.version", MV_LATEST, MV_TESTING, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"down without saying so", "metadata.version", MV_4_4_IV0, MV_4_3_IV0, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"down, nothing lost", "metadata.version", MV_4_4_IV0, MV_4_3_IV0, 2, KAFKA_NONE},
    {"down, something lost", "metadata.version", MV_LATEST, MV_4_4_IV0, 2, KAFKA_INVALID_UPDATE_VERSION},
    {"down by force", "metadata.version", MV_LATEST, MV_4_4_IV0, 3, KAFKA_INVALID_UPDATE_VERSION},
    {"up, as a downgrade", "metadata.version", MV_4_3_IV0, MV_LATEST, 2, KAFKA_INVALID_UPDATE_VERSION},
    {"ELR without its base", FEATURE_ELR, MV_3_9_IV0, 1, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"ELR", FEATURE_ELR, MV_4_0_IV1, 1, 1, KAFKA_NONE},
    {"transactions", "transaction.version", MV_LATEST, 2, 1, KAFKA_NONE},
    {"off", "group.version", MV_LATEST, 0, 1, KAFKA_NONE},
    {"the quorum's own", "kraft.version", MV_LATEST, 1, 1, KAFKA_NONE},
    {"the quorum's own, as it is", "kraft.version", MV_LATEST, 0, 1, KAFKA_NONE},
    {"the quorum's own, not known", "kraft.version", MV_LATEST, 2, 1, KAFKA_INVALID_UPDATE_VERSION},
    {"the quorum's own, up as a downgrade", "kraft.version", MV_LATEST, 1, 2, KAFKA_INVALID_UPDATE_VERSION},
};
TEST(decide_update_features_by_table) {
    for (size_t i = 0; i < countof(updates); i++) {
        struct rig rig;
        open_cluster(&rig, QUIET "min.insync.replicas=2\n", updates[i].from_mv, false);
        log_offset end = rig.end;
        struct update_features_request in;
        struct update_features_response out;
        update_features_request_init(&in);
        update_features_response_init(&out);
        in.feature_updates = update_features_request_feature_update_key_array(&rig.memory, 1);
        in.feature_updates_count = 1;
        in.feature_updates[0].feature = span_text(updates[i].feature);
        in.feature_updates[0].max_version_level = updates[i].level;
        in.feature_updates[0].upgrade_type = updates[i].type;
        assert_int_equal(rig_call(&rig, 57, 2, &in, &out), KAFKA_NONE);
        if (out.error_code != (int16_t)updates[i].error) fail_msg("%s: error %d: %.*s", updates[i].what, out.error_code, SPAN_ARGS(out.error_message));
        bool is_record = strcmp(updates[i].feature, FEATURE_KRAFT) != 0; /* of this log: what is the quorum's, it writes itself */
        assert_int_equal(rig.end > end, is_record && updates[i].error == KAFKA_NONE);
        if (!out.error_code && is_record) assert_int_equal(image_feature_level(rig_image(&rig), span_text(updates[i].feature)), updates[i].level);
        if (!out.error_code && strcmp(updates[i].feature, FEATURE_ELR) == 0) /* the minimum is the cluster's now */
            assert_true(span_equal(image_config(rig_image(&rig), CONFIG_BROKER, SPAN_LITERAL(""), SPAN_LITERAL("min.insync.replicas"))->value, SPAN_LITERAL("2")));
        rig_close(&rig);
    }
}

/* ---- elections */

/* The last replica is gone. Without ELR it stays in the ISR, and only it may lead, or, uncleanly, another; with ELR it is
 * eligible, then last known; a topic that allows it is led uncleanly at once. */
TEST(decide_elections_when_nobody_is_left) {
    for (int elr = 0; elr < 2; elr++) {
        struct rig rig;
        open_cluster(&rig, QUIET, MV_LATEST, elr);
        struct image_ids replicas = image_replicas(rig_partition(&rig, "t", 0));
        broker_id ids[3] = {replicas.ids[0], replicas.ids[1], replicas.ids[2]};
        struct broker_heartbeat_request beat;
        struct broker_heartbeat_response answer;
        for (int i = 0; i < 3; i++) { /* one after the other */
            broker_heartbeat_request_init(&beat);
            beat.broker_id = ids[i];
            beat.broker_epoch = image_broker(rig_image(&rig), ids[i])->epoch;
            beat.want_fence = true;
            assert_int_equal(rig_call(&rig, 63, 1, &beat, &answer), KAFKA_NONE);
            rig_check(&rig, NULL);
        }
        const struct image_partition *p = rig_partition(&rig, "t", 0);
        assert_int_equal(p->leader, -1);
        assert_int_equal(image_isr(p).count, elr ? 0 : 1);
        if (elr) {
            assert_true(image_ids_contain(image_elr(p), ids[2]));
            assert_int_equal(image_last_known_elr(p).count, 1);
            assert_int_equal(image_last_known_elr(p).ids[0], ids[2]);
        } else {
            assert_int_equal(image_isr(p).ids[0], ids[2]);
        }
        /* Another comes back: it may not lead, unless it is asked for uncleanly. */
        rig_unfence(&rig, ids[0]);
        p = rig_partition(&rig, "t", 0);
        assert_int_equal(p->leader, -1);
        struct elect_leaders_request in;
        struct elect_leaders_response out;
        elect_leaders_request_init(&in);
        elect_leaders_response_init(&out);
        int32_t zero = 0;
        struct elect_leaders_request_topic_partitions which = {SPAN_LITERAL("t"), &zero, 1};
        in.topic_partitions = &which;
        in.topic_partitions_count = 1;
        in.election_type = 0;
        assert_int_equal(rig_call(&rig, 43, 2, &in, &out), KAFKA_NONE);
        assert_int_equal(out.replica_election_results[0].partition_result[0].error_code, KAFKA_PREFERRED_LEADER_NOT_AVAILABLE);
        in.election_type = 2;
        assert_int_equal(rig_call(&rig, 43, 2, &in, &out), KAFKA_NONE);
        assert_int_equal(out.error_code, KAFKA_INVALID_REQUEST);
        elect_leaders_response_init(&out);
        in.election_type = 1;
        assert_int_equal(rig_call(&rig, 43, 2, &in, &out), KAFKA_NONE);
        assert_int_equal(out.replica_election_results[0].partition_result[0].error_code, KAFKA_NONE);
        p = rig_partition(&rig, "t", 0);
        assert_int_equal(p->leader, ids[0]);
        assert_int_equal(p->recovery, LEADER_RECOVERING);
        assert_int_equal(image_isr(p).count, 1);
        assert_int_equal(image_elr(p).count, 0);
        assert_int_equal(rig_call(&rig, 43, 2, &in, &out), KAFKA_NONE);
        assert_int_equal(out.replica_election_results[0].partition_result[0].error_code, KAFKA_ELECTION_NOT_NEEDED);
        int32_t nine = 9;
        which.partitions = &nine;
        assert_int_equal(rig_call(&rig, 43, 2, &in, &out), KAFKA_NONE);
        assert_int_equal(out.replica_election_results[0].partition_result[0].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
        rig_check(&rig, NULL);
        rig_close(&rig);
    }
}

/* ---- the rest */

TEST(decide_unregisters_and_allocates) {
    struct rig rig;
    open_cluster(&rig, QUIET, MV_LATEST, true);
    struct unregister_broker_request gone = {.broker_id = 8};
    struct unregister_broker_response gone_out;
    unregister_broker_response_init(&gone_out);
    assert_int_equal(rig_call(&rig, 64, 0, &gone, &gone_out), KAFKA_NONE);
    assert_int_equal(gone_out.error_code, KAFKA_BROKER_ID_NOT_REGISTERED);
    gone.broker_id = 0;
    assert_int_equal(rig_call(&rig, 64, 0, &gone, &gone_out), KAFKA_NONE);
    assert_int_equal(gone_out.error_code, KAFKA_NONE);
    assert_null(image_broker(rig_image(&rig), 0));
    for (int i = 0; i < 3; i++) {
        assert_false(image_ids_contain(image_isr(rig_partition(&rig, "t", i)), 0));
        assert_false(image_ids_contain(image_elr(rig_partition(&rig, "t", i)), 0));
    }
    struct allocate_producer_ids_request ids = {.broker_id = 1, .broker_epoch = image_broker(rig_image(&rig), 1)->epoch};
    struct allocate_producer_ids_response ids_out;
    for (int64_t block = 0; block < 3; block++) {
        assert_int_equal(rig_call(&rig, 67, 0, &ids, &ids_out), KAFKA_NONE);
        assert_int_equal(ids_out.error_code, KAFKA_NONE);
        assert_int_equal(ids_out.producer_id_start, block * 1000);
    }
    ids.broker_epoch++;
    assert_int_equal(rig_call(&rig, 67, 0, &ids, &ids_out), KAFKA_NONE);
    assert_int_equal(ids_out.error_code, KAFKA_STALE_BROKER_EPOCH);
    struct unregister_controller_request controller = {.controller_id = 100};
    struct unregister_controller_response controller_out;
    unregister_controller_response_init(&controller_out);
    assert_int_equal(rig_call(&rig, 94, 0, &controller, &controller_out), KAFKA_NONE);
    assert_int_equal(controller_out.error_code, KAFKA_INVALID_REQUEST);
    controller.controller_id = 101;
    assert_int_equal(rig_call(&rig, 94, 0, &controller, &controller_out), KAFKA_NONE);
    assert_int_equal(controller_out.error_code, KAFKA_CONTROLLER_ID_NOT_REGISTERED);
    rig_check(&rig, NULL);
    rig_close(&rig);
}

/* A broker tells where its replicas lie; one in a directory that is not online leaves the ISR; one that fails later, too. */
TEST(decide_follows_directories) {
    struct rig rig;
    open_cluster(&rig, QUIET, MV_LATEST, true);
    broker_id id = image_replicas(rig_partition(&rig, "t", 0)).ids[1];
    struct assign_replicas_to_dirs_request in;
    struct assign_replicas_to_dirs_response out;
    assign_replicas_to_dirs_request_init(&in);
    assign_replicas_to_dirs_response_init(&out);
    in.broker_id = id;
    in.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
    in.directories = assign_replicas_to_dirs_request_directory_data_array(&rig.memory, 1);
    in.directories_count = 1;
    in.directories[0].id = DIRECTORY_LOST;
    in.directories[0].topics = assign_replicas_to_dirs_request_topic_data_array(&rig.memory, 2);
    in.directories[0].topics_count = 2;
    for (int t = 0; t < 2; t++) {
        in.directories[0].topics[t].topic_id = t ? (struct uuid){{5}} : image_topic(rig_image(&rig), SPAN_LITERAL("t"))->id;
        in.directories[0].topics[t].partitions = assign_replicas_to_dirs_request_partition_data_array(&rig.memory, 2);
        in.directories[0].topics[t].partitions_count = 2;
        in.directories[0].topics[t].partitions[1].partition_index = 7;
    }
    assert_int_equal(rig_call(&rig, 73, 0, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_NONE);
    assert_int_equal(out.directories[0].topics[0].partitions[0].error_code, KAFKA_NONE);
    assert_int_equal(out.directories[0].topics[0].partitions[1].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(out.directories[0].topics[1].partitions[0].error_code, KAFKA_UNKNOWN_TOPIC_ID);
    const struct image_partition *p = rig_partition(&rig, "t", 0);
    assert_true(uuid_equal(image_directory(p, 1), DIRECTORY_LOST));
    assert_false(image_ids_contain(image_isr(p), id));
    rig_check(&rig, NULL);
    in.broker_epoch++;
    assert_int_equal(rig_call(&rig, 73, 0, &in, &out), KAFKA_NONE);
    assert_int_equal(out.error_code, KAFKA_STALE_BROKER_EPOCH);
    struct broker_heartbeat_request beat;
    struct broker_heartbeat_response answer;
    broker_heartbeat_request_init(&beat);
    broker_heartbeat_response_init(&answer);
    beat.broker_id = id;
    beat.broker_epoch = image_broker(rig_image(&rig), id)->epoch;
    beat.current_metadata_offset = rig.end;
    beat.offline_log_dirs = &rig.directories[id];
    beat.offline_log_dirs_count = 1;
    assert_int_equal(rig_call(&rig, 63, 1, &beat, &answer), KAFKA_NONE);
    assert_int_equal(answer.error_code, KAFKA_NONE);
    for (int i = 0; i < 3; i++) assert_false(image_ids_contain(image_isr(rig_partition(&rig, "t", i)), id));
    rig_close(&rig);
}
