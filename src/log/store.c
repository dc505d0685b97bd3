#include "log/parts.h"
#include <string.h>

enum { CHECKS_MAX = 10, PRODUCERS_EVICTED_AT_ONCE = 1000 };

/* ---- Jobs */

void *job_new(struct log_store *store, struct log *log, size_t bytes) {
    struct log_job *job = pool_zero_alloc(store->shard->pool, bytes);
    if (!job) return NULL;
    job->store = store;
    job->log = log;
    job->bytes = bytes;
    pool_init_child(&job->pool, store->shard->pool, 0);
    if (log) log_folder(log, job->folder);
    return job;
}

void job_free(struct log_job *job) {
    if (job->log && job->log->job == job) job->log->job = NULL;
    pool_destroy(&job->pool);
    pool_free(job->store->shard->pool, job, job->bytes);
}

static int64_t run_job(struct io_op *op, struct io_files files) {
    struct log_job *job = container_of(op, struct log_job, op);
    job->err = job->run(job, files);
    return 0;
}

static void job_done(struct io_op *op) {
    struct log_job *job = container_of(op, struct log_job, op);
    struct log_store *store = job->store;
    store->jobs--;
    if (op->result < 0) job->err = err_from_errno(op->result); /* it did not run */
    job->finish(job);
    store_turn_wanted(store);
}

void job_start(struct log_job *job) {
    assert(!job->log || job->beside || !job->log->job);
    if (job->log && !job->beside) job->log->job = job;
    job->op.kind = IO_OP_JOB;
    job->op.done = job_done;
    job->op.job.run = run_job;
    job->store->jobs++;
    io_submit(job->store->shard->io, &job->op);
}

/* ---- The turn's end */

static void stop_step(struct log_store *store);

static void store_turn(struct turn_hook *hook) {
    struct log_store *store = container_of(hook, struct log_store, turn);
    struct list logs;
    list_init(&logs);
    flush_turn(store);
    while (!list_is_empty(&store->due)) list_push(&logs, list_pop(&store->due));
    while (!list_is_empty(&logs)) log_next(LIST_ITEM(list_pop(&logs), struct log, due_node));
    flush_syncs(store);
    checkpoint_starts(store);
    store_background(store);
    if (store->stopping) stop_step(store);
}

void store_turn_wanted(struct log_store *store) {
    turn_end(store->shard, &store->turn, store_turn);
}

/* ---- Least recently used */

static bool may_rest(const struct log *log) {
    return log->state == LOG_OPEN && log->change == CHANGE_NONE && !log->holds && !log->job && log->body->reads == 0 &&
           log_is_quiet(log) && list_is_empty(&log->waits) && !log->retain_wanted;
}

/* For one log more. Many that came at once, none of which could rest then, are too many until they can: all that are. */
void store_make_room(struct log_store *store) {
    uint32_t most = store->options.open_logs_max, open = store->metrics.logs_open;
    if (open < most) return;
    uint32_t wanted = open - most + 1;
    LIST_EACH(at, &store->open_logs) {
        struct log *log = LIST_ITEM(at, struct log, open_node);
        if (may_rest(log)) {
            log->change = CHANGE_REST;
            log_due(log);
        } else if (log->change != CHANGE_REST) {
            continue;
        }
        if (--wanted == 0) return;
    }
}

void store_rest(struct log *log) {
    if (!may_rest(log)) return;
    log->change = CHANGE_REST;
    log_due(log);
}

/* ---- Opening in the background: what has to be recovered, what retention has to look at. A few at a time. */
void store_background(struct log_store *store) {
    while (!list_is_empty(&store->background) && store->background_jobs < store->options.background_opens_max && !store->stopping) {
        struct log *log = LIST_ITEM(list_pop(&store->background), struct log, background_node);
        if (log->state != LOG_CLOSED || log->change != CHANGE_NONE) continue;
        log->wants_background = log->in_background = true;
        store->background_jobs++;
        log_due(log);
    }
}

void store_want_background(struct log *log) {
    if (list_is_empty(&log->background_node)) list_push(&log->store->background, &log->background_node);
    store_turn_wanted(log->store);
}

void store_background_done(struct log *log) {
    if (!log->in_background) return;
    log->in_background = false;
    log->store->background_jobs--;
}

/* ---- Timers */

/* First thing in `fire`: the timer has just left its heap, so there is room for it. */
static void again_in(struct log_store *store, struct timer *timer, time_ms delay, void (*fire)(struct timer *)) {
    if (!timer_set(store->shard, timer, io_now(store->shard->io) + delay * NS_PER_MS, fire)) never("a timer fits where it was");
}

