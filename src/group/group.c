/* The door: which kind of request, groups by name, deadlines, and records into the state. */
#include "group/state.h"

/* ---- Owned bytes */

bool span_own(struct pool *pool, struct span source, struct span *out) {
    *out = source.data ? SPAN_LITERAL("") : span_of(NULL, 0); /* an empty one needs no memory */
    if (!source.data || source.size == 0) return true;
    uint8_t *bytes = pool_alloc(pool, source.size);
    if (!bytes) {
        *out = span_of(NULL, 0);
        return false;
    }
    memcpy(bytes, source.data, source.size);
    *out = span_of(bytes, source.size);
    return true;
}

void span_disown(struct pool *pool, struct span *span) {
    if (span->size) pool_free(pool, (void *)(uintptr_t)span->data, span->size);
    *span = span_of(NULL, 0);
}

bool span_replace(struct pool *pool, struct span *own, struct span with) {
    struct span copy;
    if (!span_own(pool, with, &copy)) return false;
    span_disown(pool, own);
    *own = copy;
    return true;
}

bool span_is_key(struct span own, const void *key) {
    return span_equal(own, *(const struct span *)key);
}

/* ---- Deadlines */

bool deadline_add(struct group_machine *machine, struct deadline *deadline, enum deadline_kind kind) {
    deadline->kind = kind;
    return heap_insert(&machine->deadlines, &deadline->node, INT64_MAX);
}

void deadline_set(struct group_machine *machine, struct deadline *deadline, time_ms at) {
    heap_remove(&machine->deadlines, &deadline->node);
    bool has_room = heap_insert(&machine->deadlines, &deadline->node, at);
    assert(has_room); /* it was in there until now */
}

void deadline_remove(struct group_machine *machine, struct deadline *deadline) {
    heap_remove(&machine->deadlines, &deadline->node);
}

time_ms group_next_deadline(const struct group_machine *machine) {
    return heap_first(&machine->deadlines)->key;
}

/* ---- Groups */

static bool group_is_id(const struct map_node *node, const void *key) { return span_is_key(MAP_ITEM(node, struct group, by_id)->id, key); }
static bool producer_is_id(const struct map_node *node, const void *key) { return MAP_ITEM(node, struct pending_producer, by_producer)->producer == *(const producer_id *)key; }

struct group *group_find(const struct group_machine *machine, struct span id) {
    struct map_node *node = map_find(&machine->groups, hash_bytes(id.data, id.size), &id);
    return node ? MAP_ITEM(node, struct group, by_id) : NULL;
}

struct group *group_find_shown(const struct group_machine *machine, struct span id) {
    struct group *group = group_find(machine, id);
    return group && group->hidden_at != machine->batches ? group : NULL;
}

static void group_free(struct group_machine *machine, struct group *group) {
    members_destroy(machine, group);
    offsets_clear(machine, group);
    deadline_remove(machine, &group->join_deadline);
    deadline_remove(machine, &group->sync_deadline);
    span_disown(machine->pool, &group->id);
    span_disown(machine->pool, &group->protocol_type);
    span_disown(machine->pool, &group->protocol);
    span_disown(machine->pool, &group->leader);
    pool_free(machine->pool, group, sizeof *group);
}

struct group *group_find_or_new(struct group_machine *machine, struct span id) {
    struct group *group = group_find(machine, id);
    if (group) return group;
    if (!(group = POOL_NEW(machine->pool, struct group))) return NULL;
    group->state_ms = -1;
    members_init(machine, group);
    offsets_init(machine, group);
    if (!deadline_add(machine, &group->join_deadline, DEADLINE_JOIN)) goto fail;
    if (!deadline_add(machine, &group->sync_deadline, DEADLINE_SYNC)) goto fail;
    if (!span_own(machine->pool, id, &group->id)) goto fail;
    if (!map_insert(&machine->groups, &group->by_id, hash_bytes(id.data, id.size))) goto fail;
    return group;
fail:
    group_free(machine, group);
    return NULL;
}

void group_remove(struct group_machine *machine, struct group *group) {
    if (machine->sweep_at == group) {
        struct list *next = group->by_id.order.next;
        machine->sweep_at = next == &machine->groups.order ? NULL : MAP_EACH_ITEM(next, struct group, by_id);
    }
    map_remove(&machine->groups, &group->by_id);
    group_free(machine, group);
}

