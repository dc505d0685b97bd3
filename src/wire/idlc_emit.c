/* wire/idlc_emit.c - writes the C of the definitions: structs, field tables, defaults, lists. The back half of the generator.
 *
 * The shape of what it writes is explained in wire/codec.h.
 */
#include "wire/idlc.h"
#include <string.h>

static const char *const kinds[IDL_KINDS] = {"WIRE_REQUEST", "WIRE_RESPONSE", "WIRE_HEADER", "WIRE_DATA", "WIRE_METADATA", "WIRE_REMOTE",
    "WIRE_GROUP_KEY", "WIRE_GROUP_VALUE", "WIRE_TRANSACTION_KEY", "WIRE_TRANSACTION_VALUE", "WIRE_SHARE_KEY", "WIRE_SHARE_VALUE"};

static bool is_api(const struct idl_message *message) { return message->kind <= IDL_HEADER; }
static bool is_nullable(const struct idl_field *field) { return field->nullable.low <= field->nullable.high; }
static bool is_pointer(const struct idl_field *field) { return field->type == IDL_STRUCT && !field->is_array && is_nullable(field); }

static uint32_t mask_of(struct idl_range range) {
    uint32_t mask = 0;
    for (int version = range.low; version <= range.high; version++) mask |= UINT32_C(1) << version;
    return mask;
}

static char *c_type_of(const struct idl_field *field) {
    return field->type == IDL_STRUCT ? idl_format("struct %s", field->of->c_name) : idl_format("%s", idl_types[field->type].c_type);
}

/* What a reader of the struct wants to know of the field: "3+ nullable tag 0". */
static void emit_field_note(const struct idl_message *message, const struct idl_field *field, FILE *out) {
    fprintf(out, " /* %d", field->versions.low);
    if (field->versions.high == message->high) fputc('+', out);
    else if (field->versions.high > field->versions.low) fprintf(out, "-%d", field->versions.high);
    if (is_nullable(field)) {
        fprintf(out, ", null");
        if (field->nullable.low > field->versions.low) fprintf(out, " from %d", field->nullable.low);
        fprintf(out, " allowed");
    }
    if (field->tag >= 0) fprintf(out, ", tag %d", field->tag);
    if (field->default_kind != IDL_DEFAULT_NONE) fprintf(out, ", default %s", field->default_text);
    fprintf(out, " */\n");
}

static void emit_struct(const struct idl_message *message, const struct idl_struct *of, FILE *out) {
    fprintf(out, "struct %s {\n", of->c_name);
    for (int i = 0; i < of->field_count; i++) {
        const struct idl_field *field = &of->fields[i];
        bool star = field->is_array || is_pointer(field);
        fprintf(out, "    %s %s%s;", c_type_of(field), star ? "*" : "", field->c_name);
        if (field->is_array) fprintf(out, " int32_t %s_count;", field->c_name);
        emit_field_note(message, field, out);
    }
    if (of->field_count == 0) fprintf(out, "    char nothing;\n");
    fprintf(out, "};\n");
}

/* The n-th field in the order of the table: plain ones as they stand, then tagged ones by tag. */
static const struct idl_field *table_field(const struct idl_struct *of, int n) {
    int plain = 0;
    for (int i = 0; i < of->field_count; i++) {
        if (of->fields[i].tag >= 0) continue;
        if (plain++ == n) return &of->fields[i];
    }
    for (int i = 0; i < of->field_count; i++)
        if (of->fields[i].tag == n - plain) return &of->fields[i];
    return NULL;
}

