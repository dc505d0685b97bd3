#include "controller/machine.h"
#include <string.h>

enum { REQUESTS_MAX = 4096, READ_BYTES = 1 << 20 };

struct controller {
    struct controller_options options;
    struct pool *pool;                  /* borrows: the shard's */
    struct quorum *quorum;              /* borrows; NULL until started */
    struct quorum_listener listener;
    struct machine machine;
    struct coord *coord;
    struct random random;
    struct timer timer;
    struct arena arena;                 /* the bootstrap records, and what this controller registers as */
    struct arena scratch;               /* one append, one read */
    struct span *bootstrap;
    uint32_t bootstrap_count, bootstrap_capacity;
    log_offset delivered;               /* the end of what the quorum has handed up */
    bool leads, reading, failed, closing;
    bool in_bootstrap;                  /* the records that come are what format wrote */
    struct raft_snapshot_id snapshot;   /* being loaded */
    uint64_t load, read_load;           /* the load that wants to be read; the one that the read under way is for */
    leader_epoch epoch;                 /* as leader */
    struct quorum_read read;
    struct list asked;                  /* requests of this turn, and those that came while this controller takes over */
    uint32_t asked_count;
    struct list answered;               /* answers that are ready: told at the turn's end */
    struct turn_hook hook;
    struct quorum_upgrade upgrade;      /* of kraft.version: one at a time */
    struct controller_request *upgrading; /* for whom; NULL: nobody */
};

static void pump(struct controller *controller);
static void wake(struct controller *controller);
static void answer_later(struct controller *controller, struct controller_request *request, enum kafka_error error);

static struct coord_now now_of(struct controller *controller) {
    struct shard *shard = controller->options.shard;
    return (struct coord_now){.now_ms = shard_now(shard) / NS_PER_MS, .wall_ms = shard_wall(shard), .random = &controller->random};
}

static void fail(struct controller *controller, const char *why) {
    if (controller->failed) return;
    controller->failed = true;
    if (controller->leads) quorum_resign(controller->quorum, quorum_epoch(controller->quorum));
    if (controller->options.on_failed) controller->options.on_failed(controller->options.context, why);
}

static void check_machine(struct controller *controller) {
    if (controller->machine.broken) fail(controller, controller->machine.why);
}

/* ---- the log, as coord sees it */

static enum kafka_error metadata_append(void *self, const struct coord_batch *batch, log_offset *end) {
    struct controller *controller = self;
    struct span *values = ARENA_ARRAY(&controller->scratch, batch->count, struct span);
    if (!values) return KAFKA_UNKNOWN_SERVER_ERROR;
    for (uint32_t i = 0; i < batch->count; i++) values[i] = batch->records[i].value;
    log_offset last;
    enum err err = quorum_append(controller->quorum, controller->epoch, values, batch->count, &last);
    arena_reset(&controller->scratch);
    if (err == ERR_NONE) *end = last + 1;
    switch (err) {
    case ERR_NONE: return KAFKA_NONE;
    case ERR_LIMIT: return KAFKA_POLICY_VIOLATION;
    default: return KAFKA_NOT_CONTROLLER; /* not, or not now: the client looks for it again */
    }
}

static void read_done(struct quorum_read *read, enum err err, const struct quorum_batch *batches, uint32_t count, log_offset next) {
    struct controller *controller = container_of(read, struct controller, read);
    controller->reading = false;
    struct coord_now now = now_of(controller);
    if (controller->read_load != controller->load) err = ERR_AGAIN; /* another load began meanwhile, from another place */
    uint32_t records = 0;
    for (uint32_t i = 0; !err && i < count; i++) records += batches[i].count;
    struct coord_batch *batch = ARENA_ARRAY(&controller->scratch, count + 1, struct coord_batch);
    struct coord_record *record = ARENA_ARRAY(&controller->scratch, records + 1, struct coord_record);
    log_offset *bases = ARENA_ARRAY(&controller->scratch, count + 1, log_offset);
    uint32_t wanted = 0; /* control batches have no records: they only move the offset */
    if (!err && (!batch || !record || !bases)) err = ERR_NO_MEMORY;
    for (uint32_t i = 0; !err && i < count; i++) {
        if (batches[i].count == 0) continue;
        for (uint32_t k = 0; k < batches[i].count; k++) record[k] = (struct coord_record){.value = batches[i].values[k]};
        batch[wanted] = (struct coord_batch){.records = record, .count = batches[i].count, .timestamp_ms = batches[i].timestamp,
                                             .producer_id = -1, .producer_epoch = -1};
        bases[wanted++] = batches[i].base;
        record += batches[i].count;
        controller->machine.epoch = batches[i].epoch;
    }
    coord_read_done(controller->coord, &now, controller->load, err, batch, bases, wanted, next);
    arena_reset(&controller->scratch);
    controller->machine.epoch = controller->epoch;
    wake(controller);
}

