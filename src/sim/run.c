#include "sim/run.h"
#include <string.h>

static const char *const names[FAULT_KINDS] = {
    "kill", "power cut", "power cut of all", "cut at the n-th disk operation", "cut one way", "cut off", "split", "reset",
    "pause", "slow wire", "clock step", "clock rate", "disk full", "sync fails", "write fails", "read fails", "slow disk",
    "rot", "own 1", "own 2", "own 3"};

const char *fault_name(enum fault_kind kind) { return names[kind]; }

int64_t run_setting(struct run *run, const char *name, int64_t min, int64_t max) {
    assert(run->set_count < RUN_SETTINGS_MAX && min <= max);
    int64_t value = min + (int64_t)random_below(&run->settings, (uint64_t)(max - min) + 1);
    run->set[run->set_count].name = name;
    run->set[run->set_count++].value = value;
    return value;
}

bool run_chance(struct run *run, const char *name, uint32_t in_percent) {
    int64_t drawn = run_setting(run, name, 1, 100);
    bool yes = drawn <= in_percent;
    run->set[run->set_count - 1].value = yes;
    return yes;
}

bool run_is_mutated(const struct run *run, const char *mutation) {
    return run->options->mutation && strcmp(run->options->mutation, mutation) == 0;
}

static bool counts_as_crash(enum fault_kind kind) { return kind <= FAULT_RESET; }

static struct fault draw(struct run *run) {
    struct fault fault = {.index = run->faults_drawn};
    uint64_t sum = 0;
    for (int i = 0; i < FAULT_KINDS; i++) sum += run->weights[i];
    assert(sum > 0);
    uint64_t at = random_below(&run->faults, sum);
    while (at >= run->weights[fault.kind]) at -= run->weights[fault.kind++];
    fault.a = random_u64(&run->faults) >> 8;
    fault.b = random_u64(&run->faults) >> 8;
    fault.c = random_u64(&run->faults) >> 8;
    /* Most are short, some are as long as may be. */
    uint64_t shape = random_below(&run->faults, 8);
    time_ns longest = shape == 0 ? run->lasts_max : run->lasts_max / 16 + 1;
    fault.lasts = (time_ns)random_below(&run->faults, (uint64_t)longest) + NS_PER_MS;
    return fault;
}

static void next_fault(struct sim *sim, struct sim_event *event) {
    struct run *run = container_of(event, struct run, next_fault);
    if (run->quiet || run->faults_drawn >= RUN_FAULTS_MAX) return;
    struct fault fault = draw(run);
    time_ns pause = run->pause_min + (time_ns)random_below(&run->faults, (uint64_t)(run->pause_max - run->pause_min) + 1);
    run->faults_drawn++;
    if (counts_as_crash(fault.kind)) run->crashes_drawn++;
    if (!(run->options->mask[fault.index / 64] >> (fault.index % 64) & 1)) {
        sim_note(sim, fault_name(fault.kind), SIM_NOWHERE, fault.index, (uint64_t)fault.lasts);
        run->carry_out(run->context, &fault);
    }
    sim_at(sim, event, sim_now(sim) + pause, next_fault);
}

void run_faults_begin(struct run *run, void (*carry_out)(void *context, const struct fault *fault), void *context) {
    run->carry_out = carry_out;
    run->context = context;
    sim_at(run->sim, &run->next_fault, sim_now(run->sim) + run->pause_min, next_fault);
}

/* A crash that was drawn may have met a host that was down already: what happened counts, unless faults are masked. */
static bool has_crashed_enough(const struct run *run) {
    const struct sim_counters *count = sim_count(run->sim);
    bool masked = false;
    for (uint32_t i = 0; i < countof(run->options->mask); i++) masked |= run->options->mask[i] != 0;
    if (run->crashes_drawn < run->options->crashes) return false;
    return masked || run->faults_drawn >= RUN_FAULTS_MAX || count->crashes + count->cuts >= run->options->crashes;
}

bool run_faults_end(struct run *run) {
    while (sim_count(run->sim)->events < run->options->events || !has_crashed_enough(run)) {
        if (run->faults_limit && run->faults_drawn >= run->faults_limit) break;
        if (!sim_step(run->sim)) break;
    }
    run->quiet = true;
    sim_cancel(run->sim, &run->next_fault);
    return !sim_has_failed(run->sim);
}
