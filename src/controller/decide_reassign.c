/* AlterPartitionReassignments and ListPartitionReassignments: replicas move by two lists beside the replicas of a partition,
 * those that are being added and those that will be removed. Whether a move is complete is asked with every later change of
 * the partition (partition_change.c); here it begins, is turned to another target, or is taken back.
 */
#include "controller/partition_change.h"
#include <string.h>

struct refusal { enum kafka_error error; struct span message; };
#define REFUSAL(error_, ...) ((struct refusal){error_, __VA_ARGS__})
#define FINE ((struct refusal){KAFKA_NONE, {0}})

static struct image_ids as_ids(struct broker_list list) {
    return (struct image_ids){list.ids, list.count};
}

static void sort(struct broker_list *list) { /* a few ids */
    for (uint32_t i = 1; i < list->count; i++) {
        broker_id id = list->ids[i];
        uint32_t at = i;
        for (; at > 0 && list->ids[at - 1] > id; at--) list->ids[at] = list->ids[at - 1];
        list->ids[at] = id;
    }
}

/* What is in `of` and not in `without`, in order. */
static struct broker_list difference(struct decide *d, struct image_ids of, struct image_ids without) {
    struct broker_list list = broker_list_copy(d, of, 0);
    if (!list.ids) return list;
    list.count = 0;
    for (uint32_t i = 0; i < of.count; i++)
        if (!image_ids_contain(without, of.ids[i])) list.ids[list.count++] = of.ids[i];
    sort(&list);
    return list;
}

static struct refusal carry_out(struct decide *d, struct partition_change *change) {
    struct partition_change_record record;
    if (partition_change_build(change, &record)) partition_change_add(d, &record);
    return FINE;
}

/* Back to the replicas that there were before. */
static struct refusal cancel(struct decide *d, const struct image_topic *topic, const struct image_partition *was) {
    if (!image_is_reassigning(was)) return REFUSAL(KAFKA_NO_REASSIGNMENT_IN_PROGRESS, (struct span){0});
    struct topic_rules rules = topic_rules(d, topic);
    struct partition_change change;
    partition_change_init(&change, d, topic, was, &rules, true);
    struct image_ids adding = image_adding(was), replicas = image_replicas(was), isr = image_isr(was);
    change.replicas.count = change.isr.count = 0;
    if (d->failed) return FINE;
    for (uint32_t i = 0; i < replicas.count; i++)
        if (!image_ids_contain(adding, replicas.ids[i])) change.replicas.ids[change.replicas.count++] = replicas.ids[i];
    for (uint32_t i = 0; i < isr.count; i++)
        if (!image_ids_contain(adding, isr.ids[i])) change.isr.ids[change.isr.count++] = isr.ids[i];
    if (change.isr.count == 0 && !rules.unclean)
        return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, SPAN_LITERAL("of the former replicas none is in sync, and the topic allows no unclean leader"));
    change.removing.count = change.adding.count = 0;
    return carry_out(d, &change);
}

/* How many replicas the partition is meant to have when its reassignment is done. */
static uint32_t factor_of(const struct image_partition *p) {
    struct image_ids replicas = image_replicas(p), removing = image_removing(p);
    uint32_t factor = 0;
    for (uint32_t i = 0; i < replicas.count; i++) factor += !image_ids_contain(removing, replicas.ids[i]);
    return factor;
}

static struct refusal begin(struct decide *d, const struct image_topic *topic, const struct image_partition *was, struct image_ids target, bool may_resize) {
    struct span why = decide_check_assignment(d, target, -1);
    if (why.data) return REFUSAL(KAFKA_INVALID_REPLICA_ASSIGNMENT, why);
    if (!may_resize && target.count != factor_of(was))
        return REFUSAL(KAFKA_INVALID_REPLICATION_FACTOR, decide_text(d, "the partition has %u replicas, the assignment %u, and the number may not change",
                                                                    factor_of(was), target.count));
    struct topic_rules rules = topic_rules(d, topic);
    struct partition_change change;
    partition_change_init(&change, d, topic, was, &rules, true);
    struct broker_list removing = difference(d, image_replicas(was), target), adding = difference(d, target, image_replicas(was));
    change.replicas = broker_list_copy(d, target, removing.count);
    if (d->failed) return FINE;
    for (uint32_t i = 0; i < removing.count; i++) change.replicas.ids[change.replicas.count++] = removing.ids[i];
    /* Who was being added before and is still wanted goes on being added: it is not in sync yet. */
    struct broker_list still = difference(d, as_ids(change.adding), as_ids(removing));
    struct broker_list all = broker_list_copy(d, as_ids(adding), still.count);
    if (d->failed) return FINE;
    for (uint32_t i = 0; i < still.count; i++) all.ids[all.count++] = still.ids[i];
    sort(&all);
    change.adding = all;
    change.removing = removing;
    return carry_out(d, &change);
}

static struct refusal one(struct decide *d, const struct image_topic *topic, struct span name, bool may_resize,
                          const struct alter_partition_reassignments_request_reassignable_partition *in) {
    if (!topic) return REFUSAL(KAFKA_UNKNOWN_TOPIC_OR_PARTITION, decide_text(d, "there is no topic %.*s", SPAN_ARGS(name)));
    const struct image_partition *was = in->partition_index >= 0 ? image_partition(topic, in->partition_index) : NULL;
    if (!was) return REFUSAL(KAFKA_UNKNOWN_TOPIC_OR_PARTITION, decide_text(d, "there is no partition %.*s-%d", SPAN_ARGS(name), in->partition_index));
    if (in->replicas_count < 0) return cancel(d, topic, was);
    return begin(d, topic, was, (struct image_ids){in->replicas, (uint32_t)in->replicas_count}, may_resize);
}

