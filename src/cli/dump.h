/* cli/dump.h - what a node's files say: `moldau dump FILE...` and kafka-dump-log.sh.
 *
 * Both print the same lines, Apache's: of segments and KRaft snapshots a line for each batch and each record, of indexes and
 * producer snapshots one for each entry. `moldau dump` sees from a file's place which records it holds, takes whole
 * directories and the small text files too, checks indexes against the segment beside them, prints what is not
 * text as \xNN, and ends with 1 when something was damaged.
 *
 * Damage is told as `Damaged at position P: why`, in its place, and what follows is searched for the next whole batch: it
 * never hides what is good behind it. Bytes are checked like a stranger's: no size and no count of a file is believed.
 */
#pragma once
#include "cli/args.h"
#include "io/io.h"
#include "wire/record_frame.h"
#include "wire/batch.h"
#include <stdio.h>

/* The tool: words are files and directories, --files separates its own by commas. */
int tool_dump(struct args *args);

/* ---- What the tool is made of; tests call it, too. */

enum dump_text { DUMP_AS_TEXT, DUMP_AS_INTEGER, DUMP_AS_LONG };
enum dump_decoder { DUMP_PLAIN, DUMP_METADATA, DUMP_REMOTE, DUMP_GROUP, DUMP_TRANSACTION, DUMP_SHARE };

struct dump {
    struct io_files files;
    struct pool *pool;             /* borrows */
    FILE *out, *warnings;          /* borrows */
    bool by_place;                 /* `moldau dump`: decoders by the file's directory, everything that can be told is told */
    enum dump_decoder decoder;     /* else this one */
    enum dump_text key_as, value_as; /* of records that are anybody's */
    bool deep, contents;           /* a line for each record; with key and value */
    bool skip_record_metadata;
    bool sanity_only, verify_only; /* of indexes */
    int64_t bytes_max;             /* of a .log file: only whole batches before it; INT32_MAX: all */
    uint64_t damages;              /* how many were told of */
};
void dump_init(struct dump *dump, struct io_files files, struct pool *pool, FILE *out, FILE *warnings);
/* Files of any kind that the names in a log directory tell; false: it could not be read at all (said so). */
bool dump_path(struct dump *dump, const char *path);

/* ---- Between the files of the tool. */

/* A file, read through a window that grows to what is asked for. */
struct dump_source {
    struct io_files files;
    struct io_file *file;          /* owns */
    struct pool *pool;             /* borrows */
    uint64_t size;
    uint8_t *buffer;               /* owns */
    size_t capacity, filled;
    uint64_t at;                   /* where in the file the buffer's bytes lie */
};
enum { DUMP_WINDOW_BYTES = 256 * 1024 };
must_use enum err dump_source_open(struct dump_source *source, const struct dump *dump, const char *path);
void dump_source_close(struct dump_source *source);
/* Valid until the next call. ERR_OUT_OF_RANGE: the file ends before; ERR_IO; ERR_NO_MEMORY. */
must_use enum err dump_source_span(struct dump_source *source, uint64_t position, size_t size, struct span *out);

void dump_damage(struct dump *dump, uint64_t position, const char *format, ...) printf_like(3, 4);
/* Bytes as text; what is not UTF-8 as U+FFFD, or by_place, with control characters, as \xNN. */
void dump_bytes(const struct dump *dump, struct span bytes);
/* The message as JSON in memory from `arena`; NULL: no memory. */
char *dump_json(const struct wire_message *message, int16_t version, const void *value, struct arena *arena);

void dump_log(struct dump *dump, const char *path, const char *name, enum dump_decoder decoder, bool is_snapshot);
/* ` key: ... payload: ...` of a record of one of Kafka's own topics, or of anybody's; the first word without its blank
 * when it begins the line. */
void dump_record_content(struct dump *dump, enum dump_decoder decoder, const struct record *record, uint64_t position);
/* What a control record says. */
void dump_control(struct dump *dump, const struct record *record, uint64_t position);
void dump_offset_index(struct dump *dump, const char *path, const char *name);
void dump_time_index(struct dump *dump, const char *path, const char *name);
void dump_txn_index(struct dump *dump, const char *path, const char *name);
void dump_producers(struct dump *dump, const char *path);
void dump_text_file(struct dump *dump, const char *path, const char *name);
