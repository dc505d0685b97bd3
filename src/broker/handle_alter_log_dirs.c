/* AlterReplicaLogDirs: replicas of this broker go to other directories of it. The answer says that a move is under way, or
 * why not; DescribeLogDirs tells when it is over.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/named.h"
#include "broker/partition.h"
#include "broker/partition_calls.h"

enum { NAME_BYTES_MAX = 255 };

struct move_call {
    struct partition_call call;
    struct log_dir *target;
    partition_index partition;
};
struct topic_moves {
    struct span name;
    struct move_call *calls;
    int32_t count;
};
struct move_work {
    struct partition_calls calls;
    struct topic_moves *topics; /* for each topic of each directory */
    int32_t count;
    struct named named;         /* a partition that is named twice goes where it is said last */
    struct alter_replica_log_dirs_response response;
};

static void move(struct partition_call *call) {
    struct move_call *entry = container_of(call, struct move_call, call);
    enum err err = log_move(call->partition->log, entry->target);
    /* Busy with another move: that one ends now, and the caller asks again. */
    call->error = err == ERR_BUSY ? KAFKA_REASSIGNMENT_IN_PROGRESS : partition_log_error(err);
}

static struct log_dir *dir_of(struct log_dirs *dirs, struct span path) {
    for (uint32_t i = 0; i < log_dirs_count(dirs); i++)
        if (span_equal(span_text(log_dir_path(log_dirs_at(dirs, i))), path)) return log_dirs_at(dirs, i);
    return NULL;
}

/* "<topic>-<partition>.<32 digits>-future" must be a file's name. */
static bool name_is_too_long(struct span topic, partition_index partition) {
    size_t digits = 1;
    for (int32_t n = partition; n >= 10; n /= 10) digits++;
    return topic.size + 1 + digits + 1 + 32 + strlen("-future") > NAME_BYTES_MAX;
}

static enum kafka_error error_of(const struct broker *broker, struct span topic, partition_index partition, const struct log_dir *target) {
    const struct image_topic *known = image_topic(broker->image, topic);
    const struct image_partition *state = known ? image_partition(known, partition) : NULL;
    if (name_is_too_long(topic, partition)) return KAFKA_INVALID_TOPIC_EXCEPTION;
    if (!target) return KAFKA_LOG_DIR_NOT_FOUND;
    if (!log_dir_is_online(target)) return KAFKA_KAFKA_STORAGE_ERROR;
    if (!state) return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    return image_replica_index(state, broker->node->id) < 0 ? KAFKA_REPLICA_NOT_AVAILABLE : KAFKA_NONE;
}

/* ---- The answer: each topic once, each partition once */

typedef struct alter_replica_log_dirs_response_alter_replica_log_dir_topic_result topic_result;

static bool fill_answer(struct request *request, struct move_work *work) {
    struct alter_replica_log_dirs_response *out = &work->response;
    const struct named *named = &work->named;
    int32_t *sizes = ARENA_ARRAY(&request->arena, named->count, int32_t); /* by the place where a topic is named first */
    topic_result **topics = ARENA_ARRAY(&request->arena, named->count, topic_result *);
    out->results = alter_replica_log_dirs_response_alter_replica_log_dir_topic_result_array(&request->arena, work->count);
    if (!sizes || !topics || !out->results) return false;
    for (uint32_t at = 0; at < named->count; at++) sizes[named->places[at].topic]++;
    uint32_t at = 0;
    for (int32_t t = 0; t < work->count; t++) {
        for (int32_t p = 0; p < work->topics[t].count; p++, at++) {
            topic_result **result = &topics[named->places[at].topic];
            if (!*result) {
                *result = &out->results[out->results_count++];
                (*result)->topic_name = work->topics[t].name;
                (*result)->partitions = alter_replica_log_dirs_response_alter_replica_log_dir_partition_result_array(&request->arena, sizes[at]);
                if (!(*result)->partitions) return false;
            }
            if (named->places[at].last != at) continue;
            const struct move_call *call = &work->topics[t].calls[p];
            (*result)->partitions[(*result)->partitions_count].partition_index = call->partition;
            (*result)->partitions[(*result)->partitions_count++].error_code = (int16_t)call->call.error;
        }
    }
    return true;
}

static void joined(struct request *request) {
    struct move_work *work = request->work;
    if (fill_answer(request, work)) request_reply(request, &work->response);
    else request_refuse(request, "over budget");
}

/* ---- */

static bool list_topic(struct request *request, struct move_work *work, const struct alter_replica_log_dirs_request_alter_replica_log_dir_topic *asked,
                       struct log_dir *target) {
    struct topic_moves *topic = &work->topics[work->count++];
    topic->name = asked->name;
    if (!(topic->calls = REQUEST_ARRAY(request, (size_t)asked->partitions_count, struct move_call))) return false;
    for (int32_t p = 0; p < asked->partitions_count; p++) {
        struct move_call *call = &topic->calls[topic->count++];
        call->partition = asked->partitions[p];
        call->target = target;
        call->call.error = error_of(request->broker, asked->name, call->partition, target);
        named_add(&work->named, asked->name, call->partition);
    }
    return true;
}

void handle_alter_replica_log_dirs(struct request *request) {
    const struct alter_replica_log_dirs_request *in = request->in;
    struct move_work *work = REQUEST_NEW(request, struct move_work);
    if (!work) return;
    request->work = work;
    alter_replica_log_dirs_response_init(&work->response);
    size_t count = 0, partitions = 0;
    for (int32_t d = 0; d < in->dirs_count; d++) {
        count += (size_t)in->dirs[d].topics_count;
        for (int32_t t = 0; t < in->dirs[d].topics_count; t++) partitions += (size_t)in->dirs[d].topics[t].partitions_count;
    }
    if (!named_init(&work->named, &request->arena, partitions)) {
        request_refuse(request, "over budget");
        return;
    }
    if (!(work->topics = REQUEST_ARRAY(request, count, struct topic_moves))) return;
    for (int32_t d = 0; d < in->dirs_count; d++) {
        struct log_dir *target = dir_of(request->broker->node->dirs, in->dirs[d].path);
        for (int32_t t = 0; t < in->dirs[d].topics_count; t++)
            if (!list_topic(request, work, &in->dirs[d].topics[t], target)) return;
    }
    named_settle(&work->named);
    uint32_t at = 0;
    for (int32_t t = 0; t < work->count; t++) {
        const struct image_topic *known = image_topic(request->broker->image, work->topics[t].name);
        for (int32_t p = 0; p < work->topics[t].count; p++, at++) {
            struct move_call *call = &work->topics[t].calls[p];
            if (!call->call.error && work->named.places[at].last == at && !partition_calls_add(request, &work->calls, &call->call, known->id, call->partition, move)) return;
        }
    }
    partition_calls_send(request, &work->calls, joined);
}
