/* Committed offsets: of members, of consumers that assign themselves, of transactions; and when they go.
 *
 * Offsets are changed only by records: a commit writes them, apply brings them in. Those of a transaction wait beside
 * until its marker; a fetch that asks for stable offsets is told so meanwhile.
 */
#include "group/state.h"

/* ---- Where they lie */

static bool topic_is_name(const struct map_node *node, const void *key) { return span_is_key(MAP_ITEM(node, struct committed_topic, by_name)->name, key); }
static bool committed_is_partition(const struct map_node *node, const void *key) { return MAP_ITEM(node, struct committed, by_partition)->partition == *(const partition_index *)key; }

void offsets_init(struct group_machine *machine, struct group *group) {
    map_init(&group->topics, machine->pool, 0, topic_is_name);
    list_init(&group->unstable);
}

static struct committed_topic *find_topic(const struct group *group, struct span name) {
    struct map_node *node = map_find(&group->topics, hash_bytes(name.data, name.size), &name);
    return node ? MAP_ITEM(node, struct committed_topic, by_name) : NULL;
}

static struct committed *find_in_topic(const struct committed_topic *topic, partition_index partition) {
    struct map_node *node = topic ? map_find(&topic->partitions, hash_u64((uint32_t)partition), &partition) : NULL;
    return node ? MAP_ITEM(node, struct committed, by_partition) : NULL;
}

static void remove_committed(struct group_machine *machine, struct group *group, struct committed_topic *topic, struct committed *committed) {
    map_remove(&topic->partitions, &committed->by_partition);
    span_disown(machine->pool, &committed->metadata);
    pool_free(machine->pool, committed, sizeof *committed);
    if (topic->partitions.count) return;
    map_destroy(&topic->partitions);
    map_remove(&group->topics, &topic->by_name);
    span_disown(machine->pool, &topic->name);
    pool_free(machine->pool, topic, sizeof *topic);
}

static struct committed_topic *find_or_new_topic(struct group_machine *machine, struct group *group, struct span name) {
    struct committed_topic *topic = find_topic(group, name);
    if (topic) return topic;
    if (!(topic = POOL_NEW(machine->pool, struct committed_topic))) return NULL;
    map_init(&topic->partitions, machine->pool, 0, committed_is_partition);
    if (span_own(machine->pool, name, &topic->name) && map_insert(&group->topics, &topic->by_name, hash_bytes(name.data, name.size))) return topic;
    span_disown(machine->pool, &topic->name);
    pool_free(machine->pool, topic, sizeof *topic);
    return NULL;
}

static struct committed *find_or_new(struct group_machine *machine, struct group *group, struct span name, partition_index partition) {
    struct committed_topic *topic = find_or_new_topic(machine, group, name);
    struct committed *committed = find_in_topic(topic, partition);
    if (committed || !topic) return committed;
    committed = POOL_NEW(machine->pool, struct committed);
    if (committed) {
        committed->partition = partition;
        committed->record = -1;
        if (map_insert(&topic->partitions, &committed->by_partition, hash_u64((uint32_t)partition))) return committed;
        pool_free(machine->pool, committed, sizeof *committed);
    }
    if (topic->partitions.count == 0) {
        map_destroy(&topic->partitions);
        map_remove(&group->topics, &topic->by_name);
        span_disown(machine->pool, &topic->name);
        pool_free(machine->pool, topic, sizeof *topic);
    }
    return NULL;
}

uint32_t offsets_count(const struct group *group) {
    return group->topics.count;
}

/* ---- Of open transactions */

static struct pending_producer *find_producer(const struct group_machine *machine, producer_id producer) {
    struct map_node *node = map_find(&machine->producers, hash_u64((uint64_t)producer), &producer);
    return node ? MAP_ITEM(node, struct pending_producer, by_producer) : NULL;
}

static void remove_pending(struct group_machine *machine, struct pending_offset *pending) {
    struct pending_producer *producer = pending->producer;
    list_remove(&pending->in_group);
    list_remove(&pending->in_producer);
    span_disown(machine->pool, &pending->topic);
    span_disown(machine->pool, &pending->value.metadata);
    pool_free(machine->pool, pending, sizeof *pending);
    if (!list_is_empty(&producer->offsets)) return;
    map_remove(&machine->producers, &producer->by_producer);
    pool_free(machine->pool, producer, sizeof *producer);
}

