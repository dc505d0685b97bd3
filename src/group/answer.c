/* Answers to clients, and records for the log. */
#include "group/state.h"

/* ---- Completion */

void complete(struct group_effects *effects, struct group_request *request) {
    assert(!request->parked);
    list_push(&effects->completed, &request->node);
}

void complete_with(struct group_effects *effects, struct group_request *request, void *answer) {
    request->answer.any = answer;
    if (!answer) request->error = KAFKA_UNKNOWN_SERVER_ERROR;
    complete(effects, request);
}

void complete_error(struct group_effects *effects, struct group_request *request, enum kafka_error error) {
    if (!group_error_answer(request, error)) request->error = error;
    complete(effects, request);
}

/* An empty span that is not null stays that. */
bool span_copy(struct arena *arena, struct span source, struct span *out) {
    if (!source.data || source.size == 0) {
        *out = source.data ? SPAN_LITERAL("") : source;
        return true;
    }
    *out = span_of(arena_copy(arena, source.data, source.size), source.size);
    return out->data != NULL;
}

/* ---- Errors */

static bool commit_error(struct group_request *request, enum kafka_error error) {
    const struct offset_commit_request *body = request->offset_commit;
    struct arena *arena = request->arena;
    struct offset_commit_response *answer = ARENA_NEW(arena, struct offset_commit_response);
    if (!answer) return false;
    offset_commit_response_init(answer);
    answer->topics = offset_commit_response_offset_commit_response_topic_array(arena, body->topics_count);
    if (!answer->topics) return false;
    for (int32_t i = 0; i < body->topics_count; i++) {
        struct offset_commit_response_offset_commit_response_topic *topic = &answer->topics[answer->topics_count++];
        topic->name = body->topics[i].name;
        topic->topic_id = body->topics[i].topic_id;
        topic->partitions = offset_commit_response_offset_commit_response_partition_array(arena, body->topics[i].partitions_count);
        if (!topic->partitions) return false;
        for (int32_t j = 0; j < body->topics[i].partitions_count; j++) {
            topic->partitions[j].partition_index = body->topics[i].partitions[j].partition_index;
            topic->partitions[j].error_code = (int16_t)error;
            topic->partitions_count++;
        }
    }
    request->answer.offset_commit = answer;
    return true;
}

static bool txn_commit_error(struct group_request *request, enum kafka_error error) {
    const struct txn_offset_commit_request *body = request->txn_offset_commit;
    struct arena *arena = request->arena;
    struct txn_offset_commit_response *answer = ARENA_NEW(arena, struct txn_offset_commit_response);
    if (!answer) return false;
    txn_offset_commit_response_init(answer);
    answer->topics = txn_offset_commit_response_txn_offset_commit_response_topic_array(arena, body->topics_count);
    if (!answer->topics) return false;
    for (int32_t i = 0; i < body->topics_count; i++) {
        struct txn_offset_commit_response_txn_offset_commit_response_topic *topic = &answer->topics[answer->topics_count++];
        topic->name = body->topics[i].name;
        topic->topic_id = body->topics[i].topic_id;
        topic->partitions = txn_offset_commit_response_txn_offset_commit_response_partition_array(arena, body->topics[i].partitions_count);
        if (!topic->partitions) return false;
        for (int32_t j = 0; j < body->topics[i].partitions_count; j++) {
            topic->partitions[j].partition_index = body->topics[i].partitions[j].partition_index;
            topic->partitions[j].error_code = (int16_t)error;
            topic->partitions_count++;
        }
    }
    request->answer.txn_offset_commit = answer;
    return true;
}

/* Version 1 has no error for the group: it stands at each partition. */
static bool fetch_error(struct group_request *request, enum kafka_error error) {
    const struct offset_fetch_request_offset_fetch_request_group *body = request->offset_fetch.group;
    struct arena *arena = request->arena;
    struct offset_fetch_response_offset_fetch_response_group *answer = ARENA_NEW(arena, struct offset_fetch_response_offset_fetch_response_group);
    if (!answer) return false;
    offset_fetch_response_offset_fetch_response_group_init(answer);
    answer->group_id = body->group_id;
    answer->error_code = (int16_t)error;
    int32_t topics = request->version < 2 && body->topics_count > 0 ? body->topics_count : 0;
    answer->topics = offset_fetch_response_offset_fetch_response_topics_array(arena, topics);
    if (!answer->topics) return false;
    for (int32_t i = 0; i < topics; i++) {
        struct offset_fetch_response_offset_fetch_response_topics *topic = &answer->topics[answer->topics_count++];
        topic->name = body->topics[i].name;
        topic->topic_id = body->topics[i].topic_id;
        topic->partitions = offset_fetch_response_offset_fetch_response_partitions_array(arena, body->topics[i].partition_indexes_count);
        if (!topic->partitions) return false;
        for (int32_t j = 0; j < body->topics[i].partition_indexes_count; j++) {
            topic->partitions[j].partition_index = body->topics[i].partition_indexes[j];
            topic->partitions[j].committed_offset = -1;
            topic->partitions[j].metadata = SPAN_LITERAL("");
            topic->partitions[j].error_code = (int16_t)error;
            topic->partitions_count++;
        }
    }
    request->answer.offset_fetch = answer;
    return true;
}

