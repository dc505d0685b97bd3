#include "meta/items.h"
#include <string.h>

/* An item's memory: the struct, its arrays, then its bytes. First everything is counted, then everything is put. */
struct packer {
    uint8_t *at, *end;
};

static size_t aligned(size_t bytes) {
    return (bytes + 7) & ~(size_t)7;
}

static void *pack_start(struct packer *packer, struct pool *pool, size_t item_bytes, size_t array_bytes, size_t text_bytes) {
    size_t bytes = aligned(item_bytes) + array_bytes + text_bytes;
    if (bytes > UINT32_MAX) return NULL;
    uint8_t *item = pool_alloc(pool, bytes);
    if (!item) return NULL;
    memset(item, 0, item_bytes);
    atomic_init((_Atomic uint32_t *)(void *)item, 1);
    memcpy(item + sizeof(uint32_t), &(uint32_t){(uint32_t)bytes}, sizeof(uint32_t)); /* every piece has its size there */
    *packer = (struct packer){item + aligned(item_bytes), item + bytes};
    return item;
}

static void *pack_array(struct packer *packer, const void *source, size_t bytes) {
    void *target = packer->at;
    assert(bytes % 8 == 0 && bytes <= (size_t)(packer->end - packer->at));
    if (bytes && source) memcpy(target, source, bytes);
    packer->at += bytes;
    return target;
}

static struct span pack_span(struct packer *packer, struct span source) {
    if (!source.data) return (struct span){0};
    assert(source.size <= (size_t)(packer->end - packer->at));
    struct span target = {packer->at, source.size};
    if (source.size) memcpy(packer->at, source.data, source.size);
    packer->at += source.size;
    return target;
}
static_assert(sizeof(struct uuid) % 8 == 0 && sizeof(struct span) % 8 == 0 && sizeof(struct image_endpoint) % 8 == 0 &&
                  sizeof(struct image_range) % 8 == 0 && sizeof(struct image_quota_entity) % 8 == 0, "arrays stay aligned");

/* ---- partitions */

struct image_partition *item_partition(struct pool *pool, const struct partition_shape *shape) {
    struct image_partition head = {
        .index = shape->index, .leader = shape->leader, .leader_epoch = shape->leader_epoch,
        .partition_epoch = shape->partition_epoch, .recovery = shape->recovery,
        .replicas = (uint16_t)shape->replicas.count, .isr = (uint16_t)shape->isr.count, .removing = (uint16_t)shape->removing.count,
        .adding = (uint16_t)shape->adding.count, .elr = (uint16_t)shape->elr.count,
        .last_known_elr = (uint16_t)shape->last_known_elr.count,
        .isr_is_replicas = image_ids_equal(shape->isr, shape->replicas),
    };
    for (uint32_t i = 0; shape->directories && i < shape->replicas.count; i++)
        if (memcmp(shape->directories + i * sizeof(struct uuid), &DIRECTORY_MIGRATING, sizeof(struct uuid)) != 0) head.has_directories = true;
    struct image_partition *p = pool_alloc(pool, partition_bytes(&head));
    if (!p) return NULL;
    memcpy(p, &head, sizeof head);
    atomic_init(&p->refs, 1);
    broker_id *at = p->data;
    const struct image_ids *lists[] = {&shape->replicas, &shape->isr, &shape->removing, &shape->adding, &shape->elr, &shape->last_known_elr};
    for (uint32_t i = 0; i < countof(lists); i++) {
        if ((lists[i] == &shape->isr && head.isr_is_replicas) || lists[i]->count == 0) continue;
        memcpy(at, lists[i]->ids, lists[i]->count * sizeof *at);
        at += lists[i]->count;
    }
    if (head.has_directories) memcpy(at, shape->directories, shape->replicas.count * sizeof(struct uuid));
    return p;
}

/* ---- the others */

struct image_name *item_name(struct pool *pool, struct span name, struct uuid id) {
    struct packer packer;
    struct image_name *item = pack_start(&packer, pool, sizeof *item, 0, name.size);
    if (!item) return NULL;
    item->id = id;
    item->name = pack_span(&packer, name);
    return item;
}

