/* cli/consumer_perf.c - kafka-consumer-perf-test.sh, over librdkafka. */
#include "cli/assigned.h"
#include "cli/load.h"
#include "cli/tools.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POLL_MS = 100, DATE_MAX = 128 };
#define MIB_BYTES 1048576.0

struct perf {
    struct load load;
    int64_t wanted, interval_ms, timeout_ms, records, bytes;
    int64_t join_started_ms, join_ms, join_round_ms;
    int64_t reported_ms, reported_records, reported_bytes;
    bool detailed;
};
static struct perf perf;

static void rebalanced(rd_kafka_t *kafka, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions, void *opaque) {
    int64_t now = load_now_ms();
    bool given = error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (given) {
        perf.join_ms += now - perf.join_started_ms;
        perf.join_round_ms += now - perf.join_started_ms;
    } else perf.join_started_ms = now;
    assigned_take(kafka, error, partitions);
}

static void configure(void *conf) { rd_kafka_conf_set_rebalance_cb(conf, rebalanced); }

static double a_second(double amount, int64_t ms) { return ms <= 0 ? 0 : amount * 1000 / (double)ms; }

static void print_progress(int64_t now) {
    char date[DATE_MAX];
    double mb = (double)perf.bytes / MIB_BYTES, new_mb = (double)(perf.bytes - perf.reported_bytes) / MIB_BYTES, new_records = (double)(perf.records - perf.reported_records);
    int64_t took = now - perf.reported_ms, fetch_ms = took - perf.join_round_ms;
    load_date(args_text(perf.load.args, "date-format"), now, date, sizeof date);
    if (perf.detailed)
        printf("%s, 0, %.4f, %.4f, %lld, %.4f, %lld, %lld, %.4f, %.4f\n", date, mb, a_second(new_mb, took), (long long)perf.records, a_second(new_records, took), (long long)perf.join_round_ms,
               (long long)fetch_ms, a_second(new_mb, fetch_ms), a_second(new_records, fetch_ms));
    fflush(stdout);
    perf.join_round_ms = 0;
    perf.reported_ms = now;
    perf.reported_records = perf.records;
    perf.reported_bytes = perf.bytes;
}

static bool consume(rd_kafka_t *kafka) {
    int64_t now = load_now_ms(), last = now;
    perf.reported_ms = now;
    while (perf.records < perf.wanted && now - last <= perf.timeout_ms) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka, POLL_MS);
        now = load_now_ms();
        if (!message) continue;
        bool fatal = message->err == RD_KAFKA_RESP_ERR__FATAL || message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || message->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        if (fatal) text_add(&perf.load.why, "%s", rd_kafka_message_errstr(message));
        if (!message->err) {
            perf.records++;
            perf.bytes += (int64_t)(message->len + message->key_len);
            last = now;
            if (now - perf.reported_ms >= perf.interval_ms) print_progress(now);
        }
        rd_kafka_message_destroy(message);
        if (fatal) return false;
    }
    if (perf.records < perf.wanted)
        printf("WARNING: Exiting before consuming the expected number of records: timeout (%lld ms) exceeded. You can use the --timeout option to increase the timeout.\n", (long long)perf.timeout_ms);
    return true;
}

static bool subscribe(rd_kafka_t *kafka) {
    char pattern[1024];
    const char *include = args_text(perf.load.args, "include");
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_poll_set_consumer(kafka);
    if (include) snprintf(pattern, sizeof pattern, "^(%s)$", include);
    rd_kafka_topic_partition_list_add(topics, include ? pattern : args_text(perf.load.args, "topic"), RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(kafka, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (error) text_add(&perf.load.why, "%s", rd_kafka_err2str(error));
    return !error;
}

static bool run(struct args *args) {
    static const char *const files[] = {"consumer.config", "command-config", NULL}, *const properties[] = {"command-property", NULL};
    char group[64], started[DATE_MAX], ended[DATE_MAX];
    uint32_t number = 0;
    if (!load_open(&perf.load, args, files, properties)) return false;
    if (getentropy(&number, sizeof number)) never("the kernel has entropy");
    snprintf(group, sizeof group, "perf-consumer-%u", number % 100000);
    const struct load_setting weak[] = {{"client.id", "perf-consumer-client"}, {"queued.min.messages", "10000000"}, {NULL, NULL}};
    const struct load_setting strong[] = {{"bootstrap.servers", args_text(args, "bootstrap-server")}, {"group.id", args_has(args, "group") ? args_text(args, "group") : group},
                                          {"receive.buffer.bytes", args_text(args, "socket-buffer-size")}, {"max.partition.fetch.bytes", args_text(args, "fetch-size")},
                                          {"auto.offset.reset", args_has(args, "from-latest") ? "latest" : "earliest"}, {"check.crcs", "false"}, {NULL, NULL}};
    if (!load_connect(&perf.load, false, weak, strong, configure)) return false;
    if (!args_has(args, "hide-header"))
        printf("%s, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n", perf.detailed ? "time, threadId" : "start.time, end.time");
    fflush(stdout);
    int64_t start_ms = perf.join_started_ms = load_now_ms();
    if (!subscribe(perf.load.kafka) || !consume(perf.load.kafka)) return false;
    int64_t end_ms = load_now_ms(), took = end_ms - start_ms, fetch_ms = took - perf.join_ms;
    double mb = (double)perf.bytes / MIB_BYTES;
    rd_kafka_consumer_close(perf.load.kafka);
    if (!perf.detailed) {
        load_date(args_text(args, "date-format"), start_ms, started, sizeof started);
        load_date(args_text(args, "date-format"), end_ms, ended, sizeof ended);
        printf("%s, %s, %.4f, %.4f, %lld, %.4f, %lld, %lld, %.4f, %.4f\n", started, ended, mb, a_second(mb, took), (long long)perf.records, a_second((double)perf.records, took), (long long)perf.join_ms,
               (long long)fetch_ms, a_second(mb, fetch_ms), a_second((double)perf.records, fetch_ms));
    }
    if (args_has(args, "print-metrics")) printf("\nMetric Name              Value\nrecords-consumed-total : %lld.000\nbytes-consumed-total   : %lld.000\n", (long long)perf.records, (long long)perf.bytes);
    return true;
}

int consumer_perf_run(struct args *args) {
    if (args->count + args->word_count == 0) return args_wrong(args, "This tool is used to verify the consumer performance.");
    if (args_has(args, "topic") + args_has(args, "include") != 1) return args_wrong(args, "Exactly one of the following arguments is required: [topic], [include]");
    if (args_has(args, "messages") + args_has(args, "num-records") != 1) return args_wrong(args, "Exactly one of the following arguments is required: [messages], [num-records]");
    if (!args_has(args, "bootstrap-server")) return args_wrong(args, "Missing required argument \"[bootstrap-server]\"");
    if (args_has(args, "messages")) puts("WARNING: --messages is deprecated and will be removed in a future version. Use --num-records instead.");
    perf.wanted = args_number(args, args_has(args, "messages") ? "messages" : "num-records");
    perf.interval_ms = args_number(args, "reporting-interval");
    perf.timeout_ms = args_number(args, "timeout");
    perf.detailed = args_has(args, "show-detailed-stats");
    if (perf.interval_ms <= 0) return args_wrong(args, "Reporting interval must be greater than 0.");
    int status = run(args) ? 0 : load_failed(&perf.load);
    load_close(&perf.load);
    return status;
}
