/* quorum/quorum.c - the pump, raft's effects, the controller's side, stopping.
 *
 * The pump steps raft with one event at a time and carries its effects out in order. An effect that waits for the disk
 * (PERSIST, TRUNCATE, the end of a download) stops the pump until it is done: so nothing is sent before what it depends
 * on is durable. What an effect did to the log is reported to raft before anything else is stepped.
 */
#include "quorum/host.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void carry(struct quorum *quorum);
static void hook_run(struct turn_hook *hook);

int64_t quorum_now_ms(const struct quorum *quorum) {
    return shard_now(quorum->shard) / NS_PER_MS;
}

void quorum_wake(struct quorum *quorum) {
    turn_end(quorum->shard, &quorum->hook, hook_run);
}

/* ---- Failing: this node's metadata goes no further in this process */

void quorum_fail(struct quorum *quorum, const char *format, ...) {
    if (quorum->state == QUORUM_FAILED || quorum->state == QUORUM_STOPPED) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(quorum->why, sizeof(quorum->why), format, arguments);
    va_end(arguments);
    quorum->state = QUORUM_FAILED;
    quorum->effects.count = quorum->effect_at = 0;
    timer_cancel(quorum->shard, &quorum->timer);
    timer_cancel(quorum->shard, &quorum->snapshot_timer);
    quorum_wake(quorum);
}

/* Those that read from the log are answered when that has ended. */
static void refuse_all(struct quorum *quorum) {
    LIST_EACH_SAFE(node, &quorum->requests_queue) calls_refuse(quorum, LIST_ITEM(node, struct quorum_request, node), RAFT_BROKER_NOT_AVAILABLE);
    LIST_EACH_SAFE(node, &quorum->requests) {
        struct quorum_request *request = LIST_ITEM(node, struct quorum_request, node);
        if (!request->reading) calls_refuse(quorum, request, RAFT_BROKER_NOT_AVAILABLE);
    }
    struct quorum_upgrade *upgrade = quorum->upgrade;
    quorum->upgrade = NULL;
    quorum->upgrade_due = false;
    if (upgrade) upgrade->done(upgrade, KAFKA_BROKER_NOT_AVAILABLE, NULL);
}

/* ---- The pump */

static void tick(struct timer *timer) {
    struct quorum *quorum = container_of(timer, struct quorum, timer);
    quorum->tick_due = true;
    quorum_pump(quorum);
}

static void arm(struct quorum *quorum) {
    int64_t deadline = raft_deadline(&quorum->raft);
    if (deadline == INT64_MAX || quorum->state == QUORUM_FAILED) {
        timer_cancel(quorum->shard, &quorum->timer);
    } else if (!timer_set(quorum->shard, &quorum->timer, deadline * NS_PER_MS, tick)) {
        quorum_fail(quorum, "no memory for the quorum's timer");
    }
}

void quorum_step(struct quorum *quorum, struct raft_event event) {
    assert(quorum->effect_at == quorum->effects.count);
    event.now_ms = quorum_now_ms(quorum);
    event.random = random_u64(&quorum->random);
    raft_step(&quorum->raft, &event, &quorum->effects);
    quorum->effect_at = 0;
}

/* What control records say belongs to raft before the batch's end does. */
static void report_control(struct quorum *quorum, struct span bytes) {
    struct batch batch;
    struct arena arena;
    arena_init(&arena, quorum->pool, 0);
    while (!batch_next(&bytes, &batch)) {
        if (!batch_is_control(&batch)) continue;
        struct record_cursor cursor;
        struct record record;
        record_cursor_init(&cursor, &batch, span_of(batch.bytes + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES));
        while (!record_next(&cursor, &record)) {
            enum control_type type;
            struct raft_event event = {.control = {.offset = record.offset}};
            if (control_type_parse(record.key, &type)) continue;
            enum err err = ERR_NONE;
            if (type == CONTROL_KRAFT_VERSION) {
                event.type = RAFT_EVENT_KRAFT_VERSION;
                err = kraft_version_parse(record.value, &arena, &event.control.version);
            } else if (type == CONTROL_VOTERS) {
                event.type = RAFT_EVENT_VOTERS;
                event.control.voters = &quorum->report_voters;
                err = voters_record_parse(record.value, &arena, &quorum->report_voters);
            } else {
                continue;
            }
            if (err) quorum_fail(quorum, "the voters recorded at offset %lld cannot be read: %s", (long long)record.offset, err_text(err));
            else quorum_step(quorum, event);
        }
        arena_reset(&arena);
    }
    arena_destroy(&arena);
}

