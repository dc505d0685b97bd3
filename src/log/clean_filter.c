#include "log/clean_filter.h"
#include "log/paths.h"
#include "base/hash.h"

#include <errno.h>
#include <string.h>

enum { TARGET_BUFFER_BYTES = 256 << 10, TRANSACTIONS_MAX = 1000000 };

/* ---- Transactions */
struct open_txn {
    struct map_node node;
    producer_id producer;
    struct clean_txn *aborted;    /* NULL: one that was, or will be, committed */
};

static bool is_producer(const struct map_node *node, const void *key) {
    return MAP_ITEM(node, const struct open_txn, node)->producer == *(const producer_id *)key;
}

static struct open_txn *find_open(const struct cleaning *c, producer_id producer) {
    struct map_node *node = map_find(&c->open, hash_u64((uint64_t)producer), &producer);
    return node ? MAP_ITEM(node, struct open_txn, node) : NULL;
}

static enum err add_open(struct cleaning *c, producer_id producer, struct clean_txn *aborted) {
    struct open_txn *open = POOL_NEW(c->pool, struct open_txn);
    if (!open) return ERR_NO_MEMORY;
    open->producer = producer;
    open->aborted = aborted;
    if (map_insert(&c->open, &open->node, hash_u64((uint64_t)producer))) return ERR_NONE;
    pool_free(c->pool, open, sizeof *open);
    return ERR_NO_MEMORY;
}

static void remove_open(struct cleaning *c, struct open_txn *open) {
    map_remove(&c->open, &open->node);
    pool_free(c->pool, open, sizeof *open);
}

void clean_walk_begin(struct cleaning *c) {
    clean_walk_end(c);
    map_init(&c->open, c->pool, TRANSACTIONS_MAX, is_producer);
    c->aborted_next = 0;
    for (uint32_t i = 0; i < c->aborted_count; i++) c->aborted[i].seen = false;
}

void clean_walk_end(struct cleaning *c) {
    if (!c->open.pool) return;
    MAP_EACH_SAFE(at, &c->open) remove_open(c, MAP_EACH_ITEM(at, struct open_txn, node));
    map_destroy(&c->open);
    c->open.pool = NULL;
}

/* Aborted transactions that began at or before the batch's end are under way, unless they ended before it began. */
static enum err begin_up_to(struct cleaning *c, const struct batch *batch) {
    for (; c->aborted_next < c->aborted_count; c->aborted_next++) {
        struct clean_txn *txn = &c->aborted[c->aborted_next];
        if (txn->entry.first > batch_last_offset(batch)) break;
        if (txn->entry.last < batch->base_offset) continue;
        struct open_txn *open = find_open(c, txn->entry.producer);
        if (open && open->aborted) continue;
        if (open) { open->aborted = txn; continue; }
        enum err err = add_open(c, txn->entry.producer, txn);
        if (err) return err;
    }
    return ERR_NONE;
}

static enum err walk_marker(struct cleaning *c, const struct batch *batch, bool *may_go, struct clean_txn **kept) {
    struct batch_marker marker;
    struct open_txn *open = find_open(c, batch->producer_id);
    enum err err = batch_marker_parse(batch, &marker);
    if (err == ERR_NOT_FOUND) { *may_go = true; return ERR_NONE; } /* emptied before */
    if (err == ERR_UNSUPPORTED) return ERR_NONE;
    if (err) return err;
    *may_go = !open || (marker.type == CONTROL_ABORT && !(open->aborted && open->aborted->seen));
    if (open && marker.type == CONTROL_ABORT && open->aborted && open->aborted->seen) *kept = open->aborted;
    if (open) remove_open(c, open);
    return ERR_NONE;
}

enum err clean_walk_batch(struct cleaning *c, const struct batch *batch, bool *may_go, struct clean_txn **kept) {
    *may_go = false;
    *kept = NULL;
    enum err err = begin_up_to(c, batch);
    if (err) return err;
    if (batch_is_control(batch)) return walk_marker(c, batch, may_go, kept);
    if (!batch_is_transactional(batch)) return ERR_NONE;
    struct open_txn *open = find_open(c, batch->producer_id);
    if (!open) return add_open(c, batch->producer_id, NULL);
    if (open->aborted) *may_go = open->aborted->seen = true;
    return ERR_NONE;
}

/* ---- The new segment */

enum err clean_target_open(struct cleaning *c, const struct clean_group *group) {
    char path[PATH_MAX_BYTES];
    index_init(&c->by_offset, INDEX_OFFSET, group->base, c->segment_index_bytes, c->pool);
    index_init(&c->by_time, INDEX_TIME, group->base, c->segment_index_bytes, c->pool);
    c->buffered = c->since_index = c->txn_bytes = 0;
    if (!c->buffer) c->buffer = pool_alloc(c->pool, TARGET_BUFFER_BYTES);
    if (!c->buffer) return ERR_NO_MEMORY;
    path_of_offset(path, c->folder, group->base, ".log.cleaned");
    return err_from_errno(c->files.vtable->open(c->files.self, &c->target, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE));
}

