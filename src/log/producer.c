#include "log/producer.h"
#include "base/hash.h"
#include "base/text.h"
#include <inttypes.h>

struct txn {
    struct list by_first;    /* in `ongoing` or `ended`, by first offset */
    struct list by_last;     /* in `ended_by_last` */
    producer_id producer;
    log_offset first, last;  /* last: of the marker; -1: open */
};

/* A batch of the window. */
struct seen {
    log_offset last_offset;
    time_ms timestamp;       /* its largest */
    int32_t last_sequence;
    int32_t offset_delta;    /* last - first offset */
    uint32_t crc;            /* who it was, for T7 ... */
    uint32_t content;        /* ... by its CRC, or by count and timestamps */
    bool known;              /* crc and content are: not after a restart */
};

struct entry {
    struct map_node node;    /* in the order of last use */
    producer_id id;
    time_ms last_timestamp;
    struct txn *open;        /* owns; also in `ongoing` */
    int32_t coordinator_epoch;
    int16_t epoch;           /* -1: none yet */
    uint8_t first, count;    /* of the window, a ring */
    struct seen window[PRODUCER_WINDOW];
};

/* Between a question to the coordinator and the first append that it allowed. */
struct guard {
    struct map_node node;
    producer_id id;
    uint64_t value;
    time_ms made_ms;
    int32_t lowest_sequence;
    int16_t epoch;
    bool epoch_bumps;
};

struct producer_state {
    struct producer_options options;
    struct map entries, guards;
    struct list ongoing;       /* struct txn, by first offset                                    */
    struct list ended;         /* ended, but not below the high watermark yet: by first offset   */
    struct list ended_by_last; /* the same in the order of their markers                         */
    struct entry *spare_entry; /* owns: reserved by producer_check for producer_apply            */
    struct txn *spare_txn;     /* owns: likewise                                                 */
    uint64_t guards_made;
};

enum { TV_2 = 2, EPOCH_LAST = INT16_MAX };

/* ---- Memory */

static bool is_entry(const struct map_node *node, const void *id) {
    return MAP_ITEM(node, const struct entry, node)->id == *(const producer_id *)id;
}
static bool is_guard(const struct map_node *node, const void *id) {
    return MAP_ITEM(node, const struct guard, node)->id == *(const producer_id *)id;
}

static struct entry *find(const struct producer_state *state, producer_id id) {
    struct map_node *node = map_find(&state->entries, hash_u64((uint64_t)id), &id);
    return node ? MAP_ITEM(node, struct entry, node) : NULL;
}
static struct guard *find_guard(const struct producer_state *state, producer_id id) {
    struct map_node *node = map_find(&state->guards, hash_u64((uint64_t)id), &id);
    return node ? MAP_ITEM(node, struct guard, node) : NULL;
}

struct producer_state *producer_state_new(const struct producer_options *options) {
    struct producer_state *state = POOL_NEW(options->pool, struct producer_state);
    if (!state) return NULL;
    state->options = *options;
    map_init(&state->entries, options->pool, 0, is_entry);
    map_init(&state->guards, options->pool, PRODUCERS_MAX, is_guard);
    list_init(&state->ongoing);
    list_init(&state->ended);
    list_init(&state->ended_by_last);
    return state;
}

static void drop_txn(struct producer_state *state, struct txn *txn) {
    list_remove(&txn->by_first);
    list_remove(&txn->by_last);
    pool_free(state->options.pool, txn, sizeof *txn);
}

static void drop_entry(struct producer_state *state, struct entry *entry) {
    if (entry->open) drop_txn(state, entry->open);
    map_remove(&state->entries, &entry->node);
    pool_free(state->options.pool, entry, sizeof *entry);
    if (state->options.budget) state->options.budget->count--;
}

static void drop_guard(struct producer_state *state, struct guard *guard) {
    map_remove(&state->guards, &guard->node);
    pool_free(state->options.pool, guard, sizeof *guard);
}

