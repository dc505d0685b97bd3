/* A store with a few logs on one host under crash at any operation, full disks and failing ones: L1 to L8, by somebody who
 * remembers every batch that was ever appended, and what was said to be written and flushed.
 */
#include "base/hash.h"
#include "log/log.h"
#include "sim/cluster.h"
#include "wire/batch.h"
#include <stdio.h>
#include <string.h>

enum { LOGS_MAX = 3, PRODUCERS = 3, READ_BYTES_MAX = 1 << 18, VALUE_BYTES_MAX = 6000, DUPLICATES = 5 };

struct model_batch {
    log_offset base, last;
    leader_epoch epoch;
    uint32_t crc, size;
    time_ms timestamp;
    producer_id producer;
    int16_t producer_epoch;
    int32_t sequence, count;
};

/* What is known of a log from outside: outlives every process. */
struct model {
    uint32_t number;
    struct model_batch *batches;
    uint32_t count, capacity;
    log_offset start, end;        /* as last seen; as appended */
    log_offset start_filed;       /* in a checkpoint that was written    */
    log_offset start_asked;       /* when the checkpoint under way began */
    log_offset written, flushed, high_watermark;
    log_offset truncating_to;     /* a truncation is under way, or was when the process died; -1: none */
    leader_epoch epoch;
    int16_t producer_epochs[PRODUCERS];
    bool power_was_cut;           /* since the last opening, or a sync failed */
    bool known_after_life;        /* compared with what this life's opening gave */
    uint64_t acknowledged;
};

struct world {
    struct run *run;
    struct sim *sim;
    struct cluster cluster;
    struct random random;
    uint32_t logs;
    struct model models[LOGS_MAX];
    int64_t segment_bytes, index_interval, retention_bytes, batch_records, value_bytes;
    bool page_cache, crowded, compresses;
    uint64_t faults_at_start;     /* of disks, when this life began */
    uint64_t lost_at_start;       /* of them, syncs that failed     */
    struct sim_event end_process;
    bool checking;                /* phase 3: nothing is appended any more */
    bool failed_to_start;
};

struct program;
struct program_log {
    struct program *program;
    struct model *model;
    struct log *log;
    struct log_owner owner;
    struct log_wait open_wait, wait, start_wait;
    bool opening, waiting, starting, reading, looking, assigned;
    struct log_read read;
    struct arena read_arena;
    struct chain read_chain;
    log_offset read_to;           /* of a walk through everything */
    struct log_lookup lookup;
    log_offset lookup_written, lookup_end; /* when it began */
    log_offset truncate_to;
    bool checked;                 /* read back from start to end in phase 3 */
};

struct program { /* inside of the process */
    struct world *world;
    struct cluster_node *node;
    struct shard_group *group;
    struct shard *shard;
    struct log_dirs *dirs;
    struct log_store *store;
    struct timer tick;
    struct program_log logs[LOGS_MAX];
    struct log_wait checkpoint_wait, stop_wait;
    struct random random;
    bool checkpointing, stopping, stopped, failed;
};

static const char *const data_path = "/data";

/* ---- The model */
static struct model_batch *model_find(struct model *model, log_offset offset) {
    uint32_t low = 0, high = model->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (model->batches[middle].last < offset) low = middle + 1;
        else high = middle;
    }
    return low < model->count && model->batches[low].base <= offset ? &model->batches[low] : NULL;
}

static log_offset model_end(const struct model *model) { return model->end; }

static void model_add(struct world *world, struct model *model, const struct model_batch *batch) {
    if (model->count == model->capacity) {
        uint32_t capacity = model->capacity ? model->capacity * 2 : 256;
        struct pool *pool = sim_pool(world->sim);
        model->batches = pool_realloc(pool, model->batches, model->capacity * sizeof *batch, capacity * sizeof *batch);
        assert(model->batches);
        model->capacity = capacity;
    }
    SIM_CHECK(world->sim, batch->base == model_end(model), "L1", "log %u: appended at %lld, the end was %lld", model->number,
              (long long)batch->base, (long long)model_end(model));
    model->batches[model->count++] = *batch;
    model->end = batch->last + 1;
}

