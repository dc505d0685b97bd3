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
void classic_join_phase_maybe_end(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
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

void classic_rebalance_or_go_on(struct group_machine *machine, struct group *group, const struct group_now *now, struct group_effects *effects) {
    if (group->state == GROUP_PREPARING) classic_join_phase_maybe_end(machine, group, now, effects);
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
        if (request) tell_generation(effects, request, group, member->id, group->leader, member_is_leader(group, member), false);
        classic_alive(machine, member, now);
        member->is_new = false;
        member->sync_pending = true;
        group->syncs_pending++;
    }
    deadline_set(machine, &group->sync_deadline, now->now_ms + group_rebalance_timeout(group));
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
    if (!member_is_leader(group, member)) {
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
    if (any && group->state != GROUP_EMPTY) classic_rebalance_or_go_on(machine, group, now, effects);
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
    if (group->state != GROUP_EMPTY) classic_rebalance_or_go_on(machine, group, now, effects);
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
        classic_join_phase_maybe_end(machine, group, now, effects);
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

void classic_applied(struct group_machine *machine, const struct group_now *now, struct group_effects *effects) {
    switch (machine->intent.kind) {
    case INTENT_JOIN_NEW: {
        struct group *group = group_find(machine, machine->intent.request->join->group_id);
        assert(group);
        classic_join_on(machine, group, machine->intent.request, now, effects);
        break;
    }
    case INTENT_ASSIGN:
        assigned(machine, machine->intent.group, now, effects);
        break;
    case INTENT_REPLACE:
        classic_replaced(machine, now, effects);
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
