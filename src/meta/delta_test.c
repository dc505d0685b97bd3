#include "meta/meta_test.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
    struct pool pool;
    struct arena arena;
    struct delta *delta;
};

static void bench_open(struct bench *b) {
    pool_init(&b->pool, 0, 16);
    arena_init(&b->arena, &b->pool, 0);
    struct image *empty = image_new(&b->pool);
    b->delta = delta_new(&b->pool, empty);
    assert_non_null(b->delta);
    image_drop(empty);
}
static void bench_close(struct bench *b) {
    delta_free(b->delta);
    arena_destroy(&b->arena);
    assert_int_equal(b->pool.used, 0); /* nothing leaked */
    pool_destroy(&b->pool);
}

static void apply_to_delta(void *context, struct span value, const struct batch *batch, bool last) {
    struct bench *b = context;
    enum err err = delta_apply(b->delta, value, &b->arena);
    if (err) fail_msg("%s", delta_error(b->delta));
    arena_reset(&b->arena);
    (void)batch;
    (void)last;
}

/* A version that came through a snapshot. */
static struct image *through_snapshot(struct bench *b, const struct image *image, uint32_t *records) {
    struct image *empty = image_new(&b->pool);
    struct delta *delta = delta_new(&b->pool, empty);
    struct arena arena, scratch;
    arena_init(&arena, &b->pool, 0);
    arena_init(&scratch, &b->pool, 0);
    image_drop(empty);
    struct snapshot_walk *walk = snapshot_walk_new(&b->pool, image);
    struct span values[7];
    uint32_t total = 0;
    for (int32_t count; (count = snapshot_walk_next(walk, &arena, values, countof(values))) != 0; total += (uint32_t)count) {
        assert_true(count > 0);
        if (total == 0 && image_metadata_version(image)) assert_int_equal(values[0].data[1], 12); /* a feature level leads */
        for (int32_t i = 0; i < count; i++) {
            assert_int_equal(delta_apply(delta, values[i], &scratch), ERR_NONE);
            arena_reset(&scratch);
        }
        arena_reset(&arena);
    }
    assert_string_equal(snapshot_walk_lost(walk), "");
    snapshot_walk_free(walk);
    struct image *result = delta_current(delta);
    delta_free(delta);
    arena_destroy(&arena);
    arena_destroy(&scratch);
    if (records) *records = total;
    return result;
}

/* Apache's own metadata log, replayed, says what Apache's files beside it say; and what it says survives a snapshot. */
TEST(delta_replays_a_log_of_apache) {
    struct bench b;
    bench_open(&b);
    walk_vector_log("files/__cluster_metadata-0/00000000000000000000.log", &(struct log_walk){&b, apply_to_delta});
    assert_false(delta_in_transaction(b.delta));
    struct image *image = delta_current(b.delta);
    image_check(image);
    assert_int_equal(image_metadata_version(image), MV_4_4_IV2);
    assert_int_equal(image_feature_level(image, SPAN_LITERAL("transaction.version")), 2);
    const struct image_topic *plain = image_topic(image, SPAN_LITERAL("plain"));
    assert_non_null(plain);
    char id[UUID_TEXT_BYTES + 1];
    uuid_text(plain->id, id);
    assert_string_equal(id, "guigBCrjR5OJjliOMLVYNQ");
    assert_ptr_equal(image_topic_by_id(image, plain->id), plain);
    assert_int_equal(plain->partition_count, 3);
    const struct image_partition *p = image_partition(plain, 1);
    assert_int_equal(p->leader, -1); /* the log ends with a controlled shutdown: the last replica is eligible, no longer in sync */
    assert_int_equal(image_isr(p).count, 0);
    assert_int_equal(image_elr(p).count, 1);
    assert_int_equal(image_elr(p).ids[0], 1);
    assert_int_equal(image_last_known_elr(p).ids[0], 1);
    const struct image_broker *broker = image_broker(image, 1);
    assert_int_equal(broker->epoch, 14);
    assert_true(broker->fenced);
    assert_true(span_equal(image_broker_endpoint(broker, SPAN_LITERAL("PLAINTEXT"))->host, SPAN_LITERAL("127.0.0.1")));
    uuid_text(image_directory(p, 0), id);
    assert_string_equal(id, "Lh5EN2ABTh6YwD2b_wPwiA"); /* that of meta.properties */
    assert_true(span_equal(image_config(image, CONFIG_TOPIC, SPAN_LITERAL("compacted"), SPAN_LITERAL("cleanup.policy"))->value, SPAN_LITERAL("compact")));
    assert_non_null(image_scram(image, 1, SPAN_LITERAL("alice")));
    uint32_t records;
    struct image *again = through_snapshot(&b, image, &records);
    assert_true(image_equal(image, again));
    assert_int_equal(image_hash(image), image_hash(again));
    image_drop(again);
    image_drop(image);
    bench_close(&b);
}

