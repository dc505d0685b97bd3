#include "log/parts.h"
#include "wire/batch.h"
#include <string.h>

/* What a run of batches is, before any of it counts. */
struct run {
    uint32_t batches;
    log_offset first, last;
    time_ms timestamp_max;
    bool has_producer;
};

static bool is_leaders(enum log_origin origin) { return origin == LOG_FROM_LEADER; }

/* Gives offsets (unless they come with theirs) and looks the run over. Stamping a batch that is refused later is harmless:
 * its bytes are not used again. */
static enum err look_over(struct log *log, const struct log_append *in, struct run *run) {
    struct span rest = span_of(in->batches.data, in->batches.size);
    struct batch batch;
    log_offset next = log->end;
    enum err err;
    *run = (struct run){.first = -1, .last = -1, .timestamp_max = -1};
    while (!(err = batch_next(&rest, &batch))) {
        if (batch.last_offset_delta < 0) return ERR_CORRUPT;
        if (is_leaders(in->origin)) {
            if (batch.base_offset < next) return run->batches ? ERR_CORRUPT : ERR_OUT_OF_RANGE;
        } else {
            uint8_t *at = in->batches.data + (batch.bytes - in->batches.data);
            batch_stamp(at, next, in->epoch);
            batch.base_offset = next;
        }
        if (run->first < 0) run->first = batch.base_offset;
        run->last = batch_last_offset(&batch);
        if (run->last < batch.base_offset) return ERR_CORRUPT;
        next = run->last + 1;
        if (batch.max_timestamp > run->timestamp_max) run->timestamp_max = batch.max_timestamp;
        run->has_producer |= batch_has_producer(&batch);
        run->batches++;
    }
    if (err != ERR_NOT_FOUND) return ERR_CORRUPT;
    return run->batches ? ERR_NONE : ERR_INVALID;
}

/* As Kafka's LogSegment.shouldRoll. */
static bool must_roll(const struct log *log, uint32_t size, log_offset last, time_ms timestamp_max) {
    const struct segment *active = log_active(log);
    const struct log_config *config = &log->config;
    if (last - active->base > INT32_MAX) return true;
    if (active->size == 0) return false;
    if (active->size + size > config->segment_bytes) return true;
    if (index_is_full(&active->by_offset) || index_is_full(&active->by_time)) return true;
    time_ms waited = active->timestamp_first >= 0 && timestamp_max >= 0 ? timestamp_max - active->timestamp_first
                   : active->timestamp_first >= 0 ? -1 : io_wall(log->store->shard->io) - active->created_ms;
    time_ms age = config->cleanup_compact && config->max_compaction_lag_ms < config->segment_ms ? config->max_compaction_lag_ms : config->segment_ms;
    return waited > age - log->body->roll_jitter_ms;
}

static uint32_t unmade(const struct log_body *body) {
    uint32_t count = 0;
    for (uint32_t i = body->count; i-- > 0 && !body->segments[i]->made;) count++;
    return count;
}

/* The active segment ends, one that begins at `base` follows. Its file comes from a job; until then what is appended waits
 * in memory. The producers as of here are remembered for their snapshot. */
static enum err roll(struct log *log, log_offset base) {
    struct log_body *body = log->body;
    struct segment *old = log_active(log);
    assert(base > old->base);
    if (unmade(body) >= UNMADE_SEGMENTS_MAX) return ERR_BUSY;
    struct segment *segment = segment_new(log, base, &log->pool, log->config.segment_index_bytes);
    if (!segment) return ERR_NO_MEMORY;
    segment->snapshot_bytes = (uint32_t)producer_snapshot_bytes(body->producers);
    segment->snapshot = pool_alloc(&log->pool, segment->snapshot_bytes);
    if (!segment->snapshot) segment->snapshot_bytes = 0;
    if (!segment->snapshot || !body_add_segment(body, segment, &log->pool)) {
        segment_free(segment, &log->pool);
        return ERR_NO_MEMORY;
    }
    producer_snapshot_write(body->producers, segment->snapshot);
    segment->timestamp_known = segment->txn_known = true;
    segment->created_ms = io_wall(log->store->shard->io);
    segment_close_time_index(old);
    body->sealed_bytes += old->size;
    body->roll_jitter_ms = log->config.segment_jitter_ms > 0
                         ? (time_ms)random_below(&log->store->random, (uint64_t)log->config.segment_jitter_ms) : 0;
    log->store->metrics.rolls++;
    log_due(log);
    return ERR_NONE;
}

enum err log_roll(struct log *log) {
    if (log->state != LOG_OPEN) return log->state == LOG_FAILED ? log->failure : ERR_AGAIN;
    if (log->change != CHANGE_NONE) return ERR_BUSY;
    return log_active(log)->size == 0 || log_active(log)->base == log->end ? ERR_NONE : roll(log, log->end);
}