struct image_broker *item_broker(struct pool *pool, const struct register_broker_record *r) {
    size_t endpoints = (size_t)r->end_points_count, features = (size_t)r->features_count, dirs = (size_t)r->log_dirs_count;
    size_t cordoned = r->cordoned_log_dirs_count > 0 ? (size_t)r->cordoned_log_dirs_count : 0, text = r->rack.size;
    for (size_t i = 0; i < endpoints; i++) text += r->end_points[i].name.size + r->end_points[i].host.size;
    for (size_t i = 0; i < features; i++) text += r->features[i].name.size;
    struct packer packer;
    struct image_broker *item = pack_start(&packer, pool, sizeof *item,
        endpoints * sizeof(struct image_endpoint) + features * sizeof(struct image_range) + (dirs + cordoned) * sizeof(struct uuid), text);
    if (!item) return NULL;
    item->id = r->broker_id;
    item->epoch = r->broker_epoch;
    item->incarnation = r->incarnation_id;
    item->fenced = r->fenced;
    item->in_controlled_shutdown = r->in_controlled_shutdown;
    item->is_migrating = r->is_migrating_zk_broker;
    item->has_rack = r->rack.data != NULL;
    item->cordoned_known = r->cordoned_log_dirs_count >= 0;
    struct image_endpoint *endpoint = pack_array(&packer, NULL, endpoints * sizeof *endpoint);
    struct image_range *range = pack_array(&packer, NULL, features * sizeof *range);
    item->directories = pack_array(&packer, r->log_dirs, dirs * sizeof(struct uuid));
    item->cordoned = pack_array(&packer, r->cordoned_log_dirs, cordoned * sizeof(struct uuid));
    item->rack = pack_span(&packer, r->rack);
    for (size_t i = 0; i < endpoints; i++)
        endpoint[i] = (struct image_endpoint){pack_span(&packer, r->end_points[i].name), pack_span(&packer, r->end_points[i].host),
                                              r->end_points[i].port, r->end_points[i].security_protocol};
    for (size_t i = 0; i < features; i++)
        range[i] = (struct image_range){pack_span(&packer, r->features[i].name), r->features[i].min_supported_version,
                                        r->features[i].max_supported_version};
    item->endpoints = endpoint;
    item->features = range;
    item->endpoint_count = (uint32_t)endpoints;
    item->feature_count = (uint32_t)features;
    item->directory_count = (uint32_t)dirs;
    item->cordoned_count = (uint32_t)cordoned;
    return item;
}

struct image_broker *item_broker_changed(struct pool *pool, const struct image_broker *b, const struct broker_change *change) {
    const struct uuid *dirs = change->set_directories ? change->directories : b->directories;
    const struct uuid *cordoned = change->set_cordoned ? change->cordoned : b->cordoned;
    uint32_t dir_count = change->set_directories ? change->directory_count : b->directory_count;
    uint32_t cordoned_count = change->set_cordoned ? change->cordoned_count : b->cordoned_count;
    size_t text = b->rack.size;
    for (uint32_t i = 0; i < b->endpoint_count; i++) text += b->endpoints[i].name.size + b->endpoints[i].host.size;
    for (uint32_t i = 0; i < b->feature_count; i++) text += b->features[i].name.size;
    struct packer packer;
    struct image_broker *item = pack_start(&packer, pool, sizeof *item, b->endpoint_count * sizeof(struct image_endpoint) +
        b->feature_count * sizeof(struct image_range) + ((size_t)dir_count + cordoned_count) * sizeof(struct uuid), text);
    if (!item) return NULL;
    uint32_t bytes = item->bytes;
    memcpy(item, b, sizeof *item);
    atomic_init(&item->refs, 1);
    item->bytes = bytes;
    item->fenced = change->fenced;
    item->in_controlled_shutdown = change->in_controlled_shutdown;
    if (change->set_cordoned) item->cordoned_known = true;
    struct image_endpoint *endpoint = pack_array(&packer, b->endpoints, b->endpoint_count * sizeof *endpoint);
    struct image_range *range = pack_array(&packer, b->features, b->feature_count * sizeof *range);
    item->directories = pack_array(&packer, dirs, dir_count * sizeof(struct uuid));
    item->cordoned = pack_array(&packer, cordoned, cordoned_count * sizeof(struct uuid));
    item->rack = pack_span(&packer, b->rack);
    for (uint32_t i = 0; i < b->endpoint_count; i++) {
        endpoint[i].name = pack_span(&packer, endpoint[i].name);
        endpoint[i].host = pack_span(&packer, endpoint[i].host);
    }
    for (uint32_t i = 0; i < b->feature_count; i++) range[i].name = pack_span(&packer, range[i].name);
    item->endpoints = endpoint;
    item->features = range;
    item->directory_count = dir_count;
    item->cordoned_count = cordoned_count;
    return item;
}

