#include "cli/config_provide.h"
#include "io/io.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PROVIDERS_MAX = 16, PATH_BYTES_MAX = 1024, PROVIDED_BYTES_MAX = 1 << 20, RESULT_BYTES_MAX = 1 << 20 };
enum kind { FROM_FILE, FROM_DIRECTORY, FROM_ENVIRONMENT };

struct provider {
    struct span name;
    enum kind kind;
    struct span allowed; /* paths; size 0: all */
};

struct providing {
    struct config_values *values;
    struct provider providers[PROVIDERS_MAX];
    uint32_t count;
    struct text *why;
};

static bool fail(struct providing *p, struct span about, const char *what) {
    text_add(p->why, "config.providers: %.*s: %s", (int)(about.size < 256 ? about.size : 256), (const char *)about.data, what);
    return false;
}

static bool get_param(const struct providing *p, struct span name, const char *param, struct span *out) {
    char key[256];
    int size = snprintf(key, sizeof key, "config.providers.%.*s.%s", (int)(name.size < 128 ? name.size : 128), (const char *)name.data, param);
    return config_values_get(p->values, span_of(key, (size_t)size), out) && out->size > 0;
}

static bool exists(struct span path) {
    char text[PATH_BYTES_MAX];
    struct stat facts;
    return path.size < sizeof text && snprintf(text, sizeof text, "%.*s", (int)path.size, (const char *)path.data) > 0 && stat(text, &facts) == 0;
}

static bool read_providers(struct providing *p) {
    static const char *const classes[] = {[FROM_FILE] = "org.apache.kafka.common.config.provider.FileConfigProvider",
                                          [FROM_DIRECTORY] = "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
                                          [FROM_ENVIRONMENT] = "org.apache.kafka.common.config.provider.EnvVarConfigProvider"};
    struct config_view view = {.values = p->values, .broker = -1};
    struct span rest = config_text(&view, KEY_config_providers, NULL), name, class, ignored;
    while (config_list_next(&rest, &name)) {
        if (!get_param(p, name, "class", &class)) continue; /* as in Kafka */
        if (p->count == PROVIDERS_MAX) return fail(p, name, "there are too many");
        struct provider *provider = &p->providers[p->count++];
        provider->name = name;
        size_t kind = 0;
        while (kind < countof(classes) && !span_equal(class, span_text(classes[kind]))) kind++;
        if (kind == countof(classes)) return fail(p, class, "a Java class that cannot be run here; known are FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider of org.apache.kafka.common.config.provider");
        provider->kind = (enum kind)kind;
        if (get_param(p, name, "param.allowlist.pattern", &ignored)) return fail(p, name, "allowlist.pattern is not served");
        if (!get_param(p, name, "param.allowed.paths", &provider->allowed)) continue;
        for (struct span paths = provider->allowed, one; config_list_next(&paths, &one);)
            if (one.size == 0 || one.data[0] != '/' || !exists(one)) return fail(p, one, "allowed.paths wants absolute paths that exist");
    }
    return true;
}

/* Below one of the allowed paths; no way up again. */
static bool is_allowed(const struct provider *provider, const char *path) {
    struct span text = span_text(path);
    if (provider->allowed.size == 0) return true;
    if (strstr(path, "/../") || (text.size >= 3 && strcmp(path + text.size - 3, "/..") == 0)) return false;
    for (struct span paths = provider->allowed, one; config_list_next(&paths, &one);) {
        while (one.size > 1 && one.data[one.size - 1] == '/') one.size--;
        if (text.size >= one.size && memcmp(text.data, one.data, one.size) == 0 && (text.size == one.size || text.data[one.size] == '/' || one.size == 1)) return true;
    }
    return false;
}

/* False: it cannot be read. */
static bool read_whole(struct arena *arena, const char *path, struct span *out) {
    struct io_files files = io_files_real();
    struct io_file *file;
    if (files.vtable->open(files.self, &file, path, IO_READ) < 0) return false;
    int64_t size = files.vtable->size(files.self, file);
    uint8_t *bytes = size < 0 || size > PROVIDED_BYTES_MAX ? NULL : arena_alloc(arena, (size_t)size + 1);
    int64_t got = bytes ? files.vtable->read(files.self, file, bytes, (size_t)size, 0) : -1;
    io_file_drop(file);
    if (got >= 0) *out = span_of(bytes, (size_t)got);
    return got >= 0;
}

