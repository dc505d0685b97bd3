#include "broker/broker_rig.h"
#include "test.h"
#include "wire/batch.h"
#include <string.h>

/* What a partition answers by what the metadata say of it: who leads, since which epoch, who follows and is in sync. Nobody
 * really follows here: what the others would have is what the metadata and the requests say. */

enum { ME = BROKER_RIG_ID, OTHER = 2 };

struct fetching { struct fetch_item item; struct fetch_response_partition_data out; bool done; };
static void fetched(struct fetch_item *item) { container_of(item, struct fetching, item)->done = true; }

/* Reads from `from` on as the caller's fields say; afterwards out and item.records are the answer. */
static struct kafka_answer { enum kafka_error error; uint64_t bytes; struct fetch_response_partition_data out; struct fetch_item item; }
fetch(struct broker_rig *rig, struct partition *partition, const struct fetch_item *asked) {
    struct fetching f = {.item = *asked};
    f.item.partition = partition;
    f.item.bytes_max = 1 << 20;
    f.item.arena = &rig->arena;
    f.item.done = fetched;
    f.item.out = &f.out;
    fetch_response_partition_data_init(&f.out);
    chain_init(&f.item.records, &rig->arena);
    if (!partition_fetch(&f.item)) broker_rig_until(rig, &f.done);
    struct kafka_answer answer = {(enum kafka_error)f.out.error_code, f.item.records.bytes, f.out, f.item};
    chain_clear(&f.item.records);
    return answer;
}
/* A consumer, or a follower, that has no doubts about epochs. */
static const struct fetch_item consumer = {.replica = -1, .current_epoch = -1, .last_fetched_epoch = -1, .min_one = true};
static const struct fetch_item follower = {.replica = OTHER, .current_epoch = -1, .last_fetched_epoch = -1, .min_one = true};

struct asking { struct offset_item item; bool done; };
static void asked(struct offset_item *item) { container_of(item, struct asking, item)->done = true; }

static enum kafka_error offset_of(struct broker_rig *rig, struct partition *partition, struct offset_item item, log_offset *offset) {
    struct asking a = {.item = item};
    a.item.partition = partition;
    a.item.done = asked;
    if (!partition_offset(&a.item)) broker_rig_until(rig, &a.done);
    if (offset) *offset = a.item.offset;
    return a.item.error;
}

/* Led here, in sync with `isr` of two replicas. */
static void led_with(struct broker_rig *rig, struct uuid topic, leader_epoch epoch, bool other_in_sync) {
    broker_rig_partition(rig, topic, &(struct rig_partition){.replicas = {ME, OTHER}, .isr = {ME, OTHER}, .replica_count = 2,
        .isr_count = other_in_sync ? 2 : 1, .leader = ME, .leader_epoch = epoch, .partition_epoch = epoch});
    broker_rig_publish(rig);
}
static void led_by_other(struct broker_rig *rig, struct uuid topic, leader_epoch epoch) {
    broker_rig_partition(rig, topic, &(struct rig_partition){.replicas = {ME, OTHER}, .isr = {ME, OTHER}, .replica_count = 2,
        .isr_count = 2, .leader = OTHER, .leader_epoch = epoch, .partition_epoch = epoch});
    broker_rig_publish(rig);
}

static struct uuid opened(struct broker_rig *rig, uint32_t shards, const char *settings) {
    broker_rig_open(rig, shards, 1, settings);
    broker_rig_broker(rig, ME, false);
    broker_rig_broker(rig, OTHER, false);
    return broker_rig_topic(rig, "t");
}

