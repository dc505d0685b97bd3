/* Members of classic groups: who they are, which protocols they speak, and what a group's record says of them. */
#include "group/state.h"

/* ---- Members */

static bool member_is_id(const struct map_node *node, const void *key) { return span_is_key(MAP_ITEM(node, struct member, by_id)->id, key); }
static bool member_is_instance(const struct map_node *node, const void *key) { return span_is_key(MAP_ITEM(node, struct member, by_instance)->instance, key); }
static bool pending_is_id(const struct map_node *node, const void *key) { return span_is_key(MAP_ITEM(node, struct pending_member, by_id)->id, key); }
static bool foreign_is_id(const struct map_node *node, const void *key) { return span_is_key(MAP_ITEM(node, struct foreign_member, by_id)->id, key); }
static uint64_t span_hash(struct span span) { return hash_bytes(span.data, span.size); }

void members_init(struct group_machine *machine, struct group *group) {
    map_init(&group->members, machine->pool, 0, member_is_id);
    map_init(&group->instances, machine->pool, 0, member_is_instance);
    map_init(&group->pendings, machine->pool, 0, pending_is_id);
    map_init(&group->foreign, machine->pool, 0, foreign_is_id);
}

void members_destroy(struct group_machine *machine, struct group *group) {
    members_clear(machine, group);
    map_destroy(&group->members);
    map_destroy(&group->instances);
    map_destroy(&group->pendings);
    map_destroy(&group->foreign);
}

struct member *member_find(const struct group *group, struct span id) {
    struct map_node *node = map_find(&group->members, span_hash(id), &id);
    return node ? MAP_ITEM(node, struct member, by_id) : NULL;
}

struct member *member_find_instance(const struct group *group, struct span instance) {
    if (!instance.data) return NULL;
    struct map_node *node = map_find(&group->instances, span_hash(instance), &instance);
    return node ? MAP_ITEM(node, struct member, by_instance) : NULL;
}

static void member_free(struct group_machine *machine, struct member *member) {
    struct pool *pool = machine->pool;
    deadline_remove(machine, &member->session);
    span_disown(pool, &member->id);
    span_disown(pool, &member->instance);
    span_disown(pool, &member->client_id);
    span_disown(pool, &member->client_host);
    span_disown(pool, &member->assignment);
    pool_free(pool, member->protocols, member->protocols_bytes);
    pool_free(pool, member, sizeof *member);
}

struct member *member_new(struct group_machine *machine, struct group *group, struct span id, struct span instance,
                          struct span client_id, struct span client_host) {
    struct pool *pool = machine->pool;
    struct member *member = POOL_NEW(pool, struct member);
    if (!member) return NULL;
    member->group = group;
    if (!deadline_add(machine, &member->session, DEADLINE_MEMBER)) goto fail;
    if (!span_own(pool, id, &member->id)) goto fail;
    if (!span_own(pool, instance, &member->instance)) goto fail;
    if (!span_own(pool, client_id, &member->client_id)) goto fail;
    if (!span_own(pool, client_host, &member->client_host)) goto fail;
    if (!span_own(pool, SPAN_LITERAL(""), &member->assignment)) goto fail;
    if (!map_insert(&group->members, &member->by_id, span_hash(id))) goto fail;
    if (instance.data && !map_insert(&group->instances, &member->by_instance, span_hash(instance))) {
        map_remove(&group->members, &member->by_id);
        goto fail;
    }
    return member;
fail:
    member_free(machine, member);
    return NULL;
}

/* When the leader goes, the oldest member that is left stands in for it until one is chosen with the next generation. */
void member_remove(struct group_machine *machine, struct member *member) {
    struct group *group = member->group;
    assert(!member->join && !member->sync);
    map_remove(&group->members, &member->by_id);
    if (member->instance.data) map_remove(&group->instances, &member->by_instance);
    if (member->sync_pending) group->syncs_pending--;
    if (group->leader.data && span_equal(group->leader, member->id)) {
        span_disown(machine->pool, &group->leader);
        MAP_EACH(node, &group->members) {
            /* Without memory for its id there is none until then: nothing needs one before. */
            if (!span_own(machine->pool, MAP_EACH_ITEM(node, struct member, by_id)->id, &group->leader)) group->leader = span_of(NULL, 0);
            break;
        }
    }
    member_free(machine, member);
}

