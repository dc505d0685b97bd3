#include "server/overrides.h"
#include "server/settings.h"
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 512 };

struct overrides {
    struct overrides_options options;
    struct address_overrides now, next;    /* next: of `text`, while names are looked up */
    struct span text;                      /* owns: what was taken last, or is being taken */
    struct span rest;                      /* of it, not yet read */
    bool busy, again, stopping;            /* again: it was set to something else meanwhile */
    struct span later;                     /* owns: that */
    uint32_t connections_max;              /* of the host that is looked up */
    struct io_op op;
    struct io_address addresses[IO_ADDRESSES_MAX];
    char host[OVERRIDE_HOST_MAX];
    void (*stopped)(void *context);
};

/* host:count; the host may be an address of IPv6, with brackets or without: the last colon counts. NULL, or what is wrong. */
static const char *split(struct span item, char host[OVERRIDE_HOST_MAX], uint32_t *connections_max) {
    const uint8_t *colon = item.size ? memrchr(item.data, ':', item.size) : NULL;
    int64_t count;
    if (!colon || !config_parse_integer(span_of(colon + 1, (size_t)(item.data + item.size - colon - 1)), &count) || count < 0 || count > INT32_MAX)
        return "each override is host:count";
    struct span name = span_of(item.data, (size_t)(colon - item.data));
    if (name.size > 2 && name.data[0] == '[' && name.data[name.size - 1] == ']') name = span_of(name.data + 1, name.size - 2);
    if (name.size == 0) return "each override is host:count";
    if (name.size >= OVERRIDE_HOST_MAX) return "a host is too long";
    memcpy(host, name.data, name.size);
    host[name.size] = 0;
    *connections_max = (uint32_t)count;
    return NULL;
}

static bool parse_literal(const char *host, struct io_address *out) {
    char text[OVERRIDE_HOST_MAX + 8];
    snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:0" : "%s:0", host);
    return io_address_parse(text, out);
}

/* Of a name's addresses the first counts, and those of IPv4 come first, as in Java. */
static const struct io_address *first_of(const struct io_address *addresses, uint32_t count) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    for (uint32_t i = 0; i < count; i++)
        if (memcmp(addresses[i].ip, mapped, sizeof mapped) == 0) return &addresses[i];
    return addresses;
}

/* A host that is named again has the last count. */
static void add(struct address_overrides *to, const struct io_address *address, uint32_t connections_max) {
    uint32_t i = 0;
    while (i < to->count && memcmp(to->entries[i].ip, address->ip, sizeof address->ip) != 0) i++;
    if (i == to->count) to->count++;
    memcpy(to->entries[i].ip, address->ip, sizeof address->ip);
    to->entries[i].connections_max = connections_max;
}

static bool next_item(struct span *rest, struct span *item) {
    while (rest->size > 0 && config_list_next(rest, item))
        if (item->size > 0) return true;
    return false;
}

bool overrides_read(struct address_overrides *out, struct span text, struct text *why) {
    char host[OVERRIDE_HOST_MAX];
    uint32_t count = 0;
    struct io_address address;
    out->count = 0;
    for (struct span item; next_item(&text, &item);) {
        const char *what = out->count == ADDRESS_OVERRIDES_MAX ? "too many overrides" : split(item, host, &count);
        if (!what && !parse_literal(host, &address) && !settings_resolve(host, 0, &address)) {
            text_add(why, "the host %s leads to no address", host);
            return false;
        }
        if (what) {
            text_add(why, "%s", what);
            return false;
        }
        add(out, &address, count);
    }
    return true;
}

/* ---- while the node runs */

static struct span keep(struct overrides *overrides, struct span text) {
    if (text.size == 0) return (struct span){0};
    uint8_t *copy = pool_alloc(overrides->options.shard->pool, text.size);
    if (copy) memcpy(copy, text.data, text.size);
    return (struct span){copy, copy ? text.size : 0};
}
static void let_go(struct overrides *overrides, struct span *text) {
    if (text->data) pool_free(overrides->options.shard->pool, (void *)(uintptr_t)text->data, text->size);
    *text = (struct span){0};
}

