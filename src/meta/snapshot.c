#include "meta/delta.h"
#include "meta/feature.h"
#include "wire/record_frame.h"
#include "wire/records.h"

/* One record after the other; the first failure ends it. */
struct pen {
    const struct snapshot_writer *writer;
    struct arena *scratch;
    int16_t mv;         /* whose record versions are written */
    enum err err;
};

static void write_record(struct pen *pen, const struct wire_message *message, int16_t version, const void *record) {
    if (pen->err) return;
    struct span value = wire_metadata_frame(message, version, record, pen->scratch);
    if (!value.data) pen->err = ERR_NO_MEMORY;
    else if (!pen->writer->record(pen->writer->context, value)) pen->err = ERR_CLOSED;
    arena_reset(pen->scratch);
}

static void lose(struct pen *pen, const char *what) {
    if (!pen->err && pen->writer->lost) pen->writer->lost(pen->writer->context, what);
}

static bool have(struct pen *pen, const void *memory) {
    if (!memory && !pen->err) pen->err = ERR_NO_MEMORY;
    return memory != NULL;
}

/* The wire's structs have no const inside: what they point to is only read. */
#define READ_ONLY(type, pointer) ((type *)(uintptr_t)(pointer))

static void write_feature(struct pen *pen, const struct image_feature *feature) {
    struct feature_level_record r = {.name = feature->name, .feature_level = feature->level};
    write_record(pen, &feature_level_record_message, 0, &r);
}

static void write_features(struct pen *pen, const struct image *image) {
    const struct image_feature *f;
    for (f = NULL; (f = image_feature_next(image, f));)
        if (span_equal(f->name, SPAN_LITERAL(FEATURE_METADATA))) write_feature(pen, f);
    for (f = NULL; (f = image_feature_next(image, f));)
        if (!span_equal(f->name, SPAN_LITERAL(FEATURE_METADATA))) write_feature(pen, f);
    if (image_zk_migration_state(image) != 0) {
        struct zk_migration_state_record r = {.zk_migration_state = image_zk_migration_state(image)};
        write_record(pen, &zk_migration_state_record_message, 0, &r);
    }
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
    r.end_points = register_broker_record_broker_endpoint_array(pen->scratch, (int32_t)b->endpoint_count);
    r.features = register_broker_record_broker_feature_array(pen->scratch, (int32_t)b->feature_count);
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
    r.end_points = register_controller_record_controller_endpoint_array(pen->scratch, (int32_t)c->endpoint_count);
    r.features = register_controller_record_controller_feature_array(pen->scratch, (int32_t)c->feature_count);
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
        r.directories = ARENA_ARRAY(pen->scratch, p->replicas ? p->replicas : 1u, struct uuid);
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

static void write_topics(struct pen *pen, const struct image *image) {
    for (const struct image_topic *t = NULL; !pen->err && (t = image_topic_next(image, t));) {
        struct topic_record r = {.name = t->name, .topic_id = t->id};
        write_record(pen, &topic_record_message, 0, &r);
        for (const struct image_partition *p = NULL; !pen->err && (p = image_partition_next(t, p));) write_partition(pen, t, p);
    }
}

static void write_quotas(struct pen *pen, const struct image *image) {
    for (const struct image_quota *q = NULL; !pen->err && (q = image_quota_next(image, q));) {
        struct client_quota_record r = {.key = q->key, .value = q->value};
        r.entity = client_quota_record_entity_data_array(pen->scratch, (int32_t)q->entity_count);
        if (!have(pen, r.entity)) return;
        r.entity_count = (int32_t)q->entity_count;
        for (uint32_t i = 0; i < q->entity_count; i++) {
            r.entity[i].entity_type = q->entities[i].type;
            r.entity[i].entity_name = q->entities[i].name;
        }
        write_record(pen, &client_quota_record_message, 0, &r);
    }
}

static void write_security(struct pen *pen, const struct image *image) {
    for (const struct image_acl *a = NULL; !pen->err && (a = image_acl_next(image, a));) {
        struct access_control_entry_record r = {
            .id = a->id, .resource_type = a->resource_type, .resource_name = a->resource_name, .pattern_type = a->pattern_type,
            .principal = a->principal, .host = a->host, .operation = a->operation, .permission_type = a->permission,
        };
        write_record(pen, &access_control_entry_record_message, 0, &r);
    }
    const struct image_scram *s = image_scram_next(image, NULL);
    if (s && !mv_has_scram(pen->mv)) lose(pen, "SCRAM credentials"), s = NULL;
    for (; !pen->err && s; s = image_scram_next(image, s)) {
        struct user_scram_credential_record r = {
            .name = s->user, .mechanism = s->mechanism, .salt = s->salt, .stored_key = s->stored_key, .server_key = s->server_key,
            .iterations = s->iterations,
        };
        write_record(pen, &user_scram_credential_record_message, 0, &r);
    }
    const struct image_token *t = image_token_next(image, NULL);
    if (t && !mv_has_tokens(pen->mv)) lose(pen, "delegation tokens"), t = NULL;
    for (; !pen->err && t; t = image_token_next(image, t)) {
        struct delegation_token_record r = {
            .owner = t->owner, .requester = t->requester, .renewers = READ_ONLY(struct span, t->renewers),
            .renewers_count = (int32_t)t->renewer_count, .issue_timestamp = t->issued_ms, .max_timestamp = t->max_ms,
            .expiration_timestamp = t->expires_ms, .token_id = t->id,
        };
        write_record(pen, &delegation_token_record_message, 0, &r);
    }
}

enum err snapshot_write(const struct image *image, const struct snapshot_writer *writer, struct arena *scratch) {
    int16_t mv = image_metadata_version(image);
    struct pen pen = {.writer = writer, .scratch = scratch, .mv = mv ? mv : MV_MIN};
    write_features(&pen, image);
    for (const struct image_broker *b = NULL; !pen.err && (b = image_broker_next(image, b));) write_broker(&pen, b);
    const struct image_controller *c = image_controller_next(image, NULL);
    if (c && !mv_has_controller_registration(pen.mv)) lose(&pen, "the registrations of controllers"), c = NULL;
    for (; !pen.err && c; c = image_controller_next(image, c)) write_controller(&pen, c);
    write_topics(&pen, image);
    for (const struct image_config *k = NULL; !pen.err && (k = image_config_next(image, k));) {
        struct config_record r = {.resource_type = k->type, .resource_name = k->resource, .name = k->key, .value = k->value};
        write_record(&pen, &config_record_message, 0, &r);
    }
    write_quotas(&pen, image);
    if (image_next_producer_id(image) >= 0) {
        struct producer_ids_record r = {.broker_id = -1, .broker_epoch = -1, .next_producer_id = image_next_producer_id(image)};
        write_record(&pen, &producer_ids_record_message, 0, &r);
    }
    write_security(&pen, image);
    return pen.err;
}
