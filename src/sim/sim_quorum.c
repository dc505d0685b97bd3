/* 3 or 5 voters and up to two observers with the whole of quorum/ under each: the log on a disk that forgets, quorum-state
 * and snapshots in files, requests over connections that break. From outside: who leads (M1), what is on the platter when it is said (M2), what was committed (M4, M5),
 * and that whoever gets there by records or by snapshots ends up with the same state (M6, M8).
 */
#include "base/bytes.h"
#include "base/hash.h"
#include "net/net.h"
#include "quorum/quorum.h"
#include "sim/cluster.h"
#include "sim/quorum_node.h"
#include <stdio.h>
#include <string.h>

enum { NODES_MAX = 7, EPOCHS_MAX = 1 << 16, WAITING_MAX = 256, VALUE_BYTES_MAX = 300 };

/* What the records come to: compared instead of a list of them. */
struct state { uint64_t count, hash; };
struct committed { uint32_t value; leader_epoch epoch; bool known; struct state after; };
struct waiting { uint32_t node, life, value; leader_epoch epoch; log_offset offset; };

struct world {
    struct run *run;
    struct sim *sim;
    struct cluster cluster;
    struct random random;
    uint32_t voters, nodes;
    bool dynamic;
    uint64_t snapshot_bytes, retention_bytes;
    uint32_t segment_bytes, fetch_bytes, piece_bytes;
    struct committed *log;         /* by offset */
    uint32_t log_capacity;
    log_offset committed;
    int32_t leaders[EPOCHS_MAX];   /* node + 1 */
    uint32_t value_next;
    struct waiting waiting[WAITING_MAX];
    uint32_t waiting_count;
    uint64_t faults_at_start[NODES_MAX];
    struct sim_event client;
    log_offset marker;
    uint64_t snapshots_taken, snapshots_loaded;
};

struct program { /* inside of the process */
    struct world *world;
    struct cluster_node *node;
    struct shard_group *group;
    struct shard *shard;
    struct log_dirs *dirs;
    struct log_store *store;
    struct quorum *quorum;
    struct quorum_peers *peers;
    struct net *net;
    struct listener *listener;
    struct quorum_node_server server;
    struct quorum_listener up;
    struct state state, taking;
    uint32_t taken, taking_records;
    log_offset next, high_watermark;
    struct raft_snapshot_id snapshot;
    uint32_t snapshot_records;
    bool in_snapshot, in_bootstrap, failed;
    leader_epoch epoch;
};

static const char cluster_id[] = "simulated-quorum-AAAAA";
static const char *const data_path = "/m";

static struct program *program_of(struct world *world, uint32_t number) { return world->cluster.nodes[number].program; }

/* ---- What is committed */
static struct committed *entry_at(struct world *world, log_offset offset) {
    if (offset >= world->log_capacity) {
        uint32_t capacity = world->log_capacity ? world->log_capacity : 1024;
        while (capacity <= offset) capacity *= 2;
        world->log = pool_realloc(sim_pool(world->sim), world->log, world->log_capacity * sizeof *world->log, capacity * sizeof *world->log);
        assert(world->log);
        memset(world->log + world->log_capacity, 0, (capacity - world->log_capacity) * sizeof *world->log);
        world->log_capacity = capacity;
    }
    return &world->log[offset];
}

static void state_add(struct state *state, uint32_t value) {
    if (value == 0) return; /* control records are no part of it */
    state->count++;
    state->hash = hash_u64(state->hash ^ value) + 1;
}

static void given(struct program *program, log_offset offset, uint32_t value, leader_epoch epoch) {
    struct world *world = program->world;
    struct committed *entry = entry_at(world, offset);
    SIM_CHECK(world->sim, !entry->known || (entry->value == value && entry->epoch == epoch), "M4",
              "node %u is given value %u of epoch %d at %lld, it was %u of epoch %d", program->node->number, value, epoch, (long long)offset,
              entry->value, entry->epoch);
    state_add(&program->state, value);
    SIM_CHECK(world->sim, !entry->known || (entry->after.count == program->state.count && entry->after.hash == program->state.hash), "M8",
              "node %u has another state at %lld than the others had", program->node->number, (long long)offset);
    *entry = (struct committed){value, epoch, true, program->state};
    if (offset >= world->committed) world->committed = offset + 1;
}

/* ---- The listener */
#define PROGRAM(listener) container_of((listener), struct program, up)