static void model_cut(struct model *model, log_offset end) {
    while (model->count > 0 && model->batches[model->count - 1].last >= end) model->count--;
    model->end = end;
}

/* --verbose: what is done and found, a line each. */
#define SAY(world_, format, ...) \
    ((world_)->run->options->verbose ? (void)printf("%12.6f " format "\n", (double)sim_now((world_)->sim) / 1e9, __VA_ARGS__) : (void)0)

static bool disk_was_at_fault(const struct world *world) { return sim_count(world->sim)->faults > world->faults_at_start; }

/* ---- Reading back */
/* The bytes of a chain as a consumer would get them; slices of files are looked at from outside. */
static uint32_t chain_bytes(struct world *world, const struct chain *chain, uint8_t *target) {
    uint32_t done = 0;
    for (struct slice *slice = chain->first; slice; slice = slice->next) {
        assert(done + slice->size <= READ_BYTES_MAX);
        if (slice->kind == SLICE_MEMORY) memcpy(target + done, slice->memory.data, slice->size);
        else {
            int64_t got = sim_file_peek((struct io_file *)(void *)slice->file.file, target + done, slice->size, slice->file.offset);
            SIM_CHECK(world->sim, got == (int64_t)slice->size, "L3", "a slice of a file is shorter than what was promised");
        }
        done += (uint32_t)slice->size;
    }
    return done;
}

/* L1, L2, L3, L5: each batch is the one that was appended there. Answers where the next one begins. */
static log_offset check_bytes(struct world *world, struct model *model, log_offset from, const uint8_t *bytes, uint32_t size, log_offset bound) {
    struct span rest = span_of(bytes, size);
    struct batch batch;
    log_offset next = from;
    bool first = true;
    for (enum err err; (err = batch_next(&rest, &batch)) != ERR_NOT_FOUND && !sim_has_failed(world->sim); first = false) {
        if (err == ERR_AGAIN) break; /* cut by the limit of the read */
        SIM_CHECK(world->sim, err == ERR_NONE, "L3", "log %u: what was read at %lld is no batch: %s", model->number, (long long)next, err_name(err));
        if (err) break;
        const struct model_batch *known = model_find(model, next);
        SIM_CHECK(world->sim, known, "L5", "log %u: a batch at %lld that was never appended", model->number, (long long)next);
        if (!known) break;
        SIM_CHECK(world->sim, batch.base_offset == known->base && batch_last_offset(&batch) == known->last, "L1",
                  "log %u: a batch %lld..%lld where %lld..%lld was appended", model->number, (long long)batch.base_offset,
                  (long long)batch_last_offset(&batch), (long long)known->base, (long long)known->last);
        SIM_CHECK(world->sim, first || batch.base_offset == next, "L1", "log %u: a gap at %lld", model->number, (long long)next);
        SIM_CHECK(world->sim, batch.leader_epoch == known->epoch, "L2", "log %u: batch %lld has epoch %d, appended with %d", model->number,
                  (long long)batch.base_offset, batch.leader_epoch, known->epoch);
        SIM_CHECK(world->sim, batch.crc == known->crc && batch.size == known->size, "L5", "log %u: batch %lld has other bytes", model->number,
                  (long long)batch.base_offset);
        SIM_CHECK(world->sim, batch_crc_is_good(&batch), "L3", "log %u: the CRC of batch %lld is wrong", model->number, (long long)batch.base_offset);
        SIM_CHECK(world->sim, batch.base_offset < bound, "L4", "log %u: batch %lld is shown, the bound was %lld", model->number,
                  (long long)batch.base_offset, (long long)bound);
        next = batch_next_offset(&batch);
    }
    return next;
}

static void read_next(struct program_log *at);