struct image_controller *item_controller(struct pool *pool, const struct register_controller_record *r) {
    size_t endpoints = (size_t)r->end_points_count, features = (size_t)r->features_count, text = 0;
    for (size_t i = 0; i < endpoints; i++) text += r->end_points[i].name.size + r->end_points[i].host.size;
    for (size_t i = 0; i < features; i++) text += r->features[i].name.size;
    struct packer packer;
    struct image_controller *item = pack_start(&packer, pool, sizeof *item,
        endpoints * sizeof(struct image_endpoint) + features * sizeof(struct image_range), text);
    if (!item) return NULL;
    item->id = r->controller_id;
    item->incarnation = r->incarnation_id;
    item->zk_migration_ready = r->zk_migration_ready;
    struct image_endpoint *endpoint = pack_array(&packer, NULL, endpoints * sizeof *endpoint);
    struct image_range *range = pack_array(&packer, NULL, features * sizeof *range);
    for (size_t i = 0; i < endpoints; i++)
        endpoint[i] = (struct image_endpoint){pack_span(&packer, r->end_points[i].name), pack_span(&packer, r->end_points[i].host),
                                              r->end_points[i].port, r->end_points[i].security_protocol};
    for (size_t i = 0; i < features; i++)
        range[i] = (struct image_range){pack_span(&packer, r->features[i].name), r->features[i].min_supported_version,
                                        r->features[i].max_supported_version};
    item->endpoints = endpoint;
    item->features = range;
    item->endpoint_count = (uint32_t)endpoints;
    item->feature_count = (uint32_t)features;
    return item;
}

struct image_feature *item_feature(struct pool *pool, struct span name, int16_t level) {
    struct packer packer;
    struct image_feature *item = pack_start(&packer, pool, sizeof *item, 0, name.size);
    if (!item) return NULL;
    item->level = level;
    item->name = pack_span(&packer, name);
    return item;
}

struct image_config *item_config(struct pool *pool, const struct config_record *r) {
    struct packer packer;
    struct image_config *item = pack_start(&packer, pool, sizeof *item, 0, r->resource_name.size + r->name.size + r->value.size);
    if (!item) return NULL;
    item->type = r->resource_type;
    item->resource = pack_span(&packer, r->resource_name);
    item->key = pack_span(&packer, r->name);
    item->value = pack_span(&packer, r->value);
    return item;
}

struct image_quota *item_quota(struct pool *pool, const struct image_quota_entity *entities, uint32_t count, struct span key, double value) {
    size_t text = key.size;
    for (uint32_t i = 0; i < count; i++) text += entities[i].type.size + entities[i].name.size;
    struct packer packer;
    struct image_quota *item = pack_start(&packer, pool, sizeof *item, count * sizeof *entities, text);
    if (!item) return NULL;
    struct image_quota_entity *own = pack_array(&packer, entities, count * sizeof *own);
    for (uint32_t i = 0; i < count; i++) {
        own[i].type = pack_span(&packer, entities[i].type);
        own[i].name = pack_span(&packer, entities[i].name);
    }
    item->entities = own;
    item->entity_count = count;
    item->key = pack_span(&packer, key);
    item->value = value;
    return item;
}

struct image_acl *item_acl(struct pool *pool, const struct access_control_entry_record *r) {
    struct packer packer;
    struct image_acl *item = pack_start(&packer, pool, sizeof *item, 0, r->resource_name.size + r->principal.size + r->host.size);
    if (!item) return NULL;
    item->id = r->id;
    item->resource_type = r->resource_type;
    item->pattern_type = r->pattern_type;
    item->operation = r->operation;
    item->permission = r->permission_type;
    item->resource_name = pack_span(&packer, r->resource_name);
    item->principal = pack_span(&packer, r->principal);
    item->host = pack_span(&packer, r->host);
    return item;
}

struct image_scram *item_scram(struct pool *pool, const struct user_scram_credential_record *r) {
    struct packer packer;
    struct image_scram *item = pack_start(&packer, pool, sizeof *item, 0, r->name.size + r->salt.size + r->stored_key.size + r->server_key.size);
    if (!item) return NULL;
    item->mechanism = r->mechanism;
    item->iterations = r->iterations;
    item->user = pack_span(&packer, r->name);
    item->salt = pack_span(&packer, r->salt);
    item->stored_key = pack_span(&packer, r->stored_key);
    item->server_key = pack_span(&packer, r->server_key);
    return item;
}

struct image_token *item_token(struct pool *pool, const struct delegation_token_record *r) {
    size_t renewers = (size_t)r->renewers_count, text = r->token_id.size + r->owner.size + r->requester.size;
    for (size_t i = 0; i < renewers; i++) text += r->renewers[i].size;
    struct packer packer;
    struct image_token *item = pack_start(&packer, pool, sizeof *item, renewers * sizeof(struct span), text);
    if (!item) return NULL;
    struct span *own = pack_array(&packer, r->renewers, renewers * sizeof *own);
    for (size_t i = 0; i < renewers; i++) own[i] = pack_span(&packer, own[i]);
    item->renewers = own;
    item->renewer_count = (uint32_t)renewers;
    item->issued_ms = r->issue_timestamp;
    item->max_ms = r->max_timestamp;
    item->expires_ms = r->expiration_timestamp;
    item->id = pack_span(&packer, r->token_id);
    item->owner = pack_span(&packer, r->owner);
    item->requester = pack_span(&packer, r->requester);
    return item;
}
