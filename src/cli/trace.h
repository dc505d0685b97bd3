/* cli/trace.h - what `moldau trace` makes of the frames that pass through it: a line for each, and brokers' addresses
 * changed to its own, so that clients come back through it. No I/O: cli/trace.c carries the bytes.
 *
 * Any structure of an answer that says where a broker is (an id, a host and a port: in Metadata, FindCoordinator,
 * DescribeCluster, and in the hints of Produce and Fetch) is changed, by the message's table. Everything else passes as it
 * came, also what cannot be read.
 */
#pragma once
#include "base/containers.h"
#include "cli/args.h"
#include "wire/header.h"
#include "wire/trace.h"

enum { TRACE_PENDING_MAX = 10000, TRACE_ADDRESS_BYTES = 300 };

struct trace_rules {
    struct wire_trace_filter filter;
    struct wire_json_rules json;
    size_t line_bytes;
    void (*tell)(void *context, const char *line);
    /* The port of ours that stands for a broker's address; 0: it stays as it is. */
    uint16_t (*port_for)(void *context, struct span host, uint16_t port);
    void *context;
};

struct trace_view { /* of one connection */
    const struct trace_rules *rules;    /* borrows */
    struct pool *pool;                  /* borrows */
    char client[TRACE_ADDRESS_BYTES];   /* with its port */
    char host[TRACE_ADDRESS_BYTES];     /* how the client reached us */
    uint64_t id;
    char *line;                         /* owns: line_bytes */
    struct list pending;                /* requests that are not answered, the oldest first */
    uint32_t pending_count;
    bool sends_tokens;                  /* SaslHandshake of version 0: bare credentials follow */
};
must_use bool trace_view_open(struct trace_view *view, const struct trace_rules *rules, struct pool *pool, const char *client, const char *host, uint64_t id);
void trace_view_close(struct trace_view *view);
/* A frame without its size. */
void trace_view_request(struct trace_view *view, struct span frame, time_ns now);
/* Answers what to send on, with its size in front; data NULL: the frame as it came. Lives in `arena`. */
struct span trace_view_answer(struct trace_view *view, struct span frame, time_ns now, struct arena *arena);
void trace_view_note(struct trace_view *view, const char *what);

int trace_run(struct args *args);
