#include "controller/place_replicas.h"
#include "test.h"
#include <string.h>

static uint32_t rack_of(const struct place_broker *brokers, uint32_t count, broker_id id) {
    for (uint32_t i = 0; i < count; i++)
        if (brokers[i].id == id) return brokers[i].rack.data ? brokers[i].rack.data[0] : 0;
    return UINT32_MAX;
}

/* Random clusters of racks, fenced and unfenced brokers: replicas are different brokers, the leader is never fenced, racks
 * are spread (as many as there are, up to the factor); of single replicas in even racks everyone gets one before anyone
 * gets two. */
TEST(placement_spreads) {
    struct pool pool;
    pool_init(&pool, 0, 0);
    struct random random;
    random_seed(&random, 5);
    for (int round = 0; round < 3000; round++) {
        struct arena arena;
        arena_init(&arena, &pool, 0);
        static const char *const names[] = {"a", "b", "c", "d"};
        struct place_broker brokers[12];
        uint32_t count = 1 + (uint32_t)random_below(&random, 12), racks = 1 + (uint32_t)random_below(&random, 4), unfenced = 0;
        bool seen[256] = {false}, even = round % 2 == 0;
        uint32_t racks_used = 0;
        for (uint32_t i = 0; i < count; i++) {
            const char *rack = names[even ? i % racks : random_below(&random, racks)];
            brokers[i] = (struct place_broker){(broker_id)(i * 3), racks > 1 ? span_text(rack) : (struct span){0}, !even && i > 0 && random_below(&random, 4) == 0};
            unfenced += !brokers[i].fenced;
            uint32_t key = racks > 1 ? (uint8_t)rack[0] : 0;
            racks_used += !seen[key];
            seen[key] = true;
        }
        struct placer *placer = placer_new(&arena, brokers, count, &random);
        assert_non_null(placer);
        assert_int_equal(placer_total(placer), count);
        assert_int_equal(placer_unfenced(placer), unfenced);
        uint32_t factor = 1 + (uint32_t)random_below(&random, count), leads[40] = {0}, partitions = unfenced * 4;
        for (uint32_t p = 0; p < partitions; p++) {
            broker_id out[12];
            placer_next(placer, factor, out);
            bool rack_taken[256] = {false};
            uint32_t different = 0;
            for (uint32_t i = 0; i < factor; i++) {
                uint32_t rack = rack_of(brokers, count, out[i]);
                assert_true(rack != UINT32_MAX);
                for (uint32_t k = 0; k < i; k++) assert_true(out[k] != out[i]);
                different += !rack_taken[rack];
                rack_taken[rack] = true;
            }
            assert_int_equal(different, racks_used < factor ? racks_used : factor);
            if (p < unfenced) leads[out[0]]++;
            for (uint32_t i = 0; i < count; i++)
                if (brokers[i].id == out[0]) assert_false(brokers[i].fenced);
        }
        if (even && factor == 1 && count % racks == 0)
            for (uint32_t i = 0; i < count; i++) assert_int_equal(leads[brokers[i].id], 1);
        arena_destroy(&arena);
    }
    pool_destroy(&pool);
}
