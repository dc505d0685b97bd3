/* server/server.h - the process of a node: its shards and what lives on them, and the order in which it starts and stops.
 *
 * start:  log dirs locked and read -> shards, stores, nets, brokers -> listeners bound -> quorum, controller ->
 *         registration -> unfenced: ready
 * stop:   listeners closed, controlled shutdown -> brokers answer what waits, connections end -> quorum and controller ->
 *         logs flushed and closed -> clean-shutdown marks
 *
 * Runs in the simulator as it runs here: everything from outside comes in through the ios.
 */
#pragma once
#include "console/console.h"
#include "server/settings.h"

struct server;

struct server_options {
    const struct settings *settings;     /* borrows */
    struct io **ios;                     /* one for each shard; taken over, also when the opening fails */
    uint32_t shards;
    struct io_files files;               /* blocking, for start and end */
    struct pool *pool;                   /* borrows: of the node, for what is read at start */
    size_t shard_pool_bytes;             /* each shard's budget; 0: no limit */
    uint64_t descriptors_max;            /* of the process, 0: no limit */
    struct pool **shard_pools;           /* NULL: made here */
    void (*trace)(const char *line);     /* structured log; may be NULL */
    void (*protocol)(const char *line);  /* traced requests and answers, from any shard; NULL: they go to `trace` */
    void (*on_ready)(void *context);     /* this broker is unfenced and serves, once */
    void (*on_stopped)(void *context, bool clean, const char *why); /* all is closed but the memory; why: NULL or a sentence */
    void *context;
};
/* On the thread that will run shard 0. `why` gets one sentence with an error. */
must_use enum err server_open(struct server **out, const struct server_options *options, struct text *why);
struct shard_group *server_shards(struct server *server);
struct broker_node *server_node(struct server *server);
/* For console_options.control: what the control role says of itself; on shard 0. */
void server_sample(void *server, struct control_sample *out);
/* Begins to stop; on shard 0. Again: no effect. */
void server_stop(struct server *server);
/* When on_stopped has run and no shard runs any more; or, as a kill, at any time (the simulator). */
void server_free(struct server *server);
