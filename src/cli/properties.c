#include "cli/properties.h"
#include "cli/args.h"
#include "io/io.h"
#include <errno.h>
#include <string.h>
#include <strings.h>

enum { FILE_BYTES_MAX = 1 << 20 };

bool properties_read_file(struct config_values *into, const char *path, struct text *why) {
    struct io_files files = io_files_real();
    struct io_file *file = NULL;
    int error = files.vtable->open(files.self, &file, path, IO_READ);
    int64_t size = error ? -1 : files.vtable->size(files.self, file);
    bool ok = false;
    if (error || size < 0) text_add(why, "%s: %s", path, strerror(error ? -error : (int)-size));
    else if (size > FILE_BYTES_MAX) text_add(why, "%s is larger than a properties file may be", path);
    else {
        uint8_t *bytes = arena_alloc(into->arena, (size_t)size + 1);
        int64_t got = bytes ? files.vtable->read(files.self, file, bytes, (size_t)size, 0) : -ENOMEM;
        if (got != size) text_add(why, "%s cannot be read", path);
        else ok = config_values_read(into, span_of(bytes, (size_t)size), why) == ERR_NONE;
    }
    if (file) io_file_drop(file);
    return ok;
}

bool properties_read_option(struct config_values *into, const struct args *args, const char *option, struct text *why) {
    uint32_t at = 0;
    for (const char *word; (word = args_each(args, option, &at));) {
        const char *equals = strchr(word, '=');
        size_t size = equals ? (size_t)(equals - word) : strlen(word);
        if (size == 0) {
            text_add(why, "Invalid command line properties: %s", word);
            return false;
        }
        if (config_values_set(into, span_of(word, size), span_text(equals ? equals + 1 : ""))) {
            text_add(why, "too many properties");
            return false;
        }
    }
    return true;
}

bool properties_check_security(const struct config_values *values, struct text *why) {
    const char *protocol = properties_text(values, "security.protocol");
    if (!protocol || strcasecmp(protocol, "PLAINTEXT") == 0) return true;
    text_add(why, "security.protocol=%s: only PLAINTEXT is served yet", protocol);
    return false;
}

const char *properties_text(const struct config_values *values, const char *name) {
    struct span value;
    if (!config_values_get(values, span_text(name), &value)) return NULL;
    char *text = arena_alloc(values->arena, value.size + 1);
    if (text && value.size) memcpy(text, value.data, value.size);
    return text;
}

bool properties_flag(const struct config_values *values, const char *name, bool preset) {
    const char *text = properties_text(values, name);
    if (!text) return preset;
    while (*text == ' ') text++;
    return strncasecmp(text, "true", 4) == 0;
}
