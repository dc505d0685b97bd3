/* cli/verifiable_consumer.c - kafka-verifiable-consumer.sh: reads in a group, and tells of what it got, was given and committed in
 * lines of JSON.
 */
#include "cli/assigned.h"
#include "cli/load.h"
#include "cli/quoted.h"
#include "cli/tools.h"
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BATCH_MAX = 500, POLL_MS = 100 };
#define TOOL_NAME "verifiable-consumer"

struct reader { struct load load; int64_t most, consumed; bool verbose, autocommit; };
static struct reader reader;
static volatile sig_atomic_t stopped;
static void on_signal(int number) { stopped = 1; }

static void event(const char *name) { printf("{\"timestamp\":%lld,\"name\":\"%s\"", (long long)load_now_ms(), name); }
static void end(void) {
    puts("}");
    fflush(stdout);
}

static void print_place(const char *topic, int32_t partition) {
    printf("{\"topic\":");
    print_quoted(span_text(topic), stdout);
    printf(",\"partition\":%d", partition);
}

static void rebalanced(rd_kafka_t *kafka, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions, void *opaque) {
    bool given = error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    event(given ? "partitions_assigned" : "partitions_revoked");
    printf(",\"partitions\":[");
    for (int i = 0; i < partitions->cnt; i++) {
        if (i) putchar(',');
        print_place(partitions->elems[i].topic, partitions->elems[i].partition);
        putchar('}');
    }
    putchar(']');
    end();
    assigned_take(kafka, error, partitions);
}
static void configure(void *conf) { rd_kafka_conf_set_rebalance_cb(conf, rebalanced); }

static struct span text_of(const void *bytes, size_t size) { return bytes ? span_of(bytes, size) : (struct span){0}; }

struct summary { const char *topic; int32_t partition; int64_t count, first, last; };

static uint32_t summarise(rd_kafka_message_t **messages, ssize_t count, struct summary *out) {
    uint32_t n = 0;
    for (ssize_t i = 0; i < count; i++) {
        const rd_kafka_message_t *message = messages[i];
        if (message->err || (reader.most >= 0 && reader.consumed >= reader.most)) continue;
        const char *topic = rd_kafka_topic_name(message->rkt);
        uint32_t at = 0;
        while (at < n && (out[at].partition != message->partition || strcmp(out[at].topic, topic) != 0)) at++;
        if (at == n) out[n++] = (struct summary){topic, message->partition, 0, message->offset, 0};
        out[at].count++;
        out[at].last = message->offset;
        reader.consumed++;
        if (!reader.verbose) continue;
        event("record_data");
        printf(",\"key\":");
        print_quoted(text_of(message->key, message->key_len), stdout);
        printf(",\"value\":");
        print_quoted(text_of(message->payload, message->len), stdout);
        printf(",\"topic\":");
        print_quoted(span_text(topic), stdout);
        printf(",\"partition\":%d,\"offset\":%lld", message->partition, (long long)message->offset);
        end();
    }
    return n;
}

static void commit(rd_kafka_t *kafka, const struct summary *summaries, uint32_t count) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (uint32_t i = 0; i < count; i++) rd_kafka_topic_partition_list_add(list, summaries[i].topic, summaries[i].partition)->offset = summaries[i].last + 1;
    rd_kafka_resp_err_t error = rd_kafka_commit(kafka, list, 0);
    rd_kafka_topic_partition_list_destroy(list);
    event("offsets_committed");
    printf(",\"offsets\":[");
    for (uint32_t i = 0; i < count; i++) {
        if (i) putchar(',');
        print_place(summaries[i].topic, summaries[i].partition);
        printf(",\"offset\":%lld}", (long long)summaries[i].last + 1);
    }
    putchar(']');
    if (error) {
        printf(",\"error\":");
        print_quoted(span_text(rd_kafka_err2str(error)), stdout);
    }
    printf(",\"success\":%s", error ? "false" : "true");
    end();
}

