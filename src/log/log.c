#include "log/log.h"
#include "base/hash.h"
#include "base/text.h"
#include "log/parts.h"
#include "log/recover.h"
#include <string.h>

void log_config_init(struct log_config *config) {
    *config = (struct log_config){
        .flush_messages = 1, .flush_ms = INT64_MAX, .segment_bytes = 1073741824, .segment_index_bytes = 10485760,
        .index_interval_bytes = 4096, .segment_ms = 604800000, .segment_jitter_ms = 0, .retention_bytes = -1,
        .retention_ms = 604800000, .file_delete_delay_ms = 60000, .cleanup_delete = true, .delete_retention_ms = 86400000,
        .max_compaction_lag_ms = INT64_MAX, .min_cleanable_dirty_ratio = 0.5};
}

void log_config_init_metadata(struct log_config *config) {
    log_config_init(config);
    config->cleanup_delete = false;
    config->retention_ms = config->retention_bytes = -1;
    config->may_use_reserve = true;
    config->verify_from_start = true;
}

/* ---- Names */
struct log_name { const char *topic; partition_index partition; };

static uint64_t name_hash(const struct log_name *name) {
    return hash_bytes(name->topic, strlen(name->topic)) ^ hash_u64((uint64_t)name->partition + 1);
}

bool log_is_named(const struct map_node *node, const void *key) {
    const struct log *log = container_of(node, const struct log, name_node);
    const struct log_name *name = key;
    return log->partition == name->partition && strcmp(log->topic, name->topic) == 0;
}

void log_folder(const struct log *log, char out[PATH_MAX_BYTES]) {
    char name[NAME_MAX_BYTES + 1];
    path_partition_name(name, log->topic, log->partition);
    path_join(out, log->dir->path, name);
}

/* ---- Birth and end */

/* What the checkpoints say of a log that was closed goes on with its next life in this process. */
static void inherit(struct log *log, struct log *before) {
    if (before->dir == log->dir) {
        log->start = before->start;
        log->high_watermark = before->high_watermark;
        log->recovery_point = before->recovery_point;
        log->recovery_filed = before->recovery_filed;
        log->start_filed = before->start_filed;
        log->clean = before->clean;
        log->opened_once = before->opened_once;
        log->recovery_known = before->recovery_known;
        log->mark_known = before->mark_known;
        log->may_be_stray = before->may_be_stray;
        log->start_is_above = before->start_is_above;
        log->clean_point = before->clean_point;
    }
    log_forget(before);
}

/* The process before had at most one that was not called off. */
static void resume_moves(struct log *log) {
    const struct future *future = NULL;
    while ((future = dirs_next_future(log->store->dirs, future, log->topic, log->partition))) {
        if (future->dir != log->dir && !log->move) move_resume(log, future);
        else move_drop_left(log, future);
    }
}

