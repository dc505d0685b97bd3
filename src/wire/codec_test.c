#include "test.h"
#include "base/bytes.h"
#include "wire/api.h"
#include "wire/fill.h"
#include "wire/json.h"
#include "wire/records.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Everything there is, API messages first. */
static const struct wire_message *message_at(uint32_t i) {
    return i < wire_api_messages_count ? wire_api_messages[i] : wire_record_messages[i - wire_api_messages_count];
}
static uint32_t messages_count(void) { return wire_api_messages_count + wire_record_messages_count; }

static struct span encoded(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    struct chain chain;
    chain_init(&chain, arena);
    assert_true(wire_encode(message, version, value, &chain));
    uint8_t *bytes = arena_alloc(arena, chain.bytes + 1);
    assert_int_equal(chain_copy_out(&chain, bytes, chain.bytes), chain.bytes);
    return span_of(bytes, chain.bytes);
}

/* A fresh message is the default in every version: it encodes, decodes to itself, and nothing tagged is sent. */
TEST(every_message_has_defaults_in_every_version) {
    struct pool pool;
    pool_init(&pool, 0, 4);
    for (uint32_t i = 0; i < messages_count(); i++) {
        const struct wire_message *message = message_at(i);
        for (int16_t version = message->version_min; version <= message->version_max; version++) {
            struct arena arena;
            arena_init(&arena, &pool, 0);
            void *fresh = arena_alloc(&arena, message->body->size), *again = arena_alloc(&arena, message->body->size);
            wire_init(message->body, fresh);
            assert_true(wire_is_default(message->body, fresh));
            if (wire_size(message, version, fresh) == WIRE_NOT_ENCODABLE) {
                /* A field whose default is null while this old version has no null for it; Kafka refuses to send it, too. */
                struct chain chain;
                chain_init(&chain, &arena);
                assert_false(wire_encode(message, version, fresh, &chain));
                arena_destroy(&arena);
                continue;
            }
            struct span bytes = encoded(message, version, fresh, &arena);
            assert_int_equal(wire_size(message, version, fresh), bytes.size);
            assert_int_equal(wire_decode(message, version, again, bytes, &arena, NULL), ERR_NONE);
            assert_true(wire_equal(message->body, fresh, again));
            arena_destroy(&arena);
        }
    }
    pool_destroy(&pool);
}

/* Defaults inside of arrays, which no vector shows: a few of each kind, as Kafka's definitions have them. */
TEST(structs_inside_have_their_defaults) {
    struct fetch_request_fetch_partition partition;
    struct offset_fetch_response_offset_fetch_response_partitions offset;
    fetch_request_fetch_partition_init(&partition);
    assert_int_equal(partition.last_fetched_epoch, -1);
    assert_int_equal(partition.log_start_offset, -1);
    assert_int_equal(partition.fetch_offset, 0);
    assert_true(partition.high_watermark == INT64_MAX);
    offset_fetch_response_offset_fetch_response_partitions_init(&offset);
    assert_int_equal(offset.committed_leader_epoch, -1);
    assert_non_null(offset.metadata.data);
    assert_int_equal(offset.metadata.size, 0);
}

/* What is said is what is heard: random values of every message in every version come back equal, the size is foretold,
 * the JSON form says the same, and what is decoded encodes to the same bytes. */
TEST(random_messages_come_back_equal) {
    static const struct wire_fill limits = {.items_max = 3, .bytes_max = 20};
    static char memory[1 << 22];
    struct pool pool;
    struct random random;
    pool_init(&pool, 0, 4);
    random_seed(&random, 20260101);
    for (uint32_t i = 0; i < messages_count() * 4; i++) {
        const struct wire_message *message = message_at(i % messages_count());
        for (int16_t version = message->version_min; version <= message->version_max; version++) {
            struct arena arena;
            struct text text;
            arena_init(&arena, &pool, 0);
            void *value = arena_alloc(&arena, message->body->size), *again = arena_alloc(&arena, message->body->size);
            assert_true(wire_fill(message, version, &limits, &random, &arena, value));
            struct span bytes = encoded(message, version, value, &arena);
            assert_int_equal(wire_size(message, version, value), bytes.size);
            assert_int_equal(wire_decode(message, version, again, bytes, &arena, NULL), ERR_NONE);
            assert_true(wire_equal(message->body, value, again));
            assert_true(span_equal(bytes, encoded(message, version, again, &arena)));

            text_init(&text, memory, sizeof memory);
            wire_json_write(message, version, value, 0, &text);
            json_t *json = json_loads(memory, 0, NULL);
            assert_false(text.cut);
            assert_non_null(json);
            assert_int_equal(wire_json_read(message, version, json, again, &arena, NULL), ERR_NONE);
            assert_true(wire_equal(message->body, value, again));
            json_decref(json);
            arena_destroy(&arena);
        }
    }
    pool_destroy(&pool);
}