bool group_is_empty(const struct group *group) {
    switch (group->kind) {
    case KIND_CLASSIC: return group->state == GROUP_EMPTY;
    case KIND_CONSUMER: return group->foreign.count == 0;
    default: return false; /* they are ended where they are served: they have state elsewhere, too */
    }
}

/* The states of groups whose members are assigned by the coordinator, as their records tell them. */
static const char *foreign_state_name(const struct group *group) {
    if (group->foreign.count == 0) return "Empty";
    if (group->kind == KIND_SHARE) return "Stable";
    if (group->epoch > group->assigned_epoch) return "Assigning";
    MAP_EACH(node, &group->foreign) {
        const struct foreign_member *member = MAP_EACH_ITEM(node, struct foreign_member, by_id);
        if (!member->is_settled || member->epoch != group->assigned_epoch) return "Reconciling";
    }
    return "Stable";
}

const char *group_state_name(const struct group *group) {
    if (group->kind != KIND_CLASSIC) return foreign_state_name(group);
    switch (group->state) {
    case GROUP_EMPTY: return "Empty";
    case GROUP_PREPARING: return "PreparingRebalance";
    case GROUP_COMPLETING: return "CompletingRebalance";
    case GROUP_STABLE: return "Stable";
    }
    never("no such state");
}

void group_tombstones(struct group *group, struct group_effects *effects) {
    assert(group_is_empty(group));
    if (group->kind == KIND_CLASSIC) {
        record_group(effects, group->id, NULL);
        return;
    }
    struct consumer_group_target_assignment_metadata_key target = {.group_id = group->id};
    struct consumer_group_metadata_key metadata = {.group_id = group->id};
    record_add(effects, wire_coordinator_key_frame(&consumer_group_target_assignment_metadata_key_message, &target, effects->arena), span_of(NULL, 0));
    record_add(effects, wire_coordinator_key_frame(&consumer_group_metadata_key_message, &metadata, effects->arena), span_of(NULL, 0));
}

/* ---- The machine */

struct group_settings group_settings_default(void) {
    return (struct group_settings){
        .session_timeout_ms_min = 6000, .session_timeout_ms_max = 1800000, .initial_rebalance_delay_ms = 3000,
        .size_max = INT32_MAX, .new_member_join_timeout_ms = 300000, .offset_metadata_bytes_max = 4096,
        .offsets_retention_ms = INT64_C(10080) * 60 * 1000, .offsets_check_interval_ms = 600000,
    };
}

struct group_machine *group_machine_new(struct pool *pool, const struct group_settings *settings) {
    struct group_machine *machine = POOL_NEW(pool, struct group_machine);
    if (!machine) return NULL;
    machine->pool = pool;
    machine->settings = *settings;
    machine->batches = 1;
    arena_init(&machine->scratch, pool, 0);
    map_init(&machine->groups, pool, 0, group_is_id);
    map_init(&machine->producers, pool, 0, producer_is_id);
    heap_init(&machine->deadlines, pool);
    if (!deadline_add(machine, &machine->sweep, DEADLINE_SWEEP)) {
        pool_free(pool, machine, sizeof *machine);
        return NULL;
    }
    return machine;
}

void group_machine_free(struct group_machine *machine) {
    if (!machine) return;
    group_reset(machine);
    deadline_remove(machine, &machine->sweep);
    map_destroy(&machine->groups);
    map_destroy(&machine->producers);
    heap_destroy(&machine->deadlines);
    arena_destroy(&machine->scratch);
    pool_free(machine->pool, machine, sizeof *machine);
}

void group_machine_settings(struct group_machine *machine, const struct group_settings *settings) {
    machine->settings = *settings;
}

void group_reset(struct group_machine *machine) {
    machine->intent.kind = INTENT_NONE;
    machine->sweep_at = NULL;
    deadline_set(machine, &machine->sweep, INT64_MAX);
    MAP_EACH_SAFE(node, &machine->groups) group_remove(machine, MAP_EACH_ITEM(node, struct group, by_id));
    assert(machine->producers.count == 0);
    machine->unreadable = 0;
}

/* ---- Decisions */

