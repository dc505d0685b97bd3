/* console/http.c - libmicrohttpd's side: its thread, its connections, and the three things that can be asked for. */
#include "console/page.h"
#include "console/process.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 64, CONNECTIONS_PER_ADDRESS_MAX = 32,
    CONNECTION_BYTES_MAX = 16 << 10, /* its buffers: a request's line and headers must fit */
    BODY_BYTES_MAX = 64 << 10,       /* of a request that should have none                 */
    IDLE_S = 10,
    PAGE_BYTES_MAX = 64 << 20,
    SHARDS_ANSWER_MS = 5000,
    SCRAPES_APART_MS = 100,          /* a second one waits: shards are asked ten times a second at most */
    BACKLOG = 64,
};

struct microhttpd {
    void *library;
    __typeof__(&MHD_start_daemon) start_daemon;
    __typeof__(&MHD_stop_daemon) stop_daemon;
    __typeof__(&MHD_queue_response) queue_response;
    __typeof__(&MHD_create_response_from_buffer) create_response_from_buffer;
    __typeof__(&MHD_add_response_header) add_response_header;
    __typeof__(&MHD_destroy_response) destroy_response;
    __typeof__(&MHD_lookup_connection_value) lookup_connection_value;
};

struct console {
    struct console_options options;
    struct microhttpd http;
    struct MHD_Daemon *daemon;
    int socket;                    /* the daemon's, once it runs */
    pthread_t waiter;              /* for the first connection */
    bool waits;                    /* there is a waiter        */
    int ended;                     /* an event for the waiter  */
    uint16_t port;
    struct pool pool;              /* the HTTP thread's, once there is one */
    struct scrape *scrape;         /* the shards' while `away` */
    _Atomic bool away, closing;
    sem_t home;                    /* `away` has ended, or `closing` has begun */
    time_ns last_ended;
};

static time_ns now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * NS_PER_S + at.tv_nsec;
}

/* ---- asking the shards */

static struct console *console_of(struct scrape *scrape);

static void is_home(struct scrape *scrape) {
    struct console *console = console_of(scrape);
    atomic_store(&console->away, false);
    sem_post(&console->home);
}

/* Until the semaphore rings or so long; false: it did not. */
static bool wait_for(struct console *console, time_ns span) {
    time_ns end = now() + span;
    struct timespec until = {.tv_sec = end / NS_PER_S, .tv_nsec = end % NS_PER_S};
    int result;
    /* By the clock that nobody sets: set back by an hour, the other one would have it wait for an hour. */
    while ((result = sem_clockwait(&console->home, CLOCK_MONOTONIC, &until)) < 0 && errno == EINTR) {}
    return result == 0;
}

/* True: the scrape is home and fresh. One that did not come home in time is still away; until it does, nothing is asked. */
static bool ask_shards(struct console *console, enum scrape_kind kind) {
    if (atomic_load(&console->away) || atomic_load(&console->closing)) return false;
    if (kind == SCRAPE_ALL) {
        time_ns next = console->last_ended + SCRAPES_APART_MS * NS_PER_MS;
        while (!atomic_load(&console->closing) && now() < next) (void)wait_for(console, next - now());
    }
    atomic_store(&console->away, true);
    scrape_send(console->scrape, kind, is_home);
    time_ns deadline = now() + SHARDS_ANSWER_MS * NS_PER_MS;
    while (atomic_load(&console->away) && !atomic_load(&console->closing) && now() < deadline) (void)wait_for(console, deadline - now());
    if (kind == SCRAPE_ALL) console->last_ended = now();
    return !atomic_load(&console->away);
}

/* ---- answers */

static enum MHD_Result answer(struct console *console, struct MHD_Connection *connection, unsigned status, const char *type, const void *bytes, size_t size) {
    const struct microhttpd *http = &console->http;
    /* Copied: the page's memory is for the next one. (Not written to, though the library does not say so.) */
    struct MHD_Response *response = http->create_response_from_buffer(size, (void *)(uintptr_t)bytes, MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO;
    http->add_response_header(response, "Content-Type", type);
    http->add_response_header(response, "Cache-Control", "no-store");
    http->add_response_header(response, "Vary", "Accept"); /* two formats of one page */
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) http->add_response_header(response, "Allow", "GET, HEAD");
    enum MHD_Result result = http->queue_response(connection, status, response);
    http->destroy_response(response);
    return result;
}

