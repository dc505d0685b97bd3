#include "console/page.h"
#include <stdio.h>
#include <string.h>

static struct span number(char text[24], int64_t value) {
    snprintf(text, 24, "%lld", (long long)value);
    return span_text(text);
}

static void write_node(struct metric_page *page, const struct scrape *scrape, const struct process_sample *process, time_ns took) {
    char bytes[256];
    struct text why;
    text_init(&why, bytes, sizeof bytes);
    int64_t state = scrape->control.is_stopping ? 6 : scrape->serves ? 3 : scrape->is_registered ? 2 : 1;
    metric_gauge(page, METRIC_build_info, LABELS(span_text(scrape->options->version), SPAN_LITERAL("4.4.0"), span_text(scrape->options->io)), 1);
    metric_gauge(page, METRIC_broker_state, NO_LABELS, state);
    metric_gauge(page, METRIC_ready, NO_LABELS, scrape_is_ready(scrape, &why));
    metric_real(page, METRIC_uptime, NO_LABELS, process->uptime_s);
    metric_seconds(page, METRIC_process_start, NO_LABELS, (uint64_t)(process->start_s * 100) * (NS_PER_S / 100));
    metric_real(page, METRIC_process_cpu, NO_LABELS, process->cpu_s);
    metric_count(page, METRIC_process_resident, NO_LABELS, process->resident_bytes);
    metric_count(page, METRIC_process_virtual, NO_LABELS, process->virtual_bytes);
    metric_count(page, METRIC_process_fds, NO_LABELS, process->fds);
    metric_count(page, METRIC_process_fds_max, NO_LABELS, process->fds_max);
    metric_count(page, METRIC_process_threads, NO_LABELS, process->threads);
    metric_seconds(page, METRIC_scrape_seconds, NO_LABELS, (uint64_t)took);
    metric_count(page, METRIC_left_out, LABELS(SPAN_LITERAL("topics")), scrape->topics_left_out);
    metric_count(page, METRIC_left_out, LABELS(SPAN_LITERAL("partitions")), scrape->partitions_left_out);
    metric_count(page, METRIC_left_out, LABELS(SPAN_LITERAL("groups")), scrape->groups_left_out);
    metric_count(page, METRIC_left_out, LABELS(SPAN_LITERAL("offsets")), scrape->offsets_left_out);
}

/* ---- requests. One metric after the other, each for all APIs that were asked for. */

#define EACH_API(counts, name) \
    for (const struct api_counts *counts = scrape->apis; counts < scrape->apis + API_COUNT; counts++) \
        if (counts->requests) \
            for (struct span name = span_text(wire_apis[counts - scrape->apis].name); name.data; name.data = NULL)

static void write_errors(struct metric_page *page, const struct scrape *scrape) {
    EACH_API(api, name)
        for (uint32_t slot = 0; slot < COUNTED_ERRORS; slot++)
            if (api->errors[slot]) metric_count(page, METRIC_request_errors, LABELS(name, span_text(kafka_error_name(counted_error(slot)))), api->errors[slot]);
}

static void write_requests(struct metric_page *page, const struct scrape *scrape) {
    EACH_API(api, name) metric_count(page, METRIC_requests, &name, api->requests);
    write_errors(page, scrape);
    EACH_API(api, name) metric_count(page, METRIC_request_bytes, &name, api->bytes_in);
    EACH_API(api, name) metric_count(page, METRIC_response_bytes, &name, api->bytes_out);
    EACH_API(api, name) metric_histogram(page, METRIC_request_seconds, &name, &api->total);
    EACH_API(api, name) {
        metric_seconds(page, METRIC_request_part_seconds, LABELS(name, SPAN_LITERAL("queue")), api->queue_ns);
        metric_seconds(page, METRIC_request_part_seconds, LABELS(name, SPAN_LITERAL("local")), api->local_ns);
        metric_seconds(page, METRIC_request_part_seconds, LABELS(name, SPAN_LITERAL("remote")), api->remote_ns);
        metric_seconds(page, METRIC_request_part_seconds, LABELS(name, SPAN_LITERAL("send")), api->send_ns);
    }
    metric_count(page, METRIC_requests_refused, NO_LABELS, scrape->refused);
}

