#include "server/node_rig.h"
#include "log/log.h"
#include "sim/sim_io.h"
#include "shard/shard.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

/* broker/adopt on a whole node: partitions that nobody asks for after a start. */

enum { UNTIL_ADOPTED_MS = 3000 };

static struct log_metrics stores(const struct node_rig *rig) {
    struct log_metrics sum = {0};
    for (uint32_t i = 0; i < rig->shards; i++) {
        const struct log_store *store = shard_at(server_shards(rig->server), i)->roles[ROLE_LOG];
        const struct log_metrics *metrics = log_store_metrics(store);
        sum.logs += metrics->logs;
        sum.logs_open += metrics->logs_open;
        sum.files_open += metrics->files_open;
        sum.opens += metrics->opens;
        sum.recoveries += metrics->recoveries;
    }
    return sum;
}

static bool there_is(struct node_rig *rig, const char *path) {
    struct io_stat stat;
    struct io_files files = sim_host_files(rig->hosts[RIG_NODE]);
    return files.vtable->stat(files.self, path, &stat) == 0;
}

static void fill(struct node_rig *rig, const char *topic, int32_t partitions) {
    struct rig_client client;
    log_offset base;
    rig_connect(&client, rig, RIG_PORT);
    rig_topic(&client, topic, partitions);
    for (partition_index i = 0; i < partitions; i++) assert_int_equal(rig_produce(&client, topic, i, 2, 100, &base), KAFKA_NONE);
    rig_disconnect(&client);
}

static void start_again(struct node_rig *rig) {
    assert_true(node_rig_start(rig));
    assert_true(node_rig_run(rig));
}

/* After a clean stop every partition whose files are there comes to life on its shard by itself, and stays closed: no
 * descriptor, and less than 2 KiB of memory each. */