static bool is_unstable(const struct group *group, struct span topic, partition_index partition) {
    LIST_EACH(node, &group->unstable) {
        const struct pending_offset *pending = LIST_ITEM(node, struct pending_offset, in_group);
        if (pending->value.partition == partition && span_equal(pending->topic, topic)) return true;
    }
    return false;
}

static void remove_unstable(struct group_machine *machine, struct group *group, struct span topic, partition_index partition) {
    LIST_EACH_SAFE(node, &group->unstable) {
        struct pending_offset *pending = LIST_ITEM(node, struct pending_offset, in_group);
        if (!topic.data || (pending->value.partition == partition && span_equal(pending->topic, topic))) remove_pending(machine, pending);
    }
}

void offsets_clear(struct group_machine *machine, struct group *group) {
    MAP_EACH_SAFE(node, &group->topics) {
        struct committed_topic *topic = MAP_EACH_ITEM(node, struct committed_topic, by_name);
        for (uint32_t left = topic->partitions.count; left > 0; left--) /* the last one takes the topic with it */
            remove_committed(machine, group, topic, MAP_EACH_ITEM(topic->partitions.order.next, struct committed, by_partition));
    }
    map_destroy(&group->topics);
    remove_unstable(machine, group, span_of(NULL, 0), -1);
}

/* ---- Records in */

static bool set_value(struct group_machine *machine, struct committed *committed, const struct offset_commit_value *value, log_offset record) {
    if (!span_replace(machine->pool, &committed->metadata, value->metadata.data ? value->metadata : SPAN_LITERAL(""))) return false;
    committed->offset = value->offset;
    committed->leader_epoch = value->leader_epoch;
    committed->commit_ms = value->commit_timestamp;
    committed->expire_ms = value->expire_timestamp;
    committed->topic_id = value->topic_id;
    committed->record = record;
    return true;
}

static bool apply_pending(struct group_machine *machine, struct group *group, const struct offset_commit_key *key,
                          const struct offset_commit_value *value, producer_id id, log_offset record) {
    struct pending_producer *producer = find_producer(machine, id);
    if (!producer) {
        if (!(producer = POOL_NEW(machine->pool, struct pending_producer))) return false;
        producer->producer = id;
        list_init(&producer->offsets);
        if (!map_insert(&machine->producers, &producer->by_producer, hash_u64((uint64_t)id))) {
            pool_free(machine->pool, producer, sizeof *producer);
            return false;
        }
    }
    LIST_EACH(node, &producer->offsets) {
        struct pending_offset *pending = LIST_ITEM(node, struct pending_offset, in_producer);
        if (pending->group == group && pending->value.partition == key->partition && span_equal(pending->topic, key->topic))
            return set_value(machine, &pending->value, value, record);
    }
    struct pending_offset *pending = POOL_NEW(machine->pool, struct pending_offset);
    if (!pending) {
        if (list_is_empty(&producer->offsets)) {
            map_remove(&machine->producers, &producer->by_producer);
            pool_free(machine->pool, producer, sizeof *producer);
        }
        return false;
    }
    pending->group = group;
    pending->producer = producer;
    pending->value.partition = key->partition;
    list_push(&group->unstable, &pending->in_group);
    list_push(&producer->offsets, &pending->in_producer);
    if (span_own(machine->pool, key->topic, &pending->topic) && set_value(machine, &pending->value, value, record)) return true;
    remove_pending(machine, pending);
    return false;
}

static void apply_tombstone(struct group_machine *machine, const struct offset_commit_key *key) {
    struct group *group = group_find(machine, key->group);
    if (!group) return;
    struct committed_topic *topic = find_topic(group, key->topic);
    struct committed *committed = find_in_topic(topic, key->partition);
    if (committed) remove_committed(machine, group, topic, committed);
    remove_unstable(machine, group, key->topic, key->partition);
}

bool offsets_apply(struct group_machine *machine, const struct offset_commit_key *key, const struct offset_commit_value *value,
                   producer_id producer, log_offset record) {
    if (!value) {
        apply_tombstone(machine, key);
        return true;
    }
    struct group *group = group_find_or_new(machine, key->group);
    if (!group) return false;
    if (producer >= 0) return apply_pending(machine, group, key, value, producer, record);
    struct committed *committed = find_or_new(machine, group, key->topic, key->partition);
    return committed && set_value(machine, committed, value, record);
}

