/* cli/dump_log.c - segments and KRaft snapshots: batches, their records, and the search for the next good one. */
#include "cli/dump.h"
#include "wire/batch_old.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A walk over one file. */
struct walk {
    struct dump *dump;
    struct dump_source source;
    struct codecs codecs;
    enum dump_decoder decoder;
    uint64_t position, end;
    uint64_t search_left;          /* bytes whose CRC may still be computed while searching */
    log_offset last_offset;        /* of the last record; -1: none yet */
    bool gaps;                     /* were told of */
    const char *path;
};

static const struct unpack_limits limits = {.bytes_max = GIB(2)};

/* Offsets that do not follow each other are no damage (compaction), but Kafka's tool says so. */
static void note_offset(struct walk *walk, log_offset offset) {
    if (!walk->dump->by_place && offset != walk->last_offset + 1) {
        char *absolute = realpath(walk->path, NULL);
        if (!walk->gaps) fprintf(walk->dump->warnings, "Non-consecutive offsets in %s\n", absolute ? absolute : walk->path);
        fprintf(walk->dump->warnings, "  %" PRId64 " is followed by %" PRId64 "\n", walk->last_offset, offset);
        free(absolute);
        walk->gaps = true;
    }
    walk->last_offset = offset;
}

static void print_record_start(struct walk *walk, const struct record *record, const char *timestamp_name) {
    struct dump *dump = walk->dump;
    fputc('|', dump->out);
    if (dump->skip_record_metadata) return;
    fprintf(dump->out, " offset: %" PRId64 " %s: %" PRId64 " keySize: %lld valueSize: %lld", record->offset, timestamp_name, record->timestamp,
            record->key.data ? (long long)record->key.size : -1, record->value.data ? (long long)record->value.size : -1);
}

static void print_headers(struct dump *dump, struct record record) {
    struct record_header header;
    for (const char *comma = ""; record_header_next(&record, &header); comma = ",") {
        fputs(comma, dump->out);
        dump_bytes(dump, header.key);
        if (!dump->by_place) continue;
        fputc('=', dump->out);
        if (header.value.data) dump_bytes(dump, header.value);
        else fputs("null", dump->out);
    }
}

static void print_record(struct walk *walk, const struct batch *batch, const struct record *record) {
    struct dump *dump = walk->dump;
    bool control = batch_is_control(batch);
    if (control && dump->skip_record_metadata) {
        fputc('\n', dump->out);
        return;
    }
    print_record_start(walk, record, batch_timestamp_type(batch) == TIMESTAMP_LOG_APPEND ? "LogAppendTime" : "CreateTime");
    if (!dump->skip_record_metadata) {
        int32_t sequence = batch->base_sequence < 0 ? -1 : sequence_add(batch->base_sequence, (int32_t)(record->offset - batch->base_offset));
        fprintf(dump->out, " sequence: %d %s: [", sequence, dump->by_place ? "headers" : "headerKeys");
        print_headers(dump, *record);
        fputc(']', dump->out);
    }
    if (control) dump_control(dump, record, walk->position);
    else if (dump->contents) dump_record_content(dump, walk->decoder, record, walk->position);
    else fputc('\n', dump->out);
}

static void print_records(struct walk *walk, const struct batch *batch) {
    struct batch_records records = {0};
    struct record_cursor cursor;
    struct record record;
    enum err err = batch_records_open(batch, &walk->codecs, &limits, &records);
    if (err) {
        dump_damage(walk->dump, walk->position, "records of batch %" PRId64 " are not readable: %s", batch->base_offset, err_text(err));
        return;
    }
    record_cursor_init(&cursor, batch, records.bytes);
    int32_t seen = 0;
    for (; (err = record_next(&cursor, &record)) == ERR_NONE; seen++) {
        note_offset(walk, record.offset);
        print_record(walk, batch, &record);
    }
    if (err != ERR_NOT_FOUND)
        dump_damage(walk->dump, walk->position, "batch %" PRId64 ", record %d of %d: %s", batch->base_offset, seen + 1, batch->count, err_text(err));
    batch_records_close(&records);
}

static const char *codec_name(unsigned codec) { return codec < COMPRESSION_COUNT ? compression_name((enum compression)codec) : "unknown"; }
static const char *truth(bool value) { return value ? "true" : "false"; }

