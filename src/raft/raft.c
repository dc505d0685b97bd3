/* raft/raft.c - the machine's frame: setting up, stepping, what holds for every request and response, and the nodes
 * that requests go to. The roles are in election.c, follower.c and leader.c.
 */
#include "raft/role.h"
#include "base/hash.h"
#include "base/random.h"
#include <string.h>

void raft_options_default(struct raft_options *options) {
    *options = (struct raft_options){
        .self = RAFT_NO_KEY,
        .kraft_max = 1,
        .election_timeout_ms = 1000,
        .fetch_timeout_ms = 2000,
        .election_backoff_max_ms = 1000,
        .request_timeout_ms = 2000,
        .retry_backoff_ms = 20,
        .fetch_bytes_max = 1 << 20,
        .fetch_snapshot_bytes_max = 1 << 20,
        .fetch_wait_max_ms = 500,
    };
}

/* ---- Effects */

struct raft_effect *raft_push(struct raft *raft, enum raft_effect_type type) {
    struct raft_effects *effects = raft->effects;
    assert(effects != NULL);
    assert(effects->count < RAFT_EFFECTS_MAX);
    struct raft_effect *effect = &effects->items[effects->count++];
    *effect = (struct raft_effect){.type = type};
    return effect;
}

void raft_fatal(struct raft *raft, const char *why) {
    if (raft->dead) return;
    raft->dead = true;
    raft_push(raft, RAFT_FATAL)->why = why;
}

void raft_persist(struct raft *raft) {
    struct raft_effects *effects = raft->effects;
    /* Two in a row with nothing between that depends on the first (a lone voter's candidacy and its victory): the last
     * one says it all. BECAME tells those above and DISCONNECT drops connections: neither says anything to a peer. */
    for (uint32_t i = effects->count; i-- > 0;) {
        if (effects->items[i].type == RAFT_BECAME || effects->items[i].type == RAFT_DISCONNECT) continue;
        if (effects->items[i].type != RAFT_PERSIST) break;
        for (uint32_t j = i; j + 1 < effects->count; j++) effects->items[j] = effects->items[j + 1];
        effects->count--;
        break;
    }
    raft_push(raft, RAFT_PERSIST)->state = (struct raft_quorum_state){
        .version = raft_kraft_version(raft),
        .epoch = raft->epoch,
        .leader_id = raft->leader_id,
        .voted = raft->role == RAFT_LEADER ? RAFT_NO_KEY : raft->voted,
    };
}

void raft_changed(struct raft *raft, enum raft_role role) {
    if (raft->role == RAFT_LEADER && role != RAFT_LEADER) raft_leave_leader(raft);
    /* Another leader's file of the same snapshot is another file: nothing of a download is carried over. */
    if (raft->download.active) raft_download_drop(raft);
    raft->role = role;
    bool in_flight = false;
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        in_flight |= raft->peers[i].request_id != 0;
        raft->peers[i] = (struct raft_peer){0};
    }
    if (in_flight) raft_push(raft, RAFT_DISCONNECT);
}

uint64_t raft_draw(struct raft *raft) {
    raft->random = hash_u64(raft->random + UINT64_C(0x9e3779b97f4a7c15));
    return raft->random;
}

int64_t raft_election_timeout(struct raft *raft) {
    uint64_t spread = (uint64_t)raft->options.election_timeout_ms;
    return raft->now_ms + raft->options.election_timeout_ms + (spread ? (int64_t)(raft_draw(raft) % spread) : 0);
}

struct raft_answer *raft_answer(struct raft *raft, enum raft_effect_type type, enum raft_call call, uint64_t token,
                                enum raft_error error) {
    struct raft_answer *answer = &raft_push(raft, type)->answer;
    *answer = (struct raft_answer){.call = call, .token = token, .error = error, .epoch = raft->epoch, .leader_id = raft->leader_id};
    if (call == RAFT_FETCH) {
        answer->fetch.high_watermark = -1;
        answer->fetch.snapshot = RAFT_NO_SNAPSHOT;
        answer->fetch.diverging_epoch = -1;
        answer->fetch.diverging_end = -1;
    }
    return answer;
}

