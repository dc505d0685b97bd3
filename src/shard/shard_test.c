#include "shard/mailbox.h"
#include "test.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- A group over epoll (whatever io_open chooses), each shard with a pool of its own. */
struct rig { struct pool pools[8]; struct pool *pool_list[8]; struct io *ios[8]; struct shard_group *group; };

static void rig_open(struct rig *rig, uint32_t count, uint32_t mailbox) {
    for (uint32_t i = 0; i < count; i++) {
        pool_init(&rig->pools[i], 0, 16);
        rig->pool_list[i] = &rig->pools[i];
        assert_int_equal(io_open(&rig->ios[i], &(struct io_options){.pool = &rig->pools[i], .offload_threads = 2}), 0);
    }
    struct shard_options options = {.count = count, .ios = rig->ios, .pools = rig->pool_list, .mailbox_messages = mailbox};
    assert_int_equal(shard_group_open(&rig->group, &options), ERR_NONE);
}

static void rig_close(struct rig *rig) {
    uint32_t count = shard_count(rig->group);
    shard_group_close(rig->group);
    for (uint32_t i = 0; i < count; i++) pool_destroy(&rig->pools[i]);
}

static char transcript[1024];
static void note(const char *line) {
    strcat(transcript, line);
    strcat(transcript, " ");
}

/* ---- Mailbox */

/* Messages come out in order through a ring of four, however full it gets and wherever its counts wrap. */
TEST(mailbox_keeps_order_when_full) {
    struct pool pool;
    struct mailbox box;
    static struct message messages[1000];
    pool_init(&pool, 0, 0);
    assert_true(mailbox_init(&box, &pool, 4));
    atomic_store(&box.head, UINT32_MAX - 5); /* so that the counts wrap during the test */
    atomic_store(&box.tail, UINT32_MAX - 5);
    box.head_seen = box.tail_seen = UINT32_MAX - 5;
    size_t in = 0, out = 0;
    for (size_t round = 0; out < countof(messages); round++) {
        for (size_t i = 0; i < round % 7 && in < countof(messages); i++) mailbox_push(&box, &messages[in++]);
        bool all_in = mailbox_flush(&box);
        assert_true(all_in == (in - out <= 4));
        for (size_t i = 0; i < round % 5 && out < in; i++) assert_ptr_equal(mailbox_pop(&box), out < in ? &messages[out] : NULL), out++;
        bool owes = mailbox_owes_wake(&box);
        assert_true(owes == !all_in || !owes);
        if (!all_in && round % 5) assert_true(owes);
        if (in == countof(messages)) while (!mailbox_flush(&box) && mailbox_pop(&box) == &messages[out]) out++;
        if (in == countof(messages)) for (struct message *message; (message = mailbox_pop(&box)); out++) assert_ptr_equal(message, &messages[out]);
    }
    assert_int_equal(out, in);
    assert_true(mailbox_is_empty(&box));
    assert_null(mailbox_pop(&box));
    mailbox_destroy(&box);
    pool_destroy(&pool);
}

/* ---- One shard */
struct noted { struct message message; struct timer timer; struct turn_hook hook; struct shard *shard; const char *name; struct noted *then; };

static void noted_hook(struct turn_hook *hook) {
    struct noted *noted = container_of(hook, struct noted, hook);
    note("hook");
    note(noted->name);
    if (noted->then) shard_send(noted->shard, 0, &noted->then->message);
}
static void noted_run(struct shard *shard, struct message *message) {
    struct noted *noted = container_of(message, struct noted, message);
    assert_int_equal(message->from, 0);
    note(noted->name);
    noted->shard = shard;
    turn_end(shard, &noted->hook, noted_hook);
    turn_end(shard, &noted->hook, noted_hook); /* twice is once */
    note("ran");
}

/* A message to oneself runs in the same turn but not within the sender; hooks run after all messages, once, and what a
 * hook sends to itself still belongs to the turn. */