static void on_snapshot_begin(struct quorum_listener *up, struct raft_snapshot_id id, bool bootstrap) {
    struct program *program = PROGRAM(up);
    program->in_bootstrap = bootstrap;
    program->in_snapshot = !bootstrap;
    program->snapshot_records = 0;
    if (bootstrap) return;
    program->snapshot = id;
    program->state = (struct state){0};
    program->next = id.offset;
}

static void on_snapshot_records(struct quorum_listener *up, const struct quorum_batch *batch) {
    struct program *program = PROGRAM(up);
    for (uint32_t i = 0; i < batch->count && program->in_snapshot; i++)
        if (program->snapshot_records++ == 0 && batch->values[i].size >= 16)
            program->state = (struct state){load_be64(batch->values[i].data), load_be64(batch->values[i].data + 8)};
}

static void on_snapshot_end(struct quorum_listener *up, bool ok) {
    struct program *program = PROGRAM(up);
    struct world *world = program->world;
    if (program->in_snapshot && ok) {
        const struct committed *entry = program->snapshot.offset > 0 ? entry_at(world, program->snapshot.offset - 1) : NULL;
        world->snapshots_loaded++;
        SIM_CHECK(world->sim, entry && entry->known, "M6", "node %u loads a snapshot at %lld, and nothing is committed there", program->node->number,
                  (long long)program->snapshot.offset);
        SIM_CHECK(world->sim, entry && entry->after.count == program->state.count && entry->after.hash == program->state.hash, "M8",
                  "node %u: the snapshot at %lld holds another state", program->node->number, (long long)program->snapshot.offset);
        SIM_CHECK(world->sim, entry && entry->epoch == program->snapshot.epoch, "M6", "node %u: the snapshot at %lld says epoch %d", program->node->number,
                  (long long)program->snapshot.offset, program->snapshot.epoch);
    }
    program->in_snapshot = program->in_bootstrap = false;
}

static void on_commit(struct quorum_listener *up, const struct quorum_batch *batch) {
    struct program *program = PROGRAM(up);
    struct sim *sim = program->world->sim;
    SIM_CHECK(sim, batch->base == program->next && !program->in_snapshot, "M4", "node %u is given %lld, %lld comes next", program->node->number,
              (long long)batch->base, (long long)program->next);
    SIM_CHECK(sim, batch->last < quorum_high_watermark(program->quorum), "M3", "node %u is given %lld, the high watermark is %lld",
              program->node->number, (long long)batch->last, (long long)quorum_high_watermark(program->quorum));
    for (log_offset at = batch->base; at <= batch->last && !sim_has_failed(sim); at++) {
        log_offset i = at - batch->base;
        given(program, at, i < batch->count ? load_be32(batch->values[i].data) : 0, batch->epoch);
    }
    program->next = batch->last + 1;
}

static void on_leader(struct quorum_listener *up, leader_epoch epoch, broker_id leader) {
    struct program *program = PROGRAM(up);
    SIM_CHECK(program->world->sim, epoch >= program->epoch, "M5", "node %u is told of epoch %d after %d", program->node->number, epoch, program->epoch);
    program->epoch = epoch;
}

static void *snapshot_begin(struct quorum_listener *up, log_offset end) {
    struct program *program = PROGRAM(up);
    SIM_CHECK(program->world->sim, end == program->next, "M6", "node %u: a snapshot at %lld, it was given up to %lld", program->node->number,
              (long long)end, (long long)program->next);
    program->taking = program->state;
    program->taken = 0;
    program->taking_records = 1 + (uint32_t)random_below(&program->world->random, 30);
    return &program->taking;
}

static int32_t snapshot_next(struct quorum_listener *up, void *handle, struct arena *arena, struct span *values, uint32_t max) {
    struct program *program = PROGRAM(up);
    uint32_t count = 0;
    for (; count < max && count < 9 && program->taken < program->taking_records; count++, program->taken++) {
        uint8_t *bytes = arena_alloc(arena, 64); /* the first says it all, the others are there to be many */
        store_be64(bytes, program->taking.count);
        store_be64(bytes + 8, program->taking.hash);
        values[count] = span_of(bytes, 64);
    }
    return (int32_t)count;
}

static void snapshot_end(struct quorum_listener *up, void *handle, bool taken) { PROGRAM(up)->world->snapshots_taken += taken; }

static void end_soon(struct world *world, uint32_t number);

