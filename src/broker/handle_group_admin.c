/* DeleteGroups and OffsetDelete: what an operator takes away from groups. */
#include "broker/broker.h"
#include "broker/group_share.h"
#include "broker/handlers.h"
#include "broker/named.h"

static enum kafka_error error_of(const struct group_share *share) {
    return share->call.coord.group.error ? share->call.coord.group.error : KAFKA_UNKNOWN_SERVER_ERROR;
}

/* ---- DeleteGroups ------------------------------------------------------------------------------------------------- */

struct delete_work {
    struct delete_groups_response response;
    struct group_share **shares;
    struct span *names; /* each once */
    int32_t count;
};

static void delete_joined(struct request *request) {
    struct delete_work *work = request->work;
    struct delete_groups_response *out = &work->response;
    out->results = delete_groups_response_deletable_group_result_array(&request->arena, work->count);
    if (!out->results) {
        request_refuse(request, "over budget");
        return;
    }
    for (int32_t g = 0; g < work->count; g++) {
        const struct delete_groups_response_deletable_group_result *answer = work->shares[g]->call.coord.group.answer.deleted;
        struct delete_groups_response_deletable_group_result *result = &out->results[out->results_count++];
        if (answer) *result = *answer;
        else result->error_code = (int16_t)error_of(work->shares[g]);
        result->group_id = work->names[g];
    }
    request_reply(request, out);
}

void handle_delete_groups(struct request *request) {
    const struct delete_groups_request *in = request->in;
    struct delete_work *work = REQUEST_NEW(request, struct delete_work);
    if (!work) return;
    request->work = work;
    delete_groups_response_init(&work->response);
    struct named named;
    if (!named_init(&named, &request->arena, (size_t)in->groups_names_count)) {
        request_refuse(request, "over budget");
        return;
    }
    for (int32_t g = 0; g < in->groups_names_count; g++) named_add(&named, in->groups_names[g], 0);
    named_settle(&named);
    if (!(work->names = REQUEST_ARRAY(request, (size_t)in->groups_names_count, struct span))) return;
    if (!(work->shares = REQUEST_ARRAY(request, (size_t)in->groups_names_count, struct group_share *))) return;
    for (int32_t g = 0; g < in->groups_names_count; g++) {
        if (named.places[g].first != (uint32_t)g) continue;
        struct group_share *share = group_share_new(request, GROUP_DELETE);
        if (!share) return;
        share->call.coord.group.group_id = in->groups_names[g];
        work->names[work->count] = in->groups_names[g];
        work->shares[work->count++] = share;
    }
    fanout_begin(request, delete_joined);
    for (int32_t g = 0; g < work->count; g++) group_share_send(request, work->shares[g], work->names[g]);
    fanout_sent(request);
}

/* ---- OffsetDelete: what names an unknown partition is answered here, the rest goes to the group ---------------------- */

typedef struct offset_delete_request_offset_delete_request_topic delete_topic;
typedef struct offset_delete_request_offset_delete_request_partition delete_partition;
typedef struct offset_delete_response_offset_delete_response_topic deleted_topic;
typedef struct offset_delete_response_offset_delete_response_partition deleted_partition;

struct offsets_work {
    struct group_share *share;          /* also when no topic is left: is there such a group? */
    struct offset_delete_request asked;
    deleted_topic *unknown;             /* as asked, but only the partitions that are not there */
    int32_t unknown_count;
    struct offset_delete_response response;
};

