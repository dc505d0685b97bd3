/* Groups: FindCoordinator, the classic protocol, offsets, lists and descriptions. A request is split into calls, each
 * about one group, which travel to the shard that the group's partition of __consumer_offsets lives on.
 */
#include "broker/broker.h"
#include "broker/group_share.h"
#include "broker/handlers.h"
#include "broker/topic.h"
#include "broker/topics_auto.h"

/* READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS: what there is to do with a group. */
enum { GROUP_OPERATIONS = 0x0d48 };

/* ---- one group, one answer ------------------------------------------------------------------------------------------ */

static void single_joined(struct request *request) {
    struct group_share *share = request->work;
    if (share->call.coord.group.answer.any) request_reply(request, share->call.coord.group.answer.any);
    else request_refuse(request, "no memory for the answer");
}

static struct group_share *single(struct request *request, enum group_request_type type) {
    struct group_share *share = group_share_new(request, type);
    if (share) request->work = share;
    return share;
}

static void send_single(struct request *request, struct group_share *share, struct span group_id) {
    fanout_begin(request, single_joined);
    group_share_send(request, share, group_id);
    fanout_sent(request);
}

void handle_join_group(struct request *request) {
    const struct join_group_request *in = request->in;
    struct group_share *share = single(request, GROUP_JOIN);
    if (!share) return;
    share->call.coord.group.join = in;
    send_single(request, share, in->group_id);
}

void handle_sync_group(struct request *request) {
    const struct sync_group_request *in = request->in;
    struct group_share *share = single(request, GROUP_SYNC);
    if (!share) return;
    share->call.coord.group.sync = in;
    send_single(request, share, in->group_id);
}

void handle_heartbeat(struct request *request) {
    const struct heartbeat_request *in = request->in;
    struct group_share *share = single(request, GROUP_HEARTBEAT);
    if (!share) return;
    share->call.coord.group.heartbeat = in;
    send_single(request, share, in->group_id);
}

void handle_leave_group(struct request *request) {
    const struct leave_group_request *in = request->in;
    struct group_share *share = single(request, GROUP_LEAVE);
    if (!share) return;
    share->call.coord.group.leave = in;
    send_single(request, share, in->group_id);
}

/* ---- OffsetCommit: what names an unknown partition is answered here, the rest goes to the group -------------------------- */

struct commit_work {
    struct group_share *share;
    struct offset_commit_request asked;      /* what is left of the request */
    struct offset_commit_response response;
    int16_t **open;                          /* error codes to be filled in, in the order of `asked` */
    uint32_t open_count;
};

static void commit_joined(struct request *request) {
    struct commit_work *work = request->work;
    if (work->share) {
        const struct offset_commit_response *answer = work->share->call.coord.group.answer.offset_commit;
        uint32_t n = 0;
        for (int32_t t = 0; answer && t < answer->topics_count; t++)
            for (int32_t p = 0; p < answer->topics[t].partitions_count && n < work->open_count; p++)
                *work->open[n++] = answer->topics[t].partitions[p].error_code;
        for (; n < work->open_count; n++) *work->open[n] = (int16_t)(work->share->call.coord.group.error ? work->share->call.coord.group.error : KAFKA_UNKNOWN_SERVER_ERROR);
    }
    request_reply(request, &work->response);
}

