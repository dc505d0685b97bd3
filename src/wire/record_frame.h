/* wire/record_frame.h - what stands around the messages in the records of Kafka's own topics.
 *
 *   metadata log, remote segments   value: uvarint 1 (the frame's version), uvarint type, uvarint version, message
 *   coordinators' topics            key: int16 type, message in version 0;  value: int16 version, message; null deletes
 *   consumer protocol, principal,   int16 version, message
 *   transaction markers' values
 *   leader change, snapshot header and footer, voters, kraft version (control records): bare; their first field is the version
 */
#pragma once
#include "wire/records.h"

enum wire_log { WIRE_LOG_METADATA, WIRE_LOG_REMOTE, WIRE_LOG_GROUP, WIRE_LOG_TRANSACTION, WIRE_LOG_SHARE };
enum { WIRE_FRAME_VERSION = 1 };

/* By type; NULL: there is no such type. The key of a metadata or remote record does not exist. */
const struct wire_message *wire_record_value(enum wire_log log, uint32_t type);
const struct wire_message *wire_record_key(enum wire_log log, uint32_t type);

/* Opens a framed value of the metadata log or of remote segments: what it is, in which version, and the message's bytes.
 * ERR_UNSUPPORTED: another frame version, an unknown type or version. ERR_CORRUPT: not framed at all. */
struct wire_framed {
    const struct wire_message *message;
    int16_t version;
    bool is_newer;       /* written in a version that we do not know: what is behind the newest that we know is skipped */
    struct span body;
};
must_use enum err wire_metadata_open(enum wire_log log, struct span value, struct wire_framed *out);
/* The same for a coordinator's key (version 0 of its type), and for the value that belongs to a key of that type. */
must_use enum err wire_coordinator_key_open(enum wire_log log, struct span key, struct wire_framed *out);
must_use enum err wire_coordinator_value_open(enum wire_log log, uint32_t type, struct span value, struct wire_framed *out);
/* A message with only its version in front: consumer protocol, principal, transaction marker. A version above the newest
 * is opened as the newest, as clients do with assignments of newer ones. */
must_use enum err wire_versioned_open(const struct wire_message *message, struct span bytes, struct wire_framed *out);
/* Decodes what was opened; `out` is the message's C struct (wire_framed.message says which). */
must_use enum err wire_framed_decode(const struct wire_framed *framed, void *out, struct arena *arena);

/* Whole keys and values in one piece from `arena`; data == NULL: over budget, or the version cannot say it. */
must_use struct span wire_metadata_frame(const struct wire_message *message, int16_t version, const void *value, struct arena *arena);
must_use struct span wire_coordinator_key_frame(const struct wire_message *message, const void *key, struct arena *arena);
must_use struct span wire_coordinator_value_frame(const struct wire_message *message, int16_t version, const void *value, struct arena *arena);
must_use struct span wire_versioned_frame(const struct wire_message *message, int16_t version, const void *value, struct arena *arena);
/* A message alone, in one piece: control records, and bytes inside of other messages. */
must_use struct span wire_bytes(const struct wire_message *message, int16_t version, const void *value, struct arena *arena);
