#include "base/random.h"
#include "base/text.h"
#include "log/producer.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pool pool;
static struct producer_budget budget;
static struct producer_options options;
static struct producer_state *producers;
static log_offset end; /* of the log that there is not */
static uint64_t guard;

static void begin(void) {
    pool_init(&pool, 0, 4);
    budget = (struct producer_budget){.count_max = PRODUCERS_MAX};
    options = (struct producer_options){.pool = &pool, .budget = &budget, .expiration_ms = 86400000, .verification = true};
    producers = producer_state_new(&options);
    assert_non_null(producers);
    end = 0;
    guard = 0;
}
static void finish(void) {
    producer_check_state(producers);
    producer_state_free(producers);
    assert_int_equal(budget.count, 0);
    pool_destroy(&pool);
}

/* A data batch as its header says it; the producer state looks at no records. */
static struct batch data_batch(producer_id producer, int16_t epoch, int32_t sequence, int32_t count, bool transactional, time_ms timestamp) {
    return (struct batch){.base_offset = end, .last_offset_delta = count - 1, .count = count, .producer_id = producer, .producer_epoch = epoch,
                          .base_sequence = sequence, .base_timestamp = timestamp, .max_timestamp = timestamp,
                          .crc = (uint32_t)timestamp * 31 + (uint32_t)sequence * 7 + (uint32_t)count, .attributes = transactional ? BATCH_TRANSACTIONAL : 0};
}

static struct slab *marker_batch(struct batch *batch, bool commit, producer_id producer, int16_t epoch, int32_t coordinator_epoch, time_ms timestamp) {
    struct slab *slab;
    assert_int_equal(batch_build_marker(&pool, commit ? CONTROL_COMMIT : CONTROL_ABORT, producer, epoch, coordinator_epoch, timestamp, &slab), ERR_NONE);
    batch_stamp(slab->bytes, end, 0);
    struct span run = span_of(slab->bytes, slab->used);
    assert_int_equal(batch_next(&run, batch), ERR_NONE);
    return slab;
}

/* What an append does, as a line. */
static void append_line(const struct batch *batch, enum log_origin origin, uint8_t version, char *line, size_t size) {
    struct producer_append append = {.batch = batch, .origin = origin, .guard = guard, .transaction_version = version};
    struct producer_outcome outcome;
    struct producer_ended ended;
    struct text text;
    text_init(&text, line, size);
    enum err err = producer_check(producers, &append, &outcome);
    if (err == ERR_INVALID) text_add(&text, "%s", kafka_error_name(outcome.kafka_error));
    else if (err) text_add(&text, "%s", err_name(err));
    else if (outcome.duplicate) text_add(&text, "again %d..%d at %d", (int)outcome.base, (int)outcome.last, (int)outcome.timestamp);
    else {
        bool did = producer_apply(producers, &append, &ended);
        text_add(&text, "%d..%d", (int)batch->base_offset, (int)batch_last_offset(batch));
        if (did) text_add(&text, "; %s %d..%d stable %d", ended.aborted ? "aborted" : "committed", (int)ended.first, (int)ended.last, (int)ended.stable);
        end = batch_next_offset(batch);
    }
    if (outcome.mismatch) text_add(&text, " mismatch");
    producer_check_state(producers);
}

/* One line of a transcript:
 *   P eE sS nN [t] [@T] [r]  producer P, epoch E, sequence S, N records; transactional; timestamp T; replicated
 *   P commit|abort eE cC [2]  a marker with coordinator epoch C; 2: transactions version 2
 *   guard P eE sS [2]         the coordinator is asked: the guard is shown from now on;  noguard
 *   hw N   expire T   restart   unstable   show   clear */
