/* cli/dump_source.c - what all the dumps stand on: a file through a window, and how bytes, messages and damage are told. */
#include "cli/dump.h"
#include "base/text.h"
#include "wire/json.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { DUMP_JSON_BYTES_MAX = 256 << 20 };

/* ---- Reading */

enum err dump_source_open(struct dump_source *source, const struct dump *dump, const char *path) {
    *source = (struct dump_source){.files = dump->files, .pool = dump->pool};
    int opened = dump->files.vtable->open(dump->files.self, &source->file, path, IO_READ);
    if (opened < 0) return opened == -ENOENT ? ERR_NOT_FOUND : ERR_IO;
    int64_t size = dump->files.vtable->size(dump->files.self, source->file);
    if (size < 0) {
        dump_source_close(source);
        return ERR_IO;
    }
    source->size = (uint64_t)size;
    return ERR_NONE;
}

void dump_source_close(struct dump_source *source) {
    if (source->file) io_file_drop(source->file);
    pool_free(source->pool, source->buffer, source->capacity);
    *source = (struct dump_source){0};
}

enum err dump_source_span(struct dump_source *source, uint64_t position, size_t size, struct span *out) {
    if (position > source->size || size > source->size - position) return ERR_OUT_OF_RANGE;
    if (position < source->at || position + size > source->at + source->filled) {
        size_t wanted = size > DUMP_WINDOW_BYTES ? size : DUMP_WINDOW_BYTES;
        if (wanted > source->capacity) {
            uint8_t *larger = pool_realloc(source->pool, source->buffer, source->capacity, wanted);
            if (!larger) return ERR_NO_MEMORY;
            source->buffer = larger;
            source->capacity = wanted;
        }
        int64_t got = source->files.vtable->read(source->files.self, source->file, source->buffer, source->capacity, position);
        source->at = position;
        source->filled = got > 0 ? (size_t)got : 0;
        if (got < 0) return ERR_IO;
        if ((size_t)got < size) return ERR_OUT_OF_RANGE; /* it became shorter meanwhile */
    }
    *out = span_of(source->buffer ? source->buffer + (position - source->at) : NULL, size);
    return ERR_NONE;
}

/* ---- Printing */

void dump_damage(struct dump *dump, uint64_t position, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(dump->out, "Damaged at position %llu: ", (unsigned long long)position);
    vfprintf(dump->out, format, arguments);
    fputc('\n', dump->out);
    va_end(arguments);
    dump->damages++;
}

/* How many bytes of UTF-8 begin there, or, negative, how many make one character that is none: as Unicode advises, and
 * Java's decoder does. */
static int utf8_step(const uint8_t *at, size_t left) {
    uint8_t c = at[0], low = 0x80, high = 0xbf;
    if (c < 0x80) return 1;
    if (c < 0xc2 || c > 0xf4) return -1;
    int size = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == 0xe0) low = 0xa0;
    if (c == 0xed) high = 0x9f;
    if (c == 0xf0) low = 0x90;
    if (c == 0xf4) high = 0x8f;
    for (int i = 1; i < size; i++, low = 0x80, high = 0xbf)
        if ((size_t)i >= left || at[i] < low || at[i] > high) return -i;
    return size;
}

void dump_bytes(const struct dump *dump, struct span bytes) {
    for (size_t i = 0; i < bytes.size;) {
        uint8_t c = bytes.data[i];
        int step = utf8_step(bytes.data + i, bytes.size - i);
        size_t size = (size_t)(step < 0 ? -step : step);
        if (dump->by_place && (step < 0 || c < 0x20 || c == 0x7f))
            for (size_t k = 0; k < size; k++) fprintf(dump->out, "\\x%02x", bytes.data[i + k]);
        else if (step < 0) fputs("\xef\xbf\xbd", dump->out);
        else fwrite(bytes.data + i, 1, size, dump->out);
        i += size;
    }
}

char *dump_json(const struct wire_message *message, int16_t version, const void *value, struct arena *arena) {
    for (size_t room = 4096; room <= DUMP_JSON_BYTES_MAX; room *= 4) {
        struct text text;
        char *bytes = arena_alloc(arena, room);
        if (!bytes) return NULL;
        text_init(&text, bytes, room);
        wire_json_write(message, version, value, 0, &text);
        if (!text.cut) return bytes;
    }
    return NULL;
}
