#include "cli/dump.h"
#include "base/random.h"
#include "test.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* The tool over files, its output in memory. */
struct rig {
    struct pool pool;
    struct dump dump;
    char *text, *warnings, *folder;
    size_t size, warnings_size;
};

static void rig_start(struct rig *rig) {
    char path[4096];
    pool_init(&rig->pool, 0, 0);
    rig->text = rig->warnings = NULL;
    rig->folder = getcwd(NULL, 0);
    snprintf(path, sizeof path, "%s/disk/files", test_vectors_folder());
    assert_int_equal(chdir(path), 0);
    dump_init(&rig->dump, io_files_real(), &rig->pool, open_memstream(&rig->text, &rig->size), open_memstream(&rig->warnings, &rig->warnings_size));
}

static const char *rig_text(struct rig *rig) {
    fflush(rig->dump.warnings);
    fflush(rig->dump.out);
    return rig->text;
}

static void rig_clear(struct rig *rig) {
    FILE *out = rig->dump.out;
    fclose(out);
    free(rig->text);
    rig->dump.out = open_memstream(&rig->text, &rig->size);
    rig->dump.damages = 0;
}

static void rig_end(struct rig *rig) {
    fclose(rig->dump.out);
    fclose(rig->dump.warnings);
    free(rig->text);
    free(rig->warnings);
    assert_int_equal(chdir(rig->folder), 0);
    free(rig->folder);
    pool_destroy(&rig->pool); /* nothing was kept */
}

static char *file_bytes(const char *path, size_t *size) {
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    fseek(in, 0, SEEK_END);
    *size = (size_t)ftell(in);
    rewind(in);
    char *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, in), *size);
    bytes[*size] = 0;
    fclose(in);
    return bytes;
}

static void write_bytes(const char *path, const void *bytes, size_t size) {
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    fclose(out);
}

/* With the script's options the text is, to the byte, what Apache's own tool printed for the same files. */
static void same_as_apache(const char *expected, enum dump_decoder decoder, const char *const *files) {
    struct rig rig;
    char path[4096];
    size_t size;
    rig_start(&rig);
    rig.dump.by_place = false;
    rig.dump.decoder = decoder;
    for (; *files; files++) assert_true(dump_path(&rig.dump, *files));
    snprintf(path, sizeof path, "../../dump/%s", expected);
    char *theirs = file_bytes(path, &size);
    assert_string_equal(rig_text(&rig), theirs);
    assert_int_equal(rig.dump.damages, 0);
    free(theirs);
    rig_end(&rig);
}

TEST(records_are_printed_as_apache_does) {
    static const char *const files[] = {"plain-0/00000000000000000000.log", "txn-0/00000000000000000000.log", "appendtime-0/00000000000000000000.log",
                                        "compacted-0/00000000000000000000.log", "compacted-0/00000000000000000024.log", NULL};
    same_as_apache("records.txt", DUMP_PLAIN, files);
}

TEST(metadata_and_its_snapshots_are_printed_as_apache_does) {
    static const char *const files[] = {"__cluster_metadata-0/00000000000000000000.log", "__cluster_metadata-0/00000000000000000051-0000000001.checkpoint", NULL};
    same_as_apache("metadata.txt", DUMP_METADATA, files);
}

TEST(groups_are_printed_as_apache_does) {
    static const char *const files[] = {"__consumer_offsets-0/00000000000000000000.log", "__consumer_offsets-1/00000000000000000000.log", NULL};
    same_as_apache("offsets.txt", DUMP_GROUP, files);
}

TEST(indexes_and_producers_are_printed_as_apache_does) {
    static const char *const files[] = {"plain-0/00000000000000000000.index", "plain-0/00000000000000000000.timeindex", "plain-0/00000000000000000060.snapshot",
                                        "txn-0/00000000000000000000.txnindex", "txn-0/00000000000000000007.snapshot", "compacted-0/00000000000000000000.index",
                                        "__consumer_offsets-0/00000000000000000000.index", NULL};
    same_as_apache("indexes.txt", DUMP_PLAIN, files);
}

/* Of each segment and snapshot that a real node left, every record is printed once, in order, with its decoded content if
 * it has one; nothing counts as damaged. */
