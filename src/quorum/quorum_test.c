/* The host of raft over real logs on simulated disks: one node through every kind of end, several among each other. */
#include "quorum/quorum_rig.h"
#include "base/hash.h"
#include "quorum/host.h"
#include "sim/sim_io.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

static struct rig rig;

/* A formatted directory, nobody else: the node leads within milliseconds and a handful of flushes, hears of what format
 * left, appends, is given what it appended, stops in order, and finds all of it again. */
TEST(lone_node_leads_appends_and_comes_back) {
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        uint32_t value;
        log_offset last;
        rig_open(&rig, 1, 1, 1, dynamic);
        rig_start(&rig, 0);
        time_ns began = sim_now(rig.sim);
        struct rig_node *node = rig_await_leader(&rig);
        assert_true(sim_now(rig.sim) - began < 200 * NS_PER_MS);
        assert_int_equal(node->bootstrap_records, 2);
        assert_int_equal(quorum_syncs(node->quorum), 3); /* quorum-state, its copy, the directory */
        assert_int_equal(log_store_metrics(node->store)->syncs, 1);
        assert_int_equal(quorum_high_watermark(node->quorum), dynamic ? 3 : 1); /* LeaderChange, and version and voters */
        for (uint32_t i = 0; i < 50; i++) {
            assert_int_equal(rig_append(node, 1 + i % 5, &value, &last), ERR_NONE);
            rig_await_commit(&rig, node, last);
        }
        uint32_t count = node->state.count;
        assert_int_equal(count, 150);
        rig_stop(&rig, 0);

        rig_start(&rig, 0);
        node = rig_await_leader(&rig);
        assert_int_equal(quorum_epoch(node->quorum), 2);
        assert_int_equal(node->state.count, count);
        for (uint32_t i = 0; i < count; i++) assert_int_equal(node->state.values[i], i + 1);
        rig_stop(&rig, 0);
        rig_close(&rig);
    }
}

/* ---- A real directory of Kafka's */

static void copy_in(const char *name, bool must) {
    static char bytes[1 << 20];
    char from[512], to[512];
    snprintf(from, sizeof(from), "%s/disk/files/%s", test_vectors_folder(), name);
    snprintf(to, sizeof(to), "/m/%s", name);
    FILE *file = fopen(from, "rb");
    if (!file && !must) return;
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    struct io_files files = sim_host_files(rig.nodes[0].host);
    struct io_file *made;
    assert_int_equal(files.vtable->open(files.self, &made, to, IO_WRITE | IO_CREATE | IO_TRUNCATE), 0);
    assert_true(files.vtable->write(files.self, made, bytes, size, 0) >= 0);
    assert_int_equal(files.vtable->sync_file(files.self, made), 0);
    io_file_drop(made);
}

static struct { uint32_t count; uint32_t sum; uint32_t snapshot_count; log_offset last; } given;
static bool given_snapshot;

static void golden_begin(struct quorum_listener *up, struct raft_snapshot_id id, bool bootstrap) {
    (void)up;
    if (!bootstrap) assert_true(id.offset == 51 && id.epoch == 1);
    given_snapshot = !bootstrap;
}
static void golden_records(struct quorum_listener *up, const struct quorum_batch *batch) {
    (void)up;
    if (given_snapshot) given.snapshot_count += batch->count;
}
static void golden_commit(struct quorum_listener *up, const struct quorum_batch *batch) {
    (void)up;
    given.last = batch->last;
    if (batch->epoch > 1) return;
    for (uint32_t i = 0; i < batch->count; i++, given.count++) given.sum = crc32c(given.sum, batch->values[i].data, batch->values[i].size);
}

static bool golden_is_done(struct rig *of, void *context) {
    (void)of;
    (void)context;
    return given.last >= 84 && quorum_is_leader(rig.nodes[0].quorum);
}

/* A node's metadata directory as Kafka 4.4 left it: taken over as it is. The snapshot is handed up, then the records of
 * the log behind it, byte for byte, and the node goes on as leader of the next epoch. */
