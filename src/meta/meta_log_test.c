#include "meta/meta_test.h"
#include "test.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

void walk_vector_log(const char *path, const struct log_walk *walk) {
    char full[512];
    snprintf(full, sizeof full, "%s/disk/%s", test_vectors_folder(), path);
    FILE *file = fopen(full, "rb");
    assert_non_null(file);
    static uint8_t bytes[1 << 20];
    size_t size = fread(bytes, 1, sizeof bytes, file);
    assert_true(size > 0 && size < sizeof bytes);
    fclose(file);
    struct span rest = {bytes, size};
    struct batch batch;
    enum err err;
    while ((err = batch_next(&rest, &batch)) == ERR_NONE) {
        assert_true(batch_crc_is_good(&batch));
        if (batch_is_control(&batch)) continue;
        struct batch_records records;
        assert_int_equal(batch_records_open(&batch, NULL, NULL, &records), ERR_NONE);
        struct record_cursor cursor;
        record_cursor_init(&cursor, &batch, records.bytes);
        struct record record;
        for (int32_t i = 0; record_next(&cursor, &record) == ERR_NONE; i++) walk->record(walk->context, record.value, &batch, i + 1 == batch.count);
        batch_records_close(&records);
    }
    assert_true(err == ERR_NOT_FOUND);
}

uint32_t walk_vector_records(void *context, void (*value)(void *context, const char *name, struct span framed)) {
    char folder[512], path[1024];
    snprintf(folder, sizeof folder, "%s/metadata", test_vectors_folder());
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    uint32_t files = 0;
    static char line[1 << 20];
    static uint8_t bytes[1 << 19];
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strstr(entry->d_name, ".jsonl")) continue;
        files++;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        gzFile file = gzopen(path, "rb");
        assert_non_null(file);
        while (gzgets(file, line, sizeof line)) {
            const char *at = strstr(line, "\"framed\":\"");
            assert_non_null(at);
            size_t size = 0;
            unsigned byte;
            for (at += 10; sscanf(at, "%2x", &byte) == 1; at += 2) bytes[size++] = (uint8_t)byte;
            uint8_t *exact = malloc(size ? size : 1); /* so that reading past the end is seen */
            memcpy(exact, bytes, size);
            value(context, entry->d_name, (struct span){exact, size});
            free(exact);
        }
        gzclose(file);
    }
    closedir(dir);
    return files;
}

/* ---- random logs */

static uint32_t below(struct random_log *log, uint32_t n) {
    return (uint32_t)random_below(&log->random, n);
}

static struct span words(struct random_log *log, const char *what, uint32_t of) {
    char text[64];
    int size = snprintf(text, sizeof text, "%s-%u", what, below(log, of));
    char *copy = arena_copy(log->arena, text, (size_t)size);
    return (struct span){(const uint8_t *)copy, (size_t)size};
}

static struct uuid some_uuid(struct random_log *log) {
    struct uuid id;
    random_bytes(&log->random, id.bytes, sizeof id.bytes);
    return id;
}

static int32_t *some_ids(struct random_log *log, int32_t *count, uint32_t max) {
    *count = (int32_t)below(log, max + 1);
    int32_t *ids = ARENA_ARRAY(log->arena, max + 1, int32_t);
    for (int32_t i = 0; i < *count; i++) ids[i] = (int32_t)below(log, 12);
    return ids;
}

static struct uuid *some_uuids(struct random_log *log, int32_t count) {
    struct uuid *ids = ARENA_ARRAY(log->arena, (uint32_t)count + 1, struct uuid);
    for (int32_t i = 0; i < count; i++) ids[i] = below(log, 4) ? some_uuid(log) : DIRECTORY_UNASSIGNED;
    return ids;
}

/* One of those that exist, evenly enough: the first after a random key. */
static const struct image_topic *some_topic(struct random_log *log, const struct image *image) {
    const struct image_topic *topic = image_topic_from(image, words(log, "topic", 60));
    return topic ? topic : image_topic_next(image, NULL);
}
static const struct image_broker *some_broker(struct random_log *log, const struct image *image) {
    struct image_broker before = {.id = (int32_t)below(log, 12) - 1};
    const struct image_broker *broker = image_broker_next(image, &before);
    return broker ? broker : image_broker_next(image, NULL);
}

#define FRAME(message_, version_, record_) wire_metadata_frame(&message_, version_, record_, log->arena)

