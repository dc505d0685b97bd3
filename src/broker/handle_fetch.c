/* Fetch: the session says what to read; a share for each shard reads it; too little waits where the data will come.
 *
 *   read pass -> joined -> enough, an error, or no time left: answer
 *                       -> else wait pass: each share is parked on its shard; the first one woken calls the others off
 *                       -> joined -> read pass of what had nothing
 */
#include "broker/broker.h"
#include "broker/fanout.h"
#include "broker/fetch_session.h"
#include "broker/handlers.h"
#include "broker/partition.h"
#include "broker/topic.h"

struct fetch_work;
struct fetch_share {
    struct share share;
    struct fetch_work *work;
    struct fetch_item **items;
    uint32_t count, capacity, next;    /* next: the item that is read now */
    uint32_t bytes_left, bytes_min;
    bool min_one;
    struct fetch_wait wait;
    struct fetch_watch *watches;
    time_ms deadline_ms;
    bool is_parked;                    /* on its own shard: in purgatory */
    bool is_one_of_many;               /* other shards have partitions of the same Fetch */
    bool is_waiting;                   /* on the request's shard: sent to wait and not back yet */
    enum purgatory_outcome outcome;
    struct message call_off;           /* the second message to a parked share */
};

struct fetch_work {
    struct request *request;
    struct fetch_response response;
    struct fetch_plan plan;
    struct fetch_item *items;
    struct session_partition **partitions;
    struct fetch_response_partition_data *outs;
    uint32_t count;
    struct fetch_share *shares[SHARDS_MAX];
    uint32_t bytes_max, bytes_min;
    time_ms deadline_ms;
    bool timed_out, called_off;
    bool is_final;                     /* what the next pass reads is the answer, however little it is */
};

static void read_pass(struct request *request);

/* ---- reading, on the partitions' shard: one item after the other, within what is left of the request's bytes ------- */

/* What was read is no longer left for the partitions behind it. A batch that did not fit counts as far as there was room, as
 * in Apache Kafka, which sends that piece of it: else a smaller one of another partition would overtake it for ever. */
static void count_read(struct fetch_share *share, const struct fetch_item *item) {
    if (item->records.bytes == 0) return;
    uint64_t bytes = item->records.bytes;
    if (item->read.has_more && bytes < item->read.bytes_max) bytes = item->read.bytes_max;
    share->min_one = false;
    share->bytes_left -= bytes < share->bytes_left ? (uint32_t)bytes : share->bytes_left;
}

static void read_next(struct fetch_share *share) {
    while (share->next < share->count) {
        struct fetch_item *item = share->items[share->next];
        enum kafka_error why;
        if (item->records.bytes > 0 || item->is_refused) { /* read in an earlier pass */
            share->next++;
            continue;
        }
        item->partition = partition_get(share->share.there, item->topic_id, item->index, &why);
        if (!item->partition) {
            item->out->error_code = (int16_t)why;
            if (why == KAFKA_UNKNOWN_TOPIC_OR_PARTITION) item->out->aborted_transactions_count = 0; /* none, not null: as Apache Kafka */
            item->out->high_watermark = item->out->last_stable_offset = item->out->log_start_offset = -1;
            item->is_refused = true;
            share->next++;
            continue;
        }
        uint32_t limit = item->bytes_max < share->bytes_left ? item->bytes_max : share->bytes_left;
        item->read.bytes_max = limit;
        item->min_one = share->min_one;
        uint32_t asked = item->bytes_max;
        item->bytes_max = limit;
        bool over = partition_fetch(item);
        item->bytes_max = asked;
        if (!over) return; /* item_done goes on */
        count_read(share, item);
        share->next++;
    }
    fanout_done(&share->share);
}

static void item_done(struct fetch_item *item) {
    struct fetch_share *share = container_of(item->arena, struct fetch_share, share.arena);
    count_read(share, item);
    share->next++;
    read_next(share);
}

static void run_read(struct share *base) {
    struct fetch_share *share = container_of(base, struct fetch_share, share);
    share->next = 0;
    read_next(share);
}

/* ---- waiting, on the partitions' shard --------------------------------------------------------------------------- */

