#include "server/config_verb.h"
#include "cli/cli.h"
#include "server/config_doc.h"
#include "server/settings.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { WHY_BYTES = 1024, WARNINGS_BYTES = 65536, FILE_BYTES_MAX = 4 << 20, CLIENTS_MAX = 16 };

/* ---- reading */

bool config_load_file(struct config_values *values, const char *path, struct arena *arena, struct text *why) {
    struct io_files files = io_files_real();
    struct io_file *file;
    int result = files.vtable->open(files.self, &file, path, IO_READ);
    if (result < 0) {
        text_add(why, "%s: %s", path, strerror(-result));
        return false;
    }
    int64_t size = files.vtable->size(files.self, file);
    uint8_t *bytes = size < 0 || size > FILE_BYTES_MAX ? NULL : arena_alloc(arena, (size_t)size + 1);
    int64_t got = bytes ? files.vtable->read(files.self, file, bytes, (size_t)size, 0) : -1;
    io_file_drop(file);
    if (got < 0) {
        text_add(why, "%s: cannot be read, or is larger than 4 MiB", path);
        return false;
    }
    enum err err = config_values_read(values, span_of(bytes, (size_t)got), why);
    if (err && why->size == 0) text_add(why, "%s: %s", path, err_text(err));
    return err == ERR_NONE;
}

bool config_load_override(struct config_values *values, const char *pair, struct text *why) {
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair) {
        text_add(why, "--override %s: key=value is wanted", pair);
        return false;
    }
    return config_values_set(values, span_of(pair, (size_t)(equals - pair)), span_text(equals + 1)) == ERR_NONE;
}

/* ---- listeners: who reaches them, what is told there, and who reaches that */

enum reach {
    REACH_NOBODY,       /* the name leads nowhere                          */
    REACH_THIS_MACHINE, /* loopback                                        */
    REACH_NETWORK,      /* an address of this machine                      */
    REACH_ELSEWHERE,    /* an address that is not one of this machine's    */
};

static bool is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == 127;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b) {
    if (a->sa_family != b->sa_family) return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 && memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                                              &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static bool is_own(const struct sockaddr *address) {
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all)) return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) found = i->ifa_addr && same_address(i->ifa_addr, address);
    freeifaddrs(all);
    return found;
}

static void address_text(const struct sockaddr *address, char out[INET6_ADDRSTRLEN]) {
    const void *bytes = address->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
                                                      : (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (!inet_ntop(address->sa_family, bytes, out, INET6_ADDRSTRLEN)) snprintf(out, INET6_ADDRSTRLEN, "?");
}

/* Where a name leads as seen from this machine; `text` gets the first address. */
static enum reach reach_of(const char *host, char text[INET6_ADDRSTRLEN]) {
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    enum reach reach = REACH_NOBODY;
    text[0] = 0;
    if (getaddrinfo(host, NULL, &hints, &found)) return REACH_NOBODY;
    for (const struct addrinfo *i = found; i; i = i->ai_next) {
        if (i->ai_family != AF_INET && i->ai_family != AF_INET6) continue;
        enum reach one = is_loopback(i->ai_addr) ? REACH_THIS_MACHINE : is_own(i->ai_addr) ? REACH_NETWORK : REACH_ELSEWHERE;
        if (one > reach) {
            reach = one;
            address_text(i->ai_addr, text);
        }
    }
    freeaddrinfo(found);
    return reach;
}

struct report { uint32_t problems; };

static void problem(struct report *report, const char *what) {
    report->problems++;
    printf("    problem: %s\n", what);
}

static const char *bound_to(const struct broker_listener *listener, char text[IO_ADDRESS_TEXT_MAX + 1], enum reach *reach) {
    io_address_text(&listener->address, text);
    bool all = strncmp(text, "0.0.0.0:", 8) == 0 || strncmp(text, "[::]:", 5) == 0;
    bool loopback = strncmp(text, "127.", 4) == 0 || strncmp(text, "[::1]:", 6) == 0;
    *reach = loopback ? REACH_THIS_MACHINE : REACH_NETWORK;
    return all ? "every address of this machine" : loopback ? "this machine only" : "one address of this machine";
}

static void explain_told(struct report *report, const struct broker_listener *listener, enum reach bound) {
    char address[INET6_ADDRSTRLEN];
    enum reach told = reach_of(listener->host, address);
    bool is_v6 = strchr(listener->host, ':') != NULL;
    printf("    Clients are told to connect to %s%s%s:%d", is_v6 ? "[" : "", listener->host, is_v6 ? "]" : "", listener->port);
    if (listener->port == 0) printf(" (0: a free port that is chosen at the start)");
    printf(".\n");
    switch (told) {
    case REACH_NOBODY:
        printf("    %s leads nowhere from here.\n", listener->host);
        problem(report, "a name that nobody can resolve: clients connect once, are told this name, and fail. Does it only exist where the clients are?");
        break;
    case REACH_THIS_MACHINE:
        printf("    That is %s, loopback: a client on this machine reaches the node; one anywhere else looks for it on itself.\n", address);
        if (bound == REACH_NETWORK)
            problem(report, "it listens for the network and tells clients to go to loopback: from other machines and containers the first "
                            "connection succeeds and all others fail. Set advertised.listeners to a name or an address that they can reach.");
        break;
    case REACH_NETWORK:
        printf("    That is %s, an address of this machine: whoever reaches this address reaches the node.\n", address);
        if (bound == REACH_THIS_MACHINE) problem(report, "it tells clients an address of the network and listens on loopback only: nobody gets through. Set listeners to 0.0.0.0 or that address.");
        break;
    case REACH_ELSEWHERE:
        printf("    That is %s, not an address of this machine: right only if something there (a proxy, NAT, a container's host) leads to %d here.\n", address, listener->address.port);
        if (bound == REACH_THIS_MACHINE) printf("    It listens on loopback only: what leads here must run on this machine.\n");
        break;
    }
}

static void explain_listener(struct report *report, const struct broker_listener *listener) {
    char text[IO_ADDRESS_TEXT_MAX + 1];
    enum reach bound;
    const char *who = bound_to(listener, text, &bound);
    printf("  %s, PLAINTEXT%s\n", listener->name, listener->is_controller ? ", for controllers" : "");
    printf("    Listens on %s: %s.\n", text, who);
    if (listener->is_controller) printf("    Other nodes of the quorum find it as %s:%d.\n", listener->host, listener->port);
    else explain_told(report, listener, bound);
}

/* ---- a client at an address: which listeners it reaches, what it is told, whether it reaches that */

static bool parse_address(const char *text, struct sockaddr_storage *out) {
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(text, NULL, &hints, &found) || !found) return false;
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static void explain_client(struct report *report, const struct settings *settings, const char *client) {
    struct sockaddr_storage at;
    if (!parse_address(client, &at)) {
        printf("A client at %s\n", client);
        problem(report, "this is no address, and no name that leads to one");
        return;
    }
    bool is_here = is_loopback((struct sockaddr *)&at) || is_own((struct sockaddr *)&at);
    printf("A client at %s%s\n", client, is_here ? ", which is this machine" : ", another machine");
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        const struct broker_listener *listener = &settings->listeners[i];
        char text[IO_ADDRESS_TEXT_MAX + 1], address[INET6_ADDRSTRLEN];
        enum reach bound;
        if (listener->is_controller) continue;
        (void)bound_to(listener, text, &bound);
        enum reach told = reach_of(listener->host, address);
        if (!is_here && bound == REACH_THIS_MACHINE) {
            printf("    %s: does not reach it, it listens on loopback.\n", listener->name);
            continue;
        }
        printf("    %s: reaches it%s, is told %s:%d, and ", listener->name, is_here ? "" : " if the network lets it", listener->host, listener->port);
        if (told == REACH_NOBODY) printf("finds no such name (as seen from here).\n");
        else if (told == REACH_THIS_MACHINE && !is_here) printf("then looks for the node on itself: it fails.\n");
        else if (told == REACH_ELSEWHERE) printf("gets through only if %s leads here.\n", address);
        else if (told == REACH_NETWORK && bound == REACH_THIS_MACHINE) printf("fails: it listens on loopback only.\n");
        else printf("reaches it.\n");
    }
}