bool member_rename(struct group_machine *machine, struct member *member, struct span id) {
    struct group *group = member->group;
    struct span own, leader = {0};
    bool leads = group->leader.data && span_equal(group->leader, member->id);
    if (!span_own(machine->pool, id, &own)) return false;
    if (leads && !span_own(machine->pool, id, &leader)) {
        span_disown(machine->pool, &own);
        return false;
    }
    /* In its old place, so that the order of members stays. */
    struct list *before = member->by_id.order.prev;
    map_remove(&group->members, &member->by_id);
    span_disown(machine->pool, &member->id);
    member->id = own;
    bool inserted = map_insert(&group->members, &member->by_id, span_hash(own)); /* room was just made */
    assert(inserted);
    list_remove(&member->by_id.order);
    list_insert_after(before, &member->by_id.order);
    if (leads) {
        span_disown(machine->pool, &group->leader);
        group->leader = leader;
    }
    return true;
}

/* One piece of memory: the array, then names and metadata. */
static bool set_protocols(struct group_machine *machine, struct member *member, const struct join_group_request_join_group_request_protocol *from, uint32_t count) {
    size_t bytes = count * sizeof *member->protocols;
    for (uint32_t i = 0; i < count; i++) bytes += from[i].name.size + from[i].metadata.size;
    struct member_protocol *protocols = pool_alloc(machine->pool, bytes ? bytes : 1);
    if (!protocols) return false;
    uint8_t *at = (uint8_t *)(protocols + count);
    for (uint32_t i = 0; i < count; i++) {
        protocols[i].name = span_of(at, from[i].name.size);
        if (from[i].name.size) memcpy(at, from[i].name.data, from[i].name.size);
        at += from[i].name.size;
        protocols[i].metadata = span_of(at, from[i].metadata.size);
        if (from[i].metadata.size) memcpy(at, from[i].metadata.data, from[i].metadata.size);
        at += from[i].metadata.size;
    }
    pool_free(machine->pool, member->protocols, member->protocols_bytes);
    member->protocols = protocols;
    member->protocol_count = count;
    member->protocols_bytes = bytes ? bytes : 1;
    return true;
}

bool member_set_protocols(struct group_machine *machine, struct member *member, const struct join_group_request *join) {
    if (!set_protocols(machine, member, join->protocols, (uint32_t)join->protocols_count)) return false;
    member->session_timeout_ms = join->session_timeout_ms;
    member->rebalance_timeout_ms = join->rebalance_timeout_ms >= 0 ? join->rebalance_timeout_ms : join->session_timeout_ms;
    return true;
}

bool member_matches(const struct member *member, const struct join_group_request *join) {
    if (member->protocol_count != (uint32_t)join->protocols_count) return false;
    for (uint32_t i = 0; i < member->protocol_count; i++)
        if (!span_equal(member->protocols[i].name, join->protocols[i].name) ||
            !span_equal(member->protocols[i].metadata, join->protocols[i].metadata)) return false;
    return true;
}

struct span member_metadata(const struct member *member, struct span protocol) {
    for (uint32_t i = 0; i < member->protocol_count; i++)
        if (span_equal(member->protocols[i].name, protocol))
            return member->protocols[i].metadata.data ? member->protocols[i].metadata : SPAN_LITERAL("");
    return span_of(NULL, 0);
}

/* ---- Those to come */

struct pending_member *pending_find(const struct group *group, struct span id) {
    struct map_node *node = map_find(&group->pendings, span_hash(id), &id);
    return node ? MAP_ITEM(node, struct pending_member, by_id) : NULL;
}

struct pending_member *pending_new(struct group_machine *machine, struct group *group, struct span id) {
    struct pending_member *pending = POOL_NEW(machine->pool, struct pending_member);
    if (!pending) return NULL;
    pending->group = group;
    if (!deadline_add(machine, &pending->deadline, DEADLINE_PENDING)) goto fail;
    if (!span_own(machine->pool, id, &pending->id)) goto fail;
    if (!map_insert(&group->pendings, &pending->by_id, span_hash(id))) goto fail;
    return pending;
fail:
    deadline_remove(machine, &pending->deadline);
    span_disown(machine->pool, &pending->id);
    pool_free(machine->pool, pending, sizeof *pending);
    return NULL;
}

void pending_remove(struct group_machine *machine, struct pending_member *pending) {
    map_remove(&pending->group->pendings, &pending->by_id);
    deadline_remove(machine, &pending->deadline);
    span_disown(machine->pool, &pending->id);
    pool_free(machine->pool, pending, sizeof *pending);
}

