/* wire/idlc.c - reads the definitions of messages (wire/idl) and holds them against the rules: the front half of the
 * generator.
 *
 * A file is lines; `#` starts a comment, the depth of a line is its indentation. At depth 0 stand
 *   api KEY NAME versions A-B [flexible C+] on broker|controller... [unstable] [advertised A-B]  or  api KEY NAME reserved
 *   request, response                     of the api before
 *   header NAME | data NAME | metadata TYPE NAME | remote TYPE NAME | group|transaction|share key|value TYPE NAME
 *                                         each followed by versions A-B [flexible C+]
 *   error CODE NAME [retriable]
 * and below a message its fields, as wire/idl/produce.idl explains, and `struct NAME` with fields of its own.
 */
#include "wire/idlc.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const struct idl_type_info idl_types[IDL_TYPES] = {
    [IDL_BOOL] = {"bool", "bool", "WIRE_BOOL", 1},
    [IDL_INT8] = {"int8", "int8_t", "WIRE_INT8", 1},
    [IDL_INT16] = {"int16", "int16_t", "WIRE_INT16", 2},
    [IDL_UINT16] = {"uint16", "uint16_t", "WIRE_UINT16", 2},
    [IDL_INT32] = {"int32", "int32_t", "WIRE_INT32", 4},
    [IDL_UINT32] = {"uint32", "uint32_t", "WIRE_UINT32", 4},
    [IDL_INT64] = {"int64", "int64_t", "WIRE_INT64", 8},
    [IDL_DOUBLE] = {"double", "double", "WIRE_DOUBLE", 8},
    [IDL_UUID] = {"uuid", "struct uuid", "WIRE_UUID", 16},
    [IDL_STRING] = {"string", "struct span", "WIRE_STRING", 0},
    [IDL_BYTES] = {"bytes", "struct span", "WIRE_BYTES", 0},
    [IDL_RECORDS] = {"records", "struct wire_records", "WIRE_RECORDS", 0},
    [IDL_STRUCT] = {NULL, NULL, "WIRE_STRUCT", 0},
};

FILE *idl_reports;
static int wrong_count;

static void wrong(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void wrong(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    FILE *out = idl_reports ? idl_reports : stderr;
    fprintf(out, "%s:%d: error: ", file, line);
    vfprintf(out, format, arguments);
    fputc('\n', out);
    va_end(arguments);
    wrong_count++;
}

/* Everything lives until the program ends, and hangs in one list, so that a sanitizer sees nothing lost. */
struct block { struct block *next; _Alignas(16) char bytes[]; };
static struct block *blocks;

void *idl_alloc(size_t bytes) {
    struct block *block = calloc(1, sizeof *block + bytes);
    if (!block) {
        fprintf(stderr, "idlc: no memory\n");
        exit(1);
    }
    block->next = blocks;
    blocks = block;
    return block->bytes;
}

char *idl_format(const char *format, ...) {
    va_list arguments;
    char buffer[512];
    va_start(arguments, format);
    int size = vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof buffer) {
        fprintf(stderr, "idlc: a name is too long: %s\n", buffer);
        exit(1);
    }
    return strcpy(idl_alloc((size_t)size + 1), buffer);
}

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static char to_lower(char c) { return is_upper(c) ? (char)(c + 32) : c; }
static char to_upper(char c) { return is_lower(c) ? (char)(c - 32) : c; }

char *idl_snake(const char *name, bool upper) {
    char *text = idl_alloc(strlen(name) * 2 + 1), *at = text;
    for (const char *c = name; *c; c++) {
        bool in_kraft = c > name && !strncmp(c - 1, "KRaft", 5); /* one word, whatever its letters say */
        bool starts = is_upper(*c) && c > name && !in_kraft && c[-1] != '_' && (!is_upper(c[-1]) || is_lower(c[1]));
        if (starts) *at++ = '_';
        *at++ = upper ? to_upper(*c) : to_lower(*c);
    }
    return text;
}