/* A partition is made only where the metadata give its leadership to this broker; else the asker is told why not. */
TEST(partition_is_only_there_where_it_is_led) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL), unknown = {{0x55}};
    enum kafka_error why;
    broker_rig_own(&rig, topic, 0);
    broker_rig_partition(&rig, topic, &(struct rig_partition){.index = 1, .replicas = {ME, OTHER}, .isr = {OTHER}, .replica_count = 2, .isr_count = 1, .leader = OTHER});
    broker_rig_partition(&rig, topic, &(struct rig_partition){.index = 2, .replicas = {ME}, .replica_count = 1, .leader = -1});
    broker_rig_publish(&rig);
    assert_non_null(partition_get(rig.brokers[0], topic, 0, &why));
    assert_int_equal(why, KAFKA_NONE);
    assert_null(partition_get(rig.brokers[0], topic, 1, &why));
    assert_int_equal(why, KAFKA_NOT_LEADER_OR_FOLLOWER);
    assert_null(partition_get(rig.brokers[0], topic, 2, &why));
    assert_int_equal(why, KAFKA_NOT_LEADER_OR_FOLLOWER);
    assert_null(partition_get(rig.brokers[0], topic, 3, &why));
    assert_int_equal(why, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_null(partition_get(rig.brokers[0], unknown, 0, &why));
    assert_int_equal(why, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    assert_null(partition_find(rig.brokers[0], topic, 1));
    broker_rig_close(&rig);
}

/* acks=1 is answered by what is on this disk; acks=all waits for the one in sync who never comes, until its time is up. With
 * fewer in sync than min.insync.replicas acks=all is refused before anything is written, acks=1 is not. */
TEST(partition_acknowledges_by_who_is_in_sync) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, "min.insync.replicas=2\n");
    log_offset base;
    led_with(&rig, topic, 0, true);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, 1, 2, &base), KAFKA_NONE);
    assert_int_equal(base, 0);
    time_ns before = io_now(rig.ios[0]);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, -1, 1, &base), KAFKA_REQUEST_TIMED_OUT);
    assert_int_equal(base, -1);
    assert_true(io_now(rig.ios[0]) - before > 990 * NS_PER_MS);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    assert_int_equal(log_end(partition->log), 3); /* appended all the same */
    led_with(&rig, topic, 1, false);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, -1, 1, &base), KAFKA_NOT_ENOUGH_REPLICAS);
    assert_int_equal(log_end(partition->log), 3);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, 1, 1, &base), KAFKA_NONE);
    assert_int_equal(base, 3);
    broker_rig_close(&rig);
}

struct producing { struct produce_item item; struct produce_response_partition_produce_response out; struct slab *slab; bool done; };
static void produced(struct produce_item *item) { container_of(item, struct producing, item)->done = true; }

static void produce_begin(struct broker_rig *rig, struct producing *p, struct partition *partition, uint32_t records) {
    *p = (struct producing){.slab = broker_rig_batch(rig, records)};
    produce_response_partition_produce_response_init(&p->out);
    p->item = (struct produce_item){.partition = partition, .acks = -1, .timeout_ms = 600000, .arena = &rig->arena, .out = &p->out, .done = produced,
                                    .slab = p->slab, .data = p->slab->bytes, .size = (uint32_t)p->slab->used};
    p->done = partition_produce(&p->item);
}

/* Who waits for replicas when leadership is lost is told at once, not when its time is up; who comes afterwards is told who
 * leads now. Back in office the log goes on where it was, under the new epoch. */
TEST(partition_tells_who_waits_that_it_leads_no_longer) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL);
    struct producing waiting;
    led_with(&rig, topic, 0, true);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    produce_begin(&rig, &waiting, partition, 2);
    broker_rig_for(&rig, 100);
    assert_false(waiting.done);
    assert_int_equal(partition->waiting, 0); /* the log is open: it waits for the other */
    led_by_other(&rig, topic, 1);
    broker_rig_for(&rig, 10);
    assert_true(waiting.done);
    assert_int_equal(waiting.out.error_code, KAFKA_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(waiting.out.base_offset, -1);
    assert_int_equal(waiting.out.current_leader.leader_id, OTHER);
    assert_int_equal(waiting.out.current_leader.leader_epoch, 1);
    slab_drop(waiting.slab);
    struct kafka_answer answer = fetch(&rig, partition, &consumer);
    assert_int_equal(answer.error, KAFKA_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(answer.out.current_leader.leader_id, OTHER);
    log_offset base;
    led_with(&rig, topic, 2, false);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, -1, 1, &base), KAFKA_NONE);
    assert_int_equal(base, 2);
    assert_int_equal(log_epoch_last(partition->log), 2);
    broker_rig_close(&rig);
}

