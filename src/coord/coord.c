#include "coord/coord_state.h"

/* ---- Open and close */

enum err coord_open(struct coord **out, const struct coord_options *options) {
    assert(options->requests_max > 0);
    struct coord *coord = POOL_NEW(options->pool, struct coord);
    if (!coord) return ERR_NO_MEMORY;
    coord->options = *options;
    struct coord_options *own = &coord->options;
    if (!own->load_bytes) own->load_bytes = COORD_LOAD_BYTES;
    if (!own->decision_bytes_max) own->decision_bytes_max = COORD_DECISION_BYTES;
    if (!own->error_loading) own->error_loading = KAFKA_COORDINATOR_LOAD_IN_PROGRESS;
    if (!own->error_lost) own->error_lost = KAFKA_NOT_COORDINATOR;
    if (!own->error_busy) own->error_busy = KAFKA_COORDINATOR_LOAD_IN_PROGRESS;
    arena_init(&coord->arena, own->pool, own->decision_bytes_max);
    list_init(&coord->taken);
    list_init(&coord->waiting);
    *out = coord;
    return ERR_NONE;
}

void coord_close(struct coord *coord) {
    if (!coord) return;
    coord_lost(coord);
    assert(coord->requests == 0);
    arena_destroy(&coord->arena);
    pool_free(coord->options.pool, coord, sizeof *coord);
}

/* ---- Decisions */

void coord_record_add(struct coord_decision *decision, struct span key, struct span value) {
    if (decision->failed) return;
    if (decision->count == decision->capacity) {
        uint32_t capacity = decision->capacity ? decision->capacity * 2 : 8;
        struct coord_record *records = ARENA_ARRAY(decision->arena, capacity, struct coord_record);
        if (!records) {
            decision->failed = true;
            return;
        }
        if (decision->count) memcpy(records, decision->records, decision->count * sizeof *records);
        decision->records = records;
        decision->capacity = capacity;
    }
    decision->records[decision->count++] = (struct coord_record){.key = key, .value = value};
}

void coord_complete(struct coord_decision *decision, struct coord_request *request) {
    assert(request->stage == COORD_REQUEST_TAKEN);
    request->stage = COORD_REQUEST_COMPLETED;
    list_remove(&request->node);
    list_push(&decision->completed, &request->node);
}

/* The struct is the caller's, so the list inside is only made a list at its final place: see DECIDE. */
struct coord_decision coord_decision_begin(struct coord *coord) {
    assert(!coord->deciding);
    coord->deciding = true;
    arena_reset(&coord->arena);
    return (struct coord_decision){.arena = &coord->arena, .producer_id = -1, .producer_epoch = -1};
}

static void complete_with_error(struct coord_decision *decision, enum kafka_error error) {
    LIST_EACH(node, &decision->completed) LIST_ITEM(node, struct coord_request, node)->error = error;
}

/* Appends and applies. False: the machine could not apply what is in the log now. */
static bool write_records(struct coord *coord, struct coord_decision *decision, const struct coord_now *now, bool *refused) {
    const struct coord_log *log = &coord->options.log;
    const struct coord_machine *machine = &coord->options.machine;
    bool is_marker = decision->marker != COORD_MARKER_NONE;
    assert(implies(is_marker, decision->count == 0));
    struct coord_batch batch = {
        .records = decision->records, .count = decision->count, .timestamp_ms = now->wall_ms,
        .producer_id = decision->producer_id, .producer_epoch = decision->producer_epoch,
        .marker = decision->marker, .coordinator_epoch = decision->coordinator_epoch, .is_bounded = decision->is_bounded,
    };
    log_offset end = -1;
    enum kafka_error error = log->append(log->self, &batch, &end);
    *refused = error != KAFKA_NONE;
    if (*refused) {
        complete_with_error(decision, coord_append_error(error));
        if (machine->refused) machine->refused(machine->self, now, error, decision);
        return true;
    }
    log_offset base = end - (is_marker ? 1 : decision->count);
    assert(base >= coord->applied);
    coord->applied = end;
    if (!machine->apply(machine->self, &batch, base, true)) return false;
    uint32_t written = decision->count;
    if (machine->applied) machine->applied(machine->self, now, decision);
    assert(decision->count == written);
    return true;
}

