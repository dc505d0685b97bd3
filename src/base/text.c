#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_init(struct text *text, char *bytes, size_t capacity) {
    assert(capacity >= 1);
    *text = (struct text){.bytes = bytes, .capacity = capacity};
    bytes[0] = 0;
}

void text_reset(struct text *text) {
    text_init(text, text->bytes, text->capacity);
}

void text_add(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t room = text->capacity - text->size;
    int n = vsnprintf(text->bytes + text->size, room, format, arguments);
    va_end(arguments);
    assert(n >= 0);
    if ((size_t)n >= room) {
        text->cut = true;
        n = (int)(room - 1);
    }
    text->size += (size_t)n;
}

void text_add_bytes(struct text *text, const void *bytes, size_t size) {
    size_t room = text->capacity - text->size - 1;
    if (size > room) {
        text->cut = true;
        size = room;
    }
    if (size) memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = 0;
}

void text_add_span(struct text *text, struct span span) {
    text_add_bytes(text, span.data, span.size);
}

void text_add_number(struct text *text, int64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0) digits[--at] = '-';
    text_add_bytes(text, digits + at, sizeof digits - at);
}