/* ---- Nodes that requests go to */

static struct raft_peer *peer_find(const struct raft *raft, int32_t id) {
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++)
        if (raft->peers[i].used && raft->peers[i].id == id) return (struct raft_peer *)(uintptr_t)&raft->peers[i];
    return NULL;
}

static struct raft_peer *peer_get(struct raft *raft, int32_t id) {
    struct raft_peer *peer = peer_find(raft, id), *free_one = NULL;
    if (peer) return peer;
    for (uint32_t i = 0; i < RAFT_PEERS_MAX && !free_one; i++)
        if (!raft->peers[i].used) free_one = &raft->peers[i];
    for (uint32_t i = 0; i < RAFT_PEERS_MAX && !free_one; i++)
        if (!raft->peers[i].request_id) free_one = &raft->peers[i];
    if (free_one) *free_one = (struct raft_peer){.id = id, .used = true};
    return free_one;
}

bool raft_peer_free(struct raft *raft, int32_t id) {
    const struct raft_peer *peer = peer_find(raft, id);
    return !peer || (!peer->request_id && raft->now_ms >= peer->backoff_until_ms);
}

bool raft_peer_failed(const struct raft *raft, int32_t id) {
    const struct raft_peer *peer = peer_find(raft, id);
    return peer && peer->failed;
}

bool raft_any_in_flight(const struct raft *raft) {
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++)
        if (raft->peers[i].request_id) return true;
    return false;
}

bool raft_send_to(struct raft *raft, int32_t id, struct raft_listener at, const struct raft_request *request, uint32_t *request_id) {
    if (!raft_peer_free(raft, id)) return false;
    struct raft_peer *peer = peer_get(raft, id);
    if (!peer) return false;
    if (++raft->last_request_id == 0) raft->last_request_id = 1;
    peer->request_id = raft->last_request_id;
    peer->call = request->call;
    peer->sent_ms = raft->now_ms;
    struct raft_effect *effect = raft_push(raft, RAFT_SEND);
    effect->send.to = (struct raft_target){.id = id, .host = at.host, .port = at.port};
    effect->send.request_id = peer->request_id;
    effect->send.request = *request;
    effect->send.request.cluster_id = raft->options.cluster_id;
    if (request_id) *request_id = peer->request_id;
    return true;
}

static bool listener_of(const struct raft *raft, int32_t id, struct raft_listener *out) {
    *out = (struct raft_listener){0};
    if (id <= -2) return true; /* the host knows the bootstrap servers */
    if (id == raft->leader_id && raft_listeners_find(&raft->leader, raft->options.default_listener, out)) return true;
    return raft_voters_find_listener(raft_voters(raft), id, raft->options.default_listener, out);
}

bool raft_send(struct raft *raft, int32_t id, const struct raft_request *request) {
    struct raft_listener at;
    return listener_of(raft, id, &at) && raft_send_to(raft, id, at, request, NULL);
}

bool raft_bootstrap_pick(struct raft *raft, int32_t *id) {
    if (raft_any_in_flight(raft)) return false;
    int32_t free_ids[RAFT_VOTERS_MAX + RAFT_BOOTSTRAP_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < raft->options.bootstrap_count; i++) {
        int32_t candidate = -2 - (int32_t)i;
        if (raft_peer_free(raft, candidate)) free_ids[count++] = candidate;
    }
    const struct raft_voters *voters = raft->static_voters.count ? &raft->static_voters : raft_voters(raft);
    for (uint32_t i = 0; i < voters->count && !raft->options.bootstrap_count; i++) {
        int32_t candidate = voters->voters[i].key.id;
        struct raft_listener at;
        if (candidate == raft->options.self.id || !listener_of(raft, candidate, &at)) continue;
        if (raft_peer_free(raft, candidate)) free_ids[count++] = candidate;
    }
    if (!count) return false;
    *id = free_ids[raft_draw(raft) % count];
    return true;
}