#define NEW_ANSWER(request, member, name)                                \
    ((request)->answer.member = ARENA_NEW((request)->arena, struct name), \
     (request)->answer.member ? (name##_init((request)->answer.member), true) : false)

bool group_error_answer(struct group_request *request, enum kafka_error error) {
    int16_t code = (int16_t)error;
    request->answer.any = NULL;
    switch (request->type) {
    case GROUP_JOIN:
        if (!NEW_ANSWER(request, join, join_group_response)) return false;
        request->answer.join->error_code = code;
        request->answer.join->protocol_name = (struct span){0}; /* null where the version has it */
        request->answer.join->member_id = request->join->member_id;
        return true;
    case GROUP_SYNC:
        if (!NEW_ANSWER(request, sync, sync_group_response)) return false;
        request->answer.sync->error_code = code;
        return true;
    case GROUP_HEARTBEAT:
        if (!NEW_ANSWER(request, heartbeat, heartbeat_response)) return false;
        /* While loading nobody's session runs: a member need not know. */
        request->answer.heartbeat->error_code = error == KAFKA_COORDINATOR_LOAD_IN_PROGRESS ? KAFKA_NONE : code;
        return true;
    case GROUP_LEAVE:
        if (!NEW_ANSWER(request, leave, leave_group_response)) return false;
        request->answer.leave->error_code = code;
        return true;
    case GROUP_OFFSET_COMMIT: return commit_error(request, error);
    case GROUP_TXN_OFFSET_COMMIT: return txn_commit_error(request, error);
    case GROUP_OFFSET_FETCH: return fetch_error(request, error);
    case GROUP_OFFSET_DELETE:
        if (!NEW_ANSWER(request, offset_delete, offset_delete_response)) return false;
        request->answer.offset_delete->error_code = code;
        return true;
    case GROUP_LIST:
        if (!NEW_ANSWER(request, list, list_groups_response)) return false;
        request->answer.list->error_code = code;
        return true;
    case GROUP_DESCRIBE:
        if (!NEW_ANSWER(request, describe, describe_groups_response_described_group)) return false;
        request->answer.describe->error_code = code;
        request->answer.describe->group_id = request->group_id;
        return true;
    case GROUP_DELETE:
        if (!NEW_ANSWER(request, deleted, delete_groups_response_deletable_group_result)) return false;
        request->answer.deleted->error_code = code;
        request->answer.deleted->group_id = request->group_id;
        return true;
    case GROUP_END_TXN:
    case GROUP_TOPIC_DELETED:
        request->error = error;
        return true;
    case GROUP_REQUEST_TYPES:
        break;
    }
    never("no such request");
}

/* ---- Records */

void group_effects_init(struct group_effects *effects, struct arena *arena) {
    *effects = (struct group_effects){.arena = arena, .producer_id = -1, .producer_epoch = -1};
    list_init(&effects->completed);
}

void record_add(struct group_effects *effects, struct span key, struct span value) {
    if (effects->failed) return;
    if (!key.data) {
        effects->failed = true;
        return;
    }
    if (effects->count == effects->capacity) {
        uint32_t capacity = effects->capacity ? effects->capacity * 2 : 8;
        struct group_record *records = ARENA_ARRAY(effects->arena, capacity, struct group_record);
        if (!records) {
            effects->failed = true;
            return;
        }
        if (effects->count) memcpy(records, effects->records, effects->count * sizeof *records);
        effects->records = records;
        effects->capacity = capacity;
    }
    effects->records[effects->count++] = (struct group_record){key, value};
}

/* The versions are those that Kafka 4.4 writes. */
enum { GROUP_METADATA_VERSION = 3, OFFSET_COMMIT_VERSION = 4, OFFSET_COMMIT_VERSION_EXPIRES = 1 };

static void add_with_value(struct group_effects *effects, struct span key, const struct wire_message *message, int16_t version, const void *value) {
    struct span bytes = {0};
    if (value) {
        bytes = wire_coordinator_value_frame(message, version, value, effects->arena);
        if (!bytes.data) effects->failed = true;
    }
    record_add(effects, key, bytes);
}

void record_group(struct group_effects *effects, struct span group_id, const struct group_metadata_value *value) {
    struct group_metadata_key key = {.group = group_id};
    add_with_value(effects, wire_coordinator_key_frame(&group_metadata_key_message, &key, effects->arena),
                   &group_metadata_value_message, GROUP_METADATA_VERSION, value);
}

void record_offset(struct group_effects *effects, struct span group_id, struct span topic, partition_index partition,
                   const struct offset_commit_value *value) {
    struct offset_commit_key key = {.group = group_id, .topic = topic, .partition = partition};
    int16_t version = value && value->expire_timestamp >= 0 ? OFFSET_COMMIT_VERSION_EXPIRES : OFFSET_COMMIT_VERSION;
    add_with_value(effects, wire_coordinator_key_frame(&offset_commit_key_message, &key, effects->arena),
                   &offset_commit_value_message, version, value);
}

/* ---- ListGroups, DescribeGroups */

static struct span kind_name(const struct group *group) {
    switch (group->kind) {
    case KIND_CLASSIC: return SPAN_LITERAL("classic");
    case KIND_CONSUMER: return SPAN_LITERAL("consumer");
    case KIND_SHARE: return SPAN_LITERAL("share");
    case KIND_STREAMS: return SPAN_LITERAL("streams");
    }
    never("no such kind");
}

static uint8_t lower(uint8_t letter) { return letter >= 'A' && letter <= 'Z' ? (uint8_t)(letter + 32) : letter; }

static bool is_listed(const struct span *filter, int32_t count, struct span name) {
    for (int32_t i = 0; i < count; i++) {
        size_t at = 0;
        while (filter[i].size == name.size && at < name.size && lower(filter[i].data[at]) == lower(name.data[at])) at++;
        if (at == name.size && filter[i].size == name.size) return true;
    }
    return count <= 0;
}

void group_list(struct group_machine *machine, struct group_request *request, struct group_effects *effects) {
    const struct list_groups_request *body = request->list;
    struct list_groups_response *answer = ARENA_NEW(request->arena, struct list_groups_response);
    if (!answer) goto done;
    list_groups_response_init(answer);
    answer->groups = list_groups_response_listed_group_array(request->arena, (int32_t)machine->groups.count);
    if (!answer->groups) answer = NULL;
    for (struct list *node = machine->groups.order.next; answer && node != &machine->groups.order; node = node->next) {
        const struct group *group = MAP_EACH_ITEM(node, struct group, by_id);
        if (group->hidden_at == machine->batches) continue;
        struct span state = span_text(group_state_name(group)), kind = kind_name(group);
        if (!is_listed(body->states_filter, body->states_filter_count, state) || !is_listed(body->types_filter, body->types_filter_count, kind)) continue;
        struct list_groups_response_listed_group *out = &answer->groups[answer->groups_count++];
        out->group_state = state;
        out->group_type = kind;
        struct span type = group->kind == KIND_CLASSIC ? group->protocol_type : kind;
        if (!span_copy(request->arena, group->id, &out->group_id) || !span_copy(request->arena, type, &out->protocol_type)) answer = NULL;
    }
done:
    complete_with(effects, request, answer);
}

static bool describe_members(const struct group *group, struct arena *arena, struct describe_groups_response_described_group *answer) {
    answer->members = describe_groups_response_described_group_member_array(arena, (int32_t)group->members.count);
    if (!answer->members) return false;
    bool stable = group->state == GROUP_STABLE; /* else no protocol is agreed on, and the assignments are those of before */
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        struct describe_groups_response_described_group_member *out = &answer->members[answer->members_count++];
        if (!span_copy(arena, member->id, &out->member_id) || !span_copy(arena, member->instance, &out->group_instance_id) ||
            !span_copy(arena, member->client_id, &out->client_id) || !span_copy(arena, member->client_host, &out->client_host)) return false;
        if (!span_copy(arena, member->assignment, &out->member_assignment)) return false;
        if (stable && !span_copy(arena, member_metadata(member, group->protocol), &out->member_metadata)) return false;
    }
    return true;
}

static bool describe_missing(struct group_request *request, const struct group *group, struct describe_groups_response_described_group *answer) {
    static const char before[] = "Group ";
    const char *after = group ? " is not a classic group." : " not found."; /* as Apache Kafka says it: tools look at it */
    answer->group_state = SPAN_LITERAL("Dead");
    if (request->version < 6) return true;
    answer->error_code = KAFKA_GROUP_ID_NOT_FOUND;
    size_t size = sizeof before - 1 + strlen(after) + request->group_id.size;
    char *bytes = arena_alloc(request->arena, size + 1);
    if (!bytes) return false;
    struct text text;
    text_init(&text, bytes, size + 1);
    text_add_bytes(&text, before, sizeof before - 1);
    text_add_span(&text, request->group_id);
    text_add_bytes(&text, after, strlen(after));
    answer->error_message = span_of(bytes, size);
    return true;
}

void group_describe(struct group_machine *machine, struct group_request *request, struct group_effects *effects) {
    const struct group *group = group_find_shown(machine, request->group_id);
    struct arena *arena = request->arena;
    struct describe_groups_response_described_group *answer = ARENA_NEW(arena, struct describe_groups_response_described_group);
    if (answer) {
        describe_groups_response_described_group_init(answer);
        answer->group_id = request->group_id;
        bool whole;
        if (!group || group->kind != KIND_CLASSIC) {
            whole = describe_missing(request, group, answer);
        } else {
            answer->group_state = span_text(group_state_name(group));
            whole = span_copy(arena, group->protocol_type, &answer->protocol_type) && describe_members(group, arena, answer) &&
                (group->state != GROUP_STABLE || span_copy(arena, group->protocol, &answer->protocol_data));
        }
        if (!whole) answer = NULL;
    }
    complete_with(effects, request, answer);
}
