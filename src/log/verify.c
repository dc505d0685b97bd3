#include "log/verify.h"
#include "base/text.h"
#include "wire/batch_old.h"
#include <inttypes.h>

void verify_rules_init(struct verify_rules *rules) {
    *rules = (struct verify_rules){
        .message_bytes_max = 1048588,
        .decompressed_record_bytes_max = 2147483639,
        .timestamp_type = TIMESTAMP_CREATE,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = 3600000,
        .compression_is_producers = true,
        .compression_level = COMPRESSION_LEVEL_DEFAULT,
        .limits = UNPACK_LIMITS_DEFAULT,
    };
}

static enum err refuse(struct verified *out, enum kafka_error error, const char *why) {
    out->kafka_error = error;
    out->why = why;
    return ERR_NONE;
}

/* ---- Facts 1 to 5: the header. False: refused. */

static bool find_batch(const struct verify_input *input, struct verified *out) {
    struct span run = span_of(input->bytes, input->size);
    struct batch second;
    enum err err = batch_next(&run, &out->batch);
    if (err == ERR_NOT_FOUND || err == ERR_AGAIN) return refuse(out, KAFKA_INVALID_RECORD, "there is no whole record batch"), false;
    if (err == ERR_UNSUPPORTED) return refuse(out, KAFKA_INVALID_RECORD, "only record batches of format 2 are taken"), false;
    if (err) return refuse(out, KAFKA_CORRUPT_MESSAGE, "the bytes are not a record batch"), false;
    struct span rest = run;
    struct batch_frame frame;
    err = batch_next(&run, &second);
    if (err == ERR_UNSUPPORTED && (batch_frame_parse(rest, &frame) || frame.size > rest.size)) err = ERR_AGAIN;
    if (err == ERR_CORRUPT) return refuse(out, KAFKA_CORRUPT_MESSAGE, "what follows the record batch is not one"), false;
    /* What is only the beginning of another is dropped, as Kafka does. */
    if (err == ERR_NONE || err == ERR_UNSUPPORTED) return refuse(out, KAFKA_INVALID_RECORD, "there is more than one record batch"), false;
    return true;
}

static bool header_is_good(const struct verify_input *input, struct verified *out) {
    const struct batch *batch = &out->batch;
    if (input->origin == LOG_FROM_CLIENT && batch->base_offset != 0)
        return refuse(out, KAFKA_INVALID_RECORD, "the base offset of a produced batch is 0"), false;
    if (batch->size > (uint32_t)input->rules->message_bytes_max)
        return refuse(out, KAFKA_MESSAGE_TOO_LARGE, "the record batch is larger than max.message.bytes"), false;
    if (!batch_crc_is_good(batch)) return refuse(out, KAFKA_CORRUPT_MESSAGE, "the record batch does not match its checksum"), false;
    return true;
}

static bool client_header_is_good(struct verified *out) {
    const struct batch *batch = &out->batch;
    const char *why = NULL;
    if (batch->last_offset_delta < 0) why = "the last offset is below the first";
    else if (batch->count <= 0) why = "the count of records is not positive";
    else if ((int64_t)batch->last_offset_delta + 1 != batch->count) why = "the count of records is not that of the offsets";
    else if (batch_is_control(batch)) why = "clients may not write control records";
    else if (batch_has_producer(batch) && batch->base_sequence < 0) why = "a producer id needs a sequence number";
    else if (batch->attributes & ~(BATCH_CODEC_MASK | BATCH_LOG_APPEND_TIME | BATCH_TRANSACTIONAL | BATCH_CONTROL)) why = "attributes that no client may set";
    return why ? refuse(out, KAFKA_INVALID_RECORD, why), false : true;
}

/* ---- Facts 6 to 8: the records as a whole */

static bool walk_is_good(const struct verify_input *input, struct verified *out, struct batch_facts *facts, enum err *err) {
    *err = batch_walk(&out->batch, input->codecs, &input->rules->limits, facts);
    if (*err == ERR_NO_MEMORY) return false;
    enum err walked = *err;
    bool packed = batch_codec(&out->batch) != COMPRESSION_NONE;
    *err = ERR_NONE;
    if (walked == ERR_UNSUPPORTED) return refuse(out, KAFKA_UNSUPPORTED_COMPRESSION_TYPE, "the compression codec does not exist"), false;
    if (walked == ERR_LIMIT) return refuse(out, KAFKA_INVALID_RECORD, "the records are too large when decompressed"), false;
    if (walked) return refuse(out, KAFKA_INVALID_RECORD, packed ? "the records cannot be decompressed, or are not as many as counted"
                                                                : "the records are not as many as counted, or not well formed"), false;
    if (packed && facts->record_bytes_max > (uint32_t)input->rules->decompressed_record_bytes_max)
        return refuse(out, KAFKA_INVALID_RECORD, "a record is larger than max.decompressed.message.bytes"), false;
    if (!packed && !facts->offsets_are_dense) return refuse(out, KAFKA_INVALID_RECORD, "the offsets of the records do not count from 0"), false;
    return true;
}

