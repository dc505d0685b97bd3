/* cli/columns.h - tables of text as Kafka's tools lay them out: every column as wide as its widest cell.
 *
 * COLUMNS_LED: a line's end stands before each line and none behind the last; COLUMNS_TABBED: lines end as usual, and a
 * tab stands behind every cell. In both a cell is followed by one separator, and a column of width 0 is not padded.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include <stdio.h>

enum { COLUMNS_MAX = 16 };
enum columns_style { COLUMNS_LED, COLUMNS_TABBED };
struct column {
    const char *name;
    int width;              /* at least; 0: as it comes */
    bool fixed;             /* a longer cell does not widen it */
};
struct columns {
    struct arena *arena;    /* borrows */
    const struct column *columns;
    const char **cells;     /* rows of `count` */
    int widths[COLUMNS_MAX];
    uint32_t count, rows, capacity;
};
void columns_init(struct columns *table, struct arena *arena, const struct column *columns, uint32_t count);
/* Cells live as long as the table does; NULL is what is missing, "-". False: out of memory. */
must_use bool columns_add(struct columns *table, const char *const *cells);
void columns_print(const struct columns *table, enum columns_style style, FILE *out);

/* Text in the arena; a tool that has no memory for a cell ends. */
const char *cell_text(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *cell_span(struct arena *arena, struct span span);
