/* The quorum's files, and its control records, from any bytes; the first byte chooses the kind. What is read is written and
 * read again: the same. */
#include "fuzz.h"
#include "base/hash.h"
#include "quorum/host.h"
#include "vectors.h"
#include <stdlib.h>
#include <string.h>

static struct pool pool;
static struct raft_voters voters, voters_again;

static void state(struct span bytes) {
    struct raft_quorum_state read, again;
    char line[QUORUM_STATE_BYTES_MAX];
    struct text text;
    text_init(&text, line, sizeof line);
    if (state_file_parse(bytes, &read)) return;
    state_file_text(&read, NULL, 0, &text);
    enum err err = state_file_parse(span_of(line, text.size), &again);
    assert(!text.cut && err == ERR_NONE);
    assert(read.version == again.version && read.epoch == again.epoch && read.leader_id == again.leader_id && read.voted.id == again.voted.id);
    assert(uuid_equal(read.voted.directory, again.voted.directory));
}

/* Their sums are made to fit. */
static void snapshot(struct span bytes) {
    struct snapshot_reader reader;
    struct arena arena;
    uint8_t *copy = malloc(bytes.size + 1);
    if (!copy) abort();
    memcpy(copy, bytes.data, bytes.size);
    for (size_t at = 0; bytes.size - at >= BATCH_HEADER_BYTES;) {
        uint32_t size = load_be32(copy + at + BATCH_AT_LENGTH);
        if (size > bytes.size - at - BATCH_FRAME_BYTES || size < BATCH_HEADER_BYTES - BATCH_FRAME_BYTES) break;
        size += BATCH_FRAME_BYTES;
        store_be32(copy + at + BATCH_AT_CRC, crc32c(0, copy + at + BATCH_AT_ATTRIBUTES, size - BATCH_AT_ATTRIBUTES));
        at += size;
    }
    struct span rest = span_of(copy, bytes.size);
    struct batch batch;
    arena_init(&arena, &pool, 0);
    snapshot_reader_init(&reader, (struct raft_snapshot_id){51, 1});
    while (!batch_next(&rest, &batch))
        if (snapshot_reader_batch(&reader, &batch, &arena, &voters)) break;
    arena_destroy(&arena);
    free(copy);
}

static void control(struct span bytes) {
    struct arena arena;
    int16_t version;
    arena_init(&arena, &pool, 0);
    if (voters_record_parse(bytes, &arena, &voters) == ERR_NONE) {
        struct span written = voters_record_encode_bytes(&voters, &arena);
        assert(written.data);
        enum err err = voters_record_parse(written, &arena, &voters_again);
        assert(err == ERR_NONE && voters.count == voters_again.count);
    }
    (void)!kraft_version_parse(bytes, &arena, &version);
    arena_destroy(&arena);
}

static void names(struct span bytes) {
    char name[256], path[QUORUM_PATH_MAX];
    struct raft_snapshot_id id, again;
    if (bytes.size >= sizeof name) return;
    memcpy(name, bytes.data, bytes.size);
    name[bytes.size] = 0;
    if (snapshot_name_parse(name, &id) == SNAPSHOT_NAME_WHOLE) {
        snapshot_path("/m", id, "", path);
        enum snapshot_name kind = snapshot_name_parse(path + strlen("/m/"), &again);
        assert(kind == SNAPSHOT_NAME_WHOLE && snapshot_id_equal(id, again));
    }
}

static void configured(struct span bytes) {
    (void)!raft_voters_parse(bytes, SPAN_LITERAL("CONTROLLER"), false, &voters);
    (void)!raft_voters_parse(bytes, SPAN_LITERAL("CONTROLLER"), true, &voters);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const kinds[])(struct span) = {state, snapshot, control, names, configured};
    if (size < 1) return 0;
    if (!pool.limit) pool_init(&pool, MIB(64), 4);
    kinds[data[0] % countof(kinds)](span_of(data + 1, size - 1));
    assert(atomic_load(&pool.used) == 0);
    return 0;
}

static void add_file(fuzz_add *add, const char *name) {
    struct arena arena;
    arena_init(&arena, &pool, 0);
    struct span file = vector_file(&arena, TEST_SOURCE_ROOT "/test/vectors/disk", name);
    uint8_t *input = file.data ? arena_alloc(&arena, file.size + 1) : NULL;
    if (input) {
        input[0] = 1;
        memcpy(input + 1, file.data, file.size);
        add(input, file.size + 1);
    }
    arena_destroy(&arena);
}

void fuzz_seeds(fuzz_add *add) {
    static const char *const texts[] = {
        "{\"leaderId\":1,\"leaderEpoch\":5,\"votedId\":-1,\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}",
        "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":2,\"votedId\":1,\"appliedOffset\":0,\"currentVoters\":[{\"voterId\":1}],\"data_version\":0}",
        "{\"leaderId\":-1,\"leaderEpoch\":7,\"votedId\":3,\"votedDirectoryId\":\"QUFBQUFBQUFBQUFBQUFBQQ\",\"data_version\":1}"};
    static const char name[] = "\3" "00000000000000000051-0000000001.checkpoint", part[] = "\3" "00000000000000000051-0000000001.checkpoint.part";
    static const char plain[] = "\4" "1@localhost:9093,2@[::1]:9093", ids[] = "\4" "1@localhost:9093:Lh5EN2ABTh6YwD2b_wPwiA,2@[::1]:9:AAAAAAAAAAAAAAAAAAAAAQ,";
    static const char record[] = "\2\0\0\2\0\0\0\1AAAAAAAAAAAAAAAA\2\1C\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    char input[512];
    if (!pool.limit) pool_init(&pool, MIB(64), 4);
    for (size_t i = 0; i < countof(texts); i++) {
        input[0] = 0;
        memcpy(input + 1, texts[i], strlen(texts[i]));
        add(input, 1 + strlen(texts[i]));
    }
    add(name, sizeof name - 1);
    add(part, sizeof part - 1);
    add(plain, sizeof plain - 1);
    add(ids, sizeof ids - 1);
    add(record, sizeof record - 1);
    add_file(add, "files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint");
    add_file(add, "files/__cluster_metadata-0/00000000000000000051-0000000001.checkpoint");
    add_file(add, "format-standalone/files/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint");
}
