/* raft/text.c - states, events and effects as a line each, in Kafka's words: for transcripts and the operator. */
#include "raft/role.h"
#include "base/random.h"

const char *raft_role_text(enum raft_role role) {
    static const char *const names[] = {"Unattached", "Prospective", "Candidate", "Leader", "Resigned", "Follower"};
    return names[role];
}

static const char *call_text(enum raft_call call) {
    static const char *const names[] = {"Vote", "BeginQuorumEpoch", "EndQuorumEpoch", "Fetch", "FetchSnapshot", "AddRaftVoter",
                                        "RemoveRaftVoter", "UpdateRaftVoter", "ApiVersions", "UpdateFeatures"};
    static_assert(countof(names) == RAFT_CALLS, "a name for each call");
    return names[call];
}

static const char *error_text(enum raft_error error) {
    switch (error) {
    case RAFT_UNKNOWN_SERVER_ERROR: return "UNKNOWN_SERVER_ERROR";
    case RAFT_NONE: return "NONE";
    case RAFT_UNKNOWN_TOPIC_OR_PARTITION: return "UNKNOWN_TOPIC_OR_PARTITION";
    case RAFT_NOT_LEADER_OR_FOLLOWER: return "NOT_LEADER_OR_FOLLOWER";
    case RAFT_REQUEST_TIMED_OUT: return "REQUEST_TIMED_OUT";
    case RAFT_BROKER_NOT_AVAILABLE: return "BROKER_NOT_AVAILABLE";
    case RAFT_NETWORK_EXCEPTION: return "NETWORK_EXCEPTION";
    case RAFT_CLUSTER_AUTHORIZATION_FAILED: return "CLUSTER_AUTHORIZATION_FAILED";
    case RAFT_UNSUPPORTED_VERSION: return "UNSUPPORTED_VERSION";
    case RAFT_INVALID_REQUEST: return "INVALID_REQUEST";
    case RAFT_FENCED_LEADER_EPOCH: return "FENCED_LEADER_EPOCH";
    case RAFT_UNKNOWN_LEADER_EPOCH: return "UNKNOWN_LEADER_EPOCH";
    case RAFT_INVALID_UPDATE_VERSION: return "INVALID_UPDATE_VERSION";
    case RAFT_SNAPSHOT_NOT_FOUND: return "SNAPSHOT_NOT_FOUND";
    case RAFT_POSITION_OUT_OF_RANGE: return "POSITION_OUT_OF_RANGE";
    case RAFT_INCONSISTENT_CLUSTER_ID: return "INCONSISTENT_CLUSTER_ID";
    case RAFT_INVALID_VOTER_KEY: return "INVALID_VOTER_KEY";
    case RAFT_DUPLICATE_VOTER: return "DUPLICATE_VOTER";
    case RAFT_VOTER_NOT_FOUND: return "VOTER_NOT_FOUND";
    }
    return "?";
}

static void add_key(struct text *out, struct raft_key key) {
    text_add(out, "%d", key.id);
    if (uuid_is_zero(key.directory)) return;
    char directory[UUID_TEXT_BYTES + 1];
    uuid_text(key.directory, directory);
    text_add(out, "/%.4s", directory);
}

static void add_node(struct text *out, const char *what, int32_t id) {
    if (id == -1) text_add(out, " %s none", what);
    else text_add(out, " %s %d", what, id);
}

void raft_text(const struct raft *raft, struct text *out) {
    text_add(out, "%s epoch %d", raft_role_text(raft->role), raft->epoch);
    add_node(out, "leader", raft->leader_id);
    if (raft->voted.id >= 0) {
        text_add(out, " voted ");
        add_key(out, raft->voted);
    }
    text_add(out, " log %lld..%lld", (long long)raft->log_start, (long long)raft->log_end);
    if (raft->durable_end != raft->log_end) text_add(out, " (flushed %lld)", (long long)raft->durable_end);
    text_add(out, " last epoch %d hw ", raft->last_epoch);
    if (raft->high_watermark < 0) text_add(out, "unknown");
    else text_add(out, "%lld", (long long)raft->high_watermark);
    text_add(out, " voters ");
    raft_voters_text(raft_voters(raft), out);
    if (raft->role == RAFT_LEADER) {
        text_add(out, " ends");
        for (uint32_t i = 0; i < raft->voters_count; i++)
            text_add(out, " %d:%lld", raft->voters[i].key.id, (long long)raft->voters[i].end);
    }
    if (raft->dead) text_add(out, " DEAD");
}

/* ---- Requests, events */

