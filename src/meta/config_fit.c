/* What must fit together among a broker's values: asked of a file before the start, and of what a change at run time would make. */
#include "meta/config.h"

static bool is_above(const struct config_view *view, enum config_id low, enum config_id high, struct text *why) {
    int64_t a = config_number(view, low), b = config_number(view, high);
    if (a <= b) return false;
    text_add(why, "%s is %lld: it must not be above %s, which is %lld", config_key(low)->name, (long long)a, config_key(high)->name, (long long)b);
    return true;
}

/* The first key must not be above the second. */
struct pair { enum config_id low, high; };
static const struct pair ordered[] = {
    {KEY_replica_fetch_wait_max_ms, KEY_replica_socket_timeout_ms},
    {KEY_replica_fetch_wait_max_ms, KEY_replica_lag_time_max_ms},
    {KEY_group_consumer_min_session_timeout_ms, KEY_group_consumer_session_timeout_ms},
    {KEY_group_consumer_session_timeout_ms, KEY_group_consumer_max_session_timeout_ms},
    {KEY_group_consumer_min_heartbeat_interval_ms, KEY_group_consumer_heartbeat_interval_ms},
    {KEY_group_consumer_heartbeat_interval_ms, KEY_group_consumer_max_heartbeat_interval_ms},
    {KEY_group_consumer_min_assignment_interval_ms, KEY_group_consumer_assignment_interval_ms},
    {KEY_group_consumer_assignment_interval_ms, KEY_group_consumer_max_assignment_interval_ms},
    {KEY_group_share_min_session_timeout_ms, KEY_group_share_session_timeout_ms},
    {KEY_group_share_session_timeout_ms, KEY_group_share_max_session_timeout_ms},
    {KEY_group_share_min_heartbeat_interval_ms, KEY_group_share_heartbeat_interval_ms},
    {KEY_group_share_heartbeat_interval_ms, KEY_group_share_max_heartbeat_interval_ms},
    {KEY_group_share_min_assignment_interval_ms, KEY_group_share_assignment_interval_ms},
    {KEY_group_share_assignment_interval_ms, KEY_group_share_max_assignment_interval_ms},
    {KEY_group_share_min_record_lock_duration_ms, KEY_group_share_record_lock_duration_ms},
    {KEY_group_share_record_lock_duration_ms, KEY_group_share_max_record_lock_duration_ms},
    {KEY_group_share_min_partition_max_record_locks, KEY_group_share_partition_max_record_locks},
    {KEY_group_share_partition_max_record_locks, KEY_group_share_max_partition_max_record_locks},
    {KEY_group_share_min_delivery_count_limit, KEY_group_share_delivery_count_limit},
    {KEY_group_share_delivery_count_limit, KEY_group_share_max_delivery_count_limit},
    {KEY_group_share_max_size, KEY_group_share_max_share_sessions},
    {KEY_group_streams_min_session_timeout_ms, KEY_group_streams_session_timeout_ms},
    {KEY_group_streams_session_timeout_ms, KEY_group_streams_max_session_timeout_ms},
    {KEY_group_streams_min_heartbeat_interval_ms, KEY_group_streams_heartbeat_interval_ms},
    {KEY_group_streams_heartbeat_interval_ms, KEY_group_streams_max_heartbeat_interval_ms},
    {KEY_group_streams_min_assignment_interval_ms, KEY_group_streams_assignment_interval_ms},
    {KEY_group_streams_assignment_interval_ms, KEY_group_streams_max_assignment_interval_ms},
    {KEY_group_streams_num_standby_replicas, KEY_group_streams_max_standby_replicas},
    {KEY_group_streams_num_warmup_replicas, KEY_group_streams_max_warmup_replicas},
    {KEY_group_streams_min_task_offset_interval_ms, KEY_group_streams_task_offset_interval_ms},
};
/* Below, and not the same. */
static const struct pair below[] = {
    {KEY_group_consumer_heartbeat_interval_ms, KEY_group_consumer_session_timeout_ms},
    {KEY_group_share_heartbeat_interval_ms, KEY_group_share_session_timeout_ms},
    {KEY_group_streams_heartbeat_interval_ms, KEY_group_streams_session_timeout_ms},
};

static bool are_ordered(const struct config_view *view, struct text *why) {
    for (size_t i = 0; i < countof(ordered); i++)
        if (is_above(view, ordered[i].low, ordered[i].high, why)) return false;
    for (size_t i = 0; i < countof(below); i++) {
        int64_t a = config_number(view, below[i].low), b = config_number(view, below[i].high);
        if (a < b) continue;
        text_add(why, "%s is %lld: it must be below %s, which is %lld", config_key(below[i].low)->name, (long long)a, config_key(below[i].high)->name, (long long)b);
        return false;
    }
    return true;
}

bool config_list_repeats(struct span list) {
    for (struct span one; config_list_next(&list, &one);)
        if (list.size != SIZE_MAX && config_list_contains(list, one)) return true;
    return false;
}