static void metadata_read(void *self, log_offset from, uint32_t bytes_max, uint64_t load) {
    struct controller *controller = self;
    controller->load = load;
    if (controller->reading) return; /* for a load that is over: when it ends, this one is asked again */
    controller->reading = true;
    controller->read_load = load;
    controller->read = (struct quorum_read){.from = from, .bytes_max = bytes_max ? bytes_max : READ_BYTES, .done = read_done};
    quorum_read(controller->quorum, &controller->read);
}

static log_offset metadata_end(void *self) {
    struct controller *controller = self;
    return quorum_end(controller->quorum);
}

/* Not the high watermark: what is committed counts when it has been handed up, so that the committed version, snapshots
 * and answers all speak of the same point. */
static log_offset metadata_committed(void *self) {
    return ((struct controller *)self)->delivered;
}

/* ---- what falls due */

static void on_timer(struct timer *timer) {
    struct controller *controller = container_of(timer, struct controller, timer);
    pump(controller);
}

/* ---- kraft.version is no record of this log's kind: what was decided of it is handed to the quorum before the answer goes */

static const struct update_features_request_feature_update_key *kraft_update(const struct controller_request *request) {
    const struct update_features_request *in = request->request;
    for (int32_t i = 0; request->api_key == API_UPDATE_FEATURES && i < in->feature_updates_count; i++)
        if (span_equal(in->feature_updates[i].feature, SPAN_LITERAL(FEATURE_KRAFT))) return &in->feature_updates[i];
    return NULL;
}

static void refuse_upgrade(struct controller_request *request, const char *why) {
    struct update_features_response *out = request->response;
    struct span words = span_text(why ? why : "kraft.version could not be changed");
    const void *copy = arena_copy(request->arena, words.data, words.size);
    update_features_response_init(out);
    out->error_code = KAFKA_INVALID_UPDATE_VERSION;
    out->error_message = span_of(copy, copy ? words.size : 0);
}

static void upgraded(struct quorum_upgrade *upgrade, enum kafka_error error, const char *why) {
    struct controller *controller = container_of(upgrade, struct controller, upgrade);
    struct controller_request *request = controller->upgrading;
    controller->upgrading = NULL;
    if (error == KAFKA_INVALID_UPDATE_VERSION) refuse_upgrade(request, why);
    answer_later(controller, request, error && error != KAFKA_INVALID_UPDATE_VERSION ? KAFKA_NOT_CONTROLLER : KAFKA_NONE);
}

/* True: the answer comes later. */
static bool begin_upgrade(struct controller *controller, struct controller_request *request) {
    const struct update_features_request_feature_update_key *update = kraft_update(request);
    if (request->coord.error || request->upgraded || !update) return false;
    const struct update_features_response *out = request->response;
    if (out->error_code || controller->closing || !controller->quorum) return false;
    request->upgraded = true;
    if (controller->upgrading) {
        refuse_upgrade(request, "another change of kraft.version is under way");
        return false;
    }
    controller->upgrading = request;
    controller->upgrade = (struct quorum_upgrade){
        .version = update->max_version_level, .validate_only = ((const struct update_features_request *)request->request)->validate_only, .done = upgraded};
    quorum_upgrade(controller->quorum, &controller->upgrade);
    return true;
}

static void tell_answers(struct controller *controller) {
    struct list *node;
    while ((node = list_pop(&controller->answered))) {
        struct controller_request *request = LIST_ITEM(node, struct controller_request, node);
        if (!begin_upgrade(controller, request)) request->done(request, request->coord.error);
    }
}

/* Nothing is appended from within what the quorum hands up, or from within somebody's call: both would find the quorum,
 * or this controller, in the middle of something. */
