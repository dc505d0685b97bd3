#include "broker/coordinators.h"
#include "broker/broker_rig.h"
#include "test.h"
#include "wire/batch.h"
#include <stdio.h>
#include <string.h>

/* When a partition of `__consumer_offsets` has a coordinator here, and what its groups are told when it has none, is lost, or
 * cannot be read. What coordinators decide is group/'s, and tested there. */

enum { ME = BROKER_RIG_ID, OTHER = 2, PARTITIONS = 3 };

struct asking { struct group_call call; struct offset_commit_request request; bool done; };
static void answered(struct group_call *call) { container_of(call, struct asking, call)->done = true; }

static void call_begin(struct broker_rig *rig, struct asking *a, struct uuid offsets, partition_index partition) {
    a->call.coord.group.arena = &rig->arena;
    a->call.coord.group.client_id = a->call.coord.group.client_host = SPAN_LITERAL("test");
    a->call.done = answered;
    coordinators_group_call(broker_rig_of(rig, offsets, partition)->coordinators, partition, &a->call);
}

/* `group` commits `offset` of partition 0 of a topic, without members. */
static void commit_begin(struct broker_rig *rig, struct asking *a, struct uuid offsets, partition_index partition, const char *group, struct uuid topic,
                         const char *name, log_offset offset) {
    *a = (struct asking){0};
    offset_commit_request_init(&a->request);
    a->request.group_id = span_text(group);
    a->request.topics = offset_commit_request_offset_commit_request_topic_array(&rig->arena, 1);
    a->request.topics_count = 1;
    a->request.topics[0].name = span_text(name);
    a->request.topics[0].topic_id = topic;
    a->request.topics[0].partitions = offset_commit_request_offset_commit_request_partition_array(&rig->arena, 1);
    a->request.topics[0].partitions_count = 1;
    a->request.topics[0].partitions[0].committed_offset = offset;
    a->call.coord.group.type = GROUP_OFFSET_COMMIT;
    a->call.coord.group.version = 9;
    a->call.coord.group.offset_commit = &a->request;
    call_begin(rig, a, offsets, partition);
}
static enum kafka_error commit_error(const struct asking *a) {
    const struct group_request *group = &a->call.coord.group;
    return group->error ? group->error : (enum kafka_error)group->answer.offset_commit->topics[0].partitions[0].error_code;
}
static enum kafka_error commit(struct broker_rig *rig, struct uuid offsets, partition_index partition, const char *group, struct uuid topic,
                               const char *name, log_offset offset) {
    struct asking a;
    commit_begin(rig, &a, offsets, partition, group, topic, name, offset);
    broker_rig_until(rig, &a.done);
    return commit_error(&a);
}

/* What is committed for partition 0 of a topic; -1: nothing. */
static enum kafka_error committed(struct broker_rig *rig, struct uuid offsets, partition_index partition, const char *group, const char *name, log_offset *offset) {
    struct offset_fetch_request_offset_fetch_request_group request = {.group_id = span_text(group), .member_epoch = -1, .topics_count = -1};
    struct asking a = {0};
    a.call.coord.group.type = GROUP_OFFSET_FETCH;
    a.call.coord.group.version = 8;
    a.call.coord.group.offset_fetch.group = &request;
    call_begin(rig, &a, offsets, partition);
    broker_rig_until(rig, &a.done);
    *offset = -1;
    if (a.call.coord.group.error) return a.call.coord.group.error;
    const struct offset_fetch_response_offset_fetch_response_group *answer = a.call.coord.group.answer.offset_fetch;
    for (int32_t i = 0; i < answer->topics_count; i++)
        if (span_equal(answer->topics[i].name, span_text(name))) *offset = answer->topics[i].partitions[0].committed_offset;
    return (enum kafka_error)answer->error_code;
}

