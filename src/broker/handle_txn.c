/* InitProducerId: ids come from a block that the controller leases to each shard. Transactional ids are refused for good,
 * with an error that no client retries: nothing is worse than a producer that waits for ever.
 */
#include "broker/broker.h"
#include "broker/control.h"
#include "broker/handlers.h"

/* Whoever waits for the block that was asked for; the first one asks for all. */
struct id_work {
    struct init_producer_id_response response;
    struct allocate_producer_ids_request ask;
    struct allocate_producer_ids_response answer;
    struct request *request;
    struct list waiting;
};

static void give(struct request *request) {
    struct id_work *work = request->work;
    struct broker *broker = request->broker;
    assert(broker->producer_ids.next < broker->producer_ids.end);
    work->response.producer_id = broker->producer_ids.next++;
    work->response.producer_epoch = 0;
    request_reply(request, &work->response);
}

static void fail(struct request *request, enum kafka_error error) {
    struct id_work *work = request->work;
    work->response.error_code = (int16_t)error;
    work->response.producer_id = -1;
    work->response.producer_epoch = -1;
    request_reply(request, &work->response);
}

static bool ask(struct request *request);

static void leased(struct request *request) {
    struct control_share *control = container_of(request->shares, struct control_share, share);
    struct broker *broker = request->broker;
    struct id_work *work = request->work;
    enum kafka_error error = control->call.error ? control->call.error : (enum kafka_error)work->answer.error_code;
    broker->producer_ids.asking = false;
    if (error == KAFKA_NONE) {
        broker->producer_ids.next = work->answer.producer_id_start;
        broker->producer_ids.end = work->answer.producer_id_start + work->answer.producer_id_len;
        give(request);
    } else {
        fail(request, KAFKA_COORDINATOR_LOAD_IN_PROGRESS); /* the client asks again */
    }
    struct list *node;
    while ((node = list_pop(&broker->producer_ids.waiting))) {
        struct request *next = LIST_ITEM(node, struct id_work, waiting)->request;
        if (error) fail(next, KAFKA_COORDINATOR_LOAD_IN_PROGRESS);
        else if (broker->producer_ids.next < broker->producer_ids.end) give(next);
        else if (ask(next)) return; /* the rest waits for the next block */
    }
}

static bool ask(struct request *request) {
    struct id_work *work = request->work;
    struct broker *broker = request->broker;
    const struct image_broker *self = image_broker(broker->image, broker->node->id);
    allocate_producer_ids_request_init(&work->ask);
    allocate_producer_ids_response_init(&work->answer);
    work->ask.broker_id = broker->node->id;
    work->ask.broker_epoch = self ? self->epoch : -1;
    broker->producer_ids.asking = true;
    if (control_ask(request, 67, 0, &work->ask, &work->answer, leased)) return true;
    broker->producer_ids.asking = false; /* no memory; the request's connection is closed */
    return false;
}

void handle_init_producer_id(struct request *request) {
    const struct init_producer_id_request *in = request->in;
    struct broker *broker = request->broker;
    struct id_work *work = REQUEST_NEW(request, struct id_work);
    if (!work) return;
    request->work = work;
    work->request = request;
    init_producer_id_response_init(&work->response);
    if (in->transactional_id.data) {
        fail(request, in->transactional_id.size ? KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED : KAFKA_INVALID_REQUEST);
        return;
    }
    if ((in->producer_id == -1) != (in->producer_epoch == -1)) {
        fail(request, KAFKA_INVALID_REQUEST);
        return;
    }
    if (broker->producer_ids.next < broker->producer_ids.end) give(request);
    else if (broker->producer_ids.asking) list_push(&broker->producer_ids.waiting, &work->waiting);
    else (void)ask(request);
}
