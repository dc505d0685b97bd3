/* Metadata, DescribeCluster, DescribeTopicPartitions, ApiVersions: answered from this shard's image. */
#include "broker/apart.h"
#include "broker/broker.h"
#include "broker/control.h"
#include "broker/dispatch.h"
#include "broker/handlers.h"
#include "broker/named.h"
#include "broker/topic.h"
#include "broker/topics_auto.h"
#include <stdio.h>
#include <stdlib.h>

/* What is allowed when there is no authorizer: everything that the resource knows, a bit for each of Kafka's operations. */
enum { CLUSTER_OPERATIONS = 0x1fa0, TOPIC_OPERATIONS = 0x0df8 };

static bool ids_array(struct request *request, struct image_ids ids, int32_t **out, int32_t *count) {
    *count = (int32_t)ids.count;
    *out = REQUEST_ARRAY(request, ids.count, int32_t);
    if (!*out) return false;
    if (ids.count) memcpy(*out, ids.ids, ids.count * sizeof **out);
    return true;
}

/* Replicas whose broker is not there, or whose directory is lost. */
static bool offline_array(struct request *request, const struct image_partition *partition, int32_t **out, int32_t *count) {
    const struct image *image = request->image;
    struct image_ids replicas = image_replicas(partition);
    *count = 0;
    *out = REQUEST_ARRAY(request, replicas.count, int32_t);
    if (!*out) return false;
    for (uint32_t i = 0; i < replicas.count; i++) {
        const struct image_broker *broker = image_broker(image, replicas.ids[i]);
        if (!broker || broker->fenced || !image_directory_is_online(broker, image_directory(partition, i))) (*out)[(*count)++] = replicas.ids[i];
    }
    return true;
}

/* Which error goes with a partition, and which leader is told: a leader without this listener is none. */
static enum kafka_error leader_of(struct request *request, const struct image_partition *partition, broker_id *leader) {
    const struct image_broker *broker = partition->leader >= 0 ? image_broker(request->image, partition->leader) : NULL;
    *leader = partition->leader;
    if (!broker || broker->fenced) {
        *leader = -1;
        return KAFKA_LEADER_NOT_AVAILABLE;
    }
    if (image_broker_endpoint(broker, span_text(request_listener(request)))) return KAFKA_NONE;
    *leader = -1;
    return request->version == 0 ? KAFKA_LEADER_NOT_AVAILABLE : KAFKA_LISTENER_NOT_FOUND;
}

static bool topic_metadata(struct request *request, const struct image_topic *topic, struct metadata_response_metadata_response_topic *out) {
    const struct metadata_request *in = request->in;
    out->name = topic->name;
    out->topic_id = topic->id;
    out->is_internal = topic_is_internal(topic->name) && !span_equal(topic->name, SPAN_LITERAL("__share_group_state"));
    out->partitions = metadata_response_metadata_response_partition_array(&request->arena, (int32_t)topic->partition_count);
    if (!out->partitions) {
        request_refuse(request, "over budget");
        return false;
    }
    if (in->include_topic_authorized_operations) out->topic_authorized_operations = TOPIC_OPERATIONS;
    struct image_walk walk;
    image_partitions_begin(&walk, topic);
    for (const struct image_partition *partition; (partition = image_partitions_step(&walk));) {
        struct metadata_response_metadata_response_partition *p = &out->partitions[out->partitions_count++];
        p->partition_index = partition->index;
        p->leader_epoch = partition->leader_epoch;
        p->error_code = (int16_t)leader_of(request, partition, &p->leader_id);
        if (!ids_array(request, image_replicas(partition), &p->replica_nodes, &p->replica_nodes_count) ||
            !ids_array(request, image_isr(partition), &p->isr_nodes, &p->isr_nodes_count) ||
            !offline_array(request, partition, &p->offline_replicas, &p->offline_replicas_count))
            return false;
    }
    return true;
}

static bool brokers(struct request *request, struct metadata_response *out) {
    const struct image *image = request->image;
    out->brokers = metadata_response_metadata_response_broker_array(&request->arena, (int32_t)image_broker_count(image));
    if (!out->brokers) {
        request_refuse(request, "over budget");
        return false;
    }
    out->brokers_count = 0;
    for (const struct image_broker *broker = image_broker_next(image, NULL); broker; broker = image_broker_next(image, broker)) {
        const struct image_endpoint *endpoint = broker->fenced ? NULL : image_broker_endpoint(broker, span_text(request_listener(request)));
        if (!endpoint) continue;
        struct metadata_response_metadata_response_broker *b = &out->brokers[out->brokers_count++];
        b->node_id = broker->id;
        b->host = endpoint->host;
        b->port = endpoint->port;
        b->rack = broker->has_rack ? broker->rack : (struct span){0};
    }
    return true;
}

