/* The classic protocol: members join, a leader among them assigns, all learn of it by syncing, and live by heartbeats.
 *
 *              first member                all joined, or time is up            leader has synced
 *     EMPTY ----------------> PREPARING --------------------------> COMPLETING --------------------> STABLE
 *       ^                      |  ^  ^                                  |                              |
 *       +---- nobody left -----+  |  +------ somebody joins or goes ----+------------------------------+
 *
 * The parked: a join waits in PREPARING, a sync in COMPLETING. The assignment is written before anybody learns of it; a
 * group whose last member went is written, too. All else lives in memory only, and a coordinator that takes over finds
 * the last stable generation: its members' requests of a later one are then refused, and they join again.
 */
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

static void refuse_join(struct group_effects *effects, struct group_request *request, enum kafka_error error, struct span member_id) {
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

/* The group's current generation, for this member; the leader learns who the others are. */
static void tell_generation(struct group_effects *effects, struct group_request *request, const struct group *group,
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

static bool is_leader(const struct group *group, const struct member *member) {
    return group->leader.data && span_equal(group->leader, member->id);
}

static void refuse_sync(struct group_effects *effects, struct group_request *request, enum kafka_error error) {
    struct sync_group_response *answer = ARENA_NEW(request->arena, struct sync_group_response);
    if (answer) {
        sync_group_response_init(answer);
        answer->error_code = (int16_t)error;
    }
    complete_with(effects, request, answer);
}

static void tell_assignment(struct group_effects *effects, struct group_request *request, const struct group *group, const struct member *member) {
    struct sync_group_response *answer = ARENA_NEW(request->arena, struct sync_group_response);
    if (answer) {
        sync_group_response_init(answer);
        if (!span_copy(request->arena, group->protocol_type, &answer->protocol_type) ||
            !span_copy(request->arena, group->protocol, &answer->protocol_name) ||
            !span_copy(request->arena, member->assignment, &answer->assignment)) answer = NULL;
    }
    complete_with(effects, request, answer);
}

/* ---- Parked requests. A second one of the same member takes the place of the first, whose sender has given up. */

static struct group_request *take_join(struct member *member) {
    struct group_request *request = member->join;
    member->join = NULL;
    if (request) {
        request->parked = NULL;
        member->group->joining--;
    }
    return request;
}

static struct group_request *take_sync(struct member *member) {
    struct group_request *request = member->sync;
    member->sync = NULL;
    if (request) request->parked = NULL;
    return request;
}

static void fail_parked(struct group_effects *effects, struct member *member, enum kafka_error error, struct span member_id) {
    struct group_request *request = take_join(member);
    if (request) refuse_join(effects, request, error, member_id);
    if ((request = take_sync(member))) refuse_sync(effects, request, error);
}

static void park_join(struct group_effects *effects, struct member *member, struct group_request *request) {
    struct group_request *older = take_join(member);
    if (older) refuse_join(effects, older, KAFKA_REBALANCE_IN_PROGRESS, member->id);
    request->parked = member;
    member->join = request;
    member->group->joining++;
}

static void park_sync(struct group_effects *effects, struct member *member, struct group_request *request) {
    struct group_request *older = take_sync(member);
    if (older) refuse_sync(effects, older, KAFKA_REBALANCE_IN_PROGRESS);
    request->parked = member;
    member->sync = request;
}

/* ---- Time */

void classic_alive(struct group_machine *machine, struct member *member, const struct group_now *now) {
    deadline_set(machine, &member->session, now->now_ms + member->session_timeout_ms);
}

static void turn(struct group *group, enum group_state state, const struct group_now *now) {
    group->previous = group->state;
    group->state = state;
    group->state_ms = now->wall_ms;
}

static void has_synced(struct group_machine *machine, struct member *member) {
    if (!member->sync_pending) return;
    member->sync_pending = false;
    if (--member->group->syncs_pending == 0) deadline_set(machine, &member->group->sync_deadline, INT64_MAX);
}

/* ---- Rebalance */

static void join_phase_end(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects);

static bool all_have_joined(const struct group *group) {
    return group->joining == group->members.count && group->pendings.count == 0;
}

/* In a first rebalance nobody knows how many will come: only its deadline ends it. */
static void join_phase_maybe_end(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    if (group->state == GROUP_PREPARING && !group->initial_delay && all_have_joined(group)) join_phase_end(machine, group, now, effects);
}

static void forget_assignments(struct group_machine *machine, struct group *group, const struct group_now *now, enum kafka_error error, struct group_effects *effects) {
    MAP_EACH(node, &group->members) {
        struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        span_disown(machine->pool, &member->assignment);
        member->assignment = SPAN_LITERAL("");
        struct group_request *request = take_sync(member);
        if (!request) continue;
        refuse_sync(effects, request, error);
        classic_alive(machine, member, now);
    }
}

static void rebalance(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    assert(group->state != GROUP_PREPARING);
    if (group->state == GROUP_COMPLETING) forget_assignments(machine, group, now, KAFKA_REBALANCE_IN_PROGRESS, effects);
    deadline_set(machine, &group->sync_deadline, INT64_MAX);
    bool is_first = group->state == GROUP_EMPTY;
    int32_t longest = group_rebalance_timeout(group);
    turn(group, GROUP_PREPARING, now);
    group->initial_delay = is_first;
    group->new_member_added = false;
    if (is_first) {
        group->delay_ms = machine->settings.initial_rebalance_delay_ms;
        group->delay_left_ms = longest > group->delay_ms ? longest - group->delay_ms : 0;
        deadline_set(machine, &group->join_deadline, now->now_ms + group->delay_ms);
    } else if (all_have_joined(group)) {
        join_phase_end(machine, group, now, effects);
    } else {
        deadline_set(machine, &group->join_deadline, now->now_ms + longest);
    }
}

static void rebalance_or_go_on(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    if (group->state == GROUP_PREPARING) join_phase_maybe_end(machine, group, now, effects);
    else rebalance(machine, group, now, effects);
}

/* The leader must be one who has joined: the old one, else the oldest who has. False: nobody has. */
static bool elect_leader(struct group_machine *machine, struct group *group) {
    const struct member *leader = group->leader.data ? member_find(group, group->leader) : NULL;
    if (leader && leader->join) return true;
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        if (member->join) return span_replace(machine->pool, &group->leader, member->id);
    }
    return false;
}

/* The largest only stands in a log that says so: two thousand million rebalances take longer than anybody has. */
static int32_t next_generation(const struct group *group) {
    return group->generation < INT32_MAX ? group->generation + 1 : INT32_MAX;
}

/* The last member is gone: that is written, so that retention can count from it. */
static void become_empty(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    assert(machine->intent.kind == INTENT_NONE || machine->intent.kind == INTENT_ANSWERED);
    machine->intent.kind = INTENT_EMPTY;
    machine->intent.group = group;
    group->state_ms = now->wall_ms;
    const struct group_metadata_value *value = group_value(group, next_generation(group), now->wall_ms, NULL, effects->arena);
    if (value) record_group(effects, group->id, value);
    else effects->failed = true;
}

static void join_phase_end(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    assert(group->state == GROUP_PREPARING);
    deadline_set(machine, &group->join_deadline, INT64_MAX);
    group->initial_delay = group->new_member_added = false;
    /* Who has not come back is out; static members stay until their session ends. */
    MAP_EACH_SAFE(node, &group->members) {
        struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        if (!member->join && !member->instance.data) member_remove(machine, member);
    }
    if (group->members.count == 0) {
        become_empty(machine, group, now, effects);
        return;
    }
    struct span protocol = group_vote(group);
    if (!elect_leader(machine, group) || !protocol.data || !span_replace(machine->pool, &group->protocol, protocol)) {
        /* Only static members that are away: their sessions, or their return, will end it. */
        deadline_set(machine, &group->join_deadline, now->now_ms + group_rebalance_timeout(group));
        return;
    }
    group->generation = next_generation(group);
    turn(group, GROUP_COMPLETING, now);
    group->syncs_pending = 0;
    MAP_EACH(node, &group->members) {
        struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        struct group_request *request = take_join(member);
        if (request) tell_generation(effects, request, group, member->id, group->leader, is_leader(group, member), false);
        classic_alive(machine, member, now);
        member->is_new = false;
        member->sync_pending = true;
        group->syncs_pending++;
    }
    deadline_set(machine, &group->sync_deadline, now->now_ms + group_rebalance_timeout(group));
}

/* ---- Join */

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
    rebalance_or_go_on(machine, group, now, effects);
}

