#include "raft/raft_rig.h"
#include "base/random.h"
#include <string.h>

enum { LINES_MAX = 1 << 16 };

struct raft machine;
struct raft_effects effects;
static char lines[LINES_MAX];
struct text transcript;
int64_t now_ms;

struct uuid directory(int32_t id) {
    struct uuid uuid = {{0}};
    memset(uuid.bytes, 0x40 + id, sizeof(uuid.bytes));
    return uuid;
}

struct raft_key key(int32_t id) {
    return (struct raft_key){.id = id, .directory = directory(id)};
}

struct raft_voters voters_of(uint32_t count, bool directories) {
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

struct raft_options options_of(int32_t id) {
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

void say_state(void) {
    text_add(&transcript, "= ");
    raft_text(&machine, &transcript);
    text_add(&transcript, "\n");
}

void step(struct raft_event event) {
    event.now_ms = now_ms;
    text_add(&transcript, "> ");
    raft_event_text(&event, &transcript);
    text_add(&transcript, "\n");
    raft_step(&machine, &event, &effects);
    say_effects();
}

void tick(int64_t after_ms) {
    now_ms += after_ms;
    step((struct raft_event){.type = RAFT_EVENT_TICK});
}

void appended(log_offset end, leader_epoch epoch) {
    step((struct raft_event){.type = RAFT_EVENT_APPENDED, .log = {end, epoch}});
}

void durable(log_offset end) {
    step((struct raft_event){.type = RAFT_EVENT_DURABLE, .log = {end, 0}});
}

void expect(const char *text) {
    assert_false(transcript.cut);
    assert_string_equal(lines, text);
    text_init(&transcript, lines, sizeof(lines));
}

void start(const struct raft_options *options, const struct raft_start *disk) {
    text_init(&transcript, lines, sizeof(lines));
    now_ms = 1000;
    if (options) raft_init(&machine, options);
    raft_begin(&machine, disk, now_ms, 0, &effects);
    say_effects();
}

const struct raft_start empty_disk = {
    .state = {.leader_id = -1, .voted = {.id = -1}}, .earliest = {-1, -1}, .latest = {-1, -1}};

void start_three(leader_epoch epoch, int32_t leader, struct raft_key voted, log_offset end, leader_epoch last_epoch) {
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

void quiet(void) {
    text_init(&transcript, lines, sizeof(lines));
}

static uint32_t request_id_of(int32_t to) {
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++)
        if (machine.peers[i].used && machine.peers[i].id == to) return machine.peers[i].request_id;
    return 0;
}

void respond(struct raft_response response) {
    response.request_id = request_id_of(response.from);
    assert_int_not_equal(response.request_id, 0);
    step((struct raft_event){.type = RAFT_EVENT_RESPONSE, .response = &response});
}

void vote_response(int32_t from, enum raft_error error, leader_epoch epoch, int32_t leader, bool granted) {
    respond((struct raft_response){.call = RAFT_VOTE, .from = from, .error = error, .epoch = epoch, .leader_id = leader, .vote = {.granted = granted}});
}

void request(struct raft_request request) {
    request.token = 7;
    step((struct raft_event){.type = RAFT_EVENT_REQUEST, .request = &request});
}

void begin_from(int32_t leader, leader_epoch epoch) {
    request((struct raft_request){.call = RAFT_BEGIN, .begin = {.epoch = epoch, .leader_id = leader, .voter = key(1)}});
}

void vote_from(int32_t id, leader_epoch epoch, log_offset end, leader_epoch last_epoch, bool pre_vote) {
    request((struct raft_request){.call = RAFT_VOTE, .vote = {.epoch = epoch, .candidate = key(id), .voter = key(1),
                                  .last_epoch = last_epoch, .last_offset = end, .pre_vote = pre_vote}});
}

void fetch_from(int32_t id, leader_epoch epoch, log_offset offset, leader_epoch last_epoch, log_offset high_watermark) {
    /* The log of these tests: epoch 1 up to 10, epoch 3 up to 20, then that of the leader. */
    leader_epoch known = last_epoch >= machine.epoch ? machine.last_epoch : last_epoch >= 3 ? 3 : 1;
    log_offset ends = known == machine.last_epoch ? machine.log_end : known == 3 ? 20 : 10;
    request((struct raft_request){.call = RAFT_FETCH, .fetch = {.epoch = epoch, .replica = key(id), .offset = offset, .last_epoch = last_epoch,
                                  .high_watermark = high_watermark, .wait_max_ms = 500, .bytes_max = 1000, .known_epoch = known, .known_epoch_end = ends}});
}

struct raft_response fetched(leader_epoch epoch, int32_t leader) {
    return (struct raft_response){.call = RAFT_FETCH, .from = leader, .epoch = epoch, .leader_id = leader,
                                  .fetch = {.high_watermark = -1, .snapshot = {-1, -1}, .known_epoch = -1, .known_epoch_end = -1}};
}

void follow_two(void) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    begin_from(2, 5);
    quiet();
}

void lead_three(void) {
    start_three(4, -1, RAFT_NO_KEY, 20, 3);
    tick(2000);
    vote_response(2, RAFT_NONE, 4, -1, true);
    vote_response(2, RAFT_NONE, 5, -1, true);
    appended(21, 5);
    durable(21);
    quiet();
    assert_true(raft_is_leader(&machine));
}

void start_dynamic(void) {
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
}

void start_bootstrapped(void) {
    struct raft_options options = options_of(1);
    struct raft_voters voters = voters_of(1, true);
    raft_init(&machine, &options);
    raft_load(&machine, -1, NULL, 1);
    raft_load(&machine, -1, &voters, 0);
    start(NULL, &empty_disk);
}

void lead_dynamic(void) {
    start_dynamic();
    tick(2000);
    vote_response(2, RAFT_NONE, 4, -1, true);
    vote_response(2, RAFT_NONE, 5, -1, true);
    appended(21, 5);
    durable(21);
    fetch_from(2, 5, 21, 5, -1);
    quiet();
    assert_int_equal(machine.high_watermark, 21);
}
