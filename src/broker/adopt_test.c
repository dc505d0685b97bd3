#include "broker/adopt.h"
#include "broker/broker_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

/* Which of the partitions that were found on disk come to life, which are put aside, and which stay as they are. How many at
 * once, and what becomes of them, is tested on a whole node (server/adopt_test.c). */

enum { ME = BROKER_RIG_ID, OTHER = 2, LONG_MS = 10000 };

static bool there_is(struct broker_rig *rig, const char *path) {
    struct io_stat stat;
    struct io_files files = sim_host_files(rig->host);
    return files.vtable->stat(files.self, path, &stat) == 0;
}

/* Partitions of a topic, all led here, each with a record, and the brokers stopped. */
static struct uuid filled(struct broker_rig *rig, uint32_t shards, partition_index count) {
    broker_rig_open(rig, shards, 1, NULL);
    broker_rig_broker(rig, ME, false);
    broker_rig_broker(rig, OTHER, false);
    struct uuid topic = broker_rig_topic(rig, "t");
    for (partition_index i = 0; i < count; i++) broker_rig_own(rig, topic, i);
    broker_rig_publish(rig);
    for (partition_index i = 0; i < count; i++) assert_int_equal(broker_rig_produce(rig, topic, i, 1, 1, NULL), KAFKA_NONE);
    broker_rig_stop(rig);
    return topic;
}

static bool is_adopted(struct broker_rig *rig, struct uuid topic, partition_index index) {
    return partition_find(broker_rig_of(rig, topic, index), topic, index) != NULL;
}

/* A broker that is still fenced, or of which the metadata know only a former life, does not know yet what is its own:
 * nothing is adopted, nothing is put aside, and a stop then must not claim that all was seen. Once it serves, all of it is. */
TEST(adoption_begins_when_the_broker_serves) {
    enum { PARTITIONS = 6 };
    struct broker_rig rig;
    struct uuid topic = filled(&rig, 3, PARTITIONS);
    struct remove_topic_record gone = {.topic_id = topic};
    broker_rig_record(&rig, REMOVE_TOPIC_RECORD_TYPE, &gone); /* as if the metadata were not read that far */
    broker_rig_broker(&rig, ME, true);
    broker_rig_start(&rig);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, LONG_MS);
    assert_true(there_is(&rig, "/data/t-0"));
    for (uint32_t i = 0; i < rig.shards; i++) assert_false(adopt_is_complete(rig.brokers[i]));
    struct uuid own = rig.node.incarnation;
    rig.node.incarnation = (struct uuid){{3}};
    broker_rig_broker(&rig, ME, false); /* as it was registered in another life */
    rig.node.incarnation = own;
    broker_rig_publish(&rig);
    broker_rig_for(&rig, LONG_MS);
    assert_true(there_is(&rig, "/data/t-0"));
    broker_rig_topic(&rig, "t"); /* with the same id */
    for (partition_index i = 0; i < PARTITIONS; i++) broker_rig_own(&rig, topic, i);
    broker_rig_broker(&rig, ME, false);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, LONG_MS);
    for (partition_index i = 0; i < PARTITIONS; i++) assert_true(is_adopted(&rig, topic, i));
    for (uint32_t i = 0; i < rig.shards; i++) assert_true(adopt_is_complete(rig.brokers[i]));
    broker_rig_close(&rig);
}

/* Each partition comes to life on its own shard and on no other, closed. */
TEST(adoption_keeps_to_the_shards) {
    enum { PARTITIONS = 12 };
    struct broker_rig rig;
    struct uuid topic = filled(&rig, 4, PARTITIONS);
    broker_rig_start(&rig);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, LONG_MS);
    uint32_t logs = 0;
    for (uint32_t i = 0; i < rig.shards; i++) {
        logs += log_store_metrics(rig.stores[i])->logs;
        assert_int_equal(log_store_metrics(rig.stores[i])->logs_open, 0);
        for (partition_index p = 0; p < PARTITIONS; p++)
            assert_int_equal(partition_find(rig.brokers[i], topic, p) != NULL, rig.brokers[i] == broker_rig_of(&rig, topic, p));
    }
    assert_int_equal(logs, PARTITIONS);
    broker_rig_close(&rig);
}

