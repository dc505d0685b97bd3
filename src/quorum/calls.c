/* quorum/calls.c - raft's requests and answers as Kafka's messages, in both directions. What comes in is checked here for
 * its shape only (the metadata partition and nothing else); what it means is raft's to say.
 */
#include "base/bytes.h"
#include "quorum/host.h"
#include <string.h>

static const char TOPIC[] = "__cluster_metadata";
static const struct uuid TOPIC_ID = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

static_assert((int)RAFT_NOT_LEADER_OR_FOLLOWER == (int)KAFKA_NOT_LEADER_OR_FOLLOWER, "raft's errors are Kafka's");
static_assert((int)RAFT_INVALID_VOTER_KEY == (int)KAFKA_INVALID_VOTER_KEY, "raft's errors are Kafka's");
static_assert((int)RAFT_DUPLICATE_VOTER == (int)KAFKA_DUPLICATE_VOTER, "raft's errors are Kafka's");
static_assert((int)RAFT_VOTER_NOT_FOUND == (int)KAFKA_VOTER_NOT_FOUND, "raft's errors are Kafka's");
static_assert((int)RAFT_INCONSISTENT_CLUSTER_ID == (int)KAFKA_INCONSISTENT_CLUSTER_ID, "raft's errors are Kafka's");
static_assert((int)RAFT_SNAPSHOT_NOT_FOUND == (int)KAFKA_SNAPSHOT_NOT_FOUND, "raft's errors are Kafka's");
static_assert((int)RAFT_POSITION_OUT_OF_RANGE == (int)KAFKA_POSITION_OUT_OF_RANGE, "raft's errors are Kafka's");
static_assert((int)RAFT_FENCED_LEADER_EPOCH == (int)KAFKA_FENCED_LEADER_EPOCH, "raft's errors are Kafka's");
static_assert((int)RAFT_INVALID_UPDATE_VERSION == (int)KAFKA_INVALID_UPDATE_VERSION, "raft's errors are Kafka's");

static bool is_topic(struct span name) {
    return span_equal(name, SPAN_LITERAL(TOPIC));
}

/* One topic, one partition, and that is the metadata's. */
#define ONE_PARTITION(message, field) \
    ((message)->topics_count == 1 && is_topic((message)->topics[0].field) && (message)->topics[0].partitions_count == 1)

/* Endpoints of a message (name, host, port) as listeners that live in an arena; NULL: none, or no memory. */
#define LISTENERS_FROM(out, arena, items, count)                                                                             \
    do {                                                                                                                     \
        struct raft_listeners *made_ = (count) > 0 ? ARENA_NEW((arena), struct raft_listeners) : NULL;                       \
        for (int32_t i_ = 0; made_ && i_ < (count); i_++)                                                                    \
            if (!raft_listeners_add(made_, (struct raft_listener){(items)[i_].name, (items)[i_].host, (items)[i_].port})) break; \
        (out) = made_;                                                                                                       \
    } while (0)

