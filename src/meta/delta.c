#include "meta/delta.h"
#include "base/random.h"
#include "base/text.h"
#include "meta/feature.h"
#include "meta/items.h"
#include "wire/record_frame.h"
#include <string.h>

struct delta {
    struct pool *pool;
    struct image *now;               /* owns: nobody else holds this version itself, only its parts */
    struct image *before_transaction;/* shares; NULL: none is open */
    struct text error;
    char error_bytes[192];
};

static struct image *copy_with_pool(struct pool *pool, const struct image *base) {
    assert(base->pool == pool); /* what is shared must go back to where it came from */
    return image_copy(base);
}

struct delta *delta_new(struct pool *pool, const struct image *base) {
    struct delta *delta = POOL_NEW(pool, struct delta);
    if (!delta) return NULL;
    delta->pool = pool;
    delta->now = copy_with_pool(pool, base);
    text_init(&delta->error, delta->error_bytes, sizeof delta->error_bytes);
    if (!delta->now) {
        pool_free(pool, delta, sizeof *delta);
        return NULL;
    }
    return delta;
}

struct delta *delta_new_inside(struct pool *pool, const struct image *base, const struct image *visible) {
    struct delta *delta = delta_new(pool, base);
    if (delta) delta->before_transaction = image_hold(visible);
    return delta;
}

void delta_free(struct delta *delta) {
    if (!delta) return;
    image_drop(delta->now);
    image_drop(delta->before_transaction);
    pool_free(delta->pool, delta, sizeof *delta);
}

enum err delta_clear(struct delta *delta) {
    struct image *empty = image_new(delta->pool);
    if (!empty) return ERR_NO_MEMORY;
    image_drop(delta->now);
    image_drop(delta->before_transaction);
    delta->now = empty;
    delta->before_transaction = NULL;
    return ERR_NONE;
}

void delta_set_position(struct delta *delta, struct image_position position) {
    delta->now->position = position;
}

struct image *delta_current(struct delta *delta) {
    return image_copy(delta->now);
}

struct image *delta_visible(struct delta *delta) {
    if (!delta->before_transaction) return delta_current(delta);
    return image_hold(delta->before_transaction);
}

bool delta_in_transaction(const struct delta *delta) {
    return delta->before_transaction != NULL;
}

const char *delta_error(const struct delta *delta) {
    return delta->error.bytes;
}

#define REFUSE(delta_, ...) (text_add(&(delta_)->error, __VA_ARGS__), ERR_CORRUPT)

/* Takes an item that was just made; NULL and a tree without memory come to the same. */
static enum err put(struct delta *delta, struct tree *tree, const struct tree_kind *kind, void *item) {
    if (!item) return ERR_NO_MEMORY;
    enum err err = tree_put(tree, kind, delta->pool, item);
    if (err) item_drop(item, kind, delta->pool);
    return err;
}

/* ---- features and transactions */