void producer_state_clear(struct producer_state *state) {
    MAP_EACH_SAFE(item, &state->entries) drop_entry(state, MAP_EACH_ITEM(item, struct entry, node));
    MAP_EACH_SAFE(item, &state->guards) drop_guard(state, MAP_EACH_ITEM(item, struct guard, node));
    LIST_EACH_SAFE(item, &state->ended) drop_txn(state, LIST_ITEM(item, struct txn, by_first));
    assert(list_is_empty(&state->ongoing));
    assert(list_is_empty(&state->ended_by_last));
}

void producer_state_free(struct producer_state *state) {
    if (!state) return;
    struct pool *pool = state->options.pool;
    producer_state_clear(state);
    map_destroy(&state->entries);
    map_destroy(&state->guards);
    pool_free(pool, state->spare_entry, sizeof *state->spare_entry);
    pool_free(pool, state->spare_txn, sizeof *state->spare_txn);
    pool_free(pool, state, sizeof *state);
}

void producer_options_set(struct producer_state *state, const struct producer_options *options) {
    assert(options->pool == state->options.pool && options->budget == state->options.budget);
    state->options = *options;
}

/* Room for one more producer: if there is none, the longest idle one goes that has no open transaction. */
static bool room_for_entry(struct producer_state *state) {
    struct producer_budget *budget = state->options.budget;
    if (!budget || !budget->count_max || budget->count < budget->count_max) return true;
    return producer_evict(state, 1) > 0 || (budget->make_room && budget->make_room(budget));
}

void producer_budget_set(struct producer_state *state, struct producer_budget *budget) {
    if (state->options.budget) state->options.budget->count -= state->entries.count;
    state->options.budget = budget;
    if (budget) budget->count += state->entries.count;
}

uint32_t producer_evict(struct producer_state *state, uint32_t most) {
    uint32_t gone = 0;
    MAP_EACH_SAFE(item, &state->entries) {
        struct entry *entry = MAP_EACH_ITEM(item, struct entry, node);
        if (gone == most) break;
        if (entry->open) continue;
        drop_entry(state, entry);
        if (state->options.budget) state->options.budget->evicted++;
        gone++;
    }
    return gone;
}

/* All memory that one batch can need. */
static bool reserve(struct producer_state *state, const struct batch *batch) {
    struct pool *pool = state->options.pool;
    struct entry *entry = find(state, batch->producer_id);
    if (!entry) {
        if (!state->spare_entry && !(state->spare_entry = POOL_NEW(pool, struct entry))) return false;
        if (!state->entries.bucket_count) { /* the first insertion is the only one that needs memory */
            if (!map_insert(&state->entries, &state->spare_entry->node, 0)) return false;
            map_remove(&state->entries, &state->spare_entry->node);
        }
        if (!room_for_entry(state)) return false;
    }
    bool begins = batch_is_transactional(batch) && !batch_is_control(batch) && (!entry || !entry->open);
    return !begins || state->spare_txn || (state->spare_txn = POOL_NEW(pool, struct txn));
}

static struct entry *entry_of(struct producer_state *state, producer_id id) {
    struct entry *entry = find(state, id);
    if (entry) {
        list_remove(&entry->node.order); /* used just now: to the end of the order */
        list_push(&state->entries.order, &entry->node.order);
        return entry;
    }
    entry = state->spare_entry;
    assert(entry); /* producer_check reserved it */
    state->spare_entry = NULL;
    *entry = (struct entry){.id = id, .epoch = -1, .coordinator_epoch = -1, .last_timestamp = -1};
    bool inserted = map_insert(&state->entries, &entry->node, hash_u64((uint64_t)id));
    assert(inserted);
    if (state->options.budget) state->options.budget->count++;
    return entry;
}

/* ---- The window */

static struct seen *window_at(struct entry *entry, unsigned i) {
    return &entry->window[(entry->first + i) % PRODUCER_WINDOW];
}
static const struct seen *window_last(const struct entry *entry) {
    return entry->count ? &entry->window[(entry->first + entry->count - 1) % PRODUCER_WINDOW] : NULL;
}
static int32_t last_sequence(const struct entry *entry) {
    const struct seen *last = window_last(entry);
    return last ? last->last_sequence : -1;
}

