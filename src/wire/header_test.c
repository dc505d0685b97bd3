#include "test.h"
#include "base/bytes.h"
#include "wire/errors.h"
#include "wire/header.h"
#include "wire/record_frame.h"
#include <string.h>

/* The table of APIs holds every key once, and what is peculiar about some. */
TEST(every_api_key_has_its_row) {
    int served = 0;
    for (int16_t key = 0; key < API_COUNT; key++) {
        const struct wire_api *api = wire_api(key);
        assert_int_equal(api->key, key);
        served += api->request != NULL;
        if (!api->request) continue;
        assert_int_equal(api->request->key, key);
        assert_int_equal(api->response->key, key);
        assert_int_equal(api->request->version_max, api->version_max);
        assert_true(api->on_broker || api->on_controller);
    }
    assert_int_equal(API_COUNT, 95);
    assert_int_equal(served, 91); /* four are left of the time of ZooKeeper */
    assert_null(wire_api(-1));
    assert_null(wire_api(API_COUNT));
    assert_int_equal(wire_api(API_PRODUCE)->advertised_min, 0);
    assert_int_equal(wire_api(API_PRODUCE)->version_min, 3);
    assert_true(wire_api(API_INIT_PRODUCER_ID)->is_unstable);
    assert_false(wire_api(API_FETCH)->is_unstable);
    assert_true(wire_api(API_VOTE)->on_controller && !wire_api(API_VOTE)->on_broker);
}

/* Headers follow the body's flexible versions; ApiVersions answers never do, and OffsetDelete has none. */
TEST(header_versions) {
    assert_int_equal(wire_request_header_version(wire_api(API_PRODUCE), 8), 1);
    assert_int_equal(wire_request_header_version(wire_api(API_PRODUCE), 9), 2);
    assert_int_equal(wire_response_header_version(wire_api(API_PRODUCE), 8), 0);
    assert_int_equal(wire_response_header_version(wire_api(API_PRODUCE), 9), 1);
    assert_int_equal(wire_request_header_version(wire_api(API_API_VERSIONS), 4), 2);
    assert_int_equal(wire_response_header_version(wire_api(API_API_VERSIONS), 4), 0);
    assert_int_equal(wire_request_header_version(wire_api(API_OFFSET_DELETE), 0), 1);
}

