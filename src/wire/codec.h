/* wire/codec.h - any message of Kafka's, in any of its versions, between a C struct and bytes.
 *
 * The generator makes a struct and a table of fields for each message (wire/api.h, wire/records.h); the functions here
 * walk the table. Each message has typed wrappers of them, by WIRE_MESSAGE below: produce_request_init, _decode, _encode,
 * _size, _equal; each struct inside of a message has _init and _array.
 *
 * Values: a string or bytes is a span, null when data is NULL; an empty one that is not null has data that is not NULL.
 * An array is a pointer and a count, null when the count is -1. A struct that may be null is a pointer.
 * A fresh struct holds the definition's defaults. A pointer that its defaults set is to a constant: replace it, never write
 * through it.
 *
 * Versions: a field that the version lacks is left at its default by decode. By encode it must be at its default or be
 * ignorable; anything else is a message that this version cannot say, and is refused.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* Records on the wire. Encoding takes `chain` if there is one (it is left empty), else copies `bytes`; null: neither.
 * Decoding leaves a slice of the input in `bytes`. */
struct wire_records {
    struct span bytes;
    struct chain *chain;
};

enum wire_type {
    WIRE_BOOL, WIRE_INT8, WIRE_INT16, WIRE_UINT16, WIRE_INT32, WIRE_UINT32, WIRE_INT64, WIRE_DOUBLE, WIRE_UUID,
    WIRE_STRING, WIRE_BYTES, WIRE_RECORDS,
    WIRE_STRUCT,          /* embedded                             */
    WIRE_STRUCT_POINTER,  /* may be null                          */
    WIRE_ARRAY,           /* of `element`; the count stands behind the pointer */
};
enum { WIRE_IGNORABLE = 1, WIRE_KEY = 2, WIRE_NONCOMPACT = 4, WIRE_SECRET = 8, WIRE_SETTING = 16 };

struct wire_field {
    const char *name;                    /* Kafka's: TopicId                                     */
    const struct wire_struct *of;        /* of structs, pointers to structs and arrays of them   */
    uint32_t versions, nullable;         /* a bit for each version                               */
    uint16_t offset;                     /* in the C struct                                      */
    uint8_t type, element;               /* enum wire_type                                       */
    uint8_t flags, tag;
};

struct wire_struct {
    const char *name;                    /* as defined                                                             */
    const struct wire_field *fields;     /* the plain ones in wire order, then the tagged ones: tag n is the n-th  */
    uint16_t field_count, tagged_count;  /* of plain ones, of tagged ones                                          */
    uint32_t size;                       /* of the C struct                                                        */
    uint32_t complete;                   /* a bit for each version: it sets every field, so defaults are not needed */
    const void *defaults;                /* a C struct                                                             */
    const uint16_t *bytes_min;           /* by version: the least that it takes on the wire                        */
};

enum wire_kind {
    WIRE_REQUEST, WIRE_RESPONSE, WIRE_HEADER, WIRE_DATA, WIRE_METADATA, WIRE_REMOTE,
    WIRE_GROUP_KEY, WIRE_GROUP_VALUE, WIRE_TRANSACTION_KEY, WIRE_TRANSACTION_VALUE, WIRE_SHARE_KEY, WIRE_SHARE_VALUE,
};

struct wire_message {
    const char *name;                    /* ProduceRequest                                    */
    const char *family;                  /* the file that defines it: produce                 */
    enum wire_kind kind;
    int16_t key;                         /* api key or record type; -1: neither               */
    int16_t version_min, version_max;
    int16_t flexible;                    /* the first flexible version; past version_max: none */
    const struct wire_struct *body;
};

/* One row for each api key that Kafka has given out. */
struct wire_api {
    int16_t key;
    const char *name;                            /* Produce                                                          */
    int16_t version_min, version_max;            /* what is served at all; reserved keys have max < min              */
    int16_t advertised_min;                      /* lower than version_min where old clients insist                  */
    bool is_unstable;                            /* version_max is, and is neither advertised nor served by default  */
    bool on_broker, on_controller;               /* the listeners that know it                                       */
    const struct wire_message *request, *response; /* NULL: reserved                                                 */
};

