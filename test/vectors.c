/* test/vectors.c - the walk over a folder of golden vectors, and the counting. Usage: moldau-vectors DIR [FAMILY...] */
#include "vectors.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A family is a folder, or one file of it. */
static const struct family {
    const char *folder, *file; /* file: its beginning; NULL: all */
    enum verdict (*check)(const struct vector *vector); /* NULL: of a part that is not built yet */
} families[] = {
    {"rpc", NULL, vectors_message},
    {"header", NULL, vectors_message},
    {"data", NULL, vectors_message},
    {"metadata", NULL, vectors_message},
    {"group", NULL, vectors_message},
    {"transaction", NULL, vectors_message},
    {"share", NULL, vectors_message},
    {"storage", NULL, vectors_message},
    {"raft", NULL, vectors_message},
    {"streams", NULL, vectors_message},
    {"frames", NULL, vectors_frame},
    {"records", NULL, vectors_records},
    {"disk", NULL, vectors_disk},
    {"disk/format-standalone", NULL, vectors_disk},
    {"disk/format-static", NULL, vectors_disk},
    {"disk/format-no-initial-controllers", NULL, vectors_disk},
    {"misc", "partitioner-murmur2", vectors_partitioner},
    {"misc", "coordinator-partition", vectors_coordinator},
    {"misc", "uuid", vectors_uuid},
    {"misc", "scram", NULL},
    {"assignors", NULL, NULL},
    {"streams-state", NULL, NULL},
    {"connect", NULL, NULL},
};

static uint64_t passed, failed, not_run;
static struct pool pool;

enum verdict vector_wrong(const struct vector *vector, const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "%s/%s:%u: ", vector->folder, vector->path, vector->line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return VECTOR_FAILED;
}

struct run {
    const struct family *family;
    uint64_t passed, failed, not_run;
};

static void run_line(void *context, const char *folder, const char *path, uint32_t line, const json_t *json) {
    struct run *run = context;
    struct arena arena;
    arena_init(&arena, &pool, 0);
    struct vector vector = {.family = run->family->folder, .folder = folder, .path = path, .line = line, .json = json, .pool = &pool, .arena = &arena};
    enum verdict verdict = VECTOR_NOT_RUN;
    if (!json) verdict = vector_wrong(&vector, line ? "not JSON" : "cannot be opened");
    else if (run->family->check) verdict = run->family->check(&vector);
    run->passed += verdict == VECTOR_PASSED;
    run->failed += verdict == VECTOR_FAILED;
    run->not_run += verdict == VECTOR_NOT_RUN;
    arena_destroy(&arena);
}

static void run_family(const struct family *family, const char *top) {
    char folder[4096], name[256];
    struct run run = {.family = family};
    snprintf(folder, sizeof folder, "%s/%s", top, family->folder);
    if (!vectors_each(folder, family->file, run_line, &run)) return; /* a folder of vectors need not have all families */
    snprintf(name, sizeof name, "%s%s%s", family->folder, family->file ? "/" : "", family->file ? family->file : "");
    printf("%-36s %6llu passed %6llu failed %6llu not run\n", name, (unsigned long long)run.passed, (unsigned long long)run.failed,
           (unsigned long long)run.not_run);
    passed += run.passed, failed += run.failed, not_run += run.not_run;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: moldau-vectors DIR [FAMILY...]\n");
        return 2;
    }
    pool_init(&pool, 0, 16);
    for (size_t i = 0; i < countof(families); i++) {
        bool chosen = argc == 2;
        for (int k = 2; k < argc; k++) chosen |= !strncmp(families[i].folder, argv[k], strlen(argv[k]));
        if (chosen) run_family(&families[i], argv[1]);
    }
    pool_destroy(&pool);
    if (not_run) printf("%llu not run: they belong to parts that are named above\n", (unsigned long long)not_run);
    printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
    return failed || !passed;
}
