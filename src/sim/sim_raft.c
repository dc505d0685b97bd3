#include "sim/sim_raft.h"
#include "base/hash.h"
#include <stdio.h>
#include <string.h>

enum { CLIENT_BATCH_MAX = 4, IN_FLIGHT_MAX = 60, SNAPSHOT_BYTES = 300, PIECE_BYTES_MAX = 120 };

struct message { /* a request or a response on its way, with all that it points to */
    struct sim_event event;
    struct list all;
    struct sim_raft *world;
    uint32_t from, to, life;      /* life: of the asker when it asked */
    bool is_response;
    struct raft_request request;
    struct raft_response response;
    uint32_t request_id;
    int32_t asked_as;             /* the id that the asker used: a node's, or a bootstrap server's */
    struct raft_listeners listeners;
    struct raft_key preferred[RAFT_VOTERS_MAX];
    struct entries records;
    log_offset records_at;
};

struct inbound { /* a request that is being answered */
    struct list all;
    uint64_t token;
    uint32_t at, from, life, request_id;
    int32_t asked_as;
    enum raft_call call;
    struct raft_request request;
};

struct waiting { /* appended by a client */
    struct list all;
    uint32_t node, life;
    leader_epoch epoch;
    log_offset offset;
    uint64_t value;
};

const char *const sim_raft_mutations[] = {"vote-not-saved", "cut-one-too-many", "flush-before-disk", "vote-not-synced", NULL};

static void step(struct raft_node *node, struct raft_event event);
static void node_crash(struct raft_node *node, bool power);
static void node_start(struct raft_node *node);

/* ---- Logs */
static void entries_add(struct sim_raft *world, struct entries *to, const struct entry *entry) {
    if (to->count == to->capacity) {
        uint32_t capacity = to->capacity ? to->capacity * 2 : 32;
        to->items = pool_realloc(world->pool, to->items, to->capacity * sizeof *entry, capacity * sizeof *entry);
        assert(to->items);
        to->capacity = capacity;
    }
    to->items[to->count++] = *entry;
}

static void entries_drop(struct sim_raft *world, struct entries *entries) {
    pool_free(world->pool, entries->items, entries->capacity * sizeof *entries->items);
    *entries = (struct entries){0};
}

/* Kafka's endOffsetForEpoch: the largest epoch <= asked and where it ends. */
static void epoch_end(const struct raft_node *node, leader_epoch asked, leader_epoch *epoch, log_offset *end) {
    *epoch = -1;
    *end = -1;
    if (node->log.count == 0 || asked > node_last_epoch(node) || asked < 0) return;
    if (asked == node_last_epoch(node)) {
        *epoch = asked;
        *end = node_end(node);
        return;
    }
    uint32_t next = 0;
    while (node->log.items[next].epoch <= asked) next++;
    *end = node->start + next;
    *epoch = next == 0 ? asked : node->log.items[next - 1].epoch;
}

static uint16_t set_of(struct sim_raft *world, const struct raft_voters *voters) {
    for (uint32_t i = world->sets_count; i-- > 0;)
        if (raft_voters_equal(&world->sets[i], voters)) return (uint16_t)i;
    assert(world->sets_count < RAFT_SETS_MAX);
    world->sets[world->sets_count] = *voters;
    return (uint16_t)world->sets_count++;
}

/* ---- Time */
static int64_t node_now_ms(const struct raft_node *node) {
    __int128 now = sim_now(node->world->sim);
    return 1000 + (int64_t)((now + now * node->rate_ppm / 1000000) / NS_PER_MS);
}

static void on_tick(struct sim *sim, struct sim_event *event) {
    struct raft_node *node = container_of(event, struct raft_node, tick);
    if (sim_now(sim) < node->paused_until) sim_at(sim, event, node->paused_until, on_tick);
    else step(node, (struct raft_event){.type = RAFT_EVENT_TICK});
}

static void tick_schedule(struct raft_node *node) {
    struct sim *sim = node->world->sim;
    sim_cancel(sim, &node->tick);
    int64_t deadline = raft_deadline(node->raft);
    if (deadline == INT64_MAX) return;
    int64_t in_ms = deadline - node_now_ms(node);
    time_ns at = sim_now(sim) + (in_ms < 1 ? 1 : in_ms) * NS_PER_MS;
    sim_at(sim, &node->tick, at + (time_ns)random_below(&node->world->random, (uint64_t)NS_PER_MS), on_tick);
}

/* ---- Messages */
static void message_free(struct message *message) {
    struct sim_raft *world = message->world;
    sim_cancel(world->sim, &message->event);
    entries_drop(world, &message->records);
    list_remove(&message->all);
    pool_free(world->pool, message, sizeof *message);
}

static struct message *message_new(struct sim_raft *world, uint32_t from, uint32_t to) {
    struct message *message = POOL_NEW(world->pool, struct message);
    assert(message);
    message->world = world;
    message->from = from;
    message->to = to;
    list_push(&world->messages, &message->all);
    return message;
}

static void request_arrives(struct raft_node *node, struct message *message);
static void response_arrives(struct raft_node *node, struct message *message);

static void on_arrival(struct sim *sim, struct sim_event *event) {
    struct message *message = container_of(event, struct message, event);
    struct sim_raft *world = message->world;
    struct raft_node *node = &world->nodes[message->to];
    if (node->raft && sim_now(sim) < node->paused_until) {
        sim_at(sim, event, node->paused_until, on_arrival);
        return;
    }
    if (world->cut[message->from][message->to]) { /* a wire that is cut loses it: the asker hears of it by its own clock */
        message_free(message);
        return;
    }
    if (message->is_response) response_arrives(node, message);
    else request_arrives(node, message);
    message_free(message);
}

