#include "log/clean.h"
#include "log/parts.h"
#include <stdlib.h>
#include <string.h>

/* Compaction, as the shard sees it: which log is the dirtiest, one cleaning at a time in small steps on an offload thread,
 * then the swap, during which readers of files wait. The log's segments are held meanwhile; a truncation, a close or a
 * deletion ends the cleaning, and what it made is thrown away. */
enum { MAP_BYTES_MIN = 4 * CLEAN_SLOT_BYTES, MEASURE_AGAIN_MS = 300000, STEP_BYTES_MIN = 4096, STEPS_A_SECOND = 4 };

struct cleaner {
    struct log_job job;
    struct cleaning cleaning;
    struct timer timer;           /* the next step, when the rate is bounded */
    struct segment **made;        /* owns: what the groups will be           */
    struct clean_producer *producers; /* owns */
    uint32_t producer_count, producer_capacity, made_capacity;
    log_offset held_before;       /* segments with a base below it are held  */
    uint64_t paid_bytes;          /* of what was read and written: the rate has counted it */
    uint32_t step_bytes;
    bool stepping, waiting, cancelled, swapping; /* waiting: for the timer */
};

/* ---- Who is dirty? */
struct dirt {
    log_offset dirty, bound;
    uint64_t clean_bytes, cleanable_bytes;
    struct segment *unknown;      /* what has to be looked at before more can be said */
    bool overdue;
};

static time_ms largest_timestamp(const struct segment *segment) {
    return segment->timestamp_max >= 0 ? segment->timestamp_max : segment->modified_ms;
}

static log_offset clean_point(const struct log *log) {
    return log->clean_point < log->start || log->clean_point > log->end ? log->start : log->clean_point;
}

/* The first offset that must not be cleaned yet: what is undecided, active, not sealed or younger than the minimum lag. */
static log_offset first_uncleanable(const struct log *log, log_offset dirty, time_ms now_ms, struct segment **unknown) {
    const struct log_body *body = log->body;
    log_offset limit = log_stable(log);
    time_ms lag = log->config.min_compaction_lag_ms;
    *unknown = NULL;
    for (uint32_t i = 0; i < body->count; i++) {
        struct segment *segment = body->segments[i];
        if (segment->base >= limit) return limit;
        if (i + 1 == body->count || !segment->sealed) return segment->base;
        if (lag <= 0 || body->segments[i + 1]->base <= dirty) continue;
        if (!segment->timestamp_known) { *unknown = segment; return segment->base; }
        if (largest_timestamp(segment) > now_ms - lag) return segment->base;
    }
    return limit;
}

static bool is_overdue(const struct log *log, struct segment *earliest, time_ms now_ms, struct segment **unknown) {
    time_ms lag = log->config.max_compaction_lag_ms;
    if (lag == INT64_MAX || !earliest) return false;
    if (earliest->timestamp_first < 0 && !earliest->timestamp_first_known) { *unknown = earliest; return false; }
    return earliest->timestamp_first >= 0 && now_ms - earliest->timestamp_first > lag;
}

static void measure(const struct log *log, time_ms now_ms, struct dirt *out) {
    const struct log_body *body = log->body;
    struct segment *earliest = NULL;
    *out = (struct dirt){.dirty = clean_point(log)};
    log_offset limit = first_uncleanable(log, out->dirty, now_ms, &out->unknown);
    struct segment *holder = log_segment_of(log, limit, NULL);
    out->bound = holder ? holder->base : limit;
    for (uint32_t i = 0; i + 1 < body->count && body->segments[i]->base < out->bound; i++) {
        struct segment *segment = body->segments[i];
        if (segment->base < out->dirty) out->clean_bytes += segment->size;
        if (body->segments[i + 1]->base <= out->dirty) continue;
        if (!earliest) earliest = segment;
        out->cleanable_bytes += segment->size;
    }
    if (!out->unknown) out->overdue = is_overdue(log, earliest, now_ms, &out->unknown);
}

static double ratio_of(const struct dirt *dirt) {
    uint64_t all = dirt->clean_bytes + dirt->cleanable_bytes;
    return all ? (double)dirt->cleanable_bytes / (double)all : 0;
}

static bool may_be_cleaned(const struct log *log) {
    return log->state == LOG_OPEN && log->change == CHANGE_NONE && log->config.cleanup_compact && !log->uncleanable && !log->body->cleaner;
}