enum err log_new(struct log **out, struct log_store *store, const struct log_spec *spec) {
    size_t size = strlen(spec->topic) + 1;
    struct log_name name = {spec->topic, spec->partition};
    assert(spec->partition >= 0);
    if (size - 1 > LOG_TOPIC_BYTES_MAX || size < 2) return ERR_INVALID;
    if (store->stopping) return ERR_CLOSED;
    struct map_node *there = map_find(&store->names, name_hash(&name), &name);
    struct log *before = there ? container_of(there, struct log, name_node) : NULL;
    if (before && !before->retired) return ERR_EXISTS;
    struct log *log = pool_zero_alloc(store->shard->pool, sizeof *log + size);
    if (!log) return ERR_BUSY;
    memcpy(log->topic, spec->topic, size);
    log->store = store;
    log->partition = spec->partition;
    log->dir = spec->dir;
    log->owner = spec->owner;
    log->topic_id = spec->topic_id;
    log->config = spec->config;
    log->create = spec->create;
    log->state = LOG_CLOSED;
    log->epoch_last = -1;
    log->end = log->written = log->flushed = -1;
    log->retain_due_ms = -1;
    log->clean_point = log->measured_end = -1;
    log->last_report.recovery_point = log->last_report.cut_at = log->last_report.damaged_at = -1;
    list_init(&log->node);
    list_init(&log->open_node);
    list_init(&log->flush_node);
    list_init(&log->due_node);
    list_init(&log->waits);
    list_init(&log->retain_waits);
    list_init(&log->background_node);
    pool_init_child(&log->pool, store->shard->pool, 0);
    name.topic = log->topic;
    if (before) inherit(log, before);
    if (!map_insert(&store->names, &log->name_node, name_hash(&name))) {
        pool_free(store->shard->pool, log, sizeof *log + size);
        return ERR_BUSY;
    }
    struct found *found = dirs_find(store->dirs, spec->topic, spec->partition);
    if (before) {
    } else if (found && found->dir == spec->dir) {
        const log_offset *marks = found->marks;
        log->recovery_known = marks[CHECKPOINT_RECOVERY] >= 0;
        log->mark_known = marks[CHECKPOINT_HIGH_WATERMARK] >= 0;
        log->start_is_above = marks[CHECKPOINT_START] >= 0;
        log->start = log->start_filed = marks[CHECKPOINT_START] < 0 ? 0 : marks[CHECKPOINT_START];
        log->high_watermark = marks[CHECKPOINT_HIGH_WATERMARK] < 0 ? 0 : marks[CHECKPOINT_HIGH_WATERMARK];
        log->recovery_point = log->recovery_filed = marks[CHECKPOINT_RECOVERY] < 0 ? 0 : marks[CHECKPOINT_RECOVERY];
        log->clean_point = marks[CHECKPOINT_CLEANER];
        log->clean = found->dir->was_clean;
        log->may_be_stray = spec->strays;
        log->create = false; /* it is there: time passes for it even if nobody opens it */
        atomic_store_explicit(&found->taken, true, memory_order_release);
    } else {
        atomic_fetch_add(&spec->dir->partitions, 1);
    }
    list_push(&store->logs, &log->node);
    store->metrics.logs++;
    if (found && !before && found->dir == spec->dir) {
        if (!log->clean) store_want_background(log); /* it is recovered even if nobody asks */
        resume_moves(log);
    }
    *out = log;
    return ERR_NONE;
}

void segment_close_file(struct segment *segment) {
    if (!segment->file) return;
    list_remove(&segment->file_node);
    io_file_drop(segment->file);
    segment->file = NULL;
    checked_clear(&segment->checked);
    segment->log->store->metrics.files_open--;
}

/* Segments in the trash are still there after a crash: until their new names are durable the start is not the first's base. */
bool log_start_is_above(const struct log *log) {
    return log->body ? log->start > log->body->segments[0]->base || log->body->trash_count > 0 : log->start_is_above;
}

void log_body_free(struct log *log) {
    struct log_body *body = log->body;
    if (!body) return;
    log->start_is_above = log_start_is_above(log);
    assert(!body->round && !body->cleaner);
    assert(body->reads == 0);
    tail_clear(log);
    capture_free(log);
    while (!list_is_empty(&body->trash)) segment_free(LIST_ITEM(list_pop(&body->trash), struct segment, file_node), &log->pool);
    for (uint32_t i = 0; i < body->count; i++) segment_close_file(body->segments[i]);
    log->epoch_last = epoch_latest(&body->epochs);
    recover_body_free(body, &log->pool);
    log->body = NULL;
    list_remove(&log->open_node);
    list_remove(&log->flush_node);
    log->store->metrics.logs_open--;
}

void log_forget(struct log *log) {
    struct log_store *store = log->store;
    assert(!log->body && !log->job);
    assert(list_is_empty(&log->waits));
    map_remove(&store->names, &log->name_node);
    list_remove(&log->node);
    list_remove(&log->due_node);
    list_remove(&log->background_node);
    store_background_done(log);
    store_forget_waits(log);
    store->metrics.logs--;
    pool_destroy(&log->pool);
    pool_free(store->shard->pool, log, sizeof *log + strlen(log->topic) + 1);
}

