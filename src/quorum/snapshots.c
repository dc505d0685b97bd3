/* quorum/snapshots.c - when a snapshot is taken, handed up, downloaded, sent, and when old ones go.
 *
 * What waits for the disk are jobs, a piece at a time: memory and state belong to the shard between two of them. One of
 * `snapshot_job`'s kinds is under way at a time; a download goes beside it, in raft's effects.
 */
#include "quorum/host.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CLEAN_EVERY_MS = 60000, LOAD_AGAIN_MS = 100, VALUES_MAX = 1000, SEND_BYTES_MAX = 8 << 20 };

struct snapshot_job {
    struct io_op op;
    struct quorum *quorum;
    enum { JOB_LOAD, JOB_TAKE, JOB_CLEAN } kind;
    struct raft_snapshot_id id;
    bool bootstrap;
    struct io_file *file;
    char path[QUORUM_PATH_MAX], part[QUORUM_PATH_MAX];
    uint64_t at;                /* in the file */
    struct arena arena;
    /* LOAD */
    struct snapshot_reader reader;
    uint8_t *bytes;
    uint32_t room, held;
    bool begun;
    /* TAKE */
    struct snapshot_builder builder;
    struct quorum_listener *writer;
    void *handle;
    struct span values[VALUES_MAX];
    uint32_t values_count, values_at;
    struct slab *slab;
    bool last;                  /* the footer: sync and rename with it */
    uint32_t syncs;
};

static void job_free(struct snapshot_job *job) {
    struct quorum *quorum = job->quorum;
    if (job->file) io_file_drop(job->file);
    if (job->bytes) pool_free(quorum->pool, job->bytes, job->room);
    if (job->slab) slab_drop(job->slab);
    arena_destroy(&job->arena);
    quorum->snapshot_job = NULL;
    pool_free(quorum->pool, job, sizeof(*job));
    quorum_wake(quorum);
}

static struct snapshot_job *job_new(struct quorum *quorum, struct raft_snapshot_id id) {
    struct snapshot_job *job = POOL_NEW(quorum->pool, struct snapshot_job);
    if (!job) return NULL;
    job->quorum = quorum;
    job->id = id;
    snapshot_path(quorum->directory, id, "", job->path);
    snapshot_path(quorum->directory, id, ".part", job->part);
    arena_init(&job->arena, quorum->pool, 0);
    quorum->snapshot_job = job;
    return job;
}

static void job_submit(struct snapshot_job *job, int64_t (*run)(struct io_op *, struct io_files), void (*done)(struct io_op *)) {
    job->op = (struct io_op){.kind = IO_OP_JOB, .done = done, .job = {.run = run}};
    io_submit(job->quorum->io, &job->op);
}

/* ---- What there is */

static bool remember(struct quorum *quorum, struct raft_snapshot_id id, uint64_t bytes, time_ms timestamp) {
    uint32_t at = quorum->snapshots_count;
    while (at > 0 && quorum->snapshots[at - 1].id.offset > id.offset) at--;
    if (at > 0 && quorum->snapshots[at - 1].id.offset == id.offset) { /* the later epoch's is the one that counts */
        if (id.epoch >= quorum->snapshots[at - 1].id.epoch) quorum->snapshots[at - 1] = (struct quorum_snapshot_entry){id, bytes, timestamp};
        return true;
    }
    if (quorum->snapshots_count == QUORUM_SNAPSHOTS_MAX) { /* the oldest stays on disk, and is found at the next start */
        if (at == 0) return false;
        memmove(quorum->snapshots, quorum->snapshots + 1, (QUORUM_SNAPSHOTS_MAX - 1) * sizeof(quorum->snapshots[0]));
        quorum->snapshots_count--;
        at--;
    }
    memmove(quorum->snapshots + at + 1, quorum->snapshots + at, (quorum->snapshots_count - at) * sizeof(quorum->snapshots[0]));
    quorum->snapshots[at] = (struct quorum_snapshot_entry){id, bytes, timestamp};
    quorum->snapshots_count++;
    return true;
}

