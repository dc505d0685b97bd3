/* A follower: asks from its end, appends what fits there, and cuts what the leader's history does not have.
 *
 * In fsync mode it asks only when all that it has is flushed: what it asks for says what it holds.
 */
#include "replica/replica.h"

void replica_follower_init(struct replica_follower *follower, bool fsync, time_ms backoff_ms) {
    *follower = (struct replica_follower){.leader_epoch = -1, .last_epoch = -1, .fsync = fsync, .backoff_ms = backoff_ms, .leader_high_watermark = -1};
}

static log_offset held(const struct replica_follower *follower) {
    return follower->fsync ? follower->durable : follower->end;
}

static void advance(struct replica_follower *follower, struct replica_follower_effects *effects) {
    log_offset to = follower->leader_high_watermark < held(follower) ? follower->leader_high_watermark : held(follower);
    if (to <= follower->high_watermark) return;
    follower->high_watermark = to;
    effects->high_watermark_moved = true;
}

static void back_off(struct replica_follower *follower, time_ms now) {
    follower->not_before_ms = now + follower->backoff_ms;
}

static void truncate(struct replica_follower *follower, log_offset to, bool fully, struct replica_follower_effects *effects) {
    follower->truncating = true;
    effects->truncate = true;
    effects->truncate_fully = fully;
    effects->truncate_unclean = to < follower->high_watermark;
    effects->truncate_to = to;
}

static void become(struct replica_follower *follower, const struct replica_follower_event *event, struct replica_follower_effects *effects) {
    if (event->become.leader_epoch < follower->leader_epoch) return;
    follower->phase = REPLICA_FETCHING;
    follower->leader_epoch = event->become.leader_epoch;
    follower->start = event->become.start;
    follower->end = event->become.end;
    follower->durable = event->become.durable;
    follower->last_epoch = event->become.last_epoch;
    follower->high_watermark = event->become.high_watermark < held(follower) ? event->become.high_watermark : held(follower);
    follower->leader_high_watermark = -1;
    follower->not_before_ms = event->now_ms;
    follower->truncating = false;
    /* Records without epochs cannot be compared with the leader's: only what is committed is certain. */
    if (follower->last_epoch < 0 && follower->end > follower->high_watermark) truncate(follower, follower->high_watermark, false, effects);
}

static void diverges(struct replica_follower *follower, const struct replica_follower_event *event, struct replica_follower_effects *effects) {
    log_offset leader_end = event->answer.diverging_end, own_end = event->answer.own_end;
    log_offset to;
    if (event->answer.own_epoch < 0) to = leader_end < follower->end ? leader_end : follower->end;
    else if (event->answer.own_epoch == event->answer.diverging_epoch) to = leader_end < own_end ? leader_end : own_end;
    else to = own_end; /* we have less of that epoch than it thinks: ask again from the end of the one before */
    if (to < follower->end) truncate(follower, to, false, effects);
    else back_off(follower, event->now_ms); /* nothing to cut, so nothing would change by asking at once */
}

static void answered(struct replica_follower *follower, const struct replica_follower_event *event, struct replica_follower_effects *effects) {
    if (follower->phase != REPLICA_FETCHING || follower->truncating) return;
    if (event->answer.leader_epoch != follower->leader_epoch || event->answer.fetch_offset != follower->end) return;
    switch (event->answer.outcome) {
    case FETCH_OK:
        if (event->answer.first_offset >= 0) {
            bool is_empty = follower->end == follower->start;
            if (event->answer.first_offset != follower->end && !(is_empty && event->answer.first_offset > follower->end)) {
                follower->phase = REPLICA_FAILED; /* the leader answered something else than was asked */
                return;
            }
            effects->append = true;
        }
        follower->leader_high_watermark = event->answer.leader_high_watermark;
        advance(follower, effects);
        if (event->answer.leader_log_start > follower->start && event->answer.leader_log_start <= follower->high_watermark) {
            follower->start = event->answer.leader_log_start;
            effects->log_start_moved = true;
            effects->log_start = follower->start;
        }
        break;
    case FETCH_DIVERGING:
        diverges(follower, event, effects);
        break;
    case FETCH_OUT_OF_RANGE:
        follower->phase = REPLICA_ASKS_LATEST;
        break;
    case FETCH_FENCED: /* our epoch is the newest that we know: the metadata will tell of a newer one */
    case FETCH_STORAGE_ERROR:
        follower->phase = REPLICA_FAILED;
        break;
    case FETCH_BACKOFF:
        back_off(follower, event->now_ms);
        break;
    }
}

