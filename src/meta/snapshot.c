#include "meta/delta.h"
#include "base/text.h"
#include "meta/feature.h"
#include "wire/record_frame.h"
#include "wire/records.h"
#include <string.h>

/* The parts of a snapshot, in the order in which they are written. */
enum stage { METADATA_VERSION, OTHER_FEATURES, MIGRATION, BROKERS, CONTROLLERS, TOPICS, CONFIGS, QUOTAS, PRODUCER_IDS, ACLS, SCRAMS, TOKENS, DONE };

struct snapshot_walk {
    struct pool *pool;
    struct image *image;                     /* owns a count */
    int16_t mv;                              /* whose record versions are written */
    enum stage stage;
    const void *item;                        /* the last one of this stage; NULL: none yet */
    const struct image_topic *topic;         /* whose partitions are being written; NULL: none's */
    struct arena *arena;                     /* of the call */
    struct span value;                       /* made by the last step; data NULL: nothing */
    bool failed;
    struct text lost;
    char lost_bytes[256];
};
#define pen snapshot_walk

static void write_record(struct pen *pen, const struct wire_message *message, int16_t version, const void *record) {
    if (pen->failed) return;
    pen->value = wire_metadata_frame(message, version, record, pen->arena);
    if (!pen->value.data) pen->failed = true;
}

/* Once for each kind of thing. */
static void lose(struct pen *pen, const char *what) {
    if (strstr(pen->lost.bytes, what)) return;
    text_add(&pen->lost, "%s%s", pen->lost.size ? ", " : "", what);
}

static bool have(struct pen *pen, const void *memory) {
    if (!memory) pen->failed = true;
    return memory != NULL;
}

/* The wire's structs have no const inside: what they point to is only read. */
#define READ_ONLY(type, pointer) ((type *)(uintptr_t)(pointer))

static void write_feature(struct pen *pen, const struct image_feature *feature) {
    struct feature_level_record r = {.name = feature->name, .feature_level = feature->level};
    write_record(pen, &feature_level_record_message, 0, &r);
}

static void write_broker(struct pen *pen, const struct image_broker *b) {
    int16_t version = metadata_level(pen->mv)->register_broker;
    struct register_broker_record r;
    register_broker_record_init(&r);
    r.broker_id = b->id;
    r.broker_epoch = b->epoch;
    r.incarnation_id = b->incarnation;
    r.fenced = b->fenced;
    r.in_controlled_shutdown = b->in_controlled_shutdown;
    r.rack = b->has_rack ? b->rack : (struct span){0};
    if (version >= 2) r.is_migrating_zk_broker = b->is_migrating;
    else if (b->is_migrating) lose(pen, "that a broker is migrating from ZooKeeper");
    r.end_points = register_broker_record_broker_endpoint_array(pen->arena, (int32_t)b->endpoint_count);
    r.features = register_broker_record_broker_feature_array(pen->arena, (int32_t)b->feature_count);
    if (!have(pen, r.end_points) || !have(pen, r.features)) return;
    r.end_points_count = (int32_t)b->endpoint_count;
    r.features_count = (int32_t)b->feature_count;
    for (uint32_t i = 0; i < b->endpoint_count; i++) {
        r.end_points[i].name = b->endpoints[i].name;
        r.end_points[i].host = b->endpoints[i].host;
        r.end_points[i].port = b->endpoints[i].port;
        r.end_points[i].security_protocol = b->endpoints[i].security;
    }
    for (uint32_t i = 0; i < b->feature_count; i++) {
        r.features[i].name = b->features[i].name;
        r.features[i].min_supported_version = b->features[i].min;
        r.features[i].max_supported_version = b->features[i].max;
    }
    if (version >= 3) {
        r.log_dirs = READ_ONLY(struct uuid, b->directories);
        r.log_dirs_count = (int32_t)b->directory_count;
    } else if (b->directory_count) {
        lose(pen, "the online log directories of a broker");
    }
    if (version >= 4) {
        if (b->cordoned_known) {
            r.cordoned_log_dirs = READ_ONLY(struct uuid, b->cordoned);
            r.cordoned_log_dirs_count = (int32_t)b->cordoned_count;
        }
    } else if (b->cordoned_count) {
        lose(pen, "the cordoned log directories of a broker");
    }
    write_record(pen, &register_broker_record_message, version, &r);
}

