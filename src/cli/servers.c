#include "cli/servers.h"
#include "base/assert.h"
#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { HOST_MAX = 256, PORT_MAX = 65535 };

static bool is_of_name(char c) { return isalnum((unsigned char)c) || c == '-' || c == '%' || c == '.' || c == '_'; }

/* [protocol://]host:port, an IPv6 address in brackets or without: where the host stands. */
static bool split(const char *at, size_t size, char host[HOST_MAX], long *port) {
    const char *end = at + size, *colon = NULL, *from = at;
    for (const char *c = at; c + 2 < end; c++)
        if (c[0] == ':' && c[1] == '/' && c[2] == '/') from = c + 3;
    for (const char *c = at; c < from - 3; c++)
        if (!is_of_name(*c)) return false;
    for (const char *c = from; c < end; c++)
        if (*c == ':') colon = c;
    if (!colon || colon + 1 == end || end - colon > 6) return false;
    *port = 0;
    for (const char *c = colon + 1; c < end; c++) {
        if (!isdigit((unsigned char)*c)) return false;
        *port = *port * 10 + (*c - '0');
    }
    const char *to = colon;
    if (from < to && *from == '[') from++;
    if (from < to && to[-1] == ']') to--;
    for (const char *c = from; c < to; c++)
        if (!is_of_name(*c) && *c != ':') return false;
    if (from == to || to - from >= HOST_MAX) return false;
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    return *port <= PORT_MAX;
}

/* The next one of the list, without blanks around it. */
static bool next(const char **at, const char **item, size_t *size) {
    while (**at == ',' || **at == ' ') (*at)++;
    if (!**at) return false;
    *item = *at;
    *size = strcspn(*at, ",");
    *at += *size;
    while (*size && (*item)[*size - 1] == ' ') --*size;
    return true;
}

bool servers_are_valid(const char *list, const char **bad, size_t *bad_size) {
    const char *item = list;
    char host[HOST_MAX];
    size_t size = 0;
    uint32_t count = 0;
    long port;
    for (const char *at = list; next(&at, &item, &size); count++) {
        if (split(item, size, host, &port)) continue;
        if (bad) *bad = item;
        if (bad_size) *bad_size = size;
        return false;
    }
    if (bad) *bad = list;
    if (bad_size) *bad_size = 0;
    return count > 0;
}

bool servers_check(const char *list, struct text *why) {
    const char *item;
    char host[HOST_MAX];
    size_t size;
    long port;
    bool found = false;
    if (!servers_are_valid(list, &item, &size)) {
        if (size == 0) text_add(why, "Configuration 'bootstrap.servers' must not be empty. Valid values include: any non-empty value");
        else text_add(why, "Invalid url in bootstrap.servers: %.*s", (int)size, item);
        return false;
    }
    for (const char *at = list; next(&at, &item, &size);) {
        struct addrinfo *addresses = NULL, hints = {.ai_socktype = SOCK_STREAM};
        if (!split(item, size, host, &port)) continue;
        if (getaddrinfo(host, NULL, &hints, &addresses)) fprintf(stderr, "WARN Couldn't resolve server %.*s from bootstrap.servers as DNS resolution failed for %s\n", (int)size, item, host);
        else {
            found = true;
            freeaddrinfo(addresses);
        }
    }
    if (!found) text_add(why, "No resolvable bootstrap urls given in bootstrap.servers");
    return found;
}
