#include "log/dir.h"
#include "base/text.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <errno.h>
#include <string.h>

/* A disk with directories on it, and processes that open them. */
struct place { struct sim *sim; struct sim_disk *disk; struct sim_disk_user *user; struct io_files files; struct pool pool; struct random random; char why[256]; };

static struct place place_new(void) {
    struct place p = {.sim = sim_new(1)};
    p.disk = sim_disk_new(p.sim, 0, 0);
    p.user = sim_disk_user_new(p.disk);
    p.files = sim_disk_files(p.user);
    pool_init(&p.pool, 0, 0);
    random_seed(&p.random, 2);
    return p;
}

static void place_free(struct place *p) {
    sim_disk_user_free(p->user);
    sim_disk_free(p->disk);
    pool_destroy(&p->pool);
    sim_free(p->sim);
}

static const char cluster[] = "TbH7K9H3or5WN2m56kkS5w";

static enum err format(struct place *p, const char *path, broker_id node) {
    return log_dir_format(p->files, path, cluster, node, uuid_random(&p->random), 1700000000000);
}

static enum err open_dirs(struct place *p, struct log_dirs **dirs, const char *a, const char *b, broker_id node) {
    const char *paths[] = {a, b};
    struct log_dirs_options options = {.paths = paths, .count = b ? 2 : 1, .node = node, .pool = &p->pool, .random = &p->random, .now_ms = 1700000000000};
    p->why[0] = 0;
    return log_dirs_open(dirs, p->files, &options, p->why, sizeof p->why);
}

static void put(struct place *p, const char *path, const char *text) {
    struct io_file *file;
    assert_int_equal(p->files.vtable->open(p->files.self, &file, path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE), 0);
    assert_int_equal(p->files.vtable->write(p->files.self, file, text, strlen(text), 0), strlen(text));
    io_file_drop(file);
}

/* A formatted directory opens; its identity is read back; formatting it again is refused; a second process is locked out
 * until the first one has closed. */
TEST(dir_format_open_and_lock) {
    struct place p = place_new();
    struct log_dirs *dirs, *second;
    assert_int_equal(format(&p, "/a", 3), ERR_NONE);
    assert_int_equal(format(&p, "/a", 3), ERR_EXISTS);
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 3), ERR_NONE);
    assert_string_equal(log_dirs_cluster_id(dirs), cluster);
    struct log_dir_meta meta;
    assert_int_equal(log_dir_meta_read(p.files, "/a", &meta), ERR_NONE);
    assert_int_equal(meta.node, 3);
    assert_true(uuid_equal(meta.id, log_dir_id(log_dirs_at(dirs, 0))));
    assert_ptr_equal(log_dirs_by_id(dirs, meta.id), log_dirs_at(dirs, 0));
    assert_int_equal(open_dirs(&p, &second, "/a", NULL, 3), ERR_LOCKED);
    assert_non_null(strstr(p.why, "in use"));
    log_dirs_close(dirs, p.files, true, 9);
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 3), ERR_NONE);
    assert_true(log_dirs_were_clean(dirs));
    assert_int_equal(log_dirs_previous_epoch(dirs), 9);
    log_dirs_close(dirs, p.files, false, 9);
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 3), ERR_NONE);
    assert_false(log_dirs_were_clean(dirs));
    log_dirs_close(dirs, p.files, false, 9);
    place_free(&p);
}

/* What must stop the start does, with a sentence that names the directory: not formatted, of another node or cluster. */
TEST(dir_what_stops_the_start) {
    struct place p = place_new();
    struct log_dirs *dirs;
    assert_int_equal(p.files.vtable->make_directory(p.files.self, "/empty"), 0);
    assert_int_equal(open_dirs(&p, &dirs, "/empty", NULL, 1), ERR_NOT_FOUND);
    assert_non_null(strstr(p.why, "/empty is not formatted"));
    assert_int_equal(format(&p, "/a", 1), ERR_NONE);
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 2), ERR_INVALID);
    assert_non_null(strstr(p.why, "node 1"));
    assert_int_equal(log_dir_format(p.files, "/b", "anothercluster", 1, uuid_random(&p.random), 0), ERR_NONE);
    assert_int_equal(open_dirs(&p, &dirs, "/a", "/b", 1), ERR_INVALID);
    assert_non_null(strstr(p.why, "anothercluster"));
    put(&p, "/file", "x");
    assert_int_equal(open_dirs(&p, &dirs, "/a", "/file", 1), ERR_INVALID);
    place_free(&p);
}