static void set_epoch(struct entry *entry, int16_t epoch) {
    if (entry->epoch == epoch) return;
    entry->epoch = epoch;
    entry->count = 0;
}

/* What stays the same when a client packs a batch anew, or the broker stamps its times. */
static uint32_t content_of(const struct batch *batch) {
    uint64_t hash = hash_u64((uint64_t)batch->base_timestamp) ^ (uint64_t)(uint32_t)batch->count;
    if (batch_timestamp_type(batch) == TIMESTAMP_CREATE) hash = hash_u64(hash) ^ (uint64_t)batch->max_timestamp;
    return (uint32_t)hash_u64(hash);
}

static void window_add(struct entry *entry, const struct batch *batch) {
    if (entry->count == PRODUCER_WINDOW) {
        entry->first = (uint8_t)((entry->first + 1) % PRODUCER_WINDOW);
        entry->count--;
    }
    *window_at(entry, entry->count++) = (struct seen){
        .last_offset = batch_last_offset(batch),
        .timestamp = batch->max_timestamp,
        .last_sequence = batch_last_sequence(batch),
        .offset_delta = batch->last_offset_delta,
        .crc = batch->crc,
        .content = content_of(batch),
        .known = true,
    };
}

static int32_t first_sequence(const struct seen *seen) {
    return seen->last_sequence < 0 ? -1 : sequence_add(seen->last_sequence, -seen->offset_delta);
}

static const struct seen *find_duplicate(const struct entry *entry, const struct batch *batch) {
    if (entry->epoch != batch->producer_epoch) return NULL;
    int32_t last = batch_last_sequence(batch);
    for (unsigned i = 0; i < entry->count; i++) {
        const struct seen *seen = &entry->window[(entry->first + i) % PRODUCER_WINDOW];
        if (seen->last_sequence == last && first_sequence(seen) == batch->base_sequence) return seen;
    }
    return NULL;
}

static bool is_same_batch(const struct seen *seen, const struct batch *batch) {
    return !seen->known || seen->crc == batch->crc || seen->content == content_of(batch);
}

/* ---- Check */

static bool is_in_sequence(int32_t last, int32_t next) {
    return next == (int64_t)last + 1 || (next == 0 && last == INT32_MAX);
}