static void trouble(struct overrides *overrides, const char *what, const char *host) {
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "max.connections.per.ip.overrides stays as it was: %s%s", what, host);
    overrides->options.on_trouble(overrides->options.context, line);
}

static void looked_up(struct io_op *op);

/* Up to the next name that must be looked up, or to the end. */
static void go_on(struct overrides *overrides) {
    struct io_address address;
    overrides->busy = false;
    for (struct span item; next_item(&overrides->rest, &item);) {
        const char *what = overrides->next.count == ADDRESS_OVERRIDES_MAX ? "too many overrides" : split(item, overrides->host, &overrides->connections_max);
        if (what) {
            trouble(overrides, what, "");
            return;
        }
        if (parse_literal(overrides->host, &address)) {
            add(&overrides->next, &address, overrides->connections_max);
            continue;
        }
        overrides->busy = true;
        overrides->op = (struct io_op){.kind = IO_OP_RESOLVE, .done = looked_up, .resolve = {.name = overrides->host, .addresses = overrides->addresses}};
        io_submit(overrides->options.shard->io, &overrides->op);
        return;
    }
    overrides->now = overrides->next;
    overrides->options.on_change(overrides->options.context);
}

static void take(struct overrides *overrides, struct span text) {
    let_go(overrides, &overrides->text);
    overrides->text = keep(overrides, text);
    if (overrides->text.size != text.size) return; /* over budget: the next image brings it again */
    overrides->rest = overrides->text;
    overrides->next.count = 0;
    go_on(overrides);
}

static void looked_up(struct io_op *op) {
    struct overrides *overrides = container_of(op, struct overrides, op);
    overrides->busy = false;
    if (overrides->stopping) {
        if (overrides->stopped) overrides->stopped(overrides->options.context);
        return;
    }
    if (overrides->again) {
        struct span later = overrides->later;
        overrides->again = false;
        overrides->later = (struct span){0};
        take(overrides, later);
        let_go(overrides, &later);
        return;
    }
    if (op->result > 0) add(&overrides->next, first_of(overrides->addresses, op->resolve.count), overrides->connections_max);
    if (op->result > 0) go_on(overrides);
    else trouble(overrides, "no address is known of the host ", overrides->host);
}

void overrides_set(struct overrides *overrides, struct span text) {
    if (overrides->stopping) return;
    if (overrides->busy) {
        if (span_equal(text, overrides->again ? overrides->later : overrides->text)) return;
        let_go(overrides, &overrides->later);
        overrides->later = keep(overrides, text);
        overrides->again = overrides->later.size == text.size;
        return;
    }
    if (!span_equal(text, overrides->text)) take(overrides, text);
}

enum err overrides_open(struct overrides **out, const struct overrides_options *options) {
    struct overrides *overrides = POOL_NEW(options->shard->pool, struct overrides);
    if (!overrides) return ERR_NO_MEMORY;
    overrides->options = *options;
    overrides->now = *options->first;
    overrides->text = keep(overrides, options->text);
    *out = overrides;
    return ERR_NONE;
}

const struct address_overrides *overrides_now(const struct overrides *overrides) { return &overrides->now; }

bool overrides_stop(struct overrides *overrides, void (*stopped)(void *context)) {
    if (!overrides) return true;
    overrides->stopping = true;
    overrides->stopped = stopped;
    return !overrides->busy;
}

void overrides_free(struct overrides *overrides) {
    if (!overrides) return;
    assert(!overrides->busy);
    let_go(overrides, &overrides->text);
    let_go(overrides, &overrides->later);
    pool_free(overrides->options.shard->pool, overrides, sizeof *overrides);
}
