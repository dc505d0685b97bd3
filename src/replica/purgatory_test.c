#include "base/random.h"
#include "replica/replica.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

static struct replica_offset at(log_offset offset, log_offset segment) {
    return (struct replica_offset){.offset = offset, .segment_base = segment, .position = (uint32_t)(offset - segment) * 10};
}

struct ground { struct pool pool; struct purgatory purgatory; struct purgatory_place places[4]; };

static void begin(struct ground *ground, uint32_t waiting_max) {
    pool_init(&ground->pool, 0, 4);
    purgatory_init(&ground->purgatory, &ground->pool, waiting_max);
    for (int i = 0; i < 4; i++) purgatory_place_init(&ground->places[i], &ground->purgatory);
}
static void end(struct ground *ground) {
    purgatory_destroy(&ground->purgatory);
    pool_destroy(&ground->pool);
}
static void assert_taken(struct ground *ground, struct purgatory_waiter *waiter, enum purgatory_outcome outcome) {
    assert_ptr_equal(purgatory_take(&ground->purgatory), waiter);
    if (waiter) assert_int_equal(waiter->outcome, outcome);
}

/* Produces are woken in the order of their offsets, each when its own is reached, however they came in. */
TEST(purgatory_wakes_produces_in_order) {
    struct ground ground;
    struct offset_wait waits[3] = {{.required = 20}, {.required = 10}, {.required = 30}};
    begin(&ground, 10);
    for (int i = 0; i < 3; i++) assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &waits[i], 100));
    purgatory_offset_moved(&ground.places[0], LINE_DURABLE, 50);
    purgatory_offset_moved(&ground.places[1], LINE_HIGH_WATERMARK, 50);
    purgatory_offset_moved(&ground.places[0], LINE_HIGH_WATERMARK, 9);
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_offset_moved(&ground.places[0], LINE_HIGH_WATERMARK, 20);
    assert_taken(&ground, &waits[1].waiter, PURGATORY_REACHED);
    assert_taken(&ground, &waits[0].waiter, PURGATORY_REACHED);
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    struct offset_wait late = {.required = 20};
    assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &late, 100)); /* reached before: at once */
    assert_taken(&ground, &late.waiter, PURGATORY_REACHED);
    purgatory_offset_moved(&ground.places[0], LINE_HIGH_WATERMARK, 30);
    assert_taken(&ground, &waits[2].waiter, PURGATORY_REACHED);
    end(&ground);
}

/* Deadlines are met in their order, and not when the offset came first. */
TEST(purgatory_keeps_deadlines) {
    struct ground ground;
    struct offset_wait a = {.required = 10}, b = {.required = 20}, c = {.required = 30};
    begin(&ground, 10);
    assert_true(purgatory_deadline(&ground.purgatory) == INT64_MAX);
    assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &a, 300));
    assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &b, 100));
    assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &c, 200));
    assert_int_equal(purgatory_deadline(&ground.purgatory), 100);
    purgatory_offset_moved(&ground.places[0], LINE_HIGH_WATERMARK, 10);
    purgatory_time(&ground.purgatory, 99);
    assert_taken(&ground, &a.waiter, PURGATORY_REACHED);
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_time(&ground.purgatory, 400);
    assert_taken(&ground, &b.waiter, PURGATORY_TIMEOUT);
    assert_taken(&ground, &c.waiter, PURGATORY_TIMEOUT);
    end(&ground);
}

/* A full purgatory refuses, and takes again when one has been taken out. A cancelled waiter is never woken. */
TEST(purgatory_is_bounded_and_forgets_who_cancels) {
    struct ground ground;
    struct offset_wait a = {.required = 10}, b = {.required = 20}, c = {.required = 30};
    begin(&ground, 2);
    assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &a, 100));
    assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &b, 100));
    assert_false(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &c, 100));
    purgatory_cancel_offset(&ground.purgatory, &a);
    purgatory_cancel_offset(&ground.purgatory, &a);
    assert_true(purgatory_wait_offset(&ground.places[0], LINE_HIGH_WATERMARK, &c, 100));
    purgatory_offset_moved(&ground.places[0], LINE_HIGH_WATERMARK, 20);
    purgatory_cancel_offset(&ground.purgatory, &b); /* woken already, not taken yet */
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_place_changed(&ground.places[0]);
    assert_taken(&ground, &c.waiter, PURGATORY_CHANGED);
    assert_true(purgatory_deadline(&ground.purgatory) == INT64_MAX);
    end(&ground);
}

