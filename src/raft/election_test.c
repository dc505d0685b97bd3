#include "raft/raft_rig.h"

/* A lone voter waits for nobody: it elects itself at start with one write of quorum-state, and its records are
 * committed as soon as its own disk has them. */
TEST(lone_voter_leads_at_once_and_commits_what_is_flushed) {
    struct raft_options options = options_of(1);
    struct raft_voters voters = voters_of(1, false);
    options.static_voters = &voters;
    start(&options, &empty_disk);
    appended(1, 1);
    durable(1);
    appended(4, 1);
    durable(4);
    say_state();
    expect("  became Prospective epoch 0 leader none\n"
           "  became Candidate epoch 1 leader none\n"
           "  persist v0 epoch 1 leader 1 voted none\n"
           "  became Leader epoch 1 leader 1\n"
           "  append in epoch 1: LeaderChange leader 1 voters {1}\n"
           "> appended up to 1@1\n"
           "> flushed up to 1\n"
           "  high watermark 1\n"
           "> appended up to 4@1\n"
           "> flushed up to 4\n"
           "  high watermark 4\n"
           "= Leader epoch 1 leader 1 voted 1/QUFB log 0..4 last epoch 1 hw 4 voters {1} ends 1:4\n");
    tick(60000); /* nothing is ever due */
    expect("> tick\n");
    assert_true(raft_deadline(&machine) == INT64_MAX);
}

/* The same for voters that the bootstrap snapshot names (kraft.version 1): the first leader repeats them in the log,
 * because nobody else gets to see that snapshot. */
TEST(first_leader_writes_the_bootstrap_voters_into_the_log) {
    start_bootstrapped();
    appended(3, 1);
    durable(3);
    say_state();
    expect("  became Prospective epoch 0 leader none\n"
           "  became Candidate epoch 1 leader none\n"
           "  persist v1 epoch 1 leader 1 voted none\n"
           "  became Leader epoch 1 leader 1\n"
           "  append in epoch 1: LeaderChange leader 1 voters {1/QUFB}, KRaftVersion 1, Voters {1/QUFB}\n"
           "> appended up to 3@1\n"
           "> flushed up to 3\n"
           "  high watermark 3\n"
           "= Leader epoch 1 leader 1 voted 1/QUFB log 0..3 last epoch 1 hw 3 voters {1/QUFB} ends 1:3\n");
}

/* ---- Elections */

/* The whole way to leadership among three: the timer, pre-votes in the old epoch, votes in the new one (persisted
 * before they are asked for), and the record that begins the epoch. */
TEST(three_voters_elect_by_pre_vote_and_vote) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    vote_response(2, RAFT_NONE, 4, -1, true);
    vote_response(3, RAFT_NONE, 5, -1, true);
    expect("  send 3 Fetch epoch 4 from 1/QUFB at 20@3 hw -1\n"
           "> tick\n"
           "  became Prospective epoch 4 leader none\n"
           "  send 2 Vote (pre) epoch 4 from 1/QUFB to 2 log 20@3\n"
           "  send 3 Vote (pre) epoch 4 from 1/QUFB to 3 log 20@3\n"
           "> response Vote from 2 NONE epoch 4 leader none granted\n"
           "  disconnect\n"
           "  persist v0 epoch 5 leader none voted 1/QUFB\n"
           "  became Candidate epoch 5 leader none\n"
           "  send 2 Vote epoch 5 from 1/QUFB to 2 log 20@3\n"
           "  send 3 Vote epoch 5 from 1/QUFB to 3 log 20@3\n"
           "> response Vote from 3 NONE epoch 5 leader none granted\n"
           "  disconnect\n"
           "  persist v0 epoch 5 leader 1 voted none\n"
           "  became Leader epoch 5 leader 1\n"
           "  append in epoch 5: LeaderChange leader 1 voters {1, 2, 3}\n"
           "  send 2 BeginQuorumEpoch epoch 5 leader 1 to 2\n"
           "  send 3 BeginQuorumEpoch epoch 5 leader 1 to 3\n");
}

