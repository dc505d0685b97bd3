/* A whole node, broker and controller in one process, on a host where everything goes wrong; and clients on another, which
 * speak the wire and know nothing else. What they were told must stay true.
 */
#include "controller/format.h"
#include "server/server.h"
#include "sim/clients.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NODE = 0, CLIENTS = 1, TEXT_BYTES = 4096, SIM_NODE_DIRS_MAX = 3 };
/* A sweep: a first life that is killed, so that the second has something to recover and to read from the disk; in that one
 * the n-th operation fails, after so long at the latest what is then dead in the process is told by a restart, and another
 * while later if it failed even then. */
enum { SWEPT_LIFE = 2 };
#define SWEEP_FIRST (NS_PER_S)
#define SWEEP_LASTS (3 * NS_PER_S)
#define SWEEP_PAUSE (NS_PER_S / 2)

struct world {
    struct run *run;
    struct sim *sim;
    struct cluster cluster;
    struct history *history;
    struct random random;
    struct clients *clients;
    char properties[TEXT_BYTES];
    bool page_cache;
    uint64_t faults_at_start;
    struct clients_options options;
    struct sim_event end_process, cut_after_answer;
    uint32_t answers_left;        /* until the power is cut; 0: not planned */
    enum client_done answer_kind;
    time_ns cut_lasts;
    enum sweep { SWEEP_NONE, SWEEP_MEMORY, SWEEP_DISK } sweep;
    struct pool *sweep_pool;      /* of the swept life, until what shall fail has failed */
    bool serving, stopping, late; /* of the swept life; late: what has failed stays so until a restart */
    struct sim_event sweep_kill;
    uint64_t met;                 /* operations of the disk, until it was healed of everything else */
    bool memory_failed;           /* in this life */
    uint32_t dirs;
    struct sim_event heal_dir;
};

struct program { /* inside of the process */
    struct world *world;
    struct settings settings;
    struct config_values values;
    struct arena arena;
    struct server *server;
    bool failed, stopped, clean;
};

static const char *const paths[SIM_NODE_DIRS_MAX] = {"/data", "/disk1", "/disk2"};
static const char *const data_path = "/data";

/* ---- What a sweep has met. Memory: what the thread was doing says it. A disk's operation: the file. */
static void sweep_met(struct world *world, enum sweep_phase then) {
    if (world->run->phase) return;
    world->run->phase = !world->serving ? PHASE_START : world->stopping ? PHASE_STOP : then;
}

static struct world *sweeping;

static void on_no_memory(struct pool *pool) {
    static const struct { const char *doing; enum sweep_phase phase; } phases[] = {
        {"produce", PHASE_PRODUCE}, {"fetch", PHASE_FETCH}, {"offset_commit", PHASE_COMMIT}, {"taking a snapshot of the metadata", PHASE_SNAPSHOT}};
    const char *doing = panic_context();
    enum sweep_phase phase = PHASE_OTHER;
    for (size_t i = 0; doing && i < countof(phases); i++)
        if (strcmp(doing, phases[i].doing) == 0) phase = phases[i].phase;
    sweep_met(sweeping, phase);
}

static void on_sweep_kill(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, sweep_kill);
    struct cluster_node *node = &world->cluster.nodes[NODE];
    if (world->stopping || !node->process) return;
    cluster_kill(node);
    cluster_start(node);
}

static void on_disk_error(void *context, unsigned operation, const char *path) {
    bool changes = operation & (SIM_DISK_WRITE | SIM_DISK_SYNC | SIM_DISK_NAMES | SIM_DISK_TRUNCATE | SIM_DISK_ALLOCATE);
    const char *folder = "";
    for (size_t d = 0; path && d < countof(paths); d++)
        if (strncmp(path, paths[d], strlen(paths[d])) == 0 && path[strlen(paths[d])] == '/') folder = path + strlen(paths[d]) + 1;
    enum sweep_phase phase = PHASE_OTHER;
    if (strchr(folder, '/')) {
        bool is_internal = strncmp(folder, "__", 2) == 0;
        if (strstr(folder, ".checkpoint") && strncmp(folder, "__cluster_metadata-", 19) == 0) phase = PHASE_SNAPSHOT;
        else if (changes && strncmp(folder, "__consumer_offsets-", 19) == 0) phase = PHASE_COMMIT;
        else if (changes && !is_internal) phase = PHASE_PRODUCE;
        else if (operation == SIM_DISK_READ && !is_internal) phase = PHASE_FETCH;
    }
    sweep_met(context, phase);
    struct world *world = context;
    if (world->late && !world->stopping) sim_at(world->sim, &world->sweep_kill, sim_now(world->sim) + SWEEP_PAUSE, on_sweep_kill);
}

