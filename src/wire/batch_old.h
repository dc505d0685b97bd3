/* wire/batch_old.h - messages of formats 0 and 1, as old segments hold them: read only; nothing writes them any more.
 *
 *   at size
 *    0    8  offset             of a compressed message: that of the last record inside
 *    8    4  size               of all that follows this field
 *   12    4  CRC-32             of everything from the magic on
 *   16    1  magic              0 or 1
 *   17    1  attributes         0-2 codec, 3 LogAppendTime (format 1)
 *   18    8  timestamp          format 1 only
 *            int32 key size (-1: null), key; int32 value size (-1: null), value
 *
 * The value of a compressed message is a run of messages of the same format, themselves not compressed. Their offsets are
 * absolute in format 0; in format 1 they are relative: the message's own offset is that of the last one inside.
 * With LogAppendTime the outer timestamp holds for all inside.
 */
#pragma once
#include "wire/batch.h"

enum { OLD_HEADER_BYTES_0 = 26, OLD_HEADER_BYTES_1 = 34 }; /* the smallest of each, with null key and value */

struct old_message {
    const uint8_t *bytes;      /* borrows */
    uint32_t size;
    uint32_t crc;
    log_offset offset;
    int8_t magic;
    uint8_t attributes;
    time_ms timestamp;         /* -1 in format 0 */
    struct span key, value;    /* data NULL: null */
};
static inline unsigned old_codec(const struct old_message *message) { return message->attributes & BATCH_CODEC_MASK; }

/* As batch_next, for these: ERR_UNSUPPORTED is a batch of format 2. */
must_use enum err old_next(struct span *rest, struct old_message *out);
bool old_crc_is_good(const struct old_message *message);

/* The records of one message, one or many, in order. */
struct old_cursor {
    struct old_message outer;
    struct span rest;          /* of the messages inside     */
    struct slab *slab;         /* owns: them, decompressed   */
    log_offset base;           /* added to their offsets     */
    bool done;
};
/* What a batch's header would say of a message. */
struct old_range {
    log_offset base_offset, last_offset;
    time_ms max_timestamp;
    int32_t count;
};
/* ERR_CORRUPT: a wrong CRC (outer or inner), a message in a message in a message, nothing inside, offsets that do not
 * rise; ERR_UNSUPPORTED: the codec (format 0 and 1 have no zstd); ERR_LIMIT, ERR_NO_MEMORY. `range` may be NULL. */
must_use enum err old_cursor_open(struct old_cursor *cursor, const struct old_message *message, struct codecs *codecs,
                                  const struct unpack_limits *limits, struct old_range *range);
/* ERR_NOT_FOUND: that were all. headers are none. */
must_use enum err old_cursor_next(struct old_cursor *cursor, struct record *out);
void old_cursor_close(struct old_cursor *cursor);
