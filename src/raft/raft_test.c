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
