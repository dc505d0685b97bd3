#include "log/parts.h"
#include "log/rebuild.h"
#include "log/scan.h"
#include "wire/batch.h"
#include <errno.h>

/* A read of a file, step by step: the segment's file and offset index (a job, when they are closed), the place of the bound
 * when it lies in this segment and is not known, the place of the first batch. Headers are read through a small window:
 * hot first, and by a job when the page cache does not have it. */
enum read_step { STEP_BEGIN, STEP_BOUND, STEP_FROM };

static void read_resume(struct log_read *read, enum err err);

/* ---- Files and indexes that can be closed again. */

void segment_use(struct segment *segment) {
    struct log_store *store = segment->log->store;
    list_remove(&segment->file_node);
    list_remove(&segment->index_node);
    if (segment->file) list_push(&store->files, &segment->file_node);
    if (index_memory(&segment->by_offset) > 0) list_push(&store->indexes, &segment->index_node);
}

void store_trim_files(struct log_store *store) {
    LIST_EACH_SAFE(at, &store->files) {
        if (store->metrics.files_open <= store->options.open_files_max) return;
        struct segment *segment = LIST_ITEM(at, struct segment, file_node);
        if (segment->readers || segment->unsynced || !segment->sealed) continue;
        segment_close_file(segment);
    }
}

void store_trim_indexes(struct log_store *store) {
    size_t bytes = 0;
    LIST_EACH(at, &store->indexes) bytes += index_memory(&LIST_ITEM(at, struct segment, index_node)->by_offset);
    LIST_EACH_SAFE(at, &store->indexes) {
        if (bytes <= store->options.index_bytes_max) break;
        struct segment *segment = LIST_ITEM(at, struct segment, index_node);
        if (segment->readers) continue;
        size_t before = index_memory(&segment->by_offset);
        list_remove(&segment->index_node);
        index_unload(&segment->by_offset);
        bytes -= before - index_memory(&segment->by_offset);
    }
    store->metrics.index_bytes = bytes;
}

/* ---- Loading a segment: its file, and what is filed of its offset index. */
struct load_job {
    struct log_job job;
    struct segment *segment;      /* kept by `loading` */
    log_offset base;
    uint64_t size;
    uint32_t entries;             /* UINT32_MAX: as many as there are */
    uint32_t interval;
    bool index_wanted, file_wanted, rebuilt, anew; /* anew: what the file says was wrong */
    struct io_file *file;
    struct index index;
};

static enum err load_run(struct log_job *job, struct io_files files) {
    struct load_job *load = container_of(job, struct load_job, job);
    char path[PATH_MAX_BYTES];
    enum err err = ERR_NONE;
    path_of_offset(path, job->folder, load->base, ".log");
    if (load->file_wanted) err = err_from_errno(files.vtable->open(files.self, &load->file, path, IO_READ | IO_WRITE));
    if (err || !load->index_wanted) return err;
    struct rebuild rebuild = {.files = files, .pool = &job->pool, .folder = job->folder, .base = load->base, .size = load->size,
                              .interval = load->interval, .entries = load->entries, .anew = load->anew};
    err = rebuild_index(&rebuild, INDEX_OFFSET, &load->index);
    load->rebuilt = rebuild.rebuilt;
    return err;
}

static void load_finish(struct log_job *job) {
    struct load_job *load = container_of(job, struct load_job, job);
    struct segment *segment = load->segment;
    struct log *log = job->log;
    struct log_store *store = job->store;
    enum err err = job->err;
    segment->loading = false;
    if (!err && load->file_wanted && !segment->file) {
        segment->file = load->file;
        load->file = NULL;
        store->metrics.files_open++;
    }
    if (!err && load->index_wanted) {
        if (!index_adopt(&segment->by_offset, &load->index, load->rebuilt)) err = ERR_NO_MEMORY;
        store->metrics.index_loads++;
        if (load->rebuilt) store->metrics.index_rebuilds++;
    }
    if (load->file) io_file_drop(load->file);
    if (load->index.pool) index_free(&load->index);
    job_free(job);
    segment_use(segment);
    struct list waiting;
    list_init(&waiting);
    while (!list_is_empty(&segment->waiting)) list_push(&waiting, list_pop(&segment->waiting));
    while (!list_is_empty(&waiting)) read_resume(LIST_ITEM(list_pop(&waiting), struct log_read, node), err);
    store_trim_files(store);
    store_trim_indexes(store);
    log_due(log);
}