/* The state at Apache's snapshot: the log up to its end offset and the snapshot itself come to the same. */
static void apply_before_51(void *context, struct span value, const struct batch *batch, bool last) {
    if (batch->base_offset < 51) apply_to_delta(context, value, batch, last);
}
TEST(delta_agrees_with_a_snapshot_of_apache) {
    struct bench from_log, from_snapshot;
    bench_open(&from_log);
    bench_open(&from_snapshot);
    walk_vector_log("files/__cluster_metadata-0/00000000000000000000.log", &(struct log_walk){&from_log, apply_before_51});
    walk_vector_log("files/__cluster_metadata-0/00000000000000000051-0000000001.checkpoint", &(struct log_walk){&from_snapshot, apply_to_delta});
    struct image *a = delta_current(from_log.delta), *b = delta_current(from_snapshot.delta);
    assert_int_equal(image_hash(a), image_hash(b));
    assert_true(image_equal(a, b));
    uint32_t records;
    struct image *again = through_snapshot(&from_snapshot, b, &records);
    assert_int_equal(records, 38); /* as many as Apache wrote between header and footer */
    assert_true(image_equal(again, b));
    image_drop(again);
    image_drop(a);
    image_drop(b);
    bench_close(&from_log);
    bench_close(&from_snapshot);
}

/* Every golden record of every type and version is read, and either taken or refused with a reason; a refused one changes
 * nothing. What was taken survives a snapshot. */
