// Driver of librdkafka from C, the library that Debian has.
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_MS 1700000000000LL
enum { RECORDS = 500, NUMBERS_MAX = 1 << 20 };

static const char *bootstrap, *capability, *topic, *group, *argument;

static void fail(const char *format, ...) {
    va_list more;
    va_start(more, format);
    vfprintf(stderr, format, more);
    va_end(more);
    fputc('\n', stderr);
    _exit(1);
}

static void check(rd_kafka_resp_err_t err, const char *what) {
    if (err) fail("%s: %s", what, rd_kafka_err2str(err));
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(int ms) { nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL); }

// ---- the rule of a record
static size_t key_of(long i, char *out) { return (size_t)sprintf(out, "key-%ld", i); }
static size_t value_of(long i, char *out) {
    size_t n = (size_t)sprintf(out, "value-%ld-", i);
    for (long j = 0; j < i % 100; j++, n += 3) memcpy(out + n, "abc", 3);
    return n;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why)) fail("%s", why);
}

static rd_kafka_conf_t *configured(void) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", bootstrap);
    set(conf, "log_level", "2");
    return conf;
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char why[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (!rk) fail("%s", why);
    return rk;
}

// ---- produce
static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) { check(message->err, "delivery"); }

static void write_all(const char *codec, bool idempotent) {
    rd_kafka_conf_t *conf = configured();
    set(conf, "compression.type", codec);
    set(conf, "linger.ms", "20");
    set(conf, "enable.idempotence", idempotent ? "true" : "false");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
    for (long i = 0; i < RECORDS; i++) {
        char key[32], value[400];
        size_t key_size = key_of(i, key), value_size = value_of(i, value);
        check(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(key, key_size), RD_KAFKA_V_VALUE(value, value_size),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), "produce");
        rd_kafka_poll(rk, 0);
    }
    check(rd_kafka_flush(rk, 30000), "flush");
    rd_kafka_destroy(rk);
}

// ---- consume
static rd_kafka_t *consumer(const char *in_group, const char *instance, const char *commits) {
    rd_kafka_conf_t *conf = configured();
    set(conf, "group.id", in_group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "session.timeout.ms", "10000");
    set(conf, "heartbeat.interval.ms", "1000");
    set(conf, "enable.auto.commit", commits);
    if (instance) set(conf, "group.instance.id", instance);
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

static rd_kafka_message_t *next(rd_kafka_t *rk, double deadline) {
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 200);
        if (message && message->err) check(message->err, "consume");
        if (message) return message;
        if (now() > deadline) fail("the messages did not come");
    }
}

static rd_kafka_t *reader(const char *from, int64_t offset) {
    rd_kafka_t *rk = consumer("nobody", NULL, "false");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, from, 0)->offset = offset;
    check(rd_kafka_assign(rk, list), "assign");
    rd_kafka_topic_partition_list_destroy(list);
    return rk;
}

