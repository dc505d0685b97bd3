/* moldau-sim: runs seeds, tells failures, makes them small.
 *
 *     moldau-sim [--what NAME] [--seed S | --seeds A-B] [--events N] [--crashes N] [--first] [--shrink]
 *                [--mutate NAME] [--verbose] [--spread N]
 *     moldau-sim --regressions [FILE]
 *
 * Seeds run in child processes, so that a panic is one failed seed and not the end. One seed of fifty runs twice, and the
 * hashes of what happened must be the same. With --first the first seed that fails ends it. The last line is "N passed, N failed".
 *
 * A world that sweeps (node-memory, node-disk) lets the n-th operation fail, seed n. With --spread N, so many of all the
 * operations that there are; what the node was doing when they failed is told, and it is a failure if a sweep over all of
 * them (--spread, or seeds beyond the last) met none of a kind.
 */
#include "sim/run.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEED_CPU_SECONDS_MAX = 120, SEEDS_A_CHILD = 200, HASH_CHECK_ONE_IN = 50, NOTES_SHOWN = 200 };

struct result { /* from a child, through a pipe */
    uint64_t seed, events, hash, acknowledged, operations;
    uint32_t crashes, cuts, faults, faults_drawn;
    enum sweep_phase phase;
    bool ok, differs;
};

struct command {
    const struct what *what;
    uint64_t seed_first, seed_last;
    struct run_options options;
    bool shrink, regressions, first;
    uint64_t spread;  /* 0: every seed of the range */
    const char *seeds_file;
};

struct totals {
    uint64_t passed, failed, events, crashes, cuts, faults, acknowledged, twice;
    uint64_t events_least, broken_least; /* of one seed that passed: its events; its crashes and cuts */
    uint64_t phases[PHASES];
};

/* ---- One run */
static struct run *running; /* for the handler of a panic: this process runs one seed at a time */
static const struct what *running_what;
static bool running_quiet;

static void print_line(void *context, const char *text) { fprintf(context, "%s\n", text); }

static void print_failure(const struct run *run, const char *why) {
    FILE *out = stdout;
    fprintf(out, "\nseed %llu of %s: %s\n", (unsigned long long)run->options->seed, running_what->name, why);
    fprintf(out, "  settings:");
    for (uint32_t i = 0; i < run->set_count; i++) fprintf(out, " %s=%lld", run->set[i].name, (long long)run->set[i].value);
    fprintf(out, "\n  at %.6f s, %llu events, %u faults, %llu crashes, %llu cuts; what happened last:\n", (double)sim_now(run->sim) / 1e9,
            (unsigned long long)sim_count(run->sim)->events, run->faults_drawn,
            (unsigned long long)sim_count(run->sim)->crashes, (unsigned long long)sim_count(run->sim)->cuts);
    sim_notes_print(run->sim, print_line, out);
    fprintf(out, "again: moldau-sim --what %s --seed %llu --events %llu%s%s\n", running_what->name, (unsigned long long)run->options->seed,
            (unsigned long long)run->options->events, run->options->mutation ? " --mutate " : "",
            run->options->mutation ? run->options->mutation : "");
    fflush(out);
}

static void on_panic(int number) {
    signal(number, SIG_DFL);
    if (running && !running_quiet) print_failure(running, number == SIGABRT ? "PANIC" : number == SIGVTALRM ? "HANG: it goes round and round" : "CRASH");
    _exit(3);
}

static struct result run_once(const struct what *what, const struct run_options *options, bool quiet) {
    uint64_t seed = what->sweep ? 1 : options->seed;
    struct run run = {.sim = sim_new(seed), .options = options, .nth = options->seed};
    assert(run.sim);
    random_seed(&run.settings, seed ^ UINT64_C(0x5e77196500000000));
    random_seed(&run.faults, seed ^ UINT64_C(0xfa17500000000000));
    run.pause_min = 20 * NS_PER_MS;
    run.pause_max = 2 * NS_PER_S;
    run.lasts_max = 20 * NS_PER_S;
    running = &run;
    running_what = what;
    running_quiet = quiet;
    if (options->verbose) sim_set_verbose(run.sim);
    what->run(&run);
    struct sim_counters *count = sim_count(run.sim);
    struct result result = {
        .seed = options->seed, .events = count->events, .hash = sim_hash(run.sim), .acknowledged = run.acknowledged,
        .crashes = (uint32_t)count->crashes, .cuts = (uint32_t)count->cuts, .faults = (uint32_t)count->faults,
        .faults_drawn = run.faults_drawn, .phase = run.phase, .operations = run.operations, .ok = !sim_has_failed(run.sim)};
    if (!result.ok && !quiet) print_failure(&run, sim_failure(run.sim));
    running = NULL;
    if (result.ok) sim_free(run.sim); /* after a failure things lie as they fell */
    return result;
}