struct goldens { struct bench *b; uint32_t taken, refused; };
static void apply_golden(void *context, const char *name, struct span framed) {
    struct goldens *g = context;
    uint8_t type = framed.data[1];
    if (type == 3 || type == 5) { /* of a topic that a record before would have made: int32 partition, then the topic's id */
        char text[UUID_TEXT_BYTES + 1];
        struct topic_record topic = {0};
        memcpy(topic.topic_id.bytes, framed.data + 7, sizeof topic.topic_id.bytes);
        uuid_text(topic.topic_id, text);
        topic.name = span_text(text);
        enum err there = delta_apply_message(g->b->delta, 2, &topic);
        assert_true(there == ERR_NONE || there == ERR_CORRUPT);
    }
    struct image *before = delta_current(g->b->delta);
    enum err err = delta_apply(g->b->delta, framed, &g->b->arena);
    struct image *after = delta_current(g->b->delta);
    if (err) {
        assert_true(err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
        assert_true(delta_error(g->b->delta)[0] != 0);
        if (strstr(delta_error(g->b->delta), "cannot be read")) fail_msg("%s: %s", name, delta_error(g->b->delta));
        assert_true(image_equal(before, after));
        g->refused++;
    } else {
        g->taken++;
    }
    image_drop(before);
    image_drop(after);
    arena_reset(&g->b->arena);
}
TEST(delta_takes_every_golden_record) {
    struct bench b;
    bench_open(&b);
    struct goldens g = {&b, 0, 0};
    assert_int_equal(walk_vector_records(&g, apply_golden), 27);
    printf("golden metadata records: %u taken, %u refused\n", g.taken, g.refused);
    assert_true(g.taken >= 99);
    while (delta_in_transaction(b.delta)) { /* one of the goldens may have begun one */
        struct end_transaction_record end = {0};
        assert_int_equal(delta_apply_message(b.delta, 24, &end), ERR_NONE);
    }
    struct image *image = delta_current(b.delta);
    image_check(image);
    struct feature_level_record latest = {.name = SPAN_LITERAL("metadata.version"), .feature_level = MV_LATEST};
    assert_int_equal(delta_apply_message(b.delta, 12, &latest), ERR_NONE);
    image_drop(image);
    image = delta_current(b.delta);
    struct image *again = through_snapshot(&b, image, NULL);
    assert_true(image_equal(image, again));
    image_drop(again);
    image_drop(image);
    bench_close(&b);
}

struct content { uint64_t topics, partitions, brokers, others; };
static void count_topic(void *context, const struct image_topic *before, const struct image_topic *after) {
    struct content *c = context;
    c->topics += (after != NULL) - (uint64_t)(before != NULL);
}
static void count_partition(void *context, const struct image_topic *topic, const struct image_partition *before, const struct image_partition *after) {
    struct content *c = context;
    c->partitions += (after != NULL) - (uint64_t)(before != NULL);
    (void)topic;
}
static void count_broker(void *context, const struct image_broker *before, const struct image_broker *after) {
    struct content *c = context;
    c->brokers += (after != NULL) - (uint64_t)(before != NULL);
}

/* Random logs of every record type: the version keeps its invariants; equal logs give equal hashes; versions that were
 * kept do not change; a snapshot loses nothing; differences add up; a transaction shows nothing before its end and
 * leaves nothing when it is aborted. */
TEST(delta_loses_nothing_of_random_logs) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct bench b, twin;
        bench_open(&b);
        bench_open(&twin);
        struct arena records;
        arena_init(&records, &b.pool, 0);
        struct random_log log = {.arena = &records, .delta = b.delta};
        random_seed(&log.random, seed);
        struct feature_level_record mv = {.name = SPAN_LITERAL("metadata.version"), .feature_level = MV_LATEST};
        assert_int_equal(delta_apply_message(b.delta, 12, &mv), ERR_NONE);
        assert_int_equal(delta_apply_message(twin.delta, 12, &mv), ERR_NONE);
        struct image *kept = delta_current(b.delta), *visible = NULL;
        uint64_t kept_hash = image_hash(kept);
        for (int i = 0; i < 2000; i++) {
            bool was_open = delta_in_transaction(b.delta);
            struct span record = random_log_next(&log);
            enum err err = delta_apply(b.delta, record, &b.arena);
            if (err) fail_msg("seed %llu, record %d: %s", (unsigned long long)seed, i, delta_error(b.delta));
            assert_int_equal(delta_apply(twin.delta, record, &twin.arena), ERR_NONE);
            arena_reset(&b.arena);
            arena_reset(&twin.arena);
            arena_reset(&records);
            if (delta_in_transaction(b.delta)) {
                struct image *now = delta_visible(b.delta);
                if (!was_open) visible = now;
                else {
                    assert_true(i % 50 || image_equal(now, visible));
                    image_drop(now);
                }
            } else if (was_open) {
                struct image *now = delta_visible(b.delta), *current = delta_current(b.delta);
                assert_true(image_equal(now, current));
                if (record.data[1] == 25) assert_true(image_equal(now, visible));
                image_drop(now);
                image_drop(current);
                image_drop(visible);
                visible = NULL;
            }
            if (i % 200 == 199) {
                struct image *now = delta_current(b.delta), *other = delta_current(twin.delta);
                image_check(now);
                assert_int_equal(image_hash(now), image_hash(other));
                assert_int_equal(image_hash(kept), kept_hash);
                struct content content = {0};
                struct image_visitor visitor = {.context = &content, .topic = count_topic, .partition = count_partition, .broker = count_broker};
                image_diff(kept, now, &visitor);
                assert_int_equal(content.topics, (uint64_t)image_topic_count(now) - image_topic_count(kept));
                assert_int_equal(content.partitions, image_partition_count(now) - image_partition_count(kept));
                assert_int_equal(content.brokers, (uint64_t)image_broker_count(now) - image_broker_count(kept));
                struct image *again = through_snapshot(&b, now, NULL);
                image_check(again);
                assert_true(image_equal(again, now));
                image_drop(again);
                image_drop(other);
                image_drop(kept);
                kept = now;
                kept_hash = image_hash(kept);
            }
        }
        image_drop(kept);
        image_drop(visible);
        arena_destroy(&records);
        bench_close(&twin);
        bench_close(&b);
    }
}

