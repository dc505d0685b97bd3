#include "cli/assigned.h"
#include "base/assert.h"
#include <stdbool.h>
#include <string.h>

enum { WAIT_MS = 5000, POLICY_MAX = 32 };

/* auto.offset.reset as an offset; RD_KAFKA_OFFSET_INVALID: there is none to start from, which is the library's to tell. */
static int64_t reset_offset(rd_kafka_t *kafka) {
    static const struct { const char *name; int64_t offset; } policies[] = {
        {"smallest", RD_KAFKA_OFFSET_BEGINNING}, {"earliest", RD_KAFKA_OFFSET_BEGINNING}, {"beginning", RD_KAFKA_OFFSET_BEGINNING},
        {"largest", RD_KAFKA_OFFSET_END}, {"latest", RD_KAFKA_OFFSET_END}, {"end", RD_KAFKA_OFFSET_END},
    };
    char policy[POLICY_MAX];
    size_t size = sizeof policy;
    if (rd_kafka_conf_get(rd_kafka_conf(kafka), "auto.offset.reset", policy, &size)) return RD_KAFKA_OFFSET_INVALID;
    for (size_t i = 0; i < countof(policies); i++)
        if (strcmp(policy, policies[i].name) == 0) return policies[i].offset;
    return RD_KAFKA_OFFSET_INVALID;
}

/* The offsets that the partitions' leaders have for `reset` now, for those of `partitions` that have none. */
static void ask_leaders(rd_kafka_t *kafka, rd_kafka_topic_partition_list_t *partitions, int64_t reset) {
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new(partitions->cnt);
    for (int i = 0; i < partitions->cnt; i++)
        if (!partitions->elems[i].err && partitions->elems[i].offset == RD_KAFKA_OFFSET_INVALID)
            rd_kafka_topic_partition_list_add(asked, partitions->elems[i].topic, partitions->elems[i].partition)->offset = reset;
    if (asked->cnt && !rd_kafka_offsets_for_times(kafka, asked, WAIT_MS)) {
        for (int i = 0; i < asked->cnt; i++)
            if (!asked->elems[i].err && asked->elems[i].offset >= 0)
                rd_kafka_topic_partition_list_set_offset(partitions, asked->elems[i].topic, asked->elems[i].partition, asked->elems[i].offset);
    }
    rd_kafka_topic_partition_list_destroy(asked);
}

/* Left to itself the library waits 100 ms before it resets an offset that it did not find, and 500 ms when it does not know
 * the partition's leader yet. What could not be told here it finds by itself. */
static void find_starts(rd_kafka_t *kafka, rd_kafka_topic_partition_list_t *partitions) {
    int64_t reset = reset_offset(kafka);
    if (reset == RD_KAFKA_OFFSET_INVALID || rd_kafka_committed(kafka, partitions, WAIT_MS)) return;
    ask_leaders(kafka, partitions, reset);
}

void assigned_take(rd_kafka_t *kafka, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions) {
    bool given = error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (given && partitions->cnt) find_starts(kafka, partitions);
    if (strcmp(rd_kafka_rebalance_protocol(kafka), "COOPERATIVE") == 0) {
        rd_kafka_error_t *failed = given ? rd_kafka_incremental_assign(kafka, partitions) : rd_kafka_incremental_unassign(kafka, partitions);
        if (failed) rd_kafka_error_destroy(failed);
    } else (void)rd_kafka_assign(kafka, given ? partitions : NULL);
}

void assigned_rebalance(rd_kafka_t *kafka, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions, void *opaque) {
    assigned_take(kafka, error, partitions);
}