static void consume(rd_kafka_t *kafka) {
    static rd_kafka_message_t *messages[BATCH_MAX];
    static struct summary summaries[BATCH_MAX];
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(kafka);
    while (!stopped && (reader.most < 0 || reader.consumed < reader.most)) {
        /* What is there, without waiting for more, as the library would. */
        messages[0] = rd_kafka_consume_queue(queue, POLL_MS);
        ssize_t count = messages[0] ? 1 : 0, more = count ? rd_kafka_consume_batch_queue(queue, 0, messages + 1, BATCH_MAX - 1) : 0, records = 0;
        if (more > 0) count += more;
        for (ssize_t i = 0; i < count; i++) records += !messages[i]->err;
        if (records > 0) {
            uint32_t n = summarise(messages, count, summaries);
            event("records_consumed");
            printf(",\"count\":%lld,\"partitions\":[", (long long)records);
            for (uint32_t i = 0; i < n; i++) {
                if (i) putchar(',');
                print_place(summaries[i].topic, summaries[i].partition);
                printf(",\"count\":%lld,\"minOffset\":%lld,\"maxOffset\":%lld}", (long long)summaries[i].count, (long long)summaries[i].first, (long long)summaries[i].last);
            }
            putchar(']');
            end();
            if (!reader.autocommit && n) commit(kafka, summaries, n);
        }
        for (ssize_t i = 0; i < count; i++) rd_kafka_message_destroy(messages[i]);
    }
    rd_kafka_queue_destroy(queue);
}

/* Java's class names of assignors, in librdkafka's words. */
static const char *strategy(const char *class) {
    static const struct { const char *end, *name; } known[] = {{"CooperativeStickyAssignor", "cooperative-sticky"}, {"RoundRobinAssignor", "roundrobin"}, {"RangeAssignor", "range"}};
    for (size_t i = 0; i < countof(known); i++)
        if (strstr(class, known[i].end)) return known[i].name;
    return class;
}

int verifiable_consumer_run(struct args *args) {
    static const char *const files[] = {"consumer.config", "command-config", NULL}, *const none[] = {NULL}, *const needed[] = {"topic", "group-id", "bootstrap-server"};
    if (args->count == 0) {
        args_help(args->tool, stdout);
        return 0;
    }
    for (size_t i = 0; i < countof(needed); i++)
        if (!args_has(args, needed[i])) return load_wrong(args, TOOL_NAME, "argument --%s is required", needed[i]);
    reader.most = args_number(args, "max-messages");
    reader.verbose = args_has(args, "verbose");
    reader.autocommit = args_has(args, "enable-autocommit");
    const char *reset = args_text(args, "reset-policy");
    bool modern = strcasecmp(args_text(args, "group-protocol"), "consumer") == 0;
    const struct load_setting weak[] = {{NULL, NULL}};
    const struct load_setting strong[] = {
        {"bootstrap.servers", args_text(args, "bootstrap-server")}, {"group.id", args_text(args, "group-id")}, {"group.instance.id", args_text(args, "group-instance-id")},
        {"enable.auto.commit", reader.autocommit ? "true" : "false"}, {"auto.offset.reset", strcmp(reset, "none") == 0 ? "error" : reset},
        {"session.timeout.ms", modern ? NULL : args_text(args, "session-timeout")}, {"partition.assignment.strategy", modern ? NULL : strategy(args_text(args, "assignment-strategy"))}, {NULL, NULL}};
    bool ok = load_open(&reader.load, args, files, none);
    if (ok && modern) {
        text_add(&reader.load.why, "--group-protocol %s: only the classic protocol is served yet", args_text(args, "group-protocol"));
        ok = false;
    }
    if (!ok || !load_connect(&reader.load, false, weak, strong, configure)) {
        int status = load_failed(&reader.load);
        load_close(&reader.load);
        return status;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    rd_kafka_t *kafka = reader.load.kafka;
    rd_kafka_poll_set_consumer(kafka);
    event("startup_complete");
    end();
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, args_text(args, "topic"), RD_KAFKA_PARTITION_UA);
    (void)rd_kafka_subscribe(kafka, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    consume(kafka);
    rd_kafka_consumer_close(kafka);
    event("shutdown_complete");
    end();
    load_close(&reader.load);
    return 0;
}
