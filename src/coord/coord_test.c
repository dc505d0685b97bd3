#include "coord/coord.h"
#include "coord/coord_state.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

/* ---- A toy machine: named counters. ADD writes the new value; GET answers it; WAIT is parked until a counter has reached
 * a value. `answer` of all three is the counter as the machine knew it. */

enum { COUNTERS = 4, LOG_MAX = 20000, REQUESTS = 12 };
enum toy_kind { TOY_ADD, TOY_GET, TOY_WAIT };
struct toy_request {
    struct coord_request host;
    enum toy_kind kind;
    uint8_t counter;
    int64_t amount, answer;
    int replies;
    bool parked, busy;
    struct list node;
    struct toy *toy;
};
struct toy_entry { uint8_t counter; int64_t value; };

struct toy {
    struct coord *coord;
    struct pool pool;
    struct random random;
    struct coord_now now;
    /* the machine */
    int64_t counters[COUNTERS];
    struct list parked;
    time_ms tick_at;
    int ticks;
    uint64_t apply_fails_in;
    log_offset committed_seen;
    /* the log */
    struct toy_entry log[LOG_MAX];
    log_offset end, committed;
    enum kafka_error append_error;
    bool read_at_once, read_fails;
    uint64_t read_load;
    log_offset read_from;
    bool read_asked;
    int reads;
    /* what the outside has seen */
    int64_t seen[COUNTERS];
    int answered, refused, in_flight;
};

static void toy_decide(void *self, struct coord_request *host, const struct coord_now *now, struct coord_decision *out) {
    struct toy *toy = self;
    struct toy_request *request = container_of(host, struct toy_request, host);
    int64_t value = toy->counters[request->counter];
    if (request->kind == TOY_WAIT && value < request->amount) {
        request->parked = true;
        list_push(&toy->parked, &request->node);
        return;
    }
    if (request->kind == TOY_ADD) {
        struct toy_entry *entry = ARENA_NEW(out->arena, struct toy_entry);
        assert_non_null(entry);
        *entry = (struct toy_entry){request->counter, value + request->amount};
        coord_record_add(out, span_of(&entry->counter, 1), span_of(&entry->value, 8));
        value += request->amount;
    }
    request->answer = value;
    coord_complete(out, host);
}

static bool toy_apply(void *self, const struct coord_batch *batch, log_offset base, bool live) {
    struct toy *toy = self;
    if (toy->apply_fails_in && --toy->apply_fails_in == 0) return false;
    for (uint32_t i = 0; i < batch->count; i++)
        memcpy(&toy->counters[batch->records[i].key.data[0]], batch->records[i].value.data, 8);
    return true;
}

static void toy_applied(void *self, const struct coord_now *now, struct coord_decision *out) {
    struct toy *toy = self;
    LIST_EACH_SAFE(node, &toy->parked) {
        struct toy_request *request = LIST_ITEM(node, struct toy_request, node);
        if (toy->counters[request->counter] < request->amount) continue;
        list_remove(&request->node);
        request->parked = false;
        request->answer = toy->counters[request->counter];
        coord_complete(out, &request->host);
    }
}

/* A tick adds one to counter 0. */
static void toy_tick(void *self, const struct coord_now *now, struct coord_decision *out) {
    struct toy *toy = self;
    struct toy_entry *entry = ARENA_NEW(out->arena, struct toy_entry);
    assert_non_null(entry);
    *entry = (struct toy_entry){0, toy->counters[0] + 1};
    coord_record_add(out, span_of(&entry->counter, 1), span_of(&entry->value, 8));
    toy->tick_at = now->now_ms + 1000;
    toy->ticks++;
}
static time_ms toy_next_deadline(void *self) { return ((struct toy *)self)->tick_at; }
static void toy_committed(void *self, log_offset offset) { ((struct toy *)self)->committed_seen = offset; }
static void toy_reset(void *self) {
    struct toy *toy = self;
    memset(toy->counters, 0, sizeof toy->counters);
    list_init(&toy->parked);
}

