/* cli/console.c - Kafka's configuration in librdkafka's words. */
#include "cli/console.h"
#include "cli/servers.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool console_renamed(const struct args *args, const char *option, const char *old, const char **out) {
    bool has_old = args_has(args, old), produces = args->tool == &cli_tools[TOOL_console_producer]; /* Kafka's two tools say it differently */
    *out = has_old ? old : option;
    if (!has_old) return true;
    if (args_has(args, option)) {
        (void)args_wrong(args, "Options --%s and --%s cannot be specified together.", produces ? option : old, produces ? old : option);
        return false;
    }
    printf("%s --%s is deprecated and will be removed in a future version. Use --%s instead.\n", produces ? "Warning:" : "Option", old, option);
    return true;
}

/* NULL: has no meaning for librdkafka, and none is missed. */
static const struct { const char *name, *here; } names[] = {
    {"buffer.memory", "queue.buffering.max.kbytes"}, {"max.request.size", "message.max.bytes"},
    {"send.buffer.bytes", "socket.send.buffer.bytes"}, {"receive.buffer.bytes", "socket.receive.buffer.bytes"},
    {"fetch.max.wait.ms", "fetch.wait.max.ms"}, {"delivery.timeout.ms", "message.timeout.ms"},
    {"reconnect.backoff.max.ms", "reconnect.backoff.max.ms"},
    {"key.serializer", NULL}, {"value.serializer", NULL}, {"key.deserializer", NULL}, {"value.deserializer", NULL},
    {"max.block.ms", NULL}, {"max.poll.records", NULL}, {"security.protocol", NULL}, {"default.api.timeout.ms", NULL},
    {"exclude.internal.topics", NULL}, {"group.protocol", NULL},
};

/* What Kafka's clients refuse and the library would take, or would say in words of its own. */
static bool check_value(const char *name, const char *value, struct text *why) {
    static const struct { const char *name, *allowed, *shown; bool any_case; } limited[] = {
        {"acks", "all,-1,0,1", "String must be one of: all, -1, 0, 1", false},
        {"group.protocol", "consumer,classic", "String must be one of (case insensitive): CONSUMER, CLASSIC", true},
        {"isolation.level", "read_committed,read_uncommitted", "String must be one of: read_committed, read_uncommitted", false},
    };
    if (strcmp(name, "bootstrap.servers") == 0) return servers_check(value, why);
    for (size_t i = 0; i < countof(limited); i++) {
        struct span rest = span_text(limited[i].allowed), item;
        if (strcmp(limited[i].name, name) != 0) continue;
        while (config_list_next(&rest, &item))
            if (item.size == strlen(value) && (limited[i].any_case ? strncasecmp : strncmp)(value, (const char *)item.data, item.size) == 0) return true;
        text_add(why, "Invalid value %s for configuration %s: %s", value, name, limited[i].shown);
        return false;
    }
    return true;
}

bool console_set(void *conf, const char *name, const char *value, struct text *why) {
    char error[512], number[32];
    const char *asked = name;
    if (!check_value(name, value, why)) return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, name) != 0) continue;
        if (!names[i].here) return true;
        if (strcmp(name, "buffer.memory") == 0) {
            long long kbytes = strtoll(value, NULL, 10) / 1024;
            snprintf(number, sizeof number, "%lld", kbytes < 1 ? 1 : kbytes > 2097151 ? 2097151 : kbytes);
            value = number;
        }
        name = names[i].here;
        break;
    }
    switch (rd_kafka_conf_set(conf, name, value, error, sizeof error)) {
    case RD_KAFKA_CONF_OK: return true;
    case RD_KAFKA_CONF_UNKNOWN:
        fprintf(stderr, "%s is not a key that is known, and has no effect\n", name);
        return true;
    default:
        text_add(why, "Invalid value %s for configuration %s: %s", value, asked, error);
        return false;
    }
}

bool console_set_all(void *conf, const struct config_values *values, struct text *why) {
    for (uint32_t i = 0; i < values->count; i++) {
        char name[256], value[4096];
        if (values->entries[i].name.size >= sizeof name || values->entries[i].value.size >= sizeof value) {
            text_add(why, "a property is too long");
            return false;
        }
        snprintf(name, sizeof name, "%.*s", (int)values->entries[i].name.size, (const char *)values->entries[i].name.data);
        snprintf(value, sizeof value, "%.*s", (int)values->entries[i].value.size, (const char *)values->entries[i].value.data);
        if (!console_set(conf, name, value, why)) return false;
    }
    return true;
}

int console_failed(const struct text *why) {
    fprintf(stderr, "%s\n", why->bytes);
    return 1;
}
