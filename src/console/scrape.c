#include "console/scrape.h"
#include "base/random.h"
#include <string.h>

struct scrape *scrape_new(struct pool *pool, const struct console_options *options) {
    struct scrape *scrape = POOL_NEW(pool, struct scrape);
    if (!scrape) return NULL;
    scrape->pool = pool;
    scrape->options = options;
    scrape->apis = pool_alloc(pool, API_COUNT * sizeof *scrape->apis);
    scrape->topics = pool_alloc(pool, SCRAPE_TOPICS_MAX * sizeof *scrape->topics);
    scrape->partitions = pool_alloc(pool, SCRAPE_PARTITIONS_MAX * sizeof *scrape->partitions);
    scrape->groups = pool_alloc(pool, SCRAPE_GROUPS_MAX * sizeof *scrape->groups);
    scrape->lags = pool_alloc(pool, SCRAPE_LAGS_MAX * sizeof *scrape->lags);
    scrape->known = pool_alloc(pool, SCRAPE_LAGS_MAX * sizeof *scrape->known);
    scrape->round.items = pool_alloc(pool, SCRAPE_LAGS_MAX * sizeof *scrape->round.items);
    if (scrape->apis && scrape->topics && scrape->partitions && scrape->groups && scrape->lags && scrape->known && scrape->round.items) return scrape;
    scrape_free(scrape);
    return NULL;
}

void scrape_free(struct scrape *scrape) {
    if (!scrape) return;
    struct pool *pool = scrape->pool;
    pool_free(pool, scrape->apis, API_COUNT * sizeof *scrape->apis);
    pool_free(pool, scrape->topics, SCRAPE_TOPICS_MAX * sizeof *scrape->topics);
    pool_free(pool, scrape->partitions, SCRAPE_PARTITIONS_MAX * sizeof *scrape->partitions);
    pool_free(pool, scrape->groups, SCRAPE_GROUPS_MAX * sizeof *scrape->groups);
    pool_free(pool, scrape->lags, SCRAPE_LAGS_MAX * sizeof *scrape->lags);
    pool_free(pool, scrape->known, SCRAPE_LAGS_MAX * sizeof *scrape->known);
    pool_free(pool, scrape->round.items, SCRAPE_LAGS_MAX * sizeof *scrape->round.items);
    pool_free(pool, scrape, sizeof *scrape);
}

/* ---- topics: found by id, in a table of their numbers */

static struct topic_sample *topic_of(struct scrape *scrape, struct uuid id, struct span name) {
    uint32_t at = (uint32_t)uuid_hash(id) % SCRAPE_TOPIC_SLOTS;
    for (; scrape->topic_slots[at]; at = (at + 1) % SCRAPE_TOPIC_SLOTS) {
        struct topic_sample *topic = &scrape->topics[scrape->topic_slots[at] - 1];
        if (uuid_equal(topic->id, id)) return topic;
    }
    if (scrape->topic_count == SCRAPE_TOPICS_MAX || name.size > LOG_TOPIC_BYTES_MAX) return NULL;
    struct topic_sample *topic = &scrape->topics[scrape->topic_count++];
    memset(topic, 0, sizeof *topic);
    memcpy(topic->name, name.data, name.size);
    topic->id = id;
    scrape->topic_slots[at] = (uint16_t)scrape->topic_count;
    return topic;
}

static void take_topic(void *context, struct uuid id, struct span name, const struct topic_counts *counts) {
    struct scrape *scrape = context;
    struct topic_sample *topic = topic_of(scrape, id, name);
    if (topic) topic_counts_add(&topic->counts, counts);
    else scrape->topics_left_out++;
}

static void take_log(void *context, const struct log *log) {
    struct scrape *scrape = context;
    if (scrape->partition_count == SCRAPE_PARTITIONS_MAX) {
        scrape->partitions_left_out++;
        return;
    }
    struct partition_sample *sample = &scrape->partitions[scrape->partition_count++];
    memset(sample, 0, sizeof *sample);
    strncpy(sample->topic, log_topic(log), sizeof sample->topic - 1);
    sample->index = log_partition(log);
    sample->start = log_start(log);
    sample->end = log_end(log);
    sample->high_watermark = log_high_watermark(log);
    sample->bytes = log_size(log);
    sample->segments = log_segments(log);
}

/* ---- groups */

struct taking { struct scrape *scrape; const struct broker *broker; uint32_t group; };

