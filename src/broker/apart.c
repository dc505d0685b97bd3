#include "broker/apart.h"
#include "broker/broker.h"
#include "broker/dispatch.h"
#include "broker/tracing.h"

enum { BODY_BYTES = 8 << 10 }; /* decoding less takes less than the way to a thread and back */

struct apart { /* in the request's arena */
    struct io_op op;
    struct list node;          /* in broker->apart.waiting */
    struct request *request;
    bool is_decoded;           /* it was when it left */
    bool is_answered;
    enum err err;              /* of the decoding */
    size_t used;
    const void *response;      /* NULL: refused */
    struct chain chain;
    const char *why;
};

static void start_next(struct broker *broker);

static int64_t run(struct io_op *op, struct io_files files) {
    struct apart *apart = container_of(op, struct apart, op);
    struct request *request = apart->request;
    if (!apart->is_decoded) apart->err = wire_decode(request->api->request, request->version, request->in, request->body, &request->arena, &apart->used);
    if (!apart->err && request->row->flags & API_FROM_IMAGE) request->row->handle(request);
    return 0;
}

void apart_reply(struct request *request, const void *response) {
    struct apart *apart = request->apart;
    assert(!apart->is_answered);
    apart->is_answered = true;
    if (request_encode(request, response, &apart->chain)) apart->response = response;
    else apart->why = REQUEST_NOT_ENCODED;
}

void apart_refuse(struct request *request, const char *why) {
    struct apart *apart = request->apart;
    assert(!apart->is_answered);
    apart->is_answered = true;
    apart->why = why;
}

/* On the shard: what was said there takes effect. */
static void act(struct apart *apart) {
    struct request *request = apart->request;
    if (!apart->is_answered) {
        request_decoded(request, apart->err, apart->used);
        return;
    }
    if (!apart->is_decoded && request->broker->tracing) trace_request(request, ERR_NONE, apart->used);
    if (!apart->response) {
        request_refuse(request, apart->why);
        return;
    }
    if (request->client->closed) {
        chain_clear(&apart->chain);
        request_reply(request, apart->response); /* which only notes it */
        return;
    }
    if (request->is_traced) trace_tell(request->broker, trace_answer(request, apart->response, NULL));
    request_send(request, apart->response, &apart->chain);
}

static void done(struct io_op *op) {
    struct apart *apart = container_of(op, struct apart, op);
    struct request *request = apart->request;
    struct broker *broker = request->broker;
    const char *before = panic_context_set(request->row->name);
    if (op->result < 0) run(op, (struct io_files){0}); /* no thread can be had */
    arena_is_back(&request->arena);
    image_drop(request->image);
    request->image = broker->image;
    request->apart = NULL;
    request->away += shard_now(broker->shard) - request->away_since;
    broker->apart.busy = false;
    act(apart);
    panic_context_set(before);
    start_next(broker);
}

static void start_next(struct broker *broker) {
    struct list *node = broker->apart.busy ? NULL : list_pop(&broker->apart.waiting);
    if (!node) return;
    struct apart *apart = LIST_ITEM(node, struct apart, node);
    broker->apart.busy = true;
    arena_goes(&apart->request->arena);
    apart->op = (struct io_op){.kind = IO_OP_JOB, .hot = true, .done = done, .job = {.run = run}};
    io_submit(broker->shard->io, &apart->op);
}

static bool leave(struct request *request, bool is_decoded) {
    struct broker *broker = request->broker;
    struct apart *apart = ARENA_NEW(&request->arena, struct apart);
    if (!apart) return false;
    apart->request = request;
    apart->is_decoded = is_decoded;
    request->apart = apart;
    request->image = image_hold(broker->image);
    request->away_since = shard_now(broker->shard);
    list_push(&broker->apart.waiting, &apart->node);
    start_next(broker);
    return true;
}

/* Of a Produce nearly all is records, which stay where they are. */
bool apart_decode(struct request *request) {
    return request->body.size > BODY_BYTES && !(request->row->flags & API_OVERLAPS) && leave(request, false);
}

bool apart_handle(struct request *request) {
    assert(request->row->flags & API_FROM_IMAGE);
    return !request->apart && leave(request, true);
}