/* From here on the disk fails when the n-th operation since the swept life's begin comes. */
static void arm_disk(struct world *world) {
    uint64_t nth = world->run->nth ? world->run->nth : UINT64_MAX;
    if (world->run->phase) return;
    sim_disk_fail(sim_host_disk(world->cluster.nodes[NODE].host),
                  &(struct sim_disk_fault){.operations = UINT32_MAX, .skip = nth - 1 - world->met, .times = 1, .error = -EIO, .failed = on_disk_error, .context = world});
}

static void heal(struct world *world) {
    if (world->sweep == SWEEP_DISK) world->met += sim_disk_met(sim_host_disk(world->cluster.nodes[NODE].host));
    cluster_heal(&world->cluster);
    if (world->sweep == SWEEP_DISK) arm_disk(world);
}

static void on_ready(void *context) { ((struct program *)context)->world->serving = true; }

static bool disk_was_at_fault(const struct world *world) { return sim_count(world->sim)->faults > world->faults_at_start; }

/* A fault that may end this life of the node. */
static bool was_at_fault(struct world *world) {
    if (world->sweep_pool && world->sweep_pool->fail_at == 0) {
        world->sweep_pool = NULL;
        world->memory_failed = true;
    }
    return disk_was_at_fault(world) || world->memory_failed;
}

/* ---- The node */
static void trace_line(const char *line) {}

static struct world *tracing;
static void trace_aloud(const char *line) { printf("%12.6f node: %s\n", (double)sim_now(tracing->sim) / 1e9, line); }

static void on_end_process(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, end_process);
    struct cluster_node *node = &world->cluster.nodes[NODE];
    struct program *program = node->program;
    if (program && !program->failed && !program->stopped) return; /* it was another life's end */
    if (node->process) cluster_kill(node);
    if (!sim_is_scheduled(&node->restart)) cluster_start(node);
}

static void end_soon(struct world *world) {
    if (!sim_is_scheduled(&world->end_process)) sim_at(world->sim, &world->end_process, sim_now(world->sim) + 100 * NS_PER_MS, on_end_process);
}

static void on_stopped(void *context, bool clean, const char *why) {
    struct program *program = context;
    struct world *world = program->world;
    program->stopped = true;
    program->clean = clean;
    SIM_CHECK(world->sim, was_at_fault(world) || (clean && !why), "stop", "the node stops by itself, and no disk failed: %s", why ? why : "");
    end_soon(world);
}

/* ---- The power goes the moment that a client has its answer, while syncs take long: what was answered too early is lost. */
static void on_cut_after_answer(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, cut_after_answer);
    struct cluster_node *node = &world->cluster.nodes[NODE];
    if (world->run->quiet) return;
    cluster_power_cut(node, SIM_CRASH_LOSE_ALL);
    cluster_restart_after(node, world->cut_lasts);
}

static void on_answer(void *context, enum client_done what) {
    struct world *world = context;
    if (world->answers_left == 0 || what != world->answer_kind || --world->answers_left > 0 || world->run->quiet) return;
    sim_note(world->sim, "cut after an answer", NODE, (uint64_t)what, 0);
    if (!sim_is_scheduled(&world->cut_after_answer)) sim_at(world->sim, &world->cut_after_answer, sim_now(world->sim), on_cut_after_answer);
}

/* ---- A directory that fails, alone: nothing works, nothing stays, it is full, cannot be changed, has no names any more, cannot
 * be read. What lies in it is out of reach until a restart; the others go on. */
static void on_heal_dir(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, heal_dir);
    for (uint32_t d = 0; d < world->dirs; d++) sim_disk_heal_path(sim_host_disk(world->cluster.nodes[NODE].host), paths[d]);
}