/* One changed byte makes another message or none: over random bytes the decoder never reads outside (a copy of exact size
 * lies behind the sanitizer's fence) and answers one of its errors. */
TEST(damaged_messages_are_refused_or_are_others) {
    static const struct wire_fill limits = {.items_max = 2, .bytes_max = 8};
    struct pool pool;
    struct random random;
    pool_init(&pool, 0, 4);
    random_seed(&random, 7);
    for (uint32_t i = 0; i < messages_count(); i++) {
        const struct wire_message *message = message_at(i);
        for (int16_t version = message->version_min; version <= message->version_max; version++) {
            struct arena arena;
            arena_init(&arena, &pool, 0);
            void *value = arena_alloc(&arena, message->body->size), *again = arena_alloc(&arena, message->body->size);
            assert_true(wire_fill(message, version, &limits, &random, &arena, value));
            struct span bytes = encoded(message, version, value, &arena);
            for (int round = 0; round < 40 && bytes.size; round++) {
                uint8_t *copy = malloc(bytes.size);
                memcpy(copy, bytes.data, bytes.size);
                copy[random_below(&random, bytes.size)] ^= (uint8_t)(1 + random_below(&random, 255));
                enum err err = wire_decode(message, version, again, span_of(copy, bytes.size), &arena, NULL);
                assert_true(err == ERR_NONE || err == ERR_CORRUPT || err == ERR_LIMIT);
                if (!err) assert_true(wire_size(message, version, again) != WIRE_NOT_ENCODABLE);
                free(copy);
            }
            arena_destroy(&arena);
        }
    }
    pool_destroy(&pool);
}

/* Over all structs, what one of their encodings at its smallest makes a decoder allocate stays within a constant times its bytes. */
TEST(memory_is_bounded_by_the_bytes_present) {
    for (uint32_t i = 0; i < messages_count(); i++) {
        const struct wire_message *message = message_at(i);
        for (int16_t version = message->version_min; version <= message->version_max; version++) {
            const struct wire_struct *of = message->body;
            for (uint16_t k = 0; k < of->field_count + of->tagged_count; k++) {
                const struct wire_field *field = &of->fields[k];
                if (field->type != WIRE_ARRAY || field->element != WIRE_STRUCT || !(field->versions >> version & 1)) continue;
                assert_true(field->of->bytes_min[version] > 0);
                assert_true(field->of->size <= (size_t)64 * field->of->bytes_min[version]);
            }
        }
    }
}

static uint8_t *put_uvarint(uint8_t *at, uint32_t value) { return at + uvarint32_store(at, value); }

