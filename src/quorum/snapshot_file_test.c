/* Snapshots: Kafka's own are read, and written again they are the same bytes; what is cut or damaged is none. */
#include "quorum/host.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pool pool;
static uint8_t golden[1 << 16];

static uint32_t golden_read(const char *name) {
    char path[512];
    snprintf(path, sizeof(path), "%s/disk/%s", test_vectors_folder(), name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(golden, 1, sizeof(golden), file);
    fclose(file);
    assert_true(size > 0 && size < sizeof(golden));
    return (uint32_t)size;
}

static const struct {
    const char *name;
    struct raft_snapshot_id id;
    int16_t version;
    uint32_t voters, records;
} GOLDEN[] = {
    {"files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", {0, 0}, 1, 1, 7},
    {"files/__cluster_metadata-0/00000000000000000051-0000000001.checkpoint", {51, 1}, 1, 1, 38},
    {"format-standalone/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", {0, 0}, 1, 1, 0},
    {"format-static/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", {0, 0}, 0, 0, 0},
    {"format-no-initial-controllers/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", {0, 0}, 1, 0, 0},
};

/* Reads each of Kafka's snapshots with the reader, takes it apart, builds it anew at the same times: equal byte by byte. */
TEST(snapshots_are_kafkas) {
    pool_init(&pool, 0, 16);
    for (size_t i = 0; i < countof(GOLDEN); i++) {
        uint32_t size = golden_read(GOLDEN[i].name), at = 0, records = 0;
        struct arena arena;
        struct snapshot_reader reader;
        static struct raft_voters voters;
        struct snapshot_builder builder;
        struct span rest = span_of(golden, size);
        struct batch batch;
        enum err err;
        arena_init(&arena, &pool, 0);
        snapshot_reader_init(&reader, GOLDEN[i].id);
        snapshot_builder_init(&builder, &pool, GOLDEN[i].id, 0);
        while (!(err = batch_next(&rest, &batch))) {
            struct slab *slab;
            bool begins = !reader.has_header;
            assert_int_equal(snapshot_reader_batch(&reader, &batch, &arena, &voters), ERR_NONE);
            builder.now = batch.base_timestamp;
            if (begins) {
                err = snapshot_builder_header(&builder, reader.last_timestamp, reader.version, reader.has_voters ? &voters : NULL, &slab);
            } else if (reader.has_footer) {
                err = snapshot_builder_footer(&builder, &slab);
            } else {
                struct quorum_batch *decoded;
                uint32_t count;
                assert_int_equal(quorum_batches_decode(span_of(batch.bytes, batch.size), 0, &arena, &decoded, &count), ERR_NONE);
                assert_int_equal(count, 1);
                records += decoded->count;
                err = snapshot_builder_records(&builder, decoded->values, decoded->count, &slab);
            }
            assert_int_equal(err, ERR_NONE);
            assert_int_equal(slab->used, batch.size);
            assert_memory_equal(slab->bytes, golden + at, batch.size);
            at += batch.size;
            slab_drop(slab);
        }
        assert_int_equal(err, ERR_NOT_FOUND);
        assert_int_equal(at, size);
        assert_true(reader.has_footer);
        assert_int_equal(reader.version, GOLDEN[i].version);
        assert_int_equal(reader.has_voters ? voters.count : 0, GOLDEN[i].voters);
        if (GOLDEN[i].records) assert_int_equal(records, GOLDEN[i].records);
        if (GOLDEN[i].voters) {
            struct raft_listener listener;
            assert_true(raft_voters_find_listener(&voters, voters.voters[0].key.id, SPAN_LITERAL("CONTROLLER"), &listener));
            assert_true(listener.host.size > 0 && listener.port > 0);
        }
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}

static void put(struct io_files files, const char *path, const void *bytes, size_t size) {
    struct io_file *file;
    assert_int_equal(files.vtable->open(files.self, &file, path, IO_WRITE | IO_CREATE | IO_TRUNCATE), 0);
    assert_true(files.vtable->write(files.self, file, bytes, size, 0) >= 0);
    io_file_drop(file);
}

/* A snapshot cut at any byte, or with any byte changed behind a batch's epoch, is not one. */
TEST(damaged_snapshots_are_refused) {
    struct sim *sim = sim_new(1);
    struct sim_disk *disk = sim_disk_new(sim, 0, 0);
    struct sim_disk_user *user = sim_disk_user_new(disk);
    struct io_files files = sim_disk_files(user);
    static struct raft_voters voters;
    struct snapshot_reader reader;
    pool_init(&pool, 0, 16);
    uint32_t size = golden_read(GOLDEN[1].name);
    put(files, "/whole", golden, size);
    assert_int_equal(snapshot_file_verify(files, &pool, "/whole", GOLDEN[1].id, &reader, &voters), ERR_NONE);
    for (uint32_t cut = 0; cut < size; cut++) {
        put(files, "/cut", golden, cut);
        assert_int_equal(snapshot_file_verify(files, &pool, "/cut", GOLDEN[1].id, &reader, &voters), ERR_CORRUPT);
    }
    for (uint32_t at = BATCH_AT_MAGIC; at < size; at += 7) {
        struct span rest = span_of(golden, size);
        struct batch batch;
        uint32_t start = 0, in;
        while (!batch_next(&rest, &batch) && start + batch.size <= at) start += batch.size;
        in = at - start;
        if (in < BATCH_AT_MAGIC) continue; /* offset, length and epoch are not in the sum: see the reader's other rules */
        golden[at] ^= 0x10;
        put(files, "/bad", golden, size);
        assert_int_not_equal(snapshot_file_verify(files, &pool, "/bad", GOLDEN[1].id, &reader, &voters), ERR_NONE);
        golden[at] ^= 0x10;
    }
    sim_disk_user_kill(user);
    sim_disk_user_free(user);
    sim_disk_free(disk);
    sim_free(sim);
    pool_destroy(&pool);
}

/* More than a piece of a file, and a batch larger than one: read whole all the same. */
TEST(large_snapshots_are_read) {
    struct sim *sim = sim_new(1);
    struct sim_disk *disk = sim_disk_new(sim, 0, 0);
    struct sim_disk_user *user = sim_disk_user_new(disk);
    struct io_files files = sim_disk_files(user);
    struct snapshot_builder builder;
    struct snapshot_reader reader;
    struct raft_snapshot_id id = {1000, 3};
    struct io_file *file;
    struct slab *slab;
    uint64_t at = 0;
    enum { VALUES = 3000, VALUE_BYTES = 700 };
    static uint8_t bytes[VALUE_BYTES];
    static struct span values[VALUES];
    pool_init(&pool, 0, 16);
    for (uint32_t i = 0; i < VALUES; i++) values[i] = span_of(bytes, VALUE_BYTES);
    assert_int_equal(files.vtable->open(files.self, &file, "/large", IO_WRITE | IO_CREATE), 0);
    snapshot_builder_init(&builder, &pool, id, 12345);
    for (int i = 0; i < 6; i++) {
        enum err err = i == 0 ? snapshot_builder_header(&builder, 1, 0, NULL, &slab) :
                       i == 5 ? snapshot_builder_footer(&builder, &slab) : snapshot_builder_records(&builder, values, VALUES, &slab);
        assert_int_equal(err, ERR_NONE);
        assert_true(files.vtable->write(files.self, file, slab->bytes, slab->used, at) >= 0);
        at += slab->used;
        slab_drop(slab);
    }
    io_file_drop(file);
    assert_true(at > 4u * VALUES * VALUE_BYTES);
    assert_int_equal(snapshot_file_verify(files, &pool, "/large", id, &reader, NULL), ERR_NONE);
    assert_int_equal(reader.next, 4 * VALUES + 2);
    sim_disk_user_kill(user);
    sim_disk_user_free(user);
    sim_disk_free(disk);
    sim_free(sim);
    pool_destroy(&pool);
}

/* Names, as Kafka gives them. */
TEST(snapshot_names_are_parsed) {
    struct raft_snapshot_id id;
    assert_int_equal(snapshot_name_parse("00000000000000000051-0000000001.checkpoint", &id), SNAPSHOT_NAME_WHOLE);
    assert_true(id.offset == 51 && id.epoch == 1);
    assert_int_equal(snapshot_name_parse("00000000000000000051-0000000001-8741236571.checkpoint.part", &id), SNAPSHOT_NAME_PART);
    assert_int_equal(snapshot_name_parse("00000000000000000051-0000000001.checkpoint.part", &id), SNAPSHOT_NAME_PART);
    assert_int_equal(snapshot_name_parse("00000000000000000051-0000000001.checkpoint.deleted", &id), SNAPSHOT_NAME_DELETED);
    static const char *const others[] = {"", "quorum-state", "00000000000000000051.log", "00000000000000000051-000000001.checkpoint",
                                         "99999999999999999999-0000000001.checkpoint", "00000000000000000051-9999999999.checkpoint",
                                         "00000000000000000051-0000000001.checkpointX", "leader-epoch-checkpoint"};
    for (size_t i = 0; i < countof(others); i++) assert_int_equal(snapshot_name_parse(others[i], &id), SNAPSHOT_NAME_OTHER);
    char path[QUORUM_PATH_MAX];
    snapshot_path("/d", (struct raft_snapshot_id){51, 1}, ".part", path);
    assert_string_equal(path, "/d/00000000000000000051-0000000001.checkpoint.part");
}

/* What format leaves: equal to Kafka's for a standalone controller, and durable when it answers. */
TEST(format_leaves_a_bootstrap_snapshot) {
    struct sim *sim = sim_new(1);
    struct sim_disk *disk = sim_disk_new(sim, 0, 0);
    struct sim_disk_user *user = sim_disk_user_new(disk);
    struct io_files files = sim_disk_files(user);
    static struct raft_voters voters, found;
    struct snapshot_reader reader;
    struct span values[] = {SPAN_LITERAL("\x01\x0c\x00\x11metadata.version\x00\x21\x00")};
    pool_init(&pool, 0, 16);
    assert_int_equal(files.vtable->make_directory(files.self, "/m"), 0);
    assert_int_equal(files.vtable->sync_directory(files.self, "/"), 0);
    assert_int_equal(raft_voters_parse(SPAN_LITERAL("1@127.0.0.1:39193:Lh5EN2ABTh6YwD2b_wPwiA"), SPAN_LITERAL("CONTROLLER"), true, &voters), ERR_NONE);
    assert_int_equal(quorum_format(files, &pool, "/m", 1, &voters, values, 1, 1795218452454), ERR_NONE);
    sim_disk_user_kill(user);
    sim_disk_user_free(user);
    sim_disk_crash(disk, SIM_CRASH_LOSE_ALL);
    user = sim_disk_user_new(disk);
    files = sim_disk_files(user);
    char path[QUORUM_PATH_MAX];
    snapshot_path("/m/__cluster_metadata-0", (struct raft_snapshot_id){0, 0}, "", path);
    assert_int_equal(snapshot_file_verify(files, &pool, path, (struct raft_snapshot_id){0, 0}, &reader, &found), ERR_NONE);
    assert_int_equal(reader.version, 1);
    assert_true(raft_voters_equal(&found, &voters));
    sim_disk_user_kill(user);
    sim_disk_user_free(user);
    sim_disk_free(disk);
    sim_free(sim);
    pool_destroy(&pool);
}