/* Room for what a marker may add, so that nothing can fail once the producers have it. */
static enum err reserve_txn(struct log *log, struct segment *segment, const struct batch *batch) {
    uint8_t nothing[TXN_ENTRY_BYTES] = {0};
    if (!batch_is_control(batch) || !batch_has_producer(batch)) return ERR_NONE;
    if (!segment_add_txn(segment, nothing, sizeof nothing, &log->pool)) return ERR_NO_MEMORY;
    segment->txn_bytes -= TXN_ENTRY_BYTES;
    return ERR_NONE;
}

static void note_ended(struct log *log, struct segment *segment, const struct producer_ended *ended) {
    uint8_t bytes[TXN_ENTRY_BYTES];
    struct txn_entry entry = {.producer = ended->producer, .first = ended->first, .last = ended->last, .stable = ended->stable};
    if (!ended->aborted) return;
    txn_entry_encode(&entry, bytes);
    if (!segment_add_txn(segment, bytes, sizeof bytes, &log->pool)) never("room for it was reserved");
}

/* One batch counts from here on. Before: everything that can be refused. */
static enum err take_batch(struct log *log, const struct log_append *in, const struct batch *batch, struct log_appended *out) {
    struct log_body *body = log->body;
    struct segment *active = log_active(log);
    struct producer_ended ended;
    enum err err;
    if ((err = reserve_txn(log, active, batch))) return err;
    if (batch->leader_epoch > epoch_latest(&body->epochs) && (err = epoch_assign(&body->epochs, batch->leader_epoch, batch->base_offset))) return err;
    if (batch_has_producer(batch)) {
        struct producer_append append = {.batch = batch, .origin = in->origin, .guard = in->verification_guard,
                                         .transaction_version = in->transaction_version};
        if (is_leaders(in->origin)) { /* else it was checked before the roll */
            struct producer_outcome outcome;
            if ((err = producer_check(body->producers, &append, &outcome))) return err;
        }
        if (producer_apply(body->producers, &append, &ended)) note_ended(log, active, &ended);
    }
    if (active->size == 0) active->timestamp_first = batch->max_timestamp;
    segment_note_batch(active, active->size, batch->size, batch_last_offset(batch), batch->max_timestamp, log->config.index_interval_bytes);
    active->size += batch->size;
    log->end = batch_next_offset(batch);
    if (batch->max_timestamp > body->timestamp_max) body->timestamp_max = batch->max_timestamp;
    out->last = batch_last_offset(batch);
    out->batches++;
    return ERR_NONE;
}

/* The producers' word on the only batch of a client or coordinator, before anything changes. */
static enum err ask_producers(struct log *log, const struct log_append *in, struct log_appended *out) {
    struct span rest = span_of(in->batches.data, in->batches.size);
    struct batch batch;
    struct producer_outcome outcome;
    if (batch_next(&rest, &batch) || rest.size > 0) { /* which of them would the answer be about? */
        out->kafka_error = KAFKA_INVALID_RECORD;
        return ERR_INVALID;
    }
    struct producer_append append = {.batch = &batch, .origin = in->origin, .guard = in->verification_guard,
                                     .transaction_version = in->transaction_version};
    enum err err = producer_check(log->body->producers, &append, &outcome);
    if (err == ERR_INVALID) out->kafka_error = (int16_t)outcome.kafka_error;
    if (err || !outcome.duplicate) return err;
    out->duplicate = true;
    out->base = outcome.base;
    out->last = outcome.last;
    out->timestamp = outcome.timestamp;
    return ERR_NONE;
}

static bool is_below_reserve(const struct log *log) {
    uint64_t available = atomic_load_explicit(&log->dir->available, memory_order_relaxed);
    return available < log->dir->reserve_bytes && !log->config.may_use_reserve;
}

static enum err may_append(struct log *log, const struct log_append *in) {
    if (log->state == LOG_FAILED) return ERR_IO;
    if (log->state != LOG_OPEN) return ERR_AGAIN;
    if (!log_dir_is_online(log->dir)) { log_fail(log, ERR_IO); return ERR_IO; }
    if (log->change != CHANGE_NONE && log->change != CHANGE_REST) return ERR_BUSY;
    if (log->body->queued >= QUEUE_ENTRIES_MAX) return ERR_BUSY;
    if (is_below_reserve(log)) {
        log->store->metrics.refused_no_space++;
        store_arm_second(log->store);
        return ERR_NO_SPACE;
    }
    if (in->batches.size > log->config.segment_bytes) return ERR_LIMIT;
    if (!is_leaders(in->origin) && in->epoch < epoch_latest(&log->body->epochs)) return ERR_FENCED;
    return ERR_NONE;
}

