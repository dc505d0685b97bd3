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

/* ---- Moves between directories, also of what groups have committed */
static void admin_moved(struct client *client, enum err err, const void *answer) {
    const struct alter_replica_log_dirs_response *response = answer;
    for (int32_t t = 0; err == ERR_NONE && t < response->results_count; t++) {
        enum kafka_error error = (enum kafka_error)response->results[t].partitions[0].error_code;
        client_note_error(client, error);
        /* It moves elsewhere just now; or the offsets' topic is not there yet. */
        if (error != KAFKA_REASSIGNMENT_IN_PROGRESS) client_unexpected(client, error);
        client->done += error == KAFKA_NONE;
    }
    client_later(client, client_backoff(client), admin_next);
}

static void admin_move(struct client *client) {
    struct clients *all = client->all;
    bool offsets = random_chance(&all->random, 1, 4);
    const char *dir = all->options.dirs[random_below(&all->random, all->options.dir_count)];
    struct alter_replica_log_dirs_request request;
    alter_replica_log_dirs_request_init(&request);
    request.dirs = alter_replica_log_dirs_request_alter_replica_log_dir_array(&client->arena, 1);
    request.dirs_count = 1;
    request.dirs[0].path = span_of(dir, strlen(dir));
    request.dirs[0].topics = alter_replica_log_dirs_request_alter_replica_log_dir_topic_array(&client->arena, 1);
    request.dirs[0].topics_count = 1;
    request.dirs[0].topics[0].name = offsets ? SPAN_LITERAL("__consumer_offsets") : TOPIC;
    int32_t *partition = ARENA_ARRAY(&client->arena, 1, int32_t);
    assert(partition);
    *partition = offsets ? 0 : (int32_t)random_below(&all->random, all->options.partitions);
    request.dirs[0].topics[0].partitions = partition;
    request.dirs[0].topics[0].partitions_count = 1;
    client_call(client, API_ALTER_REPLICA_LOG_DIRS, 1, 2, &request, 3000, admin_moved);
}

/* At the end: every partition of the topic is told once, and none is on its way any more. */
static void admin_described(struct client *client, enum err err, const void *answer) {
    const struct describe_log_dirs_response *response = answer;
    struct clients *all = client->all;
    uint32_t counts[HISTORY_PARTITIONS_MAX] = {0}, futures = 0;
    for (int32_t d = 0; err == ERR_NONE && d < response->results_count; d++) {
        const struct describe_log_dirs_response_describe_log_dirs_result *dir = &response->results[d];
        client_note_error(client, (enum kafka_error)dir->error_code);
        if (dir->error_code) err = ERR_IO; /* until a restart */
        for (int32_t t = 0; t < dir->topics_count; t++)
            for (int32_t p = 0; p < dir->topics[t].partitions_count; p++) {
                const struct describe_log_dirs_response_describe_log_dirs_partition *at = &dir->topics[t].partitions[p];
                futures += at->is_future_key;
                if (span_equal(dir->topics[t].name, TOPIC) && !at->is_future_key) counts[at->partition_index]++;
            }
    }
    for (uint32_t p = 0; err == ERR_NONE && p < all->options.partitions; p++)
        SIM_CHECK(all->sim, counts[p] == 1, "dir", "partition %u is told to be in %u directories", p, counts[p]);
    client->admin.rested = err == ERR_NONE && futures == 0;
    client_later(client, client->admin.rested ? 1 : client_backoff(client), admin_next);
}

static void admin_describe(struct client *client) {
    struct describe_log_dirs_request request;
    describe_log_dirs_request_init(&request);
    request.topics_count = -1;
    client_call(client, API_DESCRIBE_LOG_DIRS, 1, 4, &request, 3000, admin_described);
}

void admin_next(struct client *client) {
    struct clients *all = client->all;
    client_begin(client);
    if (all->verifying && all->options.dir_count > 1 && !client->admin.rested) {
        admin_describe(client);
        return;
    }
    if (all->verifying) {
        admin_verify(client);
        return;
    }
    if (client->admin.exists && all->options.dir_count > 1 && random_chance(&all->random, 1, 2)) {
        admin_move(client);
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