void handle_offset_commit(struct request *request) {
    const struct offset_commit_request *in = request->in;
    const struct image *image = request->broker->image;
    struct commit_work *work = REQUEST_NEW(request, struct commit_work);
    if (!work) return;
    request->work = work;
    offset_commit_response_init(&work->response);
    work->asked = *in;
    uint32_t count = 0;
    for (int32_t t = 0; t < in->topics_count; t++) count += (uint32_t)in->topics[t].partitions_count;
    work->asked.topics = REQUEST_ARRAY(request, (size_t)in->topics_count, struct offset_commit_request_offset_commit_request_topic);
    if (!work->asked.topics) return;
    if (!(work->open = REQUEST_ARRAY(request, count, int16_t *))) return;
    work->response.topics = offset_commit_response_offset_commit_response_topic_array(&request->arena, in->topics_count);
    if (!work->response.topics) goto over_budget;
    work->asked.topics_count = 0;
    for (int32_t t = 0; t < in->topics_count; t++) {
        const struct offset_commit_request_offset_commit_request_topic *topic = &in->topics[t];
        const struct image_topic *known = request->version >= 10 ? image_topic_by_id(image, topic->topic_id) : image_topic(image, topic->name);
        if (topic->partitions_count == 0 && known) continue; /* it is not in the answer either; one that is not there is */
        struct offset_commit_response_offset_commit_response_topic *answer = &work->response.topics[work->response.topics_count++];
        answer->name = topic->name;
        answer->topic_id = topic->topic_id;
        answer->partitions = offset_commit_response_offset_commit_response_partition_array(&request->arena, topic->partitions_count);
        if (!answer->partitions) goto over_budget;
        answer->partitions_count = topic->partitions_count;
        struct offset_commit_request_offset_commit_request_topic left = *topic;
        left.partitions_count = 0;
        left.partitions = REQUEST_ARRAY(request, (size_t)topic->partitions_count, struct offset_commit_request_offset_commit_request_partition);
        if (!left.partitions) return;
        if (known) {
            left.name = known->name;
            left.topic_id = known->id;
        }
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            struct offset_commit_response_offset_commit_response_partition *o = &answer->partitions[p];
            o->partition_index = topic->partitions[p].partition_index;
            if (!known) {
                o->error_code = request->version >= 10 ? KAFKA_UNKNOWN_TOPIC_ID : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            } else if (!image_partition(known, o->partition_index)) {
                o->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            } else {
                left.partitions[left.partitions_count++] = topic->partitions[p];
                work->open[work->open_count++] = &o->error_code;
            }
        }
        if (left.partitions_count) work->asked.topics[work->asked.topics_count++] = left;
    }
    fanout_begin(request, commit_joined);
    if (work->open_count) {
        work->share = group_share_new(request, GROUP_OFFSET_COMMIT);
        if (!work->share) return;
        work->share->call.coord.group.offset_commit = &work->asked;
        group_share_send(request, work->share, in->group_id);
    }
    fanout_sent(request);
    return;
over_budget:
    request_refuse(request, "over budget");
}

/* ---- OffsetFetch: each group of it is a call; before version 8 there is one, and a flat answer ---------------------------- */

typedef struct offset_fetch_request_offset_fetch_request_group fetch_group;
typedef struct offset_fetch_response_offset_fetch_response_group fetched_group;
typedef struct offset_fetch_request_offset_fetch_request_topics fetch_topics;
typedef struct offset_fetch_response_offset_fetch_response_topics fetched_topics;

struct offsets_work {
    struct offset_fetch_response response;
    struct group_share **shares;
    fetch_group *asked;             /* names resolved, unknown ids left out */
    fetched_topics **unknown;       /* what was left out, for each group */
    int32_t *unknown_count;
    int32_t count;
};

static void flatten(struct request *request, const fetched_group *group, struct offset_fetch_response *out) {
    out->error_code = group->error_code;
    out->topics = offset_fetch_response_offset_fetch_response_topic_array(&request->arena, group->topics_count < 0 ? 0 : group->topics_count);
    if (!out->topics) return;
    for (int32_t t = 0; t < group->topics_count; t++) {
        struct offset_fetch_response_offset_fetch_response_topic *topic = &out->topics[out->topics_count++];
        const fetched_topics *from = &group->topics[t];
        topic->name = from->name;
        topic->partitions = offset_fetch_response_offset_fetch_response_partition_array(&request->arena, from->partitions_count);
        if (!topic->partitions) return;
        for (int32_t p = 0; p < from->partitions_count; p++) {
            struct offset_fetch_response_offset_fetch_response_partition *o = &topic->partitions[topic->partitions_count++];
            o->partition_index = from->partitions[p].partition_index;
            o->committed_offset = from->partitions[p].committed_offset;
            o->committed_leader_epoch = from->partitions[p].committed_leader_epoch;
            o->metadata = from->partitions[p].metadata;
            o->error_code = from->partitions[p].error_code;
        }
    }
}

