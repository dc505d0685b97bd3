#include "broker/fetch_session.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

/* Sessions of one shard, and requests in few words: each is a list of (topic, partition, offset). */
struct rig {
    struct pool pool;
    struct arena arena;
    struct random random;
    struct fetch_sessions sessions;
    struct fetch_plan plan;
    time_ms now;
    bool by_id, follower;
};
struct wanted { const char *topic; partition_index index; log_offset from; };

static void rig_open(struct rig *rig, uint32_t slots, uint32_t shard, uint32_t shards) {
    *rig = (struct rig){.now = 1000};
    pool_init(&rig->pool, 0, 0);
    arena_init(&rig->arena, &rig->pool, 0);
    random_seed(&rig->random, 7);
    fetch_sessions_init(&rig->sessions, &rig->pool, &rig->random, slots, shard, shards);
}

static void rig_close(struct rig *rig) {
    fetch_sessions_destroy(&rig->sessions);
    arena_destroy(&rig->arena);
    pool_destroy(&rig->pool);
}

static struct uuid topic_id(const char *name) {
    struct uuid id = {{0}};
    memcpy(id.bytes, name, strlen(name));
    return id;
}

/* Plans a request; what it makes known is answered at once. */
static enum kafka_error plan(struct rig *rig, int32_t id, int32_t epoch, const struct wanted *wanted, uint32_t count, const struct wanted *forgotten, uint32_t gone) {
    struct fetch_request request;
    fetch_request_init(&request);
    request.session_id = id;
    request.session_epoch = epoch;
    request.topics = fetch_request_fetch_topic_array(&rig->arena, (int32_t)count);
    request.topics_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        request.topics[i].topic = span_text(wanted[i].topic);
        request.topics[i].topic_id = topic_id(wanted[i].topic);
        request.topics[i].partitions = fetch_request_fetch_partition_array(&rig->arena, 1);
        request.topics[i].partitions_count = 1;
        request.topics[i].partitions[0].partition = wanted[i].index;
        request.topics[i].partitions[0].fetch_offset = wanted[i].from;
    }
    request.forgotten_topics_data = fetch_request_forgotten_topic_array(&rig->arena, (int32_t)gone);
    request.forgotten_topics_data_count = (int32_t)gone;
    for (uint32_t i = 0; i < gone; i++) {
        request.forgotten_topics_data[i].topic = span_text(forgotten[i].topic);
        request.forgotten_topics_data[i].topic_id = topic_id(forgotten[i].topic);
        request.forgotten_topics_data[i].partitions = ARENA_NEW(&rig->arena, int32_t);
        request.forgotten_topics_data[i].partitions[0] = forgotten[i].index;
        request.forgotten_topics_data[i].partitions_count = 1;
    }
    rig->plan = (struct fetch_plan){.arena = &rig->arena};
    return fetch_session_plan(&rig->sessions, &request, rig->by_id ? 13 : 12, rig->follower, rig->now, &rig->plan);
}

static enum kafka_error ask(struct rig *rig, int32_t id, int32_t epoch, const struct wanted *wanted, uint32_t count) {
    enum kafka_error error = plan(rig, id, epoch, wanted, count, NULL, 0);
    if (!error) fetch_session_answered(&rig->sessions, &rig->plan);
    return error;
}

static const char *order_of(struct rig *rig) {
    static char text[256];
    char *at = text;
    *at = 0;
    struct list *order = rig->plan.session ? &rig->plan.session->order : &rig->plan.order;
    LIST_EACH(node, order) {
        const struct session_partition *p = LIST_ITEM(node, const struct session_partition, order);
        at += snprintf(at, (size_t)(text + sizeof text - at), "%s%d@%lld", at == text ? "" : " ", p->index, (long long)p->from);
    }
    return text;
}

/* Opens a session of so many partitions; its id, 0: there was no place. */
static int32_t open_one(struct rig *rig, uint32_t count) {
    static struct wanted many[64];
    for (uint32_t i = 0; i < count; i++) many[i] = (struct wanted){"t", (partition_index)i, 0};
    assert_int_equal(ask(rig, 0, 0, many, count), KAFKA_NONE);
    return rig->plan.session ? rig->plan.session->id : 0;
}