/* Not the log's one job: it changes no file, and reads go on beside rolls and checkpoints. */
static enum err segment_load(struct segment *segment, bool index_wanted, bool anew) {
    struct log *log = segment->log;
    if (segment->loading) return ERR_NONE;
    struct load_job *load = job_new(log->store, log, sizeof *load);
    if (!load) return ERR_NO_MEMORY;
    load->job.run = load_run;
    load->job.finish = load_finish;
    load->job.beside = true;
    load->segment = segment;
    load->base = segment->base;
    load->size = segment->written;
    load->entries = segment->by_offset.known ? segment->by_offset.filed : UINT32_MAX;
    load->interval = log->config.index_interval_bytes;
    load->index_wanted = index_wanted && !index_is_loaded(&segment->by_offset);
    load->anew = anew;
    load->file_wanted = !segment->file;
    segment->loading = true;
    job_start(&load->job);
    return ERR_NONE;
}

/* ---- Known places. */
void log_mark(struct log *log, struct log_position position) {
    struct log_body *body = log->body;
    for (int i = 0; i < MARKS_MAX; i++)
        if (body->marks[i].offset == position.offset) { body->marks[i] = position; return; }
    body->marks[body->mark_next++ % MARKS_MAX] = position;
}

static bool find_mark(const struct log *log, log_offset offset, const struct segment *segment, uint64_t *position) {
    const struct log_body *body = log->body;
    if (offset == log->written && segment == log_active(log) && log->written == log->end) { *position = segment->written; return true; }
    for (int i = 0; i < MARKS_MAX; i++) {
        if (body->marks[i].offset != offset || body->marks[i].segment_base != segment->base) continue;
        *position = (uint64_t)body->marks[i].position;
        return true;
    }
    LIST_EACH(at, &body->tail) { /* an entry's beginning is a batch's */
        const struct tail_entry *entry = LIST_ITEM(at, const struct tail_entry, node);
        if (entry->base > offset) break;
        if (entry->base != offset || entry->segment != segment) continue;
        *position = entry->position;
        return true;
    }
    return false;
}

/* ---- The steps. */

static void unpin(struct log_read *read) {
    if (read->segment) read->segment->readers--;
    read->segment = NULL;
}

static void finish(struct log_read *read, enum err err) {
    struct log *log = read->log;
    unpin(read);
    log->body->reads--;
    pool_free(log->store->shard->pool, read->buffer, READ_WINDOW_BYTES);
    read->buffer = NULL;
    if (read->starting) { /* still inside log_read: it answers */
        read->finished = true;
        read->err = err;
        return;
    }
    if (log->body->reads == 0) log_due(log); /* somebody may wait for the last reader */
    read->done(read, err);
}

static void window_done(struct io_op *op);

static int64_t window_job(struct io_op *op, struct io_files files) {
    struct log_read *read = container_of(op, struct log_read, op);
    return files.vtable->read(files.self, read->window_file, read->buffer, read->window_size, read->at);
}

static void window_cold(struct io_op *op) {
    struct log_read *read = container_of(op, struct log_read, op);
    if (op->kind == IO_OP_READ && op->result == -EAGAIN) {
        read->log->store->metrics.reads_cold++;
        checked_clear(&read->segment->checked); /* the kernel brings in more than is asked for here */
        read->op = (struct io_op){.kind = IO_OP_JOB, .done = window_done};
        read->op.job.run = window_job;
        io_submit(read->log->store->shard->io, &read->op);
        return;
    }
    window_done(op);
}

