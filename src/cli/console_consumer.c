/* cli/console_consumer.c - kafka-console-consumer.sh.
 *
 * With --group it joins that group. Without, it reads the partitions by itself: a group of a made-up name would decide
 * nothing, and joining one takes seconds.
 */
#include "cli/assigned.h"
#include "cli/console.h"
#include "cli/coordinator_text.h"
#include "cli/names.h"
#include "cli/properties.h"
#include "cli/record_text.h"
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WHY_MAX = 8192, WAIT_MS = 100, METADATA_MS = 10000, REFRESH_MS = 30000, SEARCH_MS = 500, TOPICS_MAX = 10000, ASKED_MAX = 32 };
/* At so many records in memory the library stops fetching for a whole second. Their bytes are bounded besides. */
#define QUEUED_MESSAGES "10000000"
enum formatter { FORMAT_DEFAULT, FORMAT_NOTHING, FORMAT_COORDINATOR };

struct source { char *name; rd_kafka_topic_t *topic; int32_t partitions; }; /* a topic that is read without a group */
struct consumer {
    struct args *args;
    struct pool pool;
    struct arena arena;
    struct config_values config, format_config;
    struct record_format format;
    enum formatter formatter;
    const struct coordinator_format *of_coordinator;
    struct names *include;
    rd_kafka_t *kafka;
    rd_kafka_queue_t *queue;        /* NULL: in a group */
    struct source *sources;
    uint32_t source_count;
    int64_t offset, next_refresh;
    bool began;                     /* partitions that come later are read from their beginning */
    bool refused;                   /* by its name, the topic can never be there */
    int64_t processed;
    struct text why;
    char why_bytes[WHY_MAX];
};

static volatile sig_atomic_t interrupted;
static void on_signal(int number) { interrupted = number; }

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void logged(const rd_kafka_t *kafka, int level, const char *facility, const char *text) {
    if (level <= 4) fprintf(stderr, "%s %s\n", level <= 3 ? "ERROR" : "WARN", text);
}

/* ---- without a group ------------------------------------------------------------------------------------------------------- */

static struct source *source_of(struct consumer *consumer, const char *name) {
    for (uint32_t i = 0; i < consumer->source_count; i++)
        if (strcmp(consumer->sources[i].name, name) == 0) return &consumer->sources[i];
    if (consumer->source_count == TOPICS_MAX) return NULL;
    struct source *grown = realloc(consumer->sources, (consumer->source_count + 1) * sizeof *grown);
    if (!grown) return NULL;
    consumer->sources = grown;
    grown[consumer->source_count] = (struct source){.name = strdup(name), .topic = rd_kafka_topic_new(consumer->kafka, name, NULL)};
    return &grown[consumer->source_count++];
}

/* The library asks for records of the partitions that it knows where to begin in, and whatever else it asks the broker
 * waits behind that: a first fetch for an empty partition alone keeps all others waiting for half a second. So where there
 * are few enough, it is told where each begins, and those with records come first. */
static void start_partitions(struct consumer *consumer, struct source *source, int32_t count, int64_t from) {
    int64_t low[ASKED_MAX], high[ASKED_MAX];
    int32_t first = source->partitions, asked = first == 0 && from == RD_KAFKA_OFFSET_BEGINNING && count > 1 && count <= ASKED_MAX ? count : 0;
    for (int32_t i = 0; i < asked; i++)
        if (rd_kafka_query_watermark_offsets(consumer->kafka, source->name, i, &low[i], &high[i], METADATA_MS)) low[i] = high[i] = from;
    for (int32_t i = 0; i < asked; i++)
        if (low[i] < high[i]) (void)rd_kafka_consume_start_queue(source->topic, i, low[i], consumer->queue);
    for (int32_t i = first; i < count; i++)
        if (i >= asked || low[i] >= high[i]) (void)rd_kafka_consume_start_queue(source->topic, i, i < asked ? low[i] : from, consumer->queue);
    source->partitions = count;
}

