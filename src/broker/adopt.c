#include "broker/adopt.h"
#include "broker/broker.h"
#include "broker/partition.h"
#include <string.h>

enum { ADOPT_AT_ONCE = 500, ADOPT_FIRST_MS = 1000, ADOPT_PAUSE_MS = 100 };

struct adoption { struct broker *broker; uint32_t count; };

static int adopt(void *context, struct log_dir *dir, const char *name, partition_index index) {
    struct adoption *adoption = context;
    struct broker *broker = adoption->broker;
    enum kafka_error why;
    const struct image_topic *topic = image_topic(broker->image, span_text(name));
    if (!topic || partition_shard(broker, topic->id, index) != broker->shard->index || partition_find(broker, topic->id, index)) return 0;
    /* One that cannot be used now is tried again by whoever asks for it. */
    if (partition_get(broker, topic->id, index, &why)) adoption->count++;
    return adoption->count >= ADOPT_AT_ONCE;
}

/* Of a topic that there is not, a partition that it has not, or one whose replicas are elsewhere. A folder of another topic
 * that had the name is seen when its log opens. */
static bool is_stray(void *context, const char *name, partition_index index) {
    const struct broker *broker = context;
    const struct image_topic *topic = image_topic(broker->image, span_text(name));
    const struct image_partition *state = topic ? image_partition(topic, index) : NULL;
    return strcmp(name, "__cluster_metadata") != 0 && (!state || image_replica_index(state, broker->node->id) < 0);
}

static int is_left_out(void *context, struct log_dir *dir, const char *name, partition_index index) {
    struct broker *broker = context;
    if (!broker->serves) return strcmp(name, "__cluster_metadata") != 0; /* the topics are not known yet */
    const struct image_topic *topic = image_topic(broker->image, span_text(name));
    return topic && partition_shard(broker, topic->id, index) == broker->shard->index && !partition_find(broker, topic->id, index);
}

bool adopt_is_complete(struct broker *broker) {
    return log_dirs_each_found(broker->node->dirs, is_left_out, broker) == 0;
}

static void adopt_some(struct timer *timer) {
    struct broker *broker = container_of(timer, struct broker, adopt_timer);
    struct adoption adoption = {.broker = broker};
    if (broker->stopping) return;
    if (!log_dirs_each_found(broker->node->dirs, adopt, &adoption)) return;
    if (!timer_set(broker->shard, timer, shard_now(broker->shard) + ADOPT_PAUSE_MS * NS_PER_MS, adopt_some)) never("a timer fits where it was");
}

void adopt_begin(struct broker *broker) {
    uint32_t strays = broker->shard->index == 0 ? log_store_strays(broker->store, is_stray, broker) : 0;
    if (strays > 0) broker_trace(broker, "%u folders of partitions that are not this broker's, as the metadata say, were renamed to ...-stray", strays);
    time_ns due = shard_now(broker->shard) + ADOPT_FIRST_MS * NS_PER_MS;
    if (!timer_set(broker->shard, &broker->adopt_timer, due, adopt_some)) broker_trace(broker, "no memory for a timer");
}