/* In KRaft no client talks to the controller: a broker that is there is named in its place. */
static broker_id controller_for_clients(const struct image *image) {
    broker_id candidates[64];
    uint32_t count = 0;
    for (const struct image_broker *broker = image_broker_next(image, NULL); broker && count < countof(candidates); broker = image_broker_next(image, broker))
        if (!broker->fenced) candidates[count++] = broker->id;
    return count ? candidates[0] : -1;
}

/* Does any topic lack a name, or have an id where ids cannot be asked for yet? Where there are ids, names say nothing. */
static bool is_malformed(const struct metadata_request *in, int16_t version) {
    bool any_id = false, any_null = false;
    for (int32_t i = 0; i < in->topics_count; i++) {
        any_id |= !uuid_is_zero(in->topics[i].topic_id);
        any_null |= !in->topics[i].name.data;
    }
    return version < 12 ? any_id || any_null : any_null && !any_id;
}

static void refuse_metadata(struct request *request, const struct metadata_request *in, struct metadata_response *out) {
    struct metadata_response_metadata_response_topic *topics = out->topics;
    metadata_response_init(out);
    out->topics = topics;
    out->brokers_count = 0;
    out->error_code = KAFKA_INVALID_REQUEST;
    for (int32_t i = 0; i < in->topics_count; i++) {
        struct metadata_response_metadata_response_topic *t = &out->topics[out->topics_count++];
        t->name = in->topics[i].name.data ? in->topics[i].name : SPAN_LITERAL("");
        t->topic_id = in->topics[i].topic_id;
        t->error_code = KAFKA_INVALID_REQUEST;
    }
    request_reply(request, out);
}

/* Each topic is told once. What is named again right away is dropped first, which costs next to nothing. */
static bool take_names(struct request *request, struct named *named) {
    struct metadata_request *in = request->in;
    enum { BY_NAME, BY_ID };
    int32_t kept = 0;
    for (int32_t i = 0; i < in->topics_count; i++) {
        const struct metadata_request_metadata_request_topic *topic = &in->topics[i], *before = &in->topics[kept - 1];
        if (kept > 0 && span_equal(topic->name, before->name) && !topic->name.data == !before->name.data &&
            uuid_equal(topic->topic_id, before->topic_id)) continue;
        in->topics[kept++] = *topic;
    }
    in->topics_count = kept;
    if (!named_init(named, &request->arena, (size_t)in->topics_count)) {
        request_refuse(request, "over budget");
        return false;
    }
    for (int32_t i = 0; i < in->topics_count; i++) {
        const struct metadata_request_metadata_request_topic *topic = &in->topics[i];
        if (uuid_is_zero(topic->topic_id)) named_add(named, topic->name, BY_NAME);
        else named_add(named, span_of(topic->topic_id.bytes, sizeof topic->topic_id.bytes), BY_ID);
    }
    named_settle(named);
    return true;
}

/* More topics and partitions to tell than the others' requests should wait for. */
enum { LONG_ANSWER = 500 };

static bool is_long_all(const struct image *image) { return image_topic_count(image) + image_partition_count(image) > LONG_ANSWER; }

static bool is_long(const struct request *request, bool all) {
    const struct metadata_request *in = request->in;
    if (!is_long_all(request->image)) return false; /* of names that do not exist a small body has few */
    uint64_t count = all ? LONG_ANSWER + 1 : 0;
    for (int32_t i = 0; i < in->topics_count && count <= LONG_ANSWER; i++) {
        const struct metadata_request_metadata_request_topic *topic = &in->topics[i];
        const struct image_topic *found = !uuid_is_zero(topic->topic_id) ? image_topic_by_id(request->image, topic->topic_id) : image_topic(request->image, topic->name);
        count += found ? found->partition_count : 0;
    }
    return count > LONG_ANSWER;
}

static void create_missing(struct request *request) { topics_auto_create(request->broker, request->work); }