static void read_partitions(struct consumer *consumer, const rd_kafka_metadata_topic_t *topic) {
    struct source *source = source_of(consumer, topic->topic);
    if (!source || !source->topic) return;
    int64_t from = consumer->began ? RD_KAFKA_OFFSET_BEGINNING : consumer->offset;
    if (args_has(consumer->args, "partition")) {
        int32_t only = (int32_t)args_number(consumer->args, "partition");
        if (source->partitions > 0 || only >= topic->partition_cnt) return;
        source->partitions = topic->partition_cnt;
        (void)rd_kafka_consume_start_queue(source->topic, only, from, consumer->queue);
        return;
    }
    start_partitions(consumer, source, topic->partition_cnt, from);
}

/* Which topics and partitions there are now. Asked for by name, a missing topic is made where the cluster does that. */
static void refresh(struct consumer *consumer) {
    const struct rd_kafka_metadata *metadata;
    const char *name = args_text(consumer->args, "topic");
    rd_kafka_topic_t *topic = NULL;
    if (name) {
        struct source *source = source_of(consumer, name);
        topic = source ? source->topic : NULL;
    }
    bool found = false;
    int64_t timeout_ms = args_has(consumer->args, "timeout-ms") ? args_number(consumer->args, "timeout-ms") : -1;
    int wait_ms = timeout_ms >= 0 && timeout_ms < METADATA_MS ? (int)timeout_ms : METADATA_MS;
    rd_kafka_resp_err_t error = rd_kafka_metadata(consumer->kafka, !name, topic, &metadata, wait_ms);
    for (int i = 0; !error && i < metadata->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *each = &metadata->topics[i];
        if (name && each->err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) consumer->refused = true;
        if (each->err || each->partition_cnt == 0 || (!name && !names_match(consumer->include, span_text(each->topic)))) continue;
        read_partitions(consumer, each);
        found = true;
    }
    if (!error) rd_kafka_metadata_destroy(metadata);
    if (found) consumer->began = true;
    consumer->next_refresh = now_ms() + (found ? REFRESH_MS : SEARCH_MS);
}

/* ---- records ----------------------------------------------------------------------------------------------------------------- */

static bool show(struct consumer *consumer, const rd_kafka_message_t *message) {
    static struct line_header headers[LINE_HEADERS_MAX];
    rd_kafka_timestamp_type_t kind;
    rd_kafka_headers_t *from = NULL;
    struct record_view view = {.partition = message->partition, .offset = message->offset, .key = span_of(message->key, message->key_len),
                               .value = span_of(message->payload, message->len), .headers = headers};
    view.time = rd_kafka_message_timestamp(message, &kind);
    view.time_kind = kind == RD_KAFKA_TIMESTAMP_CREATE_TIME ? RECORD_CREATE_TIME : kind == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? RECORD_APPEND_TIME : RECORD_NO_TIME;
    if (consumer->format.headers && rd_kafka_message_headers(message, &from) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *name;
        const void *value;
        size_t size;
        while (view.header_count < LINE_HEADERS_MAX && rd_kafka_header_get_all(from, view.header_count, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR)
            headers[view.header_count++] = (struct line_header){span_text(name), span_of(value, size)};
    }
    if (consumer->formatter == FORMAT_COORDINATOR)
        return coordinator_print(consumer->of_coordinator, view.key, view.value, view.offset, &consumer->pool, stdout, &consumer->why);
    return consumer->formatter == FORMAT_NOTHING || record_print(&consumer->format, &view, stdout, &consumer->why);
}

/* 0: go on. Else it ends: 1 well, 2 with exit status 1. */
static int take(struct consumer *consumer, rd_kafka_message_t *message) {
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || message->err == RD_KAFKA_RESP_ERR__TRANSPORT || message->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || message->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || message->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) return 0;
    if (message->err) {
        fprintf(stderr, "ERROR Error processing message, terminating consumer process: \n%s\n", rd_kafka_message_errstr(message));
        return 1;
    }
    consumer->processed++;
    text_reset(&consumer->why);
    if (!show(consumer, message)) {
        bool skip = args_has(consumer->args, "skip-message-on-error");
        fprintf(stderr, "ERROR %s: \n%s\n", skip ? "Error processing message, skipping this message" : "Unknown error when running consumer", consumer->why.bytes);
        if (!skip) return 2;
    }
    if (!consumer->queue) (void)rd_kafka_offset_store(message->rkt, message->partition, message->offset);
    return 0;
}

