#include "broker/partition.h"
#include "broker/assign.h"
#include "broker/broker.h"
#include "base/hash.h"
#include "base/random.h"
#include "broker/topic.h"
#include "wire/batch.h"
#include <string.h>

/* ---- finding and making ------------------------------------------------------------------------------------- */

static uint64_t partition_hash(struct uuid topic_id, partition_index index) {
    return hash_u64(uuid_hash(topic_id) + (uint32_t)index);
}

uint32_t partition_shard(const struct broker *broker, struct uuid topic_id, partition_index index) {
    return broker->shards == 1 ? 0 : (uint32_t)(partition_hash(topic_id, index) >> 32) % broker->shards;
}

struct partition_key {
    struct uuid topic_id;
    partition_index index;
};

bool partition_is_key(const struct map_node *node, const void *key) {
    const struct partition *partition = MAP_ITEM(node, struct partition, node);
    const struct partition_key *wanted = key;
    return partition->index == wanted->index && uuid_equal(partition->topic->id, wanted->topic_id);
}

static void tell_changed(struct partition *partition) {
    if (list_is_empty(&partition->changed)) list_push(&partition->broker->partitions_changed, &partition->changed);
    broker_wants_turn_end(partition->broker);
}

static void log_durable_moved(struct log_owner *owner, struct log *log) {
    tell_changed(container_of(owner, struct partition, log_owner));
}

static void log_written_moved(struct log_owner *owner, struct log *log) {
    tell_changed(container_of(owner, struct partition, log_owner));
}

static void everyone_looks_again(struct partition *partition) {
    purgatory_place_changed(&partition->place);
    LIST_EACH_SAFE(node, &partition->internal) {
        struct partition_listener *listener = LIST_ITEM(node, struct partition_listener, node);
        list_remove(&listener->node);
        listener->gone(listener);
    }
    broker_wants_turn_end(partition->broker);
}

/* Of a failed disk the log does not come back in this process. One that had no room, or no memory, is opened again by the next
 * request, which verifies it anew; until then whoever waits is told the same. */
static void log_failed(struct log_owner *owner, struct log *log, enum err err) {
    struct partition *partition = container_of(owner, struct partition, log_owner);
    broker_trace(partition->broker, "partition %.*s-%d: its log has failed: %s", (int)partition->topic->name.size,
                 (const char *)partition->topic->name.data, partition->index, err_text(err));
    partition->unusable = KAFKA_KAFKA_STORAGE_ERROR;
    partition->may_open_again = log_failure_passes(err);
    everyone_looks_again(partition);
}

static struct replica_offset place_of(struct log_position position) {
    return (struct replica_offset){.offset = position.offset, .segment_base = position.segment_base,
                                   .position = position.position < 0 ? 0 : (uint32_t)position.position};
}

static void carry_out(struct partition *partition, const struct replica_effects *effects) {
    if (effects->high_watermark_moved) {
        log_high_watermark_set(partition->log, partition->leader.high_watermark.offset);
        tell_changed(partition);
    }
    /* With one replica the ISR is what it is: ISR_WANTED comes with the second node. */
}

static void step(struct partition *partition, struct replica_event *event) {
    struct replica_effects effects;
    event->now_ms = shard_now(partition->broker->shard) / NS_PER_MS;
    replica_leader_step(&partition->leader, event, &effects);
    carry_out(partition, &effects);
}

/* Before the next request of a partition whose log has failed and may be opened again: leadership is taken up anew, from
 * where the log then ends. */
static void try_again(struct partition *partition) {
    if (!partition->may_open_again || partition->is_deleting) return;
    partition->may_open_again = false;
    partition->unusable = KAFKA_NONE;
    partition->epoch = -1;
    struct replica_event event = {.type = REPLICA_RESIGN};
    step(partition, &event);
}

/* What an opening after an unclean stop cost: so many bytes were read and verified before the log was served. */
static void tell_recovered(struct partition *partition) {
    const struct log_report *report = log_report(partition->log);
    if (partition->recovery_told || report->clean || report->scanned_bytes == 0) return;
    partition->recovery_told = true;
    broker_trace(partition->broker, "partition %.*s-%d was recovered: %llu bytes from offset %lld on were verified in %u us; it ends at offset %lld",
                 (int)partition->topic->name.size, (const char *)partition->topic->name.data, partition->index,
                 (unsigned long long)report->scanned_bytes, (long long)report->recovery_point, report->time_us, (long long)log_end(partition->log));
}

