#include "controller/format.h"
#include "base/random.h"
#include "meta/meta_test.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

struct collected { struct arena *arena; struct span values[64]; uint32_t count; };
static void collect(void *context, struct span value, const struct batch *batch, bool last) {
    struct collected *c = context;
    assert_true(c->count < countof(c->values));
    c->values[c->count++] = (struct span){arena_copy(c->arena, value.data, value.size), value.size};
    (void)batch;
    (void)last;
}

static void expect_records(const struct format_plan *plan, const char *golden, struct pool *pool) {
    struct arena arena;
    arena_init(&arena, pool, 0);
    struct collected apache = {.arena = &arena};
    walk_vector_log(golden, &(struct log_walk){&apache, collect});
    char words[256];
    struct text why;
    text_init(&why, words, sizeof words);
    struct span *values;
    uint32_t count;
    assert_int_equal(format_records(plan, &arena, &values, &count, &why), ERR_NONE);
    assert_int_equal(count, apache.count);
    for (uint32_t i = 0; i < count; i++) assert_true(span_equal(values[i], apache.values[i]));
    arena_destroy(&arena);
}

/* The records of a new cluster are those that kafka-storage.sh format writes, with static voters, with a dynamic quorum, and
 * with a SCRAM credential. */
TEST(format_writes_the_records_of_apache) {
    struct pool pool;
    pool_init(&pool, 0, 0);
    struct format_plan plan = {.node = 1, .is_controller = true};
    expect_records(&plan, "format-static/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", &pool);
    plan.dynamic = true;
    expect_records(&plan, "format-no-initial-controllers/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", &pool);
    struct arena arena;
    arena_init(&arena, &pool, 0);
    struct collected apache = {.arena = &arena};
    walk_vector_log("format-standalone/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", &(struct log_walk){&apache, collect});
    struct user_scram_credential_record alice;
    struct span last = apache.values[apache.count - 1];
    assert_int_equal(last.data[1], 11);
    assert_int_equal(user_scram_credential_record_decode(&alice, 0, (struct span){last.data + 3, last.size - 3}, &arena, NULL), ERR_NONE);
    struct format_scram scram = {alice.name, alice.mechanism, alice.salt, alice.stored_key, alice.server_key, alice.iterations};
    plan.scrams = &scram;
    plan.scram_count = 1;
    expect_records(&plan, "format-standalone/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", &pool);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Levels that cannot be are refused by a sentence. */
TEST(format_refuses_levels_that_do_not_fit) {
    static const struct { const char *feature; int16_t level, mv; bool dynamic; const char *why; } cases[] = {
        {NULL, 0, 6, false, "metadata.version 6 is not one that can be chosen: 7 (3.3-IV3) to 33 (4.4-IV2) are"},
        {NULL, 0, 34, false, "metadata.version 34 is not one that can be chosen: 7 (3.3-IV3) to 33 (4.4-IV2) are"},
        {"no.such", 1, 0, false, "there is no feature no.such"},
        {"share.version", 3, 0, false, "share.version has levels 0 to 2, not 3"},
        {"eligible.leader.replicas.version", 1, MV_3_9_IV0, false, "level 1 of eligible.leader.replicas.version needs metadata.version 4.0-IV1 at least"},
        {"kraft.version", 1, 0, false, "kraft.version is 1 with a dynamic quorum, and 0 with static voters"},
        {"kraft.version", 0, 0, true, "kraft.version is 1 with a dynamic quorum, and 0 with static voters"},
    };
    struct pool pool;
    pool_init(&pool, 0, 0);
    struct arena arena;
    arena_init(&arena, &pool, 0);
    for (size_t i = 0; i < countof(cases); i++) {
        char words[256];
        struct text why;
        text_init(&why, words, sizeof words);
        struct format_plan plan = {.node = 1, .metadata_version = cases[i].mv, .dynamic = cases[i].dynamic};
        if (cases[i].feature) plan.features[plan.feature_count++] = (struct format_feature){span_text(cases[i].feature), cases[i].level};
        struct span *values;
        uint32_t count;
        assert_int_equal(format_records(&plan, &arena, &values, &count, &why), ERR_INVALID);
        assert_string_equal(words, cases[i].why);
    }
    arena_destroy(&arena);
    pool_destroy(&pool);
}

static const char snapshot_file[] = "/d0/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";

/* The bootstrap snapshot as it is seen: whole, with its records; or not there. */
static bool has_whole_snapshot(struct sim_disk *disk) {
    uint8_t bytes[4096];
    int64_t size = sim_disk_peek(disk, snapshot_file, bytes, sizeof bytes, 0);
    if (size <= 0) return false;
    struct span rest = {bytes, (size_t)size};
    struct batch batch;
    uint32_t batches = 0;
    enum err err;
    while ((err = batch_next(&rest, &batch)) == ERR_NONE && batch_crc_is_good(&batch)) batches++;
    return err == ERR_NOT_FOUND && batches == 3; /* header, records, footer */
}

/* Power is cut at every operation of a format of two directories, and the disk keeps what it likes: a metadata directory
 * that says it is formatted always has its whole bootstrap snapshot; and formatting again finishes the work, or says that
 * all is there. After a format that returned, losing all that was not synced loses nothing. */
TEST(format_survives_a_cut_at_every_operation) {
    uint64_t operations = 0;
    for (uint64_t cut = 0, done = 0; !done; cut++) {
        for (int policy = SIM_CRASH_RANDOM; policy <= SIM_CRASH_KEEP_ALL; policy++) {
            struct sim *sim = sim_new(cut * 3 + (uint64_t)policy + 1);
            struct sim_disk *disk = sim_disk_new(sim, 0, 0);
            struct pool pool;
            pool_init(&pool, 0, 16);
            static const char *const dirs[] = {"/d0", "/d1"};
            struct uuid ids[2] = {{{1, 2, 3}}, {{4, 5, 6}}};
            struct format_plan plan = {.node = 7, .cluster_id = SPAN_LITERAL("h0kgHDQiRXaFvUGu98bZiQ"), .dirs = dirs, .directory_ids = ids, .dir_count = 2,
                                       .is_controller = true, .now = 1795218452454};
            char words[256];
            struct text why;
            text_init(&why, words, sizeof words);
            struct sim_disk_user *user = sim_disk_user_new(disk);
            sim_disk_cut_after(disk, cut);
            uint64_t before = sim_disk_operations(disk);
            enum err err = format_run(&plan, sim_disk_files(user), &pool, &why);
            operations = sim_disk_operations(disk) - before;
            bool cut_short = sim_disk_is_cut(disk);
            assert_true(cut_short || err == ERR_NONE);
            if (!cut_short) done = 1;
            sim_disk_user_kill(user);
            sim_disk_user_free(user);
            sim_disk_crash(disk, (enum sim_crash)policy);
            user = sim_disk_user_new(disk);
            struct io_files files = sim_disk_files(user);
            struct log_dir_meta meta;
            enum err formatted = format_read(files, "/d0", &meta);
            if (formatted == ERR_NONE) assert_true(has_whole_snapshot(disk));
            if (err == ERR_NONE) assert_int_equal(formatted, ERR_NONE);
            text_reset(&why);
            enum err again = format_run(&plan, files, &pool, &why);
            if (again != (formatted == ERR_NONE ? ERR_EXISTS : ERR_NONE)) fail_msg("cut %llu, policy %d: %s", (unsigned long long)cut, policy, words);
            assert_int_equal(format_read(files, "/d0", &meta), ERR_NONE);
            assert_int_equal(meta.node, 7);
            assert_string_equal(meta.cluster_id, "h0kgHDQiRXaFvUGu98bZiQ");
            assert_true(has_whole_snapshot(disk));
            assert_int_equal(format_read(files, "/d1", &meta), ERR_NONE);
            assert_true(uuid_equal(meta.id, ids[1]));
            sim_disk_user_kill(user);
            sim_disk_user_free(user);
            sim_disk_free(disk);
            sim_free(sim);
            pool_destroy(&pool);
        }
    }
    printf("format of two directories: %llu changing operations\n", (unsigned long long)operations);
}

/* A formatted node is not formatted again; somebody else's directory never is. */
TEST(format_leaves_others_alone) {
    struct sim *sim = sim_new(1);
    struct sim_disk *disk = sim_disk_new(sim, 0, 0);
    struct sim_disk_user *user = sim_disk_user_new(disk);
    struct io_files files = sim_disk_files(user);
    struct pool pool;
    pool_init(&pool, 0, 16);
    static const char *const dirs[] = {"/d0"};
    struct uuid id = {{9}};
    struct format_plan plan = {.node = 7, .cluster_id = SPAN_LITERAL("a"), .dirs = dirs, .directory_ids = &id, .dir_count = 1, .is_controller = true};
    char words[256];
    struct text why;
    text_init(&why, words, sizeof words);
    assert_int_equal(format_run(&plan, files, &pool, &why), ERR_NONE);
    assert_int_equal(format_run(&plan, files, &pool, &why), ERR_EXISTS);
    assert_string_equal(words, "/d0 is formatted already");
    plan.ignore_formatted = true;
    assert_int_equal(format_run(&plan, files, &pool, &why), ERR_NONE);
    plan.node = 8;
    text_reset(&why);
    assert_int_equal(format_run(&plan, files, &pool, &why), ERR_INVALID);
    assert_string_equal(words, "/d0 belongs to node 7 of cluster a");
    sim_disk_user_kill(user);
    sim_disk_user_free(user);
    sim_disk_free(disk);
    sim_free(sim);
    pool_destroy(&pool);
}