/* Out of memory at the n-th allocation, for every n, of records of every kind: the record is refused whole, and taken
 * whole when it is tried again. */
TEST(delta_survives_every_failed_allocation) {
    struct bench b;
    bench_open(&b);
    struct arena records;
    arena_init(&records, &b.pool, 0);
    struct random_log log = {.arena = &records, .delta = b.delta};
    random_seed(&log.random, 99);
    struct image *kept = delta_current(b.delta);
    uint32_t failures = 0;
    for (int i = 0; i < 1500; i++) {
        struct span record = random_log_next(&log);
        struct image *before = delta_current(b.delta);
        uint64_t hash = i % 16 ? 0 : image_hash(before);
        for (uint64_t n = 1;; n++) {
            assert_true(n < 2000);
            b.pool.fail_at = n;
            enum err err = delta_apply(b.delta, record, &b.arena);
            b.pool.fail_at = 0;
            arena_reset(&b.arena);
            if (!err) break;
            assert_int_equal(err, ERR_NO_MEMORY);
            failures++;
            if (i % 16) continue;
            struct image *after = delta_current(b.delta);
            image_check(after);
            assert_int_equal(image_hash(after), hash);
            image_drop(after);
        }
        image_drop(before);
        arena_reset(&records);
        if (i % 50 == 0) {
            image_drop(kept);
            kept = delta_current(b.delta);
        }
    }
    assert_true(failures > 3000);
    struct image *now = delta_current(b.delta);
    image_check(now);
    image_drop(now);
    image_drop(kept);
    arena_destroy(&records);
    bench_close(&b);
}

