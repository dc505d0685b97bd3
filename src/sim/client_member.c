/* sim/client_member.c - members of the group: join, sync, fetch the offsets, then heartbeats and commits until the group moves on. */
#include "base/bytes.h"
#include "sim/client.h"
#include <string.h>

static void member_live(struct client *client);

static void member_error(struct client *client, enum kafka_error error) {
    client_note_error(client, error);
    switch (error) {
    case KAFKA_UNKNOWN_MEMBER_ID: client->member.id[0] = 0; break;
    case KAFKA_GROUP_ID_NOT_FOUND: /* a commit to a group that was lost */
        SIM_CHECK(client->all->sim, !client->all->options.durable, "G1", "the group is forgotten: %s v%d says so", client->api->name, client->version);
        client->member.id[0] = 0;
        break;
    case KAFKA_NOT_COORDINATOR: case KAFKA_COORDINATOR_NOT_AVAILABLE: client->member.knows_coordinator = false; break;
    case KAFKA_MEMBER_ID_REQUIRED: case KAFKA_ILLEGAL_GENERATION: case KAFKA_REBALANCE_IN_PROGRESS: break;
    default: client_unexpected(client, error);
    }
    client_later(client, error == KAFKA_MEMBER_ID_REQUIRED ? 0 : client_backoff(client), member_join);
}

static void member_committed(struct client *client, enum err err, const void *answer) {
    const struct offset_commit_response *response = answer;
    struct clients *all = client->all;
    enum kafka_error error = KAFKA_NONE;
    for (uint32_t p = 0; err != ERR_NONE && p < all->options.partitions; p++)
        if (client->member.owned >> p & 1) history_commit_unanswered(all->history, p, client->member.offsets[p], client->member.generation);
    if (err == ERR_NONE && response->topics_count == 1)
        for (int32_t i = 0; i < response->topics[0].partitions_count; i++) {
            const struct offset_commit_response_offset_commit_response_partition *part = &response->topics[0].partitions[i];
            uint32_t partition = (uint32_t)part->partition_index;
            if (part->error_code) {
                error = (enum kafka_error)part->error_code;
                continue;
            }
            history_committed(all->history, partition, client->member.offsets[partition], client->member.generation, client->member.highest_when_sent);
            clients_acknowledged(all, CLIENT_COMMITTED);
            client->done++;
        }
    if (error) member_error(client, error);
    else client_later(client, err ? client_backoff(client) : 50 + client_backoff(client), member_live);
}

static void member_commit(struct client *client) {
    struct clients *all = client->all;
    struct offset_commit_request request;
    offset_commit_request_init(&request);
    request.group_id = GROUP;
    request.generation_id_or_member_epoch = client->member.generation;
    request.member_id = span_text(client->member.id);
    request.topics = offset_commit_request_offset_commit_request_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = TOPIC;
    request.topics[0].partitions = offset_commit_request_offset_commit_request_partition_array(&client->arena, (int32_t)all->options.partitions);
    int32_t count = 0;
    for (uint32_t p = 0; p < all->options.partitions; p++) {
        if (!(client->member.owned >> p & 1)) continue;
        client->member.offsets[p]++;
        history_commit_attempt(all->history, p, client->member.offsets[p]);
        request.topics[0].partitions[count].partition_index = (int32_t)p;
        request.topics[0].partitions[count].committed_metadata = SPAN_LITERAL("");
        request.topics[0].partitions[count++].committed_offset = client->member.offsets[p];
    }
    request.topics[0].partitions_count = count;
    client->member.highest_when_sent = history_generation(all->history);
    client_call(client, API_OFFSET_COMMIT, 5, 9, &request, 3000, member_committed);
}

static void member_beaten(struct client *client, enum err err, const void *answer) {
    const struct heartbeat_response *response = answer;
    if (err == ERR_NONE && response->error_code) member_error(client, (enum kafka_error)response->error_code);
    else client_later(client, 50 + client_backoff(client), member_live);
}

static void member_left(struct client *client, enum err err, const void *answer) {
    client->member.id[0] = 0;
    client->member.generation = -1;
    client_later(client, client_backoff(client), member_join);
}