/* ---- States */

/* The waits are taken off first: who is told may ask for something new. */
void log_tell_all(struct list *waits, enum err err) {
    struct list told;
    list_init(&told);
    while (!list_is_empty(waits)) list_push(&told, list_pop(waits));
    while (!list_is_empty(&told)) {
        struct log_wait *wait = LIST_ITEM(list_pop(&told), struct log_wait, node);
        wait->done(wait, err);
    }
}

void log_due(struct log *log) {
    if (list_is_empty(&log->due_node)) list_push(&log->store->due, &log->due_node);
    store_turn_wanted(log->store);
}

void log_touch(struct log *log) {
    if (!log->body) return;
    list_remove(&log->open_node);
    list_push(&log->store->open_logs, &log->open_node);
}

/* Ends the log in this process. What is in flight comes back and is ignored; the body goes with log_close or log_delete,
 * or when it is opened again after a full disk. */
void log_fail(struct log *log, enum err err) {
    store_background_done(log);
    if (log->state == LOG_DELETED) return;
    log_due(log);
    if (log->state == LOG_FAILED) return;
    if (err == ERR_NO_SPACE) { /* what was measured is no longer so */
        dir_is_full(log->dir);
        store_arm_second(log->store);
    }
    if (err == ERR_IO) dirs_mark_dirty(log->store->dirs, CHECKPOINT_HIGH_WATERMARK); /* soon written: can the directory still be? */
    log->state = LOG_FAILED;
    log->failure = err;
    log->clean = false;
    log->store->metrics.failures++;
    list_remove(&log->flush_node);
}

/* A failure is told from the turn's end: once to the owner, and to all who wait. */
static bool tell_failure(struct log *log) {
    if (log->failed_told) return false;
    log->failed_told = true;
    enum err err = log->failure;
    if (log->body) log_tell_all(&log->body->flush_waits, err);
    log_tell_all(&log->waits, err);
    log_tell_all(&log->retain_waits, err);
    if (log->change == CHANGE_TRUNCATE || log->change == CHANGE_TRUNCATE_FULLY) {
        struct log_wait *wait = log->change_wait;
        log->change = CHANGE_NONE;
        log->change_wait = NULL;
        if (wait) wait->done(wait, err);
    }
    if (log->owner && log->owner->failed) log->owner->failed(log->owner, log, err);
    log_due(log);
    return true;
}

static void finish_close(struct log *log, enum err err) {
    struct log_wait *wait = log->change_wait;
    if (log->retired) return;
    /* The mark would say that nothing of this directory needs to be looked at. */
    if (err || (!log->clean && !log->opened_once && !log->create)) atomic_store(&log->dir->unsettled, true);
    log->retired = true;
    list_remove(&log->node);
    list_push(&log->store->retired, &log->node);
    store_background_done(log);
    log->owner = NULL;
    log->change_wait = NULL;
    list_remove(&log->background_node);
    log_tell_all(&log->waits, ERR_CLOSED);
    log_tell_all(&log->retain_waits, ERR_CLOSED);
    if (wait) wait->done(wait, err);
    store_turn_wanted(log->store); /* a stop looks whether this was the last one */
}

static bool is_idle(const struct log *log) {
    return !log->job && (!log->body || (!log->body->round && log->body->reads == 0));
}

