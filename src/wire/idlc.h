/* wire/idlc.h - what the generator knows of the definitions, between reading (idlc.c) and writing (idlc_emit.c).
 *
 * A host program: it runs during the build, never in Moldau. What it allocates lives until it ends.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { IDL_VERSION_MAX = 31, IDL_DEPTH_MAX = 8, IDL_FIELDS_MAX = 64, IDL_STRUCTS_MAX = 32, IDL_MESSAGES_MAX = 512 };

enum idl_type {
    IDL_BOOL, IDL_INT8, IDL_INT16, IDL_UINT16, IDL_INT32, IDL_UINT32, IDL_INT64, IDL_DOUBLE, IDL_UUID,
    IDL_STRING, IDL_BYTES, IDL_RECORDS, IDL_STRUCT, IDL_TYPES
};
struct idl_type_info { const char *name, *c_type, *table; uint32_t bytes; /* on the wire; 0: varies */ };
extern const struct idl_type_info idl_types[IDL_TYPES];

struct idl_range { int low, high; }; /* empty: low > high */

enum idl_default { IDL_DEFAULT_NONE, IDL_DEFAULT_NULL, IDL_DEFAULT_NUMBER };

struct idl_field {
    const char *name, *c_name;
    const char *file; int line;
    enum idl_type type;             /* of the field, or of an array's elements */
    bool is_array;
    const char *struct_name;        /* IDL_STRUCT: as written      */
    struct idl_struct *of;          /* IDL_STRUCT: once resolved   */
    struct idl_range versions, nullable;
    int tag;                        /* -1: none */
    enum idl_default default_kind;
    const char *default_text;
    bool is_ignorable, is_key, is_noncompact, is_secret, is_setting;
};

struct idl_struct {
    const char *name, *c_name;      /* the name inside of its message; the whole name in C */
    const char *file; int line;
    struct idl_field fields[IDL_FIELDS_MAX];
    int field_count;
    int state;                      /* 0: not visited, 1: being visited, 2: in order */
};

enum idl_kind {
    IDL_REQUEST, IDL_RESPONSE, IDL_HEADER, IDL_DATA, IDL_METADATA, IDL_REMOTE,
    IDL_GROUP_KEY, IDL_GROUP_VALUE, IDL_TRANSACTION_KEY, IDL_TRANSACTION_VALUE, IDL_SHARE_KEY, IDL_SHARE_VALUE, IDL_KINDS
};

struct idl_message {
    enum idl_kind kind;
    int key;
    const char *name, *c_name, *family;
    const char *file; int line;
    int low, high, flexible;        /* flexible: first such version; IDL_VERSION_MAX + 1: none */
    struct idl_struct *body;
    struct idl_struct *structs[IDL_STRUCTS_MAX]; /* all but the body, then (after checking) in the order of need */
    int struct_count;
};

struct idl_api {
    int key;
    const char *name, *c_name;
    bool is_reserved, is_unstable, on_broker, on_controller;
    int low, high, advertised_low;
    struct idl_message *request, *response;
    const char *file; int line;
};

struct idl_error { int code; const char *name; bool is_retriable; const char *file; int line; };

struct idl {
    struct idl_message *messages[IDL_MESSAGES_MAX];
    int message_count;
    struct idl_api *apis[128];      /* by key */
    int api_count;                  /* highest key + 1 */
    struct idl_error errors[256];
    int error_count;
};

/* Where errors are written, as FILE:LINE: error: ...; NULL: stderr. */
extern FILE *idl_reports;
/* Adds what a file defines; `path` names it in errors, and its family. False: there were errors. */
bool idl_read(struct idl *idl, const char *path, FILE *in);
/* Once all files are read: holds everything against the rules, and finds the order that C needs. False: there were errors. */
bool idl_check(struct idl *idl);

void *idl_alloc(size_t bytes);                  /* zeroed; ends the program when there is none */
char *idl_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* TopicId -> topic_id, KRaftVersion -> kraft_version; `upper` for enum names. */
char *idl_snake(const char *name, bool upper);
/* The bytes a struct takes at least in a version: what a decoder holds counts against. */
uint32_t idl_struct_bytes_min(const struct idl_struct *of, const struct idl_message *message, int version);

void idl_emit_api_h(const struct idl *idl, FILE *out);
void idl_emit_api_c(const struct idl *idl, FILE *out);
void idl_emit_records_h(const struct idl *idl, FILE *out);
void idl_emit_records_c(const struct idl *idl, FILE *out);
void idl_emit_errors_h(const struct idl *idl, FILE *out);
void idl_emit_errors_c(const struct idl *idl, FILE *out);
void idl_emit_dictionary(const struct idl *idl, FILE *out);