/* The sum of all elements is limited, over several arrays of one message: one less and exactly so many pass, one more not. */
TEST(elements_are_limited) {
    struct pool pool;
    pool_init(&pool, 0, 4);
    for (int more = -1; more <= 1; more++) {
        struct arena arena;
        struct produce_request produce;
        arena_init(&arena, &pool, 0);
        /* Produce version 3: topics with only an empty name and no partitions are 6 bytes each, in two levels. */
        uint32_t topics = 500000, partitions = (uint32_t)(500000 + more);
        size_t size = 2 + 2 + 4 + 4 + (size_t)topics * 6 + (size_t)partitions * 8;
        uint8_t *bytes = malloc(size), *at = bytes;
        store_be16(at, 0xffff), at += 2; /* transactional id: null */
        store_be16(at, 1), at += 2;
        store_be32(at, 1000), at += 4;
        store_be32(at, topics), at += 4;
        for (uint32_t i = 0; i < topics; i++) {
            uint32_t mine = i ? 0 : partitions;
            store_be16(at, 0), at += 2;
            store_be32(at, mine), at += 4;
            for (uint32_t k = 0; k < mine; k++) store_be32(at, k), store_be32(at + 4, 0xffffffff), at += 8;
        }
        assert_int_equal(at - bytes, size);
        assert_int_equal(produce_request_decode(&produce, 3, span_of(bytes, size), &arena, NULL), more <= 0 ? ERR_NONE : ERR_LIMIT);
        free(bytes);
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}

/* A count is believed only as far as the bytes that are left could hold that many: nothing is allocated for more. */
TEST(counts_are_held_against_the_bytes_left) {
    struct pool pool;
    pool_init(&pool, 0, 4);
    for (int more = -1; more <= 1; more++) {
        struct arena arena;
        struct metadata_request value;
        uint8_t bytes[4 + 2 * 10];
        arena_init(&arena, &pool, 0);
        memset(bytes, 0, sizeof bytes); /* version 0: topics, each an empty name of 2 bytes */
        store_be32(bytes, (uint32_t)(10 + more));
        size_t used = 0;
        enum err err = metadata_request_decode(&value, 0, span_of(bytes, sizeof bytes), &arena, &used);
        assert_int_equal(err, more <= 0 ? ERR_NONE : ERR_CORRUPT);
        if (!err) assert_int_equal(value.topics_count, 10 + more);
        else assert_int_equal(arena.bytes, 0);
        arena_destroy(&arena);
    }
    static const uint32_t counts[] = {0x7fffffff, 0x80000000, 0xfffffffe};
    for (size_t i = 0; i < countof(counts); i++) { /* huge and negative ones, also where null is allowed */
        struct arena arena;
        struct metadata_request value;
        uint8_t bytes[16] = {0};
        arena_init(&arena, &pool, 0);
        store_be32(bytes, counts[i]);
        assert_int_equal(metadata_request_decode(&value, 0, span_of(bytes, sizeof bytes), &arena, NULL), ERR_CORRUPT);
        assert_int_equal(metadata_request_decode(&value, 1, span_of(bytes, sizeof bytes), &arena, NULL), ERR_CORRUPT);
        assert_int_equal(arena.bytes, 0);
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}

/* Unknown tagged fields are skipped where they stand, up to the limit. */
TEST(unknown_tags_are_skipped_up_to_a_limit) {
    struct pool pool;
    pool_init(&pool, 0, 4);
    for (int more = -1; more <= 1; more++) {
        struct arena arena;
        struct heartbeat_response value;
        uint32_t tags = (uint32_t)(WIRE_UNKNOWN_TAGS_MAX + more);
        uint8_t *bytes = malloc(16 + (size_t)tags * 5), *at = bytes;
        arena_init(&arena, &pool, 0);
        store_be32(at, 5), at += 4;
        store_be16(at, 27), at += 2;
        at = put_uvarint(at, tags);
        for (uint32_t i = 0; i < tags; i++) {
            at = put_uvarint(at, i);
            at = put_uvarint(at, 1);
            *at++ = 0xee;
        }
        assert_int_equal(heartbeat_response_decode(&value, 4, span_of(bytes, (size_t)(at - bytes)), &arena, NULL), more <= 0 ? ERR_NONE : ERR_CORRUPT);
        if (more <= 0) assert_int_equal(value.error_code, 27);
        assert_int_equal(arena.bytes, 0);
        free(bytes);
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}

/* A string has at most 32,767 bytes, in the old form and in the compact one, whoever says it. */
TEST(strings_are_limited) {
    struct pool pool;
    pool_init(&pool, 0, 4);
    for (size_t size = 32766; size <= 32768; size++) {
        struct arena arena;
        arena_init(&arena, &pool, 0);
        uint8_t *text = arena_alloc(&arena, size);
        memset(text, 'x', size);
        struct chain chain;
        chain_init(&chain, &arena);
        struct metadata_request_metadata_request_topic topic;
        metadata_request_metadata_request_topic_init(&topic);
        topic.name = span_of(text, size);
        struct metadata_request value;
        metadata_request_init(&value);
        value.topics = &topic, value.topics_count = 1;
        assert_int_equal(metadata_request_encode(&value, 0, &chain), size <= 32767);
        assert_int_equal(metadata_request_encode(&value, 9, &chain), size <= 32767);

        uint8_t *bytes = arena_alloc(&arena, size + 16), *at = bytes; /* compact, said by somebody else: DeleteTopics version 5 */
        struct delete_topics_request request;
        at = put_uvarint(at, 2);
        at = put_uvarint(at, (uint32_t)size + 1);
        memcpy(at, text, size), at += size;
        store_be32(at, 1), at += 4;
        *at++ = 0;
        assert_int_equal(delete_topics_request_decode(&request, 5, span_of(bytes, (size_t)(at - bytes)), &arena, NULL),
                         size <= 32767 ? ERR_NONE : ERR_CORRUPT);
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}

/* Null where it is not allowed, lengths below null, varints that are too long or too large, bytes behind the end. */
TEST(malformed_messages_are_corrupt) {
    static const struct { const char *what; const struct wire_message *message; int16_t version; size_t size; uint8_t bytes[24]; } cases[] = {
        {"a null topic name", &metadata_request_message, 0, 6, {0, 0, 0, 1, 0xff, 0xff}},
        {"a name of length -2", &metadata_request_message, 0, 6, {0, 0, 0, 1, 0xff, 0xfe}},
        {"null topics in version 0", &metadata_request_message, 0, 4, {0xff, 0xff, 0xff, 0xff}},
        {"topics of count -2", &metadata_request_message, 1, 4, {0xff, 0xff, 0xff, 0xfe}},
        {"a varint of six bytes", &metadata_request_message, 9, 10, {0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 0, 0, 0}},
        {"a varint above 32 bits", &metadata_request_message, 9, 9, {0xff, 0xff, 0xff, 0xff, 0x1f, 1, 0, 0, 0}},
        {"a byte behind the end", &heartbeat_response_message, 0, 3, {0, 0, 0}},
        /* Two tagged fields: read without regard to the size of the first, both would be fine. */
        {"a tagged field shorter than its size", &produce_response_message, 10, 12, {1, 0, 0, 0, 0, 2, 0, 4, 1, 5, 1, 0xee}},
        {"a tagged field longer than its size", &produce_response_message, 10, 9, {1, 0, 0, 0, 0, 1, 0, 0, 1}},
    };
    struct pool pool;
    pool_init(&pool, 0, 4);
    for (size_t i = 0; i < countof(cases); i++) {
        struct arena arena;
        arena_init(&arena, &pool, 0);
        void *out = arena_alloc(&arena, cases[i].message->body->size);
        enum err err = wire_decode(cases[i].message, cases[i].version, out, span_of(cases[i].bytes, cases[i].size), &arena, NULL);
        if (err != ERR_CORRUPT) print_message("%s: %s\n", cases[i].what, err_name(err));
        assert_int_equal(err, ERR_CORRUPT);
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}

/* A tag that some version knows is refused in a version that does not have it, as Apache refuses it: ProduceResponse knows
 * tag 0 from version 10 on. In version 9 an unknown tag is skipped, that one is not. */
TEST(tags_of_other_versions_are_refused) {
    struct pool pool;
    struct arena arena;
    struct produce_response value;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    const uint8_t known[] = {1, 0, 0, 0, 0, 1, 0, 1, 1}, unknown[] = {1, 0, 0, 0, 0, 1, 1, 1, 1};
    assert_int_equal(produce_response_decode(&value, 9, span_of(known, sizeof known), &arena, NULL), ERR_CORRUPT);
    assert_int_equal(produce_response_decode(&value, 10, span_of(known, sizeof known), &arena, NULL), ERR_NONE);
    assert_int_equal(produce_response_decode(&value, 9, span_of(unknown, sizeof unknown), &arena, NULL), ERR_NONE);
    assert_int_equal(produce_response_decode(&value, 2, span_of(known, sizeof known), &arena, NULL), ERR_UNSUPPORTED);
    assert_int_equal(produce_response_decode(&value, 99, span_of(known, sizeof known), &arena, NULL), ERR_UNSUPPORTED);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* A struct that may be null has a byte before it: below 0 is null, anything else is not, as Apache reads it. */
TEST(null_structs_are_told_by_a_sign) {
    static const struct { uint8_t sign; bool is_null; } cases[] = {{0xff, true}, {0x80, true}, {0, false}, {1, false}, {0x7f, false}};
    struct pool pool;
    struct arena arena;
    struct describe_topic_partitions_request value;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    for (size_t i = 0; i < countof(cases); i++) {
        uint8_t bytes[] = {1, 0, 0, 0, 9, cases[i].sign, 2, 't', 0, 0, 0, 3, 0, 0}; /* no topics, limit 9, cursor: t, 3 */
        if (cases[i].is_null) bytes[6] = 0; /* then there is no cursor, and no tagged field ends the message */
        size_t size = cases[i].is_null ? 7 : sizeof bytes;
        assert_int_equal(describe_topic_partitions_request_decode(&value, 0, span_of(bytes, size), &arena, NULL), ERR_NONE);
        assert_int_equal(value.cursor == NULL, cases[i].is_null);
        if (value.cursor) assert_int_equal(value.cursor->partition_index, 3);
    }
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* What a version cannot say is dropped when the definition says so, and else not sent at all. */
TEST(fields_that_a_version_lacks) {
    struct pool pool;
    struct arena arena;
    struct chain chain;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    chain_init(&chain, &arena);

    struct fetch_request fetch; /* rack id: from version 11, ignorable */
    fetch_request_init(&fetch);
    size_t plain = fetch_request_size(&fetch, 10);
    fetch.rack_id = SPAN_LITERAL("rack");
    assert_int_equal(fetch_request_size(&fetch, 10), plain);
    assert_true(fetch_request_size(&fetch, 11) != plain);

    struct init_producer_id_request init; /* producer id: from version 3, not ignorable */
    init_producer_id_request_init(&init);
    assert_true(init_producer_id_request_encode(&init, 2, &chain));
    init.producer_id = 4711;
    size_t before = chain.bytes;
    assert_int_equal(init_producer_id_request_size(&init, 2), WIRE_NOT_ENCODABLE);
    assert_false(init_producer_id_request_encode(&init, 2, &chain));
    assert_int_equal(chain.bytes, before);
    assert_true(init_producer_id_request_encode(&init, 3, &chain));

    struct produce_response produce; /* node endpoints: tagged, from version 10, not ignorable */
    struct produce_response_node_endpoint *endpoints = produce_response_node_endpoint_array(&arena, 1);
    produce_response_init(&produce);
    assert_true(produce_response_encode(&produce, 9, &chain));
    produce.node_endpoints = endpoints, produce.node_endpoints_count = 1;
    assert_false(produce_response_encode(&produce, 9, &chain));
    assert_true(produce_response_encode(&produce, 10, &chain));

    struct metadata_request metadata; /* topics: null from version 1 */
    metadata_request_init(&metadata);
    metadata.topics_count = -1;
    assert_false(metadata_request_encode(&metadata, 0, &chain));
    assert_true(metadata_request_encode(&metadata, 1, &chain));
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Records that come as a chain become part of the output by reference: the same memory, the same count, no copy; and the
 * message in between lies in single pieces. */
TEST(records_chains_move_into_the_output) {
    struct pool pool;
    struct arena arena;
    struct chain out, records[2];
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    chain_init(&out, &arena);
    struct slab *slab = slab_new(&pool, 100);
    memset(slab->bytes, 'r', 100);
    struct fetch_response_partition_data *partitions = fetch_response_partition_data_array(&arena, 2);
    struct fetch_response_fetchable_topic_response *topics = fetch_response_fetchable_topic_response_array(&arena, 1);
    struct fetch_response response;
    for (int i = 0; i < 2; i++) {
        chain_init(&records[i], &arena);
        assert_true(chain_add_memory(&records[i], slab->bytes + i * 50, 50, slab));
        partitions[i].partition_index = i;
        partitions[i].records.chain = &records[i];
    }
    fetch_response_init(&response);
    topics->partitions = partitions, topics->partitions_count = 2;
    response.responses = topics, response.responses_count = 1;
    size_t size = fetch_response_size(&response, 17);
    assert_true(fetch_response_encode(&response, 17, &out));
    assert_int_equal(out.bytes, size);
    assert_int_equal(out.count, 5); /* header, records, header, records, end */
    assert_ptr_equal(out.first->next->memory.data, slab->bytes);
    assert_ptr_equal(out.first->next->next->next->memory.data, slab->bytes + 50);
    assert_int_equal(records[0].bytes, 0);
    assert_int_equal(slab->refs, 3);

    uint8_t *bytes = arena_alloc(&arena, size);
    chain_copy_out(&out, bytes, size);
    struct fetch_response again;
    assert_int_equal(fetch_response_decode(&again, 17, span_of(bytes, size), &arena, NULL), ERR_NONE);
    assert_int_equal(again.responses[0].partitions[1].records.bytes.size, 50);
    assert_memory_equal(again.responses[0].partitions[1].records.bytes.data, slab->bytes + 50, 50);
    chain_clear(&out);
    slab_drop(slab);
    arena_destroy(&arena);
    pool_destroy(&pool); /* asserts that no count was lost */
}

/* Over budget at the n-th allocation: decode and encode say so, leave nothing behind, and succeed when there is room. */
TEST(over_budget_is_an_ordinary_answer) {
    static const struct wire_fill limits = {.items_max = 40, .bytes_max = 40};
    struct pool source_pool, pool;
    struct arena source;
    struct random random;
    pool_init(&source_pool, 0, 4);
    pool_init(&pool, 0, 0);
    arena_init(&source, &source_pool, 0);
    random_seed(&random, 3);
    struct metadata_response value, again;
    assert_true(wire_fill(&metadata_response_message, 12, &limits, &random, &source, &value));
    struct span bytes = encoded(&metadata_response_message, 12, &value, &source);
    uint64_t refused = 0;
    for (bool done = false; !done; refused++) {
        struct arena arena;
        arena_init(&arena, &pool, 0);
        pool.fail_at = refused + 1;
        enum err err = metadata_response_decode(&again, 12, bytes, &arena, NULL);
        done = err == ERR_NONE;
        assert_true(done || err == ERR_NO_MEMORY);
        pool.fail_at = 0;
        arena_destroy(&arena);
    }
    assert_true(refused >= 2);
    /* With many records chains, so that it fails after some of them have moved: their counts are dropped, too. */
    enum { CHAINS = 200 };
    struct slab *slab = slab_new(&source_pool, 10);
    uint64_t after_some = 0;
    for (uint64_t fail_at = 1, done = 0; !done; fail_at++) {
        struct arena arena;
        struct chain chain, *records = arena_array(&source, CHAINS, sizeof *records);
        struct produce_request_partition_produce_data *partitions = produce_request_partition_produce_data_array(&source, CHAINS);
        arena_init(&arena, &pool, 0);
        chain_init(&chain, &arena);
        for (int i = 0; i < CHAINS; i++) {
            chain_init(&records[i], &source);
            assert_true(chain_add_memory(&records[i], slab->bytes, 10, slab));
            partitions[i].records.chain = &records[i];
        }
        struct produce_request_topic_produce_data topic = {.partition_data = partitions, .partition_data_count = CHAINS};
        struct produce_request request = {.topic_data = &topic, .topic_data_count = 1};
        pool.fail_at = fail_at;
        done = produce_request_encode(&request, 9, &chain);
        pool.fail_at = 0;
        if (!done) {
            assert_int_equal(chain.bytes, 0);
            after_some += records[0].bytes == 0;
        }
        chain_clear(&chain);
        for (int i = 0; i < CHAINS; i++) chain_clear(&records[i]);
        assert_int_equal(slab->refs, 1);
        arena_destroy(&arena);
    }
    assert_true(after_some > 0);
    slab_drop(slab);
    arena_destroy(&source);
    pool_destroy(&pool);
    pool_destroy(&source_pool);
}

/* Secrets do not reach traces. */
TEST(secrets_are_hidden_in_traces) {
    struct sasl_authenticate_request request;
    char memory[256];
    struct text text;
    sasl_authenticate_request_init(&request);
    request.auth_bytes = SPAN_LITERAL("\0user\0secret");
    text_init(&text, memory, sizeof memory);
    wire_json_write(&sasl_authenticate_request_message, 2, &request, WIRE_JSON_HIDE_SECRETS, &text);
    assert_string_equal(memory, "{\"authBytes\":\"***\"}");
    text_reset(&text);
    wire_json_write(&sasl_authenticate_request_message, 2, &request, 0, &text);
    assert_string_equal(memory, "{\"authBytes\":\"AHVzZXIAc2VjcmV0\"}");
}

/* JSON that is not such a message is refused with the field's name. */
TEST(wrong_json_is_refused_with_the_field) {
    static const struct { const char *json, *why; } cases[] = {
        {"[]", "not an object"}, {"{}", "missing"}, {"{\"errorCode\": 70000, \"throttleTimeMs\": 0}", "out of range"},
        {"{\"errorCode\": \"x\", \"throttleTimeMs\": 0}", "not a whole number"},
        {"{\"errorCode\": null, \"throttleTimeMs\": 0}", "null is not allowed"},
        {"{\"errorCode\": 1, \"throttleTimeMs\": 0, \"other\": 1}", "a field that it does not have"}};
    struct pool pool;
    struct arena arena;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    for (size_t i = 0; i < countof(cases); i++) {
        char memory[256];
        struct text why;
        struct heartbeat_response value;
        json_t *json = json_loads(cases[i].json, 0, NULL);
        text_init(&why, memory, sizeof memory);
        assert_int_equal(wire_json_read(&heartbeat_response_message, 4, json, &value, &arena, &why), ERR_INVALID);
        if (!strstr(memory, cases[i].why)) print_message("%s: %s\n", cases[i].json, memory);
        assert_non_null(strstr(memory, cases[i].why));
        json_decref(json);
    }
    arena_destroy(&arena);
    pool_destroy(&pool);
}
