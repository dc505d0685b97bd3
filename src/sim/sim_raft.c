/* sim/sim_raft.c - the world raft3 and raft5: what clients ask, what goes wrong, and a run from its start to its end. */
#include "sim/sim_raft.h"
#include <string.h>

enum { CLIENT_BATCH_MAX = 4, IN_FLIGHT_MAX = 60 };

const char *const sim_raft_mutations[] = {"vote-not-saved", "cut-one-too-many", "flush-before-disk", "vote-not-synced", NULL};

/* ---- Clients: append where they believe the leader to be, take snapshots, change the voters. */
static struct raft_node *some_leader(struct sim_raft *world) {
    uint64_t count = 0;
    struct raft_node *found = NULL;
    for (uint32_t n = 0; n < world->nodes_count; n++)
        if (world->nodes[n].raft && raft_is_leader(world->nodes[n].raft) && random_below(&world->random, ++count) == 0) found = &world->nodes[n];
    return found && sim_now(world->sim) >= found->paused_until ? found : NULL;
}

static void change_voters(struct raft_node *leader) {
    struct sim_raft *world = leader->world;
    struct raft_node *node = &world->nodes[random_below(&world->random, world->nodes_count)];
    const struct raft_voters *voters = raft_voters(leader->raft);
    struct raft_listeners listeners = {0};
    struct raft_request request = {.call = RAFT_REMOVE, .token = ++world->token_next};
    bool is_voter = raft_voters_has(voters, node->key);
    if (is_voter && voters->count <= 2) return;
    if (is_voter) {
        request.remove.voter = node->key;
    } else {
        bool ok = raft_listeners_add(&listeners, node_listener(node));
        assert(ok);
        request.call = RAFT_ADD;
        request.add = (struct raft_add_request){.voter = node->key, .listeners = &listeners, .timeout_ms = 5000, .ack_when_committed = true};
    }
    sim_note(world->sim, is_voter ? "remove voter" : "add voter", leader->number, node->number, voters->count);
    node_step(leader, (struct raft_event){.type = RAFT_EVENT_REQUEST, .request = &request});
}

static void on_client(struct sim *sim, struct sim_event *event) {
    struct sim_raft *world = container_of(event, struct sim_raft, client);
    struct raft_node *leader = some_leader(world);
    if (leader && world->dynamic && random_chance(&world->random, 1, 40) && !world->run->quiet) change_voters(leader);
    else if (leader && leader->log.count < (uint32_t)(leader->high_watermark < leader->start ? 0 : leader->high_watermark - leader->start) + IN_FLIGHT_MAX)
        node_append(leader, 1 + (uint32_t)random_below(&world->random, CLIENT_BATCH_MAX));
    sim_at(sim, event, sim_now(sim) + NS_PER_MS + (time_ns)random_below(&world->random, 60 * (uint64_t)NS_PER_MS), on_client);
}

static void on_snapshotter(struct sim *sim, struct sim_event *event) {
    struct sim_raft *world = container_of(event, struct sim_raft, snapshotter);
    struct raft_node *node = &world->nodes[random_below(&world->random, world->nodes_count)];
    if (node->raft && sim_now(sim) >= node->paused_until) node_snapshot(node);
    sim_at(sim, event, sim_now(sim) + (time_ns)random_below(&world->random, 400 * (uint64_t)NS_PER_MS) + NS_PER_MS, on_snapshotter);
}

/* ---- Faults */
struct heal { struct sim_event event; struct list all; struct sim_raft *world; uint32_t from, to; };
static struct list heals;

static void heal_free(struct heal *heal) {
    sim_cancel(heal->world->sim, &heal->event);
    list_remove(&heal->all);
    pool_free(heal->world->pool, heal, sizeof *heal);
}

static void on_heal(struct sim *sim, struct sim_event *event) {
    struct heal *heal = container_of(event, struct heal, event);
    heal->world->cut[heal->from][heal->to] = false;
    heal->world->slow[heal->from][heal->to] = 0;
    sim_note(sim, "heal", heal->from, heal->to, 0);
    heal_free(heal);
}