static void report_loaded(struct quorum *quorum) {
    struct raft_snapshot_id id = quorum->report_snapshot;
    quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_LOADING, .snapshot = id});
    struct raft_event event = {.control = {.offset = id.offset - 1, .version = quorum->report_control.version, .voters = &quorum->report_voters}};
    event.type = RAFT_EVENT_KRAFT_VERSION;
    if (quorum->report_control.version) quorum_step(quorum, event);
    event.type = RAFT_EVENT_VOTERS;
    if (quorum->report_control.has_voters) quorum_step(quorum, event);
    quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_LOADED, .snapshot = id});
}

static leader_epoch last_epoch(const struct quorum *quorum) {
    leader_epoch epoch = log_epoch_last(quorum->log);
    if (quorum->raft.latest.offset == log_end(quorum->log) && quorum->raft.latest.epoch > epoch) epoch = quorum->raft.latest.epoch;
    return epoch < 0 ? 0 : epoch;
}

static void report(struct quorum *quorum) {
    enum quorum_report what = quorum->report;
    quorum->report = REPORT_NONE;
    struct raft_event event = {.log = {log_end(quorum->log), last_epoch(quorum)}};
    switch (what) {
    case REPORT_NONE: return;
    case REPORT_APPENDED:
        if (quorum->report_slab) {
            report_control(quorum, span_of(quorum->report_slab->bytes, quorum->report_bytes));
            slab_drop(quorum->report_slab);
            quorum->report_slab = NULL;
        }
        event.type = RAFT_EVENT_APPENDED;
        break;
    case REPORT_APPEND_FAILED: event.type = RAFT_EVENT_APPEND_FAILED; break;
    case REPORT_TRUNCATED: event.type = RAFT_EVENT_TRUNCATED; break;
    case REPORT_LOADED: report_loaded(quorum); return;
    }
    if (quorum->state != QUORUM_FAILED) quorum_step(quorum, event);
}

static void box_done(struct quorum *quorum) {
    struct quorum_box *box = quorum->stepping;
    quorum->stepping = NULL;
    if (box) calls_free(box);
}

/* False: there is nothing to be stepped. The log's news come before those of others. */
static bool step_next(struct quorum *quorum) {
    if (quorum->report != REPORT_NONE) {
        report(quorum);
    } else if (quorum->snapshot_due) {
        quorum->snapshot_due = false;
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_SNAPSHOT, .snapshot = quorum->snapshots[quorum->snapshots_count - 1].id});
    } else if (quorum->start_due) {
        quorum->start_due = false;
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_LOG_START,
            .start = {log_start(quorum->log), quorum->snapshots[0].id, quorum->snapshots[quorum->snapshots_count - 1].id}});
    } else if (quorum->durable_due) {
        quorum->durable_due = false;
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_DURABLE, .log = {log_durable(quorum->log), 0}});
    } else if (!list_is_empty(&quorum->responses)) {
        quorum->stepping = LIST_ITEM(list_pop(&quorum->responses), struct quorum_box, ready);
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_RESPONSE, .response = &quorum->stepping->response});
    } else if (!list_is_empty(&quorum->requests_queue)) {
        struct quorum_request *request = LIST_ITEM(list_pop(&quorum->requests_queue), struct quorum_request, node);
        struct raft_request decoded;
        list_push(&quorum->requests, &request->node);
        if (calls_decode_request(quorum, request, &decoded)) quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_REQUEST, .request = &decoded});
        else calls_refuse(quorum, request, RAFT_INVALID_REQUEST);
    } else if (quorum->upgrade_due) {
        quorum->upgrade_due = false;
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_UPGRADE, .upgrade = {(uint64_t)(uintptr_t)quorum->upgrade, quorum->upgrade->version, quorum->upgrade->validate_only}});
    } else if (quorum->resign_due) {
        quorum->resign_due = false;
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_RESIGN, .epoch = quorum->resign_epoch});
    } else if (quorum->shutdown_due) {
        quorum->shutdown_due = false;
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_SHUTDOWN, .timeout_ms = quorum->shutdown_timeout_ms});
    } else if (quorum->tick_due) {
        quorum->tick_due = false;
        quorum_step(quorum, (struct raft_event){.type = RAFT_EVENT_TICK});
    } else {
        return false;
    }
    return true;
}