static enum err apply_feature_level(struct delta *delta, const struct feature_level_record *r) {
    struct image *now = delta->now;
    if (span_equal(r->name, SPAN_LITERAL(FEATURE_METADATA))) {
        if (!metadata_level(r->feature_level)) {
            text_add(&delta->error, "metadata.version %d is not known", r->feature_level);
            return ERR_UNSUPPORTED;
        }
        enum err err = put(delta, &now->features, &kind_feature, item_feature(delta->pool, r->name, r->feature_level));
        if (!err) now->metadata_version = r->feature_level;
        return err;
    }
    if (r->feature_level < 0) return REFUSE(delta, "a feature level below 0");
    if (r->feature_level > 0) return put(delta, &now->features, &kind_feature, item_feature(delta->pool, r->name, r->feature_level));
    struct image_feature key = {.name = r->name};
    enum err err = tree_remove(&now->features, &kind_feature, delta->pool, &key);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static enum err apply_begin_transaction(struct delta *delta) {
    if (delta->before_transaction) return REFUSE(delta, "a transaction begins inside of another");
    delta->before_transaction = image_copy(delta->now);
    return delta->before_transaction ? ERR_NONE : ERR_NO_MEMORY;
}

static enum err apply_end_transaction(struct delta *delta) {
    if (!delta->before_transaction) return REFUSE(delta, "a transaction ends that did not begin");
    image_drop(delta->before_transaction);
    delta->before_transaction = NULL;
    return ERR_NONE;
}

static enum err apply_abort_transaction(struct delta *delta) {
    if (!delta->before_transaction) return REFUSE(delta, "a transaction is aborted that did not begin");
    struct image *back = image_copy(delta->before_transaction);
    if (!back) return ERR_NO_MEMORY;
    back->position = delta->now->position; /* the log went on */
    image_drop(delta->now);
    image_drop(delta->before_transaction);
    delta->now = back;
    delta->before_transaction = NULL;
    return ERR_NONE;
}

/* ---- brokers and controllers */

static enum err apply_register_broker(struct delta *delta, const struct register_broker_record *r) {
    return put(delta, &delta->now->brokers, &kind_broker, item_broker(delta->pool, r));
}

/* Changes of a broker name the registration that they are about. */
static const struct image_broker *registered(struct delta *delta, broker_id id, broker_epoch epoch) {
    const struct image_broker *broker = image_broker(delta->now, id);
    if (!broker) text_add(&delta->error, "broker %d is not registered", id);
    else if (broker->epoch != epoch)
        text_add(&delta->error, "broker %d has epoch %lld, not %lld", id, (long long)broker->epoch, (long long)epoch);
    return broker && broker->epoch == epoch ? broker : NULL;
}

static enum err apply_unregister_broker(struct delta *delta, const struct unregister_broker_record *r) {
    if (!registered(delta, r->broker_id, r->broker_epoch)) return ERR_CORRUPT;
    struct image_broker key = {.id = r->broker_id};
    return tree_remove(&delta->now->brokers, &kind_broker, delta->pool, &key);
}

static enum err apply_fence(struct delta *delta, broker_id id, broker_epoch epoch, bool fenced) {
    const struct image_broker *broker = registered(delta, id, epoch);
    if (!broker) return ERR_CORRUPT;
    struct broker_change change = {.fenced = fenced, .in_controlled_shutdown = broker->in_controlled_shutdown};
    return put(delta, &delta->now->brokers, &kind_broker, item_broker_changed(delta->pool, broker, &change));
}

static enum err apply_broker_registration_change(struct delta *delta, const struct broker_registration_change_record *r) {
    const struct image_broker *broker = registered(delta, r->broker_id, r->broker_epoch);
    if (!broker) return ERR_CORRUPT;
    if (r->fenced < -1 || r->fenced > 1) return REFUSE(delta, "broker %d: fenced is %d", r->broker_id, r->fenced);
    if (r->in_controlled_shutdown < 0 || r->in_controlled_shutdown > 1)
        return REFUSE(delta, "broker %d: in controlled shutdown is %d", r->broker_id, r->in_controlled_shutdown);
    struct broker_change change = {
        .fenced = r->fenced == 0 ? broker->fenced : r->fenced > 0,
        .in_controlled_shutdown = broker->in_controlled_shutdown || r->in_controlled_shutdown == 1,
        .set_directories = r->log_dirs_count > 0, .directories = r->log_dirs, .directory_count = (uint32_t)r->log_dirs_count,
        .set_cordoned = r->cordoned_log_dirs_count >= 0, .cordoned = r->cordoned_log_dirs,
        .cordoned_count = r->cordoned_log_dirs_count > 0 ? (uint32_t)r->cordoned_log_dirs_count : 0,
    };
    return put(delta, &delta->now->brokers, &kind_broker, item_broker_changed(delta->pool, broker, &change));
}

static enum err apply_register_controller(struct delta *delta, const struct register_controller_record *r) {
    return put(delta, &delta->now->controllers, &kind_controller, item_controller(delta->pool, r));
}

static enum err apply_unregister_controller(struct delta *delta, const struct unregister_controller_record *r) {
    struct image_controller key = {.id = r->controller_id};
    enum err err = tree_remove(&delta->now->controllers, &kind_controller, delta->pool, &key);
    return err == ERR_NOT_FOUND ? REFUSE(delta, "controller %d is not registered", r->controller_id) : err;
}

/* ---- topics and partitions */

static enum err apply_topic(struct delta *delta, const struct topic_record *r) {
    struct image *now = delta->now;
    if (image_topic(now, r->name)) return REFUSE(delta, "topic %.*s exists already", (int)r->name.size, (const char *)r->name.data);
    if (image_topic_by_id(now, r->topic_id)) return REFUSE(delta, "the id of topic %.*s is taken", (int)r->name.size, (const char *)r->name.data);
    struct image_name *name = item_name(delta->pool, r->name, r->topic_id);
    struct image_topic *topic = name ? POOL_NEW(delta->pool, struct image_topic) : NULL;
    if (!topic) {
        if (name) item_drop(name, &kind_name, delta->pool);
        return ERR_NO_MEMORY;
    }
    atomic_init(&topic->refs, 1);
    topic->id = r->topic_id;
    topic->label = item_hold(name);
    topic->name = name->name;
    enum err err = put(delta, &now->names, &kind_name, name);
    if (err) {
        item_drop(topic, &kind_topic, delta->pool);
        return err;
    }
    err = put(delta, &now->topics, &kind_topic, topic);
    if (err) {
        struct image_name key = {.name = r->name};
        enum err undone = tree_remove(&now->names, &kind_name, delta->pool, &key);
        assert(undone == ERR_NONE); /* its path is ours alone since it was put in */
    }
    return err;
}

/* The topic to be changed in place, none of it shared but its name. */
static enum err own_topic(struct delta *delta, struct uuid id, struct image_topic **out) {
    struct image_topic key = {.id = id};
    void *item;
    enum err err = tree_own(&delta->now->topics, &kind_topic, delta->pool, &key, &item);
    if (err) return err;
    if (!item) {
        char text[UUID_TEXT_BYTES + 1];
        uuid_text(id, text);
        return REFUSE(delta, "there is no topic with id %s", text);
    }
    *out = item;
    if (item_is_unique(item)) return ERR_NONE;
    struct image_topic *copy = pool_alloc(delta->pool, sizeof *copy);
    if (!copy) return ERR_NO_MEMORY;
    memcpy(copy, item, sizeof *copy);
    atomic_init(&copy->refs, 1);
    struct tree partitions = topic_tree(copy);
    tree_hold(&partitions);
    item_hold(copy->label);
    *out = copy;
    return put(delta, &delta->now->topics, &kind_topic, copy);
}

/* `topic`: owned already, or NULL. */
static enum err put_partition(struct delta *delta, struct uuid topic_id, struct image_topic *topic, const struct partition_shape *shape) {
    const struct image_ids *lists[] = {&shape->replicas, &shape->isr, &shape->removing, &shape->adding, &shape->elr, &shape->last_known_elr};
    for (uint32_t i = 0; i < countof(lists); i++)
        if (lists[i]->count > UINT16_MAX) return REFUSE(delta, "partition %d has a list of %u brokers", shape->index, lists[i]->count);
    if (shape->recovery != LEADER_RECOVERED && shape->recovery != LEADER_RECOVERING)
        return REFUSE(delta, "partition %d: leader recovery state %d", shape->index, shape->recovery);
    enum err err = topic ? ERR_NONE : own_topic(delta, topic_id, &topic);
    if (err) return err;
    struct tree partitions = topic_tree(topic);
    uint32_t before = partitions.count;
    err = put(delta, &partitions, &kind_partition, item_partition(delta->pool, shape));
    topic->partitions = partitions.root; /* also when it failed: the same set may stand in other nodes */
    topic->partition_count = partitions.count;
    delta->now->partition_count += partitions.count - before;
    return err;
}

static struct image_ids list_of(const int32_t *ids, int32_t count) {
    return (struct image_ids){ids, count > 0 ? (uint32_t)count : 0};
}

static enum err apply_partition(struct delta *delta, const struct partition_record *r) {
    if (r->directories_count > 0 && r->directories_count != r->replicas_count)
        return REFUSE(delta, "partition %d has %d replicas and %d directories", r->partition_id, r->replicas_count, r->directories_count);
    if (r->partition_id < 0) return REFUSE(delta, "partition %d", r->partition_id);
    struct partition_shape shape = {
        .index = r->partition_id, .leader = r->leader, .leader_epoch = r->leader_epoch, .partition_epoch = r->partition_epoch,
        .recovery = r->leader_recovery_state, .replicas = list_of(r->replicas, r->replicas_count), .isr = list_of(r->isr, r->isr_count),
        .removing = list_of(r->removing_replicas, r->removing_replicas_count),
        .adding = list_of(r->adding_replicas, r->adding_replicas_count),
        .elr = list_of(r->eligible_leader_replicas, r->eligible_leader_replicas_count),
        .last_known_elr = list_of(r->last_known_elr, r->last_known_elr_count),
        .directories = r->directories_count > 0 ? r->directories->bytes : NULL,
    };
    return put_partition(delta, r->topic_id, NULL, &shape);
}

static const uint8_t *directories_of(const struct image_partition *p) {
    return p->has_directories ? (const uint8_t *)(p->data + partition_ids(p)) : NULL;
}

/* What is absent stays as it is; the partition epoch always rises, the leader epoch when a leader is named. */
static enum err apply_partition_change(struct delta *delta, const struct partition_change_record *r) {
    struct image_topic *topic = NULL;
    enum err err = own_topic(delta, r->topic_id, &topic);
    if (err) return err;
    const struct image_partition *p = image_partition(topic, r->partition_id);
    if (!p) {
        char text[UUID_TEXT_BYTES + 1];
        uuid_text(r->topic_id, text);
        return REFUSE(delta, "there is no partition %d of topic id %s", r->partition_id, text);
    }
    if (p->leader_epoch == INT32_MAX || p->partition_epoch == INT32_MAX) return REFUSE(delta, "partition %d: no epochs are left", p->index);
    struct partition_shape shape = {
        .index = p->index,
        .leader = r->leader == -2 ? p->leader : r->leader,
        .leader_epoch = r->leader == -2 ? p->leader_epoch : p->leader_epoch + 1,
        .partition_epoch = p->partition_epoch + 1,
        .recovery = r->leader_recovery_state == -1 ? p->recovery : r->leader_recovery_state,
        .replicas = r->replicas_count < 0 ? image_replicas(p) : list_of(r->replicas, r->replicas_count),
        .isr = r->isr_count < 0 ? image_isr(p) : list_of(r->isr, r->isr_count),
        .removing = r->removing_replicas_count < 0 ? image_removing(p) : list_of(r->removing_replicas, r->removing_replicas_count),
        .adding = r->adding_replicas_count < 0 ? image_adding(p) : list_of(r->adding_replicas, r->adding_replicas_count),
        .elr = r->eligible_leader_replicas_count < 0 ? image_elr(p) : list_of(r->eligible_leader_replicas, r->eligible_leader_replicas_count),
        .last_known_elr = r->last_known_elr_count < 0 ? image_last_known_elr(p) : list_of(r->last_known_elr, r->last_known_elr_count),
    };
    if (r->directories_count > 0) {
        if ((uint32_t)r->directories_count != shape.replicas.count)
            return REFUSE(delta, "partition %d has %u replicas and %d directories", p->index, shape.replicas.count, r->directories_count);
        shape.directories = r->directories->bytes;
    } else if (r->directories_count < 0 && r->replicas_count < 0) {
        shape.directories = directories_of(p);
    }
    return put_partition(delta, r->topic_id, topic, &shape);
}

/* Several steps that must be all or none: they are tried on a version of their own. */
static enum err all_or_none(struct delta *delta, enum err (*steps)(struct delta *delta, const void *record), const void *record) {
    struct image *before = image_copy(delta->now);
    if (!before) return ERR_NO_MEMORY;
    enum err err = steps(delta, record);
    if (err) {
        image_drop(delta->now);
        delta->now = before;
    } else {
        image_drop(before);
    }
    return err;
}

static enum err remove_topic(struct delta *delta, const void *record) {
    const struct remove_topic_record *r = record;
    struct image *now = delta->now;
    struct image_topic topic_key = {.id = r->topic_id};
    const struct image_topic *topic = tree_find(&now->topics, &kind_topic, &topic_key);
    if (!topic) {
        char text[UUID_TEXT_BYTES + 1];
        uuid_text(r->topic_id, text);
        return REFUSE(delta, "there is no topic with id %s to remove", text);
    }
    struct image_name *name = item_hold(topic->label); /* its bytes are needed to the end */
    enum err err = ERR_NONE;
    const struct image_config *config;
    while (!err && (config = image_config_of(now, CONFIG_TOPIC, name->name, NULL)))
        err = tree_remove(&now->configs, &kind_config, delta->pool, config);
    now->partition_count -= topic->partition_count;
    if (!err) err = tree_remove(&now->topics, &kind_topic, delta->pool, &topic_key);
    if (!err) err = tree_remove(&now->names, &kind_name, delta->pool, name);
    item_drop(name, &kind_name, delta->pool);
    return err;
}

static enum err clear_elr_of(struct delta *delta, const struct image_topic *topic) {
    struct uuid id = topic->id;
    enum err err = ERR_NONE;
    struct image_partition after = {.index = -1}; /* the walk goes on by index: the nodes change under it */
    for (const struct image_partition *p; !err && (topic = image_topic_by_id(delta->now, id)) && (p = image_partition_next(topic, &after));) {
        after.index = p->index;
        if (p->elr == 0 && p->last_known_elr == 0) continue;
        struct partition_change_record change;
        partition_change_record_init(&change);
        change.topic_id = id;
        change.partition_id = p->index;
        change.eligible_leader_replicas_count = change.last_known_elr_count = 0;
        err = apply_partition_change(delta, &change);
    }
    return err;
}

static enum err clear_elr(struct delta *delta, const void *record) {
    const struct clear_elr_record *r = record;
    const struct image_topic *topic;
    if (r->topic_name.size > 0) {
        topic = image_topic(delta->now, r->topic_name);
        return topic ? clear_elr_of(delta, topic) : REFUSE(delta, "there is no topic %.*s", (int)r->topic_name.size, (const char *)r->topic_name.data);
    }
    enum err err = ERR_NONE;
    struct image_topic key = {.id = {{0}}};
    for (bool first = true; !err && (topic = tree_next(&delta->now->topics, &kind_topic, &key, first)); first = false) {
        key.id = topic->id;
        err = clear_elr_of(delta, topic);
    }
    return err;
}

/* ---- configs, quotas, producer ids, ACLs, SCRAM, tokens */

static enum err removed(enum err err) {
    return err == ERR_NOT_FOUND ? ERR_NONE : err; /* what may be removed twice */
}

static enum err apply_config(struct delta *delta, const struct config_record *r) {
    if (r->value.data) return put(delta, &delta->now->configs, &kind_config, item_config(delta->pool, r));
    struct image_config key = {.type = r->resource_type, .resource = r->resource_name, .key = r->name};
    return removed(tree_remove(&delta->now->configs, &kind_config, delta->pool, &key));
}

static enum err apply_client_quota(struct delta *delta, const struct client_quota_record *r) {
    struct image_quota_entity entities[QUOTA_ENTITIES_MAX];
    uint32_t count = 0;
    for (int32_t i = 0; i < r->entity_count; i++) { /* sorted by type; of a type that comes twice the last one counts */
        struct image_quota_entity entity = {r->entity[i].entity_type, r->entity[i].entity_name};
        uint32_t at = 0;
        while (at < count && span_compare(entities[at].type, entity.type) < 0) at++;
        if (at == count || !span_equal(entities[at].type, entity.type)) {
            if (count == QUOTA_ENTITIES_MAX) return REFUSE(delta, "a quota for more than %d kinds of entities", QUOTA_ENTITIES_MAX);
            memmove(entities + at + 1, entities + at, (count - at) * sizeof *entities);
            count++;
        }
        entities[at] = entity;
    }
    if (!r->remove) return put(delta, &delta->now->quotas, &kind_quota, item_quota(delta->pool, entities, count, r->key, r->value));
    struct image_quota key = {.entity_count = count, .entities = entities, .key = r->key};
    return removed(tree_remove(&delta->now->quotas, &kind_quota, delta->pool, &key));
}

static enum err apply_remove_acl(struct delta *delta, const struct remove_access_control_entry_record *r) {
    struct image_acl key = {.id = r->id};
    enum err err = tree_remove(&delta->now->acls, &kind_acl, delta->pool, &key);
    return err == ERR_NOT_FOUND ? REFUSE(delta, "an ACL is removed that does not exist") : err;
}

static enum err apply_remove_scram(struct delta *delta, const struct remove_user_scram_credential_record *r) {
    struct image_scram key = {.mechanism = r->mechanism, .user = r->name};
    enum err err = tree_remove(&delta->now->scrams, &kind_scram, delta->pool, &key);
    return err == ERR_NOT_FOUND ? REFUSE(delta, "a SCRAM credential is removed that does not exist") : err;
}

static enum err apply_remove_token(struct delta *delta, const struct remove_delegation_token_record *r) {
    struct image_token key = {.id = r->token_id};
    return removed(tree_remove(&delta->now->tokens, &kind_token, delta->pool, &key));
}

/* ---- by type */

enum err delta_apply_message(struct delta *delta, int16_t type, const void *message) {
    if (delta->error.size) text_reset(&delta->error);
    switch (type) {
    case 0: return apply_register_broker(delta, message);
    case 1: return apply_unregister_broker(delta, message);
    case 2: return apply_topic(delta, message);
    case 3: return apply_partition(delta, message);
    case 4: return apply_config(delta, message);
    case 5: return apply_partition_change(delta, message);
    case 7: {
        const struct fence_broker_record *r = message;
        return apply_fence(delta, r->id, r->epoch, true);
    }
    case 8: {
        const struct unfence_broker_record *r = message;
        return apply_fence(delta, r->id, r->epoch, false);
    }
    case 9: return all_or_none(delta, remove_topic, message);
    case 10: return put(delta, &delta->now->tokens, &kind_token, item_token(delta->pool, message));
    case 11: return put(delta, &delta->now->scrams, &kind_scram, item_scram(delta->pool, message));
    case 12: return apply_feature_level(delta, message);
    case 14: return apply_client_quota(delta, message);
    case 15: {
        producer_id next = ((const struct producer_ids_record *)message)->next_producer_id;
        delta->now->next_producer_id = next < 0 ? -1 : next; /* below 0 is none, which is what a snapshot says of it */
        return ERR_NONE;
    }
    case 17: return apply_broker_registration_change(delta, message);
    case 18: return put(delta, &delta->now->acls, &kind_acl, item_acl(delta->pool, message));
    case 19: return apply_remove_acl(delta, message);
    case 20: return ERR_NONE; /* NoOp: moves the log's end, nothing else */
    case 21: delta->now->zk_migration_state = ((const struct zk_migration_state_record *)message)->zk_migration_state; return ERR_NONE;
    case 22: return apply_remove_scram(delta, message);
    case 23: return apply_begin_transaction(delta);
    case 24: return apply_end_transaction(delta);
    case 25: return apply_abort_transaction(delta);
    case 26: return apply_remove_token(delta, message);
    case 27: return apply_register_controller(delta, message);
    case 28: return all_or_none(delta, clear_elr, message);
    case 29: return apply_unregister_controller(delta, message);
    default:
        text_add(&delta->error, "record type %d is not known", type);
        return ERR_UNSUPPORTED;
    }
}

enum err delta_apply(struct delta *delta, struct span record, struct arena *scratch) {
    if (delta->error.size) text_reset(&delta->error);
    struct wire_framed framed;
    enum err err = wire_metadata_open(WIRE_LOG_METADATA, record, &framed);
    if (err) {
        text_add(&delta->error, "a record's type or version cannot be read");
        return err;
    }
    void *message = arena_alloc(scratch, framed.message->body->size);
    if (!message) return ERR_NO_MEMORY;
    err = wire_framed_decode(&framed, message, scratch);
    if (err) {
        text_add(&delta->error, "%s version %d cannot be read", framed.message->name, framed.version);
        return err == ERR_LIMIT ? ERR_CORRUPT : err;
    }
    return delta_apply_message(delta, framed.message->key, message);
}