static void peers_time_out(struct raft *raft) {
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (!peer->request_id || raft->now_ms - peer->sent_ms < raft->options.request_timeout_ms) continue;
        peer->request_id = 0;
        peer->failed = true;
        peer->backoff_until_ms = raft->now_ms + raft->options.retry_backoff_ms;
    }
}

uint32_t raft_majority(uint32_t voters) {
    return voters / 2 + 1;
}

/* ---- What is learned from others */

/* A leader for an epoch is never contradicted: by M1 there is one. */
static bool leader_is_consistent(const struct raft *raft, leader_epoch epoch, int32_t leader_id) {
    if (leader_id < 0 || epoch != raft->epoch) return true;
    if (leader_id == raft->options.self.id) /* a follower or candidate of this epoch cannot be its leader as well */
        return raft->leader_id == leader_id || (raft->leader_id < 0 && raft->role != RAFT_CANDIDATE);
    return raft->leader_id < 0 || raft->leader_id == leader_id;
}

bool raft_learn(struct raft *raft, leader_epoch epoch, int32_t leader_id, const struct raft_listeners *where) {
    struct raft_listeners found = {0};
    if (where) found = *where;
    if (!leader_is_consistent(raft, epoch, leader_id)) {
        raft_fatal(raft, "two leaders are named for one epoch");
        return false;
    }
    int voter = leader_id >= 0 && !found.count ? raft_voters_index(raft_voters(raft), leader_id) : -1;
    if (voter >= 0) raft_voters_listeners(raft_voters(raft), (uint32_t)voter, &found);
    if (leader_id >= 0 && leader_id == raft->options.self.id) {
        /* Others remember us as the leader of an epoch that this directory never led: it was emptied and formatted
         * anew. The epoch has its leader, so nobody else gets our vote in it. */
        if (epoch > raft->epoch || (epoch == raft->epoch && raft->leader_id < 0)) raft_become_unattached(raft, epoch, leader_id);
        return true;
    }
    if (epoch > raft->epoch) {
        if (leader_id >= 0 && found.count) raft_become_follower(raft, epoch, leader_id, &found);
        else raft_become_unattached(raft, epoch, leader_id);
    } else if (epoch == raft->epoch && leader_id >= 0 && found.count) {
        /* The same leader again is news only if more of its listeners are known now. */
        bool new_leader = raft->leader_id < 0 || raft->role == RAFT_UNATTACHED;
        if (raft->role != RAFT_LEADER && raft->role != RAFT_RESIGNED && (new_leader || found.count > raft->leader.count))
            raft_become_follower(raft, epoch, leader_id, &found);
    } else if (epoch == raft->epoch && leader_id >= 0 && raft->leader_id < 0 && raft->role == RAFT_UNATTACHED) {
        raft_become_unattached(raft, epoch, leader_id);
    }
    return true;
}

static void response_listeners(const struct raft *raft, const struct raft_response *response, struct raft_listeners *out) {
    *out = (struct raft_listeners){0};
    if (response->leader_id < 0 || !response->leader.host.size) return;
    struct raft_listener at = response->leader;
    at.name = raft->options.default_listener;
    if (!raft_listeners_add(out, at)) out->count = 0; /* a name that does not fit is as good as none */
}

