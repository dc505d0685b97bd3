#include "log/parts.h"

static struct round *round_new(struct log_store *store) {
    struct round *round = store->free_rounds;
    if (round) {
        store->free_rounds = round->next_free;
    } else {
        round = POOL_NEW(store->shard->pool, struct round);
        if (!round) return NULL;
        arena_init(&round->arena, store->shard->pool, 0);
        list_init(&round->sync_node);
    }
    chain_init(&round->chain, &round->arena);
    round->segment = NULL;
    round->sync_count = round->pending = round->entries = 0;
    round->bytes = 0;
    round->err = ERR_NONE;
    round->wants_sync = round->in_batch = false;
    return round;
}

static void round_free(struct log_store *store, struct round *round) {
    chain_clear(&round->chain);
    arena_reset(&round->arena);
    list_remove(&round->sync_node);
    round->next_free = store->free_rounds;
    store->free_rounds = round;
}

void round_free_all(struct log_store *store) {
    while (store->free_rounds) {
        struct round *round = store->free_rounds;
        store->free_rounds = round->next_free;
        arena_destroy(&round->arena);
        pool_free(store->shard->pool, round, sizeof *round);
    }
}

void flush_mark(struct log *log) {
    if (log->state != LOG_OPEN) return;
    if (list_is_empty(&log->flush_node)) list_push(&log->store->flush, &log->flush_node);
    store_turn_wanted(log->store);
}

bool log_is_quiet(const struct log *log) {
    const struct log_body *body = log->body;
    return !body->round && body->unwritten == &body->tail && log->written == log->end && list_is_empty(&body->flush_waits);
}

bool log_is_behind(const struct log *log) { return log->body && log->body->queued >= QUEUE_ENTRIES_BEHIND; }

/* ---- The end of a round. */

static void tell_ends(struct log *log) {
    struct log_owner *owner = log->owner;
    log_offset durable = log_durable(log);
    if (durable == log->durable_told || log->state != LOG_OPEN) return;
    log->durable_told = durable;
    if (owner && owner->durable) owner->durable(owner, log);
}

static void tell_flushed(struct log *log) {
    struct list told;
    list_init(&told);
    LIST_EACH_SAFE(at, &log->body->flush_waits) {
        struct log_wait *wait = LIST_ITEM(at, struct log_wait, node);
        if (wait->target > log->flushed) continue;
        list_remove(&wait->node);
        list_push(&told, &wait->node);
    }
    while (!list_is_empty(&told)) {
        struct log_wait *wait = LIST_ITEM(list_pop(&told), struct log_wait, node);
        wait->done(wait, ERR_NONE);
    }
}

static void round_end(struct round *round) {
    struct log *log = round->log;
    struct log_body *body = log->body;
    enum err err = round->err;
    bool synced = round->wants_sync && !err;
    if (synced) {
        log->flushed = round->sync_end;
        body->flushed_at = round->sync_at;
        body->unflushed_since_ms = log->flushed < log->written ? io_wall(log->store->shard->io) : -1;
    }
    body->round = NULL;
    round_free(log->store, round);
    if (err) log_fail(log, err);
    log_due(log); /* a checkpoint, a change, a failure to tell */
    if (log->state != LOG_OPEN) return;
    if (body->unwritten != &body->tail || body->flush_target > log->flushed) flush_mark(log);
    tail_trim(log);
    tell_ends(log);
    if (synced && log->body == body) tell_flushed(log);
}

/* ---- Syncs: all that a turn wants, issued together. */

static void count_sync(struct log_store *store, time_ns began) {
    histogram_add(&store->metrics.sync, io_now_precise(store->shard->io) - began);
}

static void sync_done(struct io_op *op) {
    struct round_sync *sync = container_of(op, struct round_sync, op);
    struct round *round = sync->round;
    count_sync(round->log->store, sync->began);
    io_file_drop(op->disk.file);
    if (op->result < 0) round->err = err_from_errno(op->result);
    else sync->segment->unsynced = false;
    if (--round->pending == 0) round_end(round);
}

