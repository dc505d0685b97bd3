/* raft/follower.c - a follower pulls: it fetches from its end, cuts where its log differs from the leader's, and moves
 * its high watermark as the leader tells. Voters and observers alike; a voter that hears nothing stands for election.
 *
 * A node that votes (or may come to) asks for more only when what it has is flushed: the offset it asks from is what
 * the leader counts for the high watermark [M3].
 */
#include "raft/role.h"
#include "base/random.h"
#include <string.h>

void raft_become_follower(struct raft *raft, leader_epoch epoch, int32_t leader_id, const struct raft_listeners *where) {
    assert(epoch >= raft->epoch);
    assert(leader_id >= 0 && leader_id != raft->options.self.id);
    assert(where->count > 0);
    struct raft_listeners leader = *where; /* it may be ours, which is about to change */
    raft_changed(raft, RAFT_FOLLOWER);
    if (epoch > raft->epoch) raft->voted = RAFT_NO_KEY;
    raft->epoch = epoch;
    raft->leader_id = leader_id;
    raft->leader = leader;
    raft->fetched = raft->updated = raft->leader_confirmed = false;
    raft->leader_high_watermark = -1;
    raft->fetch_deadline_ms = raft->now_ms + raft->options.fetch_timeout_ms;
    raft->update_deadline_ms = raft->now_ms + raft->options.fetch_timeout_ms;
    raft_persist(raft);
    struct raft_effect *effect = raft_push(raft, RAFT_BECAME);
    effect->became.role = raft->role;
    effect->became.epoch = raft->epoch;
    effect->became.leader_id = raft->leader_id;
}

/* ---- Fetching */

static bool ready_to_fetch(const struct raft *raft) {
    return !raft->appending && (!raft->options.can_vote || raft->durable_end == raft->log_end);
}

static struct raft_request fetch_request(const struct raft *raft) {
    struct raft_request request = {.call = RAFT_FETCH};
    request.fetch = (struct raft_fetch_request){
        .epoch = raft->epoch,
        .replica = raft->options.self,
        .offset = raft->log_end,
        .last_epoch = raft->last_epoch,
        .high_watermark = raft->high_watermark,
        .wait_max_ms = raft->options.fetch_wait_max_ms,
        .bytes_max = raft->options.fetch_bytes_max,
    };
    return request;
}

void raft_poll_fetch_anywhere(struct raft *raft) {
    int32_t id;
    if (!ready_to_fetch(raft) || !raft_bootstrap_pick(raft, &id)) return;
    struct raft_request request = fetch_request(raft);
    raft_send(raft, id, &request);
}

/* Whether the voters' record about this node is not what it would say of itself. */
static bool record_differs(struct raft *raft) {
    const struct raft_voters *voters = raft_voters(raft);
    int index = raft_voters_index(voters, raft->options.self.id);
    if (index < 0) return false;
    if (raft_kraft_version(raft) < 1) return true; /* the leader collects them in memory, once in its epoch */
    const struct raft_voter *voter = &voters->voters[index];
    struct raft_listeners recorded;
    raft_voters_listeners(voters, (uint32_t)index, &recorded);
    return voter->kraft_min != raft->options.kraft_min || voter->kraft_max != raft->options.kraft_max ||
           !raft_listeners_equal(&recorded, &raft->options.listeners);
}

static bool send_update(struct raft *raft) {
    struct raft_request request = {.call = RAFT_UPDATE};
    request.update = (struct raft_update_request){
        .epoch = raft->epoch,
        .voter = raft->options.self,
        .listeners = &raft->options.listeners,
        .kraft_min = raft->options.kraft_min,
        .kraft_max = raft->options.kraft_max,
    };
    return raft_send(raft, raft->leader_id, &request);
}

/* controller.quorum.auto.join.enable: an emptied controller first has its old self removed, then asks to be added. */
static bool send_join(struct raft *raft) {
    const struct raft_voters *voters = raft_voters(raft);
    int old = raft_voters_index(voters, raft->options.self.id);
    struct raft_request request = {.call = old >= 0 ? RAFT_REMOVE : RAFT_ADD};
    if (old >= 0) {
        request.remove = (struct raft_remove_request){.voter = voters->voters[old].key};
    } else {
        request.add = (struct raft_add_request){
            .voter = raft->options.self,
            .listeners = &raft->options.listeners,
            .timeout_ms = raft->options.request_timeout_ms,
            .ack_when_committed = false,
        };
    }
    return raft_send(raft, raft->leader_id, &request);
}

