/* moldau: one program. `moldau VERB ...`; called by another name (kafka-topics.sh, ...) it is that tool. */
#include "base/random.h"
#include "cli/cli.h"
#include "console/console.h"
#include "controller/controller.h"
#include "server/config_verb.h"
#include "server/notify.h"
#include "server/server.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { TIME_BYTES = 80, WHY_BYTES = 1024, WARNINGS_BYTES = 8192, OFFLOAD_THREADS = 4 };

/* ---- one line for each event, to standard error; what is for the user goes to standard output ------------------------- */

static void time_text(char out[TIME_BYTES]) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    snprintf(out, TIME_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
             parts.tm_min, parts.tm_sec, now.tv_nsec / 1000000);
}

static void trace_line(const char *line) {
    char now[TIME_BYTES];
    time_text(now);
    fprintf(stderr, "%s moldau: %s\n", now, line);
}

/* Traced requests and answers, in a file of their own: appended whole, from any shard, so that it may be cut by others. */
static int protocol_file = -1;

static void protocol_line(const char *line) {
    char now[TIME_BYTES], newline[] = "\n";
    time_text(now);
    strcat(now, " ");
    struct iovec pieces[] = {{now, strlen(now)}, {(void *)(uintptr_t)line, strlen(line)}, {newline, 1}};
    if (writev(protocol_file, pieces, countof(pieces)) < 0) return; /* a full disk ends the trace, not the node */
}

static int sentence(const char *what) {
    fprintf(stderr, "moldau: %s\n", what);
    return 1;
}

/* ---- running ------------------------------------------------------------------------------------------------------------------ */

struct running {
    struct server *server;
    struct shard_group *group;
    struct console *console;
    struct config_values *values; /* of the settings */
    bool stopped, clean, quiet;
    const char *hint; /* printed with the ready line; may be NULL */
    bool any_http_port; /* where the one that was set is taken */
    char http[IO_ADDRESS_TEXT_MAX]; /* where HTTP is served */
};
static struct running running;

static volatile sig_atomic_t stop_asked;

static void on_signal(int number) {
    stop_asked = 1;
    if (running.group) shard_interrupt(running.group);
}

static void on_ready(void *context) {
    const struct broker_node *node = server_node(running.server);
    char line[512];
    int n = snprintf(line, sizeof line, "ready: node %d of cluster %s serves on", node->id, node->cluster_id);
    for (uint32_t i = 0; i < node->listener_count && n < (int)sizeof line; i++)
        if (!node->listeners[i].is_controller) n += snprintf(line + n, sizeof line - (size_t)n, " %s:%d", node->listeners[i].host, node->listeners[i].port);
    printf("%s\n", line);
    if (running.console) printf("metrics: http://%s/metrics\n", running.http);
    if (running.hint) printf("%s", running.hint);
    fflush(stdout);
    char state[sizeof line + 32];
    snprintf(state, sizeof state, "READY=1\nSTATUS=%s", line);
    notify_send(state);
    notify_watchdog_start(running.group);
}

/* Why it stopped of itself has been traced. */
static void on_stopped(void *context, bool clean, const char *why) {
    running.stopped = true;
    running.clean = clean;
    shard_stop(running.group);
}

static void on_interrupt(void *context) {
    notify_send("STOPPING=1\nSTATUS=stopping");
    server_stop(running.server);
}

static uint64_t machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

/* Where acknowledgements wait for syncs, a quarter of the cores, rounded up, is left to those. */
static uint32_t shards_for(long cores, bool page_cache) {
    long shards = page_cache ? cores : cores - (cores + 3) / 4;
    return shards < 1 ? 1 : shards > SHARDS_MAX ? SHARDS_MAX : (uint32_t)shards;
}

/* Metrics and health. On the port that was set, or, where nobody has set it (`moldau dev`), on another one if that is taken. */
static bool open_console(const struct settings *settings, struct pool *pool, const char *io, struct text *why) {
    struct console_options options = {.pool = pool, .address = settings->http, .node = server_node(running.server), .group = server_shards(running.server), .lazy = running.any_http_port,
                                      .version = "0.1.0", .io = io, .control = server_sample, .context = running.server};
    if (!settings->serves_http) return true;
    enum err err = console_open(&running.console, &options, why);
    if (err && running.any_http_port) {
        text_reset(why);
        options.address.port = 0;
        err = console_open(&running.console, &options, why);
    }
    if (err && running.any_http_port) { /* it was no wish of the user's */
        trace_line(why->bytes);
        text_reset(why);
        return true;
    }
    if (err) return false;
    options.address.port = console_port(running.console);
    io_address_text(&options.address, running.http);
    /* DescribeConfigs tells where it really is: `moldau top` finds it so. */
    if (config_values_set(running.values, SPAN_LITERAL("moldau.http.listener"), span_text(running.http))) trace_line("out of memory");
    return true;
}