/* ---- check */

static int usage(FILE *out) {
    fprintf(out, "usage: moldau config check FILE [--override key=value]... [--client ADDRESS]...\n"
                 "       moldau config doc\n");
    return out == stderr;
}

static void print_lines(const char *title, char *lines) {
    for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n")) {
        if (title) printf("%s\n", title);
        title = NULL;
        printf("  %s\n", line);
    }
}

static int check(int argc, char **argv) {
    static struct pool pool;
    static struct settings settings;
    static char warnings_bytes[WARNINGS_BYTES];
    char why_bytes[WHY_BYTES];
    struct text why, warnings;
    struct arena arena;
    struct config_values values;
    const char *clients[CLIENTS_MAX];
    uint32_t client_count = 0;
    pool_init(&pool, 0, 0);
    arena_init(&arena, &pool, 0);
    text_init(&why, why_bytes, sizeof why_bytes);
    text_init(&warnings, warnings_bytes, sizeof warnings_bytes);
    config_values_init(&values, &arena);
    if (argc < 1 || argv[0][0] == '-') return usage(stderr);
    bool good = config_load_file(&values, argv[0], &arena, &why);
    for (int i = 1; i < argc && good; i++) {
        if (strcmp(argv[i], "--override") == 0 && i + 1 < argc) good = config_load_override(&values, argv[++i], &why);
        else if (strcmp(argv[i], "--client") == 0 && i + 1 < argc && client_count < CLIENTS_MAX) clients[client_count++] = argv[++i];
        else return usage(stderr);
    }
    good = good && config_provide(&values, &why) && settings_read(&settings, &values, &why, &warnings);
    print_lines("Without effect:", warnings_bytes);
    if (!good) {
        printf("Wrong, and the node would not start:\n  %s\n", why.bytes);
        return 1;
    }
    struct report report = {0};
    printf("Listeners:\n");
    for (uint32_t i = 0; i < settings.listener_count; i++) explain_listener(&report, &settings.listeners[i]);
    for (uint32_t i = 0; i < client_count; i++) explain_client(&report, &settings, clients[i]);
    if (settings.serves_http) {
        char address[IO_ADDRESS_TEXT_MAX];
        io_address_text(&settings.http, address);
        bool is_here = strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0;
        printf("Metrics: http://%s/metrics%s\n", address, is_here ? "" : "; whoever reaches it may read them: there is no authentication");
    }
    printf("Node %d; data in", settings.node);
    for (uint32_t i = 0; i < settings.log_dir_count; i++) printf("%s %s", i ? "," : "", settings.log_dirs[i]);
    printf("; metadata in %s; what is acknowledged is %s.\n", settings.metadata_dir, settings.page_cache ? "in the page cache" : "on disk");
    printf("The node would start%s.\n", report.problems ? ", and clients may not reach it: see the problems above" : "");
    return 0;
}

int config_run(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "doc") == 0) {
        config_doc_print(stdout);
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "check") == 0) return check(argc - 2, argv + 2);
    return usage(argc >= 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
}
