/* A store with a few logs in one to three directories, under crash at any operation, full disks and failing ones, of which
 * each may fail alone: L1 to L8, and that a directory's trouble is nobody else's.
 */
#include "sim/sim_log.h"
#include <errno.h>

static const char *const paths[SIM_LOG_DIRS_MAX] = {"/data", "/disk1", "/disk2"};

static void open_done(struct log_wait *wait, enum err err) {
    struct program_log *at = container_of(wait, struct program_log, open_wait);
    at->opening = false;
    SAY(at->program->world, "log %u: opening ends (%s)", at->model->number, err_name(err));
    if (err == ERR_NONE) opened(at);
}

static bool is_open(struct program_log *at) {
    if (at->opening || !at->log) return false;
    at->open_wait.done = open_done;
    enum err err = log_open(at->log, &at->open_wait);
    if (err == ERR_AGAIN) at->opening = true;
    if (err != ERR_NONE) return false;
    opened(at);
    return log_state(at->log) == LOG_OPEN;
}

/* ---- The program */
static void log_is_durable(struct log_owner *owner, struct log *log) {
    struct program_log *at = container_of(owner, struct program_log, owner);
    if (random_chance(&at->program->random, 1, 2)) log_high_watermark_set(log, log_durable(log));
}

static void log_has_failed(struct log_owner *owner, struct log *log, enum err err) {
    struct program_log *at = container_of(owner, struct program_log, owner);
    struct world *world = at->program->world;
    SIM_CHECK(world->sim, log_was_at_fault(at), "log", "log %u failed with %s, and no directory of it did", at->model->number, err_name(err));
    at->failed = true;
    at->model->known_after_life = false; /* it may be opened again, in this life */
    if (sim_count(world->sim)->lost > world->lost_at_start) at->model->power_was_cut = true;
}

static void stop_done(struct log_wait *wait, enum err err) {
    struct program *program = container_of(wait, struct program, stop_wait);
    program->stopped = true;
    SIM_CHECK(program->world->sim, err == ERR_NONE, "stop", "stopping the store ends with %s", err_name(err));
}

static void on_tick(struct timer *timer) {
    struct program *program = container_of(timer, struct program, tick);
    struct world *world = program->world;
    if (program->stopping || program->failed) return;
    struct program_log *at = &program->logs[random_below(&program->random, world->logs)];
    if (is_open(at) && !sim_has_failed(world->sim)) {
        if (world->dirs > 1 && !disk_was_at_fault(world)) check_folder(at);
        if (!world->checking) do_something(at);
        else if (!at->checked && !at->reading) {
            if (log_end(at->log) > log_start(at->log)) read_begin(at, log_start(at->log), READ_BYTES_MAX / 2, LOG_UPTO_END, log_end(at->log));
            else at->checked = true;
        }
    }
    bool set = timer_set(program->shard, timer, shard_now(program->shard) + 100000 + (time_ns)random_below(&program->random, 4 * (uint64_t)NS_PER_MS), on_tick);
    assert(set);
}

static enum err logs_make(struct program *program) {
    struct world *world = program->world;
    for (uint32_t i = 0; i < world->logs; i++) {
        struct program_log *at = &program->logs[i];
        char topic[16];
        snprintf(topic, sizeof topic, "t%u", i);
        at->program = program;
        at->model = &world->models[i];
        at->truncate_to = at->read_to = -1;
        at->wait.done = op_ended;
        at->owner = (struct log_owner){.durable = log_is_durable, .failed = log_has_failed};
        arena_init(&at->read_arena, program->shard->pool, 0);
        chain_init(&at->read_chain, &at->read_arena);
        struct log_dir *found = log_dirs_find(program->dirs, topic, 0);
        if (!found && !dirs_are_online(program)) continue; /* it may lie where nobody can look: it is not made a second time */
        struct log_spec spec = {.dir = found ? found : log_dirs_at(program->dirs, i % world->dirs), .topic = topic, .create = true, .owner = &at->owner};
        memset(spec.topic_id.bytes, (int)i + 1, sizeof spec.topic_id.bytes);
        log_config_init(&spec.config);
        spec.config.flush_messages = world->page_cache ? INT64_MAX : 1;
        spec.config.segment_bytes = (uint32_t)world->segment_bytes;
        spec.config.index_interval_bytes = (uint32_t)world->index_interval;
        spec.config.retention_bytes = world->retention_bytes;
        spec.config.retention_ms = -1;
        spec.config.file_delete_delay_ms = 100;
        enum err err = log_new(&at->log, program->store, &spec);
        if (err) return err;
        at->dirs_used = UINT32_C(1) << dir_index(world, spec.dir);
    }
    return ERR_NONE;
}