static void write_controller(struct pen *pen, const struct image_controller *c) {
    struct register_controller_record r;
    register_controller_record_init(&r);
    r.controller_id = c->id;
    r.incarnation_id = c->incarnation;
    r.zk_migration_ready = c->zk_migration_ready;
    r.end_points = register_controller_record_controller_endpoint_array(pen->arena, (int32_t)c->endpoint_count);
    r.features = register_controller_record_controller_feature_array(pen->arena, (int32_t)c->feature_count);
    if (!have(pen, r.end_points) || !have(pen, r.features)) return;
    r.end_points_count = (int32_t)c->endpoint_count;
    r.features_count = (int32_t)c->feature_count;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        r.end_points[i].name = c->endpoints[i].name;
        r.end_points[i].host = c->endpoints[i].host;
        r.end_points[i].port = c->endpoints[i].port;
        r.end_points[i].security_protocol = c->endpoints[i].security;
    }
    for (uint32_t i = 0; i < c->feature_count; i++) {
        r.features[i].name = c->features[i].name;
        r.features[i].min_supported_version = c->features[i].min;
        r.features[i].max_supported_version = c->features[i].max;
    }
    write_record(pen, &register_controller_record_message, 0, &r);
}

static void write_partition(struct pen *pen, const struct image_topic *topic, const struct image_partition *p) {
    int16_t version = metadata_level(pen->mv)->partition;
    struct partition_record r;
    partition_record_init(&r);
    r.topic_id = topic->id;
    r.partition_id = p->index;
    r.leader = p->leader;
    r.leader_epoch = p->leader_epoch;
    r.partition_epoch = p->partition_epoch;
    r.leader_recovery_state = p->recovery;
    r.replicas = READ_ONLY(int32_t, image_replicas(p).ids);
    r.replicas_count = p->replicas;
    r.isr = READ_ONLY(int32_t, image_isr(p).ids);
    r.isr_count = p->isr;
    r.removing_replicas = READ_ONLY(int32_t, image_removing(p).ids);
    r.removing_replicas_count = p->removing;
    r.adding_replicas = READ_ONLY(int32_t, image_adding(p).ids);
    r.adding_replicas_count = p->adding;
    if (version >= 1) {
        r.directories = ARENA_ARRAY(pen->arena, p->replicas ? p->replicas : 1u, struct uuid);
        if (!have(pen, r.directories)) return;
        for (uint32_t i = 0; i < p->replicas; i++) r.directories[i] = image_directory(p, i);
        r.directories_count = p->replicas;
    } else if (p->has_directories) {
        lose(pen, "the log directories of a partition's replicas");
    }
    if (version >= 2) {
        if (p->elr) {
            r.eligible_leader_replicas = READ_ONLY(int32_t, image_elr(p).ids);
            r.eligible_leader_replicas_count = p->elr;
        }
        if (p->last_known_elr) {
            r.last_known_elr = READ_ONLY(int32_t, image_last_known_elr(p).ids);
            r.last_known_elr_count = p->last_known_elr;
        }
    } else if (p->elr || p->last_known_elr) {
        lose(pen, "the eligible leader replicas of a partition");
    }
    write_record(pen, &partition_record_message, version, &r);
}

static void write_topic(struct pen *pen, const struct image_topic *t) {
    struct topic_record r = {.name = t->name, .topic_id = t->id};
    write_record(pen, &topic_record_message, 0, &r);
}

static void write_config(struct pen *pen, const struct image_config *c) {
    struct config_record r = {.resource_type = c->type, .resource_name = c->resource, .name = c->key, .value = c->value};
    write_record(pen, &config_record_message, 0, &r);
}

static void write_quota(struct pen *pen, const struct image_quota *q) {
    struct client_quota_record r = {.key = q->key, .value = q->value};
    r.entity = client_quota_record_entity_data_array(pen->arena, (int32_t)q->entity_count);
    if (!have(pen, r.entity)) return;
    r.entity_count = (int32_t)q->entity_count;
    for (uint32_t i = 0; i < q->entity_count; i++) {
        r.entity[i].entity_type = q->entities[i].type;
        r.entity[i].entity_name = q->entities[i].name;
    }
    write_record(pen, &client_quota_record_message, 0, &r);
}

static void write_acl(struct pen *pen, const struct image_acl *a) {
    struct access_control_entry_record r = {
        .id = a->id, .resource_type = a->resource_type, .resource_name = a->resource_name, .pattern_type = a->pattern_type,
        .principal = a->principal, .host = a->host, .operation = a->operation, .permission_type = a->permission,
    };
    write_record(pen, &access_control_entry_record_message, 0, &r);
}

static void write_scram(struct pen *pen, const struct image_scram *s) {
    struct user_scram_credential_record r = {
        .name = s->user, .mechanism = s->mechanism, .salt = s->salt, .stored_key = s->stored_key, .server_key = s->server_key,
        .iterations = s->iterations,
    };
    write_record(pen, &user_scram_credential_record_message, 0, &r);
}

