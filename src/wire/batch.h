/* wire/batch.h - the record batch, format 2: what a partition's log is made of, on the wire and on disk alike.
 *
 *   at size
 *    0    8  base offset            of the first record (that was ever in it)
 *    8    4  length                 of all that follows this field: size of the batch - 12
 *   12    4  partition leader epoch -1 from a producer; the leader writes it
 *   16    1  magic                  2
 *   17    4  CRC-32C                of everything from the attributes on: base offset and epoch can be set without it
 *   21    2  attributes             0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 base timestamp is the delete horizon
 *   23    4  last offset delta      last offset - base offset; kept when compaction removes records
 *   27    8  base timestamp         of the first record; with bit 6 the delete horizon
 *   35    8  max timestamp          largest of the records; with LogAppendTime the time of all of them
 *   43    8  producer id            -1: none
 *   51    2  producer epoch
 *   53    4  base sequence          of the first record; -1: none
 *   57    4  count                  of the records that follow, compressed as a whole or not
 *   61       records: varint size of what follows; int8 attributes (0); varint timestamp - base; varint offset - base;
 *            varint key size (-1: null), key; varint value size, value; varint count of headers, each: varint key size, key,
 *            varint value size (-1: null), value.   varint: zigzag; those of timestamps with 64 bits
 *
 * A batch is whole when its length is at least 49 and its bytes are there, good when its CRC holds and its records parse to
 * exactly `count`. Nothing here allocates except where a pool or codecs are handed in; nothing trusts a size or a count.
 */
#pragma once
#include "base/bytes.h"
#include "wire/compress.h"

enum {
    BATCH_AT_BASE_OFFSET = 0,
    BATCH_AT_LENGTH = 8,
    BATCH_AT_LEADER_EPOCH = 12,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_CRC = 17,
    BATCH_AT_ATTRIBUTES = 21,
    BATCH_AT_LAST_OFFSET_DELTA = 23,
    BATCH_AT_BASE_TIMESTAMP = 27,
    BATCH_AT_MAX_TIMESTAMP = 35,
    BATCH_AT_PRODUCER_ID = 43,
    BATCH_AT_PRODUCER_EPOCH = 51,
    BATCH_AT_BASE_SEQUENCE = 53,
    BATCH_AT_COUNT = 57,
    BATCH_HEADER_BYTES = 61,        /* of format 2                                              */
    BATCH_FRAME_BYTES = 12,         /* base offset and length: in front of what length counts    */
    BATCH_MAGIC_BYTES = 17,         /* so many tell the format and the size of a batch           */
    BATCH_MAGIC_2 = 2,
    BATCH_OLD_BYTES_MIN = 26,       /* the smallest message of format 0                          */
};

enum batch_attribute {
    BATCH_CODEC_MASK = 0x07,
    BATCH_LOG_APPEND_TIME = 0x08,
    BATCH_TRANSACTIONAL = 0x10,
    BATCH_CONTROL = 0x20,
    BATCH_DELETE_HORIZON = 0x40,
};
enum timestamp_type { TIMESTAMP_CREATE = 0, TIMESTAMP_LOG_APPEND = 1 };

/* A batch's header in host order, and where the batch lies. */
struct batch {
    const uint8_t *bytes;      /* borrows: of the whole batch; NULL when only a header was parsed without it */
    uint32_t size;             /* of the whole batch, header included */
    leader_epoch leader_epoch;
    log_offset base_offset;
    int32_t last_offset_delta;
    uint32_t crc;
    time_ms base_timestamp;    /* as stored: the delete horizon when BATCH_DELETE_HORIZON is set */
    time_ms max_timestamp;
    producer_id producer_id;
    int32_t base_sequence;
    int16_t producer_epoch;
    uint16_t attributes;
    int32_t count;
};
static inline log_offset batch_last_offset(const struct batch *batch) {
    return (log_offset)((uint64_t)batch->base_offset + (uint64_t)(int64_t)batch->last_offset_delta);
}
static inline log_offset batch_next_offset(const struct batch *batch) {
    return (log_offset)((uint64_t)batch_last_offset(batch) + 1);
}
/* May be COMPRESSION_COUNT or above: not a codec that exists. */
static inline unsigned batch_codec(const struct batch *batch) { return batch->attributes & BATCH_CODEC_MASK; }
static inline bool batch_is_control(const struct batch *batch) { return batch->attributes & BATCH_CONTROL; }
static inline bool batch_is_transactional(const struct batch *batch) { return batch->attributes & BATCH_TRANSACTIONAL; }
static inline bool batch_has_delete_horizon(const struct batch *batch) { return batch->attributes & BATCH_DELETE_HORIZON; }
static inline bool batch_has_producer(const struct batch *batch) { return batch->producer_id > -1; }
static inline enum timestamp_type batch_timestamp_type(const struct batch *batch) {
    return batch->attributes & BATCH_LOG_APPEND_TIME ? TIMESTAMP_LOG_APPEND : TIMESTAMP_CREATE;
}
/* Sequences count from 0 to 2^31 - 1 and begin again at 0. */
static inline int32_t sequence_add(int32_t sequence, int32_t delta) {
    return (int32_t)(((uint32_t)sequence + (uint32_t)delta) & INT32_MAX);
}
int32_t batch_last_sequence(const struct batch *batch); /* -1: none */

