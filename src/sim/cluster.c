#include "sim/cluster.h"
#include <errno.h>
#include <string.h>

enum heal_kind { HEAL_WIRE, HEAL_DISK, HEAL_CAPACITY, HEAL_TIMING };
struct heal {
    struct sim_event event;
    struct list all;
    struct cluster *cluster;
    enum heal_kind kind;
    uint32_t from, to;
};

static void watch(struct sim *sim, void *context);

void cluster_init(struct cluster *cluster, struct run *run, uint32_t count, uint32_t shards, uint64_t disk_bytes) {
    assert(count <= CLUSTER_NODES_MAX);
    memset(cluster, 0, sizeof *cluster);
    cluster->run = run;
    cluster->sim = run->sim;
    cluster->count = count;
    cluster->shards = shards;
    cluster->disk_bytes = disk_bytes;
    cluster->net = sim_net_new(run->sim, NULL);
    list_init(&cluster->heals);
    for (uint32_t n = 0; n < count; n++) {
        struct cluster_node *node = &cluster->nodes[n];
        node->cluster = cluster;
        node->number = n;
        node->host = sim_host_new(run->sim, cluster->net, n, disk_bytes);
    }
    sim_watch(run->sim, watch, cluster);
}

void cluster_destroy(struct cluster *cluster) {
    sim_watch(cluster->sim, NULL, NULL);
    while (!list_is_empty(&cluster->heals)) {
        struct heal *heal = LIST_ITEM(cluster->heals.next, struct heal, all);
        sim_cancel(cluster->sim, &heal->event);
        list_remove(&heal->all);
        pool_free(sim_pool(cluster->sim), heal, sizeof *heal);
    }
    for (uint32_t n = 0; n < cluster->count; n++) {
        sim_cancel(cluster->sim, &cluster->nodes[n].restart);
        if (cluster->nodes[n].process) cluster_kill(&cluster->nodes[n]);
        sim_host_free(cluster->nodes[n].host);
    }
    sim_net_free(cluster->net);
}

/* ---- Starting and dying */
void cluster_start(struct cluster_node *node) {
    assert(!node->process);
    if (!sim_host_has_power(node->host)) sim_host_power_on(node->host);
    node->process = sim_process_start(node->host, node->cluster->shards);
    node->life++;
    node->cluster->start(node);
}

static void dead(struct cluster_node *node) {
    node->process = NULL;
    node->program = NULL;
    if (node->cluster->died) node->cluster->died(node);
}

void cluster_kill(struct cluster_node *node) {
    sim_process_kill(node->process);
    dead(node);
}

void cluster_power_cut(struct cluster_node *node, enum sim_crash policy) {
    if (!sim_host_has_power(node->host)) return;
    sim_host_power_cut(node->host, policy);
    dead(node); /* also of a host where nothing ran: its disk has lost what was not synced */
}

static void on_restart(struct sim *sim, struct sim_event *event) {
    struct cluster_node *node = container_of(event, struct cluster_node, restart);
    if (!node->process) cluster_start(node);
}

void cluster_restart_after(struct cluster_node *node, time_ns after) {
    struct sim *sim = node->cluster->sim;
    if (!sim_is_scheduled(&node->restart)) sim_at(sim, &node->restart, sim_now(sim) + after, on_restart);
}

/* A process whose disk was cut under it does nothing any more: this is the moment of its end. */
static void watch(struct sim *sim, void *context) {
    struct cluster *cluster = context;
    for (uint32_t n = 0; n < cluster->count; n++) {
        struct cluster_node *node = &cluster->nodes[n];
        if (!sim_disk_is_cut(sim_host_disk(node->host))) continue;
        if (node->kill_at_cut && node->process) cluster_kill(node);
        else cluster_power_cut(node, SIM_CRASH_RANDOM);
        if (node->process == NULL) cluster_restart_after(node, NS_PER_MS * 10);
    }
    if (cluster->after_event) cluster->after_event(cluster);
}