enum {
    WIRE_ELEMENTS_MAX = 1000000,         /* decoded in one message, over all its arrays   */
    WIRE_UNKNOWN_TAGS_MAX = 1024,        /* skipped in one struct                         */
    WIRE_VERSIONS = 32,                  /* versions are bits in a mask                   */
};
#define WIRE_NOT_ENCODABLE SIZE_MAX

static inline bool wire_is_flexible(const struct wire_message *message, int16_t version) { return version >= message->flexible; }
static inline bool wire_has_version(const struct wire_message *message, int16_t version) {
    return version >= message->version_min && version <= message->version_max;
}

/* Sets the defaults. */
void wire_init(const struct wire_struct *of, void *out);
/* `count` structs at their defaults; NULL: over budget. A count of 0 gives a pointer that is not NULL. */
must_use void *wire_array(const struct wire_struct *of, int32_t count, struct arena *arena);

/* Reads one message of that version from the front of `in`. Strings, bytes and records are slices of `in`; arrays and
 * pointers live in `arena`. `used` takes the bytes read; where it is NULL, bytes left over are ERR_CORRUPT.
 * With an error it takes where that was found.
 * ERR_CORRUPT: not such a message. ERR_LIMIT: more than the limits above. ERR_NO_MEMORY: the arena is over budget.
 * ERR_UNSUPPORTED: no such version. Text is not checked to be UTF-8. */
must_use enum err wire_decode(const struct wire_message *message, int16_t version, void *out, struct span in,
                              struct arena *arena, size_t *used);
/* The bytes that encode would write, chains included; WIRE_NOT_ENCODABLE: this version cannot say it. */
size_t wire_size(const struct wire_message *message, int16_t version, const void *value);
/* Appends the message to `out`; its bytes live in out->arena, slices of records chains move over as they are.
 * False: over budget, or this version cannot say it; `out` is then as it was, and records chains already met are lost. */
must_use bool wire_encode(const struct wire_message *message, int16_t version, const void *value, struct chain *out);
/* The same with `prefix_bytes` of room in front, for the caller to fill: `prefix` takes where they are. They and what
 * follows of the message up to its first records chain are one piece. */
must_use bool wire_encode_behind(size_t prefix_bytes, const struct wire_message *message, int16_t version, const void *value,
                                 struct chain *out, uint8_t **prefix);
/* Writes a message whose records chains, if any, are of memory (they are copied and stay) to
 * memory of at least wire_size bytes; answers the bytes written. */
size_t wire_write(const struct wire_message *message, int16_t version, const void *value, uint8_t *target);

/* Value by value; records are compared by their bytes (those in chains of memory, too). */
bool wire_equal(const struct wire_struct *of, const void *a, const void *b);
bool wire_is_default(const struct wire_struct *of, const void *value);

/* For those who walk the tables themselves: JSON, random values. */
struct wire_items { /* an array field, as the generated structs hold it */
    uint8_t *first;
    int32_t count;
};
size_t wire_element_bytes(const struct wire_field *field); /* of an array's elements in C */
bool wire_field_is_default(const struct wire_struct *of, const struct wire_field *field, const uint8_t *value);

#define WIRE_STRUCT_FUNCTIONS(name)                                                                                      \
    extern const struct wire_struct name##_struct;                                                                       \
    static inline void name##_init(struct name *out) { wire_init(&name##_struct, out); }                                 \
    static inline struct name *name##_array(struct arena *arena, int32_t count) {                                        \
        return (struct name *)wire_array(&name##_struct, count, arena);                                                  \
    }                                                                                                                    \
    static inline bool name##_equal(const struct name *a, const struct name *b) { return wire_equal(&name##_struct, a, b); }

#define WIRE_MESSAGE_FUNCTIONS(name)                                                                                     \
    WIRE_STRUCT_FUNCTIONS(name)                                                                                          \
    extern const struct wire_message name##_message;                                                                     \
    must_use static inline enum err name##_decode(struct name *out, int16_t version, struct span in, struct arena *arena, size_t *used) { \
        return wire_decode(&name##_message, version, out, in, arena, used);                                              \
    }                                                                                                                    \
    static inline size_t name##_size(const struct name *value, int16_t version) { return wire_size(&name##_message, version, value); } \
    must_use static inline bool name##_encode(const struct name *value, int16_t version, struct chain *out) {            \
        return wire_encode(&name##_message, version, value, out);                                                        \
    }
