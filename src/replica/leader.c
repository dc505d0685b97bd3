/* The leader: where every replica is, how far all of them are, and who belongs to the ISR.
 *
 * A change of the ISR that was asked for but not answered counts in the stricter way each time: a member that it would
 * add must already hold what is told to clients, one that it would remove still must. So whichever of both the
 * controller has committed, no record that was acknowledged is missing in its ISR.
 */
#include "replica/replica.h"
#include <string.h>

static const time_ms NEVER = INT64_MIN / 2;
enum { ISR_PAUSE_MS = 500 }; /* before a change that the controller refused is asked for again */

struct replica_follower_state {
    struct replica_info info;
    struct replica_offset end;      /* offset -1: has not fetched in this epoch */
    log_offset log_start;           /* -1: not known */
    time_ms caught_up_ms;           /* when it last held all that we had */
    log_offset end_when_fetched;    /* our end when it last fetched, */
    time_ms fetched_ms;             /* and when that was */
    bool would_add, would_remove;   /* in the change that is in flight */
};

/* ---- Life */

void replica_leader_init(struct replica_leader *leader, struct pool *pool, bool fsync, int32_t min_isr, time_ms lag_ms_max) {
    *leader = (struct replica_leader){.pool = pool, .fsync = fsync, .min_isr = min_isr, .lag_ms_max = lag_ms_max, .leader_epoch = -1, .partition_epoch = -1, .self = -1, .self_epoch = -1};
}

static void free_states(struct replica_leader *leader) {
    uint32_t capacity = leader->capacity;
    pool_free(leader->pool, leader->states, capacity * sizeof *leader->states);
    pool_free(leader->pool, leader->wanted, (capacity + 1) * sizeof *leader->wanted);
    pool_free(leader->pool, leader->wanted_epochs, (capacity + 1) * sizeof *leader->wanted_epochs);
}

void replica_leader_destroy(struct replica_leader *leader) {
    if (leader->capacity) free_states(leader);
    leader->states = NULL;
    leader->count = leader->capacity = 0;
}

/* A partition with a single replica needs none of it. */
bool replica_leader_reserve(struct replica_leader *leader, uint32_t replicas) {
    assert(replicas <= REPLICAS_MAX);
    uint32_t others = replicas > 0 ? replicas - 1 : 0;
    if (others <= leader->capacity) return true;
    struct replica_leader larger = *leader;
    larger.capacity = others;
    larger.states = pool_zero_alloc(leader->pool, others * sizeof *larger.states);
    larger.wanted = pool_zero_alloc(leader->pool, (others + 1) * sizeof *larger.wanted);
    larger.wanted_epochs = pool_zero_alloc(leader->pool, (others + 1) * sizeof *larger.wanted_epochs);
    if (!larger.states || !larger.wanted || !larger.wanted_epochs) {
        free_states(&larger);
        return false;
    }
    if (leader->capacity) {
        memcpy(larger.states, leader->states, leader->count * sizeof *larger.states);
        memcpy(larger.wanted, leader->wanted, leader->wanted_count * sizeof *larger.wanted);
        memcpy(larger.wanted_epochs, leader->wanted_epochs, leader->wanted_count * sizeof *larger.wanted_epochs);
        free_states(leader);
    }
    *leader = larger;
    return true;
}

/* ---- Facts */

static struct replica_offset own_end(const struct replica_leader *leader) {
    return leader->fsync ? leader->durable : leader->end;
}

static struct replica_follower_state *find(const struct replica_leader *leader, broker_id broker) {
    for (uint32_t i = 0; i < leader->count; i++)
        if (leader->states[i].info.broker == broker) return &leader->states[i];
    return NULL;
}

static bool in_maximal_isr(const struct replica_follower_state *state) {
    return state->info.in_isr || state->would_add;
}

static bool is_caught_up(const struct replica_leader *leader, const struct replica_follower_state *state, time_ms now) {
    return state->end.offset == leader->end.offset || now - state->caught_up_ms <= leader->lag_ms_max;
}

static bool is_eligible(const struct replica_follower_state *state) {
    return !state->info.fenced && !state->info.shutting_down;
}

/* Besides the maximal ISR, those that are about to enter it: else each append would run away from them. */
static bool holds_up(const struct replica_leader *leader, const struct replica_follower_state *state, time_ms now) {
    return in_maximal_isr(state) || (state->end.offset >= 0 && is_eligible(state) && is_caught_up(leader, state, now));
}

int32_t replica_leader_min_isr(const struct replica_leader *leader) {
    int32_t replicas = (int32_t)leader->count + 1;
    return leader->min_isr < replicas ? leader->min_isr : replicas;
}

bool replica_leader_may_append(const struct replica_leader *leader) {
    return leader->leading && (int32_t)leader->isr_count >= replica_leader_min_isr(leader);
}

