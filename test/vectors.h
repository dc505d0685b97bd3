/* test/vectors.h - golden vectors: what Apache Kafka's own code writes and reads, held against ours.
 *
 * moldau-vectors DIR walks a folder of families; each line of a family's files is one vector, an object of JSON, and
 * passes or fails as a whole. A family is a row in vectors.c; its check is in a file of its own: vectors_message.c,
 * vectors_records.c, vectors_disk.c, vectors_misc.c. To add a family, write its check and its row.
 */
#pragma once
#include "base/buf.h"
#include "wire/codec.h"
#include <jansson.h>

struct vector {
    const char *family, *folder;  /* rpc; where its files lie             */
    const char *path;             /* of the file; without the folders     */
    uint32_t line;
    const json_t *json;
    struct pool *pool;            /* for what the check makes             */
    struct arena *arena;          /* of this vector; freed behind it      */
};
enum verdict { VECTOR_PASSED, VECTOR_FAILED, VECTOR_NOT_RUN };

/* Says on stderr what is wrong with which vector, and answers VECTOR_FAILED. */
enum verdict vector_wrong(const struct vector *vector, const char *format, ...) printf_like(2, 3);

enum verdict vectors_message(const struct vector *vector);    /* rpc, header, data, metadata, group, ...      */
enum verdict vectors_frame(const struct vector *vector);      /* whole requests and responses                 */
enum verdict vectors_records(const struct vector *vector);    /* record batches and old message sets          */
/* A run of bytes holds these batches, and they are encoded to the same again. */
enum verdict vector_batches(const struct vector *vector, const json_t *batches, struct span bytes, bool may_be_cut);
/* A file of a log folder that is neither a segment nor a snapshot of metadata. */
enum verdict vectors_log_snapshot(const struct vector *vector, const char *file, struct span bytes);
enum verdict vectors_log_file(const struct vector *vector, const char *file, const char *kind, struct span bytes);
enum verdict vectors_disk(const struct vector *vector);       /* files of a log directory                     */
enum verdict vectors_partitioner(const struct vector *vector);
enum verdict vectors_coordinator(const struct vector *vector);
enum verdict vectors_uuid(const struct vector *vector);

/* ---- reading, in vectors_read.c */
/* Every line of the .jsonl and .jsonl.gz files of a folder (whose names so begin; NULL: of all). `json` is NULL when it is
 * not JSON, and `line` 0 when a file could not be opened. False: there is no such folder. */
typedef void vectors_line(void *context, const char *folder, const char *path, uint32_t line, const json_t *json);
bool vectors_each(const char *folder, const char *beginning, vectors_line *each, void *context);

/* ---- for the checks */
const char *vector_text(const json_t *object, const char *name);              /* "" when it is not there       */
int64_t vector_number(const json_t *object, const char *name);                /* 0 when it is not there        */
struct span vector_hex(struct arena *arena, const json_t *value);             /* data NULL: null or not there  */
struct span vector_file(struct arena *arena, const char *folder, const char *path); /* data NULL: not there    */
char *vector_hex_text(struct arena *arena, struct span bytes);
/* The message of that name, as Apache's tools write it: "Produce" and "request", or "OffsetCommitValue". */
const struct wire_message *vector_message(const char *name, const char *type);
/* Decodes `bytes`, compares with `json`, encodes what `json` says and compares with `bytes`; both ways with the JSON form.
 * `not_kept`: there are tagged fields in `bytes` that no version knows. False: `why` says what differs. */
bool vector_both_ways(struct arena *arena, const struct wire_message *message, int16_t version, struct span bytes,
                      const json_t *json, bool not_kept, char why[1024]);
