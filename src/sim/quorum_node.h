/* sim/quorum_node.h - what simulated machines with a quorum each have in common: where they are, how they are formatted,
 * and their listener, which serves the quorum's requests and ApiVersions and nothing else.
 *
 * Machine `number` counts from 0; its node id is one more.
 */
#pragma once
#include "net/net.h"
#include "quorum/quorum.h"
#include "sim/sim.h"

enum { QUORUM_NODES_MAX = 8, QUORUM_PORT = 9093 };

/* The voters are machines 0 to count - 1. */
struct quorum_nodes {
    uint32_t voters;
    bool dynamic;                     /* kraft.version 1: in the log; else in every node's settings */
    const char *path, *cluster_id;
};
struct uuid quorum_node_directory(uint32_t number);
void quorum_node_voters(uint32_t count, struct raft_voters *out);
/* The log directory, and on a voter's the first snapshot with these values. */
enum err quorum_node_format(const struct quorum_nodes *nodes, uint32_t number, struct io_files files, struct pool *pool, const struct span *values, uint32_t count);

/* What a node's settings say of itself and the others: fills in that part of the options, which borrow it. */
struct quorum_node_settings {
    char voters[256];
    struct raft_listeners listeners;
    struct quorum_address bootstrap[QUORUM_NODES_MAX];
};
void quorum_node_settings(const struct quorum_nodes *nodes, uint32_t number, struct quorum_node_settings *settings, struct quorum_options *options);

/* The context of a listener whose owner is quorum_node_conns. */
struct quorum_node_server {
    struct sim *sim;
    struct quorum *quorum;
    void (*on_asked)(struct quorum_node_server *server, const struct wire_api *api, const void *request); /* may be NULL */
    /* About to be sent; may be NULL. */
    void (*on_answer)(struct quorum_node_server *server, const struct wire_api *api, const void *request, const void *response);
};
extern const struct conn_owner quorum_node_conns;