static void recovery_fire(struct timer *timer) {
    struct log_store *store = container_of(timer, struct log_store, recovery_timer);
    again_in(store, timer, store->options.recovery_checkpoint_ms, recovery_fire);
    LIST_EACH(at, &store->open_logs) {
        struct log *log = LIST_ITEM(at, struct log, open_node);
        struct log_body *body = log->body;
        if (log->state != LOG_OPEN) continue;
        if (body->appended_since_checkpoint == 0) continue;
        if (body->appended_since_checkpoint < store->options.checkpoint_bytes_min && ++body->checks_since_checkpoint < CHECKS_MAX) continue;
        body->checkpoint_wanted = true;
        log_due(log);
    }
    if (store->shard->index == 0 && atomic_load(&store->dirs->dirty)) checkpoint_begin(store, CHECKPOINT_ALL_KINDS);
}

static void producer_fire(struct timer *timer) {
    struct log_store *store = container_of(timer, struct log_store, producer_timer);
    again_in(store, timer, store->options.producer_check_ms, producer_fire);
    time_ms now = io_wall(store->shard->io);
    LIST_EACH(at, &store->open_logs) {
        struct log *log = LIST_ITEM(at, struct log, open_node);
        if (log->state == LOG_OPEN) producer_expire(log->body->producers, now, store->options.producer_expiration_ms);
    }
}

static void cleaner_fire(struct timer *timer) {
    struct log_store *store = container_of(timer, struct log_store, cleaner_timer);
    again_in(store, timer, store->options.cleaner_backoff_ms, cleaner_fire);
    cleaner_look(store);
}

static void mark_fire(struct timer *timer) {
    struct log_store *store = container_of(timer, struct log_store, mark_timer);
    again_in(store, timer, store->options.high_watermark_ms, mark_fire);
    /* A start that moved by itself, too: nobody shall see old records again for long. */
    uint32_t kinds = atomic_load(&store->dirs->dirty) & (1u << CHECKPOINT_HIGH_WATERMARK | 1u << CHECKPOINT_START);
    if (kinds) checkpoint_begin(store, kinds);
}

static void retention_fire(struct timer *timer) {
    struct log_store *store = container_of(timer, struct log_store, retention_timer);
    again_in(store, timer, store->options.retention_check_ms, retention_fire);
    time_ms now = io_wall(store->shard->io);
    LIST_EACH(at, &store->logs) {
        struct log *log = LIST_ITEM(at, struct log, node);
        if (log->state == LOG_OPEN) {
            log->retain_wanted = true;
            log_due(log);
        } else if (log->state == LOG_CLOSED && !log->create && log->config.cleanup_delete && log->config.retention_ms >= 0 && log->retain_due_ms <= now) {
            log->retain_wanted = true;
            store_want_background(log);
        }
    }
    store_background(store);
}

struct space_job {
    struct log_job job;
};

static enum err space_run(struct log_job *job, struct io_files files) {
    struct log_dirs *dirs = job->store->dirs;
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct io_space space;
        if (log_dir_is_online(&dirs->dirs[i]) && files.vtable->space(files.self, dirs->dirs[i].path, &space) == 0)
            atomic_store_explicit(&dirs->dirs[i].available, space.available, memory_order_relaxed);
    }
    return ERR_NONE;
}

static void space_finish(struct log_job *job) {
    job->store->measuring = false;
    job_free(job);
}

static bool is_short_of_space(const struct log_dirs *dirs) {
    for (uint32_t i = 0; i < dirs->count; i++)
        if (atomic_load_explicit(&dirs->dirs[i].available, memory_order_relaxed) < dirs->dirs[i].reserve_bytes) return true;
    return false;
}

static void measure_space(struct log_store *store) {
    /* Not while stopping: the end would not wait for it. */
    struct space_job *space = store->measuring || store->stopping ? NULL : job_new(store, NULL, sizeof *space);
    if (!space) return;
    store->measuring = true;
    space->job.run = space_run;
    space->job.finish = space_finish;
    job_start(&space->job);
}

static bool flush_by_time(struct log_store *store) {
    time_ms now = io_wall(store->shard->io);
    bool again = false;
    LIST_EACH(at, &store->open_logs) {
        struct log *log = LIST_ITEM(at, struct log, open_node);
        if (log->state != LOG_OPEN || log->config.flush_ms == INT64_MAX || log->body->unflushed_since_ms < 0) continue;
        again = true;
        if (now - log->body->unflushed_since_ms < log->config.flush_ms) continue;
        log->body->flush_target = log->written;
        flush_mark(log);
    }
    return again;
}

