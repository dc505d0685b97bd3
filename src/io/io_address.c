/* io/io_address.c - addresses as text and back. IPv4 is kept as ::ffff:a.b.c.d and written as a.b.c.d. */
#include "base/text.h"
#include "io/io.h"
#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void io_address_text(const struct io_address *address, char out[IO_ADDRESS_TEXT_MAX]) {
    char ip[INET6_ADDRSTRLEN];
    struct text text;
    text_init(&text, out, IO_ADDRESS_TEXT_MAX);
    if (!memcmp(address->ip, mapped_prefix, sizeof mapped_prefix)) {
        inet_ntop(AF_INET, address->ip + 12, ip, sizeof ip);
        text_add(&text, "%s:%u", ip, address->port);
    } else {
        inet_ntop(AF_INET6, address->ip, ip, sizeof ip);
        text_add(&text, "[%s]:%u", ip, address->port);
    }
}

/* Digits only, no sign, no blank, up to 65535. */
static bool parse_port(const char *text, uint16_t *out) {
    uint32_t port = 0;
    size_t digits = 0;
    for (; text[digits]; digits++) {
        if (text[digits] < '0' || text[digits] > '9' || digits >= 5) return false;
        port = port * 10 + (uint32_t)(text[digits] - '0');
    }
    *out = (uint16_t)port;
    return digits > 0 && port <= UINT16_MAX;
}

bool io_address_parse(const char *text, struct io_address *out) {
    struct io_address address = {0};
    char ip[INET6_ADDRSTRLEN];
    bool bracketed = text[0] == '[';
    if (bracketed) text++;
    const char *end = bracketed ? strchr(text, ']') : strrchr(text, ':');
    if (!end || (size_t)(end - text) >= sizeof ip || (bracketed && end[1] != ':')) return false;
    memcpy(ip, text, (size_t)(end - text));
    ip[end - text] = 0;
    if (bracketed) {
        if (inet_pton(AF_INET6, ip, address.ip) != 1) return false;
    } else {
        memcpy(address.ip, mapped_prefix, sizeof mapped_prefix);
        if (inet_pton(AF_INET, ip, address.ip + 12) != 1) return false;
    }
    if (!parse_port(end + (bracketed ? 2 : 1), &address.port)) return false;
    *out = address;
    return true;
}
