/* cli/delete_records.c - kafka-delete-records.sh. */
#include "cli/admin.h"
#include "cli/columns.h"
#include "cli/tools.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { WAITS = INT16_MAX };

static bool read_rows(struct admin *admin, const json_t *root, struct partition_row **rows, int32_t *count) {
    const json_t *version = json_object_get(root, "version"), *list = json_object_get(root, "partitions"), *each;
    size_t i;
    if (version && json_integer_value(version) != 1) return admin_fail(admin, NULL, "Not supported version field value %lld", (long long)json_integer_value(version));
    if (!list) return admin_fail(admin, NULL, "Missing partitions field");
    *rows = ARENA_ARRAY(admin_memory(admin), json_array_size(list) + 1, struct partition_row);
    if (!*rows) return admin_fail_memory(admin);
    json_array_foreach(list, i, each) {
        const char *topic = json_string_value(json_object_get(each, "topic"));
        const json_t *partition = json_object_get(each, "partition"), *offset = json_object_get(each, "offset");
        if (!topic || !json_is_integer(partition) || !json_is_integer(offset) || json_integer_value(partition) > INT32_MAX || json_integer_value(partition) < INT32_MIN)
            return admin_fail(admin, NULL, "partitions[%zu]: topic (text), partition and offset (numbers) are wanted", i);
        (*rows)[(*count)++] = (struct partition_row){.topic = span_text(topic), .index = (int32_t)json_integer_value(partition), .offset = json_integer_value(offset)};
    }
    qsort(*rows, (size_t)*count, sizeof **rows, partition_compare);
    char twice[ADMIN_WHY_MAX / 2];
    struct text text;
    text_init(&text, twice, sizeof twice);
    for (int32_t k = 1; k < *count; k++)
        if (partition_compare(&(*rows)[k - 1], &(*rows)[k]) == 0 && (k < 2 || partition_compare(&(*rows)[k - 2], &(*rows)[k]) != 0))
            text_add(&text, text.size ? ",%.*s-%d" : "%.*s-%d", (int)(*rows)[k].topic.size, (const char *)(*rows)[k].topic.data, (*rows)[k].index);
    return text.size == 0 || admin_fail(admin, NULL, "Offset json file contains duplicate topic partitions: %s", twice);
}

/* Those of the rows that wait and that `leader` leads. What is answered for a row is kept in it. */
static bool delete_at(struct admin *admin, int32_t leader, struct partition_row *rows, int32_t count) {
    struct delete_records_request request;
    struct delete_records_response response;
    struct delete_records_request_delete_records_partition *places = delete_records_request_delete_records_partition_array(admin_memory(admin), count);
    delete_records_request_init(&request);
    request.timeout_ms = ADMIN_TIMEOUT_MS;
    request.topics = delete_records_request_delete_records_topic_array(admin_memory(admin), count);
    if (!places || !request.topics) return admin_fail_memory(admin);
    request.topics_count = 0;
    for (int32_t i = 0; i < count; i++) {
        if (rows[i].leader != leader || rows[i].error != WAITS) continue;
        if (request.topics_count == 0 || !span_equal(request.topics[request.topics_count - 1].name, rows[i].topic)) {
            request.topics[request.topics_count].name = rows[i].topic;
            request.topics[request.topics_count].partitions_count = 0;
            request.topics[request.topics_count++].partitions = places;
        }
        request.topics[request.topics_count - 1].partitions_count++;
        places->partition_index = rows[i].index;
        (places++)->offset = rows[i].offset;
    }
    if (!admin_call(admin, leader, API_DELETE_RECORDS, 0, "deleteRecords", &request, &response)) return false;
    for (int32_t t = 0; t < response.topics_count; t++)
        for (int32_t p = 0; p < response.topics[t].partitions_count; p++)
            for (int32_t i = 0; i < count; i++) {
                if (rows[i].index != response.topics[t].partitions[p].partition_index || rows[i].error != WAITS || !span_equal(rows[i].topic, response.topics[t].name)) continue;
                rows[i].error = response.topics[t].partitions[p].error_code;
                rows[i].timestamp = response.topics[t].partitions[p].low_watermark;
            }
    return true;
}

static bool delete_all(struct admin *admin, struct partition_row *rows, int32_t count) {
    for (int tries = 0;;) {
        int32_t again = -1;
        if (!admin_topics(admin, NULL, 0)) return false;
        for (int32_t i = 0; i < count; i++) {
            if (tries && rows[i].error != KAFKA_NOT_LEADER_OR_FOLLOWER && rows[i].error != KAFKA_LEADER_NOT_AVAILABLE) continue;
            admin_leaders(admin, &rows[i], 1);
            if (!rows[i].error) rows[i].error = WAITS;
        }
        for (int32_t i = 0; i < count; i++) {
            if (rows[i].error != WAITS) continue;
            if (!delete_at(admin, rows[i].leader, rows, count)) return false;
            if (rows[i].error == WAITS) rows[i].error = KAFKA_UNKNOWN_SERVER_ERROR;
        }
        for (int32_t i = 0; i < count; i++)
            if (rows[i].error == KAFKA_NOT_LEADER_OR_FOLLOWER || rows[i].error == KAFKA_LEADER_NOT_AVAILABLE) again = i;
        if (again < 0 || !admin_again(admin, rows[again].error, &tries)) return true;
    }
}

static bool run(struct admin *admin, const json_t *root) {
    struct partition_row *rows;
    int32_t count = 0;
    if (!read_rows(admin, root, &rows, &count)) return false;
    puts("Executing records delete operation");
    if (!delete_all(admin, rows, count)) return false;
    puts("Records delete operation completed:");
    for (int32_t i = 0; i < count; i++) {
        printf("partition: %.*s-%d\t", (int)rows[i].topic.size, (const char *)rows[i].topic.data, rows[i].index);
        if (admin_check(admin, rows[i].error, (struct span){0})) printf("low_watermark: %lld\n", (long long)rows[i].timestamp);
        else printf("error: %s\n", admin_cause(admin));
        admin_forgive(admin);
    }
    return true;
}

int delete_records_run(struct args *args) {
    static struct admin admin;
    static const char *const needed[] = {"bootstrap-server", "offset-json-file"};
    json_error_t error;
    for (size_t i = 0; i < countof(needed); i++)
        if (!args_has(args, needed[i])) return args_wrong(args, args->count ? "Missing required argument \"[%s]\"" : "This tool helps to delete records of the given partitions down to the specified offset.", needed[i]);
    const char *path = args_text(args, "offset-json-file");
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "Unable to read file %s\n", path);
        return 1;
    }
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    fclose(file);
    if (!root) {
        fprintf(stderr, "The input string is not a valid JSON\n");
        return 1;
    }
    int status = admin_end(&admin, admin_open(&admin, args) && run(&admin, root));
    json_decref(root);
    return status;
}