static void count_state(struct scrape *scrape, const struct group_view *group) {
    uint32_t i = 0;
    while (i < scrape->state_count && (strcmp(scrape->states[i].state, group->state) != 0 || strcmp(scrape->states[i].protocol, group->protocol) != 0)) i++;
    if (i == GROUP_STATES_MAX) return;
    if (i == scrape->state_count) scrape->states[scrape->state_count++] = (struct state_sample){.protocol = group->protocol, .state = group->state};
    scrape->states[i].groups++;
}

static bool take_group(void *context, const struct group_view *group) {
    struct taking *taking = context;
    struct scrape *scrape = taking->scrape;
    count_state(scrape, group);
    if (scrape->group_count == SCRAPE_GROUPS_MAX || group->id.size > GROUP_NAME_BYTES_MAX) {
        scrape->groups_left_out++;
        return false;
    }
    struct group_sample *sample = &scrape->groups[scrape->group_count];
    memset(sample, 0, sizeof *sample);
    memcpy(sample->name, group->id.data, group->id.size);
    sample->members = group->members;
    taking->group = scrape->group_count++;
    return true;
}

static uint32_t known_slot(struct uuid id, partition_index partition, log_offset offset) {
    return (uint32_t)((uuid_hash(id) + (uint64_t)(uint32_t)partition * 31 + (uint64_t)offset * 2654435761u) >> 7) % LAG_SLOTS;
}

/* What the scrape before found out of the same offset: a batch does not change. */
static time_ms known_batch_ms(const struct scrape *scrape, const struct lag_item *item) {
    for (uint32_t at = known_slot(item->topic_id, item->partition, item->committed); scrape->known_slots[at]; at = (at + 1) % LAG_SLOTS) {
        const struct lag_item *known = &scrape->known[scrape->known_slots[at] - 1];
        if (known->committed == item->committed && known->partition == item->partition && uuid_equal(known->topic_id, item->topic_id)) return known->batch_ms;
    }
    return -1;
}

static void take_offset(void *context, const struct group_view *group, struct span topic, struct uuid topic_id, partition_index partition, log_offset offset) {
    struct taking *taking = context;
    struct scrape *scrape = taking->scrape;
    struct lag_item item = {.partition = partition, .committed = offset, .high_watermark = -1, .batch_ms = -1};
    if (topic.size > LOG_TOPIC_BYTES_MAX || !broker_sample_place(taking->broker, topic, topic_id, partition, &item.topic_id, &item.shard)) return;
    if (scrape->lag_count == SCRAPE_LAGS_MAX) {
        scrape->offsets_left_out++;
        return;
    }
    struct lag_sample *sample = &scrape->lags[scrape->lag_count];
    memset(sample, 0, sizeof *sample);
    sample->group = taking->group;
    memcpy(sample->topic, topic.data, topic.size);
    item.batch_ms = known_batch_ms(scrape, &item);
    scrape->round.items[scrape->lag_count++] = item;
}

/* ---- what each shard adds */

static void add_net(struct net_counts *into, const struct net_counts *from) {
    into->opened += from->opened;
    for (uint32_t i = 0; i <= CONN_END_STOP; i++) into->closed[i] += from->closed[i];
    into->frames += from->frames;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    into->cold_sends += from->cold_sends;
    into->connections += from->connections;
}

static void take_broker(struct scrape *scrape, const struct broker *broker) {
    for (uint32_t key = 0; key < API_COUNT; key++)
        if (broker->apis[key]) api_counts_add(&scrape->apis[key], broker->apis[key]);
    topic_counts_add(&scrape->topics_total, &broker->topics_total);
    for (uint32_t i = 0; i < LISTENERS_MAX; i++) {
        scrape->listeners[i].opened += broker->listeners[i].opened;
        scrape->listeners[i].open += broker->listeners[i].open;
    }
    scrape->refused += broker->metrics.refused;
    scrape->telemetry_pushes += broker->metrics.telemetry_pushes;
    scrape->telemetry_bytes += broker->metrics.telemetry_bytes;
    scrape->telemetry_metrics += broker->metrics.telemetry_metrics;
    scrape->telemetry_points += broker->metrics.telemetry_points;
    scrape->telemetry_unreadable += broker->metrics.telemetry_unreadable;
    uint64_t evicted;
    scrape->fetch_sessions += broker_sample_fetch_sessions(broker, &evicted);
    scrape->fetch_evictions += evicted;
    scrape->waiting += broker->purgatory.waiting;
    scrape->partitions_here += broker->partitions.count;
    scrape->topics_left_out += broker_sample_topics(broker, SCRAPE_TOPICS_MAX, scrape, take_topic);
    struct taking taking = {.scrape = scrape, .broker = broker};
    struct group_visitor visitor = {.context = &taking, .group = take_group, .offset = take_offset};
    scrape->groups_left_out += broker_sample_groups(broker, SCRAPE_GROUPS_SEEN_MAX, &visitor);
}