static void step(const char *in, char *line, size_t size) {
    char verb[16] = "", word[16] = "", extra[3][16] = {"", "", ""};
    long long a = -1, producer = -1;
    int epoch = 0, number = 0, count = 0, more = 0;
    struct text text;
    text_init(&text, line, size);
    if (sscanf(in, "guard %lld e%d s%d %d", &producer, &epoch, &number, &more) >= 3) {
        enum err err = producer_guard(producers, producer, (int16_t)epoch, number, more == 2, 1000, &guard);
        text_add(&text, "%s", err ? err_name(err) : guard ? "asked" : "open already");
    } else if (!strcmp(in, "noguard")) {
        guard = 0;
    } else if (sscanf(in, "hw %lld", &a) == 1) {
        producer_high_watermark(producers, a);
        text_add(&text, "unstable %d", (int)producer_first_unstable(producers));
    } else if (sscanf(in, "expire %lld", &a) == 1) {
        text_add(&text, "%u gone", producer_expire(producers, a, options.expiration_ms));
    } else if (!strcmp(in, "unstable")) {
        text_add(&text, "unstable %d", (int)producer_first_unstable(producers));
    } else if (!strcmp(in, "show")) {
        producer_text(producers, &text);
    } else if (!strcmp(in, "restart")) {
        size_t bytes = producer_snapshot_bytes(producers);
        uint8_t *snapshot = malloc(bytes);
        producer_snapshot_write(producers, snapshot);
        assert_int_equal(producer_snapshot_read(producers, span_of(snapshot, bytes), 1000), ERR_NONE);
        text_add(&text, "%u producers", producer_count(producers));
        free(snapshot);
    } else if (sscanf(in, "%lld %15s e%d c%d %d", &producer, word, &epoch, &number, &more) >= 4 && (!strcmp(word, "commit") || !strcmp(word, "abort"))) {
        struct batch batch;
        struct slab *slab = marker_batch(&batch, word[0] == 'c', producer, (int16_t)epoch, number, 1000);
        append_line(&batch, LOG_FROM_COORDINATOR, (uint8_t)more, line, size);
        slab_drop(slab);
    } else {
        int items = sscanf(in, "%lld e%d s%d n%d %15s %15s %15s", &producer, &epoch, &number, &count, extra[0], extra[1], extra[2]);
        assert_true(items >= 4);
        bool transactional = false, replicated = false;
        time_ms timestamp = 1000;
        for (int i = 0; i < 3; i++) {
            transactional |= !strcmp(extra[i], "t");
            replicated |= !strcmp(extra[i], "r");
            if (extra[i][0] == '@') timestamp = atoi(extra[i] + 1);
        }
        struct batch batch = data_batch(producer, (int16_t)epoch, number, count, transactional, timestamp);
        append_line(&batch, replicated ? LOG_FROM_LEADER : LOG_FROM_CLIENT, 0, line, size);
    }
    (void)verb;
    producer_check_state(producers);
}

static void transcript(const char *const lines[][2], size_t count) {
    for (size_t i = 0; i < count; i++) {
        char line[512];
        step(lines[i][0], line, sizeof line);
        if (strcmp(line, lines[i][1])) print_message("line %zu: %s\n", i, lines[i][0]);
        assert_string_equal(line, lines[i][1]);
    }
}
#define TRANSCRIPT(...) transcript((const char *const[][2]){__VA_ARGS__}, sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(char *[2]))

/* An idempotent producer: five batches are remembered, a sixth pushes out the first; gaps are refused. */
TEST(five_batches_are_remembered) {
    begin();
    TRANSCRIPT({"7 e0 s0 n3", "0..2"}, {"7 e0 s3 n1", "3..3"}, {"7 e0 s4 n2", "4..5"}, {"7 e0 s6 n1", "6..6"}, {"7 e0 s7 n1", "7..7"},
               {"7 e0 s0 n3", "again 0..2 at 1000"}, {"7 e0 s7 n1", "again 7..7 at 1000"},
               {"7 e0 s8 n1", "8..8"},
               {"7 e0 s0 n3", "OUT_OF_ORDER_SEQUENCE_NUMBER"},  /* pushed out */
               {"7 e0 s3 n1", "again 3..3 at 1000"},
               {"7 e0 s10 n1", "OUT_OF_ORDER_SEQUENCE_NUMBER"}, /* a gap */
               {"7 e0 s8 n2", "OUT_OF_ORDER_SEQUENCE_NUMBER"},  /* overlaps, but is not the same */
               {"7 e0 s9 n1", "9..9"},
               {"show", "producer 7 epoch 0 sequence 9 at 9\n"});
    finish();
}

/* A new epoch begins at sequence 0 and forgets the window; an old one is fenced. */
TEST(epochs_fence) {
    begin();
    TRANSCRIPT({"7 e1 s5 n1", "0..0"},                          /* not known here: may begin anywhere */
               {"7 e2 s3 n1", "OUT_OF_ORDER_SEQUENCE_NUMBER"}, {"7 e2 s0 n1", "1..1"}, {"7 e2 s1 n1", "2..2"},
               {"7 e1 s6 n1", "INVALID_PRODUCER_EPOCH"},       {"7 e1 s5 n1", "INVALID_PRODUCER_EPOCH"}, /* not even as a duplicate */
               {"7 e1 s9 n1 r", "3..3"},                        /* what the leader took, a follower takes */
               {"show", "producer 7 epoch 1 sequence 9 at 3\n"});
    finish();
}

/* Of a producer that is not known: -1, no epoch, is taken, what lies below it is not. */
TEST(epochs_below_none_are_refused) {
    begin();
    TRANSCRIPT({"7 e-2 s0 n1", "INVALID_PRODUCER_EPOCH"}, {"7 e-32768 s0 n1", "INVALID_PRODUCER_EPOCH"}, {"7 e-1 s0 n1", "0..0"},
               {"7 e-2 s1 n1", "INVALID_PRODUCER_EPOCH"});
    finish();
}