static void sync_fs_done(struct io_op *op) {
    struct sync_fs *fs = container_of(op, struct sync_fs, op);
    struct list rounds;
    list_init(&rounds);
    io_file_drop(op->disk.file);
    fs->busy = false;
    count_sync(fs->store, fs->began);
    while (!list_is_empty(&fs->rounds)) list_push(&rounds, list_pop(&fs->rounds));
    while (!list_is_empty(&rounds)) {
        struct round *round = LIST_ITEM(list_pop(&rounds), struct round, sync_node);
        if (op->result < 0) round->err = err_from_errno(op->result);
        for (uint32_t i = 0; i < round->sync_count && op->result >= 0; i++) round->syncs[i].segment->unsynced = false;
        round_end(round);
    }
}

/* The files that have to be synced so that everything written is flushed; the oldest first, so that with too many of them
 * the flushed end still is a front. */
static void collect_syncs(struct round *round) {
    struct log *log = round->log;
    struct log_body *body = log->body;
    uint32_t i = 0;
    round->sync_count = 0;
    round->sync_end = log->written;
    round->sync_at = body->written_at;
    if (!log_segment_of(log, log->flushed, &i)) i = 0;
    if (i > 0) i--; /* flushed may be the very end of the one before */
    for (; i < body->count; i++) {
        struct segment *segment = body->segments[i];
        if (!segment->unsynced || !segment->made) continue;
        if (round->sync_count == ROUND_SYNCS_MAX) { round->sync_end = segment->base; break; }
        assert(segment->file); /* those that are not synced are never closed */
        round->syncs[round->sync_count++] = (struct round_sync){.round = round, .segment = segment};
    }
}

static void sync_alone(struct round *round) {
    struct log_store *store = round->log->store;
    round->pending = round->sync_count;
    if (round->pending == 0) { round_end(round); return; }
    for (uint32_t i = 0; i < round->sync_count; i++) {
        struct round_sync *sync = &round->syncs[i];
        sync->op.kind = IO_OP_SYNC;
        sync->op.done = sync_done;
        sync->op.disk.file = io_file_hold(sync->segment->file); /* a seal may sync and close it before this one is done */
        store->metrics.syncs++;
        sync->began = io_now_precise(store->shard->io);
        io_submit(store->shard->io, &sync->op);
    }
}

static struct sync_fs *free_sync_fs(struct log_store *store) {
    for (uint32_t i = 0; i < countof(store->sync_fs); i++)
        if (!store->sync_fs[i].busy) return &store->sync_fs[i];
    return NULL;
}

/* Above a measured number of files the file system's own sync is cheaper than one for each. */
static bool sync_together(struct log_store *store, struct log_dir *dir, struct list *rounds) {
    struct sync_fs *fs = free_sync_fs(store);
    uint32_t files = 0;
    LIST_EACH(at, rounds) {
        struct round *round = LIST_ITEM(at, struct round, sync_node);
        if (round->log->dir == dir) files += round->sync_count;
    }
    if (!fs || files <= store->options.sync_fs_files) return false;
    list_init(&fs->rounds);
    fs->op = (struct io_op){.kind = IO_OP_SYNC_FS, .done = sync_fs_done};
    fs->store = store;
    fs->began = io_now_precise(store->shard->io);
    LIST_EACH_SAFE(at, rounds) {
        struct round *round = LIST_ITEM(at, struct round, sync_node);
        if (round->log->dir != dir || round->sync_count == 0) continue;
        if (!fs->op.disk.file) fs->op.disk.file = io_file_hold(round->syncs[0].segment->file);
        list_remove(&round->sync_node);
        list_push(&fs->rounds, &round->sync_node);
    }
    fs->busy = true;
    store->metrics.syncs_fs++;
    io_submit(store->shard->io, &fs->op);
    return true;
}

void flush_syncs(struct log_store *store) {
    struct list rounds;
    list_init(&rounds);
    LIST_EACH_SAFE(node, &store->sync) {
        struct round *round = LIST_ITEM(node, struct round, sync_node);
        if (round->in_batch && store->batch_writes > 0) continue; /* for the last of its batch to be written */
        list_remove(node);
        collect_syncs(round);
        list_push(&rounds, node);
    }
    while (!list_is_empty(&rounds)) {
        struct round *round = LIST_ITEM(rounds.next, struct round, sync_node);
        if (sync_together(store, round->log->dir, &rounds)) continue;
        list_remove(&round->sync_node);
        sync_alone(round);
    }
}

