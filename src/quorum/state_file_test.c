/* quorum-state: to the byte as Kafka writes it, on a disk that loses power at every operation, with bytes that rot. */
#include "base/random.h"
#include "quorum/host.h"
#include "sim/sim_disk.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

static const char DIRECTORY[] = "/m/__cluster_metadata-0";

struct place { struct sim *sim; struct sim_disk *disk; struct sim_disk_user *user; struct io_files files; };

static struct place place_new(uint64_t seed) {
    struct place place = {.sim = sim_new(seed)};
    place.disk = sim_disk_new(place.sim, 0, 0);
    place.user = sim_disk_user_new(place.disk);
    place.files = sim_disk_files(place.user);
    assert_int_equal(place.files.vtable->make_directory(place.files.self, "/m"), 0);
    assert_int_equal(place.files.vtable->sync_directory(place.files.self, "/"), 0);
    assert_int_equal(place.files.vtable->make_directory(place.files.self, DIRECTORY), 0);
    assert_int_equal(place.files.vtable->sync_directory(place.files.self, "/m"), 0);
    return place;
}

static void place_free(struct place *place) {
    sim_disk_user_kill(place->user);
    sim_disk_user_free(place->user);
    sim_disk_free(place->disk);
    sim_free(place->sim);
}

static void power_cut(struct place *place, enum sim_crash policy) {
    sim_disk_user_kill(place->user);
    sim_disk_user_free(place->user);
    sim_disk_crash(place->disk, policy);
    place->user = sim_disk_user_new(place->disk);
    place->files = sim_disk_files(place->user);
}

static struct raft_quorum_state state_of(leader_epoch epoch, int32_t leader, int32_t voted) {
    struct raft_quorum_state state = {.version = 1, .epoch = epoch, .leader_id = leader, .voted = {.id = voted}};
    if (voted >= 0) memset(state.voted.directory.bytes, 0x41, sizeof(state.voted.directory.bytes));
    return state;
}

static bool same(const struct raft_quorum_state *a, const struct raft_quorum_state *b) {
    return a->version == b->version && a->epoch == b->epoch && a->leader_id == b->leader_id && a->voted.id == b->voted.id &&
           uuid_equal(a->voted.directory, b->voted.directory);
}

static void write_file(struct place *place, const char *name, const char *text) {
    char path[256];
    struct io_file *file;
    snprintf(path, sizeof(path), "%s/%s", DIRECTORY, name);
    assert_int_equal(place->files.vtable->open(place->files.self, &file, path, IO_WRITE | IO_CREATE | IO_TRUNCATE), 0);
    assert_true(place->files.vtable->write(place->files.self, file, text, strlen(text), 0) >= 0);
    io_file_drop(file);
}

/* What Kafka 4.4 wrote is read as what it says, and written again it is the same line. */
TEST(state_file_is_kafkas) {
    static const char *const kafkas[] = {
        "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}",
        "{\"clusterId\":\"\",\"leaderId\":-1,\"leaderEpoch\":7,\"votedId\":3,\"appliedOffset\":0,\"currentVoters\":[{\"voterId\":1},{\"voterId\":3}],\"data_version\":0}",
    };
    static const int32_t voters[] = {1, 3};
    char golden[512], path[512];
    snprintf(path, sizeof(path), "%s/disk/files/__cluster_metadata-0/quorum-state", test_vectors_folder());
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(golden, 1, sizeof(golden), file);
    fclose(file);
    assert_int_equal(size, strlen(kafkas[0]));
    assert_memory_equal(golden, kafkas[0], size);
    for (size_t i = 0; i < countof(kafkas); i++) {
        struct raft_quorum_state saved;
        char line[512];
        struct text text;
        assert_int_equal(state_file_parse(span_text(kafkas[i]), &saved), ERR_NONE);
        assert_int_equal(saved.epoch, i ? 7 : 1);
        assert_int_equal(saved.voted.id, i ? 3 : -1);
        text_init(&text, line, sizeof(line));
        state_file_text(&saved, voters, 2, &text);
        assert_string_equal(line, kafkas[i]);
    }
}

/* What is not such a file is refused, and a version of the future is told apart from damage. */
TEST(state_file_refuses_what_it_is_not) {
    struct raft_quorum_state saved;
    assert_int_equal(state_file_parse(SPAN_LITERAL(""), &saved), ERR_CORRUPT);
    assert_int_equal(state_file_parse(SPAN_LITERAL("[]"), &saved), ERR_CORRUPT);
    assert_int_equal(state_file_parse(SPAN_LITERAL("{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1}"), &saved), ERR_CORRUPT);
    assert_int_equal(state_file_parse(SPAN_LITERAL("{\"leaderId\":1,\"leaderEpoch\":-4,\"votedId\":-1,\"data_version\":0}"), &saved), ERR_CORRUPT);
    assert_int_equal(state_file_parse(SPAN_LITERAL("{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"data_version\":1}"), &saved), ERR_CORRUPT);
    assert_int_equal(state_file_parse(SPAN_LITERAL("{\"data_version\":2}"), &saved), ERR_UNSUPPORTED);
}

/* Power goes at each operation of a write, and the disk loses all, keeps all, or chooses: afterwards there is the old
 * state or the new one, and once the write has answered, the new one. */