static struct span next_partition(struct random_log *log, const struct image *image) {
    const struct image_topic *topic = some_topic(log, image);
    if (!topic) return (struct span){0};
    int16_t version = (int16_t)below(log, 3);
    struct partition_record r;
    partition_record_init(&r);
    r.topic_id = topic->id;
    r.partition_id = (int32_t)below(log, topic->partition_count + 5);
    r.replicas = some_ids(log, &r.replicas_count, 5);
    r.isr = below(log, 2) ? r.replicas : some_ids(log, &r.isr_count, 5);
    if (r.isr == r.replicas) r.isr_count = r.replicas_count;
    r.removing_replicas = some_ids(log, &r.removing_replicas_count, 2);
    r.adding_replicas = some_ids(log, &r.adding_replicas_count, 2);
    r.leader = (int32_t)below(log, 12) - 1;
    r.leader_epoch = (int32_t)below(log, 100);
    r.partition_epoch = (int32_t)below(log, 100);
    r.leader_recovery_state = (int8_t)below(log, 2);
    if (version >= 1) {
        r.directories_count = below(log, 5) ? r.replicas_count : 0;
        r.directories = some_uuids(log, r.directories_count);
    }
    if (version >= 2 && below(log, 2)) r.eligible_leader_replicas = some_ids(log, &r.eligible_leader_replicas_count, 3);
    if (version >= 2 && below(log, 2)) r.last_known_elr = some_ids(log, &r.last_known_elr_count, 1);
    return FRAME(partition_record_message, version, &r);
}

static struct span next_partition_change(struct random_log *log, const struct image *image) {
    const struct image_topic *topic = some_topic(log, image);
    const struct image_partition *p = topic ? image_partition_next(topic, NULL) : NULL;
    for (uint32_t skip = below(log, 5); p && skip; skip--) {
        const struct image_partition *next = image_partition_next(topic, p);
        if (next) p = next;
    }
    if (!p) return (struct span){0};
    int16_t version = (int16_t)below(log, 3);
    struct partition_change_record r;
    partition_change_record_init(&r);
    r.topic_id = topic->id;
    r.partition_id = p->index;
    if (below(log, 2)) r.isr = some_ids(log, &r.isr_count, 4);
    if (below(log, 2)) r.leader = (int32_t)below(log, 13) - 2;
    if (below(log, 4) == 0) {
        r.replicas = some_ids(log, &r.replicas_count, 5);
        if (version >= 1) {
            r.directories_count = r.replicas_count;
            r.directories = some_uuids(log, r.directories_count);
        }
    } else if (version >= 1 && below(log, 4) == 0) {
        r.directories_count = p->replicas;
        r.directories = some_uuids(log, r.directories_count);
    }
    if (below(log, 4) == 0) r.removing_replicas = some_ids(log, &r.removing_replicas_count, 2);
    if (below(log, 4) == 0) r.adding_replicas = some_ids(log, &r.adding_replicas_count, 2);
    if (below(log, 4) == 0) r.leader_recovery_state = (int8_t)below(log, 2);
    if (version >= 2 && below(log, 3) == 0) r.eligible_leader_replicas = some_ids(log, &r.eligible_leader_replicas_count, 3);
    if (version >= 2 && below(log, 3) == 0) r.last_known_elr = some_ids(log, &r.last_known_elr_count, 1);
    return FRAME(partition_change_record_message, version, &r);
}

static struct span next_register_broker(struct random_log *log) {
    int16_t version = (int16_t)below(log, 5);
    struct register_broker_record r;
    register_broker_record_init(&r);
    r.broker_id = (int32_t)below(log, 12);
    r.broker_epoch = (int64_t)below(log, 1000);
    r.incarnation_id = some_uuid(log);
    r.fenced = below(log, 2);
    r.rack = below(log, 2) ? words(log, "rack", 3) : below(log, 2) ? SPAN_LITERAL("") : (struct span){0};
    r.end_points_count = (int32_t)below(log, 4);
    r.end_points = register_broker_record_broker_endpoint_array(log->arena, r.end_points_count);
    for (int32_t i = 0; i < r.end_points_count; i++) {
        r.end_points[i].name = words(log, "LISTENER", 5);
        r.end_points[i].host = words(log, "host", 5);
        r.end_points[i].port = (uint16_t)below(log, 65536);
    }
    r.features_count = (int32_t)below(log, 4);
    r.features = register_broker_record_broker_feature_array(log->arena, r.features_count);
    for (int32_t i = 0; i < r.features_count; i++) {
        r.features[i].name = words(log, "feature", 5);
        r.features[i].max_supported_version = (int16_t)below(log, 40);
    }
    if (version >= 1) r.in_controlled_shutdown = below(log, 4) == 0;
    if (version >= 2) r.is_migrating_zk_broker = below(log, 4) == 0;
    if (version >= 3) r.log_dirs = some_uuids(log, r.log_dirs_count = (int32_t)below(log, 3));
    if (version >= 4 && below(log, 2)) r.cordoned_log_dirs = some_uuids(log, r.cordoned_log_dirs_count = (int32_t)below(log, 3));
    return FRAME(register_broker_record_message, version, &r);
}

