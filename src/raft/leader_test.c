#include "raft/raft_rig.h"

/* A follower's fetch offset says what it holds flushed: with the leader's own part a majority commits. The record of
 * the epoch's start has to be among it: what a majority holds of older epochs is not committed by that alone. */
TEST(leader_commits_by_fetch_offsets) {
    lead_three();
    fetch_from(2, 5, 20, 3, -1);
    say_state();
    fetch_from(2, 5, 21, 5, -1);
    fetch_from(3, 5, 20, 3, -1);
    say_state();
    expect("> request Fetch epoch 5 from 2/QkJC at 20@3 hw -1\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 20 hw -1\n"
           "= Leader epoch 5 leader 1 voted 1/QUFB log 0..21 last epoch 5 hw unknown voters {1, 2, 3} ends 1:21 2:20 3:-1\n"
           "> request Fetch epoch 5 from 2/QkJC at 21@5 hw -1\n"
           "  high watermark 21\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 21 hw 21\n"
           "> request Fetch epoch 5 from 3/Q0ND at 20@3 hw -1\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 20 hw 21\n"
           "= Leader epoch 5 leader 1 voted 1/QUFB log 0..21 last epoch 5 hw 21 voters {1, 2, 3} ends 1:21 2:21 3:20\n");
}

/* The leader's own disk counts like any other: two followers may commit what it has not flushed itself. */
TEST(leaders_own_flush_counts_as_one) {
    lead_three();
    appended(25, 5);
    fetch_from(2, 5, 25, 5, -1);
    assert_int_equal(machine.high_watermark, 21);
    fetch_from(3, 5, 25, 5, -1);
    assert_int_equal(machine.high_watermark, 25);
    assert_int_equal(machine.durable_end, 21);
    quiet();
}

/* A fetch at the end waits: for records, for a high watermark that its sender does not know, or for its time to be up. */
TEST(fetches_wait_for_news) {
    lead_three();
    fetch_from(2, 5, 21, 5, -1);
    fetch_from(2, 5, 21, 5, 21);
    appended(22, 5);
    fetch_from(2, 5, 22, 5, 21);
    fetch_from(3, 5, 22, 5, 21);
    quiet();
    durable(22);
    fetch_from(3, 5, 22, 5, 22);
    tick(500);
    expect("> flushed up to 22\n"
           "> request Fetch epoch 5 from 3/Q0ND at 22@5 hw 22\n"
           "> tick\n"
           "  answer Fetch NONE epoch 5 leader 1 records from 22 hw 22\n");
    /* The record, and the high watermark that two followers have brought about, woke those before. */
}

/* Fetch validation: what is no place in this log is answered with where the logs part, or with a snapshot. */
TEST(fetches_are_validated) {
    lead_three();
    static const struct { log_offset offset; leader_epoch last_epoch; enum raft_effect_type type; enum raft_error error; leader_epoch epoch; log_offset end; } cases[] = {
        {20, 3, RAFT_ANSWER_FETCH, RAFT_NONE, -1, -1},  /* right */
        {0, 0, RAFT_ANSWER_FETCH, RAFT_NONE, -1, -1},   /* from nothing */
        {22, 5, RAFT_ANSWER, RAFT_NONE, 5, 21},         /* beyond the end */
        {15, 2, RAFT_ANSWER, RAFT_NONE, 1, 10},         /* an epoch that this log does not have */
        {18, 1, RAFT_ANSWER, RAFT_NONE, 1, 10},         /* more of an epoch than there is */
        {-1, 1, RAFT_ANSWER, RAFT_INVALID_REQUEST, -1, -1},
        {5, -1, RAFT_ANSWER, RAFT_INVALID_REQUEST, -1, -1},
        {5, 6, RAFT_ANSWER, RAFT_INVALID_REQUEST, -1, -1}, /* fetched in an epoch that has not begun */
    };
    for (size_t i = 0; i < countof(cases); i++) {
        fetch_from(2, 5, cases[i].offset, cases[i].last_epoch, -1);
        const struct raft_effect *answer = &effects.items[effects.count - 1];
        assert_int_equal(answer->type, cases[i].type);
        assert_int_equal(answer->answer.error, cases[i].error);
        if (cases[i].end < 0) continue;
        assert_true(answer->answer.fetch.diverging);
        assert_int_equal(answer->answer.fetch.diverging_epoch, cases[i].epoch);
        assert_int_equal(answer->answer.fetch.diverging_end, cases[i].end);
    }
    fetch_from(2, 4, 20, 3, -1);
    assert_int_equal(effects.items[0].answer.error, RAFT_FENCED_LEADER_EPOCH);
    fetch_from(2, 6, 20, 3, -1);
    assert_int_equal(effects.items[0].answer.error, RAFT_UNKNOWN_LEADER_EPOCH);
    fetch_from(1, 5, 20, 3, -1);
    assert_int_equal(effects.items[0].answer.error, RAFT_INVALID_REQUEST);
    /* With snapshots: who has nothing, or lies before the log's start, gets the latest. */
    fetch_from(2, 5, 21, 5, -1);
    step((struct raft_event){.type = RAFT_EVENT_LOG_START, .start = {15, {15, 3}, {20, 3}}});
    static const struct { log_offset offset; leader_epoch last_epoch; bool snapshot; } starts[] = {
        {0, 0, true}, {14, 3, true}, {15, 3, false}, {15, 1, true}, {18, 1, true}, {20, 3, false}};
    for (size_t i = 0; i < countof(starts); i++) {
        fetch_from(3, 5, starts[i].offset, starts[i].last_epoch, -1);
        const struct raft_answer *answer = &effects.items[effects.count - 1].answer;
        assert_int_equal(answer->error, RAFT_NONE);
        assert_int_equal(answer->fetch.snapshot.offset, starts[i].snapshot ? 20 : -1);
    }
    quiet();
}

