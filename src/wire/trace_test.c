#include "test.h"
#include "base/bytes.h"
#include "wire/batch.h"
#include "wire/fill.h"
#include "wire/records.h"
#include "wire/trace.h"
#include <jansson.h>
#include <string.h>

static const struct wire_message *message_at(uint32_t i) {
    return i < wire_api_messages_count ? wire_api_messages[i] : wire_record_messages[i - wire_api_messages_count];
}
static uint32_t messages_count(void) { return wire_api_messages_count + wire_record_messages_count; }

/* ---- secrets */

/* What a marked field holds, in a form that nothing else in a message has: no filler makes this word, and its base64 in
 * any of the three phases is looked for, too. */
static const char secret_word[] = "swordfish-swordfish-swordfish";
static const char *const secret_forms[] = {"swordfish", "c3dvcmRmaXNo", "N3b3JkZmlza", "zd29yZGZpc2"};

/* Puts the secret into every marked field of a filled message; answers how many there were. */
static uint32_t plant_struct(const struct wire_struct *of, uint8_t *value, uint32_t bit, const char *setting);
static uint32_t plant_field(const struct wire_field *field, uint8_t *at, uint32_t bit, const char *setting) {
    if (field->flags & (WIRE_SECRET | WIRE_SETTING)) {
        struct span word = SPAN_LITERAL(secret_word);
        assert_true(field->type == WIRE_STRING || field->type == WIRE_BYTES || field->type == WIRE_RECORDS);
        if (field->type == WIRE_RECORDS) *(struct wire_records *)(void *)at = (struct wire_records){word, NULL};
        else *(struct span *)(void *)at = word;
        return 1;
    }
    uint32_t planted = 0;
    struct wire_items *items = (struct wire_items *)(void *)at;
    if (field->type == WIRE_STRUCT) return plant_struct(field->of, at, bit, setting);
    if (field->type == WIRE_STRUCT_POINTER) return *(uint8_t **)(void *)at ? plant_struct(field->of, *(uint8_t **)(void *)at, bit, setting) : 0;
    if (field->type == WIRE_ARRAY && field->element == WIRE_STRUCT)
        for (int32_t i = 0; i < items->count; i++) planted += plant_struct(field->of, items->first + (size_t)i * field->of->size, bit, setting);
    return planted;
}
static uint32_t plant_struct(const struct wire_struct *of, uint8_t *value, uint32_t bit, const char *setting) {
    uint32_t planted = 0;
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count; i++) {
        const struct wire_field *field = &of->fields[i];
        if (!(field->versions & bit)) continue;
        if (setting && field->type == WIRE_STRING && strcmp(field->name, "Name") == 0) *(struct span *)(void *)(value + field->offset) = span_text(setting);
        planted += plant_field(field, value + field->offset, bit, setting);
    }
    return planted;
}

static bool some_are_open(struct span name) { return span_equal(name, SPAN_LITERAL("retention.ms")); }

static void assert_no_secret(const char *text) {
    for (size_t i = 0; i < countof(secret_forms); i++)
        if (strstr(text, secret_forms[i])) {
            print_message("%s\n", text);
            fail_msg("%s is there", secret_forms[i]);
        }
}

/* No trace holds the bytes of a marked field, of any message in any version: random messages with a word planted in every
 * marked field, looked for in the trace, in plain and in base64, records counted and with their contents. The plain JSON
 * of the same message does hold it, so the looking finds it. */
