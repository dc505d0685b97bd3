#include "broker/control.h"
#include "broker/broker.h"

static void decided(struct control_call *call) {
    fanout_done(&container_of(call, struct control_share, call)->share);
}

static void run(struct share *share) {
    struct control_share *control = container_of(share, struct control_share, share);
    struct broker_node *node = share->there->node;
    control->call.done = decided;
    node->control.call(node->control.self, &control->call);
}

struct control_share *control_ask(struct request *request, int16_t api_key, int16_t version, const void *body, void *response,
                                  void (*joined)(struct request *request)) {
    struct control_share *share = REQUEST_NEW(request, struct control_share);
    if (!share) return NULL;
    arena_init_travelling(&share->share.arena, request->broker->shard->pool, 0);
    share->call = (struct control_call){.api = wire_api(api_key), .version = version, .request = body, .response = response,
                                        .arena = &share->share.arena,
                                        .listener = span_text(request->broker->node->listeners[request->client->listener].name)};
    fanout_begin(request, joined);
    fanout_send(request, 0, &share->share, run, NULL);
    fanout_sent(request);
    return share;
}