static bool may_step(const struct quorum *quorum) {
    return !quorum->waiting && (quorum->state == QUORUM_RUNNING || quorum->state == QUORUM_STOPPING);
}

void quorum_pump(struct quorum *quorum) {
    if (quorum->pumping) return;
    quorum->pumping = true;
    while (may_step(quorum)) {
        if (quorum->effect_at < quorum->effects.count) {
            carry(quorum);
            continue;
        }
        box_done(quorum);
        if (!step_next(quorum)) break;
    }
    quorum->pumping = false;
    if (may_step(quorum)) arm(quorum);
    if (quorum->state == QUORUM_FAILED) quorum_wake(quorum);
}

void quorum_effect_done(struct quorum *quorum) {
    assert(quorum->waiting);
    quorum->waiting = false;
    quorum_pump(quorum);
}

/* ---- Effects */

static int64_t state_run(struct io_op *op, struct io_files files) {
    struct quorum *quorum = container_of(op, struct quorum, state_op);
    return state_file_write(files, quorum->directory, &quorum->state_job, quorum->state_voters, quorum->state_voters_count, &quorum->state_syncs);
}

static void state_done(struct io_op *op) {
    struct quorum *quorum = container_of(op, struct quorum, state_op);
    quorum->syncs += quorum->state_syncs;
    quorum->state_syncs = 0;
    if (op->result < 0) quorum_fail(quorum, "quorum-state in %s cannot be written: %s", quorum->directory, err_text(err_from_errno((long)op->result)));
    quorum_effect_done(quorum);
}

void quorum_persist(struct quorum *quorum, const struct raft_quorum_state *state) {
    const struct raft_voters *voters = raft_voters(&quorum->raft);
    quorum->state_job = *state;
    quorum->state_voters_count = voters->count;
    for (uint32_t i = 0; i < voters->count; i++) quorum->state_voters[i] = voters->voters[i].key.id;
    quorum->state_op = (struct io_op){.kind = IO_OP_JOB, .done = state_done, .job = {.run = state_run}};
    quorum->waiting = true;
    io_submit(quorum->io, &quorum->state_op);
}

static enum err append_slab(struct quorum *quorum, struct slab *slab, leader_epoch epoch, enum log_origin origin, uint32_t bytes, struct log_appended *out) {
    struct log_append append = {.batches = {.data = slab->bytes, .size = bytes, .slab = slab}, .origin = origin, .epoch = epoch, .coordinator_epoch = -1};
    return log_append(quorum->log, &append, out);
}

static void append_control(struct quorum *quorum, const struct raft_effect *effect) {
    struct arena arena;
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab = NULL;
    struct log_appended appended;
    time_ms now = shard_wall(quorum->shard);
    arena_init(&arena, quorum->pool, 0);
    batch_options_init(&options);
    options.control = true;
    options.leader_epoch = effect->append.epoch;
    batch_builder_init(&builder, quorum->pool, QUORUM_BATCH_BYTES_MAX, &options);
    enum err err = ERR_NONE;
    for (uint32_t i = 0; i < effect->append.count && !err; i++) {
        const struct raft_record *record = &effect->append.records[i];
        enum control_type type = CONTROL_LEADER_CHANGE;
        struct span value;
        if (record->type == RAFT_RECORD_LEADER_CHANGE) {
            value = leader_change_bytes(record, &arena);
        } else if (record->type == RAFT_RECORD_KRAFT_VERSION) {
            struct kraft_version_record version;
            kraft_version_record_init(&version);
            version.kraft_version = record->kraft_version;
            type = CONTROL_KRAFT_VERSION;
            value = wire_bytes(&kraft_version_record_message, 0, &version, &arena);
        } else {
            type = CONTROL_VOTERS;
            value = voters_record_encode_bytes(record->voters, &arena);
        }
        err = value.data ? batch_builder_add_control(&builder, type, now, value) : ERR_NO_MEMORY;
    }
    if (!err) err = batch_builder_finish(&builder, NULL, &slab);
    if (!err) err = append_slab(quorum, slab, effect->append.epoch, LOG_FROM_RAFT_LEADER, slab->used, &appended);
    /* Raft has counted on it: there is no going on without. */
    if (err) quorum_fail(quorum, "a record of the quorum's own could not be appended: %s", err_text(err));
    else quorum->report = REPORT_APPENDED;
    if (slab) slab_drop(slab);
    batch_builder_destroy(&builder);
    arena_destroy(&arena);
}

