/* Opening a log: the shard's side of the job that recover.c runs. A truncation is such a job, too: a closing without more ado,
 * a cut of the files (cut.c), and an opening that verifies what is left. */
#include "log/listing.h"
#include "log/parts.h"
#include "log/recover.h"
#include <string.h>

bool log_failure_passes(enum err err) { return err == ERR_NO_SPACE || err == ERR_NO_MEMORY || err == ERR_BUSY; }

enum err log_open(struct log *log, struct log_wait *wait) {
    assert(!log->retired);
    if (log->change == CHANGE_CLOSE || log->change == CHANGE_DELETE || log->state == LOG_DELETED) return ERR_CLOSED;
    log->unasked = log->opened_to_measure = false;
    /* It may be open and those who waited for that not yet told: who comes now stays behind them, or what is appended for
     * the one would come before what the other asked for earlier. */
    if (log->state == LOG_OPEN && log->change == CHANGE_NONE && (!wait || list_is_empty(&log->waits))) {
        log_touch(log);
        return ERR_NONE;
    }
    if (log->state == LOG_FAILED && !log_failure_passes(log->failure)) return log->failure;
    if (log->state == LOG_CLOSED && !log_dir_is_online(log->dir)) return ERR_IO;
    if (wait) list_push(&log->waits, &wait->node);
    else log->wants_background = true;
    log_due(log);
    return ERR_AGAIN;
}

struct open_job {
    struct log_job job;
    struct recover_input in;
    char parent[PATH_MAX_BYTES], stray[PATH_MAX_BYTES];
    struct uuid topic_id;
    struct log_config config;
    struct log_body *body;
    bool cut, cut_fully, cut_copies;
    log_offset cut_offset;
    time_ns began;
    struct log_report report;
};

static enum err open_run(struct log_job *job, struct io_files files) {
    struct open_job *open = container_of(job, struct open_job, job);
    open->in.files = files;
    enum err err = ERR_NONE;
    if (open->cut_fully) err = recover_wipe(files, job->folder);
    else if (open->cut) err = recover_cut(files, &job->pool, job->folder, open->cut_offset, open->cut_copies);
    if (!err) err = recover(&open->in, &open->body, &open->topic_id);
    if (err != ERR_FENCED || !open->stray[0]) return err;
    err = err_from_errno(files.vtable->rename(files.self, job->folder, open->stray));
    if (!err) err = folder_sync(files, open->parent);
    return err ? err : ERR_FENCED;
}

static void take_body(struct log *log, struct open_job *open) {
    struct log_store *store = log->store;
    struct log_body *body = log->body = open->body;
    log->state = LOG_OPEN;
    log->topic_id = open->topic_id;
    producer_budget_set(body->producers, &store->producers); /* the recovery counted them for itself */
    log->end = log->written = log->flushed = body->end;
    body->written_at = body->flushed_at = (struct log_position){-1, -1, -1};
    log->opened_once = true;
    log->durable_told = body->end;
    log->create = log->may_be_stray = false;
    log->unasked = log->in_background && list_is_empty(&log->waits);
    log->opened_to_measure |= log->unasked && log->config.cleanup_compact; /* the cleaner closes it when it has looked */
    log->wants_background = false;
    if (body->start != log->start) dirs_mark_dirty(store->dirs, CHECKPOINT_START);
    log->start = body->start;
    /* What was verified was synced; the recovery point itself moves with the producers' next snapshot. After a clean stop
     * there is one already. */
    if (body->report.clean) log->recovery_point = body->end;
    if (log->recovery_point > body->end) log->recovery_point = body->end;
    if (log->recovery_point < body->start) log->recovery_point = body->start;
    if (log->high_watermark > log->end) log->high_watermark = log->end;
    if (log->high_watermark < log->start) log->high_watermark = log->start;
    producer_high_watermark(body->producers, log->high_watermark);
    body->appended_since_checkpoint = body->report.clean ? 0 : body->report.scanned_bytes;
    body->timestamp_max = -1;
    body->report.time_us = (uint32_t)((io_now(store->shard->io) - open->began) / 1000);
    body->roll_jitter_ms = log->config.segment_jitter_ms > 0 ? (time_ms)random_below(&store->random, (uint64_t)log->config.segment_jitter_ms) : 0;
    log->last_report = body->report;
    log->clean = false;
    list_push(&store->open_logs, &log->open_node);
    store->metrics.logs_open++;
    store->metrics.files_open++;
    log->recovery_known = log->mark_known = true;
    store->metrics.opens++;
    store->metrics.recovered_bytes += body->report.scanned_bytes;
    store->metrics.cut_bytes += body->report.cut_bytes;
    log->rewritten++; /* what a closed log has in its files may be cut by an opening, and grows from now on */
    if (!body->report.clean) store->metrics.recoveries++;
    dirs_mark_dirty(store->dirs, CHECKPOINT_RECOVERY);
}

/* The folder was that of another topic of the name, and is put aside: this one has none yet, and what the checkpoints say is
 * not said of it. */