TEST(shard_turn_has_its_order) {
    struct rig rig;
    rig_open(&rig, 1, 4);
    struct noted a = {.name = "a", .message.run = noted_run}, b = {.name = "b", .message.run = noted_run},
                 c = {.name = "c", .message.run = noted_run};
    a.then = &c;
    transcript[0] = 0;
    struct shard *shard = shard_at(rig.group, 0);
    shard_send(shard, 0, &a.message);
    shard_send(shard, 0, &b.message);
    assert_string_equal(transcript, "");
    assert_int_equal(shard_next_deadline(shard), 0);
    assert_int_equal(shard_turn(shard, 0), 6);
    assert_string_equal(transcript, "a ran b ran hook a hook b c ran hook c ");
    assert_int_equal(shard_next_deadline(shard), INT64_MAX);
    rig_close(&rig);
}

static void noted_fire(struct timer *timer) {
    struct noted *noted = container_of(timer, struct noted, timer);
    note(noted->name);
    if (noted->then) assert_true(timer_set(noted->shard, timer, 0, noted_fire));
}

/* Timers fire in the order of their times and, within one time, of their setting; not before; not when cancelled; a
 * moved one at its new time. One that is set into the past from its own firing fires once a turn, not for ever. */
TEST(shard_timers) {
    struct rig rig;
    rig_open(&rig, 1, 4);
    struct shard *shard = shard_at(rig.group, 0);
    struct noted t[5] = {{.name = "0"}, {.name = "1"}, {.name = "2"}, {.name = "3"}, {.name = "4"}};
    shard_turn(shard, 0);
    time_ns now = shard_now(shard);
    for (int i = 0; i < 5; i++) t[i].shard = shard;
    assert_true(timer_set(shard, &t[0].timer, now + 30 * NS_PER_MS, noted_fire));
    assert_true(timer_set(shard, &t[1].timer, now + 10 * NS_PER_MS, noted_fire));
    assert_true(timer_set(shard, &t[2].timer, now + 10 * NS_PER_MS, noted_fire));
    assert_true(timer_set(shard, &t[3].timer, now + 5 * NS_PER_MS, noted_fire));
    assert_true(timer_set(shard, &t[4].timer, now + 1 * NS_PER_MS, noted_fire));
    assert_true(timer_set(shard, &t[4].timer, now + 20 * NS_PER_MS, noted_fire));
    timer_cancel(shard, &t[3].timer);
    timer_cancel(shard, &t[3].timer);
    assert_int_equal(shard_next_deadline(shard), now + 10 * NS_PER_MS);
    transcript[0] = 0;
    while (shard_next_deadline(shard) != INT64_MAX) {
        time_ns due = shard_next_deadline(shard);
        size_t before = strlen(transcript);
        shard_turn(shard, INT64_MAX);
        assert_true(shard_now(shard) >= due || strlen(transcript) == before);
    }
    assert_string_equal(transcript, "1 2 4 0 ");
    transcript[0] = 0;
    t[0].then = &t[0];
    assert_true(timer_set(shard, &t[0].timer, 0, noted_fire));
    assert_int_equal(shard_turn(shard, INT64_MAX), 1);
    assert_int_equal(shard_turn(shard, INT64_MAX), 1);
    assert_string_equal(transcript, "0 0 ");
    timer_cancel(shard, &t[0].timer);
    rig_close(&rig);
}

/* Memory refused at any point of the opening leaves nothing behind and the ios with the caller. */
TEST(shard_group_open_without_memory) {
    for (uint64_t n = 1;; n++) {
        struct pool pools[3];
        struct pool *list[3] = {&pools[0], &pools[1], &pools[2]};
        struct io *ios[3];
        struct shard_group *group;
        for (int i = 0; i < 3; i++) {
            pool_init(&pools[i], 0, 0);
            assert_int_equal(io_open(&ios[i], &(struct io_options){.pool = &pools[i]}), 0);
        }
        for (int i = 0; i < 3; i++) pools[i].fail_at = n;
        enum err err = shard_group_open(&group, &(struct shard_options){.count = 3, .ios = ios, .pools = list, .mailbox_messages = 2});
        assert_true(err == ERR_NONE || err == ERR_NO_MEMORY);
        if (err) for (int i = 0; i < 3; i++) io_close(ios[i]);
        else shard_group_close(group);
        for (int i = 0; i < 3; i++) pool_destroy(&pools[i]);
        if (!err) {
            assert_true(n > 3);
            return;
        }
    }
}

