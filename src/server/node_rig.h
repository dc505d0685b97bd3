/* server/node_rig.h - a whole node in the simulator, and a client's connections to it, for tests: every call drives the
 * world until it is over. Virtual time; the same seed makes the same events.
 */
#pragma once
#include "server/server.h"
#include "wire/header.h"

struct sim;
struct sim_net;
struct sim_host;
struct sim_process;

enum { RIG_NODE = 0, RIG_CLIENT = 1, RIG_SHARDS_MAX = 4, RIG_PORT = 9092, RIG_CONTROLLER_PORT = 9093, RIG_ANSWER_MAX = 1 << 22 };

struct node_rig {
    struct sim *sim;
    struct sim_net *net;
    struct sim_host *hosts[2];
    struct sim_process *process;
    uint32_t shards;
    struct pool pool;
    struct arena arena;           /* of the settings, and of answers until rig_close */
    struct config_values values;
    struct settings settings;
    struct server *server;
    struct io *io;                /* the client's */
    bool ready, stopped, clean;
    char why[1024];
    char traces[1 << 16];         /* every line that was traced */
};
/* Formats a node and starts it with these lines beside what it needs; ready when this returns. */
void node_rig_open(struct node_rig *rig, uint64_t seed, uint32_t shards, const char *settings);
/* The node goes on from where it was. */
void node_rig_kill(struct node_rig *rig);
bool node_rig_start(struct node_rig *rig);            /* false: rig->why */
bool node_rig_run(struct node_rig *rig);              /* until it is ready (true) or has stopped */
void node_rig_stop(struct node_rig *rig);             /* a clean stop; that all memory was given back is asserted */
void node_rig_close(struct node_rig *rig);
void node_rig_for(struct node_rig *rig, time_ms span);
size_t node_rig_memory(const struct node_rig *rig);   /* of all shards */

struct rig_client {
    struct node_rig *rig;
    struct io_socket *socket;
    struct io_op in, out;
    struct chain chain;
    int32_t correlation;
    bool closed, deaf;            /* closed: by the node */
    uint8_t *got;
    size_t got_bytes;
    uint8_t piece[8192];
};
/* `closed` where the node takes no connection from here. */
void rig_connect(struct rig_client *client, struct node_rig *rig, uint16_t port);
void rig_disconnect(struct rig_client *client);
/* Bytes as they are; returns when they are out, or the connection has ended. */
void rig_send(struct rig_client *client, const void *bytes, size_t size);
void rig_send_request(struct rig_client *client, int16_t key, int16_t version, const void *request);
/* The next answer behind its size, within `span` of virtual time; empty: none came, or the connection has ended. */
struct span rig_answer(struct rig_client *client, time_ms span);
/* The answer's struct, whose correlation id must be that of the oldest request that is unanswered; NULL: the connection ended. */
void *rig_ask(struct rig_client *client, int16_t key, int16_t version, const void *request);
void *rig_decode(struct rig_client *client, int16_t key, int16_t version, struct span answer, int32_t correlation);

/* Sets one key of a resource, or takes it back (NULL value), and answers the error. It is in every image, and acts, some moments
 * later: node_rig_for. */
int16_t rig_alter(struct rig_client *client, int8_t type, const char *resource, const char *key, const char *value);
/* Makes a topic, and answers its id. */
struct uuid rig_topic(struct rig_client *client, const char *name, int32_t partitions);
/* One batch of `count` records to (topic, partition): the error; *base its offset. */
int16_t rig_produce(struct rig_client *client, const char *name, partition_index index, uint32_t count, uint32_t bytes, log_offset *base);