void fetch_share_woken(struct fetch_wait *wait, enum purgatory_outcome outcome) {
    struct fetch_share *share = container_of(wait, struct fetch_share, wait);
    share->is_parked = false;
    share->outcome = outcome;
    fanout_done(&share->share);
}

static void run_wait(struct share *base) {
    struct fetch_share *share = container_of(base, struct fetch_share, share);
    struct broker *there = base->there;
    uint32_t count = 0;
    for (uint32_t i = 0; i < share->count; i++) {
        struct fetch_item *item = share->items[i];
        if (!item->partition || item->is_refused) continue;
        /* What was read is too little: it is read again with what comes. */
        chain_clear(&item->records);
        struct fetch_watch *watch = &share->watches[count++];
        *watch = (struct fetch_watch){.place = &item->partition->place, .from = item->at, .bytes_max = item->bytes_max};
        watch->bound = item->replica >= 0 ? BOUND_END : item->isolation == FETCH_COMMITTED ? BOUND_STABLE : BOUND_HIGH_WATERMARK;
    }
    share->wait.watches = share->watches;
    share->wait.count = count;
    /* With several shards any byte more than there is wakes it, and the sum is looked at where the request is. */
    uint64_t there_is = purgatory_fetch_bytes(&share->wait);
    share->wait.bytes_min = share->bytes_min;
    if (share->is_one_of_many && there_is < share->bytes_min) share->wait.bytes_min = there_is + 1;
    share->wait.bytes = 0;
    share->wait.waiter.is_fetch = true;
    share->is_parked = true;
    if (count == 0 || !purgatory_wait_fetch(&there->purgatory, &share->wait, share->deadline_ms)) {
        fetch_share_woken(&share->wait, PURGATORY_TIMEOUT); /* no room to wait: answer with what there is */
        return;
    }
    broker_wants_turn_end(there);
    broker_wants_deadline(there);
}

static void call_off_home(struct shard *shard, struct message *message) {
    struct fetch_share *share = container_of(message, struct fetch_share, call_off);
    fanout_sent(share->share.request); /* one less, as if a share had come back */
}

static void call_off_there(struct shard *shard, struct message *message) {
    struct fetch_share *share = container_of(message, struct fetch_share, call_off);
    if (share->is_parked) {
        struct broker *there = shard->roles[ROLE_BROKER];
        purgatory_cancel_fetch(&there->purgatory, &share->wait);
        fetch_share_woken(&share->wait, PURGATORY_REACHED);
    }
    share->call_off.run = call_off_home;
    shard_send(shard, share->share.home->shard->index, &share->call_off);
}

static void wait_is_back(struct share *base) {
    struct fetch_share *share = container_of(base, struct fetch_share, share);
    struct fetch_work *work = share->work;
    struct request *request = work->request;
    share->is_waiting = false;
    if (share->outcome == PURGATORY_TIMEOUT) work->timed_out = true;
    if (work->called_off) return;
    work->called_off = true;
    for (uint32_t i = 0; i < request->broker->shards; i++) {
        struct fetch_share *other = work->shares[i];
        if (!other || !other->is_waiting) continue;
        request->outstanding++;
        other->call_off.run = call_off_there;
        shard_send(request->broker->shard, i, &other->call_off);
    }
}

/* ---- the request's shard ------------------------------------------------------------------------------------------- */

/* Where those are who lead instead (KIP-951), each once. */
static bool tell_endpoints(struct request *request, struct fetch_response *out) {
    const struct image *image = request->broker->image;
    out->node_endpoints = fetch_response_node_endpoint_array(&request->arena, (int32_t)image_broker_count(image));
    if (!out->node_endpoints) return false;
    for (const struct image_broker *broker = image_broker_next(image, NULL); broker; broker = image_broker_next(image, broker)) {
        const struct image_endpoint *endpoint = broker->fenced ? NULL : image_broker_endpoint(broker, span_text(request_listener(request)));
        bool leads = false;
        for (int32_t t = 0; t < out->responses_count; t++)
            for (int32_t p = 0; p < out->responses[t].partitions_count; p++)
                leads |= out->responses[t].partitions[p].current_leader.leader_id == broker->id;
        if (!endpoint || !leads) continue;
        out->node_endpoints[out->node_endpoints_count++] = (struct fetch_response_node_endpoint){
            .node_id = broker->id, .host = endpoint->host, .port = endpoint->port, .rack = broker->has_rack ? broker->rack : (struct span){0}};
    }
    return true;
}