static void cut(struct sim_raft *world, uint32_t from, uint32_t to, time_ns lasts, time_ns slow) {
    if (from == to) return;
    if (slow) world->slow[from][to] = slow;
    else world->cut[from][to] = true;
    struct heal *heal = POOL_NEW(world->pool, struct heal);
    assert(heal);
    heal->world = world;
    heal->from = from;
    heal->to = to;
    list_push(&heals, &heal->all);
    sim_at(world->sim, &heal->event, sim_now(world->sim) + lasts, on_heal);
}

static void on_fault(void *context, const struct fault *fault) {
    struct sim_raft *world = context;
    uint32_t a = (uint32_t)(fault->a % world->nodes_count), b = (uint32_t)(fault->b % world->nodes_count);
    struct raft_node *node = &world->nodes[a];
    struct raft_node *leader = some_leader(world);
    if (leader && fault->c % 2) { /* leaders are where it hurts */
        node = leader;
        a = leader->number;
    }
    switch (fault->kind) {
    case FAULT_KILL: node_crash_and_restart(node, false, fault->lasts); break;
    case FAULT_POWER: node_crash_and_restart(node, true, fault->lasts); break;
    case FAULT_POWER_ALL:
        for (uint32_t n = 0; n < world->nodes_count; n++) node_crash_and_restart(&world->nodes[n], true, fault->lasts / (n + 1));
        break;
    case FAULT_DISK_CUT:
        if (!node->raft) break;
        node->crash_after = 1 + (uint32_t)(fault->b % 20);
        node_restart_after(node, fault->lasts);
        break;
    case FAULT_CUT_ONE_WAY:
        cut(world, a, b, fault->lasts, 0);
        sim_count(world->sim)->cuts++;
        break;
    case FAULT_CUT_NODE:
        for (uint32_t n = 0; n < world->nodes_count; n++) {
            cut(world, a, n, fault->lasts, 0);
            cut(world, n, a, fault->lasts, 0);
        }
        sim_count(world->sim)->cuts++;
        break;
    case FAULT_SPLIT:
        for (uint32_t n = 0; n < world->nodes_count; n++)
            for (uint32_t m = 0; m < world->nodes_count; m++)
                if ((fault->b >> n & 1) != (fault->b >> m & 1)) cut(world, n, m, fault->lasts, 0);
        sim_count(world->sim)->cuts++;
        break;
    case FAULT_PAUSE:
        if (!node->raft) break;
        node->paused_until = sim_now(world->sim) + fault->lasts;
        break;
    case FAULT_SLOW_WIRE: cut(world, a, b, fault->lasts, (time_ns)(fault->c % (uint64_t)NS_PER_S) + 1); break;
    case FAULT_OWN_1:
        if (node->raft && raft_is_leader(node->raft) && sim_now(world->sim) >= node->paused_until)
            node_step(node, (struct raft_event){.type = RAFT_EVENT_RESIGN, .epoch = node->raft->epoch});
        break;
    case FAULT_OWN_2:
        if (!node->raft || sim_now(world->sim) < node->paused_until) break;
        node_restart_after(node, fault->lasts);
        node_step(node, (struct raft_event){.type = RAFT_EVENT_SHUTDOWN, .timeout_ms = 1000});
        break;
    default: break;
    }
}

/* ---- The run */
static bool is_live(void *context) {
    struct sim_raft *world = context;
    if (world->marker < 0) {
        struct raft_node *leader = some_leader(world);
        if (!leader || leader->high_watermark < 0) return false;
        world->marker = raft_check_committed(world) + 20;
    }
    for (uint32_t n = 0; n < world->nodes_count; n++)
        if (!world->nodes[n].raft || world->nodes[n].high_watermark < world->marker) return false;
    return true;
}