static void next_when_closed(struct log *log) {
    struct log_store *store = log->store;
    if (log->change == CHANGE_REST) log->change = CHANGE_NONE;
    if (log->change == CHANGE_CLOSE) { finish_close(log, ERR_NONE); return; }
    if (log->change == CHANGE_DELETE) { delete_start(log); return; }
    if (log->change == CHANGE_MOVE || move_is_ready(log)) {
        log->change = CHANGE_MOVE;
        move_start(log);
        return;
    }
    if (list_is_empty(&log->waits) && !log->wants_background) return;
    if (!log_dir_is_online(log->dir)) { log_fail(log, ERR_IO); return; }
    if (log->create && !log->opened_once && atomic_load(&log->dir->straying) > 0) { /* perhaps one of this name */
        store_retry(store);
        return;
    }
    /* Lines that a deleted log of this name left in the checkpoint files must be gone before a new one relies on them. */
    if (log->create && !log->opened_once && atomic_load(&log->dir->settled) < atomic_load(&log->dir->deleted)) {
        store_settle(log);
        return;
    }
    store_make_room(store);
    open_start(log);
}

static void next_when_failed(struct log *log) {
    if (tell_failure(log)) return;
    if (log->body && log->body->cleaner) cleaner_cancel(log);
    if (!is_idle(log)) return;
    if (log->change == CHANGE_CLOSE) {
        log_body_free(log);
        finish_close(log, log->failure);
    } else if (log->change == CHANGE_DELETE) {
        log_body_free(log);
        delete_start(log);
    } else if (!list_is_empty(&log->waits)) { /* opened again, after a full disk */
        log_body_free(log);
        log->state = LOG_CLOSED;
        log->failed_told = false;
        next_when_closed(log);
    }
}

static void next_change(struct log *log) {
    if (log->body->cleaner) cleaner_cancel(log);
    if (!log_is_quiet(log)) { flush_mark(log); return; }
    if (log->body->reads > 0) return; /* the last one looks here again */
    switch (log->change) {
    case CHANGE_TRUNCATE:
    case CHANGE_TRUNCATE_FULLY:
        if (log->recovery_point > log->change_offset) {
            log->recovery_point = log->change_offset;
            dirs_mark_dirty(log->store->dirs, CHECKPOINT_RECOVERY);
        }
        /* A crash after new batches were written must not take them for flushed ones. */
        if (log->recovery_filed > log->change_offset) {
            store_settle(log);
            return;
        }
        cut_start(log);
        return;
    case CHANGE_REST:
        if (log->holds || !list_is_empty(&log->waits)) { log->change = CHANGE_NONE; break; }
        persist_close(log);
        return;
    case CHANGE_CLOSE:
        persist_close(log);
        return;
    case CHANGE_MOVE:
        move_start(log);
        return;
    case CHANGE_DELETE:
        log_body_free(log);
        log->state = LOG_CLOSED;
        delete_start(log);
        return;
    case CHANGE_NONE:
        break;
    }
}

static bool has_unmade(const struct log_body *body) {
    return !body->segments[body->count - 1]->made;
}

static void next_when_open(struct log *log) {
    struct log_body *body = log->body;
    if (has_unmade(body)) {
        if (!body->round || body->round->chain.bytes == body->round->bytes) append_roll_job(log); /* else its end comes here again */
        return;
    }
    if (log->change != CHANGE_NONE) { next_change(log); if (log->change != CHANGE_NONE || log->job) return; }
    if (!list_is_empty(&log->waits)) log_tell_all(&log->waits, ERR_NONE);
    if (log->state != LOG_OPEN || log->job || log->change != CHANGE_NONE) return;
    persist_ahead(log);
    retain_start_moved(log);
    if (body->trash_count && retain_remove(log)) return;
    if (persist_seal(log)) return;
    if (persist_checkpoint(log)) return;
    if (cleaner_swap(log)) return;
    if (move_is_ready(log)) { /* every segment but the last is sealed now */
        log->change = CHANGE_MOVE;
        next_change(log);
        return;
    }
    if (log->retain_wanted) retain_step(log);
    else if (log->unasked && !log->config.cleanup_compact) { /* done with it: an idle log holds no descriptor */
        log->unasked = false;
        store_rest(log);
    }
}

