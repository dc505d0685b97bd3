/* base/err.h - Moldau's own errors: only those that some caller acts on. Kafka's error numbers are another type
 * (wire/errors.h); broker/dispatch.c maps these to those.
 */
#pragma once
#include "base/assert.h"

/*    name               class    text                                                  */
#define ERR_LIST(X)                                                                      \
    X(ERR_NONE,          DONE,    "ok")                                                  \
    X(ERR_AGAIN,         RETRY,   "not now: waiting for something else")                 \
    X(ERR_BUSY,          RETRY,   "over budget, try later")                              \
    X(ERR_TIMEOUT,       RETRY,   "took longer than allowed")                            \
    X(ERR_CLOSED,        RETRY,   "closed by the other side, or shutting down")          \
    X(ERR_NO_MEMORY,     RETRY,   "the memory budget is spent")                          \
    X(ERR_NO_SPACE,      RETRY,   "no space left in the log directory")                  \
    X(ERR_CORRUPT,       CALLER,  "checksum or structure is wrong")                      \
    X(ERR_INVALID,       CALLER,  "not a value that is allowed here")                    \
    X(ERR_LIMIT,         CALLER,  "larger than its limit")                               \
    X(ERR_UNSUPPORTED,   CALLER,  "not supported")                                       \
    X(ERR_NOT_FOUND,     CALLER,  "does not exist")                                      \
    X(ERR_EXISTS,        CALLER,  "exists already")                                      \
    X(ERR_OUT_OF_RANGE,  CALLER,  "outside of what exists")                              \
    X(ERR_FENCED,        CALLER,  "from an older epoch")                                 \
    X(ERR_LOCKED,        CALLER,  "locked by another process")                           \
    X(ERR_IO,            FATAL,   "input or output failed")

enum err_class { ERR_CLASS_DONE, ERR_CLASS_RETRY, ERR_CLASS_CALLER, ERR_CLASS_FATAL };

#define ERR_AS_ENUM(name, class, text) name,
enum err { ERR_LIST(ERR_AS_ENUM) ERR_COUNT };
#undef ERR_AS_ENUM

const char *err_text(enum err err);
const char *err_name(enum err err);
enum err_class err_class_of(enum err err);
/* From a negative errno value (-ENOSPC, ...), as operations of the io seam answer; >= 0 is ERR_NONE. */
enum err err_from_errno(long negative);