void snapshots_add(struct quorum *quorum, struct raft_snapshot_id id, uint64_t bytes, time_ms timestamp) {
    remember(quorum, id, bytes, timestamp);
}

static const struct quorum_snapshot_entry *find(const struct quorum *quorum, struct raft_snapshot_id id) {
    for (uint32_t i = 0; i < quorum->snapshots_count; i++)
        if (snapshot_id_equal(quorum->snapshots[i].id, id)) return &quorum->snapshots[i];
    return NULL;
}

bool snapshots_has(const struct quorum *quorum, struct raft_snapshot_id id) {
    return find(quorum, id) != NULL;
}

static void forget(struct quorum *quorum, uint32_t count) {
    memmove(quorum->snapshots, quorum->snapshots + count, (quorum->snapshots_count - count) * sizeof(quorum->snapshots[0]));
    quorum->snapshots_count -= count;
}

/* ---- At start */

struct lister { struct quorum *quorum; uint32_t doomed_count; char doomed[16][128]; };

static int list_one(void *context, const char *name, bool is_directory) {
    struct lister *lister = context;
    struct raft_snapshot_id id;
    struct io_stat stat;
    char path[QUORUM_PATH_MAX];
    if (is_directory) return 0;
    switch (snapshot_name_parse(name, &id)) {
    case SNAPSHOT_NAME_OTHER: break;
    case SNAPSHOT_NAME_PART:
    case SNAPSHOT_NAME_DELETED: /* more than fits goes at the next start */
        if (lister->doomed_count < countof(lister->doomed) && strlen(name) < sizeof(lister->doomed[0]))
            strcpy(lister->doomed[lister->doomed_count++], name);
        break;
    case SNAPSHOT_NAME_WHOLE:
        snapshot_path(lister->quorum->directory, id, "", path);
        if (id.offset == 0) lister->quorum->has_bootstrap |= id.epoch == 0;
        else if (!lister->quorum->files.vtable->stat(lister->quorum->files.self, path, &stat))
            remember(lister->quorum, id, stat.size, stat.modified_ns / NS_PER_MS);
        break;
    }
    return 0;
}

/* A snapshot that is damaged is put aside: an older one and the log may say the same, and if they do not, loading says so. */
static enum err verify_newest(struct quorum *quorum, char *why, size_t why_size) {
    struct io_files files = quorum->files;
    for (;;) {
        struct raft_snapshot_id id = {0, 0};
        char path[QUORUM_PATH_MAX], aside[QUORUM_PATH_MAX];
        if (!quorum->snapshots_count && !quorum->has_bootstrap) return ERR_NONE;
        if (quorum->snapshots_count) id = quorum->snapshots[quorum->snapshots_count - 1].id;
        snapshot_path(quorum->directory, id, "", path);
        enum err err = snapshot_file_verify(files, quorum->pool, path, id, &quorum->report_control, &quorum->report_voters);
        if (!err) {
            if (quorum->snapshots_count) quorum->snapshots[quorum->snapshots_count - 1].timestamp = quorum->report_control.last_timestamp;
            return ERR_NONE;
        }
        snprintf(why, why_size, "the snapshot %s cannot be read: %s", path, err_text(err));
        if (err != ERR_CORRUPT || !quorum->snapshots_count) return err;
        struct text text;
        text_init(&text, aside, sizeof(aside));
        text_add(&text, "%s/moldau.damaged-%020lld-%010d", quorum->directory, (long long)id.offset, id.epoch);
        int error = text.cut ? -ENAMETOOLONG : files.vtable->rename(files.self, path, aside);
        if (error) return err_from_errno(error);
        quorum->snapshots_count--;
    }
}

