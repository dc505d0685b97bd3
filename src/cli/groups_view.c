/* cli/groups_view.c - consumer groups as brokers tell of them: which there are, who is in one, what it has committed. */
#include "cli/groups.h"
#include "wire/record_frame.h"
#include "wire/records.h"
#include <stdlib.h>
#include <string.h>

enum { MEMBER_UNKNOWN = -1 };

/* ---- which there are */

static int by_group(const void *a, const void *b) {
    return span_compare((*(const struct list_groups_response_listed_group *const *)a)->group_id, (*(const struct list_groups_response_listed_group *const *)b)->group_id);
}

static void listing_add(struct group_listing *listing, const struct list_groups_response *response) {
    for (int32_t i = 0; i < response->groups_count; i++) {
        struct span protocol = response->groups[i].protocol_type;
        if (protocol.size && !span_equal(protocol, SPAN_LITERAL("consumer"))) continue; /* Connect's workers, share groups, ... */
        bool known = false;
        for (int32_t j = 0; j < listing->count && !known; j++) known = span_equal(listing->groups[j]->group_id, response->groups[i].group_id);
        if (!known) listing->groups[listing->count++] = &response->groups[i];
    }
}

/* Every broker is asked: each knows the groups that it coordinates. */
bool groups_list_all(struct admin *admin, struct span *in_states, int32_t state_count, struct span *of_types, int32_t type_count, struct group_listing *out) {
    static struct span consumer_types[] = {{(const uint8_t *)"Classic", 7}, {(const uint8_t *)"Consumer", 8}};
    struct list_groups_request request;
    list_groups_request_init(&request);
    request.states_filter = in_states;
    request.states_filter_count = state_count;
    request.types_filter = type_count ? of_types : consumer_types;
    request.types_filter_count = type_count ? type_count : (int32_t)countof(consumer_types);
    *out = (struct group_listing){0};
    struct span nothing = {0};
    if (!admin_topics(admin, &nothing, 0)) return false;
    for (int32_t b = 0; b < admin->metadata.brokers_count; b++) {
        struct list_groups_response response;
        int tries = 0;
        do
            if (!admin_call(admin, admin->metadata.brokers[b].node_id, API_LIST_GROUPS, 0, "listGroups", &request, &response)) return false;
        while (admin_again(admin, response.error_code, &tries));
        if (!admin_check(admin, response.error_code, (struct span){0})) return false;
        const struct list_groups_response_listed_group **grown = ARENA_ARRAY(admin_memory(admin), (size_t)(out->count + response.groups_count + 1), const struct list_groups_response_listed_group *);
        if (!grown) return admin_fail_memory(admin);
        if (out->count) memcpy(grown, out->groups, (size_t)out->count * sizeof *grown);
        out->groups = grown;
        listing_add(out, &response);
    }
    if (out->count) qsort(out->groups, (size_t)out->count, sizeof *out->groups, by_group);
    return true;
}

bool groups_list(struct admin *admin, struct span **ids, int32_t *count) {
    struct group_listing listing;
    if (!groups_list_all(admin, NULL, 0, NULL, 0, &listing)) return false;
    *ids = ARENA_ARRAY(admin_memory(admin), (size_t)listing.count + 1, struct span);
    if (!*ids) return admin_fail_memory(admin);
    for (int32_t i = 0; i < listing.count; i++) (*ids)[i] = listing.groups[i]->group_id;
    *count = listing.count;
    return true;
}

/* ---- one of them */

/* An assignment of the new protocol, as rows. */
static bool rows_of(struct admin *admin, const struct consumer_group_describe_response_assignment *from, struct partition_row **rows, int32_t *count) {
    int32_t n = 0;
    for (int32_t t = 0; t < from->topic_partitions_count; t++) n += from->topic_partitions[t].partitions_count;
    *rows = ARENA_ARRAY(admin_memory(admin), (size_t)n + 1, struct partition_row);
    if (!*rows) return admin_fail_memory(admin);
    for (int32_t t = 0; t < from->topic_partitions_count; t++)
        for (int32_t p = 0; p < from->topic_partitions[t].partitions_count; p++)
            (*rows)[(*count)++] = (struct partition_row){.topic = from->topic_partitions[t].topic_name, .index = from->topic_partitions[t].partitions[p]};
    qsort(*rows, (size_t)n, sizeof **rows, partition_compare);
    return true;
}