static void on_failed(struct quorum_listener *up, const char *why) {
    struct program *program = PROGRAM(up);
    struct world *world = program->world;
    uint32_t number = program->node->number;
    SIM_CHECK(world->sim, sim_count(world->sim)->faults > world->faults_at_start[number], "quorum", "node %u has failed, and no disk did: %s", number, why);
    program->failed = true;
    end_soon(world, number);
}

/* ---- M2: what a node says of its epoch and its vote is on its platter by then */
struct on_platter { int64_t epoch, leader, voted; };

static int64_t number_after(const char *text, const char *key) {
    const char *at = strstr(text, key);
    long long number = -1;
    return at && sscanf(at + strlen(key), "%lld", &number) == 1 ? number : -1;
}

static struct on_platter platter_of(struct world *world, uint32_t number) {
    char text[2048];
    int64_t size = sim_disk_peek_durable(sim_host_disk(world->cluster.nodes[number].host), "/m/__cluster_metadata-0/quorum-state", text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = 0;
    return (struct on_platter){number_after(text, "\"leaderEpoch\":"), number_after(text, "\"leaderId\":"), number_after(text, "\"votedId\":")};
}

/* A candidacy that has arrived somewhere. */
static void check_candidate(struct world *world, const struct vote_request *request) {
    if (request->topics_count != 1 || request->topics[0].partitions_count != 1) return;
    const struct vote_request_partition_data *vote = &request->topics[0].partitions[0];
    if (vote->pre_vote || vote->replica_id < 1 || vote->replica_id > (int32_t)world->nodes) return;
    struct on_platter there = platter_of(world, (uint32_t)vote->replica_id - 1);
    bool voted = there.epoch > vote->replica_epoch || (there.epoch == vote->replica_epoch && (there.voted == vote->replica_id || there.leader >= 0));
    SIM_CHECK(world->sim, voted, "M2", "node %d asks for votes in epoch %d; on its platter are epoch %lld, vote %lld", vote->replica_id - 1, vote->replica_epoch,
              (long long)there.epoch, (long long)there.voted);
}

/* A vote that is about to be sent. */
static void check_vote(struct program *program, const struct vote_request *request, const struct vote_response *response) {
    if (response->topics_count != 1 || response->topics[0].partitions_count != 1 || !response->topics[0].partitions[0].vote_granted) return;
    const struct vote_request_partition_data *vote = &request->topics[0].partitions[0];
    if (vote->pre_vote) return;
    struct on_platter own = platter_of(program->world, program->node->number);
    SIM_CHECK(program->world->sim, own.epoch == vote->replica_epoch && own.voted == vote->replica_id, "M2",
              "node %u votes for %d in epoch %d; on its platter are epoch %lld, vote %lld", program->node->number, vote->replica_id - 1, vote->replica_epoch,
              (long long)own.epoch, (long long)own.voted);
}

static void on_asked(struct quorum_node_server *server, const struct wire_api *api, const void *request) {
    if (api->key == API_VOTE) check_candidate(container_of(server, struct program, server)->world, request);
}

static void on_answer(struct quorum_node_server *server, const struct wire_api *api, const void *request, const void *response) {
    if (api->key == API_VOTE) check_vote(container_of(server, struct program, server), request, response);
}

/* ---- Nodes */
static struct quorum_nodes nodes_of(const struct world *world) {
    return (struct quorum_nodes){.voters = world->voters, .dynamic = world->dynamic, .path = data_path, .cluster_id = cluster_id};
}

static void format(struct world *world, uint32_t number) {
    struct quorum_nodes nodes = nodes_of(world);
    struct span values[] = {SPAN_LITERAL("\0\0\0\0bootstrap")};
    enum err err = quorum_node_format(&nodes, number, sim_host_files(world->cluster.nodes[number].host), sim_pool(world->sim), values, 1);
    SIM_CHECK(world->sim, err == ERR_NONE, "format", "formatting node %u: %s", number, err_name(err));
    cluster_power_cut(&world->cluster.nodes[number], SIM_CRASH_LOSE_ALL); /* what format says it did is there */
}

static enum err quorum_make(struct program *program, char *why, size_t why_size) {
    struct world *world = program->world;
    struct quorum_nodes nodes = nodes_of(world);
    struct quorum_node_settings settings;
    program->up = (struct quorum_listener){on_snapshot_begin, on_snapshot_records, on_snapshot_end, on_commit, on_leader,
                                           snapshot_begin, snapshot_next, snapshot_end, on_failed};
    struct quorum_options options = {
        .shard = program->shard, .store = program->store, .dir = log_dirs_metadata(program->dirs), .cluster_id = cluster_id,
        .fetch_bytes_max = (int32_t)world->fetch_bytes, .fetch_snapshot_bytes_max = (int32_t)world->piece_bytes,
        .snapshot_bytes = world->snapshot_bytes, .retention_bytes = (int64_t)world->retention_bytes, .retention_ms = -1,
        .snapshot_interval_ms = -1, .segment_bytes = world->segment_bytes, .read_bytes = 4096, .peers = program->peers, .listener = {&program->up}};
    quorum_node_settings(&nodes, program->node->number, &settings, &options);
    enum err err = quorum_open(&program->quorum, &options, why, why_size);
    program->server = (struct quorum_node_server){.sim = world->sim, .quorum = program->quorum, .on_asked = on_asked, .on_answer = on_answer};
    return err;
}

static void program_start(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    struct io *ios[1] = {sim_process_io(node->process, 0)};
    struct pool *pools[1] = {sim_process_pool(node->process, 0)};
    struct program *program = POOL_NEW(pools[0], struct program);
    struct shard_options shards = {.count = 1, .ios = ios, .pools = pools, .mailbox_messages = 64};
    struct log_store_options store = {.recovery_checkpoint_ms = 1000, .retention_check_ms = 500, .retention_first_ms = 500, .checkpoint_bytes_min = 4096};
    struct net_limits limits = {0};
    struct listener_options listen = {.owner = &quorum_node_conns, .context = &program->server, .address = {.port = QUORUM_PORT}};
    char why[512] = "";
    assert(program);
    node->program = program;
    program->world = world;
    program->node = node;
    program->high_watermark = -1;
    world->faults_at_start[node->number] = sim_count(world->sim)->faults;
    enum err err = shard_group_open(&program->group, &shards);
    assert(err == ERR_NONE);
    program->shard = shard_at(program->group, 0);
    sim_process_drive(node->process, program->group);
    struct log_dirs_options dirs = {.paths = &data_path, .count = 1, .node = (broker_id)node->number + 1, .cluster_id = cluster_id, .pool = pools[0],
                                    .random = &world->random, .now_ms = io_wall(ios[0])};
    if ((err = log_dirs_open(&program->dirs, io_files(ios[0]), &dirs, why, sizeof why))) goto failed;
    if ((err = log_store_open(&program->store, program->shard, program->dirs, &store))) goto failed;
    if ((err = quorum_peers_open(&program->peers, program->shard, (broker_id)node->number + 1))) goto failed;
    if ((err = quorum_make(program, why, sizeof why))) {
        program->quorum = NULL;
        goto failed;
    }
    err = net_open(&program->net, program->shard, &limits);
    assert(err == ERR_NONE);
    int listening = listener_open(&program->listener, program->shard, &listen);
    assert(listening == 0);
    return;
failed:
    SIM_CHECK(world->sim, sim_process_is_stuck(node->process) || sim_count(world->sim)->faults > world->faults_at_start[node->number], "start",
              "node %u does not start: %s: %s", node->number, err_name(err), why);
    program->failed = true;
    end_soon(world, node->number);
}

/* The program cannot go on: ended, and begun again by whoever supervises it. */
struct ending { struct sim_event event; struct world *world; uint32_t number; struct list all; };
static struct list endings;

static void ending_run(struct sim *sim, struct sim_event *event) {
    struct ending *ending = container_of(event, struct ending, event);
    struct cluster_node *node = &ending->world->cluster.nodes[ending->number];
    list_remove(&ending->all);
    pool_free(sim_pool(sim), ending, sizeof *ending);
    if (node->process && ((struct program *)node->program)->failed) {
        cluster_kill(node);
        if (!sim_is_scheduled(&node->restart)) cluster_start(node);
    }
}

static void end_soon(struct world *world, uint32_t number) {
    struct ending *ending = POOL_NEW(sim_pool(world->sim), struct ending);
    assert(ending);
    ending->world = world;
    ending->number = number;
    list_push(&endings, &ending->all);
    sim_at(world->sim, &ending->event, sim_now(world->sim) + 100 * NS_PER_MS, ending_run);
}

/* ---- Clients, and who looks after each event */
static struct program *leader_of(struct world *world) {
    uint64_t count = 0;
    struct program *found = NULL;
    for (uint32_t n = 0; n < world->nodes; n++) {
        struct program *program = program_of(world, n);
        if (!program || program->failed || !program->quorum || !quorum_is_leader(program->quorum)) continue;
        if (random_below(&world->random, ++count) == 0) found = program;
    }
    return found;
}

static void on_client(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, client);
    struct program *leader = leader_of(world);
    sim_at(sim, event, sim_now(sim) + NS_PER_MS + (time_ns)random_below(&world->random, 40 * (uint64_t)NS_PER_MS), on_client);
    if (!leader || world->waiting_count + 8 > WAITING_MAX || sim_process_is_stuck(leader->node->process)) return;
    static uint8_t bytes[8][VALUE_BYTES_MAX];
    struct span values[8];
    uint32_t count = 1 + (uint32_t)random_below(&world->random, 8), first = world->value_next + 1;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = 4 + (size_t)random_below(&world->random, VALUE_BYTES_MAX - 4);
        store_be32(bytes[i], first + i);
        values[i] = span_of(bytes[i], size);
    }
    log_offset last;
    leader_epoch epoch = quorum_epoch(leader->quorum);
    enum err err = quorum_append(leader->quorum, epoch, values, count, &last);
    sim_note(sim, "append", leader->node->number, (uint64_t)err, count);
    sim_io_nudge(sim_process_io(leader->node->process, 0));
    if (err) return;
    world->value_next += count;
    for (uint32_t i = 0; i < count; i++)
        world->waiting[world->waiting_count++] = (struct waiting){leader->node->number, leader->node->life, first + i, epoch, last - count + 1 + i};
}