static void want_sync(struct round *round) {
    list_push(&round->log->store->sync, &round->sync_node);
    store_turn_wanted(round->log->store);
}

/* ---- Writes. */

static void write_done(struct io_op *op) {
    struct round *round = container_of(op, struct round, write);
    struct log *log = round->log;
    struct log_body *body = log->body;
    struct log_owner *owner = log->owner;
    if (round->in_batch && --log->store->batch_writes == 0) store_turn_wanted(log->store);
    if (op->result < 0) round->err = err_from_errno(op->result);
    else if ((uint64_t)op->result != round->chain.bytes) round->err = ERR_IO;
    if (!round->err && log->state == LOG_FAILED) round->err = log->failure;
    if (round->err) { round_end(round); return; }
    checked_add(&round->segment->checked, round->write.disk.file, round->segment->written, round->segment->written + round->bytes);
    round->segment->written += round->bytes;
    round->segment->unsynced = true;
    struct list *at = round->first;
    for (uint32_t i = 0; i < round->entries; i++, at = at->next) tail_written(LIST_ITEM(at, struct tail_entry, node));
    log->written = round->end;
    body->written_at = (struct log_position){round->end, round->segment->base, (int64_t)round->segment->written};
    if (body->unflushed_since_ms < 0) {
        body->unflushed_since_ms = io_wall(log->store->shard->io);
        if (log->config.flush_ms < INT64_MAX) store_arm_second(log->store);
    }
    if (round->wants_sync) want_sync(round);
    if (owner && owner->written) owner->written(owner, log);
    if (!round->wants_sync) round_end(round);
}

/* Everything that is queued for one segment; false: nothing could be taken. */
static bool fill(struct round *round) {
    struct log_body *body = round->log->body;
    struct list *at = body->unwritten;
    round->first = at;
    round->segment = LIST_ITEM(at, struct tail_entry, node)->segment;
    for (; at != &body->tail; at = at->next) {
        struct tail_entry *entry = LIST_ITEM(at, struct tail_entry, node);
        if (entry->segment != round->segment || round->entries == ROUND_ENTRIES_MAX) break;
        if (round->entries > 0 && round->chain.bytes + entry->size > ROUND_BYTES_MAX) break;
        /* The entry keeps its slab until it is written. */
        if (!chain_add_memory(&round->chain, entry->data, entry->size, NULL)) break;
        round->entries++;
        round->end = entry->last + 1;
    }
    if (round->entries) body->unwritten = at;
    return round->entries > 0;
}

static bool sync_is_due(const struct log *log, log_offset written) {
    if (log_is_syncing(log) || log->body->flush_target > log->flushed) return true;
    return log->config.flush_messages < INT64_MAX && written - log->flushed >= log->config.flush_messages;
}

/* Begins a round and answers it; NULL: nothing to do now. */
static struct round *begin(struct log *log) {
    struct log_store *store = log->store;
    struct log_body *body = log->body;
    if (log->state != LOG_OPEN || body->round) return NULL; /* the end of the round looks again */
    bool writes = body->unwritten != &body->tail;
    if (writes && !LIST_ITEM(body->unwritten, struct tail_entry, node)->segment->made) writes = false; /* the job's end looks again */
    bool syncs = log->flushed < log->written && sync_is_due(log, log->written);
    if (!writes && !syncs) return NULL;
    struct round *round = round_new(store);
    if (!round) { store_retry(store); return NULL; }
    round->log = log;
    round->end = log->written;
    if (writes && !fill(round)) {
        round_free(store, round);
        store_retry(store);
        return NULL;
    }
    round->wants_sync = syncs || sync_is_due(log, round->end);
    log->durable_before = log_durable(log);
    body->round = round;
    return round;
}

