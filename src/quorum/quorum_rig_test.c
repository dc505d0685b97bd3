#include "quorum/quorum_rig.h"
#include "base/bytes.h"
#include "quorum/host.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char CLUSTER[] = "Xy1-quorumtests-AAAAAA";

/* ---- The observer: what is committed is committed everywhere, for ever [M4], and one leads an epoch [M1]. */

static void note_committed(struct rig_node *node, log_offset offset, uint32_t value, leader_epoch epoch) {
    struct rig *rig = node->rig;
    assert_true(offset < rig->log_max);
    struct rig_entry *entry = &rig->log[offset];
    if (entry->known && (entry->value != value || entry->epoch != epoch)) {
        fail_msg("M4: node %u was given value %u of epoch %d at offset %lld, before it was %u of epoch %d", node->number + 1, value, epoch,
                 (long long)offset, entry->value, entry->epoch);
    }
    *entry = (struct rig_entry){value, epoch, true};
    if (offset >= rig->committed) rig->committed = offset + 1;
}

/* Whenever the pump waits for nothing, epoch and vote are on the platter: whatever was said since rests on them [M2]. */
static void check_vote_is_durable(struct rig_node *node) {
    const struct quorum *quorum = node->quorum;
    const struct raft *raft = &quorum->raft;
    bool running = quorum->state == QUORUM_RUNNING || quorum->state == QUORUM_STOPPING;
    if (!running || quorum->waiting || quorum->effect_at < quorum->effects.count) return;
    int32_t voted = raft->role == RAFT_LEADER || raft->role == RAFT_RESIGNED ? -1 : raft->voted.id;
    if (node->checked_epoch == raft->epoch && node->checked_voted == voted) return;
    char bytes[QUORUM_STATE_BYTES_MAX];
    struct raft_quorum_state state = {.leader_id = -1, .voted = {.id = -1}};
    int64_t size = sim_disk_peek_durable(sim_host_disk(node->host), "/m/__cluster_metadata-0/quorum-state", bytes, sizeof(bytes), 0);
    if (size >= 0) assert_int_equal(state_file_parse(span_of(bytes, (size_t)size), &state), ERR_NONE);
    if (state.epoch != raft->epoch || (voted >= 0 && state.voted.id != voted))
        fail_msg("M2: node %u is in epoch %d and voted for %d, and its disk says %d and %d", node->number + 1, raft->epoch, voted, state.epoch, state.voted.id);
    node->checked_epoch = raft->epoch;
    node->checked_voted = voted;
}

static void watch(struct sim *sim, void *context) {
    struct rig *rig = context;
    (void)sim;
    for (uint32_t i = 0; i < rig->count; i++) {
        struct rig_node *node = &rig->nodes[i];
        if (!node->process || !node->quorum || node->failed) continue;
        quorum_check(node->quorum);
        check_vote_is_durable(node);
        if (!quorum_is_leader(node->quorum)) continue;
        leader_epoch epoch = quorum_epoch(node->quorum);
        assert_true(epoch > 0 && epoch < (leader_epoch)countof(rig->leaders));
        if (!rig->leaders[epoch]) rig->leaders[epoch] = (int32_t)node->number + 1;
        assert_int_equal(rig->leaders[epoch], node->number + 1); /* M1 */
    }
}

/* ---- A listener */

#define NODE(listener) container_of((listener), struct rig_node, up)

static uint32_t value_of(struct span value) {
    assert_true(value.size >= 4);
    return load_be32(value.data);
}

static void on_snapshot_begin(struct quorum_listener *up, struct raft_snapshot_id id, bool bootstrap) {
    struct rig_node *node = NODE(up);
    assert_false(node->in_snapshot || node->in_bootstrap);
    node->in_bootstrap = bootstrap;
    node->in_snapshot = !bootstrap;
    if (bootstrap) return;
    node->state.count = 0;
    node->next = id.offset;
}

static void on_snapshot_records(struct quorum_listener *up, const struct quorum_batch *batch) {
    struct rig_node *node = NODE(up);
    assert_true(node->in_snapshot || node->in_bootstrap);
    if (node->in_bootstrap) node->bootstrap_records += batch->count;
    for (uint32_t i = 0; i < batch->count && node->in_snapshot; i++) node->state.values[node->state.count++] = value_of(batch->values[i]);
}