static void member_live(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    uint64_t what = random_below(&all->random, 40);
    if (what == 0 && !all->verifying) {
        struct leave_group_request request;
        leave_group_request_init(&request);
        request.group_id = GROUP;
        request.member_id = span_text(client->member.id);
        client_call(client, API_LEAVE_GROUP, 0, 2, &request, 3000, member_left);
    } else if (what < 24 && client->member.owned) {
        member_commit(client);
    } else {
        struct heartbeat_request request;
        heartbeat_request_init(&request);
        request.group_id = GROUP;
        request.generation_id = client->member.generation;
        request.member_id = span_text(client->member.id);
        if (!client->member.owned) client->done++;
        client_call(client, API_HEARTBEAT, 0, 4, &request, 3000, member_beaten);
    }
}

static void member_fetch(struct client *client);

static void member_fetched(struct client *client, enum err err, const void *answer) {
    const struct offset_fetch_response *response = answer;
    struct clients *all = client->all;
    enum kafka_error error = err == ERR_NONE ? (enum kafka_error)response->error_code : KAFKA_NONE;
    uint64_t fetched = 0;
    for (int32_t i = 0; err == ERR_NONE && !error && response->topics_count == 1 && i < response->topics[0].partitions_count; i++) {
        const struct offset_fetch_response_offset_fetch_response_partition *part = &response->topics[0].partitions[i];
        uint32_t partition = (uint32_t)part->partition_index;
        if (part->error_code) {
            error = (enum kafka_error)part->error_code;
            break;
        }
        history_commit_fetched(all->history, partition, part->committed_offset, client->member.floors[partition], client->member.generation);
        client->member.offsets[partition] = part->committed_offset;
        fetched |= UINT64_C(1) << partition;
    }
    if (error) member_error(client, error);
    else client_later(client, err ? client_backoff(client) : 0, err || fetched != client->member.owned ? member_fetch : member_live);
}

static void member_fetch(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (!client->member.owned) {
        client_later(client, 0, member_live);
        return;
    }
    struct offset_fetch_request request;
    offset_fetch_request_init(&request);
    request.group_id = GROUP;
    request.topics = offset_fetch_request_offset_fetch_request_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = TOPIC;
    request.topics[0].partition_indexes = ARENA_ARRAY(&client->arena, all->options.partitions, int32_t);
    for (uint32_t p = 0; p < all->options.partitions; p++) {
        client->member.floors[p] = history_commit_floor(all->history, p);
        if (client->member.owned >> p & 1) request.topics[0].partition_indexes[request.topics[0].partition_indexes_count++] = (int32_t)p;
    }
    client_call(client, API_OFFSET_FETCH, 3, 7, &request, 3000, member_fetched);
}

static void member_synced(struct client *client, enum err err, const void *answer) {
    const struct sync_group_response *response = answer;
    struct clients *all = client->all;
    if (err != ERR_NONE) {
        client_later(client, client_backoff(client), member_join);
        return;
    }
    if (response->error_code) {
        member_error(client, (enum kafka_error)response->error_code);
        return;
    }
    client->member.owned = response->assignment.size == 8 ? load_be64(response->assignment.data) : 0;
    history_owns(all->history, client->member.generation, client->number, client->member.owned);
    sim_note(all->sim, "member owns", client->number, (uint64_t)client->member.generation, client->member.owned);
    client->member.rounds++;
    client_later(client, 0, member_fetch);
}

static void member_sync(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    struct sync_group_request request;
    sync_group_request_init(&request);
    request.group_id = GROUP;
    request.generation_id = client->member.generation;
    request.member_id = span_text(client->member.id);
    request.protocol_type = SPAN_LITERAL("consumer");
    request.protocol_name = SPAN_LITERAL("simulated");
    if (client->member.leads) {
        request.assignments = sync_group_request_sync_group_request_assignment_array(&client->arena, (int32_t)client->member.members_count);
        request.assignments_count = (int32_t)client->member.members_count;
        for (uint32_t m = 0; m < client->member.members_count; m++) {
            uint64_t owned = 0;
            for (uint32_t p = m; p < all->options.partitions; p += client->member.members_count) owned |= UINT64_C(1) << p;
            uint8_t *bytes = arena_alloc(&client->arena, 8);
            store_be64(bytes, owned);
            request.assignments[m].member_id = span_text(client->member.members[m]);
            request.assignments[m].assignment = span_of(bytes, 8);
        }
    }
    client_call(client, API_SYNC_GROUP, 0, 5, &request, 10000, member_synced);
}

