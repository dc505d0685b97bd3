/* quorum/open.c - opening and loading: the configuration, the snapshots, the log, and what their control records say; then
 * raft begins.
 */
#include "quorum/host.h"
#include <stdio.h>
#include <string.h>

static const struct uuid TOPIC_ID = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

/* ---- The log's news */

static void log_is_durable(struct log_owner *owner, struct log *log) {
    struct quorum *quorum = container_of(owner, struct quorum, log_owner);
    (void)log;
    quorum->durable_due = true;
    quorum_pump(quorum);
}

static void log_has_failed(struct log_owner *owner, struct log *log, enum err err) {
    struct quorum *quorum = container_of(owner, struct quorum, log_owner);
    (void)log;
    quorum_fail(quorum, "the metadata log in %s has failed: %s; the node stops", quorum->directory, err_text(err));
}

/* ---- Loading: log, then the snapshot's control records, then the log's */

static void load_failed(struct quorum *quorum, enum err err) {
    const struct log_report *report = log_report(quorum->log);
    if (err == ERR_CORRUPT && report->damaged_at >= 0) {
        quorum_fail(quorum, "the metadata log is damaged: %s/%020lld.log at offset %lld, below what was flushed: %s; it is left as it is, a copy of the folder must take its place",
                    quorum->directory, (long long)report->damaged_base, (long long)report->damaged_at, err_text(err));
        return;
    }
    quorum_fail(quorum, "the metadata log in %s cannot be opened: %s", quorum->directory, err_text(err));
}

static void begin(struct quorum *quorum) {
    struct raft_start *start = &quorum->start;
    start->log_start = log_start(quorum->log);
    start->log_end = log_end(quorum->log);
    if (quorum->snapshots_count) {
        start->earliest = quorum->snapshots[0].id;
        start->latest = quorum->snapshots[quorum->snapshots_count - 1].id;
    }
    leader_epoch epoch = log_epoch_last(quorum->log);
    if (start->latest.offset == start->log_end && start->latest.epoch > epoch) epoch = start->latest.epoch;
    start->last_epoch = epoch < 0 ? 0 : epoch;
    quorum->next = start->log_start;
    quorum->load_wanted = start->latest;
    quorum->load_bootstrap = quorum->has_bootstrap;
    quorum->last_snapshot_ms = quorum_now_ms(quorum);
    quorum->state = QUORUM_RUNNING;
    raft_begin(&quorum->raft, start, quorum_now_ms(quorum), random_u64(&quorum->random), &quorum->effects);
    quorum->effect_at = 0;
    quorum->leader_epoch_ = quorum->raft.epoch;
    quorum->leader_id = quorum->raft.role == RAFT_FOLLOWER ? quorum->raft.leader_id : -1;
    bool persists = false;
    for (uint32_t i = 0; i < quorum->effects.count; i++) persists |= quorum->effects.items[i].type == RAFT_PERSIST;
    if (start->has_state && quorum->state_repair && !persists) quorum_persist(quorum, &start->state); /* both copies whole again */
    snapshots_start_timer(quorum);
    quorum_wake(quorum);
    quorum_pump(quorum);
}

static void scan_done(struct quorum_read *read, enum err err, const struct quorum_batch *batches, uint32_t count, log_offset next) {
    struct quorum *quorum = read->quorum;
    struct span rest = span_of(read->bytes, read->filled);
    struct batch batch;
    if (quorum->state != QUORUM_LOADING) return;
    while (!err && !batch_next(&rest, &batch)) {
        if (!batch_is_control(&batch) || batch_last_offset(&batch) < quorum->scan) continue;
        struct record_cursor cursor;
        struct record record;
        record_cursor_init(&cursor, &batch, span_of(batch.bytes + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES));
        while (!err && !record_next(&cursor, &record)) {
            enum control_type type;
            int16_t version;
            if ((err = control_type_parse(record.key, &type))) break;
            if (type == CONTROL_KRAFT_VERSION && !(err = kraft_version_parse(record.value, &read->arena, &version)))
                raft_load(&quorum->raft, record.offset, NULL, version);
            if (type == CONTROL_VOTERS && !(err = voters_record_parse(record.value, &read->arena, &quorum->report_voters)))
                raft_load(&quorum->raft, record.offset, &quorum->report_voters, 0);
        }
    }
    (void)batches;
    if (err) {
        quorum_fail(quorum, "the metadata log in %s cannot be read at offset %lld: %s", quorum->directory, (long long)quorum->scan, err_text(err));
        return;
    }
    if (!count) {
        begin(quorum);
        return;
    }
    quorum->scan = next;
    quorum->scan_read.from = next;
    if (next >= log_end(quorum->log)) begin(quorum);
    else quorum_read(quorum, &quorum->scan_read);
}

