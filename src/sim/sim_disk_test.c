#include "sim/sim_disk.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct place { struct sim *sim; struct sim_disk *disk; struct sim_disk_user *user; struct io_files files; };

static struct place place_new(uint64_t seed, uint64_t capacity) {
    struct place place = {.sim = sim_new(seed)};
    place.disk = sim_disk_new(place.sim, 0, capacity);
    place.user = sim_disk_user_new(place.disk);
    place.files = sim_disk_files(place.user);
    return place;
}

static void place_free(struct place *place) {
    sim_disk_user_free(place->user);
    sim_disk_free(place->disk);
    sim_free(place->sim);
}

static void power_cut(struct place *place, enum sim_crash policy) {
    sim_disk_user_free(place->user);
    sim_disk_crash(place->disk, policy);
    place->user = sim_disk_user_new(place->disk);
    place->files = sim_disk_files(place->user);
}

static struct io_file *opened(struct place *place, const char *path, unsigned flags) {
    struct io_file *file = NULL;
    assert_int_equal(place->files.vtable->open(place->files.self, &file, path, flags), 0);
    return file;
}

static void written(struct place *place, struct io_file *file, const char *text, uint64_t offset) {
    assert_int_equal(place->files.vtable->write(place->files.self, file, text, strlen(text), offset), strlen(text));
}

static const char *content(struct place *place, const char *path) {
    static char bytes[1 << 16];
    int64_t size = sim_disk_peek(place->disk, path, bytes, sizeof bytes - 1, 0);
    if (size < 0) return NULL;
    bytes[size] = 0;
    return bytes;
}

#define FILES(place, call, ...) ((place)->files.vtable->call((place)->files.self, __VA_ARGS__))

