#include "cli/record_text.h"
#include "base/bytes.h"
#include "cli/properties.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct span text_of(const struct config_values *properties, const char *name, const char *preset) {
    const char *text = properties_text(properties, name);
    return span_text(text ? text : preset);
}

/* ---- lines -> records ---------------------------------------------------------------------------------------------------- */

bool line_reader_init(struct line_reader *reader, const struct config_values *properties, struct text *why) {
    const char *marker = properties_text(properties, "null.marker");
    *reader = (struct line_reader){
        .parse_key = properties_flag(properties, "parse.key", false), .parse_headers = properties_flag(properties, "parse.headers", false),
        .ignore_error = properties_flag(properties, "ignore.error", false), .key_separator = text_of(properties, "key.separator", "\t"),
        .headers_delimiter = text_of(properties, "headers.delimiter", "\t"), .headers_separator = text_of(properties, "headers.separator", ","),
        .headers_key_separator = text_of(properties, "headers.key.separator", ":")};
    if (marker) reader->null_marker = span_of(marker, strlen(marker));
    const struct { const char *one, *other; struct span a, b; } pairs[] = {
        {"headers.delimiter", "headers.separator", reader->headers_delimiter, reader->headers_separator},
        {"headers.delimiter", "headers.key.separator", reader->headers_delimiter, reader->headers_key_separator},
        {"headers.separator", "headers.key.separator", reader->headers_separator, reader->headers_key_separator},
        {"null.marker", "key.separator", reader->null_marker, reader->key_separator},
        {"null.marker", "headers.separator", reader->null_marker, reader->headers_separator},
        {"null.marker", "headers.delimiter", reader->null_marker, reader->headers_delimiter},
        {"null.marker", "headers.key.separator", reader->null_marker, reader->headers_key_separator},
    };
    for (size_t i = 0; i < countof(pairs); i++)
        if (pairs[i].a.data && span_equal(pairs[i].a, pairs[i].b)) {
            text_add(why, "%s and %s may not be equal", pairs[i].one, pairs[i].other);
            return false;
        }
    return true;
}

static const uint8_t *find(struct span in, struct span what) {
    return what.size == 0 ? in.data : memmem(in.data, in.size, what.data, what.size);
}

static struct span or_null(const struct line_reader *reader, struct span text) {
    return reader->null_marker.data && span_equal(text, reader->null_marker) ? (struct span){0} : text;
}

/* Takes what stands before the separator off the rest. data NULL: there is none, and that is to be ignored. */
static bool take(const struct line_reader *reader, struct span line, uint64_t number, struct span *rest, struct span separator, const char *what, struct span *out, struct text *why) {
    const uint8_t *at = find(*rest, separator);
    *out = (struct span){0};
    if (!at) {
        if (reader->ignore_error) return true;
        text_add(why, "No %s found on line number %" PRIu64 ": '%.*s'", what, number, (int)line.size, (const char *)line.data);
        return false;
    }
    *out = span_of(rest->data, (size_t)(at - rest->data));
    *rest = span_of(at + separator.size, rest->size - out->size - separator.size);
    return true;
}

static bool parse_headers(const struct line_reader *reader, struct span text, uint64_t number, struct line_record *out, struct text *why) {
    for (bool more = true; more;) {
        const uint8_t *end = reader->headers_separator.size ? find(text, reader->headers_separator) : NULL;
        struct span pair = end ? span_of(text.data, (size_t)(end - text.data)) : text;
        more = end != NULL;
        if (more) text = span_of(end + reader->headers_separator.size, text.size - pair.size - reader->headers_separator.size);
        if (!more && pair.size == 0 && out->header_count > 0) break; /* Java's split leaves out what is empty at the end */
        if (out->header_count == LINE_HEADERS_MAX) {
            text_add(why, "more than %d headers on line number %" PRIu64, LINE_HEADERS_MAX, number);
            return false;
        }
        const uint8_t *colon = find(pair, reader->headers_key_separator);
        struct line_header *header = &out->headers[out->header_count++];
        *header = (struct line_header){pair, {0}};
        if (!colon) {
            if (reader->ignore_error) continue;
            text_add(why, "No header key separator found in pair '%.*s' on line number %" PRIu64, (int)pair.size, (const char *)pair.data, number);
            return false;
        }
        header->name = span_of(pair.data, (size_t)(colon - pair.data));
        if (!or_null(reader, header->name).data) {
            text_add(why, "Header keys should not be equal to the null marker '%.*s' as they can't be null", (int)reader->null_marker.size, (const char *)reader->null_marker.data);
            return false;
        }
        header->value = or_null(reader, span_of(colon + reader->headers_key_separator.size, pair.size - header->name.size - reader->headers_key_separator.size));
    }
    return true;
}