/* ---- Fact 9: each record. All of them are looked at again only when the walk has seen something wrong. */

static bool timestamp_is_allowed(const struct verify_input *input, time_ms timestamp) {
    int64_t behind = (int64_t)((uint64_t)input->now_ms - (uint64_t)timestamp), ahead = (int64_t)(0 - (uint64_t)behind); /* wraps as Java's does */
    return behind <= input->rules->timestamp_before_max_ms && ahead <= input->rules->timestamp_after_max_ms;
}

/* In a topic with CreateTime a time is judged, where there is one, whatever the batch calls it. */
static bool is_judged_by_time(const struct verify_input *input, time_ms timestamp) {
    return input->rules->timestamp_type == TIMESTAMP_CREATE && timestamp != -1;
}

/* 0: fine. Without a time to judge, LogAppendTime is for the broker to say. */
static enum kafka_error judge_timestamp(const struct verify_input *input, const struct batch *batch, time_ms timestamp) {
    if (is_judged_by_time(input, timestamp)) return timestamp_is_allowed(input, timestamp) ? KAFKA_NONE : KAFKA_INVALID_TIMESTAMP;
    return batch_timestamp_type(batch) == TIMESTAMP_LOG_APPEND ? KAFKA_INVALID_TIMESTAMP : KAFKA_NONE;
}

static bool may_hold_wrong_records(const struct verify_input *input, const struct batch *batch, const struct batch_facts *facts) {
    if (input->rules->compacted && !facts->every_has_key) return true;
    if (batch_timestamp_type(batch) == TIMESTAMP_LOG_APPEND) return true;
    if (input->rules->timestamp_type != TIMESTAMP_CREATE || facts->timestamp_min == INT64_MAX) return false;
    return judge_timestamp(input, batch, facts->timestamp_min) || judge_timestamp(input, batch, facts->timestamp_max);
}

static struct span explain(const struct verify_input *input, enum kafka_error error, const struct batch *batch, time_ms timestamp) {
    char line[160];
    struct text text;
    text_init(&text, line, sizeof line);
    if (error == KAFKA_INVALID_RECORD) text_add(&text, "a record of a compacted topic needs a key");
    else if (!is_judged_by_time(input, timestamp))
        text_add(&text, "LogAppendTime is for the broker to set, not for a producer");
    else text_add(&text, "timestamp %" PRId64 " is not within %" PRId64 " ms before and %" PRId64 " ms after %" PRId64, timestamp,
                  input->rules->timestamp_before_max_ms, input->rules->timestamp_after_max_ms, input->now_ms);
    const void *copy = arena_copy(input->arena, line, text.size);
    return span_of(copy, copy ? text.size : 0);
}

static enum err judge_records(const struct verify_input *input, struct verified *out) {
    struct batch_records records;
    struct record_cursor cursor;
    struct record record;
    int32_t index = 0;
    bool wrong_time = false, wrong_key = false;
    enum err err = batch_records_open(&out->batch, input->codecs, &input->rules->limits, &records);
    if (err) return err == ERR_NO_MEMORY ? err : refuse(out, KAFKA_INVALID_RECORD, "the records cannot be decompressed");
    record_cursor_init(&cursor, &out->batch, records.bytes);
    for (; record_next(&cursor, &record) == ERR_NONE; index++) {
        bool no_key = input->rules->compacted && !record.key.data;
        enum kafka_error error = no_key ? KAFKA_INVALID_RECORD : judge_timestamp(input, &out->batch, record.timestamp);
        if (!error) continue;
        if (no_key) wrong_key = true;
        else wrong_time = true;
        if (out->errors_count == VERIFY_RECORD_ERRORS_MAX) continue;
        if (!out->errors) {
            int32_t most = out->batch.count - index < VERIFY_RECORD_ERRORS_MAX ? out->batch.count - index : VERIFY_RECORD_ERRORS_MAX;
            out->errors = ARENA_ARRAY(input->arena, (size_t)most, struct verify_record_error);
            if (!out->errors) {
                err = ERR_NO_MEMORY;
                break;
            }
        }
        out->errors[out->errors_count++] = (struct verify_record_error){index, explain(input, error, &out->batch, record.timestamp)};
    }
    batch_records_close(&records);
    if (err) return err;
    if (wrong_time) return refuse(out, KAFKA_INVALID_TIMESTAMP, "records have timestamps that are not allowed");
    if (wrong_key) return refuse(out, KAFKA_INVALID_RECORD, "records of a compacted topic need keys");
    return ERR_NONE;
}

