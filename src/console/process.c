#include "console/process.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static bool read_file(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    size_t n = fread(out, 1, size - 1, file);
    out[n] = 0;
    fclose(file);
    return n > 0;
}

static uint64_t count_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (!dir) return 0;
    while (readdir(dir)) count++;
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* the two dots, and the one that is looking */
}

/* proc(5): the fields behind the command, which stands in brackets and may hold anything. */
enum { STAT_STATE = 3, STAT_UTIME = 14, STAT_STIME = 15, STAT_THREADS = 20, STAT_START = 22, STAT_VSIZE = 23, STAT_RSS = 24 };

void process_look(struct process_sample *out) {
    static long ticks, page;
    char stat[1024], uptime[64];
    struct rlimit files;
    struct timespec now;
    if (!ticks) {
        ticks = sysconf(_SC_CLK_TCK);
        page = sysconf(_SC_PAGESIZE);
    }
    memset(out, 0, sizeof *out);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) out->fds_max = files.rlim_cur;
    out->fds = count_fds();
    if (!read_file("/proc/self/stat", stat, sizeof stat)) return;
    char *at = strrchr(stat, ')'), *rest = NULL;
    if (!at) return;
    uint64_t start = 0, cpu = 0;
    int field = STAT_STATE;
    for (char *word = strtok_r(at + 1, " ", &rest); word; word = strtok_r(NULL, " ", &rest), field++) {
        uint64_t value = strtoull(word, NULL, 10);
        if (field == STAT_UTIME || field == STAT_STIME) cpu += value;
        else if (field == STAT_THREADS) out->threads = value;
        else if (field == STAT_START) start = value;
        else if (field == STAT_VSIZE) out->virtual_bytes = value;
        else if (field == STAT_RSS) out->resident_bytes = value * (uint64_t)page;
    }
    out->cpu_s = (double)cpu / (double)ticks;
    if (!read_file("/proc/uptime", uptime, sizeof uptime)) return;
    clock_gettime(CLOCK_REALTIME, &now);
    out->uptime_s = strtod(uptime, NULL) - (double)start / (double)ticks;
    out->start_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - out->uptime_s;
}
