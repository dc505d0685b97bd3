/* cli/verifiable_producer.c - kafka-verifiable-producer.sh: sends 0, 1, 2, ... and tells as a line of JSON of each what became
 * of it.
 */
#include "cli/configs.h"
#include "cli/load.h"
#include "cli/quoted.h"
#include "cli/tools.h"
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 50, FLUSH_MS = 1000, FIND_MS = 5000, VALUE_MAX = 64 };
#define TOOL_NAME "verifiable-producer"

struct sender { struct load load; int64_t sent, acked, started_ms; const char *topic; };
static struct sender sender;
static volatile sig_atomic_t stopped;
static void on_signal(int number) { stopped = 1; }

static void event(const char *name) { printf("{\"timestamp\":%lld,\"name\":\"%s\"", (long long)load_now_ms(), name); }

static struct span text_of(const void *bytes, size_t size) { return bytes ? span_of(bytes, size) : (struct span){0}; }

static void delivered(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque) {
    event(message->err ? "producer_send_error" : "producer_send_success");
    printf(",\"key\":");
    print_quoted(text_of(message->key, message->key_len), stdout);
    printf(",\"value\":");
    print_quoted(text_of(message->payload, message->len), stdout);
    if (message->err) {
        printf(",\"exception\":");
        print_quoted(span_text(rd_kafka_err2name(message->err)), stdout);
        printf(",\"message\":");
        print_quoted(span_text(rd_kafka_err2str(message->err)), stdout);
        printf(",\"topic\":");
        print_quoted(span_text(sender.topic), stdout);
    } else {
        sender.acked++;
        printf(",\"offset\":%lld,\"topic\":", (long long)message->offset);
        print_quoted(span_text(sender.topic), stdout);
        printf(",\"partition\":%d", message->partition);
    }
    puts("}");
    fflush(stdout);
}
static void configure(void *conf) { rd_kafka_conf_set_dr_msg_cb(conf, delivered); }

/* Until the topic is there; whoever makes it needs a moment. */
static void find_topic(rd_kafka_t *kafka) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, sender.topic, NULL);
    for (int64_t until = load_now_ms() + FIND_MS; topic && load_now_ms() < until && !stopped;) {
        const struct rd_kafka_metadata *metadata;
        if (rd_kafka_metadata(kafka, 0, topic, &metadata, FIND_MS)) break;
        bool there = metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt > 0 && metadata->topics[0].partitions[0].leader >= 0;
        rd_kafka_metadata_destroy(metadata);
        if (there) break;
        rd_kafka_poll(kafka, POLL_MS);
    }
    if (topic) rd_kafka_topic_destroy(topic);
}

static void send_all(rd_kafka_t *kafka) {
    const struct args *args = sender.load.args;
    int64_t most = args_number(args, "max-messages"), rate = args_number(args, "throughput"), time = args_number(args, "message-create-time"), keys = args_number(args, "repeating-keys");
    const char *prefix = args_text(args, "value-prefix");
    sender.started_ms = load_now_ms();
    find_topic(kafka);
    int64_t began = load_now_ms();
    for (int64_t i = 0; (most < 0 || i < most) && !stopped; i++) {
        char value[VALUE_MAX], key[24];
        int size = prefix ? snprintf(value, sizeof value, "%s.%lld", prefix, (long long)i) : snprintf(value, sizeof value, "%lld", (long long)i);
        int key_size = keys > 0 ? snprintf(key, sizeof key, "%lld", (long long)(i % keys)) : 0;
        char *key_of = keys > 0 ? key : NULL;
        int64_t stamp = time < 0 ? 0 : time + (load_now_ms() - sender.started_ms); /* 0: now */
        sender.sent++;
        while (rd_kafka_producev(kafka, RD_KAFKA_V_TOPIC(sender.topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key_of, (size_t)key_size),
                                 RD_KAFKA_V_VALUE(value, (size_t)size), RD_KAFKA_V_TIMESTAMP(stamp), RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR__QUEUE_FULL && !stopped) rd_kafka_poll(kafka, POLL_MS);
        rd_kafka_poll(kafka, 0);
        for (int64_t wait; !stopped && (wait = load_pace_ms(began, i + 1, (double)rate)) > 0;) rd_kafka_poll(kafka, (int)(wait < POLL_MS ? wait : POLL_MS));
    }
    while (rd_kafka_flush(kafka, FLUSH_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT) {}
}

int verifiable_producer_run(struct args *args) {
    static const char *const files[] = {"producer.config", "command-config", NULL}, *const none[] = {NULL}, *const needed[] = {"topic", "bootstrap-server"};
    if (args->count == 0) {
        args_help(args->tool, stdout);
        return 0;
    }
    for (size_t i = 0; i < countof(needed); i++)
        if (!args_has(args, needed[i])) return load_wrong(args, TOOL_NAME, "argument --%s is required", needed[i]);
    sender.topic = args_text(args, "topic");
    const char *acks = args_text(args, "acks");
    bool all = strcmp(acks, "-1") == 0;
    const struct load_setting weak[] = {{"linger.ms", "5"}, {"batch.size", "16384"}, {"partitioner", "murmur2_random"}, {"retries", "0"}, {"enable.idempotence", "false"}, {NULL, NULL}};
    const struct load_setting strong[] = {{"bootstrap.servers", args_text(args, "bootstrap-server")}, {"acks", all ? "all" : acks}, {NULL, NULL}};
    if (!load_open(&sender.load, args, files, none) || !load_connect(&sender.load, true, weak, strong, configure)) {
        int status = load_failed(&sender.load);
        load_close(&sender.load);
        return status;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    event("startup_complete");
    puts("}");
    fflush(stdout);
    send_all(sender.load.kafka);
    event("shutdown_complete");
    puts("}");
    char rate[32];
    double_text(1000.0 * (double)sender.acked / (double)(load_now_ms() - sender.started_ms > 0 ? load_now_ms() - sender.started_ms : 1), rate);
    event("tool_data");
    printf(",\"sent\":%lld,\"acked\":%lld,\"target_throughput\":%lld,\"avg_throughput\":%s}\n", (long long)sender.sent, (long long)sender.acked, (long long)args_number(args, "throughput"), rate);
    load_close(&sender.load);
    return 0;
}
