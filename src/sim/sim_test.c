#include "sim/sim.h"
#include "test.h"
#include <string.h>

struct beat { struct sim_event event; int number; char *order; };

static void beat(struct sim *sim, struct sim_event *event) {
    struct beat *b = container_of(event, struct beat, event);
    size_t size = strlen(b->order);
    b->order[size] = (char)('a' + b->number);
    sim_note(sim, "beat", SIM_NOWHERE, (uint64_t)b->number, 0);
}

static uint64_t run_beats(uint64_t seed, char order[16]) {
    struct sim *sim = sim_new(seed);
    struct beat beats[8];
    memset(beats, 0, sizeof beats);
    memset(order, 0, 16);
    for (int i = 0; i < 8; i++) {
        beats[i] = (struct beat){.number = i, .order = order};
        sim_at(sim, &beats[i].event, i < 6 ? 100 : 50 + i, beat);
    }
    sim_cancel(sim, &beats[3].event);
    assert_int_equal(sim_next(sim), 56);
    assert_true(sim_run_until(sim, 99));
    assert_int_equal(sim_now(sim), 99);
    assert_true(sim_run_until(sim, 1000));
    assert_int_equal(sim_count(sim)->events, 7);
    assert_false(sim_step(sim));
    uint64_t hash = sim_hash(sim);
    sim_free(sim);
    return hash;
}

/* Events run by their time, ties in an order that the seed decides; the same seed gives the same order and hash, and
 * over seeds every one of the tied events comes first at some time. */
TEST(world_runs_by_time_and_breaks_ties_by_seed) {
    char order[16], again[16];
    int first[8] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t hash = run_beats(seed, order);
        assert_true(hash == run_beats(seed, again));
        assert_string_equal(order, again);
        assert_memory_equal(order, "gh", 2);
        assert_null(strchr(order, 'd'));
        first[order[2] - 'a']++;
    }
    for (int i = 0; i < 6; i++) assert_true(i == 3 ? first[i] == 0 : first[i] > 10);
}

/* The first broken invariant ends the run and is told with what led to it. */
static void count_lines(void *context, const char *text) { (*(int *)context)++; }
TEST(world_stops_at_the_first_failure) {
    struct sim *sim = sim_new(7);
    int lines = 0;
    for (int i = 0; i < 1000; i++) sim_note(sim, "something", 1, (uint64_t)i, 0);
    SIM_CHECK(sim, 1 + 1 == 2, "X0", "never");
    assert_false(sim_has_failed(sim));
    SIM_CHECK(sim, 1 + 1 == 3, "X1", "two is not %d", 3);
    SIM_CHECK(sim, false, "X2", "later");
    assert_string_equal(sim_failure(sim), "X1: two is not 3");
    assert_false(sim_step(sim));
    sim_notes_print(sim, count_lines, &lines);
    assert_int_equal(lines, SIM_NOTES_KEPT);
    sim_free(sim);
}