/* One that waits while the log is still opening finds leadership gone, and is told so then. */
TEST(partition_tells_who_waits_for_its_opening) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL);
    struct producing waiting;
    led_with(&rig, topic, 0, true);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    produce_begin(&rig, &waiting, partition, 1);
    assert_int_equal(partition->waiting, 1);
    led_by_other(&rig, topic, 1);
    broker_rig_until(&rig, &waiting.done);
    assert_int_equal(waiting.out.error_code, KAFKA_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(log_end(partition->log), 0);
    slab_drop(waiting.slab);
    broker_rig_close(&rig);
}

/* A consumer sees what all in sync have, here nothing; a follower sees all there is. Whoever says to follow and does not is
 * refused: by its epoch it may know more than this broker, and shall wait. */
TEST(partition_shows_consumers_what_is_committed) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL);
    led_with(&rig, topic, 3, true);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, 1, 2, NULL), KAFKA_NONE);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    struct kafka_answer seen = fetch(&rig, partition, &consumer);
    assert_int_equal(seen.error, KAFKA_NONE);
    assert_int_equal(seen.bytes, 0);
    assert_int_equal(seen.out.high_watermark, 0);
    seen = fetch(&rig, partition, &follower);
    assert_int_equal(seen.error, KAFKA_NONE);
    assert_true(seen.bytes > 0);
    struct fetch_item stranger = follower;
    stranger.replica = 3;
    assert_int_equal(fetch(&rig, partition, &stranger).error, KAFKA_NOT_LEADER_OR_FOLLOWER);
    stranger.current_epoch = 3;
    assert_int_equal(fetch(&rig, partition, &stranger).error, KAFKA_UNKNOWN_LEADER_EPOCH);
    struct fetch_item myself = follower;
    myself.replica = ME;
    assert_int_equal(fetch(&rig, partition, &myself).error, KAFKA_NOT_LEADER_OR_FOLLOWER);
    broker_rig_close(&rig);
}

/* The epoch that the asker believes in: a former one is fenced and told who leads, a later one is not known here yet. */
TEST(partition_holds_askers_to_its_epoch) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL);
    led_with(&rig, topic, 3, false);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, -1, 2, NULL), KAFKA_NONE);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    static const struct { leader_epoch epoch; enum kafka_error error; } rows[] = {
        {-1, KAFKA_NONE}, {3, KAFKA_NONE}, {2, KAFKA_FENCED_LEADER_EPOCH}, {0, KAFKA_FENCED_LEADER_EPOCH}, {4, KAFKA_UNKNOWN_LEADER_EPOCH}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct fetch_item item = consumer;
        item.current_epoch = rows[i].epoch;
        struct kafka_answer answer = fetch(&rig, partition, &item);
        assert_int_equal(answer.error, rows[i].error);
        if (rows[i].error == KAFKA_FENCED_LEADER_EPOCH) assert_int_equal(answer.out.current_leader.leader_epoch, 3);
        struct offset_item latest = {.timestamp = LOG_TIME_LATEST, .current_epoch = rows[i].epoch};
        assert_int_equal(offset_of(&rig, partition, latest, NULL), rows[i].error);
    }
    broker_rig_close(&rig);
}

/* Outside of the log no ends are told; at its end there is nothing, and that is no error. What is asked beyond the high
 * watermark, and lies in the log, is none either. */