/* A name in C: snake case, and an underscore behind what the language has taken. */
static char *c_name_of(const char *name) {
    static const char *const taken[] = {"auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double",
        "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return",
        "short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
        "assert", "never", "errno", NULL};
    char *text = idl_snake(name, false);
    for (int i = 0; taken[i]; i++)
        if (!strcmp(text, taken[i])) return idl_format("%s_", text);
    return text;
}

/* ---- one line, as words */
enum { WORDS_MAX = 24 };
struct line {
    const char *file; int number;
    int depth;
    char *words[WORDS_MAX + 1];
    int count, at;
};

static const char *next_word(struct line *line) { return line->at < line->count ? line->words[line->at++] : NULL; }
static bool take_word(struct line *line, const char *word) {
    if (line->at >= line->count || strcmp(line->words[line->at], word)) return false;
    line->at++;
    return true;
}

static bool parse_number(const char *text, long low, long high, int *out) {
    char *end;
    if (!text || !*text) return false;
    long value = strtol(text, &end, 10);
    if (*end || value < low || value > high) return false;
    *out = (int)value;
    return true;
}

/* "3", "3-7" or "3+". */
static bool parse_range(const char *text, struct idl_range *out) {
    char *end;
    if (!text || !is_digit(*text)) return false;
    long low = strtol(text, &end, 10), high = low;
    if (*end == '+' && !end[1]) high = IDL_VERSION_MAX;
    else if (*end == '-' && is_digit(end[1])) {
        high = strtol(end + 1, &end, 10);
        if (*end) return false;
    } else if (*end) return false;
    if (low > high || high > IDL_VERSION_MAX) return false;
    *out = (struct idl_range){(int)low, (int)high};
    return true;
}

static bool is_name(const char *text) {
    if (!text || !(is_upper(*text) || is_lower(*text))) return false;
    for (; *text; text++)
        if (!is_upper(*text) && !is_lower(*text) && !is_digit(*text) && *text != '_') return false;
    return true;
}

/* ---- reading */
struct reader {
    struct idl *idl;
    const char *family;
    struct idl_api *api;
    struct idl_message *message;
    struct idl_struct *open[IDL_DEPTH_MAX + 1]; /* open[d]: the struct that fields of depth d belong to */
};

static struct idl_struct *struct_new(const struct line *line, const char *name, const char *c_name) {
    struct idl_struct *of = idl_alloc(sizeof *of);
    *of = (struct idl_struct){.name = name, .c_name = c_name, .file = line->file, .line = line->number};
    return of;
}

static struct idl_struct *struct_add(struct reader *reader, const struct line *line, const char *name) {
    struct idl_message *message = reader->message;
    for (int i = 0; i < message->struct_count; i++)
        if (!strcmp(message->structs[i]->name, name)) wrong(line->file, line->number, "struct %s is defined twice in %s", name, message->name);
    struct idl_struct *of = struct_new(line, name, idl_format("%s_%s", message->c_name, idl_snake(name, false)));
    if (message->struct_count == IDL_STRUCTS_MAX) wrong(line->file, line->number, "more than %d structs in a message", IDL_STRUCTS_MAX);
    else message->structs[message->struct_count++] = of;
    return of;
}

static void open_message(struct reader *reader, const struct line *line, enum idl_kind kind, int key, const char *name, struct idl_range versions, int flexible) {
    struct idl_message *message = idl_alloc(sizeof *message);
    *message = (struct idl_message){.kind = kind, .key = key, .name = name, .c_name = idl_snake(name, false), .family = reader->family,
        .file = line->file, .line = line->number, .low = versions.low, .high = versions.high, .flexible = flexible};
    reader->message = message;
    message->body = struct_new(line, name, message->c_name);
    memset(reader->open, 0, sizeof reader->open);
    reader->open[1] = message->body;
    if (reader->idl->message_count == IDL_MESSAGES_MAX) wrong(line->file, line->number, "more than %d messages", IDL_MESSAGES_MAX);
    else reader->idl->messages[reader->idl->message_count++] = message;
    for (int i = 0; i + 1 < reader->idl->message_count; i++)
        if (!strcmp(reader->idl->messages[i]->name, name)) wrong(line->file, line->number, "message %s is defined twice", name);
}