/* A closed log of which it is not known whether it wants a cleaning is opened for that, a few at a time. */
static void open_unmeasured(struct log_store *store, time_ms now_ms) {
    LIST_EACH(at, &store->logs) {
        struct log *log = LIST_ITEM(at, struct log, node);
        if (log->state != LOG_CLOSED || !log->config.cleanup_compact || log->uncleanable || (log->create && !log->opened_once)) continue;
        bool ages = log->config.max_compaction_lag_ms != INT64_MAX && now_ms - log->measured_ms > MEASURE_AGAIN_MS;
        if (log->measured_end >= 0 && log->measured_end == log->end && !ages) continue;
        log->opened_to_measure = true;
        store_want_background(log);
    }
}

static void note_measured(struct log *log, const struct dirt *dirt, time_ms now_ms) {
    if (dirt->unknown) return;
    log->measured_end = log->end;
    log->measured_ms = now_ms;
}

static struct log *dirtiest(struct log_store *store, struct dirt *out) {
    struct log *best = NULL;
    *out = (struct dirt){0};
    time_ms now_ms = io_wall(store->shard->io);
    open_unmeasured(store, now_ms);
    LIST_EACH(at, &store->open_logs) {
        struct log *log = LIST_ITEM(at, struct log, open_node);
        struct dirt dirt;
        if (!may_be_cleaned(log)) continue;
        measure(log, now_ms, &dirt);
        if (dirt.unknown && !log->job) retain_look(log, dirt.unknown); /* known the next time */
        note_measured(log, &dirt, now_ms);
        bool is_dirty = dirt.cleanable_bytes > 0 && dirt.dirty < dirt.bound &&
                        (dirt.overdue || ratio_of(&dirt) > log->config.min_cleanable_dirty_ratio);
        if (!is_dirty && !dirt.unknown && log->opened_to_measure) {
            log->opened_to_measure = false;
            store_rest(log);
        }
        if (!is_dirty) continue;
        if (best && ratio_of(&dirt) <= ratio_of(out)) continue;
        best = log;
        *out = dirt;
    }
    return best;
}

/* ---- A cleaning's life */

static void free_lists(struct cleaner *c) {
    struct cleaning *cleaning = &c->cleaning;
    struct pool *pool = &c->job.pool;
    for (uint32_t i = 0; i < cleaning->count; i++) pool_free(pool, cleaning->segments[i].txn, cleaning->segments[i].txn_bytes);
    pool_free(pool, cleaning->segments, cleaning->count * sizeof *cleaning->segments);
    pool_free(pool, c->producers, c->producer_capacity * sizeof *c->producers);
    for (uint32_t i = 0; i < c->made_capacity; i++)
        if (c->made[i]) segment_free(c->made[i], &c->job.log->pool);
    pool_free(pool, c->made, c->made_capacity * sizeof *c->made);
}

static void release_segments(struct cleaner *c) {
    const struct log_body *body = c->job.log->body;
    for (uint32_t i = 0; i < body->count && body->segments[i]->base < c->held_before; i++) body->segments[i]->readers--;
    c->held_before = 0;
}

/* Those who came to read files meanwhile. */
static void unpark(struct log *log) {
    struct log_body *body = log->body;
    struct list reads, lookups, lists;
    list_init(&reads);
    list_init(&lookups);
    list_init(&lists);
    body->swap_wanted = false;
    while (!list_is_empty(&body->parked_reads)) list_push(&reads, list_pop(&body->parked_reads));
    while (!list_is_empty(&body->parked_lookups)) list_push(&lookups, list_pop(&body->parked_lookups));
    while (!list_is_empty(&body->parked_lists)) list_push(&lists, list_pop(&body->parked_lists));
    log_hold(log);
    while (!list_is_empty(&reads)) {
        struct log_read *read = LIST_ITEM(list_pop(&reads), struct log_read, node);
        enum err err = log_read(read);
        if (err != ERR_AGAIN) read->done(read, err);
    }
    while (!list_is_empty(&lookups)) {
        struct log_lookup *lookup = LIST_ITEM(list_pop(&lookups), struct log_lookup, node);
        enum err err = log_lookup(lookup);
        if (err != ERR_AGAIN) lookup->done(lookup, err);
    }
    while (!list_is_empty(&lists)) {
        struct log_aborted_list *list = LIST_ITEM(list_pop(&lists), struct log_aborted_list, node);
        enum err err = log_aborted_list(list);
        if (err != ERR_AGAIN) list->done(list, err);
    }
    log_release(log);
}