/* A log with room behind its data to which nothing was appended for a second is closed, which gives it back. */
static bool give_back_room(struct log_store *store) {
    bool any = false;
    LIST_EACH(at, &store->open_logs) {
        struct log *log = LIST_ITEM(at, struct log, open_node);
        const struct segment *active = log->state == LOG_OPEN ? log_active(log) : NULL;
        if (!active || active->room <= active->size) continue;
        if (log->end == log->body->end_last_second) store_rest(log);
        log->body->end_last_second = log->end;
        any = true;
    }
    return any;
}

static void second_fire(struct timer *timer) {
    struct log_store *store = container_of(timer, struct log_store, second_timer);
    bool again = flush_by_time(store);
    if (give_back_room(store)) again = true;
    store->second_armed = false;
    if (store->retry_wanted) {
        store->retry_wanted = false;
        LIST_EACH(at, &store->logs) {
            struct log *log = LIST_ITEM(at, struct log, node);
            flush_mark(log);
            log_due(log);
        }
    }
    if (store->appended_lately || is_short_of_space(store->dirs)) {
        store->appended_lately = false;
        measure_space(store);
        again = true;
    }
    if (again) store_arm_second(store);
}

void store_arm_second(struct log_store *store) {
    if (store->second_armed || store->stopped) return;
    store->second_armed = timer_set(store->shard, &store->second_timer, io_now(store->shard->io) + NS_PER_S, second_fire);
}

void store_retry(struct log_store *store) {
    store->retry_wanted = true;
    store_arm_second(store);
}

/* ---- Birth and end */

static void set_defaults(struct log_store_options *o) {
    if (!o->open_logs_max) o->open_logs_max = 1024;
    if (!o->producers_max) o->producers_max = PRODUCERS_MAX;
    if (!o->open_files_max) o->open_files_max = 2048;
    if (!o->tail_bytes_max) o->tail_bytes_max = MIB(32);
    if (!o->index_bytes_max) o->index_bytes_max = MIB(32);
    if (!o->recovery_checkpoint_ms) o->recovery_checkpoint_ms = 60000;
    if (!o->high_watermark_ms) o->high_watermark_ms = 5000;
    if (!o->retention_check_ms) o->retention_check_ms = 300000;
    if (!o->retention_first_ms) o->retention_first_ms = 30000;
    if (!o->checkpoint_bytes_min) o->checkpoint_bytes_min = MIB(4);
    if (!o->sync_fs_files) o->sync_fs_files = 64;
    if (!o->preallocate_bytes) o->preallocate_bytes = MIB(4);
    if (!o->room_bytes_max) o->room_bytes_max = KIB(256);
    if (!o->producer_expiration_ms) o->producer_expiration_ms = 86400000;
    if (!o->producer_check_ms) o->producer_check_ms = 600000;
    if (!o->background_opens_max) o->background_opens_max = 2;
    if (!o->cleaner_threads) o->cleaner_threads = 1;
    if (!o->cleaner_step_bytes) o->cleaner_step_bytes = MIB(8);
    if (!o->cleaner_backoff_ms) o->cleaner_backoff_ms = 15000;
    if (!o->cleaner_dedupe_bytes) o->cleaner_dedupe_bytes = MIB(128);
    if (!(o->cleaner_load_factor > 0 && o->cleaner_load_factor <= 1)) o->cleaner_load_factor = 0.9;
}

void log_store_tune(struct log_store *store, const struct log_store_options *options) {
    struct log_store_options *o = &store->options, before = *o;
    o->producer_expiration_ms = options->producer_expiration_ms;
    o->background_opens_max = options->background_opens_max;
    o->cleaner_threads = options->cleaner_threads;
    o->cleaner_backoff_ms = options->cleaner_backoff_ms;
    o->cleaner_dedupe_bytes = options->cleaner_dedupe_bytes;
    o->cleaner_load_factor = options->cleaner_load_factor;
    o->cleaner_bytes_per_second = options->cleaner_bytes_per_second;
    o->move_bytes_per_second = options->move_bytes_per_second;
    set_defaults(o);
    if (store->stopping) return;
    if (o->move_bytes_per_second != before.move_bytes_per_second) move_tuned(store);
    bool cleaner_is_as_before = o->cleaner_threads == before.cleaner_threads && o->cleaner_backoff_ms == before.cleaner_backoff_ms &&
                                o->cleaner_dedupe_bytes == before.cleaner_dedupe_bytes && o->cleaner_bytes_per_second == before.cleaner_bytes_per_second &&
                                memcmp(&o->cleaner_load_factor, &before.cleaner_load_factor, sizeof before.cleaner_load_factor) == 0;
    if (!cleaner_is_as_before) {
        if (!timer_set(store->shard, &store->cleaner_timer, io_now(store->shard->io) + o->cleaner_backoff_ms * NS_PER_MS, cleaner_fire)) never("it is set");
        cleaner_tuned(store);
    }
    store_turn_wanted(store); /* more may be opened now */
}