enum raft_verdict raft_common_response(struct raft *raft, const struct raft_response *response) {
    if (response->top_error == RAFT_CLUSTER_AUTHORIZATION_FAILED) {
        raft_fatal(raft, "the quorum refuses this node: cluster authorization failed");
        return RAFT_VERDICT_FAILED;
    }
    if (response->top_error != RAFT_NONE) return RAFT_VERDICT_FAILED;
    struct raft_listeners where;
    response_listeners(raft, response, &where);
    enum raft_error error = response->error;
    if (response->epoch < raft->epoch || error == RAFT_UNKNOWN_LEADER_EPOCH) return RAFT_VERDICT_ENDED;
    if (response->epoch > raft->epoch || error == RAFT_FENCED_LEADER_EPOCH || error == RAFT_NOT_LEADER_OR_FOLLOWER) {
        raft_learn(raft, response->epoch, response->leader_id, &where);
        return RAFT_VERDICT_ENDED;
    }
    if (response->leader_id >= 0 && raft->leader_id < 0) {
        if (!raft_learn(raft, response->epoch, response->leader_id, &where) || error != RAFT_NONE) return RAFT_VERDICT_ENDED;
    } else if (!leader_is_consistent(raft, response->epoch, response->leader_id)) {
        raft_fatal(raft, "two leaders are named for one epoch");
        return RAFT_VERDICT_ENDED;
    }
    switch (error) {
    case RAFT_NONE: return RAFT_VERDICT_OPEN;
    case RAFT_BROKER_NOT_AVAILABLE: return RAFT_VERDICT_FAILED;
    case RAFT_INVALID_VOTER_KEY: return RAFT_VERDICT_ENDED;
    case RAFT_INVALID_REQUEST:
        raft_fatal(raft, "a peer calls a request of ours invalid");
        return RAFT_VERDICT_ENDED;
    default: return RAFT_VERDICT_OPEN;
    }
}

enum raft_error raft_check_voter_request(const struct raft *raft, leader_epoch epoch, int32_t sender) {
    if (epoch < raft->epoch) return RAFT_FENCED_LEADER_EPOCH;
    /* A node that is about to end still has a vote: without it a resigned leader's successor might not find a majority. */
    return sender < 0 ? RAFT_INVALID_REQUEST : RAFT_NONE;
}

enum raft_error raft_check_leader_request(const struct raft *raft, leader_epoch epoch) {
    if (epoch < raft->epoch) return RAFT_FENCED_LEADER_EPOCH;
    if (epoch > raft->epoch) return RAFT_UNKNOWN_LEADER_EPOCH;
    if (raft->role != RAFT_LEADER) return RAFT_NOT_LEADER_OR_FOLLOWER;
    return raft->shutting_down ? RAFT_BROKER_NOT_AVAILABLE : RAFT_NONE;
}

bool raft_key_is_ours(const struct raft *raft, struct raft_key voter) {
    if (voter.id < 0) return true;
    if (voter.id != raft->options.self.id) return false;
    return uuid_is_zero(voter.directory) || uuid_equal(voter.directory, raft->options.self.directory);
}

/* ---- What others may know */

const struct raft_voters *raft_voters(const struct raft *raft) {
    const struct raft_voters *latest = raft_history_voters(&raft->history, INT64_MAX, NULL);
    return latest ? latest : &raft->static_voters;
}

int16_t raft_kraft_version(const struct raft *raft) {
    return raft_history_version(&raft->history, INT64_MAX);
}

bool raft_is_leader(const struct raft *raft) {
    return raft->role == RAFT_LEADER && !raft->dead;
}

bool raft_is_voter(const struct raft *raft) {
    return raft->options.self.id >= 0 && raft->options.can_vote && raft_voters_has(raft_voters(raft), raft->options.self);
}

bool raft_leader_listener(const struct raft *raft, struct span listener, struct raft_listener *out) {
    if (raft->leader_id < 0) return false;
    if (raft->leader_id == raft->options.self.id) return raft_listeners_find(&raft->options.listeners, listener, out);
    if (raft_listeners_find(&raft->leader, listener, out)) return true;
    return raft_voters_find_listener(raft_voters(raft), raft->leader_id, listener, out);
}

bool raft_state_at(const struct raft *raft, log_offset end, const struct raft_voters **voters, int16_t *version) {
    *version = raft_history_version(&raft->history, end);
    *voters = *version >= 1 ? raft_history_voters(&raft->history, end, NULL) : NULL;
    /* With kraft.version 1 there may be no voters only where none was ever told (no initial controllers). What was
     * forgotten because the history is full is not "none". */
    return *version < 1 || *voters || raft->history.count < RAFT_HISTORY_MAX;
}

/* ---- Setting up */