void handle_metadata(struct request *request) {
    const struct metadata_request *in = request->in;
    struct broker *broker = request->broker;
    const struct image *image = request->image;
    /* All topics: null, or before version 1 an empty list. */
    bool all = in->topics_count < 0 || (request->version == 0 && in->topics_count == 0);
    if (is_long(request, all) && apart_handle(request)) return;
    struct metadata_response *out = REQUEST_NEW(request, struct metadata_response);
    if (!out) return;
    metadata_response_init(out);
    if (!brokers(request, out)) return;
    out->cluster_id = span_text(broker->node->cluster_id);
    out->controller_id = controller_for_clients(image);
    if (in->include_cluster_authorized_operations) out->cluster_authorized_operations = CLUSTER_OPERATIONS;
    bool is_refused = !all && request->version >= 10 && is_malformed(in, request->version);
    struct named named = {0};
    if (!all && !is_refused && !take_names(request, &named)) return;
    uint32_t count = all ? image_topic_count(image) : is_refused ? (uint32_t)in->topics_count : named.distinct;
    out->topics = metadata_response_metadata_response_topic_array(&request->arena, (int32_t)count);
    if (!out->topics) {
        request_refuse(request, "over budget");
        return;
    }
    if (all) {
        for (const struct image_topic *topic = image_topic_next(image, NULL); topic; topic = image_topic_next(image, topic))
            if (!topic_metadata(request, topic, &out->topics[out->topics_count++])) return;
        request_reply(request, out);
        return;
    }
    if (is_refused) {
        refuse_metadata(request, in, out);
        return;
    }
    bool any_id = false;
    for (int32_t i = 0; i < in->topics_count; i++) any_id |= !uuid_is_zero(in->topics[i].topic_id);
    struct topics_auto *missing = NULL;
    bool may_create = broker->node->auto_create && (request->version < 4 || in->allow_auto_topic_creation);
    for (uint32_t i = 0; i < named.count; i++) {
        const struct metadata_request_metadata_request_topic *asked = &in->topics[i];
        bool by_id = !uuid_is_zero(asked->topic_id);
        if (!by_id && any_id) continue; /* where there are ids, names say nothing */
        if (named.places[i].first != i) continue;
        struct metadata_response_metadata_response_topic *t = &out->topics[out->topics_count++];
        const struct image_topic *topic = by_id ? image_topic_by_id(image, asked->topic_id) : image_topic(image, asked->name);
        if (topic) {
            if (!topic_metadata(request, topic, t)) return;
            continue;
        }
        t->name = by_id ? (struct span){0} : asked->name;
        t->topic_id = asked->topic_id;
        t->error_code = by_id ? KAFKA_UNKNOWN_TOPIC_ID : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        if (by_id) continue;
        t->is_internal = topic_is_internal(asked->name);
        if (in->include_topic_authorized_operations) t->topic_authorized_operations = TOPIC_OPERATIONS;
        enum kafka_error name_error = topic_name_error(image, asked->name);
        if (name_error) t->error_code = (int16_t)name_error;
        else if (may_create && !topics_auto_add(request, &missing, asked->name)) return;
    }
    request->work = missing;
    request->before_answer = create_missing;
    request_reply(request, out);
}

enum { ENDPOINT_BROKER = 1, ENDPOINT_CONTROLLER = 2 };

/* Which of them leads is the quorum's to say. */
static void leader_joined(struct request *request) {
    struct control_call *call = &container_of(request->shares, struct control_share, share)->call;
    const struct describe_quorum_response *quorum = call->response;
    struct describe_cluster_response *out = request->work;
    if (!quorum) {
        request_refuse(request, "over budget");
        return;
    }
    out->controller_id = quorum->topics[0].partitions[0].leader_id;
    request_reply(request, out);
}

static void describe_controllers(struct request *request, struct describe_cluster_response *out) {
    static struct describe_quorum_request_partition_data partition = {.partition_index = 0};
    static struct describe_quorum_request_topic_data topic = {.topic_name = SPAN_LITERAL("__cluster_metadata"), .partitions = &partition, .partitions_count = 1};
    static const struct describe_quorum_request ask = {.topics = &topic, .topics_count = 1};
    const struct image *image = request->image;
    int32_t count = 0;
    for (const struct image_controller *c = NULL; (c = image_controller_next(image, c));) count++;
    out->brokers = describe_cluster_response_describe_cluster_broker_array(&request->arena, count);
    if (!out->brokers) {
        request_refuse(request, "over budget");
        return;
    }
    for (const struct image_controller *c = NULL; (c = image_controller_next(image, c));) {
        for (uint32_t i = 0; i < c->endpoint_count; i++) {
            if (!span_equal(c->endpoints[i].name, span_text(request_listener(request)))) continue;
            struct describe_cluster_response_describe_cluster_broker *o = &out->brokers[out->brokers_count++];
            o->broker_id = c->id;
            o->host = c->endpoints[i].host;
            o->port = c->endpoints[i].port;
            break;
        }
    }
    request->work = out;
    (void)control_ask(request, API_DESCRIBE_QUORUM, 0, &ask, NULL, leader_joined);
}

