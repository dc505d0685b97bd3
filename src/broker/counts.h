/* broker/counts.h - what one shard's broker counts of requests and topics, for metrics.
 *
 * A shard writes its own and nobody else reads them: a scrape runs on each shard in turn and adds them up (console/).
 * An API's counts come into being with its first request; without memory for them nothing is counted, and nothing else
 * happens.
 */
#pragma once
#include "base/histogram.h"
#include "wire/api.h"
#include "wire/errors.h"

enum { COUNTED_ERRORS = 140 }; /* -1 first; codes beyond are counted as -1 */
struct api_counts {
    uint64_t requests, bytes_in, bytes_out;
    uint64_t queue_ns, local_ns, remote_ns, send_ns;
    struct histogram total;
    uint64_t errors[COUNTED_ERRORS];
};
static inline int16_t counted_error(uint32_t slot) { return (int16_t)((int32_t)slot - 1); }

struct topic_counts {
    uint64_t messages_in, bytes_in, bytes_out, produces, fetches, produces_failed, fetches_failed;
};
void topic_counts_add(struct topic_counts *into, const struct topic_counts *from);
void api_counts_add(struct api_counts *into, const struct api_counts *from);

/* Counts the error codes in an answer: every field of that name, wherever it lies. */
void count_errors(struct api_counts *counts, const struct wire_api *api, const void *response);
