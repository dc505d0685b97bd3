#include "controller/machine.h"
#include "base/bytes.h"
#include <string.h>

/* ---- versions */

static struct version *version_of(struct list *node) {
    return LIST_ITEM(node, struct version, node);
}
struct version *machine_committed(const struct machine *machine) {
    return version_of(machine->versions.next);
}
struct version *machine_applied(const struct machine *machine) {
    return version_of(machine->versions.prev);
}

static void version_free(struct machine *machine, struct version *version) {
    list_remove(&version->node);
    image_drop(version->current);
    image_drop(version->visible);
    pool_free(machine->pool, version, sizeof *version);
}

/* What the delta has become is the newest version. */
static bool version_push(struct machine *machine, struct image_position position) {
    struct version *version = POOL_NEW(machine->pool, struct version);
    if (!version) return false;
    delta_set_position(machine->delta, position);
    list_init(&version->node);
    version->end = position.offset;
    version->in_transaction = delta_in_transaction(machine->delta);
    version->current = delta_current(machine->delta);
    version->visible = delta_visible(machine->delta);
    if (!version->current || !version->visible) {
        version_free(machine, version);
        return false;
    }
    list_push(&machine->versions, &version->node);
    return true;
}

enum err machine_init(struct machine *machine, struct pool *pool, const struct decide_settings *settings) {
    *machine = (struct machine){.pool = pool, .settings = *settings, .fencing = -1};
    list_init(&machine->versions);
    struct config_view view = {.values = settings->values, .broker = settings->node};
    sessions_init(&machine->sessions, pool, config_number(&view, KEY_broker_session_timeout_ms));
    machine->idle_interval_ms = config_number(&view, KEY_metadata_max_idle_interval_ms);
    if (config_flag(&view, KEY_auto_leader_rebalance_enable))
        machine->balance_interval_ms = config_number(&view, KEY_leader_imbalance_check_interval_seconds) * 1000;
    machine->unclean_interval_ms = config_number(&view, KEY_unclean_leader_election_interval_ms);
    struct image *empty = image_new(pool);
    machine->delta = empty ? delta_new(pool, empty) : NULL;
    image_drop(empty);
    if (machine->delta && version_push(machine, (struct image_position){.epoch = -1, .timestamp_ms = -1})) return ERR_NONE;
    machine_destroy(machine);
    return ERR_NO_MEMORY;
}

void machine_destroy(struct machine *machine) {
    LIST_EACH_SAFE(node, &machine->versions) version_free(machine, version_of(node));
    delta_free(machine->delta);
    machine->delta = NULL;
    sessions_clear(&machine->sessions);
}

void machine_commit(struct machine *machine, log_offset offset) {
    struct version *committed = machine_committed(machine);
    while (committed->node.next != &machine->versions && version_of(committed->node.next)->end <= offset) {
        version_free(machine, committed);
        committed = machine_committed(machine);
    }
}

/* ---- applying */

static bool break_down(struct machine *machine, log_offset offset) {
    struct text why;
    text_init(&why, machine->why, sizeof machine->why);
    text_add(&why, "the metadata record at offset %lld: %s", (long long)offset, delta_error(machine->delta));
    machine->broken = true;
    return false;
}

static bool apply_values(struct machine *machine, const struct span *values, uint32_t count, log_offset base) {
    struct arena scratch;
    arena_init(&scratch, machine->pool, 0);
    enum err err = ERR_NONE;
    uint32_t i = 0;
    for (; i < count && !err; i++) {
        err = delta_apply(machine->delta, values[i], &scratch);
        arena_reset(&scratch);
    }
    arena_destroy(&scratch);
    if (err && err != ERR_NO_MEMORY) break_down(machine, base + i - 1);
    return !err;
}

bool machine_follow(struct machine *machine, const struct span *values, uint32_t count, struct image_position after) {
    if (after.offset <= machine_applied(machine)->end) return true; /* this node has written it itself */
    if (!apply_values(machine, values, count, after.offset - count) || !version_push(machine, after)) return false;
    machine_commit(machine, after.offset);
    return true;
}