static int consume(struct consumer *consumer) {
    struct args *args = consumer->args;
    int64_t messages_max = args_has(args, "max-messages") ? args_number(args, "max-messages") : -1;
    int64_t timeout_ms = args_has(args, "timeout-ms") && args_number(args, "timeout-ms") >= 0 ? args_number(args, "timeout-ms") : INT64_MAX, last = now_ms();
    int ended = 0;
    while (!ended && !interrupted && (messages_max == -1 || consumer->processed < messages_max)) {
        int64_t now = now_ms();
        if (consumer->queue && now >= consumer->next_refresh) refresh(consumer);
        if (consumer->refused) {
            fprintf(stderr, "ERROR Error processing message, terminating consumer process: \norg.apache.kafka.common.errors.InvalidTopicException: Invalid topics: [%s]\n", args_text(args, "topic"));
            break;
        }
        /* What is there is taken without a look at the clock or the output; the output is flushed when nothing is there. */
        rd_kafka_message_t *message = consumer->queue ? rd_kafka_consume_queue(consumer->queue, 0) : rd_kafka_consumer_poll(consumer->kafka, 0);
        if (!message) {
            if (fflush(stdout) || ferror(stdout)) {
                fprintf(stderr, "Unable to write to standard out, closing consumer.\n");
                break;
            }
            int64_t left = timeout_ms == INT64_MAX ? WAIT_MS : timeout_ms - (now - last);
            int wait = (int)(left < 0 ? 0 : left < WAIT_MS ? left : WAIT_MS);
            message = consumer->queue ? rd_kafka_consume_queue(consumer->queue, wait) : rd_kafka_consumer_poll(consumer->kafka, wait);
        }
        if (message) {
            int64_t before = consumer->processed;
            ended = take(consumer, message);
            rd_kafka_message_destroy(message);
            if (consumer->processed != before) last = now_ms();
        }
        if (!ended && timeout_ms != INT64_MAX && now_ms() - last >= timeout_ms) {
            fprintf(stderr, "ERROR Error processing message, terminating consumer process: \norg.apache.kafka.common.errors.TimeoutException\n");
            ended = 1;
        }
    }
    fflush(stdout);
    if (!consumer->queue) rd_kafka_consumer_close(consumer->kafka); /* commits what was shown, and leaves the group */
    fprintf(stderr, "Processed a total of %lld messages\n", (long long)consumer->processed);
    return ended == 2 ? 1 : interrupted ? 128 + interrupted : 0;
}

/* ---- options ------------------------------------------------------------------------------------------------------------------- */

static bool read_formatter(struct consumer *consumer) {
    static const struct { const char *class; enum formatter formatter; } known[] = {
        {"org.apache.kafka.tools.consumer.DefaultMessageFormatter", FORMAT_DEFAULT}, {"kafka.tools.DefaultMessageFormatter", FORMAT_DEFAULT},
        {"org.apache.kafka.tools.consumer.LoggingMessageFormatter", FORMAT_DEFAULT}, {"kafka.tools.LoggingMessageFormatter", FORMAT_DEFAULT},
        {"org.apache.kafka.tools.consumer.NoOpMessageFormatter", FORMAT_NOTHING}, {"kafka.tools.NoOpMessageFormatter", FORMAT_NOTHING},
    };
    const char *class = args_text(consumer->args, "formatter");
    for (size_t i = 0; i < countof(known); i++)
        if (strcmp(known[i].class, class) == 0) {
            consumer->formatter = known[i].formatter;
            return true;
        }
    consumer->of_coordinator = coordinator_format_named(class);
    if (consumer->of_coordinator) {
        consumer->formatter = FORMAT_COORDINATOR;
        return true;
    }
    text_add(&consumer->why, "--formatter %s: Java classes cannot be loaded here; there are Default-, Logging-, NoOp-, Offsets-, GroupMetadata-, ShareGroup- and TransactionLogMessageFormatter of org.apache.kafka.tools.consumer, and group.share.ShareGroupStateMessageFormatter", class);
    return false;
}