bool line_parse(const struct line_reader *reader, struct span line, uint64_t number, struct line_record *out, struct text *why) {
    struct span rest = line, headers = {0}, key = {0};
    out->header_count = 0;
    if (reader->parse_headers && !take(reader, line, number, &rest, reader->headers_delimiter, "headers delimiter", &headers, why)) return false;
    if (reader->parse_key && !take(reader, line, number, &rest, reader->key_separator, "key separator", &key, why)) return false;
    out->key = key.data ? or_null(reader, key) : key;
    out->value = or_null(reader, rest);
    return !headers.data || !or_null(reader, headers).data || parse_headers(reader, headers, number, out, why);
}

/* ---- records -> text ------------------------------------------------------------------------------------------------------- */

static bool kind_of(const struct config_values *properties, const char *name, enum record_text_kind *out, struct text *why) {
    static const struct { const char *class; enum record_text_kind kind; } known[] = {
        {"StringDeserializer", RECORD_TEXT_BYTES}, {"ByteArrayDeserializer", RECORD_TEXT_BYTES}, {"BytesDeserializer", RECORD_TEXT_BYTES},
        {"ShortDeserializer", RECORD_TEXT_SHORT}, {"IntegerDeserializer", RECORD_TEXT_INTEGER}, {"LongDeserializer", RECORD_TEXT_LONG},
        {"BooleanDeserializer", RECORD_TEXT_BOOLEAN}, {"DoubleDeserializer", RECORD_TEXT_DOUBLE}, {"FloatDeserializer", RECORD_TEXT_FLOAT}, {"UUIDDeserializer", RECORD_TEXT_UUID},
    };
    static const char package[] = "org.apache.kafka.common.serialization.";
    const char *class = properties_text(properties, name);
    *out = RECORD_TEXT_BYTES;
    if (!class) return true;
    for (size_t i = 0; i < countof(known); i++)
        if (strncmp(class, package, sizeof package - 1) == 0 && strcmp(class + sizeof package - 1, known[i].class) == 0) {
            *out = known[i].kind;
            return true;
        }
    text_add(why, "%s=%s: Java classes cannot be loaded here; those of %sString, Short, Integer, Long, Boolean, Double, Float, UUID, ByteArray and BytesDeserializer are known", name, class, package);
    return false;
}

bool record_format_init(struct record_format *format, const struct config_values *properties, struct text *why) {
    *format = (struct record_format){
        .timestamp = properties_flag(properties, "print.timestamp", false), .key = properties_flag(properties, "print.key", false),
        .offset = properties_flag(properties, "print.offset", false), .epoch = properties_flag(properties, "print.epoch", false),
        .partition = properties_flag(properties, "print.partition", false), .headers = properties_flag(properties, "print.headers", false),
        .value = properties_flag(properties, "print.value", true), .key_separator = text_of(properties, "key.separator", "\t"),
        .line_separator = text_of(properties, "line.separator", "\n"), .headers_separator = text_of(properties, "headers.separator", ","),
        .null_literal = text_of(properties, "null.literal", "null")};
    return kind_of(properties, "key.deserializer", &format->key_kind, why) && kind_of(properties, "value.deserializer", &format->value_kind, why) &&
           kind_of(properties, "headers.deserializer", &format->headers_kind, why);
}

static void put(struct span bytes, FILE *out) {
    if (bytes.size) fwrite(bytes.data, 1, bytes.size, out);
}

static bool is_uuid(struct span text) {
    if (text.size != 36) return false;
    for (size_t i = 0; i < text.size; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23 ? text.data[i] != '-' : !isxdigit(text.data[i])) return false;
    return true;
}

