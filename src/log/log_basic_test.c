#include "log/log_test.h"
#include "test.h"

/* What was appended is read back, from memory while it is fresh and from the files after a stop, with the same bytes;
 * everything was durable before it was acknowledged. On the simulator's disk and on a real one. */
static void round_trip(enum bench_where where) {
    struct bench *b = bench_new(where, 1);
    struct bench_log l;
    bench_config(b)->segment_bytes = 20000;
    bench_started(b, &l);
    assert_int_equal(log_end(l.log), 0);
    assert_true(log_report(l.log)->created);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(bench_append_durably(b, &l, 3, 1 + (uint32_t)i % 7, 100 + (uint32_t)i), ERR_NONE);
        log_store_check(bench_store(b));
        assert_int_equal(log_flushed(l.log), log_end(l.log));
        assert_int_equal(l.durable_told, log_end(l.log));
    }
    log_offset end = log_end(l.log);
    assert_true(log_segments(l.log) > 3);
    log_high_watermark_set(l.log, end);
    struct bench_seen first = bench_read_all(b, l.log, 0, LOG_UPTO_HIGH_WATERMARK, 5000, true);
    assert_int_equal(first.next, end);
    assert_int_equal(first.reads, first.reads_memory);
    bench_stop(b);

    assert_int_equal(bench_start(b), ERR_NONE);
    assert_true(log_dirs_were_clean(bench_dirs(b)));
    assert_int_equal(log_dirs_previous_epoch(bench_dirs(b)), 7);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_true(log_report(l.log)->clean);
    assert_int_equal(log_end(l.log), end);
    assert_int_equal(log_high_watermark(l.log), end);
    assert_int_equal(log_epoch_last(l.log), 3);
    struct bench_seen second = bench_read_all(b, l.log, 0, LOG_UPTO_HIGH_WATERMARK, 5000, true);
    assert_int_equal(second.next, end);
    assert_int_equal(second.reads_memory, 0);
    assert_int_equal(second.hash, first.hash);
    for (log_offset from = 0; from < end; from += 11) assert_int_equal(bench_read_all(b, l.log, from, LOG_UPTO_END, 700, true).next, end);
    bench_end(b);
}
TEST(log_round_trip_in_the_simulator) { round_trip(BENCH_SIM); }
TEST(log_round_trip_on_a_real_disk) { round_trip(BENCH_REAL); }

static uint64_t read_from_0(struct bench *b, struct log *log) {
    struct arena arena;
    struct chain out;
    arena_init(&arena, bench_pool(b), 0);
    chain_init(&out, &arena);
    struct log_read read = {.log = log, .from = 0, .upto = LOG_UPTO_END, .bytes_max = MIB(1), .out = &out};
    assert_int_equal(bench_read(b, &read), ERR_NONE);
    chain_clear(&out);
    arena_destroy(&arena);
    return read.bytes;
}

/* One read gives batches of one segment, as Apache Kafka's does, whether they are in memory or not. Two batches to a segment. */
TEST(log_reads_one_segment_at_a_time) {
    struct bench *b = bench_new(BENCH_SIM, 1);
    struct bench_log l;
    bench_config(b)->segment_bytes = 1500;
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    for (int i = 0; i < 5; i++) assert_int_equal(bench_append_durably(b, &l, 1, 1, 500), ERR_NONE);
    assert_int_equal(log_segments(l.log), 3);
    uint64_t from_memory = read_from_0(b, l.log);
    assert_int_equal(from_memory / 2, log_size(l.log) / 5);
    bench_stop(b);
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, &l, "orders", 0), ERR_NONE);
    assert_int_equal(read_from_0(b, l.log), from_memory);
    bench_stop(b);
    bench_free(b);
}

/* Who asks for a log waits behind those who asked before, also in the turn in which it is open and they have not been told
 * yet: else the second of two batches of a producer would be appended first. Somebody asks in each turn, before the store's part of it. */
