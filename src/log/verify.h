/* log/verify.h - what holds for a batch before it is written, and after it is read. One list of facts, two doors:
 * verify_incoming refuses what comes from the network with Kafka's error; verify_stored says up to where bytes from
 * a file are good. Bytes are never asserted about.
 *
 * The list, in the order in which Kafka looks:
 *   1 there is exactly one batch (clients, coordinators), of format 2, whole          INVALID_RECORD, CORRUPT_MESSAGE
 *   2 a raft leader's batch carries its epoch; a client's base offset is 0            INVALID_RECORD
 *   3 it is not larger than max.message.bytes                                         MESSAGE_TOO_LARGE
 *   4 the CRC holds                                                                   CORRUPT_MESSAGE
 *   5 clients: count > 0 and equal to the offsets' range, no control batch, a
 *     producer id comes with a sequence                                               INVALID_RECORD
 *   6 the codec exists                                                                UNSUPPORTED_COMPRESSION_TYPE
 *   7 the records parse to exactly `count`, within the limits of unpacking            INVALID_RECORD
 *   8 offset deltas are 0, 1, ... (not compressed; else it is encoded anew)           INVALID_RECORD
 *   9 each record: a key where the topic is compacted; a timestamp that is allowed    INVALID_RECORD, INVALID_TIMESTAMP
 *  10 encoded anew (compression.type), its producer has an epoch and a sequence       INVALID_RECORD
 *     ... and it is still not too large                                               MESSAGE_TOO_LARGE
 * What then changes in place: the largest timestamp (from the records), LogAppendTime. Offsets and leader epoch are the
 * log's to stamp. The sequence is the producer state's to check.
 *
 * For an uncompressed batch all of it reads the bytes twice (CRC, then the records' outlines) and allocates nothing.
 */
#pragma once
#include "wire/batch.h"
#include "wire/errors.h"

/* Where a batch comes from decides what is asked of it. */
enum log_origin { LOG_FROM_CLIENT, LOG_FROM_COORDINATOR, LOG_FROM_LEADER, LOG_FROM_RAFT_LEADER };

/* A topic's configs, as far as they are about single batches; verify_rules_init gives Kafka's defaults. */
struct verify_rules {
    int32_t message_bytes_max;              /* max.message.bytes                                                     */
    int32_t decompressed_record_bytes_max;  /* max.decompressed.message.bytes: of a record in a compressed batch     */
    enum timestamp_type timestamp_type;     /* message.timestamp.type                                                */
    time_ms timestamp_before_max_ms, timestamp_after_max_ms;
    bool compacted;                         /* cleanup.policy contains compact                                       */
    bool compression_is_producers;          /* compression.type=producer: as it comes                                */
    enum compression compression;           /* else this ...                                                         */
    int32_t compression_level;              /* ... at this level                                                     */
    struct unpack_limits limits;
};
void verify_rules_init(struct verify_rules *rules);

struct verify_input {
    const struct verify_rules *rules;       /* borrows */
    enum log_origin origin;
    leader_epoch epoch;                     /* of the partition's leader, or the raft leader's                       */
    time_ms now_ms;                         /* wall                                                                  */
    struct codecs *codecs;                  /* borrows: of the shard                                                 */
    struct pool *pool;                      /* for what is encoded anew                                              */
    struct arena *arena;                    /* the request's: record errors live there                               */
    uint8_t *bytes;                         /* one batch; written to in place                                        */
    size_t size;
};

struct verify_record_error {
    int32_t index;                          /* in the batch                                                          */
    struct span message;                    /* lives in the arena                                                    */
};
enum { VERIFY_RECORD_ERRORS_MAX = 1000 };   /* so many are listed; a batch of wrong records is refused all the same  */

struct verified {
    enum kafka_error kafka_error;           /* 0, or why the batch is refused                                        */
    const char *why;                        /* one sentence, static; NULL without an error                           */
    bool is_one_batch;                      /* fact 1 holds                                                          */
    struct verify_record_error *errors;     /* fact 9: which records; lives in the arena                             */
    int32_t errors_count;
    struct batch batch;                     /* as it shall be written: in place, or ...                              */
    struct slab *rewritten;                 /* ... here, encoded anew: the caller's count; NULL: in place            */
};
/* ERR_NONE: look at kafka_error. ERR_NO_MEMORY: over budget, nothing was changed; to be answered as retriable. For
 * LOG_FROM_CLIENT and LOG_FROM_COORDINATOR; what leaders send is for verify_run. */
must_use enum err verify_incoming(const struct verify_input *input, struct verified *out);

/* Batches one after the other, as a follower gets them and as they lie in a file. */
struct verify_run {
    log_offset next;                        /* the first base offset must not be below it: the end of the log        */
    leader_epoch epoch;                     /* of the batch before: epochs never fall; -1: none                      */
    leader_epoch epoch_max;                 /* a batch of a later epoch ends the run, as Kafka's follower does       */
    bool epoch_exact;                       /* raft leader: each batch carries epoch_max                             */
    bool crc;                               /* check CRCs                                                            */
    bool old_formats;                       /* messages of format 0 and 1 are fine: files only                       */
    /* the answer: what holds */
    size_t bytes;                           /* from the start of the run                                             */
    uint32_t batches;
    log_offset last;                        /* of the last good batch; -1: none                                      */
    time_ms timestamp_max;
};
void verify_run_init(struct verify_run *run, log_offset next);
/* ERR_NONE: up to the run's end, or to the beginning of a batch that is not whole, or of a later epoch; ERR_CORRUPT: the
 * batch at `bytes` is not good (structure or CRC); ERR_OUT_OF_RANGE: its offsets do not follow; ERR_FENCED: its epoch is
 * below the one before or not the leader's. What is before `bytes` is good in each case. May go on with the next
 * piece of the same file: next and epoch carry over. */
must_use enum err verify_stored(struct verify_run *run, struct span bytes);
/* The error that a follower or raft observer reports for such an answer. */
enum kafka_error verify_kafka_error(enum err err);