static void update_member(struct group_machine *machine, struct member *member, struct group_request *request,
                          const struct group_now *now, struct group_effects *effects) {
    if (!member_set_protocols(machine, member, request->join)) {
        complete_error(effects, request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    park_join(effects, member, request);
    rebalance_or_go_on(machine, member->group, now, effects);
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
    rebalance_or_go_on(machine, group, now, effects);
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
    bool same = member_matches(member, join), leads = is_leader(group, member);
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

static void join_group(struct group_machine *machine, struct group *group, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
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
        join_phase_maybe_end(machine, group, now, effects);
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
        join_group(machine, group, request, now, effects);
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

/* ---- Sync */

enum kafka_error classic_validate(const struct group *group, struct span member_id, struct span instance) {
    if (instance.data) {
        const struct member *holder = member_find_instance(group, instance);
        if (!holder) return KAFKA_UNKNOWN_MEMBER_ID;
        if (!span_equal(holder->id, member_id)) return KAFKA_FENCED_INSTANCE_ID;
    }
    return member_find(group, member_id) ? KAFKA_NONE : KAFKA_UNKNOWN_MEMBER_ID;
}

static bool differs(struct span asked, struct span own) {
    return asked.data && (!own.data || !span_equal(asked, own));
}

static enum kafka_error validate_sync(const struct group *group, const struct group_request *request) {
    const struct sync_group_request *sync = request->sync;
    if (request->version >= 5 && (!sync->protocol_type.data || !sync->protocol_name.data)) return KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    if (sync->group_id.size == 0) return KAFKA_INVALID_GROUP_ID;
    if (!group || group->kind != KIND_CLASSIC) return KAFKA_UNKNOWN_MEMBER_ID;
    enum kafka_error error = classic_validate(group, sync->member_id, sync->group_instance_id);
    if (error) return error;
    if (sync->generation_id != group->generation) return KAFKA_ILLEGAL_GENERATION;
    if (differs(sync->protocol_type, group->protocol_type) || differs(sync->protocol_name, group->protocol)) return KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    if (group->state == GROUP_EMPTY) return KAFKA_UNKNOWN_MEMBER_ID;
    if (group->state == GROUP_PREPARING) return KAFKA_REBALANCE_IN_PROGRESS;
    return KAFKA_NONE;
}

void classic_sync(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    struct group *group = group_find(machine, request->sync->group_id);
    enum kafka_error error = validate_sync(group, request);
    if (error) {
        refuse_sync(effects, request, error);
        return;
    }
    struct member *member = member_find(group, request->sync->member_id);
    if (group->state == GROUP_STABLE) {
        has_synced(machine, member);
        tell_assignment(effects, request, group, member);
        return;
    }
    assert(group->state == GROUP_COMPLETING);
    if (!is_leader(group, member)) {
        has_synced(machine, member);
        park_sync(effects, member, request);
        return;
    }
    struct assignment_of with = {.sync = request->sync};
    struct group_metadata_value *value = group_value(group, group->generation, group->state_ms, &with, effects->arena);
    if (!value) {
        effects->failed = true;
        return;
    }
    has_synced(machine, member);
    park_sync(effects, member, request);
    machine->intent.kind = INTENT_ASSIGN;
    machine->intent.group = group;
    record_group(effects, group->id, value);
}

/* ---- Heartbeat */

static enum kafka_error heartbeat(struct group_machine *machine, const struct heartbeat_request *body, const struct group_now *now) {
    struct group *group = group_find(machine, body->group_id);
    if (body->group_id.size == 0) return KAFKA_INVALID_GROUP_ID;
    if (!group || group->kind != KIND_CLASSIC) return KAFKA_UNKNOWN_MEMBER_ID;
    enum kafka_error error = classic_validate(group, body->member_id, body->group_instance_id);
    if (error) return error;
    if (body->generation_id != group->generation) return KAFKA_ILLEGAL_GENERATION;
    if (group->state == GROUP_EMPTY) return KAFKA_UNKNOWN_MEMBER_ID;
    classic_alive(machine, member_find(group, body->member_id), now);
    return group->state == GROUP_PREPARING ? KAFKA_REBALANCE_IN_PROGRESS : KAFKA_NONE;
}

void classic_heartbeat(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    struct heartbeat_response *answer = ARENA_NEW(request->arena, struct heartbeat_response);
    if (answer) {
        heartbeat_response_init(answer);
        answer->error_code = (int16_t)heartbeat(machine, request->heartbeat, now);
    }
    complete_with(effects, request, answer);
}

/* ---- Leave */

static void leave_member(struct group_machine *machine, struct member *member, struct group_effects *effects) {
    fail_parked(effects, member, KAFKA_UNKNOWN_MEMBER_ID, SPAN_LITERAL(""));
    has_synced(machine, member);
    member_remove(machine, member);
}

/* An operator names a static member by its instance alone. */
static enum kafka_error leave_one(struct group_machine *machine, struct group *group, struct span id, struct span instance, struct group_effects *effects) {
    if (!group || group->kind != KIND_CLASSIC) return KAFKA_UNKNOWN_MEMBER_ID;
    struct pending_member *pending = id.size ? pending_find(group, id) : NULL;
    if (pending) {
        pending_remove(machine, pending);
        return KAFKA_NONE;
    }
    struct member *member = id.size ? member_find(group, id) : member_find_instance(group, instance);
    enum kafka_error error = id.size ? classic_validate(group, id, instance) : member ? KAFKA_NONE : KAFKA_UNKNOWN_MEMBER_ID;
    if (!error) leave_member(machine, member, effects);
    return error;
}

void classic_leave(struct group_machine *machine, struct group_request *request, const struct group_now *now, struct group_effects *effects) {
    const struct leave_group_request *leave = request->leave;
    struct group *group = group_find(machine, leave->group_id);
    struct leave_group_response *answer = ARENA_NEW(request->arena, struct leave_group_response);
    bool any = false;
    if (!answer) goto no_memory;
    leave_group_response_init(answer);
    if (leave->group_id.size == 0) {
        answer->error_code = KAFKA_INVALID_GROUP_ID;
    } else if (request->version < 3) {
        answer->error_code = (int16_t)leave_one(machine, group, leave->member_id, span_of(NULL, 0), effects);
        any = !answer->error_code;
    } else {
        /* Everything that needs memory first: who has left has left. */
        answer->members = leave_group_response_member_response_array(request->arena, leave->members_count);
        if (!answer->members) goto no_memory;
        for (int32_t i = 0; i < leave->members_count; i++) {
            struct leave_group_response_member_response *out = &answer->members[answer->members_count++];
            if (!span_copy(request->arena, leave->members[i].member_id, &out->member_id) ||
                !span_copy(request->arena, leave->members[i].group_instance_id, &out->group_instance_id)) goto no_memory;
        }
        for (int32_t i = 0; i < leave->members_count; i++) {
            enum kafka_error error = leave_one(machine, group, leave->members[i].member_id, leave->members[i].group_instance_id, effects);
            answer->members[i].error_code = (int16_t)error;
            any |= !error;
        }
    }
    complete_with(effects, request, answer);
    if (any && group->state != GROUP_EMPTY) rebalance_or_go_on(machine, group, now, effects);
    return;
no_memory:
    complete_with(effects, request, NULL);
}

/* ---- Deadlines */

static void session_over(struct group_machine *machine, struct member *member, const struct group_now *now, struct group_effects *effects) {
    struct group *group = member->group;
    /* Who waits for us is alive; heartbeats are expected again from when it is answered. */
    if (!member->is_new && (member->join || member->sync)) return;
    leave_member(machine, member, effects);
    if (group->state != GROUP_EMPTY) rebalance_or_go_on(machine, group, now, effects);
}

static void join_deadline_over(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    if (group->initial_delay && group->new_member_added && group->delay_left_ms > 0) {
        group->new_member_added = false;
        int32_t delay = machine->settings.initial_rebalance_delay_ms;
        if (delay > group->delay_left_ms) delay = group->delay_left_ms;
        group->delay_left_ms = group->delay_left_ms > group->delay_ms ? group->delay_left_ms - group->delay_ms : 0;
        group->delay_ms = delay;
        deadline_set(machine, &group->join_deadline, now->now_ms + delay);
        return;
    }
    join_phase_end(machine, group, now, effects);
}

/* Members that have learnt of the generation and never asked for their part hold it up for the others. */
static void sync_deadline_over(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    if (group->state != GROUP_COMPLETING && group->state != GROUP_STABLE) return;
    if (!group->syncs_pending) return;
    MAP_EACH_SAFE(node, &group->members) {
        struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        if (member->sync_pending) leave_member(machine, member, effects);
    }
    rebalance(machine, group, now, effects);
}

void classic_deadline(struct group_machine *machine, struct deadline *deadline, const struct group_now *now, struct group_effects *effects) {
    switch (deadline->kind) {
    case DEADLINE_MEMBER:
        session_over(machine, container_of(deadline, struct member, session), now, effects);
        break;
    case DEADLINE_PENDING: {
        struct pending_member *pending = container_of(deadline, struct pending_member, deadline);
        struct group *group = pending->group;
        pending_remove(machine, pending);
        join_phase_maybe_end(machine, group, now, effects);
        break;
    }
    case DEADLINE_JOIN:
        join_deadline_over(machine, container_of(deadline, struct group, join_deadline), now, effects);
        break;
    case DEADLINE_SYNC:
        sync_deadline_over(machine, container_of(deadline, struct group, sync_deadline), now, effects);
        break;
    case DEADLINE_SWEEP:
        never("the sweep is not a group's");
    }
}

/* A group that was stable goes on: its members have a session's time to say so. */
void classic_loaded(struct group_machine *machine, struct group *group, const struct group_now *now) {
    MAP_EACH(node, &group->members) classic_alive(machine, MAP_EACH_ITEM(node, struct member, by_id), now);
}

/* ---- After the records */

static void assigned(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    MAP_EACH(node, &group->members) {
        struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        struct group_request *request = take_sync(member);
        if (!request) continue;
        tell_assignment(effects, request, group, member);
        classic_alive(machine, member, now);
    }
}

static void replaced(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
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
    bool can_skip = request->version >= 9, leads = is_leader(group, member);
    if (can_skip) tell_generation(effects, request, group, member->id, group->leader, leads, leads);
    else tell_generation(effects, request, group, member->id, old_leader, false, false);
}

void classic_applied(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    switch (machine->intent.kind) {
    case INTENT_JOIN_NEW: {
        struct group *group = group_find(machine, machine->intent.request->join->group_id);
        assert(group);
        join_group(machine, group, machine->intent.request, now, effects);
        break;
    }
    case INTENT_ASSIGN:
        assigned(machine, machine->intent.group, now, effects);
        break;
    case INTENT_REPLACE:
        replaced(machine, now, effects);
        break;
    case INTENT_EMPTY:
    case INTENT_ANSWERED:
    case INTENT_NONE:
        break;
    }
}

/* What members are told about a group's record that could not be written. */
static enum kafka_error error_of_append(enum kafka_error error) {
    switch (error) {
    case KAFKA_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_NOT_ENOUGH_REPLICAS:
    case KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        return KAFKA_COORDINATOR_NOT_AVAILABLE;
    case KAFKA_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_KAFKA_STORAGE_ERROR:
        return KAFKA_NOT_COORDINATOR;
    case KAFKA_REQUEST_TIMED_OUT:
        return KAFKA_REBALANCE_IN_PROGRESS;
    case KAFKA_MESSAGE_TOO_LARGE:
    case KAFKA_RECORD_LIST_TOO_LARGE:
    case KAFKA_INVALID_FETCH_SIZE:
        return KAFKA_UNKNOWN_SERVER_ERROR;
    default:
        return error;
    }
}

void classic_refused(struct group_machine *machine, const struct group_now *now, enum kafka_error log_error, struct group_effects *effects) {
    enum kafka_error error = error_of_append(log_error);
    struct group *group = machine->intent.group;
    switch (machine->intent.kind) {
    case INTENT_JOIN_NEW:
    case INTENT_REPLACE:
        refuse_join(effects, machine->intent.request, error, SPAN_LITERAL(""));
        break;
    case INTENT_ASSIGN:
        forget_assignments(machine, group, now, error, effects);
        rebalance(machine, group, now, effects);
        break;
    case INTENT_EMPTY:
        /* It is empty all the same; what the log still says of it expires after a restart. */
        turn(group, GROUP_EMPTY, now);
        group->differs = true;
        span_disown(machine->pool, &group->protocol);
        span_disown(machine->pool, &group->leader);
        break;
    case INTENT_ANSWERED:
    case INTENT_NONE:
        break;
    }
}

/* ---- Offsets */

enum kafka_error classic_validate_commit(const struct group *group, struct span member_id, struct span instance,
                                         int32_t generation, bool is_transactional) {
    /* Tools, and consumers that assign themselves: allowed where no members could be in their way. */
    if (generation < 0 && group->state == GROUP_EMPTY) return KAFKA_NONE;
    if (generation >= 0 || member_id.size || instance.data) {
        enum kafka_error error = classic_validate(group, member_id, instance);
        if (error) return error;
        if (generation != group->generation) return KAFKA_ILLEGAL_GENERATION;
    } else if (!is_transactional && group->state != GROUP_EMPTY) {
        return KAFKA_UNKNOWN_MEMBER_ID;
    }
    return !is_transactional && group->state == GROUP_COMPLETING ? KAFKA_REBALANCE_IN_PROGRESS : KAFKA_NONE;
}