/* An offset that was committed outside of the transaction after it was written in it is the newer one, and stays. */
bool offsets_apply_marker(struct group_machine *machine, producer_id id, bool commit) {
    struct pending_producer *producer = find_producer(machine, id);
    if (!producer) return true;
    bool is_last;
    do { /* the last one takes the producer with it */
        struct pending_offset *pending = LIST_ITEM(producer->offsets.next, struct pending_offset, in_producer);
        const struct committed *value = &pending->value;
        is_last = pending->in_producer.next == &producer->offsets;
        if (commit) {
            struct committed *committed = find_or_new(machine, pending->group, pending->topic, value->partition);
            if (!committed) return false;
            struct offset_commit_value as_written = {.offset = value->offset, .leader_epoch = value->leader_epoch, .metadata = value->metadata,
                .commit_timestamp = value->commit_ms, .expire_timestamp = value->expire_ms, .topic_id = value->topic_id};
            if (committed->record < value->record && !set_value(machine, committed, &as_written, value->record)) return false;
        }
        remove_pending(machine, pending);
    } while (!is_last);
    return true;
}

/* ---- Commit */

/* As Java counts: UTF-16 units. */
static size_t utf16_units(struct span text) {
    size_t units = 0;
    for (size_t i = 0; i < text.size; i++) units += (text.data[i] & 0xc0) != 0x80 ? (text.data[i] >= 0xf0 ? 2 : 1) : 0;
    return units;
}

/* KAFKA_NONE: *group is where it goes, or NULL: the record will make it. */
static enum kafka_error validate_commit(struct group_machine *machine, struct span group_id, struct span member_id, struct span instance,
                                        int32_t generation, bool is_transactional, bool tells_missing, struct group **out) {
    struct group *group = *out = group_find(machine, group_id);
    if (!group) {
        if (generation >= 0) return tells_missing ? KAFKA_GROUP_ID_NOT_FOUND : KAFKA_ILLEGAL_GENERATION;
        bool is_full = machine->settings.groups_max && machine->groups.count >= machine->settings.groups_max;
        return is_full ? KAFKA_COORDINATOR_LOAD_IN_PROGRESS : KAFKA_NONE;
    }
    switch (group->kind) {
    case KIND_CLASSIC: return classic_validate_commit(group, member_id, instance, generation, is_transactional);
    case KIND_SHARE: return KAFKA_GROUP_ID_NOT_FOUND;
    default:
        /* Its members are not served: only tools may commit, and only while there are none. A transaction of an
         * administrator's kind is always let through. */
        if (generation < 0 && (group->foreign.count == 0 || (is_transactional && !member_id.size))) return KAFKA_NONE;
        return KAFKA_UNKNOWN_MEMBER_ID;
    }
}

static enum kafka_error record_commit(struct group_machine *machine, const struct group_now *now, struct group_effects *effects, struct span group_id,
                                      struct span topic, struct uuid topic_id, int64_t retention_ms,
                                      partition_index partition, log_offset offset, leader_epoch epoch, struct span metadata) {
    if (utf16_units(metadata) > (size_t)machine->settings.offset_metadata_bytes_max) return KAFKA_OFFSET_METADATA_TOO_LARGE;
    struct offset_commit_value value = {
        .offset = offset, .leader_epoch = epoch, .metadata = metadata.data ? metadata : SPAN_LITERAL(""),
        .commit_timestamp = now->wall_ms, .expire_timestamp = retention_ms >= 0 ? now->wall_ms + retention_ms : -1,
    };
    if (retention_ms < 0) value.topic_id = topic_id; /* the version that expires has no room for it */
    record_offset(effects, group_id, topic, partition, &value);
    return KAFKA_NONE;
}

static void member_is_alive(struct group_machine *machine, const struct group *group, struct span member_id, const struct group_now *now) {
    struct member *member = group && group->kind == KIND_CLASSIC ? member_find(group, member_id) : NULL;
    /* Whoever waits for a rebalance keeps the longer time that it was given. */
    if (member && !member->join && (group->state == GROUP_STABLE || group->state == GROUP_PREPARING)) classic_alive(machine, member, now);
}