/* What was decided on what was applied must not be seen before that is committed: every completed request waits for
 * the log's end as the machine knew it, whether or not the decision had records of its own. */
void coord_carry_out(struct coord *coord, struct coord_decision *decision, const struct coord_now *now) {
    assert(coord->deciding);
    bool refused = false, whole = true;
    if (decision->failed) {
        complete_with_error(decision, coord->options.error_busy);
        refused = true;
    } else if (decision->count > 0 || decision->marker != COORD_MARKER_NONE) {
        whole = write_records(coord, decision, now, &refused);
    }
    if (refused) coord->tick_not_before = now->now_ms + COORD_PAUSE_MS;
    struct list *node;
    while ((node = list_pop(&decision->completed))) {
        struct coord_request *request = LIST_ITEM(node, struct coord_request, node);
        assert(request->stage == COORD_REQUEST_COMPLETED);
        request->wait_for = coord->applied;
        list_push(&coord->waiting, &request->node);
    }
    coord->deciding = false;
    if (!whole) {
        coord_reload(coord, now);
        return;
    }
    coord_committed(coord, coord->options.log.committed(coord->options.log.self));
    coord_release(coord);
}

/* ---- Requests */

static void answer(struct coord *coord, struct coord_request *request) {
    list_remove(&request->node);
    assert(coord->requests > 0);
    coord->requests--;
    request->stage = COORD_REQUEST_ANSWERED;
    request->reply(request);
}

/* One at a time from the front: a reply may bring the next request, and that may complete others. */
void coord_release(struct coord *coord) {
    while (!list_is_empty(&coord->waiting)) {
        struct coord_request *request = LIST_ITEM(coord->waiting.next, struct coord_request, node);
        if (request->wait_for > coord->committed) break;
        answer(coord, request);
    }
}

void coord_answer_all(struct coord *coord, enum kafka_error error) {
    struct list *lists[] = {&coord->waiting, &coord->taken};
    for (size_t i = 0; i < countof(lists); i++)
        while (!list_is_empty(lists[i])) {
            struct coord_request *request = LIST_ITEM(lists[i]->next, struct coord_request, node);
            request->error = error;
            answer(coord, request);
        }
}

void coord_request(struct coord *coord, struct coord_request *request, const struct coord_now *now) {
    list_init(&request->node);
    request->stage = COORD_REQUEST_TAKEN;
    request->error = KAFKA_NONE;
    if (coord->state != COORD_SERVING || coord->requests >= coord->options.requests_max) {
        request->error = coord->state == COORD_IDLE ? coord->options.error_lost
            : coord->state == COORD_LOADING ? coord->options.error_loading : coord->options.error_busy;
        request->stage = COORD_REQUEST_ANSWERED;
        request->reply(request);
        return;
    }
    coord->requests++;
    list_push(&coord->taken, &request->node);
    struct coord_decision decision = coord_decision_begin(coord);
    list_init(&decision.completed);
    coord->options.machine.decide(coord->options.machine.self, request, now, &decision);
    if (decision.failed && request->stage == COORD_REQUEST_TAKEN) coord_complete(&decision, request);
    coord_carry_out(coord, &decision, now);
}

void coord_committed(struct coord *coord, log_offset offset) {
    if (offset <= coord->committed) return;
    coord->committed = offset;
    if (coord->state == COORD_SERVING && coord->options.machine.committed)
        coord->options.machine.committed(coord->options.machine.self, offset);
    if (!coord->deciding) coord_release(coord);
}

/* ---- Leadership */