static void member_id_set(char out[MEMBER_ID_BYTES], struct span id) {
    size_t size = id.size < MEMBER_ID_BYTES - 1 ? id.size : MEMBER_ID_BYTES - 1;
    if (size) memcpy(out, id.data, size);
    out[size] = 0;
}

static void member_joined(struct client *client, enum err err, const void *answer) {
    const struct join_group_response *response = answer;
    if (err != ERR_NONE) {
        client_later(client, client_backoff(client), member_join);
        return;
    }
    if (response->error_code == KAFKA_MEMBER_ID_REQUIRED) member_id_set(client->member.id, response->member_id);
    if (response->error_code) {
        member_error(client, (enum kafka_error)response->error_code);
        return;
    }
    member_id_set(client->member.id, response->member_id);
    client->member.generation = response->generation_id;
    client->member.leads = span_equal(response->leader, response->member_id);
    client->member.members_count = 0;
    for (int32_t i = 0; client->member.leads && i < response->members_count && i < CLIENTS_MAX; i++)
        member_id_set(client->member.members[client->member.members_count++], response->members[i].member_id);
    client_later(client, 0, member_sync);
}

static void member_found(struct client *client, enum err err, const void *answer) {
    const struct find_coordinator_response *response = answer;
    enum kafka_error error = KAFKA_NONE;
    if (err == ERR_NONE) {
        bool many = client->version >= 4;
        error = many && response->coordinators_count == 1 ? (enum kafka_error)response->coordinators[0].error_code : (enum kafka_error)response->error_code;
        if (error) {
            client_note_error(client, error);
            client_unexpected(client, error);
        } else {
            client->member.knows_coordinator = true;
        }
    }
    client_later(client, err || error ? client_backoff(client) : 0, member_join);
}

/* Asking for the coordinator is what makes the offsets' topic, too. */
static void member_find(struct client *client) {
    struct find_coordinator_request request;
    find_coordinator_request_init(&request);
    request.key = GROUP;
    struct span *keys = ARENA_NEW(&client->arena, struct span);
    *keys = GROUP;
    bool many = random_chance(&client->all->random, 1, 2);
    if (many) {
        request.key = SPAN_LITERAL("");
        request.coordinator_keys = keys;
        request.coordinator_keys_count = 1;
    }
    client_call(client, API_FIND_COORDINATOR, many ? 4 : 1, many ? 5 : 3, &request, 3000, member_found);
}

void member_join(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    client->member.owned = 0;
    if (!all->topic_exists) {
        client_later(client, 100, member_join);
        return;
    }
    if (!client->member.knows_coordinator) {
        member_find(client);
        return;
    }
    /* A subscription as the consumers' own protocol writes it: version 1, one topic, no user data, no owned partitions. */
    static const uint8_t subscription[] = {0, 1, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    struct join_group_request request;
    join_group_request_init(&request);
    request.group_id = GROUP;
    request.session_timeout_ms = 6000;
    request.rebalance_timeout_ms = 4000;
    request.member_id = client->member.id[0] ? span_text(client->member.id) : SPAN_LITERAL("");
    request.protocol_type = SPAN_LITERAL("consumer");
    request.protocols = join_group_request_join_group_request_protocol_array(&client->arena, 1);
    request.protocols_count = 1;
    request.protocols[0].name = SPAN_LITERAL("simulated");
    request.protocols[0].metadata = span_of(subscription, sizeof subscription);
    client_call(client, API_JOIN_GROUP, 2, 9, &request, 12000, member_joined);
}