/* ---- Children */
static void child(const struct command *command, uint64_t first, uint64_t last, bool quiet, int out) {
    signal(SIGABRT, on_panic);
    signal(SIGSEGV, on_panic);
    signal(SIGBUS, on_panic);
    signal(SIGVTALRM, on_panic);
    for (uint64_t seed = first; seed <= last; seed++) {
        struct run_options options = command->options;
        options.seed = seed;
        struct itimerval limit = {.it_value = {.tv_sec = SEED_CPU_SECONDS_MAX}};
        setitimer(ITIMER_VIRTUAL, &limit, NULL); /* a seed that never ends is a failed one */
        uint64_t begins = seed;
        if (write(out, &begins, sizeof begins) != (ssize_t)sizeof begins) _exit(4);
        struct result result = run_once(command->what, &options, quiet);
        if (result.ok && !quiet && seed % HASH_CHECK_ONE_IN == 0) {
            struct result again = run_once(command->what, &options, true);
            result.differs = again.hash != result.hash || again.events != result.events;
            if (result.differs) {
                printf("\nseed %llu of %s: two runs differ: %016llx and %016llx\n", (unsigned long long)seed, command->what->name,
                       (unsigned long long)result.hash, (unsigned long long)again.hash);
                fflush(stdout);
            }
        }
        fflush(stdout);
        if (write(out, &result, sizeof result) != (ssize_t)sizeof result) _exit(4);
        if (!result.ok) _exit(0); /* a fresh process for the next seed */
    }
    _exit(0);
}

