/* cli/producer_perf.c - kafka-producer-perf-test.sh, over librdkafka with the defaults of Java's producer. */
#include "cli/load.h"
#include "cli/properties.h"
#include "cli/tools.h"
#include "base/random.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POLL_MS = 50, FLUSH_MS = 1000, TRANSACTION_MS = 3000, PAYLOADS_MAX = 1 << 20, CALL_MS = 60000 };
#define TOOL_NAME "kafka-producer-perf-test"

struct perf {
    struct load load;
    int64_t records, warmup, started_ms, steady_started_ms, window_started_ms, interval_ms;
    int64_t window_count, window_bytes, window_sum, window_max, done, failed;
    double rate;
    struct latencies all, steady;
    char *file;                     /* of --payload-file; payloads are slices of it */
    struct span *payloads;
    uint32_t payload_count;
    uint8_t *record;                /* of --record-size */
    size_t record_size;
    const char *transactional_id;
    int64_t transaction_ms;
};
static struct perf perf;

/* ---- what was sent ------------------------------------------------------------------------------------------------------------ */

static void print_window(int64_t now) {
    double seconds = (double)(now - perf.window_started_ms) / 1000;
    printf("%lld records sent, %.1f records/sec (%.2f MB/sec), %.1f ms avg latency, %.1f ms max latency.\n", (long long)perf.window_count,
           (double)perf.window_count / seconds, (double)perf.window_bytes / seconds / 1048576, (double)perf.window_sum / (double)perf.window_count, (double)perf.window_max);
    fflush(stdout);
    perf.window_started_ms = now;
    perf.window_count = perf.window_bytes = perf.window_sum = perf.window_max = 0;
}

static void print_total(struct latencies *latencies, int64_t started_ms, const char *what) {
    double seconds = (double)(load_now_ms() - started_ms) / 1000;
    if (seconds <= 0) seconds = 0.001;
    printf("%lld%s records sent, %f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max latency, %d ms 50th, %d ms 95th, %d ms 99th, %d ms 99.9th.\n", (long long)latencies->count, what,
           (double)latencies->count / seconds, (double)latencies->bytes / seconds / 1048576, latencies->count ? (double)latencies->sum / (double)latencies->count : 0.0, (double)latencies->max,
           latencies_at(latencies, 0.5), latencies_at(latencies, 0.95), latencies_at(latencies, 0.99), latencies_at(latencies, 0.999));
}

static void delivered(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque) {
    int64_t now = load_now_ms(), sent = (int64_t)(intptr_t)message->_private;
    perf.done++;
    if (message->err) {
        if (perf.failed++ < 10) fprintf(stderr, "%s\n", rd_kafka_err2str(message->err));
        return;
    }
    int32_t ms = (int32_t)(now - sent);
    latencies_add(&perf.all, ms, (int64_t)message->len);
    if (perf.warmup && perf.done > perf.warmup) {
        if (!perf.steady_started_ms) perf.steady_started_ms = sent;
        latencies_add(&perf.steady, ms, (int64_t)message->len);
    }
    perf.window_count++;
    perf.window_bytes += (int64_t)message->len;
    perf.window_sum += ms;
    if (ms > perf.window_max) perf.window_max = ms;
    if (now - perf.window_started_ms >= perf.interval_ms) print_window(now);
}

static void configure(void *conf) { rd_kafka_conf_set_dr_msg_cb(conf, delivered); }

/* ---- what is sent ---------------------------------------------------------------------------------------------------------------- */

static bool fail(const char *sentence) {
    text_add(&perf.load.why, "%s", sentence);
    return false;
}

static bool read_payloads(const char *path, const char *delimiter) {
    char absolute[4096];
    printf("Reading payloads from: %s\n", realpath(path, absolute) ? absolute : path);
    FILE *file = fopen(path, "rb");
    size_t room = 0, size = 0, step = strlen(delimiter);
    ssize_t got = file ? getdelim(&perf.file, &room, EOF, file) : -1; /* no byte is EOF: the whole file */
    if (file) fclose(file);
    if (got <= 0) return fail("File does not exist or empty file provided.");
    perf.payloads = calloc(PAYLOADS_MAX, sizeof *perf.payloads);
    if (!perf.payloads || !step) return fail(step ? "out of memory" : "--payload-delimiter: at least one character is wanted");
    for (char *at = perf.file, *end; at < perf.file + got && perf.payload_count < PAYLOADS_MAX; at = end + step) {
        end = memmem(at, (size_t)(perf.file + got - at), delimiter, step);
        size = end ? (size_t)(end - at) : (size_t)(perf.file + got - at);
        perf.payloads[perf.payload_count++] = span_of(at, size);
        if (!end) break;
    }
    printf("Number of records read: %u\n", perf.payload_count);
    return true;
}