/* ---- Find the batches in a run of bytes. */

/* What the first 17 bytes say, in any format: enough to step over a batch. */
struct batch_frame {
    log_offset base_offset;    /* formats 0 and 1: the message's own, for a compressed one that of its last record */
    uint32_t size;             /* of the whole batch or message */
    int8_t magic;
};
/* ERR_AGAIN: fewer than 17 bytes; ERR_CORRUPT: the length is below the smallest of its format, or no format 0..2. */
must_use enum err batch_frame_parse(struct span bytes, struct batch_frame *out);

/* The header of format 2 from its 61 bytes, without the rest; `bytes` stays NULL. ERR_AGAIN: fewer; ERR_CORRUPT;
 * ERR_UNSUPPORTED: of an old format. */
must_use enum err batch_header_parse(struct span bytes, struct batch *out);

/* The next batch of a run; *rest moves behind it. ERR_NOT_FOUND: the run is at its end; ERR_AGAIN: what is left is the
 * beginning of a batch (as at the end of a Fetch answer); ERR_CORRUPT; ERR_UNSUPPORTED: a message of an old format, see
 * batch_old.h. *rest stays where it is on every answer but ERR_NONE. */
must_use enum err batch_next(struct span *rest, struct batch *out);

/* The stored CRC is that of the bytes. */
bool batch_crc_is_good(const struct batch *batch);

/* ---- Records. */

struct record {
    log_offset offset;
    time_ms timestamp;
    struct span key, value;    /* data NULL: null */
    struct span headers;       /* undecoded: record_header_next takes them one by one */
    int32_t headers_count;
    uint32_t size;             /* with its own size field in front */
};
struct record_header {
    struct span key, value;    /* value: data NULL is null */
};

/* Where a batch's records lie, decompressed if they must be. `slab` is NULL when they are in the batch itself. */
struct batch_records {
    struct span bytes;
    struct slab *slab;         /* owns */
};
/* ERR_UNSUPPORTED: an unknown codec; ERR_CORRUPT, ERR_LIMIT, ERR_NO_MEMORY: as unpack. codecs may be NULL for those that
 * are not compressed. */
must_use enum err batch_records_open(const struct batch *batch, struct codecs *codecs, const struct unpack_limits *limits,
                                     struct batch_records *out);
void batch_records_close(struct batch_records *records);

struct record_cursor {
    const uint8_t *at, *end;
    log_offset base_offset;
    time_ms base_timestamp;
    time_ms append_timestamp;  /* with LogAppendTime: of every record */
    int32_t left;              /* records that are still to come */
    bool log_append_time;
};
void record_cursor_init(struct record_cursor *cursor, const struct batch *batch, struct span records);
/* ERR_NOT_FOUND: there were exactly `count`, and nothing behind them; ERR_CORRUPT: anything else. */
must_use enum err record_next(struct record_cursor *cursor, struct record *out);
/* The headers of a record that record_next has passed; false: no more. */
bool record_header_next(struct record *record, struct record_header *out);

/* What a walk over all records finds, without a copy and without memory (compressed ones: through a window of 64 KiB). */
struct batch_facts {
    time_ms timestamp_max;             /* -1: none has one                                            */
    time_ms timestamp_min;             /* of those that have one (not -1); INT64_MAX: none            */
    int32_t timestamp_max_delta;       /* offset delta of the first record that has the largest       */
    uint32_t record_bytes_max;         /* the largest record, without its size field                  */
    uint64_t records_bytes;            /* decompressed                                                */
    bool every_has_key;
    bool offsets_are_dense;            /* offset deltas are 0, 1, .., count - 1                        */
    bool offsets_rise;                 /* each above the one before, and in 0..last offset delta       */
};
/* Answers as record_next and batch_records_open; that there are exactly `count` is checked. */
must_use enum err batch_walk(const struct batch *batch, struct codecs *codecs, const struct unpack_limits *limits,
                             struct batch_facts *out);

