#include "log/log_test.h"
#include "base/hash.h"
#include "base/text.h"
#include "io/io_shim.h"
#include "sim/sim_io.h"
#include "test.h"
#include "wire/batch.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench {
    enum bench_where where;
    struct log_store_options options;
    struct log_config config;
    char dir[256];
    struct pool real_pool;
    struct pool batch_pool;   /* of what is appended: not the program's */
    uint64_t reserve;
    bool has_second;
    struct sim *sim;
    struct sim_net *net;
    struct sim_host *host;
    struct sim_process *process;
    uint32_t shards;
    struct io *ios[4];
    struct log_store *stores[4];
    struct io *io;            /* of the shard that was chosen, as those below */
    struct shard_group *group;
    struct shard *shard;
    struct log_dirs *dirs;
    struct log_store *store;
    struct random random;
};
static const char cluster[] = "TbH7K9H3or5WN2m56kkS5w";

struct log_store_options *bench_options(struct bench *b) { return &b->options; }
struct log_config *bench_config(struct bench *b) { return &b->config; }
const char *bench_dir(const struct bench *b) { return b->dir; }
struct sim_disk *bench_disk(struct bench *b) { return sim_host_disk(b->host); }
struct log_store *bench_store(struct bench *b) { return b->store; }
struct log_dirs *bench_dirs(struct bench *b) { return b->dirs; }
struct shard *bench_shard(struct bench *b) { return b->shard; }
struct pool *bench_pool(struct bench *b) { return b->shard->pool; }
struct io_files bench_files(struct bench *b) { return b->where == BENCH_SIM ? sim_host_files(b->host) : io_files_real(); }

struct bench *bench_new(enum bench_where where, uint64_t seed) {
    struct bench *b = calloc(1, sizeof *b);
    b->where = where;
    b->shards = 1;
    random_seed(&b->random, seed);
    pool_init(&b->batch_pool, 0, 0);
    pool_track(&b->batch_pool);
    log_config_init(&b->config);
    b->options.preallocate_bytes = UINT32_MAX;
    if (where == BENCH_SIM) {
        b->sim = sim_new(seed);
        struct sim_net_options options = sim_net_options_default();
        b->net = sim_net_new(b->sim, &options);
        b->host = sim_host_new(b->sim, b->net, 0, 0);
        strcpy(b->dir, "/data");
    } else {
        strcpy(b->dir, "/tmp/moldau-log-XXXXXX");
        assert_non_null(mkdtemp(b->dir));
    }
    struct uuid id = uuid_random(&b->random);
    assert_int_equal(log_dir_format(bench_files(b), b->dir, cluster, 1, id, 1700000000000), ERR_NONE);
    return b;
}

static void close_process(struct bench *b) {
    b->group = NULL;
    b->shard = NULL;
    b->store = NULL;
    b->dirs = NULL;
    b->io = NULL;
    b->process = NULL;
}

void bench_shards(struct bench *b, uint32_t count) { b->shards = count; }
void bench_on_shard(struct bench *b, uint32_t shard) {
    b->io = b->ios[shard];
    b->shard = shard_at(b->group, shard);
    b->store = b->stores[shard];
}
void bench_reserve(struct bench *b, uint64_t bytes) { b->reserve = bytes; }
uint64_t bench_faults(struct bench *b) { return sim_count(b->sim)->faults; }

void bench_free(struct bench *b) {
    pool_abandon(&b->batch_pool);
    pool_destroy(&b->batch_pool);
    if (b->where == BENCH_SIM) {
        assert_null(b->process);
        sim_host_free(b->host);
        sim_net_free(b->net);
        sim_free(b->sim);
    } else {
        char command[300];
        assert_null(b->group);
        snprintf(command, sizeof command, "rm -rf '%s'", b->dir);
        assert_int_equal(system(command), 0);
    }
    free(b);
}

static const char second_dir[] = "/data2";

