/* sim/sim_raft.h - raft machines on hosts that are nothing but an array of entries, a quorum-state and messages: the
 * protocol alone, fast. And those who look at it from outside (sim_raft_check.c), who know every node's log at once.
 */
#pragma once
#include "raft/raft.h"
#include "sim/run.h"

enum { RAFT_NODES_MAX = 8, RAFT_SETS_MAX = 512, SNAPSHOTS_MAX = 8, EPOCHS_MAX = 1 << 16 };

enum entry_kind { ENTRY_DATA, ENTRY_LEADER_CHANGE, ENTRY_VERSION, ENTRY_VOTERS };
struct entry {
    leader_epoch epoch;
    uint16_t kind;
    int16_t version;  /* VERSION */
    uint16_t set;     /* VOTERS: which of the sets that ever were */
    uint64_t value;   /* never the same twice */
};

/* What all entries before `id.offset` come to. */
struct snapshot {
    struct raft_snapshot_id id;
    uint64_t content;
    int32_t set;      /* -1: no voters in it */
    int16_t version;
};

struct entries { struct entry *items; uint32_t count, capacity; };

struct raft_node {
    struct sim_raft *world;
    uint32_t number;
    struct raft_key key;
    struct raft *raft;            /* NULL: not running */
    uint32_t life;                /* how often it has been started */
    bool initial_voter;
    /* On disk. */
    bool has_state;
    struct raft_quorum_state state, state_before;
    log_offset start, durable;    /* entries[0] is at start */
    struct entries log;
    struct snapshot snapshots[SNAPSHOTS_MAX];
    uint32_t snapshots_count;
    /* In memory. */
    log_offset high_watermark;
    struct raft_snapshot_id downloading;
    struct entries fetched;       /* of the response being stepped */
    log_offset fetched_at;
    bool flushing, shutting_down;
    log_offset flush_end;
    uint32_t crash_after;         /* effects from now; 0: not planned */
    leader_epoch epoch_seen;
    time_ns paused_until;
    int32_t rate_ppm;
    struct sim_event tick, flush, restart;
};

struct sim_raft {
    struct run *run;
    struct sim *sim;
    struct pool *pool;
    uint32_t voters, nodes_count;
    bool dynamic;
    struct raft_node nodes[RAFT_NODES_MAX];
    struct raft_voters sets[RAFT_SETS_MAX];
    uint32_t sets_count;
    struct raft_effects *effects;
    struct random random;
    bool cut[RAFT_NODES_MAX][RAFT_NODES_MAX];
    time_ns slow[RAFT_NODES_MAX][RAFT_NODES_MAX];
    struct list messages;
    struct sim_event heal_events[64];
    struct sim_event client, snapshotter;
    uint64_t value_next, token_next;
    int64_t snapshot_every, fetch_entries, delay_max_us, loss_percent, flush_max_us;
    struct list waiting;          /* appended by clients, not yet known to be committed */
    struct raft_check_state *check;
    log_offset marker;            /* phase 2: everybody shall commit this far */
};

log_offset node_end(const struct raft_node *node);
const struct entry *node_entry(const struct raft_node *node, log_offset offset); /* NULL: not in the log */
leader_epoch node_last_epoch(const struct raft_node *node);

/* ---- The hosts (sim_raft_node.c) */
void raft_nodes_open(struct sim_raft *world);   /* nodes_count and voters are set */
void raft_nodes_close(struct sim_raft *world);
struct raft_listener node_listener(const struct raft_node *node);
void node_start(struct raft_node *node);
/* Power: the tail that was not flushed is gone, or a part of it. kill -9: the kernel has it all. */
void node_crash(struct raft_node *node, bool power);
void node_restart_after(struct raft_node *node, time_ns after); /* unless it will be anyway */
void node_crash_and_restart(struct raft_node *node, bool power, time_ns after);
void node_step(struct raft_node *node, struct raft_event event);
void node_append(struct raft_node *leader, uint32_t count); /* a client's: acknowledged when it is committed */
void node_snapshot(struct raft_node *node);                 /* when there is enough for one; old ones go now and then */

/* ---- From outside. Called by the host at the moments that they are about. */
struct raft_check_state *raft_check_new(struct sim_raft *world);
void raft_check_free(struct sim_raft *world);
void raft_check_became_leader(struct raft_node *node);                                    /* M1 */
void raft_check_send(struct raft_node *node, const struct raft_request *request);         /* M2 */
void raft_check_granted(struct raft_node *node, const struct raft_request *request);      /* M2 */
void raft_check_answered(struct raft_node *node, const struct raft_request *request, const struct raft_answer *answer); /* epochs */
void raft_check_commit(struct raft_node *node, log_offset to);                            /* M3 M4 M5 M7 M8 */
void raft_check_truncate(struct raft_node *node, log_offset to);                          /* M4 */
void raft_check_snapshot(struct raft_node *node, const struct snapshot *snapshot, bool loaded); /* M6 */
void raft_check_append(struct raft_node *node, const struct entry *entry, log_offset at); /* M7 */
void raft_check_stepped(struct raft_node *node);                                          /* M5 M6 */
/* An acknowledged entry is where it was acknowledged. */
void raft_check_acknowledged(struct sim_raft *world, log_offset offset, uint64_t value);
log_offset raft_check_committed(const struct sim_raft *world);
uint64_t raft_check_content(const struct sim_raft *world, log_offset end); /* of the committed entries before end */

void sim_raft_run(struct run *run, uint32_t voters);
extern const char *const sim_raft_mutations[];