static void write_token(struct pen *pen, const struct image_token *t) {
    struct delegation_token_record r = {
        .owner = t->owner, .requester = t->requester, .renewers = READ_ONLY(struct span, t->renewers),
        .renewers_count = (int32_t)t->renewer_count, .issue_timestamp = t->issued_ms, .max_timestamp = t->max_ms,
        .expiration_timestamp = t->expires_ms, .token_id = t->id,
    };
    write_record(pen, &delegation_token_record_message, 0, &r);
}
#undef pen

/* ---- the walk. Each step writes at most one record, or goes on to the next stage. */

static bool is_metadata_version(const struct image_feature *feature) {
    return span_equal(feature->name, SPAN_LITERAL(FEATURE_METADATA));
}

/* A topic's partitions follow it. */
static const void *step_topics(struct snapshot_walk *walk) {
    if (walk->topic) {
        const struct image_partition *p = image_partition_next(walk->topic, walk->item);
        if (p) {
            write_partition(walk, walk->topic, p);
            return p;
        }
    }
    walk->topic = image_topic_next(walk->image, walk->topic);
    if (!walk->topic) return NULL;
    write_topic(walk, walk->topic);
    walk->item = NULL;
    return walk->topic;
}

#define STEP(kind) \
    for (const struct image_##kind *item = image_##kind##_next(image, walk->item); item; item = NULL)

static void step(struct snapshot_walk *walk) {
    const struct image *image = walk->image;
    const void *now = NULL;
    switch (walk->stage) {
    case METADATA_VERSION:
        for (const struct image_feature *f = walk->item ? NULL : image_feature_next(image, NULL); f && !now; f = image_feature_next(image, f))
            if (is_metadata_version(f)) write_feature(walk, now = f);
        break;
    case OTHER_FEATURES:
        STEP(feature) {
            if (!is_metadata_version(item)) write_feature(walk, item);
            now = item;
        }
        break;
    case MIGRATION:
        if (image_zk_migration_state(image) != 0) {
            struct zk_migration_state_record r = {.zk_migration_state = image_zk_migration_state(image)};
            write_record(walk, &zk_migration_state_record_message, 0, &r);
        }
        break;
    case BROKERS: STEP(broker) write_broker(walk, now = item); break;
    case CONTROLLERS:
        STEP(controller) {
            if (mv_has_controller_registration(walk->mv)) write_controller(walk, item);
            else lose(walk, "the registrations of controllers");
            now = item;
        }
        break;
    case TOPICS: {
        const struct image_topic *topic = walk->topic;
        now = step_topics(walk);
        if (now && walk->topic == topic) walk->item = now;
        if (now) return; /* the place is in topic and item */
        break;
    }
    case CONFIGS: STEP(config) write_config(walk, now = item); break;
    case QUOTAS: STEP(quota) write_quota(walk, now = item); break;
    case PRODUCER_IDS:
        if (image_next_producer_id(image) >= 0) {
            struct producer_ids_record r = {.broker_id = -1, .broker_epoch = -1, .next_producer_id = image_next_producer_id(image)};
            write_record(walk, &producer_ids_record_message, 0, &r);
        }
        break;
    case ACLS: STEP(acl) write_acl(walk, now = item); break;
    case SCRAMS:
        STEP(scram) {
            if (mv_has_scram(walk->mv)) write_scram(walk, item);
            else lose(walk, "SCRAM credentials");
            now = item;
        }
        break;
    case TOKENS:
        STEP(token) {
            if (mv_has_tokens(walk->mv)) write_token(walk, item);
            else lose(walk, "delegation tokens");
            now = item;
        }
        break;
    case DONE: return;
    }
    if (walk->failed) return; /* the same item again, with more memory */
    walk->item = now;
    if (!now) walk->stage++;
}

struct snapshot_walk *snapshot_walk_new(struct pool *pool, const struct image *image) {
    struct snapshot_walk *walk = POOL_NEW(pool, struct snapshot_walk);
    if (!walk) return NULL;
    walk->pool = pool;
    walk->image = image_hold(image);
    walk->mv = image_metadata_version(image) ? image_metadata_version(image) : MV_MIN;
    text_init(&walk->lost, walk->lost_bytes, sizeof walk->lost_bytes);
    return walk;
}

void snapshot_walk_free(struct snapshot_walk *walk) {
    if (!walk) return;
    image_drop(walk->image);
    pool_free(walk->pool, walk, sizeof *walk);
}

int32_t snapshot_walk_next(struct snapshot_walk *walk, struct arena *arena, struct span *values, uint32_t max) {
    uint32_t count = 0;
    walk->arena = arena;
    while (count < max && walk->stage != DONE) {
        walk->value = (struct span){0};
        walk->failed = false;
        step(walk);
        if (walk->failed) return -1;
        if (walk->value.data) values[count++] = walk->value;
    }
    return (int32_t)count;
}

const char *snapshot_walk_lost(const struct snapshot_walk *walk) {
    return walk->lost.bytes;
}
