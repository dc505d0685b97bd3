/* cli/e2e_latency.c - kafka-e2e-latency.sh: one record at a time, from its sending to its reading. Its options may be given as
 * words in this order: bootstrap-server topic num-records producer-acks record-size [command-config].
 */
#include "cli/configs.h"
#include "cli/load.h"
#include "cli/tools.h"
#include "base/random.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 60000, TURN_MS = 1000, METADATA_MS = 10000, PARTITIONS_MAX = 1024, WORDS_MIN = 5, WORDS_MAX = 6, HEADERS_MAX = 1024, SETTLE_MS = 500 };

struct measured {
    struct load producer, consumer;
    const char *bootstrap, *topic, *acks;
    int64_t records, size, key_size, headers, header_key_size, header_size;
    bool delivered;
    rd_kafka_resp_err_t error;
    uint8_t *bytes;                /* value, then key */
};
static struct measured measured;

static void delivered(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque) {
    measured.delivered = true;
    measured.error = message->err;
}
static void configure(void *conf) { rd_kafka_conf_set_dr_msg_cb(conf, delivered); }

static bool fail(const char *sentence) {
    text_add(&measured.producer.why, "%s", sentence);
    return false;
}

/* Options by name, or by their places. */
static bool read_options(struct args *args) {
    static const char *const names[WORDS_MAX] = {"bootstrap-server", "topic", "num-records", "producer-acks", "record-size", "command-config"};
    if (args->word_count) {
        if (args->word_count < WORDS_MIN || args->word_count > WORDS_MAX) {
            fprintf(stderr, "Invalid number of arguments. Expected 5 or 6 positional arguments, but got %u. Usage: bootstrap-server topic num-records producer-acks record-size [optional] command-config\n", args->word_count);
            return false;
        }
        puts("WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named arguments instead: --bootstrap-server, --topic, --num-records, "
             "--producer-acks, --record-size, --command-config");
        for (uint32_t i = 0; i < args->word_count; i++)
            for (uint32_t k = 0; k < args->tool->count; k++)
                if (strcmp(args->tool->options[k].name, names[i]) == 0 && args->count < ARGS_MAX) {
                    args->given[args->count].option = &args->tool->options[k];
                    args->given[args->count++].value = args->words[i];
                }
    }
    for (size_t i = 0; i < WORDS_MIN; i++)
        if (!args_has(args, names[i])) {
            (void)args_wrong(args, "Missing required argument \"[%s]\"", names[i]);
            return false;
        }
    measured.bootstrap = args_text(args, "bootstrap-server");
    measured.topic = args_text(args, "topic");
    measured.acks = args_text(args, "producer-acks");
    static const struct { const char *name; int64_t *to, least; } numbers[] = {
        {"num-records", &measured.records, 1}, {"record-size", &measured.size, 0}, {"record-key-size", &measured.key_size, 0}, {"num-headers", &measured.headers, 0},
        {"record-header-key-size", &measured.header_key_size, 0}, {"record-header-size", &measured.header_size, -1}};
    for (size_t i = 0; i < countof(numbers); i++)
        if (!config_parse_integer(span_text(args_text(args, numbers[i].name)), numbers[i].to) || *numbers[i].to < numbers[i].least || *numbers[i].to > INT32_MAX) {
            (void)args_wrong(args, "Value for --%s must be a non-negative integer%s.", numbers[i].name, numbers[i].least < 0 ? " or -1 for null header value" : "");
            return false;
        }
    if (measured.headers > HEADERS_MAX) return (void)args_wrong(args, "--num-headers: at most %d", HEADERS_MAX), false;
    if (strcmp(measured.acks, "1") == 0 || strcmp(measured.acks, "all") == 0) return true;
    (void)args_wrong(args, "Latency testing requires synchronous acknowledgement. Please use '1' or 'all' for --producer-acks.");
    return false;
}

/* A topic that is missing is made, by asking for it. Answers how many partitions it has; 0: there is none. */
static int32_t partitions_of(rd_kafka_t *kafka, rd_kafka_topic_t *topic) {
    int64_t until = load_now_ms() + METADATA_MS;
    bool told = false;
    while (load_now_ms() < until) {
        const struct rd_kafka_metadata *metadata;
        if (rd_kafka_metadata(kafka, 0, topic, &metadata, METADATA_MS)) continue;
        int32_t count = metadata->topic_cnt == 1 && !metadata->topics[0].err ? metadata->topics[0].partition_cnt : 0;
        rd_kafka_metadata_destroy(metadata);
        if (count) return count;
        if (!told) printf("Topic \"%s\" does not exist. Will create topic with %d partition(s) and replication factor = %d\n", measured.topic, 1, 1);
        told = true;
        rd_kafka_poll(kafka, 100);
    }
    return 0;
}

/* Reads from the ends on: their offsets are fixed before the first record is sent. */
static bool assign(rd_kafka_t *producer, rd_kafka_t *consumer) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, measured.topic, NULL);
    int32_t count = topic ? partitions_of(producer, topic) : 0;
    if (topic) rd_kafka_topic_destroy(topic);
    if (count == 0) return fail("The topic cannot be found.");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t i = 0; i < count && i < PARTITIONS_MAX; i++) {
        int64_t low, high;
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(consumer, measured.topic, i, &low, &high, METADATA_MS);
        if (error) {
            rd_kafka_topic_partition_list_destroy(list);
            return fail(rd_kafka_err2str(error));
        }
        rd_kafka_topic_partition_list_add(list, measured.topic, i)->offset = high;
    }
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_resp_err_t error = rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return !error || fail(rd_kafka_err2str(error));
}