void coord_lost(struct coord *coord) {
    if (coord->state == COORD_IDLE) return;
    assert(!coord->deciding);
    coord->state = COORD_IDLE;
    coord->load++;
    coord->read_wanted = coord->read_pending = false;
    coord->options.machine.reset(coord->options.machine.self);
    coord_answer_all(coord, coord->options.error_lost);
}

void coord_won(struct coord *coord, const struct coord_now *now, log_offset from) {
    coord_lost(coord);
    coord->committed = coord->options.log.committed(coord->options.log.self);
    coord->reload_ms = COORD_RELOAD_MS_MIN;
    coord->tick_not_before = 0;
    coord_load_begin(coord, now, from);
}

/* ---- Time */

void coord_tick(struct coord *coord, const struct coord_now *now) {
    if (coord->state == COORD_LOADING) coord_load_tick(coord, now);
    const struct coord_machine *machine = &coord->options.machine;
    if (!machine->tick) return;
    for (int i = 0; i < COORD_TICKS_MAX && coord->state == COORD_SERVING; i++) {
        if (now->now_ms < coord->tick_not_before || machine->next_deadline(machine->self) > now->now_ms) break;
        struct coord_decision decision = coord_decision_begin(coord);
        list_init(&decision.completed);
        machine->tick(machine->self, now, &decision);
        coord_carry_out(coord, &decision, now);
    }
}

time_ms coord_next_deadline(const struct coord *coord) {
    if (coord->state == COORD_LOADING) return coord->read_wanted ? coord->read_not_before : INT64_MAX;
    const struct coord_machine *machine = &coord->options.machine;
    if (coord->state == COORD_IDLE || !machine->tick) return INT64_MAX;
    time_ms due = machine->next_deadline(machine->self);
    return due < coord->tick_not_before ? coord->tick_not_before : due;
}

/* ---- To look at */

enum coord_state coord_state(const struct coord *coord) { return coord->state; }

enum err coord_load_failure(const struct coord *coord, log_offset *at) {
    *at = coord->failure_at;
    return coord->state == COORD_LOADING ? coord->failure : ERR_NONE;
}
log_offset coord_applied(const struct coord *coord) { return coord->applied; }
uint32_t coord_waiting(const struct coord *coord) { return coord->requests; }

void coord_check(const struct coord *coord) {
    uint32_t requests = 0;
    log_offset before = -1;
    LIST_EACH(node, &coord->waiting) {
        const struct coord_request *request = LIST_ITEM(node, struct coord_request, node);
        assert(request->stage == COORD_REQUEST_COMPLETED);
        assert(request->wait_for >= before);
        assert(request->wait_for <= coord->applied);
        before = request->wait_for;
        requests++;
    }
    if (!coord->deciding && !list_is_empty(&coord->waiting))
        assert(LIST_ITEM(coord->waiting.next, struct coord_request, node)->wait_for > coord->committed);
    LIST_EACH(node, &coord->taken) {
        assert(LIST_ITEM(node, struct coord_request, node)->stage == COORD_REQUEST_TAKEN);
        requests++;
    }
    assert(requests == coord->requests);
    assert(coord->requests <= coord->options.requests_max);
    assert(implies(coord->state != COORD_SERVING, coord->requests == 0));
}

/* Clients look for a coordinator elsewhere on 16, ask again here on 14 and 15; what no retry can mend is -1. */
enum kafka_error coord_append_error(enum kafka_error of_append) {
    switch (of_append) {
    case KAFKA_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_NOT_ENOUGH_REPLICAS:
    case KAFKA_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case KAFKA_REQUEST_TIMED_OUT:
        return KAFKA_COORDINATOR_NOT_AVAILABLE;
    case KAFKA_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_KAFKA_STORAGE_ERROR:
        return KAFKA_NOT_COORDINATOR;
    case KAFKA_MESSAGE_TOO_LARGE:
    case KAFKA_RECORD_LIST_TOO_LARGE:
    case KAFKA_INVALID_FETCH_SIZE:
        return KAFKA_UNKNOWN_SERVER_ERROR;
    default:
        return of_append;
    }
}
