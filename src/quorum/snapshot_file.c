/* quorum/snapshot_file.c - .checkpoint files: the state of all records before an offset, as record batches.
 *
 *   <end offset, 20 digits>-<epoch, 10 digits>.checkpoint          whole
 *   ....checkpoint.part (Kafka: ...-<random>.checkpoint.part)      being written
 *   ....checkpoint.deleted                                         scheduled for deletion
 *
 * Batches of format 2, not compressed, base offsets from 0 on, each with the snapshot's epoch:
 *   control    SnapshotHeader{version 0, timestamp of the last record contained}; at kraft.version >= 1 in the same
 *              batch KRaftVersion, and Voters where there are any
 *   data ...   the records, each framed as in the log
 *   control    SnapshotFooter{version 0}
 * A file without its footer is not a snapshot.
 */
#include "quorum/host.h"
#include <errno.h>
#include <string.h>

/* ---- Names */

static bool digits(const char *at, uint32_t count, int64_t *out) {
    int64_t value = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') return false;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, at[i] - '0', &value)) return false;
    }
    *out = value;
    return true;
}

static bool ends_with(const char *name, const char *ending) {
    size_t size = strlen(name), end = strlen(ending);
    return size >= end && !memcmp(name + size - end, ending, end);
}

enum snapshot_name snapshot_name_parse(const char *name, struct raft_snapshot_id *out) {
    int64_t offset, epoch;
    if (strlen(name) < 31 || !digits(name, 20, &offset) || name[20] != '-' || !digits(name + 21, 10, &epoch) || epoch > INT32_MAX)
        return SNAPSHOT_NAME_OTHER;
    *out = (struct raft_snapshot_id){offset, (leader_epoch)epoch};
    if (!strcmp(name + 31, ".checkpoint")) return SNAPSHOT_NAME_WHOLE;
    if (ends_with(name, ".checkpoint.part")) return SNAPSHOT_NAME_PART;
    if (ends_with(name, ".checkpoint.deleted")) return SNAPSHOT_NAME_DELETED;
    return SNAPSHOT_NAME_OTHER;
}

void snapshot_path(const char *directory, struct raft_snapshot_id id, const char *ending, char out[QUORUM_PATH_MAX]) {
    struct text text;
    text_init(&text, out, QUORUM_PATH_MAX);
    text_add(&text, "%s/%020lld-%010d.checkpoint%s", directory, (long long)id.offset, id.epoch, ending);
    assert(!text.cut);
}

/* ---- Writing */

void snapshot_builder_init(struct snapshot_builder *builder, struct pool *pool, struct raft_snapshot_id id, time_ms now) {
    *builder = (struct snapshot_builder){.pool = pool, .id = id, .now = now};
}

static void batch_begin(struct snapshot_builder *builder, struct batch_builder *batch, bool control) {
    struct batch_options options;
    batch_options_init(&options);
    options.base_offset = builder->next;
    options.leader_epoch = builder->id.epoch;
    options.control = control;
    batch_builder_init(batch, builder->pool, QUORUM_BATCH_BYTES_MAX, &options);
}

static enum err batch_end(struct snapshot_builder *builder, struct batch_builder *batch, enum err err, struct slab **out) {
    int32_t count = batch->count;
    if (!err) err = batch_builder_finish(batch, NULL, out);
    if (!err) builder->next += count;
    batch_builder_destroy(batch);
    return err;
}

enum err snapshot_builder_header(struct snapshot_builder *builder, time_ms last_timestamp, int16_t version,
                                 const struct raft_voters *voters, struct slab **out) {
    struct arena arena;
    struct batch_builder batch;
    struct snapshot_header_record header;
    arena_init(&arena, builder->pool, 0);
    batch_begin(builder, &batch, true);
    snapshot_header_record_init(&header);
    header.last_contained_log_timestamp = last_timestamp;
    struct span value = wire_bytes(&snapshot_header_record_message, 0, &header, &arena);
    enum err err = value.data ? batch_builder_add_control(&batch, CONTROL_SNAPSHOT_HEADER, builder->now, value) : ERR_NO_MEMORY;
    if (!err && version >= 1) {
        struct kraft_version_record record;
        kraft_version_record_init(&record);
        record.kraft_version = version;
        value = wire_bytes(&kraft_version_record_message, 0, &record, &arena);
        err = value.data ? batch_builder_add_control(&batch, CONTROL_KRAFT_VERSION, builder->now, value) : ERR_NO_MEMORY;
    }
    if (!err && version >= 1 && voters) {
        value = voters_record_encode_bytes(voters, &arena);
        err = value.data ? batch_builder_add_control(&batch, CONTROL_VOTERS, builder->now, value) : ERR_NO_MEMORY;
    }
    err = batch_end(builder, &batch, err, out);
    arena_destroy(&arena);
    return err;
}

