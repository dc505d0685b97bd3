#include "meta/image_inner.h"
#include "base/hash.h"
#include "base/random.h"
#include <string.h>

const struct uuid DIRECTORY_MIGRATING = {{0}};
const struct uuid DIRECTORY_UNASSIGNED = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
const struct uuid DIRECTORY_LOST = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};

/* ---- the kinds of items: what orders them, how they are freed */

static int compare_numbers(int64_t a, int64_t b) {
    return a < b ? -1 : a > b;
}
#define COMPARE(name_, type_, expression_)                          \
    static int name_(const void *one, const void *other) {          \
        const struct type_ *a = one, *b = other;                    \
        return expression_;                                         \
    }
COMPARE(compare_names, image_name, span_compare(a->name, b->name))
COMPARE(compare_topics, image_topic, uuid_compare(a->id, b->id))
COMPARE(compare_partitions, image_partition, compare_numbers(a->index, b->index))
COMPARE(compare_brokers, image_broker, compare_numbers(a->id, b->id))
COMPARE(compare_controllers, image_controller, compare_numbers(a->id, b->id))
COMPARE(compare_features, image_feature, span_compare(a->name, b->name))
COMPARE(compare_acls, image_acl, uuid_compare(a->id, b->id))
COMPARE(compare_tokens, image_token, span_compare(a->id, b->id))

static int compare_configs(const void *one, const void *other) {
    const struct image_config *a = one, *b = other;
    int order = compare_numbers(a->type, b->type);
    if (!order) order = span_compare(a->resource, b->resource);
    return order ? order : span_compare(a->key, b->key);
}

static int compare_scrams(const void *one, const void *other) {
    const struct image_scram *a = one, *b = other;
    int order = compare_numbers(a->mechanism, b->mechanism);
    return order ? order : span_compare(a->user, b->user);
}

static int compare_quotas(const void *one, const void *other) {
    const struct image_quota *a = one, *b = other;
    for (uint32_t i = 0; i < a->entity_count && i < b->entity_count; i++) {
        const struct image_quota_entity *x = &a->entities[i], *y = &b->entities[i];
        int order = span_compare(x->type, y->type);
        if (!order) order = compare_numbers(x->name.data != NULL, y->name.data != NULL); /* defaults first */
        if (!order) order = span_compare(x->name, y->name);
        if (order) return order;
    }
    int order = compare_numbers(a->entity_count, b->entity_count);
    return order ? order : span_compare(a->key, b->key);
}

/* Most items are one piece of memory that knows its size. */
struct piece {
    _Atomic uint32_t refs;
    uint32_t bytes;
};
#define IS_A_PIECE(type_) static_assert(offsetof(struct type_, bytes) == offsetof(struct piece, bytes), "its size is where a piece's is")
IS_A_PIECE(image_name);
IS_A_PIECE(image_broker);
IS_A_PIECE(image_controller);
IS_A_PIECE(image_feature);
IS_A_PIECE(image_config);
IS_A_PIECE(image_quota);
IS_A_PIECE(image_acl);
IS_A_PIECE(image_scram);
IS_A_PIECE(image_token);

static void free_piece(struct pool *pool, void *item) {
    pool_free_remote(pool, item, ((struct piece *)item)->bytes);
}

static void free_partition(struct pool *pool, void *item) {
    pool_free_remote(pool, item, partition_bytes(item));
}

static void free_topic(struct pool *pool, void *item) {
    struct image_topic *topic = item;
    struct tree partitions = topic_tree(topic);
    tree_drop(&partitions, &kind_partition, pool);
    item_drop(topic->label, &kind_name, pool);
    pool_free_remote(pool, topic, sizeof *topic);
}

const struct tree_kind kind_name = {compare_names, free_piece}, kind_topic = {compare_topics, free_topic},
    kind_partition = {compare_partitions, free_partition}, kind_broker = {compare_brokers, free_piece},
    kind_controller = {compare_controllers, free_piece}, kind_feature = {compare_features, free_piece},
    kind_config = {compare_configs, free_piece}, kind_quota = {compare_quotas, free_piece}, kind_acl = {compare_acls, free_piece},
    kind_scram = {compare_scrams, free_piece}, kind_token = {compare_tokens, free_piece};