static void on_snapshot_end(struct quorum_listener *up, bool ok) {
    struct rig_node *node = NODE(up);
    node->snapshots_loaded += node->in_snapshot && ok;
    node->in_snapshot = node->in_bootstrap = false;
}

static void on_commit(struct quorum_listener *up, const struct quorum_batch *batch) {
    struct rig_node *node = NODE(up);
    assert_false(node->in_snapshot || node->in_bootstrap);
    assert_int_equal(batch->base, node->next);
    node->next = batch->last + 1;
    assert_true(node->next <= quorum_high_watermark(node->quorum));
    for (uint32_t i = 0; i < batch->count; i++) {
        note_committed(node, batch->base + i, value_of(batch->values[i]), batch->epoch);
        node->state.values[node->state.count++] = value_of(batch->values[i]);
    }
    for (log_offset at = batch->base; !batch->count && at <= batch->last; at++) note_committed(node, at, 0, batch->epoch);
}

static void on_leader(struct quorum_listener *up, leader_epoch epoch, broker_id leader) {
    struct rig_node *node = NODE(up);
    assert_true(epoch >= node->epoch);
    node->epoch = epoch;
    node->leader = leader;
}

static void *snapshot_begin(struct quorum_listener *up, log_offset end) {
    struct rig_node *node = NODE(up);
    assert_int_equal(end, node->next);
    node->taking = node->state;
    node->taken_at = 0;
    return &node->taking;
}

static int32_t snapshot_next(struct quorum_listener *up, void *handle, struct arena *arena, struct span *values, uint32_t max) {
    struct rig_node *node = NODE(up);
    assert_ptr_equal(handle, &node->taking);
    uint32_t count = 0;
    for (; count < max && count < 7 && node->taken_at < node->taking.count; count++) {
        uint8_t *bytes = arena_alloc(arena, 40);
        store_be32(bytes, node->taking.values[node->taken_at++]);
        values[count] = span_of(bytes, 40);
    }
    return (int32_t)count;
}

static void snapshot_end(struct quorum_listener *up, void *handle, bool taken) {
    (void)handle;
    NODE(up)->snapshots_taken += taken;
}

static void on_failed(struct quorum_listener *up, const char *why) {
    struct rig_node *node = NODE(up);
    node->failed = true;
    snprintf(node->why, sizeof(node->why), "%s", why);
}

/* ---- Machines */

static struct quorum_nodes nodes_of(const struct rig *rig) {
    return (struct quorum_nodes){.voters = rig->voters, .dynamic = rig->dynamic, .path = "/m", .cluster_id = CLUSTER};
}

void rig_format(struct rig *rig, uint32_t number) {
    struct rig_node *node = &rig->nodes[number];
    struct io_files files = sim_host_files(node->host);
    struct quorum_nodes nodes = nodes_of(rig);
    struct span values[] = {SPAN_LITERAL("\0\0\0\0bootstrap 1"), SPAN_LITERAL("\0\0\0\0bootstrap 2")};
    struct log_dir_meta meta;
    if (log_dir_meta_read(files, "/m", &meta) == ERR_NONE) return;
    assert_int_equal(quorum_node_format(&nodes, number, files, sim_pool(rig->sim), values, 2), ERR_NONE);
}