void bench_second_dir(struct bench *b) {
    struct uuid id = uuid_random(&b->random);
    assert_int_equal(b->where, BENCH_SIM);
    sim_disk_set_devices(bench_disk(b));
    assert_int_equal(log_dir_format(bench_files(b), second_dir, cluster, 1, id, 1700000000000), ERR_NONE);
    b->has_second = true;
}

enum err bench_start(struct bench *b) {
    struct pool *pools[4];
    if (b->where == BENCH_SIM) {
        b->process = sim_process_start(b->host, b->shards);
        for (uint32_t i = 0; i < b->shards; i++) {
            b->ios[i] = sim_process_io(b->process, i);
            pools[i] = sim_process_pool(b->process, i);
        }
    } else {
        pool_init(&b->real_pool, 0, 64);
        pools[0] = &b->real_pool;
        struct io_options options = {.backend = IO_BACKEND_EPOLL, .offload_threads = 2, .pool = pools[0]};
        assert_int_equal(io_open(&b->ios[0], &options), 0);
    }
    struct shard_options options = {.count = b->shards, .ios = b->ios, .pools = pools};
    assert_int_equal(shard_group_open(&b->group, &options), ERR_NONE);
    char why[256] = "";
    const char *paths[] = {b->dir, second_dir};
    struct log_dirs_options dirs = {.paths = paths, .count = b->has_second ? 2 : 1, .node = 1, .cluster_id = cluster, .pool = pools[0], .random = &b->random,
                                    .now_ms = 1700000000000, .disk_reserve_bytes = b->reserve};
    enum err err = log_dirs_open(&b->dirs, io_files(b->ios[0]), &dirs, why, sizeof why);
    for (uint32_t i = b->shards; i-- > 0;) {
        bench_on_shard(b, i);
        if (!err) err = log_store_open(&b->stores[i], b->shard, b->dirs, &b->options);
    }
    bench_on_shard(b, 0);
    return err;
}

static void end_process(struct bench *b) {
    shard_group_close(b->group);
    assert_int_equal(b->batch_pool.used, 0);
    if (b->where == BENCH_SIM) sim_process_end(b->process);
    else pool_destroy(&b->real_pool);
    close_process(b);
}

void bench_stop(struct bench *b) {
    for (uint32_t i = b->shards; i-- > 0;) { /* shard 0 last: it writes for all */
        struct waiting waiting;
        waiting_init(&waiting);
        bench_on_shard(b, i);
        assert_int_equal(bench_wait(b, &waiting, log_store_stop(b->store, &waiting.wait)), ERR_NONE);
    }
    for (uint32_t i = 0; i < b->shards; i++) log_store_free(b->stores[i]);
    log_dirs_close(b->dirs, io_files(b->io), true, 7);
    end_process(b);
}

void bench_kill(struct bench *b) {
    sim_process_kill(b->process);
    pool_abandon(&b->batch_pool);
    close_process(b);
}

void bench_power_cut(struct bench *b, enum bench_crash crash) {
    static const enum sim_crash crashes[] = {SIM_CRASH_RANDOM, SIM_CRASH_LOSE_ALL, SIM_CRASH_KEEP_ALL, SIM_CRASH_NEWEST};
    sim_host_power_cut(b->host, crashes[crash]);
    sim_host_power_on(b->host);
    pool_abandon(&b->batch_pool);
    close_process(b);
}

bool bench_is_stuck(struct bench *b) { return b->where == BENCH_SIM && b->process && sim_process_is_stuck(b->process); }

/* With several shards each has its turn; none waits for long, since another may have to act first. */
static void turn(struct bench *b, time_ns end) {
    if (b->shards == 1) { shard_turn(b->shard, end); return; }
    for (uint32_t i = 0; i < b->shards; i++) {
        time_ns soon = io_now(b->ios[i]) + 100000;
        shard_turn(shard_at(b->group, i), soon < end ? soon : end);
    }
}

