#include "server/settings.h"
#include "test.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct pool pool;
static struct arena arena;
static struct settings settings;
static char why_bytes[1024], warning_bytes[1024];

static const char base[] = "process.roles=broker,controller\nnode.id=7\ncontroller.quorum.voters=7@localhost:9093\n"
                           "controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://localhost:9093\nlog.dirs=/a,/b\n";

static bool read_lines(const char *text) {
    struct config_values values;
    struct text why, warnings;
    arena_destroy(&arena);
    pool_destroy(&pool);
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
    text_init(&why, why_bytes, sizeof why_bytes);
    text_init(&warnings, warning_bytes, sizeof warning_bytes);
    why_bytes[0] = warning_bytes[0] = 0;
    config_values_init(&values, &arena);
    struct span copy = span_of(arena_copy(&arena, text, strlen(text)), strlen(text));
    return config_values_read(&values, copy, &why) == ERR_NONE && settings_read(&settings, &values, &why, &warnings);
}

/* Reads the base with these lines behind it, where the last of a key counts as in Java's properties. */
static bool read_with(const char *lines) {
    char text[4096];
    snprintf(text, sizeof text, "%s%s\n", base, lines);
    return read_lines(text);
}

static void begin(void) {
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
}

static void end(void) {
    arena_destroy(&arena);
    pool_destroy(&pool);
}

/* What a plain file gives: roles, listeners with their addresses and what is advertised, directories, defaults. */
TEST(settings_of_a_plain_file) {
    begin();
    assert_true(read_with(""));
    assert_int_equal(settings.node, 7);
    assert_true(settings.is_broker && settings.is_controller);
    assert_int_equal(settings.listener_count, 2);
    assert_string_equal(settings.listeners[0].name, "PLAINTEXT");
    assert_false(settings.listeners[0].is_controller || settings.listeners[0].is_protected);
    assert_string_equal(settings.listeners[0].host, "127.0.0.1");
    assert_int_equal(settings.listeners[0].port, 9092);
    assert_true(settings.listeners[1].is_controller);
    assert_string_equal(settings.controller_listener, "CONTROLLER");
    assert_int_equal(settings.log_dir_count, 2);
    assert_string_equal(settings.log_dirs[1], "/b");
    assert_string_equal(settings.metadata_dir, "/a");
    assert_false(settings.page_cache);
    assert_string_equal(warning_bytes, "");
    assert_true(read_with("log.dirs=/a,/b,/a"));
    assert_int_equal(settings.log_dir_count, 2);
    assert_true(read_with("metadata.log.dir=/m\nmoldau.durability=page-cache\nmoldau.shards=3\nbroker.rack=r1"));
    assert_string_equal(settings.metadata_dir, "/m");
    assert_true(settings.page_cache);
    assert_int_equal(settings.shards, 3);
    assert_string_equal(settings.rack, "r1");
    end();
}

/* log.dir is looked at where there are no log.dirs. The metadata lie in metadata.log.dir, or in the first one. */
TEST(settings_of_directories) {
    begin();
    assert_true(read_lines("process.roles=broker,controller\nnode.id=7\ncontroller.quorum.voters=7@localhost:9093\ncontroller.listener.names=CONTROLLER\n"
                           "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://localhost:9093\nlog.dir=/one,/two\n"));
    assert_int_equal(settings.log_dir_count, 2);
    assert_string_equal(settings.log_dirs[1], "/two");
    assert_string_equal(settings.metadata_dir, "/one");
    assert_true(read_with("log.dir=/one\nmetadata.log.dir=/m"));
    assert_string_equal(settings.log_dirs[0], "/a");
    assert_string_equal(settings.metadata_dir, "/m");
    end();
}

/* Several listeners of brokers: names from the map, addresses of both kinds, what is advertised instead, and the one of
 * the brokers among themselves is protected, if it is one of its own. */
TEST(settings_of_listeners) {
    begin();
    assert_true(read_with("listeners=IN://10.0.0.1:9094,OUT://[::1]:9092,CONTROLLER://:9093\nlistener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
                          "inter.broker.listener.name=IN\nadvertised.listeners=OUT://kafka.example.org:19092,IN://10.0.0.1:9094"));
    assert_int_equal(settings.listener_count, 3);
    assert_true(settings.listeners[0].is_protected);
    assert_false(settings.listeners[1].is_protected || settings.listeners[2].is_protected);
    assert_string_equal(settings.listeners[1].host, "kafka.example.org");
    assert_int_equal(settings.listeners[1].port, 19092);
    char address[IO_ADDRESS_TEXT_MAX];
    io_address_text(&settings.listeners[1].address, address);
    assert_string_equal(address, "[::1]:9092");
    end();
}

/* What Kafka takes is taken: names in any case, hosts by name, one port for an address of IPv4 and one of IPv6, any free port twice,
 * more voters, assignors by their classes, what is for SASL where there is none. Who listens everywhere tells this machine's name. */