static void fail_dir(struct cluster_node *node, const struct fault *fault) {
    static const struct { unsigned operations; int error; } shapes[] = {
        {UINT32_MAX, -EIO}, {SIM_DISK_SYNC, -EIO}, {SIM_DISK_WRITE | SIM_DISK_ALLOCATE, -ENOSPC}, {SIM_DISK_WRITE | SIM_DISK_TRUNCATE | SIM_DISK_NAMES, -EIO},
        {SIM_DISK_NAMES, -EIO}, {SIM_DISK_OPEN | SIM_DISK_READ, -EIO}};
    struct world *world = node->cluster->owner;
    if (world->dirs < 2 || sim_is_scheduled(&world->heal_dir)) return;
    uint32_t dir = 1 + (uint32_t)(fault->b % (world->dirs - 1)), shape = (uint32_t)(fault->c % countof(shapes));
    bool for_ever = fault->a % 3 > 0, whole = for_ever && (shapes[shape].operations & SIM_DISK_OPEN);
    on_heal_dir(world->sim, &world->heal_dir);
    sim_note(world->sim, "dir fails", dir, shape, for_ever);
    sim_disk_fail(sim_host_disk(node->host), &(struct sim_disk_fault){.operations = shapes[shape].operations, .path_part = paths[dir], .skip = whole ? 0 : fault->a / 8 % 30,
                  .times = for_ever ? 0 : 1, .error = shapes[shape].error});
    sim_at(world->sim, &world->heal_dir, sim_now(world->sim) + fault->lasts, on_heal_dir);
    if (fault->c / 16 % 3 != 0 || !node->process) return;
    cluster_kill(node); /* so that the next start meets it */
    cluster_restart_after(node, 10 * NS_PER_MS);
}

static void own_fault(struct cluster_node *node, const struct fault *fault) {
    struct world *world = node->cluster->owner;
    if (fault->kind == FAULT_OWN_2) fail_dir(node, fault);
    if (fault->kind != FAULT_OWN_1) return;
    world->answers_left = 1 + (uint32_t)(fault->b % 3);
    static const enum client_done kinds[] = {CLIENT_COMMITTED, CLIENT_CREATED, CLIENT_DELETED, CLIENT_PRODUCED};
    world->answer_kind = kinds[fault->c % countof(kinds)];
    if (world->answer_kind == CLIENT_DELETED && !world->options.deletes_records) world->answer_kind = CLIENT_PRODUCED;
    world->cut_lasts = fault->lasts;
    cluster_slow_syncs(node, 300 * NS_PER_MS, 3 * NS_PER_S);
}

static void node_start(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    struct pool *pools[SIM_SHARDS_MAX];
    struct io *ios[SIM_SHARDS_MAX];
    for (uint32_t i = 0; i < node->cluster->shards; i++) {
        pools[i] = sim_process_pool(node->process, i);
        ios[i] = sim_process_io(node->process, i);
    }
    struct program *program = POOL_NEW(pools[0], struct program);
    struct text why;
    char why_bytes[1024];
    assert(program);
    node->program = program;
    program->world = world;
    world->faults_at_start = sim_count(world->sim)->faults;
    world->memory_failed = false;
    if (node->life == SWEPT_LIFE) world->serving = false;
    if (world->sweep == SWEEP_MEMORY && node->life == SWEPT_LIFE) {
        sweeping = world;
        for (uint32_t i = 0; i < node->cluster->shards; i++) {
            pools[i]->fail_at = world->run->nth == 0 ? UINT64_MAX : world->run->nth % node->cluster->shards == i ? world->run->nth / node->cluster->shards + 1 : 0;
            pools[i]->on_fail = on_no_memory;
        }
        if (world->run->nth) world->sweep_pool = pools[world->run->nth % node->cluster->shards];
    }
    if (world->sweep == SWEEP_DISK && node->life == SWEPT_LIFE) arm_disk(world);
    text_init(&why, why_bytes, sizeof why_bytes);
    arena_init(&program->arena, pools[0], 0);
    config_values_init(&program->values, &program->arena);
    enum err err = config_values_read(&program->values, span_text(world->properties), &why);
    bool read = !err && settings_read(&program->settings, &program->values, &why, NULL);
    SIM_CHECK(world->sim, read || was_at_fault(world), "start", "the configuration is not taken: %s", why.bytes);
    if (!read) {
        program->failed = true;
        end_soon(world);
        return;
    }
    struct server_options options = {
        .settings = &program->settings, .ios = ios, .shards = node->cluster->shards, .files = io_files(ios[0]), .pool = pools[0],
        .shard_pools = pools, .trace = world->run->options->verbose ? trace_aloud : trace_line, .on_ready = on_ready, .on_stopped = on_stopped, .context = program};
    err = server_open(&program->server, &options, &why);
    if (err) {
        SIM_CHECK(world->sim, sim_process_is_stuck(node->process) || was_at_fault(world), "start", "the node does not start: %s: %s", err_name(err), why.bytes);
        SIM_CHECK(world->sim, why.size > 0, "start", "the node does not start and does not say why: %s", err_name(err));
        program->failed = true;
        end_soon(world);
        return;
    }
    sim_process_drive(node->process, server_shards(program->server));
}

