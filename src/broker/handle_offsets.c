/* ListOffsets and OffsetForLeaderEpoch: one item for each partition, asked on the partition's shard. */
#include "broker/broker.h"
#include "broker/fanout.h"
#include "broker/handlers.h"
#include "broker/named.h"
#include "broker/partition.h"

struct offsets_share {
    struct share share;
    struct offset_item **items;
    uint32_t count, next, waiting;
};
struct offsets_work {
    struct offsets_share *shares[SHARDS_MAX];
};
struct offset_entry { /* an item knows its share, to say when it is over */
    struct offset_item item;
    struct offsets_share *share;
};

static void item_done(struct offset_item *item) {
    struct offsets_share *share = container_of(item, struct offset_entry, item)->share;
    if (--share->waiting == 0) fanout_done(&share->share);
}

enum { TURN_ITEMS = 256 }; /* some 0.3 ms */

static void run(struct share *base) {
    struct offsets_share *share = container_of(base, struct offsets_share, share);
    if (share->next == 0) share->waiting = 1;
    for (uint32_t done = 0; share->next < share->count; done++) {
        if (done >= TURN_ITEMS && fanout_again(base)) return;
        struct offset_item *item = share->items[share->next++];
        item->partition = partition_get(base->there, item->topic_id, item->index, &item->error);
        if (!item->partition) continue;
        share->waiting++;
        if (partition_offset(item)) share->waiting--;
    }
    if (--share->waiting == 0) fanout_done(&share->share);
}

static bool assign(struct request *request, struct offsets_work *work, struct offset_entry *entry, uint32_t count) {
    uint32_t shard = partition_shard(request->broker, entry->item.topic_id, entry->item.index);
    struct offsets_share *share = work->shares[shard];
    if (!share) {
        if (!(share = REQUEST_NEW(request, struct offsets_share))) return false;
        if (!(share->items = REQUEST_ARRAY(request, count, struct offset_item *))) return false;
        arena_init_travelling(&share->share.arena, request->broker->shard->pool, 0);
        work->shares[shard] = share;
    }
    entry->share = share;
    entry->item.done = item_done;
    share->items[share->count++] = &entry->item;
    return true;
}

static void send(struct request *request, struct offsets_work *work, void (*joined)(struct request *)) {
    fanout_begin(request, joined);
    for (uint32_t i = 0; i < request->broker->shards; i++)
        if (work->shares[i]) fanout_send(request, i, &work->shares[i]->share, run, NULL);
    fanout_sent(request);
}

/* ---- ListOffsets ------------------------------------------------------------------------------------------------------- */

struct list_work {
    struct offsets_work offsets;
    struct offset_entry *entries;
    struct list_offsets_response response;
};

static void list_joined(struct request *request) {
    struct list_work *work = request->work;
    struct list_offsets_response *out = &work->response;
    uint32_t n = 0;
    for (int32_t t = 0; t < out->topics_count; t++) {
        for (int32_t p = 0; p < out->topics[t].partitions_count; p++) {
            struct list_offsets_response_list_offsets_partition_response *o = &out->topics[t].partitions[p];
            struct offset_item *item = &work->entries[n++].item;
            o->error_code = (int16_t)(item->error == KAFKA_OFFSET_NOT_AVAILABLE && request->version < 5 ? KAFKA_LEADER_NOT_AVAILABLE : item->error);
            if (item->error) continue;
            o->offset = item->offset;
            o->timestamp = item->found_timestamp;
            if (request->version >= 4) o->leader_epoch = item->epoch;
        }
    }
    request_reply(request, out);
}

static enum kafka_error timestamp_error(int64_t timestamp, int16_t version) {
    int16_t since = timestamp >= LOG_TIME_EARLIEST              ? 1
                    : timestamp == LOG_TIME_MAX                 ? 7
                    : timestamp == LOG_TIME_EARLIEST_LOCAL      ? 8
                    : timestamp == LOG_TIME_LATEST_TIERED       ? 9
                    : timestamp == LOG_TIME_EARLIEST_PENDING    ? 11
                                                                : INT16_MAX;
    return version >= since ? KAFKA_NONE : KAFKA_UNSUPPORTED_VERSION;
}

