#include "raft/raft_rig.h"

static const struct raft_listeners *listeners_of(int32_t id) {
    static struct raft_listeners listeners;
    listeners = options_of(id).listeners;
    return &listeners;
}

static void add(int32_t id, bool ack_when_committed) {
    request((struct raft_request){.call = RAFT_ADD, .add = {.voter = key(id), .listeners = listeners_of(id), .timeout_ms = 5000,
                                  .ack_when_committed = ack_when_committed}});
}

/* Adding: the new one must have caught up, must say what it supports, counts from the append on, and is answered when
 * a majority of the new set has it. */
TEST(voter_is_added) {
    lead_dynamic();
    fetch_from(4, 5, 21, 5, 21);
    add(4, true);
    respond((struct raft_response){.call = RAFT_API_VERSIONS, .from = 4, .api_versions = {0, 1}});
    appended(22, 5);
    durable(22);
    quiet();
    fetch_from(2, 5, 22, 5, 21);
    say_state();
    fetch_from(4, 5, 22, 5, 21);
    expect("> request Fetch epoch 5 from 2/QkJC at 22@5 hw 21\n"
           "= Leader epoch 5 leader 1 voted 1/QUFB log 0..22 last epoch 5 hw 21 voters {1/QUFB, 2/QkJC, 3/Q0ND, 4/RERE} ends 1:22 2:22 3:-1 4:21\n"
           "> request Fetch epoch 5 from 4/RERE at 22@5 hw 21\n"
           "  high watermark 22\n"
           "  answer AddRaftVoter NONE epoch 5 leader 1\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 22 hw 22\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 22 hw 22\n");
}

static enum raft_error error_of_answer(void) {
    for (uint32_t i = 0; i < effects.count; i++)
        if (effects.items[i].type == RAFT_ANSWER && effects.items[i].answer.token == 7) return effects.items[i].answer.error;
    fail();
    return RAFT_NONE;
}

/* What may stand in the way of adding, in the order in which it is looked for. */
TEST(adding_is_refused) {
    follow_two();
    add(4, true);
    assert_int_equal(error_of_answer(), RAFT_NOT_LEADER_OR_FOLLOWER);
    lead_three(); /* kraft.version 0 */
    fetch_from(2, 5, 21, 5, -1);
    add(4, true);
    assert_int_equal(error_of_answer(), RAFT_UNSUPPORTED_VERSION);
    lead_dynamic();
    add(3, true);
    assert_int_equal(error_of_answer(), RAFT_DUPLICATE_VOTER);
    request((struct raft_request){.call = RAFT_ADD, .add = {.voter = {.id = 4}, .listeners = listeners_of(4), .timeout_ms = 5000}});
    assert_int_equal(error_of_answer(), RAFT_INVALID_REQUEST);
    add(4, true); /* never fetched */
    respond((struct raft_response){.call = RAFT_API_VERSIONS, .from = 4, .api_versions = {0, 1}});
    assert_int_equal(error_of_answer(), RAFT_REQUEST_TIMED_OUT);
    fetch_from(4, 5, 21, 5, 21);
    add(4, true);
    add(5, true); /* one at a time */
    assert_int_equal(error_of_answer(), RAFT_REQUEST_TIMED_OUT);
    respond((struct raft_response){.call = RAFT_API_VERSIONS, .from = 4, .api_versions = {0, 0}});
    assert_int_equal(error_of_answer(), RAFT_INVALID_REQUEST);
    add(4, true);
    tick(2500);
    fetch_from(2, 5, 21, 5, 21);
    tick(2500); /* it does not answer */
    assert_int_equal(error_of_answer(), RAFT_REQUEST_TIMED_OUT);
    quiet();
}

/* A leader that is removed goes on leading, without counting itself, until its removal is committed. */
TEST(leader_removes_itself) {
    lead_dynamic();
    request((struct raft_request){.call = RAFT_REMOVE, .remove = {.voter = key(1)}});
    appended(22, 5);
    durable(22);
    quiet();
    fetch_from(2, 5, 22, 5, 21);
    say_state();
    fetch_from(3, 5, 22, 5, 21);
    expect("> request Fetch epoch 5 from 2/QkJC at 22@5 hw 21\n"
           "= Leader epoch 5 leader 1 voted 1/QUFB log 0..22 last epoch 5 hw 21 voters {2/QkJC, 3/Q0ND} ends 2:22 3:-1\n"
           "> request Fetch epoch 5 from 3/Q0ND at 22@5 hw 21\n"
           "  high watermark 22\n"
           "  answer RemoveRaftVoter NONE epoch 5 leader 1\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 22 hw 22\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 22 hw 22\n"
           "  disconnect\n"
           "  became Resigned epoch 5 leader 1\n"
           "  send 2 EndQuorumEpoch epoch 5 leader 1 successors [2/QkJC, 3/Q0ND]\n"
           "  send 3 EndQuorumEpoch epoch 5 leader 1 successors [2/QkJC, 3/Q0ND]\n");
}