static void gone(rd_kafka_t *rk) {
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

static int read_all(const char *from, long count) {
    rd_kafka_t *rk = reader(from, 0);
    double deadline = now() + 30;
    int right = 0;
    for (long o = 0; o < count; o++) {
        char key[32], value[400];
        rd_kafka_message_t *m = next(rk, deadline);
        size_t key_size = key_of(o % RECORDS, key), value_size = value_of(o % RECORDS, value);
        right += m->offset == o && m->key_len == key_size && !memcmp(m->key, key, key_size) && m->len == value_size && !memcmp(m->payload, value, value_size);
        rd_kafka_message_destroy(m);
    }
    gone(rk);
    return right;
}

static void codec(void) {
    char foreign[300];
    snprintf(foreign, sizeof foreign, "%s", argument);
    char *colon = strrchr(foreign, ':');
    *colon = 0;
    write_all(capability, false);
    int own = read_all(topic, RECORDS);
    printf("{\"own\": %d, \"foreign\": %d}\n", own, read_all(foreign, atol(colon + 1)));
}

static void print_hex(const void *data, size_t size) {
    if (!data) { printf("null"); return; }
    putchar('"');
    for (size_t i = 0; i < size; i++) printf("%02x", ((const unsigned char *)data)[i]);
    putchar('"');
}

static void records(void) {
    struct odd { const char *key; size_t key_size; const char *value; int ms; const char *headers[3][2]; };
    static const struct odd four[] = {{"\x00\xff", 2, "v0", 0, {{"a", "a"}, {"b", ""}, {"a", "b"}}}, {NULL, 0, "v1", 1, {{0}}}, {"k2", 2, NULL, 2, {{0}}}, {"", 0, "", 3, {{0}}}};
    static const struct odd null_header[] = {{"k", 1, "v", 0, {{"n", NULL}}}};
    bool is_one = !strcmp(capability, "null-header");
    const struct odd *all = is_one ? null_header : four;
    int count = is_one ? 1 : 4;
    rd_kafka_conf_t *conf = configured();
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
    for (int i = 0; i < count; i++) {
        const struct odd *odd = &all[i];
        rd_kafka_headers_t *headers = rd_kafka_headers_new(3);
        for (int h = 0; h < 3 && odd->headers[h][0]; h++)
            rd_kafka_header_add(headers, odd->headers[h][0], -1, odd->headers[h][1], odd->headers[h][1] ? (ssize_t)strlen(odd->headers[h][1]) : 0);
        check(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(odd->key, odd->key_size),
                                RD_KAFKA_V_VALUE((void *)(size_t)odd->value, odd->value ? strlen(odd->value) : 0), RD_KAFKA_V_TIMESTAMP(START_MS + odd->ms),
                                RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), "produce");
    }
    check(rd_kafka_flush(rk, 30000), "flush");
    rd_kafka_destroy(rk);
    rk = reader(topic, 0);
    printf("{\"records\": [");
    for (int i = 0; i < count; i++) {
        rd_kafka_message_t *m = next(rk, now() + 30);
        rd_kafka_headers_t *headers;
        printf("%s{\"k\": ", i ? ", " : "");
        print_hex(m->key, m->key_len);
        printf(", \"v\": ");
        print_hex(m->payload, m->len);
        printf(", \"t\": %lld, \"h\": [", (long long)rd_kafka_message_timestamp(m, NULL));
        if (!rd_kafka_message_headers(m, &headers)) {
            const char *name;
            const void *value;
            size_t size;
            for (size_t h = 0; !rd_kafka_header_get_all(headers, h, &name, &value, &size); h++) {
                printf("%s[\"%s\", ", h ? ", " : "", name);
                print_hex(value, size);
                putchar(']');
            }
        }
        printf("]}");
        rd_kafka_message_destroy(m);
    }
    printf("]}\n");
    gone(rk);
}

// ---- groups
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char *counts;
static int ends;

struct member { rd_kafka_t *rk; pthread_t thread; bool has[16]; int partitions, assignments, read; volatile bool leave; };

// A cooperative strategy tells what came and what went, the others tell all.
static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque) {
    struct member *member = opaque;
    bool assigns = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < list->cnt; i++) member->has[list->elems[i].partition] = assigns;
    member->partitions = 0;
    for (int i = 0; i < 16; i++) member->partitions += member->has[i];
    member->assignments += assigns;
    pthread_mutex_unlock(&lock);
    if (!strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE")) rd_kafka_error_destroy(assigns ? rd_kafka_incremental_assign(rk, list) : rd_kafka_incremental_unassign(rk, list));
    else rd_kafka_assign(rk, assigns ? list : NULL);
}

static void *member_runs(void *opaque) {
    struct member *member = opaque;
    while (!member->leave) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(member->rk, 100);
        if (!m) continue;
        if (!m->err && m->len > 0) {
            char text[32] = {0};
            memcpy(text, m->payload, m->len < 31 ? m->len : 31);
            long number = atol(text);
            pthread_mutex_lock(&lock);
            member->read++;
            if (!strcmp(text, "end")) ends++;
            else if (number >= 0 && number < NUMBERS_MAX) counts[number]++;
            pthread_mutex_unlock(&lock);
        }
        rd_kafka_message_destroy(m);
    }
    gone(member->rk);
    return NULL;
}