/* The other way; false: no memory. */
#define LISTENERS_TO(message, items, items_count_, array_function, arena, listeners_)           \
    do {                                                                                        \
        const struct raft_listeners *from_ = (listeners_);                                      \
        (message)->items = array_function((arena), from_->count);                               \
        if (!(message)->items) return NULL;                                                     \
        (message)->items_count_ = from_->count;                                                 \
        for (uint32_t i_ = 0; i_ < from_->count; i_++) {                                        \
            struct raft_listener listener_ = raft_listeners_at(from_, i_);                      \
            (message)->items[i_].name = listener_.name;                                         \
            (message)->items[i_].host = listener_.host;                                         \
            (message)->items[i_].port = listener_.port;                                         \
        }                                                                                       \
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
    if (version >= 13 ? !uuid_equal(in->topics[0].topic_id, TOPIC_ID) : !is_topic(in->topics[0].topic)) return false;
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

/* A response of topics with one partition: makes both, and leaves `part` at the partition. NULL: no memory. */
#define ONE_PART(response, type, part_type, part)                                           \
    struct part_type *part = NULL;                                                          \
    do {                                                                                    \
        (response)->topics = type##_array(arena, 1);                                        \
        part = part_type##_array(arena, 1);                                                 \
        if (!(response)->topics || !part) return NULL;                                      \
        (response)->topics_count = 1;                                                       \
        (response)->topics[0].partitions = part;                                            \
        (response)->topics[0].partitions_count = 1;                                         \
    } while (0)

static void *encode_vote(struct quorum *quorum, struct quorum_request *request, const struct raft_answer *answer) {
    struct arena *arena = request->arena;
    struct vote_response *out = ARENA_NEW(arena, struct vote_response);
    if (!out) return NULL;
    vote_response_init(out);
    if ((out->error_code = (int16_t)answer->top_error)) return out;
    ONE_PART(out, vote_response_topic_data, vote_response_partition_data, part);
    out->topics[0].topic_name = SPAN_LITERAL(TOPIC);
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
    out->topics[0].topic_name = SPAN_LITERAL(TOPIC);
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
    out->topics[0].topic_name = SPAN_LITERAL(TOPIC);
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
    if (request->version >= 13) out->responses[0].topic_id = TOPIC_ID;
    else out->responses[0].topic = SPAN_LITERAL(TOPIC);
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
    out->topics[0].name = SPAN_LITERAL(TOPIC);
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

/* ---- Requests that go out */

static void *make_vote(struct arena *arena, const struct raft_request *request) {
    struct vote_request *out = ARENA_NEW(arena, struct vote_request);
    if (!out) return NULL;
    vote_request_init(out);
    ONE_PART(out, vote_request_topic_data, vote_request_partition_data, part);
    out->cluster_id = request->cluster_id;
    out->topics[0].topic_name = SPAN_LITERAL(TOPIC);
    out->voter_id = request->vote.voter.id;
    part->voter_directory_id = request->vote.voter.directory;
    part->replica_epoch = request->vote.epoch;
    part->replica_id = request->vote.candidate.id;
    part->replica_directory_id = request->vote.candidate.directory;
    part->last_offset_epoch = request->vote.last_epoch;
    part->last_offset = request->vote.last_offset;
    part->pre_vote = request->vote.pre_vote;
    return out;
}

static void *make_begin(struct arena *arena, const struct raft_request *request) {
    struct begin_quorum_epoch_request *out = ARENA_NEW(arena, struct begin_quorum_epoch_request);
    if (!out) return NULL;
    begin_quorum_epoch_request_init(out);
    ONE_PART(out, begin_quorum_epoch_request_topic_data, begin_quorum_epoch_request_partition_data, part);
    out->cluster_id = request->cluster_id;
    out->topics[0].topic_name = SPAN_LITERAL(TOPIC);
    out->voter_id = request->begin.voter.id;
    part->voter_directory_id = request->begin.voter.directory;
    part->leader_id = request->begin.leader_id;
    part->leader_epoch = request->begin.epoch;
    LISTENERS_TO(out, leader_endpoints, leader_endpoints_count, begin_quorum_epoch_request_leader_endpoint_array, arena, request->begin.listeners);
    return out;
}

static void *make_end(struct arena *arena, const struct raft_request *request) {
    struct end_quorum_epoch_request *out = ARENA_NEW(arena, struct end_quorum_epoch_request);
    if (!out) return NULL;
    end_quorum_epoch_request_init(out);
    ONE_PART(out, end_quorum_epoch_request_topic_data, end_quorum_epoch_request_partition_data, part);
    out->cluster_id = request->cluster_id;
    out->topics[0].topic_name = SPAN_LITERAL(TOPIC);
    part->leader_id = request->end.leader_id;
    part->leader_epoch = request->end.epoch;
    uint32_t count = request->end.preferred_count;
    part->preferred_successors = ARENA_ARRAY(arena, count + 1, int32_t);
    part->preferred_candidates = end_quorum_epoch_request_replica_info_array(arena, (int32_t)count);
    if (!part->preferred_successors || !part->preferred_candidates) return NULL;
    part->preferred_successors_count = part->preferred_candidates_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        part->preferred_successors[i] = request->end.preferred[i].id;
        part->preferred_candidates[i].candidate_id = request->end.preferred[i].id;
        part->preferred_candidates[i].candidate_directory_id = request->end.preferred[i].directory;
    }
    LISTENERS_TO(out, leader_endpoints, leader_endpoints_count, end_quorum_epoch_request_leader_endpoint_array, arena, request->end.listeners);
    return out;
}

static void *make_fetch(struct arena *arena, const struct raft_request *request) {
    struct fetch_request *out = ARENA_NEW(arena, struct fetch_request);
    if (!out) return NULL;
    fetch_request_init(out);
    ONE_PART(out, fetch_request_fetch_topic, fetch_request_fetch_partition, part);
    out->cluster_id = request->cluster_id;
    out->max_bytes = request->fetch.bytes_max;
    out->max_wait_ms = request->fetch.wait_max_ms;
    out->replica_state.replica_id = request->fetch.replica.id;
    out->topics[0].topic_id = TOPIC_ID;
    part->current_leader_epoch = request->fetch.epoch;
    part->last_fetched_epoch = request->fetch.last_epoch;
    part->fetch_offset = request->fetch.offset;
    part->replica_directory_id = request->fetch.replica.directory;
    part->high_watermark = request->fetch.high_watermark;
    part->partition_max_bytes = request->fetch.bytes_max;
    return out;
}

static void *make_fetch_snapshot(struct arena *arena, const struct raft_request *request) {
    struct fetch_snapshot_request *out = ARENA_NEW(arena, struct fetch_snapshot_request);
    if (!out) return NULL;
    fetch_snapshot_request_init(out);
    ONE_PART(out, fetch_snapshot_request_topic_snapshot, fetch_snapshot_request_partition_snapshot, part);
    out->cluster_id = request->cluster_id;
    out->replica_id = request->fetch_snapshot.replica.id;
    out->max_bytes = request->fetch_snapshot.bytes_max;
    out->topics[0].name = SPAN_LITERAL(TOPIC);
    part->current_leader_epoch = request->fetch_snapshot.epoch;
    part->snapshot_id.end_offset = request->fetch_snapshot.id.offset;
    part->snapshot_id.epoch = request->fetch_snapshot.id.epoch;
    part->position = request->fetch_snapshot.position;
    part->replica_directory_id = request->fetch_snapshot.replica.directory;
    return out;
}

static void *make_add(struct arena *arena, const struct raft_request *request) {
    struct add_raft_voter_request *out = ARENA_NEW(arena, struct add_raft_voter_request);
    if (!out) return NULL;
    add_raft_voter_request_init(out);
    out->cluster_id = request->cluster_id;
    out->timeout_ms = request->add.timeout_ms;
    out->voter_id = request->add.voter.id;
    out->voter_directory_id = request->add.voter.directory;
    out->ack_when_committed = request->add.ack_when_committed;
    LISTENERS_TO(out, listeners, listeners_count, add_raft_voter_request_listener_array, arena, request->add.listeners);
    return out;
}

static void *make_remove(struct arena *arena, const struct raft_request *request) {
    struct remove_raft_voter_request *out = ARENA_NEW(arena, struct remove_raft_voter_request);
    if (!out) return NULL;
    remove_raft_voter_request_init(out);
    out->cluster_id = request->cluster_id;
    out->voter_id = request->remove.voter.id;
    out->voter_directory_id = request->remove.voter.directory;
    return out;
}

static void *make_update(struct arena *arena, const struct raft_request *request) {
    struct update_raft_voter_request *out = ARENA_NEW(arena, struct update_raft_voter_request);
    if (!out) return NULL;
    update_raft_voter_request_init(out);
    out->cluster_id = request->cluster_id;
    out->current_leader_epoch = request->update.epoch;
    out->voter_id = request->update.voter.id;
    out->voter_directory_id = request->update.voter.directory;
    out->kraft_version_feature.min_supported_version = request->update.kraft_min;
    out->kraft_version_feature.max_supported_version = request->update.kraft_max;
    LISTENERS_TO(out, listeners, listeners_count, update_raft_voter_request_listener_array, arena, request->update.listeners);
    return out;
}

static void *make_api_versions(struct arena *arena) {
    struct api_versions_request *out = ARENA_NEW(arena, struct api_versions_request);
    if (!out) return NULL;
    api_versions_request_init(out);
    out->client_software_name = SPAN_LITERAL("moldau");
    out->client_software_version = SPAN_LITERAL("1");
    return out;
}

static const struct { int16_t key, version_min; } CALLS[RAFT_CALLS] = {
    [RAFT_VOTE] = {API_VOTE, 0}, [RAFT_BEGIN] = {API_BEGIN_QUORUM_EPOCH, 0}, [RAFT_END] = {API_END_QUORUM_EPOCH, 0},
    [RAFT_FETCH] = {API_FETCH, 13}, [RAFT_FETCH_SNAPSHOT] = {API_FETCH_SNAPSHOT, 0}, [RAFT_ADD] = {API_ADD_RAFT_VOTER, 0},
    [RAFT_REMOVE] = {API_REMOVE_RAFT_VOTER, 0}, [RAFT_UPDATE] = {API_UPDATE_RAFT_VOTER, 0}, [RAFT_API_VERSIONS] = {API_API_VERSIONS, 3},
};

void calls_free(struct quorum_box *box) {
    struct pool *pool = box->call.quorum->pool;
    list_remove(&box->call.calls);
    list_remove(&box->ready);
    if (box->records) slab_drop(box->records);
    arena_destroy(&box->arena);
    pool_free(pool, box, sizeof(*box));
}

/* Without memory nothing goes out: raft sees a request that is never answered, and tries again after its time-out. */
void calls_send(struct quorum *quorum, const struct raft_effect *effect) {
    const struct raft_request *request = &effect->send.request;
    struct quorum_box *box = quorum->peers ? POOL_NEW(quorum->pool, struct quorum_box) : NULL;
    if (!box) return;
    arena_init(&box->arena, quorum->pool, 0);
    struct arena *arena = &box->arena;
    struct span host = effect->send.to.host;
    void *message = NULL, *host_copy = NULL;
    uint16_t port = effect->send.to.port;
    if (effect->send.to.id <= -2) {
        const struct quorum_address *at = &quorum->bootstrap[-2 - effect->send.to.id];
        host = span_text(at->host);
        port = at->port;
    }
    switch (request->call) {
    case RAFT_VOTE: message = make_vote(arena, request); break;
    case RAFT_BEGIN: message = make_begin(arena, request); break;
    case RAFT_END: message = make_end(arena, request); break;
    case RAFT_FETCH: message = make_fetch(arena, request); break;
    case RAFT_FETCH_SNAPSHOT: message = make_fetch_snapshot(arena, request); break;
    case RAFT_ADD: message = make_add(arena, request); break;
    case RAFT_REMOVE: message = make_remove(arena, request); break;
    case RAFT_UPDATE: message = make_update(arena, request); break;
    case RAFT_API_VERSIONS: message = make_api_versions(arena); break;
    case RAFT_UPGRADE:
    case RAFT_CALLS: never("not sent");
    }
    const struct wire_api *api = wire_api(CALLS[request->call].key);
    list_init(&box->ready);
    list_init(&box->call.node);
    list_init(&box->call.calls);
    box->call.quorum = quorum;
    box->call.arena = arena;
    box->call.to = effect->send.to.id;
    box->call.port = port;
    box->call.api = api;
    box->call.version_min = CALLS[request->call].version_min;
    if (box->call.version_min < api->version_min) box->call.version_min = api->version_min;
    if (request->call == RAFT_VOTE && request->vote.pre_vote) box->call.version_min = 2; /* the field cannot be left out */
    box->call.version_max = (int16_t)(api->version_max - (api->is_unstable ? 1 : 0));
    box->call.request = message;
    box->call.request_id = effect->send.request_id;
    box->call.kind = request->call;
    box->call.deadline_ms = quorum_now_ms(quorum) + quorum->raft.options.request_timeout_ms;
    if (message) host_copy = arena_copy(arena, host.data, host.size);
    if (!host_copy) {
        calls_free(box);
        return;
    }
    box->call.host = span_of(host_copy, host.size);
    list_push(&quorum->calls, &box->call.calls);
    quorum->peers->send(quorum->peers, &box->call);
}

/* ---- Responses that come in */

#define RESPONSE_LEADER(out, in)                                                                       \
    do {                                                                                               \
        for (int32_t i_ = 0; i_ < (in)->node_endpoints_count; i_++)                                    \
            if ((in)->node_endpoints[i_].node_id == (out)->leader_id) {                                \
                (out)->leader.host = (in)->node_endpoints[i_].host;                                    \
                (out)->leader.port = (uint16_t)(in)->node_endpoints[i_].port;                          \
            }                                                                                          \
    } while (0)

static struct slab *copy_records(struct quorum *quorum, struct wire_records records, uint32_t *bytes) {
    *bytes = 0;
    struct span from = records.bytes;
    if (!from.size || from.size > UINT32_MAX) return NULL;
    struct slab *slab = slab_new(quorum->pool, (uint32_t)from.size);
    if (!slab) return NULL; /* as though nothing had come: it is asked for again */
    memcpy(slab->bytes, from.data, from.size);
    slab->used = (uint32_t)from.size;
    *bytes = slab->used;
    return slab;
}

static bool read_fetch(struct quorum *quorum, struct quorum_box *box, const struct fetch_response *in) {
    struct raft_response *out = &box->response;
    out->fetch.snapshot = RAFT_NO_SNAPSHOT;
    if ((out->top_error = (enum raft_error)in->error_code)) return true;
    if (in->responses_count != 1 || in->responses[0].partitions_count != 1 || in->responses[0].partitions[0].partition_index != 0 ||
        !uuid_equal(in->responses[0].topic_id, TOPIC_ID))
        return false;
    const struct fetch_response_partition_data *part = &in->responses[0].partitions[0];
    out->error = (enum raft_error)part->error_code;
    out->epoch = part->current_leader.leader_epoch;
    out->leader_id = part->current_leader.leader_id;
    RESPONSE_LEADER(out, in);
    out->fetch.high_watermark = part->high_watermark;
    out->fetch.diverging = part->diverging_epoch.epoch >= 0 || part->diverging_epoch.end_offset >= 0;
    out->fetch.diverging_epoch = part->diverging_epoch.epoch;
    out->fetch.diverging_end = part->diverging_epoch.end_offset;
    if (out->fetch.diverging) {
        struct log_epoch_end known = log_epoch_end_for(quorum->log, part->diverging_epoch.epoch);
        out->fetch.known_epoch = known.epoch;
        out->fetch.known_epoch_end = known.end;
    }
    out->fetch.snapshot = (struct raft_snapshot_id){part->snapshot_id.end_offset, part->snapshot_id.epoch};
    out->fetch.snapshot_here = out->fetch.snapshot.offset >= 0 && snapshots_has(quorum, out->fetch.snapshot);
    if (out->error == RAFT_NONE) box->records = copy_records(quorum, part->records, &out->fetch.records_bytes);
    return true;
}

static bool read_fetch_snapshot(struct quorum *quorum, struct quorum_box *box, const struct fetch_snapshot_response *in) {
    struct raft_response *out = &box->response;
    if ((out->top_error = (enum raft_error)in->error_code)) return true;
    if (in->topics_count != 1 || in->topics[0].partitions_count != 1 || in->topics[0].partitions[0].index != 0) return false;
    const struct fetch_snapshot_response_partition_snapshot *part = &in->topics[0].partitions[0];
    out->error = (enum raft_error)part->error_code;
    out->epoch = part->current_leader.leader_epoch;
    out->leader_id = part->current_leader.leader_id;
    RESPONSE_LEADER(out, in);
    out->fetch_snapshot.id = (struct raft_snapshot_id){part->snapshot_id.end_offset, part->snapshot_id.epoch};
    out->fetch_snapshot.size = part->size;
    out->fetch_snapshot.position = part->position;
    if (out->error == RAFT_NONE) box->records = copy_records(quorum, part->unaligned_records, &out->fetch_snapshot.bytes);
    return true;
}

/* The three that differ in nothing but their names. */
#define READ_SIMPLE(out, in)                                                                                        \
    do {                                                                                                            \
        if (((out)->top_error = (enum raft_error)(in)->error_code)) return true;                                    \
        if ((in)->topics_count != 1 || (in)->topics[0].partitions_count != 1 ||                                     \
            (in)->topics[0].partitions[0].partition_index != 0 || !is_topic((in)->topics[0].topic_name))            \
            return false;                                                                                           \
        (out)->error = (enum raft_error)(in)->topics[0].partitions[0].error_code;                                   \
        (out)->epoch = (in)->topics[0].partitions[0].leader_epoch;                                                  \
        (out)->leader_id = (in)->topics[0].partitions[0].leader_id;                                                 \
        RESPONSE_LEADER((out), (in));                                                                               \
    } while (0)

static bool read_vote(struct raft_response *out, const struct vote_response *in) {
    READ_SIMPLE(out, in);
    out->vote.granted = in->topics[0].partitions[0].vote_granted;
    return true;
}
static bool read_begin(struct raft_response *out, const struct begin_quorum_epoch_response *in) {
    READ_SIMPLE(out, in);
    return true;
}
static bool read_end(struct raft_response *out, const struct end_quorum_epoch_response *in) {
    READ_SIMPLE(out, in);
    return true;
}

static bool read_api_versions(struct raft_response *out, const struct api_versions_response *in) {
    if ((out->top_error = (enum raft_error)in->error_code)) return true;
    for (int32_t i = 0; i < in->supported_features_count; i++) {
        if (!span_equal(in->supported_features[i].name, SPAN_LITERAL("kraft.version"))) continue;
        out->api_versions.kraft_min = in->supported_features[i].min_version;
        out->api_versions.kraft_max = in->supported_features[i].max_version;
    }
    return true;
}

static bool read_response(struct quorum *quorum, struct quorum_box *box, const void *response) {
    struct raft_response *out = &box->response;
    switch (out->call) {
    case RAFT_VOTE: return read_vote(out, response);
    case RAFT_BEGIN: return read_begin(out, response);
    case RAFT_END: return read_end(out, response);
    case RAFT_FETCH: return read_fetch(quorum, box, response);
    case RAFT_FETCH_SNAPSHOT: return read_fetch_snapshot(quorum, box, response);
    case RAFT_ADD: out->error = (enum raft_error)((const struct add_raft_voter_response *)response)->error_code; return true;
    case RAFT_REMOVE: out->error = (enum raft_error)((const struct remove_raft_voter_response *)response)->error_code; return true;
    case RAFT_UPDATE: {
        const struct update_raft_voter_response *in = response;
        out->error = (enum raft_error)in->error_code;
        out->epoch = in->current_leader.leader_epoch;
        out->leader_id = in->current_leader.leader_id;
        out->leader.host = in->current_leader.host;
        out->leader.port = (uint16_t)in->current_leader.port;
        return true;
    }
    case RAFT_API_VERSIONS: return read_api_versions(out, response);
    case RAFT_UPGRADE:
    case RAFT_CALLS: break;
    }
    return false;
}

static enum raft_error error_of(enum err err) {
    switch (err) {
    case ERR_NONE: return RAFT_NONE;
    case ERR_UNSUPPORTED: return RAFT_UNSUPPORTED_VERSION;
    case ERR_INVALID: return RAFT_NETWORK_EXCEPTION;
    default: return RAFT_BROKER_NOT_AVAILABLE;
    }
}

void quorum_done(struct quorum_call *call, enum err err, int16_t version, const void *response) {
    struct quorum_box *box = container_of(call, struct quorum_box, call);
    struct quorum *quorum = call->quorum;
    if (call->unwanted || quorum->state == QUORUM_FAILED || quorum->state == QUORUM_STOPPED) {
        calls_free(box);
        return;
    }
    box->response = (struct raft_response){.call = call->kind, .request_id = call->request_id, .from = call->to,
                                           .top_error = error_of(err), .leader_id = -1};
    if (!err && !read_response(quorum, box, response)) box->response.top_error = RAFT_UNKNOWN_SERVER_ERROR;
    if (box->response.leader.host.size) { /* outlives this call: it may have to wait for its turn */
        void *host = arena_copy(&box->arena, box->response.leader.host.data, box->response.leader.host.size);
        box->response.leader.host = span_of(host, host ? box->response.leader.host.size : 0);
    }
    list_push(&quorum->responses, &box->ready);
    quorum_pump(quorum);
}

/* ---- DescribeQuorum */

static bool describe_replicas(struct quorum *quorum, struct quorum_request *request, const struct raft_replica_info *from, uint32_t count,
                              struct describe_quorum_response_replica_state **items, int32_t *items_count) {
    time_ms wall = shard_wall(quorum->shard);
    int64_t now = quorum_now_ms(quorum);
    *items = describe_quorum_response_replica_state_array(request->arena, (int32_t)count);
    if (!*items) return false;
    *items_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        struct describe_quorum_response_replica_state *to = &(*items)[i];
        to->replica_id = from[i].key.id;
        if (request->version >= 2) to->replica_directory_id = from[i].key.directory;
        to->log_end_offset = from[i].end;
        to->last_fetch_timestamp = from[i].fetch_ms < 0 ? -1 : wall - (now - from[i].fetch_ms);
        to->last_caught_up_timestamp = from[i].caught_up_ms < 0 ? -1 : wall - (now - from[i].caught_up_ms);
    }
    return true;
}