/* Sequences go on at 0 after the largest, within a batch and between two. */
TEST(sequences_wrap_around) {
    begin();
    TRANSCRIPT({"7 e0 s2147483645 n2", "0..1"}, {"7 e0 s2147483647 n3", "2..4"}, {"7 e0 s2147483647 n3", "again 2..4 at 1000"},
               {"7 e0 s2 n1", "5..5"}, {"8 e0 s2147483647 n1", "6..6"}, {"8 e0 s0 n1", "7..7"});
    finish();
}

/* The same sequence with other content is answered as a duplicate and counted, or refused when the setting says so (T7).
 * The same content in another packing (another CRC) is a retry. */
TEST(duplicates_are_the_same_batch) {
    begin();
    TRANSCRIPT({"7 e0 s0 n3 @50", "0..2"}, {"7 e0 s0 n3 @50", "again 0..2 at 50"});
    struct batch packed_anew = data_batch(7, 0, 0, 3, false, 50);
    packed_anew.crc ^= 1;
    char line[128];
    append_line(&packed_anew, LOG_FROM_CLIENT, 0, line, sizeof line);
    assert_string_equal(line, "again 0..2 at 50");
    assert_int_equal(budget.mismatches, 0);
    TRANSCRIPT({"7 e0 s0 n3 @51", "again 0..2 at 50 mismatch"});
    assert_int_equal(budget.mismatches, 1);
    options.refuse_mismatch = true;
    producer_options_set(producers, &options);
    TRANSCRIPT({"7 e0 s0 n3 @51", "OUT_OF_ORDER_SEQUENCE_NUMBER mismatch"}, {"7 e0 s0 n3 @50", "again 0..2 at 50"});
    assert_int_equal(budget.mismatches, 2);
    TRANSCRIPT({"restart", "1 producers"}, {"7 e0 s0 n3 @51", "again 0..2 at 50"}); /* nobody knows any more who it was */

    /* With LogAppendTime each attempt gets a time of its own. */
    struct batch stamped = data_batch(8, 0, 0, 1, false, 60);
    stamped.attributes |= BATCH_LOG_APPEND_TIME;
    append_line(&stamped, LOG_FROM_CLIENT, 0, line, sizeof line);
    assert_string_equal(line, "3..3");
    stamped.max_timestamp++;
    stamped.crc++;
    append_line(&stamped, LOG_FROM_CLIENT, 0, line, sizeof line);
    assert_string_equal(line, "again 3..3 at 60");
    finish();
}

/* A transaction needs the guard of its verification once, holds the last stable offset back until the high watermark is
 * past its marker, and ends for the index with where the next open one begins. */
TEST(transactions_hold_the_stable_offset) {
    begin();
    TRANSCRIPT({"7 e0 s0 n2 t", "INVALID_TXN_STATE"},           /* not verified */
               {"guard 7 e0 s0", "asked"}, {"7 e0 s0 n2 t", "0..1"},
               {"noguard", ""}, {"7 e0 s2 n1 t", "2..2"},       /* it is open: no more questions */
               {"guard 7 e0 s3", "open already"},
               {"7 e0 s3 n1", "INVALID_TXN_STATE"},             /* not transactional in between */
               {"guard 8 e0 s0", "asked"}, {"8 e0 s0 n1 t", "3..3"}, {"unstable", "unstable 0"},
               {"7 abort e0 c1", "4..4; aborted 0..4 stable 3"},
               {"unstable", "unstable 0"}, {"hw 4", "unstable 0"}, {"hw 5", "unstable 3"},
               {"8 commit e0 c1", "5..5; committed 3..5 stable 6"}, {"hw 6", "unstable -1"},
               {"7 e0 s3 n1 t", "INVALID_TXN_STATE"},           /* the next transaction is verified again */
               {"8 commit e0 c0", "TRANSACTION_COORDINATOR_FENCED"}, {"8 commit e0 c1", "6..6"},
               {"show", "producer 7 epoch 0 sequence 2 at 2 coordinator 1\nproducer 8 epoch 0 sequence 0 at 3 coordinator 1\n"});
    finish();
}

