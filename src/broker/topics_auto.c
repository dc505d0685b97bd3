#include "broker/topics_auto.h"
#include "broker/broker.h"

enum { NAME_BYTES_MAX = 249, PENDING_MAX = 1000 };

/* One topic that is being created: from the asking until the controller has answered. Lives on the control shard's way:
 * owns its memory, so that the request that asked need not wait. */
struct creation {
    struct message message;
    struct broker *home;
    struct control_call call;
    struct arena arena;
    struct list node;               /* in home's pending creations */
    struct create_topics_request request;
    struct create_topics_response response;
    struct create_topics_request_creatable_topic topic;
    struct create_topics_request_creatable_topic_config configs[4];
    uint16_t name_bytes;
    char name[NAME_BYTES_MAX];
};

struct topics_auto {
    struct topics_auto *next;
    struct span name;
};

bool topic_name_is_valid(struct span name) {
    if (name.size == 0 || name.size > NAME_BYTES_MAX) return false;
    if (span_equal(name, SPAN_LITERAL(".")) || span_equal(name, SPAN_LITERAL(".."))) return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!fine) return false;
    }
    return true;
}

enum kafka_error topic_name_error(const struct image *image, struct span name) {
    return topic_name_is_valid(name) ? KAFKA_NONE : KAFKA_INVALID_TOPIC_EXCEPTION;
}

bool topics_auto_add(struct request *request, struct topics_auto **names, struct span name) {
    struct topics_auto *entry = REQUEST_NEW(request, struct topics_auto);
    if (!entry) return false;
    entry->name = name;
    entry->next = *names;
    *names = entry;
    return true;
}

static void home_again(struct shard *shard, struct message *message) {
    struct creation *creation = container_of(message, struct creation, message);
    struct broker *broker = creation->home;
    enum kafka_error error = creation->call.error;
    if (!error && creation->response.topics_count == 1) error = (enum kafka_error)creation->response.topics[0].error_code;
    if (error && error != KAFKA_TOPIC_ALREADY_EXISTS)
        broker_trace(broker, "topic %.*s was asked for, but could not be created: %s", creation->name_bytes, creation->name, kafka_error_name(error));
    list_remove(&creation->node);
    broker->creations_count--;
    arena_destroy(&creation->arena);
    pool_free(shard->pool, creation, sizeof *creation);
}

static void decided(struct control_call *call) {
    struct creation *creation = container_of(call, struct creation, call);
    struct broker_node *node = creation->home->node;
    creation->message.run = home_again;
    shard_send(node->brokers[0]->shard, creation->home->shard->index, &creation->message);
}

static void at_control(struct shard *shard, struct message *message) {
    struct creation *creation = container_of(message, struct creation, message);
    struct broker_node *node = creation->home->node;
    creation->call.done = decided;
    node->control.call(node->control.self, &creation->call);
}

static void config(struct creation *creation, const char *name, const char *value) {
    struct create_topics_request_creatable_topic_config *config = &creation->configs[creation->topic.configs_count++];
    create_topics_request_creatable_topic_config_init(config);
    config->name = span_text(name);
    config->value = span_text(value);
}

static void create(struct broker *broker, struct span name) {
    LIST_EACH(node, &broker->creations) {
        const struct creation *other = LIST_ITEM(node, struct creation, node);
        if (span_equal(span_of(other->name, other->name_bytes), name)) return;
    }
    if (broker->creations_count >= PENDING_MAX) return;
    struct creation *creation = POOL_NEW(broker->shard->pool, struct creation);
    if (!creation) return;
    creation->home = broker;
    arena_init_travelling(&creation->arena, broker->shard->pool, 0);
    memcpy(creation->name, name.data, name.size);
    creation->name_bytes = (uint16_t)name.size;
    create_topics_request_init(&creation->request);
    create_topics_request_creatable_topic_init(&creation->topic);
    create_topics_response_init(&creation->response);
    creation->request.topics = &creation->topic;
    creation->request.topics_count = 1;
    creation->topic.name = span_of(creation->name, creation->name_bytes);
    creation->topic.num_partitions = -1;
    creation->topic.replication_factor = -1;
    creation->topic.configs = creation->configs;
    creation->topic.configs_count = 0;
    if (span_equal(name, SPAN_LITERAL("__consumer_offsets"))) {
        creation->topic.num_partitions = broker->node->offsets_partitions;
        creation->topic.replication_factor = (int16_t)broker->node->offsets_replication;
        config(creation, "compression.type", "producer");
        config(creation, "cleanup.policy", "compact");
        config(creation, "segment.bytes", broker->node->offsets_segment_bytes);
    }
    creation->call = (struct control_call){.api = wire_api(19), .version = 7, .request = &creation->request, .response = &creation->response,
                                           .arena = &creation->arena};
    list_push(&broker->creations, &creation->node);
    broker->creations_count++;
    creation->message.run = at_control;
    shard_send(broker->shard, 0, &creation->message);
}

void topics_auto_create(struct broker *broker, struct topics_auto *names) {
    for (; names; names = names->next) create(broker, names->name);
}

void topics_auto_create_internal(struct broker *broker, struct span name) {
    create(broker, name);
}