static struct span payload(int64_t i, struct random *random) {
    static char number[24];
    if (perf.payload_count) return perf.payloads[random_below(random, perf.payload_count)];
    if (!perf.record) return span_of(number, (size_t)snprintf(number, sizeof number, "%lld", (long long)i));
    for (size_t at = 0; at < perf.record_size;) {
        uint64_t bits = random_u64(random);
        for (int k = 0; k < 8 && at < perf.record_size; k++, bits >>= 8) perf.record[at++] = (uint8_t)('A' + (bits & 0xff) % 26);
    }
    return span_of(perf.record, perf.record_size);
}

static bool check(rd_kafka_error_t *error) {
    if (!error) return true;
    fail(rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return false;
}

static bool send_all(rd_kafka_t *kafka) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, args_text(perf.load.args, "topic"), NULL);
    struct random random;
    bool in_transaction = false;
    int64_t begun_ms = 0;
    random_seed(&random, 0);
    if (!topic) return fail(rd_kafka_err2str(rd_kafka_last_error()));
    if (perf.transactional_id && !check(rd_kafka_init_transactions(kafka, CALL_MS))) return false;
    perf.started_ms = perf.window_started_ms = load_now_ms();
    for (int64_t i = 0; i < perf.records; i++) {
        if (perf.transactional_id && !in_transaction) {
            if (!check(rd_kafka_begin_transaction(kafka))) return false;
            in_transaction = true;
            begun_ms = load_now_ms();
        }
        struct span bytes = payload(i, &random);
        int64_t now = load_now_ms();
        while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)bytes.data, bytes.size, NULL, 0, (void *)(intptr_t)now)) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) return fail(rd_kafka_err2str(rd_kafka_last_error()));
            rd_kafka_poll(kafka, POLL_MS);
        }
        rd_kafka_poll(kafka, 0);
        if (in_transaction && now - begun_ms >= perf.transaction_ms) {
            if (!check(rd_kafka_commit_transaction(kafka, CALL_MS))) return false;
            in_transaction = false;
        }
        for (int64_t wait; (wait = load_pace_ms(perf.started_ms, i + 1, perf.rate)) > 0;) rd_kafka_poll(kafka, (int)(wait < POLL_MS ? wait : POLL_MS));
    }
    if (in_transaction && !check(rd_kafka_commit_transaction(kafka, CALL_MS))) return false;
    while (rd_kafka_flush(kafka, FLUSH_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT) {}
    rd_kafka_topic_destroy(topic);
    return true;
}

/* ---- options ------------------------------------------------------------------------------------------------------------------------ */

static int check_options(struct args *args) {
    static const char *const needed[] = {"topic", "num-records", "throughput"};
    if (args->count == 0) {
        args_help(args->tool, stdout);
        return 2;
    }
    for (size_t i = 0; i < countof(needed); i++)
        if (!args_has(args, needed[i])) return load_wrong(args, TOOL_NAME, "argument --%s is required", needed[i]);
    int payloads = args_has(args, "record-size") + args_has(args, "payload-file") + args_has(args, "payload-monotonic");
    if (payloads == 0) return load_wrong(args, TOOL_NAME, "one of the arguments --record-size --payload-file --payload-monotonic is required");
    if (payloads > 1) return load_wrong(args, TOOL_NAME, "--record-size, --payload-file and --payload-monotonic do not go together");
    if (!config_parse_double(span_text(args_text(args, "throughput")), &perf.rate)) return load_wrong(args, TOOL_NAME, "argument --throughput: could not convert '%s' to Double", args_text(args, "throughput"));
    perf.records = args_number(args, "num-records");
    perf.warmup = args_number(args, "warmup-records");
    perf.interval_ms = args_number(args, "reporting-interval");
    if (perf.records <= 0) return load_wrong(args, TOOL_NAME, "--num-records should be greater than zero.");
    if (perf.warmup >= perf.records) return load_wrong(args, TOOL_NAME, "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.");
    if (args_has(args, "record-size") && args_number(args, "record-size") <= 0) return load_wrong(args, TOOL_NAME, "--record-size should be greater than zero.");
    if (args_has(args, "transaction-duration-ms") && args_number(args, "transaction-duration-ms") <= 0) return load_wrong(args, TOOL_NAME, "--transaction-duration-ms should be greater than zero.");
    return 0;
}