/* Version 2 of transactions: every end raises the epoch. A marker of the epoch of before is late unless it is a retry. */
TEST(markers_of_version_2_raise_the_epoch) {
    begin();
    TRANSCRIPT({"guard 7 e5 s0 2", "asked"}, {"7 e5 s0 n1 t", "0..0"},
               {"7 commit e5 c0 2", "INVALID_PRODUCER_EPOCH"}, {"7 commit e4 c0 2", "INVALID_PRODUCER_EPOCH"},
               {"7 commit e6 c0 2", "1..1; committed 0..1 stable 2"},
               {"7 commit e6 c0 2", "2..2"},                    /* the same again: nothing is open */
               {"7 e5 s1 n1 t", "INVALID_PRODUCER_EPOCH"},      /* fenced at once */
               {"show", "producer 7 epoch 6 coordinator 0\n"},
               {"guard 7 e6 s0 2", "asked"}, {"7 e6 s4 n1 t", "OUT_OF_ORDER_SEQUENCE_NUMBER"}, {"7 e6 s0 n1 t", "3..3"},
               {"9 e32767 s0 n1 t r", "4..4"}, {"9 abort e32767 c0 2", "5..5; aborted 4..5 stable 3"}, /* the last epoch there is */
               {"7 abort e6 c0", "6..6; aborted 3..6 stable 7"}); /* version 1 */
    finish();
}

/* A first batch that came late may not begin a transaction: an earlier one was announced. And without state, a producer of
 * version 2 begins at 0. */
TEST(the_guard_remembers_the_lowest_sequence) {
    begin();
    TRANSCRIPT({"guard 7 e0 s3", "asked"}, {"guard 7 e0 s0", "asked"}, {"7 e0 s3 n1 t", "OUT_OF_ORDER_SEQUENCE_NUMBER"}, {"7 e0 s0 n3 t", "0..2"},
               {"noguard", ""}, {"7 e0 s3 n1 t", "3..3"},
               {"guard 8 e0 s4 2", "asked"}, {"8 e0 s4 n1 t", "OUT_OF_ORDER_SEQUENCE_NUMBER"},
               {"guard 9 e1 s4", "asked"}, {"guard 9 e2 s0", "asked"}, {"9 e2 s0 n1 t", "4..4"});
    finish();
}

/* A guard is of one question: a marker in between makes it worthless, but one of version 2 with the epoch of the next
 * transaction was written for the one before. */
TEST(guards_die_with_markers) {
    begin();
    TRANSCRIPT({"guard 7 e0 s0", "asked"}, {"7 abort e0 c0", "0..0"}, {"7 e0 s0 n1 t", "INVALID_TXN_STATE"},
               {"guard 8 e1 s0 2", "asked"}, {"8 abort e1 c0 2", "1..1"}, {"8 e1 s0 n1 t", "2..2"},
               {"guard 9 e0 s0", "asked"}, {"expire 86401000", "1 gone"}, {"9 e0 s0 n1 t", "INVALID_TXN_STATE"});
    uint64_t first, second;
    assert_int_equal(producer_guard(producers, 11, 0, 0, false, 5, &first), ERR_NONE);
    producer_state_clear(producers);
    assert_int_equal(producer_guard(producers, 11, 0, 0, false, 6, &second), ERR_NONE);
    assert_true(first != second && first && second);
    options.verification = false;
    producer_options_set(producers, &options);
    TRANSCRIPT({"noguard", ""}, {"12 e0 s0 n1 t", "3..3"});
    finish();
}

/* After a restart the last batch of each producer is known, and the open transactions; idle ones expire, open ones do not. */
TEST(restart_and_expiry) {
    begin();
    TRANSCRIPT({"7 e0 s0 n3", "0..2"}, {"7 e0 s3 n1", "3..3"}, {"guard 8 e2 s0", "asked"}, {"8 e2 s0 n1 t @500", "4..4"},
               {"8 e2 s1 n1 t @500", "5..5"},
               {"restart", "2 producers"},
               {"7 e0 s3 n1", "again 3..3 at 1000"}, {"7 e0 s0 n3", "OUT_OF_ORDER_SEQUENCE_NUMBER"}, {"7 e0 s4 n1 @2000", "6..6"},
               {"unstable", "unstable 4"}, {"8 e2 s2 n1 t @500", "7..7"},
               {"expire 86401999", "0 gone"}, {"expire 86402000", "1 gone"}, {"show", "producer 8 epoch 2 sequence 2 at 7 open from 4\n"},
               {"7 e0 s77 n1", "8..8"},                         /* forgotten: may go on anywhere */
               {"8 abort e2 c0", "9..9; aborted 4..9 stable 10"},
               {"hw 100", "unstable -1"}, {"expire 99999999", "2 gone"}, {"show", ""});
    finish();
}