/* One that is led here; the other is in sync if said so, and never follows. */
static void led_with(struct broker_rig *rig, struct uuid offsets, partition_index partition, leader_epoch epoch, broker_id leader, bool other_in_sync) {
    broker_rig_partition(rig, offsets, &(struct rig_partition){.index = partition, .replicas = {ME, OTHER}, .isr = {leader, leader == ME ? OTHER : ME},
        .replica_count = 2, .isr_count = other_in_sync ? 2 : 1, .leader = leader, .leader_epoch = epoch, .partition_epoch = epoch});
    broker_rig_publish(rig);
}

struct topics { struct uuid offsets, t, u; };
static struct topics opened(struct broker_rig *rig, uint32_t shards) {
    broker_rig_open(rig, shards, 1, NULL);
    broker_rig_broker(rig, ME, false);
    broker_rig_broker(rig, OTHER, false);
    struct topics topics = {broker_rig_topic(rig, "__consumer_offsets"), broker_rig_topic(rig, "t"), broker_rig_topic(rig, "u")};
    for (partition_index i = 0; i < PARTITIONS; i++) broker_rig_own(rig, topics.offsets, i);
    broker_rig_publish(rig);
    return topics;
}

/* A group's place follows from its name; without the topic, and where another broker leads, there is none here. */
TEST(coordinators_place_groups_by_name) {
    struct broker_rig rig;
    partition_index partition;
    uint32_t shard;
    broker_rig_open(&rig, 4, 1, NULL);
    broker_rig_broker(&rig, ME, false);
    broker_rig_publish(&rig);
    assert_int_equal(coordinators_place(rig.brokers[0], SPAN_LITERAL("g"), &partition, &shard), KAFKA_NOT_COORDINATOR);
    struct uuid offsets = broker_rig_topic(&rig, "__consumer_offsets");
    broker_rig_publish(&rig);
    assert_int_equal(coordinators_place(rig.brokers[0], SPAN_LITERAL("g"), &partition, &shard), KAFKA_NOT_COORDINATOR);
    for (partition_index i = 0; i < PARTITIONS; i++) broker_rig_own(&rig, offsets, i);
    broker_rig_publish(&rig);
    bool seen[PARTITIONS] = {false};
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "group-%d", i);
        assert_int_equal(coordinators_place(rig.brokers[1], span_text(name), &partition, &shard), KAFKA_NONE);
        assert_int_equal(partition, group_partition(span_text(name), PARTITIONS));
        assert_int_equal(shard, partition_shard(rig.brokers[0], offsets, partition));
        seen[partition] = true;
    }
    for (int i = 0; i < PARTITIONS; i++) assert_true(seen[i]);
    led_with(&rig, offsets, group_partition(SPAN_LITERAL("g"), PARTITIONS), 1, OTHER, true);
    assert_int_equal(coordinators_place(rig.brokers[0], SPAN_LITERAL("g"), &partition, &shard), KAFKA_NOT_COORDINATOR);
    broker_rig_close(&rig);
}

/* A commit is in the partition's log: after a stop and a start it is answered again. What was found on disk is loaded as soon as
 * the metadata come; a partition that has no files yet waits for its first request. */
TEST(coordinators_load_what_is_on_disk) {
    struct broker_rig rig;
    struct topics topics = opened(&rig, 1);
    const struct broker *broker = rig.brokers[0];
    log_offset offset;
    assert_int_equal(coordinators_next(broker->coordinators, -1), -1);
    assert_int_equal(commit(&rig, topics.offsets, 1, "g", topics.t, "t", 42), KAFKA_NONE);
    assert_int_equal(coordinators_next(broker->coordinators, -1), 1);
    assert_int_equal(coordinators_next(broker->coordinators, 1), -1);
    broker_rig_stop(&rig);
    broker_rig_start(&rig);
    broker = rig.brokers[0];
    assert_int_equal(coordinators_next(broker->coordinators, -1), -1);
    broker_rig_publish(&rig);
    assert_int_equal(coordinators_next(broker->coordinators, -1), 1);
    assert_int_equal(coordinators_next(broker->coordinators, 1), -1);
    assert_int_equal(committed(&rig, topics.offsets, 1, "g", "t", &offset), KAFKA_NONE);
    assert_int_equal(offset, 42);
    assert_int_equal(committed(&rig, topics.offsets, 0, "g", "t", &offset), KAFKA_NONE); /* another coordinator's knowledge */
    assert_int_equal(offset, -1);
    assert_int_equal(committed(&rig, topics.offsets, 2, "g", "t", &offset), KAFKA_NONE);
    for (partition_index i = -1; i < PARTITIONS; i++) assert_int_equal(coordinators_next(broker->coordinators, i), i + 1 < PARTITIONS ? i + 1 : -1);
    broker_rig_close(&rig);
}