/* What is due once every fetch.timeout.ms besides the fetches. */
static void poll_update(struct raft *raft, bool voter) {
    if (raft->now_ms < raft->update_deadline_ms || raft->shutting_down) return;
    bool sent = false, wanted = false;
    if (voter) {
        wanted = !raft->updated && record_differs(raft);
        sent = wanted && send_update(raft);
    } else if (raft->options.can_vote && raft->options.auto_join && raft_kraft_version(raft) >= 1) {
        wanted = true;
        sent = send_join(raft);
    }
    if (sent || !wanted) raft->update_deadline_ms = raft->now_ms + raft->options.fetch_timeout_ms;
}

bool raft_poll_follower(struct raft *raft) {
    bool voter = raft_is_voter(raft), late = raft->now_ms >= raft->fetch_deadline_ms;
    if (voter && late && !raft->shutting_down) {
        raft_become_prospective(raft);
        return true;
    }
    poll_update(raft, voter);
    if (!ready_to_fetch(raft)) return false;
    if (raft->download.active) {
        raft_download_send(raft);
        return false;
    }
    if (raft_any_in_flight(raft)) return false;
    /* A leader that does not answer may have been replaced: somebody else may know by whom. Who names the same one again
     * sends us back to it; else a node that was cut off for a while would ask the others for ever. */
    if ((late || raft_peer_failed(raft, raft->leader_id)) && !raft->leader_confirmed) {
        int32_t id;
        struct raft_request request = fetch_request(raft);
        if (raft_bootstrap_pick(raft, &id) && raft_send(raft, id, &request)) return false;
    }
    struct raft_request request = fetch_request(raft);
    if (raft_send(raft, raft->leader_id, &request)) raft->leader_confirmed = false;
    return false;
}

/* ---- What the leader answers */

static void high_watermark_from_leader(struct raft *raft) {
    log_offset own = raft->options.can_vote ? raft->durable_end : raft->log_end;
    log_offset mark = raft->leader_high_watermark < own ? raft->leader_high_watermark : own;
    if (mark <= raft->high_watermark) return;
    raft->high_watermark = mark;
    raft_push(raft, RAFT_HIGH_WATERMARK)->offset = mark;
}

static bool diverged(struct raft *raft, const struct raft_response *response) {
    log_offset at = response->fetch.diverging_end;
    leader_epoch epoch = response->fetch.diverging_epoch;
    if (at < raft->high_watermark) {
        raft_fatal(raft, "the leader wants committed records truncated"); /* M4 */
        return true;
    }
    if (epoch == 0) {
        if (at > raft->log_end) at = raft->log_end;
    } else {
        struct raft_epoch_end own = raft_resolve_epoch(raft, epoch, response->fetch.known_epoch, response->fetch.known_epoch_end);
        if (own.epoch != epoch || own.end < at) at = own.end;
    }
    if (at < raft->high_watermark) { /* our own log knows of no such place: it is damaged */
        raft_fatal(raft, "the log differs from the leader's below the high watermark");
        return true;
    }
    raft->appending = true;
    raft_push(raft, RAFT_TRUNCATE)->offset = at;
    return true;
}