static void answer(struct request *request) {
    struct fetch_work *work = request->work;
    struct fetch_response *out = &work->response;
    uint32_t kept = 0, bytes = 0;
    out->responses = fetch_response_fetchable_topic_response_array(&request->arena, (int32_t)work->count);
    if (!out->responses) {
        request_refuse(request, "over budget");
        return;
    }
    out->responses_count = 0;
    struct fetch_response_fetchable_topic_response *topic = NULL;
    const struct session_partition *before = NULL;
    bool any_leader = false;
    for (uint32_t i = 0; i < work->count; i++) {
        struct fetch_item *item = &work->items[i];
        struct session_partition *partition = work->partitions[i];
        struct fetch_response_partition_data *data = item->out;
        /* Shards read on their own: together they may have read more than was asked for. */
        bool is_too_much = bytes + item->records.bytes > work->bytes_max || item->records.bytes > item->bytes_max;
        if (bytes > 0 && is_too_much) chain_clear(&item->records);
        bytes += (uint32_t)item->records.bytes;
        if (item->records.bytes) topic_bytes_out(request->broker, item->topic_id, item->records.bytes);
        data->records = item->records.bytes ? (struct wire_records){.chain = &item->records} : (struct wire_records){.bytes = SPAN_LITERAL("")};
        /* Consumers learn from version 16 on who leads instead (KIP-951), though the field is older. */
        if (request->version < 16) fetch_response_leader_id_and_epoch_init(&data->current_leader);
        if (!fetch_session_tells(&work->plan, partition, data)) continue;
        any_leader |= data->current_leader.leader_id >= 0;
        if (!topic || !uuid_equal(before->topic_id, partition->topic_id) || !span_equal(before->name, partition->name)) {
            topic = &out->responses[out->responses_count++];
            topic->topic = partition->name;
            topic->topic_id = partition->topic_id;
            topic->partitions = &work->outs[kept];
            topic->partitions_count = 0;
        }
        before = partition;
        if (&work->outs[kept] != data) work->outs[kept] = *data;
        kept++;
        topic->partitions_count++;
    }
    out->session_id = work->plan.session ? work->plan.session->id : 0;
    if (any_leader && !tell_endpoints(request, out)) {
        request_refuse(request, "over budget");
        return;
    }
    fetch_session_answered(request->broker->sessions, &work->plan);
    /* Nobody is there to send to any more: what was read is let go of here. */
    for (uint32_t i = 0; request->client->closed && i < work->count; i++) chain_clear(&work->items[i].records);
    request_reply(request, out);
}

static void wait_pass(struct request *request);

static void read_joined(struct request *request) {
    struct fetch_work *work = request->work;
    uint64_t bytes = 0;
    bool at_once = work->count == 0 || work->is_final;
    for (uint32_t i = 0; i < work->count; i++) {
        bytes += work->items[i].records.bytes;
        if (work->items[i].is_refused) at_once = true;
    }
    time_ms now_ms = shard_now(request->broker->shard) / NS_PER_MS;
    if (at_once || bytes >= work->bytes_min || now_ms >= work->deadline_ms || request->client->closed || request->broker->stopping) answer(request);
    else wait_pass(request);
}

static void read_pass(struct request *request) {
    struct fetch_work *work = request->work;
    struct broker *broker = request->broker;
    uint64_t have = 0;
    for (uint32_t i = 0; i < work->count; i++) have += work->items[i].records.bytes;
    fanout_begin(request, read_joined);
    for (uint32_t i = 0; i < broker->shards; i++) {
        struct fetch_share *share = work->shares[i];
        if (!share) continue;
        share->bytes_left = have < work->bytes_max ? work->bytes_max - (uint32_t)have : 0;
        share->min_one = have == 0;
        fanout_send(request, i, &share->share, run_read, NULL);
    }
    fanout_sent(request);
}