/* Version 1 has no error for the whole: each partition is told. */
static bool error_for_each(struct request *request, const struct offset_fetch_request *in, int16_t error, struct offset_fetch_response *out) {
    out->topics = offset_fetch_response_offset_fetch_response_topic_array(&request->arena, in->topics_count < 0 ? 0 : in->topics_count);
    out->topics_count = 0; /* what the group's answer had put there is replaced */
    if (!out->topics) return false;
    for (int32_t t = 0; t < in->topics_count; t++) {
        struct offset_fetch_response_offset_fetch_response_topic *topic = &out->topics[out->topics_count++];
        topic->name = in->topics[t].name;
        topic->partitions = offset_fetch_response_offset_fetch_response_partition_array(&request->arena, in->topics[t].partition_indexes_count);
        if (!topic->partitions) return false;
        for (int32_t p = 0; p < in->topics[t].partition_indexes_count; p++) {
            struct offset_fetch_response_offset_fetch_response_partition *o = &topic->partitions[topic->partitions_count++];
            o->partition_index = in->topics[t].partition_indexes[p];
            o->committed_offset = -1;
            o->metadata = SPAN_LITERAL("");
            o->error_code = error;
        }
    }
    return true;
}

/* Version 10 answers by id: topics that are gone have none and are left out; ids that were not known are told. */
static bool by_id(struct request *request, struct offsets_work *work, int32_t g, fetched_group *group) {
    int32_t known = 0, total = (group->topics_count < 0 ? 0 : group->topics_count) + work->unknown_count[g];
    fetched_topics *topics = offset_fetch_response_offset_fetch_response_topics_array(&request->arena, total);
    if (!topics) return false;
    for (int32_t t = 0; t < group->topics_count; t++) {
        struct uuid id;
        if (!broker_topic_id(request->broker, group->topics[t].name, &id)) continue;
        topics[known] = group->topics[t];
        topics[known++].topic_id = id;
    }
    for (int32_t t = 0; t < work->unknown_count[g]; t++) topics[known++] = work->unknown[g][t];
    group->topics = topics;
    group->topics_count = known;
    return true;
}

static void offsets_joined(struct request *request) {
    struct offsets_work *work = request->work;
    struct offset_fetch_response *out = &work->response;
    const struct offset_fetch_request *in = request->in;
    if (request->version < 8) {
        const fetched_group *group = work->shares[0]->call.coord.group.answer.offset_fetch;
        if (!group) {
            request_refuse(request, "no memory for the answer");
            return;
        }
        flatten(request, group, out);
        if (request->version < 2 && group->error_code && !error_for_each(request, in, group->error_code, out)) {
            request_refuse(request, "over budget");
            return;
        }
        request_reply(request, out);
        return;
    }
    out->groups = offset_fetch_response_offset_fetch_response_group_array(&request->arena, work->count);
    if (!out->groups) {
        request_refuse(request, "over budget");
        return;
    }
    for (int32_t g = 0; g < work->count; g++) {
        const fetched_group *answer = work->shares[g]->call.coord.group.answer.offset_fetch;
        fetched_group *group = &out->groups[out->groups_count++];
        if (answer) *group = *answer;
        else group->error_code = KAFKA_UNKNOWN_SERVER_ERROR;
        group->group_id = work->asked[g].group_id;
        if (request->version >= 10 && group->error_code == KAFKA_NONE && !by_id(request, work, g, group)) {
            request_refuse(request, "over budget");
            return;
        }
    }
    request_reply(request, out);
}

