/* wire/json.h - any message as JSON and back, in the form of Kafka's own tools: field names begin small, uuids in their 22
 * characters, bytes and records in base64, tagged fields at their default left out.
 *
 * Writing takes no memory and is for traces, too. Reading is for tools and tests: it goes through jansson, whose memory is
 * the general heap's.
 */
#pragma once
#include "base/text.h"
#include "wire/codec.h"

struct json_t;

enum { WIRE_JSON_HIDE_SECRETS = 1 /* passwords, keys, tokens and the values of configurations become "***" */ };

/* Appends the message; what does not fit is cut off, as text says. Bytes that are not UTF-8 become U+FFFD. */
void wire_json_write(const struct wire_message *message, int16_t version, const void *value, int flags, struct text *out);

/* The same for traces: secrets are hidden, and records told in short. What does not fit is not walked through either. */
enum wire_json_records {
    WIRE_JSON_COUNTED,                           /* {"bytes":..,"batches":..,"records":..,"codecs":".."}, as far as they lie in memory */
    WIRE_JSON_CONTENTS,                          /* the same, and keys and values; never of the metadata log, which holds credentials  */
};
struct wire_json_rules {
    bool (*setting_is_open)(struct span name);   /* the configuration of that name is no secret; NULL: all of them are */
    enum wire_json_records records;
    struct codecs *codecs;                       /* to show what is in compressed batches; NULL: only of the others */
};
void wire_json_trace(const struct wire_message *message, int16_t version, const void *value, const struct wire_json_rules *rules, struct text *out);
/* A string as JSON writes it, or null. */
void wire_json_string(struct span string, struct text *out);

/* Reads an object into `out`; strings and the like are copied into `arena`. A field that is missing must be a tagged one.
 * ERR_INVALID: not such a message, and `why` says what and where; ERR_NO_MEMORY; ERR_UNSUPPORTED: no such version. */
must_use enum err wire_json_read(const struct wire_message *message, int16_t version, const struct json_t *json, void *out,
                                 struct arena *arena, struct text *why);