bool rig_try_start(struct rig *rig, uint32_t number, char *why, size_t why_size) {
    struct rig_node *node = &rig->nodes[number];
    struct quorum_nodes nodes = nodes_of(rig);
    struct quorum_node_settings settings;
    assert_null(node->process);
    rig_format(rig, number);
    node->process = sim_process_start(node->host, 1);
    struct io *io = sim_process_io(node->process, 0);
    struct pool *pool = sim_process_pool(node->process, 0);
    struct shard_options shards = {.count = 1, .ios = &io, .pools = &pool, .mailbox_messages = 64};
    assert_int_equal(shard_group_open(&node->group, &shards), ERR_NONE);
    sim_process_drive(node->process, node->group);
    struct shard *shard = shard_at(node->group, 0);
    const char *paths[] = {"/m"};
    struct log_dirs_options dirs = {.paths = paths, .count = 1, .node = (broker_id)number + 1, .cluster_id = rig->cluster_id ? rig->cluster_id : CLUSTER, .pool = pool};
    if (log_dirs_open(&node->dirs, io_files(io), &dirs, why, why_size)) return false;
    struct log_store_options store = {0};
    if (log_store_open(&node->store, shard, node->dirs, &store)) return false;
    assert_int_equal(quorum_peers_open(&node->peers, shard, (broker_id)number + 1), ERR_NONE);

    node->up = (struct quorum_listener){on_snapshot_begin, on_snapshot_records, on_snapshot_end, on_commit, on_leader,
                                        snapshot_begin, snapshot_next, snapshot_end, on_failed};
    if (rig->up.on_commit) node->up = rig->up;
    node->state.count = 0;
    node->next = 0;
    node->epoch = 0;
    node->leader = -1;
    node->checked_epoch = node->checked_voted = -1;
    node->bootstrap_records = node->snapshots_loaded = 0;
    node->in_bootstrap = node->in_snapshot = node->failed = node->stopped = false;
    struct quorum_options options = rig->options;
    options.shard = shard;
    options.store = node->store;
    options.dir = log_dirs_metadata(node->dirs);
    options.cluster_id = rig->cluster_id ? rig->cluster_id : CLUSTER;
    options.peers = node->peers;
    options.listener[0] = &node->up;
    quorum_node_settings(&nodes, number, &settings, &options);
    if (quorum_open(&node->quorum, &options, why, why_size)) {
        node->quorum = NULL;
        return false;
    }
    node->server = (struct quorum_node_server){.sim = rig->sim, .quorum = node->quorum};
    struct net_limits limits = {0};
    struct listener_options listen = {.owner = &quorum_node_conns, .context = &node->server, .address = {.port = QUORUM_PORT}};
    assert_int_equal(net_open(&node->net, shard, &limits), ERR_NONE);
    assert_int_equal(listener_open(&node->listener, shard, &listen), 0);
    sim_io_nudge(io);
    return true;
}

void rig_start(struct rig *rig, uint32_t number) {
    char why[512] = "";
    if (!rig_try_start(rig, number, why, sizeof(why))) fail_msg("node %u does not start: %s", number + 1, why);
}

static void forget(struct rig_node *node) {
    node->process = NULL;
    node->group = NULL;
    node->dirs = NULL;
    node->store = NULL;
    node->quorum = NULL;
    node->peers = NULL;
    node->net = NULL;
    node->listener = NULL;
}

void rig_kill(struct rig *rig, uint32_t number) {
    sim_process_kill(rig->nodes[number].process);
    forget(&rig->nodes[number]);
}

void rig_power(struct rig *rig, uint32_t number, int policy) {
    sim_host_power_cut(rig->nodes[number].host, (enum sim_crash)policy);
    sim_host_power_on(rig->nodes[number].host);
    forget(&rig->nodes[number]);
}

static void set(void *context) { *(bool *)context = true; }
static bool flag(struct rig *rig, void *context) { (void)rig; return *(bool *)context; }
static void store_stopped(struct log_wait *wait, enum err err);
struct store_stop { struct log_wait wait; bool done; };
static void store_stopped(struct log_wait *wait, enum err err) { (void)err; container_of(wait, struct store_stop, wait)->done = true; }

void rig_stop(struct rig *rig, uint32_t number) {
    struct rig_node *node = &rig->nodes[number];
    bool listening = false, connected = false, carrying = false;
    struct store_stop store = {.wait = {.done = store_stopped}};
    quorum_stop(node->quorum, 1000, set, &node->stopped);
    sim_io_nudge(sim_process_io(node->process, 0));
    rig_until(rig, flag, &node->stopped, 10000);
    quorum_peers_close(node->peers, set, &carrying);
    rig_until(rig, flag, &carrying, 10000);
    net_stop(node->net, 0, set, &connected);
    listener_close(node->listener, set, &listening);
    sim_io_nudge(sim_process_io(node->process, 0));
    rig_until(rig, flag, &connected, 10000);
    rig_until(rig, flag, &listening, 10000);
    net_close(node->net);
    quorum_free(node->quorum);
    node->quorum = NULL;
    if (log_store_stop(node->store, &store.wait) == ERR_AGAIN) {
        sim_io_nudge(sim_process_io(node->process, 0));
        rig_until(rig, flag, &store.done, 10000);
    }
    log_store_free(node->store);
    log_dirs_close(node->dirs, io_files(sim_process_io(node->process, 0)), true, -1);
    rig_run(rig, 10);
    shard_group_close(node->group);
    sim_process_end(node->process);
    forget(node);
}