static bool said_before(const struct alter_partition_reassignments_request *in, int32_t topic, int32_t at) {
    int32_t index = in->topics[topic].partitions[at].partition_index;
    for (int32_t t = 0; t <= topic; t++) {
        if (!span_equal(in->topics[t].name, in->topics[topic].name)) continue;
        for (int32_t p = 0; p < (t == topic ? at : in->topics[t].partitions_count); p++)
            if (in->topics[t].partitions[p].partition_index == index) return true;
    }
    return false;
}

void decide_alter_reassignments(struct decide *d, const struct alter_partition_reassignments_request *in, struct alter_partition_reassignments_response *out) {
    out->allow_replication_factor_change = in->allow_replication_factor_change;
    out->responses = decide_answer_alloc(d, (size_t)in->topics_count, sizeof *out->responses);
    if (!out->responses) return;
    out->error_message = in->topics_count ? (struct span){0} : SPAN_LITERAL(""); /* as Kafka says it */
    for (int32_t t = 0; t < in->topics_count && !d->failed; t++) {
        const struct alter_partition_reassignments_request_reassignable_topic *from = &in->topics[t];
        struct alter_partition_reassignments_response_reassignable_topic_response *to = &out->responses[out->responses_count++];
        const struct image_topic *topic = image_topic(d->image, from->name);
        alter_partition_reassignments_response_reassignable_topic_response_init(to);
        to->name = from->name;
        to->partitions = decide_answer_alloc(d, (size_t)from->partitions_count, sizeof *to->partitions);
        if (!to->partitions) return;
        for (int32_t i = 0; i < from->partitions_count && !d->failed; i++) {
            uint32_t before = d->count;
            struct refusal refusal = one(d, topic, from->name, in->allow_replication_factor_change, &from->partitions[i]);
            /* The second of two changes was decided on what the first one found: only one of them may be written. */
            if (refusal.error || said_before(in, t, i)) decide_undo(d, before);
            struct alter_partition_reassignments_response_reassignable_partition_response *p = &to->partitions[to->partitions_count++];
            alter_partition_reassignments_response_reassignable_partition_response_init(p);
            p->partition_index = from->partitions[i].partition_index;
            p->error_code = (int16_t)refusal.error;
            p->error_message = refusal.message;
        }
    }
    if (d->count > DECIDE_RECORDS_MAX) {
        decide_undo(d, 0);
        out->responses_count = 0;
        out->error_code = KAFKA_POLICY_VIOLATION;
        out->error_message = SPAN_LITERAL("the request changes too many partitions");
    }
}

/* ---- ListPartitionReassignments */

static int32_t *ids_of(struct decide *d, struct image_ids ids, int32_t *count) {
    int32_t *copy = decide_answer_alloc(d, ids.count, sizeof *copy);
    if (copy && ids.count) memcpy(copy, ids.ids, ids.count * sizeof *copy);
    *count = copy ? (int32_t)ids.count : 0;
    return copy;
}

static void list_one(struct decide *d, const struct image_partition *p, struct list_partition_reassignments_response_ongoing_topic_reassignment *to) {
    if (!p || !image_is_reassigning(p)) return;
    struct list_partition_reassignments_response_ongoing_partition_reassignment *out = &to->partitions[to->partitions_count++];
    list_partition_reassignments_response_ongoing_partition_reassignment_init(out);
    out->partition_index = p->index;
    out->replicas = ids_of(d, image_replicas(p), &out->replicas_count);
    out->adding_replicas = ids_of(d, image_adding(p), &out->adding_replicas_count);
    out->removing_replicas = ids_of(d, image_removing(p), &out->removing_replicas_count);
}

/* `asked` NULL: all partitions. A topic of which none moves is not told. */
static void list_topic(struct decide *d, const struct image_topic *topic, const int32_t *asked, int32_t count, struct list_partition_reassignments_response *out) {
    uint32_t most = 0;
    for (const struct image_partition *p = NULL; (p = image_partition_next(topic, p));) most += image_is_reassigning(p);
    if (most == 0) return;
    struct list_partition_reassignments_response_ongoing_topic_reassignment *to = &out->topics[out->topics_count];
    list_partition_reassignments_response_ongoing_topic_reassignment_init(to);
    to->name = topic->name;
    to->partitions = decide_answer_alloc(d, asked ? (size_t)count : most, sizeof *to->partitions);
    if (!to->partitions) return;
    if (asked)
        for (int32_t i = 0; i < count && !d->failed; i++) list_one(d, asked[i] >= 0 ? image_partition(topic, asked[i]) : NULL, to);
    else
        for (const struct image_partition *p = NULL; !d->failed && (p = image_partition_next(topic, p));) list_one(d, p, to);
    if (to->partitions_count) out->topics_count++;
}

void decide_list_reassignments(struct decide *d, const struct list_partition_reassignments_request *in, struct list_partition_reassignments_response *out) {
    bool all = in->topics_count < 0;
    out->error_message = (struct span){0};
    out->topics = decide_answer_alloc(d, all ? image_topic_count(d->image) : (size_t)in->topics_count, sizeof *out->topics);
    if (!out->topics) return;
    for (const struct image_topic *t = NULL; all && !d->failed && (t = image_topic_next(d->image, t));) list_topic(d, t, NULL, 0, out);
    for (int32_t i = 0; !all && i < in->topics_count && !d->failed; i++) {
        const struct image_topic *topic = image_topic(d->image, in->topics[i].name);
        static const int32_t none;
        if (topic) list_topic(d, topic, in->topics[i].partition_indexes_count > 0 ? in->topics[i].partition_indexes : &none,
                              in->topics[i].partition_indexes_count > 0 ? in->topics[i].partition_indexes_count : 0, out);
    }
}
