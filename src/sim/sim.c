#include "sim/sim.h"
#include "base/bytes.h"
#include "base/hash.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct note {
    time_ns at;
    const char *what;
    uint32_t where;
    uint64_t a, b;
};

struct sim {
    uint64_t seed;
    struct pool pool;
    struct random random;
    struct random ties; /* apart from `random`: a decision more does not reorder everything else */
    time_ns now;
    struct sim_event **queue; /* a binary heap from 1 */
    uint32_t queue_count, queue_capacity;
    uint64_t hash;
    struct sim_counters count;
    struct note notes[SIM_NOTES_KEPT];
    void (*after_event)(struct sim *, void *);
    void *after_event_context;
    bool verbose, failed;
    char failure[512];
};

struct sim *sim_new(uint64_t seed) {
    struct sim *sim = calloc(1, sizeof *sim); /* The world itself: everything else comes from its pool. */
    if (!sim) return NULL;
    sim->seed = seed;
    sim->hash = hash_u64(seed ^ UINT64_C(0x6d6f6c646175));
    pool_init(&sim->pool, 0, 1024);
    random_seed(&sim->random, seed);
    random_seed(&sim->ties, hash_u64(seed + 1));
    return sim;
}

void sim_free(struct sim *sim) {
    if (!sim) return;
    pool_free(&sim->pool, sim->queue, sim->queue_capacity * sizeof *sim->queue);
    pool_destroy(&sim->pool);
    free(sim);
}

uint64_t sim_seed(const struct sim *sim) { return sim->seed; }
struct pool *sim_pool(struct sim *sim) { return &sim->pool; }
struct random *sim_random(struct sim *sim) { return &sim->random; }
uint64_t sim_fork_seed(struct sim *sim) { return random_u64(&sim->random); }
time_ns sim_now(const struct sim *sim) { return sim->now; }
struct sim_counters *sim_count(struct sim *sim) { return &sim->count; }

/* ---- The queue */
static bool earlier(const struct sim_event *a, const struct sim_event *b) {
    return a->at != b->at ? a->at < b->at : a->tie < b->tie;
}

static void put(struct sim *sim, uint32_t at, struct sim_event *event) {
    sim->queue[at] = event;
    event->index = at;
}

static void sift_up(struct sim *sim, uint32_t at, struct sim_event *event) {
    for (; at > 1 && earlier(event, sim->queue[at / 2]); at /= 2) put(sim, at, sim->queue[at / 2]);
    put(sim, at, event);
}

static void sift_down(struct sim *sim, uint32_t at, struct sim_event *event) {
    for (;;) {
        uint32_t child = at * 2;
        if (child > sim->queue_count) break;
        if (child < sim->queue_count && earlier(sim->queue[child + 1], sim->queue[child])) child++;
        if (!earlier(sim->queue[child], event)) break;
        put(sim, at, sim->queue[child]);
        at = child;
    }
    put(sim, at, event);
}

void sim_at(struct sim *sim, struct sim_event *event, time_ns at, void (*run)(struct sim *, struct sim_event *)) {
    assert(event->index == 0);
    if (sim->queue_count + 2 > sim->queue_capacity) {
        uint32_t capacity = sim->queue_capacity ? sim->queue_capacity * 2 : 256;
        sim->queue = pool_realloc(&sim->pool, sim->queue, sim->queue_capacity * sizeof *sim->queue, capacity * sizeof *sim->queue);
        assert(sim->queue);
        sim->queue_capacity = capacity;
    }
    event->at = at < sim->now ? sim->now : at;
    event->tie = random_u64(&sim->ties);
    event->run = run;
    sift_up(sim, ++sim->queue_count, event);
}

void sim_cancel(struct sim *sim, struct sim_event *event) {
    uint32_t at = event->index;
    if (at == 0) return;
    assert(at <= sim->queue_count && sim->queue[at] == event);
    struct sim_event *last = sim->queue[sim->queue_count--];
    event->index = 0;
    if (last == event) return;
    if (at > 1 && earlier(last, sim->queue[at / 2])) sift_up(sim, at, last);
    else sift_down(sim, at, last);
}

