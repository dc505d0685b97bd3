/* cli/dump_index.c - what stands beside a segment: indexes, producers, and the small text files.
 *
 *   .index       8 bytes:  int32 relative last offset of a batch, int32 its position
 *   .timeindex  12 bytes:  int64 timestamp, int32 relative offset
 *   .txnindex   34 bytes:  int16 version 0; int64 producer id, first offset, last offset, last stable offset
 *   .snapshot   int16 version 1, uint32 CRC-32C of all that follows, entries
 * Zeros behind the last entry of the first two are room that Apache preallocated.
 */
#include "cli/dump.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "wire/json.h"
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { OFFSET_ENTRY_BYTES = 8, TIME_ENTRY_BYTES = 12, TXN_ENTRY_BYTES = 34, SMALL_FILE_BYTES_MAX = 64 << 20 };

static bool opened(struct dump *dump, struct dump_source *source, const char *path) {
    enum err err = dump_source_open(source, dump, path);
    if (err) dump_damage(dump, 0, "not readable: %s", err_text(err));
    return !err;
}

/* The segment that the index belongs to: the same name with another ending; there must be one to check against. */
static bool open_segment(struct dump *dump, struct dump_source *log, const char *path, const char *ending) {
    char name[4096];
    const char *at = NULL;
    for (const char *next = path; (next = strstr(next, ending)); next++) at = next;
    *log = (struct dump_source){0};
    if (!at || snprintf(name, sizeof name, "%.*s.log%s", (int)(at - path), path, at + strlen(ending)) >= (int)sizeof name) return false;
    if (!dump_source_open(log, dump, name)) return true;
    fprintf(dump->warnings, "No segment %s to check against\n", name);
    return false;
}

/* The batch at a position; false: there is none. */
static bool batch_at(struct dump_source *log, uint64_t position, struct batch *out) {
    struct span bytes;
    return !dump_source_span(log, position, BATCH_HEADER_BYTES, &bytes) && !batch_header_parse(bytes, out);
}

/* Entries up to the zeros; what does not fill an entry is told. */
static uint64_t entries_of(struct dump *dump, const struct dump_source *source, uint32_t bytes) {
    uint64_t rest = source->size % bytes;
    if (rest) dump_damage(dump, source->size - rest, "%" PRIu64 " bytes are no entry of %u", rest, bytes);
    return source->size / bytes;
}

static void passed(struct dump *dump, const char *path, uint64_t damages) {
    if (dump->sanity_only && dump->damages == damages) fprintf(dump->out, "%s passed sanity check.\n", path);
}

void dump_offset_index(struct dump *dump, const char *path, const char *name) {
    struct dump_source source, log;
    struct span bytes;
    log_offset base = strtoll(name, NULL, 10), before = base - 1;
    uint64_t damages = dump->damages, position_before = 0;
    if (!opened(dump, &source, path)) return;
    if (source.size == 0) {
        fprintf(dump->out, "%s is empty.\n", path);
        dump_source_close(&source);
        return;
    }
    bool has_log = !dump->sanity_only && open_segment(dump, &log, path, ".index");
    uint64_t count = entries_of(dump, &source, OFFSET_ENTRY_BYTES);
    for (uint64_t i = 0; i < count && !dump_source_span(&source, i * OFFSET_ENTRY_BYTES, OFFSET_ENTRY_BYTES, &bytes); i++) {
        uint32_t relative = load_be32(bytes.data), position = load_be32(bytes.data + 4);
        log_offset offset = base + (int32_t)relative;
        struct batch batch;
        if (relative == 0 && i > 0) break; /* preallocated */
        if (relative == 0 && position == 0 && count > 1 && dump->by_place) break;
        if (!dump->sanity_only && !dump->verify_only) fprintf(dump->out, "offset: %" PRId64 " position: %u\n", offset, position);
        if (i > 0 && (offset <= before || position <= position_before))
            dump_damage(dump, i * OFFSET_ENTRY_BYTES, "offset %" PRId64 " at position %u does not rise", offset, position);
        else if (offset < base) dump_damage(dump, i * OFFSET_ENTRY_BYTES, "offset %" PRId64 " lies before the segment", offset);
        else if (has_log && !batch_at(&log, position, &batch))
            dump_damage(dump, i * OFFSET_ENTRY_BYTES, "there is no batch at position %u of the segment", position);
        else if (has_log && batch_last_offset(&batch) != offset) {
            dump_damage(dump, i * OFFSET_ENTRY_BYTES, "Index offset: %" PRId64 ", log offset: %" PRId64, offset, batch_last_offset(&batch));
        }
        before = offset;
        position_before = position;
    }
    passed(dump, path, damages);
    if (has_log) dump_source_close(&log);
    dump_source_close(&source);
}

