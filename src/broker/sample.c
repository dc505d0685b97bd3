#include "broker/sample.h"
#include "broker/coordinators.h"
#include "broker/fetch_session.h"
#include "broker/partition.h"
#include "broker/topic.h"

uint64_t broker_sample_topics(const struct broker *broker, uint32_t max, void *context,
                              void (*topic)(void *context, struct uuid id, struct span name, const struct topic_counts *counts)) {
    uint32_t seen = 0, read = 0;
    MAP_EACH(node, &broker->topics) {
        const struct topic_entry *entry = MAP_EACH_ITEM(node, struct topic_entry, node);
        if (seen++ == max) break;
        topic(context, entry->id, entry->name, &entry->counts);
    }
    MAP_EACH(node, &broker->topics_read) {
        const struct topic_read *entry = MAP_EACH_ITEM(node, struct topic_read, node);
        const struct image_topic *known = image_topic_by_id(broker->image, entry->id);
        struct topic_counts counts = {.bytes_out = entry->bytes_out};
        if (read++ == max) break;
        if (known) topic(context, entry->id, known->name, &counts);
    }
    return broker->topics.count > max ? broker->topics.count - max : 0;
}

uint64_t broker_sample_groups(const struct broker *broker, uint32_t max, const struct group_visitor *visitor) {
    return broker->coordinators ? coordinators_visit(broker->coordinators, max, visitor) : 0;
}

bool broker_sample_place(const struct broker *broker, struct span topic, struct uuid wanted, partition_index partition, struct uuid *id, uint32_t *shard) {
    const struct image_topic *known = image_topic(broker->image, topic);
    if (!known || (!uuid_is_zero(wanted) && !uuid_equal(wanted, known->id)) || !image_partition(known, partition)) return false;
    *id = known->id;
    *shard = partition_shard(broker, known->id, partition);
    return true;
}

uint32_t broker_sample_fetch_sessions(const struct broker *broker, uint64_t *evicted) {
    *evicted = broker->sessions->evicted;
    return broker->sessions->sessions.count;
}
