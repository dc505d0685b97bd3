/* quorum/state_file.c - quorum-state, the file that keeps this node from voting twice in an epoch, and its second copy.
 *
 *   quorum-state          {"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}
 *                         {"clusterId":"","leaderId":1,"leaderEpoch":3,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}
 *   moldau.quorum-state   the same line, a line feed, and a line of its own:
 *                         {"crc32c":...,"inode":...,"modifiedNs":...} of the line before, and of the file that it is a copy of
 *
 * Both are written to a temporary name, flushed, and renamed, the copy first; then the directory is flushed. The copy
 * stands for the file when that cannot be read, or is the one that was written with it and holds other bytes (rot). A
 * file that another program has written (another inode or time) wins when it parses.
 */
#include "base/hash.h"
#include "base/random.h"
#include "quorum/host.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>

static const char NAME[] = "quorum-state", NAME_TMP[] = "quorum-state.tmp";
static const char COPY[] = "moldau.quorum-state", COPY_TMP[] = "moldau.quorum-state.tmp";

void state_file_text(const struct raft_quorum_state *state, const int32_t *voters, uint32_t voters_count, struct text *out) {
    if (state->version >= 1) {
        char directory[UUID_TEXT_BYTES + 1];
        struct uuid none = {{0}};
        uuid_text(state->voted.id >= 0 ? state->voted.directory : none, directory);
        text_add(out, "{\"leaderId\":%d,\"leaderEpoch\":%d,\"votedId\":%d,\"votedDirectoryId\":\"%s\",\"data_version\":%d}",
                 state->leader_id, state->epoch, state->voted.id, directory, state->version);
        return;
    }
    text_add(out, "{\"clusterId\":\"\",\"leaderId\":%d,\"leaderEpoch\":%d,\"votedId\":%d,\"appliedOffset\":0,\"currentVoters\":[",
             state->leader_id, state->epoch, state->voted.id);
    for (uint32_t i = 0; i < voters_count; i++) text_add(out, "%s{\"voterId\":%d}", i ? "," : "", voters[i]);
    text_add(out, "],\"data_version\":0}");
}

static bool number(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value)) return false;
    *out = json_integer_value(value);
    return *out >= min && *out <= max;
}

enum err state_file_parse(struct span text, struct raft_quorum_state *out) {
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    int64_t version = 0, epoch = 0, leader = 0, voted = 0;
    enum err err = ERR_CORRUPT;
    if (!json_is_object(root) || !number(root, "data_version", 0, INT16_MAX, &version)) goto out;
    if (version > 1) {
        err = ERR_UNSUPPORTED;
        goto out;
    }
    if (!number(root, "leaderEpoch", 0, INT32_MAX, &epoch) || !number(root, "leaderId", -1, INT32_MAX, &leader) ||
        !number(root, "votedId", -1, INT32_MAX, &voted))
        goto out;
    *out = (struct raft_quorum_state){.version = (int16_t)version, .epoch = (leader_epoch)epoch, .leader_id = (int32_t)leader,
                                      .voted = {.id = (int32_t)voted}};
    if (version == 1) {
        const json_t *directory = json_object_get(root, "votedDirectoryId");
        if (!json_is_string(directory) || !uuid_parse(json_string_value(directory), json_string_length(directory), &out->voted.directory)) goto out;
        if (voted < 0) out->voted.directory = (struct uuid){{0}}; /* nobody's says nothing */
    }
    err = ERR_NONE;
out:
    json_decref(root);
    return err;
}

/* ---- Files */

static void path_of(const char *directory, const char *name, char out[QUORUM_PATH_MAX]) {
    struct text text;
    text_init(&text, out, QUORUM_PATH_MAX);
    text_add(&text, "%s/%s", directory, name);
    assert(!text.cut);
}

static int64_t file_read(struct io_files files, const char *path, char *target, size_t size) {
    struct io_file *file;
    int opened = files.vtable->open(files.self, &file, path, IO_READ);
    if (opened) return opened;
    int64_t bytes = files.vtable->read(files.self, file, target, size, 0);
    io_file_drop(file);
    return bytes;
}

static int file_write(struct io_files files, const char *path, struct span bytes) {
    struct io_file *file;
    int error = files.vtable->open(files.self, &file, path, IO_WRITE | IO_CREATE | IO_TRUNCATE);
    if (error) return error;
    int64_t written = files.vtable->write(files.self, file, bytes.data, bytes.size, 0);
    error = written < 0 ? (int)written : files.vtable->sync_file(files.self, file);
    io_file_drop(file);
    return error;
}