bool replica_leader_may_ack(const struct replica_leader *leader) {
    int32_t maximal = 1;
    for (uint32_t i = 0; i < leader->count; i++) maximal += in_maximal_isr(&leader->states[i]);
    return leader->leading && maximal >= replica_leader_min_isr(leader);
}

/* ---- High watermark */

static void advance(struct replica_leader *leader, time_ms now, struct replica_effects *effects) {
    if (!leader->leading || (int32_t)leader->isr_count < replica_leader_min_isr(leader)) return;
    struct replica_offset lowest = own_end(leader);
    for (uint32_t i = 0; i < leader->count; i++) {
        const struct replica_follower_state *state = &leader->states[i];
        if (holds_up(leader, state, now) && state->end.offset < lowest.offset) lowest = state->end;
    }
    if (lowest.offset < leader->high_watermark.offset) return;
    bool moved = lowest.offset > leader->high_watermark.offset;
    if (moved || lowest.segment_base >= 0) leader->high_watermark = lowest; /* the same place, better known */
    effects->high_watermark_moved |= moved;
}

/* ---- ISR */

/* Asks for the committed ISR with what the states' would_ flags change. */
static void want(struct replica_leader *leader, struct replica_effects *effects) {
    uint32_t count = 0;
    leader->wanted[count] = leader->self;
    leader->wanted_epochs[count++] = leader->self_epoch;
    for (uint32_t i = 0; i < leader->count; i++) {
        const struct replica_follower_state *state = &leader->states[i];
        if ((!state->info.in_isr && !state->would_add) || state->would_remove) continue;
        leader->wanted[count] = state->info.broker;
        leader->wanted_epochs[count++] = state->info.epoch;
    }
    leader->wanted_count = count;
    leader->isr_in_flight = true;
    effects->isr_wanted = true;
    effects->isr = leader->wanted;
    effects->isr_epochs = leader->wanted_epochs;
    effects->isr_count = count;
    effects->leader_epoch = leader->leader_epoch;
    effects->partition_epoch = leader->partition_epoch;
    effects->recovered = leader->recovering;
}

static void nothing_in_flight(struct replica_leader *leader) {
    leader->isr_in_flight = leader->isr_blocked = false;
    leader->wanted_count = 0;
    for (uint32_t i = 0; i < leader->count; i++) leader->states[i].would_add = leader->states[i].would_remove = false;
}

/* A follower enters when it holds all that clients were told of, and has seen where this epoch begins. */
static void maybe_expand(struct replica_leader *leader, struct replica_follower_state *state, broker_epoch fetched_epoch, struct replica_effects *effects) {
    if (leader->isr_in_flight || leader->now_ms < leader->isr_not_before_ms || state->info.in_isr || !is_eligible(state)) return;
    if (state->end.offset < leader->high_watermark.offset || state->end.offset < leader->epoch_start) return;
    if (fetched_epoch >= 0 && fetched_epoch != state->info.epoch) return;
    state->would_add = true;
    want(leader, effects);
}

static void maybe_shrink(struct replica_leader *leader, time_ms now, struct replica_effects *effects) {
    bool any = false;
    if (leader->isr_in_flight || now < leader->isr_not_before_ms) return;
    for (uint32_t i = 0; i < leader->count; i++) {
        struct replica_follower_state *state = &leader->states[i];
        if (!state->info.in_isr || is_caught_up(leader, state, now)) continue;
        any = state->would_remove = true;
    }
    if (any) want(leader, effects);
}

/* ---- Events */

/* Replicas that are none any longer. */
static void drop_others(struct replica_leader *leader, const struct replica_event *event) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < leader->count; i++) {
        bool is_replica = false;
        for (uint32_t j = 0; j < event->become.count; j++) is_replica |= event->become.replicas[j].broker == leader->states[i].info.broker;
        if (is_replica) leader->states[kept++] = leader->states[i];
    }
    leader->count = kept;
}