TEST(adopted_partitions_cost_memory_only) {
    enum { PARTITIONS = 200 };
    struct node_rig rig;
    node_rig_open(&rig, 1, 2, NULL);
    fill(&rig, "t", PARTITIONS);
    node_rig_stop(&rig);
    start_again(&rig);
    struct log_metrics before = stores(&rig);
    size_t memory = node_rig_memory(&rig);
    assert_int_equal(before.logs, 1); /* that of the metadata */
    node_rig_for(&rig, UNTIL_ADOPTED_MS);
    struct log_metrics after = stores(&rig);
    assert_int_equal(after.logs, PARTITIONS + 1);
    assert_int_equal(after.logs_open, before.logs_open);
    assert_int_equal(after.files_open, before.files_open);
    assert_true(node_rig_memory(&rig) - memory < PARTITIONS * 2048);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* A shard that has very many of them takes some hundreds at a time, so that requests get their turns in between: all of
 * them only after several rounds. */
TEST(adoption_goes_in_steps) {
    enum { PARTITIONS = 700 };
    struct node_rig rig;
    node_rig_open(&rig, 2, 1, NULL);
    fill(&rig, "t", PARTITIONS);
    node_rig_stop(&rig);
    start_again(&rig);
    uint32_t most = 0;
    for (uint32_t last = stores(&rig).logs; last < PARTITIONS + 1;) {
        node_rig_for(&rig, 10);
        uint32_t now = stores(&rig).logs;
        if (now - last > most) most = now - last;
        last = now;
    }
    assert_int_equal(most, 500);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* After a kill each of them is recovered though nobody asks, a few at a time, and closes again. */
TEST(adopted_partitions_are_recovered_after_a_kill) {
    enum { PARTITIONS = 60 };
    struct node_rig rig;
    node_rig_open(&rig, 3, 2, NULL);
    fill(&rig, "t", PARTITIONS);
    node_rig_kill(&rig);
    start_again(&rig);
    node_rig_for(&rig, 20000);
    struct log_metrics now = stores(&rig);
    assert_int_equal(now.recoveries, PARTITIONS + 1);
    assert_int_equal(now.logs_open, 1);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* Time passes for them, too: what is older than its retention goes with nobody asking, and they are closed again after it. */
TEST(retention_reaches_adopted_partitions) {
    static const char old[] = "/data/t-0/00000000000000000000.log";
    struct node_rig rig;
    node_rig_open(&rig, 4, 1, "log.retention.ms=100\nlog.segment.delete.delay.ms=0\n");
    fill(&rig, "t", 3);
    node_rig_stop(&rig);
    assert_true(there_is(&rig, old));
    start_again(&rig);
    node_rig_for(&rig, 60000);
    assert_false(there_is(&rig, old));
    assert_true(there_is(&rig, "/data/t-0/00000000000000000002.log"));
    assert_int_equal(stores(&rig).logs_open, 1);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

struct names { uint32_t strays, others; };
static int count_strays(void *context, const char *name, bool is_directory) {
    struct names *names = context;
    size_t size = strlen(name);
    if (!is_directory || strncmp(name, "nobody-", 7) != 0) return 0;
    if (size > 6 && strcmp(name + size - 6, "-stray") == 0) names->strays++;
    else names->others++;
    return 0;
}

/* A folder of a topic that the metadata do not know, and one on its way of it, are kept under other names; a topic of that
 * name can be made then, and the partitions that are known are not touched. */
TEST(strays_are_put_aside) {
    static const char *const strays[] = {"/data/nobody-0", "/data/nobody-1.0123456789abcdef0123456789abcdef-future", "/data/t-7"};
    struct node_rig rig;
    node_rig_open(&rig, 5, 2, "log.retention.ms=100\nlog.segment.delete.delay.ms=0\n");
    fill(&rig, "t", 2);
    node_rig_stop(&rig);
    struct io_files files = sim_host_files(rig.hosts[RIG_NODE]);
    for (int i = 0; i < 3; i++) {
        char path[128];
        struct io_file *file;
        snprintf(path, sizeof path, "%s/00000000000000000000.log", strays[i]);
        assert_int_equal(files.vtable->make_directory(files.self, strays[i]), 0);
        assert_int_equal(files.vtable->open(files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE), 0);
        assert_int_equal(files.vtable->write(files.self, file, "not ours", 8, 0), 8);
        io_file_drop(file);
    }
    start_again(&rig);
    node_rig_for(&rig, 60000);
    assert_int_equal(stores(&rig).logs, 3);
    struct names names = {0};
    assert_int_equal(files.vtable->list(files.self, "/data", count_strays, &names), 0);
    assert_int_equal(names.strays, 2);
    assert_int_equal(names.others, 0);
    assert_false(there_is(&rig, "/data/t-7"));
    assert_true(there_is(&rig, "/data/t-0"));
    fill(&rig, "nobody", 2);
    assert_true(there_is(&rig, "/data/nobody-0"));
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* After a kill, a stop that comes before all partitions were looked at leaves no mark of a clean stop: those that nobody
 * has opened were not recovered, and the next start must recover them. Once all were, a stop leaves it. */
TEST(stop_before_all_are_adopted_leaves_no_mark) {
    enum { PARTITIONS = 30 };
    static const char mark[] = "/data/.kafka_cleanshutdown";
    struct node_rig rig;
    node_rig_open(&rig, 6, 2, NULL);
    fill(&rig, "t", PARTITIONS);
    node_rig_stop(&rig);
    assert_true(there_is(&rig, mark));
    start_again(&rig);
    node_rig_stop(&rig); /* nobody was adopted, and all had been stopped in order before */
    assert_true(there_is(&rig, mark));
    start_again(&rig);
    node_rig_kill(&rig);
    start_again(&rig);
    assert_true(stores(&rig).logs < PARTITIONS);
    node_rig_stop(&rig);
    assert_true(rig.clean);
    assert_false(there_is(&rig, mark));
    start_again(&rig);
    assert_false(log_dirs_were_clean(server_node(rig.server)->dirs));
    node_rig_for(&rig, 20000);
    assert_int_equal(stores(&rig).recoveries, PARTITIONS + 1);
    node_rig_stop(&rig);
    assert_true(there_is(&rig, mark));
    node_rig_close(&rig);
}
