/* moldau top: what a node does, second by second, from its page of metrics. */
#include "cli/admin.h"
#include "cli/tools.h"
#include "cli/top_page.h"
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_BYTES_MAX = 64 << 20, PAGE_BYTES_FIRST = 64 << 10, TIMEOUT_S = 10, ROWS_MAX = 4096, NAME_MAX_BYTES = 256, HEIGHT_DEFAULT = 40 };
#define DEFAULT_URL "http://127.0.0.1:9404/metrics"

struct top {
    char host[256], port[16], path[512], why[512];
    struct top_page now, before;
    uint32_t rows_left; /* of the terminal */
    bool is_terminal;
};

static double clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the page */

static bool fail(struct top *top, const char *format, ...) printf_like(2, 3);
static bool fail(struct top *top, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(top->why, sizeof top->why, format, arguments);
    va_end(arguments);
    return false;
}

/* http://host[:port][/path]; the host may stand in brackets. */
static bool read_url(struct top *top, const char *url) {
    const char *at = url;
    if (strncmp(at, "http://", 7) == 0) at += 7;
    else if (strstr(at, "://")) return fail(top, "%s: only http:// is read", url);
    size_t size = strcspn(at, "/");
    const char *path = at + size, *host = at, *colon = memrchr(at, ':', size), *bracket = memchr(at, ']', size);
    if (colon && bracket && colon < bracket) colon = NULL;
    size_t host_size = colon ? (size_t)(colon - at) : size;
    if (bracket && *host == '[') host++, host_size = (size_t)(bracket - host);
    if (host_size == 0 || host_size >= sizeof top->host) return fail(top, "%s: http://host:port/metrics is wanted", url);
    snprintf(top->host, sizeof top->host, "%.*s", (int)host_size, host);
    snprintf(top->port, sizeof top->port, "%.*s", colon ? (int)(size - (size_t)(colon - at) - 1) : 2, colon ? colon + 1 : "80");
    snprintf(top->path, sizeof top->path, "%s", *path ? path : "/metrics");
    return true;
}

