/* cli/console_producer.c - kafka-console-producer.sh. */
#include "cli/console.h"
#include "cli/properties.h"
#include "cli/record_text.h"
#include "cli/servers.h"
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Kafka's preset for --timeout is a second, which its producer cuts short at the end of the input. librdkafka waits it
 * out: not given, it is just long enough for records that come together to share a batch. */
#define LINGER_MS "5"
enum { WHY_MAX = 8192, POLL_MS = 100, FLUSH_MS = 1000, FIND_TRIES = 50, FIND_MS = 1000, FIND_PAUSE_MS = 20 };

struct producer {
    struct args *args;
    struct pool pool;
    struct arena arena;
    struct config_values config, reader_config;
    struct line_reader reader;
    struct line_record record;
    rd_kafka_t *kafka;
    const char *topic;
    bool sync;
    rd_kafka_resp_err_t sync_error;
    struct text why;
    char why_bytes[WHY_MAX];
};

static void failed(const char *topic, size_t key_size, bool has_key, size_t size, bool has_value, const char *what) {
    char key[32] = "null", value[32] = "null";
    if (has_key) snprintf(key, sizeof key, "%zu bytes", key_size);
    if (has_value) snprintf(value, sizeof value, "%zu bytes", size);
    fprintf(stderr, "ERROR Error when sending message to topic %s with key: %s, value: %s with error:\n%s\n", topic, key, value, what);
}

static void delivered(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque) {
    struct producer *producer = opaque;
    producer->sync_error = message->err;
    if (message->err && !producer->sync)
        failed(producer->topic, message->key_len, message->key != NULL, message->len, message->payload != NULL, rd_kafka_err2str(message->err));
}

static void logged(const rd_kafka_t *kafka, int level, const char *facility, const char *text) {
    if (level <= 4) fprintf(stderr, "%s %s\n", level <= 3 ? "ERROR" : "WARN", text);
}

/* Kafka's presets where an option was not given; a property of a file or of the command line wins over those, an option
 * that was given wins over all. */
static bool set_option(struct producer *producer, rd_kafka_conf_t *conf, const char *option, const char *key, const char *value) {
    struct span given;
    if (!args_has(producer->args, option) && config_values_get(&producer->config, span_text(key), &given)) return true;
    return !value || console_set(conf, key, value, &producer->why);
}

static bool one_of(struct producer *producer, const char *key, const char *value, const char *allowed, const char *shown) {
    struct span rest = span_text(allowed), item;
    while (config_list_next(&rest, &item))
        if (span_equal(item, span_text(value))) return true;
    text_add(&producer->why, "Invalid value %s for configuration %s: String must be one of: %s", value, key, shown);
    return false;
}