/* Check-quorum: a leader that a majority has not fetched from for 1.5 x fetch.timeout.ms resigns, and tells the others
 * whom to follow: the one with most first. */
TEST(deserted_leader_resigns) {
    lead_three();
    fetch_from(3, 5, 21, 5, -1);
    fetch_from(2, 5, 20, 3, -1);
    tick(2999);
    assert_true(raft_is_leader(&machine));
    quiet();
    tick(1);
    expect("> tick\n"
           "  became Resigned epoch 5 leader 1\n"
           "  send 2 EndQuorumEpoch epoch 5 leader 1 successors [3, 2]\n"
           "  send 3 EndQuorumEpoch epoch 5 leader 1 successors [3, 2]\n");
}

/* One follower of two is a majority with the leader: as long as it fetches, the leader stays. */
TEST(leader_with_one_follower_of_two_stays) {
    lead_three();
    for (int i = 0; i < 10; i++) {
        fetch_from(2, 5, 20, 3, -1);
        tick(2000);
    }
    assert_true(raft_is_leader(&machine));
    quiet();
}

/* Voters that do not fetch are told again and again who leads. */
TEST(leader_reminds_silent_voters) {
    lead_three();
    respond((struct raft_response){.call = RAFT_BEGIN, .from = 2, .epoch = 5, .leader_id = 1});
    respond((struct raft_response){.call = RAFT_BEGIN, .from = 3, .epoch = 5, .leader_id = 1});
    fetch_from(2, 5, 20, 3, -1);
    quiet();
    tick(999);
    fetch_from(2, 5, 20, 3, -1);
    quiet();
    tick(1);
    expect("> tick\n"
           "  send 3 BeginQuorumEpoch epoch 5 leader 1 to 3\n");
}

/* Leadership lost: who waits is told, the new epoch is durable before anything else is said. */
TEST(losing_leadership_answers_who_waits) {
    lead_three();
    fetch_from(2, 5, 21, 5, 21);
    vote_from(3, 6, 21, 5, false);
    expect("> request Fetch epoch 5 from 2/QkJC at 21@5 hw 21\n"
           "  high watermark 21\n"
           "> request Vote epoch 6 from 3/Q0ND to 1/QUFB log 21@5\n"
           "  answer Fetch NOT_LEADER_OR_FOLLOWER epoch 5 leader 1\n"
           "  disconnect\n"
           "  became Unattached epoch 6 leader none\n"
           "  persist v0 epoch 6 leader none voted 3/Q0ND\n"
           "  answer Vote NONE epoch 6 leader none granted\n"
           "  send 3 Fetch epoch 6 from 1/QUFB at 21@5 hw 21\n");
}

/* Shutting down, a leader gives up and waits for the next one; a follower, or a lone voter, waits for nobody. */
TEST(shutdown_waits_for_a_successor) {
    lead_three();
    step((struct raft_event){.type = RAFT_EVENT_SHUTDOWN, .timeout_ms = 5000});
    assert_int_equal(machine.role, RAFT_RESIGNED);
    assert_false(machine.shutdown_done);
    quiet();
    respond((struct raft_response){.call = RAFT_END, .from = 3, .error = RAFT_NONE, .epoch = 6, .leader_id = 3});
    assert_true(machine.shutdown_done);
    assert_int_equal(effects.items[effects.count - 1].type, RAFT_SHUTDOWN_DONE);
    lead_three();
    step((struct raft_event){.type = RAFT_EVENT_SHUTDOWN, .timeout_ms = 5000});
    tick(5000);
    assert_true(machine.shutdown_done); /* or until its time is up */
    follow_two();
    step((struct raft_event){.type = RAFT_EVENT_SHUTDOWN, .timeout_ms = 5000});
    assert_true(machine.shutdown_done);
    quiet();
}