void log_next(struct log *log) {
    if (log->job || log->retired || log->settling) return;
    bool ends = log->change == CHANGE_CLOSE || log->change == CHANGE_DELETE || log->state == LOG_FAILED;
    if (ends && move_must_end(log)) return;
    switch (log->state) {
    case LOG_CLOSED: next_when_closed(log); break;
    case LOG_OPEN:   next_when_open(log); break;
    case LOG_FAILED: next_when_failed(log); break;
    case LOG_OPENING:
    case LOG_CLOSING:
    case LOG_DELETED: break;
    }
}

/* ---- Changes: noted here, made by log_next when everything is quiet */

static enum err change_begin(struct log *log, enum change change, log_offset offset, struct log_wait *wait) {
    log->change = change;
    log->change_offset = offset;
    log->change_wait = wait;
    log_due(log);
    return ERR_AGAIN;
}

enum err log_truncate(struct log *log, log_offset offset, struct log_wait *wait) {
    assert(offset >= 0);
    if (log->state == LOG_FAILED) return log->failure;
    if (log->state != LOG_OPEN || log->change != CHANGE_NONE) return ERR_BUSY;
    if (offset >= log->end) { /* only the epochs that begin there */
        epoch_truncate_end(&log->body->epochs, offset);
        return ERR_NONE;
    }
    return change_begin(log, CHANGE_TRUNCATE, offset, wait);
}

enum err log_truncate_fully(struct log *log, log_offset offset, struct log_wait *wait) {
    assert(offset >= 0);
    if (log->state == LOG_FAILED) return log->failure;
    if (log->state != LOG_OPEN || log->change != CHANGE_NONE) return ERR_BUSY;
    return change_begin(log, CHANGE_TRUNCATE_FULLY, offset, wait);
}

enum err log_close(struct log *log, struct log_wait *wait) {
    if (log->change == CHANGE_CLOSE || log->change == CHANGE_DELETE) return ERR_CLOSED;
    if (log->change == CHANGE_TRUNCATE || log->change == CHANGE_TRUNCATE_FULLY) return ERR_BUSY;
    return change_begin(log, CHANGE_CLOSE, 0, wait);
}

enum err log_delete(struct log *log, struct log_wait *wait) {
    if (log->change == CHANGE_CLOSE || log->change == CHANGE_DELETE) return ERR_CLOSED;
    if (log->change == CHANGE_TRUNCATE || log->change == CHANGE_TRUNCATE_FULLY) return ERR_BUSY;
    return change_begin(log, CHANGE_DELETE, 0, wait);
}

void log_hold(struct log *log) { log->holds++; }
void log_release(struct log *log) { assert(log->holds > 0); log->holds--; }

void log_config_set(struct log *log, const struct log_config *config) {
    bool verify = log->config.verify_from_start;
    log->config = *config;
    log->config.verify_from_start |= verify;
    log->retain_due_ms = log->body ? log->retain_due_ms : -1; /* a closed log is looked at again */
    if (log->body) {
        for (uint32_t i = 0; i < log->body->count; i++) {
            log->body->segments[i]->by_offset.entries_max = config->segment_index_bytes / INDEX_ENTRY_BYTES_OFFSET;
            log->body->segments[i]->by_time.entries_max = config->segment_index_bytes / INDEX_ENTRY_BYTES_TIME;
        }
        flush_mark(log);
    }
}

void log_topic_id_set(struct log *log, struct uuid topic_id) { log->topic_id = topic_id; }

/* ---- Ends */

void log_high_watermark_set(struct log *log, log_offset offset) {
    if (log->end >= 0 && offset > log->end) offset = log->end;
    if (offset <= log->high_watermark) return;
    log->high_watermark = offset;
    if (log->body) producer_high_watermark(log->body->producers, offset);
    dirs_mark_dirty(log->store->dirs, CHECKPOINT_HIGH_WATERMARK);
}

log_offset log_stable(const struct log *log) {
    if (!log->body) return log->high_watermark;
    log_offset unstable = producer_first_unstable(log->body->producers);
    return unstable >= 0 && unstable < log->high_watermark ? unstable : log->high_watermark;
}

bool log_is_syncing(const struct log *log) { return log->config.flush_messages == 1; }

