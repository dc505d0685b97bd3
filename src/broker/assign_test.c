#include "broker/assign.h"
#include "broker/broker_rig.h"
#include "test.h"
#include <string.h>

/* What a broker tells the controller of the directories that its partitions lie in: what the metadata do not say, once, and
 * again when it was not heard. */

enum { PARTITIONS = 4 };

/* The controller's place: notes what it is told, and answers. */
struct ear {
    uint32_t calls, partitions;
    struct uuid dir;                 /* the first of the last call's */
    broker_epoch epoch;
    enum kafka_error error, answer;  /* of the call as a whole; in the answer */
    bool silent;
    struct control_call *open;       /* not answered yet */
};

static void told(void *self, struct control_call *call) {
    struct ear *ear = self;
    const struct assign_replicas_to_dirs_request *request = call->request;
    struct assign_replicas_to_dirs_response *response = call->response;
    assert_int_equal(call->api->key, API_ASSIGN_REPLICAS_TO_DIRS);
    assert_int_equal(request->broker_id, BROKER_RIG_ID);
    ear->calls++;
    ear->epoch = request->broker_epoch;
    ear->dir = request->directories[0].id;
    ear->partitions = 0;
    for (int32_t i = 0; i < request->directories_count; i++) ear->partitions += (uint32_t)request->directories[i].topics_count;
    ear->open = call;
    if (ear->silent) return;
    call->error = ear->error;
    response->error_code = (int16_t)ear->answer;
    call->done(call);
}

static void say_dir(struct broker_rig *rig, struct uuid topic, partition_index index, struct uuid dir) {
    broker_rig_partition(rig, topic, &(struct rig_partition){.index = index, .replicas = {BROKER_RIG_ID}, .isr = {BROKER_RIG_ID}, .replica_count = 1,
                                                             .isr_count = 1, .leader = BROKER_RIG_ID, .dir = dir});
}

/* Partitions of which the metadata say that they lie in a directory that is none of this broker's. */
static struct uuid opened(struct broker_rig *rig, struct ear *ear, uint32_t shards, uint32_t dirs) {
    memset(ear, 0, sizeof *ear);
    broker_rig_open(rig, shards, dirs, NULL);
    rig->node.control = (struct broker_control){.self = ear, .call = told};
    broker_rig_broker(rig, BROKER_RIG_ID, false);
    struct uuid topic = broker_rig_topic(rig, "t"), elsewhere = {{0x77}};
    for (partition_index i = 0; i < PARTITIONS; i++) say_dir(rig, topic, i, elsewhere);
    broker_rig_publish(rig);
    return topic;
}

/* Those that are made within a moment are told together, with the broker's epoch; what the metadata say already is not told,
 * and nothing is where there is one directory only. */
TEST(assign_tells_what_the_metadata_do_not_say) {
    struct broker_rig rig;
    struct ear ear;
    struct uuid topic = opened(&rig, &ear, 1, 2);
    struct uuid first = log_dir_id(log_dir_of(broker_rig_get(&rig, topic, 0)->log));
    broker_rig_for(&rig, 500);
    assert_int_equal(ear.calls, 1);
    assert_int_equal(ear.partitions, 1);
    assert_int_equal(ear.epoch, BROKER_RIG_EPOCH);
    assert_true(uuid_equal(ear.dir, first));
    say_dir(&rig, topic, 1, rig.dir_ids[1]);
    broker_rig_publish(&rig);
    broker_rig_get(&rig, topic, 1);
    broker_rig_get(&rig, topic, 0);
    broker_rig_for(&rig, 5000);
    assert_int_equal(ear.calls, 1);
    broker_rig_close(&rig);
    topic = opened(&rig, &ear, 1, 1);
    broker_rig_get(&rig, topic, 0);
    broker_rig_for(&rig, 5000);
    assert_int_equal(ear.calls, 0);
    broker_rig_close(&rig);
}

/* A controller that could not be asked, or that refuses the whole, is asked again a second later, until it has heard; one that
 * does not know the request is not. */
TEST(assign_tells_again_what_was_not_heard) {
    static const struct { enum kafka_error error, answer; bool again; } rows[] = {
        {KAFKA_NOT_CONTROLLER, KAFKA_NONE, true}, {KAFKA_NONE, KAFKA_STALE_BROKER_EPOCH, true}, {KAFKA_UNSUPPORTED_VERSION, KAFKA_NONE, false}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct broker_rig rig;
        struct ear ear;
        struct uuid topic = opened(&rig, &ear, 2, 2);
        ear.error = rows[i].error;
        ear.answer = rows[i].answer;
        broker_rig_get(&rig, topic, 0);
        broker_rig_for(&rig, 500);
        assert_int_equal(ear.calls, 1);
        broker_rig_for(&rig, 2000);
        assert_int_equal(ear.calls, rows[i].again ? 3 : 1);
        ear.error = ear.answer = KAFKA_NONE;
        broker_rig_for(&rig, 1000);
        uint32_t calls = ear.calls;
        assert_int_equal(calls, rows[i].again ? 4 : 1);
        broker_rig_for(&rig, 5000);
        assert_int_equal(ear.calls, calls);
        broker_rig_close(&rig);
    }
}

/* What was to be told and has come to be so meanwhile, or is gone with its topic, is not told. */
TEST(assign_does_not_tell_what_is_no_longer_so) {
    struct broker_rig rig;
    struct ear ear;
    struct uuid topic = opened(&rig, &ear, 1, 2);
    ear.error = KAFKA_NOT_CONTROLLER;
    struct uuid dir = log_dir_id(log_dir_of(broker_rig_get(&rig, topic, 0)->log));
    broker_rig_for(&rig, 500);
    assert_int_equal(ear.calls, 1);
    say_dir(&rig, topic, 0, dir);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, 5000);
    assert_int_equal(ear.calls, 1);
    broker_rig_get(&rig, topic, 1);
    struct remove_topic_record gone = {.topic_id = topic};
    broker_rig_record(&rig, REMOVE_TOPIC_RECORD_TYPE, &gone);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, 5000);
    assert_int_equal(ear.calls, 1);
    broker_rig_close(&rig);
}

/* One call is under way at a time; what is made meanwhile goes with the next, and a stop does not wait for an answer. */
TEST(assign_waits_for_its_answer) {
    struct broker_rig rig;
    struct ear ear;
    struct uuid topic = opened(&rig, &ear, 1, 2);
    ear.silent = true;
    for (partition_index i = 0; i < PARTITIONS; i++) {
        broker_rig_get(&rig, topic, i);
        broker_rig_for(&rig, 500);
        assert_int_equal(ear.calls, 1);
    }
    ear.silent = false;
    ear.open->done(ear.open);
    broker_rig_for(&rig, 500);
    assert_int_equal(ear.calls, 2);
    assert_int_equal(ear.partitions, PARTITIONS - 1);
    broker_rig_close(&rig);
    topic = opened(&rig, &ear, 2, 2);
    ear.silent = true;
    broker_rig_get(&rig, topic, 0);
    broker_rig_for(&rig, 500);
    assert_int_equal(ear.calls, 1);
    broker_rig_close(&rig);
}
