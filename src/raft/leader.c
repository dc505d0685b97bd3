/* raft/leader.c - the leader: who has fetched how far, what is committed by that, and whether a majority still listens.
 *
 * The high watermark is what a majority of the current voters hold flushed: a replica's fetch offset says that it holds
 * all before it; the leader's own part is what its disk has. It moves past an offset of this epoch first, for a record
 * of an older epoch may still be lost though a majority holds it [M3]. It is the largest that this node ever knew [M5].
 */
#include "raft/role.h"
#include "base/random.h"
#include <string.h>

static void tell(struct raft *raft) {
    struct raft_effect *effect = raft_push(raft, RAFT_BECAME);
    effect->became.role = raft->role;
    effect->became.epoch = raft->epoch;
    effect->became.leader_id = raft->leader_id;
}

static struct raft_replica replica_new(struct raft_key key) {
    return (struct raft_replica){.key = key, .end = -1, .leader_end = -1, .fetch_ms = -1, .caught_up_ms = -1};
}

static bool same_replica(struct raft_key a, struct raft_key b) {
    return a.id == b.id && (uuid_is_zero(a.directory) || uuid_is_zero(b.directory) || uuid_equal(a.directory, b.directory));
}

struct raft_replica *raft_leader_replica(struct raft *raft, struct raft_key key) {
    for (uint32_t i = 0; i < raft->voters_count; i++)
        if (same_replica(raft->voters[i].key, key)) return &raft->voters[i];
    for (uint32_t i = 0; i < raft->observers_count; i++)
        if (raft->observers[i].key.id == key.id && uuid_equal(raft->observers[i].key.directory, key.directory)) return &raft->observers[i];
    return NULL;
}

/* ---- Becoming */

static uint32_t granting_voters(const struct raft *raft, const struct raft_voters *voters) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < voters->count; i++)
        for (uint32_t j = 0; j < raft->electorate_count; j++)
            if (raft->electorate[j].id == voters->voters[i].key.id && raft->ballots[j] == RAFT_BALLOT_GRANTED) bits |= 1u << i;
    return bits;
}

/* The records that begin an epoch, in one batch. With kraft.version 1 the log itself must say who votes: the bootstrap
 * snapshot, which others do not get, is repeated, and so is a record about this node that is no longer true. */
static void append_epoch_start(struct raft *raft) {
    struct raft_effect *effect = raft_push(raft, RAFT_APPEND);
    log_offset voters_offset = -1;
    const struct raft_voters *voters = raft_history_voters(&raft->history, INT64_MAX, &voters_offset);
    const struct raft_voters *all = raft_voters(raft);
    effect->append.epoch = raft->epoch;
    effect->append.records[effect->append.count++] = (struct raft_record){
        .type = RAFT_RECORD_LEADER_CHANGE, .voters = all, .granting = granting_voters(raft, all), .leader_id = raft->leader_id};
    if (!voters || raft_kraft_version(raft) < 1) return;

    int self = raft_voters_index(voters, raft->options.self.id);
    assert(self >= 0);
    raft->work = *voters;
    raft_voters_remove(&raft->work, raft->options.self.id);
    if (!raft_voters_add_node(&raft->work, raft->options.self, raft->options.kraft_min, raft->options.kraft_max, &raft->options.listeners))
        raft->work = *voters; /* its listeners do not fit: the old record stays */
    if (voters_offset >= 0 && raft_voters_equal(&raft->work, voters)) return;

    int16_t version = raft_kraft_version(raft);
    effect->append.records[effect->append.count++] = (struct raft_record){.type = RAFT_RECORD_KRAFT_VERSION, .kraft_version = version};
    raft_history_add_version(&raft->history, raft->log_end + 1, version);
    raft_history_add_voters(&raft->history, raft->log_end + 2, &raft->work);
    effect->append.records[effect->append.count++] = (struct raft_record){.type = RAFT_RECORD_VOTERS, .voters = raft_voters(raft)};
}