static bool resolve_ids(struct request *request, struct offsets_work *work, int32_t g) {
    fetch_group *group = &work->asked[g];
    if (request->version < 10 || group->topics_count <= 0) return true;
    fetch_topics *known = REQUEST_ARRAY(request, (size_t)group->topics_count, fetch_topics);
    if (!known) return false;
    work->unknown[g] = offset_fetch_response_offset_fetch_response_topics_array(&request->arena, group->topics_count);
    if (!work->unknown[g]) {
        request_refuse(request, "over budget");
        return false;
    }
    int32_t count = 0;
    for (int32_t t = 0; t < group->topics_count; t++) {
        const fetch_topics *asked = &group->topics[t];
        const struct image_topic *topic = image_topic_by_id(request->broker->image, asked->topic_id);
        if (topic) {
            known[count] = *asked;
            known[count++].name = topic->name;
            continue;
        }
        fetched_topics *unknown = &work->unknown[g][work->unknown_count[g]++];
        unknown->topic_id = asked->topic_id;
        unknown->partitions = offset_fetch_response_offset_fetch_response_partitions_array(&request->arena, asked->partition_indexes_count);
        if (!unknown->partitions) {
            request_refuse(request, "over budget");
            return false;
        }
        unknown->partitions_count = asked->partition_indexes_count;
        for (int32_t p = 0; p < asked->partition_indexes_count; p++) {
            unknown->partitions[p].partition_index = asked->partition_indexes[p];
            unknown->partitions[p].committed_offset = -1;
            unknown->partitions[p].metadata = SPAN_LITERAL("");
            unknown->partitions[p].error_code = KAFKA_UNKNOWN_TOPIC_ID;
        }
    }
    group->topics = known;
    group->topics_count = count;
    return true;
}

void handle_offset_fetch(struct request *request) {
    const struct offset_fetch_request *in = request->in;
    struct offsets_work *work = REQUEST_NEW(request, struct offsets_work);
    if (!work) return;
    request->work = work;
    offset_fetch_response_init(&work->response);
    work->count = request->version >= 8 ? in->groups_count : 1;
    size_t count = (size_t)work->count;
    if (!(work->shares = REQUEST_ARRAY(request, count, struct group_share *))) return;
    if (!(work->asked = REQUEST_ARRAY(request, count, fetch_group))) return;
    if (!(work->unknown = REQUEST_ARRAY(request, count, fetched_topics *))) return;
    if (!(work->unknown_count = REQUEST_ARRAY(request, count, int32_t))) return;
    if (request->version >= 8) {
        for (int32_t g = 0; g < work->count; g++) work->asked[g] = in->groups[g];
    } else {
        fetch_group *group = &work->asked[0];
        offset_fetch_request_offset_fetch_request_group_init(group);
        group->group_id = in->group_id;
        group->topics_count = in->topics_count;
        if (in->topics_count >= 0) {
            group->topics = REQUEST_ARRAY(request, (size_t)in->topics_count, fetch_topics);
            if (!group->topics) return;
            for (int32_t t = 0; t < in->topics_count; t++) {
                group->topics[t].name = in->topics[t].name;
                group->topics[t].partition_indexes = in->topics[t].partition_indexes;
                group->topics[t].partition_indexes_count = in->topics[t].partition_indexes_count;
            }
        } else {
            group->topics = NULL;
        }
    }
    for (int32_t g = 0; g < work->count; g++) {
        if (!resolve_ids(request, work, g)) return;
        work->shares[g] = group_share_new(request, GROUP_OFFSET_FETCH);
        if (!work->shares[g]) return;
        work->shares[g]->call.coord.group.offset_fetch.group = &work->asked[g];
        work->shares[g]->call.coord.group.offset_fetch.require_stable = request->version >= 7 && in->require_stable;
    }
    fanout_begin(request, offsets_joined);
    for (int32_t g = 0; g < work->count; g++) group_share_send(request, work->shares[g], work->asked[g].group_id);
    fanout_sent(request);
}

/* ---- DescribeGroups ------------------------------------------------------------------------------------------------- */

struct describe_work {
    struct describe_groups_response response;
    struct group_share **shares;
};