/* A meta.properties that cannot be parsed is replaced by its copy; without a copy that is good, too, the start stops. */
TEST(dir_damaged_identity_has_a_second_copy) {
    struct place p = place_new();
    struct log_dirs *dirs;
    struct log_dir_meta meta, again;
    assert_int_equal(format(&p, "/a", 1), ERR_NONE);
    assert_int_equal(log_dir_meta_read(p.files, "/a", &meta), ERR_NONE);
    put(&p, "/a/meta.properties", "version=1\nnode.id=");
    assert_int_equal(log_dir_meta_read(p.files, "/a", &again), ERR_NONE);
    assert_true(uuid_equal(meta.id, again.id));
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 1), ERR_NONE);
    log_dirs_close(dirs, p.files, false, 0);
    /* And it is whole again, for others, who know of no copy. */
    put(&p, "/a/moldau.meta.properties", "");
    assert_int_equal(log_dir_meta_read(p.files, "/a", &again), ERR_NONE);
    assert_true(uuid_equal(meta.id, again.id));
    /* A lost copy is made anew. */
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 1), ERR_NONE);
    log_dirs_close(dirs, p.files, false, 0);
    put(&p, "/a/meta.properties", "");
    assert_int_equal(log_dir_meta_read(p.files, "/a", &again), ERR_NONE);
    assert_true(uuid_equal(meta.id, again.id));
    put(&p, "/a/moldau.meta.properties", "");
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 1), ERR_CORRUPT);
    assert_non_null(strstr(p.why, "damaged"));
    place_free(&p);
}

/* A second directory that is empty becomes part of the node, as a replaced disk does; one that fails is offline, and the
 * node starts without it; the metadata's may not fail. */
TEST(dir_each_directory_fails_on_its_own) {
    struct place p = place_new();
    struct log_dirs *dirs;
    assert_int_equal(format(&p, "/a", 1), ERR_NONE);
    assert_int_equal(p.files.vtable->make_directory(p.files.self, "/b"), 0);
    assert_int_equal(open_dirs(&p, &dirs, "/a", "/b", 1), ERR_NONE);
    assert_false(uuid_is_zero(log_dir_id(log_dirs_at(dirs, 1))));
    log_dirs_close(dirs, p.files, true, 1);
    for (int n = 0; n < 2; n++) {
        struct sim_disk_fault fault = {.operations = SIM_DISK_OPEN | SIM_DISK_STAT, .path_part = n ? "/a" : "/b", .error = -EIO};
        sim_disk_fail(p.disk, &fault);
        enum err err = open_dirs(&p, &dirs, "/a", "/b", 1);
        assert_int_equal(err, n ? ERR_IO : ERR_NONE);
        sim_disk_heal(p.disk);
        if (err) continue;
        assert_true(log_dir_is_online(log_dirs_at(dirs, 0)));
        assert_false(log_dir_is_online(log_dirs_at(dirs, 1)));
        assert_false(log_dirs_were_clean(dirs)); /* what is not there cannot be known to be */
        log_dirs_close(dirs, p.files, true, 1);
    }
    place_free(&p);
}

static int count_found(void *context, struct log_dir *dir, const char *topic, partition_index partition) {
    ++*(int *)context;
    return 0;
}

/* Partitions are found by their folders' names alone, with what the checkpoints say; other folders are left alone, and so
 * are lines of a checkpoint for partitions that are not there, or a checkpoint that cannot be read. */