static bool configure(struct producer *producer, rd_kafka_conf_t *conf) {
    struct args *args = producer->args;
    const char *acks = args_text(args, "request-required-acks"), *codec = args_text(args, "compression-codec");
    const char *batch = args_has(args, "batch-size") ? "batch-size" : "max-partition-memory-bytes";
    if (args_has(args, "compression-codec")) {
        if (!codec) codec = "gzip";
        if (!one_of(producer, "compression.type", codec, "none,gzip,snappy,lz4,zstd", "none, gzip, snappy, lz4, zstd")) return false;
    }
    if (!one_of(producer, "acks", acks, "all,-1,0,1", "all, -1, 0, 1")) return false;
    const char *linger = args_has(args, "timeout") ? args_text(args, "timeout") : LINGER_MS;
    struct span set;
    /* Java's producer by default: keys to partitions by murmur2. */
    if (!console_set(conf, "partitioner", "murmur2_random", &producer->why) || !console_set(conf, "client.id", "console-producer", &producer->why) ||
        !console_set(conf, "queue.buffering.max.messages", "0", &producer->why)) return false; /* their bytes are bounded, by buffer.memory */
    bool all = strcmp(acks, "all") == 0 || strcmp(acks, "-1") == 0;
    /* As Java's producer by default, which goes without where the other settings do not allow it. */
    all &= !args_has(args, "message-send-max-retries") || args_number(args, "message-send-max-retries") > 0;
    if (config_values_get(&producer->config, SPAN_LITERAL("retries"), &set) && span_equal(set, SPAN_LITERAL("0"))) all = false;
    if (!config_values_get(&producer->config, SPAN_LITERAL("enable.idempotence"), &set) && !config_values_get(&producer->config, SPAN_LITERAL("acks"), &set) && all &&
        !console_set(conf, "enable.idempotence", "true", &producer->why)) return false;
    if (!config_values_get(&producer->config, SPAN_LITERAL("delivery.timeout.ms"), &set) && !console_set(conf, "delivery.timeout.ms", args_text(args, "max-block-ms"), &producer->why)) return false;
    if (!console_set_all(conf, &producer->config, &producer->why)) return false;
    return set_option(producer, conf, "request-required-acks", "acks", acks) && set_option(producer, conf, "compression-codec", "compression.type", codec) &&
           set_option(producer, conf, "timeout", "linger.ms", producer->sync ? "0" : linger) && set_option(producer, conf, batch, "batch.size", args_text(args, batch)) &&
           set_option(producer, conf, "message-send-max-retries", "retries", args_text(args, "message-send-max-retries")) &&
           set_option(producer, conf, "request-timeout-ms", "request.timeout.ms", args_text(args, "request-timeout-ms")) &&
           set_option(producer, conf, "retry-backoff-ms", "retry.backoff.ms", args_text(args, "retry-backoff-ms")) &&
           set_option(producer, conf, "max-memory-bytes", "buffer.memory", args_text(args, "max-memory-bytes")) &&
           set_option(producer, conf, "metadata-expiry-ms", "metadata.max.age.ms", args_text(args, "metadata-expiry-ms")) &&
           set_option(producer, conf, "socket-buffer-size", "send.buffer.bytes", args_text(args, "socket-buffer-size")) &&
           console_set(conf, "bootstrap.servers", args_text(args, "bootstrap-server"), &producer->why);
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* False: the program ends with 1. */
static bool send_record(struct producer *producer) {
    const struct line_record *record = &producer->record;
    int64_t until = now_ms() + args_number(producer->args, "max-block-ms");
    rd_kafka_resp_err_t error;
    for (;;) {
        rd_kafka_headers_t *headers = record->header_count ? rd_kafka_headers_new(record->header_count) : NULL;
        for (uint32_t i = 0; i < record->header_count; i++)
            (void)rd_kafka_header_add(headers, (const char *)record->headers[i].name.data, (ssize_t)record->headers[i].name.size,
                                      record->headers[i].value.data, (ssize_t)record->headers[i].value.size);
        void *value = (void *)(uintptr_t)record->value.data, *key = (void *)(uintptr_t)record->key.data;
        error = rd_kafka_producev(producer->kafka, RD_KAFKA_V_TOPIC(producer->topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, record->key.size),
                                  RD_KAFKA_V_VALUE(value, record->value.size), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (error && headers) rd_kafka_headers_destroy(headers);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || now_ms() >= until) break;
        rd_kafka_poll(producer->kafka, POLL_MS); /* waits for room */
    }
    rd_kafka_poll(producer->kafka, 0);
    if (!error && producer->sync) {
        while (rd_kafka_flush(producer->kafka, FLUSH_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT) {}
        error = producer->sync_error;
    }
    if (error && producer->sync) fprintf(stderr, "%s\n", rd_kafka_err2str(error));
    else if (error) failed(producer->topic, record->key.size, record->key.data != NULL, record->value.size, record->value.data != NULL, rd_kafka_err2str(error));
    return !error || !producer->sync;
}

/* Asks for the topic until it has a leader, as it is made only now where clusters make topics by themselves. The library
 * would ask again after a second. What is wrong with it, the first record's delivery tells. */
static void find_topic(struct producer *producer) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer->kafka, producer->topic, NULL);
    for (int i = 0; topic && i < FIND_TRIES; i++) {
        const struct rd_kafka_metadata *metadata;
        if (rd_kafka_metadata(producer->kafka, 0, topic, &metadata, FIND_MS)) break;
        rd_kafka_resp_err_t error = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_NO_ERROR;
        bool has_leader = metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt > 0 && metadata->topics[0].partitions[0].leader >= 0;
        rd_kafka_metadata_destroy(metadata);
        if (has_leader || (error != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE && error != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)) break;
        rd_kafka_poll(producer->kafka, FIND_PAUSE_MS);
    }
    if (topic) rd_kafka_topic_destroy(topic);
}

