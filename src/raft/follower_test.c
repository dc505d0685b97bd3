#include "raft/raft_rig.h"

/* Fetched records go to the log and are flushed before more is asked for; the high watermark follows the leader's, but
 * not beyond what is flushed here. */
TEST(follower_fetches_flushes_and_fetches_on) {
    follow_two();
    struct raft_response response = fetched(5, 2);
    response.fetch.records_bytes = 300;
    response.fetch.high_watermark = 22;
    respond(response);
    appended(23, 5);
    durable(23);
    response = fetched(5, 2);
    response.fetch.high_watermark = 23;
    respond(response);
    expect("> response Fetch from 2 NONE epoch 5 leader 2 300 bytes hw 22\n"
           "  append fetched records\n"
           "> appended up to 23@5\n"
           "  high watermark 20\n"
           "> flushed up to 23\n"
           "  high watermark 22\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 23@5 hw 22\n"
           "> response Fetch from 2 NONE epoch 5 leader 2 0 bytes hw 23\n"
           "  high watermark 23\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 23@5 hw 23\n");
}

/* Where the logs differ, the follower cuts back to what both have: the leader names an epoch and its end there. */
TEST(follower_truncates_where_the_logs_diverge) {
    static const struct { leader_epoch epoch; log_offset end; leader_epoch known; log_offset known_end, cut; } cases[] = {
        {3, 15, 3, 20, 15},  /* the leader has less of epoch 3 */
        {2, 15, 1, 10, 10},  /* we have nothing of epoch 2: back to the end of what we have before it */
        {3, 25, 3, 20, 20},  /* we have less of it than the leader: nothing to cut, and more to be asked */
        {0, 50, -1, -1, 20}, /* without an epoch: the smaller end */
    };
    for (size_t i = 0; i < countof(cases); i++) {
        follow_two();
        struct raft_response response = fetched(5, 2);
        response.fetch.diverging = true;
        response.fetch.diverging_epoch = cases[i].epoch;
        response.fetch.diverging_end = cases[i].end;
        response.fetch.known_epoch = cases[i].known;
        response.fetch.known_epoch_end = cases[i].known_end;
        respond(response);
        assert_int_equal(effects.items[0].type, RAFT_TRUNCATE);
        assert_int_equal(effects.items[0].offset, cases[i].cut);
        assert_int_equal(effects.count, 1); /* nothing is asked before it is done */
        step((struct raft_event){.type = RAFT_EVENT_TRUNCATED, .log = {cases[i].cut, 1}});
        assert_int_equal(effects.items[0].type, RAFT_SEND);
        assert_int_equal(effects.items[0].send.request.fetch.offset, cases[i].cut);
        quiet();
    }
}

/* What is committed is never cut: a leader that wants it is not one to follow. */
TEST(committed_records_are_never_truncated) {
    follow_two();
    struct raft_response response = fetched(5, 2);
    response.fetch.high_watermark = 18;
    respond(response);
    response = fetched(5, 2);
    response.fetch.diverging = true;
    response.fetch.diverging_epoch = 3;
    response.fetch.diverging_end = 17;
    respond(response);
    expect("> response Fetch from 2 NONE epoch 5 leader 2 0 bytes hw 18\n"
           "  high watermark 18\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 20@3 hw 18\n"
           "> response Fetch from 2 NONE epoch 5 leader 2 diverging 17@3\n"
           "  fatal: the leader wants committed records truncated\n");
}

/* Truncation takes the voters (and kraft.version) of the records that are cut along. */
TEST(truncation_rolls_voters_back) {
    struct raft_voters four = voters_of(4, true);
    start_dynamic();
    begin_from(2, 5);
    struct raft_response response = fetched(5, 2);
    response.fetch.records_bytes = 300;
    respond(response);
    quiet();
    step((struct raft_event){.type = RAFT_EVENT_VOTERS, .control = {.offset = 20, .voters = &four}});
    appended(21, 5);
    durable(21);
    say_state();
    response = fetched(5, 2);
    response.fetch.diverging = true;
    response.fetch.diverging_epoch = 3;
    response.fetch.diverging_end = 20;
    response.fetch.known_epoch = 3;
    response.fetch.known_epoch_end = 20;
    respond(response);
    step((struct raft_event){.type = RAFT_EVENT_TRUNCATED, .log = {20, 3}});
    say_state();
    expect("> voters at 20 {1/QUFB, 2/QkJC, 3/Q0ND, 4/RERE}\n"
           "> appended up to 21@5\n"
           "> flushed up to 21\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 21@5 hw -1\n"
           "= Follower epoch 5 leader 2 log 0..21 last epoch 5 hw unknown voters {1/QUFB, 2/QkJC, 3/Q0ND, 4/RERE}\n"
           "> response Fetch from 2 NONE epoch 5 leader 2 diverging 20@3\n"
           "  truncate to 20\n"
           "> truncated to 20@3\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 20@3 hw -1\n"
           "= Follower epoch 5 leader 2 log 0..20 last epoch 3 hw unknown voters {1/QUFB, 2/QkJC, 3/Q0ND}\n");
}

