/* raft/change.c - the voters change: AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter, and the step from kraft.version 0 to 1.
 *
 * One change at a time [M7]: the next one starts when the last VotersRecord is committed. Two sets that differ by one
 * voter have a majority in common, so both cannot decide apart. A record counts as soon as it is appended.
 */
#include "raft/role.h"
#include "base/random.h"

enum { CAUGHT_UP_WITHIN_MS = 3600000 };

static void answer_change(struct raft *raft, enum raft_call call, uint64_t token, enum raft_error error, const char *message) {
    raft_answer(raft, RAFT_ANSWER, call, token, error)->message = message;
}

static bool has_default_listener(const struct raft *raft, const struct raft_listeners *listeners) {
    struct raft_listener found;
    return listeners && raft_listeners_find(listeners, raft->options.default_listener, &found);
}

/* What holds for every change: it is this node's to make, and the time has come. */
static enum raft_error may_change(const struct raft *raft, const char **why) {
    log_offset voters_offset = -1;
    raft_history_voters(&raft->history, INT64_MAX, &voters_offset);
    if (raft->change.stage != RAFT_CHANGE_NONE || raft->upgrade_offset >= 0) {
        *why = "another change of the voters is under way";
        return RAFT_REQUEST_TIMED_OUT;
    }
    if (!raft->high_watermark_known) {
        *why = "the leader does not know yet what is committed";
        return RAFT_REQUEST_TIMED_OUT;
    }
    if (voters_offset >= raft->high_watermark) {
        *why = "the last change of the voters is not committed yet";
        return RAFT_REQUEST_TIMED_OUT;
    }
    return RAFT_NONE;
}

static enum raft_error may_reconfigure(const struct raft *raft, const char **why) {
    enum raft_error error = may_change(raft, why);
    if (error && raft->change.stage == RAFT_CHANGE_NONE && !raft->high_watermark_known) return error;
    if (raft->change.stage == RAFT_CHANGE_NONE && raft_kraft_version(raft) < 1) {
        *why = "the voters are static: kraft.version is 0";
        return RAFT_UNSUPPORTED_VERSION;
    }
    return error;
}

/* Appends the set in raft->work. Answers its offset. */
static log_offset append_voters(struct raft *raft) {
    log_offset offset = raft->log_end;
    raft_history_add_voters(&raft->history, offset, &raft->work);
    struct raft_effect *effect = raft_push(raft, RAFT_APPEND);
    effect->append.epoch = raft->epoch;
    effect->append.records[effect->append.count++] = (struct raft_record){.type = RAFT_RECORD_VOTERS, .voters = raft_voters(raft)};
    raft_leader_voters_changed(raft);
    return offset;
}

static void end_change(struct raft *raft, enum raft_error error, const char *message) {
    struct raft_change change = raft->change;
    raft->change.stage = RAFT_CHANGE_NONE;
    answer_change(raft, change.call, change.token, error, message);
}

/* ---- Add */

void raft_on_add(struct raft *raft, const struct raft_request *request) {
    const struct raft_add_request *add = &request->add;
    const char *why = NULL;
    enum raft_error error = raft_check_leader_request(raft, raft->epoch);
    if (!error && (add->voter.id < 0 || uuid_is_zero(add->voter.directory) || !has_default_listener(raft, add->listeners))) {
        error = RAFT_INVALID_REQUEST;
        why = "the voter needs an id, a directory id and an endpoint for the default listener";
    }
    if (!error) error = may_reconfigure(raft, &why);
    if (!error && raft_voters_index(raft_voters(raft), add->voter.id) >= 0) {
        error = RAFT_DUPLICATE_VOTER;
        why = "that id is among the voters already";
    }
    if (error) {
        answer_change(raft, RAFT_ADD, request->token, error, why);
        return;
    }
    raft->change = (struct raft_change){
        .stage = RAFT_CHANGE_ASKING, .call = RAFT_ADD, .token = request->token, .key = add->voter, .listeners = *add->listeners,
        .offset = -1, .deadline_ms = raft->now_ms + (add->timeout_ms > 0 ? add->timeout_ms : 0),
        .ack_at_append = !add->ack_when_committed};
    struct raft_request ask = {.call = RAFT_API_VERSIONS};
    struct raft_listener at;
    bool found = raft_listeners_find(&raft->change.listeners, raft->options.default_listener, &at);
    if (!found || !raft_send_to(raft, add->voter.id, at, &ask, &raft->change.request_id))
        end_change(raft, RAFT_REQUEST_TIMED_OUT, "the new voter cannot be asked now what it supports");
}