struct tree *image_tree(struct image *image, uint32_t i, const struct tree_kind **kind) {
    static const struct { size_t offset; const struct tree_kind *kind; } trees[IMAGE_TREES] = {
        {offsetof(struct image, names), &kind_name},             {offsetof(struct image, topics), &kind_topic},
        {offsetof(struct image, brokers), &kind_broker},         {offsetof(struct image, controllers), &kind_controller},
        {offsetof(struct image, features), &kind_feature},       {offsetof(struct image, configs), &kind_config},
        {offsetof(struct image, quotas), &kind_quota},           {offsetof(struct image, acls), &kind_acl},
        {offsetof(struct image, scrams), &kind_scram},           {offsetof(struct image, tokens), &kind_token},
    };
    assert(i < IMAGE_TREES);
    *kind = trees[i].kind;
    return (struct tree *)(void *)((char *)image + trees[i].offset);
}

/* ---- life */

struct image *image_new(struct pool *pool) {
    struct image *image = POOL_NEW(pool, struct image);
    if (!image) return NULL;
    atomic_init(&image->refs, 1);
    image->pool = pool;
    image->next_producer_id = -1;
    return image;
}

struct image *image_copy(const struct image *source) {
    struct image *image = pool_alloc(source->pool, sizeof *image);
    if (!image) return NULL;
    memcpy(image, source, sizeof *image);
    atomic_init(&image->refs, 1);
    for (uint32_t i = 0; i < IMAGE_TREES; i++) {
        const struct tree_kind *kind;
        struct tree *tree = image_tree(image, i, &kind);
        *tree = tree_hold(tree);
    }
    return image;
}

struct image *image_hold(const struct image *image) {
    return item_hold(image);
}

void image_drop(const struct image *shared) {
    struct image *image = (struct image *)(uintptr_t)shared;
    if (!image || atomic_fetch_sub_explicit(&image->refs, 1, memory_order_acq_rel) != 1) return;
    for (uint32_t i = 0; i < IMAGE_TREES; i++) {
        const struct tree_kind *kind;
        struct tree *tree = image_tree(image, i, &kind);
        tree_drop(tree, kind, image->pool);
    }
    pool_free_remote(image->pool, image, sizeof *image);
}

struct image *image_at(const struct image *source, struct image_position position) {
    struct image *image = image_copy(source);
    if (image) image->position = position;
    return image;
}

struct image_position image_position(const struct image *image) {
    return image->position;
}

/* ---- partitions */

bool image_ids_contain(struct image_ids list, broker_id id) {
    for (uint32_t i = 0; i < list.count; i++)
        if (list.ids[i] == id) return true;
    return false;
}

bool image_ids_equal(struct image_ids a, struct image_ids b) {
    return a.count == b.count && (a.count == 0 || memcmp(a.ids, b.ids, a.count * sizeof *a.ids) == 0);
}

struct image_ids image_replicas(const struct image_partition *p) {
    return (struct image_ids){p->data, p->replicas};
}
struct image_ids image_isr(const struct image_partition *p) {
    if (p->isr_is_replicas) return image_replicas(p);
    return (struct image_ids){p->data + p->replicas, p->isr};
}
static const broker_id *after_isr(const struct image_partition *p) {
    return p->data + p->replicas + (p->isr_is_replicas ? 0 : p->isr);
}
struct image_ids image_removing(const struct image_partition *p) {
    return (struct image_ids){after_isr(p), p->removing};
}
struct image_ids image_adding(const struct image_partition *p) {
    return (struct image_ids){after_isr(p) + p->removing, p->adding};
}
struct image_ids image_elr(const struct image_partition *p) {
    return (struct image_ids){after_isr(p) + p->removing + p->adding, p->elr};
}
struct image_ids image_last_known_elr(const struct image_partition *p) {
    return (struct image_ids){after_isr(p) + p->removing + p->adding + p->elr, p->last_known_elr};
}

struct uuid image_directory(const struct image_partition *p, uint32_t replica) {
    assert(replica < p->replicas);
    struct uuid id = DIRECTORY_MIGRATING;
    if (p->has_directories) memcpy(&id, (const struct uuid *)(const void *)(p->data + partition_ids(p)) + replica, sizeof id);
    return id;
}

int32_t image_replica_index(const struct image_partition *p, broker_id id) {
    for (uint32_t i = 0; i < p->replicas; i++)
        if (p->data[i] == id) return (int32_t)i;
    return -1;
}

bool image_is_reassigning(const struct image_partition *p) {
    return p->removing > 0 || p->adding > 0;
}

