#include "broker/group_share.h"
#include "broker/broker.h"

static void call_done(struct group_call *call) {
    fanout_done(&container_of(call, struct group_share, call)->share);
}

static void run(struct share *base) {
    struct group_share *share = container_of(base, struct group_share, share);
    coordinators_group_call(base->there->coordinators, share->partition, &share->call);
}

struct group_share *group_share_new(struct request *request, enum group_request_type type) {
    struct group_share *share = REQUEST_NEW(request, struct group_share);
    if (!share) return NULL;
    arena_init_travelling(&share->share.arena, request->broker->shard->pool, 0);
    struct group_request *group = &share->call.coord.group;
    list_init(&group->node);
    group->type = type;
    group->version = request->version;
    group->client_id = request->header.client_id;
    group->client_host = span_text(request->client->address);
    group->arena = &share->share.arena;
    share->call.done = call_done;
    return share;
}

void group_share_send(struct request *request, struct group_share *share, struct span group_id) {
    uint32_t shard = 0;
    enum kafka_error error = coordinators_place(request->broker, group_id, &share->partition, &shard);
    if (error) {
        share->call.coord.group.error = error;
        /* The arena is this request's for now, and goes with it like the others. */
        share->share.next = request->shares;
        request->shares = &share->share;
        if (!group_error_answer(&share->call.coord.group, error)) share->call.coord.group.answer.any = NULL;
        return;
    }
    fanout_send(request, shard, &share->share, run, NULL);
}