bool raft_on_api_versions_response(struct raft *raft, const struct raft_response *response) {
    struct raft_change *change = &raft->change;
    if (change->stage != RAFT_CHANGE_ASKING || change->request_id != response->request_id) return true;
    if (response->top_error != RAFT_NONE) {
        end_change(raft, RAFT_REQUEST_TIMED_OUT, "the new voter did not say what it supports");
        return false;
    }
    int16_t version = raft_kraft_version(raft);
    const struct raft_replica *replica = raft_leader_replica(raft, change->key);
    if (version < response->api_versions.kraft_min || version > response->api_versions.kraft_max) {
        end_change(raft, RAFT_INVALID_REQUEST, "the new voter does not support the cluster's kraft.version");
        return true;
    }
    if (!replica || !replica->has_caught_up || replica->fetch_ms < 0 || raft->now_ms - replica->fetch_ms >= CAUGHT_UP_WITHIN_MS) {
        end_change(raft, RAFT_REQUEST_TIMED_OUT, "the new voter has not caught up with the log yet");
        return true;
    }
    raft->work = *raft_voters(raft);
    if (!raft_voters_add_node(&raft->work, change->key, response->api_versions.kraft_min, response->api_versions.kraft_max, &change->listeners)) {
        end_change(raft, RAFT_INVALID_REQUEST, "there is no room for another voter");
        return true;
    }
    change->stage = RAFT_CHANGE_APPENDED;
    change->offset = append_voters(raft);
    if (change->ack_at_append) end_change(raft, RAFT_NONE, NULL);
    return true;
}

/* ---- Remove */

void raft_on_remove(struct raft *raft, const struct raft_request *request) {
    struct raft_key key = request->remove.voter;
    const char *why = NULL;
    enum raft_error error = raft_check_leader_request(raft, raft->epoch);
    if (!error && (key.id < 0 || uuid_is_zero(key.directory))) {
        error = RAFT_INVALID_REQUEST;
        why = "a voter is named by its id and its directory id";
    }
    if (!error) error = may_reconfigure(raft, &why);
    const struct raft_voters *voters = raft_voters(raft);
    int index = raft_voters_index(voters, key.id);
    if (!error && (index < 0 || !uuid_equal(voters->voters[index].key.directory, key.directory) || voters->count == 1)) {
        error = RAFT_VOTER_NOT_FOUND;
        why = voters->count == 1 && index >= 0 ? "the last voter cannot be removed" : "there is no such voter";
    }
    if (error) {
        answer_change(raft, RAFT_REMOVE, request->token, error, why);
        return;
    }
    raft->work = *voters;
    raft_voters_remove(&raft->work, key.id);
    raft->change = (struct raft_change){
        .stage = RAFT_CHANGE_APPENDED, .call = RAFT_REMOVE, .token = request->token, .key = key,
        .deadline_ms = raft->now_ms + raft->options.request_timeout_ms};
    raft->change.offset = append_voters(raft);
}

/* ---- Update: a voter's listeners or its range of kraft.version have changed */

void raft_on_update(struct raft *raft, const struct raft_request *request) {
    const struct raft_update_request *update = &request->update;
    const char *why = NULL;
    enum raft_error error = raft_check_leader_request(raft, update->epoch);
    if (!error && (update->voter.id < 0 || uuid_is_zero(update->voter.directory) || update->kraft_min < 0 ||
                   update->kraft_min > update->kraft_max))
        error = RAFT_INVALID_REQUEST;
    if (!error) error = may_change(raft, &why);
    int16_t version = raft_kraft_version(raft);
    if (!error && (version < update->kraft_min || version > update->kraft_max || !has_default_listener(raft, update->listeners)))
        error = RAFT_INVALID_REQUEST;
    const struct raft_voters *voters = version < 1 && raft->updates_known ? &raft->updates : raft_voters(raft);
    int index = raft_voters_index(voters, update->voter.id);
    bool known = index >= 0 && (version < 1 || raft_voters_has(voters, update->voter));
    if (!error && !known) error = RAFT_VOTER_NOT_FOUND;
    if (!error) {
        struct raft_listeners listeners = *update->listeners;
        raft->work = *voters;
        raft_voters_remove(&raft->work, update->voter.id);
        if (!raft_voters_add_node(&raft->work, update->voter, update->kraft_min, update->kraft_max, &listeners)) {
            error = RAFT_INVALID_REQUEST;
        } else if (version < 1) {
            raft->updates = raft->work;
            raft->updates_known = true;
        } else if (!raft_voters_equal(&raft->work, voters)) {
            append_voters(raft);
        }
    }
    if (!error) raft_leader_heard(raft, update->voter);
    answer_change(raft, RAFT_UPDATE, request->token, error, why);
}