static enum kafka_error toy_append(void *self, const struct coord_batch *batch, log_offset *end) {
    struct toy *toy = self;
    if (toy->append_error) return toy->append_error;
    for (uint32_t i = 0; i < batch->count; i++) {
        assert_true(toy->end < LOG_MAX);
        struct toy_entry *entry = &toy->log[toy->end++];
        entry->counter = batch->records[i].key.data[0];
        memcpy(&entry->value, batch->records[i].value.data, 8);
    }
    *end = toy->end;
    return KAFKA_NONE;
}

static void toy_read_answer(struct toy *toy) {
    struct coord_record record[2];
    struct coord_batch batch[2];
    log_offset bases[2];
    uint32_t count = 0;
    toy->read_asked = false;
    log_offset next = toy->read_from;
    for (; count < 2 && next < toy->end; count++, next++) {
        record[count] = (struct coord_record){span_of(&toy->log[next].counter, 1), span_of(&toy->log[next].value, 8)};
        batch[count] = (struct coord_batch){.records = &record[count], .count = 1, .producer_id = -1};
        bases[count] = next;
    }
    toy->reads++;
    coord_read_done(toy->coord, &toy->now, toy->read_load, toy->read_fails ? ERR_IO : ERR_NONE, batch, bases, count, next);
}

static void toy_read(void *self, log_offset from, uint32_t bytes_max, uint64_t load) {
    struct toy *toy = self;
    toy->read_load = load;
    toy->read_from = from;
    toy->read_asked = true;
    if (toy->read_at_once) toy_read_answer(toy);
}
static log_offset toy_end(void *self) { return ((struct toy *)self)->end; }
static log_offset toy_log_committed(void *self) { return ((struct toy *)self)->committed; }

/* The counter as a reader of the committed log knows it. */
static int64_t toy_committed_value(const struct toy *toy, uint8_t counter) {
    for (log_offset at = toy->committed - 1; at >= 0; at--)
        if (toy->log[at].counter == counter) return toy->log[at].value;
    return 0;
}

static void toy_reply(struct coord_request *host) {
    struct toy_request *request = container_of(host, struct toy_request, host);
    struct toy *toy = request->toy;
    assert_int_equal(++request->replies, 1);
    toy->in_flight--;
    request->busy = false;
    if (host->error) {
        toy->refused++;
        return;
    }
    toy->answered++;
    /* Nothing leaves before it is committed: what is told lies in the committed log by now. Counters only rise. */
    assert_true(request->answer <= toy_committed_value(toy, request->counter));
    /* And what was told before is not taken back. */
    assert_true(request->kind == TOY_WAIT || request->answer >= 0);
    if (request->answer > toy->seen[request->counter]) toy->seen[request->counter] = request->answer;
}

static struct toy *toy_new(uint32_t requests_max) {
    struct toy *toy = calloc(1, sizeof *toy);
    pool_init(&toy->pool, 0, 4);
    list_init(&toy->parked);
    random_seed(&toy->random, 7);
    toy->now = (struct coord_now){.now_ms = 1, .wall_ms = 1000, .random = &toy->random};
    toy->tick_at = INT64_MAX;
    struct coord_options options = {
        .pool = &toy->pool, .requests_max = requests_max,
        .log = {toy, toy_append, toy_read, toy_end, toy_log_committed},
        .machine = {.self = toy, .decide = toy_decide, .apply = toy_apply, .applied = toy_applied, .tick = toy_tick,
                    .next_deadline = toy_next_deadline, .committed = toy_committed, .reset = toy_reset},
    };
    assert_int_equal(coord_open(&toy->coord, &options), ERR_NONE);
    return toy;
}

static void toy_free(struct toy *toy) {
    coord_close(toy->coord);
    pool_destroy(&toy->pool);
    free(toy);
}

static void toy_ask(struct toy *toy, struct toy_request *request, enum toy_kind kind, uint8_t counter, int64_t amount) {
    memset(request, 0, sizeof *request);
    *request = (struct toy_request){.kind = kind, .counter = counter, .amount = amount, .toy = toy, .busy = true};
    request->host.reply = toy_reply;
    toy->in_flight++;
    coord_request(toy->coord, &request->host, &toy->now);
    coord_check(toy->coord);
}

static void toy_commit(struct toy *toy, log_offset offset) {
    toy->committed = offset;
    coord_committed(toy->coord, offset);
    coord_check(toy->coord);
}