void offsets_commit(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    const struct offset_commit_request *body = request->offset_commit;
    struct group *group;
    enum kafka_error error = validate_commit(machine, body->group_id, body->member_id, body->group_instance_id,
                                             body->generation_id_or_member_epoch, false, request->version >= 9, &group);
    if (!group_error_answer(request, error)) {
        complete_with(effects, request, NULL);
        return;
    }
    struct offset_commit_response *answer = request->answer.offset_commit;
    /* Who commits makes the group, whether or not an offset of it is taken; if none is, it is told of when the partition's
     * next record is there. Kafka reads what is committed, and this is how that looks. */
    if (!error && !group) {
        if (!(group = group_find_or_new(machine, body->group_id))) {
            complete_with(effects, request, NULL);
            return;
        }
        group->hidden_at = machine->batches;
    }
    for (int32_t i = 0; !error && i < body->topics_count; i++)
        for (int32_t j = 0; j < body->topics[i].partitions_count; j++) {
            const struct offset_commit_request_offset_commit_request_partition *at = &body->topics[i].partitions[j];
            answer->topics[i].partitions[j].error_code = (int16_t)record_commit(machine, now, effects, body->group_id, body->topics[i].name,
                body->topics[i].topic_id, body->retention_time_ms, at->partition_index, at->committed_offset, at->committed_leader_epoch, at->committed_metadata);
        }
    if (!error) member_is_alive(machine, group, body->member_id, now);
    complete(effects, request);
}

void offsets_txn_commit(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    const struct txn_offset_commit_request *body = request->txn_offset_commit;
    struct group *group;
    enum kafka_error error = validate_commit(machine, body->group_id, body->member_id, body->group_instance_id,
                                             body->generation_id_or_member_epoch, true, request->version >= 6, &group);
    if (!group_error_answer(request, error)) {
        complete_with(effects, request, NULL);
        return;
    }
    struct txn_offset_commit_response *answer = request->answer.txn_offset_commit;
    effects->producer_id = body->producer_id;
    effects->producer_epoch = body->producer_epoch;
    for (int32_t i = 0; !error && i < body->topics_count; i++)
        for (int32_t j = 0; j < body->topics[i].partitions_count; j++) {
            const struct txn_offset_commit_request_txn_offset_commit_request_partition *at = &body->topics[i].partitions[j];
            answer->topics[i].partitions[j].error_code = (int16_t)record_commit(machine, now, effects, body->group_id, body->topics[i].name,
                body->topics[i].topic_id, -1, at->partition_index, at->committed_offset, at->committed_leader_epoch, at->committed_metadata);
        }
    complete(effects, request);
}

/* ---- Fetch */

typedef struct offset_fetch_response_offset_fetch_response_partitions fetched_partition;
typedef struct offset_fetch_response_offset_fetch_response_topics fetched_topic;

/* Offsets of another topic that had this name do not count. */
static bool is_of_other_topic(const struct committed *committed, struct uuid topic_id) {
    return !uuid_is_zero(committed->topic_id) && !uuid_is_zero(topic_id) && !uuid_equal(committed->topic_id, topic_id);
}

static bool fill_partition(const struct group *group, const struct committed *committed, struct span topic, partition_index partition,
                           bool require_stable, struct arena *arena, fetched_partition *out) {
    out->partition_index = partition;
    out->committed_offset = -1;
    out->committed_leader_epoch = -1;
    out->metadata = SPAN_LITERAL("");
    if (require_stable && group && is_unstable(group, topic, partition)) {
        out->error_code = KAFKA_UNSTABLE_OFFSET_COMMIT;
        return true;
    }
    if (!committed) return true;
    out->committed_offset = committed->offset;
    out->committed_leader_epoch = committed->leader_epoch;
    return span_copy(arena, committed->metadata, &out->metadata);
}

static bool fetch_named(const struct group *group, const struct offset_fetch_request_offset_fetch_request_group *body, bool require_stable,
                        struct arena *arena, struct offset_fetch_response_offset_fetch_response_group *answer) {
    answer->topics = offset_fetch_response_offset_fetch_response_topics_array(arena, body->topics_count);
    if (!answer->topics) return false;
    for (int32_t i = 0; i < body->topics_count; i++) {
        const struct offset_fetch_request_offset_fetch_request_topics *asked = &body->topics[i];
        const struct committed_topic *topic = group ? find_topic(group, asked->name) : NULL;
        fetched_topic *out = &answer->topics[answer->topics_count++];
        out->name = asked->name;
        out->topic_id = asked->topic_id;
        out->partitions = offset_fetch_response_offset_fetch_response_partitions_array(arena, asked->partition_indexes_count);
        if (!out->partitions) return false;
        for (int32_t j = 0; j < asked->partition_indexes_count; j++) {
            const struct committed *committed = find_in_topic(topic, asked->partition_indexes[j]);
            if (committed && is_of_other_topic(committed, asked->topic_id)) committed = NULL;
            if (!fill_partition(group, committed, asked->name, asked->partition_indexes[j], require_stable, arena, &out->partitions[out->partitions_count++])) return false;
        }
    }
    return true;
}