bool machine_clear(struct machine *machine) {
    return delta_clear(machine->delta) == ERR_NONE;
}
bool machine_load_snapshot(struct machine *machine, const struct span *values, uint32_t count) {
    return apply_values(machine, values, count, 0);
}
bool machine_end_snapshot(struct machine *machine, struct image_position position) {
    if (!version_push(machine, position)) return false;
    while (machine->versions.next != machine->versions.prev) version_free(machine, machine_committed(machine));
    return true;
}

/* Where a broker's registration lies: its broker has caught up when it has read it. Framed: 1, type 0, version, int32 id. */
static void note_registration(struct machine *machine, struct span value, log_offset offset) {
    if (value.size < 7 || value.data[1] != 0) return;
    struct session *session = sessions_get(&machine->sessions, (broker_id)load_be32(value.data + 3));
    if (session) session->registered_at = offset;
}

static bool coord_apply(void *self, const struct coord_batch *batch, log_offset base, bool live) {
    struct machine *machine = self;
    log_offset end = base + batch->count;
    if (end <= machine_applied(machine)->end) return true; /* a reload begins before what is there */
    struct image *before = image_hold(machine_applied(machine)->current);
    struct arena arena;
    arena_init(&arena, machine->pool, 0);
    struct span *values = ARENA_ARRAY(&arena, batch->count ? batch->count : 1, struct span);
    bool ok = values != NULL;
    for (uint32_t i = 0; ok && i < batch->count; i++) {
        values[i] = batch->records[i].value;
        note_registration(machine, values[i], base + i);
    }
    ok = ok && apply_values(machine, values, batch->count, base) &&
         version_push(machine, (struct image_position){.offset = end, .epoch = machine->epoch, .timestamp_ms = batch->timestamp_ms});
    if (ok && machine->loaded) ok = sessions_count(&machine->sessions, before, machine_applied(machine)->current);
    arena_destroy(&arena);
    image_drop(before);
    (void)live;
    return ok;
}

/* Back to what is committed. */
static void coord_reset(void *self) {
    struct machine *machine = self;
    struct version *committed = machine_committed(machine);
    while (machine_applied(machine) != committed) version_free(machine, machine_applied(machine));
    struct delta *back = committed->in_transaction ? delta_new_inside(machine->pool, committed->current, committed->visible)
                                                   : delta_new(machine->pool, committed->current);
    if (back) {
        delta_free(machine->delta);
        machine->delta = back;
    } else if (!machine->broken) { /* the delta is ahead of the log, and there is no memory for another */
        struct text why;
        text_init(&why, machine->why, sizeof machine->why);
        text_add(&why, "no memory to go back to the committed metadata");
        machine->broken = true;
    }
    sessions_clear(&machine->sessions);
    machine->loaded = machine->activated = false;
    machine->fencing = -1;
    machine->sweep_leaderless = false;
}

/* ---- deciding */

static struct decide decide_begin(struct machine *machine, const struct coord_now *now, struct coord_decision *out, struct arena *answer) {
    return (struct decide){
        .image = machine_applied(machine)->current, .settings = &machine->settings, .sessions = &machine->sessions, .now_ms = now->now_ms,
        .random = now->random, .next_offset = machine->log_end(machine->log), .arena = out->arena, .answer = answer,
    };
}

static void decide_end(struct machine *machine, struct decide *d, const struct coord_now *now, struct coord_decision *out) {
    if (d->failed) out->failed = true;
    for (uint32_t i = 0; i < d->count && !out->failed; i++) coord_record_add(out, (struct span){0}, d->records[i]);
    if (d->count) machine->idle_since_ms = now->now_ms;
    if (d->unfinished) machine->sweep_leaderless = true;
}

bool machine_knows(int16_t api_key) {
    static const int16_t keys[] = {19, 20, 33, 37, 43, 44, 45, 46, 56, 57, 62, 63, 64, 67, 70, 73, 94};
    for (size_t i = 0; i < countof(keys); i++)
        if (keys[i] == api_key) return true;
    return false;
}