static void become(struct replica_leader *leader, const struct replica_event *event, struct replica_effects *effects) {
    leader_epoch epoch = event->become.leader_epoch;
    int32_t partition_epoch = event->become.partition_epoch;
    if (epoch < leader->leader_epoch) return;
    bool is_new = !leader->leading || epoch > leader->leader_epoch;
    if (!is_new && partition_epoch < leader->partition_epoch) return;
    /* The same partition epoch again: brokers have changed, the partition has not; what is in flight still is. */
    bool has_news = is_new || partition_epoch > leader->partition_epoch;
    if (has_news) nothing_in_flight(leader);
    assert(event->become.count <= leader->capacity + 1);
    if (is_new) leader->count = 0;
    else drop_others(leader, event);
    leader->isr_count = 1;
    for (uint32_t i = 0; i < event->become.count; i++) {
        const struct replica_info *info = &event->become.replicas[i];
        if (info->broker == event->become.self) {
            leader->self_epoch = info->epoch;
            continue;
        }
        struct replica_follower_state *state = find(leader, info->broker);
        bool in_isr = state && !has_news ? state->info.in_isr : info->in_isr;
        if (!state) {
            assert(leader->count < leader->capacity);
            state = &leader->states[leader->count++];
            *state = (struct replica_follower_state){.end = {.offset = -1, .segment_base = -1}, .log_start = -1, .end_when_fetched = -1,
                .caught_up_ms = info->in_isr ? event->now_ms : NEVER, .fetched_ms = NEVER}; /* a member has the time to come and fetch */
        }
        state->info = *info;
        state->info.in_isr = in_isr;
        leader->isr_count += in_isr;
    }
    leader->self = event->become.self;
    leader->leader_epoch = epoch;
    leader->partition_epoch = partition_epoch;
    if (is_new) {
        struct replica_offset high_watermark = event->become.high_watermark;
        leader->end = event->become.end;
        leader->durable = event->become.durable;
        leader->epoch_start = leader->end.offset;
        if (leader->high_watermark.offset > high_watermark.offset && leader->leading) high_watermark = leader->high_watermark;
        /* A checkpoint may be newer than what is left of the log. */
        if (high_watermark.offset > own_end(leader).offset) high_watermark = own_end(leader);
        leader->high_watermark = high_watermark;
        leader->leading = true;
        leader->recovering = event->become.recovering;
    }
    advance(leader, event->now_ms, effects);
}

static void fetched(struct replica_leader *leader, const struct replica_event *event, struct replica_effects *effects) {
    struct replica_follower_state *state = leader->leading ? find(leader, event->fetched.broker) : NULL;
    broker_epoch epoch = event->fetched.epoch;
    effects->stale_broker_epoch = state && epoch >= 0 && state->info.epoch >= 0 && epoch < state->info.epoch;
    effects->fetch_refused = !state || effects->stale_broker_epoch;
    if (effects->fetch_refused) return;
    log_offset offset = event->fetched.end.offset;
    if (offset >= leader->end.offset) {
        if (event->now_ms > state->caught_up_ms) state->caught_up_ms = event->now_ms;
    } else if (state->end_when_fetched >= 0 && offset >= state->end_when_fetched && state->fetched_ms > state->caught_up_ms) {
        /* It has by now all that we had when it last fetched: as of then it was caught up. */
        state->caught_up_ms = state->fetched_ms;
    }
    state->end_when_fetched = leader->end.offset;
    state->fetched_ms = event->now_ms;
    state->end = event->fetched.end;
    state->log_start = event->fetched.log_start;
    maybe_expand(leader, state, epoch, effects);
    advance(leader, event->now_ms, effects);
}

static void isr_answered(struct replica_leader *leader, const struct replica_event *event, struct replica_effects *effects) {
    if (!leader->leading || !leader->isr_in_flight) return;
    switch (event->isr.answer) {
    case REPLICA_ISR_COMMITTED:
        if (event->isr.leader_epoch != leader->leader_epoch || event->isr.partition_epoch < leader->partition_epoch) return;
        nothing_in_flight(leader);
        leader->partition_epoch = event->isr.partition_epoch;
        leader->isr_count = 1;
        leader->recovering = false;
        for (uint32_t i = 0; i < leader->count; i++) {
            struct replica_follower_state *state = &leader->states[i];
            state->info.in_isr = false;
            for (uint32_t j = 0; j < event->isr.isr_count; j++) state->info.in_isr |= event->isr.isr[j] == state->info.broker;
            leader->isr_count += state->info.in_isr;
        }
        advance(leader, event->now_ms, effects);
        break;
    case REPLICA_ISR_RETRY:
        want(leader, effects);
        break;
    case REPLICA_ISR_REVERT:
        nothing_in_flight(leader);
        leader->isr_not_before_ms = event->now_ms + ISR_PAUSE_MS;
        advance(leader, event->now_ms, effects);
        break;
    case REPLICA_ISR_WAIT:
        /* Nobody knows what was committed: the maximal ISR stays as it is until the metadata say. */
        leader->isr_blocked = true;
        break;
    }
}