TEST(dir_finds_partitions) {
    struct place p = place_new();
    struct log_dirs *dirs;
    static const char *const folders[] = {"/a/orders-0", "/a/orders-1", "/a/with-dash-12", "/a/noise", "/a/x-y", "/a/-5",
                                          "/a/orders-2.0123456789abcdef0123456789abcdef-delete", "/a/orders-3.0123456789abcdef0123456789abcdef-future"};
    assert_int_equal(format(&p, "/a", 1), ERR_NONE);
    for (size_t i = 0; i < countof(folders); i++) assert_int_equal(p.files.vtable->make_directory(p.files.self, folders[i]), 0);
    put(&p, "/a/recovery-point-offset-checkpoint", "0\n3\norders 0 17\nwith-dash 12 5\ngone 0 1\n");
    put(&p, "/a/replication-offset-checkpoint", "0\n2\norders 0 16\n");
    put(&p, "/a/log-start-offset-checkpoint", "0\n1\norders 0 3\n");
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 1), ERR_NONE);
    int count = 0;
    assert_int_equal(log_dirs_each_found(dirs, count_found, &count), 0);
    assert_int_equal(count, 3);
    assert_non_null(log_dirs_find(dirs, "with-dash", 12));
    assert_null(log_dirs_find(dirs, "orders", 2));
    struct found *found = dirs_find(dirs, "orders", 0);
    assert_int_equal(found->marks[CHECKPOINT_RECOVERY], 17);
    assert_int_equal(found->marks[CHECKPOINT_START], 3);
    assert_int_equal(found->marks[CHECKPOINT_HIGH_WATERMARK], -1); /* its count was wrong */
    assert_int_equal(dirs_find(dirs, "orders", 1)->marks[CHECKPOINT_RECOVERY], -1);
    assert_non_null(log_dirs_at(dirs, 0)->away);
    log_dirs_close(dirs, p.files, false, 1);
    place_free(&p);
}

struct scanned { int count, futures; uint64_t bytes; };

static bool is_orders(void *context, const char *topic, partition_index partition) { return strcmp(topic, "orders") == 0; }

static int count_scanned(void *context, const struct log_dir_entry *entry) {
    struct scanned *scanned = context;
    scanned->count++;
    scanned->futures += entry->is_future;
    scanned->bytes += entry->bytes;
    return 0;
}

/* A scan tells partitions and those on their way into the directory, with the bytes of their segments and of nothing else;
 * what is not wanted is not told, and what is being deleted neither. */
TEST(dir_is_scanned) {
    struct place p = place_new();
    struct log_dirs *dirs;
    static const char *const folders[] = {"/a/orders-0", "/a/other-1", "/a/orders-2.0123456789abcdef0123456789abcdef-delete",
                                          "/a/orders-3.0123456789abcdef0123456789abcdef-future"};
    assert_int_equal(format(&p, "/a", 1), ERR_NONE);
    for (size_t i = 0; i < countof(folders); i++) assert_int_equal(p.files.vtable->make_directory(p.files.self, folders[i]), 0);
    put(&p, "/a/orders-0/00000000000000000000.log", "12345");
    put(&p, "/a/orders-0/00000000000000000009.log", "678");
    put(&p, "/a/orders-0/00000000000000000000.index", "not counted");
    put(&p, "/a/orders-3.0123456789abcdef0123456789abcdef-future/00000000000000000000.log", "90");
    put(&p, "/a/other-1/00000000000000000000.log", "1");
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 1), ERR_NONE);
    struct scanned all = {0}, orders = {0};
    assert_int_equal(log_dir_scan(log_dirs_at(dirs, 0), p.files, NULL, count_scanned, &all), 0);
    assert_int_equal(all.count, 3);
    assert_int_equal(all.bytes, 11);
    assert_int_equal(log_dir_scan(log_dirs_at(dirs, 0), p.files, is_orders, count_scanned, &orders), 0);
    assert_int_equal(orders.count, 2);
    assert_int_equal(orders.futures, 1);
    assert_int_equal(orders.bytes, 10);
    log_dirs_close(dirs, p.files, false, 1);
    place_free(&p);
}

