#include "controller/place_replicas.h"

/* Brokers that are taken in turn, from an offset that moves by one with each partition. */
struct turn {
    broker_id *ids;
    uint32_t count, offset, taken, round;
};
struct rack {
    struct span name;
    struct turn unfenced, fenced;
};
struct placer {
    struct random *random;
    struct rack *racks;
    uint32_t rack_count, total, unfenced, round, offset;
};

static void swap_ids(broker_id *a, broker_id *b) {
    broker_id moved = *a;
    *a = *b;
    *b = moved;
}

static void turn_shuffle(struct turn *turn, struct random *random) {
    for (uint32_t i = turn->count; i > 1; i--) swap_ids(&turn->ids[i - 1], &turn->ids[random_below(random, i)]);
}

/* The next broker of this round; -1: all were taken. */
static broker_id turn_next(struct turn *turn, uint32_t round) {
    if (turn->count == 0) return -1;
    if (turn->round != round) {
        turn->round = round;
        turn->taken = 0;
        turn->offset = (turn->offset + 1) % turn->count;
    }
    if (turn->taken == turn->count) return -1;
    return turn->ids[(turn->taken++ + turn->offset) % turn->count];
}

static broker_id rack_next(struct rack *rack, uint32_t round) {
    broker_id id = turn_next(&rack->unfenced, round);
    return id >= 0 ? id : turn_next(&rack->fenced, round);
}

static int compare_racks(struct span a, struct span b) {
    if (!a.data || !b.data) return (a.data != NULL) - (b.data != NULL); /* those without one first */
    return span_compare(a, b);
}

/* Sorted: by insertion, there are few. The brokers come in order of their ids. */
static struct rack *rack_of(struct placer *placer, struct span name) {
    uint32_t at = 0;
    while (at < placer->rack_count && compare_racks(placer->racks[at].name, name) < 0) at++;
    if (at < placer->rack_count && compare_racks(placer->racks[at].name, name) == 0) return &placer->racks[at];
    for (uint32_t i = placer->rack_count++; i > at; i--) placer->racks[i] = placer->racks[i - 1];
    placer->racks[at] = (struct rack){.name = name};
    return &placer->racks[at];
}

struct placer *placer_new(struct arena *arena, const struct place_broker *brokers, uint32_t count, struct random *random) {
    struct placer *placer = ARENA_NEW(arena, struct placer);
    if (!placer) return NULL;
    placer->random = random;
    placer->racks = ARENA_ARRAY(arena, count ? count : 1, struct rack);
    if (!placer->racks) return NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct rack *rack = rack_of(placer, brokers[i].rack);
        (brokers[i].fenced ? &rack->fenced : &rack->unfenced)->count++;
    }
    for (uint32_t r = 0; r < placer->rack_count; r++) {
        struct turn *turns[] = {&placer->racks[r].unfenced, &placer->racks[r].fenced};
        for (uint32_t t = 0; t < countof(turns); t++) {
            turns[t]->ids = ARENA_ARRAY(arena, turns[t]->count ? turns[t]->count : 1, broker_id);
            if (!turns[t]->ids) return NULL;
            turns[t]->offset = turns[t]->count ? (uint32_t)random_below(random, turns[t]->count) : 0;
            turns[t]->count = 0;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct rack *rack = rack_of(placer, brokers[i].rack);
        struct turn *turn = brokers[i].fenced ? &rack->fenced : &rack->unfenced;
        turn->ids[turn->count++] = brokers[i].id;
        placer->total++;
        placer->unfenced += !brokers[i].fenced;
    }
    placer->offset = placer->rack_count ? (uint32_t)random_below(random, placer->rack_count) : 0;
    return placer;
}

uint32_t placer_total(const struct placer *placer) {
    return placer->total;
}
uint32_t placer_unfenced(const struct placer *placer) {
    return placer->unfenced;
}

static void shuffle(struct placer *placer) {
    for (uint32_t i = placer->rack_count; i > 1; i--) {
        uint32_t other = (uint32_t)random_below(placer->random, i);
        struct rack moved = placer->racks[i - 1];
        placer->racks[i - 1] = placer->racks[other];
        placer->racks[other] = moved;
    }
    for (uint32_t r = 0; r < placer->rack_count; r++) {
        struct turn *turns[] = {&placer->racks[r].unfenced, &placer->racks[r].fenced};
        for (uint32_t t = 0; t < countof(turns); t++) {
            turn_shuffle(turns[t], placer->random);
            turns[t]->round = UINT32_MAX; /* of no round: all are there again */
        }
    }
}

void placer_next(struct placer *placer, uint32_t factor, broker_id *out) {
    assert(factor > 0 && factor <= placer->total && placer->unfenced > 0);
    /* Every unfenced broker was a leader once: another order, so that the same sets do not come again and again. With a
     * single one there is no other order, and its round must move on or it would be taken already. */
    if (placer->round == placer->unfenced && placer->unfenced > 1) {
        shuffle(placer);
        placer->round = 0;
    }
    if (placer->offset == placer->rack_count) placer->offset = 0;
    uint32_t first = placer->offset;
    for (;; first = (first + 1) % placer->rack_count) {
        out[0] = turn_next(&placer->racks[first].unfenced, placer->round);
        if (out[0] >= 0) break;
    }
    /* The leader's rack is passed over once: it has given one already. */
    bool skip = true;
    uint32_t at = placer->offset;
    for (uint32_t i = 1; i < factor; i++) {
        do {
            out[i] = -1;
            if (skip && at == first) skip = false;
            else out[i] = rack_next(&placer->racks[at], placer->round);
            at = (at + 1) % placer->rack_count;
        } while (out[i] < 0);
    }
    placer->round++;
    placer->offset++;
}
