#include "log/scan.h"
#include "base/bytes.h"
#include "wire/batch_old.h"

enum { WINDOW_WHOLE = 256 << 10, WINDOW_HEADERS = 4096 };

enum err scan_init(struct scan *scan, struct io_files files, struct io_file *file, uint64_t from, uint64_t end, bool whole, struct pool *pool) {
    assert(from <= end);
    *scan = (struct scan){.files = files, .file = file, .pool = pool, .at = from, .end = end, .whole = whole,
                           .next = -1, .epoch = -1, .bound = INT64_MAX, .first_last = -1, .first_epoch = -1, .file_end = end};
    uint64_t window = whole ? WINDOW_WHOLE : WINDOW_HEADERS;
    if (window > end - from) window = end - from; /* a small rest needs no large buffer */
    if (window < BATCH_HEADER_BYTES) window = BATCH_HEADER_BYTES;
    scan->buffer = pool_alloc(pool, (size_t)window);
    if (!scan->buffer) return ERR_NO_MEMORY;
    scan->capacity = (uint32_t)window;
    return ERR_NONE;
}

void scan_free(struct scan *scan) {
    if (!scan->pool) return;
    pool_free(scan->pool, scan->buffer, scan->capacity);
    scan->buffer = NULL;
    scan->capacity = 0;
}

/* Has `size` bytes from `at` on in the buffer, or fewer when the end comes first; answers how many, or an error. */
static int64_t have(struct scan *scan, uint32_t size) {
    uint64_t left = scan->end - scan->at;
    if (size > left) size = (uint32_t)left;
    if (scan->at >= scan->buffer_at && scan->at + size <= scan->buffer_at + scan->buffer_size) return size;
    if (size > scan->capacity) {
        pool_free(scan->pool, scan->buffer, scan->capacity);
        scan->buffer_size = 0;
        scan->capacity = 0;
        scan->buffer = pool_alloc(scan->pool, size);
        if (!scan->buffer) return -1;
        scan->capacity = size;
    }
    uint64_t want = left < scan->capacity ? left : scan->capacity;
    scan->buffer_at = scan->at;
    scan->buffer_size = 0;
    int64_t got = scan->files.vtable->read(scan->files.self, scan->file, scan->buffer, (size_t)want, scan->at);
    if (got < 0) return -2;
    scan->buffer_size = (uint32_t)got;
    scan->bytes_read += (uint64_t)got;
    return got < size ? got : size;
}

static enum err problem(int64_t got) {
    return got == -1 ? ERR_NO_MEMORY : ERR_IO;
}

static struct span buffered(const struct scan *scan, int64_t size) {
    return span_of(scan->buffer + (scan->at - scan->buffer_at), (size_t)size);
}

static enum err take_old(const struct scan *scan, struct span bytes, uint32_t size, struct scan_batch *out) {
    struct old_message message;
    if (!scan->whole) { /* its header is enough: only the timestamp is wanted, and format 0 has none */
        time_ms timestamp = out->magic == 1 && bytes.size >= 26 ? (time_ms)load_be64(bytes.data + 18) : -1;
        out->batch.max_timestamp = out->batch.base_timestamp = timestamp;
        return ERR_NONE;
    }
    if (old_next(&bytes, &message) != ERR_NONE || message.size != size || !old_crc_is_good(&message)) return ERR_CORRUPT;
    out->batch.max_timestamp = out->batch.base_timestamp = message.timestamp;
    out->batch.bytes = message.bytes;
    return ERR_NONE;
}

static bool crc_is_good_at(const struct scan *scan, uint64_t at, uint32_t size) {
    uint8_t *bytes = size <= scan->file_end - at ? pool_alloc(scan->pool, size) : NULL;
    struct batch batch;
    if (!bytes) return false;
    bool good = scan->files.vtable->read(scan->files.self, scan->file, bytes, size, at) == (int64_t)size &&
                batch_header_parse(span_of(bytes, size), &batch) == ERR_NONE;
    if (good) {
        batch.bytes = bytes;
        good = batch_crc_is_good(&batch);
    }
    pool_free(scan->pool, bytes, size);
    return good;
}

/* Whether what lies behind the batch at `at` can lie behind it. Where nothing can be read, or it is damaged, nothing speaks
 * against that: a write that was not flushed may be torn there. Its offset and epoch are no part of its CRC: of a batch whose
 * own offset is right, only a neighbour whose own is right, too, says something. */
static bool next_agrees(const struct scan *scan, const struct batch *batch, bool follows) {
    uint8_t bytes[BATCH_HEADER_BYTES];
    uint64_t at = scan->at + batch->size;
    struct batch behind;
    struct batch_frame frame;
    if (at + sizeof bytes > scan->file_end || scan->files.vtable->read(scan->files.self, scan->file, bytes, sizeof bytes, at) != (int64_t)sizeof bytes) return true;
    struct span header = span_of(bytes, sizeof bytes);
    if (batch_frame_parse(header, &frame) != ERR_NONE || frame.magic != BATCH_MAGIC_2 || batch_header_parse(header, &behind) != ERR_NONE) return true;
    if (behind.base_offset > batch_last_offset(batch) && (behind.leader_epoch < 0 || behind.leader_epoch >= batch->leader_epoch)) return true;
    if (follows && behind.base_offset != batch_last_offset(batch) + 1) return true;
    return !crc_is_good_at(scan, at, frame.size);
}

static bool is_in_order(const struct scan *scan, const struct batch *batch) {
    if (batch_last_offset(batch) >= scan->bound) return false;
    if (scan->next >= 0 && batch->base_offset < scan->next) return false;
    if (batch->leader_epoch >= 0 && batch->leader_epoch < scan->epoch) return false;
    bool follows = scan->next >= 0 ? batch->base_offset == scan->next : batch_last_offset(batch) == scan->first_last;
    bool same = batch->leader_epoch == (scan->epoch >= 0 ? scan->epoch : scan->first_epoch);
    return (follows && same) || next_agrees(scan, batch, follows);
}