const struct image_partition *image_partition(const struct image_topic *topic, partition_index index) {
    struct tree partitions = topic_tree(topic);
    struct image_partition key = {.index = index};
    return tree_find(&partitions, &kind_partition, &key);
}

const struct image_partition *image_partition_next(const struct image_topic *topic, const struct image_partition *previous) {
    struct tree partitions = topic_tree(topic);
    return tree_next(&partitions, &kind_partition, previous, false);
}

void image_partitions_begin(struct image_walk *walk, const struct image_topic *topic) {
    struct tree partitions = topic_tree(topic);
    tree_walk_begin(walk, &partitions);
}

const struct image_partition *image_partitions_step(struct image_walk *walk) {
    return tree_walk_step(walk);
}

/* ---- topics */

const struct image_topic *image_topic_by_id(const struct image *image, struct uuid id) {
    struct image_topic key = {.id = id};
    return tree_find(&image->topics, &kind_topic, &key);
}

static const struct image_topic *named(const struct image *image, const struct image_name *name) {
    if (!name) return NULL;
    const struct image_topic *topic = image_topic_by_id(image, name->id);
    assert(topic);
    return topic;
}

const struct image_topic *image_topic(const struct image *image, struct span name) {
    struct image_name key = {.name = name};
    return named(image, tree_find(&image->names, &kind_name, &key));
}

const struct image_topic *image_topic_next(const struct image *image, const struct image_topic *previous) {
    struct image_name key = {.name = previous ? previous->name : (struct span){0}};
    return named(image, tree_next(&image->names, &kind_name, previous ? &key : NULL, false));
}

const struct image_topic *image_topic_from(const struct image *image, struct span name) {
    struct image_name key = {.name = name};
    return named(image, tree_next(&image->names, &kind_name, &key, true));
}

uint32_t image_topic_count(const struct image *image) {
    return image->topics.count;
}
uint64_t image_partition_count(const struct image *image) {
    return image->partition_count;
}

/* ---- brokers and controllers */

const struct image_broker *image_broker(const struct image *image, broker_id id) {
    struct image_broker key = {.id = id};
    return tree_find(&image->brokers, &kind_broker, &key);
}
const struct image_broker *image_broker_next(const struct image *image, const struct image_broker *previous) {
    return tree_next(&image->brokers, &kind_broker, previous, false);
}
uint32_t image_broker_count(const struct image *image) {
    return image->brokers.count;
}

bool image_broker_is_active(const struct image *image, broker_id id) {
    const struct image_broker *broker = image_broker(image, id);
    return broker && !broker->fenced && !broker->in_controlled_shutdown;
}

const struct image_endpoint *image_broker_endpoint(const struct image_broker *broker, struct span listener) {
    for (uint32_t i = 0; i < broker->endpoint_count; i++)
        if (span_equal(broker->endpoints[i].name, listener)) return &broker->endpoints[i];
    return NULL;
}

bool image_directory_is_online(const struct image_broker *broker, struct uuid directory) {
    if (uuid_equal(directory, DIRECTORY_LOST)) return false;
    if (uuid_equal(directory, DIRECTORY_MIGRATING) || uuid_equal(directory, DIRECTORY_UNASSIGNED)) return true;
    if (broker->directory_count == 0) return true; /* registered before directories were told */
    for (uint32_t i = 0; i < broker->directory_count; i++)
        if (uuid_equal(broker->directories[i], directory)) return true;
    return false;
}

const struct image_controller *image_controller(const struct image *image, int32_t id) {
    struct image_controller key = {.id = id};
    return tree_find(&image->controllers, &kind_controller, &key);
}
const struct image_controller *image_controller_next(const struct image *image, const struct image_controller *previous) {
    return tree_next(&image->controllers, &kind_controller, previous, false);
}

/* ---- features, configs, and the rest */

int16_t image_metadata_version(const struct image *image) {
    return image->metadata_version;
}
int16_t image_feature_level(const struct image *image, struct span name) {
    struct image_feature key = {.name = name};
    const struct image_feature *feature = tree_find(&image->features, &kind_feature, &key);
    return feature ? feature->level : 0;
}
const struct image_feature *image_feature_next(const struct image *image, const struct image_feature *previous) {
    return tree_next(&image->features, &kind_feature, previous, false);
}

