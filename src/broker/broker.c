#include "broker/adopt.h"
#include "broker/assign.h"
#include "broker/broker.h"
#include "broker/coordinators.h"
#include "broker/dispatch.h"
#include "broker/fetch_session.h"
#include "broker/partition.h"
#include "broker/telemetry.h"
#include "broker/topic.h"
#include "broker/tracing.h"
#include <stdarg.h>
#include <stdio.h>

enum { LOG_INFO = 2 };
enum { WAITING_MAX = 1 << 20, TRACE_BYTES_MAX = 512 };

void broker_trace(struct broker *broker, const char *format, ...) {
    char line[TRACE_BYTES_MAX];
    if (!broker->node->trace || atomic_load_explicit(&broker->node->log_level, memory_order_relaxed) > LOG_INFO) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    broker->node->trace(line);
}

bool broker_topic_id(const struct broker *broker, struct span name, struct uuid *out) {
    const struct image_topic *topic = image_topic(broker->image, name);
    if (topic) *out = topic->id;
    return topic != NULL;
}

bool broker_topic_exists(const struct broker *broker, struct uuid id) {
    return image_topic_by_id(broker->image, id) != NULL;
}

struct config_view broker_config_view(const struct broker *broker) {
    return (struct config_view){.image = broker->image, .values = broker->node->config, .broker = broker->node->id};
}

/* ---- the turn: ends that moved are told to the machines, and what that wakes is answered ------------------------- */


static void wake(struct broker *broker) {
    struct purgatory_waiter *waiter;
    while ((waiter = purgatory_take(&broker->purgatory))) {
        enum purgatory_outcome outcome = waiter->outcome;
        if (waiter->is_fetch) fetch_share_woken(container_of(waiter, struct fetch_wait, waiter), outcome);
        else produce_item_woken(container_of(container_of(waiter, struct offset_wait, waiter), struct produce_item, wait), outcome);
    }
}

static void turn_ends(struct turn_hook *hook) {
    struct broker *broker = container_of(hook, struct broker, hook);
    struct list *node;
    while ((node = list_pop(&broker->partitions_changed))) partition_settle(LIST_ITEM(node, struct partition, changed));
    wake(broker);
}

void broker_wants_turn_end(struct broker *broker) {
    turn_end(broker->shard, &broker->hook, turn_ends);
}

static void deadline_reached(struct timer *timer) {
    struct broker *broker = container_of(timer, struct broker, purgatory_timer);
    purgatory_time(&broker->purgatory, shard_now(broker->shard) / NS_PER_MS);
    wake(broker);
    broker_wants_deadline(broker);
}

void broker_wants_deadline(struct broker *broker) {
    time_ms deadline = purgatory_deadline(&broker->purgatory);
    if (deadline == INT64_MAX) timer_cancel(broker->shard, &broker->purgatory_timer);
    else if (!timer_set(broker->shard, &broker->purgatory_timer, deadline * NS_PER_MS, deadline_reached)) broker_trace(broker, "no memory for a timer");
}

/* ---- metadata ------------------------------------------------------------------------------------------------------- */

static void partition_changed(void *context, const struct image_topic *topic, const struct image_partition *before, const struct image_partition *after) {
    struct broker *broker = context;
    partition_index index = before ? before->index : after->index;
    if (!before || partition_shard(broker, topic->id, index) != broker->shard->index) return;
    enum kafka_error why;
    struct partition *partition = partition_find(broker, topic->id, index);
    if (partition) {
        partition_follow_image(partition);
        return;
    }
    if (after) return;
    /* Deleted, and not in use in this life: its files may be there all the same. */
    char name[LOG_TOPIC_BYTES_MAX + 1];
    if (topic->name.size > LOG_TOPIC_BYTES_MAX) return;
    memcpy(name, topic->name.data, topic->name.size);
    name[topic->name.size] = 0;
    if (!log_dirs_find(broker->node->dirs, name, index)) return;
    struct image *now = broker->image;
    broker->image = broker->previous;
    partition = partition_get(broker, topic->id, index, &why);
    broker->image = now;
    if (partition) partition_delete(partition);
}

static void topic_changed(void *context, const struct image_topic *before, const struct image_topic *after) {
    struct broker *broker = context;
    if (!before || after) return;
    coordinators_topic_deleted(broker->coordinators, before->name, before->id);
    topic_read_forget(broker, before->id);
}

static void config_changed(void *context, const struct image_config *before, const struct image_config *after) {
    struct broker *broker = context;
    const struct image_config *config = after ? after : before;
    MAP_EACH(node, &broker->topics) {
        struct topic_entry *entry = MAP_EACH_ITEM(node, struct topic_entry, node);
        if (config->type == CONFIG_BROKER || (config->type == CONFIG_TOPIC && span_equal(config->resource, entry->name))) topic_entry_reload(broker, entry);
    }
}

static void settings_to_partitions(struct broker *broker) {
    MAP_EACH(node, &broker->partitions) {
        struct partition *partition = MAP_EACH_ITEM(node, struct partition, node);
        if (!partition->is_deleting) partition_settings(partition);
    }
}

static void note_config(void *context, const struct image_config *before, const struct image_config *after) {
    config_changed(context, before, after);
    ((struct broker *)context)->settings_changed = true;
}