TEST(state_file_survives_power_cuts) {
    struct raft_quorum_state old = state_of(4, 2, 3), new = state_of(5, -1, 1), found;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (uint64_t operations = 0;; operations++) {
            struct place place = place_new(seed * 1000 + operations);
            uint32_t syncs = 0;
            bool repair;
            assert_int_equal(state_file_write(place.files, DIRECTORY, &old, NULL, 0, &syncs), 0);
            sim_disk_cut_after(place.disk, operations);
            bool answered = state_file_write(place.files, DIRECTORY, &new, NULL, 0, &syncs) == 0;
            power_cut(&place, seed % 3 == 0 ? SIM_CRASH_LOSE_ALL : seed % 3 == 1 ? SIM_CRASH_KEEP_ALL : SIM_CRASH_RANDOM);
            assert_int_equal(state_file_read(place.files, DIRECTORY, 0, &found, &repair), ERR_NONE);
            assert_true(same(&found, &new) || (!answered && same(&found, &old)));
            place_free(&place);
            if (answered) break;
        }
    }
}

/* The n-th operation fails: the write says so, and the state is the old one or the new one. */
TEST(state_file_survives_io_errors) {
    struct raft_quorum_state old = state_of(4, 2, 3), new = state_of(5, -1, 1), found;
    for (uint64_t skip = 0;; skip++) {
        struct place place = place_new(skip + 1);
        uint32_t syncs = 0;
        bool repair;
        assert_int_equal(state_file_write(place.files, DIRECTORY, &old, NULL, 0, &syncs), 0);
        struct sim_disk_fault fault = {.operations = SIM_DISK_OPEN | SIM_DISK_WRITE | SIM_DISK_SYNC | SIM_DISK_NAMES | SIM_DISK_STAT,
                                       .path_part = "quorum-state", .skip = skip, .times = 1, .error = -5};
        sim_disk_fail(place.disk, &fault);
        int result = state_file_write(place.files, DIRECTORY, &new, NULL, 0, &syncs);
        sim_disk_heal(place.disk);
        assert_int_equal(state_file_read(place.files, DIRECTORY, 0, &found, &repair), ERR_NONE);
        assert_true(same(&found, &new) || (result && same(&found, &old)));
        place_free(&place);
        if (!result) break;
        assert_true(skip < 100);
    }
}

/* Each byte of the file rots in turn. Where it still parses it might say anything; the copy, written together with it,
 * shows that it is not what was written, and stands for it. Two bytes of the copy's may rot as well: then it is ignored. */
TEST(rot_is_found_and_the_copy_stands_in) {
    struct raft_quorum_state saved = state_of(5, 3, 1), found;
    char path[256], copy[256];
    snprintf(path, sizeof(path), "%s/quorum-state", DIRECTORY);
    snprintf(copy, sizeof(copy), "%s/moldau.quorum-state", DIRECTORY);
    for (uint64_t at = 0;; at++) {
        struct place place = place_new(at + 1);
        uint32_t syncs = 0;
        bool repair;
        assert_int_equal(state_file_write(place.files, DIRECTORY, &saved, NULL, 0, &syncs), 0);
        bool inside = sim_disk_rot(place.disk, path, at, 0x01) == 0;
        assert_int_equal(state_file_read(place.files, DIRECTORY, 5, &found, &repair), ERR_NONE);
        assert_true(same(&found, &saved));
        assert_true(repair == inside);
        place_free(&place);
        place = place_new(at + 1);
        assert_int_equal(state_file_write(place.files, DIRECTORY, &saved, NULL, 0, &syncs), 0);
        bool copy_inside = sim_disk_rot(place.disk, copy, at, 0x01) == 0;
        assert_int_equal(state_file_read(place.files, DIRECTORY, 5, &found, &repair), ERR_NONE);
        assert_true(same(&found, &saved));
        place_free(&place);
        if (!inside && !copy_inside) break;
    }
}

/* A copy whose epoch is below the log's last knows less than it must: better no start than a second vote. */
TEST(old_copy_does_not_stand_in) {
    struct raft_quorum_state saved = state_of(5, 3, 1), found;
    struct place place = place_new(1);
    uint32_t syncs = 0;
    bool repair;
    assert_int_equal(state_file_read(place.files, DIRECTORY, 0, &found, &repair), ERR_NOT_FOUND);
    assert_int_equal(state_file_write(place.files, DIRECTORY, &saved, NULL, 0, &syncs), 0);
    write_file(&place, "quorum-state", "{\"leaderI");
    assert_int_equal(state_file_read(place.files, DIRECTORY, 5, &found, &repair), ERR_NONE);
    assert_int_equal(state_file_read(place.files, DIRECTORY, 6, &found, &repair), ERR_CORRUPT);
    place_free(&place);
}

/* Apache has written since: its file has another identity than the copy's, parses, and wins. */
TEST(foreign_writer_wins) {
    struct raft_quorum_state saved = state_of(5, 3, 1), found;
    struct place place = place_new(1);
    uint32_t syncs = 0;
    bool repair;
    assert_int_equal(state_file_write(place.files, DIRECTORY, &saved, NULL, 0, &syncs), 0);
    write_file(&place, "quorum-state.apache", "{\"leaderId\":2,\"leaderEpoch\":9,\"votedId\":-1,\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}");
    char from[256], to[256];
    snprintf(from, sizeof(from), "%s/quorum-state.apache", DIRECTORY);
    snprintf(to, sizeof(to), "%s/quorum-state", DIRECTORY);
    assert_int_equal(place.files.vtable->rename(place.files.self, from, to), 0);
    assert_int_equal(state_file_read(place.files, DIRECTORY, 0, &found, &repair), ERR_NONE);
    assert_int_equal(found.epoch, 9);
    assert_int_equal(found.leader_id, 2);
    assert_true(repair);
    assert_int_equal(state_file_write(place.files, DIRECTORY, &found, NULL, 0, &syncs), 0);
    assert_int_equal(state_file_read(place.files, DIRECTORY, 0, &found, &repair), ERR_NONE);
    assert_false(repair);
    place_free(&place);
}