/* A snapshot with any byte changed, cut or extended is not read, and leaves nothing behind; expired producers are left out. */
TEST(wrong_snapshots_are_refused) {
    begin();
    TRANSCRIPT({"7 e0 s0 n3", "0..2"}, {"8 e1 s0 n1 t r @90000000", "3..3"}, {"9 e1 s0 n1 @90000000", "4..4"});
    size_t size = producer_snapshot_bytes(producers);
    assert_int_equal(size, 10 + 3 * 46);
    uint8_t *bytes = malloc(size + 1);
    producer_snapshot_write(producers, bytes);
    bytes[size] = 0;
    for (size_t at = 0; at < size; at++) {
        bytes[at] ^= 0x40;
        assert_int_equal(producer_snapshot_read(producers, span_of(bytes, size), 0), ERR_CORRUPT);
        assert_int_equal(producer_count(producers), 0);
        assert_int_equal(producer_first_unstable(producers), -1);
        bytes[at] ^= 0x40;
    }
    for (size_t cut = 0; cut < size; cut++) assert_int_equal(producer_snapshot_read(producers, span_of(bytes, cut), 0), ERR_CORRUPT);
    assert_int_equal(producer_snapshot_read(producers, span_of(bytes, size + 1), 0), ERR_CORRUPT);
    assert_int_equal(producer_snapshot_read(producers, span_of(bytes, size), 86401000), ERR_NONE);
    TRANSCRIPT({"show", "producer 8 epoch 1 sequence 0 at 3 open from 3\nproducer 9 epoch 1 sequence 0 at 4\n"});
    free(bytes);
    finish();
}

/* The bound of producers holds: the longest idle one goes, never one with an open transaction; when all are open, the new
 * one is refused. */
TEST(the_bound_of_producers_holds) {
    begin();
    budget.count_max = 3;
    TRANSCRIPT({"1 e0 s0 n1 t r", "0..0"}, {"2 e0 s0 n1", "1..1"}, {"3 e0 s0 n1", "2..2"}, {"2 e0 s1 n1", "3..3"}, {"4 e0 s0 n1", "4..4"},
               {"show", "producer 1 epoch 0 sequence 0 at 0 open from 0\nproducer 2 epoch 0 sequence 1 at 3\nproducer 4 epoch 0 sequence 0 at 4\n"},
               {"2 e0 s2 n1 t r", "5..5"}, {"4 e0 s1 n1 t r", "6..6"}, {"5 e0 s0 n1", "ERR_NO_MEMORY"}, {"4 commit e0 c0", "7..7; committed 6..7 stable 0"},
               {"5 e0 s0 n1", "8..8"});
    assert_int_equal(budget.evicted, 2);
    assert_int_equal(budget.count, 3);
    finish();
}

/* Every allocation may fail: the check says so, nothing is changed, and the same append goes through afterwards. */
TEST(failed_allocations_change_nothing) {
    for (uint64_t n = 1; n < 20; n++) {
        begin();
        struct batch batch = data_batch(7, 0, 0, 1, true, 5);
        char line[128];
        assert_int_equal(producer_guard(producers, 7, 0, 0, false, 1, &guard), ERR_NONE);
        pool.fail_at = n;
        append_line(&batch, LOG_FROM_CLIENT, 0, line, sizeof line);
        bool reached = pool.fail_at == 0;
        pool.fail_at = 0;
        assert_string_equal(line, reached ? "ERR_NO_MEMORY" : "0..0");
        assert_int_equal(producer_count(producers), reached ? 0 : 1);
        if (reached) TRANSCRIPT({"7 e0 s0 n1 t @5", "0..0"});
        finish();
        if (!reached) break;
    }
}

/* Compaction may not empty the batch that holds a producer's last sequence, nor drop the marker of one without data. */
TEST(the_last_batch_is_known) {
    begin();
    TRANSCRIPT({"7 e0 s0 n3", "0..2"}, {"7 e0 s3 n1", "3..3"}, {"8 e1 s0 n1 t r", "4..4"}, {"8 commit e2 c0 2", "5..5; committed 4..5 stable 6"});
    struct batch batch = {.producer_id = 7, .base_offset = 3};
    assert_true(producer_batch_is_last(producers, &batch));
    batch.base_offset = 0;
    batch.last_offset_delta = 2;
    assert_false(producer_batch_is_last(producers, &batch));
    batch = (struct batch){.producer_id = 8, .producer_epoch = 2, .base_offset = 5, .attributes = BATCH_CONTROL | BATCH_TRANSACTIONAL};
    assert_true(producer_batch_is_last(producers, &batch));
    batch.producer_epoch = 1;
    assert_false(producer_batch_is_last(producers, &batch));
    batch.producer_id = -1;
    assert_false(producer_batch_is_last(producers, &batch));
    finish();
}

/* ---- The model: every batch that was ever taken, and nothing else. What the state should be is computed anew each time
 * by going over all of it. */

enum { TAKEN_MAX = 4000, MODEL_PRODUCERS = 4 };
struct taken {
    producer_id producer;
    int16_t epoch;
    int32_t first_sequence, last_sequence;
    log_offset first, last;
    time_ms timestamp;
    bool transactional, marker, forgotten; /* forgotten: before a restart, and not the last of its producer */
    int32_t coordinator_epoch;
};
static struct taken taken[TAKEN_MAX];
static int taken_count;

