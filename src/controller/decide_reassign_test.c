#include "controller/machine_rig.h"
#include "test.h"

/* Three brokers that are there, a fourth that is fenced; "one" has one replica. */
struct move {
    struct rig rig;
    broker_id from, to, other;
};
static void open_move(struct move *m) {
    rig_open(&m->rig, RIG_QUIET, 7);
    rig_lead(&m->rig);
    for (broker_id id = 0; id < 4; id++) {
        rig_register(&m->rig, id, NULL);
        if (id < 3) rig_unfence(&m->rig, id);
    }
    assert_int_equal(rig_create(&m->rig, "one", 1, 1), KAFKA_NONE);
    m->from = rig_partition(&m->rig, "one", 0)->leader;
    m->to = (m->from + 1) % 3;
    m->other = (m->from + 2) % 3;
}

/* replicas NULL: take it back. */
static enum kafka_error reassign(struct move *m, const char *topic, int32_t index, const broker_id *replicas, int32_t count, bool may_resize) {
    struct alter_partition_reassignments_request in;
    struct alter_partition_reassignments_response out;
    alter_partition_reassignments_request_init(&in);
    alter_partition_reassignments_response_init(&out);
    struct alter_partition_reassignments_request_reassignable_topic t;
    struct alter_partition_reassignments_request_reassignable_partition p;
    alter_partition_reassignments_request_reassignable_topic_init(&t);
    alter_partition_reassignments_request_reassignable_partition_init(&p);
    in.allow_replication_factor_change = may_resize;
    in.topics = &t;
    in.topics_count = 1;
    t.name = span_text(topic);
    t.partitions = &p;
    t.partitions_count = 1;
    p.partition_index = index;
    p.replicas = replicas ? arena_copy(&m->rig.memory, replicas, sizeof *replicas * (size_t)(count ? count : 1)) : NULL;
    p.replicas_count = replicas ? count : -1;
    const struct image *before = image_hold(rig_image(&m->rig));
    assert_int_equal(rig_call(&m->rig, 45, 1, &in, &out), KAFKA_NONE);
    rig_check(&m->rig, before);
    image_drop(before);
    assert_int_equal(out.error_code, KAFKA_NONE);
    assert_int_equal(out.responses_count, 1);
    assert_int_equal(out.responses[0].partitions_count, 1);
    enum kafka_error error = (enum kafka_error)out.responses[0].partitions[0].error_code;
    bool has_words = out.responses[0].partitions[0].error_message.data != NULL;
    assert_int_equal(has_words, error != KAFKA_NONE && error != KAFKA_NO_REASSIGNMENT_IN_PROGRESS);
    return error;
}

static void assert_ids(struct image_ids ids, uint32_t count, broker_id a, broker_id b) {
    assert_int_equal(ids.count, count);
    if (count > 0) assert_int_equal(ids.ids[0], a);
    if (count > 1) assert_int_equal(ids.ids[1], b);
}

/* How many partitions are told to be moving, of one topic or (NULL) of all. */
static int32_t moving(struct move *m, const char *topic, struct list_partition_reassignments_response *out) {
    struct list_partition_reassignments_request in;
    struct list_partition_reassignments_request_list_partition_reassignments_topics t;
    int32_t indexes[] = {0, 9, -1};
    list_partition_reassignments_request_init(&in);
    list_partition_reassignments_response_init(out);
    list_partition_reassignments_request_list_partition_reassignments_topics_init(&t);
    in.topics = topic ? &t : NULL;
    in.topics_count = topic ? 1 : -1;
    t.name = topic ? span_text(topic) : (struct span){0};
    t.partition_indexes = indexes;
    t.partition_indexes_count = 3;
    log_offset end = m->rig.end;
    assert_int_equal(rig_call(&m->rig, 46, 0, &in, out), KAFKA_NONE);
    assert_int_equal(m->rig.end, end); /* it only looks */
    return out->topics_count ? out->topics[0].partitions_count : 0;
}

/* The leader says who is in sync. */
static void in_sync(struct move *m, broker_id a, broker_id b) {
    const struct image_partition *p = rig_partition(&m->rig, "one", 0);
    struct alter_partition_request in;
    struct alter_partition_response out;
    struct alter_partition_request_topic_data t;
    struct alter_partition_request_partition_data data;
    struct alter_partition_request_broker_state isr[2] = {{a, -1}, {b, -1}};
    alter_partition_request_init(&in);
    alter_partition_response_init(&out);
    alter_partition_request_topic_data_init(&t);
    alter_partition_request_partition_data_init(&data);
    in.broker_id = p->leader;
    in.broker_epoch = image_broker(rig_image(&m->rig), p->leader)->epoch;
    in.topics = &t;
    in.topics_count = 1;
    t.topic_id = image_topic(rig_image(&m->rig), SPAN_LITERAL("one"))->id;
    t.partitions = &data;
    t.partitions_count = 1;
    data.leader_epoch = p->leader_epoch;
    data.partition_epoch = p->partition_epoch;
    data.new_isr_with_epochs = isr;
    data.new_isr_with_epochs_count = 2;
    assert_int_equal(rig_call(&m->rig, 56, 3, &in, &out), KAFKA_NONE);
}