/* What snapshots_list has read from the newest one, or from the bootstrap one. */
static void load_voters(struct quorum *quorum, log_offset offset) {
    if (quorum->report_control.version) raft_load(&quorum->raft, offset, NULL, quorum->report_control.version);
    if (quorum->report_control.has_voters) raft_load(&quorum->raft, offset, &quorum->report_voters, 0);
}

/* The log is open, and is where its latest snapshot says. */
static void load(struct quorum *quorum) {
    const struct quorum_snapshot_entry *latest = quorum->snapshots_count ? &quorum->snapshots[quorum->snapshots_count - 1] : NULL;
    if (latest || quorum->has_bootstrap) load_voters(quorum, latest ? latest->id.offset - 1 : -1);
    quorum->scan = log_start(quorum->log);
    if (latest && latest->id.offset > quorum->scan) quorum->scan = latest->id.offset;
    if (quorum->scan >= log_end(quorum->log)) {
        begin(quorum);
        return;
    }
    quorum->scan_read.from = quorum->scan;
    quorum->scan_read.bytes_max = quorum->options.read_bytes;
    quorum->scan_read.done = scan_done;
    quorum_read(quorum, &quorum->scan_read);
}

static void load_truncated(struct log_wait *wait, enum err err) {
    struct quorum *quorum = container_of(wait, struct quorum, log_wait);
    if (err) load_failed(quorum, err);
    else load(quorum);
}

static void log_is_open(struct log_wait *wait, enum err err) {
    struct quorum *quorum = container_of(wait, struct quorum, log_wait);
    if (err) {
        load_failed(quorum, err);
        return;
    }
    log_hold(quorum->log);
    quorum->log_held = true;
    log_offset start = log_start(quorum->log), end = log_end(quorum->log);
    leader_epoch epoch = log_epoch_last(quorum->log);
    snapshots_forget_before(quorum, start);
    const struct quorum_snapshot_entry *latest = quorum->snapshots_count ? &quorum->snapshots[quorum->snapshots_count - 1] : NULL;
    if (start > 0 && (!latest || latest->id.offset < start)) {
        quorum_fail(quorum, "the metadata log in %s starts at offset %lld, and no snapshot reaches there", quorum->directory, (long long)start);
        return;
    }
    leader_epoch newest = latest && latest->id.epoch > epoch ? latest->id.epoch : epoch;
    err = state_file_read(quorum->files, quorum->directory, newest < 0 ? 0 : newest, &quorum->start.state, &quorum->state_repair);
    quorum->start.has_state = err == ERR_NONE;
    if (err && err != ERR_NOT_FOUND) {
        quorum_fail(quorum, "quorum-state in %s cannot be read: %s", quorum->directory, err_text(err));
        return;
    }
    /* A snapshot that was fetched, but its log not restarted any more. */
    if (latest && (latest->id.epoch > epoch || (latest->id.epoch == epoch && latest->id.offset > end))) {
        quorum->log_wait = (struct log_wait){.done = load_truncated};
        err = log_truncate_fully(quorum->log, latest->id.offset, &quorum->log_wait);
        if (err != ERR_AGAIN) load_truncated(&quorum->log_wait, err);
        return;
    }
    load(quorum);
}

/* ---- Opening */

static int32_t or_default(int32_t value, int32_t standard) {
    return value ? value : standard;
}

static enum err set_up_raft(struct quorum *quorum, const struct quorum_options *options, char *why, size_t why_size) {
    struct raft_options raft;
    raft_options_default(&raft);
    raft.self = (struct raft_key){.id = options->node, .directory = log_dir_id(options->dir)};
    raft.can_vote = options->can_vote;
    raft.cluster_id = options->cluster_id ? span_text(options->cluster_id) : (struct span){0};
    if (options->listeners) raft.listeners = *options->listeners;
    raft.default_listener = span_text(quorum->default_listener);
    raft.bootstrap_count = options->bootstrap_count;
    raft.auto_join = options->auto_join;
    raft.election_timeout_ms = or_default(options->election_timeout_ms, raft.election_timeout_ms);
    raft.fetch_timeout_ms = or_default(options->fetch_timeout_ms, raft.fetch_timeout_ms);
    raft.election_backoff_max_ms = or_default(options->election_backoff_max_ms, raft.election_backoff_max_ms);
    raft.request_timeout_ms = or_default(options->request_timeout_ms, raft.request_timeout_ms);
    raft.retry_backoff_ms = or_default(options->retry_backoff_ms, raft.retry_backoff_ms);
    raft.fetch_bytes_max = or_default(options->fetch_bytes_max, raft.fetch_bytes_max);
    raft.fetch_snapshot_bytes_max = or_default(options->fetch_snapshot_bytes_max, raft.fetch_snapshot_bytes_max);
    if (options->voters && raft_voters_parse(span_text(options->voters), raft.default_listener, false, &quorum->static_voters)) {
        snprintf(why, why_size, "controller.quorum.voters is not a list of id@host:port: %s", options->voters);
        return ERR_INVALID;
    }
    raft.static_voters = &quorum->static_voters;
    if (raft.cluster_id.size > RAFT_CLUSTER_ID_MAX || options->bootstrap_count > RAFT_BOOTSTRAP_MAX) {
        snprintf(why, why_size, "the cluster id is too long, or there are more than %d controller.quorum.bootstrap.servers", RAFT_BOOTSTRAP_MAX);
        return ERR_INVALID;
    }
    raft_init(&quorum->raft, &raft);
    return ERR_NONE;
}

