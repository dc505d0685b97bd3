/* Produce: one item for each partition, one share for each shard; answered when all items are. */
#include "broker/broker.h"
#include "broker/fanout.h"
#include "broker/handlers.h"
#include "broker/named.h"
#include "broker/partition.h"
#include "wire/batch.h"

struct produce_share {
    struct share share;
    struct list items;
    uint32_t waiting; /* items that are not over yet */
};

/* A partition of the request, which may name it more than once. As in Apache Kafka, what is named last of what may be
 * written is written; if anything else was named besides, the answer is what is wrong with that. */
struct produce_part {
    const struct produce_request_partition_produce_data *in; /* to be written; NULL: nothing */
    struct produce_response_partition_produce_response *out;
    struct uuid topic_id;
    enum kafka_error error;
};

struct produce_work {
    struct produce_response response;
    struct produce_part *parts; /* by the place where the partition is named first */
    struct named named;
    struct produce_share *shares[SHARDS_MAX];
    int16_t acks;
};

static void joined(struct request *request) {
    struct produce_work *work = request->work;
    /* Older versions cannot say who leads instead. */
    for (int32_t t = 0; request->version < 10 && t < work->response.responses_count; t++)
        for (int32_t p = 0; p < work->response.responses[t].partition_responses_count; p++)
            produce_response_leader_id_and_epoch_init(&work->response.responses[t].partition_responses[p].current_leader);
    if (work->acks != 0) {
        request_reply(request, &work->response);
        return;
    }
    /* Nothing is answered to acks=0: an error can only be told by closing the connection, so that the client asks for
     * metadata again. */
    for (int32_t t = 0; t < work->response.responses_count; t++)
        for (int32_t p = 0; p < work->response.responses[t].partition_responses_count; p++)
            if (work->response.responses[t].partition_responses[p].error_code != KAFKA_NONE) {
                request_refuse(request, "acks=0 failed");
                return;
            }
    request_reply_nothing(request);
}

static void share_is_over(struct produce_share *share) {
    fanout_done(&share->share);
}

static void item_done(struct produce_item *item) {
    struct produce_share *share = container_of(item->arena, struct produce_share, share.arena);
    if (--share->waiting == 0) share_is_over(share);
}

static void run(struct share *base) {
    struct produce_share *share = container_of(base, struct produce_share, share);
    struct broker *there = base->there;
    share->waiting = 1;
    LIST_EACH_SAFE(node, &share->items) {
        struct produce_item *item = LIST_ITEM(node, struct produce_item, node);
        enum kafka_error why;
        list_remove(&item->node);
        item->partition = partition_get(there, item->topic_id, item->index, &why);
        if (!item->partition) {
            item->out->error_code = (int16_t)why;
            continue;
        }
        share->waiting++;
        if (partition_produce(item)) share->waiting--;
    }
    if (--share->waiting == 0) share_is_over(share);
}

static bool add_item(struct request *request, struct produce_work *work, const struct produce_part *part, time_ms timeout_ms) {
    struct broker *broker = request->broker;
    const struct produce_request_partition_produce_data *in = part->in;
    uint32_t shard = partition_shard(broker, part->topic_id, in->index);
    struct produce_share *share = work->shares[shard];
    if (!share) {
        if (!(share = REQUEST_NEW(request, struct produce_share))) return false;
        arena_init_travelling(&share->share.arena, broker->shard->pool, 0);
        list_init(&share->items);
        work->shares[shard] = share;
    }
    struct produce_item *item = REQUEST_NEW(request, struct produce_item);
    if (!item) return false;
    item->topic_id = part->topic_id;
    item->index = in->index;
    /* The frame is this request's alone: offsets and epoch are written into it in place. */
    item->data = (uint8_t *)(uintptr_t)in->records.bytes.data;
    item->size = (uint32_t)in->records.bytes.size;
    item->slab = request->slab;
    item->acks = work->acks;
    item->timeout_ms = timeout_ms;
    item->arena = &share->share.arena;
    item->out = part->out;
    if (part->error) { /* what becomes of the records is not told */
        item->out = produce_response_partition_produce_response_array(&request->arena, 1);
        if (!item->out) {
            request_refuse(request, "over budget");
            return false;
        }
    }
    item->done = item_done;
    list_push(&share->items, &item->node);
    return true;
}

