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
    time_ns due = shard_now(broker->shard) + ADOPT_FIRST_MS * NS_PER_MS;
    if (!timer_set(broker->shard, &broker->adopt_timer, due, adopt_some)) broker_trace(broker, "no memory for a timer");
}