TEST(no_trace_holds_a_secret) {
    static const struct wire_fill limits = {.items_max = 3, .bytes_max = 12};
    static char memory[1 << 20];
    struct pool pool;
    struct random random;
    struct codecs codecs;
    uint32_t planted = 0, marked_messages = 0;
    pool_init(&pool, 0, 4);
    codecs_init(&codecs, &pool);
    random_seed(&random, 20260214);
    for (uint32_t i = 0; i < messages_count(); i++) {
        const struct wire_message *message = message_at(i);
        marked_messages += wire_holds_secrets(message->body);
        for (int16_t version = message->version_min; version <= message->version_max; version++)
            for (int round = 0; round < 12; round++) {
                struct arena arena;
                struct text text;
                struct wire_json_rules rules = {.setting_is_open = round % 2 ? some_are_open : NULL,
                                                .records = round % 3 ? WIRE_JSON_CONTENTS : WIRE_JSON_COUNTED, .codecs = &codecs};
                arena_init(&arena, &pool, 0);
                void *value = arena_alloc(&arena, message->body->size);
                assert_true(wire_fill(message, version, &limits, &random, &arena, value));
                uint32_t now = plant_struct(message->body, value, UINT32_C(1) << version, NULL);
                text_init(&text, memory, sizeof memory);
                wire_json_trace(message, version, value, &rules, &text);
                assert_false(text.cut);
                assert_no_secret(memory);
                text_reset(&text);
                wire_json_write(message, version, value, WIRE_JSON_HIDE_SECRETS, &text);
                assert_no_secret(memory);
                if (now) {
                    text_reset(&text);
                    wire_json_write(message, version, value, 0, &text);
                    assert_true(strstr(memory, secret_forms[0]) || strstr(memory, secret_forms[1]) || strstr(memory, secret_forms[2]) || strstr(memory, secret_forms[3]));
                }
                planted += now;
                arena_destroy(&arena);
            }
    }
    assert_true(planted > 500);
    assert_true(marked_messages >= 17);
    codecs_destroy(&codecs);
    pool_destroy(&pool);
}

static bool is_marked(const struct wire_struct *of, const char *name) {
    for (size_t i = 0; i < (size_t)of->field_count + of->tagged_count; i++) {
        const struct wire_field *field = &of->fields[i];
        if (strcmp(field->name, name) == 0 && (field->flags & (WIRE_SECRET | WIRE_SETTING))) return true;
        if (field->of && is_marked(field->of, name)) return true;
    }
    return false;
}

/* The marks are where the secrets are: credentials, tokens, enveloped requests, configurations' values, snapshots of the
 * metadata. A field whose name sounds like one and has no mark is found, too. */
TEST(marks_stand_at_every_secret) {
    static const struct { const struct wire_message *message; const char *field; } secrets[] = {
        {&sasl_authenticate_request_message, "AuthBytes"}, {&sasl_authenticate_response_message, "AuthBytes"},
        {&alter_user_scram_credentials_request_message, "Salt"}, {&alter_user_scram_credentials_request_message, "SaltedPassword"},
        {&create_delegation_token_response_message, "Hmac"}, {&renew_delegation_token_request_message, "Hmac"},
        {&expire_delegation_token_request_message, "Hmac"}, {&describe_delegation_token_response_message, "Hmac"},
        {&envelope_request_message, "RequestData"}, {&envelope_response_message, "ResponseData"},
        {&create_topics_request_message, "Value"}, {&create_topics_response_message, "Value"},
        {&alter_configs_request_message, "Value"}, {&incremental_alter_configs_request_message, "Value"},
        {&describe_configs_response_message, "Value"}, {&fetch_snapshot_response_message, "UnalignedRecords"},
        {&config_record_message, "Value"}, {&user_scram_credential_record_message, "Salt"},
        {&user_scram_credential_record_message, "StoredKey"}, {&user_scram_credential_record_message, "ServerKey"}};
    for (size_t i = 0; i < countof(secrets); i++) assert_true(is_marked(secrets[i].message->body, secrets[i].field));
    static const char *const names[] = {"AuthBytes", "Hmac", "Password", "SaltedPassword", "Salt", "StoredKey", "ServerKey"};
    for (uint32_t i = 0; i < messages_count(); i++)
        for (size_t k = 0; k < countof(names); k++)
            for (size_t f = 0; f < message_at(i)->body->field_count; f++)
                if (strcmp(message_at(i)->body->fields[f].name, names[k]) == 0) assert_true(message_at(i)->body->fields[f].flags & WIRE_SECRET);
}