struct asker {
    struct timer timer;
    struct shard *shard;
    struct log *log;
    uint32_t asked, given, wrong;
    bool over;
    struct asking { struct log_wait wait; struct asker *asker; uint32_t number; } asks[1 << 15];
};
static void given(struct asker *asker, uint32_t number) {
    if (number != asker->given++) asker->wrong++;
}
static void ask_told(struct log_wait *wait, enum err err) {
    struct asking *asking = container_of(wait, struct asking, wait);
    assert_int_equal(err, ERR_NONE);
    given(asking->asker, asking->number);
}
static void ask(struct timer *timer) {
    struct asker *asker = container_of(timer, struct asker, timer);
    uint32_t number = asker->asked;
    if (number == 1 << 15) goto again; /* a slow disk: that many are enough */
    asker->asked++;
    asker->asks[number] = (struct asking){.asker = asker, .number = number, .wait.done = ask_told};
    list_init(&asker->asks[number].wait.node);
    if (log_open(asker->log, &asker->asks[number].wait) == ERR_NONE) given(asker, number);
again:
    asker->over = asker->given == asker->asked;
    if (!asker->over) assert_true(timer_set(asker->shard, &asker->timer, shard_now(asker->shard) + 1000, ask));
}
TEST(log_open_keeps_the_order_of_those_who_ask) {
    struct bench *b = bench_new(BENCH_REAL, 1); /* where a turn has a job's end and a timer in it */
    struct bench_log l;
    static struct asker asker;
    for (int life = 0; life < 20; life++) {
        assert_int_equal(bench_start(b), ERR_NONE);
        struct log_dir *dir = log_dirs_find(bench_dirs(b), "orders", 0);
        struct log_spec spec = {.dir = dir ? dir : log_dirs_at(bench_dirs(b), 0), .topic = "orders", .create = !dir, .config = *bench_config(b), .owner = &l.owner};
        l = (struct bench_log){.log = NULL};
        assert_int_equal(log_new(&l.log, bench_store(b), &spec), ERR_NONE);
        asker = (struct asker){.shard = bench_shard(b), .log = l.log};
        assert_true(timer_set(asker.shard, &asker.timer, shard_now(asker.shard), ask));
        assert_true(bench_until(b, &asker.over));
        assert_int_equal(asker.given, asker.asked);
        assert_int_equal(asker.wrong, 0);
        bench_stop(b);
    }
    bench_free(b);
}

/* A log that nobody opened after a kill may end in anything, so a stop is not a clean one for its directory: else the next
 * start, perhaps Apache Kafka's, would append behind that. Once all were opened, it is. */
TEST(log_stop_before_all_are_recovered_leaves_no_mark) {
    enum { LOGS = 40 };
    struct bench *b = bench_new(BENCH_SIM, 1);
    struct bench_log logs[LOGS];
    assert_int_equal(bench_start(b), ERR_NONE);
    for (int i = 0; i < LOGS; i++) {
        assert_int_equal(bench_open(b, &logs[i], "orders", i), ERR_NONE);
        assert_int_equal(bench_append_durably(b, &logs[i], 1, 3, 100), ERR_NONE);
    }
    bench_kill(b);
    for (int life = 0; life < 3; life++) {
        assert_int_equal(bench_start(b), ERR_NONE);
        assert_int_equal(log_dirs_were_clean(bench_dirs(b)), life == 2);
        for (int i = 0; i < LOGS; i++) {
            logs[i] = (struct bench_log){.log = NULL};
            struct log_spec spec = {.dir = log_dirs_find(bench_dirs(b), "orders", i), .topic = "orders", .partition = i,
                                    .config = *bench_config(b), .owner = &logs[i].owner};
            assert_int_equal(log_new(&logs[i].log, bench_store(b), &spec), ERR_NONE);
            struct waiting waiting;
            waiting_init(&waiting);
            if (life == 1) assert_int_equal(bench_wait(b, &waiting, log_open(logs[i].log, &waiting.wait)), ERR_NONE);
        }
        bench_stop(b);
    }
    bench_free(b);
}
