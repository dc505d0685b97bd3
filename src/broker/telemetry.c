#include "broker/telemetry.h"
#include "base/hash.h"
#include "base/pattern.h"
#include "base/text.h"
#include "broker/broker.h"

enum { INTERVAL_MS_DEFAULT = 300000, METRICS_MAX = 1000 };

struct instance {
    struct map_node node;
    struct list used;               /* the longest unused first */
    struct uuid id;
    int32_t subscription, interval_ms;
    time_ms asked_ms, pushed_ms;    /* last; INT64_MIN: never   */
    enum kafka_error last_error;
    bool terminating;
};
struct telemetry {
    struct map instances;
    struct list used;
};

static bool is_instance(const struct map_node *node, const void *key) {
    return uuid_equal(MAP_ITEM(node, struct instance, node)->id, *(const struct uuid *)key);
}

uint32_t telemetry_shard(const struct broker *broker, struct uuid instance) {
    return broker->shards == 1 ? 0 : (uint32_t)(uuid_hash(instance) >> 32) % broker->shards;
}

bool telemetry_is_reserved(struct uuid instance) {
    for (size_t i = 0; i + 1 < sizeof instance.bytes; i++)
        if (instance.bytes[i]) return false;
    return instance.bytes[sizeof instance.bytes - 1] <= 1;
}

/* ---- Subscriptions */

static bool attribute(const struct telemetry_client *client, struct span name, struct span *out, char id[UUID_TEXT_BYTES + 1]) {
    if (span_equal(name, SPAN_LITERAL("client_instance_id"))) {
        uuid_text(client->instance, id);
        *out = span_text(id);
    } else if (span_equal(name, SPAN_LITERAL("client_id"))) *out = client->client_id;
    else if (span_equal(name, SPAN_LITERAL("client_software_name"))) *out = client->software_name;
    else if (span_equal(name, SPAN_LITERAL("client_software_version"))) *out = client->software_version;
    else if (span_equal(name, SPAN_LITERAL("client_source_address"))) *out = client->address;
    else if (span_equal(name, SPAN_LITERAL("client_source_port"))) *out = client->port;
    else return false;
    return true;
}

static bool is_chosen(const struct telemetry_client *client, struct span match) {
    for (struct span one; config_list_next(&match, &one);) {
        if (one.size == 0) continue;
        const uint8_t *equals = memchr(one.data, '=', one.size);
        char id[UUID_TEXT_BYTES + 1];
        struct span name = {one.data, equals ? (size_t)(equals - one.data) : 0}, value;
        while (name.size && name.data[name.size - 1] == ' ') name.size--;
        if (!equals || !attribute(client, name, &value, id)) return false;
        struct span pattern = {equals + 1, one.size - (size_t)(equals + 1 - one.data)};
        while (pattern.size && pattern.data[0] == ' ') pattern = span_of(pattern.data + 1, pattern.size - 1);
        if (!pattern_matches(pattern, value)) return false;
    }
    return true;
}

static void add_metric(struct telemetry_subscription *out, struct span metric) {
    if (out->metrics_count == METRICS_MAX || metric.size == 0) return;
    int32_t at = 0;
    while (at < out->metrics_count && span_compare(out->metrics[at], metric) < 0) at++;
    if (at < out->metrics_count && span_equal(out->metrics[at], metric)) return;
    for (int32_t i = out->metrics_count++; i > at; i--) out->metrics[i] = out->metrics[i - 1];
    out->metrics[at] = metric;
}

static void add_subscription(struct telemetry_subscription *out, const struct telemetry_client *client, struct span match, struct span metrics,
                             struct span interval, bool *all) {
    int64_t interval_ms = INTERVAL_MS_DEFAULT;
    if (metrics.size == 0 || !is_chosen(client, match)) return;
    if (interval.data && !config_parse_integer(interval, &interval_ms)) return;
    if (interval_ms < out->interval_ms && interval_ms > 0) out->interval_ms = (int32_t)interval_ms;
    for (struct span one; config_list_next(&metrics, &one);) {
        if (span_equal(one, SPAN_LITERAL("*"))) *all = true;
        add_metric(out, one);
    }
}