TEST(kafkas_directory_is_taken_over) {
    static uint8_t log[1 << 16];
    char path[512];
    rig_open(&rig, 1, 1, 1, true);
    struct io_files files = sim_host_files(rig.nodes[0].host);
    assert_int_equal(files.vtable->make_directory(files.self, "/m"), 0);
    assert_int_equal(files.vtable->make_directory(files.self, "/m/__cluster_metadata-0"), 0);
    assert_int_equal(files.vtable->sync_directory(files.self, "/"), 0);
    assert_int_equal(files.vtable->sync_directory(files.self, "/m"), 0);
    copy_in("meta.properties", true);
    static const char *const names[] = {"00000000000000000000-0000000000.checkpoint", "00000000000000000000.log", "00000000000000000051-0000000001.checkpoint",
                                        "00000000000000000084.snapshot", "leader-epoch-checkpoint", "partition.metadata", "quorum-state"};
    for (size_t i = 0; i < countof(names); i++) {
        snprintf(path, sizeof(path), "__cluster_metadata-0/%s", names[i]);
        copy_in(path, true);
    }
    snprintf(path, sizeof(path), "%s/disk/files/__cluster_metadata-0/00000000000000000000.log", test_vectors_folder());
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct span rest = span_of(log, fread(log, 1, sizeof(log), file));
    fclose(file);
    uint32_t count = 0, sum = 0;
    log_offset end = 0;
    for (struct batch batch; !batch_next(&rest, &batch); end = batch_next_offset(&batch)) {
        struct record_cursor cursor;
        struct record record;
        if (batch_is_control(&batch) || batch.base_offset < 51) continue;
        record_cursor_init(&cursor, &batch, span_of(batch.bytes + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES));
        for (; !record_next(&cursor, &record); count++) sum = crc32c(sum, record.value.data, record.value.size);
    }
    struct log_dir_meta meta;
    assert_int_equal(log_dir_meta_read(files, "/m", &meta), ERR_NONE);
    assert_int_equal(meta.node, 1);

    memset(&given, 0, sizeof(given));
    rig.up = (struct quorum_listener){.on_snapshot_begin = golden_begin, .on_snapshot_records = golden_records, .on_commit = golden_commit};
    rig.cluster_id = meta.cluster_id;
    rig_start(&rig, 0);
    rig_until(&rig, golden_is_done, NULL, 10000);
    assert_int_equal(given.snapshot_count, 38);
    assert_int_equal(given.count, count);
    assert_int_equal(given.sum, sum);
    assert_int_equal(quorum_epoch(rig.nodes[0].quorum), 2);
    assert_int_equal(quorum_kraft_version(rig.nodes[0].quorum), 1);
    assert_true(quorum_high_watermark(rig.nodes[0].quorum) > end);
    rig_close(&rig);
}

/* ---- Every way to end */

static void small_snapshots(void) {
    rig.options.snapshot_bytes = 400;
    rig.options.retention_bytes = 3000;
    rig.options.read_bytes = 512;
    rig.options.fetch_bytes_max = 700;
    rig.options.fetch_snapshot_bytes_max = 300;
}

/* No disk operation takes seconds: the same number of operations means the same work. */
static void steady_disk(void) {
    struct sim_timing timing = sim_timing_default();
    timing.stall_one_in = 0;
    sim_host_set_timing(rig.nodes[0].host, &timing);
}

/* Starts, appends a dozen batches with snapshots in between; stops early when the node has failed. */
static void work(struct rig_node *node, bool *started) {
    char why[512];
    *started = rig_try_start(&rig, 0, why, sizeof(why));
    for (uint32_t i = 0, idle = 0; *started && i < 12 && idle < 200 && !node->failed;) {
        log_offset last;
        bool ready = rig_leader(&rig) == node && node->next == quorum_end(node->quorum);
        if (ready && !rig_append(node, 1 + i % 4, NULL, &last)) i++, idle = 0;
        else idle++;
        rig_run(&rig, 5);
    }
    if (*started && !node->failed) rig_run(&rig, 50);
}

static void prove_nothing_lost(struct rig_node *node) {
    rig_start(&rig, 0);
    assert_ptr_equal(rig_await_leader(&rig), node);
    if (node->next < rig.committed) fail_msg("M4: committed up to %lld, given %lld after the restart", (long long)rig.committed, (long long)node->next);
    uint32_t value;
    log_offset last;
    assert_int_equal(rig_append(node, 1, &value, &last), ERR_NONE);
    rig_await_commit(&rig, node, last);
    /* The state is what all committed values make, in order, wherever they came from. */
    uint32_t expected = 0;
    for (log_offset at = 0; at < rig.committed; at++) {
        if (!rig.log[at].known || !rig.log[at].value) continue;
        assert_true(expected < node->state.count);
        assert_int_equal(node->state.values[expected++], rig.log[at].value);
    }
    assert_int_equal(expected, node->state.count);
}