static void on_end_process(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, end_process);
    struct cluster_node *node = &world->cluster.nodes[0];
    struct program *program = node->program;
    bool failed = !program || program->failed || !dirs_are_online(program);
    for (uint32_t i = 0; i < world->logs && !failed; i++) failed = program->logs[i].failed;
    if (!failed) return; /* it was another life's end */
    if (node->process) cluster_kill(node);
    if (!sim_is_scheduled(&node->restart)) cluster_start(node);
}

/* A disk failed: the program is ended and begun again, as whoever supervises it would; when it has several, after a while in
 * which the others go on. */
void end_soon(struct world *world) {
    if (sim_is_scheduled(&world->end_process)) return;
    time_ns after = 50 * NS_PER_MS;
    if (world->dirs > 1) after += (time_ns)random_below(&world->random, (uint64_t)(3 * NS_PER_S));
    sim_at(world->sim, &world->end_process, sim_now(world->sim) + after, on_end_process);
}

static void program_start(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    struct program *program = POOL_NEW(sim_process_pool(node->process, 0), struct program);
    struct io *ios[1] = {sim_process_io(node->process, 0)};
    struct pool *pools[1] = {sim_process_pool(node->process, 0)};
    struct shard_options options = {.count = 1, .ios = ios, .pools = pools, .mailbox_messages = 64};
    char why[256] = "";
    assert(program);
    node->program = program;
    program->world = world;
    program->node = node;
    random_seed(&program->random, sim_fork_seed(world->sim));
    world->faults_at_start = sim_count(world->sim)->faults;
    world->lost_at_start = sim_count(world->sim)->lost;
    memset(world->dir_faults, 0, sizeof world->dir_faults);
    for (uint32_t i = 0; i < world->logs; i++) world->models[i].known_after_life = false;
    enum err err = shard_group_open(&program->group, &options);
    assert(err == ERR_NONE);
    program->shard = shard_at(program->group, 0);
    struct log_dirs_options dirs = {.paths = paths, .count = world->dirs, .node = 1, .pool = pools[0], .disk_reserve_bytes = 0,
                                    .random = &program->random, .now_ms = io_wall(ios[0])};
    struct log_store_options store = {.open_logs_max = world->crowded ? 1 : 0, .open_files_max = world->crowded ? 2 : 0,
                                      .tail_bytes_max = world->crowded ? 2000 : 0, .recovery_checkpoint_ms = 1000, .high_watermark_ms = 500,
                                      .retention_check_ms = 700, .retention_first_ms = 300, .checkpoint_bytes_min = 10000,
                                      .producer_expiration_ms = INT64_C(3153600000000), .preallocate_bytes = world->crowded ? UINT32_MAX : 16384, .room_bytes_max = world->crowded ? UINT32_MAX : 16384,
                                      .move_bytes_per_second = world->move_rate};
    if ((err = log_dirs_open(&program->dirs, io_files(ios[0]), &dirs, why, sizeof why))) goto failed;
    if ((err = log_store_open(&program->store, program->shard, program->dirs, &store))) goto failed;
    if ((err = logs_make(program))) goto failed;
    sim_process_drive(node->process, program->group);
    bool set = timer_set(program->shard, &program->tick, 0, on_tick);
    assert(set);
    return;
failed:
    SIM_CHECK(world->sim, disk_was_at_fault(world) || sim_process_is_stuck(node->process), "start", "the program does not start: %s: %s", err_name(err), why);
    program->failed = true;
}

static void program_died(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    /* After a failed sync what was written may be gone, as after a power cut; what was flushed is not. A disk that was full, or
     * failed to read or to write, has lost nothing. */
    for (uint32_t i = 0; i < world->logs; i++)
        if (!sim_host_has_power(node->host) || sim_count(world->sim)->lost > world->lost_at_start) world->models[i].power_was_cut = true;
}