static void emit_defaults(const struct idl_struct *of, FILE *out, int depth) {
    fprintf(out, "{\n");
    for (int i = 0; i < of->field_count; i++) {
        const struct idl_field *field = &of->fields[i];
        bool is_null = field->default_kind == IDL_DEFAULT_NULL;
        fprintf(out, "%*s.%s = ", depth * 4 + 4, "", field->c_name);
        if (field->is_array) fprintf(out, "NULL, .%s_count = %d", field->c_name, is_null ? -1 : 0);
        else if (is_pointer(field) && is_null) fprintf(out, "NULL");
        else if (is_pointer(field)) fprintf(out, "(struct %s *)(uintptr_t)&%s_defaults", field->of->c_name, field->of->c_name);
        else if (field->type == IDL_STRUCT) emit_defaults(field->of, out, depth + 1);
        else if (field->type == IDL_STRING || field->type == IDL_BYTES) fprintf(out, is_null ? "{NULL, 0}" : "{empty, 0}");
        else if (field->type == IDL_RECORDS) fprintf(out, is_nullable(field) ? "{{NULL, 0}, NULL}" : "{{empty, 0}, NULL}");
        else if (field->type == IDL_UUID) fprintf(out, "{{0}}");
        else if (field->type == IDL_BOOL) fprintf(out, field->default_kind == IDL_DEFAULT_NONE ? "false" : "true");
        else if (field->default_kind == IDL_DEFAULT_NONE) fprintf(out, "0");
        else if (!strcmp(field->default_text, "-9223372036854775808")) fprintf(out, "INT64_MIN");
        else if (field->type == IDL_INT64) fprintf(out, "INT64_C(%s)", field->default_text);
        else if (!strcmp(field->default_text, "-2147483648")) fprintf(out, "INT32_MIN");
        else fprintf(out, "%s", field->default_text);
        fprintf(out, ",\n");
    }
    if (of->field_count == 0) fprintf(out, "%*s.nothing = 0,\n", depth * 4 + 4, "");
    fprintf(out, "%*s}", depth * 4, "");
}

static void emit_field(const struct idl_struct *of, const struct idl_field *field, FILE *out) {
    const char *type = idl_types[field->type].table;
    fprintf(out, "    {\"%s\", ", field->name);
    if (field->of) fprintf(out, "&%s_struct, ", field->of->c_name);
    else fprintf(out, "NULL, ");
    fprintf(out, "0x%x, 0x%x, offsetof(struct %s, %s), ", mask_of(field->versions), mask_of(field->nullable), of->c_name, field->c_name);
    fprintf(out, "%s, %s, ", field->is_array ? "WIRE_ARRAY" : is_pointer(field) ? "WIRE_STRUCT_POINTER" : type, field->is_array ? type : "0");
    fprintf(out, "%s%s%s%s%s0, %d},\n", field->is_ignorable ? "WIRE_IGNORABLE | " : "", field->is_key ? "WIRE_KEY | " : "",
            field->is_noncompact ? "WIRE_NONCOMPACT | " : "", field->is_secret ? "WIRE_SECRET | " : "", field->is_setting ? "WIRE_SETTING | " : "",
            field->tag < 0 ? 0 : field->tag);
}

static void emit_table(const struct idl_message *message, const struct idl_struct *of, FILE *out) {
    uint32_t complete = mask_of((struct idl_range){message->low, message->high});
    int tagged = 0;
    for (int i = 0; i < of->field_count; i++) {
        complete &= mask_of(of->fields[i].versions);
        if (of->fields[i].tag >= 0) { tagged++; complete = 0; }
        /* An embedded struct is only as complete as its own fields. */
        if (of->fields[i].type == IDL_STRUCT && !of->fields[i].is_array) complete = 0;
    }
    if (of->field_count == 0) complete = 0;
    fprintf(out, "\nstatic const struct %s %s_defaults = ", of->c_name, of->c_name);
    emit_defaults(of, out, 0);
    fprintf(out, ";\n");
    if (of->field_count) {
        fprintf(out, "static const struct wire_field %s_fields[] = {\n", of->c_name);
        for (int i = 0; i < of->field_count; i++) emit_field(of, table_field(of, i), out);
        fprintf(out, "};\n");
        /* The codec finds an array's count right behind its pointer. */
        for (int i = 0; i < of->field_count; i++)
            if (of->fields[i].is_array)
                fprintf(out, "static_assert(offsetof(struct %s, %s_count) == offsetof(struct %s, %s) + sizeof(void *), \"count behind pointer\");\n",
                        of->c_name, of->fields[i].c_name, of->c_name, of->fields[i].c_name);
    } else fprintf(out, "static const struct wire_field %s_fields[1];\n", of->c_name); /* none, but somewhere: walks do sums with it */
    fprintf(out, "static const uint16_t %s_bytes_min[] = {", of->c_name);
    for (int version = 0; version <= message->high; version++) fprintf(out, "%s%u", version ? ", " : "", idl_struct_bytes_min(of, message, version));
    fprintf(out, "};\nconst struct wire_struct %s_struct = {\"%s\", %s_fields, %d, %d, sizeof(struct %s), 0x%x, &%s_defaults, %s_bytes_min};\n", of->c_name, of->name,
            of->c_name, of->field_count - tagged, tagged, of->c_name, complete, of->c_name, of->c_name);
}

