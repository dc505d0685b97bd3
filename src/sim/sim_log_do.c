#include "base/bytes.h"
#include "sim/sim_log.h"
#include "wire/batch.h"

/* ---- Appending */
static struct slab *batch_make(struct program *program, const struct model_batch *want, uint64_t content) {
    struct batch_options options;
    struct batch_builder builder;
    struct slab *slab = NULL;
    struct random random;
    static uint8_t value[VALUE_BYTES_MAX];
    random_seed(&random, content);
    batch_options_init(&options);
    options.producer_id = want->producer;
    options.producer_epoch = want->producer_epoch;
    options.base_sequence = want->sequence;
    batch_builder_init(&builder, program->shard->pool, 1 << 20, &options);
    for (int32_t i = 0; i < want->count; i++) {
        size_t size = (size_t)random_below(&random, (uint64_t)program->world->value_bytes + 1);
        random_bytes(&random, value, size);
        enum err err = batch_builder_add(&builder, want->timestamp, SPAN_LITERAL("key"), span_of(value, size), NULL, 0);
        assert(err == ERR_NONE);
    }
    enum err err = batch_builder_finish(&builder, NULL, &slab);
    assert(err == ERR_NONE);
    batch_builder_destroy(&builder);
    return slab;
}

static enum err batch_append(struct program_log *at, struct slab *slab, struct log_appended *out) {
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_CLIENT, .epoch = at->model->epoch};
    *out = (struct log_appended){0};
    return log_append(at->log, &append, out);
}

/* The last batch of a producer's current epoch that the log has; NULL: none. */
static struct model_batch *last_of(struct model *model, uint32_t producer, uint32_t back) {
    for (uint32_t i = model->count; i-- > 0;) {
        struct model_batch *batch = &model->batches[i];
        if (batch->producer != (producer_id)producer + 1 || batch->producer_epoch != model->producer_epochs[producer]) continue;
        if (batch->base < model->start) return NULL;
        if (back-- == 0) return batch;
    }
    return NULL;
}

static void note_append_error(struct program_log *at, enum err err, int16_t kafka_error) {
    struct world *world = at->program->world;
    SIM_CHECK(world->sim, err != ERR_INVALID, "T7", "log %u: a good batch is refused with %d", at->model->number, kafka_error);
    SIM_CHECK(world->sim, err == ERR_INVALID || err == ERR_BUSY || err == ERR_AGAIN || log_was_at_fault(at), "append",
              "log %u: appending ends with %s", at->model->number, err_name(err));
}

static void do_append(struct program_log *at) {
    struct program *program = at->program;
    struct model *model = at->model;
    struct model_batch want = {.producer = -1, .producer_epoch = -1, .sequence = -1};
    want.count = 1 + (int32_t)random_below(&program->random, (uint64_t)program->world->batch_records);
    want.timestamp = shard_wall(program->shard) - (time_ms)random_below(&program->random, 5000);
    want.epoch = model->epoch;
    uint32_t producer = (uint32_t)random_below(&program->random, PRODUCERS * 2);
    if (producer < PRODUCERS) {
        const struct model_batch *before = last_of(model, producer, 0);
        if (!before) model->producer_epochs[producer]++; /* nobody can tell whether the log still knows it: begin anew */
        want.producer = (producer_id)producer + 1;
        want.producer_epoch = model->producer_epochs[producer];
        want.sequence = before ? sequence_add(before->sequence, before->count) : 0;
    }
    struct slab *slab = batch_make(program, &want, random_u64(&program->random));
    struct log_appended appended;
    want.size = slab->used;
    want.crc = load_be32(slab->bytes + BATCH_AT_CRC);
    enum err err = batch_append(at, slab, &appended);
    SAY(program->world, "log %u: append %d records, producer %lld epoch %d sequence %d: %s %d, %lld..%lld", model->number, want.count,
        (long long)want.producer, want.producer_epoch, want.sequence, err_name(err), appended.kafka_error, (long long)appended.base, (long long)appended.last);
    if (err == ERR_NONE) {
        SIM_CHECK(program->world->sim, !appended.duplicate && appended.last - appended.base + 1 == want.count, "T7",
                  "log %u: a new batch of %d got %lld..%lld%s", model->number, want.count, (long long)appended.base, (long long)appended.last,
                  appended.duplicate ? " as a duplicate" : "");
        want.base = appended.base;
        want.last = appended.last;
        if (!sim_has_failed(program->world->sim)) model_add(program->world, model, &want);
    } else {
        note_append_error(at, err, appended.kafka_error);
    }
    slab_drop(slab);
}

/* T7: one of a producer's last five batches sent again is answered with its first offset and not appended; a sequence that
 * leaves a gap is refused. */
