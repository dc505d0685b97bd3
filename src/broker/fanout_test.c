#include "broker/fanout.h"
#include "broker/broker_rig.h"
#include "broker/dispatch.h"
#include "test.h"
#include <string.h>

/* A request that is split over shards comes together again once, on its own shard, however its shares come back. */

enum { SHARDS = 3, SHARES = 6 };

struct part {
    struct share share;
    uint32_t to, ran_on, runs, backs;
    bool waits;                      /* it is not over when it has run */
};
struct split {
    struct broker_rig rig;
    struct request request;
    struct part parts[SHARES];
    uint32_t backs, joined, backs_when_joined;
};
static struct split *split;

static void run(struct share *share) {
    struct part *part = container_of(share, struct part, share);
    part->runs++;
    part->ran_on = share->there->shard->index;
    assert_ptr_equal(share->there, split->rig.brokers[part->ran_on]);
    if (!part->waits) fanout_done(share);
}
static void back(struct share *share) {
    struct part *part = container_of(share, struct part, share);
    assert_int_equal(split->joined, 0);
    part->backs++;
    split->backs++;
}
static void joined(struct request *request) {
    assert_ptr_equal(request, &split->request);
    split->joined++;
    split->backs_when_joined = split->backs;
}

static void split_open(struct split *s) {
    static const struct api_row row = {.name = "test"};
    memset(s, 0, sizeof *s);
    broker_rig_open(&s->rig, SHARDS, 1, NULL);
    s->request.broker = s->rig.brokers[1];
    s->request.row = &row;
    for (uint32_t i = 0; i < SHARES; i++) s->parts[i].to = i % SHARDS;
    split = s;
}
static void send_all(struct split *s) {
    fanout_begin(&s->request, joined);
    for (uint32_t i = 0; i < SHARES; i++) fanout_send(&s->request, s->parts[i].to, &s->parts[i].share, run, back);
    fanout_sent(&s->request);
}

/* Those of its own shard run within the call, the others on theirs; each comes back once, and then all are joined, once. */
TEST(fanout_joins_when_all_are_back) {
    struct split s;
    split_open(&s);
    send_all(&s);
    for (uint32_t i = 0; i < SHARES; i++) assert_int_equal(s.parts[i].backs, s.parts[i].to == 1);
    assert_int_equal(s.joined, 0);
    broker_rig_turns(&s.rig, 5);
    for (uint32_t i = 0; i < SHARES; i++) {
        assert_int_equal(s.parts[i].ran_on, s.parts[i].to);
        assert_int_equal(s.parts[i].runs, 1);
        assert_int_equal(s.parts[i].backs, 1);
    }
    assert_int_equal(s.joined, 1);
    assert_int_equal(s.backs_when_joined, SHARES);
    assert_int_equal(s.request.outstanding, 0);
    broker_rig_close(&s.rig);
}

/* Shares of its own shard are over at once: the request is joined when the last was sent, not when the first was over; one
 * without any shares is joined as well. */
TEST(fanout_does_not_join_before_all_are_sent) {
    struct split s;
    split_open(&s);
    fanout_begin(&s.request, joined);
    for (uint32_t i = 0; i < 3; i++) {
        fanout_send(&s.request, 1, &s.parts[i].share, run, back);
        assert_int_equal(s.parts[i].backs, 1);
        assert_int_equal(s.joined, 0);
    }
    fanout_sent(&s.request);
    assert_int_equal(s.joined, 1);
    s.joined = 0;
    fanout_begin(&s.request, joined);
    fanout_sent(&s.request);
    assert_int_equal(s.joined, 1);
    broker_rig_close(&s.rig);
}

/* One that waits where it is holds the request together, and the time that it waits is told apart from the request's work. */
TEST(fanout_waits_for_the_last) {
    struct split s;
    split_open(&s);
    s.parts[2].waits = true;
    send_all(&s);
    broker_rig_for(&s.rig, 50);
    assert_int_equal(s.joined, 0);
    assert_int_equal(s.backs, SHARES - 1);
    assert_int_equal(s.request.outstanding, 1);
    fanout_done(&s.parts[2].share);
    assert_int_equal(s.parts[2].backs, 0); /* it is on the other shard still */
    broker_rig_turns(&s.rig, 5);
    assert_int_equal(s.joined, 1);
    assert_true(s.request.away >= 50 * NS_PER_MS);
    broker_rig_close(&s.rig);
}

/* A share may be sent again, as a Fetch does to wait: among the request's shares, whose arenas go with it, it is once. */
TEST(fanout_sends_a_share_again) {
    struct split s;
    split_open(&s);
    s.parts[0].waits = true;
    for (uint32_t round = 1; round <= 2; round++) {
        s.joined = 0;
        send_all(&s);
        broker_rig_for(&s.rig, 50);
        assert_int_equal(s.joined, 0);
        fanout_done(&s.parts[0].share);
        broker_rig_turns(&s.rig, 5);
        assert_int_equal(s.joined, 1);
        assert_true(s.request.away >= round * 50 * NS_PER_MS && s.request.away < round * 60 * NS_PER_MS);
        broker_rig_for(&s.rig, 1000); /* which is nobody's waiting */
    }
    uint32_t count = 0;
    for (const struct share *share = s.request.shares; share && count <= SHARES; share = share->next) count++;
    assert_int_equal(count, SHARES);
    for (uint32_t i = 0; i < SHARES; i++) assert_int_equal(s.parts[i].runs, 2);
    broker_rig_close(&s.rig);
}
