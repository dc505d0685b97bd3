/* DescribeProducers: who writes to a partition with sequences, and which transactions are open there. */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/partition.h"
#include "broker/partition_calls.h"
#include "broker/topics_auto.h"

struct producers_call {
    struct partition_call call;
    struct describe_producers_response_producer_state *producers; /* in the share's arena */
    int32_t count;
    bool no_memory;
};
struct producers_work {
    struct partition_calls calls;
    struct producers_call *entries;
    struct describe_producers_response response;
};

static int see(void *context, const struct producer_view *view) {
    struct producers_call *entry = context;
    struct describe_producers_response_producer_state *out = &entry->producers[entry->count++];
    out->producer_id = view->producer;
    out->producer_epoch = view->epoch;
    out->last_sequence = view->last_sequence;
    out->last_timestamp = view->last_timestamp;
    out->coordinator_epoch = view->coordinator_epoch;
    out->current_txn_start_offset = view->transaction_first;
    return 0;
}

static void describe(struct partition_call *call) {
    struct producers_call *entry = container_of(call, struct producers_call, call);
    const struct producer_state *state = log_producers(call->partition->log);
    uint32_t count = state ? producer_count(state) : 0;
    entry->producers = describe_producers_response_producer_state_array(call->arena, (int32_t)count);
    entry->no_memory = !entry->producers;
    if (entry->producers && count) (void)producer_each(state, see, entry);
}

static void joined(struct request *request) {
    struct producers_work *work = request->work;
    const struct producers_call *entry = work->entries;
    for (int32_t t = 0; t < work->response.topics_count; t++) {
        for (int32_t p = 0; p < work->response.topics[t].partitions_count; p++, entry++) {
            struct describe_producers_response_partition_response *out = &work->response.topics[t].partitions[p];
            if (entry->no_memory) {
                request_refuse(request, "over budget");
                return;
            }
            out->error_code = (int16_t)entry->call.error;
            out->active_producers = entry->producers;
            out->active_producers_count = entry->count;
        }
    }
    request_reply(request, &work->response);
}

void handle_describe_producers(struct request *request) {
    const struct describe_producers_request *in = request->in;
    struct producers_work *work = REQUEST_NEW(request, struct producers_work);
    if (!work) return;
    request->work = work;
    describe_producers_response_init(&work->response);
    struct describe_producers_response *out = &work->response;
    size_t count = 0;
    for (int32_t t = 0; t < in->topics_count; t++) count += (size_t)in->topics[t].partition_indexes_count;
    if (!(work->entries = REQUEST_ARRAY(request, count, struct producers_call))) return;
    if (!(out->topics = describe_producers_response_topic_response_array(&request->arena, in->topics_count))) goto over_budget;
    struct producers_call *entry = work->entries;
    for (int32_t t = 0; t < in->topics_count; t++) {
        const struct describe_producers_request_topic_request *asked = &in->topics[t];
        struct describe_producers_response_topic_response *topic = &out->topics[out->topics_count++];
        const struct image_topic *known = image_topic(request->broker->image, asked->name);
        enum kafka_error error = topic_name_error(request->broker->image, asked->name);
        struct span message = {0};
        if (error) message = SPAN_LITERAL("Not a name that a topic may have.");
        else if (!known) message = SPAN_LITERAL("This broker knows no such topic.");
        topic->name = asked->name;
        topic->partitions = describe_producers_response_partition_response_array(&request->arena, asked->partition_indexes_count);
        if (!topic->partitions) goto over_budget;
        for (int32_t p = 0; p < asked->partition_indexes_count; p++, entry++) {
            struct describe_producers_response_partition_response *partition = &topic->partitions[topic->partitions_count++];
            partition->partition_index = asked->partition_indexes[p];
            partition->error_message = message;
            entry->call.error = error;
            if (error) continue;
            if (!known || !image_partition(known, partition->partition_index)) entry->call.error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            else if (!partition_calls_add(request, &work->calls, &entry->call, known->id, partition->partition_index, describe)) return;
        }
    }
    partition_calls_send(request, &work->calls, joined);
    return;
over_budget:
    request_refuse(request, "over budget");
}