static void delete_group(struct group_machine *machine, struct group_request *request, struct group_effects *effects) {
    struct group *group = group_find(machine, request->group_id);
    enum kafka_error error = !group ? KAFKA_GROUP_ID_NOT_FOUND : !group_is_empty(group) ? KAFKA_NON_EMPTY_GROUP : KAFKA_NONE;
    if (!error) {
        offsets_tombstones(group, effects);
        group_tombstones(group, effects);
    }
    complete_error(effects, request, error);
}

static void end_txn(struct group_machine *machine, struct group_request *request, struct group_effects *effects) {
    effects->producer_id = request->end_txn.producer;
    effects->producer_epoch = request->end_txn.epoch;
    effects->coordinator_epoch = request->end_txn.coordinator_epoch;
    effects->marker = request->end_txn.commit ? GROUP_MARKER_COMMIT : GROUP_MARKER_ABORT;
    complete(effects, request);
}

/* A decision that has no memory for its records is as one that the log refused, before it is asked. */
static void give_up(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    effects->count = 0;
    classic_refused(machine, now, KAFKA_COORDINATOR_LOAD_IN_PROGRESS, effects);
    machine->intent.kind = INTENT_NONE;
}

void group_decide(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    assert(machine->intent.kind == INTENT_NONE);
    request->error = KAFKA_NONE;
    request->answer.any = NULL;
    request->parked = NULL;
    switch (request->type) {
    case GROUP_JOIN: classic_join(machine, request, now, effects); break;
    case GROUP_SYNC: classic_sync(machine, request, now, effects); break;
    case GROUP_HEARTBEAT: classic_heartbeat(machine, request, now, effects); break;
    case GROUP_LEAVE: classic_leave(machine, request, now, effects); break;
    case GROUP_OFFSET_COMMIT: offsets_commit(machine, request, now, effects); break;
    case GROUP_TXN_OFFSET_COMMIT: offsets_txn_commit(machine, request, now, effects); break;
    case GROUP_OFFSET_FETCH: offsets_fetch(machine, request, effects); break;
    case GROUP_OFFSET_DELETE: offsets_delete(machine, request, effects); break;
    case GROUP_LIST: group_list(machine, request, effects); break;
    case GROUP_DESCRIBE: group_describe(machine, request, effects); break;
    case GROUP_DELETE: delete_group(machine, request, effects); break;
    case GROUP_END_TXN: end_txn(machine, request, effects); break;
    case GROUP_TOPIC_DELETED: offsets_topic_deleted(machine, request, effects); break;
    case GROUP_REQUEST_TYPES: never("no such request");
    }
    if (effects->failed) give_up(machine, now, effects);
}

/* Looks at some groups; stops at the first that has something to be written. */
static void sweep(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    if (!machine->sweep_at && machine->groups.count)
        machine->sweep_at = MAP_EACH_ITEM(machine->groups.order.next, struct group, by_id);
    for (int i = 0; i < GROUP_SWEEP_STEP && machine->sweep_at && !effects->count; i++) {
        struct group *group = machine->sweep_at;
        struct list *next = group->by_id.order.next;
        machine->sweep_at = next == &machine->groups.order ? NULL : MAP_EACH_ITEM(next, struct group, by_id);
        if (offsets_expire(machine, group, now, effects) && group_is_empty(group) && group->pendings.count == 0) group_tombstones(group, effects);
    }
    deadline_set(machine, &machine->sweep, machine->sweep_at ? now->now_ms : now->now_ms + machine->settings.offsets_check_interval_ms);
}

void group_tick(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    assert(machine->intent.kind == INTENT_NONE);
    struct heap_node *node = heap_first(&machine->deadlines);
    if (node->key > now->now_ms) return;
    struct deadline *deadline = container_of(node, struct deadline, node);
    deadline_set(machine, deadline, INT64_MAX);
    if (deadline->kind == DEADLINE_SWEEP) sweep(machine, now, effects);
    else classic_deadline(machine, deadline, now, effects);
    if (effects->failed) give_up(machine, now, effects);
}

void group_applied(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    uint32_t count = effects->count;
    enum intent_kind intent = machine->intent.kind;
    classic_applied(machine, now, effects);
    assert(machine->intent.kind == intent && effects->count == count); /* no new decision here */
    machine->intent.kind = INTENT_NONE;
}

