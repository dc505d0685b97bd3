/* cli/admin.h - what the tools that ask a cluster have in common: a session by their options, calls that tell what went
 * wrong in the words of Kafka's tools, and who leads which partition.
 *
 * What fails leaves a sentence in `why` and, where Kafka's tools print it, the name of the exception that it is in Java.
 */
#pragma once
#include "cli/args.h"
#include "cli/session.h"
#include "wire/errors.h"

enum { ADMIN_WHY_MAX = 8192, ADMIN_TIMEOUT_MS = 30000 };
struct admin {
    const struct args *args;         /* borrows */
    struct session session;
    bool at_controllers;             /* --bootstrap-controller */
    struct metadata_response metadata; /* of the last admin_topics */
    int16_t code;                    /* Kafka's error behind `why`; 0: none of Kafka's */
    const char *exception;           /* "GroupIdNotFoundException"; NULL: Java would have none either */
    struct text why;
    char why_bytes[ADMIN_WHY_MAX];
};
/* By --bootstrap-server or --bootstrap-controller, and --command-config. False: `why` has a sentence. */
must_use bool admin_open(struct admin *admin, const struct args *args);
void admin_close(struct admin *admin); /* also of one that could not be opened */
/* The end of most tools: what went wrong to standard error, if not ok, and closed. Answers the tool's status. */
int admin_end(struct admin *admin, bool ok);
static inline struct arena *admin_memory(struct admin *admin) { return &admin->session.arena; }

/* All of these answer false. */
bool admin_fail(struct admin *admin, const char *exception, const char *format, ...) printf_like(3, 4);
bool admin_fail_memory(struct admin *admin);
/* Forgets what went wrong. */
void admin_forgive(struct admin *admin);
/* `why` as Java tells the cause of an exception: "org.apache.kafka.common.errors.TimeoutException: ...". */
const char *admin_cause(struct admin *admin);

/* node: a broker's id, or CLIENT_ANY. name: what Kafka's clients call it in a time-out. version_max 0: any. */
must_use bool admin_call(struct admin *admin, int32_t node, int16_t api_key, int16_t version_max, const char *name, const void *request, void *response);
/* False, and why, when the code is an error. */
must_use bool admin_check(struct admin *admin, int16_t code, struct span message);
/* Something that moves (controller, coordinator, leader): true, after a pause, when it is to be asked again. */
bool admin_again(struct admin *admin, int16_t code, int *tries);

/* ---- topics and partitions */
/* Asks Metadata for these topics, or for all (names NULL). A missing topic is no failure here. */
must_use bool admin_topics(struct admin *admin, const struct span *names, int32_t count);
const struct metadata_response_metadata_response_topic *admin_topic(const struct admin *admin, struct span name); /* NULL: not there */
const struct metadata_response_metadata_response_broker *admin_broker(const struct admin *admin, int32_t node);   /* NULL: not there */

struct partition_row {
    struct span topic;
    int32_t index;
    int32_t leader;          /* -1: none */
    int64_t offset;
    int64_t timestamp;
    int16_t error;           /* Kafka's; of this partition alone */
};
int partition_compare(const void *a, const void *b); /* by topic and index */
/* Fills `leader` by the metadata asked for last; UNKNOWN_TOPIC_OR_PARTITION or LEADER_NOT_AVAILABLE in `error`. */
void admin_leaders(const struct admin *admin, struct partition_row *rows, int32_t count);
/* The offsets at a timestamp, or -1 latest, -2 earliest, ...; -1 in `offset`: there is none. Asks for metadata, too. */
must_use bool admin_offsets(struct admin *admin, struct partition_row *rows, int32_t count, int64_t timestamp);

/* ---- coordinators. A group's broker, which must be asked about it. */
must_use bool admin_coordinator(struct admin *admin, struct span group, int32_t *node);
must_use bool admin_call_coordinator(struct admin *admin, struct span group, int16_t api_key, int16_t version_max, const char *name, const void *request, void *response);

/* Java's name of the exception that stands for an error, without the package. */
void exception_of_error(int16_t code, struct text *out);