/* "versions A-B [flexible C+]" */
static bool read_versions(struct line *line, struct idl_range *versions, int *flexible) {
    struct idl_range range;
    *flexible = IDL_VERSION_MAX + 1;
    if (!take_word(line, "versions") || !parse_range(next_word(line), versions)) return false;
    if (take_word(line, "flexible")) {
        if (!parse_range(next_word(line), &range)) return false;
        *flexible = range.low;
    }
    return true;
}

static void read_api(struct reader *reader, struct line *line) {
    int key, flexible;
    struct idl_range versions, advertised;
    if (!parse_number(next_word(line), 0, 127, &key)) { wrong(line->file, line->number, "an api begins with its key"); return; }
    const char *name = next_word(line);
    if (!is_name(name)) { wrong(line->file, line->number, "an api has a name"); return; }
    struct idl_api *api = idl_alloc(sizeof *api);
    *api = (struct idl_api){.key = key, .name = name, .c_name = idl_snake(name, false), .file = line->file, .line = line->number, .high = -1};
    if (reader->idl->apis[key]) wrong(line->file, line->number, "key %d is %s already", key, reader->idl->apis[key]->name);
    reader->idl->apis[key] = reader->api = api;
    if (key >= reader->idl->api_count) reader->idl->api_count = key + 1;
    reader->message = NULL;
    memset(reader->open, 0, sizeof reader->open);
    if (take_word(line, "reserved")) { api->is_reserved = true; return; }
    if (!read_versions(line, &versions, &flexible)) { wrong(line->file, line->number, "expected: versions A-B [flexible C+]"); return; }
    api->low = api->advertised_low = versions.low;
    api->high = versions.high;
    api->request = idl_alloc(sizeof *api->request); /* only carries the first flexible version until `request` is read */
    api->request->flexible = flexible;
    if (!take_word(line, "on")) wrong(line->file, line->number, "expected: on broker, on controller or on both");
    for (;;) {
        if (take_word(line, "broker")) api->on_broker = true;
        else if (take_word(line, "controller")) api->on_controller = true;
        else if (take_word(line, "unstable")) api->is_unstable = true;
        else if (take_word(line, "advertised") && parse_range(next_word(line), &advertised)) api->advertised_low = advertised.low;
        else break;
    }
    if (!api->on_broker && !api->on_controller) wrong(line->file, line->number, "%s is served nowhere", name);
}

static void read_side(struct reader *reader, struct line *line, bool is_request) {
    struct idl_api *api = reader->api;
    if (!api || api->is_reserved || !api->request) { wrong(line->file, line->number, "%s without an api before it", line->words[0]); return; }
    struct idl_message *before = is_request ? NULL : api->response;
    if (before || (is_request && api->request->name)) wrong(line->file, line->number, "%s has a second %s", api->name, line->words[0]);
    open_message(reader, line, is_request ? IDL_REQUEST : IDL_RESPONSE, api->key, idl_format("%s%s", api->name, is_request ? "Request" : "Response"),
                 (struct idl_range){api->low, api->high}, api->request->flexible);
    if (is_request) api->request = reader->message;
    else api->response = reader->message;
}