log_offset log_durable(const struct log *log) {
    /* With flush.messages above 1 an append that makes a flush due waits for it, as in Kafka. */
    if (log_is_syncing(log)) return log->flushed;
    return log->body && log->body->round && log->body->round->wants_sync ? log->durable_before : log->written;
}

enum err log_start_set(struct log *log, log_offset offset) {
    log_offset most = log->config.verify_from_start ? log->end : log->high_watermark;
    if (log->state != LOG_OPEN || log->change != CHANGE_NONE) return log->state == LOG_FAILED ? log->failure : ERR_BUSY;
    if (offset > most) return ERR_OUT_OF_RANGE;
    if (offset <= log->start) return ERR_NONE;
    log->start = offset;
    if (log->high_watermark < offset) log_high_watermark_set(log, offset);
    epoch_truncate_start(&log->body->epochs, offset);
    producer_log_start(log->body->producers, offset);
    dirs_mark_dirty(log->store->dirs, CHECKPOINT_START);
    retain_start_moved(log);
    return ERR_NONE;
}

enum err log_start_flush(struct log *log, struct log_wait *wait) {
    if (log->state != LOG_OPEN) return log->state == LOG_FAILED ? log->failure : ERR_BUSY;
    if (log->start <= log->start_filed) return ERR_NONE;
    store_file_start(log, wait);
    return ERR_AGAIN;
}

/* ---- Epochs */
void log_epoch_assign(struct log *log, leader_epoch epoch, log_offset start) {
    assert(log->body);
    if (epoch <= epoch_latest(&log->body->epochs)) return;
    /* Out of memory it is not remembered now; its first batch brings it again, or is refused. */
    if (epoch_assign(&log->body->epochs, epoch, start)) return;
}
leader_epoch log_epoch_last(const struct log *log) { return log->body ? epoch_latest(&log->body->epochs) : log->epoch_last; }
leader_epoch log_epoch_at(const struct log *log, log_offset offset) { assert(log->body); return epoch_of_offset(&log->body->epochs, offset); }
struct log_epoch_end log_epoch_end_for(const struct log *log, leader_epoch epoch) {
    struct log_epoch_end out = {-1, -1};
    assert(log->body);
    epoch_end(&log->body->epochs, epoch, log->end, &out.epoch, &out.end);
    return out;
}

/* ---- Small questions */
enum log_state log_state(const struct log *log) { return log->state; }
enum err log_failure(const struct log *log) { return log->failure; }
const char *log_topic(const struct log *log) { return log->topic; }
partition_index log_partition(const struct log *log) { return log->partition; }
struct uuid log_topic_id(const struct log *log) { return log->topic_id; }
struct log_dir *log_dir_of(const struct log *log) { return log->dir; }
const struct log_report *log_report(const struct log *log) { return &log->last_report; }
log_offset log_start(const struct log *log) { return log->start; }
log_offset log_start_filed(const struct log *log) { return log->start_filed < log->start ? log->start_filed : log->start; }
log_offset log_end(const struct log *log) { return log->end; }
log_offset log_written(const struct log *log) { return log->written; }
log_offset log_flushed(const struct log *log) { return log->flushed; }
log_offset log_high_watermark(const struct log *log) { return log->high_watermark; }
log_offset log_recovery_point(const struct log *log) { return log->recovery_point; }
struct producer_state *log_producers(struct log *log) { return log->body ? log->body->producers : NULL; }
uint32_t log_segments(const struct log *log) { return log->body ? log->body->count : 0; }
uint64_t log_size(const struct log *log) { return log->body ? log->body->sealed_bytes + log_active(log)->size : 0; }
time_ms log_timestamp_max(const struct log *log) { return log->body ? log->body->timestamp_max : -1; }

struct log_position log_end_position(const struct log *log) {
    if (!log->body) return (struct log_position){log->end, -1, -1};
    const struct segment *active = log_active(log);
    return (struct log_position){log->end, active->base, (int64_t)active->size};
}