static void look(struct cluster *cluster) {
    struct world *world = cluster->owner;
    for (uint32_t n = 0; n < world->nodes; n++) {
        struct program *program = program_of(world, n);
        if (!program || program->failed || !program->quorum) continue;
        log_offset mark = quorum_high_watermark(program->quorum);
        SIM_CHECK(world->sim, mark >= program->high_watermark, "M5", "node %u: the high watermark goes from %lld to %lld", n,
                  (long long)program->high_watermark, (long long)mark);
        program->high_watermark = mark;
        if (!quorum_is_leader(program->quorum)) continue;
        leader_epoch epoch = quorum_epoch(program->quorum);
        if (epoch < 0 || epoch >= EPOCHS_MAX) continue;
        SIM_CHECK(world->sim, world->leaders[epoch] == 0 || world->leaders[epoch] == (int32_t)n + 1, "M1", "epoch %d has two leaders: %d and %u", epoch,
                  world->leaders[epoch] - 1, n);
        world->leaders[epoch] = (int32_t)n + 1;
    }
    for (uint32_t i = 0; i < world->waiting_count;) {
        struct waiting *waiting = &world->waiting[i];
        struct cluster_node *node = &cluster->nodes[waiting->node];
        struct program *program = node->program;
        bool lost = !program || node->life != waiting->life || program->failed || !quorum_is_leader(program->quorum) || quorum_epoch(program->quorum) != waiting->epoch;
        bool done = !lost && program->next > waiting->offset; /* it was given to the listener: an answer may leave */
        if (done) {
            const struct committed *entry = entry_at(world, waiting->offset);
            SIM_CHECK(world->sim, entry->known && entry->value == waiting->value, "M4", "the value acknowledged at %lld is not there", (long long)waiting->offset);
            world->run->acknowledged++;
        }
        if (done || lost) *waiting = world->waiting[--world->waiting_count];
        else i++;
    }
}