static bool fetch_all(const struct group *group, bool require_stable, struct arena *arena, struct offset_fetch_response_offset_fetch_response_group *answer) {
    answer->topics = offset_fetch_response_offset_fetch_response_topics_array(arena, group ? (int32_t)group->topics.count : 0);
    if (!answer->topics) return false;
    for (struct list *node = group ? group->topics.order.next : NULL; group && node != &group->topics.order; node = node->next) {
        const struct committed_topic *topic = MAP_EACH_ITEM(node, struct committed_topic, by_name);
        fetched_topic *out = &answer->topics[answer->topics_count++];
        out->partitions = offset_fetch_response_offset_fetch_response_partitions_array(arena, (int32_t)topic->partitions.count);
        if (!out->partitions || !span_copy(arena, topic->name, &out->name)) return false;
        MAP_EACH(item, &topic->partitions) {
            const struct committed *committed = MAP_EACH_ITEM(item, struct committed, by_partition);
            if (uuid_is_zero(out->topic_id)) out->topic_id = committed->topic_id;
            if (!fill_partition(group, committed, topic->name, committed->partition, require_stable, arena, &out->partitions[out->partitions_count++])) return false;
        }
    }
    return true;
}

void offsets_fetch(struct group_machine *machine, struct group_request *request, struct group_effects *effects) {
    const struct offset_fetch_request_offset_fetch_request_group *body = request->offset_fetch.group;
    const struct group *group = group_find(machine, body->group_id);
    struct arena *arena = request->arena;
    struct offset_fetch_response_offset_fetch_response_group *answer = ARENA_NEW(arena, struct offset_fetch_response_offset_fetch_response_group);
    if (answer) {
        offset_fetch_response_offset_fetch_response_group_init(answer);
        answer->group_id = body->group_id;
        bool stable = request->offset_fetch.require_stable;
        bool whole = body->topics_count < 0 ? fetch_all(group, stable, arena, answer) : fetch_named(group, body, stable, arena, answer);
        if (!whole) answer = NULL;
    }
    complete_with(effects, request, answer);
}

/* ---- Delete */

void offsets_tombstones(struct group *group, struct group_effects *effects) {
    MAP_EACH(node, &group->topics) {
        const struct committed_topic *topic = MAP_EACH_ITEM(node, struct committed_topic, by_name);
        MAP_EACH(item, &topic->partitions)
            record_offset(effects, group->id, topic->name, MAP_EACH_ITEM(item, struct committed, by_partition)->partition, NULL);
    }
    LIST_EACH(node, &group->unstable) {
        const struct pending_offset *pending = LIST_ITEM(node, struct pending_offset, in_group);
        if (!find_in_topic(find_topic(group, pending->topic), pending->value.partition))
            record_offset(effects, group->id, pending->topic, pending->value.partition, NULL);
    }
}

static enum kafka_error validate_delete(const struct group *group) {
    if (!group) return KAFKA_GROUP_ID_NOT_FOUND;
    if (group->kind == KIND_SHARE) return KAFKA_GROUP_ID_NOT_FOUND;
    if (group->kind != KIND_CLASSIC) return group->foreign.count ? KAFKA_NON_EMPTY_GROUP : KAFKA_NONE;
    /* Of members that speak another protocol nobody knows what they read. */
    return group->state != GROUP_EMPTY && !group_uses_consumer_protocol(group) ? KAFKA_NON_EMPTY_GROUP : KAFKA_NONE;
}

