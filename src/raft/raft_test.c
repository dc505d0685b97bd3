/* Transcripts of the machine: events in, lines out, compared with what Kafka's nodes do. Three voters (1, 2, 3) unless
 * a test says otherwise; node 1 is the one under test. Random is 0 in all of them, so that election timeouts are fixed.
 */
#include "raft/raft.h"
#include "base/random.h"
#include "test.h"
#include <string.h>

enum { LINES_MAX = 1 << 16 };

static struct raft machine;
static struct raft_effects effects;
static char lines[LINES_MAX];
static struct text transcript;
static int64_t now_ms;

static struct uuid directory(int32_t id) {
    struct uuid uuid = {{0}};
    memset(uuid.bytes, 0x40 + id, sizeof(uuid.bytes));
    return uuid;
}

static struct raft_key key(int32_t id) {
    return (struct raft_key){.id = id, .directory = directory(id)};
}

static struct raft_voters voters_of(uint32_t count, bool directories) {
    static const char *const hosts[] = {"", "one", "two", "three", "four", "five"};
    struct raft_voters set = {0};
    for (uint32_t i = 1; i <= count; i++) {
        struct raft_listener at = {.name = SPAN_LITERAL("CONTROLLER"), .host = span_text(hosts[i]), .port = (uint16_t)(9000 + i)};
        struct raft_key voter = {.id = (int32_t)i};
        if (directories) voter.directory = directory((int32_t)i);
        assert_true(raft_voters_add(&set, voter, 0, directories ? 1 : 0, &at, 1));
    }
    return set;
}

static struct raft_options options_of(int32_t id) {
    static const char *const hosts[] = {"", "one", "two", "three", "four", "five"};
    struct raft_options options;
    raft_options_default(&options);
    options.self = key(id);
    options.can_vote = true;
    options.cluster_id = SPAN_LITERAL("cluster");
    options.default_listener = SPAN_LITERAL("CONTROLLER");
    assert_true(raft_listeners_add(&options.listeners, (struct raft_listener){SPAN_LITERAL("CONTROLLER"), span_text(hosts[id]), (uint16_t)(9000 + id)}));
    return options;
}

static void say_effects(void) {
    for (uint32_t i = 0; i < effects.count; i++) {
        text_add(&transcript, "  ");
        raft_effect_text(&effects.items[i], &transcript);
        text_add(&transcript, "\n");
    }
}

static void say_state(void) {
    text_add(&transcript, "= ");
    raft_text(&machine, &transcript);
    text_add(&transcript, "\n");
}

static void step(struct raft_event event) {
    event.now_ms = now_ms;
    text_add(&transcript, "> ");
    raft_event_text(&event, &transcript);
    text_add(&transcript, "\n");
    raft_step(&machine, &event, &effects);
    say_effects();
}

static void tick(int64_t after_ms) {
    now_ms += after_ms;
    step((struct raft_event){.type = RAFT_EVENT_TICK});
}

static void appended(log_offset end, leader_epoch epoch) {
    step((struct raft_event){.type = RAFT_EVENT_APPENDED, .log = {end, epoch}});
}

static void durable(log_offset end) {
    step((struct raft_event){.type = RAFT_EVENT_DURABLE, .log = {end, 0}});
}

static void expect(const char *text) {
    assert_false(transcript.cut);
    assert_string_equal(lines, text);
    text_init(&transcript, lines, sizeof(lines));
}

static void start(const struct raft_options *options, const struct raft_start *disk) {
    text_init(&transcript, lines, sizeof(lines));
    now_ms = 1000;
    if (options) raft_init(&machine, options);
    raft_begin(&machine, disk, now_ms, 0, &effects);
    say_effects();
}

static const struct raft_start empty_disk = {
    .state = {.leader_id = -1, .voted = {.id = -1}}, .earliest = {-1, -1}, .latest = {-1, -1}};

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
    struct raft_options options = options_of(1);
    struct raft_voters voters = voters_of(1, true);
    raft_init(&machine, &options);
    raft_load(&machine, -1, NULL, 1);
    raft_load(&machine, -1, &voters, 0);
    start(NULL, &empty_disk);
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

/* ---- Helpers of the tests with three voters */

static void start_three(leader_epoch epoch, int32_t leader, struct raft_key voted, log_offset end, leader_epoch last_epoch) {
    static struct raft_options options;
    static struct raft_voters voters;
    options = options_of(1);
    voters = voters_of(3, false);
    options.static_voters = &voters;
    struct raft_start disk = empty_disk;
    disk.has_state = true;
    disk.state = (struct raft_quorum_state){.epoch = epoch, .leader_id = leader, .voted = voted};
    disk.log_end = end;
    disk.last_epoch = last_epoch;
    start(&options, &disk);
}

static void quiet(void) { /* what came before is another test's matter */
    text_init(&transcript, lines, sizeof(lines));
}