/* Walks on to the batch that holds an offset: entries rise, so one walk serves them all. */
static bool batch_with(struct dump_source *log, uint64_t *position, log_offset offset, struct batch *out) {
    while (batch_at(log, *position, out)) {
        if (batch_last_offset(out) >= offset) return out->base_offset <= offset;
        *position += out->size;
    }
    return false;
}

void dump_time_index(struct dump *dump, const char *path, const char *name) {
    struct dump_source source, log;
    struct span bytes;
    log_offset base = strtoll(name, NULL, 10);
    uint64_t damages = dump->damages, position = 0;
    time_ms before = INT64_MIN;
    if (!opened(dump, &source, path)) return;
    bool has_log = !dump->sanity_only && open_segment(dump, &log, path, ".timeindex");
    uint64_t count = entries_of(dump, &source, TIME_ENTRY_BYTES);
    for (uint64_t i = 0; i < count && !dump_source_span(&source, i * TIME_ENTRY_BYTES, TIME_ENTRY_BYTES, &bytes); i++) {
        time_ms timestamp = (time_ms)load_be64(bytes.data);
        uint32_t relative = load_be32(bytes.data + 8);
        log_offset offset = base + (int32_t)relative;
        uint64_t at = i * TIME_ENTRY_BYTES;
        struct batch batch;
        if (relative == 0 && (i > 0 || (timestamp == 0 && count > 1 && dump->by_place))) break; /* preallocated */
        if (!dump->sanity_only && !dump->verify_only) fprintf(dump->out, "timestamp: %" PRId64 " offset: %" PRId64 "\n", timestamp, offset);
        if (timestamp < before) dump_damage(dump, at, "Index timestamp: %" PRId64 ", Previously indexed timestamp: %" PRId64, timestamp, before);
        else if (offset < base) dump_damage(dump, at, "offset %" PRId64 " lies before the segment", offset);
        else if (has_log && !batch_with(&log, &position, offset, &batch)) dump_damage(dump, at, "Indexed offset: %" PRId64 ", found log offset: -1", offset);
        else if (has_log && batch.max_timestamp != timestamp)
            dump_damage(dump, at, "Index timestamp: %" PRId64 ", log timestamp: %" PRId64, timestamp, batch.max_timestamp);
        before = timestamp;
    }
    passed(dump, path, damages);
    if (has_log) dump_source_close(&log);
    dump_source_close(&source);
}

void dump_txn_index(struct dump *dump, const char *path, const char *name) {
    struct dump_source source;
    struct span bytes;
    log_offset base = strtoll(name, NULL, 10), before = INT64_MIN;
    if (!opened(dump, &source, path)) return;
    uint64_t count = entries_of(dump, &source, TXN_ENTRY_BYTES);
    for (uint64_t i = 0; i < count && !dump_source_span(&source, i * TXN_ENTRY_BYTES, TXN_ENTRY_BYTES, &bytes); i++) {
        int16_t version = (int16_t)load_be16(bytes.data);
        int64_t producer = (int64_t)load_be64(bytes.data + 2), first = (int64_t)load_be64(bytes.data + 10);
        int64_t last = (int64_t)load_be64(bytes.data + 18), stable = (int64_t)load_be64(bytes.data + 26);
        fprintf(dump->out, "version: %d producerId: %" PRId64 " firstOffset: %" PRId64 " lastOffset: %" PRId64 " lastStableOffset: %" PRId64 "\n",
                version, producer, first, last, stable);
        if (version != 0) dump_damage(dump, i * TXN_ENTRY_BYTES, "there is no version %d", version);
        else if (last < base || last <= before) dump_damage(dump, i * TXN_ENTRY_BYTES, "last offset %" PRId64 " does not rise", last);
        before = last;
    }
    dump_source_close(&source);
}