static double number_of(uint64_t bits) {
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static float float_of(uint32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* As Java writes it: the fewest digits that say which number it is, at least one behind the point, with an exponent where
 * it is below 10^-3 or from 10^7 on. */
static void put_number(double number, int digits_max, bool is_float, FILE *out) {
    char text[40], *end;
    int digits = 1;
    if (isnan(number) || isinf(number)) {
        fputs(isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity", out);
        return;
    }
    for (; digits <= digits_max; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, number);
        if (is_float ? strtof(text, &end) == (float)number : strtod(text, &end) == number) break;
    }
    char *mark = strchr(text, 'e');
    int exponent = mark ? (int)strtol(mark + 1, NULL, 10) : 0;
    if (number == 0 || (exponent >= -3 && exponent < 7)) {
        int behind = digits - 1 - exponent;
        fprintf(out, "%.*f", behind < 1 ? 1 : behind, number);
        return;
    }
    if (mark) *mark = 0;
    fprintf(out, "%s%sE%d", text, strchr(text, '.') ? "" : ".0", exponent);
}

static bool put_as(const struct record_format *format, enum record_text_kind kind, struct span bytes, FILE *out, struct text *why) {
    static const size_t sizes[] = {[RECORD_TEXT_SHORT] = 2, [RECORD_TEXT_INTEGER] = 4, [RECORD_TEXT_LONG] = 8, [RECORD_TEXT_BOOLEAN] = 1, [RECORD_TEXT_DOUBLE] = 8, [RECORD_TEXT_FLOAT] = 4};
    static const char *const classes[] = {[RECORD_TEXT_SHORT] = "ShortDeserializer", [RECORD_TEXT_INTEGER] = "IntegerDeserializer", [RECORD_TEXT_LONG] = "LongDeserializer",
                                          [RECORD_TEXT_BOOLEAN] = "BooleanDeserializer", [RECORD_TEXT_DOUBLE] = "Deserializer", [RECORD_TEXT_FLOAT] = "Deserializer"};
    if (!bytes.data || kind == RECORD_TEXT_BYTES) {
        put(bytes.data ? bytes : format->null_literal, out);
        return true;
    }
    if (kind == RECORD_TEXT_UUID) {
        if (!is_uuid(bytes)) text_add(why, "org.apache.kafka.common.errors.SerializationException: Error parsing data into UUID");
        for (size_t i = 0; !why->size && i < bytes.size; i++) fputc(tolower(bytes.data[i]), out);
        return why->size == 0;
    }
    if (bytes.size != sizes[kind]) {
        text_add(why, "org.apache.kafka.common.errors.SerializationException: Size of data received by %s is not %zu", classes[kind], sizes[kind]);
        return false;
    }
    if (kind == RECORD_TEXT_SHORT) fprintf(out, "%d", (int16_t)load_be16(bytes.data));
    else if (kind == RECORD_TEXT_INTEGER) fprintf(out, "%d", (int32_t)load_be32(bytes.data));
    else if (kind == RECORD_TEXT_DOUBLE) put_number(number_of(load_be64(bytes.data)), 17, false, out);
    else if (kind == RECORD_TEXT_FLOAT) put_number((double)float_of(load_be32(bytes.data)), 9, true, out);
    else if (kind == RECORD_TEXT_LONG) fprintf(out, "%" PRId64, (int64_t)load_be64(bytes.data));
    else fputs(bytes.data[0] ? "true" : "false", out);
    return true;
}

/* Each part but the value ends with the separator when another follows, else with the line's end. */
static void part_end(const struct record_format *format, bool more, FILE *out) {
    put(more ? format->key_separator : format->line_separator, out);
}

bool record_print(const struct record_format *format, const struct record_view *record, FILE *out, struct text *why) {
    bool after_headers = format->key || format->value, after_epoch = format->headers || after_headers, after_offset = format->epoch || after_epoch;
    bool after_partition = format->offset || after_offset, after_time = format->partition || after_partition;
    if (format->timestamp) {
        if (record->time_kind == RECORD_NO_TIME) fputs("NO_TIMESTAMP", out);
        else fprintf(out, "%s:%" PRId64, record->time_kind == RECORD_CREATE_TIME ? "CreateTime" : "LogAppendTime", record->time);
        part_end(format, after_time, out);
    }
    if (format->partition) {
        fprintf(out, "Partition:%d", record->partition);
        part_end(format, after_partition, out);
    }
    if (format->offset) {
        fprintf(out, "Offset:%" PRId64, record->offset);
        part_end(format, after_offset, out);
    }
    if (format->epoch) { /* Kafka's tool loses it on the way to its formatter */
        fputs("Epoch:NOT_PRESENT", out);
        part_end(format, after_epoch, out);
    }
    if (format->headers) {
        if (record->header_count == 0) fputs("NO_HEADERS", out);
        for (uint32_t i = 0; i < record->header_count; i++) {
            put(record->headers[i].name, out);
            fputc(':', out);
            if (!put_as(format, format->headers_kind, record->headers[i].value, out, why)) return false;
            if (i + 1 < record->header_count) put(format->headers_separator, out);
        }
        part_end(format, after_headers, out);
    }
    if (format->key) {
        if (!put_as(format, format->key_kind, record->key, out, why)) return false;
        part_end(format, format->value, out);
    }
    if (format->value) {
        if (!put_as(format, format->value_kind, record->value, out, why)) return false;
        put(format->line_separator, out);
    }
    return true;
}