/* ---- A directory that fails, alone */
static void on_heal_dir(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, heal_dir);
    for (uint32_t d = 0; d < world->dirs; d++) sim_disk_heal_path(sim_host_disk(world->cluster.nodes[0].host), paths[d]);
}

enum { DIR_IS_MISSING = 6 };

/* Nothing works; or nothing stays; or it is full, cannot be changed, has no names any more, cannot be read, is not there. */
static void fail_dir(struct world *world, uint32_t dir, uint32_t shape, uint64_t skip, uint64_t times) {
    static const struct { unsigned operations; int error; } shapes[] = {
        {UINT32_MAX, -EIO}, {SIM_DISK_SYNC, -EIO}, {SIM_DISK_WRITE | SIM_DISK_ALLOCATE, -ENOSPC}, {SIM_DISK_WRITE | SIM_DISK_TRUNCATE | SIM_DISK_NAMES, -EIO},
        {SIM_DISK_NAMES, -EIO}, {SIM_DISK_OPEN | SIM_DISK_READ, -EIO}, {SIM_DISK_STAT | SIM_DISK_OPEN, -ENOENT}};
    struct sim_disk *disk = sim_host_disk(world->cluster.nodes[0].host);
    static_assert(countof(shapes) == DIR_IS_MISSING + 1, "the last one");
    shape %= countof(shapes);
    if (shapes[shape].error == -ENOENT) times = 0;
    if ((shapes[shape].operations & SIM_DISK_OPEN) && times == 0) skip = 0; /* all of it, and not some small files alone */
    sim_note(world->sim, "dir fails", dir, shape, skip);
    sim_disk_fail(disk, &(struct sim_disk_fault){.operations = shapes[shape].operations, .path_part = paths[dir], .skip = skip, .times = times, .error = shapes[shape].error});
    if (shapes[shape].error == -ENOENT) /* nor may it be made */
        sim_disk_fail(disk, &(struct sim_disk_fault){.operations = SIM_DISK_NAMES, .path_part = paths[dir], .times = times, .error = -EACCES});
}

static void own_fault(struct cluster_node *node, const struct fault *fault) {
    struct world *world = node->cluster->owner;
    if (fault->kind != FAULT_OWN_1 || sim_is_scheduled(&world->heal_dir)) return;
    on_heal_dir(world->sim, &world->heal_dir);
    fail_dir(world, (uint32_t)(fault->b % world->dirs), (uint32_t)(fault->c % 16), fault->a / 4 % 3 == 0 ? 0 : fault->a / 16 % 20, fault->a % 4 < 2 ? 0 : 1);
    sim_at(world->sim, &world->heal_dir, sim_now(world->sim) + fault->lasts, on_heal_dir);
    if (fault->c / 16 % 3 != 0 && fault->c % 16 % 7 != DIR_IS_MISSING) return;
    if (node->process) cluster_kill(node); /* so that the next start meets it */
    cluster_restart_after(node, 10 * NS_PER_MS);
}

static void on_disk_fault(void *context, const char *path) {
    struct world *world = context;
    for (uint32_t d = 0; d < world->dirs; d++)
        if (!path || (strncmp(path, paths[d], strlen(paths[d])) == 0 && strchr("/", path[strlen(paths[d])]))) world->dir_faults[d]++;
}

/* ---- The run */
static bool is_live(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    if (!program) return false;
    for (uint32_t i = 0; i < world->logs; i++)
        if (!(world->failing >> world->models[i].dir & 1) && (!world->models[i].known_after_life || world->models[i].acknowledged == 0)) return false;
    return true;
}

static bool is_checked(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    for (uint32_t i = 0; program && i < world->logs; i++)
        if (!program->logs[i].checked || log_move_target(program->logs[i].log)) return false;
    return program != NULL;
}

static bool is_stopped(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    return program && program->stopped;
}

static bool is_idle(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    for (uint32_t i = 0; program && i < world->logs; i++) {
        const struct program_log *at = &program->logs[i];
        if (at->reading || at->looking || at->waiting || at->starting || at->opening) return false;
    }
    return program != NULL && !program->checkpointing;
}