void group_refused(struct group_machine *machine, const struct group_now *now, enum kafka_error log_error, struct group_effects *effects) {
    uint32_t count = effects->count;
    enum intent_kind intent = machine->intent.kind;
    classic_refused(machine, now, log_error, effects);
    assert(machine->intent.kind == intent && effects->count == count);
    machine->intent.kind = INTENT_NONE;
}

void group_loaded(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    MAP_EACH(node, &machine->groups) classic_loaded(machine, MAP_EACH_ITEM(node, struct group, by_id), now);
    deadline_set(machine, &machine->sweep, now->now_ms + machine->settings.offsets_check_interval_ms);
}

/* ---- Records in */

/* A group without members, offsets and a record of its own is none. */
static void remove_when_nothing(struct group_machine *machine, struct group *group) {
    if (!offsets_count(group) && list_is_empty(&group->unstable)) group_remove(machine, group);
}

static void forget_members(struct group_machine *machine, struct group *group) {
    members_clear(machine, group);
    group->state = group->previous = GROUP_EMPTY;
    group->generation = 0;
    group->state_ms = -1;
    group->differs = false;
    span_disown(machine->pool, &group->protocol_type);
    span_disown(machine->pool, &group->protocol);
    span_disown(machine->pool, &group->leader);
    deadline_set(machine, &group->join_deadline, INT64_MAX);
    deadline_set(machine, &group->sync_deadline, INT64_MAX);
}

/* Who changes a group's kind ends the former group first; a log in which that is missing is read as if it stood there. */
static void turn_into(struct group_machine *machine, struct group *group, enum group_kind kind) {
    if (group->kind != kind) forget_members(machine, group);
    group->kind = kind;
}

static bool apply_group(struct group_machine *machine, const struct group_metadata_key *key, const struct group_metadata_value *value, bool live) {
    if (value) {
        struct group *group = group_find_or_new(machine, key->group);
        return group && group_apply_value(machine, group, value, live);
    }
    struct group *group = group_find(machine, key->group);
    if (!group || group->kind != KIND_CLASSIC) return true;
    forget_members(machine, group);
    remove_when_nothing(machine, group);
    return true;
}

/* A record that says that there is a group of a kind that is not served, or (no value) that there is none any longer. */
static bool apply_foreign(struct group_machine *machine, enum group_kind kind, struct span group_id, bool is_there) {
    struct group *group = is_there ? group_find_or_new(machine, group_id) : group_find(machine, group_id);
    if (is_there) {
        if (group) turn_into(machine, group, kind);
        return group;
    }
    if (!group || group->kind != kind) return true;
    members_clear(machine, group);
    group->kind = KIND_CLASSIC;
    remove_when_nothing(machine, group);
    return true;
}

/* Members come before their group in the log: the group is of that kind from then on. */
static bool apply_foreign_member(struct group_machine *machine, enum group_kind kind, struct span group_id, struct span member_id, bool is_there) {
    struct group *group = is_there ? group_find_or_new(machine, group_id) : group_find(machine, group_id);
    if (!group) return !is_there;
    if (is_there) turn_into(machine, group, kind);
    if (group->kind != kind) return true;
    uint64_t hash = hash_bytes(member_id.data, member_id.size);
    struct map_node *node = map_find(&group->foreign, hash, &member_id);
    if (is_there == (node != NULL)) return true;
    if (is_there) {
        struct foreign_member *member = POOL_NEW(machine->pool, struct foreign_member);
        if (!member) return false;
        if (span_own(machine->pool, member_id, &member->id) && map_insert(&group->foreign, &member->by_id, hash)) return true;
        span_disown(machine->pool, &member->id);
        pool_free(machine->pool, member, sizeof *member);
        return false;
    }
    struct foreign_member *member = MAP_ITEM(node, struct foreign_member, by_id);
    map_remove(&group->foreign, node);
    span_disown(machine->pool, &member->id);
    pool_free(machine->pool, member, sizeof *member);
    return true;
}