static bool view_of_modern(struct admin *admin, const struct consumer_group_describe_response_described_group *from, struct group_view *out) {
    out->state = from->group_state;
    out->assignor = from->assignor_name;
    out->epoch = from->group_epoch;
    out->assignment_epoch = from->assignment_epoch;
    out->member_count = from->members_count;
    out->members = ARENA_ARRAY(admin_memory(admin), (size_t)from->members_count + 1, struct group_member);
    if (!out->members) return admin_fail_memory(admin);
    for (int32_t i = 0; i < from->members_count; i++) {
        const struct consumer_group_describe_response_member *member = &from->members[i];
        struct group_member *to = &out->members[i];
        *to = (struct group_member){.id = member->member_id, .instance = member->instance_id, .client = member->client_id, .host = member->client_host,
                                    .epoch = member->member_epoch, .upgraded = member->member_type == MEMBER_UNKNOWN ? -1 : member->member_type == 1};
        if (!rows_of(admin, &member->assignment, &to->assigned, &to->assigned_count) || !rows_of(admin, &member->target_assignment, &to->target, &to->target_count)) return false;
    }
    return true;
}

/* Bytes that a client made: what is no assignment is none. */
static bool rows_of_classic(struct admin *admin, struct span bytes, struct partition_row **rows, int32_t *count) {
    struct wire_framed framed;
    struct consumer_protocol_assignment assignment;
    if (!bytes.size || wire_versioned_open(&consumer_protocol_assignment_message, bytes, &framed)) return true;
    framed.is_newer = true; /* there may be more behind it */
    if (wire_framed_decode(&framed, &assignment, admin_memory(admin))) return true;
    int32_t n = 0;
    for (int32_t t = 0; t < assignment.assigned_partitions_count; t++) n += assignment.assigned_partitions[t].partitions_count;
    *rows = ARENA_ARRAY(admin_memory(admin), (size_t)n + 1, struct partition_row);
    if (!*rows) return admin_fail_memory(admin);
    for (int32_t t = 0; t < assignment.assigned_partitions_count; t++)
        for (int32_t p = 0; p < assignment.assigned_partitions[t].partitions_count; p++)
            (*rows)[(*count)++] = (struct partition_row){.topic = assignment.assigned_partitions[t].topic, .index = assignment.assigned_partitions[t].partitions[p]};
    qsort(*rows, (size_t)n, sizeof **rows, partition_compare);
    return true;
}

static bool view_of_classic(struct admin *admin, const struct describe_groups_response_described_group *from, struct group_view *out) {
    if (from->protocol_type.size && !span_equal(from->protocol_type, SPAN_LITERAL("consumer")))
        return admin_fail(admin, NULL, "java.lang.IllegalArgumentException: GroupId %.*s is not a consumer group (%.*s).", (int)from->group_id.size,
                          (const char *)from->group_id.data, (int)from->protocol_type.size, (const char *)from->protocol_type.data);
    out->state = from->group_state;
    out->assignor = from->protocol_data;
    out->epoch = out->assignment_epoch = -1;
    out->member_count = from->members_count;
    out->members = ARENA_ARRAY(admin_memory(admin), (size_t)from->members_count + 1, struct group_member);
    if (!out->members) return admin_fail_memory(admin);
    for (int32_t i = 0; i < from->members_count; i++) {
        const struct describe_groups_response_described_group_member *member = &from->members[i];
        out->members[i] = (struct group_member){.id = member->member_id, .instance = member->group_instance_id, .client = member->client_id,
                                                .host = member->client_host, .epoch = -1, .upgraded = -1};
        if (!rows_of_classic(admin, member->member_assignment, &out->members[i].assigned, &out->members[i].assigned_count)) return false;
    }
    return true;
}