static void read_log_message(struct reader *reader, struct line *line, enum idl_kind kind, bool has_key) {
    int key = -1, flexible;
    struct idl_range versions;
    if (has_key && !parse_number(next_word(line), 0, 127, &key)) { wrong(line->file, line->number, "a record begins with its type"); return; }
    const char *name = next_word(line);
    if (!is_name(name) || !read_versions(line, &versions, &flexible)) { wrong(line->file, line->number, "expected: NAME versions A-B [flexible C+]"); return; }
    for (int i = 0; has_key && i < reader->idl->message_count; i++)
        if (reader->idl->messages[i]->kind == kind && reader->idl->messages[i]->key == key)
            wrong(line->file, line->number, "type %d is %s already", key, reader->idl->messages[i]->name);
    reader->api = NULL;
    open_message(reader, line, kind, key, name, versions, flexible);
}

static void read_error(struct reader *reader, struct line *line) {
    struct idl *idl = reader->idl;
    struct idl_error error = {.file = line->file, .line = line->number};
    if (!parse_number(next_word(line), -1, INT16_MAX, &error.code)) { wrong(line->file, line->number, "an error begins with its number"); return; }
    error.name = next_word(line);
    if (!is_name(error.name)) { wrong(line->file, line->number, "an error has a name"); return; }
    error.is_retriable = take_word(line, "retriable");
    if (idl->error_count && idl->errors[idl->error_count - 1].code + 1 != error.code)
        wrong(line->file, line->number, "error %d does not follow %d", error.code, idl->errors[idl->error_count - 1].code);
    if (idl->error_count == 256) wrong(line->file, line->number, "more than 256 errors");
    else idl->errors[idl->error_count++] = error;
}

static void read_top(struct reader *reader, struct line *line) {
    static const struct { const char *word; enum idl_kind kind; } records[] = {
        {"metadata", IDL_METADATA}, {"remote", IDL_REMOTE}, {"group", IDL_GROUP_KEY}, {"transaction", IDL_TRANSACTION_KEY}, {"share", IDL_SHARE_KEY}};
    const char *word = next_word(line);
    if (!strcmp(word, "api")) { read_api(reader, line); return; }
    if (!strcmp(word, "request")) { read_side(reader, line, true); return; }
    if (!strcmp(word, "response")) { read_side(reader, line, false); return; }
    if (!strcmp(word, "error")) { read_error(reader, line); return; }
    if (!strcmp(word, "header")) { read_log_message(reader, line, IDL_HEADER, false); return; }
    if (!strcmp(word, "data")) { read_log_message(reader, line, IDL_DATA, false); return; }
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        if (strcmp(word, records[i].word)) continue;
        enum idl_kind kind = records[i].kind;
        if (kind >= IDL_GROUP_KEY) { /* the value's kind follows the key's */
            if (take_word(line, "value")) kind++;
            else if (!take_word(line, "key")) { wrong(line->file, line->number, "expected: %s key or %s value", word, word); return; }
        }
        read_log_message(reader, line, kind, true);
        return;
    }
    wrong(line->file, line->number, "%s begins nothing", word);
    line->at = line->count;
}

static void read_attributes(struct line *line, struct idl_field *field) {
    for (;;) {
        if (take_word(line, "nullable")) {
            field->nullable = field->versions;
            if (line->at < line->count && is_digit(line->words[line->at][0]) && !parse_range(next_word(line), &field->nullable))
                wrong(line->file, line->number, "nullable in which versions?");
        } else if (take_word(line, "tag")) {
            if (!parse_number(next_word(line), 0, 254, &field->tag)) wrong(line->file, line->number, "a tag is a number below 255");
        } else if (take_word(line, "default")) {
            field->default_text = next_word(line);
            if (!field->default_text) wrong(line->file, line->number, "default what?");
            else field->default_kind = strcmp(field->default_text, "null") ? IDL_DEFAULT_NUMBER : IDL_DEFAULT_NULL;
        } else if (take_word(line, "ignorable")) field->is_ignorable = true;
        else if (take_word(line, "key")) field->is_key = true;
        else if (take_word(line, "noncompact")) field->is_noncompact = true;
        else if (take_word(line, "secret")) field->is_secret = true;
        else if (take_word(line, "setting")) field->is_setting = true;
        else return;
    }
}

