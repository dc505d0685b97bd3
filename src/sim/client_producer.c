/* sim/client_producer.c - producers: one batch at a time, sent again until it is acknowledged. */
#include "sim/client.h"
#include "wire/batch.h"
#include <string.h>

enum { BATCH_BYTES_MAX = 1 << 20 };

static void producer_abandon(struct client *client) {
    slab_drop(client->producer.batch);
    client->producer.batch = NULL;
}

static void producer_has_id(struct client *client, enum err err, const void *answer) {
    const struct init_producer_id_response *response = answer;
    if (err == ERR_NONE && response->error_code == KAFKA_NONE) {
        client->producer.id = response->producer_id;
        client->producer.epoch = response->producer_epoch;
        memset(client->producer.sequences, 0, sizeof client->producer.sequences);
        client_later(client, 0, producer_next);
        return;
    }
    if (err == ERR_NONE) {
        client_note_error(client, (enum kafka_error)response->error_code);
        client_unexpected(client, (enum kafka_error)response->error_code);
    }
    client_later(client, client_backoff(client), producer_next);
}

static void producer_make_batch(struct client *client) {
    struct clients *all = client->all;
    struct batch_options options;
    struct batch_builder builder;
    uint32_t partition = (uint32_t)random_below(&all->random, all->options.partitions);
    client->producer.partition = partition;
    client->producer.count = 1 + (uint32_t)random_below(&all->random, all->options.batch_records_max);
    client->producer.first = history_take(all->history, client->number, partition, client->producer.count);
    batch_options_init(&options);
    options.producer_id = client->producer.id;
    options.producer_epoch = client->producer.epoch;
    options.base_sequence = client->producer.sequences[partition];
    batch_builder_init(&builder, all->shard->pool, BATCH_BYTES_MAX, &options);
    for (uint32_t i = 0; i < client->producer.count; i++) {
        uint8_t value[HISTORY_VALUE_BYTES];
        history_value(&(struct history_record){client->number, partition, client->producer.first + i}, value);
        enum err err = batch_builder_add(&builder, shard_wall(all->shard), SPAN_LITERAL("k"), span_of(value, sizeof value), NULL, 0);
        assert(err == ERR_NONE);
    }
    enum err err = batch_builder_finish(&builder, NULL, &client->producer.batch);
    assert(err == ERR_NONE);
    batch_builder_destroy(&builder);
}

static void producer_answered(struct client *client, enum err err, const void *answer) {
    const struct produce_response *response = answer;
    struct clients *all = client->all;
    if (err != ERR_NONE || response->responses_count != 1 || response->responses[0].partition_responses_count != 1) {
        client_later(client, client_backoff(client), producer_next);
        return;
    }
    const struct produce_response_partition_produce_response *part = &response->responses[0].partition_responses[0];
    enum kafka_error error = (enum kafka_error)part->error_code;
    sim_say(all->sim, client->number, "  producer %lld epoch %d partition %u sequence %d, %u from %llu: error %d, offset %lld", (long long)client->producer.id,
            client->producer.epoch, client->producer.partition, client->producer.sequences[client->producer.partition], client->producer.count,
            (unsigned long long)client->producer.first, error, (long long)part->base_offset);
    if (error == KAFKA_NONE || error == KAFKA_DUPLICATE_SEQUENCE_NUMBER) {
        if (error == KAFKA_NONE && part->base_offset >= 0)
            history_acknowledged(all->history, client->producer.partition, part->base_offset, client->number, client->producer.first, client->producer.count);
        clients_acknowledged(all, CLIENT_PRODUCED);
        client->done++;
        client->producer.sequences[client->producer.partition] = sequence_add(client->producer.sequences[client->producer.partition], (int32_t)client->producer.count);
        producer_abandon(client);
        client_later(client, (time_ms)random_below(&all->random, 30), producer_next);
        return;
    }
    client_note_error(client, error);
    if (!client_may_retry(error) && !all->options.durable) { /* the log has forgotten us: begin anew, with other numbers */
        producer_abandon(client);
        client->producer.id = -1;
    } else {
        client_unexpected(client, error);
    }
    client_later(client, client_backoff(client), producer_next);
}

void producer_next(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (!all->topic_exists) {
        client_later(client, 100, producer_next);
        return;
    }
    if (client->producer.id < 0) {
        struct init_producer_id_request request;
        init_producer_id_request_init(&request);
        request.transactional_id = (struct span){0};
        request.transaction_timeout_ms = 60000;
        client_call(client, API_INIT_PRODUCER_ID, 0, 4, &request, 2000, producer_has_id);
        return;
    }
    if (!client->producer.batch && all->verifying) {
        client->producer.stop = true;
        return;
    }
    if (!client->producer.batch) producer_make_batch(client);
    struct produce_request request;
    produce_request_init(&request);
    request.acks = random_chance(&all->random, 3, 4) ? -1 : 1;
    request.timeout_ms = 1500;
    request.topic_data = produce_request_topic_produce_data_array(&client->arena, 1);
    request.topic_data_count = 1;
    request.topic_data[0].name = TOPIC;
    request.topic_data[0].partition_data = produce_request_partition_produce_data_array(&client->arena, 1);
    request.topic_data[0].partition_data_count = 1;
    request.topic_data[0].partition_data[0].index = (int32_t)client->producer.partition;
    request.topic_data[0].partition_data[0].records.bytes = span_of(client->producer.batch->bytes, client->producer.batch->used);
    client_call(client, API_PRODUCE, 3, 12, &request, 3000, producer_answered);
}