/* The names of files and folders, both ways, and what is not one. */
TEST(dir_names) {
    char topic[NAME_MAX_BYTES + 1], name[NAME_MAX_BYTES + 1], path[PATH_MAX_BYTES];
    partition_index partition;
    log_offset offset;
    assert_true(name_partition("a-b-3", topic, &partition));
    assert_string_equal(topic, "a-b");
    assert_int_equal(partition, 3);
    assert_false(name_partition("a-", topic, &partition));
    assert_false(name_partition("a-3x", topic, &partition));
    assert_false(name_partition("a-99999999999", topic, &partition));
    assert_true(name_offset("00000000000000000042.log", ".log", &offset));
    assert_int_equal(offset, 42);
    assert_false(name_offset("0000000000000000042.log", ".log", &offset));
    assert_false(name_offset("99999999999999999999.log", ".log", &offset));
    path_of_offset(path, "/a", 42, ".index");
    assert_string_equal(path, "/a/00000000000000000042.index");
    char long_topic[250];
    memset(long_topic, 't', 249);
    long_topic[249] = 0;
    path_away_name(name, long_topic, 7, (struct uuid){{0xab}}, "-delete");
    assert_int_equal(strlen(name), 255);
    assert_true(name_ends_with(name, "-7.ab000000000000000000000000000000-delete"));
    assert_true(name_future("a-b-3.0123456789abcdef0123456789abcdef-future", topic, &partition));
    assert_string_equal(topic, "a-b");
    assert_int_equal(partition, 3);
    assert_false(name_future("a-b-3.0123456789abcdef0123456789abcdef-delete", topic, &partition));
    assert_false(name_future("a-b-3.0123456789abcdef0123456789abcde-future", topic, &partition));
    assert_false(name_future("a-b-3.0123456789ABCDEF0123456789abcdef-future", topic, &partition));
    assert_false(name_future("a-b.0123456789abcdef0123456789abcdef-future", topic, &partition));
    assert_false(name_future(".0123456789abcdef0123456789abcdef-future", topic, &partition));
}

/* A checkpoint whose first read fails is read again: a start that was forgotten would show what was deleted. */
TEST(dir_reads_a_checkpoint_again) {
    struct place p = place_new();
    struct log_dirs *dirs;
    assert_int_equal(format(&p, "/a", 1), ERR_NONE);
    assert_int_equal(p.files.vtable->make_directory(p.files.self, "/a/orders-0"), 0);
    put(&p, "/a/log-start-offset-checkpoint", "0\n1\norders 0 42\n");
    sim_disk_fail(p.disk, &(struct sim_disk_fault){.operations = SIM_DISK_READ, .path_part = "log-start-offset-checkpoint", .times = 1, .error = -EIO});
    assert_int_equal(open_dirs(&p, &dirs, "/a", NULL, 1), ERR_NONE);
    assert_int_equal(dirs_find(dirs, "orders", 0)->marks[CHECKPOINT_START], 42);
    log_dirs_close(dirs, p.files, false, -1);
    place_free(&p);
}

static struct log_dir *found_in(struct log_dirs *dirs) { return log_dirs_find(dirs, "t", 0); }

/* A partition in two directories, in either order: the one that was written to last counts, by its newest segment and then by
 * the time of that; the other one is kept under a name that nobody takes for it, and what the checkpoint of the one that
 * counts says is what holds. */
TEST(dir_a_partition_in_two_directories) {
    for (int newer = 0; newer < 3; newer++) {
        struct place p = place_new();
        struct log_dirs *dirs;
        const char *paths[] = {"/a", "/b"};
        for (int i = 0; i < 2; i++) {
            char path[64];
            assert_int_equal(format(&p, paths[i], 1), ERR_NONE);
            struct text text;
            text_init(&text, path, sizeof path);
            text_add(&text, "%s/t-0", paths[i]);
            assert_int_equal(p.files.vtable->make_directory(p.files.self, path), 0);
            text_add(&text, "/00000000000000000000.log");
            put(&p, path, "x");
            assert_int_equal(p.files.vtable->set_modified(p.files.self, path, 1000 + (newer == i)), 0);
            text_init(&text, path, sizeof path);
            text_add(&text, "%s/log-start-offset-checkpoint", paths[i]);
            put(&p, path, i == 0 ? "0\n1\nt 0 5\n" : "0\n1\nt 0 6\n");
        }
        if (newer == 2) put(&p, "/b/t-0/00000000000000000007.log", "x");
        int counts = newer == 2 ? 1 : newer;
        assert_int_equal(open_dirs(&p, &dirs, "/a", "/b", 1), ERR_NONE);
        assert_ptr_equal(found_in(dirs), log_dirs_at(dirs, (uint32_t)counts));
        assert_int_equal(dirs_find(dirs, "t", 0)->marks[CHECKPOINT_START], 5 + counts);
        for (uint32_t i = 0; i < 2; i++) assert_int_equal(log_dir_partitions(log_dirs_at(dirs, i)), (int)i == counts);
        log_dirs_close(dirs, p.files, true, 1);
        struct io_stat stat;
        assert_int_equal(p.files.vtable->stat(p.files.self, counts ? "/a/t-0" : "/b/t-0", &stat), -ENOENT);
        assert_int_equal(open_dirs(&p, &dirs, "/b", "/a", 1), ERR_NONE);
        assert_string_equal(log_dir_path(found_in(dirs)), paths[counts]);
        log_dirs_close(dirs, p.files, true, 1);
        place_free(&p);
    }
}