void raft_become_leader(struct raft *raft) {
    assert(raft->role == RAFT_CANDIDATE);
    raft_changed(raft, RAFT_LEADER);
    raft->leader_id = raft->options.self.id;
    raft->leader = raft->options.listeners;
    raft->epoch_start = raft->log_end;
    raft->high_watermark_known = false;
    raft->voters_count = raft->observers_count = 0;
    raft->change = (struct raft_change){0};
    raft->updates_known = false;
    raft->upgrade_offset = -1;
    raft->check_quorum_deadline_ms = INT64_MAX;
    raft->begin_deadline_ms = raft->now_ms;
    raft_persist(raft);
    tell(raft);
    append_epoch_start(raft);
    raft_leader_voters_changed(raft);
}

static int64_t check_quorum_ms(const struct raft *raft) {
    return (int64_t)raft->options.fetch_timeout_ms * 3 / 2;
}

/* How many others must be heard for a majority. */
static uint32_t others_needed(const struct raft *raft) {
    uint32_t majority = raft_majority(raft->voters_count);
    return raft_is_voter(raft) ? majority - 1 : majority;
}

/* Voters become observers and the other way round; what is known of them stays. */
void raft_leader_voters_changed(struct raft *raft) {
    const struct raft_voters *voters = raft_voters(raft);
    struct raft_replica next[RAFT_VOTERS_MAX];
    for (uint32_t i = 0; i < voters->count; i++) {
        struct raft_replica *known = raft_leader_replica(raft, voters->voters[i].key);
        next[i] = known ? *known : replica_new(voters->voters[i].key);
        next[i].key = voters->voters[i].key;
        if (known && known >= raft->observers && known < raft->observers + raft->observers_count)
            *known = raft->observers[--raft->observers_count];
    }
    for (uint32_t i = 0; i < raft->voters_count; i++)
        if (!raft_voters_has(voters, raft->voters[i].key) && raft->observers_count < RAFT_OBSERVERS_MAX &&
            raft->voters[i].key.id != raft->options.self.id)
            raft->observers[raft->observers_count++] = raft->voters[i];
    memcpy(raft->voters, next, voters->count * sizeof(next[0]));
    raft->voters_count = voters->count;
    for (uint32_t i = 0; i < raft->voters_count; i++)
        if (raft->voters[i].key.id == raft->options.self.id) raft->voters[i].end = raft->durable_end;
    if (others_needed(raft) == 0) raft->check_quorum_deadline_ms = INT64_MAX; /* nobody whom it could miss */
    else if (raft->check_quorum_deadline_ms == INT64_MAX) raft->check_quorum_deadline_ms = raft->now_ms + check_quorum_ms(raft);
}

/* ---- What is committed */

static void answer_parked(struct raft *raft, uint32_t index, enum raft_error error) {
    struct raft_parked parked = raft->parked[index];
    raft->parked_count--;
    for (uint32_t i = index; i < raft->parked_count; i++) raft->parked[i] = raft->parked[i + 1];
    struct raft_answer *answer = raft_answer(raft, error ? RAFT_ANSWER : RAFT_ANSWER_FETCH, RAFT_FETCH, parked.token, error);
    if (error) return;
    answer->fetch.high_watermark = raft->high_watermark_known ? raft->high_watermark : -1;
    answer->fetch.offset = parked.offset;
    answer->fetch.bytes_max = parked.bytes_max;
}

static void wake_parked(struct raft *raft) {
    for (uint32_t i = 0; i < raft->parked_count;) {
        const struct raft_parked *parked = &raft->parked[i];
        bool news = raft->log_end > parked->offset ||
                    (raft->high_watermark_known && raft->high_watermark > parked->high_watermark);
        if (news || raft->now_ms >= parked->deadline_ms) answer_parked(raft, i, RAFT_NONE);
        else i++;
    }
}