static void message_send(struct message *message) {
    struct sim_raft *world = message->world;
    if (world->cut[message->from][message->to] || random_below(&world->random, 100) < (uint64_t)world->loss_percent) {
        message_free(message);
        return;
    }
    time_ns delay = 1000 + (time_ns)random_below(&world->random, (uint64_t)world->delay_max_us * 1000);
    sim_at(world->sim, &message->event, sim_now(world->sim) + delay + world->slow[message->from][message->to], on_arrival);
}

/* The connection broke, or nobody listens. */
static void answer_broken(struct sim_raft *world, uint32_t from, uint32_t to, uint32_t life, uint32_t request_id, int32_t asked_as, enum raft_call call) {
    struct message *message = message_new(world, from, to);
    message->is_response = true;
    message->life = life;
    message->response = (struct raft_response){.call = call, .request_id = request_id, .from = asked_as, .top_error = RAFT_BROKER_NOT_AVAILABLE};
    message_send(message);
}

static struct list inbounds; /* of the run: one at a time in a process */

static void request_arrives(struct raft_node *node, struct message *message) {
    struct sim_raft *world = node->world;
    if (!node->raft) {
        answer_broken(world, message->to, message->from, message->life, message->request_id, message->asked_as, message->request.call);
        return;
    }
    if (message->request.call == RAFT_API_VERSIONS) {
        struct message *answer = message_new(world, message->to, message->from);
        answer->is_response = true;
        answer->life = message->life;
        answer->response = (struct raft_response){.call = RAFT_API_VERSIONS, .request_id = message->request_id, .from = message->asked_as,
                                                  .api_versions = {0, 1}};
        message_send(answer);
        return;
    }
    struct inbound *inbound = POOL_NEW(world->pool, struct inbound);
    assert(inbound);
    *inbound = (struct inbound){.token = ++world->token_next, .at = message->to, .from = message->from, .life = message->life,
                                .request_id = message->request_id, .asked_as = message->asked_as, .call = message->request.call,
                                .request = message->request};
    list_push(&inbounds, &inbound->all);
    struct raft_request request = message->request;
    request.token = inbound->token;
    if (request.call == RAFT_FETCH)
        epoch_end(node, request.fetch.last_epoch, &request.fetch.known_epoch, &request.fetch.known_epoch_end);
    sim_note(world->sim, "request", node->number, (uint64_t)request.call, message->from);
    step(node, (struct raft_event){.type = RAFT_EVENT_REQUEST, .request = &request});
}

static void response_arrives(struct raft_node *node, struct message *message) {
    struct sim_raft *world = node->world;
    if (!node->raft || node->life != message->life) return;
    struct raft_response *response = &message->response;
    if (response->call == RAFT_FETCH && response->fetch.diverging)
        epoch_end(node, response->fetch.diverging_epoch, &response->fetch.known_epoch, &response->fetch.known_epoch_end);
    if (response->call == RAFT_FETCH && response->fetch.snapshot.offset >= 0)
        for (uint32_t i = 0; i < node->snapshots_count; i++)
            response->fetch.snapshot_here |= node->snapshots[i].id.offset == response->fetch.snapshot.offset;
    node->fetched = message->records;
    node->fetched_at = message->records_at;
    sim_note(world->sim, "response", node->number, (uint64_t)response->call, message->from);
    step(node, (struct raft_event){.type = RAFT_EVENT_RESPONSE, .response = response});
    node->fetched = (struct entries){0};
}

/* ---- Carrying out effects */
static void send_request(struct raft_node *node, const struct raft_effect *effect) {
    struct sim_raft *world = node->world;
    int32_t id = effect->send.to.id;
    uint32_t to = id <= -2 ? (uint32_t)(-2 - id) : (uint32_t)(id - 1);
    assert(to < world->nodes_count);
    struct message *message = message_new(world, node->number, to);
    message->life = node->life;
    message->request = effect->send.request;
    message->request_id = effect->send.request_id;
    message->asked_as = id;
    struct raft_request *request = &message->request;
    request->cluster_id = SPAN_LITERAL("simulated"); /* the asker may be gone when it arrives */
    const struct raft_listeners **listeners = request->call == RAFT_BEGIN ? &request->begin.listeners
        : request->call == RAFT_END ? &request->end.listeners : request->call == RAFT_ADD ? &request->add.listeners
        : request->call == RAFT_UPDATE ? &request->update.listeners : NULL;
    if (listeners && *listeners) {
        message->listeners = **listeners;
        *listeners = &message->listeners;
    }
    if (request->call == RAFT_END) {
        memcpy(message->preferred, request->end.preferred, request->end.preferred_count * sizeof message->preferred[0]);
        request->end.preferred = message->preferred;
    }
    raft_check_send(node, request);
    sim_note(world->sim, "send", node->number, (uint64_t)request->call, to);
    message_send(message);
}

static struct inbound *inbound_take(uint64_t token) {
    LIST_EACH(node, &inbounds) {
        struct inbound *inbound = LIST_ITEM(node, struct inbound, all);
        if (inbound->token != token) continue;
        list_remove(&inbound->all);
        return inbound;
    }
    return NULL;
}