static void offset_answered(struct replica_follower *follower, const struct replica_follower_event *event, struct replica_follower_effects *effects) {
    if (event->offset.leader_epoch != follower->leader_epoch) return;
    if (follower->phase != REPLICA_ASKS_LATEST && follower->phase != REPLICA_ASKS_EARLIEST) return;
    if (event->offset.failed) {
        back_off(follower, event->now_ms);
        return;
    }
    if (follower->phase == REPLICA_ASKS_EARLIEST) {
        follower->phase = REPLICA_FETCHING;
        if (event->offset.offset > follower->end) truncate(follower, event->offset.offset, true, effects);
        return;
    }
    follower->leader_end = event->offset.offset;
    if (follower->leader_end < follower->end) {
        /* A leader that has less than we do was elected uncleanly. */
        follower->phase = REPLICA_FETCHING;
        truncate(follower, follower->leader_end, false, effects);
    } else {
        follower->phase = REPLICA_ASKS_EARLIEST;
    }
}

static void truncated(struct replica_follower *follower, const struct replica_follower_event *event) {
    /* Only a log that was dropped and begun anew ends later than before. */
    if (event->appended.end > follower->end) follower->start = follower->high_watermark = event->appended.end;
    follower->truncating = false;
    follower->end = event->appended.end;
    follower->durable = event->appended.durable;
    follower->last_epoch = event->appended.last_epoch;
    if (follower->start > follower->end) follower->start = follower->end;
    if (follower->high_watermark > held(follower)) follower->high_watermark = held(follower);
    if (follower->leader_high_watermark > follower->end) follower->leader_high_watermark = -1;
}

void replica_follower_step(struct replica_follower *follower, const struct replica_follower_event *event, struct replica_follower_effects *effects) {
    *effects = (struct replica_follower_effects){0};
    switch (event->type) {
    case FOLLOWER_BECOME: become(follower, event, effects); break;
    case FOLLOWER_STOP:
        follower->phase = REPLICA_NOT_FOLLOWING;
        follower->truncating = false;
        break;
    case FOLLOWER_FETCH_ANSWER: answered(follower, event, effects); break;
    case FOLLOWER_OFFSET_ANSWER: offset_answered(follower, event, effects); break;
    case FOLLOWER_APPENDED:
        assert(event->appended.end >= follower->end);
        follower->end = event->appended.end;
        if (event->appended.durable > follower->durable) follower->durable = event->appended.durable;
        follower->last_epoch = event->appended.last_epoch;
        advance(follower, effects);
        break;
    case FOLLOWER_DURABLE:
        if (event->durable.end > follower->durable && event->durable.end <= follower->end) follower->durable = event->durable.end;
        advance(follower, effects);
        break;
    case FOLLOWER_TRUNCATED: truncated(follower, event); break;
    case FOLLOWER_ERROR:
        if (event->error.outcome == FETCH_STORAGE_ERROR) follower->phase = REPLICA_FAILED;
        else back_off(follower, event->now_ms);
        break;
    }
}

bool replica_follower_next(const struct replica_follower *follower, time_ms now_ms, struct replica_next_fetch *out) {
    if (follower->phase == REPLICA_NOT_FOLLOWING || follower->phase == REPLICA_FAILED) return false;
    if (follower->truncating || now_ms < follower->not_before_ms) return false;
    if (follower->fsync && follower->durable < follower->end) return false;
    *out = (struct replica_next_fetch){.what = follower->phase, .leader_epoch = follower->leader_epoch, .offset = follower->end, .last_fetched_epoch = follower->last_epoch};
    return true;
}

void replica_follower_check(const struct replica_follower *follower) {
    assert(follower->durable <= follower->end);
    assert(follower->high_watermark <= held(follower));
    assert(follower->start <= follower->end);
}

void replica_follower_text(const struct replica_follower *follower, struct text *out) {
    static const char *const phases[] = {"not following", "fetches", "asks for the latest", "asks for the earliest", "failed"};
    text_add(out, "epoch %d %s end %lld durable %lld hw %lld last epoch %d%s", follower->leader_epoch, phases[follower->phase],
             (long long)follower->end, (long long)follower->durable, (long long)follower->high_watermark, follower->last_epoch, follower->truncating ? " truncating" : "");
}