static void read_window(struct log_read *read) {
    uint64_t left = read->segment->written - read->at;
    read->window_size = left < READ_WINDOW_BYTES ? (uint32_t)left : READ_WINDOW_BYTES;
    read->window_file = read->segment->file;
    read->op = (struct io_op){.kind = IO_OP_READ, .hot = true, .done = window_cold};
    read->op.disk.file = read->window_file;
    read->op.disk.offset = read->at;
    read->op.disk.data = read->buffer;
    read->op.disk.size = read->window_size;
    io_submit(read->log->store->shard->io, &read->op);
}

/* ---- Giving a range of the file, verified if it is not known to be good [L3]. */

static void give(struct log_read *read, uint64_t bytes) {
    enum err err = ERR_NONE;
    if (bytes && !chain_add_file(read->out, io_file_ref(read->segment->file), read->at, bytes)) err = ERR_NO_MEMORY;
    else read->bytes = (uint32_t)bytes;
    read->log->store->metrics.reads_file++;
    finish(read, err);
}

static int64_t verify_job(struct io_op *op, struct io_files files) {
    struct log_read *read = container_of(op, struct log_read, op);
    struct pool pool;
    pool_init_child(&pool, read->log->store->shard->pool, 0);
    enum err err = checked_verify(files, read->window_file, &pool, read->at, read->verify_to, (uint64_t)read->expected,
                                  &(struct checked_order){read->next, read->epoch, read->bound, read->sound_epoch}, &read->sound);
    pool_destroy(&pool);
    return (int64_t)err;
}

static void go_around(struct log_read *read);

/* What is good before the damage is given; who comes for the damage itself is told. (It may be its header that says that it
 * is what was come for.) */
static void verify_done(struct io_op *op) {
    struct log_read *read = container_of(op, struct log_read, op);
    enum err err = (enum err)op->result;
    read->expected = -1;
    if (err == ERR_CORRUPT && !read->around && read->log->state == LOG_OPEN) {
        read->around = true;
        read->sound = read->at;
        read->sound_next = read->next;
        read->sound_last = -1;
        read->sound_epoch = read->epoch >= 0 ? read->epoch : read->sound_epoch;
        go_around(read);
        return;
    }
    if (err) {
        if (err == ERR_CORRUPT) read->log->store->metrics.reads_corrupt++;
        finish(read, err);
        return;
    }
    checked_add(&read->segment->checked, read->window_file, read->at, read->sound);
    give(read, (read->sound < read->verify_to ? read->sound : read->verify_to) - read->at);
}

static void answer(struct log_read *read, uint64_t start, log_offset first, uint32_t first_size) {
    struct segment *segment = read->segment;
    uint64_t limit = read->limit < segment->written ? read->limit : segment->written;
    uint64_t room = read->bytes_max;
    read->position = (struct log_position){first, segment->base, (int64_t)start};
    read->cut = first_size > room && !read->min_one;
    if (read->min_one && first_size > room) room = first_size;
    uint64_t bytes = limit > start ? limit - start : 0;
    if (read->cut) bytes = 0;
    if (bytes > room) bytes = room;
    if (bytes > UINT32_MAX) bytes = UINT32_MAX;
    read->at = start;
    if (bytes == 0 || checked_holds(&segment->checked, segment->file, start, start + bytes)) {
        give(read, bytes);
        return;
    }
    read->verify_to = start + bytes;
    read->expected = (log_offset)segment->written; /* the file's end: a batch that the limit cuts is verified as a whole */
    read->window_file = segment->file;
    read->log->store->metrics.reads_verified++;
    read->op = (struct io_op){.kind = IO_OP_JOB, .done = verify_done};
    read->op.job.run = verify_job;
    io_submit(read->log->store->shard->io, &read->op);
}