/* What a power cut leaves when luck keeps nothing: a table of what was done, and what must and must not be there. */
TEST(disk_keeps_what_was_synced_and_no_more) {
    struct { bool sync_data, sync_directory; const char *expected; } cases[] = {
        {false, false, NULL}, {true, false, NULL}, {false, true, ""}, {true, true, "hello"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct place place = place_new(1, 0);
        struct io_file *file = opened(&place, "/a", IO_READ | IO_WRITE | IO_CREATE);
        written(&place, file, "hello", 0);
        if (cases[i].sync_data) assert_int_equal(FILES(&place, sync_data, file), 0);
        if (cases[i].sync_directory) assert_int_equal(FILES(&place, sync_directory, "/"), 0);
        written(&place, file, "HELLO, later", 0); /* never synced */
        io_file_drop(file);
        power_cut(&place, SIM_CRASH_LOSE_ALL);
        if (cases[i].expected) assert_string_equal(content(&place, "/a"), cases[i].expected);
        else assert_null(content(&place, "/a"));
        place_free(&place);
    }
}

/* A rename without a sync of the directory falls back to the old name with the old target's content; with it, the new
 * content is there and the old name is gone. An unlink without it comes back. */
TEST(disk_names_need_a_sync_of_the_directory) {
    for (int synced = 0; synced < 2; synced++) {
        struct place place = place_new(2, 0);
        struct io_file *old = opened(&place, "/d", IO_READ | IO_WRITE | IO_CREATE), *new_;
        written(&place, old, "old", 0);
        assert_int_equal(FILES(&place, sync_data, old), 0);
        io_file_drop(opened(&place, "/gone", IO_WRITE | IO_CREATE));
        assert_int_equal(FILES(&place, sync_directory, "/"), 0);
        new_ = opened(&place, "/d.tmp", IO_WRITE | IO_CREATE | IO_EXCLUSIVE);
        written(&place, new_, "new", 0);
        assert_int_equal(FILES(&place, sync_data, new_), 0);
        assert_int_equal(FILES(&place, rename, "/d.tmp", "/d"), 0);
        assert_int_equal(FILES(&place, unlink, "/gone"), 0);
        assert_string_equal(content(&place, "/d"), "new");
        assert_null(content(&place, "/d.tmp"));
        if (synced) assert_int_equal(FILES(&place, sync_directory, "/"), 0);
        io_file_drop(old);
        io_file_drop(new_);
        power_cut(&place, SIM_CRASH_LOSE_ALL);
        assert_string_equal(content(&place, "/d"), synced ? "new" : "old");
        assert_null(content(&place, "/d.tmp"));
        if (synced) assert_null(content(&place, "/gone"));
        else assert_non_null(content(&place, "/gone"));
        place_free(&place);
    }
}

/* Over many seeds, a cut in the middle of an atomic replacement leaves the old content or the new, never a mixture, a
 * hole or nothing, as long as the writer synced in the right order; without the sync of the data it does not. */
TEST(disk_rename_is_whole_or_not_at_all) {
    for (int right = 0; right < 2; right++) {
        int saw_old = 0, saw_new = 0, saw_broken = 0;
        for (uint64_t seed = 0; seed < 300; seed++) {
            struct place place = place_new(seed, 0);
            struct io_file *file = opened(&place, "/f", IO_WRITE | IO_CREATE);
            written(&place, file, "first", 0);
            assert_int_equal(FILES(&place, sync_data, file), 0);
            assert_int_equal(FILES(&place, sync_directory, "/"), 0);
            io_file_drop(file);
            file = opened(&place, "/f.tmp", IO_WRITE | IO_CREATE);
            written(&place, file, "second", 0);
            if (right) assert_int_equal(FILES(&place, sync_data, file), 0);
            io_file_drop(file);
            assert_int_equal(FILES(&place, rename, "/f.tmp", "/f"), 0);
            power_cut(&place, SIM_CRASH_RANDOM);
            const char *now = content(&place, "/f");
            if (now && strcmp(now, "first") == 0) saw_old++;
            else if (now && strcmp(now, "second") == 0) saw_new++;
            else saw_broken++;
            place_free(&place);
        }
        assert_true(saw_old > 50 && saw_new > 20);
        if (right) assert_int_equal(saw_broken, 0);
        else assert_true(saw_broken > 10);
    }
}

/* Of un-synced writes any may be kept, dropped, or torn at sectors, and a later one may survive an earlier one; what was
 * synced before is never touched. Shown by counting the outcomes over seeds. */
TEST(disk_tears_unsynced_writes_at_sectors) {
    int kept = 0, dropped = 0, torn = 0, later_only = 0, zeros = 0;
    static char base[4096], first[2048], second[2048], after[8192];
    memset(base, 'b', sizeof base);
    memset(first, '1', sizeof first);
    memset(second, '2', sizeof second);
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct place place = place_new(seed, 0);
        struct io_file *file = opened(&place, "f", IO_WRITE | IO_CREATE);
        assert_int_equal(FILES(&place, write, file, base, sizeof base, 0), sizeof base);
        assert_int_equal(FILES(&place, sync_data, file), 0);
        assert_int_equal(FILES(&place, sync_directory, "/"), 0);
        assert_int_equal(FILES(&place, write, file, first, sizeof first, 4096), sizeof first);
        assert_int_equal(FILES(&place, write, file, second, sizeof second, 6144), sizeof second);
        io_file_drop(file);
        power_cut(&place, SIM_CRASH_RANDOM);
        memset(after, 0, sizeof after);
        int64_t size = sim_disk_peek(place.disk, "f", after, sizeof after, 0);
        assert_in_range(size, 4096, 8192);
        assert_memory_equal(after, base, sizeof base);
        int sectors[2] = {0, 0};
        for (int n = 0; n < 8; n++) {
            const char *sector = after + 4096 + n * 512;
            char c = n < 4 ? '1' : '2';
            for (int i = 1; i < 512; i++) assert_int_equal(sector[i], sector[0]); /* never torn within one */
            assert_true(sector[0] == c || sector[0] == 0);
            sectors[n / 4] += sector[0] == c;
        }
        for (int i = 0; i < 2; i++) {
            kept += sectors[i] == 4;
            dropped += sectors[i] == 0;
            torn += sectors[i] > 0 && sectors[i] < 4;
        }
        later_only += sectors[0] == 0 && sectors[1] == 4;
        zeros += size == 8192 && sectors[1] == 0;
        place_free(&place);
    }
    assert_true(kept > 100 && dropped > 100 && torn > 100 && later_only > 20 && zeros > 10);
}

