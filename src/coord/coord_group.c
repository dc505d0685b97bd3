/* A machine of groups in the host's terms: records and requests change their names, nothing else happens here. */
#include "coord/coord_state.h"

static struct coord_group_request *of_host(struct coord_request *host) { return container_of(host, struct coord_group_request, host); }
static struct coord_group_request *of_group(struct group_request *group) { return container_of(group, struct coord_group_request, group); }

static struct group_now time_of(const struct coord_now *now) {
    return (struct group_now){.now_ms = now->now_ms, .wall_ms = now->wall_ms, .random = now->random};
}

static_assert((int)COORD_MARKER_COMMIT == (int)GROUP_MARKER_COMMIT && (int)COORD_MARKER_ABORT == (int)GROUP_MARKER_ABORT, "one is cast to the other");
static_assert(sizeof(struct coord_record) == sizeof(struct group_record) && offsetof(struct coord_record, value) == offsetof(struct group_record, value),
              "records are passed on as they are");

static void take_over(struct coord_decision *out, struct group_effects *effects) {
    struct list *node;
    while ((node = list_pop(&effects->completed))) coord_complete(out, &of_group(LIST_ITEM(node, struct group_request, node))->host);
}

static void take_decision(struct coord_decision *out, struct group_effects *effects) {
    out->records = (struct coord_record *)(void *)effects->records;
    out->count = effects->count;
    out->capacity = effects->capacity;
    out->failed = effects->failed;
    out->producer_id = effects->producer_id;
    out->producer_epoch = effects->producer_epoch;
    out->marker = (enum coord_marker)effects->marker;
    out->coordinator_epoch = effects->coordinator_epoch;
    take_over(out, effects);
}

static void decide(void *self, struct coord_request *request, const struct coord_now *now, struct coord_decision *out) {
    struct group_now group_now = time_of(now);
    struct group_effects effects;
    group_effects_init(&effects, out->arena);
    /* What a group loses (a topic is deleted, offsets expire) has to go, however much it is. */
    enum group_request_type type = of_host(request)->group.type;
    out->is_bounded = type == GROUP_JOIN || type == GROUP_SYNC || type == GROUP_OFFSET_COMMIT || type == GROUP_TXN_OFFSET_COMMIT;
    group_decide(self, &of_host(request)->group, &group_now, &effects);
    take_decision(out, &effects);
}

static void tick(void *self, const struct coord_now *now, struct coord_decision *out) {
    struct group_now group_now = time_of(now);
    struct group_effects effects;
    group_effects_init(&effects, out->arena);
    group_tick(self, &group_now, &effects);
    take_decision(out, &effects);
}

static bool apply(void *self, const struct coord_batch *batch, log_offset base, bool live) {
    struct group_batch group_batch = {
        .records = (const struct group_record *)(const void *)batch->records, .count = batch->count,
        .producer_id = batch->producer_id, .producer_epoch = batch->producer_epoch, .marker = (enum group_marker)batch->marker,
    };
    return group_apply(self, &group_batch, base, live);
}

static log_offset unreadable_at(void *self) { return group_unreadable_at(self); }

static void applied(void *self, const struct coord_now *now, struct coord_decision *out) {
    struct group_now group_now = time_of(now);
    struct group_effects effects;
    group_effects_init(&effects, out->arena);
    group_applied(self, &group_now, &effects);
    take_over(out, &effects);
}

static void refused(void *self, const struct coord_now *now, enum kafka_error error, struct coord_decision *out) {
    struct group_now group_now = time_of(now);
    struct group_effects effects;
    group_effects_init(&effects, out->arena);
    group_refused(self, &group_now, error, &effects);
    take_over(out, &effects);
}

static void loaded(void *self, const struct coord_now *now, struct coord_decision *out) {
    struct group_now group_now = time_of(now);
    struct group_effects effects;
    group_effects_init(&effects, out->arena);
    group_loaded(self, &group_now, &effects);
    take_over(out, &effects);
}

static time_ms next_deadline(void *self) { return group_next_deadline(self); }
static void reset(void *self) { group_reset(self); }

struct coord_machine coord_group_machine(struct group_machine *machine) {
    return (struct coord_machine){
        .self = machine, .decide = decide, .apply = apply, .unreadable_at = unreadable_at, .applied = applied, .refused = refused, .tick = tick,
        .next_deadline = next_deadline, .loaded = loaded, .reset = reset,
    };
}