static void begin_segment(struct log_read *read);

/* `from` lies behind the last batch of its segment (compaction took the rest): it goes on in the next one. */
static void next_segment(struct log_read *read) {
    struct log *log = read->log;
    uint32_t i = 0;
    log_offset base = read->segment->base;
    unpin(read);
    if (!log_segment_of(log, base, &i) || i + 1 >= log->body->count || log->body->segments[i + 1]->base >= read->upto_offset) {
        finish(read, ERR_NONE);
        return;
    }
    read->segment = log->body->segments[i + 1];
    read->segment->readers++;
    begin_segment(read);
}

/* Where to begin to look for `offset`: at the batch of an index entry, which must end at the entry's offset (`expected`). */
static enum err look_up(struct log_read *read, log_offset offset, uint64_t *position) {
    struct index_entry entry;
    *position = 0;
    read->expected = -1;
    if (offset <= read->segment->base) return ERR_NONE;
    enum err err = index_find(&read->segment->by_offset, offset, &entry);
    if (err == ERR_NOT_FOUND) return ERR_NONE;
    if (err) return err;
    *position = (uint64_t)entry.value;
    read->expected = entry.key;
    return ERR_NONE;
}

/* The index led to something else: it is thrown away and made anew from the segment, once for each read. */
static void index_is_wrong(struct log_read *read) {
    struct segment *segment = read->segment;
    enum err err = ERR_CORRUPT;
    if (!read->anew && !segment->loading) {
        read->anew = true;
        if (segment->sealed) { index_free(&segment->by_offset); segment->by_offset.known = false; }
        else index_unload(&segment->by_offset);
        err = segment_load(segment, true, true);
    }
    if (err) { finish(read, err); return; }
    list_push(&segment->waiting, &read->node);
}

/* At the segment's first batch, or at one that an index entry names and must agree with. */
static void walk_begins(struct log_read *read) {
    read->sound = read->at;
    read->next = -1;
    read->sound_next = read->at == 0 ? read->segment->base : -1;
    read->sound_last = read->expected;
    read->epoch = -1;
    read->sound_epoch = epoch_of_offset(&read->log->body->epochs, read->expected >= 0 ? read->expected : read->segment->base);
}

static void begin_from(struct log_read *read) {
    /* Before the batch that is wanted, so that there is one to hold it against. */
    enum err err = look_up(read, read->from - (read->from > read->segment->base), &read->at);
    if (err) { finish(read, err); return; }
    walk_begins(read);
    read->step = STEP_FROM;
    if (read->at >= read->limit) {
        if (read->expected >= 0 && read->at >= read->segment->written) index_is_wrong(read);
        else next_segment(read);
        return;
    }
    read_window(read);
}

/* The segment is pinned. Where does reading stop in it? */
static void begin_segment(struct log_read *read) {
    struct segment *segment = read->segment;
    struct log *log = read->log;
    read->step = STEP_BEGIN;
    if (!segment->made) { finish(read, ERR_NONE); return; } /* nothing of it is in a file yet */
    uint32_t i = 0;
    log_segment_of(log, segment->base, &i);
    bool is_last = i + 1 == log->body->count, bound_is_here = false;
    read->bound = is_last ? log->end : log->body->segments[i + 1]->base;
    if (!is_last && log->body->segments[i + 1]->base <= read->upto_offset) read->limit = segment->written;
    else if (read->upto_offset >= log->written) read->limit = segment->written;
    else bound_is_here = !find_mark(log, read->upto_offset, segment, &read->limit);
    uint64_t position;
    bool index_wanted = look_up(read, read->from, &position) == ERR_AGAIN || (bound_is_here && look_up(read, read->upto_offset - 1, &position) == ERR_AGAIN);
    if (!segment->file || index_wanted) {
        enum err err = segment_load(segment, index_wanted, false);
        if (err) { finish(read, err); return; }
        list_push(&segment->waiting, &read->node);
        return;
    }
    segment_use(segment);
    if (bound_is_here) {
        enum err err = look_up(read, read->upto_offset - 1, &read->at);
        if (err) { finish(read, err); return; }
        read->step = STEP_BOUND;
        walk_begins(read);
        read->limit = segment->written;
        if (read->at < segment->written) { read_window(read); return; }
    }
    begin_from(read);
}

