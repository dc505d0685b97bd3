/* What is walked over, batch by batch, and what is made anew on the way: indexes, epochs, producers, aborted transactions. */
#include "log/recovery.h"
#include "log/scan.h"
#include <string.h>

static void note_damage(struct recovery *r, const struct segment *segment, log_offset at) {
    if (r->report->damaged_at >= 0) return;
    r->report->damaged_at = at;
    r->report->damaged_base = segment->base;
}

/* ---- Indexes of the segment in which the walk begins: what is filed and lies before `offset` is kept. */

static enum err load_txn(struct recovery *r, struct segment *segment) {
    char path[PATH_MAX_BYTES], *bytes;
    size_t size, good = 0;
    segment->txn_known = true;
    recovery_path(r, path, segment->base, ".txnindex");
    enum err err = file_slurp(r->files, path, MIB(256), r->in->work_pool, &bytes, &size);
    if (err == ERR_NOT_FOUND) return ERR_NONE;
    if (err) return err;
    enum err checked = txn_index_check(span_of(bytes, size), segment->base, &good);
    pool_free(r->in->body_pool, segment->txn, segment->txn_capacity);
    segment->txn = good ? pool_alloc(r->in->body_pool, good) : NULL;
    if (segment->txn) memcpy(segment->txn, bytes, good);
    else if (good) err = ERR_NO_MEMORY;
    segment->txn_bytes = segment->txn_capacity = segment->txn_filed = segment->txn ? (uint32_t)good : 0;
    pool_free(r->in->work_pool, bytes, size + 1);
    return err ? err : checked;
}

void recovery_forget_indexes(struct recovery *r, struct segment *segment) {
    uint32_t bytes_max = r->in->config->segment_index_bytes;
    index_free(&segment->by_offset);
    index_free(&segment->by_time);
    index_init(&segment->by_offset, INDEX_OFFSET, segment->base, bytes_max, r->in->body_pool);
    index_init(&segment->by_time, INDEX_TIME, segment->base, bytes_max, r->in->body_pool);
    segment->timestamp_max = segment->timestamp_max_at = -1;
    segment->since_index = 0;
}

/* Aborted transactions up to which the producers are known stand in the file; the walk finds the others. */
static void trim_txn(struct segment *segment, log_offset before) {
    segment->txn_bytes = (uint32_t)txn_index_bytes_before(span_of(segment->txn, segment->txn_bytes), before);
    if (segment->txn_filed > segment->txn_bytes) segment->txn_filed = segment->txn_bytes;
}

/* True: the batch at the entry's position is the one that the entry says. */
static bool entry_fits(struct recovery *r, struct segment *segment, struct index_entry entry) {
    struct scan scan;
    struct scan_batch batch;
    bool fits = false;
    if (scan_init(&scan, r->files, segment->file, (uint64_t)entry.value, segment->size, false, r->in->work_pool)) return false;
    fits = scan_next(&scan, &batch) == ERR_NONE && batch_last_offset(&batch.batch) == entry.key;
    scan_free(&scan);
    return fits;
}

/* Where to begin so that everything from `offset` on is walked over; the indexes hold what comes before. After a clean stop
 * (`whole`) they are right to their end. */
static enum err begin_at(struct recovery *r, struct segment *segment, log_offset offset, bool whole, uint64_t *position) {
    char path[PATH_MAX_BYTES];
    struct index_entry entry;
    *position = 0;
    recovery_forget_indexes(r, segment);
    if (offset <= segment->base) return ERR_NONE;
    recovery_path(r, path, segment->base, ".index");
    enum err err = index_file_load(&segment->by_offset, r->files, path, UINT32_MAX, segment->size, INT64_MAX);
    bool trusted = err == ERR_NONE;
    if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    recovery_path(r, path, segment->base, ".timeindex");
    err = index_file_load(&segment->by_time, r->files, path, UINT32_MAX, segment->size, INT64_MAX);
    trusted &= err == ERR_NONE;
    if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    if ((whole && !trusted) || index_find(&segment->by_offset, offset - 1, &entry) != ERR_NONE || !entry_fits(r, segment, entry)) {
        recovery_forget_indexes(r, segment);
        return ERR_NONE;
    }
    index_cut(&segment->by_offset, entry.key + 1);
    if (!whole) index_cut(&segment->by_time, entry.key + 1);
    if (segment->by_time.entries > 0) {
        segment->timestamp_max = segment->by_time.last.key;
        segment->timestamp_max_at = segment->by_time.last.value;
    }
    *position = (uint64_t)entry.value;
    return ERR_NONE;
}

/* ---- Walking. */

static enum err note_ended(struct recovery *r, struct segment *segment, const struct producer_ended *ended) {
    uint8_t bytes[TXN_ENTRY_BYTES];
    struct txn_entry entry = {.producer = ended->producer, .first = ended->first, .last = ended->last, .stable = ended->stable};
    if (!ended->aborted) return ERR_NONE;
    txn_entry_encode(&entry, bytes);
    return segment_add_txn(segment, bytes, sizeof bytes, r->in->body_pool) ? ERR_NONE : ERR_NO_MEMORY;
}

