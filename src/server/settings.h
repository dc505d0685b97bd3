/* server/settings.h - what a node needs to know of its configuration, read and checked once, before anything is opened.
 *
 * A wrong value stops the start with one sentence: the key, the value, what is allowed. So does a security setting that
 * is not served yet: an ignored authorizer would be an open cluster.
 */
#pragma once
#include "broker/broker.h"
#include "log/log.h"
#include "meta/meta.h"
#include "server/overrides.h"

struct settings {
    const struct config_values *values;      /* borrows */
    broker_id node;
    bool is_broker, is_controller;
    struct broker_listener listeners[LISTENERS_MAX];
    uint32_t listener_count;
    char controller_listener[64];            /* the first of controller.listener.names */
    char rack[256];                          /* empty: none */
    char log_dirs[LOG_DIRS_MAX][LOG_PATH_MAX];
    uint32_t log_dir_count;
    char metadata_dir[LOG_PATH_MAX];
    char voters[4096];                       /* controller.quorum.voters */
    bool page_cache;
    char trace_file[LOG_PATH_MAX];           /* empty: the log */
    uint32_t shards;                         /* 0: one for each core */
    uint64_t memory_bytes;                   /* 0: by the machine's */
    struct address_overrides overrides;      /* max.connections.per.ip.overrides of the file */
    uint64_t disk_reserve_bytes;             /* UINT64_MAX: by the disk's */
    struct io_address http;                  /* moldau.http.listener */
    bool serves_http;
    enum io_backend backend;
};

/* False: `why` has the sentence. Unknown keys are noted in `warnings` (a line each; may be NULL). */
must_use bool settings_read(struct settings *out, const struct config_values *values, struct text *why, struct text *warnings);

/* Where to listen, or who is meant: an address, or a name, looked up as Kafka does; IPv4 before IPv6. Before the node has
 * started: it may wait. */
bool settings_resolve(const char *host, uint16_t port, struct io_address *out);