/* The first batch in front of `records`, as far as Kafka looks before it asks the partition: is there one, of which
 * format, and where does the next begin? */
enum front { FRONT_NONE, FRONT_BAD_SIZE, FRONT_BAD_MAGIC, FRONT_BATCH };
static enum front front_of(struct span records, uint8_t *magic, struct span *rest) {
    if (records.size < BATCH_FRAME_BYTES) return FRONT_NONE;
    int32_t length = (int32_t)load_be32(records.data + BATCH_AT_LENGTH);
    if (length < BATCH_OLD_BYTES_MIN - BATCH_FRAME_BYTES) return FRONT_BAD_SIZE;
    if (records.size < BATCH_MAGIC_BYTES) return FRONT_NONE;
    *magic = records.data[BATCH_AT_MAGIC];
    if (*magic > BATCH_MAGIC_2) return FRONT_BAD_MAGIC;
    if ((uint32_t)length > records.size - BATCH_FRAME_BYTES) return FRONT_NONE;
    *rest = span_of(records.data + BATCH_FRAME_BYTES + length, records.size - BATCH_FRAME_BYTES - (uint32_t)length);
    return FRONT_BATCH;
}

/* What makes Kafka refuse the request as a whole: bytes that do not begin with a batch, and a batch of a transaction where
 * nobody may write in transactions. */
static enum kafka_error look_into(struct span records, struct span *why) {
    uint8_t magic;
    struct span rest;
    switch (front_of(records, &magic, &rest)) {
    case FRONT_NONE: return KAFKA_NONE;
    case FRONT_BAD_SIZE: *why = SPAN_LITERAL("the size of a record batch is less than any can have"); return KAFKA_CORRUPT_MESSAGE;
    case FRONT_BAD_MAGIC: *why = SPAN_LITERAL("a record batch is of a format that does not exist"); return KAFKA_CORRUPT_MESSAGE;
    case FRONT_BATCH: break;
    }
    bool is_transactional = magic == BATCH_MAGIC_2 && (load_be16(records.data + BATCH_AT_ATTRIBUTES) & BATCH_TRANSACTIONAL);
    return is_transactional ? KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED : KAFKA_NONE;
}

/* Transactional records of nobody are not authorized; those of a transactional id are not served yet. */
static enum kafka_error refuse_all(const struct produce_request *in, struct span *why) {
    for (int32_t t = 0; t < in->topic_data_count; t++)
        for (int32_t p = 0; p < in->topic_data[t].partition_data_count; p++) {
            enum kafka_error error = look_into(in->topic_data[t].partition_data[p].records.bytes, why);
            if (error == KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED && in->transactional_id.data) return KAFKA_INVALID_TXN_STATE;
            if (error) return error;
        }
    return KAFKA_NONE;
}

/* What the request's version says about the records of a partition, before the partition is asked. */
static enum kafka_error check_records(struct span records, int16_t version) {
    uint8_t magic, next;
    struct span rest;
    if (front_of(records, &magic, &rest) != FRONT_BATCH || magic != BATCH_MAGIC_2) return KAFKA_INVALID_RECORD;
    /* zstd, and what is no codec at all */
    if (version < 7 && (load_be16(records.data + BATCH_AT_ATTRIBUTES) & BATCH_CODEC_MASK) >= COMPRESSION_ZSTD) return KAFKA_UNSUPPORTED_COMPRESSION_TYPE;
    enum front second = front_of(rest, &next, &rest);
    return second == FRONT_NONE ? KAFKA_NONE : second == FRONT_BATCH ? KAFKA_INVALID_RECORD : KAFKA_CORRUPT_MESSAGE;
}

static bool partition_exists(const struct broker *broker, struct uuid topic_id, partition_index index) {
    const struct image_topic *topic = image_topic_by_id(broker->image, topic_id);
    return topic && image_partition(topic, index);
}