/* What a leader sent is checked like any input: whole batches, good sums, offsets without a gap, epochs that do not fall
 * and are not of the future. The first bad batch and all behind it are dropped, and asked for again. */
static uint32_t good_bytes(const struct quorum *quorum, struct span bytes) {
    log_offset next = log_end(quorum->log);
    leader_epoch epoch = last_epoch(quorum);
    struct span rest = bytes;
    struct batch batch;
    uint32_t good = 0;
    while (!batch_next(&rest, &batch)) {
        if (batch.base_offset != next || batch.last_offset_delta < 0 || batch.leader_epoch < epoch ||
            batch.leader_epoch > quorum->raft.epoch || batch_codec(&batch) != 0 || !batch_crc_is_good(&batch))
            break;
        next = batch_next_offset(&batch);
        epoch = batch.leader_epoch;
        good = (uint32_t)(rest.data - bytes.data);
    }
    return good;
}

static void append_fetched(struct quorum *quorum) {
    struct slab *slab = quorum->stepping ? quorum->stepping->records : NULL;
    struct log_appended appended;
    assert(slab != NULL);
    uint32_t bytes = good_bytes(quorum, span_of(slab->bytes, slab->used));
    enum err err = bytes ? append_slab(quorum, slab, quorum->raft.epoch, LOG_FROM_LEADER, bytes, &appended) : ERR_CORRUPT;
    quorum->report = err ? REPORT_APPEND_FAILED : REPORT_APPENDED;
    if (err) return;
    quorum->report_slab = slab_hold(slab);
    quorum->report_bytes = bytes;
}

static void truncate_done(struct log_wait *wait, enum err err) {
    struct quorum *quorum = container_of(wait, struct quorum, log_wait);
    if (err) quorum_fail(quorum, "the metadata log cannot be truncated: %s", err_text(err));
    else quorum->report = REPORT_TRUNCATED;
    quorum_effect_done(quorum);
}

static void truncate(struct quorum *quorum, log_offset offset) {
    quorum->log_wait = (struct log_wait){.done = truncate_done};
    quorum->waiting = true;
    enum err err = log_truncate(quorum->log, offset, &quorum->log_wait);
    if (err == ERR_AGAIN) return;
    quorum->waiting = false;
    if (err) quorum_fail(quorum, "the metadata log cannot be truncated: %s", err_text(err));
    else quorum->report = REPORT_TRUNCATED;
}

static void answer_read_done(struct log_read *read, enum err err) {
    struct quorum_request *request = container_of(read, struct quorum_request, log_read);
    request->reading = false;
    if (err) { /* rot, or no memory: the asker tries again, here or elsewhere */
        chain_clear(&request->chain);
        request->reply.error = RAFT_UNKNOWN_SERVER_ERROR;
    }
    calls_answer_fetch(request->quorum, &request->reply, err ? NULL : &request->chain);
}

static void answer_fetch(struct quorum *quorum, const struct raft_answer *answer) {
    struct quorum_request *request = calls_request_of(answer->token);
    request->quorum = quorum;
    request->reply = *answer;
    chain_init(&request->chain, request->arena);
    if (answer->fetch.offset >= log_end(quorum->log) || answer->fetch.bytes_max <= 0) {
        calls_answer_fetch(quorum, answer, NULL);
        return;
    }
    request->log_read = (struct log_read){
        .log = quorum->log, .from = answer->fetch.offset, .bytes_max = (uint32_t)answer->fetch.bytes_max, .min_one = true,
        .upto = LOG_UPTO_END, .out = &request->chain, .done = answer_read_done};
    enum err err = log_read(&request->log_read);
    if (err == ERR_AGAIN) request->reading = true;
    else answer_read_done(&request->log_read, err);
}