void clean_target_free(struct cleaning *c) {
    io_file_drop(c->target);
    c->target = NULL;
    if (c->by_offset.pool) index_free(&c->by_offset);
    if (c->by_time.pool) index_free(&c->by_time);
    pool_free(c->pool, c->buffer, TARGET_BUFFER_BYTES);
    pool_free(c->pool, c->txn, c->txn_capacity);
    c->buffer = c->txn = NULL;
    c->txn_capacity = 0;
}

static enum err write_at(struct cleaning *c, const void *bytes, size_t size, uint64_t at) {
    return err_from_errno(c->files.vtable->write(c->files.self, c->target, bytes, size, at));
}

/* What lies in the buffer belongs before the group's size. */
static enum err flush_buffer(struct cleaning *c, const struct clean_group *group) {
    enum err err = c->buffered ? write_at(c, c->buffer, c->buffered, group->size - c->buffered) : ERR_NONE;
    c->bytes_written += c->buffered;
    c->buffered = 0;
    return err;
}

static enum err write_txn(struct cleaning *c, const struct clean_group *group) {
    char path[PATH_MAX_BYTES];
    struct io_file *file = NULL;
    path_of_offset(path, c->folder, group->base, ".txnindex.cleaned");
    int64_t result = c->files.vtable->open(c->files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE);
    if (result >= 0) result = c->files.vtable->write(c->files.self, file, c->txn, c->txn_bytes, 0);
    if (result >= 0) result = c->files.vtable->sync_data(c->files.self, file);
    io_file_drop(file);
    return err_from_errno(result);
}

enum err clean_target_close(struct cleaning *c, struct clean_group *group) {
    char path[PATH_MAX_BYTES];
    if (group->timestamp_max >= 0) index_add_time(&c->by_time, group->timestamp_max, group->timestamp_max_at, true);
    enum err err = flush_buffer(c, group);
    if (!err) err = err_from_errno(c->files.vtable->sync_data(c->files.self, c->target));
    path_of_offset(path, c->folder, group->base, ".index.cleaned");
    if (!err) err = index_file_write(&c->by_offset, c->files, path, 0, true);
    path_of_offset(path, c->folder, group->base, ".timeindex.cleaned");
    if (!err) err = index_file_write(&c->by_time, c->files, path, 0, true);
    if (!err && c->txn_bytes) err = write_txn(c, group);
    io_file_drop(c->target);
    c->target = NULL;
    index_free(&c->by_offset);
    index_free(&c->by_time);
    /* The time of the last original: what retention goes by where records have no timestamps. */
    path_of_offset(path, c->folder, group->base, ".log.cleaned");
    if (!err) err = err_from_errno(c->files.vtable->set_modified(c->files.self, path, group->modified_ms * NS_PER_MS));
    return err;
}

static enum err emit(struct cleaning *c, struct clean_group *group, const uint8_t *bytes, uint32_t size, log_offset last, time_ms timestamp_max) {
    enum err err;
    if (size > TARGET_BUFFER_BYTES - c->buffered && (err = flush_buffer(c, group))) return err;
    if (group->size == 0) group->timestamp_first = timestamp_max;
    if (timestamp_max > group->timestamp_max) {
        group->timestamp_max = timestamp_max;
        group->timestamp_max_at = last;
    }
    if (c->since_index > c->index_interval_bytes) {
        index_add(&c->by_offset, last, (int64_t)group->size);
        if (group->timestamp_max >= 0) index_add_time(&c->by_time, group->timestamp_max, group->timestamp_max_at, false);
        c->since_index = 0;
    }
    c->since_index += size;
    if (size > TARGET_BUFFER_BYTES) {
        if ((err = write_at(c, bytes, size, group->size))) return err;
        c->bytes_written += size;
    } else {
        memcpy(c->buffer + c->buffered, bytes, size);
        c->buffered += size;
    }
    group->size += size;
    return ERR_NONE;
}

static enum err note_txn(struct cleaning *c, const struct clean_txn *txn) {
    if (c->txn_bytes + TXN_ENTRY_BYTES > c->txn_capacity) {
        uint32_t capacity = c->txn_capacity ? c->txn_capacity * 2 : 64 * TXN_ENTRY_BYTES;
        uint8_t *grown = pool_realloc(c->pool, c->txn, c->txn_capacity, capacity);
        if (!grown) return ERR_NO_MEMORY;
        c->txn = grown;
        c->txn_capacity = capacity;
    }
    txn_entry_encode(&txn->entry, c->txn + c->txn_bytes);
    c->txn_bytes += TXN_ENTRY_BYTES;
    return ERR_NONE;
}