TEST(settings_take_what_kafka_takes) {
    static const char *const lines[] = {
        "listeners=plaintext://:9092,controller://localhost:9093",
        "listener.security.protocol.map=plaintext:plaintext,controller:plaintext",
        "listeners=PLAINTEXT://localhost:0,CONTROLLER://localhost:0",
        "listeners=A://127.0.0.1:9092,B://[::1]:9092,CONTROLLER://localhost:9093\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=b",
        "advertised.listeners=PLAINTEXT://:9092",
        "advertised.listeners=PLAINTEXT://h:9092,CONTROLLER://h:9093",
        "controller.quorum.voters=6@a:1,7@localhost:9093",
        "group.consumer.assignors=range,org.apache.kafka.coordinator.group.assignor.UniformAssignor",
        "sasl.mechanism.inter.broker.protocol=PLAIN\nsasl.enabled.mechanisms=PLAIN",
        "early.start.listeners=CONTROLLER",
        "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093\nadvertised.listeners=PLAINTEXT://h:9092",
        "listeners=PLAINTEXT://[::]:9092,CONTROLLER://localhost:9093",
        "listeners=PLAINTEXT://localhost:9092,CONTROLLER://0.0.0.0:9093",
    };
    begin();
    for (size_t i = 0; i < countof(lines); i++)
        if (!read_with(lines[i])) fail_msg("%s: %s", lines[i], why_bytes);
    char name[256] = "";
    assert_int_equal(gethostname(name, sizeof name - 1), 0);
    assert_true(read_with("listeners=PLAINTEXT://:9092,CONTROLLER://localhost:9093"));
    if (strcmp(settings.listeners[0].host, "localhost") != 0) assert_memory_equal(settings.listeners[0].host, name, strcspn(name, "."));
    assert_string_equal(settings.listeners[1].host, "localhost");
    assert_true(read_with("listeners=plaintext://:9092,CONTROLLER://localhost:9093"));
    assert_string_equal(settings.listeners[0].name, "PLAINTEXT");
    end();
}

/* Limits of connections by address: of IPv4, IPv6 with brackets and without, and of a name, which is looked up; who is named again has
 * the last. */
TEST(settings_of_address_limits) {
    begin();
    assert_true(read_with("max.connections.per.ip.overrides="));
    assert_int_equal(settings.overrides.count, 0);
    assert_true(read_with("max.connections.per.ip.overrides=10.1.2.3:5,::1:6,localhost:0, [::2]:7,10.1.2.3:8"));
    static const struct { uint8_t last; uint32_t most; } wanted[] = {{3, 8}, {1, 6}, {1, 0}, {2, 7}};
    assert_int_equal(settings.overrides.count, countof(wanted));
    for (size_t i = 0; i < countof(wanted); i++) {
        assert_int_equal(settings.overrides.entries[i].ip[15], wanted[i].last);
        assert_int_equal(settings.overrides.entries[i].connections_max, wanted[i].most);
    }
    assert_int_equal(settings.overrides.entries[2].ip[12], 127); /* localhost, as IPv4 */
    end();
}