/* Its id is told apart by what it holds and for whom: as Apache Kafka makes it. */
static int32_t subscription_id(const struct telemetry_subscription *subscription, struct uuid instance) {
    uint32_t crc = crc32c(0, "[", 1);
    for (int32_t i = 0; i < subscription->metrics_count; i++) {
        if (i) crc = crc32c(crc, ", ", 2);
        crc = crc32c(crc, subscription->metrics[i].data, subscription->metrics[i].size);
    }
    char behind[32];
    struct text text;
    text_init(&text, behind, sizeof behind);
    text_add(&text, "]%d", subscription->interval_ms);
    crc = crc32c(crc, behind, text.size);
    uint32_t folded = 0;
    for (size_t i = 0; i < sizeof instance.bytes; i++) folded ^= (uint32_t)instance.bytes[i] << (24 - 8 * (i % 4));
    return (int32_t)(crc ^ folded);
}

/* False: no memory. */
static bool subscribe(const struct broker *broker, const struct telemetry_client *client, struct arena *arena, struct telemetry_subscription *out) {
    const struct image *image = broker->image;
    bool all = false;
    *out = (struct telemetry_subscription){.interval_ms = INTERVAL_MS_DEFAULT, .metrics = ARENA_ARRAY(arena, METRICS_MAX, struct span)};
    if (!out->metrics) return false;
    const struct image_config before = {.type = CONFIG_CLIENT_METRICS};
    const struct image_config *first = image_config_next(image, &before);
    while (first && first->type == CONFIG_CLIENT_METRICS) {
        struct span resource = first->resource, match = {0}, metrics = {0}, interval = {0};
        const struct image_config *config = first;
        for (; config && config->type == CONFIG_CLIENT_METRICS && span_equal(config->resource, resource); config = image_config_next(image, config)) {
            if (span_equal(config->key, SPAN_LITERAL("match"))) match = config->value;
            else if (span_equal(config->key, SPAN_LITERAL("metrics"))) metrics = config->value;
            else if (span_equal(config->key, SPAN_LITERAL("interval.ms"))) interval = config->value;
        }
        add_subscription(out, client, match, metrics, interval, &all);
        first = config;
    }
    if (all) {
        out->metrics[0] = SPAN_LITERAL("*");
        out->metrics_count = 1;
    }
    /* The image may go while the answer is on its way. */
    for (int32_t i = 0; i < out->metrics_count; i++) {
        const void *copy = arena_copy(arena, out->metrics[i].data, out->metrics[i].size);
        if (!copy) return false;
        out->metrics[i] = span_of(copy, out->metrics[i].size);
    }
    out->id = subscription_id(out, client->instance);
    return true;
}

/* ---- Instances */

static void forget(struct broker *broker, struct instance *instance) {
    list_remove(&instance->used);
    map_remove(&broker->telemetry->instances, &instance->node);
    pool_free(broker->shard->pool, instance, sizeof *instance);
}

/* The one with this id, with the subscription that is its own now; NULL: no memory. */
static struct instance *instance_of(struct broker *broker, const struct telemetry_client *client, struct arena *arena, struct telemetry_subscription *subscription) {
    struct pool *pool = broker->shard->pool;
    if (!broker->telemetry) {
        struct telemetry *telemetry = POOL_NEW(pool, struct telemetry);
        if (!telemetry) return NULL;
        map_init(&telemetry->instances, pool, 0, is_instance);
        list_init(&telemetry->used);
        broker->telemetry = telemetry;
    }
    struct telemetry *all = broker->telemetry;
    if (!subscribe(broker, client, arena, subscription)) return NULL;
    struct map_node *node = map_find(&all->instances, uuid_hash(client->instance), &client->instance);
    struct instance *instance = node ? MAP_ITEM(node, struct instance, node) : NULL;
    if (!instance) {
        if (all->instances.count >= TELEMETRY_INSTANCES_MAX) forget(broker, LIST_ITEM(all->used.next, struct instance, used));
        if (!(instance = POOL_NEW(pool, struct instance))) return NULL;
        instance->id = client->instance;
        instance->asked_ms = instance->pushed_ms = INT64_MIN;
        list_init(&instance->used);
        if (!map_insert(&all->instances, &instance->node, uuid_hash(client->instance))) {
            pool_free(pool, instance, sizeof *instance);
            return NULL;
        }
    }
    list_remove(&instance->used);
    list_push(&all->used, &instance->used);
    instance->subscription = subscription->id;
    instance->interval_ms = subscription->interval_ms;
    return instance;
}