enum err snapshots_list(struct quorum *quorum, char *why, size_t why_size) {
    struct io_files files = quorum->files;
    struct lister lister = {.quorum = quorum};
    int error = files.vtable->list(files.self, quorum->directory, list_one, &lister);
    if (error == -ENOENT) return ERR_NONE; /* the log makes it */
    if (error) {
        snprintf(why, why_size, "%s cannot be listed: %s", quorum->directory, err_text(err_from_errno(error)));
        return err_from_errno(error);
    }
    for (uint32_t i = 0; i < lister.doomed_count; i++) {
        char path[QUORUM_PATH_MAX];
        struct text text;
        text_init(&text, path, sizeof(path));
        text_add(&text, "%s/%s", quorum->directory, lister.doomed[i]);
        if (!text.cut) (void)files.vtable->unlink(files.self, path); /* in nobody's way if it stays */
    }
    return verify_newest(quorum, why, why_size);
}

void snapshots_forget_before(struct quorum *quorum, log_offset start) {
    struct io_files files = quorum->files;
    char path[QUORUM_PATH_MAX];
    uint32_t gone = 0;
    for (; gone < quorum->snapshots_count && quorum->snapshots[gone].id.offset < start; gone++) {
        snapshot_path(quorum->directory, quorum->snapshots[gone].id, "", path);
        (void)files.vtable->unlink(files.self, path);
    }
    forget(quorum, gone);
}

/* ---- Handing one up */

static void minute(struct timer *timer);

static void load_finish(struct snapshot_job *job, enum err err) {
    struct quorum *quorum = job->quorum;
    if (!err && (job->held || !job->reader.has_footer)) err = ERR_CORRUPT;
    for (uint32_t i = 0; job->begun && i < quorum->listeners_count; i++)
        if (quorum->listener[i]->on_snapshot_end) quorum->listener[i]->on_snapshot_end(quorum->listener[i], !err);
    if (err) {
        quorum_fail(quorum, "the snapshot %s cannot be read: %s", job->path, err_text(err));
    } else if (!job->bootstrap) {
        quorum->next = job->id.offset;
        quorum->bytes_since_snapshot = 0;
        quorum->last_timestamp = job->reader.last_timestamp;
        if (snapshot_id_equal(quorum->load_wanted, job->id)) quorum->load_wanted = RAFT_NO_SNAPSHOT;
    } else {
        quorum->load_bootstrap = false;
    }
    job_free(job);
}

static int64_t load_run(struct io_op *op, struct io_files files) {
    struct snapshot_job *job = container_of(op, struct snapshot_job, op);
    int error = job->file ? 0 : files.vtable->open(files.self, &job->file, job->path, IO_READ);
    if (error) return error;
    return files.vtable->read(files.self, job->file, job->bytes + job->held, job->room - job->held, job->at);
}

static void hand_up(struct snapshot_job *job, const struct quorum_batch *batch) {
    struct quorum *quorum = job->quorum;
    struct quorum_batch said = *batch;
    said.base = said.last = job->id.offset - 1;
    said.epoch = job->id.epoch;
    for (uint32_t i = 0; i < quorum->listeners_count; i++)
        if (quorum->listener[i]->on_snapshot_records) quorum->listener[i]->on_snapshot_records(quorum->listener[i], &said);
}

static enum err load_batches(struct snapshot_job *job) {
    struct span rest = span_of(job->bytes, job->held);
    struct quorum_batch *batches;
    struct batch batch;
    uint32_t count;
    enum err err;
    while (!(err = batch_next(&rest, &batch))) {
        arena_reset(&job->arena);
        if ((err = snapshot_reader_batch(&job->reader, &batch, &job->arena, NULL))) return err;
        if (batch_is_control(&batch)) continue;
        err = quorum_batches_decode(span_of(batch.bytes, batch.size), 0, &job->arena, &batches, &count);
        if (err) return err;
        for (uint32_t i = 0; i < count; i++) hand_up(job, &batches[i]);
    }
    if (err != ERR_NOT_FOUND && err != ERR_AGAIN) return err;
    if (rest.size == job->room) { /* a batch that is larger than the room */
        uint8_t *more = job->room < SEND_BYTES_MAX * 2u ? pool_realloc(job->quorum->pool, job->bytes, job->room, job->room * 2) : NULL;
        if (!more) return job->room < SEND_BYTES_MAX * 2u ? ERR_NO_MEMORY : ERR_CORRUPT;
        job->bytes = more;
        job->room *= 2;
    } else if (rest.size) {
        memmove(job->bytes, rest.data, rest.size);
    }
    job->held = (uint32_t)rest.size;
    return ERR_NONE;
}