/* ---- Producers */

static void print_producer(struct dump *dump, const struct producer_snapshot_producer_entry *entry) {
    char first[48] = "OptionalLong.empty";
    if (entry->current_txn_first_offset >= 0) snprintf(first, sizeof first, "OptionalLong[%" PRId64 "]", entry->current_txn_first_offset);
    fprintf(dump->out, "producerId: %" PRId64 " producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %" PRId64,
            entry->producer_id, entry->epoch, entry->coordinator_epoch, first, entry->timestamp);
    if (entry->last_offset >= 0)
        fprintf(dump->out, " firstSequence: %d lastSequence: %d lastOffset: %" PRId64 " offsetDelta: %d timestamp: %" PRId64,
                entry->last_sequence >= entry->offset_delta ? entry->last_sequence - entry->offset_delta
                                                            : INT32_MAX - (entry->offset_delta - entry->last_sequence) + 1,
                entry->last_sequence, entry->last_offset, entry->offset_delta, entry->timestamp);
    fputc('\n', dump->out);
}

void dump_producers(struct dump *dump, const char *path) {
    struct dump_source source;
    struct span bytes;
    struct arena arena;
    struct wire_framed framed;
    struct producer_snapshot snapshot;
    size_t used;
    if (!opened(dump, &source, path)) return;
    arena_init(&arena, dump->pool, 0);
    enum err err = source.size > SMALL_FILE_BYTES_MAX ? ERR_LIMIT : dump_source_span(&source, 0, (size_t)source.size, &bytes);
    if (!err) err = wire_versioned_open(&producer_snapshot_message, bytes, &framed);
    if (!err && (framed.is_newer || framed.body.size < 4)) err = framed.is_newer ? ERR_UNSUPPORTED : ERR_CORRUPT;
    if (!err) {
        uint32_t stored = load_be32(framed.body.data), computed = crc32c(0, framed.body.data + 4, framed.body.size - 4);
        if (stored != computed) {
            fprintf(dump->warnings, "Snapshot is corrupt (CRC is no longer valid). Stored crc: %u. Computed crc: %u\n", stored, computed);
            dump_damage(dump, 2, "the CRC is %u, that of the bytes %u", stored, computed);
        }
        if (stored == computed || dump->by_place) err = wire_decode(&producer_snapshot_message, framed.version, &snapshot, framed.body, &arena, &used);
        if (!err && (stored == computed || dump->by_place))
            for (int32_t i = 0; i < snapshot.producer_entries_count; i++) print_producer(dump, &snapshot.producer_entries[i]);
    }
    if (err) dump_damage(dump, 0, "no snapshot of producers: %s", err_text(err));
    arena_destroy(&arena);
    dump_source_close(&source);
}

/* ---- Text files: as they are, and what is wrong with them. */

static struct span next_line(struct span *rest) {
    const uint8_t *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
    struct span line = span_of(rest->data, end ? (size_t)(end - rest->data) : rest->size);
    size_t step = line.size + (end ? 1 : 0);
    *rest = span_of(rest->data ? rest->data + step : NULL, rest->size - step);
    return line;
}