static void heal_everything(struct sim_raft *world) {
    while (!list_is_empty(&heals)) heal_free(LIST_ITEM(heals.next, struct heal, all));
    memset(world->cut, 0, sizeof world->cut);
    memset(world->slow, 0, sizeof world->slow);
    world->loss_percent = 0;
    world->delay_max_us = 10000;
    world->flush_max_us = 10000;
    for (uint32_t n = 0; n < world->nodes_count; n++) {
        struct raft_node *node = &world->nodes[n];
        node->paused_until = 0;
        node->crash_after = 0;
        sim_cancel(world->sim, &node->restart);
        if (!node->raft) node_start(node);
        else if (node->raft->shutting_down) { /* it would end, and nobody would start it any more */
            node_crash(node, false);
            node_start(node);
        }
    }
}

static void setup(struct sim_raft *world, struct run *run, uint32_t voters) {
    world->run = run;
    world->sim = run->sim;
    world->pool = sim_pool(run->sim);
    world->voters = voters;
    world->marker = -1;
    random_seed(&world->random, sim_fork_seed(run->sim));
    list_init(&heals);
    world->dynamic = run_chance(run, "dynamic", 50);
    world->nodes_count = voters + (uint32_t)run_setting(run, "observers", 0, 2);
    world->snapshot_every = run_setting(run, "snapshot_every", 5, 60);
    world->fetch_entries = run_setting(run, "fetch_entries", 1, 12);
    world->delay_max_us = run_chance(run, "slow_net", 20) ? 400000 : 10000;
    world->loss_percent = run_chance(run, "lossy", 30) ? 10 : 0;
    world->flush_max_us = run_chance(run, "slow_disk", 20) ? 500000 : 10000;
    world->effects = pool_alloc(world->pool, sizeof *world->effects);
    assert(world->effects);
    world->check = raft_check_new(world);
    raft_nodes_open(world);
    struct raft_voters *first = &world->sets[world->sets_count++];
    for (uint32_t n = 0; n < voters; n++) {
        struct raft_listener at = node_listener(&world->nodes[n]);
        struct raft_key key = world->nodes[n].key;
        if (!world->dynamic) key.directory = (struct uuid){{0}};
        bool ok = raft_voters_add(first, key, 0, world->dynamic ? 1 : 0, &at, 1);
        assert(ok);
    }
}

static void teardown(struct sim_raft *world) {
    struct run *run = world->run;
    raft_nodes_close(world);
    sim_cancel(world->sim, &world->client);
    sim_cancel(world->sim, &world->snapshotter);
    raft_check_free(world);
    pool_free(world->pool, world->effects, sizeof *world->effects);
    pool_free(sim_pool(run->sim), world, sizeof *world);
}

void sim_raft_run(struct run *run, uint32_t voters) {
    struct sim_raft *world = POOL_NEW(sim_pool(run->sim), struct sim_raft);
    assert(world);
    setup(world, run, voters);
    static const uint32_t weights[FAULT_KINDS] = {
        [FAULT_KILL] = 10, [FAULT_POWER] = 20, [FAULT_POWER_ALL] = 2, [FAULT_DISK_CUT] = 20, [FAULT_CUT_ONE_WAY] = 20,
        [FAULT_CUT_NODE] = 15, [FAULT_SPLIT] = 10, [FAULT_PAUSE] = 15, [FAULT_SLOW_WIRE] = 10, [FAULT_OWN_1] = 5, [FAULT_OWN_2] = 5};
    memcpy(run->weights, weights, sizeof weights);
    run->lasts_max = 30 * NS_PER_S;
    run->pause_min = 50 * NS_PER_MS;
    run->pause_max = 3 * NS_PER_S;
    for (uint32_t n = 0; n < world->nodes_count; n++) node_start(&world->nodes[n]);
    sim_at(run->sim, &world->client, NS_PER_MS, on_client);
    sim_at(run->sim, &world->snapshotter, NS_PER_MS, on_snapshotter);
    run_faults_begin(run, on_fault, world);
    if (run_faults_end(run)) {
        heal_everything(world);
        bool live = sim_run_while_not(run->sim, is_live, world, RUN_LIVE_WITHIN);
        if (!live && !sim_has_failed(run->sim))
            sim_fail(run->sim, "liveness", "60 s after all is well again, %lld is not committed everywhere (committed: %lld)",
                     (long long)world->marker, (long long)raft_check_committed(world));
    }
    if (!sim_has_failed(run->sim)) teardown(world);
}