static int run_server(struct settings *settings) {
    struct text why;
    char why_bytes[WHY_BYTES];
    struct io *ios[SHARDS_MAX];
    static struct pool io_pools[SHARDS_MAX], node_pool;
    text_init(&why, why_bytes, sizeof why_bytes);
    uint32_t shards = settings->shards ? settings->shards : shards_for(sysconf(_SC_NPROCESSORS_ONLN), settings->page_cache);
    uint64_t memory = settings->memory_bytes ? settings->memory_bytes : machine_memory() / 8 > MIB(512) ? machine_memory() / 8 : MIB(512);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    pool_init(&node_pool, 0, 0);
    /* For its owner only: it may show what clients write. */
    if (settings->trace_file[0] && (protocol_file = open(settings->trace_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) {
        text_add(&why, "moldau.trace.file: %s: %s", settings->trace_file, strerror(errno));
        return sentence(why.bytes);
    }
    for (uint32_t i = 0; i < shards; i++) {
        pool_init(&io_pools[i], 0, 64);
        struct io_options options = {.backend = settings->backend, .offload_threads = OFFLOAD_THREADS, .pool = &io_pools[i]};
        int result = io_open(&ios[i], &options);
        if (result < 0) {
            text_add(&why, "io.backend: %s cannot be used here: %s", settings->backend == IO_BACKEND_EPOLL ? "epoll" : "io_uring", strerror(-result));
            return sentence(why.bytes);
        }
    }
    uint64_t descriptors = getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY ? files.rlim_cur : 0;
    struct server_options options = {.descriptors_max = descriptors, .settings = settings, .ios = ios, .shards = shards, .files = io_files_real(), .pool = &node_pool,
                                     .shard_pool_bytes = (size_t)(memory / shards), .trace = trace_line,
                                     .protocol = protocol_file < 0 ? NULL : protocol_line, .on_ready = on_ready, .on_stopped = on_stopped};
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (server_open(&running.server, &options, &why)) return sentence(why.bytes);
    if (!open_console(settings, &node_pool, ios[0]->vtable->name, &why)) return sentence(why.bytes);
    shard_on_interrupt(server_shards(running.server), on_interrupt, NULL);
    running.group = server_shards(running.server);
    if (stop_asked) shard_interrupt(running.group); /* it came while the node was being put together */
    enum err err = shard_group_run(running.group);
    console_close(running.console);
    server_free(running.server);
    if (err) return sentence(err_text(err));
    return running.clean ? 0 : 1;
}

static bool load(struct settings *settings, struct config_values *values, struct text *why) {
    struct text warnings;
    static char warnings_bytes[WARNINGS_BYTES];
    text_init(&warnings, warnings_bytes, sizeof warnings_bytes);
    if (!config_provide(values, why) || !settings_read(settings, values, why, &warnings)) return false;
    running.values = values;
    for (char *line = strtok(warnings_bytes, "\n"); line; line = strtok(NULL, "\n")) trace_line(line);
    return true;
}

static int verb_server(int argc, char **argv) {
    static struct pool pool;
    static struct settings settings;
    struct arena arena;
    struct text why;
    char why_bytes[WHY_BYTES];
    struct config_values values;
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
    text_init(&why, why_bytes, sizeof why_bytes);
    config_values_init(&values, &arena);
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        fprintf(argc < 2 ? stderr : stdout, "usage: moldau server FILE [--override key=value]...\n");
        return argc < 2;
    }
    if (!config_load_file(&values, argv[1], &arena, &why)) return sentence(why.bytes);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--override") == 0 && i + 1 < argc) {
            if (!config_load_override(&values, argv[++i], &why)) return sentence(why.bytes);
        } else {
            text_add(&why, "%s: only --override key=value may follow the file", argv[i]);
            return sentence(why.bytes);
        }
    }
    if (!load(&settings, &values, &why)) return sentence(why.bytes);
    return run_server(&settings);
}