static void answer(struct raft_node *node, const struct raft_effect *effect) {
    struct sim_raft *world = node->world;
    const struct raft_answer *from = &effect->answer;
    struct inbound *inbound = inbound_take(from->token);
    if (!inbound) return; /* a client's change of the voters: whoever asked looks at the log */
    struct message *message = message_new(world, node->number, inbound->from);
    message->is_response = true;
    message->life = inbound->life;
    struct raft_response *response = &message->response;
    *response = (struct raft_response){.call = inbound->call, .request_id = inbound->request_id, .from = inbound->asked_as,
                                       .top_error = from->top_error, .error = from->error, .epoch = from->epoch, .leader_id = from->leader_id};
    struct raft_listener leader;
    if (from->leader_id >= 0 && raft_leader_listener(node->raft, SPAN_LITERAL("CONTROLLER"), &leader)) {
        bool ok = raft_listeners_add(&message->listeners, leader);
        assert(ok);
        response->leader = raft_listeners_at(&message->listeners, 0);
    }
    raft_check_answered(node, &inbound->request, from);
    switch (from->call) {
    case RAFT_VOTE:
        response->vote.granted = from->vote.granted;
        if (from->vote.granted) raft_check_granted(node, &inbound->request);
        break;
    case RAFT_FETCH:
        response->fetch.high_watermark = from->fetch.high_watermark;
        response->fetch.diverging = from->fetch.diverging;
        response->fetch.diverging_epoch = from->fetch.diverging_epoch;
        response->fetch.diverging_end = from->fetch.diverging_end;
        response->fetch.snapshot = from->fetch.snapshot;
        if (effect->type != RAFT_ANSWER_FETCH) break;
        message->records_at = from->fetch.offset;
        for (int64_t i = 0; i < world->fetch_entries; i++) {
            const struct entry *entry = node_entry(node, from->fetch.offset + i);
            if (entry) entries_add(world, &message->records, entry);
        }
        response->fetch.records_bytes = message->records.count * 64;
        break;
    case RAFT_FETCH_SNAPSHOT: {
        if (effect->type != RAFT_ANSWER_SNAPSHOT) break;
        response->fetch_snapshot.id = from->fetch_snapshot.id;
        response->error = RAFT_SNAPSHOT_NOT_FOUND;
        for (uint32_t i = 0; i < node->snapshots_count; i++)
            if (node->snapshots[i].id.offset == from->fetch_snapshot.id.offset && node->snapshots[i].id.epoch == from->fetch_snapshot.id.epoch)
                response->error = from->fetch_snapshot.position >= SNAPSHOT_BYTES ? RAFT_POSITION_OUT_OF_RANGE : RAFT_NONE;
        if (response->error) break;
        int64_t left = SNAPSHOT_BYTES - from->fetch_snapshot.position;
        response->fetch_snapshot.size = SNAPSHOT_BYTES;
        response->fetch_snapshot.position = from->fetch_snapshot.position;
        response->fetch_snapshot.bytes = (uint32_t)(left < PIECE_BYTES_MAX ? left : PIECE_BYTES_MAX);
        break;
    }
    default: break;
    }
    pool_free(world->pool, inbound, sizeof *inbound);
    message_send(message);
}

static void on_flushed(struct sim *sim, struct sim_event *event);

static void flush(struct raft_node *node) {
    struct sim_raft *world = node->world;
    if (node->flushing || node->durable == node_end(node)) return;
    node->flushing = true;
    node->flush_end = node_end(node);
    sim_at(world->sim, &node->flush, sim_now(world->sim) + 1000 + (time_ns)random_below(&world->random, (uint64_t)world->flush_max_us * 1000), on_flushed);
}

static void on_flushed(struct sim *sim, struct sim_event *event) {
    struct raft_node *node = container_of(event, struct raft_node, flush);
    if (sim_now(sim) < node->paused_until) {
        sim_at(sim, event, node->paused_until, on_flushed);
        return;
    }
    node->flushing = false;
    log_offset end = node->flush_end < node_end(node) ? node->flush_end : node_end(node);
    if (end > node->durable) node->durable = end;
    sim_note(sim, "flushed", node->number, (uint64_t)end, 0);
    step(node, (struct raft_event){.type = RAFT_EVENT_DURABLE, .log = {.end = end}});
    if (node->raft) flush(node);
}

static void append(struct raft_node *node, struct entry entry) {
    raft_check_append(node, &entry, node_end(node));
    entries_add(node->world, &node->log, &entry);
}

/* What an effect did to the log is reported after all effects of the step. */
struct report { struct raft_event events[16]; uint32_t count; };

static void report(struct report *to, struct raft_event event) {
    assert(to->count < countof(to->events));
    to->events[to->count++] = event;
}

static void report_appended(struct raft_node *node, struct report *to) {
    report(to, (struct raft_event){.type = RAFT_EVENT_APPENDED, .log = {.end = node_end(node), .last_epoch = node_last_epoch(node)}});
    if (run_is_mutated(node->world->run, "flush-before-disk"))
        report(to, (struct raft_event){.type = RAFT_EVENT_DURABLE, .log = {.end = node_end(node)}});
}

static void append_control(struct raft_node *node, const struct raft_effect *effect, struct report *to) {
    for (uint32_t i = 0; i < effect->append.count; i++) {
        const struct raft_record *record = &effect->append.records[i];
        struct entry entry = {.epoch = effect->append.epoch, .value = ++node->world->value_next};
        if (record->type == RAFT_RECORD_LEADER_CHANGE) entry.kind = ENTRY_LEADER_CHANGE;
        if (record->type == RAFT_RECORD_KRAFT_VERSION) {
            entry.kind = ENTRY_VERSION;
            entry.version = record->kraft_version;
        }
        if (record->type == RAFT_RECORD_VOTERS) {
            entry.kind = ENTRY_VOTERS;
            entry.set = set_of(node->world, record->voters);
        }
        append(node, entry);
    }
    report_appended(node, to);
}

static void append_fetched(struct raft_node *node, struct report *to) {
    struct sim_raft *world = node->world;
    if (node->fetched_at != node_end(node)) {
        report(to, (struct raft_event){.type = RAFT_EVENT_APPEND_FAILED});
        return;
    }
    for (uint32_t i = 0; i < node->fetched.count; i++) {
        struct entry entry = node->fetched.items[i];
        append(node, entry);
        if (entry.kind == ENTRY_VOTERS)
            report(to, (struct raft_event){.type = RAFT_EVENT_VOTERS, .control = {.offset = node_end(node) - 1, .voters = &world->sets[entry.set]}});
        if (entry.kind == ENTRY_VERSION)
            report(to, (struct raft_event){.type = RAFT_EVENT_KRAFT_VERSION, .control = {.offset = node_end(node) - 1, .version = entry.version}});
    }
    report_appended(node, to);
}