static void begin_anew(struct log *log) {
    struct log_dir *dir = log->dir;
    log->may_be_stray = log->clean = log->recovery_known = log->mark_known = log->start_is_above = false;
    log->create = true;
    log->start = log->start_filed = log->high_watermark = log->recovery_point = log->recovery_filed = 0;
    log->clean_point = -1;
    log->state = LOG_CLOSED;
    atomic_fetch_add(&dir->deleted, 1);
    dirs_mark_all_dirty(log->store->dirs);
    if (move_must_end(log)) return; /* it looks here again when it has */
    log_due(log);
}

static void open_finish(struct log_job *job) {
    struct open_job *open = container_of(job, struct open_job, job);
    struct log *log = job->log;
    enum err err = job->err;
    if (err == ERR_FENCED && open->stray[0]) {
        job_free(job);
        begin_anew(log);
        return;
    }
    bool was_cut = open->cut || open->cut_fully;
    struct log_wait *wait = was_cut ? log->change_wait : NULL;
    if (!err) take_body(log, open);
    else if (err == ERR_CORRUPT) log->last_report = open->report;
    job_free(job);
    store_background_done(log);
    if (was_cut && log->change != CHANGE_CLOSE && log->change != CHANGE_DELETE) {
        log->change = CHANGE_NONE;
        log->change_wait = NULL;
    }
    if (err) {
        log->state = LOG_CLOSED;
        log->wants_background = false;
        /* Whoever asks again may have more luck; but damage and a broken disk stay. A cut that failed is one of those. */
        if (err == ERR_IO || err == ERR_CORRUPT || was_cut) log_fail(log, err);
        else log_tell_all(&log->waits, err);
    } else if (was_cut && log->owner && log->owner->written) {
        log->owner->written(log->owner, log); /* the ends moved */
    }
    if (wait && log->change_wait != wait) wait->done(wait, err);
    log_due(log);
    store_background(log->store);
}

static bool open_begin(struct log *log, enum change cut) {
    struct log_store *store = log->store;
    struct open_job *open = job_new(store, log, sizeof *open);
    if (!open) return false;
    open->job.run = open_run;
    open->job.finish = open_finish;
    open->topic_id = log->topic_id;
    open->config = log->config;
    strcpy(open->parent, log->dir->path);
    if (log->may_be_stray && cut == CHANGE_NONE) {
        char name[NAME_MAX_BYTES + 1];
        path_away_name(name, log->topic, log->partition, uuid_random(&store->random), "-stray");
        path_join(open->stray, open->parent, name);
    }
    open->began = io_now(store->shard->io);
    /* A log that closed because nobody asked for it has not been stopped: its producers, whose timestamps may be as old as
     * what they copy, go when the check of expiry finds them, as in a log that stays open. */
    time_ms expiration_ms = log->opened_once ? INT64_MAX : store->options.producer_expiration_ms;
    open->report.damaged_at = open->report.cut_at = open->report.recovery_point = -1;
    open->in = (struct recover_input){
        .report = &open->report,
        .body_pool = &log->pool, .work_pool = &open->job.pool, .parent = open->parent, .folder = open->job.folder,
        .topic_id = log->topic_id, .config = &open->config, .start_mark = log->start, .recovery_point = log->recovery_point,
        .create = log->create, .clean = log->clean && cut == CHANGE_NONE, .now_ms = io_wall(store->shard->io),
        .producer_expiration_ms = expiration_ms, .log = log};
    open->cut = cut == CHANGE_TRUNCATE;
    open->cut_fully = cut == CHANGE_TRUNCATE_FULLY;
    open->in.cut = open->cut || open->cut_fully;
    open->cut_offset = log->change_offset;
    if (open->cut_fully) open->in.start_mark = log->change_offset;
    log->state = LOG_OPENING;
    job_start(&open->job);
    return true;
}

void open_start(struct log *log) {
    if (!open_begin(log, CHANGE_NONE)) log_tell_all(&log->waits, ERR_NO_MEMORY);
}

void cut_start(struct log *log) {
    struct segment *holder = log_segment_of(log, log->change_offset, NULL);
    /* In place only if surely nobody else has the file: of a closed one it is not known. */
    bool copies = !holder || !holder->file || atomic_load(&io_file_ref(holder->file)->refs) > 1;
    enum change cut = log->change;
    log_offset offset = log->change_offset;
    log->rewritten++;
    if (cut == CHANGE_TRUNCATE && !holder) cut = CHANGE_TRUNCATE_FULLY;
    log_body_free(log);
    if (!open_begin(log, cut)) {
        log->state = LOG_CLOSED;
        log_fail(log, ERR_NO_MEMORY);
        return;
    }
    struct open_job *open = container_of(log->job, struct open_job, job);
    open->cut_copies = copies;
    if (cut == CHANGE_TRUNCATE_FULLY) log->start = offset;
    if (log->start > offset) log->start = offset;
    if (log->start_filed > log->start) log->start_filed = log->start;
    open->in.start_mark = log->start;
    log->high_watermark = log->high_watermark < offset ? log->high_watermark : offset;
    dirs_mark_dirty(log->store->dirs, CHECKPOINT_START);
    dirs_mark_dirty(log->store->dirs, CHECKPOINT_HIGH_WATERMARK);
}
