/* test/fuzz_main.c - a fuzz target without libFuzzer: its seeds, then random changes of them, the same for the same seed.
 *
 * Usage: fuzz-x-run [--seconds N] [--runs N] [--seed N] [--write-seeds FOLDER] [FILE|FOLDER...]
 * An input that ends the program is left in the file fuzz-x.input, and can be given again.
 */
#include "fuzz.h"
#include "base/random.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_BYTES_MAX = 1 << 16, SEEDS_MAX = 1 << 16, SLOW_SECONDS = 10 };

static struct seed { uint8_t *bytes; size_t size; } seeds[SEEDS_MAX];
static size_t seeds_count;
static const uint8_t *current;
static size_t current_size;

static void add_seed(const void *data, size_t size) {
    if (seeds_count == SEEDS_MAX || size > INPUT_BYTES_MAX) return;
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes) exit(1);
    if (size) memcpy(bytes, data, size);
    seeds[seeds_count++] = (struct seed){bytes, size};
}

static void add_path(const char *path) {
    struct stat status;
    char name[4096];
    if (stat(path, &status)) return;
    if (S_ISDIR(status.st_mode)) {
        struct dirent **entries;
        int n = scandir(path, &entries, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
            if (entries[i]->d_name[0] != '.') add_path(name);
            free(entries[i]);
        }
        if (n >= 0) free(entries);
        return;
    }
    static uint8_t bytes[INPUT_BYTES_MAX];
    FILE *in = fopen(path, "rb");
    if (!in) return;
    add_seed(bytes, fread(bytes, 1, sizeof bytes, in));
    fclose(in);
}

static void keep_input(void) {
    int saved = creat("fuzz-" FUZZ_NAME ".input", 0644);
    if (saved < 0 || write(saved, current, current_size) < 0) return;
    static const char note[] = "the input is in fuzz-" FUZZ_NAME ".input\n";
    if (write(2, note, sizeof note - 1) < 0) return;
}
static void on_signal(int number) {
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}
/* What the sanitizers call before they end the program. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static double seconds_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run(const uint8_t *bytes, size_t size) {
    /* Memory of just that size: reading behind it is seen by the address sanitizer. */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(1);
    if (size) memcpy(copy, bytes, size);
    current = copy;
    current_size = size;
    double begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID); /* the machine's other work does not count; one that hangs is stopped from outside */
    LLVMFuzzerTestOneInput(copy, size);
    if (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begin > SLOW_SECONDS) {
        fprintf(stderr, "an input took more than %d seconds\n", SLOW_SECONDS);
        abort();
    }
    free(copy);
}

static size_t change(struct random *random, uint8_t *bytes, size_t size) {
    static const uint8_t edges[] = {0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff};
    size_t at = size ? random_below(random, size) : 0, count = 1 + random_below(random, 8), from;
    switch (random_below(random, 9)) {
    case 0: if (size) bytes[at] ^= (uint8_t)(1u << random_below(random, 8)); break;
    case 1: if (size) bytes[at] = edges[random_below(random, sizeof edges)]; break;
    case 2: if (size) bytes[at] = (uint8_t)random_u64(random); break;
    case 3: if (size) bytes[at] = (uint8_t)(bytes[at] + random_below(random, 5) - 2); break;
    case 4: /* one edge over some bytes */
        for (size_t i = at; i < size && i < at + count; i++) bytes[i] = edges[random_below(random, sizeof edges)];
        break;
    case 5: /* take some out */
        if (count > size - at) count = size - at;
        memmove(bytes + at, bytes + at + count, size - at - count);
        return size - count;
    case 6: /* put some in */
        if (size + count > INPUT_BYTES_MAX) break;
        memmove(bytes + at + count, bytes + at, size - at);
        random_bytes(random, bytes + at, count);
        return size + count;
    case 7: return at; /* cut */
    default: /* over with what stands elsewhere, or in another seed */
        if (!size || !seeds_count) break;
        struct seed other = seeds[random_below(random, seeds_count)];
        if (!other.size) break;
        from = random_below(random, other.size);
        count = 1 + random_below(random, other.size - from);
        if (count > size - at) count = size - at;
        memcpy(bytes + at, other.bytes + from, count);
    }
    return size;
}

static int write_seeds(const char *folder) {
    char name[4096];
    mkdir(folder, 0755);
    for (size_t i = 0; i < seeds_count; i++) {
        snprintf(name, sizeof name, "%s/seed-%05zu", folder, i);
        FILE *out = fopen(name, "wb");
        if (!out) { perror(name); return 1; }
        fwrite(seeds[i].bytes, 1, seeds[i].size, out);
        if (fclose(out)) return 1;
    }
    printf("%zu seeds in %s\n", seeds_count, folder);
    return 0;
}

int main(int argc, char **argv) {
    uint64_t seconds = 5, runs_max = UINT64_MAX, seed = 1, runs = 0;
    const char *seeds_folder = NULL;
    static uint8_t bytes[INPUT_BYTES_MAX];
    struct random random;
    add_path(TEST_SOURCE_ROOT "/test/fuzz/" FUZZ_NAME);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seconds") && i + 1 < argc) seconds = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--runs") && i + 1 < argc) runs_max = strtoull(argv[++i], NULL, 10), seconds = UINT32_MAX;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) seed = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--write-seeds") && i + 1 < argc) seeds_folder = argv[++i];
        else add_path(argv[i]);
    }
    fuzz_seeds(add_seed);
    if (seeds_folder) return write_seeds(seeds_folder);
    random_seed(&random, seed);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_input);
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    for (size_t i = 0; i < seeds_count; i++, runs++) run(seeds[i].bytes, seeds[i].size);
    for (double end = seconds_of(CLOCK_MONOTONIC) + (double)seconds; runs < runs_max && (runs % 256 || seconds_of(CLOCK_MONOTONIC) < end); runs++) {
        struct seed chosen = seeds_count ? seeds[random_below(&random, seeds_count)] : (struct seed){bytes, 0};
        size_t size = chosen.size;
        if (size) memcpy(bytes, chosen.bytes, size);
        for (uint64_t changes = 1 + random_below(&random, 6); changes; changes--) size = change(&random, bytes, size);
        run(bytes, size);
    }
    printf("%s: %llu inputs, %zu of them seeds, seed %llu\n1 passed, 0 failed\n", FUZZ_NAME, (unsigned long long)runs, seeds_count, (unsigned long long)seed);
    for (size_t i = 0; i < seeds_count; i++) free(seeds[i].bytes);
    return 0;
}
