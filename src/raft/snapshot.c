/* raft/snapshot.c - is what a fetch asks from a place of this log, or has the asker to be cut back, or to begin with a
 * snapshot; and how a snapshot is brought over, piece by piece.
 */
#include "raft/role.h"
#include "base/random.h"

struct raft_epoch_end raft_resolve_epoch(const struct raft *raft, leader_epoch asked, leader_epoch known, log_offset known_end) {
    if (known < 0 || known_end < 0) return (struct raft_epoch_end){raft->last_epoch, raft->log_end};
    /* Older than all that the log still has: what lies before is the oldest snapshot. */
    if (raft->earliest.offset >= 0 && known_end == raft->earliest.offset && known == asked)
        return (struct raft_epoch_end){raft->earliest.epoch, raft->earliest.offset};
    return (struct raft_epoch_end){known, known_end};
}

enum raft_validity raft_validate_fetch(const struct raft *raft, const struct raft_fetch_request *fetch, struct raft_epoch_end *diverging) {
    /* Who has nothing at all is served better by a snapshot than by the log that led to it. */
    if (fetch->offset == 0 && raft->latest.offset >= 0) return RAFT_NEEDS_SNAPSHOT;
    if (raft->log_start == 0 && fetch->offset == 0) return RAFT_VALID;
    if (raft->earliest.offset >= 0) {
        bool before = fetch->offset < raft->log_start;
        bool other_past = fetch->offset == raft->log_start && fetch->last_epoch != raft->earliest.epoch;
        if (before || other_past || fetch->last_epoch < raft->earliest.epoch) return RAFT_NEEDS_SNAPSHOT;
    }
    *diverging = raft_resolve_epoch(raft, fetch->last_epoch, fetch->known_epoch, fetch->known_epoch_end);
    return diverging->epoch == fetch->last_epoch && diverging->end >= fetch->offset ? RAFT_VALID : RAFT_DIVERGING;
}

/* ---- The follower's side */

void raft_download_begin(struct raft *raft, struct raft_snapshot_id id) {
    if (id.offset <= raft->high_watermark) return; /* nothing that is not committed here already: ask again */
    raft->download.active = true;
    raft->download.id = id;
    raft->download.position = 0;
    raft_push(raft, RAFT_SNAPSHOT_BEGIN)->snapshot = id;
}

void raft_download_drop(struct raft *raft) {
    raft_push(raft, RAFT_SNAPSHOT_ABANDON)->snapshot = raft->download.id;
    raft->download.active = false;
}

void raft_download_send(struct raft *raft) {
    if (raft_any_in_flight(raft)) return;
    struct raft_request request = {.call = RAFT_FETCH_SNAPSHOT};
    request.fetch_snapshot = (struct raft_fetch_snapshot_request){
        .epoch = raft->epoch,
        .replica = raft->options.self,
        .id = raft->download.id,
        .position = raft->download.position,
        .bytes_max = raft->options.fetch_snapshot_bytes_max,
    };
    raft_send(raft, raft->leader_id, &request);
}

bool raft_on_fetch_snapshot_response(struct raft *raft, const struct raft_response *response) {
    enum raft_verdict verdict = raft_common_response(raft, response);
    if (verdict != RAFT_VERDICT_OPEN) return verdict == RAFT_VERDICT_ENDED;
    if (raft->role != RAFT_FOLLOWER || !raft->download.active) return true;
    struct raft_snapshot_id id = response->fetch_snapshot.id;
    bool gone = response->error == RAFT_SNAPSHOT_NOT_FOUND || id.offset < 0 || id.epoch < 0;
    if (gone || (response->error == RAFT_POSITION_OUT_OF_RANGE && raft->download.position > 0)) {
        /* The leader has cleaned it away (or it is another file than the one begun with): Fetch tells of a newer one. */
        raft_download_drop(raft);
        raft->fetch_deadline_ms = raft->now_ms + raft->options.fetch_timeout_ms;
        return true;
    }
    if (response->error != RAFT_NONE) return false;
    if (id.offset != raft->download.id.offset || id.epoch != raft->download.id.epoch ||
        response->fetch_snapshot.position != raft->download.position) {
        raft_fatal(raft, "the leader sent a piece of another snapshot");
        return true;
    }
    int64_t end = raft->download.position + response->fetch_snapshot.bytes;
    if (end > response->fetch_snapshot.size || (!response->fetch_snapshot.bytes && end < response->fetch_snapshot.size)) return false;
    if (response->fetch_snapshot.bytes) raft_push(raft, RAFT_SNAPSHOT_PIECE)->snapshot = id;
    raft->download.position = end;
    if (end == response->fetch_snapshot.size) {
        raft->download.active = false;
        raft->appending = true; /* nothing is asked until the log starts at the snapshot */
        raft_push(raft, RAFT_SNAPSHOT_END)->snapshot = id;
    }
    raft->fetched = true;
    raft->fetch_deadline_ms = raft->now_ms + raft->options.fetch_timeout_ms;
    return true;
}

/* ---- The leader's side */

void raft_on_fetch_snapshot(struct raft *raft, const struct raft_request *request) {
    const struct raft_fetch_snapshot_request *fetch = &request->fetch_snapshot;
    enum raft_error error = raft_check_leader_request(raft, fetch->epoch);
    if (!error && (fetch->id.offset < 0 || fetch->id.epoch < 0 || fetch->id.offset == 0)) error = RAFT_SNAPSHOT_NOT_FOUND; /* 0: bootstrap */
    if (!error && fetch->position < 0) error = RAFT_POSITION_OUT_OF_RANGE;
    if (error) {
        raft_answer(raft, RAFT_ANSWER, RAFT_FETCH_SNAPSHOT, request->token, error);
        return;
    }
    if (fetch->replica.id >= 0) raft_leader_heard(raft, fetch->replica);
    struct raft_answer *answer = raft_answer(raft, RAFT_ANSWER_SNAPSHOT, RAFT_FETCH_SNAPSHOT, request->token, RAFT_NONE);
    answer->fetch_snapshot.id = fetch->id;
    answer->fetch_snapshot.position = fetch->position;
    answer->fetch_snapshot.bytes_max = fetch->bytes_max;
}