bool raft_on_fetch_response(struct raft *raft, const struct raft_response *response) {
    if (raft->role == RAFT_FOLLOWER && response->top_error == RAFT_NONE && response->from != raft->leader_id &&
        response->epoch == raft->epoch && response->leader_id == raft->leader_id)
        raft->leader_confirmed = true;
    enum raft_verdict verdict = raft_common_response(raft, response);
    if (verdict != RAFT_VERDICT_OPEN) return verdict == RAFT_VERDICT_ENDED;
    if (response->error != RAFT_NONE || raft->role != RAFT_FOLLOWER) return false;
    if (response->leader_id != raft->leader_id) return false; /* records are taken from the leader alone */
    if (response->fetch.diverging) {
        if (response->fetch.diverging_epoch < 0 || response->fetch.diverging_end < 0) return false;
        diverged(raft, response);
    } else if (response->fetch.snapshot.offset >= 0 || response->fetch.snapshot.epoch >= 0) {
        if (response->fetch.snapshot.offset < 0 || response->fetch.snapshot.epoch < 0) return false;
        if (!response->fetch.snapshot_here) raft_download_begin(raft, response->fetch.snapshot);
    } else {
        if (response->fetch.high_watermark > raft->leader_high_watermark) raft->leader_high_watermark = response->fetch.high_watermark;
        if (response->fetch.records_bytes) {
            raft->appending = true;
            raft_push(raft, RAFT_APPEND_FETCHED);
        } else {
            high_watermark_from_leader(raft);
        }
    }
    raft->fetched = true;
    raft->fetch_deadline_ms = raft->now_ms + raft->options.fetch_timeout_ms;
    return true;
}

void raft_follower_log_moved(struct raft *raft) {
    raft->appending = false;
    high_watermark_from_leader(raft);
}

bool raft_on_change_response(struct raft *raft, const struct raft_response *response) {
    if (response->call != RAFT_UPDATE) return response->top_error != RAFT_BROKER_NOT_AVAILABLE; /* the next round asks again */
    if (response->top_error == RAFT_NONE || response->top_error == RAFT_UNSUPPORTED_VERSION) {
        /* The error of an update is the response's own; the epoch in it is the leader's. */
        if (response->top_error == RAFT_NONE && response->error != RAFT_NONE && response->error != RAFT_UNSUPPORTED_VERSION) {
            enum raft_verdict verdict = raft_common_response(raft, response);
            return verdict != RAFT_VERDICT_FAILED;
        }
        if (raft->role == RAFT_FOLLOWER) raft->updated = raft_kraft_version(raft) < 1 || response->top_error != RAFT_NONE || response->error != RAFT_NONE;
        return true;
    }
    return false;
}

/* ---- What a leader says of itself */

void raft_on_begin(struct raft *raft, const struct raft_request *request) {
    const struct raft_begin_request *begin = &request->begin;
    enum raft_error error = raft_check_voter_request(raft, begin->epoch, begin->leader_id);
    if (!error && !raft_learn(raft, begin->epoch, begin->leader_id, begin->listeners)) error = RAFT_UNKNOWN_SERVER_ERROR;
    if (!error && !raft_key_is_ours(raft, begin->voter)) error = RAFT_INVALID_VOTER_KEY;
    raft_answer(raft, RAFT_ANSWER, RAFT_BEGIN, request->token, error);
}

/* How long to wait with standing for election: the leader's favourite not at all, the others ever longer, so that
 * they do not split the votes. */
static int64_t successor_backoff(const struct raft *raft, const struct raft_end_request *end) {
    uint32_t at = end->preferred_count;
    for (uint32_t i = 0; i < end->preferred_count && at == end->preferred_count; i++) {
        struct raft_key key = end->preferred[i];
        if (key.id == raft->options.self.id &&
            (uuid_is_zero(key.directory) || uuid_equal(key.directory, raft->options.self.directory)))
            at = i;
    }
    int64_t max = raft->options.election_backoff_max_ms;
    if (at == end->preferred_count) return max;
    if (at == 0) return 0;
    uint32_t shift = end->preferred_count - 1;
    int64_t backoff = (shift < 62 ? max >> shift : 0) << (at - 1 < 31 ? at - 1 : 31);
    return backoff < max ? backoff : max;
}

void raft_on_end(struct raft *raft, const struct raft_request *request) {
    const struct raft_end_request *end = &request->end;
    enum raft_error error = raft_check_voter_request(raft, end->epoch, end->leader_id);
    if (!error && !raft_learn(raft, end->epoch, end->leader_id, end->listeners)) error = RAFT_UNKNOWN_SERVER_ERROR;
    if (!error && raft->role == RAFT_FOLLOWER && raft->leader_id == end->leader_id)
        raft->fetch_deadline_ms = raft->now_ms + successor_backoff(raft, end);
    raft_answer(raft, RAFT_ANSWER, RAFT_END, request->token, error);
}
