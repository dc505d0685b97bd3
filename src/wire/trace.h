/* wire/trace.h - requests and answers as lines for people: what a node prints of its traffic, and `moldau trace` of anybody's.
 *
 *     request Metadata v12 correlation 3 client "rdkafka" from 127.0.0.1:45678 connection 7, 45 bytes: {"topics":...}
 *     answer Metadata v12 correlation 3 client "rdkafka" to 127.0.0.1:45678 connection 7, 512 bytes after 0.214 ms: {...}
 *
 * Secrets are hidden by the marks of the message's table (json.h), records are counted. A line is cut at the text's
 * capacity, and says so; what no longer fits costs no walk. Bytes are those of the body, without header.
 */
#pragma once
#include "wire/api.h"
#include "wire/json.h"

/* ---- Which are told. */
enum { WIRE_TRACE_KEYS_MAX = 128 };
struct wire_trace_filter {
    uint64_t apis[WIRE_TRACE_KEYS_MAX / 64];  /* a bit for each key                                */
    struct span clients, addresses;           /* borrows: lists with commas between; empty: all    */
};
/* Names of APIs with commas between, in any case of letters; * is all of them, and keys that are none. False: `why` says which is none. */
must_use bool wire_trace_apis(struct span list, uint64_t apis[WIRE_TRACE_KEYS_MAX / 64], struct text *why);
/* `client_id` null: the client told none, and only an empty list takes it. `address` is without its port. */
bool wire_trace_takes(const struct wire_trace_filter *filter, int16_t key, struct span client_id, struct span address);

/* ---- A line, piece by piece: the head, then one of the bodies, then the end. */
struct wire_trace_head {
    const struct wire_api *api;     /* NULL: not known, then version and correlation are not told either */
    int16_t version;
    int32_t correlation_id;
    struct span client_id;
    const char *address;            /* of the client, with its port */
    uint64_t connection;
    size_t bytes;                   /* of the body          */
    int64_t taken_us;               /* of answers           */
    bool is_answer;
};
enum { WIRE_TRACE_LINE_MIN = 64, WIRE_TRACE_HEX_BYTES = 32 };
/* `bytes` of at least WIRE_TRACE_LINE_MIN. */
void wire_trace_begin(struct text *line, char *bytes, size_t capacity, const struct wire_trace_head *head);
void wire_trace_body(struct text *line, const struct wire_message *message, int16_t version, const void *value, const struct wire_json_rules *rules);
/* What could not be read: why, where, and how the bytes begin, but of messages that may hold secrets. message NULL: of none. */
void wire_trace_unread(struct text *line, const struct wire_message *message, struct span body, enum err err, size_t at);
void wire_trace_note(struct text *line, const char *what);
/* Says if it was cut. */
void wire_trace_end(struct text *line);

/* A field with a mark, in any depth. */
bool wire_holds_secrets(const struct wire_struct *of);

/* For json.c: how many bytes, batches and records these are and how they are compressed, as far as they lie in memory. */
void wire_records_brief(const struct wire_records *records, bool contents, struct codecs *codecs, struct text *out);