/* The group that was asked for, in one place or in several that agree; NULL: none. */
static bool read_group(struct consumer *consumer, const char **out) {
    const char *option = args_text(consumer->args, "group"), *property = properties_text(&consumer->config, "group.id");
    *out = option ? option : property;
    if (!option || !property || strcmp(option, property) == 0) return true;
    text_add(&consumer->why, "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: '%s', '%s'", option, property);
    return false;
}

static int check_options(struct consumer *consumer) {
    struct args *args = consumer->args;
    const char *offset = args_text(args, "offset");
    if (args->count + args->word_count == 0) return args_wrong(args, "This tool helps to read data from Kafka topics and outputs it to standard output.");
    if (args_has(args, "topic") + args_has(args, "include") != 1) return args_wrong(args, "Exactly one of the following arguments is required: [topic], [include]");
    if (!args_has(args, "bootstrap-server")) return args_wrong(args, "Missing required argument \"[bootstrap-server]\"");
    if (args_has(args, "partition")) {
        if (!args_has(args, "topic")) return args_wrong(args, "The topic is required when partition is specified.");
        if (args_has(args, "from-beginning") && args_has(args, "offset")) return args_wrong(args, "Options from-beginning and offset cannot be specified together.");
        if (args_has(args, "group")) return args_wrong(args, "Options group and partition cannot be specified together.");
        if (args_number(args, "partition") < 0) return args_wrong(args, "Invalid partition: %s", args_text(args, "partition"));
    } else if (args_has(args, "offset")) return args_wrong(args, "The partition is required when offset is specified.");
    consumer->offset = args_has(args, "from-beginning") ? RD_KAFKA_OFFSET_BEGINNING : RD_KAFKA_OFFSET_END;
    if (!args_has(args, "offset")) return 0;
    if (strcasecmp(offset, "earliest") == 0) consumer->offset = RD_KAFKA_OFFSET_BEGINNING;
    else if (strcasecmp(offset, "latest") == 0) consumer->offset = RD_KAFKA_OFFSET_END;
    else if (!config_parse_integer(span_text(offset), &consumer->offset) || consumer->offset < 0)
        return args_wrong(args, "The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.", offset);
    return 0;
}