static enum err replay(struct recovery *r, const struct scan_batch *batch, struct producer_ended *ended, bool *did) {
    *did = false;
    if (batch->batch.base_offset < r->replayed) return ERR_NONE;
    r->replayed = batch_next_offset(&batch->batch);
    if (batch->magic < BATCH_MAGIC_2 || !batch_has_producer(&batch->batch)) return ERR_NONE;
    enum err err = producer_replay(r->body->producers, &batch->batch, ended, did);
    return err == ERR_NO_MEMORY ? err : ERR_NONE; /* what does not fit the state is the past's problem */
}

/* Brings the producers from their snapshot up to `until`, by the headers alone. Rot on the way is reported, not repaired. */
enum err recovery_replay_until(struct recovery *r, log_offset until) {
    /* A snapshot may be older than the oldest segment: what lay between is gone, and says nothing any more. */
    if (r->replayed < r->body->segments[0]->base) r->replayed = r->body->segments[0]->base;
    while (r->replayed < until) {
        uint32_t i = recovery_segment_index(r->body, r->replayed);
        struct segment *segment = r->body->segments[i];
        bool opened = segment->file == NULL;
        struct scan scan;
        struct scan_batch batch;
        struct producer_ended ended;
        bool did;
        struct index_entry entry;
        uint64_t position = 0;
        enum err err = recovery_open_file(r, segment);
        if (index_is_loaded(&segment->by_offset) && index_find(&segment->by_offset, r->replayed - 1, &entry) == ERR_NONE)
            position = (uint64_t)entry.value;
        if (!err) err = scan_init(&scan, r->files, segment->file, position, segment->size, false, r->in->work_pool);
        if (err) return err;
        /* Not a batch further than needed: behind `until` there may be a torn end. */
        while (!err && r->replayed < until && !(err = scan_next(&scan, &batch)) && batch.batch.base_offset < until)
            err = replay(r, &batch, &ended, &did);
        scan_free(&scan);
        if (opened) { io_file_drop(segment->file); segment->file = NULL; }
        if (err == ERR_CORRUPT) note_damage(r, segment, r->replayed);
        if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
        log_offset behind = i + 1 < r->body->count && r->body->segments[i + 1]->base < until ? r->body->segments[i + 1]->base : until;
        if (r->replayed < behind) r->replayed = behind;
    }
    return ERR_NONE;
}

/* Walks over a segment from `position`, whose batch is in the index if that is `known`; ERR_CORRUPT: what lies at *good is not
 * good. */