/* No commit is answered before all in sync have it. When leadership is lost meanwhile its asker is told, and may not take it
 * for done; so is who comes then. Won again, the log says what was committed, that one included. */
TEST(coordinators_answer_what_is_lost) {
    struct broker_rig rig;
    struct topics topics = opened(&rig, 1);
    struct asking waiting;
    log_offset offset;
    led_with(&rig, topics.offsets, 0, 1, ME, true);
    commit_begin(&rig, &waiting, topics.offsets, 0, "g", topics.t, "t", 7);
    broker_rig_for(&rig, 1000);
    assert_false(waiting.done);
    led_with(&rig, topics.offsets, 0, 2, OTHER, true);
    assert_true(waiting.done);
    assert_int_equal(commit_error(&waiting), KAFKA_NOT_COORDINATOR);
    assert_int_equal(coordinators_next(rig.brokers[0]->coordinators, -1), -1);
    assert_int_equal(commit(&rig, topics.offsets, 0, "g", topics.t, "t", 8), KAFKA_NOT_COORDINATOR);
    led_with(&rig, topics.offsets, 0, 3, ME, false);
    assert_int_equal(committed(&rig, topics.offsets, 0, "g", "t", &offset), KAFKA_NONE);
    assert_int_equal(offset, 7);
    broker_rig_close(&rig);
}

/* Requests that come while the log is read wait for it, and are then answered from what it says. */
TEST(coordinators_let_requests_wait_for_the_loading) {
    struct broker_rig rig;
    struct topics topics = opened(&rig, 1);
    struct asking first, second;
    commit_begin(&rig, &first, topics.offsets, 2, "g", topics.t, "t", 1);
    commit_begin(&rig, &second, topics.offsets, 2, "g", topics.t, "t", 2);
    assert_false(first.done || second.done);
    broker_rig_until(&rig, &second.done);
    assert_true(first.done);
    assert_int_equal(commit_error(&first), KAFKA_NONE);
    assert_int_equal(commit_error(&second), KAFKA_NONE);
    log_offset offset;
    assert_int_equal(committed(&rig, topics.offsets, 2, "g", "t", &offset), KAFKA_NONE);
    assert_int_equal(offset, 2);
    broker_rig_close(&rig);
}

/* A stop while it loads answers who waits; whatever the loading waits for just then (the log's opening, a read of it) comes
 * back to nobody. After each number of turns from the start on. */
TEST(coordinators_stop_while_they_load) {
    struct broker_rig rig;
    struct topics topics = opened(&rig, 1);
    struct asking waiting;
    log_offset offset;
    assert_int_equal(commit(&rig, topics.offsets, 2, "g", topics.t, "t", 1), KAFKA_NONE);
    broker_rig_stop(&rig);
    int turns = 0;
    for (bool was_loaded = false; !was_loaded; turns++) {
        broker_rig_start(&rig);
        broker_rig_publish(&rig);
        commit_begin(&rig, &waiting, topics.offsets, 2, "g", topics.t, "t", 2 + turns);
        broker_rig_turns(&rig, (uint32_t)turns);
        was_loaded = waiting.done;
        broker_rig_stop(&rig);
        assert_true(waiting.done);
        assert_int_equal(commit_error(&waiting), was_loaded ? KAFKA_NONE : KAFKA_NOT_COORDINATOR);
    }
    assert_true(turns > 4);
    broker_rig_start(&rig);
    broker_rig_publish(&rig);
    assert_int_equal(committed(&rig, topics.offsets, 2, "g", "t", &offset), KAFKA_NONE);
    assert_int_equal(offset, 1 + turns);
    broker_rig_close(&rig);
}