void raft_init(struct raft *raft, const struct raft_options *options) {
    assert(options->cluster_id.size <= RAFT_CLUSTER_ID_MAX);
    assert(options->default_listener.size <= sizeof(raft->default_listener));
    assert(options->bootstrap_count <= RAFT_BOOTSTRAP_MAX);
    assert(options->self.id >= 0 || !options->can_vote);
    memset(raft, 0, sizeof(*raft));
    raft->options = *options;
    if (options->cluster_id.size) memcpy(raft->cluster_id, options->cluster_id.data, options->cluster_id.size);
    raft->options.cluster_id = options->cluster_id.size ? span_of(raft->cluster_id, options->cluster_id.size) : (struct span){0};
    if (options->default_listener.size) memcpy(raft->default_listener, options->default_listener.data, options->default_listener.size);
    raft->options.default_listener = span_of(raft->default_listener, options->default_listener.size);
    if (options->static_voters) raft->static_voters = *options->static_voters;
    raft->options.static_voters = NULL;
    raft->leader_id = -1;
    raft->voted = RAFT_NO_KEY;
    raft->high_watermark = -1;
    raft->leader_high_watermark = -1;
    raft->upgrade_offset = -1;
    raft->election_deadline_ms = raft->fetch_deadline_ms = raft->update_deadline_ms = INT64_MAX;
    raft->check_quorum_deadline_ms = raft->begin_deadline_ms = raft->shutdown_deadline_ms = INT64_MAX;
    raft->earliest = raft->latest = RAFT_NO_SNAPSHOT;
}

void raft_load(struct raft *raft, log_offset offset, const struct raft_voters *voters, int16_t version) {
    assert(!raft->begun);
    if (voters) raft_history_add_voters(&raft->history, offset, voters);
    else raft_history_add_version(&raft->history, offset, version);
}

static bool poll(struct raft *raft);

static void step_begin(struct raft *raft, int64_t now_ms, uint64_t random, struct raft_effects *effects) {
    effects->count = 0;
    raft->effects = effects;
    raft->now_ms = now_ms;
    raft->random = random;
}

static void step_end(struct raft *raft) {
    /* Each turn of the loop is a change of role; from Unattached to Leader there are three. */
    for (int turns = 0; !raft->dead && poll(raft); turns++) assert(turns < 16);
    raft->effects = NULL;
    raft->response = NULL;
    raft_check(raft);
}

void raft_begin(struct raft *raft, const struct raft_start *start, int64_t now_ms, uint64_t random, struct raft_effects *effects) {
    assert(!raft->begun);
    step_begin(raft, now_ms, random, effects);
    raft->begun = true;
    raft->log_start = start->log_start;
    raft->log_end = raft->durable_end = start->log_end;
    raft->last_epoch = start->last_epoch;
    raft->earliest = start->earliest;
    raft->latest = start->latest;

    struct raft_quorum_state state = {.epoch = 0, .leader_id = -1, .voted = RAFT_NO_KEY};
    if (start->has_state) state = start->state;
    int32_t self = raft->options.self.id;
    bool voter = raft_is_voter(raft);
    raft->role = RAFT_UNATTACHED;
    raft->epoch = state.epoch;
    raft->voted = state.voted;
    raft->election_deadline_ms = voter ? raft_election_timeout(raft) : INT64_MAX;
    if (state.epoch < raft->last_epoch) { /* the file is older than the log: it knows nothing of this epoch */
        raft->epoch = raft->last_epoch;
        raft->voted = RAFT_NO_KEY;
        raft_persist(raft);
    } else if (self >= 0 && state.leader_id == self) {
        /* Never again the leader of this epoch: what it appended and did not flush may be gone. */
        raft->leader_id = self;
        raft->role = RAFT_RESIGNED;
        if (!voter) raft->election_deadline_ms = raft_election_timeout(raft);
    } else if (voter && state.leader_id < 0 && state.voted.id == self && /* else the election is over, and somebody else won */
               (uuid_is_zero(state.voted.directory) || uuid_equal(state.voted.directory, raft->options.self.directory))) {
        raft->role = RAFT_CANDIDATE;
        raft_open_ballots(raft);
    } else if (state.leader_id >= 0) {
        int leader = raft_voters_index(raft_voters(raft), state.leader_id);
        raft->leader_id = state.leader_id;
        if (leader >= 0) {
            raft_voters_listeners(raft_voters(raft), (uint32_t)leader, &raft->leader);
            raft->role = RAFT_FOLLOWER;
            raft->fetch_deadline_ms = now_ms + raft->options.fetch_timeout_ms;
            raft->update_deadline_ms = now_ms + raft->options.fetch_timeout_ms;
        }
    }
    if (voter && raft_voters(raft)->count == 1) raft_become_prospective(raft); /* nobody to wait for */
    step_end(raft);
}

