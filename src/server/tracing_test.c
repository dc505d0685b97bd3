/* Requests and answers as a node traces them (broker/tracing.h): a whole node in the simulator. */
#include "server/node_rig.h"
#include "base/bytes.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

static uint32_t lines_with(const struct node_rig *rig, const char *word) {
    uint32_t count = 0;
    for (const char *at = rig->traces; (at = strstr(at, word)); at += strlen(word)) count++;
    return count;
}

static void ask_versions(struct rig_client *client) {
    struct api_versions_request request;
    api_versions_request_init(&request);
    request.client_software_name = request.client_software_version = SPAN_LITERAL("t");
    assert_non_null(rig_ask(client, API_API_VERSIONS, 4, &request));
}

static void alter(struct rig_client *client, const char *name, const char *value) {
    (void)rig_alter(client, CONFIG_BROKER, "", name, value); /* what is refused is told as well */
    node_rig_for(client->rig, 200);
}

/* What is asked for is told, request and answer, records counted and not shown; nothing else is, and nothing at all while
 * it is off. */
TEST(tracing_tells_what_is_asked_for) {
    struct node_rig rig;
    struct rig_client client;
    log_offset base;
    node_rig_open(&rig, 31, 2, "moldau.trace.apis=Produce\n");
    rig_connect(&client, &rig, RIG_PORT);
    ask_versions(&client);
    rig_topic(&client, "rivers", 1);
    assert_int_equal(rig_produce(&client, "rivers", 0, 5, 100, &base), 0);
    assert_int_equal(lines_with(&rig, "request Produce v"), 1);
    assert_int_equal(lines_with(&rig, "answer Produce v"), 1);
    assert_int_equal(lines_with(&rig, "request "), 1);
    assert_non_null(strstr(rig.traces, "\"batches\":1,\"records\":5,\"codecs\":\"none\"}"));
    assert_null(strstr(rig.traces, "\"contents\""));
    assert_non_null(strstr(rig.traces, "\"errorCode\":0,\"baseOffset\":0"));
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);

    node_rig_open(&rig, 31, 2, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    ask_versions(&client);
    assert_int_equal(lines_with(&rig, "request "), 0);
    assert_int_equal(lines_with(&rig, "answer "), 0);
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* It is switched on, narrowed and switched off at run time; a name that is no API is refused and nothing changes. Values
 * of settings are told where they are no secrets. */
TEST(tracing_follows_its_settings) {
    struct node_rig rig;
    struct rig_client client;
    node_rig_open(&rig, 32, 2, NULL);
    rig_connect(&client, &rig, RIG_PORT);
    alter(&client, "moldau.trace.apis", "*");
    uint32_t before = lines_with(&rig, "request ApiVersions");
    ask_versions(&client);
    assert_int_equal(lines_with(&rig, "request ApiVersions"), before + 1);
    alter(&client, "log.retention.ms", "123456789");
    alter(&client, "ssl.keystore.password", "swordfish");
    alter(&client, "some.plugin.key", "swordfish");
    assert_non_null(strstr(rig.traces, "\"123456789\""));
    assert_null(strstr(rig.traces, "swordfish"));
    assert_int_equal(lines_with(&rig, "\"value\":\"***\""), 2);
    alter(&client, "moldau.trace.apis", "Fech");
    assert_non_null(strstr(rig.traces, "\\\"Fech\\\" is no API"));
    alter(&client, "moldau.trace.clients", "nobody");
    before = lines_with(&rig, "request ");
    ask_versions(&client);
    assert_int_equal(lines_with(&rig, "request "), before);
    alter(&client, "moldau.trace.clients", "");
    ask_versions(&client);
    assert_true(lines_with(&rig, "request ") > before);
    alter(&client, "moldau.trace.apis", "");
    before = lines_with(&rig, "request ");
    ask_versions(&client);
    assert_int_equal(lines_with(&rig, "request "), before);
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* No more lines in a second than the bound, no longer ones than that one; what was left out is counted. */
TEST(tracing_is_bounded) {
    struct node_rig rig;
    struct rig_client client;
    node_rig_open(&rig, 33, 1, "moldau.trace.apis=ApiVersions\nmoldau.trace.lines.per.second=10\nmoldau.trace.line.bytes=256\n");
    rig_connect(&client, &rig, RIG_PORT);
    node_rig_for(&rig, 2000);
    for (int i = 0; i < 20; i++) ask_versions(&client); /* virtual time hardly moves meanwhile */
    uint32_t told = lines_with(&rig, "request ") + lines_with(&rig, "answer ");
    assert_true(told >= 10 && told <= 20);
    node_rig_for(&rig, 2000);
    ask_versions(&client);
    char expected[64];
    snprintf(expected, sizeof expected, "%u requests and answers more were not told", 40 - told);
    assert_non_null(strstr(rig.traces, expected));
    assert_true(lines_with(&rig, "(line cut)") > 0);
    for (const char *line = rig.traces; *line;) {
        size_t size = strcspn(line, "\n");
        if (strncmp(line, "answer ", 7) == 0) assert_true(size < 256);
        line += size + (line[size] == '\n');
    }
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

static void send_frame(struct rig_client *client, const void *bytes, size_t size) {
    uint8_t frame[128];
    store_be32(frame, (uint32_t)size);
    memcpy(frame + 4, bytes, size);
    rig_send(client, frame, size + 4);
    node_rig_for(client->rig, 200);
}

/* What cannot be read is told with the bytes that it begins with: a request cut short, and what is no request at all. Of a
 * login, cut short or sent bare behind a SaslHandshake of version 0, no byte is told. */
TEST(tracing_tells_what_cannot_be_read) {
    static const uint8_t cut[] = {0, 12, 0, 4, 0, 0, 0, 9, 0xff, 0xff, 0, 6, 'g', 'r'};
    static const uint8_t login[] = {0, 36, 0, 2, 0, 0, 0, 9, 0xff, 0xff, 0, 99, 's', 'w', 'o', 'r', 'd', 'f', 'i', 's', 'h'};
    static const uint8_t handshake[] = {0, 17, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0, 5, 'P', 'L', 'A', 'I', 'N'};
    static const uint8_t token[] = {0, 'u', 's', 'e', 'r', 0, 's', 'w', 'o', 'r', 'd', 'f', 'i', 's', 'h'};
    struct node_rig rig;
    struct rig_client client;
    node_rig_open(&rig, 34, 1, "moldau.trace.apis=*\n");
    rig_connect(&client, &rig, RIG_PORT);
    send_frame(&client, cut, sizeof cut);
    assert_non_null(strstr(rig.traces, "request Heartbeat v4 correlation 9 client null"));
    assert_non_null(strstr(rig.traces, "cannot be read at byte 1 of 3"));
    assert_non_null(strstr(rig.traces, "it begins with 06 67 72"));
    rig_disconnect(&client);
    rig_connect(&client, &rig, RIG_PORT);
    send_frame(&client, "what is this", 12);
    assert_non_null(strstr(rig.traces, "it begins with 77 68 61 74"));
    rig_disconnect(&client);
    rig_connect(&client, &rig, RIG_PORT);
    send_frame(&client, login, sizeof login);
    assert_non_null(strstr(rig.traces, "it may hold secrets, so its bytes are not shown"));
    rig_disconnect(&client);
    rig_connect(&client, &rig, RIG_PORT);
    send_frame(&client, handshake, sizeof handshake);
    send_frame(&client, token, sizeof token);
    assert_non_null(strstr(rig.traces, "bare credentials, not shown"));
    assert_null(strstr(rig.traces, "swordfish"));
    assert_null(strstr(rig.traces, "73 77 6f"));
    rig_disconnect(&client);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}