/* data NULL in *out: nothing is there. */
static bool look_up(struct providing *p, const struct provider *provider, struct span path, struct span key, struct span *out) {
    char text[PATH_BYTES_MAX];
    struct arena *arena = p->values->arena;
    struct config_values own;
    struct span whole;
    *out = (struct span){0};
    bool is_directory = provider->kind == FROM_DIRECTORY;
    if (path.size + key.size + 2 > sizeof text) return fail(p, path, "a path is too long");
    if (provider->kind == FROM_ENVIRONMENT) {
        snprintf(text, sizeof text, "%.*s", (int)key.size, (const char *)key.data);
        const char *value = path.size == 0 ? getenv(text) : NULL;
        if (value) *out = span_text(value);
        return true;
    }
    if (path.size == 0) return true;
    snprintf(text, sizeof text, "%.*s%s%.*s", (int)path.size, (const char *)path.data, is_directory ? "/" : "", is_directory ? (int)key.size : 0, (const char *)key.data);
    if (!is_allowed(provider, text) || (is_directory && memchr(key.data, '/', key.size))) return true;
    if (is_directory) {
        if (read_whole(arena, text, &whole)) *out = whole;
        return true;
    }
    if (!read_whole(arena, text, &whole)) return fail(p, path, errno ? strerror(errno) : "cannot be read");
    config_values_init(&own, arena);
    if (config_values_read(&own, whole, p->why)) return fail(p, path, "cannot be read as properties");
    if (!config_values_get(&own, key, out)) *out = (struct span){0};
    return true;
}

static const struct provider *named(const struct providing *p, struct span name) {
    for (uint32_t i = 0; i < p->count; i++)
        if (span_equal(p->providers[i].name, name)) return &p->providers[i];
    return NULL;
}

/* One value, put together in `target`. */
static bool replace(struct providing *p, struct span value, uint8_t *target, size_t *size, bool *changed) {
    *size = 0;
    for (const uint8_t *at = value.data, *end = value.data + value.size; at < end;) {
        const uint8_t *close = at[0] == '$' && at + 1 < end && at[1] == '{' ? memchr(at, '}', (size_t)(end - at)) : NULL;
        const uint8_t *colon = close ? memchr(at, ':', (size_t)(close - at)) : NULL;
        const struct provider *provider = colon ? named(p, span_of(at + 2, (size_t)(colon - at - 2))) : NULL;
        struct span found = {0};
        if (provider) {
            struct span rest = span_of(colon + 1, (size_t)(close - colon - 1)), path = {0};
            const uint8_t *second = memchr(rest.data, ':', rest.size);
            if (second) {
                path = span_of(rest.data, (size_t)(second - rest.data));
                rest = span_of(second + 1, (size_t)(close - second - 1));
            }
            if (!look_up(p, provider, path, rest, &found)) return false;
        }
        struct span part = found.data ? found : span_of(at, 1);
        if (*size + part.size > RESULT_BYTES_MAX) return fail(p, provider ? provider->name : span_text("a value"), "a value is too long");
        if (part.size) memcpy(target + *size, part.data, part.size);
        *size += part.size;
        *changed |= found.data != NULL;
        at = found.data ? close + 1 : at + 1;
    }
    return true;
}

static bool replace_all(struct providing *p) {
    uint8_t *target = arena_alloc(p->values->arena, RESULT_BYTES_MAX);
    if (!target) return fail(p, span_text("memory"), err_text(ERR_NO_MEMORY));
    for (uint32_t i = 0; i < p->values->count; i++) {
        size_t size;
        bool changed = false;
        if (!replace(p, p->values->entries[i].value, target, &size, &changed)) return false;
        if (changed && config_values_set(p->values, p->values->entries[i].name, span_of(target, size))) return fail(p, span_text("memory"), err_text(ERR_NO_MEMORY));
    }
    return true;
}

bool config_provide(struct config_values *values, struct text *why) {
    struct providing p = {.values = values, .why = why};
    struct span former, id;
    if (!read_providers(&p) || (p.count > 0 && !replace_all(&p))) return false;
    if (config_values_get(values, SPAN_LITERAL("node.id"), &id) || !config_values_get(values, SPAN_LITERAL("broker.id"), &former)) return true;
    return config_values_set(values, SPAN_LITERAL("node.id"), former) == ERR_NONE;
}