static void tell_cut(struct partition *partition) {
    const struct log_report *report = log_report(partition->log);
    if (report->damaged_at >= 0 && !partition->damage_told) {
        partition->damage_told = true;
        broker_trace(partition->broker, "partition %.*s-%d: what lies at offset %lld is damaged on disk and is not served", (int)partition->topic->name.size,
                     (const char *)partition->topic->name.data, partition->index, (long long)report->damaged_at);
    }
    if (partition->cut_told || report->cut_at < 0) return;
    partition->cut_told = true;
    broker_trace(partition->broker, "partition %.*s-%d was cut at offset %lld: %llu bytes behind it were not flushed and not whole; they are kept in moldau.cut-%020lld",
                 (int)partition->topic->name.size, (const char *)partition->topic->name.data, partition->index, (long long)report->cut_at,
                 (unsigned long long)report->cut_bytes, (long long)report->cut_at);
}

/* The log is open: the machine learns where it ends. */
static bool lead(struct partition *partition, const struct image_partition *state) {
    struct broker *broker = partition->broker;
    struct replica_info infos[REPLICAS_MAX];
    struct image_ids replicas = image_replicas(state), isr = image_isr(state), elr = image_elr(state);
    if (replicas.count > REPLICAS_MAX || !replica_leader_reserve(&partition->leader, replicas.count)) return false;
    for (uint32_t i = 0; i < replicas.count; i++) {
        const struct image_broker *peer = image_broker(broker->image, replicas.ids[i]);
        infos[i] = (struct replica_info){.broker = replicas.ids[i], .epoch = peer ? peer->epoch : -1,
                                         .in_isr = image_ids_contain(isr, replicas.ids[i]),
                                         .in_elr = image_ids_contain(elr, replicas.ids[i]),
                                         .fenced = !peer || peer->fenced,
                                         .shutting_down = peer && peer->in_controlled_shutdown};
    }
    struct replica_event event = {.type = REPLICA_BECOME};
    event.become.leader_epoch = state->leader_epoch;
    event.become.partition_epoch = state->partition_epoch;
    event.become.self = broker->node->id;
    event.become.replicas = infos;
    event.become.count = replicas.count;
    event.become.end = place_of(log_end_position(partition->log));
    event.become.durable = place_of(log_durable_position(partition->log));
    event.become.high_watermark = replica_offset_only(log_high_watermark(partition->log));
    event.become.recovering = state->recovery == LEADER_RECOVERING;
    tell_recovered(partition);
    tell_cut(partition);
    if (state->leader_epoch > partition->epoch) log_epoch_assign(partition->log, state->leader_epoch, log_end(partition->log));
    partition->epoch = state->leader_epoch;
    step(partition, &event);
    return true;
}

void partition_settings(struct partition *partition) {
    const struct topic_settings *settings = &partition->topic->settings;
    struct replica_event event = {.type = REPLICA_SETTINGS};
    event.settings.min_isr = settings->min_isr;
    event.settings.lag_ms_max = partition->broker->node->replica_lag_ms_max;
    event.settings.fsync = true;
    log_config_set(partition->log, &settings->log);
    step(partition, &event);
}

static const struct image_partition *state_of(struct partition *partition) {
    const struct image_topic *topic = image_topic_by_id(partition->broker->image, partition->topic->id);
    return topic ? image_partition(topic, partition->index) : NULL;
}

struct partition *partition_find(struct broker *broker, struct uuid topic_id, partition_index index) {
    struct partition_key key = {topic_id, index};
    struct map_node *found = map_find(&broker->partitions, partition_hash(topic_id, index), &key);
    return found ? MAP_ITEM(found, struct partition, node) : NULL;
}

/* Where a replica of this broker that has no log yet shall have it; NULL: nowhere, its directory has failed. While a directory
 * could not be read at the start, what lies in none of the others may lie in it, and is not made a second time, not even where
 * the metadata say that it is: it may have moved, and they were not told any more. Only what was created in this life of the
 * broker (each start begins a new epoch) surely does not lie there. */
static struct log_dir *place_for(const struct broker *broker, const struct image_partition *state, const char *topic) {
    struct log_dirs *dirs = broker->node->dirs;
    struct log_dir *dir = log_dirs_find(dirs, topic, state->index);
    int32_t replica = image_replica_index(state, broker->node->id);
    if (dir) return log_dir_is_online(dir) ? dir : NULL;
    bool is_new = state->leader_epoch == 0;
    for (uint32_t i = 0; i < log_dirs_count(dirs) && !is_new; i++)
        if (!log_dir_is_online(log_dirs_at(dirs, i))) return NULL;
    if (replica >= 0) dir = log_dirs_by_id(dirs, image_directory(state, (uint32_t)replica));
    if (dir) return log_dir_is_online(dir) ? dir : NULL;
    return log_dirs_emptiest(dirs);
}