static int produce(struct producer *producer) {
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    uint64_t number = 0;
    int status = 0;
    bool prompt = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    for (;;) {
        if (prompt) {
            fputc('>', stdout);
            fflush(stdout);
        }
        if ((size = getline(&line, &room, stdin)) < 0) break;
        if (size > 0 && line[size - 1] == '\n') size--;
        if (size > 0 && line[size - 1] == '\r') size--;
        if (number == 0) find_topic(producer);
        if (!line_parse(&producer->reader, span_of(line, (size_t)size), ++number, &producer->record, &producer->why)) {
            fprintf(stderr, "org.apache.kafka.common.KafkaException: %s\n", producer->why.bytes);
            status = 1;
            break;
        }
        if (!send_record(producer)) {
            status = 1;
            break;
        }
    }
    while (rd_kafka_flush(producer->kafka, FLUSH_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT) {}
    free(line);
    return status;
}

static int run(struct producer *producer, const char *property, const char *file, const char *reader_property) {
    struct args *args = producer->args;
    static const char line_reader[] = "org.apache.kafka.tools.LineMessageReader";
    char error[512];
    if (strcmp(args_text(args, "line-reader"), line_reader) != 0 && strcmp(args_text(args, "line-reader"), "kafka.tools.ConsoleProducer$LineMessageReader") != 0) {
        text_add(&producer->why, "--line-reader %s: Java classes cannot be loaded here; there is %s", args_text(args, "line-reader"), line_reader);
        return console_failed(&producer->why);
    }
    if ((args_text(args, file) && !properties_read_file(&producer->config, args_text(args, file), &producer->why)) ||
        !properties_read_option(&producer->config, args, property, &producer->why) || !properties_check_security(&producer->config, &producer->why) ||
        (args_text(args, "reader-config") && !properties_read_file(&producer->reader_config, args_text(args, "reader-config"), &producer->why)) ||
        !properties_read_option(&producer->reader_config, args, reader_property, &producer->why) ||
        !line_reader_init(&producer->reader, &producer->reader_config, &producer->why)) return console_failed(&producer->why);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_log_cb(conf, logged);
    rd_kafka_conf_set_opaque(conf, producer);
    if (!configure(producer, conf) || !(producer->kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error))) {
        rd_kafka_conf_destroy(conf);
        if (!producer->why.size) text_add(&producer->why, "%s", error);
        return console_failed(&producer->why);
    }
    /* Everything is delivered or has failed; to wait for the library's threads on top would only take time. */
    return produce(producer);
}

int console_producer_run(struct args *args) {
    static struct producer producer;
    const char *property, *file, *reader_property;
    producer.args = args;
    if (args->count + args->word_count == 0) return args_wrong(args, "This tool helps to read data from standard input and publish it to Kafka.");
    if (!args_has(args, "topic")) return args_wrong(args, "Missing required argument \"[topic]\"");
    if (!args_has(args, "bootstrap-server")) return args_wrong(args, "Missing required argument \"[bootstrap-server]\"");
    if (!*args_text(args, "bootstrap-server")) return args_wrong(args, "Error while validating the bootstrap address\n");
    if (!servers_are_valid(args_text(args, "bootstrap-server"), NULL, NULL)) return args_wrong(args, "Please provide valid host:port like host1:9091,host2:9092\n");
    if (!console_renamed(args, "command-property", "producer-property", &property) || !console_renamed(args, "command-config", "producer.config", &file) ||
        !console_renamed(args, "reader-property", "property", &reader_property)) return 1;
    if (args_number(args, "request-timeout-ms") <= 0) return args_wrong(args, "--request-timeout-ms: more than 0 is wanted");
    producer.topic = args_text(args, "topic");
    producer.sync = args_has(args, "sync");
    pool_init(&producer.pool, 0, 0);
    arena_init(&producer.arena, &producer.pool, 0);
    config_values_init(&producer.config, &producer.arena);
    config_values_init(&producer.reader_config, &producer.arena);
    text_init(&producer.why, producer.why_bytes, sizeof producer.why_bytes);
    int status = run(&producer, property, file, reader_property);
    arena_destroy(&producer.arena);
    pool_destroy(&producer.pool);
    return status;
}
