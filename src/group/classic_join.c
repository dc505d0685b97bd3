/* JoinGroup: who may join, under which id, and what a member that comes again means for the others. The joins themselves wait
 * in their members (parked.c); when the phase ends is classic.c's. */
#include "group/state.h"

/* "prefix-" and a random UUID in its hexadecimal form. */
static bool make_member_id(const struct group_request *request, const struct group_now *now, struct span *out) {
    static const char hex[] = "0123456789abcdef";
    struct span prefix = request->join->group_instance_id.data ? request->join->group_instance_id : request->client_id;
    uint8_t *bytes = arena_alloc(request->arena, prefix.size + 37), *at = bytes;
    if (!bytes) return false;
    if (prefix.size) memcpy(at, prefix.data, prefix.size);
    at += prefix.size;
    *at++ = '-';
    struct uuid id = uuid_random(now->random);
    for (size_t i = 0; i < sizeof id.bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
        *at++ = (uint8_t)hex[id.bytes[i] >> 4];
        *at++ = (uint8_t)hex[id.bytes[i] & 15];
    }
    *out = span_of(bytes, (size_t)(at - bytes));
    return true;
}

/* A full group takes those that it has, and no others. While it prepares, those count who wait: so the last ones to come
 * back are left out when the bound was lowered. */
static bool has_room(const struct group_machine *machine, const struct group *group, struct span member_id) {
    uint32_t size_max = (uint32_t)machine->settings.size_max;
    const struct member *member = member_find(group, member_id);
    switch (group->state) {
    case GROUP_EMPTY: return true;
    case GROUP_PREPARING: return (member && member->join) || group->joining < size_max;
    default: return member || group->members.count < size_max;
    }
}