static struct fetch_watch watch(struct purgatory_place *place, log_offset from, log_offset segment, uint32_t bytes_max) {
    return (struct fetch_watch){.place = place, .bound = BOUND_HIGH_WATERMARK, .from = at(from, segment), .bytes_max = bytes_max};
}

/* A Fetch of one partition is woken by the byte that makes its minimum whole. */
TEST(purgatory_wakes_a_fetch_at_its_minimum) {
    struct ground ground;
    begin(&ground, 10);
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(5, 0));
    struct fetch_watch one = watch(&ground.places[0], 5, 0, 1000);
    struct fetch_wait wait = {.watches = &one, .count = 1, .bytes_min = 30};
    assert_true(purgatory_wait_fetch(&ground.purgatory, &wait, 100));
    purgatory_bound_moved(&ground.places[0], BOUND_END, at(50, 0)); /* another bound */
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(7, 0));
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(8, 0));
    assert_taken(&ground, &wait.waiter, PURGATORY_REACHED);
    struct fetch_watch two = watch(&ground.places[0], 2, 0, 1000);
    struct fetch_wait already = {.watches = &two, .count = 1, .bytes_min = 30};
    assert_true(purgatory_wait_fetch(&ground.purgatory, &already, 100));
    assert_taken(&ground, &already.waiter, PURGATORY_REACHED);
    end(&ground);
}

/* A Fetch of several counts all of them together, each up to its own maximum. */
TEST(purgatory_sums_a_fetch_of_several) {
    struct ground ground;
    begin(&ground, 10);
    struct fetch_watch watches[3];
    for (int i = 0; i < 3; i++) {
        purgatory_bound_moved(&ground.places[i], BOUND_HIGH_WATERMARK, at(0, 0));
        watches[i] = watch(&ground.places[i], 0, 0, i == 0 ? 50 : 1000);
    }
    struct fetch_wait wait = {.watches = watches, .count = 3, .bytes_min = 100};
    assert_true(purgatory_wait_fetch(&ground.purgatory, &wait, 100));
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(500, 0)); /* counts 50 */
    purgatory_bound_moved(&ground.places[1], BOUND_HIGH_WATERMARK, at(2, 0));
    purgatory_bound_moved(&ground.places[2], BOUND_HIGH_WATERMARK, at(2, 0));
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_bound_moved(&ground.places[1], BOUND_HIGH_WATERMARK, at(3, 0));
    assert_taken(&ground, &wait.waiter, PURGATORY_REACHED);
    end(&ground);
}

/* When the log has rolled, positions cannot be compared: whoever reads in the older segment looks again. Whoever reads at
 * the end, past the bound, has nothing to look at. */
TEST(purgatory_wakes_when_the_log_rolls) {
    struct ground ground;
    begin(&ground, 10);
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(5, 0));
    struct fetch_watch old = watch(&ground.places[0], 5, 0, 1000), new = watch(&ground.places[0], 12, 10, 1000);
    struct fetch_wait reads_old = {.watches = &old, .count = 1, .bytes_min = 1000000}, reads_new = {.watches = &new, .count = 1, .bytes_min = 10};
    assert_true(purgatory_wait_fetch(&ground.purgatory, &reads_old, 100));
    assert_true(purgatory_wait_fetch(&ground.purgatory, &reads_new, 100));
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(9, 0));
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(11, 10));
    assert_taken(&ground, &reads_old.waiter, PURGATORY_REACHED);
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(13, 10));
    assert_taken(&ground, &reads_new.waiter, PURGATORY_REACHED);
    end(&ground);
}

/* After a start only offsets are known: whoever has something to read is woken, the others wait on. */
TEST(purgatory_copes_with_unplaced_bounds) {
    struct ground ground;
    begin(&ground, 10);
    struct fetch_watch a = watch(&ground.places[0], 5, 0, 1000), b = watch(&ground.places[0], 9, 0, 1000);
    struct fetch_wait wait_a = {.watches = &a, .count = 1, .bytes_min = 1000}, wait_b = {.watches = &b, .count = 1, .bytes_min = 10};
    assert_true(purgatory_wait_fetch(&ground.purgatory, &wait_a, 100));
    assert_true(purgatory_wait_fetch(&ground.purgatory, &wait_b, 100));
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, replica_offset_only(8));
    assert_taken(&ground, &wait_a.waiter, PURGATORY_REACHED);
    assert_taken(&ground, NULL, PURGATORY_REACHED);
    purgatory_bound_moved(&ground.places[0], BOUND_HIGH_WATERMARK, at(10, 0));
    assert_taken(&ground, &wait_b.waiter, PURGATORY_REACHED);
    end(&ground);
}

