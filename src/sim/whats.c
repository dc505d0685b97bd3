/* What moldau-sim can run. */
#include "sim/run.h"
#include "sim/sim_raft.h"

void sim_log_run(struct run *run);

static void run_raft3(struct run *run) { sim_raft_run(run, 3); }
static void run_raft5(struct run *run) { sim_raft_run(run, 5); }

const struct what sim_whats[] = {
    {"raft3", "the raft machine, 3 voters and up to 2 observers, on the barest host: M1 to M8", run_raft3, sim_raft_mutations},
    {"raft5", "the same with 5 voters", run_raft5, sim_raft_mutations},
    {"log", "up to 3 logs on one host, cut at any disk operation, full and failing disks: L1 to L8", sim_log_run, NULL},
};
const uint32_t sim_whats_count = countof(sim_whats);
