/* What is carried to the control role as it came, and its answer back as it is: raft's requests to the quorum, others to
 * the controller. Only where the call as a whole failed is the answer made here. */
#include "broker/broker.h"
#include "broker/control.h"
#include "broker/dispatch.h"
#include "broker/handlers.h"

static struct control_call *call_of(struct request *request) {
    return &container_of(request->shares, struct control_share, share)->call;
}

/* ---- raft's */

static void quorum_joined(struct request *request) {
    struct control_call *call = call_of(request);
    if (!call->response) {
        request_refuse(request, "over budget");
        return;
    }
    if (request->client->closed && call->records) chain_clear(call->records); /* nobody takes them over */
    request_reply(request, call->response);
}

void handle_quorum(struct request *request) {
    (void)control_ask(request, request->row->key, request->version, request->in, NULL, quorum_joined);
}

/* ---- the controller's */

static void refuse_call(struct request *request, enum kafka_error error) {
    switch (request->row->key) {
#define ERROR_CODE(key, name) case key: ((struct name *)request->work)->error_code = (int16_t)error; return;
    ERROR_CODE(API_ELECT_LEADERS, elect_leaders_response)
    ERROR_CODE(API_ALTER_PARTITION_REASSIGNMENTS, alter_partition_reassignments_response)
    ERROR_CODE(API_LIST_PARTITION_REASSIGNMENTS, list_partition_reassignments_response)
    ERROR_CODE(API_ALTER_PARTITION, alter_partition_response)
    ERROR_CODE(API_UPDATE_FEATURES, update_features_response)
    ERROR_CODE(API_BROKER_REGISTRATION, broker_registration_response)
    ERROR_CODE(API_BROKER_HEARTBEAT, broker_heartbeat_response)
    ERROR_CODE(API_UNREGISTER_BROKER, unregister_broker_response)
    ERROR_CODE(API_ALLOCATE_PRODUCER_IDS, allocate_producer_ids_response)
    ERROR_CODE(API_CONTROLLER_REGISTRATION, controller_registration_response)
    ERROR_CODE(API_ASSIGN_REPLICAS_TO_DIRS, assign_replicas_to_dirs_response)
    ERROR_CODE(API_UNREGISTER_CONTROLLER, unregister_controller_response)
#undef ERROR_CODE
    default: never("a row of the tables without its error");
    }
}

static void controller_joined(struct request *request) {
    enum kafka_error error = call_of(request)->error;
    if (error) {
        wire_init(request->api->response->body, request->work); /* it was not filled in to its end */
        refuse_call(request, error);
    }
    request_reply(request, request->work);
}

void handle_controller(struct request *request) {
    if (!(request->work = request_response_new(request))) return;
    (void)control_ask(request, request->row->key, request->version, request->in, request->work, controller_joined);
}