static void read_resume(struct log_read *read, enum err err) {
    if (!err && read->log->state != LOG_OPEN) err = ERR_CLOSED;
    if (err) finish(read, err);
    else begin_segment(read);
}

/* ---- Damage on the way: a length that is wrong leads the walk over headers astray, so it is done again from where it began,
 * with every batch verified, and around what is damaged. */

static int64_t around_job(struct io_op *op, struct io_files files) {
    struct log_read *read = container_of(op, struct log_read, op);
    struct pool pool;
    struct scan scan;
    struct scan_batch batch;
    bool found = false;
    pool_init_child(&pool, read->log->store->shard->pool, 0);
    enum err err = scan_init(&scan, files, read->window_file, read->sound, read->verify_to, true, &pool);
    scan.ordered = true;
    scan.next = read->sound_next;
    scan.first_last = read->sound_last;
    scan.first_epoch = read->sound_epoch;
    scan.bound = read->bound;
    while (!err && !found) {
        err = scan_next(&scan, &batch);
        if (err == ERR_CORRUPT) {
            err = scan_behind(files, read->window_file, &pool, scan.at, read->verify_to, read->segment->base, &scan.at, &read->expected);
            scan.next = read->expected;
        }
        else if (!err) found = read->step == STEP_FROM ? batch_last_offset(&batch.batch) >= read->from : batch.batch.base_offset >= read->upto_offset;
    }
    if (found) read->sound = batch.position, read->expected = batch.batch.base_offset;
    scan_free(&scan);
    pool_destroy(&pool);
    return (int64_t)err;
}

static void around_done(struct io_op *op) {
    struct log_read *read = container_of(op, struct log_read, op);
    enum err err = (enum err)op->result;
    log_offset base = read->expected;
    read->expected = -1;
    if (read->log->state != LOG_OPEN) err = ERR_CLOSED;
    if (read->step == STEP_BOUND && (err == ERR_NONE || err == ERR_NOT_FOUND)) {
        read->limit = err ? read->verify_to : read->sound;
        begin_from(read);
        return;
    }
    if (err == ERR_NOT_FOUND || (!err && base > read->from)) err = ERR_CORRUPT; /* what is asked for is damaged */
    if (err) {
        if (err == ERR_CORRUPT) read->log->store->metrics.reads_corrupt++;
        finish(read, err);
        return;
    }
    read->at = read->sound;
    read->next = read->sound_next = base;
    read->epoch = -1;
    if (read->at >= read->limit) finish(read, ERR_CORRUPT); /* the limit was found past damage, and lies before it */
    else read_window(read);
}

static void go_around(struct log_read *read) {
    read->verify_to = read->segment->written;
    read->window_file = read->segment->file;
    read->op = (struct io_op){.kind = IO_OP_JOB, .done = around_done};
    read->op.job.run = around_job;
    io_submit(read->log->store->shard->io, &read->op);
}

