/* cli/groups.h - kafka-consumer-groups.sh: listing, describing, deleting; and setting offsets anew (groups_reset.c).
 */
#pragma once
#include "cli/admin.h"

int groups_run(struct args *args);

/* A consumer group as ConsumerGroupDescribe or DescribeGroups tells of it. */
struct group_member {
    struct span id, instance, client, host;   /* instance: data NULL, none */
    struct partition_row *assigned, *target;
    int32_t assigned_count, target_count;
    int32_t epoch;                             /* -1: has none */
    int upgraded;                              /* -1: not said; else whether it speaks the new protocol */
};
struct group_view {
    struct span id, state, assignor;
    int32_t node;                              /* the coordinator */
    int32_t epoch, assignment_epoch;           /* -1: has none */
    struct group_member *members;
    int32_t member_count;
};
/* ---- what brokers tell (groups_view.c) */
/* Of the consumer groups, sorted; of these states and types, where any are named. */
struct group_listing { const struct list_groups_response_listed_group **groups; int32_t count; };
must_use bool groups_list_all(struct admin *admin, struct span *in_states, int32_t state_count, struct span *of_types, int32_t type_count, struct group_listing *out);
/* The ids of all consumer groups, sorted. */
must_use bool groups_list(struct admin *admin, struct span **ids, int32_t *count);
must_use bool groups_describe(struct admin *admin, struct span id, struct group_view *out);
/* What a group has committed, sorted by partition; offset -1 for none. The leader epoch is put into `timestamp`. */
must_use bool groups_committed(struct admin *admin, struct span id, struct partition_row **rows, int32_t *count);

/* ---- --reset-offsets */
struct reset_row { struct span group; struct partition_row partition; };
int groups_reset(struct admin *admin, struct span *ids, int32_t count);
/* Text as Kafka's tool takes it. False: `why` of the admin has the sentence. */
must_use bool reset_parse_datetime(struct admin *admin, const char *text, time_ms *out);
must_use bool reset_parse_duration(struct admin *admin, const char *text, int64_t *ms);
/* "topic" or "topic:0,1": appends its partitions; of a whole topic those that the metadata asked for last tells. */
struct reset_list { struct arena *arena; struct partition_row *rows; int32_t count, capacity; };
must_use bool reset_parse_topic(struct admin *admin, const char *text, struct reset_list *out);
