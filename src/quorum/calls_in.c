/* quorum/calls_in.c - what others ask: Kafka's messages as raft's requests, and raft's answers as Kafka's. What comes in is
 * checked here for its shape only (the metadata partition and nothing else); what it means is raft's to say.
 */
#include "quorum/calls.h"

/* Endpoints of a message (name, host, port) as listeners that live in an arena; NULL: none, or no memory. */
#define LISTENERS_FROM(out, arena, items, count)                                                                             \
    do {                                                                                                                     \
        struct raft_listeners *made_ = (count) > 0 ? ARENA_NEW((arena), struct raft_listeners) : NULL;                       \
        for (int32_t i_ = 0; made_ && i_ < (count); i_++)                                                                    \
            if (!raft_listeners_add(made_, (struct raft_listener){(items)[i_].name, (items)[i_].host, (items)[i_].port})) break; \
        (out) = made_;                                                                                                       \
    } while (0)

/* ---- Requests that come in */

static bool decode_vote(const struct vote_request *in, int16_t version, struct raft_request *out) {
    out->cluster_id = in->cluster_id;
    if (!ONE_PARTITION(in, topic_name) || in->topics[0].partitions[0].partition_index != 0) return false;
    const struct vote_request_partition_data *part = &in->topics[0].partitions[0];
    out->vote = (struct raft_vote_request){
        .epoch = part->replica_epoch,
        .candidate = {part->replica_id, part->replica_directory_id},
        .voter = version >= 1 ? (struct raft_key){in->voter_id, part->voter_directory_id} : RAFT_NO_KEY,
        .last_epoch = part->last_offset_epoch,
        .last_offset = part->last_offset,
        .pre_vote = part->pre_vote,
    };
    return true;
}

static bool decode_begin(const struct begin_quorum_epoch_request *in, int16_t version, struct arena *arena, struct raft_request *out) {
    out->cluster_id = in->cluster_id;
    if (!ONE_PARTITION(in, topic_name) || in->topics[0].partitions[0].partition_index != 0) return false;
    const struct begin_quorum_epoch_request_partition_data *part = &in->topics[0].partitions[0];
    out->begin = (struct raft_begin_request){
        .epoch = part->leader_epoch,
        .leader_id = part->leader_id,
        .voter = version >= 1 ? (struct raft_key){in->voter_id, part->voter_directory_id} : RAFT_NO_KEY,
    };
    LISTENERS_FROM(out->begin.listeners, arena, in->leader_endpoints, in->leader_endpoints_count);
    return true;
}

static bool decode_end(const struct end_quorum_epoch_request *in, struct arena *arena, struct raft_request *out) {
    out->cluster_id = in->cluster_id;
    if (!ONE_PARTITION(in, topic_name) || in->topics[0].partitions[0].partition_index != 0) return false;
    const struct end_quorum_epoch_request_partition_data *part = &in->topics[0].partitions[0];
    uint32_t ids = part->preferred_successors_count > 0 ? (uint32_t)part->preferred_successors_count : 0;
    uint32_t keys = part->preferred_candidates_count > 0 ? (uint32_t)part->preferred_candidates_count : 0;
    struct raft_key *preferred = ARENA_ARRAY(arena, ids + keys + 1, struct raft_key);
    if (!preferred) return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < keys; i++)
        preferred[count++] = (struct raft_key){part->preferred_candidates[i].candidate_id, part->preferred_candidates[i].candidate_directory_id};
    for (uint32_t i = 0; i < ids && !keys; i++) preferred[count++] = (struct raft_key){.id = part->preferred_successors[i]};
    out->end = (struct raft_end_request){
        .epoch = part->leader_epoch, .leader_id = part->leader_id, .preferred = preferred, .preferred_count = count};
    LISTENERS_FROM(out->end.listeners, arena, in->leader_endpoints, in->leader_endpoints_count);
    return true;
}

static bool decode_fetch(struct quorum *quorum, const struct fetch_request *in, int16_t version, struct raft_request *out) {
    out->cluster_id = in->cluster_id;
    if (in->topics_count != 1 || in->topics[0].partitions_count != 1 || in->topics[0].partitions[0].partition != 0) return false;
    if (version >= 13 ? !uuid_equal(in->topics[0].topic_id, METADATA_TOPIC_ID) : !is_metadata(in->topics[0].topic)) return false;
    const struct fetch_request_fetch_partition *part = &in->topics[0].partitions[0];
    out->fetch = (struct raft_fetch_request){
        .epoch = part->current_leader_epoch,
        .replica = {version >= 15 ? in->replica_state.replica_id : in->replica_id, part->replica_directory_id},
        .offset = part->fetch_offset,
        .last_epoch = part->last_fetched_epoch,
        .high_watermark = version >= 18 ? part->high_watermark : INT64_MAX,
        .wait_max_ms = in->max_wait_ms,
        .bytes_max = in->max_bytes < part->partition_max_bytes || part->partition_max_bytes <= 0 ? in->max_bytes : part->partition_max_bytes,
    };
    struct log_epoch_end known = log_epoch_end_for(quorum->log, part->last_fetched_epoch);
    out->fetch.known_epoch = known.epoch;
    out->fetch.known_epoch_end = known.end;
    return true;
}