/* Types of keys, as in the topic. */
enum record_type {
    RECORD_LEGACY_OFFSET = 0, RECORD_OFFSET = 1, RECORD_GROUP = 2, RECORD_CONSUMER_GROUP = 3, RECORD_CONSUMER_MEMBER = 5,
    RECORD_CONSUMER_TARGET = 6, RECORD_CONSUMER_CURRENT = 8, RECORD_SHARE_MEMBER = 10, RECORD_SHARE_GROUP = 11, RECORD_STREAMS_GROUP = 17,
    RECORD_STREAMS_MEMBER = 19, RECORD_STREAMS_TARGET = 20, RECORD_STREAMS_CURRENT = 22,
};
/* What a member's current assignment says of its state when it has all of it. */
enum { CONSUMER_MEMBER_STABLE = 0, STREAMS_MEMBER_STABLE = 1 };

struct decoded {
    enum record_type type;
    union {
        struct offset_commit_key offset;
        struct group_metadata_key group;
        struct { struct span group, member; } any; /* every other key begins with its group; a member's with both */
    } key;
    union {
        struct offset_commit_value offset;
        struct group_metadata_value group;
    } value;
    int32_t epoch;      /* of a group, its assignment or a member; -1: not told */
    bool is_there, is_settled;
};
static_assert(offsetof(struct consumer_group_current_member_assignment_key, member_id) == sizeof(struct span), "group id, then member id");
static_assert(offsetof(struct streams_group_current_member_assignment_key, member_id) == sizeof(struct span), "group id, then member id");
static_assert(offsetof(struct consumer_group_member_metadata_key, member_id) == sizeof(struct span), "group id, then member id");
static_assert(offsetof(struct share_group_member_metadata_key, member_id) == sizeof(struct span), "group id, then member id");
static_assert(offsetof(struct streams_group_member_metadata_key, member_id) == sizeof(struct span), "group id, then member id");

static void from_legacy(const struct legacy_offset_commit_value *old, struct offset_commit_value *out) {
    offset_commit_value_init(out);
    out->offset = old->offset;
    out->metadata = old->metadata;
    out->commit_timestamp = old->commit_timestamp;
}

/* Of groups that are not served only the epochs matter; a value that cannot be read leaves them as they are. */
static enum err decode_foreign(struct group_machine *machine, const struct group_record *record, struct decoded *out) {
    union {
        struct consumer_group_metadata_value consumer;
        struct streams_group_metadata_value streams;
        struct consumer_group_target_assignment_metadata_value consumer_target;
        struct streams_group_target_assignment_metadata_value streams_target;
        struct consumer_group_current_member_assignment_value consumer_current;
        struct streams_group_current_member_assignment_value streams_current;
    } value;
    struct wire_framed framed;
    switch (out->type) {
    case RECORD_CONSUMER_GROUP: case RECORD_STREAMS_GROUP: case RECORD_CONSUMER_TARGET: case RECORD_STREAMS_TARGET: case RECORD_CONSUMER_CURRENT:
    case RECORD_STREAMS_CURRENT: break;
    default: return ERR_NONE;
    }
    enum err err = wire_coordinator_value_open(WIRE_LOG_GROUP, out->type, record->value, &framed);
    if (!err) err = wire_framed_decode(&framed, &value, &machine->scratch);
    if (err) return err == ERR_NO_MEMORY ? err : ERR_NONE;
    switch (out->type) {
    case RECORD_CONSUMER_GROUP: out->epoch = value.consumer.epoch; break;
    case RECORD_STREAMS_GROUP: out->epoch = value.streams.epoch; break;
    case RECORD_CONSUMER_TARGET: out->epoch = value.consumer_target.assignment_epoch; break;
    case RECORD_STREAMS_TARGET: out->epoch = value.streams_target.assignment_epoch; break;
    case RECORD_CONSUMER_CURRENT:
        out->epoch = value.consumer_current.member_epoch;
        out->is_settled = value.consumer_current.state == CONSUMER_MEMBER_STABLE;
        break;
    case RECORD_STREAMS_CURRENT:
        out->epoch = value.streams_current.member_epoch;
        out->is_settled = value.streams_current.state == STREAMS_MEMBER_STABLE;
        break;
    default: break;
    }
    return ERR_NONE;
}