/* ---- Change a batch where it lies. Only what the CRC covers makes it computed anew. */

void batch_stamp(uint8_t *bytes, log_offset base_offset, leader_epoch epoch);
/* The batch must be whole. True: something changed, and the CRC with it. */
bool batch_stamp_time(uint8_t *bytes, uint32_t size, enum timestamp_type type, time_ms max_timestamp);
void batch_stamp_crc(uint8_t *bytes, uint32_t size);

/* ---- Build. */

/* What becomes of the header; batch_options_init gives an ordinary batch of no producer. */
struct batch_options {
    enum compression codec;
    int32_t level;
    log_offset base_offset;
    leader_epoch leader_epoch;
    enum timestamp_type timestamp_type;
    time_ms max_timestamp;             /* -1: the largest of the records'. With TIMESTAMP_LOG_APPEND: the time of all    */
    producer_id producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    bool transactional, control;
    int32_t last_offset_delta;         /* -1: that of the last record; else for a batch that lost some (compaction) */
    time_ms delete_horizon;            /* -1: none */
};
void batch_options_init(struct batch_options *options);

/* Takes records one by one into a slab that grows, and makes the batch of them. An error answer leaves it as it was. */
struct batch_builder {
    struct pool *pool;                 /* borrows */
    struct slab *slab;                 /* owns: room for the header, then the records, not compressed */
    uint32_t bytes_max;                /* of the batch before compression */
    struct batch_options options;
    int32_t count;
    int32_t last_delta;
    time_ms base_timestamp, max_timestamp;
};
void batch_builder_init(struct batch_builder *builder, struct pool *pool, uint32_t bytes_max, const struct batch_options *options);
void batch_builder_destroy(struct batch_builder *builder);
/* ERR_LIMIT: it would be larger than bytes_max; ERR_NO_MEMORY. The offset delta is that of the record before plus one. */
must_use enum err batch_builder_add(struct batch_builder *builder, time_ms timestamp, struct span key, struct span value,
                                    const struct record_header *headers, int32_t headers_count);
/* With gaps, as after compaction; deltas rise. Headers undecoded, as in struct record. */
must_use enum err batch_builder_add_at(struct batch_builder *builder, int32_t offset_delta, time_ms timestamp, struct span key,
                                       struct span value, struct span headers, int32_t headers_count);
/* How large the batch is by now, and would be with such a record. Not compressed. */
uint32_t batch_builder_size(const struct batch_builder *builder);
size_t record_size(int64_t timestamp_delta, int32_t offset_delta, struct span key, struct span value,
                   const struct record_header *headers, int32_t headers_count);
/* The batch is all of the slab's `used`; its count is the caller's. codecs may be NULL without compression. The builder is
 * empty then and may take the next batch's records. A batch without records is one, too (compaction keeps such). */
must_use enum err batch_builder_finish(struct batch_builder *builder, struct codecs *codecs, struct slab **out);

/* ---- Control records. Their key: int16 version 0, int16 type. */

enum control_type {
    CONTROL_ABORT = 0,
    CONTROL_COMMIT = 1,
    CONTROL_LEADER_CHANGE = 2,
    CONTROL_SNAPSHOT_HEADER = 3,
    CONTROL_SNAPSHOT_FOOTER = 4,
    CONTROL_KRAFT_VERSION = 5,
    CONTROL_VOTERS = 6,
    CONTROL_UNKNOWN = -1,
};
/* Of a control record's key. ERR_CORRUPT: too short or a version below 0. A type that is not known: CONTROL_UNKNOWN. */
must_use enum err control_type_parse(struct span key, enum control_type *out);
/* `value` is the encoded message (wire/records.h); options must say `control`. */
must_use enum err batch_builder_add_control(struct batch_builder *builder, enum control_type type, time_ms timestamp, struct span value);

/* A transaction's end: value int16 version 0, int32 coordinator epoch. */
must_use enum err batch_build_marker(struct pool *pool, enum control_type commit_or_abort, producer_id producer, int16_t epoch,
                                     int32_t coordinator_epoch, time_ms timestamp, struct slab **out);
/* Of the first record of a marker's batch. ERR_NOT_FOUND: no record is left of it; ERR_UNSUPPORTED: a control batch of
 * another type; ERR_CORRUPT: no control batch, or not a marker's key and value. */
struct batch_marker {
    enum control_type type;
    int32_t coordinator_epoch;
};
must_use enum err batch_marker_parse(const struct batch *batch, struct batch_marker *out);