/* metadata.log.dir that is none of log.dirs holds the metadata log and nothing else, as with Apache Kafka: it is no place for
 * partitions, however full the others are, folders in it are not looked at, nor is a metadata log in one of log.dirs; it is not
 * counted, and a clean stop leaves its mark in log.dirs only. With a slash behind it a directory is still the same one. */
TEST(dir_of_the_metadata_log_alone) {
    static const char *const folders[] = {"/a/orders-0", "/a/orders-1", "/a/__cluster_metadata-0", "/m/orders-0", "/m/old-0", "/m/__cluster_metadata-0", "/m/away-0.0123456789abcdef0123456789abcdef-delete"};
    static const char *const paths[] = {"/a", "/b"};
    struct place p = place_new();
    struct log_dirs_options options = {.paths = paths, .count = 2, .metadata_path = "/m", .node = 1, .pool = &p.pool, .random = &p.random, .now_ms = 1700000000000};
    struct log_dirs *dirs;
    struct log_dir_meta meta;
    struct io_stat stat;
    assert_int_equal(format(&p, "/a", 1), ERR_NONE);
    assert_int_equal(format(&p, "/m", 1), ERR_NONE);
    for (size_t i = 0; i < countof(folders); i++) assert_int_equal(p.files.vtable->make_directory(p.files.self, folders[i]), 0);
    put(&p, "/m/.kafka_cleanshutdown", "{\"version\":0,\"brokerEpoch\":7}");
    for (int round = 0; round < 2; round++) {
        assert_int_equal(log_dirs_open(&dirs, p.files, &options, p.why, sizeof p.why), ERR_NONE);
        assert_int_equal(log_dirs_count(dirs), 2);
        assert_string_equal(log_dir_path(log_dirs_metadata(dirs)), "/m");
        assert_int_equal(log_dir_meta_read(p.files, "/m", &meta), ERR_NONE);
        assert_null(log_dirs_by_id(dirs, meta.id));
        assert_int_equal(log_dir_partitions(log_dirs_at(dirs, 0)), 2);
        assert_string_equal(log_dir_path(log_dirs_emptiest(dirs)), "/b");
        log_dir_fail(log_dirs_at(dirs, 1));
        assert_string_equal(log_dir_path(log_dirs_emptiest(dirs)), "/a");
        assert_string_equal(log_dir_path(log_dirs_find(dirs, "orders", 0)), "/a");
        assert_null(log_dirs_find(dirs, "old", 0));
        assert_string_equal(log_dir_path(log_dirs_find(dirs, "__cluster_metadata", 0)), "/m");
        assert_null(log_dirs_metadata(dirs)->away);
        assert_int_equal(log_dirs_previous_epoch(dirs), -1);
        assert_int_equal(p.files.vtable->stat(p.files.self, "/m/.kafka_cleanshutdown", &stat), -ENOENT);
        log_dirs_close(dirs, p.files, true, 9);
        assert_int_equal(p.files.vtable->stat(p.files.self, "/a/.kafka_cleanshutdown", &stat), 0);
        assert_int_equal(p.files.vtable->stat(p.files.self, "/m/.kafka_cleanshutdown", &stat), -ENOENT);
        for (size_t i = 0; i < countof(folders); i++) assert_int_equal(p.files.vtable->stat(p.files.self, folders[i], &stat), 0);
    }
    options.metadata_path = "/a/"; /* orders-0 of /a again, and the metadata log beside it */
    assert_int_equal(log_dirs_open(&dirs, p.files, &options, p.why, sizeof p.why), ERR_NONE);
    assert_ptr_equal(log_dirs_metadata(dirs), log_dirs_at(dirs, 0));
    assert_string_equal(log_dir_path(log_dirs_find(dirs, "__cluster_metadata", 0)), "/a");
    log_dirs_close(dirs, p.files, true, 9);
    place_free(&p);
}