static struct span without_line_end(const char *bytes, int64_t size) {
    while (size > 0 && (bytes[size - 1] == '\n' || bytes[size - 1] == '\r')) size--;
    return span_of(bytes, size > 0 ? (size_t)size : 0);
}

/* What the second line of the copy says. */
struct copy { struct span line; bool is_good; uint64_t inode; int64_t modified_ns; };

static struct copy copy_parse(const char *bytes, int64_t size) {
    struct copy copy = {0};
    const char *end = size > 0 ? memchr(bytes, '\n', (size_t)size) : NULL;
    if (!end) return copy;
    copy.line = span_of(bytes, (size_t)(end - bytes));
    struct span second = without_line_end(end + 1, size - (end + 1 - bytes));
    json_t *root = json_loadb((const char *)second.data, second.size, JSON_REJECT_DUPLICATES, NULL);
    int64_t sum, inode, modified;
    if (number(root, "crc32c", 0, UINT32_MAX, &sum) && number(root, "inode", INT64_MIN, INT64_MAX, &inode) &&
        number(root, "modifiedNs", INT64_MIN, INT64_MAX, &modified)) {
        copy.is_good = (uint32_t)sum == crc32c(0, copy.line.data, copy.line.size);
        copy.inode = (uint64_t)inode;
        copy.modified_ns = modified;
    }
    json_decref(root);
    return copy;
}

enum err state_file_read(struct io_files files, const char *directory, leader_epoch epoch_min, struct raft_quorum_state *out, bool *repair) {
    char path[QUORUM_PATH_MAX], copy_path[QUORUM_PATH_MAX], bytes[QUORUM_STATE_BYTES_MAX], copy_bytes[QUORUM_STATE_BYTES_MAX];
    path_of(directory, NAME, path);
    path_of(directory, COPY, copy_path);
    int64_t size = file_read(files, path, bytes, sizeof(bytes)), copy_size = file_read(files, copy_path, copy_bytes, sizeof(copy_bytes));
    if (size < 0 && size != -ENOENT) size = 0; /* unreadable: whether the copy can stand for it is the question */
    struct copy copy = copy_parse(copy_bytes, copy_size);
    struct raft_quorum_state mine, copied;
    struct span line = without_line_end(bytes, size);
    enum err err = size < 0 ? ERR_NOT_FOUND : state_file_parse(line, &mine);
    enum err copy_err = copy.is_good ? state_file_parse(copy.line, &copied) : ERR_NOT_FOUND;
    struct io_stat stat;
    bool written_together = copy.is_good && !files.vtable->stat(files.self, path, &stat) && stat.inode == copy.inode &&
                            stat.modified_ns == copy.modified_ns;
    *repair = true;
    if (!err && !(written_together && !span_equal(line, copy.line))) {
        *repair = !copy.is_good || !span_equal(line, copy.line);
        *out = mine;
        return ERR_NONE;
    }
    if (err == ERR_UNSUPPORTED) return err;
    if (!copy_err && copied.epoch >= epoch_min) {
        *out = copied;
        return ERR_NONE;
    }
    return err == ERR_NOT_FOUND && copy_size == -ENOENT ? ERR_NOT_FOUND : ERR_CORRUPT;
}

int state_file_write(struct io_files files, const char *directory, const struct raft_quorum_state *state, const int32_t *voters,
                     uint32_t voters_count, uint32_t *syncs) {
    char path[QUORUM_PATH_MAX], tmp[QUORUM_PATH_MAX], copy_path[QUORUM_PATH_MAX], copy_tmp[QUORUM_PATH_MAX], bytes[QUORUM_STATE_BYTES_MAX];
    path_of(directory, NAME, path);
    path_of(directory, NAME_TMP, tmp);
    path_of(directory, COPY, copy_path);
    path_of(directory, COPY_TMP, copy_tmp);
    struct text text;
    text_init(&text, bytes, sizeof(bytes));
    state_file_text(state, voters, voters_count, &text);
    assert(!text.cut);
    size_t line = text.size;
    struct io_stat stat;
    int error = file_write(files, tmp, span_of(bytes, line));
    if (!error) error = files.vtable->stat(files.self, tmp, &stat);
    if (error) return error;
    text_add(&text, "\n{\"crc32c\":%u,\"inode\":%lld,\"modifiedNs\":%lld}\n", crc32c(0, bytes, line), (long long)stat.inode, (long long)stat.modified_ns);
    assert(!text.cut);
    if (!error) error = file_write(files, copy_tmp, span_of(bytes, text.size));
    if (!error) error = files.vtable->rename(files.self, copy_tmp, copy_path);
    if (!error) error = files.vtable->rename(files.self, tmp, path);
    if (!error) error = files.vtable->sync_directory(files.self, directory);
    *syncs += 3;
    return error;
}