static struct span next_broker_change(struct random_log *log, const struct image *image) {
    const struct image_broker *broker = some_broker(log, image);
    if (!broker) return (struct span){0};
    if (below(log, 10) == 0) {
        struct unregister_broker_record gone = {.broker_id = broker->id, .broker_epoch = broker->epoch};
        return FRAME(unregister_broker_record_message, 0, &gone);
    }
    if (below(log, 4) == 0) {
        struct fence_broker_record fence = {.id = broker->id, .epoch = broker->epoch};
        return below(log, 2) ? FRAME(fence_broker_record_message, 0, &fence) : FRAME(unfence_broker_record_message, 0, &fence);
    }
    int16_t version = (int16_t)below(log, 4);
    struct broker_registration_change_record r;
    broker_registration_change_record_init(&r);
    r.broker_id = broker->id;
    r.broker_epoch = broker->epoch;
    r.fenced = (int8_t)((int32_t)below(log, 3) - 1);
    if (version >= 1) r.in_controlled_shutdown = (int8_t)below(log, 2);
    if (version >= 2) r.log_dirs = some_uuids(log, r.log_dirs_count = (int32_t)below(log, 3));
    if (version >= 3 && below(log, 2)) r.cordoned_log_dirs = some_uuids(log, r.cordoned_log_dirs_count = (int32_t)below(log, 3));
    return FRAME(broker_registration_change_record_message, version, &r);
}

static struct span next_config(struct random_log *log, const struct image *image) {
    static const int8_t types[] = {2, 4, 16, 32};
    struct config_record r;
    config_record_init(&r);
    r.resource_type = types[below(log, 4)];
    const struct image_topic *topic = some_topic(log, image);
    r.resource_name = r.resource_type == 2 && topic ? topic->name : below(log, 3) ? words(log, "resource", 9) : SPAN_LITERAL("");
    r.name = words(log, "key", 9);
    r.value = below(log, 3) ? words(log, "value", 1000) : below(log, 2) ? SPAN_LITERAL("") : (struct span){0};
    return FRAME(config_record_message, 0, &r);
}

static struct span next_quota(struct random_log *log) {
    static const char *const types[] = {"user", "client-id", "ip"};
    struct client_quota_record r;
    client_quota_record_init(&r);
    r.entity_count = (int32_t)below(log, 3);
    r.entity = client_quota_record_entity_data_array(log->arena, r.entity_count);
    for (int32_t i = 0; i < r.entity_count; i++) {
        r.entity[i].entity_type = span_text(types[below(log, 3)]);
        r.entity[i].entity_name = below(log, 3) ? words(log, "who", 4) : (struct span){0};
    }
    r.key = words(log, "rate", 3);
    r.value = below(log, 1000) / 8.0;
    r.remove = below(log, 3) == 0;
    return FRAME(client_quota_record_message, 0, &r);
}

