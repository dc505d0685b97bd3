/* The table beside Apache Kafka 4.4.0's own definitions, which test/interop/ConfigGolden.java has printed into test/configs. */
#include "meta/meta.h"
#include "meta/config_change.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 8192, FIELDS_MAX = 128 };

static FILE *golden(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/test/configs/%s", TEST_SOURCE_ROOT, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

/* The line's fields, cut apart in place; 0: there is no more. */
static uint32_t next_fields(FILE *file, char line[LINE_MAX_BYTES], char *fields[FIELDS_MAX]) {
    if (!fgets(line, LINE_MAX_BYTES, file)) return 0;
    line[strcspn(line, "\n")] = 0;
    uint32_t count = 0;
    for (char *at = line; at && count < FIELDS_MAX; count++) {
        fields[count] = at;
        if ((at = strchr(at, '\t'))) *at++ = 0;
    }
    return count;
}

static enum config_scope scope_named(const char *name) {
    return strcmp(name, "broker") == 0  ? SCOPE_BROKER
           : strcmp(name, "topic") == 0 ? SCOPE_TOPIC
           : strcmp(name, "group") == 0 ? SCOPE_GROUP
                                        : SCOPE_CLIENT_METRICS;
}

static const char *const types[] = {[CONFIG_TYPE_BOOLEAN] = "boolean", [CONFIG_TYPE_STRING] = "string", [CONFIG_TYPE_INT] = "int", [CONFIG_TYPE_SHORT] = "short",
                                    [CONFIG_TYPE_LONG] = "long", [CONFIG_TYPE_DOUBLE] = "double", [CONFIG_TYPE_LIST] = "list", [CONFIG_TYPE_CLASS] = "class", [CONFIG_TYPE_PASSWORD] = "password"};
static const char *const importances[] = {[CONFIG_HIGH] = "high", [CONFIG_MEDIUM] = "medium", [CONFIG_LOW] = "low"};
static const char *const modes[] = {[CONFIG_READ_ONLY] = "read-only", [CONFIG_PER_BROKER] = "per-broker", [CONFIG_CLUSTER_WIDE] = "cluster-wide"};

/* Every key of Kafka's is there with its type, default, importance, mode, and whether it is internal; and of ours that Kafka does
 * not have, each is Moldau's own by its name, or one that Kafka knows elsewhere (quotas of replication, tiered storage's own). */
TEST(config_table_is_kafkas) {
    static const char *const elsewhere[] = {"moldau.", "io.backend", "follower.replication.throttled.rate", "leader.replication.throttled.rate",
                                            "replica.alter.log.dirs.io.max.bytes.per.second", "remote.log.metadata."};
    char line[LINE_MAX_BYTES], *fields[FIELDS_MAX];
    uint32_t shared[SCOPE_CLIENT_METRICS + 1] = {0}, wrong = 0;
    FILE *file = golden("keys.tsv");
    while (next_fields(file, line, fields) == 7) {
        enum config_scope scope = scope_named(fields[0]);
        const struct config_key *key = config_find(scope, span_text(fields[1]));
        if (!key) {
            wrong++, printf("not known: %s %s\n", fields[0], fields[1]);
            continue;
        }
        shared[scope]++;
        const char *value = config_is_required(key) ? "(required)" : key->default_text ? key->default_text : "\\0";
        const char *ours[] = {types[key->type], value, importances[key->importance], key->internal ? "internal" : "public", modes[key->mode]};
        for (size_t i = 0; i < countof(ours); i++)
            if (strcmp(ours[i], fields[2 + i]) != 0) wrong++, printf("%s %s: \"%s\", Kafka has \"%s\"\n", fields[0], fields[1], ours[i], fields[2 + i]);
    }
    fclose(file);
    for (enum config_scope scope = SCOPE_BROKER; scope <= SCOPE_CLIENT_METRICS; scope++) {
        uint32_t count = 0;
        for (const struct config_key *key = NULL; (key = config_next(scope, key)); count++)
            for (size_t i = 0; i < countof(elsewhere); i++)
                if (scope == SCOPE_BROKER && strncmp(key->name, elsewhere[i], strlen(elsewhere[i])) == 0) shared[scope] += i < 5 || !strstr("manager.class.name manager.class.path manager.impl.prefix manager.listener.name custom.metadata.max.bytes", key->name + strlen(elsewhere[i]));
        if (count != shared[scope]) wrong++, printf("scope %d: %u keys, of which Kafka has %u\n", scope, count, shared[scope]);
    }
    assert_int_equal(wrong, 0);
}

/* Around every edge, and for what is no number at all: a value is taken where Kafka takes it, and refused where Kafka refuses it.
 * Refused on purpose: no number, infinity and hexadecimal powers, which nothing can mean (Kafka finds no number in any range). */
TEST(config_values_are_allowed_as_in_kafka) {
    char line[LINE_MAX_BYTES], *fields[FIELDS_MAX], why_bytes[512];
    uint32_t wrong = 0, asked = 0, count;
    FILE *file = golden("values.tsv");
    while ((count = next_fields(file, line, fields))) {
        const struct config_key *key = config_find(scope_named(fields[0]), span_text(fields[1]));
        assert_non_null(key);
        for (uint32_t i = 3; i < count; i++, asked++) {
            struct text why;
            text_init(&why, why_bytes, sizeof why_bytes);
            bool kafkas = strcmp(fields[2], "yes") == 0, ours = config_validate(key, span_text(fields[i]), &why);
            if (strcmp(fields[i], "NaN") == 0 || strcmp(fields[i], "-Infinity") == 0 || strcmp(fields[i], "0x1p3") == 0) kafkas = false;
            if (ours != kafkas) wrong++, printf("%s %s=\"%s\": Kafka %s\n", fields[0], fields[1], fields[i], kafkas ? "takes it" : "refuses it");
            if (!ours && key->type != CONFIG_TYPE_PASSWORD && !strstr(why.bytes, key->name)) wrong++, printf("%s: \"%s\" does not name it\n", fields[1], why.bytes);
        }
    }
    fclose(file);
    assert_true(asked > 10000);
    assert_int_equal(wrong, 0);
}