/* ERR_UNSUPPORTED: of a version that we do not know, ERR_NOT_FOUND: of a kind that says nothing to us. */
static enum err decode(struct group_machine *machine, const struct group_record *record, struct decoded *out) {
    struct arena *arena = &machine->scratch;
    struct wire_framed framed;
    if (!record->key.data) return ERR_CORRUPT;
    enum err err = wire_coordinator_key_open(WIRE_LOG_GROUP, record->key, &framed);
    if (err) return err == ERR_UNSUPPORTED ? ERR_NOT_FOUND : err; /* a kind that only a newer version has */
    out->type = (enum record_type)load_be16(record->key.data);
    out->is_there = record->value.data != NULL;
    out->epoch = -1;
    out->is_settled = false;
    union {
        struct legacy_offset_commit_key legacy;
        struct consumer_group_member_metadata_key consumer;
        struct share_group_member_metadata_key share;
        struct streams_group_member_metadata_key streams;
        struct consumer_group_metadata_key consumer_group;
        struct share_group_metadata_key share_group;
        struct streams_group_metadata_key streams_group;
        struct consumer_group_target_assignment_metadata_key consumer_target;
        struct streams_group_target_assignment_metadata_key streams_target;
        struct consumer_group_current_member_assignment_key consumer_current;
        struct streams_group_current_member_assignment_key streams_current;
    } key;
    struct legacy_offset_commit_value legacy;
    void *key_out = &key, *value_out = NULL;
    switch (out->type) {
    case RECORD_LEGACY_OFFSET: value_out = &legacy; break;
    case RECORD_OFFSET: key_out = &out->key.offset; value_out = &out->value.offset; break;
    case RECORD_GROUP: key_out = &out->key.group; value_out = &out->value.group; break;
    case RECORD_CONSUMER_GROUP: case RECORD_CONSUMER_MEMBER: case RECORD_SHARE_GROUP: case RECORD_SHARE_MEMBER:
    case RECORD_STREAMS_GROUP: case RECORD_STREAMS_MEMBER: case RECORD_CONSUMER_TARGET: case RECORD_CONSUMER_CURRENT: case RECORD_STREAMS_TARGET:
    case RECORD_STREAMS_CURRENT: break;
    default: return ERR_NOT_FOUND;
    }
    if ((err = wire_framed_decode(&framed, key_out, arena))) return err;
    if (out->is_there && value_out) {
        if ((err = wire_coordinator_value_open(WIRE_LOG_GROUP, out->type, record->value, &framed))) return err;
        if ((err = wire_framed_decode(&framed, value_out, arena))) return err;
    }
    if (out->is_there && !value_out && (err = decode_foreign(machine, record, out))) return err;
    switch (out->type) {
    case RECORD_LEGACY_OFFSET:
        out->key.offset = (struct offset_commit_key){key.legacy.group, key.legacy.topic, key.legacy.partition};
        if (out->is_there) from_legacy(&legacy, &out->value.offset);
        out->type = RECORD_OFFSET;
        break;
    case RECORD_CONSUMER_MEMBER: case RECORD_SHARE_MEMBER: case RECORD_STREAMS_MEMBER: case RECORD_CONSUMER_CURRENT: case RECORD_STREAMS_CURRENT:
        out->key.any.member = key.consumer.member_id;
        out->key.any.group = key.consumer.group_id;
        break;
    case RECORD_CONSUMER_GROUP: case RECORD_SHARE_GROUP: case RECORD_STREAMS_GROUP: case RECORD_CONSUMER_TARGET: case RECORD_STREAMS_TARGET:
        out->key.any.group = key.consumer_group.group_id;
        break;
    default: break;
    }
    return ERR_NONE;
}

/* How far a group that is not served has come: of one that is there. */
static void apply_foreign_epoch(struct group_machine *machine, const struct decoded *record) {
    if (!record->is_there || record->epoch < 0) return;
    struct group *group = group_find(machine, record->key.any.group);
    if (!group || group->kind == KIND_CLASSIC) return;
    switch (record->type) {
    case RECORD_CONSUMER_GROUP: case RECORD_STREAMS_GROUP: group->epoch = record->epoch; return;
    case RECORD_CONSUMER_TARGET: case RECORD_STREAMS_TARGET: group->assigned_epoch = record->epoch; return;
    default: break;
    }
    struct span id = record->key.any.member;
    struct map_node *node = map_find(&group->foreign, hash_bytes(id.data, id.size), &id);
    if (!node) return;
    struct foreign_member *member = MAP_ITEM(node, struct foreign_member, by_id);
    member->epoch = record->epoch;
    member->is_settled = record->is_settled;
}