static int count_strays(void *context, const char *name, bool is_directory) {
    size_t size = strlen(name);
    if (is_directory && size > 6 && strcmp(name + size - 6, "-stray") == 0) ++*(uint32_t *)context;
    return 0;
}
static uint32_t strays(struct broker_rig *rig) {
    uint32_t count = 0;
    struct io_files files = sim_host_files(rig->host);
    assert_int_equal(files.vtable->list(files.self, "/data", count_strays, &count), 0);
    return count;
}

/* Put aside is what the metadata give to others or to nobody: a partition whose replicas are elsewhere, one that the topic
 * has not. One that has a replica here stays, whoever leads it; the metadata log is nobody's to put aside. */
TEST(adoption_puts_aside_what_is_not_its_own) {
    struct broker_rig rig;
    struct uuid topic = filled(&rig, 2, 4);
    struct remove_topic_record gone = {.topic_id = topic};
    struct io_files files = sim_host_files(rig.host);
    assert_int_equal(files.vtable->make_directory(files.self, "/data/__cluster_metadata-0"), 0);
    broker_rig_record(&rig, REMOVE_TOPIC_RECORD_TYPE, &gone);
    broker_rig_topic(&rig, "t"); /* three of the four, it has now */
    broker_rig_own(&rig, topic, 0);
    broker_rig_partition(&rig, topic, &(struct rig_partition){.index = 1, .replicas = {OTHER, ME}, .isr = {OTHER}, .replica_count = 2, .isr_count = 1, .leader = OTHER});
    broker_rig_partition(&rig, topic, &(struct rig_partition){.index = 2, .replicas = {OTHER}, .isr = {OTHER}, .replica_count = 1, .isr_count = 1, .leader = OTHER});
    broker_rig_start(&rig);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, LONG_MS);
    assert_true(there_is(&rig, "/data/t-0") && there_is(&rig, "/data/t-1") && there_is(&rig, "/data/__cluster_metadata-0"));
    assert_false(there_is(&rig, "/data/t-2") || there_is(&rig, "/data/t-3"));
    assert_int_equal(strays(&rig), 2);
    assert_non_null(strstr(rig.traces, "2 folders of partitions that are not this broker's"));
    assert_true(is_adopted(&rig, topic, 0));
    assert_false(is_adopted(&rig, topic, 1)); /* led elsewhere: nobody would look after it here */
    assert_false(adopt_is_complete(broker_rig_of(&rig, topic, 1)));
    broker_rig_close(&rig);
}

/* A topic that is deleted before anybody has asked for its partitions: its files go all the same, on every shard. */
TEST(files_of_a_deleted_topic_go_unasked) {
    enum { PARTITIONS = 6 };
    struct broker_rig rig;
    struct uuid topic = filled(&rig, 3, PARTITIONS);
    struct remove_topic_record gone = {.topic_id = topic};
    broker_rig_start(&rig);
    broker_rig_publish(&rig);
    for (partition_index i = 0; i < PARTITIONS; i++) assert_false(is_adopted(&rig, topic, i));
    broker_rig_record(&rig, REMOVE_TOPIC_RECORD_TYPE, &gone);
    broker_rig_publish(&rig);
    broker_rig_for(&rig, 100);
    for (partition_index i = 0; i < PARTITIONS; i++) {
        char path[32];
        snprintf(path, sizeof path, "/data/t-%d", i);
        assert_false(there_is(&rig, path));
        assert_false(is_adopted(&rig, topic, i));
    }
    assert_int_equal(strays(&rig), 0);
    broker_rig_close(&rig);
}
