#include "sim/sim_log.h"
#include "wire/batch.h"

/* ---- The model */
struct model_batch *model_find(struct model *model, log_offset offset) {
    uint32_t low = 0, high = model->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (model->batches[middle].last < offset) low = middle + 1;
        else high = middle;
    }
    return low < model->count && model->batches[low].base <= offset ? &model->batches[low] : NULL;
}

log_offset model_end(const struct model *model) { return model->end; }

void model_add(struct world *world, struct model *model, const struct model_batch *batch) {
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

void model_cut(struct model *model, log_offset end) {
    while (model->count > 0 && model->batches[model->count - 1].last >= end) model->count--;
    model->end = end;
}

bool disk_was_at_fault(const struct world *world) { return sim_count(world->sim)->faults > world->faults_at_start; }

uint32_t dir_index(const struct world *world, const struct log_dir *dir) {
    for (uint32_t d = 0; d < world->dirs; d++)
        if (strcmp(world->paths[d], log_dir_path(dir)) == 0) return d;
    never("a directory of somebody else's");
}

bool log_was_at_fault(const struct program_log *at) {
    const struct world *world = at->program->world;
    for (uint32_t d = 0; d < world->dirs; d++)
        if ((at->dirs_used >> d & 1) && world->dir_faults[d]) return true;
    return false;
}

bool dirs_are_online(const struct program *program) {
    for (uint32_t d = 0; d < log_dirs_count(program->dirs); d++)
        if (!log_dir_is_online(log_dirs_at(program->dirs, d))) return false;
    return true;
}

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

void read_begin(struct program_log *at, log_offset from, uint32_t bytes_max, enum log_upto upto, log_offset to) {
    if (at->reading) return;
    at->read = (struct log_read){.from = from, .bytes_max = bytes_max, .upto = upto};
    at->read_to = to;
    read_next(at);
}

/* L6: what the indexes say about a time is what a walk over everything says. */
void lookup_ended(struct program_log *at, enum err err) {
    struct world *world = at->program->world;
    struct model *model = at->model;
    at->looking = false;
    if (err) {
        SIM_CHECK(world->sim, log_was_at_fault(at) || err == ERR_BUSY || err == ERR_CLOSED, "L6", "log %u: a lookup ends with %s", model->number, err_name(err));
        return;
    }
    if (log_was_at_fault(at)) return; /* a directory that is gone looks like segments that retention has deleted */
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

void lookup_done(struct log_lookup *lookup, enum err err) { lookup_ended(container_of(lookup, struct program_log, lookup), err); }

/* ---- Opening: L7, L8 and what came back */
void opened(struct program_log *at) {
    struct world *world = at->program->world;
    struct model *model = at->model;
    if (model->known_after_life) return;
    model->known_after_life = true;
    log_offset end = log_end(at->log), start = log_start(at->log), least = model->power_was_cut ? model->flushed : model->written;
    if (model->truncating_to >= 0 && model->truncating_to < least) least = model->truncating_to;
    SAY(world, "log %u: opened %lld..%lld (recovery point %lld), after %s, model end %lld written %lld flushed %lld truncating %lld", model->number, (long long)start, (long long)end, (long long)log_report(at->log)->recovery_point,
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

/* ---- After each event */
/* A directory is given up only when something in it has failed. */
static void look_at_dirs(struct program *program) {
    struct world *world = program->world;
    bool failed = program->failed;
    for (uint32_t d = 0; program->dirs && d < world->dirs; d++) {
        if (log_dir_is_online(log_dirs_at(program->dirs, d))) continue;
        SIM_CHECK(world->sim, world->dir_faults[d] || sim_process_is_stuck(program->node->process), "dir", "%s is given up, and nothing failed in it", world->paths[d]);
        failed = true;
    }
    for (uint32_t i = 0; i < world->logs; i++) failed |= program->logs[i].failed;
    if (failed) end_soon(world);
}

static void look_where(struct program_log *at) {
    const struct world *world = at->program->world;
    at->model->dir = dir_index(world, log_dir_of(at->log));
    at->dirs_used |= UINT32_C(1) << at->model->dir;
    if (log_move_target(at->log)) at->dirs_used |= UINT32_C(1) << dir_index(world, log_move_target(at->log));
}

/* After each event: what the program says of itself, remembered and compared. */
void look(struct cluster *cluster) {
    struct world *world = cluster->owner;
    struct cluster_node *node = &cluster->nodes[0];
    struct program *program = node->program;
    if (!program || sim_has_failed(world->sim)) return;
    look_at_dirs(program);
    for (uint32_t i = 0; i < world->logs; i++) {
        struct program_log *at = &program->logs[i];
        struct model *model = at->model;
        if (at->log) look_where(at);
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

/* ---- Folders */
struct folders { const char *name; uint32_t count, strays, others; char other[256]; };

static bool ends_with(const char *name, const char *ending) {
    size_t size = strlen(name), end = strlen(ending);
    return size > end && strcmp(name + size - end, ending) == 0;
}

static void see_folder(void *context, const char *name, bool is_directory) {
    struct folders *folders = context;
    if (!is_directory) return;
    if (folders->name && strcmp(name, folders->name) == 0) folders->count++;
    else if (ends_with(name, "-stray")) folders->strays++;
    else if (name[0] == 't' && strlen(name) == strlen("t0-0")) return;
    else {
        folders->others++;
        snprintf(folders->other, sizeof folders->other, "%s", name);
    }
}

void check_folder(struct program_log *at) {
    struct world *world = at->program->world;
    struct sim_disk *disk = sim_host_disk(at->program->node->host);
    char name[16];
    snprintf(name, sizeof name, "t%u-0", at->model->number);
    for (uint32_t d = 0; d < world->dirs; d++) {
        struct folders folders = {.name = name};
        bool is_there = d == dir_index(world, log_dir_of(at->log));
        sim_disk_peek_names(disk, world->paths[d], see_folder, &folders);
        SIM_CHECK(world->sim, folders.count == is_there, "dir", "log %u is in %s, and %s has %s folder of its name", at->model->number,
                  log_dir_path(log_dir_of(at->log)), world->paths[d], folders.count ? "a" : "no");
    }
}

void check_folders(struct world *world) {
    for (uint32_t d = 0; d < world->dirs; d++) {
        struct folders folders = {0};
        sim_disk_peek_names(sim_host_disk(world->cluster.nodes[0].host), world->paths[d], see_folder, &folders);
        SIM_CHECK(world->sim, folders.others == 0, "dir", "at the end %s still has %s", world->paths[d], folders.other);
    }
}
