/* AlterReplicaLogDirs: replicas of this broker go to other directories of it. The answer says that a move is under way, or
 * why not; DescribeLogDirs tells when it is over.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/partition.h"
#include "broker/partition_calls.h"

/* Beyond the latter, what is named twice is answered twice: looking for it is squared. */
enum { NAME_BYTES_MAX = 255, NAMES_COMPARED_MAX = 256 };

struct move_call {
    struct partition_call call;
    struct log_dir *target;
    partition_index partition;
    bool is_named_again; /* and the later one counts */
};
struct topic_moves {
    struct span name;
    struct move_call *calls;
    int32_t count;
    bool is_named_again;
};
struct move_work {
    struct partition_calls calls;
    struct topic_moves *topics; /* for each topic of each directory */
    int32_t count;
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

static bool is_near(const struct move_work *work, int32_t first, int32_t t) {
    return t < work->count && t - first <= NAMES_COMPARED_MAX;
}

/* How many partitions this topic has here and further on; there it needs no answer of its own. */
static int32_t gather(struct move_work *work, int32_t first) {
    int32_t partitions = work->topics[first].count;
    for (int32_t t = first + 1; is_near(work, first, t); t++) {
        struct topic_moves *topic = &work->topics[t];
        if (topic->is_named_again || !span_equal(topic->name, work->topics[first].name)) continue;
        partitions += topic->count;
        topic->is_named_again = true;
    }
    return partitions;
}

typedef struct alter_replica_log_dirs_response_alter_replica_log_dir_topic_result topic_result;

static void add_partitions(const struct topic_moves *topic, topic_result *out) {
    for (int32_t p = 0; p < topic->count; p++) {
        if (topic->calls[p].is_named_again) continue;
        out->partitions[out->partitions_count].partition_index = topic->calls[p].partition;
        out->partitions[out->partitions_count++].error_code = (int16_t)topic->calls[p].call.error;
    }
}

static void joined(struct request *request) {
    struct move_work *work = request->work;
    struct alter_replica_log_dirs_response *out = &work->response;
    out->results = alter_replica_log_dirs_response_alter_replica_log_dir_topic_result_array(&request->arena, work->count);
    for (int32_t t = 0; out->results && t < work->count; t++) {
        if (work->topics[t].is_named_again) continue;
        int32_t partitions = gather(work, t);
        if (partitions == 0) continue;
        topic_result *result = &out->results[out->results_count++];
        result->topic_name = work->topics[t].name;
        result->partitions = alter_replica_log_dirs_response_alter_replica_log_dir_partition_result_array(&request->arena, partitions);
        if (!result->partitions) goto over_budget;
        for (int32_t i = t; is_near(work, t, i); i++)
            if (span_equal(work->topics[i].name, work->topics[t].name)) add_partitions(&work->topics[i], result);
    }
    if (out->results) {
        request_reply(request, out);
        return;
    }
over_budget:
    request_refuse(request, "over budget");
}

/* ---- */

/* A partition that is named twice goes where it is said last. */
static void note_repetitions(struct move_work *work) {
    int32_t compared = 0;
    for (int32_t t = work->count - 1; t >= 0; t--) {
        for (int32_t p = work->topics[t].count - 1; p >= 0; p--) {
            if (++compared > NAMES_COMPARED_MAX) return;
            struct move_call *call = &work->topics[t].calls[p];
            for (int32_t i = t; is_near(work, t, i) && !call->is_named_again; i++)
                for (int32_t k = i == t ? p + 1 : 0; k < work->topics[i].count && span_equal(work->topics[i].name, work->topics[t].name); k++)
                    call->is_named_again |= work->topics[i].calls[k].partition == call->partition;
        }
    }
}

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
    }
    return true;
}

void handle_alter_replica_log_dirs(struct request *request) {
    const struct alter_replica_log_dirs_request *in = request->in;
    struct move_work *work = REQUEST_NEW(request, struct move_work);
    if (!work) return;
    request->work = work;
    alter_replica_log_dirs_response_init(&work->response);
    size_t count = 0;
    for (int32_t d = 0; d < in->dirs_count; d++) count += (size_t)in->dirs[d].topics_count;
    if (!(work->topics = REQUEST_ARRAY(request, count, struct topic_moves))) return;
    for (int32_t d = 0; d < in->dirs_count; d++) {
        struct log_dir *target = dir_of(request->broker->node->dirs, in->dirs[d].path);
        for (int32_t t = 0; t < in->dirs[d].topics_count; t++)
            if (!list_topic(request, work, &in->dirs[d].topics[t], target)) return;
    }
    note_repetitions(work);
    for (int32_t t = 0; t < work->count; t++) {
        const struct image_topic *known = image_topic(request->broker->image, work->topics[t].name);
        for (int32_t p = 0; p < work->topics[t].count; p++) {
            struct move_call *call = &work->topics[t].calls[p];
            if (!call->call.error && !call->is_named_again && !partition_calls_add(request, &work->calls, &call->call, known->id, call->partition, move)) return;
        }
    }
    partition_calls_send(request, &work->calls, joined);
}