static void read_field(struct reader *reader, struct line *line) {
    int depth = line->depth;
    if (!reader->message) { wrong(line->file, line->number, "a field outside of a message"); return; }
    if (depth > IDL_DEPTH_MAX - 1) { wrong(line->file, line->number, "structs nest deeper than %d", IDL_DEPTH_MAX - 1); return; }
    struct idl_struct *owner = reader->open[depth];
    if (!owner) { wrong(line->file, line->number, "indented below nothing that has fields"); return; }
    memset(reader->open + depth + 1, 0, sizeof reader->open - (size_t)(depth + 1) * sizeof reader->open[0]);
    if (!strcmp(line->words[0], "struct") && line->count == 2) {
        line->at = 2;
        reader->open[depth + 1] = struct_add(reader, line, line->words[1]);
        return;
    }
    if (owner->field_count == IDL_FIELDS_MAX) { wrong(line->file, line->number, "more than %d fields", IDL_FIELDS_MAX); return; }
    struct idl_field *field = &owner->fields[owner->field_count];
    *field = (struct idl_field){.file = line->file, .line = line->number, .tag = -1, .nullable = {1, 0}, .type = IDL_STRUCT};
    field->name = next_word(line);
    const char *type = next_word(line);
    if (!is_name(field->name) || !type) { wrong(line->file, line->number, "expected: NAME TYPE VERSIONS"); return; }
    field->c_name = c_name_of(field->name);
    if (!strncmp(type, "[]", 2)) { field->is_array = true; type += 2; }
    for (int i = 0; i < IDL_STRUCT; i++)
        if (!strcmp(type, idl_types[i].name)) field->type = (enum idl_type)i;
    if (field->type == IDL_STRUCT && (!is_name(type) || !is_upper(*type))) { wrong(line->file, line->number, "%s is no type", type); return; }
    if (!parse_range(next_word(line), &field->versions)) { wrong(line->file, line->number, "%s: expected versions, as 3, 3-7 or 3+", field->name); return; }
    read_attributes(line, field);
    owner->field_count++;
    if (field->type == IDL_STRUCT) {
        field->struct_name = type;
        /* Fields below this line define the struct; without any, it must be defined elsewhere in the message. */
        reader->open[depth + 1] = NULL;
    }
}

/* The struct that a field's own indented lines define is made when the first of them is met. */
static void open_struct_of_field(struct reader *reader, struct line *line) {
    struct idl_struct *owner = line->depth > 0 && line->depth <= IDL_DEPTH_MAX ? reader->open[line->depth - 1] : NULL;
    if (!owner || reader->open[line->depth] || owner->field_count == 0) return;
    struct idl_field *field = &owner->fields[owner->field_count - 1];
    if (field->type == IDL_STRUCT) reader->open[line->depth] = struct_add(reader, line, field->struct_name);
}

static void read_line(struct reader *reader, struct line *line) {
    int wrong_before = wrong_count;
    if (line->depth == 0) read_top(reader, line);
    else {
        open_struct_of_field(reader, line);
        read_field(reader, line);
    }
    if (line->at < line->count && wrong_count == wrong_before) wrong(line->file, line->number, "%s: not understood", line->words[line->at]);
}