/* ---- Stepping */

static bool poll(struct raft *raft) {
    peers_time_out(raft);
    bool changed = false;
    switch (raft->role) {
    case RAFT_UNATTACHED: changed = raft_poll_unattached(raft); break;
    case RAFT_PROSPECTIVE: changed = raft_poll_prospective(raft); break;
    case RAFT_CANDIDATE: changed = raft_poll_candidate(raft); break;
    case RAFT_LEADER: changed = raft_poll_leader(raft); break;
    case RAFT_RESIGNED: changed = raft_poll_resigned(raft); break;
    case RAFT_FOLLOWER: changed = raft_poll_follower(raft); break;
    }
    if (changed || !raft->shutting_down || raft->shutdown_done) return changed;
    const struct raft_voters *voters = raft_voters(raft);
    bool others = voters->count > (raft_voters_index(voters, raft->options.self.id) >= 0 ? 1u : 0u);
    if (others && raft_is_voter(raft) && raft->role != RAFT_FOLLOWER && raft->now_ms < raft->shutdown_deadline_ms) return false;
    raft->shutdown_done = true;
    raft_push(raft, RAFT_SHUTDOWN_DONE);
    return false;
}

static void on_request(struct raft *raft, const struct raft_request *request) {
    struct span cluster_id = request->cluster_id;
    if (raft->dead) {
        raft_answer(raft, RAFT_ANSWER, request->call, request->token, RAFT_NONE)->top_error = RAFT_BROKER_NOT_AVAILABLE;
        return;
    }
    if (cluster_id.data && raft->options.cluster_id.size && !span_equal(cluster_id, raft->options.cluster_id)) {
        raft_answer(raft, RAFT_ANSWER, request->call, request->token, RAFT_NONE)->top_error = RAFT_INCONSISTENT_CLUSTER_ID;
        return;
    }
    switch (request->call) {
    case RAFT_VOTE: raft_on_vote(raft, request); break;
    case RAFT_BEGIN: raft_on_begin(raft, request); break;
    case RAFT_END: raft_on_end(raft, request); break;
    case RAFT_FETCH: raft_on_fetch(raft, request); break;
    case RAFT_FETCH_SNAPSHOT: raft_on_fetch_snapshot(raft, request); break;
    case RAFT_ADD: raft_on_add(raft, request); break;
    case RAFT_REMOVE: raft_on_remove(raft, request); break;
    case RAFT_UPDATE: raft_on_update(raft, request); break;
    case RAFT_API_VERSIONS:
    case RAFT_UPGRADE:
    case RAFT_CALLS: never("no request of the quorum's");
    }
}

static void on_response(struct raft *raft, const struct raft_response *response) {
    struct raft_peer *peer = peer_find(raft, response->from);
    if (!peer || !peer->request_id || peer->request_id != response->request_id || peer->call != response->call) return;
    peer->request_id = 0;
    raft->response = response;
    bool ok = false;
    switch (response->call) {
    case RAFT_VOTE: ok = raft_on_vote_response(raft, response); break;
    case RAFT_BEGIN: ok = raft_on_begin_response(raft, response); break;
    case RAFT_END: ok = raft_on_end_response(raft, response); break;
    case RAFT_FETCH: ok = raft_on_fetch_response(raft, response); break;
    case RAFT_FETCH_SNAPSHOT: ok = raft_on_fetch_snapshot_response(raft, response); break;
    case RAFT_ADD:
    case RAFT_REMOVE:
    case RAFT_UPDATE: ok = raft_on_change_response(raft, response); break;
    case RAFT_API_VERSIONS: ok = raft_on_api_versions_response(raft, response); break;
    case RAFT_UPGRADE:
    case RAFT_CALLS: never("no request of the quorum's");
    }
    peer = peer_find(raft, response->from); /* gone when the role has changed */
    if (!peer || peer->request_id) return;
    peer->failed = !ok;
    if (!ok) peer->backoff_until_ms = raft->now_ms + raft->options.retry_backoff_ms;
}