static bool decode_fetch_snapshot(const struct fetch_snapshot_request *in, struct raft_request *out) {
    out->cluster_id = in->cluster_id;
    if (in->topics_count != 1 || in->topics[0].partitions_count != 1) return false;
    const struct fetch_snapshot_request_partition_snapshot *part = &in->topics[0].partitions[0];
    out->fetch_snapshot = (struct raft_fetch_snapshot_request){
        .epoch = part->current_leader_epoch,
        .replica = {in->replica_id, part->replica_directory_id},
        .id = {part->snapshot_id.end_offset, part->snapshot_id.epoch},
        .position = part->position,
        .bytes_max = in->max_bytes,
    };
    return true;
}

bool calls_decode_request(struct quorum *quorum, struct quorum_request *in, struct raft_request *out) {
    *out = (struct raft_request){.call = in->call, .token = (uint64_t)(uintptr_t)in};
    const void *request = in->request;
    switch (in->call) {
    case RAFT_VOTE: return decode_vote(request, in->version, out);
    case RAFT_BEGIN: return decode_begin(request, in->version, in->arena, out);
    case RAFT_END: return decode_end(request, in->arena, out);
    case RAFT_FETCH: return decode_fetch(quorum, request, in->version, out);
    case RAFT_FETCH_SNAPSHOT: return decode_fetch_snapshot(request, out);
    case RAFT_ADD: {
        const struct add_raft_voter_request *add = request;
        out->cluster_id = add->cluster_id;
        out->add = (struct raft_add_request){.voter = {add->voter_id, add->voter_directory_id}, .timeout_ms = add->timeout_ms,
                                             .ack_when_committed = add->ack_when_committed};
        LISTENERS_FROM(out->add.listeners, in->arena, add->listeners, add->listeners_count);
        return true;
    }
    case RAFT_REMOVE: {
        const struct remove_raft_voter_request *remove = request;
        out->cluster_id = remove->cluster_id;
        out->remove = (struct raft_remove_request){.voter = {remove->voter_id, remove->voter_directory_id}};
        return true;
    }
    case RAFT_UPDATE: {
        const struct update_raft_voter_request *update = request;
        out->cluster_id = update->cluster_id;
        out->update = (struct raft_update_request){.epoch = update->current_leader_epoch,
                                                   .voter = {update->voter_id, update->voter_directory_id},
                                                   .kraft_min = update->kraft_version_feature.min_supported_version,
                                                   .kraft_max = update->kraft_version_feature.max_supported_version};
        LISTENERS_FROM(out->update.listeners, in->arena, update->listeners, update->listeners_count);
        return true;
    }
    case RAFT_API_VERSIONS:
    case RAFT_UPGRADE:
    case RAFT_CALLS: break;
    }
    return false;
}

/* ---- Answers that go out. A response that finds no memory is NULL: the caller of quorum_request closes. */

static void give(struct quorum *quorum, struct quorum_request *request, void *response) {
    list_remove(&request->node);
    request->answer(request, response);
}

/* The leader's endpoint, where the asker may reach it. */
#define ENDPOINTS(response, array_function, quorum, request, answer_)                                        \
    do {                                                                                                     \
        struct raft_listener at_;                                                                            \
        if ((answer_)->leader_id >= 0 && raft_leader_listener(&(quorum)->raft, (request)->listener, &at_)) { \
            void *host_ = arena_copy((request)->arena, at_.host.data, at_.host.size);                        \
            (response)->node_endpoints = array_function((request)->arena, 1);                                \
            if (host_ && (response)->node_endpoints) {                                                       \
                (response)->node_endpoints_count = 1;                                                        \
                (response)->node_endpoints[0].node_id = (answer_)->leader_id;                                \
                (response)->node_endpoints[0].host = span_of(host_, at_.host.size);                          \
                (response)->node_endpoints[0].port = at_.port;                                               \
            }                                                                                                \
        }                                                                                                    \
    } while (0)

