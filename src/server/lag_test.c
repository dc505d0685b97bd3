/* broker/lag on a whole node: rounds over committed offsets, on the shard that the partitions live on. Batches carry the
 * time at which they were appended, some seconds apart. */
#include "broker/lag.h"
#include "broker/partition.h"
#include "server/node_rig.h"
#include "shard/shard.h"
#include "sim/sim_io.h"
#include "test.h"

enum { PARTITIONS = 6, BATCHES = 3, RECORDS = 2, APART_MS = 2000, ITEMS_MAX = 64 };

struct lags {
    struct node_rig rig;
    struct rig_client client;
    struct uuid topic;
    struct pool pool;
    struct lag_round round;
    struct lag_item items[ITEMS_MAX];
    uint32_t over;
};
static struct lags *lags_now;

static void is_over(struct lag_round *round) {
    assert_ptr_equal(round, &lags_now->round);
    lags_now->over++;
}

static struct broker *broker_at(struct lags *lags, uint32_t shard) { return shard_at(server_shards(lags->rig.server), shard)->roles[ROLE_BROKER]; }

/* Each partition has three batches of two records. */
static struct lags *lags_open(uint64_t seed, uint32_t shards) {
    static struct lags lags;
    lags = (struct lags){.over = 0};
    lags_now = &lags;
    pool_init(&lags.pool, 0, 0);
    node_rig_open(&lags.rig, seed, shards, "log.message.timestamp.type=LogAppendTime\n");
    rig_connect(&lags.client, &lags.rig, RIG_PORT);
    lags.topic = rig_topic(&lags.client, "t", PARTITIONS);
    for (int batch = 0; batch < BATCHES; batch++) {
        for (partition_index p = 0; p < PARTITIONS; p++) assert_int_equal(rig_produce(&lags.client, "t", p, RECORDS, 100, NULL), KAFKA_NONE);
        node_rig_for(&lags.rig, APART_MS);
    }
    return &lags;
}

static void lags_close(struct lags *lags) {
    rig_disconnect(&lags->client);
    node_rig_stop(&lags->rig);
    node_rig_close(&lags->rig);
    pool_destroy(&lags->pool);
}

static void start_again(struct lags *lags) {
    rig_disconnect(&lags->client);
    node_rig_stop(&lags->rig);
    assert_true(node_rig_start(&lags->rig) && node_rig_run(&lags->rig));
    rig_connect(&lags->client, &lags->rig, RIG_PORT);
    /* The first one who asks makes them: closed logs, whose marks are those of the checkpoints. */
    enum kafka_error why;
    for (partition_index p = 0; p < PARTITIONS; p++) {
        struct broker *broker = broker_at(lags, 0);
        assert_non_null(partition_get(broker, lags->topic, p, &why));
    }
}

static void item(struct lags *lags, partition_index partition, log_offset committed) {
    assert_true(lags->round.count < ITEMS_MAX);
    lags->items[lags->round.count++] = (struct lag_item){.topic_id = lags->topic, .partition = partition, .committed = committed,
        .shard = partition_shard(broker_at(lags, 0), lags->topic, partition), .high_watermark = -1, .batch_ms = -1};
}

static void go_round(struct lags *lags, uint32_t shard, uint32_t reads_max, uint32_t opens_max) {
    uint32_t before = lags->over;
    lags->round.items = lags->items;
    lags->round.pool = &lags->pool;
    lags->round.reads_max = reads_max;
    lags->round.opens_max = opens_max;
    lags->round.done = is_over;
    lag_round_start(&lags->round, broker_at(lags, shard));
    sim_io_nudge(sim_process_io(lags->rig.process, shard));
    node_rig_for(&lags->rig, 200);
    assert_int_equal(lags->over, before + 1);
}

static uint32_t found(const struct lags *lags) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < lags->round.count; i++) count += lags->items[i].batch_ms >= 0;
    return count;
}

/* Every offset of a partition: the batch of the next record tells how old it is, the same for all its records; who is not
 * behind has no next record; who committed beyond the end neither. What is known already is not looked for again. */