/* Room: a file that grows has its new size and blocks synced along, which costs more than the data (on ext4 three times the
 * CPU of a small sync, and its latency several times). So the write that makes a file grow makes it grow by some zeros more,
 * and the next ones are written over them. More each time. Apache Kafka knows such an end from log.preallocate, but its
 * tools call it damage: so only logs that are synced twice a second or more have room, those of the node itself (metadata,
 * internal topics) never; and it goes when nothing was appended for a second or two, when the segment is rolled or closed, or
 * at the next opening. */
static bool is_hot(struct segment *segment, time_ns now) {
    enum { HOT_ROUNDS = 20 };
    if (now - segment->growing_since > 10 * NS_PER_S) {
        segment->growing_since = now;
        segment->grown = 0;
    }
    return ++segment->grown > HOT_ROUNDS || segment->room_step > 0;
}

static void make_room(struct round *round) {
    enum { ZEROS = 64 << 10, STEP_FIRST = 4096 };
    static uint8_t zeros[ZEROS]; /* never written to: it costs one page */
    struct log *log = round->log;
    struct log_dir *dir = log->dir;
    struct segment *segment = round->segment;
    uint32_t step_max = log->store->options.room_bytes_max;
    uint64_t end = segment->written + round->bytes, available = atomic_load_explicit(&dir->available, memory_order_relaxed);
    if (end <= segment->room) return;
    segment->room = end;
    if (log->config.verify_from_start || log->config.may_use_reserve || !is_hot(segment, io_now(log->store->shard->io))) return;
    if (!round->wants_sync || round->bytes > ROUND_ROOMY_BYTES_MAX || step_max == UINT32_MAX || segment != log_active(log)) return;
    segment->room_step = segment->room_step == 0 ? STEP_FIRST : segment->room_step < step_max ? segment->room_step * 2 : step_max;
    uint64_t room = (end + segment->room_step - 1) / segment->room_step * segment->room_step;
    if (room > log->config.segment_bytes || available < dir->reserve_bytes + 1024 * (uint64_t)segment->room_step) return;
    for (size_t part; end < room; end += part) {
        part = room - end < ZEROS ? (size_t)(room - end) : ZEROS;
        if (!chain_add_memory(&round->chain, zeros, part, NULL)) break; /* less will do */
    }
    segment->room = end;
}

static void carry_out(struct round *round) {
    struct log *log = round->log;
    struct log_body *body = log->body;
    if (round->entries == 0) { want_sync(round); return; }
    round->bytes = round->chain.bytes;
    if (body->checkpoint_wanted && body->unwritten == &body->tail) capture_take(log);
    make_room(round);
    round->write = (struct io_op){.kind = IO_OP_WRITE, .done = write_done};
    round->write.disk.file = round->segment->file;
    round->write.disk.offset = round->segment->written;
    round->write.disk.chain = &round->chain;
    log->store->metrics.writes++;
    dir_takes(log->dir, round->chain.bytes);
    io_submit(log->store->shard->io, &round->write);
}

/* A turn that writes to very many files has them synced by one sync of the file system, once all are written. */
void flush_turn(struct log_store *store) {
    struct list rounds;
    uint32_t files = 0;
    list_init(&rounds);
    while (!list_is_empty(&store->flush)) {
        struct round *round = begin(LIST_ITEM(list_pop(&store->flush), struct log, flush_node));
        if (!round) continue;
        list_push(&rounds, &round->sync_node);
        files += round->entries > 0 && round->wants_sync;
    }
    bool batch = files > store->options.sync_fs_files && store->batch_writes == 0;
    while (!list_is_empty(&rounds)) {
        struct round *round = LIST_ITEM(list_pop(&rounds), struct round, sync_node);
        round->in_batch = batch && round->entries > 0 && round->wants_sync;
        if (round->in_batch) store->batch_writes++;
        carry_out(round);
    }
}

enum err log_flush(struct log *log, struct log_wait *wait) {
    if (log->state == LOG_FAILED) return log->failure;
    if (log->state != LOG_OPEN) return ERR_CLOSED;
    if (log->flushed == log->end) return ERR_NONE;
    log->body->flush_target = log->end;
    if (wait) {
        wait->target = log->end;
        list_push(&log->body->flush_waits, &wait->node);
    }
    flush_mark(log);
    return ERR_AGAIN;
}
