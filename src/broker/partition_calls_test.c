#include "broker/partition_calls.h"
#include "broker/broker_rig.h"
#include "broker/dispatch.h"
#include "test.h"
#include <string.h>

/* A call for each partition that a request names: run where the partition lives, with its log open, or answered with why not. */

enum { ME = BROKER_RIG_ID, OTHER = 2, SHARDS = 3, LED = 6, ELSEWHERE = LED, NOWHERE, CALLS };

struct asked {
    struct partition_call call;
    uint32_t runs;
    bool waits;
};
struct asking {
    struct broker_rig rig;
    struct request request;
    struct partition_calls calls;
    struct uuid topic;
    struct asked asked[CALLS];
    uint32_t joined, runs;
};
static struct asking *current;

static void run(struct partition_call *call) {
    struct asked *asked = container_of(call, struct asked, call);
    assert_int_equal(log_state(call->partition->log), LOG_OPEN);
    assert_ptr_equal(call->partition->broker, broker_rig_of(&current->rig, current->topic, call->index));
    asked->runs++;
    current->runs++;
    if (asked->waits) partition_call_wait(call);
}
static void joined(struct request *request) { current->joined++; }

static void asking_open(struct asking *a) {
    static const struct api_row row = {.name = "test"};
    memset(a, 0, sizeof *a);
    broker_rig_open(&a->rig, SHARDS, 1, NULL);
    broker_rig_broker(&a->rig, ME, false);
    broker_rig_broker(&a->rig, OTHER, false);
    a->topic = broker_rig_topic(&a->rig, "t");
    for (partition_index i = 0; i < LED; i++) broker_rig_own(&a->rig, a->topic, i);
    broker_rig_partition(&a->rig, a->topic, &(struct rig_partition){.index = ELSEWHERE, .replicas = {OTHER}, .isr = {OTHER}, .replica_count = 1, .isr_count = 1, .leader = OTHER});
    broker_rig_publish(&a->rig);
    a->request.broker = a->rig.brokers[1];
    a->request.row = &row;
    arena_init(&a->request.arena, &a->request.broker->requests, 0);
    current = a;
}
static void ask(struct asking *a) {
    memset(&a->calls, 0, sizeof a->calls);
    a->joined = a->runs = 0;
    for (partition_index i = 0; i < CALLS; i++) assert_true(partition_calls_add(&a->request, &a->calls, &a->asked[i].call, a->topic, i, run));
    partition_calls_send(&a->request, &a->calls, joined);
}
static void forget(struct asking *a) {
    for (struct share *share = a->request.shares; share; share = share->next) arena_destroy(&share->arena);
    a->request.shares = NULL;
}
static void asking_close(struct asking *a) {
    forget(a);
    arena_destroy(&a->request.arena);
    broker_rig_close(&a->rig);
}
static void expect_answers(struct asking *a) {
    assert_int_equal(a->joined, 1);
    for (partition_index i = 0; i < LED; i++) assert_int_equal(a->asked[i].call.error, KAFKA_NONE);
    assert_int_equal(a->asked[ELSEWHERE].call.error, KAFKA_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(a->asked[NOWHERE].call.error, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(a->asked[ELSEWHERE].runs + a->asked[NOWHERE].runs, 0);
}

/* Logs that are closed are opened first, those that are open answer in the same turn; each call runs once on its own shard,
 * and what is not led here is answered without one. */
TEST(partition_calls_run_where_partitions_live) {
    struct asking a;
    asking_open(&a);
    ask(&a);
    assert_int_equal(a.joined, 0);
    broker_rig_for(&a.rig, 1000);
    expect_answers(&a);
    for (partition_index i = 0; i < LED; i++) assert_int_equal(a.asked[i].runs, 1);
    forget(&a);
    ask(&a);
    broker_rig_turns(&a.rig, 3); /* there and back */
    expect_answers(&a);
    for (partition_index i = 0; i < LED; i++) assert_int_equal(a.asked[i].runs, 2);
    asking_close(&a);
}

/* One that says that it waits holds its request together until it says that it is over. */
TEST(partition_calls_wait_for_those_that_say_so) {
    struct asking a;
    asking_open(&a);
    a.asked[2].waits = a.asked[3].waits = true;
    ask(&a);
    broker_rig_for(&a.rig, 1000);
    assert_int_equal(a.runs, LED);
    assert_int_equal(a.joined, 0);
    partition_call_end(&a.asked[2].call);
    broker_rig_turns(&a.rig, 3);
    assert_int_equal(a.joined, 0);
    partition_call_end(&a.asked[3].call);
    broker_rig_turns(&a.rig, 3);
    expect_answers(&a);
    asking_close(&a);
}

/* Leadership that is lost while the log opens: nothing is done to it, and the answer says why. */
TEST(partition_calls_are_left_out_when_leadership_goes) {
    struct asking a;
    asking_open(&a);
    ask(&a);
    broker_rig_turns(&a.rig, 1);
    for (partition_index i = 0; i < LED; i++)
        broker_rig_partition(&a.rig, a.topic, &(struct rig_partition){.index = i, .replicas = {OTHER, ME}, .isr = {OTHER}, .replica_count = 2, .isr_count = 1,
                                                                     .leader = OTHER, .leader_epoch = 1, .partition_epoch = 1});
    broker_rig_publish(&a.rig);
    broker_rig_for(&a.rig, 1000);
    assert_int_equal(a.joined, 1);
    assert_int_equal(a.runs, 0);
    for (partition_index i = 0; i < LED; i++) assert_int_equal(a.asked[i].call.error, KAFKA_NOT_LEADER_OR_FOLLOWER);
    asking_close(&a);
}