/* A snapshot is fetched piece by piece; then the log starts at it, with its voters, and fetching goes on from there. */
TEST(follower_downloads_a_snapshot) {
    follow_two();
    struct raft_response response = fetched(5, 2);
    response.fetch.snapshot = (struct raft_snapshot_id){100, 4};
    respond(response);
    response = (struct raft_response){.call = RAFT_FETCH_SNAPSHOT, .from = 2, .epoch = 5, .leader_id = 2,
                                      .fetch_snapshot = {.id = {100, 4}, .size = 150, .position = 0, .bytes = 100}};
    respond(response);
    response.fetch_snapshot.position = 100;
    response.fetch_snapshot.bytes = 50;
    respond(response);
    step((struct raft_event){.type = RAFT_EVENT_SNAPSHOT_LOADING, .snapshot = {100, 4}});
    step((struct raft_event){.type = RAFT_EVENT_SNAPSHOT_LOADED, .snapshot = {100, 4}});
    say_state();
    expect("> response Fetch from 2 NONE epoch 5 leader 2 snapshot 100-4\n"
           "  begin download of snapshot 100-4\n"
           "  send 2 FetchSnapshot epoch 5 from 1/QUFB snapshot 100-4 position 0\n"
           "> response FetchSnapshot from 2 NONE epoch 5 leader 2 snapshot 100-4 position 0 of 150, 100 bytes\n"
           "  write a piece of snapshot 100-4\n"
           "  send 2 FetchSnapshot epoch 5 from 1/QUFB snapshot 100-4 position 100\n"
           "> response FetchSnapshot from 2 NONE epoch 5 leader 2 snapshot 100-4 position 100 of 150, 50 bytes\n"
           "  write a piece of snapshot 100-4\n"
           "  load snapshot 100-4\n"
           "> snapshot loading 100-4\n"
           "> snapshot loaded 100-4\n"
           "  high watermark 100\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 100@4 hw 100\n"
           "= Follower epoch 5 leader 2 log 100..100 last epoch 4 hw 100 voters {1, 2, 3}\n");
}

/* A snapshot that the leader no longer has is forgotten: Fetch will name another. A new leader is asked anew, too. */
TEST(download_is_abandoned) {
    follow_two();
    struct raft_response response = fetched(5, 2);
    response.fetch.snapshot = (struct raft_snapshot_id){100, 4};
    respond(response);
    quiet();
    respond((struct raft_response){.call = RAFT_FETCH_SNAPSHOT, .from = 2, .epoch = 5, .leader_id = 2, .error = RAFT_SNAPSHOT_NOT_FOUND});
    respond(response);
    begin_from(3, 6);
    expect("> response FetchSnapshot from 2 SNAPSHOT_NOT_FOUND epoch 5 leader 2\n"
           "  abandon download of snapshot 100-4\n"
           "  send 2 Fetch epoch 5 from 1/QUFB at 20@3 hw -1\n"
           "> response Fetch from 2 NONE epoch 5 leader 2 snapshot 100-4\n"
           "  begin download of snapshot 100-4\n"
           "  send 2 FetchSnapshot epoch 5 from 1/QUFB snapshot 100-4 position 0\n"
           "> request BeginQuorumEpoch epoch 6 leader 3 to 1/QUFB\n"
           "  abandon download of snapshot 100-4\n"
           "  disconnect\n"
           "  persist v0 epoch 6 leader 3 voted none\n"
           "  became Follower epoch 6 leader 3\n"
           "  answer BeginQuorumEpoch NONE epoch 6 leader 3\n"
           "  send 3 Fetch epoch 6 from 1/QUFB at 20@3 hw -1\n");
}

/* A leader that resigns says who shall follow it: the first one stands at once, the next ones later and later. */
TEST(successors_stand_for_election_in_turn) {
    static const struct { int32_t ids[3]; int64_t backoff_ms; } cases[] = {
        {{1, 3, 4}, 0}, {{3, 1, 4}, 250}, {{3, 4, 1}, 500}, {{3, 4, 5}, 1000}};
    for (size_t i = 0; i < countof(cases); i++) {
        struct raft_key preferred[3] = {{.id = cases[i].ids[0]}, {.id = cases[i].ids[1]}, {.id = cases[i].ids[2]}};
        follow_two();
        request((struct raft_request){.call = RAFT_END, .end = {.epoch = 5, .leader_id = 2, .preferred = preferred, .preferred_count = 3}});
        if (cases[i].backoff_ms) {
            assert_int_equal(machine.role, RAFT_FOLLOWER);
            assert_int_equal(machine.fetch_deadline_ms, now_ms + cases[i].backoff_ms);
        } else {
            assert_int_equal(machine.role, RAFT_PROSPECTIVE);
        }
        quiet();
    }
}

