/* cli/coordinator_text.h - records of Kafka's own topics as the console consumer's formatters for them write them:
 *
 *     {"key":{"type":1,"data":{...}},"value":{"version":4,"data":{...}}}
 *
 * one behind the other without anything between; a record that deletes has "value":null.
 */
#pragma once
#include "base/text.h"
#include "wire/record_frame.h"
#include <stdio.h>

struct coordinator_format {
    const char *class;          /* without its package */
    enum wire_log log;
    int type_min, type_max;     /* keys that it writes; it passes over all others */
};
/* NULL: no formatter has this name. */
const struct coordinator_format *coordinator_format_named(const char *class);
/* False: the record's value is none of its key's; `why` has Kafka's sentence. */
must_use bool coordinator_print(const struct coordinator_format *format, struct span key, struct span value, int64_t offset, struct pool *pool, FILE *out, struct text *why);
