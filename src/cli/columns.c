#include "cli/columns.h"
#include "base/assert.h"
#include <stdarg.h>
#include <string.h>

/* How many characters, not bytes: names may be any UTF-8. */
static int characters(const char *text) {
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void columns_init(struct columns *table, struct arena *arena, const struct column *columns, uint32_t count) {
    assert(count <= COLUMNS_MAX);
    *table = (struct columns){.arena = arena, .columns = columns, .count = count};
    for (uint32_t i = 0; i < count; i++) table->widths[i] = columns[i].width;
}

bool columns_add(struct columns *table, const char *const *cells) {
    if (table->rows == table->capacity) {
        uint32_t capacity = table->capacity ? table->capacity * 2 : 16;
        const char **grown = ARENA_ARRAY(table->arena, (size_t)capacity * table->count, const char *);
        if (!grown) return false;
        if (table->rows) memcpy(grown, table->cells, (size_t)table->rows * table->count * sizeof *grown);
        table->cells = grown;
        table->capacity = capacity;
    }
    const char **row = table->cells + (size_t)table->rows++ * table->count;
    for (uint32_t i = 0; i < table->count; i++) {
        row[i] = cells[i] ? cells[i] : "-";
        int wide = characters(row[i]);
        if (table->columns[i].width && !table->columns[i].fixed && wide > table->widths[i]) table->widths[i] = wide;
    }
    return true;
}

static void print_row(const struct columns *table, const char *const *row, enum columns_style style, FILE *out) {
    if (style == COLUMNS_LED) fputc('\n', out);
    for (uint32_t i = 0; i < table->count; i++) {
        const char *cell = row ? row[i] : table->columns[i].name;
        fputs(cell, out);
        for (int n = characters(cell); n < table->widths[i]; n++) fputc(' ', out);
        if (style == COLUMNS_TABBED) fputc('\t', out);
        else if (i + 1 < table->count) fputc(' ', out);
    }
    if (style == COLUMNS_TABBED) fputc('\n', out);
}

void columns_print(const struct columns *table, enum columns_style style, FILE *out) {
    print_row(table, NULL, style, out);
    for (uint32_t i = 0; i < table->rows; i++) print_row(table, table->cells + (size_t)i * table->count, style, out);
}

const char *cell_text(struct arena *arena, const char *format, ...) {
    char small[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (size < 0) never("a cell can be told");
    char *text = arena_alloc(arena, (size_t)size + 1);
    if (!text) never("a tool has memory");
    if ((size_t)size < sizeof small) memcpy(text, small, (size_t)size + 1);
    else {
        va_start(arguments, format);
        vsnprintf(text, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    return text;
}

const char *cell_span(struct arena *arena, struct span span) {
    char *text = arena_alloc(arena, span.size + 1);
    if (!text) never("a tool has memory");
    if (span.size) memcpy(text, span.data, span.size);
    text[span.size] = 0;
    return text;
}