static bool apply_record(struct group_machine *machine, const struct decoded *record, producer_id producer, log_offset offset, bool live) {
    switch (record->type) {
    case RECORD_OFFSET: return offsets_apply(machine, &record->key.offset, record->is_there ? &record->value.offset : NULL, producer, offset);
    case RECORD_GROUP: return apply_group(machine, &record->key.group, record->is_there ? &record->value.group : NULL, live);
    case RECORD_CONSUMER_GROUP: return apply_foreign(machine, KIND_CONSUMER, record->key.any.group, record->is_there);
    case RECORD_SHARE_GROUP: return apply_foreign(machine, KIND_SHARE, record->key.any.group, record->is_there);
    case RECORD_STREAMS_GROUP: return apply_foreign(machine, KIND_STREAMS, record->key.any.group, record->is_there);
    case RECORD_CONSUMER_MEMBER: return apply_foreign_member(machine, KIND_CONSUMER, record->key.any.group, record->key.any.member, record->is_there);
    case RECORD_SHARE_MEMBER: return apply_foreign_member(machine, KIND_SHARE, record->key.any.group, record->key.any.member, record->is_there);
    case RECORD_STREAMS_MEMBER: return apply_foreign_member(machine, KIND_STREAMS, record->key.any.group, record->key.any.member, record->is_there);
    case RECORD_CONSUMER_TARGET: case RECORD_CONSUMER_CURRENT: case RECORD_STREAMS_TARGET: case RECORD_STREAMS_CURRENT: return true;
    default: never("decoded only what is applied");
    }
}

bool group_apply(struct group_machine *machine, const struct group_batch *batch, log_offset base, bool live) {
    machine->batches++;
    if (batch->marker != GROUP_MARKER_NONE) return offsets_apply_marker(machine, batch->producer_id, batch->marker == GROUP_MARKER_COMMIT);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct decoded record;
        arena_reset(&machine->scratch);
        enum err err = decode(machine, &batch->records[i], &record);
        if (err == ERR_NO_MEMORY) return false;
        if (err) {
            if (err != ERR_NOT_FOUND && machine->unreadable++ == 0) machine->unreadable_at = base;
            continue;
        }
        if (!apply_record(machine, &record, batch->producer_id, base + i, live)) return false;
        apply_foreign_epoch(machine, &record);
    }
    return true;
}

/* ---- To look at */

uint32_t group_count(const struct group_machine *machine) { return machine->groups.count; }

static void visit_offsets(const struct group *group, const struct group_view *view, const struct group_visitor *visitor) {
    MAP_EACH(node, &group->topics) {
        const struct committed_topic *topic = MAP_EACH_ITEM(node, struct committed_topic, by_name);
        MAP_EACH(at, &topic->partitions) {
            const struct committed *committed = MAP_EACH_ITEM(at, struct committed, by_partition);
            visitor->offset(visitor->context, view, topic->name, committed->topic_id, committed->partition, committed->offset);
        }
    }
}

void group_visit(const struct group_machine *machine, uint32_t max, const struct group_visitor *visitor) {
    static const char *const protocols[] = {[KIND_CLASSIC] = "classic", [KIND_CONSUMER] = "consumer", [KIND_SHARE] = "share", [KIND_STREAMS] = "streams"};
    uint32_t seen = 0;
    MAP_EACH(node, &machine->groups) {
        const struct group *group = MAP_EACH_ITEM(node, struct group, by_id);
        struct group_view view = {.id = group->id, .protocol = protocols[group->kind], .state = group_state_name(group),
                                  .members = group->kind == KIND_CLASSIC ? group->members.count : group->foreign.count};
        if (seen++ == max) return;
        if (visitor->group(visitor->context, &view)) visit_offsets(group, &view, visitor);
    }
}
uint64_t group_unreadable_records(const struct group_machine *machine) { return machine->unreadable; }

log_offset group_unreadable_at(const struct group_machine *machine) { return machine->unreadable ? machine->unreadable_at : -1; }

partition_index group_partition(struct span group_id, int32_t partitions) {
    assert(partitions > 0);
    int32_t hash = java_string_hash(group_id);
    return (hash == INT32_MIN ? 0 : hash < 0 ? -hash : hash) % partitions;
}

