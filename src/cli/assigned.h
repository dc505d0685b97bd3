/* cli/assigned.h - what a group gives a consumer of the tools, or takes from it, in librdkafka's callback of a rebalance.
 */
#pragma once
#include <librdkafka/rdkafka.h>

/* Takes the partitions over, or gives them up, as the group's protocol wants it: eager or cooperative. Partitions that the group
 * has no offset of start at once where auto.offset.reset says. */
void assigned_take(rd_kafka_t *kafka, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions);
/* The same as a callback by itself. */
void assigned_rebalance(rd_kafka_t *kafka, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions, void *opaque);