static void write_connections(struct metric_page *page, const struct scrape *scrape) {
    static const char *const ends[] = {[CONN_END_PEER] = "peer", [CONN_END_ERROR] = "error", [CONN_END_FRAME_SIZE] = "frame_size", [CONN_END_SLOW] = "slow",
        [CONN_END_IDLE] = "idle", [CONN_END_MEMORY] = "memory", [CONN_END_OWNER] = "owner", [CONN_END_CROWDED] = "crowded", [CONN_END_STOP] = "stop"};
    for (uint32_t i = 0; i < scrape->listener_count; i++)
        metric_count(page, METRIC_connections, LABELS(span_text(scrape->listeners[i].name)), scrape->listeners[i].open);
    for (uint32_t i = 0; i < scrape->listener_count; i++)
        metric_count(page, METRIC_connections_created, LABELS(span_text(scrape->listeners[i].name)), scrape->listeners[i].opened);
    for (uint32_t i = 0; i < countof(ends); i++) metric_count(page, METRIC_connections_closed, LABELS(span_text(ends[i])), scrape->net.closed[i]);
    metric_count(page, METRIC_connections_refused, LABELS(SPAN_LITERAL("address")), scrape->control.refused_by_address);
    metric_count(page, METRIC_net_in, NO_LABELS, scrape->net.bytes_in);
    metric_count(page, METRIC_net_out, NO_LABELS, scrape->net.bytes_out);
    metric_count(page, METRIC_net_cold, NO_LABELS, scrape->net.cold_sends);
    metric_count(page, METRIC_fetch_sessions, NO_LABELS, scrape->fetch_sessions);
    metric_count(page, METRIC_fetch_evictions, NO_LABELS, scrape->fetch_evictions);
    metric_count(page, METRIC_waiting, NO_LABELS, scrape->waiting);
}

/* ---- topics and partitions */

static void write_topics(struct metric_page *page, const struct scrape *scrape) {
    static const struct { enum metric_id id; size_t at; } columns[] = {
        {METRIC_messages_in, offsetof(struct topic_counts, messages_in)}, {METRIC_bytes_in, offsetof(struct topic_counts, bytes_in)},
        {METRIC_bytes_out, offsetof(struct topic_counts, bytes_out)}, {METRIC_produce_parts, offsetof(struct topic_counts, produces)},
        {METRIC_fetch_parts, offsetof(struct topic_counts, fetches)}, {METRIC_produce_failed, offsetof(struct topic_counts, produces_failed)},
        {METRIC_fetch_failed, offsetof(struct topic_counts, fetches_failed)},
    };
    for (uint32_t c = 0; c < countof(columns); c++) {
        uint64_t value;
        memcpy(&value, (const char *)&scrape->topics_total + columns[c].at, sizeof value);
        metric_count(page, columns[c].id, LABELS(SPAN_LITERAL("")), value);
        for (uint32_t i = 0; i < scrape->topic_count; i++) {
            memcpy(&value, (const char *)&scrape->topics[i].counts + columns[c].at, sizeof value);
            metric_count(page, columns[c].id, LABELS(span_text(scrape->topics[i].name)), value);
        }
    }
}

#define EACH_PARTITION(sample, labels) \
    for (uint32_t i_ = 0; i_ < scrape->partition_count; i_++) \
        for (const struct partition_sample *sample = &scrape->partitions[i_]; sample; sample = NULL) \
            for (struct span labels[2] = {span_text(sample->topic), number(text, sample->index)}; labels[0].data; labels[0].data = NULL)

static void write_partitions(struct metric_page *page, const struct scrape *scrape) {
    char text[24];
    EACH_PARTITION(sample, labels) metric_count(page, METRIC_log_size, labels, sample->bytes);
    EACH_PARTITION(sample, labels) metric_count(page, METRIC_log_segments, labels, sample->segments);
    EACH_PARTITION(sample, labels) metric_gauge(page, METRIC_log_start, labels, sample->start);
    EACH_PARTITION(sample, labels) metric_gauge(page, METRIC_log_end, labels, sample->end);
    EACH_PARTITION(sample, labels) metric_gauge(page, METRIC_high_watermark, labels, sample->high_watermark);
}

/* ---- disk */

static void write_dirs(struct metric_page *page, const struct scrape *scrape) {
    uint64_t offline = 0;
    for (uint32_t i = 0; i < scrape->dir_count; i++) {
        offline += !scrape->dirs[i].is_online;
        metric_gauge(page, METRIC_log_dir_online, LABELS(span_text(scrape->dirs[i].path)), scrape->dirs[i].is_online);
    }
    for (uint32_t i = 0; i < scrape->dir_count; i++)
        metric_count(page, METRIC_log_dir_partitions, LABELS(span_text(scrape->dirs[i].path)), scrape->dirs[i].partitions);
    for (uint32_t i = 0; i < scrape->dir_count; i++)
        if (scrape->dirs[i].available != UINT64_MAX) metric_count(page, METRIC_log_dir_available, LABELS(span_text(scrape->dirs[i].path)), scrape->dirs[i].available);
    for (uint32_t i = 0; i < scrape->dir_count; i++)
        metric_count(page, METRIC_log_dir_reserve, LABELS(span_text(scrape->dirs[i].path)), scrape->dirs[i].reserve);
    metric_count(page, METRIC_log_dirs_offline, NO_LABELS, offline);
    metric_count(page, METRIC_partitions_here, NO_LABELS, scrape->partitions_here);
}

