/* sim/cluster.h - hosts with processes on them that the faults of a run are carried out on: killed, cut from power, cut
 * off, stopped, filled up, started again.
 *
 * What runs on a host is the owner's: `start` makes it inside of a process that was just begun, from the process' pools;
 * nothing is told to it when it dies. Whoever watches must keep what he knows outside of the process.
 */
#pragma once
#include "sim/run.h"
#include "sim/sim_io.h"

enum { CLUSTER_NODES_MAX = 16 };

struct cluster;
struct cluster_node {
    struct cluster *cluster;
    uint32_t number;
    struct sim_host *host;
    struct sim_process *process;  /* NULL: not running */
    uint32_t life;                /* how often it was started */
    void *program;                /* the owner's: inside of the process, so gone with it */
    bool immune;                  /* faults pass it by (clients' hosts)                    */
    bool kill_at_cut;             /* at the planned n-th disk operation: a kill, not a power cut */
    struct sim_event restart;
};

struct cluster {
    struct run *run;
    struct sim *sim;
    struct sim_net *net;
    uint32_t count;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    /* The owner's. */
    void *owner;
    uint32_t shards;
    void (*start)(struct cluster_node *node);       /* the process is there */
    void (*died)(struct cluster_node *node);        /* killed, or the power was cut (also where nothing ran); may be NULL */
    void (*own_fault)(struct cluster_node *node, const struct fault *fault); /* FAULT_OWN_*, FAULT_ROT; may be NULL */
    void (*after_event)(struct cluster *cluster);   /* NULL: nobody looks */
    struct list heals;
    uint64_t disk_bytes;
    time_ms clock_step_max_ms;    /* 0: a year */
};

void cluster_init(struct cluster *cluster, struct run *run, uint32_t count, uint32_t shards, uint64_t disk_bytes);
void cluster_destroy(struct cluster *cluster);
void cluster_start(struct cluster_node *node);
void cluster_kill(struct cluster_node *node);
void cluster_power_cut(struct cluster_node *node, enum sim_crash policy);
void cluster_restart_after(struct cluster_node *node, time_ns after);
/* Syncs take up to `sync_max` for a while. */
void cluster_slow_syncs(struct cluster_node *node, time_ns sync_max, time_ns lasts);
/* For run_faults_begin. */
void cluster_fault(void *context, const struct fault *fault);
/* Phase 2 begins: no faults any more, all wires whole, all nodes started. */
void cluster_heal(struct cluster *cluster);