static void add_request(const struct raft_request *request, struct text *out) {
    text_add(out, "%s", call_text(request->call));
    switch (request->call) {
    case RAFT_VOTE:
        text_add(out, "%s epoch %d from ", request->vote.pre_vote ? " (pre)" : "", request->vote.epoch);
        add_key(out, request->vote.candidate);
        text_add(out, " to ");
        add_key(out, request->vote.voter);
        text_add(out, " log %lld@%d", (long long)request->vote.last_offset, request->vote.last_epoch);
        break;
    case RAFT_BEGIN:
        text_add(out, " epoch %d leader %d to ", request->begin.epoch, request->begin.leader_id);
        add_key(out, request->begin.voter);
        break;
    case RAFT_END:
        text_add(out, " epoch %d leader %d successors [", request->end.epoch, request->end.leader_id);
        for (uint32_t i = 0; i < request->end.preferred_count; i++) {
            if (i) text_add(out, ", ");
            add_key(out, request->end.preferred[i]);
        }
        text_add(out, "]");
        break;
    case RAFT_FETCH:
        text_add(out, " epoch %d from ", request->fetch.epoch);
        add_key(out, request->fetch.replica);
        text_add(out, " at %lld@%d hw %lld", (long long)request->fetch.offset, request->fetch.last_epoch, (long long)request->fetch.high_watermark);
        break;
    case RAFT_FETCH_SNAPSHOT:
        text_add(out, " epoch %d from ", request->fetch_snapshot.epoch);
        add_key(out, request->fetch_snapshot.replica);
        text_add(out, " snapshot %lld-%d position %lld", (long long)request->fetch_snapshot.id.offset,
                 request->fetch_snapshot.id.epoch, (long long)request->fetch_snapshot.position);
        break;
    case RAFT_ADD: text_add(out, " voter "); add_key(out, request->add.voter); break;
    case RAFT_REMOVE: text_add(out, " voter "); add_key(out, request->remove.voter); break;
    case RAFT_UPDATE:
        text_add(out, " epoch %d voter ", request->update.epoch);
        add_key(out, request->update.voter);
        text_add(out, " kraft.version %d-%d", request->update.kraft_min, request->update.kraft_max);
        break;
    case RAFT_API_VERSIONS:
    case RAFT_UPGRADE:
    case RAFT_CALLS: break;
    }
}

static void add_response(const struct raft_response *response, struct text *out) {
    text_add(out, "%s from %d", call_text(response->call), response->from);
    if (response->top_error != RAFT_NONE) {
        text_add(out, " failed: %s", error_text(response->top_error));
        return;
    }
    if (response->call == RAFT_API_VERSIONS) {
        text_add(out, " kraft.version %d-%d", response->api_versions.kraft_min, response->api_versions.kraft_max);
        return;
    }
    text_add(out, " %s epoch %d", error_text(response->error), response->epoch);
    add_node(out, "leader", response->leader_id);
    if (response->error != RAFT_NONE) return;
    if (response->call == RAFT_VOTE) text_add(out, response->vote.granted ? " granted" : " refused");
    if (response->call == RAFT_FETCH && response->fetch.diverging)
        text_add(out, " diverging %lld@%d", (long long)response->fetch.diverging_end, response->fetch.diverging_epoch);
    else if (response->call == RAFT_FETCH && response->fetch.snapshot.offset >= 0)
        text_add(out, " snapshot %lld-%d", (long long)response->fetch.snapshot.offset, response->fetch.snapshot.epoch);
    else if (response->call == RAFT_FETCH)
        text_add(out, " %u bytes hw %lld", response->fetch.records_bytes, (long long)response->fetch.high_watermark);
    if (response->call == RAFT_FETCH_SNAPSHOT)
        text_add(out, " snapshot %lld-%d position %lld of %lld, %u bytes", (long long)response->fetch_snapshot.id.offset,
                 response->fetch_snapshot.id.epoch, (long long)response->fetch_snapshot.position,
                 (long long)response->fetch_snapshot.size, response->fetch_snapshot.bytes);
}

void raft_event_text(const struct raft_event *event, struct text *out) {
    switch (event->type) {
    case RAFT_EVENT_TICK: text_add(out, "tick"); break;
    case RAFT_EVENT_REQUEST: text_add(out, "request "); add_request(event->request, out); break;
    case RAFT_EVENT_RESPONSE: text_add(out, "response "); add_response(event->response, out); break;
    case RAFT_EVENT_APPENDED: text_add(out, "appended up to %lld@%d", (long long)event->log.end, event->log.last_epoch); break;
    case RAFT_EVENT_DURABLE: text_add(out, "flushed up to %lld", (long long)event->log.end); break;
    case RAFT_EVENT_TRUNCATED: text_add(out, "truncated to %lld@%d", (long long)event->log.end, event->log.last_epoch); break;
    case RAFT_EVENT_VOTERS:
        text_add(out, "voters at %lld ", (long long)event->control.offset);
        raft_voters_text(event->control.voters, out);
        break;
    case RAFT_EVENT_KRAFT_VERSION: text_add(out, "kraft.version %d at %lld", event->control.version, (long long)event->control.offset); break;
    case RAFT_EVENT_LOG_START: text_add(out, "log start %lld", (long long)event->start.start); break;
    case RAFT_EVENT_SNAPSHOT: text_add(out, "snapshot taken %lld-%d", (long long)event->snapshot.offset, event->snapshot.epoch); break;
    case RAFT_EVENT_SNAPSHOT_LOADING: text_add(out, "snapshot loading %lld-%d", (long long)event->snapshot.offset, event->snapshot.epoch); break;
    case RAFT_EVENT_SNAPSHOT_LOADED: text_add(out, "snapshot loaded %lld-%d", (long long)event->snapshot.offset, event->snapshot.epoch); break;
    case RAFT_EVENT_APPEND_FAILED: text_add(out, "append failed"); break;
    case RAFT_EVENT_UPGRADE: text_add(out, "upgrade to kraft.version %d", event->upgrade.version); break;
    case RAFT_EVENT_RESIGN: text_add(out, "resign epoch %d", event->epoch); break;
    case RAFT_EVENT_SHUTDOWN: text_add(out, "shut down"); break;
    }
}