static void log_moved(struct raft *raft) {
    if (raft->role == RAFT_LEADER) raft_leader_log_moved(raft);
    else if (raft->role == RAFT_FOLLOWER) raft_follower_log_moved(raft);
}

void raft_step(struct raft *raft, const struct raft_event *event, struct raft_effects *effects) {
    assert(raft->begun);
    step_begin(raft, event->now_ms, event->random, effects);
    switch (event->type) {
    case RAFT_EVENT_TICK: break;
    case RAFT_EVENT_REQUEST: on_request(raft, event->request); break;
    case RAFT_EVENT_RESPONSE:
        if (!raft->dead) on_response(raft, event->response);
        break;
    case RAFT_EVENT_APPENDED:
        assert(event->log.end >= raft->log_end);
        raft->log_end = event->log.end;
        raft->last_epoch = event->log.last_epoch;
        log_moved(raft);
        break;
    case RAFT_EVENT_DURABLE:
        if (event->log.end > raft->durable_end) raft->durable_end = event->log.end;
        if (raft->durable_end > raft->log_end) raft->durable_end = raft->log_end;
        log_moved(raft);
        break;
    case RAFT_EVENT_TRUNCATED:
        assert(event->log.end >= raft->high_watermark);
        raft->log_end = event->log.end;
        raft->last_epoch = event->log.last_epoch;
        if (raft->durable_end > raft->log_end) raft->durable_end = raft->log_end;
        raft_history_truncate(&raft->history, raft->log_end);
        raft->appending = false;
        break;
    case RAFT_EVENT_VOTERS: raft_history_add_voters(&raft->history, event->control.offset, event->control.voters); break;
    case RAFT_EVENT_KRAFT_VERSION: raft_history_add_version(&raft->history, event->control.offset, event->control.version); break;
    case RAFT_EVENT_LOG_START:
        raft->log_start = event->start.start;
        raft->earliest = event->start.earliest;
        raft->latest = event->start.latest;
        break;
    case RAFT_EVENT_SNAPSHOT:
        assert(event->snapshot.offset <= raft->high_watermark);
        if (raft->earliest.offset < 0) raft->earliest = event->snapshot;
        if (event->snapshot.offset > raft->latest.offset) raft->latest = event->snapshot;
        break;
    case RAFT_EVENT_SNAPSHOT_LOADING:
        assert(raft->role != RAFT_LEADER); /* M6: a leader never loads one */
        raft->log_start = raft->log_end = raft->durable_end = event->snapshot.offset;
        raft->last_epoch = event->snapshot.epoch;
        raft->earliest = raft->latest = event->snapshot;
        raft_history_clear(&raft->history);
        break;
    case RAFT_EVENT_SNAPSHOT_LOADED:
        if (event->snapshot.offset > raft->high_watermark) {
            raft->high_watermark = event->snapshot.offset;
            raft_push(raft, RAFT_HIGH_WATERMARK)->offset = raft->high_watermark;
        }
        raft->appending = false;
        break;
    case RAFT_EVENT_APPEND_FAILED: raft->appending = false; break;
    case RAFT_EVENT_UPGRADE: raft_on_upgrade(raft, event); break;
    case RAFT_EVENT_RESIGN:
        if (raft->role == RAFT_LEADER && raft->epoch == event->epoch) raft_become_resigned(raft);
        break;
    case RAFT_EVENT_SHUTDOWN:
        if (raft->shutting_down) break;
        raft->shutting_down = true;
        raft->shutdown_deadline_ms = raft->now_ms + event->timeout_ms;
        if (raft->role == RAFT_LEADER) raft_become_resigned(raft);
        break;
    }
    /* What control records say is taken in together with their batch: it is APPENDED (or LOADED) that has effects. */
    bool silent = event->type == RAFT_EVENT_VOTERS || event->type == RAFT_EVENT_KRAFT_VERSION || event->type == RAFT_EVENT_SNAPSHOT_LOADING;
    if (silent) raft->effects = NULL;
    else step_end(raft);
}