/* ---- Both hosts */
static void program_start(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    if (node->number == NODE) node_start(node);
    else world->clients = clients_start(node, &world->options);
}

static void program_died(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    if (node->number == NODE && (!sim_host_has_power(node->host) || disk_was_at_fault(world))) history_power_cut(world->history);
}

static void format(struct world *world) {
    struct cluster_node *node = &world->cluster.nodes[NODE];
    struct text why;
    char why_bytes[1024];
    struct uuid directories[SIM_NODE_DIRS_MAX];
    for (uint32_t d = 0; d < world->dirs; d++) directories[d] = uuid_random(&world->random);
    struct format_plan plan = {.node = 1, .cluster_id = SPAN_LITERAL("simulated-node-AAAAAAA"), .dirs = paths, .directory_ids = directories,
                               .dir_count = world->dirs, .is_controller = true, .now = 1000};
    text_init(&why, why_bytes, sizeof why_bytes);
    enum err err = format_run(&plan, sim_host_files(node->host), sim_pool(world->sim), &why);
    SIM_CHECK(world->sim, err == ERR_NONE, "format", "formatting: %s: %s", err_name(err), why.bytes);
    cluster_power_cut(node, SIM_CRASH_LOSE_ALL); /* what format says it did is there */
}

static void write_properties(struct world *world) {
    struct run *run = world->run;
    struct text text;
    text_init(&text, world->properties, sizeof world->properties);
    text_add(&text, "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@10.0.0.1:9093\ncontroller.listener.names=CONTROLLER\n"
                    "listeners=PLAINTEXT://10.0.0.1:9092,CONTROLLER://10.0.0.1:9093\ninter.broker.listener.name=PLAINTEXT\nlog.dirs=%s%s%s\n"
                    "offsets.topic.replication.factor=1\n", data_path, world->dirs > 1 ? ",/disk1" : "", world->dirs > 2 ? ",/disk2" : "");
    if (world->dirs > 1) text_add(&text, "file.delete.delay.ms=100\n");
    /* Nothing may be forgotten because a clock jumps. */
    text_add(&text, "log.retention.ms=-1\noffsets.retention.minutes=100000000\nproducer.id.expiration.ms=2147483647\n"
                    "log.message.timestamp.before.max.ms=9223372036854775807\nlog.message.timestamp.after.max.ms=9223372036854775807\n");
    text_add(&text, "offsets.topic.num.partitions=%lld\n", (long long)run_setting(run, "offsets_partitions", 1, 4));
    text_add(&text, "log.roll.ms=%lld\n", (long long)run_setting(run, "roll_ms", 200, 10000));
    text_add(&text, "log.index.interval.bytes=%lld\n", (long long)run_setting(run, "index_interval", 1, 2000));
    text_add(&text, "metadata.log.max.record.bytes.between.snapshots=%lld\n", (long long)run_setting(run, "snapshot_bytes", 200, world->sweep == SWEEP_NONE ? 20000 : 400));
    text_add(&text, "log.flush.offset.checkpoint.interval.ms=%lld\n", (long long)run_setting(run, "checkpoint_ms", 200, 20000));
    text_add(&text, "replica.high.watermark.checkpoint.interval.ms=%lld\n", (long long)run_setting(run, "high_watermark_ms", 100, 5000));
    text_add(&text, "group.initial.rebalance.delay.ms=%lld\n", (long long)run_setting(run, "rebalance_delay_ms", 0, 1000));
    world->page_cache = run_chance(run, "page_cache", world->sweep == SWEEP_NONE ? 20 : 0);
    if (world->page_cache) text_add(&text, "moldau.durability=page-cache\n");
    assert(!text.cut);
}

static bool is_live(void *context) {
    struct world *world = context;
    return world->clients && clients_are_live(world->clients);
}

static bool is_verified(void *context) { return clients_are_verified(((struct world *)context)->clients); }

static bool is_stopped(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[NODE].program;
    return program && program->stopped;
}

static void say_not_live(struct world *world, const char *what) {
    char bytes[900];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    clients_text(world->clients, &text);
    sim_fail(world->sim, what, "60 s after all is well again, these have got nowhere:%s", bytes);
}