/* ---- Effects */

static void add_answer(const struct raft_effect *effect, struct text *out) {
    const struct raft_answer *answer = &effect->answer;
    text_add(out, "answer %s", call_text(answer->call));
    if (answer->top_error != RAFT_NONE) {
        text_add(out, " all of it: %s", error_text(answer->top_error));
        return;
    }
    text_add(out, " %s epoch %d", error_text(answer->error), answer->epoch);
    add_node(out, "leader", answer->leader_id);
    if (answer->error != RAFT_NONE) return;
    if (answer->call == RAFT_VOTE) text_add(out, answer->vote.granted ? " granted" : " refused");
    if (effect->type == RAFT_ANSWER_SNAPSHOT)
        text_add(out, " snapshot %lld-%d from position %lld", (long long)answer->fetch_snapshot.id.offset,
                 answer->fetch_snapshot.id.epoch, (long long)answer->fetch_snapshot.position);
    if (answer->call != RAFT_FETCH) return;
    if (effect->type == RAFT_ANSWER_FETCH) text_add(out, " records from %lld", (long long)answer->fetch.offset);
    else if (answer->fetch.diverging) text_add(out, " diverging %lld@%d", (long long)answer->fetch.diverging_end, answer->fetch.diverging_epoch);
    else text_add(out, " snapshot %lld-%d", (long long)answer->fetch.snapshot.offset, answer->fetch.snapshot.epoch);
    text_add(out, " hw %lld", (long long)answer->fetch.high_watermark);
}

void raft_effect_text(const struct raft_effect *effect, struct text *out) {
    switch (effect->type) {
    case RAFT_PERSIST:
        text_add(out, "persist v%d epoch %d", effect->state.version, effect->state.epoch);
        add_node(out, "leader", effect->state.leader_id);
        text_add(out, " voted ");
        if (effect->state.voted.id < 0) text_add(out, "none");
        else add_key(out, effect->state.voted);
        break;
    case RAFT_SEND:
        text_add(out, "send %d ", effect->send.to.id);
        add_request(&effect->send.request, out);
        break;
    case RAFT_ANSWER:
    case RAFT_ANSWER_FETCH:
    case RAFT_ANSWER_SNAPSHOT: add_answer(effect, out); break;
    case RAFT_APPEND:
        text_add(out, "append in epoch %d:", effect->append.epoch);
        for (uint32_t i = 0; i < effect->append.count; i++) {
            const struct raft_record *record = &effect->append.records[i];
            if (i) text_add(out, ",");
            if (record->type == RAFT_RECORD_LEADER_CHANGE) {
                text_add(out, " LeaderChange leader %d voters ", record->leader_id);
                raft_voters_text(record->voters, out);
            } else if (record->type == RAFT_RECORD_KRAFT_VERSION) {
                text_add(out, " KRaftVersion %d", record->kraft_version);
            } else {
                text_add(out, " Voters ");
                raft_voters_text(record->voters, out);
            }
        }
        break;
    case RAFT_APPEND_FETCHED: text_add(out, "append fetched records"); break;
    case RAFT_TRUNCATE: text_add(out, "truncate to %lld", (long long)effect->offset); break;
    case RAFT_SNAPSHOT_BEGIN: text_add(out, "begin download of snapshot %lld-%d", (long long)effect->snapshot.offset, effect->snapshot.epoch); break;
    case RAFT_SNAPSHOT_PIECE: text_add(out, "write a piece of snapshot %lld-%d", (long long)effect->snapshot.offset, effect->snapshot.epoch); break;
    case RAFT_SNAPSHOT_END: text_add(out, "load snapshot %lld-%d", (long long)effect->snapshot.offset, effect->snapshot.epoch); break;
    case RAFT_SNAPSHOT_ABANDON: text_add(out, "abandon download of snapshot %lld-%d", (long long)effect->snapshot.offset, effect->snapshot.epoch); break;
    case RAFT_HIGH_WATERMARK: text_add(out, "high watermark %lld", (long long)effect->offset); break;
    case RAFT_BECAME:
        text_add(out, "became %s epoch %d", raft_role_text(effect->became.role), effect->became.epoch);
        add_node(out, "leader", effect->became.leader_id);
        break;
    case RAFT_DISCONNECT: text_add(out, "disconnect"); break;
    case RAFT_SHUTDOWN_DONE: text_add(out, "shut down is done"); break;
    case RAFT_FATAL: text_add(out, "fatal: %s", effect->why); break;
    }
}
