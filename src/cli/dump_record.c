/* cli/dump_record.c - what a record says: Kafka's own as JSON, anybody else's as text. */
#include "cli/dump.h"
#include "base/bytes.h"
#include "wire/json.h"
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void *message_new(const struct wire_message *message, struct arena *arena) { return arena_alloc(arena, message->body->size); }

/* Decodes and makes JSON; NULL with *why. */
static char *framed_json(const struct wire_framed *framed, struct arena *arena, void **value, const char **why) {
    *value = message_new(framed->message, arena);
    enum err err = *value ? wire_framed_decode(framed, *value, arena) : ERR_NO_MEMORY;
    char *json = err ? NULL : dump_json(framed->message, framed->version, *value, arena);
    if (!json) *why = err ? err_text(err) : err_text(ERR_NO_MEMORY);
    return json;
}

/* A subscription or an assignment, where it is one of the consumer protocol: in place of its bytes. */
static void put_protocol(json_t *member, const char *name, const struct wire_message *message, struct span bytes, struct arena *arena) {
    struct wire_framed framed;
    void *value;
    const char *why;
    if (!bytes.size || wire_versioned_open(message, bytes, &framed)) return;
    framed.is_newer = true; /* clients may have put more behind it */
    char *text = framed_json(&framed, arena, &value, &why);
    json_t *json = text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
    if (json) json_object_set_new(member, name, json);
}

/* Members of a classic group of consumers are told with what they subscribed to and were assigned. */
static char *with_members(char *json, const struct group_metadata_value *value, struct arena *arena) {
    json_t *root = json_loads(json, JSON_ALLOW_NUL, NULL), *members = json_object_get(root, "members");
    char *out = NULL;
    if (root && span_equal(value->protocol_type, SPAN_LITERAL("consumer")) && json_array_size(members) == (size_t)value->members_count) {
        for (int32_t i = 0; i < value->members_count; i++) {
            json_t *member = json_array_get(members, (size_t)i);
            put_protocol(member, "subscription", &consumer_protocol_subscription_message, value->members[i].subscription, arena);
            put_protocol(member, "assignment", &consumer_protocol_assignment_message, value->members[i].assignment, arena);
        }
        char *text = json_dumps(root, JSON_COMPACT);
        out = text ? arena_copy(arena, text, strlen(text) + 1) : NULL;
        free(text);
    }
    json_decref(root);
    return out ? out : json;
}

/* ` key: K payload: P`, an error in the place of what could not be told. */
static void coordinator_content(struct dump *dump, enum wire_log log, const struct record *record, uint64_t position, struct arena *arena) {
    struct wire_framed key, value;
    void *key_value, *value_value;
    const char *why = NULL;
    char *key_json = NULL, *value_json = NULL;
    enum err err = wire_coordinator_key_open(log, record->key, &key);
    if (err == ERR_UNSUPPORTED) {
        fprintf(dump->out, " key: Unknown record type %d at offset %" PRId64 ", skipping.\n", record->key.data[0] << 8 | record->key.data[1], record->offset);
        return;
    }
    if (err) why = "its key is none of a coordinator's";
    else key_json = framed_json(&key, arena, &key_value, &why);
    if (!why && record->value.data) {
        if (wire_coordinator_value_open(log, (uint32_t)key.message->key, record->value, &value)) why = "its value has a version that does not exist";
        else value_json = framed_json(&value, arena, &value_value, &why);
    }
    if (why) {
        fprintf(dump->out, " key: Error at offset %" PRId64 ", skipping. %s\n", record->offset, why);
        if (dump->by_place) dump_damage(dump, position, "record %" PRId64 ": %s", record->offset, why);
        return;
    }
    if (value_json && value.message == &group_metadata_value_message) value_json = with_members(value_json, value_value, arena);
    fprintf(dump->out, " key: {\"type\":\"%d\",\"data\":%s} payload: ", key.message->key, key_json);
    if (value_json) fprintf(dump->out, "{\"version\":\"%d\",\"data\":%s}\n", value.version, value_json);
    else fputs("<DELETE>\n", dump->out);
}

/* RegisterBrokerRecord: REGISTER_BROKER_RECORD. */
static void print_type(struct dump *dump, const char *name) {
    for (const char *at = name; *at; at++) {
        if (at > name && isupper((unsigned char)*at)) fputc('_', dump->out);
        fputc(toupper((unsigned char)*at), dump->out);
    }
}

static void metadata_content(struct dump *dump, enum wire_log log, const struct record *record, uint64_t position, struct arena *arena) {
    struct wire_framed framed;
    void *value;
    const char *why = "neither type nor version are known";
    char *json = NULL;
    if (record->value.data && !wire_metadata_open(log, record->value, &framed)) json = framed_json(&framed, arena, &value, &why);
    if (!json) {
        fprintf(dump->out, " payload: Error at %" PRId64 ", skipping. %s\n", record->offset, why);
        if (dump->by_place) dump_damage(dump, position, "record %" PRId64 ": %s", record->offset, why);
        return;
    }
    fputs(" payload: {\"type\":\"", dump->out);
    print_type(dump, framed.message->name);
    fprintf(dump->out, "\",\"version\":%d,\"data\":%s}\n", framed.version, json);
}

