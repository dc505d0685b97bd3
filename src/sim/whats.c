/* What moldau-sim can run. */
#include "sim/run.h"
#include "sim/sim_raft.h"

void sim_log_run(struct run *run);
void sim_node_run(struct run *run);
void sim_node_memory_run(struct run *run);
void sim_node_disk_run(struct run *run);
void sim_quorum_run(struct run *run, uint32_t voters);

static void run_raft3(struct run *run) { sim_raft_run(run, 3); }
static void run_raft5(struct run *run) { sim_raft_run(run, 5); }
static void run_quorum3(struct run *run) { sim_quorum_run(run, 3); }
static void run_quorum5(struct run *run) { sim_quorum_run(run, 5); }

const struct what sim_whats[] = {
    {"raft3", "the raft machine, 3 voters and up to 2 observers, on the barest host: M1 to M8", run_raft3, sim_raft_mutations, false},
    {"raft5", "the same with 5 voters", run_raft5, sim_raft_mutations, false},
    {"log", "up to 3 logs in up to 3 directories, cut at any disk operation, full and failing disks: L1 to L8", sim_log_run, NULL, false},
    {"quorum3", "3 voters and up to 2 observers with quorum/, log/ and net/ under each: M1 to M6, M8", run_quorum3, NULL, false},
    {"quorum5", "the same with 5 voters", run_quorum5, NULL, false},
#ifdef SIM_HAS_NODE
    {"node", "a whole node with up to 3 log directories under crashes and cuts, and clients that speak the wire; their history is checked", sim_node_run, NULL, false},
    {"node-memory", "a node that starts, serves and stops; seed N: its N-th allocation fails", sim_node_memory_run, NULL, true},
    {"node-disk", "the same; seed N: its N-th operation on the disk fails with EIO", sim_node_disk_run, NULL, true},
#endif
};
const uint32_t sim_whats_count = countof(sim_whats);