static void emit_message_h(const struct idl_message *message, FILE *out) {
    fprintf(out, "\n/* ---- %s, versions %d-%d", message->name, message->low, message->high);
    if (message->flexible <= message->high) fprintf(out, ", flexible from %d", message->flexible);
    fprintf(out, " */\n");
    for (int i = 0; i < message->struct_count; i++) emit_struct(message, message->structs[i], out);
    emit_struct(message, message->body, out);
    for (int i = 0; i < message->struct_count; i++) fprintf(out, "WIRE_STRUCT_FUNCTIONS(%s)\n", message->structs[i]->c_name);
    fprintf(out, "WIRE_MESSAGE_FUNCTIONS(%s)\n", message->c_name);
}

static void emit_message_c(const struct idl_message *message, FILE *out) {
    for (int i = 0; i < message->struct_count; i++) emit_table(message, message->structs[i], out);
    emit_table(message, message->body, out);
    fprintf(out, "const struct wire_message %s_message = {\"%s\", \"%s\", %s, %d, %d, %d, %d, &%s_struct};\n", message->c_name, message->name,
            message->family, kinds[message->kind], message->key, message->low, message->high, message->flexible, message->c_name);
}

static void emit_list(const struct idl *idl, bool apis, FILE *out) {
    fprintf(out, "\nconst struct wire_message *const wire_%s_messages[] = {\n", apis ? "api" : "record");
    for (int i = 0; i < idl->message_count; i++)
        if (is_api(idl->messages[i]) == apis) fprintf(out, "    &%s_message,\n", idl->messages[i]->c_name);
    fprintf(out, "};\nconst uint32_t wire_%s_messages_count = countof(wire_%s_messages);\n", apis ? "api" : "record", apis ? "api" : "record");
}

void idl_emit_api_h(const struct idl *idl, FILE *out) {
    fprintf(out, "/* wire/api.h - requests, responses and their headers. Generated from wire/idl by wire/idlc.c: see wire/codec.h. */\n"
                 "#pragma once\n#include \"wire/codec.h\"\n#include \"base/units.h\"\n\nenum api_key {\n");
    for (int key = 0; key < idl->api_count; key++) fprintf(out, "    API_%s = %d,\n", idl_snake(idl->apis[key]->name, true), key);
    fprintf(out, "    API_COUNT = %d,\n};\n\n"
                 "extern const struct wire_api wire_apis[API_COUNT];\n"
                 "/* NULL: Kafka has given out no such key. */\n"
                 "static inline const struct wire_api *wire_api(int16_t key) {\n"
                 "    return key >= 0 && key < API_COUNT ? &wire_apis[key] : NULL;\n}\n"
                 "/* All of this file, for those who go through everything. */\n"
                 "extern const struct wire_message *const wire_api_messages[];\nextern const uint32_t wire_api_messages_count;\n", idl->api_count);
    for (int i = 0; i < idl->message_count; i++)
        if (is_api(idl->messages[i])) emit_message_h(idl->messages[i], out);
}

