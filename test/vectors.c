/* test/vectors.c - the walk over a folder of golden vectors, and the counting. Usage: moldau-vectors DIR [FAMILY...] */
#include "vectors.h"
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

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

const char *vector_text(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

int64_t vector_number(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

struct span vector_hex(struct arena *arena, const json_t *value) {
    const char *text = json_string_value(value);
    if (!text) return span_of(NULL, 0);
    size_t size = json_string_length(value) / 2;
    uint8_t *bytes = arena_alloc(arena, size ? size : 1);
    if (!bytes) return span_of(NULL, 0);
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        assert(high >= 0 && low >= 0);
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return span_of(bytes, size);
}

char *vector_hex_text(struct arena *arena, struct span bytes) {
    char *text = arena_alloc(arena, bytes.size * 2 + 1);
    assert(text);
    for (size_t i = 0; i < bytes.size; i++) snprintf(text + 2 * i, 3, "%02x", bytes.data[i]);
    return text;
}

struct span vector_file(struct arena *arena, const char *folder, const char *path) {
    char name[8192];
    snprintf(name, sizeof name, "%s/%s", folder, path);
    FILE *in = fopen(name, "rb");
    if (!in) return span_of(NULL, 0);
    fseek(in, 0, SEEK_END);
    size_t size = (size_t)ftell(in);
    rewind(in);
    uint8_t *bytes = arena_alloc(arena, size + 1);
    size_t got = bytes ? fread(bytes, 1, size, in) : 0;
    fclose(in);
    return got == size && bytes ? span_of(bytes, size) : span_of(NULL, 0);
}

/* One line, however long, without its end. False: no more. */
static bool read_line(gzFile in, char **line, size_t *capacity) {
    size_t size = 0;
    for (;;) {
        if (*capacity - size < 4096) {
            *capacity = *capacity ? *capacity * 2 : 65536;
            *line = realloc(*line, *capacity);
            assert(*line);
        }
        if (!gzgets(in, *line + size, (int)(*capacity - size))) return size > 0;
        size += strlen(*line + size);
        if (size && (*line)[size - 1] == '\n') {
            (*line)[size - 1] = 0;
            return true;
        }
    }
}

static void count(enum verdict verdict, uint64_t *family_passed, uint64_t *family_failed, uint64_t *family_not_run) {
    if (verdict == VECTOR_PASSED) ++*family_passed;
    else if (verdict == VECTOR_FAILED) ++*family_failed;
    else ++*family_not_run;
}

static void run_file(const struct family *family, const char *folder, const char *path, uint64_t counts[3]) {
    char name[8192];
    snprintf(name, sizeof name, "%s/%s", folder, path);
    gzFile in = gzopen(name, "rb");
    char *line = NULL;
    size_t capacity = 0;
    struct vector vector = {.family = family->folder, .folder = folder, .path = path, .pool = &pool};
    while (in && read_line(in, &line, &capacity)) {
        vector.line++;
        if (!line[0]) continue;
        enum verdict verdict = VECTOR_NOT_RUN;
        if (family->check) {
            struct arena arena;
            json_error_t error;
            json_t *json = json_loads(line, JSON_ALLOW_NUL, &error);
            arena_init(&arena, &pool, 0);
            vector.json = json;
            vector.arena = &arena;
            verdict = json ? family->check(&vector) : vector_wrong(&vector, "not JSON: %s", error.text);
            json_decref(json);
            arena_destroy(&arena);
        }
        count(verdict, &counts[0], &counts[1], &counts[2]);
    }
    if (!in) {
        vector_wrong(&vector, "cannot be opened");
        counts[1]++;
    } else gzclose(in);
    free(line);
}

static bool is_vectors_file(const struct family *family, const char *name) {
    if (family->file && strncmp(name, family->file, strlen(family->file))) return false;
    const char *ending = strstr(name, ".jsonl");
    return ending && (!strcmp(ending, ".jsonl") || !strcmp(ending, ".jsonl.gz"));
}

static void run_family(const struct family *family, const char *top) {
    char folder[4096], name[256];
    uint64_t counts[3] = {0};
    struct dirent **entries;
    snprintf(folder, sizeof folder, "%s/%s", top, family->folder);
    int n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0) return; /* a folder of vectors need not have all families */
    for (int i = 0; i < n; i++) {
        if (is_vectors_file(family, entries[i]->d_name)) run_file(family, folder, entries[i]->d_name, counts);
        free(entries[i]);
    }
    free(entries);
    snprintf(name, sizeof name, "%s%s%s", family->folder, family->file ? "/" : "", family->file ? family->file : "");
    printf("%-36s %6llu passed %6llu failed %6llu not run\n", name, (unsigned long long)counts[0], (unsigned long long)counts[1], (unsigned long long)counts[2]);
    passed += counts[0], failed += counts[1], not_run += counts[2];
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