bool idl_read(struct idl *idl, const char *path, FILE *in) {
    int wrong_before = wrong_count;
    const char *slash = strrchr(path, '/');
    char *family = idl_format("%s", slash ? slash + 1 : path);
    family[strcspn(family, ".")] = 0;
    struct reader reader = {.idl = idl, .family = family};
    char buffer[1024];
    for (int number = 1; fgets(buffer, sizeof buffer, in); number++) {
        struct line line = {.file = path, .number = number};
        size_t size = strlen(buffer);
        if (size && buffer[size - 1] != '\n' && !feof(in)) { wrong(path, number, "the line is too long"); break; }
        buffer[strcspn(buffer, "#\r\n")] = 0;
        size_t spaces = strspn(buffer, " ");
        if (!buffer[spaces]) continue;
        if (strchr(buffer, '\t')) wrong(path, number, "a tab: indentation is two spaces a level");
        if (spaces % 2) wrong(path, number, "indentation is two spaces a level");
        line.depth = (int)spaces / 2;
        char *copy = idl_format("%s", buffer), *rest = copy;
        for (char *word; (word = strtok_r(rest, " ", &rest));) {
            if (line.count == WORDS_MAX) { wrong(path, number, "more than %d words", WORDS_MAX); break; }
            line.words[line.count++] = word;
        }
        read_line(&reader, &line);
    }
    return wrong_count == wrong_before;
}

/* ---- checking: what the tables and the codec rely on */
static struct idl_struct *find_struct(const struct idl_message *message, const char *name) {
    for (int i = 0; i < message->struct_count; i++)
        if (!strcmp(message->structs[i]->name, name)) return message->structs[i];
    return NULL;
}

static void check_default(const struct idl_field *field) {
    char *end;
    if (field->default_kind == IDL_DEFAULT_NONE) return;
    if (field->default_kind == IDL_DEFAULT_NULL) {
        if (field->nullable.low > field->nullable.high) wrong(field->file, field->line, "%s: null by default, and not nullable", field->name);
        return;
    }
    if (field->is_array || field->type > IDL_DOUBLE) { wrong(field->file, field->line, "%s: only numbers have such a default", field->name); return; }
    if (field->type == IDL_BOOL) {
        if (strcmp(field->default_text, "true")) wrong(field->file, field->line, "%s: a bool's default is true, or not said", field->name);
        return;
    }
    long long value = strtoll(field->default_text, &end, 10);
    unsigned bits = idl_types[field->type].bytes * 8;
    bool is_unsigned = field->type == IDL_UINT16 || field->type == IDL_UINT32;
    long long high = bits == 64 ? INT64_MAX : (1LL << (bits - !is_unsigned)) - 1, low = is_unsigned ? 0 : -high - 1;
    if (*end || value < low || value > high) wrong(field->file, field->line, "%s: default %s does not fit", field->name, field->default_text);
}

static bool has_name(const struct idl_struct *of) {
    for (int i = 0; i < of->field_count; i++)
        if (of->fields[i].type == IDL_STRING && !of->fields[i].is_array && of->fields[i].tag < 0 && !strcmp(of->fields[i].name, "Name")) return true;
    return false;
}

static void check_struct(struct idl_message *message, struct idl_struct *of) {
    int tags = 0;
    uint64_t tags_seen = 0; /* bit by tag */
    for (int i = 0; i < of->field_count; i++) {
        struct idl_field *field = &of->fields[i];
        if (field->versions.high > message->high) field->versions.high = message->high; /* "3+" ends with the message */
        if (field->nullable.high > message->high) field->nullable.high = message->high;
        for (int k = 0; k < i; k++)
            if (!strcmp(of->fields[k].c_name, field->c_name)) wrong(field->file, field->line, "%s is there twice", field->name);
        if (field->is_array && field->type == IDL_RECORDS) wrong(field->file, field->line, "%s: no arrays of records", field->name);
        if (field->is_noncompact && field->type != IDL_STRING) wrong(field->file, field->line, "%s: only a string can keep the old form", field->name);
        if (field->is_setting && !has_name(of)) wrong(field->file, field->line, "%s: a setting, and no string Name beside it", field->name);
        if (field->nullable.low <= field->nullable.high && !field->is_array && field->type < IDL_STRING)
            wrong(field->file, field->line, "%s: a %s cannot be null", field->name, idl_types[field->type].name);
        if (field->tag >= 0) {
            if (field->versions.low < message->flexible) wrong(field->file, field->line, "%s: tagged before the message is flexible", field->name);
            if (field->tag >= IDL_FIELDS_MAX || tags_seen >> field->tag & 1) wrong(field->file, field->line, "%s: tag %d is taken", field->name, field->tag);
            else tags_seen |= (uint64_t)1 << field->tag;
            tags++;
        }
        check_default(field);
        if (field->type == IDL_STRUCT && !(field->of = find_struct(message, field->struct_name)))
            wrong(field->file, field->line, "%s: %s is neither defined here nor elsewhere in %s", field->name, field->struct_name, message->name);
    }
    if (tags_seen & (tags_seen + 1)) wrong(of->file, of->line, "the tags of %s are not 0 to %d", of->name, tags - 1); /* the decoder indexes by tag */
}

