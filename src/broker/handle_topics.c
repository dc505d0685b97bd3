/* CreateTopics, DeleteTopics, CreatePartitions: checked for what only the broker sees, then the controller decides. */
#include "broker/broker.h"
#include "broker/control.h"
#include "broker/dispatch.h"
#include "broker/handlers.h"

/* The whole call failed: each topic is told. */
static void create_joined(struct request *request) {
    struct control_share *control = container_of(request->shares, struct control_share, share);
    struct create_topics_response *out = request->work;
    if (control->call.error) {
        const struct create_topics_request *in = request->in;
        create_topics_response_init(out);
        out->topics = create_topics_response_creatable_topic_result_array(&request->arena, in->topics_count);
        if (!out->topics) {
            request_refuse(request, "over budget");
            return;
        }
        out->topics_count = in->topics_count;
        for (int32_t i = 0; i < in->topics_count; i++) {
            out->topics[i].name = in->topics[i].name;
            out->topics[i].error_code = (int16_t)control->call.error;
        }
    }
    request_reply(request, out);
}

void handle_create_topics(struct request *request) {
    struct create_topics_response *out = REQUEST_NEW(request, struct create_topics_response);
    if (!out) return;
    create_topics_response_init(out);
    request->work = out;
    (void)control_ask(request, request->row->key, request->version, request->in, out, create_joined);
}

static void delete_joined(struct request *request) {
    struct control_share *control = container_of(request->shares, struct control_share, share);
    struct delete_topics_response *out = request->work;
    if (control->call.error) {
        const struct delete_topics_request *in = request->in;
        int32_t count = request->version >= 6 ? in->topics_count : in->topic_names_count;
        delete_topics_response_init(out);
        out->responses = delete_topics_response_deletable_topic_result_array(&request->arena, count);
        if (!out->responses) {
            request_refuse(request, "over budget");
            return;
        }
        out->responses_count = count;
        for (int32_t i = 0; i < count; i++) {
            out->responses[i].name = request->version >= 6 ? in->topics[i].name : in->topic_names[i];
            if (request->version >= 6) out->responses[i].topic_id = in->topics[i].topic_id;
            out->responses[i].error_code = (int16_t)control->call.error;
        }
    }
    request_reply(request, out);
}

void handle_delete_topics(struct request *request) {
    struct delete_topics_response *out = REQUEST_NEW(request, struct delete_topics_response);
    if (!out) return;
    delete_topics_response_init(out);
    request->work = out;
    (void)control_ask(request, request->row->key, request->version, request->in, out, delete_joined);
}

static void partitions_joined(struct request *request) {
    struct control_share *control = container_of(request->shares, struct control_share, share);
    struct create_partitions_response *out = request->work;
    if (control->call.error) {
        const struct create_partitions_request *in = request->in;
        create_partitions_response_init(out);
        out->results = create_partitions_response_create_partitions_topic_result_array(&request->arena, in->topics_count);
        if (!out->results) {
            request_refuse(request, "over budget");
            return;
        }
        out->results_count = in->topics_count;
        for (int32_t i = 0; i < in->topics_count; i++) {
            out->results[i].name = in->topics[i].name;
            out->results[i].error_code = (int16_t)control->call.error;
        }
    }
    request_reply(request, out);
}

void handle_create_partitions(struct request *request) {
    struct create_partitions_response *out = REQUEST_NEW(request, struct create_partitions_response);
    if (!out) return;
    create_partitions_response_init(out);
    request->work = out;
    (void)control_ask(request, request->row->key, request->version, request->in, out, partitions_joined);
}