static void truncate(struct raft_node *node, log_offset at, struct report *to) {
    if (run_is_mutated(node->world->run, "cut-one-too-many") && at > node->start && at > node->high_watermark) at--;
    raft_check_truncate(node, at);
    if (at < node->start) at = node->start;
    while (node_end(node) > at) node->log.count--;
    if (node->durable > at) node->durable = at;
    sim_note(node->world->sim, "truncate", node->number, (uint64_t)at, 0);
    report(to, (struct raft_event){.type = RAFT_EVENT_TRUNCATED, .log = {.end = node_end(node), .last_epoch = node_last_epoch(node)}});
}

static const struct snapshot *snapshot_anywhere(const struct sim_raft *world, struct raft_snapshot_id id) {
    for (uint32_t n = 0; n < world->nodes_count; n++)
        for (uint32_t i = 0; i < world->nodes[n].snapshots_count; i++)
            if (world->nodes[n].snapshots[i].id.offset == id.offset && world->nodes[n].snapshots[i].id.epoch == id.epoch)
                return &world->nodes[n].snapshots[i];
    return NULL;
}

static void snapshot_load(struct raft_node *node, struct report *to) {
    const struct snapshot *found = snapshot_anywhere(node->world, node->downloading);
    if (!found) { /* it was deleted everywhere since: as a file that turned out to be cut */
        report(to, (struct raft_event){.type = RAFT_EVENT_APPEND_FAILED});
        return;
    }
    struct snapshot snapshot = *found;
    raft_check_snapshot(node, &snapshot, true);
    node->snapshots[0] = snapshot;
    node->snapshots_count = 1;
    node->log.count = 0;
    node->start = node->durable = snapshot.id.offset;
    sim_note(node->world->sim, "snapshot loaded", node->number, (uint64_t)snapshot.id.offset, 0);
    report(to, (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_LOADING, .snapshot = snapshot.id});
    if (snapshot.version >= 1)
        report(to, (struct raft_event){.type = RAFT_EVENT_KRAFT_VERSION, .control = {.offset = snapshot.id.offset - 1, .version = snapshot.version}});
    if (snapshot.set >= 0)
        report(to, (struct raft_event){.type = RAFT_EVENT_VOTERS, .control = {.offset = snapshot.id.offset - 1, .voters = &node->world->sets[snapshot.set]}});
    report(to, (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_LOADED, .snapshot = snapshot.id});
}

/* Clients hear what has been committed where they appended it. */
static void acknowledge(struct raft_node *node) {
    struct sim_raft *world = node->world;
    LIST_EACH_SAFE(at, &world->waiting) {
        struct waiting *waiting = LIST_ITEM(at, struct waiting, all);
        if (waiting->node != node->number || waiting->life != node->life) continue;
        bool lost = node->raft->role != RAFT_LEADER || node->raft->epoch != waiting->epoch;
        if (!lost && waiting->offset >= node->high_watermark) continue;
        if (!lost) {
            raft_check_acknowledged(world, waiting->offset, waiting->value);
            world->run->acknowledged++;
        }
        list_remove(&waiting->all);
        pool_free(world->pool, waiting, sizeof *waiting);
    }
}

static void carry_out(struct raft_node *node, const struct raft_effect *effect, struct report *to) {
    struct sim_raft *world = node->world;
    switch (effect->type) {
    case RAFT_PERSIST:
        if (run_is_mutated(world->run, "vote-not-saved") && effect->state.voted.id >= 0) break;
        node->state_before = node->state;
        node->state = effect->state;
        node->has_state = true;
        sim_note(world->sim, "persist", node->number, (uint64_t)effect->state.epoch, (uint64_t)effect->state.voted.id);
        break;
    case RAFT_SEND: send_request(node, effect); break;
    case RAFT_ANSWER: case RAFT_ANSWER_FETCH: case RAFT_ANSWER_SNAPSHOT: answer(node, effect); break;
    case RAFT_APPEND: append_control(node, effect, to); break;
    case RAFT_APPEND_FETCHED: append_fetched(node, to); break;
    case RAFT_TRUNCATE: truncate(node, effect->offset, to); break;
    case RAFT_SNAPSHOT_BEGIN: node->downloading = effect->snapshot; break;
    case RAFT_SNAPSHOT_PIECE: break;
    case RAFT_SNAPSHOT_END: snapshot_load(node, to); break;
    case RAFT_SNAPSHOT_ABANDON: node->downloading = RAFT_NO_SNAPSHOT; break;
    case RAFT_HIGH_WATERMARK:
        raft_check_commit(node, effect->offset);
        node->high_watermark = effect->offset;
        sim_note(world->sim, "high watermark", node->number, (uint64_t)effect->offset, 0);
        break;
    case RAFT_BECAME:
        sim_note(world->sim, raft_role_text(effect->became.role), node->number, (uint64_t)effect->became.epoch, (uint64_t)effect->became.leader_id);
        if (effect->became.role == RAFT_LEADER) raft_check_became_leader(node);
        break;
    case RAFT_DISCONNECT: break;
    case RAFT_SHUTDOWN_DONE: node->shutting_down = true; break;
    case RAFT_FATAL: sim_fail(world->sim, "raft", "node %u: %s", node->number, effect->why); break;
    }
}

/* --verbose: the transcript. */
static void say_event(struct raft_node *node, const struct raft_event *event) {
    char line[2048];
    struct text text;
    text_init(&text, line, sizeof line);
    raft_event_text(event, &text);
    printf("%12.6f node %u > %s\n", (double)sim_now(node->world->sim) / 1e9, node->number, line);
}