/* `words` fields with blanks between them, all but the first `texts` of them numbers. */
static bool is_line_of(struct span line, uint32_t words, uint32_t texts) {
    uint32_t seen = 0;
    for (size_t i = 0; i < line.size;) {
        size_t start = i;
        bool number = true;
        for (; i < line.size && line.data[i] != ' '; i++)
            if (!isdigit(line.data[i]) && !(i == start && line.data[i] == '-')) number = false;
        if (i == start || (seen >= texts && !number)) return false;
        seen++;
        if (i < line.size) i++;
    }
    return seen == words;
}

/* Version 0, a count, as many lines. */
static void check_checkpoint(struct dump *dump, struct span bytes, bool epochs) {
    struct span rest = bytes, line = next_line(&rest);
    if (!bytes.size) return;
    if (!span_equal(line, SPAN_LITERAL("0"))) dump_damage(dump, 0, "the first line is not version 0");
    uint64_t at = bytes.size - rest.size;
    line = next_line(&rest);
    char number[24] = "";
    memcpy(number, line.data ? line.data : (const uint8_t *)"", line.size < 20 ? line.size : 20);
    if (!is_line_of(line, 1, 0)) dump_damage(dump, at, "the second line is no count");
    long long count = strtoll(number, NULL, 10), lines = 0;
    for (; rest.size; lines++) {
        at = bytes.size - rest.size;
        line = next_line(&rest);
        if (!is_line_of(line, epochs ? 2 : 3, epochs ? 0 : 1)) dump_damage(dump, at, "line %lld is not `%s`", lines + 3, epochs ? "epoch start" : "topic partition offset");
    }
    if (lines != count) dump_damage(dump, bytes.size, "%lld lines, and %lld were to come", lines, count);
}

static void check_quorum_state(struct dump *dump, struct span bytes) {
    json_error_t error;
    struct arena arena;
    struct quorum_state_data state;
    char why[256];
    struct text text;
    text_init(&text, why, sizeof why);
    arena_init(&arena, dump->pool, 0);
    json_t *json = json_loadb((const char *)bytes.data, bytes.size, 0, &error);
    int16_t version = (int16_t)json_integer_value(json_object_get(json, "data_version"));
    json_object_del(json, "data_version");
    if (!json) dump_damage(dump, (uint64_t)(error.position > 0 ? error.position : 0), "no JSON: %s", error.text);
    else if (wire_json_read(&quorum_state_data_message, version, json, &state, &arena, &text)) dump_damage(dump, 0, "no state of a quorum: %s", why);
    json_decref(json);
    arena_destroy(&arena);
}

static void check_lines_with(struct dump *dump, struct span bytes, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        bool there = false;
        for (struct span rest = bytes; rest.size && !there;) {
            struct span line = next_line(&rest);
            there = line.size > strlen(names[i]) && !memcmp(line.data, names[i], strlen(names[i]));
        }
        if (!there) dump_damage(dump, 0, "no line of `%s`", names[i]);
    }
}

void dump_text_file(struct dump *dump, const char *path, const char *name) {
    static const char *const partition[] = {"version: ", "topic_id: "}, *const meta[] = {"version=", "node.id=", "cluster.id="};
    struct dump_source source;
    struct span bytes, rest;
    if (!opened(dump, &source, path)) return;
    enum err err = source.size > SMALL_FILE_BYTES_MAX ? ERR_LIMIT : dump_source_span(&source, 0, (size_t)source.size, &bytes);
    if (err) dump_damage(dump, 0, "not readable: %s", err_text(err));
    else {
        for (rest = bytes; rest.size; fputc('\n', dump->out)) dump_bytes(dump, next_line(&rest));
        if (!strcmp(name, "leader-epoch-checkpoint")) check_checkpoint(dump, bytes, true);
        else if (strstr(name, "-checkpoint")) check_checkpoint(dump, bytes, false);
        else if (!strcmp(name, "quorum-state")) check_quorum_state(dump, bytes);
        else if (!strcmp(name, "partition.metadata")) check_lines_with(dump, bytes, partition, countof(partition));
        else if (!strcmp(name, "meta.properties")) check_lines_with(dump, bytes, meta, countof(meta));
    }
    dump_source_close(&source);
}