static struct span next_security(struct random_log *log, const struct image *image) {
    switch (below(log, 6)) {
    case 0: case 1: {
        struct access_control_entry_record r = {
            .id = some_uuid(log), .resource_type = 2, .resource_name = words(log, "topic", 9), .pattern_type = 3,
            .principal = words(log, "User:u", 9), .host = SPAN_LITERAL("*"), .operation = 3, .permission_type = 3};
        return FRAME(access_control_entry_record_message, 0, &r);
    }
    case 2: {
        struct image_acl from = {.id = some_uuid(log)};
        const struct image_acl *acl = image_acl_next(image, &from);
        if (!acl) return (struct span){0};
        struct remove_access_control_entry_record r = {.id = acl->id};
        return FRAME(remove_access_control_entry_record_message, 0, &r);
    }
    case 3: {
        struct user_scram_credential_record r = {
            .name = words(log, "user", 9), .mechanism = (int8_t)(1 + below(log, 2)), .salt = words(log, "salt", 99),
            .stored_key = words(log, "stored", 99), .server_key = words(log, "server", 99), .iterations = 4096};
        return FRAME(user_scram_credential_record_message, 0, &r);
    }
    case 4: {
        const struct image_scram *scram = image_scram_next(image, NULL);
        if (!scram || below(log, 2)) {
            struct remove_delegation_token_record r = {.token_id = words(log, "token", 9)};
            return FRAME(remove_delegation_token_record_message, 0, &r);
        }
        struct remove_user_scram_credential_record r = {.name = scram->user, .mechanism = scram->mechanism};
        return FRAME(remove_user_scram_credential_record_message, 0, &r);
    }
    default: {
        struct delegation_token_record r = {.owner = words(log, "User:o", 9), .requester = words(log, "User:r", 9), .token_id = words(log, "token", 9),
                                            .issue_timestamp = 1, .max_timestamp = 2, .expiration_timestamp = (int64_t)below(log, 99)};
        r.renewers_count = (int32_t)below(log, 3);
        r.renewers = ARENA_ARRAY(log->arena, 3, struct span);
        for (int32_t i = 0; i < r.renewers_count; i++) r.renewers[i] = words(log, "User:n", 9);
        return FRAME(delegation_token_record_message, 0, &r);
    }
    }
}

static struct span next_of_any(struct random_log *log, const struct image *image) {
    uint32_t dice = below(log, 100);
    if (dice < 8) {
        struct topic_record r = {.name = words(log, "topic", 60), .topic_id = some_uuid(log)};
        return image_topic(image, r.name) ? (struct span){0} : FRAME(topic_record_message, 0, &r);
    }
    if (dice < 28) return next_partition(log, image);
    if (dice < 50) return next_partition_change(log, image);
    if (dice < 53) {
        const struct image_topic *topic = some_topic(log, image);
        struct remove_topic_record r = {.topic_id = topic ? topic->id : (struct uuid){{0}}};
        return topic ? FRAME(remove_topic_record_message, 0, &r) : (struct span){0};
    }
    if (dice < 58) return next_register_broker(log);
    if (dice < 63) return next_broker_change(log, image);
    if (dice < 65) {
        struct feature_level_record r = {.name = words(log, "feature", 5), .feature_level = (int16_t)below(log, 4)};
        return FRAME(feature_level_record_message, 0, &r);
    }
    if (dice < 67) {
        struct register_controller_record r;
        register_controller_record_init(&r);
        r.controller_id = (int32_t)below(log, 5);
        r.incarnation_id = some_uuid(log);
        if (image_controller(image, r.controller_id) && below(log, 2)) {
            struct unregister_controller_record gone = {.controller_id = r.controller_id};
            return FRAME(unregister_controller_record_message, 0, &gone);
        }
        return FRAME(register_controller_record_message, 0, &r);
    }
    if (dice < 77) return next_config(log, image);
    if (dice < 81) return next_quota(log);
    if (dice < 83) {
        struct producer_ids_record r = {.broker_id = 1, .broker_epoch = 2, .next_producer_id = (int64_t)below(log, 1000) * 1000};
        return FRAME(producer_ids_record_message, 0, &r);
    }
    if (dice < 92) return next_security(log, image);
    if (dice < 93) {
        struct clear_elr_record r = {.topic_name = SPAN_LITERAL("")};
        const struct image_topic *topic = some_topic(log, image);
        if (topic && below(log, 3)) r.topic_name = topic->name;
        return FRAME(clear_elr_record_message, 0, &r);
    }
    if (dice < 94) {
        struct zk_migration_state_record r = {.zk_migration_state = (int8_t)below(log, 4)};
        return FRAME(zk_migration_state_record_message, 0, &r);
    }
    if (dice < 96) {
        struct no_op_record r = {0};
        return FRAME(no_op_record_message, 0, &r);
    }
    struct begin_transaction_record begin = {.name = words(log, "transaction", 9)};
    struct end_transaction_record end = {0};
    struct abort_transaction_record abort_ = {.reason = {0}};
    bool was = log->in_transaction;
    log->in_transaction = !was;
    return !was ? FRAME(begin_transaction_record_message, 0, &begin)
         : below(log, 2) ? FRAME(end_transaction_record_message, 0, &end) : FRAME(abort_transaction_record_message, 0, &abort_);
}

struct span random_log_next(struct random_log *log) {
    struct image *image = delta_current(log->delta);
    struct span record;
    do record = next_of_any(log, image);
    while (!record.data);
    image_drop(image);
    return record;
}
