#include "broker/counts.h"
#include "broker/dispatch.h"
#include "wire/codec.h"
#include "test.h"
#include <string.h>

static uint64_t errors_of(const struct api_counts *counts, int16_t code) { return counts->errors[code + 1]; }

/* The error codes of an answer are counted wherever they lie, each field once: here two partitions of one topic and one of
 * another; in an array that is null there are none. */
TEST(counts_errors_of_partitions) {
    struct produce_response_partition_produce_response partitions[3];
    struct produce_response_topic_produce_response topics[2];
    struct produce_response response;
    struct api_counts counts = {0};
    produce_response_init(&response);
    for (int i = 0; i < 3; i++) produce_response_partition_produce_response_init(&partitions[i]);
    for (int i = 0; i < 2; i++) produce_response_topic_produce_response_init(&topics[i]);
    partitions[1].error_code = KAFKA_NOT_LEADER_OR_FOLLOWER;
    partitions[2].error_code = KAFKA_UNKNOWN_SERVER_ERROR;
    topics[0].partition_responses = partitions;
    topics[0].partition_responses_count = 2;
    topics[1].partition_responses = &partitions[2];
    topics[1].partition_responses_count = 1;
    response.responses = topics;
    response.responses_count = 2;
    for (int times = 1; times <= 2; times++) {
        count_errors(&counts, wire_api(0), &response);
        assert_int_equal(errors_of(&counts, KAFKA_NONE), times);
        assert_int_equal(errors_of(&counts, KAFKA_NOT_LEADER_OR_FOLLOWER), times);
        assert_int_equal(errors_of(&counts, KAFKA_UNKNOWN_SERVER_ERROR), times);
    }
    response.responses_count = -1;
    response.responses = NULL;
    count_errors(&counts, wire_api(0), &response);
    assert_int_equal(errors_of(&counts, KAFKA_NONE), 2);
}

/* A code of the answer itself, and one that Kafka does not have, which counts as the unknown error. */
TEST(counts_errors_of_the_answer) {
    struct heartbeat_response response;
    struct api_counts counts = {0};
    heartbeat_response_init(&response);
    count_errors(&counts, wire_api(12), &response);
    response.error_code = 25;
    count_errors(&counts, wire_api(12), &response);
    response.error_code = 30000;
    count_errors(&counts, wire_api(12), &response);
    assert_int_equal(errors_of(&counts, KAFKA_NONE), 1);
    assert_int_equal(errors_of(&counts, 25), 1);
    assert_int_equal(errors_of(&counts, KAFKA_UNKNOWN_SERVER_ERROR), 1);
}

static uint32_t codes_in(const struct wire_struct *of) {
    uint32_t codes = 0;
    for (uint32_t i = 0; i < (uint32_t)of->field_count + of->tagged_count; i++) {
        const struct wire_field *field = &of->fields[i];
        if (strcmp(field->name, "ErrorCode") == 0) codes++;
        if (field->of) codes += codes_in(field->of);
    }
    return codes;
}

/* Of every API that is served, an answer at its defaults is counted without harm; where the answer itself has a code, that
 * is one NONE. */
TEST(counts_errors_of_every_api) {
    for (int side = 0; side < 2; side++) {
        uint32_t count;
        const struct api_row *rows = api_rows(side, &count);
        for (uint32_t i = 0; i < count; i++) {
            const struct wire_api *api = wire_api(rows[i].key);
            static _Alignas(16) uint8_t response[4096];
            struct api_counts counts = {0};
            assert_true(api->response->body->size <= sizeof response);
            wire_init(api->response->body, response);
            count_errors(&counts, api, response);
            uint32_t own = 0;
            for (uint32_t f = 0; f < api->response->body->field_count; f++) own += strcmp(api->response->body->fields[f].name, "ErrorCode") == 0;
            assert_true(errors_of(&counts, KAFKA_NONE) >= own);
            assert_true(errors_of(&counts, KAFKA_NONE) <= codes_in(api->response->body));
        }
    }
}
