/* console/console.h - what a node tells by HTTP: /metrics for Prometheus, /health/live and /health/ready.
 *
 * libmicrohttpd serves it on a thread of its own, which never touches what belongs to shards: a request becomes a `scrape`
 * (console/scrape.h), which goes from shard to shard as one message, and the thread waits for its end. One at a time, and
 * no more than ten a second; connections, their sizes and their idleness are bounded. The page is written on that
 * thread from what the scrape brought home.
 *
 * The library is loaded when it is wanted and not before: it draws ten others in, which the tools would pay for at every
 * call, and a node that nobody watches with 3 MiB and some milliseconds of its start.
 */
#pragma once
#include "broker/broker.h"
#include <stdio.h>

struct console;

/* What only whoever put the node together can tell of its control role; filled in on shard 0. */
struct control_sample {
    broker_id raft_leader;             /* -1: not known */
    leader_epoch raft_epoch;
    log_offset raft_high_watermark, raft_end, controller_applied; /* -1: not known */
    bool controller_is_active, is_stopping;
    uint64_t refused_by_address;
};

struct console_options {
    struct pool *pool;                 /* borrows: used by open and close alone */
    struct io_address address;         /* port 0: a free one */
    struct broker_node *node;          /* borrows, as the group; both outlive the console */
    struct shard_group *group;
    bool lazy;                         /* the library is loaded by the first connection, and only then found missing */
    const char *version, *io;          /* for moldau_build_info */
    void (*control)(void *context, struct control_sample *out); /* on shard 0; NULL: there is no control role */
    void *context;
};
/* Before the shards run, or while they do. `why` gets one sentence with an error. */
must_use enum err console_open(struct console **out, const struct console_options *options, struct text *why);
uint16_t console_port(const struct console *console);
/* When no shard runs any more. Whoever waits is answered 503. NULL is fine. */
void console_close(struct console *console);

/* docs/metrics.md, made from the table. */
void console_document(FILE *out);
