#include "cli/trace.h"
#include "base/bytes.h"
#include "test.h"
#include "wire/fill.h"
#include <string.h>

static char told[1 << 16];
static void tell(void *context, const char *line) { snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", line); }
static uint16_t no_port(void *context, struct span host, uint16_t port) { return 0; }
static uint16_t our_port(void *context, struct span host, uint16_t port) { return (uint16_t)(port + 1); }

struct rig {
    struct pool pool;
    struct arena arena;
    struct trace_rules rules;
    struct trace_view view;
};
static void rig_open(struct rig *rig, uint16_t (*port_for)(void *, struct span, uint16_t)) {
    struct text why;
    char bytes[64];
    text_init(&why, bytes, sizeof bytes);
    memset(rig, 0, sizeof *rig);
    pool_init(&rig->pool, 0, 4);
    arena_init(&rig->arena, &rig->pool, 0);
    rig->rules = (struct trace_rules){.line_bytes = 4096, .tell = tell, .port_for = port_for};
    assert_true(wire_trace_apis(SPAN_LITERAL("*"), rig->rules.filter.apis, &why));
    assert_true(trace_view_open(&rig->view, &rig->rules, &rig->pool, "10.0.0.9:5555", "10.0.0.1", 1));
    told[0] = 0;
}
static void rig_close(struct rig *rig) {
    trace_view_close(&rig->view);
    arena_destroy(&rig->arena);
    assert_int_equal(rig->pool.used, 0);
    pool_destroy(&rig->pool);
}

static struct span flat(struct chain *chain, struct arena *arena) {
    uint8_t *bytes = arena_alloc(arena, chain->bytes);
    return span_of(bytes, chain_copy_out(chain, bytes, chain->bytes));
}
/* Without the size. */
static struct span request_of(struct rig *rig, int16_t key, int16_t version, int32_t correlation, const void *request) {
    struct chain chain;
    chain_init(&chain, &rig->arena);
    assert_true(wire_request_frame(wire_api(key), version, correlation, SPAN_LITERAL("c"), request, &chain));
    struct span whole = flat(&chain, &rig->arena);
    return span_of(whole.data + 4, whole.size - 4);
}
static struct span answer_of(struct rig *rig, int16_t key, int16_t version, int32_t correlation, const void *response) {
    struct chain chain;
    chain_init(&chain, &rig->arena);
    assert_true(wire_response_frame(wire_api(key), version, correlation, response, &chain));
    struct span whole = flat(&chain, &rig->arena);
    return span_of(whole.data + 4, whole.size - 4);
}

/* Every request and answer of every version is told by its name; nothing is changed where no address is ours, and
 * nothing is left waiting. Random messages. */
TEST(trace_tells_every_message) {
    static const struct wire_fill limits = {.items_max = 2, .bytes_max = 10};
    struct random random;
    struct rig rig;
    random_seed(&random, 5);
    rig_open(&rig, no_port);
    for (int16_t key = 0; key < API_COUNT; key++) {
        const struct wire_api *api = wire_api(key);
        if (!api->request) continue;
        for (int16_t version = api->version_min; version <= api->version_max; version++) {
            char name[128];
            void *request = arena_alloc(&rig.arena, api->request->body->size), *response = arena_alloc(&rig.arena, api->response->body->size);
            assert_true(wire_fill(api->request, version, &limits, &random, &rig.arena, request));
            assert_true(wire_fill(api->response, version, &limits, &random, &rig.arena, response));
            if (key == API_PRODUCE) ((struct produce_request *)request)->acks = 1;
            told[0] = 0;
            rig.view.sends_tokens = false;
            trace_view_request(&rig.view, request_of(&rig, key, version, 7, request), 0);
            snprintf(name, sizeof name, "request %s v%d correlation 7 client \"c\" from 10.0.0.9:5555 connection 1", api->name, version);
            assert_non_null(strstr(told, name));
            assert_null(trace_view_answer(&rig.view, answer_of(&rig, key, version, 7, response), 1500000, &rig.arena).data);
            snprintf(name, sizeof name, "answer %s v%d correlation 7 client \"c\" to 10.0.0.9:5555", api->name, version);
            assert_non_null(strstr(told, name));
            assert_non_null(strstr(told, " after 1.500 ms: {"));
            assert_null(strstr(told, "cannot be read"));
            assert_int_equal(rig.view.pending_count, 0);
        }
        arena_reset(&rig.arena);
    }
    rig_close(&rig);
}

/* Brokers' addresses become ours wherever a client connects by them, in every version; what is printed is the broker's. */
TEST(trace_changes_addresses) {
    struct rig rig;
    rig_open(&rig, our_port);
    for (int16_t version = wire_api(API_METADATA)->version_min; version <= wire_api(API_METADATA)->version_max; version++) {
        struct metadata_request request;
        struct metadata_response response, *changed = arena_alloc(&rig.arena, sizeof *changed);
        struct metadata_response_metadata_response_broker brokers[2];
        metadata_request_init(&request);
        metadata_response_init(&response);
        for (int i = 0; i < 2; i++) {
            metadata_response_metadata_response_broker_init(&brokers[i]);
            brokers[i].node_id = i, brokers[i].host = SPAN_LITERAL("broker.example"), brokers[i].port = 9092 + i * 10;
        }
        response.brokers = brokers, response.brokers_count = 2;
        trace_view_request(&rig.view, request_of(&rig, API_METADATA, version, version, &request), 0);
        struct span frame = trace_view_answer(&rig.view, answer_of(&rig, API_METADATA, version, version, &response), 0, &rig.arena), body;
        struct response_header header;
        assert_non_null(frame.data);
        assert_int_equal(load_be32(frame.data), frame.size - 4);
        assert_int_equal(wire_response_header_decode(wire_api(API_METADATA), version, &header, span_of(frame.data + 4, frame.size - 4), &rig.arena, &body), ERR_NONE);
        assert_int_equal(header.correlation_id, version);
        assert_int_equal(metadata_response_decode(changed, version, body, &rig.arena, NULL), ERR_NONE);
        for (int i = 0; i < 2; i++) {
            assert_true(span_equal(changed->brokers[i].host, SPAN_LITERAL("10.0.0.1")));
            assert_int_equal(changed->brokers[i].port, 9093 + i * 10);
        }
        assert_non_null(strstr(told, "\"host\":\"broker.example\",\"port\":9102"));
    }
    for (int16_t version = 0; version <= wire_api(API_FIND_COORDINATOR)->version_max; version++) {
        struct find_coordinator_request request;
        struct find_coordinator_response response, *changed = arena_alloc(&rig.arena, sizeof *changed);
        struct find_coordinator_response_coordinator one;
        find_coordinator_request_init(&request);
        find_coordinator_response_init(&response);
        find_coordinator_response_coordinator_init(&one);
        if (version < 4) response.node_id = 1, response.host = SPAN_LITERAL("b"), response.port = 9092;
        else {
            one.node_id = 1, one.host = SPAN_LITERAL("b"), one.port = 9092;
            response.coordinators = &one, response.coordinators_count = 1;
        }
        trace_view_request(&rig.view, request_of(&rig, API_FIND_COORDINATOR, version, 1, &request), 0);
        struct span frame = trace_view_answer(&rig.view, answer_of(&rig, API_FIND_COORDINATOR, version, 1, &response), 0, &rig.arena), body;
        struct response_header header;
        assert_non_null(frame.data);
        assert_int_equal(wire_response_header_decode(wire_api(API_FIND_COORDINATOR), version, &header, span_of(frame.data + 4, frame.size - 4), &rig.arena, &body), ERR_NONE);
        assert_int_equal(find_coordinator_response_decode(changed, version, body, &rig.arena, NULL), ERR_NONE);
        assert_int_equal(version < 4 ? changed->port : changed->coordinators[0].port, 9093);
        /* None there is to be told: it stays. */
        if (version < 4) response.node_id = response.port = -1, response.host = SPAN_LITERAL("");
        else one.node_id = one.port = -1, one.host = SPAN_LITERAL("");
        trace_view_request(&rig.view, request_of(&rig, API_FIND_COORDINATOR, version, 1, &request), 0);
        assert_null(trace_view_answer(&rig.view, answer_of(&rig, API_FIND_COORDINATOR, version, 1, &response), 0, &rig.arena).data);
    }
    rig_close(&rig);
}

/* Of credentials nothing is printed, however they come: as SaslAuthenticate, damaged, and bare behind a SaslHandshake of
 * version 0, with the broker's bare answer. What comes after them is read again. */
TEST(trace_prints_no_credentials) {
    static const uint8_t plain[] = "\0user\0swordfish", scram[] = "n,,n=user,r=swordfish", answer[] = "r=swordfish,s=c2FsdA==,i=4096";
    struct rig rig;
    struct sasl_authenticate_request login;
    struct sasl_handshake_request handshake;
    struct sasl_handshake_response mechanisms;
    struct heartbeat_request heartbeat;
    rig_open(&rig, no_port);
    sasl_authenticate_request_init(&login);
    login.auth_bytes = span_of(plain, sizeof plain - 1);
    struct span frame = request_of(&rig, API_SASL_AUTHENTICATE, 2, 1, &login);
    for (size_t kept = 8; kept <= frame.size; kept++) trace_view_request(&rig.view, span_of(frame.data, kept), 0);
    sasl_handshake_request_init(&handshake);
    sasl_handshake_response_init(&mechanisms);
    handshake.mechanism = SPAN_LITERAL("PLAIN");
    trace_view_request(&rig.view, request_of(&rig, API_SASL_HANDSHAKE, 0, 2, &handshake), 0);
    assert_null(trace_view_answer(&rig.view, answer_of(&rig, API_SASL_HANDSHAKE, 0, 2, &mechanisms), 0, &rig.arena).data);
    for (size_t kept = 0; kept < sizeof plain; kept++) trace_view_request(&rig.view, span_of(plain, kept), 0);
    for (size_t kept = 0; kept < sizeof scram; kept++) trace_view_request(&rig.view, span_of(scram, kept), 0);
    assert_null(trace_view_answer(&rig.view, span_of(answer, sizeof answer - 1), 0, &rig.arena).data);
    assert_null(strstr(told, "swordfish"));
    assert_null(strstr(told, "73 77"));
    assert_null(strstr(told, "cj1zd29yZ")); /* r=swor... */
    assert_non_null(strstr(told, "bare credentials, not shown"));
    assert_non_null(strstr(told, "an answer to bare credentials, not shown"));
    told[0] = 0;
    heartbeat_request_init(&heartbeat);
    heartbeat.group_id = SPAN_LITERAL("g");
    trace_view_request(&rig.view, request_of(&rig, API_HEARTBEAT, 4, 3, &heartbeat), 0);
    assert_non_null(strstr(told, "request Heartbeat v4"));
    assert_non_null(strstr(told, "\"groupId\":\"g\""));
    rig_close(&rig);
}

/* What is not Kafka's, or of a version that is not known, is told and passed on; ApiVersions of such a version is read in
 * version 0, as it is answered. A Produce that wants no answer is not waited for, and the oldest of very many is given up. */
TEST(trace_copes_with_the_unknown) {
    struct rig rig;
    struct api_versions_response versions;
    struct produce_request produce;
    struct heartbeat_request heartbeat;
    uint8_t unknown[] = {0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0};
    rig_open(&rig, no_port);
    trace_view_request(&rig.view, SPAN_LITERAL("GET / HTTP/1.1"), 0);
    assert_non_null(strstr(told, "it begins with 47 45 54"));
    trace_view_request(&rig.view, SPAN_LITERAL("abc"), 0);
    assert_non_null(strstr(told, "3 bytes: cannot be read"));
    trace_view_request(&rig.view, span_of(unknown, sizeof unknown), 0);
    assert_non_null(strstr(told, "request ApiVersions v99 correlation 5"));
    api_versions_response_init(&versions);
    versions.error_code = 35;
    trace_view_answer(&rig.view, answer_of(&rig, API_API_VERSIONS, 0, 5, &versions), 0, &rig.arena);
    assert_non_null(strstr(told, "answer ApiVersions v99 correlation 5"));
    assert_non_null(strstr(told, "{\"errorCode\":35,\"apiKeys\":[]}"));
    trace_view_answer(&rig.view, SPAN_LITERAL("\0\0\0\77"), 0, &rig.arena);
    assert_non_null(strstr(told, "nothing known was asked for"));
    produce_request_init(&produce);
    trace_view_request(&rig.view, request_of(&rig, API_PRODUCE, 9, 6, &produce), 0);
    assert_int_equal(rig.view.pending_count, 0);
    heartbeat_request_init(&heartbeat);
    struct span frame = request_of(&rig, API_HEARTBEAT, 4, 3, &heartbeat);
    rig.rules.filter.apis[0] = 0;
    for (uint32_t i = 0; i < TRACE_PENDING_MAX + 10; i++) trace_view_request(&rig.view, frame, 0);
    assert_int_equal(rig.view.pending_count, TRACE_PENDING_MAX);
    rig_close(&rig);
}