static void sooner(int64_t *deadline, int64_t at) {
    if (at < *deadline) *deadline = at;
}

int64_t raft_deadline(const struct raft *raft) {
    int64_t deadline = INT64_MAX;
    if (raft->dead || !raft->begun) return deadline;
    bool voter = raft_is_voter(raft);
    switch (raft->role) {
    case RAFT_UNATTACHED:
        if (voter && !raft->shutting_down) sooner(&deadline, raft->election_deadline_ms);
        break;
    case RAFT_PROSPECTIVE:
    case RAFT_CANDIDATE: sooner(&deadline, raft->election_deadline_ms); break;
    case RAFT_RESIGNED:
        if (!raft->shutting_down) sooner(&deadline, raft->election_deadline_ms);
        break;
    case RAFT_FOLLOWER:
        /* An observer whose time is up fetches from anybody: it has done so already, or waits for a peer. */
        if (voter ? !raft->shutting_down : raft->fetch_deadline_ms > raft->now_ms) sooner(&deadline, raft->fetch_deadline_ms);
        if (raft->update_deadline_ms > raft->now_ms) sooner(&deadline, raft->update_deadline_ms);
        break;
    case RAFT_LEADER:
        sooner(&deadline, raft->check_quorum_deadline_ms);
        sooner(&deadline, raft->begin_deadline_ms);
        if (raft->change.stage != RAFT_CHANGE_NONE) sooner(&deadline, raft->change.deadline_ms);
        for (uint32_t i = 0; i < raft->parked_count; i++) sooner(&deadline, raft->parked[i].deadline_ms);
        break;
    }
    if (raft->shutting_down && !raft->shutdown_done) sooner(&deadline, raft->shutdown_deadline_ms);
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (!peer->used) continue;
        if (peer->request_id) sooner(&deadline, peer->sent_ms + raft->options.request_timeout_ms);
        else if (peer->backoff_until_ms > raft->now_ms) sooner(&deadline, peer->backoff_until_ms);
    }
    return deadline;
}

void raft_check(const struct raft *raft) {
    assert(raft->log_start <= raft->log_end);
    assert(raft->durable_end <= raft->log_end);
    assert(raft->high_watermark <= raft->log_end);
    assert(raft->last_epoch <= raft->epoch);
    assert(implies(raft->role == RAFT_LEADER, raft->leader_id == raft->options.self.id));
    assert(implies(raft->role == RAFT_RESIGNED, raft->leader_id == raft->options.self.id));
    assert(implies(raft->role == RAFT_FOLLOWER, raft->leader_id >= 0 && raft->leader_id != raft->options.self.id));
    assert(implies(raft->role == RAFT_FOLLOWER, raft->leader.count > 0));
    assert(implies(raft->role == RAFT_CANDIDATE, raft->voted.id == raft->options.self.id && raft->leader_id < 0));
    assert(implies(raft->role == RAFT_LEADER, raft->epoch_start <= raft->log_end));
    assert(implies(raft->role == RAFT_LEADER && raft->high_watermark_known, raft->high_watermark > raft->epoch_start));
    assert(implies(raft->download.active, raft->role == RAFT_FOLLOWER));
    assert(implies(raft->role != RAFT_LEADER, raft->parked_count == 0 && raft->change.stage == RAFT_CHANGE_NONE));
    assert(raft->latest.offset <= raft->log_end);
    assert(raft->earliest.offset <= raft->latest.offset);
}
