#include "cli/load.h"
#include "cli/console.h"
#include "cli/properties.h"
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES_MAX = 500000 };

/* An older name and the one that took its place: told, and not both. */
static bool check_names(struct load *load, const char *const *names) {
    bool letters = args_has_letters(load->args->tool);
    if (!names[0] || !names[1] || !args_has(load->args, names[0])) return true;
    if (args_has(load->args, names[1])) {
        text_add(&load->why, letters ? "--%s and --%s cannot be specified together." : "Option \"[%s]\" can't be used with option \"[%s]\"", names[0], names[1]);
        return false;
    }
    printf(letters ? "Option --%s has been deprecated and will be removed in a future version. Use --%s instead.\n" : "Warning: --%s is deprecated. Use --%s instead.\n", names[0], names[1]);
    return true;
}

bool load_open(struct load *load, struct args *args, const char *const *files, const char *const *properties) {
    memset(load, 0, sizeof *load);
    load->args = args;
    pool_init(&load->pool, 0, 0);
    arena_init(&load->arena, &load->pool, 0);
    config_values_init(&load->config, &load->arena);
    text_init(&load->why, load->why_bytes, sizeof load->why_bytes);
    if (!check_names(load, files) || !check_names(load, properties)) return false;
    for (; *files; files++)
        if (args_text(args, *files) && !properties_read_file(&load->config, args_text(args, *files), &load->why)) return false;
    for (; *properties; properties++)
        if (!properties_read_option(&load->config, args, *properties, &load->why)) return false;
    return properties_check_security(&load->config, &load->why);
}

static void logged(const rd_kafka_t *kafka, int level, const char *facility, const char *text) {
    if (level <= 4) fprintf(stderr, "%s %s\n", level <= 3 ? "ERROR" : "WARN", text);
}

bool load_connect(struct load *load, bool is_producer, const struct load_setting *weak, const struct load_setting *strong, void (*configure)(void *conf)) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char error[512] = "";
    bool ok = true;
    struct span set;
    rd_kafka_conf_set_log_cb(conf, logged);
    rd_kafka_conf_set_opaque(conf, load);
    for (; ok && weak->name; weak++)
        if (!config_values_get(&load->config, span_text(weak->name), &set)) ok = console_set(conf, weak->name, weak->value, &load->why);
    ok = ok && console_set_all(conf, &load->config, &load->why);
    for (; ok && strong->name; strong++)
        if (strong->value) ok = console_set(conf, strong->name, strong->value, &load->why);
    if (ok && configure) configure(conf);
    if (ok) load->kafka = rd_kafka_new(is_producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (load->kafka) return true;
    rd_kafka_conf_destroy(conf);
    if (*error) text_add(&load->why, "%s", error);
    return false;
}

/* Whatever matters is delivered by now: waiting for the library's threads would only take time. */
void load_close(struct load *load) {
    arena_destroy(&load->arena);
    pool_destroy(&load->pool);
}

int load_failed(struct load *load) {
    fflush(stdout);
    fprintf(stderr, "%s\n", load->why.bytes);
    return 1;
}

int load_wrong(const struct args *args, const char *tool, const char *format, ...) {
    va_list arguments;
    args_help(args->tool, stderr);
    fprintf(stderr, "%s: error: ", tool);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return 1;
}

int64_t load_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t load_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t load_pace_ms(int64_t started_ms, int64_t count, double rate) {
    if (rate < 0) return 0;
    if (rate == 0) return INT32_MAX; /* for ever, as Kafka's tool does */
    double due = (double)count / rate * 1000, passed = (double)(load_now_ms() - started_ms);
    return due > passed ? (int64_t)(due - passed) + 1 : 0;
}

/* ---- latencies ------------------------------------------------------------------------------------------------------------- */

bool latencies_init(struct latencies *latencies, int64_t expected) {
    *latencies = (struct latencies){.sampling = expected > SAMPLES_MAX ? expected / SAMPLES_MAX : 1};
    latencies->room = expected / latencies->sampling + 1;
    latencies->samples = calloc((size_t)latencies->room, sizeof *latencies->samples);
    return latencies->samples != NULL;
}

void latencies_free(struct latencies *latencies) { free(latencies->samples); }

void latencies_add(struct latencies *latencies, int32_t ms, int64_t bytes) {
    if (latencies->count % latencies->sampling == 0 && latencies->taken < latencies->room) latencies->samples[latencies->taken++] = ms;
    latencies->count++;
    latencies->bytes += bytes;
    latencies->sum += ms;
    if (ms > latencies->max) latencies->max = ms;
}

static int by_value(const void *a, const void *b) { return (*(const int32_t *)a > *(const int32_t *)b) - (*(const int32_t *)a < *(const int32_t *)b); }

int32_t latencies_at(struct latencies *latencies, double part) {
    if (latencies->taken == 0) return 0;
    qsort(latencies->samples, (size_t)latencies->taken, sizeof *latencies->samples, by_value);
    return latencies->samples[(int64_t)(part * (double)latencies->taken)];
}

void load_date(const char *format, int64_t ms, char *out, size_t room) {
    struct text text;
    struct tm parts;
    time_t seconds = (time_t)(ms / 1000);
    localtime_r(&seconds, &parts);
    text_init(&text, out, room);
    for (const char *at = format; *at;) {
        if (*at == '\'') {
            for (at++; *at && *at != '\''; at++) text_add(&text, "%c", *at);
            if (*at) at++;
            continue;
        }
        int width = 1;
        while (at[width] == *at) width++;
        switch (*at) {
        case 'y': text_add(&text, "%0*d", width, width == 2 ? (parts.tm_year + 1900) % 100 : parts.tm_year + 1900); break;
        case 'M': text_add(&text, "%0*d", width, parts.tm_mon + 1); break;
        case 'd': text_add(&text, "%0*d", width, parts.tm_mday); break;
        case 'H': text_add(&text, "%0*d", width, parts.tm_hour); break;
        case 'm': text_add(&text, "%0*d", width, parts.tm_min); break;
        case 's': text_add(&text, "%0*d", width, parts.tm_sec); break;
        case 'S': text_add(&text, "%0*d", width, (int)(ms % 1000)); break;
        default: text_add(&text, "%.*s", width, at); break;
        }
        at += width;
    }
}