/* Headers in the window, one after the other. */
static void window_done(struct io_op *op) {
    struct log_read *read = container_of(op, struct log_read, op);
    uint64_t window_at = read->at;
    if (op->result < 0) { finish(read, err_from_errno(op->result)); return; }
    if (read->log->state != LOG_OPEN) { finish(read, ERR_CLOSED); return; }
    const uint8_t *bytes = read->buffer;
    uint64_t got = (uint64_t)op->result;
    for (;;) {
        struct batch batch;
        struct batch_frame frame;
        uint64_t in = read->at - window_at;
        if (read->step == STEP_FROM && read->at >= read->limit) { next_segment(read); return; }
        if (read->at >= read->segment->written) break; /* the bound's end, found at the end of the file */
        struct span rest = in < got ? span_of(bytes + in, got - in) : span_of(bytes, 0);
        enum err err = batch_frame_parse(rest, &frame);
        if (!err && frame.magic == BATCH_MAGIC_2) err = batch_header_parse(rest, &batch);
        else if (!err) batch = (struct batch){.base_offset = frame.base_offset, .size = frame.size};
        if (err == ERR_AGAIN && in > 0) { read_window(read); return; }
        bool wrong = err || batch.size > read->segment->written - read->at || batch.last_offset_delta < 0 || batch.base_offset < 0 ||
                     batch.base_offset >= INT64_MAX - batch.last_offset_delta;
        if (read->expected >= 0 && (wrong || batch_last_offset(&batch) != read->expected)) { index_is_wrong(read); return; }
        bool falls = frame.magic == BATCH_MAGIC_2 && ((read->next >= 0 && batch.base_offset < read->next) || (batch.leader_epoch >= 0 && batch.leader_epoch < read->epoch));
        if (wrong || falls) { go_around(read); return; }
        read->expected = -1;
        if (read->step == STEP_BOUND && batch.base_offset >= read->upto_offset) break;
        if (read->step == STEP_FROM && batch_last_offset(&batch) >= read->from) {
            answer(read, read->at, batch.base_offset, batch.size);
            return;
        }
        read->at += batch.size;
        read->next = batch_next_offset(&batch);
        if (frame.magic == BATCH_MAGIC_2 && batch.leader_epoch >= 0) read->epoch = batch.leader_epoch;
    }
    assert(read->step == STEP_BOUND);
    read->limit = read->at;
    log_mark(read->log, (struct log_position){read->upto_offset, read->segment->base, (int64_t)read->at});
    begin_from(read);
}

enum err log_read(struct log_read *read) {
    struct log *log = read->log;
    read->bytes = 0;
    read->cut = read->has_more = false;
    read->segment = NULL;
    read->buffer = NULL;
    read->upto_offset = -1;
    read->position = (struct log_position){read->from, -1, -1};
    if (log->state == LOG_FAILED) return ERR_IO;
    if (log->state != LOG_OPEN) return ERR_CLOSED;
    if (!log_dir_is_online(log->dir)) { log_fail(log, ERR_IO); return ERR_IO; }
    if (log->change != CHANGE_NONE && log->change != CHANGE_REST) return ERR_BUSY;
    if (read->from < log->start || read->from > log->end) return ERR_OUT_OF_RANGE;
    read->upto_offset = read->upto == LOG_UPTO_END ? log->end : read->upto == LOG_UPTO_STABLE ? log_stable(log) : log->high_watermark;
    log_touch(log);
    if (read->from == log->end) read->position = log_end_position(log);
    if (read->from >= read->upto_offset) return ERR_NONE;
    enum err err;
    if (tail_read(read, read->upto_offset, &err)) return err;
    if (log->body->swap_wanted) {
        list_push(&log->body->parked_reads, &read->node);
        return ERR_AGAIN;
    }
    /* Files hold what is written; the rest is in the tail, so somebody who comes here wants what is before it. */
    read->segment = log_segment_of(log, read->from, NULL);
    assert(read->segment);
    read->buffer = pool_alloc(log->store->shard->pool, READ_WINDOW_BYTES);
    if (!read->buffer) { read->segment = NULL; return ERR_NO_MEMORY; }
    read->segment->readers++;
    log->body->reads++;
    read->starting = true;
    read->anew = read->around = false;
    read->finished = false;
    begin_segment(read);
    read->starting = false;
    return read->finished ? read->err : ERR_AGAIN;
}