/* Ends of rounds are remembered with their places. What moved otherwise (a checkpoint, flush.messages above 1) is not: then only
 * the offset is known. */
struct log_position log_durable_position(const struct log *log) {
    log_offset durable = log_durable(log);
    const struct log_body *body = log->body;
    if (durable == log->end) return log_end_position(log);
    if (body && body->written_at.offset == durable) return body->written_at;
    if (body && body->flushed_at.offset == durable) return body->flushed_at;
    return (struct log_position){durable, -1, -1};
}

int64_t log_position_bytes_between(const struct log *log, const struct log_position *from, const struct log_position *to) {
    if (from->segment_base < 0 || from->segment_base != to->segment_base) return -1;
    return to->position - from->position;
}

struct segment *log_segment_of(const struct log *log, log_offset offset, uint32_t *index) {
    const struct log_body *body = log->body;
    uint32_t low = 0, high = body->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (body->segments[middle]->base <= offset) low = middle + 1;
        else high = middle;
    }
    if (low == 0) return NULL;
    if (index) *index = low - 1;
    return body->segments[low - 1];
}

bool body_add_segment(struct log_body *body, struct segment *segment, struct pool *pool) {
    if (body->count == body->capacity) {
        uint32_t capacity = body->capacity ? body->capacity * 2 : 4;
        struct segment **grown = pool_realloc(pool, body->segments, body->capacity * sizeof *grown, capacity * sizeof *grown);
        if (!grown) return false;
        body->segments = grown;
        body->capacity = capacity;
    }
    body->segments[body->count++] = segment;
    return true;
}

/* ---- Invariants */
void log_check(const struct log *log) {
    assert(log->start >= 0);
    assert(log->high_watermark >= 0);
    assert(implies(log->state == LOG_OPEN, log->body != NULL));
    if (!log->body) return;
    const struct log_body *body = log->body;
    assert(log->start <= log_stable(log));
    assert(log_stable(log) <= log->high_watermark);
    assert(log->high_watermark <= log->end);
    assert(log->flushed <= log->written);
    assert(log->written <= log->end);
    assert(log->recovery_point <= log->end);
    assert(body->count > 0);
    uint64_t before = 0;
    for (uint32_t i = 0; i < body->count; i++) {
        const struct segment *segment = body->segments[i];
        segment_check(segment);
        assert(implies(i > 0, body->segments[i - 1]->base < segment->base));
        assert(segment->base <= log->end);
        if (i + 1 < body->count) before += segment->size;
        else assert(!segment->sealed);
    }
    assert(before == body->sealed_bytes);
    epoch_check(&body->epochs);
    producer_check_state(body->producers);
    log_offset next = -1;
    uint32_t count = 0, queued = 0;
    LIST_EACH(at, &body->tail) {
        const struct tail_entry *entry = LIST_ITEM(at, const struct tail_entry, node);
        assert(entry->base <= entry->last);
        assert(implies(next >= 0, entry->base >= next));
        assert(entry->position + entry->size <= entry->segment->size);
        next = entry->last + 1;
        count++;
        if (!entry->written) queued++;
    }
    assert(count == body->tail_count);
    assert(queued == body->queued);
    assert(implies(log->state == LOG_OPEN && count > 0, next == log->end));
}

void log_text(const struct log *log, struct text *out) {
    static const char *const states[] = {"closed", "opening", "open", "closing", "failed", "deleted"};
    text_add(out, "%s-%d %s start %lld stable %lld hw %lld flushed %lld written %lld end %lld recovery %lld", log->topic,
             (int)log->partition, states[log->state], (long long)log->start, (long long)log_stable(log),
             (long long)log->high_watermark, (long long)log->flushed, (long long)log->written, (long long)log->end,
             (long long)log->recovery_point);
    if (log->body) text_add(out, " segments %u bytes %llu", log->body->count, (unsigned long long)log_size(log));
    if (log->state == LOG_FAILED) text_add(out, " (%s)", err_text(log->failure));
}