static void join(struct member *member, const char *instance) {
    *member = (struct member){0};
    rd_kafka_conf_t *conf = configured();
    set(conf, "group.id", group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "session.timeout.ms", "10000");
    set(conf, "heartbeat.interval.ms", "1000");
    if (instance) set(conf, "group.instance.id", instance);
    if (argument) set(conf, "partition.assignment.strategy", !strcmp(argument, "cooperative") ? "cooperative-sticky" : argument);
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    rd_kafka_conf_set_opaque(conf, member);
    member->rk = client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(member->rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    check(rd_kafka_subscribe(member->rk, topics), "subscribe");
    rd_kafka_topic_partition_list_destroy(topics);
    pthread_create(&member->thread, NULL, member_runs, member);
}

static void leave(struct member *member) {
    member->leave = true;
    pthread_join(member->thread, NULL);
}

static int peek(const int *number) {
    pthread_mutex_lock(&lock);
    int value = *number;
    pthread_mutex_unlock(&lock);
    return value;
}

#define UNTIL(fact) for (double deadline_ = now() + 40; !(fact); nap(20)) if (now() > deadline_) fail("not within 40 s: %s", #fact)

static void group_of_two(void) {
    struct member a, b;
    if (argument && !strcmp(argument, "sticky")) {
        printf("{\"lacks\": \"librdkafka has no assignor sticky\"}\n");
        return;
    }
    counts = calloc(NUMBERS_MAX, 1);
    join(&a, NULL);
    UNTIL(peek(&a.partitions) == 6);
    join(&b, NULL);
    UNTIL(peek(&a.partitions) > 0 && peek(&b.partitions) > 0 && peek(&a.partitions) + peek(&b.partitions) == 6 && peek(&b.read) > 0);
    int first = peek(&a.partitions), second = peek(&b.partitions);
    leave(&b);
    UNTIL(peek(&a.partitions) == 6);
    printf("covered\n");
    fflush(stdout);
    UNTIL(peek(&ends) >= 6);
    leave(&a);
    int seen = 0, most = 0;
    for (int i = 0; i < NUMBERS_MAX; i++) {
        seen += counts[i] > 0;
        if (counts[i] > most) most = counts[i];
    }
    printf("{\"alone\": 6, \"shared\": [%d, %d], \"again\": 6, \"seen\": %d, \"most\": %d}\n", first, second, seen, most);
}

static void member(void) {
    struct member one;
    counts = calloc(NUMBERS_MAX, 1);
    join(&one, NULL);
    for (int had = 0; peek(&ends) < 6; nap(20)) {
        int has = peek(&one.partitions);
        if (has != had) printf("has %d\n", had = has);
        fflush(stdout);
    }
    leave(&one);
    printf("{}\n");
}

static void pause_and_resume(void) {
    rd_kafka_t *rk = reader(topic, 0);
    for (int i = 0; i < 10; i++) rd_kafka_message_destroy(next(rk, now() + 30));
    rd_kafka_topic_partition_list_t *there = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(there, topic, 0)->offset = 20;
    check(rd_kafka_pause_partitions(rk, there), "pause");
    int quiet = 0;
    for (int i = 0; i < 10; i++) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (m) quiet++, rd_kafka_message_destroy(m);
    }
    rd_kafka_error_t *error = rd_kafka_seek_partitions(rk, there, 10000);
    if (error) fail("%s", rd_kafka_error_string(error));
    check(rd_kafka_resume_partitions(rk, there), "resume");
    rd_kafka_message_t *m = next(rk, now() + 30);
    printf("{\"quiet\": %d, \"next\": %lld}\n", quiet, (long long)m->offset);
    rd_kafka_message_destroy(m);
    rd_kafka_topic_partition_list_destroy(there);
    gone(rk);
}

static void done(rd_kafka_error_t *error) {
    if (error) fail("%s", rd_kafka_error_string(error));
}

static void transaction(void) {
    rd_kafka_conf_t *conf = configured();
    set(conf, "transactional.id", group);
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
    done(rd_kafka_init_transactions(rk, 30000));
    for (int commits = 0; commits < 2; commits++) {
        done(rd_kafka_begin_transaction(rk));
        for (long i = 0; i < 10; i++) {
            char key[32], value[400];
            size_t key_size = key_of(i, key), value_size = value_of(i, value);
            check(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(key, key_size), RD_KAFKA_V_VALUE(value, value_size),
                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), "produce");
        }
        check(rd_kafka_flush(rk, 30000), "flush");
        done(commits ? rd_kafka_commit_transaction(rk, 30000) : rd_kafka_abort_transaction(rk, 30000));
    }
    rd_kafka_destroy(rk);
    rk = reader(topic, 0); // it reads what is committed by default
    int64_t first = -1;
    for (int i = 0; i < 10; i++) {
        rd_kafka_message_t *m = next(rk, now() + 30);
        if (first < 0) first = m->offset;
        rd_kafka_message_destroy(m);
    }
    gone(rk);
    printf("{\"read\": 10, \"first\": %lld}\n", (long long)first);
}