static bool print_batch(struct walk *walk, const struct batch *batch) {
    struct dump *dump = walk->dump;
    bool good = batch_crc_is_good(batch);
    char horizon[48] = "OptionalLong.empty";
    if (batch_has_delete_horizon(batch)) snprintf(horizon, sizeof horizon, "OptionalLong[%" PRId64 "]", batch->base_timestamp);
    fprintf(dump->out, "baseOffset: %" PRId64 " lastOffset: %" PRId64 " count: %d baseSequence: %d lastSequence: %d producerId: %" PRId64
            " producerEpoch: %d partitionLeaderEpoch: %d isTransactional: %s isControl: %s deleteHorizonMs: %s position: %" PRIu64
            " %s: %" PRId64 " size: %u magic: 2 compresscodec: %s crc: %u isvalid: %s\n",
            batch->base_offset, batch_last_offset(batch), batch->count, batch->base_sequence, batch_last_sequence(batch), batch->producer_id,
            batch->producer_epoch, batch->leader_epoch, truth(batch_is_transactional(batch)), truth(batch_is_control(batch)), horizon, walk->position,
            batch_timestamp_type(batch) == TIMESTAMP_LOG_APPEND ? "LogAppendTime" : "CreateTime", batch->max_timestamp, batch->size,
            codec_name(batch_codec(batch)), batch->crc, truth(good));
    if (!good && dump->by_place) dump_damage(dump, walk->position, "the CRC of batch %" PRId64 " is not that of its bytes", batch->base_offset);
    if (dump->deep) print_records(walk, batch);
    return good;
}

static void print_old(struct walk *walk, const struct old_message *message) {
    struct dump *dump = walk->dump;
    bool good = old_crc_is_good(message);
    const char *timestamp = message->magic == 0 ? "NoTimestampType" : message->attributes & BATCH_LOG_APPEND_TIME ? "LogAppendTime" : "CreateTime";
    fprintf(dump->out, "offset: %" PRId64 " position: %" PRIu64 " %s: %" PRId64 " size: %u magic: %d compresscodec: %s crc: %u isvalid: %s\n",
            message->offset, walk->position, timestamp, message->timestamp, message->size, message->magic, codec_name(old_codec(message)), message->crc, truth(good));
    if (!dump->deep) return;
    struct old_cursor cursor;
    struct record record;
    enum err err = old_cursor_open(&cursor, message, &walk->codecs, &limits, NULL);
    if (!err) {
        while (!(err = old_cursor_next(&cursor, &record))) {
            note_offset(walk, record.offset);
            print_record_start(walk, &record, timestamp);
            if (dump->contents) dump_record_content(dump, walk->decoder, &record, walk->position);
            else fputc('\n', dump->out);
        }
        old_cursor_close(&cursor);
    }
    if (err != ERR_NOT_FOUND) dump_damage(dump, walk->position, "message %" PRId64 ": %s", message->offset, err_text(err));
}

/* Where the next whole batch of format 2 with a good CRC begins, after the position; the end if there is none. */
static uint64_t next_good(struct walk *walk) {
    struct span window, whole;
    for (uint64_t from = walk->position + 1; walk->end - from >= BATCH_HEADER_BYTES && from < walk->end;) {
        uint64_t left = walk->end - from;
        size_t size = left < DUMP_WINDOW_BYTES ? (size_t)left : DUMP_WINDOW_BYTES;
        if (dump_source_span(&walk->source, from, size, &window)) break;
        size_t i = 0, last = size - BATCH_HEADER_BYTES;
        for (; i <= last; i++) {
            struct batch header;
            if (window.data[i + BATCH_AT_MAGIC] != BATCH_MAGIC_2) continue;
            if (batch_header_parse(span_of(window.data + i, BATCH_HEADER_BYTES), &header)) continue;
            if (header.base_offset < 0 || header.last_offset_delta < 0 || header.count < 0 || header.size > walk->end - (from + i)) continue;
            if (header.size > walk->search_left) return walk->end;
            walk->search_left -= header.size;
            if (dump_source_span(&walk->source, from + i, header.size, &whole)) return walk->end;
            struct span rest = whole;
            if (!batch_next(&rest, &header) && batch_crc_is_good(&header)) return from + i;
            if (dump_source_span(&walk->source, from, size, &window)) return walk->end;
        }
        from += i;
    }
    return walk->end;
}

/* Nothing but zeros up to the end: room that was made in advance. */
static bool is_room(struct walk *walk) {
    struct span window;
    for (uint64_t from = walk->position; from < walk->end; from += window.size) {
        uint64_t left = walk->end - from;
        if (dump_source_span(&walk->source, from, left < DUMP_WINDOW_BYTES ? (size_t)left : DUMP_WINDOW_BYTES, &window)) return false;
        for (size_t i = 0; i < window.size; i++)
            if (window.data[i]) return false;
    }
    return true;
}