static int dial(struct top *top) {
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int error = getaddrinfo(top->host, top->port, &hints, &found), fd = -1;
    if (error) {
        fail(top, "%s: %s", top->host, gai_strerror(error));
        return -1;
    }
    for (const struct addrinfo *to = found; to && fd < 0; to = to->ai_next) {
        fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, to->ai_protocol);
        if (fd < 0) continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
        if (connect(fd, to->ai_addr, to->ai_addrlen) == 0) continue;
        fail(top, "%s:%s: %s", top->host, top->port, strerror(errno));
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* All that comes until the other side closes; NULL: why is said. */
static char *receive(struct top *top, int fd) {
    size_t size = 0, capacity = PAGE_BYTES_FIRST;
    char *bytes = malloc(capacity);
    for (ssize_t n; bytes; size += (size_t)n) {
        if (size + 1 == capacity) {
            char *bigger = capacity < PAGE_BYTES_MAX ? realloc(bytes, capacity *= 2) : NULL;
            if (!bigger) break;
            bytes = bigger;
        }
        n = recv(fd, bytes + size, capacity - size - 1, 0);
        if (n > 0) continue;
        if (n == 0) {
            bytes[size] = 0;
            return bytes;
        }
        fail(top, "%s:%s: %s", top->host, top->port, errno == EAGAIN ? "no answer in time" : strerror(errno));
        free(bytes);
        return NULL;
    }
    free(bytes);
    fail(top, "%s:%s: the page is too large", top->host, top->port);
    return NULL;
}

/* HTTP/1.0: the answer comes in one piece and ends with the connection. */
static bool fetch(struct top *top, struct top_page *page) {
    char request[1024];
    int fd = dial(top), n = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s:%s\r\nAccept: text/plain\r\n\r\n", top->path, top->host, top->port);
    if (fd < 0) return false;
    bool sent = send(fd, request, (size_t)n, MSG_NOSIGNAL) == n;
    char *answer = sent ? receive(top, fd) : NULL;
    if (!sent) fail(top, "%s:%s: %s", top->host, top->port, strerror(errno));
    close(fd);
    if (!answer) return false;
    char *body = strstr(answer, "\r\n\r\n"), *status = strchr(answer, ' ');
    bool good = body && status && strncmp(answer, "HTTP/1.", 7) == 0 && strtol(status, NULL, 10) == 200;
    char *text = good ? strdup(body + 4) : NULL;
    if (!good) fail(top, "%s:%s%s: %.*s", top->host, top->port, top->path, status ? (int)strcspn(status + 1, "\r\n") : 12, status ? status + 1 : "no HTTP there");
    free(answer);
    if (!text) return false;
    return top_page_read(page, text, clock_s()) || fail(top, "out of memory");
}

/* ---- where it is: by the broker's own configuration */

static bool ask_for_listener(struct top *top, struct admin *admin, const struct metadata_response_metadata_response_broker *broker) {
    struct describe_configs_request request;
    struct describe_configs_response response;
    struct describe_configs_request_describe_configs_resource resource;
    struct span key = SPAN_LITERAL("moldau.http.listener");
    char id[16], url[512];
    describe_configs_request_init(&request);
    describe_configs_request_describe_configs_resource_init(&resource);
    snprintf(id, sizeof id, "%d", broker->node_id);
    resource.resource_type = CONFIG_BROKER;
    resource.resource_name = span_text(id);
    resource.configuration_keys = &key;
    resource.configuration_keys_count = 1;
    request.resources = &resource;
    request.resources_count = 1;
    if (!admin_call(admin, broker->node_id, 32, 0, "describeConfigs", &request, &response)) return fail(top, "%s", admin_cause(admin));
    struct span value = {0};
    if (response.results_count > 0 && response.results[0].configs_count > 0) value = response.results[0].configs[0].value;
    if (value.size == 0) return fail(top, "node %s has no moldau.http.listener: it tells no metrics", id);
    const char *text = (const char *)value.data;
    bool is_any = value.size > 0 && (*text == ':' || (value.size > 8 && strncmp(text, "0.0.0.0:", 8) == 0));
    const uint8_t *colon = memrchr(value.data, ':', value.size);
    if (is_any && colon) snprintf(url, sizeof url, "http://%.*s%.*s/metrics", (int)broker->host.size, (const char *)broker->host.data,
                                  (int)(value.size - (size_t)(colon - value.data)), (const char *)colon);
    else snprintf(url, sizeof url, "http://%.*s/metrics", (int)value.size, text);
    return read_url(top, url);
}

static bool find_page(struct top *top, struct args *args) {
    static struct admin admin;
    if (args_has(args, "metrics")) return read_url(top, args_text(args, "metrics"));
    if (!args_has(args, "bootstrap-server")) return read_url(top, DEFAULT_URL);
    bool found = admin_open(&admin, args) && admin_topics(&admin, NULL, 0);
    if (!found) fail(top, "%s", admin_cause(&admin));
    else if (admin.metadata.brokers_count == 0) found = fail(top, "there is no broker");
    else found = ask_for_listener(top, &admin, &admin.metadata.brokers[0]);
    admin_close(&admin);
    return found;
}

/* ---- the view */

static void line(struct top *top, const char *format, ...) printf_like(2, 3);
static void line(struct top *top, const char *format, ...) {
    va_list arguments;
    if (top->is_terminal && top->rows_left == 0) return;
    if (top->rows_left) top->rows_left--;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    fputs(top->is_terminal ? "\033[K\n" : "\n", stdout);
}

static const char *amount(char text[24], double value) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    uint32_t unit = 0;
    while (value >= 9999.5 && unit + 1 < countof(units)) value /= 1000, unit++;
    snprintf(text, 24, value >= 100 || value == (double)(int64_t)value ? "%.0f%s" : "%.1f%s", value, units[unit]);
    return text;
}