/* ---- What then changes */

static enum err encode_anew(const struct verify_input *input, enum compression codec, struct verified *out) {
    const struct batch *batch = &out->batch;
    struct batch_records records;
    struct record_cursor cursor;
    struct record record;
    struct batch_options options;
    struct batch_builder builder;
    /* As it came, such a batch is written like one without a producer; nobody encodes one, Apache Kafka neither. */
    if (batch->producer_id != -1 && (batch->producer_epoch == -1 || batch->base_sequence < 0))
        return refuse(out, KAFKA_INVALID_RECORD, "a producer without an epoch or a sequence cannot be encoded anew");
    enum err err = batch_records_open(batch, input->codecs, &input->rules->limits, &records);
    if (err) return err == ERR_NO_MEMORY ? err : refuse(out, KAFKA_INVALID_RECORD, "the records cannot be decompressed");
    batch_options_init(&options);
    options.codec = codec;
    options.level = input->rules->compression_is_producers ? COMPRESSION_LEVEL_DEFAULT : input->rules->compression_level;
    options.timestamp_type = input->rules->timestamp_type;
    if (options.timestamp_type == TIMESTAMP_LOG_APPEND) options.max_timestamp = input->now_ms;
    options.producer_id = batch->producer_id;
    options.producer_epoch = batch->producer_epoch;
    options.base_sequence = batch->base_sequence;
    options.transactional = batch_is_transactional(batch);
    /* Timestamps are those of before and offsets at most as large, so no record grows by more than a few bytes. */
    uint64_t bytes_max = BATCH_HEADER_BYTES + records.bytes.size + (uint64_t)batch->count * 2 * VARINT64_BYTES_MAX;
    batch_builder_init(&builder, input->pool, bytes_max < INT32_MAX ? (uint32_t)bytes_max : INT32_MAX, &options);
    record_cursor_init(&cursor, batch, records.bytes);
    for (int32_t delta = 0; !err && (err = record_next(&cursor, &record)) == ERR_NONE; delta++)
        err = batch_builder_add_at(&builder, delta, record.timestamp, record.key, record.value, record.headers, record.headers_count);
    if (err == ERR_NOT_FOUND) err = batch_builder_finish(&builder, input->codecs, &out->rewritten);
    batch_builder_destroy(&builder);
    batch_records_close(&records);
    if (err == ERR_NO_MEMORY) return err;
    if (err) return refuse(out, KAFKA_INVALID_RECORD, "the records cannot be encoded anew");

    struct span run = span_of(out->rewritten->bytes, out->rewritten->used);
    err = batch_next(&run, &out->batch);
    assert(err == ERR_NONE); /* our own */
    if (out->batch.size <= (uint32_t)input->rules->message_bytes_max) return ERR_NONE;
    slab_drop(out->rewritten);
    out->rewritten = NULL;
    return refuse(out, KAFKA_MESSAGE_TOO_LARGE, "encoded as the topic wants it, the record batch is larger than max.message.bytes");
}

static void stamp_in_place(const struct verify_input *input, time_ms timestamp_max, struct verified *out) {
    bool append = input->rules->timestamp_type == TIMESTAMP_LOG_APPEND;
    if (!batch_stamp_time(input->bytes, out->batch.size, input->rules->timestamp_type, append ? input->now_ms : timestamp_max)) return;
    struct span run = span_of(input->bytes, out->batch.size);
    enum err err = batch_next(&run, &out->batch);
    assert(err == ERR_NONE);
}