/* An answer is held until its own record is committed; a read until what it saw is, and no longer. */
TEST(coord_holds_answers_until_committed) {
    struct toy *toy = toy_new(10);
    struct toy_request add, get, early, other;
    toy_ask(toy, &early, TOY_GET, 0, 0);
    assert_int_equal(early.host.error, KAFKA_NOT_COORDINATOR);
    coord_won(toy->coord, &toy->now, 0);
    assert_int_equal(coord_state(toy->coord), COORD_SERVING);
    toy_ask(toy, &early, TOY_GET, 0, 0);
    assert_int_equal(early.replies, 1);           /* nothing is uncommitted: at once */
    assert_int_equal(early.host.error, KAFKA_NONE);
    toy_ask(toy, &add, TOY_ADD, 0, 5);
    toy_ask(toy, &get, TOY_GET, 0, 0);
    assert_int_equal(add.replies + get.replies, 0);
    assert_int_equal(get.answer, 5);              /* the next decision saw it */
    toy_ask(toy, &other, TOY_ADD, 1, 1);
    toy_commit(toy, 1);
    assert_int_equal(add.replies, 1);
    assert_int_equal(get.replies, 1);
    assert_int_equal(other.replies, 0);
    assert_int_equal(coord_waiting(toy->coord), 1);
    toy_commit(toy, 2);
    assert_int_equal(other.replies, 1);
    assert_int_equal(toy->committed_seen, 2);
    toy_free(toy);
}

/* A request that is parked is completed by another's decision, and then waits for that decision's record. */
TEST(coord_completes_parked_requests_by_the_same_rule) {
    struct toy *toy = toy_new(10);
    struct toy_request wait, add;
    coord_won(toy->coord, &toy->now, 0);
    toy_ask(toy, &wait, TOY_WAIT, 2, 3);
    assert_true(wait.parked);
    toy_ask(toy, &add, TOY_ADD, 2, 3);
    assert_false(wait.parked);
    assert_int_equal(wait.replies, 0);
    toy_commit(toy, 1);
    assert_int_equal(wait.replies, 1);
    assert_int_equal(wait.answer, 3);
    toy_free(toy);
}

/* Leadership lost: what waits and what is parked gets NOT_COORDINATOR, once; after a reload the machine is what the log
 * says, and while loading clients are told to wait. */