static void do_duplicate(struct program_log *at) {
    struct program *program = at->program;
    struct model *model = at->model;
    uint32_t back = (uint32_t)random_below(&program->random, DUPLICATES);
    const struct model_batch *known = last_of(model, (uint32_t)random_below(&program->random, PRODUCERS), back);
    if (!known) return;
    struct log_appended appended;
    if (random_chance(&program->random, 1, 4)) {
        struct model_batch gap = *known;
        gap.sequence = sequence_add(known->sequence, 100000);
        struct slab *slab = batch_make(program, &gap, 1);
        enum err err = batch_append(at, slab, &appended);
        SIM_CHECK(program->world->sim, err != ERR_NONE && (err != ERR_INVALID || appended.kafka_error == 45), "T7",
                  "log %u: a sequence with a gap is answered with %s, %d", model->number, err_name(err), appended.kafka_error);
        slab_drop(slab);
        return;
    }
    /* Other bytes, but the same count and times: the same batch compressed anew, as clients do. */
    struct slab *slab = batch_make(program, known, 2);
    enum err err = batch_append(at, slab, &appended);
    SAY(program->world, "log %u: again %lld..%lld, producer %lld epoch %d sequence %d: %s %d", model->number, (long long)known->base,
        (long long)known->last, (long long)known->producer, known->producer_epoch, known->sequence, err_name(err), appended.kafka_error);
    if (err == ERR_NONE)
        SIM_CHECK(program->world->sim, appended.duplicate && appended.base == known->base && appended.last == known->last, "T7",
                  "log %u: batch %lld sent again is answered with %lld..%lld%s", model->number, (long long)known->base, (long long)appended.base,
                  (long long)appended.last, appended.duplicate ? " as a duplicate" : " and appended");
    else /* Kafka's snapshot of producers has the last batch of each only: the others are forgotten when the log closes. */
        SIM_CHECK(program->world->sim, err != ERR_INVALID || (back > 0 && appended.kafka_error == 45), "T7",
                  "log %u: batch %lld sent again is refused with %d", model->number, (long long)known->base, appended.kafka_error);
    slab_drop(slab);
}

/* ---- Other operations */
void op_ended(struct log_wait *wait, enum err err) {
    struct program_log *at = container_of(wait, struct program_log, wait);
    at->waiting = false;
    SAY(at->program->world, "log %u: an operation ends (%s), end %lld", at->model->number, err_name(err), (long long)log_end(at->log));
    if (at->truncate_to < 0) return;
    if (err == ERR_NONE) {
        model_cut(at->model, at->truncate_to);
        SIM_CHECK(at->program->world->sim, log_end(at->log) == model_end(at->model) || log_end(at->log) == at->truncate_to, "L8",
                  "log %u: cut at %lld, the end is %lld", at->model->number, (long long)at->truncate_to, (long long)log_end(at->log));
        if (at->model->flushed > at->truncate_to) at->model->flushed = at->truncate_to;
        if (at->model->written > at->truncate_to) at->model->written = at->truncate_to;
        at->model->truncating_to = -1;
    }
    at->truncate_to = -1;
}

static void op_begin(struct program_log *at, enum err err) {
    if (err == ERR_AGAIN) {
        at->waiting = true;
        return;
    }
    op_ended(&at->wait, err);
}

/* At a batch's beginning, at or past the high watermark: what a follower does whose leader says so. */
static void do_truncate(struct program_log *at) {
    struct model *model = at->model;
    log_offset mark = log_high_watermark(at->log), end = log_end(at->log);
    if (mark >= end || at->waiting) return;
    const struct model_batch *batch = model_find(model, mark + (log_offset)random_below(&at->program->random, (uint64_t)(end - mark)));
    if (!batch || batch->base < mark) return;
    at->truncate_to = model->truncating_to = batch->base;
    SAY(at->program->world, "log %u: truncate at %lld, end %lld", model->number, (long long)batch->base, (long long)end);
    sim_note(at->program->world->sim, "log truncate", 0, (uint64_t)batch->base, (uint64_t)end);
    op_begin(at, log_truncate(at->log, batch->base, &at->wait));
    model->epoch++; /* what comes now is another leader's */
}

static void checkpoint_done(struct log_wait *wait, enum err err) {
    struct program *program = container_of(wait, struct program, checkpoint_wait);
    struct world *world = program->world;
    program->checkpointing = false;
    for (uint32_t i = 0; i < world->logs && err == ERR_NONE; i++) /* nothing is written to a directory that failed */
        if (world->models[i].known_after_life && log_dir_is_online(log_dir_of(program->logs[i].log)) && world->models[i].start_asked > world->models[i].start_filed) world->models[i].start_filed = world->models[i].start_asked;
}

/* From here on it was promised: no crash brings back what lies before it. */
static void start_is_safe(struct program_log *at, log_offset start) {
    SAY(at->program->world, "log %u: start %lld is safe", at->model->number, (long long)start);
    if (start > at->model->start_filed) at->model->start_filed = start;
    at->program->world->run->acknowledged++;
}