static bool describe_nodes(struct quorum *quorum, struct quorum_request *request, struct describe_quorum_response *out) {
    const struct raft_voters *voters = raft_voters(&quorum->raft);
    out->nodes = describe_quorum_response_node_array(request->arena, voters->count);
    if (!out->nodes) return false;
    out->nodes_count = voters->count;
    for (uint32_t i = 0; i < voters->count; i++) {
        struct describe_quorum_response_node *node = &out->nodes[i];
        node->node_id = voters->voters[i].key.id;
        node->listeners = describe_quorum_response_listener_array(request->arena, voters->voters[i].count);
        if (!node->listeners) return false;
        node->listeners_count = voters->voters[i].count;
        for (uint32_t j = 0; j < voters->voters[i].count; j++) {
            struct raft_listener at = raft_voters_listener(voters, i, j);
            void *name = arena_copy(request->arena, at.name.data, at.name.size), *host = arena_copy(request->arena, at.host.data, at.host.size);
            if (!name || !host) return false;
            node->listeners[j].name = span_of(name, at.name.size);
            node->listeners[j].host = span_of(host, at.host.size);
            node->listeners[j].port = at.port;
        }
    }
    return true;
}

/* Asked for anything but the one partition that there is: each that was named is told so. */
static bool describe_unknown(const struct describe_quorum_request *in, struct arena *arena, struct describe_quorum_response *out) {
    out->topics = describe_quorum_response_topic_data_array(arena, in->topics_count);
    if (!out->topics) return false;
    out->topics_count = in->topics_count;
    for (int32_t t = 0; t < in->topics_count; t++) {
        out->topics[t].topic_name = in->topics[t].topic_name;
        out->topics[t].partitions = describe_quorum_response_partition_data_array(arena, in->topics[t].partitions_count);
        if (!out->topics[t].partitions) return false;
        out->topics[t].partitions_count = in->topics[t].partitions_count;
        for (int32_t i = 0; i < in->topics[t].partitions_count; i++) {
            out->topics[t].partitions[i].partition_index = in->topics[t].partitions[i].partition_index;
            out->topics[t].partitions[i].error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            out->topics[t].partitions[i].error_message = SPAN_LITERAL("This server does not host this topic-partition.");
        }
    }
    return true;
}