/* ---- Several shards, on threads of their own */
struct ping { struct message message; uint32_t left, runs[2]; };

static void ping_run(struct shard *shard, struct message *message) {
    struct ping *ping = container_of(message, struct ping, message);
    ping->runs[shard->index]++;
    if (ping->left-- == 0) shard_stop(shard->group);
    else shard_send(shard, shard->index == 0 ? 1 : 0, message);
}

/* One message goes to and fro between two shards that sleep in between; none of its hops is lost. */
TEST(shards_play_ping_pong) {
    struct rig rig;
    rig_open(&rig, 2, 4);
    struct ping ping = {.message.run = ping_run, .left = 20000};
    shard_send(shard_at(rig.group, 0), 1, &ping.message);
    assert_int_equal(shard_group_run(rig.group), ERR_NONE);
    assert_int_equal(ping.runs[1], 10001);
    assert_int_equal(ping.runs[0], 10000);
    rig_close(&rig);
}

enum { FLOOD_SHARDS = 4, FLOOD_EACH = 3000 };
struct flood_message { struct message message; uint32_t number; uint16_t home; bool back; };
static struct flood_message flood[FLOOD_SHARDS][FLOOD_SHARDS][FLOOD_EACH];
struct flood_state { uint32_t next[FLOOD_SHARDS], came_back; struct message start; char apart[64]; };
static struct flood_state flood_states[FLOOD_SHARDS];
static _Atomic uint32_t flood_finished;

static void flood_run(struct shard *shard, struct message *message) {
    struct flood_message *one = container_of(message, struct flood_message, message);
    struct flood_state *state = &flood_states[shard->index];
    if (!one->back) {
        assert(one->number == state->next[message->from]);
        state->next[message->from]++;
        one->back = true;
        shard_send(shard, message->from, message);
        return;
    }
    assert(one->home == shard->index);
    if (++state->came_back == FLOOD_EACH * FLOOD_SHARDS && atomic_fetch_add(&flood_finished, 1) + 1 == FLOOD_SHARDS) shard_stop(shard->group);
}
static void flood_start(struct shard *shard, struct message *message) {
    for (uint32_t i = 0; i < FLOOD_EACH; i++)
        for (uint32_t to = 0; to < FLOOD_SHARDS; to++) {
            struct flood_message *one = &flood[shard->index][to][i];
            *one = (struct flood_message){.message.run = flood_run, .number = i, .home = (uint16_t)shard->index};
            shard_send(shard, to, &one->message);
        }
}

/* Every shard sends thousands to every shard through mailboxes of eight, all at once: each arrives in its sender's order
 * and comes back to its home, and the two sides never wait for one another for ever. */
TEST(shards_flood_one_another) {
    struct rig rig;
    rig_open(&rig, FLOOD_SHARDS, 8);
    memset(flood_states, 0, sizeof flood_states);
    atomic_store(&flood_finished, 0);
    for (uint32_t i = 0; i < FLOOD_SHARDS; i++) {
        flood_states[i].start.run = flood_start;
        shard_send(shard_at(rig.group, 0), i, &flood_states[i].start);
    }
    assert_int_equal(shard_group_run(rig.group), ERR_NONE);
    for (uint32_t i = 0; i < FLOOD_SHARDS; i++) {
        assert_int_equal(flood_states[i].came_back, FLOOD_EACH * FLOOD_SHARDS);
        for (uint32_t from = 0; from < FLOOD_SHARDS; from++) assert_int_equal(flood_states[i].next[from], FLOOD_EACH);
    }
    rig_close(&rig);
}

static void *stop_later(void *context) {
    struct timespec pause = {.tv_nsec = 150 * NS_PER_MS};
    nanosleep(&pause, NULL);
    shard_stop(context);
    return NULL;
}

