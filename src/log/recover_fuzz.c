#include "log/recover.h"
#include "fuzz.h"
#include "sim/sim_disk.h"
#include "wire/batch.h"
#include <string.h>

/* A partition's folder with any bytes as its segment and its indexes: recovery opens it or says why not, never more; what
 * it then says of the log holds for the bytes that are left. Input: a byte that says how the rest is split, the rest. */

static void put(struct io_files files, const char *path, const uint8_t *data, size_t size) {
    struct io_file *file;
    assert(files.vtable->open(files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE) == 0);
    if (size) assert(files.vtable->write(files.self, file, data, size, 0) == (int64_t)size);
    io_file_drop(file);
}

static void check(struct io_files files, const struct log_body *body) {
    static uint8_t bytes[1 << 16];
    log_offset next = 0;
    assert(body->count == 1);
    const struct segment *segment = body->segments[0];
    segment_check(segment);
    assert(segment->size < sizeof bytes);
    assert(files.vtable->read(files.self, segment->file, bytes, sizeof bytes, 0) == (int64_t)segment->size);
    struct span rest = span_of(bytes, segment->size);
    struct batch batch;
    enum err err;
    while (!(err = batch_next(&rest, &batch))) {
        assert(batch_crc_is_good(&batch));
        assert(batch.base_offset >= next);
        next = batch_next_offset(&batch);
    }
    assert(err == ERR_NOT_FOUND || err == ERR_UNSUPPORTED); /* old messages are not looked at here */
    if (!err || err == ERR_NOT_FOUND) assert(body->end == next);
    producer_check_state(body->producers);
    epoch_check(&body->epochs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 20000) return 0;
    size_t log_size = (size - 2) * data[0] / 255, index_size = (size - 2 - log_size) / 2;
    static struct sim *sim; /* a new disk in the same world each time */
    if (!sim) sim = sim_new(1);
    struct sim_disk *disk = sim_disk_new(sim, 0, 0);
    struct sim_disk_user *user = sim_disk_user_new(disk);
    struct io_files files = sim_disk_files(user);
    assert(files.vtable->make_directory(files.self, "/d") == 0);
    assert(files.vtable->make_directory(files.self, "/d/t-0") == 0);
    put(files, "/d/t-0/00000000000000000000.log", data + 2, log_size);
    put(files, "/d/t-0/00000000000000000000.index", data + 2 + log_size, index_size);
    put(files, "/d/t-0/00000000000000000000.timeindex", data + 2 + log_size + index_size, size - 2 - log_size - index_size);
    struct pool body_pool, work_pool;
    pool_init(&body_pool, MIB(64), 0);
    pool_init(&work_pool, MIB(64), 0);
    struct log_config config;
    log_config_init(&config);
    config.index_interval_bytes = 100;
    struct recover_input input = {.files = files, .body_pool = &body_pool, .work_pool = &work_pool, .parent = "/d", .folder = "/d/t-0",
                                  .config = &config, .start_mark = -1, .recovery_point = data[1] & 127, .clean = data[1] & 128,
                                  .now_ms = 1700000000000, .producer_expiration_ms = INT64_MAX / 2};
    struct log_body *body = NULL;
    struct uuid id;
    enum err err = recover(&input, &body, &id);
    if (!err) {
        if (!body->report.clean && body->report.recovery_point == 0) check(files, body);
        recover_body_free(body, &body_pool);
    } else {
        assert(err == ERR_CORRUPT);
    }
    pool_destroy(&body_pool);
    pool_destroy(&work_pool);
    sim_disk_user_free(user);
    sim_disk_free(disk);
    return 0;
}

void fuzz_seeds(fuzz_add *add) {
    static uint8_t input[4096];
    struct pool pool;
    pool_init(&pool, 0, 0);
    size_t size = 2;
    for (int i = 0; i < 6; i++) {
        struct batch_builder builder;
        struct batch_options options;
        struct slab *slab;
        batch_options_init(&options);
        options.base_offset = i * 2;
        options.leader_epoch = i / 3;
        options.producer_id = i % 2 ? 7 : -1;
        options.producer_epoch = i % 2 ? 0 : -1;
        options.base_sequence = i % 2 ? i : -1;
        batch_builder_init(&builder, &pool, 4096, &options);
        for (int k = 0; k < 2; k++)
            if (batch_builder_add(&builder, 1000 + i, SPAN_LITERAL("key"), SPAN_LITERAL("value"), NULL, 0)) never("there is memory");
        if (batch_builder_finish(&builder, NULL, &slab)) never("there is memory");
        memcpy(input + size, slab->bytes, slab->used);
        size += slab->used;
        slab_drop(slab);
        batch_builder_destroy(&builder);
        for (int flags = 0; flags < 4; flags++) {
            input[0] = flags & 1 ? 255 : 200;
            input[1] = flags & 2 ? 128 + 5 : 0;
            add(input, size);
        }
    }
    pool_destroy(&pool);
}