/* Power goes at the n-th write, flush or rename, for each n; the disk keeps what it promised, or more, as the seed says.
 * Everything that was handed up as committed is there again, and the node leads on in a later epoch. */
TEST(lone_node_survives_power_cuts_everywhere) {
    uint64_t cuts = 0;
    for (uint64_t operations = 0;; operations++) {
        rig_open(&rig, 100 + operations, 1, 1, operations % 2);
        small_snapshots();
        struct rig_node *node = &rig.nodes[0];
        bool started;
        steady_disk();
        rig_format(&rig, 0);
        sim_disk_cut_after(sim_host_disk(node->host), operations);
        work(node, &started);
        bool cut = sim_disk_is_cut(sim_host_disk(node->host));
        cuts += cut;
        rig_power(&rig, 0, operations % 3 == 0 ? SIM_CRASH_LOSE_ALL : SIM_CRASH_RANDOM);
        prove_nothing_lost(node);
        rig_close(&rig);
        if (!cut) break;
        assert_true(operations < 2000);
    }
    assert_true(cuts > 60);
    print_message("power went at each of %llu operations\n", (unsigned long long)cuts);
}

/* The same for kill -9, at moments of the clock: what was written stays. */
TEST(lone_node_survives_kills) {
    for (uint64_t seed = 1; seed <= 40; seed++) {
        rig_open(&rig, seed, 1, 1, seed % 2);
        small_snapshots();
        struct rig_node *node = &rig.nodes[0];
        for (int life = 0; life < 4; life++) {
            rig_start(&rig, 0);
            for (uint64_t i = 0; i < 10; i++) {
                log_offset last;
                if (rig_leader(&rig) == node) (void)!rig_append(node, 3, NULL, &last);
                rig_run(&rig, (int64_t)((seed * 7 + i) % 9));
            }
            rig_kill(&rig, 0);
        }
        prove_nothing_lost(node);
        rig_close(&rig);
    }
}

/* The n-th operation of a kind fails, for each n: the node goes on, says that it has failed, or does not start; after
 * a restart with a healed disk nothing that was committed is missing. */
TEST(lone_node_survives_io_errors_everywhere) {
    static const unsigned kinds[] = {SIM_DISK_OPEN | SIM_DISK_STAT, SIM_DISK_READ, SIM_DISK_WRITE | SIM_DISK_ALLOCATE, SIM_DISK_SYNC, SIM_DISK_NAMES | SIM_DISK_TRUNCATE};
    uint32_t failed = 0, refused = 0, went_on = 0;
    for (size_t kind = 0; kind < countof(kinds); kind++) {
        for (uint64_t skip = 0;; skip++) {
            rig_open(&rig, 1000 * kind + skip + 1, 1, 1, skip % 2);
            small_snapshots();
            struct rig_node *node = &rig.nodes[0];
            steady_disk();
            rig_format(&rig, 0);
            uint64_t before = sim_count(rig.sim)->faults;
            struct sim_disk_fault fault = {.operations = kinds[kind], .path_part = "__cluster_metadata-0", .skip = skip, .times = 1, .error = -5};
            sim_disk_fail(sim_host_disk(node->host), &fault);
            bool started;
            work(node, &started);
            bool reached = sim_count(rig.sim)->faults > before;
            sim_disk_heal(sim_host_disk(node->host));
            if (node->failed) failed++;
            else if (!started) refused++;
            else went_on++;
            rig_kill(&rig, 0);
            prove_nothing_lost(node);
            rig_close(&rig);
            if (!reached) break;
            assert_true(skip < 1000);
        }
    }
    print_message("one error: %u failed, %u did not start, %u went on\n", failed, refused, went_on);
    assert_true(failed > 0 && went_on > 0);
}

/* The newest snapshot rots at rest: it is put aside, and the older one and the log say the same. */
TEST(damaged_snapshot_is_put_aside) {
    rig_open(&rig, 1, 1, 1, true);
    rig.options.snapshot_bytes = 400;
    rig_start(&rig, 0);
    struct rig_node *node = rig_await_leader(&rig);
    for (int i = 0; i < 20; i++) {
        log_offset last;
        assert_int_equal(rig_append(node, 4, NULL, &last), ERR_NONE);
        rig_await_commit(&rig, node, last);
        rig_run(&rig, 20);
    }
    assert_true(node->snapshots_taken >= 2);
    struct raft_snapshot_id newest = node->quorum->snapshots[node->quorum->snapshots_count - 1].id;
    char path[QUORUM_PATH_MAX];
    snapshot_path("/m/__cluster_metadata-0", newest, "", path);
    rig_stop(&rig, 0);
    assert_int_equal(sim_disk_rot(sim_host_disk(node->host), path, 200, 0x04), 0);
    prove_nothing_lost(node);
    assert_int_equal(node->snapshots_loaded, 1);
    struct io_stat stat;
    struct io_files files = sim_host_files(node->host);
    assert_int_equal(files.vtable->stat(files.self, path, &stat), -2);
    rig_close(&rig);
}