TEST(coord_answers_everything_when_leadership_goes) {
    struct toy *toy = toy_new(10);
    struct toy_request add, wait, get;
    coord_won(toy->coord, &toy->now, 0);
    toy_ask(toy, &add, TOY_ADD, 0, 5);
    toy_commit(toy, 1);
    toy_ask(toy, &add, TOY_ADD, 0, 6);
    toy_ask(toy, &wait, TOY_WAIT, 1, 1);
    coord_lost(toy->coord);
    assert_int_equal(add.host.error, KAFKA_NOT_COORDINATOR);
    assert_int_equal(wait.host.error, KAFKA_NOT_COORDINATOR);
    toy->end = toy->committed;                    /* another leader had less */
    coord_won(toy->coord, &toy->now, 0);
    assert_int_equal(coord_state(toy->coord), COORD_LOADING);
    toy_ask(toy, &get, TOY_GET, 0, 0);
    assert_int_equal(get.host.error, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
    toy_read_answer(toy);
    assert_int_equal(coord_state(toy->coord), COORD_SERVING);
    toy_ask(toy, &get, TOY_GET, 0, 0);
    assert_int_equal(get.answer, 5);
    assert_int_equal(get.host.error, KAFKA_NONE);
    toy_free(toy);
}

/* Records between the high watermark and the log's end belong to the new leader's state, and answers made from them wait. */
TEST(coord_loads_past_the_high_watermark_and_holds) {
    struct toy *toy = toy_new(10);
    struct toy_request get;
    for (int i = 0; i < 7; i++) toy->log[toy->end++] = (struct toy_entry){1, i + 1};
    toy->committed = 4;
    toy->read_at_once = true;
    coord_won(toy->coord, &toy->now, 0);
    int calls = 0;
    while (coord_state(toy->coord) == COORD_LOADING) {
        assert_true(coord_next_deadline(toy->coord) <= toy->now.now_ms);
        coord_tick(toy->coord, &toy->now);
        assert_int_equal(toy->reads, ++calls + 1); /* one read a call: bounded steps */
    }
    toy_ask(toy, &get, TOY_GET, 1, 0);
    assert_int_equal(get.answer, 7);
    assert_int_equal(get.replies, 0);
    toy_commit(toy, 6);
    assert_int_equal(get.replies, 0);
    toy_commit(toy, 7);
    assert_int_equal(get.replies, 1);
    toy_free(toy);
}

/* A refused append changes nothing, and is told in a coordinator's terms, for each error that a log can give. */
TEST(coord_maps_append_errors_and_applies_nothing) {
    static const struct { enum kafka_error of, told; } cases[] = {
        {KAFKA_UNKNOWN_TOPIC_OR_PARTITION, KAFKA_COORDINATOR_NOT_AVAILABLE},
        {KAFKA_NOT_ENOUGH_REPLICAS, KAFKA_COORDINATOR_NOT_AVAILABLE},
        {KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND, KAFKA_COORDINATOR_NOT_AVAILABLE},
        {KAFKA_REQUEST_TIMED_OUT, KAFKA_COORDINATOR_NOT_AVAILABLE},
        {KAFKA_NOT_LEADER_OR_FOLLOWER, KAFKA_NOT_COORDINATOR},
        {KAFKA_KAFKA_STORAGE_ERROR, KAFKA_NOT_COORDINATOR},
        {KAFKA_MESSAGE_TOO_LARGE, KAFKA_UNKNOWN_SERVER_ERROR},
        {KAFKA_RECORD_LIST_TOO_LARGE, KAFKA_UNKNOWN_SERVER_ERROR},
        {KAFKA_INVALID_FETCH_SIZE, KAFKA_UNKNOWN_SERVER_ERROR},
    };
    struct toy *toy = toy_new(10);
    coord_won(toy->coord, &toy->now, 0);
    for (size_t i = 0; i < countof(cases); i++) {
        struct toy_request add, get;
        toy->append_error = cases[i].of;
        toy_ask(toy, &add, TOY_ADD, 0, 5);
        assert_int_equal(add.replies, 1);
        assert_int_equal(add.host.error, cases[i].told);
        toy_ask(toy, &get, TOY_GET, 0, 0);
        assert_int_equal(get.answer, 0);
    }
    toy_free(toy);
}

/* The bound on requests: one more than it is refused at once, and one fewer makes room again. */
TEST(coord_bounds_what_waits) {
    struct toy *toy = toy_new(3);
    struct toy_request requests[4];
    coord_won(toy->coord, &toy->now, 0);
    for (int i = 0; i < 4; i++) toy_ask(toy, &requests[i], TOY_ADD, 0, 1);
    assert_int_equal(requests[3].host.error, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(coord_waiting(toy->coord), 3);
    toy_commit(toy, 1);
    toy_ask(toy, &requests[3], TOY_ADD, 0, 1);
    assert_int_equal(requests[3].replies, 0);
    toy_commit(toy, 4);
    assert_int_equal(requests[3].replies, 1);
    assert_int_equal(requests[3].answer, 4);
    toy_free(toy);
}

/* Ticks run when due, write like requests do, and pause when the log refuses. */
TEST(coord_ticks_when_due) {
    struct toy *toy = toy_new(3);
    toy->tick_at = 50;
    coord_won(toy->coord, &toy->now, 0);
    assert_int_equal(coord_next_deadline(toy->coord), 50);
    coord_tick(toy->coord, &toy->now);
    assert_int_equal(toy->ticks, 0);
    toy->now.now_ms = 50;
    coord_tick(toy->coord, &toy->now);
    assert_int_equal(toy->ticks, 1);
    assert_int_equal(toy->end, 1);
    toy->append_error = KAFKA_NOT_ENOUGH_REPLICAS;
    toy->now.now_ms = 1050;
    coord_tick(toy->coord, &toy->now);
    assert_int_equal(toy->ticks, 2);
    assert_int_equal(toy->counters[0], 1);
    toy->tick_at = 0;
    assert_int_equal(coord_next_deadline(toy->coord), 1050 + COORD_PAUSE_MS);
    coord_lost(toy->coord);
    assert_true(coord_next_deadline(toy->coord) == INT64_MAX);
    toy_free(toy);
}

/* A machine that could not apply what is in the log is reset and loaded anew; nobody is told of that record before. */
TEST(coord_reloads_when_memory_was_short) {
    struct toy *toy = toy_new(3);
    struct toy_request add, get;
    coord_won(toy->coord, &toy->now, 0);
    toy->apply_fails_in = 1;
    toy_ask(toy, &add, TOY_ADD, 0, 5);
    assert_int_equal(add.host.error, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(coord_state(toy->coord), COORD_LOADING);
    toy->committed = 1;
    toy->apply_fails_in = 1;                       /* and again */
    toy->now.now_ms = coord_next_deadline(toy->coord);
    coord_tick(toy->coord, &toy->now);
    toy_read_answer(toy);
    assert_int_equal(coord_state(toy->coord), COORD_LOADING);
    assert_int_equal(coord_next_deadline(toy->coord), toy->now.now_ms + 2 * COORD_RELOAD_MS_MIN);
    toy->now.now_ms = coord_next_deadline(toy->coord);
    coord_tick(toy->coord, &toy->now);
    toy_read_answer(toy);
    toy_ask(toy, &get, TOY_GET, 0, 0);
    assert_int_equal(get.host.error, KAFKA_NONE);
    assert_int_equal(get.answer, 5);
    toy_free(toy);
}

/* Everything in random order against a model: requests, commits, appends that fail, reads that fail or come late,
 * leadership that goes and comes with a log cut anywhere above what is committed, memory that is short. Checked at every
 * answer: it is committed. At the end of each leadership: all was answered once, and the committed log holds all that
 * anybody was ever told. */
TEST(coord_keeps_its_promise_in_any_order) {
    int answered = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct toy *toy = toy_new(8);
        struct random random;
        random_seed(&random, seed);
        struct toy_request requests[REQUESTS] = {0};
        for (int step = 0; step < 400; step++) {
            toy->now.now_ms += (time_ms)random_below(&random, 60);
            switch (random_below(&random, 12)) {
            case 0: case 1: case 2: case 3: case 4: {
                struct toy_request *request = &requests[random_below(&random, REQUESTS)];
                if (request->busy) break;
                uint8_t counter = (uint8_t)random_below(&random, COUNTERS);
                int64_t amount = (int64_t)random_below(&random, 3) + 1;
                enum toy_kind kind = (enum toy_kind)random_below(&random, 3);
                toy_ask(toy, request, kind, counter, kind == TOY_WAIT ? toy->counters[counter] + amount : amount);
                break;
            }
            case 5: case 6:
                if (coord_state(toy->coord) != COORD_IDLE && toy->end > toy->committed)
                    toy_commit(toy, toy->committed + 1 + (log_offset)random_below(&random, (uint64_t)(toy->end - toy->committed)));
                break;
            case 7: toy->append_error = random_chance(&random, 1, 3) ? KAFKA_NOT_ENOUGH_REPLICAS : KAFKA_NONE; break;
            case 8: coord_tick(toy->coord, &toy->now); break;
            case 9:
                toy->read_fails = random_chance(&random, 1, 4);
                toy->read_at_once = random_chance(&random, 1, 2);
                if (toy->read_asked) toy_read_answer(toy);
                break;
            case 10:
                if (random_chance(&random, 1, 4)) toy->apply_fails_in = 1 + random_below(&random, 6);
                break;
            case 11:
                if (coord_state(toy->coord) == COORD_IDLE) {
                    toy->tick_at = toy->now.now_ms + 100;
                    coord_won(toy->coord, &toy->now, 0);
                } else if (random_chance(&random, 1, 3)) {
                    coord_lost(toy->coord);
                    assert_int_equal(toy->in_flight, 0);
                    toy->end = toy->committed + (log_offset)random_below(&random, (uint64_t)(toy->end - toy->committed) + 1);
                    for (uint8_t i = 0; i < COUNTERS; i++) assert_true(toy->seen[i] <= toy_committed_value(toy, i));
                }
                break;
            }
            coord_check(toy->coord);
        }
        coord_lost(toy->coord);
        assert_int_equal(toy->in_flight, 0);
        answered += toy->answered;
        refused += toy->refused;
        toy_free(toy);
    }
    assert_true(answered > 3000); /* it was not all refusals */
    assert_true(refused > 3000);
}