void telemetry_free(struct broker *broker) {
    struct telemetry *all = broker->telemetry;
    if (!all) return;
    while (!list_is_empty(&all->used)) forget(broker, LIST_ITEM(all->used.next, struct instance, used));
    map_destroy(&all->instances);
    pool_free(broker->shard->pool, all, sizeof *all);
    broker->telemetry = NULL;
}

/* ---- Asking and pushing */

static bool is_due(time_ms last, time_ms now, int32_t interval_ms) {
    return last == INT64_MIN || now - last >= interval_ms;
}

static bool may_ask(struct instance *instance, time_ms now) {
    time_ms last = instance->asked_ms > instance->pushed_ms ? instance->asked_ms : instance->pushed_ms;
    if (is_due(last, now, instance->interval_ms)) {
        instance->asked_ms = now;
        return true;
    }
    /* It was told to ask anew. */
    return instance->last_error == KAFKA_UNKNOWN_SUBSCRIPTION_ID || instance->last_error == KAFKA_UNSUPPORTED_COMPRESSION_TYPE;
}

enum kafka_error telemetry_ask(struct broker *broker, const struct telemetry_client *client, struct arena *arena, struct telemetry_subscription *out) {
    struct instance *instance = instance_of(broker, client, arena, out);
    if (!instance) return KAFKA_UNKNOWN_SERVER_ERROR;
    if (!may_ask(instance, shard_now(broker->shard) / NS_PER_MS)) return KAFKA_THROTTLING_QUOTA_EXCEEDED;
    instance->last_error = KAFKA_NONE;
    return KAFKA_NONE;
}

static bool may_push(struct instance *instance, time_ms now) {
    bool may = instance->asked_ms > instance->pushed_ms || is_due(instance->pushed_ms, now, instance->interval_ms);
    if (may) instance->pushed_ms = now;
    return may;
}

static enum kafka_error judge(const struct broker *broker, struct instance *instance, const struct push_telemetry_request *push, time_ms now) {
    struct config_view view = broker_config_view(broker);
    if (instance->terminating) return KAFKA_INVALID_REQUEST;
    if (!may_push(instance, now) && !push->terminating) return KAFKA_THROTTLING_QUOTA_EXCEEDED;
    if (push->subscription_id != instance->subscription) return KAFKA_UNKNOWN_SUBSCRIPTION_ID;
    if (push->compression_type < 0 || push->compression_type >= COMPRESSION_COUNT) return KAFKA_UNSUPPORTED_COMPRESSION_TYPE;
    if ((int64_t)push->metrics.size > config_number(&view, KEY_telemetry_max_bytes)) return KAFKA_TELEMETRY_TOO_LARGE;
    return KAFKA_NONE;
}

static enum kafka_error take(struct broker *broker, const struct push_telemetry_request *push) {
    static const struct unpack_limits limits = {.bytes_max = TELEMETRY_UNPACKED_BYTES_MAX};
    struct telemetry_counts counts;
    struct slab *slab = NULL;
    struct span payload = push->metrics;
    if (payload.size == 0) return KAFKA_NONE;
    enum err err = ERR_NONE;
    if (push->compression_type != COMPRESSION_NONE) {
        err = unpack(&broker->codecs, (enum compression)push->compression_type, payload, 0, &limits, &slab);
        if (!err) payload = span_of(slab->bytes, slab->used);
    }
    bool readable = !err && telemetry_count(payload, &counts);
    slab_drop(slab);
    broker->metrics.telemetry_pushes++;
    broker->metrics.telemetry_bytes += push->metrics.size;
    if (!readable) {
        broker->metrics.telemetry_unreadable++;
        return KAFKA_INVALID_RECORD;
    }
    broker->metrics.telemetry_metrics += counts.metrics;
    broker->metrics.telemetry_points += counts.points;
    return KAFKA_NONE;
}

enum kafka_error telemetry_push(struct broker *broker, const struct telemetry_client *client, const struct push_telemetry_request *push, struct arena *arena) {
    struct telemetry_subscription subscription;
    struct instance *instance = instance_of(broker, client, arena, &subscription);
    if (!instance) return KAFKA_UNKNOWN_SERVER_ERROR;
    enum kafka_error error = judge(broker, instance, push, shard_now(broker->shard) / NS_PER_MS);
    instance->terminating = push->terminating;
    if (!error) error = take(broker, push);
    instance->last_error = error;
    return error;
}