static void describe_joined(struct request *request) {
    struct describe_work *work = request->work;
    const struct describe_groups_request *in = request->in;
    struct describe_groups_response *out = &work->response;
    out->groups = describe_groups_response_described_group_array(&request->arena, in->groups_count);
    if (!out->groups) {
        request_refuse(request, "over budget");
        return;
    }
    for (int32_t g = 0; g < in->groups_count; g++) {
        const struct describe_groups_response_described_group *answer = work->shares[g]->call.coord.group.answer.describe;
        struct describe_groups_response_described_group *group = &out->groups[out->groups_count++];
        if (answer) *group = *answer;
        else group->error_code = (int16_t)(work->shares[g]->call.coord.group.error ? work->shares[g]->call.coord.group.error : KAFKA_UNKNOWN_SERVER_ERROR);
        group->group_id = in->groups[g];
        group->authorized_operations = INT32_MIN;
        if (request->version >= 3 && in->include_authorized_operations && group->error_code == KAFKA_NONE) group->authorized_operations = GROUP_OPERATIONS;
    }
    request_reply(request, out);
}

void handle_describe_groups(struct request *request) {
    const struct describe_groups_request *in = request->in;
    struct describe_work *work = REQUEST_NEW(request, struct describe_work);
    if (!work) return;
    request->work = work;
    describe_groups_response_init(&work->response);
    if (!(work->shares = REQUEST_ARRAY(request, (size_t)in->groups_count, struct group_share *))) return;
    for (int32_t g = 0; g < in->groups_count; g++) {
        if (!(work->shares[g] = group_share_new(request, GROUP_DESCRIBE))) return;
        work->shares[g]->call.coord.group.group_id = in->groups[g];
    }
    fanout_begin(request, describe_joined);
    for (int32_t g = 0; g < in->groups_count; g++) group_share_send(request, work->shares[g], in->groups[g]);
    fanout_sent(request);
}

/* ---- ListGroups: every coordinator of every shard ---------------------------------------------------------------------- */

struct list_share;
struct list_call {
    struct group_call call;
    struct list_share *share;
    struct list_call *next;
};
struct list_share {
    struct share share;
    const struct list_groups_request *asked;
    struct list_call *calls;
    uint32_t waiting;
    int16_t version;
    bool failed;
};
struct list_work {
    struct list_groups_response response;
    struct list_share *shares;
};

static void list_call_done(struct group_call *call) {
    struct list_share *share = container_of(call, struct list_call, call)->share;
    if (--share->waiting == 0) fanout_done(&share->share);
}

static void list_run(struct share *base) {
    struct list_share *share = container_of(base, struct list_share, share);
    struct coordinators *coordinators = base->there->coordinators;
    share->waiting = 1;
    for (partition_index p = coordinators_next(coordinators, -1); p >= 0; p = coordinators_next(coordinators, p)) {
        struct list_call *call = ARENA_NEW(&base->arena, struct list_call);
        if (!call) {
            share->failed = true;
            break;
        }
        call->share = share;
        call->next = share->calls;
        share->calls = call;
        list_init(&call->call.coord.group.node);
        call->call.coord.group.type = GROUP_LIST;
        call->call.coord.group.version = share->version;
        call->call.coord.group.arena = &base->arena;
        call->call.coord.group.list = share->asked;
        call->call.done = list_call_done;
        share->waiting++;
        coordinators_group_call(coordinators, p, &call->call);
    }
    if (--share->waiting == 0) fanout_done(base);
}

static void list_joined(struct request *request) {
    struct list_work *work = request->work;
    struct list_groups_response *out = &work->response;
    int32_t count = 0;
    for (uint32_t i = 0; i < request->broker->shards; i++) {
        if (work->shares[i].failed) out->error_code = KAFKA_UNKNOWN_SERVER_ERROR;
        for (const struct list_call *call = work->shares[i].calls; call; call = call->next) {
            const struct list_groups_response *answer = call->call.coord.group.answer.list;
            if (call->call.coord.group.error) out->error_code = (int16_t)call->call.coord.group.error;
            else if (answer && answer->error_code) out->error_code = answer->error_code;
            else if (answer) count += answer->groups_count;
        }
    }
    if (out->error_code == KAFKA_NONE) {
        out->groups = list_groups_response_listed_group_array(&request->arena, count);
        if (!out->groups) {
            request_refuse(request, "over budget");
            return;
        }
        for (uint32_t i = 0; i < request->broker->shards; i++)
            for (const struct list_call *call = work->shares[i].calls; call; call = call->next)
                for (int32_t g = 0; call->call.coord.group.answer.list && g < call->call.coord.group.answer.list->groups_count; g++)
                    out->groups[out->groups_count++] = call->call.coord.group.answer.list->groups[g];
    }
    request_reply(request, out);
}

