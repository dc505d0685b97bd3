/* test/vectors_files.c - the files of a log directory that are no logs: parsed, and printed to the same bytes. */
#include "vectors.h"
#include "log/checkpoint.h"
#include "log/index_txn.h"
#include "wire/json.h"
#include "wire/records.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRINTED_BYTES_MAX = 1 << 16 };

static enum verdict printed_is(const struct vector *vector, const char *file, const struct text *printed, struct span bytes) {
    if (!printed->cut && span_equal(span_of(printed->bytes, printed->size), bytes)) return VECTOR_PASSED;
    return vector_wrong(vector, "%s: printed again it is %.900s", file, printed->bytes);
}

static enum verdict check_offsets(const struct vector *vector, const char *file, struct span bytes, struct text *out) {
    struct checkpoint_offset *entries;
    struct checkpoint_fault fault;
    uint32_t count;
    if (checkpoint_offsets_parse(bytes, vector->arena, &entries, &count, &fault)) return vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why);
    checkpoint_offsets_print(entries, count, out);
    return printed_is(vector, file, out, bytes);
}

static enum verdict check_epochs(const struct vector *vector, const char *file, struct span bytes, struct text *out) {
    struct epoch_cache cache;
    struct checkpoint_fault fault;
    epoch_cache_init(&cache, vector->pool);
    enum err err = checkpoint_epochs_parse(bytes, &cache, &fault);
    if (!err) checkpoint_epochs_print(&cache, out);
    epoch_cache_destroy(&cache);
    return err ? vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why) : printed_is(vector, file, out, bytes);
}

static enum verdict check_partition_metadata(const struct vector *vector, const char *file, struct span bytes, struct text *out) {
    struct checkpoint_fault fault;
    struct uuid id;
    if (partition_metadata_parse(bytes, &id, &fault)) return vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why);
    partition_metadata_print(id, out);
    return printed_is(vector, file, out, bytes);
}

static enum verdict check_clean_shutdown(const struct vector *vector, const char *file, struct span bytes, struct text *out) {
    clean_shutdown_print(clean_shutdown_parse(bytes), out);
    return printed_is(vector, file, out, bytes);
}

static struct span line_of(struct span bytes, size_t *at) {
    size_t from = *at;
    while (*at < bytes.size && bytes.data[*at] != '\n') ++*at;
    return span_of(bytes.data + from, (*at)++ - from);
}
static bool has_line(struct span bytes, struct span line) {
    for (size_t at = 0; at < bytes.size;)
        if (span_equal(line_of(bytes, &at), line)) return true;
    return false;
}
/* The second line is the time of writing, and Java's properties have no order: line by line, both ways. */
static enum verdict check_meta_properties(const struct vector *vector, const char *file, struct span bytes, struct text *out) {
    struct meta_properties meta;
    struct checkpoint_fault fault;
    if (meta_properties_parse(bytes, &meta, &fault)) return vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why);
    meta_properties_print(&meta, 1700000000000, out);
    struct span printed = span_of(out->bytes, out->size);
    for (int way = 0; way < 2; way++) {
        struct span from = way ? printed : bytes, in = way ? bytes : printed;
        for (size_t at = 0; at < from.size;) {
            struct span line = line_of(from, &at);
            if (line.size && line.data[0] == '#') continue;
            if (!has_line(in, line)) return vector_wrong(vector, "%s: %.*s is in one only", file, (int)line.size, (const char *)line.data);
        }
    }
    return VECTOR_PASSED;
}

/* The message as JSON, with its version as one field more at the end. */
static enum verdict check_quorum_state(const struct vector *vector, const char *file, struct span bytes, struct text *out) {
    struct quorum_state_data state;
    json_t *json = json_loadb((const char *)bytes.data, bytes.size, 0, NULL);
    int16_t version = (int16_t)vector_number(json, "data_version");
    json_object_del(json, "data_version");
    enum err err = wire_json_read(&quorum_state_data_message, version, json, &state, vector->arena, out);
    json_decref(json);
    if (err) return vector_wrong(vector, "%s: %s", file, out->bytes);
    wire_json_write(&quorum_state_data_message, version, &state, 0, out);
    out->bytes[--out->size] = 0; /* the closing brace comes behind the version */
    text_add(out, ",\"data_version\":%d}", version);
    return printed_is(vector, file, out, bytes);
}

enum verdict vectors_text_file(const struct vector *vector, const char *file, struct span bytes) {
    static const struct { const char *name; enum verdict (*check)(const struct vector *, const char *, struct span, struct text *); } kinds[] = {
        {"recovery-point-offset-checkpoint", check_offsets}, {"log-start-offset-checkpoint", check_offsets},
        {"replication-offset-checkpoint", check_offsets}, {"cleaner-offset-checkpoint", check_offsets},
        {"leader-epoch-checkpoint", check_epochs}, {"partition.metadata", check_partition_metadata},
        {".kafka_cleanshutdown", check_clean_shutdown}, {"meta.properties", check_meta_properties}, {"quorum-state", check_quorum_state}};
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file, *said = vector_text(vector->json, "text");
    struct text text;
    if (!span_equal(bytes, span_text(said))) return vector_wrong(vector, "%s: not the text that it should be", file);
    char *memory = arena_alloc(vector->arena, PRINTED_BYTES_MAX);
    text_init(&text, memory, PRINTED_BYTES_MAX);
    for (size_t i = 0; i < countof(kinds); i++)
        if (!strcmp(name, kinds[i].name)) return kinds[i].check(vector, file, bytes, &text);
    return vector_wrong(vector, "%s: nobody reads such a file", file);
}

enum verdict vectors_aborted_transactions(const struct vector *vector, const char *file, struct span bytes) {
    size_t i, good;
    json_t *item, *entries = json_object_get(vector->json, "entries");
    const char *slash = strrchr(file, '/');
    if (bytes.size != json_array_size(entries) * TXN_ENTRY_BYTES) return vector_wrong(vector, "%s: its size", file);
    if (txn_index_check(bytes, strtoll(slash ? slash + 1 : file, NULL, 10), &good) || good != bytes.size) return vector_wrong(vector, "%s: not whole", file);
    json_array_foreach(entries, i, item) {
        const uint8_t *at = bytes.data + i * TXN_ENTRY_BYTES;
        uint8_t again[TXN_ENTRY_BYTES];
        struct txn_entry entry;
        if (txn_entry_decode(at, &entry)) return vector_wrong(vector, "%s: entry %zu", file, i);
        txn_entry_encode(&entry, again);
        if (memcmp(at, again, sizeof again) || entry.producer != vector_number(item, "producerId") || entry.first != vector_number(item, "firstOffset") ||
            entry.last != vector_number(item, "lastOffset") || entry.stable != vector_number(item, "lastStableOffset"))
            return vector_wrong(vector, "%s: entry %zu is another", file, i);
    }
    return VECTOR_PASSED;
}