/* Every refusal is one sentence with the key, the value, and what is allowed or wrong. */
TEST(settings_refuse_in_one_sentence) {
    static const struct { const char *lines, *said; } cases[] = {
        {"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
         "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer: authorizers are not served yet; without one every client may do everything"},
        {"client.quota.callback.class=a.B", "client.quota.callback.class=a.B: client quotas are not served yet"},
        {"create.topic.policy.class.name=a.B", "create.topic.policy.class.name=a.B: policies are Java classes and cannot be run here"},
        {"alter.config.policy.class.name=a.B", "alter.config.policy.class.name=a.B: policies are Java classes and cannot be run here"},
        {"security.inter.broker.protocol=SSL", "security.inter.broker.protocol=SSL: only PLAINTEXT is served yet"},
        {"remote.log.storage.system.enable=true", "remote.log.storage.system.enable=true: tiered storage is not served yet"},
        {"process.roles=broker", "process.roles=broker: only a node with both roles, broker,controller, is served yet"},
        {"process.roles=controller", "process.roles=controller: only a node with both roles, broker,controller, is served yet"},
        {"listeners=PLAINTEXT:9092", "listeners=PLAINTEXT:9092: each listener is NAME://host:port"},
        {"listeners=PLAINTEXT://localhost", "listeners=PLAINTEXT://localhost: each listener is NAME://host:port"},
        {"listeners=PLAINTEXT://localhost:70000", "listeners=PLAINTEXT://localhost:70000: each listener is NAME://host:port"},
        {"listeners=PLAINTEXT://:9092,PLAINTEXT://:9094", "listeners=PLAINTEXT://:9092,PLAINTEXT://:9094: a listener's name is there twice"},
        {"listeners=FANCY://:9092,CONTROLLER://:9093", "listeners=FANCY://:9092,CONTROLLER://:9093: a listener's name is not in listener.security.protocol.map"},
        {"listeners=SSL://:9092,CONTROLLER://:9093", "listeners=SSL://:9092,CONTROLLER://:9093: only PLAINTEXT listeners are served yet, no SSL and no SASL"},
        {"listeners=PLAINTEXT://no.such.host.invalid:9092,CONTROLLER://:9093",
         "listeners=PLAINTEXT://no.such.host.invalid:9092,CONTROLLER://:9093: a host to listen on leads to no address: an address of this machine is wanted, a name that leads to one, or nothing for all"},
        {"listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9092",
         "listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9092: two listeners have the same port"},
        {"listeners=A://:9092,B://:9094,CONTROLLER://:9093\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT",
         "security.inter.broker.protocol=PLAINTEXT: no listener has this name: say in inter.broker.listener.name which one the brokers use among themselves"},
        {"listeners=A://:9092,B://:9094,CONTROLLER://:9093\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=CONTROLLER",
         "inter.broker.listener.name=CONTROLLER: is a listener of the controller"},
        {"listeners=A://:9092,B://:9094,CONTROLLER://:9093\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=X",
         "inter.broker.listener.name=X: is not in listeners"},
        {"listeners=A://:9092,B://:9094,CONTROLLER://:9093\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=B\nadvertised.listeners=A://a:1",
         "inter.broker.listener.name=B: is not in advertised.listeners"},
        {"listeners=A://:9092,B://:9094,CONTROLLER://:9093\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=A\nsecurity.inter.broker.protocol=PLAINTEXT",
         "inter.broker.listener.name=A: security.inter.broker.protocol says it, too: only one of them may be set"},
        {"advertised.listeners=CONTROLLER://a:1",
         "security.inter.broker.protocol=PLAINTEXT: is not in advertised.listeners"},
        {"controller.listener.names=CONTROLLER,C2",
         "controller.listener.names=CONTROLLER,C2: is not in listeners"},
        {"early.start.listeners=C2",
         "early.start.listeners=C2: is not in listeners"},
        {"controller.quorum.voters=8@localhost:9093",
         "controller.quorum.voters=8@localhost:9093: node.id is not among them, and a controller must be"},
        {"group.consumer.assignors=uniform,a.B",
         "group.consumer.assignors=uniform,a.B: one of them is not known, and a Java class cannot be run here"},
        {"listeners=CONTROLLER://:9093", "listeners=CONTROLLER://:9093: a broker needs a listener besides the controller's"},
        {"listeners=PLAINTEXT://:9092", "controller.listener.names=CONTROLLER: is not in listeners"},
        {"advertised.listeners=PLAINTEXT://0.0.0.0:9092",
         "advertised.listeners=PLAINTEXT://0.0.0.0:9092: clients cannot connect to every address at once (0.0.0.0, [::]): a name or an address that they can reach is needed"},
        {"advertised.listeners=OTHER://a:9092", "advertised.listeners=OTHER://a:9092: advertises a listener that is not in listeners"},
        {"advertised.listeners=nonsense", "advertised.listeners=nonsense: each listener is NAME://host:port"},
        {"max.connections.per.ip.overrides=10.0.0.1", "max.connections.per.ip.overrides=10.0.0.1: each override is host:count"},
        {"max.connections.per.ip.overrides=10.0.0.1:-1", "max.connections.per.ip.overrides=10.0.0.1:-1: each override is host:count"},
        {"max.connections.per.ip.overrides=127.0.0.1:2,a.b.invalid:1", "max.connections.per.ip.overrides=127.0.0.1:2,a.b.invalid:1: the host a.b.invalid leads to no address"},
        {"listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093",
         "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093: clients cannot connect to 0.0.0.0: advertised.listeners must say by which name or address they reach this broker, or the host be left out for this machine's name"},
        {"moldau.disk.reserve=lots", "moldau.disk.reserve=lots: 2% or a number of bytes"},
        {"moldau.disk.reserve=-1", "moldau.disk.reserve=-1: 2% or a number of bytes"},
    };
    begin();
    for (size_t i = 0; i < countof(cases); i++) {
        assert_false(read_with(cases[i].lines));
        assert_string_equal(why_bytes, cases[i].said);
    }
    end();
}

/* Values of a wrong type or out of range name the key and the value too, and say one thing only; the table's own words. */
TEST(settings_refuse_wrong_values) {
    static const char *const lines[] = {"node.id=x", "num.partitions=0", "log.segment.bytes=5", "moldau.shards=65", "moldau.durability=sometimes",
                                        "max.connections=-1", "socket.request.max.bytes=0", "auto.create.topics.enable=perhaps"};
    begin();
    for (size_t i = 0; i < countof(lines); i++) {
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(lines[i], "="), lines[i]);
        assert_false(read_with(lines[i]));
        assert_non_null(strstr(why_bytes, key));
        assert_non_null(strstr(why_bytes, strchr(lines[i], '=') + 1));
        assert_null(strchr(why_bytes, '\n'));
        assert_true(strlen(why_bytes) < 200);
    }
    end();
}

/* A key that is not known is warned of, in a line each, and has no effect. */
TEST(settings_warn_of_unknown_keys) {
    begin();
    assert_true(read_with("num.partitionz=3\nmy.own.key=x"));
    assert_non_null(strstr(warning_bytes, "num.partitionz"));
    assert_non_null(strstr(warning_bytes, "my.own.key"));
    end();
}