/* A request of a version or key that we do not know still tells both and its correlation id; less than that is no header. */
TEST(unknown_versions_can_be_answered) {
    struct pool pool;
    struct arena arena;
    struct request_header header;
    struct span rest;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    uint8_t frame[] = {0, 18, 0, 99, 0, 0, 0, 7, 0xde, 0xad};
    assert_int_equal(wire_request_header_decode(&header, span_of(frame, sizeof frame), &arena, &rest), ERR_UNSUPPORTED);
    assert_int_equal(header.request_api_key, 18);
    assert_int_equal(header.request_api_version, 99);
    assert_int_equal(header.correlation_id, 7);
    frame[1] = 4; /* a reserved key */
    assert_int_equal(wire_request_header_decode(&header, span_of(frame, sizeof frame), &arena, &rest), ERR_UNSUPPORTED);
    frame[0] = 0x80;
    assert_int_equal(wire_request_header_decode(&header, span_of(frame, sizeof frame), &arena, &rest), ERR_UNSUPPORTED);
    for (size_t size = 0; size < 8; size++)
        assert_int_equal(wire_request_header_decode(&header, span_of(frame, size), &arena, &rest), ERR_CORRUPT);
    uint8_t bad_client[] = {0, 18, 0, 0, 0, 0, 0, 7, 0, 9, 'x'};
    assert_int_equal(wire_request_header_decode(&header, span_of(bad_client, sizeof bad_client), &arena, &rest), ERR_CORRUPT);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Size, header and the first run of the body are one piece, and the size counts what follows it. */
TEST(frames_begin_with_their_size) {
    struct pool pool;
    struct arena arena;
    struct chain chain;
    struct request_header header;
    struct heartbeat_request request, again;
    struct span rest;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    chain_init(&chain, &arena);
    heartbeat_request_init(&request);
    request.group_id = SPAN_LITERAL("g");
    assert_true(wire_request_frame(wire_api(API_HEARTBEAT), 4, 77, SPAN_LITERAL("me"), &request, &chain));
    assert_int_equal(chain.count, 1);
    const uint8_t *bytes = chain.first->memory.data;
    assert_int_equal(load_be32(bytes), chain.bytes - 4);
    assert_int_equal(wire_request_header_decode(&header, span_of(bytes + 4, chain.bytes - 4), &arena, &rest), ERR_NONE);
    assert_int_equal(header.correlation_id, 77);
    assert_true(span_equal(header.client_id, SPAN_LITERAL("me")));
    assert_int_equal(heartbeat_request_decode(&again, 4, rest, &arena, NULL), ERR_NONE);
    assert_true(heartbeat_request_equal(&request, &again));
    assert_false(wire_request_frame(wire_api(API_HEARTBEAT), 5, 77, SPAN_LITERAL("me"), &request, &chain));
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Framed records that are not what they should be are told apart: unknown, or not framed at all. */
TEST(record_frames_are_checked) {
    struct wire_framed opened;
    const uint8_t good[] = {1, 2, 0, 5}, other_frame[] = {2, 2, 0}, no_type[] = {1, 0x7f, 0}, no_version[] = {1, 2, 9}, cut[] = {1, 2}, huge[] = {1, 2, 0x80, 0x80, 0x04};
    assert_int_equal(wire_metadata_open(WIRE_LOG_METADATA, span_of(good, sizeof good), &opened), ERR_NONE);
    assert_ptr_equal(opened.message, &topic_record_message);
    assert_int_equal(opened.body.size, 1);
    assert_int_equal(wire_metadata_open(WIRE_LOG_METADATA, span_of(other_frame, sizeof other_frame), &opened), ERR_UNSUPPORTED);
    assert_int_equal(wire_metadata_open(WIRE_LOG_METADATA, span_of(no_type, sizeof no_type), &opened), ERR_UNSUPPORTED);
    assert_int_equal(wire_metadata_open(WIRE_LOG_METADATA, span_of(no_version, sizeof no_version), &opened), ERR_UNSUPPORTED);
    assert_int_equal(wire_metadata_open(WIRE_LOG_METADATA, span_of(huge, sizeof huge), &opened), ERR_UNSUPPORTED);
    assert_int_equal(wire_metadata_open(WIRE_LOG_METADATA, span_of(cut, sizeof cut), &opened), ERR_CORRUPT);
    assert_int_equal(wire_metadata_open(WIRE_LOG_METADATA, span_of(NULL, 0), &opened), ERR_CORRUPT);

    const uint8_t key[] = {0, 2, 0, 1, 'g'}, unknown_key[] = {0, 99, 0}, value[] = {0, 9, 0};
    assert_int_equal(wire_coordinator_key_open(WIRE_LOG_GROUP, span_of(key, sizeof key), &opened), ERR_NONE);
    assert_ptr_equal(opened.message, &group_metadata_key_message);
    assert_int_equal(wire_coordinator_key_open(WIRE_LOG_GROUP, span_of(unknown_key, sizeof unknown_key), &opened), ERR_UNSUPPORTED);
    assert_int_equal(wire_coordinator_key_open(WIRE_LOG_TRANSACTION, span_of(key, sizeof key), &opened), ERR_UNSUPPORTED);
    assert_int_equal(wire_coordinator_key_open(WIRE_LOG_GROUP, span_of(key, 1), &opened), ERR_CORRUPT);
    assert_int_equal(wire_coordinator_value_open(WIRE_LOG_GROUP, GROUP_METADATA_VALUE_TYPE, span_of(value, sizeof value), &opened), ERR_UNSUPPORTED);
    assert_int_equal(wire_coordinator_value_open(WIRE_LOG_GROUP, GROUP_METADATA_VALUE_TYPE, span_of(value, 1), &opened), ERR_CORRUPT);
}

/* A subscription of a client newer than we are is read as the newest that we know, and what is behind that is skipped. */
TEST(newer_versions_are_read_as_the_newest) {
    struct pool pool;
    struct arena arena;
    struct wire_framed opened;
    struct consumer_protocol_subscription subscription, again;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    struct span topics[] = {SPAN_LITERAL("a"), SPAN_LITERAL("b")};
    consumer_protocol_subscription_init(&subscription);
    subscription.topics = topics, subscription.topics_count = 2;
    struct span framed = wire_versioned_frame(&consumer_protocol_subscription_message, 3, &subscription, &arena);
    uint8_t *newer = arena_alloc(&arena, framed.size + 2);
    memcpy(newer, framed.data, framed.size);
    store_be16(newer, 7);
    assert_int_equal(wire_versioned_open(&consumer_protocol_subscription_message, span_of(newer, framed.size + 2), &opened), ERR_NONE);
    assert_true(opened.is_newer && opened.version == 3);
    assert_int_equal(wire_framed_decode(&opened, &again, &arena), ERR_NONE);
    assert_true(consumer_protocol_subscription_equal(&subscription, &again));
    store_be16(newer, 0xffff);
    assert_int_equal(wire_versioned_open(&consumer_protocol_subscription_message, span_of(newer, framed.size + 2), &opened), ERR_UNSUPPORTED);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Names and retriability of Kafka's errors, at the ends of the list and outside of it. */
TEST(kafka_errors_have_names) {
    assert_string_equal(kafka_error_name(KAFKA_NONE), "NONE");
    assert_string_equal(kafka_error_name(-1), "UNKNOWN_SERVER_ERROR");
    assert_string_equal(kafka_error_name(KAFKA_NOT_LEADER_OR_FOLLOWER), "NOT_LEADER_OR_FOLLOWER");
    assert_string_equal(kafka_error_name(136), "CONTROLLER_ID_NOT_REGISTERED");
    assert_string_equal(kafka_error_name(137), "UNKNOWN");
    assert_string_equal(kafka_error_name(-2), "UNKNOWN");
    assert_true(kafka_error_is_retriable(KAFKA_NOT_LEADER_OR_FOLLOWER));
    assert_false(kafka_error_is_retriable(KAFKA_NONE));
    assert_int_equal(KAFKA_KAFKA_STORAGE_ERROR, 56);
}