enum err scan_next(struct scan *scan, struct scan_batch *out) {
    if (scan->at >= scan->end) return ERR_NOT_FOUND;
    int64_t got = have(scan, BATCH_HEADER_BYTES);
    if (got < 0) return problem(got);
    struct span bytes = buffered(scan, got);
    struct batch_frame frame;
    if (batch_frame_parse(bytes, &frame) != ERR_NONE) return ERR_CORRUPT;
    if (frame.size > scan->end - scan->at) return ERR_CORRUPT;
    if (scan->whole) {
        got = have(scan, frame.size);
        if (got < 0) return problem(got);
        if (got < frame.size) return ERR_CORRUPT; /* the file is shorter than it was said to be */
        bytes = buffered(scan, got);
    }
    *out = (struct scan_batch){.position = scan->at, .magic = frame.magic};
    if (frame.magic == BATCH_MAGIC_2) {
        if (batch_header_parse(bytes, &out->batch) != ERR_NONE) return ERR_CORRUPT;
        if (out->batch.last_offset_delta < 0 || out->batch.base_offset < 0) return ERR_CORRUPT;
        if (out->batch.base_offset >= INT64_MAX - out->batch.last_offset_delta) return ERR_CORRUPT;
        if (!scan->whole && batch_is_control(&out->batch)) { /* what a marker says stands in its record */
            got = have(scan, frame.size);
            if (got < 0) return problem(got);
            if (got < frame.size) return ERR_CORRUPT;
            bytes = buffered(scan, got);
            out->batch.bytes = bytes.data;
        }
        if (scan->whole) {
            out->batch.bytes = bytes.data;
            if (!batch_crc_is_good(&out->batch)) return ERR_CORRUPT;
        }
        if (scan->ordered && !is_in_order(scan, &out->batch)) return ERR_CORRUPT;
        if (out->batch.leader_epoch >= 0) scan->epoch = out->batch.leader_epoch;
    } else {
        out->batch = (struct batch){.size = frame.size, .leader_epoch = -1, .base_offset = frame.base_offset,
                                    .producer_id = -1, .base_sequence = -1, .producer_epoch = -1, .count = 1};
        if (frame.base_offset < 0) return ERR_CORRUPT;
        enum err err = take_old(scan, bytes, frame.size, out);
        if (err) return err;
    }
    scan->next = batch_next_offset(&out->batch);
    scan->at += frame.size;
    return ERR_NONE;
}

/* ---- Behind damage. */

/* A batch that is whole lies at `at`, and from its end on headers follow one another to the end, with rising offsets: what
 * lies in a record's value and looks like a batch does not lead there. */
static enum err leads_to_end(struct io_files files, struct io_file *file, struct pool *pool, uint64_t at, uint64_t end, log_offset least,
                             log_offset *base) {
    struct scan scan;
    struct scan_batch batch;
    enum err err = scan_init(&scan, files, file, at, end, true, pool);
    if (!err) err = scan_next(&scan, &batch);
    if (!err && batch.batch.base_offset < least) err = ERR_CORRUPT;
    if (!err) {
        *base = batch.batch.base_offset;
        least = batch_last_offset(&batch.batch) + 1;
        scan.whole = false;
    }
    while (!err && !(err = scan_next(&scan, &batch))) {
        if (batch.batch.base_offset < least) err = ERR_CORRUPT;
        least = batch_last_offset(&batch.batch) + 1;
    }
    scan_free(&scan);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err scan_behind(struct io_files files, struct io_file *file, struct pool *pool, uint64_t from, uint64_t end, log_offset least,
                     uint64_t *position, log_offset *base) {
    enum { WINDOW = 64 << 10 };
    struct batch_frame frame;
    enum err err = ERR_NOT_FOUND;
    uint8_t *window = pool_alloc(pool, WINDOW);
    if (!window) return ERR_NO_MEMORY;
    for (uint64_t at = from; at + BATCH_HEADER_BYTES <= end && err == ERR_NOT_FOUND;) {
        size_t want = end - at < WINDOW ? (size_t)(end - at) : WINDOW;
        int64_t got = files.vtable->read(files.self, file, window, want, at);
        if (got < BATCH_HEADER_BYTES) { err = got < 0 ? ERR_IO : ERR_NOT_FOUND; break; }
        if (at == from && batch_frame_parse(span_of(window, (size_t)got), &frame) == ERR_NONE && frame.size < end - at) {
            /* Mostly its length is right, and something else is wrong. */
            err = leads_to_end(files, file, pool, *position = at + frame.size, end, least, base);
            if (err == ERR_NONE || err == ERR_NO_MEMORY || err == ERR_IO) break;
            err = ERR_NOT_FOUND;
        }
        int64_t i = at == from;
        for (; i + BATCH_HEADER_BYTES <= got; i++) {
            const uint8_t *bytes = window + i;
            if (bytes[BATCH_AT_MAGIC] != BATCH_MAGIC_2 || (log_offset)load_be64(bytes) < least) continue;
            if (batch_frame_parse(span_of(bytes, BATCH_HEADER_BYTES), &frame) != ERR_NONE || frame.size > end - at - (uint64_t)i) continue;
            err = leads_to_end(files, file, pool, *position = at + (uint64_t)i, end, least, base);
            if (err == ERR_NONE || err == ERR_NO_MEMORY || err == ERR_IO) break;
            err = ERR_NOT_FOUND;
        }
        at += (uint64_t)i;
    }
    pool_free(pool, window, WINDOW);
    return err;
}