enum err snapshot_builder_records(struct snapshot_builder *builder, const struct span *values, uint32_t count, struct slab **out) {
    struct batch_builder batch;
    enum err err = ERR_NONE;
    batch_begin(builder, &batch, false);
    for (uint32_t i = 0; i < count && !err; i++) err = batch_builder_add(&batch, builder->now, (struct span){0}, values[i], NULL, 0);
    return batch_end(builder, &batch, err, out);
}

enum err snapshot_builder_footer(struct snapshot_builder *builder, struct slab **out) {
    struct arena arena;
    struct batch_builder batch;
    struct snapshot_footer_record footer;
    arena_init(&arena, builder->pool, 0);
    batch_begin(builder, &batch, true);
    snapshot_footer_record_init(&footer);
    struct span value = wire_bytes(&snapshot_footer_record_message, 0, &footer, &arena);
    enum err err = value.data ? batch_builder_add_control(&batch, CONTROL_SNAPSHOT_FOOTER, builder->now, value) : ERR_NO_MEMORY;
    err = batch_end(builder, &batch, err, out);
    arena_destroy(&arena);
    return err;
}

static int write_slab(struct io_files files, struct io_file *file, struct slab *slab, uint64_t *at) {
    int64_t written = files.vtable->write(files.self, file, slab->bytes, slab->used, *at);
    if (written >= 0) *at += slab->used;
    return written < 0 ? (int)written : 0;
}

enum err quorum_format(struct io_files files, struct pool *pool, const char *metadata_dir, int16_t version,
                       const struct raft_voters *voters, const struct span *values, uint32_t count, time_ms now) {
    struct raft_snapshot_id id = {0, 0};
    struct snapshot_builder builder;
    struct io_file *file = NULL;
    struct slab *slabs[3] = {NULL};
    char directory[QUORUM_PATH_MAX - 64], path[QUORUM_PATH_MAX], part[QUORUM_PATH_MAX];
    struct text text;
    uint64_t at = 0;
    int error;
    text_init(&text, directory, sizeof(directory));
    text_add(&text, "%s/__cluster_metadata-0", metadata_dir);
    if (text.cut) return ERR_LIMIT;
    snapshot_path(directory, id, "", path);
    snapshot_path(directory, id, ".part", part);
    snapshot_builder_init(&builder, pool, id, now);
    enum err err = snapshot_builder_header(&builder, now, version, voters, &slabs[0]);
    if (!err && count) err = snapshot_builder_records(&builder, values, count, &slabs[1]);
    if (!err) err = snapshot_builder_footer(&builder, &slabs[2]);
    if (err) goto out;

    error = files.vtable->make_directory(files.self, directory);
    if (!error) error = files.vtable->sync_directory(files.self, metadata_dir);
    if (error == -EEXIST) error = 0;
    if (!error) error = files.vtable->open(files.self, &file, part, IO_WRITE | IO_CREATE | IO_TRUNCATE);
    for (int i = 0; i < 3 && !error; i++)
        if (slabs[i]) error = write_slab(files, file, slabs[i], &at);
    if (!error) error = files.vtable->sync_file(files.self, file);
    if (!error) error = files.vtable->rename(files.self, part, path);
    if (!error) error = files.vtable->sync_directory(files.self, directory);
    err = err_from_errno(error);
out:
    if (file) io_file_drop(file);
    for (int i = 0; i < 3; i++)
        if (slabs[i]) slab_drop(slabs[i]);
    return err;
}

/* ---- Reading */

void snapshot_reader_init(struct snapshot_reader *reader, struct raft_snapshot_id id) {
    *reader = (struct snapshot_reader){.id = id};
}