/* What contradicts the state is refused, and says why. */
TEST(delta_refuses_what_cannot_be) {
    struct bench b;
    bench_open(&b);
    struct uuid id = {{1}}, other = {{2}};
    struct topic_record topic = {.name = SPAN_LITERAL("a"), .topic_id = id};
    assert_int_equal(delta_apply_message(b.delta, 2, &topic), ERR_NONE);
    assert_int_equal(delta_apply_message(b.delta, 2, &topic), ERR_CORRUPT);
    assert_string_equal(delta_error(b.delta), "topic a exists already");
    topic.topic_id = other;
    assert_int_equal(delta_apply_message(b.delta, 2, &topic), ERR_CORRUPT);
    struct partition_record partition;
    partition_record_init(&partition);
    partition.partition_id = 0;
    partition.topic_id = other;
    assert_int_equal(delta_apply_message(b.delta, 3, &partition), ERR_CORRUPT);
    partition.topic_id = id;
    partition.leader_recovery_state = 2;
    assert_int_equal(delta_apply_message(b.delta, 3, &partition), ERR_CORRUPT);
    partition.leader_recovery_state = 0;
    struct uuid directories[2] = {{{3}}, {{4}}};
    int32_t replicas[3] = {1, 2, 3};
    partition.replicas = replicas;
    partition.replicas_count = 3;
    partition.directories = directories;
    partition.directories_count = 2;
    assert_int_equal(delta_apply_message(b.delta, 3, &partition), ERR_CORRUPT);
    struct partition_change_record change;
    partition_change_record_init(&change);
    change.topic_id = id;
    change.partition_id = 7;
    assert_int_equal(delta_apply_message(b.delta, 5, &change), ERR_CORRUPT);
    partition.directories_count = 0; /* its epochs are used up: it can be made, and not be changed */
    partition.leader_epoch = partition.partition_epoch = INT32_MAX;
    assert_int_equal(delta_apply_message(b.delta, 3, &partition), ERR_NONE);
    change.partition_id = 0;
    change.leader = 1;
    assert_int_equal(delta_apply_message(b.delta, 5, &change), ERR_CORRUPT);
    struct remove_topic_record remove_ = {.topic_id = other};
    assert_int_equal(delta_apply_message(b.delta, 9, &remove_), ERR_CORRUPT);
    struct fence_broker_record fence = {.id = 1, .epoch = 1};
    assert_int_equal(delta_apply_message(b.delta, 7, &fence), ERR_CORRUPT);
    struct end_transaction_record end = {0};
    assert_int_equal(delta_apply_message(b.delta, 24, &end), ERR_CORRUPT);
    assert_int_equal(delta_apply_message(b.delta, 25, &end), ERR_CORRUPT);
    assert_int_equal(delta_apply_message(b.delta, 23, &end), ERR_NONE);
    assert_int_equal(delta_apply_message(b.delta, 23, &end), ERR_CORRUPT);
    struct feature_level_record mv = {.name = SPAN_LITERAL("metadata.version"), .feature_level = 99};
    assert_int_equal(delta_apply_message(b.delta, 12, &mv), ERR_UNSUPPORTED);
    assert_int_equal(delta_apply(b.delta, SPAN_LITERAL("\x01\x63\x00"), &b.arena), ERR_UNSUPPORTED);
    assert_int_equal(delta_apply(b.delta, SPAN_LITERAL("\x00\x02\x00"), &b.arena), ERR_UNSUPPORTED);
    assert_int_equal(delta_apply(b.delta, SPAN_LITERAL(""), &b.arena), ERR_CORRUPT);
    bench_close(&b);
}

/* A change of a partition: what is absent stays; the partition epoch rises always, the leader epoch when a leader is
 * named, even the same one. */