static void read_ended(struct program_log *at, enum err err) {
    struct world *world = at->program->world;
    struct model *model = at->model;
    struct log_read *read = &at->read;
    at->reading = false;
    if (err == ERR_NONE) {
        uint8_t *bytes = pool_alloc(sim_pool(world->sim), READ_BYTES_MAX);
        assert(bytes);
        uint32_t size = chain_bytes(world, &at->read_chain, bytes);
        SIM_CHECK(world->sim, size == read->bytes, "L3", "log %u: a read says %u bytes and gives %u", model->number, read->bytes, size);
        SIM_CHECK(world->sim, size > 0 || read->from >= read->upto_offset || !read->min_one, "L1", "log %u: nothing is read at %lld of %lld",
                  model->number, (long long)read->from, (long long)read->upto_offset);
        log_offset next = check_bytes(world, model, read->from, bytes, size, read->upto_offset);
        pool_free(sim_pool(world->sim), bytes, READ_BYTES_MAX);
        if (at->read_to >= 0 && next >= at->read_to) {
            at->checked = true;
            at->read_to = -1;
        }
        at->read.from = next;
    } else {
        SIM_CHECK(world->sim, err != ERR_CORRUPT, "L3", "log %u: reading at %lld finds damage where none was done", model->number, (long long)read->from);
        at->read_to = -1;
    }
    chain_clear(&at->read_chain);
    arena_reset(&at->read_arena);
    if (at->read_to >= 0 && !sim_has_failed(world->sim) && log_state(at->log) == LOG_OPEN) read_next(at);
}

static void read_done(struct log_read *read, enum err err) { read_ended(container_of(read, struct program_log, read), err); }

static void read_next(struct program_log *at) {
    at->read.out = &at->read_chain;
    at->read.log = at->log;
    at->read.done = read_done;
    at->read.min_one = true;
    at->reading = true;
    enum err err = log_read(&at->read);
    if (err != ERR_AGAIN) read_ended(at, err);
}

static void read_begin(struct program_log *at, log_offset from, uint32_t bytes_max, enum log_upto upto, log_offset to) {
    if (at->reading) return;
    at->read = (struct log_read){.from = from, .bytes_max = bytes_max, .upto = upto};
    at->read_to = to;
    read_next(at);
}

/* L6: what the indexes say about a time is what a walk over everything says. */
static void lookup_ended(struct program_log *at, enum err err) {
    struct world *world = at->program->world;
    struct model *model = at->model;
    at->looking = false;
    if (err) {
        SIM_CHECK(world->sim, disk_was_at_fault(world) || err == ERR_BUSY || err == ERR_CLOSED, "L6", "log %u: a lookup ends with %s", model->number, err_name(err));
        return;
    }
    if (log_start(at->log) > 0 || at->lookup_end > model_end(model)) return; /* only the first segment that reaches the time is
                                                                            * searched, as Kafka does: it may begin before the start */
    log_offset expected = -1;
    for (uint32_t i = 0; i < model->count && expected < 0; i++)
        if (model->batches[i].timestamp >= at->lookup.timestamp) expected = model->batches[i].base;
    /* What was appended and not yet in the file is not seen. */
    if (at->lookup.offset < 0 && expected >= at->lookup_written) return;
    SIM_CHECK(world->sim, at->lookup.offset == expected, "L6", "log %u: time %lld is found at %lld, a walk finds %lld", model->number,
              (long long)at->lookup.timestamp, (long long)at->lookup.offset, (long long)expected);
}