static void say_effect(struct raft_node *node, const struct raft_effect *effect) {
    char line[2048];
    struct text text;
    text_init(&text, line, sizeof line);
    raft_effect_text(effect, &text);
    printf("%12.6f node %u   %s\n", (double)sim_now(node->world->sim) / 1e9, node->number, line);
}

static void step(struct raft_node *node, struct raft_event event) {
    struct sim_raft *world = node->world;
    bool verbose = world->run->options->verbose;
    struct report reports = {.events = {event}, .count = 1};
    /* The reports of a step come before anything else is stepped. */
    for (uint32_t at = 0; at < reports.count && node->raft && !sim_has_failed(world->sim); at++) {
        reports.events[at].now_ms = node_now_ms(node);
        reports.events[at].random = random_u64(&world->random);
        if (reports.events[at].type == RAFT_EVENT_DURABLE && node->durable < reports.events[at].log.end && !world->run->options->mutation)
            reports.events[at].log.end = node->durable;
        if (verbose) say_event(node, &reports.events[at]);
        raft_step(node->raft, &reports.events[at], world->effects);
        for (uint32_t i = 0; i < world->effects->count && !sim_has_failed(world->sim); i++) {
            if (node->crash_after && --node->crash_after == 0) { /* between two effects, of all places */
                node_crash(node, true);
                return;
            }
            if (verbose) say_effect(node, &world->effects->items[i]);
            carry_out(node, &world->effects->items[i], &reports);
        }
        if (!sim_has_failed(world->sim)) raft_check_stepped(node);
    }
    if (!node->raft || sim_has_failed(world->sim)) return;
    acknowledge(node);
    flush(node);
    tick_schedule(node);
    if (node->shutting_down) node_crash(node, false);
}

/* ---- Nodes come and go */
static struct uuid directory_of(uint32_t number) {
    struct uuid id;
    memset(id.bytes, (int)(0x41 + number), sizeof id.bytes);
    return id;
}

static const char *const node_names[RAFT_NODES_MAX] = {"zero", "one", "two", "three", "four", "five", "six", "seven"};

static struct raft_listener listener_of(const struct raft_node *node) {
    return (struct raft_listener){SPAN_LITERAL("CONTROLLER"), span_text(node_names[node->number]), (uint16_t)(9000 + node->number)};
}

static void node_start(struct raft_node *node) {
    struct sim_raft *world = node->world;
    struct raft_options options;
    raft_options_default(&options);
    options.self = node->key;
    options.can_vote = true;
    options.cluster_id = SPAN_LITERAL("simulated");
    options.default_listener = SPAN_LITERAL("CONTROLLER");
    options.bootstrap_count = world->nodes_count; /* else the voters may move to where nobody looks for them */
    bool ok = raft_listeners_add(&options.listeners, listener_of(node));
    assert(ok);
    if (!world->dynamic) options.static_voters = &world->sets[0];
    node->raft = pool_alloc(world->pool, sizeof *node->raft);
    assert(node->raft);
    node->life++;
    node->high_watermark = -1;
    node->epoch_seen = node->has_state ? node->state.epoch : 0;
    node->downloading = RAFT_NO_SNAPSHOT;
    node->shutting_down = node->flushing = false;
    node->durable = node_end(node);
    sim_note(world->sim, "start", node->number, node->life, (uint64_t)node_end(node));
    raft_init(node->raft, &options);
    if (world->dynamic && node->initial_voter) {
        raft_load(node->raft, -1, NULL, 1);
        raft_load(node->raft, -1, &world->sets[0], 0);
    }
    struct raft_start start = {.has_state = node->has_state, .state = node->state, .log_start = node->start, .log_end = node_end(node),
                               .last_epoch = node_last_epoch(node), .earliest = RAFT_NO_SNAPSHOT, .latest = RAFT_NO_SNAPSHOT};
    if (node->snapshots_count) {
        const struct snapshot *latest = &node->snapshots[node->snapshots_count - 1];
        start.earliest = node->snapshots[0].id;
        start.latest = latest->id;
        if (latest->version >= 1) raft_load(node->raft, latest->id.offset - 1, NULL, latest->version);
        if (latest->set >= 0) raft_load(node->raft, latest->id.offset - 1, &world->sets[latest->set], 0);
    }
    for (uint32_t i = 0; i < node->log.count; i++) {
        log_offset at = node->start + i;
        if (start.latest.offset >= 0 && at < start.latest.offset) continue; /* the snapshot said it */
        if (node->log.items[i].kind == ENTRY_VERSION) raft_load(node->raft, at, NULL, node->log.items[i].version);
        if (node->log.items[i].kind == ENTRY_VOTERS) raft_load(node->raft, at, &world->sets[node->log.items[i].set], 0);
    }
    raft_begin(node->raft, &start, node_now_ms(node), random_u64(&world->random), world->effects);
    struct report reports = {.count = 0};
    for (uint32_t i = 0; i < world->effects->count; i++) carry_out(node, &world->effects->items[i], &reports);
    if (!sim_has_failed(world->sim)) raft_check_stepped(node);
    for (uint32_t i = 0; i < reports.count; i++) step(node, reports.events[i]);
    if (!node->raft) return;
    flush(node);
    tick_schedule(node);
}