TEST(lag_finds_the_batch_of_the_next_record) {
    struct lags *lags = lags_open(1, 1);
    for (log_offset offset = 0; offset <= BATCHES * RECORDS + 1; offset++) item(lags, 0, offset);
    go_round(lags, 0, 100, 100);
    for (uint32_t i = 0; i < lags->round.count; i++) assert_int_equal(lags->items[i].high_watermark, BATCHES * RECORDS);
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        time_ms first = lags->items[batch * RECORDS].batch_ms;
        assert_true(first > 0);
        assert_int_equal(lags->items[batch * RECORDS + 1].batch_ms, first);
        if (batch) assert_in_range(first - lags->items[(batch - 1) * RECORDS].batch_ms, APART_MS, APART_MS + 500);
    }
    assert_int_equal(lags->items[BATCHES * RECORDS].batch_ms, -1);
    assert_int_equal(lags->items[BATCHES * RECORDS + 1].batch_ms, -1);
    assert_int_equal(lags->round.reads, BATCHES * RECORDS);
    go_round(lags, 0, 100, 100);
    assert_int_equal(lags->round.reads, 0);
    lags_close(lags);
}

/* Two shards: each looks at its own items only, and what no partition stands behind stays unknown. */
TEST(lag_passes_over_what_lives_elsewhere) {
    struct lags *lags = lags_open(2, 2);
    uint32_t own[2] = {0, 0};
    for (partition_index p = 0; p < PARTITIONS; p++) item(lags, p, 0);
    for (uint32_t i = 0; i < PARTITIONS; i++) own[lags->items[i].shard]++;
    assert_true(own[0] > 0 && own[1] > 0);
    item(lags, PARTITIONS + 5, 0);
    lags->items[PARTITIONS].shard = 1;
    go_round(lags, 1, 100, 100);
    for (uint32_t i = 0; i < PARTITIONS; i++) assert_int_equal(lags->items[i].batch_ms >= 0, lags->items[i].shard == 1);
    assert_int_equal(lags->items[PARTITIONS].high_watermark, -1);
    go_round(lags, 0, 100, 100);
    assert_int_equal(found(lags), PARTITIONS);
    lags_close(lags);
}

/* More items than a turn has probes: all are found, in one round, which ends once. With fewer reads allowed than items the
 * round begins where it is told to, and stops there. */
TEST(lag_reads_no_more_than_allowed) {
    struct lags *lags = lags_open(3, 1);
    for (uint32_t i = 0; i < 3 * LAG_PROBES; i++) item(lags, (partition_index)(i % PARTITIONS), i % (BATCHES * RECORDS));
    lags->round.first = 10;
    go_round(lags, 0, 7, 100);
    assert_int_equal(found(lags), 7);
    for (uint32_t i = 0; i < lags->round.count; i++) assert_int_equal(lags->items[i].batch_ms >= 0, i >= 10 && i < 17);
    go_round(lags, 0, 100, 100);
    assert_int_equal(found(lags), 3 * LAG_PROBES);
    lags_close(lags);
}

/* After a start the logs are closed: high watermarks are known by the checkpoint, and only so many logs are opened to look
 * into them; who is not behind opens none. */
TEST(lag_opens_few_logs) {
    struct lags *lags = lags_open(4, 1);
    start_again(lags);
    for (partition_index p = 0; p < PARTITIONS; p++) item(lags, p, p == 0 ? BATCHES * RECORDS : 1);
    go_round(lags, 0, 100, 2);
    for (uint32_t i = 0; i < PARTITIONS; i++) assert_int_equal(lags->items[i].high_watermark, BATCHES * RECORDS);
    assert_int_equal(lags->items[0].batch_ms, -1);
    assert_int_equal(found(lags), 2);
    assert_int_equal(lags->round.opens, 2);
    go_round(lags, 0, 100, 100);
    assert_int_equal(found(lags), PARTITIONS - 1);
    assert_int_equal(lags->round.opens, PARTITIONS - 1 - 2);
    lags_close(lags);
}