static void on_turn_end(struct turn_hook *hook) {
    struct controller *controller = container_of(hook, struct controller, hook);
    pump(controller);
    tell_answers(controller);
}

static void wake(struct controller *controller) {
    if (!controller->closing) turn_end(controller->options.shard, &controller->hook, on_turn_end);
}

static void answer_later(struct controller *controller, struct controller_request *request, enum kafka_error error) {
    request->coord.error = error;
    list_push(&controller->answered, &request->node);
    wake(controller);
}

static void reply(struct coord_request *coord_request) {
    struct controller_request *request = container_of(coord_request, struct controller_request, coord);
    answer_later(request->controller, request, coord_request->error);
}

bool controller_is_active(const struct controller *controller) {
    return controller->leads && !controller->failed && coord_state(controller->coord) == COORD_SERVING && controller->machine.activated;
}

static void refuse_asked(struct controller *controller) {
    struct list *node;
    while ((node = list_pop(&controller->asked))) answer_later(controller, LIST_ITEM(node, struct controller_request, node), KAFKA_NOT_CONTROLLER);
    controller->asked_count = 0;
}

/* Takes up what is due, and asks to be woken for what is not. */
static void pump(struct controller *controller) {
    if (controller->closing || !controller->quorum) return;
    struct coord_now now = now_of(controller);
    coord_tick(controller->coord, &now);
    if (controller_is_active(controller)) {
        struct list *node;
        while ((node = list_pop(&controller->asked))) {
            struct controller_request *request = LIST_ITEM(node, struct controller_request, node);
            controller->asked_count--;
            coord_request(controller->coord, &request->coord, &now);
        }
    } else if (!controller->leads) {
        refuse_asked(controller);
    }
    check_machine(controller);
    time_ms due = controller->failed ? INT64_MAX : coord_next_deadline(controller->coord);
    if (due == INT64_MAX) {
        timer_cancel(controller->options.shard, &controller->timer);
        return;
    }
    time_ns at = due > INT64_MAX / NS_PER_MS ? INT64_MAX : due * NS_PER_MS, soonest = shard_now(controller->options.shard);
    if (!timer_set(controller->options.shard, &controller->timer, at > soonest ? at : soonest, on_timer)) fail(controller, "no memory for a timer");
}

/* ---- what the quorum hands up */

static struct controller *of(struct quorum_listener *listener) {
    return container_of(listener, struct controller, listener);
}

static void publish(struct controller *controller) {
    if (controller->options.on_image && !machine_committed(&controller->machine)->in_transaction)
        controller->options.on_image(controller->options.context, controller_image(controller));
}

static void collect_bootstrap(struct controller *controller, const struct quorum_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        if (controller->bootstrap_count == controller->bootstrap_capacity) {
            uint32_t capacity = controller->bootstrap_capacity ? controller->bootstrap_capacity * 2 : 16;
            struct span *more = ARENA_ARRAY(&controller->arena, capacity, struct span);
            if (!more) {
                fail(controller, "no memory for the bootstrap records");
                return;
            }
            if (controller->bootstrap_count) memcpy(more, controller->bootstrap, controller->bootstrap_count * sizeof *more);
            controller->bootstrap = more;
            controller->bootstrap_capacity = capacity;
        }
        void *copy = arena_copy(&controller->arena, batch->values[i].data, batch->values[i].size);
        if (!copy) {
            fail(controller, "no memory for the bootstrap records");
            return;
        }
        controller->bootstrap[controller->bootstrap_count++] = (struct span){copy, batch->values[i].size};
    }
    controller->machine.bootstrap = controller->bootstrap;
    controller->machine.bootstrap_count = controller->bootstrap_count;
}

static void on_snapshot_begin(struct quorum_listener *listener, struct raft_snapshot_id id, bool bootstrap) {
    struct controller *controller = of(listener);
    controller->in_bootstrap = bootstrap;
    controller->snapshot = id;
    if (!bootstrap && !machine_clear(&controller->machine)) fail(controller, "no memory to load a snapshot of the metadata");
}