static bool read_whole(int in, void *target, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(in, (char *)target + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

/* Runs seeds in a child until the last, a failure or a panic. Answers the next seed to run. */
static uint64_t run_some(const struct command *command, uint64_t first, uint64_t last, bool quiet, struct totals *totals, struct result *newest) {
    int pipes[2];
    fflush(stdout);
    if (pipe(pipes) < 0) { perror("pipe"); exit(2); }
    pid_t pid = fork();
    if (pid < 0) { perror("fork"); exit(2); }
    if (pid == 0) {
        close(pipes[0]);
        child(command, first, last, quiet, pipes[1]);
    }
    close(pipes[1]);
    uint64_t seed, next = first;
    while (read_whole(pipes[0], &seed, sizeof seed)) {
        struct result result = {.seed = seed};
        next = seed + 1;
        bool told = read_whole(pipes[0], &result, sizeof result);
        if (newest) *newest = result;
        totals->events += result.events;
        totals->crashes += result.crashes;
        totals->cuts += result.cuts;
        totals->faults += result.faults;
        totals->acknowledged += result.acknowledged;
        if (told) totals->phases[result.phase]++;
        totals->twice += told && seed % HASH_CHECK_ONE_IN == 0;
        if (told && result.ok && !result.differs) {
            uint64_t broken = (uint64_t)result.crashes + result.cuts;
            if (totals->passed == 0 || result.events < totals->events_least) totals->events_least = result.events;
            if (totals->passed == 0 || broken < totals->broken_least) totals->broken_least = broken;
            totals->passed++;
        } else {
            totals->failed++;
        }
        if (!told) break;
    }
    close(pipes[0]);
    int status;
    waitpid(pid, &status, 0);
    return next;
}

static void run_range(const struct command *command, struct totals *totals) {
    for (uint64_t seed = command->seed_first; seed <= command->seed_last;) {
        uint64_t last = seed + SEEDS_A_CHILD - 1;
        if (last > command->seed_last) last = command->seed_last;
        seed = run_some(command, seed, last, false, totals, NULL);
        if (command->first && totals->failed) break;
    }
}

/* ---- Sweeps: over all operations that there are */
static uint64_t operations_of(const struct command *command) {
    struct totals totals = {0};
    struct result newest = {0};
    run_some(command, 0, 0, true, &totals, &newest); /* none fails */
    return newest.operations;
}

static void run_spread(const struct command *command, struct totals *totals) {
    uint64_t all = operations_of(command), count = command->spread < all ? command->spread : all;
    printf("%s: %llu of %llu operations\n", command->what->name, (unsigned long long)count, (unsigned long long)all);
    for (uint64_t i = 0; i < count && !(command->first && totals->failed); i++) {
        uint64_t nth = 1 + i * all / count;
        run_some(command, nth, nth, false, totals, NULL);
    }
}

/* Who was hit. False: a sweep that is whole has left a phase out, so it proves nothing of that phase. */
static bool print_phases(const struct command *command, const struct totals *totals) {
    static const char *const names[PHASES] = {"not reached", "start", "produce", "fetch", "commit", "snapshot", "stop", "other"};
    bool whole = command->spread > 0 || totals->phases[PHASE_NOT_REACHED] > 0, good = true;
    for (int i = 0; i < PHASES; i++) {
        printf("failed while %-11s %6llu\n", names[i], (unsigned long long)totals->phases[i]);
        if (i == PHASE_NOT_REACHED || i == PHASE_OTHER || totals->phases[i] || !whole || command->seed_first == command->seed_last) continue;
        printf("no operation failed while %s: the sweep does not show what it should\n", names[i]);
        good = false;
    }
    return good;
}

/* ---- Shrinking: the fewest faults with which the seed still fails, by leaving out halves, quarters, ... */
static bool still_fails(const struct command *command) {
    struct totals totals = {0};
    run_some(command, command->seed_first, command->seed_first, true, &totals, NULL);
    return totals.failed > 0;
}

static void mask_range(struct run_options *options, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) options->mask[i / 64] |= UINT64_C(1) << (i % 64);
}

static void shrink(struct command *command) {
    if (!still_fails(command)) {
        printf("seed %llu does not fail\n", (unsigned long long)command->seed_first);
        return;
    }
    uint32_t count = RUN_FAULTS_MAX, tries = 0;
    for (uint32_t size = count / 2; size > 0 && tries < 400; size /= 2)
        for (uint32_t from = 0; from < count && tries < 400; from += size) {
            struct command less = *command;
            mask_range(&less.options, from, from + size);
            if (memcmp(less.options.mask, command->options.mask, sizeof less.options.mask) == 0) continue;
            tries++;
            if (still_fails(&less)) *command = less;
        }
    printf("the smallest found (%u tries); faults that remain:", tries);
    for (uint32_t i = 0; i < count; i++)
        if (!(command->options.mask[i / 64] >> (i % 64) & 1)) printf(" %u", i);
    printf("\n");
    struct totals totals = {0};
    run_some(command, command->seed_first, command->seed_first, false, &totals, NULL);
}

/* ---- Regressions: every seed that ever failed */
static const struct what *what_named(const char *name) {
    for (uint32_t i = 0; i < sim_whats_count; i++)
        if (strcmp(sim_whats[i].name, name) == 0) return &sim_whats[i];
    return NULL;
}

static int run_regressions(struct command *command, struct totals *totals) {
    FILE *file = fopen(command->seeds_file, "r");
    char line[512], name[32];
    if (!file) {
        fprintf(stderr, "moldau-sim: cannot read %s\n", command->seeds_file);
        return 2;
    }
    while (fgets(line, sizeof line, file)) {
        unsigned long long seed, events;
        if (line[0] == '#' || sscanf(line, "%31s %llu %llu", name, &seed, &events) != 3) continue;
        if (!(command->what = what_named(name))) {
            fprintf(stderr, "moldau-sim: %s: there is no \"%s\"\n", command->seeds_file, name);
            fclose(file);
            return 2;
        }
        command->seed_first = command->seed_last = seed;
        command->options.events = events;
        run_range(command, totals);
    }
    fclose(file);
    return 0;
}

/* ---- The command line */
static int usage(void) {
    fprintf(stderr, "usage: moldau-sim [--what NAME] [--seed S | --seeds A-B] [--events N] [--crashes N] [--first] [--shrink]\n"
                    "                  [--mutate NAME] [--verbose] [--spread N] | --regressions [FILE]\n");
    for (uint32_t i = 0; i < sim_whats_count; i++) {
        fprintf(stderr, "  %-8s %s\n", sim_whats[i].name, sim_whats[i].about);
        for (const char *const *name = sim_whats[i].mutations; name && *name; name++) fprintf(stderr, "           --mutate %s\n", *name);
    }
    return 2;
}

static bool parse(struct command *command, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end;
        if (strcmp(option, "--shrink") == 0) { command->shrink = true; continue; }
        if (strcmp(option, "--first") == 0) { command->first = true; continue; }
        if (strcmp(option, "--verbose") == 0) { command->options.verbose = true; continue; }
        if (strcmp(option, "--regressions") == 0) {
            command->regressions = true;
            if (value && value[0] != '-') { command->seeds_file = value; i++; }
            continue;
        }
        if (!value) return false;
        i++;
        if (strcmp(option, "--what") == 0) {
            if (!(command->what = what_named(value))) return false;
        } else if (strcmp(option, "--seed") == 0) {
            command->seed_first = command->seed_last = strtoull(value, &end, 0);
            if (*end) return false;
        } else if (strcmp(option, "--seeds") == 0) {
            command->seed_first = strtoull(value, &end, 0);
            if (*end != '-') return false;
            command->seed_last = strtoull(end + 1, &end, 0);
            if (*end || command->seed_last < command->seed_first) return false;
        } else if (strcmp(option, "--events") == 0) {
            command->options.events = strtoull(value, &end, 0);
            if (*end) return false;
        } else if (strcmp(option, "--crashes") == 0) {
            command->options.crashes = (uint32_t)strtoul(value, &end, 0);
            if (*end) return false;
        } else if (strcmp(option, "--spread") == 0) {
            command->spread = strtoull(value, &end, 0);
            if (*end || command->spread == 0) return false;
        } else if (strcmp(option, "--mutate") == 0) {
            command->options.mutation = value;
        } else {
            return false;
        }
    }
    return !command->spread || command->what->sweep;
}