static void take_shard(struct scrape *scrape, struct shard *shard) {
    const struct broker *broker = shard->roles[ROLE_BROKER];
    const struct net *net = shard->roles[ROLE_NET];
    const struct log_store *store = shard->roles[ROLE_LOG];
    struct shard_sample *sample = &scrape->shards[shard->index];
    sample->times = *shard_times_of(shard);
    sample->memory_used = atomic_load(&shard->pool->used);
    sample->memory_used_max = atomic_load(&shard->pool->used_max);
    sample->memory_limit = shard->pool->limit;
    if (net) add_net(&scrape->net, net_counts_of(net));
    if (store) {
        log_metrics_add(&scrape->log, log_store_metrics(store));
        log_store_each_open(store, scrape, take_log);
    }
    if (broker) take_broker(scrape, broker);
}

/* ---- what shard 0 knows for all */

static void take_health(struct scrape *scrape, struct shard *shard) {
    const struct console_options *options = scrape->options;
    const struct broker_node *node = options->node;
    const struct broker *broker = shard->roles[ROLE_BROKER];
    const struct image_broker *self = broker ? image_broker(broker->image, node->id) : NULL;
    scrape->serves = broker && broker->serves && !broker->stopping;
    scrape->is_registered = self && uuid_equal(self->incarnation, node->incarnation);
    scrape->is_fenced = self && self->fenced;
    uint32_t count = log_dirs_count(node->dirs);
    struct log_dir *metadata = log_dirs_metadata(node->dirs);
    bool is_apart = true;
    for (uint32_t i = 0; i < count; i++) is_apart &= log_dirs_at(node->dirs, i) != metadata;
    scrape->data_dir_count = count;
    scrape->dir_count = count + is_apart;
    for (uint32_t i = 0; i < scrape->dir_count; i++) {
        const struct log_dir *dir = i < count ? log_dirs_at(node->dirs, i) : metadata;
        scrape->dirs[i].is_online = log_dir_is_online(dir);
        scrape->dirs[i].partitions = log_dir_partitions(dir);
        scrape->dirs[i].available = log_dir_available(dir);
        scrape->dirs[i].reserve = log_dir_reserve(dir);
        strncpy(scrape->dirs[i].path, log_dir_path(dir), sizeof scrape->dirs[i].path - 1);
    }
    scrape->control = (struct control_sample){.raft_leader = -1, .raft_epoch = -1, .raft_high_watermark = -1, .raft_end = -1, .controller_applied = -1};
    if (options->control) options->control(options->context, &scrape->control);
}

static void take_metadata(struct scrape *scrape, struct shard *shard) {
    const struct broker_node *node = scrape->options->node;
    const struct broker *broker = shard->roles[ROLE_BROKER];
    scrape->listener_count = node->listener_count;
    for (uint32_t i = 0; i < node->listener_count; i++) memcpy(scrape->listeners[i].name, node->listeners[i].name, sizeof scrape->listeners[i].name);
    if (!broker) return;
    scrape->broker_applied = image_position(broker->image).offset - 1;
    scrape->topics_there = image_topic_count(broker->image);
    scrape->partitions_there = image_partition_count(broker->image);
    for (const struct image_broker *b = image_broker_next(broker->image, NULL); b; b = image_broker_next(broker->image, b)) {
        if (b->fenced) scrape->brokers_fenced++;
        else scrape->brokers_active++;
    }
}

/* ---- the way from shard to shard */

/* The second round: the ages of what groups read next, on the shard of each partition. */
static void looks_at_lags(struct shard *shard, struct message *message);

static void lags_looked_at(struct lag_round *round) {
    struct scrape *scrape = container_of(round, struct scrape, round);
    struct shard *shard = shard_at(scrape->options->group, scrape->shard);
    scrape->wall = shard_wall(shard);
    scrape->shard++;
    if (scrape->shard == shard_count(shard->group)) scrape->home(scrape);
    else shard_send(shard, scrape->shard, &scrape->message);
}