void rig_open(struct rig *rig, uint64_t seed, uint32_t nodes, uint32_t voters, bool dynamic) {
    memset(rig, 0, sizeof(*rig));
    struct sim_net_options wires = sim_net_options_default();
    rig->sim = sim_new(seed);
    rig->wires = sim_net_new(rig->sim, &wires);
    rig->count = nodes;
    rig->voters = voters;
    rig->dynamic = dynamic;
    rig->log_max = RIG_VALUES_MAX;
    rig->log = calloc((size_t)rig->log_max, sizeof(*rig->log));
    rig->next_value = 1;
    for (uint32_t i = 0; i < nodes; i++) {
        rig->nodes[i].rig = rig;
        rig->nodes[i].number = i;
        rig->nodes[i].host = sim_host_new(rig->sim, rig->wires, i, 0);
    }
    sim_watch(rig->sim, watch, rig);
}

void rig_close(struct rig *rig) {
    for (uint32_t i = 0; i < rig->count; i++) {
        if (rig->nodes[i].process) rig_kill(rig, i);
        sim_host_free(rig->nodes[i].host);
    }
    sim_net_free(rig->wires);
    sim_free(rig->sim);
    free(rig->log);
}

struct until { struct rig *rig; bool (*is_so)(struct rig *rig, void *context); void *context; };
static bool until_is(void *context) {
    struct until *until = context;
    return until->is_so(until->rig, until->context);
}

void rig_until(struct rig *rig, bool (*is_so)(struct rig *rig, void *context), void *context, int64_t within_ms) {
    struct until until = {rig, is_so, context};
    if (!sim_run_while_not(rig->sim, until_is, &until, within_ms * NS_PER_MS)) fail_msg("it did not happen within %lld ms", (long long)within_ms);
}

void rig_run(struct rig *rig, int64_t ms) {
    assert_true(sim_run_until(rig->sim, sim_now(rig->sim) + ms * NS_PER_MS));
}

struct rig_node *rig_leader(struct rig *rig) {
    for (uint32_t i = 0; i < rig->count; i++) {
        struct rig_node *node = &rig->nodes[i];
        if (node->process && node->quorum && !node->failed && node->leader == (broker_id)i + 1 && quorum_is_leader(node->quorum)) return node;
    }
    return NULL;
}

static bool has_leader(struct rig *rig, void *context) { (void)context; return rig_leader(rig) != NULL; }

struct rig_node *rig_await_leader(struct rig *rig) {
    rig_until(rig, has_leader, NULL, 60000);
    return rig_leader(rig);
}

enum err rig_append(struct rig_node *node, uint32_t count, uint32_t *value, log_offset *last) {
    uint8_t bytes[64][40] = {{0}};
    struct span values[64];
    uint32_t first = node->rig->next_value;
    assert_true(count <= 64);
    for (uint32_t i = 0; i < count; i++) {
        store_be32(bytes[i], first + i);
        values[i] = span_of(bytes[i], sizeof(bytes[i]));
    }
    enum err err = quorum_append(node->quorum, node->epoch, values, count, last);
    if (err) return err;
    node->rig->next_value += count;
    if (value) *value = first;
    sim_io_nudge(sim_process_io(node->process, 0));
    return ERR_NONE;
}

struct awaited { struct rig_node *node; log_offset last; };
static bool is_given(struct rig *rig, void *context) {
    struct awaited *awaited = context;
    (void)rig;
    return awaited->node->next > awaited->last;
}

void rig_await_commit(struct rig *rig, struct rig_node *node, log_offset last) {
    struct awaited awaited = {node, last};
    rig_until(rig, is_given, &awaited, 60000);
}

void rig_await_all(struct rig *rig, log_offset last) {
    for (uint32_t i = 0; i < rig->count; i++)
        if (rig->nodes[i].process) rig_await_commit(rig, &rig->nodes[i], last);
}