static void load_done(struct io_op *op) {
    struct snapshot_job *job = container_of(op, struct snapshot_job, op);
    struct quorum *quorum = job->quorum;
    if (quorum->state == QUORUM_FAILED || op->result <= 0) {
        load_finish(job, op->result < 0 ? err_from_errno((long)op->result) : ERR_NONE);
        return;
    }
    if (!job->begun) {
        job->begun = true;
        for (uint32_t i = 0; i < quorum->listeners_count; i++)
            if (quorum->listener[i]->on_snapshot_begin) quorum->listener[i]->on_snapshot_begin(quorum->listener[i], job->id, job->bootstrap);
    }
    job->at += (uint64_t)op->result;
    job->held += (uint32_t)op->result;
    enum err err = load_batches(job);
    if (err) load_finish(job, err);
    else job_submit(job, load_run, load_done);
}

static void load_one(struct quorum *quorum, struct raft_snapshot_id id, bool bootstrap) {
    struct snapshot_job *job = job_new(quorum, id);
    if (!job) { /* without memory now: tried again soon; that is the timer's only haste */
        (void)!timer_set(quorum->shard, &quorum->snapshot_timer, shard_now(quorum->shard) + LOAD_AGAIN_MS * NS_PER_MS, minute);
        return;
    }
    job->kind = JOB_LOAD;
    job->bootstrap = bootstrap;
    job->room = QUORUM_PIECE_BYTES;
    job->bytes = pool_alloc(quorum->pool, job->room);
    snapshot_reader_init(&job->reader, id);
    if (job->bytes) job_submit(job, load_run, load_done);
    else load_finish(job, ERR_NO_MEMORY);
}

/* ---- Taking one */

static const char taking[] = "taking a snapshot of the metadata"; /* for a panic */

static void take_next(struct snapshot_job *job);

static void take_finish(struct snapshot_job *job, enum err err) {
    struct quorum *quorum = job->quorum;
    job->writer->snapshot_end(job->writer, job->handle, !err);
    quorum->last_snapshot_ms = quorum_now_ms(quorum); /* failed or not: the next one has its time */
    quorum->syncs += job->syncs;
    if (!err) {
        snapshots_add(quorum, job->id, job->at, quorum->last_timestamp);
        quorum->snapshot_due = true;
    }
    job_free(job);
    quorum_pump(quorum);
}

static int64_t take_run(struct io_op *op, struct io_files files) {
    struct snapshot_job *job = container_of(op, struct snapshot_job, op);
    int error = job->file ? 0 : files.vtable->open(files.self, &job->file, job->part, IO_WRITE | IO_CREATE | IO_TRUNCATE);
    int64_t written = error ? error : files.vtable->write(files.self, job->file, job->slab->bytes, job->slab->used, job->at);
    if (written < 0 || !job->last) return written;
    error = files.vtable->sync_file(files.self, job->file);
    if (!error) error = files.vtable->rename(files.self, job->part, job->path);
    if (!error) error = files.vtable->sync_directory(files.self, job->quorum->directory);
    job->syncs += 2;
    return error;
}

static void take_goes_on(struct snapshot_job *job, int64_t result) {
    if (result < 0) { /* a full disk is no reason to stop: the log goes on, and the file goes at the next start */
        take_finish(job, err_from_errno((long)result));
        return;
    }
    job->at += job->slab->used;
    slab_drop(job->slab);
    job->slab = NULL;
    if (job->last) take_finish(job, ERR_NONE);
    else if (job->quorum->state == QUORUM_FAILED || job->quorum->closing) take_finish(job, ERR_CLOSED);
    else take_next(job);
}