const struct image_config *image_config(const struct image *image, enum config_resource type, struct span resource, struct span key) {
    struct image_config wanted = {.type = (int8_t)type, .resource = resource, .key = key};
    return tree_find(&image->configs, &kind_config, &wanted);
}
const struct image_config *image_config_next(const struct image *image, const struct image_config *previous) {
    return tree_next(&image->configs, &kind_config, previous, false);
}
const struct image_config *image_config_of(const struct image *image, enum config_resource type, struct span resource,
                                           const struct image_config *previous) {
    struct image_config before = {.type = (int8_t)type, .resource = resource, .key = previous ? previous->key : (struct span){0}};
    const struct image_config *next = tree_next(&image->configs, &kind_config, &before, !previous);
    return next && next->type == (int8_t)type && span_equal(next->resource, resource) ? next : NULL;
}

const struct image_quota *image_quota(const struct image *image, const struct image_quota_entity *entities, uint32_t count, struct span key) {
    struct image_quota wanted = {.entity_count = count, .entities = entities, .key = key};
    return tree_find(&image->quotas, &kind_quota, &wanted);
}
const struct image_quota *image_quota_next(const struct image *image, const struct image_quota *previous) {
    return tree_next(&image->quotas, &kind_quota, previous, false);
}

producer_id image_next_producer_id(const struct image *image) {
    return image->next_producer_id;
}
int8_t image_zk_migration_state(const struct image *image) {
    return image->zk_migration_state;
}

const struct image_acl *image_acl(const struct image *image, struct uuid id) {
    struct image_acl key = {.id = id};
    return tree_find(&image->acls, &kind_acl, &key);
}
const struct image_acl *image_acl_next(const struct image *image, const struct image_acl *previous) {
    return tree_next(&image->acls, &kind_acl, previous, false);
}
const struct image_scram *image_scram(const struct image *image, int8_t mechanism, struct span user) {
    struct image_scram key = {.mechanism = mechanism, .user = user};
    return tree_find(&image->scrams, &kind_scram, &key);
}
const struct image_scram *image_scram_next(const struct image *image, const struct image_scram *previous) {
    return tree_next(&image->scrams, &kind_scram, previous, false);
}
const struct image_token *image_token(const struct image *image, struct span id) {
    struct image_token key = {.id = id};
    return tree_find(&image->tokens, &kind_token, &key);
}
const struct image_token *image_token_next(const struct image *image, const struct image_token *previous) {
    return tree_next(&image->tokens, &kind_token, previous, false);
}

/* ---- what changed */

struct visit {
    const struct image_visitor *visitor;
    const struct image_topic *topic;
};

static void visit_partition(void *context, const void *before, const void *after) {
    struct visit *visit = context;
    if (visit->visitor->partition) visit->visitor->partition(visit->visitor->context, visit->topic, before, after);
}
static void visit_topic(void *context, const void *before, const void *after) {
    struct visit *visit = context;
    const struct image_topic *old = before, *new = after;
    if (visit->visitor->topic) visit->visitor->topic(visit->visitor->context, old, new);
    struct tree none = {0}, was = old ? topic_tree(old) : none, is = new ? topic_tree(new) : none;
    visit->topic = new ? new : old;
    if (visit->visitor->partition) tree_diff(&was, &is, &kind_partition, visit_partition, visit);
}
#define VISIT(what)                                                                                     \
    static void visit_##what(void *context, const void *before, const void *after) {                    \
        const struct image_visitor *visitor = ((struct visit *)context)->visitor;                       \
        if (visitor->what) visitor->what(visitor->context, before, after);                              \
    }
VISIT(broker)
VISIT(controller)
VISIT(feature)
VISIT(config)
VISIT(quota)
VISIT(acl)
VISIT(scram)
VISIT(token)

void image_diff(const struct image *before, const struct image *after, const struct image_visitor *visitor) {
    static const struct image nothing = {.refs = 1};
    if (!before) before = &nothing;
    struct visit visit = {.visitor = visitor};
    tree_diff(&before->features, &after->features, &kind_feature, visit_feature, &visit);
    tree_diff(&before->brokers, &after->brokers, &kind_broker, visit_broker, &visit);
    tree_diff(&before->controllers, &after->controllers, &kind_controller, visit_controller, &visit);
    tree_diff(&before->topics, &after->topics, &kind_topic, visit_topic, &visit);
    tree_diff(&before->configs, &after->configs, &kind_config, visit_config, &visit);
    tree_diff(&before->quotas, &after->quotas, &kind_quota, visit_quota, &visit);
    tree_diff(&before->acls, &after->acls, &kind_acl, visit_acl, &visit);
    tree_diff(&before->scrams, &after->scrams, &kind_scram, visit_scram, &visit);
    tree_diff(&before->tokens, &after->tokens, &kind_token, visit_token, &visit);
}