static bool mutation_is_known(const struct command *command) {
    if (!command->options.mutation) return true;
    for (const char *const *name = command->what->mutations; name && *name; name++)
        if (strcmp(*name, command->options.mutation) == 0) return true;
    return false;
}

int main(int argc, char **argv) {
    struct command command = {.what = &sim_whats[0], .seed_first = 1, .seed_last = 100, .seeds_file = SIM_SEEDS_FILE,
                              .options = {.events = 10000, .crashes = 5}};
    struct totals totals = {0};
    if (!parse(&command, argc, argv) || !mutation_is_known(&command)) return usage();
    if (command.shrink) {
        shrink(&command);
        return 1;
    }
    int error = 0;
    if (command.regressions) error = run_regressions(&command, &totals);
    else if (command.spread) run_spread(&command, &totals);
    else run_range(&command, &totals);
    if (error) return error;
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    double seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("%s: %llu events, %llu crashes, %llu cuts, %llu faults, %llu operations acknowledged; %llu seeds run twice; %.0f events a CPU-second\n",
           command.regressions ? "regressions" : command.what->name, (unsigned long long)totals.events, (unsigned long long)totals.crashes,
           (unsigned long long)totals.cuts, (unsigned long long)totals.faults, (unsigned long long)totals.acknowledged,
           (unsigned long long)totals.twice, seconds > 0 ? (double)totals.events / seconds : 0.0);
    printf("in no seed fewer than %llu events, and %llu crashes and cuts\n", (unsigned long long)totals.events_least,
           (unsigned long long)totals.broken_least);
    if (command.what->sweep && !command.regressions && !print_phases(&command, &totals)) totals.failed++;
    printf("%llu passed, %llu failed\n", (unsigned long long)totals.passed, (unsigned long long)totals.failed);
    return totals.failed ? 1 : 0;
}