TEST(partition_tells_what_is_out_of_range) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL);
    led_with(&rig, topic, 0, true);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, 1, 4, NULL), KAFKA_NONE);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    struct fetch_item item = consumer;
    for (log_offset from = 0; from <= 4; from++) {
        item.from = from;
        struct kafka_answer inside = fetch(&rig, partition, &item);
        assert_int_equal(inside.error, KAFKA_NONE);
        assert_int_equal(inside.bytes, 0);
        assert_int_equal(inside.item.at.offset, from);
    }
    item.from = 5;
    struct kafka_answer beyond = fetch(&rig, partition, &item);
    assert_int_equal(beyond.error, KAFKA_OFFSET_OUT_OF_RANGE);
    assert_int_equal(beyond.out.high_watermark, -1);
    assert_int_equal(beyond.out.log_start_offset, -1);
    item.from = -1;
    assert_int_equal(fetch(&rig, partition, &item).error, KAFKA_OFFSET_OUT_OF_RANGE);
    broker_rig_close(&rig);
}

/* Who has records of an epoch that went on differently elsewhere is told where the histories part, and gets none. */
TEST(partition_tells_where_histories_part) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL);
    led_with(&rig, topic, 0, false);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, -1, 2, NULL), KAFKA_NONE);
    led_with(&rig, topic, 3, false);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, -1, 2, NULL), KAFKA_NONE);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    struct fetch_item item = follower;
    item.current_epoch = 3;
    item.last_fetched_epoch = 0;
    item.from = 2; /* all of epoch 0, which it ends with */
    struct kafka_answer answer = fetch(&rig, partition, &item);
    assert_int_equal(answer.error, KAFKA_NONE);
    assert_true(answer.bytes > 0);
    assert_int_equal(answer.out.diverging_epoch.epoch, -1);
    item.from = 3; /* epoch 0 was longer there */
    answer = fetch(&rig, partition, &item);
    assert_int_equal(answer.error, KAFKA_NONE);
    assert_int_equal(answer.bytes, 0);
    assert_int_equal(answer.out.diverging_epoch.epoch, 0);
    assert_int_equal(answer.out.diverging_epoch.end_offset, 2);
    item.last_fetched_epoch = 2; /* an epoch that there never was here */
    answer = fetch(&rig, partition, &item);
    assert_int_equal(answer.out.diverging_epoch.epoch, 0);
    assert_int_equal(answer.out.diverging_epoch.end_offset, 2);
    item.from = 2;
    answer = fetch(&rig, partition, &item);
    assert_int_equal(answer.out.diverging_epoch.epoch, 0);
    assert_int_equal(answer.out.diverging_epoch.end_offset, 2);
    led_with(&rig, topic, 5, false); /* a leader's epoch begins with its office, not with its first record */
    static const struct { leader_epoch asked; log_offset end; } ends[] = {{0, 2}, {2, 2}, {3, 4}, {4, 4}, {5, 4}, {6, -1}};
    for (size_t i = 0; i < countof(ends); i++) {
        struct offset_item end = {.by_epoch = true, .of_epoch = ends[i].asked, .current_epoch = -1};
        log_offset offset;
        assert_int_equal(offset_of(&rig, partition, end, &offset), KAFKA_NONE);
        assert_int_equal(offset, ends[i].end);
    }
    broker_rig_close(&rig);
}

/* A new leader whose high watermark is older than its epoch does not say where the log ends, lest the end go backwards
 * (KIP-207); the start is said, and a follower, which asks for its own sake, gets an answer. */