static void take_done(struct io_op *op) {
    const char *before = panic_context_set(taking);
    take_goes_on(container_of(op, struct snapshot_job, op), op->result);
    panic_context_set(before);
}

/* The next batch: as many values as a piece takes, or the footer. */
static void take_next(struct snapshot_job *job) {
    enum err err = ERR_NONE;
    if (job->values_at == job->values_count) {
        arena_reset(&job->arena);
        int32_t count = job->writer->snapshot_next(job->writer, job->handle, &job->arena, job->values, VALUES_MAX);
        assert(count <= VALUES_MAX);
        if (count < 0) err = ERR_NO_MEMORY;
        job->values_count = count < 0 ? 0 : (uint32_t)count;
        job->values_at = 0;
    }
    if (!err && !job->values_count) {
        job->last = true;
        err = snapshot_builder_footer(&job->builder, &job->slab);
    } else if (!err) {
        uint32_t count = 0;
        size_t bytes = 0;
        while (job->values_at + count < job->values_count && (!count || bytes + job->values[job->values_at + count].size <= QUORUM_PIECE_BYTES))
            bytes += job->values[job->values_at + count++].size;
        err = snapshot_builder_records(&job->builder, job->values + job->values_at, count, &job->slab);
        job->values_at += count;
    }
    if (err) take_finish(job, err);
    else job_submit(job, take_run, take_done);
}

static bool is_due(struct quorum *quorum) {
    log_offset latest = quorum->snapshots_count ? quorum->snapshots[quorum->snapshots_count - 1].id.offset : 0;
    if (quorum->next <= latest || quorum->next > quorum->high_watermark || quorum->closing) return false;
    if (quorum->snapshot_asked || quorum->bytes_since_snapshot >= quorum->options.snapshot_bytes) return true;
    return quorum->options.snapshot_interval_ms > 0 && quorum_now_ms(quorum) - quorum->last_snapshot_ms >= quorum->options.snapshot_interval_ms;
}

static void take_now(struct quorum *quorum) {
    struct raft_snapshot_id id = {quorum->next, log_epoch_at(quorum->log, quorum->next - 1)};
    const struct raft_voters *voters;
    int16_t version;
    struct quorum_listener *writer = NULL;
    if (id.epoch < 0 || !raft_state_at(&quorum->raft, id.offset, &voters, &version)) return;
    for (uint32_t i = 0; i < quorum->listeners_count && !writer; i++)
        if (quorum->listener[i]->snapshot_begin) writer = quorum->listener[i];
    void *handle = writer ? writer->snapshot_begin(writer, id.offset) : NULL;
    if (!handle) return;
    quorum->snapshot_asked = false;
    quorum->bytes_since_snapshot = 0;
    struct snapshot_job *job = job_new(quorum, id);
    if (!job) {
        writer->snapshot_end(writer, handle, false);
        return;
    }
    job->kind = JOB_TAKE;
    job->writer = writer;
    job->handle = handle;
    snapshot_builder_init(&job->builder, quorum->pool, id, shard_wall(quorum->shard));
    if (snapshot_builder_header(&job->builder, quorum->last_timestamp, version, voters, &job->slab)) take_finish(job, ERR_NO_MEMORY);
    else job_submit(job, take_run, take_done);
}

static void take(struct quorum *quorum) {
    const char *before = panic_context_set(taking);
    take_now(quorum);
    panic_context_set(before);
}

void quorum_snapshot_now(struct quorum *quorum) {
    quorum->snapshot_asked = true;
    quorum_wake(quorum);
}

/* ---- Cleaning: the oldest goes when there is too much, or when it is too old; the log then starts at the next one */