static void became(struct quorum *quorum, const struct raft_effect *effect) {
    bool leads = effect->became.role == RAFT_LEADER;
    quorum->leader_epoch_ = effect->became.epoch;
    quorum->leader_id = effect->became.role == RAFT_RESIGNED ? -1 : effect->became.leader_id;
    if (leads) {
        quorum->leader_start = log_end(quorum->log);
        log_epoch_assign(quorum->log, effect->became.epoch, quorum->leader_start);
    }
    quorum_wake(quorum);
}

static void disconnect(struct quorum *quorum) {
    LIST_EACH(node, &quorum->calls) LIST_ITEM(node, struct quorum_call, calls)->unwanted = true;
    if (quorum->peers) quorum->peers->disconnect(quorum->peers);
}

/* Carries the next effect out. */
static void carry(struct quorum *quorum) {
    const struct raft_effect *effect = &quorum->effects.items[quorum->effect_at++];
    switch (effect->type) {
    case RAFT_PERSIST: quorum_persist(quorum, &effect->state); break;
    case RAFT_SEND: calls_send(quorum, effect); break;
    case RAFT_ANSWER: calls_answer(quorum, &effect->answer); break;
    case RAFT_ANSWER_FETCH: answer_fetch(quorum, &effect->answer); break;
    case RAFT_ANSWER_SNAPSHOT: snapshots_answer(quorum, &effect->answer); break;
    case RAFT_APPEND: append_control(quorum, effect); break;
    case RAFT_APPEND_FETCHED: append_fetched(quorum); break;
    case RAFT_TRUNCATE: truncate(quorum, effect->offset); break;
    case RAFT_SNAPSHOT_BEGIN: snapshots_download_begin(quorum, effect->snapshot); break;
    case RAFT_SNAPSHOT_PIECE: snapshots_download_piece(quorum); break;
    case RAFT_SNAPSHOT_END: snapshots_download_end(quorum); break;
    case RAFT_SNAPSHOT_ABANDON: snapshots_download_abandon(quorum); break;
    case RAFT_HIGH_WATERMARK:
        quorum->high_watermark = effect->offset;
        log_high_watermark_set(quorum->log, effect->offset);
        quorum_wake(quorum);
        break;
    case RAFT_BECAME: became(quorum, effect); break;
    case RAFT_DISCONNECT: disconnect(quorum); break;
    case RAFT_SHUTDOWN_DONE:
        quorum->closing = true;
        quorum_wake(quorum);
        break;
    case RAFT_FATAL: quorum_fail(quorum, "%s", effect->why); break;
    }
}

/* ---- Stopping */

static void close_done(struct log_wait *wait, enum err err) {
    struct quorum *quorum = container_of(wait, struct quorum, log_wait);
    (void)err; /* what was promised is durable already */
    quorum->log = NULL;
    quorum->state = QUORUM_STOPPED;
    if (quorum->stopped) quorum->stopped(quorum->stopped_context);
}

static void try_close(struct quorum *quorum) {
    bool busy = quorum->waiting || quorum->delivering || quorum->state_op.pending || quorum->snapshot_job || !list_is_empty(&quorum->calls);
    if (busy || quorum->log_closing || !list_is_empty(&quorum->requests) || quorum->state == QUORUM_STOPPED) return;
    timer_cancel(quorum->shard, &quorum->timer);
    timer_cancel(quorum->shard, &quorum->snapshot_timer);
    quorum->closing = false;
    if (!quorum->log) {
        close_done(&quorum->log_wait, ERR_NONE);
        return;
    }
    quorum->log_closing = true; /* whoever asks to close once more waits for the same end */
    if (quorum->log_held) log_release(quorum->log); /* else it never opened */
    quorum->log_wait = (struct log_wait){.done = close_done};
    enum err err = log_close(quorum->log, &quorum->log_wait);
    if (err != ERR_AGAIN) close_done(&quorum->log_wait, err);
}