TEST(partition_says_no_end_that_may_go_backwards) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 1, NULL);
    struct offset_item latest = {.timestamp = LOG_TIME_LATEST, .current_epoch = -1}, earliest = latest, replica = latest;
    earliest.timestamp = LOG_TIME_EARLIEST;
    replica.is_replica = true;
    log_offset offset;
    led_with(&rig, topic, 0, true);
    assert_int_equal(broker_rig_produce(&rig, topic, 0, 1, 2, NULL), KAFKA_NONE);
    struct partition *partition = broker_rig_get(&rig, topic, 0);
    assert_int_equal(offset_of(&rig, partition, latest, &offset), KAFKA_NONE);
    assert_int_equal(offset, 0);
    led_with(&rig, topic, 1, true);
    assert_int_equal(offset_of(&rig, partition, latest, &offset), KAFKA_OFFSET_NOT_AVAILABLE);
    assert_int_equal(offset_of(&rig, partition, earliest, &offset), KAFKA_NONE);
    assert_int_equal(offset, 0);
    assert_int_equal(offset_of(&rig, partition, replica, &offset), KAFKA_NONE);
    assert_int_equal(offset, 2);
    led_with(&rig, topic, 2, false); /* alone in sync: all of it is committed */
    broker_rig_for(&rig, 100);
    assert_int_equal(offset_of(&rig, partition, latest, &offset), KAFKA_NONE);
    assert_int_equal(offset, 2);
    broker_rig_close(&rig);
}

/* A replica without a log gets its place: in the directory that the metadata name; where that is not known, in the emptiest,
 * unless a directory has failed in which it may already lie. */
TEST(partition_is_not_made_twice) {
    struct broker_rig rig;
    enum kafka_error why;
    broker_rig_open(&rig, 1, 2, NULL);
    broker_rig_broker(&rig, ME, false);
    struct uuid topic = broker_rig_topic(&rig, "t"), elsewhere = {{0x77}};
    for (partition_index i = 0; i < 5; i++)
        broker_rig_partition(&rig, topic, &(struct rig_partition){.index = i, .replicas = {ME}, .isr = {ME}, .replica_count = 1, .isr_count = 1,
            .leader = ME, .leader_epoch = i == 3 ? 2 : 0, .dir = i < 2 ? rig.dir_ids[1 - i] : i == 4 ? rig.dir_ids[1] : elsewhere});
    broker_rig_publish(&rig);
    assert_true(uuid_equal(log_dir_id(log_dir_of(broker_rig_get(&rig, topic, 0)->log)), rig.dir_ids[1]));
    assert_true(uuid_equal(log_dir_id(log_dir_of(broker_rig_get(&rig, topic, 1)->log)), rig.dir_ids[0]));
    log_dir_fail(log_dirs_by_id(rig.dirs, rig.dir_ids[1]));
    assert_true(uuid_equal(log_dir_id(log_dir_of(broker_rig_get(&rig, topic, 2)->log)), rig.dir_ids[0])); /* new: it is nowhere yet */
    assert_null(partition_get(rig.brokers[0], topic, 3, &why));
    assert_int_equal(why, KAFKA_KAFKA_STORAGE_ERROR);
    assert_null(partition_get(rig.brokers[0], topic, 4, &why));
    assert_int_equal(why, KAFKA_KAFKA_STORAGE_ERROR);
    broker_rig_close(&rig);
}

/* With its topic a partition goes: who waits is told, its folder is renamed away at once, and its shard knows it no more. */
TEST(partition_goes_with_its_topic) {
    struct broker_rig rig;
    struct uuid topic = opened(&rig, 2, NULL);
    struct producing waiting;
    led_with(&rig, topic, 0, true);
    struct broker *broker = broker_rig_of(&rig, topic, 0);
    produce_begin(&rig, &waiting, broker_rig_get(&rig, topic, 0), 2);
    broker_rig_for(&rig, 100);
    assert_false(waiting.done);
    struct remove_topic_record gone = {.topic_id = topic};
    broker_rig_record(&rig, REMOVE_TOPIC_RECORD_TYPE, &gone);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, 100);
    assert_true(waiting.done);
    assert_int_not_equal(waiting.out.error_code, KAFKA_NONE);
    slab_drop(waiting.slab);
    assert_null(partition_find(broker, topic, 0));
    assert_int_equal(log_store_metrics(broker->store)->logs, 0);
    broker_rig_close(&rig);
}