bool sim_step(struct sim *sim) {
    if (sim->failed || sim->queue_count == 0) return false;
    struct sim_event *event = sim->queue[1];
    assert(event->at >= sim->now);
    sim->now = event->at;
    sim_cancel(sim, event);
    sim->count.events++;
    event->run(sim, event);
    if (sim->after_event) sim->after_event(sim, sim->after_event_context);
    return !sim->failed;
}

time_ns sim_next(const struct sim *sim) {
    return sim->queue_count > 0 && !sim->failed ? sim->queue[1]->at : INT64_MAX;
}

bool sim_run_until(struct sim *sim, time_ns until) {
    while (sim->queue_count > 0 && sim->queue[1]->at <= until)
        if (!sim_step(sim)) return false;
    if (!sim->failed && sim->now < until) sim->now = until;
    return !sim->failed;
}

bool sim_run_while_not(struct sim *sim, bool (*is_done)(void *context), void *context, time_ns within) {
    time_ns until = within > INT64_MAX - sim->now ? INT64_MAX : sim->now + within;
    while (!is_done(context)) {
        if (sim->queue_count == 0 || sim->queue[1]->at > until) return false;
        if (!sim_step(sim)) return false;
    }
    return true;
}

void sim_watch(struct sim *sim, void (*after_event)(struct sim *sim, void *context), void *context) {
    sim->after_event = after_event;
    sim->after_event_context = context;
}

/* ---- Notes */
static void fold(struct sim *sim, uint64_t v) {
    sim->hash = hash_u64(sim->hash ^ v) + UINT64_C(0x9e3779b97f4a7c15);
}

static void note_text(const struct note *note, char *bytes, size_t size) {
    char where[16] = "-";
    struct text text;
    text_init(&text, bytes, size);
    if (note->where != SIM_NOWHERE) snprintf(where, sizeof where, "%u", note->where);
    text_add(&text, "%14.6f s  %3s  %-28s %20lld %20lld", (double)note->at / 1e9, where, note->what, (long long)note->a, (long long)note->b);
}

void sim_set_verbose(struct sim *sim) { sim->verbose = true; }

void sim_say(struct sim *sim, uint32_t where, const char *format, ...) {
    char line[512];
    va_list args;
    if (!sim->verbose) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    printf("%14.6f s  %3u  %s\n", (double)sim->now / 1e9, where, line);
}

void sim_note(struct sim *sim, const char *what, uint32_t where, uint64_t a, uint64_t b) {
    struct note *note = &sim->notes[sim->count.notes++ % SIM_NOTES_KEPT];
    *note = (struct note){sim->now, what, where, a, b};
    if (sim->verbose) {
        char line[256];
        note_text(note, line, sizeof line);
        puts(line);
    }
    fold(sim, (uint64_t)sim->now);
    fold(sim, hash_bytes(what, strlen(what)) ^ where);
    fold(sim, a);
    fold(sim, b);
}

uint64_t sim_hash(const struct sim *sim) { return sim->hash; }

void sim_hash_bytes(struct sim *sim, const void *data, size_t size) {
    fold(sim, hash_bytes(data, size));
}

void sim_notes_print(const struct sim *sim, void (*line)(void *context, const char *text), void *context) {
    uint64_t first = sim->count.notes > SIM_NOTES_KEPT ? sim->count.notes - SIM_NOTES_KEPT : 0;
    for (uint64_t n = first; n < sim->count.notes; n++) {
        char bytes[256];
        note_text(&sim->notes[n % SIM_NOTES_KEPT], bytes, sizeof bytes);
        line(context, bytes);
    }
}

/* ---- The verdict */
void sim_fail(struct sim *sim, const char *invariant, const char *format, ...) {
    if (sim->failed) return;
    sim->failed = true;
    struct text text;
    char detail[400];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    text_init(&text, sim->failure, sizeof sim->failure);
    text_add(&text, "%s: %s", invariant, detail);
    sim_note(sim, "FAILED", SIM_NOWHERE, 0, 0);
}

bool sim_has_failed(const struct sim *sim) { return sim->failed; }
const char *sim_failure(const struct sim *sim) { return sim->failed ? sim->failure : ""; }
