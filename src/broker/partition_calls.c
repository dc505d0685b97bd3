#include "broker/partition_calls.h"
#include "broker/broker.h"
#include "broker/partition.h"

struct partition_share {
    struct share share;
    struct list calls;
    uint32_t waiting; /* calls that are not over yet */
};

static void one_less(struct partition_share *share) {
    if (--share->waiting == 0) fanout_done(&share->share);
}

static void with_log(struct partition_call *call, enum err err) {
    call->error = err ? partition_log_error(err) : partition_lead(call->partition);
    if (!call->error) call->run(call);
}

static void opened(struct log_wait *wait, enum err err) {
    struct partition_call *call = container_of(wait, struct partition_call, opening);
    call->partition->waiting--;
    with_log(call, err);
    one_less(call->share);
}

static void begin(struct partition_call *call, struct broker *there) {
    call->partition = partition_get(there, call->topic_id, call->index, &call->error);
    if (!call->partition) return;
    call->opening.done = opened;
    enum err err = log_open(call->partition->log, &call->opening);
    if (err == ERR_AGAIN) {
        call->partition->waiting++;
        call->share->waiting++;
    } else {
        with_log(call, err);
    }
}

static void run(struct share *base) {
    struct partition_share *share = container_of(base, struct partition_share, share);
    share->waiting = 1;
    struct list *node;
    while ((node = list_pop(&share->calls))) begin(LIST_ITEM(node, struct partition_call, node), base->there);
    one_less(share);
}

void partition_call_wait(struct partition_call *call) { call->share->waiting++; }
void partition_call_end(struct partition_call *call) { one_less(call->share); }

bool partition_calls_add(struct request *request, struct partition_calls *calls, struct partition_call *call, struct uuid topic_id,
                         partition_index index, void (*run_call)(struct partition_call *call)) {
    struct broker *broker = request->broker;
    uint32_t shard = partition_shard(broker, topic_id, index);
    struct partition_share *share = calls->shares[shard];
    if (!share) {
        if (!(share = REQUEST_NEW(request, struct partition_share))) return false;
        arena_init_travelling(&share->share.arena, broker->shard->pool, 0);
        list_init(&share->calls);
        calls->shares[shard] = share;
    }
    call->share = share;
    call->arena = &share->share.arena;
    call->topic_id = topic_id;
    call->index = index;
    call->run = run_call;
    list_push(&share->calls, &call->node);
    return true;
}

void partition_calls_send(struct request *request, struct partition_calls *calls, void (*joined)(struct request *request)) {
    fanout_begin(request, joined);
    for (uint32_t shard = 0; shard < request->broker->shards; shard++)
        if (calls->shares[shard]) fanout_send(request, shard, &calls->shares[shard]->share, run, NULL);
    fanout_sent(request);
}