static bool prepare(struct args *args) {
    static const char *const files[] = {"producer.config", "command-config", NULL}, *const properties[] = {"producer-props", "command-property", NULL};
    static char made_id[64];
    if (!load_open(&perf.load, args, files, properties)) return false;
    if (!args_has(args, "bootstrap-server") && !properties_text(&perf.load.config, "bootstrap.servers"))
        return fail("At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified.");
    perf.transactional_id = args_text(args, "transactional-id") ? args_text(args, "transactional-id") : properties_text(&perf.load.config, "transactional.id");
    perf.transaction_ms = args_has(args, "transaction-duration-ms") ? args_number(args, "transaction-duration-ms") : TRANSACTION_MS;
    if (!perf.transactional_id && args_has(args, "transaction-duration-ms")) {
        struct random random;
        uint64_t seed;
        char id[UUID_TEXT_BYTES + 1];
        if (getentropy(&seed, sizeof seed)) return fail("no entropy");
        random_seed(&random, seed);
        uuid_text(uuid_random(&random), id);
        snprintf(made_id, sizeof made_id, "performance-producer-%s", id);
        perf.transactional_id = made_id;
    }
    const char *delimiter = args_text(args, "payload-delimiter");
    if (args_has(args, "payload-file") && !read_payloads(args_text(args, "payload-file"), strcmp(delimiter, "\\n") == 0 ? "\n" : delimiter)) return false;
    if (args_has(args, "record-size")) {
        perf.record_size = (size_t)args_number(args, "record-size");
        if (!(perf.record = malloc(perf.record_size))) return fail("out of memory");
    }
    const struct load_setting weak[] = {{"client.id", "perf-producer-client"}, {"enable.idempotence", "true"}, {"linger.ms", "5"}, {"batch.size", "16384"}, {"buffer.memory", "33554432"},
                                        {"partitioner", "murmur2_random"}, {"queue.buffering.max.messages", "0"}, {NULL, NULL}};
    const struct load_setting without_idempotence[] = {{"client.id", "perf-producer-client"}, {"linger.ms", "5"}, {"batch.size", "16384"}, {"buffer.memory", "33554432"},
                                                       {"partitioner", "murmur2_random"}, {"queue.buffering.max.messages", "0"}, {NULL, NULL}};
    const struct load_setting strong[] = {{"bootstrap.servers", args_text(args, "bootstrap-server")}, {"transactional.id", perf.transactional_id}, {NULL, NULL}};
    const char *acks = properties_text(&perf.load.config, "acks");
    bool all = !acks || strcmp(acks, "all") == 0 || strcmp(acks, "-1") == 0; /* fewer switch idempotence off, as in Java */
    return latencies_init(&perf.all, perf.records) && latencies_init(&perf.steady, perf.records - perf.warmup) && load_connect(&perf.load, true, all ? weak : without_idempotence, strong, configure);
}

int producer_perf_run(struct args *args) {
    int wrong = check_options(args);
    if (wrong) return wrong == 2 ? 0 : wrong;
    bool ok = prepare(args);
    if (ok && perf.warmup) printf("Warmup first %lld records. Steady state results will print after the complete test summary.\n", (long long)perf.warmup);
    fflush(stdout);
    ok = ok && send_all(perf.load.kafka);
    if (ok) {
        print_total(&perf.all, perf.started_ms, "");
        if (perf.warmup) print_total(&perf.steady, perf.steady_started_ms, " steady state");
        if (args_has(args, "print-metrics"))
            printf("\nMetric Name          Value\nrecord-send-total  : %lld.000\nrecord-error-total : %lld.000\n", (long long)perf.done, (long long)perf.failed);
    }
    int status = ok ? 0 : load_failed(&perf.load);
    latencies_free(&perf.all);
    latencies_free(&perf.steady);
    free(perf.payloads);
    free(perf.file);
    free(perf.record);
    load_close(&perf.load);
    return status;
}
