/* base/text.h - text made piece by piece into memory that the caller gives: bounded, always ended by a 0. */
#pragma once
#include "base/buf.h"

struct text {
    char *bytes;
    size_t size, capacity; /* size without the 0 */
    bool cut;              /* something did not fit: what is there is the beginning */
};
void text_init(struct text *text, char *bytes, size_t capacity); /* capacity >= 1, room for the 0 included */
void text_add(struct text *text, const char *format, ...) printf_like(2, 3);
void text_add_bytes(struct text *text, const void *bytes, size_t size);
void text_add_span(struct text *text, struct span span);
void text_add_number(struct text *text, int64_t number); /* as %lld prints it, in a tenth of the time */
void text_reset(struct text *text);