/* Unknown partitions first, the group's answers behind them; a topic is told once. */
static bool merge(struct request *request, struct offsets_work *work, const struct offset_delete_response *answer) {
    struct offset_delete_response *out = &work->response;
    int32_t count = work->unknown_count + answer->topics_count;
    struct named named;
    if (!named_init(&named, &request->arena, (size_t)count)) return false;
    int32_t *sizes = ARENA_ARRAY(&request->arena, (size_t)count, int32_t);
    deleted_topic **topics = ARENA_ARRAY(&request->arena, (size_t)count, deleted_topic *);
    out->topics = offset_delete_response_offset_delete_response_topic_array(&request->arena, count);
    if (!sizes || !topics || !out->topics) return false;
    for (int32_t t = 0; t < count; t++) named_add(&named, (t < work->unknown_count ? &work->unknown[t] : &answer->topics[t - work->unknown_count])->name, 0);
    named_settle(&named);
    for (int32_t t = 0; t < count; t++)
        sizes[named.places[t].first] += (t < work->unknown_count ? &work->unknown[t] : &answer->topics[t - work->unknown_count])->partitions_count;
    for (int32_t t = 0; t < count; t++) {
        const deleted_topic *from = t < work->unknown_count ? &work->unknown[t] : &answer->topics[t - work->unknown_count];
        deleted_topic **to = &topics[named.places[t].first];
        if (!*to) {
            *to = &out->topics[out->topics_count++];
            (*to)->name = from->name;
            (*to)->partitions = offset_delete_response_offset_delete_response_partition_array(&request->arena, sizes[t]);
            if (!(*to)->partitions) return false;
        }
        for (int32_t p = 0; p < from->partitions_count; p++) (*to)->partitions[(*to)->partitions_count++] = from->partitions[p];
    }
    return true;
}

static void offsets_joined(struct request *request) {
    struct offsets_work *work = request->work;
    const struct offset_delete_response *answer = work->share->call.coord.group.answer.offset_delete;
    work->response.error_code = answer ? answer->error_code : (int16_t)error_of(work->share);
    if (!work->response.error_code && !merge(request, work, answer)) {
        request_refuse(request, "over budget");
        return;
    }
    request_reply(request, &work->response);
}

static bool split(struct request *request, struct offsets_work *work, const delete_topic *topic) {
    const struct image_topic *known = image_topic(request->broker->image, topic->name);
    delete_topic *left = &work->asked.topics[work->asked.topics_count];
    deleted_topic *unknown = &work->unknown[work->unknown_count];
    *left = *topic;
    left->partitions_count = 0;
    if (!(left->partitions = REQUEST_ARRAY(request, (size_t)topic->partitions_count, delete_partition))) return false;
    unknown->name = topic->name;
    unknown->partitions = offset_delete_response_offset_delete_response_partition_array(&request->arena, topic->partitions_count);
    if (!unknown->partitions) {
        request_refuse(request, "over budget");
        return false;
    }
    for (int32_t p = 0; p < topic->partitions_count; p++) {
        if (known && image_partition(known, topic->partitions[p].partition_index)) {
            left->partitions[left->partitions_count++] = topic->partitions[p];
            continue;
        }
        deleted_partition *out = &unknown->partitions[unknown->partitions_count++];
        out->partition_index = topic->partitions[p].partition_index;
        out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (left->partitions_count) work->asked.topics_count++;
    if (unknown->partitions_count || !known) work->unknown_count++; /* a topic that is not there is named in any case */
    return true;
}

void handle_offset_delete(struct request *request) {
    const struct offset_delete_request *in = request->in;
    struct offsets_work *work = REQUEST_NEW(request, struct offsets_work);
    if (!work) return;
    request->work = work;
    offset_delete_response_init(&work->response);
    work->asked = *in;
    work->asked.topics_count = 0;
    if (!(work->asked.topics = REQUEST_ARRAY(request, (size_t)in->topics_count, delete_topic))) return;
    if (!(work->unknown = REQUEST_ARRAY(request, (size_t)in->topics_count, deleted_topic))) return;
    for (int32_t t = 0; t < in->topics_count; t++)
        if (!split(request, work, &in->topics[t])) return;
    if (in->group_id.size == 0) {
        work->response.error_code = KAFKA_INVALID_GROUP_ID;
        request_reply(request, &work->response);
        return;
    }
    if (!(work->share = group_share_new(request, GROUP_OFFSET_DELETE))) return;
    work->share->call.coord.group.offset_delete = &work->asked;
    fanout_begin(request, offsets_joined);
    group_share_send(request, work->share, in->group_id);
    fanout_sent(request);
}