static void *encode_vote(struct quorum *quorum, struct quorum_request *request, const struct raft_answer *answer) {
    struct arena *arena = request->arena;
    struct vote_response *out = ARENA_NEW(arena, struct vote_response);
    if (!out) return NULL;
    vote_response_init(out);
    if ((out->error_code = (int16_t)answer->top_error)) return out;
    ONE_PART(out, vote_response_topic_data, vote_response_partition_data, part);
    out->topics[0].topic_name = METADATA_TOPIC;
    part->error_code = (int16_t)answer->error;
    part->leader_id = answer->leader_id;
    part->leader_epoch = answer->epoch;
    part->vote_granted = answer->error == RAFT_NONE && answer->vote.granted;
    if (request->version >= 1) ENDPOINTS(out, vote_response_node_endpoint_array, quorum, request, answer);
    return out;
}

static void *encode_begin(struct quorum *quorum, struct quorum_request *request, const struct raft_answer *answer) {
    struct arena *arena = request->arena;
    struct begin_quorum_epoch_response *out = ARENA_NEW(arena, struct begin_quorum_epoch_response);
    if (!out) return NULL;
    begin_quorum_epoch_response_init(out);
    if ((out->error_code = (int16_t)answer->top_error)) return out;
    ONE_PART(out, begin_quorum_epoch_response_topic_data, begin_quorum_epoch_response_partition_data, part);
    out->topics[0].topic_name = METADATA_TOPIC;
    part->error_code = (int16_t)answer->error;
    part->leader_id = answer->leader_id;
    part->leader_epoch = answer->epoch;
    if (request->version >= 1) ENDPOINTS(out, begin_quorum_epoch_response_node_endpoint_array, quorum, request, answer);
    return out;
}

static void *encode_end(struct quorum *quorum, struct quorum_request *request, const struct raft_answer *answer) {
    struct arena *arena = request->arena;
    struct end_quorum_epoch_response *out = ARENA_NEW(arena, struct end_quorum_epoch_response);
    if (!out) return NULL;
    end_quorum_epoch_response_init(out);
    if ((out->error_code = (int16_t)answer->top_error)) return out;
    ONE_PART(out, end_quorum_epoch_response_topic_data, end_quorum_epoch_response_partition_data, part);
    out->topics[0].topic_name = METADATA_TOPIC;
    part->error_code = (int16_t)answer->error;
    part->leader_id = answer->leader_id;
    part->leader_epoch = answer->epoch;
    if (request->version >= 1) ENDPOINTS(out, end_quorum_epoch_response_node_endpoint_array, quorum, request, answer);
    return out;
}

static void *encode_fetch(struct quorum *quorum, struct quorum_request *request, const struct raft_answer *answer, struct chain *records) {
    struct arena *arena = request->arena;
    struct fetch_response *out = ARENA_NEW(arena, struct fetch_response);
    if (!out) return NULL;
    fetch_response_init(out);
    if ((out->error_code = (int16_t)answer->top_error)) return out;
    out->responses = fetch_response_fetchable_topic_response_array(arena, 1);
    struct fetch_response_partition_data *part = fetch_response_partition_data_array(arena, 1);
    if (!out->responses || !part) return NULL;
    out->responses_count = 1;
    if (request->version >= 13) out->responses[0].topic_id = METADATA_TOPIC_ID;
    else out->responses[0].topic = METADATA_TOPIC;
    out->responses[0].partitions = part;
    out->responses[0].partitions_count = 1;
    part->error_code = (int16_t)answer->error;
    part->current_leader.leader_id = answer->leader_id;
    part->current_leader.leader_epoch = answer->epoch;
    part->high_watermark = answer->fetch.high_watermark;
    part->records.bytes = SPAN_LITERAL("");
    if (answer->error == RAFT_NONE) {
        part->last_stable_offset = answer->fetch.high_watermark;
        part->log_start_offset = log_start(quorum->log);
        part->records.chain = records;
        if (answer->fetch.diverging) {
            part->diverging_epoch.epoch = answer->fetch.diverging_epoch;
            part->diverging_epoch.end_offset = answer->fetch.diverging_end;
        }
        part->snapshot_id.end_offset = answer->fetch.snapshot.offset;
        part->snapshot_id.epoch = answer->fetch.snapshot.epoch;
    }
    if (request->version >= 17) ENDPOINTS(out, fetch_response_node_endpoint_array, quorum, request, answer);
    return out;
}