/* Two leaders in one epoch cannot be: whoever says so is broken, and so is a quorum that goes on. */
TEST(second_leader_of_an_epoch_is_fatal) {
    follow_two();
    begin_from(3, 5);
    expect("> request BeginQuorumEpoch epoch 5 leader 3 to 1/QUFB\n"
           "  fatal: two leaders are named for one epoch\n"
           "  answer BeginQuorumEpoch UNKNOWN_SERVER_ERROR epoch 5 leader 2\n");
}

/* Responses that are late, from another time, or failed: ignored, adopted, tried again. */
TEST(responses_by_the_table) {
    follow_two();
    respond((struct raft_response){.call = RAFT_FETCH, .from = 2, .error = RAFT_UNKNOWN_LEADER_EPOCH, .epoch = 4, .leader_id = -1});
    quiet();
    assert_int_equal(machine.role, RAFT_FOLLOWER);
    struct raft_response old = {.call = RAFT_FETCH, .from = 2, .request_id = 999, .epoch = 77, .leader_id = 3};
    step((struct raft_event){.type = RAFT_EVENT_RESPONSE, .response = &old}); /* not what was asked last */
    assert_int_equal(machine.epoch, 5);
    respond((struct raft_response){.call = RAFT_FETCH, .from = 2, .error = RAFT_NOT_LEADER_OR_FOLLOWER, .epoch = 6, .leader_id = -1});
    assert_int_equal(machine.role, RAFT_UNATTACHED);
    assert_int_equal(machine.epoch, 6);
    quiet();
    /* Nobody there: the next one is asked after retry.backoff.ms. */
    int32_t asked = effects.items[effects.count - 1].send.to.id;
    respond((struct raft_response){.call = RAFT_FETCH, .from = asked, .top_error = RAFT_BROKER_NOT_AVAILABLE});
    assert_int_equal(effects.items[effects.count - 1].type, RAFT_SEND);
    assert_int_not_equal(effects.items[effects.count - 1].send.to.id, asked);
    quiet();
    follow_two();
    respond((struct raft_response){.call = RAFT_FETCH, .from = 2, .top_error = RAFT_CLUSTER_AUTHORIZATION_FAILED});
    assert_int_equal(effects.items[0].type, RAFT_FATAL);
    quiet();
}

/* ---- Observers */

/* A broker follows without a vote: it never stands for election, and asks any server when its leader is silent. */
TEST(observer_never_stands_for_election) {
    struct raft_options options = options_of(5);
    struct raft_voters voters = voters_of(3, false);
    options.static_voters = &voters;
    options.can_vote = false;
    start(&options, &empty_disk);
    respond((struct raft_response){.call = RAFT_FETCH, .from = 2, .error = RAFT_NOT_LEADER_OR_FOLLOWER, .epoch = 7, .leader_id = 1,
                                   .leader = {.host = SPAN_LITERAL("one"), .port = 9001}});
    say_state();
    tick(60000);
    assert_int_equal(machine.role, RAFT_FOLLOWER);
    assert_int_equal(effects.items[effects.count - 1].type, RAFT_SEND);
    expect("  send 2 Fetch epoch 0 from 5/RUVF at 0@0 hw -1\n"
           "> response Fetch from 2 NOT_LEADER_OR_FOLLOWER epoch 7 leader 1\n"
           "  persist v0 epoch 7 leader 1 voted none\n"
           "  became Follower epoch 7 leader 1\n"
           "  send 1 Fetch epoch 7 from 5/RUVF at 0@0 hw -1\n"
           "= Follower epoch 7 leader 1 log 0..0 last epoch 0 hw unknown voters {1, 2, 3}\n"
           "> tick\n"
           "  send 3 Fetch epoch 7 from 5/RUVF at 0@0 hw -1\n");
}

/* An observer of a controller that may join by itself: first its old directory goes, then it asks to be added. */
TEST(observer_joins_by_itself) {
    struct raft_options options = options_of(3);
    options.self.directory = directory(9); /* the disk was emptied */
    options.auto_join = true;
    struct raft_voters voters = voters_of(3, true), two = voters_of(2, true);
    raft_init(&machine, &options);
    raft_load(&machine, 1, NULL, 1);
    raft_load(&machine, 2, &voters, 0);
    struct raft_start disk = empty_disk;
    disk.has_state = true;
    disk.state = (struct raft_quorum_state){.version = 1, .epoch = 4, .leader_id = 1, .voted = RAFT_NO_KEY};
    disk.log_end = 20;
    disk.last_epoch = 3;
    start(NULL, &disk);
    struct raft_response response = fetched(4, 1);
    respond(response);
    respond(response);
    quiet();
    now_ms += 2000;
    respond(response);
    respond((struct raft_response){.call = RAFT_REMOVE, .from = 1});
    response.fetch.records_bytes = 100;
    respond(response);
    step((struct raft_event){.type = RAFT_EVENT_VOTERS, .control = {.offset = 20, .voters = &two}});
    appended(21, 4);
    durable(21);
    quiet();
    now_ms += 2000;
    response.fetch.records_bytes = 0;
    respond(response);
    expect("> response Fetch from 1 NONE epoch 4 leader 1 0 bytes hw -1\n"
           "  send 1 AddRaftVoter voter 3/SUlJ\n");
}