/* entry NULL: the producer is not known here. */
static enum kafka_error check_sequence(const struct entry *entry, const struct guard *guard, const struct batch *batch) {
    int32_t sequence = batch->base_sequence;
    int16_t epoch = entry ? entry->epoch : -1;
    if (guard && guard->epoch_bumps && sequence != 0 && (!entry || !entry->count)) return KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
    if (guard && sequence > guard->lowest_sequence) return KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
    if (epoch == -1) return KAFKA_NONE; /* its state may have been deleted with its records: it may go on anywhere */
    if (batch->producer_epoch != epoch) return sequence == 0 ? KAFKA_NONE : KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
    return is_in_sequence(last_sequence(entry), sequence) ? KAFKA_NONE : KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

/* From transactions version 2 on, each end raises the epoch: a marker with the epoch of before is late. The same epoch
 * again is a retry when nothing is open, and all there is at the last epoch. */
static bool marker_epoch_is_stale(const struct entry *entry, const struct producer_append *append) {
    int16_t epoch = append->batch->producer_epoch;
    if (!entry || epoch > entry->epoch) return false;
    if (epoch < entry->epoch) return true;
    return append->transaction_version >= TV_2 && entry->open && epoch != EPOCH_LAST;
}

static enum kafka_error check_marker(const struct entry *entry, const struct producer_append *append) {
    struct batch_marker marker;
    if (marker_epoch_is_stale(entry, append)) return KAFKA_INVALID_PRODUCER_EPOCH;
    enum err err = batch_marker_parse(append->batch, &marker);
    if (err == ERR_NOT_FOUND) return KAFKA_NONE;
    if (err) return KAFKA_INVALID_RECORD;
    return entry && entry->coordinator_epoch > marker.coordinator_epoch ? KAFKA_TRANSACTION_COORDINATOR_FENCED : KAFKA_NONE;
}

static enum kafka_error check_data(const struct producer_state *state, const struct entry *entry, const struct producer_append *append) {
    const struct batch *batch = append->batch;
    const struct guard *guard = find_guard(state, batch->producer_id);
    if (batch_is_transactional(batch) && !producer_has_open(state, batch->producer_id, batch->producer_epoch)) {
        if (entry && batch->producer_epoch < entry->epoch) return KAFKA_INVALID_PRODUCER_EPOCH;
        bool verified = append->guard && guard && guard->value == append->guard;
        if (state->options.verification && !verified) return KAFKA_INVALID_TXN_STATE;
    }
    if (batch->producer_epoch < (entry ? entry->epoch : -1)) return KAFKA_INVALID_PRODUCER_EPOCH; /* -1: none yet */
    if (append->origin == LOG_FROM_CLIENT) {
        enum kafka_error error = check_sequence(entry, guard, batch);
        if (error) return error;
    }
    if (entry && entry->open && !batch_is_transactional(batch)) return KAFKA_INVALID_TXN_STATE;
    return KAFKA_NONE;
}

/* The first time's answer, or the refusal, for a batch whose sequence numbers are in the window. */
static enum err answer_again(const struct producer_state *state, const struct seen *seen, const struct batch *batch, struct producer_outcome *out) {
    out->mismatch = !is_same_batch(seen, batch);
    if (out->mismatch && state->options.budget) state->options.budget->mismatches++;
    if (out->mismatch && state->options.refuse_mismatch) {
        out->kafka_error = KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
        return ERR_INVALID;
    }
    out->duplicate = true;
    out->base = seen->last_offset - seen->offset_delta;
    out->last = seen->last_offset;
    out->timestamp = seen->timestamp;
    return ERR_NONE;
}

enum err producer_check(struct producer_state *state, const struct producer_append *append, struct producer_outcome *out) {
    const struct batch *batch = append->batch;
    *out = (struct producer_outcome){.kafka_error = KAFKA_NONE, .base = -1, .last = -1, .timestamp = -1};
    if (!batch_has_producer(batch)) return ERR_NONE;
    const struct entry *entry = find(state, batch->producer_id);
    const struct seen *seen = append->origin == LOG_FROM_CLIENT && entry ? find_duplicate(entry, batch) : NULL;
    if (seen) return answer_again(state, seen, batch, out);
    if (append->origin == LOG_FROM_CLIENT || append->origin == LOG_FROM_COORDINATOR)
        out->kafka_error = batch_is_control(batch) ? check_marker(entry, append) : check_data(state, entry, append);
    if (out->kafka_error) return ERR_INVALID;
    return reserve(state, batch) ? ERR_NONE : ERR_NO_MEMORY;
}

/* ---- Apply */

/* Into a list that is in order, from its end: mostly that is where it belongs. */
static void insert_by_first(struct list *list, struct txn *txn) {
    struct list *at = list->prev;
    while (at != list && LIST_ITEM(at, struct txn, by_first)->first > txn->first) at = at->prev;
    list_insert_after(at, &txn->by_first);
}

static void begin_txn(struct producer_state *state, struct entry *entry, log_offset first) {
    struct txn *txn = state->spare_txn;
    assert(txn); /* producer_check reserved it */
    state->spare_txn = NULL;
    *txn = (struct txn){.producer = entry->id, .first = first, .last = -1};
    list_init(&txn->by_last);
    insert_by_first(&state->ongoing, txn);
    entry->open = txn;
}

/* Where the last stable offset would be if the high watermark were past the marker: the next transaction that is open. */
static void end_txn(struct producer_state *state, struct entry *entry, log_offset marker_offset, bool aborted, struct producer_ended *ended) {
    struct txn *txn = entry->open;
    entry->open = NULL;
    list_remove(&txn->by_first);
    txn->last = marker_offset;
    log_offset open = producer_first_open(state);
    *ended = (struct producer_ended){
        .producer = entry->id, .first = txn->first, .last = marker_offset, .stable = open >= 0 ? open : marker_offset + 1, .aborted = aborted};
    insert_by_first(&state->ended, txn);
    list_push(&state->ended_by_last, &txn->by_last);
}

static void clear_guard(struct producer_state *state, const struct batch *batch) {
    struct guard *guard = find_guard(state, batch->producer_id);
    if (!guard) return;
    if (guard->epoch_bumps && batch_is_control(batch) && guard->epoch == batch->producer_epoch) return; /* it is of the next transaction */
    drop_guard(state, guard);
}

static bool apply_marker(struct producer_state *state, const struct batch *batch, struct producer_ended *ended) {
    struct batch_marker marker;
    if (batch_marker_parse(batch, &marker)) return false; /* emptied by compaction: its whole transaction is gone */
    struct entry *entry = entry_of(state, batch->producer_id);
    bool had_data = entry->open != NULL;
    if (had_data) end_txn(state, entry, batch->base_offset, marker.type == CONTROL_ABORT, ended);
    set_epoch(entry, batch->producer_epoch);
    entry->coordinator_epoch = marker.coordinator_epoch;
    entry->last_timestamp = batch->max_timestamp;
    return had_data;
}

static void apply_data(struct producer_state *state, const struct batch *batch) {
    struct entry *entry = entry_of(state, batch->producer_id);
    set_epoch(entry, batch->producer_epoch);
    window_add(entry, batch);
    entry->last_timestamp = batch->max_timestamp;
    if (batch_is_transactional(batch) && !entry->open) begin_txn(state, entry, batch->base_offset);
}

bool producer_apply(struct producer_state *state, const struct producer_append *append, struct producer_ended *ended) {
    const struct batch *batch = append->batch;
    bool ended_one = false;
    if (!batch_has_producer(batch)) return false;
    if (batch_is_control(batch)) ended_one = apply_marker(state, batch, ended);
    else apply_data(state, batch);
    if (batch_is_transactional(batch)) clear_guard(state, batch);
    return ended_one;
}

enum err producer_replay(struct producer_state *state, const struct batch *batch, struct producer_ended *ended, bool *did) {
    struct producer_append append = {.batch = batch, .origin = LOG_FROM_LEADER};
    struct producer_outcome outcome;
    *did = false;
    enum err err = producer_check(state, &append, &outcome);
    if (!err) *did = producer_apply(state, &append, ended);
    return err;
}

/* ---- Transactions */

static log_offset first_of(const struct list *list) {
    return list_is_empty(list) ? -1 : LIST_ITEM(list->next, const struct txn, by_first)->first;
}

log_offset producer_first_open(const struct producer_state *state) {
    return first_of(&state->ongoing);
}

log_offset producer_first_unstable(const struct producer_state *state) {
    log_offset open = first_of(&state->ongoing), ended = first_of(&state->ended);
    return open < 0 ? ended : ended < 0 || open < ended ? open : ended;
}

static void forget_ended_below(struct producer_state *state, log_offset offset) {
    while (!list_is_empty(&state->ended_by_last)) {
        struct txn *txn = LIST_ITEM(state->ended_by_last.next, struct txn, by_last);
        if (txn->last >= offset) return;
        drop_txn(state, txn);
    }
}

void producer_high_watermark(struct producer_state *state, log_offset high_watermark) {
    forget_ended_below(state, high_watermark);
}

void producer_log_start(struct producer_state *state, log_offset start) {
    forget_ended_below(state, start);
}

bool producer_has_open(const struct producer_state *state, producer_id producer, int16_t epoch) {
    const struct entry *entry = find(state, producer);
    return entry && entry->open && entry->epoch == epoch;
}

time_ms producer_oldest_open_timestamp(const struct producer_state *state) {
    if (list_is_empty(&state->ongoing)) return -1;
    return find(state, LIST_ITEM(state->ongoing.next, const struct txn, by_first)->producer)->last_timestamp;
}

enum err producer_guard(struct producer_state *state, producer_id producer, int16_t epoch, int32_t sequence, bool epoch_bumps,
                        time_ms now_ms, uint64_t *guard_) {
    *guard_ = 0;
    if (producer_has_open(state, producer, epoch)) return ERR_NONE;
    struct guard *guard = find_guard(state, producer);
    if (!guard) {
        if (!(guard = POOL_NEW(state->options.pool, struct guard))) return ERR_NO_MEMORY;
        /* With the time in it, it is not the one that the same log made before it was closed and opened again. */
        *guard = (struct guard){.id = producer, .value = ((uint64_t)now_ms << 20 | (++state->guards_made & 0xfffff)) | UINT64_C(1) << 63,
                                .made_ms = now_ms, .lowest_sequence = sequence, .epoch = epoch, .epoch_bumps = epoch_bumps};
        if (!map_insert(&state->guards, &guard->node, hash_u64((uint64_t)producer))) {
            pool_free(state->options.pool, guard, sizeof *guard);
            return ERR_NO_MEMORY;
        }
    }
    if (epoch == guard->epoch && sequence < guard->lowest_sequence) guard->lowest_sequence = sequence;
    if (epoch > guard->epoch) {
        guard->epoch = epoch;
        guard->lowest_sequence = sequence;
    }
    *guard_ = guard->value;
    return ERR_NONE;
}

/* ---- Expiry and a look inside */

/* Timestamps are clients' and files': any number. Wraps, as Java's difference does. */
static bool is_old(const struct producer_state *state, time_ms timestamp, time_ms now_ms) {
    return (int64_t)((uint64_t)now_ms - (uint64_t)timestamp) >= state->options.expiration_ms;
}

uint32_t producer_expire(struct producer_state *state, time_ms now_ms, time_ms expiration_ms) {
    uint32_t gone = 0;
    state->options.expiration_ms = expiration_ms;
    MAP_EACH_SAFE(item, &state->entries) {
        struct entry *entry = MAP_EACH_ITEM(item, struct entry, node);
        if (entry->open || !is_old(state, entry->last_timestamp, now_ms)) continue;
        drop_entry(state, entry);
        gone++;
    }
    MAP_EACH_SAFE(item, &state->guards) {
        struct guard *guard = MAP_EACH_ITEM(item, struct guard, node);
        if (is_old(state, guard->made_ms, now_ms)) drop_guard(state, guard);
    }
    return gone;
}

uint32_t producer_count(const struct producer_state *state) {
    return state->entries.count;
}

static struct producer_view view_of(const struct entry *entry) {
    const struct seen *last = window_last(entry);
    return (struct producer_view){
        .producer = entry->id,
        .epoch = entry->epoch,
        .last_sequence = last ? last->last_sequence : -1,
        .last_offset = last ? last->last_offset : -1,
        .last_timestamp = entry->last_timestamp,
        .coordinator_epoch = entry->coordinator_epoch,
        .transaction_first = entry->open ? entry->open->first : -1,
    };
}

int producer_each(const struct producer_state *state, int (*see)(void *context, const struct producer_view *view), void *context) {
    MAP_EACH(item, &state->entries) {
        struct producer_view view = view_of(MAP_EACH_ITEM(item, const struct entry, node));
        int answer = see(context, &view);
        if (answer) return answer;
    }
    return 0;
}

bool producer_find(const struct producer_state *state, producer_id producer, struct producer_view *out) {
    const struct entry *entry = find(state, producer);
    if (entry) *out = view_of(entry);
    return entry != NULL;
}

bool producer_batch_is_last(const struct producer_state *state, const struct batch *batch) {
    const struct entry *entry = batch_has_producer(batch) ? find(state, batch->producer_id) : NULL;
    if (!entry) return false;
    const struct seen *last = window_last(entry);
    if (last) return batch_last_offset(batch) == last->last_offset;
    return batch_is_control(batch) && batch->producer_epoch == entry->epoch;
}

/* ---- Snapshot */

enum { AT_VERSION = 0, AT_CRC = 2, AT_COUNT = 6, SNAPSHOT_VERSION = 1 };
enum { AT_ID = 0, AT_EPOCH = 8, AT_SEQUENCE = 10, AT_OFFSET = 14, AT_DELTA = 22, AT_TIMESTAMP = 26, AT_COORDINATOR_EPOCH = 34, AT_TXN_FIRST = 38 };
static_assert(AT_COUNT + 4 == PRODUCER_SNAPSHOT_HEADER_BYTES, "entries follow the count");
static_assert(AT_TXN_FIRST + 8 == PRODUCER_SNAPSHOT_ENTRY_BYTES, "the fields fill the entry");

size_t producer_snapshot_bytes(const struct producer_state *state) {
    return PRODUCER_SNAPSHOT_HEADER_BYTES + (size_t)state->entries.count * PRODUCER_SNAPSHOT_ENTRY_BYTES;
}

void producer_snapshot_write(const struct producer_state *state, uint8_t *target) {
    size_t size = producer_snapshot_bytes(state);
    uint8_t *at = target + PRODUCER_SNAPSHOT_HEADER_BYTES;
    MAP_EACH(item, &state->entries) {
        const struct entry *entry = MAP_EACH_ITEM(item, const struct entry, node);
        struct producer_view view = view_of(entry);
        const struct seen *last = window_last(entry);
        store_be64(at + AT_ID, (uint64_t)view.producer);
        store_be16(at + AT_EPOCH, (uint16_t)view.epoch);
        store_be32(at + AT_SEQUENCE, (uint32_t)view.last_sequence);
        store_be64(at + AT_OFFSET, (uint64_t)view.last_offset);
        store_be32(at + AT_DELTA, last ? (uint32_t)last->offset_delta : 0);
        store_be64(at + AT_TIMESTAMP, (uint64_t)view.last_timestamp);
        store_be32(at + AT_COORDINATOR_EPOCH, (uint32_t)view.coordinator_epoch);
        store_be64(at + AT_TXN_FIRST, (uint64_t)view.transaction_first);
        at += PRODUCER_SNAPSHOT_ENTRY_BYTES;
    }
    assert((size_t)(at - target) == size);
    store_be16(target + AT_VERSION, SNAPSHOT_VERSION);
    store_be32(target + AT_COUNT, state->entries.count);
    store_be32(target + AT_CRC, crc32c(0, target + AT_COUNT, size - AT_COUNT));
}

enum err producer_snapshot_count(struct span bytes, uint32_t *count) {
    *count = 0;
    if (bytes.size < PRODUCER_SNAPSHOT_HEADER_BYTES || load_be16(bytes.data + AT_VERSION) != SNAPSHOT_VERSION) return ERR_CORRUPT;
    if (load_be32(bytes.data + AT_CRC) != crc32c(0, bytes.data + AT_COUNT, bytes.size - AT_COUNT)) return ERR_CORRUPT;
    uint64_t entries = load_be32(bytes.data + AT_COUNT);
    if (entries * PRODUCER_SNAPSHOT_ENTRY_BYTES != bytes.size - PRODUCER_SNAPSHOT_HEADER_BYTES) return ERR_CORRUPT;
    *count = (uint32_t)entries;
    return ERR_NONE;
}

void producer_snapshot_entry(struct span bytes, uint32_t index, struct producer_view *out, int32_t *offset_delta) {
    size_t offset = PRODUCER_SNAPSHOT_HEADER_BYTES + (size_t)index * PRODUCER_SNAPSHOT_ENTRY_BYTES;
    assert(bytes.size >= PRODUCER_SNAPSHOT_ENTRY_BYTES && offset <= bytes.size - PRODUCER_SNAPSHOT_ENTRY_BYTES);
    const uint8_t *at = bytes.data + offset;
    *out = (struct producer_view){
        .producer = (producer_id)load_be64(at + AT_ID),
        .epoch = (int16_t)load_be16(at + AT_EPOCH),
        .last_sequence = (int32_t)load_be32(at + AT_SEQUENCE),
        .last_offset = (log_offset)load_be64(at + AT_OFFSET),
        .last_timestamp = (time_ms)load_be64(at + AT_TIMESTAMP),
        .coordinator_epoch = (int32_t)load_be32(at + AT_COORDINATOR_EPOCH),
        .transaction_first = (log_offset)load_be64(at + AT_TXN_FIRST),
    };
    *offset_delta = (int32_t)load_be32(at + AT_DELTA);
}

static enum err load_entry(struct producer_state *state, const struct producer_view *view, int32_t offset_delta, time_ms now_ms) {
    /* As a batch of that producer: for what must be reserved. */
    struct batch like = {.producer_id = view->producer, .attributes = view->transaction_first >= 0 ? BATCH_TRANSACTIONAL : 0};
    if (view->producer < 0 || find(state, view->producer)) return ERR_CORRUPT;
    if (view->transaction_first < 0 && is_old(state, view->last_timestamp, now_ms)) return ERR_NONE;
    if (!reserve(state, &like)) return ERR_NO_MEMORY;
    struct entry *entry = entry_of(state, view->producer);
    entry->epoch = view->epoch;
    entry->coordinator_epoch = view->coordinator_epoch;
    entry->last_timestamp = view->last_timestamp;
    if (view->last_offset >= 0)
        *window_at(entry, entry->count++) = (struct seen){.last_offset = view->last_offset, .timestamp = view->last_timestamp,
                                                          .last_sequence = view->last_sequence, .offset_delta = offset_delta};
    if (view->transaction_first >= 0) begin_txn(state, entry, view->transaction_first);
    return ERR_NONE;
}

enum err producer_snapshot_read(struct producer_state *state, struct span bytes, time_ms now_ms) {
    uint32_t count;
    producer_state_clear(state);
    enum err err = producer_snapshot_count(bytes, &count);
    for (uint32_t i = 0; !err && i < count; i++) {
        struct producer_view view;
        int32_t offset_delta;
        producer_snapshot_entry(bytes, i, &view, &offset_delta);
        err = load_entry(state, &view, offset_delta, now_ms);
    }
    if (err) producer_state_clear(state);
    return err;
}

/* ---- Invariants, text */

static void check_order(const struct list *list) {
    log_offset before = INT64_MIN;
    LIST_EACH(item, list) {
        const struct txn *txn = LIST_ITEM(item, const struct txn, by_first);
        assert(txn->first >= before);
        before = txn->first;
    }
}

void producer_check_state(const struct producer_state *state) {
    uint32_t open = 0, ongoing = 0, ended = 0, ended_by_last = 0;
    MAP_EACH(item, &state->entries) {
        const struct entry *entry = MAP_EACH_ITEM(item, const struct entry, node);
        assert(entry->id >= 0);
        assert(entry->count <= PRODUCER_WINDOW);
        log_offset before = -1;
        for (unsigned i = 0; i < entry->count; i++) {
            const struct seen *seen = &entry->window[(entry->first + i) % PRODUCER_WINDOW];
            assert(seen->last_offset > before);
            before = seen->last_offset;
        }
        if (!entry->open) continue;
        open++;
        assert(entry->open->producer == entry->id);
        assert(entry->open->last == -1);
    }
    check_order(&state->ongoing);
    check_order(&state->ended);
    LIST_EACH(item, &state->ongoing) ongoing++;
    LIST_EACH(item, &state->ended) ended++;
    log_offset before = -1;
    LIST_EACH(item, &state->ended_by_last) {
        const struct txn *txn = LIST_ITEM(item, const struct txn, by_last);
        assert(txn->last >= txn->first);
        assert(txn->last > before);
        before = txn->last;
        ended_by_last++;
    }
    assert(open == ongoing);
    assert(ended == ended_by_last);
}

void producer_text(const struct producer_state *state, struct text *out) {
    MAP_EACH(item, &state->entries) {
        struct producer_view view = view_of(MAP_EACH_ITEM(item, const struct entry, node));
        text_add(out, "producer %" PRId64 " epoch %d", view.producer, view.epoch);
        if (view.last_offset >= 0) text_add(out, " sequence %" PRId32 " at %" PRId64, view.last_sequence, view.last_offset);
        if (view.transaction_first >= 0) text_add(out, " open from %" PRId64, view.transaction_first);
        if (view.coordinator_epoch >= 0) text_add(out, " coordinator %" PRId32, view.coordinator_epoch);
        text_add(out, "\n");
    }
}