static void update_high_watermark(struct raft *raft) {
    log_offset ends[RAFT_VOTERS_MAX];
    if (!raft->voters_count) return;
    for (uint32_t i = 0; i < raft->voters_count; i++) { /* largest first */
        uint32_t at = i;
        for (; at > 0 && ends[at - 1] < raft->voters[i].end; at--) ends[at] = ends[at - 1];
        ends[at] = raft->voters[i].end;
    }
    log_offset mark = ends[raft->voters_count / 2];
    if (mark <= raft->epoch_start || mark < raft->high_watermark) return;
    bool news = mark > raft->high_watermark;
    raft->high_watermark_known = true;
    raft->high_watermark = mark;
    if (news) raft_push(raft, RAFT_HIGH_WATERMARK)->offset = mark;
    raft_change_committed(raft);
    wake_parked(raft);
}

void raft_leader_log_moved(struct raft *raft) {
    for (uint32_t i = 0; i < raft->voters_count; i++)
        if (raft->voters[i].key.id == raft->options.self.id) raft->voters[i].end = raft->durable_end;
    update_high_watermark(raft);
    wake_parked(raft);
}

/* ---- Who listens */

void raft_leader_heard(struct raft *raft, struct raft_key replica) {
    uint32_t heard = 0;
    for (uint32_t i = 0; i < raft->voters_count; i++) {
        if (raft->voters[i].key.id == raft->options.self.id) continue;
        if (same_replica(raft->voters[i].key, replica) && raft_voters_has(raft_voters(raft), replica)) raft->voters[i].fetched = true;
        heard += raft->voters[i].fetched;
    }
    if (!others_needed(raft) || heard < others_needed(raft)) return;
    for (uint32_t i = 0; i < raft->voters_count; i++) raft->voters[i].fetched = false;
    raft->check_quorum_deadline_ms = raft->now_ms + check_quorum_ms(raft);
}

static struct raft_replica *observer_new(struct raft *raft, struct raft_key key) {
    uint32_t at = raft->observers_count;
    if (at == RAFT_OBSERVERS_MAX) { /* the one that was silent for longest makes room */
        at = 0;
        for (uint32_t i = 1; i < RAFT_OBSERVERS_MAX; i++)
            if (raft->observers[i].fetch_ms < raft->observers[at].fetch_ms) at = i;
    } else {
        raft->observers_count++;
    }
    raft->observers[at] = replica_new(key);
    return &raft->observers[at];
}

static void replica_fetched(struct raft *raft, const struct raft_fetch_request *fetch) {
    if (fetch->replica.id < 0) return;
    struct raft_replica *replica = raft_leader_replica(raft, fetch->replica);
    if (!replica) replica = observer_new(raft, fetch->replica);
    if (fetch->offset >= raft->log_end) {
        replica->caught_up_ms = raft->now_ms;
        replica->has_caught_up = true;
    } else if (replica->leader_end > 0 && fetch->offset >= replica->leader_end) {
        replica->caught_up_ms = replica->fetch_ms;
        replica->has_caught_up = true;
    }
    replica->leader_end = raft->log_end;
    replica->fetch_ms = raft->now_ms;
    replica->end = fetch->offset;
    raft_leader_heard(raft, fetch->replica);
    update_high_watermark(raft);
}