static void hook_run(struct turn_hook *hook) {
    struct quorum *quorum = container_of(hook, struct quorum, hook);
    if (quorum->state == QUORUM_STOPPED) return;
    if (quorum->state == QUORUM_FAILED) {
        refuse_all(quorum);
        if (!quorum->failure_told) {
            quorum->failure_told = true;
            disconnect(quorum);
            upward_tell_leader(quorum);
            for (uint32_t i = 0; i < quorum->listeners_count; i++)
                if (quorum->listener[i]->on_failed) quorum->listener[i]->on_failed(quorum->listener[i], quorum->why);
        }
    } else if (quorum->state != QUORUM_LOADING) {
        snapshots_work(quorum);
        upward_deliver(quorum);
        upward_tell_leader(quorum);
    }
    if (quorum->closing) {
        if (quorum->state != QUORUM_FAILED) refuse_all(quorum);
        disconnect(quorum);
        try_close(quorum);
    }
}

/* ---- The controller's side */

enum err quorum_append(struct quorum *quorum, leader_epoch epoch, const struct span *values, uint32_t count, log_offset *last) {
    if (quorum->state == QUORUM_FAILED) return ERR_IO;
    if (quorum->state != QUORUM_RUNNING || !raft_is_leader(&quorum->raft) || quorum->raft.epoch != epoch) return ERR_FENCED;
    if (quorum->pumping || quorum->waiting || quorum->effect_at < quorum->effects.count || quorum->report != REPORT_NONE) return ERR_AGAIN;
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab = NULL;
    struct log_appended appended;
    enum err err = ERR_NONE;
    assert(count > 0);
    batch_options_init(&options);
    options.leader_epoch = epoch;
    batch_builder_init(&builder, quorum->pool, QUORUM_BATCH_BYTES_MAX, &options);
    time_ms now = shard_wall(quorum->shard);
    for (uint32_t i = 0; i < count && !err; i++) err = batch_builder_add(&builder, now, (struct span){0}, values[i], NULL, 0);
    if (!err) err = batch_builder_finish(&builder, NULL, &slab);
    if (!err) err = append_slab(quorum, slab, epoch, LOG_FROM_RAFT_LEADER, slab->used, &appended);
    if (!err) {
        *last = appended.last;
        quorum->report = REPORT_APPENDED;
        quorum_pump(quorum);
    }
    if (slab) slab_drop(slab);
    batch_builder_destroy(&builder);
    return err;
}

void quorum_resign(struct quorum *quorum, leader_epoch epoch) {
    quorum->resign_due = true;
    quorum->resign_epoch = epoch;
    quorum_pump(quorum);
}

void quorum_upgrade(struct quorum *quorum, struct quorum_upgrade *upgrade) {
    if (quorum->upgrade || quorum->state != QUORUM_RUNNING) {
        upgrade->done(upgrade, quorum->upgrade ? KAFKA_INVALID_UPDATE_VERSION : KAFKA_NOT_LEADER_OR_FOLLOWER,
                      quorum->upgrade ? "another change of kraft.version is under way" : NULL);
        return;
    }
    quorum->upgrade = upgrade;
    quorum->upgrade_due = true;
    quorum_pump(quorum);
}

/* ---- Requests of others */

static bool call_of(int16_t key, enum raft_call *out) {
    switch (key) {
    case API_VOTE: *out = RAFT_VOTE; return true;
    case API_BEGIN_QUORUM_EPOCH: *out = RAFT_BEGIN; return true;
    case API_END_QUORUM_EPOCH: *out = RAFT_END; return true;
    case API_FETCH: *out = RAFT_FETCH; return true;
    case API_FETCH_SNAPSHOT: *out = RAFT_FETCH_SNAPSHOT; return true;
    case API_ADD_RAFT_VOTER: *out = RAFT_ADD; return true;
    case API_REMOVE_RAFT_VOTER: *out = RAFT_REMOVE; return true;
    case API_UPDATE_RAFT_VOTER: *out = RAFT_UPDATE; return true;
    default: return false;
    }
}

bool quorum_serves(int16_t api_key) {
    enum raft_call call;
    return api_key == API_DESCRIBE_QUORUM || call_of(api_key, &call);
}