/* Every log that can be used acknowledges something. */
static void must_be_live(struct world *world, const char *why) {
    struct cluster_node *node = &world->cluster.nodes[0];
    sim_cancel(world->sim, &node->restart);
    if (!node->process) cluster_start(node);
    for (uint32_t i = 0; i < world->logs; i++) world->models[i].acknowledged = 0;
    if (!sim_run_while_not(world->sim, is_live, world, RUN_LIVE_WITHIN) && !sim_has_failed(world->sim))
        sim_fail(world->sim, "liveness", "%s", why);
}

/* All is well again. */
static bool become_live(struct world *world) {
    struct cluster_node *node = &world->cluster.nodes[0];
    sim_cancel(world->sim, &world->heal_dir);
    if (node->process && disk_was_at_fault(world)) cluster_kill(node); /* what failed stays failed in that process */
    cluster_heal(&world->cluster);
    must_be_live(world, "60 s after all is well again, not every log has acknowledged something");
    return !sim_has_failed(world->sim);
}

/* An orderly end, and then a start that must find everything clean; nothing may be left in the process' memory. */
static void stop_and_start(struct world *world) {
    struct cluster_node *node = &world->cluster.nodes[0];
    struct program *program = node->program;
    program->stopping = true;
    if (!sim_run_while_not(world->sim, is_idle, world, RUN_LIVE_WITHIN)) {
        sim_fail(world->sim, "stop", "operations do not end");
        return;
    }
    program->stop_wait.done = stop_done;
    enum err err = log_store_stop(program->store, &program->stop_wait);
    if (err == ERR_NONE) program->stopped = true;
    else if (err != ERR_AGAIN) sim_fail(world->sim, "stop", "stopping the store: %s", err_name(err));
    sim_io_nudge(sim_process_io(node->process, 0));
    if (!sim_run_while_not(world->sim, is_stopped, world, RUN_LIVE_WITHIN)) {
        sim_fail(world->sim, "stop", "the store does not stop");
        return;
    }
    struct io_files files = io_files(sim_process_io(node->process, 0));
    log_store_free(program->store);
    log_dirs_close(program->dirs, files, true, 7);
    timer_cancel(program->shard, &program->tick);
    for (uint32_t i = 0; i < world->logs; i++) arena_destroy(&program->logs[i].read_arena);
    struct sim_process *process = node->process;
    shard_group_close(program->group);
    pool_free(sim_process_pool(process, 0), program, sizeof *program);
    node->program = NULL;
    node->process = NULL;
    sim_process_end(process);
    for (uint32_t i = 0; i < world->logs; i++) world->models[i].power_was_cut = false;
    world->checking = true;
    cluster_start(node);
    if (!sim_run_while_not(world->sim, is_checked, world, RUN_LIVE_WITHIN)) {
        sim_fail(world->sim, "check", "after an orderly stop not everything is read back");
        return;
    }
    program = node->program;
    SIM_CHECK(world->sim, log_dirs_were_clean(program->dirs), "clean", "after an orderly stop the directory is not clean");
    for (uint32_t i = 0; i < world->logs; i++)
        SIM_CHECK(world->sim, log_report(program->logs[i].log)->clean && log_end(program->logs[i].log) == model_end(&world->models[i]), "clean",
                  "log %u is not clean after an orderly stop, or ends at %lld instead of %lld", i, (long long)log_end(program->logs[i].log),
                  (long long)model_end(&world->models[i]));
    sim_run_until(world->sim, sim_now(world->sim) + 3 * NS_PER_S); /* what is to be deleted has been */
    if (!sim_has_failed(world->sim)) check_folders(world);
}

void sim_log_run(struct run *run);