static void end(struct cleaner *c, enum err err) {
    struct log *log = c->job.log;
    struct log_store *store = log->store;
    struct log_metrics *metrics = &store->metrics;
    metrics->cleaned_bytes_read += c->cleaning.bytes_read;
    metrics->cleaned_bytes_written += c->cleaning.bytes_written;
    metrics->cleaned_records += c->cleaning.records_read - c->cleaning.records_kept;
    if (err && err != ERR_CLOSED) metrics->cleanings_failed++;
    release_segments(c);
    timer_cancel(store->shard, &c->timer);
    free_lists(c);
    clean_free(&c->cleaning);
    log->body->cleaner = NULL;
    store->cleaner = NULL;
    atomic_fetch_sub(&store->dirs->cleaners, 1);
    log_release(log);
    job_free(&c->job);
    unpark(log);
    if (err == ERR_CORRUPT || err == ERR_LIMIT) log->uncleanable = true; /* until it is opened anew */
    if (err == ERR_IO) log_fail(log, err);
    log_due(log);
    if (!err) cleaner_look(store);
}

static bool goes_on(const struct cleaner *c) {
    const struct log *log = c->job.log;
    return !c->cancelled && log->state == LOG_OPEN && log->change == CHANGE_NONE && !log->store->stopping;
}

static enum err step_run(struct log_job *job, struct io_files files) {
    struct cleaner *c = container_of(job, struct cleaner, job);
    c->cleaning.files = files;
    enum err err = clean_step(&c->cleaning, c->step_bytes);
    if (err && err != ERR_AGAIN) clean_discard(&c->cleaning);
    return err;
}

static void step(struct cleaner *c) {
    const struct log_store_options *options = &c->job.store->options;
    uint64_t bytes = options->cleaner_bytes_per_second ? options->cleaner_bytes_per_second / STEPS_A_SECOND : options->cleaner_step_bytes;
    c->step_bytes = bytes > options->cleaner_step_bytes ? options->cleaner_step_bytes : bytes < STEP_BYTES_MIN ? STEP_BYTES_MIN : (uint32_t)bytes;
    c->job.beside = true;
    c->stepping = true;
    c->job.log->body->reads++;
    job_start(&c->job);
}

static void timer_fire(struct timer *timer) {
    struct cleaner *c = container_of(timer, struct cleaner, timer);
    c->waiting = false;
    step(c);
}

static uint64_t bytes_done(const struct cleaner *c) { return c->cleaning.bytes_read + c->cleaning.bytes_written; }

/* All cleanings of the node together keep to the rate: what one has read and written is paid for before any goes on, or begins. */
static void pay(struct cleaner *c) {
    struct log_store *store = c->job.store;
    uint64_t rate = store->options.cleaner_bytes_per_second, bytes = bytes_done(c) - c->paid_bytes;
    time_ns now = io_now(store->shard->io), until = atomic_load(&store->dirs->cleanings_until);
    c->paid_bytes += bytes;
    if (rate == 0) return;
    time_ns cost = (time_ns)((double)bytes / (double)rate * NS_PER_S);
    while (!atomic_compare_exchange_weak(&store->dirs->cleanings_until, &until, (until > now ? until : now) + cost)) {}
}

static void step_when_paid(struct cleaner *c) {
    struct log_store *store = c->job.store;
    time_ns due = store->options.cleaner_bytes_per_second ? atomic_load(&store->dirs->cleanings_until) : 0;
    c->waiting = due > io_now(store->shard->io) && timer_set(store->shard, &c->timer, due, timer_fire);
    if (!c->waiting) step(c);
}

void cleaner_tuned(struct log_store *store) {
    struct cleaner *c = store->cleaner;
    atomic_store(&store->dirs->cleanings_until, 0);
    if (c && c->waiting) {
        timer_cancel(store->shard, &c->timer);
        c->waiting = false;
        step(c);
    }
    cleaner_look(store);
}

static void step_finish(struct log_job *job) {
    struct cleaner *c = container_of(job, struct cleaner, job);
    struct log *log = job->log;
    c->stepping = false;
    log->body->reads--;
    log_due(log);
    pay(c);
    if (!goes_on(c)) { end(c, ERR_CLOSED); return; }
    if (job->err == ERR_AGAIN) { step_when_paid(c); return; }
    if (job->err) { end(c, job->err); return; }
    log->body->swap_wanted = true; /* log_next swaps when nobody reads files any more */
}

void cleaner_cancel(struct log *log) {
    struct cleaner *c = log->body->cleaner;
    c->cancelled = true;
    if (!c->stepping && !c->swapping) end(c, ERR_CLOSED);
}

/* ---- The swap */

static enum err swap_run(struct log_job *job, struct io_files files) {
    struct cleaner *c = container_of(job, struct cleaner, job);
    c->cleaning.files = files;
    return clean_swap(&c->cleaning);
}