/* Puts what a struct needs before it, and finds a struct that needs itself. */
static void order_struct(struct idl_struct *of, struct idl_struct **ordered, int *count, int depth) {
    if (of->state == 2) return;
    if (of->state == 1 || depth > IDL_DEPTH_MAX) { wrong(of->file, of->line, "struct %s contains itself", of->name); return; }
    of->state = 1;
    for (int i = 0; i < of->field_count; i++)
        if (of->fields[i].of) order_struct(of->fields[i].of, ordered, count, depth + 1);
    of->state = 2;
    ordered[(*count)++] = of;
}

static void check_message(struct idl_message *message) {
    struct idl_struct *ordered[IDL_STRUCTS_MAX + 1];
    int count = 0, wrong_before = wrong_count;
    check_struct(message, message->body);
    for (int i = 0; i < message->struct_count; i++) check_struct(message, message->structs[i]);
    if (wrong_count != wrong_before) return;
    order_struct(message->body, ordered, &count, 0);
    if (wrong_count != wrong_before) return;
    if (count != message->struct_count + 1)
        for (int i = 0; i < message->struct_count; i++)
            if (message->structs[i]->state != 2) wrong(message->structs[i]->file, message->structs[i]->line, "nothing uses struct %s", message->structs[i]->name);
    memcpy(message->structs, ordered, (size_t)(count - 1) * sizeof ordered[0]);
}

bool idl_check(struct idl *idl) {
    int wrong_before = wrong_count;
    for (int i = 0; i < idl->message_count; i++) check_message(idl->messages[i]);
    for (int key = 0; key < idl->api_count; key++) {
        struct idl_api *api = idl->apis[key];
        if (!api) wrong(idl->apis[idl->api_count - 1]->file, idl->apis[idl->api_count - 1]->line, "no api has key %d", key);
        else if (!api->is_reserved && (!api->response || !api->request || !api->request->name))
            wrong(api->file, api->line, "%s lacks its request or its response", api->name);
    }
    return wrong_count == wrong_before;
}

uint32_t idl_struct_bytes_min(const struct idl_struct *of, const struct idl_message *message, int version) {
    bool flexible = version >= message->flexible;
    uint32_t bytes = flexible ? 1 : 0; /* the count of tagged fields */
    for (int i = 0; i < of->field_count; i++) {
        const struct idl_field *field = &of->fields[i];
        if (version < field->versions.low || version > field->versions.high || field->tag >= 0) continue;
        bool nullable = version >= field->nullable.low && version <= field->nullable.high;
        if (field->is_array) bytes += flexible ? 1 : 4;
        else if (field->type == IDL_STRUCT) bytes += nullable ? 1 : idl_struct_bytes_min(field->of, message, version);
        else if (field->type == IDL_STRING) bytes += flexible && !field->is_noncompact ? 1 : 2;
        else if (field->type == IDL_BYTES || field->type == IDL_RECORDS) bytes += flexible ? 1 : 4;
        else bytes += idl_types[field->type].bytes;
    }
    return bytes;
}