enum err log_append(struct log *log, const struct log_append *in, struct log_appended *out) {
    struct log_store *store = log->store;
    struct run run;
    enum err err;
    assert(in->batches.slab);
    *out = (struct log_appended){.base = -1, .last = -1, .start = log->start, .timestamp = -1};
    if ((err = may_append(log, in))) return err;
    if ((err = look_over(log, in, &run))) return err;
    if (run.has_producer && !is_leaders(in->origin)) {
        err = ask_producers(log, in, out);
        if (err || out->duplicate) return err;
    }
    struct tail_entry *entry = tail_entry_new(store);
    if (!entry) return ERR_NO_MEMORY;
    if (must_roll(log, in->batches.size, run.last, run.timestamp_max)) {
        log_offset base = is_leaders(in->origin) ? run.first : log->end;
        if ((err = roll(log, base))) { tail_entry_free(store, entry); return err; }
    }
    struct segment *active = log_active(log);
    entry->position = active->size;
    struct span rest = span_of(in->batches.data, in->batches.size);
    struct batch batch;
    while (!(err = batch_next(&rest, &batch)) && !(err = take_batch(log, in, &batch, out)))
        ;
    if (out->batches == 0) { tail_entry_free(store, entry); return err; } /* only memory can be the reason */
    entry->segment = active;
    entry->slab = in->batches.slab;
    entry->data = in->batches.data;
    entry->size = (uint32_t)(active->size - entry->position);
    entry->base = out->base = run.first;
    entry->last = out->last;
    out->timestamp = run.timestamp_max;
    tail_add(log, entry);
    log->body->appended_since_checkpoint += entry->size;
    store->metrics.appends++;
    store->metrics.append_bytes += entry->size;
    store->appended_lately = true;
    store_arm_second(store);
    log_touch(log);
    flush_mark(log);
    return ERR_NONE;
}

/* ---- The files of new segments. */
struct make_job {
    struct log_job job;
    uint32_t count;
    log_offset bases[UNMADE_SEGMENTS_MAX];
    struct io_file *files[UNMADE_SEGMENTS_MAX];
    uint64_t allocate;
    struct io_file *old;          /* holds a count: has room behind its batches, which goes first */
    uint64_t old_size;
};

static enum err make_run(struct log_job *job, struct io_files files) {
    struct make_job *make = container_of(job, struct make_job, job);
    enum err err = ERR_NONE;
    /* Apache Kafka takes zeros for damage, and what lies in later segments for lost: so there are none before there is one. */
    if (make->old) err = err_from_errno(files.vtable->truncate(files.self, make->old, make->old_size));
    if (make->old && !err) err = err_from_errno(files.vtable->sync_data(files.self, make->old));
    for (uint32_t i = 0; i < make->count && !err; i++) {
        char path[PATH_MAX_BYTES];
        path_of_offset(path, job->folder, make->bases[i], ".log");
        err = err_from_errno(files.vtable->open(files.self, &make->files[i], path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE));
        /* Room in advance is a kindness to later writes, not a condition. */
        if (!err && make->allocate) (void)files.vtable->allocate(files.self, make->files[i], 0, make->allocate);
    }
    return err ? err : err_from_errno(files.vtable->sync_directory(files.self, job->folder));
}

static void make_finish(struct log_job *job) {
    struct make_job *make = container_of(job, struct make_job, job);
    struct log *log = job->log;
    enum err err = job->err;
    for (uint32_t i = 0; i < make->count; i++) {
        struct segment *segment = log_segment_of(log, make->bases[i], NULL);
        assert(segment && segment->base == make->bases[i]);
        if (err) { io_file_drop(make->files[i]); continue; }
        segment->file = make->files[i];
        segment->made = true;
        segment->allocated = make->allocate;
        log->store->metrics.files_open++;
    }
    io_file_drop(make->old);
    job_free(job);
    if (err) log_fail(log, err);
    else flush_mark(log);
    log_due(log);
}

void append_roll_job(struct log *log) {
    struct log_body *body = log->body;
    struct make_job *make = job_new(log->store, log, sizeof *make);
    if (!make) { store_retry(log->store); return; }
    make->job.run = make_run;
    make->job.finish = make_finish;
    for (uint32_t i = body->count - unmade(body); i < body->count; i++) make->bases[make->count++] = body->segments[i]->base;
    struct segment *old = body->segments[body->count - make->count - 1]; /* the first one of a log is made by its opening */
    if (old->room > old->size) {
        assert(old->file && !old->sealed);
        make->old = io_file_hold(old->file);
        make->old_size = old->room = old->size;
    }
    /* A log that filled a segment is a hot one. */
    if (log->store->options.preallocate_bytes != UINT32_MAX)
        make->allocate = log->store->options.preallocate_bytes < log->config.segment_bytes ? log->store->options.preallocate_bytes : log->config.segment_bytes;
    job_start(&make->job);
}