/* An error of the call as a whole, told in every topic that it names. */
static void refuse_deletions(struct decide *d, const struct controller_request *r, enum kafka_error error) {
    const struct delete_topics_request *in = r->request;
    struct delete_topics_response *out = r->response;
    int32_t count = r->version >= 6 ? in->topics_count : in->topic_names_count;
    out->responses = decide_answer_alloc(d, (size_t)count, sizeof *out->responses);
    if (!out->responses) return;
    out->responses_count = count;
    for (int32_t i = 0; i < count; i++) {
        delete_topics_response_deletable_topic_result_init(&out->responses[i]);
        out->responses[i].name = r->version >= 6 ? in->topics[i].name : in->topic_names[i];
        if (r->version >= 6) out->responses[i].topic_id = in->topics[i].topic_id;
        out->responses[i].error_code = (int16_t)error;
    }
}

static void answer_request(struct decide *d, struct controller_request *r) {
    const void *in = r->request;
    void *out = r->response;
    enum kafka_error error;
    switch (r->api_key) {
    case 19: decide_create_topics(d, r->version, in, out); return;
    case 20:
        error = decide_delete_topics(d, r->version, in, out);
        if (error) refuse_deletions(d, r, error);
        return;
    case 33: decide_alter_configs(d, in, out); return;
    case 37: decide_create_partitions(d, in, out); return;
    case 43: decide_elect_leaders(d, in, out); return;
    case 44: decide_incremental_alter_configs(d, in, out); return;
    case 45: decide_alter_reassignments(d, in, out); return;
    case 46: decide_list_reassignments(d, in, out); return;
    case 56: decide_alter_partition(d, r->version, in, out); return;
    case 57: decide_update_features(d, r->version, in, out); return;
    case 62: ((struct broker_registration_response *)out)->error_code = (int16_t)decide_register_broker(d, in, out, r->former_is_gone); return;
    case 63: ((struct broker_heartbeat_response *)out)->error_code = (int16_t)decide_heartbeat(d, in, out); return;
    case 64: ((struct unregister_broker_response *)out)->error_code = (int16_t)decide_unregister_broker(d, in, out); return;
    case 67: ((struct allocate_producer_ids_response *)out)->error_code = (int16_t)decide_allocate_producer_ids(d, in, out); return;
    case 70: ((struct controller_registration_response *)out)->error_code = (int16_t)decide_register_controller(d, in, out); return;
    case 73: decide_assign_replicas(d, in, out); return;
    case 94: ((struct unregister_controller_response *)out)->error_code = (int16_t)decide_unregister_controller(d, in, out); return;
    default: never("an API that the controller does not serve");
    }
}

static void coord_decide(void *self, struct coord_request *request, const struct coord_now *now, struct coord_decision *out) {
    struct machine *machine = self;
    struct controller_request *r = container_of(request, struct controller_request, coord);
    struct decide d = decide_begin(machine, now, out, r->arena);
    answer_request(&d, r);
    decide_end(machine, &d, now, out);
    coord_complete(out, request);
}

/* ---- what falls due */

static void coord_loaded(void *self, const struct coord_now *now, struct coord_decision *out) {
    struct machine *machine = self;
    const struct image *image = machine_applied(machine)->current;
    machine->loaded = true;
    if (!sessions_count(&machine->sessions, NULL, image)) out->failed = true;
    /* Who was there is given a whole session: this controller cannot know for how long it was not heard of. */
    for (const struct image_broker *broker = NULL; (broker = image_broker_next(image, broker));) {
        struct session *session = broker->fenced ? NULL : sessions_get(&machine->sessions, broker->id);
        if (session) sessions_touch(session, now->now_ms, -1);
    }
    machine->idle_since_ms = now->now_ms;
    machine->balance_ms = now->now_ms + machine->balance_interval_ms;
    machine->unclean_ms = now->now_ms + machine->unclean_interval_ms;
    machine->sweep_leaderless = machine->sessions.leaderless > 0;
}

static bool must_register(const struct machine *machine) {
    const struct image *image = machine_applied(machine)->current;
    if (!mv_has_controller_registration(image_metadata_version(image)) || machine->registration.listeners_count == 0) return false;
    const struct image_controller *own = image_controller(image, machine->settings.node);
    return !own || !uuid_equal(own->incarnation, machine->registration.incarnation_id);
}

static time_ms due(time_ms at, time_ms interval) {
    return interval > 0 ? at : INT64_MAX;
}