static void write_logs(struct metric_page *page, const struct log_metrics *log) {
    metric_count(page, METRIC_logs, LABELS(SPAN_LITERAL("all")), log->logs);
    metric_count(page, METRIC_logs, LABELS(SPAN_LITERAL("open")), log->logs_open);
    metric_count(page, METRIC_log_files, NO_LABELS, log->files_open);
    metric_count(page, METRIC_log_tail_bytes, NO_LABELS, log->tail_bytes);
    metric_count(page, METRIC_log_index_bytes, NO_LABELS, log->index_bytes);
    metric_count(page, METRIC_log_appends, NO_LABELS, log->appends);
    metric_count(page, METRIC_log_append_bytes, NO_LABELS, log->append_bytes);
    metric_count(page, METRIC_log_writes, NO_LABELS, log->writes);
    metric_count(page, METRIC_log_syncs, LABELS(SPAN_LITERAL("file")), log->syncs);
    metric_count(page, METRIC_log_syncs, LABELS(SPAN_LITERAL("filesystem")), log->syncs_fs);
    metric_histogram(page, METRIC_log_sync_seconds, NO_LABELS, &log->sync);
    metric_count(page, METRIC_log_rolls, NO_LABELS, log->rolls);
    metric_count(page, METRIC_log_segments_deleted, NO_LABELS, log->segments_deleted);
    metric_count(page, METRIC_log_reads, LABELS(SPAN_LITERAL("memory")), log->reads_memory);
    metric_count(page, METRIC_log_reads, LABELS(SPAN_LITERAL("file")), log->reads_file);
    metric_count(page, METRIC_log_reads, LABELS(SPAN_LITERAL("disk")), log->reads_cold);
    metric_count(page, METRIC_log_verified, NO_LABELS, log->reads_verified);
    metric_count(page, METRIC_log_corrupt, NO_LABELS, log->reads_corrupt);
    metric_count(page, METRIC_log_opens, NO_LABELS, log->opens);
    metric_count(page, METRIC_log_closes, NO_LABELS, log->closes);
    metric_count(page, METRIC_log_recoveries, NO_LABELS, log->recoveries);
    metric_count(page, METRIC_log_recovered_bytes, NO_LABELS, log->recovered_bytes);
    metric_count(page, METRIC_log_cut_bytes, NO_LABELS, log->cut_bytes);
    metric_count(page, METRIC_log_index_loads, NO_LABELS, log->index_loads);
    metric_count(page, METRIC_log_index_rebuilds, NO_LABELS, log->index_rebuilds);
    metric_count(page, METRIC_log_failures, NO_LABELS, log->failures);
    metric_count(page, METRIC_log_no_space, NO_LABELS, log->refused_no_space);
    metric_count(page, METRIC_log_moves, LABELS(SPAN_LITERAL("done")), log->moves);
    metric_count(page, METRIC_log_moves, LABELS(SPAN_LITERAL("failed")), log->moves_failed);
    metric_count(page, METRIC_cleanings, LABELS(SPAN_LITERAL("done")), log->cleanings);
    metric_count(page, METRIC_cleanings, LABELS(SPAN_LITERAL("failed")), log->cleanings_failed);
    metric_count(page, METRIC_cleaned_read, NO_LABELS, log->cleaned_bytes_read);
    metric_count(page, METRIC_cleaned_written, NO_LABELS, log->cleaned_bytes_written);
    metric_count(page, METRIC_cleaned_records, NO_LABELS, log->cleaned_records);
}