void members_clear(struct group_machine *machine, struct group *group) {
    MAP_EACH_SAFE(node, &group->members) {
        struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        member->join = member->sync = NULL;
        member_remove(machine, member);
    }
    MAP_EACH_SAFE(node, &group->pendings) pending_remove(machine, MAP_EACH_ITEM(node, struct pending_member, by_id));
    MAP_EACH_SAFE(node, &group->foreign) {
        struct foreign_member *member = MAP_EACH_ITEM(node, struct foreign_member, by_id);
        map_remove(&group->foreign, &member->by_id);
        span_disown(machine->pool, &member->id);
        pool_free(machine->pool, member, sizeof *member);
    }
    group->joining = group->syncs_pending = 0;
}

/* ---- Protocols */

/* Every member speaks it. */
static bool is_candidate(const struct group *group, struct span protocol) {
    MAP_EACH(node, &group->members)
        if (!member_metadata(MAP_EACH_ITEM(node, struct member, by_id), protocol).data) return false;
    return true;
}

bool group_supports(const struct group *group, const struct join_group_request *join) {
    if (!join->protocol_type.size || join->protocols_count < 1) return false;
    if (group->state == GROUP_EMPTY) return true;
    if (!group->protocol_type.data || !span_equal(group->protocol_type, join->protocol_type)) return false;
    for (int32_t i = 0; i < join->protocols_count; i++)
        if (is_candidate(group, join->protocols[i].name)) return true;
    return false;
}

/* Each member votes for the first candidate in its own list; of equal counts the one that the oldest member likes better.
 * Candidates are all in the oldest's list: a bit for each of its at most 64. */
static_assert(GROUP_PROTOCOLS_MAX == 64, "candidates are bits of a uint64_t");

struct span group_vote(const struct group *group) {
    if (group->members.count == 0) return span_of(NULL, 0);
    const struct member *oldest = MAP_EACH_ITEM(group->members.order.next, struct member, by_id);
    uint64_t candidates = 0;
    uint32_t votes[GROUP_PROTOCOLS_MAX] = {0}, best = 0;
    for (uint32_t i = 0; i < oldest->protocol_count; i++)
        if (is_candidate(group, oldest->protocols[i].name)) candidates |= UINT64_C(1) << i;
    if (!candidates) return span_of(NULL, 0);
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        uint32_t choice = oldest->protocol_count;
        for (uint32_t j = 0; j < member->protocol_count && choice == oldest->protocol_count; j++)
            for (choice = 0; choice < oldest->protocol_count; choice++)
                if (candidates >> choice & 1 && span_equal(oldest->protocols[choice].name, member->protocols[j].name)) break;
        if (choice < oldest->protocol_count) votes[choice]++;
    }
    for (uint32_t i = 1; i < oldest->protocol_count; i++)
        if (votes[i] > votes[best]) best = i;
    assert(votes[best] > 0);
    return oldest->protocols[best].name;
}

int32_t group_rebalance_timeout(const struct group *group) {
    int32_t longest = 0;
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        if (member->rebalance_timeout_ms > longest) longest = member->rebalance_timeout_ms;
    }
    return longest;
}

bool group_uses_consumer_protocol(const struct group *group) {
    return group->protocol_type.data && span_equal(group->protocol_type, SPAN_LITERAL("consumer"));
}

/* By what the members of the generation said; one that cannot be read may be subscribed to anything. */
bool group_is_subscribed(struct group_machine *machine, const struct group *group, struct span topic) {
    if (!group_uses_consumer_protocol(group)) return false;
    MAP_EACH(node, &group->members) {
        const struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        struct span metadata = member_metadata(member, group->protocol);
        struct consumer_protocol_subscription subscription;
        arena_reset(&machine->scratch);
        if (!metadata.data || metadata.size < 2) return true;
        /* As version 0, whatever it is, as Apache Kafka does: the topics come first in all of them, and there are clients that
         * say version 1 and leave out what it has behind. */
        struct wire_framed framed = {.message = &consumer_protocol_subscription_message, .version = 0, .is_newer = true,
                                     .body = span_of(metadata.data + 2, metadata.size - 2)};
        if (wire_framed_decode(&framed, &subscription, &machine->scratch)) return true;
        for (int32_t i = 0; i < subscription.topics_count; i++)
            if (span_equal(subscription.topics[i], topic)) return true;
    }
    return false;
}

/* ---- The group's record */

