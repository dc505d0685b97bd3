/* sim/client_consumer.c - consumers: every partition, from the beginning, over and over. */
#include "sim/client.h"
#include "wire/batch.h"
#include <string.h>

static void consumer_take(struct client *client, uint32_t partition, struct span bytes) {
    struct clients *all = client->all;
    int64_t *position = &client->consumer.positions[partition];
    struct batch batch;
    struct record record;
    while (bytes.size && batch_next(&bytes, &batch) == ERR_NONE && !sim_has_failed(all->sim)) {
        SIM_CHECK(all->sim, batch_crc_is_good(&batch), "L3", "partition %u: the CRC of batch %lld is wrong", partition, (long long)batch.base_offset);
        SIM_CHECK(all->sim, batch_last_offset(&batch) >= *position && batch.base_offset <= *position, "L1", "partition %u: a batch %lld..%lld for position %lld",
                  partition, (long long)batch.base_offset, (long long)batch_last_offset(&batch), (long long)*position);
        struct batch_records records;
        struct record_cursor cursor;
        struct unpack_limits limits = {0};
        if (sim_has_failed(all->sim) || batch_records_open(&batch, NULL, &limits, &records)) return;
        record_cursor_init(&cursor, &batch, records.bytes);
        while (record_next(&cursor, &record) == ERR_NONE) {
            struct history_record seen;
            bool ours = history_value_parse(record.value.data, record.value.size, &seen);
            SIM_CHECK(all->sim, ours, "L5", "partition %u offset %lld: nothing that anybody wrote", partition, (long long)record.offset);
            if (record.offset >= *position && ours) history_seen(all->history, partition, record.offset, &seen);
        }
        batch_records_close(&records);
        *position = batch_next_offset(&batch);
        client->done++;
    }
}

static void consumer_answered(struct client *client, enum err err, const void *answer) {
    const struct fetch_response *response = answer;
    struct clients *all = client->all;
    for (int32_t t = 0; err == ERR_NONE && t < response->responses_count; t++)
        for (int32_t p = 0; p < response->responses[t].partitions_count && !sim_has_failed(all->sim); p++) {
            const struct fetch_response_partition_data *part = &response->responses[t].partitions[p];
            uint32_t partition = (uint32_t)part->partition_index;
            if (partition >= all->options.partitions) continue;
            if (part->error_code == KAFKA_OFFSET_OUT_OF_RANGE && client->consumer.positions[partition] < history_start_most(all->history, partition)) {
                client->consumer.positions[partition] = history_start_most(all->history, partition);
                continue;
            }
            if (part->error_code == KAFKA_OFFSET_OUT_OF_RANGE) {
                SIM_CHECK(all->sim, !all->options.durable, "L4", "partition %u: position %lld was reached, and is out of range now", partition,
                          (long long)client->consumer.positions[partition]);
                client->consumer.positions[partition] = 0;
                continue;
            }
            if (part->error_code) {
                client_note_error(client, (enum kafka_error)part->error_code);
                client_unexpected(client, (enum kafka_error)part->error_code);
                continue;
            }
            if (part->log_start_offset >= 0) history_start_told(all->history, partition, part->log_start_offset, client->consumer.starts[partition]);
            SIM_CHECK(all->sim, part->records.bytes.size == 0 || client->consumer.positions[partition] >= client->consumer.starts[partition], "L4",
                      "partition %u: records at %lld are shown, those before %lld were deleted", partition,
                      (long long)client->consumer.positions[partition], (long long)client->consumer.starts[partition]);
            consumer_take(client, partition, part->records.bytes);
            int64_t position = client->consumer.positions[partition];
            SIM_CHECK(all->sim, position <= part->high_watermark || !all->options.durable, "L4", "partition %u: read up to %lld, the high watermark is %lld", partition,
                      (long long)position, (long long)part->high_watermark);
            if (position < part->high_watermark || !client->consumer.verifying) continue;
            if (!(client->consumer.verified >> partition & 1)) history_read_to_end(all->history, partition, history_start_most(all->history, partition), position);
            client->consumer.verified |= UINT64_C(1) << partition;
        }
    client_later(client, err ? client_backoff(client) : (time_ms)random_below(&all->random, 20), consumer_next);
}

void consumer_next(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (!all->topic_exists) {
        client_later(client, 100, consumer_next);
        return;
    }
    /* Not before the last acknowledgement: else one could arrive from past the end that was read. */
    bool writing = false;
    for (uint32_t i = 0; i < all->count; i++) writing |= all->clients[i].kind == CLIENT_PRODUCER && !all->clients[i].producer.stop;
    if (all->verifying && !writing && client->number == 0 && !client->consumer.verifying) {
        client->consumer.verifying = true;
        memset(client->consumer.positions, 0, sizeof client->consumer.positions);
    }
    struct fetch_request request;
    fetch_request_init(&request);
    request.max_wait_ms = 100 + (int32_t)random_below(&all->random, 400);
    request.min_bytes = 1;
    request.max_bytes = 1 + (int32_t)random_below(&all->random, 100000);
    request.topics = fetch_request_fetch_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].topic = TOPIC;
    request.topics[0].partitions = fetch_request_fetch_partition_array(&client->arena, (int32_t)all->options.partitions);
    request.topics[0].partitions_count = (int32_t)all->options.partitions;
    for (uint32_t p = 0; p < all->options.partitions; p++) {
        request.topics[0].partitions[p].partition = (int32_t)p;
        request.topics[0].partitions[p].fetch_offset = client->consumer.positions[p];
        client->consumer.starts[p] = history_start_least(all->history, p);
        request.topics[0].partitions[p].partition_max_bytes = 1 + (int32_t)random_below(&all->random, 30000);
    }
    client_call(client, API_FETCH, 4, 12, &request, 3000, consumer_answered);
}