/* A replica moves: both are replicas until the new one is in sync, then only the new one is, and leads. */
TEST(reassignment_moves_a_replica) {
    struct move m;
    struct list_partition_reassignments_response out;
    open_move(&m);
    assert_int_equal(reassign(&m, "one", 0, &m.to, 1, true), KAFKA_NONE);
    const struct image_partition *p = rig_partition(&m.rig, "one", 0);
    assert_ids(image_replicas(p), 2, m.to, m.from);
    assert_ids(image_adding(p), 1, m.to, 0);
    assert_ids(image_removing(p), 1, m.from, 0);
    assert_int_equal(p->leader, m.from);
    assert_int_equal(moving(&m, NULL, &out), 1);
    assert_int_equal(moving(&m, "one", &out), 1);
    assert_int_equal(out.topics[0].partitions[0].adding_replicas[0], m.to);
    assert_int_equal(out.topics[0].partitions[0].removing_replicas[0], m.from);
    assert_int_equal(out.topics[0].partitions[0].replicas_count, 2);
    in_sync(&m, m.from, m.to);
    p = rig_partition(&m.rig, "one", 0);
    assert_ids(image_replicas(p), 1, m.to, 0);
    assert_ids(image_isr(p), 1, m.to, 0);
    assert_int_equal(p->leader, m.to);
    assert_false(image_is_reassigning(p));
    assert_int_equal(moving(&m, NULL, &out), 0);
    rig_close(&m.rig);
}

/* Taken back, all is as it was; taken back again, there is nothing to take back. */
TEST(reassignment_is_taken_back) {
    struct move m;
    open_move(&m);
    assert_int_equal(reassign(&m, "one", 0, NULL, 0, true), KAFKA_NO_REASSIGNMENT_IN_PROGRESS);
    assert_int_equal(reassign(&m, "one", 0, &m.to, 1, true), KAFKA_NONE);
    assert_int_equal(reassign(&m, "one", 0, NULL, 0, true), KAFKA_NONE);
    const struct image_partition *p = rig_partition(&m.rig, "one", 0);
    assert_ids(image_replicas(p), 1, m.from, 0);
    assert_ids(image_isr(p), 1, m.from, 0);
    assert_false(image_is_reassigning(p));
    assert_int_equal(p->leader, m.from);
    assert_int_equal(reassign(&m, "one", 0, NULL, 0, true), KAFKA_NO_REASSIGNMENT_IN_PROGRESS);
    rig_close(&m.rig);
}

/* Turned to another target on the way, the first one is removed again and the new one added. */
TEST(reassignment_is_turned) {
    struct move m;
    open_move(&m);
    assert_int_equal(reassign(&m, "one", 0, &m.to, 1, true), KAFKA_NONE);
    assert_int_equal(reassign(&m, "one", 0, &m.other, 1, true), KAFKA_NONE);
    const struct image_partition *p = rig_partition(&m.rig, "one", 0);
    assert_int_equal(p->replicas, 3);
    assert_int_equal(image_replicas(p).ids[0], m.other);
    assert_ids(image_adding(p), 1, m.other, 0);
    assert_int_equal(image_removing(p).count, 2);
    in_sync(&m, m.from, m.other);
    p = rig_partition(&m.rig, "one", 0);
    assert_ids(image_replicas(p), 1, m.other, 0);
    assert_false(image_is_reassigning(p));
    rig_close(&m.rig);
}

/* To the same replicas: fine, and no record. */
TEST(reassignment_to_the_same_is_nothing) {
    struct move m;
    open_move(&m);
    log_offset end = m.rig.end;
    assert_int_equal(reassign(&m, "one", 0, &m.from, 1, false), KAFKA_NONE);
    assert_int_equal(m.rig.end, end);
    rig_close(&m.rig);
}

/* What Apache Kafka 4.4 refuses, with its errors; nothing is written. */
TEST(reassignment_refusals) {
    struct move m;
    open_move(&m);
    log_offset end = m.rig.end;
    broker_id stranger = 9, twice[] = {m.to, m.to}, two[] = {m.from, m.to};
    assert_int_equal(reassign(&m, "one", 0, &stranger, 1, true), KAFKA_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(reassign(&m, "one", 0, twice, 2, true), KAFKA_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(reassign(&m, "one", 0, two, 0, true), KAFKA_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(reassign(&m, "one", 0, two, 2, false), KAFKA_INVALID_REPLICATION_FACTOR);
    assert_int_equal(reassign(&m, "one", 9, &m.to, 1, true), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(reassign(&m, "one", -1, &m.to, 1, true), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(reassign(&m, "missing", 0, &m.to, 1, true), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(reassign(&m, "missing", 0, NULL, 0, true), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(m.rig.end, end);
    rig_close(&m.rig);
}