static void check_group(const struct group *group) {
    uint32_t joining = 0, syncs_pending = 0, instances = 0;
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        assert(member->group == group);
        assert(implies(member->join, member->join->parked == member));
        assert(implies(member->sync, member->sync->parked == member));
        assert(!(member->join && member->sync));
        assert(!pending_find(group, member->id));
        assert(implies(member->join, group->state == GROUP_PREPARING));
        assert(implies(member->sync, group->state == GROUP_COMPLETING));
        joining += member->join != NULL;
        syncs_pending += member->sync_pending;
        instances += member->instance.data != NULL;
    }
    assert(joining == group->joining);
    assert(instances == group->instances.count);
    assert(implies(group->state == GROUP_COMPLETING || group->state == GROUP_STABLE, syncs_pending == group->syncs_pending));
    assert(implies(group->state == GROUP_EMPTY, group->members.count == 0));
    assert(implies(group->state == GROUP_COMPLETING || group->state == GROUP_STABLE, group->members.count > 0));
    assert(implies(group->state == GROUP_STABLE || group->state == GROUP_COMPLETING, group->protocol.data));
    assert(implies(group->state == GROUP_PREPARING, group->join_deadline.node.key != INT64_MAX));
    assert(implies(group->state == GROUP_COMPLETING, group->sync_deadline.node.key != INT64_MAX));
    assert(implies(group->kind != KIND_CLASSIC, group->members.count == 0));
    assert(group->generation >= 0);
}

void group_check(const struct group_machine *machine) {
    assert(machine->intent.kind == INTENT_NONE);
    MAP_EACH(node, &machine->groups) check_group(MAP_EACH_ITEM(node, struct group, by_id));
}

static void add_span(struct text *out, struct span span) {
    if (span.data) text_add_span(out, span);
    else text_add(out, "-");
}

void group_text(const struct group_machine *machine, struct span group_id, struct text *out) {
    const struct group *group = group_find(machine, group_id);
    text_add_span(out, group_id);
    if (!group) {
        text_add(out, " does not exist");
        return;
    }
    text_add(out, " %s generation %d protocol ", group_state_name(group), group->generation);
    add_span(out, group->protocol);
    text_add(out, " members [");
    const char *between = "";
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        text_add(out, "%s", between);
        text_add_span(out, member->id);
        if (group->leader.data && span_equal(group->leader, member->id)) text_add(out, " leads");
        if (member->instance.data) { text_add(out, " as "); text_add_span(out, member->instance); }
        if (member->join) text_add(out, " joins");
        if (member->sync) text_add(out, " syncs");
        if (member->assignment.size) { text_add(out, " has "); text_add_span(out, member->assignment); }
        between = ", ";
    }
    text_add(out, "]");
    if (group->pendings.count) text_add(out, " pending %u", group->pendings.count);
}

void group_text_persistent(const struct group_machine *machine, struct text *out) {
    MAP_EACH(node, &machine->groups) {
        const struct group *group = MAP_EACH_ITEM(node, struct group, by_id);
        text_add_span(out, group->id);
        if (group->kind != KIND_CLASSIC) {
            text_add(out, " of another kind %d members %u\n", group->kind, group->foreign.count);
        } else if (group->differs || group->state == GROUP_PREPARING || group->state == GROUP_COMPLETING) {
            text_add(out, " in memory only\n");
        } else {
            text_add(out, " %s %d ", group_state_name(group), group->generation);
            add_span(out, group->protocol_type);
            text_add(out, " ");
            add_span(out, group->protocol);
            text_add(out, " ");
            add_span(out, group->leader);
            text_add(out, " %lld", (long long)group->state_ms);
            MAP_EACH(item, &group->members) {
                const struct member *member = MAP_EACH_ITEM(item, struct member, by_id);
                text_add(out, " (");
                text_add_span(out, member->id);
                text_add(out, " ");
                add_span(out, member->instance);
                text_add(out, " %d %d ", member->session_timeout_ms, member->rebalance_timeout_ms);
                text_add_span(out, member->client_id);
                text_add_span(out, member->client_host);
                text_add(out, " ");
                text_add_span(out, member_metadata(member, group->protocol));
                text_add(out, " ");
                text_add_span(out, member->assignment);
                text_add(out, ")");
            }
            text_add(out, "\n");
        }
        offsets_text(group, out);
    }
}