void replica_leader_step(struct replica_leader *leader, const struct replica_event *event, struct replica_effects *effects) {
    *effects = (struct replica_effects){0};
    if (event->now_ms > leader->now_ms) leader->now_ms = event->now_ms;
    switch (event->type) {
    case REPLICA_BECOME:
        become(leader, event, effects);
        break;
    case REPLICA_RESIGN:
        nothing_in_flight(leader);
        leader->leading = false;
        break;
    case REPLICA_APPENDED:
        assert(event->appended.end.offset >= leader->end.offset);
        leader->end = event->appended.end;
        if (!leader->fsync) advance(leader, event->now_ms, effects);
        break;
    case REPLICA_DURABLE:
        assert(event->durable.end.offset <= leader->end.offset);
        if (event->durable.end.offset < leader->durable.offset) break; /* an older sync that ended later */
        leader->durable = event->durable.end;
        if (leader->fsync) advance(leader, event->now_ms, effects);
        break;
    case REPLICA_FETCHED:
        fetched(leader, event, effects);
        break;
    case REPLICA_TIME:
        if (leader->leading) maybe_shrink(leader, event->now_ms, effects);
        advance(leader, event->now_ms, effects);
        break;
    case REPLICA_ISR_ANSWER:
        isr_answered(leader, event, effects);
        break;
    case REPLICA_SETTINGS:
        leader->min_isr = event->settings.min_isr;
        leader->lag_ms_max = event->settings.lag_ms_max;
        leader->fsync = event->settings.fsync;
        advance(leader, event->now_ms, effects);
        break;
    }
}

/* Members that are not at the end fall out of the ISR then; others, that were caught up of late, stop holding up the high
 * watermark. */
time_ms replica_leader_deadline(const struct replica_leader *leader) {
    time_ms first = INT64_MAX;
    if (!leader->leading) return first;
    for (uint32_t i = 0; i < leader->count; i++) {
        const struct replica_follower_state *state = &leader->states[i];
        time_ms due = state->caught_up_ms + leader->lag_ms_max + 1;
        if (state->end.offset == leader->end.offset || state->would_add) continue;
        if (state->info.in_isr) {
            if (leader->isr_in_flight) continue;
            if (due < leader->isr_not_before_ms) due = leader->isr_not_before_ms;
        } else if (due <= leader->now_ms || state->end.offset < 0 || state->end.offset >= own_end(leader).offset) {
            continue; /* holds up nothing */
        }
        if (due < first) first = due;
    }
    return first;
}

log_offset replica_leader_follower_end(const struct replica_leader *leader, broker_id broker, log_offset *log_start, time_ms *caught_up_ms) {
    const struct replica_follower_state *state = find(leader, broker);
    if (!state || !state->info.in_isr || state->end.offset < 0) return -1;
    *log_start = state->log_start;
    *caught_up_ms = state->caught_up_ms;
    return state->end.offset;
}

log_offset replica_leader_low_watermark(const struct replica_leader *leader, log_offset own_log_start) {
    log_offset lowest = own_log_start;
    for (uint32_t i = 0; i < leader->count; i++) {
        const struct replica_follower_state *state = &leader->states[i];
        if (!state->info.fenced && state->log_start < lowest) lowest = state->log_start;
    }
    return lowest;
}

/* ---- To look at */

void replica_leader_check(const struct replica_leader *leader) {
    uint32_t isr = 1;
    assert(leader->count <= leader->capacity || leader->count == 0);
    if (!leader->leading) return;
    assert(leader->durable.offset <= leader->end.offset);
    assert(leader->high_watermark.offset <= leader->end.offset);
    assert(leader->epoch_start <= leader->end.offset);
    for (uint32_t i = 0; i < leader->count; i++) {
        const struct replica_follower_state *state = &leader->states[i];
        assert(state->info.broker != leader->self);
        assert(!(state->would_add && state->would_remove));
        assert(implies(state->would_add, !state->info.in_isr && leader->isr_in_flight));
        assert(implies(state->would_remove, state->info.in_isr && leader->isr_in_flight));
        isr += state->info.in_isr;
        for (uint32_t j = 0; j < i; j++) assert(leader->states[j].info.broker != state->info.broker);
    }
    assert(isr == leader->isr_count);
    assert(implies(leader->isr_blocked, leader->isr_in_flight));
}

void replica_leader_text(const struct replica_leader *leader, struct text *out) {
    if (!leader->leading) {
        text_add(out, "not leader");
        return;
    }
    text_add(out, "leader %d epoch %d/%d end %lld durable %lld hw %lld min %d isr [%d", leader->self, leader->leader_epoch, leader->partition_epoch,
             (long long)leader->end.offset, (long long)leader->durable.offset, (long long)leader->high_watermark.offset, replica_leader_min_isr(leader), leader->self);
    for (uint32_t i = 0; i < leader->count; i++) {
        const struct replica_follower_state *state = &leader->states[i];
        if (state->info.in_isr) text_add(out, " %d%s", state->info.broker, state->would_remove ? "-" : "");
        if (state->would_add) text_add(out, " %d+", state->info.broker);
    }
    text_add(out, "] at");
    for (uint32_t i = 0; i < leader->count; i++) {
        const struct replica_follower_state *state = &leader->states[i];
        if (state->end.offset < 0) text_add(out, " %d:?", state->info.broker);
        else text_add(out, " %d:%lld", state->info.broker, (long long)state->end.offset);
    }
}