void raft_on_fetch(struct raft *raft, const struct raft_request *request) {
    const struct raft_fetch_request *fetch = &request->fetch;
    enum raft_error error = RAFT_NONE;
    if (fetch->wait_max_ms < 0 || fetch->offset < 0 || fetch->last_epoch < 0 || fetch->last_epoch > fetch->epoch) error = RAFT_INVALID_REQUEST;
    if (!error) error = raft_check_leader_request(raft, fetch->epoch);
    if (!error && fetch->replica.id >= 0 && fetch->replica.id == raft->options.self.id) error = RAFT_INVALID_REQUEST;
    if (error) {
        raft_answer(raft, RAFT_ANSWER, RAFT_FETCH, request->token, error);
        return;
    }
    struct raft_epoch_end diverging;
    log_offset mark = raft->high_watermark_known ? raft->high_watermark : -1;
    switch (raft_validate_fetch(raft, fetch, &diverging)) {
    case RAFT_NEEDS_SNAPSHOT: {
        struct raft_answer *answer = raft_answer(raft, RAFT_ANSWER, RAFT_FETCH, request->token, RAFT_NONE);
        answer->fetch.high_watermark = mark;
        answer->fetch.snapshot = raft->latest;
        return;
    }
    case RAFT_DIVERGING: {
        struct raft_answer *answer = raft_answer(raft, RAFT_ANSWER, RAFT_FETCH, request->token, RAFT_NONE);
        answer->fetch.high_watermark = mark;
        answer->fetch.diverging = true;
        answer->fetch.diverging_epoch = diverging.epoch;
        answer->fetch.diverging_end = diverging.end;
        return;
    }
    case RAFT_VALID: break;
    }
    replica_fetched(raft, fetch);
    mark = raft->high_watermark_known ? raft->high_watermark : -1;
    bool waits = fetch->offset == raft->log_end && fetch->wait_max_ms > 0 && mark <= fetch->high_watermark;
    if (waits && raft->parked_count < RAFT_PARKED_MAX) {
        raft->parked[raft->parked_count++] = (struct raft_parked){
            .token = request->token, .offset = fetch->offset, .high_watermark = fetch->high_watermark,
            .deadline_ms = raft->now_ms + fetch->wait_max_ms, .bytes_max = fetch->bytes_max};
        return;
    }
    struct raft_answer *answer = raft_answer(raft, RAFT_ANSWER_FETCH, RAFT_FETCH, request->token, RAFT_NONE);
    answer->fetch.high_watermark = mark;
    answer->fetch.offset = fetch->offset;
    answer->fetch.bytes_max = fetch->bytes_max;
}

/* ---- What time does */

static void send_begin(struct raft *raft) {
    if (raft->now_ms < raft->begin_deadline_ms) return;
    const struct raft_voters *voters = raft_voters(raft);
    int64_t period = raft->options.fetch_timeout_ms / 2;
    for (uint32_t i = 0; i < voters->count; i++) {
        struct raft_key key = voters->voters[i].key;
        if (key.id == raft->options.self.id) continue;
        const struct raft_replica *replica = raft_leader_replica(raft, key);
        if (replica && replica->fetch_ms >= 0 && raft->now_ms - replica->fetch_ms < period) continue; /* it knows */
        struct raft_request request = {.call = RAFT_BEGIN};
        request.begin = (struct raft_begin_request){
            .epoch = raft->epoch, .leader_id = raft->options.self.id, .voter = key, .listeners = &raft->options.listeners};
        raft_send(raft, key.id, &request);
    }
    raft->begin_deadline_ms = voters->count > 1 || !raft_is_voter(raft) ? raft->now_ms + (period > 0 ? period : 1) : INT64_MAX;
}

bool raft_poll_leader(struct raft *raft) {
    log_offset voters_offset = -1;
    raft_history_voters(&raft->history, INT64_MAX, &voters_offset);
    bool removed = !raft_is_voter(raft) && raft->high_watermark_known && voters_offset < raft->high_watermark;
    bool deserted = raft->now_ms >= raft->check_quorum_deadline_ms; /* others may have a leader that a client reaches */
    if (removed || deserted) {
        raft_become_resigned(raft);
        return true;
    }
    wake_parked(raft);
    raft_change_poll(raft);
    if (raft->begin_deadline_ms == INT64_MAX && raft->voters_count > 1) raft->begin_deadline_ms = raft->now_ms;
    send_begin(raft);
    return false;
}

bool raft_on_begin_response(struct raft *raft, const struct raft_response *response) {
    enum raft_verdict verdict = raft_common_response(raft, response);
    if (verdict != RAFT_VERDICT_OPEN) return verdict == RAFT_VERDICT_ENDED;
    return response->error == RAFT_NONE;
}

/* ---- Giving up */