/* ---- Which records stay */

/* What is known of a batch before its records are looked at. */
struct verdict {
    bool all_go;                  /* none of its records stays                           */
    bool keep_empty;              /* a header must stay even then                        */
    bool is_done_marker;          /* a marker without data: gets its horizon             */
    bool tombstones_stay;
};

static bool record_stays(const struct cleaning *c, const struct record *record, const struct verdict *verdict) {
    if (record->offset > c->map.latest) return true;
    if (!record->key.data) return false;
    if (record->offset < clean_map_get(&c->map, record->key)) return false;
    return record->value.data || verdict->tombstones_stay;
}

static bool holds_last_sequence(const struct cleaning *c, const struct batch *batch) {
    uint32_t low = 0, high = c->producer_count;
    if (!batch_has_producer(batch)) return false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (c->producers[middle].producer < batch->producer_id) low = middle + 1;
        else high = middle;
    }
    if (low == c->producer_count || c->producers[low].producer != batch->producer_id) return false;
    const struct clean_producer *producer = &c->producers[low];
    if (producer->last_offset >= 0) return producer->last_offset == batch_last_offset(batch);
    return batch_is_control(batch) && producer->epoch == batch->producer_epoch;
}

/* The records of a batch of format 2, one after the other. */
struct found { int32_t records, stay; bool tombstones; };