/* Is there enough by now, as the waiting counts it? Reading may give less (a batch does not fit into what is left): that is
 * the answer all the same, since waiting would not change it. */
static void waited(struct request *request) {
    struct fetch_work *work = request->work;
    uint64_t bytes = 0;
    bool changed = false;
    for (uint32_t i = 0; i < request->broker->shards; i++) {
        const struct fetch_share *share = work->shares[i];
        if (!share) continue;
        if (__builtin_add_overflow(bytes, share->wait.bytes, &bytes)) bytes = UINT64_MAX;
        if (share->outcome == PURGATORY_CHANGED) changed = true;
    }
    work->is_final = work->timed_out || changed || bytes >= work->bytes_min || request->client->closed || request->broker->stopping;
    if (work->is_final) read_pass(request);
    else wait_pass(request);
}

static void wait_pass(struct request *request) {
    struct fetch_work *work = request->work;
    struct broker *broker = request->broker;
    uint32_t shares = 0;
    for (uint32_t i = 0; i < broker->shards; i++) shares += work->shares[i] != NULL;
    work->called_off = false;
    fanout_begin(request, waited);
    for (uint32_t i = 0; i < broker->shards; i++) {
        struct fetch_share *share = work->shares[i];
        if (!share) continue;
        share->bytes_min = work->bytes_min;
        share->is_one_of_many = shares > 1;
        share->deadline_ms = work->deadline_ms;
        share->is_waiting = true;
        fanout_send(request, i, &share->share, run_wait, wait_is_back);
    }
    fanout_sent(request);
}

/* No topic has this id. A session remembers under which name one had: there may be another of that name by now. */
static void refuse_unknown(const struct broker *broker, const struct session_partition *partition, struct fetch_response_partition_data *out) {
    if (partition->known_as.data && image_topic(broker->image, partition->known_as)) {
        out->error_code = KAFKA_INCONSISTENT_TOPIC_ID;
        return;
    }
    out->error_code = partition->known_as.data ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : KAFKA_UNKNOWN_TOPIC_ID;
    out->aborted_transactions_count = 0;
}

static bool plan_items(struct request *request, struct fetch_work *work, const struct fetch_request *in) {
    struct broker *broker = request->broker;
    struct list *order = work->plan.session ? &work->plan.session->order : &work->plan.order;
    uint32_t count = 0, n = 0;
    LIST_EACH(node, order) count++;
    if (!(work->items = REQUEST_ARRAY(request, count, struct fetch_item))) return false;
    if (!(work->partitions = REQUEST_ARRAY(request, count, struct session_partition *))) return false;
    if (!(work->outs = fetch_response_partition_data_array(&request->arena, (int32_t)count))) {
        request_refuse(request, "over budget");
        return false;
    }
    broker_id replica = request->version >= 15 ? in->replica_state.replica_id : in->replica_id;
    LIST_EACH(node, order) {
        struct session_partition *partition = LIST_ITEM(node, struct session_partition, order);
        struct fetch_item *item = &work->items[n];
        struct fetch_response_partition_data *out = &work->outs[n];
        work->partitions[n++] = partition;
        item->out = out;
        item->index = partition->index;
        item->from = partition->from;
        item->current_epoch = partition->current_epoch;
        item->last_fetched_epoch = partition->last_fetched_epoch;
        item->replica = replica;
        item->isolation = in->isolation_level == 1 ? FETCH_COMMITTED : FETCH_UNCOMMITTED;
        item->bytes_max = partition->bytes_max;
        item->done = item_done;
        item->bytes_are_negative = in->max_bytes < 0 || partition->bytes_max > INT32_MAX;
        out->partition_index = partition->index;
        out->high_watermark = out->last_stable_offset = out->log_start_offset = -1;
        out->aborted_transactions = NULL;
        out->aborted_transactions_count = -1;
        if (request->version >= 13) {
            item->topic_id = partition->topic_id;
            const struct image_topic *topic = image_topic_by_id(broker->image, item->topic_id);
            if (!topic) {
                refuse_unknown(broker, partition, out);
                item->is_refused = true;
                continue;
            }
            fetch_session_knows(broker->sessions, &work->plan, partition, topic->name);
        } else if (!broker_topic_id(broker, partition->name, &item->topic_id)) {
            out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            out->aborted_transactions_count = 0;
            item->is_refused = true;
            continue;
        }
        uint32_t shard = partition_shard(broker, item->topic_id, item->index);
        struct fetch_share *share = work->shares[shard];
        if (!share) {
            if (!(share = REQUEST_NEW(request, struct fetch_share))) return false;
            if (!(share->items = REQUEST_ARRAY(request, count, struct fetch_item *))) return false;
            if (!(share->watches = REQUEST_ARRAY(request, count, struct fetch_watch))) return false;
            share->work = work;
            arena_init_travelling(&share->share.arena, broker->shard->pool, 0);
            work->shares[shard] = share;
        }
        item->arena = &share->share.arena;
        chain_init(&item->records, item->arena);
        share->items[share->count++] = item;
    }
    work->count = count;
    return true;
}