/* Removing asks for the very directory, and never for the last voter. */
TEST(removing_is_refused) {
    lead_dynamic();
    request((struct raft_request){.call = RAFT_REMOVE, .remove = {.voter = {.id = 2, .directory = directory(9)}}});
    assert_int_equal(error_of_answer(), RAFT_VOTER_NOT_FOUND);
    request((struct raft_request){.call = RAFT_REMOVE, .remove = {.voter = key(4)}});
    assert_int_equal(error_of_answer(), RAFT_VOTER_NOT_FOUND);
    quiet();
    start_bootstrapped();
    appended(3, 1);
    durable(3);
    request((struct raft_request){.call = RAFT_REMOVE, .remove = {.voter = key(1)}});
    assert_int_equal(error_of_answer(), RAFT_VOTER_NOT_FOUND);
    quiet();
}

static void update(int32_t id, uint16_t port, int16_t kraft_max) {
    static struct raft_listeners listeners;
    listeners = options_of(id).listeners;
    listeners.at[0].port = port;
    request((struct raft_request){.call = RAFT_UPDATE, .update = {.epoch = 5, .voter = key(id), .listeners = &listeners, .kraft_max = kraft_max}});
}

/* A voter that moved tells the leader, which writes a new set at kraft.version 1; nothing new is not written again. */
TEST(voter_is_updated) {
    lead_dynamic();
    update(2, 9002, 1);
    update(2, 9999, 1);
    appended(22, 5);
    struct raft_listener at;
    assert_true(raft_voters_find_listener(raft_voters(&machine), 2, SPAN_LITERAL("CONTROLLER"), &at));
    assert_int_equal(at.port, 9999);
    update(3, 9003, 1);
    assert_int_equal(error_of_answer(), RAFT_REQUEST_TIMED_OUT); /* the last change is not committed */
    update(2, 9999, 0);
    expect("> request UpdateRaftVoter epoch 5 voter 2/QkJC kraft.version 0-1\n"
           "  answer UpdateRaftVoter NONE epoch 5 leader 1\n"
           "> request UpdateRaftVoter epoch 5 voter 2/QkJC kraft.version 0-1\n"
           "  append in epoch 5: Voters {1/QUFB, 2/QkJC, 3/Q0ND}\n"
           "  answer UpdateRaftVoter NONE epoch 5 leader 1\n"
           "> appended up to 22@5\n"
           "> request UpdateRaftVoter epoch 5 voter 3/Q0ND kraft.version 0-1\n"
           "  answer UpdateRaftVoter REQUEST_TIMED_OUT epoch 5 leader 1\n"
           "> request UpdateRaftVoter epoch 5 voter 2/QkJC kraft.version 0-0\n"
           "  answer UpdateRaftVoter REQUEST_TIMED_OUT epoch 5 leader 1\n");
}

/* From static voters to dynamic ones: possible when every voter has told its directory id and that it supports it;
 * version and voters are written in one batch, and the answer comes when they are committed. */
TEST(kraft_version_is_upgraded) {
    lead_three();
    fetch_from(2, 5, 21, 5, -1);
    update(2, 9002, 1);
    quiet();
    step((struct raft_event){.type = RAFT_EVENT_UPGRADE, .upgrade = {.token = 7, .version = 1}});
    update(3, 9003, 1);
    step((struct raft_event){.type = RAFT_EVENT_UPGRADE, .upgrade = {.token = 7, .version = 1}});
    appended(23, 5);
    durable(23);
    fetch_from(2, 5, 23, 5, -1);
    step((struct raft_event){.type = RAFT_EVENT_UPGRADE, .upgrade = {.token = 7, .version = 0}});
    expect("> upgrade to kraft.version 1\n"
           "  answer UpdateFeatures INVALID_UPDATE_VERSION epoch 5 leader 1\n"
           "> request UpdateRaftVoter epoch 5 voter 3/Q0ND kraft.version 0-1\n"
           "  answer UpdateRaftVoter NONE epoch 5 leader 1\n"
           "> upgrade to kraft.version 1\n"
           "  append in epoch 5: KRaftVersion 1, Voters {1/QUFB, 2/QkJC, 3/Q0ND}\n"
           "> appended up to 23@5\n"
           "> flushed up to 23\n"
           "> request Fetch epoch 5 from 2/QkJC at 23@5 hw -1\n"
           "  high watermark 23\n"
           "  answer UpdateFeatures NONE epoch 5 leader 1\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 23 hw 23\n"
           "> upgrade to kraft.version 0\n"
           "  answer UpdateFeatures INVALID_UPDATE_VERSION epoch 5 leader 1\n");
}