static uint32_t request_id_of(int32_t to) {
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++)
        if (machine.peers[i].used && machine.peers[i].id == to) return machine.peers[i].request_id;
    return 0;
}

static void respond(struct raft_response response) {
    response.request_id = request_id_of(response.from);
    assert_int_not_equal(response.request_id, 0);
    step((struct raft_event){.type = RAFT_EVENT_RESPONSE, .response = &response});
}

static void vote_response(int32_t from, enum raft_error error, leader_epoch epoch, int32_t leader, bool granted) {
    respond((struct raft_response){.call = RAFT_VOTE, .from = from, .error = error, .epoch = epoch, .leader_id = leader, .vote = {.granted = granted}});
}

static void request(struct raft_request request) {
    request.token = 7;
    step((struct raft_event){.type = RAFT_EVENT_REQUEST, .request = &request});
}

static void begin_from(int32_t leader, leader_epoch epoch) {
    request((struct raft_request){.call = RAFT_BEGIN, .begin = {.epoch = epoch, .leader_id = leader, .voter = key(1)}});
}

static void vote_from(int32_t id, leader_epoch epoch, log_offset end, leader_epoch last_epoch, bool pre_vote) {
    request((struct raft_request){.call = RAFT_VOTE, .vote = {.epoch = epoch, .candidate = key(id), .voter = key(1),
                                  .last_epoch = last_epoch, .last_offset = end, .pre_vote = pre_vote}});
}

static void fetch_from(int32_t id, leader_epoch epoch, log_offset offset, leader_epoch last_epoch, log_offset high_watermark) {
    /* The log of these tests: epoch 1 up to 10, epoch 3 up to 20, then that of the leader. */
    leader_epoch known = last_epoch >= machine.epoch ? machine.last_epoch : last_epoch >= 3 ? 3 : 1;
    log_offset ends = known == machine.last_epoch ? machine.log_end : known == 3 ? 20 : 10;
    request((struct raft_request){.call = RAFT_FETCH, .fetch = {.epoch = epoch, .replica = key(id), .offset = offset, .last_epoch = last_epoch,
                                  .high_watermark = high_watermark, .wait_max_ms = 500, .bytes_max = 1000, .known_epoch = known, .known_epoch_end = ends}});
}

static struct raft_response fetched(leader_epoch epoch, int32_t leader) {
    return (struct raft_response){.call = RAFT_FETCH, .from = leader, .epoch = epoch, .leader_id = leader,
                                  .fetch = {.high_watermark = -1, .snapshot = {-1, -1}, .known_epoch = -1, .known_epoch_end = -1}};
}

static void follow_two(void) { /* node 1 follows node 2 in epoch 5; its log: 20 offsets, the last of epoch 3 */
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    begin_from(2, 5);
    quiet();
}

static void lead_three(void) { /* node 1 leads epoch 5; its log: 20 offsets, the last of epoch 3, and the LeaderChange */
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    vote_response(2, RAFT_NONE, 4, -1, true);
    vote_response(2, RAFT_NONE, 5, -1, true);
    appended(21, 5);
    durable(21);
    quiet();
    assert_true(raft_is_leader(&machine));
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

/* ---- Following */

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
    struct raft_options options = options_of(1);
    struct raft_voters three = voters_of(3, true), four = voters_of(4, true);
    raft_init(&machine, &options);
    raft_load(&machine, 1, NULL, 1);
    raft_load(&machine, 2, &three, 0);
    struct raft_start disk = empty_disk;
    disk.has_state = true;
    disk.state.epoch = 4;
    disk.log_end = 20;
    disk.last_epoch = 3;
    start(NULL, &disk);
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

/* ---- Leading */

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

/* ---- Changing the voters */

static void lead_dynamic(void) { /* node 1 leads epoch 5 with voters 1, 2, 3 of kraft.version 1; all is committed */
    struct raft_options options = options_of(1);
    struct raft_voters voters = voters_of(3, true);
    raft_init(&machine, &options);
    raft_load(&machine, 1, NULL, 1);
    raft_load(&machine, 2, &voters, 0);
    struct raft_start disk = empty_disk;
    disk.has_state = true;
    disk.state.epoch = 4;
    disk.log_end = 20;
    disk.last_epoch = 3;
    start(NULL, &disk);
    tick(2000);
    vote_response(2, RAFT_NONE, 4, -1, true);
    vote_response(2, RAFT_NONE, 5, -1, true);
    appended(21, 5);
    durable(21);
    fetch_from(2, 5, 21, 5, -1);
    quiet();
    assert_int_equal(machine.high_watermark, 21);
}

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
    struct raft_options options = options_of(1);
    struct raft_voters voters = voters_of(1, true);
    raft_init(&machine, &options);
    raft_load(&machine, -1, NULL, 1);
    raft_load(&machine, -1, &voters, 0);
    start(NULL, &empty_disk);
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
