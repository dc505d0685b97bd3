/* DeleteRecords: the start of a log moves up, to an offset or (-1) to the high watermark; what lies before it is gone for
 * readers at once, whole segments of it soon after. The answer waits until the new start is safe on disk: what a client was
 * told is deleted never comes back. A topic that is only compacted keeps what it has.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/partition.h"
#include "broker/partition_calls.h"
#include "broker/topic.h"

/* Above this, a partition that is named twice is answered twice: looking for it is squared. */
enum { NAMES_COMPARED_MAX = 4096 };

struct delete_call {
    struct partition_call call;
    struct log_wait filing;
    log_offset offset, low_watermark;
};
struct delete_work {
    struct partition_calls calls;
    struct delete_call *entries; /* in the order of the answer's partitions */
    struct delete_records_response response;
};
typedef struct delete_records_response_delete_records_topic_result topic_result;
typedef struct delete_records_response_delete_records_partition_result partition_result;

static void start_is_filed(struct log_wait *wait, enum err err) {
    struct delete_call *entry = container_of(wait, struct delete_call, filing);
    entry->call.error = partition_log_error(err);
    partition_call_end(&entry->call);
}

static void delete_records(struct partition_call *call) {
    struct delete_call *entry = container_of(call, struct delete_call, call);
    struct partition *partition = call->partition;
    const struct log_config *config = &partition->topic->settings.log;
    if (config->cleanup_compact && !config->cleanup_delete) {
        call->error = KAFKA_POLICY_VIOLATION;
        return;
    }
    log_offset target = entry->offset == -1 ? log_high_watermark(partition->log) : entry->offset;
    if (target < 0 || target > log_high_watermark(partition->log)) {
        call->error = KAFKA_OFFSET_OUT_OF_RANGE;
        return;
    }
    enum err err = log_start_set(partition->log, target);
    /* With the followers' starts in view, once there are any, this is the smallest of them. */
    entry->low_watermark = log_start(partition->log);
    entry->filing.done = start_is_filed;
    if (!err) err = log_start_flush(partition->log, &entry->filing);
    if (err == ERR_AGAIN) partition_call_wait(call);
    else call->error = partition_log_error(err);
}

static void joined(struct request *request) {
    struct delete_work *work = request->work;
    const struct delete_call *entry = work->entries;
    for (int32_t t = 0; t < work->response.topics_count; t++) {
        topic_result *topic = &work->response.topics[t];
        for (int32_t p = 0; p < topic->partitions_count; p++, entry++) {
            topic->partitions[p].error_code = (int16_t)entry->call.error;
            topic->partitions[p].low_watermark = entry->call.error ? -1 : entry->low_watermark;
        }
    }
    request_reply(request, &work->response);
}

/* A topic that is named twice is one in the answer. */
static topic_result *result_of(struct delete_work *work, struct span name) {
    struct delete_records_response *out = &work->response;
    for (int32_t t = 0; t < out->topics_count && t < NAMES_COMPARED_MAX; t++)
        if (span_equal(out->topics[t].name, name)) return &out->topics[t];
    return NULL;
}

static partition_result *partition_of(const topic_result *topic, partition_index index) {
    for (int32_t p = 0; p < topic->partitions_count && p < NAMES_COMPARED_MAX; p++)
        if (topic->partitions[p].partition_index == index) return &topic->partitions[p];
    return NULL;
}

static bool lay_out(struct request *request, struct delete_work *work) {
    const struct delete_records_request *in = request->in;
    struct delete_records_response *out = &work->response;
    out->topics = delete_records_response_delete_records_topic_result_array(&request->arena, in->topics_count);
    if (!out->topics) goto over_budget;
    for (int32_t t = 0; t < in->topics_count; t++) {
        const struct delete_records_request_delete_records_topic *asked = &in->topics[t];
        if (asked->partitions_count == 0) continue;
        topic_result *topic = result_of(work, asked->name);
        int32_t before = topic ? topic->partitions_count : 0;
        partition_result *partitions = delete_records_response_delete_records_partition_result_array(&request->arena, before + asked->partitions_count);
        if (!partitions) goto over_budget;
        for (int32_t p = 0; p < before; p++) partitions[p] = topic->partitions[p];
        if (!topic) topic = &out->topics[out->topics_count++];
        topic->name = asked->name;
        topic->partitions = partitions;
        for (int32_t p = 0; p < asked->partitions_count; p++) {
            /* Of a partition that is named twice the last offset counts. */
            partition_result *result = partition_of(topic, asked->partitions[p].partition_index);
            if (!result) result = &topic->partitions[topic->partitions_count++];
            result->partition_index = asked->partitions[p].partition_index;
            result->low_watermark = asked->partitions[p].offset; /* until it is asked for */
        }
    }
    return true;
over_budget:
    request_refuse(request, "over budget");
    return false;
}

void handle_delete_records(struct request *request) {
    struct delete_work *work = REQUEST_NEW(request, struct delete_work);
    if (!work) return;
    request->work = work;
    delete_records_response_init(&work->response);
    if (!lay_out(request, work)) return;
    size_t count = 0;
    for (int32_t t = 0; t < work->response.topics_count; t++) count += (size_t)work->response.topics[t].partitions_count;
    if (!(work->entries = REQUEST_ARRAY(request, count, struct delete_call))) return;
    struct delete_call *entry = work->entries;
    for (int32_t t = 0; t < work->response.topics_count; t++) {
        const topic_result *topic = &work->response.topics[t];
        const struct image_topic *known = image_topic(request->broker->image, topic->name);
        for (int32_t p = 0; p < topic->partitions_count; p++, entry++) {
            entry->offset = topic->partitions[p].low_watermark;
            if (!known || !image_partition(known, topic->partitions[p].partition_index)) entry->call.error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            else if (topic_is_internal(topic->name)) entry->call.error = KAFKA_INVALID_TOPIC_EXCEPTION;
            else if (!partition_calls_add(request, &work->calls, &entry->call, known->id, topic->partitions[p].partition_index, delete_records)) return;
        }
    }
    partition_calls_send(request, &work->calls, joined);
}
