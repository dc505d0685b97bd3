#include "wire/trace.h"
#include "wire/batch.h"
#include <string.h>
#include <strings.h>

enum {
    MARK_BYTES = 24,                       /* room kept for the word that a line was cut */
    UNKNOWN_KEY = WIRE_TRACE_KEYS_MAX - 1, /* the bit of all keys that are no API's      */
};

/* ---- which */

/* The next item, without spaces around it; false: there is none. */
static bool list_next(struct span *rest, struct span *item) {
    if (!rest->size) return false;
    const uint8_t *comma = memchr(rest->data, ',', rest->size);
    size_t size = comma ? (size_t)(comma - rest->data) : rest->size;
    *item = span_of(rest->data, size);
    *rest = span_of(rest->data + size, rest->size - size);
    if (rest->size) rest->data++, rest->size--;
    while (item->size && item->data[0] == ' ') item->data++, item->size--;
    while (item->size && item->data[item->size - 1] == ' ') item->size--;
    return true;
}

static bool is_named(const struct wire_api *api, struct span name) {
    return api->request && strlen(api->name) == name.size && strncasecmp(api->name, (const char *)name.data, name.size) == 0;
}

bool wire_trace_apis(struct span list, uint64_t apis[WIRE_TRACE_KEYS_MAX / 64], struct text *why) {
    static_assert((int)API_COUNT <= (int)UNKNOWN_KEY, "a bit for each API");
    memset(apis, 0, sizeof(uint64_t) * (WIRE_TRACE_KEYS_MAX / 64));
    for (struct span name; list_next(&list, &name);) {
        bool all = span_equal(name, SPAN_LITERAL("*")), found = all || name.size == 0;
        for (int16_t key = 0; key < API_COUNT; key++) {
            if (!all && !is_named(wire_api(key), name)) continue;
            apis[key / 64] |= UINT64_C(1) << key % 64;
            found = true;
        }
        if (all) apis[UNKNOWN_KEY / 64] |= UINT64_C(1) << UNKNOWN_KEY % 64;
        if (found) continue;
        text_add(why, "\"%.*s\" is no API; names are Produce, Fetch, Metadata and so on, with commas between, or * for all", (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
        return false;
    }
    return true;
}

static bool list_takes(struct span list, struct span value) {
    bool is_empty = true;
    for (struct span item; list_next(&list, &item);) {
        if (item.size == 0) continue;
        if (value.data && span_equal(item, value)) return true;
        is_empty = false;
    }
    return is_empty;
}

bool wire_trace_takes(const struct wire_trace_filter *filter, int16_t key, struct span client_id, struct span address) {
    if (key < 0 || key >= API_COUNT) key = UNKNOWN_KEY;
    if (!(filter->apis[key / 64] >> key % 64 & 1)) return false;
    return list_takes(filter->clients, client_id) && list_takes(filter->addresses, address);
}

bool wire_holds_secrets(const struct wire_struct *of) {
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count; i++) {
        const struct wire_field *field = &of->fields[i];
        if ((field->flags & (WIRE_SECRET | WIRE_SETTING)) || (field->of && wire_holds_secrets(field->of))) return true;
    }
    return false;
}

/* ---- records in short */

/* A walk over the bytes of a chain or a span. */
struct walk {
    const struct slice *slice; /* the next one */
    struct span rest;          /* of the one that is walked through */
    size_t file_bytes;         /* passed by: they are not looked at */
};

static bool walk_fill(struct walk *walk) {
    while (!walk->rest.size && walk->slice) {
        if (walk->slice->kind == SLICE_MEMORY) walk->rest = span_of(walk->slice->memory.data, walk->slice->size);
        else walk->file_bytes += walk->slice->size;
        walk->slice = walk->slice->next;
    }
    return walk->rest.size > 0;
}

/* The header of the batch that begins here, copied if it lies in pieces. False: there is no whole one in memory. */
static bool walk_header(struct walk *walk, uint8_t copy[BATCH_HEADER_BYTES], struct span *header) {
    if (!walk_fill(walk)) return false;
    *header = walk->rest;
    if (walk->rest.size >= BATCH_HEADER_BYTES) return true;
    struct walk ahead = *walk;
    size_t size = 0;
    while (size < BATCH_HEADER_BYTES && walk_fill(&ahead) && ahead.file_bytes == walk->file_bytes) {
        size_t some = ahead.rest.size < BATCH_HEADER_BYTES - size ? ahead.rest.size : BATCH_HEADER_BYTES - size;
        memcpy(copy + size, ahead.rest.data, some);
        ahead.rest.data += some, ahead.rest.size -= some;
        size += some;
    }
    *header = span_of(copy, size);
    return size >= BATCH_MAGIC_BYTES;
}

/* False: what was skipped does not lie in memory to its end. */
static bool walk_skip(struct walk *walk, size_t size) {
    while (size && walk_fill(walk)) {
        size_t some = walk->rest.size < size ? walk->rest.size : size;
        walk->rest.data += some, walk->rest.size -= some;
        size -= some;
    }
    return size == 0;
}

static void write_contents(const struct batch *batch, struct codecs *codecs, const char **between, struct text *out) {
    struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;
    struct batch_records open;
    struct record_cursor cursor;
    struct record record;
    if (batch_codec(batch) != COMPRESSION_NONE && !codecs) return;
    if (batch_records_open(batch, codecs, &limits, &open)) return;
    record_cursor_init(&cursor, batch, open.bytes);
    while (!out->cut && record_next(&cursor, &record) == ERR_NONE) {
        text_add(out, "%s{\"offset\":%lld,\"timestamp\":%lld,\"key\":", *between, (long long)record.offset, (long long)record.timestamp);
        wire_json_string(record.key, out);
        text_add(out, ",\"value\":");
        wire_json_string(record.value, out);
        text_add(out, "}");
        *between = ",";
    }
    batch_records_close(&open);
}

void wire_records_brief(const struct wire_records *records, bool contents, struct codecs *codecs, struct text *out) {
    struct walk walk = {.slice = records->chain ? records->chain->first : NULL, .rest = records->chain ? span_of(NULL, 0) : records->bytes};
    size_t bytes = records->chain ? records->chain->bytes : records->bytes.size, file_bytes = 0;
    uint64_t batches = 0, count = 0;
    uint32_t seen = 0;
    uint8_t copy[BATCH_HEADER_BYTES];
    struct span header;
    const char *between = "";
    if (!records->chain && !records->bytes.data) {
        text_add(out, "null");
        return;
    }
    text_add(out, "{\"bytes\":%zu", bytes);
    if (contents) text_add(out, ",\"contents\":[");
    while (walk_header(&walk, copy, &header)) {
        struct batch_frame frame;
        struct batch batch, whole;
        struct span here = walk.rest;
        if (batch_frame_parse(header, &frame)) break;
        bool is_new = batch_header_parse(header, &batch) == ERR_NONE;
        if (is_new) count += batch.count > 0 ? (uint64_t)batch.count : 0, seen |= UINT32_C(1) << batch_codec(&batch);
        else count++; /* a message of the old formats; one that is compressed counts as one */
        batches++;
        if (contents && is_new && !out->cut && batch_next(&here, &whole) == ERR_NONE) write_contents(&whole, codecs, &between, out);
        if (!walk_skip(&walk, frame.size)) break; /* cut, as the end of a Fetch may be */
    }
    if (contents) text_add(out, "]");
    for (const struct slice *slice = records->chain ? records->chain->first : NULL; slice; slice = slice->next)
        if (slice->kind == SLICE_FILE) file_bytes += slice->size;
    if (file_bytes) text_add(out, ",\"inFiles\":%zu", file_bytes); /* not read for this: the counts are of the rest */
    if (batches) {
        text_add(out, ",\"batches\":%llu,\"records\":%llu,\"codecs\":\"", (unsigned long long)batches, (unsigned long long)count);
        between = "";
        for (unsigned codec = 0; codec < 8; codec++) {
            if (!(seen >> codec & 1)) continue;
            if (codec < COMPRESSION_COUNT) text_add(out, "%s%s", between, compression_name((enum compression)codec));
            else text_add(out, "%s%u", between, codec);
            between = ",";
        }
        text_add(out, "\"");
    }
    text_add(out, "}");
}

/* ---- a line */

void wire_trace_begin(struct text *line, char *bytes, size_t capacity, const struct wire_trace_head *head) {
    assert(capacity >= WIRE_TRACE_LINE_MIN);
    text_init(line, bytes, capacity - MARK_BYTES);
    text_add(line, head->is_answer ? "answer" : "request");
    if (head->api) {
        text_add(line, " %s v%d correlation %d client ", head->api->name, head->version, head->correlation_id);
        wire_json_string(head->client_id, line);
    }
    text_add(line, " %s %s connection %llu, %zu bytes", head->is_answer ? "to" : "from", head->address, (unsigned long long)head->connection, head->bytes);
    if (head->is_answer) text_add(line, " after %lld.%03lld ms", (long long)(head->taken_us / 1000), (long long)(head->taken_us % 1000));
    text_add(line, ": ");
}

void wire_trace_body(struct text *line, const struct wire_message *message, int16_t version, const void *value, const struct wire_json_rules *rules) {
    wire_json_trace(message, version, value, rules, line);
}

void wire_trace_unread(struct text *line, const struct wire_message *message, struct span body, enum err err, size_t at) {
    text_add(line, "cannot be read at byte %zu of %zu (%s)", at, body.size, err_text(err));
    if (message && wire_holds_secrets(message->body)) {
        text_add(line, "; it may hold secrets, so its bytes are not shown");
        return;
    }
    text_add(line, "; it begins with");
    for (size_t i = 0; i < body.size && i < WIRE_TRACE_HEX_BYTES; i++) text_add(line, " %02x", body.data[i]);
    if (body.size > WIRE_TRACE_HEX_BYTES) text_add(line, " ...");
}

void wire_trace_note(struct text *line, const char *what) {
    text_add(line, "%s", what);
}

void wire_trace_end(struct text *line) {
    if (!line->cut) return;
    while (line->size && (line->bytes[line->size - 1] & 0xc0) == 0x80) line->size--; /* no half characters */
    if (line->size && (line->bytes[line->size - 1] & 0xc0) == 0xc0) line->size--;
    line->capacity += MARK_BYTES;
    text_add(line, " ... (line cut)");
}
