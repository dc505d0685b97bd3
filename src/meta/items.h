/* meta/items.h - items of a version, made from records: for delta.c alone. Each answers a new item with one count, or
 * NULL: over budget. All that the record points to is copied into the item's one piece of memory. */
#pragma once
#include "meta/image_inner.h"
#include "wire/records.h"

/* What a partition is made of; ids and directories are borrowed. */
struct partition_shape {
    partition_index index;
    broker_id leader;
    leader_epoch leader_epoch;
    int32_t partition_epoch;
    int8_t recovery;
    struct image_ids replicas, isr, removing, adding, elr, last_known_elr;
    const uint8_t *directories; /* 16 bytes for each replica; NULL: all are migrating */
};
struct image_partition *item_partition(struct pool *pool, const struct partition_shape *shape);

struct image_name *item_name(struct pool *pool, struct span name, struct uuid id);
struct image_broker *item_broker(struct pool *pool, const struct register_broker_record *record);
/* The same broker with something changed; NULL pointers: as it was. `cordoned` counts only if `cordoned_known`. */
struct broker_change {
    bool fenced, in_controlled_shutdown, set_directories, set_cordoned;
    const struct uuid *directories, *cordoned;
    uint32_t directory_count, cordoned_count;
};
struct image_broker *item_broker_changed(struct pool *pool, const struct image_broker *broker, const struct broker_change *change);
struct image_controller *item_controller(struct pool *pool, const struct register_controller_record *record);
struct image_feature *item_feature(struct pool *pool, struct span name, int16_t level);
struct image_config *item_config(struct pool *pool, const struct config_record *record);
struct image_quota *item_quota(struct pool *pool, const struct image_quota_entity *entities, uint32_t count, struct span key, double value);
struct image_acl *item_acl(struct pool *pool, const struct access_control_entry_record *record);
struct image_scram *item_scram(struct pool *pool, const struct user_scram_credential_record *record);
struct image_token *item_token(struct pool *pool, const struct delegation_token_record *record);
