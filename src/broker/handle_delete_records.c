/* DeleteRecords: the start of a log moves up, to an offset or (-1) to the high watermark; what lies before it is gone for
 * readers at once, whole segments of it soon after. The answer waits until the new start is safe on disk: what a client was
 * told is deleted never comes back. Where the disk takes longer for that than the request may, its partition is answered with
 * REQUEST_TIMED_OUT and the low watermark of before, and the start gets safe later. A topic that is only compacted keeps what it
 * has.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/named.h"
#include "broker/partition.h"
#include "broker/partition_calls.h"
#include "broker/topic.h"

/* Kafka writes its file behind the answer, and a request that may take no time at all succeeds where nobody follows. So the disk
 * has so long at least. */
enum { FILING_MS_MIN = 1000 };

struct delete_call {
    struct partition_call call;
    log_offset offset, low_watermark;
    time_ms timeout_ms;
};
/* The wait for the file: it outlives the request that did not wait for its end. */
struct filing {
    struct log_wait wait;
    struct timer timer;
    struct shard *shard;
    struct delete_call *entry;  /* NULL: answered */
    log_offset target;
};
struct delete_work {
    struct partition_calls calls;
    struct delete_call *entries; /* in the order of the answer's partitions */
    struct delete_records_response response;
};
typedef struct delete_records_response_delete_records_topic_result topic_result;
typedef struct delete_records_response_delete_records_partition_result partition_result;

static void start_is_filed(struct log_wait *wait, enum err err) {
    struct filing *filing = container_of(wait, struct filing, wait);
    struct delete_call *entry = filing->entry;
    timer_cancel(filing->shard, &filing->timer);
    if (entry) {
        entry->call.error = partition_log_error(err);
        entry->low_watermark = filing->target;
        partition_call_end(&entry->call);
    }
    pool_free(filing->shard->pool, filing, sizeof *filing);
}

static void filing_is_late(struct timer *timer) {
    struct filing *filing = container_of(timer, struct filing, timer);
    struct delete_call *entry = filing->entry;
    filing->entry = NULL;
    entry->call.error = KAFKA_REQUEST_TIMED_OUT;
    partition_call_end(&entry->call);
}

/* The start has moved: KAFKA_NONE, or an error, or the call waits. */
static enum kafka_error wait_for_file(struct delete_call *entry, struct filing *filing) {
    struct shard *shard = filing->shard;
    *filing = (struct filing){.shard = shard, .entry = entry, .target = log_start(entry->call.partition->log), .wait.done = start_is_filed};
    enum err err = ERR_NO_MEMORY;
    if (timer_set(shard, &filing->timer, shard_now(shard) + entry->timeout_ms * NS_PER_MS, filing_is_late))
        err = log_start_flush(entry->call.partition->log, &filing->wait);
    if (err == ERR_AGAIN) {
        partition_call_wait(&entry->call);
        return KAFKA_NONE;
    }
    timer_cancel(shard, &filing->timer);
    entry->low_watermark = filing->target;
    pool_free(shard->pool, filing, sizeof *filing);
    return partition_log_error(err);
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
    struct shard *shard = partition->broker->shard;
    struct filing *filing = POOL_NEW(shard->pool, struct filing);
    if (!filing) {
        call->error = partition_log_error(ERR_NO_MEMORY);
        return;
    }
    filing->shard = shard;
    /* With the followers' starts in view, once there are any, the low watermark is the smallest of them. */
    entry->low_watermark = log_start_filed(partition->log);
    enum err err = log_start_set(partition->log, target);
    if (err) {
        call->error = partition_log_error(err);
        pool_free(shard->pool, filing, sizeof *filing);
    } else {
        call->error = wait_for_file(entry, filing);
    }
}