/* A majority that refuses pre-votes sends the asker back, in the same epoch: nobody's epoch was raised by it. */
TEST(rejected_pre_votes_leave_the_epoch_alone) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    quiet();
    vote_response(2, RAFT_NONE, 4, -1, false);
    vote_response(3, RAFT_NONE, 4, -1, false);
    expect("> response Vote from 2 NONE epoch 4 leader none refused\n"
           "> response Vote from 3 NONE epoch 4 leader none refused\n"
           "  persist v0 epoch 4 leader none voted none\n"
           "  became Unattached epoch 4 leader none\n"
           "  send 3 Fetch epoch 4 from 1/QUFB at 20@3 hw -1\n");
}

/* A peer from before pre-votes cannot answer one: the asker becomes a candidate at once, as it used to be. */
TEST(old_peer_makes_a_prospective_a_candidate) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    quiet();
    respond((struct raft_response){.call = RAFT_VOTE, .from = 2, .top_error = RAFT_UNSUPPORTED_VERSION});
    assert_int_equal(machine.role, RAFT_CANDIDATE);
    assert_int_equal(machine.epoch, 5);
}

/* A candidate whose time is up goes back to asking for pre-votes, and keeps epoch and vote; one that the majority
 * refused waits for its timer all the same. */
TEST(candidate_times_out_into_a_prospective) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    vote_response(2, RAFT_NONE, 4, -1, true);
    quiet();
    vote_response(2, RAFT_NONE, 5, -1, false);
    vote_response(3, RAFT_NONE, 5, -1, false);
    say_state();
    tick(2000);
    expect("> response Vote from 2 NONE epoch 5 leader none refused\n"
           "> response Vote from 3 NONE epoch 5 leader none refused\n"
           "= Candidate epoch 5 leader none voted 1/QUFB log 0..20 last epoch 3 hw unknown voters {1, 2, 3}\n"
           "> tick\n"
           "  became Prospective epoch 5 leader none\n"
           "  send 2 Vote (pre) epoch 5 from 1/QUFB to 2 log 20@3\n"
           "  send 3 Vote (pre) epoch 5 from 1/QUFB to 3 log 20@3\n");
}

/* A follower that hears nothing stands for election; when its pre-votes are refused it goes back to the leader that it
 * knew, in the same epoch. */
TEST(follower_times_out_and_goes_back) {
    follow_two();
    tick(2000);
    vote_response(2, RAFT_NONE, 5, 2, false);
    vote_response(3, RAFT_NONE, 5, 2, false);
    expect("> tick\n"
           "  became Prospective epoch 5 leader 2\n"
           "  send 2 Vote (pre) epoch 5 from 1/QUFB to 2 log 20@3\n"
           "  send 3 Vote (pre) epoch 5 from 1/QUFB to 3 log 20@3\n"
           "> response Vote from 2 NONE epoch 5 leader 2 refused\n"
           "> response Vote from 3 NONE epoch 5 leader 2 refused\n"
           "  persist v0 epoch 5 leader 2 voted none\n"
           "  became Follower epoch 5 leader 2\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 20@3 hw -1\n");
}

/* A higher epoch, wherever it is seen, ends what was going on: here in the refusal of a vote. */
TEST(higher_epoch_ends_a_candidacy) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    vote_response(2, RAFT_NONE, 4, -1, true);
    quiet();
    vote_response(2, RAFT_FENCED_LEADER_EPOCH, 9, 3, false);
    expect("> response Vote from 2 FENCED_LEADER_EPOCH epoch 9 leader 3\n"
           "  disconnect\n"
           "  persist v0 epoch 9 leader 3 voted none\n"
           "  became Follower epoch 9 leader 3\n"
           "  send 3 Fetch epoch 9 from 1/QUFB at 20@3 hw -1\n");
}

/* ---- Granting: every row of the table. A log is up to date by its last epoch first, then by its end. */

struct grant { const char *why; leader_epoch epoch; log_offset end; leader_epoch last_epoch; bool pre_vote, granted; };