void quorum_request(struct quorum *quorum, struct quorum_request *request) {
    request->quorum = quorum;
    request->reading = false;
    list_init(&request->node);
    if (request->api->key == API_DESCRIBE_QUORUM) {
        request->answer(request, calls_describe(quorum, request));
        return;
    }
    bool known = call_of(request->api->key, &request->call);
    assert(known);
    if (quorum->state == QUORUM_FAILED || quorum->state == QUORUM_STOPPED || quorum->closing) {
        calls_refuse(quorum, request, RAFT_BROKER_NOT_AVAILABLE);
        return;
    }
    list_push(&quorum->requests_queue, &request->node);
    quorum_pump(quorum);
}

/* ---- What is known */

enum quorum_state quorum_state(const struct quorum *quorum) { return quorum->state; }
bool quorum_is_leader(const struct quorum *quorum) { return quorum->state == QUORUM_RUNNING && raft_is_leader(&quorum->raft); }
leader_epoch quorum_epoch(const struct quorum *quorum) { return quorum->raft.epoch; }
broker_id quorum_leader(const struct quorum *quorum) { return quorum->leader_id; }
log_offset quorum_end(const struct quorum *quorum) { return quorum->log ? log_end(quorum->log) : -1; }
log_offset quorum_high_watermark(const struct quorum *quorum) { return quorum->high_watermark; }
log_offset quorum_delivered(const struct quorum *quorum, uint32_t listener) { (void)listener; return quorum->next; }
int16_t quorum_kraft_version(const struct quorum *quorum) { return raft_kraft_version(&quorum->raft); }
const struct raft *quorum_raft(const struct quorum *quorum) { return &quorum->raft; }
const struct log_report *quorum_log_report(const struct quorum *quorum) { return quorum->log ? log_report(quorum->log) : NULL; }
uint32_t quorum_syncs(const struct quorum *quorum) { return quorum->syncs; }
bool quorum_leader_address(const struct quorum *quorum, struct span listener, struct raft_listener *out) {
    return raft_leader_listener(&quorum->raft, listener, out);
}

void quorum_stop(struct quorum *quorum, int32_t timeout_ms, void (*stopped)(void *context), void *context) {
    quorum->stopped = stopped;
    quorum->stopped_context = context;
    if (quorum->state == QUORUM_RUNNING) {
        quorum->state = QUORUM_STOPPING;
        quorum->shutdown_due = true;
        quorum->shutdown_timeout_ms = timeout_ms;
        quorum_pump(quorum);
        return;
    }
    quorum->closing = true;
    quorum_wake(quorum);
}

void quorum_free(struct quorum *quorum) {
    if (!quorum) return;
    assert(quorum->state == QUORUM_STOPPED || quorum->state == QUORUM_FAILED);
    assert(list_is_empty(&quorum->requests));
    timer_cancel(quorum->shard, &quorum->timer);
    timer_cancel(quorum->shard, &quorum->snapshot_timer);
    box_done(quorum);
    if (quorum->report_slab) slab_drop(quorum->report_slab);
    if (quorum->download) io_file_drop(quorum->download);
    if (quorum->bootstrap) pool_free(quorum->pool, quorum->bootstrap, quorum->options.bootstrap_count * sizeof(*quorum->bootstrap));
    pool_free(quorum->pool, quorum, sizeof(*quorum));
}

void quorum_check(const struct quorum *quorum) {
    if (quorum->state == QUORUM_LOADING || quorum->state == QUORUM_STOPPED || quorum->state == QUORUM_FAILED) return;
    raft_check(&quorum->raft);
    log_offset known = quorum->raft.latest.offset > quorum->high_watermark ? quorum->raft.latest.offset : quorum->high_watermark;
    assert(quorum->waiting || quorum->next <= known || quorum->next == log_start(quorum->log)); /* a snapshot's end is committed, too */
    assert(quorum->high_watermark <= log_end(quorum->log));
    assert(quorum->effect_at <= quorum->effects.count);
    assert(implies(quorum->report == REPORT_NONE && !quorum->waiting, quorum->raft.log_end == log_end(quorum->log)));
    for (uint32_t i = 1; i < quorum->snapshots_count; i++) assert(quorum->snapshots[i - 1].id.offset < quorum->snapshots[i].id.offset);
}
