/* broker/partition_calls.h - a request about partitions that this broker leads: one call for each, run on the partition's
 * shard with its log open.
 *
 *     partition_calls_add for each -> partition_calls_send -> call->run, there -> joined, when all are over
 *
 * `run` waits for nothing but what it says by partition_call_wait. It is left out when the partition is not led here or its log cannot be opened: then `error` says so.
 */
#pragma once
#include "broker/fanout.h"
#include "log/log.h"

struct partition;
struct partition_share;

struct partition_call {
    struct list node;
    struct partition_share *share;
    struct arena *arena;               /* travels with the share: for the answer */
    struct partition *partition;
    struct uuid topic_id;
    partition_index index;
    enum kafka_error error;            /* the answer's */
    void (*run)(struct partition_call *call);
    struct log_wait opening;
};
struct partition_calls {
    struct partition_share *shares[SHARDS_MAX];
};

/* False: the request has been refused (over budget). */
bool partition_calls_add(struct request *request, struct partition_calls *calls, struct partition_call *call, struct uuid topic_id,
                         partition_index index, void (*run)(struct partition_call *call));
/* From within `run`: the call is not over when that returns, but with partition_call_end, later and on the same shard. Its
 * partition may be gone by then. */
void partition_call_wait(struct partition_call *call);
void partition_call_end(struct partition_call *call);
void partition_calls_send(struct request *request, struct partition_calls *calls, void (*joined)(struct request *request));