void *calls_describe(struct quorum *quorum, struct quorum_request *request) {
    const struct describe_quorum_request *in = request->request;
    struct arena *arena = request->arena;
    struct describe_quorum_response *out = ARENA_NEW(arena, struct describe_quorum_response);
    struct raft_description *description = ARENA_NEW(arena, struct raft_description);
    if (!out || !description) return NULL;
    describe_quorum_response_init(out);
    if (!ONE_PARTITION(in, topic_name) || in->topics[0].partitions[0].partition_index != 0) return describe_unknown(in, arena, out) ? out : NULL;
    ONE_PART(out, describe_quorum_response_topic_data, describe_quorum_response_partition_data, part);
    out->topics[0].topic_name = SPAN_LITERAL(TOPIC);
    part->partition_index = 0;
    part->leader_id = quorum->raft.leader_id;
    part->leader_epoch = quorum->raft.epoch;
    part->high_watermark = -1;
    bool runs = quorum->state == QUORUM_RUNNING || quorum->state == QUORUM_STOPPING;
    if (!runs || !raft_describe(&quorum->raft, quorum_now_ms(quorum), description)) {
        part->error_code = KAFKA_NOT_LEADER_OR_FOLLOWER;
        return out;
    }
    part->leader_id = description->leader_id;
    part->leader_epoch = description->epoch;
    part->high_watermark = description->high_watermark;
    bool made = describe_replicas(quorum, request, description->voters, description->voters_count, &part->current_voters, &part->current_voters_count) &&
                describe_replicas(quorum, request, description->observers, description->observers_count, &part->observers, &part->observers_count);
    if (made && request->version >= 2) made = describe_nodes(quorum, request, out);
    return made ? out : NULL;
}