static int64_t clean_run(struct io_op *op, struct io_files files) {
    struct snapshot_job *job = container_of(op, struct snapshot_job, op);
    return files.vtable->unlink(files.self, job->path);
}

static void clean_done(struct io_op *op) {
    struct snapshot_job *job = container_of(op, struct snapshot_job, op);
    job->quorum->clean_due = true; /* maybe one more */
    job_free(job);
}

static void clean(struct quorum *quorum) {
    quorum->clean_due = false;
    if (quorum->snapshots_count < 2) return;
    uint64_t bytes = log_size(quorum->log);
    for (uint32_t i = 0; i < quorum->snapshots_count; i++) bytes += quorum->snapshots[i].bytes;
    const struct quorum_snapshot_entry *oldest = &quorum->snapshots[0];
    bool large = quorum->options.retention_bytes >= 0 && bytes > (uint64_t)quorum->options.retention_bytes;
    bool old = quorum->options.retention_ms >= 0 && shard_wall(quorum->shard) - oldest->timestamp > quorum->options.retention_ms;
    log_offset start = quorum->snapshots[1].id.offset;
    if ((!large && !old) || quorum->next < start) return;
    if (log_start(quorum->log) < start && log_start_set(quorum->log, start)) return; /* tried again a minute later */
    struct snapshot_job *job = job_new(quorum, oldest->id);
    forget(quorum, 1);
    quorum->start_due = true;
    quorum_pump(quorum);
    if (!job) return; /* the file stays until the next start */
    job->kind = JOB_CLEAN;
    job_submit(job, clean_run, clean_done);
}

static void minute(struct timer *timer) {
    struct quorum *quorum = container_of(timer, struct quorum, snapshot_timer);
    quorum->clean_due = true;
    quorum_wake(quorum);
    snapshots_start_timer(quorum);
}

void snapshots_start_timer(struct quorum *quorum) {
    if (!timer_set(quorum->shard, &quorum->snapshot_timer, shard_now(quorum->shard) + CLEAN_EVERY_MS * NS_PER_MS, minute))
        quorum_fail(quorum, "no memory for the quorum's timer");
}

/* ---- Whatever is due */

bool snapshots_idle(const struct quorum *quorum) {
    return !quorum->load_bootstrap && quorum->load_wanted.offset < 0 && !(quorum->snapshot_job && quorum->snapshot_job->kind == JOB_LOAD);
}

void snapshots_work(struct quorum *quorum) {
    struct raft_snapshot_id bootstrap = {0, 0};
    if (quorum->snapshot_job || quorum->delivering || quorum->waiting || quorum->closing) return;
    if (!quorum->listeners_count) { /* nobody to hand it to */
        quorum->load_bootstrap = false;
        if (quorum->load_wanted.offset >= 0) quorum->next = quorum->load_wanted.offset;
        quorum->load_wanted = RAFT_NO_SNAPSHOT;
    }
    if (quorum->load_bootstrap) load_one(quorum, bootstrap, true);
    else if (quorum->load_wanted.offset >= 0) load_one(quorum, quorum->load_wanted, false);
    else if (is_due(quorum)) take(quorum);
    else if (quorum->clean_due) clean(quorum);
}

/* ---- Sending a piece to another node */

struct piece {
    struct io_op op;
    struct quorum *quorum;
    struct quorum_request *request;
    struct slab *slab;
    int64_t size;
    char path[QUORUM_PATH_MAX];
};

static int64_t piece_run(struct io_op *op, struct io_files files) {
    struct piece *piece = container_of(op, struct piece, op);
    struct io_file *file;
    int error = files.vtable->open(files.self, &file, piece->path, IO_READ);
    if (error) return error;
    int64_t bytes = files.vtable->read(files.self, file, piece->slab->bytes, piece->slab->capacity, (uint64_t)piece->request->reply.fetch_snapshot.position);
    io_file_drop(file);
    return bytes;
}