/* Fewer bytes than the number has are told as what they are. */
static void plain_content(struct dump *dump, enum dump_text as, struct span bytes, uint64_t position, int64_t offset) {
    size_t wanted = as == DUMP_AS_LONG ? 8 : 4;
    if (as == DUMP_AS_TEXT || bytes.size < wanted) dump_bytes(dump, bytes);
    if (as == DUMP_AS_TEXT) return;
    if (bytes.size < wanted) dump_damage(dump, position, "record %" PRId64 ": %zu bytes are none of a number of %zu", offset, bytes.size, wanted);
    else if (as == DUMP_AS_LONG) fprintf(dump->out, "%" PRId64, (int64_t)load_be64(bytes.data));
    else fprintf(dump->out, "%d", (int32_t)load_be32(bytes.data));
}

void dump_record_content(struct dump *dump, enum dump_decoder decoder, const struct record *record, uint64_t position) {
    struct arena arena;
    arena_init(&arena, dump->pool, 0);
    switch (decoder) {
    case DUMP_METADATA: metadata_content(dump, WIRE_LOG_METADATA, record, position, &arena); break;
    case DUMP_REMOTE: metadata_content(dump, WIRE_LOG_REMOTE, record, position, &arena); break;
    case DUMP_GROUP: coordinator_content(dump, WIRE_LOG_GROUP, record, position, &arena); break;
    case DUMP_TRANSACTION: coordinator_content(dump, WIRE_LOG_TRANSACTION, record, position, &arena); break;
    case DUMP_SHARE: coordinator_content(dump, WIRE_LOG_SHARE, record, position, &arena); break;
    case DUMP_PLAIN:
        if (record->key.data) {
            fputs(" key: ", dump->out);
            plain_content(dump, dump->key_as, record->key, position, record->offset);
        }
        if (record->value.data) {
            fputs(" payload: ", dump->out);
            plain_content(dump, dump->value_as, record->value, position, record->offset);
        }
        fputc('\n', dump->out);
        break;
    }
    arena_destroy(&arena);
}

/* ---- Control records */

static const struct { enum control_type type; const char *name; const struct wire_message *message; } controls[] = {
    {CONTROL_LEADER_CHANGE, "LeaderChange:", &leader_change_message_message},
    {CONTROL_SNAPSHOT_HEADER, "SnapshotHeader", &snapshot_header_record_message},
    {CONTROL_SNAPSHOT_FOOTER, "SnapshotFooter", &snapshot_footer_record_message},
    {CONTROL_KRAFT_VERSION, "KRaftVersion", &kraft_version_record_message},
    {CONTROL_VOTERS, "KRaftVoters", &voters_record_message},
};

/* The message's own first field is its version. */
static const char *control_bare(struct dump *dump, const struct wire_message *message, const char *name, struct span bytes, struct arena *arena) {
    if (bytes.size < 2) return "too short";
    struct wire_framed framed = {.message = message, .version = (int16_t)(bytes.data[0] << 8 | bytes.data[1]), .body = bytes};
    void *value;
    const char *why = NULL;
    if (framed.version < message->version_min) return "a version that does not exist";
    if (framed.version > message->version_max) {
        framed.version = message->version_max;
        framed.is_newer = true;
    }
    char *json = framed_json(&framed, arena, &value, &why);
    if (json) fprintf(dump->out, " %s %s\n", name, json);
    return why;
}

void dump_control(struct dump *dump, const struct record *record, uint64_t position) {
    enum control_type type = CONTROL_UNKNOWN;
    struct arena arena;
    const char *why = NULL;
    arena_init(&arena, dump->pool, 0);
    if (control_type_parse(record->key, &type)) why = "its key is none of a control record";
    else if (type == CONTROL_ABORT || type == CONTROL_COMMIT) {
        struct wire_framed framed;
        struct end_txn_marker marker;
        if (wire_versioned_open(&end_txn_marker_message, record->value, &framed) || wire_framed_decode(&framed, &marker, &arena)) why = "no marker";
        else fprintf(dump->out, " endTxnMarker: %s coordinatorEpoch: %d\n", type == CONTROL_COMMIT ? "COMMIT" : "ABORT", marker.coordinator_epoch);
    } else if (type == CONTROL_UNKNOWN) {
        fprintf(dump->out, " controlType: UNKNOWN(%d)\n", record->key.size >= 4 ? record->key.data[2] << 8 | record->key.data[3] : -1);
    } else {
        for (size_t i = 0; i < countof(controls); i++)
            if (controls[i].type == type) why = control_bare(dump, controls[i].message, controls[i].name, record->value, &arena);
    }
    if (why) {
        fputc('\n', dump->out);
        dump_damage(dump, position, "control record %" PRId64 ": %s", record->offset, why);
    }
    arena_destroy(&arena);
}
