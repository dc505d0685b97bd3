/* quorum/calls_out.c - what this node asks: raft's requests as Kafka's messages, and what is answered as raft's responses. */
#include "quorum/calls.h"
#include <string.h>

/* Listeners as endpoints of a message (name, host, port). Out of memory: the function answers NULL. */
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

/* ---- Requests that go out */

static void *make_vote(struct arena *arena, const struct raft_request *request) {
    struct vote_request *out = ARENA_NEW(arena, struct vote_request);
    if (!out) return NULL;
    vote_request_init(out);
    ONE_PART(out, vote_request_topic_data, vote_request_partition_data, part);
    out->cluster_id = request->cluster_id;
    out->topics[0].topic_name = METADATA_TOPIC;
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
    out->topics[0].topic_name = METADATA_TOPIC;
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
    out->topics[0].topic_name = METADATA_TOPIC;
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
    out->topics[0].topic_id = METADATA_TOPIC_ID;
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
    out->topics[0].name = METADATA_TOPIC;
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
        !uuid_equal(in->responses[0].topic_id, METADATA_TOPIC_ID))
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
            (in)->topics[0].partitions[0].partition_index != 0 || !is_metadata((in)->topics[0].topic_name))            \
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
