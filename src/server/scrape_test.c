#include "console/page.h"
#include "server/node_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include <string.h>

struct gathering {
    struct scrape *scrape;
    struct console_options options;
    struct pool pool;
    uint32_t homes;
};
static struct gathering *gathering_now;

static void is_home(struct scrape *scrape) {
    assert_ptr_equal(scrape, gathering_now->scrape);
    gathering_now->homes++;
}

static void begin(struct gathering *gathering, struct node_rig *rig) {
    *gathering = (struct gathering){.options = {.node = server_node(rig->server), .group = server_shards(rig->server), .version = "1", .io = "sim",
                                                .control = server_sample, .context = rig->server}};
    pool_init(&gathering->pool, 0, 0);
    gathering->scrape = scrape_new(&gathering->pool, &gathering->options);
    assert_non_null(gathering->scrape);
    gathering_now = gathering;
}

static void end(struct gathering *gathering) {
    scrape_free(gathering->scrape);
    pool_destroy(&gathering->pool);
}

static void gather(struct gathering *gathering, struct node_rig *rig, enum scrape_kind kind) {
    uint32_t before = gathering->homes;
    scrape_send(gathering->scrape, kind, is_home);
    node_rig_for(rig, 50);
    assert_int_equal(gathering->homes, before + 1);
}

/* Three shards: what was produced over one connection into partitions on all of them is added up, once; a second scrape
 * begins anew. The page has a line for it, and every metric of it stands there once. */
TEST(scrape_adds_up_the_shards) {
    struct node_rig rig;
    struct rig_client client;
    struct gathering gathering;
    struct metric_page page;
    log_offset base;
    node_rig_open(&rig, 7, 3, NULL);
    begin(&gathering, &rig);
    rig_connect(&client, &rig, RIG_PORT);
    rig_topic(&client, "sums", 8);
    for (partition_index p = 0; p < 8; p++) assert_int_equal(rig_produce(&client, "sums", p, 5, 100, &base), 0);
    assert_int_not_equal(rig_produce(&client, "sums", 99, 1, 10, &base), 0);
    for (int round = 0; round < 2; round++) {
        const struct scrape *scrape = gathering.scrape;
        gather(&gathering, &rig, SCRAPE_ALL);
        assert_int_equal(scrape->apis[API_PRODUCE].requests, 9);
        assert_int_equal(scrape->apis[API_PRODUCE].errors[KAFKA_NONE + 1], 8);
        assert_int_equal(scrape->apis[API_PRODUCE].errors[KAFKA_UNKNOWN_TOPIC_OR_PARTITION + 1], 1);
        assert_int_equal(histogram_count(&scrape->apis[API_PRODUCE].total), 9);
        assert_int_equal(scrape->topics_total.messages_in, 40);
        assert_int_equal(scrape->topics_total.produces, 8);
        assert_int_equal(scrape->topic_count, 1);
        assert_string_equal(scrape->topics[0].name, "sums");
        assert_int_equal(scrape->topics[0].counts.messages_in, 40);
        assert_int_equal(scrape->topics[0].counts.bytes_in, scrape->topics_total.bytes_in);
        assert_int_equal(scrape->partition_count, 9); /* the metadata's among them */
        assert_int_equal(scrape->net.connections, 1);
        assert_int_equal(scrape->listeners[0].open + scrape->listeners[1].open, 1);
        assert_true(scrape->log.appends >= 8 && histogram_count(&scrape->log.sync) == scrape->log.syncs + scrape->log.syncs_fs);
        assert_true(scrape->control.controller_is_active && scrape->control.raft_leader == server_node(rig.server)->id);
        assert_int_equal(scrape->brokers_active, 1);
        assert_int_equal(scrape->topics_there, 1);
        assert_int_equal(scrape->partitions_there, 8);
        for (int shard = 0; shard < 3; shard++) assert_true(scrape->shards[shard].times.turns > 0 && scrape->shards[shard].memory_used > 0);
    }
    struct process_sample process = {0};
    metric_page_init(&page, &gathering.pool, 1 << 22);
    page_write(&page, gathering.scrape, &process, 1);
    assert_false(page.cut);
    page.bytes[page.size - 1] = 0;
    assert_non_null(strstr(page.bytes, "\nkafka_server_brokertopicmetrics_messagesin_total{topic=\"sums\"} 40\n"));
    assert_non_null(strstr(page.bytes, "\nkafka_network_requestmetrics_errors_total{request=\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1\n"));
    assert_non_null(strstr(page.bytes, "\nkafka_log_log_logendoffset{topic=\"sums\",partition=\"7\"} 5\n"));
    metric_page_destroy(&page);
    rig_disconnect(&client);
    end(&gathering);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* Ready while it serves; not once its last log directory has failed, nor while it stops: each time with its sentence. */
TEST(scrape_tells_readiness) {
    struct node_rig rig;
    struct gathering gathering;
    char bytes[512];
    struct text why;
    node_rig_open(&rig, 8, 2, NULL);
    begin(&gathering, &rig);
    text_init(&why, bytes, sizeof bytes);
    gather(&gathering, &rig, SCRAPE_READY);
    assert_true(scrape_is_ready(gathering.scrape, &why));
    gather(&gathering, &rig, SCRAPE_PING);
    struct log_dir *dir = log_dirs_at(server_node(rig.server)->dirs, 0);
    log_dir_fail(dir);
    gather(&gathering, &rig, SCRAPE_READY);
    assert_false(scrape_is_ready(gathering.scrape, &why)); /* it is the only one */
    assert_string_equal(why.bytes, "all log directories have failed");
    text_reset(&why);
    scrape_tell_failed(gathering.scrape, &why);
    assert_non_null(strstr(why.bytes, log_dir_path(dir)));
    assert_non_null(strstr(why.bytes, "has failed"));
    text_reset(&why);
    server_stop(rig.server);
    scrape_send(gathering.scrape, SCRAPE_READY, is_home);
    while (gathering.homes < 4) node_rig_for(&rig, 1);
    assert_false(scrape_is_ready(gathering.scrape, &why));
    assert_string_equal(why.bytes, "the node is stopping");
    node_rig_kill(&rig);
    end(&gathering);
    node_rig_close(&rig);
}