static rd_kafka_headers_t *make_headers(struct random *random) {
    rd_kafka_headers_t *headers = measured.headers ? rd_kafka_headers_new((size_t)measured.headers) : NULL;
    char *text = headers ? malloc((size_t)(measured.header_key_size + (measured.header_size > 0 ? measured.header_size : 0)) + 1) : NULL;
    for (int64_t i = 0; text && i < measured.headers; i++) {
        size_t value = measured.header_size > 0 ? (size_t)measured.header_size : 0, key = (size_t)measured.header_key_size;
        memset(text, 'A' + (int)random_below(random, 26), key + value);
        (void)rd_kafka_header_add(headers, text, (ssize_t)key, measured.header_size < 0 ? NULL : text + key, (ssize_t)value);
    }
    free(text);
    return headers;
}

/* One record there and back. False: `why`. */
static bool once(rd_kafka_t *producer, rd_kafka_t *consumer, struct random *random) {
    size_t size = (size_t)measured.size, key = (size_t)measured.key_size;
    memset(measured.bytes, 'A' + (int)random_below(random, 26), size + key);
    rd_kafka_headers_t *headers = make_headers(random);
    measured.delivered = false;
    rd_kafka_resp_err_t error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(measured.topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key ? measured.bytes + size : NULL, key),
                                                  RD_KAFKA_V_VALUE(measured.bytes, size), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (error && headers) rd_kafka_headers_destroy(headers);
    while (!error && !measured.delivered) rd_kafka_poll(producer, TURN_MS);
    if (error || measured.error) return fail(rd_kafka_err2str(error ? error : measured.error));
    for (int64_t until = load_now_ms() + WAIT_MS; load_now_ms() < until;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, TURN_MS);
        if (!message) continue;
        bool got = !message->err, same = got && message->len == size && memcmp(message->payload, measured.bytes, size) == 0 && message->key_len == key && (key == 0 || memcmp(message->key, measured.bytes + size, key) == 0);
        rd_kafka_message_destroy(message);
        if (got) return same || fail("The message value read did not match the message value sent");
    }
    return fail("poll() timed out before finding a result (timeout:[60000ms])");
}

static bool measure(void) {
    struct random random;
    struct latencies latencies;
    double total = 0;
    bool ok = true;
    random_seed(&random, 0);
    if (!latencies_init(&latencies, measured.records)) return fail("out of memory");
    for (int64_t i = 0; ok && i < measured.records; i++) {
        int64_t begin = load_now_ns();
        ok = once(measured.producer.kafka, measured.consumer.kafka, &random);
        int64_t took = load_now_ns() - begin;
        char number[32];
        double_text((double)took / 1000.0 / 1000.0, number);
        if (ok && i % 1000 == 0) printf("%lld\t%s\n", (long long)i, number);
        fflush(stdout);
        total += (double)took;
        latencies_add(&latencies, (int32_t)(took / 1000000), measured.size);
    }
    if (ok) {
        printf("Avg latency: %.4f ms\n", total / (double)measured.records / 1000.0 / 1000.0);
        printf("Percentiles: 50th = %d, 99th = %d, 99.9th = %d\n", latencies_at(&latencies, 0.5), latencies_at(&latencies, 0.99), latencies_at(&latencies, 0.999));
    }
    latencies_free(&latencies);
    return ok;
}

int e2e_latency_run(struct args *args) {
    static const char *const files[] = {"command-config", NULL}, *const none[] = {NULL};
    char group[64];
    if (!read_options(args)) return 1;
    snprintf(group, sizeof group, "test-group-%lld", (long long)load_now_ms());
    const struct load_setting weak[] = {{"partitioner", "murmur2_random"}, {NULL, NULL}}, weaker[] = {{NULL, NULL}};
    const struct load_setting to[] = {{"bootstrap.servers", measured.bootstrap}, {"linger.ms", "0"}, {"acks", measured.acks}, {NULL, NULL}};
    const struct load_setting from[] = {{"bootstrap.servers", measured.bootstrap}, {"group.id", group}, {"enable.auto.commit", "false"}, {"auto.offset.reset", "latest"},
                                        {"fetch.max.wait.ms", "100"}, {"fetch.min.bytes", "1"}, {NULL, NULL}};
    bool ok = load_open(&measured.producer, args, files, none) && load_connect(&measured.producer, true, weak, to, configure) && load_open(&measured.consumer, args, files, none) &&
              load_connect(&measured.consumer, false, weaker, from, NULL);
    if (!ok && !measured.producer.why.size && measured.consumer.why.size) fail(measured.consumer.why.bytes);
    ok = ok && (measured.bytes = malloc((size_t)(measured.size + measured.key_size) + 1)) && assign(measured.producer.kafka, measured.consumer.kafka) && measure();
    int status = ok ? 0 : load_failed(&measured.producer);
    free(measured.bytes);
    load_close(&measured.producer);
    if (measured.consumer.args) load_close(&measured.consumer);
    return status;
}