static void add_member(struct group_machine *machine, struct group *group, struct group_request *request, struct span id,
                       const struct group_now *now, struct group_effects *effects) {
    const struct join_group_request *join = request->join;
    bool was_empty = group->members.count == 0;
    struct member *member = member_new(machine, group, id, join->group_instance_id, request->client_id, request->client_host);
    if (!member || !member_set_protocols(machine, member, join) ||
        (was_empty && !span_replace(machine->pool, &group->protocol_type, join->protocol_type)) ||
        (!group->leader.data && !span_replace(machine->pool, &group->leader, id))) {
        if (member) member_remove(machine, member);
        complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    struct pending_member *pending = pending_find(group, id);
    if (pending) pending_remove(machine, pending);
    member->is_new = true;
    if (group->state == GROUP_PREPARING && group->initial_delay) group->new_member_added = true;
    park_join(effects, member, request);
    /* It knows no id yet, so it cannot send heartbeats; and one that gives up and comes again is another member. */
    deadline_set(machine, &member->session, now->now_ms + machine->settings.new_member_join_timeout_ms);
    classic_rebalance_or_go_on(machine, group, now, effects);
}

static void update_member(struct group_machine *machine, struct member *member, struct group_request *request,
                          const struct group_now *now, struct group_effects *effects) {
    if (!member_set_protocols(machine, member, request->join)) {
        complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    park_join(effects, member, request);
    classic_rebalance_or_go_on(machine, member->group, now, effects);
}

/* What the next generation's protocol would be with this member's new list. */
static bool keeps_protocol(const struct group *group, const struct member *member, const struct join_group_request *join) {
    struct member_protocol changed[GROUP_PROTOCOLS_MAX];
    for (int32_t i = 0; i < join->protocols_count; i++)
        changed[i] = (struct member_protocol){join->protocols[i].name, join->protocols[i].metadata.data ? join->protocols[i].metadata : SPAN_LITERAL("")};
    struct member *own = (struct member *)(uintptr_t)member; /* as it was again before anybody looks */
    struct member_protocol *protocols = own->protocols;
    uint32_t count = own->protocol_count;
    own->protocols = changed;
    own->protocol_count = (uint32_t)join->protocols_count;
    struct span vote = group_vote(group);
    bool keeps = vote.data && group->protocol.data && span_equal(vote, group->protocol);
    own->protocols = protocols;
    own->protocol_count = count;
    return keeps;
}

/* A static member is back under a new id, as after a restart: whoever still uses the old one is fenced. */
static void replace_member(struct group_machine *machine, struct member *member, struct group_request *request, struct span new_id,
                           const struct group_now *now, struct group_effects *effects) {
    struct group *group = member->group;
    if (group->state == GROUP_STABLE && keeps_protocol(group, member, request->join)) {
        /* Nothing changes for the others: its new id is written, and no rebalance is needed. */
        struct member_protocol protocol = {0};
        for (int32_t i = 0; i < request->join->protocols_count; i++)
            if (span_equal(request->join->protocols[i].name, group->protocol)) protocol.metadata = request->join->protocols[i].metadata;
        struct assignment_of with = {.replaced = member, .new_id = new_id};
        struct group_metadata_value *value = group_value(group, group->generation, group->state_ms, &with, effects->arena);
        if (!value) {
            effects->failed = true;
            return;
        }
        struct group_metadata_value_member_metadata *own = &value->members[member->index];
        own->subscription = protocol.metadata.data ? protocol.metadata : SPAN_LITERAL("");
        own->session_timeout = request->join->session_timeout_ms;
        own->rebalance_timeout = request->join->rebalance_timeout_ms >= 0 ? request->join->rebalance_timeout_ms : request->join->session_timeout_ms;
        machine->intent.kind = INTENT_REPLACE;
        machine->intent.group = group;
        machine->intent.member = member;
        machine->intent.request = request;
        machine->intent.new_id = new_id;
        record_group(effects, group->id, value);
        return;
    }
    fail_parked(effects, member, KAFKA_FENCED_INSTANCE_ID, member->id);
    if (!member_rename(machine, member, new_id) || !member_set_protocols(machine, member, request->join)) {
        complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    park_join(effects, member, request);
    classic_alive(machine, member, now);
    classic_rebalance_or_go_on(machine, group, now, effects);
}

static void join_new(struct group_machine *machine, struct group *group, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    const struct join_group_request *join = request->join;
    struct span id;
    if (!group_supports(group, join)) {
        refuse_join(effects, request, KAFKA_INCONSISTENT_GROUP_PROTOCOL, SPAN_LITERAL(""));
        return;
    }
    if (!make_member_id(request, now, &id)) {
        complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    if (join->group_instance_id.data) {
        struct member *holder = member_find_instance(group, join->group_instance_id);
        if (holder) replace_member(machine, holder, request, id, now, effects);
        else add_member(machine, group, request, id, now, effects);
    } else if (request->version >= 4) {
        /* The id goes out first, so that a client whose answer is lost does not leave a member behind each time. */
        struct pending_member *pending = pending_new(machine, group, id);
        if (!pending) {
            complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
            return;
        }
        deadline_set(machine, &pending->deadline, now->now_ms + join->session_timeout_ms);
        refuse_join(effects, request, KAFKA_MEMBER_ID_REQUIRED, id);
    } else {
        add_member(machine, group, request, id, now, effects);
    }
}

static void join_existing(struct group_machine *machine, struct group *group, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    const struct join_group_request *join = request->join;
    if (!group_supports(group, join)) {
        refuse_join(effects, request, KAFKA_INCONSISTENT_GROUP_PROTOCOL, join->member_id);
        return;
    }
    if (pending_find(group, join->member_id)) {
        /* Ids that were given out this way are never static members'. */
        if (join->group_instance_id.data) refuse_join(effects, request, KAFKA_UNKNOWN_SERVER_ERROR, join->member_id);
        else add_member(machine, group, request, join->member_id, now, effects);
        return;
    }
    enum kafka_error error = classic_validate(group, join->member_id, join->group_instance_id);
    if (error) {
        refuse_join(effects, request, error, join->member_id);
        return;
    }
    struct member *member = member_find(group, join->member_id);
    bool same = member_matches(member, join), leads = member_is_leader(group, member);
    switch (group->state) {
    case GROUP_PREPARING:
        update_member(machine, member, request, now, effects);
        break;
    case GROUP_COMPLETING:
        /* Perhaps the first answer was lost: the same member gets the same again. */
        if (same) tell_generation(effects, request, group, member->id, group->leader, leads, false);
        else update_member(machine, member, request, now, effects);
        break;
    case GROUP_STABLE:
        /* A leader that joins again wants to assign anew: it knows of changes that no metadata show. */
        if (same && !leads) tell_generation(effects, request, group, member->id, group->leader, false, false);
        else update_member(machine, member, request, now, effects);
        break;
    case GROUP_EMPTY:
        refuse_join(effects, request, KAFKA_UNKNOWN_MEMBER_ID, join->member_id);
        break;
    }
}

void classic_join_on(struct group_machine *machine, struct group *group, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    struct span member_id = request->join->member_id;
    if (!has_room(machine, group, member_id)) {
        /* A member that is left out now is not waited for. */
        struct member *member = member_find(group, member_id);
        struct pending_member *pending = pending_find(group, member_id);
        if (pending) pending_remove(machine, pending);
        if (member) {
            fail_parked(effects, member, KAFKA_UNKNOWN_MEMBER_ID, SPAN_LITERAL(""));
            member_remove(machine, member);
        }
        refuse_join(effects, request, KAFKA_GROUP_MAX_SIZE_REACHED, SPAN_LITERAL(""));
        classic_join_phase_maybe_end(machine, group, now, effects);
    } else if (member_id.size == 0) {
        join_new(machine, group, request, now, effects);
    } else {
        join_existing(machine, group, request, now, effects);
    }
}

void classic_join(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    const struct join_group_request *join = request->join;
    const struct group_settings *settings = &machine->settings;
    struct group *group = group_find(machine, join->group_id);
    enum kafka_error error = KAFKA_NONE;
    if (join->group_id.size == 0) error = KAFKA_INVALID_GROUP_ID;
    else if (join->session_timeout_ms < settings->session_timeout_ms_min || join->session_timeout_ms > settings->session_timeout_ms_max) error = KAFKA_INVALID_SESSION_TIMEOUT;
    else if (group && group->kind != KIND_CLASSIC && !(group->kind == KIND_CONSUMER && group_is_empty(group))) error = KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    else if ((!group || group->kind != KIND_CLASSIC) && join->member_id.size) error = KAFKA_UNKNOWN_MEMBER_ID;
    else if (join->protocols_count > GROUP_PROTOCOLS_MAX) error = KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    if (error) {
        refuse_join(effects, request, error, join->member_id);
        return;
    }
    if (group && group->kind == KIND_CLASSIC) {
        classic_join_on(machine, group, request, now, effects);
        return;
    }
    if (!group && settings->groups_max && machine->groups.count >= settings->groups_max) {
        complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    /* The group is written before anybody is in it; the request goes on when that is done. An empty group of the newer
     * protocol gives way to it. */
    if (group) group_tombstones(group, effects);
    struct group_metadata_value *value = ARENA_NEW(effects->arena, struct group_metadata_value);
    if (!value) {
        effects->failed = true;
        return;
    }
    group_metadata_value_init(value);
    value->protocol = value->leader = span_of(NULL, 0);
    value->current_state_timestamp = now->wall_ms;
    machine->intent.kind = INTENT_JOIN_NEW;
    machine->intent.request = request;
    record_group(effects, join->group_id, value);
}

void classic_replaced(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    struct group *group = machine->intent.group;
    struct member *member = machine->intent.member;
    struct group_request *request = machine->intent.request;
    /* The record has made the new id the leader's already. */
    struct span leader = span_equal(group->leader, machine->intent.new_id) ? member->id : group->leader, old_leader = {0};
    bool whole = span_copy(request->arena, leader, &old_leader);
    fail_parked(effects, member, KAFKA_FENCED_INSTANCE_ID, member->id);
    whole = member_rename(machine, member, machine->intent.new_id) && member_set_protocols(machine, member, request->join) && whole;
    if (!whole) {
        /* The log knows the new id and we do not: the next record of the group mends that. */
        group->differs = true;
        complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    classic_alive(machine, member, now);
    /* Old clients do not know of skipping: told that somebody else leads, they do not assign. */
    bool can_skip = request->version >= 9, leads = member_is_leader(group, member);
    if (can_skip) tell_generation(effects, request, group, member->id, group->leader, leads, leads);
    else tell_generation(effects, request, group, member->id, old_leader, false, false);
}