/* ---- kraft.version */

static bool all_support(const struct raft *raft, const struct raft_voters *set, int16_t version) {
    for (uint32_t i = 0; i < set->count; i++) {
        const struct raft_voter *voter = &set->voters[i];
        if (version < voter->kraft_min || version > voter->kraft_max || uuid_is_zero(voter->key.directory)) return false;
    }
    return set->count > 0;
}

void raft_on_upgrade(struct raft *raft, const struct raft_event *event) {
    int16_t version = event->upgrade.version, now = raft_kraft_version(raft);
    uint64_t token = event->upgrade.token;
    const char *why = NULL;
    enum raft_error error = raft_check_leader_request(raft, raft->epoch);
    if (!error && (version < now || version > raft->options.kraft_max)) {
        error = RAFT_INVALID_UPDATE_VERSION;
        why = version < now ? "kraft.version cannot be lowered" : "this kraft.version is not known";
    }
    if (error || version == now) {
        answer_change(raft, RAFT_UPGRADE, token, error, why);
        return;
    }
    /* What each voter supports is collected in memory; of itself the leader knows it anyway. */
    raft->work = raft->updates_known ? raft->updates : *raft_voters(raft);
    raft_voters_remove(&raft->work, raft->options.self.id);
    bool room = raft_voters_add_node(&raft->work, raft->options.self, raft->options.kraft_min, raft->options.kraft_max, &raft->options.listeners);
    if (!room || !all_support(raft, &raft->work, version)) {
        error = RAFT_INVALID_UPDATE_VERSION;
        why = "not every voter is known to support it";
    }
    if (!error) error = may_change(raft, &why);
    if (error || event->upgrade.validate_only) {
        answer_change(raft, RAFT_UPGRADE, token, error, why);
        return;
    }
    log_offset offset = raft->log_end;
    const struct raft_voters *recorded = raft_history_voters(&raft->history, INT64_MAX, NULL);
    bool differs = !recorded || !raft_voters_equal(recorded, &raft->work);
    struct raft_effect *effect = raft_push(raft, RAFT_APPEND);
    effect->append.epoch = raft->epoch;
    effect->append.records[effect->append.count++] = (struct raft_record){.type = RAFT_RECORD_KRAFT_VERSION, .kraft_version = version};
    raft_history_add_version(&raft->history, offset, version);
    if (differs) {
        raft_history_add_voters(&raft->history, offset + 1, &raft->work);
        effect->append.records[effect->append.count++] = (struct raft_record){.type = RAFT_RECORD_VOTERS, .voters = raft_voters(raft)};
    }
    raft_leader_voters_changed(raft);
    raft->upgrade_offset = offset;
    raft->upgrade_token = token;
}

/* ---- What becomes of it */

void raft_change_committed(struct raft *raft) {
    if (raft->change.stage == RAFT_CHANGE_APPENDED && raft->change.offset < raft->high_watermark) end_change(raft, RAFT_NONE, NULL);
    if (raft->upgrade_offset >= 0 && raft->upgrade_offset < raft->high_watermark) {
        raft->upgrade_offset = -1;
        answer_change(raft, RAFT_UPGRADE, raft->upgrade_token, RAFT_NONE, NULL);
    }
}

void raft_change_poll(struct raft *raft) {
    if (raft->change.stage == RAFT_CHANGE_NONE || raft->now_ms < raft->change.deadline_ms) return;
    end_change(raft, RAFT_REQUEST_TIMED_OUT, "the change of the voters took too long");
}

void raft_change_fail(struct raft *raft, enum raft_error error) {
    if (raft->change.stage != RAFT_CHANGE_NONE) end_change(raft, error, NULL);
    if (raft->upgrade_offset < 0) return;
    raft->upgrade_offset = -1;
    answer_change(raft, RAFT_UPGRADE, raft->upgrade_token, error, NULL);
}
