/* A node whose disk fails in one place, or cannot keep up. */
#include "base/bytes.h"
#include "server/node_rig.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <string.h>

enum { PARTITIONS = 4, SICK = 1 };

struct one_fetch {
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition partition;
};

/* The records that are readable from the start; -1: refused with `error`. */
static log_offset readable(struct rig_client *client, partition_index index, int16_t error) {
    log_offset next = 0;
    for (;;) {
        struct one_fetch f;
        struct batch batch;
        fetch_request_init(&f.request);
        fetch_request_fetch_topic_init(&f.topic);
        fetch_request_fetch_partition_init(&f.partition);
        f.request.max_bytes = f.partition.partition_max_bytes = 1 << 20;
        f.request.session_epoch = -1;
        f.request.topics = &f.topic;
        f.request.topics_count = 1;
        f.topic.topic = SPAN_LITERAL("t");
        f.topic.partitions = &f.partition;
        f.topic.partitions_count = 1;
        f.partition.partition = index;
        f.partition.fetch_offset = next;
        const struct fetch_response *out = rig_ask(client, API_FETCH, 11, &f.request);
        assert_non_null(out);
        const struct fetch_response_partition_data *data = &out->responses[0].partitions[0];
        assert_int_equal(data->error_code, error);
        if (error) return -1;
        struct span rest = data->records.bytes;
        if (rest.size == 0) return next;
        while (batch_next(&rest, &batch) == ERR_NONE) next = batch_next_offset(&batch);
    }
}

/* Each kind of operation on the files of one partition fails once, in a node that is written to: that partition is refused
 * with KAFKA_STORAGE_ERROR from then on and never synced again, the others, the groups and the metadata go on; the node,
 * killed and started again on a disk that works, has all that was acknowledged, and writes to all of them. */
TEST(node_one_log_fails_alone) {
    static const struct { unsigned operation; const char *what; } faults[] = {
        {SIM_DISK_WRITE, "t-1/00000000000000000000.log"}, {SIM_DISK_SYNC, "t-1/00000000000000000000.log"},
    };
    for (size_t i = 0; i < countof(faults); i++) {
        struct node_rig rig;
        struct rig_client client;
        log_offset acknowledged[PARTITIONS] = {0};
        node_rig_open(&rig, 70 + i, 2, NULL);
        struct sim_disk *disk = sim_host_disk(rig.hosts[RIG_NODE]);
        rig_connect(&client, &rig, RIG_PORT);
        rig_topic(&client, "t", PARTITIONS);
        for (partition_index p = 0; p < PARTITIONS; p++) {
            assert_int_equal(rig_produce(&client, "t", p, 3, 200, NULL), KAFKA_NONE);
            acknowledged[p] += 3;
        }
        sim_disk_fail(disk, &(struct sim_disk_fault){.operations = faults[i].operation, .path_part = faults[i].what, .times = 1, .error = -EIO});
        for (int round = 0; round < 3; round++) {
            for (partition_index p = 0; p < PARTITIONS; p++) {
                assert_int_equal(rig_produce(&client, "t", p, 3, 200, NULL), p == SICK ? KAFKA_KAFKA_STORAGE_ERROR : KAFKA_NONE);
                if (p != SICK) acknowledged[p] += 3;
            }
            node_rig_for(&rig, 7000); /* checkpoints come and go */
        }
        for (partition_index p = 0; p < PARTITIONS; p++) {
            if (p == SICK) readable(&client, p, KAFKA_KAFKA_STORAGE_ERROR);
            else assert_int_equal(readable(&client, p, KAFKA_NONE), acknowledged[p]);
        }
        rig_topic(&client, "another", 2);
        assert_int_equal(rig_produce(&client, "another", 1, 1, 200, NULL), KAFKA_NONE);
        assert_non_null(strstr(rig.traces, "partition t-1: its log has failed: input or output failed"));
        assert_null(strstr(rig.traces, "partition t-0"));
        assert_false(rig.stopped);
        rig_disconnect(&client);
        node_rig_kill(&rig);
        sim_disk_heal(disk);
        assert_true(node_rig_start(&rig) && node_rig_run(&rig));
        rig_connect(&client, &rig, RIG_PORT);
        for (partition_index p = 0; p < PARTITIONS; p++) {
            log_offset there = readable(&client, p, KAFKA_NONE), base;
            assert_true(there >= acknowledged[p]); /* what was refused may be there */
            assert_int_equal(rig_produce(&client, "t", p, 1, 200, &base), KAFKA_NONE);
            assert_int_equal(base, there);
        }
        rig_disconnect(&client);
        node_rig_stop(&rig);
        node_rig_close(&rig);
    }
}