void raft_leave_leader(struct raft *raft) {
    while (raft->parked_count) answer_parked(raft, 0, RAFT_NOT_LEADER_OR_FOLLOWER);
    raft_change_fail(raft, RAFT_NOT_LEADER_OR_FOLLOWER);
    raft->check_quorum_deadline_ms = raft->begin_deadline_ms = INT64_MAX;
    raft->high_watermark_known = false;
}

void raft_become_resigned(struct raft *raft) {
    assert(raft->role == RAFT_LEADER);
    raft->successors_count = 0;
    for (uint32_t i = 0; i < raft->voters_count; i++) { /* whoever has most is asked to follow first */
        if (raft->voters[i].key.id == raft->options.self.id) continue;
        uint32_t at = raft->successors_count++;
        for (; at > 0; at--) {
            const struct raft_replica *before = raft_leader_replica(raft, raft->successors[at - 1]);
            if (before && before->end >= raft->voters[i].end) break;
            raft->successors[at] = raft->successors[at - 1];
        }
        raft->successors[at] = raft->voters[i].key;
    }
    raft_changed(raft, RAFT_RESIGNED);
    raft->acknowledged = 0;
    raft->election_deadline_ms = raft_election_timeout(raft);
    tell(raft);
}

bool raft_poll_resigned(struct raft *raft) {
    if (!raft->shutting_down && raft->now_ms >= raft->election_deadline_ms) {
        raft_become_unattached(raft, raft->epoch + 1, -1);
        return true;
    }
    const struct raft_voters *voters = raft_voters(raft);
    for (uint32_t i = 0; i < voters->count; i++) {
        struct raft_key key = voters->voters[i].key;
        if (key.id == raft->options.self.id || raft->acknowledged & UINT64_C(1) << i) continue;
        struct raft_request request = {.call = RAFT_END};
        request.end = (struct raft_end_request){
            .epoch = raft->epoch, .leader_id = raft->options.self.id, .preferred = raft->successors,
            .preferred_count = raft->successors_count, .listeners = &raft->options.listeners};
        raft_send(raft, key.id, &request);
    }
    return false;
}

bool raft_on_end_response(struct raft *raft, const struct raft_response *response) {
    enum raft_verdict verdict = raft_common_response(raft, response);
    if (verdict != RAFT_VERDICT_OPEN) return verdict == RAFT_VERDICT_ENDED;
    int voter = raft_voters_index(raft_voters(raft), response->from);
    if (response->error == RAFT_NONE && voter >= 0) raft->acknowledged |= UINT64_C(1) << voter;
    return response->error == RAFT_NONE;
}

/* ---- What is told of it */

enum { OBSERVER_IDLE_MS = 300000 };

bool raft_describe(const struct raft *raft, int64_t now_ms, struct raft_description *out) {
    if (!raft_is_leader(raft)) return false;
    out->epoch = raft->epoch;
    out->leader_id = raft->leader_id;
    out->high_watermark = raft->high_watermark_known ? raft->high_watermark : -1;
    out->voters_count = raft->voters_count;
    out->observers_count = 0;
    for (uint32_t i = 0; i < raft->voters_count; i++) {
        const struct raft_replica *replica = &raft->voters[i];
        out->voters[i] = (struct raft_replica_info){
            .key = replica->key, .end = replica->end, .fetch_ms = replica->fetch_ms, .caught_up_ms = replica->caught_up_ms};
        if (replica->key.id != raft->options.self.id) continue;
        out->voters[i].end = raft->log_end;
        out->voters[i].fetch_ms = out->voters[i].caught_up_ms = now_ms;
    }
    for (uint32_t i = 0; i < raft->observers_count; i++) {
        const struct raft_replica *replica = &raft->observers[i];
        if (now_ms - replica->fetch_ms >= OBSERVER_IDLE_MS) continue;
        out->observers[out->observers_count++] = (struct raft_replica_info){
            .key = replica->key, .end = replica->end, .fetch_ms = replica->fetch_ms, .caught_up_ms = replica->caught_up_ms};
    }
    return true;
}