TEST(delta_changes_partitions_as_kafka_does) {
    struct bench b;
    bench_open(&b);
    struct topic_record topic = {.name = SPAN_LITERAL("a"), .topic_id = {{1}}};
    assert_int_equal(delta_apply_message(b.delta, 2, &topic), ERR_NONE);
    int32_t replicas[3] = {1, 2, 3}, one[1] = {2};
    struct uuid directories[3] = {{{7}}, {{8}}, {{9}}};
    struct partition_record partition;
    partition_record_init(&partition);
    partition.topic_id = topic.topic_id;
    partition.partition_id = 0;
    partition.replicas = partition.isr = replicas;
    partition.replicas_count = partition.isr_count = partition.directories_count = 3;
    partition.directories = directories;
    partition.leader = 1;
    partition.leader_epoch = partition.partition_epoch = 0;
    assert_int_equal(delta_apply_message(b.delta, 3, &partition), ERR_NONE);
    struct image *first = delta_current(b.delta);
    struct partition_change_record change;
    partition_change_record_init(&change);
    change.topic_id = topic.topic_id;
    change.partition_id = 0;
    change.isr = one;
    change.isr_count = 1;
    assert_int_equal(delta_apply_message(b.delta, 5, &change), ERR_NONE);
    partition_change_record_init(&change);
    change.topic_id = topic.topic_id;
    change.partition_id = 0;
    change.leader = 1;
    change.eligible_leader_replicas = replicas;
    change.eligible_leader_replicas_count = 1;
    assert_int_equal(delta_apply_message(b.delta, 5, &change), ERR_NONE);
    struct image *second = delta_current(b.delta);
    const struct image_partition *p = image_partition(image_topic(second, SPAN_LITERAL("a")), 0);
    assert_int_equal(p->partition_epoch, 2);
    assert_int_equal(p->leader_epoch, 1);
    assert_int_equal(p->leader, 1);
    assert_true(image_ids_equal(image_isr(p), (struct image_ids){one, 1}));
    assert_true(image_ids_equal(image_elr(p), (struct image_ids){replicas, 1}));
    assert_true(image_ids_equal(image_replicas(p), (struct image_ids){replicas, 3}));
    assert_true(uuid_equal(image_directory(p, 2), directories[2]));
    struct clear_elr_record clear = {.topic_name = SPAN_LITERAL("a")};
    assert_int_equal(delta_apply_message(b.delta, 28, &clear), ERR_NONE);
    struct image *third = delta_current(b.delta);
    p = image_partition(image_topic(third, SPAN_LITERAL("a")), 0);
    assert_int_equal(image_elr(p).count, 0);
    assert_int_equal(p->partition_epoch, 3);
    p = image_partition(image_topic(first, SPAN_LITERAL("a")), 0); /* the first version is as it was */
    assert_int_equal(p->partition_epoch, 0);
    assert_int_equal(image_isr(p).count, 3);
    image_drop(first);
    image_drop(second);
    image_drop(third);
    bench_close(&b);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A hundred thousand partitions of three replicas in a hundred topics take a bounded number of bytes each; after that a
 * change shares all but a path. Figures are printed. */
TEST(image_of_many_partitions_fits) {
    enum { TOPICS = 100, PARTITIONS = 1000 };
    struct bench b;
    bench_open(&b);
    double start = seconds();
    int32_t replicas[3] = {1, 2, 3};
    struct uuid directories[3] = {{{7}}, {{8}}, {{9}}};
    for (int t = 0; t < TOPICS; t++) {
        char name[32];
        snprintf(name, sizeof name, "topic-%d", t);
        struct topic_record topic = {.name = span_text(name), .topic_id = {{1, (uint8_t)t}}};
        assert_int_equal(delta_apply_message(b.delta, 2, &topic), ERR_NONE);
        struct partition_record r;
        partition_record_init(&r);
        r.topic_id = topic.topic_id;
        r.replicas = r.isr = replicas;
        r.replicas_count = r.isr_count = r.directories_count = 3;
        r.directories = directories;
        r.leader = 1;
        r.leader_epoch = r.partition_epoch = 0;
        for (int p = 0; p < PARTITIONS; p++) {
            r.partition_id = p;
            assert_int_equal(delta_apply_message(b.delta, 3, &r), ERR_NONE);
        }
    }
    double built = seconds();
    size_t used = b.pool.used;
    struct image *image = delta_current(b.delta);
    assert_int_equal(image_partition_count(image), TOPICS * PARTITIONS);
    uint64_t sum = 0;
    for (const struct image_topic *t = NULL; (t = image_topic_next(image, t));)
        for (const struct image_partition *p = NULL; (p = image_partition_next(t, p));) sum += (uint64_t)p->leader;
    assert_int_equal(sum, TOPICS * PARTITIONS);
    double walked = seconds();
    struct partition_change_record change;
    partition_change_record_init(&change);
    change.topic_id = (struct uuid){{1, 50}};
    change.leader = 2;
    for (int i = 0; i < 1000; i++) { /* each from a version that is held, as the controller's committed one is */
        change.partition_id = i;
        assert_int_equal(delta_apply_message(b.delta, 5, &change), ERR_NONE);
        struct image *next = delta_current(b.delta);
        image_drop(image);
        image = next;
    }
    double changed = seconds();
    printf("100,000 partitions x 3 replicas: %.1f bytes a partition, built in %.0f ms, walked in %.1f ms, a shared change %.1f us\n",
           (double)used / (TOPICS * PARTITIONS), (built - start) * 1e3, (walked - built) * 1e3, (changed - walked) * 1e6 / 1000);
    assert_true(used / (TOPICS * PARTITIONS) <= 130);
    image_drop(image);
    bench_close(&b);
}