/* Shards without work sleep until they are stopped from outside, and use no processor time for it. */
TEST(shards_sleep_until_stopped) {
    struct rig rig;
    pthread_t thread;
    struct timespec before, after;
    rig_open(&rig, 3, 8);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    assert_int_equal(pthread_create(&thread, NULL, stop_later, rig.group), 0);
    assert_int_equal(shard_group_run(rig.group), ERR_NONE);
    pthread_join(thread, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    assert_true((after.tv_sec - before.tv_sec) * NS_PER_S + after.tv_nsec - before.tv_nsec < 30 * NS_PER_MS);
    rig_close(&rig);
}

/* ---- From outside */
struct posted { struct message message; _Atomic uint32_t *sum; uint32_t number; bool last; };
static _Atomic uint32_t posted_shard_sum, posted_order_errors;
static uint32_t posted_last[2][4]; /* by shard and by thread: each shard writes its own */

static void posted_run(struct shard *shard, struct message *message) {
    struct posted *posted = container_of(message, struct posted, message);
    uint32_t thread = posted->number >> 16, number = posted->number & 0xffff;
    if (number <= posted_last[shard->index][thread]) atomic_fetch_add(&posted_order_errors, 1);
    posted_last[shard->index][thread] = number;
    atomic_fetch_add(posted->sum, 1);
    if (atomic_load(posted->sum) == 3 * 1000) shard_stop(shard->group);
}

struct poster { struct shard_group *group; struct posted *messages; };
static void *post_all(void *context) {
    struct poster *poster = context;
    for (uint32_t i = 0; i < 1000; i++) shard_post(poster->group, i % 2, &poster->messages[i].message);
    return NULL;
}

/* Three threads that are no shards leave a thousand messages each with two running shards: every one runs, those of one
 * thread to one shard in their order. */
TEST(messages_from_outside) {
    struct rig rig;
    static struct posted messages[3][1000];
    pthread_t threads[3];
    struct poster posters[3];
    rig_open(&rig, 2, 0);
    atomic_store(&posted_shard_sum, 0);
    for (uint32_t t = 0; t < 3; t++) {
        for (uint32_t i = 0; i < 1000; i++) messages[t][i] = (struct posted){.message.run = posted_run, .sum = &posted_shard_sum, .number = t << 16 | (i + 1)};
        posters[t] = (struct poster){rig.group, messages[t]};
        assert_int_equal(pthread_create(&threads[t], NULL, post_all, &posters[t]), 0);
    }
    assert_int_equal(shard_group_run(rig.group), ERR_NONE);
    for (uint32_t t = 0; t < 3; t++) pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&posted_shard_sum), 3000);
    assert_int_equal(atomic_load(&posted_order_errors), 0);
    rig_close(&rig);
}

static void busy_run(struct shard *shard, struct message *message) {
    time_ns end = io_now_precise(shard->io) + 30 * NS_PER_MS;
    while (io_now_precise(shard->io) < end) {}
}

static void nothing(struct timer *timer) {}

/* A turn that works for 30 ms is counted as that long; a wait of 400 ms is not. */
TEST(turns_are_timed) {
    struct rig rig;
    struct message message = {.run = busy_run};
    struct timer timer = {0};
    rig_open(&rig, 1, 0);
    struct shard *shard = shard_at(rig.group, 0);
    while (shard_turn(shard, 0)) {}
    struct shard_times before = *shard_times_of(shard);
    shard_send(shard, 0, &message);
    shard_turn(shard, INT64_MAX);
    assert_true(timer_set(shard, &timer, io_now_precise(shard->io) + 400 * NS_PER_MS, nothing));
    for (int i = 0; i < 3; i++) shard_turn(shard, io_now_precise(shard->io) + 400 * NS_PER_MS);
    const struct shard_times *after = shard_times_of(shard);
    assert_true(after->turns > before.turns);
    assert_in_range(after->busy_ns - before.busy_ns, 30 * NS_PER_MS, 300 * NS_PER_MS);
    rig_close(&rig);
}
