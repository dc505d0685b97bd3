/* test/vectors_log.c - the small files of a log folder, read and written by log/: to the byte what the node left. */
#include "vectors.h"
#include "log/checkpoint.h"
#include "log/index.h"
#include "log/index_txn.h"
#include "log/producer.h"
#include "wire/json.h"
#include "wire/records.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *end) {
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && !strcmp(text + size - tail, end);
}

static enum verdict same(const struct vector *vector, const char *file, struct span bytes, const struct text *printed) {
    if (!printed->cut && span_equal(bytes, span_of(printed->bytes, printed->size))) return VECTOR_PASSED;
    return vector_wrong(vector, "%s: written otherwise: %s", file, printed->bytes);
}

/* The message as JSON, with its version as one more field at the end. */
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
    return same(vector, file, bytes, out);
}

static enum verdict check_text(const struct vector *vector, const char *file, struct span bytes) {
    char printed[8192];
    struct text text;
    struct checkpoint_fault fault = {0};
    text_init(&text, printed, sizeof printed);
    if (ends_with(file, "quorum-state")) return check_quorum_state(vector, file, bytes, &text);
    if (ends_with(file, "leader-epoch-checkpoint")) {
        struct epoch_cache cache;
        epoch_cache_init(&cache, vector->pool);
        enum err err = checkpoint_epochs_parse(bytes, &cache, &fault);
        checkpoint_epochs_print(&cache, &text);
        epoch_cache_destroy(&cache);
        if (err) return vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why);
    } else if (ends_with(file, "-checkpoint")) {
        struct checkpoint_offset *entries;
        uint32_t count;
        if (checkpoint_offsets_parse(bytes, vector->arena, &entries, &count, &fault)) return vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why);
        checkpoint_offsets_print(entries, count, &text);
    } else if (ends_with(file, "partition.metadata")) {
        struct uuid id;
        if (partition_metadata_parse(bytes, &id, &fault)) return vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why);
        partition_metadata_print(id, &text);
    } else if (ends_with(file, ".kafka_cleanshutdown")) {
        clean_shutdown_print(clean_shutdown_parse(bytes), &text);
    } else if (ends_with(file, "meta.properties")) {
        struct meta_properties meta;
        if (meta_properties_parse(bytes, &meta, &fault)) return vector_wrong(vector, "%s:%u: %s", file, fault.line, fault.why);
        if (uuid_is_zero(meta.directory) || !meta.cluster_id[0] || meta.node < 0) return vector_wrong(vector, "%s: a value is missing", file);
        meta_properties_print(&meta, 0, &text);
        /* The time is in the second line, and the order of properties is that of Java's hash table: the same lines. */
        size_t lines = 0;
        for (const char *line = strstr(printed, "\n#") + 2; (line = strchr(line, '\n')) && line[1]; lines++) {
            char wanted[256], all[8192];
            snprintf(all, sizeof all, "\n%.*s", (int)bytes.size, (const char *)bytes.data);
            snprintf(wanted, sizeof wanted, "\n%.*s\n", (int)(strchr(line + 1, '\n') - line - 1), line + 1);
            if (!strstr(all, wanted)) return vector_wrong(vector, "%s: no line %s", file, wanted);
            line++;
        }
        return lines == 4 ? VECTOR_PASSED : vector_wrong(vector, "%s: %zu lines", file, lines);
    } else {
        return VECTOR_NOT_RUN;
    }
    return same(vector, file, bytes, &text);
}

static enum verdict check_txn_index(const struct vector *vector, const char *file, struct span bytes) {
    const json_t *entries = json_object_get(vector->json, "entries");
    size_t count = bytes.size / TXN_ENTRY_BYTES, good;
    if (txn_index_check(bytes, 0, &good) || count != json_array_size(entries)) return vector_wrong(vector, "%s: not an index", file);
    for (size_t i = 0; i < count; i++) {
        const json_t *json = json_array_get(entries, i);
        const uint8_t *at = bytes.data + i * TXN_ENTRY_BYTES;
        struct txn_entry entry;
        uint8_t again[TXN_ENTRY_BYTES];
        if (txn_entry_decode(at, &entry)) return vector_wrong(vector, "%s: entry %zu", file, i);
        txn_entry_encode(&entry, again);
        if (entry.producer != vector_number(json, "producerId") || entry.first != vector_number(json, "firstOffset") ||
            entry.last != vector_number(json, "lastOffset") || entry.stable != vector_number(json, "lastStableOffset") ||
            memcmp(again, at, sizeof again)) return vector_wrong(vector, "%s: entry %zu", file, i);
    }
    return VECTOR_PASSED;
}

/* All entries make sense, and adding them one by one makes the same bytes. */
static enum verdict check_index(const struct vector *vector, const char *file, enum index_kind kind, struct span bytes) {
    const json_t *entries = json_object_get(vector->json, "entries");
    size_t count = json_array_size(entries), added = 0;
    const char *slash = strrchr(file, '/');
    log_offset base = strtoll(slash ? slash + 1 : file, NULL, 10);
    struct index index;
    if (bytes.size != count * index_entry_bytes(kind)) return vector_wrong(vector, "%s: its size", file);
    if (index_valid_entries(kind, base, bytes.data, bytes.size, UINT64_MAX, INT64_MAX) != count) return vector_wrong(vector, "%s: an entry makes no sense", file);
    index_init(&index, kind, base, 1 << 20, vector->pool);
    for (; added < count; added++) {
        const json_t *entry = json_array_get(entries, added);
        int64_t key = json_integer_value(json_array_get(entry, 0)), value = json_integer_value(json_array_get(entry, 1));
        if (!index_add(&index, key, value)) break; /* the JSON has whole offsets, the file relative ones */
    }
    bool equal = added == count && span_equal(span_of(index.bytes, bytes.size), bytes);
    index_free(&index);
    return equal ? VECTOR_PASSED : vector_wrong(vector, "%s: made again it is another", file);
}

enum verdict vectors_log_snapshot(const struct vector *vector, const char *file, struct span bytes) {
    struct producer_options options = {.pool = vector->pool, .expiration_ms = INT64_MAX};
    struct producer_state *state = producer_state_new(&options);
    uint8_t *again = arena_alloc(vector->arena, bytes.size);
    bool same_bytes = state && again && !producer_snapshot_read(state, bytes, 0) && producer_snapshot_bytes(state) == bytes.size;
    if (same_bytes) producer_snapshot_write(state, again);
    same_bytes = same_bytes && span_equal(bytes, span_of(again, bytes.size));
    producer_state_free(state);
    return same_bytes ? VECTOR_PASSED : vector_wrong(vector, "%s: read or written otherwise", file);
}

enum verdict vectors_log_file(const struct vector *vector, const char *file, const char *kind, struct span bytes) {
    if (!strcmp(kind, "text")) return check_text(vector, file, bytes);
    if (!strncmp(kind, "aborted transactions", strlen("aborted transactions"))) return check_txn_index(vector, file, bytes);
    if (!strncmp(kind, "offset index", strlen("offset index"))) return check_index(vector, file, INDEX_OFFSET, bytes);
    if (!strncmp(kind, "time index", strlen("time index"))) return check_index(vector, file, INDEX_TIME, bytes);
    return VECTOR_NOT_RUN;
}