/* Which pool an operation is of goes in turn, so there are as many numbers as the busiest one needs. */
static void count_allocations(struct world *world, struct sim_process *process) {
    uint32_t shards = world->cluster.shards;
    for (uint32_t i = 0; i < shards && world->run->nth == 0; i++) {
        uint64_t count = (UINT64_MAX - sim_process_pool(process, i)->fail_at) * shards;
        if (count > world->run->operations) world->run->operations = count;
    }
}

/* The node is told to stop as by SIGTERM, and must have given everything back. */
static void stop_in_order(struct world *world) {
    struct cluster_node *node = &world->cluster.nodes[NODE];
    struct program *program = node->program;
    if (!program || program->failed) return;
    bool failed_before = was_at_fault(world);
    world->stopping = true;
    server_stop(program->server);
    sim_io_nudge(sim_process_io(node->process, 0));
    if (!sim_run_while_not(world->sim, is_stopped, world, RUN_LIVE_WITHIN)) {
        if (!sim_has_failed(world->sim)) sim_fail(world->sim, "stop", "the node does not stop within 60 s");
        return;
    }
    /* What fails while stopping makes it a stop that the next start recovers from. */
    SIM_CHECK(world->sim, program->clean || (!failed_before && was_at_fault(world)), "stop", "an orderly stop is not clean");
    sim_cancel(world->sim, &world->end_process);
    if (sim_has_failed(world->sim)) return;
    /* What is under way between the shards comes home. */
    sim_run_until(world->sim, sim_now(world->sim) + NS_PER_S);
    struct sim_process *process = node->process;
    if (world->sweep == SWEEP_MEMORY) count_allocations(world, process);
    if (world->sweep == SWEEP_DISK) world->run->operations = world->met + sim_disk_met(sim_host_disk(node->host));
    server_free(program->server);
    arena_destroy(&program->arena);
    pool_free(sim_process_pool(process, 0), program, sizeof *program);
    node->program = NULL;
    node->process = NULL;
    sim_process_end(process);
}

/* After all moves have ended and the node has stopped: every partition has one folder, in one of the directories. */
struct folders { struct world *world; uint32_t counts[HISTORY_PARTITIONS_MAX]; };

static bool ends_with(const char *name, const char *ending) {
    size_t size = strlen(name), end = strlen(ending);
    return size > end && strcmp(name + size - end, ending) == 0;
}

static void see_folder(void *context, const char *name, bool is_directory) {
    struct folders *folders = context;
    struct world *world = folders->world;
    unsigned partition;
    if (!is_directory || ends_with(name, "-stray")) return;
    SIM_CHECK(world->sim, !ends_with(name, "-future"), "dir", "at the end there is %s", name);
    char expected[16];
    if (sscanf(name, "t-%u", &partition) != 1 || partition >= world->options.partitions) return;
    snprintf(expected, sizeof expected, "t-%u", partition);
    if (strcmp(name, expected) == 0) folders->counts[partition]++;
}

static void check_folders(struct world *world) {
    struct folders folders = {.world = world};
    for (uint32_t d = 0; d < world->dirs; d++) sim_disk_peek_names(sim_host_disk(world->cluster.nodes[NODE].host), paths[d], see_folder, &folders);
    for (uint32_t p = 0; p < world->options.partitions && world->sweep == SWEEP_NONE; p++)
        SIM_CHECK(world->sim, folders.counts[p] <= 1, "dir", "at the end partition %u has %u folders", p, folders.counts[p]);
}