void handle_list_groups(struct request *request) {
    struct list_work *work = REQUEST_NEW(request, struct list_work);
    if (!work) return;
    request->work = work;
    list_groups_response_init(&work->response);
    if (!(work->shares = REQUEST_ARRAY(request, request->broker->shards, struct list_share))) return;
    fanout_begin(request, list_joined);
    for (uint32_t i = 0; i < request->broker->shards; i++) {
        struct list_share *share = &work->shares[i];
        arena_init_travelling(&share->share.arena, request->broker->shard->pool, 0);
        share->asked = request->in;
        share->version = request->version;
        fanout_send(request, i, &share->share, list_run, NULL);
    }
    fanout_sent(request);
}

/* ---- FindCoordinator ------------------------------------------------------------------------------------------------------ */

enum { COORDINATOR_GROUP = 0, COORDINATOR_TRANSACTION = 1 };

static void find(struct request *request, int8_t type, struct span key, struct find_coordinator_response_coordinator *out) {
    struct broker *broker = request->broker;
    out->key = key;
    out->node_id = -1;
    out->host = SPAN_LITERAL("");
    out->port = -1;
    out->error_message = (struct span){0};
    if (type == COORDINATOR_TRANSACTION) {
        /* An error that ends the producer: anything milder is tried again for ever. */
        out->error_code = KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        out->error_message = SPAN_LITERAL("Transactions are not served by this broker.");
        return;
    }
    if (type != COORDINATOR_GROUP) {
        out->error_code = KAFKA_INVALID_REQUEST;
        out->error_message = SPAN_LITERAL("Only coordinators of groups are served by this broker.");
        return;
    }
    struct span name = SPAN_LITERAL("__consumer_offsets");
    const struct image_topic *topic = image_topic(broker->image, name);
    out->error_code = KAFKA_COORDINATOR_NOT_AVAILABLE;
    if (!topic) {
        topics_auto_create_internal(broker, name);
        return;
    }
    const struct image_partition *partition = image_partition(topic, group_partition(key, (int32_t)topic->partition_count));
    const struct image_broker *leader = partition && partition->leader >= 0 ? image_broker(broker->image, partition->leader) : NULL;
    const struct image_endpoint *endpoint =
        leader && !leader->fenced ? image_broker_endpoint(leader, span_text(broker->node->listeners[request->client->listener].name)) : NULL;
    if (!endpoint) return;
    out->error_code = KAFKA_NONE;
    out->error_message = request->version < 4 ? SPAN_LITERAL("NONE") : SPAN_LITERAL(""); /* as Apache Kafka says that there is none */
    out->node_id = leader->id;
    out->host = endpoint->host;
    out->port = endpoint->port;
}

void handle_find_coordinator(struct request *request) {
    const struct find_coordinator_request *in = request->in;
    struct find_coordinator_response *out = REQUEST_NEW(request, struct find_coordinator_response);
    if (!out) return;
    find_coordinator_response_init(out);
    if (request->version < 4) {
        struct find_coordinator_response_coordinator one;
        find_coordinator_response_coordinator_init(&one);
        find(request, request->version >= 1 ? in->key_type : COORDINATOR_GROUP, in->key, &one);
        out->error_code = one.error_code;
        out->error_message = one.error_message;
        out->node_id = one.node_id;
        out->host = one.host;
        out->port = one.port;
    } else {
        out->coordinators = find_coordinator_response_coordinator_array(&request->arena, in->coordinator_keys_count);
        if (!out->coordinators) {
            request_refuse(request, "over budget");
            return;
        }
        out->coordinators_count = in->coordinator_keys_count;
        for (int32_t i = 0; i < in->coordinator_keys_count; i++) find(request, in->key_type, in->coordinator_keys[i], &out->coordinators[i]);
    }
    request_reply(request, out);
}
