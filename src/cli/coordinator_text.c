#include "cli/coordinator_text.h"
#include "cli/dump.h"
#include <inttypes.h>
#include <string.h>

enum { OFFSETS_OLD = 0, OFFSETS = 1, GROUP = 2, SHARE_FIRST = 10, SHARE_LAST = 15, ALL = INT16_MAX };

const struct coordinator_format *coordinator_format_named(const char *class) {
    static const struct coordinator_format formats[] = {
        {"OffsetsMessageFormatter", WIRE_LOG_GROUP, OFFSETS_OLD, OFFSETS},
        {"GroupMetadataMessageFormatter", WIRE_LOG_GROUP, GROUP, GROUP},
        {"ShareGroupMessageFormatter", WIRE_LOG_GROUP, SHARE_FIRST, SHARE_LAST},
        {"TransactionLogMessageFormatter", WIRE_LOG_TRANSACTION, 0, ALL},
        {"group.share.ShareGroupStateMessageFormatter", WIRE_LOG_SHARE, 0, ALL},
    };
    static const char package[] = "org.apache.kafka.tools.consumer.";
    if (strncmp(class, package, sizeof package - 1) != 0) return NULL;
    for (size_t i = 0; i < countof(formats); i++)
        if (strcmp(class + sizeof package - 1, formats[i].class) == 0) return &formats[i];
    return NULL;
}

static const char *json_of(const struct wire_framed *framed, struct arena *arena) {
    void *value = arena_alloc(arena, framed->message->body->size);
    return value && !wire_framed_decode(framed, value, arena) ? dump_json(framed->message, framed->version, value, arena) : NULL;
}

bool coordinator_print(const struct coordinator_format *format, struct span key, struct span value, int64_t offset, struct pool *pool, FILE *out, struct text *why) {
    struct wire_framed key_framed, value_framed;
    if (!key.data || wire_coordinator_key_open(format->log, key, &key_framed)) return true; /* somebody else's */
    int type = key_framed.message->key;
    if (type < format->type_min || type > format->type_max) return true;
    struct arena arena;
    arena_init(&arena, pool, 0);
    const char *key_json = json_of(&key_framed, &arena), *value_json = "null";
    bool ok = key_json != NULL, has_value = value.data != NULL;
    if (ok && has_value) ok = !wire_coordinator_value_open(format->log, (uint32_t)type, value, &value_framed) && (value_json = json_of(&value_framed, &arena));
    if (!ok) text_add(why, "Could not read record at offset %" PRId64 " due to: its bytes are none of a record of type %d", offset, type);
    else {
        fprintf(out, "{\"key\":{\"type\":%d,\"data\":%s},\"value\":", type, key_json);
        if (has_value) fprintf(out, "{\"version\":%d,\"data\":%s}}", value_framed.version, value_json);
        else fputs("null}", out);
    }
    arena_destroy(&arena);
    return ok;
}