/* Power: the tail that was not flushed is gone, or a part of it. kill -9: the kernel has it all. */
static void node_crash(struct raft_node *node, bool power) {
    struct sim_raft *world = node->world;
    if (!node->raft) return;
    sim_note(world->sim, power ? "power cut" : "kill", node->number, (uint64_t)node->durable, (uint64_t)node_end(node));
    sim_count(world->sim)->crashes++;
    if (power && node_end(node) > node->durable)
        node->log.count -= (uint32_t)random_below(&world->random, (uint64_t)(node_end(node) - node->durable) + 1);
    if (power && run_is_mutated(world->run, "vote-not-synced")) node->state = node->state_before;
    pool_free(world->pool, node->raft, sizeof *node->raft);
    node->raft = NULL;
    node->crash_after = 0;
    node->paused_until = 0;
    sim_cancel(world->sim, &node->tick);
    sim_cancel(world->sim, &node->flush);
    LIST_EACH_SAFE(at, &inbounds) {
        struct inbound *inbound = LIST_ITEM(at, struct inbound, all);
        if (inbound->at != node->number) continue;
        if (random_chance(&world->random, 1, 2))
            answer_broken(world, inbound->at, inbound->from, inbound->life, inbound->request_id, inbound->asked_as, inbound->call);
        list_remove(&inbound->all);
        pool_free(world->pool, inbound, sizeof *inbound);
    }
    LIST_EACH_SAFE(at, &world->waiting) {
        struct waiting *waiting = LIST_ITEM(at, struct waiting, all);
        if (waiting->node != node->number) continue;
        list_remove(&waiting->all);
        pool_free(world->pool, waiting, sizeof *waiting);
    }
}

static void on_restart(struct sim *sim, struct sim_event *event) {
    struct raft_node *node = container_of(event, struct raft_node, restart);
    if (!node->raft) node_start(node);
}

static void crash_and_restart(struct raft_node *node, bool power, time_ns after) {
    struct sim *sim = node->world->sim;
    node_crash(node, power);
    if (!sim_is_scheduled(&node->restart)) sim_at(sim, &node->restart, sim_now(sim) + after, on_restart);
}

/* ---- Clients: append where they believe the leader to be, take snapshots, change the voters. */
static struct raft_node *some_leader(struct sim_raft *world) {
    uint64_t count = 0;
    struct raft_node *found = NULL;
    for (uint32_t n = 0; n < world->nodes_count; n++)
        if (world->nodes[n].raft && raft_is_leader(world->nodes[n].raft) && random_below(&world->random, ++count) == 0) found = &world->nodes[n];
    return found && sim_now(world->sim) >= found->paused_until ? found : NULL;
}

static void client_append(struct raft_node *node, uint32_t count) {
    struct sim_raft *world = node->world;
    for (uint32_t i = 0; i < count; i++) {
        struct entry entry = {.epoch = node->raft->epoch, .kind = ENTRY_DATA, .value = ++world->value_next};
        struct waiting *waiting = POOL_NEW(world->pool, struct waiting);
        assert(waiting);
        *waiting = (struct waiting){.node = node->number, .life = node->life, .epoch = entry.epoch, .offset = node_end(node), .value = entry.value};
        list_push(&world->waiting, &waiting->all);
        append(node, entry);
    }
    struct report reports = {.count = 0};
    report_appended(node, &reports);
    for (uint32_t i = 0; i < reports.count; i++) step(node, reports.events[i]);
}

static void change_voters(struct raft_node *leader) {
    struct sim_raft *world = leader->world;
    struct raft_node *node = &world->nodes[random_below(&world->random, world->nodes_count)];
    const struct raft_voters *voters = raft_voters(leader->raft);
    struct raft_listeners listeners = {0};
    struct raft_request request = {.call = RAFT_REMOVE, .token = ++world->token_next};
    bool is_voter = raft_voters_has(voters, node->key);
    if (is_voter && voters->count <= 2) return;
    if (is_voter) {
        request.remove.voter = node->key;
    } else {
        bool ok = raft_listeners_add(&listeners, listener_of(node));
        assert(ok);
        request.call = RAFT_ADD;
        request.add = (struct raft_add_request){.voter = node->key, .listeners = &listeners, .timeout_ms = 5000, .ack_when_committed = true};
    }
    sim_note(world->sim, is_voter ? "remove voter" : "add voter", leader->number, node->number, voters->count);
    step(leader, (struct raft_event){.type = RAFT_EVENT_REQUEST, .request = &request});
}

static void on_client(struct sim *sim, struct sim_event *event) {
    struct sim_raft *world = container_of(event, struct sim_raft, client);
    struct raft_node *leader = some_leader(world);
    if (leader && world->dynamic && random_chance(&world->random, 1, 40) && !world->run->quiet) change_voters(leader);
    else if (leader && leader->log.count < (uint32_t)(leader->high_watermark < leader->start ? 0 : leader->high_watermark - leader->start) + IN_FLIGHT_MAX)
        client_append(leader, 1 + (uint32_t)random_below(&world->random, CLIENT_BATCH_MAX));
    sim_at(sim, event, sim_now(sim) + NS_PER_MS + (time_ns)random_below(&world->random, 60 * (uint64_t)NS_PER_MS), on_client);
}