/* Once this life of the broker is unfenced: what came before then is answered now. */
static void begin_to_serve(struct broker *broker) {
    const struct image_broker *self = image_broker(broker->image, broker->node->id);
    if (broker->serves || !self || self->fenced || !uuid_equal(self->incarnation, broker->node->incarnation)) return;
    broker->serves = true;
    adopt_begin(broker);
    struct list *node;
    while ((node = list_pop(&broker->held))) request_start(LIST_ITEM(node, struct request, node));
}

void broker_image(struct broker *broker, struct image *image) {
    static const struct image_visitor visitor = {.topic = topic_changed, .partition = partition_changed, .config = note_config};
    struct image_visitor own = visitor;
    own.context = broker;
    broker->previous = broker->image;
    broker->image = image;
    broker->settings_changed = false;
    image_diff(broker->previous, image, &own);
    if (broker->settings_changed) {
        struct config_view view = broker_config_view(broker);
        struct log_store_options store = {0};
        store_settings_read(&store, &view, broker->shards, log_dirs_count(broker->node->dirs));
        log_store_tune(broker->store, &store);
        settings_to_partitions(broker);
        tracing_follow(broker);
    }
    image_drop(broker->previous);
    broker->previous = NULL;
    coordinators_follow_image(broker->coordinators);
    begin_to_serve(broker);
    broker_wants_turn_end(broker);
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

enum err broker_open(struct broker **out, const struct broker_options *options) {
    struct shard *shard = options->shard;
    struct broker *broker = POOL_NEW(shard->pool, struct broker);
    if (!broker) return ERR_NO_MEMORY;
    broker->shard = shard;
    broker->node = options->node;
    broker->shards = shard_count(shard->group);
    broker->store = options->store;
    uint64_t seed;
    io_random(shard->io, &seed, sizeof seed);
    random_seed(&broker->random, seed);
    codecs_init(&broker->codecs, shard->pool);
    pool_init_child(&broker->requests, shard->pool, 0);
    purgatory_init(&broker->purgatory, shard->pool, WAITING_MAX);
    map_init(&broker->partitions, shard->pool, 0, partition_is_key);
    map_init(&broker->topics, shard->pool, 0, topic_entry_is_key);
    map_init(&broker->topics_read, shard->pool, 0, topic_read_is_key);
    list_init(&broker->partitions_changed);
    list_init(&broker->clients);
    list_init(&broker->requests_free);
    list_init(&broker->apart.waiting);
    list_init(&broker->held);
    list_init(&broker->creations);
    list_init(&broker->producer_ids.waiting);
    assign_init(broker);
    broker->sessions = POOL_NEW(shard->pool, struct fetch_sessions);
    broker->image = image_new(shard->pool);
    if (!broker->sessions || !broker->image || coordinators_open(&broker->coordinators, broker)) {
        broker_free(broker);
        return ERR_NO_MEMORY;
    }
    uint32_t slots = (uint32_t)broker->node->fetch_sessions_max, sessions = slots > 0 && slots < broker->shards ? 1 : slots / broker->shards;
    fetch_sessions_init(broker->sessions, shard->pool, &broker->random, sessions, shard->index, broker->shards);
    tracing_follow(broker);
    broker->node->brokers[shard->index] = broker;
    shard->roles[ROLE_BROKER] = broker;
    *out = broker;
    return ERR_NONE;
}

static void coordinators_stop(struct broker *broker) {
    coordinators_close(broker->coordinators);
    broker->coordinators = NULL;
}

void broker_stop(struct broker *broker) {
    if (broker->stopping) return;
    broker->stopping = true;
    if (!adopt_is_complete(broker)) log_dirs_unsettled(broker->node->dirs);
    assign_stop(broker);
    /* What waits for data or for replicas is answered now: clients go elsewhere, or come back. */
    MAP_EACH(node, &broker->partitions) purgatory_place_changed(&MAP_EACH_ITEM(node, struct partition, node)->place);
    wake(broker);
    coordinators_stop(broker);
    struct list *node;
    while ((node = list_pop(&broker->held))) request_refuse(LIST_ITEM(node, struct request, node), "stopping");
}

void broker_free(struct broker *broker) {
    if (!broker) return;
    struct shard *shard = broker->shard;
    struct pool *pool = shard->pool;
    timer_cancel(shard, &broker->purgatory_timer);
    timer_cancel(shard, &broker->adopt_timer);
    assign_free(broker);
    if (broker->coordinators) coordinators_stop(broker);
    MAP_EACH_SAFE(node, &broker->partitions) partition_forget(MAP_EACH_ITEM(node, struct partition, node));
    map_destroy(&broker->partitions);
    map_destroy(&broker->topics);
    topics_read_free(broker);
    telemetry_free(broker);
    tracing_free(broker);
    if (broker->sessions) {
        if (broker->sessions->pool) fetch_sessions_destroy(broker->sessions);
        pool_free(pool, broker->sessions, sizeof *broker->sessions);
    }
    struct list *node;
    while ((node = list_pop(&broker->requests_free))) {
        struct request *request = LIST_ITEM(node, struct request, node);
        arena_destroy(&request->arena);
        pool_free(&broker->requests, request, sizeof *request);
    }
    for (uint32_t key = 0; key < API_COUNT; key++) pool_free(pool, broker->apis[key], sizeof *broker->apis[key]);
    image_drop(broker->image);
    purgatory_destroy(&broker->purgatory);
    codecs_destroy(&broker->codecs);
    pool_destroy(&broker->requests);
    shard->roles[ROLE_BROKER] = NULL;
    broker->node->brokers[shard->index] = NULL;
    pool_free(pool, broker, sizeof *broker);
}