static void looks_at_lags(struct shard *shard, struct message *message) {
    struct scrape *scrape = container_of(message, struct scrape, message);
    struct broker *broker = shard->roles[ROLE_BROKER];
    if (broker) lag_round_start(&scrape->round, broker);
    else lags_looked_at(&scrape->round);
}

static void begin_lags(struct scrape *scrape, struct shard *shard) {
    scrape->shard = 0;
    scrape->message.run = looks_at_lags;
    scrape->round.count = scrape->lag_count;
    scrape->round.first = scrape->turn++ * LAG_READS_MAX % scrape->lag_count;
    scrape->round.pool = scrape->pool;
    scrape->round.reads_max = LAG_READS_MAX;
    scrape->round.opens_max = LAG_OPENS_MAX;
    scrape->round.done = lags_looked_at;
    shard_send(shard, 0, &scrape->message);
}

static void arrived(struct shard *shard, struct message *message) {
    struct scrape *scrape = container_of(message, struct scrape, message);
    if (scrape->shard == 0 && scrape->kind != SCRAPE_PING) take_health(scrape, shard);
    if (scrape->kind == SCRAPE_ALL) {
        if (scrape->shard == 0) take_metadata(scrape, shard);
        take_shard(scrape, shard);
    }
    scrape->shard++;
    bool is_last = scrape->kind == SCRAPE_READY || scrape->shard == shard_count(shard->group);
    if (!is_last) shard_send(shard, scrape->shard, message);
    else if (scrape->kind == SCRAPE_ALL && scrape->lag_count > 0) begin_lags(scrape, shard);
    else scrape->home(scrape);
}

/* What was looked up for the lags is worth keeping for the next scrape; all else begins anew. */
static void remember_lags(struct scrape *scrape) {
    struct lag_item *items = scrape->known;
    scrape->known = scrape->round.items;
    scrape->round.items = items;
    memset(scrape->known_slots, 0, sizeof scrape->known_slots);
    for (uint32_t i = 0; i < scrape->lag_count; i++) {
        const struct lag_item *item = &scrape->known[i];
        if (item->batch_ms < 0) continue;
        uint32_t at = known_slot(item->topic_id, item->partition, item->committed);
        while (scrape->known_slots[at]) at = (at + 1) % LAG_SLOTS;
        scrape->known_slots[at] = (uint16_t)(i + 1);
    }
}

static void forget(struct scrape *scrape, enum scrape_kind kind) {
    memset((char *)scrape + offsetof(struct scrape, serves), 0, offsetof(struct scrape, apis) - offsetof(struct scrape, serves));
    scrape->shard = 0;
    scrape->kind = kind;
    if (kind != SCRAPE_ALL) return;
    remember_lags(scrape);
    memset(scrape->apis, 0, API_COUNT * sizeof *scrape->apis);
    memset((char *)scrape + offsetof(struct scrape, topics_total), 0, offsetof(struct scrape, topics) - offsetof(struct scrape, topics_total));
    memset(scrape->topic_slots, 0, sizeof scrape->topic_slots);
    scrape->topic_count = scrape->partition_count = scrape->state_count = scrape->group_count = scrape->lag_count = 0;
    scrape->topics_left_out = scrape->partitions_left_out = scrape->groups_left_out = scrape->offsets_left_out = 0;
    scrape->broker_applied = -1;
}

void scrape_send(struct scrape *scrape, enum scrape_kind kind, void (*home)(struct scrape *scrape)) {
    forget(scrape, kind);
    scrape->home = home;
    scrape->message.run = arrived;
    shard_post(scrape->options->group, 0, &scrape->message);
}

bool scrape_is_ready(const struct scrape *scrape, struct text *why) {
    if (scrape->control.is_stopping) text_add(why, "the node is stopping");
    else if (!scrape->is_registered) text_add(why, "the node is not registered with the controller yet");
    else if (scrape->is_fenced) text_add(why, "the controller has fenced the node");
    else if (!scrape->serves) text_add(why, "the node does not serve yet");
    uint32_t failed = 0;
    for (uint32_t i = 0; i < scrape->dir_count; i++) failed += !scrape->dirs[i].is_online;
    if (why->size == 0 && failed && failed >= scrape->data_dir_count) text_add(why, "all log directories have failed");
    return why->size == 0;
}

void scrape_tell_failed(const struct scrape *scrape, struct text *out) {
    for (uint32_t i = 0; i < scrape->dir_count; i++)
        if (!scrape->dirs[i].is_online) text_add(out, "the log directory %s has failed: its partitions are offline\n", scrape->dirs[i].path);
}