static enum err count_records(struct cleaning *c, const struct batch *batch, struct span bytes, const struct verdict *verdict, struct found *found) {
    struct record_cursor cursor;
    struct record record;
    enum err err;
    *found = (struct found){0};
    record_cursor_init(&cursor, batch, bytes);
    while (!(err = record_next(&cursor, &record))) {
        found->records++;
        if (!batch_is_control(batch) && !record_stays(c, &record, verdict)) continue;
        found->stay++;
        found->tombstones |= !record.value.data;
    }
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static void options_of(const struct batch *batch, struct batch_options *options) {
    batch_options_init(options);
    options->codec = (enum compression)batch_codec(batch);
    options->base_offset = batch->base_offset;
    options->leader_epoch = batch->leader_epoch;
    options->timestamp_type = batch_timestamp_type(batch);
    if (options->timestamp_type == TIMESTAMP_LOG_APPEND) options->max_timestamp = batch->max_timestamp;
    options->producer_id = batch->producer_id;
    options->producer_epoch = batch->producer_epoch;
    options->base_sequence = batch->base_sequence;
    options->transactional = batch_is_transactional(batch);
    options->control = batch_is_control(batch);
    options->last_offset_delta = batch->last_offset_delta;
}

static enum err finish_batch(struct cleaning *c, struct clean_group *group, struct batch_builder *builder, log_offset last) {
    struct slab *slab = NULL;
    struct batch made;
    enum err err = batch_builder_finish(builder, &c->codecs, &slab);
    if (err) return err;
    if (batch_header_parse(span_of(slab->bytes, slab->used), &made)) never("what was built parses");
    err = emit(c, group, slab->bytes, slab->used, last, made.max_timestamp);
    slab_drop(slab);
    return err;
}

static enum err rebuild_batch(struct cleaning *c, struct clean_group *group, const struct batch *batch, struct span bytes,
                              const struct verdict *verdict, time_ms horizon) {
    struct batch_options options;
    struct batch_builder builder;
    struct record_cursor cursor;
    struct record record;
    enum err err;
    options_of(batch, &options);
    options.delete_horizon = horizon;
    batch_builder_init(&builder, c->pool, INT32_MAX, &options);
    record_cursor_init(&cursor, batch, bytes);
    while (!(err = record_next(&cursor, &record))) {
        if (!batch_is_control(batch) && !record_stays(c, &record, verdict)) continue;
        err = batch_builder_add_at(&builder, (int32_t)(record.offset - batch->base_offset), record.timestamp, record.key, record.value, record.headers,
                                   record.headers_count);
        if (err) break;
    }
    if (err == ERR_NOT_FOUND) err = finish_batch(c, group, &builder, batch_last_offset(batch));
    batch_builder_destroy(&builder);
    return err;
}

static enum err write_empty(struct cleaning *c, struct clean_group *group, const struct batch *batch) {
    struct batch_options options;
    struct batch_builder builder;
    options_of(batch, &options);
    options.codec = COMPRESSION_NONE;
    options.max_timestamp = batch->max_timestamp;
    batch_builder_init(&builder, c->pool, INT32_MAX, &options);
    enum err err = finish_batch(c, group, &builder, batch_last_offset(batch));
    batch_builder_destroy(&builder);
    return err;
}

static enum err filter_new(struct cleaning *c, struct clean_group *group, const struct batch *batch) {
    struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;
    struct verdict verdict;
    struct batch_records records;
    struct clean_txn *kept;
    struct found found;
    bool may_go;
    enum err err = clean_walk_batch(c, batch, &may_go, &kept);
    if (err) return err;
    if (kept && (err = note_txn(c, kept))) return err;
    bool has_horizon = batch_has_delete_horizon(batch);
    bool is_past = has_horizon && c->now_ms >= batch->base_timestamp;
    verdict.is_done_marker = may_go && batch_is_control(batch);
    verdict.all_go = may_go && (!batch_is_control(batch) || is_past);
    verdict.keep_empty = holds_last_sequence(c, batch) || batch_next_offset(batch) == c->high_watermark;
    verdict.tombstones_stay = !is_past;
    c->records_read += (uint64_t)batch->count;
    if (verdict.all_go || batch->count == 0) return verdict.keep_empty ? write_empty(c, group, batch) : ERR_NONE;
    if ((err = batch_records_open(batch, &c->codecs, &limits, &records))) return err;
    err = count_records(c, batch, records.bytes, &verdict, &found);
    if (err) goto end;
    c->records_kept += (uint64_t)found.stay;
    bool set_horizon = (found.tombstones || verdict.is_done_marker) && !has_horizon;
    if (found.stay == 0) {
        if (verdict.keep_empty) err = write_empty(c, group, batch);
    } else if (found.stay == found.records && !set_horizon) {
        err = emit(c, group, batch->bytes, batch->size, batch_last_offset(batch), batch->max_timestamp);
    } else {
        time_ms horizon = has_horizon ? batch->base_timestamp : -1;
        if (set_horizon && __builtin_add_overflow(c->now_ms, c->delete_retention_ms, &horizon)) horizon = INT64_MAX;
        err = rebuild_batch(c, group, batch, records.bytes, &verdict, horizon);
    }
end:
    batch_records_close(&records);
    return err;
}

/* Formats 0 and 1. Nothing tells how long ago a tombstone of theirs was cleaned first, so the segment's age decides. */
static enum err walk_old(struct cleaning *c, const struct scan_batch *at, const struct verdict *verdict, struct batch_builder *builder, log_offset base, struct found *found,
                         log_offset *first, log_offset *last) {
    struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;
    struct span rest = span_of(at->batch.bytes, at->batch.size);
    struct old_message message;
    struct old_cursor cursor;
    struct record record;
    enum err err;
    *found = (struct found){0};
    if ((err = old_next(&rest, &message)) || (err = old_cursor_open(&cursor, &message, &c->codecs, &limits, NULL))) return err;
    while (!(err = old_cursor_next(&cursor, &record))) {
        found->records++;
        if (!record_stays(c, &record, verdict)) continue;
        if (found->stay++ == 0) *first = record.offset;
        *last = record.offset;
        if (builder && (err = batch_builder_add_at(builder, (int32_t)(record.offset - base), record.timestamp, record.key, record.value, (struct span){0}, 0))) break;
    }
    old_cursor_close(&cursor);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static enum err filter_old(struct cleaning *c, struct clean_group *group, const struct scan_batch *at, time_ms modified_ms) {
    struct verdict verdict = {.tombstones_stay = modified_ms > c->legacy_horizon};
    struct found found;
    log_offset first = -1, last = -1;
    enum err err = walk_old(c, at, &verdict, NULL, 0, &found, &first, &last);
    if (err) return err;
    c->records_read += (uint64_t)found.records;
    c->records_kept += (uint64_t)found.stay;
    if (found.stay == 0) return ERR_NONE;
    if (found.stay == found.records) return emit(c, group, at->batch.bytes, at->batch.size, batch_last_offset(&at->batch), at->batch.max_timestamp);
    struct batch_options options;
    struct batch_builder builder;
    batch_options_init(&options);
    options.codec = (enum compression)(at->batch.bytes[17] & BATCH_CODEC_MASK);
    options.base_offset = first;
    batch_builder_init(&builder, c->pool, INT32_MAX, &options);
    err = walk_old(c, at, &verdict, &builder, first, &found, &first, &last);
    if (!err) err = finish_batch(c, group, &builder, last);
    batch_builder_destroy(&builder);
    return err;
}

enum err clean_filter(struct cleaning *c, struct clean_group *group, const struct scan_batch *at, time_ms modified_ms) {
    return at->magic == BATCH_MAGIC_2 ? filter_new(c, group, &at->batch) : filter_old(c, group, at, modified_ms);
}