/* ---- Healing */
static void heal_now(struct heal *heal) {
    struct cluster *cluster = heal->cluster;
    struct sim_host *host = cluster->nodes[heal->from % cluster->count].host;
    switch (heal->kind) {
    case HEAL_WIRE:
        sim_net_heal(cluster->net, heal->from, heal->to);
        sim_net_slow(cluster->net, heal->from, heal->to, 0);
        break;
    case HEAL_DISK: sim_disk_heal(sim_host_disk(host)); break;
    case HEAL_CAPACITY: sim_disk_set_capacity(sim_host_disk(host), cluster->disk_bytes); break;
    case HEAL_TIMING: {
        struct sim_timing timing = sim_timing_default();
        sim_host_set_timing(host, &timing);
        break;
    }
    }
    sim_cancel(cluster->sim, &heal->event);
    list_remove(&heal->all);
    pool_free(sim_pool(cluster->sim), heal, sizeof *heal);
}

static void on_heal(struct sim *sim, struct sim_event *event) { heal_now(container_of(event, struct heal, event)); }

static void heal_after(struct cluster *cluster, enum heal_kind kind, uint32_t from, uint32_t to, time_ns after) {
    struct heal *heal = POOL_NEW(sim_pool(cluster->sim), struct heal);
    assert(heal);
    *heal = (struct heal){.cluster = cluster, .kind = kind, .from = from, .to = to};
    list_push(&cluster->heals, &heal->all);
    sim_at(cluster->sim, &heal->event, sim_now(cluster->sim) + after, on_heal);
}

void cluster_slow_syncs(struct cluster_node *node, time_ns sync_max, time_ns lasts) {
    struct sim_timing timing = sim_timing_default();
    timing.sync_max = sync_max;
    sim_host_set_timing(node->host, &timing);
    heal_after(node->cluster, HEAL_TIMING, node->number, 0, lasts);
}

static void cut(struct cluster *cluster, uint32_t from, uint32_t to, time_ns lasts) {
    if (from == to) return;
    sim_net_cut(cluster->net, from, to);
    heal_after(cluster, HEAL_WIRE, from, to, lasts);
}

void cluster_heal(struct cluster *cluster) {
    while (!list_is_empty(&cluster->heals)) heal_now(LIST_ITEM(cluster->heals.next, struct heal, all));
    sim_net_heal_all(cluster->net);
    for (uint32_t n = 0; n < cluster->count; n++) {
        struct cluster_node *node = &cluster->nodes[n];
        sim_disk_heal(sim_host_disk(node->host));
        sim_disk_cut_after(sim_host_disk(node->host), UINT64_MAX);
        sim_cancel(cluster->sim, &node->restart);
        if (!node->process) cluster_start(node);
        else sim_process_pause(node->process, sim_now(cluster->sim));
    }
}

/* ---- Faults */
static struct cluster_node *some_node(struct cluster *cluster, uint64_t drawn) {
    for (uint32_t i = 0; i < cluster->count; i++) {
        struct cluster_node *node = &cluster->nodes[(drawn + i) % cluster->count];
        if (!node->immune) return node;
    }
    never("every node is immune");
}

static void rule(struct cluster_node *node, unsigned operations, uint64_t skip, int error, time_ns lasts) {
    struct sim_disk *disk = sim_host_disk(node->host);
    sim_disk_heal(disk); /* one at a time: there is little room for rules */
    sim_disk_fail(disk, &(struct sim_disk_fault){.operations = operations, .skip = skip, .times = 1, .error = error});
    heal_after(node->cluster, HEAL_DISK, node->number, 0, lasts);
}