/* ---- Several nodes */

static void append_some(struct rig_node *leader, int batches) {
    for (int i = 0; i < batches; i++) {
        log_offset last;
        if (rig_append(leader, 4, NULL, &last)) return;
        rig_run(&rig, 2);
    }
}

/* Three voters and an observer over the wire: one leads, all are given the same; the leader is killed, another one
 * takes over within seconds, and the first comes back as its follower. */
TEST(three_nodes_agree_and_fail_over) {
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        rig_open(&rig, 7, 4, 3, dynamic);
        for (uint32_t i = 0; i < 4; i++) rig_start(&rig, i);
        struct rig_node *first = rig_await_leader(&rig);
        append_some(first, 20);
        rig_await_all(&rig, quorum_end(first->quorum) - 1);
        assert_int_equal(first->state.count, 80);
        rig_kill(&rig, first->number);
        time_ns killed = sim_now(rig.sim);
        struct rig_node *second = rig_await_leader(&rig);
        assert_ptr_not_equal(second, first);
        assert_true(sim_now(rig.sim) - killed < 10 * NS_PER_S);
        append_some(second, 5);
        rig_start(&rig, first->number);
        rig_await_all(&rig, quorum_end(second->quorum) - 1);
        for (uint32_t i = 0; i < 4; i++) assert_int_equal(rig.nodes[i].state.count, 100);
        assert_int_equal(quorum_leader(first->quorum), second->number + 1);
        rig_close(&rig);
    }
}

struct described { struct quorum_request request; struct arena arena; struct describe_quorum_response *response; };
static void described(struct quorum_request *request, void *response) { container_of(request, struct described, request)->response = response; }

/* DescribeQuorum: the leader tells how far each replica is; others are not the leader. */
TEST(quorum_describes_itself) {
    rig_open(&rig, 3, 4, 3, true);
    for (uint32_t i = 0; i < 4; i++) rig_start(&rig, i);
    struct rig_node *leader = rig_await_leader(&rig);
    append_some(leader, 3);
    rig_run(&rig, 3000);
    for (uint32_t i = 0; i < 4; i++) {
        struct describe_quorum_request_partition_data part;
        struct describe_quorum_request_topic_data topic = {.topic_name = SPAN_LITERAL("__cluster_metadata"), .partitions = &part, .partitions_count = 1};
        struct describe_quorum_request message = {.topics = &topic, .topics_count = 1};
        describe_quorum_request_partition_data_init(&part);
        struct described one = {.request = {.api = wire_api(API_DESCRIBE_QUORUM), .version = 2, .request = &message, .listener = SPAN_LITERAL("CONTROLLER"), .answer = described}};
        arena_init(&one.arena, sim_pool(rig.sim), 0);
        one.request.arena = &one.arena;
        quorum_request(rig.nodes[i].quorum, &one.request);
        const struct describe_quorum_response_partition_data *told = &one.response->topics[0].partitions[0];
        if (&rig.nodes[i] != leader) {
            assert_int_equal(told->error_code, KAFKA_NOT_LEADER_OR_FOLLOWER);
        } else {
            assert_int_equal(told->error_code, KAFKA_NONE);
            assert_int_equal(told->leader_id, i + 1);
            assert_int_equal(told->high_watermark, quorum_high_watermark(leader->quorum));
            assert_int_equal(told->current_voters_count, 3);
            assert_int_equal(told->observers_count, 1);
            for (int v = 0; v < 3; v++) {
                assert_int_equal(told->current_voters[v].log_end_offset, quorum_end(leader->quorum));
                assert_true(told->current_voters[v].last_caught_up_timestamp > 0);
            }
            assert_int_equal(told->observers[0].replica_id, 4);
            assert_int_equal(one.response->nodes_count, 3);
        }
        arena_destroy(&one.arena);
    }
    rig_close(&rig);
}

/* A node whose disk was lost comes back empty: it fetches the leader's snapshot in pieces, its log starts there, and it
 * goes on from it. */