/* Is this broker's replica in a directory that cannot be used? */
static bool is_out_of_reach(const struct broker *broker, const struct image_topic *topic, const struct image_partition *state) {
    char name[LOG_TOPIC_BYTES_MAX + 1];
    if (topic->name.size > LOG_TOPIC_BYTES_MAX || image_replica_index(state, broker->node->id) < 0) return false;
    memcpy(name, topic->name.data, topic->name.size);
    name[topic->name.size] = 0;
    return place_for(broker, state, name) == NULL;
}

struct partition *partition_get(struct broker *broker, struct uuid topic_id, partition_index index, enum kafka_error *why) {
    struct partition *known = partition_find(broker, topic_id, index);
    if (known) {
        if (known->is_deleting) { /* asked for just before; what came later does not find the topic */
            *why = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            return NULL;
        }
        try_again(known);
        assign_look(known); /* it may have moved */
        *why = known->unusable;
        return known->unusable ? NULL : known;
    }
    const struct image_topic *topic = image_topic_by_id(broker->image, topic_id);
    const struct image_partition *state = topic ? image_partition(topic, index) : NULL;
    *why = !topic ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : !state ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : KAFKA_NOT_LEADER_OR_FOLLOWER;
    if (state && state->leader < 0 && is_out_of_reach(broker, topic, state)) *why = KAFKA_KAFKA_STORAGE_ERROR;
    if (!state || state->leader != broker->node->id) return NULL;
    *why = KAFKA_KAFKA_STORAGE_ERROR;
    struct partition *partition = POOL_NEW(broker->shard->pool, struct partition);
    if (!partition) return NULL;
    partition->broker = broker;
    partition->index = index;
    partition->epoch = -1;
    list_init(&partition->changed);
    list_init(&partition->internal);
    list_init(&partition->unassigned);
    partition->log_owner = (struct log_owner){.written = log_written_moved, .durable = log_durable_moved, .failed = log_failed};
    purgatory_place_init(&partition->place, &broker->purgatory);
    partition->topic = topic_entry_hold(broker, topic);
    if (!partition->topic) goto fail;
    const struct topic_settings *settings = &partition->topic->settings;
    /* What may be acknowledged is the log's to say (log_durable): flushed, or in page-cache mode at least written. */
    replica_leader_init(&partition->leader, broker->shard->pool, true, settings->min_isr,
                        broker->node->replica_lag_ms_max);
    char name[LOG_TOPIC_BYTES_MAX + 1];
    if (topic->name.size > LOG_TOPIC_BYTES_MAX) goto fail;
    memcpy(name, topic->name.data, topic->name.size);
    name[topic->name.size] = 0;
    struct log_dir *dir = place_for(broker, state, name);
    if (!dir) goto fail;
    struct log_spec spec = {.dir = dir, .topic = name, .partition = index, .topic_id = topic_id, .create = true, .strays = true,
                            .config = settings->log, .owner = &partition->log_owner};
    if (log_new(&partition->log, broker->store, &spec)) goto fail;
    if (!map_insert(&broker->partitions, &partition->node, partition_hash(topic_id, index))) goto fail_log;
    assign_look(partition);
    *why = KAFKA_NONE;
    return partition;
fail_log:
    /* Never opened: there is nothing to flush, so this is over at once. */
    (void)!log_close(partition->log, NULL);
fail:
    replica_leader_destroy(&partition->leader);
    if (partition->topic) topic_entry_drop(broker, partition->topic);
    pool_free(broker->shard->pool, partition, sizeof *partition);
    return NULL;
}

void partition_listen(struct partition *partition, struct partition_listener *listener) {
    list_push(&partition->internal, &listener->node);
}

/* Is the log open, and does this broker lead in the epoch that the image says? What is not NONE is the answer. */
static enum kafka_error ready(struct partition *partition) {
    if (partition->unusable) return partition->unusable;
    const struct image_partition *state = state_of(partition);
    if (!state || partition->is_deleting) return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (!log_dir_is_online(log_dir_of(partition->log))) return KAFKA_KAFKA_STORAGE_ERROR; /* which is why nobody leads it */
    if (state->leader != partition->broker->node->id) return KAFKA_NOT_LEADER_OR_FOLLOWER;
    if ((partition->epoch != state->leader_epoch || partition->leader.partition_epoch != state->partition_epoch || !partition->leader.leading) &&
        !lead(partition, state))
        return KAFKA_KAFKA_STORAGE_ERROR;
    return KAFKA_NONE;
}

