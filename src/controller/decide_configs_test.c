/* Decisions about configurations, as tables: the error cases of each API in the order in which they are looked for. */
#include "controller/machine_rig.h"
#include "test.h"

static const struct { const char *what; int8_t type; const char *resource, *key; int8_t op; const char *value; enum kafka_error error; const char *after; } changes[] = {
    {"set", 2, "t", "retention.ms", 0, "5", KAFKA_NONE, "5"},
    {"no such topic", 2, "missing", "retention.ms", 0, "5", KAFKA_UNKNOWN_TOPIC_OR_PARTITION, NULL},
    {"no such key", 2, "t", "retention.minutes", 0, "5", KAFKA_INVALID_CONFIG, NULL},
    {"bad value", 2, "t", "retention.ms", 0, "-5", KAFKA_INVALID_CONFIG, NULL},
    {"null value", 2, "t", "retention.ms", 0, NULL, KAFKA_INVALID_REQUEST, NULL},
    {"delete what is not there", 2, "t", "retention.ms", 1, NULL, KAFKA_NONE, NULL},
    {"append to the default", 2, "t", "cleanup.policy", 2, "compact", KAFKA_NONE, "delete,compact"},
    {"append what is there", 2, "t", "cleanup.policy", 2, "delete", KAFKA_NONE, "delete"},
    {"subtract", 2, "t", "cleanup.policy", 3, "delete", KAFKA_NONE, ""},
    {"append to no list", 2, "t", "retention.ms", 2, "5", KAFKA_INVALID_CONFIG, NULL},
    {"no such operation", 2, "t", "retention.ms", 4, "5", KAFKA_INVALID_REQUEST, NULL},
    {"no such type", 3, "t", "retention.ms", 0, "5", KAFKA_INVALID_REQUEST, NULL},
    {"loggers live on their broker", 8, "1", "root", 0, "INFO", KAFKA_INVALID_REQUEST, NULL},
    {"broker", 4, "1", "log.cleaner.threads", 0, "2", KAFKA_NONE, "2"},
    {"all brokers", 4, "", "log.cleaner.threads", 0, "2", KAFKA_NONE, "2"},
    {"broker that is not there", 4, "7", "log.cleaner.threads", 0, "2", KAFKA_BROKER_ID_NOT_REGISTERED, NULL},
    {"not a broker", 4, "x", "log.cleaner.threads", 0, "2", KAFKA_INVALID_REQUEST, NULL},
    {"what the broker has judged", 4, "1", "num.partitions", 0, "2", KAFKA_NONE, "2"},
    {"minimum of one broker, with ELR", 4, "1", "min.insync.replicas", 0, "2", KAFKA_INVALID_CONFIG, NULL},
    {"minimum of the cluster", 4, "", "min.insync.replicas", 0, "2", KAFKA_NONE, "2"},
    {"minimum of the cluster removed, with ELR", 4, "", "min.insync.replicas", 1, NULL, KAFKA_INVALID_CONFIG, "1"},
    {"group", 32, "g", "share.auto.offset.reset", 0, "earliest", KAFKA_NONE, "earliest"},
    {"bad name", 2, "a b", "retention.ms", 0, "x", KAFKA_INVALID_TOPIC_EXCEPTION, NULL},
    {"bad value of a topic that is not there", 2, "missing", "retention.ms", 0, "x", KAFKA_INVALID_CONFIG, NULL},
    {"remote storage that is off", 2, "t", "remote.storage.enable", 0, "true", KAFKA_INVALID_CONFIG, NULL},
    {"below what brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "44999", KAFKA_INVALID_CONFIG, NULL},
    {"the least that brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "45000", KAFKA_NONE, "45000"},
    {"the most that brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "60000", KAFKA_NONE, "60000"},
    {"above what brokers allow", 32, "g", "consumer.session.timeout.ms", 0, "60001", KAFKA_INVALID_CONFIG, NULL},
    {"too many standbys", 32, "g", "streams.num.standby.replicas", 0, "3", KAFKA_INVALID_CONFIG, NULL},
    {"no such assignor", 32, "g", "streams.assignor.name", 0, "foo", KAFKA_INVALID_CONFIG, NULL},
    {"rejected records into an internal topic", 32, "g", "errors.deadletterqueue.topic.name", 0, "__x", KAFKA_INVALID_CONFIG, NULL},
    {"interval too short", 16, "sub", "interval.ms", 0, "99", KAFKA_INVALID_REQUEST, NULL},
    {"interval", 16, "sub", "interval.ms", 0, "100", KAFKA_NONE, "100"},
    {"interval that is none", 16, "sub", "interval.ms", 0, "x", KAFKA_INVALID_CONFIG, NULL},
    {"no such key of client metrics", 16, "sub", "foo", 0, "x", KAFKA_INVALID_REQUEST, NULL},
    {"list of client metrics", 16, "sub", "metrics", 2, "c", KAFKA_INVALID_CONFIG, NULL},
    {"match", 16, "sub", "match", 0, "client_id=a.*, client_software_name=(b|c)+", KAFKA_NONE, "client_id=a.*, client_software_name=(b|c)+"},
    {"match of no attribute", 16, "sub", "match", 0, "foo=x", KAFKA_INVALID_CONFIG, NULL},
    {"match without a pattern", 16, "sub", "match", 0, "client_id", KAFKA_INVALID_CONFIG, NULL},
    {"match by half a pattern", 16, "sub", "match", 0, "client_id=[", KAFKA_INVALID_CONFIG, NULL},
    {"group without a name", 32, "", "share.auto.offset.reset", 0, "earliest", KAFKA_INVALID_REQUEST, NULL},
    {"client metrics", 16, "sub", "metrics", 0, "*", KAFKA_NONE, "*"},
};
TEST(decide_alter_configs_by_table) {
    for (size_t i = 0; i < countof(changes); i++) {
        struct rig rig;
        rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
        struct incremental_alter_configs_request in;
        struct incremental_alter_configs_response out;
        incremental_alter_configs_request_init(&in);
        incremental_alter_configs_response_init(&out);
        in.resources = incremental_alter_configs_request_alter_configs_resource_array(&rig.memory, 1);
        in.resources_count = 1;
        in.resources[0].resource_type = changes[i].type;
        in.resources[0].resource_name = span_text(changes[i].resource);
        in.resources[0].configs = incremental_alter_configs_request_alterable_config_array(&rig.memory, 1);
        in.resources[0].configs_count = 1;
        in.resources[0].configs[0] = (struct incremental_alter_configs_request_alterable_config){
            span_text(changes[i].key), changes[i].op, changes[i].value ? span_text(changes[i].value) : (struct span){0}};
        assert_int_equal(rig_call(&rig, 44, 1, &in, &out), KAFKA_NONE);
        assert_int_equal(out.responses_count, 1);
        if (out.responses[0].error_code != (int16_t)changes[i].error) fail_msg("%s: error %d", changes[i].what, out.responses[0].error_code);
        const struct image_config *config = image_config(rig_image(&rig), (enum config_resource)changes[i].type, span_text(changes[i].resource), span_text(changes[i].key));
        if (!changes[i].after) assert_null(config);
        else assert_true(config && span_equal(config->value, span_text(changes[i].after)));
        rig_close(&rig);
    }
}

/* The older call replaces all that a resource has; twice the same resource changes nothing. */
TEST(decide_alter_configs_replaces) {
    struct rig rig;
    rig_open_cluster(&rig, RIG_QUIET, MV_LATEST, true);
    struct alter_configs_request in;
    struct alter_configs_response out;
    static const struct { const char *key, *value; } steps[] = {{"retention.ms", "5"}, {"segment.ms", "6"}};
    for (int i = 0; i < 2; i++) {
        alter_configs_request_init(&in);
        alter_configs_response_init(&out);
        in.resources = alter_configs_request_alter_configs_resource_array(&rig.memory, 2);
        in.resources_count = 1;
        in.resources[0].resource_type = 2;
        in.resources[0].resource_name = SPAN_LITERAL("t");
        in.resources[0].configs = alter_configs_request_alterable_config_array(&rig.memory, 1);
        in.resources[0].configs_count = 1;
        in.resources[0].configs[0] = (struct alter_configs_request_alterable_config){span_text(steps[i].key), span_text(steps[i].value)};
        in.resources[1] = in.resources[0];
        assert_int_equal(rig_call(&rig, 33, 2, &in, &out), KAFKA_NONE);
        assert_int_equal(out.responses[0].error_code, KAFKA_NONE);
        assert_non_null(image_config(rig_image(&rig), CONFIG_TOPIC, SPAN_LITERAL("t"), span_text(steps[i].key)));
    }
    assert_null(image_config(rig_image(&rig), CONFIG_TOPIC, SPAN_LITERAL("t"), SPAN_LITERAL("retention.ms")));
    log_offset end = rig.end;
    in.resources_count = 2;
    alter_configs_response_init(&out);
    assert_int_equal(rig_call(&rig, 33, 2, &in, &out), KAFKA_NONE);
    for (int i = 0; i < 2; i++) assert_int_equal(out.responses[i].error_code, KAFKA_INVALID_REQUEST);
    in.resources_count = 1;
    in.resources[0].resource_type = 3;
    alter_configs_response_init(&out);
    assert_int_equal(rig_call(&rig, 33, 2, &in, &out), KAFKA_NONE);
    assert_int_equal(out.responses[0].error_code, KAFKA_UNSUPPORTED_VERSION);
    assert_int_equal(rig.end, end);
    rig_close(&rig);
}