static void piece_done(struct io_op *op) {
    struct piece *piece = container_of(op, struct piece, op);
    struct quorum *quorum = piece->quorum;
    struct quorum_request *request = piece->request;
    enum raft_error error = op->result < 0 ? RAFT_SNAPSHOT_NOT_FOUND : RAFT_NONE;
    request->reading = false;
    if (!error) {
        piece->slab->used = (uint32_t)op->result;
        if (!chain_add_memory(&request->chain, piece->slab->bytes, piece->slab->used, piece->slab)) error = RAFT_UNKNOWN_SERVER_ERROR;
    }
    calls_answer_snapshot(quorum, &request->reply, error, piece->size, error ? NULL : &request->chain);
    slab_drop(piece->slab);
    pool_free(quorum->pool, piece, sizeof(*piece));
    if (quorum->closing || quorum->state == QUORUM_FAILED) quorum_wake(quorum);
}

void snapshots_answer(struct quorum *quorum, const struct raft_answer *answer) {
    struct quorum_request *request = calls_request_of(answer->token);
    const struct quorum_snapshot_entry *entry = find(quorum, answer->fetch_snapshot.id);
    if (!entry || answer->fetch_snapshot.position >= (int64_t)entry->bytes) {
        calls_answer_snapshot(quorum, answer, entry ? RAFT_POSITION_OUT_OF_RANGE : RAFT_SNAPSHOT_NOT_FOUND, 0, NULL);
        return;
    }
    int64_t bytes = (int64_t)entry->bytes - answer->fetch_snapshot.position;
    if (bytes > answer->fetch_snapshot.bytes_max) bytes = answer->fetch_snapshot.bytes_max;
    if (bytes > SEND_BYTES_MAX) bytes = SEND_BYTES_MAX;
    struct piece *piece = bytes > 0 ? POOL_NEW(quorum->pool, struct piece) : NULL;
    if (piece && !(piece->slab = slab_new(quorum->pool, (uint32_t)bytes))) {
        pool_free(quorum->pool, piece, sizeof(*piece));
        piece = NULL;
    }
    if (!piece) {
        calls_answer_snapshot(quorum, answer, bytes > 0 ? RAFT_UNKNOWN_SERVER_ERROR : RAFT_NONE, (int64_t)entry->bytes, NULL);
        return;
    }
    piece->quorum = quorum;
    piece->request = request;
    piece->size = (int64_t)entry->bytes;
    snapshot_path(quorum->directory, entry->id, "", piece->path);
    request->reply = *answer;
    request->reading = true;
    chain_init(&request->chain, request->arena);
    piece->op = (struct io_op){.kind = IO_OP_JOB, .done = piece_done, .job = {.run = piece_run}};
    io_submit(quorum->io, &piece->op);
}

/* ---- Downloading one. The pump waits for each step: the file is as far as raft thinks it is. */

static void download_path(const struct quorum *quorum, bool part, char out[QUORUM_PATH_MAX]) {
    snapshot_path(quorum->directory, quorum->download_id, part ? ".part" : "", out);
}

static void download_submit(struct quorum *quorum, int64_t (*run)(struct io_op *, struct io_files), void (*done)(struct io_op *)) {
    quorum->waiting = true;
    quorum->download_op = (struct io_op){.kind = IO_OP_JOB, .done = done, .job = {.run = run}};
    io_submit(quorum->io, &quorum->download_op);
}

static void download_step_done(struct io_op *op) {
    struct quorum *quorum = container_of(op, struct quorum, download_op);
    if (quorum->download_slab) slab_drop(quorum->download_slab);
    quorum->download_slab = NULL;
    if (op->result < 0)
        quorum_fail(quorum, "the snapshot of offset %lld cannot be written to %s: %s", (long long)quorum->download_id.offset, quorum->directory,
                    err_text(err_from_errno((long)op->result)));
    quorum_effect_done(quorum);
}

static int64_t begin_run(struct io_op *op, struct io_files files) {
    struct quorum *quorum = container_of(op, struct quorum, download_op);
    char path[QUORUM_PATH_MAX];
    download_path(quorum, true, path);
    return files.vtable->open(files.self, &quorum->download, path, IO_WRITE | IO_CREATE | IO_TRUNCATE);
}