bool bench_until(struct bench *b, const bool *what) {
    time_ns end = io_now(b->io) + (b->where == BENCH_SIM ? 60 : 10) * NS_PER_S;
    while (!*what) {
        if (bench_is_stuck(b) || io_now(b->io) >= end) return false;
        turn(b, end);
    }
    return true;
}

void bench_turns(struct bench *b, uint32_t turns) {
    for (uint32_t i = 0; i < turns && !bench_is_stuck(b); i++) turn(b, io_now(b->io) + NS_PER_S);
}

void bench_completions(struct bench *b) { io_turn(b->io, io_now(b->io) + NS_PER_S); }

bool bench_pass(struct bench *b, time_ms time) {
    time_ns end = io_now(b->io) + time * NS_PER_MS;
    while (io_now(b->io) < end) {
        if (bench_is_stuck(b)) return false;
        turn(b, end);
    }
    return true;
}

static void waited(struct log_wait *wait, enum err err) {
    struct waiting *waiting = container_of(wait, struct waiting, wait);
    assert_false(waiting->done);
    waiting->done = true;
    waiting->err = err;
}

void waiting_init(struct waiting *waiting) {
    *waiting = (struct waiting){.wait.done = waited};
    list_init(&waiting->wait.node);
}

enum err bench_wait(struct bench *b, struct waiting *waiting, enum err err) {
    if (err != ERR_AGAIN) return err;
    assert_false(waiting->done); /* not from within the call */
    if (bench_until(b, &waiting->done)) return waiting->err;
    assert_true(bench_is_stuck(b));
    return ERR_TIMEOUT;
}

static void told_written(struct log_owner *owner, struct log *log) { container_of(owner, struct bench_log, owner)->written_told = log_written(log); }
static void told_durable(struct log_owner *owner, struct log *log) { container_of(owner, struct bench_log, owner)->durable_told = log_durable(log); }
static void told_start(struct log_owner *owner, struct log *log) { container_of(owner, struct bench_log, owner)->start_told++; }
static void told_failed(struct log_owner *owner, struct log *log, enum err err) {
    struct bench_log *l = container_of(owner, struct bench_log, owner);
    l->failed_told++;
    l->failed_with = err;
}

enum err bench_open(struct bench *b, struct bench_log *log, const char *topic, partition_index partition) {
    struct waiting waiting;
    waiting_init(&waiting);
    *log = (struct bench_log){.owner = {told_written, told_durable, told_start, told_failed}};
    struct log_dir *dir = log_dirs_find(b->dirs, topic, partition);
    struct log_spec spec = {.dir = dir ? dir : log_dirs_at(b->dirs, 0), .topic = topic, .partition = partition, .create = !dir,
                            .config = b->config, .owner = &log->owner};
    enum err err = log_new(&log->log, b->store, &spec);
    return err ? err : bench_wait(b, &waiting, log_open(log->log, &waiting.wait));
}