/* ---- the hash of all content. Each item is told field by field; where things begin and end is told, too. The state of
 * a migration from ZooKeeper is left out: Apache's snapshots do not have it, and it means nothing any more. */

struct digest { uint64_t a, b; };

static void digest_u64(struct digest *d, uint64_t v) {
    d->a = hash_u64(d->a ^ v);
    d->b = hash_u64(d->b + v * UINT64_C(0x9e3779b97f4a7c15) + 1);
}
static void digest_bytes(struct digest *d, const void *bytes, size_t size) {
    digest_u64(d, size);
    const uint8_t *at = bytes;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t v;
        memcpy(&v, at, 8);
        digest_u64(d, v);
    }
    uint64_t tail = 0;
    if (size) memcpy(&tail, at, size);
    digest_u64(d, tail);
}
static void digest_span(struct digest *d, struct span span) {
    digest_u64(d, span.data != NULL);
    digest_bytes(d, span.data, span.size);
}
static void digest_uuid(struct digest *d, struct uuid id) {
    digest_bytes(d, id.bytes, sizeof id.bytes);
}
static void digest_uuids(struct digest *d, const struct uuid *ids, uint32_t count) {
    digest_bytes(d, ids, count * sizeof *ids);
}
static void digest_ids(struct digest *d, struct image_ids list) {
    digest_bytes(d, list.ids, list.count * sizeof *list.ids);
}
static void digest_endpoints(struct digest *d, const struct image_endpoint *endpoints, uint32_t count) {
    digest_u64(d, count);
    for (uint32_t i = 0; i < count; i++) {
        digest_span(d, endpoints[i].name);
        digest_span(d, endpoints[i].host);
        digest_u64(d, (uint64_t)endpoints[i].port << 16 | (uint16_t)endpoints[i].security);
    }
}
/* Apache orders them differently on the way through a snapshot: as a set, each alone. */
static void digest_ranges(struct digest *d, const struct image_range *ranges, uint32_t count) {
    struct digest sum = {0, 0};
    for (uint32_t i = 0; i < count; i++) {
        struct digest one = {1, 2};
        digest_span(&one, ranges[i].name);
        digest_u64(&one, (uint64_t)(uint16_t)ranges[i].min << 16 | (uint16_t)ranges[i].max);
        sum.a += one.a;
        sum.b += one.b;
    }
    digest_u64(d, count);
    digest_u64(d, sum.a);
    digest_u64(d, sum.b);
}