enum kafka_error partition_log_error(enum err err) {
    switch (err) {
    case ERR_NONE: return KAFKA_NONE;
    case ERR_OUT_OF_RANGE: return KAFKA_OFFSET_OUT_OF_RANGE;
    case ERR_LIMIT: return KAFKA_RECORD_LIST_TOO_LARGE;
    case ERR_CORRUPT: return KAFKA_CORRUPT_MESSAGE;
    case ERR_FENCED: return KAFKA_INCONSISTENT_TOPIC_ID;
    case ERR_BUSY: return KAFKA_NOT_LEADER_OR_FOLLOWER; /* being truncated, or over budget: the client asks again */
    default: return KAFKA_KAFKA_STORAGE_ERROR;
    }
}

/* What a log that is being deleted cannot do any more is told as what it means: the topic is gone. */
static enum kafka_error error_of(const struct partition *partition, enum err err) {
    return err && partition->is_deleting ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : partition_log_error(err);
}

static enum kafka_error check_epoch(const struct partition *partition, leader_epoch current) {
    if (current == -1 || current == partition->epoch) return KAFKA_NONE; /* anything else below 0 is a stale one */
    return current < partition->epoch ? KAFKA_FENCED_LEADER_EPOCH : KAFKA_UNKNOWN_LEADER_EPOCH;
}

/* ---- Produce --------------------------------------------------------------------------------------------------- */

static void count_produce_failed(const struct partition *partition) {
    partition->topic->counts.produces_failed++;
    partition->broker->topics_total.produces_failed++;
}

static bool fail_produce(struct produce_item *item, enum kafka_error error) {
    item->out->error_code = (int16_t)error;
    count_produce_failed(item->partition);
    if (error == KAFKA_NOT_LEADER_OR_FOLLOWER || error == KAFKA_FENCED_LEADER_EPOCH) {
        const struct image_partition *state = state_of(item->partition);
        item->out->current_leader.leader_id = state ? state->leader : -1;
        item->out->current_leader.leader_epoch = state ? state->leader_epoch : -1;
    }
    return true;
}