static int run(struct consumer *consumer, const char *property, const char *file, const char *format_property) {
    struct args *args = consumer->args;
    struct text *why = &consumer->why;
    const char *group, *isolation = args_text(args, "isolation-level"), *key = args_text(args, "key-deserializer"), *value = args_text(args, "value-deserializer");
    char error[512];
    if ((args_text(args, file) && !properties_read_file(&consumer->config, args_text(args, file), why)) ||
        !properties_read_option(&consumer->config, args, property, why) || !properties_check_security(&consumer->config, why) ||
        (args_text(args, "formatter-config") && !properties_read_file(&consumer->format_config, args_text(args, "formatter-config"), why)) ||
        !properties_read_option(&consumer->format_config, args, format_property, why) || !read_group(consumer, &group) || !read_formatter(consumer)) return console_failed(why);
    if ((key && config_values_set(&consumer->format_config, SPAN_LITERAL("key.deserializer"), span_text(key))) ||
        (value && config_values_set(&consumer->format_config, SPAN_LITERAL("value.deserializer"), span_text(value))) ||
        !record_format_init(&consumer->format, &consumer->format_config, why)) return console_failed(why);
    if (args_text(args, "include") && !(consumer->include = names_new(args_text(args, "include"), why))) return console_failed(why);
    if (strcmp(isolation, "read_committed") != 0 && strcmp(isolation, "read_uncommitted") != 0) {
        text_add(why, "Invalid value %s for configuration isolation.level: String must be one of: read_committed, read_uncommitted", isolation);
        return console_failed(why);
    }
    const char *reset = properties_text(&consumer->config, "auto.offset.reset");
    bool from_beginning = args_has(args, "from-beginning");
    if (reset && from_beginning && strcmp(reset, "earliest") != 0) {
        text_add(why, "Can't simultaneously specify --from-beginning and 'auto.offset.reset=%s', please remove one option", reset);
        return console_failed(why);
    }
    if (reset && strcmp(reset, "earliest") == 0 && !args_has(args, "offset")) consumer->offset = RD_KAFKA_OFFSET_BEGINNING;
    if (args_has(args, "partition")) group = NULL;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, logged);
    if (group) rd_kafka_conf_set_rebalance_cb(conf, assigned_rebalance);
    struct span set;
    bool ok = console_set(conf, "client.id", "console-consumer", why) && console_set(conf, "allow.auto.create.topics", "true", why) &&
              console_set(conf, "queued.min.messages", QUEUED_MESSAGES, why) && console_set(conf, "auto.offset.reset", from_beginning ? "earliest" : "latest", why) && console_set_all(conf, &consumer->config, why) &&
              ((!args_has(args, "isolation-level") && config_values_get(&consumer->config, SPAN_LITERAL("isolation.level"), &set)) || console_set(conf, "isolation.level", isolation, why)) &&
              console_set(conf, "enable.auto.offset.store", "false", why) && console_set(conf, "bootstrap.servers", args_text(args, "bootstrap-server"), why) &&
              (!group || console_set(conf, "group.id", group, why));
    if (!ok || !(consumer->kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error))) {
        rd_kafka_conf_destroy(conf);
        if (!why->size) text_add(why, "%s", error);
        return console_failed(why);
    }
    if (!group) consumer->queue = rd_kafka_queue_new(consumer->kafka);
    else {
        char pattern[1024];
        rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
        rd_kafka_poll_set_consumer(consumer->kafka);
        if (args_text(args, "include")) snprintf(pattern, sizeof pattern, "^(%s)$", args_text(args, "include"));
        rd_kafka_topic_partition_list_add(topics, args_text(args, "include") ? pattern : args_text(args, "topic"), RD_KAFKA_PARTITION_UA);
        rd_kafka_resp_err_t failed = rd_kafka_subscribe(consumer->kafka, topics);
        rd_kafka_topic_partition_list_destroy(topics);
        if (failed) {
            text_add(why, "%s", rd_kafka_err2str(failed));
            return console_failed(why);
        }
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return consume(consumer);
}

int console_consumer_run(struct args *args) {
    static struct consumer consumer;
    const char *property, *file, *format_property;
    consumer.args = args;
    int wrong = check_options(&consumer);
    if (wrong) return wrong;
    if (!console_renamed(args, "command-property", "consumer-property", &property) || !console_renamed(args, "command-config", "consumer.config", &file) ||
        !console_renamed(args, "formatter-property", "property", &format_property)) return 1;
    pool_init(&consumer.pool, 0, 0);
    arena_init(&consumer.arena, &consumer.pool, 0);
    config_values_init(&consumer.config, &consumer.arena);
    config_values_init(&consumer.format_config, &consumer.arena);
    text_init(&consumer.why, consumer.why_bytes, sizeof consumer.why_bytes);
    int status = run(&consumer, property, file, format_property);
    names_free(consumer.include);
    arena_destroy(&consumer.arena);
    pool_destroy(&consumer.pool);
    return status;
}