static const char *last_delivery = "";
static void told(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) { last_delivery = rd_kafka_err2str(message->err); }

static void large(void) {
    rd_kafka_conf_t *conf = configured();
    set(conf, "message.max.bytes", "2000000");
    rd_kafka_conf_set_dr_msg_cb(conf, told);
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
    char *value = calloc(1, 1100000);
    for (size_t size = 1000000; size <= 1100000; size += 100000) {
        check(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(value, size), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), "produce");
        check(rd_kafka_flush(rk, 30000), "flush");
    }
    rd_kafka_destroy(rk);
    rk = reader(topic, 0);
    rd_kafka_message_t *m = next(rk, now() + 30);
    printf("{\"read\": %zu, \"refused\": \"%s\"}\n", m->len, last_delivery);
    rd_kafka_message_destroy(m);
    free(value);
    gone(rk);
}

static rd_kafka_t *subscribed(void) {
    rd_kafka_t *rk = consumer(group, NULL, "false");
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    check(rd_kafka_subscribe(rk, topics), "subscribe");
    rd_kafka_topic_partition_list_destroy(topics);
    return rk;
}

static void resume(void) {
    rd_kafka_t *rk = subscribed();
    for (int i = 0; i < 40; i++) rd_kafka_message_destroy(next(rk, now() + 30));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = 40;
    check(rd_kafka_commit(rk, list, 0), "commit");
    rd_kafka_topic_partition_list_destroy(list);
    gone(rk);
    rk = subscribed();
    int64_t first = -1, last = -1;
    while (last < 99) {
        rd_kafka_message_t *m = next(rk, now() + 30);
        last = m->offset;
        if (first < 0) first = last;
        rd_kafka_message_destroy(m);
    }
    check(rd_kafka_commit(rk, NULL, 0), "commit");
    gone(rk);
    printf("{\"first\": %lld, \"last\": %lld}\n", (long long)first, (long long)last);
}

static void print_partitions(const bool *has) {
    const char *comma = "";
    putchar('[');
    for (int i = 0; i < 16; i++)
        if (has[i]) { printf("%s%d", comma, i); comma = ", "; }
    putchar(']');
}

static void static_members(void) {
    struct member one, two;
    bool before[16], after[16];
    join(&one, "one");
    join(&two, "two");
    UNTIL(peek(&one.partitions) == 2 && peek(&two.partitions) == 2);
    memcpy(before, two.has, sizeof before);
    int assignments = peek(&one.assignments);
    leave(&two); // with an instance id it does not leave the group
    join(&two, "two");
    UNTIL(peek(&two.partitions) > 0);
    nap(1500); // a heartbeat of the first would tell it of a rebalance
    memcpy(after, two.has, sizeof after);
    int disturbed = peek(&one.assignments) - assignments;
    leave(&two);
    leave(&one);
    printf("{\"before\": ");
    print_partitions(before);
    printf(", \"after\": ");
    print_partitions(after);
    printf(", \"disturbed\": %d}\n", disturbed);
}

static int64_t at_time(rd_kafka_t *rk, int64_t time) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = time;
    check(rd_kafka_offsets_for_times(rk, list, 10000), "offsets for times");
    check(list->elems[0].err, "offsets for times");
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
}

static void offsets(void) {
    rd_kafka_t *rk = reader(topic, 0);
    int64_t low, high, at = at_time(rk, 1700000050000), between = at_time(rk, 1700000050500), after = at_time(rk, 1800000000000);
    check(rd_kafka_query_watermark_offsets(rk, topic, 0, &low, &high, 10000), "watermarks");
    gone(rk);
    rk = reader(topic, at);
    rd_kafka_message_t *m = next(rk, now() + 30);
    char end[32];
    snprintf(end, sizeof end, after < 0 ? "null" : "%lld", (long long)after);
    printf("{\"earliest\": %lld, \"latest\": %lld, \"at\": %lld, \"between\": %lld, \"after\": %s, \"read\": \"%.*s\"}\n", (long long)low, (long long)high,
           (long long)at, (long long)between, end, (int)m->key_len, (const char *)m->key);
    rd_kafka_message_destroy(m);
    gone(rk);
}

// ---- administration: an operation goes to a queue, its result comes from there
static rd_kafka_t *admin;
static rd_kafka_queue_t *queue;