void handle_describe_cluster(struct request *request) {
    const struct describe_cluster_request *in = request->in;
    struct broker *broker = request->broker;
    struct describe_cluster_response *out = REQUEST_NEW(request, struct describe_cluster_response);
    if (!out) return;
    describe_cluster_response_init(out);
    int8_t own = request_is_controllers(request) ? ENDPOINT_CONTROLLER : ENDPOINT_BROKER;
    if (in->endpoint_type != own) { /* a listener answers about its like */
        bool exists = in->endpoint_type == ENDPOINT_BROKER || in->endpoint_type == ENDPOINT_CONTROLLER;
        out->error_code = request->version == 0 ? KAFKA_INVALID_REQUEST : exists ? KAFKA_MISMATCHED_ENDPOINT_TYPE : KAFKA_UNSUPPORTED_ENDPOINT_TYPE;
        static const char *const names[] = {"UNKNOWN", "BROKER", "CONTROLLER"};
        out->error_message = !exists ? request_text(request, "Unsupported endpoint type %d", in->endpoint_type)
                                     : request_text(request, "The request was sent to an endpoint of type %s, but we wanted an endpoint of type %s",
                                                    names[own], names[in->endpoint_type]);
        request_reply(request, out);
        return;
    }
    out->endpoint_type = own;
    out->cluster_id = span_text(broker->node->cluster_id);
    if (in->include_cluster_authorized_operations) out->cluster_authorized_operations = CLUSTER_OPERATIONS;
    if (own == ENDPOINT_CONTROLLER) {
        describe_controllers(request, out);
        return;
    }
    out->controller_id = controller_for_clients(request->image);
    out->brokers = describe_cluster_response_describe_cluster_broker_array(&request->arena, (int32_t)image_broker_count(request->image));
    if (!out->brokers) {
        request_refuse(request, "over budget");
        return;
    }
    for (const struct image_broker *b = image_broker_next(request->image, NULL); b; b = image_broker_next(request->image, b)) {
        const struct image_endpoint *endpoint = image_broker_endpoint(b, span_text(request_listener(request)));
        if (!endpoint || (b->fenced && !(request->version >= 2 && in->include_fenced_brokers))) continue;
        struct describe_cluster_response_describe_cluster_broker *o = &out->brokers[out->brokers_count++];
        o->broker_id = b->id;
        o->host = endpoint->host;
        o->port = endpoint->port;
        o->rack = b->has_rack ? b->rack : (struct span){0};
        o->is_fenced = b->fenced;
    }
    request_reply(request, out);
}

/* ---- DescribeTopicPartitions: names in order, as many partitions as the limit allows, then where to go on ------------ */

struct walk {
    struct request *request;
    struct describe_topic_partitions_response *out;
    int32_t left;
};

static bool set_cursor(struct walk *walk, struct span topic, partition_index index) {
    struct describe_topic_partitions_response_cursor *cursor = REQUEST_NEW(walk->request, struct describe_topic_partitions_response_cursor);
    if (!cursor) return false;
    cursor->topic_name = topic;
    cursor->partition_index = index;
    walk->out->next_cursor = cursor;
    return true;
}