static time_ms coord_next_deadline_of(void *self) {
    struct machine *machine = self;
    if (!machine->loaded) return INT64_MAX;
    if (!machine->activated || machine->fencing >= 0 || machine->sweep_leaderless || must_register(machine)) return 0;
    time_ms next = due(machine->idle_since_ms + machine->idle_interval_ms, machine->idle_interval_ms), expiry;
    (void)sessions_expired(&machine->sessions, machine_applied(machine)->current, INT64_MIN, &expiry);
    if (expiry < next) next = expiry;
    time_ms balance = due(machine->balance_ms, machine->balance_interval_ms), unclean = due(machine->unclean_ms, machine->unclean_interval_ms);
    if (machine->sessions.unbalanced && balance < next) next = balance;
    if (machine->sessions.leaderless && unclean < next) next = unclean;
    return next;
}

/* One thing at a time, the most urgent first: coord asks again as long as something is due. */
static void tick_one(struct machine *machine, struct decide *d) {
    if (!machine->activated) {
        decide_activate(d, delta_in_transaction(machine->delta), machine->bootstrap, machine->bootstrap_count);
        if (!d->failed) machine->activated = true;
        return;
    }
    time_ms next;
    broker_id expired = machine->fencing >= 0 ? machine->fencing : sessions_expired(&machine->sessions, d->image, d->now_ms, &next);
    if (expired >= 0) {
        machine->fencing = decide_fence(d, expired) ? -1 : expired;
        return;
    }
    if (machine->sweep_leaderless) {
        struct sweep sweep = {.remove = -1, .add = -1, .unclean = -1, .leaderless = true};
        machine->sweep_leaderless = !decide_sweep(d, &sweep);
        return;
    }
    if (must_register(machine)) {
        struct controller_registration_response response;
        (void)decide_register_controller(d, &machine->registration, &response);
        return;
    }
    if (machine->sessions.unbalanced && due(machine->balance_ms, machine->balance_interval_ms) <= d->now_ms) {
        if (decide_balance_leaders(d) < DECIDE_ELECTIONS_MAX) machine->balance_ms = d->now_ms + machine->balance_interval_ms;
        return;
    }
    if (machine->sessions.leaderless && due(machine->unclean_ms, machine->unclean_interval_ms) <= d->now_ms) {
        if (decide_elect_unclean(d) < DECIDE_ELECTIONS_MAX) machine->unclean_ms = d->now_ms + machine->unclean_interval_ms;
        return;
    }
    if (due(machine->idle_since_ms + machine->idle_interval_ms, machine->idle_interval_ms) <= d->now_ms) decide_no_op(d);
}

static void coord_tick_of(void *self, const struct coord_now *now, struct coord_decision *out) {
    struct machine *machine = self;
    struct decide d = decide_begin(machine, now, out, out->arena);
    tick_one(machine, &d);
    decide_end(machine, &d, now, out);
}

/* The activation's records were not written: they are due again. */
static void coord_refused(void *self, const struct coord_now *now, enum kafka_error error, struct coord_decision *out) {
    struct machine *machine = self;
    (void)now;
    (void)error;
    (void)out;
    if (image_metadata_version(machine_applied(machine)->current) == 0 || delta_in_transaction(machine->delta)) machine->activated = false;
    if (machine->sessions.leaderless) machine->sweep_leaderless = true;
}

struct coord_machine machine_for_coord(struct machine *machine) {
    return (struct coord_machine){
        .self = machine, .decide = coord_decide, .apply = coord_apply, .refused = coord_refused, .tick = coord_tick_of,
        .next_deadline = coord_next_deadline_of, .loaded = coord_loaded, .reset = coord_reset,
    };
}

void machine_check(const struct machine *machine) {
    assert(!list_is_empty(&machine->versions));
    log_offset end = -1;
    LIST_EACH(node, &machine->versions) {
        const struct version *version = LIST_ITEM(node, struct version, node);
        assert(version->end > end || end == -1);
        end = version->end;
        assert(image_position(version->current).offset == version->end);
        assert(version->in_transaction || image_hash(version->current) == image_hash(version->visible));
    }
    image_check(machine_applied(machine)->current);
}
