/* Bounds on connections that are set while the node runs. */
#include "server/node_rig.h"
#include "sim/sim_net.h"
#include "test.h"
#include <string.h>
#include "wire/api.h"
#include "wire/errors.h"

static int16_t alter(struct rig_client *client, const char *name, const char *value) {
    int16_t error = rig_alter(client, CONFIG_BROKER, "", name, value);
    node_rig_for(client->rig, 100); /* it is in the image, and set */
    return error;
}

static bool is_served_at(struct rig_client *client, struct node_rig *rig, uint16_t port) {
    struct api_versions_request request;
    api_versions_request_init(&request);
    rig_connect(client, rig, port);
    if (client->closed) return false;
    rig_send_request(client, API_API_VERSIONS, 0, &request);
    return rig_answer(client, 1000).size > 0;
}

static bool is_served(struct rig_client *client, struct node_rig *rig) { return is_served_at(client, rig, RIG_PORT); }

/* max.connections.per.ip and its overrides, max.connections, max.connection.creation.rate: each holds for the next
 * connection after it was set, and no longer when it was taken back. */
TEST(limits_of_connections_change_at_run_time) {
    struct node_rig rig;
    struct rig_client admin, other;
    struct io_address address;
    char text[IO_ADDRESS_TEXT_MAX], override[IO_ADDRESS_TEXT_MAX + 8];
    node_rig_open(&rig, 5, 2, NULL);
    rig_connect(&admin, &rig, RIG_PORT);
    assert_true(is_served(&other, &rig));
    rig_disconnect(&other);
    node_rig_for(&rig, 100);
    assert_int_equal(alter(&admin, "max.connections.per.ip", "1"), KAFKA_NONE);
    assert_false(is_served(&other, &rig));
    rig_disconnect(&other);
    sim_net_address(RIG_CLIENT, 0, &address);
    io_address_text(&address, text);
    *strrchr(text, ':') = 0;
    snprintf(override, sizeof override, "%s:2", text);
    assert_int_equal(alter(&admin, "max.connections.per.ip.overrides", override), KAFKA_NONE);
    assert_true(is_served(&other, &rig));
    rig_disconnect(&other);
    node_rig_for(&rig, 100);
    snprintf(override, sizeof override, "10.9.9.9:7");
    assert_int_equal(alter(&admin, "max.connections.per.ip.overrides", override), KAFKA_NONE); /* another's */
    assert_false(is_served(&other, &rig));
    rig_disconnect(&other);
    assert_int_equal(alter(&admin, "max.connections.per.ip", NULL), KAFKA_NONE);
    assert_true(is_served(&other, &rig));
    rig_disconnect(&other);
    node_rig_for(&rig, 100);
    assert_int_equal(alter(&admin, "max.connections", "1"), KAFKA_NONE);
    assert_false(is_served(&other, &rig)); /* it waits */
    assert_int_equal(alter(&admin, "max.connections", NULL), KAFKA_NONE);
    assert_true(rig_answer(&other, 1000).size > 0); /* and is let in */
    rig_disconnect(&other);
    node_rig_for(&rig, 2000);
    assert_int_equal(alter(&admin, "max.connection.creation.rate", "0"), KAFKA_INVALID_REQUEST);
    assert_int_equal(alter(&admin, "max.connection.creation.rate", "1"), KAFKA_NONE);
    assert_true(is_served(&other, &rig)); /* a second's worth */
    rig_disconnect(&other);
    for (int i = 0; i < 2; i++) { /* and the next one in its second; without the rate at once */
        rig_connect(&other, &rig, RIG_PORT);
        struct api_versions_request request;
        api_versions_request_init(&request);
        rig_send_request(&other, API_API_VERSIONS, 0, &request);
        assert_int_equal(rig_answer(&other, 300).size > 0, i == 1);
        if (i == 0) assert_true(rig_answer(&other, 1500).size > 0);
        rig_disconnect(&other);
        if (i == 0) assert_int_equal(alter(&admin, "max.connection.creation.rate", NULL), KAFKA_NONE);
    }
    rig_disconnect(&admin);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* A host's name in max.connections.per.ip.overrides leads to its address when the setting is taken. One that leads nowhere is taken,
 * too, as by Kafka: it is told, and what was before stays. The last of several changes counts, though a name of the first is still
 * being looked up; so does a stop then. */
TEST(limits_of_addresses_by_name) {
    struct node_rig rig;
    struct rig_client admin, other;
    node_rig_open(&rig, 7, 2, NULL);
    assert_true(sim_net_name(rig.net, "client.example", RIG_CLIENT));
    rig_connect(&admin, &rig, RIG_PORT);
    assert_int_equal(alter(&admin, "max.connections.per.ip", "1"), KAFKA_NONE);
    assert_int_equal(alter(&admin, "max.connections.per.ip.overrides", "10.9.9.9:7,client.example:2"), KAFKA_NONE);
    assert_true(is_served(&other, &rig));
    rig_disconnect(&other);
    node_rig_for(&rig, 100);
    assert_int_equal(alter(&admin, "max.connections.per.ip.overrides", "client.example:1,nobody.example:9"), KAFKA_NONE);
    assert_non_null(strstr(rig.traces, "max.connections.per.ip.overrides stays as it was: no address is known of the host nobody.example"));
    assert_true(is_served(&other, &rig)); /* the two of before */
    rig_disconnect(&other);
    node_rig_for(&rig, 100);
    assert_int_equal(rig_alter(&admin, CONFIG_BROKER, "", "max.connections.per.ip.overrides", "client.example:3"), KAFKA_NONE);
    assert_int_equal(rig_alter(&admin, CONFIG_BROKER, "", "max.connections.per.ip.overrides", "client.example:4,10.9.9.9:1"), KAFKA_NONE);
    assert_int_equal(alter(&admin, "max.connections.per.ip.overrides", "client.example:1"), KAFKA_NONE);
    assert_false(is_served(&other, &rig));
    rig_disconnect(&other);
    assert_int_equal(alter(&admin, "max.connections.per.ip.overrides", NULL), KAFKA_NONE);
    assert_false(is_served(&other, &rig));
    rig_disconnect(&other);
    assert_int_equal(rig_alter(&admin, CONFIG_BROKER, "", "max.connections.per.ip.overrides", "client.example:5"), KAFKA_NONE);
    rig_disconnect(&admin);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}

/* listener.name.NAME.max.connections and its rate, from the file and set while the node runs: at it, below it, and beyond it a
 * connection waits until it may come in; the other listener does not know of it. */
TEST(limits_of_one_listener) {
    struct node_rig rig;
    struct rig_client admin, other, controller;
    node_rig_open(&rig, 6, 2, "listener.name.plaintext.max.connections=2\n");
    rig_connect(&admin, &rig, RIG_PORT);
    assert_true(is_served(&other, &rig));
    rig_disconnect(&other);
    node_rig_for(&rig, 100);
    assert_int_equal(alter(&admin, "listener.name.plaintext.max.connections", "1"), KAFKA_NONE);
    assert_false(is_served(&other, &rig));
    assert_true(is_served_at(&controller, &rig, RIG_CONTROLLER_PORT));
    assert_int_equal(alter(&admin, "listener.name.plaintext.max.connections", NULL), KAFKA_NONE);
    assert_true(rig_answer(&other, 1000).size > 0); /* the file's two again */
    rig_disconnect(&controller);
    assert_false(is_served(&controller, &rig)); /* the third */
    rig_disconnect(&controller);
    rig_disconnect(&other);
    node_rig_for(&rig, 2000);
    assert_int_equal(alter(&admin, "listener.name.plaintext.max.connection.creation.rate", "1"), KAFKA_NONE);
    assert_true(is_served(&other, &rig)); /* a second's worth */
    rig_disconnect(&other);
    node_rig_for(&rig, 50);
    for (int i = 0; i < 2; i++) { /* not the next one in its second, but one of the other listener */
        struct api_versions_request request;
        api_versions_request_init(&request);
        rig_connect(&other, &rig, i == 0 ? RIG_PORT : RIG_CONTROLLER_PORT);
        rig_send_request(&other, API_API_VERSIONS, 0, &request);
        assert_int_equal(rig_answer(&other, 300).size > 0, i == 1);
        if (i == 0) assert_true(rig_answer(&other, 1500).size > 0);
        rig_disconnect(&other);
    }
    rig_disconnect(&admin);
    node_rig_stop(&rig);
    node_rig_close(&rig);
}
