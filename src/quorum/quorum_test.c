/* The host of raft over real logs on simulated disks: one node through every kind of end, several among each other. */
#include "quorum/quorum_rig.h"
#include "quorum/host.h"
#include "sim/sim_io.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

static struct rig rig;

/* A formatted directory, nobody else: the node leads within milliseconds and a handful of flushes, hears of what format
 * left, appends, is given what it appended, stops in order, and finds all of it again. */
TEST(lone_node_leads_appends_and_comes_back) {
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        uint32_t value;
        log_offset last;
        rig_open(&rig, 1, 1, 1, dynamic);
        rig_start(&rig, 0);
        time_ns began = sim_now(rig.sim);
        struct rig_node *node = rig_await_leader(&rig);
        assert_true(sim_now(rig.sim) - began < 200 * NS_PER_MS);
        assert_int_equal(node->bootstrap_records, 2);
        assert_int_equal(quorum_syncs(node->quorum), 3); /* quorum-state, its copy, the directory */
        assert_int_equal(log_store_metrics(node->store)->syncs, 1);
        assert_int_equal(quorum_high_watermark(node->quorum), dynamic ? 3 : 1); /* LeaderChange, and version and voters */
        for (uint32_t i = 0; i < 50; i++) {
            assert_int_equal(rig_append(node, 1 + i % 5, &value, &last), ERR_NONE);
            rig_await_commit(&rig, node, last);
        }
        uint32_t count = node->state.count;
        assert_int_equal(count, 150);
        rig_stop(&rig, 0);

        rig_start(&rig, 0);
        node = rig_await_leader(&rig);
        assert_int_equal(quorum_epoch(node->quorum), 2);
        assert_int_equal(node->state.count, count);
        for (uint32_t i = 0; i < count; i++) assert_int_equal(node->state.values[i], i + 1);
        rig_stop(&rig, 0);
        rig_close(&rig);
    }
}