static bool asks_and_is_granted(const struct grant *grant, int32_t id) {
    vote_from(id, grant->epoch, grant->end, grant->last_epoch, grant->pre_vote);
    for (uint32_t i = 0; i < effects.count; i++)
        if (effects.items[i].type == RAFT_ANSWER) return effects.items[i].answer.error == RAFT_NONE && effects.items[i].answer.vote.granted;
    fail();
    return false;
}

TEST(votes_are_granted_by_the_table) {
    static const struct grant unattached[] = {
        {"pre-vote, same log", 4, 20, 3, true, true},        {"pre-vote, shorter log", 4, 19, 3, true, false},
        {"pre-vote, older epoch", 4, 99, 2, true, false},    {"vote, longer log", 4, 21, 3, false, true},
        {"vote, shorter log", 4, 19, 3, false, false},       {"vote in a higher epoch", 5, 20, 4, false, true},
    };
    for (size_t i = 0; i < countof(unattached); i++) {
        start_three(4, -1, RAFT_NO_KEY, 20, 3);
        assert_true(asks_and_is_granted(&unattached[i], 2) == unattached[i].granted);
    }
    struct grant vote = {"", 4, 20, 3, false, true}, pre_vote = {"", 4, 20, 3, true, true};
    /* Voted already: the same one again, nobody else, and another directory of that node neither. */
    start_three(4, -1, key(3), 20, 3);
    assert_true(asks_and_is_granted(&vote, 3));
    assert_false(asks_and_is_granted(&vote, 2));
    assert_true(asks_and_is_granted(&pre_vote, 2));
    start_three(4, -1, (struct raft_key){.id = 3, .directory = directory(9)}, 20, 3);
    assert_false(asks_and_is_granted(&vote, 3));
    /* The epoch has a leader, whose place is not known. */
    start_three(4, 9, RAFT_NO_KEY, 20, 3);
    assert_false(asks_and_is_granted(&vote, 2));
    assert_true(asks_and_is_granted(&pre_vote, 2));
    /* Prospective: as unattached. */
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    assert_int_equal(machine.role, RAFT_PROSPECTIVE);
    assert_true(asks_and_is_granted(&pre_vote, 2));
    assert_true(asks_and_is_granted(&vote, 2));
    /* Candidate and resigned leader: only pre-votes. Leader: never. */
    start_three(4, -1, key(1), 20, 3);
    assert_int_equal(machine.role, RAFT_CANDIDATE);
    assert_true(asks_and_is_granted(&pre_vote, 2));
    assert_false(asks_and_is_granted(&vote, 2));
    start_three(4, 1, RAFT_NO_KEY, 20, 3);
    assert_int_equal(machine.role, RAFT_RESIGNED);
    assert_true(asks_and_is_granted(&pre_vote, 2));
    assert_false(asks_and_is_granted(&vote, 2));
    lead_three();
    pre_vote = (struct grant){"", 5, 99, 5, true, false};
    assert_false(asks_and_is_granted(&pre_vote, 2));
    /* Follower: a pre-vote as long as it has not fetched from its leader in this epoch. */
    follow_two();
    pre_vote = (struct grant){"", 5, 20, 3, true, true};
    vote = (struct grant){"", 5, 20, 3, false, false};
    assert_true(asks_and_is_granted(&pre_vote, 3));
    assert_false(asks_and_is_granted(&vote, 3));
    respond(fetched(5, 2));
    assert_false(asks_and_is_granted(&pre_vote, 3));
    quiet();
}

/* A vote is durable before the answer says so; a pre-vote writes nothing. */
TEST(vote_is_persisted_before_it_is_answered) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    quiet();
    vote_from(2, 4, 20, 3, true);
    vote_from(2, 6, 20, 3, false);
    expect("> request Vote (pre) epoch 4 from 2/QkJC to 1/QUFB log 20@3\n"
           "  answer Vote NONE epoch 4 leader none granted\n"
           "> request Vote epoch 6 from 2/QkJC to 1/QUFB log 20@3\n"
           "  disconnect\n"
           "  became Unattached epoch 6 leader none\n"
           "  persist v0 epoch 6 leader none voted 2/QkJC\n"
           "  answer Vote NONE epoch 6 leader none granted\n"
           "  send 3 Fetch epoch 6 from 1/QUFB at 20@3 hw -1\n");
}