static rd_kafka_event_t *result(void) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
    if (!event) fail("no answer within 30 s");
    if (rd_kafka_event_error(event)) fail("%s", rd_kafka_event_error_string(event));
    return event;
}

static void topics_are_well(const rd_kafka_topic_result_t **results, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_topic_result_error(results[i])) fail("%s", rd_kafka_topic_result_error_string(results[i]));
}

static void groups_are_well(const rd_kafka_group_result_t **results, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_group_result_error(results[i])) fail("%s", rd_kafka_error_string(rd_kafka_group_result_error(results[i])));
}

static void administer(void) {
    char why[256];
    size_t count;
    admin = client(RD_KAFKA_PRODUCER, configured());
    queue = rd_kafka_queue_new(admin);
    if (!strcmp(capability, "create-topic")) {
        rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(topic, 3, 1, why, sizeof why);
        check(rd_kafka_NewTopic_set_config(new, "retention.ms", "3600000"), "config");
        rd_kafka_CreateTopics(admin, &new, 1, NULL, queue);
        const rd_kafka_CreateTopics_result_t *r = rd_kafka_event_CreateTopics_result(result());
        topics_are_well(rd_kafka_CreateTopics_result_topics(r, &count), count);
        printf("{}\n");
    } else if (!strcmp(capability, "describe-topic")) {
        const struct rd_kafka_metadata *metadata;
        rd_kafka_topic_t *one = rd_kafka_topic_new(admin, topic, NULL);
        check(rd_kafka_metadata(admin, 0, one, &metadata, 10000), "metadata");
        check(metadata->topics[0].err, "metadata");
        bool leaders[64] = {0};
        for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
            if (metadata->topics[0].partitions[i].leader >= 0 && metadata->topics[0].partitions[i].leader < 64) leaders[metadata->topics[0].partitions[i].leader] = true;
        printf("{\"partitions\": %d, \"leaders\": [", metadata->topics[0].partition_cnt);
        const char *comma = "";
        for (int i = 0; i < 64; i++)
            if (leaders[i]) { printf("%s%d", comma, i); comma = ", "; }
        printf("]}\n");
    } else if (!strcmp(capability, "create-partitions")) {
        rd_kafka_NewPartitions_t *new = rd_kafka_NewPartitions_new(topic, 5, why, sizeof why);
        rd_kafka_CreatePartitions(admin, &new, 1, NULL, queue);
        const rd_kafka_CreatePartitions_result_t *r = rd_kafka_event_CreatePartitions_result(result());
        topics_are_well(rd_kafka_CreatePartitions_result_topics(r, &count), count);
        printf("{}\n");
    } else if (!strcmp(capability, "describe-config")) {
        rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
        rd_kafka_DescribeConfigs(admin, &resource, 1, NULL, queue);
        const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(result()), &count);
        check(rd_kafka_ConfigResource_error(found[0]), "describe");
        const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found[0], &count);
        for (size_t i = 0; i < count; i++)
            if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), "retention.ms")) printf("{\"retention\": \"%s\"}\n", rd_kafka_ConfigEntry_value(entries[i]));
    } else if (!strcmp(capability, "alter-config")) { // this version has the older request only, which sets all of a topic's configs
        rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
        check(rd_kafka_ConfigResource_set_config(resource, "retention.ms", "7200000"), "config");
        rd_kafka_AlterConfigs(admin, &resource, 1, NULL, queue);
        const rd_kafka_ConfigResource_t **found = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(result()), &count);
        check(rd_kafka_ConfigResource_error(found[0]), "alter");
        printf("{}\n");
    } else if (!strcmp(capability, "delete-records")) {
        rd_kafka_topic_partition_list_t *before = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(before, topic, 0)->offset = 40;
        rd_kafka_DeleteRecords_t *deletion = rd_kafka_DeleteRecords_new(before);
        rd_kafka_DeleteRecords(admin, &deletion, 1, NULL, queue);
        const rd_kafka_topic_partition_list_t *found = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(result()));
        check(found->elems[0].err, "delete records");
        printf("{}\n");
    } else if (!strcmp(capability, "list-groups")) {
        rd_kafka_ListConsumerGroups(admin, NULL, queue);
        const rd_kafka_ConsumerGroupListing_t **found = rd_kafka_ListConsumerGroups_result_valid(rd_kafka_event_ListConsumerGroups_result(result()), &count);
        printf("{\"groups\": [");
        for (size_t i = 0; i < count; i++) printf("%s\"%s\"", i ? ", " : "", rd_kafka_ConsumerGroupListing_group_id(found[i]));
        printf("]}\n");
    } else if (!strcmp(capability, "describe-group")) {
        rd_kafka_DescribeConsumerGroups(admin, &group, 1, NULL, queue);
        const rd_kafka_ConsumerGroupDescription_t **found =
            rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(result()), &count);
        if (rd_kafka_ConsumerGroupDescription_error(found[0])) fail("%s", rd_kafka_error_string(rd_kafka_ConsumerGroupDescription_error(found[0])));
        printf("{\"state\": \"%s\", \"members\": %zu}\n", rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(found[0])),
               rd_kafka_ConsumerGroupDescription_member_count(found[0]));
    } else if (!strcmp(capability, "describe-cluster")) { // this version tells it by its metadata
        const struct rd_kafka_metadata *metadata;
        check(rd_kafka_metadata(admin, 1, NULL, &metadata, 10000), "metadata");
        printf("{\"nodes\": %d, \"controller\": %d}\n", metadata->broker_cnt, rd_kafka_controllerid(admin, 10000));
    } else if (!strcmp(capability, "group-offsets")) {
        rd_kafka_ListConsumerGroupOffsets_t *asked = rd_kafka_ListConsumerGroupOffsets_new(group, NULL);
        rd_kafka_ListConsumerGroupOffsets(admin, &asked, 1, NULL, queue);
        const rd_kafka_group_result_t **found = rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(result()), &count);
        groups_are_well(found, count);
        printf("{\"offset\": %lld}\n", (long long)rd_kafka_group_result_partitions(found[0])->elems[0].offset);
    } else if (!strcmp(capability, "alter-offsets")) {
        rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(offsets, topic, 0)->offset = 3;
        rd_kafka_AlterConsumerGroupOffsets_t *change = rd_kafka_AlterConsumerGroupOffsets_new(group, offsets);
        rd_kafka_AlterConsumerGroupOffsets(admin, &change, 1, NULL, queue);
        const rd_kafka_group_result_t **found = rd_kafka_AlterConsumerGroupOffsets_result_groups(rd_kafka_event_AlterConsumerGroupOffsets_result(result()), &count);
        groups_are_well(found, count);
        check(rd_kafka_group_result_partitions(found[0])->elems[0].err, "alter offsets");
        printf("{}\n");
    } else if (!strcmp(capability, "delete-group")) {
        rd_kafka_DeleteGroup_t *deletion = rd_kafka_DeleteGroup_new(group);
        rd_kafka_DeleteGroups(admin, &deletion, 1, NULL, queue);
        groups_are_well(rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(result()), &count), count);
        printf("{}\n");
    } else if (!strcmp(capability, "delete-topic")) {
        rd_kafka_DeleteTopic_t *deletion = rd_kafka_DeleteTopic_new(topic);
        rd_kafka_DeleteTopics(admin, &deletion, 1, NULL, queue);
        const rd_kafka_DeleteTopics_result_t *r = rd_kafka_event_DeleteTopics_result(result());
        topics_are_well(rd_kafka_DeleteTopics_result_topics(r, &count), count);
        printf("{}\n");
    } else {
        fail("no such capability: %s", capability);
    }
}

int main(int count, char **words) {
    if (count < 5) fail("usage: driver BOOTSTRAP CAPABILITY TOPIC GROUP [ARGUMENT]");
    bootstrap = words[1], capability = words[2], topic = words[3], group = words[4], argument = count > 5 ? words[5] : NULL;
    static const struct { const char *name; void (*run)(void); } runs[] = {
        {"none", codec}, {"gzip", codec}, {"snappy", codec}, {"lz4", codec}, {"zstd", codec}, {"records", records}, {"null-header", records},
        {"group", group_of_two}, {"resume", resume}, {"member", member}, {"pause", pause_and_resume}, {"large", large}, {"transaction", transaction}, {"static", static_members}, {"offsets", offsets}};
    void (*run)(void) = administer;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        if (!strcmp(capability, runs[i].name)) run = runs[i].run;
    if (!strcmp(capability, "version")) {
        printf("{\"version\": \"%s\"}\n", rd_kafka_version_str());
    } else if (!strcmp(capability, "idempotent")) {
        write_all("none", true);
        printf("{}\n");
    } else {
        run();
    }
    fflush(stdout);
    _exit(0);
}