static bool is_there(struct rig *rig, int32_t id, int32_t epoch) {
    return ask(rig, id, epoch, NULL, 0) != KAFKA_FETCH_SESSION_ID_NOT_FOUND;
}

/* A session remembers: a request names only what changes, and the whole list is read. Partitions are added, moved and
 * forgotten; when none is left, the session ends with the request. */
TEST(fetch_session_remembers_what_was_asked) {
    struct rig rig;
    for (int by_id = 0; by_id < 2; by_id++) {
        rig_open(&rig, 10, 0, 1);
        rig.by_id = by_id;
        assert_int_equal(ask(&rig, 0, 0, (struct wanted[]){{"a", 0, 5}, {"a", 1, 6}}, 2), KAFKA_NONE);
        assert_false(rig.plan.is_incremental);
        int32_t id = rig.plan.session->id;
        assert_true(id > 0);
        assert_string_equal(order_of(&rig), "0@5 1@6");
        assert_int_equal(ask(&rig, id, 1, NULL, 0), KAFKA_NONE);
        assert_true(rig.plan.is_incremental);
        assert_string_equal(order_of(&rig), "0@5 1@6");
        assert_int_equal(ask(&rig, id, 2, (struct wanted[]){{"a", 1, 9}, {"b", 3, 1}}, 2), KAFKA_NONE);
        assert_string_equal(order_of(&rig), "0@5 1@9 3@1");
        assert_int_equal(plan(&rig, id, 3, NULL, 0, (struct wanted[]){{"a", 0, 0}, {"c", 0, 0}}, 2), KAFKA_NONE);
        fetch_session_answered(&rig.sessions, &rig.plan);
        assert_string_equal(order_of(&rig), "1@9 3@1");
        assert_int_equal(plan(&rig, id, 4, NULL, 0, (struct wanted[]){{"a", 1, 0}, {"b", 3, 0}}, 2), KAFKA_NONE);
        assert_null(rig.plan.session);
        assert_string_equal(order_of(&rig), "");
        assert_int_equal(ask(&rig, id, 5, NULL, 0), KAFKA_FETCH_SESSION_ID_NOT_FOUND);
        rig_close(&rig);
    }
}

/* What a wrong id, epoch or version is answered, in the order in which Kafka looks; a full fetch ends the session that it
 * names, with epoch -1 without making another. */
TEST(fetch_session_errors) {
    struct rig rig;
    rig_open(&rig, 10, 0, 1);
    struct wanted a[] = {{"a", 0, 0}};
    assert_int_equal(ask(&rig, 77, 1, a, 1), KAFKA_FETCH_SESSION_ID_NOT_FOUND);
    assert_int_equal(ask(&rig, 0, 0, a, 1), KAFKA_NONE);
    int32_t id = rig.plan.session->id;
    assert_int_equal(ask(&rig, id, 2, a, 1), KAFKA_INVALID_FETCH_SESSION_EPOCH);
    rig.by_id = true;
    assert_int_equal(ask(&rig, id, 2, a, 1), KAFKA_INVALID_FETCH_SESSION_EPOCH);
    assert_int_equal(ask(&rig, id, 1, a, 1), KAFKA_FETCH_SESSION_TOPIC_ID_ERROR);
    rig.by_id = false;
    assert_int_equal(plan(&rig, id, 1, a, 1, NULL, 0), KAFKA_NONE); /* not answered yet */
    struct fetch_plan under_way = rig.plan;
    assert_int_equal(ask(&rig, id, 2, a, 1), KAFKA_INVALID_FETCH_SESSION_EPOCH);
    fetch_session_answered(&rig.sessions, &under_way);
    assert_int_equal(ask(&rig, id, 2, a, 1), KAFKA_NONE);
    assert_int_equal(ask(&rig, id, -1, a, 1), KAFKA_NONE);
    assert_null(rig.plan.session);
    assert_false(is_there(&rig, id, 3));
    assert_int_equal(ask(&rig, 0, 0, a, 1), KAFKA_NONE);
    id = rig.plan.session->id;
    assert_int_equal(ask(&rig, id, 0, a, 1), KAFKA_NONE);
    assert_int_not_equal(rig.plan.session->id, id);
    assert_false(is_there(&rig, id, 1));
    assert_int_equal(rig.sessions.sessions.count, 1);
    rig_close(&rig);
}

