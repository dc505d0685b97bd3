#include "broker/topic.h"
#include "broker/broker.h"

bool topic_entry_is_key(const struct map_node *node, const void *key) {
    return uuid_equal(MAP_ITEM(node, struct topic_entry, node)->id, *(const struct uuid *)key);
}

bool topic_is_internal(struct span name) {
    return span_equal(name, SPAN_LITERAL("__consumer_offsets")) || span_equal(name, SPAN_LITERAL("__transaction_state")) ||
           span_equal(name, SPAN_LITERAL("__share_group_state"));
}

static uint32_t bounded(int64_t value) {
    return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void load(struct broker *broker, struct topic_entry *entry) {
    struct config_view view = broker_config_view(broker);
    struct topic_config config;
    struct topic_settings *settings = &entry->settings;
    topic_config_load(&config, &view, entry->name);

    struct log_config *log = &settings->log;
    log_config_init(log);
    /* An explicit value of flush.messages decides: 1 is durable, the maximum is the page cache. Where nothing was said,
     * moldau.durability does. */
    struct config_synonym said[CONFIG_SYNONYMS_MAX];
    uint32_t count = config_synonyms(&view, config_find(SCOPE_TOPIC, SPAN_LITERAL("flush.messages")), entry->name, said);
    bool is_default = count == 0 || said[0].source == SOURCE_DEFAULT;
    log->flush_messages = !is_default ? config.flush_messages : broker->node->page_cache ? INT64_MAX : 1;
    log->flush_ms = config.flush_ms;
    log->segment_bytes = bounded(config.segment_bytes);
    log->segment_index_bytes = bounded(config.segment_index_bytes);
    log->index_interval_bytes = bounded(config.index_interval_bytes);
    log->segment_ms = config.segment_ms;
    log->segment_jitter_ms = config.segment_jitter_ms;
    log->retention_bytes = config.retention_bytes;
    log->retention_ms = config.retention_ms;
    log->file_delete_delay_ms = config.file_delete_delay_ms;
    log->cleanup_delete = config_list_contains(config.cleanup_policy, SPAN_LITERAL("delete"));
    log->cleanup_compact = config_list_contains(config.cleanup_policy, SPAN_LITERAL("compact"));
    log->delete_retention_ms = config.delete_retention_ms;
    log->min_compaction_lag_ms = config.min_compaction_lag_ms;
    log->max_compaction_lag_ms = config.max_compaction_lag_ms;
    log->min_cleanable_dirty_ratio = config.min_cleanable_dirty_ratio;
    log->may_use_reserve = topic_is_internal(entry->name);

    struct verify_rules *rules = &settings->verify;
    verify_rules_init(rules);
    rules->message_bytes_max = (int32_t)config.max_message_bytes;
    rules->decompressed_record_bytes_max = (int32_t)config.max_decompressed_message_bytes;
    rules->timestamp_type = span_equal(config.message_timestamp_type, SPAN_LITERAL("LogAppendTime")) ? TIMESTAMP_LOG_APPEND : TIMESTAMP_CREATE;
    rules->timestamp_before_max_ms = config.message_timestamp_before_max_ms;
    rules->timestamp_after_max_ms = config.message_timestamp_after_max_ms;
    rules->compacted = log->cleanup_compact;
    rules->compression_is_producers = span_equal(config.compression_type, SPAN_LITERAL("producer"));
    rules->compression = COMPRESSION_NONE;
    if (!rules->compression_is_producers && !span_equal(config.compression_type, SPAN_LITERAL("uncompressed")) &&
        !compression_parse(config.compression_type, &rules->compression))
        rules->compression_is_producers = true;
    rules->compression_level = rules->compression == COMPRESSION_GZIP   ? (int32_t)config.compression_gzip_level
                               : rules->compression == COMPRESSION_LZ4  ? (int32_t)config.compression_lz4_level
                               : rules->compression == COMPRESSION_ZSTD ? (int32_t)config.compression_zstd_level
                                                                        : COMPRESSION_LEVEL_DEFAULT;
    settings->min_isr = (int32_t)config.min_insync_replicas;
}

struct topic_entry *topic_entry_hold(struct broker *broker, const struct image_topic *topic) {
    struct map_node *found = map_find(&broker->topics, uuid_hash(topic->id), &topic->id);
    if (found) {
        struct topic_entry *entry = MAP_ITEM(found, struct topic_entry, node);
        entry->refs++;
        return entry;
    }
    size_t bytes = sizeof(struct topic_entry) + topic->name.size;
    struct topic_entry *entry = pool_zero_alloc(broker->shard->pool, bytes);
    if (!entry) return NULL;
    entry->refs = 1;
    entry->id = topic->id;
    entry->bytes = bytes;
    memcpy(entry + 1, topic->name.data, topic->name.size);
    entry->name = span_of(entry + 1, topic->name.size);
    load(broker, entry);
    if (!map_insert(&broker->topics, &entry->node, uuid_hash(entry->id))) {
        pool_free(broker->shard->pool, entry, bytes);
        return NULL;
    }
    return entry;
}

void topic_entry_drop(struct broker *broker, struct topic_entry *entry) {
    assert(entry->refs > 0);
    if (--entry->refs > 0) return;
    map_remove(&broker->topics, &entry->node);
    pool_free(broker->shard->pool, entry, entry->bytes);
}

void topic_entry_reload(struct broker *broker, struct topic_entry *entry) {
    load(broker, entry);
}

bool topic_read_is_key(const struct map_node *node, const void *key) {
    return uuid_equal(MAP_ITEM(node, struct topic_read, node)->id, *(const struct uuid *)key);
}

void topic_bytes_out(struct broker *broker, struct uuid id, uint64_t bytes) {
    uint64_t hash = uuid_hash(id);
    struct map_node *found = map_find(&broker->topics_read, hash, &id);
    struct topic_read *read = found ? MAP_ITEM(found, struct topic_read, node) : NULL;
    broker->topics_total.bytes_out += bytes;
    if (!read) {
        if (broker->topics_read.count >= TOPICS_READ_MAX || !(read = POOL_NEW(broker->shard->pool, struct topic_read))) return;
        read->id = id;
        if (!map_insert(&broker->topics_read, &read->node, hash)) {
            pool_free(broker->shard->pool, read, sizeof *read);
            return;
        }
    }
    read->bytes_out += bytes;
}

static void drop_read(struct broker *broker, struct topic_read *read) {
    map_remove(&broker->topics_read, &read->node);
    pool_free(broker->shard->pool, read, sizeof *read);
}

void topic_read_forget(struct broker *broker, struct uuid id) {
    struct map_node *found = map_find(&broker->topics_read, uuid_hash(id), &id);
    if (found) drop_read(broker, MAP_ITEM(found, struct topic_read, node));
}

void topics_read_free(struct broker *broker) {
    MAP_EACH_SAFE(node, &broker->topics_read) drop_read(broker, MAP_EACH_ITEM(node, struct topic_read, node));
    map_destroy(&broker->topics_read);
}
