/* test/vectors_read.c - reads files of golden vectors: lines of JSON, gzipped when large, bytes in hex. */
#include "vectors.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

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

static void read_file(const char *folder, const char *path, vectors_line *each, void *context) {
    char name[8192];
    char *line = NULL;
    size_t capacity = 0;
    snprintf(name, sizeof name, "%s/%s", folder, path);
    gzFile in = gzopen(name, "rb");
    if (!in) each(context, folder, path, 0, NULL);
    for (uint32_t number = 1; in && read_line(in, &line, &capacity); number++) {
        if (!line[0]) continue;
        json_t *json = json_loads(line, JSON_ALLOW_NUL, NULL);
        each(context, folder, path, number, json);
        json_decref(json);
    }
    if (in) gzclose(in);
    free(line);
}

static bool is_vectors_file(const char *beginning, const char *name) {
    if (beginning && strncmp(name, beginning, strlen(beginning))) return false;
    const char *ending = strstr(name, ".jsonl");
    return ending && (!strcmp(ending, ".jsonl") || !strcmp(ending, ".jsonl.gz"));
}

bool vectors_each(const char *folder, const char *beginning, vectors_line *each, void *context) {
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0) return false;
    for (int i = 0; i < n; i++) {
        if (is_vectors_file(beginning, entries[i]->d_name)) read_file(folder, entries[i]->d_name, each, context);
        free(entries[i]);
    }
    free(entries);
    return true;
}