/* What the request names, in its order. */
static bool take_names(struct request *request, struct produce_work *work) {
    const struct produce_request *in = request->in;
    size_t count = 0;
    for (int32_t t = 0; t < in->topic_data_count; t++) count += (size_t)in->topic_data[t].partition_data_count;
    if (!(work->parts = REQUEST_ARRAY(request, count, struct produce_part))) return false;
    if (!named_init(&work->named, &request->arena, count)) {
        request_refuse(request, "over budget");
        return false;
    }
    for (int32_t t = 0; t < in->topic_data_count; t++) {
        const struct produce_request_topic_produce_data *topic = &in->topic_data[t];
        struct span name = request->version >= 13 ? span_of(topic->topic_id.bytes, sizeof topic->topic_id.bytes) : topic->name;
        for (int32_t p = 0; p < topic->partition_data_count; p++) named_add(&work->named, name, topic->partition_data[p].index);
    }
    named_settle(&work->named);
    return true;
}

void handle_produce(struct request *request) {
    const struct produce_request *in = request->in;
    struct broker *broker = request->broker;
    struct produce_work *work = REQUEST_NEW(request, struct produce_work);
    if (!work) return;
    request->work = work;
    work->acks = in->acks;
    produce_response_init(&work->response);
    struct produce_response *out = &work->response;
    out->responses = produce_response_topic_produce_response_array(&request->arena, in->topic_data_count);
    if (!out->responses) {
        request_refuse(request, "over budget");
        return;
    }
    if (!take_names(request, work)) return;
    struct span why = {0};
    enum kafka_error refused = refuse_all(in, &why);
    bool acks_are_good = in->acks >= -1 && in->acks <= 1;
    uint32_t at = 0;
    for (int32_t t = 0; t < in->topic_data_count; t++) {
        const struct produce_request_topic_produce_data *topic = &in->topic_data[t];
        struct produce_response_topic_produce_response *answer = &out->responses[out->responses_count];
        struct uuid topic_id = topic->topic_id;
        enum kafka_error error = KAFKA_NONE;
        answer->name = topic->name;
        answer->topic_id = topic->topic_id;
        if (request->version < 13) {
            if (!broker_topic_id(broker, topic->name, &topic_id)) error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        } else if (!broker_topic_exists(broker, topic_id)) {
            error = KAFKA_UNKNOWN_TOPIC_ID;
        }
        if (refused) error = refused;
        answer->partition_responses = produce_response_partition_produce_response_array(&request->arena, topic->partition_data_count);
        if (!answer->partition_responses) {
            request_refuse(request, "over budget");
            return;
        }
        for (int32_t p = 0; p < topic->partition_data_count; p++, at++) {
            struct produce_part *part = &work->parts[work->named.places[at].first];
            if (work->named.places[at].first == at) {
                part->out = &answer->partition_responses[answer->partition_responses_count++];
                part->out->index = topic->partition_data[p].index;
                part->out->base_offset = -1;
                part->out->error_message = why;
                part->topic_id = topic_id;
            }
            enum kafka_error own = error;
            if (own == KAFKA_NONE && !partition_exists(broker, topic_id, part->out->index)) own = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            if (own == KAFKA_NONE) own = check_records(topic->partition_data[p].records.bytes, request->version);
            if (own) part->error = own;
            else part->in = &topic->partition_data[p];
        }
        if (answer->partition_responses_count) out->responses_count++;
    }
    for (uint32_t i = 0; i < work->named.count; i++) {
        struct produce_part *part = &work->parts[i];
        if (!part->out) continue; /* named before */
        if (part->in && acks_are_good && !add_item(request, work, part, in->timeout_ms < 0 ? 0 : in->timeout_ms)) return; /* it has refused it */
        part->out->error_code = (int16_t)(part->error ? part->error : acks_are_good ? KAFKA_NONE : KAFKA_INVALID_REQUIRED_ACKS);
    }
    fanout_begin(request, joined);
    for (uint32_t shard = 0; shard < broker->shards; shard++)
        if (work->shares[shard]) fanout_send(request, shard, &work->shares[shard]->share, run, NULL);
    fanout_sent(request);
}
