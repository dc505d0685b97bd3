/* Decisions about partitions, as tables: the error cases of each API in the order in which they are looked for. */
#include "controller/machine_rig.h"
#include "test.h"

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
        rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
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
        rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
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
    rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
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

/* ---- elections */

/* The last replica is gone. Without ELR it stays in the ISR, and only it may lead, or, uncleanly, another; with ELR it is
 * eligible, then last known; a topic that allows it is led uncleanly at once. */
TEST(decide_elections_when_nobody_is_left) {
    for (int elr = 0; elr < 2; elr++) {
        struct rig rig;
        rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, elr);
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
