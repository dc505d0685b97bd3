#include "server/node_rig.h"
#include "base/bytes.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <stdio.h>
#include <string.h>

/* ---- dispatch */

static void ask_versions(struct rig_client *client, int16_t version, int32_t correlation) {
    uint8_t frame[14] = {0, 0, 0, 10, 0, 18};
    store_be16(frame + 6, (uint16_t)version);
    store_be32(frame + 8, (uint32_t)correlation);
    store_be16(frame + 12, 0xffff);
    rig_send(client, frame, sizeof frame);
}

/* Every key from -1 to 127, in every version around what the table has: what is served is answered (or, as its body is
 * empty here, may end the connection), what is not ends the connection at once; ApiVersions of any version is answered. The
 * table's rows are in order and none promises more than the message has. */
TEST(dispatch_serves_its_table_and_nothing_else) {
    struct node_rig rig;
    struct rig_client client, other;
    node_rig_open(&rig, 1, 2, NULL);
    rig_connect(&other, &rig, RIG_PORT);
    for (int listener = 0; listener < 2; listener++) {
        uint32_t count;
        uint16_t port = listener ? RIG_CONTROLLER_PORT : RIG_PORT;
        rig_connect(&client, &rig, port);
        struct api_versions_request request;
        api_versions_request_init(&request);
        request.client_software_name = request.client_software_version = SPAN_LITERAL("t");
        const struct api_versions_response *listed = rig_ask(&client, API_API_VERSIONS, 4, &request);
        assert_non_null(listed);
        rig_disconnect(&client);
        count = (uint32_t)listed->api_keys_count;
        for (uint32_t i = 1; i < count; i++) assert_true(listed->api_keys[i - 1].api_key < listed->api_keys[i].api_key);
        for (int16_t key = -1; key < 128; key++) {
            const struct api_versions_response_api_version *row = NULL;
            for (uint32_t i = 0; i < count; i++)
                if (listed->api_keys[i].api_key == key) row = &listed->api_keys[i];
            if (row) {
                const struct wire_api *api = wire_api(key);
                assert_true(row->max_version <= api->version_max && (listener ? api->on_controller : api->on_broker));
            }
            for (int16_t version = -1; version < 20; version++) {
                bool served = row && version >= row->min_version && version <= row->max_version;
                if (served || key == API_API_VERSIONS) continue;
                uint8_t frame[14] = {0, 0, 0, 10};
                store_be16(frame + 4, (uint16_t)key);
                store_be16(frame + 6, (uint16_t)version);
                store_be16(frame + 12, 0xffff);
                if (row && version >= 0) { /* the edges are enough */
                    if (version != row->max_version + 1 && version != row->min_version - 1) continue;
                } else if (version > 0) continue;
                rig_connect(&client, &rig, port);
                rig_send(&client, frame, sizeof frame);
                assert_null(rig_answer(&client, 1000).data);
                assert_true(client.closed);
                rig_disconnect(&client);
            }
        }
    }
    ask_versions(&other, 0, 5);
    assert_true(rig_answer(&other, 1000).size > 10);
    rig_disconnect(&other);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* ApiVersions of a version that is not known is answered in version 0 with error 35 and the range of this one API; of the
 * highest 16-bit numbers, too. The connection goes on. */
TEST(dispatch_answers_unknown_api_versions) {
    struct node_rig rig;
    struct rig_client client;
    node_rig_open(&rig, 2, 1, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    static const int16_t unknown[] = {6, 7, 99, INT16_MAX, -1, INT16_MIN};
    for (size_t i = 0; i < countof(unknown); i++) {
        ask_versions(&client, unknown[i], (int32_t)i + 100);
        struct span answer = rig_answer(&client, 1000);
        assert_int_equal(answer.size, 4 + 2 + 4 + 6);
        assert_int_equal(load_be32(answer.data), i + 100);
        assert_int_equal(load_be16(answer.data + 4), KAFKA_UNSUPPORTED_VERSION);
        assert_int_equal(load_be32(answer.data + 6), 1);
        assert_int_equal(load_be16(answer.data + 10), API_API_VERSIONS);
        assert_int_equal(load_be16(answer.data + 14), 5);
    }
    ask_versions(&client, 0, 1);
    assert_int_equal(load_be16(rig_answer(&client, 1000).data + 4), KAFKA_NONE);
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* Requests that come in one piece are answered in their order, though a Produce that waits for the disk and a Fetch that
 * waits for data stand among others that could be answered at once. */
TEST(dispatch_answers_in_order) {
    struct node_rig rig;
    struct rig_client client;
    node_rig_open(&rig, 3, 2, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    rig_topic(&client, "t", 4);
    struct fetch_request fetch;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition partition;
    fetch_request_init(&fetch);
    fetch_request_fetch_topic_init(&topic);
    fetch_request_fetch_partition_init(&partition);
    fetch.max_wait_ms = 200;
    fetch.min_bytes = 1;
    fetch.session_epoch = -1;
    fetch.topics = &topic;
    fetch.topics_count = 1;
    topic.topic = SPAN_LITERAL("t");
    topic.partitions = &partition;
    topic.partitions_count = 1;
    partition.partition_max_bytes = 1000;
    struct api_versions_request versions;
    api_versions_request_init(&versions);
    versions.client_software_name = versions.client_software_version = SPAN_LITERAL("t");
    int32_t first = client.correlation + 1;
    for (int i = 0; i < 5; i++) {
        rig_send_request(&client, API_FETCH, 12, &fetch);
        rig_send_request(&client, API_API_VERSIONS, 3, &versions);
    }
    for (int32_t i = 0; i < 10; i++) {
        struct span answer = rig_answer(&client, 5000);
        assert_non_null(answer.data);
        assert_int_equal(load_be32(answer.data), first + i);
    }
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* ---- what is split over shards */

struct parts {
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition partitions[16];
};

static void fetch_of(struct parts *parts, const char *name, uint32_t count, log_offset from, int32_t wait_ms, int32_t bytes_min) {
    memset(parts, 0, sizeof *parts);
    fetch_request_init(&parts->request);
    fetch_request_fetch_topic_init(&parts->topic);
    parts->request.max_wait_ms = wait_ms;
    parts->request.min_bytes = bytes_min;
    parts->request.max_bytes = 1 << 20;
    parts->request.session_epoch = -1;
    parts->request.topics = &parts->topic;
    parts->request.topics_count = 1;
    parts->topic.topic = span_text(name);
    parts->topic.partitions = parts->partitions;
    parts->topic.partitions_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        fetch_request_fetch_partition_init(&parts->partitions[i]);
        parts->partitions[i].partition = (int32_t)i;
        parts->partitions[i].fetch_offset = from;
        parts->partitions[i].partition_max_bytes = 1 << 16;
    }
}

/* A Fetch over partitions of all shards: each partition is answered, once, with what it has; while it waits for more than
 * there is, its shares go out again and again as records come, until there is enough. */
TEST(fanout_of_a_fetch) {
    for (uint32_t shards = 1; shards <= 4; shards++) {
        struct node_rig rig;
        struct rig_client reader, writer;
        struct parts parts;
        node_rig_open(&rig, 10 + shards, shards, NULL);
        rig_connect(&reader, &rig, RIG_PORT);
        rig_connect(&writer, &rig, RIG_PORT);
        rig_topic(&writer, "t", 16);
        fetch_of(&parts, "t", 16, 0, 20000, 4200);
        rig_send_request(&reader, API_FETCH, 12, &parts.request);
        for (partition_index i = 0; i < 16; i++) {
            assert_null(rig_answer(&reader, 30).data);
            assert_int_equal(rig_produce(&writer, "t", i, 1, 200, NULL), KAFKA_NONE);
        }
        struct span answer = rig_answer(&reader, 15000);
        assert_non_null(answer.data);
        const struct fetch_response *out = rig_decode(&reader, API_FETCH, 12, answer, reader.correlation);
        uint32_t seen = 0, bytes = 0;
        assert_int_equal(out->responses_count, 1);
        assert_int_equal(out->responses[0].partitions_count, 16);
        for (int32_t i = 0; i < 16; i++) {
            const struct fetch_response_partition_data *p = &out->responses[0].partitions[i];
            assert_int_equal(p->error_code, KAFKA_NONE);
            assert_false(seen & 1u << p->partition_index);
            seen |= 1u << p->partition_index;
            bytes += (uint32_t)p->records.bytes.size;
        }
        assert_int_equal(seen, 0xffff);
        assert_true(bytes >= 4200);
        rig_disconnect(&reader);
        rig_disconnect(&writer);
        node_rig_stop(&rig); /* and nothing is left of it */
        node_rig_close(&rig);
    }
}

/* A Fetch whose client goes away, while it waits, while it reads, or before its answer is sent: the slabs and file ranges
 * that were read for it are let go of, and others are served. That nothing is left is asserted when the node stops. */
TEST(fetch_of_a_client_that_is_gone) {
    struct node_rig rig;
    struct rig_client writer;
    node_rig_open(&rig, 20, 2, "log.segment.bytes=1048576\n");
    rig_connect(&writer, &rig, RIG_PORT);
    rig_topic(&writer, "t", 16);
    for (partition_index i = 0; i < 16; i++)
        for (int j = 0; j < 4; j++) assert_int_equal(rig_produce(&writer, "t", i, 3, 4000, NULL), KAFKA_NONE);
    for (int round = 0; round < 60; round++) {
        struct rig_client reader;
        struct parts parts;
        rig_connect(&reader, &rig, RIG_PORT);
        fetch_of(&parts, "t", 16, round % 3 == 0 ? 12 : 0, 300, round % 3 == 0 ? 1 : 1 << 19);
        reader.deaf = true; /* what is answered stays unsent */
        rig_send_request(&reader, API_FETCH, 12, &parts.request);
        node_rig_for(&rig, (time_ms)(round % 7));
        rig_disconnect(&reader);
        if (round % 3 == 0) assert_int_equal(rig_produce(&writer, "t", round % 16, 1, 100, NULL), KAFKA_NONE);
    }
    struct parts parts;
    fetch_of(&parts, "t", 16, 0, 300, 1);
    const struct fetch_response *out = rig_ask(&writer, API_FETCH, 12, &parts.request);
    assert_non_null(out);
    assert_true(out->responses[0].partitions[0].records.bytes.size > 0);
    rig_disconnect(&writer);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* The node stops while a Fetch waits and a Produce is under way: they are answered or their connections end, all memory
 * comes back, and the node starts again from a clean mark with everything there. */
TEST(node_stops_with_requests_under_way) {
    struct node_rig rig;
    struct rig_client reader, writer;
    struct parts parts;
    log_offset base;
    node_rig_open(&rig, 30, 3, NULL);
    rig_connect(&reader, &rig, RIG_PORT);
    rig_connect(&writer, &rig, RIG_PORT);
    rig_topic(&writer, "t", 8);
    assert_int_equal(rig_produce(&writer, "t", 3, 5, 100, &base), KAFKA_NONE);
    fetch_of(&parts, "t", 8, 5, 30000, 1);
    rig_send_request(&reader, API_FETCH, 12, &parts.request);
    node_rig_for(&rig, 20);
    time_ns begin = io_now(rig.io);
    node_rig_stop(&rig);
    assert_true(rig.clean);
    assert_true(io_now(rig.io) - begin < 2 * NS_PER_S);
    rig_disconnect(&reader);
    rig_disconnect(&writer);
    assert_true(node_rig_start(&rig) && node_rig_run(&rig));
    rig_connect(&writer, &rig, RIG_PORT);
    assert_int_equal(rig_produce(&writer, "t", 3, 1, 100, &base), KAFKA_NONE);
    assert_int_equal(base, 5);
    rig_disconnect(&writer);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* ---- registration */

static int16_t heartbeat_error(struct node_rig *rig) {
    struct rig_client client;
    struct broker_heartbeat_request request;
    rig_connect(&client, rig, RIG_CONTROLLER_PORT);
    broker_heartbeat_request_init(&request);
    request.broker_id = 1;
    request.broker_epoch = 1 << 20;
    const struct broker_heartbeat_response *answer = rig_ask(&client, API_BROKER_HEARTBEAT, 1, &request);
    assert_non_null(answer);
    int16_t error = answer->error_code;
    rig_disconnect(&client);
    return error;
}

/* A node that was killed registers again at once: its former process' session (9 s) is not waited for, since its
 * directories are the same. What comes over the network with its id does not take its place. */
TEST(register_again_after_a_kill) {
    struct node_rig rig;
    node_rig_open(&rig, 40, 1, NULL);
    for (int life = 0; life < 4; life++) {
        time_ns begin = io_now(rig.io);
        node_rig_kill(&rig);
        assert_true(node_rig_start(&rig) && node_rig_run(&rig));
        assert_true(io_now(rig.io) - begin < 2 * NS_PER_S);
        assert_int_equal(heartbeat_error(&rig), KAFKA_STALE_BROKER_EPOCH);
    }
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* ---- rot */

/* A bit of a segment turns while the node is down. Wherever in the log it is: a reader gets every batch before it, then
 * the error, and never the damaged one; another partition is served in whole. */
TEST(fetch_never_gives_damage) {
    struct node_rig rig;
    struct rig_client client;
    struct parts parts;
    node_rig_open(&rig, 50, 2, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    rig_topic(&client, "t", 2);
    for (int i = 0; i < 10; i++)
        for (partition_index p = 0; p < 2; p++) assert_int_equal(rig_produce(&client, "t", p, 1, 2000, NULL), KAFKA_NONE);
    rig_disconnect(&client);
    node_rig_stop(&rig);
    assert_true(rig.clean);
    static const char segment[] = "/data/t-0/00000000000000000000.log";
    static uint8_t bytes[1 << 16];
    struct io_files files = sim_host_files(rig.hosts[RIG_NODE]);
    struct io_file *file;
    assert_int_equal(files.vtable->open(files.self, &file, segment, IO_READ), 0);
    int64_t size = files.vtable->read(files.self, file, bytes, sizeof bytes, 0);
    io_file_drop(file);
    struct span rest_of = span_of(bytes, (size_t)size);
    struct batch seventh;
    for (int i = 0; i < 7; i++) assert_int_equal(batch_next(&rest_of, &seventh), ERR_NONE);
    uint64_t at = (uint64_t)(seventh.bytes - bytes) + seventh.size - 50; /* in the value of its record */
    assert_int_equal(sim_disk_rot(sim_host_disk(rig.hosts[RIG_NODE]), segment, at, 1), 0);
    assert_true(node_rig_start(&rig) && node_rig_run(&rig));
    rig_connect(&client, &rig, RIG_PORT);
    log_offset next = 0;
    int16_t error = 0;
    for (int i = 0; i < 20 && !error; i++) {
        fetch_of(&parts, "t", 2, next, 100, 1);
        parts.partitions[1].fetch_offset = 0;
        const struct fetch_response *out = rig_ask(&client, API_FETCH, 12, &parts.request);
        assert_non_null(out);
        for (int32_t p = 0; p < 2; p++) {
            const struct fetch_response_partition_data *data = &out->responses[0].partitions[p];
            struct span rest = data->records.bytes;
            struct batch one;
            if (data->partition_index == 1) {
                assert_int_equal(data->error_code, KAFKA_NONE);
                assert_true(rest.size > 9 * 2000);
                continue;
            }
            error = data->error_code;
            while (!batch_next(&rest, &one)) {
                assert_true(batch_crc_is_good(&one));
                assert_int_equal(one.base_offset, next);
                next = batch_last_offset(&one) + 1;
            }
        }
    }
    assert_int_equal(error, KAFKA_CORRUPT_MESSAGE);
    assert_int_equal(next, 6);
    assert_non_null(strstr(rig.traces, "partition t-0: the batch at offset 6 is damaged on disk"));
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}