struct model_producer {
    bool known;
    int16_t epoch;
    int32_t last_sequence, coordinator_epoch;
    int window[PRODUCER_WINDOW]; /* indexes of taken, newest first */
    int window_count;
    log_offset open;
};

static struct model_producer model_of(producer_id producer) {
    struct model_producer model = {.epoch = -1, .last_sequence = -1, .coordinator_epoch = -1, .open = -1};
    int32_t newest = -1;
    for (int i = 0; i < taken_count; i++) {
        const struct taken *one = &taken[i];
        if (one->producer != producer) continue;
        model.known = true;
        if (one->epoch != model.epoch) newest = i - 1; /* the window begins here */
        model.epoch = one->epoch;
        if (one->marker) {
            model.open = -1;
            model.coordinator_epoch = one->coordinator_epoch;
        } else if (one->transactional && model.open < 0) {
            model.open = one->first;
        }
    }
    for (int i = taken_count - 1; i > newest && model.window_count < PRODUCER_WINDOW; i--) {
        const struct taken *one = &taken[i];
        if (one->producer != producer || one->marker || one->epoch != model.epoch || one->forgotten) continue;
        if (model.window_count == 0) model.last_sequence = one->last_sequence;
        model.window[model.window_count++] = i;
    }
    return model;
}

static void model_append(const struct batch *batch, bool transactional, char *line, size_t size) {
    struct model_producer model = model_of(batch->producer_id);
    int32_t last = (int32_t)(((int64_t)batch->base_sequence + batch->last_offset_delta) % (INT64_C(1) << 31));
    for (int i = 0; i < model.window_count; i++) {
        const struct taken *one = &taken[model.window[i]];
        if (batch->producer_epoch == model.epoch && one->first_sequence == batch->base_sequence && one->last_sequence == last) {
            snprintf(line, size, "again %d..%d at %d", (int)one->first, (int)one->last, (int)one->timestamp);
            return;
        }
    }
    const char *error = NULL;
    int64_t expected = model.last_sequence == INT32_MAX ? 0 : (int64_t)model.last_sequence + 1;
    if (model.known && batch->producer_epoch < model.epoch) error = "INVALID_PRODUCER_EPOCH";
    else if (model.known && batch->producer_epoch != model.epoch && batch->base_sequence != 0) error = "OUT_OF_ORDER_SEQUENCE_NUMBER";
    else if (model.known && batch->producer_epoch == model.epoch && batch->base_sequence != expected) error = "OUT_OF_ORDER_SEQUENCE_NUMBER";
    else if (model.open >= 0 && !transactional) error = "INVALID_TXN_STATE";
    if (error) {
        snprintf(line, size, "%s", error);
        return;
    }
    snprintf(line, size, "%d..%d", (int)batch->base_offset, (int)batch_last_offset(batch));
    taken[taken_count++] = (struct taken){.producer = batch->producer_id, .epoch = batch->producer_epoch, .first_sequence = batch->base_sequence,
                                          .last_sequence = last, .first = batch->base_offset, .last = batch_last_offset(batch),
                                          .timestamp = batch->max_timestamp, .transactional = transactional};
}

static void model_marker(const struct batch *batch, bool commit, int32_t coordinator_epoch, char *line, size_t size) {
    struct model_producer model = model_of(batch->producer_id);
    log_offset stable = -1;
    if (model.known && batch->producer_epoch < model.epoch) {
        snprintf(line, size, "INVALID_PRODUCER_EPOCH");
        return;
    }
    if (model.coordinator_epoch > coordinator_epoch) {
        snprintf(line, size, "TRANSACTION_COORDINATOR_FENCED");
        return;
    }
    for (producer_id other = 0; other < MODEL_PRODUCERS; other++) {
        log_offset open = other == batch->producer_id ? -1 : model_of(other).open;
        if (open >= 0 && (stable < 0 || open < stable)) stable = open;
    }
    int at = snprintf(line, size, "%d..%d", (int)batch->base_offset, (int)batch->base_offset);
    if (model.open >= 0)
        snprintf(line + at, size - (size_t)at, "; %s %d..%d stable %d", commit ? "committed" : "aborted", (int)model.open, (int)batch->base_offset,
                 (int)(stable < 0 ? batch->base_offset + 1 : stable));
    taken[taken_count++] = (struct taken){.producer = batch->producer_id, .epoch = batch->producer_epoch, .first = batch->base_offset,
                                          .last = batch->base_offset, .timestamp = batch->max_timestamp, .marker = true, .coordinator_epoch = coordinator_epoch, .transactional = true};
}