/* The epoch goes from its largest value on to 1: 0 would be a full fetch. */
TEST(fetch_session_epoch_goes_round) {
    struct rig rig;
    rig_open(&rig, 10, 0, 1);
    int32_t id = open_one(&rig, 1);
    rig.plan.session->epoch = INT32_MAX;
    assert_int_equal(ask(&rig, id, INT32_MAX, NULL, 0), KAFKA_NONE);
    assert_int_equal(ask(&rig, id, 1, NULL, 0), KAFKA_NONE);
    rig_close(&rig);
}

/* Ids of all shards differ, say their shard, are positive, and those of two lives do not begin alike. */
TEST(fetch_session_ids) {
    int32_t first_of[2][8];
    for (uint64_t life = 0; life < 2; life++) {
        for (uint32_t shard = 0; shard < 8; shard++) {
            struct rig rig;
            rig_open(&rig, 1000, shard, 8);
            random_seed(&rig.random, 100 * life + shard);
            for (int i = 0; i < 200; i++) {
                int32_t id = open_one(&rig, 1);
                assert_true(id > 0);
                assert_int_equal(id % 8, shard);
                if (i == 0) first_of[life][shard] = id;
            }
            assert_int_equal(rig.sessions.sessions.count, 200);
            rig_close(&rig);
        }
    }
    for (uint32_t shard = 0; shard < 8; shard++) assert_int_not_equal(first_of[0][shard], first_of[1][shard]);
}

/* At one below, at, and beyond the number of places: beyond it there is no session until the longest unused is unused for
 * more than two minutes. */
TEST(fetch_session_places) {
    struct rig rig;
    rig_open(&rig, 3, 0, 1);
    int32_t ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = open_one(&rig, 2);
        assert_int_not_equal(ids[i], 0);
        rig.now += 10;
    }
    assert_int_equal(open_one(&rig, 2), 0);
    rig.now = 1000 + 120000; /* the first was made, and used, just two minutes ago */
    assert_int_equal(open_one(&rig, 2), 0);
    assert_true(is_there(&rig, ids[1], 1));
    rig.now++;
    assert_int_not_equal(open_one(&rig, 2), 0);
    assert_false(is_there(&rig, ids[0], 1));
    assert_true(is_there(&rig, ids[1], 2));
    assert_true(is_there(&rig, ids[2], 1));
    assert_int_equal(rig.sessions.evicted, 1);
    rig_close(&rig);
}

/* Among sessions that are in use, one that is there for two minutes goes for a larger newcomer, the smallest first; not for
 * one of the same size. */
TEST(fetch_session_large_ones_win) {
    struct rig rig;
    rig_open(&rig, 2, 0, 1);
    int32_t small = open_one(&rig, 4), large = open_one(&rig, 5);
    rig.now += 120001;
    assert_true(is_there(&rig, small, 1)); /* used: not stale */
    assert_true(is_there(&rig, large, 1));
    assert_int_equal(open_one(&rig, 4), 0);
    int32_t newcomer = open_one(&rig, 6);
    assert_int_not_equal(newcomer, 0);
    assert_false(is_there(&rig, small, 2));
    assert_true(is_there(&rig, large, 2));
    assert_int_not_equal(open_one(&rig, 7), 0); /* takes the place of the old one of 5, not of the new one of 6 */
    assert_true(is_there(&rig, newcomer, 1));
    assert_false(is_there(&rig, large, 3));
    rig_close(&rig);
}

/* A follower's session takes a consumer's place at once, however large that is, and never gives its own to a consumer's. */
TEST(fetch_session_followers_first) {
    struct rig rig;
    rig_open(&rig, 1, 0, 1);
    int32_t consumer = open_one(&rig, 9);
    rig.follower = true;
    int32_t follower = open_one(&rig, 1);
    assert_int_not_equal(follower, 0);
    rig.follower = false;
    assert_false(is_there(&rig, consumer, 1));
    rig.now += 120001;
    rig.follower = true;
    assert_true(is_there(&rig, follower, 1));
    rig.follower = false;
    assert_int_equal(open_one(&rig, 50), 0);
    rig.now += 120001; /* unused for so long, it is nobody's */
    assert_int_not_equal(open_one(&rig, 1), 0);
    rig_close(&rig);
}