/* A node without a file: formats its folder when that is new, and serves. The same path as `server`, the same durability. */
static int verb_dev(int argc, char **argv) {
    static struct pool pool;
    static struct settings settings;
    static char text[LOG_PATH_MAX + 2048], hint[1024];
    struct arena arena;
    struct text why;
    char why_bytes[WHY_BYTES], folder[LOG_PATH_MAX];
    struct config_values values;
    const char *dir = "moldau-data";
    int port = 9092, overrides = 0;
    const char *pairs[64];
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
    text_init(&why, why_bytes, sizeof why_bytes);
    config_values_init(&values, &arena);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end;
        if (strcmp(argv[i], "--dir") == 0 && value) dir = value, i++;
        else if (strcmp(argv[i], "--override") == 0 && value && overrides < (int)countof(pairs)) pairs[overrides++] = value, i++;
        else if (strcmp(argv[i], "--port") == 0 && value) {
            long number = strtol(value, &end, 10);
            if (*end || end == value || number < 0 || number > 65535) {
                text_add(&why, "--port %s: a number from 0 to 65535 is wanted", value);
                return sentence(why.bytes);
            }
            port = (int)number, i++;
        } else {
            bool help = strcmp(argv[i], "--help") == 0;
            fprintf(help ? stdout : stderr, "usage: moldau dev [--dir DIR] [--port N] [--override key=value]...\n");
            return !help;
        }
    }
    if (dir[0] == '/') snprintf(folder, sizeof folder, "%s", dir);
    else {
        char here[LOG_PATH_MAX - 300];
        if (!getcwd(here, sizeof here)) return sentence(strerror(errno));
        snprintf(folder, sizeof folder, "%s/%.256s", here, dir);
    }
    int n = snprintf(text, sizeof text,
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\ncontroller.listener.names=CONTROLLER\n"
        "listeners=PLAINTEXT://localhost:%d,CONTROLLER://localhost:0\ninter.broker.listener.name=PLAINTEXT\n"
        "offsets.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\n", port);
    if (config_values_read(&values, span_of(text, (size_t)n), &why)) return sentence(why.bytes);
    if (config_values_set(&values, SPAN_LITERAL("log.dirs"), span_text(folder))) return sentence("out of memory");
    if (config_values_set(&values, SPAN_LITERAL("moldau.http.listener"), SPAN_LITERAL("127.0.0.1:9404"))) return sentence("out of memory");
    running.any_http_port = true;
    for (int i = 0; i < overrides; i++) {
        if (!config_load_override(&values, pairs[i], &why)) return sentence(why.bytes);
        if (strncmp(pairs[i], "moldau.http.listener", strlen("moldau.http.listener")) == 0) running.any_http_port = false;
    }
    if (!load(&settings, &values, &why)) return sentence(why.bytes);

    struct random random;
    struct log_dir_meta meta;
    uint64_t seed;
    if (log_dir_meta_read(io_files_real(), folder, &meta) == ERR_NOT_FOUND) {
        char cluster_id[UUID_TEXT_BYTES + 1];
        struct timespec now;
        if (getentropy(&seed, sizeof seed)) return sentence(strerror(errno));
        random_seed(&random, seed);
        uuid_text(uuid_random(&random), cluster_id);
        clock_gettime(CLOCK_REALTIME, &now);
        struct uuid directory = uuid_random(&random);
        const char *dirs[] = {folder};
        struct format_plan plan = {.node = settings.node, .cluster_id = span_text(cluster_id), .dirs = dirs, .directory_ids = &directory, .dir_count = 1,
                                   .is_controller = true, .now = (time_ms)now.tv_sec * 1000 + now.tv_nsec / 1000000};
        if (format_run(&plan, io_files_real(), &pool, &why)) return sentence(why.bytes);
    }
    printf("moldau dev: data in %s\n", folder);
    fflush(stdout);
    snprintf(hint, sizeof hint,
             "Try, in another terminal:\n"
             "  echo hello | kcat -b localhost:%d -P -t greetings\n"
             "  kcat -b localhost:%d -C -t greetings -e\n"
             "or build/bin/kafka-topics.sh --bootstrap-server localhost:%d --list. Ctrl-C stops it; the data stay.\n", port, port, port);
    running.hint = port ? hint : NULL;
    return run_server(&settings);
}

int main(int argc, char **argv) {
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    if (strncmp(name, "kafka-", 6) == 0 && strcmp(name, "kafka-server-start.sh") != 0) return cli_main(argc, argv);
    if (strcmp(name, "kafka-server-start.sh") == 0) return verb_server(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "server") == 0) return verb_server(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "dev") == 0) return verb_dev(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "config") == 0) return config_run(argc - 1, argv + 1);
    if (argc == 3 && strcmp(argv[1], "metrics") == 0 && strcmp(argv[2], "doc") == 0) {
        console_document(stdout);
        return 0;
    }
    return cli_main(argc, argv);
}
