#include "cli/admin.h"
#include "cli/names.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES_MAX = 100, PAUSE_MS = 50, NOTICE_MS = 3000, NAME_MAX_BYTES = 96, CAUSE_MAX = 8400 };

bool admin_open(struct admin *admin, const struct args *args) {
    memset(admin, 0, sizeof *admin);
    admin->args = args;
    text_init(&admin->why, admin->why_bytes, sizeof admin->why_bytes);
    const char *bootstrap = args_text(args, "bootstrap-server"), *controllers = args_text(args, "bootstrap-controller");
    admin->at_controllers = !bootstrap && controllers;
    return session_open(&admin->session, bootstrap ? bootstrap : controllers, args_text(args, "command-config"), &admin->why);
}

void admin_close(struct admin *admin) { session_close(&admin->session); }

int admin_end(struct admin *admin, bool ok) {
    fflush(stdout);
    if (!ok && admin->why.size) fprintf(stderr, "%s\n", admin_cause(admin));
    admin_close(admin);
    return ok ? 0 : 1;
}

bool admin_fail(struct admin *admin, const char *exception, const char *format, ...) {
    char text[ADMIN_WHY_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_add(&admin->why, "%s", text);
    admin->exception = exception;
    return false;
}

bool admin_fail_memory(struct admin *admin) { return admin_fail(admin, NULL, "out of memory"); }

void admin_forgive(struct admin *admin) {
    text_reset(&admin->why);
    admin->exception = NULL;
    admin->code = 0;
}

const char *admin_cause(struct admin *admin) {
    static char cause[CAUSE_MAX];
    if (!admin->exception) return admin->why.bytes;
    snprintf(cause, sizeof cause, "org.apache.kafka.common.errors.%s: %s", admin->exception, admin->why.bytes);
    return cause;
}

/* Most are the error's name in another spelling. */
void exception_of_error(int16_t code, struct text *out) {
    static const struct { int16_t code; const char *name; } others[] = {
        {KAFKA_UNKNOWN_SERVER_ERROR, "UnknownServerException"}, {KAFKA_CORRUPT_MESSAGE, "CorruptRecordException"},
        {KAFKA_REQUEST_TIMED_OUT, "TimeoutException"}, {KAFKA_MESSAGE_TOO_LARGE, "RecordTooLargeException"},
        {KAFKA_STALE_CONTROLLER_EPOCH, "ControllerMovedException"}, {KAFKA_OFFSET_METADATA_TOO_LARGE, "OffsetMetadataTooLarge"},
        {KAFKA_NETWORK_EXCEPTION, "NetworkException"}, {KAFKA_INVALID_TOPIC_EXCEPTION, "InvalidTopicException"},
        {KAFKA_RECORD_LIST_TOO_LARGE, "RecordBatchTooLargeException"}, {KAFKA_TOPIC_ALREADY_EXISTS, "TopicExistsException"},
        {KAFKA_INVALID_CONFIG, "InvalidConfigurationException"}, {KAFKA_NON_EMPTY_GROUP, "GroupNotEmptyException"},
        {KAFKA_KAFKA_STORAGE_ERROR, "KafkaStorageException"}, {KAFKA_SASL_AUTHENTICATION_FAILED, "SaslAuthenticationException"},
        {KAFKA_FETCH_SESSION_ID_NOT_FOUND, "FetchSessionIdNotFoundException"}, {KAFKA_INVALID_PRODUCER_ID_MAPPING, "InvalidPidMappingException"},
        {KAFKA_INVALID_TRANSACTION_TIMEOUT, "InvalidTxnTimeoutException"}, {KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER, "OutOfOrderSequenceException"},
        {KAFKA_DUPLICATE_SEQUENCE_NUMBER, "DuplicateSequenceException"},
    };
    for (size_t i = 0; i < countof(others); i++)
        if (others[i].code == code) {
            text_add(out, "%s", others[i].name);
            return;
        }
    bool large = true;
    for (const char *at = kafka_error_name(code); *at; at++) {
        if (*at == '_') large = true;
        else {
            text_add(out, "%c", large ? *at : *at - 'A' + 'a');
            large = false;
        }
    }
    text_add(out, "Exception");
}

/* Whoever waits wants to know for what: once for each tool, when an answer takes long. */
struct notice { struct timer timer; const char *call; time_ms timeout_ms; };

static void notice_due(struct timer *timer) {
    static bool said;
    const struct notice *notice = container_of(timer, struct notice, timer);
    if (said) return;
    said = true;
    fprintf(stderr, "WARN No answer to %s yet. Waiting for it, at most %lld s in all.\n", notice->call, (long long)((notice->timeout_ms + 999) / 1000));
}

bool admin_call(struct admin *admin, int32_t node, int16_t api_key, int16_t version_max, const char *name, const void *request, void *response) {
    struct client_call call = {.broker = node, .api_key = api_key, .request = request, .response = response,
                               .arena = admin_memory(admin), .timeout_ms = admin->session.timeout_ms};
    if (version_max) {
        call.version_min = wire_api(api_key)->version_min;
        call.version_max = version_max;
    }
    struct shard *shard = shard_at(admin->session.group, 0);
    struct notice notice = {.call = name, .timeout_ms = admin->session.timeout_ms};
    bool noticed = timer_set(shard, &notice.timer, shard_now(shard) + NOTICE_MS * NS_PER_MS, notice_due);
    enum err err = client_wait(admin->session.client, &call);
    if (noticed) timer_cancel(shard, &notice.timer);
    if (!err) return true;
    if (err == ERR_TIMEOUT) return admin_fail(admin, "TimeoutException", "Timed out waiting for a node assignment. Call: %s", name);
    if (err == ERR_UNSUPPORTED) {
        admin->code = KAFKA_UNSUPPORTED_VERSION;
        struct text api;
        char api_bytes[NAME_MAX_BYTES];
        text_init(&api, api_bytes, sizeof api_bytes);
        for (const char *at = wire_api(api_key)->name; *at; at++) {
            if (isupper((unsigned char)*at) && api.size) text_add(&api, "_");
            text_add(&api, "%c", toupper((unsigned char)*at));
        }
        return admin_fail(admin, "UnsupportedVersionException", "The node does not support %s", api.bytes);
    }
    return admin_fail(admin, "NetworkException", "%s: %s", name, err_text(err));
}

bool admin_check(struct admin *admin, int16_t code, struct span message) {
    static char name[NAME_MAX_BYTES];
    struct text exception;
    if (code == KAFKA_NONE) return true;
    text_init(&exception, name, sizeof name);
    exception_of_error(code, &exception);
    admin->code = code;
    admin->exception = name;
    if (message.data && message.size) text_add_span(&admin->why, message);
    else text_add(&admin->why, "%s", names_of_error(code));
    return false;
}

bool admin_again(struct admin *admin, int16_t code, int *tries) {
    switch (code) {
    case KAFKA_NOT_CONTROLLER: case KAFKA_NOT_COORDINATOR: case KAFKA_COORDINATOR_NOT_AVAILABLE: case KAFKA_COORDINATOR_LOAD_IN_PROGRESS:
    case KAFKA_NOT_LEADER_OR_FOLLOWER: case KAFKA_LEADER_NOT_AVAILABLE: case KAFKA_OFFSET_NOT_AVAILABLE: break;
    default: return false;
    }
    if (++*tries > TRIES_MAX) return false;
    session_pause(&admin->session, PAUSE_MS);
    return true;
}

/* ---- topics and partitions -------------------------------------------------------------------------------------------------- */

bool admin_topics(struct admin *admin, const struct span *names, int32_t count) {
    struct metadata_request request;
    metadata_request_init(&request);
    request.allow_auto_topic_creation = false;
    request.topics_count = -1;
    if (names) {
        request.topics = metadata_request_metadata_request_topic_array(admin_memory(admin), count);
        if (!request.topics) return admin_fail_memory(admin);
        request.topics_count = count;
        for (int32_t i = 0; i < count; i++) request.topics[i].name = names[i];
    }
    return admin_call(admin, CLIENT_ANY, API_METADATA, 0, names ? "describeTopics" : "listTopics", &request, &admin->metadata);
}

const struct metadata_response_metadata_response_topic *admin_topic(const struct admin *admin, struct span name) {
    for (int32_t i = 0; i < admin->metadata.topics_count; i++)
        if (!admin->metadata.topics[i].error_code && span_equal(admin->metadata.topics[i].name, name)) return &admin->metadata.topics[i];
    return NULL;
}

const struct metadata_response_metadata_response_broker *admin_broker(const struct admin *admin, int32_t node) {
    for (int32_t i = 0; i < admin->metadata.brokers_count; i++)
        if (admin->metadata.brokers[i].node_id == node) return &admin->metadata.brokers[i];
    return NULL;
}

int partition_compare(const void *a, const void *b) {
    const struct partition_row *left = a, *right = b;
    int by_topic = span_compare(left->topic, right->topic);
    return by_topic ? by_topic : (left->index > right->index) - (left->index < right->index);
}

void admin_leaders(const struct admin *admin, struct partition_row *rows, int32_t count) {
    const struct metadata_response_metadata_response_topic *topic = NULL;
    for (int32_t i = 0; i < count; i++) {
        if (i == 0 || !span_equal(rows[i].topic, rows[i - 1].topic)) topic = admin_topic(admin, rows[i].topic);
        rows[i].leader = -1;
        rows[i].error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        for (int32_t k = 0; topic && k < topic->partitions_count; k++) {
            if (topic->partitions[k].partition_index != rows[i].index) continue;
            rows[i].leader = topic->partitions[k].leader_id;
            rows[i].error = rows[i].leader < 0 ? KAFKA_LEADER_NOT_AVAILABLE : KAFKA_NONE;
        }
    }
}

/* Rows that wait for an answer; not an error of Kafka's. */
enum { ROW_WAITS = INT16_MAX };

static struct partition_row *row_of(struct partition_row *rows, int32_t count, struct span topic, int32_t index) {
    for (int32_t i = 0; i < count; i++)
        if (rows[i].index == index && rows[i].error == ROW_WAITS && span_equal(rows[i].topic, topic)) return &rows[i];
    return NULL;
}

/* Those of the rows that `leader` leads, in one request. */
static bool offsets_of(struct admin *admin, int32_t leader, struct partition_row *rows, int32_t count, int64_t timestamp) {
    struct list_offsets_request request;
    struct list_offsets_response response;
    struct list_offsets_request_list_offsets_partition *places = list_offsets_request_list_offsets_partition_array(admin_memory(admin), count);
    list_offsets_request_init(&request);
    request.replica_id = -1;
    request.timeout_ms = (int32_t)admin->session.timeout_ms;
    request.topics = list_offsets_request_list_offsets_topic_array(admin_memory(admin), count);
    if (!request.topics || !places) return admin_fail_memory(admin);
    request.topics_count = 0;
    for (int32_t i = 0; i < count; i++) {
        if (rows[i].leader != leader || rows[i].error != ROW_WAITS) continue;
        struct list_offsets_request_list_offsets_topic *topic = request.topics_count ? &request.topics[request.topics_count - 1] : NULL;
        if (!topic || !span_equal(topic->name, rows[i].topic)) {
            topic = &request.topics[request.topics_count++];
            topic->name = rows[i].topic;
            topic->partitions = places;
            topic->partitions_count = 0;
        }
        places->partition_index = rows[i].index;
        places->timestamp = timestamp;
        topic->partitions_count++;
        places++;
    }
    if (!admin_call(admin, leader, API_LIST_OFFSETS, 0, "listOffsets", &request, &response)) return false;
    for (int32_t t = 0; t < response.topics_count; t++)
        for (int32_t p = 0; p < response.topics[t].partitions_count; p++) {
            const struct list_offsets_response_list_offsets_partition_response *answer = &response.topics[t].partitions[p];
            struct partition_row *row = row_of(rows, count, response.topics[t].name, answer->partition_index);
            if (!row) continue;
            row->error = answer->error_code;
            row->offset = answer->offset;
            row->timestamp = answer->timestamp;
        }
    return true;
}

bool admin_offsets(struct admin *admin, struct partition_row *rows, int32_t count, int64_t timestamp) {
    int tries = 0;
    if (count == 0) return true;
    struct span *names = ARENA_ARRAY(admin_memory(admin), count, struct span);
    if (!names) return admin_fail_memory(admin);
    qsort(rows, (size_t)count, sizeof *rows, partition_compare);
    for (;;) {
        int32_t topics = 0, again = -1;
        for (int32_t i = 0; i < count; i++)
            if (i == 0 || !span_equal(rows[i].topic, rows[i - 1].topic)) names[topics++] = rows[i].topic;
        if (!admin_topics(admin, names, topics)) return false;
        admin_leaders(admin, rows, count);
        for (int32_t i = 0; i < count; i++) {
            rows[i].offset = rows[i].timestamp = -1;
            if (!rows[i].error) rows[i].error = ROW_WAITS;
        }
        for (int32_t i = 0; i < count; i++) {
            if (rows[i].error != ROW_WAITS) continue;
            if (!offsets_of(admin, rows[i].leader, rows, count, timestamp)) return false;
            if (rows[i].error == ROW_WAITS) rows[i].error = KAFKA_UNKNOWN_SERVER_ERROR; /* not answered */
        }
        for (int32_t i = 0; i < count; i++)
            if (rows[i].error == KAFKA_NOT_LEADER_OR_FOLLOWER || rows[i].error == KAFKA_OFFSET_NOT_AVAILABLE) again = i;
        if (again < 0 || !admin_again(admin, rows[again].error, &tries)) return true;
    }
}

/* ---- coordinators -------------------------------------------------------------------------------------------------------------- */

bool admin_coordinator(struct admin *admin, struct span group, int32_t *node) {
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    int tries = 0;
    int16_t code;
    find_coordinator_request_init(&request);
    request.coordinator_keys = &group;
    request.coordinator_keys_count = 1;
    if (admin->metadata.brokers_count == 0 && !admin_topics(admin, &group, 0)) return false; /* so that it can be reached */
    do {
        if (!admin_call(admin, CLIENT_ANY, API_FIND_COORDINATOR, 0, "findCoordinator", &request, &response)) return false;
        code = response.coordinators_count == 1 ? response.coordinators[0].error_code : KAFKA_UNKNOWN_SERVER_ERROR;
    } while (admin_again(admin, code, &tries));
    if (!admin_check(admin, code, response.coordinators_count == 1 ? response.coordinators[0].error_message : (struct span){0})) return false;
    *node = response.coordinators[0].node_id;
    return true;
}

bool admin_call_coordinator(struct admin *admin, struct span group, int16_t api_key, int16_t version_max, const char *name, const void *request, void *response) {
    int32_t node;
    return admin_coordinator(admin, group, &node) && admin_call(admin, node, api_key, version_max, name, request, response);
}