void idl_emit_api_c(const struct idl *idl, FILE *out) {
    fprintf(out, "/* Generated from wire/idl by wire/idlc.c. */\n#include \"wire/api.h\"\n\nstatic const uint8_t empty[1] __attribute__((unused));\n");
    for (int i = 0; i < idl->message_count; i++)
        if (is_api(idl->messages[i])) emit_message_c(idl->messages[i], out);
    fprintf(out, "\nconst struct wire_api wire_apis[API_COUNT] = {\n");
    for (int key = 0; key < idl->api_count; key++) {
        const struct idl_api *api = idl->apis[key];
        fprintf(out, "    {%d, \"%s\", %d, %d, %d, %s, %s, %s, ", key, api->name, api->low, api->high, api->advertised_low,
                api->is_unstable ? "true" : "false", api->on_broker ? "true" : "false", api->on_controller ? "true" : "false");
        if (api->is_reserved) fprintf(out, "NULL, NULL},\n");
        else fprintf(out, "&%s_message, &%s_message},\n", api->request->c_name, api->response->c_name);
    }
    fprintf(out, "};\n");
    emit_list(idl, true, out);
}

static const struct { enum idl_kind kind; const char *name, *what; } lookups[] = {
    {IDL_METADATA, "metadata", "the metadata log"}, {IDL_REMOTE, "remote", "the topic of remote segments"},
    {IDL_GROUP_KEY, "group_key", "__consumer_offsets"}, {IDL_GROUP_VALUE, "group_value", "__consumer_offsets"},
    {IDL_TRANSACTION_KEY, "transaction_key", "__transaction_state"}, {IDL_TRANSACTION_VALUE, "transaction_value", "__transaction_state"},
    {IDL_SHARE_KEY, "share_key", "__share_group_state"}, {IDL_SHARE_VALUE, "share_value", "__share_group_state"}};
enum { LOOKUPS = sizeof lookups / sizeof lookups[0] };

static const struct idl_message *find_record(const struct idl *idl, enum idl_kind kind, int key, int *count) {
    const struct idl_message *found = NULL;
    *count = 0;
    for (int i = 0; i < idl->message_count; i++) {
        if (idl->messages[i]->kind != kind) continue;
        if (idl->messages[i]->key >= *count) *count = idl->messages[i]->key + 1;
        if (idl->messages[i]->key == key) found = idl->messages[i];
    }
    return found;
}

void idl_emit_records_h(const struct idl *idl, FILE *out) {
    int count;
    fprintf(out, "/* wire/records.h - what stands in logs and small files: records of the metadata log, of coordinators' topics, of\n"
                 " * control batches. Generated from wire/idl by wire/idlc.c: see wire/codec.h and wire/record_frame.h. */\n"
                 "#pragma once\n#include \"wire/codec.h\"\n#include \"base/units.h\"\n");
    for (int k = 0; k < LOOKUPS; k++) {
        fprintf(out, "\n/* Types of %s. */\nenum wire_%s_type {\n", lookups[k].what, lookups[k].name);
        find_record(idl, lookups[k].kind, 0, &count);
        int end = count;
        for (int key = 0; key < end; key++) {
            const struct idl_message *message = find_record(idl, lookups[k].kind, key, &count);
            if (message) fprintf(out, "    %s_TYPE = %d,\n", idl_snake(message->name, true), key);
        }
        fprintf(out, "};\n/* By type; NULL where there is none. */\nextern const struct wire_message *const wire_%s_messages[%d];\n", lookups[k].name, end ? end : 1);
    }
    fprintf(out, "\n/* All of this file, for those who go through everything. */\n"
                 "extern const struct wire_message *const wire_record_messages[];\nextern const uint32_t wire_record_messages_count;\n");
    for (int i = 0; i < idl->message_count; i++)
        if (!is_api(idl->messages[i])) emit_message_h(idl->messages[i], out);
}