static void on_snapshot_records(struct quorum_listener *listener, const struct quorum_batch *batch) {
    struct controller *controller = of(listener);
    if (controller->failed) return;
    if (controller->in_bootstrap) collect_bootstrap(controller, batch);
    else if (!machine_load_snapshot(&controller->machine, batch->values, batch->count)) {
        check_machine(controller);
        fail(controller, "no memory to load a snapshot of the metadata");
    }
}

static void on_snapshot_end(struct quorum_listener *listener, bool ok) {
    struct controller *controller = of(listener);
    bool bootstrap = controller->in_bootstrap;
    controller->in_bootstrap = false;
    if (bootstrap || !ok || controller->failed) return;
    controller->delivered = controller->snapshot.offset;
    struct image_position position = {.offset = controller->snapshot.offset, .epoch = controller->snapshot.epoch, .timestamp_ms = -1};
    if (!machine_end_snapshot(&controller->machine, position)) fail(controller, "no memory to load a snapshot of the metadata");
    else publish(controller);
}

static void on_commit(struct quorum_listener *listener, const struct quorum_batch *batch) {
    struct controller *controller = of(listener);
    if (controller->failed) return;
    controller->delivered = batch->last + 1;
    struct image_position after = {.offset = batch->last + 1, .epoch = batch->epoch, .timestamp_ms = batch->timestamp};
    if (batch->count > 0 && !machine_follow(&controller->machine, batch->values, batch->count, after)) {
        check_machine(controller);
        fail(controller, "no memory to follow the metadata");
        return;
    }
    machine_commit(&controller->machine, controller->delivered);
    if (batch->count > 0) publish(controller);
    coord_committed(controller->coord, controller->delivered);
    wake(controller);
}

static void on_leader(struct quorum_listener *listener, leader_epoch epoch, broker_id leader) {
    struct controller *controller = of(listener);
    bool leads = leader == controller->options.node && !controller->failed;
    if (controller->leads && (!leads || epoch != controller->epoch)) {
        controller->leads = false;
        coord_lost(controller->coord);
    }
    if (leads && !controller->leads) {
        struct coord_now now = now_of(controller);
        controller->leads = true;
        controller->epoch = controller->machine.epoch = epoch;
        coord_won(controller->coord, &now, controller->delivered);
    }
    wake(controller);
}

static void on_quorum_failed(struct quorum_listener *listener, const char *why) {
    struct controller *controller = of(listener);
    controller->leads = false;
    coord_lost(controller->coord);
    refuse_asked(controller);
    fail(controller, why);
}

/* ---- snapshots: of the version that ends where the quorum says */


static void *snapshot_begin_at(struct quorum_listener *listener, log_offset end) {
    struct controller *controller = of(listener);
    struct version *committed = machine_committed(&controller->machine);
    if (controller->failed || committed->in_transaction || committed->end > end) return NULL;
    return snapshot_walk_new(controller->pool, committed->visible);
}

static int32_t snapshot_next_values(struct quorum_listener *listener, void *handle, struct arena *arena, struct span *values, uint32_t max) {
    (void)listener;
    return snapshot_walk_next(handle, arena, values, max);
}

static void snapshot_end_walk(struct quorum_listener *listener, void *handle, bool taken) {
    (void)listener;
    (void)taken;
    snapshot_walk_free(handle);
}

/* ---- open and close */

/* What this controller registers as: every feature that it knows, its listeners. */
static bool prepare_registration(struct controller *controller) {
    struct controller_registration_request *r = &controller->machine.registration;
    const struct controller_options *options = &controller->options;
    controller_registration_request_init(r);
    r->controller_id = options->node;
    r->incarnation_id = options->incarnation;
    r->listeners = controller_registration_request_listener_array(&controller->arena, (int32_t)options->endpoint_count);
    r->features = controller_registration_request_feature_array(&controller->arena, FEATURES_COUNT);
    if (!r->listeners || !r->features) return false;
    for (uint32_t i = 0; i < options->endpoint_count; i++) {
        r->listeners[i].name = options->endpoints[i].name;
        r->listeners[i].host = options->endpoints[i].host;
        r->listeners[i].port = options->endpoints[i].port;
        r->listeners[i].security_protocol = options->endpoints[i].security;
    }
    r->listeners_count = (int32_t)options->endpoint_count;
    for (uint32_t i = 0; i < FEATURES_COUNT; i++) {
        r->features[i].name = span_text(features[i].name);
        r->features[i].min_supported_version = features[i].min;
        r->features[i].max_supported_version = features[i].max;
    }
    r->features_count = FEATURES_COUNT;
    return true;
}