TEST(every_record_of_a_real_nodes_directory_is_there) {
    struct rig rig;
    uint32_t records_seen = 0, decoded_seen = 0;
    enum { LINE_BYTES_MAX = 4 << 20 };
    char *line = malloc(LINE_BYTES_MAX);
    rig_start(&rig);
    gzFile in = gzopen("../files.jsonl.gz", "rb");
    assert_non_null(in);
    while (gzgets(in, line, LINE_BYTES_MAX)) {
        json_t *file = json_loads(line, JSON_ALLOW_NUL, NULL), *batch, *record;
        const char *path = json_string_value(json_object_get(file, "file"));
        size_t i, k;
        rig_clear(&rig);
        if (access(path, F_OK) == 0) assert_true(dump_path(&rig.dump, path));
        const char *at = rig_text(&rig);
        json_array_foreach(json_object_get(file, "batches"), i, batch) {
            json_array_foreach(json_object_get(batch, "records"), k, record) {
                char start[80];
                json_t *decoded = json_object_get(record, "decoded"), *value = json_object_get(decoded, "value");
                const char *control = json_string_value(json_object_get(record, "control"));
                snprintf(start, sizeof start, "\n| offset: %lld ", (long long)json_integer_value(json_object_get(record, "offset")));
                at = strstr(at, start);
                assert_non_null(at);
                at++;
                records_seen++;
                if (!decoded || (control && (!strcmp(control, "COMMIT") || !strcmp(control, "ABORT")))) continue;
                if (json_is_null(value)) {
                    assert_non_null(strstr(at, "payload: <DELETE>"));
                    continue;
                }
                const char *text = control ? strchr(at, '{') : strstr(at, "payload: {") + strlen("payload: ");
                json_t *printed = json_loads(text, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
                json_t *wanted = control ? decoded : value, *got = control ? printed : json_object_get(printed, "data");
                if (!json_object_get(wanted, "members") || !strstr(text, "\"subscription\"")) assert_true(json_equal(got, wanted));
                decoded_seen++;
                json_decref(printed);
            }
        }
        if (rig.dump.damages) fail_msg("%s: %s", path, rig.text);
        json_decref(file);
    }
    gzclose(in);
    free(line);
    assert_int_equal(records_seen, 352);
    assert_true(decoded_seen > 150);
    rig_end(&rig);
}

/* One byte wrong, at each place of a batch's frame and header in turn: told with its position, and all other batches printed. */
TEST(damage_is_told_and_does_not_hide_the_rest) {
    struct rig rig;
    size_t size;
    char path[] = "/tmp/dump-test-XXXXXX.log";
    rig_start(&rig);
    close(mkstemps(path, 4));
    char *bytes = file_bytes("plain-0/00000000000000000000.log", &size);
    for (size_t at = 270 + 8; at < 270 + 120; at++) { /* the second of 16 batches; the epoch and the offset have no CRC */
        if (at >= 270 + 12 && at < 270 + 16) continue;
        bytes[at] ^= 0x55;
        write_bytes(path, bytes, size);
        bytes[at] ^= 0x55;
        rig_clear(&rig);
        assert_true(dump_path(&rig.dump, path));
        const char *text = rig_text(&rig);
        assert_true(rig.dump.damages > 0);
        assert_non_null(strstr(text, "Damaged at position 270: "));
        uint32_t good = 0;
        for (const char *next = text; (next = strstr(next, "isvalid: true")); next++) good++;
        assert_int_equal(good, 15);
        assert_non_null(strstr(text, "\n| offset: 59 "));
    }
    unlink(path);
    free(bytes);
    rig_end(&rig);
}

/* A file that ends anywhere in its last batch, or in zeros: what is whole is printed, the rest counted. */
TEST(torn_and_zeroed_ends) {
    struct rig rig;
    size_t size;
    char path[] = "/tmp/dump-test-XXXXXX.log", wanted[64];
    rig_start(&rig);
    close(mkstemps(path, 4));
    char *bytes = file_bytes("plain-0/00000000000000000000.log", &size), *longer = calloc(1, size + 5000);
    for (size_t kept = 2786; kept < size; kept += 7) {
        write_bytes(path, bytes, kept);
        rig_clear(&rig);
        assert_true(dump_path(&rig.dump, path));
        snprintf(wanted, sizeof wanted, "Found %zu invalid bytes at the end of ", kept - 2785);
        assert_non_null(strstr(rig_text(&rig), wanted));
        assert_non_null(strstr(rig.text, "\n| offset: 55 "));
        assert_int_equal(rig.dump.damages, kept - 2785 > 7); /* less is only zeros, as of room made in advance */
    }
    memcpy(longer, bytes, size);
    write_bytes(path, longer, size + 5000);
    rig_clear(&rig);
    assert_true(dump_path(&rig.dump, path));
    assert_non_null(strstr(rig_text(&rig), "Found 5000 invalid bytes at the end of "));
    assert_int_equal(rig.dump.damages, 0);
    assert_non_null(strstr(rig.text, "\n| offset: 59 "));
    unlink(path);
    free(longer);
    free(bytes);
    rig_end(&rig);
}

/* An index that does not fit its segment is told entry by entry, with the entry's position. */
TEST(indexes_are_held_against_the_segment) {
    struct rig rig;
    size_t size;
    char folder[] = "/tmp/dump-test-XXXXXX", path[64], log[64];
    rig_start(&rig);
    assert_non_null(mkdtemp(folder));
    char *bytes = file_bytes("plain-0/00000000000000000000.log", &size);
    snprintf(log, sizeof log, "%s/00000000000000000000.log", folder);
    write_bytes(log, bytes, size);
    free(bytes);
    bytes = file_bytes("plain-0/00000000000000000000.index", &size);
    snprintf(path, sizeof path, "%s/00000000000000000000.index", folder);
    bytes[8 + 3]++; /* the second entry's offset */
    bytes[24 + 7]++; /* the fourth one's position */
    write_bytes(path, bytes, size);
    assert_true(dump_path(&rig.dump, path));
    assert_non_null(strstr(rig_text(&rig), "Damaged at position 8: Index offset: 12, log offset: 11"));
    assert_non_null(strstr(rig.text, "Damaged at position 24: there is no batch at position"));
    assert_int_equal(rig.dump.damages, 2);
    unlink(path);
    free(bytes);
    bytes = file_bytes("plain-0/00000000000000000000.timeindex", &size);
    snprintf(path, sizeof path, "%s/00000000000000000000.timeindex", folder);
    bytes[12 + 7]++;
    write_bytes(path, bytes, size);
    rig_clear(&rig);
    assert_true(dump_path(&rig.dump, path));
    assert_non_null(strstr(rig_text(&rig), "Damaged at position 12: Index timestamp: "));
    assert_int_equal(rig.dump.damages, 1);
    unlink(path);
    unlink(log);
    rmdir(folder);
    free(bytes);
    rig_end(&rig);
}

/* Random changes of every kind of file, many times over: always an end, never more than memory allows. */
TEST(no_bytes_break_it) {
    static const char *const files[] = {
        "plain-0/00000000000000000000.log", "__cluster_metadata-0/00000000000000000000.log", "__cluster_metadata-0/00000000000000000051-0000000001.checkpoint",
        "__consumer_offsets-0/00000000000000000000.log", "__transaction_state-0/00000000000000000000.log", "__share_group_state-1/00000000000000000000.log",
        "plain-0/00000000000000000000.index", "plain-0/00000000000000000000.timeindex", "txn-0/00000000000000000000.txnindex",
        "plain-0/00000000000000000060.snapshot", "__cluster_metadata-0/quorum-state", "plain-0/leader-epoch-checkpoint", "replication-offset-checkpoint"};
    static const char *const places[] = {"plain-0", "__cluster_metadata-0", "__consumer_offsets-0", "__transaction_state-0", "__share_group_state-0"};
    struct rig rig;
    struct random random;
    uint64_t damages = 0;
    char folder[] = "/tmp/dump-test-XXXXXX", path[128];
    rig_start(&rig);
    random_seed(&random, 20260);
    assert_non_null(mkdtemp(folder));
    for (uint32_t round = 0; round < 30; round++) {
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            size_t size;
            char *bytes = file_bytes(files[i], &size);
            for (uint64_t n = 1 + random_below(&random, 12); n && size; n--) bytes[random_below(&random, size)] = (char)random_below(&random, 256);
            if (random_below(&random, 4) == 0) size = random_below(&random, size + 1);
            const char *place = places[random_below(&random, sizeof places / sizeof *places)];
            snprintf(path, sizeof path, "%s/%s", folder, place);
            assert_int_equal(mkdir(path, 0700), 0);
            snprintf(path, sizeof path, "%s/%s/%s", folder, place, strchr(files[i], '/') ? strchr(files[i], '/') + 1 : files[i]);
            write_bytes(path, bytes, size);
            rig_clear(&rig);
            assert_true(dump_path(&rig.dump, path));
            damages += rig.dump.damages;
            unlink(path);
            snprintf(path, sizeof path, "%s/%s", folder, place);
            rmdir(path);
            free(bytes);
        }
    }
    rmdir(folder);
    assert_true(damages > 100);
    rig_end(&rig);
}