void cluster_fault(void *context, const struct fault *fault) {
    struct cluster *cluster = context;
    struct cluster_node *node = some_node(cluster, fault->a), *other = &cluster->nodes[fault->b % cluster->count];
    struct sim_disk *disk = sim_host_disk(node->host);
    switch (fault->kind) {
    case FAULT_KILL:
        if (node->process) cluster_kill(node);
        cluster_restart_after(node, fault->lasts);
        break;
    case FAULT_POWER:
        cluster_power_cut(node, fault->c % 4 ? SIM_CRASH_RANDOM : SIM_CRASH_LOSE_ALL);
        cluster_restart_after(node, fault->lasts);
        break;
    case FAULT_POWER_ALL:
        for (uint32_t n = 0; n < cluster->count; n++) {
            if (cluster->nodes[n].immune) continue;
            cluster_power_cut(&cluster->nodes[n], SIM_CRASH_RANDOM);
            cluster_restart_after(&cluster->nodes[n], fault->lasts / (n + 1));
        }
        break;
    case FAULT_DISK_CUT:
        node->kill_at_cut = fault->c % 3 == 0;
        sim_disk_cut_after(disk, fault->b % 40);
        break;
    case FAULT_CUT_ONE_WAY:
        if (fault->c % 2) cut(cluster, node->number, other->number, fault->lasts);
        else cut(cluster, other->number, node->number, fault->lasts);
        break;
    case FAULT_CUT_NODE:
        for (uint32_t n = 0; n < cluster->count; n++) {
            cut(cluster, node->number, n, fault->lasts);
            cut(cluster, n, node->number, fault->lasts);
        }
        break;
    case FAULT_SPLIT:
        for (uint32_t n = 0; n < cluster->count; n++)
            for (uint32_t m = 0; m < cluster->count; m++)
                if ((fault->b >> n & 1) != (fault->b >> m & 1)) cut(cluster, n, m, fault->lasts);
        break;
    case FAULT_RESET: (void)sim_net_reset_one(cluster->net); break;
    case FAULT_PAUSE:
        if (node->process) sim_process_pause(node->process, sim_now(cluster->sim) + fault->lasts);
        break;
    case FAULT_SLOW_WIRE:
        sim_net_slow(cluster->net, node->number, other->number, (time_ns)(fault->c % (uint64_t)NS_PER_S));
        heal_after(cluster, HEAL_WIRE, node->number, other->number, fault->lasts);
        break;
    case FAULT_CLOCK_STEP: {
        /* Far, or a few seconds, in both directions. */
        uint64_t far = cluster->clock_step_max_ms ? (uint64_t)cluster->clock_step_max_ms : UINT64_C(31536000000);
        sim_host_clock_step(node->host, (time_ms)(fault->b % (fault->c % 2 ? far : 10000)) * (fault->c % 4 < 2 ? 1 : -1));
        break;
    }
    case FAULT_CLOCK_RATE: sim_host_clock_rate(node->host, (int32_t)(fault->b % 200001) - 100000); break;
    case FAULT_DISK_FULL:
        sim_disk_set_capacity(disk, sim_disk_used(disk) + SIM_PAGE_BYTES * (1 + fault->b % 16));
        heal_after(cluster, HEAL_CAPACITY, node->number, 0, fault->lasts);
        break;
    case FAULT_DISK_SYNC: rule(node, SIM_DISK_SYNC, fault->b % 20, -EIO, fault->lasts); break;
    case FAULT_DISK_WRITE: rule(node, SIM_DISK_WRITE, fault->b % 20, fault->c % 3 ? -EIO : -ENOSPC, fault->lasts); break;
    case FAULT_DISK_READ: rule(node, SIM_DISK_READ, fault->b % 20, -EIO, fault->lasts); break;
    case FAULT_DISK_SLOW: {
        struct sim_timing timing = sim_timing_default();
        timing.disk_max = timing.sync_max = timing.job_max = (time_ns)(fault->b % (uint64_t)(2 * NS_PER_S)) + NS_PER_MS;
        sim_host_set_timing(node->host, &timing);
        heal_after(cluster, HEAL_TIMING, node->number, 0, fault->lasts);
        break;
    }
    case FAULT_ROT: case FAULT_OWN_1: case FAULT_OWN_2: case FAULT_OWN_3:
        if (cluster->own_fault) cluster->own_fault(node, fault);
        break;
    case FAULT_KINDS: never("no kind of fault");
    }
}