void handle_list_offsets(struct request *request) {
    const struct list_offsets_request *in = request->in;
    struct list_work *work = REQUEST_NEW(request, struct list_work);
    if (!work) return;
    request->work = work;
    list_offsets_response_init(&work->response);
    struct list_offsets_response *out = &work->response;
    struct named named;
    uint32_t count = 0, n = 0, at = 0;
    for (int32_t t = 0; t < in->topics_count; t++) count += (uint32_t)in->topics[t].partitions_count;
    if (!(work->entries = REQUEST_ARRAY(request, count, struct offset_entry))) return;
    if (!named_init(&named, &request->arena, count)) {
        request_refuse(request, "over budget");
        return;
    }
    for (int32_t t = 0; t < in->topics_count; t++)
        for (int32_t p = 0; p < in->topics[t].partitions_count; p++) named_add(&named, in->topics[t].name, in->topics[t].partitions[p].partition_index);
    named_settle(&named);
    out->topics = list_offsets_response_list_offsets_topic_response_array(&request->arena, in->topics_count);
    if (!out->topics) {
        request_refuse(request, "over budget");
        return;
    }
    for (int32_t t = 0; t < in->topics_count; t++) {
        const struct list_offsets_request_list_offsets_topic *topic = &in->topics[t];
        struct list_offsets_response_list_offsets_topic_response *answer = &out->topics[out->topics_count];
        struct uuid topic_id = {{0}};
        bool known = broker_topic_id(request->broker, topic->name, &topic_id);
        answer->name = topic->name;
        answer->partitions = list_offsets_response_list_offsets_partition_response_array(&request->arena, topic->partitions_count);
        if (!answer->partitions) {
            request_refuse(request, "over budget");
            return;
        }
        answer->partitions_count = 0;
        for (int32_t p = 0; p < topic->partitions_count; p++, at++) {
            const struct list_offsets_request_list_offsets_partition *asked = &topic->partitions[p];
            /* The same partition twice in one request: INVALID_REQUEST, said once. */
            bool twice = named.places[at].first != named.places[at].last;
            if (named.places[at].first != at) continue;
            struct offset_entry *entry = &work->entries[n++];
            answer->partitions[answer->partitions_count++].partition_index = asked->partition_index;
            entry->item.index = asked->partition_index;
            entry->item.topic_id = topic_id;
            entry->item.current_epoch = asked->current_leader_epoch;
            entry->item.timestamp = asked->timestamp;
            entry->item.is_replica = in->replica_id >= 0;
            entry->item.isolation = in->isolation_level == 1 ? FETCH_COMMITTED : FETCH_UNCOMMITTED;
            bool isolation_is_good = in->isolation_level == 0 || in->isolation_level == 1;
            entry->item.error = twice || !isolation_is_good ? KAFKA_INVALID_REQUEST : timestamp_error(asked->timestamp, request->version);
            if (!entry->item.error && !known) entry->item.error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            if (!entry->item.error && !assign(request, &work->offsets, entry, count)) return;
        }
        if (answer->partitions_count) out->topics_count++; /* without partitions a topic is not in the answer */
    }
    send(request, &work->offsets, list_joined);
}

/* ---- OffsetForLeaderEpoch -------------------------------------------------------------------------------------------- */

struct epoch_work {
    struct offsets_work offsets;
    struct offset_entry *entries;
    struct offset_for_leader_epoch_response response;
};

static void epoch_joined(struct request *request) {
    struct epoch_work *work = request->work;
    struct offset_for_leader_epoch_response *out = &work->response;
    uint32_t n = 0;
    for (int32_t t = 0; t < out->topics_count; t++) {
        for (int32_t p = 0; p < out->topics[t].partitions_count; p++) {
            struct offset_for_leader_epoch_response_epoch_end_offset *o = &out->topics[t].partitions[p];
            struct offset_item *item = &work->entries[n++].item;
            o->error_code = (int16_t)item->error;
            if (item->error) continue;
            o->leader_epoch = item->epoch;
            o->end_offset = item->offset;
        }
    }
    request_reply(request, out);
}

void handle_offset_for_leader_epoch(struct request *request) {
    const struct offset_for_leader_epoch_request *in = request->in;
    struct epoch_work *work = REQUEST_NEW(request, struct epoch_work);
    if (!work) return;
    request->work = work;
    offset_for_leader_epoch_response_init(&work->response);
    struct offset_for_leader_epoch_response *out = &work->response;
    uint32_t count = 0, n = 0;
    for (int32_t t = 0; t < in->topics_count; t++) count += (uint32_t)in->topics[t].partitions_count;
    if (!(work->entries = REQUEST_ARRAY(request, count, struct offset_entry))) return;
    out->topics = offset_for_leader_epoch_response_offset_for_leader_topic_result_array(&request->arena, in->topics_count);
    if (!out->topics) {
        request_refuse(request, "over budget");
        return;
    }
    out->topics_count = in->topics_count;
    for (int32_t t = 0; t < in->topics_count; t++) {
        const struct offset_for_leader_epoch_request_offset_for_leader_topic *topic = &in->topics[t];
        struct offset_for_leader_epoch_response_offset_for_leader_topic_result *answer = &out->topics[t];
        struct uuid topic_id = {{0}};
        bool known = broker_topic_id(request->broker, topic->topic, &topic_id);
        answer->topic = topic->topic;
        answer->partitions = offset_for_leader_epoch_response_epoch_end_offset_array(&request->arena, topic->partitions_count);
        if (!answer->partitions) {
            request_refuse(request, "over budget");
            return;
        }
        answer->partitions_count = topic->partitions_count;
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            const struct offset_for_leader_epoch_request_offset_for_leader_partition *asked = &topic->partitions[p];
            struct offset_entry *entry = &work->entries[n++];
            answer->partitions[p].partition = asked->partition;
            entry->item.index = asked->partition;
            entry->item.topic_id = topic_id;
            entry->item.current_epoch = asked->current_leader_epoch;
            entry->item.by_epoch = true;
            entry->item.of_epoch = asked->leader_epoch;
            entry->item.is_replica = in->replica_id >= 0;
            entry->item.error = known ? KAFKA_NONE : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            if (known && !assign(request, &work->offsets, entry, count)) return;
        }
    }
    send(request, &work->offsets, epoch_joined);
}