void snapshots_download_begin(struct quorum *quorum, struct raft_snapshot_id id) {
    assert(quorum->download == NULL);
    quorum->download_id = id;
    quorum->download_at = 0;
    download_submit(quorum, begin_run, download_step_done);
}

static int64_t piece_write_run(struct io_op *op, struct io_files files) {
    struct quorum *quorum = container_of(op, struct quorum, download_op);
    return files.vtable->write(files.self, quorum->download, quorum->download_slab->bytes, quorum->download_slab->used, (uint64_t)quorum->download_at);
}

void snapshots_download_piece(struct quorum *quorum) {
    struct quorum_box *box = quorum->stepping;
    assert(box && box->records && quorum->download);
    quorum->download_slab = slab_hold(box->records);
    quorum->download_at = box->response.fetch_snapshot.position;
    download_submit(quorum, piece_write_run, download_step_done);
}

static int64_t end_run(struct io_op *op, struct io_files files) {
    struct quorum *quorum = container_of(op, struct quorum, download_op);
    char part[QUORUM_PATH_MAX], path[QUORUM_PATH_MAX];
    download_path(quorum, true, part);
    download_path(quorum, false, path);
    int error = files.vtable->sync_file(files.self, quorum->download);
    if (error) return error;
    enum err err = snapshot_file_verify(files, quorum->pool, part, quorum->download_id, &quorum->report_control, &quorum->report_voters);
    if (err) { /* what the leader sent is no snapshot: not this node's fault, nor its end */
        quorum->download_bad = true;
        return files.vtable->unlink(files.self, part);
    }
    error = files.vtable->rename(files.self, part, path);
    if (!error) error = files.vtable->sync_directory(files.self, quorum->directory);
    return error;
}

static void log_restarted(struct log_wait *wait, enum err err) {
    struct quorum *quorum = container_of(wait, struct quorum, log_wait);
    if (err) quorum_fail(quorum, "the metadata log cannot be started at the snapshot: %s", err_text(err));
    quorum->report = REPORT_LOADED;
    quorum->report_snapshot = quorum->download_id;
    quorum->load_wanted = quorum->download_id;
    quorum->snapshots_count = 0; /* older ones lie before the log's start: they go at the next start */
    snapshots_add(quorum, quorum->download_id, (uint64_t)quorum->raft.download.position, quorum->report_control.last_timestamp);
    quorum_wake(quorum);
    quorum_effect_done(quorum);
}

static void end_done(struct io_op *op) {
    struct quorum *quorum = container_of(op, struct quorum, download_op);
    io_file_drop(quorum->download);
    quorum->download = NULL;
    quorum->syncs += 2;
    if (quorum->download_bad || op->result < 0) {
        if (quorum->download_bad) quorum->report = REPORT_APPEND_FAILED;
        quorum->download_bad = false;
        download_step_done(op);
        return;
    }
    quorum->log_wait = (struct log_wait){.done = log_restarted};
    enum err err = log_truncate_fully(quorum->log, quorum->download_id.offset, &quorum->log_wait);
    if (err != ERR_AGAIN) log_restarted(&quorum->log_wait, err);
}

void snapshots_download_end(struct quorum *quorum) {
    download_submit(quorum, end_run, end_done);
}

static int64_t abandon_run(struct io_op *op, struct io_files files) {
    struct quorum *quorum = container_of(op, struct quorum, download_op);
    char path[QUORUM_PATH_MAX];
    download_path(quorum, true, path);
    (void)files.vtable->unlink(files.self, path); /* else at the next start */
    return 0;
}

void snapshots_download_abandon(struct quorum *quorum) {
    if (!quorum->download) return;
    io_file_drop(quorum->download);
    quorum->download = NULL;
    download_submit(quorum, abandon_run, download_step_done);
}
