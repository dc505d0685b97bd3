/* raft/election.c - Unattached, Prospective and Candidate: how a leader is found, and who gets this node's vote.
 *
 *     Unattached --timer--> Prospective --pre-votes of a majority--> Candidate --votes of a majority--> Leader
 *         ^                    |   ^                                     |
 *         +------ rejected ----+   +------------------ timer ------------+
 *
 * A pre-vote asks "would you vote for me?" and changes nothing, so that a node that was cut off does not raise epochs
 * that nobody can follow. Epoch and vote are durable before they are sent [M2].
 */
#include "raft/role.h"
#include "base/random.h"

static bool is_self(const struct raft *raft, struct raft_key key) {
    return key.id == raft->options.self.id && uuid_equal(key.directory, raft->options.self.directory);
}

void raft_open_ballots(struct raft *raft) {
    const struct raft_voters *voters = raft_voters(raft);
    raft->electorate_count = voters->count;
    for (uint32_t i = 0; i < voters->count; i++) {
        raft->electorate[i] = voters->voters[i].key;
        raft->ballots[i] = voters->voters[i].key.id == raft->options.self.id ? RAFT_BALLOT_GRANTED : RAFT_BALLOT_OPEN;
    }
}

static uint32_t ballots_of(const struct raft *raft, enum raft_ballot ballot) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < raft->electorate_count; i++) count += raft->ballots[i] == ballot;
    return count;
}

static bool is_granted(const struct raft *raft) {
    return ballots_of(raft, RAFT_BALLOT_GRANTED) >= raft_majority(raft->electorate_count);
}

/* No majority can come together any more. */
static bool is_rejected(const struct raft *raft) {
    return raft->electorate_count - ballots_of(raft, RAFT_BALLOT_REJECTED) < raft_majority(raft->electorate_count);
}

static void tell(struct raft *raft) {
    struct raft_effect *effect = raft_push(raft, RAFT_BECAME);
    effect->became.role = raft->role;
    effect->became.epoch = raft->epoch;
    effect->became.leader_id = raft->leader_id;
}

void raft_become_unattached(struct raft *raft, leader_epoch epoch, int32_t leader_id) {
    assert(epoch >= raft->epoch);
    enum raft_role from = raft->role;
    /* Whoever was waiting for an election goes on waiting: a stream of higher epochs must not put it off for ever. */
    bool keeps_timer = from == RAFT_CANDIDATE || from == RAFT_UNATTACHED || from == RAFT_RESIGNED ||
                       (from == RAFT_PROSPECTIVE && !is_rejected(raft));
    raft_changed(raft, RAFT_UNATTACHED);
    if (epoch > raft->epoch) raft->voted = RAFT_NO_KEY;
    raft->epoch = epoch;
    raft->leader_id = leader_id;
    raft->leader.count = 0;
    if (!raft_is_voter(raft)) raft->election_deadline_ms = INT64_MAX;
    else if (!keeps_timer || raft->election_deadline_ms == INT64_MAX) raft->election_deadline_ms = raft_election_timeout(raft);
    raft_persist(raft);
    tell(raft);
}

void raft_become_prospective(struct raft *raft) {
    assert(raft_is_voter(raft));
    assert(raft->role != RAFT_LEADER);
    /* A resigned leader's epoch is over for it, though others may go on in it. */
    raft_changed(raft, RAFT_PROSPECTIVE);
    raft->election_deadline_ms = raft_election_timeout(raft);
    raft_open_ballots(raft);
    tell(raft);
    if (is_granted(raft)) raft_become_candidate(raft);
}

void raft_become_candidate(struct raft *raft) {
    assert(raft->role == RAFT_PROSPECTIVE);
    raft_changed(raft, RAFT_CANDIDATE);
    raft->epoch++;
    raft->leader_id = -1;
    raft->leader.count = 0;
    raft->voted = raft->options.self;
    raft->election_deadline_ms = raft_election_timeout(raft);
    raft_open_ballots(raft);
    raft_persist(raft);
    tell(raft);
    if (is_granted(raft)) raft_become_leader(raft);
}

/* ---- What time does */

bool raft_poll_unattached(struct raft *raft) {
    if (raft_is_voter(raft) && !raft->shutting_down && raft->now_ms >= raft->election_deadline_ms) {
        raft_become_prospective(raft);
        return true;
    }
    raft_poll_fetch_anywhere(raft);
    return false;
}

static void send_votes(struct raft *raft, bool pre_vote) {
    for (uint32_t i = 0; i < raft->electorate_count; i++) {
        if (raft->ballots[i] != RAFT_BALLOT_OPEN) continue;
        struct raft_request request = {.call = RAFT_VOTE};
        request.vote = (struct raft_vote_request){
            .epoch = raft->epoch,
            .candidate = raft->options.self,
            .voter = raft->electorate[i],
            .last_epoch = raft->last_epoch,
            .last_offset = raft->log_end,
            .pre_vote = pre_vote,
        };
        raft_send(raft, raft->electorate[i].id, &request);
    }
}