/* A configuration's value is shown where its name is known to be open, and "***" elsewhere; null stays null. */
TEST(open_settings_are_shown) {
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_alter_configs_resource resource;
    struct incremental_alter_configs_request_alterable_config configs[3];
    char memory[1024];
    struct text text;
    struct wire_json_rules rules = {.setting_is_open = some_are_open};
    incremental_alter_configs_request_init(&request);
    incremental_alter_configs_request_alter_configs_resource_init(&resource);
    for (int i = 0; i < 3; i++) incremental_alter_configs_request_alterable_config_init(&configs[i]);
    configs[0].name = SPAN_LITERAL("retention.ms"), configs[0].value = SPAN_LITERAL("86400000");
    configs[1].name = SPAN_LITERAL("ssl.keystore.password"), configs[1].value = SPAN_LITERAL("swordfish");
    configs[2].name = SPAN_LITERAL("no.such.key"), configs[2].value = (struct span){0};
    resource.configs = configs, resource.configs_count = 3;
    request.resources = &resource, request.resources_count = 1;
    text_init(&text, memory, sizeof memory);
    wire_json_trace(&incremental_alter_configs_request_message, 1, &request, &rules, &text);
    assert_non_null(strstr(memory, "{\"name\":\"retention.ms\",\"configOperation\":0,\"value\":\"86400000\"}"));
    assert_non_null(strstr(memory, "{\"name\":\"ssl.keystore.password\",\"configOperation\":0,\"value\":\"***\"}"));
    assert_non_null(strstr(memory, "{\"name\":\"no.such.key\",\"configOperation\":0,\"value\":null}"));
}

/* ---- records */

static struct slab *batch_of(struct pool *pool, struct codecs *codecs, enum compression codec, const char *value, struct span *out) {
    struct batch_builder builder;
    struct batch_options options;
    struct slab *slab;
    batch_options_init(&options);
    options.codec = codec;
    batch_builder_init(&builder, pool, 4096, &options);
    for (int i = 0; i < 3; i++) assert_int_equal(batch_builder_add(&builder, 1000 + i, SPAN_LITERAL("k"), span_text(value), NULL, 0), ERR_NONE);
    assert_int_equal(batch_builder_finish(&builder, codecs, &slab), ERR_NONE);
    batch_builder_destroy(&builder);
    *out = span_of(slab->bytes, slab->used);
    return slab;
}

/* Records are counted over all batches, with their codecs, however the chain is cut into pieces; contents come only when
 * asked for, out of compressed batches too, and never of the metadata log. */