static bool describe_partitions(struct walk *walk, const struct image_topic *topic, partition_index from) {
    struct request *request = walk->request;
    struct describe_topic_partitions_response_describe_topic_partitions_response_topic *t = &walk->out->topics[walk->out->topics_count++];
    t->name = topic->name;
    t->topic_id = topic->id;
    t->is_internal = topic_is_internal(topic->name);
    t->topic_authorized_operations = TOPIC_OPERATIONS;
    t->partitions = describe_topic_partitions_response_describe_topic_partitions_response_partition_array(&request->arena, (int32_t)topic->partition_count);
    if (!t->partitions) {
        request_refuse(request, "over budget");
        return false;
    }
    for (const struct image_partition *p = image_partition_next(topic, NULL); p; p = image_partition_next(topic, p)) {
        if (p->index < from) continue;
        if (walk->left-- <= 0) {
            return set_cursor(walk, topic->name, p->index);
        }
        struct describe_topic_partitions_response_describe_topic_partitions_response_partition *o = &t->partitions[t->partitions_count++];
        o->partition_index = p->index;
        o->leader_epoch = p->leader_epoch;
        o->error_code = (int16_t)leader_of(request, p, &o->leader_id);
        if (!ids_array(request, image_replicas(p), &o->replica_nodes, &o->replica_nodes_count) ||
            !ids_array(request, image_isr(p), &o->isr_nodes, &o->isr_nodes_count) ||
            !ids_array(request, image_elr(p), &o->eligible_leader_replicas, &o->eligible_leader_replicas_count) ||
            !ids_array(request, image_last_known_elr(p), &o->last_known_elr, &o->last_known_elr_count) ||
            !offline_array(request, p, &o->offline_replicas, &o->offline_replicas_count))
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b) {
    return span_compare(((const struct describe_topic_partitions_request_topic_request *)a)->name,
                        ((const struct describe_topic_partitions_request_topic_request *)b)->name);
}

static bool is_among(const struct describe_topic_partitions_request *in, struct span name) {
    for (int32_t i = 0; i < in->topics_count; i++)
        if (span_equal(in->topics[i].name, name)) return true;
    return false;
}

void handle_describe_topic_partitions(struct request *request) {
    struct describe_topic_partitions_request *in = request->in;
    const struct image *image = request->image;
    if (is_long_all(image) && in->response_partition_limit > LONG_ANSWER && apart_handle(request)) return;
    struct describe_topic_partitions_response *out = REQUEST_NEW(request, struct describe_topic_partitions_response);
    if (!out) return;
    describe_topic_partitions_response_init(out);
    bool all = in->topics_count == 0;
    uint32_t count = all ? image_topic_count(image) : (uint32_t)in->topics_count;
    struct config_view view = request_config_view(request);
    int64_t limit_most = config_number(&view, KEY_max_request_partition_size_limit);
    struct walk walk = {.request = request, .out = out};
    walk.left = in->response_partition_limit < 1 ? 1 : in->response_partition_limit > limit_most ? (int32_t)limit_most : in->response_partition_limit;
    out->topics = describe_topic_partitions_response_describe_topic_partitions_response_topic_array(&request->arena, (int32_t)count);
    if (!out->topics) {
        request_refuse(request, "over budget");
        return;
    }
    struct span first = in->cursor ? in->cursor->topic_name : SPAN_LITERAL("");
    if (in->cursor && (in->cursor->partition_index < 0 || (!all && !is_among(in, first)))) { /* a cursor that goes nowhere */
        for (uint32_t i = 0; !all && i < count; i++) {
            out->topics[out->topics_count].name = in->topics[i].name;
            out->topics[out->topics_count++].error_code = KAFKA_INVALID_REQUEST;
        }
        request_reply(request, out);
        return;
    }
    if (all) {
        for (const struct image_topic *topic = image_topic_from(image, first); topic && !out->next_cursor; topic = image_topic_next(image, topic))
            if (walk.left <= 0 ? !set_cursor(&walk, topic->name, 0) : !describe_partitions(&walk, topic, in->cursor && span_equal(topic->name, first) ? in->cursor->partition_index : 0)) return;
        request_reply(request, out);
        return;
    }
    if (count > 1) qsort(in->topics, count, sizeof *in->topics, by_name);
    for (uint32_t i = 0; i < count && !out->next_cursor; i++) {
        struct span name = in->topics[i].name;
        if (span_compare(name, first) < 0 || (i > 0 && span_equal(name, in->topics[i - 1].name))) continue;
        if (walk.left <= 0) { /* go on with this one, whether it exists or not */
            if (!set_cursor(&walk, name, 0)) return;
            break;
        }
        const struct image_topic *topic = image_topic(image, name);
        if (!topic) {
            struct describe_topic_partitions_response_describe_topic_partitions_response_topic *t = &out->topics[out->topics_count++];
            t->name = name;
            t->error_code = topic_name_is_valid(name) ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : KAFKA_INVALID_TOPIC_EXCEPTION;
            t->topic_authorized_operations = TOPIC_OPERATIONS;
            continue;
        }
        if (!describe_partitions(&walk, topic, in->cursor && span_equal(name, first) ? in->cursor->partition_index : 0)) return;
    }
    request_reply(request, out);
}

/* ---- ApiVersions -------------------------------------------------------------------------------------------------------- */

static bool name_is_valid(struct span text) { /* what Kafka allows as a client's software name and version */
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!word && (i == 0 || i + 1 == text.size || (c != '-' && c != '.'))) return false;
    }
    return text.size > 0;
}