static void take_group(struct log *log, struct segment *segment, const struct clean_group *group) {
    segment->size = segment->written = group->size;
    segment->modified_ms = group->modified_ms;
    segment->created_ms = io_wall(log->store->shard->io);
    segment->made = segment->sealed = segment->timestamp_known = segment->timestamp_first_known = true;
    segment->by_offset.known = segment->by_time.known = false;
    segment->timestamp_max = group->timestamp_max;
    segment->timestamp_max_at = group->timestamp_max_at;
    segment->timestamp_first = group->timestamp_first;
    log->body->sealed_bytes += group->size;
}

static void drop_segment(struct log *log, struct segment *segment) {
    struct log_body *body = log->body;
    while (!list_is_empty(&body->tail) && LIST_ITEM(body->tail.next, struct tail_entry, node)->segment == segment) tail_drop_first(log);
    body->sealed_bytes -= segment->size;
    segment_close_file(segment);
    list_remove(&segment->index_node);
    removal_add(log->store, log->body->cleaner->job.folder, segment->base, log->config.file_delete_delay_ms);
    segment_free(segment, &log->pool);
}

static void replace(struct cleaner *c) {
    struct log *log = c->job.log;
    struct log_body *body = log->body;
    const struct cleaning *cleaning = &c->cleaning;
    uint32_t gone = 0;
    release_segments(c);
    for (uint32_t i = 0; i < cleaning->group_count; i++) gone += cleaning->groups[i].count;
    for (uint32_t i = 0; i < gone; i++) {
        assert(body->segments[i]->base == cleaning->segments[i].base);
        drop_segment(log, body->segments[i]);
    }
    for (uint32_t i = 0; i < cleaning->group_count; i++) {
        take_group(log, c->made[i], &cleaning->groups[i]);
        body->segments[i] = c->made[i];
        c->made[i] = NULL;
    }
    memmove(body->segments + cleaning->group_count, body->segments + gone, (body->count - gone) * sizeof *body->segments);
    body->count -= gone - cleaning->group_count;
    for (int i = 0; i < MARKS_MAX; i++) body->marks[i] = (struct log_position){-1, -1, -1};
    log->clean_point = cleaning->end;
    log->rewritten++;
    dirs_mark_dirty(log->store->dirs, CHECKPOINT_CLEANER);
    log->store->metrics.cleanings++;
}

static void swap_finish(struct log_job *job) {
    struct cleaner *c = container_of(job, struct cleaner, job);
    struct log *log = job->log;
    enum err err = job->err;
    c->swapping = false;
    log->job = NULL;
    if (err) err = ERR_IO; /* half of it may be done: only an opening knows */
    else replace(c);
    end(c, err);
}

/* The new segments are made before anything changes on the disk, so that nothing can fail afterwards. */
static bool make_segments(struct cleaner *c) {
    struct cleaning *cleaning = &c->cleaning;
    if (c->made) return true;
    c->made = pool_zero_alloc(&c->job.pool, cleaning->group_count * sizeof *c->made);
    if (!c->made) return false;
    c->made_capacity = cleaning->group_count;
    for (uint32_t i = 0; i < cleaning->group_count; i++) {
        c->made[i] = segment_new(c->job.log, cleaning->groups[i].base, &c->job.log->pool, c->job.log->config.segment_index_bytes);
        if (!c->made[i]) return false;
    }
    return true;
}

bool cleaner_swap(struct log *log) {
    struct cleaner *c = log->body->cleaner;
    if (!c || !log->body->swap_wanted || log->body->reads > 0) return false; /* the last reader looks here again */
    if (!make_segments(c)) { end(c, ERR_NO_MEMORY); return false; }
    c->swapping = true;
    c->job.beside = false;
    c->job.run = swap_run;
    c->job.finish = swap_finish;
    job_start(&c->job);
    return true;
}

/* ---- Beginning */

