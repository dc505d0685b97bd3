#include "broker/assign.h"
#include "broker/broker.h"
#include "broker/partition.h"
#include "broker/topic.h"

enum { ASSIGN_SOON_MS = 20, ASSIGN_AGAIN_MS = 1000, ASSIGN_AT_ONCE = 2000 };

typedef struct assign_replicas_to_dirs_request request_type;
typedef struct assign_replicas_to_dirs_response response_type;

static void ask(struct timer *timer);

static void after(struct broker *broker, time_ms ms) {
    struct assigning *assigning = &broker->assigning;
    if (assigning->busy || broker->stopping || list_is_empty(&assigning->wanted)) return;
    /* Without memory for a timer the next partition that is looked at comes here again. */
    if (!timer_set(broker->shard, &assigning->timer, shard_now(broker->shard) + ms * NS_PER_MS, ask)) return;
}

static bool must_be_told(const struct partition *partition) {
    const struct broker *broker = partition->broker;
    const struct image_topic *topic = image_topic_by_id(broker->image, partition->topic->id);
    const struct image_partition *state = topic ? image_partition(topic, partition->index) : NULL;
    int32_t replica = state ? image_replica_index(state, broker->node->id) : -1;
    return replica >= 0 && !partition->is_deleting && !uuid_equal(image_directory(state, (uint32_t)replica), log_dir_id(partition->dir_told));
}

void assign_look(struct partition *partition) {
    struct broker *broker = partition->broker;
    struct log_dir *dir = log_dir_of(partition->log);
    if (partition->dir_told == dir || log_dirs_count(broker->node->dirs) == 1) return;
    partition->dir_told = dir;
    if (!must_be_told(partition)) return;
    if (list_is_empty(&partition->unassigned)) list_push(&broker->assigning.wanted, &partition->unassigned);
    if (!broker->assigning.timer.node.index) after(broker, ASSIGN_SOON_MS);
}

/* ---- The call */

static void is_home(struct shard *shard, struct message *message) {
    struct broker *broker = container_of(container_of(message, struct assigning, message), struct broker, assigning);
    struct assigning *assigning = &broker->assigning;
    const request_type *request = assigning->call.request;
    const response_type *response = assigning->call.response;
    enum kafka_error error = assigning->call.error ? assigning->call.error : (enum kafka_error)response->error_code;
    assigning->busy = false;
    /* What the controller refuses of single partitions stays refused: they are gone, or no longer ours. */
    for (int32_t d = 0; error && error != KAFKA_UNSUPPORTED_VERSION && d < request->directories_count; d++) {
        for (int32_t t = 0; t < request->directories[d].topics_count; t++) {
            const struct assign_replicas_to_dirs_request_topic_data *topic = &request->directories[d].topics[t];
            struct partition *partition = partition_find(broker, topic->topic_id, topic->partitions[0].partition_index);
            if (partition && list_is_empty(&partition->unassigned)) list_push(&assigning->wanted, &partition->unassigned);
        }
    }
    arena_destroy(&assigning->arena);
    after(broker, error ? ASSIGN_AGAIN_MS : ASSIGN_SOON_MS);
}

static void decided(struct control_call *call) {
    struct assigning *assigning = container_of(call, struct assigning, call);
    struct broker *broker = container_of(assigning, struct broker, assigning);
    struct broker *control = broker->node->brokers[0];
    assigning->message.run = is_home;
    shard_send(control->shard, broker->shard->index, &assigning->message);
}

static void on_control(struct shard *shard, struct message *message) {
    struct assigning *assigning = container_of(message, struct assigning, message);
    struct broker *control = shard->roles[ROLE_BROKER];
    if (control->stopping || !control->node->control.call) {
        assigning->call.error = KAFKA_NOT_CONTROLLER;
        decided(&assigning->call);
        return;
    }
    control->node->control.call(control->node->control.self, &assigning->call);
}

/* A directory's entry in the request, made when it is first met. */
static struct assign_replicas_to_dirs_request_directory_data *entry_of(struct assigning *assigning, request_type *request, struct uuid id) {
    for (int32_t d = 0; d < request->directories_count; d++)
        if (uuid_equal(request->directories[d].id, id)) return &request->directories[d];
    struct assign_replicas_to_dirs_request_directory_data *entry = &request->directories[request->directories_count];
    entry->id = id;
    entry->topics = assign_replicas_to_dirs_request_topic_data_array(&assigning->arena, ASSIGN_AT_ONCE);
    if (!entry->topics) return NULL;
    request->directories_count++;
    return entry;
}

static bool add(struct assigning *assigning, request_type *request, const struct partition *partition) {
    struct assign_replicas_to_dirs_request_directory_data *entry = entry_of(assigning, request, log_dir_id(partition->dir_told));
    struct assign_replicas_to_dirs_request_topic_data *topic = entry ? &entry->topics[entry->topics_count] : NULL;
    if (!topic || !(topic->partitions = assign_replicas_to_dirs_request_partition_data_array(&assigning->arena, 1))) return false;
    topic->topic_id = partition->topic->id;
    topic->partitions[0].partition_index = partition->index;
    topic->partitions_count = 1;
    entry->topics_count++;
    return true;
}

static void ask(struct timer *timer) {
    struct broker *broker = container_of(container_of(timer, struct assigning, timer), struct broker, assigning);
    struct assigning *assigning = &broker->assigning;
    const struct image_broker *self = image_broker(broker->image, broker->node->id);
    if (assigning->busy || broker->stopping) return;
    arena_init_travelling(&assigning->arena, broker->shard->pool, 0);
    request_type *request = ARENA_NEW(&assigning->arena, request_type);
    response_type *response = ARENA_NEW(&assigning->arena, response_type);
    bool fits = request && response && self;
    if (fits) {
        assign_replicas_to_dirs_request_init(request);
        assign_replicas_to_dirs_response_init(response);
        request->broker_id = broker->node->id;
        request->broker_epoch = self->epoch;
        request->directories = assign_replicas_to_dirs_request_directory_data_array(&assigning->arena, (int32_t)log_dirs_count(broker->node->dirs));
        fits = request->directories != NULL;
    }
    uint32_t count = 0;
    while (fits && count < ASSIGN_AT_ONCE && !list_is_empty(&assigning->wanted)) {
        struct partition *partition = LIST_ITEM(assigning->wanted.next, struct partition, unassigned);
        if (must_be_told(partition)) {
            if (!add(assigning, request, partition)) break;
            count++;
        }
        list_remove(&partition->unassigned);
    }
    if (count == 0) {
        arena_destroy(&assigning->arena);
        after(broker, ASSIGN_AGAIN_MS);
        return;
    }
    assigning->busy = true;
    assigning->call = (struct control_call){.api = wire_api(API_ASSIGN_REPLICAS_TO_DIRS), .request = request, .response = response,
                                            .arena = &assigning->arena, .done = decided};
    assigning->message.run = on_control;
    shard_send(broker->shard, 0, &assigning->message);
}

/* ---- Life */

void assign_init(struct broker *broker) {
    list_init(&broker->assigning.wanted);
}

void assign_stop(struct broker *broker) {
    timer_cancel(broker->shard, &broker->assigning.timer);
}

void assign_free(struct broker *broker) {
    timer_cancel(broker->shard, &broker->assigning.timer);
    if (broker->assigning.busy) arena_destroy(&broker->assigning.arena);
}