enum err controller_open(struct controller **out, const struct controller_options *options) {
    struct pool *pool = options->shard->pool;
    struct controller *controller = POOL_NEW(pool, struct controller);
    if (!controller) return ERR_NO_MEMORY;
    controller->options = *options;
    controller->pool = pool;
    arena_init(&controller->arena, pool, 0);
    arena_init(&controller->scratch, pool, 0);
    list_init(&controller->asked);
    list_init(&controller->answered);
    uint64_t seed;
    io_random(options->shard->io, &seed, sizeof seed);
    random_seed(&controller->random, seed);
    controller->listener = (struct quorum_listener){
        .on_snapshot_begin = on_snapshot_begin, .on_snapshot_records = on_snapshot_records, .on_snapshot_end = on_snapshot_end,
        .on_commit = on_commit, .on_leader = on_leader, .snapshot_begin = snapshot_begin_at, .snapshot_next = snapshot_next_values,
        .snapshot_end = snapshot_end_walk, .on_failed = on_quorum_failed,
    };
    struct decide_settings settings = {.node = options->node, .cluster_id = options->cluster_id, .values = options->config};
    enum err err = machine_init(&controller->machine, pool, &settings);
    if (!err && !prepare_registration(controller)) err = ERR_NO_MEMORY;
    if (err) goto fail;
    controller->machine.log = controller;
    controller->machine.log_end = metadata_end;
    struct coord_options coord = {
        .pool = pool, .log = {.self = controller, .append = metadata_append, .read = metadata_read, .end = metadata_end, .committed = metadata_committed},
        .machine = machine_for_coord(&controller->machine), .requests_max = options->requests_max ? options->requests_max : REQUESTS_MAX,
        .error_loading = KAFKA_NOT_CONTROLLER, .error_lost = KAFKA_NOT_CONTROLLER, .error_busy = KAFKA_NOT_CONTROLLER,
    };
    if ((err = coord_open(&controller->coord, &coord))) goto fail;
    *out = controller;
    return ERR_NONE;
fail:
    controller_close(controller);
    return err;
}

struct quorum_listener *controller_listener(struct controller *controller) {
    return &controller->listener;
}

void controller_start(struct controller *controller, struct quorum *quorum) {
    controller->quorum = quorum;
    wake(controller);
}

void controller_close(struct controller *controller) {
    if (!controller) return;
    controller->closing = true;
    coord_close(controller->coord);
    refuse_asked(controller);
    tell_answers(controller);
    timer_cancel(controller->options.shard, &controller->timer);
    if (controller->machine.delta) machine_destroy(&controller->machine);
    arena_destroy(&controller->scratch);
    arena_destroy(&controller->arena);
    pool_free(controller->pool, controller, sizeof *controller);
}

/* ---- asking */

bool controller_serves(int16_t api_key) {
    return machine_knows(api_key);
}

const struct image *controller_image(const struct controller *controller) {
    return machine_committed(&controller->machine)->visible;
}

log_offset controller_features_epoch(const struct controller *controller) {
    const struct version *committed = machine_committed(&controller->machine);
    return image_metadata_version(committed->visible) ? committed->end - 1 : -1;
}

void controller_call(struct controller *controller, struct controller_request *request) {
    assert(controller_serves(request->api_key));
    request->controller = controller;
    request->coord = (struct coord_request){.reply = reply};
    request->upgraded = false;
    controller->machine.settings.kraft_version = controller->quorum ? quorum_kraft_version(controller->quorum) : 0;
    list_init(&request->node);
    uint32_t asked_max = controller->options.requests_max ? controller->options.requests_max : REQUESTS_MAX;
    if (!controller->leads || controller->failed || controller->closing || controller->asked_count >= asked_max) {
        answer_later(controller, request, KAFKA_NOT_CONTROLLER);
        return;
    }
    list_push(&controller->asked, &request->node);
    controller->asked_count++;
    wake(controller);
}

void controller_check(const struct controller *controller) {
    machine_check(&controller->machine);
    coord_check(controller->coord);
    assert(machine_committed(&controller->machine)->end <= controller->delivered || controller->delivered == 0);
}