/* With a topic every group's offsets of it go, in every partition, and no others. */
TEST(coordinators_forget_deleted_topics) {
    struct broker_rig rig;
    struct topics topics = opened(&rig, 2);
    log_offset offset;
    for (partition_index i = 0; i < PARTITIONS; i++) {
        assert_int_equal(commit(&rig, topics.offsets, i, "g", topics.t, "t", 5), KAFKA_NONE);
        assert_int_equal(commit(&rig, topics.offsets, i, "g", topics.u, "u", 6), KAFKA_NONE);
    }
    struct remove_topic_record gone = {.topic_id = topics.t};
    broker_rig_record(&rig, REMOVE_TOPIC_RECORD_TYPE, &gone);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, 1000);
    for (partition_index i = 0; i < PARTITIONS; i++) {
        assert_int_equal(committed(&rig, topics.offsets, i, "g", "t", &offset), KAFKA_NONE);
        assert_int_equal(offset, -1);
        assert_int_equal(committed(&rig, topics.offsets, i, "g", "u", &offset), KAFKA_NONE);
        assert_int_equal(offset, 6);
    }
    broker_rig_close(&rig);
}

static bool no_offsets(void *context, const struct group_view *group) {
    ++*(uint32_t *)context;
    return false;
}

/* A look at the groups takes as many as it has room for, and says how many were left out. */
TEST(coordinators_visit_no_more_than_asked) {
    struct broker_rig rig;
    struct topics topics = opened(&rig, 1);
    char name[16];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "g%d", i);
        assert_int_equal(commit(&rig, topics.offsets, i % 2, name, topics.t, "t", i), KAFKA_NONE);
    }
    for (uint32_t max = 0; max <= 7; max++) {
        uint32_t seen = 0;
        struct group_visitor visitor = {.context = &seen, .group = no_offsets};
        uint64_t left_out = coordinators_visit(rig.brokers[0]->coordinators, max, &visitor);
        assert_int_equal(seen, max < 5 ? max : 5);
        assert_int_equal(left_out, 5 - seen);
    }
    broker_rig_close(&rig);
}

/* A record of a commit that cannot be read: its partition's groups are refused, since older offsets than were committed
 * would be given out, and the operator is told once; the groups of other partitions are served. */
TEST(coordinators_refuse_what_they_cannot_read) {
    static const uint8_t key[] = {0, 1, 0, 9, 'g'}; /* an offset's key of version 1, cut off in the group's name */
    struct broker_rig rig;
    struct topics topics = opened(&rig, 1);
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    log_offset offset;
    assert_int_equal(commit(&rig, topics.offsets, 0, "g", topics.t, "t", 1), KAFKA_NONE);
    assert_int_equal(commit(&rig, topics.offsets, 1, "g", topics.t, "t", 1), KAFKA_NONE);
    batch_options_init(&options);
    batch_builder_init(&builder, &rig.pool, 1 << 16, &options);
    assert_int_equal(batch_builder_add(&builder, 0, span_of(key, sizeof key), SPAN_LITERAL("value"), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    struct partition *partition = broker_rig_get(&rig, topics.offsets, 0);
    assert_int_equal(partition_append(partition, slab->bytes, slab->used, slab, -1, &offset), KAFKA_NONE);
    broker_rig_for(&rig, 100);
    slab_drop(slab);
    broker_rig_stop(&rig);
    broker_rig_start(&rig);
    broker_rig_publish(&rig);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(committed(&rig, topics.offsets, 0, "g", "t", &offset), KAFKA_NOT_COORDINATOR);
        assert_int_equal(committed(&rig, topics.offsets, 1, "g", "t", &offset), KAFKA_NONE);
        assert_int_equal(offset, 1);
        broker_rig_for(&rig, 60000);
    }
    const char *told = strstr(rig.traces, "__consumer_offsets-0: what is committed there cannot be read at offset 1");
    assert_non_null(told);
    assert_null(strstr(told + 1, "__consumer_offsets-0"));
    broker_rig_close(&rig);
}