static const char *bytes(char text[24], double value) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    uint32_t unit = 0;
    while (value >= 1023.5 && unit + 1 < countof(units)) value /= 1024, unit++;
    snprintf(text, 24, value >= 100 || unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

static const char *ms(char text[24], double seconds) {
    if (seconds < 0) return "-";
    snprintf(text, 24, seconds < 0.0995 ? "%.2f" : "%.0f", seconds * 1000);
    return text;
}

static double sum(const struct top *top, const char *name) { return top_sum(&top->now, name, NULL, NULL); }
static double rate(const struct top *top, const char *name) { return top_rate(&top->now, &top->before, name, NULL, NULL); }

static void print_node(struct top *top) {
    char a[24], b[24], c[24], d[24];
    long up = (long)sum(top, "moldau_uptime_seconds");
    line(top, "moldau at %s:%s, up %ld:%02ld:%02ld, %s; CPU %.0f %%; connections %.0f; descriptors %.0f of %.0f", top->host, top->port, up / 3600,
         up / 60 % 60, up % 60, sum(top, "moldau_ready") > 0 ? "ready" : "NOT READY", 100 * rate(top, "process_cpu_seconds_total"),
         sum(top, "kafka_server_socket_server_metrics_connection_count"), sum(top, "process_open_fds"), sum(top, "process_max_fds"));
    line(top, "memory %s of %s, resident %s; network %s/s in", bytes(a, sum(top, "moldau_memory_used_bytes")), bytes(b, sum(top, "moldau_memory_limit_bytes")),
         bytes(c, sum(top, "process_resident_memory_bytes")), bytes(d, rate(top, "kafka_server_socket_server_metrics_incoming_byte_total")));
    line(top, "network out %s/s; syncs %s/s, p50 %s ms, p99 %s ms", bytes(a, rate(top, "kafka_server_socket_server_metrics_outgoing_byte_total")),
         amount(b, rate(top, "moldau_log_sync_seconds_count")), ms(c, top_quantile(&top->now, &top->before, "moldau_log_sync_seconds", NULL, NULL, 0.5)),
         ms(d, top_quantile(&top->now, &top->before, "moldau_log_sync_seconds", NULL, NULL, 0.99)));
}

struct row { char name[NAME_MAX_BYTES]; double values[4]; };
static struct row rows[ROWS_MAX];

static int by_first(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->values[0] != y->values[0]) return x->values[0] < y->values[0] ? 1 : -1;
    return strcmp(x->name, y->name);
}

/* A row for each value of a label that a metric has. */
static uint32_t rows_of(const struct top *top, const char *metric, const char *label) {
    uint32_t count = 0;
    for (const struct series *s = NULL; count < ROWS_MAX && (s = top_next(&top->now, metric, s));) {
        char name[NAME_MAX_BYTES];
        if (!top_label(s, label, name, sizeof name)) continue;
        if (count > 0 && strcmp(rows[count - 1].name, name) == 0) continue; /* they are sorted by their labels */
        memset(&rows[count], 0, sizeof rows[count]);
        strcpy(rows[count++].name, name);
    }
    return count;
}

/* Sorted by the first value; those of which it is 0 come last, and none of them with `busy` set. */
static void sort_rows(uint32_t *count, uint32_t most, bool busy) {
    qsort(rows, *count, sizeof *rows, by_first);
    while (busy && *count > 0 && rows[*count - 1].values[0] <= 0) --*count;
    if (*count > most) *count = most;
}

static void print_requests(struct top *top, uint32_t most) {
    static const char requests[] = "kafka_network_requestmetrics_requests_total", seconds[] = "moldau_request_seconds";
    uint32_t count = rows_of(top, requests, "request");
    char a[24], b[24], c[24];
    for (uint32_t i = 0; i < count; i++) rows[i].values[0] = top_rate(&top->now, &top->before, requests, "request", rows[i].name);
    sort_rows(&count, most, true);
    line(top, "%s", "");
    line(top, "%-32s %10s %10s %10s", "REQUEST", "/s", "p50 ms", "p99 ms");
    for (uint32_t i = 0; i < count; i++)
        line(top, "%-32s %10s %10s %10s", rows[i].name, amount(a, rows[i].values[0]), ms(b, top_quantile(&top->now, &top->before, seconds, "request", rows[i].name, 0.5)),
             ms(c, top_quantile(&top->now, &top->before, seconds, "request", rows[i].name, 0.99)));
}

static void print_topics(struct top *top, uint32_t most) {
    static const char *const names[] = {"kafka_server_brokertopicmetrics_bytesin_total", "kafka_server_brokertopicmetrics_bytesout_total",
                                        "kafka_server_brokertopicmetrics_messagesin_total"};
    uint32_t count = rows_of(top, names[0], "topic");
    char a[24], b[24], c[24];
    for (uint32_t i = 0; i < count; i++) {
        for (int n = 0; n < 3; n++) rows[i].values[n + 1] = top_rate(&top->now, &top->before, names[n], "topic", rows[i].name);
        rows[i].values[0] = rows[i].values[1] + rows[i].values[2];
    }
    sort_rows(&count, most, true);
    line(top, "%s", "");
    line(top, "%-32s %12s %12s %12s", "TOPIC", "in/s", "out/s", "records/s");
    for (uint32_t i = 0; i < count; i++)
        line(top, "%-32s %12s %12s %12s", rows[i].name, bytes(a, rows[i].values[1]), bytes(b, rows[i].values[2]), amount(c, rows[i].values[3]));
}