void idl_emit_records_c(const struct idl *idl, FILE *out) {
    int count;
    fprintf(out, "/* Generated from wire/idl by wire/idlc.c. */\n#include \"wire/records.h\"\n\nstatic const uint8_t empty[1] __attribute__((unused));\n");
    for (int i = 0; i < idl->message_count; i++)
        if (!is_api(idl->messages[i])) emit_message_c(idl->messages[i], out);
    for (int k = 0; k < LOOKUPS; k++) {
        find_record(idl, lookups[k].kind, 0, &count);
        int end = count;
        fprintf(out, "\nconst struct wire_message *const wire_%s_messages[%d] = {\n", lookups[k].name, end ? end : 1);
        for (int key = 0; key < end; key++) {
            const struct idl_message *message = find_record(idl, lookups[k].kind, key, &count);
            if (message) fprintf(out, "    [%d] = &%s_message,\n", key, message->c_name);
        }
        fprintf(out, "};\n");
    }
    emit_list(idl, false, out);
}

void idl_emit_errors_h(const struct idl *idl, FILE *out) {
    fprintf(out, "/* wire/errors.h - Kafka's error numbers. Generated from wire/idl/errors.idl. Moldau's own errors are base/err.h's. */\n"
                 "#pragma once\n#include \"base/units.h\"\n\nenum kafka_error {\n");
    for (int i = 0; i < idl->error_count; i++) fprintf(out, "    KAFKA_%s = %d,\n", idl->errors[i].name, idl->errors[i].code);
    fprintf(out, "};\n\n/* \"NOT_LEADER_OR_FOLLOWER\"; of a number that Kafka does not have: \"UNKNOWN\". */\nconst char *kafka_error_name(int16_t code);\n"
                 "/* The same request may succeed when sent again. */\nbool kafka_error_is_retriable(int16_t code);\n");
}

void idl_emit_errors_c(const struct idl *idl, FILE *out) {
    int low = idl->error_count ? idl->errors[0].code : 0, high = idl->error_count ? idl->errors[idl->error_count - 1].code : -1;
    fprintf(out, "/* Generated from wire/idl/errors.idl by wire/idlc.c. */\n#include \"wire/errors.h\"\n\n"
                 "static const struct { const char *name; bool is_retriable; } errors[] = {\n");
    for (int i = 0; i < idl->error_count; i++) fprintf(out, "    {\"%s\", %s},\n", idl->errors[i].name, idl->errors[i].is_retriable ? "true" : "false");
    fprintf(out, "};\n\nconst char *kafka_error_name(int16_t code) {\n    return code >= %d && code <= %d ? errors[code - (%d)].name : \"UNKNOWN\";\n}\n", low, high, low);
    fprintf(out, "\nbool kafka_error_is_retriable(int16_t code) {\n    return code >= %d && code <= %d && errors[code - (%d)].is_retriable;\n}\n", low, high, low);
}

/* Pieces that a fuzzer would take long to find: counts and lengths at their edges, and each key with each version. */
void idl_emit_dictionary(const struct idl *idl, FILE *out) {
    static const char *const edges[] = {"\\xff\\xff", "\\xff\\xff\\xff\\xff", "\\x7f\\xff\\xff\\xff", "\\x80\\x00\\x00\\x00", "\\xff\\xff\\xff\\xff\\x0f",
        "\\xff\\xff\\xff\\xff\\x07", "\\x80\\x01", "\\x00\\x00\\x00\\x00", "\\x00\\x00\\x00\\x01", "\\x01\\x00\\x00", "\\x7f", "\\x81\\x80\\x80\\x00"};
    fprintf(out, "# Generated from wire/idl by wire/idlc.c.\n");
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) fprintf(out, "\"%s\"\n", edges[i]);
    for (int i = 0; i < idl->message_count; i++)
        for (int version = idl->messages[i]->low; idl->messages[i]->key >= 0 && version <= idl->messages[i]->high; version++)
            fprintf(out, "\"\\x00\\x%02x\\x00\\x%02x\"\n", idl->messages[i]->key, version);
}
