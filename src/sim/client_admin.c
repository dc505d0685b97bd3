/* sim/client_admin.c - the admin: the topic first; others now and then; at the end every one is looked for. */
#include "sim/client.h"
#include <stdio.h>
#include <string.h>

static void admin_created(struct client *client, enum err err, const void *answer) {
    const struct create_topics_response *response = answer;
    struct clients *all = client->all;
    if (err == ERR_NONE && response->topics_count == 1) {
        enum kafka_error error = (enum kafka_error)response->topics[0].error_code;
        if (error == KAFKA_NONE || error == KAFKA_TOPIC_ALREADY_EXISTS) {
            client->done++;
            if (!client->admin.exists) client->admin.exists = all->topic_exists = true;
            else {
                history_topic_created(all->history, client->admin.topic);
                clients_acknowledged(all, CLIENT_CREATED);
                client->admin.topic = UINT32_MAX;
            }
        } else {
            client_note_error(client, error);
            client_unexpected(client, error);
        }
    }
    client_later(client, client->admin.exists ? 200 + client_backoff(client) * 3 : client_backoff(client), admin_next);
}

static void admin_found(struct client *client, enum err err, const void *answer) {
    const struct metadata_response *response = answer;
    struct clients *all = client->all;
    if (err == ERR_NONE && response->topics_count == 1) {
        enum kafka_error error = (enum kafka_error)response->topics[0].error_code;
        bool there = error == KAFKA_NONE && response->topics[0].partitions_count == TOPIC_PARTITIONS;
        if (there) {
            client->done++;
            client->admin.verify_next++;
        } else {
            client_note_error(client, error);
            SIM_CHECK(all->sim, error != KAFKA_UNKNOWN_TOPIC_OR_PARTITION || response->brokers_count == 0, "M4",
                      "topic %u was created, and is not there any more", client->admin.verify_next);
        }
    }
    client_later(client, err ? client_backoff(client) : 1, admin_next);
}

static void admin_verify(struct client *client) {
    struct clients *all = client->all;
    while (client->admin.verify_next < history_topics(all->history) && !history_topic_must_exist(all->history, client->admin.verify_next))
        client->admin.verify_next++;
    if (client->admin.verify_next >= history_topics(all->history)) {
        client->admin.verified = true;
        return;
    }
    char name[32];
    int size = snprintf(name, sizeof name, "x%u", client->admin.verify_next);
    struct metadata_request request;
    metadata_request_init(&request);
    request.allow_auto_topic_creation = false;
    request.topics = metadata_request_metadata_request_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = span_of(arena_copy(&client->arena, name, (size_t)size), (size_t)size);
    client_call(client, API_METADATA, 4, 12, &request, 3000, admin_found);
}

static void admin_deleted(struct client *client, enum err err, const void *answer) {
    const struct delete_records_response *response = answer;
    struct clients *all = client->all;
    if (err == ERR_NONE && response->topics_count == 1 && response->topics[0].partitions_count == 1) {
        enum kafka_error error = (enum kafka_error)response->topics[0].partitions[0].error_code;
        client_note_error(client, error);
        client_unexpected(client, error);
        if (!error) {
            history_deleted(all->history, client->admin.deletes_of, response->topics[0].partitions[0].low_watermark);
            clients_acknowledged(all, CLIENT_DELETED);
            client->done++;
        }
    }
    client_later(client, client_backoff(client), admin_next);
}

/* Sometimes just what is deletable; then whole segments go, too. */
static void admin_delete(struct client *client) {
    struct clients *all = client->all;
    uint32_t partition = client->admin.deletes_of = (uint32_t)random_below(&all->random, all->options.partitions);
    int64_t most = history_deletable(all->history, partition);
    struct delete_records_request request;
    delete_records_request_init(&request);
    request.timeout_ms = 2000;
    request.topics = delete_records_request_delete_records_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = TOPIC;
    request.topics[0].partitions = delete_records_request_delete_records_partition_array(&client->arena, 1);
    request.topics[0].partitions_count = 1;
    request.topics[0].partitions[0].partition_index = (int32_t)partition;
    request.topics[0].partitions[0].offset = random_chance(&all->random, 1, 3) ? most : (int64_t)random_below(&all->random, (uint64_t)most + 1);
    history_delete_attempt(all->history, partition, request.topics[0].partitions[0].offset);
    client_call(client, API_DELETE_RECORDS, 0, 2, &request, 3000, admin_deleted);
}

void admin_next(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (all->verifying) {
        admin_verify(client);
        return;
    }
    if (client->admin.exists && all->options.deletes_records && random_chance(&all->random, 1, 2)) {
        admin_delete(client);
        return;
    }
    char name[32] = "t";
    int32_t partitions = (int32_t)all->options.partitions;
    if (client->admin.exists) {
        if (client->admin.topic == UINT32_MAX) client->admin.topic = history_topic_new(all->history);
        if (client->admin.topic == UINT32_MAX || !all->options.creates_topics) {
            client->done++; /* nothing to do is done */
            client_later(client, 1000, admin_next);
            return;
        }
        snprintf(name, sizeof name, "x%u", client->admin.topic);
        partitions = TOPIC_PARTITIONS;
    }
    struct create_topics_request request;
    create_topics_request_init(&request);
    request.timeout_ms = 2000;
    request.topics = create_topics_request_creatable_topic_array(&client->arena, 1);
    request.topics_count = 1;
    request.topics[0].name = span_of(arena_copy(&client->arena, name, strlen(name)), strlen(name));
    request.topics[0].num_partitions = partitions;
    request.topics[0].replication_factor = 1;
    client_call(client, API_CREATE_TOPICS, 4, 7, &request, 3000, admin_created);
}