struct group_metadata_value *group_value(const struct group *group, int32_t generation, time_ms state_ms,
                                         const struct assignment_of *with, struct arena *arena) {
    struct group_metadata_value *value = ARENA_NEW(arena, struct group_metadata_value);
    if (!value) return NULL;
    group_metadata_value_init(value);
    value->protocol_type = group->protocol_type;
    value->generation = generation;
    value->current_state_timestamp = state_ms;
    value->members_count = (int32_t)group->members.count;
    value->members = group_metadata_value_member_metadata_array(arena, value->members_count);
    if (!value->members) return NULL;
    value->protocol = value->leader = span_of(NULL, 0);
    if (!value->members_count) return value; /* an empty group has neither */
    value->protocol = group->protocol;
    value->leader = group->leader;
    if (with && with->replaced && group->leader.data && span_equal(group->leader, with->replaced->id)) value->leader = with->new_id;
    struct group_metadata_value_member_metadata *out = value->members;
    MAP_EACH(node, &group->members) {
        struct member *member = MAP_EACH_ITEM(node, struct member, by_id);
        member->index = (uint32_t)(out - value->members);
        out->member_id = with && with->replaced == member ? with->new_id : member->id;
        out->group_instance_id = member->instance;
        out->client_id = member->client_id;
        out->client_host = member->client_host;
        out->rebalance_timeout = member->rebalance_timeout_ms;
        out->session_timeout = member->session_timeout_ms;
        out->subscription = member_metadata(member, group->protocol);
        out->assignment = with && with->sync ? SPAN_LITERAL("") : member->assignment;
        out++;
    }
    /* What the leader gave to members that are not here is dropped; members that it forgot have nothing. */
    for (int32_t i = 0; with && with->sync && i < with->sync->assignments_count; i++) {
        struct map_node *found = map_find(&group->members, span_hash(with->sync->assignments[i].member_id), &with->sync->assignments[i].member_id);
        if (!found || !with->sync->assignments[i].assignment.data) continue;
        value->members[MAP_ITEM(found, struct member, by_id)->index].assignment = with->sync->assignments[i].assignment;
    }
    return value;
}

static bool apply_member(struct group_machine *machine, struct group *group, const struct group_metadata_value *value,
                         const struct group_metadata_value_member_metadata *from) {
    struct member *member = member_new(machine, group, from->member_id, from->group_instance_id, from->client_id, from->client_host);
    if (!member) return false;
    member->session_timeout_ms = from->session_timeout;
    member->rebalance_timeout_ms = from->rebalance_timeout >= 0 ? from->rebalance_timeout : from->session_timeout;
    struct join_group_request_join_group_request_protocol protocol = {
        .name = value->protocol.data ? value->protocol : SPAN_LITERAL(""), .metadata = from->subscription};
    if (!set_protocols(machine, member, &protocol, 1)) return false;
    return span_replace(machine->pool, &member->assignment, from->assignment.data ? from->assignment : SPAN_LITERAL(""));
}

/* Live, the members are the ones that the record was made of, and know more than it (other protocols, parked requests);
 * only what it decided is taken from it. In a replay it is all there is. */
bool group_apply_value(struct group_machine *machine, struct group *group, const struct group_metadata_value *value, bool live) {
    struct pool *pool = machine->pool;
    if (!live) members_clear(machine, group);
    /* What we never write, another may have: a log is input. */
    bool has_members = value->members_count > 0;
    struct span protocol = has_members && !value->protocol.data ? SPAN_LITERAL("") : value->protocol;
    group->kind = KIND_CLASSIC;
    group->differs = false;
    group->generation = value->generation > 0 ? value->generation : 0;
    group->state_ms = value->current_state_timestamp;
    group->previous = group->state;
    group->state = has_members ? GROUP_STABLE : GROUP_EMPTY;
    /* Records of before any member joined have the empty type: that is none. */
    struct span type = value->protocol_type.size ? value->protocol_type : span_of(NULL, 0);
    if (!span_replace(pool, &group->protocol_type, type) || !span_replace(pool, &group->protocol, protocol)) return false;
    for (int32_t i = 0; i < value->members_count; i++) {
        const struct group_metadata_value_member_metadata *from = &value->members[i];
        struct member *member = member_find(group, from->member_id);
        if (!live) {
            if (!member && !apply_member(machine, group, value, from)) return false;
        } else if (member && !span_replace(pool, &member->assignment, from->assignment.data ? from->assignment : SPAN_LITERAL(""))) {
            return false;
        }
    }
    return span_replace(pool, &group->leader, value->leader);
}