void offsets_delete(struct group_machine *machine, struct group_request *request, struct group_effects *effects) {
    const struct offset_delete_request *body = request->offset_delete;
    struct group *group = group_find(machine, body->group_id);
    enum kafka_error error = validate_delete(group);
    if (error) {
        complete_error(effects, request, error);
        return;
    }
    struct arena *arena = request->arena;
    struct offset_delete_response *answer = ARENA_NEW(arena, struct offset_delete_response);
    if (!answer) goto no_memory;
    offset_delete_response_init(answer);
    if (!(answer->topics = offset_delete_response_offset_delete_response_topic_array(arena, body->topics_count))) goto no_memory;
    for (int32_t i = 0; i < body->topics_count; i++) {
        struct offset_delete_response_offset_delete_response_topic *out = &answer->topics[answer->topics_count++];
        const struct committed_topic *topic = find_topic(group, body->topics[i].name);
        bool is_subscribed = group_is_subscribed(machine, group, body->topics[i].name);
        out->name = body->topics[i].name;
        if (!(out->partitions = offset_delete_response_offset_delete_response_partition_array(arena, body->topics[i].partitions_count))) goto no_memory;
        for (int32_t j = 0; j < body->topics[i].partitions_count; j++) {
            partition_index partition = body->topics[i].partitions[j].partition_index;
            out->partitions_count++;
            out->partitions[j].partition_index = partition;
            out->partitions[j].error_code = is_subscribed ? KAFKA_GROUP_SUBSCRIBED_TO_TOPIC : KAFKA_NONE;
            if (!is_subscribed && (find_in_topic(topic, partition) || is_unstable(group, body->topics[i].name, partition)))
                record_offset(effects, group->id, body->topics[i].name, partition, NULL);
        }
    }
    complete_with(effects, request, answer);
    return;
no_memory:
    effects->count = 0;
    complete_with(effects, request, NULL);
}

void offsets_topic_deleted(struct group_machine *machine, struct group_request *request, struct group_effects *effects) {
    MAP_EACH(node, &machine->groups) {
        const struct group *group = MAP_EACH_ITEM(node, struct group, by_id);
        const struct committed_topic *topic = find_topic(group, request->topic.name);
        for (struct list *item = topic ? topic->partitions.order.next : NULL; topic && item != &topic->partitions.order; item = item->next) {
            const struct committed *committed = MAP_EACH_ITEM(item, struct committed, by_partition);
            if (!is_of_other_topic(committed, request->topic.id)) record_offset(effects, group->id, topic->name, committed->partition, NULL);
        }
    }
    complete(effects, request);
}

/* ---- Expiry */

/* From when an offset's retention counts; false: not while the group is as it is. */
static bool retention_begins(const struct group *group, const struct committed *committed, time_ms *out) {
    *out = committed->commit_ms;
    if (group->kind != KIND_CLASSIC) return group->foreign.count == 0;
    if (!group->protocol_type.data) return true;            /* consumers that assign themselves */
    if (group->state == GROUP_EMPTY) {
        if (group->state_ms >= 0) *out = group->state_ms;   /* since the last member went */
        return true;
    }
    return group->state == GROUP_STABLE && group_uses_consumer_protocol(group);
}

bool offsets_expire(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    bool all = list_is_empty(&group->unstable);
    MAP_EACH(node, &group->topics) {
        const struct committed_topic *topic = MAP_EACH_ITEM(node, struct committed_topic, by_name);
        if (group->kind == KIND_CLASSIC && group->state != GROUP_EMPTY && group_is_subscribed(machine, group, topic->name)) {
            all = false;
            continue;
        }
        MAP_EACH(item, &topic->partitions) {
            const struct committed *committed = MAP_EACH_ITEM(item, struct committed, by_partition);
            time_ms since;
            bool expired = retention_begins(group, committed, &since) && !is_unstable(group, topic->name, committed->partition) &&
                (committed->expire_ms >= 0 ? now->wall_ms >= committed->expire_ms : since <= now->wall_ms - machine->settings.offsets_retention_ms);
            if (expired) record_offset(effects, group->id, topic->name, committed->partition, NULL);
            else all = false;
        }
    }
    return all;
}

/* ---- To look at */

static void text_committed(struct text *out, const char *word, struct span topic, const struct committed *committed) {
    text_add(out, "  %s ", word);
    text_add_span(out, topic);
    text_add(out, "-%d %lld epoch %d at %lld expires %lld \"", committed->partition, (long long)committed->offset, committed->leader_epoch,
             (long long)committed->commit_ms, (long long)committed->expire_ms);
    text_add_span(out, committed->metadata);
    char id[UUID_TEXT_BYTES + 1];
    uuid_text(committed->topic_id, id);
    text_add(out, "\" %s\n", id);
}

void offsets_text(const struct group *group, struct text *out) {
    MAP_EACH(node, &group->topics) {
        const struct committed_topic *topic = MAP_EACH_ITEM(node, struct committed_topic, by_name);
        MAP_EACH(item, &topic->partitions) text_committed(out, "offset", topic->name, MAP_EACH_ITEM(item, struct committed, by_partition));
    }
    LIST_EACH(node, &group->unstable) {
        const struct pending_offset *pending = LIST_ITEM(node, struct pending_offset, in_group);
        text_committed(out, "pending", pending->topic, &pending->value);
    }
}