static void refuse_fetch(struct request *request, struct fetch_work *work, enum kafka_error error) {
    work->response.error_code = (int16_t)error;
    request_reply(request, &work->response);
}

/* Nothing of it can be understood. Before version 13 each partition is told so; before version 7 that is the only place. */
static void refuse_partitions(struct request *request, struct fetch_work *work, enum kafka_error error) {
    const struct fetch_request *in = request->in;
    struct fetch_response *out = &work->response;
    if (request->version >= 7) out->session_id = in->session_id;
    out->responses = fetch_response_fetchable_topic_response_array(&request->arena, in->topics_count);
    if (!out->responses) goto over_budget;
    for (int32_t t = 0; request->version < 13 && t < in->topics_count; t++) {
        struct fetch_response_fetchable_topic_response *topic = &out->responses[out->responses_count++];
        topic->topic = in->topics[t].topic;
        topic->partitions = fetch_response_partition_data_array(&request->arena, in->topics[t].partitions_count);
        if (!topic->partitions) goto over_budget;
        for (int32_t p = 0; p < in->topics[t].partitions_count; p++) {
            struct fetch_response_partition_data *data = &topic->partitions[topic->partitions_count++];
            data->partition_index = in->topics[t].partitions[p].partition;
            data->error_code = (int16_t)error;
            data->high_watermark = data->last_stable_offset = data->log_start_offset = -1;
            data->records = (struct wire_records){.bytes = SPAN_LITERAL("")};
        }
    }
    refuse_fetch(request, work, error);
    return;
over_budget:
    request_refuse(request, "over budget");
}

void handle_fetch(struct request *request) {
    const struct fetch_request *in = request->in;
    struct broker *broker = request->broker;
    struct fetch_work *work = REQUEST_NEW(request, struct fetch_work);
    if (!work) return;
    request->work = work;
    work->request = request;
    work->plan.arena = &request->arena;
    fetch_response_init(&work->response);
    if (in->isolation_level != 0 && in->isolation_level != 1) {
        refuse_partitions(request, work, KAFKA_INVALID_REQUEST);
        return;
    }
    broker_id replica = request->version >= 15 ? in->replica_state.replica_id : in->replica_id;
    time_ms now_ms = shard_now(broker->shard) / NS_PER_MS;
    int64_t bytes_max = in->max_bytes < 0 ? 0 : in->max_bytes;
    if (bytes_max > broker->node->fetch_bytes_max) bytes_max = broker->node->fetch_bytes_max;
    work->bytes_max = (uint32_t)bytes_max;
    work->bytes_min = in->min_bytes < 0 ? 0 : (uint32_t)in->min_bytes;
    if (work->bytes_min > work->bytes_max) work->bytes_min = work->bytes_max;
    work->deadline_ms = now_ms + (in->max_wait_ms < 0 ? 0 : in->max_wait_ms);
    enum kafka_error error = fetch_session_plan(broker->sessions, in, request->version, replica >= 0, now_ms, &work->plan);
    if (error) {
        refuse_fetch(request, work, error);
        return;
    }
    struct fetch_plan plan = work->plan; /* a request that is refused takes its memory with it */
    if (plan_items(request, work, in)) read_pass(request);
    else fetch_session_answered(broker->sessions, &plan);
}