/* Against the rule itself, computed anew after every event: a Fetch is woken exactly when it has its minimum, has something
 * in an older segment, or is past its deadline. Random partitions, rolls, minimums; and not looked at too often. */
TEST(purgatory_is_as_good_as_polling) {
    enum { WAITS = 40 };
    struct one { struct fetch_wait wait; struct fetch_watch watches[4]; time_ms deadline; bool waits; } *waits = calloc(WAITS, sizeof *waits);
    int woken = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct ground ground;
        struct random random;
        log_offset ends[4] = {0}, segments[4] = {0};
        time_ms now = 0;
        begin(&ground, WAITS);
        random_seed(&random, seed);
        memset(waits, 0, WAITS * sizeof *waits);
        for (int i = 0; i < 4; i++) purgatory_bound_moved(&ground.places[i], BOUND_HIGH_WATERMARK, at(0, 0));
        for (int event = 0; event < 1500; event++) {
            struct one *one = &waits[random_below(&random, WAITS)];
            uint32_t place = (uint32_t)random_below(&random, 4);
            switch (random_below(&random, 6)) {
            case 0: case 1:
                if (one->waits) break;
                one->wait = (struct fetch_wait){.watches = one->watches, .count = 1 + (uint32_t)random_below(&random, 4), .bytes_min = 1 + random_below(&random, 400)};
                for (uint32_t i = 0; i < one->wait.count; i++) {
                    uint32_t p = (place + i) % 4;
                    one->watches[i] = watch(&ground.places[p], ends[p] + (log_offset)random_below(&random, 3), segments[p], 1 + (uint32_t)random_below(&random, 500));
                }
                one->deadline = now + 1 + (time_ms)random_below(&random, 50);
                assert_true(purgatory_wait_fetch(&ground.purgatory, &one->wait, one->deadline));
                one->waits = true;
                break;
            case 2: case 3: case 4:
                /* Nobody reads more than two past the high watermark: there is the log's end, and there it rolls. */
                if (random_chance(&random, 1, 20)) segments[place] = ends[place] += 2;
                ends[place] += (log_offset)random_below(&random, 6);
                purgatory_bound_moved(&ground.places[place], BOUND_HIGH_WATERMARK, at(ends[place], segments[place]));
                break;
            case 5:
                now += (time_ms)random_below(&random, 3);
                purgatory_time(&ground.purgatory, now);
                break;
            }
            for (struct purgatory_waiter *waiter; (waiter = purgatory_take(&ground.purgatory));) {
                struct one *taken = container_of(waiter, struct one, wait.waiter);
                assert_true(taken->waits);
                uint64_t sum = 0;
                bool rolled = false;
                for (uint32_t i = 0; i < taken->wait.count; i++) {
                    const struct fetch_watch *w = &taken->watches[i];
                    struct replica_offset bound = w->place->bounds[BOUND_HIGH_WATERMARK];
                    if (bound.offset <= w->from.offset) continue;
                    rolled |= bound.segment_base != w->from.segment_base;
                    uint64_t bytes = (uint64_t)(bound.offset - w->from.offset) * 10;
                    sum += bytes < w->bytes_max ? bytes : w->bytes_max;
                }
                if (waiter->outcome == PURGATORY_TIMEOUT) assert_true(taken->deadline <= now);
                else assert_true(rolled || sum >= taken->wait.bytes_min);
                taken->waits = false;
                woken++;
            }
            for (int k = 0; k < WAITS; k++) {
                if (!waits[k].waits) continue;
                uint64_t sum = 0;
                for (uint32_t i = 0; i < waits[k].wait.count; i++) {
                    const struct fetch_watch *w = &waits[k].watches[i];
                    struct replica_offset bound = w->place->bounds[BOUND_HIGH_WATERMARK];
                    if (bound.offset <= w->from.offset) continue;
                    assert_true(bound.segment_base == w->from.segment_base);
                    uint64_t bytes = bound.position - w->from.position;
                    sum += bytes < w->bytes_max ? bytes : w->bytes_max;
                }
                assert_true(sum < waits[k].wait.bytes_min);
                assert_true(waits[k].deadline > now);
            }
        }
        for (int i = 0; i < 4; i++) purgatory_place_changed(&ground.places[i]);
        while (purgatory_take(&ground.purgatory)) {}
        end(&ground);
    }
    assert_true(woken > 5000);
    free(waits);
}