static void joined(struct request *request) {
    struct delete_work *work = request->work;
    const struct delete_call *entry = work->entries;
    for (int32_t t = 0; t < work->response.topics_count; t++) {
        topic_result *topic = &work->response.topics[t];
        for (int32_t p = 0; p < topic->partitions_count; p++, entry++) {
            topic->partitions[p].error_code = (int16_t)entry->call.error;
            topic->partitions[p].low_watermark = entry->call.error && entry->call.error != KAFKA_REQUEST_TIMED_OUT ? -1 : entry->low_watermark;
        }
    }
    request_reply(request, &work->response);
}

/* The answer as it grows, by the places of what the request names. */
struct layout {
    struct named named;
    int32_t *sizes;            /* of a topic, where it is named first: its partitions, each once */
    topic_result **topics;     /* where they are named first */
    partition_result **results;
};

static bool take_names(struct request *request, struct layout *layout) {
    const struct delete_records_request *in = request->in;
    size_t count = 0;
    for (int32_t t = 0; t < in->topics_count; t++) count += (size_t)in->topics[t].partitions_count;
    if (!named_init(&layout->named, &request->arena, count)) return false;
    if (!(layout->sizes = ARENA_ARRAY(&request->arena, count, int32_t))) return false;
    if (!(layout->topics = ARENA_ARRAY(&request->arena, count, topic_result *))) return false;
    if (!(layout->results = ARENA_ARRAY(&request->arena, count, partition_result *))) return false;
    for (int32_t t = 0; t < in->topics_count; t++)
        for (int32_t p = 0; p < in->topics[t].partitions_count; p++) named_add(&layout->named, in->topics[t].name, in->topics[t].partitions[p].partition_index);
    named_settle(&layout->named);
    for (uint32_t at = 0; at < count; at++)
        if (layout->named.places[at].first == at) layout->sizes[layout->named.places[at].topic]++;
    return true;
}

/* A topic that is named twice is one in the answer; of a partition that is named twice the last offset counts. */
static bool lay_out(struct request *request, struct delete_work *work) {
    const struct delete_records_request *in = request->in;
    struct delete_records_response *out = &work->response;
    struct layout layout = {.sizes = NULL};
    uint32_t at = 0;
    if (!take_names(request, &layout)) goto over_budget;
    out->topics = delete_records_response_delete_records_topic_result_array(&request->arena, in->topics_count);
    if (!out->topics) goto over_budget;
    for (int32_t t = 0; t < in->topics_count; t++) {
        const struct delete_records_request_delete_records_topic *asked = &in->topics[t];
        for (int32_t p = 0; p < asked->partitions_count; p++, at++) {
            const struct named_place *place = &layout.named.places[at];
            topic_result **topic = &layout.topics[place->topic];
            partition_result **result = &layout.results[place->first];
            if (!*topic) {
                *topic = &out->topics[out->topics_count++];
                (*topic)->name = asked->name;
                (*topic)->partitions = delete_records_response_delete_records_partition_result_array(&request->arena, layout.sizes[place->topic]);
                if (!(*topic)->partitions) goto over_budget;
            }
            if (!*result) *result = &(*topic)->partitions[(*topic)->partitions_count++];
            (*result)->partition_index = asked->partitions[p].partition_index;
            (*result)->low_watermark = asked->partitions[p].offset; /* until it is asked for */
        }
    }
    return true;
over_budget:
    request_refuse(request, "over budget");
    return false;
}

void handle_delete_records(struct request *request) {
    const struct delete_records_request *in = request->in;
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
            entry->timeout_ms = in->timeout_ms < FILING_MS_MIN ? FILING_MS_MIN : in->timeout_ms;
            if (!known || !image_partition(known, topic->partitions[p].partition_index)) entry->call.error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            else if (topic_is_internal(topic->name)) entry->call.error = KAFKA_INVALID_TOPIC_EXCEPTION;
            else if (!partition_calls_add(request, &work->calls, &entry->call, known->id, topic->partitions[p].partition_index, delete_records)) return;
        }
    }
    partition_calls_send(request, &work->calls, joined);
}