static log_offset model_unstable(log_offset high_watermark) {
    log_offset unstable = -1;
    for (producer_id producer = 0; producer < MODEL_PRODUCERS; producer++) {
        log_offset open = -1;
        for (int i = 0; i < taken_count; i++) {
            const struct taken *one = &taken[i];
            if (one->producer != producer) continue;
            if (!one->marker && one->transactional && open < 0) open = one->first;
            if (one->marker && open >= 0 && one->last >= high_watermark && (unstable < 0 || open < unstable)) unstable = open;
            if (one->marker) open = -1;
        }
        if (open >= 0 && (unstable < 0 || open < unstable)) unstable = open;
    }
    return unstable;
}

static void model_restart(void) {
    for (producer_id producer = 0; producer < MODEL_PRODUCERS; producer++) {
        struct model_producer model = model_of(producer);
        for (int i = 0; i < taken_count; i++) {
            if (taken[i].producer != producer) continue;
            taken[i].forgotten = !(model.window_count && i == model.window[0]);
            /* A snapshot has one timestamp for the producer, and a marker's is newer than the batch's. */
            if (model.window_count && i > model.window[0]) taken[model.window[0]].timestamp = taken[i].timestamp;
        }
    }
}

/* Random appends of a few producers: in sequence, repeated, out of order, of other epochs, in and out of transactions, with
 * markers and restarts. At each step the answer and the last stable offset are those of the model. */
TEST(the_state_agrees_with_a_naive_model) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct random random;
        log_offset high_watermark = 0;
        random_seed(&random, seed);
        begin();
        options.verification = false;
        producer_options_set(producers, &options);
        taken_count = 0;
        for (int i = 0; i < 500; i++) {
            char expected[256], line[256];
            producer_id producer = (producer_id)random_below(&random, MODEL_PRODUCERS);
            struct model_producer model = model_of(producer);
            int16_t epoch = (int16_t)(model.epoch < 0 ? 0 : model.epoch);
            if (random_chance(&random, 1, 12)) epoch = (int16_t)(epoch + (int)random_below(&random, 3) - 1);
            if (epoch < 0) epoch = 0;
            switch (random_below(&random, 12)) {
            case 0:
                high_watermark += (log_offset)random_below(&random, (uint64_t)(end - high_watermark) + 1);
                producer_high_watermark(producers, high_watermark);
                break;
            case 1:
                if (!random_chance(&random, 1, 5)) break;
                producer_high_watermark(producers, high_watermark = end); /* what is undecided is not in the snapshot: replayed from the log, elsewhere */
                step("restart", line, sizeof line);
                model_restart();
                break;
            case 2: case 3: {
                struct batch batch;
                bool commit = random_chance(&random, 1, 2);
                int32_t coordinator_epoch = model.coordinator_epoch < 0 ? 0 : model.coordinator_epoch + (int32_t)random_below(&random, 3) - (random_chance(&random, 1, 6) ? 1 : 0);
                struct slab *slab = marker_batch(&batch, commit, producer, epoch, coordinator_epoch, 1000 + i);
                model_marker(&batch, commit, coordinator_epoch, expected, sizeof expected);
                append_line(&batch, LOG_FROM_COORDINATOR, 0, line, sizeof line);
                slab_drop(slab);
                assert_string_equal(line, expected);
                break;
            }
            default: {
                bool transactional = model.open >= 0 ? !random_chance(&random, 1, 15) : random_chance(&random, 1, 3);
                int32_t sequence = epoch == model.epoch || !model.known ? (model.last_sequence == INT32_MAX ? 0 : model.last_sequence + 1) : 0;
                if (!model.known && random_chance(&random, 1, 3)) sequence = INT32_MAX - (int32_t)random_below(&random, 20);
                struct batch batch = data_batch(producer, epoch, sequence, 1 + (int32_t)random_below(&random, 6), transactional, 1000 + i);
                if (random_chance(&random, 1, 4) && taken_count) { /* a retry of something */
                    const struct taken *old = &taken[taken_count - 1 - (int)random_below(&random, (uint64_t)(taken_count < 25 ? taken_count : 25))];
                    if (!old->marker)
                        batch = data_batch(old->producer, old->epoch, old->first_sequence, (int32_t)(old->last - old->first) + 1, old->transactional, old->timestamp);
                } else if (random_chance(&random, 1, 12)) {
                    batch.base_sequence = sequence_add(batch.base_sequence, (int32_t)random_below(&random, 5));
                }
                transactional = batch_is_transactional(&batch);
                model_append(&batch, transactional, expected, sizeof expected);
                append_line(&batch, LOG_FROM_CLIENT, 0, line, sizeof line);
                assert_string_equal(line, expected);
            }
            }
            assert_int_equal(producer_first_unstable(producers), model_unstable(high_watermark));
        }
        assert_int_equal(budget.mismatches, 0);
        finish();
    }
}