static void node_run(struct run *run, enum sweep sweep) {
    struct world *world = POOL_NEW(sim_pool(run->sim), struct world);
    assert(world);
    world->run = run;
    world->sim = run->sim;
    world->sweep = sweep;
    tracing = world;
    random_seed(&world->random, sim_fork_seed(run->sim));
    bool swept = sweep != SWEEP_NONE; /* everybody is there */
    uint32_t shards = (uint32_t)run_setting(run, "shards", swept ? 2 : 1, swept ? 2 : 3);
    world->dirs = swept ? 2 : 1;
    if (!swept && run_chance(run, "has_dirs", 67)) world->dirs = (uint32_t)run_setting(run, "dirs", 2, SIM_NODE_DIRS_MAX);
    write_properties(world);
    world->options = (struct clients_options){
        .run = run, .server_host = NODE, .partitions = (uint32_t)run_setting(run, "partitions", 1, 6), .producers = (uint32_t)run_setting(run, "producers", 1, 4),
        .consumers = (uint32_t)run_setting(run, "consumers", 1, 3), .members = (uint32_t)run_setting(run, "members", swept ? 2 : 0, 4), .durable = !world->page_cache,
        .batch_records_max = (uint32_t)run_setting(run, "batch_records", 1, 10), .creates_topics = run_chance(run, "creates_topics", swept ? 100 : 50)};
    world->options.deletes_records = !world->page_cache && run_chance(run, "deletes_records", swept ? 100 : 50);
    world->history = history_new(run->sim, world->options.partitions, !world->page_cache);
    world->options.history = world->history;
    world->options.acknowledged = on_answer;
    world->options.dirs = paths;
    world->options.dir_count = world->dirs;
    world->options.context = world;
    cluster_init(&world->cluster, run, 2, shards, 0);
    world->cluster.owner = world;
    world->cluster.start = program_start;
    world->cluster.died = program_died;
    world->cluster.own_fault = own_fault;
    world->cluster.clock_step_max_ms = 3600000;
    world->cluster.nodes[CLIENTS].immune = true;
    sim_disk_set_devices(sim_host_disk(world->cluster.nodes[NODE].host));
    format(world);
    static const uint32_t weights[FAULT_KINDS] = {
        [FAULT_KILL] = 10, [FAULT_POWER] = 15, [FAULT_DISK_CUT] = 30, [FAULT_CUT_ONE_WAY] = 6, [FAULT_CUT_NODE] = 6, [FAULT_RESET] = 15,
        [FAULT_PAUSE] = 6, [FAULT_SLOW_WIRE] = 4, [FAULT_CLOCK_STEP] = 4, [FAULT_CLOCK_RATE] = 4, [FAULT_DISK_FULL] = 4, [FAULT_DISK_SYNC] = 4,
        [FAULT_DISK_WRITE] = 4, [FAULT_DISK_READ] = 3, [FAULT_DISK_SLOW] = 5, [FAULT_OWN_1] = 30};
    memcpy(run->weights, weights, sizeof weights);
    if (world->dirs > 1) run->weights[FAULT_OWN_2] = 25;
    run->pause_min = 300 * NS_PER_MS;
    run->pause_max = 4 * NS_PER_S;
    run->lasts_max = 5 * NS_PER_S;
    cluster_start(&world->cluster.nodes[NODE]);
    cluster_start(&world->cluster.nodes[CLIENTS]);
    struct cluster_node *node = &world->cluster.nodes[NODE];
    if (sweep == SWEEP_NONE) run_faults_begin(run, cluster_fault, &world->cluster);
    else if (sim_run_until(run->sim, SWEEP_FIRST)) on_sweep_kill(run->sim, &world->sweep_kill);
    if (sweep == SWEEP_NONE ? run_faults_end(run) : sim_run_until(run->sim, SWEEP_FIRST + SWEEP_LASTS)) {
        world->late = swept;
        sim_cancel(run->sim, &world->heal_dir);
        if (node->process && disk_was_at_fault(world)) cluster_kill(node); /* what failed stays failed in that process */
        heal(world);
        clients_mark(world->clients);
        if (!sim_run_while_not(run->sim, is_live, world, RUN_LIVE_WITHIN) && !sim_has_failed(run->sim)) say_not_live(world, "liveness");
        clients_verify(world->clients);
        if (!sim_has_failed(run->sim) && !sim_run_while_not(run->sim, is_verified, world, RUN_LIVE_WITHIN) && !sim_has_failed(run->sim))
            say_not_live(world, "verify");
        if (!sim_has_failed(run->sim)) stop_in_order(world);
        if (!sim_has_failed(run->sim) && world->dirs > 1) check_folders(world);
    }
    if (sim_has_failed(run->sim)) return;
    if (sweep == SWEEP_MEMORY && run->phase) sim_count(run->sim)->faults++; /* for the report: it was reached */
    sim_cancel(run->sim, &world->end_process);
    sim_cancel(run->sim, &world->sweep_kill);
    sim_cancel(run->sim, &world->cut_after_answer);
    sim_cancel(run->sim, &world->heal_dir);
    cluster_destroy(&world->cluster);
    history_free(world->history);
    pool_free(sim_pool(run->sim), world, sizeof *world);
}

void sim_node_run(struct run *run);
void sim_node_memory_run(struct run *run);
void sim_node_disk_run(struct run *run);
void sim_node_run(struct run *run) { node_run(run, SWEEP_NONE); }
void sim_node_memory_run(struct run *run) { node_run(run, SWEEP_MEMORY); }
void sim_node_disk_run(struct run *run) { node_run(run, SWEEP_DISK); }
