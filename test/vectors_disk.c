/* test/vectors_disk.c - the files that a real node left: what stands in their records, and what they are themselves. */
#include "vectors.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "wire/record_frame.h"
#include <stdio.h>
#include <string.h>

struct record_json { struct span key, value; const json_t *decoded; const char *control; };

static bool message_matches(const struct vector *vector, const struct wire_framed *opened, const json_t *json, char why[1024]) {
    return vector_both_ways(vector->arena, opened->message, opened->version, opened->body, json, false, why);
}

static bool control_matches(const struct vector *vector, const struct record_json *record, char why[1024]) {
    static const struct { const char *name; const struct wire_message *message; } bare[] = {
        {"LEADER_CHANGE", &leader_change_message_message}, {"SNAPSHOT_HEADER", &snapshot_header_record_message},
        {"SNAPSHOT_FOOTER", &snapshot_footer_record_message}, {"KRAFT_VERSION", &kraft_version_record_message},
        {"KRAFT_VOTERS", &voters_record_message}, {"VOTERS", &voters_record_message}};
    struct wire_framed opened;
    snprintf(why, 1024, "control record %s", record->control);
    if (!strcmp(record->control, "COMMIT") || !strcmp(record->control, "ABORT"))
        return !wire_versioned_open(&end_txn_marker_message, record->value, &opened) && message_matches(vector, &opened, record->decoded, why);
    for (size_t i = 0; i < countof(bare); i++) {
        if (strcmp(record->control, bare[i].name) || record->value.size < 2) continue;
        int16_t version = (int16_t)load_be16(record->value.data);
        return vector_both_ways(vector->arena, bare[i].message, version, record->value, record->decoded, false, why);
    }
    return false;
}

static bool coordinator_matches(const struct vector *vector, enum wire_log log, const struct record_json *record, char why[1024]) {
    struct wire_framed key, value;
    const json_t *value_json = json_object_get(record->decoded, "value");
    snprintf(why, 1024, "coordinator's record");
    if (wire_coordinator_key_open(log, record->key, &key) || !message_matches(vector, &key, json_object_get(record->decoded, "key"), why)) return false;
    if (key.message->key != vector_number(record->decoded, "id")) return false;
    if (!record->value.data) return !value_json || json_is_null(value_json);
    if (wire_coordinator_value_open(log, (uint32_t)key.message->key, record->value, &value)) return false;
    return value.version == vector_number(record->decoded, "valueVersion") && message_matches(vector, &value, value_json, why);
}

static bool metadata_matches(const struct vector *vector, const struct record_json *record, char why[1024]) {
    struct wire_framed opened;
    snprintf(why, 1024, "metadata record");
    return !wire_metadata_open(WIRE_LOG_METADATA, record->value, &opened) && opened.message->key == vector_number(record->decoded, "id") &&
           opened.version == vector_number(record->decoded, "version") &&
           message_matches(vector, &opened, json_object_get(record->decoded, "value"), why);
}

/* Records of Kafka's own topics, and control records of any: decoded, and encoded again. */
static enum verdict check_segment(const struct vector *vector, const char *file) {
    static const struct { const char *topic; enum wire_log log; } coordinators[] = {
        {"__consumer_offsets-", WIRE_LOG_GROUP}, {"__transaction_state-", WIRE_LOG_TRANSACTION}, {"__share_group_state-", WIRE_LOG_SHARE}};
    char why[1024] = "";
    size_t i, k, c;
    json_t *batch, *item;
    json_array_foreach(json_object_get(vector->json, "batches"), i, batch) {
        json_array_foreach(json_object_get(batch, "records"), k, item) {
            struct record_json record = {vector_hex(vector->arena, json_object_get(item, "key")), vector_hex(vector->arena, json_object_get(item, "value")),
                                         json_object_get(item, "decoded"), vector_text(item, "control")};
            if (!record.decoded) continue; /* a client's */
            bool matches = false;
            for (c = 0; c < countof(coordinators) && strncmp(file, coordinators[c].topic, strlen(coordinators[c].topic)); c++) {}
            if (record.control[0]) matches = control_matches(vector, &record, why);
            else if (c < countof(coordinators)) matches = coordinator_matches(vector, coordinators[c].log, &record, why);
            else matches = metadata_matches(vector, &record, why);
            if (!matches) return vector_wrong(vector, "%s, offset %lld: %s", file, (long long)vector_number(item, "offset"), why);
        }
    }
    char path[1024];
    snprintf(path, sizeof path, "files/%s", file);
    struct span bytes = vector_file(vector->arena, vector->folder, path);
    if (!bytes.data) return vector_wrong(vector, "%s is not there", path);
    return vector_batches(vector, json_object_get(vector->json, "batches"), bytes, false);
}

/* int16 version 1, uint32 CRC-32C of all that follows, entries. */
static enum verdict check_producer_snapshot(const struct vector *vector, const char *file, struct span bytes) {
    struct wire_framed opened;
    char why[1024] = "";
    if (wire_versioned_open(&producer_snapshot_message, bytes, &opened) || opened.is_newer) return vector_wrong(vector, "%s: not opened", file);
    if (!vector_both_ways(vector->arena, opened.message, opened.version, opened.body, json_object_get(vector->json, "json"), false, why))
        return vector_wrong(vector, "%s: %s", file, why);
    if (load_be32(opened.body.data) != crc32c(0, opened.body.data + 4, opened.body.size - 4)) return vector_wrong(vector, "%s: CRC", file);
    return vectors_log_snapshot(vector, file, bytes);
}

/* One row for each kind of file; those that log/ reads and writes are in vectors_log.c. */
enum verdict vectors_disk(const struct vector *vector) {
    const char *file = vector_text(vector->json, "file"), *kind = vector_text(vector->json, "kind");
    char path[1024];
    if (!strcmp(kind, "segment") || !strcmp(kind, "kraft snapshot")) return check_segment(vector, file);
    snprintf(path, sizeof path, "files/%s", file);
    struct span bytes = vector_file(vector->arena, vector->folder, path);
    if (!bytes.data) return VECTOR_NOT_RUN; /* too large to be kept: the metadata log's preallocated indexes */
    if (!strncmp(kind, "producer snapshot", strlen("producer snapshot"))) return check_producer_snapshot(vector, file, bytes);
    return vectors_log_file(vector, file, kind, bytes);
}
