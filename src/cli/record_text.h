/* cli/record_text.h - records as lines of text, both ways: what the console producer reads and the console consumer writes.
 *
 * The properties and their presets are those of Kafka's LineMessageReader and DefaultMessageFormatter.
 */
#pragma once
#include "meta/meta.h"
#include <stdio.h>

/* ---- a line -> a record: headers, key, value in this order, the first two only when asked for */
enum { LINE_HEADERS_MAX = 1024 };
struct line_reader {
    bool parse_key, parse_headers, ignore_error;
    struct span key_separator, headers_delimiter, headers_separator, headers_key_separator;
    struct span null_marker;        /* data NULL: none */
};
struct line_header { struct span name, value; };
struct line_record {
    struct span key, value;         /* slices of the line; data NULL: null */
    struct line_header headers[LINE_HEADERS_MAX];
    uint32_t header_count;
};
/* False: `why` has Kafka's sentence. */
must_use bool line_reader_init(struct line_reader *reader, const struct config_values *properties, struct text *why);
must_use bool line_parse(const struct line_reader *reader, struct span line, uint64_t number, struct line_record *out, struct text *why);

/* ---- a record -> text */
enum record_text_kind { RECORD_TEXT_BYTES, RECORD_TEXT_SHORT, RECORD_TEXT_INTEGER, RECORD_TEXT_LONG, RECORD_TEXT_BOOLEAN, RECORD_TEXT_DOUBLE, RECORD_TEXT_FLOAT, RECORD_TEXT_UUID };
struct record_format {
    bool timestamp, key, offset, epoch, partition, headers, value;
    struct span key_separator, line_separator, headers_separator, null_literal;
    enum record_text_kind key_kind, value_kind, headers_kind;
};
enum record_time { RECORD_NO_TIME, RECORD_CREATE_TIME, RECORD_APPEND_TIME };
struct record_view {
    int32_t partition;
    int64_t offset;
    enum record_time time_kind;
    time_ms time;
    struct span key, value;
    const struct line_header *headers;
    uint32_t header_count;
};
must_use bool record_format_init(struct record_format *format, const struct config_values *properties, struct text *why);
/* False: bytes that are not what their deserializer reads; `why` has a sentence. */
must_use bool record_print(const struct record_format *format, const struct record_view *record, FILE *out, struct text *why);