static void snapshot_take(struct raft_node *node) {
    struct sim_raft *world = node->world;
    log_offset last = node->snapshots_count ? node->snapshots[node->snapshots_count - 1].id.offset : node->start;
    log_offset end = node->high_watermark;
    if (end < last + world->snapshot_every || end <= node->start || !node_entry(node, end - 1)) return;
    struct snapshot snapshot = {.id = {end, node_entry(node, end - 1)->epoch}, .content = raft_check_content(world, end), .set = -1};
    const struct raft_voters *voters;
    if (!raft_state_at(node->raft, end, &voters, &snapshot.version)) return;
    if (voters) snapshot.set = set_of(world, voters);
    raft_check_snapshot(node, &snapshot, false);
    if (node->snapshots_count == SNAPSHOTS_MAX) {
        memmove(node->snapshots, node->snapshots + 1, sizeof snapshot * (SNAPSHOTS_MAX - 1));
        node->snapshots_count--;
    }
    node->snapshots[node->snapshots_count++] = snapshot;
    sim_note(world->sim, "snapshot", node->number, (uint64_t)end, (uint64_t)snapshot.id.epoch);
    step(node, (struct raft_event){.type = RAFT_EVENT_SNAPSHOT, .snapshot = snapshot.id});
    /* Old ones and what they stand for are deleted now and then. */
    if (!node->raft || !random_chance(&world->random, 1, 2)) return;
    uint32_t gone = (uint32_t)random_below(&world->random, node->snapshots_count);
    memmove(node->snapshots, node->snapshots + gone, sizeof snapshot * (node->snapshots_count - gone));
    node->snapshots_count -= gone;
    log_offset start = node->snapshots[0].id.offset;
    if (start > node->start) {
        uint32_t cut = (uint32_t)(start - node->start);
        memmove(node->log.items, node->log.items + cut, sizeof(struct entry) * (node->log.count - cut));
        node->log.count -= cut;
        node->start = start;
    }
    sim_note(world->sim, "log start", node->number, (uint64_t)node->start, 0);
    step(node, (struct raft_event){.type = RAFT_EVENT_LOG_START, .start = {.start = node->start, .earliest = node->snapshots[0].id,
         .latest = node->snapshots[node->snapshots_count - 1].id}});
}

static void on_snapshotter(struct sim *sim, struct sim_event *event) {
    struct sim_raft *world = container_of(event, struct sim_raft, snapshotter);
    struct raft_node *node = &world->nodes[random_below(&world->random, world->nodes_count)];
    if (node->raft && sim_now(sim) >= node->paused_until) snapshot_take(node);
    sim_at(sim, event, sim_now(sim) + (time_ns)random_below(&world->random, 400 * (uint64_t)NS_PER_MS) + NS_PER_MS, on_snapshotter);
}

/* ---- Faults */
struct heal { struct sim_event event; struct list all; struct sim_raft *world; uint32_t from, to; };
static struct list heals;

static void heal_free(struct heal *heal) {
    sim_cancel(heal->world->sim, &heal->event);
    list_remove(&heal->all);
    pool_free(heal->world->pool, heal, sizeof *heal);
}

static void on_heal(struct sim *sim, struct sim_event *event) {
    struct heal *heal = container_of(event, struct heal, event);
    heal->world->cut[heal->from][heal->to] = false;
    heal->world->slow[heal->from][heal->to] = 0;
    sim_note(sim, "heal", heal->from, heal->to, 0);
    heal_free(heal);
}

static void cut(struct sim_raft *world, uint32_t from, uint32_t to, time_ns lasts, time_ns slow) {
    if (from == to) return;
    if (slow) world->slow[from][to] = slow;
    else world->cut[from][to] = true;
    struct heal *heal = POOL_NEW(world->pool, struct heal);
    assert(heal);
    heal->world = world;
    heal->from = from;
    heal->to = to;
    list_push(&heals, &heal->all);
    sim_at(world->sim, &heal->event, sim_now(world->sim) + lasts, on_heal);
}

static void on_fault(void *context, const struct fault *fault) {
    struct sim_raft *world = context;
    uint32_t a = (uint32_t)(fault->a % world->nodes_count), b = (uint32_t)(fault->b % world->nodes_count);
    struct raft_node *node = &world->nodes[a];
    struct raft_node *leader = some_leader(world);
    if (leader && fault->c % 2) { /* leaders are where it hurts */
        node = leader;
        a = leader->number;
    }
    switch (fault->kind) {
    case FAULT_KILL: crash_and_restart(node, false, fault->lasts); break;
    case FAULT_POWER: crash_and_restart(node, true, fault->lasts); break;
    case FAULT_POWER_ALL:
        for (uint32_t n = 0; n < world->nodes_count; n++) crash_and_restart(&world->nodes[n], true, fault->lasts / (n + 1));
        break;
    case FAULT_DISK_CUT:
        if (!node->raft) break;
        node->crash_after = 1 + (uint32_t)(fault->b % 20);
        if (!sim_is_scheduled(&node->restart)) sim_at(world->sim, &node->restart, sim_now(world->sim) + fault->lasts, on_restart);
        break;
    case FAULT_CUT_ONE_WAY:
        cut(world, a, b, fault->lasts, 0);
        sim_count(world->sim)->cuts++;
        break;
    case FAULT_CUT_NODE:
        for (uint32_t n = 0; n < world->nodes_count; n++) {
            cut(world, a, n, fault->lasts, 0);
            cut(world, n, a, fault->lasts, 0);
        }
        sim_count(world->sim)->cuts++;
        break;
    case FAULT_SPLIT:
        for (uint32_t n = 0; n < world->nodes_count; n++)
            for (uint32_t m = 0; m < world->nodes_count; m++)
                if ((fault->b >> n & 1) != (fault->b >> m & 1)) cut(world, n, m, fault->lasts, 0);
        sim_count(world->sim)->cuts++;
        break;
    case FAULT_PAUSE:
        if (!node->raft) break;
        node->paused_until = sim_now(world->sim) + fault->lasts;
        break;
    case FAULT_SLOW_WIRE: cut(world, a, b, fault->lasts, (time_ns)(fault->c % (uint64_t)NS_PER_S) + 1); break;
    case FAULT_OWN_1:
        if (node->raft && raft_is_leader(node->raft) && sim_now(world->sim) >= node->paused_until)
            step(node, (struct raft_event){.type = RAFT_EVENT_RESIGN, .epoch = node->raft->epoch});
        break;
    case FAULT_OWN_2:
        if (!node->raft || sim_now(world->sim) < node->paused_until) break;
        if (!sim_is_scheduled(&node->restart)) sim_at(world->sim, &node->restart, sim_now(world->sim) + fault->lasts, on_restart);
        step(node, (struct raft_event){.type = RAFT_EVENT_SHUTDOWN, .timeout_ms = 1000});
        break;
    default: break;
    }
}