struct slab *bench_batch(struct bench *b, log_offset base, leader_epoch epoch, uint32_t count, uint32_t bytes) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    options.base_offset = base;
    options.leader_epoch = epoch;
    batch_builder_init(&builder, &b->batch_pool, 64 << 20, &options);
    uint8_t *value = malloc(bytes + 1);
    for (uint32_t i = 0; i < count; i++) {
        char key[32];
        struct text text;
        text_init(&text, key, sizeof key);
        text_add(&text, "key-%lld", (long long)(base + i));
        memset(value, (int)('a' + (base + i) % 26), bytes);
        assert_int_equal(batch_builder_add(&builder, 1000 + base + i, span_of(key, text.size), span_of(value, bytes), NULL, 0), ERR_NONE);
    }
    free(value);
    assert_int_equal(batch_builder_finish(&builder, NULL, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    return slab;
}

enum err bench_append(struct bench *b, struct log *log, leader_epoch epoch, uint32_t count, uint32_t bytes, struct log_appended *out) {
    struct log_appended nothing;
    struct slab *slab = bench_batch(b, log_end(log), epoch, count, bytes);
    batch_stamp(slab->bytes, 0, -1); /* as a client sends it */
    struct log_append append = {.batches = {slab->bytes, slab->used, slab}, .origin = LOG_FROM_CLIENT, .epoch = epoch};
    enum err err = log_append(log, &append, out ? out : &nothing);
    slab_drop(slab);
    return err;
}

bool bench_until_durable(struct bench *b, struct bench_log *log, log_offset end) {
    time_ns limit = io_now(b->io) + 60 * NS_PER_S;
    while (log_durable(log->log) < end && !log->failed_told) {
        if (bench_is_stuck(b)) return false;
        if (io_now(b->io) >= limit) {
            char line[512];
            struct text text;
            text_init(&text, line, sizeof line);
            log_text(log->log, &text);
            fail_msg("nobody answers for %lld: %s", (long long)end, line);
        }
        turn(b, limit);
    }
    return !log->failed_told;
}

enum err bench_append_durably(struct bench *b, struct bench_log *log, leader_epoch epoch, uint32_t count, uint32_t bytes) {
    struct log_appended out;
    enum err err = bench_append(b, log->log, epoch, count, bytes, &out);
    if (err) return err;
    return bench_until_durable(b, log, out.last + 1) ? ERR_NONE : log->failed_told ? log->failed_with : ERR_TIMEOUT;
}

/* ---- Reading */
struct reading { struct log_read read; bool done; enum err err; };

static void read_told(struct log_read *read, enum err err) {
    struct reading *reading = (struct reading *)(void *)read;
    reading->done = true;
    reading->err = err;
}

enum err bench_read(struct bench *b, struct log_read *read) {
    struct reading reading = {.read = *read};
    reading.read.done = read_told;
    enum err err = log_read(&reading.read);
    if (err == ERR_AGAIN) {
        assert_false(reading.done);
        if (!bench_until(b, &reading.done)) return ERR_TIMEOUT;
        err = reading.err;
    }
    *read = reading.read;
    return err;
}

struct looking { struct log_lookup lookup; bool done; enum err err; };
static void lookup_told(struct log_lookup *lookup, enum err err) {
    struct looking *looking = (struct looking *)(void *)lookup;
    looking->done = true;
    looking->err = err;
}

enum err bench_lookup(struct bench *b, struct log_lookup *lookup) {
    struct looking looking = {.lookup = *lookup};
    looking.lookup.done = lookup_told;
    enum err err = log_lookup(&looking.lookup);
    if (err == ERR_AGAIN) {
        if (!bench_until(b, &looking.done)) return ERR_TIMEOUT;
        err = looking.err;
    }
    *lookup = looking.lookup;
    return err;
}

size_t bench_copy(struct bench *b, const struct chain *chain, uint8_t *target, size_t size) {
    struct io_files files = io_files(b->io);
    size_t done = 0;
    for (const struct slice *slice = chain->first; slice; slice = slice->next) {
        assert_true(done + slice->size <= size);
        if (slice->kind == SLICE_MEMORY) memcpy(target + done, slice->memory.data, slice->size);
        else assert_int_equal(files.vtable->read(files.self, (struct io_file *)(void *)slice->file.file, target + done, slice->size, slice->file.offset), slice->size);
        done += slice->size;
    }
    return done;
}

static void check_content(const struct batch *batch) {
    struct batch_records records;
    struct record_cursor cursor;
    struct record record;
    assert_int_equal(batch_records_open(batch, NULL, NULL, &records), ERR_NONE);
    record_cursor_init(&cursor, batch, records.bytes);
    log_offset offset = batch->base_offset;
    for (; record_next(&cursor, &record) == ERR_NONE; offset++) {
        char key[32];
        int size = snprintf(key, sizeof key, "key-%lld", (long long)offset);
        assert_int_equal(record.offset, offset);
        assert_int_equal(record.timestamp, 1000 + offset);
        assert_int_equal(record.key.size, size);
        assert_memory_equal(record.key.data, key, (size_t)size);
        for (size_t i = 0; i < record.value.size; i++) assert_int_equal(record.value.data[i], 'a' + offset % 26);
    }
    assert_int_equal(offset, batch_next_offset(batch));
    batch_records_close(&records);
}

struct bench_seen bench_read_all(struct bench *b, struct log *log, log_offset from, enum log_upto upto, uint32_t bytes_max, bool content) {
    struct bench_seen seen = {.next = from};
    struct arena arena;
    arena_init(&arena, b->shard->pool, 0);
    for (;;) {
        struct chain chain;
        chain_init(&chain, &arena);
        struct log_read read = {.log = log, .from = seen.next, .bytes_max = bytes_max, .min_one = true, .upto = upto, .out = &chain};
        assert_int_equal(bench_read(b, &read), ERR_NONE);
        assert_int_equal(read.bytes, chain.bytes);
        if (read.bytes == 0) {
            chain_clear(&chain);
            break;
        }
        seen.reads++;
        if (chain.first->kind == SLICE_MEMORY) seen.reads_memory++;
        uint8_t *bytes = malloc(read.bytes);
        assert_int_equal(bench_copy(b, &chain, bytes, read.bytes), read.bytes);
        chain_clear(&chain);
        struct span rest = span_of(bytes, read.bytes);
        struct batch batch;
        bool first = true;
        enum err err;
        log_offset before = seen.next;
        while (!(err = batch_next(&rest, &batch))) {
            assert_true(batch_crc_is_good(&batch));
            if (first) assert_int_equal(batch.base_offset, read.position.offset);
            assert_true(batch.base_offset >= seen.next || (first && batch_last_offset(&batch) >= seen.next));
            assert_true(batch_last_offset(&batch) < read.upto_offset);
            if (content) check_content(&batch);
            first = false;
            seen.next = batch_next_offset(&batch);
            seen.batches++;
            seen.records += (uint32_t)batch.count;
            seen.bytes += batch.size;
            seen.hash = hash_u64(seen.hash ^ hash_bytes(batch.bytes, batch.size));
        }
        assert_true(err == ERR_NOT_FOUND || err == ERR_AGAIN);
        assert_true(seen.next > before); /* min_one */
        free(bytes);
    }
    arena_destroy(&arena);
    return seen;
}

/* ---- Files */
static void path_in(const struct bench *b, char *out, size_t size, const char *name) { assert_true((size_t)snprintf(out, size, "%s/%s", b->dir, name) < size); }

int64_t bench_file_size(struct bench *b, const char *name) {
    char path[2400];
    struct io_stat stat;
    struct io_files files = bench_files(b);
    path_in(b, path, sizeof path, name);
    int result = files.vtable->stat(files.self, path, &stat);
    return result < 0 ? result : (int64_t)stat.size;
}

size_t bench_file_read(struct bench *b, const char *name, void *target, size_t size) {
    char path[2400];
    struct io_file *file;
    struct io_files files = bench_files(b);
    path_in(b, path, sizeof path, name);
    assert_int_equal(files.vtable->open(files.self, &file, path, IO_READ), 0);
    int64_t got = files.vtable->read(files.self, file, target, size, 0);
    assert_true(got >= 0);
    io_file_drop(file);
    return (size_t)got;
}

void bench_file_write(struct bench *b, const char *name, const void *bytes, size_t size) {
    char path[2400];
    struct io_file *file;
    struct io_files files = bench_files(b);
    path_in(b, path, sizeof path, name);
    assert_int_equal(files.vtable->open(files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE), 0);
    if (size) assert_int_equal(files.vtable->write(files.self, file, bytes, size, 0), size);
    assert_int_equal(files.vtable->sync_file(files.self, file), 0);
    io_file_drop(file);
    strrchr(path, '/')[0] = 0;
    assert_int_equal(files.vtable->sync_directory(files.self, path), 0);
}

void bench_file_remove(struct bench *b, const char *name) {
    char path[2400];
    struct io_files files = bench_files(b);
    path_in(b, path, sizeof path, name);
    assert_int_equal(files.vtable->unlink(files.self, path), 0);
    strrchr(path, '/')[0] = 0;
    assert_int_equal(files.vtable->sync_directory(files.self, path), 0);
}

struct copying { struct bench *bench; const char *from, *to; };
static int copy_entry(void *context, const char *name, bool is_directory) {
    struct copying *copying = context;
    struct bench *b = copying->bench;
    char from[2048], to[2048];
    snprintf(from, sizeof from, "%s/%s", copying->from, name);
    snprintf(to, sizeof to, "%s%s%s", copying->to, copying->to[0] ? "/" : "", name);
    if (is_directory) {
        char path[2400];
        struct io_files files = bench_files(b);
        path_in(b, path, sizeof path, to);
        assert_int_equal(files.vtable->make_directory(files.self, path), 0);
        struct copying inner = {b, from, to};
        struct io_files real = io_files_real();
        assert_int_equal(real.vtable->list(real.self, from, copy_entry, &inner), 0);
        assert_int_equal(files.vtable->sync_directory(files.self, path), 0);
        return 0;
    }
    FILE *file = fopen(from, "rb");
    assert_non_null(file);
    static uint8_t bytes[1 << 20];
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    bench_file_write(b, to, bytes, size);
    return 0;
}

void bench_copy_in(struct bench *b, const char *source) {
    struct copying copying = {b, source, ""};
    struct io_files real = io_files_real();
    assert_int_equal(real.vtable->list(real.self, source, copy_entry, &copying), 0);
}

struct bench *bench_small(void) {
    struct bench *b = bench_new(BENCH_SIM, 3);
    bench_config(b)->segment_bytes = 4096;
    bench_config(b)->index_interval_bytes = 300;
    bench_config(b)->retention_ms = -1;
    bench_config(b)->file_delete_delay_ms = 1000;
    bench_options(b)->producer_expiration_ms = INT64_MAX / 2; /* the batches here are of 1970 */
    return b;
}

struct bench *bench_started(struct bench *b, struct bench_log *l) {
    assert_int_equal(bench_start(b), ERR_NONE);
    assert_int_equal(bench_open(b, l, "orders", 0), ERR_NONE);
    return b;
}

void bench_end(struct bench *b) {
    log_store_check(bench_store(b));
    bench_stop(b);
    bench_free(b);
}

void bench_fill(struct bench *b, struct bench_log *l, uint32_t batches, leader_epoch epoch) {
    for (uint32_t i = 0; i < batches; i++) assert_int_equal(bench_append_durably(b, l, epoch, 2, 150), ERR_NONE);
}

uint64_t bench_batch_at(struct bench *b, uint32_t n) {
    static uint8_t bytes[1 << 16];
    struct batch_frame frame;
    uint64_t at = 0;
    size_t size = bench_file_read(b, "orders-0/00000000000000000000.log", bytes, sizeof bytes);
    for (; n > 0; n--) {
        assert_int_equal(batch_frame_parse(span_of(bytes + at, size - at), &frame), ERR_NONE);
        at += frame.size;
    }
    return at;
}

struct counting { const char *ending; uint32_t count; };
static int count_one(void *context, const char *name, bool is_directory) {
    struct counting *counting = context;
    size_t size = strlen(name), end = strlen(counting->ending);
    counting->count += size >= end && strcmp(name + size - end, counting->ending) == 0;
    return 0;
}

uint32_t bench_count_files(struct bench *b, const char *folder, const char *ending) {
    struct counting counting = {ending, 0};
    char path[300];
    struct text text;
    text_init(&text, path, sizeof path);
    text_add(&text, "%s%s%s", bench_dir(b), *folder ? "/" : "", folder);
    struct io_files files = bench_files(b);
    assert_int_equal(files.vtable->list(files.self, path, count_one, &counting), 0);
    return counting.count;
}