static enum MHD_Result say(struct console *console, struct MHD_Connection *connection, unsigned status, const char *line) {
    return answer(console, connection, status, "text/plain; charset=utf-8", line, strlen(line));
}

static enum MHD_Result say_silent(struct console *console, struct MHD_Connection *connection) {
    return say(console, connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the shards have not answered for some seconds\n");
}

static enum MHD_Result answer_metrics(struct console *console, struct MHD_Connection *connection) {
    time_ns began = now();
    if (!ask_shards(console, SCRAPE_ALL)) return say_silent(console, connection);
    struct process_sample process;
    struct metric_page page;
    process_look(&process);
    metric_page_init(&page, &console->pool, PAGE_BYTES_MAX);
    const char *type = metric_page_type(console->http.lookup_connection_value(connection, MHD_HEADER_KIND, "Accept"), &page.is_open_metrics);
    page_write(&page, console->scrape, &process, console->last_ended - began);
    metric_page_end(&page);
    enum MHD_Result result = page.cut ? say(console, connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page is too large\n")
                                      : answer(console, connection, MHD_HTTP_OK, type, page.bytes, page.size);
    metric_page_destroy(&page);
    return result;
}

static enum MHD_Result answer_ready(struct console *console, struct MHD_Connection *connection) {
    char bytes[4 * LOG_PATH_MAX];
    struct text why;
    text_init(&why, bytes, sizeof bytes);
    if (!ask_shards(console, SCRAPE_READY)) return say_silent(console, connection);
    bool ready = scrape_is_ready(console->scrape, &why);
    text_add(&why, ready ? "ready\n" : "\n");
    scrape_tell_failed(console->scrape, &why);
    return say(console, connection, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, why.bytes);
}

static enum MHD_Result answer_live(struct console *console, struct MHD_Connection *connection) {
    if (!ask_shards(console, SCRAPE_PING)) return say_silent(console, connection);
    return say(console, connection, MHD_HTTP_OK, "live\n");
}

/* Called with the headers, then with each piece of a body, then without one: only then is answered. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *body, size_t *body_bytes, void **user) {
    struct console *console = context;
    uintptr_t seen = (uintptr_t)*user;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return say(console, connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (seen == 0) {
        *user = (void *)(uintptr_t)1;
        return MHD_YES;
    }
    if (*body_bytes) {
        seen += *body_bytes;
        *body_bytes = 0;
        *user = (void *)seen;
        return seen > BODY_BYTES_MAX ? MHD_NO : MHD_YES;
    }
    if (strcmp(url, "/metrics") == 0) return answer_metrics(console, connection);
    if (strcmp(url, "/health/ready") == 0) return answer_ready(console, connection);
    if (strcmp(url, "/health/live") == 0) return answer_live(console, connection);
    if (strcmp(url, "/") == 0) return say(console, connection, MHD_HTTP_OK, "moldau\n/metrics\n/health/live\n/health/ready\n");
    return say(console, connection, MHD_HTTP_NOT_FOUND, "there is /metrics, /health/live and /health/ready\n");
}

/* ---- life */

static struct console *console_of(struct scrape *scrape) { return (struct console *)scrape->user; }

static bool load(struct microhttpd *http, struct text *why) {
    http->library = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL);
    if (!http->library) {
        text_add(why, "moldau.http.listener: libmicrohttpd cannot be loaded: %s", dlerror());
        return false;
    }
#define SYMBOL(name) (http->name = (__typeof__(http->name))dlsym(http->library, "MHD_" #name))
    if (SYMBOL(start_daemon) && SYMBOL(stop_daemon) && SYMBOL(queue_response) && SYMBOL(create_response_from_buffer) &&
        SYMBOL(add_response_header) && SYMBOL(destroy_response) && SYMBOL(lookup_connection_value)) return true;
#undef SYMBOL
    text_add(why, "moldau.http.listener: this libmicrohttpd is not the one that is known: %s", dlerror());
    return false;
}

static bool is_ipv4(const struct io_address *address) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address->ip, mapped, sizeof mapped) == 0;
}