static void start_filed(struct log_wait *wait, enum err err) {
    struct program_log *at = container_of(wait, struct program_log, start_wait);
    at->starting = false;
    SIM_CHECK(at->program->world->sim, !err || log_was_at_fault(at), "L4", "log %u: the start is not filed: %s", at->model->number, err_name(err));
    if (!err) start_is_safe(at, wait->target);
}

/* What DeleteRecords does. */
static void do_start(struct program_log *at) {
    log_offset start = log_start(at->log), mark = log_high_watermark(at->log);
    if (mark == start || at->starting) return;
    enum err err = log_start_set(at->log, start + 1 + (log_offset)random_below(&at->program->random, (uint64_t)(mark - start)));
    SAY(at->program->world, "log %u: start is %lld, was %lld", at->model->number, (long long)log_start(at->log), (long long)start);
    if (err) return;
    at->start_wait.done = start_filed;
    err = log_start_flush(at->log, &at->start_wait);
    if (err == ERR_AGAIN) at->starting = true;
    else if (!err) start_is_safe(at, log_start(at->log));
}

static void do_checkpoint(struct program *program) {
    struct world *world = program->world;
    if (program->checkpointing) return;
    for (uint32_t i = 0; i < world->logs; i++)
        world->models[i].start_asked = world->models[i].known_after_life ? log_start(program->logs[i].log) : world->models[i].start_filed;
    program->checkpoint_wait.done = checkpoint_done;
    program->checkpointing = log_store_checkpoint(program->store, &program->checkpoint_wait) == ERR_AGAIN;
}

/* Begins one, turns it elsewhere, or calls it back. */
static void do_move(struct program_log *at) {
    struct program *program = at->program;
    struct world *world = program->world;
    struct log_dir *target = log_dirs_at(program->dirs, (uint32_t)random_below(&program->random, world->dirs));
    uint32_t bit = UINT32_C(1) << dir_index(world, target);
    enum err err = log_move(at->log, target);
    if (err == ERR_NONE) at->dirs_used |= bit;
    SAY(world, "log %u: from %s to %s: %s", at->model->number, log_dir_path(log_dir_of(at->log)), log_dir_path(target), err_name(err));
    sim_note(world->sim, "log move", at->model->number, bit, (uint64_t)err);
    SIM_CHECK(world->sim, err == ERR_NONE || err == ERR_BUSY || log_was_at_fault(at) || !log_dir_is_online(target), "move", "log %u: a move ends with %s",
              at->model->number, err_name(err));
}

void do_something(struct program_log *at) {
    struct program *program = at->program;
    struct world *world = program->world;
    struct model *model = at->model;
    log_offset start = log_start(at->log), end = log_end(at->log);
    if (world->dirs > 1 && random_chance(&program->random, 1, 40)) do_move(at);
    switch (random_below(&program->random, 40)) {
    case 0: case 1: case 2: do_duplicate(at); break;
    case 3: case 4: case 5: case 6:
        if (end > start) read_begin(at, start + (log_offset)random_below(&program->random, (uint64_t)(end - start)), 1 + (uint32_t)random_below(&program->random, 60000),
                                    random_chance(&program->random, 1, 2) ? LOG_UPTO_END : LOG_UPTO_HIGH_WATERMARK, -1);
        break;
    case 7: case 8:
        if (at->looking || end == start) break;
        at->looking = true;
        at->lookup_written = log_written(at->log);
        at->lookup_end = end;
        at->lookup = (struct log_lookup){.log = at->log, .upto = LOG_UPTO_END, .done = lookup_done};
        const struct model_batch *batch = model_find(model, start + (log_offset)random_below(&program->random, (uint64_t)(end - start)));
        at->lookup.timestamp = (batch ? batch->timestamp : shard_wall(program->shard)) + (time_ms)random_below(&program->random, 5) - 2;
        enum err err = log_lookup(&at->lookup);
        if (err != ERR_AGAIN) lookup_ended(at, err);
        break;
    case 9:
        SAY(world, "log %u: roll at %lld", model->number, (long long)end);
        (void)log_roll(at->log);
        break;
    case 10:
        if (!at->waiting) op_begin(at, log_flush(at->log, &at->wait));
        break;
    case 11: do_checkpoint(program); break;
    case 12: log_high_watermark_set(at->log, log_durable(at->log)); break;
    case 13:
        if (random_chance(&program->random, 1, 4)) do_start(at);
        break;
    case 14: do_truncate(at); break;
    case 15:
        model->epoch++;
        log_epoch_assign(at->log, model->epoch, end);
        break;
    case 16:
        if (!at->waiting && random_chance(&program->random, 1, 4)) op_begin(at, log_retain(at->log, &at->wait));
        break;
    default: do_append(at); break;
    }
    if (log_state(at->log) == LOG_OPEN && !sim_has_failed(world->sim)) log_check(at->log);
}