void sim_log_run(struct run *run) {
    struct world *world = POOL_NEW(sim_pool(run->sim), struct world);
    assert(world);
    world->run = run;
    world->sim = run->sim;
    random_seed(&world->random, sim_fork_seed(run->sim));
    world->logs = (uint32_t)run_setting(run, "logs", 1, LOGS_MAX);
    world->page_cache = run_chance(run, "page_cache", 25);
    world->crowded = run_chance(run, "crowded", 40);
    world->segment_bytes = run_setting(run, "segment_kib", 4, 64) << 10;
    world->index_interval = run_setting(run, "index_interval", 1, 2000);
    world->retention_bytes = run_chance(run, "retention", 25) ? 60000 : -1;
    world->batch_records = run_setting(run, "batch_records", 1, 8);
    world->value_bytes = run_setting(run, "value_bytes", 0, 400);
    world->dirs = (uint32_t)run_setting(run, "dirs", 1, SIM_LOG_DIRS_MAX);
    if (world->dirs > 1 && run_chance(run, "paced", 30)) world->move_rate = 40000;
    bool loses_one = world->dirs > 1 && run_chance(run, "loses_one", 50); /* for good, and the others go on */
    memcpy(world->paths, paths, sizeof paths);
    for (uint32_t i = 0; i < world->logs; i++) world->models[i] = (struct model){.number = i, .dir = i % world->dirs, .truncating_to = -1};
    cluster_init(&world->cluster, run, 1, 1, 0);
    world->cluster.owner = world;
    world->cluster.start = program_start;
    world->cluster.died = program_died;
    world->cluster.after_event = look;
    world->cluster.own_fault = own_fault;
    struct sim_disk *disk = sim_host_disk(world->cluster.nodes[0].host);
    sim_disk_set_devices(disk);
    sim_disk_on_fault(disk, on_disk_fault, world);
    /* Formatted, and then the power goes at once: what format says it did is there. */
    for (uint32_t d = 0; d < world->dirs; d++) {
        struct uuid id = uuid_random(&world->random);
        enum err err = log_dir_format(sim_host_files(world->cluster.nodes[0].host), paths[d], "simulated-cluster", 1, id, 1700000000000);
        SIM_CHECK(run->sim, err == ERR_NONE, "format", "formatting ends with %s", err_name(err));
    }
    cluster_power_cut(&world->cluster.nodes[0], SIM_CRASH_LOSE_ALL);
    static const uint32_t weights[FAULT_KINDS] = {
        [FAULT_KILL] = 10, [FAULT_POWER] = 20, [FAULT_DISK_CUT] = 50, [FAULT_PAUSE] = 3, [FAULT_CLOCK_STEP] = 4, [FAULT_CLOCK_RATE] = 4,
        [FAULT_DISK_FULL] = 8, [FAULT_DISK_SYNC] = 6, [FAULT_DISK_WRITE] = 6, [FAULT_DISK_READ] = 4, [FAULT_DISK_SLOW] = 6};
    memcpy(run->weights, weights, sizeof weights);
    if (world->dirs > 1) run->weights[FAULT_OWN_1] = 30;
    run->pause_min = 50 * NS_PER_MS;
    run->pause_max = 800 * NS_PER_MS;
    run->lasts_max = 2 * NS_PER_S;
    cluster_start(&world->cluster.nodes[0]);
    run_faults_begin(run, cluster_fault, &world->cluster);
    if (run_faults_end(run)) {
        if (loses_one && become_live(world)) {
            uint32_t lost = 1 + (uint32_t)random_below(&world->random, world->dirs - 1);
            world->failing = UINT32_C(1) << lost;
            fail_dir(world, lost, (uint32_t)random_below(&world->random, 16), 0, 0);
            if (random_chance(&world->random, 1, 2)) cluster_kill(&world->cluster.nodes[0]); /* the start meets it */
            must_be_live(world, "a directory fails, and 60 s later not every log of the others has acknowledged something");
            world->failing = 0;
        }
        if (!sim_has_failed(run->sim)) become_live(world);
        if (!sim_has_failed(run->sim)) stop_and_start(world);
    }
    if (sim_has_failed(run->sim)) return;
    cluster_destroy(&world->cluster);
    sim_cancel(run->sim, &world->end_process);
    sim_cancel(run->sim, &world->heal_dir);
    for (uint32_t i = 0; i < world->logs; i++)
        pool_free(sim_pool(run->sim), world->models[i].batches, world->models[i].capacity * sizeof(struct model_batch));
    pool_free(sim_pool(run->sim), world, sizeof *world);
}