static void write_shards(struct metric_page *page, const struct scrape *scrape) {
    uint32_t count = shard_count(scrape->options->group);
    char text[24];
    for (uint32_t i = 0; i < count; i++) metric_count(page, METRIC_shard_turns, LABELS(number(text, i)), scrape->shards[i].times.turns);
    for (uint32_t i = 0; i < count; i++) metric_seconds(page, METRIC_shard_busy, LABELS(number(text, i)), scrape->shards[i].times.busy_ns);
    for (uint32_t i = 0; i < count; i++) metric_histogram(page, METRIC_shard_turn_seconds, LABELS(number(text, i)), &scrape->shards[i].times.turn);
    for (uint32_t i = 0; i < count; i++) metric_count(page, METRIC_memory_used, LABELS(number(text, i)), scrape->shards[i].memory_used);
    for (uint32_t i = 0; i < count; i++) metric_count(page, METRIC_memory_used_max, LABELS(number(text, i)), scrape->shards[i].memory_used_max);
    for (uint32_t i = 0; i < count; i++) metric_count(page, METRIC_memory_limit, LABELS(number(text, i)), scrape->shards[i].memory_limit);
}

#define EACH_LAG(item, labels) \
    for (uint32_t i_ = 0; i_ < scrape->lag_count; i_++) \
        for (const struct lag_item *item = &scrape->round.items[i_]; item; item = NULL) \
            for (struct span labels[3] = {span_text(scrape->groups[scrape->lags[i_].group].name), span_text(scrape->lags[i_].topic), number(text, item->partition)}; \
                 labels[0].data; labels[0].data = NULL)

static int64_t behind(const struct lag_item *item) {
    return item->committed < item->high_watermark ? item->high_watermark - item->committed : 0;
}

static void write_groups(struct metric_page *page, const struct scrape *scrape) {
    char text[24];
    for (uint32_t i = 0; i < scrape->state_count; i++)
        metric_count(page, METRIC_groups, LABELS(span_text(scrape->states[i].protocol), span_text(scrape->states[i].state)), scrape->states[i].groups);
    for (uint32_t i = 0; i < scrape->group_count; i++)
        metric_count(page, METRIC_group_members, LABELS(span_text(scrape->groups[i].name)), scrape->groups[i].members);
    EACH_LAG(item, labels) metric_gauge(page, METRIC_group_offset, labels, item->committed);
    EACH_LAG(item, labels)
        if (item->high_watermark >= 0) metric_gauge(page, METRIC_group_lag, labels, behind(item));
    EACH_LAG(item, labels) {
        if (item->high_watermark < 0 || (behind(item) > 0 && item->batch_ms < 0)) continue;
        int64_t age_ms = behind(item) > 0 && scrape->wall > item->batch_ms ? scrape->wall - item->batch_ms : 0;
        metric_real(page, METRIC_group_lag_seconds, labels, (double)age_ms / 1000);
    }
}

static void write_metadata(struct metric_page *page, const struct scrape *scrape) {
    const struct control_sample *control = &scrape->control;
    metric_gauge(page, METRIC_raft_leader, NO_LABELS, control->raft_leader);
    metric_gauge(page, METRIC_raft_epoch, NO_LABELS, control->raft_epoch);
    metric_gauge(page, METRIC_raft_high_watermark, NO_LABELS, control->raft_high_watermark);
    metric_gauge(page, METRIC_raft_end, NO_LABELS, control->raft_end);
    metric_gauge(page, METRIC_controller_active, NO_LABELS, control->controller_is_active);
    metric_gauge(page, METRIC_controller_applied, NO_LABELS, control->controller_applied);
    metric_gauge(page, METRIC_broker_applied, NO_LABELS, scrape->broker_applied);
    metric_count(page, METRIC_topics, NO_LABELS, scrape->topics_there);
    metric_count(page, METRIC_partitions, NO_LABELS, scrape->partitions_there);
    metric_count(page, METRIC_brokers_active, NO_LABELS, scrape->brokers_active);
    metric_count(page, METRIC_brokers_fenced, NO_LABELS, scrape->brokers_fenced);
}

void page_write(struct metric_page *page, const struct scrape *scrape, const struct process_sample *process, time_ns took) {
    write_node(page, scrape, process, took);
    write_requests(page, scrape);
    write_connections(page, scrape);
    write_topics(page, scrape);
    write_partitions(page, scrape);
    write_dirs(page, scrape);
    write_logs(page, &scrape->log);
    write_shards(page, scrape);
    write_groups(page, scrape);
    write_metadata(page, scrape);
    metric_count(page, METRIC_telemetry_pushes, NO_LABELS, scrape->telemetry_pushes);
    metric_count(page, METRIC_telemetry_bytes, NO_LABELS, scrape->telemetry_bytes);
    metric_count(page, METRIC_telemetry_metrics, NO_LABELS, scrape->telemetry_metrics);
    metric_count(page, METRIC_telemetry_points, NO_LABELS, scrape->telemetry_points);
    metric_count(page, METRIC_telemetry_unreadable, NO_LABELS, scrape->telemetry_unreadable);
}