static void print_groups(struct top *top, uint32_t most) {
    uint32_t count = rows_of(top, "kafka_consumergroup_members", "consumergroup");
    char a[24], b[24], age[24];
    for (uint32_t i = 0; i < count; i++) {
        rows[i].values[0] = top_sum(&top->now, "kafka_consumergroup_lag", "consumergroup", rows[i].name);
        rows[i].values[1] = -1;
        rows[i].values[2] = top_sum(&top->now, "kafka_consumergroup_members", "consumergroup", rows[i].name);
        for (const struct series *s = NULL; (s = top_next(&top->now, "kafka_consumergroup_lag_seconds", s));) {
            char name[NAME_MAX_BYTES];
            if (top_label(s, "consumergroup", name, sizeof name) && strcmp(name, rows[i].name) == 0 && s->value > rows[i].values[1]) rows[i].values[1] = s->value;
        }
    }
    sort_rows(&count, most, false);
    line(top, "%s", "");
    line(top, "%-32s %12s %12s %12s", "GROUP", "lag", "lag s", "members");
    for (uint32_t i = 0; i < count; i++) {
        snprintf(age, sizeof age, rows[i].values[1] < 0 ? "-" : "%.1f", rows[i].values[1]);
        line(top, "%-32s %12s %12s %12s", rows[i].name, amount(a, rows[i].values[0]), age, amount(b, rows[i].values[2]));
    }
}

static void print_shards(struct top *top) {
    uint32_t count = rows_of(top, "moldau_shard_busy_seconds_total", "shard");
    char a[24], b[24], c[24];
    line(top, "%s", "");
    line(top, "%-8s %8s %10s %14s %14s", "SHARD", "busy %", "turns/s", "turn p99 ms", "memory");
    for (uint32_t i = 0; i < count; i++)
        line(top, "%-8s %8.1f %10s %14s %14s", rows[i].name, 100 * top_rate(&top->now, &top->before, "moldau_shard_busy_seconds_total", "shard", rows[i].name),
             amount(a, top_rate(&top->now, &top->before, "moldau_shard_turns_total", "shard", rows[i].name)),
             ms(b, top_quantile(&top->now, &top->before, "moldau_shard_turn_seconds", "shard", rows[i].name, 0.99)),
             bytes(c, top_sum(&top->now, "moldau_memory_used_bytes", "shard", rows[i].name)));
}

static void print_all(struct top *top) {
    struct winsize size;
    uint32_t most = ROWS_MAX;
    top->rows_left = 0;
    if (top->is_terminal) {
        top->rows_left = (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : HEIGHT_DEFAULT) - 1u;
        most = top->rows_left > 16 + 3 ? (top->rows_left - 16) / 3 : 1;
        fputs("\033[H", stdout);
    }
    print_node(top);
    print_requests(top, most);
    print_topics(top, most);
    print_groups(top, most);
    print_shards(top);
    if (top->is_terminal) fputs("\033[J", stdout);
    fflush(stdout);
}

static void pause_ms(int64_t span) {
    struct timespec wait = {.tv_sec = span / 1000, .tv_nsec = span % 1000 * 1000000};
    while (nanosleep(&wait, &wait) < 0 && errno == EINTR) {}
}

static bool look(struct top *top, int64_t interval_ms) {
    struct top_page next = {0};
    pause_ms(interval_ms);
    if (!fetch(top, &next)) {
        top_page_free(&next);
        return false;
    }
    top_page_free(&top->before);
    top->before = top->now;
    top->now = next;
    print_all(top);
    return true;
}

int top_run(struct args *args) {
    static struct top top;
    int64_t interval_ms = args_number(args, "interval-ms");
    bool once = args_has(args, "once");
    if (interval_ms < 100) return args_wrong(args, "--interval-ms is 100 at least");
    top.is_terminal = isatty(STDOUT_FILENO) && !once;
    bool good = find_page(&top, args) && fetch(&top, &top.now) && look(&top, interval_ms);
    while (good && !once) good = look(&top, interval_ms);
    if (!good) fprintf(stderr, "moldau top: %s\n", top.why);
    top_page_free(&top.now);
    top_page_free(&top.before);
    return good ? 0 : 1;
}