/* Those of the log that has most, a thousand at once: looking through the logs shall not come with every batch. */
static bool make_room_for_producers(struct producer_budget *budget) {
    struct log_store *store = container_of(budget, struct log_store, producers);
    struct log *most = NULL;
    LIST_EACH(at, &store->open_logs) {
        struct log *log = LIST_ITEM(at, struct log, open_node);
        if (!most || producer_count(log->body->producers) > producer_count(most->body->producers)) most = log;
    }
    return most && producer_evict(most->body->producers, PRODUCERS_EVICTED_AT_ONCE) > 0;
}

enum err log_store_open(struct log_store **out, struct shard *shard, struct log_dirs *dirs, const struct log_store_options *options) {
    struct log_store *store = POOL_NEW(shard->pool, struct log_store);
    if (!store) return ERR_NO_MEMORY;
    struct list *lists[] = {&store->logs, &store->retired, &store->open_logs, &store->flush, &store->due, &store->sync, &store->files,
                            &store->indexes, &store->tail_ages, &store->background, &store->removals, &store->checkpoint_requests,
                            &store->start_waits, &store->start_waits_asked};
    for (size_t i = 0; i < countof(lists); i++) list_init(lists[i]);
    uint64_t seed;
    io_random(shard->io, &seed, sizeof seed);
    random_seed(&store->random, seed);
    store->shard = shard;
    store->dirs = dirs;
    if (options) store->options = *options;
    set_defaults(&store->options);
    store->producers = (struct producer_budget){.count_max = store->options.producers_max, .make_room = make_room_for_producers};
    map_init(&store->names, shard->pool, 0, log_is_named);
    time_ns now = io_now(shard->io);
    bool timers = timer_set(shard, &store->recovery_timer, now + store->options.recovery_checkpoint_ms * NS_PER_MS, recovery_fire) &&
                  timer_set(shard, &store->retention_timer, now + store->options.retention_first_ms * NS_PER_MS, retention_fire) &&
                  timer_set(shard, &store->cleaner_timer, now + store->options.cleaner_backoff_ms * NS_PER_MS, cleaner_fire) &&
                  timer_set(shard, &store->producer_timer, now + store->options.producer_check_ms * NS_PER_MS, producer_fire) &&
                  (shard->index != 0 || timer_set(shard, &store->mark_timer, now + store->options.high_watermark_ms * NS_PER_MS, mark_fire));
    if (!timers) {
        timer_cancel(shard, &store->recovery_timer);
        timer_cancel(shard, &store->retention_timer);
        timer_cancel(shard, &store->cleaner_timer);
        timer_cancel(shard, &store->producer_timer);
        map_destroy(&store->names);
        pool_free(shard->pool, store, sizeof *store);
        return ERR_NO_MEMORY;
    }
    shard->roles[ROLE_LOG] = store;
    if (shard->index == 0) removal_resume(store);
    *out = store;
    return ERR_NONE;
}

/* ---- Stopping: the logs close, each in its order and without a sync of its small files; then, on shard 0 (which is stopped
 * last), the file systems are synced once and the checkpoints written. */

struct stop_job {
    struct log_job job;
};

static enum err stop_sync_run(struct log_job *job, struct io_files files) {
    struct log_dirs *dirs = job->store->dirs;
    enum err worst = ERR_NONE;
    for (uint32_t i = 0; i < dirs->count; i++) {
        if (!log_dir_is_online(&dirs->dirs[i])) continue;
        enum err err = err_from_errno(files.vtable->sync_file_system(files.self, dirs->dirs[i].path));
        if (err) { log_dir_fail(&dirs->dirs[i]); worst = err; }
    }
    return worst;
}

static void stop_end(struct log_store *store, enum err err) {
    struct log_wait *wait = store->stop_wait;
    store->stopped = true;
    store->stop_wait = NULL;
    if (store->second_armed) timer_cancel(store->shard, &store->second_timer);
    if (wait) wait->done(wait, err);
}

static void stop_checkpointed(struct log_wait *wait, enum err err) {
    stop_end(container_of(wait, struct log_store, final_wait), err);
}