static bool fit_logs(const struct config_view *view, struct text *why) {
    static const enum config_id retentions[] = {KEY_log_retention_ms, KEY_log_retention_minutes, KEY_log_retention_hours};
    for (size_t i = 0; i < countof(retentions); i++) { /* the strongest that is there decides */
        int64_t kept = config_number(view, retentions[i]);
        if (kept == INT64_MIN) continue;
        if (kept != 0) break;
        text_add(why, "%s is 0: allowed are -1, for no bound, and numbers from 1 up", config_key(retentions[i])->name);
        return false;
    }
    int64_t roll = config_number(view, KEY_log_roll_ms), jitter = config_number(view, KEY_log_roll_jitter_ms);
    if (config_text(view, KEY_log_roll_ms, NULL).data && roll < 1) {
        text_add(why, "log.roll.ms is %lld: allowed are numbers from 1 up", (long long)roll);
        return false;
    }
    if (config_text(view, KEY_log_roll_jitter_ms, NULL).data && jitter < 0) {
        text_add(why, "log.roll.jitter.ms is %lld: allowed are numbers from 0 up", (long long)jitter);
        return false;
    }
    int64_t room = config_number(view, KEY_log_cleaner_dedupe_buffer_size), threads = config_number(view, KEY_log_cleaner_threads);
    if (threads < 1) {
        text_add(why, "log.cleaner.threads is %lld: allowed are numbers from 1 up", (long long)threads);
        return false;
    }
    if (room / threads <= 1 << 20) {
        text_add(why, "log.cleaner.dedupe.buffer.size is %lld: each of log.cleaner.threads, which is %lld, needs more than 1048576", (long long)room, (long long)threads);
        return false;
    }
    return true;
}

static bool fit_connections(const struct config_view *view, struct text *why) {
    int64_t delay = config_number(view, KEY_connection_failed_authentication_delay_ms), idle = config_number(view, KEY_connections_max_idle_ms);
    if (idle >= 0 && delay >= idle) {
        text_add(why, "connection.failed.authentication.delay.ms is %lld: it must be below connections.max.idle.ms, which is %lld", (long long)delay, (long long)idle);
        return false;
    }
    int64_t queued = config_number(view, KEY_queued_max_request_bytes), most = config_number(view, KEY_socket_request_max_bytes);
    if (queued > 0 && queued < most) {
        text_add(why, "queued.max.request.bytes is %lld: allowed are numbers up to 0, for no bound, and from socket.request.max.bytes up, which is %lld", (long long)queued, (long long)most);
        return false;
    }
    if (config_number(view, KEY_max_connections_per_ip) == 0 && config_text(view, KEY_max_connections_per_ip_overrides, NULL).size == 0) {
        text_add(why, "max.connections.per.ip is 0: allowed only where max.connections.per.ip.overrides lets somebody in");
        return false;
    }
    return true;
}

static bool fit_coordinators(const struct config_view *view, struct text *why) {
    static const enum config_id codecs[] = {KEY_offsets_topic_compression_codec, KEY_share_coordinator_state_topic_compression_codec};
    for (size_t i = 0; i < countof(codecs); i++) {
        int64_t codec = config_number(view, codecs[i]);
        if (codec >= 0 && codec <= 4) continue;
        text_add(why, "%s is %lld: allowed are 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) and 4 (zstd)", config_key(codecs[i])->name, (long long)codec);
        return false;
    }
    struct span protocols = config_text(view, KEY_group_coordinator_rebalance_protocols, NULL);
    if (!config_list_contains(protocols, SPAN_LITERAL("classic"))) {
        text_add(why, "group.coordinator.rebalance.protocols is \"%.*s\": classic must be among them", (int)(protocols.size < 128 ? protocols.size : 128), (const char *)protocols.data);
        return false;
    }
    struct span tags = config_text(view, KEY_group_streams_rack_aware_assignment_tags, NULL);
    if (config_list_repeats(tags)) {
        text_add(why, "group.streams.rack.aware.assignment.tags is \"%.*s\": a tag is there twice", (int)(tags.size < 128 ? tags.size : 128), (const char *)tags.data);
        return false;
    }
    return true;
}

static bool is_log_dir(const struct config_view *view, struct span dir) {
    struct span dirs = config_text(view, KEY_log_dirs, NULL);
    return config_list_contains(dirs.data ? dirs : config_text(view, KEY_log_dir, NULL), dir);
}

bool config_fits_dirs(const struct config_view *view, struct span cordoned, struct text *why) {
    bool all = false;
    uint32_t count = 0;
    for (struct span rest = cordoned, one; config_list_next(&rest, &one); count++) {
        if (span_equal(one, SPAN_LITERAL("*"))) {
            all = true;
        } else if (!is_log_dir(view, one)) {
            text_add(why, "cordoned.log.dirs: %.*s is not one of log.dirs", (int)(one.size < 128 ? one.size : 128), (const char *)one.data);
            return false;
        }
    }
    if (all && count > 1) {
        text_add(why, "cordoned.log.dirs: * stands for all directories, nothing else may stand beside it");
        return false;
    }
    return true;
}

bool config_fits(const struct config_view *view, struct text *why) {
    return are_ordered(view, why) && fit_logs(view, why) && fit_connections(view, why) && fit_coordinators(view, why) &&
           config_fits_dirs(view, config_text(view, KEY_cordoned_log_dirs, NULL), why);
}