static enum err read_control(struct snapshot_reader *reader, const struct record *record, bool first, struct arena *arena, struct raft_voters *voters) {
    enum control_type type;
    enum err err = control_type_parse(record->key, &type);
    if (err) return err;
    if (first && !reader->has_header) {
        struct snapshot_header_record header;
        if (type != CONTROL_SNAPSHOT_HEADER) return ERR_CORRUPT;
        if ((err = snapshot_header_record_decode(&header, 0, record->value, arena, NULL))) return err;
        reader->has_header = true;
        reader->last_timestamp = header.last_contained_log_timestamp;
        return ERR_NONE;
    }
    switch (type) {
    case CONTROL_SNAPSHOT_FOOTER: reader->has_footer = true; return ERR_NONE;
    case CONTROL_KRAFT_VERSION: return kraft_version_parse(record->value, arena, &reader->version);
    case CONTROL_VOTERS:
        reader->has_voters = true;
        return voters ? voters_record_parse(record->value, arena, voters) : ERR_NONE;
    case CONTROL_SNAPSHOT_HEADER:
    case CONTROL_ABORT:
    case CONTROL_COMMIT:
    case CONTROL_LEADER_CHANGE: return ERR_CORRUPT;
    case CONTROL_UNKNOWN: break;
    }
    return ERR_NONE; /* of a later version, which knows what it is good for */
}

enum err snapshot_reader_batch(struct snapshot_reader *reader, const struct batch *batch, struct arena *arena, struct raft_voters *voters) {
    if (reader->has_footer || batch->base_offset < reader->next || !batch_crc_is_good(batch) || batch_codec(batch) != 0) return ERR_CORRUPT;
    if (!reader->has_header && !batch_is_control(batch)) return ERR_CORRUPT;
    reader->next = batch_next_offset(batch);
    struct record_cursor cursor;
    struct record record;
    record_cursor_init(&cursor, batch, span_of(batch->bytes + BATCH_HEADER_BYTES, batch->size - BATCH_HEADER_BYTES));
    enum err err;
    for (bool first = true; !(err = record_next(&cursor, &record)); first = false)
        if (batch_is_control(batch) && (err = read_control(reader, &record, first, arena, voters))) return err;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err snapshot_file_verify(struct io_files files, struct pool *pool, const char *path, struct raft_snapshot_id id,
                              struct snapshot_reader *out, struct raft_voters *voters) {
    struct io_file *file = NULL;
    size_t room = QUORUM_PIECE_BYTES, held = 0;
    uint64_t at = 0;
    enum err err = ERR_NONE;
    struct arena arena;
    uint8_t *bytes = NULL;
    snapshot_reader_init(out, id);
    arena_init_travelling(&arena, pool, 0);
    int error = files.vtable->open(files.self, &file, path, IO_READ);
    if (error) {
        err = err_from_errno(error);
        goto out;
    }
    if (!(bytes = pool_alloc_shared(pool, room))) err = ERR_NO_MEMORY;
    while (!err) {
        int64_t read = files.vtable->read(files.self, file, bytes + held, room - held, at);
        if (read < 0) err = err_from_errno(read);
        if (read <= 0) break;
        at += (uint64_t)read;
        held += (size_t)read;
        struct span rest = span_of(bytes, held);
        struct batch batch;
        while (!err && !(err = batch_next(&rest, &batch))) {
            arena_reset(&arena);
            err = snapshot_reader_batch(out, &batch, &arena, voters);
        }
        if (err != ERR_NOT_FOUND && err != ERR_AGAIN) break;
        err = ERR_NONE;
        if (rest.size == room) { /* a batch that is larger than what is held */
            uint8_t *more = room < 2u * QUORUM_BATCH_BYTES_MAX ? pool_alloc_shared(pool, room * 2) : NULL;
            if (!more) {
                err = ERR_CORRUPT;
                break;
            }
            memcpy(more, bytes, held);
            pool_free_shared(pool, bytes, room);
            bytes = more;
            room *= 2;
        } else if (rest.size) {
            memmove(bytes, rest.data, rest.size);
        }
        held = rest.size;
    }
    if (!err && (held || !out->has_header || !out->has_footer)) err = ERR_CORRUPT;
out:
    if (bytes) pool_free_shared(pool, bytes, room);
    if (file) io_file_drop(file);
    arena_destroy(&arena);
    return err;
}