/* A killed process loses nothing that it wrote, but its locks; nothing of it can write any more. */
TEST(disk_kill_keeps_what_was_written) {
    struct place place = place_new(3, 0);
    struct io_file *file = opened(&place, "f", IO_READ | IO_WRITE | IO_CREATE), *again;
    written(&place, file, "unsynced", 0);
    assert_int_equal(FILES(&place, lock, file), 0);
    assert_int_equal(FILES(&place, lock, file), 0);
    struct sim_disk_user *other = sim_disk_user_new(place.disk);
    struct io_files files = sim_disk_files(other);
    assert_int_equal(files.vtable->open(files.self, &again, "f", IO_READ | IO_WRITE), 0);
    assert_int_equal(files.vtable->lock(files.self, again), -EAGAIN);
    sim_disk_user_kill(place.user);
    assert_int_equal(FILES(&place, write, file, "x", 1, 0), -EIO);
    assert_int_equal(files.vtable->lock(files.self, again), 0);
    assert_string_equal(content(&place, "f"), "unsynced");
    io_file_drop(file);
    io_file_drop(again);
    sim_disk_user_free(other);
    place_free(&place);
}

/* A failed sync may lose the data for good: a later sync that succeeds does not bring it to the platter. */
TEST(disk_failed_sync_loses_data_for_good) {
    int lost = 0, visible = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct place place = place_new(seed, 0);
        struct io_file *file = opened(&place, "f", IO_READ | IO_WRITE | IO_CREATE);
        assert_int_equal(FILES(&place, sync_directory, "/"), 0);
        written(&place, file, "data", 0);
        sim_disk_fail(place.disk, &(struct sim_disk_fault){.operations = SIM_DISK_SYNC, .path_part = "f", .times = 1, .error = -EIO});
        assert_int_equal(FILES(&place, sync_data, file), -EIO);
        assert_int_equal(FILES(&place, sync_data, file), 0);
        const char *seen = content(&place, "f");
        visible += seen && strcmp(seen, "data") == 0;
        io_file_drop(file);
        power_cut(&place, SIM_CRASH_LOSE_ALL);
        lost += strcmp(content(&place, "f"), "data") != 0;
        place_free(&place);
    }
    assert_true(lost > 20 && lost < 80);
    assert_true(visible > 100 - lost); /* sometimes it was still to be seen although it was lost */
}