static void *encode_fetch_snapshot(struct quorum *quorum, struct quorum_request *request, const struct raft_answer *answer,
                                   enum raft_error error, int64_t size, struct chain *piece) {
    struct arena *arena = request->arena;
    struct fetch_snapshot_response *out = ARENA_NEW(arena, struct fetch_snapshot_response);
    if (!out) return NULL;
    fetch_snapshot_response_init(out);
    if ((out->error_code = (int16_t)answer->top_error)) return out;
    ONE_PART(out, fetch_snapshot_response_topic_snapshot, fetch_snapshot_response_partition_snapshot, part);
    out->topics[0].name = METADATA_TOPIC;
    part->error_code = (int16_t)error;
    part->current_leader.leader_id = answer->leader_id;
    part->current_leader.leader_epoch = answer->epoch;
    part->unaligned_records.bytes = SPAN_LITERAL("");
    if (error == RAFT_NONE) {
        part->snapshot_id.end_offset = answer->fetch_snapshot.id.offset;
        part->snapshot_id.epoch = answer->fetch_snapshot.id.epoch;
        part->size = size;
        part->position = answer->fetch_snapshot.position;
        part->unaligned_records.chain = piece;
    }
    if (request->version >= 1) ENDPOINTS(out, fetch_snapshot_response_node_endpoint_array, quorum, request, answer);
    return out;
}

static void *encode_update(struct quorum *quorum, struct quorum_request *request, const struct raft_answer *answer) {
    struct update_raft_voter_response *out = ARENA_NEW(request->arena, struct update_raft_voter_response);
    struct raft_listener at;
    if (!out) return NULL;
    update_raft_voter_response_init(out);
    out->error_code = (int16_t)(answer->top_error ? answer->top_error : answer->error);
    out->current_leader.leader_id = answer->leader_id;
    out->current_leader.leader_epoch = answer->epoch;
    if (answer->leader_id < 0 || !raft_leader_listener(&quorum->raft, request->listener, &at)) return out;
    void *host = arena_copy(request->arena, at.host.data, at.host.size);
    if (!host) return NULL;
    out->current_leader.host = span_of(host, at.host.size);
    out->current_leader.port = at.port;
    return out;
}

static void *encode_change(struct quorum_request *request, const struct raft_answer *answer) {
    int16_t error = (int16_t)(answer->top_error ? answer->top_error : answer->error);
    struct span message = !error || answer->top_error || !answer->message ? (struct span){0} : span_text(answer->message);
    if (request->call == RAFT_ADD) {
        struct add_raft_voter_response *out = ARENA_NEW(request->arena, struct add_raft_voter_response);
        if (!out) return NULL;
        add_raft_voter_response_init(out);
        out->error_code = error;
        out->error_message = message;
        return out;
    }
    struct remove_raft_voter_response *out = ARENA_NEW(request->arena, struct remove_raft_voter_response);
    if (!out) return NULL;
    remove_raft_voter_response_init(out);
    out->error_code = error;
    out->error_message = message;
    return out;
}

void calls_answer(struct quorum *quorum, const struct raft_answer *answer) {
    if (answer->call == RAFT_UPGRADE) {
        struct quorum_upgrade *upgrade = (struct quorum_upgrade *)(uintptr_t)answer->token;
        assert(upgrade == quorum->upgrade);
        quorum->upgrade = NULL;
        upgrade->done(upgrade, (enum kafka_error)answer->error, answer->message);
        return;
    }
    struct quorum_request *request = calls_request_of(answer->token);
    void *response = NULL;
    switch (answer->call) {
    case RAFT_VOTE: response = encode_vote(quorum, request, answer); break;
    case RAFT_BEGIN: response = encode_begin(quorum, request, answer); break;
    case RAFT_END: response = encode_end(quorum, request, answer); break;
    case RAFT_FETCH: response = encode_fetch(quorum, request, answer, NULL); break;
    case RAFT_FETCH_SNAPSHOT: response = encode_fetch_snapshot(quorum, request, answer, answer->error, 0, NULL); break;
    case RAFT_UPDATE: response = encode_update(quorum, request, answer); break;
    case RAFT_ADD:
    case RAFT_REMOVE: response = encode_change(request, answer); break;
    case RAFT_API_VERSIONS:
    case RAFT_UPGRADE:
    case RAFT_CALLS: never("no answer of the quorum's");
    }
    give(quorum, request, response);
}

void calls_answer_fetch(struct quorum *quorum, const struct raft_answer *answer, struct chain *records) {
    struct quorum_request *request = calls_request_of(answer->token);
    give(quorum, request, encode_fetch(quorum, request, answer, records));
}

void calls_answer_snapshot(struct quorum *quorum, const struct raft_answer *answer, enum raft_error error, int64_t size, struct chain *piece) {
    struct quorum_request *request = calls_request_of(answer->token);
    give(quorum, request, encode_fetch_snapshot(quorum, request, answer, error, size, piece));
}

void calls_refuse(struct quorum *quorum, struct quorum_request *request, enum raft_error error) {
    struct raft_answer answer = {.call = request->call, .token = (uint64_t)(uintptr_t)request, .top_error = error, .leader_id = -1};
    calls_answer(quorum, &answer);
}