static struct delete_records_response_delete_records_partition_result deleted(struct rig_client *client, log_offset offset, int32_t timeout_ms) {
    struct delete_records_request request;
    struct delete_records_request_delete_records_topic topic;
    struct delete_records_request_delete_records_partition partition;
    delete_records_request_init(&request);
    delete_records_request_delete_records_topic_init(&topic);
    delete_records_request_delete_records_partition_init(&partition);
    request.topics = &topic, request.topics_count = 1;
    request.timeout_ms = timeout_ms;
    topic.name = SPAN_LITERAL("t");
    topic.partitions = &partition, topic.partitions_count = 1;
    partition.offset = offset;
    const struct delete_records_response *answer = rig_ask(client, API_DELETE_RECORDS, 2, &request);
    assert_non_null(answer);
    return answer->topics[0].partitions[0];
}

/* DeleteRecords while each operation of the disk takes 20 s: answered in the request's time with REQUEST_TIMED_OUT and the low
 * watermark that was safe before, as Apache Kafka answers where a follower does not come along. A request of no time at all still
 * gives a disk that works its moment. What was not waited for is safe when the disk works again, and a stop copes with it under way. */
TEST(node_delete_records_waits_for_a_stalled_disk_no_longer_than_it_may) {
    struct node_rig rig;
    struct rig_client client;
    node_rig_open(&rig, 85, 2, "log.retention.ms=-1\n");
    rig_connect(&client, &rig, RIG_PORT);
    rig_topic(&client, "t", 1);
    assert_int_equal(rig_produce(&client, "t", 0, 9, 10, NULL), KAFKA_NONE);
    struct delete_records_response_delete_records_partition_result got = deleted(&client, 2, 0);
    assert_int_equal(got.error_code, KAFKA_NONE);
    assert_int_equal(got.low_watermark, 2);
    struct sim_timing timing = sim_timing_default();
    timing.disk_min = 20 * NS_PER_S;
    sim_host_set_timing(rig.hosts[RIG_NODE], &timing);
    time_ns begin = io_now(rig.io);
    for (log_offset offset = 4; offset <= 5; offset++) {
        got = deleted(&client, offset, 3000);
        assert_int_equal(got.error_code, KAFKA_REQUEST_TIMED_OUT);
        assert_int_equal(got.low_watermark, 2);
    }
    assert_true(io_now(rig.io) - begin > 6 * NS_PER_S && io_now(rig.io) - begin < 7 * NS_PER_S);
    timing = sim_timing_default();
    sim_host_set_timing(rig.hosts[RIG_NODE], &timing);
    node_rig_for(&rig, 60000);
    got = deleted(&client, 3, 0); /* nothing is left to wait for */
    assert_int_equal(got.error_code, KAFKA_NONE);
    assert_int_equal(got.low_watermark, 5);
    timing.disk_min = 20 * NS_PER_S;
    sim_host_set_timing(rig.hosts[RIG_NODE], &timing);
    assert_int_equal(deleted(&client, 7, 1000).error_code, KAFKA_REQUEST_TIMED_OUT);
    timing = sim_timing_default();
    sim_host_set_timing(rig.hosts[RIG_NODE], &timing);
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

static void send_silently(struct rig_client *client, const struct slab *slab) {
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data data;
    produce_request_init(&request);
    produce_request_topic_produce_data_init(&topic);
    produce_request_partition_produce_data_init(&data);
    request.acks = 0;
    request.timeout_ms = 60000;
    request.topic_data = &topic;
    request.topic_data_count = 1;
    topic.name = SPAN_LITERAL("t");
    topic.partition_data = &data;
    topic.partition_data_count = 1;
    data.records = (struct wire_records){.bytes = span_of(slab->bytes, slab->used)};
    rig_send_request(client, API_PRODUCE, 9, &request);
}

/* A producer that asks for no answers sends 4,000 batches of 16 KiB to a disk whose syncs take up to a second. It is read no
 * faster than the disk takes them: what the node holds stays below 40 MiB, the connection stays, and in the end every record
 * is there. */
TEST(node_reads_silent_producers_no_faster_than_its_disk) {
    enum { BATCHES = 4000 };
    static const uint8_t value[16 << 10];
    struct node_rig rig;
    struct rig_client client;
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    node_rig_open(&rig, 80, 2, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    rig_topic(&client, "t", 1);
    assert_int_equal(rig_produce(&client, "t", 0, 1, 10, NULL), KAFKA_NONE);
    struct sim_timing timing = sim_timing_default();
    timing.sync_max = NS_PER_S;
    sim_host_set_timing(rig.hosts[RIG_NODE], &timing);
    batch_options_init(&options);
    options.base_offset = 0;
    batch_builder_init(&builder, &rig.pool, sizeof value + 512, &options);
    assert_int_equal(batch_builder_add(&builder, 1000, SPAN_LITERAL("k"), span_of(value, sizeof value), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    size_t most = 0;
    time_ns begin = io_now(rig.io);
    for (int i = 0; i < BATCHES; i++) {
        send_silently(&client, slab);
        assert_false(client.closed);
        size_t now = node_rig_memory(&rig);
        if (now > most) most = now;
    }
    assert_true(most < MIB(40));
    assert_true(io_now(rig.io) - begin > NS_PER_S); /* it was held up */
    slab_drop(slab);
    timing = sim_timing_default();
    sim_host_set_timing(rig.hosts[RIG_NODE], &timing);
    log_offset base;
    assert_int_equal(rig_produce(&client, "t", 0, 1, 10, &base), KAFKA_NONE);
    assert_int_equal(base, BATCHES + 1);
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

static int16_t commit(struct rig_client *client, log_offset offset) {
    struct find_coordinator_request find;
    struct offset_commit_request request;
    struct offset_commit_request_offset_commit_request_topic topic;
    struct offset_commit_request_offset_commit_request_partition partition;
    find_coordinator_request_init(&find);
    find.key = SPAN_LITERAL("g");
    assert_non_null(rig_ask(client, API_FIND_COORDINATOR, 2, &find)); /* makes the internal topic */
    offset_commit_request_init(&request);
    offset_commit_request_offset_commit_request_topic_init(&topic);
    offset_commit_request_offset_commit_request_partition_init(&partition);
    request.group_id = SPAN_LITERAL("g");
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = SPAN_LITERAL("t");
    topic.partitions = &partition;
    topic.partitions_count = 1;
    partition.committed_offset = offset;
    const struct offset_commit_response *answer = rig_ask(client, API_OFFSET_COMMIT, 5, &request);
    assert_non_null(answer);
    return answer->topics[0].partitions[0].error_code;
}

static log_offset committed(struct rig_client *client) {
    struct offset_fetch_request request;
    struct offset_fetch_request_offset_fetch_request_topic topic;
    int32_t index = 0;
    offset_fetch_request_init(&request);
    offset_fetch_request_offset_fetch_request_topic_init(&topic);
    request.group_id = SPAN_LITERAL("g");
    request.topics = &topic;
    request.topics_count = 1;
    topic.name = SPAN_LITERAL("t");
    topic.partition_indexes = &index;
    topic.partition_indexes_count = 1;
    const struct offset_fetch_response *answer = rig_ask(client, API_OFFSET_FETCH, 5, &request);
    assert_non_null(answer);
    return answer->error_code ? -2 : answer->topics[0].partitions[0].committed_offset;
}

/* A write to one partition's log and one to that of the groups find no space. Both are refused once or for some seconds; then
 * they go on in the same life of the node, from where they were: no record and no committed offset is lost or doubled. */
TEST(node_logs_that_found_no_space_go_on) {
    struct node_rig rig;
    struct rig_client client;
    log_offset base;
    int tries;
    node_rig_open(&rig, 90, 2, NULL);
    struct sim_disk *disk = sim_host_disk(rig.hosts[RIG_NODE]);
    rig_connect(&client, &rig, RIG_PORT);
    rig_topic(&client, "t", PARTITIONS);
    for (tries = 0; commit(&client, 5) != KAFKA_NONE; tries++) {
        assert_true(tries < 100);
        node_rig_for(&rig, 50);
    }
    for (partition_index p = 0; p < PARTITIONS; p++) assert_int_equal(rig_produce(&client, "t", p, 3, 200, NULL), KAFKA_NONE);
    for (log_offset round = 1; round <= 3; round++) {
        sim_disk_fail(disk, &(struct sim_disk_fault){.operations = SIM_DISK_WRITE, .path_part = "t-1/00000000000000000000.log", .times = 1, .error = -ENOSPC});
        sim_disk_fail(disk, &(struct sim_disk_fault){.operations = SIM_DISK_WRITE, .path_part = "/__consumer_offsets-", .times = 1, .error = -ENOSPC});
        assert_int_equal(rig_produce(&client, "t", SICK, 3, 200, NULL), KAFKA_KAFKA_STORAGE_ERROR);
        assert_int_not_equal(commit(&client, 5 + round), KAFKA_NONE);
        for (tries = 0; rig_produce(&client, "t", SICK, 3, 200, &base) != KAFKA_NONE; tries++) {
            assert_true(tries < 100);
            node_rig_for(&rig, 50);
        }
        assert_int_equal(base, 3 * round);
        assert_int_equal(readable(&client, SICK, KAFKA_NONE), 3 * round + 3);
        for (tries = 0; committed(&client) != 5 + round - 1; tries++) { /* what was refused is not there */
            assert_true(tries < 100);
            node_rig_for(&rig, 50);
        }
        assert_int_equal(commit(&client, 5 + round), KAFKA_NONE);
        assert_int_equal(committed(&client), 5 + round);
    }
    assert_false(rig.stopped);
    rig_disconnect(&client);
    node_rig_stop(&rig);
    assert_true(node_rig_start(&rig) && node_rig_run(&rig));
    rig_connect(&client, &rig, RIG_PORT);
    assert_int_equal(readable(&client, SICK, KAFKA_NONE), 12);
    for (tries = 0; committed(&client) != 8; tries++) {
        assert_true(tries < 100);
        node_rig_for(&rig, 50);
    }
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* The controller is told in which of two directories partitions are while the node stops, at any moment of that: all memory
 * comes back, which the stop asserts. What was told is known after the next start: with a directory that has failed, its
 * partitions have no leader any more, and the others have theirs. */
TEST(node_tells_where_its_replicas_are) {
    for (time_ms after = 0; after <= 40; after += 4) {
        struct node_rig rig;
        struct rig_client client;
        node_rig_open(&rig, 100 + (uint64_t)after, 3, "log.dirs=/data,/more\nbroker.heartbeat.interval.ms=200\n");
        rig_connect(&client, &rig, RIG_PORT);
        rig_topic(&client, "t", PARTITIONS * 2);
        for (partition_index p = 0; p < PARTITIONS * 2; p++) assert_int_equal(rig_produce(&client, "t", p, 1, 200, NULL), KAFKA_NONE);
        node_rig_for(&rig, after);
        rig_disconnect(&client);
        node_rig_stop(&rig);
        assert_true(rig.clean);
        assert_true(node_rig_start(&rig) && node_rig_run(&rig));
        rig_connect(&client, &rig, RIG_PORT);
        for (partition_index p = 0; p < PARTITIONS * 2; p++) assert_int_equal(readable(&client, p, KAFKA_NONE), 1);
        node_rig_for(&rig, 2000);
        struct log_dirs *dirs = server_node(rig.server)->dirs;
        assert_int_equal(log_dirs_count(dirs), 2);
        uint32_t there = log_dir_partitions(log_dirs_at(dirs, 1)), without = 0;
        assert_true(there > 0 && there < PARTITIONS * 2);
        log_dir_fail(log_dirs_at(dirs, 1));
        node_rig_for(&rig, 2000);
        struct metadata_request metadata;
        struct metadata_request_metadata_request_topic asked;
        metadata_request_init(&metadata);
        metadata_request_metadata_request_topic_init(&asked);
        asked.name = SPAN_LITERAL("t");
        metadata.topics = &asked;
        metadata.topics_count = 1;
        const struct metadata_response *told = rig_ask(&client, API_METADATA, 9, &metadata);
        assert_int_equal(told->topics[0].partitions_count, PARTITIONS * 2);
        for (int32_t i = 0; i < PARTITIONS * 2; i++) {
            const struct metadata_response_metadata_response_partition *p = &told->topics[0].partitions[i];
            bool is_gone = p->offline_replicas_count == 1;
            without += is_gone;
            assert_int_equal(p->leader_id, is_gone ? -1 : 1);
            assert_int_equal(rig_produce(&client, "t", p->partition_index, 1, 200, NULL), is_gone ? KAFKA_KAFKA_STORAGE_ERROR : KAFKA_NONE);
        }
        assert_int_equal(without, there);
        rig_disconnect(&client);
        node_rig_kill(&rig);
        node_rig_close(&rig);
    }
}