/* A full disk refuses with ENOSPC, writes what fits, counts reserved room, and takes more when something was removed. */
TEST(disk_is_full_at_its_capacity) {
    struct place place = place_new(4, 8 * SIM_PAGE_BYTES);
    static char bytes[6 * SIM_PAGE_BYTES];
    struct io_space space;
    struct io_file *a = opened(&place, "a", IO_WRITE | IO_CREATE), *b = opened(&place, "b", IO_WRITE | IO_CREATE);
    assert_int_equal(FILES(&place, write, a, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(FILES(&place, allocate, b, 0, SIM_PAGE_BYTES), 0);
    assert_int_equal(FILES(&place, space, "/", &space), 0);
    assert_int_equal(space.available, SIM_PAGE_BYTES);
    assert_int_equal(FILES(&place, allocate, b, 0, 3 * SIM_PAGE_BYTES), -ENOSPC);
    assert_int_equal(FILES(&place, write, b, bytes, 3 * SIM_PAGE_BYTES, 0), -ENOSPC);
    assert_int_equal(FILES(&place, size, b), 2 * SIM_PAGE_BYTES);
    io_file_drop(a);
    assert_int_equal(FILES(&place, unlink, "a"), 0);
    assert_int_equal(FILES(&place, write, b, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(FILES(&place, truncate, b, 10), 0);
    assert_int_equal(sim_disk_used(place.disk), SIM_PAGE_BYTES);
    io_file_drop(b);
    place_free(&place);
}

/* Names behave as on Linux: errors of open, rename, unlink and directories; listings are sorted and stable. */
static int collect(void *context, const char *name, bool is_directory) {
    strcat(context, name);
    strcat(context, is_directory ? "/ " : " ");
    return 0;
}
TEST(disk_names_behave_as_on_linux) {
    struct place place = place_new(5, 0);
    struct io_file *file;
    struct io_stat stat;
    char names[128] = "";
    assert_int_equal(FILES(&place, open, &file, "x/y", IO_READ), -ENOENT);
    assert_int_equal(FILES(&place, open, &file, "y", IO_READ), -ENOENT);
    assert_int_equal(FILES(&place, make_directory, "/x"), 0);
    assert_int_equal(FILES(&place, make_directory, "/x/"), -EEXIST);
    io_file_drop(opened(&place, "x/y", IO_WRITE | IO_CREATE));
    io_file_drop(opened(&place, "./x//b", IO_WRITE | IO_CREATE));
    assert_int_equal(FILES(&place, open, &file, "x/y", IO_WRITE | IO_CREATE | IO_EXCLUSIVE), -EEXIST);
    assert_int_equal(FILES(&place, open, &file, "x", IO_READ), -EISDIR);
    assert_int_equal(FILES(&place, open, &file, "x/y/z", IO_READ | IO_CREATE), -ENOTDIR);
    assert_int_equal(FILES(&place, unlink, "x"), -EISDIR);
    assert_int_equal(FILES(&place, remove_directory, "x"), -ENOTEMPTY);
    assert_int_equal(FILES(&place, make_directory, "x/a"), 0);
    assert_int_equal(FILES(&place, rename, "x", "x/a/x"), -EINVAL);
    assert_int_equal(FILES(&place, rename, "x/y", "x/a"), -EISDIR);
    assert_int_equal(FILES(&place, list, "x", collect, names), 0);
    assert_string_equal(names, "a/ b y ");
    assert_int_equal(FILES(&place, rename, "x", "z"), 0);
    assert_int_equal(FILES(&place, stat, "z/a", &stat), 0);
    assert_true(stat.is_directory);
    assert_int_equal(FILES(&place, unlink, "z/y"), 0);
    assert_int_equal(FILES(&place, unlink, "z/y"), -ENOENT);
    place_free(&place);
}

/* The n-th changing operation is cut short, for each n; what had been synced before is there, and nothing after happens. */
TEST(disk_can_be_cut_at_every_operation) {
    for (uint64_t n = 0; n <= 5; n++) {
        struct place place = place_new(100 + n, 0);
        struct io_file *file = NULL;
        sim_disk_cut_after(place.disk, n);
        int open = FILES(&place, open, &file, "f", IO_WRITE | IO_CREATE);             /* 1 */
        if (open == 0) {
            FILES(&place, write, file, "one", 3, 0);                                  /* 2 */
            int synced = FILES(&place, sync_data, file);                              /* 3 */
            int named = FILES(&place, sync_directory, "/");                           /* 4 */
            FILES(&place, write, file, "two", 3, 0);                                  /* 5 */
            assert_int_equal(sim_disk_is_cut(place.disk), n < 5);
            assert_int_equal(synced == 0, n >= 3);
            assert_int_equal(named == 0, n >= 4);
            io_file_drop(file);
        }
        power_cut(&place, SIM_CRASH_LOSE_ALL);
        if (n >= 4) assert_string_equal(content(&place, "f"), "one");
        else assert_null(content(&place, "f"));
        assert_false(sim_disk_is_cut(place.disk));
        place_free(&place);
    }
}

/* A file that was unlinked stays readable through its open handle; a slice holds it. A directory that was never synced
 * takes what was synced below it along. */
TEST(disk_keeps_unlinked_files_for_their_holders) {
    struct place place = place_new(6, 0);
    char bytes[8] = {0};
    assert_int_equal(FILES(&place, make_directory, "d"), 0);
    struct io_file *file = opened(&place, "d/f", IO_READ | IO_WRITE | IO_CREATE);
    written(&place, file, "held", 0);
    assert_int_equal(FILES(&place, sync_data, file), 0);
    assert_int_equal(FILES(&place, sync_directory, "d"), 0);
    io_file_hold(file);
    assert_int_equal(FILES(&place, unlink, "d/f"), 0);
    io_file_drop(file);
    assert_int_equal(FILES(&place, read, file, bytes, 8, 0), 4);
    assert_string_equal(bytes, "held");
    io_file_drop(file);
    assert_int_equal(sim_disk_used(place.disk), 0);
    power_cut(&place, SIM_CRASH_LOSE_ALL);
    struct io_stat stat;
    assert_int_equal(FILES(&place, stat, "d", &stat), -ENOENT);
    place_free(&place);
}

/* Random work on a random tree, cut at random places: every version that comes back is one that can be explained, the
 * accounts balance, and the same seed gives the same hash. */
static uint64_t random_work(uint64_t seed) {
    struct place place = place_new(seed, 64 * SIM_PAGE_BYTES);
    struct random random;
    random_seed(&random, seed);
    for (int round = 0; round < 4; round++) {
        if (random_chance(&random, 1, 2)) sim_disk_cut_after(place.disk, random_below(&random, 60));
        sim_disk_trouble(place.disk, (struct sim_disk_trouble){.write_one_in = 50, .sync_one_in = 30, .read_one_in = 100});
        for (int i = 0; i < 60; i++) {
            char path[32], other[32];
            struct io_file *file;
            static char bytes[9000];
            uint64_t size = random_below(&random, sizeof bytes), offset = random_below(&random, 9000);
            snprintf(path, sizeof path, "d%d/f%d", (int)random_below(&random, 3), (int)random_below(&random, 4));
            snprintf(other, sizeof other, "d%d/f%d", (int)random_below(&random, 3), (int)random_below(&random, 4));
            memset(bytes, (int)random_below(&random, 256), sizeof bytes);
            switch (random_below(&random, 7)) {
            case 0: path[2] = 0; FILES(&place, make_directory, path); break;
            case 1: FILES(&place, rename, path, other); break;
            case 2: FILES(&place, unlink, path); break;
            case 3: path[2] = 0; FILES(&place, sync_directory, path); break;
            case 4: path[2] = other[2] = 0; FILES(&place, rename, path, other); break;
            default:
                if (FILES(&place, open, &file, path, IO_READ | IO_WRITE | IO_CREATE)) break;
                if (random_chance(&random, 1, 4)) FILES(&place, truncate, file, offset);
                FILES(&place, write, file, bytes, size, offset);
                if (random_chance(&random, 1, 2)) FILES(&place, sync_data, file);
                FILES(&place, read, file, bytes, size, offset);
                io_file_drop(file);
            }
        }
        power_cut(&place, (enum sim_crash)random_below(&random, 3));
    }
    uint64_t hash = sim_hash(place.sim);
    place_free(&place);
    return hash;
}
TEST(disk_survives_random_work_and_repeats_it) {
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t hash = random_work(seed);
        assert_true(hash == random_work(seed));
        assert_true(hash != random_work(seed + 1000000));
    }
}

/* Two directories in the root, each a device: a sync of one file system keeps what was written there and nothing of the other,
 * a name does not go from one to the other, and what fails in one is heard of with its path. */
static void hear(void *context, const char *path) { *(uint32_t *)context += path && strncmp(path, "/b", 2) == 0; }

TEST(disk_devices_are_apart) {
    struct sim *sim = sim_new(1);
    struct sim_disk *disk = sim_disk_new(sim, 0, 0);
    sim_disk_set_devices(disk);
    struct sim_disk_user *user = sim_disk_user_new(disk);
    struct io_files files = sim_disk_files(user);
    struct io_file *a, *b;
    uint32_t heard = 0;
    assert_int_equal(files.vtable->make_directory(files.self, "/a"), 0);
    assert_int_equal(files.vtable->make_directory(files.self, "/b"), 0);
    assert_int_equal(files.vtable->sync_directory(files.self, "/"), 0);
    assert_int_equal(files.vtable->open(files.self, &a, "/a/x", IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(files.vtable->open(files.self, &b, "/b/x", IO_READ | IO_WRITE | IO_CREATE), 0);
    assert_int_equal(files.vtable->write(files.self, a, "1", 1, 0), 1);
    assert_int_equal(files.vtable->write(files.self, b, "1", 1, 0), 1);
    assert_int_equal(files.vtable->sync_file_system(files.self, "/a"), 0);
    assert_int_equal(sim_disk_peek_durable_size(disk, "/a/x"), 1);
    assert_true(sim_disk_peek_durable_size(disk, "/b/x") < 0);
    assert_int_equal(files.vtable->rename(files.self, "/a/x", "/b/y"), -EXDEV);
    sim_disk_on_fault(disk, hear, &heard);
    static const char part[] = "/b";
    sim_disk_fail(disk, &(struct sim_disk_fault){.operations = SIM_DISK_SYNC, .path_part = part, .error = -EIO});
    assert_int_equal(files.vtable->sync_file_system(files.self, "/b"), -EIO);
    assert_int_equal(files.vtable->sync_file_system(files.self, "/a"), 0);
    assert_int_equal(heard, 1);
    sim_disk_heal_path(disk, part);
    assert_int_equal(files.vtable->sync_data(files.self, b), 0);
    io_file_drop(a);
    io_file_drop(b);
    sim_disk_user_free(user);
    sim_disk_free(disk);
    sim_free(sim);
}