static bool list_segments(struct cleaner *c) {
    struct log *log = c->job.log;
    struct log_body *body = log->body;
    struct cleaning *cleaning = &c->cleaning;
    cleaning->segments = pool_zero_alloc(&c->job.pool, body->count * sizeof *cleaning->segments);
    if (!cleaning->segments) return false;
    cleaning->count = body->count;
    for (uint32_t i = 0; i < body->count; i++) {
        const struct segment *segment = body->segments[i];
        struct clean_segment *s = &cleaning->segments[i];
        *s = (struct clean_segment){.base = segment->base, .next = i + 1 < body->count ? body->segments[i + 1]->base : log->end, .size = segment->written,
                                    .modified_ms = segment->modified_ms, .txn_read = !segment->txn_known};
        uint64_t entries = segment->by_offset.known ? segment->by_offset.entries : segment->size / (log->config.index_interval_bytes + 1) + 1;
        uint64_t index_bytes = entries * INDEX_ENTRY_BYTES_TIME;
        s->index_bytes = index_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)index_bytes;
        if (s->txn_read || segment->txn_bytes == 0) continue;
        if (!(s->txn = pool_alloc(&c->job.pool, segment->txn_bytes))) return false;
        memcpy(s->txn, segment->txn, segment->txn_bytes);
        s->txn_bytes = segment->txn_bytes;
    }
    return true;
}

static int add_producer(void *context, const struct producer_view *view) {
    struct cleaner *c = context;
    if (c->producer_count == c->producer_capacity) return 1;
    c->producers[c->producer_count++] = (struct clean_producer){view->producer, view->epoch, view->last_offset};
    return 0;
}

static int by_producer(const void *a, const void *b) {
    const struct clean_producer *x = a, *y = b;
    return x->producer < y->producer ? -1 : x->producer > y->producer;
}

static bool list_producers(struct cleaner *c) {
    const struct producer_state *state = c->job.log->body->producers;
    uint32_t count = producer_count(state);
    if (count == 0) return true;
    c->producers = pool_alloc(&c->job.pool, count * sizeof *c->producers);
    if (!c->producers) return false;
    c->producer_capacity = count;
    producer_each(state, add_producer, c);
    qsort(c->producers, c->producer_count, sizeof *c->producers, by_producer);
    return true;
}

/* As large as there are offsets that may be keys; when memory is short, smaller: then it takes more cleanings. */
static bool make_map(struct cleaner *c, const struct dirt *dirt) {
    const struct log_store_options *options = &c->job.store->options;
    uint8_t salt[CLEAN_SALT_BYTES];
    uint64_t bytes = options->cleaner_dedupe_bytes;
    for (size_t i = 0; i < sizeof salt; i += 8) store_be64(salt + i, random_u64(&c->job.store->random));
    for (; bytes >= MAP_BYTES_MIN; bytes /= 2)
        if (!clean_map_init(&c->cleaning.map, &c->job.pool, (uint64_t)(dirt->bound - dirt->dirty), bytes, options->cleaner_load_factor, salt)) return true;
    return false;
}

static struct cleaner *cleaner_new(struct log *log, const struct dirt *dirt) {
    struct log_store *store = log->store;
    struct cleaner *c = job_new(store, log, sizeof *c);
    if (!c) return NULL;
    c->job.run = step_run;
    c->job.finish = step_finish;
    if (!list_segments(c) || !list_producers(c) || !make_map(c, dirt)) {
        free_lists(c);
        job_free(&c->job);
        return NULL;
    }
    struct cleaning *cleaning = &c->cleaning;
    cleaning->pool = &c->job.pool;
    cleaning->folder = c->job.folder;
    cleaning->start = log->start;
    cleaning->dirty = dirt->dirty;
    cleaning->bound = dirt->bound;
    cleaning->high_watermark = log->high_watermark;
    cleaning->producers = c->producers;
    cleaning->producer_count = c->producer_count;
    cleaning->now_ms = io_wall(store->shard->io);
    cleaning->delete_retention_ms = log->config.delete_retention_ms;
    cleaning->segment_bytes = log->config.segment_bytes;
    cleaning->segment_index_bytes = log->config.segment_index_bytes;
    cleaning->index_interval_bytes = log->config.index_interval_bytes;
    clean_init(cleaning);
    return c;
}

void cleaner_look(struct log_store *store) {
    struct dirt dirt;
    if (store->cleaner || store->stopping || store->options.cleaner_off) return;
    struct log *log = dirtiest(store, &dirt);
    if (!log) return;
    if (atomic_fetch_add(&store->dirs->cleaners, 1) >= store->options.cleaner_threads) {
        atomic_fetch_sub(&store->dirs->cleaners, 1);
        return;
    }
    struct cleaner *c = cleaner_new(log, &dirt);
    if (!c) {
        atomic_fetch_sub(&store->dirs->cleaners, 1);
        return;
    }
    c->held_before = dirt.bound;
    for (uint32_t i = 0; i < log->body->count && log->body->segments[i]->base < dirt.bound; i++) log->body->segments[i]->readers++;
    log_hold(log);
    log->body->cleaner = store->cleaner = c;
    step_when_paid(c);
}