static int listen_at(struct console *console, const struct io_address *address) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
    memcpy(&v4.sin_addr, address->ip + 12, 4);
    memcpy(&v6.sin6_addr, address->ip, 16);
    bool four = is_ipv4(address);
    struct sockaddr *at = four ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t size = four ? sizeof v4 : sizeof v6;
    int on = 1;
    console->socket = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (console->socket < 0) return errno;
    setsockopt(console->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(console->socket, at, size) < 0 || listen(console->socket, BACKLOG) < 0 || getsockname(console->socket, at, &size) < 0) return errno;
    console->port = ntohs(four ? v4.sin_port : v6.sin6_port);
    return 0;
}

static bool start(struct console *console, struct text *why) {
    if (!load(&console->http, why)) return false;
    console->daemon = console->http.start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, console,
        MHD_OPTION_LISTEN_SOCKET, console->socket, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CONNECTIONS_PER_ADDRESS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX, MHD_OPTION_END);
    if (console->daemon) console->socket = -1;
    else text_add(why, "moldau.http.listener: libmicrohttpd does not start: %s", strerror(errno));
    return console->daemon;
}

/* The first who connects has the library loaded. It is in no hurry: the connection waits in the socket's backlog. */
static void *wait_for_the_first(void *context) {
    struct console *console = context;
    struct pollfd polled[] = {{.fd = console->ended, .events = POLLIN}, {.fd = console->socket, .events = POLLIN}};
    struct text why;
    char bytes[256];
    while (poll(polled, countof(polled), -1) < 0 && errno == EINTR) {}
    if (polled[0].revents || !polled[1].revents) return NULL;
    text_init(&why, bytes, sizeof bytes);
    if (start(console, &why)) return NULL;
    close(console->socket); /* so that nobody waits for an answer */
    console->socket = -1;
    console->options.node->trace(why.bytes);
    return NULL;
}

static bool start_later(struct console *console, struct text *why) {
    console->ended = eventfd(0, EFD_CLOEXEC);
    int error = console->ended < 0 ? errno : pthread_create(&console->waiter, NULL, wait_for_the_first, console);
    console->waits = error == 0;
    if (error) text_add(why, "moldau.http.listener: %s", strerror(error));
    return console->waits;
}

enum err console_open(struct console **out, const struct console_options *options, struct text *why) {
    struct console *console = POOL_NEW(options->pool, struct console);
    if (!console) {
        text_add(why, "%s", err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    enum err err = ERR_NO_MEMORY;
    console->options = *options;
    console->socket = console->ended = -1;
    console->last_ended = now() - NS_PER_S;
    pool_init(&console->pool, 0, 0);
    sem_init(&console->home, 0, 0);
    if (!(console->scrape = scrape_new(&console->pool, &console->options))) goto fail;
    console->scrape->user = console;
    err = ERR_INVALID;
    int error = listen_at(console, &options->address);
    if (error) {
        char address[IO_ADDRESS_TEXT_MAX];
        io_address_text(&options->address, address);
        text_add(why, "moldau.http.listener: cannot listen on %s: %s", address, strerror(error));
        err = error == EADDRINUSE ? ERR_BUSY : ERR_INVALID;
        goto fail;
    }
    if (!(options->lazy ? start_later(console, why) : start(console, why))) goto fail;
    *out = console;
    return ERR_NONE;
fail:
    if (why->size == 0) text_add(why, "%s", err_text(err));
    console_close(console);
    return err;
}

uint16_t console_port(const struct console *console) { return console->port; }

void console_close(struct console *console) {
    if (!console) return;
    atomic_store(&console->closing, true);
    sem_post(&console->home);
    if (console->waits) {
        eventfd_write(console->ended, 1);
        pthread_join(console->waiter, NULL);
    }
    if (console->ended >= 0) close(console->ended);
    if (console->daemon) console->http.stop_daemon(console->daemon);
    if (console->socket >= 0) close(console->socket);
    if (console->http.library) dlclose(console->http.library);
    scrape_free(console->scrape);
    sem_destroy(&console->home);
    pool_destroy(&console->pool);
    pool_free(console->options.pool, console, sizeof *console);
}