static void set_defaults(struct quorum_options *options) {
    if (!options->snapshot_bytes) options->snapshot_bytes = 20 << 20;
    if (!options->snapshot_interval_ms) options->snapshot_interval_ms = 3600000;
    if (!options->retention_bytes) options->retention_bytes = 100 << 20;
    if (!options->retention_ms) options->retention_ms = INT64_C(7) * 24 * 3600000;
    if (!options->segment_bytes) options->segment_bytes = 1 << 30;
    if (!options->read_bytes) options->read_bytes = 1 << 20;
}

enum err quorum_open(struct quorum **out, const struct quorum_options *options, char *why, size_t why_size) {
    struct shard *shard = options->shard;
    struct log_config config;
    struct text text;
    uint64_t seed;
    enum err err;
    struct quorum *quorum = POOL_NEW(shard->pool, struct quorum);
    if (!quorum) {
        snprintf(why, why_size, "no memory for the quorum");
        return ERR_NO_MEMORY;
    }
    quorum->options = *options;
    set_defaults(&quorum->options);
    quorum->shard = shard;
    quorum->pool = shard->pool;
    quorum->io = shard->io;
    quorum->files = io_files(shard->io);
    quorum->peers = options->peers;
    quorum->high_watermark = quorum->leader_id = -1;
    quorum->start = (struct raft_start){.state = {.leader_id = -1, .voted = {.id = -1}}, .earliest = RAFT_NO_SNAPSHOT, .latest = RAFT_NO_SNAPSHOT};
    quorum->load_wanted = RAFT_NO_SNAPSHOT;
    list_init(&quorum->requests);
    list_init(&quorum->requests_queue);
    list_init(&quorum->responses);
    list_init(&quorum->calls);
    io_random(shard->io, &seed, sizeof(seed));
    random_seed(&quorum->random, seed);
    for (int i = 0; i < 2; i++)
        if (options->listener[i]) quorum->listener[quorum->listeners_count++] = options->listener[i];
    text_init(&text, quorum->default_listener, sizeof(quorum->default_listener));
    text_add(&text, "%s", options->default_listener ? options->default_listener : "CONTROLLER");
    text_init(&text, quorum->directory, sizeof(quorum->directory) - 64);
    text_add(&text, "%s/__cluster_metadata-0", log_dir_path(options->dir));
    if (text.cut) {
        snprintf(why, why_size, "the path of metadata.log.dir is too long");
        err = ERR_LIMIT;
        goto fail;
    }
    if (options->bootstrap_count) {
        quorum->bootstrap = pool_alloc(quorum->pool, options->bootstrap_count * sizeof(*quorum->bootstrap));
        if (!quorum->bootstrap) {
            err = ERR_NO_MEMORY;
            goto fail;
        }
        memcpy(quorum->bootstrap, options->bootstrap, options->bootstrap_count * sizeof(*quorum->bootstrap));
    }
    if ((err = set_up_raft(quorum, options, why, why_size))) goto fail;
    if ((err = snapshots_list(quorum, why, why_size))) goto fail;
    err = state_file_read(quorum->files, quorum->directory, 0, &quorum->start.state, &quorum->state_repair);
    if (err && err != ERR_NOT_FOUND) {
        snprintf(why, why_size, "quorum-state in %s cannot be read, and no copy stands for it: %s", quorum->directory, err_text(err));
        goto fail;
    }

    log_config_init_metadata(&config);
    config.segment_bytes = quorum->options.segment_bytes;
    quorum->log_owner = (struct log_owner){.durable = log_is_durable, .failed = log_has_failed};
    struct log_spec spec = {.dir = options->dir, .topic = "__cluster_metadata", .partition = 0, .topic_id = TOPIC_ID, .create = true,
                            .config = config, .owner = &quorum->log_owner};
    if ((err = log_new(&quorum->log, options->store, &spec))) {
        snprintf(why, why_size, "the metadata log in %s: %s", quorum->directory, err_text(err));
        goto fail;
    }
    *out = quorum;
    quorum->log_wait = (struct log_wait){.done = log_is_open};
    err = log_open(quorum->log, &quorum->log_wait);
    if (err != ERR_AGAIN) log_is_open(&quorum->log_wait, err); /* what fails from here on is told by on_failed */
    return ERR_NONE;
fail:
    if (quorum->bootstrap) pool_free(quorum->pool, quorum->bootstrap, options->bootstrap_count * sizeof(*quorum->bootstrap));
    pool_free(quorum->pool, quorum, sizeof(*quorum));
    return err;
}
