#include "cli/quoted.h"

void print_quoted(struct span text, FILE *out) {
    static const char escapes[] = "\b\t\n\f\r", letters[] = "btnfr";
    if (!text.data) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        int known = -1;
        for (int k = 0; escapes[k]; k++)
            if ((uint8_t)escapes[k] == c) known = k;
        if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
        else if (known >= 0) fprintf(out, "\\%c", letters[known]);
        else if (c < 0x20) fprintf(out, "\\u%04X", c);
        else fputc(c, out);
    }
    fputc('"', out);
}
