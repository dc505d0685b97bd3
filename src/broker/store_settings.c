#include "broker/broker.h"

enum { RETENTION_FIRST_MS = 30000 };

/* Kafka's defaults are the largest numbers there are; the store says 0 to that. */
static uint64_t rate_of(double bytes_per_second) {
    return bytes_per_second >= 1e15 ? 0 : bytes_per_second < 1 ? 1 : (uint64_t)bytes_per_second;
}

void store_settings_read(struct log_store_options *out, const struct config_view *view, uint32_t shards, uint32_t dirs) {
    uint64_t opens = (uint64_t)config_number(view, KEY_num_recovery_threads_per_data_dir) * dirs / shards;
    out->recovery_checkpoint_ms = config_number(view, KEY_log_flush_offset_checkpoint_interval_ms);
    out->high_watermark_ms = config_number(view, KEY_replica_high_watermark_checkpoint_interval_ms);
    out->retention_check_ms = config_number(view, KEY_log_retention_check_interval_ms);
    out->retention_first_ms = out->retention_check_ms < RETENTION_FIRST_MS ? out->retention_check_ms : RETENTION_FIRST_MS;
    out->delete_delay_ms = config_number(view, KEY_log_segment_delete_delay_ms);
    out->producer_expiration_ms = config_number(view, KEY_producer_id_expiration_ms);
    out->producer_check_ms = config_number(view, KEY_producer_id_expiration_check_interval_ms);
    out->background_opens_max = opens < 1 ? 1 : opens > 1024 ? 1024 : (uint32_t)opens;
    out->cleaner_off = !config_flag(view, KEY_log_cleaner_enable);
    out->cleaner_threads = (uint32_t)config_number(view, KEY_log_cleaner_threads);
    out->cleaner_backoff_ms = config_number(view, KEY_log_cleaner_backoff_ms);
    out->cleaner_dedupe_bytes = (uint64_t)config_number(view, KEY_log_cleaner_dedupe_buffer_size);
    out->cleaner_load_factor = config_real(view, KEY_log_cleaner_io_buffer_load_factor);
    out->move_bytes_per_second = rate_of((double)config_number(view, KEY_replica_alter_log_dirs_io_max_bytes_per_second));
    out->cleaner_bytes_per_second = rate_of(config_real(view, KEY_log_cleaner_io_max_bytes_per_second));
}