void produce_item_woken(struct produce_item *item, enum purgatory_outcome outcome) {
    struct partition *partition = item->partition;
    struct produce_response_partition_produce_response *out = item->out;
    if (outcome == PURGATORY_TIMEOUT) fail_produce(item, KAFKA_REQUEST_TIMED_OUT);
    else if (outcome == PURGATORY_CHANGED && partition->is_deleting) fail_produce(item, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    else if (outcome == PURGATORY_CHANGED) fail_produce(item, partition->unusable ? partition->unusable : KAFKA_NOT_LEADER_OR_FOLLOWER);
    else if (item->acks < 0 && !replica_leader_may_ack(&partition->leader)) fail_produce(item, KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND);
    if (out->error_code == KAFKA_NONE) out->log_start_offset = log_start(partition->log);
    else out->base_offset = -1, out->log_append_time_ms = -1;
    item->done(item);
}

/* Refused with the log open: where it starts is told, but for the errors with which Apache Kafka does not. */
static bool fail_append(struct produce_item *item, enum kafka_error error) {
    bool is_told = error != KAFKA_MESSAGE_TOO_LARGE && error != KAFKA_RECORD_LIST_TOO_LARGE && error != KAFKA_CORRUPT_MESSAGE &&
        error != KAFKA_KAFKA_STORAGE_ERROR && error != KAFKA_NOT_LEADER_OR_FOLLOWER;
    if (is_told) item->out->log_start_offset = log_start(item->partition->log);
    return fail_produce(item, error);
}

static bool refuse_records(struct produce_item *item, const struct verified *verified) {
    struct produce_response_partition_produce_response *out = item->out;
    if (verified->why) out->error_message = span_text(verified->why);
    if (verified->errors_count) {
        out->record_errors = produce_response_batch_index_and_error_message_array(item->arena, verified->errors_count);
        out->record_errors_count = out->record_errors ? verified->errors_count : 0;
        for (int32_t i = 0; i < out->record_errors_count; i++) {
            out->record_errors[i].batch_index = verified->errors[i].index;
            out->record_errors[i].batch_index_error_message = verified->errors[i].message;
        }
    }
    return verified->is_one_batch ? fail_append(item, verified->kafka_error) : fail_produce(item, verified->kafka_error);
}

static bool produce_open(struct produce_item *item) {
    struct partition *partition = item->partition;
    struct broker *broker = partition->broker;
    struct produce_response_partition_produce_response *out = item->out;
    enum kafka_error error = ready(partition);
    if (error) return fail_produce(item, error);
    if (item->acks < 0 && !replica_leader_may_append(&partition->leader)) return fail_append(item, KAFKA_NOT_ENOUGH_REPLICAS);
    const struct topic_settings *settings = &partition->topic->settings;
    struct verify_input input = {.rules = &settings->verify, .origin = LOG_FROM_CLIENT, .epoch = partition->epoch,
                                 .now_ms = shard_wall(broker->shard), .codecs = &broker->codecs, .pool = broker->shard->pool,
                                 .arena = item->arena, .bytes = item->data, .size = item->size};
    struct verified verified;
    if (verify_incoming(&input, &verified)) return fail_produce(item, KAFKA_KAFKA_STORAGE_ERROR);
    if (verified.kafka_error) return refuse_records(item, &verified);
    struct log_append append = {.batches = {.data = (uint8_t *)(uintptr_t)verified.batch.bytes, .size = verified.batch.size,
                                            .slab = verified.rewritten ? verified.rewritten : item->slab},
                                .origin = LOG_FROM_CLIENT, .epoch = partition->epoch, .coordinator_epoch = -1};
    struct log_appended appended;
    enum err err = log_append(partition->log, &append, &appended);
    slab_drop(verified.rewritten);
    if (err == ERR_INVALID) return fail_append(item, (enum kafka_error)appended.kafka_error);
    if (err == ERR_NO_SPACE) {
        out->error_message = SPAN_LITERAL("disk reserve reached");
        return fail_produce(item, KAFKA_KAFKA_STORAGE_ERROR);
    }
    if (err) return fail_produce(item, error_of(item->partition, err));
    out->base_offset = appended.base;
    out->log_start_offset = appended.start;
    /* Of a duplicate the first one's time is told, whatever it meant: so does Apache Kafka. */
    bool is_time_told = settings->verify.timestamp_type == TIMESTAMP_LOG_APPEND || appended.duplicate;
    out->log_append_time_ms = is_time_told ? appended.timestamp : -1;
    if (!appended.duplicate) {
        struct topic_counts *counts = &partition->topic->counts, *total = &broker->topics_total;
        counts->messages_in += (uint32_t)verified.batch.count;
        counts->bytes_in += verified.batch.size;
        total->messages_in += (uint32_t)verified.batch.count;
        total->bytes_in += verified.batch.size;
        struct replica_event event = {.type = REPLICA_APPENDED};
        event.appended.end = place_of(log_end_position(partition->log));
        step(partition, &event);
    }
    /* Nobody waits for the answer; but who sends faster than the disk takes shall be read no faster. */
    if (item->acks == 0 && !log_is_behind(partition->log)) return true;
    enum purgatory_line line = item->acks < 0 ? LINE_HIGH_WATERMARK : LINE_DURABLE;
    log_offset reached = item->acks < 0 ? partition->leader.high_watermark.offset : log_durable(partition->log);
    item->wait.required = appended.last + 1;
    if (reached >= item->wait.required) return true;
    item->wait.waiter.is_fetch = false;
    if (!purgatory_wait_offset(&partition->place, line, &item->wait, shard_now(broker->shard) / NS_PER_MS + item->timeout_ms))
        return fail_produce(item, KAFKA_REQUEST_TIMED_OUT);
    broker_wants_deadline(broker);
    return false;
}

static void produce_opened(struct log_wait *wait, enum err err) {
    struct produce_item *item = container_of(wait, struct produce_item, opening);
    item->partition->waiting--;
    bool over = err ? fail_produce(item, error_of(item->partition, err)) : produce_open(item);
    if (over) item->done(item);
}

bool partition_produce(struct produce_item *item) {
    struct partition *partition = item->partition;
    partition->topic->counts.produces++;
    partition->broker->topics_total.produces++;
    item->opening.done = produce_opened;
    enum err err = log_open(partition->log, &item->opening);
    if (err == ERR_AGAIN) {
        partition->waiting++;
        return false;
    }
    return err ? fail_produce(item, error_of(item->partition, err)) : produce_open(item);
}

enum kafka_error partition_lead(struct partition *partition) {
    return ready(partition);
}

enum kafka_error partition_append(struct partition *partition, uint8_t *bytes, uint32_t size, struct slab *slab, int32_t coordinator_epoch,
                                  log_offset *end) {
    enum kafka_error error = ready(partition);
    if (error) return error;
    if (!replica_leader_may_append(&partition->leader)) return KAFKA_NOT_ENOUGH_REPLICAS;
    struct log_append append = {.batches = {.data = bytes, .size = size, .slab = slab}, .origin = LOG_FROM_COORDINATOR,
                                .epoch = partition->epoch, .coordinator_epoch = coordinator_epoch};
    struct log_appended appended;
    enum err err = log_append(partition->log, &append, &appended);
    if (err == ERR_INVALID) return (enum kafka_error)appended.kafka_error;
    if (err) return partition_log_error(err);
    *end = appended.last + 1;
    struct replica_event event = {.type = REPLICA_APPENDED};
    event.appended.end = place_of(log_end_position(partition->log));
    step(partition, &event);
    return KAFKA_NONE;
}

/* ---- Fetch ------------------------------------------------------------------------------------------------------ */

static bool fail_fetch(struct fetch_item *item, enum kafka_error error) {
    struct fetch_response_partition_data *out = item->out;
    item->is_refused = true;
    item->partition->topic->counts.fetches_failed++;
    item->partition->broker->topics_total.fetches_failed++;
    out->error_code = (int16_t)error;
    out->high_watermark = -1;
    if (error == KAFKA_NOT_LEADER_OR_FOLLOWER || error == KAFKA_FENCED_LEADER_EPOCH) {
        const struct image_partition *state = state_of(item->partition);
        out->current_leader.leader_id = state ? state->leader : -1;
        out->current_leader.leader_epoch = state ? state->leader_epoch : -1;
    }
    return true;
}

static void fill_ends(struct fetch_item *item) {
    struct partition *partition = item->partition;
    item->out->high_watermark = log_high_watermark(partition->log);
    item->out->last_stable_offset = log_stable(partition->log);
    item->out->log_start_offset = log_start(partition->log);
}

static bool fetch_finish(struct fetch_item *item) {
    struct fetch_response_partition_data *out = item->out;
    if (item->isolation == FETCH_COMMITTED) {
        out->aborted_transactions_count = 0;
        if (item->aborted.count) {
            out->aborted_transactions = fetch_response_aborted_transaction_array(item->arena, (int32_t)item->aborted.count);
            if (!out->aborted_transactions) return fail_fetch(item, KAFKA_UNKNOWN_SERVER_ERROR);
            out->aborted_transactions_count = (int32_t)item->aborted.count;
            for (uint32_t i = 0; i < item->aborted.count; i++) {
                out->aborted_transactions[i].producer_id = item->aborted.items[i].producer;
                out->aborted_transactions[i].first_offset = item->aborted.items[i].first;
            }
        }
    }
    return true;
}

static void aborted_done(struct log_aborted_list *list, enum err err) {
    struct fetch_item *item = container_of(list, struct fetch_item, aborted);
    if (err) fail_fetch(item, error_of(item->partition, err));
    else fetch_finish(item);
    item->done(item);
}

static bool fetch_was_read(struct fetch_item *item) {
    item->at = (struct replica_offset){.offset = item->from, .segment_base = item->read.position.segment_base,
                                       .position = item->read.position.position < 0 ? 0 : (uint32_t)item->read.position.position};
    /* There is data, and not enough room for it in this answer: nothing is told of it, not even that nothing was aborted. */
    if (item->records.bytes == 0 && item->read.bytes_max > 0 && item->from < log_stable(item->partition->log)) return true;
    if (item->isolation != FETCH_COMMITTED || item->records.bytes == 0) return fetch_finish(item);
    item->aborted = (struct log_aborted_list){.log = item->partition->log, .from = item->from, .upto = item->read.upto_offset,
                                              .arena = item->arena, .done = aborted_done};
    enum err err = log_aborted_list(&item->aborted);
    if (err == ERR_AGAIN) return false;
    return err ? fail_fetch(item, error_of(item->partition, err)) : fetch_finish(item);
}

/* Damage on the disk is not handed out: the client is told, and so is the operator. Everything else of the log is served. */
static bool fail_read(struct fetch_item *item, enum err err) {
    struct partition *partition = item->partition;
    if (err == ERR_CORRUPT && !partition->damage_told) {
        partition->damage_told = true;
        broker_trace(partition->broker, "partition %.*s-%d: the batch at offset %lld is damaged on disk and is not served", (int)partition->topic->name.size,
                     (const char *)partition->topic->name.data, partition->index, (long long)item->from);
    }
    return fail_fetch(item, error_of(item->partition, err));
}

static void read_done(struct log_read *read, enum err err) {
    struct fetch_item *item = container_of(read, struct fetch_item, read);
    bool over = err ? fail_read(item, err) : fetch_was_read(item);
    if (over) item->done(item);
}

/* No ends are told, as Apache Kafka does: whoever reads asks for them by ListOffsets. */
static bool fail_without_ends(struct fetch_item *item, enum kafka_error error) {
    item->out->last_stable_offset = item->out->log_start_offset = -1;
    return fail_fetch(item, error);
}

/* Does this broker follow the partition? One that does not may have learned of its place before the leader has: if it knows
 * the leader's epoch, it shall wait. */
static enum kafka_error check_replica(const struct fetch_item *item) {
    const struct image_partition *state = state_of(item->partition);
    if (item->replica < 0) return KAFKA_NONE;
    if (state && item->replica != item->partition->broker->node->id && image_replica_index(state, item->replica) >= 0) return KAFKA_NONE;
    return item->current_epoch >= 0 ? KAFKA_UNKNOWN_LEADER_EPOCH : KAFKA_NOT_LEADER_OR_FOLLOWER;
}

static bool fetch_open(struct fetch_item *item) {
    struct partition *partition = item->partition;
    enum kafka_error error = ready(partition);
    if (error) return fail_fetch(item, error);
    if (item->current_epoch >= 0 && (error = check_epoch(partition, item->current_epoch))) return fail_fetch(item, error);
    if ((error = check_replica(item))) return fail_fetch(item, error);
    fill_ends(item);
    if (item->last_fetched_epoch >= 0) { /* does what the follower or consumer has agree with this log? */
        struct log_epoch_end end = log_epoch_end_for(partition->log, item->last_fetched_epoch);
        if (end.epoch < 0) return fail_without_ends(item, KAFKA_OFFSET_OUT_OF_RANGE);
        if (item->from < log_start(partition->log)) return fail_without_ends(item, KAFKA_OFFSET_OUT_OF_RANGE);
        if (end.epoch < item->last_fetched_epoch || end.end < item->from) {
            item->out->diverging_epoch.epoch = end.epoch;
            item->out->diverging_epoch.end_offset = end.end;
            item->is_refused = true;
            return true;
        }
    }
    log_offset bound = item->replica >= 0 ? log_end(partition->log) : log_high_watermark(partition->log);
    if (item->from < log_start(partition->log) || item->from > log_end(partition->log)) return fail_without_ends(item, KAFKA_OFFSET_OUT_OF_RANGE);
    if (item->from >= bound) { /* at the end: nothing, for now; also beyond the high watermark, which is no error */
        struct log_position end = log_end_position(partition->log);
        item->read.position = end;
        struct replica_offset known = partition->leader.high_watermark;
        item->at = item->from == end.offset ? place_of(end) : item->from == known.offset ? known : replica_offset_only(item->from);
        return fetch_finish(item);
    }
    if (item->bytes_are_negative) return fail_without_ends(item, KAFKA_INVALID_REQUEST);
    item->read = (struct log_read){.log = partition->log, .from = item->from, .bytes_max = item->bytes_max,
                                   .min_one = item->min_one, .out = &item->records, .done = read_done};
    item->read.upto = item->replica >= 0 ? LOG_UPTO_END : item->isolation == FETCH_COMMITTED ? LOG_UPTO_STABLE : LOG_UPTO_HIGH_WATERMARK;
    enum err err = log_read(&item->read);
    if (err == ERR_AGAIN) return false;
    return err ? fail_read(item, err) : fetch_was_read(item);
}

static void fetch_opened(struct log_wait *wait, enum err err) {
    struct fetch_item *item = container_of(wait, struct fetch_item, opening);
    item->partition->waiting--;
    bool over = err ? fail_fetch(item, error_of(item->partition, err)) : fetch_open(item);
    if (over) item->done(item);
}

bool partition_fetch(struct fetch_item *item) {
    item->partition->topic->counts.fetches++;
    item->partition->broker->topics_total.fetches++;
    item->opening.done = fetch_opened;
    item->is_refused = false;
    /* An earlier pass may have told the ends of a partition that is gone by now. */
    item->out->high_watermark = item->out->last_stable_offset = item->out->log_start_offset = -1;
    enum err err = log_open(item->partition->log, &item->opening);
    if (err == ERR_AGAIN) {
        item->partition->waiting++;
        return false;
    }
    return err ? fail_fetch(item, error_of(item->partition, err)) : fetch_open(item);
}

/* ---- Offsets ----------------------------------------------------------------------------------------------------- */

static bool fail_offset(struct offset_item *item, enum kafka_error error) {
    item->error = error;
    return true;
}

static bool offset_finish(struct offset_item *item) {
    item->offset = item->lookup.offset;
    item->found_timestamp = item->lookup.found_timestamp;
    item->epoch = item->lookup.epoch;
    return true;
}

static void lookup_done(struct log_lookup *lookup, enum err err) {
    struct offset_item *item = container_of(lookup, struct offset_item, lookup);
    if (err) fail_offset(item, error_of(item->partition, err));
    else offset_finish(item);
    item->done(item);
}

static bool offset_open(struct offset_item *item) {
    struct partition *partition = item->partition;
    enum kafka_error error = ready(partition);
    if (error) return fail_offset(item, error);
    if ((error = check_epoch(partition, item->current_epoch))) return fail_offset(item, error);
    if (item->by_epoch) {
        struct log_epoch_end end = log_epoch_end_for(partition->log, item->of_epoch);
        item->epoch = end.epoch;
        item->offset = end.end;
        return true;
    }
    /* A new leader may know less of the high watermark than the old one told: until it has passed the start of its epoch,
     * the end is not said (KIP-207). */
    log_offset high_watermark = log_high_watermark(partition->log);
    if (!item->is_replica && high_watermark < partition->leader.epoch_start && item->timestamp != LOG_TIME_EARLIEST)
        return fail_offset(item, KAFKA_OFFSET_NOT_AVAILABLE);
    item->lookup = (struct log_lookup){.log = partition->log, .timestamp = item->timestamp, .done = lookup_done};
    item->lookup.upto = item->is_replica ? LOG_UPTO_END : item->isolation == FETCH_COMMITTED ? LOG_UPTO_STABLE : LOG_UPTO_HIGH_WATERMARK;
    enum err err = log_lookup(&item->lookup);
    if (err == ERR_AGAIN) return false;
    if (err == ERR_NONE && item->timestamp == LOG_TIME_LATEST) item->lookup.epoch = partition->epoch;
    return err ? fail_offset(item, error_of(item->partition, err)) : offset_finish(item);
}

static void offset_opened(struct log_wait *wait, enum err err) {
    struct offset_item *item = container_of(wait, struct offset_item, opening);
    item->partition->waiting--;
    bool over = err ? fail_offset(item, error_of(item->partition, err)) : offset_open(item);
    if (over) item->done(item);
}

bool partition_offset(struct offset_item *item) {
    item->error = KAFKA_NONE;
    item->offset = item->found_timestamp = item->epoch = -1;
    item->opening.done = offset_opened;
    enum err err = log_open(item->partition->log, &item->opening);
    if (err == ERR_AGAIN) {
        item->partition->waiting++;
        return false;
    }
    return err ? fail_offset(item, error_of(item->partition, err)) : offset_open(item);
}

/* ---- What the turn's end does for partitions whose ends moved ------------------------------------------------------ */

void partition_settle(struct partition *partition) {
    if (partition->unusable || partition->epoch < 0 || log_state(partition->log) != LOG_OPEN) return;
    struct replica_event event = {.type = REPLICA_DURABLE};
    event.durable.end = place_of(log_durable_position(partition->log));
    step(partition, &event);
    purgatory_offset_moved(&partition->place, LINE_DURABLE, log_durable(partition->log));
    purgatory_offset_moved(&partition->place, LINE_HIGH_WATERMARK, partition->leader.high_watermark.offset);
    struct log_position end = log_end_position(partition->log);
    struct replica_offset high_watermark = partition->leader.high_watermark;
    if (high_watermark.offset == end.offset) high_watermark = place_of(end);
    purgatory_bound_moved(&partition->place, BOUND_HIGH_WATERMARK, high_watermark);
    purgatory_bound_moved(&partition->place, BOUND_STABLE,
                          log_stable(partition->log) == high_watermark.offset ? high_watermark : replica_offset_only(log_stable(partition->log)));
    purgatory_bound_moved(&partition->place, BOUND_END, place_of(end));
    LIST_EACH_SAFE(node, &partition->internal) {
        struct partition_listener *listener = LIST_ITEM(node, struct partition_listener, node);
        listener->high_watermark(listener, high_watermark.offset);
    }
}

/* ---- The metadata moved ---------------------------------------------------------------------------------------------- */

void partition_forget(struct partition *partition) {
    struct broker *broker = partition->broker;
    assert(partition->waiting == 0);
    list_remove(&partition->changed);
    list_remove(&partition->unassigned);
    map_remove(&broker->partitions, &partition->node);
    replica_leader_destroy(&partition->leader);
    topic_entry_drop(broker, partition->topic);
    pool_free(broker->shard->pool, partition, sizeof *partition);
}

void partition_follow_image(struct partition *partition) {
    const struct image_partition *state = state_of(partition);
    if (!state) {
        partition_delete(partition);
        return;
    }
    if (state->leader != partition->broker->node->id) {
        everyone_looks_again(partition);
        return;
    }
    /* A log that is closed learns of its epoch when it opens. */
    if (partition->epoch >= 0 && log_state(partition->log) == LOG_OPEN && partition->epoch != state->leader_epoch)
        (void)!lead(partition, state);
}

static void deleted(struct log_wait *wait, enum err err) {
    struct partition *partition = container_of(wait, struct partition, deleting);
    if (err) broker_trace(partition->broker, "partition %.*s-%d could not be deleted: %s", (int)partition->topic->name.size,
                          (const char *)partition->topic->name.data, partition->index, err_text(err));
    partition_forget(partition);
}

void partition_delete(struct partition *partition) {
    if (partition->is_deleting) return;
    partition->is_deleting = true;
    everyone_looks_again(partition);
    partition->deleting.done = deleted;
    enum err err = log_delete(partition->log, &partition->deleting);
    if (err != ERR_AGAIN) deleted(&partition->deleting, err);
}