/* What lies at the position is no batch: says so, and goes on behind it where there is something. True: there is. */
static bool step_over(struct walk *walk, const char *name, const char *why) {
    uint64_t next = next_good(walk);
    if (next < walk->end) {
        dump_damage(walk->dump, walk->position, "%s; %" PRIu64 " bytes skipped", why, next - walk->position);
        walk->position = next;
        return true;
    }
    if (walk->dump->bytes_max >= INT32_MAX) {
        bool room = is_room(walk);
        if (walk->dump->by_place && !room) dump_damage(walk->dump, walk->position, "%s, and no batch behind it", why);
        fprintf(walk->dump->out, "Found %" PRIu64 " invalid bytes at the end of %s\n", walk->end - walk->position, name);
        walk->dump->damages += !walk->dump->by_place && !room; /* Apache Kafka's words for both */
    }
    return false;
}

/* The length of a batch whose CRC is wrong may be what is wrong: it is believed if a good batch, or nothing, lies behind it,
 * or none can be found. */
static uint64_t behind_bad(struct walk *walk, uint64_t size) {
    uint64_t claimed = walk->position + size;
    struct span bytes;
    struct batch batch;
    if (claimed == walk->end) return claimed;
    if (walk->end - claimed >= BATCH_HEADER_BYTES && !dump_source_span(&walk->source, claimed, BATCH_HEADER_BYTES, &bytes) &&
        !batch_header_parse(bytes, &batch) && batch.size <= walk->end - claimed && !dump_source_span(&walk->source, claimed, batch.size, &bytes) &&
        !batch_next(&bytes, &batch) && batch_crc_is_good(&batch)) return claimed;
    uint64_t next = next_good(walk);
    return next < walk->end ? next : claimed;
}

static void walk_batches(struct walk *walk, const char *name) {
    while (walk->position < walk->end) {
        uint64_t left = walk->end - walk->position;
        struct span bytes;
        struct batch_frame frame;
        const char *why = NULL;
        if (left < BATCH_MAGIC_BYTES) why = "the beginning of a batch";
        else if (dump_source_span(&walk->source, walk->position, BATCH_MAGIC_BYTES, &bytes)) why = "it cannot be read";
        else if (batch_frame_parse(bytes, &frame)) why = "neither size nor format are those of a batch";
        else if (frame.size > left) why = "a batch that is larger than what is left of the file";
        else if (dump_source_span(&walk->source, walk->position, frame.size, &bytes)) why = "it cannot be read";
        bool good = true;
        if (!why) {
            struct batch batch;
            struct old_message message;
            if (frame.magic == BATCH_MAGIC_2 && !batch_next(&bytes, &batch)) good = print_batch(walk, &batch);
            else if (frame.magic < BATCH_MAGIC_2 && !old_next(&bytes, &message)) print_old(walk, &message);
            else why = "its header makes no sense";
        }
        if (!why) walk->position = good || !walk->dump->by_place ? walk->position + frame.size : behind_bad(walk, frame.size);
        else if (!step_over(walk, name, why)) return;
    }
}

void dump_log(struct dump *dump, const char *path, const char *name, enum dump_decoder decoder, bool is_snapshot) {
    struct walk walk = {.dump = dump, .decoder = decoder, .last_offset = -1, .path = path};
    if (is_snapshot) {
        long long offset = strtoll(name, NULL, 10), epoch = strlen(name) > 21 ? strtoll(name + 21, NULL, 10) : 0;
        fprintf(dump->out, "Snapshot end offset: %lld, epoch: %lld\n", offset, epoch);
    } else fprintf(dump->out, "Log starting offset: %lld\n", strtoll(name, NULL, 10));
    enum err err = dump_source_open(&walk.source, dump, path);
    if (err) {
        dump_damage(dump, 0, "not readable: %s", err_text(err));
        return;
    }
    codecs_init(&walk.codecs, dump->pool);
    walk.end = walk.source.size;
    if (dump->bytes_max >= 0 && dump->bytes_max < INT32_MAX && walk.end > (uint64_t)dump->bytes_max) walk.end = (uint64_t)dump->bytes_max;
    walk.search_left = 8 * walk.end + MIB(1);
    walk_batches(&walk, name);
    codecs_destroy(&walk.codecs);
    dump_source_close(&walk.source);
}