/* Votes that cannot be meant: a log of an epoch that is not over, another voter's key, an old epoch. */
TEST(impossible_votes_are_refused) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    quiet();
    vote_from(2, 4, 20, 4, false);
    vote_from(2, 4, -1, 3, false);
    vote_from(2, 3, 20, 2, false);
    request((struct raft_request){.call = RAFT_VOTE, .vote = {.epoch = 4, .candidate = key(2), .voter = key(3), .last_epoch = 3, .last_offset = 20}});
    struct raft_request other = {.call = RAFT_VOTE, .cluster_id = SPAN_LITERAL("another"), .vote = {.epoch = 4, .candidate = key(2), .voter = key(1), .last_epoch = 3, .last_offset = 20}};
    request(other);
    expect("> request Vote epoch 4 from 2/QkJC to 1/QUFB log 20@4\n"
           "  answer Vote INVALID_REQUEST epoch 4 leader none\n"
           "> request Vote epoch 4 from 2/QkJC to 1/QUFB log -1@3\n"
           "  answer Vote INVALID_REQUEST epoch 4 leader none\n"
           "> request Vote epoch 3 from 2/QkJC to 1/QUFB log 20@2\n"
           "  answer Vote FENCED_LEADER_EPOCH epoch 4 leader none\n"
           "> request Vote epoch 4 from 2/QkJC to 3/Q0ND log 20@3\n"
           "  answer Vote INVALID_VOTER_KEY epoch 4 leader none\n"
           "> request Vote epoch 4 from 2/QkJC to 1/QUFB log 20@3\n"
           "  answer Vote all of it: INCONSISTENT_CLUSTER_ID\n");
}

/* ---- Starting: what quorum-state and log say decides the role. */
TEST(start_takes_up_what_the_file_says) {
    start_three(2, 2, RAFT_NO_KEY, 20, 3); /* the file is older than the log */
    assert_int_equal(machine.role, RAFT_UNATTACHED);
    assert_int_equal(machine.epoch, 3);
    assert_int_equal(machine.leader_id, -1);
    start_three(4, 1, RAFT_NO_KEY, 20, 3); /* never the leader again of an epoch that it led */
    assert_int_equal(machine.role, RAFT_RESIGNED);
    start_three(4, -1, key(1), 20, 3);
    assert_int_equal(machine.role, RAFT_CANDIDATE);
    start_three(4, -1, (struct raft_key){.id = 1, .directory = directory(9)}, 20, 3); /* the vote of a disk that is gone */
    assert_int_equal(machine.role, RAFT_UNATTACHED);
    start_three(4, 2, key(3), 20, 3);
    assert_int_equal(machine.role, RAFT_FOLLOWER);
    assert_int_equal(machine.voted.id, 3);
    start_three(4, 9, RAFT_NO_KEY, 20, 3); /* a leader whose place nobody has told */
    assert_int_equal(machine.role, RAFT_UNATTACHED);
    assert_int_equal(machine.leader_id, 9);
}

/* A leader that restarts tells the others that its epoch is over, and moves to the next one when its time is up. */
TEST(restarted_leader_resigns) {
    start_three(4, 1, RAFT_NO_KEY, 20, 3);
    respond((struct raft_response){.call = RAFT_END, .from = 2, .epoch = 4, .leader_id = 1});
    tick(2000);
    expect("  send 2 EndQuorumEpoch epoch 4 leader 1 successors []\n"
           "  send 3 EndQuorumEpoch epoch 4 leader 1 successors []\n"
           "> response EndQuorumEpoch from 2 NONE epoch 4 leader 1\n"
           "> tick\n"
           "  persist v0 epoch 5 leader none voted none\n"
           "  became Unattached epoch 5 leader none\n"
           "  became Prospective epoch 5 leader none\n"
           "  send 2 Vote (pre) epoch 5 from 1/QUFB to 2 log 20@3\n"
           "  send 3 Vote (pre) epoch 5 from 1/QUFB to 3 log 20@3\n");
}