bool raft_poll_prospective(struct raft *raft) {
    if (!raft_is_voter(raft)) { /* its removal was replicated meanwhile */
        raft_become_unattached(raft, raft->epoch, raft->leader_id);
        return true;
    }
    if (is_rejected(raft) || raft->now_ms >= raft->election_deadline_ms) {
        struct raft_listeners leader = raft->leader;
        if (raft->leader_id >= 0 && raft->leader_id != raft->options.self.id && leader.count)
            raft_become_follower(raft, raft->epoch, raft->leader_id, &leader);
        else raft_become_unattached(raft, raft->epoch, raft->leader_id);
        return true;
    }
    send_votes(raft, true);
    return false;
}

bool raft_poll_candidate(struct raft *raft) {
    if (!raft_is_voter(raft)) {
        raft_become_unattached(raft, raft->epoch, -1);
        return true;
    }
    if (!raft->shutting_down && raft->now_ms >= raft->election_deadline_ms) {
        raft_become_prospective(raft);
        return true;
    }
    send_votes(raft, false);
    return false;
}

/* ---- Votes */

static bool log_is_up_to_date(const struct raft *raft, const struct raft_vote_request *vote) {
    if (vote->last_epoch != raft->last_epoch) return vote->last_epoch > raft->last_epoch;
    return vote->last_offset >= raft->log_end;
}

static bool can_grant(const struct raft *raft, const struct raft_vote_request *vote) {
    bool up_to_date = log_is_up_to_date(raft, vote);
    switch (raft->role) {
    case RAFT_LEADER: return false;
    case RAFT_CANDIDATE:
    case RAFT_RESIGNED: return vote->pre_vote && up_to_date;
    case RAFT_FOLLOWER: return vote->pre_vote && !raft->fetched && up_to_date; /* a leader that answers needs no successor */
    case RAFT_UNATTACHED:
    case RAFT_PROSPECTIVE: break;
    }
    if (vote->pre_vote) return up_to_date;
    if (raft->voted.id >= 0)
        return raft->voted.id == vote->candidate.id &&
               (uuid_is_zero(raft->voted.directory) || uuid_equal(raft->voted.directory, vote->candidate.directory));
    return raft->leader_id < 0 && up_to_date;
}

/* Whether the asker is a voter is not looked at: it may know of a newer set of voters than this node does. */
void raft_on_vote(struct raft *raft, const struct raft_request *request) {
    const struct raft_vote_request *vote = &request->vote;
    enum raft_error error = RAFT_NONE;
    bool epoch_too_new = vote->pre_vote ? vote->last_epoch > vote->epoch : vote->last_epoch >= vote->epoch;
    bool granted = false;
    if (vote->last_offset < 0 || vote->last_epoch < 0 || epoch_too_new) error = RAFT_INVALID_REQUEST;
    if (!error) error = raft_check_voter_request(raft, vote->epoch, vote->candidate.id);
    if (!error) {
        if (vote->epoch > raft->epoch) raft_become_unattached(raft, vote->epoch, -1);
        if (!raft_key_is_ours(raft, vote->voter)) error = RAFT_INVALID_VOTER_KEY;
    }
    if (!error) granted = can_grant(raft, vote);
    if (granted && !vote->pre_vote && raft->voted.id < 0) {
        raft->voted = vote->candidate;
        if (raft_is_voter(raft)) raft->election_deadline_ms = raft_election_timeout(raft);
        raft_persist(raft); /* before the answer */
    }
    raft_answer(raft, RAFT_ANSWER, RAFT_VOTE, request->token, error)->vote.granted = granted;
}

static bool is_pre_vote(const struct raft *raft) {
    return raft->role == RAFT_PROSPECTIVE;
}

bool raft_on_vote_response(struct raft *raft, const struct raft_response *response) {
    if (response->top_error == RAFT_UNSUPPORTED_VERSION && is_pre_vote(raft)) {
        /* That peer is from before pre-votes and would never answer one: a cluster being upgraded elects as it used to. */
        raft_become_candidate(raft);
        return true;
    }
    enum raft_verdict verdict = raft_common_response(raft, response);
    if (verdict != RAFT_VERDICT_OPEN) return verdict == RAFT_VERDICT_ENDED;
    if (response->error != RAFT_NONE) return false;
    if (raft->role != RAFT_PROSPECTIVE && raft->role != RAFT_CANDIDATE) return true;
    for (uint32_t i = 0; i < raft->electorate_count; i++) {
        if (raft->electorate[i].id != response->from || is_self(raft, raft->electorate[i])) continue;
        raft->ballots[i] = response->vote.granted ? RAFT_BALLOT_GRANTED : RAFT_BALLOT_REJECTED;
    }
    if (!is_granted(raft)) return true;
    if (raft->role == RAFT_PROSPECTIVE) raft_become_candidate(raft);
    else raft_become_leader(raft);
    return true;
}