/* ---- The run */
static bool is_live(void *context) {
    struct sim_raft *world = context;
    if (world->marker < 0) {
        struct raft_node *leader = some_leader(world);
        if (!leader || leader->high_watermark < 0) return false;
        world->marker = raft_check_committed(world) + 20;
    }
    for (uint32_t n = 0; n < world->nodes_count; n++)
        if (!world->nodes[n].raft || world->nodes[n].high_watermark < world->marker) return false;
    return true;
}

static void heal_everything(struct sim_raft *world) {
    while (!list_is_empty(&heals)) heal_free(LIST_ITEM(heals.next, struct heal, all));
    memset(world->cut, 0, sizeof world->cut);
    memset(world->slow, 0, sizeof world->slow);
    world->loss_percent = 0;
    world->delay_max_us = 10000;
    world->flush_max_us = 10000;
    for (uint32_t n = 0; n < world->nodes_count; n++) {
        struct raft_node *node = &world->nodes[n];
        node->paused_until = 0;
        node->crash_after = 0;
        sim_cancel(world->sim, &node->restart);
        if (!node->raft) node_start(node);
        else if (node->raft->shutting_down) { /* it would end, and nobody would start it any more */
            node_crash(node, false);
            node_start(node);
        }
    }
}

static void setup(struct sim_raft *world, struct run *run, uint32_t voters) {
    world->run = run;
    world->sim = run->sim;
    world->pool = sim_pool(run->sim);
    world->voters = voters;
    world->marker = -1;
    random_seed(&world->random, sim_fork_seed(run->sim));
    list_init(&world->messages);
    list_init(&world->waiting);
    list_init(&inbounds);
    list_init(&heals);
    world->dynamic = run_chance(run, "dynamic", 50);
    world->nodes_count = voters + (uint32_t)run_setting(run, "observers", 0, 2);
    world->snapshot_every = run_setting(run, "snapshot_every", 5, 60);
    world->fetch_entries = run_setting(run, "fetch_entries", 1, 12);
    world->delay_max_us = run_chance(run, "slow_net", 20) ? 400000 : 10000;
    world->loss_percent = run_chance(run, "lossy", 30) ? 10 : 0;
    world->flush_max_us = run_chance(run, "slow_disk", 20) ? 500000 : 10000;
    world->effects = pool_alloc(world->pool, sizeof *world->effects);
    assert(world->effects);
    world->check = raft_check_new(world);
    for (uint32_t n = 0; n < world->nodes_count; n++) {
        struct raft_node *node = &world->nodes[n];
        node->world = world;
        node->number = n;
        node->key = (struct raft_key){.id = (int32_t)n + 1, .directory = directory_of(n)};
        node->state = node->state_before = (struct raft_quorum_state){.leader_id = -1, .voted = RAFT_NO_KEY};
        node->rate_ppm = (int32_t)random_below(&world->random, 200001) - 100000;
        node->initial_voter = n < voters;
    }
    struct raft_voters *first = &world->sets[world->sets_count++];
    for (uint32_t n = 0; n < voters; n++) {
        struct raft_listener at = listener_of(&world->nodes[n]);
        struct raft_key key = world->nodes[n].key;
        if (!world->dynamic) key.directory = (struct uuid){{0}};
        bool ok = raft_voters_add(first, key, 0, world->dynamic ? 1 : 0, &at, 1);
        assert(ok);
    }
}

static void teardown(struct sim_raft *world) {
    struct run *run = world->run;
    for (uint32_t n = 0; n < world->nodes_count; n++) {
        node_crash(&world->nodes[n], false);
        sim_cancel(world->sim, &world->nodes[n].restart);
        entries_drop(world, &world->nodes[n].log);
    }
    while (!list_is_empty(&world->messages)) message_free(LIST_ITEM(world->messages.next, struct message, all));
    sim_cancel(world->sim, &world->client);
    sim_cancel(world->sim, &world->snapshotter);
    raft_check_free(world);
    pool_free(world->pool, world->effects, sizeof *world->effects);
    pool_free(sim_pool(run->sim), world, sizeof *world);
}

void sim_raft_run(struct run *run, uint32_t voters) {
    struct sim_raft *world = POOL_NEW(sim_pool(run->sim), struct sim_raft);
    assert(world);
    setup(world, run, voters);
    static const uint32_t weights[FAULT_KINDS] = {
        [FAULT_KILL] = 10, [FAULT_POWER] = 20, [FAULT_POWER_ALL] = 2, [FAULT_DISK_CUT] = 20, [FAULT_CUT_ONE_WAY] = 20,
        [FAULT_CUT_NODE] = 15, [FAULT_SPLIT] = 10, [FAULT_PAUSE] = 15, [FAULT_SLOW_WIRE] = 10, [FAULT_OWN_1] = 5, [FAULT_OWN_2] = 5};
    memcpy(run->weights, weights, sizeof weights);
    run->lasts_max = 30 * NS_PER_S;
    run->pause_min = 50 * NS_PER_MS;
    run->pause_max = 3 * NS_PER_S;
    for (uint32_t n = 0; n < world->nodes_count; n++) node_start(&world->nodes[n]);
    sim_at(run->sim, &world->client, NS_PER_MS, on_client);
    sim_at(run->sim, &world->snapshotter, NS_PER_MS, on_snapshotter);
    run_faults_begin(run, on_fault, world);
    if (run_faults_end(run)) {
        heal_everything(world);
        bool live = sim_run_while_not(run->sim, is_live, world, RUN_LIVE_WITHIN);
        if (!live && !sim_has_failed(run->sim))
            sim_fail(run->sim, "liveness", "60 s after all is well again, %lld is not committed everywhere (committed: %lld)",
                     (long long)world->marker, (long long)raft_check_committed(world));
    }
    if (!sim_has_failed(run->sim)) teardown(world);
}