static void stop_sync_finish(struct log_job *job) {
    struct log_store *store = job->store;
    enum err err = job->err;
    job_free(job);
    store->final_wait.done = stop_checkpointed;
    if (err || log_store_checkpoint(store, &store->final_wait) != ERR_AGAIN) stop_end(store, err ? err : ERR_NO_MEMORY);
}

static void stop_step(struct log_store *store) {
    if (store->stopped || store->finishing) return;
    LIST_EACH_SAFE(at, &store->logs) {
        struct log *log = LIST_ITEM(at, struct log, node);
        if (log->change != CHANGE_NONE && log->change != CHANGE_REST) continue;
        log->change = CHANGE_CLOSE;
        log->change_wait = NULL;
        log_due(log);
    }
    if (!list_is_empty(&store->logs) || store->jobs > 0 || store->checkpoint || store->start_asked || !list_is_empty(&store->start_waits)) return;
    store->finishing = true;
    if (store->shard->index != 0) { stop_end(store, ERR_NONE); return; }
    struct stop_job *stop = job_new(store, NULL, sizeof *stop);
    if (!stop) { stop_end(store, ERR_NO_MEMORY); return; }
    stop->job.run = stop_sync_run;
    stop->job.finish = stop_sync_finish;
    job_start(&stop->job);
}

enum err log_store_stop(struct log_store *store, struct log_wait *wait) {
    if (store->stopping) return ERR_CLOSED;
    store->stopping = true;
    store->stop_wait = wait;
    timer_cancel(store->shard, &store->recovery_timer);
    timer_cancel(store->shard, &store->mark_timer);
    timer_cancel(store->shard, &store->retention_timer);
    timer_cancel(store->shard, &store->cleaner_timer);
    timer_cancel(store->shard, &store->producer_timer);
    timer_cancel(store->shard, &store->removal_timer);
    store_turn_wanted(store);
    return ERR_AGAIN;
}

void log_store_free(struct log_store *store) {
    if (!store) return;
    struct pool *pool = store->shard->pool;
    assert(store->stopped);
    assert(store->jobs == 0);
    while (!list_is_empty(&store->retired)) log_forget(LIST_ITEM(store->retired.next, struct log, node));
    removal_free_all(store);
    timer_cancel(store->shard, &store->second_timer);
    round_free_all(store);
    tail_free_all(store);
    map_destroy(&store->names);
    store->shard->roles[ROLE_LOG] = NULL;
    pool_free(pool, store, sizeof *store);
}

const struct log_metrics *log_store_metrics(const struct log_store *store) { return &store->metrics; }

void log_store_check(const struct log_store *store) {
    size_t tail_bytes = 0;
    uint32_t open = 0, files = 0;
    LIST_EACH(at, &store->logs) {
        const struct log *log = LIST_ITEM(at, const struct log, node);
        log_check(log);
        if (!log->body) continue;
        open++;
        LIST_EACH(entry, &log->body->tail) tail_bytes += LIST_ITEM(entry, const struct tail_entry, node)->charge;
        for (uint32_t i = 0; i < log->body->count; i++) files += log->body->segments[i]->file != NULL;
    }
    assert(tail_bytes == store->metrics.tail_bytes);
    assert(open == store->metrics.logs_open);
    assert(files == store->metrics.files_open);
}

void log_metrics_add(struct log_metrics *into, const struct log_metrics *from) {
#define ADD(field) into->field += from->field
    ADD(appends), ADD(append_bytes), ADD(writes), ADD(syncs), ADD(syncs_fs), ADD(rolls), ADD(reads_memory), ADD(reads_file), ADD(reads_cold);
    ADD(reads_verified), ADD(reads_corrupt), ADD(opens), ADD(closes), ADD(recoveries), ADD(recovered_bytes), ADD(moves), ADD(moves_failed);
    ADD(cut_bytes), ADD(index_loads), ADD(index_rebuilds), ADD(segments_deleted), ADD(failures), ADD(refused_no_space);
    ADD(cleanings), ADD(cleanings_failed), ADD(cleaned_bytes_read), ADD(cleaned_bytes_written), ADD(cleaned_records);
    ADD(logs), ADD(logs_open), ADD(files_open), ADD(tail_bytes), ADD(index_bytes);
#undef ADD
    histogram_merge(&into->sync, &from->sync);
}

void log_store_each_open(const struct log_store *store, void *context, void (*each)(void *context, const struct log *log)) {
    LIST_EACH(node, &store->open_logs) {
        const struct log *log = LIST_ITEM(node, struct log, open_node);
        if (log->state == LOG_OPEN) each(context, log);
    }
}