/* While a request of a session is being answered, nothing takes its place. */
TEST(fetch_session_busy_ones_stay) {
    struct rig rig;
    rig_open(&rig, 1, 0, 1);
    int32_t id = open_one(&rig, 1);
    assert_int_equal(plan(&rig, id, 1, NULL, 0, NULL, 0), KAFKA_NONE);
    struct fetch_plan under_way = rig.plan;
    rig.now += 1000000;
    assert_int_equal(open_one(&rig, 50), 0);
    assert_int_equal(ask(&rig, id, 0, NULL, 0), KAFKA_NONE); /* a full fetch would end it */
    fetch_session_answered(&rig.sessions, &under_way);
    assert_true(is_there(&rig, id, 2));
    rig_close(&rig);
}

/* What an incremental answer names: partitions with records, an error, another high watermark or log start, a diverging
 * epoch; after an error the next answer names it again. What had records goes to the back of the order. */
TEST(fetch_session_tells_what_moved) {
    struct rig rig;
    rig_open(&rig, 10, 0, 1);
    int32_t id = open_one(&rig, 3);
    struct fetch_response_partition_data data;
    struct chain records;
    struct fetch_session *session = rig.plan.session;
    chain_init(&records, &rig.arena);
    fetch_response_partition_data_init(&data);
    data.high_watermark = 10;
    data.log_start_offset = 0;
    LIST_EACH(node, &session->order) assert_true(fetch_session_tells(&rig.plan, LIST_ITEM(node, struct session_partition, order), &data)); /* a full answer */
    assert_int_equal(ask(&rig, id, 1, NULL, 0), KAFKA_NONE);
    struct session_partition *first = LIST_ITEM(session->order.next, struct session_partition, order);
    assert_false(fetch_session_tells(&rig.plan, first, &data));
    data.high_watermark = 11;
    assert_true(fetch_session_tells(&rig.plan, first, &data));
    assert_false(fetch_session_tells(&rig.plan, first, &data));
    data.log_start_offset = 1;
    assert_true(fetch_session_tells(&rig.plan, first, &data));
    data.diverging_epoch.epoch = 3;
    assert_true(fetch_session_tells(&rig.plan, first, &data));
    data.diverging_epoch.epoch = -1;
    data.error_code = KAFKA_NOT_LEADER_OR_FOLLOWER;
    assert_true(fetch_session_tells(&rig.plan, first, &data));
    assert_true(fetch_session_tells(&rig.plan, first, &data));
    data.error_code = 0;
    assert_true(fetch_session_tells(&rig.plan, first, &data));
    assert_false(fetch_session_tells(&rig.plan, first, &data));
    assert_string_equal(order_of(&rig), "0@0 1@0 2@0");
    assert_true(chain_add_memory(&records, "x", 1, NULL));
    data.records.chain = &records;
    assert_true(fetch_session_tells(&rig.plan, first, &data));
    assert_string_equal(order_of(&rig), "1@0 2@0 0@0");
    rig_close(&rig);
}

/* Each allocation fails in turn: the request is answered with an error or goes on without a session, and no memory is left
 * behind. */
TEST(fetch_session_without_memory) {
    struct wanted many[] = {{"a", 0, 0}, {"a", 1, 0}, {"b", 0, 0}};
    for (size_t budget = 0; budget < 6000; budget += 40) {
        struct rig rig;
        struct pool small;
        rig_open(&rig, 10, 0, 1);
        pool_init_child(&small, &rig.pool, budget ? budget : 1);
        rig.sessions.pool = &small;
        map_init(&rig.sessions.sessions, &small, 10, rig.sessions.sessions.is_key);
        enum kafka_error error = ask(&rig, 0, 0, many, 3);
        assert_true(error == KAFKA_NONE || error == KAFKA_UNKNOWN_SERVER_ERROR);
        if (error) assert_int_equal(rig.sessions.sessions.count, 0);
        fetch_sessions_destroy(&rig.sessions);
        pool_destroy(&small);
        arena_destroy(&rig.arena);
        pool_destroy(&rig.pool);
    }
}