static bool fill_apis(struct request *request, struct api_versions_response *out) {
    uint32_t count;
    const struct api_row *rows = api_rows(request_is_controllers(request), &count);
    out->api_keys = api_versions_response_api_version_array(&request->arena, (int32_t)count);
    if (!out->api_keys) return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct wire_api *api = wire_api(rows[i].key);
        struct api_versions_response_api_version *row = &out->api_keys[out->api_keys_count++];
        row->api_key = rows[i].key;
        row->min_version = api->advertised_min < rows[i].version_min ? api->advertised_min : rows[i].version_min;
        row->max_version = rows[i].version_max;
        if (api->is_unstable && !request->broker->node->unstable_apis && row->max_version == api->version_max) row->max_version--;
    }
    return true;
}

static bool fill_features(struct request *request, struct api_versions_response *out) {
    const struct image *image = request->image;
    out->supported_features = api_versions_response_supported_feature_key_array(&request->arena, FEATURES_COUNT);
    if (!out->supported_features) return false;
    for (uint32_t i = 0; i < FEATURES_COUNT; i++) {
        /* Older clients cannot read a feature whose range begins at 0. */
        if (features[i].min == 0 && request->version < 4) continue;
        struct api_versions_response_supported_feature_key *f = &out->supported_features[out->supported_features_count++];
        f->name = span_text(features[i].name);
        f->min_version = features[i].min;
        f->max_version = features[i].max;
    }
    uint32_t count = 0;
    for (const struct image_feature *f = image_feature_next(image, NULL); f; f = image_feature_next(image, f)) count++;
    out->finalized_features_epoch = image_position(image).offset - 1;
    out->finalized_features = api_versions_response_finalized_feature_key_array(&request->arena, (int32_t)count);
    if (!out->finalized_features) return false;
    for (const struct image_feature *f = image_feature_next(image, NULL); f; f = image_feature_next(image, f)) {
        struct api_versions_response_finalized_feature_key *o = &out->finalized_features[out->finalized_features_count++];
        o->name = f->name;
        o->min_version_level = f->level;
        o->max_version_level = f->level;
    }
    return true;
}

void handle_api_versions(struct request *request) {
    const struct api_versions_request *in = request->in;
    struct broker *broker = request->broker;
    struct api_versions_response *out = REQUEST_NEW(request, struct api_versions_response);
    if (!out) return;
    api_versions_response_init(out);
    if (request->version < request->row->version_min || request->version > request->row->version_max) {
        /* The client speaks a version that is not known here: told so in the oldest one, with what is. */
        request->version = 0;
        out->error_code = KAFKA_UNSUPPORTED_VERSION;
        out->api_keys = api_versions_response_api_version_array(&request->arena, 1);
        if (!out->api_keys) {
            request_refuse(request, "over budget");
            return;
        }
        out->api_keys[0].api_key = request->row->key;
        out->api_keys[0].min_version = request->row->version_min;
        out->api_keys[0].max_version = request->row->version_max;
        out->api_keys_count = 1;
        request_reply(request, out);
        return;
    }
    if (request->version >= 3 && (!name_is_valid(in->client_software_name) || !name_is_valid(in->client_software_version))) {
        out->error_code = KAFKA_INVALID_REQUEST;
        request_reply(request, out);
        return;
    }
    if (request->version >= 3) {
        struct client *client = request->client;
        snprintf(client->software_name, sizeof client->software_name, "%.*s", (int)in->client_software_name.size, (const char *)in->client_software_name.data);
        snprintf(client->software_version, sizeof client->software_version, "%.*s", (int)in->client_software_version.size,
                 (const char *)in->client_software_version.data);
    }
    if (request->version >= 5) {
        bool has_cluster = in->cluster_id.data != NULL, has_node = in->node_id != -1;
        if (has_cluster != has_node) out->error_code = KAFKA_INVALID_REQUEST;
        else if (has_cluster && (!span_equal(in->cluster_id, span_text(broker->node->cluster_id)) || in->node_id != broker->node->id))
            out->error_code = KAFKA_REBOOTSTRAP_REQUIRED;
        if (out->error_code != KAFKA_NONE) {
            request_reply(request, out);
            return;
        }
    }
    if (!fill_apis(request, out) || (request->version >= 3 && !fill_features(request, out))) {
        request_refuse(request, "over budget");
        return;
    }
    request_reply(request, out);
}