TEST(records_are_counted_and_shown_when_asked) {
    struct pool pool;
    struct arena arena;
    struct codecs codecs;
    struct span plain, packed;
    static char memory[8192];
    struct text text;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    codecs_init(&codecs, &pool);
    struct slab *a = batch_of(&pool, &codecs, COMPRESSION_NONE, "Vltava", &plain), *b = batch_of(&pool, &codecs, COMPRESSION_ZSTD, "Labe", &packed);
    uint8_t *both = arena_alloc(&arena, plain.size + packed.size);
    memcpy(both, plain.data, plain.size);
    memcpy(both + plain.size, packed.data, packed.size);
    char expected[128];
    snprintf(expected, sizeof expected, "{\"bytes\":%zu,\"batches\":2,\"records\":6,\"codecs\":\"none,zstd\"}", plain.size + packed.size);
    for (size_t piece = 1; piece < plain.size + packed.size; piece += 7) {
        struct chain chain;
        chain_init(&chain, &arena);
        for (size_t at = 0, size = plain.size + packed.size; at < size; at += piece)
            assert_true(chain_add_memory(&chain, both + at, at + piece < size ? piece : size - at, NULL));
        struct wire_records records = {.chain = &chain};
        text_init(&text, memory, sizeof memory);
        wire_records_brief(&records, false, NULL, &text);
        assert_string_equal(memory, expected);
        chain_clear(&chain);
    }
    /* The last batch cut off: it counts, as far as its header is there. */
    struct wire_records cut = {.bytes = span_of(both, plain.size + packed.size - 1)};
    text_init(&text, memory, sizeof memory);
    wire_records_brief(&cut, false, NULL, &text);
    assert_non_null(strstr(memory, "\"batches\":2,\"records\":6"));

    struct fetch_response response;
    struct fetch_response_fetchable_topic_response topic;
    struct fetch_response_partition_data partition;
    fetch_response_init(&response);
    fetch_response_fetchable_topic_response_init(&topic);
    fetch_response_partition_data_init(&partition);
    partition.records.bytes = span_of(both, plain.size + packed.size);
    topic.topic = SPAN_LITERAL("rivers");
    topic.partitions = &partition, topic.partitions_count = 1;
    response.responses = &topic, response.responses_count = 1;
    struct wire_json_rules rules = {.records = WIRE_JSON_CONTENTS, .codecs = &codecs};
    text_init(&text, memory, sizeof memory);
    wire_json_trace(&fetch_response_message, 12, &response, &rules, &text);
    assert_non_null(strstr(memory, "{\"offset\":0,\"timestamp\":1000,\"key\":\"k\",\"value\":\"Vltava\"}"));
    assert_non_null(strstr(memory, "\"value\":\"Labe\""));
    json_t *json = json_loads(memory, 0, NULL);
    assert_non_null(json);
    json_decref(json);
    text_reset(&text);
    wire_json_trace(&fetch_response_message, 12, &response, &(struct wire_json_rules){.records = WIRE_JSON_COUNTED}, &text);
    assert_null(strstr(memory, "Vltava"));
    topic.topic = SPAN_LITERAL("__cluster_metadata");
    text_reset(&text);
    wire_json_trace(&fetch_response_message, 12, &response, &rules, &text);
    assert_null(strstr(memory, "Vltava"));
    assert_non_null(strstr(memory, "\"records\":6"));
    topic.topic = SPAN_LITERAL("");
    topic.topic_id = (struct uuid){{[15] = 1}};
    text_reset(&text);
    wire_json_trace(&fetch_response_message, 18, &response, &rules, &text);
    assert_null(strstr(memory, "Vltava"));
    slab_drop(a);
    slab_drop(b);
    codecs_destroy(&codecs);
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* ---- lines */

/* The line of a request and of its answer, to the letter. */
TEST(lines_say_who_what_and_how_long) {
    char memory[512];
    struct text line;
    struct heartbeat_request request;
    heartbeat_request_init(&request);
    request.group_id = SPAN_LITERAL("g\"1");
    struct wire_trace_head head = {.api = wire_api(12), .version = 4, .correlation_id = 7, .client_id = SPAN_LITERAL("c\n"), .address = "1.2.3.4:5", .connection = 9, .bytes = 21};
    wire_trace_begin(&line, memory, sizeof memory, &head);
    wire_trace_body(&line, &heartbeat_request_message, 4, &request, &(struct wire_json_rules){0});
    wire_trace_end(&line);
    assert_string_equal(memory, "request Heartbeat v4 correlation 7 client \"c\\u000a\" from 1.2.3.4:5 connection 9, 21 bytes: "
                                "{\"groupId\":\"g\\\"1\",\"generationId\":0,\"memberId\":\"\",\"groupInstanceId\":null}");
    head.is_answer = true;
    head.taken_us = 1234567;
    head.client_id = (struct span){0};
    wire_trace_begin(&line, memory, sizeof memory, &head);
    wire_trace_note(&line, "none");
    wire_trace_end(&line);
    assert_string_equal(memory, "answer Heartbeat v4 correlation 7 client null to 1.2.3.4:5 connection 9, 21 bytes after 1234.567 ms: none");
}

/* A line is never longer than its memory, says when it was cut, and is whole characters: a long message at every length. */
TEST(lines_are_cut_at_their_bound) {
    char memory[600];
    struct text line;
    struct heartbeat_request request;
    heartbeat_request_init(&request);
    request.group_id = SPAN_LITERAL("\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad");
    struct wire_trace_head head = {.api = wire_api(12), .version = 4, .address = "a", .connection = 1};
    uint32_t cut = 0;
    for (size_t size = WIRE_TRACE_LINE_MIN; size < sizeof memory; size++) {
        memset(memory, 0x7f, sizeof memory);
        wire_trace_begin(&line, memory, size, &head);
        wire_trace_body(&line, &heartbeat_request_message, 4, &request, &(struct wire_json_rules){0});
        wire_trace_end(&line);
        assert_true(strlen(memory) < size);
        for (size_t i = size; i < sizeof memory; i++) assert_int_equal(memory[i], 0x7f);
        bool says = strstr(memory, "(line cut)") != NULL;
        assert_int_equal(says, line.cut);
        cut += says;
        json_t *valid = json_stringn(memory, strlen(memory)); /* NULL: not UTF-8 */
        assert_non_null(valid);
        json_decref(valid);
    }
    assert_true(cut > 10 && cut < sizeof memory - WIRE_TRACE_LINE_MIN);
}

/* What cannot be read is told with the place and the first bytes: each message of one API cut off at every byte. Of those
 * that may hold secrets no byte is told. */
TEST(unread_messages_tell_where_and_how_they_begin) {
    struct pool pool;
    struct arena arena;
    char memory[512];
    struct text line;
    pool_init(&pool, 0, 4);
    arena_init(&arena, &pool, 0);
    struct heartbeat_request request;
    struct sasl_authenticate_request login;
    uint8_t bytes[128];
    heartbeat_request_init(&request);
    request.group_id = SPAN_LITERAL("group"), request.member_id = SPAN_LITERAL("member");
    size_t size = wire_write(&heartbeat_request_message, 4, &request, bytes);
    for (size_t kept = 0; kept < size; kept++) {
        size_t at = 999;
        struct heartbeat_request again;
        enum err err = heartbeat_request_decode(&again, 4, span_of(bytes, kept), &arena, &at);
        assert_int_equal(err, ERR_CORRUPT);
        assert_true(at <= kept);
        struct wire_trace_head head = {.api = wire_api(12), .version = 4, .address = "a"};
        wire_trace_begin(&line, memory, sizeof memory, &head);
        wire_trace_unread(&line, &heartbeat_request_message, span_of(bytes, kept), err, at);
        char expected[64];
        snprintf(expected, sizeof expected, "cannot be read at byte %zu of %zu", at, kept);
        assert_non_null(strstr(memory, expected));
        if (kept >= 6) assert_non_null(strstr(memory, "it begins with 06 67 72 6f 75 70"));
    }
    size_t at;
    struct heartbeat_request again;
    assert_int_equal(heartbeat_request_decode(&again, 4, span_of(bytes, 8), &arena, &at), ERR_CORRUPT);
    assert_int_equal(at, 6); /* behind the group: four bytes of the generation are not there */

    sasl_authenticate_request_init(&login);
    login.auth_bytes = SPAN_LITERAL("\0user\0swordfish");
    size = wire_write(&sasl_authenticate_request_message, 2, &login, bytes);
    struct wire_trace_head head = {.api = wire_api(36), .version = 2, .address = "a"};
    wire_trace_begin(&line, memory, sizeof memory, &head);
    wire_trace_unread(&line, &sasl_authenticate_request_message, span_of(bytes, size - 2), ERR_CORRUPT, 1);
    assert_non_null(strstr(memory, "its bytes are not shown"));
    assert_null(strstr(memory, "73 77"));
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* Which are told: by name of the API in any case, by client id, by address; a name that is none is refused. */
TEST(filters_take_what_they_name) {
    struct wire_trace_filter filter = {0};
    char memory[256];
    struct text why;
    struct span none = {0}, here = SPAN_LITERAL("127.0.0.1");
    text_init(&why, memory, sizeof memory);
    assert_true(wire_trace_apis(SPAN_LITERAL(""), filter.apis, &why));
    for (int16_t key = 0; key < API_COUNT; key++) assert_false(wire_trace_takes(&filter, key, none, here));
    assert_true(wire_trace_apis(SPAN_LITERAL("produce, Metadata"), filter.apis, &why));
    assert_true(wire_trace_takes(&filter, 0, none, here));
    assert_true(wire_trace_takes(&filter, 3, none, here));
    assert_false(wire_trace_takes(&filter, 1, none, here));
    assert_false(wire_trace_takes(&filter, INT16_MAX, none, here));
    assert_true(wire_trace_apis(SPAN_LITERAL("*"), filter.apis, &why));
    for (int16_t key = 0; key < API_COUNT; key++) assert_true(wire_trace_takes(&filter, key, none, here));
    assert_true(wire_trace_takes(&filter, -1, none, here));
    assert_true(wire_trace_takes(&filter, INT16_MAX, none, here));
    filter.clients = SPAN_LITERAL("a, b");
    assert_true(wire_trace_takes(&filter, 0, SPAN_LITERAL("b"), here));
    assert_false(wire_trace_takes(&filter, 0, SPAN_LITERAL("ab"), here));
    assert_false(wire_trace_takes(&filter, 0, none, here));
    filter.clients = none;
    filter.addresses = SPAN_LITERAL("10.0.0.1,127.0.0.1");
    assert_true(wire_trace_takes(&filter, 0, none, here));
    assert_false(wire_trace_takes(&filter, 0, none, SPAN_LITERAL("127.0.0.10")));
    assert_false(wire_trace_apis(SPAN_LITERAL("Produce,Fech"), filter.apis, &why));
    assert_non_null(strstr(memory, "\"Fech\" is no API"));
}
