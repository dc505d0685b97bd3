/* Joins and syncs: how they are answered, and how they wait in their member until they can be. */
#include "group/state.h"

/* ---- Answers */

static struct join_group_response *join_answer(struct group_request *request, enum kafka_error error, struct span member_id) {
    struct join_group_response *answer = ARENA_NEW(request->arena, struct join_group_response);
    if (!answer) return NULL;
    join_group_response_init(answer);
    answer->error_code = (int16_t)error;
    answer->protocol_name = (struct span){0}; /* null where the version has it, until there is one */
    return span_copy(request->arena, member_id, &answer->member_id) ? answer : NULL;
}

void refuse_join(struct group_effects *effects, struct group_request *request, enum kafka_error error, struct span member_id) {
    complete_with(effects, request, join_answer(request, error, member_id));
}

static bool add_members(const struct group *group, struct arena *arena, struct join_group_response *answer) {
    answer->members = join_group_response_join_group_response_member_array(arena, (int32_t)group->members.count);
    if (!answer->members) return false;
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        struct join_group_response_join_group_response_member *out = &answer->members[answer->members_count++];
        if (!span_copy(arena, member->id, &out->member_id) || !span_copy(arena, member->instance, &out->group_instance_id) ||
            !span_copy(arena, member_metadata(member, group->protocol), &out->metadata)) return false;
    }
    return true;
}

void tell_generation(struct group_effects *effects, struct group_request *request, const struct group *group,
                     struct span member_id, struct span leader, bool with_members, bool skip_assignment) {
    struct arena *arena = request->arena;
    struct join_group_response *answer = join_answer(request, KAFKA_NONE, member_id);
    if (answer) {
        answer->generation_id = group->generation;
        answer->skip_assignment = skip_assignment;
        if (!span_copy(arena, group->protocol_type, &answer->protocol_type) || !span_copy(arena, group->protocol, &answer->protocol_name) ||
            !span_copy(arena, leader, &answer->leader) || (with_members && !add_members(group, arena, answer))) answer = NULL;
    }
    complete_with(effects, request, answer);
}

bool member_is_leader(const struct group *group, const struct member *member) {
    return group->leader.data && span_equal(group->leader, member->id);
}

void refuse_sync(struct group_effects *effects, struct group_request *request, enum kafka_error error) {
    struct sync_group_response *answer = ARENA_NEW(request->arena, struct sync_group_response);
    if (answer) {
        sync_group_response_init(answer);
        answer->error_code = (int16_t)error;
    }
    complete_with(effects, request, answer);
}

void tell_assignment(struct group_effects *effects, struct group_request *request, const struct group *group, const struct member *member) {
    struct sync_group_response *answer = ARENA_NEW(request->arena, struct sync_group_response);
    if (answer) {
        sync_group_response_init(answer);
        if (!span_copy(request->arena, group->protocol_type, &answer->protocol_type) ||
            !span_copy(request->arena, group->protocol, &answer->protocol_name) ||
            !span_copy(request->arena, member->assignment, &answer->assignment)) answer = NULL;
    }
    complete_with(effects, request, answer);
}

/* ---- Parking */

struct group_request *take_join(struct member *member) {
    struct group_request *request = member->join;
    member->join = NULL;
    if (request) {
        request->parked = NULL;
        member->group->joining--;
    }
    return request;
}

struct group_request *take_sync(struct member *member) {
    struct group_request *request = member->sync;
    member->sync = NULL;
    if (request) request->parked = NULL;
    return request;
}

void fail_parked(struct group_effects *effects, struct member *member, enum kafka_error error, struct span member_id) {
    struct group_request *request = take_join(member);
    if (request) refuse_join(effects, request, error, member_id);
    if ((request = take_sync(member))) refuse_sync(effects, request, error);
}

void park_join(struct group_effects *effects, struct member *member, struct group_request *request) {
    struct group_request *older = take_join(member);
    if (older) refuse_join(effects, older, KAFKA_REBALANCE_IN_PROGRESS, member->id);
    request->parked = member;
    member->join = request;
    member->group->joining++;
}

void park_sync(struct group_effects *effects, struct member *member, struct group_request *request) {
    struct group_request *older = take_sync(member);
    if (older) refuse_sync(effects, older, KAFKA_REBALANCE_IN_PROGRESS);
    request->parked = member;
    member->sync = request;
}