/* As a group of the new protocol; what is none (or a broker that has no such groups) is asked for as a classic one. */
bool groups_describe(struct admin *admin, struct span id, struct group_view *out) {
    struct consumer_group_describe_request request;
    struct consumer_group_describe_response response;
    struct describe_groups_request classic_request;
    struct describe_groups_response classic;
    int tries = 0;
    int16_t code;
    consumer_group_describe_request_init(&request);
    request.group_ids = &id;
    request.group_ids_count = 1;
    describe_groups_request_init(&classic_request);
    classic_request.groups = &id;
    classic_request.groups_count = 1;
    *out = (struct group_view){.id = id};
    do {
        if (!admin_coordinator(admin, id, &out->node)) return false;
        if (admin_call(admin, out->node, API_CONSUMER_GROUP_DESCRIBE, 0, "describeConsumerGroups", &request, &response)) {
            code = response.groups_count == 1 ? response.groups[0].error_code : KAFKA_UNKNOWN_SERVER_ERROR;
            if (code == KAFKA_NONE) return view_of_modern(admin, &response.groups[0], out);
            if (code != KAFKA_GROUP_ID_NOT_FOUND && code != KAFKA_UNSUPPORTED_VERSION) {
                if (admin_again(admin, code, &tries)) continue;
                return admin_check(admin, code, response.groups_count == 1 ? response.groups[0].error_message : (struct span){0});
            }
        } else if (admin->code != KAFKA_UNSUPPORTED_VERSION) return false;
        admin_forgive(admin);
        if (!admin_call(admin, out->node, API_DESCRIBE_GROUPS, 0, "describeConsumerGroups", &classic_request, &classic)) return false;
        code = classic.groups_count == 1 ? classic.groups[0].error_code : KAFKA_UNKNOWN_SERVER_ERROR;
        if (code == KAFKA_NONE) return view_of_classic(admin, &classic.groups[0], out);
    } while (admin_again(admin, code, &tries));
    return admin_check(admin, code, classic.groups_count == 1 ? classic.groups[0].error_message : (struct span){0});
}

bool groups_committed(struct admin *admin, struct span id, struct partition_row **rows, int32_t *count) {
    struct offset_fetch_request request;
    struct offset_fetch_response response;
    struct offset_fetch_request_offset_fetch_request_group group;
    offset_fetch_request_init(&request);
    offset_fetch_request_offset_fetch_request_group_init(&group);
    group.group_id = id;
    group.topics_count = -1;
    request.groups = &group;
    request.groups_count = 1;
    int tries = 0;
    int16_t code;
    do {
        /* 9: later ones tell topics by their ids. */
        if (!admin_call_coordinator(admin, id, API_OFFSET_FETCH, 9, "offsetFetch", &request, &response)) return false;
        code = response.groups_count == 1 ? response.groups[0].error_code : KAFKA_UNKNOWN_SERVER_ERROR;
    } while (admin_again(admin, code, &tries));
    if (!admin_check(admin, code, (struct span){0})) return false;
    const struct offset_fetch_response_offset_fetch_response_group *from = &response.groups[0];
    int32_t n = 0;
    for (int32_t t = 0; t < from->topics_count; t++) n += from->topics[t].partitions_count;
    *rows = ARENA_ARRAY(admin_memory(admin), (size_t)n + 1, struct partition_row);
    *count = 0;
    if (!*rows) return admin_fail_memory(admin);
    for (int32_t t = 0; t < from->topics_count; t++)
        for (int32_t p = 0; p < from->topics[t].partitions_count; p++) {
            const struct offset_fetch_response_offset_fetch_response_partitions *partition = &from->topics[t].partitions[p];
            (*rows)[(*count)++] = (struct partition_row){.topic = from->topics[t].name, .index = partition->partition_index, .error = partition->error_code,
                                                         .offset = partition->error_code ? -1 : partition->committed_offset, .timestamp = partition->committed_leader_epoch};
        }
    qsort(*rows, (size_t)*count, sizeof **rows, partition_compare);
    return true;
}
