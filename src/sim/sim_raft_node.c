/* sim/sim_raft_node.c - the hosts of the machines: messages, effects carried out on an array of entries, starts and crashes. */
#include "sim/sim_raft.h"
#include "base/hash.h"
#include <stdio.h>
#include <string.h>

enum { SNAPSHOT_BYTES = 300, PIECE_BYTES_MAX = 120 };

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
    else node_step(node, (struct raft_event){.type = RAFT_EVENT_TICK});
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
    node_step(node, (struct raft_event){.type = RAFT_EVENT_REQUEST, .request = &request});
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
    node_step(node, (struct raft_event){.type = RAFT_EVENT_RESPONSE, .response = response});
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
    node_step(node, (struct raft_event){.type = RAFT_EVENT_DURABLE, .log = {.end = end}});
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

void node_step(struct raft_node *node, struct raft_event event) {
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

struct raft_listener node_listener(const struct raft_node *node) {
    return (struct raft_listener){SPAN_LITERAL("CONTROLLER"), span_text(node_names[node->number]), (uint16_t)(9000 + node->number)};
}

void node_start(struct raft_node *node) {
    struct sim_raft *world = node->world;
    struct raft_options options;
    raft_options_default(&options);
    options.self = node->key;
    options.can_vote = true;
    options.cluster_id = SPAN_LITERAL("simulated");
    options.default_listener = SPAN_LITERAL("CONTROLLER");
    options.bootstrap_count = world->nodes_count; /* else the voters may move to where nobody looks for them */
    bool ok = raft_listeners_add(&options.listeners, node_listener(node));
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
    for (uint32_t i = 0; i < reports.count; i++) node_step(node, reports.events[i]);
    if (!node->raft) return;
    flush(node);
    tick_schedule(node);
}

void node_crash(struct raft_node *node, bool power) {
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

void node_restart_after(struct raft_node *node, time_ns after) {
    struct sim *sim = node->world->sim;
    if (!sim_is_scheduled(&node->restart)) sim_at(sim, &node->restart, sim_now(sim) + after, on_restart);
}

void node_crash_and_restart(struct raft_node *node, bool power, time_ns after) {
    node_crash(node, power);
    node_restart_after(node, after);
}

/* ---- What a leader is asked for, and every node does now and then */
void node_append(struct raft_node *node, uint32_t count) {
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
    for (uint32_t i = 0; i < reports.count; i++) node_step(node, reports.events[i]);
}

void node_snapshot(struct raft_node *node) {
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
    node_step(node, (struct raft_event){.type = RAFT_EVENT_SNAPSHOT, .snapshot = snapshot.id});
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
    node_step(node, (struct raft_event){.type = RAFT_EVENT_LOG_START, .start = {.start = node->start, .earliest = node->snapshots[0].id,
         .latest = node->snapshots[node->snapshots_count - 1].id}});
}

/* ---- All of them */
void raft_nodes_open(struct sim_raft *world) {
    list_init(&world->messages);
    list_init(&world->waiting);
    list_init(&inbounds);
    for (uint32_t n = 0; n < world->nodes_count; n++) {
        struct raft_node *node = &world->nodes[n];
        node->world = world;
        node->number = n;
        node->key = (struct raft_key){.id = (int32_t)n + 1, .directory = directory_of(n)};
        node->state = node->state_before = (struct raft_quorum_state){.leader_id = -1, .voted = RAFT_NO_KEY};
        node->rate_ppm = (int32_t)random_below(&world->random, 200001) - 100000;
        node->initial_voter = n < world->voters;
    }
}

void raft_nodes_close(struct sim_raft *world) {
    for (uint32_t n = 0; n < world->nodes_count; n++) {
        node_crash(&world->nodes[n], false);
        sim_cancel(world->sim, &world->nodes[n].restart);
        entries_drop(world, &world->nodes[n].log);
    }
    while (!list_is_empty(&world->messages)) message_free(LIST_ITEM(world->messages.next, struct message, all));
}
