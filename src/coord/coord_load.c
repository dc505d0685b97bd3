/* Loading: the log is read in steps and applied, up to the end that it had when leadership was won.
 *
 * Up to its end and not only up to the high watermark: what lies between was perhaps answered by the leader before,
 * and will be committed by this one. Answers wait for that like all others.
 * One read a step. A log that answers from within `read` is asked again from a later call, so that no call grows with
 * the log.
 */
#include "coord/coord_state.h"

static void load_end(struct coord *coord, const struct coord_now *now) {
    assert(coord->applied >= coord->load_end);
    coord->state = COORD_SERVING;
    coord->failure = ERR_NONE;
    coord->reload_ms = COORD_RELOAD_MS_MIN;
    coord->committed = coord->options.log.committed(coord->options.log.self);
    const struct coord_machine *machine = &coord->options.machine;
    if (!machine->loaded) return;
    struct coord_decision decision = coord_decision_begin(coord);
    list_init(&decision.completed);
    machine->loaded(machine->self, now, &decision);
    assert(decision.count == 0);
    coord_carry_out(coord, &decision, now);
}

static void load_read(struct coord *coord) {
    coord->read_wanted = false;
    coord->read_pending = coord->read_inside = true;
    coord->options.log.read(coord->options.log.self, coord->applied, coord->options.load_bytes, coord->load);
    coord->read_inside = false;
}

void coord_load_later(struct coord *coord, time_ms when) {
    coord->read_wanted = true;
    coord->read_not_before = when;
}

static time_ms pause_before_again(struct coord *coord) {
    time_ms pause = coord->reload_ms;
    coord->reload_ms = pause * 2 < COORD_RELOAD_MS_MAX ? pause * 2 : COORD_RELOAD_MS_MAX;
    return pause;
}

void coord_load_failed(struct coord *coord, const struct coord_now *now, enum err err, log_offset at) {
    if (err == ERR_CORRUPT || err == ERR_IO || err == ERR_UNSUPPORTED || err == ERR_LIMIT) { /* others pass */
        coord->failure = err;
        coord->failure_at = at;
    }
    coord_load_later(coord, now->now_ms + pause_before_again(coord));
}

void coord_load_begin(struct coord *coord, const struct coord_now *now, log_offset from) {
    assert(coord->requests == 0);
    coord->state = COORD_LOADING;
    coord->failure = ERR_NONE;
    coord->load++;
    coord->load_from = coord->applied = from;
    coord->load_end = coord->options.log.end(coord->options.log.self);
    coord->read_pending = false;
    if (coord->applied >= coord->load_end) load_end(coord, now);
    else load_read(coord);
}

void coord_load_tick(struct coord *coord, const struct coord_now *now) {
    if (coord->read_wanted && !coord->read_pending && now->now_ms >= coord->read_not_before) load_read(coord);
}

/* From the beginning, after a pause: memory may be there then. Clients ask again meanwhile. */
void coord_reload(struct coord *coord, const struct coord_now *now) {
    coord->state = COORD_LOADING;
    coord->load++;
    coord->read_pending = false;
    coord->options.machine.reset(coord->options.machine.self);
    coord->applied = coord->load_from;
    coord->load_end = coord->options.log.end(coord->options.log.self);
    coord_load_later(coord, now->now_ms + pause_before_again(coord));
    coord_answer_all(coord, coord->options.error_loading);
}

/* False: no memory or nothing that can be read, and the load has begun anew. A read begins with the batch that holds the offset asked for, which may
 * begin before it. */
bool coord_load_apply(struct coord *coord, const struct coord_now *now, const struct coord_batch *batch, log_offset base) {
    if (base < coord->applied) return true;
    const struct coord_machine *machine = &coord->options.machine;
    bool applied = machine->apply(machine->self, batch, base, false);
    log_offset unreadable_at = applied && machine->unreadable_at ? machine->unreadable_at(machine->self) : -1;
    if (applied && unreadable_at < 0) return true;
    coord_reload(coord, now);
    if (!applied) return false;
    coord->failure = ERR_CORRUPT;
    coord->failure_at = unreadable_at;
    return false;
}

/* A read has been applied up to `next`; the same as before: there is nothing more, although the end lies further (the
 * last offsets were compacted away). */
void coord_load_next(struct coord *coord, const struct coord_now *now, log_offset next) {
    assert(next >= coord->applied);
    coord->applied = next > coord->applied ? next : coord->load_end;
    if (coord->applied >= coord->load_end) load_end(coord, now);
    else if (coord->read_inside) coord_load_later(coord, now->now_ms);
    else load_read(coord);
}

/* False: it is the answer to a read of a load that is over, or it failed and will be asked again. */
bool coord_load_answered(struct coord *coord, const struct coord_now *now, uint64_t load, enum err err) {
    if (coord->state != COORD_LOADING || load != coord->load) return false; /* leadership went, or came anew, meanwhile */
    assert(coord->read_pending);
    coord->read_pending = false;
    if (!err) return true;
    coord_load_failed(coord, now, err, coord->applied);
    return false;
}

void coord_read_done(struct coord *coord, const struct coord_now *now, uint64_t load, enum err err,
                     const struct coord_batch *batches, const log_offset *bases, uint32_t count, log_offset next) {
    if (!coord_load_answered(coord, now, load, err)) return;
    for (uint32_t i = 0; i < count; i++)
        if (!coord_load_apply(coord, now, &batches[i], bases[i])) return;
    coord_load_next(coord, now, next);
}