static struct digest digest_image(const struct image *image) {
    struct digest d = {UINT64_C(0x6d6f6c646175), image->partition_count};
    digest_u64(&d, (uint64_t)image->next_producer_id);
    for (const struct image_feature *f = NULL; (f = image_feature_next(image, f));) {
        digest_span(&d, f->name);
        digest_u64(&d, (uint16_t)f->level);
    }
    for (const struct image_broker *b = NULL; (b = image_broker_next(image, b));) {
        digest_u64(&d, (uint32_t)b->id);
        digest_u64(&d, b->fenced | b->in_controlled_shutdown << 1 | b->is_migrating << 2 | b->has_rack << 3 | b->cordoned_known << 4);
        digest_u64(&d, (uint64_t)b->epoch);
        digest_uuid(&d, b->incarnation);
        digest_span(&d, b->rack);
        digest_endpoints(&d, b->endpoints, b->endpoint_count);
        digest_ranges(&d, b->features, b->feature_count);
        digest_uuids(&d, b->directories, b->directory_count);
        digest_uuids(&d, b->cordoned, b->cordoned_count);
    }
    for (const struct image_controller *c = NULL; (c = image_controller_next(image, c));) {
        digest_u64(&d, (uint64_t)(uint32_t)c->id << 1 | c->zk_migration_ready);
        digest_uuid(&d, c->incarnation);
        digest_endpoints(&d, c->endpoints, c->endpoint_count);
        digest_ranges(&d, c->features, c->feature_count);
    }
    for (const struct image_topic *t = NULL; (t = image_topic_next(image, t));) {
        digest_span(&d, t->name);
        digest_uuid(&d, t->id);
        digest_u64(&d, t->partition_count);
        for (const struct image_partition *p = NULL; (p = image_partition_next(t, p));) {
            digest_u64(&d, (uint64_t)(uint32_t)p->index << 32 | (uint32_t)p->leader);
            digest_u64(&d, (uint64_t)(uint32_t)p->leader_epoch << 32 | (uint32_t)p->partition_epoch);
            digest_u64(&d, (uint8_t)p->recovery);
            digest_ids(&d, image_replicas(p));
            digest_ids(&d, image_isr(p));
            digest_ids(&d, image_removing(p));
            digest_ids(&d, image_adding(p));
            digest_ids(&d, image_elr(p));
            digest_ids(&d, image_last_known_elr(p));
            for (uint32_t i = 0; i < p->replicas; i++) digest_uuid(&d, image_directory(p, i));
        }
    }
    for (const struct image_config *c = NULL; (c = image_config_next(image, c));) {
        digest_u64(&d, (uint8_t)c->type);
        digest_span(&d, c->resource);
        digest_span(&d, c->key);
        digest_span(&d, c->value);
    }
    for (const struct image_quota *q = NULL; (q = image_quota_next(image, q));) {
        digest_u64(&d, q->entity_count);
        for (uint32_t i = 0; i < q->entity_count; i++) {
            digest_span(&d, q->entities[i].type);
            digest_span(&d, q->entities[i].name);
        }
        digest_span(&d, q->key);
        uint64_t bits;
        memcpy(&bits, &q->value, 8);
        digest_u64(&d, bits);
    }
    for (const struct image_acl *a = NULL; (a = image_acl_next(image, a));) {
        digest_uuid(&d, a->id);
        digest_u64(&d, (uint64_t)(uint8_t)a->resource_type << 24 | (uint64_t)(uint8_t)a->pattern_type << 16 |
                           (uint64_t)(uint8_t)a->operation << 8 | (uint8_t)a->permission);
        digest_span(&d, a->resource_name);
        digest_span(&d, a->principal);
        digest_span(&d, a->host);
    }
    for (const struct image_scram *s = NULL; (s = image_scram_next(image, s));) {
        digest_u64(&d, (uint64_t)(uint32_t)s->iterations << 8 | (uint8_t)s->mechanism);
        digest_span(&d, s->user);
        digest_span(&d, s->salt);
        digest_span(&d, s->stored_key);
        digest_span(&d, s->server_key);
    }
    for (const struct image_token *t = NULL; (t = image_token_next(image, t));) {
        digest_span(&d, t->id);
        digest_span(&d, t->owner);
        digest_span(&d, t->requester);
        digest_u64(&d, (uint64_t)t->issued_ms);
        digest_u64(&d, (uint64_t)t->max_ms);
        digest_u64(&d, (uint64_t)t->expires_ms);
        digest_u64(&d, t->renewer_count);
        for (uint32_t i = 0; i < t->renewer_count; i++) digest_span(&d, t->renewers[i]);
    }
    return d;
}

uint64_t image_hash(const struct image *image) {
    return digest_image(image).a;
}

bool image_equal(const struct image *a, const struct image *b) {
    struct digest one = digest_image(a), other = digest_image(b);
    return one.a == other.a && one.b == other.b && a->zk_migration_state == b->zk_migration_state;
}

void image_check(const struct image *shared) {
    struct image *image = (struct image *)(uintptr_t)shared;
    assert(atomic_load(&image->refs) > 0);
    for (uint32_t i = 0; i < IMAGE_TREES; i++) {
        const struct tree_kind *kind;
        struct tree *tree = image_tree(image, i, &kind);
        tree_check(tree, kind);
    }
    assert(image->names.count == image->topics.count);
    uint64_t partitions = 0;
    for (const struct image_topic *t = NULL; (t = image_topic_next(image, t));) {
        struct tree tree = topic_tree(t);
        tree_check(&tree, &kind_partition);
        assert(span_equal(t->name, t->label->name) && uuid_equal(t->id, t->label->id));
        partitions += t->partition_count;
    }
    assert(partitions == image->partition_count);
    assert(image->metadata_version == image_feature_level(image, SPAN_LITERAL("metadata.version")));
}