static enum err walk(struct recovery *r, struct segment *segment, uint64_t position, bool known, uint64_t *good) {
    struct scan scan;
    struct scan_batch batch;
    struct producer_ended ended;
    bool did;
    enum err err = scan_init(&scan, r->files, segment->file, position, segment->size, true, r->in->work_pool);
    scan.ordered = true;
    if (position == 0) scan.next = segment->base; /* its name says so: the batch behind the first one may be a torn write */
    bool known_by_index = known;
    while (!err && !(err = scan_next(&scan, &batch))) {
        log_offset last = batch_last_offset(&batch.batch);
        if (batch.magic >= BATCH_MAGIC_2 && position != batch.position && batch.batch.base_offset < r->next) { err = ERR_CORRUPT; scan.at = batch.position; break; }
        if (batch.batch.base_offset < segment->base || last - segment->base > INT32_MAX) { err = ERR_CORRUPT; scan.at = batch.position; break; }
        if (known_by_index) {
            segment->since_index = batch.batch.size;
            if (batch.batch.max_timestamp > segment->timestamp_max) {
                segment->timestamp_max = batch.batch.max_timestamp;
                segment->timestamp_max_at = last;
            }
            known_by_index = false;
        } else {
            segment_note_batch(segment, batch.position, batch.batch.size, last, batch.batch.max_timestamp, r->in->config->index_interval_bytes);
        }
        if (batch.position == 0) segment->timestamp_first = batch.batch.max_timestamp;
        if (batch.batch.leader_epoch > epoch_latest(&r->body->epochs))
            err = epoch_assign(&r->body->epochs, batch.batch.leader_epoch, batch.batch.base_offset);
        if (!err) err = replay(r, &batch, &ended, &did);
        if (!err && did) err = note_ended(r, segment, &ended);
        r->next = last + 1;
    }
    *good = scan.at;
    r->report->scanned_bytes += scan.at - position;
    scan_free(&scan);
    segment->timestamp_known = true;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* Rot at *good, below the flushed point: it stays where it is, and is refused to whoever reads it; what lies behind it is
 * walked over as well. Where nothing does, the next segment goes on, or a new one, where the log was flushed up to: so that
 * no offset is given twice. A metadata log has no use for a part: ERR_CORRUPT. */
static enum err walk_behind_rot(struct recovery *r, uint32_t index, log_offset flushed, uint64_t *good) {
    struct segment *segment = r->body->segments[index];
    enum err err = ERR_CORRUPT;
    while (err == ERR_CORRUPT && r->next < flushed) {
        uint64_t behind;
        log_offset base;
        note_damage(r, segment, r->next);
        if (r->in->config->verify_from_start) return ERR_CORRUPT;
        err = scan_behind(r->files, segment->file, r->in->work_pool, *good, segment->size, r->next + 1, &behind, &base);
        if (err == ERR_NONE) {
            segment->since_index = r->in->config->index_interval_bytes + 1; /* an entry leads there from now on */
            err = walk(r, segment, behind, false, good);
            continue;
        }
        if (err != ERR_NOT_FOUND) return err;
        *good = segment->size;
        if (index + 1 < r->body->count) {
            if (r->next < r->body->segments[index + 1]->base) r->next = r->body->segments[index + 1]->base;
            return ERR_NONE;
        }
        r->next = flushed;
        return recovery_make_segment(r, flushed);
    }
    return err;
}

/* Everything from `point` on is verified and made durable. Below `flushed` nothing may be wrong: there it is rot. */
enum err recovery_verify(struct recovery *r, log_offset point, log_offset flushed) {
    struct log_body *body = r->body;
    uint32_t first = recovery_segment_index(body, point);
    enum err err;
    for (uint32_t i = first; i < body->count; i++) {
        struct segment *segment = body->segments[i];
        uint64_t position = 0, good = 0;
        bool gap = !r->in->config->cleanup_compact && segment->base > r->next;
        if (i > first && (gap || segment->base < r->next)) { /* what lay between was lost */
            if (r->next < flushed) { /* not by this crash */
                note_damage(r, segment, r->next);
                return ERR_CORRUPT;
            }
            r->report->cut_at = r->next;
            if ((err = recovery_remove_old_cuts(r)) || (err = recovery_drop_segments(r, i))) return err;
            break;
        }
        if ((err = recovery_open_file(r, segment))) return err;
        segment->sealed = false;
        if (r->next < segment->base) r->next = segment->base;
        if (i == first) {
            if ((err = begin_at(r, segment, point, false, &position))) return err;
            if ((err = load_txn(r, segment)) == ERR_CORRUPT) { /* made anew: the producers begin at the segment's base */
                log_offset at;
                if ((err = recovery_load_producers(r, segment->base, &at))) return err;
                r->replayed = at < 0 ? body->segments[0]->base : at;
            }
            /* the producers are brought up to the end of the batch at `position`, that is to where the walk adds to them */
            if (!err) err = recovery_replay_until(r, position ? segment->by_offset.last.key : segment->base);
            if (err) return err;
            trim_txn(segment, r->replayed);
            /* From here on the batches say which epochs there are, not what the file remembers of a log that was cut. */
            epoch_truncate_end(&body->epochs, position ? segment->by_offset.last.key + 1 : segment->base);
        } else {
            recovery_forget_indexes(r, segment);
            segment->txn_known = true;
        }
        err = walk(r, segment, position, position > 0, &good); /* the batch at `position` has its entry already */
        if (err == ERR_CORRUPT && r->next < flushed) err = walk_behind_rot(r, i, flushed, &good); /* it is rot there, not a torn end */
        if (err == ERR_CORRUPT) {
            if (r->next < flushed) return ERR_CORRUPT;
            bool room;
            err = recovery_drop_room(r, segment, good, &room);
            if (!err && !room) err = recovery_cut(r, i, good);
        }
        if (!err) err = recovery_write_again(r, segment, position, good);
        if (!err && i + 1 == body->count) err = recovery_end_again(r, segment);
        if (!err) err = err_from_errno(r->files.vtable->sync_data(r->files.self, segment->file));
        if (err) return err;
        if (r->report->cut_at >= 0) break;
    }
    return ERR_NONE;
}

/* After a clean stop: the indexes of the last segment are whole, and behind their last entry there is little. ERR_CORRUPT:
 * it was not that clean. */
enum err recovery_trust(struct recovery *r) {
    struct log_body *body = r->body;
    struct segment *last = body->segments[body->count - 1];
    uint64_t position = 0, good = 0;
    struct scan scan;
    struct scan_batch batch;
    enum err err = recovery_open_file(r, last);
    if (err) return err;
    r->next = last->base;
    if ((err = begin_at(r, last, INT64_MAX, true, &position))) return err;
    if ((err = load_txn(r, last))) return err;
    r->replayed = INT64_MAX; /* not yet: the walk shall find the end first */
    if ((err = walk(r, last, position, position > 0, &good))) return err;
    if (position > 0) { /* the first batch's timestamp, for the roll by time */
        if (!(err = scan_init(&scan, r->files, last->file, 0, last->size, false, r->in->work_pool)) && !(err = scan_next(&scan, &batch)))
            last->timestamp_first = batch.batch.max_timestamp;
        scan_free(&scan);
        if (err) return err;
    }
    return ERR_NONE;
}