TEST(empty_node_begins_with_a_snapshot) {
    rig_open(&rig, 5, 4, 3, true);
    small_snapshots();
    for (uint32_t i = 0; i < 3; i++) rig_start(&rig, i);
    struct rig_node *leader = rig_await_leader(&rig);
    append_some(leader, 60);
    rig_await_all(&rig, quorum_end(leader->quorum) - 1);
    rig_run(&rig, 130000); /* cleaning: the log starts at a snapshot */
    assert_true(leader->snapshots_taken > 3);
    assert_true(log_start(leader->quorum->log) > 0);
    rig_start(&rig, 3);
    append_some(leader, 3);
    rig_await_all(&rig, quorum_end(leader->quorum) - 1);
    struct rig_node *late = &rig.nodes[3];
    assert_int_equal(late->snapshots_loaded, 1);
    assert_int_equal(late->state.count, leader->state.count);
    assert_memory_equal(late->state.values, leader->state.values, late->state.count * sizeof(uint32_t));
    rig_close(&rig);
}

/* A leader that stops in order hands over: another one leads long before a time-out would have told. */
TEST(stopping_leader_hands_over) {
    rig_open(&rig, 9, 3, 3, false);
    for (uint32_t i = 0; i < 3; i++) rig_start(&rig, i);
    struct rig_node *first = rig_await_leader(&rig);
    append_some(first, 5);
    rig_await_all(&rig, quorum_end(first->quorum) - 1);
    time_ns began = sim_now(rig.sim);
    rig_stop(&rig, first->number);
    rig_await_leader(&rig);
    assert_true(sim_now(rig.sim) - began < 1500 * NS_PER_MS);
    rig_close(&rig);
}

/* Random trouble for three voters and an observer: kills, power cuts, cut wires, small snapshots and fetches. While it
 * lasts nothing that was committed anywhere is contradicted (the observer's checks); when it ends, all of them agree. */
TEST(nodes_agree_whatever_happens) {
    uint32_t epochs = 0, loaded = 0, committed = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random random;
        random_seed(&random, seed);
        rig_open(&rig, seed, 4, 3, seed % 2);
        small_snapshots();
        for (uint32_t i = 0; i < 4; i++) rig_start(&rig, i);
        for (int round = 0; round < 120; round++) {
            struct rig_node *leader = rig_leader(&rig);
            if (leader) append_some(leader, (int)random_below(&random, 4));
            uint32_t at = (uint32_t)random_below(&random, 4);
            struct rig_node *node = &rig.nodes[at];
            switch (random_below(&random, 8)) {
            case 0:
                if (node->process) rig_kill(&rig, at);
                break;
            case 1:
                if (node->process) rig_power(&rig, at, SIM_CRASH_RANDOM);
                break;
            case 2: sim_net_cut_host(rig.wires, at); break;
            case 3: sim_net_cut(rig.wires, at, (uint32_t)random_below(&random, 4)); break;
            case 4: sim_net_heal_all(rig.wires); break;
            default:
                if (!node->process) rig_start(&rig, at);
                break;
            }
            rig_run(&rig, (int64_t)random_below(&random, 600));
            for (uint32_t i = 0; i < 4; i++)
                if (rig.nodes[i].process && rig.nodes[i].failed) fail_msg("seed %llu: node %u failed: %s", (unsigned long long)seed, i + 1, rig.nodes[i].why);
        }
        sim_net_heal_all(rig.wires);
        for (uint32_t i = 0; i < 4; i++)
            if (!rig.nodes[i].process) rig_start(&rig, i);
        struct rig_node *leader = rig_await_leader(&rig);
        log_offset last;
        while (rig_append(leader, 1, NULL, &last)) {
            rig_run(&rig, 100);
            leader = rig_await_leader(&rig);
        }
        rig_await_all(&rig, last);
        epochs += (uint32_t)quorum_epoch(leader->quorum);
        committed += leader->state.count;
        for (uint32_t i = 0; i < 4; i++) loaded += rig.nodes[i].snapshots_loaded;
        for (uint32_t i = 1; i < 4; i++) {
            assert_int_equal(rig.nodes[i].state.count, rig.nodes[0].state.count);
            assert_memory_equal(rig.nodes[i].state.values, rig.nodes[0].state.values, rig.nodes[0].state.count * sizeof(uint32_t));
        }
        rig_close(&rig);
    }
    print_message("%u values committed over %u epochs, %u snapshots loaded\n", committed, epochs, loaded);
    assert_true(epochs > 60 && committed > 1000 && loaded > 10);
}