/* ---- The run */
static bool is_live(void *context) {
    struct world *world = context;
    if (world->marker < 0) {
        struct program *leader = leader_of(world);
        if (!leader || quorum_high_watermark(leader->quorum) < 0) return false;
        world->marker = world->committed + 20;
    }
    for (uint32_t n = 0; n < world->nodes; n++) {
        struct program *program = program_of(world, n);
        if (!program || program->failed || program->next < world->marker) return false;
    }
    return true;
}

static void lagging(struct world *world, char *out, size_t size) {
    struct text text;
    text_init(&text, out, size);
    for (uint32_t n = 0; n < world->nodes; n++) {
        struct program *program = program_of(world, n);
        text_add(&text, " %u:%lld%s", n, program ? (long long)program->next : -1LL, program && program->failed ? " failed" : "");
    }
}

static void say_raft(struct world *world, uint32_t number) {
    struct program *program = program_of(world, number);
    char line[2048];
    struct text text;
    if (!program || !program->quorum || !quorum_raft(program->quorum)) return;
    text_init(&text, line, sizeof line);
    raft_text(quorum_raft(program->quorum), &text);
    printf("node %u: %s\n", number, line);
}

void sim_quorum_run(struct run *run, uint32_t voters);

void sim_quorum_run(struct run *run, uint32_t voters) {
    struct world *world = POOL_NEW(sim_pool(run->sim), struct world);
    assert(world);
    world->run = run;
    world->sim = run->sim;
    world->marker = -1;
    world->voters = voters;
    list_init(&endings);
    random_seed(&world->random, sim_fork_seed(run->sim));
    world->dynamic = run_chance(run, "dynamic", 50);
    world->nodes = voters + (uint32_t)run_setting(run, "observers", 0, 2);
    world->segment_bytes = (uint32_t)run_setting(run, "segment_kib", 8, 64) << 10;
    world->snapshot_bytes = (uint64_t)run_setting(run, "snapshot_kib", 1, 40) << 10;
    world->retention_bytes = run_chance(run, "short_retention", 60) ? 4096 : UINT64_C(1) << 40;
    world->fetch_bytes = (uint32_t)run_setting(run, "fetch_bytes", 100, 5000); /* what comes at once must fit into a segment, as with Kafka */
    world->piece_bytes = (uint32_t)run_setting(run, "piece_bytes", 50, 4000);
    cluster_init(&world->cluster, run, world->nodes, 1, 0);
    world->cluster.owner = world;
    world->cluster.start = program_start;
    world->cluster.after_event = look;
    for (uint32_t n = 0; n < world->nodes; n++) format(world, n);
    static const uint32_t weights[FAULT_KINDS] = {
        [FAULT_KILL] = 10, [FAULT_POWER] = 15, [FAULT_POWER_ALL] = 3, [FAULT_DISK_CUT] = 30, [FAULT_CUT_ONE_WAY] = 10, [FAULT_CUT_NODE] = 8,
        [FAULT_SPLIT] = 5, [FAULT_RESET] = 10, [FAULT_PAUSE] = 8, [FAULT_SLOW_WIRE] = 5, [FAULT_CLOCK_STEP] = 3, [FAULT_CLOCK_RATE] = 3,
        [FAULT_DISK_SYNC] = 4, [FAULT_DISK_WRITE] = 4, [FAULT_DISK_READ] = 3, [FAULT_DISK_FULL] = 3, [FAULT_DISK_SLOW] = 5};
    memcpy(run->weights, weights, sizeof weights);
    run->pause_min = 50 * NS_PER_MS;
    run->pause_max = 1500 * NS_PER_MS;
    run->lasts_max = 10 * NS_PER_S;
    for (uint32_t n = 0; n < world->nodes; n++) cluster_start(&world->cluster.nodes[n]);
    sim_at(run->sim, &world->client, NS_PER_MS, on_client);
    run_faults_begin(run, cluster_fault, &world->cluster);
    if (run_faults_end(run)) {
        cluster_heal(&world->cluster);
        if (!sim_run_while_not(run->sim, is_live, world, RUN_LIVE_WITHIN) && !sim_has_failed(run->sim)) {
            char text[200];
            lagging(world, text, sizeof text);
            for (uint32_t n = 0; n < world->nodes; n++) say_raft(world, n);
            sim_fail(run->sim, "liveness", "60 s after all is well again, %lld is not committed everywhere (%lld is somewhere; given to:%s)",
                     (long long)world->marker, (long long)world->committed, text);
        }
    }
    if (sim_has_failed(run->sim)) return;
    if (run->options->verbose) printf("%llu snapshots taken, %llu loaded, %lld committed\n", (unsigned long long)world->snapshots_taken,
                                      (unsigned long long)world->snapshots_loaded, (long long)world->committed);
    while (!list_is_empty(&endings)) {
        struct ending *ending = LIST_ITEM(list_pop(&endings), struct ending, all);
        sim_cancel(run->sim, &ending->event);
        pool_free(sim_pool(run->sim), ending, sizeof *ending);
    }
    sim_cancel(run->sim, &world->client);
    cluster_destroy(&world->cluster);
    pool_free(sim_pool(run->sim), world->log, world->log_capacity * sizeof *world->log);
    pool_free(sim_pool(run->sim), world, sizeof *world);
}