static void lookup_done(struct log_lookup *lookup, enum err err) { lookup_ended(container_of(lookup, struct program_log, lookup), err); }

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
    SIM_CHECK(world->sim, err == ERR_INVALID || err == ERR_BUSY || err == ERR_AGAIN || disk_was_at_fault(world), "append",
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
static void op_ended(struct log_wait *wait, enum err err) {
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
    bool filed = err == ERR_NONE && log_dir_is_online(log_dirs_at(program->dirs, 0)); /* nothing is written to one that failed */
    for (uint32_t i = 0; i < world->logs && filed; i++)
        if (world->models[i].known_after_life && world->models[i].start_asked > world->models[i].start_filed) world->models[i].start_filed = world->models[i].start_asked;
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
    SIM_CHECK(at->program->world->sim, !err || disk_was_at_fault(at->program->world), "L4", "log %u: the start is not filed: %s", at->model->number, err_name(err));
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

static void do_something(struct program_log *at) {
    struct program *program = at->program;
    struct world *world = program->world;
    struct model *model = at->model;
    log_offset start = log_start(at->log), end = log_end(at->log);
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

/* ---- Opening: L7, L8 and what came back */
static void opened(struct program_log *at) {
    struct world *world = at->program->world;
    struct model *model = at->model;
    if (model->known_after_life) return;
    model->known_after_life = true;
    log_offset end = log_end(at->log), start = log_start(at->log), least = model->power_was_cut ? model->flushed : model->written;
    if (model->truncating_to >= 0 && model->truncating_to < least) least = model->truncating_to;
    SAY(world, "log %u: opened %lld..%lld, after %s, model end %lld written %lld flushed %lld truncating %lld", model->number, (long long)start, (long long)end,
        model->power_was_cut ? "a power cut" : "a kill", (long long)model_end(model), (long long)model->written, (long long)model->flushed, (long long)model->truncating_to);
    sim_note(world->sim, "log opened", model->number, (uint64_t)start, (uint64_t)end);
    SIM_CHECK(world->sim, end >= least, "L7", "log %u: opened up to %lld after %s, %s was said to be up to %lld", model->number,
              (long long)end, model->power_was_cut ? "a power cut" : "a kill", model->power_was_cut ? "flushed" : "written", (long long)least);
    SIM_CHECK(world->sim, end <= model_end(model), "L5", "log %u: opened up to %lld, appended was only up to %lld", model->number,
              (long long)end, (long long)model_end(model));
    const struct model_batch *inside = model_find(model, end);
    /* A log that lost everything up to its start offset begins there, wherever that is. */
    SIM_CHECK(world->sim, !inside || inside->base == end || start == end, "L1", "log %u: opened up to %lld, in the middle of a batch", model->number, (long long)end);
    const struct log_report *report = log_report(at->log);
    SIM_CHECK(world->sim, report->damaged_at < 0, "L7", "log %u: damage is reported at %lld where none was done", model->number, (long long)report->damaged_at);
    SIM_CHECK(world->sim, !report->flushed_lost, "L7", "log %u: opened up to %lld, a loss is reported where there is none", model->number, (long long)end);
    /* A start that nobody was told to be safe may fall back with a crash; one that was told does not, and none rises by itself. */
    SIM_CHECK(world->sim, start >= model->start_filed, "L4", "log %u: starts at %lld, filed was %lld", model->number, (long long)start, (long long)model->start_filed);
    SIM_CHECK(world->sim, start <= model->start || model->start == 0, "L4", "log %u: starts at %lld, it was %lld", model->number, (long long)start, (long long)model->start);
    if (sim_has_failed(world->sim)) return;
    model_cut(model, end);
    model->start = start;
    model->flushed = model->written = end; /* recovery has brought in and synced what it keeps */
    if (log_flushed(at->log) < end) model->flushed = log_flushed(at->log);
    model->high_watermark = log_high_watermark(at->log);
    model->truncating_to = -1;
    model->power_was_cut = false;
    model->epoch++;
    log_epoch_assign(at->log, model->epoch, end);
    if (end > start) read_begin(at, start, READ_BYTES_MAX / 2, LOG_UPTO_END, end); /* all of it */
}

static void open_done(struct log_wait *wait, enum err err) {
    struct program_log *at = container_of(wait, struct program_log, open_wait);
    at->opening = false;
    SAY(at->program->world, "log %u: opening ends (%s)", at->model->number, err_name(err));
    if (err == ERR_NONE) opened(at);
}

static bool is_open(struct program_log *at) {
    if (at->opening || !at->log) return false;
    at->open_wait.done = open_done;
    enum err err = log_open(at->log, &at->open_wait);
    if (err == ERR_AGAIN) at->opening = true;
    if (err != ERR_NONE) return false;
    opened(at);
    return log_state(at->log) == LOG_OPEN;
}

/* ---- The program */
static void log_is_durable(struct log_owner *owner, struct log *log) {
    struct program_log *at = container_of(owner, struct program_log, owner);
    if (random_chance(&at->program->random, 1, 2)) log_high_watermark_set(log, log_durable(log));
}

static void log_has_failed(struct log_owner *owner, struct log *log, enum err err) {
    struct program_log *at = container_of(owner, struct program_log, owner);
    struct world *world = at->program->world;
    SIM_CHECK(world->sim, disk_was_at_fault(world), "log", "log %u failed with %s, and no disk did", at->model->number, err_name(err));
    at->program->failed = true;
}

static void stop_done(struct log_wait *wait, enum err err) {
    struct program *program = container_of(wait, struct program, stop_wait);
    program->stopped = true;
    SIM_CHECK(program->world->sim, err == ERR_NONE, "stop", "stopping the store ends with %s", err_name(err));
}

static void on_tick(struct timer *timer) {
    struct program *program = container_of(timer, struct program, tick);
    struct world *world = program->world;
    if (program->stopping || program->failed) return;
    struct program_log *at = &program->logs[random_below(&program->random, world->logs)];
    if (is_open(at) && !sim_has_failed(world->sim)) {
        if (!world->checking) do_something(at);
        else if (!at->checked && !at->reading) {
            if (log_end(at->log) > log_start(at->log)) read_begin(at, log_start(at->log), READ_BYTES_MAX / 2, LOG_UPTO_END, log_end(at->log));
            else at->checked = true;
        }
    }
    bool set = timer_set(program->shard, timer, shard_now(program->shard) + 100000 + (time_ns)random_below(&program->random, 4 * (uint64_t)NS_PER_MS), on_tick);
    assert(set);
}

static enum err logs_make(struct program *program) {
    struct world *world = program->world;
    for (uint32_t i = 0; i < world->logs; i++) {
        struct program_log *at = &program->logs[i];
        char topic[16];
        snprintf(topic, sizeof topic, "t%u", i);
        at->program = program;
        at->model = &world->models[i];
        at->truncate_to = at->read_to = -1;
        at->wait.done = op_ended;
        at->owner = (struct log_owner){.durable = log_is_durable, .failed = log_has_failed};
        arena_init(&at->read_arena, program->shard->pool, 0);
        chain_init(&at->read_chain, &at->read_arena);
        struct log_dir *found = log_dirs_find(program->dirs, topic, 0);
        struct log_spec spec = {.dir = found ? found : log_dirs_at(program->dirs, 0), .topic = topic, .create = true, .owner = &at->owner};
        memset(spec.topic_id.bytes, (int)i + 1, sizeof spec.topic_id.bytes);
        log_config_init(&spec.config);
        spec.config.flush_messages = world->page_cache ? INT64_MAX : 1;
        spec.config.segment_bytes = (uint32_t)world->segment_bytes;
        spec.config.index_interval_bytes = (uint32_t)world->index_interval;
        spec.config.retention_bytes = world->retention_bytes;
        spec.config.retention_ms = -1;
        spec.config.file_delete_delay_ms = 100;
        enum err err = log_new(&at->log, program->store, &spec);
        if (err) return err;
    }
    return ERR_NONE;
}

static void on_end_process(struct sim *sim, struct sim_event *event) {
    struct world *world = container_of(event, struct world, end_process);
    struct cluster_node *node = &world->cluster.nodes[0];
    struct program *program = node->program;
    if (program && !program->failed && log_dir_is_online(log_dirs_at(program->dirs, 0))) return; /* it was another life's end */
    if (node->process) cluster_kill(node);
    if (!sim_is_scheduled(&node->restart)) cluster_start(node);
}

/* The program cannot go on (a disk failed): ended and begun again, as whoever supervises it would. */
static void end_soon(struct world *world) {
    if (!sim_is_scheduled(&world->end_process)) sim_at(world->sim, &world->end_process, sim_now(world->sim) + 50 * NS_PER_MS, on_end_process);
}

static void program_start(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    struct program *program = POOL_NEW(sim_process_pool(node->process, 0), struct program);
    struct io *ios[1] = {sim_process_io(node->process, 0)};
    struct pool *pools[1] = {sim_process_pool(node->process, 0)};
    struct shard_options options = {.count = 1, .ios = ios, .pools = pools, .mailbox_messages = 64};
    char why[256] = "";
    assert(program);
    node->program = program;
    program->world = world;
    program->node = node;
    random_seed(&program->random, sim_fork_seed(world->sim));
    world->faults_at_start = sim_count(world->sim)->faults;
    world->lost_at_start = sim_count(world->sim)->lost;
    for (uint32_t i = 0; i < world->logs; i++) world->models[i].known_after_life = false;
    enum err err = shard_group_open(&program->group, &options);
    assert(err == ERR_NONE);
    program->shard = shard_at(program->group, 0);
    struct log_dirs_options dirs = {.paths = &data_path, .count = 1, .node = 1, .pool = pools[0], .disk_reserve_bytes = 0,
                                    .random = &program->random, .now_ms = io_wall(ios[0])};
    struct log_store_options store = {.open_logs_max = world->crowded ? 1 : 0, .open_files_max = world->crowded ? 2 : 0,
                                      .tail_bytes_max = world->crowded ? 2000 : 0, .recovery_checkpoint_ms = 1000, .high_watermark_ms = 500,
                                      .retention_check_ms = 700, .retention_first_ms = 300, .checkpoint_bytes_min = 10000,
                                      .producer_expiration_ms = INT64_C(3153600000000), .preallocate_bytes = world->crowded ? UINT32_MAX : 16384, .room_bytes_max = world->crowded ? UINT32_MAX : 16384};
    if ((err = log_dirs_open(&program->dirs, io_files(ios[0]), &dirs, why, sizeof why))) goto failed;
    if ((err = log_store_open(&program->store, program->shard, program->dirs, &store))) goto failed;
    if ((err = logs_make(program))) goto failed;
    sim_process_drive(node->process, program->group);
    bool set = timer_set(program->shard, &program->tick, 0, on_tick);
    assert(set);
    return;
failed:
    SIM_CHECK(world->sim, disk_was_at_fault(world) || sim_process_is_stuck(node->process), "start", "the program does not start: %s: %s", err_name(err), why);
    program->failed = true;
}

static void program_died(struct cluster_node *node) {
    struct world *world = node->cluster->owner;
    /* After a failed sync what was written may be gone, as after a power cut; what was flushed is not. A disk that was full, or
     * failed to read or to write, has lost nothing. */
    for (uint32_t i = 0; i < world->logs; i++)
        if (!sim_host_has_power(node->host) || sim_count(world->sim)->lost > world->lost_at_start) world->models[i].power_was_cut = true;
}

/* After each event: what the program says of itself, remembered and compared. */
static void look(struct cluster *cluster) {
    struct world *world = cluster->owner;
    struct cluster_node *node = &cluster->nodes[0];
    struct program *program = node->program;
    if (!program || sim_has_failed(world->sim)) return;
    if (program->failed || (program->dirs && !log_dir_is_online(log_dirs_at(program->dirs, 0)))) end_soon(world);
    for (uint32_t i = 0; i < world->logs; i++) {
        struct program_log *at = &program->logs[i];
        struct model *model = at->model;
        if (!at->log || !model->known_after_life || log_state(at->log) != LOG_OPEN || at->truncate_to >= 0) continue;
        log_offset start = log_start(at->log), stable = log_stable(at->log), mark = log_high_watermark(at->log), end = log_end(at->log);
        log_offset flushed = log_flushed(at->log), written = log_written(at->log), durable = log_durable(at->log);
        SIM_CHECK(world->sim, start <= stable && stable <= mark && mark <= end, "L4", "log %u: start %lld stable %lld mark %lld end %lld", i,
                  (long long)start, (long long)stable, (long long)mark, (long long)end);
        SIM_CHECK(world->sim, flushed <= written && written <= end, "L7", "log %u: flushed %lld written %lld end %lld", i, (long long)flushed,
                  (long long)written, (long long)end);
        SIM_CHECK(world->sim, durable <= (world->page_cache ? written : flushed), "L7", "log %u: durable %lld, flushed %lld, written %lld", i,
                  (long long)durable, (long long)flushed, (long long)written);
        SIM_CHECK(world->sim, mark >= model->high_watermark && start >= model->start, "L4", "log %u: the mark goes from %lld to %lld, the start from %lld to %lld", i,
                  (long long)model->high_watermark, (long long)mark, (long long)model->start, (long long)start);
        if (durable > (world->page_cache ? model->written : model->flushed)) model->acknowledged++, world->run->acknowledged++;
        if (flushed > model->flushed) model->flushed = flushed;
        if (written > model->written) model->written = written;
        model->high_watermark = mark;
        model->start = start;
    }
}

/* ---- The run */
static bool is_live(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    if (!program) return false;
    for (uint32_t i = 0; i < world->logs; i++)
        if (!world->models[i].known_after_life || world->models[i].acknowledged == 0) return false;
    return true;
}

static bool is_checked(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    for (uint32_t i = 0; program && i < world->logs; i++)
        if (!program->logs[i].checked) return false;
    return program != NULL;
}

static bool is_stopped(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    return program && program->stopped;
}

static bool is_idle(void *context) {
    struct world *world = context;
    struct program *program = world->cluster.nodes[0].program;
    for (uint32_t i = 0; program && i < world->logs; i++) {
        const struct program_log *at = &program->logs[i];
        if (at->reading || at->looking || at->waiting || at->starting || at->opening) return false;
    }
    return program != NULL && !program->checkpointing;
}

/* An orderly end, and then a start that must find everything clean; nothing may be left in the process' memory. */
static void stop_and_start(struct world *world) {
    struct cluster_node *node = &world->cluster.nodes[0];
    struct program *program = node->program;
    program->stopping = true;
    if (!sim_run_while_not(world->sim, is_idle, world, RUN_LIVE_WITHIN)) {
        sim_fail(world->sim, "stop", "operations do not end");
        return;
    }
    program->stop_wait.done = stop_done;
    enum err err = log_store_stop(program->store, &program->stop_wait);
    if (err == ERR_NONE) program->stopped = true;
    else if (err != ERR_AGAIN) sim_fail(world->sim, "stop", "stopping the store: %s", err_name(err));
    sim_io_nudge(sim_process_io(node->process, 0));
    if (!sim_run_while_not(world->sim, is_stopped, world, RUN_LIVE_WITHIN)) {
        sim_fail(world->sim, "stop", "the store does not stop");
        return;
    }
    struct io_files files = io_files(sim_process_io(node->process, 0));
    log_store_free(program->store);
    log_dirs_close(program->dirs, files, true, 7);
    timer_cancel(program->shard, &program->tick);
    for (uint32_t i = 0; i < world->logs; i++) arena_destroy(&program->logs[i].read_arena);
    struct sim_process *process = node->process;
    shard_group_close(program->group);
    pool_free(sim_process_pool(process, 0), program, sizeof *program);
    node->program = NULL;
    node->process = NULL;
    sim_process_end(process);
    for (uint32_t i = 0; i < world->logs; i++) world->models[i].power_was_cut = false;
    world->checking = true;
    cluster_start(node);
    if (!sim_run_while_not(world->sim, is_checked, world, RUN_LIVE_WITHIN)) {
        sim_fail(world->sim, "check", "after an orderly stop not everything is read back");
        return;
    }
    program = node->program;
    SIM_CHECK(world->sim, log_dirs_were_clean(program->dirs), "clean", "after an orderly stop the directory is not clean");
    for (uint32_t i = 0; i < world->logs; i++)
        SIM_CHECK(world->sim, log_report(program->logs[i].log)->clean && log_end(program->logs[i].log) == model_end(&world->models[i]), "clean",
                  "log %u is not clean after an orderly stop, or ends at %lld instead of %lld", i, (long long)log_end(program->logs[i].log),
                  (long long)model_end(&world->models[i]));
}

void sim_log_run(struct run *run);

void sim_log_run(struct run *run) {
    struct world *world = POOL_NEW(sim_pool(run->sim), struct world);
    assert(world);
    world->run = run;
    world->sim = run->sim;
    random_seed(&world->random, sim_fork_seed(run->sim));
    world->logs = (uint32_t)run_setting(run, "logs", 1, LOGS_MAX);
    world->page_cache = run_chance(run, "page_cache", 25);
    world->crowded = run_chance(run, "crowded", 40);
    world->segment_bytes = run_setting(run, "segment_kib", 4, 64) << 10;
    world->index_interval = run_setting(run, "index_interval", 1, 2000);
    world->retention_bytes = run_chance(run, "retention", 25) ? 60000 : -1;
    world->batch_records = run_setting(run, "batch_records", 1, 8);
    world->value_bytes = run_setting(run, "value_bytes", 0, 400);
    for (uint32_t i = 0; i < world->logs; i++) world->models[i] = (struct model){.number = i, .truncating_to = -1};
    cluster_init(&world->cluster, run, 1, 1, 0);
    world->cluster.owner = world;
    world->cluster.start = program_start;
    world->cluster.died = program_died;
    world->cluster.after_event = look;
    /* Formatted, and then the power goes at once: what format says it did is there. */
    struct uuid id = uuid_random(&world->random);
    enum err err = log_dir_format(sim_host_files(world->cluster.nodes[0].host), data_path, "simulated-cluster", 1, id, 1700000000000);
    SIM_CHECK(run->sim, err == ERR_NONE, "format", "formatting ends with %s", err_name(err));
    cluster_power_cut(&world->cluster.nodes[0], SIM_CRASH_LOSE_ALL);
    static const uint32_t weights[FAULT_KINDS] = {
        [FAULT_KILL] = 10, [FAULT_POWER] = 20, [FAULT_DISK_CUT] = 50, [FAULT_PAUSE] = 3, [FAULT_CLOCK_STEP] = 4, [FAULT_CLOCK_RATE] = 4,
        [FAULT_DISK_FULL] = 8, [FAULT_DISK_SYNC] = 6, [FAULT_DISK_WRITE] = 6, [FAULT_DISK_READ] = 4, [FAULT_DISK_SLOW] = 6};
    memcpy(run->weights, weights, sizeof weights);
    run->pause_min = 50 * NS_PER_MS;
    run->pause_max = 800 * NS_PER_MS;
    run->lasts_max = 2 * NS_PER_S;
    cluster_start(&world->cluster.nodes[0]);
    run_faults_begin(run, cluster_fault, &world->cluster);
    if (run_faults_end(run)) {
        struct cluster_node *node = &world->cluster.nodes[0];
        if (node->process && disk_was_at_fault(world)) cluster_kill(node); /* what failed stays failed in that process */
        cluster_heal(&world->cluster);
        for (uint32_t i = 0; i < world->logs; i++) world->models[i].acknowledged = 0;
        if (!sim_run_while_not(run->sim, is_live, world, RUN_LIVE_WITHIN) && !sim_has_failed(run->sim))
            sim_fail(run->sim, "liveness", "60 s after all is well again, not every log has acknowledged something");
        if (!sim_has_failed(run->sim)) stop_and_start(world);
    }
    if (sim_has_failed(run->sim)) return;
    cluster_destroy(&world->cluster);
    sim_cancel(run->sim, &world->end_process);
    for (uint32_t i = 0; i < world->logs; i++)
        pool_free(sim_pool(run->sim), world->models[i].batches, world->models[i].capacity * sizeof(struct model_batch));
    pool_free(sim_pool(run->sim), world, sizeof *world);
}
