/* quorum/quorum_rig.h - for the tests: simulated machines, each with a quorum over a real log, and an observer who knows
 * what was ever committed anywhere.
 */
#pragma once
#include "net/net.h"
#include "quorum/quorum.h"
#include "sim/quorum_node.h"
#include "sim/sim_io.h"

enum { RIG_NODES_MAX = 5, RIG_VALUES_MAX = 1 << 14 };

/* A listener's state: the numbers of the values that it was given, in order. */
struct rig_state { uint32_t count; uint32_t values[RIG_VALUES_MAX]; };

struct rig_node {
    struct rig *rig;
    uint32_t number;                 /* node id is number + 1 */
    struct sim_host *host;
    struct sim_process *process;     /* NULL: does not run */
    struct shard_group *group;
    struct log_dirs *dirs;
    struct log_store *store;
    struct quorum *quorum;
    struct quorum_peers *peers;
    struct net *net;
    struct listener *listener;
    struct quorum_node_server server;
    struct quorum_listener up;
    struct rig_state state, taking;
    uint32_t taken_at;
    log_offset next;                 /* what comes next must begin here */
    uint32_t bootstrap_records, snapshots_loaded, snapshots_taken;
    bool in_bootstrap, in_snapshot, failed, stopped;
    leader_epoch epoch;              /* as on_leader said last */
    broker_id leader;
    int32_t checked_epoch, checked_voted; /* found on its disk */
    char why[512];
};

struct rig_entry { uint32_t value; leader_epoch epoch; bool known; };

struct rig {
    struct sim *sim;
    struct sim_net *wires;
    struct rig_node nodes[RIG_NODES_MAX];
    uint32_t count, voters;          /* nodes, and how many of them vote */
    bool dynamic;                    /* kraft.version 1 */
    struct quorum_options options;   /* of all nodes: bounds and times */
    struct quorum_listener up;       /* node 1's, instead of the rig's; all NULL: the rig's */
    const char *cluster_id;          /* NULL: the rig's */
    struct rig_entry *log;           /* what was committed, by offset */
    log_offset log_max, committed;
    int32_t leaders[1 << 12];        /* by epoch; 0: none yet */
    uint32_t next_value;
};

void rig_open(struct rig *rig, uint64_t seed, uint32_t nodes, uint32_t voters, bool dynamic);
void rig_close(struct rig *rig);
void rig_format(struct rig *rig, uint32_t node);          /* unless it is */
void rig_start(struct rig *rig, uint32_t node);           /* formats on the first time */
bool rig_try_start(struct rig *rig, uint32_t node, char *why, size_t why_size); /* false: the opening said no */
void rig_kill(struct rig *rig, uint32_t node);
void rig_power(struct rig *rig, uint32_t node, int policy); /* of enum sim_crash: off and on again, not started */
void rig_stop(struct rig *rig, uint32_t node);            /* in order */
/* Asserts that it happens within that time. */
void rig_until(struct rig *rig, bool (*is_so)(struct rig *rig, void *context), void *context, int64_t within_ms);
void rig_run(struct rig *rig, int64_t ms);
struct rig_node *rig_leader(struct rig *rig);             /* told of its leadership; NULL: none */
struct rig_node *rig_await_leader(struct rig *rig);
/* One batch of `count` values, or ERR_... of quorum_append. *value: the first one's number. */
enum err rig_append(struct rig_node *node, uint32_t count, uint32_t *value, log_offset *last);
void rig_await_commit(struct rig *rig, struct rig_node *node, log_offset last);
void rig_await_all(struct rig *rig, log_offset last);     /* every running node was given everything up to there */