/* A thousand producers come and go in a snapshot unchanged: written, read, written again. */
TEST(snapshots_round_trip) {
    begin();
    struct random random;
    random_seed(&random, 9);
    for (int i = 0; i < 1000; i++) {
        char line[128];
        struct batch batch = data_batch(i * 37, (int16_t)random_below(&random, 100), (int32_t)random_below(&random, 1000), 1 + (int32_t)random_below(&random, 9),
                                        random_chance(&random, 1, 3), 90000000 + i);
        append_line(&batch, LOG_FROM_LEADER, 0, line, sizeof line);
    }
    size_t size = producer_snapshot_bytes(producers);
    uint8_t *first = malloc(size), *second = malloc(size);
    log_offset unstable = producer_first_unstable(producers);
    uint32_t count;
    producer_snapshot_write(producers, first);
    assert_int_equal(producer_snapshot_count(span_of(first, size), &count), ERR_NONE);
    assert_int_equal(count, 1000);
    assert_int_equal(producer_snapshot_read(producers, span_of(first, size), 0), ERR_NONE);
    assert_int_equal(producer_first_unstable(producers), unstable);
    producer_snapshot_write(producers, second);
    assert_memory_equal(first, second, size);
    free(first);
    free(second);
    finish();
}

/* ---- The folder of a real node */

static struct span read_file(const char *path) {
    static uint8_t bytes[1 << 20];
    char name[1024];
    snprintf(name, sizeof name, "%s/disk/files/%s", test_vectors_folder(), path);
    FILE *in = fopen(name, "rb");
    if (!in) return span_of(NULL, 0);
    size_t size = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, bytes, size);
    return span_of(copy, size);
}

/* Going over the batches of a real node's segments gives the snapshot that the node wrote, with transactions, markers that
 * raise epochs, and segments that were compacted; its aborted transaction is the entry of its transaction index. */
TEST(replayed_logs_give_the_snapshots_of_the_node) {
    static const struct { const char *folder, *segments[3]; log_offset end; int aborted; } logs[] = {
        {"txn-0", {"00000000000000000000.log"}, 7, 1},
        {"plain-0", {"00000000000000000000.log"}, 60, 0},
        {"plain-1", {"00000000000000000000.log"}, 60, 0},
        {"appendtime-0", {"00000000000000000000.log"}, 5, 0},
        {"__consumer_offsets-0", {"00000000000000000000.log"}, 31, 0},
        {"compacted-0", {"00000000000000000000.log", "00000000000000000024.log"}, 30, 0}};
    for (size_t i = 0; i < countof(logs); i++) {
        char path[256];
        int aborted = 0, batches = 0;
        begin();
        for (int k = 0; k < 3 && logs[i].segments[k]; k++) {
            snprintf(path, sizeof path, "%s/%s", logs[i].folder, logs[i].segments[k]);
            struct span file = read_file(path), run = file;
            struct batch batch;
            assert_non_null(file.data);
            while (batch_next(&run, &batch) == ERR_NONE) {
                struct producer_ended ended;
                bool did;
                assert_int_equal(producer_replay(producers, &batch, &ended, &did), ERR_NONE);
                producer_check_state(producers);
                end = batch_next_offset(&batch);
                batches++;
                if (!did || !ended.aborted) continue;
                aborted++;
                assert_true(ended.producer == 5 && ended.first == 3 && ended.last == 4 && ended.stable == 5);
            }
            assert_int_equal(run.size, 0);
            free((void *)(uintptr_t)file.data);
        }
        assert_int_equal(end, logs[i].end);
        assert_int_equal(aborted, logs[i].aborted);
        assert_true(batches > 0);
        snprintf(path, sizeof path, "%s/%020lld.snapshot", logs[i].folder, (long long)end);
        struct span file = read_file(path);
        uint32_t count;
        assert_non_null(file.data);
        assert_int_equal(producer_snapshot_count(file, &count), ERR_NONE);
        assert_int_equal(producer_count(producers), count);
        for (uint32_t k = 0; k < count; k++) {
            struct producer_view expected, view;
            int32_t delta;
            producer_snapshot_entry(file, k, &expected, &delta);
            assert_true(producer_find(producers, expected.producer, &view));
            assert_true(view.epoch == expected.epoch && view.last_sequence == expected.last_sequence && view.last_offset == expected.last_offset);
            assert_true(view.last_timestamp == expected.last_timestamp && view.coordinator_epoch == expected.coordinator_epoch);
            assert_int_equal(view.transaction_first, expected.transaction_first);
        }
        uint8_t *again = malloc(file.size);
        assert_int_equal(producer_snapshot_read(producers, file, 0), ERR_NONE);
        assert_int_equal(producer_snapshot_bytes(producers), file.size);
        producer_snapshot_write(producers, again);
        assert_memory_equal(again, file.data, file.size);
        free(again);
        free((void *)(uintptr_t)file.data);
        finish();
    }
}