enum err verify_incoming(const struct verify_input *input, struct verified *out) {
    assert(input->origin == LOG_FROM_CLIENT || input->origin == LOG_FROM_COORDINATOR);
    bool client = input->origin == LOG_FROM_CLIENT;
    struct batch_facts facts;
    enum err err = ERR_NONE;
    *out = (struct verified){.kafka_error = KAFKA_NONE};
    out->is_one_batch = find_batch(input, out);
    if (!out->is_one_batch || !header_is_good(input, out)) return ERR_NONE;
    if (client && !client_header_is_good(out)) return ERR_NONE;
    if (!walk_is_good(input, out, &facts, &err)) return err;
    if (client && may_hold_wrong_records(input, &out->batch, &facts) && ((err = judge_records(input, out)) || out->kafka_error)) return err;

    unsigned codec = batch_codec(&out->batch), wanted = input->rules->compression_is_producers ? codec : input->rules->compression;
    bool in_place = (codec == wanted && facts.offsets_are_dense) || (batch_is_control(&out->batch) && codec == COMPRESSION_NONE);
    if (!in_place) return encode_anew(input, (enum compression)wanted, out);
    stamp_in_place(input, facts.timestamp_max, out);
    return ERR_NONE;
}

/* ---- Runs of batches */

void verify_run_init(struct verify_run *run, log_offset next) {
    *run = (struct verify_run){.next = next, .epoch = -1, .epoch_max = INT32_MAX, .crc = true, .last = -1, .timestamp_max = -1};
}

static enum err old_is_good(struct verify_run *run, struct span *rest, bool *done) {
    struct old_message message;
    enum err err = run->old_formats ? old_next(rest, &message) : ERR_CORRUPT;
    *done = err == ERR_AGAIN;
    if (err) return *done ? ERR_NONE : ERR_CORRUPT;
    if (message.offset < 0 || message.offset == INT64_MAX) return ERR_CORRUPT;
    if (run->crc && !old_crc_is_good(&message)) return ERR_CORRUPT;
    if (message.offset < run->next) return ERR_OUT_OF_RANGE; /* of a compressed one the offset is the last one's */
    run->last = message.offset;
    if (message.timestamp > run->timestamp_max) run->timestamp_max = message.timestamp;
    return ERR_NONE;
}

static enum err batch_is_good(struct verify_run *run, const struct batch *batch, bool *done) {
    *done = false;
    if (batch->last_offset_delta < 0 || batch->count < 0 || batch->base_offset < 0) return ERR_CORRUPT;
    if (batch->base_offset >= INT64_MAX - batch->last_offset_delta) return ERR_CORRUPT; /* beyond the largest offset */
    if (run->crc && !batch_crc_is_good(batch)) return ERR_CORRUPT;
    if (batch->leader_epoch > run->epoch_max && !run->epoch_exact) {
        *done = true;
        return ERR_NONE;
    }
    if (run->epoch_exact && batch->leader_epoch != run->epoch_max) return ERR_FENCED;
    if (batch->leader_epoch >= 0 && batch->leader_epoch < run->epoch) return ERR_FENCED;
    if (batch->base_offset < run->next) return ERR_OUT_OF_RANGE;
    if (batch->leader_epoch >= 0) run->epoch = batch->leader_epoch;
    run->last = batch_last_offset(batch);
    if (batch->max_timestamp > run->timestamp_max) run->timestamp_max = batch->max_timestamp;
    return ERR_NONE;
}

enum err verify_stored(struct verify_run *run, struct span bytes) {
    struct span rest = bytes;
    run->bytes = 0;
    for (;;) {
        struct batch batch;
        struct span after = rest;
        bool done = false;
        enum err err = batch_next(&after, &batch);
        if (err == ERR_NOT_FOUND || err == ERR_AGAIN) return ERR_NONE;
        if (err == ERR_UNSUPPORTED) err = old_is_good(run, &after, &done);
        else if (!err) err = batch_is_good(run, &batch, &done);
        if (err || done) return err;
        run->next = run->last + 1;
        run->batches++;
        rest = after;
        run->bytes = bytes.size - rest.size;
    }
}

enum kafka_error verify_kafka_error(enum err err) {
    switch (err) {
    case ERR_NONE: return KAFKA_NONE;
    case ERR_CORRUPT: return KAFKA_CORRUPT_MESSAGE;
    case ERR_OUT_OF_RANGE: return KAFKA_OFFSET_OUT_OF_RANGE;
    case ERR_FENCED: return KAFKA_INVALID_RECORD;
    case ERR_NO_MEMORY: return KAFKA_KAFKA_STORAGE_ERROR;
    default: return KAFKA_UNKNOWN_SERVER_ERROR;
    }
}
